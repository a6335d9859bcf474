/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-publisher-faults.c - a publisher over a directory store whose sink fails now and then: everything arrives, the first
 * occurrences of each stream in order.
 */
#include "config.h"
#include "publisher/publisher.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "setup/config.h"
#include "setup/stack.h"

#define STREAMS 5
#define EACH 60

static char folder[64], lines[96];
static struct config c;
static struct store *store;
static struct sink_faults faults;

static void append(unsigned stream, unsigned n)
{
	struct why why = { "" };
	char id[16], text[64];
	struct json_value v;
	struct draft d = DRAFT_INIT;
	snprintf(id, sizeof(id), "i-%u", stream);
	snprintf(text, sizeof(text), "{\"event_type\":\"Counted\",\"data\":{\"n\":%u}}", n);
	ck_assert_int_eq(json_parse(text, strlen(text), JSON_STRICT, &v, &why), RC_OK);
	ck_assert_int_eq(draft_from_document(&v, &d, &why), RC_OK);
	struct store_append a = { .type = "Item", .id = id, .drafts = &d, .n = 1 };
	ck_assert_msg(store_append(store, &a, &why) == RC_OK, "%s", why.text);
	draft_release(&d);
}

static void begin(void)
{
	struct why why = { "" };
	struct stack_made made;
	log_open("test", LOG_LEVEL_ERROR, false);
	strcpy(folder, "/tmp/evfs-publisher.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(lines, sizeof(lines), "%s/lines", folder);
	setenv("XDG_CACHE_HOME", folder, 1);
	ck_assert_int_eq(config_init(&c, &why), RC_OK);
	char place[96];
	snprintf(place, sizeof(place), "%s/store", folder);
	ck_assert_int_eq(config_set_store(&c, place, &why), RC_OK);
	ck_assert_int_eq(config_finish(&c, &why), RC_OK);
	ck_assert_msg(stack_init(&c, &made, &why) == RC_OK, "%s", why.text);
	ck_assert_msg(stack_open(&store, &c, STACK_FOLLOW, &why) == RC_OK, "%s", why.text);
	for (unsigned n = 1; n <= EACH; n++)
		for (unsigned s = 0; s < STREAMS; s++)
			append(s, n);
	faults = (struct sink_faults){ .send_nth = 0 };
}

static void end(void)
{
	char command[128];
	store_free(&store);
	config_release(&c);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

static enum rc make_lines(void *arg, struct sink **out, sink_report_fn *report, void *report_arg, struct why *why)
{
	(void)arg;
	return sink_ndjson_new(out, lines, report, report_arg, why);
}

static unsigned made;
static enum rc make_faulty(void *arg, struct sink **out, sink_report_fn *report, void *report_arg, struct why *why)
{
	made++;
	return sink_fault_new(out, make_lines, arg, &faults, report, report_arg, why);
}

static struct publisher_status publish(size_t window)
{
	struct publisher *p = NULL;
	struct publisher_status status;
	struct why why = { "" };
	const struct publisher_options o = {
		.route = { .default_topic = "events", .dlq_topic = "dead", .source = "/evfs/test" },
		.make_sink = make_faulty,
		.once = true,
		.save_ms = 1,
		.window = window,
	};
	made = 0;
	ck_assert_msg(publisher_new(&p, store, &o, &why) == RC_OK, "%s", why.text);
	ck_assert_msg(publisher_run(p, &why) == RC_OK, "%s", why.text);
	publisher_status(p, &status);
	publisher_free(&p);
	return status;
}

/* A number behind `"name":` or `"name": `. */
static unsigned number_of(const char *value, const char *name, const char *before)
{
	char pattern[64];
	snprintf(pattern, sizeof(pattern), "\"%s\":", name);
	const char *at = strstr(value, pattern);
	ck_assert_msg(at != NULL, "no %s in %s", name, value);
	at += strlen(pattern);
	at += *at == ' ';
	ck_assert_msg(!strncmp(at, before, strlen(before)), "%s: %.40s", name, at);
	return (unsigned)atoi(at + strlen(before));
}

struct found {
	unsigned n, dead, duplicates;
};

/* All is there, and the first occurrences of those that are no dead ones are in order. */
static struct found check_lines(void)
{
	static bool seen[STREAMS][EACH + 1];
	unsigned last[STREAMS] = { 0 };
	struct found f = { .n = 0 };
	_cleanup_(freep) char *line = NULL;
	size_t size = 0;
	FILE *in = fopen(lines, "re");
	ck_assert_ptr_nonnull(in);
	memset(seen, 0, sizeof(seen));
	while (getline(&line, &size, in) > 0) {
		const char *value = strstr(line, "\"value\":");
		ck_assert_ptr_nonnull(value);
		unsigned stream = number_of(value, "aggregate_id", "\"i-"), number = number_of(value, "sequence_number", "");
		bool dead = strstr(line, "{\"topic\":\"dead\"") == line;
		ck_assert_uint_lt(stream, STREAMS);
		ck_assert_uint_le(number, EACH);
		f.dead += dead;
		f.duplicates += seen[stream][number];
		f.n += !seen[stream][number];
		if (!seen[stream][number] && !dead) {
			ck_assert_msg(number > last[stream], "i-%u: %u after %u", stream, number, last[stream]);
			last[stream] = number;
		}
		seen[stream][number] = true;
	}
	fclose(in);
	ck_assert_uint_eq(f.n, STREAMS * EACH);
	return f;
}

START_TEST(without_faults_everything_goes_out_once)
{
	struct publisher_status s = publish(0);
	struct found f = check_lines();
	ck_assert_uint_eq(s.published, STREAMS * EACH);
	ck_assert_uint_eq(f.duplicates + f.dead, 0);
	ck_assert_uint_eq(made, 1);
}
END_TEST

START_TEST(a_window_of_one_is_enough)
{
	publish(1);
	struct found f = check_lines();
	ck_assert_uint_eq(f.duplicates + f.dead, 0);
}
END_TEST

START_TEST(a_full_queue_is_waited_for)
{
	faults = (struct sink_faults){ .send_nth = 3, .send_rc = RC_TEMPORARY };
	publish(0);
	struct found f = check_lines();
	ck_assert_uint_eq(f.duplicates + f.dead, 0);
}
END_TEST

START_TEST(a_sink_that_breaks_at_a_send_is_made_anew)
{
	faults = (struct sink_faults){ .send_nth = 70, .send_rc = RC_CORRUPT };
	publish(20);
	struct found f = check_lines();
	ck_assert_uint_gt(made, 2);
	ck_assert_uint_eq(f.dead, 0);
	/* what was reported is not sent again */
	ck_assert_uint_le(f.duplicates, made * 20);
}
END_TEST

START_TEST(a_report_that_is_lost_makes_recognisable_duplicates)
{
	faults = (struct sink_faults){ .report_nth = 70, .report_rc = RC_UNCERTAIN };
	publish(20);
	struct found f = check_lines();
	ck_assert_uint_gt(made, 2);
	ck_assert_uint_eq(f.dead, 0);
	ck_assert_uint_le(f.duplicates, made * 20);
}
END_TEST

static const enum rc refusals[] = { RC_TOO_LARGE, RC_NOT_FOUND, RC_DENIED, RC_INVALID };

START_TEST(what_is_refused_at_once_goes_to_the_dlq)
{
	faults = (struct sink_faults){ .send_nth = 40, .send_rc = refusals[_i] };
	struct publisher_status s = publish(0);
	struct found f = check_lines();
	ck_assert_uint_gt(f.dead, 0);
	ck_assert_uint_eq(f.duplicates, 0);
	ck_assert_uint_eq(s.dead, f.dead);
	ck_assert_uint_eq(s.dead + s.published, STREAMS * EACH);
	ck_assert_uint_eq(made, 1);
}
END_TEST

START_TEST(what_is_refused_later_goes_to_the_dlq)
{
	faults = (struct sink_faults){ .report_nth = 40, .report_rc = refusals[_i] };
	struct publisher_status s = publish(30);
	struct found f = check_lines();
	ck_assert_uint_gt(f.dead, 0);
	ck_assert_uint_eq(s.dead + s.published, STREAMS * EACH);
	ck_assert_uint_eq(made, 1);
}
END_TEST

START_TEST(a_dlq_that_refuses_is_tried_again)
{
	/* each third message, those for the DLQ among them: half of those wait a second once */
	faults = (struct sink_faults){ .report_nth = 3, .report_rc = RC_NOT_FOUND };
	struct publisher_status s = publish(0);
	struct found f = check_lines();
	ck_assert_uint_ge(f.dead, STREAMS * EACH / 4);
	ck_assert_uint_eq(s.dead + s.published, STREAMS * EACH);
	ck_assert_uint_eq(f.duplicates, 0);
}
END_TEST

START_TEST(who_comes_later_sends_nothing_again)
{
	publish(0);
	check_lines();
	struct publisher_status s = publish(0);
	ck_assert_uint_eq(s.published, 0);
	ck_assert_uint_eq(check_lines().duplicates, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("publisher-faults");
	TCase *t = tcase_create("faults");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, without_faults_everything_goes_out_once);
	tcase_add_test(t, a_window_of_one_is_enough);
	tcase_add_test(t, a_full_queue_is_waited_for);
	tcase_add_test(t, a_sink_that_breaks_at_a_send_is_made_anew);
	tcase_add_test(t, a_report_that_is_lost_makes_recognisable_duplicates);
	tcase_add_loop_test(t, what_is_refused_at_once_goes_to_the_dlq, 0, (int)ARRAY_SIZE(refusals));
	tcase_add_loop_test(t, what_is_refused_later_goes_to_the_dlq, 0, (int)ARRAY_SIZE(refusals));
	tcase_add_test(t, a_dlq_that_refuses_is_tried_again);
	tcase_add_test(t, who_comes_later_sends_nothing_again);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
