/* SPDX-License-Identifier: Apache-2.0 */
/* One metric, as metric.c counts it and metrics.c keeps it. Nobody else includes this. */
#ifndef EVFS_MONITOR_METRIC_PRIVATE_H
#define EVFS_MONITOR_METRIC_PRIVATE_H

#include "monitor/metrics.h"

struct metric {
	struct metric *next;		/* of its family, in the order of making */
	struct metric *same_slot;	/* of the registry's table */
	const struct metric_family *family;
	char *labels;			/* name NUL value NUL … */
	size_t labels_len;
	uint64_t hash;
	size_t n_bounds;		/* of a histogram */
	_Atomic uint64_t added;		/* a counter's */
	_Atomic uint64_t value;		/* the bits of a double: what was set; a histogram's sum */
	_Atomic uint64_t buckets[];	/* n_bounds + 1, each by itself: sums are made where they are printed */
};

/* A double as the text format has it: the shortest digits that read back as the same value. */
void metric_print_number(double value, struct buf *out);
/* Its line or lines. */
void metric_print(const struct metric *m, struct buf *out);

#endif
