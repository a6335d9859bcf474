/* SPDX-License-Identifier: Apache-2.0 */
/* test-fs-gather.c - documents out of writes, however they are cut. */
#include "config.h"
#include "fs/fs-gather.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

#define MAX 4096

static const char three[] =
	"{\"event_type\":\"A\",\"data\":{\"n\":1}}\n"
	"  {\"event_type\":\"B\",\"data\":{\"text\":\"} { \\\" é\"}}"
	"{\"event_type\":\"C\",\n\"data\":{}}\n\n";

/* Write text, commit what it completes, and add the types to seen. */
static enum rc put(struct fs_gather *g, const char *text, size_t len, struct buf *seen,
		   struct why *why)
{
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	enum rc rc = fs_gather_write(g, text, len, &b, why);
	if (rc != RC_OK)
		return rc;
	for (size_t i = 0; i < b.n; i++)
		buf_add_text(seen, b.drafts[i].event_type);
	return fs_gather_keep(g, b.n > 0, why);
}

START_TEST(every_cut_in_two_gives_the_same_documents)
{
	size_t len = strlen(three);
	for (size_t cut = 0; cut <= len; cut++) {
		_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
		_cleanup_(buf_release) struct buf seen = BUF_INIT;
		ck_assert_int_eq(put(&g, three, cut, &seen, NULL), RC_OK);
		ck_assert_int_eq(put(&g, three + cut, len - cut, &seen, NULL), RC_OK);
		ck_assert_str_eq(buf_text(&seen), "ABC");
		ck_assert(!fs_gather_incomplete(&g));
	}
}
END_TEST

START_TEST(a_byte_at_a_time_gives_the_same_documents)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
	_cleanup_(buf_release) struct buf seen = BUF_INIT;
	for (size_t i = 0; i < strlen(three); i++)
		ck_assert_int_eq(put(&g, three + i, 1, &seen, NULL), RC_OK);
	ck_assert_str_eq(buf_text(&seen), "ABC");
	ck_assert(!fs_gather_incomplete(&g));
}
END_TEST

START_TEST(random_cuts_give_the_same_documents)
{
	unsigned seed = (unsigned)time(NULL);
	printf("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 300; round++) {
		_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
		_cleanup_(buf_release) struct buf seen = BUF_INIT;
		for (size_t at = 0, len = strlen(three); at < len;) {
			size_t n = 1 + (size_t)rand() % 30;
			n = n < len - at ? n : len - at;
			ck_assert_int_eq(put(&g, three + at, n, &seen, NULL), RC_OK);
			at += n;
		}
		ck_assert_str_eq(buf_text(&seen), "ABC");
	}
}
END_TEST

START_TEST(the_bad_document_of_a_batch_is_named_and_nothing_is_told)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	_cleanup_(buf_release) struct buf text = BUF_INIT, seen = BUF_INIT;
	struct why why = { "" };
	for (int i = 1; i <= 10; i++)
		buf_add_text(&text, i == 7 ? "{\"event_type\":\"A\",NaN}\n"
					   : "{\"event_type\":\"A\",\"data\":{}}\n");
	ck_assert_int_eq(fs_gather_write(&g, text.data, text.len, &b, &why), RC_INVALID);
	ck_assert_msg(strstr(why.text, "document 7 of 10: line 7, column 19") == why.text, "%s",
		      why.text);
	ck_assert(!fs_gather_incomplete(&g));
	/* and the next write begins anew */
	ck_assert_int_eq(put(&g, three, strlen(three), &seen, &why), RC_OK);
	ck_assert_str_eq(buf_text(&seen), "ABC");
}
END_TEST

START_TEST(a_wrong_key_is_placed_in_the_write_not_in_the_document)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	static const char text[] =
		"{\"event_type\":\"A\",\"data\":{}} {\"event_type\":\"A\",\"data\":{},\"x\":1}";
	struct why why = { "" };
	ck_assert_int_eq(fs_gather_write(&g, text, strlen(text), &b, &why), RC_INVALID);
	ck_assert_msg(strstr(why.text, "document 2 of 2: line 1, column 58: unknown key") ==
			      why.text,
		      "%s", why.text);
}
END_TEST

START_TEST(what_is_no_object_is_refused_at_once)
{
	static const char *const texts[] = { "[1]", "5", "\"a\"", "null", "\xef\xbb\xbf{}", "x" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
		_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
		struct why why = { "" };
		ck_assert_int_eq(fs_gather_write(&g, texts[i], strlen(texts[i]), &b, &why),
				 RC_INVALID);
		ck_assert_msg(strstr(why.text,
				     "line 1, column 1: expected a JSON object, found ") ==
				      why.text,
			      "%s", why.text);
	}
}
END_TEST

START_TEST(an_incomplete_document_over_the_limit_is_too_large)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = 100 };
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	buf_add_text(&text, "{\"a\":\"");
	while (text.len < 200)
		buf_add_char(&text, 'x');
	ck_assert_int_eq(fs_gather_write(&g, text.data, text.len, &b, NULL), RC_TOO_LARGE);
	ck_assert(!fs_gather_incomplete(&g));
}
END_TEST

