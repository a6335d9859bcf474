/* SPDX-License-Identifier: Apache-2.0 */
/* fs-by-date.c - events by day. */
#include "config.h"
#include "fs/fs-by-date.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/time.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"

#define DAY_US INT64_C(86400000000)

struct span {
	int64_t from_us, to_us;
};

/* The time that a year, a month or a day covers. False: there is no such date. */
static bool span_of(enum fs_node_kind kind, int year, int month, int day, struct span *out)
{
	int to_year = year, to_month = 1;
	if (kind == FS_NODE_DAY) {
		if (time_from_day(year, month, day, &out->from_us) != RC_OK)
			return false;
		out->to_us = out->from_us + DAY_US;
		return true;
	}
	if (kind == FS_NODE_YEAR || month == 12)
		to_year++;
	else
		to_month = month + 1;
	return time_from_day(year, kind == FS_NODE_YEAR ? 1 : month, 1, &out->from_us) == RC_OK &&
	       time_from_day(to_year, to_month, 1, &out->to_us) == RC_OK;
}

static void parts_of(const struct fs_node *at, int *year, int *month, int *day)
{
	*year = (int)(at->value / 10000);
	*month = (int)(at->value / 100 % 100);
	*day = (int)(at->value % 100);
}

static fuse_ino_t node_of(enum fs_node_kind kind, int year, int month, int day)
{
	return fs_node_make(kind, (uint64_t)(year * 10000 + month * 100 + day));
}

static bool stop(void *arg, const struct view_entry *entry)
{
	(void)entry;
	*(bool *)arg = true;
	return false;
}

static enum rc has_events(struct fs *fs, const struct span *s, bool *has_r, struct why *why)
{
	*has_r = false;
	return view_list_time(fs->view, s->from_us, s->to_us, 0, stop, has_r, why);
}

static void entry_of(struct fs *fs, fuse_ino_t ino, const struct span *s,
		     struct fuse_entry_param *out)
{
	*out = (struct fuse_entry_param){
		.ino = ino, .attr_timeout = 0, .entry_timeout = FS_FOREVER,
	};
	fs_node_stat_plain(fs, ino, S_IFDIR | 0555, 0, s->from_us, &out->attr);
}

/* What stands below: the children of the tree are years, of a year months, of a month days. */
static bool child_kind(enum fs_node_kind kind, enum fs_node_kind *child)
{
	*child = kind == FS_NODE_BY_DATE ? FS_NODE_YEAR :
		 kind == FS_NODE_YEAR    ? FS_NODE_MONTH :
					   FS_NODE_DAY;
	return kind != FS_NODE_DAY;
}

static void link_entry(struct fs *fs, enum fs_node_kind kind, const struct view_event *event,
		       struct fuse_entry_param *out)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	fs_place_path(fs, event->dir, event->name, &path);
	double keep = event->settled ? FS_FOREVER : fs->fresh_s;
	*out = (struct fuse_entry_param){
		.ino = fs_node_link(kind, event->dir, event->ordinal),
		.attr_timeout = keep,
		.entry_timeout = keep,
	};
	fs_node_stat_plain(fs, out->ino, S_IFLNK | 0777,
			   path.len +
				   strlen(kind == FS_NODE_ID_LINK ? "../../" : "../../../../../"),
			   event->occurred_us, &out->attr);
}

void fs_by_date_reply_link(fuse_req_t req, enum fs_node_kind kind, const struct view_event *event)
{
	struct fuse_entry_param e;
	link_entry(fs_of(req), kind, event, &e);
	fuse_reply_entry(req, &e);
}

void fs_by_date_getattr_link(fuse_req_t req, fuse_ino_t ino, const struct fs_node *at)
{
	struct fs *fs = fs_of(req);
	struct view_event event;
	struct fuse_entry_param e;
	struct why why = { "" };
	(void)ino;
	enum rc rc = view_get_event(fs->view, at->dir, at->ordinal, &event, &why);
	if (rc != RC_OK) {
		fs_refuse_read(req, "getattr", rc, &why);
		return;
	}
	link_entry(fs, at->kind, &event, &e);
	fuse_reply_attr(req, &e.attr, e.attr_timeout);
}

static void add_link_name(int64_t recorded_us, const char *event_id, struct buf *out)
{
	char text[TIME_TEXT_MAX];
	time_format_us(recorded_us, text);	/* 2025-12-18T09:05:03.123456Z */
	const char *t = strchr(text, 'T');
	if (t && strlen(t) >= 16)
		buf_printf(out, "%.2s%.2s%.2s%.7s_%s.json", t + 1, t + 4, t + 7, t + 9, event_id);
}

