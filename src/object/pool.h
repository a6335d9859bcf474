/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few threads that share the work of one batch. They start when first needed and sleep in
 * between.
 *
 * The caller works too, and waits only for threads that took a part: with no thread to be had (no
 * memory, a fork since) it does all of it alone. Threads: every call may come from any thread;
 * batches of several callers overlap.
 */
#ifndef EVFS_OBJECT_POOL_H
#define EVFS_OBJECT_POOL_H

#include <stddef.h>

#include "base/rc.h"

struct pool;

#define POOL_THREADS_MAX 4 /* the caller's included */

/* Do the items from..to-1 of the batch. */
typedef void pool_fn(void *arg, size_t from, size_t to);

enum rc pool_new(struct pool **out, struct why *why) _must_check_;

/*
 * Call fn for runs of at most step items that together are 0..n-1, from at most `threads` threads.
 * Returns when all is done. step and threads are at least 1.
 */
void pool_run(struct pool *p, size_t n, size_t step, unsigned threads, pool_fn *fn, void *arg);

/* End the threads. Nobody may be in pool_run. NULL and *p == NULL are fine. */
void pool_free(struct pool **p);
static inline void pool_freep(struct pool **p)
{
	pool_free(p);
}

#endif
