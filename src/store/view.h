/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as a tree of directories, events and streams: what a mount shows, what evfsctl lists (design.md 6, 7).
 *
 * It is read through the catalog, a local cache that is filled from the ledger, or from the objects where there is no ledger.
 * Guarantees: what is shown of a stream is a prefix of it, voids left out; an entry that was shown as settled never changes; a directory's row
 * and an event's ordinal keep their meaning while the view is open, also across processes that share the catalog file, and an ordinal is never given twice.
 * Does not: append, log refusals, know FUSE. Memory does not grow with the number of directories, events or the size of a listing.
 * Threads: every call may come from any thread.
 */
#ifndef EVFS_STORE_VIEW_H
#define EVFS_STORE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "ledger/ledger.h"
#include "object/object.h"
#include "store/layout.h"

struct view;

struct view_options {
	const char *catalog;	/* the catalog's file; its directory is made if needed. NULL: in memory */
	const char *uuid;	/* the store's; a catalog file of another store is made anew */
	uint64_t fresh_ms;	/* how old an answer of "is there more?" may be */
	uint64_t gap_wait_ms;	/* indexed layout: when a foreign hole is passed */
};

/* What the view needs of the store: called when the ledger says that a stream, or it itself, must be seeded first. Waits within the store's time-out. */
struct view_source {
	struct object_store *objects;
	struct ledger *ledger;		/* NULL: read-only, listed from the objects */
	enum layout layout;
	enum rc (*seed)(void *arg, const char *type, const char *id, struct why *why);	/* type NULL: the ledger */
	void *arg;
};

/* source is copied, what it points to must outlive the view. */
enum rc view_new(struct view **out, const struct view_source *source, const struct view_options *options, struct why *why) _must_check_;
void view_free(struct view **v);
static inline void view_freep(struct view **v)
{
	view_free(v);
}

#define VIEW_ROOT 1	/* the root's row; others are above */

/* A directory: the root, an aggregate type, an aggregate, or a part of the way to an aggregate whose id has a '/'. */
struct view_dir {
	int64_t row, parent;
	char name[256];		/* as shown (event/name.h); "" for the root */
	unsigned depth;		/* 0: the root, 1: an aggregate type, 2 and more: below */
	bool is_stream;		/* events are in it */
	uint64_t epoch;		/* raised when directories in it came or went, or events before its end */
	/* of a stream: */
	uint64_t head;		/* its last number shown */
	uint64_t events;	/* how many events are shown */
	uint64_t stream_size;	/* bytes of events.ndjson */
	uint64_t fresh_ms;	/* for how long this still counts as fresh; 0 where it was not refreshed */
	int64_t mtime_us, ctime_us;	/* greatest occurred_at and recorded time shown below it; the store's birth where there is none */
};

/* The directory behind a name, learned by a refresh if it is not known. RC_NOT_FOUND. */
enum rc view_lookup_dir(struct view *v, int64_t parent, const char *name, struct view_dir *out, struct why *why) _must_check_;
/* What is known of a row; refresh: first ask whether there is more, if the last answer is older than fresh_ms. RC_NOT_FOUND.
 * Where asking fails, what is known is told; the failure only of an aggregate of which nothing is known but its name. */
enum rc view_get_dir(struct view *v, int64_t row, bool refresh, struct view_dir *out, struct why *why) _must_check_;
/*
 * The directory of a stream named by type and id; RC_NOT_FOUND if it has no events. No refresh if refresh is false.
 */
enum rc view_find_stream(struct view *v, const char *type, const char *id, bool refresh, struct view_dir *out, struct why *why) _must_check_;
/* Type and id of a directory's path, whether or not it is a stream. RC_INVALID for the root and a type's directory, and where a name is an alias of no stream. */
enum rc view_stream_of(struct view *v, int64_t row, struct buf *type, struct buf *id, struct why *why) _must_check_;

/* An event. */
struct view_event {
	int64_t dir;
	uint32_t ordinal;	/* from 1; at most 2^30 - 1024 */
	uint64_t number;
	unsigned fork;		/* 1; 2 and more: a further event with one number (foreign) */
	char name[256];		/* "0000000003-OrderPaid.json" */
	uint64_t size;		/* of the stored body */
	int64_t occurred_us, recorded_us;
	bool settled;
};

