/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-sqlite-read.c - questions, each answered from one snapshot. */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

struct reading {
	struct ledger_sqlite_conn *c;
	const struct ledger_sqlite_hot *hot;
	const struct ledger_query *query;
	ledger_row_fn *fn;
	void *arg;
	size_t told;
	int64_t first_body;		/* bodies below it were dropped */
	bool fenced_stream;
};

static enum rc one_number(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql,
			  int64_t argument, int64_t *out, bool *null_r, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, sql, &q, why);
	if (rc != RC_OK)
		return rc;
	if (sqlite3_bind_parameter_count(q))
		sqlite3_bind_int64(q, 1, argument);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	*out = row ? sqlite3_column_int64(q, 0) : 0;
	if (null_r)
		*null_r = !row || sqlite3_column_type(q, 0) == SQLITE_NULL;
	return rc;
}

static enum rc fenced(struct reading *r, const char *type, const char *id, struct why *why)
{
	r->fenced_stream = true;
	return rc_fail(RC_FENCED, why, "stream '%s/%s' must be re-seeded first", type, id);
}

/* A caller that has enough gets no further row. */
static bool tell(struct reading *r, const struct ledger_row *row)
{
	r->told++;
	return r->fn(r->arg, row) && (!r->query->limit || r->told < r->query->limit);
}

static enum rc is_open(struct reading *r, int64_t stream, uint64_t number, bool *open_r,
		       struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(r->c, SQL_OPEN_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, stream);
	sqlite3_bind_int64(q, 2, (int64_t)number);
	return ledger_sqlite_conn_step(r->c, q, open_r, why);
}

/* Tell the row that q stands at. first_open: no row below it can be unsettled. */
static enum rc tell_event(struct reading *r, sqlite3_stmt *q, const char *type, const char *id,
			  uint64_t first_open, bool *go_on, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *body = NULL;
	struct ledger_sqlite_id event_id;
	struct ledger_row row = {
		.stream = sqlite3_column_int64(q, ROW_STREAM),
		.type = type,
		.id = id,
		.number = (uint64_t)sqlite3_column_int64(q, ROW_NUMBER),
		.span = (uint64_t)sqlite3_column_int64(q, ROW_SPAN),
		.event_id = "",
		.event_type = "",
		.settled = true,
	};
	if (row.span) {
		*go_on = tell(r, &row);
		return RC_OK;
	}
	row.event_id = ledger_sqlite_conn_id(q, ROW_EVENT_ID, &event_id);
	row.event_type = (const char *)sqlite3_column_text(q, ROW_EVENT_TYPE);
	row.size = (uint64_t)sqlite3_column_int64(q, ROW_SIZE);
	if (sqlite3_column_bytes(q, ROW_DIGEST) != LEDGER_DIGEST_LEN)
		return ledger_sqlite_conn_fail(r->c, SQLITE_CORRUPT, why);
	row.digest = sqlite3_column_blob(q, ROW_DIGEST);
	row.recorded_us = sqlite3_column_int64(q, ROW_RECORDED);
	row.occurred_us = sqlite3_column_type(q, ROW_OCCURRED) == SQLITE_NULL ? row.recorded_us :
			  sqlite3_column_int64(q, ROW_OCCURRED);
	enum rc rc = RC_OK;
	if (row.number >= first_open) {
		bool open = false;
		rc = is_open(r, row.stream, row.number, &open, why);
		row.settled = !open;
	}
	if (r->query->horizon && !row.settled) /* of a late stream */
		return rc;
	int64_t seq = sqlite3_column_int64(q, ROW_BODY);
	if (rc == RC_OK && seq && seq >= r->first_body && !r->query->lean) {
		bool there = false;
		rc = ledger_sqlite_conn_sql(r->c, SQL_BODY_GET, &body, why);
		if (rc == RC_OK) {
			sqlite3_bind_int64(body, 1, seq);
			rc = ledger_sqlite_conn_step(r->c, body, &there, why);
		}
		if (rc == RC_OK && there) {
			row.own_time = sqlite3_column_int(body, 0);
			row.head_len = (size_t)sqlite3_column_bytes(body, 1);
			row.tail_len = (size_t)sqlite3_column_bytes(body, 2);
			row.head = row.head_len ? sqlite3_column_blob(body, 1) : "";
			row.tail = row.tail_len ? sqlite3_column_blob(body, 2) : "";
		}
	}
	if (rc == RC_OK)
		*go_on = tell(r, &row);
	return rc;
}

