/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From configuration to an open store: the only place that names concrete backends.
 *
 * Opening never makes a store or a ledger, unless -o create was given. Threads: as the store's.
 */
#ifndef EVFS_SETUP_STACK_H
#define EVFS_SETUP_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "setup/config.h"
#include "store/store.h"

enum stack_use {
	STACK_SERVE,	/* a mount: with background threads */
	STACK_FOLLOW,	/* a publisher: the same, without a sweeper until it is wanted (store_tend) */
	STACK_ONCE,	/* a tool that does one thing and ends */
	STACK_LOOK,	/* one that only reads */
};

/*
 * Open the store that c names. One without ledger, or that can't be written, or under -o ro, is
 * opened read-only; the reason stands in store_health. RC_NOT_FOUND: no such directory or bucket,
 * or no store in it. RC_INVALID: another layout version, another store's ledger. RC_CORRUPT:
 * damaged ledger or store.json. RC_DENIED: no permission. RC_TEMPORARY: a server can't be reached.
 * why is one line and names the store.
 */
enum rc stack_open(struct store **out, const struct config *c, enum stack_use use, struct why *why)
	_must_check_;

/* What init or adopt made. */
struct stack_made {
	struct layout_store info;
	uint64_t streams;	/* adopt: how many streams the ledger was seeded with */
};
/*
 * Make a native store with an empty ledger at c->store (the directory is made, its parent must be
 * there; the bucket is made, with versioning on, and schema and tables). A store without events
 * whose ledger is missing gets one. RC_EXISTS: it is a store already, or the place holds something
 * else. RC_DENIED: one that this version only reads.
 */
enum rc stack_init(const struct config *c, struct stack_made *out, struct why *why) _must_check_;

/* Told now and then with the number of streams done. */
typedef void stack_progress_fn(void *arg, uint64_t streams);
/*
 * Give a native store whose ledger is missing one, seeded from the objects (design.md 5,
 * "Re-seed"); one whose seeding was cut short is seeded to its end. RC_EXISTS: there is a good
 * ledger. progress may be NULL.
 */
enum rc stack_adopt(const struct config *c, struct stack_made *out, stack_progress_fn *progress,
		    void *arg, struct why *why) _must_check_;

/* What reindex did. */
struct stack_reindexed {
	bool anew;			/* there was no ledger, or it was thrown away: only streams are counted */
	struct store_reindexed counts;
};
/*
 * Make the ledger of a native store equal to its objects: over the one that is there, so that pending
 * appends are kept, or, fresh, instead of it, once these were delivered. A store without ledger gets
 * one, as by stack_adopt. Mounts that are up go on. progress may be NULL.
 */
enum rc stack_reindex(const struct config *c, bool fresh, struct stack_reindexed *out,
		      stack_progress_fn *progress, void *arg, struct why *why) _must_check_;

/* One part that was looked at. Texts live until the callback returns. */
struct stack_finding {
	const char *name;	/* "credentials" */
	enum { STACK_FINE, STACK_DUBIOUS, STACK_BROKEN } verdict;
	const char *found;	/* a line */
	const char *fix;	/* what to do, "" where there is nothing to do */
};
typedef void stack_check_fn(void *arg, const struct stack_finding *f);
/*
 * Look at all that the store of c needs of disks and servers, and tell fn of each part, for doctor.
 * Writes nothing but .evfs/probe in a bucket, and that only without -o ro.
 */
void stack_check(const struct config *c, stack_check_fn *fn, void *arg);

/*
 * Append "libcurl 7.88.1, expat 2.5.0, libpq 15.6, sqlite 3.40.1, OpenSSL 3.0.15": the libraries
 * this program runs with.
 */
void stack_versions(struct buf *out);

#endif
