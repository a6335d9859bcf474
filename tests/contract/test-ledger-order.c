/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of struct ledger_horizon where commits come out of order: writer A takes a number and a time and waits, B commits and is
 * told, A commits: A is told. By chance, in many schedules; EVFS_SEED repeats one run of them.
 */
#include "config.h"
#include "ledger-harness.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define SCHEDULES 200
#define MOVES 14
#define EVENTS 16 /* of one schedule, at most */
#define MS INT64_C(1000)

static unsigned seed_now;

static unsigned chance(unsigned n)
{
	return (unsigned)rand_r(&seed_now) % n;
}

/* ------------------------------------------------------------------ one event, from its stamp to its settling */

enum progress { NEW, BEGUN, COMMITTED, SETTLED };

struct fate {
	enum progress is;
	char event_id[37], stream[40];
	unsigned told;
};

static struct fate fates[EVENTS];
static size_t n_fates;

static struct ledger_event event_of(const struct fate *f)
{
	struct ledger_event e = event('x');
	e.event_id = f->event_id;
	return e;
}

static struct fate *new_fate(unsigned schedule)
{
	struct fate *f = &fates[n_fates];
	memset(f, 0, sizeof(*f));
	snprintf(f->event_id, sizeof(f->event_id), "20000000-0000-4000-8000-%06x%06zx", schedule, n_fates);
	snprintf(f->stream, sizeof(f->stream), "s-%u-%zu", schedule, n_fates);
	n_fates++;
	return f;
}

static void settle_fate(struct fate *f)
{
	struct ledger_ref ref = { handle(f->stream), 1, f->event_id };
	ck_assert_int_eq(ledger_settle(l, &ref, 1, NULL), RC_OK);
	f->is = SETTLED;
}

/* ------------------------------------------------------------------ writers that wait before their commit */

/* How a run of schedules is done. */
struct manner {
	bool prepares, other_role, steps_back;
};
static struct manner manner;

#ifdef TEST_PG
#include "ledger-pg-server.h"

#define WRITERS 3

struct writer {
	struct fate *f;
	PGconn *c;
	bool prepared;
};
static struct writer writers[WRITERS];
static struct ledger *looker;

static void run(PGconn *c, const char *text)
{
	PGresult *r = PQexec(c, text);
	ck_assert_msg(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK, "%s: %s", text,
		      PQerrorMessage(c));
	PQclear(r);
}

static void writers_open(void)
{
	struct pg_server *s = ledger_server();
	struct ledger_pg_options o = s->options;
	char url[PG_SERVER_URL_MAX], text[200];
	struct why why = { "" };
	for (int i = 0; i < WRITERS; i++) {
		pg_server_role(s, manner.other_role ? "owner" : "appender", url);
		writers[i] = (struct writer){ .c = PQconnectdb(url) };
		ck_assert_msg(PQstatus(writers[i].c) == CONNECTION_OK, "%s", PQerrorMessage(writers[i].c));
		snprintf(text, sizeof(text), "SET search_path = pg_catalog, %s; SET synchronous_commit = off", s->schema);
		run(writers[i].c, text);
	}
	run(s->admin, "SET synchronous_commit = off");
	/* the publisher looks with no more rights than it is given */
	pg_server_role(s, "publisher", url);
	o.conninfo = url;
	enum rc rc = ledger_pg_open(&looker, &o, NULL, &why);
	ck_assert_msg(rc == RC_OK, "%s", why.text);
}

static void writers_close(void)
{
	for (int i = 0; i < WRITERS; i++)
		PQfinish(writers[i].c);
	ledger_free(&looker);
}

static void writer_begin(struct writer *w, struct fate *f)
{
	char text[1500], prefix[LEDGER_IDENTITY_MAX], middle[LEDGER_IDENTITY_MAX];
	struct ledger_state s = { .count = false };
	ck_assert_int_eq(ledger_state(l, &s, NULL), RC_OK);
	/* "pg SYSTEM/TIMELINE/DATABASE/XMIN": all but the timeline and xmin */
	const char *timeline = strchr(s.identity, '/') + 1, *after = strchr(timeline, '/');
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(timeline - s.identity), s.identity);
	snprintf(middle, sizeof(middle), "%.*s", (int)(strrchr(s.identity, '/') + 1 - after), after);
	snprintf(text, sizeof(text),
		 "BEGIN; SELECT * FROM append_one('%s', '%s', '0/0', 0, 'Order', '%s', NULL, false, '%s', 'Paid',"
		 " '{\"head\":', ',\"tail\":', 16, NULL, '\\x78')",
		 prefix, middle, f->stream, f->event_id);
	run(w->c, text);
	w->f = f;
	w->prepared = false;
	f->is = BEGUN;
}

