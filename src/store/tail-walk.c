/* SPDX-License-Identifier: Apache-2.0 */
/* tail-walk.c - every event of the store, stream by stream. */
#include "config.h"
#include "store/tail.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/tail-private.h"

#define STREAMS 500		/* of one question */
#define PAGE 1000		/* events of one question */
#define LENGTH 2048		/* events on their way, about */
#define PAUSE_MS 100		/* until a server that is away is asked again */

struct stream {
	char *type, *id;
};

struct walk {
	struct store *s;
	const char *type;
	int64_t from_us, to_us;
	tail_walk_fn *fn;
	void *arg;
	struct tail_queue *queue;
	bool stopped;		/* by fn */
	uint64_t patience_ms;	/* when a server was away for too long; 0: it answers */
	/* the streams of one question */
	struct stream streams[STREAMS];
	size_t n, rows;
	int64_t handle;
	bool failed;		/* with no memory for their names */
	/* the events of one question */
	struct tail_page page;
	uint64_t after;
	bool ended;
};

static void streams_release(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->streams[i].type);
		free(w->streams[i].id);
	}
	w->n = 0;
}

static void walk_release(struct walk *w)
{
	streams_release(w);
	tail_queue_free(&w->queue);
}

/* A server that is away is waited for, for as long as a call may wait. */
static bool waits(struct walk *w, enum rc rc)
{
	uint64_t now = clock_boot_ms();
	if (rc != RC_TEMPORARY) {
		w->patience_ms = 0;
		return false;
	}
	if (!w->patience_ms)
		w->patience_ms = now + w->s->options.timeout_ms;
	if (now >= w->patience_ms)
		return false;
	clock_sleep_ms(PAUSE_MS);
	return true;
}

/* Tell what is on its way until so many are left. */
static enum rc tell(struct walk *w, size_t left, struct why *why)
{
	enum rc rc = RC_OK;
	while (!w->stopped && tail_queue_length(w->queue) > left) {
		struct tail_item *item = NULL;
		struct tail_event e;
		do
			rc = tail_queue_take(w->queue, &item, why);
		while (waits(w, rc));
		if (rc != RC_OK)
			return rc;
		tail_queue_item_tell(item, &e);
		w->stopped = !w->fn(w->arg, &e);
		tail_queue_done(w->queue, item);
	}
	return rc;
}

static bool take_event(void *arg, const struct ledger_row *row)
{
	struct walk *w = arg;
	w->ended = !row->settled || (!row->span && row->recorded_us >= w->to_us);	/* a stream's times only grow */
	if (w->ended)
		return false;
	if (row->span || row->recorded_us < w->from_us) {
		w->after = row->span ? row->number + row->span - 1 : row->number;
		w->page.rows++;
		return true;
	}
	if (!tail_page_add(&w->page, row, NULL))
		return false;
	w->after = row->number;
	w->page.rows++;
	return true;
}

/* One question. What it told is on its way, also where it was broken off: numbers go on behind it. */
static enum rc read_events(struct walk *w, const struct stream *s, struct why *why)
{
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = s->type, .id = s->id, .after = w->after, .limit = PAGE };
	struct tail_page *p = &w->page;
	tail_page_init(p, PAGE, tail_queue_room(w->queue));
	w->ended = false;
	enum rc rc = ledger_read(w->s->ledger, &q, take_event, w, NULL, why);
	w->ended |= rc == RC_OK && !p->full && p->rows < p->limit;
	if (p->first)
		tail_queue_add(w->queue, TAKE_PTR(p->first));
	return p->failed ? rc_fail(RC_NO_MEMORY, why, "no memory for the events of '%s/%s'", s->type, s->id) : rc;
}

static enum rc walk_stream(struct walk *w, const struct stream *s, struct why *why)
{
	enum rc rc = RC_OK;
	w->after = 0;
	w->ended = false;
	while (rc == RC_OK && !w->stopped && !w->ended) {
		do
			rc = read_events(w, s, why);
		while (waits(w, rc));
		if (rc == RC_OK)
			rc = tell(w, tail_queue_room(w->queue) ? LENGTH : 0, why);
	}
	return rc;
}

static bool take_stream(void *arg, const struct ledger_row *row)
{
	struct walk *w = arg;
	w->rows++;
	w->handle = row->stream;
	if (w->type && strcmp(w->type, row->type))
		return true;
	struct stream *s = &w->streams[w->n];
	*s = (struct stream){ strdup(row->type), strdup(row->id) };
	w->n++;
	w->failed = !s->type || !s->id;
	return !w->failed;
}

static enum rc read_streams(struct walk *w, struct why *why)
{
	struct ledger_query q = { .what = LEDGER_STREAMS, .stream = w->handle, .limit = STREAMS };
	streams_release(w);
	w->rows = 0;
	w->failed = false;
	enum rc rc = ledger_read(w->s->ledger, &q, take_stream, w, NULL, why);
	if (rc == RC_OK && w->failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the names of streams");
	if (rc != RC_OK)
		w->handle = q.stream;
	return rc;
}

/* *seeding_r: what is told is of one seeding, of which the whole store was re-seeded. */
static enum rc check_seeding(struct walk *w, uint64_t *seeding_r, struct why *why)
{
	struct ledger_state state = { .count = false };
	enum rc rc = ledger_state(w->s->ledger, &state, why);
	if (rc != RC_OK)
		return rc;
	if (!state.complete || strcmp(state.identity, state.written) || (*seeding_r && *seeding_r != state.seeding))
		return rc_fail(RC_FENCED, why, "the ledger was replaced or put back: the whole store must be re-seeded first");
	*seeding_r = state.seeding;
	return RC_OK;
}

enum rc tail_walk(struct store *s, const char *type, int64_t from_us, int64_t to_us, tail_walk_fn *fn, void *arg, struct why *why)
{
	if (!s->ledger)
		return rc_fail(RC_DENIED, why, "the store has no ledger: nothing tells what there is");
	if (s->info.layout != LAYOUT_NATIVE)
		return rc_fail(RC_INVALID, why, "a store of the indexed layout has no tail yet");
	_cleanup_(freep) struct walk *w = calloc(1, sizeof(*w));
	uint64_t seeding = 0;
	if (!w)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a walk");
	*w = (struct walk){ .s = s, .type = type, .from_us = from_us, .to_us = to_us, .fn = fn, .arg = arg };
	enum rc rc = tail_queue_new(&w->queue, s->objects, 0, 0, why);
	if (rc == RC_OK)
		rc = check_seeding(w, &seeding, why);
	for (bool more = true; rc == RC_OK && more && !w->stopped; ) {
		do
			rc = read_streams(w, why);
		while (waits(w, rc));
		more = rc == RC_OK && w->rows == STREAMS;
		for (size_t i = 0; i < w->n && rc == RC_OK && !w->stopped; i++)
			rc = walk_stream(w, &w->streams[i], why);
	}
	if (rc == RC_OK)
		rc = tell(w, 0, why);
	if (rc == RC_OK && !w->stopped)
		rc = check_seeding(w, &seeding, why);
	walk_release(w);
	return rc;
}
