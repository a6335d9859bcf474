/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-sqlite-schema.c - the tables; making a ledger, and telling whether a file is one. */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"

#define APPLICATION_ID 0x65766673	/* "evfs" */
#define SCHEMA_VERSION 1

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/*
 * An append of one event touches one page each of events, its two indexes, open, and pending; a
 * settle one of open. What can be derived is not kept: a stream's last number is the last row's,
 * the commit counter the highest seq.
 */
static const char tables[] =
	"BEGIN;"
	"CREATE TABLE store(one INTEGER PRIMARY KEY CHECK(one = 1),"
	" uuid TEXT NOT NULL, created_us INTEGER NOT NULL);"
	/* suspect_below: what is unsettled in a stream with a lower mark is another line's */
	"CREATE TABLE seeding(one INTEGER PRIMARY KEY CHECK(one = 1), number INTEGER NOT NULL,"
	" identity TEXT NOT NULL, floor_us INTEGER NOT NULL, commits INTEGER NOT NULL,"
	" suspect_below INTEGER NOT NULL, complete INTEGER NOT NULL);"
	"INSERT INTO seeding VALUES(1, 0, '', 0, 0, 0, 0);"
	"CREATE TABLE streams(stream INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL,"
	" mark INTEGER NOT NULL, UNIQUE(type, id));"
	/*
	 * span > 0: a void. event_id: 16 bytes for a UUID, else text. occurred_us NULL: as
	 * recorded_us. body: pending.seq, even after that row went
	 */
	"CREATE TABLE events(stream INTEGER NOT NULL, number INTEGER NOT NULL,"
	" span INTEGER NOT NULL, event_id, event_type TEXT, size INTEGER, occurred_us INTEGER,"
	" recorded_us INTEGER NOT NULL, body INTEGER, digest BLOB,"
	" PRIMARY KEY(stream, number)) WITHOUT ROWID;"
	"CREATE UNIQUE INDEX events_id ON events(event_id) WHERE event_id IS NOT NULL;"
	"CREATE INDEX events_time ON events(recorded_us, stream, number)"
	" WHERE event_id IS NOT NULL;"
	/* the bodies of recent events, in the order of their commits */
	"CREATE TABLE pending(seq INTEGER PRIMARY KEY, stream INTEGER NOT NULL,"
	" number INTEGER NOT NULL, made_us INTEGER NOT NULL, own_time INTEGER NOT NULL,"
	" head BLOB NOT NULL, tail BLOB NOT NULL);"
	/* the events that are not settled */
	"CREATE TABLE open(stream INTEGER NOT NULL, number INTEGER NOT NULL,"
	" recorded_us INTEGER NOT NULL, lease_until INTEGER NOT NULL, attempts INTEGER NOT NULL,"
	" expected INTEGER NOT NULL, PRIMARY KEY(stream, number)) WITHOUT ROWID;"
	"PRAGMA application_id = " TEXT(APPLICATION_ID) ";"
	"PRAGMA user_version = " TEXT(SCHEMA_VERSION) ";";

