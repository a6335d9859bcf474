/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-pg.c - what the PostgreSQL ledger costs, against the bare statement of a reservation and
 * an insert, in one run.
 *
 *   ledger-pg [ROUNDS [SECONDS]]     a schema is made in the server of EVFS_PG_URL, and dropped
 *
 * Rounds take turns: bare, append (one event), sixteen bare clients, the same to new streams,
 * appends of sixteen streams at once from one and from two threads, batches of 1,000 events,
 * settling them, and reading a stream of 100,000. Medians, and what the issue asks of them. The
 * server's own time per commit varies with the machine's load: the ratios are the result, or the
 * CPU of server and client where the machine has other work. settle's CPU is in that of the
 * batches.
 */
#include "config.h"

#include <err.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ledger/ledger.h"

#define STREAMS 10000
#define LONG_STREAM 100000
#define BARES 16
#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

static const char *url;
static char schema[40];
static double seconds = 1;
static struct ledger *l;
static char body[240];
static unsigned seeds[2] = { 1, 2 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static PGconn *connect_bare(void)
{
	char text[100];
	PGconn *c = PQconnectdb(url);
	if (PQstatus(c) != CONNECTION_OK)
		errx(1, "%s", PQerrorMessage(c));
	snprintf(text, sizeof(text), "SET client_min_messages = warning; SET search_path = %s",
		 schema);
	PQclear(PQexec(c, text));
	return c;
}

static void run(PGconn *c, const char *text)
{
	PGresult *r = PQexec(c, text);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		errx(1, "%s: %s", text, PQerrorMessage(c));
	PQclear(r);
}

static void check(enum rc rc, const struct why *why)
{
	if (rc != RC_OK)
		errx(1, "%s: %s", rc_name(rc), why->text);
}

static void make(void)
{
	PGconn *c = connect_bare();
	struct why why = { "" };
	struct ledger_state state = { .count = false };
	struct ledger_reseed complete = { .seeding = 1 };
	struct ledger_pg_options o = { .conninfo = url,
				       .schema = schema,
				       .uuid = UUID,
				       .place = "bench",
				       .timeout_ms = 60000 };
	check(ledger_pg_create(&o, &why), &why);
	run(c,
	    "CREATE TABLE aggregate_versions(id bigint PRIMARY KEY, version bigint NOT NULL) WITH"
		" (fillfactor = 70)");
	run(c,
	    "CREATE TABLE outbox(aggregate_id bigint, version bigint, payload text, PRIMARY KEY"
		" (aggregate_id, version))");
	run(c, "INSERT INTO aggregate_versions SELECT n, 0 FROM generate_series(0, 9999) n");
	PQfinish(c);
	check(ledger_pg_open(&l, &o, NULL, &why), &why);
	check(ledger_state(l, &state, &why), &why);
	check(ledger_seed(l, state.identity, 1, false, 0, &why), &why);
	check(ledger_reseed(l, &complete, &why), &why);
}

static void drop(void)
{
	char text[100];
	PGconn *c = connect_bare();
	ledger_free(&l);
	snprintf(text, sizeof(text), "DROP SCHEMA %s CASCADE", schema);
	run(c, text);
	PQfinish(c);
}

/* ---- the bare statement ---- */

static const char bare_text[] =
	"WITH v AS (UPDATE aggregate_versions SET version = version + 1 WHERE id = $1::bigint"
	" RETURNING id, version)"
	" INSERT INTO outbox (aggregate_id, version, payload) SELECT id, version, repeat('x', 500)"
	" FROM v";

static PGconn *bares[BARES];

static void *bare_loop(void *arg)
{
	PGconn *c = bares[(uintptr_t)arg];
	unsigned random = (unsigned)(uintptr_t)arg + 1;
	double until = now() + seconds;
	size_t n = 0;
	for (; now() < until; n++) {
		char id[16];
		const char *values[] = { id };
		snprintf(id, sizeof(id), "%d", rand_r(&random) % STREAMS);
		PGresult *r = PQexecPrepared(c, "bare", 1, values, NULL, NULL, 1);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			errx(1, "bare: %s", PQerrorMessage(c));
		PQclear(r);
	}
	return (void *)n;
}

static void open_bares(void)
{
	for (int i = 0; i < BARES; i++) {
		bares[i] = connect_bare();
		PQclear(PQprepare(bares[i], "bare", bare_text, 0, NULL));
	}
}

static double bare(int clients)
{
	pthread_t threads[BARES];
	size_t n = 0;
	for (int i = 0; i < clients; i++)
		pthread_create(&threads[i], NULL, bare_loop, (void *)(uintptr_t)i);
	for (int i = 0; i < clients; i++) {
		void *got;
		pthread_join(threads[i], &got);
		n += (size_t)got;
	}
	return (double)n / seconds;
}

/* ---- the ledger ---- */

struct place {
	char id[24], event_id[37];
};

static void fill(struct ledger_event *e, struct place *p)
{
	clock_uuid(p->event_id);
	*e = (struct ledger_event){ .event_id = p->event_id,
				    .event_type = "OrderPlaced",
				    .head = body,
				    .head_len = sizeof(body),
				    .tail = body,
				    .tail_len = sizeof(body) };
	memcpy(e->digest, p->event_id, LEDGER_DIGEST_LEN);
}

static void append_to(struct ledger_append *items, struct ledger_event *events,
		      struct place *places, size_t n)
{
	struct why why = { "" };
	for (size_t i = 0; i < n; i++) {
		fill(&events[i], &places[i]);
		items[i] = (struct ledger_append){
			.type = "Order", .id = places[i].id, .events = &events[i], .n = 1
		};
	}
	check(ledger_append(l, items, n, 10000, &why), &why);
	for (size_t i = 0; i < n; i++)
		check(items[i].rc, &items[i].why);
}

/* Each stream once: what is measured is the append to a stream that is there. */
static void make_streams(void)
{
	struct ledger_append items[100];
	struct ledger_event events[100];
	struct place places[100];
	for (size_t at = 0; at < STREAMS; at += 100) {
		for (size_t i = 0; i < 100; i++)
			snprintf(places[i].id, sizeof(places[i].id), "o-%zu", at + i);
		append_to(items, events, places, 100);
	}
}

/* New streams, one after another. */
static double append_new(void)
{
	static size_t made;
	struct ledger_append item;
	struct ledger_event event;
	struct place place;
	double until = now() + seconds;
	size_t n = 0;
	for (; now() < until; n++) {
		snprintf(place.id, sizeof(place.id), "new-%zu", made++);
		append_to(&item, &event, &place, 1);
	}
	return (double)n / seconds;
}

/* Groups of n appends of one event each, to n random streams. */
static size_t append_loop(unsigned *random, size_t n)
{
	struct ledger_append items[64];
	struct ledger_event events[64];
	struct place places[64];
	double until = now() + seconds;
	size_t count = 0;
	for (; now() < until; count += n) {
		for (size_t i = 0; i < n; i++)
			snprintf(places[i].id, sizeof(places[i].id), "o-%d",
				 rand_r(random) % STREAMS);
		append_to(items, events, places, n);
	}
	return count;
}

static double append_one(void)
{
	return (double)append_loop(&seeds[0], 1) / seconds;
}

static double groups(void)
{
	return (double)append_loop(&seeds[0], 16) / seconds;
}

static void *two_loop(void *arg)
{
	return (void *)append_loop(arg, 16);
}

static double two_groups(void)
{
	pthread_t threads[2];
	size_t n = 0;
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, two_loop, &seeds[i]);
	for (int i = 0; i < 2; i++) {
		void *got;
		pthread_join(threads[i], &got);
		n += (size_t)got;
	}
	return (double)n / seconds;
}

