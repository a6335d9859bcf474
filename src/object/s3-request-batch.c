/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3-request-batch.c - several requests at once, driven by the thread that wants them.
 *
 * The engine's thread puts what is done on a list. It wakes the caller when all is done that was
 * asked for, when enough is done that the engine would run dry without more, and at once for what
 * may have to be sent again.
 */
#include "config.h"
#include "object/s3-request.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct s3_request_batch {
	pthread_mutex_t done_lock; /* guards all below but woken and flying */
	struct s3_request *done;
	size_t n_done, wake_at;
	bool waiting; /* true: who makes it false posts */
	sem_t woken;
	size_t flying; /* the caller's: given to the engine and not taken back */
};

static void batch_init(struct s3_request_batch *b)
{
	*b = (struct s3_request_batch){ .done = NULL };
	pthread_mutex_init(&b->done_lock, NULL);
	sem_init(&b->woken, 0, 0);
}

static void batch_release(struct s3_request_batch *b)
{
	sem_destroy(&b->woken);
	pthread_mutex_destroy(&b->done_lock);
}

/*
 * In the engine's thread. The caller leaves, and the batch with it, once it took what it waits for:
 * after the post where it waits, else after the unlock.
 */
static void on_done(struct http_call *call)
{
	struct s3_request *r = container_of(call, struct s3_request, call);
	struct s3_request_batch *b = r->batch;
	bool urgent = call->end != HTTP_ANSWERED || call->status >= 300;
	pthread_mutex_lock(&b->done_lock);
	r->next = b->done;
	b->done = r;
	b->n_done++;
	bool wake = b->waiting && (urgent || b->n_done >= b->wake_at);
	if (wake)
		b->waiting = false;
	pthread_mutex_unlock(&b->done_lock);
	if (wake)
		sem_post(&b->woken);
}

/* What is done; where there is nothing, waits for wake_at of them, or an urgent one. */
static struct s3_request *take_done(struct s3_request_batch *b, size_t wake_at)
{
	pthread_mutex_lock(&b->done_lock);
	if (!b->done) {
		b->wake_at = wake_at;
		b->waiting = true;
		pthread_mutex_unlock(&b->done_lock);
		while (sem_wait(&b->woken) && errno == EINTR)
			;
		pthread_mutex_lock(&b->done_lock);
	}
	struct s3_request *done = b->done;
	b->done = NULL;
	b->flying -= b->n_done;
	b->n_done = 0;
	pthread_mutex_unlock(&b->done_lock);
	return done;
}

static bool send(struct s3_request_batch *b, struct s3_request *r)
{
	r->batch = b;
	if (!s3_request_send(r, on_done))
		return false;
	b->flying++;
	return true;
}

enum rc s3_request_batch_one(struct s3_request *r)
{
	struct s3_request_batch b;
	batch_init(&b);
	bool flies = send(&b, r);
	while (flies) {
		(void)take_done(&b, 1);
		flies = !s3_request_ended(r) && send(&b, r);
	}
	batch_release(&b);
	return r->rc;
}

struct run {
	struct s3_request_batch batch;
	const struct s3_request_work *work;
	size_t n, next;
	struct s3_request *idle;
};

/* Give the request its item, or the ones after it, until one flies; else it is idle. */
static void begin(struct run *run, struct s3_request *r, bool same)
{
	while (same || run->next < run->n) {
		if (!same)
			r->item = run->next++;
		same = false;
		s3_request_reset(r);
		if (!run->work->begin(run->work->arg, r->item, r))
			continue;
		if (send(&run->batch, r))
			return;
		same = run->work->end(run->work->arg, r->item, r);
	}
	r->next = run->idle;
	run->idle = r;
}

static void drive(struct run *run, size_t window)
{
	while (run->idle || run->batch.flying) {
		while (run->next < run->n && run->idle) {
			struct s3_request *r = run->idle;
			run->idle = r->next;
			begin(run, r, false);
		}
		size_t flying = run->batch.flying;
		if (!flying)
			return;
		/* with more to come, half a window in flight keeps the engine busy */
		struct s3_request *done =
			take_done(&run->batch, run->next < run->n ? (window + 1) / 2 : flying);
		while (done) {
			struct s3_request *r = done;
			done = r->next;
			if (!s3_request_ended(r)) {
				if (send(&run->batch, r))
					continue;
			}
			begin(run, r, run->work->end(run->work->arg, r->item, r));
		}
	}
}

/*
 * Twice as many as there are connections: those in line are signed while the others are under way.
 */
void s3_request_batch_run(struct s3_site *site, size_t n, const struct s3_request_work *work)
{
	struct s3_request one;
	size_t window = (size_t)site->parallel * 2 < n ? (size_t)site->parallel * 2 : n;
	_cleanup_(freep) struct s3_request *many =
		window > 1 ? calloc(window, sizeof(*many)) : NULL;
	struct s3_request *requests = many ? many : &one;
	if (!many)
		window = 1; /* with no memory for more, one after the other */
	struct run run = { .work = work, .n = n };
	batch_init(&run.batch);
	for (size_t i = window; i-- > 0;) {
		s3_request_init(&requests[i], site);
		requests[i].next = run.idle;
		run.idle = &requests[i];
	}
	drive(&run, window);
	for (size_t i = 0; i < window; i++)
		s3_request_release(&requests[i]);
	batch_release(&run.batch);
}
