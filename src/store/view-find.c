/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-find.c - across streams: by event id, by time. The ledger knows; without one every stream
 * is refreshed first.
 */
#include "config.h"
#include "store/view-private.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "event/key.h"

/* ------------------------------------------------------------------ by id */

struct place {
	struct buf type, id;
	uint64_t number;
};

static void place_release(struct place *p)
{
	buf_release(&p->type);
	buf_release(&p->id);
}

static bool take_place(void *arg, const struct ledger_row *row)
{
	struct place *p = arg;
	buf_add_text(&p->type, row->type);
	buf_add_text(&p->id, row->id);
	p->number = row->number;
	return false;
}

/* Indexed: what the by-event-id entry says. */
static enum rc ask_index(struct view *v, const char *event_id, struct place *p, struct why *why)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	struct json_value doc, name, value;
	struct json_iter it;
	key_indexed_by_event_id(event_id, &key);
	if (buf_failed(&key))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a key");
	struct object_get get = { .key = key.data };
	enum rc rc = object_get(v->src.objects, &get, 1);
	if (rc == RC_NOT_FOUND || rc == RC_INVALID)
		return rc_fail(RC_NOT_FOUND, why, "no event '%s'", event_id);
	if (rc != RC_OK)
		return rc_fail(rc, why, "%s", get.why.text);
	_cleanup_(freep) char *text = get.buf;
	if (json_parse(get.buf, get.len, JSON_LAX, &doc, NULL) != RC_OK || doc.type != JSON_OBJECT)
		return rc_fail(RC_NOT_FOUND, why, "no event '%s': its index entry is none",
			       event_id);
	json_iter_init(&it, &doc);
	while (json_iter_next(&it, &name, &value)) {
		if (json_string_is(&name, "aggregate_type") && value.type == JSON_STRING)
			json_string(&value, &p->type);
		else if (json_string_is(&name, "aggregate_id") && value.type == JSON_STRING)
			json_string(&value, &p->id);
		else if (json_string_is(&name, "sequence_number"))
			(void)json_u64(&value, &p->number);
	}
	return RC_OK;
}

/* The event of this stream that has the id, among those with one number. */
static enum rc find_in_stream(struct view *v, const char *event_id, const struct place *p,
			      struct view_event *out, struct why *why)
{
	struct view_dir dir;
	if (!p->type.len || !p->id.len)
		return rc_fail(RC_NOT_FOUND, why, "no event '%s'", event_id);
	enum rc rc = view_find_stream(v, buf_text(&p->type), buf_text(&p->id), true, &dir, why);
	if (rc != RC_OK)
		return rc;
	_cleanup_(buf_release) struct buf found = BUF_INIT;
	struct catalog_event e;
	struct catalog_conn *conn = catalog_read(v->catalog);
	for (unsigned fork = 1; rc == RC_OK; fork++) {
		buf_reset(&found);
		rc = catalog_event_get(conn, dir.row, p->number, fork, &e, why);
		if (rc == RC_OK)
			rc = catalog_event_texts(conn, dir.row, p->number, fork, &found, NULL, why);
		if (rc == RC_OK && !strcmp(buf_text(&found), event_id)) {
			rc = view_entry_event(v, conn, &e, out, why);
			break;
		}
	}
	catalog_done(v->catalog, conn);
	return rc;
}

static enum rc find_in_catalog(struct view *v, const char *event_id, struct view_event *out,
			       struct why *why)
{
	struct catalog_event e;
	enum rc rc = catalog_event_by_id(v->catalog, event_id, &e, why);
	if (rc != RC_OK)
		return rc == RC_NOT_FOUND ? rc_fail(rc, why, "no event '%s'", event_id) : rc;
	struct catalog_conn *conn = catalog_read(v->catalog);
	rc = view_entry_event(v, conn, &e, out, why);
	catalog_done(v->catalog, conn);
	return rc;
}

enum rc view_find_id(struct view *v, const char *event_id, struct view_event *out, struct why *why)
{
	_cleanup_(place_release) struct place p = { BUF_INIT, BUF_INIT, 0 };
	if (v->src.ledger) {
		struct ledger_query q = { .what = LEDGER_ID, .event_id = event_id, .limit = 1 };
		enum rc asked = ledger_read(v->src.ledger, &q, take_place, &p, NULL, why);
		if (asked == RC_OK && p.type.len)
			return find_in_stream(v, event_id, &p, out, why);
		if (asked == RC_OK && atomic_load(&v->complete))
			return rc_fail(RC_NOT_FOUND, why, "no event '%s'", event_id);
	}
	enum rc rc = find_in_catalog(v, event_id, out, why);
	if (rc != RC_NOT_FOUND)
		return rc;
	if (v->src.layout == LAYOUT_INDEXED) {
		rc = ask_index(v, event_id, &p, why);
		return rc == RC_OK ? find_in_stream(v, event_id, &p, out, why) : rc;
	}
	/* only the objects themselves say their ids */
	rc = view_refresh_all(v, why);
	return rc == RC_OK ? find_in_catalog(v, event_id, out, why) : rc;
}

