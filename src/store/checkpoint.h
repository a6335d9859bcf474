/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a publisher has delivered: an object in the store (contracts.md B8, with keys of our own after those), written with
 * If-Match, so that one that somebody else moved is seen and never overwritten.
 *
 * Guarantees: keys that we don't know stay, in their order. Threads: none of its own; a checkpoint is one caller's.
 */
#ifndef EVFS_STORE_CHECKPOINT_H
#define EVFS_STORE_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "object/object.h"

#define CHECKPOINTS "checkpoints/"	/* all of them lie below */
#define CHECKPOINT_KEY CHECKPOINTS "event_publisher.json"	/* contracts.md C7 */
#define CHECKPOINT_IDS_MAX 2000
#define CHECKPOINT_HELD_MAX 1000

/* A stream that waits alone: its events from `next` on are not delivered, whatever last_ms says. */
struct checkpoint_held {
	char *type, *id;
	uint64_t next;
};

struct checkpoint {
	bool there;		/* false: there is no such object yet */
	int64_t last_ms;	/* last_timestamp_ms: all that was recorded up to the end of this millisecond is delivered, but for what is held */
	char *last_index_key;	/* the established tail's; NULL: null */
	int64_t updated_us;
	char **ids;		/* recent_event_ids, oldest first: delivered lately, also beyond last_ms */
	size_t n_ids;
	char **ids_room;	/* checkpoint.c's: where ids lies in */
	struct checkpoint_held *held;	/* ours: "held": [{"aggregate_type","aggregate_id","next"}] */
	size_t n_held;
	uint64_t seeding;	/* ours: "seeding": of the ledger, when it was written; 0: unknown */
	struct buf rest;	/* checkpoint.c's: which keys stood there, and those that we don't know with their values, as they stood */
	char tag[OBJECT_TAG_MAX];
};

/* Empty, with last_ms 0. */
void checkpoint_init(struct checkpoint *c);
void checkpoint_release(struct checkpoint *c);

/* RC_OK, also where there is none (c->there false). RC_CORRUPT: not a checkpoint (what, where), or of the future (over a day after now_us). */
enum rc checkpoint_load(struct object_store *objects, const char *key, int64_t now_us, struct checkpoint *c, struct why *why) _must_check_;
/* Write it over the version that was loaded, or saved last. RC_CONFLICT: another one is there, nothing was written. */
enum rc checkpoint_save(struct object_store *objects, const char *key, int64_t now_us, struct checkpoint *c, struct why *why) _must_check_;
/* Empty one of its lists. */
void checkpoint_forget_ids(struct checkpoint *c);
void checkpoint_forget_held(struct checkpoint *c);
/* Remember an id; the oldest goes where there are too many. RC_NO_MEMORY. */
enum rc checkpoint_add_id(struct checkpoint *c, const char *event_id, struct why *why) _must_check_;
/* Append the body, as B8 writes it. */
void checkpoint_print(const struct checkpoint *c, struct buf *out);
enum rc checkpoint_parse(const char *text, size_t len, struct checkpoint *c, struct why *why) _must_check_;

/*
 * Write every checkpoint below "checkpoints/" again, so that no pass under way can move it (design.md 5), and tell the latest
 * time that any of them covers, 0 where there is none. For the seeding of a ledger. One that can't be read, or is of the future, is
 * used by nobody and left as it is.
 */
enum rc checkpoint_touch_all(struct object_store *objects, int64_t now_us, int64_t *latest_us_r, struct why *why) _must_check_;

#endif
