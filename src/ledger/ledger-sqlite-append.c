/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-sqlite-append.c - the commit of appends: look at everything first, then insert, so that
 * nothing needs to be undone.
 */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "event/draft.h"

/* What the items of one transaction share. */
struct append {
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot *hot;
	int64_t now_us, lease_until;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* RC_INVALID: one id twice. */
static enum rc check_ids(const struct ledger_append *item, struct why *why)
{
	if (item->n < 2)
		return RC_OK;
	_cleanup_(freep) const char **ids = malloc(item->n * sizeof(*ids));
	if (!ids)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	bool sorted = true;
	for (size_t i = 0; i < item->n; i++) {
		ids[i] = item->events[i].event_id;
		sorted = sorted && (!i || strcmp(ids[i - 1], ids[i]) < 0);
	}
	if (sorted)
		return RC_OK;
	qsort(ids, item->n, sizeof(*ids), by_text);
	for (size_t i = 1; i < item->n; i++)
		if (!strcmp(ids[i - 1], ids[i]))
			return rc_fail(RC_INVALID, why, "event id '%s' stands twice in one append",
				       ids[i]);
	return RC_OK;
}

static enum rc is_settled(struct ledger_sqlite_conn *c, int64_t stream, uint64_t number,
			  bool *settled_r, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_OPEN_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, stream);
	sqlite3_bind_int64(q, 2, (int64_t)number);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	*settled_r = !row;
	return rc;
}

/* Is the id committed already? RC_EXISTS: with other content. */
static enum rc look_up(const struct append *a, int64_t stream, struct ledger_event *e, bool *known,
		       struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(a->c, SQL_EVENT_ID, &q, why);
	if (rc != RC_OK)
		return rc;
	ledger_sqlite_conn_bind_id(q, 1, e->event_id);
	rc = ledger_sqlite_conn_step(a->c, q, &row, why);
	*known = row;
	if (rc != RC_OK || !row)
		return rc;
	e->number = (uint64_t)sqlite3_column_int64(q, ROW_NUMBER);
	e->recorded_us = sqlite3_column_int64(q, ROW_RECORDED);
	int64_t occurred_us = sqlite3_column_type(q, ROW_OCCURRED) == SQLITE_NULL ? e->recorded_us :
			      sqlite3_column_int64(q, ROW_OCCURRED);
	if (sqlite3_column_int64(q, ROW_STREAM) != stream)
		return rc_fail(RC_EXISTS, why,
			       "event id '%s' is taken by an event of another stream", e->event_id);
	if (sqlite3_column_bytes(q, ROW_DIGEST) != LEDGER_DIGEST_LEN ||
	    memcmp(sqlite3_column_blob(q, ROW_DIGEST), e->digest, LEDGER_DIGEST_LEN) ||
	    (e->own_time && occurred_us != e->occurred_us))
		return rc_fail(RC_EXISTS, why,
			       "event id '%s' is taken by number %" PRIu64
			       ", which has other content",
			       e->event_id, e->number);
	return is_settled(a->c, stream, e->number, &e->settled, why);
}

/*
 * Ids made one after another (UUIDv7) stand side by side in the index, and where the range of a
 * batch's ids is empty none of them is known: one look instead of a thousand. Ids of other shapes
 * sort elsewhere than UUIDs; a range over both does not exist.
 */
static enum rc any_known(const struct append *a, const struct ledger_append *item, bool *any,
			 struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	const char *least = item->events[0].event_id, *greatest = least;
	*any = true;
	for (size_t i = 0; i < item->n; i++) {
		const char *id = item->events[i].event_id;
		if (!ledger_sqlite_conn_is_uuid(id))
			return RC_OK;
		least = strcmp(id, least) < 0 ? id : least;
		greatest = strcmp(id, greatest) > 0 ? id : greatest;
	}
	enum rc rc = ledger_sqlite_conn_sql(a->c, SQL_EVENT_ANY_ID, &q, why);
	if (rc != RC_OK)
		return rc;
	ledger_sqlite_conn_bind_id(q, 1, least);
	ledger_sqlite_conn_bind_id(q, 2, greatest);
	return ledger_sqlite_conn_step(a->c, q, any, why);
}

/*
 * Ids decide before the expected number is looked at. RC_OK with item->known, or none of them is
 * there.
 */
static enum rc look_up_all(const struct append *a, struct ledger_append *item, struct why *why)
{
	size_t there = 0;
	bool any = true;
	enum rc rc = item->n > 1 ? any_known(a, item, &any, why) : RC_OK;
	if (rc != RC_OK || !any)
		return rc;
	for (size_t i = 0; i < item->n; i++) {
		bool known = false;
		rc = look_up(a, item->stream, &item->events[i], &known, why);
		if (rc != RC_OK)
			return rc;
		there += known;
		if (there && there != i + 1)
			return rc_fail(
				RC_EXISTS, why,
				known ? "event id '%s' is stored already, others of the batch are "
					"not"
				      : "event id '%s' is not stored, others of the batch are",
				item->events[i].event_id);
	}
	item->known = there == item->n;
	return RC_OK;
}

static enum rc insert_body(const struct append *a, const struct ledger_event *e,
			   const struct ledger_sqlite_event *row, struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(a->c, SQL_BODY_NEW, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, row->body);
	sqlite3_bind_int64(q, 2, row->stream);
	sqlite3_bind_int64(q, 3, (int64_t)row->number);
	sqlite3_bind_int64(q, 4, a->now_us);
	sqlite3_bind_int(q, 5, e->own_time);
	sqlite3_bind_blob64(q, 6, e->head_len ? e->head : "", e->head_len, SQLITE_STATIC);
	sqlite3_bind_blob64(q, 7, e->tail_len ? e->tail : "", e->tail_len, SQLITE_STATIC);
	return ledger_sqlite_conn_run(a->c, q, why);
}

