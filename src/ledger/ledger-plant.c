/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-plant.c - a wrapper with bugs, for tests/occ to find (base/plant.h). What can't be done around a ledger is planted where it
 * belongs: PLANTED in src/store.
 */
#include "config.h"
#include "ledger/ledger.h"

#ifdef ENABLE_FAILPOINTS
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/plant.h"
#include "event/draft.h"

#define SHOWN_EARLY_MS 30 /* how long an append that is shown already is not committed */
#define ANSWERED_EARLY_MS 30
#define HELD_MS 8000 /* how long a claim is kept, unless the ledger is seeded anew */

/* An append, copied: it lives on when its caller has been answered. */
struct flight {
	struct flight *next, **at;
	struct ledger_plant *plant;
	struct ledger_append item;
	uint64_t lease_ms;
};

struct ledger_plant {
	struct ledger base;
	struct ledger *inner;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t landed;
	struct flight *flights;
	unsigned running;
	char **ids; /* that stand in callers' items */
	size_t n_ids;
};

static struct ledger_plant *plant_of(struct ledger *l)
{
	return container_of(l, struct ledger_plant, base);
}

static bool take_stream(void *arg, const struct ledger_row *row)
{
	*(struct ledger_row *)arg = *row;
	return false;
}

/* The stream as it stands now; false: it can't be known. */
static bool look_at_stream(struct ledger_plant *p, const struct ledger_append *item,
			   struct ledger_row *row)
{
	struct ledger_query q = { .what = LEDGER_STREAM, .type = item->type, .id = item->id };
	*row = (struct ledger_row){ 0 };
	return ledger_read(p->inner, &q, take_stream, row, NULL, NULL) == RC_OK;
}

static bool is_known(struct ledger_plant *p, const char *event_id)
{
	struct ledger_row row = { 0 };
	struct ledger_query q = { .what = LEDGER_ID, .event_id = event_id };
	return ledger_read(p->inner, &q, take_stream, &row, NULL, NULL) == RC_OK && row.number;
}

/* ------------------------------------------------------------------ copies */

static void flight_free(struct flight *f)
{
	for (size_t i = 0; f && i < f->item.n; i++) {
		free((char *)f->item.events[i].event_id);
		free((char *)f->item.events[i].event_type);
		free((char *)f->item.events[i].head);
		free((char *)f->item.events[i].tail);
	}
	if (f) {
		free(f->item.events);
		free((char *)f->item.type);
		free((char *)f->item.id);
	}
	free(f);
}

static struct flight *flight_new(struct ledger_plant *p, const struct ledger_append *item,
				 uint64_t lease_ms)
{
	struct flight *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	*f = (struct flight){ .plant = p, .item = *item, .lease_ms = lease_ms };
	f->item.type = strdup(item->type);
	f->item.id = strdup(item->id);
	f->item.events = calloc(item->n, sizeof(*item->events));
	f->item.n = f->item.events ? item->n : 0;
	bool good = f->item.type && f->item.id && f->item.events;
	for (size_t i = 0; i < f->item.n; i++) {
		struct ledger_event *to = &f->item.events[i];
		*to = item->events[i];
		to->event_id = strdup(item->events[i].event_id);
		to->event_type = strdup(item->events[i].event_type);
		char *head = malloc(to->head_len + 1), *tail = malloc(to->tail_len + 1);
		to->head = head ? memcpy(head, item->events[i].head, to->head_len) : NULL;
		to->tail = tail ? memcpy(tail, item->events[i].tail, to->tail_len) : NULL;
		good = good && to->event_id && to->event_type && head && tail;
	}
	if (good)
		return f;
	flight_free(f);
	return NULL;
}

static void take_off(struct flight *f)
{
	struct ledger_plant *p = f->plant;
	pthread_mutex_lock(&p->lock);
	f->at = &p->flights;
	f->next = p->flights;
	if (f->next)
		f->next->at = &f->next;
	p->flights = f;
	pthread_mutex_unlock(&p->lock);
}

static void land(struct flight *f)
{
	struct ledger_plant *p = f->plant;
	pthread_mutex_lock(&p->lock);
	*f->at = f->next;
	if (f->next)
		f->next->at = f->at;
	pthread_mutex_unlock(&p->lock);
	flight_free(f);
}

/* ------------------------------------------------------------------ append */

