/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-pg-conn.c - one connection: never waits beyond a deadline; what the server's codes mean.
 */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define DRAIN_MS 50 /* spent on rows that nobody wants, before the connection is given up */

/* One line without the server's own prefix. */
static void one_line(char *out, size_t size, const char *text)
{
	if (!strncmp(text, "ERROR:  ", 8) || !strncmp(text, "FATAL:  ", 8))
		text += 8;
	size_t n = 0;
	for (; *text && n + 1 < size; text++)
		if (*text != '\n')
			out[n++] = *text;
		else if (text[1])
			out[n++] = ' ';
	out[n] = '\0';
}

static enum rc lost(struct ledger_pg_conn *c, struct why *why)
{
	char text[300];
	c->lost = true;
	one_line(text, sizeof(text), PQerrorMessage(c->pg));
	return rc_fail(RC_TEMPORARY, why, "the ledger's PostgreSQL: %s",
		       text[0] ? text : "the connection is lost");
}

/* By SQLSTATE, the longest beginning that fits. */
static const struct {
	const char *state;
	enum rc rc;
} meanings[] = {
	/* clang-format off */
	{ "22", RC_INVALID },
	{ "23505", RC_EXISTS },		/* somebody else's at the same moment: again, or apart */
	{ "25006", RC_DENIED },		/* read-only transaction: a replica */
	{ "28", RC_DENIED },
	{ "3D000", RC_NOT_FOUND },
	{ "3F000", RC_NOT_FOUND },
	{ "40P01", RC_EXISTS },
	{ "42501", RC_DENIED },
	{ "42704", RC_NOT_FOUND },
	{ "42883", RC_NOT_FOUND },
	{ "42P01", RC_NOT_FOUND },
	{ "53100", RC_NO_SPACE },
	{ "54", RC_TOO_LARGE },
	{ "55000", RC_DENIED },		/* recovery is in progress */
	{ "58P01", RC_CORRUPT },
	{ "XX001", RC_CORRUPT },
	{ "XX002", RC_CORRUPT },
	/* clang-format on */
};

enum rc ledger_pg_conn_fail(struct ledger_pg_conn *c, const PGresult *r, struct why *why)
{
	const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	if (!state)
		return lost(c, why);
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	enum rc rc = RC_TEMPORARY;
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (!strncmp(state, meanings[i].state, strlen(meanings[i].state)))
			rc = meanings[i].rc;
	const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
	c->refused = severity && !strcmp(severity, "ERROR");
	/* a replica, or a prepared statement that is gone or of another form by now */
	if (!c->refused || !strncmp(state, "26", 2) || !strcmp(state, "0A000") ||
	    !strcmp(state, "25006") || !strcmp(state, "55000"))
		c->lost = true;
	return rc_fail(rc, why, "the ledger's PostgreSQL: %.300s (%s)",
		       primary ? primary : "no reason given", state);
}

/* Until the socket can be read (or written, where there is something to write), or deadline. */
static enum rc wait_socket(struct ledger_pg_conn *c, short events, uint64_t deadline,
			   struct why *why)
{
	struct pollfd p = { .fd = PQsocket(c->pg), .events = events };
	for (;;) {
		uint64_t now = clock_boot_ms();
		int left = now >= deadline	    ? 0
			   : deadline - now > 60000 ? 60000
						    : (int)(deadline - now);
		int n = p.fd < 0 ? -1 : poll(&p, 1, left);
		if (n > 0)
			return RC_OK;
		if (n < 0 && (p.fd < 0 || errno != EINTR))
			return lost(c, why);
		if (n == 0 && clock_boot_ms() >= deadline) {
			c->lost = true;
			return rc_fail(RC_TEMPORARY, why,
				       "the ledger's PostgreSQL does not answer in time");
		}
	}
}

static enum rc flush(struct ledger_pg_conn *c, uint64_t deadline, struct why *why)
{
	int more;
	while ((more = PQflush(c->pg)) > 0) {
		enum rc rc = wait_socket(c, POLLIN | POLLOUT, deadline, why);
		if (rc != RC_OK)
			return rc;
		/*
		 * a server that answers before it read everything must be heard, or neither goes on
		 */
		if (!PQconsumeInput(c->pg))
			return lost(c, why);
	}
	return more < 0 ? lost(c, why) : RC_OK;
}

