/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store-sweep.c - the sweeper: delivers what any process committed and did not live, or wait, to store.
 */
#include "config.h"
#include "store/store-private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/thread.h"

#define SWEEP_BATCH 256
#define SWEEP_INTERVAL_MS 1000	/* beside kicks */
#define SEED_INTERVAL_MS 1500	/* every other turn */

/* Rows as claimed, copied: they are stored after the claim is over. */
struct claimed {
	struct deliver_item *items;
	char **types, **ids, **event_ids;
	size_t n, cap;
	struct why *why;
};

static void claimed_release(struct claimed *c)
{
	store_deliver_release(c->items, c->n);
	for (size_t i = 0; i < c->n; i++) {
		free(c->types[i]);
		free(c->ids[i]);
		free(c->event_ids[i]);
	}
	free(c->items);
	free(c->types);
	free(c->ids);
	free(c->event_ids);
}

static bool claimed_init(struct claimed *c, size_t cap)
{
	c->cap = cap;
	c->items = calloc(cap, sizeof(*c->items));
	c->types = calloc(cap, sizeof(*c->types));
	c->ids = calloc(cap, sizeof(*c->ids));
	c->event_ids = calloc(cap, sizeof(*c->event_ids));
	return c->items && c->types && c->ids && c->event_ids;
}

static enum rc take_claimed(void *arg, const struct ledger_pending *row)
{
	struct claimed *c = arg;
	if (c->n == c->cap)
		return rc_fail(RC_TOO_LARGE, c->why, "more rows were claimed than asked for");
	size_t i = c->n++;
	c->types[i] = strdup(row->type);
	c->ids[i] = strdup(row->id);
	c->event_ids[i] = strdup(row->event_id);
	if (!c->types[i] || !c->ids[i] || !c->event_ids[i])
		return rc_fail(RC_NO_MEMORY, c->why, "no memory for pending events");
	struct deliver_item *item = &c->items[i];
	item->stream = row->stream;
	item->number = row->number;
	item->recorded_us = row->recorded_us;
	item->event_id = c->event_ids[i];
	return store_deliver_join(item, row->type, row->id, row->head, row->head_len, row->tail, row->tail_len, row->own_time, c->why);
}

/* One claim and its delivery; *n_r: rows claimed. */
static enum rc sweep_batch(struct store *s, size_t max, bool all, size_t *n_r, struct why *why)
{
	struct why own = { "" };
	if (!why)
		why = &own;	/* what was contradicted is told, whoever called */
	_cleanup_(claimed_release) struct claimed c = { .why = why };
	if (!claimed_init(&c, max))
		return rc_fail(RC_NO_MEMORY, why, "no memory for pending events");

	*n_r = 0;
	uint64_t until = clock_boot_ms() + s->options.timeout_ms;
	enum rc rc = ledger_claim(s->ledger, max, s->options.timeout_ms, all, take_claimed, &c, n_r, why);
	store_saw_ledger(s, rc == RC_FENCED ? RC_OK : rc, why);
	if (rc != RC_OK || !c.n)
		return rc;

	FAILPOINT("store-claimed");
	store_deliver_expect(s, until);
	size_t contradicted = 0;
	rc = store_deliver(s, c.items, c.n, until, UINT64_MAX, &contradicted, NULL, NULL, why);
	size_t done = 0;
	for (size_t i = 0; i < c.n; i++)
		done += c.items[i].stored;
	STORE_COUNT(s, swept, done);
	if (rc == RC_FENCED) {
		store_note(s, c.types[contradicted], c.ids[contradicted], rc, "%s: the stream is re-seeded", why->text);
		rc = store_seed_stream(s, c.types[contradicted], c.ids[contradicted], why);
	}
	return rc;
}

