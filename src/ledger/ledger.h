/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what decides order, and what remembers an append until the object store wholly holds it.
 *
 * Guarantees: what ledger_append answered RC_OK for is durable and is never un-committed; a stream's numbers are 1, 2, 3 …
 * (a void stands for numbers without event); an event id is committed once. Nothing is written unless the ledger is the
 * one that was last seeded (see struct ledger_state), and no stream is used before it was re-seeded under that seeding: RC_FENCED.
 * Does not: touch objects, retry, wait, log. design.md 5 is the protocol, the store layer drives it.
 * Threads: every call may come from any thread. Times are microseconds since the epoch, by the ledger's clock.
 */
#ifndef EVFS_LEDGER_LEDGER_H
#define EVFS_LEDGER_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/latency.h"
#include "base/rc.h"

struct ledger;

#define LEDGER_DIGEST_LEN 32
#define LEDGER_IDENTITY_MAX 200

/* One event of an append. The body is kept in pieces around time and number (event/draft.h). */
struct ledger_event {
	const char *event_id, *event_type;
	const char *head, *tail;
	size_t head_len, tail_len;
	bool own_time;			/* the writer named the time: occurred_us. Otherwise it is recorded_us */
	int64_t occurred_us;
	uint8_t digest[LEDGER_DIGEST_LEN];	/* of the content as parsed values */
	/* out, where the append's rc is RC_OK */
	uint64_t number;
	int64_t recorded_us;
	bool settled;			/* the object store is known to hold it (possible only where the append was known) */
};

/* The append of n events (n > 0) to one stream: all or nothing. */
struct ledger_append {
	const char *type, *id;
	bool has_expect;
	uint64_t expect;		/* the last number before this append; 0: the stream is new */
	bool may_skip;			/* restore: expect may be above the last number, the numbers between become a void */
	struct ledger_event *events;
	size_t n;
	uint64_t deadline_ms;		/* clock_boot_ms: a server is waited for until then (0: its time-out); a group until its latest */
	/*
	 * out. Ids are looked at first: if all are there with the same content (and occurred_us, where own_time), RC_OK with
	 * known = true and their numbers, whatever was expected; if one is there with other content, or only some are, RC_EXISTS.
	 * RC_CONFLICT: the expected number is not the last (has_expect, and last says which is).
	 * RC_INVALID: one id twice in the append. RC_FENCED: see fenced_stream. RC_UNCERTAIN: the same call with the same ids tells.
	 * RC_NO_SPACE, RC_TEMPORARY, RC_CORRUPT: nothing happened.
	 */
	enum rc rc;
	struct why why;
	bool known;
	uint64_t last;			/* the stream's last number before this append */
	int64_t stream;			/* the ledger's handle of the stream, see struct ledger_ref */
	bool fenced_stream;		/* with RC_FENCED: re-seed this stream; otherwise the ledger itself must be seeded */
};

/*
 * Commit n appends in one transaction (group commit); one that is refused does not harm the others. Two of one stream follow
 * each other in the order given. The rows are leased to the caller for lease_ms, in which no ledger_claim gives them out.
 * Each item has its rc; the result is RC_OK if the transaction was, else the failure that all items got.
 */
enum rc ledger_append(struct ledger *l, struct ledger_append *items, size_t n, uint64_t lease_ms, struct why *why) _must_check_;

/* An event as claim and settle name it. */
struct ledger_ref {
	int64_t stream;
	uint64_t number;
	const char *event_id;
};

/* A pending append that is to be stored. Texts live until the callback returns. */
struct ledger_pending {
	int64_t stream;
	const char *type, *id;
	uint64_t number;
	const char *event_id;
	const char *head, *tail;
	size_t head_len, tail_len;
	bool own_time;
	int64_t recorded_us;
	unsigned attempts;		/* how often it was claimed before */
	bool late;			/* older than 60 s and still not stored */
};
typedef enum rc ledger_pending_fn(void *arg, const struct ledger_pending *row);

