/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store-seed.c - a ledger that is new, lost or put back learns from the objects (design.md 5, model/native.py).
 *
 * The ledger as a whole:
 *   seeded     its identity is the one written down
 *   noticed    it is not; nothing is stored until no PUT given out before can still arrive: twice the time-out, or at once where
 *              no other process has the ledger open, or the store is new, and no PUT of our own is under way
 *   written    the identity stands in the bucket, then in the ledger, under a new number; now each stream waits for its re-seed
 *   complete   every stream that the objects or the ledger name is re-seeded
 */
#include "config.h"
#include "store/store-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "event/draft.h"
#include "event/event.h"
#include "store/checkpoint.h"

#define GET_BATCH 64		/* objects read at once */
#define TRIES 3
#define SLICE_MS 200		/* how long a walk re-seeds before it lets the sweeper's other work in */

/* ------------------------------------------------------------------ one stream */

/* What the objects say of a stream, as the ledger wants it. */
struct found {
	struct ledger_object *objects;
	char **keys;
	size_t n, cap;
	bool failed;
};

static void found_release(struct found *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->keys[i]);
		free((char *)f->objects[i].event_id);
		free((char *)f->objects[i].event_type);
	}
	free(f->keys);
	free(f->objects);
}

static bool found_add(void *arg, const struct layout_entry *e)
{
	struct found *f = arg;
	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 64;
		struct ledger_object *objects = realloc(f->objects, cap * sizeof(*objects));
		if (objects)
			f->objects = objects;
		char **keys = realloc(f->keys, cap * sizeof(*keys));
		if (keys)
			f->keys = keys;
		if (!objects || !keys) {
			f->failed = true;
			return false;
		}
		f->cap = cap;
	}
	char *key = strdup(e->key);
	if (!key) {
		f->failed = true;
		return false;
	}
	f->objects[f->n] = (struct ledger_object){ .number = e->number, .size = e->size,
						   .recorded_us = e->recorded_us ? e->recorded_us : e->modified_us };
	f->keys[f->n++] = key;
	return true;
}

/* Learn id, type and times from a body. What is no event takes its number all the same: a void (event_id stays NULL). */
static enum rc learn(struct store *s, const char *type, const char *id, struct ledger_object *o, const char *key,
		     const struct object_get *get, struct why *why)
{
	_cleanup_(event_release) struct event e = EVENT_INIT;
	struct why reason = { "" };

	if (layout_check_event(get->buf, get->len, type, id, o->number, &e, &reason) != RC_OK || !e.event_id) {
		store_note(s, type, id, RC_CORRUPT, "'%s' is no event of this stream, number %" PRIu64 " is void: %s", key, o->number,
			   reason.text);
		return RC_OK;
	}
	o->size = get->len;
	if (get->recorded_us)
		o->recorded_us = get->recorded_us;
	o->occurred_us = e.has_time ? e.occurred_at.us : o->recorded_us;
	if (draft_digest_body(get->buf, get->len, o->digest, &reason) != RC_OK)
		return rc_fail(RC_CORRUPT, why, "'%s': %s", key, reason.text);
	o->event_id = TAKE_PTR(e.event_id);
	o->event_type = TAKE_PTR(e.event_type);
	return RC_OK;
}

static enum rc read_found(struct store *s, const char *type, const char *id, struct found *f, struct why *why)
{
	for (size_t from = 0; from < f->n; from += GET_BATCH) {
		struct object_get gets[GET_BATCH];
		size_t n = f->n - from < GET_BATCH ? f->n - from : GET_BATCH;
		for (size_t i = 0; i < n; i++)
			gets[i] = (struct object_get){ .key = f->keys[from + i] };
		STORE_COUNT(s, gets, n);
		enum rc worst = object_get(s->objects, gets, n) == RC_NO_MEMORY ?
			rc_fail(RC_NO_MEMORY, why, "no memory for the objects of '%s/%s'", type, id) : RC_OK;
		for (size_t i = 0; i < n; i++) {
			if (gets[i].rc == RC_OK && worst == RC_OK)
				worst = learn(s, type, id, &f->objects[from + i], gets[i].key, &gets[i], why);
			else if (gets[i].rc == RC_TOO_LARGE)	/* no event is that large */
				store_note(s, type, id, RC_CORRUPT, "number %" PRIu64 " is void: %s", f->objects[from + i].number,
					   gets[i].why.text);
			else if (gets[i].rc != RC_OK && worst == RC_OK)
				worst = rc_fail(gets[i].rc, why, "%s", gets[i].why.text);
			free(gets[i].buf);
		}
		if (worst != RC_OK)
			return worst;
	}
	return RC_OK;
}

