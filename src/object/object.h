/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Immutable bytes under keys: a local directory, or S3 (object-s3.h).
 *
 * Guarantees: an object is there whole or not at all, also after kill -9; one that was created is never changed by object_put.
 * Does not: delete, retry, log, know events. Wrappers add behaviour (object-fault.c).
 * Keys are relative paths of bytes, components between single '/', at most KEY_MAX bytes.
 * Threads: every call may come from any thread.
 */
#ifndef EVFS_OBJECT_OBJECT_H
#define EVFS_OBJECT_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/latency.h"
#include "base/rc.h"

struct object_store;

#define OBJECT_TAG_MAX 72	/* room for a tag (S3: ETag), NUL included */

/* One object to create. */
struct object_put {
	const char *key;
	const void *buf;
	size_t len;
	int64_t recorded_us;	/* kept beside the object (directory: mtime; S3: user metadata recorded-at); 0: none */
	/*
	 * out. RC_OK: created. RC_EXISTS: the key is taken, nothing changed (same bytes or not: look).
	 * RC_TEMPORARY: nothing happened (also: the deadline had passed). RC_UNCERTAIN: read the key before any retry.
	 * RC_NO_SPACE, RC_DENIED, RC_INVALID (no such key is possible), RC_TOO_LARGE (over OBJECT_MAX): nothing happened.
	 */
	enum rc rc;
	struct why why;
};

/*
 * Create n objects, in parallel where that helps. Each item gets its own rc; the result is RC_OK if all are, else the first that is not.
 * deadline_ms (clock_boot_ms; 0: none): no object appears by this call after it, as far as the backend can know:
 * it is checked right before each object would appear.
 */
enum rc object_put(struct object_store *s, struct object_put *items, size_t n, uint64_t deadline_ms) _must_check_;

/* One object to read whole. */
struct object_get {
	const char *key;
	/* out, where rc is RC_OK */
	char *buf;		/* malloc'd, the caller's; a NUL follows that does not count */
	size_t len;
	int64_t recorded_us;	/* as given to object_put, 0 if unknown */
	int64_t modified_us;	/* when the store took it, by the store's clock */
	char tag[OBJECT_TAG_MAX];	/* changes with the content: for object_replace */
	enum rc rc;		/* RC_NOT_FOUND, RC_TEMPORARY, RC_DENIED, RC_NO_MEMORY, RC_TOO_LARGE (over OBJECT_MAX) */
	struct why why;
};
#define OBJECT_MAX (64u << 20)

/* Read n objects, in parallel where that helps. Result as object_put's. */
enum rc object_get(struct object_store *s, struct object_get *items, size_t n) _must_check_;

struct object_info {
	const char *key;	/* the callback's only */
	bool is_prefix;		/* with OBJECT_LIST_SHALLOW: "a/b/", stands for all that begins so (directory: perhaps nothing) */
	uint64_t size;		/* of an object */
	int64_t recorded_us, modified_us;	/* recorded_us is 0 where a listing does not tell (S3) */
};

enum object_list_flags { OBJECT_LIST_DEEP = 0, OBJECT_LIST_SHALLOW = 1 };

/* Return false to stop the listing. */
typedef bool object_list_fn(void *arg, const struct object_info *info);

/*
 * Tell fn of the objects whose key begins with prefix ("" or ending in '/'), in byte order of the keys, only those after
 * the key `after` (NULL: from the first). Shallow: only those with no '/' behind prefix, and prefixes for the rest.
 * Nothing there is RC_OK without a call. Files of the backend's own and unfinished objects are not told, and what is
 * below ".evfs/" only for a prefix that begins so. A prefix is told if it is itself after `after`.
 */
enum rc object_list(struct object_store *s, const char *prefix, const char *after, enum object_list_flags flags,
		    object_list_fn *fn, void *arg, struct why *why) _must_check_;

/* Size and times of one object. RC_NOT_FOUND. info_r->key is set to key. */
enum rc object_stat(struct object_store *s, const char *key, struct object_info *info_r, struct why *why) _must_check_;

