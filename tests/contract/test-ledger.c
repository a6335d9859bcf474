/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of ledger.h: every implementation must pass this. Re-seeds: test-ledger-reseed.c. */
#include "config.h"
#include "ledger-harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/draft.h"

START_TEST(appends_number_a_stream_from_one)
{
	open_ledger(_i, false);
	ck_assert_uint_eq(add("o-1", 'a'), 1);
	ck_assert_uint_eq(add("o-2", 'b'), 1);
	ck_assert_uint_eq(add("o-1", 'c'), 2);
	ck_assert_str_eq(rows("o-1"), "1=a? 2=c?");
	ck_assert_str_eq(rows_after("o-1", 1), "2=c?");
	ck_assert_str_eq(rows("o-9"), "");
	close_ledger();
}
END_TEST

START_TEST(a_row_has_all_that_was_given)
{
	open_ledger(_i, false);
	struct ledger_event e = event('a');
	e.own_time = true;
	e.occurred_us = 42;
	struct ledger_append a = batch("o-1", &e, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert_int_eq(e.recorded_us, wall_us);
	ck_assert(!a.known);
	ck_assert_uint_eq(a.last, 0);
	struct told t = { .text = "" };
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = "o-1" };
	ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
	ck_assert_int_eq(t.last.stream, a.stream);
	ck_assert_int_eq(t.last.occurred_us, 42);
	ck_assert_int_eq(t.last.recorded_us, wall_us);
	ck_assert(t.last.own_time);
	ck_assert_uint_eq(t.last.head_len, 8);
	ck_assert_uint_eq(t.last.size, draft_join_len(8, 8, true, wall_us, 1));
	close_ledger();
}
END_TEST

START_TEST(an_expectation_is_the_last_number)
{
	open_ledger(_i, false);
	ck_assert_int_eq(add_expect("o-1", 'a', 1), RC_CONFLICT);
	ck_assert_int_eq(add_expect("o-1", 'a', 0), RC_OK);
	struct ledger_event e = event('b');
	struct ledger_append a = batch("o-1", &e, 1);
	a.has_expect = true;
	ck_assert_int_eq(append(&a), RC_CONFLICT);
	ck_assert_uint_eq(a.last, 1);
	ck_assert_str_eq(a.why.text, "expected sequence 0, last is 1");
	ck_assert_int_eq(add_expect("o-1", 'b', 1), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a? 2=b?");
	close_ledger();
}
END_TEST

START_TEST(a_known_id_is_answered_with_its_number_whatever_was_expected)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	a.has_expect = true;
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert(a.known);
	ck_assert_uint_eq(e.number, 1);
	ck_assert(!e.settled);
	settle("o-1", 1, 'a');
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert(e.settled);
	ck_assert_str_eq(rows("o-1"), "1=a 2=b?");
	close_ledger();
}
END_TEST

START_TEST(a_known_id_with_other_content_is_refused)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	struct ledger_event e = event('a');
	e.digest[31] ^= 1;
	struct ledger_append a = batch("o-1", &e, 1);
	ck_assert_int_eq(append(&a), RC_EXISTS);
	e = event('a');
	e.own_time = true;
	e.occurred_us = wall_us + 1;
	ck_assert_int_eq(append(&a), RC_EXISTS);
	e.occurred_us = wall_us;
	ck_assert_int_eq(append(&a), RC_OK);
	e = event('a');
	a = batch("o-2", &e, 1);
	ck_assert_int_eq(append(&a), RC_EXISTS);
	close_ledger();
}
END_TEST

START_TEST(a_batch_is_all_or_nothing)
{
	open_ledger(_i, false);
	struct ledger_event e[3] = { event('a'), event('b'), event('c') };
	struct ledger_append a = batch("o-1", e, 3);
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert_uint_eq(e[2].number, 3);
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert(a.known);
	struct ledger_event part[2] = { event('c'), event('d') };
	a = batch("o-1", part, 2);
	ck_assert_int_eq(append(&a), RC_EXISTS);
	struct ledger_event other[2] = { event('d'), event('c') };
	a = batch("o-1", other, 2);
	ck_assert_int_eq(append(&a), RC_EXISTS);
	struct ledger_event twice[3] = { event('d'), event('e'), event('d') };
	a = batch("o-1", twice, 3);
	ck_assert_int_eq(append(&a), RC_INVALID);
	ck_assert_str_eq(rows("o-1"), "1=a? 2=b? 3=c?");
	close_ledger();
}
END_TEST

