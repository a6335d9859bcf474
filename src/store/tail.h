/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of a store: events in the order of their recorded time, up to the horizon behind which nothing can still appear,
 * with their bodies. Within a stream by number (design.md 8; model/native_tail.py). What a publisher reads.
 *
 * Guarantees: an event whose writer committed late is told, never skipped; a stream with a row that can't be stored yet waits
 * alone. Where the ledger was replaced nothing is told until the whole store was re-seeded.
 * Does not: remember what was delivered (store/checkpoint.h, the publisher).
 * Where it comes from is behind struct tail_ops: the ledger's time line (tail-native.c). Threads: one caller; it may use several.
 */
#ifndef EVFS_STORE_TAIL_H
#define EVFS_STORE_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "store/checkpoint.h"
#include "store/store.h"

struct tail;

/* An event, or what is wrong with it. Texts and body live until the next call of tail_next. */
struct tail_event {
	const char *type, *id;
	uint64_t number;
	const char *event_id, *event_type;
	int64_t occurred_us, recorded_us;
	const char *key;	/* of its object */
	const char *body;	/* the stored bytes; NULL where rc is not RC_OK */
	size_t len;
	/*
	 * RC_OK. RC_NOT_FOUND: the object is missing. RC_CORRUPT: it is no event, or another one. RC_DENIED: archived, or no permission for it.
	 * Anything that may pass (RC_TEMPORARY …) is never here: tail_next says it.
	 */
	enum rc rc;
	struct why why;
	bool held;		/* of a stream that waited: not by time */
	int64_t safe_us;	/* once this one and all told before it are delivered, all that was recorded before this is; a whole millisecond */
};

struct tail_options {
	const char *lease, *token;	/* see struct ledger_horizon; lease NULL: none */
	uint64_t lease_ms;
	unsigned parallel;	/* objects read at once; 0: 64 */
	size_t ahead_bytes;	/* bodies in memory at most; 0: 32 MiB */
	size_t page;		/* rows of one question to the ledger; 0: 1,000 */
};

/* What the last look found. */
struct tail_state {
	bool leased;
	char holder[64];
	uint64_t leased_until_ms;	/* clock_boot_ms, counted from before the look: what is sent later may be sent by another too */
	int64_t now_us, horizon_us;	/* by the ledger's clock */
	uint64_t seeding;
	bool waits;		/* the ledger was replaced: the whole store must be re-seeded first */
	uint64_t unsettled, late;
};

/*
 * After the place that c names (last_ms, held): all of it is copied. s must outlive the tail.
 */
enum rc tail_new(struct tail **out, struct store *s, const struct tail_options *o, const struct checkpoint *c, struct why *why) _must_check_;
void tail_free(struct tail **t);
static inline void tail_freep(struct tail **t)
{
	tail_free(t);
}

/*
 * Look how far the horizon is, and renew the lease: one round trip where there is nothing new. RC_FENCED: the ledger was replaced or is
 * being re-seeded (state->waits), or the seeding is another than at the last look: load the checkpoint and begin anew with tail_new.
 * RC_TEMPORARY and the rest: the ledger could not be asked; the same call again.
 */
enum rc tail_look(struct tail *t, struct tail_state *out, struct why *why) _must_check_;
/*
 * The next event before the horizon of the last look. RC_OK with *out NULL: there is none, all before it was told; look again. RC_TEMPORARY:
 * ledger or object store could not be asked, nothing was passed; the same call again. RC_FENCED: as tail_look.
 */
enum rc tail_next(struct tail *t, const struct tail_event **out, struct why *why) _must_check_;
/* The streams that wait and the number that each waits for, for the checkpoint, as of the events told so far. The tail's, until the next call. */
size_t tail_held(struct tail *t, const struct checkpoint_held **out);
/* Give the lease back. */
void tail_release(struct tail *t);

/*
 * Every event of the store recorded from from_us on and before to_us, stream by stream, by number, whatever the checkpoint says: for
 * --reconcile and replay. type NULL: all types. A stream ends before what is not settled yet. fn returns false to stop; it may call the
 * store. RC_FENCED: the ledger was replaced, before it or meanwhile. A server that is away is waited for, for the store's time-out.
 */
typedef bool tail_walk_fn(void *arg, const struct tail_event *e);
enum rc tail_walk(struct store *s, const char *type, int64_t from_us, int64_t to_us, tail_walk_fn *fn, void *arg, struct why *why) _must_check_;

#endif
