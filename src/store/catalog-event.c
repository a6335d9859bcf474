/* SPDX-License-Identifier: Apache-2.0 */
/* catalog-event.c - rows of events, in the order of their numbers, and where their lines end. */
#include "config.h"
#include "store/catalog.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/plant.h"

#define ORDINAL_MAX ((1u << 30) - 1024)
#define COLUMNS "dir, number, fork, ordinal, type, size, occurred, recorded, settled, line_end"

static void take_event(sqlite3_stmt *stmt, struct catalog_event *out)
{
	out->dir = sqlite3_column_int64(stmt, 0);
	out->number = (uint64_t)sqlite3_column_int64(stmt, 1);
	out->fork = (unsigned)sqlite3_column_int(stmt, 2);
	out->ordinal = (uint32_t)sqlite3_column_int64(stmt, 3);
	out->type = sqlite3_column_int64(stmt, 4);
	out->size = (uint64_t)sqlite3_column_int64(stmt, 5);
	out->occurred = sqlite3_column_int64(stmt, 6);
	out->recorded = sqlite3_column_int64(stmt, 7);
	out->settled = sqlite3_column_int(stmt, 8);
	out->line_end = (uint64_t)sqlite3_column_int64(stmt, 9);
}

static enum rc take_one(struct catalog_conn *conn, sqlite3_stmt *stmt, struct catalog_event *out,
			struct why *why)
{
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc == RC_OK) {
		take_event(stmt, out);
		sqlite3_reset(stmt);
	}
	return rc;
}

static enum rc take_all(struct catalog_conn *conn, sqlite3_stmt *stmt, struct catalog_event *out,
			size_t *n_r, struct why *why)
{
	size_t n = 0;
	enum rc rc;
	while ((rc = catalog_step(conn, stmt, why)) == RC_OK)
		take_event(stmt, &out[n++]);
	*n_r = n;
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

static void bind_place(sqlite3_stmt *stmt, int64_t dir, uint64_t number, unsigned fork)
{
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, (int64_t)number);
	sqlite3_bind_int64(stmt, 3, fork);
}

enum rc catalog_event_get(struct catalog_conn *conn, int64_t dir, uint64_t number, unsigned fork,
			  struct catalog_event *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_GET,
		"SELECT " COLUMNS " FROM events WHERE dir = ? AND number = ? AND fork = ?");
	bind_place(stmt, dir, number, fork);
	enum rc rc = take_one(conn, stmt, out, why);
	return rc == RC_NOT_FOUND ? rc_fail(rc, why, "no event %ju", (uintmax_t)number) : rc;
}

enum rc catalog_event_ordinal(struct catalog_conn *conn, int64_t dir, uint32_t ordinal,
			      struct catalog_event *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_ORDINAL,
					  "SELECT " COLUMNS
					  " FROM events WHERE dir = ? AND ordinal = ?");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, ordinal);
	enum rc rc = take_one(conn, stmt, out, why);
	return rc == RC_NOT_FOUND
		       ? rc_fail(rc, why, "no event under the ordinal %ju", (uintmax_t)ordinal)
		       : rc;
}

enum rc catalog_event_list(struct catalog_conn *conn, int64_t dir, uint64_t number, unsigned fork,
			   struct catalog_event *out, size_t max, size_t *n_r, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_LIST,
					  "SELECT " COLUMNS
					  " FROM events WHERE dir = ?1 AND (number, fork) > (?2, "
					  "?3) ORDER BY number, fork LIMIT ?4");
	bind_place(stmt, dir, number, fork);
	sqlite3_bind_int64(stmt, 4, (int64_t)max);
	return take_all(conn, stmt, out, n_r, why);
}

enum rc catalog_event_after_ordinal(struct catalog_conn *conn, int64_t dir, uint32_t ordinal,
				    struct catalog_event *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_AFTER_ORDINAL, "SELECT " COLUMNS
		" FROM events WHERE dir = ? AND ordinal > ? ORDER BY ordinal LIMIT 1");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, ordinal);
	return take_one(conn, stmt, out, why);
}

