/* SPDX-License-Identifier: Apache-2.0 */
/* sink-kafka-cases.c - what only a real broker can show. */
#include "config.h"
#include "sink-harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static struct why why;
static rd_kafka_t *admin;

static void setup(void)
{
	char text[256];
	sink_harness_open(0);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	ck_assert_int_eq(rd_kafka_conf_set(conf, "bootstrap.servers", sink_harness_servers, text,
					   sizeof(text)),
			 0);
	admin = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	ck_assert_ptr_nonnull(admin);
}

static void teardown(void)
{
	rd_kafka_destroy(admin);
	sink_harness_close();
}

/* Number of partitions; 0: there is no such topic. */
static int partitions_of(const char *topic)
{
	const struct rd_kafka_metadata *md;
	int n = 0;
	ck_assert_int_eq(rd_kafka_metadata(admin, 1, NULL, &md, 10000),
			 0); /* all of them: asking for one may make it */
	for (int i = 0; i < md->topic_cnt; i++)
		if (strcmp(md->topics[i].topic, topic) == 0)
			n = md->topics[i].partition_cnt;
	rd_kafka_metadata_destroy(md);
	return n;
}

static void wait_partitions(const char *topic, int n)
{
	uint64_t until = clock_boot_ms() + 20000;
	while (partitions_of(topic) != n) {
		ck_assert_msg(clock_boot_ms() < until, "%s has no %d partitions", topic, n);
		clock_sleep_ms(20);
	}
}

static void create(const char *topic, const char *name, const char *value)
{
	char text[256];
	rd_kafka_queue_t *q = rd_kafka_queue_new(admin);
	rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, 1, 1, text, sizeof(text));
	if (name)
		ck_assert_int_eq(rd_kafka_NewTopic_set_config(t, name, value), 0);
	rd_kafka_CreateTopics(admin, &t, 1, NULL, q);
	rd_kafka_event_t *e = rd_kafka_queue_poll(q, 20000);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(rd_kafka_event_error(e), 0);
	rd_kafka_event_destroy(e);
	rd_kafka_NewTopic_destroy(t);
	rd_kafka_queue_destroy(q);
	wait_partitions(topic, 1);
}

static void delete (const char *topic)
{
	rd_kafka_queue_t *q = rd_kafka_queue_new(admin);
	rd_kafka_DeleteTopic_t *t = rd_kafka_DeleteTopic_new(topic);
	rd_kafka_DeleteTopics(admin, &t, 1, NULL, q);
	rd_kafka_event_t *e = rd_kafka_queue_poll(q, 20000);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(rd_kafka_event_error(e), 0);
	rd_kafka_event_destroy(e);
	rd_kafka_DeleteTopic_destroy(t);
	rd_kafka_queue_destroy(q);
}

