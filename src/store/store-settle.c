/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store-settle.c - what is stored is made durable and settled, in batches, off the caller's path.
 *
 * Losing a queued entry at any point is harmless: its row stays pending, a sweeper finds the object and settles it.
 */
#include "config.h"
#include "store/store-private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/thread.h"

#define SETTLE_BATCH 500	/* rows in one ledger transaction: appends wait for it */
#define SETTLE_QUEUE_MAX 100000	/* what is beyond is left to the sweeper */
/*
 * What is not settled is not published, so it is not put off for long. A sync for each event would cost more than the events: syncing
 * and settling take at most a tenth of the time. A server has nothing to sync.
 */
#define SETTLE_SERVER_MS 50
#define SETTLE_DISK_MS 100
#define SETTLE_SHARE 9
#define SETTLE_FREE_US 200	/* a sync that takes no longer had nothing to do */
#define SETTLE_GATHER_MS 10	/* for what comes along with the first one */

void store_settle_add(struct store *s, int64_t stream, uint64_t number, const char *event_id)
{
	struct store_settle *t = &s->settle;
	_cleanup_(freep) char *copy = strdup(event_id);
	if (!copy)
		return;

	pthread_mutex_lock(&t->lock);
	if (t->n == t->cap && t->cap < SETTLE_QUEUE_MAX) {
		size_t cap = t->cap ? t->cap * 2 : 256;
		struct settle_ref *refs = realloc(t->refs, cap * sizeof(*refs));
		if (refs) {
			t->refs = refs;
			t->cap = cap;
		}
	}
	if (t->n < t->cap) {
		t->refs[t->n++] = (struct settle_ref){ stream, number, TAKE_PTR(copy) };
		if (t->n == 1)
			pthread_cond_signal(&t->more);
	}
	pthread_mutex_unlock(&t->lock);
}

static void settle_batch(struct store *s, struct settle_ref *refs, size_t n)
{
	struct ledger_ref batch[SETTLE_BATCH];
	for (size_t from = 0; from < n; from += SETTLE_BATCH) {
		size_t some = n - from < SETTLE_BATCH ? n - from : SETTLE_BATCH;
		for (size_t i = 0; i < some; i++)
			batch[i] = (struct ledger_ref){ refs[from + i].stream, refs[from + i].number, refs[from + i].event_id };
		struct why why = { "" };
		enum rc rc = ledger_settle(s->ledger, batch, some, &why);
		store_saw_ledger(s, rc == RC_FENCED ? RC_OK : rc, &why);
		if (rc == RC_OK)
			STORE_COUNT(s, settled, some);
	}
}

/* How long the sync took. */
static uint64_t flush(struct store *s)
{
	struct store_settle *t = &s->settle;

	pthread_mutex_lock(&t->lock);
	struct settle_ref *refs = TAKE_PTR(t->refs);
	size_t n = t->n;
	t->n = t->cap = 0;
	pthread_mutex_unlock(&t->lock);
	if (!n) {
		free(refs);
		return 0;
	}

	struct why why = { "" };
	STORE_COUNT(s, syncs, 1);
	FAILPOINT("store-settle-before-sync");
	uint64_t began_us = clock_boot_us();
	enum rc rc = object_sync(s->objects, &why);
	uint64_t took_us = clock_boot_us() - began_us;
	store_saw_objects(s, rc, &why);
	FAILPOINT("store-settle-after-sync");
	if (rc == RC_OK)
		settle_batch(s, refs, n);
	for (size_t i = 0; i < n; i++)
		free(refs[i].event_id);
	free(refs);
	return took_us;
}

void store_settle_flush(struct store *s)
{
	(void)flush(s);
}

/* Wait until ms are over or the end is called; true at the end. */
static bool pause_locked(struct store_settle *t, uint64_t ms)
{
	struct timespec until = clock_after_ms(ms);
	while (!t->stop)
		if (pthread_cond_timedwait(&t->more, &t->lock, &until) == ETIMEDOUT)
			break;
	return t->stop;
}

static void *settle_main(void *arg)
{
	struct store *s = arg;
	struct store_settle *t = &s->settle;
	uint64_t next_ms = 0;

	for (bool last = false; !last; ) {
		pthread_mutex_lock(&t->lock);
		while (!t->n && !t->stop)
			pthread_cond_wait(&t->more, &t->lock);
		uint64_t began = clock_boot_ms();
		last = pause_locked(t, next_ms > began + SETTLE_GATHER_MS ? next_ms - began : SETTLE_GATHER_MS);
		pthread_mutex_unlock(&t->lock);

		began = clock_boot_ms();
		uint64_t least = flush(s) <= SETTLE_FREE_US ? SETTLE_SERVER_MS : SETTLE_DISK_MS;
		uint64_t ended = clock_boot_ms(), rest = (ended - began) * SETTLE_SHARE;
		next_ms = ended + (rest > least ? rest : least);
	}
	return NULL;
}

enum rc store_settle_start(struct store *s, struct why *why)
{
	int failed = thread_start(&s->settle.thread, settle_main, s);
	if (failed)
		return rc_fail(RC_NO_MEMORY, why, "cannot start a thread: %s", strerror(failed));
	s->settle.running = true;
	return RC_OK;
}

void store_settle_stop(struct store *s)
{
	struct store_settle *t = &s->settle;
	if (t->running) {
		thread_stop(&t->lock, &t->stop, &t->more, &t->thread, 1);
		t->running = false;
	}
	store_settle_flush(s);
}
