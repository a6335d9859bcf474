/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a store is laid out in objects (design.md 4): native, or indexed as the established system's.
 */
#ifndef EVFS_STORE_LAYOUT_H
#define EVFS_STORE_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "event/event.h"
#include "object/object.h"

enum layout { LAYOUT_NATIVE, LAYOUT_INDEXED };

#define LAYOUT_STORE_KEY ".evfs/store.json"
#define LAYOUT_SEEDING_KEY ".evfs/seeding.json"
#define LAYOUT_FORMAT 1

/* What .evfs/store.json says. It is written once, by init. */
struct layout_store {
	enum layout layout;
	bool has_uuid;		/* false: no store.json; the layout was told from the objects */
	char uuid[37];		/* has_uuid, else one derived from the place (stable for the same directory) */
	int64_t created_us;	/* 0: unknown */
};
/*
 * Tell what is there. RC_NOT_FOUND: no store (why says what was looked for). RC_INVALID: a store of another format or layout version,
 * with found and known number. RC_CORRUPT: store.json can't be read.
 */
enum rc layout_probe(struct object_store *objects, struct layout_store *out, struct why *why) _must_check_;
/* Write a new store.json with a fresh uuid. RC_EXISTS: there is one. */
enum rc layout_create(struct object_store *objects, struct layout_store *out, struct why *why) _must_check_;

/* What .evfs/seeding.json says: which ledger was last seeded from, or for, these objects. */
struct layout_seeding {
	uint64_t number;	/* 0: none yet */
	char identity[200];
	char tag[OBJECT_TAG_MAX];
};
enum rc layout_read_seeding(struct object_store *objects, struct layout_seeding *out, struct why *why) _must_check_;
/* Replace it; s->tag is what was read. RC_CONFLICT: another process was faster. */
enum rc layout_write_seeding(struct object_store *objects, struct layout_seeding *s, struct why *why) _must_check_;

/* A stream that the objects name. Return false to stop. */
typedef bool layout_stream_fn(void *arg, const char *type, const char *id);
/*
 * Tell fn of every stream of which there is an object. A stream may be told more than once, never after another was told in between.
 * Objects that are no event's are passed over; foreign (may be NULL) hears of them.
 */
enum rc layout_list_streams(struct object_store *objects, enum layout layout, layout_stream_fn *fn, void *arg,
			    void (*foreign)(void *arg, const char *key), struct why *why) _must_check_;

/* Tell foreign of each object beside the prefixes that a store of this layout has: the other half of what layout_list_streams tells it. */
enum rc layout_list_foreign(struct object_store *objects, enum layout layout, void (*foreign)(void *arg, const char *key), void *arg,
			    struct why *why) _must_check_;

/* An event of a stream as the objects tell it. */
struct layout_entry {
	uint64_t number;
	const char *event_id;	/* native: NULL, the object has to be read */
	const char *key;	/* of the event object; indexed: of the index entry */
	uint64_t size;		/* of that object */
	int64_t recorded_us, modified_us;
};
typedef bool layout_entry_fn(void *arg, const struct layout_entry *entry);

/* One component of an aggregate's path, unescaped: a type, or what stands between two '/' of an id. Return false to stop. */
typedef bool layout_child_fn(void *arg, const char *part);
/*
 * Tell fn of what stands directly below one directory of the mount: the types (type NULL), the first components of ids
 * (id NULL), or the next components below the path id. Each once; whether there is a stream in it is not looked at.
 */
enum rc layout_list_children(struct object_store *objects, enum layout layout, const char *type, const char *id,
			     layout_child_fn *fn, void *arg, struct why *why) _must_check_;
/* Tell fn of the entries of one stream with numbers above after, by number (then id). Only direct children of the stream's prefix. */
enum rc layout_list_stream(struct object_store *objects, enum layout layout, const char *type, const char *id, uint64_t after,
			   layout_entry_fn *fn, void *arg, struct why *why) _must_check_;

/*
 * What an event object says, after reading it: RC_INVALID if it is no event, or (type NULL: not checked) not one of this stream with this number.
 * digest: see event/draft.h.
 */
enum rc layout_check_event(const char *body, size_t len, const char *type, const char *id, uint64_t number,
			   struct event *out, struct why *why) _must_check_;

#endif
