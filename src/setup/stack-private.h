/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of stack.c share: a kind of store and the parts of one. Threads: none. */
#ifndef EVFS_SETUP_STACK_PRIVATE_H
#define EVFS_SETUP_STACK_PRIVATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "ledger/ledger.h"
#include "object/object.h"
#include "setup/config.h"
#include "setup/stack.h"
#include "store/layout.h"

/* The parts of a store while it is put together. */
struct stack_parts {
	char *place;	/* of the objects, unlike any copy's: the catalog is found by it */
	char *ledger_path;	/* of a directory */
	struct object_store *objects;
	struct ledger *ledger;	/* NULL: none (yet) */
	struct layout_store info;
	bool born;	/* nothing of it can be under way: made by this call, or never used */
};

enum stack_ledger {
	STACK_LEDGER_NONE,
	STACK_LEDGER_HALF,	/* it waits to be seeded; it is open */
	STACK_LEDGER_GOOD,	/* or too damaged to tell */
};

/* What a kind of store does in its own way. Every reason names the store, as far as it is known. */
struct stack_kind {
	/* Set objects and place. RC_NOT_FOUND: no such directory, no such bucket. */
	enum rc (*open)(const struct config *c, struct stack_parts *p, struct why *why);
	/*
	 * Open the ledger, or append to read_only why there is none, or why nothing can be written
	 * all the same. A ledger that is there but not good is an error.
	 */
	enum rc (*open_ledger)(const struct config *c, struct stack_parts *p, enum stack_use use,
			       struct buf *read_only, struct why *why);

	/* Making. Make the directory or bucket, where there is none. */
	enum rc (*make)(const struct config *c, struct stack_parts *p, struct why *why);
	/* Before a store is made: RC_EXISTS if something lies there that is no part of one. */
	enum rc (*check_empty)(const struct config *c, struct stack_parts *p, struct why *why);
	enum rc (*find_ledger)(const struct config *c, struct stack_parts *p,
			       enum stack_ledger *out, struct why *why);
	/* Make an empty one and open it. RC_EXISTS: there is one. */
	enum rc (*make_ledger)(const struct config *c, struct stack_parts *p, struct why *why);
	/* What to do with a good ledger that is in the way of a new one. */
	enum rc (*refuse_ledger)(const struct config *c, const struct stack_parts *p,
				 struct why *why);
};

extern const struct stack_kind stack_dir_kind, stack_s3_kind;

/* "a/b", malloc'd; NULL: no memory. */
char *stack_join(const char *a, const char *b);
enum rc stack_no_memory(struct why *why);
/* Does it wait to be seeded? */
bool stack_is_half_made(struct ledger *l);

#endif
