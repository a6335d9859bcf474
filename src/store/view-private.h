/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rooms of the view share: view.c, view-refresh.c, view-ledger.c, view-objects.c,
 * view-list.c, view-stream.c …
 */
#ifndef EVFS_STORE_VIEW_PRIVATE_H
#define EVFS_STORE_VIEW_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/catalog.h"
#include "store/view.h"

/*
 * When was it last asked whether a directory has more? A fixed table: what is pushed out counts
 * as never asked.
 */
#define FRESH_SETS 4096
#define FRESH_WAYS 4
struct view_fresh {
	pthread_mutex_t lock;	/* guards all below */
	struct fresh_entry {
		uint64_t hash;		/* of type and id; 0: empty */
		uint64_t asked_ms;	/* 0: ask */
		uint64_t children_ms;	/* not before this is it asked for directories below */
		uint64_t point;		/* the ledger's before that (struct ledger_state); 0: unknown */
		bool known;		/* the catalog has its row */
	} entries[FRESH_SETS][FRESH_WAYS];
	uint64_t touches[FRESH_SETS];	/* so that an answer from before a touch does not count */
	uint64_t streams_ms;		/* when the ledger was last asked for new streams */
	uint64_t streams_point;		/* and its point before that */
	enum rc streams_rc;		/* and what became of it */
	uint64_t point, point_ms;	/* the ledger's, and when it told it */
	unsigned asks;			/* for single directories since then */
	uint64_t streams_touches;	/* raised when one may have been made here */
};

/* A question under way. */
struct fresh_ask {
	uint64_t hash, touches;
	uint64_t asked_ms, fresh_ms;
	enum rc rc;		/* what became of the last one, for streams; then of this one */
	uint64_t before;	/* the point at which it was last answered; 0: unknown */
	uint64_t point;		/* the ledger's now, or a little before; 0: unknown */
};

/* Names of event types, ready to be filled in with a number. */
#define NAME_SLOTS 64
struct view_names {
	pthread_mutex_t lock;	/* guards slots */
	struct {
		int64_t type;
		size_t len;
		char name[256];	/* with the number 0000000000 */
	} slots[NAME_SLOTS];
};

/*
 * Where the objects of native streams lie, so that reading a settled event needs nothing of the
 * catalog.
 */
#define PREFIX_SLOTS 64
struct view_prefixes {
	pthread_mutex_t lock;	/* guards slots */
	struct {
		int64_t dir;
		struct buf prefix;
	} slots[PREFIX_SLOTS];
};

/* Text of streams that was just read. */
#define TEXT_SLOTS 8
struct view_texts {
	pthread_mutex_t lock;	/* guards all below */
	struct text_slot {
		int64_t dir;
		uint64_t epoch, part, start;
		size_t kept;	/* bytes of it that the catalog keeps */
		uint64_t used;
		struct buf text;
	} slots[TEXT_SLOTS];
	uint64_t clock;
};

struct view_ahead;

struct view {
	struct view_source src;
	uint64_t fresh_ms;
	int64_t gap_wait_us;
	int64_t birth_us;
	struct catalog *catalog;
	struct view_fresh fresh;
	struct view_names names;
	struct view_prefixes prefixes;
	struct view_texts texts;
	struct view_ahead *ahead;	/* NULL: the objects are near, nothing is fetched ahead or kept */
	atomic_bool complete;	/* the ledger was seen wholly re-seeded, under this identity */
	_Atomic uint64_t seeding_until;	/* it was not: not asked again before (clock_boot_ms) */
};

/* ------------------------------------------------------------------ view-fresh.c */

void view_fresh_init(struct view_fresh *f);
void view_fresh_destroy(struct view_fresh *f);
/*
 * Is an answer older than fresh_ms? Then *ask is the question. id "" is a type's own directory,
 * both "" the root.
 */
bool view_fresh_ask(struct view_fresh *f, const char *type, const char *id, uint64_t fresh_ms,
		    struct fresh_ask *ask);
/*
 * The answer is as old as the question. One that took long, measured by fresh_ms, would be old at once: half of fresh_ms is left to it.
 */
