/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify-batch.c - batches between the thread that lists and tells, and those that compare.
 *
 * The batches are a ring: filled, compared and told in one order. A batch that finds more than fits
 * waits as FULL until it is the oldest, and is told in pieces; the oldest one is always being
 * compared or done, so that this ends.
 */
#include "config.h"
#include "store/verify-private.h"

#include <pthread.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"

#define BATCHES 8
#define THREADS 4

struct verify_pipe {
	struct verify *v;
	pthread_mutex_t lock; /* guards all below, and the batches' state */
	pthread_cond_t changed;
	struct verify_batch ring[BATCHES];
	uint64_t given, told; /* batches so far: ring[told % BATCHES] is the oldest */
	uint64_t next; /* the next to be compared */
	bool stop;
	pthread_t threads[THREADS];
	size_t n_threads;
};

static void *compare(void *arg)
{
	struct verify_pipe *p = arg;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->stop && p->next == p->given)
			pthread_cond_wait(&p->changed, &p->lock);
		if (p->stop)
			break;
		struct verify_batch *b = &p->ring[p->next++ % BATCHES];
		b->state = VERIFY_RUNNING;
		pthread_mutex_unlock(&p->lock);
		verify_compare_batch(p->v, b);
		pthread_mutex_lock(&p->lock);
		b->state = VERIFY_DONE;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

bool verify_batch_spill(struct verify *v, struct verify_batch *b)
{
	struct verify_pipe *p = v->pipe;
	pthread_mutex_lock(&p->lock);
	b->state = VERIFY_FULL;
	pthread_cond_broadcast(&p->changed);
	while (!p->stop && b->state == VERIFY_FULL)
		pthread_cond_wait(&p->changed, &p->lock);
	bool go_on = !p->stop;
	pthread_mutex_unlock(&p->lock);
	return go_on;
}

static void tell_found(struct verify *v, struct verify_batch *b)
{
	verify_tell_notes(v, buf_text(&b->found), b->found.len);
	if (v->state)
		verify_state_add(v->state, buf_text(&b->found), b->found.len);
	buf_reset(&b->found);
}

/* Done with a batch: tell what it found, and make it empty. */
static void tell_batch(struct verify *v, struct verify_batch *b)
{
	if (b->rc == RC_OK && buf_failed(&b->found))
		b->rc = rc_fail(RC_NO_MEMORY, &b->why, "no memory for what was found");
	if (b->rc == RC_OK) {
		tell_found(v, b);
		v->count.streams += b->streams;
		v->backwards += b->backwards;
		for (size_t i = 0; i < b->n_parts && v->state; i++)
			if (b->parts[i].stream && (b->parts[i].n || b->parts[i].from))
				verify_state_seen(v->state, b->parts[i].stream);
		verify_step(v, b->events);
		if (v->state)
			verify_state_place(v, &b->place);
	} else if (v->rc == RC_OK) {
		v->rc = rc_fail(b->rc, &v->why, "%s", b->why.text);
	}
	for (size_t i = 0; i < b->n_parts; i++) {
		free(b->parts[i].type);
		free(b->parts[i].id);
	}
	buf_reset(&b->found);
	buf_reset(&b->place);
	b->n_parts = b->n_objects = 0;
	b->bytes = b->events = b->streams = b->backwards = 0;
	b->rc = RC_OK;
}

/*
 * The oldest batch, once it has something to be told. NULL: not within 100 ms (somebody may want to
 * stop the run), or at most `left` batches wait: *enough_r.
 */
static struct verify_batch *oldest(struct verify_pipe *p, uint64_t left, bool *enough_r)
{
	struct timespec soon = clock_after_ms(100);
	struct verify_batch *b = NULL;
	int waited = 0;
	pthread_mutex_lock(&p->lock);
	while (!b && p->told < p->given && !waited) {
		struct verify_batch *first = &p->ring[p->told % BATCHES];
		if (first->state == VERIFY_DONE || first->state == VERIFY_FULL)
			b = first;
		else if (p->given - p->told <= left)
			break;
		else
			waited = pthread_cond_timedwait(&p->changed, &p->lock, &soon);
	}
	*enough_r = !b && p->given - p->told <= left;
	pthread_mutex_unlock(&p->lock);
	return b;
}

/* Tell what is done, and wait until at most `left` batches are not. */
static void tell_done(struct verify *v, uint64_t left)
{
	struct verify_pipe *p = v->pipe;
	bool enough = false;
	while (!enough && !verify_ends(v)) {
		struct verify_batch *b = oldest(p, left, &enough);
		if (!b)
			continue;
		bool done = b->state == VERIFY_DONE; /* nobody else changes it now */
		if (done)
			tell_batch(v, b);
		else
			tell_found(v, b);
		pthread_mutex_lock(&p->lock);
		b->state = done ? VERIFY_FREE : VERIFY_RUNNING;
		p->told += done;
		pthread_cond_broadcast(&p->changed);
		pthread_mutex_unlock(&p->lock);
	}
}

struct verify_batch *verify_batch_take(struct verify *v)
{
	tell_done(v, BATCHES - 1);
	return verify_ends(v) ? NULL : &v->pipe->ring[v->pipe->given % BATCHES];
}

void verify_batch_give(struct verify *v, struct verify_batch *b)
{
	struct verify_pipe *p = v->pipe;
	pthread_mutex_lock(&p->lock);
	b->state = VERIFY_READY;
	p->given++;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

enum rc verify_batch_finish(struct verify *v)
{
	tell_done(v, 0);
	return v->rc;
}

enum rc verify_batch_start(struct verify *v)
{
	struct verify_pipe *p = calloc(1, sizeof(*p));
	if (!p)
		return rc_fail(RC_NO_MEMORY, &v->why, "no memory to verify");
	p->v = v;
	pthread_mutex_init(&p->lock, NULL);
	thread_cond_init(&p->changed);
	v->pipe = p;
	while (p->n_threads < THREADS && !thread_start(&p->threads[p->n_threads], compare, p))
		p->n_threads++;
	if (p->n_threads)
		return RC_OK;
	verify_batch_stop(v);
	return rc_fail(RC_NO_MEMORY, &v->why, "no thread can be started");
}

void verify_batch_stop(struct verify *v)
{
	struct verify_pipe *p = TAKE_PTR(v->pipe);
	if (!p)
		return;
	thread_stop(&p->lock, &p->stop, &p->changed, p->threads, p->n_threads);
	for (size_t i = 0; i < BATCHES; i++) {
		struct verify_batch *b = &p->ring[i];
		for (size_t k = 0; k < b->n_parts; k++) {
			free(b->parts[k].type);
			free(b->parts[k].id);
		}
		buf_release(&b->found);
		buf_release(&b->place);
	}
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
