/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rooms of verify share.
 *
 * One thread lists, fills batches with parts of streams and tells what the batches found, in their
 * order (verify-native.c, verify-batch.c). Others compare the batches (verify-compare.c), each
 * alone. verify-state.c remembers what was told.
 */
#ifndef EVFS_STORE_VERIFY_PRIVATE_H
#define EVFS_STORE_VERIFY_PRIVATE_H

#include "store/store-private.h"
#include "store/verify.h"

#define VERIFY_OBJECTS 128 /* of a batch, and read at once */
#define VERIFY_BYTES (4u << 20) /* of the bodies read at once, unless it is a single one */

struct verify_state;
struct verify_pipe;

/* One run. Callbacks of a listing end it by setting rc. */
struct verify {
	struct store *s;
	struct view *view; /* NULL: the catalog is not compared */
	const struct verify_options *options;
	int64_t now_us; /* the ledger's clock, when the run began */
	struct verify_pipe *pipe;
	struct verify_state *state; /* NULL: nothing is kept */
	struct verify_progress count;
	uint64_t backwards; /* places in a store without ledger where times run backwards */
	enum rc rc;
	struct why why;
};

/* What to do about a kind. Never NULL. */
const char *verify_advice(const char *kind);
/* Tell of a difference at once; f.text comes from fmt. For the thread that lists. */
void verify_tell(struct verify *v, struct verify_finding f, const char *fmt, ...) _printf_(3, 4);
void verify_step(struct verify *v, uint64_t events);
/* True: the run ends, v->rc says why. */
bool verify_ends(struct verify *v);

/*
 * Findings as text, to be told later: one after the other, each of its parts with a NUL behind it.
 */
void verify_note(struct buf *found, const struct verify_finding *f);
/* Tell them. Returns how many bytes of text were whole findings. */
size_t verify_tell_notes(struct verify *v, const char *text, size_t len);

/*
 * Read one object and note if it is no event of its place; *good_r false then. RC_NOT_FOUND is the
 * caller's to tell.
 */
enum rc verify_body(const struct object_get *get, const char *type, const char *id, uint64_t number,
		    struct buf *found, struct event *event_r, bool *good_r, struct why *why)
	_must_check_;

/* ------------------------------------------------------------------ batches */

struct verify_object {
	uint64_t number, size;
};

/* A part of a stream: its objects and rows with from < number <= to. */
struct verify_part {
	char *type, *id;
	uint64_t from, to;
	size_t first, n; /* its objects in the batch */
	bool look; /* not known if the stream has objects: if it has, they are compared elsewhere */
	int64_t stream; /* out: the ledger's handle; 0: no row */
};

enum verify_batch_state { VERIFY_FREE, VERIFY_READY, VERIFY_RUNNING, VERIFY_FULL, VERIFY_DONE };

struct verify_batch {
	/*
	 * verify-batch.c: written under its lock. FULL: found is to be told, then the comparing
	 * goes on
	 */
	enum verify_batch_state state;
	struct verify_part parts[2 * VERIFY_OBJECTS];
	size_t n_parts;
	struct verify_object objects[VERIFY_OBJECTS];
	size_t n_objects;
	uint64_t bytes; /* of the objects */
	struct buf place; /* where a run that stops behind this batch goes on */
	/* out */
	struct buf found;
	uint64_t events, streams, backwards;
	enum rc rc;
	struct why why;
};

enum rc verify_batch_start(struct verify *v) _must_check_;
/*
 * An empty batch, waiting for one; tells what is done meanwhile. NULL: the run ends, v->rc says
 * why.
 */
struct verify_batch *verify_batch_take(struct verify *v);
/* It is filled. */
void verify_batch_give(struct verify *v, struct verify_batch *b);
/* Wait for all that were given, and tell what they found. */
enum rc verify_batch_finish(struct verify *v) _must_check_;
/* End the threads; what was not told is lost. */
void verify_batch_stop(struct verify *v);
/* For the comparing thread: have found told and emptied. False: the run ends. */
bool verify_batch_spill(struct verify *v, struct verify_batch *b);

/* Compare a batch: fills its out fields. */
void verify_compare_batch(struct verify *v, struct verify_batch *b);

/* ------------------------------------------------------------------ state */

/*
 * Open, or begin, the state of a run. *place_r: NULL, or where to go on, as the batch gave it,
 * *place_len_r bytes, the caller's. v->count and v->backwards are then those of the run before, and
 * its findings are told.
 */
enum rc verify_state_open(struct verify *v, uint64_t seeding, char **place_r, size_t *place_len_r,
			  struct why *why) _must_check_;
/* Told findings and where to go on behind them. Written now and then, and by flush. */
void verify_state_add(struct verify_state *st, const char *found, size_t len);
void verify_state_place(struct verify *v, const struct buf *place);
/* Remember that the stream with this handle has objects. */
void verify_state_seen(struct verify_state *st, int64_t stream);
/* 1: it has; 0: it has not; -1: not known. */
int verify_state_was_seen(struct verify_state *st, int64_t stream);
/* True: a later run can go on here. */
bool verify_state_flush(struct verify *v);
/* finished: remove the files. */
void verify_state_close(struct verify_state **st, bool finished);

/* The layouts. */
enum rc verify_native_run(struct verify *v, const char *place, size_t place_len) _must_check_;
enum rc verify_indexed_run(struct verify *v) _must_check_;

#endif
