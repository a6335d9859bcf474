/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store-queue.c - appends that were answered at their commit, on their way to the objects.
 *
 * Their rows are leased to this process: it has the bodies at hand, so nobody need claim them. What is not stored when the lease
 * ends, or when this process ends, is the sweeper's, of any process.
 *
 * Nobody waits for them, and each costs the servers more than its commit: as long as commits come one after another they are held
 * back, up to HOLD_MS.
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

#define QUEUE_EVENTS 20000	/* what is beyond is the sweeper's from the start */
#define QUEUE_BYTES (64u << 20)
#define BATCH_EVENTS 256	/* put at once */
#define HOLD_MS 1000		/* at most, and a quarter of the time-out */
#define IDLE_MS 20		/* no commit for so long: held back no more */

/* One append. */
struct queued {
	struct queued *next;
	uint64_t number;	/* of the queue's appends, from 1 */
	uint64_t added_ms, deadline_ms;
	char *type, *id;
	size_t n, bytes;
	struct deliver_item items[];
};

static void queued_free(struct queued *q)
{
	store_deliver_release(q->items, q->n);
	free(q->type);
	free(q->id);
	free(q);
}

bool store_queue_has_room(struct store *s)
{
	struct store_queue *q = &s->queue;
	pthread_mutex_lock(&q->lock);
	bool room = q->running && !q->stop && q->events < QUEUE_EVENTS && q->bytes < QUEUE_BYTES;
	pthread_mutex_unlock(&q->lock);
	return room;
}

/* Move the items, with ids of their own. NULL: no memory, and nothing was moved. */
static struct queued *make(const char *type, const char *id, struct deliver_item *items, size_t n)
{
	struct queued *made = calloc(1, sizeof(*made) + n * sizeof(*items));
	if (!made)
		return NULL;
	made->type = strdup(type);
	made->id = strdup(id);
	bool good = made->type && made->id;
	for (size_t i = 0; i < n && good; i++) {
		made->items[i] = items[i];
		made->items[i].key = made->items[i].body = NULL;
		made->items[i].event_id = made->items[i].own_id = strdup(items[i].event_id);
		made->n++;
		good = made->items[i].own_id;
	}
	if (!good) {
		queued_free(made);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		made->items[i].key = TAKE_PTR(items[i].key);
		made->items[i].body = TAKE_PTR(items[i].body);
		made->bytes += items[i].len;
	}
	return made;
}

void store_queue_add(struct store *s, const char *type, const char *id, struct deliver_item *items, size_t n, uint64_t deadline_ms)
{
	struct store_queue *q = &s->queue;
	struct queued *made = make(type, id, items, n);
	if (!made) {
		atomic_store(&s->owes, true);	/* when the lease is over */
		return;
	}
	made->deadline_ms = deadline_ms;
	pthread_mutex_lock(&q->lock);
	made->added_ms = q->added_ms = clock_boot_ms();
	made->number = ++q->next;
	*q->tail = made;
	q->tail = &made->next;
	q->events += n;
	q->bytes += made->bytes;
	if (q->head == made)
		pthread_cond_signal(&q->more);
	pthread_mutex_unlock(&q->lock);
}

/* As many appends as are put at once; those of one batch have nearly the same deadline. */
static struct queued *take_batch_locked(struct store_queue *q, size_t *events_r)
{
	struct queued *batch = q->head, **end = &batch;
	size_t events = 0;
	while (*end && (!events || events + (*end)->n <= BATCH_EVENTS)) {
		events += (*end)->n;
		q->bytes -= (*end)->bytes;
		end = &(*end)->next;
	}
	q->head = *end;
	*end = NULL;
	if (!q->head)
		q->tail = &q->head;
	q->events -= events;
	*events_r = events;
	return batch;
}

/* Another event lies under a key: the stream is re-seeded, which settles or moves what was to be stored. */
static void reseed(struct store *s, const struct queued *batch, size_t contradicted, struct why *why)
{
	while (contradicted >= batch->n) {
		contradicted -= batch->n;
		batch = batch->next;
	}
	store_note(s, batch->type, batch->id, RC_FENCED, "%s: the stream is re-seeded", why->text);
	enum rc rc = store_seed_stream(s, batch->type, batch->id, why);
	if (rc != RC_OK && rc != RC_FENCED)
		store_note(s, batch->type, batch->id, rc, "can't be re-seeded now: %s", why->text);
}

