/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-sqlite-reseed.c - one stream made equal to what the object store holds of it (design.md 5
 * "Re-seed"; model/native.py reseed).
 *
 * In this order, so that an id never stands in two rows: choose where each listed id stands; take
 * out the unsettled rows that the objects contradict; take out the voids; enter the objects; put
 * what was taken out and may stay at the end; fill the holes.
 */
#include "config.h"
#include "ledger/ledger-sqlite.h"
#include "ledger/ledger-sqlite-void.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "event/draft.h"

/* An unsettled row. */
struct unsettled {
	uint64_t number;
	char *event_id, *event_type;
	int64_t occurred_us, body;
	uint8_t digest[LEDGER_DIGEST_LEN];
	bool expected, moves;
};

struct reseed {
	struct ledger_sqlite_conn *c;
	const struct ledger_sqlite_hot *hot;
	struct ledger_reseed *r;
	int64_t stream, now_us, recorded_us;	/* recorded_us: the last event's so far */
	bool suspect;
	const struct ledger_object **by_id; /* the objects that are events, by id, then number */
	size_t n_ids;
	bool *enter;				/* by object: its event is entered there */
	struct unsettled *rows;
	size_t n_rows, cap_rows;
	struct ledger_sqlite_voids voids;
	uint64_t last;				/* the highest number before */
};

static void reseed_release(struct reseed *s)
{
	for (size_t i = 0; i < s->n_rows; i++) {
		free(s->rows[i].event_id);
		free(s->rows[i].event_type);
	}
	free(s->rows);
	ledger_sqlite_void_release(&s->voids);
	free(s->by_id);
	free(s->enter);
}

static enum rc no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "out of memory");
}

static int compare_ids(const void *a, const void *b)
{
	const struct ledger_object *x = *(const struct ledger_object *const *)a,
				   *y = *(const struct ledger_object *const *)b;
	int order = strcmp(x->event_id, y->event_id);
	return order ? order : (x->number > y->number) - (x->number < y->number);
}

static int compare_number(const void *key, const void *object)
{
	uint64_t number = *(const uint64_t *)key,
		 other = ((const struct ledger_object *)object)->number;
	return (number > other) - (number < other);
}

static const struct ledger_object *object_at(const struct reseed *s, uint64_t number)
{
	return s->r->n ? bsearch(&number, s->r->objects, s->r->n, sizeof(*s->r->objects),
				 compare_number)
		       : NULL;
}