#define BATCH 1000
static struct ledger_event batch_events[BATCH];
static struct place batch_places[BATCH];
static struct ledger_ref refs[BATCH];

static int64_t append_batch(const char *id)
{
	struct why why = { "" };
	struct ledger_append item = {
		.type = "Order", .id = id, .events = batch_events, .n = BATCH
	};
	for (size_t i = 0; i < BATCH; i++)
		fill(&batch_events[i], &batch_places[i]);
	check(ledger_append(l, &item, 1, 10000, &why), &why);
	check(item.rc, &item.why);
	return item.stream;
}

static double batches(double *settle_r)
{
	double appending = 0, settling = 0;
	struct why why = { "" };
	size_t n = 0;
	for (; appending < seconds; n += BATCH) {
		char id[40];
		snprintf(id, sizeof(id), "batch-%u", rand_r(&seeds[0]) % 100);
		double begun = now();
		int64_t stream = append_batch(id);
		appending += now() - begun;
		for (size_t i = 0; i < BATCH; i++)
			refs[i] = (struct ledger_ref){ stream, batch_events[i].number,
						       batch_events[i].event_id };
		begun = now();
		check(ledger_settle(l, refs, BATCH, &why), &why);
		settling += now() - begun;
	}
	*settle_r = (double)n / settling;
	return (double)n / appending;
}

static bool take(void *arg, const struct ledger_row *row)
{
	size_t *n = arg;
	*n += row->number != 0;
	return true;
}

