/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.c - the file, its connections and transactions. */
#include "config.h"
#include "store/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"

#define CATALOG_VERSION 2
#define APPLICATION 0x65766673		/* "evfs" */
#define READERS 4
#define TYPES 16			/* remembered per connection */

struct catalog_conn {
	sqlite3 *db;
	sqlite3_stmt *stmts[CATALOG_SLOTS];
	struct catalog_conn *next;	/* while free */
	struct {
		char text[64];
		int64_t type;
	} types[TYPES];
};

struct catalog {
	struct catalog_conn readers[READERS], writer;
	bool single;			/* a temporary file: the writer is the only connection */
	pthread_mutex_t free_lock;	/* guards free */
	pthread_cond_t freed;
	struct catalog_conn *free;
	pthread_mutex_t write_lock;	/* guards writer */
	int lock_fd;			/* shared lock for as long as the file is open */
};

static const char schema[] =
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE types(type INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
	"CREATE TABLE dirs(row INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL,"
	" depth INTEGER NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,"
	" shown INTEGER NOT NULL DEFAULT 1, stream INTEGER NOT NULL DEFAULT 0,"
	" handle INTEGER NOT NULL DEFAULT 0, head INTEGER NOT NULL DEFAULT 0,"
	" known_to INTEGER NOT NULL DEFAULT 0, next_ordinal INTEGER NOT NULL DEFAULT 1,"
	" events INTEGER NOT NULL DEFAULT 0, stream_size INTEGER NOT NULL DEFAULT 0,"
	" mtime INTEGER NOT NULL DEFAULT 0, ctime INTEGER NOT NULL DEFAULT 0,"
	" epoch INTEGER NOT NULL DEFAULT 0, UNIQUE(parent, name));"
	"CREATE INDEX dirs_shown ON dirs(parent) WHERE shown;"
	"CREATE TABLE events(dir INTEGER NOT NULL, number INTEGER NOT NULL, fork INTEGER NOT NULL,"
	" ordinal INTEGER NOT NULL, type INTEGER NOT NULL, size INTEGER NOT NULL,"
	" occurred INTEGER NOT NULL, recorded INTEGER NOT NULL, settled INTEGER NOT NULL,"
	" line_end INTEGER NOT NULL, event_id TEXT NOT NULL, key TEXT,"
	" PRIMARY KEY(dir, number, fork)) WITHOUT ROWID;"
	"CREATE UNIQUE INDEX events_ordinal ON events(dir, ordinal);"
	"CREATE INDEX events_soft ON events(dir) WHERE settled = 0;"
	"CREATE TABLE segments(dir INTEGER NOT NULL, part INTEGER NOT NULL,"
	" start INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY(dir, part));"
	"CREATE TABLE bodies(seq INTEGER PRIMARY KEY, dir INTEGER NOT NULL, ordinal INTEGER NOT NULL,"
	" text BLOB NOT NULL, UNIQUE(dir, ordinal));"
	"INSERT INTO dirs(row, parent, name, depth, type, id) VALUES(1, 0, '', 0, '', '');";

static enum rc fail(sqlite3 *db, int code, struct why *why)
{
	enum rc rc = RC_CORRUPT;
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_INTERRUPT:
		rc = RC_TEMPORARY;
		break;
	case SQLITE_FULL:
		rc = RC_NO_SPACE;
		break;
	case SQLITE_NOMEM:
		rc = RC_NO_MEMORY;
		break;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		rc = RC_DENIED;
		break;
	default:	/* SQLite's codes, not an rc */
		break;
	}
	return rc_fail(rc, why, "the catalog: %s", db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
}

/* ------------------------------------------------------------------ statements */

sqlite3_stmt *catalog_stmt(struct catalog_conn *conn, enum catalog_slot slot, const char *sql)
{
	sqlite3_stmt **stmt = &conn->stmts[slot];
	if (*stmt)
		sqlite3_reset(*stmt);
	else if (sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) !=
		 SQLITE_OK)
		*stmt = NULL;
	return *stmt;
}

