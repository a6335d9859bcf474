/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-query.c - the texts of the prepared statements. */
#include "config.h"
#include "ledger/ledger-pg.h"

/* clang-format off */

#define CALL(function, arguments) "SELECT * FROM " function "(" arguments ")"
#define TO_7 "$1, $2, $3, $4, $5, $6, $7"
#define TO_14 TO_7 ", $8, $9, $10, $11, $12, $13, $14"

/*
 * Each read is one statement, so one view and one round trip: h is what the seeding says, t one row
 * that says whether the rows may be told, joined with them. So there is always a row; one without
 * rows has a null number or stream there. $1 .. $3 as for the functions, $4: unseeded_too.
 */
#define HEAD \
	"WITH h AS MATERIALIZED (" \
	" SELECT CASE WHEN pg_current_wal_insert_lsn() < $3::pg_lsn THEN 2" \
	"  WHEN $4::boolean THEN 0" \
	"  WHEN g.identity <> identity($1::text, $2::text, o.xmin) THEN 1 ELSE 0 END AS verdict," \
	"  g.number, g.complete, pg_current_wal_flush_lsn() AS at FROM seeding g, store o)"

/* A stream by name ($5, $6). */
#define NAMED \
	HEAD ", t AS MATERIALIZED (" \
	" SELECT CASE WHEN h.verdict > 0 THEN h.verdict WHEN $4 THEN 0" \
	"  WHEN s.stream IS NULL THEN CASE WHEN h.complete THEN 0 ELSE 3 END" \
	"  WHEN s.mark < h.number THEN 3 ELSE 0 END AS verdict," \
	"  h.at, s.*, s.mark < h.number AS waits" \
	" FROM h LEFT JOIN streams s ON s.type = $5::text AND s.id = $6::text)"

/* open_from: below it no number is unsettled; body_from: below it no body is there. */
#define EVENT(is_open) \
	"e.number, e.span, e.event_id, e.event_type, e.size, e.occurred_us, e.recorded_us," \
	" CASE WHEN " is_open " THEN EXISTS(" \
	"  SELECT FROM pending p WHERE p.stream = e.stream AND p.number = e.number)" \
	" ELSE false END AS open, e.occurred_us IS NOT NULL AS own_time, b.head, b.tail, e.digest"
#define COLUMNS \
	"e.number, e.span, e.event_id, e.event_type, e.size, e.occurred_us, e.recorded_us," \
	" e.open, e.own_time, e.head, e.tail, e.digest"
#define BODY_FROM_BARE "(SELECT min(seq) FROM bodies)"
#define BODY_FROM BODY_FROM_BARE " AS body_from"
#define BODY " LEFT JOIN bodies b ON b.seq = e.body AND e.body >= t.body_from"
#define NO_BODY " CROSS JOIN (SELECT NULL::bytea AS head, NULL::bytea AS tail) b"

/* settled_to needs the first unsettled number. */
#define OPEN_FROM(s) "(SELECT min(p.number) FROM pending p WHERE p.stream = " s ".stream)"
#define STREAMS(where, order, limit) \
	HEAD " SELECT h.verdict, h.at, s.*, made_until(h.number) FROM h LEFT JOIN LATERAL (" \
	" SELECT s.stream, s.type, s.id, s.last, s.last_us, " OPEN_FROM("s") " AS open_from," \
	"  s.mark < h.number AS waits, s.made FROM streams s" \
	" WHERE h.verdict = 0 AND " where " ORDER BY " order limit \
	") s ON true ORDER BY " order

/* A void that begins at or before $7 and reaches beyond it counts. */
#define EVENTS(body) \
	NAMED ", f AS MATERIALIZED (" \
	" SELECT t.*, " OPEN_FROM("t") " AS open_from, " BODY_FROM "," \
	" coalesce((SELECT v.number FROM events v" \
	"  WHERE v.stream = t.stream AND v.number <= $7" \
	"  ORDER BY v.number DESC LIMIT 1), 0) AS from_number FROM t)" \
	" SELECT t.verdict, t.at, t.stream, NULL::text, NULL::text, " COLUMNS \
	" FROM f t LEFT JOIN LATERAL (" \
	" SELECT " EVENT("e.number >= t.open_from") " FROM events e" body \
	" WHERE t.verdict = 0 AND e.stream = t.stream AND e.number >= t.from_number" \
	"  AND e.number + greatest(e.span, 1) - 1 > $7::bigint" \
	" ORDER BY e.number LIMIT $8::bigint" \
	") e ON true ORDER BY e.number"

#define BY_TIME "e.recorded_us, e.stream, e.number"

