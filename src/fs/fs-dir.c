/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs-dir.c - listings.
 *
 * Offsets: 1 and 2 stand behind "." and "..", then come the view's cursors (plus 2), then
 * events.ndjson, then young directories by their rows. They stay good while the directory grows.
 */
#include "config.h"
#include "fs/fs-dir.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/name.h"
#include "fs/fs-ahead.h"
#include "fs/fs-control.h"
#include "fs/fs-kept.h"
#include "fs/fs-lookup.h"
#include "fs/fs-metrics.h"
#include "fs/fs-node.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"
#include "fs/fs-young.h"

#define BEHIND_DOTS 2
#define STREAM_OFFSET (INT64_C(1) << 61)
#define YOUNG_OFFSET (INT64_C(1) << 62)
/*
 * What the kernel learns with attributes costs it more than all else of a find: where there are
 * more events than these it learns none. Who looked up as many, for want of attributes, has them
 * for a while.
 */
#define FEW 8
#define WANTED_MS 1000

struct fs_dirs {
	atomic_uint looked_up;	/* events by name, since the last first page without attributes */
	_Atomic uint64_t wanted_until;	/* clock_boot_ms */
};

enum rc fs_dirs_new(struct fs_dirs **out, struct why *why)
{
	struct fs_dirs *d = calloc(1, sizeof(*d));
	if (!d)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	*out = d;
	return RC_OK;
}

void fs_dirs_free(struct fs_dirs **pd)
{
	free(*pd);
	*pd = NULL;
}

void fs_dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fs_node at;
	if (*name >= '0' && *name <= '9' && atomic_fetch_add(&fs->dirs->looked_up, 1) >= FEW) {
		atomic_store(&fs->dirs->wanted_until, clock_boot_ms() + WANTED_MS);
		fs_node_parse(parent, &at);
		if (at.kind == FS_NODE_DIR)
			fs_kept_looked_up(fs, at.dir);
	}
	fs_lookup(req, parent, name);
}

/* Are a page's events to be told with attributes, all of them? */
static bool attributes_wanted(struct fs_dirs *d)
{
	return clock_boot_ms() < atomic_load(&d->wanted_until);
}

/* A page is told. Whoever goes on with one listing goes on to want them. */
static void told_page(struct fs_dirs *d, bool wanted, bool first)
{
	if (!wanted)
		atomic_store(&d->looked_up, 0);
	else if (!first)
		atomic_store(&d->wanted_until, clock_boot_ms() + WANTED_MS);
}

/* Notice which young directories the store knows by now, so that none is listed twice. */
static enum rc look_at_young(struct fs *fs, int64_t dir, struct why *why)
{
	struct fs_young_dir y;
	enum rc rc = RC_OK;
	for (int64_t after = 0; rc == RC_OK && fs_young_next(fs->young, dir, after, &y);
	     after = y.row) {
		int64_t row;
		rc = fs_place_row(fs, y.row, &row, why);
		if (rc == RC_TEMPORARY)	/* then they are listed as ours */
			rc = RC_OK;
	}
	return rc;
}

void fs_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (fs_of(req)->keeps_listings)
		fuse_reply_err(req, ENOSYS);	/* never asked again: see fs-kept.h */
	else
		fuse_reply_open(req, fi);
}

bool fs_dir_page_add(struct fs_dir_page *p, const char *name, const struct fuse_entry_param *e,
		     off_t next)
{
	size_t left = p->size - p->used;
	size_t n =
		p->plus ? fuse_add_direntry_plus(p->req, p->data + p->used, left, name, e, next)
			: fuse_add_direntry(p->req, p->data + p->used, left, name, &e->attr, next);
	if (n > left)
		return false;
	p->used += n;
	p->last = next;
	return true;
}

/* "." and "..": the kernel takes no attributes from them. */
static bool add_dots(struct fs_dir_page *p, fuse_ino_t ino, fuse_ino_t parent, off_t off)
{
	struct fuse_entry_param e = { .attr = { .st_mode = S_IFDIR, .st_ino = ino } };
	if (off < 1 && !fs_dir_page_add(p, ".", &e, 1))
		return false;
	e.attr.st_ino = parent;
	return off >= BEHIND_DOTS || fs_dir_page_add(p, "..", &e, BEHIND_DOTS);
}

