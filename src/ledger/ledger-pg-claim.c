/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-pg-claim.c - giving unsettled rows out, settling them, dropping bodies that nobody needs
 * any more.
 */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"

#define BODIES_MAX (32 << 20) /* bytes given out by one claim, but for one body */
#define PURGE_ROWS 1000 /* dropped in one transaction */
#define PURGE_MS 50 /* spent on it by one claim */
#define LATE_US (60 * INT64_C(1000000))

enum {
	CLAIM_CODE,
	CLAIM_AT,
	CLAIM_NOW,
	CLAIM_STREAM,
	CLAIM_TYPE,
	CLAIM_ID,
	CLAIM_NUMBER,
	CLAIM_EVENT_ID,
	CLAIM_HEAD,
	CLAIM_TAIL,
	CLAIM_OWN_TIME,
	CLAIM_RECORDED,
	CLAIM_ATTEMPTS
};

struct claim {
	size_t max;
	uint64_t lease_ms;
	bool all;
};

static void claim_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		       const void *arg)
{
	const struct claim *k = arg;
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_int8(a, (int64_t)k->lease_ms * 1000);
	ledger_pg_args_int8(a, k->max > INT32_MAX ? INT32_MAX : (int64_t)k->max);
	ledger_pg_args_bool(a, k->all);
	ledger_pg_args_int8(a, BODIES_MAX);
}

static enum rc tell(const PGresult *r, int row, int64_t now_us, ledger_pending_fn *fn, void *arg,
		    struct why *why)
{
	struct ledger_pending p = {
		.stream = ledger_pg_args_get_int8(r, row, CLAIM_STREAM),
		.type = ledger_pg_args_get_text(r, row, CLAIM_TYPE),
		.id = ledger_pg_args_get_text(r, row, CLAIM_ID),
		.number = (uint64_t)ledger_pg_args_get_int8(r, row, CLAIM_NUMBER),
		.event_id = ledger_pg_args_get_text(r, row, CLAIM_EVENT_ID),
		.own_time = ledger_pg_args_get_bool(r, row, CLAIM_OWN_TIME),
		.recorded_us = ledger_pg_args_get_int8(r, row, CLAIM_RECORDED),
		.attempts = (unsigned)ledger_pg_args_get_int4(r, row, CLAIM_ATTEMPTS),
	};
	p.head = ledger_pg_args_get_bytes(r, row, CLAIM_HEAD, &p.head_len);
	p.tail = ledger_pg_args_get_bytes(r, row, CLAIM_TAIL, &p.tail_len);
	p.late = p.recorded_us < now_us - LATE_US;
	if (!p.head || !p.tail || !p.event_id)
		return rc_fail(RC_CORRUPT, why,
			       "the ledger has lost the body of an event that is not stored yet");
	return fn(arg, &p);
}

struct purge {
	int64_t after;
};

static void purge_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		       const void *arg)
{
	const struct purge *p = arg;
	(void)l;
	(void)c;
	ledger_pg_args_int8(a, p->after);
	ledger_pg_args_int8(a, PURGE_ROWS);
}

/* The oldest body says when there is something to do again; until then nothing is asked. */
static enum rc purge(struct ledger_pg *l, int64_t now_us, struct why *why)
{
	uint64_t begun = clock_boot_ms();
	while (now_us >= l->purge_due_us && clock_boot_ms() - begun < PURGE_MS) {
		_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
		struct purge p = { l->purge_after };
		atomic_fetch_add_explicit(&l->counters.claim, 1, memory_order_relaxed);
		enum rc rc = ledger_pg_run(l, PG_PURGE, purge_args, &p, true, ledger_pg_deadline(l),
					   &r, NULL, why);
		if (rc != RC_OK)
			return rc;
		l->purge_after = ledger_pg_args_get_int8(r, 0, 0);
		l->purge_due_us = ledger_pg_args_get_int8(r, 0, 1);
	}
	return RC_OK;
}