enum rc catalog_step(struct catalog_conn *conn, sqlite3_stmt *stmt, struct why *why)
{
	if (!stmt)
		return fail(conn->db, sqlite3_errcode(conn->db), why);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		return RC_OK;
	if (code == SQLITE_DONE) {
		sqlite3_reset(stmt);
		return RC_NOT_FOUND;
	}
	enum rc rc = fail(conn->db, code, why);
	sqlite3_reset(stmt);
	return rc;
}

enum rc catalog_run(struct catalog_conn *conn, sqlite3_stmt *stmt, struct why *why)
{
	enum rc rc;
	while ((rc = catalog_step(conn, stmt, why)) == RC_OK)
		;
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc catalog_exec(struct catalog_conn *conn, const char *sql, struct why *why)
{
	int code = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
	return code == SQLITE_OK ? RC_OK : fail(conn->db, code, why);
}

/* ------------------------------------------------------------------ opening */

static void conn_close(struct catalog_conn *conn)
{
	for (size_t i = 0; i < CATALOG_SLOTS; i++)
		sqlite3_finalize(conn->stmts[i]);
	sqlite3_close(conn->db);
	*conn = (struct catalog_conn){ 0 };
}

static enum rc conn_open(struct catalog_conn *conn, const char *path, int cache_kib,
			 struct why *why)
{
	int code = sqlite3_open_v2(path, &conn->db,
				   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
				   NULL);
	if (code != SQLITE_OK)
		return fail(conn->db, code, why);
	sqlite3_busy_timeout(conn->db, 10000);
	char pragmas[256];
	/* a cache: what a crash of the machine takes is learned again, see after_boot */
	snprintf(pragmas, sizeof(pragmas),
		 "PRAGMA page_size=8192; PRAGMA synchronous=OFF; PRAGMA cache_size=-%d;"
		 "PRAGMA mmap_size=0; PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=8388608;",
		 cache_kib);
	return catalog_exec(conn, pragmas, why);
}

static enum rc read_int(struct catalog_conn *conn, const char *sql, int64_t *out, struct why *why)
{
	sqlite3_stmt *stmt;
	int code = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
	if (code != SQLITE_OK)
		return fail(conn->db, code, why);
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return code == SQLITE_ROW ? RC_OK : fail(conn->db, code, why);
}

static enum rc make_schema(struct catalog_conn *conn, const char *uuid, struct why *why)
{
	char version[96];
	snprintf(version, sizeof(version), "PRAGMA application_id=%d; PRAGMA user_version=%d;",
		 APPLICATION, CATALOG_VERSION);
	enum rc rc = catalog_exec(conn, schema, why);
	if (rc == RC_OK)
		rc = catalog_exec(conn, version, why);
	return rc == RC_OK ? catalog_meta_set(conn, "uuid", uuid, why) : rc;
}

/* Which start of the machine this is; "" if it does not say. */
static void boot_id(char out[64])
{
	_cleanup_(closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, out, 63) : 0;
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

/* Nothing was synced: what was written before the machine last started may be torn. */
static enum rc after_boot(struct catalog_conn *conn, struct why *why)
{
	_cleanup_(buf_release) struct buf seen = BUF_INIT;
	char boot[64];
	boot_id(boot);
	enum rc rc = catalog_meta_get(conn, "boot", &seen, why);
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;
	if (rc == RC_OK && !strcmp(buf_text(&seen), boot))
		return RC_OK;
	sqlite3_stmt *stmt = NULL;
	if (rc == RC_OK) {
		int code = sqlite3_prepare_v2(conn->db, "PRAGMA integrity_check(1)", -1, &stmt,
					      NULL);
		if (code == SQLITE_OK)
			code = sqlite3_step(stmt);
		const char *found = code == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0)
						       : NULL;
		bool good = found && !strcmp(found, "ok");
		sqlite3_finalize(stmt);
		if (!good)
			return rc_fail(RC_CORRUPT, why,
				       "the catalog was damaged when the machine stopped");
	}
	return catalog_meta_set(conn, "boot", boot, why);
}

/* RC_INVALID, RC_CORRUPT: the file is no catalog of this store. */
static enum rc check_schema(struct catalog_conn *conn, const char *uuid, struct why *why)
{
	_cleanup_(buf_release) struct buf found = BUF_INIT;
	int64_t application = 0, version = 0, tables = 0;
	enum rc rc = catalog_exec(conn, "BEGIN IMMEDIATE", why);
	if (rc != RC_OK)
		return rc;
	rc = read_int(conn, "PRAGMA application_id", &application, why);
	if (rc == RC_OK)
		rc = read_int(conn, "PRAGMA user_version", &version, why);
	if (rc == RC_OK)
		rc = read_int(conn, "SELECT count(*) FROM sqlite_master", &tables, why);
	if (rc == RC_OK && !application && !version && !tables) {
		rc = make_schema(conn, uuid, why);
	} else if (rc == RC_OK && (application != APPLICATION || version != CATALOG_VERSION)) {
		rc = rc_fail(RC_INVALID, why, "the catalog has version %jd, this program knows %d",
			     (intmax_t)version, CATALOG_VERSION);
	} else if (rc == RC_OK) {
		rc = catalog_meta_get(conn, "uuid", &found, why);
		if (rc == RC_OK && strcmp(buf_text(&found), uuid))
			rc = rc_fail(RC_INVALID, why,
				     "the catalog is of the store '%s', not of '%s'",
				     buf_text(&found), uuid);
		else if (rc == RC_NOT_FOUND)
			rc = rc_fail(RC_CORRUPT, why, "the catalog does not say whose it is");
	}
	if (rc == RC_OK)
		rc = after_boot(conn, why);
	if (rc == RC_OK)
		return catalog_exec(conn, "COMMIT", why);
	sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static void close_all(struct catalog *c)
{
	for (size_t i = 0; i < READERS; i++)
		conn_close(&c->readers[i]);
	conn_close(&c->writer);
	c->free = NULL;
}

/* Open all connections at once: later the name might lead to another file. */
static enum rc open_all(struct catalog *c, const char *path, const char *uuid, struct why *why)
{
	enum rc rc = conn_open(&c->writer, path, 2048, why);
	if (rc == RC_OK)
		rc = check_schema(&c->writer, uuid, why);
	for (size_t i = 0; i < READERS && rc == RC_OK && !c->single; i++) {
		rc = conn_open(&c->readers[i], path, 1024, why);
		c->readers[i].next = c->free;
		c->free = &c->readers[i];
	}
	if (rc != RC_OK)
		close_all(c);
	return rc;
}

static enum rc make_parents(const char *path, struct why *why)
{
	_cleanup_(freep) char *dir = strdup(path);
	if (!dir)
		return rc_fail(RC_NO_MEMORY, why, "no memory");
	for (char *slash = dir; (slash = strchr(slash + 1, '/')); *slash = '/') {
		*slash = '\0';
		if (mkdir(dir, 0700) && errno != EEXIST)
			return rc_fail(RC_DENIED, why, "cannot make '%s': %s", dir,
				       strerror(errno));
	}
	return RC_OK;
}

static void remove_file(const char *path)
{
	static const char *const suffixes[] = { "-wal", "-shm", "-journal", "" };
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		buf_reset(&name);
		buf_add_text(&name, path);
		buf_add_text(&name, suffixes[i]);
		if (!buf_failed(&name))
			unlink(name.data);
	}
}

/*
 * The lock beside the file: shared while it is open; whoever can have it alone may make the file,
 * or throw it away.
 */
static enum rc lock_file(struct catalog *c, const char *path, struct why *why)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	buf_printf(&name, "%s.lock", path);
	if (buf_failed(&name))
		return rc_fail(RC_NO_MEMORY, why, "no memory");
	c->lock_fd = open(name.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (c->lock_fd < 0 || (flock(c->lock_fd, LOCK_EX | LOCK_NB) && flock(c->lock_fd, LOCK_SH)))
		return rc_fail(RC_DENIED, why, "cannot lock '%s': %s", name.data, strerror(errno));
	return RC_OK;
}

static enum rc open_file(struct catalog *c, const char *path, const char *uuid, struct why *why)
{
	enum rc rc = make_parents(path, why);
	if (rc == RC_OK)
		rc = lock_file(c, path, why);
	if (rc == RC_OK)
		rc = open_all(c, path, uuid, why);
	if (rc == RC_OK)
		flock(c->lock_fd, LOCK_SH);
	if (rc != RC_INVALID && rc != RC_CORRUPT)
		return rc;

