/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-pg-horizon.c - a publisher's look: lease and floor, who is appending, what is unsettled,
 * the events (ledger-pg-horizon.sql), in one round trip unless somebody is appending.
 */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define FIRST_WAIT_MS 5 /* in the round trip itself: most appends are over by then */
#define WAIT_MS 50 /* and in each that follows: after it *cancel is looked at */

enum {
	LOOK_CODE,
	LOOK_AT,
	LOOK_LEASED,
	LOOK_HOLDER,
	LOOK_UUID,
	LOOK_IDENTITY,
	LOOK_WRITTEN,
	LOOK_SEEDING,
	LOOK_NOW,
	LOOK_FLOOR,
	LOOK_COMPLETE
};
enum {
	PENDING_HORIZON,
	PENDING_UNSETTLED,
	PENDING_STREAM,
	PENDING_TYPE,
	PENDING_ID,
	PENDING_NUMBER,
	PENDING_RECORDED
};

/* The statements in their order, and what they are asked. */
enum { AT_LOOK, AT_WRITERS, AT_PENDING, AT_EVENTS, AT_COUNT };
static const enum ledger_pg_sql sqls[AT_COUNT] = {
	[AT_LOOK] = PG_LOOK,
	[AT_WRITERS] = PG_LOOK_WRITERS,
	[AT_PENDING] = PG_LOOK_PENDING,
	[AT_EVENTS] = PG_LOOK_EVENTS,
};

struct look {
	struct ledger_pg_reading *s;
	struct ledger_pg_conn *c;
	struct ledger_horizon *h;
	struct ledger_pg_args args[AT_COUNT];
};

static void release(struct look *k)
{
	for (size_t i = 0; i < AT_COUNT; i++)
		ledger_pg_args_release(&k->args[i]);
}

static void set_args(struct look *k)
{
	const struct ledger_query *q = k->s->query;
	const struct ledger_horizon *h = k->h;
	struct ledger_pg_args *a = &k->args[AT_LOOK];
	ledger_pg_fence_args(k->s->l, k->c, a);
	ledger_pg_args_text(a, h->lease);
	ledger_pg_args_text(a, h->token);
	ledger_pg_args_int8(a, (int64_t)h->lease_ms * 1000);

	a = &k->args[AT_WRITERS];
	ledger_pg_args_null(a);
	ledger_pg_args_int4(a, h->wait_ms < FIRST_WAIT_MS ? (int32_t)h->wait_ms : FIRST_WAIT_MS);

	ledger_pg_args_int8(&k->args[AT_PENDING], LEDGER_LATE_MAX);

	a = &k->args[AT_EVENTS];
	ledger_pg_fence_args(k->s->l, k->c, a);
	ledger_pg_args_bool(a, !q->lean);
	ledger_pg_args_int8(a, q->from_us);
	ledger_pg_args_int8(a, q->to_us);
	ledger_pg_args_int8(a, q->after_us);
	ledger_pg_args_int8(a, q->stream);
	ledger_pg_args_int8(a, (int64_t)q->after);
	if (q->limit)
		ledger_pg_args_int8(a, (int64_t)q->limit);
	else
		ledger_pg_args_null(a);
}

static void take_text(char *out, size_t size, const PGresult *r, int column)
{
	const char *text = ledger_pg_args_get_text(r, 0, column);
	snprintf(out, size, "%s", text ? text : "");
}

static void count_round_trip(struct ledger_pg *l)
{
	atomic_fetch_add_explicit(&l->counters.read, 1, memory_order_relaxed);
}

