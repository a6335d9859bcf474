/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog: a local cache in SQLite of directories, events and the text of streams
 * (design.md 6). Only the view uses it.
 *
 * Guarantees: rows of directories and ordinals of events are never given twice in one file.
 * Several processes may share the file.
 * Does not: know ledger or objects; decide what is true. It can be deleted while no process has
 * it open: all is learned again.
 * Threads: catalog_* without a connection may come from any thread; a connection belongs to the
 * thread that took it. A thread takes one connection at a time, and does no request to ledger or
 * objects while it holds a reading one. Memory is bounded: small page caches, nothing mapped.
 */
#ifndef EVFS_STORE_CATALOG_H
#define EVFS_STORE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/buf.h"
#include "base/rc.h"
#include "event/key.h"

struct catalog;
struct catalog_conn;

/*
 * Open the file, or make it anew where it is damaged, of another version or another store's.
 * Where that can't be (another process has it open, no such directory possible), a temporary file
 * takes its place and the log says so. path NULL: a temporary one.
 */
enum rc catalog_open(struct catalog **out, const char *path, const char *uuid, struct why *why)
	_must_check_;
void catalog_free(struct catalog **c);
static inline void catalog_freep(struct catalog **c)
{
	catalog_free(c);
}

/*
 * Take a connection for reading, waiting for a free one; never NULL. All that is read until it is
 * given back is of one moment.
 */
struct catalog_conn *catalog_read(struct catalog *c);
void catalog_done(struct catalog *c, struct catalog_conn *conn);
/*
 * Begin the one write transaction. It ends with one of the two, after which the connection is no
 * more.
 */
enum rc catalog_write(struct catalog *c, struct catalog_conn **out, struct why *why) _must_check_;
enum rc catalog_commit(struct catalog *c, struct catalog_conn *conn, struct why *why) _must_check_;
void catalog_abandon(struct catalog *c, struct catalog_conn *conn);

/* Prepared statements, kept per connection. */
enum catalog_slot {
	CATALOG_BEGIN, CATALOG_COMMIT, CATALOG_META_GET, CATALOG_META_SET, CATALOG_TYPE_GET,
	CATALOG_TYPE_FIND, CATALOG_TYPE_ADD, CATALOG_DIR_GET, CATALOG_DIR_FIND, CATALOG_DIR_ADD,
	CATALOG_DIR_SAVE, CATALOG_DIR_RISE, CATALOG_DIR_LIST, CATALOG_DIR_SHOW, CATALOG_DIR_TURN,
	CATALOG_DIR_STREAMS, CATALOG_DIR_TOTALS, CATALOG_DIR_ANY, CATALOG_EVENT_GET, CATALOG_EVENT_ORDINAL,
	CATALOG_EVENT_LIST, CATALOG_EVENT_TEXTS, CATALOG_EVENT_ADD, CATALOG_EVENT_SETTLE,
	CATALOG_EVENT_REMOVE, CATALOG_EVENT_SHIFT, CATALOG_EVENT_BEFORE, CATALOG_EVENT_FROM,
	CATALOG_EVENT_AFTER_ORDINAL, CATALOG_EVENT_SOFT, CATALOG_EVENT_SOFT_DIRS,
	CATALOG_EVENT_TIMES, CATALOG_EVENT_FIND_ID, CATALOG_EVENT_TIME, CATALOG_SEGMENT_GET,
	CATALOG_SEGMENT_ADD, CATALOG_SEGMENT_DROP, CATALOG_BODY_GET, CATALOG_BODY_KEPT,
	CATALOG_BODY_ADD, CATALOG_BODY_OLD, CATALOG_BODY_DROP,
	CATALOG_SLOTS
};
/*
 * The statement of a slot, reset and ready to be bound. NULL where it can't be made: binding to
 * that does nothing, and catalog_step tells.
 */
sqlite3_stmt *catalog_stmt(struct catalog_conn *conn, enum catalog_slot slot, const char *sql);
/*
 * RC_NOT_FOUND: no row. RC_OK: a row is there; reset with sqlite3_reset after reading it. stmt
 * may be NULL.
 */
enum rc catalog_step(struct catalog_conn *conn, sqlite3_stmt *stmt, struct why *why) _must_check_;
/* Run to its end and reset. */
enum rc catalog_run(struct catalog_conn *conn, sqlite3_stmt *stmt, struct why *why) _must_check_;
/* Run statements that are not kept. */
enum rc catalog_exec(struct catalog_conn *conn, const char *sql, struct why *why) _must_check_;

