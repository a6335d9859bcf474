/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-ledger.c - what the ledger tells of streams and events goes into the catalog (design.md 6
 * "Refresh, native").
 *
 * The rows after the number up to which all are firm are asked for. Nothing is written where
 * nothing is new.
 */
#include "config.h"
#include "store/view-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/plant.h"

#define KEEP_ROWS 20000	/* written in one transaction */

static enum rc take_event(struct view_refresh *r, const struct ledger_row *row)
{
	struct catalog_event known;
	bool same;
	if (row->number <= r->dir.head &&
	    view_refresh_look(r, row->number, row->event_id, &known, &same) == RC_OK && same &&
	    (known.settled || !row->settled))
		return RC_OK;

	/* another process may have written since: what counts is what stands there now */
	if (view_refresh_begin(r) != RC_OK)
		return r->rc;
	if (row->number <= r->dir.head &&
	    view_refresh_look(r, row->number, row->event_id, &known, &same) == RC_OK) {
		if (same) {
			if (row->settled && !known.settled)
				r->rc = catalog_event_settle(r->conn, r->dir.row, row->number,
							     &r->why);
			return r->rc;
		}
		if (!known.settled && PLANTED("keeps-what-is-not-firm"))
			return RC_OK;
		if (known.settled)
			log_warning("view: the ledger has another event under a number that was "
				    "shown as settled stream=%s/%s number=%" PRIu64 " event=%s",
				    r->dir.type, r->dir.id, row->number, row->event_id);
		r->rc = catalog_event_remove(r->conn, &r->dir, &known, &r->why);
		if (r->rc != RC_OK)
			return r->rc;
	}
	return view_refresh_add(r, &(struct catalog_new){
					   .number = row->number,
					   .event_id = row->event_id,
					   .event_type = row->event_type,
					   .size = row->size,
					   .occurred = row->occurred_us,
					   .recorded = row->recorded_us,
					   .settled = row->settled,
				   });
}

/* The numbers of a void have no event: what was shown there, and was not firm, is gone. */
static enum rc take_void(struct view_refresh *r, const struct ledger_row *row)
{
	while (row->number <= r->dir.head) {
		struct catalog_event e;
		size_t n = 0;
		struct catalog_conn *conn = r->conn ? r->conn : catalog_read(r->v->catalog);
		r->rc = catalog_event_list(conn, r->dir.row, row->number, 0, &e, 1, &n, &r->why);
		if (!r->conn)
			catalog_done(r->v->catalog, conn);
		if (r->rc != RC_OK || !n || e.number >= row->number + row->span || e.settled)
			return r->rc;
		if (view_refresh_begin(r) == RC_OK)
			r->rc = catalog_event_remove(r->conn, &r->dir, &e, &r->why);
		if (r->rc != RC_OK)
			return r->rc;
	}
	return RC_OK;
}

static enum rc keep_prefix(struct view_refresh *r)
{
	r->unkept = 0;
	if (r->firm > r->dir.known_to)
		r->dir.known_to = r->firm;
	return view_refresh_keep(r);
}

static bool take_row(void *arg, const struct ledger_row *row)
{
	struct view_refresh *r = arg;
	uint64_t end = row->number + (row->span ? row->span : 1);
	if (end <= r->next)
		return true;
	if (row->number > r->next)
		return false;	/* only a prefix is shown */
	enum rc rc = row->span ? take_void(r, row) : take_event(r, row);
	if (rc != RC_OK)
		return false;
	if ((row->span || row->settled) && r->firm + 1 == r->next)
		r->firm = end - 1;
	r->next = end;
	/* many rows are shown, and let others write, before the last has come */
	return !r->conn || ++r->unkept < KEEP_ROWS || keep_prefix(r) == RC_OK;
}

enum rc view_ledger_events(struct view *v, struct catalog_dir *dir, bool *fenced_stream_r,
			   struct why *why)
{
	struct view_refresh r = { .v = v, .dir = *dir };
	uint32_t first_new = r.dir.next_ordinal;
	r.firm = r.dir.known_to;
	r.next = r.firm + 1;

	struct ledger_query q = {
		.what = LEDGER_EVENTS, .type = r.dir.type, .id = r.dir.id, .after = r.firm, .lean = true
	};
	_cleanup_(freep) char *texts = malloc(2 * (KEY_MAX + 1));
	if (!texts)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a refresh");
	/* r.dir is read again while the ledger reads q */
	q.type = strcpy(texts, r.dir.type);
	q.id = strcpy(texts + KEY_MAX + 1, r.dir.id);
	enum rc rc = ledger_read(v->src.ledger, &q, take_row, &r, fenced_stream_r, &r.why);
	if (rc != RC_OK && r.rc == RC_OK)
		r.rc = rc;

	/* what was shown behind the last row, before the ledger was asked, is not there any more */
	size_t dropped = 0;
	if (r.rc == RC_OK && r.dir.head >= r.next && view_refresh_begin(&r) == RC_OK)
		r.rc = catalog_event_drop_soft(r.conn, &r.dir, r.next - 1, first_new, &dropped,
					       &r.why);
	rc = view_refresh_end(&r, why);
	if (rc == RC_OK)
		*dir = r.dir;
	if (rc == RC_OK && dropped)
		log_info("view: events that were not yet stored are gone stream=%s/%s events=%zu",
			 r.dir.type, r.dir.id, dropped);
	return rc;
}

struct streams {
	struct view *v;
	struct catalog_conn *conn;
	int64_t position;
	enum rc rc;
	struct why *why;
};

static bool take_stream(void *arg, const struct ledger_row *row)
{
	struct streams *s = arg;
	struct catalog_dir dir;
	if (!s->conn)
		s->rc = catalog_write(s->v->catalog, &s->conn, s->why);
	if (s->rc == RC_OK)
		s->rc = catalog_dir_path(s->conn, row->type, row->id, true, &dir, s->why);
	if (s->rc != RC_OK)
		return false;
	s->position = row->position;
	if (dir.stream && dir.handle == row->stream)
		return true;
	dir.stream = true;
	dir.handle = row->stream;
	s->rc = catalog_dir_save(s->conn, &dir, s->why);
	return s->rc == RC_OK;
}

enum rc view_ledger_streams(struct view *v, struct why *why)
{
	_cleanup_(buf_release) struct buf handle = BUF_INIT;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_meta_get(conn, "handle", &handle, why);
	catalog_done(v->catalog, conn);
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;

	struct streams s = { .v = v, .why = why };
	struct ledger_query q = { .what = LEDGER_NEW_STREAMS,
				  .stream = strtoll(buf_text(&handle), NULL, 10) };
	rc = ledger_read(v->src.ledger, &q, take_stream, &s, NULL, why);
	if (rc == RC_OK)
		rc = s.rc;
	if (!s.conn)
		return rc;
	if (rc == RC_OK) {
		char text[24];
		snprintf(text, sizeof(text), "%" PRId64, s.position);
		rc = catalog_meta_set(s.conn, "handle", text, why);
	}
	if (rc == RC_OK)
		return catalog_commit(v->catalog, s.conn, why);
	catalog_abandon(v->catalog, s.conn);
	return rc;
}
