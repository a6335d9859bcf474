/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of ledger.h: struct ledger_horizon. Commits out of order: test-ledger-order.c. */
#include "config.h"
#include "ledger-harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MS INT64_C(1000)

/* Where the next look goes on, and what the last one found. */
static struct {
	struct ledger_horizon h;
	int64_t after_us, stream;
	uint64_t after;
	char events[1000], late[1000];
	size_t n_late, n_bodies;
	struct why why;
} at;

static bool take_event(void *arg, const struct ledger_row *row)
{
	size_t len = strlen(at.events);
	(void)arg;
	snprintf(at.events + len, sizeof(at.events) - len, "%s%s/%" PRIu64 "=%c%s", len ? " " : "",
		 row->id, row->number, (int)strtol(row->event_id + 34, NULL, 16),
		 row->settled ? "" : "?");
	at.n_bodies += row->head != NULL;
	at.after_us = row->recorded_us;
	at.stream = row->stream;
	at.after = row->number;
	return true;
}

static bool take_late(void *arg, const struct ledger_row *row)
{
	size_t len = strlen(at.late);
	(void)arg;
	snprintf(at.late + len, sizeof(at.late) - len, "%s%s/%s:%" PRIu64, len ? " " : "", row->type,
		 row->id, row->number);
	at.n_late++;
	return true;
}

static enum rc try_look(const char *lease, const char *token, uint64_t lease_ms)
{
	at.h = (struct ledger_horizon){
		.lease = lease, .token = token, .lease_ms = lease_ms, .wait_ms = 5000, .late = take_late
	};
	at.events[0] = at.late[0] = '\0';
	at.n_late = at.n_bodies = 0;
	struct ledger_query q = { .what = LEDGER_TIME,
				  .to_us = INT64_MAX,
				  .after_us = at.after_us,
				  .stream = at.stream,
				  .after = at.after,
				  .horizon = &at.h };
	return ledger_read(l, &q, take_event, NULL, NULL, &at.why);
}

static const char *look(void)
{
	enum rc rc = try_look(NULL, NULL, 0);
	if (rc != RC_OK)
		return rc_name(rc);
	ck_assert(at.h.leased);
	ck_assert_int_eq(at.h.horizon_us % 1000, 0);
	return at.events;
}

static void begin(int i)
{
	open_ledger(i, false);
	memset(&at, 0, sizeof(at));
}

static void add_settled(const char *id, char letter)
{
	settle(id, add(id, letter), letter);
}

static int64_t recorded(char letter)
{
	struct told t = { .text = "" };
	struct ledger_query q = { .what = LEDGER_ID, .event_id = event(letter).event_id };
	ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
	return t.last.recorded_us;
}

START_TEST(what_is_settled_is_told_once_when_its_millisecond_is_over)
{
	begin(_i);
	ck_assert_str_eq(look(), "");
	add_settled("o-1", 'a');
	add_settled("o-2", 'b');
	ck_assert_str_eq(look(), "");
	pass(MS);
	ck_assert_str_eq(look(), "o-1/1=a o-2/1=b");
	ck_assert_uint_eq(at.n_bodies, 2);
	ck_assert_int_le(at.h.horizon_us, wall_us);
	ck_assert_int_gt(at.h.horizon_us, at.after_us);
	ck_assert_str_eq(look(), "");
	add_settled("o-1", 'c');
	pass(MS);
	ck_assert_str_eq(look(), "o-1/2=c");
	close_ledger();
}
END_TEST

