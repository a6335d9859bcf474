/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-harness.c - an implementation of ledger.h to test, empty and seeded, with a clock that the
 * test owns.
 */
#include "config.h"
#include "ledger-harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define MAX_ROWS 64

int64_t wall_us;
struct ledger_faults faults;
struct ledger *l;

static int64_t wall(void)
{
	return wall_us;
}

#ifdef TEST_PG
#include "ledger-pg-server.h"

static struct pg_server server;

struct pg_server *ledger_server(void)
{
	return &server;
}

bool ledger_is_there(void)
{
	return pg_server_is_there();
}

bool ledger_can_be_alone(void)
{
	return false;
}

static void make(void)
{
	pg_server_make(&server, UUID);
	pg_server_own_clock(&server);
}

static enum rc open_it(struct why *why)
{
	return ledger_pg_open(&l, &server.options, NULL, why);
}

static void tell_clock(void)
{
	pg_server_set_clock(&server, wall_us);
}

static void remove_it(void)
{
	pg_server_drop(&server);
}
#else
static char dir[64], path[100];

bool ledger_is_there(void)
{
	return true;
}

bool ledger_can_be_alone(void)
{
	return true;
}

static void make(void)
{
	strcpy(dir, "/tmp/test-ledger-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_create(path, UUID, NULL), RC_OK);
}

static enum rc open_it(struct why *why)
{
	return ledger_sqlite_open(&l, path, UUID, why);
}

static void tell_clock(void)
{
}

static void remove_it(void)
{
	char command[100];
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}
#endif

int ledger_backends(void)
{
	return 2;
}

void pass(int64_t us)
{
	wall_us += us;
	tell_clock();
}

void reopen(void)
{
	struct why why = { "" };
	enum rc rc = open_it(&why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
}

void open_ledger(int i, bool young)
{
	struct ledger_state state = { .count = true };
	memset(&faults, 0, sizeof(faults));
	wall_us = 1700000000 * SECOND;
	clock_set(wall);
	make();
	tell_clock();
	reopen();
	if (i == 1)
		ck_assert_int_eq(ledger_fault_new(&l, l, &faults, NULL), RC_OK);
	ck_assert_int_eq(ledger_state(l, &state, NULL), RC_OK);
	ck_assert_int_eq(ledger_seed(l, state.identity, 1, false, 0, NULL), RC_OK);
	struct ledger_reseed complete = { .seeding = 1 };
	if (!young)
		ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_OK);
}

void close_ledger(void)
{
	ledger_free(&l);
	remove_it();
	clock_set(NULL);
}

/* An event whose id, type and digest are made of one letter. */
struct ledger_event event(char letter)
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

struct ledger_append batch(const char *id, struct ledger_event *events, size_t n)
{
	return (struct ledger_append){ .type = "Order", .id = id, .events = events, .n = n };
}

enum rc append(struct ledger_append *a)
{
	enum rc rc = ledger_append(l, a, 1, 0, NULL);
	return rc == RC_OK ? a->rc : rc;
}

/* Append one event without expectation; its number. */
uint64_t add(const char *id, char letter)
{
	struct ledger_event e = event(letter);
	struct ledger_append a = batch(id, &e, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	return e.number;
}

enum rc add_expect(const char *id, char letter, uint64_t expect)
{
	struct ledger_event e = event(letter);
	struct ledger_append a = batch(id, &e, 1);
	a.has_expect = true;
	a.expect = expect;
	return append(&a);
}

bool take(void *arg, const struct ledger_row *row)
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

const char *ask(const struct ledger_query *q)
{
	static struct told t;
	memset(&t, 0, sizeof(t));
	struct why why = { "" };
	enum rc rc = ledger_read(l, q, take, &t, NULL, &why);
	if (rc != RC_OK)
		snprintf(t.text, sizeof(t.text), "%s", rc_name(rc));
	return t.text;
}

const char *rows_after(const char *id, uint64_t after)
{
	return ask(&(struct ledger_query){
		.what = LEDGER_EVENTS, .type = "Order", .id = id, .after = after });
}

const char *rows(const char *id)
{
	return rows_after(id, 0);
}

int64_t handle(const char *id)
{
	struct told t = { .text = "" };
	struct ledger_query q = {
		.what = LEDGER_STREAM, .type = "Order", .id = id, .unseeded_too = true
	};
	ck_assert_int_eq(ledger_read(l, &q, take, &t, NULL, NULL), RC_OK);
	return t.last.stream;
}

void settle(const char *id, uint64_t number, char letter)
{
	struct ledger_ref ref = { handle(id), number, event(letter).event_id };
	ck_assert_int_eq(ledger_settle(l, &ref, 1, NULL), RC_OK);
}

struct ledger_object object(uint64_t number, char letter)
{
	struct ledger_event e = event(letter);
	struct ledger_object o = {
		.number = number,
		.event_id = e.event_id,
		.event_type = e.event_type,
		.size = 10,
		.occurred_us = wall_us,
		.recorded_us = wall_us,
	};
	memcpy(o.digest, e.digest, sizeof(o.digest));
	return o;
}

/* A new seeding; all streams wait. */
uint64_t seed(bool other_line)
{
	struct ledger_state state = { .count = true };
	ck_assert_int_eq(ledger_state(l, &state, NULL), RC_OK);
	ck_assert_int_eq(ledger_seed(l, state.identity, state.seeding + 1, other_line, 0, NULL),
			 RC_OK);
	return state.seeding + 1;
}

struct ledger_reseed reseeded;

/* objects: "1a 3c", a letter '-' for one that is no event. */
enum rc reseed_after(const char *id, uint64_t seeding, uint64_t after, const char *objects)
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

void reseed(const char *id, uint64_t seeding, const char *objects)
{
	ck_assert_int_eq(reseed_after(id, seeding, 0, objects), RC_OK);
}

enum rc take_claim(void *arg, const struct ledger_pending *row)
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

struct claims claims;
const char *claim(size_t max, uint64_t lease_ms, bool all)
{
	size_t n = 99;
	memset(&claims, 0, sizeof(claims));
	ck_assert_int_eq(ledger_claim(l, max, lease_ms, all, take_claim, &claims, &n, NULL), RC_OK);
	return claims.text;
}
