/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg.c - a ledger in PostgreSQL: opening, the pool of connections, what they all know. */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"

#define TIMEOUT_MS 10000
#define CONNECTIONS 4
#define BACKOFF_MS 100 /* after the first failure to connect; doubled up to */
#define BACKOFF_MAX_MS 5000

struct ledger_pg_options ledger_pg_defaults(const struct ledger_pg_options *o)
{
	struct ledger_pg_options all = *o;
	if (!all.conninfo)
		all.conninfo = "";
	if (!all.schema || !all.schema[0])
		all.schema = "evfs";
	if (!all.timeout_ms)
		all.timeout_ms = TIMEOUT_MS;
	if (!all.connections)
		all.connections = CONNECTIONS;
	return all;
}

uint64_t ledger_pg_deadline(const struct ledger_pg *l)
{
	return clock_boot_ms() + l->options.timeout_ms;
}

void ledger_pg_saw(struct ledger_pg *l, uint64_t at)
{
	uint64_t before = l->seen;
	while (before < at && !atomic_compare_exchange_weak(&l->seen, &before, at))
		;
}

enum rc ledger_pg_fenced(struct ledger_pg *l, int verdict, uint64_t at, struct why *why)
{
	if (verdict == VERDICT_OLDER) {
		l->seen = at;
		return rc_fail(RC_FENCED, why,
			       "the ledger's PostgreSQL was put back to an older state");
	}
	return rc_fail(RC_FENCED, why,
		       "the ledger's PostgreSQL is not the one that was seeded last");
}

void ledger_pg_fence_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a)
{
	ledger_pg_args_text(a, c->prefix);
	ledger_pg_args_text(a, c->middle);
	ledger_pg_args_int8(a, (int64_t)l->seen);
}

/* ---- the pool ---- */

/* An idle connection that is as patient as wanted, else any. */
static struct ledger_pg_conn *pop_locked(struct ledger_pg *l, bool patient)
{
	struct ledger_pg_conn **at = &l->idle;
	while (*at && (*at)->patient != patient)
		at = &(*at)->next;
	if (!*at)
		at = &l->idle;
	struct ledger_pg_conn *c = *at;
	if (c)
		*at = c->next;
	return c;
}

/* Reads leave at least half of the connections to what must not wait for a long one. */
static unsigned readers_max(const struct ledger_pg *l)
{
	return l->options.connections > 1 ? l->options.connections / 2 : 1;
}

static void drop_locked(struct ledger_pg *l, struct ledger_pg_conn *c)
{
	ledger_pg_conn_free(&c);
	l->open--;
}

/* A place for a connection is ours (l->open counts it): fill it. The lock is left meanwhile. */
static enum rc connect_locked(struct ledger_pg *l, uint64_t deadline, struct ledger_pg_conn **out,
			      struct why *why)
{
	struct why reason = { "" };
	pthread_mutex_unlock(&l->lock);
	enum rc rc = ledger_pg_conn_new(out, &l->options, deadline, NULL, &reason);
	atomic_fetch_add_explicit(&l->counters.connects, 1, memory_order_relaxed);
	pthread_mutex_lock(&l->lock);
	if (rc == RC_OK) {
		l->failures = 0;
		return RC_OK;
	}
	uint64_t pause = l->failures < 6 ? (uint64_t)BACKOFF_MS << l->failures : BACKOFF_MAX_MS;
	uint32_t random;
	clock_random(&random, sizeof(random));
	l->failures++;
	l->retry_ms = clock_boot_ms() + pause / 2 + random % (pause / 2);
	if (rc == RC_NOT_FOUND || rc == RC_INVALID)
		rc = RC_TEMPORARY; /* it was there when the ledger was opened */
	l->failed_rc = rc;
	l->failed = reason;
	l->open--;
	pthread_cond_broadcast(&l->freed);
	return rc_fail(rc, why, "%s", reason.text);
}

static enum rc take_locked(struct ledger_pg *l, enum ledger_pg_use use, uint64_t deadline,
			   struct ledger_pg_conn **out, struct why *why)
{
	for (;;) {
		bool may = use == USE_SHORT || l->reading < readers_max(l);
		struct ledger_pg_conn *c = may ? pop_locked(l, use == USE_LONG) : NULL;
		if (c && !ledger_pg_conn_is_up(c)) {
			drop_locked(l, c);
			continue;
		}
		if (c) {
			*out = c;
			return RC_OK;
		}
		if (may && l->open < l->options.connections) {
			if (l->failures && clock_boot_ms() < l->retry_ms)
				return rc_fail(l->failed_rc, why, "%s", l->failed.text);
			l->open++;
			return connect_locked(l, deadline, out, why);
		}
		uint64_t now = clock_boot_ms();
		if (now >= deadline)
			return rc_fail(RC_TEMPORARY, why,
				       "the ledger's connections are all in use");
		struct timespec until = clock_after_ms(deadline - now);
		pthread_cond_timedwait(&l->freed, &l->lock, &until);
	}
}