START_TEST(a_look_tells_the_state)
{
	begin(_i);
	add("o-1", 'a');
	pass(MS);
	look();
	struct ledger_state s = { .count = true };
	ck_assert_int_eq(ledger_state(l, &s, NULL), RC_OK);
	ck_assert_str_eq(at.h.state.uuid, UUID);
	ck_assert_str_eq(at.h.state.identity, s.identity);
	ck_assert_str_eq(at.h.state.written, s.written);
	ck_assert_uint_eq(at.h.state.seeding, 1);
	ck_assert(at.h.state.complete);
	ck_assert_int_eq(at.h.state.now_us, wall_us);
	ck_assert_int_eq(at.h.state.floor_us, s.floor_us);
	ck_assert_int_eq(s.floor_us, wall_us);
	ck_assert_uint_eq(at.h.unsettled, 1);
	close_ledger();
}
END_TEST

START_TEST(what_is_unsettled_holds_all_that_came_after_it)
{
	begin(_i);
	add("o-1", 'a');
	pass(5 * MS);
	add_settled("o-2", 'b');
	pass(5 * MS);
	ck_assert_str_eq(look(), "");
	ck_assert_int_le(at.h.horizon_us, recorded('a'));
	ck_assert_uint_eq(at.n_late, 0);
	settle("o-1", 1, 'a');
	ck_assert_str_eq(look(), "o-1/1=a o-2/1=b");
	close_ledger();
}
END_TEST

START_TEST(a_limit_cuts_a_look_and_the_next_goes_on)
{
	begin(_i);
	add_settled("o-1", 'a');
	add_settled("o-2", 'b');
	pass(MS);
	struct ledger_horizon h = { .wait_ms = 1000 };
	struct ledger_query q = { .what = LEDGER_TIME, .to_us = INT64_MAX, .limit = 1, .horizon = &h };
	ck_assert_int_eq(ledger_read(l, &q, take_event, NULL, NULL, NULL), RC_OK);
	ck_assert_str_eq(at.events, "o-1/1=a");
	ck_assert_str_eq(look(), "o-2/1=b");
	q.to_us = wall_us - MS;
	q.limit = 0;
	at.events[0] = '\0';
	ck_assert_int_eq(ledger_read(l, &q, take_event, NULL, NULL, NULL), RC_OK);
	ck_assert_str_eq(at.events, "");
	close_ledger();
}
END_TEST

START_TEST(a_stream_that_is_late_waits_alone)
{
	begin(_i);
	add("o-1", 'a');
	pass(59 * SECOND);
	add_settled("o-2", 'b');
	pass(MS);
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(at.late, "");
	pass(SECOND);
	ck_assert_str_eq(look(), "o-2/1=b");
	ck_assert_str_eq(at.late, "Order/o-1:1");
	/* what of it is settled is told, what is not holds nobody */
	add_settled("o-1", 'c');
	add("o-1", 'd');
	add_settled("o-2", 'e');
	pass(MS);
	ck_assert_str_eq(look(), "o-1/2=c o-2/2=e");
	ck_assert_str_eq(at.late, "Order/o-1:1");
	settle("o-1", 1, 'a');
	settle("o-1", 3, 'd');
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(at.late, "");
	close_ledger();
}
END_TEST

static void add_many(size_t from, size_t n)
{
	_cleanup_(freep) struct ledger_append *items = calloc(n, sizeof(*items));
	_cleanup_(freep) struct ledger_event *events = calloc(n, sizeof(*events));
	_cleanup_(freep) char(*ids)[40] = calloc(n, sizeof(*ids));
	ck_assert(items && events && ids);
	for (size_t i = 0; i < n; i++) {
		snprintf(ids[i], sizeof(ids[i]), "10000000-0000-4000-8000-%012zx", from + i);
		events[i] = event('m');
		events[i].event_id = ids[i];
		items[i] = batch(ids[i], &events[i], 1);
	}
	ck_assert_int_eq(ledger_append(l, items, n, 0, NULL), RC_OK);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(items[i].rc, RC_OK);
}

