/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of ledger.h: seedings and re-seeds. */
#include "config.h"
#include "ledger-harness.h"

#include <string.h>

#include "base/cleanup.h"

START_TEST(nothing_works_before_the_seeding)
{
	open_ledger(_i, true);
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	ck_assert_int_eq(append(&a), RC_FENCED);
	ck_assert(a.fenced_stream);
	ck_assert_str_eq(rows("o-1"), "fenced");
	reseed("o-1", 1, "");
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a?");
	struct ledger_reseed complete = { .seeding = 1 };
	ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_OK);
	ck_assert_str_eq(rows("o-2"), "");
	ck_assert_uint_eq(add("o-2", 'b'), 1);
	close_ledger();
}
END_TEST

START_TEST(a_new_seeding_fences_every_stream)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-2", 'b');
	uint64_t n = seed(false);
	struct ledger_event e = event('c');
	struct ledger_append a = batch("o-1", &e, 1);
	ck_assert_int_eq(append(&a), RC_FENCED);
	ck_assert(a.fenced_stream);
	ck_assert_str_eq(rows("o-1"), "fenced");
	ck_assert_str_eq(claim(10, 0, true), "");
	settle("o-1", 1, 'a');
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_EVENTS,
						     .type = "Order",
						     .id = "o-1",
						     .unseeded_too = true }),
			 "1=a?");
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_UNSEEDED }),
			 "Order/o-1:1/0! Order/o-2:1/0!");
	ck_assert_str_eq(
		ask(&(struct ledger_query){ .what = LEDGER_ID, .event_id = event('a').event_id }),
		"fenced");
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_TIME, .to_us = INT64_MAX }),
			 "");
	struct ledger_reseed complete = { .seeding = n };
	ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_TEMPORARY);
	reseed("o-1", n, "1a");
	ck_assert_str_eq(rows("o-1"), "1=a");
	ck_assert_str_eq(claim(10, 0, true), "");
	reseed("o-2", n, "");
	ck_assert_str_eq(claim(10, 0, true), "o-2/1=b");
	ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_OK);
	close_ledger();
}
END_TEST

START_TEST(a_seeding_must_name_the_place_and_a_higher_number)
{
	open_ledger(_i, true);
	struct ledger_state state = { .count = true };
	ck_assert_int_eq(ledger_state(l, &state, NULL), RC_OK);
	ck_assert_int_eq(ledger_seed(l, "elsewhere", 2, false, 0, NULL), RC_CONFLICT);
	ck_assert_int_eq(ledger_seed(l, state.identity, 1, false, 0, NULL), RC_CONFLICT);
	ck_assert_int_eq(ledger_seed(l, state.identity, 7, false, 0, NULL), RC_OK);
	ck_assert_int_eq(reseed_after("o-1", 1, 0, ""), RC_CONFLICT);
	ck_assert_int_eq(reseed_after("o-1", 7, 0, ""), RC_OK);
	close_ledger();
}
END_TEST

START_TEST(reseed_fills_a_lost_ledger_and_makes_holes_voids)
{
	open_ledger(_i, true);
	reseed("o-1", 1, "1a 2b 5e 6- 7g");
	ck_assert_uint_eq(reseeded.added, 4);
	ck_assert_uint_eq(reseeded.voids, 3);
	ck_assert_str_eq(rows("o-1"), "1=a 2=b 3~2 5=e 6~1 7=g");
	reseed("o-1", 1, "1a 2b 5e 6- 7g");
	ck_assert_uint_eq(reseeded.added + reseeded.replaced + reseeded.moved + reseeded.voids, 0);
	ck_assert_str_eq(rows("o-1"), "1=a 2=b 3~2 5=e 6~1 7=g");
	ck_assert_uint_eq(add("o-1", 'h'), 8);
	close_ledger();
}
END_TEST

START_TEST(an_object_that_is_no_event_keeps_its_number)
{
	open_ledger(_i, true);
	reseed("o-1", 1, "1a 2-");
	ck_assert_str_eq(rows("o-1"), "1=a 2~1");
	ck_assert_uint_eq(add("o-1", 'b'), 3);
	close_ledger();
}
END_TEST

