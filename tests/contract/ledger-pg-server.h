/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the PostgreSQL ledger: a schema of its own in the server of EVFS_PG_URL, made as
 * EVFS_PG_OWNER_URL says if it does, dropped afterwards; the ledger is opened as
 * EVFS_PG_APPENDER_URL says, else by the role evfs_appender where that is. Failures end the test.
 */
#ifndef EVFS_TESTS_LEDGER_PG_SERVER_H
#define EVFS_TESTS_LEDGER_PG_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledger/ledger.h"

#define PG_SERVER_URL_MAX 600

struct pg_server {
	PGconn *admin; /* its search_path is the schema */
	char schema[64], conninfo[PG_SERVER_URL_MAX], owner[PG_SERVER_URL_MAX];
	struct ledger_pg_options options; /* to open with */
};

bool pg_server_is_there(void);
/* The schema and the store's tables. */
void pg_server_make(struct pg_server *s, const char *uuid);
/* How `appender`, `reader` or `owner` logs in. */
void pg_server_role(struct pg_server *s, const char *role, char out[PG_SERVER_URL_MAX]);
/* The ledger's clock is what pg_server_set_clock says. */
void pg_server_own_clock(struct pg_server *s);
void pg_server_set_clock(struct pg_server *s, int64_t us);
/* Statements that must succeed; %s is the schema. The result's first value, "" for none. */
const char *pg_server_do(struct pg_server *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void pg_server_drop(struct pg_server *s);

#endif
