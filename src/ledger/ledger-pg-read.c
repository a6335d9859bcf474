/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-read.c - questions, each one statement, so one view; rows are told as they come. */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <string.h>

#include "base/clock.h"

static enum ledger_pg_sql statement(const struct ledger_query *q)
{
	switch (q->what) {
	case LEDGER_EVENTS:
		return q->lean ? PG_READ_EVENTS_LEAN : PG_READ_EVENTS;
	case LEDGER_ID:
		return PG_READ_ID;
	case LEDGER_TIME:
		return PG_READ_TIME;
	case LEDGER_STREAM:
		return PG_READ_STREAM;
	case LEDGER_STREAMS:
		return PG_READ_STREAMS;
	case LEDGER_NEW_STREAMS:
		return PG_READ_NEW_STREAMS;
	case LEDGER_UNSEEDED:
		return PG_READ_UNSEEDED;
	}
	return PG_COUNT;
}

static bool is_of_streams(enum ledger_pg_sql sql)
{
	return sql >= PG_READ_STREAM;
}

static void limit_arg(struct ledger_pg_args *a, const struct ledger_query *q)
{
	if (q->limit)
		ledger_pg_args_int8(a, (int64_t)q->limit);
	else
		ledger_pg_args_null(a);
}

static void read_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		      const struct ledger_query *q)
{
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_bool(a, q->unseeded_too);
	switch (q->what) {
	case LEDGER_EVENTS:
		ledger_pg_args_text(a, q->type);
		ledger_pg_args_text(a, q->id);
		ledger_pg_args_int8(a, q->after > INT64_MAX ? INT64_MAX : (int64_t)q->after);
		limit_arg(a, q);
		return;
	case LEDGER_ID:
		ledger_pg_args_text(a, q->event_id);
		return;
	case LEDGER_TIME:
		ledger_pg_args_int8(a, q->from_us);
		ledger_pg_args_int8(a, q->to_us);
		ledger_pg_args_int8(a, q->after_us);
		ledger_pg_args_int8(a, q->stream);
		ledger_pg_args_int8(a, (int64_t)q->after);
		limit_arg(a, q);
		return;
	case LEDGER_STREAM:
		ledger_pg_args_text(a, q->type);
		ledger_pg_args_text(a, q->id);
		return;
	case LEDGER_STREAMS:
	case LEDGER_UNSEEDED:
		ledger_pg_args_int8(a, q->stream);
		limit_arg(a, q);
		return;
	case LEDGER_NEW_STREAMS:
		ledger_pg_args_int8(a, q->stream);
		ledger_pg_args_int8(a, q->limit && q->limit < INT32_MAX ? (int64_t)q->limit
									: INT32_MAX);
		return;
	}
}

static const char *text_or_empty(const PGresult *r, int column)
{
	const char *text = ledger_pg_args_get_text(r, 0, column);
	return text ? text : "";
}

/* A caller that has enough gets no further row. */
static bool tell(struct ledger_pg_reading *s, const struct ledger_row *row)
{
	s->told++;
	return s->fn(s->arg, row) && (!s->query->limit || s->told < s->query->limit);
}