/* Lease, floor, state. */
static void take_look(struct look *k, const PGresult *r)
{
	struct ledger_horizon *h = k->h;
	struct ledger_state *s = &h->state;
	k->s->verdict = ledger_pg_args_get_int4(r, 0, LOOK_CODE);
	k->s->at = (uint64_t)ledger_pg_args_get_int8(r, 0, LOOK_AT);
	h->leased = ledger_pg_args_get_bool(r, 0, LOOK_LEASED);
	take_text(h->holder, sizeof(h->holder), r, LOOK_HOLDER);
	take_text(s->uuid, sizeof(s->uuid), r, LOOK_UUID);
	take_text(s->identity, sizeof(s->identity), r, LOOK_IDENTITY);
	take_text(s->written, sizeof(s->written), r, LOOK_WRITTEN);
	s->seeding = (uint64_t)ledger_pg_args_get_int8(r, 0, LOOK_SEEDING);
	s->commits = k->s->at;
	s->now_us = ledger_pg_args_get_int8(r, 0, LOOK_NOW);
	s->floor_us = ledger_pg_args_get_int8(r, 0, LOOK_FLOOR);
	s->complete = ledger_pg_args_get_bool(r, 0, LOOK_COMPLETE);
}

/* In this case nothing is told, and all that may be known stands in the look's answer. */
static bool is_over(const struct look *k)
{
	return k->s->verdict || !k->h->leased || !k->h->state.complete;
}

/* Wait until those that left_over names are gone. */
static enum rc wait_for_writers(struct look *k, PGresult *left_over, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = left_over;
	const struct ledger_horizon *h = k->h;
	uint64_t until = clock_boot_ms() + h->wait_ms;
	while (!PQgetisnull(r, 0, 0)) {
		_cleanup_(ledger_pg_args_release) struct ledger_pg_args a = LEDGER_PG_ARGS_INIT;
		uint64_t now = clock_boot_ms();
		if (h->cancel && *h->cancel)
			return rc_fail(RC_CANCELLED, why, "given up while an append was under way");
		if (now >= until)
			return rc_fail(RC_TEMPORARY, why,
				       "appends are under way for over %" PRIu64
				       " ms (see pg_locks of 'pending', and pg_prepared_xacts)",
				       h->wait_ms);
		/* the array as it came */
		ledger_pg_args_bytes(&a, PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0));
		ledger_pg_args_int4(&a, until - now < WAIT_MS ? (int32_t)(until - now) : WAIT_MS);
		PGresult *next = NULL;
		count_round_trip(k->s->l);
		enum rc rc = ledger_pg_conn_run(k->c, PG_LOOK_WRITERS, &a,
						ledger_pg_deadline(k->s->l), &next, NULL, why);
		if (rc != RC_OK)
			return rc;
		PQclear(r);
		r = next;
	}
	return RC_OK;
}

/* *go_on false: enough was told. */
static enum rc take_pending(struct look *k, const PGresult *r, bool *go_on, struct why *why)
{
	struct ledger_horizon *h = k->h;
	if (PQgetisnull(r, 0, PENDING_HORIZON))
		return rc_fail(RC_TEMPORARY, why,
			       "the ledger's PostgreSQL forgot what it was asked before");
	h->horizon_us = ledger_pg_args_get_int8(r, 0, PENDING_HORIZON);
	h->unsettled = (uint64_t)ledger_pg_args_get_int8(r, 0, PENDING_UNSETTLED);
	k->s->begun = true;
	for (int i = 1; i < PQntuples(r) && *go_on && h->late; i++) {
		struct ledger_row row = {
			.stream = ledger_pg_args_get_int8(r, i, PENDING_STREAM),
			.type = ledger_pg_args_get_text(r, i, PENDING_TYPE),
			.id = ledger_pg_args_get_text(r, i, PENDING_ID),
			.number = (uint64_t)ledger_pg_args_get_int8(r, i, PENDING_NUMBER),
			.event_id = "",
			.event_type = "",
			.recorded_us = ledger_pg_args_get_int8(r, i, PENDING_RECORDED),
		};
		*go_on = h->late(h->late_arg, &row);
	}
	return RC_OK;
}

static enum rc take_events(struct look *k, struct why *why)
{
	bool go_on = true;
	enum rc rc = ledger_pg_conn_pipe_rows(k->c, why);
	while (rc == RC_OK && go_on) {
		PGresult *r = NULL;
		rc = ledger_pg_conn_next(k->c, ledger_pg_deadline(k->s->l), &r, why);
		if (rc != RC_OK || !r)
			return rc;
		rc = ledger_pg_read_row(k->s, PG_LOOK_EVENTS, r, &go_on, why);
	}
	return rc;
}

