/* SPDX-License-Identifier: Apache-2.0 */
/* catalog-dir.c - rows of directories. */
#include "config.h"
#include "store/catalog.h"

#include <string.h>

#include "base/cleanup.h"
#include "event/name.h"

#define COLUMNS                                                                                    \
	"row, parent, name, depth, type, id, shown, stream, handle, head, known_to, "              \
	"next_ordinal, events, stream_size, mtime, ctime, epoch"

static void take_text(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
	size_t len = (size_t)sqlite3_column_bytes(stmt, column);
	const void *text = sqlite3_column_text(stmt, column);
	if (!text || len >= size)
		len = 0;
	memcpy(out, text ? text : "", len);
	out[len] = '\0';
}

static void take_dir(sqlite3_stmt *stmt, struct catalog_dir *out)
{
	out->row = sqlite3_column_int64(stmt, 0);
	out->parent = sqlite3_column_int64(stmt, 1);
	take_text(stmt, 2, out->name, sizeof(out->name));
	out->depth = (unsigned)sqlite3_column_int(stmt, 3);
	take_text(stmt, 4, out->type, sizeof(out->type));
	take_text(stmt, 5, out->id, sizeof(out->id));
	out->shown = sqlite3_column_int(stmt, 6);
	out->stream = sqlite3_column_int(stmt, 7);
	out->handle = sqlite3_column_int64(stmt, 8);
	out->head = (uint64_t)sqlite3_column_int64(stmt, 9);
	out->known_to = (uint64_t)sqlite3_column_int64(stmt, 10);
	out->next_ordinal = (uint32_t)sqlite3_column_int64(stmt, 11);
	out->events = (uint64_t)sqlite3_column_int64(stmt, 12);
	out->stream_size = (uint64_t)sqlite3_column_int64(stmt, 13);
	out->mtime = sqlite3_column_int64(stmt, 14);
	out->ctime = sqlite3_column_int64(stmt, 15);
	out->epoch = (uint64_t)sqlite3_column_int64(stmt, 16);
}

/* Read the one row that stmt finds. */
static enum rc take_one(struct catalog_conn *conn, sqlite3_stmt *stmt, struct catalog_dir *out,
			struct why *why)
{
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc == RC_OK) {
		take_dir(stmt, out);
		sqlite3_reset(stmt);
	}
	return rc;
}

enum rc catalog_dir_get(struct catalog_conn *conn, int64_t row, struct catalog_dir *out,
			struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_DIR_GET,
					  "SELECT " COLUMNS " FROM dirs WHERE row = ?");
	sqlite3_bind_int64(stmt, 1, row);
	enum rc rc = take_one(conn, stmt, out, why);
	return rc == RC_NOT_FOUND ? rc_fail(rc, why, "no directory %jd", (intmax_t)row) : rc;
}

enum rc catalog_dir_find(struct catalog_conn *conn, int64_t parent, const char *name,
			 struct catalog_dir *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_DIR_FIND,
					  "SELECT " COLUMNS
					  " FROM dirs WHERE parent = ? AND name = ?");
	sqlite3_bind_int64(stmt, 1, parent);
	sqlite3_bind_text(stmt, 2, name, -1, SQLITE_STATIC);
	enum rc rc = take_one(conn, stmt, out, why);
	return rc == RC_NOT_FOUND ? rc_fail(rc, why, "no directory '%s'", name) : rc;
}

/* A directory that is shown came or went. */
static enum rc turn(struct catalog_conn *conn, int64_t row, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_DIR_TURN,
					  "UPDATE dirs SET epoch = epoch + 1 WHERE row = ?");
	sqlite3_bind_int64(stmt, 1, row);
	return catalog_run(conn, stmt, why);
}

static enum rc show(struct catalog_conn *conn, const struct catalog_dir *dir, bool shown,
		    struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_DIR_SHOW,
					  "UPDATE dirs SET shown = ? WHERE row = ?");
	sqlite3_bind_int(stmt, 1, shown);
	sqlite3_bind_int64(stmt, 2, dir->row);
	enum rc rc = catalog_run(conn, stmt, why);
	return rc == RC_OK ? turn(conn, dir->parent, why) : rc;
}