static bool tell_event(struct ledger_pg_reading *s, const PGresult *r)
{
	const struct ledger_query *q = s->query;
	const char *type = ledger_pg_args_get_text(r, 0, READ_TYPE),
		   *id = ledger_pg_args_get_text(r, 0, READ_ID);
	size_t digest_len;
	struct ledger_row row = {
		.stream = ledger_pg_args_get_int8(r, 0, READ_STREAM),
		.type = type ? type : q->type,
		.id = id ? id : q->id,
		.number = (uint64_t)ledger_pg_args_get_int8(r, 0, READ_NUMBER),
		.span = (uint64_t)ledger_pg_args_get_int8(r, 0, READ_SPAN),
		.event_id = "",
		.event_type = "",
		.settled = true,
	};
	if (row.span) {
		/* the part above `after` */
		if (q->what == LEDGER_EVENTS && row.number <= q->after) {
			row.span -= q->after + 1 - row.number;
			row.number = q->after + 1;
		}
		return tell(s, &row);
	}
	row.event_id = text_or_empty(r, READ_EVENT_ID);
	row.event_type = text_or_empty(r, READ_EVENT_TYPE);
	row.size = (uint64_t)ledger_pg_args_get_int8(r, 0, READ_SIZE);
	row.recorded_us = ledger_pg_args_get_int8(r, 0, READ_RECORDED);
	row.own_time = ledger_pg_args_get_bool(r, 0, READ_OWN_TIME);
	row.occurred_us =
		row.own_time ? ledger_pg_args_get_int8(r, 0, READ_OCCURRED) : row.recorded_us;
	row.settled = !ledger_pg_args_get_bool(r, 0, READ_OPEN);
	row.head = ledger_pg_args_get_bytes(r, 0, READ_HEAD, &row.head_len);
	row.tail = ledger_pg_args_get_bytes(r, 0, READ_TAIL, &row.tail_len);
	row.digest = (const uint8_t *)ledger_pg_args_get_bytes(r, 0, READ_DIGEST, &digest_len);
	row.own_time = row.own_time && row.head;
	return tell(s, &row);
}

static bool tell_stream(struct ledger_pg_reading *s, const PGresult *r, int64_t position)
{
	struct ledger_row row = {
		.stream = ledger_pg_args_get_int8(r, 0, READ_STREAM),
		.type = text_or_empty(r, READ_TYPE),
		.id = text_or_empty(r, READ_ID),
		.event_id = "",
		.event_type = "",
		.last = (uint64_t)ledger_pg_args_get_int8(r, 0, READ_LAST),
		.recorded_us = ledger_pg_args_get_int8(r, 0, READ_LAST_US),
		.unseeded = ledger_pg_args_get_bool(r, 0, READ_WAITS),
		.position = position,
	};
	row.settled_to = PQgetisnull(r, 0, READ_OPEN_FROM)
				 ? row.last
				 : (uint64_t)ledger_pg_args_get_int8(r, 0, READ_OPEN_FROM) - 1;
	return tell(s, &row);
}

/*
 * The row that was held back, now that the `made` of its next is known: 0 for none. From its
 * position on nothing is missed: not those of its own transaction that come after it, nor those
 * that are not visible yet.
 */
static bool tell_held(struct ledger_pg_reading *s, int64_t next_made)
{
	if (!s->held)
		return true;
	int64_t made = ledger_pg_args_get_int8(s->held, 0, READ_MADE),
		until = ledger_pg_args_get_int8(s->held, 0, READ_UNTIL),
		position = made == next_made ? made : made + 1;
	/*
	 * the limit does not cut a transaction's streams apart, or the same ones would be told for
	 * ever
	 */
	bool more = tell_stream(s, s->held, position < until ? position : until) ||
		    (made == next_made && s->query->limit && s->told >= s->query->limit);
	PQclear(s->held);
	s->held = NULL;
	return more;
}

