/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-check.c - whether a server can be trusted with a ledger, and what doctor says of it. */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

static bool is(const char *setting, const char *value)
{
	return !strcmp(setting, value);
}

enum rc ledger_pg_check_facts(const struct ledger_pg_facts *f, struct why *warning, struct why *why)
{
	if (f->version < LEDGER_PG_SERVER_MIN)
		return rc_fail(RC_INVALID, why,
			       "the ledger's PostgreSQL is version %d.%d, evfs needs %d",
			       f->version / 10000, f->version % 10000,
			       LEDGER_PG_SERVER_MIN / 10000);
	if (f->standby)
		return rc_fail(
			RC_DENIED, why,
			"the ledger's PostgreSQL is a read-only replica; name the primary, or all"
			" with target_session_attrs=read-write");
	if (!is(f->fsync, "on"))
		return rc_fail(
			RC_DENIED, why,
			"the ledger's PostgreSQL runs with fsync=off: a crash may lose what was"
			" answered");
	if (!is(f->full_page_writes, "on"))
		return rc_fail(
			RC_DENIED, why,
			"the ledger's PostgreSQL runs with full_page_writes=off: a crash may damage"
			" what was answered");
	if (!is(f->encoding, "UTF8"))
		return rc_fail(RC_INVALID, why,
			       "the ledger's database has the encoding %s, evfs needs UTF8",
			       f->encoding);
	if (!is(f->synchronous_commit, "on") && !is(f->synchronous_commit, "remote_apply"))
		return rc_fail(RC_DENIED, why,
			       "the ledger's PostgreSQL keeps synchronous_commit=%s",
			       f->synchronous_commit);
	if (warning && is(f->read_only, "on"))
		rc_fail(RC_OK, warning,
			"the ledger's role reads only (default_transaction_read_only): no append"
			" will be taken");
	return RC_OK;
}

/* What doctor asks, one after another. */
struct check {
	ledger_check_fn *fn;
	void *arg;
};

static void say(const struct check *k, const char *name, enum rc rc, const char *found,
		const char *fix)
{
	k->fn(k->arg, name, rc, found, rc == RC_OK ? "" : fix);
}

static void check_setting(const struct check *k, const char *name, const char *value,
			  const char *fix)
{
	say(k, name, is(value, "on") || is(value, "remote_apply") ? RC_OK : RC_DENIED, value, fix);
}

static void check_server(const struct check *k, const struct ledger_pg_conn *c,
			 const struct ledger_pg_facts *f)
{
	char found[200];
	snprintf(found, sizeof(found), "version %d.%d at %s:%s, database %s, role %s",
		 f->version / 10000, f->version % 10000, PQhost(c->pg), PQport(c->pg), PQdb(c->pg),
		 f->user);
	say(k, "ledger server", f->version >= LEDGER_PG_SERVER_MIN ? RC_OK : RC_INVALID, found,
	    "upgrade PostgreSQL to 14 or later");
	bool local = PQhost(c->pg) && (PQhost(c->pg)[0] == '/' || is(PQhost(c->pg), "localhost") ||
				       !strncmp(PQhost(c->pg), "127.", 4));
	say(k, "ledger TLS", f->ssl || local ? RC_OK : RC_DENIED,
	    f->ssl  ? "on"
	    : local ? "off, on this machine"
		    : "off",
	    "add sslmode=verify-full to the ledger's address");
	say(k, "ledger primary", f->standby ? RC_DENIED : RC_OK,
	    f->standby ? "a read-only replica" : "yes",
	    "name the primary, or all servers with target_session_attrs=read-write");
	check_setting(k, "ledger fsync", f->fsync, "set fsync = on in postgresql.conf");
	check_setting(k, "ledger full_page_writes", f->full_page_writes,
		      "set full_page_writes = on in postgresql.conf");
	check_setting(k, "ledger synchronous_commit", f->synchronous_commit,
		      "set synchronous_commit = on for this role");
	say(k, "ledger encoding", is(f->encoding, "UTF8") ? RC_OK : RC_INVALID, f->encoding,
	    "make the database with ENCODING 'UTF8'");
}