static enum rc next_result(struct ledger_pg_conn *c, uint64_t deadline, PGresult **out,
			   struct why *why)
{
	while (PQisBusy(c->pg)) {
		enum rc rc = wait_socket(c, POLLIN, deadline, why);
		if (rc != RC_OK)
			return rc;
		if (!PQconsumeInput(c->pg))
			return lost(c, why);
	}
	*out = PQgetResult(c->pg);
	return RC_OK;
}

/*
 * All results up to the end of the statement; the last, or the first that failed. An answer counts
 * only once its end is there.
 */
static enum rc finish(struct ledger_pg_conn *c, uint64_t deadline, PGresult **out, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *kept = NULL;
	bool failed = false;
	for (;;) {
		PGresult *r = NULL;
		enum rc rc = next_result(c, deadline, &r, why);
		if (rc != RC_OK)
			return rc;
		if (!r)
			break;
		bool bad = PQresultStatus(r) != PGRES_TUPLES_OK &&
			   PQresultStatus(r) != PGRES_COMMAND_OK;
		if (failed && !(bad && PQstatus(c->pg) == CONNECTION_BAD)) {
			PQclear(r);
			continue;
		}
		PQclear(kept);
		kept = r;
		failed = bad;
	}
	if (!kept || failed)
		return ledger_pg_conn_fail(c, kept, why);
	if (PQstatus(c->pg) != CONNECTION_OK)
		return lost(c, why);
	if (out)
		*out = TAKE_PTR(kept);
	return RC_OK;
}

static enum rc prepare(struct ledger_pg_conn *c, enum ledger_pg_sql sql, uint64_t deadline,
		       struct why *why)
{
	char name[16];
	if (c->prepared & (UINT64_C(1) << sql))
		return RC_OK;
	snprintf(name, sizeof(name), "evfs%d", (int)sql);
	if (!PQsendPrepare(c->pg, name, ledger_pg_query_texts[sql], 0, NULL))
		return lost(c, why);
	enum rc rc = flush(c, deadline, why);
	if (rc == RC_OK)
		rc = finish(c, deadline, NULL, why);
	if (rc == RC_OK)
		c->prepared |= UINT64_C(1) << sql;
	return rc;
}

static enum rc send_prepared(struct ledger_pg_conn *c, enum ledger_pg_sql sql,
			     const struct ledger_pg_args *a, struct why *why)
{
	const char *values[LEDGER_PG_ARGS_MAX];
	int formats[LEDGER_PG_ARGS_MAX];
	char name[16];
	if (buf_failed(&a->data))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	for (int i = 0; i < a->n; i++) {
		values[i] = a->lens[i] < 0 ? NULL : buf_text(&a->data) + a->at[i];
		formats[i] = 1;
	}
	snprintf(name, sizeof(name), "evfs%d", (int)sql);
	return PQsendQueryPrepared(c->pg, name, a->n, values, a->lens, formats, 1) ? RC_OK
										   : lost(c, why);
}

enum rc ledger_pg_conn_run(struct ledger_pg_conn *c, enum ledger_pg_sql sql,
			   const struct ledger_pg_args *a, uint64_t deadline, PGresult **out,
			   bool *sent, struct why *why)
{
	c->refused = false;
	enum rc rc = prepare(c, sql, deadline, why);
	if (rc == RC_OK)
		rc = send_prepared(c, sql, a, why);
	if (rc != RC_OK)
		return rc;
	if (sent)
		*sent = true;
	rc = flush(c, deadline, why);
	return rc == RC_OK ? finish(c, deadline, out, why) : rc;
}

enum rc ledger_pg_conn_exec(struct ledger_pg_conn *c, const char *text, uint64_t deadline,
			    PGresult **out, struct why *why)
{
	if (!PQsendQuery(c->pg, text))
		return lost(c, why);
	enum rc rc = flush(c, deadline, why);
	return rc == RC_OK ? finish(c, deadline, out, why) : rc;
}

enum rc ledger_pg_conn_ask(struct ledger_pg_conn *c, const char *text, const char *const *values,
			   int n, uint64_t deadline, PGresult **out, struct why *why)
{
	if (!PQsendQueryParams(c->pg, text, n, NULL, values, NULL, NULL, 0))
		return lost(c, why);
	enum rc rc = flush(c, deadline, why);
	return rc == RC_OK ? finish(c, deadline, out, why) : rc;
}

