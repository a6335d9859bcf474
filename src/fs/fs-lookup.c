/* SPDX-License-Identifier: Apache-2.0 */
/* fs-lookup.c - names to nodes, nodes to attributes. */
#include "config.h"
#include "fs/fs-lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "event/name.h"
#include "fs/fs-control.h"
#include "fs/fs-file.h"
#include "fs/fs-kept.h"
#include "fs/fs-node.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"
#include "fs/fs-stream.h"
#include "fs/fs-young.h"

#define PROBE_S 3600.0

/*
 * What desktops, shells and version control look for everywhere, and what is never here: names that
 * no directory has. What else they look for (CVS, BDMV) may be an aggregate. Sorted.
 */
static const char *const probes[] = {
	".DS_Store", ".Trash",	   ".Trash-0", ".Trash-1000", ".Trashes",
	".bzr",	     ".directory", ".git",     ".hg",	      ".hgtags",
	".hidden",   ".localized", ".nomedia", ".svn",	      ".xdg-volume-info",
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, *(const char *const *)b);
}

static bool is_probe(const char *name)
{
	return bsearch(name, probes, ARRAY_SIZE(probes), sizeof(*probes), compare_names) ||
	       !strncmp(name, ".Trash-", 7);
}

void fs_lookup_entry_dir(struct fs *fs, const struct view_dir *d, int64_t dir,
			 struct fuse_entry_param *out)
{
	*out = (struct fuse_entry_param){
		.ino = fs_node_dir(dir),
		.attr_timeout = fs_kept_entry(fs, dir), .entry_timeout = fs->fresh_s,
	};
	if (d->row)
		out->entry_timeout = FS_FOREVER;	/* a directory that has events stays */
	fs_node_stat_dir(fs, d, out->ino, &out->attr);
}

void fs_lookup_entry_event(struct fs *fs, const struct view_event *e, struct fuse_entry_param *out)
{
	double keep = e->settled ? FS_FOREVER : fs->fresh_s;
	*out = (struct fuse_entry_param){
		.ino = fs_node_event(e->dir, e->ordinal),
		.attr_timeout = keep, .entry_timeout = keep,
	};
	fs_node_stat_event(fs, e, &out->attr);
}

void fs_lookup_entry_file(struct fs *fs, struct fs_file *f, struct fuse_entry_param *out)
{
	*out = (struct fuse_entry_param){ .ino = fs_node_make(FS_NODE_FILE, f->id) };
	pthread_mutex_lock(&f->lock);
	fs_node_stat_plain(fs, out->ino, S_IFREG | 0644, f->size, f->mtime_us, &out->attr);
	pthread_mutex_unlock(&f->lock);
	if (!fs_file_has_name(fs->files, f))
		out->attr.st_nlink = 0;
}

enum rc fs_lookup_stream(struct fs *fs, int64_t dir, bool refresh, uint64_t *size_r,
			 int64_t *mtime_us_r, struct why *why)
{
	struct view_dir d;
	enum rc rc = fs_place_get(fs, dir, refresh, &d, why);
	if (rc != RC_OK)
		return rc;
	*size_r = d.is_stream ? d.stream_size : 0;
	*mtime_us_r = d.mtime_us;
	return RC_OK;
}

static void reply_probe(fuse_req_t req)
{
	struct fuse_entry_param e = { .entry_timeout = PROBE_S };
	fuse_reply_entry(req, &e);
}

static void lookup_stream(fuse_req_t req, int64_t dir)
{
	struct fs *fs = fs_of(req);
	struct fs_stream *s = NULL;
	struct why why = { "" };
	enum rc rc = fs_stream_get(fs, dir, &s, &why);
	if (rc != RC_OK) {
		fs_refuse_read(req, "lookup", rc == RC_INVALID ? RC_NOT_FOUND : rc, &why);
		return;
	}
	uint64_t size;
	int64_t mtime_us;
	bool keep;
	unsigned turn = fs_stream_turn(fs, s, fuse_req_ctx(req)->pid, &size, &mtime_us, &keep);
	struct fuse_entry_param e = { .ino = fs_node_stream(dir, turn),
				      .entry_timeout = keep ? FS_FOREVER : 0 };
	fs_node_stat_stream(fs, dir, size, mtime_us, &e.attr);
	fs_stream_put(fs, s);
	fuse_reply_entry(req, &e);
}

static bool reply_file(fuse_req_t req, int64_t dir, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fs_file *f = fs_file_find(fs->files, dir, name, fuse_req_ctx(req)->pid);
	struct fuse_entry_param e;
	if (!f)
		return false;
	fs_lookup_entry_file(fs, f, &e);
	fs_file_put(fs->files, f);
	fuse_reply_entry(req, &e);
	return true;
}

/* Names with a number of ten digits and more are the only ones that events have. */
static bool may_be_event(const char *name)
{
	size_t digits = strspn(name, "0123456789");
	return digits >= 10 && name[digits] == '-';
}

