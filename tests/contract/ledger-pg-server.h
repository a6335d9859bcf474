/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the PostgreSQL ledger: a schema of its own, made with the rights of EVFS_PG_URL, dropped afterwards; the ledger is opened as
 * EVFS_PG_APPENDER_URL says, else by the role evfs_appender where that is. Failures end the test.
 */
#ifndef EVFS_TESTS_LEDGER_PG_SERVER_H
#define EVFS_TESTS_LEDGER_PG_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledger/ledger.h"

struct pg_server {
	PGconn *admin;			/* its search_path is the schema */
	char schema[64], conninfo[600], owner[600];
	struct ledger_pg_options options;	/* to open with */
};

bool pg_server_is_there(void);
/* The schema and the store's tables. */
void pg_server_make(struct pg_server *s, const char *uuid);
/* The ledger's clock is what pg_server_set_clock says. */
void pg_server_own_clock(struct pg_server *s);
void pg_server_set_clock(struct pg_server *s, int64_t us);
/* Statements that must succeed; %s is the schema. The result's first value, "" for none. */
const char *pg_server_do(struct pg_server *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pg_server_drop(struct pg_server *s);

#endif
