/* SPDX-License-Identifier: Apache-2.0 */
/* tail-ahead.c - the next page of the time line, read by a thread while the one before is told. */
#include "config.h"
#include "store/tail-private.h"

#include "base/cleanup.h"
#include "base/thread.h"

struct tail_ahead {
	struct store *s;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;	/* guards all below; the page is the thread's while ASKED */
	pthread_cond_t asked, came;
	enum { IDLE, ASKED, CAME } state;
	bool stop;
	struct tail_page page;
	enum rc rc;
	struct why why;
};

static void *ahead_main(void *arg)
{
	struct tail_ahead *a = arg;
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (a->state != ASKED) {
			pthread_cond_wait(&a->asked, &a->lock);
			continue;
		}
		pthread_mutex_unlock(&a->lock);
		struct why why = { "" };
		enum rc rc = tail_page_read(a->s, &a->page, &why);
		pthread_mutex_lock(&a->lock);
		a->rc = rc;
		a->why = why;
		a->state = CAME;
		pthread_cond_signal(&a->came);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

enum rc tail_ahead_new(struct tail_ahead **out, struct store *s, struct why *why)
{
	struct tail_ahead *a = calloc(1, sizeof(*a));
	if (!a)
		return rc_fail(RC_NO_MEMORY, why, "no memory for reading ahead");
	a->s = s;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->asked, NULL);
	pthread_cond_init(&a->came, NULL);
	*out = a;
	return RC_OK;
}

void tail_ahead_free(struct tail_ahead **pa)
{
	struct tail_ahead *a = TAKE_PTR(*pa);
	if (!a)
		return;
	thread_stop(&a->lock, &a->stop, &a->asked, &a->thread, a->running);
	if (a->state != IDLE)
		tail_page_release(&a->page);
	pthread_cond_destroy(&a->asked);
	pthread_cond_destroy(&a->came);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* With the first: who finds nothing to catch up with has no such thread. */
static bool start(struct tail_ahead *a)
{
	if (!a->running)
		a->running = !thread_start(&a->thread, ahead_main, a);
	return a->running;
}

void tail_ahead_begin(struct tail_ahead *a, const struct tail_page *ask)
{
	if (!start(a))
		return;
	pthread_mutex_lock(&a->lock);
	if (a->state == IDLE) {
		a->page = *ask;
		a->page.end = &a->page.first;
		a->state = ASKED;
		pthread_cond_signal(&a->asked);
	}
	pthread_mutex_unlock(&a->lock);
}

bool tail_ahead_pending(struct tail_ahead *a, bool *busy_r)
{
	pthread_mutex_lock(&a->lock);
	bool pending = a->state != IDLE;
	if (busy_r)
		*busy_r = a->state == ASKED;
	pthread_mutex_unlock(&a->lock);
	return pending;
}

enum rc tail_ahead_take(struct tail_ahead *a, struct tail_page *out, struct why *why)
{
	pthread_mutex_lock(&a->lock);
	while (a->state == ASKED)
		pthread_cond_wait(&a->came, &a->lock);
	*out = a->page;
	if (!out->first)
		out->end = &out->first;
	a->state = IDLE;
	enum rc rc = a->rc;
	if (why && rc != RC_OK)
		*why = a->why;
	pthread_mutex_unlock(&a->lock);
	return rc;
}