void view_fresh_answered(struct view_fresh *f, const struct fresh_ask *ask, bool known);
/*
 * One question instead of many: has the ledger changed at all since a question was last answered?
 * True, with ask->point filled in: it is worth asking the ledger for its point first, and telling
 * it. False: ask->point is as good as it gets.
 */
bool view_fresh_wants_point(struct view_fresh *f, uint64_t fresh_ms, struct fresh_ask *ask);
void view_fresh_point(struct view_fresh *f, uint64_t point, uint64_t asked_ms);
/* If it has not changed, the question is answered, as of when the ledger told its point. */
bool view_fresh_unchanged(struct view_fresh *f, struct fresh_ask *ask);
/* The same for the list of streams, whose answer may be that it could not be had (ask->rc). */
bool view_fresh_ask_streams(struct view_fresh *f, uint64_t fresh_ms, struct fresh_ask *ask);
void view_fresh_streams_answered(struct view_fresh *f, const struct fresh_ask *ask);
/* For how many of fresh_ms is the last answer still good? One not asked for counts as old. */
uint64_t view_fresh_left(struct view_fresh *f, const struct catalog_dir *dir, bool ledger,
			 uint64_t fresh_ms);
/*
 * Is it time to look for directories below? cost_ms is how long the last look took: expensive
 * ones are rarer.
 */
bool view_fresh_children(struct view_fresh *f, const struct fresh_ask *ask);
void view_fresh_children_seen(struct view_fresh *f, const struct fresh_ask *ask, uint64_t cost_ms);
void view_fresh_touch(struct view_fresh *f, const char *type, const char *id);
void view_fresh_forget(struct view_fresh *f);

/* ------------------------------------------------------------------ view-refresh.c */

/*
 * Ask whether there is more in a directory, if it is time. *dir is as the catalog has it then,
 * also where asking failed.
 */
enum rc view_refresh_dir(struct view *v, struct catalog_dir *dir, struct why *why) _must_check_;
/*
 * Learn of streams that were made: ledger, or (below parent) the objects. *asked_r: what the ledger answered, now or last: RC_OK,
 * RC_FENCED (not seeded, and what counts of it the objects know), or why it could not be asked.
 */
enum rc view_refresh_streams(struct view *v, const struct catalog_dir *parent, enum rc *asked_r,
			     struct why *why) _must_check_;
/* Every stream that ledger or objects name is in the catalog; refresh all of them too. */
enum rc view_refresh_all(struct view *v, struct why *why) _must_check_;

/*
 * A refresh of one stream under way: a write transaction is begun when there is something to
 * write.
 */
struct view_refresh {
	struct view *v;
	struct catalog_dir dir; /* as the catalog has it, plus what is changed and not saved */
	struct catalog_conn *conn;	/* NULL: nothing written so far */
	uint64_t next;			/* the number that continues what is known */
	uint64_t firm;			/* all up to here is firm or void */
	size_t moved;			/* events that came in front of others */
	size_t unkept;			/* rows since the last transaction ended */
	enum rc rc;			/* why it ended early */
	struct why why;
};
/* Begin writing, with the row as it is now. */
enum rc view_refresh_begin(struct view_refresh *r);
/*
 * An event as the catalog has it under a number; RC_NOT_FOUND. event_id (may be NULL): *same_r
 * says whether it is this one, in any fork.
 */
enum rc view_refresh_look(struct view_refresh *r, uint64_t number, const char *event_id,
			  struct catalog_event *out, bool *same_r);
enum rc view_refresh_add(struct view_refresh *r, const struct catalog_new *e);
/* Save and commit what was written so far; writing may begin again. */
enum rc view_refresh_keep(struct view_refresh *r);
/* Save and commit, or roll back where r->rc says so. */
enum rc view_refresh_end(struct view_refresh *r, struct why *why) _must_check_;

/* ------------------------------------------------------------ view-ledger.c, view-objects.c */

/*
 * RC_FENCED: *fenced_stream_r as ledger_read. *dir is the row as it was read a moment ago, and
 * becomes what it is.
 */