START_TEST(reseed_replaces_what_differs_and_moves_what_is_contradicted)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	add("o-1", 'c');
	settle("o-1", 1, 'a');
	pass(SECOND);
	uint64_t n = seed(false);
	ck_assert_int_eq(reseed_after("o-1", n, 1, "2x 4y"), RC_OK);
	/* b was at 2, which x took; c keeps 3, which is free */
	ck_assert_str_eq(rows("o-1"), "1=a 2=x 3=c? 4=y 5=b?");
	ck_assert_uint_eq(reseeded.moved, 1);
	struct told t = { .text = "" };
	struct ledger_query q = { .what = LEDGER_ID, .event_id = event('b').event_id };
	ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
	ck_assert_int_eq(t.last.recorded_us, wall_us);
	ck_assert_int_eq(t.last.occurred_us, wall_us);
	ck_assert_str_eq(claim(9, 0, true), "o-1/3=c o-1/5=b");
	ck_assert_int_eq(reseed_after("o-1", n, 1, "2x 4y"), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a 2=x 3=c? 4=y 5=b?");
	close_ledger();
}
END_TEST

START_TEST(a_contradicted_row_that_named_an_expectation_is_dropped)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	ck_assert_int_eq(add_expect("o-1", 'b', 1), RC_OK);
	uint64_t n = seed(false);
	reseed("o-1", n, "1a 2x");
	ck_assert_str_eq(rows("o-1"), "1=a 2=x");
	ck_assert_uint_eq(reseeded.dropped, 1);
	ck_assert_ptr_nonnull(strstr(reseeded.dropped_why.text, event('b').event_id));
	ck_assert_uint_eq(add("o-1", 'b'), 3);	/* its writer may try again */
	close_ledger();
}
END_TEST

START_TEST(an_unsettled_row_whose_id_is_stored_elsewhere_goes)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	uint64_t n = seed(false);
	reseed("o-1", n, "1a 4b");
	ck_assert_str_eq(rows("o-1"), "1=a 2~2 4=b");
	ck_assert_uint_eq(reseeded.moved + reseeded.dropped, 0);
	close_ledger();
}
END_TEST

START_TEST(what_is_unsettled_from_another_line_counts_as_contradicted_once)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	ck_assert_int_eq(add_expect("o-1", 'c', 2), RC_OK);
	seed(true);
	uint64_t n = seed(false); /* the stream was not re-seeded between: it is still suspect */
	reseed("o-1", n, "1a");
	ck_assert_str_eq(rows("o-1"), "1=a 2~2 4=b?");
	ck_assert_uint_eq(reseeded.dropped, 1);
	reseed("o-1", n, "1a");
	ck_assert_str_eq(rows("o-1"), "1=a 2~2 4=b?");
	n = seed(false);
	reseed("o-1", n, "1a");
	ck_assert_str_eq(rows("o-1"), "1=a 2~2 4=b?");
	close_ledger();
}
END_TEST

START_TEST(an_id_that_is_stored_twice_is_entered_once)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	settle("o-1", 1, 'a');
	add("o-1", 'x');
	add("o-1", 'b');
	uint64_t n = seed(false);
	/* a stands at 1 already; of b, the row's number; of c, the lowest */
	ck_assert_int_eq(reseed_after("o-1", n, 1, "2b 3b 4a 5c 6c"), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a 2~1 3=b 4~1 5=c 6~1 7=x?");
	ck_assert_int_eq(reseed_after("o-1", n, 1, "2b 3b 4a 5c 6c"), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a 2~1 3=b 4~1 5=c 6~1 7=x?");
	close_ledger();
}
END_TEST

START_TEST(an_id_of_two_streams_is_entered_in_one)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	settle("o-1", 1, 'a');
	uint64_t n = seed(false);
	/* a is settled in o-1: here a void. b is not: what is stored wins */
	reseed("o-2", n, "1a 2b");
	ck_assert_str_eq(rows("o-2"), "1~1 2=b");
	reseed("o-1", n, "1a");
	ck_assert_str_eq(rows("o-1"), "1=a 2~1");
	close_ledger();
}
END_TEST