static void lookup_event(fuse_req_t req, int64_t dir, const char *name)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct view_event event;
	struct fuse_entry_param e;
	int64_t row = 0;
	if (reply_file(req, dir, name))
		return;
	enum rc rc = may_be_event(name) ? fs_place_row(fs, dir, &row, &why) : RC_OK;
	if (rc == RC_OK)
		rc = row ? view_lookup_event(fs->view, row, name, &event, &why) : RC_NOT_FOUND;
	if (rc != RC_OK) {
		fs_refuse_read(req, "lookup", rc, &why);
		return;
	}
	fs_lookup_entry_event(fs, &event, &e);
	fuse_reply_entry(req, &e);
}

static void lookup_dir(fuse_req_t req, int64_t dir, const char *name)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct view_dir d;
	struct fs_young_dir y;
	struct fuse_entry_param e;
	enum rc rc;
	if (fs_young_find(fs->young, dir, name, 1, &y)) {
		rc = fs_place_get(fs, y.row, false, &d, &why);
		if (rc == RC_OK) {
			fs_lookup_entry_dir(fs, &d, y.row, &e);
			fuse_reply_entry(req, &e);
			return;
		}
		fs_young_forget(fs->young, y.row, 1);
	} else {
		int64_t row = 0;
		rc = fs_place_row(fs, dir, &row, &why);
		if (rc == RC_OK)
			rc = row ? view_lookup_dir(fs->view, row, name, &d, &why) : RC_NOT_FOUND;
		if (rc == RC_OK) {
			fs_lookup_entry_dir(fs, &d, d.row, &e);
			fuse_reply_entry(req, &e);
			return;
		}
	}
	fs_refuse_read(req, "lookup", rc, &why);
}

static bool ends_with_json(const char *name)
{
	size_t len = strlen(name);
	return len >= 5 && !strcmp(name + len - 5, ".json");
}

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs_node at;
	fs_node_parse(parent, &at);
	if (at.kind != FS_NODE_DIR) {
		fs_control_lookup(req, &at, name);
		return;
	}
	if (at.dir == VIEW_ROOT && !strcmp(name, NAME_CONTROL)) {
		fs_control_lookup(req, NULL, name);
		return;
	}
	if (is_probe(name))
		reply_probe(req);
	else if (!strcmp(name, NAME_STREAM))
		lookup_stream(req, at.dir);
	else if (name[0] == '.') {
		if (!reply_file(req, at.dir, name))
			fuse_reply_err(req, ENOENT);
	} else if (ends_with_json(name))
		lookup_event(req, at.dir, name);
	else
		lookup_dir(req, at.dir, name);
}

/* keep: the kernel may keep what it is told; after a SETATTR it would take it for newer than it is. */
static void getattr_dir(fuse_req_t req, fuse_ino_t ino, int64_t dir, bool keep)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct view_dir d;
	struct stat st;
	uint64_t start_ms = fs_kept_ask(fs, dir);
	enum rc rc = fs_place_get(fs, dir, true, &d, &why);
	/* an ls -l of those beside it is not to fail because nobody can tell what is in it now */
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		rc = fs_place_get(fs, dir, false, &d, &why);
	if (rc != RC_OK) {
		fs_refuse_read(req, "getattr", rc, &why);
		return;
	}
	double left_s = fs_kept_told(fs, dir, &d, start_ms);
	fs_node_stat_dir(fs, &d, ino, &st);
	fuse_reply_attr(req, &st, keep ? left_s : 0);
}

static void getattr_event(fuse_req_t req, const struct fs_node *at)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct view_event event;
	struct fuse_entry_param e;
	enum rc rc = view_get_event(fs->view, at->dir, at->ordinal, &event, &why);
	if (rc != RC_OK) {
		fs_refuse_read(req, "getattr", rc, &why);
		return;
	}
	fs_lookup_entry_event(fs, &event, &e);
	fuse_reply_attr(req, &e.attr, e.attr_timeout);
}

static void getattr_stream(fuse_req_t req, int64_t dir)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	struct fs_stream *s = NULL;
	uint64_t size;
	int64_t mtime_us;
	struct stat st;
	enum rc rc = fs_lookup_stream(fs, dir, true, &size, &mtime_us, &why);
	if (rc == RC_OK)
		rc = fs_stream_get(fs, dir, &s, &why);
	if (rc != RC_OK) {
		fs_refuse_read(req, "getattr", rc, &why);
		return;
	}
	fs_stream_saw(fs, s, size, mtime_us);
	fs_stream_put(fs, s);
	fs_node_stat_stream(fs, dir, size, mtime_us, &st);
	fuse_reply_attr(req, &st, 0);
}

static void getattr_file(fuse_req_t req, uint64_t id)
{
	struct fs *fs = fs_of(req);
	struct fs_file *f = fs_file_get(fs->files, id);
	struct fuse_entry_param e;
	if (!f) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fs_lookup_entry_file(fs, f, &e);
	fs_file_put(fs->files, f);
	fuse_reply_attr(req, &e.attr, 0);
}

