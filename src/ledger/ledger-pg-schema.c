/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-schema.c - making a store's schema, telling whether one is there, emptying it. */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { IS_VERSION, IS_UUID, IS_PLACE };

static bool is_null(const PGresult *r, int column)
{
	return !PQntuples(r) || PQgetisnull(r, 0, column);
}

/* The schema as it is: RC_NOT_FOUND: no tables of evfs. */
static enum rc look(struct ledger_pg_conn *c, const struct ledger_pg_options *o, uint64_t deadline,
		    PGresult **out, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *there = NULL;
	const char *schema[] = { o->schema };
	enum rc rc = ledger_pg_conn_ask(
		c,
		"SELECT has_schema_privilege(oid, 'USAGE'), to_regclass(quote_ident($1) ||"
		" '.store') IS NOT NULL"
		" AND to_regclass(quote_ident($1) || '.version') IS NOT NULL FROM pg_namespace"
		" WHERE nspname = $1",
		schema, 1, deadline, &there, why);
	if (rc != RC_OK)
		return rc;
	if (!PQntuples(there))
		return rc_fail(RC_NOT_FOUND, why,
			       "no schema '%s' in the database '%s'; 'evfsctl init' makes it",
			       o->schema, PQdb(c->pg));
	if (*PQgetvalue(there, 0, 0) != 't')
		return rc_fail(RC_DENIED, why, "the role '%s' may not use the schema '%s'",
			       PQuser(c->pg), o->schema);
	if (*PQgetvalue(there, 0, 1) != 't')
		return rc_fail(
			RC_NOT_FOUND, why,
			"no ledger in the schema '%s' of the database '%s'; 'evfsctl init' makes"
			" it",
			o->schema, PQdb(c->pg));
	rc = ledger_pg_conn_ask(
		c, "SELECT v.number, o.uuid, o.place FROM version v LEFT JOIN store o ON true",
		NULL, 0, deadline, out, why);
	if (rc == RC_OK && atoi(PQgetvalue(*out, 0, IS_VERSION)) > LEDGER_PG_SCHEMA_VERSION)
		rc = rc_fail(
			RC_INVALID, why,
			"the schema '%s' has version %s, which is newer than this evfs: it knows"
			" %d",
			o->schema, PQgetvalue(*out, 0, IS_VERSION), LEDGER_PG_SCHEMA_VERSION);
	return rc;
}

static enum rc same_store(const PGresult *r, const struct ledger_pg_options *o, struct why *why)
{
	if (o->uuid && strcmp(o->uuid, PQgetvalue(r, 0, IS_UUID)))
		return rc_fail(RC_INVALID, why,
			       "the schema '%s' belongs to store %s, this is store %s", o->schema,
			       PQgetvalue(r, 0, IS_UUID), o->uuid);
	if (o->place && strcmp(o->place, PQgetvalue(r, 0, IS_PLACE)))
		return rc_fail(RC_INVALID, why,
			       "the schema '%s' belongs to the store at '%s', this one is at '%s'",
			       o->schema, PQgetvalue(r, 0, IS_PLACE), o->place);
	return RC_OK;
}

enum rc ledger_pg_schema_check(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
			       uint64_t deadline, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	enum rc rc = look(c, o, deadline, &r, why);
	if (rc != RC_OK)
		return rc;
	if (atoi(PQgetvalue(r, 0, IS_VERSION)) < LEDGER_PG_SCHEMA_VERSION)
		return rc_fail(
			RC_INVALID, why,
			"the schema '%s' has version %s, this evfs needs %d; 'evfsctl init'"
			" upgrades it",
			o->schema, PQgetvalue(r, 0, IS_VERSION), LEDGER_PG_SCHEMA_VERSION);
	if (is_null(r, IS_UUID))
		return rc_fail(RC_NOT_FOUND, why,
			       "no store in the schema '%s'; 'evfsctl init' makes it", o->schema);
	return same_store(r, o, why);
}

static enum rc exec(struct ledger_pg_conn *c, const char *text, uint64_t deadline, struct why *why)
{
	return ledger_pg_conn_exec(c, text, deadline, NULL, why);
}

static enum rc make_schema(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
			   uint64_t deadline, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *there = NULL;
	const char *schema[] = { o->schema };
	enum rc rc = ledger_pg_conn_ask(c, "SELECT 1 FROM pg_namespace WHERE nspname = $1", schema,
					1, deadline, &there, why);
	if (rc != RC_OK || PQntuples(there))
		return rc;
	char text[200], *quoted = PQescapeIdentifier(c->pg, o->schema, strlen(o->schema));
	if (!quoted)
		return rc_fail(RC_INVALID, why, "'%s' can't be the name of a schema", o->schema);
	int n = snprintf(text, sizeof(text), "CREATE SCHEMA %s", quoted);
	PQfreemem(quoted);
	if (n >= (int)sizeof(text))
		return rc_fail(RC_INVALID, why, "'%s' can't be the name of a schema", o->schema);
	return exec(c, text, deadline, why);
}