START_TEST(a_write_that_may_come_again_finds_what_was_before_it)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
	_cleanup_(buf_release) struct buf seen = BUF_INIT;
	static const char end[] = "\"data\":{}}\n{\"event";
	ck_assert_int_eq(put(&g, "{\"event_type\":\"A\",", 18, &seen, NULL), RC_OK);
	for (int i = 0; i < 2; i++) {
		_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
		ck_assert_int_eq(fs_gather_write(&g, end, strlen(end), &b, NULL), RC_OK);
		ck_assert_uint_eq(b.n, 1);
		fs_gather_undo(&g, true);
		ck_assert_uint_eq(g.rest.len, 18);
	}
	ck_assert_int_eq(put(&g, end, strlen(end), &seen, NULL), RC_OK);
	ck_assert_str_eq(buf_text(&seen), "A");
	ck_assert_str_eq(g.rest.data, "{\"event");
}
END_TEST

START_TEST(a_write_that_was_refused_leaves_nothing)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX };
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	_cleanup_(buf_release) struct buf seen = BUF_INIT;
	ck_assert_int_eq(put(&g, "{\"event_type\":\"A\",", 18, &seen, NULL), RC_OK);
	ck_assert_int_eq(fs_gather_write(&g, "\"data\":{}}{", 11, &b, NULL), RC_OK);
	fs_gather_undo(&g, false);
	ck_assert(!fs_gather_incomplete(&g));
}
END_TEST

START_TEST(a_file_takes_one_document_and_blanks)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX,
							    .single = true,
							    .event_type = "Paid" };
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	_cleanup_(buf_release) struct buf seen = BUF_INIT;
	struct why why = { "" };
	ck_assert_int_eq(put(&g, " {\"a\"", 5, &seen, NULL), RC_OK);
	ck_assert(fs_gather_incomplete(&g));
	ck_assert_int_eq(put(&g, ":1}\n ", 5, &seen, NULL), RC_OK);
	ck_assert_str_eq(buf_text(&seen), "Paid");
	ck_assert_int_eq(put(&g, "\n\t \r\n", 5, &seen, NULL), RC_OK);
	ck_assert_int_eq(fs_gather_write(&g, "{}", 2, &b, &why), RC_DENIED);
	ck_assert_str_eq(buf_text(&seen), "Paid");
}
END_TEST

START_TEST(two_documents_in_one_file_are_refused_together)
{
	_cleanup_(fs_gather_release) struct fs_gather g = { .max = MAX,
							    .single = true,
							    .event_type = "Paid" };
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	struct why why = { "" };
	ck_assert_int_eq(fs_gather_write(&g, "{}\n{}", 5, &b, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "second document"));
	ck_assert_ptr_eq(strstr(why.text, "line 2, column 1: "), why.text);
	ck_assert(!g.done);
}
END_TEST

START_TEST(a_whole_file_is_one_complete_document)
{
	struct draft d = DRAFT_INIT;
	struct why why = { "" };
	ck_assert_int_eq(fs_gather_whole("", 0, "T", false, 0, &d, &why), RC_INVALID);
	ck_assert_int_eq(fs_gather_whole("{\"a\":", 5, "T", false, 0, &d, &why), RC_INVALID);
	ck_assert_int_eq(fs_gather_whole("{}{}", 4, "T", false, 0, &d, &why), RC_INVALID);
	ck_assert_int_eq(fs_gather_whole(" {\"a\": 1}\n", 10, "T", true, 3, &d, &why), RC_OK);
	ck_assert_str_eq(d.event_type, "T");
	ck_assert_str_eq(d.data, "{\"a\":1}");
	ck_assert(d.has_number && d.number == 3);
	draft_release(&d);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fs-gather");
	TCase *tc = tcase_create("fs-gather");
	tcase_add_test(tc, every_cut_in_two_gives_the_same_documents);
	tcase_add_test(tc, a_byte_at_a_time_gives_the_same_documents);
	tcase_add_test(tc, random_cuts_give_the_same_documents);
	tcase_add_test(tc, the_bad_document_of_a_batch_is_named_and_nothing_is_told);
	tcase_add_test(tc, a_wrong_key_is_placed_in_the_write_not_in_the_document);
	tcase_add_test(tc, what_is_no_object_is_refused_at_once);
	tcase_add_test(tc, an_incomplete_document_over_the_limit_is_too_large);
	tcase_add_test(tc, a_write_that_may_come_again_finds_what_was_before_it);
	tcase_add_test(tc, a_write_that_was_refused_leaves_nothing);
	tcase_add_test(tc, a_file_takes_one_document_and_blanks);
	tcase_add_test(tc, two_documents_in_one_file_are_refused_together);
	tcase_add_test(tc, a_whole_file_is_one_complete_document);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