const char *const ledger_pg_query_texts[PG_COUNT] = {
	[PG_APPEND_ONE] = CALL("append_one", TO_14 ", $15"),
	[PG_APPEND] = CALL("append", TO_14 ", $15, $16, $17, $18, $19"),
	[PG_CLAIM] = CALL("claim", TO_7),
	[PG_PURGE] = CALL("purge", "$1, $2"),
	[PG_SETTLE] = CALL("settle", "$1, $2, $3, $4, $5, $6"),
	[PG_SEED] = CALL("seed", TO_7),
	[PG_RESEED] = CALL("reseed", TO_14),
	[PG_COMPLETE] = CALL("complete", "$1, $2, $3, $4"),
	[PG_FENCE] = "SELECT fence($1)",
	[PG_STATE] =
		"SELECT CASE WHEN pg_current_wal_insert_lsn() < $3::pg_lsn THEN 2 ELSE 0 END,"
		" pg_current_wal_flush_lsn(), o.uuid::text, identity($1::text, $2::text, o.xmin),"
		" g.identity, g.number, now_us(), g.floor_us, g.complete,"
		" hashtextextended(pg_current_snapshot()::text, 0) FROM seeding g, store o",
	[PG_COUNTS] =
		"SELECT (SELECT count(*) FROM streams), (SELECT count(*) FROM pending),"
		" (SELECT count(*) FROM pending p WHERE p.recorded_us < now_us() - 60000000),"
		" (SELECT count(*) FROM streams s, seeding g"
		"  WHERE NOT g.complete AND s.mark < g.number),"
		" (SELECT coalesce(min(p.recorded_us), 0) FROM pending p)",

	[PG_READ_EVENTS] = EVENTS(BODY),
	[PG_READ_EVENTS_LEAN] = EVENTS(NO_BODY),
	[PG_READ_ID] =
		HEAD ", t AS MATERIALIZED (SELECT h.*, 0 AS body_from FROM h)"
		" SELECT CASE WHEN t.verdict = 0 AND NOT $4 AND e.mark < t.number THEN 3"
		"  ELSE t.verdict END, t.at, e.stream, e.type, e.id, " COLUMNS
		" FROM t LEFT JOIN LATERAL ("
		" SELECT e.stream, s.type, s.id, s.mark, " EVENT("true")
		" FROM events e JOIN streams s ON s.stream = e.stream" BODY
		" WHERE t.verdict = 0 AND e.event_id = $5::text"
		") e ON true",
	[PG_READ_TIME] =
		HEAD ", t AS MATERIALIZED (SELECT h.*,"
		" (SELECT min(recorded_us) FROM pending) AS open_from, " BODY_FROM " FROM h)"
		" SELECT t.verdict, t.at, e.stream, e.type, e.id, " COLUMNS
		" FROM t LEFT JOIN LATERAL ("
		" SELECT e.stream, s.type, s.id, " EVENT("e.recorded_us >= t.open_from")
		" FROM events e JOIN streams s ON s.stream = e.stream" BODY
		" WHERE t.verdict = 0 AND e.event_id IS NOT NULL"
		"  AND e.recorded_us >= greatest($5::bigint, $7::bigint)"
		"  AND e.recorded_us < $6::bigint"
		"  AND (e.recorded_us, e.stream, e.number) > ($7, $8::bigint, $9::bigint)"
		"  AND ($4 OR s.mark >= t.number)"
		" ORDER BY " BY_TIME " LIMIT $10::bigint"
		") e ON true ORDER BY " BY_TIME,
	[PG_LOOK] = CALL("look", "$1, $2, $3, $4, $5, $6"),
	[PG_LOOK_WRITERS] = "SELECT look_writers($1, $2)",
	[PG_LOOK_PENDING] = CALL("look_pending", "$1"),
	/* $4: body too. Only what is settled, before the horizon, under the seeding that the look saw */
	[PG_LOOK_EVENTS] =
		"WITH t AS MATERIALIZED ("
		" SELECT CASE WHEN pg_current_wal_insert_lsn() < $3::pg_lsn THEN 2"
		"  WHEN g.identity <> identity($1::text, $2::text, o.xmin) THEN 1"
		"  WHEN g.number <> u.seeding OR NOT g.complete THEN 1 ELSE 0 END AS verdict, g.number,"
		" pg_current_wal_flush_lsn() AS at, u.horizon,"
		" (SELECT min(recorded_us) FROM pending) AS open_from,"
		" CASE WHEN $4::boolean THEN " BODY_FROM_BARE " END AS body_from"
		" FROM seeding g, store o, (SELECT"
		"  nullif(current_setting('evfs.seeding', true), '')::bigint AS seeding,"
		"  nullif(current_setting('evfs.horizon', true), '')::bigint AS horizon) u)"
		" SELECT t.verdict, t.at, e.stream, e.type, e.id, " COLUMNS
		" FROM t LEFT JOIN LATERAL ("
		" SELECT e.stream, s.type, s.id, " EVENT("false")
		" FROM events e JOIN streams s ON s.stream = e.stream" BODY
		" WHERE t.verdict = 0 AND e.event_id IS NOT NULL"
		"  AND e.recorded_us >= greatest($5::bigint, $7::bigint)"
		"  AND e.recorded_us < least($6::bigint, t.horizon) AND t.horizon IS NOT NULL"
		"  AND (e.recorded_us, e.stream, e.number) > ($7, $8::bigint, $9::bigint)"
		"  AND s.mark >= t.number"
		"  AND (t.open_from IS NULL OR e.recorded_us < t.open_from OR NOT EXISTS ("
		"   SELECT FROM pending p WHERE p.stream = e.stream AND p.number = e.number))"
		" ORDER BY " BY_TIME " LIMIT $10::bigint"
		") e ON true ORDER BY " BY_TIME,
	[PG_READ_STREAM] =
		NAMED " SELECT t.verdict, t.at, t.stream, t.type, t.id, t.last, t.last_us, "
		OPEN_FROM("t") ", t.waits, t.made, 0::bigint FROM t",
	[PG_READ_STREAMS] = STREAMS("s.stream > $5::bigint", "s.stream", " LIMIT $6::bigint"),
	[PG_READ_UNSEEDED] =
		STREAMS("s.stream > $5::bigint AND s.mark < h.number", "s.stream",
			" LIMIT $6::bigint"),
	/* those of one transaction together: the position is no finer */
	[PG_READ_NEW_STREAMS] =
		STREAMS("s.made >= $5::bigint", "s.made",
			" FETCH FIRST ($6::bigint) ROWS WITH TIES"),
};
