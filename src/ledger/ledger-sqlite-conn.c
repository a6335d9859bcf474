/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-sqlite-conn.c - one connection: its statements, and what SQLite's codes mean. */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

#define WAL_INDEX_REGION 32768	/* how SQLite maps its -shm */
#define ROW \
	"e.number, e.span, e.event_id, e.event_type, e.size, e.occurred_us, e.recorded_us," \
	" e.body, e.stream, e.digest"
#define EVENTS "SELECT " ROW " FROM events e"
#define STREAMS "SELECT stream, type, id, mark FROM streams"
/* a lease far ahead was given before the clock stepped back */
#define IS_DUE \
	"(o.lease_until <= ?1 OR o.lease_until > ?1 + 3600000000 OR ?2) AND t.mark >= ?3"

static const char *const texts[SQL_COUNT] = {
	[SQL_BEGIN] = "BEGIN",
	[SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",

	/* the highest seq is the commit counter between two seedings: no page is touched for it */
	[SQL_HOT] = "SELECT number, identity, floor_us, suspect_below, complete,"
		    " max(commits, ifnull((SELECT max(seq) FROM pending), 0)) FROM seeding",
	[SQL_ERASE] = "UPDATE seeding SET identity = ''",
	[SQL_SEED] = "UPDATE seeding SET number = ?1, identity = ?2, floor_us = max(floor_us, ?3),"
		     " commits = ?4, complete = 0,"
		     " suspect_below = CASE WHEN ?5 THEN ?1 ELSE suspect_below END",
	[SQL_COMPLETE] = "UPDATE seeding SET complete = 1",

	[SQL_STREAM_FIND] = "SELECT stream, mark FROM streams WHERE type = ? AND id = ?",
	[SQL_STREAM_GET] = "SELECT type, id, mark FROM streams WHERE stream = ?",
	[SQL_STREAM_NEW] = "INSERT INTO streams(type, id, mark) VALUES(?, ?, ?)",
	[SQL_STREAM_MARK] = "UPDATE streams SET mark = ?2 WHERE stream = ?1 AND mark <> ?2",
	/* none is ever deleted */
	[SQL_STREAM_COUNT] = "SELECT ifnull(max(stream), 0) FROM streams",
	[SQL_STREAM_LIST] = STREAMS " WHERE stream > ? ORDER BY stream",
	[SQL_STREAM_UNSEEDED] = STREAMS " WHERE stream > ? AND mark < ? ORDER BY stream",

	[SQL_EVENT_ID] = EVENTS " INDEXED BY events_id WHERE e.event_id = ?",
	[SQL_EVENT_ANY_ID] = "SELECT 1 FROM events e INDEXED BY events_id"
			     " WHERE e.event_id BETWEEN ? AND ? LIMIT 1",
	[SQL_EVENT_GET] = EVENTS " WHERE e.stream = ? AND e.number = ?",
	[SQL_EVENT_LAST] = EVENTS " WHERE e.stream = ? ORDER BY e.number DESC LIMIT 1",
	[SQL_EVENT_UPTO] = EVENTS " WHERE e.stream = ? AND e.number <= ?"
				  " ORDER BY e.number DESC LIMIT 1",
	[SQL_EVENT_NEW] = "INSERT INTO events(stream, number, span, event_id, event_type, size,"
			  " occurred_us, recorded_us, body, digest)"
			  " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[SQL_EVENT_DELETE] = "DELETE FROM events WHERE stream = ? AND number = ?",
	[SQL_EVENT_LIST] = EVENTS " WHERE e.stream = ? AND e.number > ? ORDER BY e.number",
	[SQL_EVENT_TIME] = "SELECT " ROW ", s.type, s.id, s.mark"
			   " FROM events e INDEXED BY events_time"
			   " CROSS JOIN streams s ON s.stream = e.stream"
			   " WHERE e.event_id IS NOT NULL"
			   " AND e.recorded_us >= ?1 AND e.recorded_us < ?2"
			   " AND (e.recorded_us, e.stream, e.number) > (?3, ?4, ?5)"
			   " ORDER BY e.recorded_us, e.stream, e.number",
	[SQL_VOID_LIST] = EVENTS " WHERE e.stream = ? AND e.number > ? AND e.event_id IS NULL"
				 " ORDER BY e.number",
	[SQL_VOID_TRIM] = "UPDATE events SET span = ?3 WHERE stream = ?1 AND number = ?2",

	[SQL_OPEN_NEW] = "INSERT INTO open(stream, number, recorded_us, lease_until, attempts,"
			 " expected) VALUES(?, ?, ?, ?, 0, ?)",
	[SQL_OPEN_GET] = "SELECT expected FROM open WHERE stream = ? AND number = ?",
	[SQL_OPEN_DELETE] = "DELETE FROM open WHERE stream = ? AND number = ?",
	[SQL_OPEN_FIRST] = "SELECT min(number) FROM open WHERE stream = ?",
	[SQL_OPEN_LIST] = "SELECT " ROW ", o.expected FROM open o"
			  " CROSS JOIN events e ON e.stream = o.stream AND e.number = o.number"
			  " WHERE o.stream = ? ORDER BY o.number",
	[SQL_OPEN_DUE] = "SELECT " ROW ", d.attempts, s.type, s.id, p.own_time, p.head, p.tail"
			 " FROM (SELECT o.stream, o.number, o.recorded_us, o.attempts FROM open o"
			 "  CROSS JOIN streams t ON t.stream = o.stream WHERE " IS_DUE
			 "  ORDER BY o.recorded_us, o.stream, o.number LIMIT ?4) d"
			 " CROSS JOIN events e ON e.stream = d.stream AND e.number = d.number"
			 " CROSS JOIN streams s ON s.stream = d.stream"
			 " LEFT JOIN pending p ON p.seq = e.body"
			 " ORDER BY d.recorded_us, d.stream, d.number",
	[SQL_OPEN_ANY_DUE] = "SELECT 1 FROM open o CROSS JOIN streams t ON t.stream = o.stream"
			     " WHERE " IS_DUE " LIMIT 1",
	[SQL_OPEN_LEASE] = "UPDATE open SET lease_until = ?3, attempts = attempts + 1"
			   " WHERE stream = ?1 AND number = ?2",
	[SQL_OPEN_COUNT] = "SELECT count(*), ifnull(sum(recorded_us < ?), 0), ifnull(min(recorded_us), 0)"
			   " FROM open",

	[SQL_FLOOR] = "UPDATE seeding SET floor_us = ?1 WHERE floor_us < ?1",
	[SQL_EVENT_LATEST] = "SELECT recorded_us FROM events INDEXED BY events_time"
			     " WHERE event_id IS NOT NULL AND recorded_us < ?"
			     " ORDER BY recorded_us DESC LIMIT 1",
	[SQL_OPEN_LATE] = "SELECT o.stream, s.type, s.id, min(o.number), min(o.recorded_us) AS us"
			  " FROM open o CROSS JOIN streams s ON s.stream = o.stream"
			  " WHERE o.recorded_us < ?1 GROUP BY o.stream ORDER BY us, o.stream LIMIT ?2",
	/* all but those that SQL_OPEN_LATE tells */
	[SQL_OPEN_HOLDS] = "SELECT min(recorded_us) FROM open WHERE stream NOT IN ("
			   " SELECT stream FROM open WHERE recorded_us < ?1 GROUP BY stream"
			   " ORDER BY min(recorded_us), stream LIMIT ?2)",
	[SQL_OPEN_SOME] = "SELECT count(*) FROM (SELECT 1 FROM open LIMIT 10000)",
	[SQL_LEASE_TABLE] = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'leases'",
	[SQL_LEASE_GET] = "SELECT token, taken_us, until_us FROM leases WHERE name = ?",
	[SQL_LEASE_SET] = "REPLACE INTO leases(name, token, taken_us, until_us) VALUES(?, ?, ?, ?)",

	[SQL_BODY_NEW] = "INSERT INTO pending(seq, stream, number, made_us, own_time, head, tail)"
			 " VALUES(?, ?, ?, ?, ?, ?, ?)",
	[SQL_BODY_GET] = "SELECT own_time, head, tail FROM pending WHERE seq = ?",
	[SQL_BODY_FIRST] = "SELECT ifnull(min(seq), 0) FROM pending",
	[SQL_BODY_MOVE] = "UPDATE pending SET number = ?2 WHERE seq = ?1",
	/* never the highest: it is the commit counter */
	[SQL_BODY_OLD] = "SELECT p.seq, p.made_us, EXISTS(SELECT 1 FROM open o"
			 "  WHERE o.stream = p.stream AND o.number = p.number) FROM pending p"
			 " WHERE p.seq > ?1 AND p.seq < (SELECT max(seq) FROM pending)"
			 " ORDER BY p.seq LIMIT ?2",
	[SQL_BODY_DELETE] = "DELETE FROM pending WHERE seq = ?",
};

enum rc ledger_sqlite_conn_fail(const struct ledger_sqlite_conn *c, int code, struct why *why)
{
	const char *text = c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(code);
	int error = c->db ? sqlite3_system_errno(c->db) : 0;

	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return rc_fail(RC_NO_MEMORY, why, "ledger '%s': out of memory", c->path);
	case SQLITE_FULL:
		return rc_fail(RC_NO_SPACE, why, "ledger '%s': no space left on the device",
			       c->path);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
	case SQLITE_INTERRUPT:
		return rc_fail(RC_TEMPORARY, why,
			       "ledger '%s' is busy: another process kept it for %u ms", c->path,
			       c->patience_ms);
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH:
		return rc_fail(RC_DENIED, why, "ledger '%s' can't be written: %s", c->path, text);
	case SQLITE_CANTOPEN:
		if (error == ENOENT)
			return rc_fail(RC_NOT_FOUND, why, "no ledger '%s'", c->path);
		if (error == EACCES || error == EPERM || error == EROFS)
			return rc_fail(RC_DENIED, why, "ledger '%s': %s", c->path, strerror(error));
		return rc_fail(RC_TEMPORARY, why, "ledger '%s': %s%s%s", c->path, text,
			       error ? ", " : "", error ? strerror(error) : "");
	case SQLITE_IOERR:
		if (error == ENOSPC || error == EDQUOT)
			return rc_fail(RC_NO_SPACE, why, "ledger '%s': %s", c->path,
				       strerror(error));
		if (code == SQLITE_IOERR_SHORT_READ)	/* what its -shm file says is not in its -wal */
			break;
		return rc_fail(RC_TEMPORARY, why, "ledger '%s': %s%s%s", c->path, text,
			       error ? ", " : "", error ? strerror(error) : "");
	case SQLITE_TOOBIG:
		return rc_fail(RC_TOO_LARGE, why, "ledger '%s': %s", c->path, text);
	}
	/* damaged pages, a missing table, an index that contradicts its table */
	return rc_fail(RC_CORRUPT, why,
		       "the ledger '%s' is damaged (%s): remove it and its -wal and -shm files,"
		       " then 'evfsctl init --adopt STORE' rebuilds it from the objects",
		       c->path, text);
}

