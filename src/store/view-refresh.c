/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-refresh.c - when is the ledger asked, when are the objects, and how what they say gets
 * into the catalog.
 */
#include "config.h"
#include "store/view-private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/*
 * While the ledger is not wholly seeded an object behind a hole this old is shown: settled rows
 * stay about as long.
 */
#define HOLE_SEEDING_US (15 * 60 * INT64_C(1000000))

/* How often the ledger is asked whether it is seeded by now. */
#define SEEDING_MS 200

/* ------------------------------------------------------------------ one refresh */

enum rc view_refresh_begin(struct view_refresh *r)
{
	if (r->conn)
		return RC_OK;
	r->rc = catalog_write(r->v->catalog, &r->conn, &r->why);
	if (r->rc == RC_OK)
		r->rc = catalog_dir_get(r->conn, r->dir.row, &r->dir, &r->why);
	return r->rc;
}

static enum rc look(struct view_refresh *r, struct catalog_conn *conn, uint64_t number,
		    const char *event_id, struct catalog_event *out, bool *same_r)
{
	*same_r = false;
	enum rc rc = catalog_event_get(conn, r->dir.row, number, 1, out, &r->why);
	for (struct catalog_event e = *out; rc == RC_OK && event_id && !*same_r;) {
		struct buf known = BUF_INIT;
		rc = catalog_event_texts(conn, e.dir, number, e.fork, &known, NULL, &r->why);
		*same_r = rc == RC_OK && !strcmp(buf_text(&known), event_id);
		buf_release(&known);
		if (*same_r)
			*out = e;
		else if (rc == RC_OK &&
			 catalog_event_get(conn, e.dir, number, e.fork + 1, &e, NULL) != RC_OK)
			break;
	}
	return rc;
}

enum rc view_refresh_look(struct view_refresh *r, uint64_t number, const char *event_id,
			  struct catalog_event *out, bool *same_r)
{
	if (r->conn)
		return look(r, r->conn, number, event_id, out, same_r);
	struct catalog_conn *conn = catalog_read(r->v->catalog);
	enum rc rc = look(r, conn, number, event_id, out, same_r);
	catalog_done(r->v->catalog, conn);
	return rc;
}

enum rc view_refresh_add(struct view_refresh *r, const struct catalog_new *e)
{
	bool moved = false;
	if (view_refresh_begin(r) != RC_OK)
		return r->rc;
	r->rc = catalog_event_add(r->conn, &r->dir, e, &moved, &r->why);
	r->moved += moved;
	return r->rc;
}

enum rc view_refresh_keep(struct view_refresh *r)
{
	if (!r->conn)
		return r->rc;
	if (r->rc == RC_OK)
		r->rc = catalog_dir_save(r->conn, &r->dir, &r->why);
	if (r->rc == RC_OK)
		r->rc = catalog_commit(r->v->catalog, r->conn, &r->why);
	else
		catalog_abandon(r->v->catalog, r->conn);
	r->conn = NULL;
	return r->rc;
}

enum rc view_refresh_end(struct view_refresh *r, struct why *why)
{
	if (r->rc == RC_OK && r->firm > r->dir.known_to && view_refresh_begin(r) == RC_OK &&
	    r->firm > r->dir.known_to)
		r->dir.known_to = r->firm;
	view_refresh_keep(r);
	if (r->rc == RC_OK && r->moved)
		log_warning("view: late events came in front of others, the stream was put "
			    "together anew stream=%s/%s events=%zu",
			    r->dir.type, r->dir.id, r->moved);
	return r->rc == RC_OK ? RC_OK : rc_fail(r->rc, why, "%s", r->why.text);
}

/* ------------------------------------------------------------------ whom to ask */

/* Is the ledger wholly seeded? Remembers its point. */
static bool ask_state(struct view *v)
{
	struct ledger_state state = { .count = false };
	uint64_t now = clock_boot_ms();
	bool good = ledger_state(v->src.ledger, &state, NULL) == RC_OK && state.complete &&
		    !strcmp(state.identity, state.written);
	view_fresh_point(&v->fresh, good ? state.point : 0, now);
	return good;
}

/* Do directories list the objects too, because streams wait for their re-seed? */
static bool is_seeding(struct view *v)
{
	if (atomic_load(&v->complete))
		return false;
	uint64_t now = clock_boot_ms();
	if (now < atomic_load(&v->seeding_until))
		return true;
	if (!ask_state(v)) {
		atomic_store(&v->seeding_until, now + SEEDING_MS);
		return true;
	}
	atomic_store(&v->complete, true);
	return false;
}

/* Nothing at all was committed since this was last asked: so nothing that it asks for. */
static bool is_unchanged(struct view *v, struct fresh_ask *ask)
{
	if (!v->src.ledger || !atomic_load(&v->complete))
		return false;
	if (view_fresh_wants_point(&v->fresh, v->fresh_ms, ask) && !ask_state(v))
		atomic_store(&v->complete, false);
	return atomic_load(&v->complete) && view_fresh_unchanged(&v->fresh, ask);
}

/* Ask the ledger; where it must be seeded first, have that done once. */
static enum rc ask_events(struct view *v, struct catalog_dir *dir, struct why *why)
{
	bool fenced_stream = false;
	enum rc rc = view_ledger_events(v, dir, &fenced_stream, why);
	if (rc != RC_FENCED)
		return rc;
	atomic_store(&v->complete, false);
	rc = v->src.seed ? v->src.seed(v->src.arg, fenced_stream ? dir->type : NULL,
				       fenced_stream ? dir->id : NULL, why)
			 : RC_FENCED;
	return rc == RC_OK ? view_ledger_events(v, dir, &fenced_stream, why) : rc;
}

