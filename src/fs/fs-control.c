/* SPDX-License-Identifier: Apache-2.0 */
/* fs-control.c - the control tree. */
#include "config.h"
#include "fs/fs-control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/time.h"
#include "fs/fs-by-date.h"
#include "fs/fs-errors.h"
#include "fs/fs-kept.h"
#include "fs/fs-metrics.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"
#include "fs/fs-write.h"

#define FOLLOW_MAX (1u << 20)	/* bytes kept that a follower of errors has read */

static const struct {
	const char *name;
	enum fs_node_kind kind;
	mode_t mode;
} tree[] = {
	{ "by-date", FS_NODE_BY_DATE, S_IFDIR | 0555 },
	{ "by-id", FS_NODE_BY_ID, S_IFDIR | 0555 },
	{ "config", FS_NODE_CONFIG, S_IFREG | 0444 },
	{ "errors", FS_NODE_ERRORS, S_IFREG | 0444 },
	{ "health.json", FS_NODE_HEALTH, S_IFREG | 0444 },
	{ "metrics", FS_NODE_METRICS, S_IFREG | 0444 },
};

static void print_flag(struct buf *out, const char *key, bool value)
{
	buf_printf(out, "  \"%s\": %s,\n", key, value ? "true" : "false");
}

static void print_text(struct buf *out, const char *key, const char *text)
{
	buf_printf(out, "  \"%s\": ", key);
	if (text)
		json_quote(text, strlen(text), out);
	else
		buf_add_text(out, "null");
	buf_add_text(out, ",\n");
}

static void print_health(struct fs *fs, struct buf *out)
{
	struct store_health *h = calloc(1, sizeof(*h));
	if (!h) {
		out->failed = true;
		return;
	}
	store_health(fs->store, h);
	bool has_ledger = h->state.identity[0];
	bool ok = h->ledger == RC_OK && h->objects == RC_OK && !h->seeding;
	buf_add_text(out, "{\n");
	print_text(out, "status", ok ? "ok" : "degraded");
	print_flag(out, "read_only", h->read_only);
	print_text(out, "read_only_reason", h->read_only ? h->read_only_reason : NULL);
	print_text(out, "layout", h->layout == LAYOUT_NATIVE ? "native" : "indexed");
	print_text(out, "uuid", h->uuid);
	print_text(out, "objects", h->objects == RC_OK ? "ok" : h->objects_why.text);
	print_text(out, "ledger",
		   h->ledger != RC_OK ? h->ledger_why.text
		   : has_ledger	      ? "ok"
				      : "none");
	print_flag(out, "seeding", h->seeding);
	buf_printf(out,
		   "  \"streams\": %" PRIu64 ",\n  \"pending\": %" PRIu64 ",\n  \"late\": %" PRIu64
		   ",\n  \"unseeded\": %" PRIu64 ",\n",
		   h->state.streams, h->state.pending, h->state.late, h->state.unseeded);
	buf_printf(out, "  \"commits\": %" PRIu64 ",\n  \"seedings\": %" PRIu64 "\n}\n",
		   h->state.commits, h->state.seeding);
	free(h);
}

/* The text of a control file. *last: of errors, its last line's number. */
static void print(struct fs *fs, enum fs_node_kind kind, struct buf *out, uint64_t *last)
{
	switch (kind) {
	case FS_NODE_HEALTH:
		print_health(fs, out);
		return;
	case FS_NODE_METRICS:
		fs_metrics_print(fs->metrics, out);
		return;
	case FS_NODE_CONFIG:
		if (fs->options.config)
			fs->options.config(fs->options.config_arg, out);
		return;
	case FS_NODE_ERRORS:
		*last = fs_errors_print(fs->errors, 0, out);
		return;
	default:
		return;
	}
}

static void stat_control(struct fs *fs, fuse_ino_t ino, const struct fs_node *at, struct stat *out)
{
	mode_t mode = S_IFDIR | 0555;
	uint64_t size = 0, unused;
	int64_t time_us = fs->born_us;
	for (size_t i = 0; i < ARRAY_SIZE(tree); i++)
		if (tree[i].kind == at->kind)
			mode = tree[i].mode;
	if (at->kind == FS_NODE_ERRORS) {
		int64_t last_us;
		size = fs_errors_size(fs->errors, &last_us);
		time_us = last_us ? last_us : time_us;
	} else if (S_ISREG(mode)) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		print(fs, at->kind, &text, &unused);
		size = text.len;
		time_us = at->kind == FS_NODE_CONFIG ? fs->born_us : clock_wall_us();
	}
	fs_node_stat_plain(fs, ino, mode, size, time_us, out);
}

static void reply_entry(fuse_req_t req, enum fs_node_kind kind)
{
	struct fs_node at = { .kind = kind };
	struct fuse_entry_param e = { .ino = fs_node_make(kind, 0), .entry_timeout = FS_FOREVER };
	stat_control(fs_of(req), e.ino, &at, &e.attr);
	fuse_reply_entry(req, &e);
}

static void lookup_id(fuse_req_t req, const char *name)
{
	struct fs *fs = fs_of(req);
	struct view_event event;
	struct why why = { "" };
	char id[256];
	size_t len = strlen(name);
	enum rc rc = RC_NOT_FOUND;
	if (len > 5 && len < sizeof(id) && !strcmp(name + len - 5, ".json")) {
		snprintf(id, sizeof(id), "%.*s", (int)len - 5, name);
		rc = view_find_id(fs->view, id, &event, &why);
	}
	if (rc == RC_OK)
		fs_by_date_reply_link(req, FS_NODE_ID_LINK, &event);
	else
		fs_refuse_read(req, "lookup", rc, &why);
}

