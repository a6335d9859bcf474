/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-sqlite-claim.c - giving unsettled rows out, settling them, dropping what nobody needs any
 * more.
 */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"

#define BODIES_MAX (32u << 20)		/* bytes held for the callbacks of one claim */
#define PURGE_ROWS 500			/* dropped in one transaction */
#define PURGE_MS 50			/* spent on it by one claim */

/* A claimed row with its own copy of everything. */
struct claimed {
	struct ledger_pending row;
	char *texts;
};

static void claimed_free(struct claimed *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(rows[i].texts);
	free(rows);
}

static char *put(char **at, const void *p, size_t len)
{
	char *start = *at;
	memcpy(start, p, len);
	start[len] = '\0';
	*at += len + 1;
	return start;
}

enum { DUE_ATTEMPTS = ROW_MORE, DUE_TYPE, DUE_ID, DUE_OWN_TIME, DUE_HEAD, DUE_TAIL };

static enum rc copy_row(struct ledger_sqlite_conn *c, sqlite3_stmt *q, int64_t now_us,
			struct claimed *out, struct why *why)
{
	struct ledger_sqlite_id id;
	if (sqlite3_column_type(q, DUE_HEAD) == SQLITE_NULL)
		return ledger_sqlite_conn_fail(c, SQLITE_CORRUPT, why);
	const char *event_id = ledger_sqlite_conn_id(q, ROW_EVENT_ID, &id);
	size_t event_id_len = strlen(event_id),
	       type_len = (size_t)sqlite3_column_bytes(q, DUE_TYPE),
	       id_len = (size_t)sqlite3_column_bytes(q, DUE_ID);
	struct ledger_pending *p = &out->row;
	p->head_len = (size_t)sqlite3_column_bytes(q, DUE_HEAD);
	p->tail_len = (size_t)sqlite3_column_bytes(q, DUE_TAIL);
	char *at = out->texts =
		malloc(event_id_len + type_len + id_len + p->head_len + p->tail_len + 5);
	if (!at)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	p->stream = sqlite3_column_int64(q, ROW_STREAM);
	p->number = (uint64_t)sqlite3_column_int64(q, ROW_NUMBER);
	p->recorded_us = sqlite3_column_int64(q, ROW_RECORDED);
	p->attempts = (unsigned)sqlite3_column_int(q, DUE_ATTEMPTS);
	p->own_time = sqlite3_column_int(q, DUE_OWN_TIME);
	p->late = p->recorded_us < now_us - LATE_US;
	p->event_id = put(&at, event_id, event_id_len);
	p->type = put(&at, sqlite3_column_text(q, DUE_TYPE), type_len);
	p->id = put(&at, sqlite3_column_text(q, DUE_ID), id_len);
	p->head = put(&at, p->head_len ? sqlite3_column_blob(q, DUE_HEAD) : "", p->head_len);
	p->tail = put(&at, p->tail_len ? sqlite3_column_blob(q, DUE_TAIL) : "", p->tail_len);
	return RC_OK;
}

static enum rc bind_due(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql, int64_t now_us,
			bool all, uint64_t seeding, sqlite3_stmt **q, struct why *why)
{
	enum rc rc = ledger_sqlite_conn_sql(c, sql, q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(*q, 1, now_us);
	sqlite3_bind_int(*q, 2, all);
	sqlite3_bind_int64(*q, 3, (int64_t)seeding);
	return RC_OK;
}

static enum rc collect(struct ledger_sqlite_conn *c, const struct ledger_sqlite_hot *hot,
		       size_t max, int64_t now_us, bool all, struct claimed *rows, size_t *n,
		       struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	enum rc rc = bind_due(c, SQL_OPEN_DUE, now_us, all, hot->seeding, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 4, (int64_t)max);
	for (size_t bytes = 0; *n < max && bytes < BODIES_MAX; ) {
		bool row = false;
		rc = ledger_sqlite_conn_step(c, q, &row, why);
		if (rc != RC_OK || !row)
			return rc;
		rc = copy_row(c, q, now_us, &rows[*n], why);
		if (rc != RC_OK)
			return rc;
		bytes += rows[*n].row.head_len + rows[*n].row.tail_len;
		(*n)++;
	}
	return RC_OK;
}

static enum rc lease(struct ledger_sqlite_conn *c, const struct claimed *rows, size_t n,
		     int64_t until, struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_OPEN_LEASE, &q, why);
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		sqlite3_bind_int64(q, 1, rows[i].row.stream);
		sqlite3_bind_int64(q, 2, (int64_t)rows[i].row.number);
		sqlite3_bind_int64(q, 3, until);
		rc = ledger_sqlite_conn_run(c, q, why);
	}
	return rc;
}