/* Facts about the file as a whole. RC_NOT_FOUND. */
enum rc catalog_meta_get(struct catalog_conn *conn, const char *name, struct buf *out,
			 struct why *why) _must_check_;
enum rc catalog_meta_set(struct catalog_conn *conn, const char *name, const char *value,
			 struct why *why) _must_check_;

/* Event types by number. */
enum rc catalog_type_text(struct catalog_conn *conn, int64_t type, struct buf *out, struct why *why)
	_must_check_;
enum rc catalog_type_number(struct catalog_conn *conn, const char *text, int64_t *out,
			    struct why *why) _must_check_;

/* ------------------------------------------------------------------ directories */

#define CATALOG_ROOT 1

struct catalog_dir {
	int64_t row, parent;
	char name[256];			/* as shown */
	char type[KEY_MAX + 1], id[KEY_MAX + 1]; /* of the path; "" where depth is below 1, or 2 */
	unsigned depth;
	bool shown, stream;
	int64_t handle;			/* the ledger's, 0: unknown */
	uint64_t head;			/* last number in events */
	uint64_t known_to;		/* up to here all is known and firm */
	uint32_t next_ordinal;
	uint64_t events, stream_size;
	int64_t mtime, ctime;		/* 0: none */
	/*
	 * raised whenever the text of the stream changed before its end, and whenever a directory
	 * shown in it came or went
	 */
	uint64_t epoch;
};

enum rc catalog_dir_get(struct catalog_conn *conn, int64_t row, struct catalog_dir *out,
			struct why *why) _must_check_;
/* Below parent, by its name as shown. RC_NOT_FOUND. */
enum rc catalog_dir_find(struct catalog_conn *conn, int64_t parent, const char *name,
			 struct catalog_dir *out, struct why *why) _must_check_;
/* Below parent, by its text. Adds the row if it is not there (add), and shows it. */
enum rc catalog_dir_child(struct catalog_conn *conn, const struct catalog_dir *parent,
			  const char *part, bool add, struct catalog_dir *out, struct why *why)
	_must_check_;
/* The directory of a stream, or of a part of its path, from the root down. */
enum rc catalog_dir_path(struct catalog_conn *conn, const char *type, const char *id, bool add,
			 struct catalog_dir *out, struct why *why) _must_check_;
/* Write the counters, flags and times; raises the times of those above. */
enum rc catalog_dir_save(struct catalog_conn *conn, const struct catalog_dir *dir, struct why *why)
	_must_check_;
/* Up to max shown children of a row, behind a row, by row. */
enum rc catalog_dir_list(struct catalog_conn *conn, int64_t parent, int64_t after,
			 struct catalog_dir *out, size_t max, size_t *n_r, struct why *why)
	_must_check_;
/* The next stream behind a row, by row. RC_NOT_FOUND. */
enum rc catalog_dir_next_stream(struct catalog_conn *conn, int64_t after, struct catalog_dir *out,
				struct why *why) _must_check_;
/* Of each aggregate type that has events: how many streams, events, bytes of their text. */
struct catalog_total {
	const char *type;
	uint64_t streams, events, stream_size;
};
typedef void catalog_total_fn(void *arg, const struct catalog_total *total);
enum rc catalog_dir_totals(struct catalog_conn *conn, catalog_total_fn *fn, void *arg,
			   struct why *why) _must_check_;
/* A stream without events is hidden, and those above it that have nothing else to show. */
enum rc catalog_dir_hide(struct catalog_conn *conn, struct catalog_dir *dir, struct why *why)
	_must_check_;
enum rc catalog_dir_forget_handles(struct catalog_conn *conn, struct why *why) _must_check_;

/* ------------------------------------------------------------------ events */

struct catalog_event {
	int64_t dir;
	uint32_t ordinal;
	uint64_t number;
	unsigned fork;
	int64_t type;
	uint64_t size;
	int64_t occurred, recorded;
	bool settled;
	uint64_t line_end; /* where its line ends in events.ndjson; a line has size + 1 bytes */
};

/* RC_NOT_FOUND. */
enum rc catalog_event_get(struct catalog_conn *conn, int64_t dir, uint64_t number, unsigned fork,
			  struct catalog_event *out, struct why *why) _must_check_;
enum rc catalog_event_ordinal(struct catalog_conn *conn, int64_t dir, uint32_t ordinal,
			      struct catalog_event *out, struct why *why) _must_check_;
/* Up to max events behind (number, fork), by number. */
enum rc catalog_event_list(struct catalog_conn *conn, int64_t dir, uint64_t number, unsigned fork,
			   struct catalog_event *out, size_t max, size_t *n_r, struct why *why)
	_must_check_;
