/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-sqlite-horizon.c - a publisher's look: the lease, the floor, the rows that hold the
 * horizon (design.md 8).
 *
 * Who appends holds the write lock from before it reads the floor until its commit, so a snapshot
 * that has a floor has every event that was stamped below it, and the floor can be read with the
 * rows: nobody is to be waited for. The write lock is only taken where there is something to write.
 */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define CARRIED_ON_US (60 * INT64_C(1000000))
/* a floor that old is raised even where nothing is to be told */
#define OLD_US (60 * INT64_C(1000000))

static int64_t greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * The latest recorded time, but for what was stamped by a clock far ahead: that waits for its
 * time. -1: none.
 */
static enum rc latest_event(struct ledger_sqlite_conn *c, int64_t now_us, int64_t floor_us,
			    int64_t *out, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_EVENT_LATEST, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, greater(now_us, floor_us) + CARRIED_ON_US);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	*out = row ? sqlite3_column_int64(q, 0) : -1;
	return rc;
}

/* Only where there is something to tell, or for a floor that is old. */
static bool is_to_be_raised(int64_t latest_us, int64_t now_us, int64_t floor_us)
{
	return latest_us >= floor_us - floor_us % 1000 || now_us - floor_us >= OLD_US;
}

/*
 * Where to. A clock that fell behind what it said before is carried on from there, a millisecond
 * at a time.
 */
static int64_t floor_for(int64_t latest_us, int64_t now_us, int64_t floor_us)
{
	if (!is_to_be_raised(latest_us, now_us, floor_us))
		return floor_us;
	int64_t at = greater(now_us, floor_us);
	return latest_us / 1000 > now_us / 1000 ? greater(at, (latest_us / 1000 + 1) * 1000) : at;
}

/* ------------------------------------------------------------------ the lease */

struct lease {
	char token[64];
	int64_t taken_us, until_us;
	bool table; /* there is a table of leases */
};