START_TEST(a_group_commits_each_member_for_itself)
{
	open_ledger(_i, false);
	struct ledger_event a = event('a'), b = event('b'), c = event('c'), again = event('a'),
			    twice[2] = { event('d'), event('d') };
	struct ledger_append items[6] = {
		batch("o-1", &a, 1),	 batch("o-1", &b, 1),	 batch("o-1", &c, 1),
		batch("o-1", &again, 1), batch("o-1", twice, 2), batch("o-2", twice, 1),
	};
	items[1].has_expect = items[2].has_expect = true;
	items[1].expect = items[2].expect = 1;	/* the second one's is good only after the first */
	ck_assert_int_eq(ledger_append(l, items, 6, 0, NULL), RC_OK);
	ck_assert_int_eq(items[0].rc, RC_OK);
	ck_assert_int_eq(items[1].rc, RC_OK);
	ck_assert_uint_eq(b.number, 2);
	ck_assert_int_eq(items[2].rc, RC_CONFLICT);
	ck_assert_uint_eq(items[2].last, 2);
	ck_assert_int_eq(items[3].rc, RC_OK);
	ck_assert(items[3].known);
	ck_assert_uint_eq(again.number, 1);
	ck_assert_int_eq(items[4].rc, RC_INVALID);
	ck_assert_int_eq(items[5].rc, RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a? 2=b?");
	ck_assert_str_eq(rows("o-2"), "1=d?");
	close_ledger();
}
END_TEST

START_TEST(a_restore_may_leave_a_gap_which_is_a_void)
{
	open_ledger(_i, false);
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	a.has_expect = a.may_skip = true;
	a.expect = 4;
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert_uint_eq(e.number, 5);
	ck_assert_str_eq(rows("o-1"), "1~4 5=a?");
	ck_assert_str_eq(rows_after("o-1", 2), "3~2 5=a?");
	ck_assert_str_eq(rows_after("o-1", 4), "5=a?");
	e = event('b');
	a.expect = 3;
	ck_assert_int_eq(append(&a), RC_CONFLICT);
	close_ledger();
}
END_TEST

START_TEST(recorded_times_never_fall_within_a_stream)
{
	open_ledger(_i, false);
	struct ledger_event e = event('a'), f = event('b'), g = event('c');
	struct ledger_append a = batch("o-1", &e, 1), b = batch("o-1", &f, 1),
			     c = batch("o-2", &g, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	pass(-60 * SECOND);
	ck_assert_int_eq(append(&b), RC_OK);
	ck_assert_int_eq(f.recorded_us, e.recorded_us);
	ck_assert_int_eq(append(&c), RC_OK);
	ck_assert_int_eq(g.recorded_us, wall_us);
	close_ledger();
}
END_TEST

START_TEST(the_floor_raises_recorded_times_and_never_falls)
{
	open_ledger(_i, true);
	struct ledger_state state = { .count = true };
	ck_assert_int_eq(ledger_state(l, &state, NULL), RC_OK);
	ck_assert_int_eq(ledger_seed(l, state.identity, 2, false, wall_us + 5, NULL), RC_OK);
	ck_assert_int_eq(ledger_seed(l, state.identity, 3, false, wall_us + 3, NULL), RC_OK);
	reseed("o-1", 3, "");
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	ck_assert_int_eq(e.recorded_us, wall_us + 5);
	close_ledger();
}
END_TEST

START_TEST(a_claim_gives_out_what_is_not_leased_oldest_first)
{
	open_ledger(_i, false);
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	ck_assert_int_eq(ledger_append(l, &a, 1, 5000, NULL), RC_OK);
	pass(SECOND);
	add("o-2", 'b');
	pass(SECOND);
	add("o-1", 'c');
	ck_assert_str_eq(claim(10, 5000, false), "o-2/1=b o-1/2=c");
	ck_assert_uint_eq(claims.attempts, 0);
	ck_assert_str_eq(claim(10, 5000, false), "");
	pass(3 * SECOND);
	ck_assert_str_eq(claim(10, 5000, false), "o-1/1=a");
	ck_assert_str_eq(claim(2, 5000, true), "o-1/1=a o-2/1=b");
	ck_assert_uint_eq(claims.attempts, 1);
	ck_assert(!claims.late);
	pass(100 * SECOND);
	ck_assert_str_eq(claim(10, 5000, false), "o-1/1=a o-2/1=b o-1/2=c");
	ck_assert(claims.late);
	close_ledger();
}
END_TEST

START_TEST(a_claim_ends_where_the_callback_fails)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	size_t n;
	memset(&claims, 0, sizeof(claims));
	claims.answer = RC_CANCELLED;
	ck_assert_int_eq(ledger_claim(l, 10, 0, false, take_claim, &claims, &n, NULL),
			 RC_CANCELLED);
	ck_assert_uint_eq(n, 1);
	close_ledger();
}
END_TEST

START_TEST(a_settled_row_is_given_out_no_more)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	settle("o-1", 1, 'a');
	ck_assert_str_eq(rows("o-1"), "1=a 2=b?");
	ck_assert_str_eq(claim(10, 0, true), "o-1/2=b");
	settle("o-1", 2, 'c');	/* another event's */
	ck_assert_str_eq(rows("o-1"), "1=a 2=b?");
	struct ledger_ref gone[] = { { 99, 1, "x" },
				     { handle("o-1"), 7, "x" },
				     { handle("o-1"), 2, event('b').event_id } };
	ck_assert_int_eq(ledger_settle(l, gone, 3, NULL), RC_OK);
	ck_assert_str_eq(rows("o-1"), "1=a 2=b");
	close_ledger();
}
END_TEST