enum rc ledger_pg_claim_rows(struct ledger *base, size_t max, uint64_t lease_ms, bool all,
			     ledger_pending_fn *fn, void *arg, size_t *n_r, struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	struct claim k = { max, lease_ms, all };
	*n_r = 0;
	atomic_fetch_add_explicit(&l->counters.claim, 1, memory_order_relaxed);
	/* what a lost answer gave out is given out again when its lease is over */
	enum rc rc = ledger_pg_run(l, PG_CLAIM, claim_args, &k, true, ledger_pg_deadline(l), &r,
				   NULL, why);
	if (rc == RC_NOT_FOUND)
		rc = RC_TEMPORARY;
	if (rc != RC_OK)
		return rc;
	int verdict = ledger_pg_args_get_int4(r, 0, CLAIM_CODE);
	uint64_t at = (uint64_t)ledger_pg_args_get_int8(r, 0, CLAIM_AT);
	int64_t now_us = ledger_pg_args_get_int8(r, 0, CLAIM_NOW);
	if (verdict)
		return ledger_pg_fenced(l, verdict, at, why);
	ledger_pg_saw(l, at);
	for (int row = 1; row < PQntuples(r) && rc == RC_OK; row++) {
		rc = tell(r, row, now_us, fn, arg, why);
		(*n_r)++;
	}
	return rc == RC_OK ? purge(l, now_us, why) : rc;
}

struct settle {
	const struct ledger_ref **refs; /* in everyone's order of locks */
	size_t n;
};

static int by_place(const void *a, const void *b)
{
	const struct ledger_ref *x = *(const struct ledger_ref *const *)a,
				*y = *(const struct ledger_ref *const *)b;
	int order = (x->stream > y->stream) - (x->stream < y->stream);
	return order ? order : (x->number > y->number) - (x->number < y->number);
}

static void settle_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
			const void *arg)
{
	const struct settle *s = arg;
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_array(a, PG_INT8, s->n);
	for (size_t i = 0; i < s->n; i++)
		ledger_pg_args_item_int8(a, s->refs[i]->stream);
	ledger_pg_args_end(a);
	ledger_pg_args_array(a, PG_INT8, s->n);
	for (size_t i = 0; i < s->n; i++)
		ledger_pg_args_item_int8(a, (int64_t)s->refs[i]->number);
	ledger_pg_args_end(a);
	ledger_pg_args_array(a, PG_TEXT, s->n);
	for (size_t i = 0; i < s->n; i++)
		ledger_pg_args_item(a, s->refs[i]->event_id, strlen(s->refs[i]->event_id));
	ledger_pg_args_end(a);
}

enum rc ledger_pg_claim_settle(struct ledger *base, const struct ledger_ref *refs, size_t n,
			       struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	_cleanup_(freep) const struct ledger_ref **sorted = malloc((n ? n : 1) * sizeof(*sorted));
	if (!sorted)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	for (size_t i = 0; i < n; i++)
		sorted[i] = &refs[i];
	qsort(sorted, n, sizeof(*sorted), by_place);
	struct settle s = { sorted, n };
	atomic_fetch_add_explicit(&l->counters.settle, 1, memory_order_relaxed);
	enum rc rc = ledger_pg_run(l, PG_SETTLE, settle_args, &s, true, ledger_pg_deadline(l), &r,
				   NULL, why);
	if (rc == RC_NOT_FOUND)
		rc = RC_TEMPORARY;
	if (rc != RC_OK)
		return rc;
	int verdict = ledger_pg_args_get_int4(r, 0, 0);
	uint64_t at = (uint64_t)ledger_pg_args_get_int8(r, 0, 1);
	if (verdict)
		return ledger_pg_fenced(l, verdict, at, why);
	ledger_pg_saw(l, at);
	FAILPOINT("ledger-settle-after");
	return RC_OK;
}