/*
 * Lease up to max unsettled rows whose lease is over, oldest first, for lease_ms, then tell fn of each, with no transaction open.
 * Rows of streams that wait for their re-seed are passed over. all: leases count as over (no other process is alive).
 * Bodies of settled rows committed 15 minutes ago are dropped here, some at a time, and other housekeeping is done.
 * *n_r: how many were told.
 */
enum rc ledger_claim(struct ledger *l, size_t max, uint64_t lease_ms, bool all, ledger_pending_fn *fn, void *arg,
		     size_t *n_r, struct why *why) _must_check_;

/* Mark rows as settled: the object store durably holds them. A row that is gone, moved or another event's is passed over. */
enum rc ledger_settle(struct ledger *l, const struct ledger_ref *refs, size_t n, struct why *why) _must_check_;

/* What ledger_read looks for. */
enum ledger_what {
	LEDGER_EVENTS,		/* events of one stream with numbers above `after`, by number */
	LEDGER_ID,		/* the event with event_id */
	LEDGER_TIME,		/* events with from_us <= recorded_us < to_us, by (recorded_us, stream, number), after position (after_us, stream, after);
				   those of streams that wait for their re-seed are passed over. With `horizon`: see struct ledger_horizon */
	LEDGER_STREAM,		/* one stream (type, id) */
	LEDGER_STREAMS,		/* streams whose handle is above `stream`, by handle: all that there are, for a walk from 0 */
	LEDGER_NEW_STREAMS,	/* streams that were made since the position `stream` (0: all), in an order in which the last row's
				   `position` is where the next question goes on and no stream is missed. Some may be told again */
	LEDGER_UNSEEDED,	/* as LEDGER_STREAMS, those that wait for their re-seed */
};

struct ledger_query {
	enum ledger_what what;
	const char *type, *id;
	const char *event_id;
	int64_t stream;
	uint64_t after;
	int64_t from_us, to_us, after_us;
	size_t limit;		/* rows told at most; 0: no limit */
	bool unseeded_too;	/* verify, re-seed: answer whatever the seeding says */
	bool lean;		/* events without their pieces: head and tail are NULL */
	struct ledger_horizon *horizon;	/* LEDGER_TIME: how far it may be read. NULL: as far as asked */
};

/* An event (or a void), or a stream. Texts live until the callback returns. */
struct ledger_row {
	int64_t stream;
	const char *type, *id;
	/* an event */
	uint64_t number;
	uint64_t span;			/* > 0: a void, numbers number .. number + span - 1 have no event; all below is empty then */
	const char *event_id, *event_type;
	uint64_t size;			/* of the stored body */
	int64_t occurred_us, recorded_us;
	bool settled;
	const char *head, *tail;	/* unsettled, or committed less than 15 minutes ago: the body's pieces; else NULL */
	size_t head_len, tail_len;
	bool own_time;
	const uint8_t *digest;		/* LEDGER_DIGEST_LEN bytes */
	/* a stream */
	uint64_t last;			/* its last number; 0: nothing was ever appended, it was only re-seeded */
	uint64_t settled_to;		/* every number up to here is settled or void */
	bool unseeded;
	int64_t position;		/* LEDGER_NEW_STREAMS */
};
/* Return false to stop. Must not call the ledger. */
typedef bool ledger_row_fn(void *arg, const struct ledger_row *row);

/*
 * Which ledger this is. `identity` says where it lives now (SQLite: device and inode of the file, and a mark that changes when the file was
 * replaced in place); `written` is what the last seeding wrote down, "" once somebody saw an older commit counter than before and erased it.
 * Where the two differ, everything but state, seed and reads with unseeded_too is RC_FENCED.
 */
