/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event store: appends, delivers, seeds. The only place that knows objects and ledger (design.md 5).
 *
 * Guarantees: store_append that answered RC_OK is durable in the ledger, and (ack stored) its objects are in the object store.
 * What was committed is delivered, by this process or by the sweeper of any other. Nothing is un-committed.
 * A store without ledger is read-only: store_append is RC_DENIED with the reason.
 * Threads: every call may come from any thread. Background threads: one that settles, one that sweeps and re-seeds.
 */
#ifndef EVFS_STORE_STORE_H
#define EVFS_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "event/draft.h"
#include "ledger/ledger.h"
#include "object/object.h"
#include "store/layout.h"
#include "store/view.h"

struct store;

enum store_ack { STORE_ACK_STORED, STORE_ACK_COMMITTED };

struct store_options {
	uint64_t timeout_ms;	/* deadline of a PUT, and how long a call may wait */
	uint64_t fresh_ms, gap_wait_ms;
	uint64_t max_event;	/* bytes of one stored body */
	enum store_ack ack;
	bool restore;		/* a draft's number may leave the gap that was there */
	bool born;		/* its store.json was written just now: no PUT for it can be under way, a seeding need not wait */
	bool background;	/* false: no sweeper (one-shot programs); what this process stored is settled at store_free */
	bool follows;		/* with background: no sweeper until store_tend; for who only reads what others append */
	const char *read_only;	/* not NULL: why nothing may be appended */
	const char *catalog;	/* the catalog's file; NULL: in memory */
};

/*
 * Put a store together. objects and ledger (NULL: none) are taken, even on failure. info: as layout_probe found it.
 * Seeds the ledger if it must be, in the background.
 */
enum rc store_new(struct store **out, struct object_store *objects, struct ledger *ledger, const struct layout_store *info,
		  const struct store_options *options, struct why *why) _must_check_;
/* Finish what is being delivered (within the time-out), settle, stop the threads, free. */
void store_free(struct store **s);
static inline void store_freep(struct store **s)
{
	store_free(s);
}

/* An append of n drafts to one stream: all or nothing. */
struct store_append {
	const char *type, *id;
	struct draft *drafts;		/* those without event_id get one */
	size_t n;
	bool has_expect;		/* beside what the drafts expect */
	uint64_t expect;
	const enum store_ack *ack;	/* NULL: the store's */
	/* NULL, or asked now and then: true ends the wait. Before the commit: RC_CANCELLED. After it: RC_OK */
	bool (*cancelled)(void *arg);
	void *cancel_arg;
	/* out */
	uint64_t first;			/* RC_OK: the first event's number; the others follow, unless known */
	int64_t recorded_us;
	bool known;			/* the ids were there already */
	uint64_t last;			/* RC_CONFLICT, RC_EXISTS: the stream's last number */
	bool conditional;		/* an expectation stood: expected is valid */
	uint64_t expected;
	enum store_outcome { STORE_NOT_COMMITTED, STORE_COMMITTED, STORE_UNKNOWN } outcome;
};
/*
 * RC_CONFLICT: the expected number is not the last. RC_EXISTS: the number that a draft names is taken, or an id is there with other content.
 * RC_INVALID: a draft is wrong (why names which, from 1, if n > 1), or two contradict each other. RC_TOO_LARGE. RC_DENIED: read-only.
 * RC_NO_SPACE. RC_TEMPORARY, RC_UNCERTAIN: ledger or objects not reachable in time; outcome says what became of it. RC_CORRUPT. RC_CANCELLED.
 */
enum rc store_append(struct store *s, struct store_append *a, struct why *why) _must_check_;

/* Wait until what was committed for this stream is stored (fsync under ack committed). RC_TEMPORARY: not in time. */
enum rc store_flush(struct store *s, const char *type, const char *id, struct why *why) _must_check_;

/* Deliver now whatever is pending and can be claimed; all: also what dead processes hold. *n_r: delivered. For tools and tests. */
enum rc store_sweep(struct store *s, bool all, size_t *n_r, struct why *why) _must_check_;
/*
 * Of a store that `follows`: let a sweeper run, which stores what its writers left and seeds the ledger if it must be; or end it, once
 * it is done with what it does. It asks the ledger now and then. RC_OK where it is as wanted.
 */
enum rc store_tend(struct store *s, bool on, struct why *why) _must_check_;
/* Bring the ledger to the point where the whole store is seeded, waiting as the protocol says. progress may be NULL. */
enum rc store_seed(struct store *s, void (*progress)(void *arg, uint64_t streams), void *arg, struct why *why) _must_check_;

struct store_reindexed {
	uint64_t streams, events;
	uint64_t added, replaced;	/* events that the ledger did not have, or had otherwise */
	uint64_t moved, dropped;	/* pending ones that the objects contradict: to the end, or named in the log */
};
/*
 * Make the ledger equal to the objects, whatever it says: a new seeding, then every stream from its first number on. Pending appends
 * keep their numbers where these are free. Mounts that are up go on. progress may be NULL.
 */
enum rc store_reindex(struct store *s, void (*progress)(void *arg, uint64_t streams), void *arg, struct store_reindexed *out,
		      struct why *why) _must_check_;

/* The tree of what is stored. Opened at the first call. NULL with why on failure. */
struct view *store_view(struct store *s, struct why *why);

struct store_health {
	bool read_only;
	char read_only_reason[256];
	enum layout layout;
	char uuid[37];
	enum rc ledger;			/* of the last use; RC_OK, or why it can't be used */
	struct why ledger_why;
	enum rc objects;
	struct why objects_why;
	bool seeding;			/* the ledger waits to be seeded, or streams wait for their re-seed */
	struct ledger_state state;	/* if ledger is RC_OK */
};
void store_health(struct store *s, struct store_health *out);

/* Counted since the store was opened. */
struct store_counts {
	uint64_t appends, events, bytes, known, conflicts, refused, failed;	/* calls, events stored, their bytes; calls by outcome */
	uint64_t commits;		/* ledger transactions: appends / commits is the size of a group */
	uint64_t puts, gets, lists, syncs;	/* object requests of the append path, sweeper and seeding */
	uint64_t swept, settled, reseeded, seedings;
	uint64_t commit_us, put_us;	/* sums of time */
	struct object_counts object;	/* requests to servers, of all parts */
	struct ledger_counts ledger;
};
void store_counts(struct store *s, struct store_counts *out);

const struct store_options *store_options(const struct store *s);
/* For what is kept beside the events (store/checkpoint.h). The store's. */
struct object_store *store_objects(struct store *s);

/* A decision that the operator should see: a dropped event, a re-seed, a contradiction. Called from any thread; set before use. */
typedef void store_notice_fn(void *arg, const char *type, const char *id, enum rc rc, const char *text);
void store_on_notice(struct store *s, store_notice_fn *fn, void *arg);

#endif