enum rc ledger_pg_conn_start(struct ledger_pg_conn *c, enum ledger_pg_sql sql,
			     const struct ledger_pg_args *a, uint64_t deadline, struct why *why)
{
	c->refused = false;
	enum rc rc = prepare(c, sql, deadline, why);
	if (rc == RC_OK)
		rc = send_prepared(c, sql, a, why);
	if (rc == RC_OK && !PQsetSingleRowMode(c->pg))
		rc = lost(c, why);
	return rc == RC_OK ? flush(c, deadline, why) : rc;
}

enum rc ledger_pg_conn_next(struct ledger_pg_conn *c, uint64_t deadline, PGresult **out,
			    struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	enum rc rc = next_result(c, deadline, &r, why);
	if (rc != RC_OK)
		return rc;
	if (r && PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
		*out = TAKE_PTR(r);
		return RC_OK;
	}
	*out = NULL;
	if (!r || PQresultStatus(r) != PGRES_TUPLES_OK)
		rc = ledger_pg_conn_fail(c, r, why);
	/* to the end of the statement */
	while (!c->lost && r) {
		PQclear(r);
		r = NULL;
		enum rc end = next_result(c, deadline, &r, why);
		if (end != RC_OK)
			return end;
		if (r && rc == RC_OK)
			rc = ledger_pg_conn_fail(c, r, why);
	}
	return rc;
}

void ledger_pg_conn_stop(struct ledger_pg_conn *c)
{
	uint64_t until = clock_boot_ms() + DRAIN_MS;
	for (unsigned n = 1; !c->lost; n++) {
		PGresult *r = NULL;
		if (next_result(c, until, &r, NULL) != RC_OK)
			return;
		if (!r)
			return;
		PQclear(r);
		if (n % 256 == 0 && clock_boot_ms() >= until)
			c->lost = true;
	}
}

static enum rc send_all(struct ledger_pg_conn *c, const enum ledger_pg_sql *sqls,
			const struct ledger_pg_args *args, size_t n, struct why *why)
{
	enum rc rc = RC_OK;
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		rc = send_prepared(c, sqls[i], &args[i], why);
		if (rc == RC_OK && !PQpipelineSync(c->pg))
			rc = lost(c, why);
	}
	return rc;
}

enum rc ledger_pg_conn_pipe(struct ledger_pg_conn *c, const enum ledger_pg_sql *sqls,
			    const struct ledger_pg_args *args, size_t n, uint64_t deadline,
			    struct why *why)
{
	enum rc rc = RC_OK;
	c->refused = false;
	for (size_t i = 0; i < n && rc == RC_OK; i++)
		rc = prepare(c, sqls[i], deadline, why);
	if (rc == RC_OK && !PQenterPipelineMode(c->pg))
		rc = lost(c, why);
	if (rc != RC_OK)
		return rc;
	c->piped = n;
	rc = send_all(c, sqls, args, n, why);
	if (rc == RC_OK)
		rc = flush(c, deadline, why);
	if (rc != RC_OK)
		c->lost = true; /* some of them may be under way */
	return rc;
}

/* The end of one of them, after its results. */
static enum rc pipe_sync(struct ledger_pg_conn *c, uint64_t deadline, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	enum rc rc = next_result(c, deadline, &r, why);
	if (rc == RC_OK && (!r || PQresultStatus(r) != PGRES_PIPELINE_SYNC))
		rc = lost(c, why);
	c->piped--;
	return rc;
}

enum rc ledger_pg_conn_pipe_answer(struct ledger_pg_conn *c, uint64_t deadline, PGresult **out,
				   struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	enum rc rc = finish(c, deadline, &r, why);
	enum rc end = c->lost ? rc : pipe_sync(c, deadline, why);
	if (rc != RC_OK || end != RC_OK)
		return rc != RC_OK ? rc : end;
	*out = TAKE_PTR(r);
	return RC_OK;
}

enum rc ledger_pg_conn_pipe_rows(struct ledger_pg_conn *c, struct why *why)
{
	return PQsetSingleRowMode(c->pg) ? RC_OK : lost(c, why);
}

void ledger_pg_conn_pipe_end(struct ledger_pg_conn *c)
{
	uint64_t until = clock_boot_ms() + DRAIN_MS;
	for (unsigned n = 1; !c->lost && c->piped; n++) {
		PGresult *r = NULL;
		if (next_result(c, until, &r, NULL) != RC_OK)
			c->lost = true;
		else if (PQresultStatus(r) == PGRES_PIPELINE_SYNC)
			c->piped--;
		PQclear(r);
		if (n % 256 == 0 && clock_boot_ms() >= until)
			c->lost = true;
	}
	c->piped = 0;
	if (!c->lost && !PQexitPipelineMode(c->pg))
		c->lost = true;
}

