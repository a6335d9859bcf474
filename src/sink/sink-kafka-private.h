/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the Kafka sink. For sink-kafka*.c only.
 *
 * The client library is told to end with a fatal error where a message can't be delivered (enable.gapless.guarantee): nothing
 * behind it in its partition is then sent. Where the reason lies in the messages alone, the sink makes itself a new client, tells
 * of what never will be there, and sends the rest again: its caller sees a report, no broken sink. A batch is refused as a whole,
 * so a topic that had one goes on in smaller and smaller groups until the message that is to blame stands alone.
 */
#ifndef EVFS_SINK_SINK_KAFKA_PRIVATE_H
#define EVFS_SINK_SINK_KAFKA_PRIVATE_H

#include <librdkafka/rdkafka.h>

#include "base/cleanup.h"
#include "sink/sink.h"

#define KAFKA_TOPIC_BUCKETS 64
#define KAFKA_HEADERS_MAX 64

/* One message, kept until it is reported. */
struct kafka_message {
	struct kafka_message *next,
		*prev; /* all of the sink, in the order in which they were sent */
	struct kafka_message *next_pending; /* of the topic: not given to the client yet */
	struct kafka_topic *topic;
	bool first; /* given to the client when it had no other of the topic */
	int64_t time_ms;
	void *opaque;
	size_t key_len, len, n_headers, size; /* size: key, value, headers */
	char data[]; /* value, key, then names and values of the headers, each with its NUL */
};

struct kafka_topic {
	struct kafka_topic *next;
	rd_kafka_topic_t *handle; /* of the present client; NULL: not used with it yet */
	enum kafka_creation { KAFKA_UNKNOWN, KAFKA_CREATING, KAFKA_READY } creation;
	uint64_t made_ms; /* when it was created here; 0: it was not */
	enum rc refused; /* until refused_ms nothing is sent there, with this reason */
	uint64_t refused_ms;
	struct why refusal;
	size_t limit; /* at most that many in the client at once; 0: no limit */
	size_t calm; /* how many were delivered since the limit was last changed */
	uint64_t heard_ms; /* the last delivery, or the first message given since there was none */
	size_t in_client;
	size_t refused_together; /* refused with others, since the client was made */
	const struct kafka_message *newest; /* given to the client */
	struct kafka_message *pending, **pending_end;
	char name[];
};

/* What a delivery error means. */
enum kafka_fate {
	KAFKA_OK,
	KAFKA_REFUSED, /* it never will be there */
	KAFKA_SHARED, /* it, or another of its batch, never will be there */
	KAFKA_AGAIN, /* not sent, because of another */
	KAFKA_BROKEN, /* none of that: the sink's caller begins anew */
};

struct sink_kafka {
	struct sink base;
	rd_kafka_t *client;
	rd_kafka_queue_t *admin; /* replies to requests to create topics */
	char *servers, *partitioner;
	struct sink_property *properties; /* own copies */
	size_t n_properties;
	bool create_topics;
	unsigned partitions, replication;
	unsigned creating; /* requests under way */
	uint64_t request_ms;
	uint64_t probe_ms; /* when to look for topics that nothing is heard of */
	size_t max_message, max_messages, max_bytes;
	sink_report_fn *report;
	void *arg;
	struct kafka_topic *topics[KAFKA_TOPIC_BUCKETS];
	struct kafka_message *oldest, *newest; /* not reported */
	size_t n, bytes; /* of them */
	size_t n_pending;
	bool purged;
	struct sink_counts counts;
	struct why broken; /* "" while it is not */
};

static inline struct sink_kafka *sink_kafka_of(struct sink *s)
{
	return container_of(s, struct sink_kafka, base);
}

/* sink-kafka-conf.c: the client's configuration, ours and then the user's; the callbacks are the caller's to set. */
enum rc sink_kafka_conf_new(const struct sink_kafka *k, rd_kafka_conf_t **out, struct why *why)
	_must_check_;
void sink_kafka_conf_freep(rd_kafka_conf_t **conf);
/* A number of the configuration. */
uint64_t sink_kafka_conf_number(const rd_kafka_conf_t *conf, const char *name);

/* sink-kafka-error.c. *rc_r: what to report with KAFKA_REFUSED and KAFKA_SHARED. */
enum kafka_fate sink_kafka_error_fate(rd_kafka_resp_err_t err, enum rc *rc_r);

/* sink-kafka-topic.c. NULL: no memory. */
struct kafka_topic *sink_kafka_topic_get(struct sink_kafka *k, const char *name);
/* RC_OK: messages may be given to the client. RC_TEMPORARY: not yet, keep them. Otherwise what to report. */
enum rc sink_kafka_topic_ready(struct sink_kafka *k, struct kafka_topic *t, struct why *why)
	_must_check_;
/* Nothing is sent there for a while. */
void sink_kafka_topic_refuse(struct kafka_topic *t, enum rc rc, const struct why *why);
/* The client says that it is missing. True: it was just made, and the client was told to ask again. */
bool sink_kafka_topic_is_young(struct sink_kafka *k, struct kafka_topic *t);
/*
 * Ask about topics of which nothing was heard for some seconds: where the broker doesn't let us see a topic, the client keeps its
 * messages for ever. True: some refuse now; a new client gives what waits for them.
 */
bool sink_kafka_topic_probe(struct sink_kafka *k);
/* Take the replies to requests to create topics. */
void sink_kafka_topic_replies(struct sink_kafka *k);
/* The client ends: its handles are given back. */
void sink_kafka_topic_close(struct sink_kafka *k);
void sink_kafka_topic_free(struct sink_kafka *k);

#endif