/* What comes behind the wait. */
static enum rc take_rest(struct look *k, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	bool go_on = true;
	enum rc rc = ledger_pg_conn_pipe_answer(k->c, ledger_pg_deadline(k->s->l), &r, why);
	if (rc == RC_OK)
		rc = take_pending(k, r, &go_on, why);
	return rc == RC_OK && go_on ? take_events(k, why) : rc;
}

/* Answers that tell nothing. */
static enum rc pass_over(struct look *k, int n, struct why *why)
{
	enum rc rc = RC_OK;
	for (int i = 0; i < n && rc == RC_OK; i++) {
		_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
		rc = ledger_pg_conn_pipe_answer(k->c, ledger_pg_deadline(k->s->l), &r, why);
	}
	return rc;
}

/*
 * All in one round trip. *busy_r: not NULL where somebody was appending, and the rest is to be
 * asked again.
 */
static enum rc first(struct look *k, PGresult **busy_r, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *look = NULL, *writers = NULL;
	uint64_t deadline = ledger_pg_deadline(k->s->l);
	count_round_trip(k->s->l);
	enum rc rc = ledger_pg_conn_pipe(k->c, sqls, k->args, AT_COUNT, deadline, why);
	if (rc == RC_OK)
		rc = ledger_pg_conn_pipe_answer(k->c, deadline, &look, why);
	if (rc != RC_OK)
		return rc;
	take_look(k, look);
	if (is_over(k)) {
		k->s->begun = true;
		return pass_over(k, AT_COUNT - AT_WRITERS, why);
	}
	rc = ledger_pg_conn_pipe_answer(k->c, deadline, &writers, why);
	if (rc != RC_OK)
		return rc;
	if (PQgetisnull(writers, 0, 0))
		return take_rest(k, why);
	rc = pass_over(k, AT_COUNT - AT_PENDING, why);
	if (rc == RC_OK)
		*busy_r = TAKE_PTR(writers);
	return rc;
}

static enum rc again(struct look *k, struct why *why)
{
	count_round_trip(k->s->l);
	enum rc rc = ledger_pg_conn_pipe(k->c, sqls + AT_PENDING, k->args + AT_PENDING,
					 AT_COUNT - AT_PENDING, ledger_pg_deadline(k->s->l), why);
	if (rc == RC_OK)
		rc = take_rest(k, why);
	ledger_pg_conn_pipe_end(k->c);
	return rc;
}

/* The lease is given back: that and nothing else. */
static enum rc give_back(struct look *k, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	count_round_trip(k->s->l);
	enum rc rc = ledger_pg_conn_run(k->c, PG_LOOK, &k->args[AT_LOOK],
					ledger_pg_deadline(k->s->l), &r, NULL, why);
	if (rc != RC_OK)
		return rc;
	take_look(k, r);
	k->s->begun = true;
	return RC_OK;
}

enum rc ledger_pg_horizon_read(struct ledger_pg_reading *s, struct ledger_pg_conn *c,
			       struct why *why)
{
	struct ledger_horizon *h = s->query->horizon;
	_cleanup_(release) struct look k = { .s = s, .c = c, .h = h };
	PGresult *busy = NULL;
	h->leased = false;
	h->holder[0] = '\0';
	h->horizon_us = 0;
	h->unsettled = 0;
	memset(&h->state, 0, sizeof(h->state));
	set_args(&k);
	if (h->lease && !h->lease_ms)
		return give_back(&k, why);
	enum rc rc = first(&k, &busy, why);
	ledger_pg_conn_pipe_end(c);
	if (rc != RC_OK || !busy)
		return rc;
	rc = wait_for_writers(&k, busy, why);
	return rc == RC_OK ? again(&k, why) : rc;
}
