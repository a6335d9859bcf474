/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "base/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json-form.h"

static struct json_value parsed(const char *text, enum json_dialect dialect)
{
	struct json_value v = { JSON_NULL, NULL, 0 };
	struct why why = { "" };
	enum rc rc = json_parse(text, strlen(text), dialect, &v, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", text, why.text);
	return v;
}

START_TEST(good_texts_are_taken)
{
	static const struct {
		const char *text;
		enum json_type type;
	} good[] = {
		{ "{}", JSON_OBJECT },
		{ " [ ] ", JSON_ARRAY },
		{ "null", JSON_NULL },
		{ "true", JSON_TRUE },
		{ "false", JSON_FALSE },
		{ "-0.0e-0", JSON_NUMBER },
		{ "1e400", JSON_NUMBER },
		{ "123456789012345678901234567890.5", JSON_NUMBER },
		{ "\"\\ud83d\\ude00\\u0000\"", JSON_STRING },
		{ "\"\xf4\x8f\xbf\xbf\xc3\xa9\x7f\"", JSON_STRING },
		{ "{\"a\":[1,{\"b\":null}],\"a\":\"\\\\\"}\r\n\t ", JSON_OBJECT },
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_int_eq(parsed(good[i].text, JSON_STRICT).type, good[i].type);
}
END_TEST

static const struct {
	const char *text, *reason;
} bad[] = {
	{ "", "line 1, column 1: expected a value, found the end of the text" },
	{ " \n", "line 2, column 1: expected a value, found the end of the text" },
	{ "{\"a\":1 x", "line 1, column 8: expected ',' or '}', found 'x'" },
	{ "{\"a\"\n  1}", "line 2, column 3: expected ':', found '1'" },
	{ "{\"a\":1,}", "line 1, column 8: expected a key in '\"', found '}'" },
	{ "[1,]", "line 1, column 4: expected a value, found ']'" },
	{ "[,1]", "line 1, column 2: expected a value or ']', found ','" },
	{ "[1}", "line 1, column 3: expected ',' or ']', found '}'" },
	{ "{a:1}", "line 1, column 2: expected a key in '\"' or '}', found 'a'" },
	{ "{\"a\":NaN}", "line 1, column 6: expected a value, found 'NaN'" },
	{ "-Infinity", "line 1, column 2: expected a digit, found 'Infinity'" },
	{ "tru", "line 1, column 4: expected true, found the end of the text" },
	{ "truex", "line 1, column 1: expected a value, found 'truex'" },
	{ "01", "line 1, column 1: a number must not start with 0" },
	{ "1.", "line 1, column 3: expected a digit after '.', found the end of the text" },
	{ "1.x", "line 1, column 3: expected a digit after '.', found 'x'" },
	{ "1e+", "line 1, column 4: expected a digit of the exponent, found the end of the text" },
	{ "+1", "line 1, column 1: expected a value, found '+'" },
	{ "{} {}", "line 1, column 4: expected nothing after the document, found '{'" },
	{ "\"ab",
	  "line 1, column 4: expected '\"' at the end of a string, found the end of the text" },
	{ "\"a\nb\"",
	  "line 1, column 3: expected an escape such as \\n for a control character in a string, "
	  "found the end of the line" },
	{ "\"\\x\"",
	  "line 1, column 3: expected one of \" \\ / b f n r t u after '\\', found 'x'" },
	{ "\"\\u12g4\"", "line 1, column 6: expected four hex digits after '\\u', found 'g'" },
	{ "\"\\ud800\"",
	  "line 1, column 2: a surrogate escape stands alone: \\ud800 to \\udfff come in pairs, "
	  "high then low" },
	{ "\"\\ud800\\u0041\"",
	  "line 1, column 2: a surrogate escape stands alone: \\ud800 to \\udfff come in "
	  "pairs, high then low" },
	{ "\"\\ude00\"",
	  "line 1, column 2: a surrogate escape stands alone: \\ud800 to \\udfff come in pairs, "
	  "high then low" },
	{ "\"a\xff\"", "line 1, column 3: expected valid UTF-8, found the byte 0xff" },
	{ "\"\xc0\x80\"", "line 1, column 2: expected valid UTF-8, found the byte 0xc0" },
	{ "\"\xed\xa0\x80\"", "line 1, column 2: expected valid UTF-8, found the byte 0xed" },
	{ "\"\xf4\x90\x80\x80\"", "line 1, column 2: expected valid UTF-8, found the byte 0xf4" },
	{ "\xef\xbb\xbf{}", "line 1, column 1: expected a value, found a byte order mark" },
	{ "{\"a\":\x01}", "line 1, column 6: expected a value, found the control byte 0x01" },
	{ "{\"a\":\xc3\xa9}", "line 1, column 6: expected a value, found '\xc3\xa9'" },
};

START_TEST(bad_text_is_refused_with_its_place)
{
	struct json_value v;
	struct why why = { "" };
	ck_assert_int_eq(json_parse(bad[_i].text, strlen(bad[_i].text), JSON_STRICT, &v, &why),
			 RC_INVALID);
	ck_assert_str_eq(why.text, bad[_i].reason);
}
END_TEST

START_TEST(nul_byte_is_refused)
{
	struct json_value v;
	struct why why = { "" };
	ck_assert_int_eq(json_parse("{\"a\":\"\0\"}", 9, JSON_STRICT, &v, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "line 1, column 7"));
	ck_assert_ptr_nonnull(strstr(why.text, "a NUL byte"));
	ck_assert_int_eq(json_parse("{}\0", 3, JSON_STRICT, &v, &why), RC_INVALID);
	ck_assert_str_eq(why.text,
			 "line 1, column 3: expected nothing after the document, found a NUL byte");
}
END_TEST

static enum rc parse_nested(unsigned depth, enum json_dialect dialect, struct why *why)
{
	char text[1024];
	struct json_value v;
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	return json_parse(text, 2 * depth, dialect, &v, why);
}

START_TEST(depth_is_limited)
{
	struct why why = { "" };
	ck_assert_int_eq(parse_nested(128, JSON_STRICT, &why), RC_OK);
	ck_assert_int_eq(parse_nested(129, JSON_STRICT, &why), RC_INVALID);
	ck_assert_str_eq(why.text, "line 1, column 129: nested deeper than 128 levels");
	ck_assert_int_eq(parse_nested(201, JSON_LAX, &why), RC_OK);
	ck_assert_int_eq(parse_nested(202, JSON_LAX, &why), RC_INVALID);
}
END_TEST

/*
 * Each beginning of a good document is a beginning, never an error; the whole is found at every
 * length behind it.
 */
START_TEST(every_beginning_is_partial)
{
	const char *text =
		"  {\"a\\u00e9\\ud83d\\ude00\":[1.5e+3,-0,true,null,\"\xf0\x9f\x98\x80\"],"
		"\n\"b\":{}}  {";
	size_t whole = strlen(text) - 3;
	for (size_t n = 0; n <= strlen(text); n++) {
		struct json_value v;
		struct why why = { "" };
		size_t used = 0;
		_cleanup_(freep) char *copy =
			malloc(n + 1); /* for the sanitizer: nothing behind it */
		memcpy(copy, text, n);
		enum json_scan r = json_scan(copy, n, JSON_STRICT, 1, &v, &used, &why);
		if (n < 3)
			ck_assert_int_eq(r, JSON_EMPTY);
		else if (n < whole)
			ck_assert_msg(r == JSON_PARTIAL, "%zu: %s", n, why.text);
		else
			ck_assert(r == JSON_COMPLETE && used == whole && v.len == whole - 2);
	}
}
END_TEST

START_TEST(number_at_the_end_may_go_on)
{
	struct json_value v;
	size_t used = 0;
	ck_assert_int_eq(json_scan("12", 2, JSON_STRICT, 1, &v, &used, NULL), JSON_PARTIAL);
	ck_assert_int_eq(json_scan("12\n", 3, JSON_STRICT, 1, &v, &used, NULL), JSON_COMPLETE);
	ck_assert_uint_eq(used, 2);
}
END_TEST

START_TEST(first_line_counts_on)
{
	struct json_value v;
	struct why why = { "" };
	size_t used;
	ck_assert_int_eq(json_scan("\n\n x", 4, JSON_STRICT, 10, &v, &used, &why), JSON_BROKEN);
	ck_assert_str_eq(why.text, "line 12, column 2: expected a value, found 'x'");
}
END_TEST

START_TEST(members_come_in_order)
{
	struct json_value v = parsed(
		" { \"a\" : [ 1 , [ \"]\" ] ] , \"\\u0062\":\"x\\\"}\",\"c\":{} } ", JSON_STRICT);
	struct json_iter it, inner;
	struct json_value key, value, element;
	json_iter_init(&it, &v);
	ck_assert(json_iter_next(&it, &key, &value));
	ck_assert(json_string_is(&key, "a") && value.type == JSON_ARRAY);
	json_iter_init(&inner, &value);
	ck_assert(json_iter_next(&inner, &key, &element) && element.type == JSON_NUMBER &&
		  element.len == 1);
	ck_assert(json_iter_next(&inner, &key, &element) && element.type == JSON_ARRAY &&
		  element.len == 7);
	ck_assert(!json_iter_next(&inner, &key, &element));
	ck_assert(json_iter_next(&it, &key, &value));
	ck_assert(json_string_is(&key, "b") && json_string_is(&value, "x\"}"));
	ck_assert(json_iter_next(&it, &key, &value));
	ck_assert(json_string_is(&key, "c") && !json_string_is(&key, "cc") &&
		  value.type == JSON_OBJECT);
	ck_assert(!json_iter_next(&it, &key, &value));
	ck_assert(!json_iter_next(&it, &key, &value));
	json_iter_init(&it, &value);
	ck_assert(!json_iter_next(&it, &key, &value));
}
END_TEST

START_TEST(strings_survive_unescaping_and_quoting)
{
	struct json_value v = parsed(
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u001F\\u0000\\u00e9\\ud83d\\ude00z\"", JSON_STRICT);
	_cleanup_(buf_release) struct buf plain = BUF_INIT, quoted = BUF_INIT;
	json_string(&v, &plain);
	ck_assert_uint_eq(plain.len, 17);
	ck_assert_mem_eq(plain.data, "\"\\/\b\f\n\r\t\x1f\0\xc3\xa9\xf0\x9f\x98\x80z", 17);
	json_quote(plain.data, plain.len, &quoted);
	ck_assert_str_eq(quoted.data,
			 "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u001f\\u0000\xc3\xa9\xf0\x9f\x98\x80z\"");
}
END_TEST

START_TEST(minify_takes_blanks_alone)
{
	struct json_value v =
		parsed(" { \"a \\\" b\" : [ 1.50 ,\n 1E+2 ] , \"a\":{ } , \"a\":2 } ", JSON_STRICT);
	_cleanup_(buf_release) struct buf out = BUF_INIT;
	json_minify(&v, &out);
	ck_assert_str_eq(out.data, "{\"a \\\" b\":[1.50,1E+2],\"a\":{},\"a\":2}");
}
END_TEST

START_TEST(normal_form_is_what_the_established_writer_means)
{
	static const char *const rows[][2] = {
		{ "{ \"a\":1, \"b\":2, \"\\u0061\":3 }", "{\"a\":3,\"b\":2}" },
		{ "{\"z\":{\"k\":1,\"k\":[2]},\"y\":1,\"z\":{\"q\":0,\"k\":5,\"k\":6}}",
		  "{\"z\":{\"q\":0,\"k\":6},\"y\":1}" },
		{ "[ -0, -0.0, 0, NaN, Infinity, -Infinity, 1e400, -1e400, 1e-400 ]",
		  "[0,-0.0,0,null,null,null,null,null,1e-400]" },
		{ "[1.7976931348623157e308,1.8e308,17976931348623157e292,"
		  "18000000000000000e292,0e999]",
		  "[1.7976931348623157e308,null,17976931348623157e292,null,0e999]" },
		{ "\"\\/\\u00e9\"", "\"/\xc3\xa9\"" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf out = BUF_INIT;
		struct json_value v = parsed(rows[i][0], JSON_LAX);
		json_form_normal(&v, &out);
		ck_assert_str_eq(buf_text(&out), rows[i][1]);
	}
}
END_TEST

static bool same_value(const char *a, const char *b)
{
	_cleanup_(buf_release) struct buf x = BUF_INIT, y = BUF_INIT;
	struct json_value v = parsed(a, JSON_STRICT), w = parsed(b, JSON_STRICT);
	json_form_canonical(&v, &x);
	json_form_canonical(&w, &y);
	return x.len == y.len && !memcmp(x.data, y.data, x.len);
}

START_TEST(canonical_form_is_equal_for_equal_values)
{
	static const char *const same[][2] = {
		{ "1", "1.0" },
		{ "1", "10e-1" },
		{ "100", "1e2" },
		{ "-0", "0.00e5" },
		{ "0.01", "1E-2" },
		{ "120.0", "1.2e+02" },
		{ "1e400", "10e399" },
		{ "-12.50", "-125e-1" },
		{ "{\"a\":1,\"b\":[2]}", "{ \"b\" : [ 2.0 ] , \"\\u0061\" : 1 }" },
		{ "{\"a\":1,\"b\":2,\"a\":3}", "{\"b\":2,\"a\":3}" },
		{ "\"\\u00e9\\/\"", "\"\xc3\xa9/\"" },
		{ "{\"x\":{\"b\":1,\"a\":{\"d\":[],\"c\":{}}}}",
		  "{\"x\":{\"a\":{\"c\":{},\"d\":[]},\"b\":1}}" },
	};
	static const char *const different[][2] = {
		{ "1", "10" },
		{ "1", "-1" },
		{ "1", "\"1\"" },
		{ "123456789012345678901", "123456789012345678902" },
		{ "0.1", "0.10000000000000000001" },
		{ "1e400", "1e401" },
		{ "1e99999999999999999999", "1e9" },
		{ "{\"a\":1}", "{\"a\":2}" },
		{ "[1,2]", "[2,1]" },
		{ "{}", "[]" },
		{ "null", "false" },
		{ "{\"a\":1,\"a\":2}", "{\"a\":2,\"a\":1}" },
		{ "{\"ab\":1}", "{\"a\":1}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		ck_assert_msg(same_value(same[i][0], same[i][1]), "%s, %s", same[i][0], same[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(different); i++)
		ck_assert_msg(!same_value(different[i][0], different[i][1]), "%s, %s",
			      different[i][0], different[i][1]);
}
END_TEST

/* 5,000 members backwards: sorted, and in time. */
START_TEST(canonical_form_sorts_many_members)
{
	_cleanup_(buf_release) struct buf up = BUF_INIT, down = BUF_INIT;
	for (int i = 0; i < 5000; i++) {
		buf_printf(&up, "%c\"k%05d\":{\"v\":%d,\"a\":\"\"}", i ? ',' : '{', i, i);
		buf_printf(&down, "%c\"k%05d\":{\"a\":\"\",\"v\":%d}", i ? ',' : '{', 4999 - i,
			   4999 - i);
	}
	buf_add_char(&up, '}');
	buf_add_char(&down, '}');
	ck_assert(same_value(buf_text(&up), buf_text(&down)));
}
END_TEST

START_TEST(whole_numbers_are_read_within_63_bits)
{
	uint64_t n = 7;
	struct json_value v = parsed("9223372036854775807", JSON_STRICT);
	ck_assert(json_u64(&v, &n) && n == INT64_MAX);
	static const char *const none[] = { "9223372036854775808", "-1", "1.0", "1e3", "\"1\"",
					    "99999999999999999999" };
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		v = parsed(none[i], JSON_STRICT);
		ck_assert_msg(!json_u64(&v, &n), "%s", none[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json");
	TCase *tc = tcase_create("json");
	tcase_add_test(tc, good_texts_are_taken);
	tcase_add_loop_test(tc, bad_text_is_refused_with_its_place, 0, (int)ARRAY_SIZE(bad));
	tcase_add_test(tc, nul_byte_is_refused);
	tcase_add_test(tc, depth_is_limited);
	tcase_add_test(tc, every_beginning_is_partial);
	tcase_add_test(tc, number_at_the_end_may_go_on);
	tcase_add_test(tc, first_line_counts_on);
	tcase_add_test(tc, members_come_in_order);
	tcase_add_test(tc, strings_survive_unescaping_and_quoting);
	tcase_add_test(tc, minify_takes_blanks_alone);
	tcase_add_test(tc, normal_form_is_what_the_established_writer_means);
	tcase_add_test(tc, canonical_form_is_equal_for_equal_values);
	tcase_add_test(tc, canonical_form_sorts_many_members);
	tcase_add_test(tc, whole_numbers_are_read_within_63_bits);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