static enum rc add_child(struct catalog_conn *conn, const struct catalog_dir *parent,
			 const char *part, const char *name, struct catalog_dir *out,
			 struct why *why)
{
	_cleanup_(buf_release) struct buf id = BUF_INIT;
	const char *type = parent->depth ? parent->type : part;
	if (parent->depth >= 2) {
		buf_add_text(&id, parent->id);
		buf_add_char(&id, '/');
	}
	if (parent->depth)
		buf_add_text(&id, part);
	if (buf_failed(&id))
		return rc_fail(RC_NO_MEMORY, why, "no memory");
	if (strlen(type) > KEY_MAX || id.len > KEY_MAX)
		return rc_fail(RC_INVALID, why, "the path of '%.100s' is longer than a key can be",
			       part);

	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_DIR_ADD,
		"INSERT INTO dirs(parent, name, depth, type, id) VALUES(?, ?, ?, ?, ?)");
	sqlite3_bind_int64(stmt, 1, parent->row);
	sqlite3_bind_text(stmt, 2, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, parent->depth + 1);
	sqlite3_bind_text(stmt, 4, type, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 5, buf_text(&id), -1, SQLITE_STATIC);
	enum rc rc = catalog_run(conn, stmt, why);
	if (rc == RC_OK)
		rc = turn(conn, parent->row, why);
	return rc == RC_OK ? catalog_dir_find(conn, parent->row, name, out, why) : rc;
}

enum rc catalog_dir_child(struct catalog_conn *conn, const struct catalog_dir *parent,
			  const char *part, bool add, struct catalog_dir *out, struct why *why)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT, alias = BUF_INIT;
	name_encode(part, strlen(part), &encoded);
	if (encoded.len > sizeof(out->name) - 1)
		name_alias(buf_text(&encoded), encoded.len, &alias);
	const char *name = buf_text(alias.len ? &alias : &encoded);
	if (buf_failed(&encoded) || buf_failed(&alias))
		return rc_fail(RC_NO_MEMORY, why, "no memory");

	enum rc rc = catalog_dir_find(conn, parent->row, name, out, why);
	if (rc == RC_NOT_FOUND && add)
		return add_child(conn, parent, part, name, out, why);
	if (rc == RC_OK && add && !out->shown) {
		rc = show(conn, out, true, why);
		out->shown = true;
	}
	return rc;
}

enum rc catalog_dir_path(struct catalog_conn *conn, const char *type, const char *id, bool add,
			 struct catalog_dir *out, struct why *why)
{
	struct catalog_dir at = { .row = CATALOG_ROOT };
	_cleanup_(freep) char *rest = strdup(id);
	if (!rest)
		return rc_fail(RC_NO_MEMORY, why, "no memory");
	enum rc rc = catalog_dir_child(conn, &at, type, add, out, why);
	for (char *part = rest, *slash = rest; rc == RC_OK && slash;
	     part = slash ? slash + 1 : part) {
		slash = strchr(part, '/');
		if (slash)
			*slash = '\0';
		at = *out;
		rc = catalog_dir_child(conn, &at, part, add, out, why);
	}
	return rc;
}

