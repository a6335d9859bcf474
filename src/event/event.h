/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope: the JSON document stored for an event (contracts.md A). Pure: no I/O, no clock, no
 * log.
 */
#ifndef EVFS_EVENT_EVENT_H
#define EVFS_EVENT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/rc.h"
#include "event/time.h"

/* The keys of an envelope, in the order in which they are written (contracts.md A1). */
enum event_key {
	EVENT_ID,
	EVENT_TYPE,
	EVENT_AGGREGATE_TYPE,
	EVENT_AGGREGATE_ID,
	EVENT_OCCURRED_AT,
	EVENT_ACTOR,
	EVENT_DATA,
	EVENT_METADATA,
	EVENT_SCHEMA_VERSION,
	EVENT_SEQUENCE_NUMBER,
	EVENT_KEYS /* how many; any other key */
};
const char *event_key_name(enum event_key key);
/* Which one the scanned key of a member is. */
enum event_key event_key_find(const struct json_value *key);

/*
 * A parsed envelope. All texts are NUL-terminated UTF-8 of the struct's own; texts that hold a NUL
 * character are refused. data and metadata are JSON objects, normalized (json_form_normal).
 */
struct event {
	char *event_id; /* NULL: missing, as contracts.md A3 allows */
	char *event_type, *aggregate_type, *aggregate_id;
	bool has_time;
	struct time_stamp occurred_at;
	char *actor; /* NULL: null */
	char *data, *metadata;
	char *schema_version;
	bool has_number;
	char *number_text; /* digits of any size, with their sign; NULL if !has_number */
	uint64_t number;   /* the same where it is 0 .. 2^63-1, else 0 */
};

#define EVENT_INIT { 0 }
void event_release(struct event *e);

/*
 * Read a stored body with the established reader's tolerance (contracts.md A2, A3, B10). RC_INVALID
 * says what is wrong; an older shape (contracts.md F7) is RC_INVALID too and says so.
 */
enum rc event_parse(const char *text, size_t len, struct event *out, struct why *why) _must_check_;

/*
 * The same, but all that the established reader takes is read: an older shape, of which payload and
 * time are lost (contracts.md F8), and NUL characters in texts, which stand in the struct as the
 * two bytes C0 80 (no UTF-8 has them) and are written as \u0000 again. To compare with that reader;
 * nothing else wants it.
 */
enum rc event_parse_lossy(const char *text, size_t len, struct event *out,
			  struct why *why) _must_check_;

/*
 * Append the stored body of e: all ten keys, A1's order, A2's bytes. A missing event_id or time is
 * written as null, missing data and metadata as {}, a missing schema version as "1".
 */
void event_write(const struct event *e, struct buf *out);

/*
 * The body of an index object (contracts.md B5). kafka_topic and ordering_key are taken from
 * metadata.
 */
void event_write_index(const struct event *e, const char *event_key, struct buf *out);

/*
 * Append one compact line, newline included, for events.ndjson: the body itself where it is compact
 * already
 * (*same_r = true), else its normalized form. A body that is no JSON object: RC_INVALID.
 */
enum rc event_line(const char *body, size_t len, struct buf *out, bool *same_r,
		   struct why *why) _must_check_;

#endif
