/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to ledger-sqlite*.c: the parts of the SQLite ledger and what they share.
 *
 *   ledger-sqlite-file.c	which file this is, and whether it still is the one that was opened
 *   ledger-sqlite-conn.c	one connection: statements, errors, columns
 *   ledger-sqlite-schema.c	the tables; make a ledger, check one
 *   ledger-sqlite.c		open, renew, transactions, checkpoints
 *   -append.c, -claim.c, -read.c, -horizon.c, -seed.c, -reseed.c	the calls of ledger.h
 *
 * Locks, in the order in which they are taken: conns_lock, the file's lock, writer_lock, idle_lock.
 */
#ifndef EVFS_LEDGER_LEDGER_SQLITE_H
#define EVFS_LEDGER_LEDGER_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/rc.h"
#include "ledger/ledger.h"

/* ---- the file ---- */

/*
 * What all processes know of the ledger's file, kept beside it in ledger.file: which file the -wal
 * and -shm belong to, and what its content was when evfs last wrote it. The main file is written by
 * our own checkpoints only, so any other change means that it was replaced.
 */
struct ledger_sqlite_card {
	uint64_t magic;
	uint64_t dev, ino;	/* of ledger.db */
	int64_t mtime_ns;
	uint64_t size;
	uint64_t base;		/* the commit counter that the main file alone, without -wal, has */
	uint64_t stamp;		/* changes with a replacement, also where dev and ino don't tell */
	uint64_t commits;	/* the highest commit counter that anyone saw, or a little less */
	uint64_t wal_ino;	/* the -wal that belongs to it */
	uint64_t checkpointing;	/* a checkpoint was begun, not finished; its process may be dead */
};

struct ledger_sqlite_file {
	char *path, *wal, *shm, *card_path;
	pthread_mutex_t mutex;	/* the threads' part of the file's lock; fd has the processes' */
	int fd;			/* ledger.file, -1: not attached */
	uint64_t dev, ino, wal_ino, stamp;
	atomic_bool interrupted;	/* the process of a checkpoint died: another one is due */
	bool known;		/* set by prepare: the content goes on from what the card says */
	uint64_t commits;	/* and has at least these: others go on committing meanwhile */
	struct ledger_sqlite_card last;	/* all that is known when the card is removed */
	char identity[LEDGER_IDENTITY_MAX];
};

enum ledger_sqlite_file_is { FILE_SAME, FILE_CHANGED, FILE_GONE };

enum rc ledger_sqlite_file_init(struct ledger_sqlite_file *f, const char *path,
				struct why *why) _must_check_;
void ledger_sqlite_file_release(struct ledger_sqlite_file *f);
/*
 * Open ledger.file (made if missing) and stand in it as one who has the ledger open. Again if it
 * was removed.
 */
enum rc ledger_sqlite_file_attach(struct ledger_sqlite_file *f, struct why *why) _must_check_;
/* Exclusive over threads and processes. wait false: false is returned if somebody has it. */
bool ledger_sqlite_file_lock(struct ledger_sqlite_file *f, bool wait);
void ledger_sqlite_file_unlock(struct ledger_sqlite_file *f);
/* Locked, before a connection is opened: drop a -wal that belongs to other content. RC_NOT_FOUND.
 */
enum rc ledger_sqlite_file_prepare(struct ledger_sqlite_file *f, struct why *why) _must_check_;
/*
 * Locked, after the first read: this is the file from now on. RC_TEMPORARY: it was replaced
 * meanwhile.
 */
enum rc ledger_sqlite_file_opened(struct ledger_sqlite_file *f, uint64_t commits,
				  struct why *why) _must_check_;
/* Locked: make the file `made` the ledger, with no -wal. RC_EXISTS. */
enum rc ledger_sqlite_file_install(struct ledger_sqlite_file *f, const char *made,
				   struct why *why) _must_check_;
/*
 * Is the path still the file that was opened, with the content that evfs gave it? Some system
 * calls, no waiting. *highest_r: the highest commit counter that anyone wrote down.
 */
enum ledger_sqlite_file_is ledger_sqlite_file_check(struct ledger_sqlite_file *f,
						    uint64_t *highest_r);
