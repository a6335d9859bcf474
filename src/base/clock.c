/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - time, sleep and randomness. */
#include "config.h"
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

static int64_t (*wall_override)(void);

void clock_set(int64_t (*wall_us)(void))
{
	wall_override = wall_us;
}

int64_t clock_wall_us(void)
{
	if (wall_override)
		return wall_override();
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64_t clock_boot_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_boot_ms(void)
{
	return clock_boot_us() / 1000;
}

void clock_sleep_ms(unsigned ms)
{
	clock_sleep_us((uint64_t)ms * 1000);
}

void clock_sleep_us(uint64_t us)
{
	struct timespec ts = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };
	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

void clock_random(void *p, size_t n)
{
	for (char *c = p; n; ) {
		ssize_t got = getrandom(c, n, 0);
		if (got > 0) {
			c += got;
			n -= (size_t)got;
		}
	}
}

struct timespec clock_after_ms(uint64_t ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	return until;
}

/* 48 bits of milliseconds, then a 12-bit counter within the millisecond (method 1 of RFC 9562, 6.2), then random bits. */
void clock_uuid(char out[37])
{
	static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t last;	/* ms << 12 | counter */
	uint64_t random;
	clock_random(&random, sizeof(random));

	pthread_mutex_lock(&last_lock);
	uint64_t now = (uint64_t)(clock_wall_us() / 1000) << 12;
	last = now > last ? now : last + 1;
	uint64_t stamp = last;
	pthread_mutex_unlock(&last_lock);

	unsigned variant = 0x8000 | (unsigned)(random >> 48 & 0x3fff);
	snprintf(out, 37, "%08x-%04x-7%03x-%04x-%012llx", (unsigned)(stamp >> 28 & 0xffffffff),
		 (unsigned)(stamp >> 12 & 0xffff), (unsigned)(stamp & 0xfff), variant,
		 (unsigned long long)(random & 0xffffffffffffULL));
}