/* What the ledger says of a stream; as it is here, the ledger does not know it. */
struct standing {
	bool there, unseeded;
	uint64_t settled_to;
};

static bool take_row(void *arg, const struct ledger_row *row)
{
	*(struct standing *)arg = (struct standing){ true, row->unseeded, row->settled_to };
	return false;
}

/* A re-seed counts what the objects hold as settled: before that the disk must have it. */
static enum rc sync_objects(struct store *s, struct why *why)
{
	STORE_COUNT(s, syncs, 1);
	enum rc rc = object_sync(s->objects, why);
	store_saw_objects(s, rc, why);
	return rc;
}

/* whole: from the first number on, whatever is settled. sum (may be NULL): what was done is added to it. */
static enum rc seed_stream_once(struct store *s, const char *type, const char *id, bool whole, struct store_reindexed *sum,
				struct why *why)
{
	struct ledger_state state = { .count = false };
	enum rc rc = ledger_state(s->ledger, &state, why);
	if (rc != RC_OK)
		return rc;

	struct standing row = { false, true, 0 };
	struct ledger_query q = { .what = LEDGER_STREAM, .type = type, .id = id, .unseeded_too = true };
	rc = ledger_read(s->ledger, &q, take_row, &row, NULL, why);
	if (rc != RC_OK)
		return rc;

