/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of ledger.h: every implementation must pass this. */
#include "config.h"
#include "ledger/ledger.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/draft.h"

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"
#define SECOND INT64_C(1000000)
#define MAX_ROWS 64

static const struct backend {
	const char *name;
	bool wrap;
} backends[] = { { "sqlite", false }, { "fault(sqlite)", true } };

static int64_t wall_us;
static int64_t wall(void)
{
	return wall_us;
}

static char dir[64], path[100];
static struct ledger_faults faults;
static struct ledger *l;

/* An empty ledger, seeded; complete unless `young`. */
static void open_ledger(int i, bool young)
{
	struct ledger_state state = { .count = true };
	strcpy(dir, "/tmp/test-ledger-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ledger.db", dir);
	memset(&faults, 0, sizeof(faults));
	wall_us = 1700000000 * SECOND;
	clock_set(wall);
	ck_assert_int_eq(ledger_sqlite_create(path, UUID, NULL), RC_OK);
	ck_assert_int_eq(ledger_sqlite_open(&l, path, UUID, NULL), RC_OK);
	if (backends[i].wrap)
		ck_assert_int_eq(ledger_fault_new(&l, l, &faults, NULL), RC_OK);
	ck_assert_int_eq(ledger_state(l, &state, NULL), RC_OK);
	ck_assert_int_eq(ledger_seed(l, state.identity, 1, false, 0, NULL), RC_OK);
	struct ledger_reseed complete = { .seeding = 1 };
	if (!young)
		ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_OK);
}

static void close_ledger(void)
{
	char command[100];
	ledger_free(&l);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
	clock_set(NULL);
}

/* An event whose id, type and digest are made of one letter. */
static struct ledger_event event(char letter)
{
	static char ids[128][37];
	char *id = ids[(unsigned char)letter];
	snprintf(id, 37, "00000000-0000-4000-8000-0000000000%02x", (unsigned)letter);
	struct ledger_event e = {
		.event_id = id,
		.event_type = "Paid",
		.head = "{\"head\":",
		.tail = ",\"tail\":",
		.head_len = 8,
		.tail_len = 8,
	};
	memset(e.digest, letter, sizeof(e.digest));
	return e;
}

static struct ledger_append batch(const char *id, struct ledger_event *events, size_t n)
{
	return (struct ledger_append){ .type = "Order", .id = id, .events = events, .n = n };
}

static enum rc append(struct ledger_append *a)
{
	enum rc rc = ledger_append(l, a, 1, 0, NULL);
	return rc == RC_OK ? a->rc : rc;
}

