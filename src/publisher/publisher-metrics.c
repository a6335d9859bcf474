/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-metrics.c - the publisher's status as metrics, health and readiness. */
#include "config.h"
#include "publisher/publisher-metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/checkpoint.h"
#include "store/store-metrics.h"

struct publisher_metrics {
	struct publisher *publisher;
	struct metrics *registry;
	struct monitor *monitor;
	char *bucket, *checkpoint_key;
};

#define COUNTER(n, h) { .name = n, .help = h, .kind = METRIC_COUNTER }
#define GAUGE(n, h) { .name = n, .help = h, .kind = METRIC_GAUGE }

static void set(struct metrics *m, const struct metric_family *f, double value)
{
	metric_set(metrics_get(m, f, NULL), value);
}

#define COUNTED(n, h, member) { COUNTER(n, h), offsetof(struct publisher_status, member) }
#define MEASURED(n, h, member) { GAUGE(n, h), offsetof(struct publisher_status, member) }

/* Those that are a number of the status. */
static const struct {
	struct metric_family family;
	size_t at;
} plain[] = {
	COUNTED("evfs_publisher_published_total", "events that the sink acknowledged", published),
	COUNTED("evfs_publisher_duplicates_avoided_total",
		"events not sent again because they were known as delivered", skipped),
	COUNTED("evfs_publisher_dlq_total", "events that went to the DLQ topic", dead),
	COUNTED("evfs_publisher_failed_total", "messages that the sink did not take or deliver",
		failed),
	COUNTED("evfs_publisher_checkpoint_saves_total", "checkpoints written", saved),
	COUNTED("evfs_publisher_takeovers_total", "how often it became the active one", takeovers),
	MEASURED("evfs_publisher_held_streams",
		 "streams that wait alone, for a row that can't be stored yet", held),
	MEASURED("evfs_publisher_dlq_waiting", "events that wait for the DLQ topic to take them",
		 waiting),
	MEASURED("evfs_publisher_lag_events", "events that wait, as far as they are known",
		 lag_events),
	COUNTED("evfs_sink_sent_total", "messages given to the sink, this one's since it was made",
		sink.sent),
	COUNTED("evfs_sink_delivered_total", "messages that it acknowledged", sink.delivered),
	COUNTED("evfs_sink_failed_total", "messages that it will not deliver", sink.failed),
	COUNTED("evfs_sink_bytes_total", "bytes of messages", sink.bytes),
	COUNTED("evfs_sink_errors_total",
		"errors that Kafka's client library told of, transport errors too", sink.errors),
	MEASURED("evfs_sink_queued", "messages under way", sink.queued),
};

static void collect_times(struct metrics *m, const struct publisher_status *s)
{
	static const struct metric_family
		lag = GAUGE("evfs_publisher_lag_seconds", "how long the oldest event waits"),
		oldest = GAUGE("evfs_publisher_oldest_waiting_timestamp_seconds",
			       "when the oldest event that waits was recorded, 0: none waits"),
		horizon = GAUGE("evfs_publisher_horizon_age_seconds",
				"how far the time up to which all is known lies behind now"),
		active = GAUGE("evfs_publisher_active", "1: it holds the lease and publishes"),
		waits = GAUGE("evfs_publisher_waits_for_seeding",
			      "1: the ledger was replaced, and is being seeded");
	double now = (double)clock_wall_us() / 1e6;
	set(m, &lag, s->lag_seconds);
	set(m, &oldest, s->lag_events ? now - s->lag_seconds : 0);
	set(m, &horizon, s->horizon_seconds);
	set(m, &active, s->active);
	set(m, &waits, s->waits);
}

static void collect_delivery(struct metrics *m, const struct latency_counts *delivery)
{
	static const struct metric_family family = {
		.name = "evfs_publisher_delivery_seconds",
		.help = "from the recorded time of an event to its acknowledgement by the sink",
		.kind = METRIC_HISTOGRAM,
	};
	metric_set_buckets(metrics_get(m, &family, NULL), delivery->n, (double)delivery->sum_us / 1e6);
}