START_TEST(a_missing_topic_is_made_as_it_was_asked_for)
{
	sink_harness_kafka.partitions = 5;
	run_start(200, 7);
	ck_assert_int_eq(partitions_of(TOPIC), 0);
	run_all(NULL);
	ck_assert_int_eq(partitions_of(TOPIC), 5);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(a_missing_topic_that_may_not_be_made_is_told_of)
{
	uint64_t from = clock_boot_ms();
	sink_harness_kafka.create_topics = false;
	sink_harness_kafka.request_ms = 3000;
	run_start(50, 7);
	run_all(NULL);
	ck_assert_uint_lt(clock_boot_ms() - from, 10000);
	if (partitions_of(TOPIC) > 0) { /* auto.create.topics.enable */
		records_check(TOPIC, 0);
		return;
	}
	ck_assert_uint_eq(run_dead(), 50);
	ck_assert_int_eq(run.sent[0].rc, RC_NOT_FOUND);
	/* and once somebody has made it, it is found */
	run_stop();
	create(TOPIC, NULL, NULL);
	run_start(50, 7);
	run_all(NULL);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(a_topic_that_cannot_be_made_is_told_of)
{
	sink_harness_kafka.replication = 100;
	sink_harness_kafka.request_ms = 3000;
	run_start(20, 7);
	run_all(NULL);
	if (partitions_of(TOPIC) == 0) {
		struct sink_counts c;
		sink_counts(run.sink, &c);
		ck_assert_uint_eq(run_dead(), 20);
		ck_assert_uint_gt(c.errors, 0);
	}
}
END_TEST

START_TEST(of_a_batch_over_the_topics_limit_only_what_is_too_large_is_refused)
{
	static char big[40001];
	static const struct sink_property plain[] = { { "compression.codec", "none" } };
	memset(big, 'x', sizeof(big) - 1);
	sink_harness_kafka.properties = plain;
	sink_harness_kafka.n_properties = 1;
	create(TOPIC, "max.message.bytes", "20000");
	run_start(3000, 7);
	for (int i = 500; i < 3000; i += 1000) {
		run.sent[i].big = big;
		run.sent[i].big_len = sizeof(big) - 1;
	}
	run_all(NULL);
	ck_assert_uint_eq(run_dead(), 3);
	ck_assert_int_eq(run.sent[1500].rc, RC_TOO_LARGE);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(of_a_batch_with_a_time_that_is_refused_only_that_is)
{
	create(TOPIC, "message.timestamp.before.max.ms", "3600000");
	run_start(3000, 7);
	for (int i = 0; i < run.n; i++)
		run.sent[i].time_us = clock_wall_us();
	run.sent[1234].time_us -= 86400 * INT64_C(1000000);
	run_all(NULL);
	ck_assert_uint_eq(run_dead(), 1);
	ck_assert_int_eq(run.sent[1234].rc, RC_INVALID);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(a_topic_deleted_under_way_is_made_again_or_told_of)
{
	static char other[80];
	snprintf(other, sizeof(other), "%s-other", TOPIC);
	sink_harness_kafka.request_ms = 5000;
	run_start(400, 7);
	for (int i = 0; i < run.n; i += 2)
		run.sent[i].topic = other;
	run_all(NULL);
	delete (TOPIC);
	wait_partitions(TOPIC, 0);
	for (int i = 1; i < run.n; i += 2)
		run.sent[i].state = SENT_TODO;
	run_all(NULL);
	unsigned dead = run_dead();
	records_check(other, 0);
	/* whatever became of those: soon it is there, and takes more */
	uint64_t until = clock_boot_ms() + 40000;
	do {
		ck_assert(clock_boot_ms() < until);
		run.sent[1].state = SENT_TODO;
		run_all(NULL);
	} while (run.sent[1].state == SENT_DEAD);
	ck_assert_int_eq(partitions_of(TOPIC), 3);
	ck_assert_uint_le(dead, 200);
}
END_TEST

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

START_TEST(a_lone_message_is_not_kept_waiting)
{
	static uint64_t took[100];
	run_start(101, 7);
	int n = run.n;
	for (int i = 0; i < n; i++) {
		uint64_t from = clock_boot_us();
		run.n = i + 1;
		while (run.sent[i].state != SENT_THERE) {
			struct sink_message m = { .topic = TOPIC,
						  .key = "k",
						  .key_len = 1,
						  .value = run.sent[i].value,
						  .len = strlen(run.sent[i].value),
						  .opaque = &run.sent[i] };
			if (run.sent[i].state == SENT_TODO) {
				run.sent[i].state = SENT_QUEUED;
				ck_assert_int_eq(sink_send(run.sink, &m, &why), RC_OK);
			}
			ck_assert_int_eq(sink_poll(run.sink, 1000, &why), RC_OK);
		}
		if (i) /* the first one waits for the topic */
			took[i - 1] = clock_boot_us() - from;
	}
	qsort(took, ARRAY_SIZE(took), sizeof(took[0]), by_size);
	ck_assert_msg(took[50] < 50000, "p50 is %llu us", (unsigned long long)took[50]);
}
END_TEST

void sink_kafka_cases_add(Suite *suite)
{
	TCase *t = tcase_create("kafka");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_missing_topic_is_made_as_it_was_asked_for);
	tcase_add_test(t, a_missing_topic_that_may_not_be_made_is_told_of);
	tcase_add_test(t, a_topic_that_cannot_be_made_is_told_of);
	tcase_add_test(t, of_a_batch_over_the_topics_limit_only_what_is_too_large_is_refused);
	tcase_add_test(t, of_a_batch_with_a_time_that_is_refused_only_that_is);
	tcase_add_test(t, a_topic_deleted_under_way_is_made_again_or_told_of);
	tcase_add_test(t, a_lone_message_is_not_kept_waiting);
	suite_add_tcase(suite, t);
}