	if (flock(c->lock_fd, LOCK_EX | LOCK_NB))
		return rc_prefix(RC_TEMPORARY, why, "another process has it open");
	log_info("catalog: making it anew path=%s reason=\"%s\"", path, why->text);
	remove_file(path);
	rc = open_all(c, path, uuid, why);
	flock(c->lock_fd, LOCK_SH);
	return rc;
}

enum rc catalog_open(struct catalog **out, const char *path, const char *uuid, struct why *why)
{
	struct why reason = { "" };
	_cleanup_(catalog_freep) struct catalog *c = calloc(1, sizeof(*c));
	if (!c)
		return rc_fail(RC_NO_MEMORY, why, "no memory for the catalog");
	c->lock_fd = -1;
	pthread_mutex_init(&c->free_lock, NULL);
	pthread_cond_init(&c->freed, NULL);
	pthread_mutex_init(&c->write_lock, NULL);

	enum rc rc = path ? open_file(c, path, uuid, &reason) : RC_NOT_FOUND;
	if (rc != RC_OK) {
		if (path)
			log_warning("catalog: a temporary one is used path=%s reason=\"%s\"", path,
				    reason.text);
		closep(&c->lock_fd);
		c->lock_fd = -1;
		c->single = true;
		rc = open_all(c, "", uuid, why);
	}
	if (rc == RC_OK)
		*out = TAKE_PTR(c);
	return rc;
}

void catalog_free(struct catalog **cp)
{
	if (!cp || !*cp)
		return;
	struct catalog *c = *cp;
	*cp = NULL;
	close_all(c);
	closep(&c->lock_fd);
	pthread_mutex_destroy(&c->free_lock);
	pthread_cond_destroy(&c->freed);
	pthread_mutex_destroy(&c->write_lock);
	free(c);
}

/* ------------------------------------------------------------------ connections */

/* One transaction for what is read together: each by itself costs locks and a look at the file. */
static struct catalog_conn *begin(struct catalog_conn *conn)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_BEGIN, "BEGIN");
	if (catalog_run(conn, stmt, NULL) != RC_OK) {
		/* then each is read by itself */
	}
	return conn;
}