/* Write a commit counter down, for other processes. */
void ledger_sqlite_file_saw(struct ledger_sqlite_file *f, uint64_t commits);
bool ledger_sqlite_file_alone(struct ledger_sqlite_file *f);
/* Locked, around a checkpoint. */
enum rc ledger_sqlite_file_checkpoint_begin(struct ledger_sqlite_file *f,
					    struct why *why) _must_check_;
void ledger_sqlite_file_checkpoint_end(struct ledger_sqlite_file *f);

/* ---- a connection ---- */

enum ledger_sqlite_sql {
	SQL_BEGIN, SQL_BEGIN_WRITE, SQL_COMMIT, SQL_ROLLBACK,
	SQL_HOT, SQL_ERASE, SQL_SEED, SQL_COMPLETE,
	SQL_STREAM_FIND, SQL_STREAM_GET, SQL_STREAM_NEW, SQL_STREAM_MARK,
	SQL_STREAM_COUNT, SQL_STREAM_LIST, SQL_STREAM_UNSEEDED,
	SQL_EVENT_ID, SQL_EVENT_ANY_ID, SQL_EVENT_GET, SQL_EVENT_LAST, SQL_EVENT_UPTO,
	SQL_EVENT_NEW, SQL_EVENT_DELETE, SQL_EVENT_LIST, SQL_EVENT_TIME,
	SQL_VOID_LIST, SQL_VOID_TRIM,
	SQL_OPEN_NEW, SQL_OPEN_GET, SQL_OPEN_DELETE, SQL_OPEN_FIRST, SQL_OPEN_LIST,
	SQL_OPEN_DUE, SQL_OPEN_ANY_DUE, SQL_OPEN_LEASE, SQL_OPEN_COUNT,
	SQL_FLOOR, SQL_EVENT_LATEST, SQL_OPEN_LATE, SQL_OPEN_HOLDS, SQL_OPEN_SOME,
	SQL_LEASE_TABLE, SQL_LEASE_GET, SQL_LEASE_SET,
	SQL_BODY_NEW, SQL_BODY_GET, SQL_BODY_FIRST, SQL_BODY_MOVE, SQL_BODY_OLD, SQL_BODY_DELETE,
	SQL_COUNT,
};

/* The columns with which every statement that reads events begins. */
enum {
	ROW_NUMBER, ROW_SPAN, ROW_EVENT_ID, ROW_EVENT_TYPE, ROW_SIZE, ROW_OCCURRED, ROW_RECORDED,
	ROW_BODY, ROW_STREAM, ROW_DIGEST, ROW_MORE,
};

struct ledger_sqlite_conn {
	sqlite3 *db;
	sqlite3_stmt *stmts[SQL_COUNT];
	const char *path;		/* for reasons */
	unsigned patience_ms;		/* how long to wait for another process */
	bool lazy; /* commits are not synced: the next synced one makes them durable with itself */
	_Atomic int *wal_pages;		/* told after each commit */
	struct ledger_sqlite_conn *next;
};

enum rc ledger_sqlite_conn_new(struct ledger_sqlite_conn **out, const char *path, int cache_kib,
			       _Atomic int *wal_pages, struct why *why) _must_check_;
void ledger_sqlite_conn_free(struct ledger_sqlite_conn **c);
/* What SQLite's code means for the caller, with a reason. */
enum rc ledger_sqlite_conn_fail(const struct ledger_sqlite_conn *c, int code,
				struct why *why) _must_check_;
/*
 * Changes with each commit of any process (and else): the head of -shm, as the connection has it mapped. Opening that file and closing it
 * again would take all of SQLite's locks on it from this process. 0: it can't be known.
 */
uint64_t ledger_sqlite_conn_point(struct ledger_sqlite_conn *c);
/* The cached statement, reset. Give it back with _cleanup_(ledger_sqlite_conn_done). */
enum rc ledger_sqlite_conn_sql(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql,
			       sqlite3_stmt **q, struct why *why) _must_check_;