struct ledger_state {
	bool count;			/* in: count streams, pending, late, unseeded too: takes longer the more there are */
	char uuid[37];			/* the store's */
	char identity[LEDGER_IDENTITY_MAX], written[LEDGER_IDENTITY_MAX];
	uint64_t seeding;		/* the number of the last seeding, 0: none yet */
	uint64_t commits;		/* the commit counter (PostgreSQL: the WAL position) */
	uint64_t point;			/* two calls that tell the same one: nothing was committed between them, or whatever was began to show
					   before the first. 0: it can't be known */
	int64_t now_us, floor_us;	/* the ledger's clock; no recorded time is below the floor */
	bool alone;			/* no other process has this store's ledger open; false where that can't be known */
	bool complete;			/* the whole store was re-seeded under this seeding: a stream that is not there is new */
	uint64_t streams, pending, late, unseeded;
	int64_t oldest_us;		/* with count: when the oldest that is pending was recorded; 0: none is */
};

/*
 * A publisher's look at the end of the time line (design.md 8; model/horizon.py). With it a LEDGER_TIME query does, as separate
 * transactions in this order, and over a network in one round trip where nobody is appending: take or renew the lease, and raise the
 * floor to the ledger's clock; note who is appending, and wait until they are gone (SQLite needs no wait: its writers come one after the
 * other); read the oldest unsettled row; read the events before all that. So what is told is settled, and nothing that was recorded
 * before horizon_us can still appear, but in the streams that `late` was told of.
 * The floor is raised only where there is something to tell, and when it is a minute old: the horizon of an idle store may be that old.
 * An event is told when its millisecond is over. A clock that stepped back is carried on from what it said before; what one that was
 * over a minute ahead has stamped is told when its time comes.
 * A stream with a row that is unsettled for over 60 s (late) does not hold the horizon, but for those over LEDGER_LATE_MAX that have
 * waited less than the others. Its events are told by the query as others are, as far as they are settled and before the horizon:
 * who asked passes over them. The horizon may fall again, where a stream is late no more.
 * While streams wait for their re-seed (state.complete is false) nothing is told, and horizon_us is 0.
 */
struct ledger_horizon {
	const char *lease, *token;	/* whose lease, and ours; lease NULL: none is needed, none is taken */
	uint64_t lease_ms;		/* how long it is ours, by the ledger's clock; 0: it is given back, and nothing else is done */
	uint64_t wait_ms;		/* how long whoever is appending is waited for; after it the horizon is where it was: RC_TEMPORARY */
	bool *cancel;			/* NULL, or looked at while waiting */
	ledger_row_fn *late;		/* NULL, or told first: stream, type, id, number of the first unsettled row, recorded_us of the late one */
	void *late_arg;
	/* out */
	bool leased;			/* false: another holds the lease, and nothing else was done */
	char holder[64];		/* the token of who holds it, "" for nobody */
	int64_t horizon_us;		/* a whole millisecond */
	uint64_t unsettled;		/* rows that are, late ones included; at most 10,000 are counted */
	struct ledger_state state;	/* as ledger_state tells it, without what `count` adds and without `point` */
};
#define LEDGER_LATE_MAX 1000

/* One consistent view. Nothing found is RC_OK without a call. RC_FENCED, with *fenced_stream as in ledger_append (may be NULL). */
enum rc ledger_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced_stream,
		    struct why *why) _must_check_;

/* RC_NOT_FOUND: the ledger is gone. RC_CORRUPT: damaged; why says how to rebuild it. */
enum rc ledger_state(struct ledger *l, struct ledger_state *out, struct why *why) _must_check_;

/*
 * Write identity down as seeding `number` (above the last). All streams wait for their re-seed from now on. other_line: the ledger's last
 * seeding was not the one that the bucket names: what is unsettled in it and not in the object store counts as contradicted.
 * floor_us raises the floor, if above it. identity "": what is written down is erased instead (number and the rest don't count), and all is
 * RC_FENCED until somebody seeds. RC_CONFLICT: the ledger lives elsewhere by now, or was seeded meanwhile.
 */
enum rc ledger_seed(struct ledger *l, const char *identity, uint64_t number, bool other_line, int64_t floor_us,
		    struct why *why) _must_check_;