/* Nearly always there is nothing to do: that is found out without keeping writers away. */
static enum rc any_due(struct ledger_sqlite *l, bool all, bool *due, struct why *why)
{
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	enum rc rc = ledger_sqlite_snapshot_begin(l, NEED_SEEDED, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_stmt *q = NULL;
	rc = bind_due(c, SQL_OPEN_ANY_DUE, clock_wall_us(), all, hot.seeding, &q, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_step(c, q, due, why);
	sqlite3_reset(q);
	ledger_sqlite_snapshot_end(l, c);
	return rc;
}

/* Up to PURGE_ROWS old bodies from where the last call stopped; *more: there may be more. */
static enum rc find_old(struct ledger_sqlite *l, int64_t *seqs, size_t *n, bool *more,
			struct why *why)
{
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	enum rc rc = ledger_sqlite_snapshot_begin(l, NEED_SEEDED, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_stmt *q = NULL;
	int64_t cutoff = clock_wall_us() - BODY_KEPT_US, after = l->purge_after;
	size_t looked = 0;
	bool row = false;
	*n = 0;
	rc = ledger_sqlite_conn_sql(c, SQL_BODY_OLD, &q, why);
	if (rc == RC_OK) {
		sqlite3_bind_int64(q, 1, after);
		sqlite3_bind_int64(q, 2, PURGE_ROWS);
		rc = ledger_sqlite_conn_step(c, q, &row, why);
	}
	while (rc == RC_OK && row && sqlite3_column_int64(q, 1) < cutoff) {
		looked++;
		after = sqlite3_column_int64(q, 0);
		if (!sqlite3_column_int(q, 2))
			seqs[(*n)++] = after;
		rc = ledger_sqlite_conn_step(c, q, &row, why);
	}
	*more = looked == PURGE_ROWS;
	l->purge_after = *more ? after : 0;
	sqlite3_reset(q);
	ledger_sqlite_snapshot_end(l, c);
	return rc;
}

static enum rc purge(struct ledger_sqlite *l, struct why *why)
{
	int64_t seqs[PURGE_ROWS];
	uint64_t begun = clock_boot_ms();
	bool more = true;
	enum rc rc = RC_OK;
	while (rc == RC_OK && more && clock_boot_ms() - begun < PURGE_MS) {
		struct ledger_sqlite_conn *c;
		struct ledger_sqlite_hot hot;
		sqlite3_stmt *q = NULL;
		size_t n;
		rc = find_old(l, seqs, &n, &more, why);
		if (rc != RC_OK || !n)
			continue;
		rc = ledger_sqlite_write_begin(l, NEED_SEEDED, false, &c, &hot, why);
		if (rc != RC_OK)
			return rc;
		rc = ledger_sqlite_conn_sql(c, SQL_BODY_DELETE, &q, why);
		for (size_t i = 0; i < n && rc == RC_OK; i++) {
			sqlite3_bind_int64(q, 1, seqs[i]);
			rc = ledger_sqlite_conn_run(c, q, why);
		}
		rc = ledger_sqlite_write_end(l, rc, 0, why);
	}
	return rc;
}

static enum rc claim(struct ledger_sqlite *l, size_t max, uint64_t lease_ms, bool all,
		     struct claimed *rows, size_t *n, struct why *why)
{
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	enum rc rc = ledger_sqlite_write_begin(l, NEED_SEEDED, false, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	int64_t now_us = clock_wall_us();
	rc = collect(c, &hot, max, now_us, all, rows, n, why);
	if (rc == RC_OK)
		rc = lease(c, rows, *n, now_us + (int64_t)lease_ms * 1000, why);
	return ledger_sqlite_write_end(l, rc, 0, why);
}

enum rc ledger_sqlite_claim_rows(struct ledger *base, size_t max, uint64_t lease_ms, bool all,
				 ledger_pending_fn *fn, void *arg, size_t *n_r, struct why *why)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	bool due = false;
	size_t n = 0;
	*n_r = 0;
	enum rc rc = any_due(l, all, &due, why);
	if (rc == RC_OK && due && max) {
		struct claimed *rows = calloc(max, sizeof(*rows));
		if (!rows)
			return rc_fail(RC_NO_MEMORY, why, "out of memory");
		rc = claim(l, max, lease_ms, all, rows, &n, why);
		for (size_t i = 0; i < n && rc == RC_OK; i++) {
			rc = fn(arg, &rows[i].row);
			(*n_r)++;
		}
		claimed_free(rows, max);
	}
	if (rc == RC_OK)
		rc = purge(l, why);
	ledger_sqlite_tidy(l, CHECKPOINT_PAGES / 4);
	return rc;
}

static enum rc settle_one(struct ledger_sqlite_conn *c, const struct ledger_ref *ref,
			  struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	struct ledger_sqlite_id id;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_EVENT_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, ref->stream);
	sqlite3_bind_int64(q, 2, (int64_t)ref->number);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	const char *event_id = row ? ledger_sqlite_conn_id(q, ROW_EVENT_ID, &id) : NULL;
	if (rc != RC_OK || !event_id || strcmp(event_id, ref->event_id))
		return rc;
	sqlite3_stmt *drop = NULL;
	rc = ledger_sqlite_conn_sql(c, SQL_OPEN_DELETE, &drop, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(drop, 1, ref->stream);
	sqlite3_bind_int64(drop, 2, (int64_t)ref->number);
	return ledger_sqlite_conn_run(c, drop, why);
}

/*
 * Rows of a stream that waits for its re-seed are passed over. The last stream's answer is kept:
 * refs come in runs.
 */
static enum rc is_seeded(struct ledger_sqlite_conn *c, int64_t stream, uint64_t seeding, bool *out,
			 struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_STREAM_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, stream);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	*out = row && (uint64_t)sqlite3_column_int64(q, 2) >= seeding;
	return rc;
}

enum rc ledger_sqlite_claim_settle(struct ledger *base, const struct ledger_ref *refs, size_t n,
				   struct why *why)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	/* not synced: a settle that a crash of the machine takes back is only repeated */
	enum rc rc = ledger_sqlite_write_begin(l, NEED_SEEDED, false, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	int64_t stream = 0;
	bool seeded = false;
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		if (!i || refs[i].stream != stream) {
			stream = refs[i].stream;
			rc = is_seeded(c, stream, hot.seeding, &seeded, why);
		}
		if (rc == RC_OK && seeded)
			rc = settle_one(c, &refs[i], why);
	}
	rc = ledger_sqlite_write_end(l, rc, 0, why);
	if (rc == RC_UNCERTAIN)
		rc = RC_TEMPORARY;	/* nothing hangs on it */
	if (rc == RC_OK)
		FAILPOINT("ledger-settle-after");
	return rc;
}