static void lookup_link(fuse_req_t req, const struct span *s, const char *name)
{
	struct fs *fs = fs_of(req);
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct view_event event;
	struct why why = { "" };
	char id[256];
	const char *start = strchr(name, '_');
	size_t len = start ? strlen(++start) : 0;
	enum rc rc = RC_NOT_FOUND;
	if (len > 5 && len < sizeof(id)) {
		snprintf(id, sizeof(id), "%.*s", (int)len - 5, start);
		rc = view_find_id(fs->view, id, &event, &why);
	}
	if (rc == RC_OK) {
		add_link_name(event.recorded_us, id, &again);
		if (strcmp(buf_text(&again), name) || event.recorded_us < s->from_us ||
		    event.recorded_us >= s->to_us)
			rc = RC_NOT_FOUND;
	}
	if (rc == RC_OK)
		fs_by_date_reply_link(req, FS_NODE_DATE_LINK, &event);
	else
		fs_refuse_read(req, "lookup", rc, &why);
}

void fs_by_date_lookup(fuse_req_t req, const struct fs_node *at, const char *name)
{
	struct fs *fs = fs_of(req);
	int year, month, day;
	enum fs_node_kind child;
	struct span s;
	struct why why = { "" };
	struct fuse_entry_param e;
	bool has = false;
	parts_of(at, &year, &month, &day);
	if (!child_kind(at->kind, &child)) {
		if (span_of(FS_NODE_DAY, year, month, day, &s))
			lookup_link(req, &s, name);
		else
			fuse_reply_err(req, ENOENT);
		return;
	}
	size_t digits = strspn(name, "0123456789");
	int n = atoi(name);
	*(child == FS_NODE_YEAR ? &year : child == FS_NODE_MONTH ? &month : &day) = n;
	if (name[digits] || digits != (child == FS_NODE_YEAR ? 4 : 2) || !n ||
	    !span_of(child, year, month, day, &s)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	enum rc rc = has_events(fs, &s, &has, &why);
	if (rc == RC_OK && !has)
		rc = RC_NOT_FOUND;
	if (rc != RC_OK) {
		fs_refuse_read(req, "lookup", rc, &why);
		return;
	}
	entry_of(fs, node_of(child, year, month, day), &s, &e);
	fuse_reply_entry(req, &e);
}

struct day_listing {
	struct fs *fs;
	struct fs_dir_page *page;
	enum rc rc;
	struct why *why;
};

static bool add_event(void *arg, const struct view_entry *entry)
{
	struct day_listing *l = arg;
	_cleanup_(buf_release) struct buf id = BUF_INIT, name = BUF_INIT;
	struct fuse_entry_param e;
	if (entry->is_dir)
		return true;
	l->rc = view_event_facts(l->fs->view, entry->event, NULL, &id, NULL, l->why);
	if (l->rc != RC_OK)
		return false;
	add_link_name(entry->event->recorded_us, buf_text(&id), &name);
	if (strlen(buf_text(&name)) > 255)
		return true;
	link_entry(l->fs, FS_NODE_DATE_LINK, entry->event, &e);
	return fs_dir_page_add(l->page, buf_text(&name), &e, (off_t)entry->cursor + 2);
}

static enum rc list_day(struct fs_dir_page *page, const struct span *s, off_t off, struct why *why)
{
	struct fs *fs = fs_of(page->req);
	struct day_listing l = { fs, page, RC_OK, why };
	enum rc rc = view_list_time(fs->view, s->from_us, s->to_us, off > 2 ? (uint64_t)off - 2 : 0,
				    add_event, &l, why);
	return rc == RC_OK ? l.rc : rc;
}

enum rc fs_by_date_list(struct fs_dir_page *page, const struct fs_node *at, off_t off,
			struct why *why)
{
	struct fs *fs = fs_of(page->req);
	int year, month, day;
	enum fs_node_kind child;
	struct span s;
	int64_t first_us, last_us;
	parts_of(at, &year, &month, &day);
	if (!child_kind(at->kind, &child))
		return span_of(FS_NODE_DAY, year, month, day, &s) ? list_day(page, &s, off, why)
								  : RC_OK;

	enum rc rc = view_time_range(fs->view, &first_us, &last_us, why);
	if (rc != RC_OK)
		return rc == RC_NOT_FOUND ? RC_OK : rc;
	int first, last, unused;
	time_day(first_us, &first, &unused, &unused);
	time_day(last_us, &last, &unused, &unused);
	int begin = child == FS_NODE_YEAR ? first : 1;
	int end = child == FS_NODE_YEAR ? last : child == FS_NODE_MONTH ? 12 : 31;
	int *varying = child == FS_NODE_YEAR ? &year : child == FS_NODE_MONTH ? &month : &day;
	for (int n = off > begin + 2 ? (int)off - 2 : begin; n <= end; n++) {
		bool has = false;
		char name[16];
		struct fuse_entry_param e;
		*varying = n;
		if (!span_of(child, year, month, day, &s))
			continue;
		rc = has_events(fs, &s, &has, why);
		if (rc != RC_OK)
			return rc;
		if (!has)
			continue;
		snprintf(name, sizeof(name), child == FS_NODE_YEAR ? "%04d" : "%02d", n);
		entry_of(fs, node_of(child, year, month, day), &s, &e);
		if (!fs_dir_page_add(page, name, &e, n + 3))
			break;
	}
	return RC_OK;
}