/* The names that the established dashboards ask for (contracts.md G1): -1 where it is not known. */
static void collect_checkpoint(struct publisher_metrics *pm, struct metrics *m,
			       const struct publisher_status *s)
{
	static const struct metric_family
		age = GAUGE("event_publisher_checkpoint_age_seconds",
			    "since the checkpoint was written last, -1: not yet"),
		lag = GAUGE("event_publisher_checkpoint_lag_seconds",
			    "how long the oldest event behind the checkpoint waits, -1: unknown"),
		last = GAUGE("event_publisher_checkpoint_last_timestamp_ms",
			     "up to when all is delivered, 0: unknown");
	const char *const labels[] = { "bucket", pm->bucket, "checkpoint_key", pm->checkpoint_key,
				       NULL };
	int64_t age_us = clock_wall_us() - s->saved_us;
	metric_set(metrics_get(m, &age, labels),
		   !s->saved_us ? -1 : age_us > 0 ? (double)age_us / 1e6 : 0);
	metric_set(metrics_get(m, &lag, labels), s->running ? s->lag_seconds : -1);
	metric_set(metrics_get(m, &last, labels), (double)s->checkpoint_ms);
}

static void collect(void *arg, struct metrics *m)
{
	struct publisher_metrics *pm = arg;
	struct publisher_status s;
	publisher_status(pm->publisher, &s);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		set(m, &plain[i].family,
		    (double)*(const uint64_t *)((const char *)&s + plain[i].at));
	collect_times(m, &s);
	collect_delivery(m, &s.delivery);
	collect_checkpoint(pm, m, &s);
}

static bool ask(void *arg, monitor_tell_fn *tell, void *tell_arg)
{
	struct publisher_metrics *pm = arg;
	struct publisher_status s;
	char role[128], sink[sizeof(s.sink.last_error) + 32];
	publisher_status(pm->publisher, &s);
	bool bad = s.trouble[0];
	snprintf(role, sizeof(role), s.active ? "active" : s.holder[0] ? "standing by for %s" : "standing by",
		 s.holder);
	/* an error that is over stays the last one */
	snprintf(sink, sizeof(sink), s.sink.last_error[0] ? "ok, its last error: %s" : "ok", s.sink.last_error);
	tell(tell_arg, "role", RC_OK, role);
	tell(tell_arg, "ledger", s.running ? RC_OK : RC_TEMPORARY, s.running ? "ok" : "it has not answered yet");
	tell(tell_arg, "seeding", s.waits ? RC_TEMPORARY : RC_OK,
	     s.waits ? "the ledger was replaced, and is being seeded" : "no");
	tell(tell_arg, "trouble", bad ? RC_TEMPORARY : RC_OK, bad ? s.trouble : "none");
	tell(tell_arg, "sink", RC_OK, sink);
	return s.running && !s.waits && !bad;
}

static void print(void *arg, struct buf *out)
{
	struct publisher_metrics *pm = arg;
	metrics_print(pm->registry, out);
}

enum rc publisher_metrics_new(struct publisher_metrics **out, struct publisher *p, struct store *s,
			      const struct publisher_metrics_options *o, struct why *why)
{
	_cleanup_(publisher_metrics_freep) struct publisher_metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	m->publisher = p;
	m->bucket = strdup(o->bucket);
	m->checkpoint_key = strdup(o->checkpoint_key ? o->checkpoint_key : CHECKPOINT_KEY);
	if (!m->bucket || !m->checkpoint_key)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	enum rc rc = metrics_new(&m->registry, why);
	if (rc != RC_OK)
		return rc;
	metrics_on_collect(m->registry, collect, m);
	metrics_on_collect(m->registry, store_metrics_collect, s);
	const struct monitor_options options = {
		.address = o->address,
		.print = print,
		.print_arg = m,
		.ask = ask,
		.ask_arg = m,
	};
	if (o->address)
		rc = monitor_new(&m->monitor, &options, why);
	if (rc != RC_OK)
		return rc;
	if (m->monitor)
		log_info("metrics address=%s", monitor_address(m->monitor));
	*out = TAKE_PTR(m);
	return RC_OK;
}

void publisher_metrics_free(struct publisher_metrics **pm)
{
	struct publisher_metrics *m = *pm;
	if (!m)
		return;
	monitor_free(&m->monitor);
	metrics_free(&m->registry);
	free(m->bucket);
	free(m->checkpoint_key);
	free(m);
	*pm = NULL;
}
