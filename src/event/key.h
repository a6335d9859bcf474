/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of objects, of both layouts (design.md 4; contracts.md B2). Pure. Functions append to out.
 */
#ifndef EVFS_EVENT_KEY_H
#define EVFS_EVENT_KEY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

#define KEY_MAX 1024          /* bytes, S3's limit */
#define KEY_COMPONENT_MAX 255 /* bytes between two '/', what a directory store can hold */

/* native: streams/{type}/{id}/{number:010d}.json, type and id escaped as in the mount (name.h) */
void key_native_event(const char *type, const char *id, uint64_t number, struct buf *out);
void key_native_stream(const char *type, const char *id, struct buf *out); /* "streams/T/I/" */
/* Type, id and number of a native key; the bufs are appended to. RC_INVALID: no such key. */
enum rc key_native_parse(const char *key, struct buf *type, struct buf *id, uint64_t *number_r,
			 struct why *why) _must_check_;

/*
 * indexed, nothing escaped. number may be any text of digits ("0" for none), padded to 20 digits.
 */
void key_indexed_event(int64_t occurred_us, const char *type, const char *id, const char *event_id,
		       struct buf *out);
void key_indexed_by_aggregate(const char *type, const char *id, const char *number,
			      const char *event_id, struct buf *out);
void key_indexed_by_date(int64_t occurred_us, const char *event_id, struct buf *out);
void key_indexed_by_event_id(const char *event_id, struct buf *out);
/*
 * "indexes/by-aggregate/T/I/{number:020d}_{event_id}.json": the last component's number and id.
 * RC_INVALID: another shape.
 */
enum rc key_indexed_parse_entry(const char *last_component, uint64_t *number_r,
				struct buf *event_id, struct why *why) _must_check_;

/*
 * RC_INVALID when an event of this stream has no possible key: too long, a component too long, no
 * UTF-8, NUL, empty type or id.
 */
enum rc key_check_stream(const char *type, const char *id, struct why *why) _must_check_;

#endif
