/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "event/key.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

START_TEST(native_key_is_made_and_read)
{
	static const struct {
		const char *type, *id;
		uint64_t number;
		const char *key;
	} rows[] = {
		{ "Order", "o-42", 3, "streams/Order/o-42/0000000003.json" },
		{ "Order", "o-42", 12345678901, "streams/Order/o-42/12345678901.json" },
		{ "Branch", "db/main", 1, "streams/Branch/db/main/0000000001.json" },
		{ "a/b", ".x//0000000001.json", 1,
		  "streams/a%2Fb/%2Ex/%/%30000000001.json/0000000001.json" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf key = BUF_INIT, type = BUF_INIT, id = BUF_INIT;
		uint64_t number = 0;
		key_native_event(rows[i].type, rows[i].id, rows[i].number, &key);
		ck_assert_str_eq(buf_text(&key), rows[i].key);
		ck_assert_int_eq(key_native_parse(key.data, &type, &id, &number, NULL), RC_OK);
		ck_assert_str_eq(buf_text(&type), rows[i].type);
		ck_assert_str_eq(buf_text(&id), rows[i].id);
		ck_assert_uint_eq(number, rows[i].number);
	}
}
END_TEST

START_TEST(other_keys_are_refused)
{
	static const char *const none[] = {
		"",
		"streams/",
		"streams/Order/0000000003.json",
		"streams/Order/o/3.json",
		"streams/Order/o/00000000003.json",
		"streams/Order/o/0000000003",
		"streams/Order/o/0000000003.json.tmp",
		"streams//o/0000000003.json",
		"streams/Order//0000000003.json",
		"events/2025/12/18/Order/o/x.json",
		"streams/Order/.o/0000000003.json",
		"streams/Order/o/99999999999999999999.json",
		"streams/Order/o/0000000000.json",
		"xstreams/Order/o/0000000003.json",
		"streams/Order/a%2Fb/0000000003.json",	/* those of other keys, escaped otherwise */
		"streams/Order/%41/0000000003.json",
		"streams/%4Frder/o/0000000003.json",
		"streams/%/o/0000000003.json",
		"streams/Order/%/0000000003.json",
	};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		_cleanup_(buf_release) struct buf type = BUF_INIT, id = BUF_INIT;
		uint64_t number;
		struct why why = { "" };
		ck_assert_msg(key_native_parse(none[i], &type, &id, &number, &why) == RC_INVALID,
			      "%s", none[i]);
		ck_assert(why.text[0]);
	}
}
END_TEST

START_TEST(indexed_entry_is_read)
{
	_cleanup_(buf_release) struct buf id = BUF_INIT;
	uint64_t number = 0;
	ck_assert_int_eq(
		key_indexed_parse_entry("00000000000000000007_a_b.json.json", &number, &id, NULL),
		RC_OK);
	ck_assert_uint_eq(number, 7);
	ck_assert_str_eq(buf_text(&id), "a_b.json");
	ck_assert_int_eq(key_indexed_parse_entry("events.json", &number, &id, NULL), RC_INVALID);
	ck_assert_int_eq(key_indexed_parse_entry("_x.json", &number, &id, NULL), RC_INVALID);
	ck_assert_int_eq(key_indexed_parse_entry("7_x", &number, &id, NULL), RC_INVALID);
	ck_assert_int_eq(key_indexed_parse_entry("99999999999999999999_x.json", &number, &id, NULL),
			 RC_INVALID);
}
END_TEST

START_TEST(impossible_streams_are_refused)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct why why = { "" };
	ck_assert_int_eq(key_check_stream("Order", "o-42", &why), RC_OK);
	ck_assert_int_eq(key_check_stream("", "o", &why), RC_INVALID);
	ck_assert_str_eq(why.text, "the aggregate type is empty");
	ck_assert_int_eq(key_check_stream("Order", "", &why), RC_INVALID);
	ck_assert_int_eq(key_check_stream("Order", "a\xff", &why), RC_INVALID);
	ck_assert_str_eq(why.text, "the aggregate id is no UTF-8: byte 2 is 0xff");

	for (int i = 0; i < 255; i++)
		buf_add_char(&text, 'a');
	ck_assert_int_eq(key_check_stream("Order", buf_text(&text), &why), RC_OK);
	buf_add_char(&text, 'a');
	ck_assert_int_eq(key_check_stream("Order", buf_text(&text), &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "256 bytes"));

	buf_reset(&text);
	for (int i = 0; i < 500; i++)
		buf_add_text(&text, "a/");
	ck_assert_int_eq(key_check_stream("Order", buf_text(&text), &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "at most 1024"));
	buf_reset(&text);
	for (int i = 0; i < 490; i++)
		buf_add_text(&text, "a/");
	buf_add_char(&text, 'b');
	ck_assert_int_eq(key_check_stream("Order", buf_text(&text), &why), RC_OK);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("key");
	TCase *tc = tcase_create("key");
	tcase_add_test(tc, native_key_is_made_and_read);
	tcase_add_test(tc, other_keys_are_refused);
	tcase_add_test(tc, indexed_entry_is_read);
	tcase_add_test(tc, impossible_streams_are_refused);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
