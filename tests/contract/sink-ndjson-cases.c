/* SPDX-License-Identifier: Apache-2.0 */
/* sink-ndjson-cases.c - what only a file of lines can show. */
#include "config.h"
#include "sink-harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct why why;

static void write_file(const char *text)
{
	FILE *f = fopen(sink_harness_path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static char *file(void)
{
	static char text[65536];
	FILE *f = fopen(sink_harness_path, "r");
	ck_assert_ptr_nonnull(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void setup(void)
{
	sink_harness_open(0);
}

START_TEST(an_unfinished_line_is_cut_off)
{
	static char text[9000];
	memset(text, 'x', 8500);
	static const char *const heads[] = { "", "{\"a\":1}\n", "{}\n{}\n" };
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		char all[9100];
		snprintf(all, sizeof(all), "%s%s", heads[i], text);
		write_file(all);
		run_start(0, 1);
		run_stop();
		ck_assert_str_eq(file(), heads[i]);
	}
	write_file("{\"whole\":1}\n");
	run_start(0, 1);
	run_stop();
	ck_assert_str_eq(file(), "{\"whole\":1}\n");
}
END_TEST

START_TEST(a_value_is_one_line_of_json_or_a_string)
{
	run_start(3, 1);
	strcpy(run.sent[0].value, "{\"a\":\n [1.50, \"x\\n\"]}");
	strcpy(run.sent[1].value, "{broken\n");
	strcpy(run.sent[2].value, "\xff\xfe\x01\x02");
	run_all(NULL);
	char expected[1024];
	snprintf(
		expected, sizeof(expected),
		"{\"topic\":\"%1$s\",\"key\":\"k0\",\"headers\":{\"number\":\"0\",\"empty\":\"\"},\"value\":{\"a\":[1.50,\"x\\n\"]}}\n"
		"{\"topic\":\"%1$s\",\"key\":\"k0\",\"headers\":{\"number\":\"1\",\"empty\":\"\"},\"value\":\"{broken\\n\"}\n"
		"{\"topic\":\"%1$s\",\"key\":\"k0\",\"headers\":{\"number\":\"2\",\"empty\":\"\"},\"value_base64\":\"//4BAg==\"}\n",
		TOPIC);
	ck_assert_str_eq(file(), expected);
}
END_TEST

START_TEST(two_writers_of_a_file_are_refused)
{
	struct sink *second = NULL;
	run_start(0, 1);
	ck_assert_int_eq(sink_ndjson_new(&second, sink_harness_path, NULL, NULL, &why), RC_DENIED);
	ck_assert_ptr_nonnull(strstr(why.text, "another"));
	ck_assert_ptr_null(second);
	run_stop();
	run_start(0, 1);
}
END_TEST

START_TEST(a_full_disk_breaks_the_sink_with_its_reason)
{
	struct sink *s = NULL;
	struct sink_message m = { .topic = "t", .key = "", .value = "{}", .len = 2 };
	ck_assert_int_eq(sink_ndjson_new(&s, "/dev/full", NULL, NULL, &why), RC_OK);
	ck_assert_int_eq(sink_send(s, &m, &why), RC_OK);
	ck_assert_int_eq(sink_flush(s, 1000, &why), RC_CORRUPT);
	ck_assert_ptr_nonnull(strstr(why.text, "No space"));
	ck_assert_int_eq(sink_send(s, &m, &why), RC_CORRUPT);
	sink_free(&s);
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_is_refused)
{
	struct sink *s = NULL;
	ck_assert_int_eq(sink_ndjson_new(&s, "/nowhere/at/all", NULL, NULL, &why), RC_DENIED);
	ck_assert_ptr_nonnull(strstr(why.text, "/nowhere/at/all"));
	ck_assert_ptr_null(s);
}
END_TEST

static void on_report(void *arg, void *opaque, enum rc rc, const struct why *reason)
{
	(void)opaque;
	(void)reason;
	*(enum rc *)arg = rc;
}

START_TEST(stdout_gets_the_lines)
{
	int fds[2];
	char text[256] = "";
	enum rc told = RC_INVALID;
	struct sink *s = NULL;
	struct sink_message m = { .topic = "t", .key = "k", .key_len = 1, .value = "{}", .len = 2 };
	ck_assert_int_eq(pipe(fds), 0);
	fflush(stdout);
	int saved = dup(STDOUT_FILENO);
	dup2(fds[1], STDOUT_FILENO);
	ck_assert_int_eq(sink_ndjson_new(&s, "-", on_report, &told, &why), RC_OK);
	ck_assert_int_eq(sink_send(s, &m, &why), RC_OK);
	ck_assert_int_eq(sink_poll(s, 0, &why), RC_OK);
	sink_free(&s);
	dup2(saved, STDOUT_FILENO);
	close(fds[1]);
	ck_assert_int_gt(read(fds[0], text, sizeof(text) - 1), 0);
	ck_assert_str_eq(text, "{\"topic\":\"t\",\"key\":\"k\",\"headers\":{},\"value\":{}}\n");
	ck_assert_int_eq(told, RC_OK);
	close(fds[0]);
	close(saved);
}
END_TEST

void sink_ndjson_cases_add(Suite *suite)
{
	TCase *t = tcase_create("ndjson");
	tcase_add_checked_fixture(t, setup, sink_harness_close);
	tcase_add_test(t, an_unfinished_line_is_cut_off);
	tcase_add_test(t, a_value_is_one_line_of_json_or_a_string);
	tcase_add_test(t, two_writers_of_a_file_are_refused);
	tcase_add_test(t, a_full_disk_breaks_the_sink_with_its_reason);
	tcase_add_test(t, a_file_that_cannot_be_opened_is_refused);
	tcase_add_test(t, stdout_gets_the_lines);
	suite_add_tcase(suite, t);
}