enum rc catalog_event_texts(struct catalog_conn *conn, int64_t dir, uint64_t number, unsigned fork,
			    struct buf *event_id, struct buf *key, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_TEXTS,
		"SELECT event_id, key FROM events WHERE dir = ? AND number = ? AND fork = ?");
	bind_place(stmt, dir, number, fork);
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc == RC_NOT_FOUND)
		return rc_fail(rc, why, "no event %ju", (uintmax_t)number);
	if (rc != RC_OK)
		return rc;
	if (event_id)
		buf_add(event_id, sqlite3_column_text(stmt, 0),
			(size_t)sqlite3_column_bytes(stmt, 0));
	if (key && sqlite3_column_type(stmt, 1) != SQLITE_NULL)
		buf_add(key, sqlite3_column_text(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1));
	sqlite3_reset(stmt);
	return RC_OK;
}

/* The first event with this number or a higher one. */
static enum rc first_from(struct catalog_conn *conn, int64_t dir, uint64_t number,
			  struct catalog_event *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_FROM, "SELECT " COLUMNS
		" FROM events WHERE dir = ? AND number >= ? ORDER BY number, fork LIMIT 1");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, (int64_t)number);
	return take_one(conn, stmt, out, why);
}

/* The last event before (number, fork). */
static enum rc last_before(struct catalog_conn *conn, int64_t dir, uint64_t number, unsigned fork,
			   struct catalog_event *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_BEFORE,
					  "SELECT " COLUMNS
					  " FROM events WHERE dir = ?1 AND (number, fork) < (?2, "
					  "?3) ORDER BY number DESC, fork DESC LIMIT 1");
	bind_place(stmt, dir, number, fork);
	return take_one(conn, stmt, out, why);
}

enum rc catalog_event_at(struct catalog_conn *conn, const struct catalog_dir *dir, uint64_t offset,
			 struct catalog_event *out, struct why *why)
{
	/*
	 * the least number from which on the first event's line ends behind offset: it is there,
	 * or just behind the one looked for
	 */
	uint64_t low = 0, high = dir->head;
	struct catalog_event e;
	enum rc rc;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		rc = first_from(conn, dir->row, middle, &e, why);
		if (rc != RC_OK)
			return rc;
		if (e.line_end > offset)
			high = middle;
		else
			low = e.number + 1;
	}
	/* forks: the line may end with one of the number before */
	rc = last_before(conn, dir->row, low, 0, &e, why);
	uint64_t number = rc == RC_OK ? e.number : low;
	unsigned fork = 0;
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;
	for (;;) {
		size_t n;
		rc = catalog_event_list(conn, dir->row, number, fork, &e, 1, &n, why);
		if (rc != RC_OK)
			return rc;
		if (!n)
			return RC_NOT_FOUND;
		if (e.line_end > offset) {
			*out = e;
			return RC_OK;
		}
		number = e.number;
		fork = e.fork;
	}
}

/* Move the lines behind (number, fork) by so many bytes; the kept text from offset on is void. */
static enum rc shift_lines(struct catalog_conn *conn, struct catalog_dir *dir, uint64_t number,
			   unsigned fork, int64_t by, uint64_t offset, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_SHIFT,
					  "UPDATE events SET line_end = line_end + ?4 WHERE dir = "
					  "?1 AND (number, fork) > (?2, ?3)");
	bind_place(stmt, dir->row, number, fork);
	sqlite3_bind_int64(stmt, 4, by);
	enum rc rc = catalog_run(conn, stmt, why);
	dir->epoch++;
	return rc == RC_OK ? catalog_segment_drop(conn, dir->row, offset / CATALOG_PART, why) : rc;
}

