/* SPDX-License-Identifier: Apache-2.0 */
/* test-metrics.c - the registry and its text, line by line. */
#include "config.h"
#include "monitor/metrics.h"

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/latency.h"

static const struct metric_family appends = { "appends_total", "appends answered", METRIC_COUNTER, NULL };
static const struct metric_family lag = { "lag_seconds", "how far behind", METRIC_GAUGE, NULL };
static const double two[] = { 0.005, 2.5, 0 };
static const struct metric_family times = { "took_seconds", "time of calls", METRIC_HISTOGRAM, two };

static struct metrics *m;

static void make(void)
{
	struct why why = { "" };
	ck_assert_msg(metrics_new(&m, &why) == RC_OK, "%s", why.text);
}

static void drop(void)
{
	metrics_free(&m);
	ck_assert_ptr_null(m);
	metrics_free(&m);
}

static void prints(const char *expected)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	metrics_print(m, &text);
	ck_assert(!buf_failed(&text));
	ck_assert_str_eq(buf_text(&text), expected);
}

#define LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(an_empty_registry_prints_nothing)
{
	prints("");
}
END_TEST

START_TEST(a_head_stands_once_before_all_children)
{
	metric_add(metrics_get(m, &appends, LABELS("type", "A")), 2);
	metric_set(metrics_get(m, &lag, NULL), 0);
	metric_add(metrics_get(m, &appends, LABELS("type", "B")), 1);
	metric_add(metrics_get(m, &appends, LABELS("type", "A")), 3);
	prints("# HELP appends_total appends answered\n# TYPE appends_total counter\n"
	       "appends_total{type=\"A\"} 5\nappends_total{type=\"B\"} 1\n"
	       "# HELP lag_seconds how far behind\n# TYPE lag_seconds gauge\nlag_seconds 0\n");
}
END_TEST

START_TEST(a_declared_family_has_a_head_and_its_place)
{
	metrics_declare(m, &appends);
	metric_set(metrics_get(m, &lag, NULL), 1);
	prints("# HELP appends_total appends answered\n# TYPE appends_total counter\n"
	       "# HELP lag_seconds how far behind\n# TYPE lag_seconds gauge\nlag_seconds 1\n");
}
END_TEST

START_TEST(labels_and_help_are_escaped)
{
	static const struct metric_family odd = { "odd", "a \\ and\na \"line\"", METRIC_GAUGE, NULL };
	metric_set(metrics_get(m, &odd, LABELS("a", "q\" b\\ n\n", "b", "")), 1);
	prints("# HELP odd a \\\\ and\\na \"line\"\n# TYPE odd gauge\n"
	       "odd{a=\"q\\\" b\\\\ n\\n\",b=\"\"} 1\n");
}
END_TEST

START_TEST(bytes_that_are_no_text_are_replaced)
{
	static const struct metric_family odd = { "odd", "h", METRIC_GAUGE, NULL };
	metric_set(metrics_get(m, &odd, LABELS("a", "\xff" "b\xc3" "c\xc3\xa9\xe2\x82")), 1);
	prints("# HELP odd h\n# TYPE odd gauge\n"
	       "odd{a=\"\xef\xbf\xbd" "b\xef\xbf\xbd" "c\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"} 1\n");
}
END_TEST

START_TEST(where_one_value_ends_counts)
{
	metric_add(metrics_get(m, &appends, LABELS("a", "xy", "b", "z")), 1);
	metric_add(metrics_get(m, &appends, LABELS("a", "x", "b", "yz")), 2);
	prints("# HELP appends_total appends answered\n# TYPE appends_total counter\n"
	       "appends_total{a=\"xy\",b=\"z\"} 1\nappends_total{a=\"x\",b=\"yz\"} 2\n");
}
END_TEST

START_TEST(a_histogram_counts_up_to_each_bound)
{
	struct metric *t = metrics_get(m, &times, LABELS("kind", "get"));
	metric_observe(t, 0.005);	/* le: what equals the bound is in it */
	metric_observe(t, 0.00500001);
	metric_observe(t, 2.5);
	metric_observe(t, 1000);
	metric_observe(t, NAN);
	prints("# HELP took_seconds time of calls\n# TYPE took_seconds histogram\n"
	       "took_seconds_bucket{kind=\"get\",le=\"0.005\"} 1\n"
	       "took_seconds_bucket{kind=\"get\",le=\"2.5\"} 3\n"
	       "took_seconds_bucket{kind=\"get\",le=\"+Inf\"} 4\n"
	       "took_seconds_sum{kind=\"get\"} 1002.51000001\n"
	       "took_seconds_count{kind=\"get\"} 4\n");
}
END_TEST

