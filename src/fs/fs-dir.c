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
#include "fs/fs-control.h"
#include "fs/fs-lookup.h"
#include "fs/fs-metrics.h"
#include "fs/fs-node.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"
#include "fs/fs-young.h"

#define BEHIND_DOTS 2
#define STREAM_OFFSET (INT64_C(1) << 61)
#define YOUNG_OFFSET (INT64_C(1) << 62)
#define SEEN 8192
/* A directory that changed within it may change again without a later time. */
#define SETTLING_US 3000000
/*
 * What the kernel learns with attributes costs it more than all else of a find: from a first page
 * it learns so many events. Who looked up more, for want of attributes, has them for a while.
 */
#define FEW 8
#define WANTED_MS 1000

/*
 * What a directory was like when the kernel last began to list it: one place for many, who comes
 * later has it.
 */
struct seen {
	int64_t dir;
	uint64_t print;
	bool plain;	/* some of it was told without attributes */
};

struct fs_dirs {
	pthread_mutex_t lock;	/* guards seen */
	struct seen seen[SEEN];
	atomic_uint looked_up;	/* events by name, since the last first page without attributes */
	_Atomic uint64_t wanted_until;	/* clock_boot_ms */
};

/* An open directory. */
struct open_dir {
	_Atomic off_t end;	/* behind the last entry, once it was told; 0: unknown */
};

enum rc fs_dirs_new(struct fs_dirs **out, struct why *why)
{
	struct fs_dirs *d = calloc(1, sizeof(*d));
	if (!d)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&d->lock, NULL);
	*out = d;
	return RC_OK;
}

void fs_dirs_free(struct fs_dirs **pd)
{
	if (!*pd)
		return;
	pthread_mutex_destroy(&(*pd)->lock);
	free(*pd);
	*pd = NULL;
}

static uint64_t mix(uint64_t h, uint64_t n)
{
	h = (h ^ n) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

/*
 * Remember what it is like; true if it was the same the last time, and the kernel may go on with
 * what it has. Not with names alone: an ls -l behind an ls would look up each of them, ten times
 * slower than a new listing with attributes.
 */
static bool unchanged(struct fs *fs, int64_t dir, const struct view_dir *d)
{
	uint64_t print = mix(mix(mix(mix(1, d->events), d->head), (uint64_t)d->mtime_us),
			     (uint64_t)d->ctime_us);
	print = mix(mix(mix(print, fs_young_version(fs->young)), d->is_stream), d->epoch);
	struct seen *s = &fs->dirs->seen[(uint64_t)dir % SEEN];
	bool settled = d->depth >= 2 || clock_wall_us() - d->ctime_us > SETTLING_US;

	pthread_mutex_lock(&fs->dirs->lock);
	bool same = s->dir == dir && s->print == print && settled && !s->plain;
	*s = (struct seen){ .dir = dir, .print = print };
	pthread_mutex_unlock(&fs->dirs->lock);
	return same;
}

void fs_dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs_dirs *d = fs_of(req)->dirs;
	if (*name >= '0' && *name <= '9' && atomic_fetch_add(&d->looked_up, 1) >= FEW)
		atomic_store(&d->wanted_until, clock_boot_ms() + WANTED_MS);
	fs_lookup(req, parent, name);
}

/* Are a first page's events to be told with attributes, all of them? */
static bool attributes_wanted(struct fs_dirs *d)
{
	if (clock_boot_ms() < atomic_load(&d->wanted_until))
		return true;
	atomic_store(&d->looked_up, 0);
	return false;
}

static void told_plain(struct fs *fs, int64_t dir)
{
	struct seen *s = &fs->dirs->seen[(uint64_t)dir % SEEN];
	pthread_mutex_lock(&fs->dirs->lock);
	if (s->dir == dir)
		s->plain = true;
	pthread_mutex_unlock(&fs->dirs->lock);
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
	}
	return rc;
}

void fs_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_node at;
	struct view_dir d;
	struct why why = { "" };
	fs_node_parse(ino, &at);
	if (at.kind != FS_NODE_DIR) {
		fuse_reply_open(req, fi);
		return;
	}
	enum rc rc = fs_place_get(fs, at.dir, true, &d, &why);
	if (rc == RC_OK)
		rc = look_at_young(fs, at.dir, &why);
	if (rc != RC_OK) {
		fs_refuse_read(req, "opendir", rc, &why);
		return;
	}
	struct open_dir *open = calloc(1, sizeof(*open));
	if (!open) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)open;
	fi->cache_readdir = 1;
	fi->keep_cache = unchanged(fs, at.dir, &d);
	if (fuse_reply_open(req, fi) == -ENOENT)
		free(open);	/* interrupted: nobody will release it */
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
	bool sparing;	/* only few events are told with attributes */
	size_t events;	/* told */
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
	fs_lookup_entry_dir(l->fs, entry->dir, fs_node_dir(row), &e);
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
	if (entry->is_dir) {
		added = add_dir(l, entry);
	} else {
		struct fuse_entry_param e;
		fs_lookup_entry_event(l->fs, entry->event, &e);
		if (l->sparing && l->events++ >= FEW)
			e.ino = 0;
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
		fs_lookup_entry_dir(l->fs, &d, fs_node_dir(y.row), &e);
		l->full = !fs_dir_page_add(&l->page, y.name, &e, YOUNG_OFFSET + y.row);
		if (l->full && l->page.plus)
			fs_young_forget(l->fs->young, y.row, 1);
	}
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi, bool plus)
{
	struct fs *fs = fs_of(req);
	struct open_dir *open = (struct open_dir *)(uintptr_t)fi->fh;
	uint64_t start_us = clock_boot_us();
	_cleanup_(freep) char *data = malloc(size);
	struct listing l = { .fs = fs,
			     .page = { .req = req, .data = data, .size = size, .plus = plus } };
	struct why why = { "" };
	struct fs_node at;
	enum rc rc = RC_OK;
	fs_node_parse(ino, &at);
	if (!data) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (open && off && off == atomic_load(&open->end)) {
		fuse_reply_buf(req, data, 0);
		return;
	}
	l.dir = at.dir;
	l.sparing = plus && off < BEHIND_DOTS && !attributes_wanted(fs->dirs);
	if (at.kind != FS_NODE_DIR) {
		rc = off >= BEHIND_DOTS || add_dots(&l.page, ino, FUSE_ROOT_ID, off) ?
			fs_control_list(&l.page, &at, off, &why) : RC_OK;
	} else {
		l.full = !add_dots(&l.page, ino, FUSE_ROOT_ID, off);
		if (!l.full && off < YOUNG_OFFSET)
			rc = list_stored(&l, off, &why);
		if (rc == RC_OK && !l.full)
			list_young(&l, off);
	}
	/* what was added is told even if the rest failed: READDIRPLUS has counted it */
	if (rc != RC_OK && !l.page.used) {
		fs_refuse_read(req, "readdir", rc, &why);
		return;
	}
	if ((!plus && l.page.used) || l.events > FEW)
		told_plain(fs, l.dir);
	if (open)
		atomic_store(&open->end, rc == RC_OK && !l.full ? l.page.last : 0);
	fuse_reply_buf(req, data, l.page.used);
	fs_metrics_did_read(fs->metrics, FS_METRICS_LIST, clock_boot_us() - start_us);
}

void fs_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, fi, false);
}

void fs_dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, fi, true);
}

void fs_dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	free((struct open_dir *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}
