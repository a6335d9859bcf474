/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where published events go: Kafka, or lines of JSON.
 *
 * Guarantees: what was reported as RC_OK is durably there (Kafka: acknowledged by all in-sync replicas; ndjson: written, and
 * synced where it is a file). Messages of one key are there in the order in which they were sent, those reported RC_OK; after a
 * failed one of a topic partition nothing overtakes it silently: the sink is broken (RC_CORRUPT) and must be made anew.
 * Does not: retry beyond its own protocol, choose topics. Threads: one caller.
 */
#ifndef EVFS_SINK_SINK_H
#define EVFS_SINK_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

struct sink;

struct sink_header {
	const char *name, *value;
};

/* One message; everything is copied. */
struct sink_message {
	const char *topic;
	const char *key;	/* may be "" */
	size_t key_len;
	const char *value;
	size_t len;
	const struct sink_header *headers;
	size_t n_headers;
	int64_t time_us;	/* of the record; 0: now */
	void *opaque;		/* comes back in the report */
};

/*
 * What became of a message, told from within sink_send, sink_poll and sink_flush. RC_OK. RC_TOO_LARGE, RC_NOT_FOUND (no such topic),
 * RC_DENIED, RC_INVALID: it never will be there, others are not harmed. Anything else: the sink is broken.
 */
typedef void sink_report_fn(void *arg, void *opaque, enum rc rc, const struct why *why);

/* Is it this message's fault, for good, and no other's? */
static inline bool sink_refuses(enum rc rc)
{
	return rc == RC_TOO_LARGE || rc == RC_NOT_FOUND || rc == RC_DENIED || rc == RC_INVALID;
}

/* Kafka's rule for the names of topics: [a-zA-Z0-9._-]{1,249}, not "." nor "..". */
#define SINK_TOPIC_MAX 249
bool sink_is_topic(const char *name);

/*
 * Queue a message. RC_OK: it will be reported. Otherwise it is not queued and not reported: RC_TEMPORARY: the queue is full, poll;
 * RC_TOO_LARGE, RC_NOT_FOUND, RC_DENIED, RC_INVALID as above; RC_CORRUPT: the sink is broken (a fatal error): free it, make a new one, and
 * send again what was not reported RC_OK.
 */
enum rc sink_send(struct sink *s, const struct sink_message *m, struct why *why) _must_check_;
/* Tell of what was delivered; wait up to ms for the first of it, not at all where nothing is queued. RC_OK, or RC_CORRUPT as above. */
enum rc sink_poll(struct sink *s, unsigned ms, struct why *why) _must_check_;
/* Wait up to ms until nothing is queued. RC_TEMPORARY: some still is. */
enum rc sink_flush(struct sink *s, unsigned ms, struct why *why) _must_check_;
/* Throw away what is queued without a report, as far as it was not sent. Then the sink may only be polled, flushed and freed. */
void sink_purge(struct sink *s);

struct sink_counts {
	uint64_t sent, delivered, failed, queued, bytes;	/* messages; queued: now */
	uint64_t errors;	/* that the client library told of, transport errors too */
	char last_error[256];
};
void sink_counts(const struct sink *s, struct sink_counts *out);
/* The largest message that it takes, key and headers included; 0: not known, or no limit. */
size_t sink_max_message(const struct sink *s);

/* What is queued is thrown away. */
void sink_free(struct sink **s);
static inline void sink_freep(struct sink **s)
{
	sink_free(s);
}

/* A librdkafka property. */
struct sink_property {
	const char *name, *value;
};
struct sink_kafka_options {
	const char *servers;	/* bootstrap.servers */
	const struct sink_property *properties;	/* the user's, after ours */
	size_t n_properties;
	const char *partitioner;	/* NULL: consistent_random */
	bool create_topics;	/* those that are missing are made when they are first sent to */
	unsigned partitions, replication;	/* with create_topics; 0: 3 and 1 */
	uint64_t request_ms;	/* how long a request to the broker may take; 0: 30 s */
};
/*
 * An idempotent producer: acks=all, enable.idempotence, no message time-out, at most 5 in flight. RC_INVALID: an unknown property, or one
 * that would break that (said which, and what is promised). RC_TEMPORARY: no broker answers within request_ms.
 */
enum rc sink_kafka_new(struct sink **out, const struct sink_kafka_options *o, sink_report_fn *report, void *arg, struct why *why) _must_check_;
/* RC_INVALID as sink_kafka_new would, without a broker. */
enum rc sink_kafka_check(const struct sink_property *property, struct why *why) _must_check_;
const char *sink_kafka_version(void);

/*
 * A line per message: {"topic","key","headers":{…},"value":…}, value as JSON where it is, else as a string. path "-": stdout. A file is
 * appended to; a line that a crash left unfinished is cut off. RC_DENIED, RC_NO_SPACE.
 */
enum rc sink_ndjson_new(struct sink **out, const char *path, sink_report_fn *report, void *arg, struct why *why) _must_check_;

/* What a fault wrapper does to every nth message (0: never). RC_UNCERTAIN: it is delivered, and reported as broken. */
struct sink_faults {
	unsigned send_nth;
	enum rc send_rc;
	unsigned report_nth;
	enum rc report_rc;
};
/*
 * Wrap what make gives (called with the wrapper's report and its arg). faults is read at each call and stays the caller's.
 */
typedef enum rc sink_make_fn(void *make_arg, struct sink **out, sink_report_fn *report, void *arg, struct why *why);
enum rc sink_fault_new(struct sink **out, sink_make_fn *make, void *make_arg, const struct sink_faults *faults, sink_report_fn *report,
		       void *arg, struct why *why) _must_check_;

/* For implementations only. */
struct sink_ops {
	const char *name;
	enum rc (*send)(struct sink *s, const struct sink_message *m, struct why *why);
	enum rc (*poll)(struct sink *s, unsigned ms, struct why *why);
	enum rc (*flush)(struct sink *s, unsigned ms, struct why *why);
	void (*purge)(struct sink *s);
	void (*counts)(const struct sink *s, struct sink_counts *out);
	size_t (*max_message)(const struct sink *s);
	void (*destroy)(struct sink *s);
};
struct sink {
	const struct sink_ops *ops;
};

#endif