void fs_lookup_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	struct fs_node at;
	fs_node_parse(ino, &at);
	switch (at.kind) {
	case FS_NODE_DIR:
		getattr_dir(req, ino, at.dir, true);
		return;
	case FS_NODE_EVENT:
		getattr_event(req, &at);
		return;
	case FS_NODE_STREAM:
		getattr_stream(req, at.dir);
		return;
	case FS_NODE_FILE:
		getattr_file(req, at.value);
		return;
	default:
		fs_control_getattr(req, ino, &at);
	}
}

static void setattr_stream(fuse_req_t req, int64_t dir, const struct stat *attr, int to_set)
{
	struct fs *fs = fs_of(req);
	struct why why = { "" };
	uint64_t size = 0;
	int64_t mtime_us;
	enum rc rc = to_set & FUSE_SET_ATTR_SIZE
			     ? fs_lookup_stream(fs, dir, true, &size, &mtime_us, &why)
			     : RC_OK;
	if (rc != RC_OK)
		fs_refuse_change(req, dir, NAME_STREAM, rc, &why);
	else if (to_set & FUSE_SET_ATTR_SIZE && (uint64_t)attr->st_size != size)
		fs_refuse(req, dir, NAME_STREAM, EPERM,
			  "'" NAME_STREAM
			  "' cannot be truncated or extended: events are only appended");
	else
		getattr_stream(req, dir);
}

static void setattr_file(fuse_req_t req, uint64_t id, const struct stat *attr, int to_set)
{
	struct fs *fs = fs_of(req);
	struct fs_file *f = fs_file_get(fs->files, id);
	struct why why = { "" };
	enum rc rc = RC_OK;
	bool fits = true;
	if (!f) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	bool is_private = fs_file_is_private(fs->files, f);
	pthread_mutex_lock(&f->lock);
	if (to_set & FUSE_SET_ATTR_MTIME)
		f->mtime_us =
			attr->st_mtim.tv_sec * INT64_C(1000000) + attr->st_mtim.tv_nsec / 1000;
	if (to_set & FUSE_SET_ATTR_SIZE && is_private)
		rc = fs_file_resize(fs->files, f, (uint64_t)attr->st_size, fs->max_event, &why);
	else if (to_set & FUSE_SET_ATTR_SIZE)
		fits = (uint64_t)attr->st_size == f->size || !attr->st_size;
	pthread_mutex_unlock(&f->lock);

	int64_t dir;
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	(void)fs_file_place(fs->files, f, &dir, &name);
	fs_file_put(fs->files, f);
	if (rc != RC_OK)
		fs_refuse_change(req, dir, buf_text(&name), rc, &why);
	else if (!fits)
		fs_refuse(req, dir, buf_text(&name), EPERM,
			  "an event being written cannot be truncated or extended");
	else
		getattr_file(req, id);
}

void fs_lookup_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	(void)fi;
	struct fs *fs = fs_of(req);
	struct fs_node at;
	fs_node_parse(ino, &at);
	if (at.kind > FS_NODE_FILE) {
		fuse_reply_err(req, EPERM);
		return;
	}
	if (at.kind != FS_NODE_EVENT && at.kind != FS_NODE_FILE &&
	    fs_refuse_read_only(req, at.dir, at.kind == FS_NODE_STREAM ? NAME_STREAM : NULL))
		return;
	switch (at.kind) {
	case FS_NODE_DIR:
		/*
		 * tar, cp -a and rsync set times and modes of what they made: accepted, and nothing
		 * comes of it
		 */
		getattr_dir(req, ino, at.dir, false);
		return;
	case FS_NODE_STREAM:
		setattr_stream(req, at.dir, attr, to_set);
		return;
	case FS_NODE_FILE:
		setattr_file(req, at.value, attr, to_set);
		return;
	default:
		break;
	}
	struct view_event event;
	bool known = view_get_event(fs->view, at.dir, at.ordinal, &event, NULL) == RC_OK;
	const char *name = known ? event.name : "?";
	if (!fs_refuse_read_only(req, at.dir, name))
		fs_refuse(req, at.dir, name, EPERM, "an event is history: it cannot be changed");
}

static void forget(struct fs *fs, fuse_ino_t ino, uint64_t lookups)
{
	struct fs_node at;
	fs_node_parse(ino, &at);
	if (at.kind == FS_NODE_DIR && fs_node_is_young(at.dir))
		fs_young_forget(fs->young, at.dir, lookups);
}

void fs_lookup_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	forget(fs_of(req), ino, lookups);
	fuse_reply_none(req);
}

void fs_lookup_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void fs_lookup_statfs(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	/* an object store has no end; what a directory store's disk has left is in health.json */
	const fsblkcnt_t blocks = UINT64_C(1) << 38;
	struct statvfs st = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = blocks,
		.f_bfree = blocks,
		.f_bavail = blocks,
		.f_files = blocks,
		.f_ffree = blocks,
		.f_favail = blocks,
		.f_namemax = NAME_COMPONENT_MAX,
	};
	fuse_reply_statfs(req, &st);
}
