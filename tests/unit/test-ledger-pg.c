/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the PostgreSQL ledger has: other writers, connections that break. Identity, rights and
 * settings: test-ledger-pg-place.c. The contract: tests/contract/test-ledger.c.
 */
#include "config.h"
#include "ledger-pg-case.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pg-cutter.h"

/* An append in a thread of its own. */
struct appending {
	struct ledger_append items[2];
	struct ledger_event events[2];
	size_t n;
	enum rc rc;
	struct why why;
	pthread_t thread;
};

static void *run_append(void *arg)
{
	struct appending *a = arg;
	a->rc = ledger_append(l, a->items, a->n, 60000, &a->why);
	return NULL;
}

static void begin_append(struct appending *a, const char *first, const char *second)
{
	a->n = second ? 2 : 1;
	a->events[0] = event(first);
	a->items[0] = (struct ledger_append){
		.type = "Order", .id = "o-1", .events = &a->events[0], .n = 1
	};
	if (second) {
		a->events[1] = event(second);
		a->items[1] = (struct ledger_append){
			.type = "Order", .id = "o-2", .events = &a->events[1], .n = 1
		};
	}
	pthread_create(&a->thread, NULL, run_append, a);
}

static void insert_elsewhere(const char *event_id)
{
	pg_server_do(
		&server,
		"BEGIN; INSERT INTO streams(type, id, mark, made) VALUES ('Other', 'x', 1,"
		" made_now(1));"
		" INSERT INTO events(stream, number, recorded_us, size, event_id, event_type,"
		" digest)"
		" SELECT stream, 1, 1, 1, '%s', 'Paid', '\\x00' FROM streams WHERE type = 'Other'",
		event_id);
}

START_TEST(an_append_is_one_round_trip)
{
	struct ledger_counts before, after;
	make();
	add("o-1", "a");
	ledger_counts(l, &before);
	add("o-1", "b");
	add("o-2", "c");
	ledger_counts(l, &after);
	ck_assert_uint_eq(after.append - before.append, 2);
	ck_assert_uint_eq(after.connects, before.connects);
	ck_assert_uint_eq(after.read + after.state, before.read + before.state);
	unmake();
}
END_TEST

START_TEST(a_group_that_collides_with_another_writer_is_split)
{
	struct appending a;
	struct ledger_counts before, after;
	make();
	insert_elsewhere("a");
	ledger_counts(l, &before);
	begin_append(&a, "a", "b");
	wait_until_blocked(1);
	pg_server_do(&server, "COMMIT");
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.rc, RC_OK);
	ck_assert_int_eq(a.items[0].rc, RC_EXISTS);
	ck_assert_int_eq(a.items[1].rc, RC_OK);
	ck_assert_str_eq(rows("o-1"), "");
	ck_assert_str_eq(rows("o-2"), "b");
	ledger_counts(l, &after);
	ck_assert_uint_ge(after.append - before.append, 3);
	unmake();
}
END_TEST

START_TEST(a_group_whose_rival_gives_up_is_committed)
{
	struct appending a;
	make();
	insert_elsewhere("a");
	begin_append(&a, "a", "b");
	wait_until_blocked(1);
	pg_server_do(&server, "ROLLBACK");
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.rc, RC_OK);
	ck_assert_int_eq(a.items[0].rc, RC_OK);
	ck_assert_int_eq(a.items[1].rc, RC_OK);
	unmake();
}
END_TEST

START_TEST(a_member_that_the_server_does_not_take_harms_no_other)
{
	struct appending a;
	make();
	begin_append(&a, "a", "not \xff UTF-8");
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.rc, RC_OK);
	ck_assert_int_eq(a.items[0].rc, RC_OK);
	ck_assert_int_eq(a.items[1].rc, RC_INVALID);
	ck_assert_str_eq(rows("o-1"), "a");
	unmake();
}
END_TEST

#define ROUNDS 60
#define GROUP 8

struct writer {
	struct ledger *l;
	bool back;
	pthread_t thread;
	struct ledger_counts counts;
};

/* Groups over the same streams, old and new, in opposite orders. */
static void *write_groups(void *arg)
{
	struct writer *w = arg;
	for (int round = 0; round < ROUNDS; round++) {
		struct ledger_append items[GROUP];
		struct ledger_event events[GROUP];
		char ids[GROUP][24], event_ids[GROUP][37];
		struct why why = { "" };
		for (int i = 0; i < GROUP; i++) {
			int at = w->back ? GROUP - 1 - i : i;
			snprintf(ids[i], sizeof(ids[i]), at % 2 ? "old-%d" : "new-%d-%d", at,
				 round);
			clock_uuid(event_ids[i]);
			events[i] = event(event_ids[i]);
			items[i] = (struct ledger_append){
				.type = "Order", .id = ids[i], .events = &events[i], .n = 1
			};
		}
		ck_assert_int_eq(ledger_append(w->l, items, GROUP, 60000, &why), RC_OK);
		for (int i = 0; i < GROUP; i++)
			ck_assert_int_eq(items[i].rc, RC_OK);
	}
	ledger_counts(w->l, &w->counts);
	return NULL;
}