static enum rc insert(struct catalog_conn *conn, const struct catalog_dir *dir,
		      const struct catalog_new *e, unsigned fork, uint64_t line_end,
		      struct why *why)
{
	int64_t type = 0;
	enum rc rc = catalog_type_number(conn, e->event_type, &type, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_EVENT_ADD,
		"INSERT INTO events(" COLUMNS
		", event_id, key) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	bind_place(stmt, dir->row, e->number, fork);
	sqlite3_bind_int64(stmt, 4, dir->next_ordinal);
	sqlite3_bind_int64(stmt, 5, type);
	sqlite3_bind_int64(stmt, 6, (int64_t)e->size);
	sqlite3_bind_int64(stmt, 7, e->occurred);
	sqlite3_bind_int64(stmt, 8, e->recorded);
	sqlite3_bind_int(stmt, 9, e->settled);
	sqlite3_bind_int64(stmt, 10, (int64_t)line_end);
	sqlite3_bind_text(stmt, 11, e->event_id, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 12, e->key, -1, SQLITE_STATIC);
	return catalog_run(conn, stmt, why);
}

enum rc catalog_event_add(struct catalog_conn *conn, struct catalog_dir *dir,
			  const struct catalog_new *e, bool *moved_r, struct why *why)
{
	uint64_t line = e->size + 1, start = dir->stream_size;
	unsigned fork = 1;
	bool moved = false;
	enum rc rc;
	if (dir->next_ordinal > ORDINAL_MAX)
		return rc_fail(RC_TOO_LARGE, why, "'%s/%s' has more events than can be shown",
			       dir->type, dir->id);

	if (e->number <= dir->head) {
		struct catalog_event before;
		rc = last_before(conn, dir->row, e->number + 1, 0, &before, why);
		if (rc != RC_OK && rc != RC_NOT_FOUND)
			return rc;
		start = rc == RC_OK ? before.line_end : 0;
		if (rc == RC_OK && before.number == e->number)
			fork = before.fork + 1;
		if (start < dir->stream_size) {
			moved = true;
			rc = shift_lines(conn, dir, e->number, fork, (int64_t)line, start, why);
			if (rc != RC_OK)
				return rc;
		}
	}
	rc = insert(conn, dir, e, fork, start + line, why);
	if (rc != RC_OK)
		return rc;
	dir->next_ordinal++;
	dir->events++;
	dir->stream_size += line;
	dir->stream = true;
	if (e->number > dir->head)
		dir->head = e->number;
	if (e->occurred > dir->mtime)
		dir->mtime = e->occurred;
	if (e->recorded > dir->ctime)
		dir->ctime = e->recorded;
	if (moved_r)
		*moved_r = moved;
	return RC_OK;
}

enum rc catalog_event_settle(struct catalog_conn *conn, int64_t dir, uint64_t number,
			     struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_EVENT_SETTLE,
		"UPDATE events SET settled = 1 WHERE dir = ? AND number = ? AND fork = 1");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, (int64_t)number);
	return catalog_run(conn, stmt, why);
}

/* Head and times, after something was removed. */
static enum rc look_again(struct catalog_conn *conn, struct catalog_dir *dir, struct why *why)
{
	struct catalog_event last;
	enum rc rc = last_before(conn, dir->row, INT64_MAX, 0, &last, why);
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;
	dir->head = rc == RC_OK ? last.number : 0;
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_EVENT_TIMES,
		"SELECT max(occurred), max(recorded) FROM events WHERE dir = ?");
	sqlite3_bind_int64(stmt, 1, dir->row);
	rc = catalog_step(conn, stmt, why);
	if (rc != RC_OK)
		return rc;
	dir->mtime = sqlite3_column_int64(stmt, 0);
	dir->ctime = sqlite3_column_int64(stmt, 1);
	sqlite3_reset(stmt);
	return RC_OK;
}

static enum rc remove_row(struct catalog_conn *conn, struct catalog_dir *dir,
			  const struct catalog_event *e, struct why *why)
{
	uint64_t line = e->size + 1;
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_EVENT_REMOVE,
		"DELETE FROM events WHERE dir = ? AND number = ? AND fork = ?");
	bind_place(stmt, dir->row, e->number, e->fork);
	enum rc rc = catalog_run(conn, stmt, why);
	if (rc == RC_OK)
		rc = shift_lines(conn, dir, e->number, e->fork, -(int64_t)line, e->line_end - line,
				 why);
	if (rc != RC_OK)
		return rc;
	dir->events--;
	dir->stream_size -= line;
	return RC_OK;
}

enum rc catalog_event_remove(struct catalog_conn *conn, struct catalog_dir *dir,
			     const struct catalog_event *e, struct why *why)
{
	enum rc rc = remove_row(conn, dir, e, why);
	return rc == RC_OK ? look_again(conn, dir, why) : rc;
}