struct catalog_conn *catalog_read(struct catalog *c)
{
	if (c->single) {
		pthread_mutex_lock(&c->write_lock);
		return begin(&c->writer);
	}
	pthread_mutex_lock(&c->free_lock);
	while (!c->free)
		pthread_cond_wait(&c->freed, &c->free_lock);
	struct catalog_conn *conn = c->free;
	c->free = conn->next;
	pthread_mutex_unlock(&c->free_lock);
	return begin(conn);
}

void catalog_done(struct catalog *c, struct catalog_conn *conn)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_COMMIT, "COMMIT");
	if (!sqlite3_get_autocommit(conn->db) && catalog_run(conn, stmt, NULL) != RC_OK)
		sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
	if (c->single) {
		pthread_mutex_unlock(&c->write_lock);
		return;
	}
	pthread_mutex_lock(&c->free_lock);
	conn->next = c->free;
	c->free = conn;
	pthread_cond_signal(&c->freed);
	pthread_mutex_unlock(&c->free_lock);
}

enum rc catalog_write(struct catalog *c, struct catalog_conn **out, struct why *why)
{
	pthread_mutex_lock(&c->write_lock);
	enum rc rc = catalog_exec(&c->writer, "BEGIN IMMEDIATE", why);
	if (rc == RC_OK)
		*out = &c->writer;
	else
		pthread_mutex_unlock(&c->write_lock);
	return rc;
}

