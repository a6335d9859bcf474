/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-sqlite-seed.c - writing down that this is the ledger. */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"

enum rc ledger_sqlite_seed_write(struct ledger *base, const char *identity, uint64_t number,
				 bool other_line, int64_t floor_us, struct why *why)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_write_begin(l, NEED_NOTHING, true, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	/* the counters of two seedings never overlap: a copy from before this one is always older
	 */
	uint64_t now = (uint64_t)clock_wall_us(),
		 commits = now > hot.commits ? now : hot.commits + 1;
	if (!*identity)
		return ledger_sqlite_write_end(l, ledger_sqlite_conn_do(c, SQL_ERASE, why), 0, why);
	if (strcmp(identity, l->file.identity))
		rc = rc_fail(RC_CONFLICT, why, "the ledger lives at '%s' by now, not at '%s'",
			     l->file.identity, identity);
	else if (number <= hot.seeding)
		rc = rc_fail(RC_CONFLICT, why,
			     "the ledger was seeded as number %" PRIu64 " meanwhile", hot.seeding);
	else
		rc = ledger_sqlite_conn_sql(c, SQL_SEED, &q, why);
	if (rc == RC_OK) {
		sqlite3_bind_int64(q, 1, (int64_t)number);
		sqlite3_bind_text(q, 2, identity, -1, SQLITE_STATIC);
		sqlite3_bind_int64(q, 3, floor_us);
		sqlite3_bind_int64(q, 4, (int64_t)commits);
		sqlite3_bind_int(q, 5, other_line);
		rc = ledger_sqlite_conn_run(c, q, why);
	}
	rc = ledger_sqlite_write_end(l, rc, commits, why);
	if (rc == RC_OK)
		FAILPOINT("ledger-seed-after");
	return rc;
}
