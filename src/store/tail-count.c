/* SPDX-License-Identifier: Apache-2.0 */
/* tail-count.c - the time line as the ledger alone tells it. */
#include "config.h"
#include "store/tail-count.h"

#include "store/store-private.h"

#define ROWS_A_QUESTION 5000
#define WAIT_FOR_WRITERS_MS 2000

struct counting {
	tail_count_fn *fn;
	void *arg;
	size_t told;
	bool stopped;
	struct ledger_query *q;	/* goes on behind the last row that was told */
};

static bool count_row(void *arg, const struct ledger_row *row)
{
	struct counting *c = arg;
	c->told++;
	c->q->after_us = row->recorded_us;
	c->q->stream = row->stream;
	c->q->after = row->span ? row->number + row->span - 1 : row->number;
	if (row->span)
		return true;
	struct tail_count_row told = { row->type, row->id, row->number, row->event_id,
				       row->recorded_us };
	c->stopped = !c->fn(c->arg, &told);
	return !c->stopped;
}

static enum rc count(struct store *s, struct ledger_query *q, tail_count_fn *fn, void *arg,
		     struct why *why)
{
	struct counting c = { .fn = fn, .arg = arg, .q = q };
	enum rc rc = s->ledger ? RC_OK
			       : rc_fail(RC_DENIED, why, "the store has no ledger to ask");
	q->limit = ROWS_A_QUESTION;
	q->lean = true;
	do {
		c.told = 0;
		if (rc == RC_OK)
			rc = ledger_read(s->ledger, q, count_row, &c, NULL, why);
	} while (rc == RC_OK && !c.stopped && c.told == ROWS_A_QUESTION);
	return rc;
}

enum rc tail_count(struct store *s, int64_t from_us, int64_t to_us, tail_count_fn *fn, void *arg,
		   struct why *why)
{
	struct ledger_query q = { .what = LEDGER_TIME, .from_us = from_us, .to_us = to_us };
	return from_us < to_us ? count(s, &q, fn, arg, why) : RC_OK;
}

enum rc tail_count_stream(struct store *s, const char *type, const char *id, uint64_t from,
			  tail_count_fn *fn, void *arg, struct why *why)
{
	struct ledger_query q = {
		.what = LEDGER_EVENTS,
		.type = type,
		.id = id,
		.after = from ? from - 1 : 0,
		.unseeded_too = true,
	};
	return count(s, &q, fn, arg, why);
}

static bool pass_over(void *arg, const struct ledger_row *row)
{
	(void)arg;
	(void)row;
	return true;
}

enum rc tail_count_end(struct store *s, struct tail_count_end *out, struct why *why)
{
	struct ledger_horizon h = { .wait_ms = WAIT_FOR_WRITERS_MS, .late = pass_over };
	/* No event is before time 0: nothing but the horizon is asked for. */
	struct ledger_query q = { .what = LEDGER_TIME, .limit = 1, .lean = true, .horizon = &h };
	struct ledger_state state = { .count = false };
	enum rc rc = s->ledger ? ledger_state(s->ledger, &state, why)
			       : rc_fail(RC_DENIED, why, "the store has no ledger to ask");
	if (rc)
		return rc;
	rc = ledger_read(s->ledger, &q, pass_over, NULL, NULL, why);
	if (rc && rc != RC_TEMPORARY)
		return rc;
	*out = (struct tail_count_end){
		.now_us = rc ? state.now_us : h.state.now_us,
		.horizon_us = rc ? 0 : h.horizon_us,
		.known = !rc && h.state.complete,
		.seeding = state.seeding,
		.unsettled = rc ? 0 : h.unsettled,
	};
	return RC_OK;
}