/* What the object store holds of a stream. */
struct ledger_object {
	uint64_t number;
	const char *event_id, *event_type;	/* event_id NULL: no event can be read from it, its number becomes a void */
	uint64_t size;
	int64_t occurred_us, recorded_us;
	uint8_t digest[LEDGER_DIGEST_LEN];
};
struct ledger_reseed {
	const char *type, *id;		/* type NULL: see ledger_reseed */
	uint64_t seeding;		/* the seeding this belongs to; RC_CONFLICT if another came */
	uint64_t after;			/* objects were listed after this number */
	const struct ledger_object *objects;	/* by number, each number once */
	size_t n;
	/* out */
	size_t added, replaced, moved, dropped, voids;
	struct why dropped_why;		/* names the dropped events (writers that named an expectation), as many as fit */
};
/*
 * Re-seed one stream in one transaction; the object store wins (design.md 5 "Re-seed"; model/native.py reseed). Makes the stream
 * if it is not there. Idempotent for the same list. RC_CONFLICT too where a number up to `after` is not settled.
 * A stream that the ledger does not know is RC_FENCED as well, for objects may stand under it. type NULL: the whole store was
 * listed, and every stream found in it re-seeded under this seeding: from now on a stream that is not there is new.
 * RC_TEMPORARY: some still wait (LEDGER_UNSEEDED).
 */
enum rc ledger_reseed(struct ledger *l, struct ledger_reseed *r, struct why *why) _must_check_;

/* Free *l and set it to NULL. NULL and *l == NULL are fine. */
void ledger_free(struct ledger **l);
static inline void ledger_freep(struct ledger **l)
{
	ledger_free(l);
}

/*
 * The ledger of a directory store: SQLite at path (…/.evfs/ledger.db), shared by any number of processes of one machine.
 * RC_NOT_FOUND: no such file. RC_CORRUPT: damaged; why says how to rebuild it. RC_INVALID: another store's, or another schema version.
 * RC_DENIED: can't be written. uuid is the store's and must agree.
 */
enum rc ledger_sqlite_open(struct ledger **out, const char *path, const char *uuid, struct why *why) _must_check_;
/* Make an empty ledger, with no seeding yet. RC_EXISTS: there is a file. */
enum rc ledger_sqlite_create(const char *path, const char *uuid, struct why *why) _must_check_;
/*
 * Make a ledger empty, with the seeding to come: in place, under processes that have it open and then wait for the seeding. (Who removes
 * the file under them takes their index from them.) RC_NOT_FOUND, RC_CORRUPT, RC_INVALID, RC_DENIED as open.
 */
enum rc ledger_sqlite_clear(const char *path, const char *uuid, struct why *why) _must_check_;

/* The ledger of a store that several machines share: PostgreSQL. Texts are copied. */
struct ledger_pg_options {
	const char *conninfo;	/* a URI or key=value words of libpq; "" or NULL: all from PG* and the service file */
	const char *schema;	/* of evfs's own tables; NULL: "evfs" */
	const char *uuid;	/* the store's */
	const char *place;	/* where its objects are, "s3://bucket/prefix": must agree with what create was told */
	uint64_t timeout_ms;	/* of a call; also the connection's */
	unsigned connections;	/* at most; 0: as many as are useful */
};
/*
 * RC_NOT_FOUND: no such schema or no store in it ('evfsctl init' makes them). RC_INVALID: another store's, another place, another schema
 * version. RC_DENIED: no permission, a read-only replica, fsync or full_page_writes off. RC_TEMPORARY: can't be reached.
 * What is only dubious (synchronous_commit can't be pinned, …) is told in warning (may be NULL; "" if nothing).
 */
enum rc ledger_pg_open(struct ledger **out, const struct ledger_pg_options *o, struct why *warning, struct why *why) _must_check_;
/*
 * Make schema, tables and functions where they are missing, upgrade older ones, and write down the store, with no seeding yet. Also grants
 * to the roles of contrib/sql/roles.sql where they exist. RC_EXISTS: this store is there already (nothing was changed but an older schema
 * version). RC_INVALID: another store is in this schema. RC_DENIED.
 */
