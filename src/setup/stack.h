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
	STACK_ONCE,	/* a tool that does one thing and ends */
};

/*
 * Open the store that c names. One without ledger, or that can't be written, or under -o ro, is
 * opened read-only; the reason stands in store_health. RC_NOT_FOUND: no such directory, or no store
 * in it. RC_INVALID: another layout version, another store's ledger. RC_CORRUPT: damaged ledger or
 * store.json. RC_DENIED: no permission. why is one line and names the path.
 */
enum rc stack_open(struct store **out, const struct config *c, enum stack_use use, struct why *why)
	_must_check_;

/* What init or adopt made. */
struct stack_made {
	struct layout_store info;
	uint64_t streams;	/* adopt: how many streams the ledger was seeded with */
};
/*
 * Make a native store with an empty ledger at c->store (the directory is made; its parent must be
 * there). A store without events whose ledger is missing gets one. RC_EXISTS: it is a store
 * already, or the directory holds something else. RC_DENIED: one that this version only reads.
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

/* Append "sqlite 3.40.1, OpenSSL 3.0.15": the libraries this program runs with. */
void stack_versions(struct buf *out);

#endif
