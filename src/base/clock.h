/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time, sleep and randomness. Everything else gets them here, so that a test can own them.
 * Threads: every call may come from any thread; clock_set before the first thread starts.
 */
#ifndef EVFS_BASE_CLOCK_H
#define EVFS_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Wall clock: microseconds since 1970-01-01T00:00:00Z. May step. */
int64_t clock_wall_us(void);

/* Milliseconds of CLOCK_BOOTTIME: never steps, goes on while the machine sleeps. Deadlines are in it. */
uint64_t clock_boot_ms(void);
/* The same clock in microseconds, for measuring. */
uint64_t clock_boot_us(void);

void clock_sleep_ms(unsigned ms);
void clock_sleep_us(uint64_t us);

/* The CLOCK_MONOTONIC time ms from now: what pthread_cond_timedwait wants of a condition with that clock. */
struct timespec clock_after_ms(uint64_t ms);

/* Fill p with n random bytes of the kernel's generator. */
void clock_random(void *p, size_t n);

/* A new UUIDv7 (RFC 9562, 5.7), lower case, NUL-terminated. Ids made one after another sort in that order. */
void clock_uuid(char out[37]);

/* For tests: take the wall clock from wall_us (NULL: the real one again). */
void clock_set(int64_t (*wall_us)(void));

#endif