	_cleanup_(found_release) struct found f = { 0 };
	uint64_t after = whole ? 0 : row.settled_to;
	STORE_COUNT(s, lists, 1);
	rc = layout_list_stream(s->objects, s->info.layout, type, id, after, found_add, &f, why);
	if (rc == RC_OK && f.failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the objects of '%s/%s'", type, id);
	if (rc == RC_OK)
		rc = read_found(s, type, id, &f, why);
	if (rc == RC_OK && f.n && !row.unseeded)	/* others were synced when the seeding was written down */
		rc = sync_objects(s, why);
	if (rc != RC_OK)
		return rc;

	FAILPOINT("store-reseed");
	struct ledger_reseed r = { .type = type, .id = id, .seeding = state.seeding, .after = after,
				   .objects = f.objects, .n = f.n };
	rc = ledger_reseed(s->ledger, &r, why);
	if (rc != RC_OK)
		return rc;
	STORE_COUNT(s, reseeded, 1);
	if (sum) {
		sum->streams++;
		sum->events += f.n;
		sum->added += r.added;
		sum->replaced += r.replaced;
		sum->moved += r.moved;
		sum->dropped += r.dropped;
	}
	if (r.replaced || r.moved || r.dropped)
		store_note(s, type, id, r.dropped ? RC_CONFLICT : RC_OK,
			   "re-seeded: %zu added, %zu replaced, %zu moved to the end, %zu dropped, %zu void%s%s",
			   r.added, r.replaced, r.moved, r.dropped, r.voids, r.dropped ? "; dropped: " : "", r.dropped_why.text);
	if (s->view)
		view_touch(s->view, type, id);
	return RC_OK;
}

static enum rc seed_stream(struct store *s, const char *type, const char *id, bool whole, struct store_reindexed *sum,
			   struct why *why)
{
	enum rc rc = RC_CONFLICT;
	for (int i = 0; i < TRIES && rc == RC_CONFLICT; i++)	/* another process re-seeds it, or the ledger, at the same time */
		rc = seed_stream_once(s, type, id, whole, sum, why);
	return rc == RC_CONFLICT ? RC_FENCED : rc;
}

enum rc store_seed_stream(struct store *s, const char *type, const char *id, struct why *why)
{
	return seed_stream(s, type, id, false, NULL, why);
}

/* ------------------------------------------------------------------ the ledger */

/* When was this identity first seen unseeded? */
static uint64_t noticed_ms(struct store *s, const char *identity)
{
	struct store_seeding *d = &s->seeding;
	pthread_mutex_lock(&d->lock);
	if (strcmp(d->noticed, identity)) {
		snprintf(d->noticed, sizeof(d->noticed), "%s", identity);
		d->noticed_ms = clock_boot_ms();
	}
	uint64_t when = d->noticed_ms;
	pthread_mutex_unlock(&d->lock);
	return when;
}

static void forget_notice(struct store *s)
{
	pthread_mutex_lock(&s->seeding.lock);
	s->seeding.noticed[0] = '\0';
	pthread_mutex_unlock(&s->seeding.lock);
}

/* How long until no PUT that was given out under the old identity can arrive. */
static uint64_t still_to_wait(struct store *s, const struct ledger_state *state)
{
	uint64_t now = clock_boot_ms(), until = noticed_ms(s, state->identity) + 2 * s->options.timeout_ms;
	if (state->alone || s->options.born)
		until = atomic_load(&s->committing) ? now + 1 : atomic_load(&s->in_flight_until);
	return until > now ? until - now : 0;
}

/*
 * No publisher's pass under way can move its checkpoint any more, and what is recorded from now on lies behind all of them. The later of
 * two clocks says which checkpoint is of the future: a ledger's that was put back may be behind.
 */
static enum rc raise_floor(struct store *s, const struct ledger_state *state, int64_t *floor_us, struct why *why)
{
	int64_t latest_us = 0, now_us = clock_wall_us();
	enum rc rc = checkpoint_touch_all(s->objects, now_us > state->now_us ? now_us : state->now_us, &latest_us, why);
	*floor_us = latest_us && latest_us >= state->floor_us ? latest_us + 1 : state->floor_us;
	return rc;
}

/* asked: this is the ledger of before, and somebody wants it seeded anew. */
static enum rc write_down(struct store *s, const struct ledger_state *state, bool asked, struct why *why)
{
	struct layout_seeding bucket;
	int64_t floor_us = 0;
	enum rc rc = sync_objects(s, why);
	if (rc == RC_OK)
		rc = raise_floor(s, state, &floor_us, why);
	FAILPOINT("store-seed-checkpoints-written");
	if (rc == RC_OK)
		rc = layout_read_seeding(s->objects, &bucket, why);
	if (rc != RC_OK)
		return rc;

	/*
	 * A try that ended between bucket and ledger left this ledger's name in the bucket: it is gone on with under its number,
	 * however often that happens. Any other number there means that another ledger was in use.
	 */
	bool own_try = bucket.number == state->seeding + 1 && !strcmp(bucket.identity, state->identity);
	bool other_line = bucket.number != state->seeding && !own_try;
	uint64_t number = own_try ? bucket.number : (bucket.number > state->seeding ? bucket.number : state->seeding) + 1;

