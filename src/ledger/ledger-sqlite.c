/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-sqlite.c - a ledger in an SQLite file: opening, reopening, transactions, checkpoints. */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"

#define READERS_MAX 16
#define WRITER_CACHE_KIB 4096
#define READER_CACHE_KIB 1024

static void close_all(struct ledger_sqlite *l)
{
	ledger_sqlite_conn_free(&l->writer);
	while (l->idle) {
		struct ledger_sqlite_conn *c = l->idle;
		l->idle = c->next;
		ledger_sqlite_conn_free(&c);
	}
	l->readers = 0;
	l->is_open = false;
}

static enum rc read_hot(struct ledger_sqlite_conn *c, struct ledger_sqlite_hot *hot,
			struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_HOT, &q, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_step(c, q, &row, why);
	if (rc != RC_OK)
		return rc;
	if (!row)
		return ledger_sqlite_conn_fail(c, SQLITE_CORRUPT, why);
	hot->seeding = (uint64_t)sqlite3_column_int64(q, 0);
	snprintf(hot->written, sizeof(hot->written), "%s", (const char *)sqlite3_column_text(q, 1));
	hot->floor_us = sqlite3_column_int64(q, 2);
	hot->suspect_below = (uint64_t)sqlite3_column_int64(q, 3);
	hot->complete = sqlite3_column_int(q, 4);
	hot->commits = (uint64_t)sqlite3_column_int64(q, 5);
	return RC_OK;
}