enum rc store_sweep_once(struct store *s, size_t max, bool all, size_t *n_r, struct why *why)
{
	size_t n = 0, total = 0;
	enum rc rc;
	do {
		size_t some = max - total < SWEEP_BATCH ? max - total : SWEEP_BATCH;
		uint64_t before = atomic_load(&s->count.settled);
		rc = sweep_batch(s, some, all, &n, why);
		total += n;
		if (all && rc == RC_OK && n == SWEEP_BATCH) {
			/* where leases don't count, what is not settled would be given out again, without end */
			store_settle_flush(s);
			all = atomic_load(&s->count.settled) != before;
		}
	} while (rc == RC_OK && n == SWEEP_BATCH && total < max);
	*n_r = total;
	return rc;
}

void store_sweep_kick(struct store *s)
{
	struct store_sweeper *w = &s->sweeper;
	pthread_mutex_lock(&w->lock);
	w->kicked = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

bool store_sweep_ending(struct store *s)
{
	struct store_sweeper *w = &s->sweeper;
	pthread_mutex_lock(&w->lock);
	bool stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	return stop;
}

/* Until kicked, the end, or the interval; false at the end. */
static bool wait_for_work(struct store_sweeper *w, bool *idle)
{
	struct timespec until = clock_after_ms(SWEEP_INTERVAL_MS);

	pthread_mutex_lock(&w->lock);
	while (!w->kicked && !w->stop)
		if (pthread_cond_timedwait(&w->wake, &w->lock, &until) == ETIMEDOUT)
			break;
	*idle &= !w->kicked;
	w->kicked = false;
	bool stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	return !stop;
}

/* What a dead process had leased need not be waited for where it is known that no other process lives. */
static bool leases_are_void(struct store *s)
{
	struct ledger_state state = { .count = false };
	return ledger_state(s->ledger, &state, NULL) == RC_OK && state.alone;
}

/*
 * Where nothing is due each turn asks one thing of the ledger: whether it is the one that it was, or what is due. There is more to
 * do while it is not wholly seeded, after a kick, a failure, or a turn that found something due.
 */
static void *sweep_main(void *arg)
{
	struct store *s = arg;
	bool first = true, failing = false, idle = false, seeded = false;
	uint64_t asked_ms = 0;

	do {
		bool asks = !seeded || clock_boot_ms() - asked_ms >= SEED_INTERVAL_MS;
		if (asks) {
			asked_ms = clock_boot_ms();
			seeded = store_seed_tick(s);
		}
		if (asks && seeded && idle)
			continue;
		struct why why = { "" };
		size_t n = 0;
		enum rc rc = store_sweep_once(s, SIZE_MAX, first && leases_are_void(s), &n, &why);
		first = first && rc != RC_OK;
		seeded = seeded && rc != RC_FENCED;
		idle = rc == RC_OK && !n;
		bool fails = rc != RC_OK && rc != RC_FENCED;
		if (fails && !failing)
			store_note(s, NULL, NULL, rc, "pending events can't be stored, trying again: %s", why.text);
		failing = fails;
	} while (wait_for_work(&s->sweeper, &idle));
	return NULL;
}

enum rc store_sweep_start(struct store *s, struct why *why)
{
	s->sweeper.stop = false;
	int failed = thread_start(&s->sweeper.thread, sweep_main, s);
	if (failed)
		return rc_fail(RC_NO_MEMORY, why, "cannot start a thread: %s", strerror(failed));
	s->sweeper.running = true;
	return RC_OK;
}

void store_sweep_stop(struct store *s)
{
	struct store_sweeper *w = &s->sweeper;
	if (!w->running)
		return;
	thread_stop(&w->lock, &w->stop, &w->wake, &w->thread, 1);
	w->running = false;
}

enum rc store_tend(struct store *s, bool on, struct why *why)
{
	if (!s->ledger || s->read_only || !s->options.follows || s->sweeper.running == on)
		return RC_OK;
	if (on)
		return store_sweep_start(s, why);
	store_sweep_stop(s);
	return RC_OK;
}