enum rc ledger_pg_conn_patience(struct ledger_pg_conn *c, bool patient, uint64_t timeout_ms,
				uint64_t deadline, struct why *why)
{
	char text[64];
	if (c->patient == patient)
		return RC_OK;
	/* the server gives up first: then it is known that nothing happened */
	snprintf(text, sizeof(text), "SET statement_timeout = %" PRIu64,
		 patient ? 0 : timeout_ms - timeout_ms / 4);
	enum rc rc = ledger_pg_conn_exec(c, text, deadline, NULL, why);
	if (rc == RC_OK)
		c->patient = patient;
	return rc;
}

bool ledger_pg_conn_is_up(struct ledger_pg_conn *c)
{
	struct pollfd p = { .fd = PQsocket(c->pg), .events = POLLIN };
	if (c->lost || p.fd < 0 || PQstatus(c->pg) != CONNECTION_OK)
		return false;
	if (poll(&p, 1, 0) <= 0)
		return true;
	/* a word that nobody asked for: a setting that was changed, or the end */
	return PQconsumeInput(c->pg) && PQstatus(c->pg) == CONNECTION_OK && poll(&p, 1, 0) == 0;
}

void ledger_pg_conn_free(struct ledger_pg_conn **cp)
{
	struct ledger_pg_conn *c = cp ? *cp : NULL;
	if (!c)
		return;
	PQfinish(c->pg);
	free(c->prefix);
	free(c->middle);
	free(c);
	*cp = NULL;
}

/* ---- connecting ---- */

static enum rc fail_connect(struct ledger_pg_conn *c, struct why *why)
{
	char text[300];
	one_line(text, sizeof(text), PQerrorMessage(c->pg));
	bool denied =
		strstr(text, "authentication failed") || strstr(text, "no pg_hba.conf entry") ||
		strstr(text, "no password supplied") ||
		(strstr(text, "role \"") && strstr(text, "does not exist")) ||
		strstr(text, "permission denied") || strstr(text, "is not permitted to log in");
	/*
	 * Nothing that init could make: a name that was mistyped must not become a store without
	 * ledger.
	 */
	bool unknown = strstr(text, "database \"") && strstr(text, "does not exist");
	return rc_fail(denied	 ? RC_DENIED
		       : unknown ? RC_INVALID
				 : RC_TEMPORARY,
		       why, "can't reach the ledger's PostgreSQL: %s", text);
}

/* What libpq says of a conninfo that it can't read may quote it, so it is not repeated. */
static enum rc check_conninfo(const char *conninfo, struct why *why)
{
	char *error = NULL;
	if (!strstr(conninfo, "://") && !strchr(conninfo, '='))
		return RC_OK;
	PQconninfoOption *options = PQconninfoParse(conninfo, &error);
	PQfreemem(error);
	if (!options)
		return rc_fail(RC_INVALID, why,
			       "the ledger's address is no connection string of PostgreSQL");
	PQconninfoFree(options);
	return RC_OK;
}

static void no_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

static enum rc connect(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
		       uint64_t deadline, struct why *why)
{
	char user_timeout[24];
	snprintf(user_timeout, sizeof(user_timeout), "%" PRIu64, o->timeout_ms);
	/* what stands before dbname may be overridden by it */
	const char *names[] = { "keepalives_idle",	     "keepalives_interval",
				"keepalives_count",	     "tcp_user_timeout",
				"fallback_application_name", "dbname",
				"client_encoding",	     NULL };
	const char *values[] = { "5", "2", "3", user_timeout, "evfs", o->conninfo, "UTF8", NULL };
	enum rc rc = check_conninfo(o->conninfo, why);
	if (rc != RC_OK)
		return rc;
	c->pg = PQconnectStartParams(names, values, 1);
	if (!c->pg)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	PQsetNoticeReceiver(c->pg, no_notice, NULL);
	PostgresPollingStatusType wants = PGRES_POLLING_WRITING;
	while (PQstatus(c->pg) != CONNECTION_BAD) {
		rc = wait_socket(c, wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline,
				 why);
		if (rc != RC_OK)
			return rc;
		wants = PQconnectPoll(c->pg);
		if (wants == PGRES_POLLING_OK) {
			PQsetnonblocking(c->pg, 1);
			return RC_OK;
		}
		if (wants == PGRES_POLLING_FAILED)
			break;
	}
	return fail_connect(c, why);
}