/*
 * The first with an ordinal above this one, by number: for cursors whose event is gone.
 * RC_NOT_FOUND.
 */
enum rc catalog_event_after_ordinal(struct catalog_conn *conn, int64_t dir, uint32_t ordinal,
				    struct catalog_event *out, struct why *why) _must_check_;
/* Append its event id and its key ("" in the native layout). Each may be NULL. */
enum rc catalog_event_texts(struct catalog_conn *conn, int64_t dir, uint64_t number, unsigned fork,
			    struct buf *event_id, struct buf *key, struct why *why) _must_check_;
/* The event in whose line the byte at offset lies, by halving. RC_NOT_FOUND: behind the end. */
enum rc catalog_event_at(struct catalog_conn *conn, const struct catalog_dir *dir, uint64_t offset,
			 struct catalog_event *out, struct why *why) _must_check_;

struct catalog_new {
	uint64_t number;
	const char *event_id, *event_type, *key;	/* key: NULL in the native layout */
	uint64_t size;
	int64_t occurred, recorded;
	bool settled;
};
/*
 * Add an event; with a number that is there it becomes the next fork. In front of others it moves
 * their lines (*moved_r, may be NULL). dir is changed, and to be saved by the caller.
 */
enum rc catalog_event_add(struct catalog_conn *conn, struct catalog_dir *dir,
			  const struct catalog_new *e, bool *moved_r, struct why *why) _must_check_;
enum rc catalog_event_settle(struct catalog_conn *conn, int64_t dir, uint64_t number,
			     struct why *why) _must_check_;
enum rc catalog_event_remove(struct catalog_conn *conn, struct catalog_dir *dir,
			     const struct catalog_event *e, struct why *why) _must_check_;
/*
 * Remove those of a directory that are not settled, above number and with an ordinal below
 * `below`. *n_r is raised.
 */
enum rc catalog_event_drop_soft(struct catalog_conn *conn, struct catalog_dir *dir, uint64_t above,
				uint32_t below, size_t *n_r, struct why *why) _must_check_;
/* The next directory behind row that holds unsettled events. RC_NOT_FOUND. */
enum rc catalog_event_next_soft(struct catalog_conn *conn, int64_t after, int64_t *row_r,
				struct why *why) _must_check_;
/* By event id; by time. They make the index they need at the first call. RC_NOT_FOUND. */
enum rc catalog_event_by_id(struct catalog *c, const char *event_id, struct catalog_event *out,
			    struct why *why) _must_check_;
enum rc catalog_event_by_time(struct catalog *c, int64_t from_us, int64_t to_us,
			      const struct catalog_event *after, struct catalog_event *out,
			      size_t max, size_t *n_r, struct why *why) _must_check_;

/* ------------------------------------------------------------------ kept bodies */

/* The stored bytes of a settled event: true for ever, for an ordinal is never given twice. */
struct catalog_body {
	int64_t dir;
	uint32_t ordinal;
	const char *text;
	size_t len;
};
/* Append a kept body. RC_NOT_FOUND: none. */
enum rc catalog_body_get(struct catalog_conn *conn, int64_t dir, uint32_t ordinal, struct buf *out,
			 struct why *why) _must_check_;
bool catalog_body_is_kept(struct catalog_conn *conn, int64_t dir, uint32_t ordinal);
/* Keep n bodies, in a transaction of their own; the oldest go where all are more than limit bytes. */
enum rc catalog_body_keep(struct catalog *c, const struct catalog_body *bodies, size_t n,
			  uint64_t limit, struct why *why) _must_check_;

/* ------------------------------------------------------------------ the text of streams */

/*
 * A part of a stream: the lines that begin in [part * CATALOG_PART, (part + 1) * CATALOG_PART),
 * all of them firm. Lines are never cut, so a part may be longer, or missing where a long line
 * spans it.
 */
#define CATALOG_PART (256u << 10)

/* Append the last kept part that begins at or before offset. RC_NOT_FOUND: none. */
enum rc catalog_segment_get(struct catalog_conn *conn, int64_t dir, uint64_t offset,
			    uint64_t *part_r, uint64_t *start_r, struct buf *out, struct why *why)
	_must_check_;
enum rc catalog_segment_add(struct catalog_conn *conn, int64_t dir, uint64_t part, uint64_t start,
			    const void *text, size_t len, struct why *why) _must_check_;
enum rc catalog_segment_drop(struct catalog_conn *conn, int64_t dir, uint64_t from_part,
			     struct why *why) _must_check_;

#endif
