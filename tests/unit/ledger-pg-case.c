/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-case.c - what the cases of the PostgreSQL ledger share. */
#include "config.h"
#include "ledger-pg-case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct pg_server server;
struct ledger *l;

struct ledger_pg *inside(void)
{
	return container_of(l, struct ledger_pg, base);
}

struct ledger *open_as(const char *conninfo, uint64_t timeout_ms)
{
	struct ledger_pg_options o = server.options;
	struct ledger *out = NULL;
	struct why why = { "" };
	o.conninfo = conninfo;
	o.timeout_ms = timeout_ms;
	enum rc rc = ledger_pg_open(&out, &o, NULL, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	return out;
}

struct ledger_state state(void)
{
	struct ledger_state s = { .count = false };
	struct why why = { "" };
	enum rc rc = ledger_state(l, &s, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	return s;
}

void seed(void)
{
	struct ledger_state s = state();
	struct ledger_reseed complete = { .seeding = s.seeding + 1 };
	ck_assert_int_eq(ledger_seed(l, s.identity, s.seeding + 1, false, 0, NULL), RC_OK);
	ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_OK);
}

/* An empty ledger, seeded. */
void make(void)
{
	pg_server_make(&server, UUID);
	l = open_as(server.options.conninfo, 10000);
	seed();
}

void unmake(void)
{
	ledger_free(&l);
	pg_server_drop(&server);
}

struct ledger_event event(const char *id)
{
	struct ledger_event e = {
		.event_id = id,
		.event_type = "Paid",
		.head = "{\"head\":",
		.tail = ",\"tail\":",
		.head_len = 8,
		.tail_len = 8,
	};
	memset(e.digest, id[0], sizeof(e.digest));
	return e;
}

enum rc append_to(struct ledger *to, const char *stream, const char *event_id,
		  struct ledger_append *out)
{
	static __thread struct ledger_event e;
	e = event(event_id);
	*out = (struct ledger_append){ .type = "Order", .id = stream, .events = &e, .n = 1 };
	enum rc rc = ledger_append(to, out, 1, 60000, &out->why);
	return rc == RC_OK ? out->rc : rc;
}

uint64_t add(const char *stream, const char *event_id)
{
	struct ledger_append a;
	enum rc rc = append_to(l, stream, event_id, &a);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), a.why.text);
	return a.events[0].number;
}

bool take(void *arg, const struct ledger_row *row)
{
	struct told *t = arg;
	size_t len = strlen(t->text);
	snprintf(t->text + len, sizeof(t->text) - len, "%s%s", len ? " " : "",
		 row->number ? row->event_id : row->id);
	t->n++;
	t->position = row->position;
	return t->n != t->stop_after;
}

struct told told;
const char *ask(const struct ledger_query *q)
{
	struct why why = { "" };
	memset(&told, 0, sizeof(told));
	enum rc rc = ledger_read(l, q, take, &told, NULL, &why);
	return rc == RC_OK ? told.text : rc_name(rc);
}

const char *rows(const char *stream)
{
	return ask(&(struct ledger_query){ .what = LEDGER_EVENTS, .type = "Order", .id = stream });
}

void wait_until_blocked(int n)
{
	for (int tries = 0; tries < 2000; tries++) {
		if (atoi(pg_server_do(&server, "SELECT count(*) " BLOCKED)) >= n)
			return;
		clock_sleep_ms(5);
	}
	ck_abort_msg("nobody waits for a lock");
}