/*
 * Everything that the functions count on: where names are looked up, a snapshot per statement,
 * commits that are on the disk, plans that were made once and use the indexes whatever the tables
 * held then. synchronous_commit stays where it is stronger.
 */
static const char setup[] =
	"SELECT set_config('default_transaction_isolation', 'read committed', false),"
	" set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN"
	" 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),"
	" set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false),"
	" set_config('idle_in_transaction_session_timeout', $2, false),"
	" set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2',"
	" false),"
	" set_config('tcp_keepalives_count', '3', false),"
	" set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off',"
	" false),"
	" set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),"
	" set_config('enable_mergejoin', 'off', false),"
	" set_config('max_parallel_workers_per_gather', '0', false),"
	" CASE WHEN $3 <> '' THEN set_config('search_path', 'pg_catalog, ' || quote_ident($3) || ',"
	" pg_temp', false) END,"
	" s.system_identifier, d.oid, current_setting('server_version_num'), pg_is_in_recovery(),"
	" current_setting('fsync'), current_setting('full_page_writes'),"
	" current_setting('synchronous_commit'),"
	" current_setting('server_encoding'), current_setting('transaction_read_only'),"
	" current_user, coalesce((SELECT nspname FROM pg_namespace WHERE nspname = $3), '')"
	" FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()";
enum {
	SETUP_SYSTEM = 15,
	SETUP_DATABASE,
	SETUP_VERSION,
	SETUP_STANDBY,
	SETUP_FSYNC,
	SETUP_PAGES,
	SETUP_COMMIT,
	SETUP_ENCODING,
	SETUP_READ_ONLY,
	SETUP_USER,
	SETUP_SCHEMA
};

static void keep(char *out, size_t size, const PGresult *r, int column)
{
	snprintf(out, size, "%s", PQgetvalue(r, 0, column));
}

static enum rc set_up(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
		      uint64_t deadline, struct ledger_pg_facts *f, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	char patience[24], idle[24];
	snprintf(patience, sizeof(patience), "%" PRIu64, o->timeout_ms - o->timeout_ms / 4);
	snprintf(idle, sizeof(idle), "%" PRIu64, o->timeout_ms);
	const char *values[] = { patience, idle, o->schema ? o->schema : "" };
	enum rc rc = ledger_pg_conn_ask(c, setup, values, 3, deadline, &r, why);
	if (rc != RC_OK)
		return rc;
	if (PQntuples(r) != 1)
		return lost(c, why);
	if (asprintf(&c->prefix, "pg %s/", PQgetvalue(r, 0, SETUP_SYSTEM)) < 0)
		c->prefix = NULL;
	if (asprintf(&c->middle, "/%s/", PQgetvalue(r, 0, SETUP_DATABASE)) < 0)
		c->middle = NULL;
	if (!c->prefix || !c->middle)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	if (!f)
		return RC_OK;
	memset(f, 0, sizeof(*f));
	f->version = atoi(PQgetvalue(r, 0, SETUP_VERSION));
	f->standby = *PQgetvalue(r, 0, SETUP_STANDBY) == 't';
	f->ssl = PQsslInUse(c->pg);
	keep(f->fsync, sizeof(f->fsync), r, SETUP_FSYNC);
	keep(f->full_page_writes, sizeof(f->full_page_writes), r, SETUP_PAGES);
	keep(f->synchronous_commit, sizeof(f->synchronous_commit), r, SETUP_COMMIT);
	keep(f->encoding, sizeof(f->encoding), r, SETUP_ENCODING);
	keep(f->read_only, sizeof(f->read_only), r, SETUP_READ_ONLY);
	keep(f->user, sizeof(f->user), r, SETUP_USER);
	keep(f->schema, sizeof(f->schema), r, SETUP_SCHEMA);
	return RC_OK;
}

enum rc ledger_pg_conn_new(struct ledger_pg_conn **out, const struct ledger_pg_options *o,
			   uint64_t deadline, struct ledger_pg_facts *facts, struct why *why)
{
	_cleanup_(ledger_pg_conn_free) struct ledger_pg_conn *c = calloc(1, sizeof(*c));
	if (!c)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	enum rc rc = connect(c, o, deadline, why);
	if (rc == RC_OK)
		rc = set_up(c, o, deadline, facts, why);
	if (rc != RC_OK)
		return rc;
	*out = TAKE_PTR(c);
	return RC_OK;
}
