/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of what only the PostgreSQL ledger has: one schema and one ledger, l, at a time.
 * Failures end the test.
 */
#ifndef EVFS_TESTS_LEDGER_PG_CASE_H
#define EVFS_TESTS_LEDGER_PG_CASE_H

#include <check.h>

#include "ledger/ledger-pg.h"
#include "../contract/ledger-pg-server.h"

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

extern struct pg_server server;
extern struct ledger *l;

struct told {
	char text[2000];
	size_t n, stop_after;
	int64_t position;
};
extern struct told told;

/* Sessions that wait for the test's own. */
#define BLOCKED "FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"

/* l from within. */
struct ledger_pg *inside(void);
struct ledger *open_as(const char *conninfo, uint64_t timeout_ms);
struct ledger_state state(void);
void seed(void);
/* An empty ledger, seeded. */
void make(void);
void unmake(void);
struct ledger_event event(const char *id);
/* One event. Its number stands in out->events[0] until the thread's next call. */
enum rc append_to(struct ledger *to, const char *stream, const char *event_id,
		  struct ledger_append *out);
uint64_t add(const char *stream, const char *event_id);
bool take(void *arg, const struct ledger_row *row);
const char *ask(const struct ledger_query *q);
const char *rows(const char *stream);
/* Until n of them are there. */
void wait_until_blocked(int n);

TCase *ledger_pg_place_cases(void);

#endif