enum rc view_ledger_events(struct view *v, struct catalog_dir *dir, bool *fenced_stream_r,
			   struct why *why) _must_check_;
enum rc view_ledger_streams(struct view *v, struct why *why) _must_check_;
/*
 * hole_us: how old the event behind a hole must be to be shown. passing: holes that are old
 * enough count as known.
 */
enum rc view_objects_events(struct view *v, struct catalog_dir *dir, int64_t hole_us, bool passing,
			    struct why *why) _must_check_;
enum rc view_objects_children(struct view *v, const struct catalog_dir *dir, struct why *why)
	_must_check_;
enum rc view_objects_streams(struct view *v, struct why *why) _must_check_;
/* Does any object stand below this path? RC_NOT_FOUND: none. The row is made. */
enum rc view_objects_find(struct view *v, const struct catalog_dir *parent, const char *name,
			  struct catalog_dir *out, struct why *why) _must_check_;

/* ------------------------------------------------------------------ view-entry.c */

/* From the catalog's rows to what is shown. */
void view_entry_dir(const struct view *v, const struct catalog_dir *from, struct view_dir *out);
enum rc view_entry_event(struct view *v, struct catalog_conn *conn,
			 const struct catalog_event *from, struct view_event *out, struct why *why)
	_must_check_;

/* ------------------------------------------------------------------ view-keep.c */

struct view_keep;
enum rc view_keep_new(struct view_keep **out, struct catalog *catalog, struct why *why) _must_check_;
/* What waits is kept first. NULL is fine. */
void view_keep_free(struct view_keep **k);
/* Keep the body of a settled event in the catalog, some time. Copies, does not wait. */
void view_keep_add(struct view_keep *k, int64_t dir, uint32_t ordinal, const char *text, size_t len);

/* ------------------------------------------------------------------ view-ahead.c */

enum rc view_ahead_new(struct view_ahead **out, struct view *v, struct why *why) _must_check_;
/* End its threads. NULL is fine. */
void view_ahead_free(struct view_ahead **a);
/*
 * Append a body that was fetched ahead, waiting where that is under way. RC_NOT_FOUND: it was not.
 * Else why fetching it failed, just now.
 */
enum rc view_ahead_take(struct view_ahead *a, int64_t dir, uint32_t ordinal, uint64_t number,
			struct buf *out, struct why *why) _must_check_;
/* A reader asks for this event: who goes on in order finds the next ones here. */
void view_ahead_saw(struct view_ahead *a, int64_t dir, uint64_t number);
/* A reader will ask for the n events behind number `after`. */
void view_ahead_range(struct view_ahead *a, int64_t dir, uint64_t after, size_t n);
/* Reading it failed: who asks again at once is told the same. */
void view_ahead_failed(struct view_ahead *a, int64_t dir, uint32_t ordinal, const struct why *why);
/* The body of a settled event was read: others find it here, and it is kept. */
void view_ahead_keep(struct view_ahead *a, int64_t dir, uint32_t ordinal, const char *text,
		     size_t len);

/* ------------------------------------------------------------------ view-body.c */

/* An event's stored body, by its row. The key of an indexed event is looked up. */
struct view_body {
	struct catalog_event event;
	struct buf key;		/* where its object lies */
	char *text;		/* out */
	size_t len;
};
void view_body_release(struct view_body *items, size_t n);
/* Fill in the keys. */
enum rc view_body_keys(struct view *v, struct catalog_conn *conn, const struct catalog_dir *dir,
		       struct view_body *items, size_t n, struct why *why) _must_check_;
/*
 * Append the body of a settled event that is kept or lies where native ones do. RC_NOT_FOUND: look
 * it up, then read it as the others.
 */
enum rc view_body_settled(struct view *v, const struct view_event *e, struct buf *out,
			  struct why *why) _must_check_;
/*
 * Read the bodies, in parallel where that helps. Those that are not yet in the object store come
 * from the ledger.
 */
enum rc view_body_read(struct view *v, const struct catalog_dir *dir, struct view_body *items,
		       size_t n, struct why *why) _must_check_;

#endif