static enum rc first_open(struct reading *r, int64_t stream, uint64_t *out, struct why *why)
{
	int64_t number;
	bool none;
	enum rc rc = one_number(r->c, SQL_OPEN_FIRST, stream, &number, &none, why);
	*out = none ? UINT64_MAX : (uint64_t)number;
	return rc;
}

/* RC_OK with stream 0: known not to be there. */
static enum rc find_stream(struct reading *r, struct ledger_sqlite_stream *s, struct why *why)
{
	const struct ledger_query *query = r->query;
	enum rc rc = ledger_sqlite_stream_find(r->c, query->type, query->id, s, why);
	if (rc != RC_OK || query->unseeded_too)
		return rc;
	if (s->stream ? s->mark < r->hot->seeding : !r->hot->complete)
		return fenced(r, query->type, query->id, why);
	return RC_OK;
}

/* The part above `after` of a void that begins at or before it. */
static enum rc rest_of_void(struct reading *r, int64_t stream, bool *go_on, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool there = false;
	uint64_t after = r->query->after;
	enum rc rc = ledger_sqlite_conn_sql(r->c, SQL_EVENT_UPTO, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, stream);
	sqlite3_bind_int64(q, 2, (int64_t)after);
	rc = ledger_sqlite_conn_step(r->c, q, &there, why);
	if (rc != RC_OK || !there)
		return rc;
	uint64_t end = (uint64_t)sqlite3_column_int64(q, ROW_NUMBER) +
		       (uint64_t)sqlite3_column_int64(q, ROW_SPAN);
	if (end > after + 1) {
		struct ledger_row row = {
			.stream = stream,
			.type = r->query->type,
			.id = r->query->id,
			.number = after + 1,
			.span = end - after - 1,
			.event_id = "",
			.event_type = "",
			.settled = true,
		};
		*go_on = tell(r, &row);
	}
	return RC_OK;
}

