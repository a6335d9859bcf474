/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-sink.c - what every sink keeps to (sink.h), row by row over the backends. Built twice: over lines of JSON and librdkafka's
 * mock cluster, and (TEST_KAFKA) over a real broker at EVFS_KAFKA.
 */
#include "config.h"
#include "sink-harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void start(int i, int n, int keys)
{
	sink_harness_open(i);
	run_start(n, keys);
}

/* The rows that have the fault wrapper. */
static void start_faulty(int i, int n, int keys)
{
	start(2 * i + 1, n, keys);
}

START_TEST(a_message_is_there_as_it_was_sent)
{
	start(_i, 3, 3);
	strcpy(run.sent[1].value, "not JSON: \"\\\t\xc3\xa9\n");
	strcpy(run.sent[2].value, "");
	run_all(NULL);
	struct records r;
	records_read(TOPIC, &r);
	ck_assert_uint_eq(r.n, 3);
	for (size_t j = 0; j < 3; j++) {
		int n = r.list[j].key[1] - '0';
		char headers[40];
		snprintf(headers, sizeof(headers), "number=%d;empty=;", n);
		ck_assert_str_eq(r.list[j].value, run.sent[n].value);
		ck_assert_str_eq(r.list[j].headers, headers);
	}
	records_release(&r);
}
END_TEST

START_TEST(each_key_keeps_its_order_and_each_message_is_told_of_once)
{
	start(_i, 5000, 17);
	run_all(NULL);
	records_check(TOPIC, 0);
	ck_assert_uint_eq(run.broken, 0);
	for (int i = 0; i < run.n; i++)
		ck_assert_uint_eq(run.sent[i].told, 1);
}
END_TEST

START_TEST(what_is_counted_is_what_was_told)
{
	struct sink_counts c;
	start(_i, 500, 5);
	run_all(NULL);
	sink_counts(run.sink, &c);
	ck_assert_uint_eq(c.sent, 500);
	ck_assert_uint_eq(c.delivered, 500);
	ck_assert_uint_eq(c.queued, 0);
	ck_assert_uint_eq(c.failed, 0);
	ck_assert_uint_gt(c.bytes, 500 * strlen("{\"n\":0}"));
}
END_TEST

START_TEST(an_empty_key_is_a_key)
{
	struct why why = { "" };
	struct records r;
	start(_i, 1, 1);
	struct sent *s = &run.sent[0];
	s->state = SENT_QUEUED;
	struct sink_message m = { .topic = TOPIC, .key = "", .value = "{}", .len = 2, .opaque = s };
	ck_assert_int_eq(sink_send(run.sink, &m, &why), RC_OK);
	ck_assert_int_eq(sink_flush(run.sink, 10000, &why), RC_OK);
	ck_assert_int_eq(s->state, SENT_THERE);
	records_read(TOPIC, &r);
	ck_assert_uint_eq(r.n, 1);
	ck_assert_str_eq(r.list[0].key, "");
	ck_assert_str_eq(r.list[0].headers, "");
	records_release(&r);
}
END_TEST

START_TEST(what_is_purged_is_not_told_of)
{
	struct why why = { "" };
	start(_i, 1, 1);
	run_all(NULL);
	struct sent *s = &run.sent[1];
	for (int i = 0; i < 1000; i++) {
		s[i].state = SENT_QUEUED;
		struct sink_message m = { .topic = TOPIC,
					  .key = "k",
					  .key_len = 1,
					  .value = "{}",
					  .len = 2,
					  .opaque = &s[i] };
		ck_assert_int_eq(sink_send(run.sink, &m, &why), RC_OK);
	}
	sink_purge(run.sink);
	enum rc rc = sink_flush(run.sink, 10000, &why);
	ck_assert(rc == RC_OK || rc == RC_CORRUPT);
	unsigned purged = 0;
	for (int i = 0; i < 1000; i++) {
		ck_assert(s[i].state == SENT_QUEUED || s[i].state == SENT_THERE);
		purged += s[i].state == SENT_QUEUED;
	}
	ck_assert_uint_gt(purged, 0);
}
END_TEST

START_TEST(what_was_delivered_and_not_told_goes_out_again)
{
	start_faulty(_i, 1000, 7);
	sink_harness_faults = (struct sink_faults){ .report_nth = 97, .report_rc = RC_UNCERTAIN };
	run_all(NULL);
	ck_assert_uint_ge(run.broken, 1);
	records_check(TOPIC, 20000);
}
END_TEST

START_TEST(what_is_refused_harms_no_other)
{
	start_faulty(_i, 1000, 7);
	sink_harness_faults = (struct sink_faults){ .report_nth = 10, .report_rc = RC_TOO_LARGE };
	run_all(NULL);
	ck_assert_uint_eq(run_dead(), 100);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

START_TEST(nothing_overtakes_what_broke_the_sink)
{
	start_faulty(_i, 1000, 7);
	sink_harness_faults = (struct sink_faults){ .report_nth = 211, .report_rc = RC_CORRUPT };
	run_all(NULL);
	ck_assert_uint_gt(run.broken, 1);
	records_check(TOPIC, 20000);
}
END_TEST

START_TEST(a_full_queue_passes)
{
	start_faulty(_i, 1000, 7);
	sink_harness_faults = (struct sink_faults){ .send_nth = 3, .send_rc = RC_TEMPORARY };
	run_all(NULL);
	ck_assert_uint_eq(run.broken, 0);
	records_check(TOPIC, 0);
}
END_TEST

static Suite *sink_suite(void)
{
	int n = sink_harness_count();
	Suite *suite = suite_create("sink");
	TCase *contract = tcase_create("contract"), *fault = tcase_create("fault");
	tcase_add_checked_fixture(contract, NULL, sink_harness_close);
	tcase_add_checked_fixture(fault, NULL, sink_harness_close);
	tcase_set_timeout(contract, 120);
	tcase_set_timeout(fault, 120);
	tcase_add_loop_test(contract, a_message_is_there_as_it_was_sent, 0, n);
	tcase_add_loop_test(contract, each_key_keeps_its_order_and_each_message_is_told_of_once, 0,
			    n);
	tcase_add_loop_test(contract, what_is_counted_is_what_was_told, 0, n);
	tcase_add_loop_test(contract, an_empty_key_is_a_key, 0, n);
	tcase_add_loop_test(contract, what_is_purged_is_not_told_of, 0, n);
	tcase_add_loop_test(fault, what_was_delivered_and_not_told_goes_out_again, 0, n / 2);
	tcase_add_loop_test(fault, what_is_refused_harms_no_other, 0, n / 2);
	tcase_add_loop_test(fault, nothing_overtakes_what_broke_the_sink, 0, n / 2);
	tcase_add_loop_test(fault, a_full_queue_passes, 0, n / 2);
	suite_add_tcase(suite, contract);
	suite_add_tcase(suite, fault);
#ifdef TEST_KAFKA
	sink_kafka_cases_add(suite);
#else
	sink_ndjson_cases_add(suite);
	sink_mock_cases_add(suite);
#endif
	return suite;
}

int main(void)
{
#ifdef TEST_KAFKA
	if (!getenv("EVFS_KAFKA")) {
		puts("skip - EVFS_KAFKA is not set: no broker");
		return 77;
	}
#endif
	SRunner *sr = srunner_create(sink_suite());
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
