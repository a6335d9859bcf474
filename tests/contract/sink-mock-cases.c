/* SPDX-License-Identifier: Apache-2.0 */
/* sink-mock-cases.c - errors that a healthy broker never gives, from librdkafka's mock cluster; and properties. */
#include "config.h"
#include "sink-harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define PRODUCE 0
#define INIT_PRODUCER_ID 22
#define ANY 20000

static struct why why;

/* The mock brokers take what follows a request that they refused; real ones see by its number that one is missing. */
static const struct sink_property one_by_one[] = { { "max.in.flight", "1" } };

static void setup(void)
{
	sink_harness_open(2);
	sink_harness_kafka.properties = one_by_one;
	sink_harness_kafka.n_properties = 1;
	sink_harness_kafka.request_ms = 2000;
}

static void push(rd_kafka_resp_err_t err, int times)
{
	for (int i = 0; i < times; i++)
		rd_kafka_mock_push_request_errors(sink_harness_mock, PRODUCE, 1, err);
}

/* What passes: told of once, in order, by the same client. */
static const rd_kafka_resp_err_t passing[] = {
	RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
	RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
	RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
	RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
	RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
	RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
	RD_KAFKA_RESP_ERR__TRANSPORT,
};

START_TEST(what_passes_is_waited_out)
{
	run_start(2000, 7);
	push(passing[_i], 7);
	run_all(NULL);
	ck_assert_uint_eq(run_dead(), 0);
	records_check(TOPIC, ANY);
}
END_TEST

/* What the broker says of the producer: it ends, and another one sends again. */
static const rd_kafka_resp_err_t ending[] = {
	RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
	RD_KAFKA_RESP_ERR_UNKNOWN,
	RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
	/* the client may find a way out of these */
	RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
	RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
	RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
};
#define SURELY_ENDING 3

static int ending_at;
static void end_in_the_middle(int i)
{
	if (i == 900 && !run.broken)
		push(ending[ending_at], 1);
}

START_TEST(a_producer_that_ends_loses_nothing)
{
	run_start(2000, 7);
	ending_at = _i;
	run_all(end_in_the_middle);
	ck_assert_uint_eq(run_dead(), 0);
	ck_assert(_i >= SURELY_ENDING || run.broken > 0);
	records_check(TOPIC, ANY);
}
END_TEST

/* A batch is refused for one of its messages: the rest is not told to be refused. */
static const rd_kafka_resp_err_t shared[] = {
	RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
	RD_KAFKA_RESP_ERR_INVALID_RECORD,
	RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
};

