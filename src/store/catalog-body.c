/* SPDX-License-Identifier: Apache-2.0 */
/* catalog-body.c - kept bodies of settled events; the oldest go when there are too many bytes of them. */
#include "config.h"
#include "store/catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

enum rc catalog_body_get(struct catalog_conn *conn, int64_t dir, uint32_t ordinal, struct buf *out, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_BODY_GET, "SELECT text FROM bodies WHERE dir = ? AND ordinal = ?");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, ordinal);
	enum rc rc = catalog_step(conn, stmt, why);
	if (rc != RC_OK)
		return rc;
	buf_add(out, sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
	sqlite3_reset(stmt);
	return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why, "no memory for an event") : RC_OK;
}

bool catalog_body_is_kept(struct catalog_conn *conn, int64_t dir, uint32_t ordinal)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_BODY_KEPT, "SELECT 1 FROM bodies WHERE dir = ? AND ordinal = ?");
	sqlite3_bind_int64(stmt, 1, dir);
	sqlite3_bind_int64(stmt, 2, ordinal);
	bool kept = catalog_step(conn, stmt, NULL) == RC_OK;
	sqlite3_reset(stmt);
	return kept;
}

static enum rc drop_oldest(struct catalog_conn *conn, uint64_t bytes, uint64_t *dropped_r, struct why *why)
{
	int64_t last = 0;
	enum rc rc = RC_OK;
	*dropped_r = 0;
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_BODY_OLD, "SELECT seq, length(text) FROM bodies ORDER BY seq");
	while (*dropped_r < bytes && (rc = catalog_step(conn, stmt, why)) == RC_OK) {
		last = sqlite3_column_int64(stmt, 0);
		*dropped_r += (uint64_t)sqlite3_column_int64(stmt, 1);
	}
	sqlite3_reset(stmt);
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;
	stmt = catalog_stmt(conn, CATALOG_BODY_DROP, "DELETE FROM bodies WHERE seq <= ?");
	sqlite3_bind_int64(stmt, 1, last);
	return catalog_run(conn, stmt, why);
}

static enum rc add_one(struct catalog_conn *conn, const struct catalog_body *b, uint64_t *added, struct why *why)
{
	sqlite3_stmt *stmt = catalog_stmt(conn, CATALOG_BODY_ADD, "INSERT OR IGNORE INTO bodies(dir, ordinal, text) VALUES(?, ?, ?)");
	sqlite3_bind_int64(stmt, 1, b->dir);
	sqlite3_bind_int64(stmt, 2, b->ordinal);
	sqlite3_bind_blob64(stmt, 3, b->text, b->len, SQLITE_STATIC);
	enum rc rc = catalog_run(conn, stmt, why);
	*added += b->len;
	return rc;
}

/* meta "bodies" counts their bytes, or a little more: one that was there is counted again. */
static enum rc count_bytes(struct catalog_conn *conn, uint64_t added, uint64_t limit, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char number[24];
	uint64_t dropped = 0;
	enum rc rc = catalog_meta_get(conn, "bodies", &text, why);
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;
	uint64_t bytes = strtoull(buf_text(&text), NULL, 10) + added;
	rc = RC_OK;
	if (bytes > limit)	/* more than came, so that it gets less */
		rc = drop_oldest(conn, 2 * added, &dropped, why);
	snprintf(number, sizeof(number), "%" PRIu64, dropped < bytes ? bytes - dropped : 0);
	return rc == RC_OK ? catalog_meta_set(conn, "bodies", number, why) : rc;
}

enum rc catalog_body_keep(struct catalog *c, const struct catalog_body *bodies, size_t n, uint64_t limit, struct why *why)
{
	struct catalog_conn *conn;
	uint64_t added = 0;
	enum rc rc = catalog_write(c, &conn, why);
	if (rc != RC_OK)
		return rc;
	for (size_t i = 0; i < n && rc == RC_OK; i++)
		rc = add_one(conn, &bodies[i], &added, why);
	if (rc == RC_OK)
		rc = count_bytes(conn, added, limit, why);
	if (rc == RC_OK)
		return catalog_commit(c, conn, why);
	catalog_abandon(c, conn);
	return rc;
}