/*
 * Write a mutable object (store.json, seeding.json, checkpoints): create it (tag NULL) or replace the version with this tag.
 * Durable on return. RC_CONFLICT: another version is there. RC_UNCERTAIN: written, but perhaps not durable.
 * new_tag may be NULL. Of two at once one wins, among all processes.
 */
enum rc object_replace(struct object_store *s, const char *key, const void *buf, size_t len, const char *tag,
		       char new_tag[OBJECT_TAG_MAX], struct why *why) _must_check_;

/*
 * Everything that object_put created before this call is durable after it. A directory whose disk once reported a lost
 * write never says so again: RC_TEMPORARY until it is opened anew.
 */
enum rc object_sync(struct object_store *s, struct why *why) _must_check_;

/*
 * Asked before a commit: could objects of so many bytes in so many files be stored now? RC_NO_SPACE, RC_TEMPORARY (the place is gone),
 * RC_DENIED. Cheap: no request to a server.
 */
enum rc object_ready(struct object_store *s, uint64_t bytes, size_t objects, struct why *why) _must_check_;

/* Free *s and set it to NULL. NULL and *s == NULL are fine. */
void object_free(struct object_store **s);
static inline void object_freep(struct object_store **s)
{
	object_free(s);
}

/*
 * Objects as files below the directory path, key = relative path. The directory must exist (RC_NOT_FOUND).
 * Unfinished objects live in .evfs/tmp/, which is made when first needed; what dead processes left there is removed at open.
 * Nothing is written by opening or reading.
 */
enum rc object_dir_new(struct object_store **out, const char *path, struct why *why) _must_check_;

/* What a fault wrapper does to every nth call of a kind (0: never). */
struct object_faults {
	unsigned put_nth;
	enum rc put_rc;		/* RC_UNCERTAIN: it landed, the reply was lost */
	unsigned get_nth;
	enum rc get_rc;
};
/* Wrap inner (taken, even on failure). faults is read at each call and stays the caller's. */
enum rc object_fault_new(struct object_store **out, struct object_store *inner, const struct object_faults *faults,
			 struct why *why) _must_check_;

enum object_kind { OBJECT_PUT, OBJECT_GET, OBJECT_HEAD, OBJECT_LIST, OBJECT_OTHER, OBJECT_KINDS };

/* Requests to a server since the store was opened, retries included. Always 0 for a directory. */
struct object_counts {
	uint64_t put, get, head, list, other;	/* by kind; other: buckets, probes */
	uint64_t retries, failed;		/* failed: calls that ended in something else than an answer */
	uint64_t sent, received;		/* bytes of bodies */
	struct latency_counts times[OBJECT_KINDS];	/* of those that reached it: from when each had a connection to its end */
};
void object_counts(const struct object_store *s, struct object_counts *out);

/* For implementations only. */
struct object_counters {
	_Atomic uint64_t put, get, head, list, other, retries, failed, sent, received;
	struct latency times[OBJECT_KINDS];
};
struct object_ops {
	const char *name;
	void (*put)(struct object_store *s, struct object_put *items, size_t n, uint64_t deadline_ms);
	void (*get)(struct object_store *s, struct object_get *items, size_t n);
	enum rc (*list)(struct object_store *s, const char *prefix, const char *after, enum object_list_flags flags,
			object_list_fn *fn, void *arg, struct why *why);
	enum rc (*stat)(struct object_store *s, const char *key, struct object_info *info_r, struct why *why);
	enum rc (*replace)(struct object_store *s, const char *key, const void *buf, size_t len, const char *tag,
			   char new_tag[OBJECT_TAG_MAX], struct why *why);
	enum rc (*sync)(struct object_store *s, struct why *why);
	enum rc (*ready)(struct object_store *s, uint64_t bytes, size_t objects, struct why *why);
	void (*destroy)(struct object_store *s);
};

struct object_store {
	const struct object_ops *ops;
	const struct object_counters *counters;	/* NULL: nothing is counted. A wrapper has its inner store's */
};

#endif
