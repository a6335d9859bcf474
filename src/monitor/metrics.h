/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registry of metrics and its text (Prometheus text format 0.0.4). Made once at start, counted from any thread without a lock.
 * Families with labels take their children as they come, bounded. Threads: any.
 */
#ifndef EVFS_MONITOR_METRICS_H
#define EVFS_MONITOR_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

struct metrics;
struct metric;		/* one value, or histogram, with its labels' values */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum rc metrics_new(struct metrics **out, struct why *why) _must_check_;
void metrics_free(struct metrics **m);

/*
 * The child of family `name` with these labels, made at the first call: `labels` are pairs of name and value, ended by NULL, in the same
 * order for all of a family. help, kind and buckets count at a family's first call. NULL where there is no memory, or the family has
 * METRICS_CHILDREN_MAX children: counting on NULL does nothing.
 */
struct metric_family {
	const char *name, *help;
	enum metric_kind kind;
	const double *buckets;	/* of a histogram, ascending, ended by 0; NULL: METRICS_SECONDS */
};
#define METRICS_CHILDREN_MAX 1000
struct metric *metrics_get(struct metrics *m, const struct metric_family *f, const char *const *labels);

void metric_add(struct metric *m, uint64_t n);		/* a counter */
void metric_set(struct metric *m, double value);	/* a gauge; a counter that is kept elsewhere */
void metric_observe(struct metric *m, double value);	/* a histogram */

/* 1 ms … 60 s */
extern const double METRICS_SECONDS[];

/* Called before each print, to set what is known elsewhere. Set before the first print. */
typedef void metrics_collect_fn(void *arg, struct metrics *m);
void metrics_on_collect(struct metrics *m, metrics_collect_fn *fn, void *arg);

/* Append all of it, families in the order of their first calls. */
void metrics_print(struct metrics *m, struct buf *out);

#endif