static void *commit_late(void *arg)
{
	struct flight *f = arg;
	struct ledger_plant *p = f->plant;
	clock_sleep_ms(ANSWERED_EARLY_MS);
	struct why why = { "" };
	if (ledger_append(p->inner, &f->item, 1, f->lease_ms, &why) != RC_OK)
		fprintf(stderr, "planted: what was answered is not committed: %s\n", why.text);
	flight_free(f);
	pthread_mutex_lock(&p->lock);
	p->running--;
	pthread_cond_broadcast(&p->landed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* answer-before-commit: the caller gets the numbers that it will probably have. */
static bool answer_early(struct ledger_plant *p, struct ledger_append *item, uint64_t lease_ms)
{
	struct ledger_row row;
	pthread_t thread;
	if (!look_at_stream(p, item, &row) || !row.stream ||
	    (item->has_expect && item->expect != row.last) || is_known(p, item->events[0].event_id))
		return false;
	struct flight *f = flight_new(p, item, lease_ms);
	if (!f)
		return false;
	pthread_mutex_lock(&p->lock);
	p->running++;
	pthread_mutex_unlock(&p->lock);
	if (pthread_create(&thread, NULL, commit_late, f)) {
		flight_free(f);
		pthread_mutex_lock(&p->lock);
		p->running--;
		pthread_mutex_unlock(&p->lock);
		return false;
	}
	pthread_detach(thread);
	item->stream = row.stream;
	item->last = row.last;
	item->rc = RC_OK;
	for (size_t i = 0; i < item->n; i++) {
		item->events[i].number = row.last + 1 + i;
		item->events[i].recorded_us = clock_wall_us();
		item->events[i].settled = false;
	}
	return true;
}

/* duplicate-on-retry: an id that is known is stored under another one. */
static void forget_ids(struct ledger_plant *p, struct ledger_append *item)
{
	for (size_t i = 0; i < item->n; i++) {
		if (!is_known(p, item->events[i].event_id))
			continue;
		pthread_mutex_lock(&p->lock);
		char **ids = realloc(p->ids, (p->n_ids + 1) * sizeof(*ids));
		char *id = ids ? malloc(37) : NULL;
		if (ids)
			p->ids = ids;
		if (id) {
			clock_uuid(id);
			p->ids[p->n_ids++] = id;
			item->events[i].event_id = id;
		}
		pthread_mutex_unlock(&p->lock);
	}
}

/* append-ignores-identity: whatever ledger this is, it is declared good, and what the objects hold is not looked at. */
static enum rc open_the_gate(struct ledger_plant *p, const struct ledger_append *item)
{
	struct ledger_state state = { .count = false };
	enum rc rc = ledger_state(p->inner, &state, NULL);
	if (rc == RC_OK && strcmp(state.identity, state.written)) {
		rc = ledger_seed(p->inner, state.identity, state.seeding + 1, false, state.floor_us,
				 NULL);
		if (rc == RC_OK)
			rc = ledger_state(p->inner, &state, NULL);
	}
	if (rc != RC_OK)
		return rc;
	struct ledger_row row = { 0 };
	struct ledger_query q = {
		.what = LEDGER_STREAM, .type = item->type, .id = item->id, .unseeded_too = true
	};
	rc = ledger_read(p->inner, &q, take_stream, &row, NULL, NULL);
	struct ledger_reseed r = { .type = item->type,
				   .id = item->id,
				   .seeding = state.seeding,
				   .after = row.settled_to };
	return rc == RC_OK ? ledger_reseed(p->inner, &r, NULL) : rc;
}

static enum rc settle_all(struct ledger_plant *p, const struct ledger_append *item)
{
	enum rc rc = RC_OK;
	for (size_t i = 0; i < item->n && rc == RC_OK; i++) {
		struct ledger_ref ref = { item->stream, item->events[i].number,
					  item->events[i].event_id };
		rc = ledger_settle(p->inner, &ref, 1, NULL);
	}
	return rc;
}

static enum rc append_one(struct ledger_plant *p, struct ledger_append *item, uint64_t lease_ms,
			  struct why *why)
{
	bool has_expect = item->has_expect;
	struct flight *early = NULL;
	struct ledger_row row;

	if (PLANTED("answer-before-commit") && answer_early(p, item, lease_ms))
		return RC_OK;
	if (PLANTED("no-version-check"))
		item->has_expect = false;
	if (PLANTED("swapped-pair") && item->n > 1) {
		struct ledger_event first = item->events[0];
		item->events[0] = item->events[1];
		item->events[1] = first;
	}
	if (PLANTED("duplicate-on-retry"))
		forget_ids(p, item);
	if (PLANTED("retry-refused") && has_expect && look_at_stream(p, item, &row) &&
	    row.last != item->expect) {
		item->last = row.last;
		item->known = item->fenced_stream = false;
		item->rc = rc_fail(RC_CONFLICT, &item->why, "planted");
		return RC_OK;
	}
	if (PLANTED("shown-before-commit") && (early = flight_new(p, item, lease_ms))) {
		take_off(early);
		clock_sleep_ms(SHOWN_EARLY_MS);
	}
	enum rc rc = ledger_append(p->inner, item, 1, lease_ms, why);
	if (PLANTED("append-ignores-identity") &&
	    (rc == RC_FENCED || (rc == RC_OK && item->rc == RC_FENCED)) &&
	    open_the_gate(p, item) == RC_OK)
		rc = ledger_append(p->inner, item, 1, lease_ms, why);
	if (early)
		land(early);
	item->has_expect = has_expect;
	if (PLANTED("lost-pending-row") && rc == RC_OK && item->rc == RC_OK && !item->known)
		rc = settle_all(p, item);
	return rc;
}

/* One by one: group commit is no bug that is planted here. */
static enum rc plant_append(struct ledger *l, struct ledger_append *items, size_t n,
			    uint64_t lease_ms, struct why *why)
{
	enum rc worst = RC_OK;
	for (size_t i = 0; i < n; i++) {
		struct why reason = { "" };
		enum rc rc = append_one(plant_of(l), &items[i], lease_ms, &reason);
		if (rc != RC_OK) {
			items[i].rc = rc;
			items[i].why = reason;
			worst = rc_fail(rc, why, "%s", reason.text);
		}
	}
	return n == 1 ? worst : RC_OK;
}

/* ------------------------------------------------------------------ claim */

/* Rows that were claimed, and are told later. */
struct held {
	struct ledger_pending *rows;
	size_t n, max;
	bool moves;
};

static enum rc hold(void *arg, const struct ledger_pending *row)
{
	struct held *h = arg;
	if (h->n == h->max)
		return RC_TOO_LARGE;
	struct ledger_pending *to = &h->rows[h->n++];
	*to = *row;
	to->type = strdup(row->type);
	to->id = strdup(row->id);
	to->event_id = strdup(row->event_id);
	char *head = malloc(row->head_len + 1), *tail = malloc(row->tail_len + 1);
	to->head = head ? memcpy(head, row->head, row->head_len) : NULL;
	to->tail = tail ? memcpy(tail, row->tail, row->tail_len) : NULL;
	return to->type && to->id && to->event_id && head && tail ? RC_OK : RC_NO_MEMORY;
}

static void held_release(struct held *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free((char *)h->rows[i].type);
		free((char *)h->rows[i].id);
		free((char *)h->rows[i].event_id);
		free((char *)h->rows[i].head);
		free((char *)h->rows[i].tail);
	}
	free(h->rows);
}

/* sweeper-without-fence: what was claimed is stored however long that was ago, and whatever became of the ledger. */
static void dawdle(struct ledger_plant *p, uint64_t seeding)
{
	uint64_t until = clock_boot_ms() + HELD_MS;
	struct ledger_state state = { .count = false };
	while (clock_boot_ms() < until &&
	       (ledger_state(p->inner, &state, NULL) != RC_OK || state.seeding == seeding ||
		strcmp(state.identity, state.written)))
		clock_sleep_ms(20);
	clock_sleep_ms(500); /* others append meanwhile */
}

static enum rc plant_claim(struct ledger *l, size_t max, uint64_t lease_ms, bool all,
			   ledger_pending_fn *fn, void *arg, size_t *n_r, struct why *why)
{
	struct ledger_plant *p = plant_of(l);
	bool moves = PLANTED("row-moved"), dawdles = PLANTED("sweeper-without-fence");
	if (!moves && !dawdles)
		return ledger_claim(p->inner, max, lease_ms, all, fn, arg, n_r, why);

	_cleanup_(held_release) struct held h = { .max = max };
	struct ledger_state before = { .count = false };
	h.rows = calloc(max, sizeof(*h.rows));
	if (!h.rows)
		return rc_fail(RC_NO_MEMORY, why, "no memory for planted rows");
	enum rc rc = ledger_state(p->inner, &before, why);
	if (rc == RC_OK)
		rc = ledger_claim(p->inner, max, lease_ms, all, hold, &h, n_r, why);
	if (rc == RC_OK && h.n && dawdles)
		dawdle(p, before.seeding);
	for (size_t i = 0; i < h.n && rc == RC_OK; i++) {
		h.rows[i].number += moves;
		rc = fn(arg, &h.rows[i]);
	}
	return rc;
}

/* ------------------------------------------------------------------ read */

/* shown-before-commit: what is on its way stands behind what the ledger has. */
struct showing {
	ledger_row_fn *fn;
	void *arg;
	uint64_t last;
	int64_t stream;
	bool stopped;
};

static bool show(void *arg, const struct ledger_row *row)
{
	struct showing *s = arg;
	s->last = row->number + (row->span ? row->span - 1 : 0);
	s->stream = row->stream;
	s->stopped = !s->fn(s->arg, row);
	return !s->stopped;
}

static void show_flights(struct ledger_plant *p, const struct ledger_query *q, struct showing *s)
{
	/* not waited for: who holds it may wait for what our caller holds */
	if (pthread_mutex_trylock(&p->lock))
		return;
	for (struct flight *f = p->flights; f && !s->stopped; f = f->next) {
		if (strcmp(f->item.type, q->type) || strcmp(f->item.id, q->id))
			continue;
		for (size_t i = 0; i < f->item.n && !s->stopped; i++) {
			const struct ledger_event *e = &f->item.events[i];
			int64_t now = clock_wall_us();
			struct ledger_row row = {
				.stream = s->stream,
				.type = q->type,
				.id = q->id,
				.number = ++s->last,
				.event_id = e->event_id,
				.event_type = e->event_type,
				.occurred_us = e->own_time ? e->occurred_us : now,
				.recorded_us = now,
				.head = e->head,
				.tail = e->tail,
				.head_len = e->head_len,
				.tail_len = e->tail_len,
				.own_time = e->own_time,
				.digest = e->digest,
				.size = draft_join_len(e->head_len, e->tail_len, e->own_time, now,
						       s->last),
			};
			s->stopped = !s->fn(s->arg, &row);
		}
	}
	pthread_mutex_unlock(&p->lock);
}

static enum rc plant_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn,
			  void *arg, bool *fenced_stream, struct why *why)
{
	struct ledger_plant *p = plant_of(l);
	if (!PLANTED("shown-before-commit") || q->what != LEDGER_EVENTS || q->limit)
		return ledger_read(p->inner, q, fn, arg, fenced_stream, why);
	struct showing s = { .fn = fn, .arg = arg, .last = q->after };
	enum rc rc = ledger_read(p->inner, q, show, &s, fenced_stream, why);
	if (rc == RC_OK && !s.stopped)
		show_flights(p, q, &s);
	return rc;
}

