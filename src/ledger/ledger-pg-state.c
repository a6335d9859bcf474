/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-state.c - which ledger this is, and writing that down. */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/failpoint.h"

enum {
	STATE_VERDICT,
	STATE_AT,
	STATE_UUID,
	STATE_IDENTITY,
	STATE_WRITTEN,
	STATE_SEEDING,
	STATE_NOW,
	STATE_FLOOR,
	STATE_COMPLETE,
	STATE_POINT
};
enum { SEED_CODE, SEED_AT, SEED_IDENTITY, SEED_NUMBER };
enum { SEED_ELSEWHERE = 3, SEED_MEANWHILE };

static void state_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		       const void *arg)
{
	(void)arg;
	ledger_pg_fence_args(l, c, a);
}

static void no_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		    const void *arg)
{
	(void)l;
	(void)c;
	(void)a;
	(void)arg;
}

/* arg NULL: erase it if the log is shorter than we saw it. Otherwise in any case: no log is that long. */
static void erase_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		       const void *arg)
{
	(void)c;
	ledger_pg_args_int8(a, arg ? -1 : (int64_t)l->seen);
}

enum rc ledger_pg_state_erase(struct ledger_pg *l, uint64_t at, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	atomic_fetch_add_explicit(&l->counters.state, 1, memory_order_relaxed);
	enum rc rc = ledger_pg_run(l, PG_FENCE, erase_args, NULL, true, ledger_pg_deadline(l), &r,
				   NULL, why);
	if (rc == RC_DENIED) /* a mere reader: another will do it */
		return ledger_pg_fenced(l, VERDICT_FENCED, at, why);
	return rc == RC_OK ? ledger_pg_fenced(l, VERDICT_OLDER, at, why) : rc;
}

static void take_text(char *out, size_t size, const PGresult *r, int column)
{
	const char *text = ledger_pg_args_get_text(r, 0, column);
	snprintf(out, size, "%s", text ? text : "");
}

static enum rc count(struct ledger_pg *l, struct ledger_state *s, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	atomic_fetch_add_explicit(&l->counters.state, 1, memory_order_relaxed);
	enum rc rc = ledger_pg_run(l, PG_COUNTS, no_args, NULL, true, ledger_pg_deadline(l), &r,
				   NULL, why);
	if (rc != RC_OK)
		return rc;
	s->streams = (uint64_t)ledger_pg_args_get_int8(r, 0, 0);
	s->pending = (uint64_t)ledger_pg_args_get_int8(r, 0, 1);
	s->late = (uint64_t)ledger_pg_args_get_int8(r, 0, 2);
	s->unseeded = (uint64_t)ledger_pg_args_get_int8(r, 0, 3);
	s->oldest_us = ledger_pg_args_get_int8(r, 0, 4);
	return RC_OK;
}

enum rc ledger_pg_state_read(struct ledger *base, struct ledger_state *out, struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	struct ledger_state s;
	memset(&s, 0, sizeof(s));
	s.count = out->count;
	for (int tries = 0;; tries++) {
		_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
		atomic_fetch_add_explicit(&l->counters.state, 1, memory_order_relaxed);
		enum rc rc = ledger_pg_run(l, PG_STATE, state_args, NULL, true,
					   ledger_pg_deadline(l), &r, NULL, why);
		if (rc != RC_OK)
			return rc;
		if (PQntuples(r) != 1)
			return rc_fail(RC_NOT_FOUND, why, "the schema '%s' holds no store any more",
				       l->schema);
		s.commits = (uint64_t)ledger_pg_args_get_int8(r, 0, STATE_AT);
		if (ledger_pg_args_get_int4(r, 0, STATE_VERDICT) == VERDICT_OLDER && tries < 3) {
			rc = ledger_pg_state_erase(l, s.commits, why);
			if (rc != RC_FENCED)
				return rc;
			continue;
		}
		ledger_pg_saw(l, s.commits);
		take_text(s.uuid, sizeof(s.uuid), r, STATE_UUID);
		take_text(s.identity, sizeof(s.identity), r, STATE_IDENTITY);
		take_text(s.written, sizeof(s.written), r, STATE_WRITTEN);
		s.seeding = (uint64_t)ledger_pg_args_get_int8(r, 0, STATE_SEEDING);
		s.now_us = ledger_pg_args_get_int8(r, 0, STATE_NOW);
		s.floor_us = ledger_pg_args_get_int8(r, 0, STATE_FLOOR);
		s.complete = ledger_pg_args_get_bool(r, 0, STATE_COMPLETE);
		/* another commit, another snapshot */
		s.point = (uint64_t)ledger_pg_args_get_int8(r, 0, STATE_POINT) | 1;
		break;
	}
	enum rc rc = s.count ? count(l, &s, why) : RC_OK;
	if (rc == RC_OK)
		*out = s;
	return rc;
}

struct seed {
	const char *identity;
	uint64_t number;
	bool other_line;
	int64_t floor_us;
};

static void seed_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		      const void *arg)
{
	const struct seed *s = arg;
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_text(a, s->identity);
	ledger_pg_args_int8(a, (int64_t)s->number);
	ledger_pg_args_bool(a, s->other_line);
	ledger_pg_args_int8(a, s->floor_us);
}

enum rc ledger_pg_state_seed(struct ledger *base, const char *identity, uint64_t number,
			     bool other_line, int64_t floor_us, struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	struct seed s = { identity, number, other_line, floor_us };
	bool lost = false;
	atomic_fetch_add_explicit(&l->counters.seed, 1, memory_order_relaxed);
	if (!*identity)
		return ledger_pg_run(l, PG_FENCE, erase_args, &s, true, ledger_pg_deadline(l), &r,
				     NULL, why);
	enum rc rc = ledger_pg_run(l, PG_SEED, seed_args, &s, false, ledger_pg_deadline(l), &r,
				   &lost, why);
	if (lost)
		return rc_prefix(RC_UNCERTAIN, why, "the seeding may have been written down");
	if (rc == RC_EXISTS || rc == RC_NOT_FOUND)
		rc = RC_TEMPORARY;
	if (rc != RC_OK)
		return rc;
	uint64_t at = (uint64_t)ledger_pg_args_get_int8(r, 0, SEED_AT);
	switch (ledger_pg_args_get_int4(r, 0, SEED_CODE)) {
	case SEED_ELSEWHERE:
		return rc_fail(RC_CONFLICT, why, "the ledger lives at '%s' by now, not at '%s'",
			       ledger_pg_args_get_text(r, 0, SEED_IDENTITY), identity);
	case SEED_MEANWHILE:
		return rc_fail(RC_CONFLICT, why,
			       "the ledger was seeded as number %" PRIu64 " meanwhile",
			       (uint64_t)ledger_pg_args_get_int8(r, 0, SEED_NUMBER));
	case VERDICT_OLDER: /* and seeded as it is */
		l->seen = at;
		break;
	}
	ledger_pg_saw(l, at);
	FAILPOINT("ledger-seed-after");
	return RC_OK;
}
