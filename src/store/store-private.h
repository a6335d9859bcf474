/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of the store share: store.c, store-append.c, store-group.c, store-deliver.c, store-queue.c, store-settle.c, store-seed.c. */
#ifndef EVFS_STORE_STORE_PRIVATE_H
#define EVFS_STORE_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/store.h"

struct group_wait;

/* Appends that wait for one commit: whoever finds a place to commit commits for all that wait. */
#define STORE_LANES 1024
struct store_group {
	pthread_mutex_t lock;	/* guards all below but leaders_max */
	struct group_wait *head, **tail;
	unsigned leaders, leaders_max;	/* who commit now, and how many may */
	unsigned under_way[STORE_LANES];	/* appends that are being committed, by lanes of streams */
	bool gathering;		/* somebody who leads next waits for more */
	_Atomic unsigned storing;	/* appends that are committed, and answered when they are stored */
	_Atomic uint64_t store_us;	/* how long that takes, about */
};

/* What was answered at its commit, and is still to be stored by this process (store-queue.c). */
#define STORE_DELIVERERS 2
struct store_queue {
	pthread_mutex_t lock;	/* guards all below but threads */
	pthread_cond_t more, done;
	struct queued *head, **tail;
	size_t events, bytes;	/* that wait */
	uint64_t next;		/* the number of the append that comes next */
	uint64_t at_work[STORE_DELIVERERS];	/* the first number that each works on; 0: idle */
	uint64_t added_ms;	/* when the last append came */
	unsigned hurry;		/* who waits until all that is there is stored */
	bool stop;
	pthread_t threads[STORE_DELIVERERS];
	unsigned running;
};

/* An event that is stored, not yet settled. */
struct settle_ref {
	int64_t stream;
	uint64_t number;
	char *event_id;
};

struct store_settle {
	pthread_mutex_t lock;	/* guards refs, n, cap, stop */
	pthread_cond_t more;
	struct settle_ref *refs;
	size_t n, cap;
	bool stop;
	pthread_t thread;
	bool running;
};

struct store_sweeper {
	pthread_mutex_t lock;	/* guards kicked, stop */
	pthread_cond_t wake;
	bool kicked, stop;
	pthread_t thread;
	bool running;
};

struct store_seeding {
	pthread_mutex_t work_lock;	/* one thread at a time seeds the ledger: held during I/O by design */
	pthread_mutex_t lock;		/* guards all below */
	char noticed[LEDGER_IDENTITY_MAX];	/* the identity that was seen unseeded … */
	uint64_t noticed_ms;			/* … and when (clock_boot_ms) */
	uint64_t seen;			/* the seeding that the view was last told of */
	bool seen_valid;
	char told[sizeof(((struct why *)0)->text)];	/* the sweeper's own: the failure that it told of last */
};

struct store {
	struct object_store *objects;
	struct ledger *ledger;		/* NULL: read-only */
	struct layout_store info;
	struct store_options options;
	char *read_only, *catalog;	/* options' texts, owned */

	struct store_group group;
	struct store_queue queue;
	struct store_settle settle;
	struct store_sweeper sweeper;
	struct store_seeding seeding;

	pthread_mutex_t view_lock;	/* guards view's making */
	_Atomic(struct view *) view;

	_Atomic int ledger_rc, objects_rc;	/* of the last use of each part */
	pthread_mutex_t health_lock;	/* guards the two below */
	struct why ledger_why, objects_why;

	pthread_mutex_t notice_lock;	/* guards the two below; held over the callback, so that it has ended when it is taken away */
	store_notice_fn *notice;
	void *notice_arg;

	_Atomic unsigned committing;		/* commits under way, whose PUTs in_flight_until does not cover yet */
	_Atomic bool owes;			/* something was committed and left to the sweeper */
	_Atomic uint64_t in_flight_until;	/* no PUT of this process can still arrive after this (clock_boot_ms) */
	struct {
		_Atomic uint64_t appends, events, bytes, known, conflicts, refused, failed, commits, puts, gets, lists,
			syncs, swept, settled, reseeded, seedings, commit_us, put_us;
	} count;
};

/* Tell whoever listens, and the log. */
void store_note(struct store *s, const char *type, const char *id, enum rc rc, const char *fmt, ...) _printf_(5, 6);
/* Remember how the last use of a part went. */
void store_saw_ledger(struct store *s, enum rc rc, const struct why *why);
void store_saw_objects(struct store *s, enum rc rc, const struct why *why);

/*
 * Commit one append together with what else waits. Ends early, RC_CANCELLED, where cancelled says so and it was not yet taken up;
 * RC_TEMPORARY, where it was not by the deadline (clock_boot_ms). *began_ms_r: when its statement was begun.
 */