enum rc ledger_pg_take(struct ledger_pg *l, enum ledger_pg_use use, uint64_t deadline,
		       struct ledger_pg_conn **out, struct why *why)
{
	struct ledger_pg_conn *c = NULL;
	pthread_mutex_lock(&l->lock);
	enum rc rc = take_locked(l, use, deadline, &c, why);
	if (rc == RC_OK && use == USE_LONG)
		l->reading++;
	pthread_mutex_unlock(&l->lock);
	if (rc != RC_OK)
		return rc;
	rc = ledger_pg_conn_patience(c, use == USE_LONG, l->options.timeout_ms, deadline, why);
	if (rc != RC_OK) {
		c->lost = true;
		ledger_pg_give(l, use, c);
		return rc == RC_NO_MEMORY ? rc : RC_TEMPORARY;
	}
	*out = c;
	return RC_OK;
}

void ledger_pg_give(struct ledger_pg *l, enum ledger_pg_use use, struct ledger_pg_conn *c)
{
	bool keep = !c->lost && PQtransactionStatus(c->pg) == PQTRANS_IDLE;
	pthread_mutex_lock(&l->lock);
	if (use == USE_LONG)
		l->reading--;
	if (keep) {
		c->used = true;
		c->next = l->idle;
		l->idle = c;
		c = NULL;
	} else {
		l->open--;
	}
	pthread_cond_broadcast(&l->freed);
	pthread_mutex_unlock(&l->lock);
	ledger_pg_conn_free(&c);
}

enum rc ledger_pg_run(struct ledger_pg *l, enum ledger_pg_sql sql, ledger_pg_args_fn *args,
		      const void *arg, bool again, uint64_t deadline, PGresult **out, bool *lost_r,
		      struct why *why)
{
	for (int tries = 0;; tries++) {
		_cleanup_(ledger_pg_args_release) struct ledger_pg_args a = LEDGER_PG_ARGS_INIT;
		struct ledger_pg_conn *c = NULL;
		enum ledger_pg_use use = sql >= PG_COUNTS ? USE_LONG : USE_SHORT;
		bool sent = false;
		enum rc rc = ledger_pg_take(l, use, deadline, &c, why);
		if (rc != RC_OK)
			return rc;
		args(l, c, &a, arg);
		rc = ledger_pg_conn_run(c, sql, &a, deadline, out, &sent, why);
		/* a connection that stood idle may have died unheard */
		bool stale = (c->lost && c->used && (again || !sent || c->refused)) ||
			     (rc == RC_EXISTS && again);
		if (lost_r)
			*lost_r = sent && c->lost && !c->refused;
		ledger_pg_give(l, use, c);
		if (rc == RC_OK)
			return RC_OK;
		atomic_fetch_add_explicit(&l->counters.failed, 1, memory_order_relaxed);
		if (!stale || tries == 10 || clock_boot_ms() >= deadline)
			return rc == RC_EXISTS && again ? RC_TEMPORARY : rc;
	}
}

/* ---- life ---- */

static void destroy(struct ledger *base)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	while (l->idle) {
		struct ledger_pg_conn *c = l->idle;
		l->idle = c->next;
		ledger_pg_conn_free(&c);
	}
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->freed);
	free(l->conninfo);
	free(l->schema);
	free(l->uuid);
	free(l->place);
	free(l);
}

static const struct ledger_ops pg_ops = {
	.name = "pg",
	.append = ledger_pg_append_events,
	.claim = ledger_pg_claim_rows,
	.settle = ledger_pg_claim_settle,
	.read = ledger_pg_read_rows,
	.state = ledger_pg_state_read,
	.seed = ledger_pg_state_seed,
	.reseed = ledger_pg_reseed_stream,
	.destroy = destroy,
};

static bool copy_options(struct ledger_pg *l, const struct ledger_pg_options *o)
{
	l->options = ledger_pg_defaults(o);
	l->options.conninfo = l->conninfo = strdup(l->options.conninfo);
	l->options.schema = l->schema = strdup(l->options.schema);
	l->options.uuid = l->uuid = strdup(o->uuid ? o->uuid : "");
	l->options.place = l->place = strdup(o->place ? o->place : "");
	return l->conninfo && l->schema && l->uuid && l->place;
}

enum rc ledger_pg_open(struct ledger **out, const struct ledger_pg_options *o, struct why *warning,
		       struct why *why)
{
	_cleanup_(ledger_freep) struct ledger *base = NULL;
	struct ledger_pg_conn *c = NULL;
	struct ledger_pg_facts facts;
	struct ledger_pg *l = calloc(1, sizeof(*l));
	if (warning)
		warning->text[0] = '\0';
	if (!l)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	l->base.ops = &pg_ops;
	l->base.counters = &l->counters;
	base = &l->base;
	pthread_mutex_init(&l->lock, NULL);
	thread_cond_init(&l->freed);
	if (!copy_options(l, o))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	l->base.writers = l->options.connections > 1 ? l->options.connections - readers_max(l) : 1;
	uint64_t deadline = ledger_pg_deadline(l);
	enum rc rc = ledger_pg_conn_new(&c, &l->options, deadline, &facts, why);
	if (rc != RC_OK)
		return rc;
	l->open = 1;
	l->counters.connects = 1;
	rc = ledger_pg_check_facts(&facts, warning, why);
	if (rc == RC_OK)
		rc = ledger_pg_schema_check(c, &l->options, deadline, why);
	ledger_pg_give(l, USE_SHORT, c);
	if (rc != RC_OK)
		return rc;
	*out = TAKE_PTR(base);
	return RC_OK;
}

const char *ledger_pg_version(void)
{
	static char text[16];
	int version = PQlibVersion();
	snprintf(text, sizeof(text), "%d.%d", version / 10000, version % 10000);
	return text;
}
