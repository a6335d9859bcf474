/* SPDX-License-Identifier: Apache-2.0 */
/* What a layout is behind layout.h: where its streams lie and how their keys are read. */
#ifndef EVFS_STORE_LAYOUT_PRIVATE_H
#define EVFS_STORE_LAYOUT_PRIVATE_H

#include "store/layout.h"

struct layout_ops {
	const char *name;		/* in store.json */
	const char *streams; /* the prefix under which each stream has its own: "streams/" */
	const char *const *known;	/* prefixes at the top that are ours, up to a NULL */

	/* Append the prefix of a stream, '/' included. */
	void (*prefix)(const char *type, const char *id, struct buf *out);
	/*
	 * Append a key that lies behind each entry up to number, and before all others, given the
	 * stream's prefix.
	 */
	void (*after)(const char *prefix, uint64_t number, struct buf *out);
	/*
	 * Type and id of the stream that an entry's key names; RC_INVALID: no entry. The bufs are
	 * appended to.
	 */
	enum rc (*parse)(const char *key, struct buf *type, struct buf *id, struct why *why);
	/*
	 * What the last component of an entry's key says. event_id stays empty where it says
	 * none. False: no entry.
	 */
	bool (*entry)(const char *last, uint64_t *number_r, struct buf *event_id);
	/* Append the text behind one component of a prefix. False: no aggregate has it. */
	bool (*part)(const char *component, size_t len, struct buf *out);
};

extern const struct layout_ops layout_native_ops, layout_indexed_ops;

#endif