START_TEST(of_too_many_late_streams_the_last_hold_the_horizon)
{
	begin(_i);
	add_many(0, LEDGER_LATE_MAX);
	pass(SECOND);
	add("o-1", 'a');
	pass(SECOND);
	add("o-2", 'b');
	pass(61 * SECOND);
	add_settled("o-3", 'c');
	pass(MS);
	ck_assert_str_eq(look(), "");
	ck_assert_uint_eq(at.n_late, LEDGER_LATE_MAX);
	ck_assert_int_eq(at.h.horizon_us, recorded('a') / 1000 * 1000);
	ck_assert_uint_eq(at.h.unsettled, LEDGER_LATE_MAX + 2);
	settle("o-1", 1, 'a');
	look();
	ck_assert_int_eq(at.h.horizon_us, recorded('b') / 1000 * 1000);
	settle("o-2", 1, 'b');
	look();
	ck_assert_uint_eq(at.n_late, LEDGER_LATE_MAX);
	ck_assert_int_gt(at.h.horizon_us, recorded('c'));
	close_ledger();
}
END_TEST

/* What A and B get: who has it afterwards, in capitals where it was the one who asked. */
static char leased(const char *token)
{
	ck_assert_int_eq(try_look("publisher", token, 5000), RC_OK);
	ck_assert(at.h.leased == !strcmp(at.h.holder, token));
	return at.h.leased ? *token - 'a' + 'A' : *at.h.holder;
}

START_TEST(a_lease_is_one_holders_until_it_ends)
{
	begin(_i);
	ck_assert_int_eq(leased("a"), 'A');
	ck_assert_int_eq(leased("b"), 'a');
	pass(4 * SECOND);
	ck_assert_int_eq(leased("a"), 'A');	/* renewed */
	pass(4 * SECOND);
	ck_assert_int_eq(leased("b"), 'a');
	pass(SECOND);
	ck_assert_int_eq(leased("b"), 'B');	/* it ended */
	ck_assert_int_eq(leased("a"), 'b');
	ck_assert_int_eq(try_look("another", "a", 5000), RC_OK);
	ck_assert(at.h.leased);
	close_ledger();
}
END_TEST

START_TEST(a_lease_is_given_back_by_its_holder_only)
{
	begin(_i);
	ck_assert_int_eq(try_look("publisher", "a", 0), RC_OK);
	ck_assert(!at.h.leased);
	ck_assert_str_eq(at.h.holder, "");
	ck_assert_int_eq(leased("a"), 'A');
	add_settled("o-1", 'x');
	pass(MS);
	ck_assert_int_eq(try_look("publisher", "b", 0), RC_OK);
	ck_assert_str_eq(at.h.holder, "a");
	ck_assert_int_eq(leased("b"), 'a');
	ck_assert_int_eq(try_look("publisher", "a", 0), RC_OK);
	ck_assert(!at.h.leased);
	ck_assert_str_eq(at.h.holder, "");
	ck_assert_str_eq(at.events, "");	/* nothing else was done */
	ck_assert_int_eq(at.h.horizon_us, 0);
	ck_assert_int_eq(leased("b"), 'B');
	close_ledger();
}
END_TEST

START_TEST(who_has_no_lease_is_told_nothing_and_raises_no_floor)
{
	struct ledger_state before = { .count = false }, after = before;
	begin(_i);
	ck_assert_int_eq(leased("a"), 'A');
	add_settled("o-1", 'x');
	pass(MS);
	ck_assert_int_eq(ledger_state(l, &before, NULL), RC_OK);
	ck_assert_int_eq(leased("b"), 'a');
	ck_assert_str_eq(at.events, "");
	ck_assert_int_eq(ledger_state(l, &after, NULL), RC_OK);
	ck_assert_int_eq(after.floor_us, before.floor_us);
	ck_assert_int_eq(leased("a"), 'A');
	ck_assert_str_eq(at.events, "o-1/1=x");
	close_ledger();
}
END_TEST