START_TEST(voids_that_objects_fill_shrink_and_others_stay)
{
	open_ledger(_i, false);
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	a.has_expect = a.may_skip = true;
	a.expect = 5;
	ck_assert_int_eq(append(&a), RC_OK);
	uint64_t n = seed(false);
	ck_assert_int_eq(reseed_after("o-1", n, 2, "4d 6a"), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1~2 3~1 4=d 5~1 6=a");
	close_ledger();
}
END_TEST

START_TEST(a_void_at_the_end_is_not_given_to_another)
{
	open_ledger(_i, false);
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	a.has_expect = a.may_skip = true;
	a.expect = 5;
	ck_assert_int_eq(append(&a), RC_OK);
	uint64_t n = seed(true); /* a is dropped, its void stays: readers may have passed it */
	reseed("o-1", n, "");
	ck_assert_str_eq(rows("o-1"), "1~5");
	ck_assert_uint_eq(add("o-1", 'b'), 6);
	close_ledger();
}
END_TEST

START_TEST(reseed_refuses_a_list_that_begins_after_an_unsettled_row)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	uint64_t n = seed(false);
	ck_assert_int_eq(reseed_after("o-1", n, 1, "2b"), RC_CONFLICT);
	close_ledger();
}
END_TEST

START_TEST(settled_rows_and_times_survive_a_reseed)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	settle("o-1", 1, 'a');
	settle("o-1", 2, 'b');
	uint64_t n = seed(true);
	ck_assert_int_eq(reseed_after("o-1", n, 2, "3c"), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a 2=b 3=c");
	struct ledger_object old[2] = { object(4, 'd'), object(5, 'e') };
	old[0].recorded_us = wall_us + 10;
	old[1].recorded_us = 5;
	struct ledger_reseed r = {
		.type = "Order", .id = "o-1", .seeding = n, .after = 3, .objects = old, .n = 2
	};
	ck_assert_int_eq(ledger_reseed(l, &r, NULL), RC_OK);
	struct told t = { .text = "" };
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = "o-1", .after = 4 };
	ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
	ck_assert_int_eq(t.last.recorded_us, wall_us + 10);
	close_ledger();
}
END_TEST

TCase *ledger_reseed_cases(void)
{
	TCase *tc = tcase_create("seeding");
	int n = ledger_backends();
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, nothing_works_before_the_seeding, 0, n);
	tcase_add_loop_test(tc, a_new_seeding_fences_every_stream, 0, n);
	tcase_add_loop_test(tc, a_seeding_must_name_the_place_and_a_higher_number, 0, n);
	tcase_add_loop_test(tc, reseed_fills_a_lost_ledger_and_makes_holes_voids, 0, n);
	tcase_add_loop_test(tc, an_object_that_is_no_event_keeps_its_number, 0, n);
	tcase_add_loop_test(tc, reseed_replaces_what_differs_and_moves_what_is_contradicted, 0, n);
	tcase_add_loop_test(tc, a_contradicted_row_that_named_an_expectation_is_dropped, 0, n);
	tcase_add_loop_test(tc, an_unsettled_row_whose_id_is_stored_elsewhere_goes, 0, n);
	tcase_add_loop_test(tc, what_is_unsettled_from_another_line_counts_as_contradicted_once, 0, n);
	tcase_add_loop_test(tc, an_id_that_is_stored_twice_is_entered_once, 0, n);
	tcase_add_loop_test(tc, an_id_of_two_streams_is_entered_in_one, 0, n);
	tcase_add_loop_test(tc, voids_that_objects_fill_shrink_and_others_stay, 0, n);
	tcase_add_loop_test(tc, a_void_at_the_end_is_not_given_to_another, 0, n);
	tcase_add_loop_test(tc, reseed_refuses_a_list_that_begins_after_an_unsettled_row, 0, n);
	tcase_add_loop_test(tc, settled_rows_and_times_survive_a_reseed, 0, n);
	return tc;
}