struct listing {
	struct fs *fs;
	struct fs_dir_page page;
	int64_t dir;
	bool full;
	bool sparing;	/* events are told without attributes */
	bool ahead;	/* nobody asked for it yet: nothing may be counted as told */
	bool unfit;	/* for that */
	bool plain;	/* something was told without attributes */
	uint64_t print;	/* what it is like, where it begins here */
};

static bool add_dir(struct listing *l, const struct view_entry *entry)
{
	struct fuse_entry_param e;
	struct fs_young_dir y;
	int64_t row = entry->dir->row;
	/* the kernel may know it by its young row, and goes on so */
	if (fs_young_find(l->fs->young, l->dir, entry->dir->name, l->page.plus, &y))
		row = y.row;
	else
		y.row = 0;
	fs_lookup_entry_dir(l->fs, entry->dir, row, &e);
	bool added =
		fs_dir_page_add(&l->page, entry->dir->name, &e, (off_t)entry->cursor + BEHIND_DOTS);
	if (!added && y.row && l->page.plus)
		fs_young_forget(l->fs->young, y.row, 1);
	return added;
}

static bool add_entry(void *arg, const struct view_entry *entry)
{
	struct listing *l = arg;
	bool added;
	if (entry->is_dir && l->ahead) {
		l->unfit = true;
		added = false;
	} else if (entry->is_dir) {
		added = add_dir(l, entry);
	} else {
		struct fuse_entry_param e;
		fs_lookup_entry_event(l->fs, entry->event, &e);
		if (l->sparing) {
			e.ino = 0;
			l->plain = true;
		}
		added = fs_dir_page_add(&l->page, entry->event->name, &e,
					(off_t)entry->cursor + BEHIND_DOTS);
	}
	l->full = !added;
	return added;
}

static enum rc list_stored(struct listing *l, off_t off, struct why *why)
{
	struct view_dir d;
	int64_t row;
	enum rc rc = fs_place_row(l->fs, l->dir, &row, why);
	if (rc != RC_OK || !row)
		return rc;
	if (off < STREAM_OFFSET)
		rc = view_list(l->fs->view, row,
			       off > BEHIND_DOTS ? (uint64_t)off - BEHIND_DOTS : 0, add_entry, l,
			       why);
	if (rc != RC_OK || l->full || off >= STREAM_OFFSET || !l->fs->options.list_streams)
		return rc;
	rc = view_get_dir(l->fs->view, row, false, &d, why);
	if (rc != RC_OK || !d.is_stream)
		return rc;
	struct fuse_entry_param e = { .ino = fs_node_stream(l->dir, 0) };
	fs_node_stat_stream(l->fs, l->dir, d.stream_size, d.mtime_us, &e.attr);
	l->full = !fs_dir_page_add(&l->page, NAME_STREAM, &e, STREAM_OFFSET);
	return RC_OK;
}

static void list_young(struct listing *l, off_t off)
{
	struct fs_young_dir y;
	int64_t after = off > YOUNG_OFFSET ? off - YOUNG_OFFSET : 0;
	for (; !l->full && fs_young_next(l->fs->young, l->dir, after, &y); after = y.row) {
		struct fuse_entry_param e;
		struct view_dir d = { .mtime_us = y.made_us, .ctime_us = y.made_us };
		if (l->page.plus && !fs_young_find(l->fs->young, l->dir, y.name, 1, NULL))
			continue;
		fs_lookup_entry_dir(l->fs, &d, y.row, &e);
		l->full = !fs_dir_page_add(&l->page, y.name, &e, YOUNG_OFFSET + y.row);
		if (l->full && l->page.plus)
			fs_young_forget(l->fs->young, y.row, 1);
	}
}

