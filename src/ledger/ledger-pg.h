/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to ledger-pg*.c: the parts of the PostgreSQL ledger and what they share.
 *
 *   ledger-pg-tables.sql, -functions.sql, -reseed.sql, -horizon.sql, -grants.sql	what decides, in the server
 *   ledger-pg-args.c	parameters and columns in the binary format
 *   ledger-pg-conn.c	one connection: connect, set up, send, wait, what SQLSTATE means
 *   ledger-pg-query.c	the texts of the statements
 *   ledger-pg.c		open, the pool
 *   -append.c, -claim.c, -read.c, -horizon.c, -state.c, -reseed.c	the calls of ledger.h
 *   -schema.c, -check.c	create, clear; what doctor asks
 *
 * A call takes one connection for its time. Nothing waits without a deadline, except that libpq
 * resolves names itself.
 */
#ifndef EVFS_LEDGER_LEDGER_PG_H
#define EVFS_LEDGER_LEDGER_PG_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/rc.h"
#include "ledger/ledger.h"

#define LEDGER_PG_SCHEMA_VERSION 1
#define LEDGER_PG_SERVER_MIN 140000

/* The files of that name. */
extern const char ledger_pg_sql_tables[], ledger_pg_sql_functions[], ledger_pg_sql_reseed[],
	ledger_pg_sql_horizon[], ledger_pg_sql_grants[];

/* ---- parameters ---- */

#define LEDGER_PG_ARGS_MAX 20

/* The parameters of one statement. Failure (no memory) sticks, see buf.h. */
struct ledger_pg_args {
	struct buf data;
	int n;
	size_t at[LEDGER_PG_ARGS_MAX];
	int lens[LEDGER_PG_ARGS_MAX]; /* -1: null */
};
#define LEDGER_PG_ARGS_INIT         \
	{                           \
		BUF_INIT, 0, { 0 }, \
		{                   \
			0           \
		}                   \
	}

void ledger_pg_args_release(struct ledger_pg_args *a);
void ledger_pg_args_null(struct ledger_pg_args *a);
void ledger_pg_args_bool(struct ledger_pg_args *a, bool value);
void ledger_pg_args_int4(struct ledger_pg_args *a, int32_t value);
void ledger_pg_args_int8(struct ledger_pg_args *a, int64_t value); /* also pg_lsn */
void ledger_pg_args_bytes(struct ledger_pg_args *a, const void *p, size_t len);
void ledger_pg_args_text(struct ledger_pg_args *a, const char *text); /* NULL: null */

enum ledger_pg_type {
	PG_BOOL = 16,
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_INT4 = 23,
	PG_TEXT = 25,
};
/* An array of n elements follows: exactly n calls of _item*, then _end. */
void ledger_pg_args_array(struct ledger_pg_args *a, enum ledger_pg_type type, size_t n);
void ledger_pg_args_item_null(struct ledger_pg_args *a);
void ledger_pg_args_item_bool(struct ledger_pg_args *a, bool value);
void ledger_pg_args_item_int4(struct ledger_pg_args *a, int32_t value);
void ledger_pg_args_item_int8(struct ledger_pg_args *a, int64_t value);
void ledger_pg_args_item(struct ledger_pg_args *a, const void *p, size_t len);
void ledger_pg_args_end(struct ledger_pg_args *a);

/* Columns. Null is 0, false, NULL. Texts live as long as the result. */
int32_t ledger_pg_args_get_int4(const PGresult *r, int row, int column);
int64_t ledger_pg_args_get_int8(const PGresult *r, int row, int column);
bool ledger_pg_args_get_bool(const PGresult *r, int row, int column);
const char *ledger_pg_args_get_text(const PGresult *r, int row, int column);
const char *ledger_pg_args_get_bytes(const PGresult *r, int row, int column, size_t *len_r);

static inline void ledger_pg_result_freep(PGresult **r)
{
	PQclear(*r);
}

/* ---- statements ---- */

enum ledger_pg_sql {
	PG_APPEND_ONE,
	PG_APPEND,
	PG_CLAIM,
	PG_PURGE,
	PG_SETTLE,
	PG_SEED,
	PG_FENCE,
	PG_STATE,
	/* what may take long */
	PG_COUNTS,
	PG_RESEED,
	PG_COMPLETE,
	PG_READ_EVENTS,
	PG_READ_EVENTS_LEAN,
	PG_READ_ID,
	PG_READ_TIME,
	PG_LOOK,
	PG_LOOK_WRITERS,
	PG_LOOK_PENDING,
	PG_LOOK_EVENTS,
	PG_READ_STREAM,
	PG_READ_STREAMS,
	PG_READ_NEW_STREAMS,
	PG_READ_UNSEEDED,
	PG_COUNT,
};
extern const char *const ledger_pg_query_texts[PG_COUNT];

