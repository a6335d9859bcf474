/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - a few threads that share the work of one batch. */
#include "config.h"
#include "object/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/thread.h"

/* One batch; lives on the stack of its caller, who leaves only when nobody is at work on it. */
struct job {
	struct job *next;
	pool_fn *fn;
	void *arg;
	size_t n, step;
	atomic_size_t taken; /* items handed out so far */
	unsigned wanted; /* threads that may still join; guarded by jobs_lock */
	unsigned working; /* threads that did and have not left; guarded by jobs_lock */
};

struct pool {
	pthread_mutex_t jobs_lock; /* guards all below but pid */
	pthread_cond_t job_added, job_left;
	struct job *jobs;
	pthread_t threads[POOL_THREADS_MAX - 1];
	unsigned started;
	bool stop;
	pid_t pid; /* who started them: a child of fork has none */
};

enum rc pool_new(struct pool **out, struct why *why)
{
	struct pool *p = calloc(1, sizeof(*p));
	if (!p)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a pool of threads");
	pthread_mutex_init(&p->jobs_lock, NULL);
	pthread_cond_init(&p->job_added, NULL);
	pthread_cond_init(&p->job_left, NULL);
	p->pid = getpid();
	*out = p;
	return RC_OK;
}

static void work(struct job *j)
{
	for (;;) {
		size_t from = atomic_fetch_add(&j->taken, j->step);
		if (from >= j->n)
			return;
		j->fn(j->arg, from, j->n - from > j->step ? from + j->step : j->n);
	}
}

static struct job *wanting_locked(struct pool *p)
{
	for (struct job *j = p->jobs; j; j = j->next)
		if (j->wanted && atomic_load(&j->taken) < j->n)
			return j;
	return NULL;
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;
	pthread_mutex_lock(&p->jobs_lock);
	while (!p->stop) {
		struct job *j = wanting_locked(p);
		if (!j) {
			pthread_cond_wait(&p->job_added, &p->jobs_lock);
			continue;
		}
		j->wanted--;
		j->working++;
		pthread_mutex_unlock(&p->jobs_lock);
		work(j);
		pthread_mutex_lock(&p->jobs_lock);
		if (--j->working == 0)
			pthread_cond_broadcast(&p->job_left);
	}
	pthread_mutex_unlock(&p->jobs_lock);
	return NULL;
}

static void start_locked(struct pool *p, unsigned count)
{
	if (p->started >= count || p->pid != getpid())
		return;
	while (p->started < count && !thread_start(&p->threads[p->started], thread_main, p))
		p->started++;
}

static void remove_locked(struct pool *p, struct job *gone)
{
	for (struct job **j = &p->jobs; *j; j = &(*j)->next) {
		if (*j == gone) {
			*j = gone->next;
			return;
		}
	}
}

void pool_run(struct pool *p, size_t n, size_t step, unsigned threads, pool_fn *fn, void *arg)
{
	struct job job = { .fn = fn, .arg = arg, .n = n, .step = step };
	if (threads > POOL_THREADS_MAX)
		threads = POOL_THREADS_MAX;
	job.wanted = threads - 1;

	pthread_mutex_lock(&p->jobs_lock);
	start_locked(p, job.wanted);
	job.next = p->jobs;
	p->jobs = &job;
	for (unsigned i = 0; i < job.wanted; i++)
		pthread_cond_signal(&p->job_added);
	pthread_mutex_unlock(&p->jobs_lock);

	work(&job);

	pthread_mutex_lock(&p->jobs_lock);
	remove_locked(p, &job);
	while (job.working)
		pthread_cond_wait(&p->job_left, &p->jobs_lock);
	pthread_mutex_unlock(&p->jobs_lock);
}

void pool_free(struct pool **pp)
{
	if (!pp || !*pp)
		return;
	struct pool *p = *pp;
	if (p->pid == getpid()) {
		thread_stop(&p->jobs_lock, &p->stop, &p->job_added, p->threads, p->started);
		pthread_cond_destroy(&p->job_left);
		pthread_cond_destroy(&p->job_added);
		pthread_mutex_destroy(&p->jobs_lock);
	}
	free(p);
	*pp = NULL;
}
