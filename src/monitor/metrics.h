/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registry of metrics and its text (Prometheus text format 0.0.4). Made once at start, counted from any thread without a lock.
 * Families with labels take their children as they come, bounded. Does not: check names (they are the program's own). Threads: any.
 */
#ifndef EVFS_MONITOR_METRICS_H
#define EVFS_MONITOR_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

struct metrics;
struct metric;		/* one value, or histogram, with its labels' values. Lives as long as the registry */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum rc metrics_new(struct metrics **out, struct why *why) _must_check_;
void metrics_free(struct metrics **m);

/*
 * The child of family `name` with these labels, made at the first call: `labels` are pairs of name and value, ended by NULL (or NULL: none),
 * in the same order for all of a family. help, kind and buckets count at a family's first call. NULL where there is no memory, and, of
 * a gauge, where the family has METRICS_CHILDREN_MAX children: counting on NULL does nothing. Counters and histograms beyond these share
 * one child, whose labels' values are all "". Takes a lock: where it matters, keep what it gave.
 */
struct metric_family {
	const char *name, *help;	/* kept as they are: must live as long as the registry */
	enum metric_kind kind;
	const double *buckets;	/* of a histogram, ascending, ended by 0; kept as it is. NULL: METRICS_SECONDS */
};
#define METRICS_CHILDREN_MAX 1000
struct metric *metrics_get(struct metrics *m, const struct metric_family *f, const char *const *labels);
/* The family, from here on in the text, though it has no child yet. */
void metrics_declare(struct metrics *m, const struct metric_family *f);

void metric_add(struct metric *m, uint64_t n);		/* a counter */
void metric_set(struct metric *m, double value);	/* a gauge; a counter that is kept elsewhere (then it is never added to) */
void metric_observe(struct metric *m, double value);	/* a histogram */
/* A histogram that is kept elsewhere (then nothing is observed): how many fell into each bucket, +Inf's last, and their sum. */
void metric_set_buckets(struct metric *m, const uint64_t *counts, double sum);

/* 1 ms … 60 s: those of base/latency.h */
#define METRICS_SECONDS metrics_seconds
extern const double metrics_seconds[];

/* Called before each print, to set what is known elsewhere; never two at once. Set before the first print, eight at most. */
typedef void metrics_collect_fn(void *arg, struct metrics *m);
void metrics_on_collect(struct metrics *m, metrics_collect_fn *fn, void *arg);

/* Append all of it, families in the order of their first calls. One print at a time: the others wait. */
void metrics_print(struct metrics *m, struct buf *out);

#endif
