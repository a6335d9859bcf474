/* SPDX-License-Identifier: Apache-2.0 */
/* fs-change.c - directories are made, files are renamed and removed. */
#include "config.h"
#include "fs/fs-change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/key.h"
#include "event/name.h"
#include "fs/fs-errors.h"
#include "fs/fs-file.h"
#include "fs/fs-gather.h"
#include "fs/fs-lookup.h"
#include "fs/fs-node.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"
#include "fs/fs-stream.h"
#include "fs/fs-write.h"
#include "fs/fs-young.h"

/* The directory that a change is in. False: answered, nothing can be changed there. */
static bool changeable(fuse_req_t req, fuse_ino_t parent, const char *name, int64_t *dir)
{
	struct fs_node at;
	fs_node_parse(parent, &at);
	if (at.kind != FS_NODE_DIR) {
		fuse_reply_err(req, EPERM);
		return false;
	}
	*dir = at.dir;
	return !fs_refuse_read_only(req, at.dir, name);
}

/*
 * Could a stream be at, or below, this name? RC_DENIED: the name stands for nothing; RC_INVALID: no
 * key could hold it.
 */
static enum rc check_dir_name(struct fs *fs, int64_t dir, const char *name, unsigned depth,
			      struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT, type = BUF_INIT, id = BUF_INIT;
	enum rc rc = name_decode(name, strlen(name), &text, why);
	if (rc == RC_INVALID)
		return fs_errors_name_errno(name) == EPERM ? RC_DENIED : RC_INVALID;
	if (rc != RC_OK)
		return rc;
	if (depth == 0)
		return key_check_stream(buf_text(&text), "x", why);
	if (memchr(buf_text(&text), '/', text.len))
		return rc_fail(RC_DENIED, why,
			       "'%s': a '/' in an id is a directory of its own: '%s'", name,
			       buf_text(&text));
	if (depth > 1) {
		rc = fs_place_stream(fs, dir, &type, &id, why);
		buf_add_char(&id, '/');
	} else {
		struct view_dir d;
		rc = fs_place_get(fs, dir, false, &d, why);
		if (rc == RC_OK)
			rc = name_decode(d.name, strlen(d.name), &type, why);
	}
	if (rc != RC_OK)
		return rc;
	buf_add(&id, buf_text(&text), text.len);
	return key_check_stream(buf_text(&type), buf_text(&id), why);
}

void fs_change_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct view_dir up, there;
	struct fs_young_dir y;
	struct fuse_entry_param e;
	int64_t dir;
	(void)mode;
	if (!changeable(req, parent, name, &dir))
		return;
	enum rc rc = fs_place_get(fs, dir, false, &up, &why);
	if (rc == RC_OK)
		rc = check_dir_name(fs, dir, name, up.depth, &why);
	if (rc == RC_DENIED) {
		fs_refuse(req, dir, name, EPERM, "%s", why.text);
		return;
	}
	if (rc == RC_OK && up.row) {
		rc = view_lookup_dir(fs->view, up.row, name, &there, &why);
		rc = rc == RC_OK ? RC_EXISTS : rc == RC_NOT_FOUND ? RC_OK : rc;
	}
	if (rc == RC_OK)
		rc = fs_young_make(fs->young, dir, name, up.depth + 1, &y, &why);
	if (rc == RC_EXISTS) {
		fuse_reply_err(req, EEXIST);
		return;
	}
	if (rc != RC_OK) {
		fs_refuse_change(req, dir, name, rc, &why);
		return;
	}
	struct view_dir d = { .depth = y.depth, .mtime_us = y.made_us, .ctime_us = y.made_us };
	fs_lookup_entry_dir(fs, &d, y.row, &e);
	fuse_reply_entry(req, &e);
}

void fs_change_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fs_young_dir y;
	struct why why = { "" };
	int64_t dir, row = 0;
	if (!changeable(req, parent, name, &dir))
		return;
	/* it may have got events elsewhere meanwhile */
	bool young = fs_young_find(fs->young, dir, name, 0, &y);
	enum rc rc = young ? fs_place_row(fs, y.row, &row, &why) : RC_OK;
	if (rc != RC_OK)
		fs_refuse_change(req, dir, name, rc, &why);
	else if (young && !row && fs_young_remove(fs->young, dir, name) == RC_OK)
		fuse_reply_err(req, 0);
	else
		fs_refuse(req, dir, name, ENOTEMPTY,
			  "the directory is not empty, and events are never removed");
}