enum rc catalog_dir_save(struct catalog_conn *conn, const struct catalog_dir *dir, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_DIR_SAVE,
		"UPDATE dirs SET stream = ?2, handle = ?3, head = ?4, known_to = ?5,"
		" next_ordinal = ?6, events = ?7, stream_size = ?8, mtime = ?9, ctime = ?10,"
		" epoch = max(epoch, ?11) WHERE row = ?1");
	sqlite3_bind_int64(stmt, 1, dir->row);
	sqlite3_bind_int(stmt, 2, dir->stream);
	sqlite3_bind_int64(stmt, 3, dir->handle);
	sqlite3_bind_int64(stmt, 4, (int64_t)dir->head);
	sqlite3_bind_int64(stmt, 5, (int64_t)dir->known_to);
	sqlite3_bind_int64(stmt, 6, dir->next_ordinal);
	sqlite3_bind_int64(stmt, 7, (int64_t)dir->events);
	sqlite3_bind_int64(stmt, 8, (int64_t)dir->stream_size);
	sqlite3_bind_int64(stmt, 9, dir->mtime);
	sqlite3_bind_int64(stmt, 10, dir->ctime);
	sqlite3_bind_int64(stmt, 11, (int64_t)dir->epoch);
	enum rc rc = catalog_run(conn, stmt, why);

	static const char rise[] =
		"UPDATE dirs SET mtime = max(mtime, ?2), ctime = max(ctime, ?3) WHERE row = ?1"
		" AND (mtime < ?2 OR ctime < ?3) RETURNING parent";
	int64_t row = dir->parent;
	while (rc == RC_OK && row) {
		stmt = catalog_stmt(conn, CATALOG_DIR_RISE, rise);
		sqlite3_bind_int64(stmt, 1, row);
		sqlite3_bind_int64(stmt, 2, dir->mtime);
		sqlite3_bind_int64(stmt, 3, dir->ctime);
		rc = catalog_step(conn, stmt, why);
		if (rc == RC_NOT_FOUND)
			return RC_OK;	/* those above are no older */
		row = sqlite3_column_int64(stmt, 0);
		sqlite3_reset(stmt);
	}
	return rc;
}

enum rc catalog_dir_list(struct catalog_conn *conn, int64_t parent, int64_t after,
			 struct catalog_dir *out, size_t max, size_t *n_r, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_DIR_LIST,
		"SELECT " COLUMNS
		" FROM dirs WHERE parent = ? AND shown AND row > ? ORDER BY row LIMIT ?");
	sqlite3_bind_int64(stmt, 1, parent);
	sqlite3_bind_int64(stmt, 2, after);
	sqlite3_bind_int64(stmt, 3, (int64_t)max);
	size_t n = 0;
	enum rc rc;
	while ((rc = catalog_step(conn, stmt, why)) == RC_OK)
		take_dir(stmt, &out[n++]);
	*n_r = n;
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc catalog_dir_next_stream(struct catalog_conn *conn, int64_t after, struct catalog_dir *out,
				struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_DIR_STREAMS,
		"SELECT " COLUMNS " FROM dirs WHERE row > ? AND stream ORDER BY row LIMIT 1");
	sqlite3_bind_int64(stmt, 1, after);
	return take_one(conn, stmt, out, why);
}

enum rc catalog_dir_totals(struct catalog_conn *conn, catalog_total_fn *fn, void *arg,
			   struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_DIR_TOTALS,
		"SELECT type, count(*), sum(events), sum(stream_size) FROM dirs"
		" WHERE stream AND events > 0 GROUP BY type");
	enum rc rc;
	while ((rc = catalog_step(conn, stmt, why)) == RC_OK)
		fn(arg, &(struct catalog_total){
				.type = (const char *)sqlite3_column_text(stmt, 0),
				.streams = (uint64_t)sqlite3_column_int64(stmt, 1),
				.events = (uint64_t)sqlite3_column_int64(stmt, 2),
				.stream_size = (uint64_t)sqlite3_column_int64(stmt, 3),
			});
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc catalog_dir_hide(struct catalog_conn *conn, struct catalog_dir *dir, struct why *why)
{
	dir->stream = false;
	enum rc rc = catalog_dir_save(conn, dir, why);
	for (struct catalog_dir at = *dir; rc == RC_OK && at.row != CATALOG_ROOT && !at.stream;) {
		sqlite3_stmt *stmt = catalog_stmt(
			conn, CATALOG_DIR_ANY,
			"SELECT 1 FROM dirs WHERE parent = ? AND shown LIMIT 1");
		sqlite3_bind_int64(stmt, 1, at.row);
		rc = catalog_step(conn, stmt, why);
		if (rc != RC_NOT_FOUND) {
			sqlite3_reset(stmt);
			break;
		}
		rc = show(conn, &at, false, why);
		if (rc == RC_OK)
			rc = catalog_dir_get(conn, at.parent, &at, why);
	}
	return rc;
}

enum rc catalog_dir_forget_handles(struct catalog_conn *conn, struct why *why)
{
	return catalog_exec(conn,
			    "UPDATE dirs SET handle = 0 WHERE handle <> 0; DELETE FROM meta WHERE "
			    "name = 'handle'",
			    why);
}