static void writer_prepare(struct writer *w)
{
	char text[100];
	if (!manner.prepares || w->prepared)
		return;
	snprintf(text, sizeof(text), "PREPARE TRANSACTION '%s'", w->f->event_id);
	run(w->c, text);
	w->prepared = true;
}

static void writer_commit(struct writer *w)
{
	char text[100] = "COMMIT";
	if (w->prepared)
		snprintf(text, sizeof(text), "COMMIT PREPARED '%s'", w->f->event_id);
	run(w->c, text);
	w->f->is = COMMITTED;
	w->f = NULL;
}
#else
#define WRITERS 1 /* SQLite has no more at once */
#define looker l

struct writer {
	struct fate *f;
	pthread_t thread;
	enum rc rc;
};
static struct writer writers[WRITERS];

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_reached, gate_open;
static __thread bool stops_at_gate;

/* The writer's clock: it has read the time, and then it stands still. It has the write lock. */
static int64_t wall_with_gate(void)
{
	int64_t us = wall_us;
	if (!stops_at_gate)
		return us;
	stops_at_gate = false;
	pthread_mutex_lock(&gate_lock);
	gate_reached = true;
	pthread_cond_broadcast(&gate_moved);
	while (!gate_open)
		pthread_cond_wait(&gate_moved, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
	return us;
}

static void writers_open(void)
{
	clock_set(wall_with_gate);
}

static void writers_close(void)
{
}

static void *append_slowly(void *arg)
{
	struct writer *w = arg;
	struct ledger_event e = event_of(w->f);
	struct ledger_append a = batch(w->f->stream, &e, 1);
	stops_at_gate = true;
	w->rc = append(&a);
	return NULL;
}

static void writer_begin(struct writer *w, struct fate *f)
{
	gate_reached = gate_open = false;
	w->f = f;
	ck_assert_int_eq(pthread_create(&w->thread, NULL, append_slowly, w), 0);
	pthread_mutex_lock(&gate_lock);
	while (!gate_reached)
		pthread_cond_wait(&gate_moved, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
	f->is = BEGUN;
}

static void writer_prepare(struct writer *w)
{
	(void)w;
}

static void writer_commit(struct writer *w)
{
	pthread_mutex_lock(&gate_lock);
	gate_open = true;
	pthread_cond_broadcast(&gate_moved);
	pthread_mutex_unlock(&gate_lock);
	pthread_join(w->thread, NULL);
	ck_assert_int_eq(w->rc, RC_OK);
	w->f->is = COMMITTED;
	w->f = NULL;
}
#endif

static size_t in_flight(void)
{
	size_t n = 0;
	for (size_t i = 0; i < WRITERS; i++)
		n += writers[i].f != NULL;
	return n;
}

static struct writer *some_writer(bool busy)
{
	size_t from = chance(WRITERS);
	for (size_t i = 0; i < WRITERS; i++) {
		struct writer *w = &writers[(from + i) % WRITERS];
		if ((w->f != NULL) == busy)
			return w;
	}
	return NULL;
}

/* ------------------------------------------------------------------ looks */

static struct look {
	int64_t after_us, stream;
	uint64_t after;
	uint64_t wait_ms;
	enum rc rc;
	struct why why;
	bool wrong, ended;
	pthread_mutex_t lock;
	unsigned looks, during; /* those that began while a writer stood still */
} at = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool take_one(void *arg, const struct ledger_row *row)
{
	struct look *k = arg;
	k->after_us = row->recorded_us;
	k->stream = row->stream;
	k->after = row->number;
	bool known = false;
	for (size_t i = 0; i < n_fates; i++)
		if (!strcmp(fates[i].event_id, row->event_id)) {
			fates[i].told++;
			known = fates[i].told == 1;
		}
	k->wrong |= !known || !row->settled;
	return true;
}

static void *look(void *arg)
{
	struct look *k = arg;
	struct ledger_horizon h = { .wait_ms = k->wait_ms };
	struct ledger_query q = { .what = LEDGER_TIME,
				  .to_us = INT64_MAX,
				  .after_us = k->after_us,
				  .stream = k->stream,
				  .after = k->after,
				  .horizon = &h };
	k->rc = ledger_read(looker, &q, take_one, k, NULL, &k->why);
	pthread_mutex_lock(&k->lock);
	k->ended = true;
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

static bool has_ended(void)
{
	pthread_mutex_lock(&at.lock);
	bool ended = at.ended;
	pthread_mutex_unlock(&at.lock);
	return ended;
}

/* A look begins. Whom it waits for is prepared, or commits, under its eyes. */
static void look_now(bool patient)
{
	pthread_t thread;
	at.wait_ms = patient ? 20000 : chance(4);
	at.ended = false;
	at.looks++;
	at.during += in_flight() > 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, look, &at), 0);
	if (in_flight() && chance(2)) {
		clock_sleep_us(chance(4000));
		writer_prepare(some_writer(true));
		clock_sleep_us(chance(2000));
	}
	for (int naps = 0; !has_ended() && naps < 10; naps++)
		clock_sleep_us(500);
	while (!has_ended() && in_flight())
		writer_commit(some_writer(true));
	pthread_join(thread, NULL);
	ck_assert_msg(at.rc == RC_OK || (at.rc == RC_TEMPORARY && !patient), "%s: %s", rc_name(at.rc), at.why.text);
	ck_assert_msg(!at.wrong, "an event was told twice, or before it was settled");
}

/* ------------------------------------------------------------------ schedules */

static void append_at_once(struct fate *f)
{
	struct ledger_event e = event_of(f);
	struct ledger_append a = batch(f->stream, &e, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	f->is = COMMITTED;
	if (chance(4))
		settle_fate(f);
}

static void move(unsigned schedule)
{
	struct writer *w;
	switch (chance(8)) {
	case 0:
	case 1:
		w = some_writer(false);
		if (w && n_fates < EVENTS)
			writer_begin(w, new_fate(schedule));
		return;
	case 2:
		w = some_writer(true);
		if (w && chance(2))
			writer_prepare(w);
		else if (w)
			writer_commit(w);
		return;
	case 3:
		if (n_fates < EVENTS && (WRITERS > 1 || !in_flight()))
			append_at_once(new_fate(schedule));
		return;
	case 4:
		for (size_t i = 0; i < n_fates && (WRITERS > 1 || !in_flight()); i++)
			if (fates[i].is == COMMITTED && chance(2))
				settle_fate(&fates[i]);
		return;
	case 5:
		pass((int64_t)chance(3000));
		if (manner.steps_back && !chance(3))
			pass(-(int64_t)chance(20000));
		return;
	default:
		look_now(chance(2));
	}
}

static void finish(unsigned schedule)
{
	while (in_flight())
		writer_commit(some_writer(true));
	for (size_t i = 0; i < n_fates; i++)
		if (fates[i].is == COMMITTED)
			settle_fate(&fates[i]);
	for (int i = 0; i < 2; i++) {
		pass(2 * MS);
		look_now(true);
	}
	for (size_t i = 0; i < n_fates; i++)
		ck_assert_msg(fates[i].told == 1, "schedule %u: event %zu of %zu was never told", schedule, i, n_fates);
}

static void run_schedules(struct manner m)
{
	const char *given = getenv("EVFS_SEED");
	clock_random(&seed_now, sizeof(seed_now));
	if (given)
		seed_now = (unsigned)strtoul(given, NULL, 0);
	printf("EVFS_SEED=%u\n", seed_now);
	fflush(stdout);
	manner = m;
	open_ledger(0, false);
	writers_open();
	for (unsigned schedule = 0; schedule < SCHEDULES; schedule++) {
		n_fates = 0;
		for (int i = 0; i < MOVES; i++)
			move(schedule);
		finish(schedule);
	}
	printf("%u looks, %u of them past a writer\n", at.looks, at.during);
	ck_assert_uint_gt(at.during, SCHEDULES / 2); /* what did not happen was not tested */
	writers_close();
	close_ledger();
}

START_TEST(what_commits_out_of_order_is_told)
{
	run_schedules((struct manner){ .prepares = false });
}
END_TEST

START_TEST(what_commits_out_of_order_is_told_though_the_clock_steps_back)
{
	run_schedules((struct manner){ .steps_back = true });
}
END_TEST

#ifdef TEST_PG
START_TEST(what_another_role_commits_out_of_order_is_told)
{
	run_schedules((struct manner){ .other_role = true });
}
END_TEST

static bool can_prepare(void)
{
	open_ledger(0, false);
	bool can = strcmp(pg_server_do(ledger_server(), "SHOW max_prepared_transactions"), "0");
	close_ledger();
	if (!can)
		printf("skip - max_prepared_transactions is 0\n");
	return can;
}

START_TEST(what_is_prepared_and_committed_out_of_order_is_told)
{
	if (can_prepare())
		run_schedules((struct manner){ .prepares = true, .steps_back = true });
}
END_TEST

static void wait_until_it_waits(void)
{
	for (int tries = 0; tries < 2000; tries++) {
		if (atoi(pg_server_do(ledger_server(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%look_writers%%'"
						       " AND wait_event = 'PgSleep'")))
			return;
		clock_sleep_ms(2);
	}
	ck_abort_msg("nobody waits");
}

/* Its lock is no process's from then on. */
START_TEST(who_is_prepared_while_waited_for_is_waited_for)
{
	pthread_t thread;
	if (!can_prepare())
		return;
	manner = (struct manner){ .prepares = true };
	open_ledger(0, false);
	writers_open();
	writer_begin(&writers[0], new_fate(0));
	pass(2 * MS);
	struct fate *b = new_fate(0);
	struct ledger_event e = event_of(b);
	struct ledger_append a = batch(b->stream, &e, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	settle_fate(b);
	pass(2 * MS);
	at.wait_ms = 20000;
	ck_assert_int_eq(pthread_create(&thread, NULL, look, &at), 0);
	wait_until_it_waits();
	writer_prepare(&writers[0]);
	for (int naps = 0; !has_ended() && naps < 200; naps++)
		clock_sleep_ms(1);
	ck_assert(!has_ended());
	writer_commit(&writers[0]);
	pthread_join(thread, NULL);
	ck_assert_int_eq(at.rc, RC_OK);
	finish(0);
	writers_close();
	close_ledger();
}
END_TEST

/* A writer stands still: the look says so when its time is over, and when it is to give up; what was told before stays told. */
START_TEST(a_look_waits_no_longer_than_it_may)
{
	bool cancel = true;
	open_ledger(0, false);
	writers_open();
	writer_begin(&writers[0], new_fate(0));
	uint64_t begun = clock_boot_ms();
	at.wait_ms = 100;
	look(&at);
	ck_assert_int_eq(at.rc, RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(at.why.text, "under way"));
	ck_assert_uint_ge(clock_boot_ms() - begun, 100);
	ck_assert_uint_lt(clock_boot_ms() - begun, 3000);
	struct ledger_horizon h = { .wait_ms = 20000, .cancel = &cancel };
	struct ledger_query q = { .what = LEDGER_TIME, .to_us = INT64_MAX, .horizon = &h };
	ck_assert_int_eq(ledger_read(looker, &q, take_one, &at, NULL, NULL), RC_CANCELLED);
	ck_assert_uint_lt(clock_boot_ms() - begun, 6000);
	finish(0);
	writers_close();
	close_ledger();
}
END_TEST

START_TEST(an_idle_look_is_one_round_trip)
{
	struct ledger_counts before, after;
	open_ledger(0, false);
	writers_open();
	look(&at); /* what is prepared once */
	ledger_counts(looker, &before);
	for (int i = 0; i < 10; i++) {
		struct ledger_horizon h = { .lease = "publisher", .token = "a", .lease_ms = 5000, .wait_ms = 1000 };
		struct ledger_query q = { .what = LEDGER_TIME, .to_us = INT64_MAX, .horizon = &h };
		ck_assert_int_eq(ledger_read(looker, &q, take_one, &at, NULL, NULL), RC_OK);
		ck_assert(h.leased);
		pass(SECOND);
	}
	ledger_counts(looker, &after);
	ck_assert_uint_eq(after.read - before.read, 10);
	ck_assert_uint_eq(after.state - before.state, 0);
	ck_assert_uint_eq(after.connects - before.connects, 0);
	/* who stands by writes nothing, not even a lock */
	char xmax[40];
	snprintf(xmax, sizeof(xmax), "%s", pg_server_do(ledger_server(), "SELECT xmax FROM leases"));
	struct ledger_horizon other = { .lease = "publisher", .token = "b", .lease_ms = 5000, .wait_ms = 1000 };
	struct ledger_query standby = { .what = LEDGER_TIME, .to_us = INT64_MAX, .horizon = &other };
	ck_assert_int_eq(ledger_read(looker, &standby, take_one, &at, NULL, NULL), RC_OK);
	ck_assert(!other.leased);
	ck_assert_str_eq(pg_server_do(ledger_server(), "SELECT xmax FROM leases"), xmax);
	/* who has it touches one page */
	ck_assert_str_eq(pg_server_do(ledger_server(), "SELECT count(DISTINCT (ctid::text::point)[0]) FROM leases"), "1");
	writers_close();
	close_ledger();
}
END_TEST

START_TEST(a_publisher_may_look_and_no_more)
{
	static const char *const may_not[] = {
		"INSERT INTO streams(type, id, mark, made) VALUES ('x', 'x', 1, 1)",
		"UPDATE streams SET last = 0",
		"DELETE FROM events",
		"INSERT INTO events(stream, number, recorded_us) VALUES (1, 1, 1)",
		"UPDATE seeding SET number = 9",
		"UPDATE seeding SET complete = true",
		"DELETE FROM pending",
		"DELETE FROM bodies",
		"DELETE FROM leases",
		"UPDATE store SET place = ''",
	};
	char url[PG_SERVER_URL_MAX];
	struct pg_server *s = ledger_server();
	open_ledger(0, false);
	pg_server_role(s, "publisher", url);
	if (!strcmp(url, s->options.conninfo) || !strcmp(url, getenv("EVFS_PG_URL"))) {
		printf("skip - no role evfs_publisher\n");
		close_ledger();
		return;
	}
	writers_open();
	struct fate *f = new_fate(0);
	struct ledger_event e = event_of(f);
	struct ledger_append a = batch(f->stream, &e, 1);
	ck_assert_int_eq(append(&a), RC_OK);
	settle_fate(f);
	pass(MS);
	look(&at);
	ck_assert_msg(at.rc == RC_OK, "%s", at.why.text);
	ck_assert_uint_eq(f->told, 1);
	PGconn *c = PQconnectdb(url);
	char text[100];
	snprintf(text, sizeof(text), "SET search_path = %s", s->schema);
	run(c, text);
	for (size_t i = 0; i < ARRAY_SIZE(may_not); i++) {
		PGresult *r = PQexec(c, may_not[i]);
		const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
		ck_assert_msg(state && !strcmp(state, "42501"), "may: %s", may_not[i]);
		PQclear(r);
	}
	PQfinish(c);
	/* a reader may not raise the floor, and is told so */
	pg_server_role(s, "reader", url);
	struct ledger_pg_options o = s->options;
	struct ledger *reader = NULL;
	o.conninfo = url;
	ck_assert_int_eq(ledger_pg_open(&reader, &o, NULL, NULL), RC_OK);
	struct ledger_horizon h = { .lease = "publisher", .token = "a", .lease_ms = 5000, .wait_ms = 1000 };
	struct ledger_query q = { .what = LEDGER_TIME, .to_us = INT64_MAX, .horizon = &h };
	struct why why = { "" };
	ck_assert_int_eq(ledger_read(reader, &q, take_one, &at, NULL, &why), RC_DENIED);
	ck_assert_ptr_nonnull(strstr(why.text, "permission denied"));
	ledger_free(&reader);
	writers_close();
	close_ledger();
}
END_TEST
#endif

TCase *ledger_order_cases(void)
{
	TCase *tc = tcase_create("order");
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, what_commits_out_of_order_is_told);
	tcase_add_test(tc, what_commits_out_of_order_is_told_though_the_clock_steps_back);
#ifdef TEST_PG
	tcase_add_test(tc, what_another_role_commits_out_of_order_is_told);
	tcase_add_test(tc, what_is_prepared_and_committed_out_of_order_is_told);
	tcase_add_test(tc, who_is_prepared_while_waited_for_is_waited_for);
	tcase_add_test(tc, a_look_waits_no_longer_than_it_may);
	tcase_add_test(tc, an_idle_look_is_one_round_trip);
	tcase_add_test(tc, a_publisher_may_look_and_no_more);
#endif
	return tc;
}
