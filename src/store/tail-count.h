/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger alone tells of the time line: which events, when, how far. For those who count and look; who delivers reads
 * store/tail.h, which knows the bodies, too.
 *
 * Guarantees: no object is read, no lease is taken. Threads: any.
 */
#ifndef EVFS_STORE_TAIL_COUNT_H
#define EVFS_STORE_TAIL_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "store/store.h"

/* Texts live until the callback returns. */
struct tail_count_row {
	const char *type, *id;
	uint64_t number;
	const char *event_id;
	int64_t recorded_us;
};
/* Return false to stop. Must not call the store. */
typedef bool tail_count_fn(void *arg, const struct tail_count_row *row);

/*
 * Tell fn of each event with from_us <= recorded < to_us, by time. Those of streams that wait for their re-seed are passed over.
 * RC_DENIED: the store has no ledger. RC_FENCED: the ledger waits to be seeded. RC_TEMPORARY.
 */
enum rc tail_count(struct store *s, int64_t from_us, int64_t to_us, tail_count_fn *fn, void *arg,
		   struct why *why) _must_check_;
/* The same of one stream's events from a number on, by number. */
enum rc tail_count_stream(struct store *s, const char *type, const char *id, uint64_t from,
			  tail_count_fn *fn, void *arg, struct why *why) _must_check_;

/* How far the time line can be read now. */
struct tail_count_end {
	int64_t now_us;		/* by the ledger's clock */
	/*
	 * Nothing that was recorded before can still appear. It stands where it is while nothing is appended: then nothing is behind it
	 * either. Not known: the ledger is being re-seeded, or somebody has been appending for long.
	 */
	int64_t horizon_us;
	bool known;
	uint64_t seeding, unsettled;
};
enum rc tail_count_end(struct store *s, struct tail_count_end *out, struct why *why) _must_check_;

#endif
