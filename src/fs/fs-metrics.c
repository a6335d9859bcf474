/* SPDX-License-Identifier: Apache-2.0 */
/* fs-metrics.c - counting, and Prometheus text. */
#include "config.h"
#include "fs/fs-metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"

#define PAIRS 512	/* label pairs told apart; the rest is counted together */
#define ERRNOS 140

/* The client library's default buckets. */
static const struct {
	const char *le;
	uint64_t us;
} bounds[] = {
	{ "0.005", 5000 },  { "0.01", 10000 },	{ "0.025", 25000 },	{ "0.05", 50000 },
	{ "0.075", 75000 }, { "0.1", 100000 },	{ "0.25", 250000 },	{ "0.5", 500000 },
	{ "0.75", 750000 }, { "1", 1000000 },	{ "2.5", 2500000 },	{ "5", 5000000 },
	{ "7.5", 7500000 }, { "10", 10000000 }, { "+Inf", UINT64_MAX },
};

struct histogram {
	_Atomic uint64_t buckets[ARRAY_SIZE(bounds)], sum_us, count;
};

struct pair {
	char *type, *event_type;
	uint64_t n;
};

struct fs_metrics {
	pthread_mutex_t lock;		/* guards the pairs */
	struct pair pairs[PAIRS];
	uint64_t other;			/* events of types beyond them */
	struct histogram writes, reads[FS_METRICS_READS];
	_Atomic uint64_t errors[FS_METRICS_OPERATIONS][ERRNOS];
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

enum rc fs_metrics_new(struct fs_metrics **out, struct why *why)
{
	struct fs_metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&m->lock, NULL);
	*out = m;
	return RC_OK;
}

void fs_metrics_free(struct fs_metrics **pm)
{
	struct fs_metrics *m = *pm;
	if (!m)
		return;
	for (size_t i = 0; i < PAIRS; i++) {
		free(m->pairs[i].type);
		free(m->pairs[i].event_type);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
	*pm = NULL;
}

static size_t slot_of(const char *type, const char *event_type)
{
	uint64_t h = hash_pair(type, event_type);
	return (h ^ h >> 32) % PAIRS;
}

void fs_metrics_wrote(struct fs_metrics *m, const char *type, const char *event_type, size_t n)
{
	size_t slot = slot_of(type, event_type);
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < 16; i++) {
		struct pair *p = &m->pairs[(slot + i) % PAIRS];
		if (!p->type) {
			p->type = strdup(type);
			p->event_type = strdup(event_type);
			if (!p->type || !p->event_type) {
				free(p->type);
				free(p->event_type);
				*p = (struct pair){ 0 };
				break;
			}
		} else if (strcmp(p->type, type) || strcmp(p->event_type, event_type)) {
			continue;
		}
		p->n += n;
		n = 0;
		break;
	}
	m->other += n;
	pthread_mutex_unlock(&m->lock);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void observe(struct histogram *h, uint64_t us)
{
	size_t i = 0;
	while (us > bounds[i].us)
		i++;
	add(&h->buckets[i], 1);
	add(&h->sum_us, us);
	add(&h->count, 1);
}

void fs_metrics_write_time(struct fs_metrics *m, uint64_t us)
{
	observe(&m->writes, us);
}

void fs_metrics_did_read(struct fs_metrics *m, enum fs_metrics_read what, uint64_t us)
{
	observe(&m->reads[what], us);
}

void fs_metrics_error(struct fs_metrics *m, enum fs_metrics_operation operation, int err)
{
	if (err > 0 && err < ERRNOS)
		add(&m->errors[operation][err], 1);
}

static void print_label(struct buf *out, const char *key, const char *text)
{
	buf_printf(out, "%s=\"", key);
	for (; *text; text++) {
		if (*text == '\n') {
			buf_add_text(out, "\\n");
			continue;
		}
		if (*text == '"' || *text == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *text);
	}
	buf_add_char(out, '"');
}

static void print_head(struct buf *out, const char *name, const char *kind, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void print_histogram(struct buf *out, const char *name, const char *label,
			    struct histogram *h)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		sum += h->buckets[i];
		buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, label,
			   *label ? "," : "", bounds[i].le, sum);
	}
	const char *open = *label ? "{" : "", *close = *label ? "}" : "";
	buf_printf(out, "%s_sum%s%s%s %.6f\n", name, open, label, close, (double)h->sum_us / 1e6);
	buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close,
		   (uint64_t)h->count);
}

struct kind {
	const char *name;
	uint64_t n;
};

static void print_kinds(struct buf *out, const char *name, const char *help,
			const struct kind *kinds, size_t n)
{
	print_head(out, name, "counter", help);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s{kind=\"%s\"} %" PRIu64 "\n", name, kinds[i].name, kinds[i].n);
}

/* What went to servers: 0 for a directory. */
static void print_servers(struct buf *out, const struct store_counts *c)
{
	const struct kind requests[] = {
		{ "put", c->object.put },   { "get", c->object.get },	{ "head", c->object.head },
		{ "list", c->object.list }, { "other", c->object.other },
	};
	const struct kind trips[] = {
		{ "append", c->ledger.append }, { "claim", c->ledger.claim },
		{ "settle", c->ledger.settle }, { "read", c->ledger.read },
		{ "state", c->ledger.state },	{ "seed", c->ledger.seed },
	};
	const struct kind bytes[] = {
		{ "sent", c->object.sent }, { "received", c->object.received },
	};
	print_kinds(out, "evfs_object_requests_total", "requests to the S3 server", requests,
		    ARRAY_SIZE(requests));
	print_kinds(out, "evfs_object_bytes_total", "bytes of bodies", bytes, ARRAY_SIZE(bytes));
	print_kinds(out, "evfs_ledger_round_trips_total", "round trips to the database", trips,
		    ARRAY_SIZE(trips));
}

