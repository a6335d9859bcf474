/* SPDX-License-Identifier: Apache-2.0 */
/* route-private.h - shared by route.c and route-dead.c: a message in the making. */
#ifndef EVFS_PUBLISHER_ROUTE_PRIVATE_H
#define EVFS_PUBLISHER_ROUTE_PRIVATE_H

#include "event/event.h"
#include "publisher/route.h"

/* What metadata says about the message. */
enum route_meta {
	ROUTE_META_TOPIC,
	ROUTE_META_ORDERING,
	ROUTE_META_TRACEPARENT,
	ROUTE_META_TRACESTATE,
	ROUTE_META_BAGGAGE,
	ROUTE_META_REQUEST,
	ROUTE_META_CORRELATION,
	ROUTE_META_DB_NAME,
	ROUTE_META_PROJECT,
	ROUTE_META_DB,
	ROUTE_META_KIND,
	ROUTE_META_NESTED,
	ROUTE_METAS
};

/* A parsed event and the members of its metadata; text is NULL where one is missing. Zeroed before its first use. */
struct route_source {
	struct event event;
	struct json_value meta[ROUTE_METAS];
};
/* RC_CORRUPT: the body is no event. */
enum rc route_source_read(struct route_source *s, const struct tail_event *e, struct why *why) _must_check_;
void route_source_release(struct route_source *s);

/* A message anew: what out held is forgotten, its memory is kept. */
void route_begin(struct route_message *out);
/* A header; texts are copied. One that has no room, is empty, or holds a NUL, is left out. */
void route_header(struct route_message *out, const char *name, const char *text, size_t len);
/* traceparent, tracestate, baggage. */
void route_trace(const struct route_source *s, struct route_message *out);
/* event_id, sequence_number. */
void route_identity(const struct tail_event *e, struct route_message *out);
/* s3_bucket, s3_key: where the object is. */
void route_place(const struct route_options *o, const struct tail_event *e, struct route_message *out);
/* Append the topic that the event wants, unchecked. s may be NULL: by the type. */
void route_topic(const struct route_options *o, const struct tail_event *e, const struct route_source *s, struct buf *out);
/* Append the key. s may be NULL: without metadata. */
void route_key(const struct tail_event *e, const struct route_source *s, struct buf *out);
/* out->message of what was put into out. RC_NO_MEMORY. */
enum rc route_end(struct route_message *out, struct why *why) _must_check_;
/* How many bytes of a broker's limit it takes. */
size_t route_size(const struct route_message *m);

#endif
