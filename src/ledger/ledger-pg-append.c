/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-pg-append.c - the commit of appends: one call of a function (ledger-pg-functions.sql) for
 * a group.
 *
 * The function decides; here the group is cut so that no id stands twice in one call, put into
 * everyone's order of locks, and split where another writer commits one of its ids at the same
 * moment.
 */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"

/* append_answer */
enum {
	ANSWER_ITEM,
	ANSWER_CODE,
	ANSWER_STREAM,
	ANSWER_LAST,
	ANSWER_NUMBER,
	ANSWER_RECORDED,
	ANSWER_SETTLED,
	ANSWER_DETAIL,
	ANSWER_AT
};
enum {
	CODE_COMMITTED,
	CODE_KNOWN,
	CODE_NOT_LAST,
	CODE_OTHER_STREAM,
	CODE_OTHER_CONTENT,
	CODE_PART_STORED,
	CODE_UNUSED,
	CODE_RESEED
};

/* An event with where it stands. */
struct placed {
	const struct ledger_event *event;
	int32_t item, place;
};

/* A run of items that go in one call. */
struct group {
	struct ledger_append **items;
	size_t n;
	uint64_t lease_ms, deadline;
	bool one; /* a single event, not tried before: see append_one in ledger-pg-functions.sql */
	struct placed *events; /* by id */
	size_t n_events;
	const struct ledger_append **streams; /* by name, each once */
	size_t n_streams;
	int32_t *at; /* by item: its stream, from 1 */
};

static enum rc no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "out of memory");
}

static int by_id(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	int order = strcmp(x->event->event_id, y->event->event_id);
	if (!order)
		order = (x->item > y->item) - (x->item < y->item);
	return order;
}

static int compare_streams(const struct ledger_append *x, const struct ledger_append *y)
{
	int order = strcmp(x->type, y->type);
	return order ? order : strcmp(x->id, y->id);
}

static int by_stream(const void *a, const void *b)
{
	return compare_streams(*(const struct ledger_append *const *)a,
			       *(const struct ledger_append *const *)b);
}

static size_t place_events(struct ledger_append **items, size_t n, struct placed *out)
{
	size_t count = 0;
	bool sorted = true;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < items[i]->n; k++) {
			out[count] =
				(struct placed){ &items[i]->events[k], (int32_t)i + 1, (int32_t)k };
			sorted = sorted && (!count || by_id(&out[count - 1], &out[count]) < 0);
			count++;
		}
	if (!sorted)
		qsort(out, count, sizeof(*out), by_id);
	return count;
}

static void release_group(struct group *g)
{
	free(g->events);
	free(g->streams);
	free(g->at);
}

static enum rc fill_group(struct group *g, struct why *why)
{
	size_t count = 0;
	for (size_t i = 0; i < g->n; i++)
		count += g->items[i]->n;
	g->events = malloc(count * sizeof(*g->events));
	g->streams = malloc(g->n * sizeof(*g->streams));
	g->at = malloc(g->n * sizeof(*g->at));
	if (!g->events || !g->streams || !g->at)
		return no_memory(why);
	g->n_events = place_events(g->items, g->n, g->events);
	for (size_t i = 0; i < g->n; i++)
		g->streams[i] = g->items[i];
	qsort(g->streams, g->n, sizeof(*g->streams), by_stream);
	for (size_t i = 0; i < g->n; i++)
		if (!i || compare_streams(g->streams[g->n_streams - 1], g->streams[i]))
			g->streams[g->n_streams++] = g->streams[i];
	for (size_t i = 0; i < g->n; i++) {
		size_t low = 0, high = g->n_streams;
		while (low + 1 < high) {
			size_t mid = (low + high) / 2;
			if (compare_streams(g->streams[mid], g->items[i]) <= 0)
				low = mid;
			else
				high = mid;
		}
		g->at[i] = (int32_t)low + 1;
	}
	return RC_OK;
}

/* Of the stored body, but for its number's digits and, where the writer named none, its time. */
static int64_t base_size(const struct ledger_event *e)
{
	return (int64_t)(e->head_len + e->tail_len + 1);
}