START_TEST(a_clock_that_steps_back_gives_a_lease_no_more_than_its_time)
{
	begin(_i);
	ck_assert_int_eq(leased("a"), 'A');
	pass(-3600 * SECOND);
	ck_assert_int_eq(leased("b"), 'a');
	pass(4 * SECOND);
	ck_assert_int_eq(leased("b"), 'a');
	pass(SECOND);
	ck_assert_int_eq(leased("b"), 'B');
	close_ledger();
}
END_TEST

START_TEST(what_was_told_stays_behind_all_that_is_appended_later)
{
	begin(_i);
	add_settled("o-1", 'a');
	pass(10 * SECOND);
	ck_assert_str_eq(look(), "o-1/1=a");
	int64_t horizon = at.h.horizon_us;
	pass(-9 * SECOND);	/* later than a, but not than the horizon */
	add_settled("o-2", 'b');
	ck_assert_int_ge(recorded('b'), horizon);
	/* and is told, though the clock is not there yet */
	ck_assert_str_eq(look(), "o-2/1=b");
	add_settled("o-3", 'c');
	ck_assert_str_eq(look(), "o-3/1=c");
	ck_assert_int_lt(recorded('c'), horizon + SECOND);
	close_ledger();
}
END_TEST

START_TEST(what_was_stamped_before_the_clock_stepped_back_is_told)
{
	begin(_i);
	add_settled("o-1", 'a');
	pass(MS);
	ck_assert_str_eq(look(), "o-1/1=a");
	pass(10 * SECOND);
	add_settled("o-1", 'b');
	pass(-3600 * SECOND);
	ck_assert_str_eq(look(), "o-1/2=b");
	add_settled("o-2", 'c');
	ck_assert_str_eq(look(), "o-2/1=c");
	close_ledger();
}
END_TEST

START_TEST(a_clock_that_was_far_ahead_for_a_moment_takes_nobody_along)
{
	begin(_i);
	pass(3600 * SECOND);
	add_settled("o-1", 'a');
	pass(-3600 * SECOND);
	add_settled("o-2", 'b');
	pass(MS);
	ck_assert_str_eq(look(), "o-2/1=b");
	add_settled("o-2", 'c');
	ck_assert_int_eq(recorded('c'), wall_us);
	pass(MS);
	ck_assert_str_eq(look(), "o-2/2=c");
	pass(3600 * SECOND);
	ck_assert_str_eq(look(), "o-1/1=a");
	close_ledger();
}
END_TEST

START_TEST(an_idle_look_raises_nothing)
{
	struct ledger_state before = { .count = false }, after = before;
	begin(_i);
	add_settled("o-1", 'a');
	pass(MS);
	ck_assert_str_eq(look(), "o-1/1=a");
	ck_assert_int_eq(ledger_state(l, &before, NULL), RC_OK);
	for (int i = 0; i < 5; i++) {
		pass(SECOND);
		ck_assert_str_eq(look(), "");
	}
	ck_assert_int_eq(ledger_state(l, &after, NULL), RC_OK);
	ck_assert_int_eq(after.floor_us, before.floor_us);
	if (ledger_can_be_alone())	/* SQLite, and the clock is not in it: nothing was written at all */
		ck_assert_uint_eq(after.point, before.point);
	pass(60 * SECOND);
	ck_assert_str_eq(look(), "");
	ck_assert_int_eq(at.h.state.floor_us, wall_us);	/* its age is to say something */
	close_ledger();
}
END_TEST

START_TEST(nothing_is_told_before_all_was_seeded)
{
	begin(_i);
	add_settled("o-1", 'a');
	pass(MS);
	uint64_t n = seed(false);
	ck_assert_str_eq(look(), "");
	ck_assert(!at.h.state.complete);
	ck_assert_uint_eq(at.h.state.seeding, n);
	ck_assert_int_eq(at.h.horizon_us, 0);
	reseed("o-1", n, "1a");
	ck_assert_str_eq(look(), "");
	struct ledger_reseed complete = { .seeding = n };
	ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_OK);
	pass(MS);
	ck_assert_str_eq(look(), "o-1/1=a");
	close_ledger();
}
END_TEST