void catalog_abandon(struct catalog *c, struct catalog_conn *conn)
{
	sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
	memset(conn->types, 0, sizeof(conn->types));
	pthread_mutex_unlock(&c->write_lock);
}

enum rc catalog_commit(struct catalog *c, struct catalog_conn *conn, struct why *why)
{
	enum rc rc = catalog_exec(conn, "COMMIT", why);
	if (rc != RC_OK)
		catalog_abandon(c, conn);
	else
		pthread_mutex_unlock(&c->write_lock);
	return rc;
}

/* ------------------------------------------------------------------ facts and types */

enum rc catalog_meta_get(struct catalog_conn *conn, const char *name, struct buf *out,
			 struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_META_GET,
					  "SELECT value FROM meta WHERE name = ?");
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc != RC_OK)
		return rc;
	buf_add(out, sqlite3_column_text(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
	sqlite3_reset(stmt);
	return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why, "no memory") : RC_OK;
}

enum rc catalog_meta_set(struct catalog_conn *conn, const char *name, const char *value,
			 struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_META_SET,
					  "INSERT OR REPLACE INTO meta VALUES(?, ?)");
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC);
	return catalog_run(conn, stmt, why);
}

enum rc catalog_type_text(struct catalog_conn *conn, int64_t type, struct buf *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_TYPE_GET,
					  "SELECT text FROM types WHERE type = ?");
	sqlite3_bind_int64(stmt, 1, type);
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc == RC_NOT_FOUND)
		return rc_fail(RC_CORRUPT, why, "the catalog: no event type %jd", (intmax_t)type);
	if (rc != RC_OK)
		return rc;
	buf_add(out, sqlite3_column_text(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
	sqlite3_reset(stmt);
	return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why, "no memory") : RC_OK;
}

static enum rc find_type(struct catalog_conn *conn, const char *text, int64_t *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_TYPE_FIND,
					  "SELECT type FROM types WHERE text = ?");
	sqlite3_bind_text(stmt, 1, text, -1, SQLITE_STATIC);
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc == RC_OK) {
		*out = sqlite3_column_int64(stmt, 0);
		sqlite3_reset(stmt);
	}
	return rc;
}

enum rc catalog_type_number(struct catalog_conn *conn, const char *text, int64_t *out,
			    struct why *why)
{
	size_t len = strlen(text), slot = 0;
	for (size_t i = 0; i < len; i++)
		slot = slot * 31 + (unsigned char)text[i];
	slot %= TYPES;
	if (conn->types[slot].type && !strcmp(conn->types[slot].text, text)) {
		*out = conn->types[slot].type;
		return RC_OK;
	}
	int64_t type = 0;
	enum rc rc = find_type(conn, text, &type, why);
	if (rc == RC_NOT_FOUND) {
		sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_TYPE_ADD,
						  "INSERT INTO types(text) VALUES(?)");
		sqlite3_bind_text(stmt, 1, text, -1, SQLITE_STATIC);
		rc = catalog_run(conn, stmt, why);
		type = sqlite3_last_insert_rowid(conn->db);
	}
	if (rc != RC_OK)
		return rc;
	if (len < sizeof(conn->types[slot].text)) {
		memcpy(conn->types[slot].text, text, len + 1);
		conn->types[slot].type = type;
	}
	*out = type;
	return RC_OK;
}
