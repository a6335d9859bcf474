/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - threads without signals, conditions by the monotonic clock. */
#include "config.h"
#include "base/thread.h"

#include <signal.h>
#include <time.h>

int thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}

void thread_stop(pthread_mutex_t *lock, bool *stop, pthread_cond_t *wake, const pthread_t *threads, size_t n)
{
	pthread_mutex_lock(lock);
	*stop = true;
	pthread_cond_broadcast(wake);
	pthread_mutex_unlock(lock);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

void thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}