/* The columns of each read: these first, then those of an event or of a stream. */
enum {
	READ_VERDICT,
	READ_AT,
	READ_STREAM,
	READ_TYPE,
	READ_ID,
	READ_NUMBER,
	READ_SPAN,
	READ_EVENT_ID,
	READ_EVENT_TYPE,
	READ_SIZE,
	READ_OCCURRED,
	READ_RECORDED,
	READ_OPEN,
	READ_OWN_TIME,
	READ_HEAD,
	READ_TAIL,
	READ_DIGEST,
	READ_LAST = READ_NUMBER,
	READ_LAST_US,
	READ_OPEN_FROM,
	READ_WAITS,
	READ_MADE,
	READ_UNTIL,
};
/* READ_VERDICT, and `code` of the functions. */
enum { VERDICT_OK, VERDICT_FENCED, VERDICT_OLDER, VERDICT_STREAM };

/* ---- a connection ---- */

struct ledger_pg_conn {
	PGconn *pg;
	uint64_t prepared; /* by statement */
	char *prefix, *middle; /* of the identity: what can't change while connected */
	bool patient; /* without statement_timeout: for long reads */
	bool lost; /* of no more use */
	bool refused; /* the last statement: by the server's word, so nothing happened */
	bool used; /* came out of the pool: that it is lost now may be old news */
	size_t piped; /* statements of a round trip whose end was not read */
	struct ledger_pg_conn *next;
};

/* What the server said of itself, for open and doctor. Texts as settings have them. */
struct ledger_pg_facts {
	int version;
	bool standby, ssl;
	char fsync[8], full_page_writes[8], synchronous_commit[16], encoding[16], read_only[8];
	char schema[64], user[64];
};

/*
 * Connect and set the session up, until deadline (clock_boot_ms). schema NULL: search_path stays.
 * RC_TEMPORARY, RC_DENIED, RC_NOT_FOUND (the database), RC_INVALID (conninfo). No reason has a
 * password. facts may be NULL.
 */
enum rc ledger_pg_conn_new(struct ledger_pg_conn **out, const struct ledger_pg_options *o,
			   uint64_t deadline, struct ledger_pg_facts *facts, struct why *why)
	_must_check_;
void ledger_pg_conn_free(struct ledger_pg_conn **c);
/* Is nothing heard that says it is over? Waits for nothing. */
bool ledger_pg_conn_is_up(struct ledger_pg_conn *c);
/*
 * One statement and its whole result. *sent: the server may have got it (may be NULL); then a lost
 * connection tells nothing. After a failure that is not the server's word c->lost is set.
 */
enum rc ledger_pg_conn_run(struct ledger_pg_conn *c, enum ledger_pg_sql sql,
			   const struct ledger_pg_args *a, uint64_t deadline, PGresult **out,
			   bool *sent, struct why *why) _must_check_;
/*
 * The same for a text without parameters (any number of statements, the last one's result; out may
 * be NULL).
 */
enum rc ledger_pg_conn_exec(struct ledger_pg_conn *c, const char *text, uint64_t deadline,
			    PGresult **out, struct why *why) _must_check_;
/* The same for a text with parameters, results as text. */
enum rc ledger_pg_conn_ask(struct ledger_pg_conn *c, const char *text, const char *const *values,
			   int n, uint64_t deadline, PGresult **out, struct why *why) _must_check_;
/* Send one whose rows come one by one. */
enum rc ledger_pg_conn_start(struct ledger_pg_conn *c, enum ledger_pg_sql sql,
			     const struct ledger_pg_args *a, uint64_t deadline, struct why *why)
	_must_check_;
/* The next row, as a result of one row; *out NULL: that was all. */
enum rc ledger_pg_conn_next(struct ledger_pg_conn *c, uint64_t deadline, PGresult **out,
			    struct why *why) _must_check_;
/* Read what is left of it, if that is soon done; otherwise c->lost. */
void ledger_pg_conn_stop(struct ledger_pg_conn *c);
/*
 * Several statements in one round trip, each a transaction of its own: the answers come in order. Each is taken whole by _answer, or row
 * by row by _rows and then ledger_pg_conn_next; _end, when the last was taken or whenever the rest is not wanted.
 */
enum rc ledger_pg_conn_pipe(struct ledger_pg_conn *c, const enum ledger_pg_sql *sqls,
			    const struct ledger_pg_args *args, size_t n, uint64_t deadline,
			    struct why *why) _must_check_;
enum rc ledger_pg_conn_pipe_answer(struct ledger_pg_conn *c, uint64_t deadline, PGresult **out,
				   struct why *why) _must_check_;
enum rc ledger_pg_conn_pipe_rows(struct ledger_pg_conn *c, struct why *why) _must_check_;
void ledger_pg_conn_pipe_end(struct ledger_pg_conn *c);
enum rc ledger_pg_conn_patience(struct ledger_pg_conn *c, bool patient, uint64_t timeout_ms,
				uint64_t deadline, struct why *why) _must_check_;
/* What the server's answer, or the lost connection (r NULL), means. */
enum rc ledger_pg_conn_fail(struct ledger_pg_conn *c, const PGresult *r, struct why *why)
	_must_check_;

/* ---- the ledger ---- */

