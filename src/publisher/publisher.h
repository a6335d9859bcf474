/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail -> sink: every event of a store, each stream in number order, none lost, none stuck behind another (design.md 8).
 *
 * Guarantees: the checkpoint is never ahead of what the sink reported. Duplicates only after a crash, a take-over or a rewind, with the
 * same id and bytes. What can't be published goes to the DLQ topic and counts as delivered once it is there.
 * Threads: publisher_run belongs to one thread; publisher_stop, publisher_status may come from any, publisher_stop from a signal handler.
 */
#ifndef EVFS_PUBLISHER_PUBLISHER_H
#define EVFS_PUBLISHER_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/latency.h"
#include "base/rc.h"
#include "publisher/route.h"
#include "sink/sink.h"
#include "store/store.h"

struct publisher;

struct publisher_options {
	const char *checkpoint_key;	/* NULL: CHECKPOINT_KEY; its name is the lease's, too */
	struct route_options route;
	sink_make_fn *make_sink;	/* called anew after a fatal error */
	void *make_arg;
	bool once;			/* end when there is nothing more before the horizon of the start */
	bool dry_run;			/* tell what would go where, send nothing, save nothing, take no lease */
	bool reconcile;			/* first compare the whole store with what was published, and deliver the rest */
	enum { PUBLISHER_FROM_CHECKPOINT, PUBLISHER_FROM_BEGINNING, PUBLISHER_FROM_TIME } from;
	int64_t from_us;
	int64_t start_us;		/* where there is no checkpoint yet: begin there; 0: at the first event */
	uint64_t lease_ms;		/* 0: 3 s: a take-over within 5 */
	uint64_t save_ms;		/* at most that often; 0: 1 s */
	uint64_t poll_ms;		/* between two looks where nothing wakes it; 0: 1 s where idle */
	uint64_t flush_ms;		/* at the end; 0: 10 s */
	size_t window;			/* messages under way at most; 0: 20,000 */
	void (*status)(void *arg, const char *line, bool active);	/* a line for people, about once a second (systemd) */
	void *status_arg;
	void (*tell)(void *arg, const char *line);	/* dry_run: what would become of an event */
	void *tell_arg;
};

/* s must outlive it. */
enum rc publisher_new(struct publisher **out, struct store *s, const struct publisher_options *o, struct why *why) _must_check_;
void publisher_free(struct publisher **p);

/*
 * Publish until it is stopped (or, once, until all is published): RC_OK after a flush and a save. RC_TEMPORARY: stopped, and not all
 * that was sent was acknowledged in time: it will go out again. RC_CORRUPT: the checkpoint can't be used (its reason says what to do).
 * What may pass (servers away, another is active) is waited for.
 */
enum rc publisher_run(struct publisher *p, struct why *why) _must_check_;
void publisher_stop(struct publisher *p);

struct publisher_status {
	bool active, waits;		/* holds the lease; waits for a re-seed */
	char holder[64];
	bool running;			/* the ledger answered at least once */
	uint64_t published, skipped, dead, failed, saved, takeovers, held;
	uint64_t lag_events;		/* read and not yet acknowledged, and at least what is known to wait */
	double lag_seconds, horizon_seconds;	/* of the oldest event that waits; of the horizon behind now */
	int64_t checkpoint_ms, saved_us;	/* its time; when it was written last, 0: not yet */
	uint64_t waiting;		/* for the DLQ to take them */
	struct sink_counts sink;
	struct latency_counts delivery;	/* of published ones: from the recorded time to the acknowledgement, by this machine's clock */
	char trouble[256];		/* what it waits for, "" where all is well */
};
void publisher_status(struct publisher *p, struct publisher_status *out);

#endif
