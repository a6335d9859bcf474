/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-sqlite-void.c - numbers without event, of one stream. */
#include "config.h"
#include "ledger/ledger-sqlite-void.h"

struct hole {
	uint64_t from, span;	/* numbers from .. from + span - 1 */
};

void ledger_sqlite_void_release(struct ledger_sqlite_voids *v)
{
	free(v->holes);
	v->holes = NULL;
}

enum rc ledger_sqlite_void_put(struct ledger_sqlite_conn *c, int64_t stream, uint64_t number, uint64_t span,
			       int64_t recorded_us, struct why *why)
{
	struct ledger_sqlite_event gap = {
		.stream = stream, .number = number, .span = span, .recorded_us = recorded_us
	};
	return ledger_sqlite_event_put(c, &gap, why);
}

static enum rc add_hole(struct ledger_sqlite_voids *v, uint64_t from, uint64_t span, struct why *why)
{
	if (v->n_holes == v->cap_holes) {
		size_t cap = v->cap_holes ? 2 * v->cap_holes : 64;
		struct hole *holes = realloc(v->holes, cap * sizeof(*holes));
		if (!holes)
			return rc_fail(RC_NO_MEMORY, why, "out of memory");
		v->holes = holes;
		v->cap_holes = cap;
	}
	v->holes[v->n_holes++] = (struct hole){ from, span };
	return RC_OK;
}

/* A void that reaches beyond `after` ends there. */
static enum rc trim_void(struct ledger_sqlite_voids *v, struct why *why)
{
	sqlite3_stmt *q = NULL;
	bool row = false;
	uint64_t after = v->after;
	enum rc rc = ledger_sqlite_conn_sql(v->c, SQL_EVENT_UPTO, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, v->stream);
	sqlite3_bind_int64(q, 2, (int64_t)after);
	rc = ledger_sqlite_conn_step(v->c, q, &row, why);
	uint64_t number = row ? (uint64_t)sqlite3_column_int64(q, ROW_NUMBER) : 0;
	uint64_t span = row ? (uint64_t)sqlite3_column_int64(q, ROW_SPAN) : 0;
	v->recorded_us = row ? sqlite3_column_int64(q, ROW_RECORDED) : 0;
	sqlite3_reset(q);
	if (rc != RC_OK || number + span <= after + 1)
		return rc;
	v->void_last = number + span - 1;
	v->voids = v->void_last - after;
	rc = ledger_sqlite_conn_sql(v->c, SQL_VOID_TRIM, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, v->stream);
	sqlite3_bind_int64(q, 2, (int64_t)number);
	sqlite3_bind_int64(q, 3, (int64_t)(after + 1 - number));
	return ledger_sqlite_conn_run(v->c, q, why);
}

enum rc ledger_sqlite_void_take_out(struct ledger_sqlite_voids *v, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = true;
	enum rc rc = trim_void(v, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_sql(v->c, SQL_VOID_LIST, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, v->stream);
	sqlite3_bind_int64(q, 2, (int64_t)v->after);
	while (rc == RC_OK && row) {
		rc = ledger_sqlite_conn_step(v->c, q, &row, why);
		if (rc == RC_OK && row)
			rc = add_hole(v, (uint64_t)sqlite3_column_int64(q, ROW_NUMBER),
				      (uint64_t)sqlite3_column_int64(q, ROW_SPAN), why);
	}
	for (size_t i = 0; i < v->n_holes && rc == RC_OK; i++) {
		v->void_last = v->holes[i].from + v->holes[i].span - 1;
		v->voids += v->holes[i].span;
		rc = ledger_sqlite_conn_at(v->c, SQL_EVENT_DELETE, v->stream, v->holes[i].from, why);
	}
	v->n_holes = 0;
	return rc;
}

/*
 * Below the highest number every number has a row. What was a void stays one: readers may have
 * passed it.
 */
enum rc ledger_sqlite_void_fill(struct ledger_sqlite_voids *v, size_t *new_r, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	uint64_t next = v->after + 1, voids = 0;
	bool row = true;
	enum rc rc = ledger_sqlite_conn_sql(v->c, SQL_EVENT_LIST, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, v->stream);
	sqlite3_bind_int64(q, 2, (int64_t)v->after);
	while (rc == RC_OK) {
		rc = ledger_sqlite_conn_step(v->c, q, &row, why);
		if (rc != RC_OK || !row)
			break;
		uint64_t number = (uint64_t)sqlite3_column_int64(q, ROW_NUMBER),
			 span = (uint64_t)sqlite3_column_int64(q, ROW_SPAN);
		if (number > next)
			rc = add_hole(v, next, number - next, why);
		voids += span;
		next = number + (span ? span : 1);
	}
	if (rc == RC_OK && v->void_last >= next)
		rc = add_hole(v, next, v->void_last + 1 - next, why);
	sqlite3_reset(q);
	for (size_t i = 0; i < v->n_holes && rc == RC_OK; i++) {
		voids += v->holes[i].span;
		rc = ledger_sqlite_void_put(v->c, v->stream, v->holes[i].from, v->holes[i].span,
					    v->recorded_us, why);
	}
	*new_r = voids > v->voids ? (size_t)(voids - v->voids) : 0;
	return rc;
}