static const char rights[] =
	"SELECT string_agg(x.need || ' on ' || x.name, ', ') FROM (VALUES"
	" ('SELECT', 'store'), ('SELECT', 'version'), ('SELECT', 'seeding'), ('UPDATE', 'seeding'),"
	" ('INSERT', 'streams'), ('UPDATE', 'streams'), ('DELETE', 'streams'), ('INSERT',"
	" 'events'), ('UPDATE', 'events'), ('DELETE', 'events'),"
	" ('INSERT', 'bodies'), ('UPDATE', 'bodies'), ('DELETE', 'bodies'), ('INSERT', 'pending'),"
	" ('UPDATE', 'pending'), ('DELETE', 'pending')"
	") x(need, name) WHERE NOT has_table_privilege(x.name, x.need)";

static void check_rights(const struct check *k, struct ledger_pg_conn *c, uint64_t deadline)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	struct why why = { "" };
	char found[300];
	enum rc rc = ledger_pg_conn_ask(c, rights, NULL, 0, deadline, &r, &why);
	if (rc == RC_OK && PQgetisnull(r, 0, 0)) {
		say(k, "ledger rights", RC_OK, "all that an append needs", "");
		return;
	}
	snprintf(found, sizeof(found), "%s%.250s", rc == RC_OK ? "missing: " : "",
		 rc == RC_OK ? PQgetvalue(r, 0, 0) : why.text);
	say(k, "ledger rights", rc == RC_OK ? RC_DENIED : rc, found,
	    "run contrib/sql/roles.sql and 'GRANT evfs_appender TO' the role (a mere reader needs"
		" no more)");
}

static void check_identity(const struct check *k, struct ledger_pg_conn *c, uint64_t deadline)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	struct why why = { "" };
	const char *values[] = { c->prefix, c->middle };
	enum rc rc = ledger_pg_conn_ask(
		c, "SELECT identity($1, $2, o.xmin), g.identity FROM store o, seeding g", values, 2,
		deadline, &r, &why);
	if (rc != RC_OK) {
		say(k, "ledger identity", rc, why.text, "run 'evfsctl init'");
		return;
	}
	const char *now = PQgetvalue(r, 0, 0), *written = PQgetvalue(r, 0, 1);
	bool same = is(now, written);
	char found[2 * LEDGER_IDENTITY_MAX + 40];
	snprintf(found, sizeof(found),
		 same	      ? "%.200s"
		 : written[0] ? "%.200s, seeded as %.200s"
			      : "%.200s, not seeded",
		 now, written);
	say(k, "ledger identity", same ? RC_OK : RC_FENCED, found,
	    "mount the store: it seeds the ledger anew");
}

void ledger_pg_check(const struct ledger_pg_options *given, ledger_check_fn *fn, void *arg)
{
	_cleanup_(ledger_pg_conn_free) struct ledger_pg_conn *c = NULL;
	struct ledger_pg_options o = ledger_pg_defaults(given);
	struct ledger_pg_facts facts;
	struct check k = { fn, arg };
	struct why why = { "" };
	uint64_t deadline = clock_boot_ms() + o.timeout_ms;
	enum rc rc = ledger_pg_conn_new(&c, &o, deadline, &facts, &why);
	if (rc != RC_OK) {
		say(&k, "ledger server", rc, why.text,
		    "check POSTGRES_URL (or ledger=, PG*), the server and its pg_hba.conf");
		return;
	}
	check_server(&k, c, &facts);
	rc = ledger_pg_schema_check(c, &o, deadline, &why);
	say(&k, "ledger schema", rc, rc == RC_OK ? o.schema : why.text,
	    "run 'evfsctl init', or name the right schema with -o schema=");
	if (rc != RC_OK)
		return;
	check_rights(&k, c, deadline);
	check_identity(&k, c, deadline);
}