START_TEST(a_batch_that_is_refused_is_tried_in_parts)
{
	run_start(3000, 7);
	push(shared[_i], 1);
	run_all(NULL);
	ck_assert_uint_le(run_dead(), 1);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(a_topic_that_refuses_harms_no_other)
{
	static const struct {
		rd_kafka_resp_err_t err;
		enum rc rc;
	} refusals[] = { { RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RC_DENIED },
			 { RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, RC_INVALID } };
	static const char *const refusing = "evfs-test-refusing";
	run_start(600, 6);
	rd_kafka_mock_topic_set_error(sink_harness_mock, refusing, refusals[_i].err);
	for (int i = 0; i < run.n; i += 2)
		run.sent[i].topic = refusing;
	run_all(NULL);
	ck_assert_uint_eq(run_dead(), 300);
	ck_assert_int_eq(run.sent[0].rc, refusals[_i].rc);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(a_topic_that_refuses_what_is_written_is_left_alone)
{
	run_start(1000, 6);
	push(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 3);
	run_all(NULL);
	ck_assert_uint_gt(run_dead(), 0);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(a_missing_topic_is_told_of_in_time)
{
	uint64_t from = clock_boot_ms();
	run_start(100, 5);
	rd_kafka_mock_topic_set_error(sink_harness_mock, "evfs-test-missing",
				      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	for (int i = 0; i < run.n; i += 2)
		run.sent[i].topic = "evfs-test-missing";
	run_all(NULL);
	ck_assert_uint_lt(clock_boot_ms() - from, 2 * sink_harness_kafka.request_ms + 3000);
	ck_assert_uint_eq(run_dead(), 50);
	ck_assert_int_eq(run.sent[0].rc, RC_NOT_FOUND);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(a_name_that_no_topic_can_have_is_refused)
{
	static const char *const bad[] = { "", ".", "..", "a b", "a/b", "\xc3\xa9" };
	struct sent *s = run.sent;
	run_start(0, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct sink_message m = {
			.topic = bad[i], .key = "", .value = "{}", .len = 2, .opaque = s
		};
		ck_assert_int_eq(sink_send(run.sink, &m, &why), RC_INVALID);
		ck_assert(why.text[0]);
	}
}
END_TEST

START_TEST(what_is_over_the_limit_is_refused_at_once)
{
	static char big[1 << 20];
	run_start(10, 2);
	memset(big, 'x', sizeof(big) - 1);
	ck_assert_uint_lt(sink_max_message(run.sink), sizeof(big));
	run.sent[4].big = big;
	run.sent[4].big_len = sizeof(big) - 1;
	run_all(NULL);
	ck_assert_int_eq(run.sent[4].rc, RC_TOO_LARGE);
	ck_assert_uint_eq(run_dead(), 1);
	records_check(TOPIC, 0);
	/* and what is not over it is taken */
	sink_free(&run.sink);
	run_start(1, 1);
	run.sent[0].big = big;
	run.sent[0].big_len = sink_max_message(run.sink) - strlen("k0"
								  "number"
								  "0"
								  "empty");
	big[run.sent[0].big_len] = '\0';
	run.sent[0].value[0] = '\0';
	run_all(NULL);
	ck_assert_uint_eq(run_dead(), 0);
}
END_TEST

START_TEST(a_request_that_timed_out_may_have_been_done)
{
	sink_harness_kafka.request_ms = 500;
	run_start(500, 5);
	for (int b = 1; b <= 3; b++)
		rd_kafka_mock_broker_push_request_error_rtts(sink_harness_mock, b, PRODUCE, 1,
							     RD_KAFKA_RESP_ERR_NO_ERROR, 4000);
	run_all(NULL);
	ck_assert_uint_eq(run_dead(), 0);
	records_check(TOPIC, ANY);
}
END_TEST

static void move_leaders(int i)
{
	if (i % 100 == 0)
		for (int p = 0; p < 3; p++)
			rd_kafka_mock_partition_set_leader(sink_harness_mock, TOPIC, p,
							   1 + (i / 100 + p) % 3);
}

START_TEST(leaders_that_move_change_nothing)
{
	run_start(1000, 7);
	run_all(move_leaders);
	ck_assert_uint_eq(run_dead(), 0);
	records_check(TOPIC, ANY);
}
END_TEST

START_TEST(brokers_that_are_away_are_waited_for)
{
	run_start(200, 3);
	run_all(NULL);
	rd_kafka_mock_broker_set_down(sink_harness_mock, -1);
	run.sent[0].state = SENT_QUEUED;
	struct sink_message m = { .topic = TOPIC,
				  .key = "k0",
				  .key_len = 2,
				  .value = run.sent[0].value,
				  .len = strlen(run.sent[0].value),
				  .opaque = &run.sent[0] };
	ck_assert_int_eq(sink_send(run.sink, &m, &why), RC_OK);
	ck_assert_int_eq(sink_flush(run.sink, 3000, &why), RC_TEMPORARY);
	struct sink_counts c;
	sink_counts(run.sink, &c);
	ck_assert_uint_gt(c.errors, 0);
	ck_assert(c.last_error[0]);
	ck_assert_uint_eq(c.queued, 1);
	rd_kafka_mock_broker_set_up(sink_harness_mock, -1);
	ck_assert_int_eq(sink_flush(run.sink, 20000, &why), RC_OK);
	ck_assert_int_eq(run.sent[0].state, SENT_THERE);
}
END_TEST

START_TEST(no_broker_is_told_of_in_time)
{
	struct sink *s = NULL;
	struct sink_kafka_options o = { .servers = "127.0.0.1:1", .request_ms = 1500 };
	uint64_t from = clock_boot_ms();
	ck_assert_int_eq(sink_kafka_new(&s, &o, NULL, NULL, &why), RC_TEMPORARY);
	ck_assert_uint_lt(clock_boot_ms() - from, 4000);
	ck_assert_ptr_nonnull(strstr(why.text, "refused"));
}
END_TEST

/* Any of it, in any order, while messages are sent. */
static unsigned seed, troubles;
static void trouble(int i)
{
	if (i % 60 || troubles == 25 || rand_r(&seed) % 2)
		return;
	troubles++;
	switch (rand_r(&seed) % 4) {
	case 0:
		push(passing[(size_t)rand_r(&seed) % ARRAY_SIZE(passing)], rand_r(&seed) % 3);
		break;
	case 1:
		push(ending[(size_t)rand_r(&seed) % ARRAY_SIZE(ending)], 1);
		break;
	case 2:
		push(shared[(size_t)rand_r(&seed) % ARRAY_SIZE(shared)], 1);
		break;
	case 3:
		rd_kafka_mock_partition_set_leader(sink_harness_mock, TOPIC, rand_r(&seed) % 3,
						   1 + rand_r(&seed) % 3);
		break;
	}
}

START_TEST(whatever_happens_nothing_is_lost_or_overtakes)
{
	const char *given = getenv("EVFS_TEST_SEED");
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL) + (unsigned)_i;
	printf("# EVFS_TEST_SEED=%u\n", seed);
	fflush(stdout);
	run_start(1500, 7);
	run_all(trouble);
	ck_assert_uint_gt(troubles, 0);
	records_check(TOPIC, ANY);
}
END_TEST

static const struct {
	const char *name, *value, *promise;
} broken_promises[] = {
	{ "acks", "1", "all in-sync replicas" },
	{ "request.required.acks", "0", "all in-sync replicas" },
	{ "enable.idempotence", "false", "overtake" },
	{ "enable.gapless.guarantee", "false", "behind one that failed" },
	{ "message.timeout.ms", "300000", "until it is there" },
	{ "delivery.timeout.ms", "1", "until it is there" },
	{ "retries", "3", "until it is there" },
	{ "message.send.max.retries", "0", "until it is there" },
	{ "max.in.flight", "6", "five" },
	{ "max.in.flight.requests.per.connection", "1000000", "five" },
	{ "queuing.strategy", "lifo", "first in" },
	{ "partitioner", "random", "one partition" },
	{ "delivery.report.only.error", "true", "told" },
	{ "test.mock.num.brokers", "3", "real" },
	{ "transactional.id", "x", "transactions" },
};

static void check_refused(const char *name, const char *value, const char *promise)
{
	struct sink_property p = { name, value };
	struct sink_kafka_options o = sink_harness_kafka;
	struct sink *s = NULL;
	ck_assert_int_eq(sink_kafka_check(&p, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, name));
	ck_assert_msg(strstr(why.text, promise) != NULL, "%s", why.text);
	o.properties = &p;
	o.n_properties = 1;
	ck_assert_int_eq(sink_kafka_new(&s, &o, NULL, NULL, &why), RC_INVALID);
	ck_assert_ptr_null(s);
}

START_TEST(a_property_that_breaks_the_promise_is_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(broken_promises); i++)
		check_refused(broken_promises[i].name, broken_promises[i].value,
			      broken_promises[i].promise);
}
END_TEST

START_TEST(other_properties_are_the_users)
{
	static const struct sink_property good[] = {
		{ "acks", "-1" },
		{ "acks", "all" },
		{ "enable.idempotence", "true" },
		{ "message.timeout.ms", "0" },
		{ "max.in.flight", "1" },
		{ "linger.ms", "50" },
		{ "compression.codec", "zstd" },
		{ "partitioner", "murmur2_random" },
		{ "security.protocol", "sasl_ssl" },
		{ "sasl.password", "hush" },
		{ "message.max.bytes", "5000000" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_msg(sink_kafka_check(&good[i], &why) == RC_OK, "%s", why.text);
	sink_harness_kafka.properties =
		(const struct sink_property[]){ { "linger.ms", "1" },
						{ "max.in.flight", "1" },
						{ "message.max.bytes", "100000" },
						{ "client.id", "mine" } };
	sink_harness_kafka.n_properties = 4;
	sink_harness_kafka.partitioner = "murmur2_random";
	run_start(300, 5);
	ck_assert_uint_le(sink_max_message(run.sink), 100000);
	run_all(NULL);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(an_unknown_property_is_refused_and_a_secret_is_not_told)
{
	struct sink_property unknown = { "no.such.thing", "1" };
	ck_assert_int_eq(sink_kafka_check(&unknown, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "no.such.thing"));
	static const struct sink_property secrets[] = {
		{ "ssl.key.pem", "hush-hush" },
		{ "ssl.keystore.password", "hush-hush" },
		{ "sasl.jaas.config", "hush-hush" },
		{ "no.such.password", "hush-hush" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
		struct sink *s = NULL;
		struct sink_kafka_options o = { .servers = "127.0.0.1:1",
						.properties = &secrets[i],
						.n_properties = 1,
						.request_ms = 500 };
		strcpy(why.text, "");
		ck_assert_int_ne(sink_kafka_new(&s, &o, NULL, NULL, &why), RC_OK);
		ck_assert_msg(!strstr(why.text, "hush"), "%s", why.text);
	}
}
END_TEST

void sink_mock_cases_add(Suite *suite)
{
	TCase *t = tcase_create("mock"), *r = tcase_create("random"),
	      *p = tcase_create("properties");
	TCase *cases[] = { t, r, p };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tcase_add_checked_fixture(cases[i], setup, sink_harness_close);
		tcase_set_timeout(cases[i], 120);
		suite_add_tcase(suite, cases[i]);
	}
	tcase_add_loop_test(t, what_passes_is_waited_out, 0, (int)ARRAY_SIZE(passing));
	tcase_add_loop_test(t, a_producer_that_ends_loses_nothing, 0, (int)ARRAY_SIZE(ending));
	tcase_add_loop_test(t, a_batch_that_is_refused_is_tried_in_parts, 0,
			    (int)ARRAY_SIZE(shared));
	tcase_add_loop_test(t, a_topic_that_refuses_harms_no_other, 0, 2);
	tcase_add_test(t, a_topic_that_refuses_what_is_written_is_left_alone);
	tcase_add_test(t, a_missing_topic_is_told_of_in_time);
	tcase_add_test(t, a_name_that_no_topic_can_have_is_refused);
	tcase_add_test(t, what_is_over_the_limit_is_refused_at_once);
	tcase_add_test(t, a_request_that_timed_out_may_have_been_done);
	tcase_add_test(t, leaders_that_move_change_nothing);
	tcase_add_test(t, brokers_that_are_away_are_waited_for);
	tcase_add_test(t, no_broker_is_told_of_in_time);
	tcase_add_loop_test(r, whatever_happens_nothing_is_lost_or_overtakes, 0, 4);
	tcase_add_test(p, a_property_that_breaks_the_promise_is_refused);
	tcase_add_test(p, other_properties_are_the_users);
	tcase_add_test(p, an_unknown_property_is_refused_and_a_secret_is_not_told);
}