START_TEST(a_histogram_without_labels_has_le_alone)
{
	(void)metrics_get(m, &times, NULL);
	prints("# HELP took_seconds time of calls\n# TYPE took_seconds histogram\n"
	       "took_seconds_bucket{le=\"0.005\"} 0\ntook_seconds_bucket{le=\"2.5\"} 0\n"
	       "took_seconds_bucket{le=\"+Inf\"} 0\ntook_seconds_sum 0\ntook_seconds_count 0\n");
}
END_TEST

START_TEST(a_histogram_that_is_kept_elsewhere_is_summed_up)
{
	metric_set_buckets(metrics_get(m, &times, NULL), (const uint64_t[]){ 3, 0, 2 }, 7.25);
	prints("# HELP took_seconds time of calls\n# TYPE took_seconds histogram\n"
	       "took_seconds_bucket{le=\"0.005\"} 3\ntook_seconds_bucket{le=\"2.5\"} 3\n"
	       "took_seconds_bucket{le=\"+Inf\"} 5\ntook_seconds_sum 7.25\ntook_seconds_count 5\n");
}
END_TEST

/* Layers below count into base/latency.h, which knows no registry. */
START_TEST(times_of_other_layers_have_these_buckets)
{
	static const uint64_t took[] = { 0, 1000, 1001, 60000000, 60000001, UINT64_C(3600000000) };
	struct latency l = { 0 };
	struct latency_counts c;
	for (size_t i = 0; i < LATENCY_BOUNDS; i++)
		ck_assert_msg((uint64_t)(METRICS_SECONDS[i] * 1e6 + 0.5) == latency_bounds_us[i], "bound %zu", i);
	ck_assert(METRICS_SECONDS[LATENCY_BOUNDS] == 0);
	for (size_t i = 0; i < ARRAY_SIZE(took); i++)
		latency_add(&l, took[i]);
	latency_read(&l, &c);
	ck_assert_uint_eq(c.n[0], 2);
	ck_assert_uint_eq(c.n[1], 1);
	ck_assert_uint_eq(c.n[LATENCY_BOUNDS - 1], 1);
	ck_assert_uint_eq(c.n[LATENCY_BOUNDS], 2);
	ck_assert_uint_eq(c.sum_us, UINT64_C(3720002002));
}
END_TEST

/* Scraped text is read as doubles: what is printed must read back as the value, in the fewest digits. */
START_TEST(numbers_read_back_as_they_are)
{
	static const struct { double value; const char *text; } cases[] = {
		{ 0.1, "0.1" }, { -0.0, "0" }, { 1e300, "1e+300" }, { 1.0 / 3, "0.3333333333333333" },
		{ 123456789012345, "123456789012345" }, { -1, "-1" }, { 1e15, "1e+15" },
		{ 0.30000000000000004, "0.30000000000000004" },
		{ NAN, "NaN" }, { INFINITY, "+Inf" }, { -INFINITY, "-Inf" },
	};
	struct metric *g = metrics_get(m, &lag, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char expected[128];
		metric_set(g, cases[i].value);
		snprintf(expected, sizeof(expected),
			 "# HELP lag_seconds how far behind\n# TYPE lag_seconds gauge\nlag_seconds %s\n",
			 cases[i].text);
		prints(expected);
	}
}
END_TEST

START_TEST(a_counter_never_loses_a_digit)
{
	struct metric *c = metrics_get(m, &appends, NULL);
	metric_add(c, UINT64_C(9007199254740993));	/* 2^53 + 1: no double */
	prints("# HELP appends_total appends answered\n# TYPE appends_total counter\n"
	       "appends_total 9007199254740993\n");
}
END_TEST

