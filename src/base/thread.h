/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that work for the program, and what they wait for. */
#ifndef EVFS_BASE_THREAD_H
#define EVFS_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/rc.h"

/* Start one with all signals blocked: they are for the threads that the program made itself. 0, or the error of pthread_create(3). */
int thread_start(pthread_t *thread, void *(*run)(void *), void *arg) _must_check_;
/* End n threads that wait for wake and look at *stop: both are of lock. Returns once they ended. */
void thread_stop(pthread_mutex_t *lock, bool *stop, pthread_cond_t *wake, const pthread_t *threads, size_t n);

/* A condition whose timed waits go by the monotonic clock, as clock_after_ms tells it. */
void thread_cond_init(pthread_cond_t *cond);

#endif