static void one_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		     const void *arg)
{
	const struct group *g = arg;
	const struct ledger_append *item = g->items[0];
	const struct ledger_event *e = &item->events[0];
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_int8(a, (int64_t)g->lease_ms * 1000);
	ledger_pg_args_text(a, item->type);
	ledger_pg_args_text(a, item->id);
	if (item->has_expect)
		ledger_pg_args_int8(a, (int64_t)item->expect);
	else
		ledger_pg_args_null(a);
	ledger_pg_args_bool(a, item->may_skip);
	ledger_pg_args_text(a, e->event_id);
	ledger_pg_args_text(a, e->event_type);
	ledger_pg_args_bytes(a, e->head, e->head_len);
	ledger_pg_args_bytes(a, e->tail, e->tail_len);
	ledger_pg_args_int8(a, base_size(e));
	if (e->own_time)
		ledger_pg_args_int8(a, e->occurred_us);
	else
		ledger_pg_args_null(a);
	ledger_pg_args_bytes(a, e->digest, LEDGER_DIGEST_LEN);
}

static void item_args(struct ledger_pg_args *a, const struct group *g)
{
	ledger_pg_args_array(a, PG_TEXT, g->n_streams);
	for (size_t i = 0; i < g->n_streams; i++)
		ledger_pg_args_item(a, g->streams[i]->type, strlen(g->streams[i]->type));
	ledger_pg_args_end(a);
	ledger_pg_args_array(a, PG_TEXT, g->n_streams);
	for (size_t i = 0; i < g->n_streams; i++)
		ledger_pg_args_item(a, g->streams[i]->id, strlen(g->streams[i]->id));
	ledger_pg_args_end(a);
	ledger_pg_args_array(a, PG_INT4, g->n);
	for (size_t i = 0; i < g->n; i++)
		ledger_pg_args_item_int4(a, g->at[i]);
	ledger_pg_args_end(a);
	ledger_pg_args_array(a, PG_INT4, g->n);
	for (size_t i = 0; i < g->n; i++)
		ledger_pg_args_item_int4(a, (int32_t)g->items[i]->n);
	ledger_pg_args_end(a);
	ledger_pg_args_array(a, PG_INT8, g->n);
	for (size_t i = 0; i < g->n; i++)
		if (g->items[i]->has_expect)
			ledger_pg_args_item_int8(a, (int64_t)g->items[i]->expect);
		else
			ledger_pg_args_item_null(a);
	ledger_pg_args_end(a);
	ledger_pg_args_array(a, PG_BOOL, g->n);
	for (size_t i = 0; i < g->n; i++)
		ledger_pg_args_item_bool(a, g->items[i]->may_skip);
	ledger_pg_args_end(a);
}

#define EACH_EVENT(type, add)                                    \
	do {                                                     \
		ledger_pg_args_array(a, type, g->n_events);      \
		for (size_t i = 0; i < g->n_events; i++) {       \
			const struct placed *p = &g->events[i];  \
			const struct ledger_event *e = p->event; \
			add;                                     \
			(void)e;                                 \
		}                                                \
		ledger_pg_args_end(a);                           \
	} while (0)

static void group_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a,
		       const void *arg)
{
	const struct group *g = arg;
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_int8(a, (int64_t)g->lease_ms * 1000);
	item_args(a, g);
	EACH_EVENT(PG_INT4, ledger_pg_args_item_int4(a, p->item));
	EACH_EVENT(PG_INT4, ledger_pg_args_item_int4(a, p->place));
	EACH_EVENT(PG_TEXT, ledger_pg_args_item(a, e->event_id, strlen(e->event_id)));
	EACH_EVENT(PG_TEXT, ledger_pg_args_item(a, e->event_type, strlen(e->event_type)));
	EACH_EVENT(PG_BYTEA, ledger_pg_args_item(a, e->head, e->head_len));
	EACH_EVENT(PG_BYTEA, ledger_pg_args_item(a, e->tail, e->tail_len));
	EACH_EVENT(PG_INT8, ledger_pg_args_item_int8(a, base_size(e)));
	EACH_EVENT(PG_INT8, {
		if (e->own_time)
			ledger_pg_args_item_int8(a, e->occurred_us);
		else
			ledger_pg_args_item_null(a);
	});
	EACH_EVENT(PG_BYTEA, ledger_pg_args_item(a, e->digest, LEDGER_DIGEST_LEN));
}