START_TEST(groups_over_the_same_streams_do_not_deadlock)
{
	struct writer w[4];
	make();
	for (int i = 0; i < 4; i++) {
		w[i] = (struct writer){ .l = open_as(server.options.conninfo, 20000),
					.back = i % 2 };
		pthread_create(&w[i].thread, NULL, write_groups, &w[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_uint_eq(w[i].counts.failed,
				  0); /* a deadlock is one that the server ended */
		ledger_free(&w[i].l);
	}
	rows("old-1");
	ck_assert_uint_eq(told.n, 4 * ROUNDS);
	ck_assert_int_eq(
		atoi(pg_server_do(
			&server,
			"SELECT count(*) FROM streams s WHERE s.last <> (SELECT count(*) FROM"
			" events e"
			" WHERE e.stream = s.stream)")),
		0);
	unmake();
}
END_TEST

START_TEST(an_append_that_waited_for_a_seeding_sees_its_floor)
{
	struct appending a;
	make();
	add("o-1", "a");
	int64_t floor_us = state().now_us + INT64_C(3600000000);
	pg_server_do(&server, "BEGIN; LOCK TABLE pending IN EXCLUSIVE MODE");
	begin_append(&a, "b", NULL);
	wait_until_blocked(1);
	pg_server_do(&server, "UPDATE seeding SET floor_us = %lld; COMMIT", (long long)floor_us);
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.rc, RC_OK);
	ck_assert_int_eq(a.items[0].rc, RC_OK);
	ck_assert_int_eq(a.events[0].recorded_us, floor_us);
	unmake();
}
END_TEST

START_TEST(claims_of_two_processes_share_the_rows)
{
	make();
	struct ledger *other = open_as(server.options.conninfo, 10000);
	struct why why = { "" };
	add("o-1", "a");
	pg_server_do(&server,
		     "UPDATE pending SET lease_until = 0; BEGIN; SELECT * FROM pending FOR UPDATE");
	size_t n = 9;
	/* what another is about to lease is passed over, not waited for */
	ck_assert_int_eq(ledger_claim(other, 10, 60000, false, NULL, NULL, &n, &why), RC_OK);
	ck_assert_uint_eq(n, 0);
	pg_server_do(&server, "COMMIT");
	ledger_free(&other);
	unmake();
}
END_TEST

/* ---- connections ---- */

static struct cutter cutter;

static struct ledger *open_through_cutter(uint64_t timeout_ms)
{
	static char conninfo[PG_SERVER_URL_MAX + 64];
	cutter_start(&cutter,
		     PQhostaddr(server.admin) && *PQhostaddr(server.admin)
			     ? PQhostaddr(server.admin)
			     : PQhost(server.admin),
		     atoi(PQport(server.admin)));
	snprintf(conninfo, sizeof(conninfo),
		 "%s%shost=127.0.0.1&hostaddr=127.0.0.1&port=%d&sslmode=disable", server.conninfo,
		 strchr(server.conninfo, '?') ? "&" : "?", cutter.port);
	return open_as(conninfo, timeout_ms);
}

START_TEST(a_lost_answer_is_uncertain_and_the_same_call_tells)
{
	struct ledger_append a;
	make();
	struct ledger *far = open_through_cutter(5000);
	ck_assert_int_eq(append_to(far, "o-1", "a", &a), RC_OK);
	cutter.does = CUTTER_EATS;
	ck_assert_int_eq(append_to(far, "o-1", "b", &a), RC_UNCERTAIN);
	ck_assert_int_eq(a.rc, RC_UNCERTAIN);
	ck_assert_int_eq(append_to(far, "o-1", "b", &a), RC_OK);
	ck_assert(a.known);
	ck_assert_uint_eq(a.events[0].number, 2);
	ck_assert_str_eq(rows("o-1"), "a b");
	ledger_free(&far);
	cutter_stop(&cutter);
	unmake();
}
END_TEST

START_TEST(a_backend_killed_before_its_commit_took_nothing)
{
	struct appending a;
	make();
	add("o-1", "a");
	pg_server_do(&server, "BEGIN; SELECT * FROM streams FOR UPDATE");
	begin_append(&a, "b", NULL);
	wait_until_blocked(1);
	pg_server_do(&server, "SELECT pg_terminate_backend(pid) " BLOCKED);
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.items[0].rc, RC_UNCERTAIN);
	pg_server_do(&server, "COMMIT");
	ck_assert_uint_eq(add("o-1", "b"), 2);
	unmake();
}
END_TEST

static void kill_sessions(void)
{
	pg_server_do(&server,
		     "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
		     " application_name = '%s'",
		     server.schema);
}