START_TEST(bodies_are_there_for_fifteen_minutes_and_while_unsettled)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	add("o-1", 'b');
	settle("o-1", 1, 'a');
	pass(14 * 60 * SECOND);
	add("o-2", 'c');
	for (int late = 0; late < 2; late++) {
		struct told t = { .text = "", .stop_after = 1 }, u = { .text = "" };
		struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = "o-1" };
		claim(0, 0, false);
		ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
		ck_assert(late ? !t.last.head : t.last.head != NULL);
		q.after = 1;
		ck_assert_int_eq(ledger_read(l, &q, take, &u, NULL, NULL), RC_OK);
		ck_assert_ptr_nonnull(u.last.head);
		pass(2 * 60 * SECOND);
	}
	ck_assert_str_eq(claim(10, 0, true), "o-1/2=b o-2/1=c");
	close_ledger();
}
END_TEST

START_TEST(reads_find_by_id_by_time_and_by_stream)
{
	open_ledger(_i, false);
	int64_t start = wall_us;
	add("o-1", 'a');
	add("o-2", 'b');
	pass(5);
	add("o-1", 'c');
	settle("o-1", 1, 'a');
	struct ledger_query q = { .what = LEDGER_ID, .event_id = event('c').event_id };
	ck_assert_str_eq(ask(&q), "2=c?");
	q.event_id = "none";
	ck_assert_str_eq(ask(&q), "");
	q = (struct ledger_query){ .what = LEDGER_TIME, .from_us = start, .to_us = start + 6 };
	ck_assert_str_eq(ask(&q), "1=a 1=b? 2=c?");
	q.to_us = start + 5;
	ck_assert_str_eq(ask(&q), "1=a 1=b?");
	q.limit = 1;
	ck_assert_str_eq(ask(&q), "1=a");
	q = (struct ledger_query){ .what = LEDGER_TIME,
				   .from_us = start,
				   .to_us = start + 6,
				   .after_us = start,
				   .stream = handle("o-1"),
				   .after = 1 };
	ck_assert_str_eq(ask(&q), "1=b? 2=c?");
	ck_assert_str_eq(
		ask(&(struct ledger_query){ .what = LEDGER_STREAM, .type = "Order", .id = "o-1" }),
		"Order/o-1:2/1");
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_STREAMS }),
			 "Order/o-1:2/1 Order/o-2:1/0");
	ck_assert_str_eq(
		ask(&(struct ledger_query){ .what = LEDGER_STREAMS, .stream = handle("o-1") }),
		"Order/o-2:1/0");
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_UNSEEDED }), "");
	close_ledger();
}
END_TEST

START_TEST(the_state_counts)
{
	open_ledger(_i, false);
	struct ledger_state before = { .count = true }, after = { .count = true };
	ck_assert_int_eq(ledger_state(l, &before, NULL), RC_OK);
	ck_assert_str_eq(before.uuid, UUID);
	ck_assert_str_eq(before.identity, before.written);
	ck_assert_uint_eq(before.seeding, 1);
	ck_assert(before.complete);
	ck_assert(before.alone == ledger_can_be_alone());
	add("o-1", 'a');
	add("o-2", 'b');
	settle("o-1", 1, 'a');
	pass(61 * SECOND);
	add("o-2", 'c');
	ck_assert_int_eq(ledger_state(l, &after, NULL), RC_OK);
	ck_assert_uint_gt(after.commits, before.commits);
	ck_assert_uint_eq(after.streams, 2);
	ck_assert_uint_eq(after.pending, 2);
	ck_assert_uint_eq(after.late, 1);
	ck_assert_uint_eq(after.unseeded, 0);
	ck_assert_int_eq(after.now_us, wall_us);
	seed(false);
	ck_assert_int_eq(ledger_state(l, &after, NULL), RC_OK);
	ck_assert_uint_eq(after.unseeded, 2);
	ck_assert(!after.complete);
	close_ledger();
}
END_TEST

