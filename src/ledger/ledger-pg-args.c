/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-pg-args.c - parameters and columns in PostgreSQL's binary format: big endian, arrays with
 * a head of their own.
 */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

void ledger_pg_args_release(struct ledger_pg_args *a)
{
	buf_release(&a->data);
}

static void begin(struct ledger_pg_args *a)
{
	assert(a->n < LEDGER_PG_ARGS_MAX);
	a->at[a->n] = a->data.len;
}

static void end(struct ledger_pg_args *a)
{
	a->lens[a->n] = (int)(a->data.len - a->at[a->n]);
	a->n++;
}

static void add_int4(struct ledger_pg_args *a, int32_t value)
{
	uint32_t big = htobe32((uint32_t)value);
	buf_add(&a->data, &big, sizeof(big));
}

static void add_int8(struct ledger_pg_args *a, int64_t value)
{
	uint64_t big = htobe64((uint64_t)value);
	buf_add(&a->data, &big, sizeof(big));
}

void ledger_pg_args_null(struct ledger_pg_args *a)
{
	begin(a);
	a->lens[a->n++] = -1;
}

void ledger_pg_args_bool(struct ledger_pg_args *a, bool value)
{
	begin(a);
	buf_add_char(&a->data, value);
	end(a);
}

void ledger_pg_args_int4(struct ledger_pg_args *a, int32_t value)
{
	begin(a);
	add_int4(a, value);
	end(a);
}

void ledger_pg_args_int8(struct ledger_pg_args *a, int64_t value)
{
	begin(a);
	add_int8(a, value);
	end(a);
}

void ledger_pg_args_bytes(struct ledger_pg_args *a, const void *p, size_t len)
{
	begin(a);
	buf_add(&a->data, p, len);
	end(a);
}

void ledger_pg_args_text(struct ledger_pg_args *a, const char *text)
{
	if (text)
		ledger_pg_args_bytes(a, text, strlen(text));
	else
		ledger_pg_args_null(a);
}

void ledger_pg_args_array(struct ledger_pg_args *a, enum ledger_pg_type type, size_t n)
{
	begin(a);
	add_int4(a, n ? 1 : 0); /* dimensions */
	add_int4(a, 1); /* there may be nulls */
	add_int4(a, type);
	if (n) {
		add_int4(a, (int32_t)n);
		add_int4(a, 1); /* the first one's number */
	}
}

void ledger_pg_args_item_null(struct ledger_pg_args *a)
{
	add_int4(a, -1);
}

void ledger_pg_args_item_bool(struct ledger_pg_args *a, bool value)
{
	add_int4(a, 1);
	buf_add_char(&a->data, value);
}

void ledger_pg_args_item_int4(struct ledger_pg_args *a, int32_t value)
{
	add_int4(a, sizeof(value));
	add_int4(a, value);
}

void ledger_pg_args_item_int8(struct ledger_pg_args *a, int64_t value)
{
	add_int4(a, sizeof(value));
	add_int8(a, value);
}

void ledger_pg_args_item(struct ledger_pg_args *a, const void *p, size_t len)
{
	add_int4(a, (int32_t)len);
	buf_add(&a->data, p, len);
}

void ledger_pg_args_end(struct ledger_pg_args *a)
{
	end(a);
}

int32_t ledger_pg_args_get_int4(const PGresult *r, int row, int column)
{
	uint32_t big = 0;
	if (PQgetlength(r, row, column) == sizeof(big))
		memcpy(&big, PQgetvalue(r, row, column), sizeof(big));
	return (int32_t)be32toh(big);
}

int64_t ledger_pg_args_get_int8(const PGresult *r, int row, int column)
{
	uint64_t big = 0;
	if (PQgetlength(r, row, column) == sizeof(big))
		memcpy(&big, PQgetvalue(r, row, column), sizeof(big));
	return (int64_t)be64toh(big);
}

bool ledger_pg_args_get_bool(const PGresult *r, int row, int column)
{
	return PQgetlength(r, row, column) == 1 && *PQgetvalue(r, row, column);
}

const char *ledger_pg_args_get_text(const PGresult *r, int row, int column)
{
	return PQgetisnull(r, row, column) ? NULL : PQgetvalue(r, row, column);
}

const char *ledger_pg_args_get_bytes(const PGresult *r, int row, int column, size_t *len_r)
{
	*len_r = (size_t)PQgetlength(r, row, column);
	return ledger_pg_args_get_text(r, row, column);
}