START_TEST(a_ledger_that_is_not_the_one_that_was_seeded_is_fenced)
{
	begin(_i);
	ck_assert_int_eq(leased("a"), 'A');
	ck_assert_int_eq(ledger_seed(l, "", 0, false, 0, NULL), RC_OK);
	ck_assert_str_eq(look(), "fenced");
	ck_assert_int_eq(try_look("publisher", "a", 5000), RC_FENCED);
	ck_assert(!at.h.leased);
	ck_assert_int_eq(try_look("publisher", "b", 5000), RC_FENCED);
	close_ledger();
}
END_TEST

static bool stop(void *arg, const struct ledger_row *row)
{
	(void)row;
	return ++*(int *)arg < 1;
}

START_TEST(a_callback_ends_the_look)
{
	begin(_i);
	add("o-1", 'a');
	add("o-2", 'b');
	pass(61 * SECOND);
	add_settled("o-3", 'c');
	add_settled("o-4", 'd');
	pass(MS);
	int n = 0, n_late = 0;
	struct ledger_horizon h = { .wait_ms = 1000 };
	struct ledger_query q = { .what = LEDGER_TIME, .to_us = INT64_MAX, .horizon = &h };
	ck_assert_int_eq(ledger_read(l, &q, stop, &n, NULL, NULL), RC_OK);
	ck_assert_int_eq(n, 1);
	h = (struct ledger_horizon){ .wait_ms = 1000, .late = stop, .late_arg = &n_late };
	n = 0;
	ck_assert_int_eq(ledger_read(l, &q, stop, &n, NULL, NULL), RC_OK);
	ck_assert_int_eq(n_late, 1);
	ck_assert_int_eq(n, 0);
	ck_assert_str_eq(look(), "o-3/1=c o-4/1=d");
	close_ledger();
}
END_TEST

TCase *ledger_horizon_cases(void)
{
	TCase *tc = tcase_create("horizon");
	int n = ledger_backends();
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_is_settled_is_told_once_when_its_millisecond_is_over, 0, n);
	tcase_add_loop_test(tc, a_look_tells_the_state, 0, n);
	tcase_add_loop_test(tc, what_is_unsettled_holds_all_that_came_after_it, 0, n);
	tcase_add_loop_test(tc, a_limit_cuts_a_look_and_the_next_goes_on, 0, n);
	tcase_add_loop_test(tc, a_stream_that_is_late_waits_alone, 0, n);
	tcase_add_test(tc, of_too_many_late_streams_the_last_hold_the_horizon);
	tcase_add_loop_test(tc, a_lease_is_one_holders_until_it_ends, 0, n);
	tcase_add_loop_test(tc, a_lease_is_given_back_by_its_holder_only, 0, n);
	tcase_add_loop_test(tc, who_has_no_lease_is_told_nothing_and_raises_no_floor, 0, n);
	tcase_add_loop_test(tc, a_clock_that_steps_back_gives_a_lease_no_more_than_its_time, 0, n);
	tcase_add_loop_test(tc, what_was_told_stays_behind_all_that_is_appended_later, 0, n);
	tcase_add_loop_test(tc, what_was_stamped_before_the_clock_stepped_back_is_told, 0, n);
	tcase_add_loop_test(tc, a_clock_that_was_far_ahead_for_a_moment_takes_nobody_along, 0, n);
	tcase_add_loop_test(tc, an_idle_look_raises_nothing, 0, n);
	tcase_add_loop_test(tc, nothing_is_told_before_all_was_seeded, 0, n);
	tcase_add_loop_test(tc, a_ledger_that_is_not_the_one_that_was_seeded_is_fenced, 0, n);
	tcase_add_loop_test(tc, a_callback_ends_the_look, 0, n);
	return tc;
}