static enum rc read_lease(struct ledger_sqlite_conn *c, const char *name, struct lease *out,
			  struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *table = NULL, *q = NULL;
	bool row = false;
	memset(out, 0, sizeof(*out));
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_LEASE_TABLE, &table, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_step(c, table, &out->table, why);
	if (rc != RC_OK || !out->table)
		return rc;
	rc = ledger_sqlite_conn_sql(c, SQL_LEASE_GET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	if (rc != RC_OK || !row)
		return rc;
	snprintf(out->token, sizeof(out->token), "%s", (const char *)sqlite3_column_text(q, 0));
	out->taken_us = sqlite3_column_int64(q, 1);
	out->until_us = sqlite3_column_int64(q, 2);
	return RC_OK;
}

static enum rc write_lease(struct ledger_sqlite_conn *c, const char *name, const struct lease *t,
			   struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	enum rc rc = t->table ? RC_OK : ledger_sqlite_schema_leases(c, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_sql(c, SQL_LEASE_SET, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, t->token, -1, SQLITE_STATIC);
	sqlite3_bind_int64(q, 3, t->taken_us);
	sqlite3_bind_int64(q, 4, t->until_us);
	return ledger_sqlite_conn_run(c, q, why);
}

static bool is_ours(const struct ledger_horizon *h, const struct lease *t)
{
	return !strcmp(t->token, h->token);
}

/* Who has it as t says. */
static void tell_holder(struct ledger_horizon *h, const struct lease *t, int64_t now_us)
{
	h->leased = is_ours(h, t) && t->until_us > now_us;
	snprintf(h->holder, sizeof(h->holder), "%s", t->until_us > now_us ? t->token : "");
}

/* What the lease becomes; false: it stays. */
static bool change_lease(const struct ledger_horizon *h, struct lease *t, int64_t now_us)
{
	bool ours = is_ours(h, t);
	if (!h->lease_ms) {
		t->token[0] = '\0';
		t->until_us = 0;
		return ours;
	}
	if (ours || t->until_us <= now_us) {
		snprintf(t->token, sizeof(t->token), "%s", h->token);
		t->taken_us = now_us;
		t->until_us = now_us + (int64_t)h->lease_ms * 1000;
		return true;
	}
	/* where the clock stepped back since, it is the other's for as long again */
	bool ahead = t->taken_us > now_us;
	if (ahead) {
		t->until_us += now_us - t->taken_us;
		t->taken_us = now_us;
	}
	return ahead;
}

/* ------------------------------------------------------------------ before the read */

/* What is to be written, as far as a snapshot tells. */
struct plan {
	bool lease, floor;
	int64_t latest_us;
};

static enum rc look(struct ledger_sqlite *l, struct ledger_horizon *h, struct plan *p,
		    struct why *why)
{
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	struct lease t;
	int64_t now_us = clock_wall_us();
	enum rc rc = ledger_sqlite_snapshot_begin(l, NEED_SEEDED, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	if (h->lease) {
		rc = read_lease(c, h->lease, &t, why);
		tell_holder(h, &t, now_us);
		p->lease = rc == RC_OK && change_lease(h, &t, now_us);
	}
	if (rc == RC_OK)
		rc = latest_event(c, now_us, hot.floor_us, &p->latest_us, why);
	p->floor = rc == RC_OK && is_to_be_raised(p->latest_us, now_us, hot.floor_us);
	ledger_sqlite_snapshot_end(l, c);
	return rc;
}

static enum rc take_lease(struct ledger_sqlite_conn *c, struct ledger_horizon *h, int64_t now_us,
			  struct why *why)
{
	struct lease t;
	enum rc rc = read_lease(c, h->lease, &t, why);
	if (rc == RC_OK && change_lease(h, &t, now_us))
		rc = write_lease(c, h->lease, &t, why);
	tell_holder(h, &t, now_us);
	return rc;
}

static enum rc raise_floor(struct ledger_sqlite_conn *c, const struct ledger_sqlite_hot *hot,
			   int64_t now_us, struct why *why)
{
	sqlite3_stmt *q = NULL;
	int64_t latest_us;
	enum rc rc = latest_event(c, now_us, hot->floor_us, &latest_us, why);
	int64_t floor_us = rc == RC_OK ? floor_for(latest_us, now_us, hot->floor_us) : 0;
	if (rc != RC_OK || floor_us <= hot->floor_us)
		return rc;
	rc = ledger_sqlite_conn_sql(c, SQL_FLOOR, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, floor_us);
	return ledger_sqlite_conn_run(c, q, why);
}

enum rc ledger_sqlite_horizon_take(struct ledger_sqlite *l, struct ledger_horizon *h,
				   struct why *why)
{
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	struct plan p = { .lease = false };
	h->leased = !h->lease;
	h->holder[0] = '\0';
	h->horizon_us = 0;
	h->unsettled = 0;
	memset(&h->state, 0, sizeof(h->state));
	enum rc rc = look(l, h, &p, why);
	bool give_back = h->lease && !h->lease_ms;
	if (rc != RC_OK || (!p.lease && (!p.floor || !h->leased)))
		return rc;
	p.floor = p.floor && !give_back;
	/* what was stamped in this millisecond is told when it is over */
	int64_t now_us = clock_wall_us();
	if (p.floor && p.latest_us / 1000 == now_us / 1000)
		clock_sleep_us((uint64_t)(1000 - now_us % 1000));
	/*
	 * What is told was below a floor that stays: a clock that stepped back must not find an
	 * older one after a crash of the machine. The lease may go with it, for whoever has it is
	 * gone then too.
	 */
	rc = ledger_sqlite_write_begin(l, NEED_SEEDED, p.floor, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	now_us = clock_wall_us();
	if (h->lease)
		rc = take_lease(c, h, now_us, why);
	if (rc == RC_OK && p.floor && h->leased)
		rc = raise_floor(c, &hot, now_us, why);
	rc = ledger_sqlite_write_end(l, rc, 0, why);
	if (rc != RC_OK)
		h->leased = false;
	ledger_sqlite_tidy(l, CHECKPOINT_PAGES);
	return rc == RC_UNCERTAIN ? RC_TEMPORARY : rc; /* the same once more does no harm */
}

/* ------------------------------------------------------------------ in the snapshot of the read */

static enum rc bind_late(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql,
			 int64_t before_us, sqlite3_stmt **q, struct why *why)
{
	enum rc rc = ledger_sqlite_conn_sql(c, sql, q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(*q, 1, before_us);
	sqlite3_bind_int64(*q, 2, LEDGER_LATE_MAX);
	return RC_OK;
}

static enum rc hold(struct ledger_sqlite_conn *c, int64_t before_us, struct ledger_horizon *h,
		    struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *holds = NULL, *some = NULL;
	bool row = false;
	enum rc rc = bind_late(c, SQL_OPEN_HOLDS, before_us, &holds, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_step(c, holds, &row, why);
	if (rc == RC_OK && row && sqlite3_column_type(holds, 0) != SQLITE_NULL &&
	    sqlite3_column_int64(holds, 0) < h->horizon_us)
		h->horizon_us = sqlite3_column_int64(holds, 0);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_sql(c, SQL_OPEN_SOME, &some, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_step(c, some, &row, why);
	if (rc == RC_OK && row)
		h->unsettled = (uint64_t)sqlite3_column_int64(some, 0);
	return rc;
}

static enum rc tell_late(struct ledger_sqlite_conn *c, int64_t before_us, struct ledger_horizon *h,
			 bool *go_on, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	enum rc rc = bind_late(c, SQL_OPEN_LATE, before_us, &q, why);
	while (rc == RC_OK && *go_on) {
		bool there = false;
		rc = ledger_sqlite_conn_step(c, q, &there, why);
		if (!there)
			break;
		struct ledger_row row = {
			.stream = sqlite3_column_int64(q, 0),
			.type = (const char *)sqlite3_column_text(q, 1),
			.id = (const char *)sqlite3_column_text(q, 2),
			.number = (uint64_t)sqlite3_column_int64(q, 3),
			.event_id = "",
			.event_type = "",
			.recorded_us = sqlite3_column_int64(q, 4),
		};
		*go_on = h->late(h->late_arg, &row);
	}
	return rc;
}

enum rc ledger_sqlite_horizon_find(struct ledger_sqlite_conn *c,
				   const struct ledger_sqlite_hot *hot, struct ledger_horizon *h,
				   bool *go_on, struct why *why)
{
	int64_t before_us = clock_wall_us() - LATE_US;
	*go_on = hot->complete; /* else what waits for its re-seed may appear before any horizon */
	if (!*go_on)
		return RC_OK;
	h->horizon_us = hot->floor_us;
	enum rc rc = hold(c, before_us, h, why);
	h->horizon_us -= h->horizon_us % 1000;
	return rc == RC_OK && h->unsettled && h->late ? tell_late(c, before_us, h, go_on, why) : rc;
}