START_TEST(it_survives_closing)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	ledger_free(&l);
	ck_assert_ptr_null(l);
	reopen();
	ck_assert_str_eq(rows("o-1"), "1=a?");
	ck_assert_uint_eq(add("o-1", 'b'), 2);
	close_ledger();
}
END_TEST

START_TEST(ids_of_any_shape_are_kept)
{
	open_ledger(_i, false);
	static const char *const ids[] = { "x", "00000000-0000-4000-8000-00000000000G",
					   "00000000-0000-4000-8000-00000000000A",
					   "00000000-0000-4000-8000-0000000000000",
					   "00000000-0000-4000-8000-00000000000" };
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct ledger_event e = event('a');
		struct told t = { .text = "" };
		e.event_id = ids[i];
		struct ledger_append a = batch("o-1", &e, 1);
		ck_assert_int_eq(append(&a), RC_OK);
		ck_assert_uint_eq(e.number, i + 1);
		struct ledger_query q = { .what = LEDGER_ID, .event_id = ids[i] };
		ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
		ck_assert_uint_eq(t.last.number, i + 1);
	}
	close_ledger();
}
END_TEST

START_TEST(an_uncertain_append_did_happen)
{
	open_ledger(1, false);
	faults.append_nth = 1;
	faults.append_rc = RC_UNCERTAIN;
	struct ledger_event e = event('a');
	struct ledger_append a = batch("o-1", &e, 1);
	ck_assert_int_eq(append(&a), RC_UNCERTAIN);
	ck_assert_int_eq(a.rc, RC_UNCERTAIN);
	faults.append_rc = RC_TEMPORARY;
	e = event('b');
	ck_assert_int_eq(append(&a), RC_TEMPORARY);
	faults.append_nth = 0;
	ck_assert_str_eq(rows("o-1"), "1=a?");
	faults.settle_nth = faults.claim_nth = 1;
	faults.settle_rc = faults.claim_rc = RC_TEMPORARY;
	size_t n;
	struct ledger_ref ref = { handle("o-1"), 1, "x" };
	ck_assert_int_eq(ledger_settle(l, &ref, 1, NULL), RC_TEMPORARY);
	ck_assert_int_eq(ledger_claim(l, 1, 0, false, take_claim, &claims, &n, NULL), RC_TEMPORARY);
	close_ledger();
}
END_TEST

int main(void)
{
	if (!ledger_is_there()) {
		printf("skip - no EVFS_PG_URL: tests/services/up starts a PostgreSQL\n");
		return 77;
	}
	Suite *suite = suite_create("ledger");
	TCase *tc = tcase_create("contract");
	int n = ledger_backends();
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, appends_number_a_stream_from_one, 0, n);
	tcase_add_loop_test(tc, a_row_has_all_that_was_given, 0, n);
	tcase_add_loop_test(tc, an_expectation_is_the_last_number, 0, n);
	tcase_add_loop_test(tc, a_known_id_is_answered_with_its_number_whatever_was_expected, 0, n);
	tcase_add_loop_test(tc, a_known_id_with_other_content_is_refused, 0, n);
	tcase_add_loop_test(tc, a_batch_is_all_or_nothing, 0, n);
	tcase_add_loop_test(tc, a_group_commits_each_member_for_itself, 0, n);
	tcase_add_loop_test(tc, a_restore_may_leave_a_gap_which_is_a_void, 0, n);
	tcase_add_loop_test(tc, recorded_times_never_fall_within_a_stream, 0, n);
	tcase_add_loop_test(tc, the_floor_raises_recorded_times_and_never_falls, 0, n);
	tcase_add_loop_test(tc, a_claim_gives_out_what_is_not_leased_oldest_first, 0, n);
	tcase_add_loop_test(tc, a_claim_ends_where_the_callback_fails, 0, n);
	tcase_add_loop_test(tc, a_settled_row_is_given_out_no_more, 0, n);
	tcase_add_loop_test(tc, bodies_are_there_for_fifteen_minutes_and_while_unsettled, 0, n);
	tcase_add_loop_test(tc, reads_find_by_id_by_time_and_by_stream, 0, n);
	tcase_add_loop_test(tc, the_state_counts, 0, n);
	tcase_add_loop_test(tc, it_survives_closing, 0, n);
	tcase_add_loop_test(tc, ids_of_any_shape_are_kept, 0, n);
	tcase_add_test(tc, an_uncertain_append_did_happen);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, ledger_reseed_cases());
	suite_add_tcase(suite, ledger_horizon_cases());
	suite_add_tcase(suite, ledger_order_cases());
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