	if (!own_try) {
		bucket.number = number;
		snprintf(bucket.identity, sizeof(bucket.identity), "%s", state->identity);
		rc = layout_write_seeding(s->objects, &bucket, why);
		if (rc != RC_OK)
			return rc;
	}
	FAILPOINT("store-seed-bucket-written");
	rc = ledger_seed(s->ledger, state->identity, number, other_line, floor_us, why);
	if (rc != RC_OK)
		return rc;
	STORE_COUNT(s, seedings, 1);
	forget_notice(s);
	if (number > 1 && !asked)
		store_note(s, NULL, NULL, RC_OK, "the ledger is another than before (new, or put back): seeding %" PRIu64
			   " begins, streams are re-seeded from the objects", number);
	return RC_OK;
}

enum rc store_seed_check(struct store *s, struct why *why)
{
	struct layout_seeding bucket;
	struct ledger_state state = { .count = false };
	enum rc rc = layout_read_seeding(s->objects, &bucket, why);
	if (rc == RC_OK)
		rc = ledger_state(s->ledger, &state, why);
	if (rc != RC_OK || strcmp(state.identity, state.written))
		return rc;	/* what differs is seen anyway */
	bool ours = !strcmp(bucket.identity, state.identity);
	/* a seeding of this ledger may have got no further than the bucket */
	if (bucket.number < state.seeding || (ours && bucket.number <= state.seeding + 1))
		return RC_OK;
	rc = ledger_seed(s->ledger, "", 0, false, 0, why);
	if (rc == RC_OK)
		store_note(s, NULL, NULL, RC_OK, "the ledger is of seeding %" PRIu64 ", the objects of seeding %" PRIu64
			   ": another ledger was in use", state.seeding, bucket.number);
	return rc;
}

/*
 * Seed the ledger if it must be and may be. RC_OK: it is seeded. RC_TEMPORARY with *wait_ms_r > 0: to be tried again then.
 */
static enum rc seed_ledger(struct store *s, uint64_t *wait_ms_r, struct why *why)
{
	*wait_ms_r = 0;
	pthread_mutex_lock(&s->seeding.work_lock);
	struct ledger_state state = { .count = false };
	enum rc rc = ledger_state(s->ledger, &state, why);
	store_saw_ledger(s, rc, why);
	if (rc == RC_OK && strcmp(state.identity, state.written)) {
		*wait_ms_r = still_to_wait(s, &state);
		if (*wait_ms_r) {
			rc = rc_fail(RC_TEMPORARY, why, "the ledger was replaced or put back; appends wait %" PRIu64
				     " ms more until nothing stored before can arrive", *wait_ms_r);
		} else {
			rc = write_down(s, &state, false, why);
			if (rc == RC_CONFLICT) {	/* another process was faster, or it was replaced again */
				*wait_ms_r = 1;
				rc = RC_TEMPORARY;
			}
		}
	}
	pthread_mutex_unlock(&s->seeding.work_lock);
	return rc;
}

enum rc store_seed_fenced(struct store *s, const char *type, const char *id, uint64_t deadline_ms,
			  bool (*cancelled)(void *), void *arg, struct why *why)
{
	for (;;) {
		uint64_t wait_ms = 0;
		enum rc rc = type ? store_seed_stream(s, type, id, why) : seed_ledger(s, &wait_ms, why);
		if (type && rc == RC_FENCED) {	/* the ledger itself, meanwhile */
			type = NULL;
			continue;
		}
		if (rc != RC_TEMPORARY || !wait_ms)
			return rc;
		uint64_t now = clock_boot_ms();
		if (now + wait_ms > deadline_ms)
			return rc;
		if (cancelled && cancelled(arg))
			return rc_fail(RC_CANCELLED, why, "interrupted before the commit");
		clock_sleep_ms(wait_ms < 50 ? (unsigned)wait_ms : 50);
	}
}

/* ------------------------------------------------------------------ the whole store */

struct walk {
	struct store *s;
	bool in_background;	/* sweep now and then, end when the store closes */
	bool whole;		/* every stream, from its first number on */
	struct store_reindexed sum;
	uint64_t slice_ms;	/* when the slice ends */
	uint64_t done;
	int64_t stream;		/* of a stream that waits */
	char *type, *id;
	bool stopped;
	enum rc rc;		/* ends the walk */
	struct why why;
	enum rc failed;		/* the first stream that could not be re-seeded; the others are */
	struct why failed_why;
	void (*progress)(void *arg, uint64_t streams);
	void *arg;
};

static bool is_seeded(struct walk *w, const char *type, const char *id)
{
	bool fenced = false;
	struct standing row = { 0 };
	struct ledger_query q = { .what = LEDGER_STREAM, .type = type, .id = id };
	enum rc rc = ledger_read(w->s->ledger, &q, take_row, &row, &fenced, NULL);
	return rc == RC_OK && row.there;
}

static bool seed_named(void *arg, const char *type, const char *id)
{
	struct walk *w = arg;
	if (w->whole || !is_seeded(w, type, id)) {
		enum rc rc = seed_stream(w->s, type, id, w->whole, &w->sum, &w->why);
		if (rc == RC_FENCED || rc == RC_NO_MEMORY) {
			w->rc = rc;
			return false;
		}
		if (rc != RC_OK && w->failed == RC_OK) {
			w->failed = rc;
			w->failed_why = w->why;
			rc_prefix(rc, &w->failed_why, "'%s/%s' can't be re-seeded", type, id);
		}
		w->done += rc == RC_OK;
		if (w->progress)
			w->progress(w->arg, w->done);
	}
	if (w->in_background && clock_boot_ms() >= w->slice_ms) {
		size_t n;
		w->stopped = store_sweep_ending(w->s);
		w->rc = w->stopped ? RC_OK : store_sweep_once(w->s, SIZE_MAX, false, &n, &w->why);
		w->slice_ms = clock_boot_ms() + SLICE_MS;
	}
	return !w->stopped && w->rc == RC_OK;
}

static bool take_unseeded(void *arg, const struct ledger_row *row)
{
	struct walk *w = arg;
	w->stream = row->stream;
	w->type = strdup(row->type);
	w->id = strdup(row->id);
	return false;
}

/* Streams that only the ledger names: their objects were never stored. */
static enum rc seed_rest(struct walk *w, struct why *why)
{
	while (!w->stopped) {
		struct ledger_query q = { .what = LEDGER_UNSEEDED, .stream = w->stream, .limit = 1,
					  .unseeded_too = true };
		enum rc rc = ledger_read(w->s->ledger, &q, take_unseeded, w, NULL, why);
		if (rc != RC_OK)
			return rc;
		_cleanup_(freep) char *type = TAKE_PTR(w->type);
		_cleanup_(freep) char *id = TAKE_PTR(w->id);
		if (!type || !id)
			return RC_OK;
		if (!seed_named(w, type, id) && w->rc != RC_OK)
			return rc_fail(w->rc, why, "%s", w->why.text);
	}
	return RC_OK;
}

static enum rc seed_all(struct store *s, struct walk *w, struct why *why)
{
	struct ledger_state state = { .count = false };
	enum rc rc = ledger_state(s->ledger, &state, why);
	if (rc != RC_OK)
		return rc;
	w->s = s;
	STORE_COUNT(s, lists, 1);
	rc = layout_list_streams(s->objects, s->info.layout, seed_named, w, NULL, why);
	if (rc == RC_OK && w->rc != RC_OK)
		rc = rc_fail(w->rc, why, "%s", w->why.text);
	if (rc == RC_OK && !w->stopped)
		rc = seed_rest(w, why);
	if (rc == RC_OK && w->failed != RC_OK)
		rc = rc_fail(w->failed, why, "%s", w->failed_why.text);
	if (rc != RC_OK || w->stopped)
		return rc;
	struct ledger_reseed complete = { .type = NULL, .seeding = state.seeding };
	return ledger_reseed(s->ledger, &complete, why);
}

enum rc store_seed(struct store *s, void (*progress)(void *arg, uint64_t streams), void *arg, struct why *why)
{
	for (;;) {
		enum rc rc = store_seed_fenced(s, NULL, NULL, UINT64_MAX, NULL, NULL, why);
		if (rc != RC_OK)
			return rc;
		struct walk w = { .progress = progress, .arg = arg };
		rc = seed_all(s, &w, why);
		if (rc != RC_FENCED && rc != RC_CONFLICT)
			return rc;
	}
}

/* Raise a seeding over a ledger that is good as such. *wait_ms_r: until no PUT given out before it can still arrive. */
static enum rc seed_anew(struct store *s, uint64_t *wait_ms_r, struct why *why)
{
	struct ledger_state state = { .count = false };
	*wait_ms_r = 0;
	pthread_mutex_lock(&s->seeding.work_lock);
	enum rc rc = ledger_state(s->ledger, &state, why);
	if (rc == RC_OK && strcmp(state.identity, state.written) != 0)
		rc = rc_fail(RC_CONFLICT, why, "the ledger was replaced or put back meanwhile");
	if (rc == RC_OK)
		rc = write_down(s, &state, true, why);
	if (rc == RC_OK)
		*wait_ms_r = state.alone ? 0 : 2 * s->options.timeout_ms;
	pthread_mutex_unlock(&s->seeding.work_lock);
	return rc;
}

enum rc store_reindex(struct store *s, void (*progress)(void *arg, uint64_t streams), void *arg, struct store_reindexed *out,
		      struct why *why)
{
	uint64_t wait_ms = 0;
	enum rc rc = RC_CONFLICT;
	for (int i = 0; i < TRIES && rc == RC_CONFLICT; i++) {	/* another process seeds it at the same time */
		rc = store_seed_fenced(s, NULL, NULL, UINT64_MAX, NULL, NULL, why);
		if (rc == RC_OK)
			rc = seed_anew(s, &wait_ms, why);
	}
	/*
	 * From here on each stream is fenced until it is re-seeded. Rows keep their numbers, so that a PUT under way lands where it
	 * belongs; but one whose row the objects contradict must have landed, or have failed, before they are listed.
	 */
	for (uint64_t until = clock_boot_ms() + wait_ms; rc == RC_OK && clock_boot_ms() < until; clock_sleep_ms(50))
		if (progress)
			progress(arg, 0);
	*out = (struct store_reindexed){ 0 };
	while (rc == RC_OK) {
		struct walk w = { .whole = true, .progress = progress, .arg = arg, .sum = *out };
		w.sum.streams = w.sum.events = 0;	/* counted by the last walk, what was changed by all */
		rc = seed_all(s, &w, why);
		*out = w.sum;
		if (rc != RC_FENCED && rc != RC_CONFLICT)
			break;
		rc = store_seed_fenced(s, NULL, NULL, UINT64_MAX, NULL, NULL, why);
	}
	return rc;
}

/* The view drops what was not firm under another seeding. */
static void tell_view(struct store *s, uint64_t seeding)
{
	struct store_seeding *d = &s->seeding;
	pthread_mutex_lock(&d->lock);
	bool news = d->seen_valid && d->seen != seeding;
	d->seen = seeding;
	d->seen_valid = true;
	pthread_mutex_unlock(&d->lock);

	struct view *v = atomic_load(&s->view);
	if (!news || !v)
		return;
	size_t dropped = 0;
	struct why why = { "" };
	enum rc rc = view_identity_changed(v, &dropped, &why);
	if (rc != RC_OK)
		store_note(s, NULL, NULL, rc, "the catalog could not be told of the new seeding: %s", why.text);
	else if (dropped)
		store_note(s, NULL, NULL, RC_OK, "%zu events that were shown and not yet stored are asked for again", dropped);
}

bool store_seed_tick(struct store *s)
{
	struct ledger_state state = { .count = false };
	struct why why = { "" };
	enum rc rc = ledger_state(s->ledger, &state, &why);
	store_saw_ledger(s, rc, &why);
	if (rc != RC_OK)
		return false;

	if (strcmp(state.identity, state.written)) {
		uint64_t wait_ms;
		if (seed_ledger(s, &wait_ms, &why) != RC_OK)
			return false;
		if (ledger_state(s->ledger, &state, &why) != RC_OK)
			return false;
	} else {
		forget_notice(s);	/* another process seeded it; the same place may be put back another time */
	}
	tell_view(s, state.seeding);

	if (state.complete)
		return true;
	struct walk w = { .in_background = true, .slice_ms = clock_boot_ms() + SLICE_MS };
	rc = seed_all(s, &w, &why);
	if (rc == RC_OK && !w.stopped)
		store_note(s, NULL, NULL, RC_OK, "the whole store is re-seeded, seeding %" PRIu64 ", %" PRIu64 " streams",
			   state.seeding, w.done);
	else if (w.failed != RC_OK && strcmp(w.failed_why.text, s->seeding.told)) {	/* each tick tries again, told once */
		snprintf(s->seeding.told, sizeof(s->seeding.told), "%s", w.failed_why.text);
		store_note(s, NULL, NULL, w.failed, "%s", w.failed_why.text);
	}
	return rc == RC_OK && !w.stopped;
}