/* A row about an item. known: how many rows said that its events are known. */
static enum rc take_answer(struct ledger_append *item, const PGresult *r, int row, size_t *known)
{
	const char *id = ledger_pg_args_get_text(r, row, ANSWER_DETAIL);
	uint64_t number = (uint64_t)ledger_pg_args_get_int8(r, row, ANSWER_NUMBER);
	struct why *why = &item->why;
	item->stream = ledger_pg_args_get_int8(r, row, ANSWER_STREAM);
	item->last = (uint64_t)ledger_pg_args_get_int8(r, row, ANSWER_LAST);
	switch (ledger_pg_args_get_int4(r, row, ANSWER_CODE)) {
	case CODE_COMMITTED:
		for (size_t k = 0; k < item->n; k++) {
			item->events[k].number = number + k;
			item->events[k].recorded_us =
				ledger_pg_args_get_int8(r, row, ANSWER_RECORDED);
			item->events[k].settled = false;
		}
		return RC_OK;
	case CODE_KNOWN:
		if (*known >= item->n)
			break;
		item->events[*known].number = number;
		item->events[*known].recorded_us = ledger_pg_args_get_int8(r, row, ANSWER_RECORDED);
		item->events[*known].settled = ledger_pg_args_get_bool(r, row, ANSWER_SETTLED);
		(*known)++;
		item->known = true;
		return RC_OK;
	case CODE_NOT_LAST:
		return rc_fail(RC_CONFLICT, why, "expected sequence %" PRIu64 ", last is %" PRIu64,
			       item->expect, item->last);
	case CODE_OTHER_STREAM:
		return rc_fail(RC_EXISTS, why,
			       "event id '%s' is taken by an event of another stream", id);
	case CODE_OTHER_CONTENT:
		return rc_fail(RC_EXISTS, why,
			       "event id '%s' is taken by number %" PRIu64
			       ", which has other content",
			       id, number);
	case CODE_PART_STORED:
		return rc_fail(RC_EXISTS, why,
			       "event id '%s' is stored already, others of the batch are not", id);
	case CODE_RESEED:
		item->fenced_stream = true;
		return rc_fail(RC_FENCED, why, "stream '%s/%s' must be re-seeded first", item->type,
			       item->id);
	}
	return rc_fail(RC_CORRUPT, why, "the ledger's functions are not those of this program");
}

static enum rc take_answers(struct ledger_pg *l, struct group *g, const PGresult *r,
			    struct why *why)
{
	size_t known = 0;
	int32_t before = 0;
	for (int row = 0; row < PQntuples(r); row++) {
		int32_t item = ledger_pg_args_get_int4(r, row, ANSWER_ITEM);
		uint64_t at = (uint64_t)ledger_pg_args_get_int8(r, row, ANSWER_AT);
		int32_t code = ledger_pg_args_get_int4(r, row, ANSWER_CODE);
		if (!item && code)
			return ledger_pg_fenced(l, code, at, why);
		ledger_pg_saw(l, at);
		if (item < 1 || (size_t)item > g->n)
			continue;
		if (item != before)
			known = 0;
		before = item;
		g->items[item - 1]->rc = take_answer(g->items[item - 1], r, row, &known);
	}
	return RC_OK;
}

static void all_failed(struct group *g, enum rc rc, const struct why *reason)
{
	for (size_t i = 0; i < g->n; i++) {
		g->items[i]->rc = rc;
		g->items[i]->why = *reason;
		g->items[i]->known = g->items[i]->fenced_stream = false;
	}
}

/* One call. RC_EXISTS: another writer committed one of the ids meanwhile, nothing happened. */
static enum rc call(struct ledger_pg *l, struct group *g, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	bool lost = false, one = g->one;
	enum rc rc = one ? RC_OK : fill_group(g, why);
	if (rc != RC_OK)
		return rc;
	for (size_t i = 0; i < g->n; i++) /* an answer that names no number is none */
		g->items[i]->rc = rc_fail(RC_CORRUPT, &g->items[i]->why,
					  "the ledger did not answer for this append");
	FAILPOINT("ledger-append-before-commit");
	atomic_fetch_add_explicit(&l->counters.append, 1, memory_order_relaxed);
	rc = ledger_pg_run(l, one ? PG_APPEND_ONE : PG_APPEND, one ? one_args : group_args, g,
			   false, g->deadline, &r, &lost, why);
	if (lost)
		return rc_prefix(RC_UNCERTAIN, why, "the append may have been committed");
	if (rc == RC_OK)
		rc = take_answers(l, g, r, why);
	if (rc == RC_OK)
		FAILPOINT("ledger-append-after-commit");
	return rc == RC_NOT_FOUND ? RC_TEMPORARY : rc;
}

/* Until when a group is worth waiting for. */
static uint64_t deadline(const struct ledger_pg *l, struct ledger_append **items, size_t n)
{
	uint64_t latest = 0;
	for (size_t i = 0; i < n; i++) {
		if (!items[i]->deadline_ms)
			return ledger_pg_deadline(l);
		latest = items[i]->deadline_ms > latest ? items[i]->deadline_ms : latest;
	}
	return latest;
}

