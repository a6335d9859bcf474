/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-keep.c - bodies that were read go into the catalog, by a thread of their own: who reads does
 * not wait for the catalog's one writer. What does not fit into the queue is fetched again.
 */
#include "config.h"
#include "store/view-private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"

#define BODY_MOST (256u << 10)	/* larger ones are not kept */
#define BYTES (UINT64_C(1) << 30)	/* kept in the catalog */
#define QUEUE_BYTES (16u << 20)
#define BATCH 256
#define DELAY_MS 20

struct body {
	struct body *next;
	int64_t dir;
	uint32_t ordinal;
	size_t len;
	char text[];
};

struct view_keep {
	struct catalog *catalog;
	pthread_mutex_t lock;	/* guards all below but the thread */
	pthread_cond_t more;
	struct body *first, **end;
	size_t n, bytes;
	bool stop;
	pthread_t thread;
	bool running;
};

static size_t take_locked(struct view_keep *k, struct body **out)
{
	size_t n = 0;
	for (; k->first && n < BATCH; k->n--) {
		out[n] = k->first;
		k->first = out[n]->next;
		k->bytes -= out[n++]->len;
	}
	if (!k->first)
		k->end = &k->first;
	return n;
}

static void keep_batch(struct view_keep *k, struct body **bodies, size_t n)
{
	struct catalog_body rows[BATCH];
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct catalog_body){ bodies[i]->dir, bodies[i]->ordinal, bodies[i]->text,
						 bodies[i]->len };
	enum rc rc = catalog_body_keep(k->catalog, rows, n, BYTES, NULL);
	(void)rc;	/* what can't be kept is fetched again */
	for (size_t i = 0; i < n; i++)
		free(bodies[i]);
}

static void *keep_main(void *arg)
{
	struct view_keep *k = arg;
	struct body *batch[BATCH];
	pthread_mutex_lock(&k->lock);
	while (k->n || !k->stop) {
		if (!k->n) {
			pthread_cond_wait(&k->more, &k->lock);
			continue;
		}
		struct timespec until = clock_after_ms(DELAY_MS);
		while (k->n < BATCH && !k->stop &&
		       pthread_cond_timedwait(&k->more, &k->lock, &until) != ETIMEDOUT)
			;
		size_t n = take_locked(k, batch);
		pthread_mutex_unlock(&k->lock);
		keep_batch(k, batch, n);
		pthread_mutex_lock(&k->lock);
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

/* With the first body: programs that read nothing have no such thread. */
static bool start_locked(struct view_keep *k)
{
	if (k->running || k->stop)
		return k->running;
	k->running = !thread_start(&k->thread, keep_main, k);
	return k->running;
}

enum rc view_keep_new(struct view_keep **out, struct catalog *catalog, struct why *why)
{
	struct view_keep *k = calloc(1, sizeof(*k));
	if (!k)
		return rc_fail(RC_NO_MEMORY, why, "no memory for keeping events");
	k->catalog = catalog;
	k->end = &k->first;
	pthread_mutex_init(&k->lock, NULL);
	thread_cond_init(&k->more);
	*out = k;
	return RC_OK;
}

void view_keep_free(struct view_keep **pk)
{
	struct view_keep *k = *pk;
	if (!k)
		return;
	thread_stop(&k->lock, &k->stop, &k->more, &k->thread, k->running);
	pthread_cond_destroy(&k->more);
	pthread_mutex_destroy(&k->lock);
	free(k);
	*pk = NULL;
}

void view_keep_add(struct view_keep *k, int64_t dir, uint32_t ordinal, const char *text, size_t len)
{
	struct body *b = len <= BODY_MOST ? malloc(sizeof(*b) + len) : NULL;
	if (!b)
		return;
	*b = (struct body){ .dir = dir, .ordinal = ordinal, .len = len };
	memcpy(b->text, text, len);
	pthread_mutex_lock(&k->lock);
	bool added = start_locked(k) && k->bytes + len <= QUEUE_BYTES;
	if (added) {
		*k->end = b;
		k->end = &b->next;
		k->bytes += len;
		if (!k->n++ || k->n == BATCH)
			pthread_cond_signal(&k->more);
	}
	pthread_mutex_unlock(&k->lock);
	if (!added)
		free(b);
}
