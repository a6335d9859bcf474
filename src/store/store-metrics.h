/* SPDX-License-Identifier: Apache-2.0 */
/* What a store counts, as metrics: the same ones for whoever has it open. */
#ifndef EVFS_STORE_STORE_METRICS_H
#define EVFS_STORE_STORE_METRICS_H

#include "monitor/metrics.h"

/* A metrics_collect_fn; arg: the struct store. */
void store_metrics_collect(void *arg, struct metrics *m);

#endif
