/* SPDX-License-Identifier: Apache-2.0 */
/* fs-open.c - files are opened, created and read. */
#include "config.h"
#include "fs/fs-open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/name.h"
#include "fs/fs-control.h"
#include "fs/fs-errors.h"
#include "fs/fs-file.h"
#include "fs/fs-lookup.h"
#include "fs/fs-metrics.h"
#include "fs/fs-node.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"
#include "fs/fs-stream.h"
#include "fs/fs-write.h"

static bool for_writing(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC;
}

static void hand_over(struct fuse_file_info *fi, struct fs_handle *h)
{
	fi->fh = (uintptr_t)h;
	fi->direct_io = 1;
}

static void open_event(fuse_req_t req, const struct fs_node *at, struct fuse_file_info *fi)
{
	struct view_event event;
	if (for_writing(fi)) {
		bool known = view_get_event(fs_of(req)->view, at->dir, at->ordinal, &event, NULL) ==
			     RC_OK;
		const char *name = known ? event.name : "?";
		if (!fs_refuse_read_only(req, at->dir, name))
			fs_refuse(req, at->dir, name, EPERM,
				  "an event is history: it cannot be written again");
		return;
	}
	fi->fh = 0;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

static void open_stream(fuse_req_t req, const struct fs_node *at, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct fs_stream *s = NULL;
	int64_t dir = at->dir;
	uint64_t size = 0;
	int64_t mtime_us;
	fi->fh = 0;
	fi->direct_io = 1;
	if (!for_writing(fi)) {
		fi->noflush = 1;
		fuse_reply_open(req, fi);
		return;
	}
	if (fs_refuse_read_only(req, dir, NAME_STREAM))
		return;
	bool append = fi->flags & O_APPEND, truncate = fi->flags & O_TRUNC;
	enum rc rc = append && !truncate ? RC_OK
					 : fs_lookup_stream(fs, dir, true, &size, &mtime_us, &why);
	if (rc == RC_OK)
		rc = fs_stream_get(fs, dir, &s, &why);
	if (rc != RC_OK) {
		fs_refuse_change(req, dir, NAME_STREAM, rc, &why);
		return;
	}
	if (fs_stream_taken(fs, s, fs_node_turn(at))) {
		fs_stream_put(fs, s);
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (truncate && size) {
		fs_stream_put(fs, s);
		fs_refuse(req, dir, NAME_STREAM, EPERM,
			  "'" NAME_STREAM "' holds events and cannot be truncated: append with >>");
		return;
	}
	struct fs_handle *h =
		fs_write_handle_new(fs, FS_HANDLE_STREAM, dir, NAME_STREAM, fuse_req_ctx(req));
	if (!h) {
		fs_stream_put(fs, s);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	h->stream = s;
	h->turn = fs_node_turn(at);
	h->held = fs_stream_hold(fs, s, h->turn);
	h->append = append;
	h->next = size;
	h->gather.max = fs->max_event + FS_GATHER_SLACK;
	hand_over(fi, h);
	if (fuse_reply_open(req, fi))
		fs_write_handle_free(fs, h);
}

/* A handle for an event's file or a private one; takes f (opened) even on failure. */
static struct fs_handle *file_handle(fuse_req_t req, struct fs_file *f, int64_t dir,
				     const char *name, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	bool is_private = fs_file_is_private(fs->files, f);
	struct fs_handle *h =
		fs_write_handle_new(fs, is_private ? FS_HANDLE_PRIVATE : FS_HANDLE_NAMED, dir, name,
				    fuse_req_ctx(req));
	if (!h) {
		fs_file_close(fs->files, f);
		fs_file_put(fs->files, f);
		return NULL;
	}
	h->file = f;
	h->append = fi->flags & O_APPEND;
	h->gather.max = fs->max_event + FS_GATHER_SLACK;
	hand_over(fi, h);
	return h;
}

static bool may_hold_events(struct fs *fs, int64_t dir)
{
	struct view_dir d;
	return fs_place_get(fs, dir, false, &d, NULL) != RC_OK || d.depth >= 2;
}

/*
 * What the name of an event's file says goes into the handle. EPERM: it is no such name; otherwise
 * a result.
 */
static int prepare_named(fuse_req_t req, struct fs_handle *h, const char *name, struct why *why)
{
	struct name_parsed parsed;
	enum rc rc = name_parse(name, &parsed, why);
	_cleanup_(buf_release) struct buf type = parsed.event_type;
	if (rc == RC_OK && parsed.fork > 1)
		rc = rc_fail(RC_INVALID, why,
			     "'%s': a second event with one number cannot be appended", name);
	if (rc == RC_OK && parsed.shortened)
		rc = rc_fail(RC_INVALID, why,
			     "'%s': the type is shortened, write to '" NAME_STREAM "' instead",
			     name);
	if (rc != RC_OK)
		return rc == RC_INVALID ? fs_errors_name_errno(name) : fs_errors_errno(rc, false);
	rc = fs_stream_get(fs_of(req), h->dir, &h->stream, why);
	if (rc == RC_INVALID && !may_hold_events(fs_of(req), h->dir)) {
		(void)rc_prefix(rc, why, "events are in TYPE/ID/, not here");
		return EPERM;
	}
	if (rc != RC_OK)
		return fs_errors_errno(rc, false);
	h->event_type = type;
	type = (struct buf)BUF_INIT;
	h->gather.single = true;
	h->gather.event_type = buf_text(&h->event_type);
	h->gather.has_number = parsed.has_number;
	h->gather.number = parsed.number;
	return 0;
}

static void open_file(fuse_req_t req, uint64_t id, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_file *f = fs_file_get(fs->files, id);
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	struct why why = { "" };
	int64_t dir;
	if (!f || !fs_file_place(fs->files, f, &dir, &name)) {
		fs_file_put(fs->files, f);
		fuse_reply_err(req, f ? ENOMEM : ENOENT);
		return;
	}
	fs_file_open(fs->files, f);
	struct fs_handle *h = file_handle(req, f, dir, buf_text(&name), fi);
	int err = h ? 0 : ENOMEM;
	if (h && h->kind == FS_HANDLE_NAMED && for_writing(fi))
		err = prepare_named(req, h, buf_text(&name), &why);
	if (h && h->kind == FS_HANDLE_PRIVATE && fi->flags & O_TRUNC) {
		pthread_mutex_lock(&f->lock);
		if (fs_file_resize(fs->files, f, 0, fs->max_event, &why) != RC_OK)
			err = EIO;
		pthread_mutex_unlock(&f->lock);
	}
	if (err) {
		fs_write_handle_free(fs, h);
		fs_refuse(req, dir, buf_text(&name), err, "%s",
			  *why.text ? why.text : "out of memory");
		return;
	}
	if (fuse_reply_open(req, fi))
		fs_write_handle_free(fs, h);
}

void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_node at;
	fs_node_parse(ino, &at);
	switch (at.kind) {
	case FS_NODE_EVENT:
		open_event(req, &at, fi);
		return;
	case FS_NODE_STREAM:
		open_stream(req, &at, fi);
		return;
	case FS_NODE_FILE:
		open_file(req, at.value, fi);
		return;
	default:
		if (for_writing(fi))
			fuse_reply_err(req, EPERM);
		else
			fs_control_open(req, &at, fi);
	}
}

/* An answer from memory: the kernel holds the directory's lock until it comes. */
void fs_open_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		    struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct fs_file *f = NULL;
	struct fuse_entry_param e;
	struct fs_node at;
	(void)mode;
	fs_node_parse(parent, &at);
	if (at.kind != FS_NODE_DIR) {
		fuse_reply_err(req, EPERM);
		return;
	}
	if (fs_refuse_read_only(req, at.dir, name))
		return;
	bool is_private = name[0] == '.';
	if (is_private && at.dir == VIEW_ROOT && !strcmp(name, NAME_CONTROL)) {
		fuse_reply_err(req, EEXIST);
		return;
	}
	enum rc rc =
		fs_file_make(fs->files, at.dir, name, is_private, fuse_req_ctx(req)->pid, &f, &why);
	if (rc != RC_OK) {
		fs_refuse_change(req, at.dir, name, rc, &why);
		return;
	}
	fs_lookup_entry_file(fs, f, &e);
	struct fs_handle *h = file_handle(req, f, at.dir, name, fi);
	int err = h ? 0 : ENOMEM;
	if (h && !is_private)
		err = prepare_named(req, h, name, &why);
	if (err) {
		if (h)
			fs_file_unlink(fs->files, f);
		fs_write_handle_free(fs, h);
		fs_refuse(req, at.dir, name, err, "%s", *why.text ? why.text : "out of memory");
		return;
	}
	if (fuse_reply_create(req, &e, fi))
		fs_write_handle_free(fs, h);
}

static void reply_slice(fuse_req_t req, const struct buf *b, size_t size, off_t off)
{
	size_t from = (uint64_t)off < b->len ? (size_t)off : b->len;
	size_t n = b->len - from < size ? b->len - from : size;
	fuse_reply_buf(req, n ? b->data + from : NULL, n);
}

static void read_event(fuse_req_t req, int64_t dir, uint32_t ordinal, size_t size, off_t off)
{
	struct fs *fs = fs_of(req);
	uint64_t start_us = clock_boot_us();
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct view_event event;
	struct why why = { "" };
	enum rc rc = view_get_event(fs->view, dir, ordinal, &event, &why);
	if (rc == RC_OK)
		rc = view_read_event(fs->view, &event, &body, &why);
	if (rc != RC_OK) {
		fs_refuse_read(req, "read", rc, &why);
		return;
	}
	reply_slice(req, &body, size, off);
	fs_metrics_did_read(fs->metrics, FS_METRICS_EVENT, clock_boot_us() - start_us);
}

static void read_stream(fuse_req_t req, int64_t dir, size_t size, off_t off)
{
	struct fs *fs = fs_of(req);
	uint64_t start_us = clock_boot_us();
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct view_dir d;
	int64_t row = 0;
	struct why why = { "" };
	enum rc rc = fs_place_row(fs, dir, &row, &why);
	if (rc == RC_OK && row)
		rc = view_read_stream(fs->view, row, (uint64_t)off, size, &text, &why);
	if (rc == RC_OK && text.len < size && row) {
		/* the end as far as it is known: is there more? */
		rc = view_get_dir(fs->view, row, true, &d, &why);
		uint64_t at = (uint64_t)off + text.len;
		if (rc == RC_OK && d.is_stream && d.stream_size > at)
			rc = view_read_stream(fs->view, row, at, size - text.len, &text, &why);
	}
	if (rc != RC_OK && !text.len) {
		fs_refuse_read(req, "read", rc, &why);
		return;
	}
	fuse_reply_buf(req, text.data, text.len < size ? text.len : size);
	fs_metrics_did_read(fs->metrics, FS_METRICS_STREAM, clock_boot_us() - start_us);
}

/* An event that was just appended: the catalog may not have it yet. */
static enum rc find_numbered(struct fs *fs, int64_t row, uint64_t number, struct view_event *out,
			     struct why *why)
{
	struct view_dir d;
	enum rc rc = view_event_numbered(fs->view, row, number, out, why);
	if (rc == RC_NOT_FOUND) {
		rc = view_get_dir(fs->view, row, true, &d, why);
		if (rc == RC_OK)
			rc = view_event_numbered(fs->view, row, number, out, why);
	}
	return rc;
}

/* A private file's content; of an event's file what was stored. */
static void read_file(fuse_req_t req, uint64_t id, size_t size, off_t off)
{
	struct fs *fs = fs_of(req);
	struct fs_file *f = fs_file_get(fs->files, id);
	_cleanup_(buf_release) struct buf part = BUF_INIT, name = BUF_INIT;
	struct view_event event;
	int64_t dir, row = 0;
	struct why why = { "" };
	if (!f) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	pthread_mutex_lock(&f->lock);
	uint64_t number = f->number;
	bool has_content = f->content.len;
	size_t from = (uint64_t)off < f->content.len ? (size_t)off : f->content.len;
	size_t rest = f->content.len - from;
	buf_add(&part, buf_text(&f->content) + from, rest < size ? rest : size);
	pthread_mutex_unlock(&f->lock);
	bool good = fs_file_place(fs->files, f, &dir, &name) && !buf_failed(&part);
	fs_file_put(fs->files, f);
	if (!good || has_content || !number) {
		if (good)
			fuse_reply_buf(req, part.data, part.len);
		else
			fuse_reply_err(req, ENOMEM);
		return;
	}
	enum rc rc = fs_place_row(fs, dir, &row, &why);
	if (rc == RC_OK && row)
		rc = find_numbered(fs, row, number, &event, &why);
	if (rc == RC_OK && row)
		read_event(req, row, event.ordinal, size, off);
	else
		fuse_reply_buf(req, NULL, 0);
}

void fs_open_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fs_node at;
	fs_node_parse(ino, &at);
	switch (at.kind) {
	case FS_NODE_EVENT:
		read_event(req, at.dir, at.ordinal, size, off);
		return;
	case FS_NODE_STREAM:
		read_stream(req, at.dir, size, off);
		return;
	case FS_NODE_FILE:
		read_file(req, at.value, size, off);
		return;
	default:
		fs_control_read(req, size, off, fi);
	}
}
