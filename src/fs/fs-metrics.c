/* SPDX-License-Identifier: Apache-2.0 */
/* fs-metrics.c - the mount's own metrics. */
#include "config.h"
#include "fs/fs-metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "monitor/metrics.h"
#include "store/store-metrics.h"

/* The established client library's default buckets. */
static const double buckets[] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5,
				  0.75,	 1,    2.5,   5,    7.5,   10,	0 };

static const struct metric_family writes = {
	.name = "event_store_writes_total",
	.help = "events appended through this mount",
	.kind = METRIC_COUNTER,
};
static const struct metric_family write_times = {
	.name = "event_store_write_duration_seconds",
	.help = "time from write(2) to its answer, where it appended",
	.kind = METRIC_HISTOGRAM,
	.buckets = buckets,
};
static const struct metric_family reads = {
	.name = "event_store_reads_total",
	.help = "reads through this mount that the kernel's cache did not answer",
	.kind = METRIC_COUNTER,
};
static const struct metric_family read_times = {
	.name = "event_store_read_duration_seconds",
	.help = "time of these reads",
	.kind = METRIC_HISTOGRAM,
	.buckets = buckets,
};
static const struct metric_family errors = {
	.name = "event_store_errors_total",
	.help = "requests refused or failed",
	.kind = METRIC_COUNTER,
};

struct fs_metrics {
	struct metrics *registry;
	struct metric *reads[FS_METRICS_READS], *read_times[FS_METRICS_READS];
};

static const char *const read_names[] = {
	[FS_METRICS_EVENT] = "read_event",
	[FS_METRICS_STREAM] = "read_stream",
	[FS_METRICS_LIST] = "list",
};
static const char *const operation_names[] = {
	[FS_METRICS_CHANGE] = "write",
	[FS_METRICS_READ] = "read",
};

/* In the order in which they are printed. */
static void declare(struct fs_metrics *m)
{
	metrics_declare(m->registry, &writes);
	metrics_declare(m->registry, &write_times);
	for (size_t i = 0; i < FS_METRICS_READS; i++) {
		const char *const labels[] = { "operation", read_names[i], NULL };
		m->reads[i] = metrics_get(m->registry, &reads, labels);
	}
	for (size_t i = 0; i < FS_METRICS_READS; i++) {
		const char *const labels[] = { "operation", read_names[i], NULL };
		m->read_times[i] = metrics_get(m->registry, &read_times, labels);
	}
	metrics_declare(m->registry, &errors);
}

enum rc fs_metrics_new(struct fs_metrics **out, struct store *store, struct why *why)
{
	struct fs_metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	enum rc rc = metrics_new(&m->registry, why);
	if (rc != RC_OK) {
		free(m);
		return rc;
	}
	declare(m);
	metrics_on_collect(m->registry, store_metrics_collect, store);
	*out = m;
	return RC_OK;
}

void fs_metrics_free(struct fs_metrics **pm)
{
	struct fs_metrics *m = *pm;
	if (!m)
		return;
	metrics_free(&m->registry);
	free(m);
	*pm = NULL;
}

void fs_metrics_wrote(struct fs_metrics *m, const char *type, const char *event_type, size_t n)
{
	const char *const labels[] = { "aggregate_type", type, "event_type", event_type, NULL };
	metric_add(metrics_get(m->registry, &writes, labels), n);
}

void fs_metrics_write_time(struct fs_metrics *m, const char *type, uint64_t us)
{
	const char *const labels[] = { "aggregate_type", type, NULL };
	metric_observe(metrics_get(m->registry, &write_times, labels), (double)us / 1e6);
}

void fs_metrics_did_read(struct fs_metrics *m, enum fs_metrics_read what, uint64_t us)
{
	metric_add(m->reads[what], 1);
	metric_observe(m->read_times[what], (double)us / 1e6);
}

void fs_metrics_error(struct fs_metrics *m, enum fs_metrics_operation operation, int err)
{
	const char *name = err > 0 ? strerrorname_np(err) : NULL;
	const char *const labels[] = { "operation", operation_names[operation], "error_type", name,
				       NULL };
	if (name)
		metric_add(metrics_get(m->registry, &errors, labels), 1);
}

void fs_metrics_print(struct fs_metrics *m, struct buf *out)
{
	metrics_print(m->registry, out);
}
