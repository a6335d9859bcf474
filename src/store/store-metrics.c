/* SPDX-License-Identifier: Apache-2.0 */
/* store-metrics.c - the store's counts by their names. */
#include "config.h"
#include "store/store-metrics.h"

#include "base/cleanup.h"
#include "store/store.h"

static void set(struct metrics *m, const struct metric_family *f, const char *kind, double value)
{
	const char *const labels[] = { "kind", kind, NULL };
	metric_set(metrics_get(m, f, kind ? labels : NULL), value);
}

static void set_times(struct metrics *m, const struct metric_family *f, const char *kind,
		      const struct latency_counts *times)
{
	const char *const labels[] = { "kind", kind, NULL };
	_Static_assert(LATENCY_BOUNDS == 15, "METRICS_SECONDS has these bounds");
	metric_set_buckets(metrics_get(m, f, labels), times->n, (double)times->sum_us / 1e6);
}

#define COUNTER(n, h) { .name = n, .help = h, .kind = METRIC_COUNTER }

static const char *const object_kinds[OBJECT_KINDS] = {
	[OBJECT_PUT] = "put",	[OBJECT_GET] = "get",	  [OBJECT_HEAD] = "head",
	[OBJECT_LIST] = "list", [OBJECT_OTHER] = "other",
};
static const char *const ledger_kinds[LEDGER_KINDS] = {
	[LEDGER_APPEND] = "append", [LEDGER_CLAIM] = "claim", [LEDGER_SETTLE] = "settle",
	[LEDGER_READ] = "read",	    [LEDGER_STATE] = "state", [LEDGER_SEED] = "seed",
};

/* What went to servers: 0 for a directory. */
static void collect_servers(struct metrics *m, const struct store_counts *c)
{
	static const struct metric_family requests = COUNTER("evfs_object_requests_total",
							     "requests to the S3 server"),
					  bytes = COUNTER("evfs_object_bytes_total",
							  "bytes of bodies"),
					  trips = COUNTER("evfs_ledger_round_trips_total",
							  "round trips to the database");
	const uint64_t n_requests[OBJECT_KINDS] = {
		[OBJECT_PUT] = c->object.put,	[OBJECT_GET] = c->object.get,
		[OBJECT_HEAD] = c->object.head, [OBJECT_LIST] = c->object.list,
		[OBJECT_OTHER] = c->object.other,
	};
	const uint64_t n_trips[LEDGER_KINDS] = {
		[LEDGER_APPEND] = c->ledger.append, [LEDGER_CLAIM] = c->ledger.claim,
		[LEDGER_SETTLE] = c->ledger.settle, [LEDGER_READ] = c->ledger.read,
		[LEDGER_STATE] = c->ledger.state,   [LEDGER_SEED] = c->ledger.seed,
	};
	for (size_t i = 0; i < OBJECT_KINDS; i++)
		set(m, &requests, object_kinds[i], (double)n_requests[i]);
	set(m, &bytes, "sent", (double)c->object.sent);
	set(m, &bytes, "received", (double)c->object.received);
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		set(m, &trips, ledger_kinds[i], (double)n_trips[i]);
}

static void collect_times(struct metrics *m, const struct store_counts *c)
{
	static const struct metric_family requests = {
		.name = "evfs_object_request_seconds",
		.help = "time of requests to the S3 server",
		.kind = METRIC_HISTOGRAM,
	}, calls = {
		.name = "evfs_ledger_request_seconds",
		.help = "time of calls to the ledger",
		.kind = METRIC_HISTOGRAM,
	};
	for (size_t i = 0; i < OBJECT_KINDS; i++)
		set_times(m, &requests, object_kinds[i], &c->object.times[i]);
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		set_times(m, &calls, ledger_kinds[i], &c->ledger.times[i]);
}

#define PLAIN(n, h, member) { COUNTER(n, h), offsetof(struct store_counts, member) }

static const struct {
	struct metric_family family;
	size_t at;
} plain[] = {
	PLAIN("evfs_appends_total", "appends answered, whatever the answer", appends),
	PLAIN("evfs_events_total", "events appended", events),
	PLAIN("evfs_event_bytes_total", "bytes of the events appended", bytes),
	PLAIN("evfs_appends_known_total", "appends whose event ids were stored already", known),
	PLAIN("evfs_appends_conflict_total",
	      "appends refused by their expected sequence or event id", conflicts),
	PLAIN("evfs_appends_refused_total", "appends refused by their content", refused),
	PLAIN("evfs_appends_failed_total", "appends that ledger or object store failed", failed),
	PLAIN("evfs_commits_total", "ledger transactions", commits),
	PLAIN("evfs_object_puts_total", "objects written", puts),
	PLAIN("evfs_object_gets_total", "objects read", gets),
	PLAIN("evfs_object_lists_total", "listings of objects", lists),
	PLAIN("evfs_object_syncs_total", "syncs of objects", syncs),
	PLAIN("evfs_swept_total", "events delivered by the sweeper", swept),
	PLAIN("evfs_settled_total", "events settled", settled),
	PLAIN("evfs_reseeded_total", "streams seeded again", reseeded),
	PLAIN("evfs_seedings_total", "seedings of the ledger", seedings),
	PLAIN("evfs_object_retries_total", "requests to the S3 server that were repeated",
	      object.retries),
	PLAIN("evfs_object_failed_total", "requests to the S3 server without an answer",
	      object.failed),
	PLAIN("evfs_ledger_connects_total", "connections made to the database", ledger.connects),
	PLAIN("evfs_ledger_failed_total", "round trips to the database that failed",
	      ledger.failed),
};

void store_metrics_collect(void *arg, struct metrics *m)
{
	static const struct metric_family
		commit = COUNTER("evfs_commit_seconds_total", "time spent in ledger transactions"),
		put = COUNTER("evfs_object_put_seconds_total", "time spent writing objects");
	struct store_counts c;
	store_counts(arg, &c);
	collect_servers(m, &c);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		set(m, &plain[i].family, NULL,
		    (double)*(const uint64_t *)((const char *)&c + plain[i].at));
	set(m, &commit, NULL, (double)c.commit_us / 1e6);
	set(m, &put, NULL, (double)c.put_us / 1e6);
	collect_times(m, &c);
}