/* Under the file's lock. */
static enum rc open_locked(struct ledger_sqlite *l, struct why *why)
{
	struct ledger_sqlite_hot hot;
	enum rc rc = ledger_sqlite_file_prepare(&l->file, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_new(&l->writer, l->file.path, WRITER_CACHE_KIB,
					    &l->wal_pages, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_schema_check(l->writer, l->uuid, why);
	if (rc == RC_OK)	/* a copy may have been made into another mode */
		rc = ledger_sqlite_conn_exec(l->writer, "PRAGMA journal_mode = WAL", why);
	if (rc == RC_OK)
		rc = read_hot(l->writer, &hot, why);
	if (rc != RC_OK)
		return rc;
	char before[LEDGER_IDENTITY_MAX];
	memcpy(before, l->file.identity, sizeof(before));
	rc = ledger_sqlite_file_opened(&l->file, hot.commits, why);
	if (rc == RC_OK && strcmp(before, l->file.identity))
		l->seen = hot.commits;
	return rc;
}

/* conns_lock is held for writing. */
static enum rc open_all(struct ledger_sqlite *l, struct why *why)
{
	enum rc rc = ledger_sqlite_file_attach(&l->file, why);
	if (rc != RC_OK)
		return rc;
	if (!ledger_sqlite_file_lock(&l->file, true))
		return rc_fail(RC_TEMPORARY, why, "can't lock '%s': %s", l->file.card_path,
			       strerror(errno));
	rc = open_locked(l, why);
	ledger_sqlite_file_unlock(&l->file);
	l->is_open = rc == RC_OK;
	l->wal_pages = 0;
	l->checkpoint_at = CHECKPOINT_PAGES;
	l->purge_after = 0;
	if (rc != RC_OK)
		close_all(l);
	return rc;
}

/* The file is not the one that was opened, or none was: open what is there. */
static enum rc renew(struct ledger_sqlite *l, struct why *why)
{
	uint64_t highest;
	enum rc rc = RC_OK;
	pthread_rwlock_wrlock(&l->conns_lock);
	if (!l->is_open || ledger_sqlite_file_check(&l->file, &highest) != FILE_SAME) {
		close_all(l);
		rc = open_all(l, why);
		if (rc == RC_NOT_FOUND)
			rc = RC_TEMPORARY; /* it may come back; ledger_state says it more exactly */
		else if (rc == RC_INVALID)
			rc = RC_CORRUPT;	/* another store's: no caller's input is wrong */
	}
	pthread_rwlock_unlock(&l->conns_lock);
	return rc;
}

/* RC_OK: conns_lock is held for reading and the connections are open. */
static enum rc enter(struct ledger_sqlite *l, struct why *why)
{
	for (int tries = 0; ; tries++) {
		pthread_rwlock_rdlock(&l->conns_lock);
		if (l->is_open)
			return RC_OK;
		pthread_rwlock_unlock(&l->conns_lock);
		enum rc rc = renew(l, why);
		if (rc != RC_OK)
			return rc;
		if (tries == 10)
			return rc_fail(RC_TEMPORARY, why, "the ledger '%s' changes all the time",
				       l->file.path);
	}
}

static void leave(struct ledger_sqlite *l)
{
	pthread_rwlock_unlock(&l->conns_lock);
}

static void saw(struct ledger_sqlite *l, uint64_t commits)
{
	uint64_t before = l->seen;
	while (before < commits && !atomic_compare_exchange_weak(&l->seen, &before, commits))
		;
}

static enum rc fence(const struct ledger_sqlite *l, const struct ledger_sqlite_hot *hot,
		     enum ledger_sqlite_need need, struct why *why)
{
	if (need == NEED_NOTHING || !strcmp(hot->written, l->file.identity))
		return RC_OK;
	return rc_fail(RC_FENCED, why,
		       hot->written[0] ? "the ledger '%s' is not the one that was seeded last"
				       : "the ledger '%s' must be seeded first",
		       l->file.path);
}

/* One try, with enter done. *again: look at the file anew. On failure no transaction is open. */
static enum rc write_try(struct ledger_sqlite *l, enum ledger_sqlite_need need, bool durable,
			 struct ledger_sqlite_hot *hot, bool *again, struct why *why)
{
	struct ledger_sqlite_conn *c = l->writer;
	uint64_t highest = 0;
	enum rc rc = ledger_sqlite_conn_lazy(c, !durable, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_conn_do(c, SQL_BEGIN_WRITE, why);
	/* also where it failed: the reason may be that the file is another */
	*again = ledger_sqlite_file_check(&l->file, &highest) != FILE_SAME;
	if (rc != RC_OK)
		return rc;
	if (!*again) {
		rc = read_hot(c, hot, why);
		uint64_t seen = l->seen;
		if (rc == RC_OK && hot->commits < (seen > highest ? seen : highest)) {
			/*
			 * an older state under the same identity: who sees it erases the written
			 * one
			 */
			rc = ledger_sqlite_conn_do(c, SQL_ERASE, why);
			if (rc == RC_OK)
				rc = ledger_sqlite_conn_do(c, SQL_COMMIT, why);
			if (rc == RC_OK) {
				l->seen = hot->commits;
				ledger_sqlite_file_saw(&l->file, hot->commits);
				*again = true;
				return RC_OK;
			}
		}
		if (rc == RC_OK)
			rc = fence(l, hot, need, why);
		if (rc == RC_OK) {
			saw(l, hot->commits);
			return RC_OK;
		}
	}
	if (!sqlite3_get_autocommit(c->db) && ledger_sqlite_conn_do(c, SQL_ROLLBACK, NULL) != RC_OK)
		*again = true;
	return rc;
}

enum rc ledger_sqlite_write_begin(struct ledger_sqlite *l, enum ledger_sqlite_need need,
				  bool durable, struct ledger_sqlite_conn **c,
				  struct ledger_sqlite_hot *hot, struct why *why)
{
	for (int tries = 0; ; tries++) {
		bool again = false;
		enum rc rc = enter(l, why);
		if (rc != RC_OK)
			return rc;
		pthread_mutex_lock(&l->writer_lock);
		rc = write_try(l, need, durable, hot, &again, why);
		if (rc == RC_OK && !again) {
			*c = l->writer;
			return RC_OK;
		}
		pthread_mutex_unlock(&l->writer_lock);
		leave(l);
		if (!again)
			return rc;
		if (tries == 10)
			return rc_fail(RC_TEMPORARY, why, "the ledger '%s' changes all the time",
				       l->file.path);
		rc = renew(l, why);
		if (rc != RC_OK)
			return rc;
	}
}

enum rc ledger_sqlite_write_end(struct ledger_sqlite *l, enum rc rc, uint64_t commits,
				struct why *why)
{
	struct ledger_sqlite_conn *c = l->writer;
	if (rc == RC_OK) {
		rc = ledger_sqlite_conn_do(c, SQL_COMMIT, why);
		/*
		 * the pages may have reached the disk whole, and count if this process dies before
		 * it writes over them
		 */
		if (rc == RC_TEMPORARY)
			rc = RC_UNCERTAIN;
		if (rc == RC_OK && commits > l->seen) {
			saw(l, commits);
			ledger_sqlite_file_saw(&l->file, commits);
		}
	}
	bool stuck = !sqlite3_get_autocommit(c->db) &&
		     ledger_sqlite_conn_do(c, SQL_ROLLBACK, NULL) != RC_OK &&
		     !sqlite3_get_autocommit(c->db);
	pthread_mutex_unlock(&l->writer_lock);
	leave(l);
	if (stuck) {	/* a connection that can't roll back is of no more use */
		pthread_rwlock_wrlock(&l->conns_lock);
		close_all(l);
		pthread_rwlock_unlock(&l->conns_lock);
	}
	return rc;
}

static enum rc reader_get(struct ledger_sqlite *l, struct ledger_sqlite_conn **out, struct why *why)
{
	pthread_mutex_lock(&l->idle_lock);
	while (!l->idle && l->readers == READERS_MAX)
		pthread_cond_wait(&l->idle_cond, &l->idle_lock);
	struct ledger_sqlite_conn *c = l->idle;
	if (c)
		l->idle = c->next;
	else
		l->readers++;
	pthread_mutex_unlock(&l->idle_lock);
	if (c) {
		*out = c;
		return RC_OK;
	}
	enum rc rc =
		ledger_sqlite_conn_new(out, l->file.path, READER_CACHE_KIB, &l->wal_pages, why);
	if (rc != RC_OK) {
		pthread_mutex_lock(&l->idle_lock);
		l->readers--;
		pthread_cond_signal(&l->idle_cond);
		pthread_mutex_unlock(&l->idle_lock);
	}
	return rc;
}

static void reader_put(struct ledger_sqlite *l, struct ledger_sqlite_conn *c)
{
	if (!sqlite3_get_autocommit(c->db) && ledger_sqlite_conn_do(c, SQL_COMMIT, NULL) != RC_OK) {
		ledger_sqlite_conn_free(&c);
		pthread_mutex_lock(&l->idle_lock);
		l->readers--;
	} else {
		pthread_mutex_lock(&l->idle_lock);
		c->next = l->idle;
		l->idle = c;
	}
	pthread_cond_signal(&l->idle_cond);
	pthread_mutex_unlock(&l->idle_lock);
}

/* One try, with enter done and a reader taken. *older: somebody must erase the written identity. */
static enum rc snapshot_try(struct ledger_sqlite *l, enum ledger_sqlite_need need,
			    struct ledger_sqlite_conn *c, struct ledger_sqlite_hot *hot,
			    bool *again, bool *older, struct why *why)
{
	uint64_t highest, seen = l->seen;	/* before the snapshot, which must not be older */
	*again = ledger_sqlite_file_check(&l->file, &highest) != FILE_SAME;
	if (*again)
		return RC_OK;
	enum rc rc = ledger_sqlite_conn_do(c, SQL_BEGIN, why);
	if (rc == RC_OK)
		rc = read_hot(c, hot, why);
	if (rc != RC_OK)
		return rc;
	*older = hot->commits < (seen > highest ? seen : highest);
	if (*older)
		return RC_OK;
	saw(l, hot->commits);
	return fence(l, hot, need, why);
}

enum rc ledger_sqlite_snapshot_begin(struct ledger_sqlite *l, enum ledger_sqlite_need need,
				     struct ledger_sqlite_conn **c, struct ledger_sqlite_hot *hot,
				     struct why *why)
{
	for (int tries = 0; ; tries++) {
		bool again = false, older = false;
		enum rc rc = enter(l, why);
		if (rc != RC_OK)
			return rc;
		rc = reader_get(l, c, why);
		if (rc != RC_OK) {
			leave(l);
			return rc;
		}
		rc = snapshot_try(l, need, *c, hot, &again, &older, why);
		if (rc == RC_OK && !again && !older)
			return RC_OK;
		reader_put(l, *c);
		leave(l);
		if (rc != RC_OK)
			return rc;
		if (tries == 10)
			return rc_fail(RC_TEMPORARY, why, "the ledger '%s' changes all the time",
				       l->file.path);
		if (again) {
			rc = renew(l, why);
		} else {
			struct ledger_sqlite_conn *w;
			/* erases it */
			rc = ledger_sqlite_write_begin(l, NEED_NOTHING, false, &w, hot, why);
			if (rc == RC_OK)
				rc = ledger_sqlite_write_end(l, RC_OK, 0, why);
		}
		if (rc != RC_OK)
			return rc;
	}
}

void ledger_sqlite_snapshot_end(struct ledger_sqlite *l, struct ledger_sqlite_conn *c)
{
	reader_put(l, c);
	leave(l);
}

/*
 * First while others write, which does nearly all; then with the writers kept out, so that nothing
 * is left and the next commit starts the -wal at its beginning. It is written over and never cut:
 * syncing a file that does not grow costs half.
 */
static void checkpoint_locked(struct ledger_sqlite *l, struct ledger_sqlite_conn *c)
{
	if (ledger_sqlite_file_checkpoint_begin(&l->file, NULL) != RC_OK)
		return;
	sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	pthread_mutex_lock(&l->writer_lock);
	c->patience_ms = 10;
	int code = sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
	c->patience_ms = 5000;
	int pages = l->wal_pages;
	if (code == SQLITE_OK)
		l->wal_pages = 0;
	/* a reader, or another process, was in the way: not again at once */
	l->checkpoint_at = code == SQLITE_OK
				   ? CHECKPOINT_PAGES
				   : (pages > CHECKPOINT_PAGES ? pages : CHECKPOINT_PAGES) + 1024;
	pthread_mutex_unlock(&l->writer_lock);
	FAILPOINT("ledger-checkpoint");
	ledger_sqlite_file_checkpoint_end(&l->file);
}

void ledger_sqlite_tidy(struct ledger_sqlite *l, int pages)
{
	int due = l->checkpoint_at - CHECKPOINT_PAGES + pages;
	if (l->wal_pages < due && !l->file.interrupted)
		return;
	struct ledger_sqlite_conn *c;
	if (enter(l, NULL) != RC_OK)
		return;
	if (reader_get(l, &c, NULL) == RC_OK) {
		if (ledger_sqlite_file_lock(&l->file, false)) {
			checkpoint_locked(l, c);
			ledger_sqlite_file_unlock(&l->file);
		}
		reader_put(l, c);
	}
	leave(l);
}

static void destroy(struct ledger *base)
{
	struct ledger_sqlite *l = container_of(base, struct ledger_sqlite, base);
	if (l->is_open && ledger_sqlite_file_alone(&l->file))
		ledger_sqlite_tidy(l, 1);	/* so that the main file alone is a whole backup */
	close_all(l);
	ledger_sqlite_file_release(&l->file);
	pthread_rwlock_destroy(&l->conns_lock);
	pthread_mutex_destroy(&l->writer_lock);
	pthread_mutex_destroy(&l->idle_lock);
	pthread_cond_destroy(&l->idle_cond);
	free(l);
}

static const struct ledger_ops sqlite_ops = {
	.name = "sqlite",
	.append = ledger_sqlite_append_events,
	.claim = ledger_sqlite_claim_rows,
	.settle = ledger_sqlite_claim_settle,
	.read = ledger_sqlite_read_rows,
	.state = ledger_sqlite_read_state,
	.seed = ledger_sqlite_seed_write,
	.reseed = ledger_sqlite_reseed_stream,
	.destroy = destroy,
};

enum rc ledger_sqlite_open(struct ledger **out, const char *path, const char *uuid, struct why *why)
{
	_cleanup_(ledger_freep) struct ledger *base = NULL;
	struct ledger_sqlite *l = calloc(1, sizeof(*l));
	if (!l)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	l->base.ops = &sqlite_ops;
	base = &l->base;
	pthread_rwlockattr_t writers_first;
	pthread_rwlockattr_init(&writers_first);
	pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&l->conns_lock, &writers_first);
	pthread_rwlockattr_destroy(&writers_first);
	pthread_mutex_init(&l->writer_lock, NULL);
	pthread_mutex_init(&l->idle_lock, NULL);
	pthread_cond_init(&l->idle_cond, NULL);
	snprintf(l->uuid, sizeof(l->uuid), "%s", uuid);
	enum rc rc = ledger_sqlite_file_init(&l->file, path, why);
	if (rc == RC_OK)
		rc = access(path, F_OK) && errno == ENOENT
			     ? rc_fail(RC_NOT_FOUND, why, "no ledger '%s'", path)
			     : open_all(l, why);
	if (rc != RC_OK)
		return rc;
	*out = TAKE_PTR(base);
	return RC_OK;
}

/*
 * Make it beside, then put it into place: nobody sees a half-made ledger, and an old -wal is not
 * taken for its own.
 */
static enum rc create(struct ledger_sqlite_file *f, const char *made, const char *uuid,
		      struct why *why)
{
	enum rc rc = ledger_sqlite_schema_make(made, uuid, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_file_attach(f, why);
	if (rc != RC_OK)
		return rc;
	if (!ledger_sqlite_file_lock(f, true))
		return rc_fail(RC_TEMPORARY, why, "can't lock '%s': %s", f->card_path,
			       strerror(errno));
	rc = ledger_sqlite_file_install(f, made, why);
	ledger_sqlite_file_unlock(f);
	return rc;
}

enum rc ledger_sqlite_create(const char *path, const char *uuid, struct why *why)
{
	if (!access(path, F_OK))
		return rc_fail(RC_EXISTS, why, "there is a ledger '%s' already", path);
	char name[37];
	clock_uuid(name);
	_cleanup_(freep) char *made = malloc(strlen(path) + sizeof(name) + 1);
	if (!made)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	sprintf(made, "%s-%s", path, name);

	struct ledger_sqlite_file f = { .fd = -1 };
	enum rc rc = ledger_sqlite_file_init(&f, path, why);
	if (rc == RC_OK)
		rc = create(&f, made, uuid, why);
	unlink(made);
	ledger_sqlite_file_release(&f);
	return rc;
}

/* ---- rows that several calls use ---- */

enum rc ledger_sqlite_stream_find(struct ledger_sqlite_conn *c, const char *type, const char *id,
				  struct ledger_sqlite_stream *out, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_STREAM_FIND, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_text(q, 1, type, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, id, -1, SQLITE_STATIC);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	out->stream = row ? sqlite3_column_int64(q, 0) : 0;
	out->mark = row ? (uint64_t)sqlite3_column_int64(q, 1) : 0;
	return rc;
}

enum rc ledger_sqlite_stream_last(struct ledger_sqlite_conn *c, int64_t stream, uint64_t *last_r,
				  int64_t *recorded_us_r, struct why *why)
{
	_cleanup_(ledger_sqlite_conn_done) sqlite3_stmt *q = NULL;
	bool row = false;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_EVENT_LAST, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, stream);
	rc = ledger_sqlite_conn_step(c, q, &row, why);
	uint64_t number = row ? (uint64_t)sqlite3_column_int64(q, ROW_NUMBER) : 0;
	uint64_t span = row ? (uint64_t)sqlite3_column_int64(q, ROW_SPAN) : 0;
	*last_r = number + (span ? span - 1 : 0);
	*recorded_us_r = row ? sqlite3_column_int64(q, ROW_RECORDED) : 0;
	return rc;
}

enum rc ledger_sqlite_stream_new(struct ledger_sqlite_conn *c, const char *type, const char *id,
				 uint64_t mark, int64_t *stream_r, struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_STREAM_NEW, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_text(q, 1, type, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, id, -1, SQLITE_STATIC);
	sqlite3_bind_int64(q, 3, (int64_t)mark);
	rc = ledger_sqlite_conn_run(c, q, why);
	*stream_r = sqlite3_last_insert_rowid(c->db);
	return rc;
}

enum rc ledger_sqlite_event_put(struct ledger_sqlite_conn *c, const struct ledger_sqlite_event *e,
				struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_EVENT_NEW, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_clear_bindings(q);
	sqlite3_bind_int64(q, 1, e->stream);
	sqlite3_bind_int64(q, 2, (int64_t)e->number);
	sqlite3_bind_int64(q, 3, (int64_t)e->span);
	sqlite3_bind_int64(q, 8, e->recorded_us);
	if (e->event_id) {
		ledger_sqlite_conn_bind_id(q, 4, e->event_id);
		sqlite3_bind_text(q, 5, e->event_type, -1, SQLITE_STATIC);
		sqlite3_bind_int64(q, 6, (int64_t)e->size);
		if (e->occurred_us != e->recorded_us)
			sqlite3_bind_int64(q, 7, e->occurred_us);
		if (e->body)
			sqlite3_bind_int64(q, 9, e->body);
		sqlite3_bind_blob(q, 10, e->digest, LEDGER_DIGEST_LEN, SQLITE_STATIC);
	}
	return ledger_sqlite_conn_run(c, q, why);
}

enum rc ledger_sqlite_open_put(struct ledger_sqlite_conn *c, const struct ledger_sqlite_event *e,
			       int64_t lease_until, bool expected, struct why *why)
{
	sqlite3_stmt *q = NULL;
	enum rc rc = ledger_sqlite_conn_sql(c, SQL_OPEN_NEW, &q, why);
	if (rc != RC_OK)
		return rc;
	sqlite3_bind_int64(q, 1, e->stream);
	sqlite3_bind_int64(q, 2, (int64_t)e->number);
	sqlite3_bind_int64(q, 3, e->recorded_us);
	sqlite3_bind_int64(q, 4, lease_until);
	sqlite3_bind_int(q, 5, expected);
	return ledger_sqlite_conn_run(c, q, why);
}