static enum rc read_events(struct reading *r, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	struct ledger_sqlite_stream s;
	uint64_t open_from = 0;
	bool go_on = true;
	enum rc rc = find_stream(r, &s, why);
	if (rc != RC_OK || !s.stream)
		return rc;
	rc = first_open(r, s.stream, &open_from, why);
	if (rc == RC_OK && r->query->after)
		rc = rest_of_void(r, s.stream, &go_on, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_sql(r->c, SQL_EVENT_LIST, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, s.stream);
	sqlite3_bind_int64(q, 2, (int64_t)r->query->after);
	while (rc == RC_OK && go_on) {
		bool there = false;
		rc = ledger_sqlite_conn_step(r->c, q, &there, why);
		if (!there)
			break;
		rc = tell_event(r, q, r->query->type, r->query->id, open_from, &go_on, why);
	}
	return rc;
}

static enum rc read_id(struct reading *r, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL, *name = NULL;
	bool there = false, go_on = true;
	enum rc rc = ledger_sqlite_conn_sql(r->c, SQL_EVENT_ID, &q, why);
	if (rc != RC_OK)
		return rc;
	ledger_sqlite_conn_bind_id(q, 1, r->query->event_id);
	rc = ledger_sqlite_conn_step(r->c, q, &there, why);
	if (rc != RC_OK || !there)
		return rc;
	rc = ledger_sqlite_conn_sql(r->c, SQL_STREAM_GET, &name, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(name, 1, sqlite3_column_int64(q, ROW_STREAM));
	rc = ledger_sqlite_conn_step(r->c, name, &there, why);
	if (rc != RC_OK)
		return rc;
	if (!there)
		return ledger_sqlite_conn_fail(r->c, SQLITE_CORRUPT, why);
	const char *type = (const char *)sqlite3_column_text(name, 0),
		   *id = (const char *)sqlite3_column_text(name, 1);
	if (!r->query->unseeded_too && (uint64_t)sqlite3_column_int64(name, 2) < r->hot->seeding)
		return fenced(r, type, id, why);
	return tell_event(r, q, type, id, 0, &go_on, why);
}

static enum rc read_time(struct reading *r, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	const struct ledger_query *query = r->query;
	bool go_on = true;
	enum rc rc = ledger_sqlite_conn_sql(r->c, SQL_EVENT_TIME, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1,
			   query->from_us > query->after_us ? query->from_us : query->after_us);
	sqlite3_bind_int64(q, 2, query->to_us);
	sqlite3_bind_int64(q, 3, query->after_us);
	sqlite3_bind_int64(q, 4, query->stream);
	sqlite3_bind_int64(q, 5, (int64_t)query->after);
	while (rc == RC_OK && go_on) {
		bool there = false;
		rc = ledger_sqlite_conn_step(r->c, q, &there, why);
		if (!there)
			break;
		if (rc == RC_OK &&
		    (query->unseeded_too ||
		     (uint64_t)sqlite3_column_int64(q, ROW_MORE + 2) >= r->hot->seeding))
			rc = tell_event(r, q, (const char *)sqlite3_column_text(q, ROW_MORE),
					(const char *)sqlite3_column_text(q, ROW_MORE + 1), 0,
					&go_on, why);
	}
	return rc;
}

static enum rc tell_stream(struct reading *r, const char *type, const char *id,
			   const struct ledger_sqlite_stream *s, bool *go_on, struct why *why)
{
	struct ledger_row row = {
		.stream = s->stream,
		.type = type,
		.id = id,
		.event_id = "",
		.event_type = "",
		.unseeded = s->mark < r->hot->seeding,
		.position = s->stream,
	};
	uint64_t open_from = 0;
	enum rc rc = ledger_sqlite_stream_last(r->c, s->stream, &row.last, &row.recorded_us, why);
	if (rc == RC_OK)
		rc = first_open(r, s->stream, &open_from, why);
	if (rc != RC_OK)
		return rc;
	row.settled_to = open_from == UINT64_MAX ? row.last : open_from - 1;
	*go_on = tell(r, &row);
	return RC_OK;
}

static enum rc read_stream(struct reading *r, struct why *why)
{
	struct ledger_sqlite_stream s;
	bool go_on;
	enum rc rc = find_stream(r, &s, why);
	return rc == RC_OK && s.stream
		       ? tell_stream(r, r->query->type, r->query->id, &s, &go_on, why)
		       : rc;
}

static enum rc read_streams(struct reading *r, enum ledger_sqlite_sql sql, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool go_on = true;
	enum rc rc = ledger_sqlite_conn_sql(r->c, sql, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, r->query->stream);
	if (sql == SQL_STREAM_UNSEEDED)
		sqlite3_bind_int64(q, 2, (int64_t)r->hot->seeding);
	while (rc == RC_OK && go_on) {
		bool there = false;
		rc = ledger_sqlite_conn_step(r->c, q, &there, why);
		if (!there)
			break;
		struct ledger_sqlite_stream s = { sqlite3_column_int64(q, 0),
						  (uint64_t)sqlite3_column_int64(q, 3) };
		rc = tell_stream(r, (const char *)sqlite3_column_text(q, 1),
				 (const char *)sqlite3_column_text(q, 2), &s, &go_on, why);
	}
	return rc;
}

static enum rc answer(struct reading *r, struct why *why)
{
	enum rc rc = one_number(r->c, SQL_BODY_FIRST, 0, &r->first_body, NULL, why);
	if (rc != RC_OK)
		return rc;
	switch (r->query->what) {
	case LEDGER_EVENTS:	return read_events(r, why);
	case LEDGER_ID:		return read_id(r, why);
	case LEDGER_TIME:	return read_time(r, why);
	case LEDGER_STREAM:	return read_stream(r, why);
	case LEDGER_STREAMS:
	case LEDGER_NEW_STREAMS: return read_streams(r, SQL_STREAM_LIST, why); /* one writer: handles grow */
	case LEDGER_UNSEEDED:	return read_streams(r, SQL_STREAM_UNSEEDED, why);
	}
	return rc_fail(RC_INVALID, why, "no such question");
}

static void take_state(struct ledger_sqlite *l, struct ledger_sqlite_conn *c,
		       const struct ledger_sqlite_hot *hot, struct ledger_state *s)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->uuid, l->uuid, sizeof(s->uuid));
	memcpy(s->identity, l->file.identity, sizeof(s->identity));
	memcpy(s->written, hot->written, sizeof(s->written));
	s->seeding = hot->seeding;
	s->commits = hot->commits;
	s->point = ledger_sqlite_conn_point(c);
	s->now_us = clock_wall_us();
	s->floor_us = hot->floor_us;
	s->complete = hot->complete;
	s->alone = ledger_sqlite_file_alone(&l->file);
}