enum rc ledger_sqlite_conn_exec(struct ledger_sqlite_conn *c, const char *text, struct why *why)
{
	int code = sqlite3_exec(c->db, text, NULL, NULL, NULL);
	return code == SQLITE_OK ? RC_OK : ledger_sqlite_conn_fail(c, code, why);
}

/*
 * Short naps first: what another process does under the lock takes about as long as one sync of the
 * disk.
 */
static int busy(void *arg, int tries)
{
	const struct ledger_sqlite_conn *c = arg;
	unsigned nap_us = tries < 20 ? 100 : 1000;
	unsigned waited_us =
		tries < 20 ? (unsigned)tries * 100 : 2000 + (unsigned)(tries - 20) * 1000;
	if (waited_us >= c->patience_ms * 1000)
		return 0;
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	vfs->xSleep(vfs, (int)nap_us);
	return 1;
}

static int committed(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct ledger_sqlite_conn *c = arg;
	(void)db;
	(void)name;
	atomic_store(c->wal_pages, pages);
	return SQLITE_OK;
}

enum rc ledger_sqlite_conn_new(struct ledger_sqlite_conn **out, const char *path, int cache_kib,
			       _Atomic int *wal_pages, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_free) struct ledger_sqlite_conn *c = calloc(1, sizeof(*c));
	if (!c)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	c->path = path;
	c->patience_ms = 5000;
	c->wal_pages = wal_pages;
	int code = sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code != SQLITE_OK)
		return ledger_sqlite_conn_fail(c, code, why);
	sqlite3_extended_result_codes(c->db, 1);
	sqlite3_busy_handler(c->db, busy, c);
	/*
	 * checkpoints are ours alone, see ledger_sqlite_tidy; the hook takes the place of SQLite's
	 * own
	 */
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_wal_hook(c->db, committed, c);
	char pragmas[160];
	sqlite3_snprintf(
		sizeof(pragmas), pragmas,
		"PRAGMA cache_size = %d; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY",
		-cache_kib);
	enum rc rc = ledger_sqlite_conn_exec(c, pragmas, why);
	if (rc != RC_OK)
		return rc;
	*out = TAKE_PTR(c);
	return RC_OK;
}