struct ledger_pg {
	struct ledger base;
	struct ledger_counters counters;
	char *conninfo, *schema, *uuid, *place;
	struct ledger_pg_options options; /* of these */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t freed;
	struct ledger_pg_conn *idle;
	unsigned open, reading; /* connections; those that reads have */
	unsigned failures; /* to connect, one after another */
	uint64_t retry_ms; /* not to be tried again before */
	enum rc failed_rc;
	struct why failed;
	_Atomic uint64_t seen; /* the highest WAL position */
	_Atomic int64_t purge_after, purge_due_us;
};

/*
 * What a connection is for: what may take long (reads, re-seeds) leaves some to the others, and has no
 * statement_timeout.
 */
enum ledger_pg_use { USE_SHORT, USE_LONG };

/*
 * A connection out of the pool, or a new one, until deadline. RC_TEMPORARY at once while the server
 * was not to be reached a moment ago.
 */
enum rc ledger_pg_take(struct ledger_pg *l, enum ledger_pg_use use, uint64_t deadline,
		       struct ledger_pg_conn **out, struct why *why) _must_check_;
void ledger_pg_give(struct ledger_pg *l, enum ledger_pg_use use, struct ledger_pg_conn *c);
uint64_t ledger_pg_deadline(const struct ledger_pg *l);
typedef void ledger_pg_args_fn(struct ledger_pg *l, struct ledger_pg_conn *c,
			       struct ledger_pg_args *a, const void *arg);
/*
 * One statement, with the parameters that args gives it, on any connection. Where an idle
 * connection turns out to be dead, once more on another, if again, or if the server can't have got
 * it. *lost_r (may be NULL): the server may have done it, and the answer is lost.
 */
enum rc ledger_pg_run(struct ledger_pg *l, enum ledger_pg_sql sql, ledger_pg_args_fn *args,
		      const void *arg, bool again, uint64_t deadline, PGresult **out, bool *lost_r,
		      struct why *why) _must_check_;
/* The three parameters with which most functions begin. */
void ledger_pg_fence_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a);
/* A WAL position that is durable. */
void ledger_pg_saw(struct ledger_pg *l, uint64_t at);
/*
 * The reason for VERDICT_FENCED and VERDICT_OLDER; after the latter what was seen counts no more.
 * RC_FENCED.
 */
enum rc ledger_pg_fenced(struct ledger_pg *l, int verdict, uint64_t at, struct why *why)
	_must_check_;
/*
 * The log is shorter than this process saw it (now it ends at `at`): erase the written identity.
 * RC_FENCED where that worked.
 */
enum rc ledger_pg_state_erase(struct ledger_pg *l, uint64_t at, struct why *why) _must_check_;
/* Options with the defaults put in. */
struct ledger_pg_options ledger_pg_defaults(const struct ledger_pg_options *o);

enum rc ledger_pg_append_events(struct ledger *l, struct ledger_append *items, size_t n,
				uint64_t lease_ms, struct why *why) _must_check_;
enum rc ledger_pg_claim_rows(struct ledger *l, size_t max, uint64_t lease_ms, bool all,
			     ledger_pending_fn *fn, void *arg, size_t *n_r, struct why *why)
	_must_check_;
enum rc ledger_pg_claim_settle(struct ledger *l, const struct ledger_ref *refs, size_t n,
			       struct why *why) _must_check_;
enum rc ledger_pg_read_rows(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn,
			    void *arg, bool *fenced_stream, struct why *why) _must_check_;
/* What a read has told. */
struct ledger_pg_reading {
	struct ledger_pg *l;
	const struct ledger_query *query;
	ledger_row_fn *fn;
	void *arg;
	size_t told;
	bool begun; /* an answer came: the same question again would tell rows twice */
	bool fenced_stream;
	int verdict;
	uint64_t at;
	PGresult *
		held; /* LEDGER_NEW_STREAMS: the row before, which is told when its next is known */
};
/* Tell a row of the statement's answer, which is taken. *go_on false: enough. */
enum rc ledger_pg_read_row(struct ledger_pg_reading *s, enum ledger_pg_sql sql, PGresult *taken,
			   bool *go_on, struct why *why) _must_check_;
/* LEDGER_TIME with a horizon, on c. s->begun: fn was called, or something was done that is not to be done again. */
enum rc ledger_pg_horizon_read(struct ledger_pg_reading *s, struct ledger_pg_conn *c,
			       struct why *why) _must_check_;
enum rc ledger_pg_state_read(struct ledger *l, struct ledger_state *out, struct why *why)
	_must_check_;
enum rc ledger_pg_state_seed(struct ledger *l, const char *identity, uint64_t number,
			     bool other_line, int64_t floor_us, struct why *why) _must_check_;
enum rc ledger_pg_reseed_stream(struct ledger *l, struct ledger_reseed *r, struct why *why)
	_must_check_;
/*
 * Is this the store's schema, of this version? RC_NOT_FOUND, RC_INVALID; uuid and place are
 * compared where not NULL.
 */
enum rc ledger_pg_schema_check(struct ledger_pg_conn *c, const struct ledger_pg_options *o,
			       uint64_t deadline, struct why *why) _must_check_;
/* RC_DENIED for a server that may lose or refuse what it is given. */
enum rc ledger_pg_check_facts(const struct ledger_pg_facts *f, struct why *warning, struct why *why)
	_must_check_;

#endif