enum rc catalog_event_drop_soft(struct catalog_conn *conn, struct catalog_dir *dir, uint64_t above,
				uint32_t below, size_t *n_r, struct why *why)
{
	struct catalog_event found[32];
	size_t n, dropped = 0;
	enum rc rc;
	if (PLANTED("keeps-what-is-not-firm"))
		return RC_OK;
	do {
		sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_SOFT,
						  "SELECT " COLUMNS
						  " FROM events WHERE dir = ?1 AND settled = 0"
						  " AND number > ?2 AND ordinal < ?3 ORDER BY "
						  "number DESC, fork DESC LIMIT ?4");
		bind_place(stmt, dir->row, above, below);
		sqlite3_bind_int64(stmt, 4, ARRAY_SIZE(found));
		rc = take_all(conn, stmt, found, &n, why);
		for (size_t i = 0; i < n && rc == RC_OK; i++)
			rc = remove_row(conn, dir, &found[i], why);
		dropped += n;
	} while (rc == RC_OK && n == ARRAY_SIZE(found));
	if (rc != RC_OK || !dropped)
		return rc;
	*n_r += dropped;
	return look_again(conn, dir, why);
}

enum rc catalog_event_next_soft(struct catalog_conn *conn, int64_t after, int64_t *row_r,
				struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_SOFT_DIRS,
		"SELECT dir FROM events WHERE settled = 0 AND dir > ? ORDER BY dir LIMIT 1");
	sqlite3_bind_int64(stmt, 1, after);
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc == RC_OK) {
		*row_r = sqlite3_column_int64(stmt, 0);
		sqlite3_reset(stmt);
	}
	return rc;
}

/* The index that only few askers need. */
static enum rc need_index(struct catalog *c, const char *sql, struct why *why)
{
	struct catalog_conn *conn;
	enum rc rc = catalog_write(c, &conn, why);
	if (rc != RC_OK)
		return rc;
	rc = catalog_exec(conn, sql, why);
	if (rc == RC_OK)
		return catalog_commit(c, conn, why);
	catalog_abandon(c, conn);
	return rc;
}

enum rc catalog_event_by_id(struct catalog *c, const char *event_id, struct catalog_event *out,
			    struct why *why)
{
	enum rc rc = need_index(c, "CREATE INDEX IF NOT EXISTS events_id ON events(event_id)", why);
	if (rc != RC_OK)
		return rc;
	struct catalog_conn *conn = catalog_read(c);
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_FIND_ID,
					  "SELECT " COLUMNS
					  " FROM events WHERE event_id = ? LIMIT 1");
	sqlite3_bind_text(stmt, 1, event_id, -1, SQLITE_STATIC);
	rc = take_one(conn, stmt, out, why);
	catalog_done(c, conn);
	return rc;
}

enum rc catalog_event_by_time(struct catalog *c, int64_t from_us, int64_t to_us,
			      const struct catalog_event *after, struct catalog_event *out,
			      size_t max, size_t *n_r, struct why *why)
{
	enum rc rc = need_index(
		c, "CREATE INDEX IF NOT EXISTS events_time ON events(recorded, dir, ordinal)", why);
	if (rc != RC_OK)
		return rc;
	struct catalog_conn *conn = catalog_read(c);
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_EVENT_TIME,
					  "SELECT " COLUMNS
					  " FROM events WHERE recorded >= ?1 AND recorded < ?2"
					  " AND (recorded, dir, ordinal) > (?3, ?4, ?5) ORDER BY "
					  "recorded, dir, ordinal LIMIT ?6");
	sqlite3_bind_int64(stmt, 1, from_us);
	sqlite3_bind_int64(stmt, 2, to_us);
	sqlite3_bind_int64(stmt, 3, after ? after->recorded : INT64_MIN);
	sqlite3_bind_int64(stmt, 4, after ? after->dir : 0);
	sqlite3_bind_int64(stmt, 5, after ? after->ordinal : 0);
	sqlite3_bind_int64(stmt, 6, (int64_t)max);
	rc = take_all(conn, stmt, out, n_r, why);
	catalog_done(c, conn);
	return rc;
}
