/* SPDX-License-Identifier: Apache-2.0 */
/* fs-write.c - documents become appends. */
#include "config.h"
#include "fs/fs-write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "fs/fs-errors.h"
#include "fs/fs-file.h"
#include "fs/fs-kept.h"
#include "fs/fs-metrics.h"
#include "fs/fs-node.h"
#include "fs/fs-refuse.h"
#include "fs/fs-stream.h"

struct fs_handles {
	pthread_mutex_t lock;	/* guards first, and before and after of each */
	struct fs_handle *first;
};

enum rc fs_write_handles_new(struct fs_handles **out, struct why *why)
{
	struct fs_handles *all = calloc(1, sizeof(*all));
	if (!all)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&all->lock, NULL);
	*out = all;
	return RC_OK;
}

static void link_handle(struct fs_handles *all, struct fs_handle *h)
{
	pthread_mutex_lock(&all->lock);
	h->after = all->first;
	if (h->after)
		h->after->before = h;
	all->first = h;
	pthread_mutex_unlock(&all->lock);
}

static void unlink_handle(struct fs_handles *all, struct fs_handle *h)
{
	pthread_mutex_lock(&all->lock);
	if (h->after)
		h->after->before = h->before;
	if (h->before)
		h->before->after = h->after;
	else
		all->first = h->after;
	pthread_mutex_unlock(&all->lock);
}

struct fs_handle *fs_write_handle_new(struct fs *fs, enum fs_handle_kind kind, int64_t dir,
				      const char *name, const struct fuse_ctx *who)
{
	struct fs_handle *h = calloc(1, sizeof(*h));
	char *copy = strdup(name);
	if (!h || !copy) {
		free(h);
		free(copy);
		return NULL;
	}
	h->kind = kind;
	h->dir = dir;
	h->name = copy;
	h->who = *who;
	pthread_mutex_init(&h->lock, NULL);
	link_handle(fs->handles, h);
	return h;
}

void fs_write_handle_free(struct fs *fs, struct fs_handle *h)
{
	if (!h)
		return;
	unlink_handle(fs->handles, h);
	if (h->file) {
		fs_file_close(fs->files, h->file);
		fs_file_put(fs->files, h->file);
	}
	if (h->stream)
		fs_stream_unhold(fs, h->stream, h->held);
	fs_stream_put(fs, h->stream);
	fs_gather_release(&h->gather);
	buf_release(&h->event_type);
	buf_release(&h->text);
	pthread_mutex_destroy(&h->lock);
	free(h->name);
	free(h);
}

/* A signal that its program survives (a shell's SIGCHLD) should not end an append that was about to be committed. */
#define INTERRUPT_GRACE_MS 250

struct interrupt {
	fuse_req_t req;
	const struct store_append *append;
	uint64_t since_ms;
};

static bool is_interrupted(void *arg)
{
	struct interrupt *i = arg;
	if (!fuse_req_interrupted(i->req))
		return false;
	uint64_t now = clock_boot_ms();
	if (!i->since_ms)
		i->since_ms = now;
	if (i->append->outcome != STORE_NOT_COMMITTED)	/* it is answered as done: no need to wait */
		return true;
	return now >= i->since_ms + INTERRUPT_GRACE_MS;
}

static void count(struct fs *fs, const struct fs_stream *s, const struct draft *drafts, size_t n)
{
	size_t run = 1;
	for (size_t i = 0; i < n; i++, run++)
		if (i + 1 == n || strcmp(drafts[i].event_type, drafts[i + 1].event_type)) {
			fs_metrics_wrote(fs->metrics, s->type, drafts[i].event_type, run);
			run = 0;
		}
}

int fs_write_append(fuse_req_t req, struct fs_stream *s, int64_t dir, const char *name,
		    struct draft *drafts, size_t n, const enum store_ack *ack,
		    struct store_append *a)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct interrupt interrupt = { .req = req, .append = a };
	uint64_t start_us = clock_boot_us();
	*a = (struct store_append){
		.type = s->type,
		.id = s->id,
		.drafts = drafts,
		.n = n,
		.ack = ack,
		.cancelled = is_interrupted,
		.cancel_arg = &interrupt,
	};
	enum rc rc = store_append(fs->store, a, &why);
	a->cancel_arg = NULL;
	FAILPOINT("fs-appended");
	if (rc == RC_OK) {
		fs_kept_appended(fs, dir);
		if (!a->known)
			count(fs, s, drafts, n);
		fs_metrics_write_time(fs->metrics, s->type, clock_boot_us() - start_us);
		return 0;
	}
	int err = fs_errors_errno(rc, fs->read_only || rc == RC_DENIED);
	struct fs_failure f = {
		.err = err,
		.reason = why.text,
		.event_id = n == 1 ? drafts[0].event_id : NULL,
		.conditional = a->conditional,
		.expected = a->expected,
		.has_actual = rc == RC_CONFLICT || rc == RC_EXISTS,
		.actual = a->last,
		.outcome = a->outcome,
	};
	fs_refuse_note(fs, fuse_req_ctx(req), dir, name, &f);
	return err;
}

/* May the same write come again and be right? What may have been committed must not be. */
static bool may_repeat(int err, const struct store_append *a)
{
	return a->outcome == STORE_NOT_COMMITTED &&
	       (err == EINTR || err == EIO || err == ENOSPC || err == ENOMEM);
}

static int refuse_gathered(fuse_req_t req, struct fs_handle *h, enum rc rc, const struct why *why)
{
	int err = fs_errors_errno(rc, false);
	struct fs_failure f = { .err = err, .reason = why->text };
	fs_refuse_note(fs_of(req), fuse_req_ctx(req), h->dir, h->name, &f);
	return err;
}

