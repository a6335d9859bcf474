/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compare objects, ledger and catalog with each other and name each difference.
 *
 * The objects are listed once, in key order; each run of them is compared with the ledger's rows of
 * its stream, several runs at once. Memory is bounded, whatever the store's size. Writes nothing
 * but its own state file, with which an interrupted run goes on. What is appended meanwhile is
 * compared or not, and never named for that.
 */
#ifndef EVFS_STORE_VERIFY_H
#define EVFS_STORE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "store/store.h"

/*
 * One difference. Texts live until the callback returns. Kinds:
 *   foreign         an object that is no event's, nor one of evfs's own
 *   malformed       an object that is no event
 *   old-shape       one of a shape that is not written any more
 *   wrong-place     one of another stream or number
 *   different       its id, content, size or time is not what was appended
 *   missing-object  the ledger says that it is stored, it is not there
 *   missing-row     an event that the ledger does not have
 *   unreadable      an object that can't be read, though others can
 *   twice           one event id under two numbers
 *   late            committed more than a minute ago, still not stored
 *   backwards       a recorded time before that of the number before
 *   catalog         the local catalog shows what is not so
 *   gap             numbers that are not there, in a store without ledger
 *   fork            indexed layout: one number twice
 *   orphan, index   indexed layout: an event without index entries, an entry that is missing
 * and harmless ones:
 *   pending         committed, not stored yet
 *   unsettled       stored, and not marked so for more than a minute
 *   void            a number without event
 *   seeding         the ledger waits to be seeded, or is: what is named may go by itself
 *   times           a store without ledger whose files lost their times
 */
struct verify_finding {
	const char *kind;
	const char *type, *id; /* NULL where no stream is concerned */
	uint64_t number; /* 0: none */
	const char *key; /* NULL: none */
	const char *text; /* what was expected, what was found */
	const char *advice; /* what to do */
	bool harmless; /* worth knowing, no damage */
};
typedef void verify_fn(void *arg, const struct verify_finding *finding);

/* Those of the run before are in it, where one is gone on with. */
struct verify_progress {
	uint64_t streams, events, findings; /* findings: those that are not harmless */
	uint64_t total; /* events that the ledger names, where it was asked; 0: unknown */
	uint64_t before; /* events of the run that is gone on with; 0: from the start */
	int64_t began_us; /* when the first of these runs began, wall clock */
};

struct verify_options {
	verify_fn *found;
	/* May be NULL: called now and then, before the first finding of a run that goes on. */
	void (*progress)(void *arg, const struct verify_progress *p);
	/* May be NULL: asked now and then, true ends the run with RC_CANCELLED. */
	bool (*stopped)(void *arg);
	void *arg;
	bool total; /* ask the ledger for the total first */
	/*
	 * Where an interrupted run leaves how far it came: this file, and two beside it. NULL:
	 * nowhere. A run goes on where the one before stopped, and tells its findings again first;
	 * one that ends removes them. The indexed layout begins anew each time.
	 */
	const char *state;
	bool restart; /* forget it, begin anew */
};
/*
 * RC_OK also where something was found: out->findings counts what is not harmless. RC_CANCELLED,
 * RC_TEMPORARY, RC_DENIED: stopped, or objects or ledger can't be reached; *resumable_r: the same
 * call goes on.
 */
enum rc verify_run(struct store *s, const struct verify_options *options,
		   struct verify_progress *out, bool *resumable_r, struct why *why) _must_check_;

#endif
