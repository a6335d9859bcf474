/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "event/time.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *in, *out;
} good[] = {
	{ "2025-12-18T09:05:03.123456Z", "2025-12-18T09:05:03.123456Z" },
	{ "2025-12-18t09:05:03.12z", "2025-12-18T09:05:03.120000Z" },
	{ "2025-12-18 09:05:03,1234567Z", "2025-12-18T09:05:03.123456Z" },
	{ "2025-12-18_09:05Z", "2025-12-18T09:05:00Z" },
	{ "2025-12-18T09:05:03+0900", "2025-12-18T09:05:03+09:00" },
	{ "2025-12-18T09:05:03-23:59", "2025-12-18T09:05:03-23:59" },
	{ "2025-12-18T09:05:03.000Z", "2025-12-18T09:05:03Z" },
	{ "2025-12-18T09:05:03", "2025-12-18T09:05:03" },
	{ "2024-02-29", "2024-02-29T00:00:00" },
	{ "1766048703", "2025-12-18T09:05:03Z" },
	{ "-1", "1969-12-31T23:59:59Z" },
	{ "1766048703123", "2025-12-18T09:05:03.123000Z" },
	{ "1766048703.5", "2025-12-18T09:05:03.500000Z" },
	{ "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z" },
	{ "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z" },
	{ "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z" },
};

START_TEST(time_is_read_and_written)
{
	struct time_stamp t;
	struct why why = { "" };
	char out[TIME_TEXT_MAX];
	ck_assert_msg(time_parse(good[_i].in, strlen(good[_i].in), &t, &why) == RC_OK, "%s",
		      why.text);
	time_format(&t, out);
	ck_assert_str_eq(out, good[_i].out);
}
END_TEST

START_TEST(no_time_is_refused_with_a_reason)
{
	static const char *const none[] = {
		"",
		"now",
		"24:00",
		"2025-12-18T24:00:00Z",
		"2025-12-18T23:59:60Z",
		"2025-12-18T09:05:03+09",
		"2025-12-18T09:05:03 Z",
		" 2025-12-18",
		"2025-12-18T09:05:03.Z",
		"0000-01-01",
		"2025-02-29",
		"2025-13-01",
		"20251218T090503Z",
		"2025-12-18T09:05:03+24:00",
		"1e9",
		"1.",
		"1766048703000000",
		"2025-12-18T09:05:03Zx",
		"99999999999999999999999999",
		"-",
	};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		struct time_stamp t;
		struct why why = { "" };
		ck_assert_msg(time_parse(none[i], strlen(none[i]), &t, &why) == RC_INVALID, "%s",
			      none[i]);
		ck_assert_ptr_nonnull(strstr(why.text, "expected a time"));
	}
}
END_TEST

START_TEST(numbers_are_seconds_or_milliseconds)
{
	static const struct {
		const char *in;
		int64_t us;
	} rows[] = {
		{ "20000000000", INT64_C(20000000000000000) },
		{ "20000000001", INT64_C(20000000001000) },
		{ "-20000000001", INT64_C(-20000000001000) },
		{ "-0.5", -500000 },
		{ "1e10", INT64_C(10000000000000000) },
		{ "1653323487.633079550", INT64_C(1653323487633080) },
		{ "1653323487000.133", INT64_C(1653323487000133) },
	};
	struct time_stamp t;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ck_assert_int_eq(time_parse_number(rows[i].in, strlen(rows[i].in), &t, NULL),
				 RC_OK);
		ck_assert_int_eq(t.us, rows[i].us);
		ck_assert(!t.naive && !t.offset_s);
	}
	ck_assert_int_eq(time_parse_number("NaN", 3, &t, NULL), RC_INVALID);
	ck_assert_int_eq(time_parse_number("253402300800000", 15, &t, NULL), RC_INVALID);
	ck_assert_int_eq(time_parse_number("1e400", 5, &t, NULL), RC_INVALID);
}
END_TEST

/* Every day of ten thousand years, there and back. */
START_TEST(days_count_without_a_hole)
{
	int64_t us, before;
	ck_assert_int_eq(time_from_day(1, 1, 1, &before), RC_OK);
	ck_assert(time_in_calendar(before) && !time_in_calendar(before - 1));
	before -= INT64_C(86400000000);
	int days = 0;
	for (int y = 1; y <= 9999; y++)
		for (int m = 1; m <= 12; m++)
			for (int d = 1; d <= 31; d++) {
				int year, month, day;
				if (time_from_day(y, m, d, &us) != RC_OK)
					continue;
				days++;
				if (us != before + INT64_C(86400000000))
					ck_abort_msg("%d-%d-%d", y, m, d);
				time_day(us + INT64_C(86399999999), &year, &month, &day);
				if (year != y || month != m || day != d)
					ck_abort_msg("%d-%d-%d", y, m, d);
				before = us;
			}
	ck_assert_int_eq(days, 3652059);
	ck_assert(time_in_calendar(before + INT64_C(86399999999)) &&
		  !time_in_calendar(before + INT64_C(86400000000)));
	ck_assert_int_eq(time_from_day(2023, 2, 29, &us), RC_INVALID);
	ck_assert_int_eq(time_from_day(1900, 2, 29, &us), RC_INVALID);
	ck_assert_int_eq(time_from_day(10000, 1, 1, &us), RC_INVALID);
}
END_TEST

START_TEST(index_text_is_utc)
{
	struct time_stamp t;
	char out[TIME_TEXT_MAX];
	const char *text = "2029-03-01T00:30:00.1+09:00";
	ck_assert_int_eq(time_parse(text, strlen(text), &t, NULL), RC_OK);
	time_format_index(&t, out);
	ck_assert_str_eq(out, "2029-02-28T15:30:00.100000+00:00");
	ck_assert_int_eq(time_index_ms(t.us), INT64_C(1866987000100));
	time_format_us(t.us, out);
	ck_assert_str_eq(out, "2029-02-28T15:30:00.100000Z");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("time");
	TCase *tc = tcase_create("time");
	tcase_add_loop_test(tc, time_is_read_and_written, 0, (int)ARRAY_SIZE(good));
	tcase_add_test(tc, no_time_is_refused_with_a_reason);
	tcase_add_test(tc, numbers_are_seconds_or_milliseconds);
	tcase_add_test(tc, days_count_without_a_hole);
	tcase_add_test(tc, index_text_is_utc);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