enum rc ledger_sqlite_read_rows(struct ledger *base, const struct ledger_query *query,
				ledger_row_fn *fn, void *arg, bool *fenced_stream, struct why *why)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	struct ledger_sqlite_hot hot;
	struct ledger_query bounded = *query;
	struct ledger_horizon *h = query->what == LEDGER_TIME ? query->horizon : NULL;
	struct reading r = { .hot = &hot, .query = &bounded, .fn = fn, .arg = arg };
	bool go_on = true;
	enum rc rc = RC_OK;
	if (fenced_stream)
		*fenced_stream = false;
	bounded.horizon = h;
	if (h) {
		rc = ledger_sqlite_horizon_take(l, h, why);
		go_on = h->leased;
	}
	if (rc != RC_OK || !go_on)
		return rc;
	rc = ledger_sqlite_snapshot_begin(
		l, query->unseeded_too && !h ? NEED_NOTHING : NEED_SEEDED, &r.c, &hot, why);
	if (rc != RC_OK)
		return rc;
	if (h) {
		take_state(l, r.c, &hot, &h->state);
		rc = ledger_sqlite_horizon_find(r.c, &hot, h, &go_on, why);
		bounded.to_us = h->horizon_us < query->to_us ? h->horizon_us : query->to_us;
	}
	if (rc == RC_OK && go_on)
		rc = answer(&r, why);
	ledger_sqlite_snapshot_end(l, r.c);
	if (fenced_stream)
		*fenced_stream = r.fenced_stream;
	return rc;
}

static enum rc count_unseeded(struct ledger_sqlite_conn *c, const struct ledger_sqlite_hot *hot,
			      uint64_t *out, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool there = !hot->complete;
	*out = 0;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_STREAM_UNSEEDED, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, 0);
	sqlite3_bind_int64(q, 2, (int64_t)hot->seeding);
	while (rc == RC_OK && there) {
		rc = ledger_sqlite_conn_step(c, q, &there, why);
		*out += rc == RC_OK && there;
	}
	return rc;
}

static enum rc count_open(struct ledger_sqlite_conn *c, struct ledger_state *out, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool there = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_OPEN_COUNT, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, out->now_us - LATE_US);
	rc = ledger_sqlite_conn_step(c, q, &there, why);
	out->pending = there ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
	out->late = there ? (uint64_t)sqlite3_column_int64(q, 1) : 0;
	out->oldest_us = there ? sqlite3_column_int64(q, 2) : 0;
	return rc;
}

enum rc ledger_sqlite_read_state(struct ledger *base, struct ledger_state *out, struct why *why)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	struct ledger_state s;
	int64_t streams = 0;
	enum rc rc = ledger_sqlite_snapshot_begin(l, NEED_NOTHING, &c, &hot, why);
	if (rc != RC_OK)
		return rc == RC_TEMPORARY && access(l->file.path, F_OK) ? RC_NOT_FOUND : rc;
	take_state(l, c, &hot, &s);
	s.count = out->count;
	if (s.count)
		rc = one_number(c, SQL_STREAM_COUNT, 0, &streams, NULL, why);
	s.streams = (uint64_t)streams;
	if (rc == RC_OK && s.count)
		rc = count_open(c, &s, why);
	if (rc == RC_OK && s.count)
		rc = count_unseeded(c, &hot, &s.unseeded, why);
	ledger_sqlite_snapshot_end(l, c);
	if (rc == RC_OK)
		*out = s;
	return rc;
}
