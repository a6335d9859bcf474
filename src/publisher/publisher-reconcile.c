/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher-reconcile.c - the whole store compared with what was published.
 *
 * What "was published" means without reading Kafka: what the checkpoint at the start of this run covers (recorded at or before its
 * time and not of a stream that it holds, or named among its recent ids), and what this run delivered since. The walk is over the
 * ledger's streams by number, so what is found is an event that the time line did not tell. An event that came into the store with
 * a time before the checkpoint counts as published: 'evfsctl publisher replay' is for that.
 */
#include "config.h"
#include "publisher/publisher-private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

struct publisher_reconcile {
	int64_t from_us;		/* what was recorded before is covered */
	struct checkpoint_held *held;	/* but for these */
	size_t n_held;
	struct publisher_ids saw;	/* the checkpoint's ids, and those of this run */
};

enum rc publisher_reconcile_new(struct publisher_reconcile **out, struct why *why)
{
	*out = calloc(1, sizeof(**out));
	return *out ? RC_OK : rc_fail(RC_NO_MEMORY, why, "no memory to reconcile");
}

void publisher_reconcile_free(struct publisher_reconcile **rp)
{
	struct publisher_reconcile *r = *rp;
	*rp = NULL;
	if (!r)
		return;
	for (size_t i = 0; i < r->n_held; i++) {
		free(r->held[i].type);
		free(r->held[i].id);
	}
	free(r->held);
	publisher_ids_release(&r->saw);
	free(r);
}

enum rc publisher_reconcile_begin(struct publisher_reconcile *r, const struct checkpoint *c, struct why *why)
{
	enum rc rc = RC_OK;
	r->from_us = (c->last_ms + 1) * 1000;
	r->held = c->n_held ? calloc(c->n_held, sizeof(*r->held)) : NULL;
	if (c->n_held && !r->held)
		return rc_fail(RC_NO_MEMORY, why, "no memory to reconcile");
	for (; r->n_held < c->n_held; r->n_held++) {
		struct checkpoint_held *to = &r->held[r->n_held];
		*to = (struct checkpoint_held){ strdup(c->held[r->n_held].type), strdup(c->held[r->n_held].id), c->held[r->n_held].next };
		if (!to->type || !to->id)
			rc = rc_fail(RC_NO_MEMORY, why, "no memory to reconcile");
	}
	for (size_t i = 0; i < c->n_ids && rc == RC_OK; i++)
		rc = publisher_reconcile_saw(r, c->ids[i], why);
	return rc;
}

enum rc publisher_reconcile_saw(struct publisher_reconcile *r, const char *event_id, struct why *why)
{
	return publisher_ids_add(&r->saw, event_id, why);
}

struct walk {
	struct publisher *p;
	int64_t until_us;	/* what is recorded from here on is not due */
	uint64_t seen, covered, sent;
	enum rc rc;
	struct why why;
};

static bool is_covered(const struct publisher_reconcile *r, const struct tail_event *e)
{
	if (publisher_ids_has(&r->saw, e->event_id))
		return true;
	for (size_t i = 0; i < r->n_held; i++)
		if (e->number >= r->held[i].next && !strcmp(e->type, r->held[i].type) && !strcmp(e->id, r->held[i].id))
			return false;
	return e->recorded_us < r->from_us;
}

/* A stream that waits is the tail's. */
static bool is_held(const struct publisher *p, const struct tail_event *e)
{
	const struct checkpoint_held *held;
	size_t n = tail_held(p->tail, &held);
	for (size_t i = 0; i < n; i++)
		if (e->number >= held[i].next && !strcmp(e->type, held[i].type) && !strcmp(e->id, held[i].id))
			return true;
	return false;
}

/* Until it is under way. */
static bool send_one(struct walk *w, const struct tail_event *e)
{
	struct publisher *p = w->p;
	for (;;) {
		if (publisher_stopping(p) || !publisher_active_renew(p) || p->broken) {
			w->rc = rc_fail(RC_TEMPORARY, &w->why, "interrupted");
			return false;
		}
		w->rc = publisher_window_full(&p->window) ? RC_TEMPORARY : publisher_send(p, e, &w->why);
		if (w->rc == RC_OK)
			return true;
		if (w->rc != RC_TEMPORARY)
			return false;
		publisher_serve(p, 100);
	}
}

static bool see(void *arg, const struct tail_event *told)
{
	struct walk *w = arg;
	struct publisher *p = w->p;
	struct tail_event e = *told;
	if (publisher_stopping(p) || !publisher_active_renew(p)) {
		w->rc = rc_fail(RC_TEMPORARY, &w->why, "interrupted");
		return false;
	}
	w->seen++;
	if (is_covered(p->reconcile, &e)) {
		w->covered++;
		return true;
	}
	if (e.recorded_us >= w->until_us || is_held(p, &e))
		return true;
	log_warning("reconcile: not published before: stream=%s/%s number=%" PRIu64 " event=%s", e.type, e.id, e.number, e.event_id);
	w->sent++;
	e.held = true;
	e.safe_us = 0;	/* it says nothing about time */
	if (p->o.dry_run)
		publisher_send_tell(p, &e);
	return p->o.dry_run || send_one(w, &e);
}

enum rc publisher_reconcile_walk(struct publisher *p, struct why *why)
{
	struct walk w = { .p = p, .until_us = p->state.horizon_us };
	enum rc rc = tail_walk(p->store, NULL, 0, INT64_MAX, see, &w, why);
	if (rc == RC_OK && w.rc != RC_OK)
		rc = rc_fail(w.rc, why, "%s", w.why.text);
	if (rc != RC_OK)
		return rc;
	log_info("reconciled: events=%" PRIu64 " published_before=%" PRIu64 " delivered_now=%" PRIu64, w.seen, w.covered, w.sent);
	return RC_OK;
}
