/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A draft: an event as its writer gives it, checked, not yet committed. It lacks what only the
 * commit knows: its number and, where the writer named none, its time. Pure.
 */
#ifndef EVFS_EVENT_DRAFT_H
#define EVFS_EVENT_DRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/rc.h"
#include "event/time.h"

#define DRAFT_DIGEST_LEN 32

struct draft {
	char *event_id; /* NULL: the writer named none, or draft_render's argument */
	char *event_type;
	char *aggregate_type, *aggregate_id; /* NULL: not named in the document */
	bool has_time;
	struct time_stamp occurred_at;
	char *actor;           /* NULL: null */
	char *schema_version;  /* "1" if not named */
	/* JSON objects, minified, otherwise byte for byte; "{}" if metadata is not named */
	char *data, *metadata;
	bool has_expect;
	uint64_t expect; /* expected_seq: the stream's last number before it. 0: must be new */
	bool has_number;
	uint64_t number; /* sequence_number: the number that this event must get */
};

#define DRAFT_INIT { 0 }
void draft_release(struct draft *d);

/*
 * Check one document for events.ndjson (design.md 7): event_type and data are needed; event_id,
 * occurred_at, actor, metadata, schema_version, expected_seq, aggregate_type, aggregate_id,
 * sequence_number may be there; nothing else, nothing twice. doc was scanned with JSON_STRICT.
 * RC_INVALID names the key, what was expected and what was found, and the line and column within
 * doc (both from 1). Texts that name something are neither empty nor hold a NUL.
 */
enum rc draft_from_document(const struct json_value *doc, struct draft *out,
			    struct why *why) _must_check_;

/*
 * Check the content of a named file: a payload (any JSON object: it becomes data), or a whole
 * envelope (an object that has both event_id and aggregate_id; checked as draft_from_document does,
 * without expected_seq). event_type, and number if has_number, are what the name says; an envelope
 * must agree with them.
 */
enum rc draft_from_file(const struct json_value *doc, const char *event_type, bool has_number,
			uint64_t number, struct draft *out, struct why *why) _must_check_;

/* RC_INVALID unless the draft may stand in this stream: what it names of type and id agrees. */
enum rc draft_check_stream(const struct draft *d, const char *type, const char *id,
			   struct why *why) _must_check_;

/*
 * What the ledger keeps of a draft: the stored body in pieces around time and number.
 *   body = head [time] tail number "}"      time only where !own_time
 * Joined at any later time by any process, see draft_join.
 */
struct draft_pieces {
	struct buf head, tail;
	bool own_time;       /* the writer named the time: it stands in head already */
	int64_t occurred_us; /* if own_time */
	/* SHA-256 of type, stream, actor, data, metadata, schema version as parsed values */
	uint8_t digest[DRAFT_DIGEST_LEN];
};
#define DRAFT_PIECES_INIT { BUF_INIT, BUF_INIT, false, 0, { 0 } }
void draft_pieces_release(struct draft_pieces *p);

/*
 * Render d for stream (type, id) under event_id (d's own if it has one must be the same).
 * RC_NO_MEMORY: out is as it was.
 */
enum rc draft_render(const struct draft *d, const char *type, const char *id, const char *event_id,
		     struct draft_pieces *out, struct why *why) _must_check_;

/* Append the stored body. recorded_us stands as occurred_at where own_time is false. */
void draft_join(const char *head, size_t head_len, const char *tail, size_t tail_len, bool own_time,
		int64_t recorded_us, uint64_t number, struct buf *out);

/* The length draft_join will give. */
size_t draft_join_len(size_t head_len, size_t tail_len, bool own_time, int64_t recorded_us,
		      uint64_t number);

/* The digest of a stored body, comparable with draft_pieces.digest. RC_INVALID: no event. */
enum rc draft_digest_body(const char *body, size_t len, uint8_t out[DRAFT_DIGEST_LEN],
			  struct why *why) _must_check_;

#endif