void ledger_sqlite_conn_done(sqlite3_stmt **q);
/* One step: *row says whether there is a row. */
enum rc ledger_sqlite_conn_step(struct ledger_sqlite_conn *c, sqlite3_stmt *q, bool *row,
				struct why *why) _must_check_;
/* A statement without rows, to its end. */
enum rc ledger_sqlite_conn_run(struct ledger_sqlite_conn *c, sqlite3_stmt *q,
			       struct why *why) _must_check_;
/* A statement without parameters or rows. */
enum rc ledger_sqlite_conn_do(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql,
			      struct why *why) _must_check_;
enum rc ledger_sqlite_conn_exec(struct ledger_sqlite_conn *c, const char *text,
				struct why *why) _must_check_;
/* A statement with parameters (stream, number) and no rows. */
enum rc ledger_sqlite_conn_at(struct ledger_sqlite_conn *c, enum ledger_sqlite_sql sql, int64_t stream,
			      uint64_t number, struct why *why) _must_check_;
enum rc ledger_sqlite_conn_lazy(struct ledger_sqlite_conn *c, bool lazy, struct why *why) _must_check_;

/* Event ids that are UUIDs in lower case take 16 bytes. The text stays valid as long as id. */
struct ledger_sqlite_id {
	char text[37];
};
bool ledger_sqlite_conn_is_uuid(const char *id);
void ledger_sqlite_conn_bind_id(sqlite3_stmt *q, int at, const char *id);
const char *ledger_sqlite_conn_id(sqlite3_stmt *q, int column, struct ledger_sqlite_id *id);

/* ---- the tables ---- */

/* Make a ledger at path, which must not exist. */
enum rc ledger_sqlite_schema_make(const char *path, const char *uuid, struct why *why) _must_check_;
/* Make the table of leases where it is missing, in a write transaction: older programs made none, and pass it over. */
enum rc ledger_sqlite_schema_leases(struct ledger_sqlite_conn *c, struct why *why) _must_check_;
/* RC_INVALID: no ledger of evfs, of another version, or of another store. */
enum rc ledger_sqlite_schema_check(struct ledger_sqlite_conn *c, const char *uuid,
				   struct why *why) _must_check_;
/* The commit counter in the main file alone. */
enum rc ledger_sqlite_schema_base(const char *path, uint64_t *commits_r,
				  struct why *why) _must_check_;

/* ---- the ledger ---- */

struct ledger_sqlite {
	struct ledger base;
	char uuid[37];
	struct ledger_sqlite_file file;
	pthread_rwlock_t conns_lock;	/* read: use connections; write: open and close them */
	bool is_open;
	pthread_mutex_t writer_lock;
	struct ledger_sqlite_conn *writer;
	pthread_mutex_t idle_lock;
	pthread_cond_t idle_cond;
	struct ledger_sqlite_conn *idle;
	unsigned readers;		/* open, idle or not */
	_Atomic uint64_t seen;		/* the highest commit counter that this process saw */
	_Atomic int wal_pages;
	_Atomic int checkpoint_at;	/* pages of the -wal that make a checkpoint due */
	_Atomic int64_t purge_after;	/* where the next look for old bodies begins */
};

/* The row that every transaction looks at first. */
struct ledger_sqlite_hot {
	uint64_t seeding, commits, suspect_below;
	int64_t floor_us;
	bool complete; /* the whole store was re-seeded: a stream that is not there is new */
	char written[LEDGER_IDENTITY_MAX];
};

/* What a transaction asks of the seeding. */
enum ledger_sqlite_need { NEED_SEEDED, NEED_NOTHING };

/*
 * Begin a write transaction: RC_OK with *c and *hot, and end must follow. RC_FENCED: another ledger
 * than the one that was seeded, if that was needed. durable: end returns when the disk has it.
 */
enum rc ledger_sqlite_write_begin(struct ledger_sqlite *l, enum ledger_sqlite_need need,
				  bool durable, struct ledger_sqlite_conn **c,
				  struct ledger_sqlite_hot *hot, struct why *why) _must_check_;
/*
 * Commit if rc is RC_OK, else roll back; rc, or why the commit failed. commits: the counter as
 * committed.
 */