enum rc ledger_pg_read_row(struct ledger_pg_reading *s, enum ledger_pg_sql sql, PGresult *taken,
			   bool *go_on, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = taken;
	s->begun = true;
	s->verdict = ledger_pg_args_get_int4(r, 0, READ_VERDICT);
	s->at = (uint64_t)ledger_pg_args_get_int8(r, 0, READ_AT);
	*go_on = false;
	if (s->verdict == VERDICT_STREAM) {
		const char *type = ledger_pg_args_get_text(r, 0, READ_TYPE),
			   *id = ledger_pg_args_get_text(r, 0, READ_ID);
		s->fenced_stream = true;
		return rc_fail(RC_FENCED, why, "stream '%s/%s' must be re-seeded first",
			       type ? type : s->query->type, id ? id : s->query->id);
	}
	if (s->verdict)
		return RC_OK;
	if (is_of_streams(sql) ? PQgetisnull(r, 0, READ_STREAM) : PQgetisnull(r, 0, READ_NUMBER))
		return RC_OK; /* there is none */
	if (sql == PG_READ_NEW_STREAMS) {
		*go_on = tell_held(s, ledger_pg_args_get_int8(r, 0, READ_MADE));
		if (*go_on)
			s->held = TAKE_PTR(r);
	} else {
		*go_on = is_of_streams(sql)
				 ? tell_stream(s, r, ledger_pg_args_get_int8(r, 0, READ_STREAM))
				 : tell_event(s, r);
	}
	return RC_OK;
}

/* On one connection. The first row must come by the deadline, each later one in its own time. */
static enum rc ask(struct ledger_pg_reading *s, struct ledger_pg_conn *c, enum ledger_pg_sql sql,
		   uint64_t deadline, struct why *why)
{
	_cleanup_(ledger_pg_args_release) struct ledger_pg_args a = LEDGER_PG_ARGS_INIT;
	bool go_on = true;
	read_args(s->l, c, &a, s->query);
	enum rc rc = ledger_pg_conn_start(c, sql, &a, deadline, why);
	while (rc == RC_OK && go_on) {
		PGresult *r = NULL;
		rc = ledger_pg_conn_next(c, s->begun ? ledger_pg_deadline(s->l) : deadline, &r, why);
		if (rc != RC_OK)
			return rc;
		if (!r) {
			tell_held(s, -1);
			return RC_OK;
		}
		rc = ledger_pg_read_row(s, sql, r, &go_on, why);
	}
	ledger_pg_conn_stop(c);
	return rc;
}

enum rc ledger_pg_read_rows(struct ledger *base, const struct ledger_query *q, ledger_row_fn *fn,
			    void *arg, bool *fenced_stream, struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	struct ledger_pg_reading s = { .l = l, .query = q, .fn = fn, .arg = arg };
	enum ledger_pg_sql sql = statement(q);
	bool is_look = q->what == LEDGER_TIME && q->horizon;
	uint64_t deadline = ledger_pg_deadline(l);
	bool stale = true;
	enum rc rc = RC_OK;
	if (fenced_stream)
		*fenced_stream = false;
	if (sql == PG_COUNT)
		return rc_fail(RC_INVALID, why, "no such question");
	while (stale) {
		struct ledger_pg_conn *c = NULL;
		rc = ledger_pg_take(l, USE_LONG, deadline, &c, why);
		if (rc != RC_OK)
			return rc;
		bool used = c->used;
		if (!is_look) /* which counts for itself */
			atomic_fetch_add_explicit(&l->counters.read, 1, memory_order_relaxed);
		rc = is_look ? ledger_pg_horizon_read(&s, c, why) : ask(&s, c, sql, deadline, why);
		stale = rc != RC_OK && c->lost && used && !s.begun && clock_boot_ms() < deadline;
		ledger_pg_give(l, USE_LONG, c);
	}
	PQclear(s.held);
	/* each question has a row at least, but where the store was taken out of the schema */
	if (rc == RC_OK && !s.begun)
		rc = rc_fail(RC_FENCED, why, "the schema '%s' holds no store any more", l->schema);
	if (fenced_stream)
		*fenced_stream = s.fenced_stream;
	if (rc != RC_OK)
		return rc == RC_NOT_FOUND || rc == RC_EXISTS ? RC_TEMPORARY : rc;
	if (s.verdict == VERDICT_OLDER)
		return ledger_pg_state_erase(l, s.at, why);
	if (s.verdict == VERDICT_FENCED)
		return ledger_pg_fenced(l, s.verdict, s.at, why);
	ledger_pg_saw(l, s.at);
	return RC_OK;
}
