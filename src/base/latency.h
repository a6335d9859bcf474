/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long calls took, in fixed buckets: for layers that count and do not print. A value of zero bytes is an empty one.
 * Threads: any, without a lock; what is read while others add may have one bucket ahead of another.
 */
#ifndef EVFS_BASE_LATENCY_H
#define EVFS_BASE_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

#define LATENCY_BOUNDS 15	/* 1 ms … 60 s; a last bucket has what took longer */

struct latency {
	_Atomic uint64_t n[LATENCY_BOUNDS + 1], sum_us;
};

struct latency_counts {
	uint64_t n[LATENCY_BOUNDS + 1], sum_us;	/* n: those that fell into this bucket alone */
};

extern const uint64_t latency_bounds_us[LATENCY_BOUNDS];

void latency_add(struct latency *l, uint64_t us);
void latency_read(const struct latency *l, struct latency_counts *out);

#endif