enum rc ledger_sqlite_write_end(struct ledger_sqlite *l, enum rc rc, uint64_t commits,
				struct why *why) _must_check_;
enum rc ledger_sqlite_snapshot_begin(struct ledger_sqlite *l, enum ledger_sqlite_need need,
				     struct ledger_sqlite_conn **c, struct ledger_sqlite_hot *hot,
				     struct why *why) _must_check_;
void ledger_sqlite_snapshot_end(struct ledger_sqlite *l, struct ledger_sqlite_conn *c);
/*
 * Outside of transactions: write the -wal's pages into the main file if there are at least `pages`,
 * so that it starts anew.
 */
void ledger_sqlite_tidy(struct ledger_sqlite *l, int pages);

#define CHECKPOINT_PAGES 4096		/* 16 MiB of -wal */
#define BODY_KEPT_US (15 * 60 * INT64_C(1000000))
#define LATE_US (60 * INT64_C(1000000))

struct ledger_sqlite_stream {
	int64_t stream;			/* 0: not there */
	uint64_t mark;			/* the seeding that it was re-seeded under */
};
enum rc ledger_sqlite_stream_find(struct ledger_sqlite_conn *c, const char *type, const char *id,
				  struct ledger_sqlite_stream *out, struct why *why) _must_check_;
/* The stream's last number and the recorded time there; 0 and 0 for none. */
enum rc ledger_sqlite_stream_last(struct ledger_sqlite_conn *c, int64_t stream, uint64_t *last_r,
				  int64_t *recorded_us_r, struct why *why) _must_check_;
enum rc ledger_sqlite_stream_new(struct ledger_sqlite_conn *c, const char *type, const char *id,
				 uint64_t mark, int64_t *stream_r, struct why *why) _must_check_;

/* A row of events, as it is written. event_id NULL: a void of span numbers. */
struct ledger_sqlite_event {
	int64_t stream;
	uint64_t number, span;
	const char *event_id, *event_type;
	uint64_t size;
	int64_t occurred_us, recorded_us;
	int64_t body;			/* the row of pending that has its pieces, 0: none */
	const uint8_t *digest;
};
enum rc ledger_sqlite_event_put(struct ledger_sqlite_conn *c, const struct ledger_sqlite_event *e,
				struct why *why) _must_check_;
enum rc ledger_sqlite_open_put(struct ledger_sqlite_conn *c, const struct ledger_sqlite_event *e,
			       int64_t lease_until, bool expected, struct why *why) _must_check_;

enum rc ledger_sqlite_append_events(struct ledger *l, struct ledger_append *items, size_t n,
				    uint64_t lease_ms, struct why *why) _must_check_;
enum rc ledger_sqlite_claim_rows(struct ledger *l, size_t max, uint64_t lease_ms, bool all,
				 ledger_pending_fn *fn, void *arg, size_t *n_r,
				 struct why *why) _must_check_;
enum rc ledger_sqlite_claim_settle(struct ledger *l, const struct ledger_ref *refs, size_t n,
				   struct why *why) _must_check_;
enum rc ledger_sqlite_read_rows(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn,
				void *arg, bool *fenced_stream, struct why *why) _must_check_;
/* Lease and floor, before the read: h->leased says whether it may go on. */
enum rc ledger_sqlite_horizon_take(struct ledger_sqlite *l, struct ledger_horizon *h,
				   struct why *why) _must_check_;
/* In the snapshot of the read: how far it goes; the late streams are told. *go_on false: enough was told. */
enum rc ledger_sqlite_horizon_find(struct ledger_sqlite_conn *c, const struct ledger_sqlite_hot *hot,
				   struct ledger_horizon *h, bool *go_on,
				   struct why *why) _must_check_;
enum rc ledger_sqlite_read_state(struct ledger *l, struct ledger_state *out,
				 struct why *why) _must_check_;
enum rc ledger_sqlite_seed_write(struct ledger *l, const char *identity, uint64_t number,
				 bool other_line, int64_t floor_us, struct why *why) _must_check_;
enum rc ledger_sqlite_reseed_stream(struct ledger *l, struct ledger_reseed *r,
				    struct why *why) _must_check_;

#endif