/* Seconds for the whole of a long stream, settled, its bodies dropped. */
static double read_all(void)
{
	size_t n = 0;
	struct why why = { "" };
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = "long" };
	double begun = now();
	check(ledger_read(l, &q, take, &n, NULL, &why), &why);
	if (n != LONG_STREAM)
		errx(1, "read %zu events of %d", n, LONG_STREAM);
	return now() - begun;
}

static void make_long(void)
{
	PGconn *c = connect_bare();
	for (int i = 0; i < LONG_STREAM / BATCH; i++)
		append_batch("long");
	run(c, "DELETE FROM pending");
	run(c, "DELETE FROM bodies");
	run(c, "VACUUM ANALYZE");
	PQfinish(c);
}

/* Seconds of CPU that the server's backends took so far, where it runs here. */
static double server_cpu(void)
{
	double sum = 0;
	PGresult *r = PQexec(
		bares[0],
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname"
		" = current_database()");
	for (int i = 0; i < PQntuples(r); i++) {
		char path[64];
		uint64_t ns = 0;
		snprintf(path, sizeof(path), "/proc/%s/schedstat", PQgetvalue(r, i, 0));
		FILE *f = fopen(path, "re");
		if (f && fscanf(f, "%" SCNu64, &ns) == 1)
			sum += (double)ns / 1e9;
		if (f)
			fclose(f);
	}
	PQclear(r);
	return sum;
}

static double cpu_before, own_before;

static double own_cpu(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void begin_cpu(void)
{
	cpu_before = server_cpu();
	own_before = own_cpu();
}

/* Microseconds of CPU for each of n. */
static void end_cpu(double *server_r, double *own_r, double n)
{
	*server_r = (server_cpu() - cpu_before) / n * 1e6;
	*own_r = (own_cpu() - own_before) / n * 1e6;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

enum { BARE, ONE, NEW, BARE_16, GROUPS, TWO_GROUPS, BATCHES, SETTLES, READS, COLUMNS };
static const char *const names[COLUMNS] = {
	"bare statement, 1 client",   "append, 1 event",      "append, 1 event, new stream",
	"bare statement, 16 clients", "append, groups of 16", "append, groups of 16, 2 threads",
	"append, 1,000 events",	      "settle, 1,000 rows",   "read 100,000 events",
};

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 5;
	static double results[COLUMNS][64], server[COLUMNS][64], own[COLUMNS][64];
	seconds = argc > 2 ? atof(argv[2]) : 1;
	int m = rounds / 2;
	url = getenv("EVFS_PG_URL");
	if (!url || rounds < 1 || rounds > 64)
		errx(2, "usage: EVFS_PG_URL=… ledger-pg [ROUNDS [SECONDS]]");
	snprintf(schema, sizeof(schema), "bench_%" PRIu64, clock_boot_us());
	memset(body, 'x', sizeof(body));
	make();
	make_streams();
	open_bares();
	for (int i = 0; i < rounds; i++) {
		for (int k = BARE; k <= BATCHES; k++) {
			begin_cpu();
			results[k][i] = k == BARE	  ? bare(1)
					: k == ONE	  ? append_one()
					: k == NEW	  ? append_new()
					: k == BARE_16	  ? bare(BARES)
					: k == GROUPS	  ? groups()
					: k == TWO_GROUPS ? two_groups()
							  : batches(&results[SETTLES][i]);
			end_cpu(&server[k][i], &own[k][i], results[k][i] * seconds);
		}
	}
	make_long();
	for (int i = 0; i < rounds; i++) {
		begin_cpu();
		results[READS][i] = read_all();
		end_cpu(&server[READS][i], &own[READS][i], LONG_STREAM);
	}
	drop();
	for (int k = 0; k < COLUMNS; k++) {
		for (int i = 0; i < 3; i++)
			qsort(i == 0   ? results[k]
			      : i == 1 ? server[k]
				       : own[k],
			      (size_t)rounds, sizeof(double), ascending);
		printf(k == READS ? "%-34s %9.3f s   [%.3f %.3f]" : "%-34s %9.0f /s  [%.0f %.0f]",
		       names[k], results[k][m], results[k][0], results[k][rounds - 1]);
		if (server[k][m] > 0)
			printf("  CPU us each: server %.1f, client %.1f", server[k][m], own[k][m]);
		printf("\n");
	}
	printf("append / bare %.2f (0.7), groups / 16 bare %.2f (0.7), 1,000 events %.0f/s"
		" (30,000), read %.2f s (0.5)\n",
	       results[ONE][m] / results[BARE][m], results[GROUPS][m] / results[BARE_16][m],
	       results[BATCHES][m], results[READS][m]);
	return 0;
}
