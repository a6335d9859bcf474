/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-sqlite-clear.c - an empty ledger in the file of a full one. */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

enum rc ledger_sqlite_clear(const char *path, const char *uuid, struct why *why)
{
	_cleanup_(ledger_freep) struct ledger *base = NULL;
	enum rc rc = ledger_sqlite_open(&base, path, uuid, why);
	if (rc != RC_OK)
		return rc;
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	struct ledger_sqlite_conn *c;
	struct ledger_sqlite_hot hot;
	rc = ledger_sqlite_write_begin(l, NEED_NOTHING, true, &c, &hot, why);
	if (rc != RC_OK)
		return rc;
	/* the counter, part of which are the rows, must not fall: that would look like an older copy */
	uint64_t now = (uint64_t)clock_wall_us(),
		 commits = now > hot.commits ? now : hot.commits + 1;
	_cleanup_(buf_release) struct buf sql = BUF_INIT;
	buf_printf(
		&sql,
		"DELETE FROM open; DELETE FROM pending; DELETE FROM events; DELETE FROM streams;"
		" UPDATE seeding SET identity = '', complete = 0, suspect_below = 0, commits = %ju;",
		(uintmax_t)commits);
	rc = buf_failed(&sql) ? rc_fail(RC_NO_MEMORY, why, "out of memory")
			      : ledger_sqlite_conn_exec(c, sql.data, why);
	return ledger_sqlite_write_end(l, rc, commits, why);
}