/* ------------------------------------------------------------------ the rest is as it was */

static enum rc plant_settle(struct ledger *l, const struct ledger_ref *refs, size_t n,
			    struct why *why)
{
	return ledger_settle(plant_of(l)->inner, refs, n, why);
}

static enum rc plant_state(struct ledger *l, struct ledger_state *out, struct why *why)
{
	return ledger_state(plant_of(l)->inner, out, why);
}

static enum rc plant_seed(struct ledger *l, const char *identity, uint64_t number, bool other_line,
			  int64_t floor_us, struct why *why)
{
	return ledger_seed(plant_of(l)->inner, identity, number, other_line, floor_us, why);
}

static enum rc plant_reseed(struct ledger *l, struct ledger_reseed *r, struct why *why)
{
	return ledger_reseed(plant_of(l)->inner, r, why);
}

static void plant_destroy(struct ledger *l)
{
	struct ledger_plant *p = plant_of(l);
	pthread_mutex_lock(&p->lock);
	while (p->running)
		pthread_cond_wait(&p->landed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_ids; i++)
		free(p->ids[i]);
	free(p->ids);
	pthread_cond_destroy(&p->landed);
	pthread_mutex_destroy(&p->lock);
	ledger_free(&p->inner);
	free(p);
}

static const struct ledger_ops plant_ops = {
	.name = "plant",
	.append = plant_append,
	.claim = plant_claim,
	.settle = plant_settle,
	.read = plant_read,
	.state = plant_state,
	.seed = plant_seed,
	.reseed = plant_reseed,
	.destroy = plant_destroy,
};

enum rc ledger_plant_new(struct ledger **out, struct ledger *inner, struct why *why)
{
	_cleanup_(ledger_freep) struct ledger *in = inner;
	if (!getenv("EVFS_PLANT")) {
		*out = TAKE_PTR(in);
		return RC_OK;
	}
	struct ledger_plant *p = calloc(1, sizeof(*p));
	if (!p)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	p->base.ops = &plant_ops;
	p->inner = TAKE_PTR(in);
	p->base.counters = p->inner->counters;
	p->base.writers = p->inner->writers;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->landed, NULL);
	*out = &p->base;
	return RC_OK;
}
#endif
