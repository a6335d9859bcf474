/* SPDX-License-Identifier: Apache-2.0 */
/* catalog-segment.c - kept parts of the text of streams. */
#include "config.h"
#include "store/catalog.h"

enum rc catalog_segment_get(struct catalog_conn *conn, int64_t dir, uint64_t offset,
			    uint64_t *part_r, uint64_t *start_r, struct buf *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(
		conn, CATALOG_SEGMENT_GET,
		"SELECT part, start, text FROM segments WHERE dir = ? AND part <= ? AND start <= ? "
		"ORDER BY part DESC LIMIT 1");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, (int64_t)(offset / CATALOG_PART));
	sqlite3_bind_int64(stmt, 3, (int64_t)offset);
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc != RC_OK)
		return rc;
	uint64_t start = (uint64_t)sqlite3_column_int64(stmt, 1);
	size_t len = (size_t)sqlite3_column_bytes(stmt, 2);
	if (offset - start >= len) {
		rc = RC_NOT_FOUND;	/* the next part is not kept */
	} else {
		*part_r = (uint64_t)sqlite3_column_int64(stmt, 0);
		*start_r = start;
		buf_add(out, sqlite3_column_blob(stmt, 2), len);
		rc = buf_failed(out) ? rc_fail(RC_NO_MEMORY, why,
					       "no memory for %zu bytes of a stream", len)
				     : RC_OK;
	}
	sqlite3_reset(stmt);
	return rc;
}

enum rc catalog_segment_add(struct catalog_conn *conn, int64_t dir, uint64_t part, uint64_t start,
			    const void *text, size_t len, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_SEGMENT_ADD,
					  "INSERT OR REPLACE INTO segments VALUES(?, ?, ?, ?)");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, (int64_t)part);
	sqlite3_bind_int64(stmt, 3, (int64_t)start);
	sqlite3_bind_blob64(stmt, 4, text, len, SQLITE_STATIC);
	return catalog_run(conn, stmt, why);
}

enum rc catalog_segment_drop(struct catalog_conn *conn, int64_t dir, uint64_t from_part,
			     struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_SEGMENT_DROP,
					  "DELETE FROM segments WHERE dir = ? AND part >= ?");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, (int64_t)from_part);
	return catalog_run(conn, stmt, why);
}