void fs_control_lookup(fuse_req_t req, const struct fs_node *at, const char *name)
{
	if (!at) {
		reply_entry(req, FS_NODE_CONTROL);
		return;
	}
	switch (at->kind) {
	case FS_NODE_CONTROL:
		for (size_t i = 0; i < ARRAY_SIZE(tree); i++)
			if (!strcmp(name, tree[i].name)) {
				reply_entry(req, tree[i].kind);
				return;
			}
		break;
	case FS_NODE_BY_ID:
		lookup_id(req, name);
		return;
	case FS_NODE_BY_DATE:
	case FS_NODE_YEAR:
	case FS_NODE_MONTH:
	case FS_NODE_DAY:
		fs_by_date_lookup(req, at, name);
		return;
	default:
		break;
	}
	fuse_reply_err(req, ENOENT);
}

void fs_control_getattr(fuse_req_t req, fuse_ino_t ino, const struct fs_node *at)
{
	struct stat st;
	if (at->kind == FS_NODE_DATE_LINK || at->kind == FS_NODE_ID_LINK) {
		fs_by_date_getattr_link(req, ino, at);
		return;
	}
	stat_control(fs_of(req), ino, at, &st);
	if (S_ISDIR(st.st_mode))	/* what is in it may have changed */
		fs_kept_drop(fs_of(req), ino);
	fuse_reply_attr(req, &st, 0);
}

enum rc fs_control_list(struct fs_dir_page *page, const struct fs_node *at, off_t off,
			struct why *why)
{
	struct fs *fs = fs_of(page->req);
	switch (at->kind) {
	case FS_NODE_CONTROL:
		for (size_t i = off > 2 ? (size_t)off - 2 : 0; i < ARRAY_SIZE(tree); i++) {
			struct fuse_entry_param e = { .ino = fs_node_make(tree[i].kind, 0),
						      .entry_timeout = FS_FOREVER };
			struct fs_node entry = { .kind = tree[i].kind };
			stat_control(fs, e.ino, &entry, &e.attr);
			if (!fs_dir_page_add(page, tree[i].name, &e, (off_t)i + 3))
				break;
		}
		return RC_OK;
	case FS_NODE_BY_DATE:
	case FS_NODE_YEAR:
	case FS_NODE_MONTH:
	case FS_NODE_DAY:
		return fs_by_date_list(page, at, off, why);
	default:
		/* by-id: whoever has an id can look it up; a list of all ids would be of no use */
		return RC_OK;
	}
}

void fs_control_open(fuse_req_t req, const struct fs_node *at, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_handle *h =
		fs_write_handle_new(fs, FS_HANDLE_TEXT, VIEW_ROOT, "", fuse_req_ctx(req));
	if (h) {
		print(fs, at->kind, &h->text, &h->seen);
		h->follow = at->kind == FS_NODE_ERRORS;
	}
	if (!h || buf_failed(&h->text)) {
		fs_write_handle_free(fs, h);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)h;
	fi->direct_io = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi))
		fs_write_handle_free(fs, h);
}

/*
 * Errors go on while they are read (tail -f). Who reads from the start gets the text as it is now:
 * so does tail once the file shrank. What lies far behind a reader goes.
 */
static void follow(struct fs *fs, struct fs_handle *h, size_t size, uint64_t off)
{
	if (!off) {
		buf_reset(&h->text);
		h->text_at = h->seen = 0;
	} else if (off > h->text_at + FOLLOW_MAX && off <= h->text_at + h->text.len) {
		buf_drop_front(&h->text, (size_t)(off - h->text_at));
		h->text_at = off;
	}
	if (off + size > h->text_at + h->text.len)
		h->seen = fs_errors_print(fs->errors, h->seen, &h->text);
}

void fs_control_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fs_handle *h = fs_handle_of(fi);
	if (!h) {
		fuse_reply_err(req, EIO);
		return;
	}
	_cleanup_(buf_release) struct buf part = BUF_INIT;
	pthread_mutex_lock(&h->lock);
	if (h->follow)
		follow(fs_of(req), h, size, (uint64_t)off);
	/* in front of text_at and behind the end there is nothing */
	uint64_t at = (uint64_t)off - h->text_at;
	size_t from = at < h->text.len ? (size_t)at : h->text.len;
	buf_add(&part, buf_text(&h->text) + from,
		h->text.len - from < size ? h->text.len - from : size);
	pthread_mutex_unlock(&h->lock);
	/* the answer comes last: whoever has it may close the file, and the handle is gone */
	if (buf_failed(&part))
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_buf(req, part.data, part.len);
}

void fs_control_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct view_event event;
	struct fs_node at;
	fs_node_parse(ino, &at);
	if (at.kind != FS_NODE_DATE_LINK && at.kind != FS_NODE_ID_LINK) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	enum rc rc = view_get_event(fs->view, at.dir, at.ordinal, &event, &why);
	if (rc == RC_OK) {
		buf_add_text(&path, at.kind == FS_NODE_ID_LINK ? "../../" : "../../../../../");
		fs_place_path(fs, event.dir, event.name, &path);
		if (buf_failed(&path))
			rc = rc_fail(RC_NO_MEMORY, &why, "out of memory");
	}
	if (rc == RC_OK)
		fuse_reply_readlink(req, buf_text(&path));
	else
		fs_refuse_read(req, "readlink", rc, &why);
}