static void deliver_batch(struct store *s, struct queued *batch, size_t events)
{
	_cleanup_(freep) struct deliver_item *items = malloc(events * sizeof(*items));
	struct why why = { "" };
	size_t n = 0, contradicted = 0;
	if (!items) {
		atomic_store(&s->owes, true);
		return;
	}
	for (const struct queued *w = batch; w; w = w->next)
		for (size_t i = 0; i < w->n; i++)
			items[n++] = w->items[i];
	FAILPOINT("store-queued");
	enum rc rc = store_deliver(s, items, n, batch->deadline_ms, UINT64_MAX, &contradicted, NULL, NULL, &why);
	if (rc == RC_FENCED)
		reseed(s, batch, contradicted, &why);
}

/* How long what came first is still held back. */
static uint64_t hold_ms_locked(const struct store *s, uint64_t now)
{
	const struct store_queue *q = &s->queue;
	if (q->stop || q->hurry || q->events > QUEUE_EVENTS / 2 || q->bytes > QUEUE_BYTES / 2)
		return 0;
	uint64_t most = s->options.timeout_ms / 4 < HOLD_MS ? s->options.timeout_ms / 4 : HOLD_MS;
	uint64_t until = q->head->added_ms + most, idle = q->added_ms + IDLE_MS;
	until = idle < until ? idle : until;
	return until > now ? until - now : 0;
}

/* Wait for something to deliver. False: the end, and nothing is left. */
static bool wait_locked(struct store *s)
{
	struct store_queue *q = &s->queue;
	for (;;) {
		uint64_t ms = q->head ? hold_ms_locked(s, clock_boot_ms()) : 0;
		if (q->head && !ms)
			return true;
		if (!q->head && q->stop)
			return false;
		struct timespec until = clock_after_ms(ms);
		if (q->head)
			pthread_cond_timedwait(&q->more, &q->lock, &until);
		else
			pthread_cond_wait(&q->more, &q->lock);
	}
}

struct deliverer {
	struct store *s;
	unsigned at;
};

static void *deliver_main(void *arg)
{
	struct deliverer d = *(struct deliverer *)arg;
	struct store_queue *q = &d.s->queue;
	free(arg);

	pthread_mutex_lock(&q->lock);
	while (wait_locked(d.s)) {
		size_t events;
		struct queued *batch = take_batch_locked(q, &events);
		q->at_work[d.at] = batch->number;
		if (q->head)
			pthread_cond_signal(&q->more);
		pthread_mutex_unlock(&q->lock);
		deliver_batch(d.s, batch, events);
		for (struct queued *next; batch; batch = next) {
			next = batch->next;
			queued_free(batch);
		}
		pthread_mutex_lock(&q->lock);
		q->at_work[d.at] = 0;
		pthread_cond_broadcast(&q->done);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

static bool passed_locked(const struct store_queue *q, uint64_t number)
{
	bool passed = !q->head || q->head->number > number;
	for (unsigned i = 0; i < STORE_DELIVERERS; i++)
		passed &= !q->at_work[i] || q->at_work[i] > number;
	return passed;
}

enum rc store_queue_wait(struct store *s, uint64_t deadline_ms, struct why *why)
{
	struct store_queue *q = &s->queue;
	uint64_t now = clock_boot_ms();
	struct timespec until = clock_after_ms(deadline_ms > now ? deadline_ms - now : 0);
	int err = 0;
	pthread_mutex_lock(&q->lock);
	uint64_t number = q->next;
	q->hurry++;
	pthread_cond_broadcast(&q->more);
	while (!passed_locked(q, number) && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&q->done, &q->lock, &until);
	bool passed = passed_locked(q, number);
	q->hurry--;
	pthread_mutex_unlock(&q->lock);
	return passed ? RC_OK : rc_fail(RC_TEMPORARY, why, "what was committed is not stored yet");
}

enum rc store_queue_start(struct store *s, struct why *why)
{
	struct store_queue *q = &s->queue;
	for (unsigned i = 0; i < STORE_DELIVERERS; i++) {
		struct deliverer *d = malloc(sizeof(*d));
		if (!d)
			return rc_fail(RC_NO_MEMORY, why, "no memory for a thread");
		*d = (struct deliverer){ s, i };
		int failed = thread_start(&q->threads[i], deliver_main, d);
		if (failed) {
			free(d);
			return rc_fail(RC_NO_MEMORY, why, "cannot start a thread: %s", strerror(failed));
		}
		q->running++;
	}
	return RC_OK;
}

void store_queue_stop(struct store *s)
{
	struct store_queue *q = &s->queue;
	thread_stop(&q->lock, &q->stop, &q->more, q->threads, q->running);
	q->running = 0;
}