static enum rc make(struct ledger_sqlite_conn *c, const char *uuid, struct why *why)
{
	int code = sqlite3_open_v2(
		c->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE,
		NULL);
	if (code != SQLITE_OK)
		return ledger_sqlite_conn_fail(c, code, why);
	enum rc rc = ledger_sqlite_conn_exec(
		c, "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL", why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_exec(c, tables, why);
	if (rc != RC_OK)
		return rc;
	char text[160];
	sqlite3_snprintf(sizeof(text), text, "INSERT INTO store VALUES(1, %Q, %lld); COMMIT", uuid,
			 (long long)clock_wall_us());
	return ledger_sqlite_conn_exec(c, text, why);
}

enum rc ledger_sqlite_schema_make(const char *path, const char *uuid, struct why *why)
{
	struct ledger_sqlite_conn c = { .path = path };
	enum rc rc = make(&c, uuid, why);
	/* the only connection: its close moves all into the main file and removes the -wal */
	if (sqlite3_close(c.db) != SQLITE_OK && rc == RC_OK)
		rc = rc_fail(RC_TEMPORARY, why, "ledger '%s': can't be closed", path);
	return rc;
}

enum rc ledger_sqlite_schema_leases(struct ledger_sqlite_conn *c, struct why *why)
{
	return ledger_sqlite_conn_exec(
		c,
		"CREATE TABLE IF NOT EXISTS leases(name TEXT PRIMARY KEY, token TEXT NOT NULL,"
		" taken_us INTEGER NOT NULL, until_us INTEGER NOT NULL) WITHOUT ROWID",
		why);
}

static enum rc pragma(struct ledger_sqlite_conn *c, const char *text, int *out, struct why *why)
{
	sqlite3_stmt *q = NULL;
	int code = sqlite3_prepare_v2(c->db, text, -1, &q, NULL);
	if (code == SQLITE_OK && (code = sqlite3_step(q)) == SQLITE_ROW) {
		*out = sqlite3_column_int(q, 0);
		code = SQLITE_OK;
	}
	enum rc rc = code == SQLITE_OK ? RC_OK : ledger_sqlite_conn_fail(c, code, why);
	sqlite3_finalize(q);
	return rc;
}

enum rc ledger_sqlite_schema_check(struct ledger_sqlite_conn *c, const char *uuid, struct why *why)
{
	int application = 0, version = 0;
	enum rc rc = pragma(c, "PRAGMA application_id", &application, why);
	if (rc == RC_OK)
		rc = pragma(c, "PRAGMA user_version", &version, why);
	if (rc != RC_OK)
		return rc;
	if (application != APPLICATION_ID) {
		if (!application && !version)	/* an empty file is an empty database */
			return rc_fail(
				RC_CORRUPT, why,
				"the ledger '%s' is damaged (it is empty): remove it and its -wal "
				"and -shm files,"
				" then 'evfsctl init --adopt STORE' rebuilds it from the objects",
				c->path);
		return rc_fail(RC_INVALID, why, "'%s' is a database of another program", c->path);
	}
	if (version != SCHEMA_VERSION)
		return rc_fail(RC_INVALID, why,
			       "ledger '%s' has schema version %d, this evfs knows %d", c->path,
			       version, SCHEMA_VERSION);

	sqlite3_stmt *q = NULL;
	int code = sqlite3_prepare_v2(c->db, "SELECT uuid FROM store", -1, &q, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(q);
	if (code != SQLITE_ROW)
		rc = ledger_sqlite_conn_fail(c, code, why);
	else if (strcmp((const char *)sqlite3_column_text(q, 0), uuid))
		rc = rc_fail(RC_INVALID, why, "ledger '%s' belongs to store %s, this is store %s",
			     c->path, sqlite3_column_text(q, 0), uuid);
	sqlite3_finalize(q);
	return rc;
}

enum rc ledger_sqlite_schema_base(const char *path, uint64_t *commits_r, struct why *why)
{
	/* immutable: no -wal, no locks. What stands in a URI must be escaped */
	_cleanup_(buf_release) struct buf uri = BUF_INIT;
	buf_add_text(&uri, "file:");
	for (const char *p = path; *p; p++) {
		if (strchr("%?#", *p))
			buf_printf(&uri, "%%%02X", (unsigned char)*p);
		else
			buf_add_char(&uri, *p);
	}
	buf_add_text(&uri, "?immutable=1");
	if (buf_failed(&uri))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");

	struct ledger_sqlite_conn c = { .path = path };
	sqlite3_stmt *q = NULL;
	int code =
		sqlite3_open_v2(uri.data, &c.db,
				SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(c.db,
					  "SELECT max(commits, ifnull((SELECT max(seq) FROM "
					  "pending), 0)) FROM seeding",
					  -1, &q, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(q);
	enum rc rc = RC_OK;
	if (code == SQLITE_ROW)
		*commits_r = (uint64_t)sqlite3_column_int64(q, 0);
	else
		rc = ledger_sqlite_conn_fail(&c, code, why);
	sqlite3_finalize(q);
	sqlite3_close(c.db);
	return rc;
}