bool fs_dir_prepare(struct fs *fs, int64_t row, struct fs_ahead_page *out)
{
	struct listing l = { .fs = fs, .dir = row, .ahead = true,
			     .page = { .data = out->data, .size = sizeof(out->data), .plus = true } };
	struct fs_young_dir y;
	struct view_dir d;
	if (fs_place_get(fs, row, true, &d, NULL) != RC_OK || fs_young_next(fs->young, row, 0, &y))
		return false;
	out->print = fs_kept_print(fs, &d);
	l.sparing = !attributes_wanted(fs->dirs) && d.events > FEW;
	out->sparing = l.sparing;
	l.full = !add_dots(&l.page, fs_node_dir(row), FUSE_ROOT_ID, 0);
	if (l.full || list_stored(&l, 0, NULL) != RC_OK)
		return false;
	out->used = l.page.used;
	out->end = l.full ? 0 : l.page.last;
	return !l.unfit;
}

/* What is it like, as the listing begins? *made_r: its first page is there already. */
static enum rc begin(struct listing *l, bool *made_r, struct why *why)
{
	struct fs *fs = l->fs;
	struct view_dir d;
	off_t end;
	fs_kept_begin(fs, l->dir);
	if (l->page.plus)
		fs_ahead_wait(fs, l->dir);
	enum rc rc = fs_place_get(fs, l->dir, true, &d, why);
	if (rc == RC_OK)
		rc = look_at_young(fs, l->dir, why);
	if (rc != RC_OK)
		return rc;
	l->print = fs_kept_list(fs, l->dir, &d);
	l->sparing &= d.events > FEW;
	if (!l->page.plus || d.depth < 2 || d.row != l->dir)
		return RC_OK;
	*made_r = fs_ahead_take(fs, l->dir, l->print, l->sparing, l->page.data, l->page.size,
				&l->page.used, &end);
	if (*made_r) {
		l->full = !end;
		l->page.last = end;
		l->plain = l->sparing;
	}
	fs_ahead_saw(fs, l->dir, d.parent);
	return RC_OK;
}

static enum rc list(struct listing *l, off_t off, struct why *why)
{
	bool first = off < BEHIND_DOTS, wanted = attributes_wanted(l->fs->dirs), made = false;
	l->sparing = l->page.plus && !wanted;
	enum rc rc = first ? begin(l, &made, why) : RC_OK;
	if (rc != RC_OK)
		return rc;
	told_page(l->fs->dirs, wanted, first);
	if (!made) {
		l->full = !add_dots(&l->page, fs_node_dir(l->dir), FUSE_ROOT_ID, off);
		if (!l->full && off < YOUNG_OFFSET)
			rc = list_stored(l, off, why);
		if (rc == RC_OK && !l->full)
			list_young(l, off);
	}
	if (l->plain || (l->page.used && !l->page.plus))
		fs_kept_plain(l->fs, l->dir);
	if (first && rc == RC_OK && !l->full)
		fs_kept_end(l->fs, l->dir, l->print, l->page.last);
	return rc;
}

static enum rc list_control(struct listing *l, const struct fs_node *at, fuse_ino_t ino, off_t off,
			    struct why *why)
{
	return off >= BEHIND_DOTS || add_dots(&l->page, ino, FUSE_ROOT_ID, off)
		       ? fs_control_list(&l->page, at, off, why)
		       : RC_OK;
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct fs *fs = fs_of(req);
	uint64_t start_us = clock_boot_us();
	_cleanup_(freep) char *data = malloc(size);
	struct listing l = { .fs = fs,
			     .page = { .req = req, .data = data, .size = size, .plus = plus } };
	struct why why = { "" };
	struct fs_node at;
	fs_node_parse(ino, &at);
	if (!data) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	l.dir = at.dir;
	if (at.kind == FS_NODE_DIR && fs_kept_is_end(fs, at.dir, off)) {
		fuse_reply_buf(req, data, 0);
		return;
	}
	enum rc rc = at.kind == FS_NODE_DIR ? list(&l, off, &why)
					    : list_control(&l, &at, ino, off, &why);
	/* what was added is told even if the rest failed: READDIRPLUS has counted it */
	if (rc != RC_OK && !l.page.used) {
		fs_refuse_read(req, "readdir", rc, &why);
		return;
	}
	fuse_reply_buf(req, data, l.page.used);
	fs_metrics_did_read(fs->metrics, FS_METRICS_LIST, clock_boot_us() - start_us);
}

void fs_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, false);
}

void fs_dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, true);
}