static bool is_listed(const struct reseed *s, const char *event_id)
{
	size_t low = 0, high = s->n_ids;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(s->by_id[mid]->event_id, event_id);
		if (!order)
			return true;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

static enum rc take_out(struct reseed *s, int64_t stream, uint64_t number, struct why *why)
{
	enum rc rc = ledger_sqlite_conn_at(s->c, SQL_EVENT_DELETE, stream, number, why);
	return rc == RC_OK ? ledger_sqlite_conn_at(s->c, SQL_OPEN_DELETE, stream, number, why) : rc;
}

/* An unsettled row of another stream gives way to an object: its number becomes a void there. */
static enum rc yield_elsewhere(struct reseed *s, int64_t stream, uint64_t number, bool *yielded,
			       struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(s->c, SQL_OPEN_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, stream);
	sqlite3_bind_int64(q, 2, (int64_t)number);
	rc = ledger_sqlite_conn_step(s->c, q, yielded, why);
	sqlite3_reset(q);
	if (rc == RC_OK && *yielded)
		rc = take_out(s, stream, number, why);
	if (rc == RC_OK && *yielded)
		rc = ledger_sqlite_void_put(s->c, stream, number, 1, s->recorded_us, why);
	return rc;
}

/*
 * The n objects of `same` share one id, which is entered once: where a row has it, else at the
 * lowest number.
 */
static enum rc choose(struct reseed *s, const struct ledger_object **same, size_t n,
		      struct why *why)
{
	sqlite3_stmt *q = NULL;
	bool row = false, yielded = false;
	enum rc rc = ledger_sqlite_conn_sql(s->c, SQL_EVENT_ID, &q, why);
	if (rc != RC_OK)
		return rc;
	ledger_sqlite_conn_bind_id(q, 1, same[0]->event_id);
	rc = ledger_sqlite_conn_step(s->c, q, &row, why);
	int64_t stream = row ? sqlite3_column_int64(q, ROW_STREAM) : 0;
	uint64_t number = row ? (uint64_t)sqlite3_column_int64(q, ROW_NUMBER) : 0;
	sqlite3_reset(q);
	if (rc != RC_OK)
		return rc;

	size_t chosen = 0;
	if (row && stream == s->stream) {
		if (number <= s->r->after)
			return RC_OK;	/* entered before the list begins: here nowhere */
		for (size_t i = 0; i < n; i++)
			if (same[i]->number == number)
				chosen = i;
		if (same[chosen]->number != number)
			/* its row of open, if any, is looked at after this */
			rc = ledger_sqlite_conn_at(s->c, SQL_EVENT_DELETE, stream, number, why);
	} else if (row) {
		rc = yield_elsewhere(s, stream, number, &yielded, why);
		if (rc != RC_OK || !yielded)
			return rc;
	}
	s->enter[same[chosen] - s->r->objects] = true;
	return rc;
}

static enum rc choose_all(struct reseed *s, struct why *why)
{
	size_t n = s->r->n;
	s->by_id = calloc(n ? n : 1, sizeof(*s->by_id));
	s->enter = calloc(n ? n : 1, sizeof(*s->enter));
	if (!s->by_id || !s->enter)
		return no_memory(why);
	for (size_t i = 0; i < n; i++)
		if (s->r->objects[i].event_id && s->r->objects[i].event_id[0])
			s->by_id[s->n_ids++] = &s->r->objects[i];
	if (s->n_ids)
		qsort(s->by_id, s->n_ids, sizeof(*s->by_id), compare_ids);
	enum rc rc = RC_OK;
	for (size_t i = 0, next; i < s->n_ids && rc == RC_OK; i = next) {
		for (next = i + 1;
		     next < s->n_ids && !strcmp(s->by_id[i]->event_id, s->by_id[next]->event_id);
		     next++)
			;
		rc = choose(s, s->by_id + i, next - i, why);
	}
	return rc;
}

static enum rc keep_unsettled(struct reseed *s, sqlite3_stmt *q, struct why *why)
{
	if (s->n_rows == s->cap_rows) {
		size_t cap = s->cap_rows ? 2 * s->cap_rows : 64;
		struct unsettled *rows = realloc(s->rows, cap * sizeof(*rows));
		if (!rows)
			return no_memory(why);
		s->rows = rows;
		s->cap_rows = cap;
	}
	struct ledger_sqlite_id id;
	struct unsettled *u = &s->rows[s->n_rows];
	memset(u, 0, sizeof(*u));
	u->number = (uint64_t)sqlite3_column_int64(q, ROW_NUMBER);
	if (sqlite3_column_bytes(q, ROW_DIGEST) != LEDGER_DIGEST_LEN)
		return ledger_sqlite_conn_fail(s->c, SQLITE_CORRUPT, why);
	memcpy(u->digest, sqlite3_column_blob(q, ROW_DIGEST), LEDGER_DIGEST_LEN);
	u->occurred_us = sqlite3_column_int64(q, ROW_OCCURRED);
	u->body = sqlite3_column_int64(q, ROW_BODY);
	u->expected = sqlite3_column_int(q, ROW_MORE);
	u->event_id = strdup(ledger_sqlite_conn_id(q, ROW_EVENT_ID, &id));
	u->event_type = strdup((const char *)sqlite3_column_text(q, ROW_EVENT_TYPE));
	s->n_rows++;
	return u->event_id && u->event_type ? RC_OK : no_memory(why);
}

static enum rc list_unsettled(struct reseed *s, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = true;
	enum rc rc = ledger_sqlite_conn_sql(s->c, SQL_OPEN_LIST, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, s->stream);
	while (rc == RC_OK && row) {
		rc = ledger_sqlite_conn_step(s->c, q, &row, why);
		if (rc == RC_OK && row)
			rc = keep_unsettled(s, q, why);
	}
	if (rc == RC_OK && s->n_rows && s->rows[0].number <= s->r->after)
		return rc_fail(RC_CONFLICT, why,
			       "stream '%s/%s': number %" PRIu64
			       " is not settled, list the objects from there",
			       s->r->type, s->r->id, s->rows[0].number);
	return rc;
}

static void name_dropped(struct reseed *s, const struct unsettled *u)
{
	char *text = s->r->dropped_why.text;
	size_t len = strlen(text), room = sizeof(s->r->dropped_why.text) - len;
	if (room > 64)
		snprintf(text + len, room, "%s%" PRIu64 " '%.40s'", len ? ", " : "number ",
			 u->number, u->event_id);
	s->r->dropped++;
}

/*
 * An unsettled row whose number is free keeps it, unless the object store has its id, or it is from
 * another line of the ledger.
 */
static enum rc take_out_contradicted(struct reseed *s, struct why *why)
{
	enum rc rc = RC_OK;
	for (size_t i = 0; i < s->n_rows && rc == RC_OK; i++) {
		struct unsettled *u = &s->rows[i];
		const struct ledger_object *o = object_at(s, u->number);
		bool listed = is_listed(s, u->event_id);
		if (o && s->enter[o - s->r->objects] && !strcmp(o->event_id, u->event_id))
			continue;
		if (!o && !listed && !s->suspect)
			continue;
		rc = take_out(s, s->stream, u->number, why);
		if (listed)
			continue;
		if (u->expected)
			name_dropped(s, u);
		else
			u->moves = true;
	}
	return rc;
}

/* What stands at the object's number already. */
struct standing {
	bool there, same_id, same;
	int64_t body;
};

static enum rc look_at(struct reseed *s, const struct ledger_object *o, bool enter,
		       struct standing *out, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	struct ledger_sqlite_id id;
	memset(out, 0, sizeof(*out));
	enum rc rc = ledger_sqlite_conn_sql(s->c, SQL_EVENT_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, s->stream);
	sqlite3_bind_int64(q, 2, (int64_t)o->number);
	rc = ledger_sqlite_conn_step(s->c, q, &out->there, why);
	if (rc != RC_OK || !out->there || !enter)
		return rc;
	const char *event_id = ledger_sqlite_conn_id(q, ROW_EVENT_ID, &id);
	out->same_id = event_id && !strcmp(event_id, o->event_id);
	int64_t recorded_us = sqlite3_column_int64(q, ROW_RECORDED);
	int64_t occurred_us = sqlite3_column_type(q, ROW_OCCURRED) == SQLITE_NULL ? recorded_us :
			      sqlite3_column_int64(q, ROW_OCCURRED);
	out->same = out->same_id && recorded_us == s->recorded_us &&
		    occurred_us == o->occurred_us &&
		    (uint64_t)sqlite3_column_int64(q, ROW_SIZE) == o->size &&
		    sqlite3_column_bytes(q, ROW_DIGEST) == LEDGER_DIGEST_LEN &&
		    !memcmp(sqlite3_column_blob(q, ROW_DIGEST), o->digest, LEDGER_DIGEST_LEN);
	out->body = out->same ? sqlite3_column_int64(q, ROW_BODY) : 0;
	return RC_OK;
}

static enum rc enter_object(struct reseed *s, const struct ledger_object *o, bool enter,
			    struct why *why)
{
	struct standing at;
	if (enter && s->recorded_us < o->recorded_us)
		s->recorded_us = o->recorded_us;
	enum rc rc = look_at(s, o, enter, &at, why);
	if (rc != RC_OK)
		return rc;
	if (at.same)
		return ledger_sqlite_conn_at(s->c, SQL_OPEN_DELETE, s->stream, o->number, why);
	if (at.there)
		rc = take_out(s, s->stream, o->number, why);
	if (rc != RC_OK)
		return rc;
	if (!enter)
		return ledger_sqlite_void_put(s->c, s->stream, o->number, 1, s->recorded_us, why);
	s->r->added += !at.there;
	s->r->replaced += at.there && !at.same_id;
	struct ledger_sqlite_event row = {
		.stream = s->stream,
		.number = o->number,
		.event_id = o->event_id,
		.event_type = o->event_type,
		.size = o->size,
		.occurred_us = o->occurred_us,
		.recorded_us = s->recorded_us,
		.body = at.body,
		.digest = o->digest,
	};
	return ledger_sqlite_event_put(s->c, &row, why);
}

/* To the end, stamped anew. */
static enum rc move(struct reseed *s, const struct unsettled *u, uint64_t number, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool there = false;
	enum rc rc = ledger_sqlite_conn_sql(s->c, SQL_BODY_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, u->body);
	rc = ledger_sqlite_conn_step(s->c, q, &there, why);
	if (rc != RC_OK)
		return rc;
	if (!there)
		return ledger_sqlite_conn_fail(s->c, SQLITE_CORRUPT, why);
	bool own_time = sqlite3_column_int(q, 0);
	struct ledger_sqlite_event row = {
		.stream = s->stream,
		.number = number,
		.event_id = u->event_id,
		.event_type = u->event_type,
		.size = draft_join_len((size_t)sqlite3_column_bytes(q, 1),
				       (size_t)sqlite3_column_bytes(q, 2), own_time, s->recorded_us,
				       number),
		.occurred_us = own_time ? u->occurred_us : s->recorded_us,
		.recorded_us = s->recorded_us,
		.body = u->body,
		.digest = u->digest,
	};
	sqlite3_reset(q);
	rc = ledger_sqlite_event_put(s->c, &row, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_open_put(s->c, &row, 0, false, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_at(s->c, SQL_BODY_MOVE, u->body, number, why);
	s->r->moved++;
	return rc;
}

static enum rc move_all(struct reseed *s, struct why *why)
{
	enum rc rc = RC_OK;
	uint64_t last = s->last;
	int64_t recorded_us;
	uint64_t now_last;
	rc = ledger_sqlite_stream_last(s->c, s->stream, &now_last, &recorded_us, why);
	last = now_last > last ? now_last : last;
	int64_t floor_us = s->hot->floor_us > s->now_us ? s->hot->floor_us : s->now_us;
	floor_us = recorded_us > floor_us ? recorded_us : floor_us;
	s->recorded_us = s->recorded_us > floor_us ? s->recorded_us : floor_us;
	for (size_t i = 0; i < s->n_rows && rc == RC_OK; i++)
		if (s->rows[i].moves)
			rc = move(s, &s->rows[i], ++last, why);
	return rc;
}

static enum rc take_out_voids(struct reseed *s, struct why *why)
{
	s->voids = (struct ledger_sqlite_voids){ .c = s->c, .stream = s->stream, .after = s->r->after };
	enum rc rc = ledger_sqlite_void_take_out(&s->voids, why);
	s->recorded_us = s->voids.recorded_us;
	return rc;
}

static enum rc fill_holes(struct reseed *s, struct why *why)
{
	s->voids.recorded_us = s->recorded_us;
	return ledger_sqlite_void_fill(&s->voids, &s->r->voids, why);
}

static enum rc run(struct reseed *s, struct why *why)
{
	struct ledger_sqlite_stream stream;
	int64_t recorded_us;
	enum rc rc = ledger_sqlite_stream_find(s->c, s->r->type, s->r->id, &stream, why);
	if (rc == RC_OK && !stream.stream)
		rc = ledger_sqlite_stream_new(s->c, s->r->type, s->r->id, 0, &stream.stream, why);
	if (rc != RC_OK)
		return rc;
	s->stream = stream.stream;
	s->suspect = stream.mark < s->hot->suspect_below;
	rc = ledger_sqlite_stream_last(s->c, s->stream, &s->last, &recorded_us, why);
	if (rc == RC_OK)
		rc = list_unsettled(s, why);
	if (rc == RC_OK)
		rc = choose_all(s, why);
	if (rc == RC_OK)
		rc = take_out_contradicted(s, why);
	if (rc == RC_OK)
		rc = take_out_voids(s, why);
	for (size_t i = 0; i < s->r->n && rc == RC_OK; i++)
		rc = enter_object(s, &s->r->objects[i], s->enter[i], why);
	if (rc == RC_OK)
		rc = move_all(s, why);
	if (rc == RC_OK)
		rc = fill_holes(s, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_at(s->c, SQL_STREAM_MARK, s->stream, s->hot->seeding, why);
	return rc;
}

/* The whole store was listed: what the ledger does not know is new, if nothing waits any more. */
static enum rc complete(struct reseed *s, struct why *why)
{
	sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(s->c, SQL_STREAM_UNSEEDED, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, 0);
	sqlite3_bind_int64(q, 2, (int64_t)s->hot->seeding);
	rc = ledger_sqlite_conn_step(s->c, q, &row, why);
	if (rc == RC_OK && row)
		rc = rc_fail(RC_TEMPORARY, why, "stream '%s/%s' still waits for its re-seed",
			     sqlite3_column_text(q, 1), sqlite3_column_text(q, 2));
	sqlite3_reset(q);
	return rc == RC_OK ? ledger_sqlite_conn_do(s->c, SQL_COMPLETE, why) : rc;
}

static bool in_order(const struct ledger_reseed *r)
{
	uint64_t before = r->after;
	for (size_t i = 0; i < r->n; before = r->objects[i++].number)
		if (r->objects[i].number <= before || r->objects[i].number > INT64_MAX)
			return false;
	return true;
}

enum rc ledger_sqlite_reseed_stream(struct ledger *base, struct ledger_reseed *r, struct why *why)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	struct ledger_sqlite_hot hot;
	struct reseed s = { .hot = &hot, .r = r };
	r->added = r->replaced = r->moved = r->dropped = r->voids = 0;
	r->dropped_why.text[0] = '\0';
	if (!in_order(r))
		return rc_fail(RC_INVALID, why, "the objects of '%s/%s' are not in order", r->type,
			       r->id);

	/*
	 * not synced: a re-seed that a crash of the machine takes back takes the stream's mark with
	 * it, and all that came after
	 */
	enum rc rc = ledger_sqlite_write_begin(l, NEED_SEEDED, false, &s.c, &hot, why);
	if (rc != RC_OK)
		return rc;
	s.now_us = clock_wall_us();
	if (hot.seeding != r->seeding)
		rc = rc_fail(RC_CONFLICT, why,
			     "this belongs to seeding %" PRIu64 ", the last is %" PRIu64,
			     r->seeding, hot.seeding);
	else
		rc = r->type ? run(&s, why) : complete(&s, why);
	rc = ledger_sqlite_write_end(l, rc, 0, why);
	reseed_release(&s);
	if (rc == RC_UNCERTAIN)
		rc = RC_TEMPORARY;	/* the same list again does no harm */
	if (rc == RC_OK)
		FAILPOINT("ledger-reseed-after");
	ledger_sqlite_tidy(l, CHECKPOINT_PAGES);
	return rc;
}