/*
 * Where only names in the schema itself may be made: not with pg_catalog before it, where CREATE
 * would go. Functions come after the tables that they name.
 */
static enum rc make_tables(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
			   uint64_t deadline, struct why *why)
{
	const char *schema[] = { o->schema };
	enum rc rc = make_schema(c, o, deadline, why);
	if (rc == RC_OK)
		rc = ledger_pg_conn_ask(c,
					"SELECT set_config('search_path', quote_ident($1), true)",
					schema, 1, deadline, NULL, why);
	if (rc == RC_OK)
		rc = exec(c, ledger_pg_sql_tables, deadline, why);
	if (rc == RC_OK)
		rc = exec(c, ledger_pg_sql_functions, deadline, why);
	if (rc == RC_OK)
		rc = exec(c, ledger_pg_sql_reseed, deadline, why);
	if (rc == RC_OK)
		rc = exec(c, ledger_pg_sql_horizon, deadline, why);
	if (rc == RC_OK)
		rc = exec(c, ledger_pg_sql_grants, deadline, why);
	return rc;
}

static enum rc write_store(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
			   uint64_t deadline, struct why *why)
{
	const char *values[] = { o->schema, o->uuid, o->place };
	enum rc rc =
		ledger_pg_conn_ask(c, "SELECT set_config('search_path', quote_ident($1), true)",
				   values, 1, deadline, NULL, why);
	return rc == RC_OK ? ledger_pg_conn_ask(c, "INSERT INTO store(uuid, place) VALUES ($1, $2)",
						values + 1, 2, deadline, NULL, why)
			   : rc;
}

static enum rc create(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
		      uint64_t deadline, struct why *why)
{
	_cleanup_(ledger_pg_result_freep) PGresult *r = NULL;
	/* one at a time: two that make the same schema would both fail */
	enum rc rc =
		exec(c, "BEGIN; SELECT pg_advisory_xact_lock(7378413942531504492)", deadline, why);
	if (rc != RC_OK)
		return rc;
	rc = look(c, o, deadline, &r, why);
	if (rc == RC_NOT_FOUND)
		rc = make_tables(c, o, deadline, why);
	if (rc == RC_OK && !is_null(r, IS_UUID)) {
		rc = same_store(r, o, why);
		return rc == RC_OK ? rc_fail(RC_EXISTS, why,
					     "this store is in the schema '%s' already", o->schema)
				   : rc;
	}
	if (rc == RC_OK)
		rc = write_store(c, o, deadline, why);
	return rc == RC_OK ? exec(c, "COMMIT", deadline, why) : rc;
}

/* With time for what is only done once. */
static enum rc connect(struct ledger_pg_conn **out, const struct ledger_pg_options *o,
		       uint64_t *deadline, struct why *why)
{
	struct ledger_pg_facts facts;
	*deadline = clock_boot_ms() + o->timeout_ms;
	enum rc rc = ledger_pg_conn_new(out, o, *deadline, &facts, why);
	if (rc == RC_OK)
		rc = ledger_pg_check_facts(&facts, NULL, why);
	*deadline += 60000;
	return rc == RC_OK ? ledger_pg_conn_patience(*out, true, 0, *deadline, why) : rc;
}

enum rc ledger_pg_create(const struct ledger_pg_options *given, struct why *why)
{
	_cleanup_(ledger_pg_conn_free) struct ledger_pg_conn *c = NULL;
	struct ledger_pg_options o = ledger_pg_defaults(given);
	uint64_t deadline;
	if (!o.uuid || !o.place)
		return rc_fail(RC_INVALID, why, "a store needs an id and a place");
	enum rc rc = connect(&c, &o, &deadline, why);
	return rc == RC_OK ? create(c, &o, deadline, why) : rc;
}

enum rc ledger_pg_clear(const struct ledger_pg_options *given, struct why *why)
{
	_cleanup_(ledger_pg_conn_free) struct ledger_pg_conn *c = NULL;
	struct ledger_pg_options o = ledger_pg_defaults(given);
	uint64_t deadline;
	enum rc rc = connect(&c, &o, &deadline, why);
	if (rc == RC_OK)
		rc = ledger_pg_schema_check(c, &o, deadline, why);
	/* in the order in which appends lock them */
	if (rc == RC_OK)
		rc = exec(
			c,
			"BEGIN; LOCK TABLE pending IN ACCESS EXCLUSIVE MODE; TRUNCATE pending,"
			" leases, seeding, streams, events, bodies;"
			" DELETE FROM store; INSERT INTO seeding DEFAULT VALUES; COMMIT",
			deadline, why);
	return rc;
}
