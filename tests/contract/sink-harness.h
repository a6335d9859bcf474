/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sinks to test: what was sent, what was told of it, what is there.
 *
 * A run does what a publisher does: it sends numbered messages in their order, and after the sink broke it makes a new one and
 * sends again what was not told to be there.
 */
#ifndef EVFS_TESTS_SINK_HARNESS_H
#define EVFS_TESTS_SINK_HARNESS_H

#include <check.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/cleanup.h"
#include "sink/sink.h"

#define RUN_MAX 20000
#define TOPIC (sink_harness_topic)

extern char sink_harness_topic[64]; /* a new one for each test */
extern const char *sink_harness_servers; /* NULL: the mock cluster's, or none */
extern rd_kafka_mock_cluster_t *sink_harness_mock;
extern struct sink_kafka_options sink_harness_kafka; /* what the next sink is made with */
extern char sink_harness_path[64]; /* of the ndjson file */

/* Rows of the contract: the backends, each of them bare and behind the fault wrapper. */
int sink_harness_count(void);
const char *sink_harness_name(int i);
void sink_harness_open(int i);
void sink_harness_open_mock(void);
void sink_harness_close(void);
extern struct sink_faults sink_harness_faults;

/* One message of a run, and what was told of it. */
struct sent {
	enum { SENT_TODO, SENT_QUEUED, SENT_THERE, SENT_DEAD } state;
	enum rc rc;
	unsigned told;
	char value[160];
	const char *topic; /* NULL: TOPIC */
	const char *big; /* instead of value */
	size_t big_len;
	int64_t time_us;
};
struct run {
	struct sent sent[RUN_MAX];
	int n, keys;
	unsigned broken; /* how often the sink was made anew */
	struct sink *sink;
};
extern struct run run;
void run_start(int n, int keys);
/* All of them are there or dead. between, if any, is called before each message. */
void run_all(void (*between)(int i));
void run_stop(void);
enum rc run_make(struct why *why);
unsigned run_dead(void);

/* What is there. */
struct record {
	char *key, *value, *headers; /* headers: "name=value;" each */
};
struct records {
	struct record *list;
	size_t n;
};
void records_read(const char *topic, struct records *out);
void records_release(struct records *r);
/*
 * Each message of the run that is not dead is there, the first occurrences of each key in order, none of the dead ones is; at most
 * so many duplicates.
 */
void records_check(const char *topic, size_t duplicates);

void sink_kafka_cases_add(Suite *suite);
void sink_mock_cases_add(Suite *suite);
void sink_ndjson_cases_add(Suite *suite);

#endif