/* ------------------------------------------------------------------ by time */

#define PAGE 128

/* An event's row and the handle of its stream. */
static enum rc find_cursor(struct view *v, uint64_t cursor, struct catalog_event *out,
			   int64_t *handle_r, struct why *why)
{
	struct catalog_dir dir;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_event_ordinal(conn, (int64_t)(cursor >> 30),
					   (uint32_t)(cursor & ((1u << 30) - 1)), out, why);
	if (rc == RC_OK)
		rc = catalog_dir_get(conn, out->dir, &dir, why);
	catalog_done(v->catalog, conn);
	if (rc == RC_OK)
		*handle_r = dir.handle;
	return rc;
}

static bool tell(const struct view_event *e, view_entry_fn *fn, void *arg)
{
	uint64_t cursor = (uint64_t)e->dir << 30 | e->ordinal;
	return fn(arg, &(struct view_entry){ .cursor = cursor, .event = e });
}

struct time_page {
	struct time_row {
		struct buf type, id;
		int64_t stream, recorded_us;
		uint64_t number;
	} rows[PAGE];
	size_t n;
};

static bool take_time(void *arg, const struct ledger_row *row)
{
	struct time_page *page = arg;
	struct time_row *r = &page->rows[page->n++];
	buf_reset(&r->type);
	buf_reset(&r->id);
	buf_add_text(&r->type, row->type);
	buf_add_text(&r->id, row->id);
	r->stream = row->stream;
	r->recorded_us = row->recorded_us;
	r->number = row->number;
	return page->n < PAGE;
}

/* What the catalog has of a row that the ledger told; refreshed if it has not. */
static enum rc find_row(struct view *v, const struct time_row *r, struct view_event *out,
			struct why *why)
{
	struct view_dir dir;
	enum rc rc = view_find_stream(v, buf_text(&r->type), buf_text(&r->id), false, &dir, NULL);
	if (rc == RC_OK)
		rc = view_event_numbered(v, dir.row, r->number, out, NULL);
	if (rc != RC_NOT_FOUND)
		return rc;
	view_touch(v, buf_text(&r->type), buf_text(&r->id));
	rc = view_find_stream(v, buf_text(&r->type), buf_text(&r->id), true, &dir, why);
	return rc == RC_OK ? view_event_numbered(v, dir.row, r->number, out, why) : rc;
}

static enum rc list_by_ledger(struct view *v, int64_t from_us, int64_t to_us, uint64_t cursor,
			      view_entry_fn *fn, void *arg, bool *told_r, struct why *why)
{
	struct ledger_query q = { .what = LEDGER_TIME,
				  .from_us = from_us,
				  .to_us = to_us,
				  .after_us = INT64_MIN,
				  .limit = PAGE };
	enum rc rc = RC_OK;
	if (cursor) {
		struct catalog_event at;
		rc = find_cursor(v, cursor, &at, &q.stream, why);
		if (rc != RC_OK)
			return rc;
		q.after_us = at.recorded;
		q.after = at.number;
	}
	struct time_page *page = calloc(1, sizeof(*page));
	if (!page)
		return rc_fail(RC_NO_MEMORY, why, "no memory to list by time");
	bool go_on = true;
	do {
		page->n = 0;
		rc = ledger_read(v->src.ledger, &q, take_time, page, NULL, why);
		for (size_t i = 0; i < page->n && rc == RC_OK && go_on; i++) {
			const struct time_row *r = &page->rows[i];
			struct view_event e;
			q.after_us = r->recorded_us;
			q.stream = r->stream;
			q.after = r->number;
			rc = find_row(v, r, &e, why);
			if (rc == RC_NOT_FOUND)
				rc = RC_OK;	/* behind a hole: not shown yet */
			else if (rc == RC_OK)
				go_on = tell(&e, fn, arg);
			*told_r = true;
		}
	} while (rc == RC_OK && go_on && page->n == PAGE);
	for (size_t i = 0; i < PAGE; i++) {
		buf_release(&page->rows[i].type);
		buf_release(&page->rows[i].id);
	}
	free(page);
	return rc;
}

