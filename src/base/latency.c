/* SPDX-License-Identifier: Apache-2.0 */
/* latency.c - counting into buckets. */
#include "config.h"
#include "base/latency.h"

#include <stddef.h>

const uint64_t latency_bounds_us[LATENCY_BOUNDS] = {
	1000,	2500,	 5000,	  10000,   25000,   50000,    100000,	250000,
	500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000,
};

void latency_add(struct latency *l, uint64_t us)
{
	size_t i = 0;
	while (i < LATENCY_BOUNDS && us > latency_bounds_us[i])
		i++;
	atomic_fetch_add_explicit(&l->n[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&l->sum_us, us, memory_order_relaxed);
}

void latency_read(const struct latency *l, struct latency_counts *out)
{
	for (size_t i = 0; i <= LATENCY_BOUNDS; i++)
		out->n[i] = atomic_load_explicit(&l->n[i], memory_order_relaxed);
	out->sum_us = atomic_load_explicit(&l->sum_us, memory_order_relaxed);
}