/* Append one event without expectation; its number. */
static uint64_t add(const char *id, char letter)
{
	struct ledger_event e = event(letter);
	struct ledger_append a = batch(id, &e, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	return e.number;
}

static enum rc add_expect(const char *id, char letter, uint64_t expect)
{
	struct ledger_event e = event(letter);
	struct ledger_append a = batch(id, &e, 1);
	a.has_expect = true;
	a.expect = expect;
	return append(&a);
}

/*
 * What a read told, as text: "1=a 2=b? 3~2 …", ? unsettled, n~span a void, s:last/settled for a
 * stream.
 */
struct told {
	char text[1000];
	size_t n, stop_after;
	struct ledger_row last;
};

static bool take(void *arg, const struct ledger_row *row)
{
	struct told *t = arg;
	size_t len = strlen(t->text);
	t->last = *row;
	t->n++;
	if (row->span)
		snprintf(t->text + len, sizeof(t->text) - len, "%s%" PRIu64 "~%" PRIu64,
			 len ? " " : "", row->number, row->span);
	else if (row->number)
		snprintf(t->text + len, sizeof(t->text) - len, "%s%" PRIu64 "=%c%s", len ? " " : "",
			 row->number, (int)strtol(row->event_id + 34, NULL, 16),
			 row->settled ? "" : "?");
	else
		snprintf(t->text + len, sizeof(t->text) - len, "%s%s/%s:%" PRIu64 "/%" PRIu64 "%s",
			 len ? " " : "", row->type, row->id, row->last, row->settled_to,
			 row->unseeded ? "!" : "");
	return t->n != t->stop_after;
}

static const char *ask(const struct ledger_query *q)
{
	static struct told t;
	memset(&t, 0, sizeof(t));
	struct why why = { "" };
	enum rc rc = ledger_read(l, q, take, &t, NULL, &why);
	if (rc != RC_OK)
		snprintf(t.text, sizeof(t.text), "%s", rc_name(rc));
	return t.text;
}

static const char *rows_after(const char *id, uint64_t after)
{
	return ask(&(struct ledger_query){
		.what = LEDGER_EVENTS, .type = "Order", .id = id, .after = after });
}

static const char *rows(const char *id)
{
	return rows_after(id, 0);
}

static int64_t handle(const char *id)
{
	struct told t = { .text = "" };
	struct ledger_query q = {
		.what = LEDGER_STREAM, .type = "Order", .id = id, .unseeded_too = true
	};
	ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
	return t.last.stream;
}

static void settle(const char *id, uint64_t number, char letter)
{
	struct ledger_ref ref = { handle(id), number, event(letter).event_id };
	ck_assert_int_eq(ledger_settle(l, &ref, 1, NULL), RC_OK);
}

static struct ledger_object object(uint64_t number, char letter)
{
	struct ledger_event e = event(letter);
	struct ledger_object o = {
		.number = number, .event_id = e.event_id, .event_type = e.event_type, .size = 10,
		.occurred_us = wall_us, .recorded_us = wall_us,
	};
	memcpy(o.digest, e.digest, sizeof(o.digest));
	return o;
}

/* A new seeding; all streams wait. */
static uint64_t seed(bool other_line)
{
	struct ledger_state state = { .count = true };
	ck_assert_int_eq(ledger_state(l, &state, NULL), RC_OK);
	ck_assert_int_eq(ledger_seed(l, state.identity, state.seeding + 1, other_line, 0, NULL),
			 RC_OK);
	return state.seeding + 1;
}

static struct ledger_reseed reseeded;

/* objects: "1a 3c", a letter '-' for one that is no event. */
static enum rc reseed_after(const char *id, uint64_t seeding, uint64_t after, const char *objects)
{
	struct ledger_object list[MAX_ROWS];
	size_t n = 0;
	for (const char *p = objects; *p; p += *p == ' ') {
		char *end;
		uint64_t number = strtoull(p, &end, 10);
		list[n] = object(number, *end);
		if (*end == '-')
			list[n].event_id = NULL;
		n++;
		p = end + 1;
	}
	reseeded = (struct ledger_reseed){ .type = "Order",
					   .id = id,
					   .seeding = seeding,
					   .after = after,
					   .objects = list,
					   .n = n };
	return ledger_reseed(l, &reseeded, NULL);
}

static void reseed(const char *id, uint64_t seeding, const char *objects)
{
	ck_assert_int_eq(reseed_after(id, seeding, 0, objects), RC_OK);
}

struct claims {
	char text[1000];
	enum rc answer;
	bool late;
	unsigned attempts;
};

static enum rc take_claim(void *arg, const struct ledger_pending *row)
{
	struct claims *c = arg;
	size_t len = strlen(c->text);
	snprintf(c->text + len, sizeof(c->text) - len, "%s%s/%" PRIu64 "=%c", len ? " " : "",
		 row->id, row->number, (int)strtol(row->event_id + 34, NULL, 16));
	ck_assert_str_eq(row->type, "Order");
	ck_assert_uint_eq(row->head_len, 8);
	ck_assert_str_eq(row->head, "{\"head\":");
	ck_assert_str_eq(row->tail, ",\"tail\":");
	c->late = row->late;
	c->attempts = row->attempts;
	return c->answer;
}

static struct claims claims;
static const char *claim(size_t max, uint64_t lease_ms, bool all)
{
	size_t n = 99;
	memset(&claims, 0, sizeof(claims));
	ck_assert_int_eq(ledger_claim(l, max, lease_ms, all, take_claim, &claims, &n, NULL), RC_OK);
	return claims.text;
}

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
	wall_us -= 60 * SECOND;
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
	wall_us += SECOND;
	add("o-2", 'b');
	wall_us += SECOND;
	add("o-1", 'c');
	ck_assert_str_eq(claim(10, 5000, false), "o-2/1=b o-1/2=c");
	ck_assert_uint_eq(claims.attempts, 0);
	ck_assert_str_eq(claim(10, 5000, false), "");
	wall_us += 3 * SECOND;
	ck_assert_str_eq(claim(10, 5000, false), "o-1/1=a");
	ck_assert_str_eq(claim(2, 5000, true), "o-1/1=a o-2/1=b");
	ck_assert_uint_eq(claims.attempts, 1);
	ck_assert(!claims.late);
	wall_us += 100 * SECOND;
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
	wall_us += 14 * 60 * SECOND;
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
		wall_us += 2 * 60 * SECOND;
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
	wall_us += 5;
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
	ck_assert(before.complete && before.alone);
	add("o-1", 'a');
	add("o-2", 'b');
	settle("o-1", 1, 'a');
	wall_us += 61 * SECOND;
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
	wall_us += SECOND;
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

START_TEST(it_survives_closing)
{
	open_ledger(_i, false);
	add("o-1", 'a');
	ledger_free(&l);
	ck_assert_ptr_null(l);
	ck_assert_int_eq(ledger_sqlite_open(&l, path, UUID, NULL), RC_OK);
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
	Suite *suite = suite_create("ledger");
	TCase *tc = tcase_create("contract");
	int n = ARRAY_SIZE(backends);
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
	tcase_add_loop_test(tc, nothing_works_before_the_seeding, 0, n);
	tcase_add_loop_test(tc, a_new_seeding_fences_every_stream, 0, n);
	tcase_add_loop_test(tc, a_seeding_must_name_the_place_and_a_higher_number, 0, n);
	tcase_add_loop_test(tc, reseed_fills_a_lost_ledger_and_makes_holes_voids, 0, n);
	tcase_add_loop_test(tc, an_object_that_is_no_event_keeps_its_number, 0, n);
	tcase_add_loop_test(tc, reseed_replaces_what_differs_and_moves_what_is_contradicted, 0, n);
	tcase_add_loop_test(tc, a_contradicted_row_that_named_an_expectation_is_dropped, 0, n);
	tcase_add_loop_test(tc, an_unsettled_row_whose_id_is_stored_elsewhere_goes, 0, n);
	tcase_add_loop_test(tc, what_is_unsettled_from_another_line_counts_as_contradicted_once, 0,
			    n);
	tcase_add_loop_test(tc, an_id_that_is_stored_twice_is_entered_once, 0, n);
	tcase_add_loop_test(tc, an_id_of_two_streams_is_entered_in_one, 0, n);
	tcase_add_loop_test(tc, voids_that_objects_fill_shrink_and_others_stay, 0, n);
	tcase_add_loop_test(tc, a_void_at_the_end_is_not_given_to_another, 0, n);
	tcase_add_loop_test(tc, reseed_refuses_a_list_that_begins_after_an_unsettled_row, 0, n);
	tcase_add_loop_test(tc, settled_rows_and_times_survive_a_reseed, 0, n);
	tcase_add_loop_test(tc, it_survives_closing, 0, n);
	tcase_add_loop_test(tc, ids_of_any_shape_are_kept, 0, n);
	tcase_add_test(tc, an_uncertain_append_did_happen);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
