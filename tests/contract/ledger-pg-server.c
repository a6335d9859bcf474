/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-server.c - a schema in the server of EVFS_PG_URL for one test. */
#include "config.h"
#include "ledger-pg-server.h"

#include <check.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const char *url(void)
{
	const char *text = getenv("EVFS_PG_URL");
	return text && *text ? text : NULL;
}

bool pg_server_is_there(void)
{
	return url() != NULL;
}

const char *pg_server_do(struct pg_server *s, const char *format, ...)
{
	static char value[300];
	char text[2000];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	PGresult *r = PQexec(s->admin, text);
	ck_assert_msg(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK,
		      "%s: %s", text, PQerrorMessage(s->admin));
	snprintf(value, sizeof(value), "%s", PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return value;
}

void pg_server_role(struct pg_server *s, const char *role, char out[PG_SERVER_URL_MAX])
{
	char name[64];
	snprintf(name, sizeof(name), "EVFS_PG_%s_URL", role);
	for (char *p = name; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	const char *own = getenv(name);
	if (own && *own)
		snprintf(out, PG_SERVER_URL_MAX, "%s", own);
	else if (*pg_server_do(s, "SELECT 1 FROM pg_roles WHERE rolname = 'evfs_%s'", role))
		snprintf(out, PG_SERVER_URL_MAX, "%s%soptions=-crole%%3Devfs_%s", url(),
			 strchr(url(), '?') ? "&" : "?", role);
	else
		snprintf(out, PG_SERVER_URL_MAX, "%s", url());
}

void pg_server_make(struct pg_server *s, const char *uuid)
{
	char name[37];
	struct why why = { "" };
	clock_uuid(name);
	memset(s, 0, sizeof(*s));
	snprintf(s->schema, sizeof(s->schema), "test_%.8s%.4s%.12s", name, name + 9, name + 24);
	s->admin = PQconnectdb(url());
	ck_assert_msg(PQstatus(s->admin) == CONNECTION_OK, "EVFS_PG_URL: %s",
		      PQerrorMessage(s->admin));
	PQclear(PQexec(s->admin, "SET client_min_messages = warning"));
	const char *owner = getenv("EVFS_PG_OWNER_URL");
	snprintf(s->owner, sizeof(s->owner), "%s", owner && *owner ? owner : url());
	s->options = (struct ledger_pg_options){ .conninfo = s->owner,
						 .schema = s->schema,
						 .uuid = uuid,
						 .place = "s3://test/prefix",
						 .timeout_ms = 10000 };
	enum rc rc = ledger_pg_create(&s->options, &why);
	ck_assert_msg(rc == RC_OK, "%s", why.text);
	pg_server_role(s, "appender", s->conninfo);
	size_t len = strlen(s->conninfo); /* so that a test tells its own sessions */
	snprintf(s->conninfo + len, sizeof(s->conninfo) - len, "%sapplication_name=%s",
		 strchr(s->conninfo, '?') ? "&" : "?", s->schema);
	s->options.conninfo = s->conninfo;
	pg_server_do(s, "SET search_path = %s", s->schema);
}

void pg_server_own_clock(struct pg_server *s)
{
	pg_server_do(
		s,
		"CREATE TABLE test_clock(us bigint); INSERT INTO test_clock VALUES (0); GRANT"
		" SELECT ON test_clock TO PUBLIC;"
		" CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql VOLATILE AS"
		" 'SELECT us FROM test_clock'");
}

void pg_server_set_clock(struct pg_server *s, int64_t us)
{
	pg_server_do(s, "UPDATE test_clock SET us = %lld", (long long)us);
}

void pg_server_drop(struct pg_server *s)
{
	pg_server_do(s, "SET client_min_messages = warning; DROP SCHEMA %s CASCADE", s->schema);
	PQfinish(s->admin);
}
