/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3-probe.c - what the servers themselves can do: the reference that bench/run-s3 compares with.
 *
 *   s3-probe put   CONNS N SIZE PREFIX   raw PUTs (If-None-Match: *) on CONNS kept-alive connections
 *   s3-probe get   CONNS N PREFIX        raw GETs of what "put" made: PREFIX%010d.json
 *   s3-probe bare  CONNS N               one reserve+insert statement a transaction, prepared, on CONNS connections
 *   s3-probe both  CONNS N SIZE PREFIX   that statement, then that PUT, again and again, on CONNS pairs of connections
 *
 * Prints the seconds it took. Servers: EVFS_S3_ENDPOINT, EVFS_S3_ACCESS_KEY, EVFS_S3_SECRET_KEY, EVFS_BENCH_BUCKET, EVFS_PG_URL.
 * A connection has a thread and blocks; nothing is retried, any failure ends the program.
 */
#include "config.h"

#include <curl/curl.h>
#include <err.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "object/s3-sign.h"

#define CONNS_MAX 256

static struct {
	const char *endpoint, *host, *bucket, *prefix, *pg;
	struct s3_key key;
	long n, conns, size;
} probe;
static atomic_long next;

static long number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end || n <= 0)
		errx(2, "'%s' is no positive number", text);
	return n;
}

static char *need(const char *name)
{
	char *value = getenv(name);
	if (!value || !*value)
		errx(2, "%s is not set", name);
	return value;
}

static size_t swallow(char *data, size_t size, size_t n, void *arg)
{
	(void)data;
	*(size_t *)arg += size * n;
	return size * n;
}

static struct curl_slist *lines(struct curl_slist *list, char *text)
{
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		list = curl_slist_append(list, line);
	return list;
}

static void request(CURL *easy, bool put, long i, char *body)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	_cleanup_(buf_release) struct buf url = BUF_INIT;
	_cleanup_(buf_release) struct buf headers = BUF_INIT;
	static const char *const condition[] = { "if-none-match:*" };
	size_t got = 0;
	buf_printf(&path, "/%s/%s%010ld.json", probe.bucket, probe.prefix, i + 1);
	buf_printf(&url, "%s%s", probe.endpoint, buf_text(&path));
	struct s3_sign sign = {
		.method = put ? "PUT" : "GET", .host = probe.host, .path = buf_text(&path), .query = "",
		.headers = condition, .n_headers = put, .body = body, .body_len = put ? (size_t)probe.size : 0,
		.region = "us-east-1", .service = "s3", .now_us = clock_wall_us(), .key = &probe.key,
	};
	struct why why;
	if (s3_sign(&sign, &headers, &why) != RC_OK)
		errx(1, "%s", why.text);
	struct curl_slist *list = lines(NULL, headers.data);
	if (put) {
		list = curl_slist_append(list, "if-none-match: *");
		list = curl_slist_append(list, "content-type:");
		list = curl_slist_append(list, "expect:");
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, probe.size);
	}
	curl_easy_setopt(easy, CURLOPT_URL, buf_text(&url));
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &got);
	CURLcode code = curl_easy_perform(easy);
	long status = 0;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status != 200)
		errx(1, "%s: %s, status %ld", buf_text(&url), curl_easy_strerror(code), status);
	curl_slist_free_all(list);
}

static PGresult *pg_must(PGresult *r, ExecStatusType wanted)
{
	if (PQresultStatus(r) != wanted)
		errx(1, "%s", PQresultErrorMessage(r));
	return r;
}

static PGconn *pg_connect(void)
{
	PGconn *c = PQconnectdb(probe.pg);
	if (PQstatus(c) != CONNECTION_OK)
		errx(1, "%s", PQerrorMessage(c));
	return c;
}