void fs_change_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	int64_t dir;
	if (!changeable(req, parent, name, &dir))
		return;
	struct fs_file *f = fs_file_find(fs->files, dir, name, fuse_req_ctx(req)->pid);
	bool is_private = f && fs_file_is_private(fs->files, f);
	if (is_private)
		fs_file_unlink(fs->files, f);
	fs_file_put(fs->files, f);
	if (is_private)
		fuse_reply_err(req, 0);
	else
		fs_refuse(req, dir, name, EPERM, "events are never removed");
}

/* Is the event of that name there already, with exactly this content? */
static bool is_stored(struct fs *fs, int64_t dir, const char *name, const char *text, size_t len)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct view_event event;
	int64_t row = 0;
	if (fs_place_row(fs, dir, &row, NULL) != RC_OK || !row ||
	    view_lookup_event(fs->view, row, name, &event, NULL) != RC_OK)
		return false;
	if (event.size != len || view_read_event(fs->view, &event, &body, NULL) != RC_OK)
		return false;
	return body.len == len && !memcmp(buf_text(&body), text, len);
}

/*
 * RENAME of a private file makes its content an event. The kernel holds both directories meanwhile:
 * the commit is enough.
 */
static int publish_locked(fuse_req_t req, struct fs_file *f, int64_t dir, const char *name,
			  uint64_t *number)
{
	static const enum store_ack ack = STORE_ACK_COMMITTED;
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct name_parsed parsed;
	struct fs_stream *s = NULL;
	struct draft draft = DRAFT_INIT;
	struct store_append a;
	const char *text = buf_text(&f->content);
	size_t len = f->content.len;

	enum rc rc = name_parse(name, &parsed, &why);
	_cleanup_(buf_release) struct buf type = parsed.event_type;
	int err = rc == RC_INVALID ? fs_errors_name_errno(name) : fs_errors_errno(rc, false);
	if (!err && parsed.has_number && is_stored(fs, dir, name, text, len)) {
		*number = parsed.number;
		return 0;
	}
	if (!err) {
		rc = parsed.fork > 1 || parsed.shortened
			     ? rc_fail(RC_INVALID, &why, "'%s' cannot be appended by name", name)
			     : RC_OK;
		if (rc == RC_OK)
			rc = fs_stream_get(fs, dir, &s, &why);
		if (rc == RC_OK)
			rc = fs_gather_whole(text, len, buf_text(&type), parsed.has_number,
					     parsed.number, &draft, &why);
		err = fs_errors_errno(rc, false);
	}
	if (err) {
		struct fs_failure fail = { .err = err, .reason = why.text };
		fs_refuse_note(fs, fuse_req_ctx(req), dir, name, &fail);
	} else {
		err = fs_write_append(req, s, dir, name, &draft, 1, &ack, &a);
		*number = err ? 0 : a.first;
	}
	draft_release(&draft);
	fs_stream_put(fs, s);
	return err;
}

static void rename_file(fuse_req_t req, struct fs_file *f, int64_t dir, const char *name)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	if (name[0] == '.') {
		enum rc rc = fs_file_rename(fs->files, f, dir, name, &why);
		if (rc != RC_OK)
			fs_refuse_change(req, dir, name, rc, &why);
		else
			fuse_reply_err(req, 0);
		return;
	}
	pthread_mutex_lock(&f->lock);
	uint64_t number = 0;
	int err = publish_locked(req, f, dir, name, &number);
	if (!err) {
		f->number = number;
		fs_file_publish(fs->files, f, dir, name, fuse_req_ctx(req)->pid);
	}
	pthread_mutex_unlock(&f->lock);
	fuse_reply_err(req, err);
}

void fs_change_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	struct fs *fs = fs_of(req);
	int64_t dir, newdir;
	if (!changeable(req, parent, name, &dir) || !changeable(req, newparent, newname, &newdir))
		return;
	struct fs_file *f = fs_file_find(fs->files, dir, name, fuse_req_ctx(req)->pid);
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		fs_refuse(req, dir, name, EINVAL, "files cannot be exchanged here");
	else if (!f || !fs_file_is_private(fs->files, f))
		fs_refuse(req, dir, name, EPERM, "what is stored keeps its name");
	else
		rename_file(req, f, newdir, newname);
	fs_file_put(fs->files, f);
}

static void refuse_kind(fuse_req_t req, fuse_ino_t parent, const char *name, const char *what)
{
	int64_t dir;
	if (changeable(req, parent, name, &dir))
		fs_refuse(req, dir, name, EPERM,
			  "%s are not kept here: there are events, and directories for them", what);
}

void fs_change_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino;
	refuse_kind(req, newparent, newname, "hard links");
}

void fs_change_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link;
	refuse_kind(req, parent, name, "symbolic links");
}

void fs_change_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	(void)mode;
	(void)dev;
	refuse_kind(req, parent, name, "device files, pipes and sockets");
}