START_TEST(connections_that_died_idle_are_replaced_unseen)
{
	make();
	add("o-1", "a");
	ck_assert_str_eq(rows("o-1"), "a");
	kill_sessions();
	ck_assert_uint_eq(add("o-1", "b"), 2);
	kill_sessions();
	ck_assert_str_eq(rows("o-1"), "a b");
	unmake();
}
END_TEST

START_TEST(a_server_that_stalls_is_given_up_in_time)
{
	struct ledger_append a;
	struct told t = { .text = "" };
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = "o-1" };
	make();
	struct ledger *far = open_through_cutter(500);
	ck_assert_int_eq(append_to(far, "o-1", "a", &a), RC_OK);
	cutter.does = CUTTER_STALLS;
	uint64_t begun = clock_boot_ms();
	ck_assert_int_eq(append_to(far, "o-1", "b", &a), RC_UNCERTAIN);
	ck_assert_int_eq(ledger_read(far, &q, take, &t, NULL, NULL), RC_TEMPORARY);
	ck_assert_uint_lt(clock_boot_ms() - begun, 4000);
	cutter.does = CUTTER_REFUSES;
	begun = clock_boot_ms();
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(append_to(far, "o-1", "c", &a), RC_TEMPORARY);
	ck_assert_uint_lt(clock_boot_ms() - begun, 2000);
	cutter.does = CUTTER_PASSES;
	enum rc rc = RC_TEMPORARY;
	for (int i = 0; i < 1000 && rc == RC_TEMPORARY; i++) { /* it is not asked again at once */
		clock_sleep_ms(10);
		rc = append_to(far, "o-1", "c", &a);
	}
	ck_assert_int_eq(rc, RC_OK);
	ledger_free(&far);
	cutter_stop(&cutter);
	unmake();
}
END_TEST

START_TEST(a_lock_that_is_held_too_long_is_a_definite_failure)
{
	struct ledger_append a;
	make();
	add("o-1", "a");
	struct ledger *hasty = open_as(server.options.conninfo, 400);
	ck_assert_int_eq(append_to(hasty, "o-2", "b", &a), RC_OK);
	pg_server_do(&server, "BEGIN; SELECT * FROM streams FOR UPDATE");
	ck_assert_int_eq(append_to(hasty, "o-1", "c", &a), RC_TEMPORARY);
	pg_server_do(&server, "COMMIT");
	ck_assert_int_eq(append_to(hasty, "o-1", "c", &a), RC_OK);
	ledger_free(&hasty);
	unmake();
}
END_TEST

START_TEST(a_read_that_stops_early_leaves_the_others_alone)
{
	struct told t = { .stop_after = 3 };
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = "o-1" };
	make();
	add("o-1", "first");
	pg_server_do(&server,
		     "INSERT INTO events(stream, number, recorded_us, size, event_id, event_type,"
		     " digest)"
		     " SELECT stream, n, 1, 1, 'id-' || n, 'Paid', decode(repeat('00', 32), 'hex')"
		     " FROM streams, generate_series(2, 50000) n; UPDATE streams SET last = 50000");
	for (int i = 0; i < 5; i++) {
		memset(&t, 0, sizeof(t));
		t.stop_after = 3;
		ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
		ck_assert_str_eq(t.text, "first id-2 id-3");
		q.limit = 2;
		ck_assert_str_eq(ask(&q), "first id-2");
		q.limit = 0;
	}
	rows("o-1");
	ck_assert_uint_eq(told.n, 50000);
	ck_assert_uint_eq(add("o-1", "last"), 50001);
	unmake();
}
END_TEST

int main(void)
{
	if (!pg_server_is_there()) {
		printf("skip - no EVFS_PG_URL: tests/services/up starts a PostgreSQL\n");
		return 77;
	}
	Suite *suite = suite_create("ledger-pg");
	TCase *tc = tcase_create("pg");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, an_append_is_one_round_trip);
	tcase_add_test(tc, a_group_that_collides_with_another_writer_is_split);
	tcase_add_test(tc, a_group_whose_rival_gives_up_is_committed);
	tcase_add_test(tc, a_member_that_the_server_does_not_take_harms_no_other);
	tcase_add_test(tc, groups_over_the_same_streams_do_not_deadlock);
	tcase_add_test(tc, an_append_that_waited_for_a_seeding_sees_its_floor);
	tcase_add_test(tc, claims_of_two_processes_share_the_rows);
	tcase_add_test(tc, a_lost_answer_is_uncertain_and_the_same_call_tells);
	tcase_add_test(tc, a_backend_killed_before_its_commit_took_nothing);
	tcase_add_test(tc, connections_that_died_idle_are_replaced_unseen);
	tcase_add_test(tc, a_server_that_stalls_is_given_up_in_time);
	tcase_add_test(tc, a_lock_that_is_held_too_long_is_a_definite_failure);
	tcase_add_test(tc, a_read_that_stops_early_leaves_the_others_alone);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, ledger_pg_place_cases());
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