static enum rc list_by_catalog(struct view *v, int64_t from_us, int64_t to_us, uint64_t cursor,
			       view_entry_fn *fn, void *arg, struct why *why)
{
	struct catalog_event at, rows[PAGE / 2];
	int64_t handle;
	size_t n = 0;
	enum rc rc = cursor ? find_cursor(v, cursor, &at, &handle, why) : view_refresh_all(v, why);
	bool behind = cursor != 0;
	while (rc == RC_OK) {
		rc = catalog_event_by_time(v->catalog, from_us, to_us, behind ? &at : NULL, rows,
					   ARRAY_SIZE(rows), &n, why);
		for (size_t i = 0; i < n && rc == RC_OK; i++) {
			struct view_event e;
			struct catalog_conn *conn = catalog_read(v->catalog);
			rc = view_entry_event(v, conn, &rows[i], &e, why);
			catalog_done(v->catalog, conn);
			if (rc == RC_OK && !tell(&e, fn, arg))
				return RC_OK;
		}
		if (rc == RC_OK && n < ARRAY_SIZE(rows))
			break;
		at = rows[ARRAY_SIZE(rows) - 1];
		behind = true;
	}
	return rc;
}

enum rc view_list_time(struct view *v, int64_t from_us, int64_t to_us, uint64_t cursor,
		       view_entry_fn *fn, void *arg, struct why *why)
{
	if (v->src.ledger) {
		bool told = false;
		enum rc rc = list_by_ledger(v, from_us, to_us, cursor, fn, arg, &told, why);
		if (rc == RC_OK || told)
			return rc;
	}
	return list_by_catalog(v, from_us, to_us, cursor, fn, arg, why);
}

static bool take_recorded(void *arg, const struct ledger_row *row)
{
	*(int64_t *)arg = row->recorded_us;
	return false;
}

/* The first recorded time at or after from_us; RC_NOT_FOUND. */
static enum rc first_from(struct view *v, int64_t from_us, int64_t *out, struct why *why)
{
	int64_t found = INT64_MAX;
	struct ledger_query q = { .what = LEDGER_TIME,
				  .from_us = from_us,
				  .to_us = INT64_MAX,
				  .after_us = INT64_MIN,
				  .limit = 1 };
	enum rc rc = ledger_read(v->src.ledger, &q, take_recorded, &found, NULL, why);
	if (rc != RC_OK)
		return rc;
	if (found == INT64_MAX)
		return rc_fail(RC_NOT_FOUND, why, "the store has no events");
	*out = found;
	return RC_OK;
}

static enum rc range_by_ledger(struct view *v, int64_t *first_us, int64_t *last_us, struct why *why)
{
	int64_t first, last, step = INT64_C(1000000);
	enum rc rc = first_from(v, INT64_MIN / 2, &first, why);
	if (rc != RC_OK)
		return rc;
	/* leap ahead while there is something, then by halves of what is left */
	for (last = first; rc == RC_OK; step *= 2) {
		int64_t found;
		rc = first_from(v, last + step, &found, why);
		if (rc == RC_OK)
			last = found;
	}
	for (; rc == RC_NOT_FOUND && step > 0; step /= 2) {
		int64_t found;
		enum rc there = first_from(v, last + step, &found, why);
		if (there == RC_OK)
			last = found;
		else if (there != RC_NOT_FOUND)
			rc = there;
	}
	if (rc != RC_NOT_FOUND)
		return rc;
	*first_us = first;
	*last_us = last;
	return RC_OK;
}

struct range {
	int64_t first, last;
};

static bool take_first(void *arg, const struct view_entry *entry)
{
	((struct range *)arg)->first = entry->event->recorded_us;
	return false;
}

enum rc view_time_range(struct view *v, int64_t *first_us, int64_t *last_us, struct why *why)
{
	if (v->src.ledger) {
		enum rc rc = range_by_ledger(v, first_us, last_us, why);
		if (rc == RC_OK || (rc == RC_NOT_FOUND && atomic_load(&v->complete)))
			return rc;
	}
	struct range r = { INT64_MAX, 0 };
	struct view_dir root;
	enum rc rc = list_by_catalog(v, INT64_MIN, INT64_MAX, 0, take_first, &r, why);
	if (rc == RC_OK)
		rc = view_get_dir(v, VIEW_ROOT, false, &root, why);
	if (rc != RC_OK)
		return rc;
	if (r.first == INT64_MAX)
		return rc_fail(RC_NOT_FOUND, why, "the store has no events");
	*first_us = r.first;
	*last_us = root.ctime_us;
	return RC_OK;
}