/* All was looked at: the numbers after `last` are the item's. */
static enum rc insert(struct append *a, struct ledger_append *item, uint64_t last,
		      int64_t recorded_us, struct why *why)
{
	enum rc rc = RC_OK;
	if (last > item->last) {
		struct ledger_sqlite_event gap = {
			.stream = item->stream,
			.number = item->last + 1,
			.span = last - item->last,
			.recorded_us = recorded_us,
		};
		rc = ledger_sqlite_event_put(a->c, &gap, why);
	}
	for (size_t i = 0; i < item->n && rc == RC_OK; i++) {
		struct ledger_event *e = &item->events[i];
		e->number = last + 1 + i;
		e->recorded_us = recorded_us;
		e->settled = false;
		struct ledger_sqlite_event row = {
			.stream = item->stream,
			.number = e->number,
			.event_id = e->event_id,
			.event_type = e->event_type,
			.size = draft_join_len(e->head_len, e->tail_len, e->own_time, recorded_us,
					       e->number),
			.occurred_us = e->own_time ? e->occurred_us : recorded_us,
			.recorded_us = recorded_us,
			.body = (int64_t)++a->hot->commits,
			.digest = e->digest,
		};
		rc = ledger_sqlite_event_put(a->c, &row, why);
		if (rc == RC_OK)
			rc = insert_body(a, e, &row, why);
		if (rc == RC_OK)
			rc = ledger_sqlite_open_put(a->c, &row, a->lease_until, item->has_expect,
						    why);
	}
	return rc;
}

/*
 * *refused: rc is the item's own, and nothing was written for it. Otherwise a failure is the
 * transaction's.
 */
static enum rc append_one(struct append *a, struct ledger_append *item, bool *refused,
			  struct why *why)
{
	struct ledger_sqlite_stream s;
	enum rc rc = ledger_sqlite_stream_find(a->c, item->type, item->id, &s, why);
	if (rc != RC_OK)
		return rc;
	*refused = true;
	item->stream = s.stream;
	if (s.stream ? s.mark < a->hot->seeding : !a->hot->complete) {
		item->fenced_stream = true;
		return rc_fail(RC_FENCED, why, "stream '%s/%s' must be re-seeded first", item->type,
			       item->id);
	}
	int64_t recorded_us = 0;
	if (s.stream)
		rc = ledger_sqlite_stream_last(a->c, s.stream, &item->last, &recorded_us, why);
	if (rc == RC_OK)
		rc = look_up_all(a, item, why);
	*refused = rc == RC_EXISTS;
	if (rc != RC_OK || item->known)
		return rc;

	uint64_t last = item->last;
	if (item->has_expect && item->expect != last) {
		*refused = true;
		if (!item->may_skip || item->expect < last)
			return rc_fail(RC_CONFLICT, why,
				       "expected sequence %" PRIu64 ", last is %" PRIu64,
				       item->expect, last);
		if (item->expect > INT64_MAX - item->n)
			return rc_fail(RC_INVALID, why,
				       "expected sequence %" PRIu64 " is too large", item->expect);
		*refused = false;
		last = item->expect;
	}
	if (!s.stream)
		rc = ledger_sqlite_stream_new(a->c, item->type, item->id, a->hot->seeding,
					      &item->stream, why);
	if (recorded_us < a->now_us)
		recorded_us = a->now_us;
	if (recorded_us < a->hot->floor_us)
		recorded_us = a->hot->floor_us;
	return rc == RC_OK ? insert(a, item, last, recorded_us, why) : rc;
}

static enum rc all_failed(struct ledger_append *items, size_t n, enum rc rc,
			  const struct why *reason, struct why *why)
{
	for (size_t i = 0; i < n; i++) {
		items[i].rc = rc;
		items[i].why = *reason;
		items[i].known = items[i].fenced_stream = false;
	}
	return rc_fail(rc, why, "%s", reason->text);
}

enum rc ledger_sqlite_append_events(struct ledger *base, struct ledger_append *items, size_t n,
				    uint64_t lease_ms, struct why *why)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	struct ledger_sqlite_hot hot;
	struct append a = { .hot = &hot };
	struct why reason = { "" };

	for (size_t i = 0; i < n; i++) {
		items[i].known = items[i].fenced_stream = false;
		items[i].last = 0;
		items[i].stream = 0;
		items[i].rc = check_ids(&items[i], &items[i].why);
	}
	enum rc rc = ledger_sqlite_write_begin(l, NEED_SEEDED, true, &a.c, &hot, &reason);
	if (rc != RC_OK)
		return all_failed(items, n, rc, &reason, why);

	uint64_t before = hot.commits;
	a.now_us = clock_wall_us();
	a.lease_until = a.now_us + (int64_t)lease_ms * 1000;
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		bool refused = false;
		if (items[i].rc != RC_OK)
			continue;
		items[i].rc = append_one(&a, &items[i], &refused, &items[i].why);
		if (items[i].rc != RC_OK && !refused) {
			rc = items[i].rc;
			reason = items[i].why;
		}
	}
	FAILPOINT("ledger-append-before-commit");
	rc = ledger_sqlite_write_end(l, rc, hot.commits, &reason);
	if (rc != RC_OK)
		return all_failed(items, n, rc, &reason, why);
	if (hot.commits != before)
		FAILPOINT("ledger-append-after-commit");
	ledger_sqlite_tidy(l, CHECKPOINT_PAGES);
	return RC_OK;
}