#define STREAMS 10000
static void bare_tables(void)
{
	PGconn *c = pg_connect();
	PQclear(pg_must(PQexec(c, "SET client_min_messages = warning; DROP SCHEMA IF EXISTS evfs_bare CASCADE; CREATE SCHEMA evfs_bare;"
				  "CREATE TABLE evfs_bare.aggregate_versions(id bigint PRIMARY KEY, version bigint NOT NULL)"
				  " WITH (fillfactor = 70);"
				  "CREATE TABLE evfs_bare.outbox(aggregate_id bigint, version bigint, payload text,"
				  " PRIMARY KEY(aggregate_id, version));"
				  "INSERT INTO evfs_bare.aggregate_versions SELECT g, 0 FROM generate_series(1, 10000) g"),
		       PGRES_COMMAND_OK));
	PQfinish(c);
}

static PGconn *pg_prepared(void)
{
	PGconn *c = pg_connect();
	PQclear(pg_must(PQprepare(c, "bare",
				  "WITH v AS (UPDATE evfs_bare.aggregate_versions SET version = version + 1 WHERE id = $1"
				  " RETURNING id, version) INSERT INTO evfs_bare.outbox SELECT id, version, repeat('x', 500) FROM v",
				  1, NULL), PGRES_COMMAND_OK));
	return c;
}

static void statement(PGconn *c, unsigned *seed)
{
	char id[24];
	snprintf(id, sizeof(id), "%d", 1 + rand_r(seed) % STREAMS);
	PQclear(pg_must(PQexecPrepared(c, "bare", 1, (const char *[]){ id }, NULL, NULL, 0), PGRES_COMMAND_OK));
}

static CURL *http_connection(void)
{
	CURL *easy = curl_easy_init();
	if (!easy)
		errx(1, "no memory");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
	return easy;
}

/* The thread of a connection, or of a pair of them. */
static void *worker(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	PGconn *c = probe.pg ? pg_prepared() : NULL;
	CURL *easy = probe.endpoint ? http_connection() : NULL;
	char *body = malloc((size_t)probe.size + 1);
	if (!body)
		errx(1, "no memory");
	memset(body, 'x', (size_t)probe.size);
	for (long i; (i = atomic_fetch_add(&next, 1)) < probe.n; ) {
		if (c)
			statement(c, &seed);
		if (easy)
			request(easy, probe.size > 0, i, body);
	}
	free(body);
	curl_easy_cleanup(easy);
	PQfinish(c);
	return NULL;
}

static double timed(void)
{
	pthread_t threads[CONNS_MAX];
	uint64_t began = clock_boot_us();
	for (long i = 0; i < probe.conns; i++)
		if (pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)))
			errx(1, "cannot start a thread");
	for (long i = 0; i < probe.conns; i++)
		pthread_join(threads[i], NULL);
	return (double)(clock_boot_us() - began) / 1e6;
}

static void need_s3(void)
{
	probe.endpoint = need("EVFS_S3_ENDPOINT");
	probe.bucket = need("EVFS_BENCH_BUCKET");
	probe.key = (struct s3_key){ .access = need("EVFS_S3_ACCESS_KEY"), .secret = need("EVFS_S3_SECRET_KEY") };
	const char *slashes = strstr(probe.endpoint, "://");
	if (!slashes)
		errx(2, "EVFS_S3_ENDPOINT is no URL");
	probe.host = slashes + 3;
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int main(int argc, char **argv)
{
	const char *what = argc > 3 ? argv[1] : "";
	bool put = !strcmp(what, "put") && argc == 6, get = !strcmp(what, "get") && argc == 5, bare = !strcmp(what, "bare") && argc == 4,
	     both = !strcmp(what, "both") && argc == 6;
	if (!put && !get && !bare && !both)
		errx(2, "usage: see the head of bench/s3-probe.c");
	probe.conns = number(argv[2]);
	probe.n = number(argv[3]);
	if (probe.conns > CONNS_MAX)
		errx(2, "at most %d connections", CONNS_MAX);
	if (bare || both) {
		probe.pg = need("EVFS_PG_URL");
		bare_tables();
	}
	if (!bare)
		need_s3();
	probe.size = put || both ? number(argv[4]) : 0;
	probe.prefix = argv[argc - 1];
	printf("%.6f\n", timed());
	return 0;
}