enum rc store_group_commit(struct store *s, struct ledger_append *item, uint64_t lease_ms, uint64_t deadline_ms,
			   bool (*cancelled)(void *), void *arg, uint64_t *began_ms_r, struct why *why) _must_check_;

/* An append that was committed is stored, after so long. */
void store_group_stored(struct store *s, uint64_t us);

/* An event to be stored: its body is joined already. key and body are owned by whoever made the array. */
struct deliver_item {
	int64_t stream;
	uint64_t number;
	int64_t recorded_us;
	const char *event_id;
	char *key;
	char *body;
	size_t len;
	char *own_id;	/* what event_id points to, where whoever made the array owns that too */
	bool stored;	/* out */
};
void store_deliver_release(struct deliver_item *items, size_t n);
/* PUTs are given out that may arrive until then (clock_boot_ms): a seeding waits for them. */
void store_deliver_expect(struct store *s, uint64_t until_ms);
/* Fill key and body from pieces. */
enum rc store_deliver_join(struct deliver_item *item, const char *type, const char *id, const char *head, size_t head_len,
			   const char *tail, size_t tail_len, bool own_time, struct why *why) _must_check_;
/*
 * Store what is not stored yet, until the deadline (clock_boot_ms). Stored ones are queued for settling. Where the answer to a PUT
 * was lost, the object is looked at only before look_ms: that may take another time-out.
 * RC_FENCED: S3 holds other bytes under a key; the stream (*contradicted_r: index of the item) must be re-seeded.
 * RC_TEMPORARY, RC_NO_SPACE, RC_DENIED: not all are stored. RC_CANCELLED: nor are they waited for, as cancelled (may be NULL) said.
 */
enum rc store_deliver(struct store *s, struct deliver_item *items, size_t n, uint64_t deadline_ms, uint64_t look_ms,
		      size_t *contradicted_r, bool (*cancelled)(void *), void *arg, struct why *why) _must_check_;

/* May more be left to the queue? What is committed with that answer has a lease of the time-out. */
bool store_queue_has_room(struct store *s);
/* Have n items (their contents are taken) of one stream stored by the deadline, else by the sweeper. */
void store_queue_add(struct store *s, const char *type, const char *id, struct deliver_item *items, size_t n, uint64_t deadline_ms);
/* Wait until what was added before is stored or left to the sweeper. RC_TEMPORARY: not by the deadline. */
enum rc store_queue_wait(struct store *s, uint64_t deadline_ms, struct why *why) _must_check_;
enum rc store_queue_start(struct store *s, struct why *why) _must_check_;
/* Store what is queued, as far as the deadlines go, then end. */
void store_queue_stop(struct store *s);

/* Queue an event that is stored. Failing to remember it is harmless: the sweeper comes by. */
void store_settle_add(struct store *s, int64_t stream, uint64_t number, const char *event_id);
/* Settle all that is queued, now. */
void store_settle_flush(struct store *s);
enum rc store_settle_start(struct store *s, struct why *why) _must_check_;
void store_settle_stop(struct store *s);

/* Sweep once: claim, deliver. */
enum rc store_sweep_once(struct store *s, size_t max, bool all, size_t *n_r, struct why *why) _must_check_;
void store_sweep_kick(struct store *s);
/* True once store_sweep_stop was called: long work ends early. */
bool store_sweep_ending(struct store *s);
enum rc store_sweep_start(struct store *s, struct why *why) _must_check_;
void store_sweep_stop(struct store *s);

/*
 * The ledger said RC_FENCED: wait for, or do, what it needs. type NULL: the ledger's own seeding. Returns RC_OK when the call
 * may be repeated, RC_TEMPORARY when the deadline came first, RC_CANCELLED when cancelled (may be NULL) said so.
 */
enum rc store_seed_fenced(struct store *s, const char *type, const char *id, uint64_t deadline_ms,
			  bool (*cancelled)(void *), void *arg, struct why *why) _must_check_;
/* Re-seed one stream from the objects, whatever its mark says. RC_FENCED: the ledger itself must be seeded, or others are at it. */
enum rc store_seed_stream(struct store *s, const char *type, const char *id, struct why *why) _must_check_;
/*
 * When the store is opened: is the ledger the one that the objects were last seeded for? One that was left behind, and is used again,
 * looks right to itself; what is written down in it is erased then, and it is seeded as one that was put back.
 */
enum rc store_seed_check(struct store *s, struct why *why) _must_check_;
/* Look once whether the ledger must be seeded, and go on with the whole store's re-seed for a while. Called by the sweeper. True: all is seeded. */
bool store_seed_tick(struct store *s);

#define STORE_COUNT(s, what, n) atomic_fetch_add_explicit(&(s)->count.what, (n), memory_order_relaxed)

#endif