static void print_store(struct buf *out, struct store *store)
{
	struct store_counts c;
	store_counts(store, &c);
	print_servers(out, &c);
	const struct {
		const char *name, *help;
		uint64_t n;
	} counters[] = {
		{ "evfs_appends_total", "appends answered, whatever the answer", c.appends },
		{ "evfs_events_total", "events appended", c.events },
		{ "evfs_event_bytes_total", "bytes of the events appended", c.bytes },
		{ "evfs_appends_known_total", "appends whose event ids were stored already",
		  c.known },
		{ "evfs_appends_conflict_total",
		  "appends refused by their expected sequence or event id", c.conflicts },
		{ "evfs_appends_refused_total", "appends refused by their content", c.refused },
		{ "evfs_appends_failed_total", "appends that ledger or object store failed",
		  c.failed },
		{ "evfs_commits_total", "ledger transactions", c.commits },
		{ "evfs_object_puts_total", "objects written", c.puts },
		{ "evfs_object_gets_total", "objects read", c.gets },
		{ "evfs_object_lists_total", "listings of objects", c.lists },
		{ "evfs_object_syncs_total", "syncs of objects", c.syncs },
		{ "evfs_swept_total", "events delivered by the sweeper", c.swept },
		{ "evfs_settled_total", "events settled", c.settled },
		{ "evfs_reseeded_total", "streams seeded again", c.reseeded },
		{ "evfs_seedings_total", "seedings of the ledger", c.seedings },
		{ "evfs_object_retries_total", "requests to the S3 server that were repeated",
		  c.object.retries },
		{ "evfs_object_failed_total", "requests to the S3 server without an answer",
		  c.object.failed },
		{ "evfs_ledger_connects_total", "connections made to the database",
		  c.ledger.connects },
		{ "evfs_ledger_failed_total", "round trips to the database that failed",
		  c.ledger.failed },
	};
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		print_head(out, counters[i].name, "counter", counters[i].help);
		buf_printf(out, "%s %" PRIu64 "\n", counters[i].name, counters[i].n);
	}
	print_head(out, "evfs_commit_seconds_total", "counter",
		   "time spent in ledger transactions");
	buf_printf(out, "evfs_commit_seconds_total %.6f\n", (double)c.commit_us / 1e6);
	print_head(out, "evfs_object_put_seconds_total", "counter", "time spent writing objects");
	buf_printf(out, "evfs_object_put_seconds_total %.6f\n", (double)c.put_us / 1e6);
}

static void print_writes(struct fs_metrics *m, struct buf *out)
{
	print_head(out, "event_store_writes_total", "counter",
		   "events appended through this mount");
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < PAIRS; i++) {
		const struct pair *p = &m->pairs[i];
		if (!p->type)
			continue;
		buf_add_text(out, "event_store_writes_total{");
		print_label(out, "aggregate_type", p->type);
		buf_add_char(out, ',');
		print_label(out, "event_type", p->event_type);
		buf_printf(out, "} %" PRIu64 "\n", p->n);
	}
	if (m->other)
		buf_printf(out,
			   "event_store_writes_total{aggregate_type=\"\",event_type=\"\"} %" PRIu64
			   "\n",
			   m->other);
	pthread_mutex_unlock(&m->lock);
}

void fs_metrics_print(struct fs_metrics *m, struct store *store, struct buf *out)
{
	print_writes(m, out);
	print_head(out, "event_store_write_duration_seconds", "histogram",
		   "time from write(2) to its answer, where it appended");
	print_histogram(out, "event_store_write_duration_seconds", "", &m->writes);

	print_head(out, "event_store_reads_total", "counter",
		   "reads through this mount that the kernel's cache did not answer");
	for (size_t i = 0; i < FS_METRICS_READS; i++)
		buf_printf(out, "event_store_reads_total{operation=\"%s\"} %" PRIu64 "\n",
			   read_names[i], (uint64_t)m->reads[i].count);
	print_head(out, "event_store_read_duration_seconds", "histogram", "time of these reads");
	for (size_t i = 0; i < FS_METRICS_READS; i++) {
		char label[64] = "operation=\"";
		strcat(strcat(label, read_names[i]), "\"");
		print_histogram(out, "event_store_read_duration_seconds", label, &m->reads[i]);
	}

	print_head(out, "event_store_errors_total", "counter", "requests refused or failed");
	for (size_t o = 0; o < FS_METRICS_OPERATIONS; o++)
		for (int e = 1; e < ERRNOS; e++) {
			uint64_t n = m->errors[o][e];
			if (!n)
				continue;
			buf_add_text(out, "event_store_errors_total{");
			buf_printf(out, "operation=\"%s\",error_type=\"%s\"} %" PRIu64 "\n",
				   operation_names[o], strerrorname_np(e), n);
		}
	print_store(out, store);
}