void ledger_sqlite_conn_free(struct ledger_sqlite_conn **cp)
{
	struct ledger_sqlite_conn *c = cp ? *cp : NULL;
	if (!c)
		return;
	for (size_t i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(c->stmts[i]);
	sqlite3_close(c->db);
	free(c);
	*cp = NULL;
}

enum rc ledger_sqlite_conn_sql(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql,
			       sqlite3_stmt **q, struct why *why)
{
	if (!c->stmts[sql]) {
		int code = sqlite3_prepare_v3(c->db, texts[sql], -1, SQLITE_PREPARE_PERSISTENT,
					      &c->stmts[sql], NULL);
		if (code != SQLITE_OK)
			return ledger_sqlite_conn_fail(c, code, why);
	}
	*q = c->stmts[sql];
	return RC_OK;
}

void ledger_sqlite_conn_done(sqlite3_stmt **q)
{
	sqlite3_reset(*q);
}

enum rc ledger_sqlite_conn_step(struct ledger_sqlite_conn *c, sqlite3_stmt *q, bool *row,
				struct why *why)
{
	int code = sqlite3_step(q);
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		return ledger_sqlite_conn_fail(c, code, why);
	*row = code == SQLITE_ROW;
	return RC_OK;
}

enum rc ledger_sqlite_conn_run(struct ledger_sqlite_conn *c, sqlite3_stmt *q, struct why *why)
{
	bool row = false;
	enum rc rc = ledger_sqlite_conn_step(c, q, &row, why);
	sqlite3_reset(q);
	return rc;
}

enum rc ledger_sqlite_conn_do(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql,
			      struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(c, sql, &q, why);
	return rc == RC_OK ? ledger_sqlite_conn_run(c, q, why) : rc;
}

enum rc ledger_sqlite_conn_at(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql, int64_t stream,
			 uint64_t number, struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(c, sql, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, stream);
	sqlite3_bind_int64(q, 2, (int64_t)number);
	return ledger_sqlite_conn_run(c, q, why);
}

enum rc ledger_sqlite_conn_lazy(struct ledger_sqlite_conn *c, bool lazy, struct why *why)
{
	if (c->lazy == lazy)
		return RC_OK;
	enum rc rc = ledger_sqlite_conn_exec(c, lazy ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", why);
	if (rc == RC_OK)
		c->lazy = lazy;
	return rc;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_dash(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

/* False for anything that these 16 bytes would not give back as it was. */
static bool uuid_bytes(const char *id, uint8_t bytes[16])
{
	size_t n = 0;
	for (size_t i = 0; i < 36; i++) {
		if (is_dash(i) && id[i] == '-')
			continue;
		int high = is_dash(i) ? -1 : hex(id[i]), low = high < 0 ? -1 : hex(id[i + 1]);
		if (low < 0)
			return false;
		bytes[n++] = (uint8_t)(high << 4 | low);
		i++;
	}
	return !id[36];
}

bool ledger_sqlite_conn_is_uuid(const char *id)
{
	uint8_t bytes[16];
	return uuid_bytes(id, bytes);
}

void ledger_sqlite_conn_bind_id(sqlite3_stmt *q, int at, const char *id)
{
	uint8_t bytes[16];
	if (uuid_bytes(id, bytes))
		sqlite3_bind_blob(q, at, bytes, sizeof(bytes), SQLITE_TRANSIENT);
	else
		sqlite3_bind_text(q, at, id, -1, SQLITE_STATIC);
}

const char *ledger_sqlite_conn_id(sqlite3_stmt *q, int column, struct ledger_sqlite_id *id)
{
	if (sqlite3_column_type(q, column) != SQLITE_BLOB || sqlite3_column_bytes(q, column) != 16)
		return (const char *)sqlite3_column_text(q, column);
	const uint8_t *bytes = sqlite3_column_blob(q, column);
	char *out = id->text;
	for (size_t i = 0; i < 16; i++) {
		if (is_dash((size_t)(out - id->text)))
			*out++ = '-';
		*out++ = "0123456789abcdef"[bytes[i] >> 4];
		*out++ = "0123456789abcdef"[bytes[i] & 15];
	}
	*out = '\0';
	return id->text;
}

uint64_t ledger_sqlite_conn_point(struct ledger_sqlite_conn *c)
{
	/* WalIndexHdr, twice: a counter of transactions, frames, pages, salts, and a checksum of it all (SQLite, walformat) */
	uint64_t head[12], point = UINT64_C(0xcbf29ce484222325);
	sqlite3_file *file = NULL;
	void volatile *region = NULL;
	if (sqlite3_file_control(c->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file || !file->pMethods ||
	    file->pMethods->iVersion < 2 || !file->pMethods->xShmMap ||
	    file->pMethods->xShmMap(file, 0, WAL_INDEX_REGION, 0, &region) != SQLITE_OK || !region)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		head[i] = ((const volatile uint64_t *)region)[i];
	if (memcmp(head, head + 6, sizeof(head) / 2))
		return 0;	/* somebody writes it now */
	for (size_t i = 0; i < 6; i++)
		point = (point ^ head[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return point ? point : 1;
}
