/* SPDX-License-Identifier: Apache-2.0 */
/* fs-metrics.c - the mount's own metrics. */
#include "config.h"
#include "fs/fs-metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
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

static const struct metric_family storage = {
	.name = "event_store_storage_bytes",
	.help = "bytes of the events that this mount has listed or looked up",
	.kind = METRIC_GAUGE,
};
static const struct metric_family per_aggregate = {
	.name = "event_store_events_per_aggregate",
	.help = "events of an aggregate on average, of those it has listed or looked up",
	.kind = METRIC_GAUGE,
};

/* To read the totals takes a second where there are a million aggregates. */
#define TOTALS_MS 30000

struct fs_metrics {
	struct metrics *registry;
	struct view *view;
	char *bucket;
	uint64_t totals_ms;	/* when they were read last; 0: not yet */
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
	metrics_declare(m->registry, &storage);
	metrics_declare(m->registry, &per_aggregate);
}

struct totals {
	struct metrics *registry;
	uint64_t bytes;
};

static void take_total(void *arg, const struct view_total *t)
{
	struct totals *all = arg;
	const char *const labels[] = { "aggregate_type", t->type, NULL };
	all->bytes += t->bytes;
	metric_set(metrics_get(all->registry, &per_aggregate, labels),
		   (double)t->events / (double)t->streams);
}

static void collect_totals(void *arg, struct metrics *registry)
{
	struct fs_metrics *m = arg;
	const char *const labels[] = { "bucket", m->bucket, NULL };
	struct totals all = { .registry = registry };
	uint64_t now = clock_boot_ms();
	if (m->totals_ms && now < m->totals_ms + TOTALS_MS)
		return;
	m->totals_ms = now;
	if (view_totals(m->view, take_total, &all, NULL) == RC_OK)
		metric_set(metrics_get(registry, &storage, labels), (double)all.bytes);
}

/* "s3://BUCKET/PREFIX": BUCKET; a directory as it is. */
static char *bucket_of(const char *source)
{
	if (strncmp(source, "s3://", 5))
		return strdup(source);
	return strndup(source + 5, strcspn(source + 5, "/"));
}

enum rc fs_metrics_new(struct fs_metrics **out, struct store *store, struct view *view,
		       const char *source, struct why *why)
{
	_cleanup_(fs_metrics_freep) struct fs_metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	m->view = view;
	m->bucket = bucket_of(source);
	if (!m->bucket)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	enum rc rc = metrics_new(&m->registry, why);
	if (rc != RC_OK)
		return rc;
	declare(m);
	metrics_on_collect(m->registry, collect_totals, m);
	metrics_on_collect(m->registry, store_metrics_collect, store);
	*out = TAKE_PTR(m);
	return RC_OK;
}

void fs_metrics_free(struct fs_metrics **pm)
{
	struct fs_metrics *m = *pm;
	if (!m)
		return;
	metrics_free(&m->registry);
	free(m->bucket);
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