/* RC_FENCED: the ledger is not seeded, whatever became of seeding it; what counts of it the objects know. */
static enum rc ask_streams(struct view *v, struct why *why)
{
	enum rc rc = view_ledger_streams(v, why);
	if (rc != RC_FENCED)
		return rc;
	atomic_store(&v->complete, false);
	if (v->src.seed && v->src.seed(v->src.arg, NULL, NULL, why) == RC_OK)
		rc = view_ledger_streams(v, why);
	return rc;
}

enum rc view_refresh_streams(struct view *v, const struct catalog_dir *parent, enum rc *asked_r,
			     struct why *why)
{
	struct fresh_ask ask;
	enum rc rc = RC_OK;
	if (v->src.ledger) {
		bool old = view_fresh_ask_streams(&v->fresh, v->fresh_ms, &ask);
		if (old && (ask.rc != RC_OK || !is_unchanged(v, &ask))) {
			ask.rc = ask_streams(v, NULL);
			view_fresh_streams_answered(&v->fresh, &ask);
		}
		rc = ask.rc;
	}
	*asked_r = rc;
	if (v->src.ledger && rc == RC_OK && !is_seeding(v))
		return RC_OK;
	/* below a type the objects are looked at with the events */
	if (parent->depth >= 2 ||
	    !view_fresh_ask(&v->fresh, parent->type, parent->id, v->fresh_ms, &ask) ||
	    !view_fresh_children(&v->fresh, &ask))
		return RC_OK;
	uint64_t start = clock_boot_ms();
	rc = view_objects_children(v, parent, why);
	view_fresh_answered(&v->fresh, &ask, true);
	view_fresh_children_seen(&v->fresh, &ask, clock_boot_ms() - start);
	return rc;
}

static enum rc look_at_objects(struct view *v, struct catalog_dir *dir, const struct fresh_ask *ask,
			       struct why *why)
{
	bool alone = !v->src.ledger;
	enum rc rc = view_objects_events(v, dir, alone ? v->gap_wait_us : HOLE_SEEDING_US, alone,
					 why);
	if (rc != RC_OK || !view_fresh_children(&v->fresh, ask))
		return rc;
	uint64_t start = clock_boot_ms();
	rc = view_objects_children(v, dir, why);
	view_fresh_children_seen(&v->fresh, ask, clock_boot_ms() - start);
	return rc;
}

/*
 * A directory that may be a stream, and may have others below it. What the ledger can't say now,
 * the objects may: its failure is one only where they fail too, or know nothing of a stream that
 * the ledger named. *stale_r: *dir is to be read again.
 */
static enum rc refresh_stream(struct view *v, struct catalog_dir *dir, bool *stale_r,
			      struct why *why)
{
	struct fresh_ask ask;
	*stale_r = false;
	if (!view_fresh_ask(&v->fresh, dir->type, dir->id, v->fresh_ms, &ask) ||
	    is_unchanged(v, &ask))
		return RC_OK;
	struct why reason = { "" };
	bool named = v->src.ledger && dir->handle;
	enum rc asked = v->src.ledger ? ask_events(v, dir, &reason) : RC_FENCED, rc = asked;
	if (asked != RC_OK)
		ask.point = 0;	/* it is not as the ledger has it, however long that stays as it is */
	if (asked != RC_OK || is_seeding(v)) {
		*stale_r = true;
		rc = look_at_objects(v, dir, &ask, why);
	}
	if (rc == RC_OK && asked != RC_OK && named) {
		struct catalog_conn *conn = catalog_read(v->catalog);
		rc = catalog_dir_get(conn, dir->row, dir, why);
		catalog_done(v->catalog, conn);
		if (rc == RC_OK && !dir->events)
			rc = rc_fail(asked, why, "%s", reason.text);
	}
	/* of what nobody could tell anything it is asked again, not shown as empty */
	if (rc == RC_OK || dir->events)
		view_fresh_answered(&v->fresh, &ask, true);
	return rc;
}

enum rc view_refresh_dir(struct view *v, struct catalog_dir *dir, struct why *why)
{
	bool stale = true;
	enum rc asked, rc = view_refresh_streams(v, dir, &asked, why);
	if (dir->depth >= 2 && rc == RC_OK)
		rc = refresh_stream(v, dir, &stale, why);
	if (!stale && dir->stream)
		return rc;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc known = catalog_dir_get(conn, dir->row, dir, rc == RC_OK ? why : NULL);
	catalog_done(v->catalog, conn);
	return rc == RC_OK ? known : rc;
}

enum rc view_refresh_all(struct view *v, struct why *why)
{
	struct fresh_ask ask;
	enum rc rc = v->src.ledger ? ask_streams(v, NULL) : RC_FENCED;
	if (rc == RC_OK && !is_seeding(v)) {
		/* the ledger names them all */
	} else if (!view_fresh_ask(&v->fresh, "", "*", v->fresh_ms, &ask)) {
		rc = RC_OK;
	} else {
		rc = view_objects_streams(v, why);
		if (rc == RC_OK)
			view_fresh_answered(&v->fresh, &ask, true);
	}
	struct catalog_dir dir = { .row = 0 };
	while (rc == RC_OK) {
		struct catalog_conn *conn = catalog_read(v->catalog);
		rc = catalog_dir_next_stream(conn, dir.row, &dir, why);
		catalog_done(v->catalog, conn);
		if (rc == RC_NOT_FOUND)
			return RC_OK;
		bool stale;
		if (rc == RC_OK)
			rc = refresh_stream(v, &dir, &stale, why);
	}
	return rc;
}