enum rc ledger_pg_create(const struct ledger_pg_options *o, struct why *why) _must_check_;
/* Take the store's rows out of the schema, so that 'init --adopt' or 'reindex' begins with an empty ledger. The schema stays. RC_NOT_FOUND. */
enum rc ledger_pg_clear(const struct ledger_pg_options *o, struct why *why) _must_check_;

/* Told one after another by ledger_pg_check; fix: what to do where rc is not RC_OK. */
typedef void ledger_check_fn(void *arg, const char *name, enum rc rc, const char *found, const char *fix);
/* For doctor: reachable, server version, TLS, settings, schema, role's rights, identity. Opens a connection of its own. */
void ledger_pg_check(const struct ledger_pg_options *o, ledger_check_fn *fn, void *arg);

/* The versions of the libraries, for --version. */
const char *ledger_pg_version(void);

const char *ledger_sqlite_version(void);

/* What a fault wrapper does to every nth call of a kind (0: never). RC_UNCERTAIN: it happened, the reply was lost. */
struct ledger_faults {
	unsigned append_nth, settle_nth, claim_nth;
	enum rc append_rc, settle_rc, claim_rc;
};
/* Wrap inner (taken, even on failure). faults is read at each call and stays the caller's. */
enum rc ledger_fault_new(struct ledger **out, struct ledger *inner, const struct ledger_faults *faults, struct why *why) _must_check_;

#ifdef ENABLE_FAILPOINTS
/* Wrap inner (taken, even on failure) where EVFS_PLANT names a bug that tests must find (base/plant.h); otherwise *out is inner. */
enum rc ledger_plant_new(struct ledger **out, struct ledger *inner, struct why *why) _must_check_;
#endif

enum ledger_kind { LEDGER_APPEND, LEDGER_CLAIM, LEDGER_SETTLE, LEDGER_READ, LEDGER_STATE, LEDGER_SEED, LEDGER_KINDS };

/* Round trips to a server since the ledger was opened. Always 0 for SQLite. */
struct ledger_counts {
	uint64_t append, claim, settle, read, state, seed;	/* seed: and re-seeds */
	uint64_t connects, failed;
	struct latency_counts times[LEDGER_KINDS];	/* of calls, SQLite's too: what they wait for and their callbacks included */
};
void ledger_counts(const struct ledger *l, struct ledger_counts *out);

/* For implementations only. */
struct ledger_counters {
	_Atomic uint64_t append, claim, settle, read, state, seed, connects, failed;
};
struct ledger_ops {
	const char *name;
	enum rc (*append)(struct ledger *l, struct ledger_append *items, size_t n, uint64_t lease_ms, struct why *why);
	enum rc (*claim)(struct ledger *l, size_t max, uint64_t lease_ms, bool all, ledger_pending_fn *fn, void *arg,
			 size_t *n_r, struct why *why);
	enum rc (*settle)(struct ledger *l, const struct ledger_ref *refs, size_t n, struct why *why);
	enum rc (*read)(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced_stream,
			struct why *why);
	enum rc (*state)(struct ledger *l, struct ledger_state *out, struct why *why);
	enum rc (*seed)(struct ledger *l, const char *identity, uint64_t number, bool other_line, int64_t floor_us,
			struct why *why);
	enum rc (*reseed)(struct ledger *l, struct ledger_reseed *r, struct why *why);
	void (*destroy)(struct ledger *l);
};

struct ledger {
	const struct ledger_ops *ops;
	struct latency times[LEDGER_KINDS];	/* ledger.c's. A wrapper has its own */
	const struct ledger_counters *counters;	/* NULL: nothing is counted. A wrapper has its inner ledger's */
	unsigned writers;	/* appends that it has use for at once; 0: one after the other. A wrapper has its inner ledger's */
};

#endif
