/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-list.c - listings, a page at a time: nothing is held while the caller is told.
 *
 * A cursor is a directory's row, or EVENTS and an event's ordinal: the order of events is that of
 * their numbers, but only the ordinal keeps its meaning when a late event comes between.
 */
#include "config.h"
#include "store/view-private.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define EVENTS (UINT64_C(1) << 60)
#define DIRS_PAGE 16
#define EVENTS_PAGE 128	/* what a page of the kernel's takes, or less: the rest would be read for nothing */

struct page {
	struct catalog_dir dirs[DIRS_PAGE];
	struct catalog_event rows[EVENTS_PAGE];
	struct view_event shown[EVENTS_PAGE];
	size_t n;	/* events */
	bool begun;	/* the first events are read already */
};

static enum rc read_events(struct view *v, struct catalog_conn *conn, int64_t row, uint64_t number,
			   unsigned fork, struct page *page, struct why *why)
{
	enum rc rc = catalog_event_list(conn, row, number, fork, page->rows, EVENTS_PAGE, &page->n,
					why);
	for (size_t i = 0; i < page->n && rc == RC_OK; i++)
		rc = view_entry_event(v, conn, &page->rows[i], &page->shown[i], why);
	return rc;
}

/* Most directories have no others in them: the first events are read at once. */
static enum rc read_dirs(struct view *v, int64_t row, uint64_t cursor, struct page *page,
			 size_t *n_r, struct why *why)
{
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_list(conn, row, (int64_t)cursor, page->dirs, DIRS_PAGE, n_r, why);
	page->begun = rc == RC_OK && *n_r < DIRS_PAGE;
	if (page->begun)
		rc = read_events(v, conn, row, 0, 0, page, why);
	catalog_done(v->catalog, conn);
	return rc;
}

static enum rc list_dirs(struct view *v, int64_t row, uint64_t cursor, struct page *page,
			 view_entry_fn *fn, void *arg, bool *stopped_r, struct why *why)
{
	while (!page->begun) {
		size_t n;
		enum rc rc = read_dirs(v, row, cursor, page, &n, why);
		if (rc != RC_OK)
			return rc;
		for (size_t i = 0; i < n; i++) {
			struct view_dir dir;
			view_entry_dir(v, &page->dirs[i], &dir);
			cursor = (uint64_t)page->dirs[i].row;
			*stopped_r = !fn(arg, &(struct view_entry){ .cursor = cursor,
								    .is_dir = true,
								    .dir = &dir });
			if (*stopped_r)
				return RC_OK;
		}
	}
	return RC_OK;
}

/* The place behind which a listing goes on. */
static enum rc find_place(struct catalog_conn *conn, int64_t row, uint64_t cursor,
			  uint64_t *number_r, unsigned *fork_r, struct why *why)
{
	struct catalog_event e;
	uint32_t ordinal = (uint32_t)(cursor & ~EVENTS);
	*number_r = 0;
	*fork_r = 0;
	if (!ordinal)
		return RC_OK;
	enum rc rc = catalog_event_ordinal(conn, row, ordinal, &e, why);
	bool gone = rc == RC_NOT_FOUND;
	if (gone)
		rc = catalog_event_after_ordinal(conn, row, ordinal, &e, why);
	if (rc == RC_OK) {
		*number_r = e.number;
		*fork_r = gone ? e.fork - 1 : e.fork;
	} else if (rc == RC_NOT_FOUND) {
		*number_r = INT64_MAX;	/* it was the last */
		rc = RC_OK;
	}
	return rc;
}

static enum rc list_events(struct view *v, int64_t row, uint64_t cursor, struct page *page,
			   view_entry_fn *fn, void *arg, struct why *why)
{
	uint64_t number = 0;
	unsigned fork = 0;
	enum rc rc = RC_OK;
	for (bool placed = page->begun;; placed = true, page->begun = false) {
		if (!page->begun) {
			struct catalog_conn *conn = catalog_read(v->catalog);
			if (!placed)
				rc = find_place(conn, row, cursor, &number, &fork, why);
			if (rc == RC_OK)
				rc = read_events(v, conn, row, number, fork, page, why);
			catalog_done(v->catalog, conn);
		}
		if (rc != RC_OK)
			return rc;
		for (size_t i = 0; i < page->n; i++)
			if (!fn(arg, &(struct view_entry){ .cursor = EVENTS | page->rows[i].ordinal,
							   .event = &page->shown[i] }))
				return RC_OK;
		if (page->n < EVENTS_PAGE)
			return RC_OK;
		number = page->rows[page->n - 1].number;
		fork = page->rows[page->n - 1].fork;
	}
}

enum rc view_list(struct view *v, int64_t row, uint64_t cursor, view_entry_fn *fn, void *arg,
		  struct why *why)
{
	bool stopped = false;
	_cleanup_(freep) struct page *page = malloc(sizeof(*page));
	if (!page)
		return rc_fail(RC_NO_MEMORY, why, "no memory to list a directory");
	page->begun = false;
	enum rc rc = cursor < EVENTS ? list_dirs(v, row, cursor, page, fn, arg, &stopped, why)
				     : RC_OK;
	return rc != RC_OK || stopped ? rc : list_events(v, row, cursor, page, fn, arg, why);
}

#define KNOWN_PAGE 32

struct known {
	struct catalog_event rows[KNOWN_PAGE];
	struct view_event shown[KNOWN_PAGE];
	struct buf ids;		/* their event ids, a NUL behind each */
	size_t n;
};

static enum rc read_known(struct view *v, struct known *k, int64_t dir, uint64_t number,
			  unsigned fork, struct why *why)
{
	buf_reset(&k->ids);
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_event_list(conn, dir, number, fork, k->rows, KNOWN_PAGE, &k->n, why);
	for (size_t i = 0; i < k->n && rc == RC_OK; i++) {
		rc = catalog_event_texts(conn, dir, k->rows[i].number, k->rows[i].fork, &k->ids,
					 NULL, why);
		buf_add_char(&k->ids, '\0');
		if (rc == RC_OK)
			rc = view_entry_event(v, conn, &k->rows[i], &k->shown[i], why);
	}
	catalog_done(v->catalog, conn);
	if (rc == RC_OK && buf_failed(&k->ids))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory to list a directory");
	return rc;
}

enum rc view_known(struct view *v, const char *type, const char *id, uint64_t after,
		   view_known_fn *fn, void *arg, struct why *why)
{
	struct catalog_dir dir;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_path(conn, type, id, false, &dir, why);
	catalog_done(v->catalog, conn);
	if (rc != RC_OK)
		return rc == RC_NOT_FOUND ? RC_OK : rc;

	_cleanup_(freep) struct known *k = calloc(1, sizeof(*k));
	if (!k)
		return rc_fail(RC_NO_MEMORY, why, "no memory to list a directory");
	unsigned fork = INT_MAX;	/* behind each that has the number `after` */
	bool more = true;
	while (rc == RC_OK && more) {
		rc = read_known(v, k, dir.row, after, fork, why);
		more = rc == RC_OK && k->n == KNOWN_PAGE;
		const char *event_id = buf_text(&k->ids);
		for (size_t i = 0; rc == RC_OK && i < k->n; i++) {
			if (!fn(arg, &k->shown[i], event_id)) {
				more = false;
				break;
			}
			event_id += strlen(event_id) + 1;
		}
		if (more) {
			after = k->rows[k->n - 1].number;
			fork = k->rows[k->n - 1].fork;
		}
	}
	buf_release(&k->ids);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}
