/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-pg-reseed.c - one stream made equal to what the object store holds of it: see ledger-pg-
 * reseed.sql.
 */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/failpoint.h"

#define OBJECTS_A_MS 5 /* entered, on a busy server */

enum {
	RESEED_CODE,
	RESEED_AT,
	RESEED_NUMBER,
	RESEED_ADDED,
	RESEED_REPLACED,
	RESEED_MOVED,
	RESEED_DROPPED,
	RESEED_VOIDS,
	RESEED_WHICH
};
enum { COMPLETE_TYPE = RESEED_NUMBER + 1, COMPLETE_ID };
enum { CODE_OTHER_SEEDING = 3, CODE_UNSETTLED, CODE_WAITS = CODE_UNSETTLED };

static void complete_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
			  const void *arg)
{
	const struct ledger_reseed *r = arg;
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_int8(a, (int64_t)r->seeding);
}

static void item_text(struct ledger_pg_args *a, const char *text)
{
	if (text && *text)
		ledger_pg_args_item(a, text, strlen(text));
	else
		ledger_pg_args_item_null(a);
}

#define EACH_OBJECT(type, add)                                          \
	do {                                                            \
		ledger_pg_args_array(a, type, r->n);                    \
		for (size_t i = 0; i < r->n; i++) {                     \
			const struct ledger_object *o = &r->objects[i]; \
			add;                                            \
		}                                                       \
		ledger_pg_args_end(a);                                  \
	} while (0)

static void reseed_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
			const void *arg)
{
	const struct ledger_reseed *r = arg;
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_int8(a, (int64_t)r->seeding);
	ledger_pg_args_text(a, r->type);
	ledger_pg_args_text(a, r->id);
	ledger_pg_args_int8(a, (int64_t)r->after);
	EACH_OBJECT(PG_INT8, ledger_pg_args_item_int8(a, (int64_t)o->number));
	EACH_OBJECT(PG_TEXT, item_text(a, o->event_id));
	EACH_OBJECT(PG_TEXT, item_text(a, o->event_type));
	EACH_OBJECT(PG_INT8, ledger_pg_args_item_int8(a, (int64_t)o->size));
	EACH_OBJECT(PG_INT8, ledger_pg_args_item_int8(a, o->occurred_us));
	EACH_OBJECT(PG_INT8, ledger_pg_args_item_int8(a, o->recorded_us));
	EACH_OBJECT(PG_BYTEA, ledger_pg_args_item(a, o->digest, LEDGER_DIGEST_LEN));
}

static bool in_order(const struct ledger_reseed *r)
{
	uint64_t before = r->after;
	for (size_t i = 0; i < r->n; before = r->objects[i++].number)
		if (r->objects[i].number <= before || r->objects[i].number > INT64_MAX)
			return false;
	return true;
}

static enum rc refused(const struct ledger_reseed *r, int code, const PGresult *result,
		       struct why *why)
{
	uint64_t number = (uint64_t)ledger_pg_args_get_int8(result, 0, RESEED_NUMBER);
	if (code == CODE_OTHER_SEEDING)
		return rc_fail(RC_CONFLICT, why,
			       "this belongs to seeding %" PRIu64 ", the last is %" PRIu64,
			       r->seeding, number);
	if (r->type)
		return rc_fail(RC_CONFLICT, why,
			       "stream '%s/%s': number %" PRIu64
			       " is not settled, list the objects from there",
			       r->type, r->id, number);
	return rc_fail(RC_TEMPORARY, why, "stream '%s/%s' still waits for its re-seed",
		       ledger_pg_args_get_text(result, 0, COMPLETE_TYPE),
		       ledger_pg_args_get_text(result, 0, COMPLETE_ID));
}

static size_t count(const PGresult *result, int column)
{
	return (size_t)ledger_pg_args_get_int8(result, 0, column);
}

enum rc ledger_pg_reseed_stream(struct ledger *base, struct ledger_reseed *r, struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	_cleanup_(ledger_pg_result_freep) PGresult *result = NULL;
	r->added = r->replaced = r->moved = r->dropped = r->voids = 0;
	r->dropped_why.text[0] = '\0';
	if (r->type && !in_order(r))
		return rc_fail(RC_INVALID, why, "the objects of '%s/%s' are not in order", r->type,
			       r->id);
	atomic_fetch_add_explicit(&l->counters.seed, 1, memory_order_relaxed);
	/* the same list again does no harm */
	enum rc rc = ledger_pg_run(l, r->type ? PG_RESEED : PG_COMPLETE,
				   r->type ? reseed_args : complete_args, r, true,
				   ledger_pg_deadline(l) + r->n / OBJECTS_A_MS, &result, NULL, why);
	if (rc == RC_NOT_FOUND)
		rc = RC_TEMPORARY;
	if (rc != RC_OK)
		return rc;
	int code = ledger_pg_args_get_int4(result, 0, RESEED_CODE);
	uint64_t at = (uint64_t)ledger_pg_args_get_int8(result, 0, RESEED_AT);
	if (code == VERDICT_FENCED || code == VERDICT_OLDER)
		return ledger_pg_fenced(l, code, at, why);
	ledger_pg_saw(l, at);
	if (code)
		return refused(r, code, result, why);
	if (r->type) {
		const char *which = ledger_pg_args_get_text(result, 0, RESEED_WHICH);
		r->added = count(result, RESEED_ADDED);
		r->replaced = count(result, RESEED_REPLACED);
		r->moved = count(result, RESEED_MOVED);
		r->dropped = count(result, RESEED_DROPPED);
		r->voids = count(result, RESEED_VOIDS);
		snprintf(r->dropped_why.text, sizeof(r->dropped_why.text), "%s",
			 which ? which : "");
	}
	FAILPOINT("ledger-reseed-after");
	return RC_OK;
}