/*
 * A group, or where that collides with another writer, or the server does not take one's bytes, each
 * member for itself; one that still collides looks again.
 */
static enum rc commit(struct ledger_pg *l, struct ledger_append **items, size_t n,
		      uint64_t lease_ms, struct why *why)
{
	const struct group fresh = {
		.items = items, .n = n, .lease_ms = lease_ms, .deadline = deadline(l, items, n)
	};
	struct group g = fresh;
	g.one = n == 1 && items[0]->n == 1;
	struct why reason = { "" };
	enum rc rc = RC_OK;
	for (int tries = 0; tries < (n == 1 ? 5 : 1); tries++) {
		rc = call(l, &g, &reason);
		release_group(&g);
		g = fresh;
		if (rc != RC_EXISTS)
			break;
	}
	if (n == 1 || (rc != RC_EXISTS && rc != RC_INVALID && rc != RC_TOO_LARGE)) {
		if (rc == RC_EXISTS)
			rc = RC_TEMPORARY;
		if (rc != RC_OK) {
			all_failed(&g, rc, &reason);
			return rc_fail(rc, why, "%s", reason.text);
		}
		return RC_OK;
	}
	bool any = false;
	for (size_t i = 0; i < n; i++) {
		enum rc own = commit(l, &items[i], 1, lease_ms, why);
		any = any || own == RC_OK;
		rc = own == RC_OK ? rc : own;
	}
	return any ? RC_OK : rc; /* each member has its own */
}

/* How many of the first items go in one call: no id may stand twice. */
static enum rc first_run(struct ledger_append **items, size_t n, size_t *run_r, struct why *why)
{
	size_t count = 0;
	*run_r = n;
	for (size_t i = 0; i < n; i++)
		count += items[i]->n;
	if (n < 2)
		return RC_OK;
	_cleanup_(freep) struct placed *events = malloc(count * sizeof(*events));
	if (!events)
		return no_memory(why);
	place_events(items, n, events);
	for (size_t i = 1; i < count; i++)
		if (!strcmp(events[i - 1].event->event_id, events[i].event->event_id) &&
		    (size_t)events[i].item - 1 < *run_r)
			*run_r = (size_t)events[i].item - 1;
	return RC_OK;
}

/* RC_INVALID: one id twice, or numbers beyond what there is. */
static enum rc check(struct ledger_append *item, struct why *why)
{
	if (item->has_expect && item->expect > INT64_MAX - item->n)
		return item->may_skip
			       ? rc_fail(RC_INVALID, why,
					 "expected sequence %" PRIu64 " is too large", item->expect)
			       : rc_fail(RC_CONFLICT, why,
					 "expected sequence %" PRIu64 " is not the last",
					 item->expect);
	if (item->n < 2)
		return RC_OK;
	_cleanup_(freep) struct placed *events = malloc(item->n * sizeof(*events));
	if (!events)
		return no_memory(why);
	place_events(&item, 1, events);
	for (size_t i = 1; i < item->n; i++)
		if (!strcmp(events[i - 1].event->event_id, events[i].event->event_id))
			return rc_fail(RC_INVALID, why, "event id '%s' stands twice in one append",
				       events[i].event->event_id);
	return RC_OK;
}

enum rc ledger_pg_append_events(struct ledger *base, struct ledger_append *items, size_t n,
				uint64_t lease_ms, struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	_cleanup_(freep) struct ledger_append **left = malloc((n ? n : 1) * sizeof(*left));
	size_t count = 0;
	if (!left)
		return no_memory(why);
	for (size_t i = 0; i < n; i++) {
		items[i].known = items[i].fenced_stream = false;
		items[i].last = 0;
		items[i].stream = 0;
		items[i].rc = check(&items[i], &items[i].why);
		if (items[i].rc == RC_OK)
			left[count++] = &items[i];
	}
	enum rc rc = RC_OK;
	for (size_t done = 0, run; done < count; done += run) {
		enum rc own = first_run(left + done, count - done, &run, why);
		if (own == RC_OK)
			own = commit(l, left + done, run, lease_ms, why);
		else
			all_failed(&(struct group){ .items = left + done, .n = run }, own,
				   &(struct why){ "out of memory" });
		/* once a part is committed, each item's own rc tells */
		rc = !done || rc != RC_OK ? own : RC_OK;
	}
	return rc;
}