/* By file name; RC_NOT_FOUND. A name that is not known asks the ledger or the objects once more, if the last answer is older than fresh_ms. */
enum rc view_lookup_event(struct view *v, int64_t dir, const char *name, struct view_event *out, struct why *why) _must_check_;
enum rc view_get_event(struct view *v, int64_t dir, uint32_t ordinal, struct view_event *out, struct why *why) _must_check_;
/* The event with this number (fork 1), from the catalog as it is. RC_NOT_FOUND. */
enum rc view_event_numbered(struct view *v, int64_t dir, uint64_t number, struct view_event *out, struct why *why) _must_check_;
/* By event id, anywhere. RC_NOT_FOUND. */
enum rc view_find_id(struct view *v, const char *event_id, struct view_event *out, struct why *why) _must_check_;

/* Where its object lies, its event id, its type (unescaped). Each may be NULL. */
enum rc view_event_facts(struct view *v, const struct view_event *e, struct buf *key, struct buf *event_id, struct buf *event_type,
			 struct why *why) _must_check_;
/* Append the stored body. */
enum rc view_read_event(struct view *v, const struct view_event *e, struct buf *out, struct why *why) _must_check_;

/* One thing in a directory. */
struct view_entry {
	uint64_t cursor;	/* a listing that starts after this cursor goes on behind this entry; below 2^61 */
	bool is_dir;
	const struct view_dir *dir;		/* if is_dir */
	const struct view_event *event;		/* otherwise */
};
/* Return false to stop. May call the view. */
typedef bool view_entry_fn(void *arg, const struct view_entry *entry);
/*
 * Tell fn of what is in a directory behind cursor (0: from the start): its directories, then its events by number. No refresh (call view_get_dir first).
 * Cursors stay good while the directory grows. Bounded memory: entries are told while they are read.
 */
enum rc view_list(struct view *v, int64_t row, uint64_t cursor, view_entry_fn *fn, void *arg, struct why *why) _must_check_;

/* Append up to len bytes of events.ndjson from offset; fewer only at its end, as far as the catalog knows it (no refresh). */
enum rc view_read_stream(struct view *v, int64_t row, uint64_t offset, size_t len, struct buf *out, struct why *why) _must_check_;

/*
 * Events whose recorded time is in [from_us, to_us), by time: for .evfs/by-date. Cursor as in view_list, only good for the same range.
 */
enum rc view_list_time(struct view *v, int64_t from_us, int64_t to_us, uint64_t cursor, view_entry_fn *fn, void *arg, struct why *why) _must_check_;
/* First and last recorded time of all events; RC_NOT_FOUND in an empty store. */
enum rc view_time_range(struct view *v, int64_t *first_us, int64_t *last_us, struct why *why) _must_check_;

/* What the catalog knows by now of an aggregate type. */
struct view_total {
	const char *type;
	uint64_t streams, events;
	uint64_t bytes;		/* of the events' stored bodies */
};
/* Tell fn of each type that has events. Asks nobody; reads as many rows as there are aggregates. fn must not call the view. */
typedef void view_total_fn(void *arg, const struct view_total *total);
enum rc view_totals(struct view *v, view_total_fn *fn, void *arg, struct why *why) _must_check_;

/* This process appended to the stream: the next question about it asks the ledger, however fresh the last answer is. Cheap, no I/O. */
void view_touch(struct view *v, const char *type, const char *id);

/* The ledger's identity changed: what is not firm is dropped and asked again. *dropped_r: how many entries went. */
enum rc view_identity_changed(struct view *v, size_t *dropped_r, struct why *why) _must_check_;

/*
 * For verify: compare the catalog with rows told by the ledger or the objects. Tells fn each catalog event of a stream with a number
 * above after, by number. fn may call the view.
 */
typedef bool view_known_fn(void *arg, const struct view_event *event, const char *event_id);
enum rc view_known(struct view *v, const char *type, const char *id, uint64_t after, view_known_fn *fn, void *arg, struct why *why) _must_check_;

#endif