START_TEST(a_full_family_counts_the_rest_together)
{
	struct metric *first = NULL, *rest = NULL;
	for (int i = 0; i < METRICS_CHILDREN_MAX + 50; i++) {
		char name[16];
		snprintf(name, sizeof(name), "T%d", i);
		struct metric *c = metrics_get(m, &appends, LABELS("type", name));
		ck_assert_ptr_nonnull(c);
		metric_add(c, 1);
		if (!i)
			first = c;
		if (i == METRICS_CHILDREN_MAX)
			rest = c;
		if (i > METRICS_CHILDREN_MAX)
			ck_assert_ptr_eq(c, rest);
	}
	ck_assert_ptr_eq(metrics_get(m, &appends, LABELS("type", "T0")), first);
	ck_assert_ptr_eq(metrics_get(m, &appends, LABELS("type", "")), rest);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	metrics_print(m, &text);
	ck_assert_ptr_nonnull(strstr(buf_text(&text), "\nappends_total{type=\"T999\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(buf_text(&text), "\nappends_total{type=\"\"} 50\n"));
	ck_assert_ptr_null(strstr(buf_text(&text), "T1000"));
}
END_TEST

START_TEST(a_full_family_of_gauges_takes_no_more)
{
	struct metric *c = NULL;
	for (int i = 0; i <= METRICS_CHILDREN_MAX; i++) {
		char name[16];
		snprintf(name, sizeof(name), "T%d", i);
		c = metrics_get(m, &lag, LABELS("type", name));
	}
	ck_assert_ptr_null(c);
	metric_set(c, 1);	/* counting on nothing does nothing */
	metric_add(c, 1);
	metric_observe(c, 1);
	metric_set_buckets(c, NULL, 0);
	ck_assert_ptr_null(metrics_get(NULL, &lag, NULL));
}
END_TEST

static void collect(void *arg, struct metrics *registry)
{
	unsigned *calls = arg;
	metric_set(metrics_get(registry, &lag, NULL), ++*calls);
}

START_TEST(what_is_known_elsewhere_is_asked_for_before_each_print)
{
	unsigned calls = 0;
	metrics_on_collect(m, collect, &calls);
	prints("# HELP lag_seconds how far behind\n# TYPE lag_seconds gauge\nlag_seconds 1\n");
	prints("# HELP lag_seconds how far behind\n# TYPE lag_seconds gauge\nlag_seconds 2\n");
}
END_TEST

#define THREADS 4
#define EACH 20000

static void *count(void *arg)
{
	for (int i = 0; i < EACH; i++) {
		char name[16];
		snprintf(name, sizeof(name), "T%d", i % 50);
		metric_add(metrics_get(m, &appends, LABELS("type", name)), 1);
		metric_observe(metrics_get(m, &times, NULL), 0.25);
	}
	return arg;
}

START_TEST(threads_count_while_others_print)
{
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
	for (int i = 0; i < 20; i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		metrics_print(m, &text);
		ck_assert(!buf_failed(&text));
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char sum[64];
	metrics_print(m, &text);
	for (int i = 0; i < 50; i++) {
		snprintf(sum, sizeof(sum), "{type=\"T%d\"} %d\n", i, THREADS * EACH / 50);
		ck_assert_ptr_nonnull(strstr(buf_text(&text), sum));
	}
	snprintf(sum, sizeof(sum), "took_seconds_sum %d\ntook_seconds_count %d\n", THREADS * EACH / 4,
		 THREADS * EACH);
	ck_assert_ptr_nonnull(strstr(buf_text(&text), sum));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *t = tcase_create("metrics");
	tcase_add_checked_fixture(t, make, drop);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, an_empty_registry_prints_nothing);
	tcase_add_test(t, a_head_stands_once_before_all_children);
	tcase_add_test(t, a_declared_family_has_a_head_and_its_place);
	tcase_add_test(t, labels_and_help_are_escaped);
	tcase_add_test(t, bytes_that_are_no_text_are_replaced);
	tcase_add_test(t, where_one_value_ends_counts);
	tcase_add_test(t, a_histogram_counts_up_to_each_bound);
	tcase_add_test(t, a_histogram_without_labels_has_le_alone);
	tcase_add_test(t, a_histogram_that_is_kept_elsewhere_is_summed_up);
	tcase_add_test(t, times_of_other_layers_have_these_buckets);
	tcase_add_test(t, numbers_read_back_as_they_are);
	tcase_add_test(t, a_counter_never_loses_a_digit);
	tcase_add_test(t, a_full_family_counts_the_rest_together);
	tcase_add_test(t, a_full_family_of_gauges_takes_no_more);
	tcase_add_test(t, what_is_known_elsewhere_is_asked_for_before_each_print);
	tcase_add_test(t, threads_count_while_others_print);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