static int write_documents(fuse_req_t req, struct fs_handle *h, const char *data, size_t len)
{
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch batch = { 0 };
	struct why why = { "" };
	struct store_append a = { 0 };
	h->failed = false;
	enum rc rc = fs_gather_write(&h->gather, data, len, &batch, &why);
	if (rc != RC_OK)
		return refuse_gathered(req, h, rc, &why);
	if (batch.n) {
		int err = fs_write_append(req, h->stream, h->dir, h->name, batch.drafts, batch.n,
					  NULL, &a);
		if (err) {
			h->failed = true;
			fs_gather_undo(&h->gather, may_repeat(err, &a));
			return err;
		}
		if (h->file) {
			pthread_mutex_lock(&h->file->lock);
			h->file->number = a.first;
			pthread_mutex_unlock(&h->file->lock);
		}
	}
	rc = fs_gather_keep(&h->gather, batch.n, &why);
	/*
	 * the documents are stored: to fail here would have them stored twice. What follows them is
	 * told at close
	 */
	return rc == RC_OK || batch.n ? 0 : refuse_gathered(req, h, rc, &why);
}

/* Streams and events being written grow at their end only. */
static bool at_end(struct fs_handle *h, uint64_t off)
{
	return h->append || off == h->next;
}

static int write_private(fuse_req_t req, struct fs_handle *h, const char *data, size_t len,
			 uint64_t off)
{
	struct fs *fs = fs_of(req);
	struct fs_file *f = h->file;
	struct why why = { "" };
	pthread_mutex_lock(&f->lock);
	enum rc rc =
		fs_file_is_private(fs->files, f)
			? fs_file_write(fs->files, f, data, len, h->append ? f->content.len : off,
					fs->max_event + FS_GATHER_SLACK, &why)
			: rc_fail(RC_DENIED, &why,
				  "the file was renamed and is an event now: it takes no more");
	pthread_mutex_unlock(&f->lock);
	return rc == RC_OK ? 0 : refuse_gathered(req, h, rc, &why);
}

static int write_at(fuse_req_t req, struct fs_handle *h, const char *data, size_t len, uint64_t off)
{
	if (h->kind == FS_HANDLE_PRIVATE)
		return write_private(req, h, data, len, off);
	if (h->kind == FS_HANDLE_TEXT)
		return EPERM;
	if (!at_end(h, off)) {
		struct fs_failure f = {
			.err = EPERM,
			.reason = "events are only appended: a write must begin at the end"
		};
		fs_refuse_note(fs_of(req), fuse_req_ctx(req), h->dir, h->name, &f);
		return EPERM;
	}
	int err = write_documents(req, h, data, len);
	if (!err) {
		h->next += len;
		if (h->file) {
			pthread_mutex_lock(&h->file->lock);
			h->file->size = h->next;
			pthread_mutex_unlock(&h->file->lock);
		}
	}
	return err;
}

void fs_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t len, off_t off,
	      struct fuse_file_info *fi)
{
	struct fs_handle *h = fs_handle_of(fi);
	(void)ino;
	if (!h) {
		fuse_reply_err(req, EBADF);
		return;
	}
	pthread_mutex_lock(&h->lock);
	if (h->kind == FS_HANDLE_STREAM && !h->held) /* closed by one, still open in another */
		h->held = fs_stream_hold(fs_of(req), h->stream, h->turn);
	int err = write_at(req, h, data, len, (uint64_t)off);
	pthread_mutex_unlock(&h->lock);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_write(req, len);
}

void fs_write_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_handle *h = fs_handle_of(fi);
	(void)ino;
	bool incomplete = false;
	if (h && (h->kind == FS_HANDLE_STREAM || h->kind == FS_HANDLE_NAMED)) {
		pthread_mutex_lock(&h->lock);
		incomplete = fs_gather_incomplete(&h->gather);
		if (h->kind == FS_HANDLE_STREAM) /* RELEASE comes later than the next LOOKUP */
			fs_stream_unhold(fs_of(req), h->stream, h->held);
		h->held = 0;
		pthread_mutex_unlock(&h->lock);
	}
	/*
	 * kept, not remembered: another process may hold the same file and go on. RELEASE is the
	 * end
	 */
	fuse_reply_err(req, incomplete ? EINVAL : 0);
}

void fs_write_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_handle *h = fs_handle_of(fi);
	struct why why = { "" };
	(void)ino;
	(void)datasync;
	enum rc rc = h && h->stream ? store_flush(fs->store, h->stream->type, h->stream->id, &why)
				    : RC_OK;
	if (rc != RC_OK)
		fs_refuse_change(req, h->dir, h->name, rc, &why);
	else
		fuse_reply_err(req, 0);
}

static void release(struct fs *fs, struct fs_handle *h)
{
	/* what an append that failed left was kept for another try; its reason is remembered */
	if (h && fs_gather_incomplete(&h->gather) && !h->failed) {
		struct why why = { "" };
		enum rc rc = rc_prefix(fs_gather_explain(&h->gather, &why), &why,
				       "cut short by close, the last %zu bytes were discarded",
				       h->gather.rest.len);
		struct fs_failure f = { .err = fs_errors_errno(rc, false), .reason = why.text };
		fs_refuse_note(fs, &h->who, h->dir, h->name, &f);
	}
	fs_write_handle_free(fs, h);
}

void fs_write_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	release(fs_of(req), fs_handle_of(fi));
	fuse_reply_err(req, 0);
}

void fs_write_handles_free(struct fs *fs)
{
	if (!fs->handles)
		return;
	while (fs->handles->first)
		release(fs, fs->handles->first);
	pthread_mutex_destroy(&fs->handles->lock);
	free(fs->handles);
	fs->handles = NULL;
}
