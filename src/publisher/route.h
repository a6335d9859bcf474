/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an event to its message: topic, key, headers, value (contracts.md D4, B8, F6). Pure: no I/O, no clock, no log.
 */
#ifndef EVFS_PUBLISHER_ROUTE_H
#define EVFS_PUBLISHER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "sink/sink.h"
#include "store/tail.h"

enum route_shape {
	ROUTE_EVENT,	/* the stored bytes */
	ROUTE_WRAPPER,	/* F6: message_type, payload, metadata, s3_reference */
};

struct route_options {
	enum route_shape shape;
	const char *topic;		/* NULL: by the rules. Else all go to this one, whatever they name: for a replay */
	const char *default_topic;	/* where no rule says another; not NULL */
	const char *dlq_topic;
	bool cloud_events;		/* ce_* headers, binary mode */
	bool reference;			/* s3_bucket, s3_key headers */
	bool large_by_reference;	/* what is over the limit becomes a message that names its object; else it is for the DLQ */
	const char *bucket, *prefix;	/* of the store; NULL: a directory (bucket is then left out) */
	const char *endpoint;		/* for the wrapper */
	const char *source;		/* ce_source: "/evfs/UUID" */
	size_t max_message;		/* 0: none */
};

/* A message and what it owns. */
struct route_message {
	struct sink_message message;	/* points into what follows */
	struct buf topic, key, value, texts;
	struct sink_header headers[24];
};
#define ROUTE_MESSAGE_INIT { 0 }
void route_message_release(struct route_message *m);

/*
 * Make the message of an event that could be read (e->rc is RC_OK). Topic: metadata.kafka_topic; else by the type (D4), without regard to
 * case; else the default. Key: metadata.ordering_key, aggregate id, event id. RC_INVALID: the topic that the event names can't be one.
 * RC_TOO_LARGE: over the limit, and no reference is allowed: for the DLQ. RC_CORRUPT: the body is no event.
 * On failure out->topic and out->key hold what is known of them, for route_dead; out may be used again and again.
 */
enum rc route_make(const struct route_options *o, const struct tail_event *e, struct route_message *out, struct why *why) _must_check_;
/*
 * The record of an event that can't be published (E4's fields, plus what a replay needs: event_id, aggregate_type, aggregate_id,
 * sequence_number, s3_bucket, s3_key, stage). stage: "read", "route", "produce". topic, key: as the message would have had them, "" if unknown.
 */
enum rc route_dead(const struct route_options *o, const struct tail_event *e, const char *stage, const char *topic, const char *key,
		   enum rc rc, const char *error, int64_t now_us, struct route_message *out, struct why *why) _must_check_;
/* RC_INVALID, with the rule: [a-zA-Z0-9._-]{1,249}, not "." nor "..". */
enum rc route_check_topic(const char *topic, struct why *why) _must_check_;

#endif
