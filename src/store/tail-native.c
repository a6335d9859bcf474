/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail-native.c - the ledger's time line, read page by page up to the horizon, and the streams that wait, by number (design.md 8,
 * model/native_tail.py).
 *
 * The place in the time line is (recorded, stream, number): all up to it was read, but for what the held streams have from their
 * `next` on. Once the horizon is reached it is the horizon: what is recorded before it is behind.
 *
 * A look is of one seeding. Any other page counts once the ledger said after it that the seeding is still that one (tail-page.c). Where
 * there is much to catch up with, the next page is read while this one is told.
 */
#include "config.h"
#include "store/tail-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define PAGE 1000		/* rows of one question */
#define LENGTH 4096		/* events in memory, about */
#define LEASE_MS 4000
#define WAIT_MS 1000		/* for those who are appending; the look is repeated anyway */
#define RETRY_MS 500		/* where there is something to tell meanwhile */

struct native {
	struct tail tail;
	struct store *s;
	char *lease, *token;
	uint64_t lease_ms;
	size_t page;		/* rows of one question */
	struct tail_queue *queue;
	struct tail_held held;
	struct tail_ahead *ahead;
	struct tail_place place;
	int64_t horizon_us;	/* 0: not known yet */
	bool at_horizon;
	bool behind;		/* held streams have more to be read */
	uint64_t tries, look;	/* looks begun; the number of the last good one */
	uint64_t seeding;	/* of the first */
	bool fenced;		/* it was another at a later one */
	uint64_t retry_ms;	/* clock_boot_ms */
	int64_t safe_us;	/* as told last */
	struct tail_item *current;
	struct tail_event event;
};

static bool is_behind(const struct tail_place *p, const struct ledger_row *row)
{
	if (row->recorded_us != p->us)
		return row->recorded_us < p->us;
	return row->stream != p->stream ? row->stream < p->stream : row->number <= p->number;
}

static int64_t millisecond(int64_t us)
{
	int64_t rest = us % 1000;
	return us - (rest < 0 ? rest + 1000 : rest);
}

/* ------------------------------------------------------------------ what was read counts */

/* NULL: no place among the held, or no memory. */
static struct tail_hold *hold(struct native *t, const char *type, const char *id, uint64_t next)
{
	return t->held.n < CHECKPOINT_HELD_MAX ? tail_held_add(&t->held, type, id, next) : NULL;
}

/*
 * The page's first row: told by time, or dropped for its stream waits and is read by number. *end: of what is told. False: neither, for
 * its stream finds no place among the held.
 */
static bool take_item(struct native *t, struct tail_page *p, struct tail_item ***end)
{
	struct tail_item *item = p->first;
	struct tail_hold *h = t->held.n ? tail_held_find(&t->held, item->type, item->id) : NULL;
	if (!h && !item->settled)
		h = hold(t, item->type, item->id, item->number);	/* it became late since the look */
	if (!h && !item->settled)
		return false;
	bool waits = h && item->number >= h->next;	/* what is below is settled by now, whatever it was when it was read */
	t->place = (struct tail_place){ item->recorded_us, item->stream, item->number };
	p->first = item->next;
	item->next = NULL;
	if (waits) {
		tail_queue_item_free(item);
		return true;
	}
	**end = item;
	*end = &item->next;
	return true;
}

/* From now on the page counts, as far as it goes. False: nowhere, for too many streams wait. */
static bool take_page(struct native *t, struct tail_page *p)
{
	struct tail_item *told = NULL, **end = &told;
	size_t n = 0;
	while (p->first && take_item(t, p, &end))
		n++;
	if (told)
		tail_queue_add(t->queue, told);
	if (p->first)
		return n > 0;
	if (p->ends && p->to_us > t->place.us)
		t->place = (struct tail_place){ p->to_us - 1, INT64_MAX, INT64_MAX };
	t->at_horizon = p->ends && t->place.us >= t->horizon_us - 1 && t->place.stream == INT64_MAX;
	return true;
}

/* ------------------------------------------------------------------ the seeding */

static enum rc fence(struct native *t, struct why *why)
{
	t->fenced = true;
	return rc_fail(RC_FENCED, why, "the ledger was replaced or put back: begin anew from the checkpoint");
}

/* Whatever it is, the same call may be made again, but where the ledger was replaced. */
static enum rc failed(struct native *t, enum rc rc, struct why *why)
{
	store_saw_ledger(t->s, rc == RC_FENCED ? RC_OK : rc, why);
	if (rc == RC_FENCED) {
		t->fenced = true;
		return rc;
	}
	return rc == RC_NO_MEMORY ? rc : rc == RC_TEMPORARY ? rc : rc_prefix(RC_TEMPORARY, why, "the ledger can't be read");
}

/* ------------------------------------------------------------------ streams that wait */

struct reading {
	struct native *t;
	struct tail_page page;
	const struct tail_hold *hold;
	uint64_t next;
	bool late;		/* it was at the last look */
	bool stopped;		/* there are more rows, which are no business of ours, or not yet */
	bool ends;		/* nothing of it is behind */
};

static bool take_number(void *arg, const struct ledger_row *row)
{
	struct reading *r = arg;
	struct native *t = r->t;
	r->page.rows++;
	if (row->span) {
		r->next = row->number + row->span;
		return true;
	}
	r->stopped = true;
	if (r->late && row->number >= r->hold->late)
		return false;
	/* The place decides, not the horizon: it falls where a stream is late no more, and is another's after a restart. */
	if (!is_behind(&t->place, row)) {
		r->ends = !r->late;
		return false;
	}
	if (!row->settled)
		return false;
	if (!tail_page_add(&r->page, row, (struct tail_hold *)r->hold))
		return false;
	r->stopped = false;
	r->next = row->number + 1;
	return true;
}

/* Read what is settled of it and behind. *more_r: not all of that. */
static enum rc read_held(struct native *t, struct tail_hold *h, bool *more_r, struct why *why)
{
	struct reading r = { .t = t, .hold = h, .next = h->next, .late = h->look >= t->look };
	tail_page_init(&r.page, t->page, tail_queue_room(t->queue));
	*more_r = false;
	if (r.late && h->late <= h->next)
		return RC_OK;
	*more_r = tail_queue_length(t->queue) && !r.page.room;
	if (*more_r)
		return RC_OK;
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = h->type, .id = h->id, .after = h->next - 1, .limit = t->page };
	enum rc rc = ledger_read(t->s->ledger, &q, take_number, &r, NULL, why);
	if (rc == RC_OK && r.page.failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the events of '%s/%s'", h->type, h->id);
	if (rc == RC_OK)
		rc = tail_page_confirm(t->s, t->seeding, why);
	if (rc != RC_OK) {
		tail_page_release(&r.page);
		return failed(t, rc, why);
	}
	h->next = r.next;
	h->queued += r.page.items;
	if (r.page.first)
		tail_queue_add(t->queue, r.page.first);
	bool all = !r.stopped && r.page.rows < t->page;
	*more_r = r.page.full || (!r.stopped && !all);
	if (r.ends || (all && !r.late))
		tail_held_close(&t->held, h);
	return RC_OK;
}

/* By number, as far as there is room. */
static enum rc read_all_held(struct native *t, struct why *why)
{
	enum rc rc = RC_OK;
	bool behind = false;
	for (size_t i = t->held.n; i-- > 0 && rc == RC_OK; ) {
		struct tail_hold *h = t->held.all[i];
		bool more = false;
		if (!h->closing)
			rc = read_held(t, h, &more, why);
		behind |= more || rc != RC_OK;
	}
	t->behind = behind;
	return rc;
}

/* ------------------------------------------------------------------ the look */

static void tell_state(const struct native *t, const struct ledger_horizon *h, uint64_t until_ms, struct tail_state *out)
{
	*out = (struct tail_state){
		.leased_until_ms = until_ms,
		.now_us = h->state.now_us,
		.horizon_us = t->horizon_us,
		.seeding = h->state.seeding,
		.unsettled = h->unsettled,
	};
	snprintf(out->holder, sizeof(out->holder), "%s", h->holder);
}

struct looking {
	struct native *t;
	struct tail_page *page;	/* to_us: a stream that waits there finds no place among the held */
	uint64_t late;
	bool failed;		/* with no memory */
};

/* A stream with a late row: from its first unsettled number on it waits. It waits longer where it did already. */
static bool take_late(void *arg, const struct ledger_row *row)
{
	struct looking *l = arg;
	struct native *t = l->t;
	bool has_place = t->held.n < CHECKPOINT_HELD_MAX;
	struct tail_hold *h = tail_held_find(&t->held, row->type, row->id);
	l->late++;
	if (!h)
		h = hold(t, row->type, row->id, row->number);
	if (h) {
		h->look = t->tries;
		h->late = row->number;
	} else if (millisecond(row->recorded_us) < l->page->to_us) {
		l->page->to_us = millisecond(row->recorded_us);	/* it holds the horizon */
	}
	l->failed = !h && has_place;
	return !l->failed;
}

static bool take_row(void *arg, const struct ledger_row *row)
{
	struct looking *l = arg;
	if (!row->span && row->recorded_us >= l->page->to_us) {
		l->page->ends = true;
		return false;
	}
	return tail_page_take(l->page, row);
}

/* There is no room for it. */
static bool pass_row(void *arg, const struct ledger_row *row)
{
	struct looking *l = arg;
	l->page->full |= row->recorded_us < l->page->to_us;
	return false;
}

/* The look is good, and its page: from now on they count. */
static void take_look(struct native *t, struct tail_page *p, int64_t horizon_us)
{
	t->look = t->tries;
	if (horizon_us > t->horizon_us)
		t->horizon_us = horizon_us;
	p->ends |= !p->full && p->rows < p->limit;
	tail_page_cut(p, horizon_us);
	t->at_horizon = false;
	bool went = take_page(t, p);
	(void)went;	/* read_page says it */
}

/* Is it the seeding of the first look, and the whole store seeded? */
static enum rc check_seeding(struct native *t, const struct ledger_state *state, struct why *why)
{
	if (!state->complete)
		return rc_fail(RC_FENCED, why, "the whole store must be re-seeded first");
	t->seeding = t->seeding ? t->seeding : state->seeding;
	return t->fenced || state->seeding != t->seeding ? fence(t, why) : RC_OK;
}

static enum rc native_look(struct tail *base, struct tail_state *out, struct why *why)
{
	struct native *t = container_of(base, struct native, tail);
	_cleanup_(tail_page_release) struct tail_page p;
	struct looking l = { .t = t, .page = &p };
	struct ledger_horizon h = { .lease = t->lease, .token = t->token, .lease_ms = t->lease_ms, .wait_ms = WAIT_MS,
				    .late = take_late, .late_arg = &l };
	bool pending = tail_ahead_pending(t->ahead, NULL);	/* it has what comes next */
	bool full = pending || tail_queue_length(t->queue) >= LENGTH || !tail_queue_has_room(t->queue);
	struct ledger_query q = { .what = LEDGER_TIME, .from_us = t->place.us, .to_us = INT64_MAX, .after_us = t->place.us,
				  .stream = t->place.stream, .after = t->place.number, .limit = full ? 1 : t->page,
				  .lean = full, .horizon = &h };
	tail_page_init(&p, q.limit, tail_queue_room(t->queue));
	p.full = pending;
	t->tries++;
	uint64_t began_ms = clock_boot_ms();
	enum rc rc = ledger_read(t->s->ledger, &q, full ? pass_row : take_row, &l, NULL, why);
	bool leased = !t->lease || h.leased;
	if (rc == RC_OK && (p.failed || l.failed))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the events of a page");
	int64_t horizon_us = p.to_us < h.horizon_us ? p.to_us : h.horizon_us;
	tell_state(t, &h, leased ? began_ms + t->lease_ms : 0, out);
	out->leased = leased;
	out->late = l.late;
	if (rc == RC_OK && !leased)
		return RC_OK;
	bool seeded = rc != RC_FENCED;
	if (rc == RC_OK) {
		seeded = h.state.complete;
		rc = check_seeding(t, &h.state, why);
	}
	if (rc == RC_OK) {
		take_look(t, &p, horizon_us);
		out->horizon_us = t->horizon_us;
		return read_all_held(t, why);
	}
	out->waits = !seeded;
	return failed(t, rc, why);
}

/* ------------------------------------------------------------------ what is told */

/* What comes next in the time line. */
static void ask_next(const struct native *t, struct tail_page *p, size_t room)
{
	tail_page_init(p, t->page, room);
	p->after = t->place;
	p->to_us = t->horizon_us;
	p->seeding = t->seeding;
}

/* What it holds comes on top of what the queue does: it takes half of the room that is left. */
static void read_ahead(struct native *t)
{
	struct tail_page ask;
	ask_next(t, &ask, tail_queue_room(t->queue) / 2);
	tail_ahead_begin(t->ahead, &ask);
}

static enum rc read_page(struct native *t, struct why *why)
{
	_cleanup_(tail_page_release) struct tail_page p;
	enum rc rc;
	ask_next(t, &p, tail_queue_room(t->queue));
	if (tail_ahead_pending(t->ahead, NULL))
		rc = tail_ahead_take(t->ahead, &p, why);
	else
		rc = tail_page_read(t->s, &p, why);
	if (rc != RC_OK)
		return failed(t, rc, why);
	if (!take_page(t, &p))	/* it became late since the look, and there are too many of them */
		return rc_fail(RC_TEMPORARY, why, "more than %d streams wait for what is not stored yet", CHECKPOINT_HELD_MAX);
	if (!p.first && !t->at_horizon)
		read_ahead(t);
	return RC_OK;
}

static enum rc read_some(struct native *t, struct why *why)
{
	enum rc rc = t->behind ? read_all_held(t, why) : RC_OK;
	return rc == RC_OK && !t->at_horizon ? read_page(t, why) : rc;
}

/* Is there enough to tell, or no hope of more? A page that is being read is not waited for while there is something. */
static bool has_enough(struct native *t, size_t length)
{
	bool busy;
	return length > LENGTH / 2 || !tail_queue_has_room(t->queue) || (tail_ahead_pending(t->ahead, &busy) && busy) ||
	       clock_boot_ms() < t->retry_ms;
}

/* Keep the queue filled, as long as there is something to tell. A page may hold nothing but what waits. */
static enum rc read_more(struct native *t, struct why *why)
{
	enum rc rc = RC_OK;
	size_t length = tail_queue_length(t->queue);
	if (length)
		return has_enough(t, length) ? RC_OK : read_some(t, why);
	while (rc == RC_OK && !tail_queue_length(t->queue) && t->look && (t->behind || !t->at_horizon))
		rc = read_some(t, why);
	return rc;
}

/* What was recorded before this was told with this event, as far as it is known by now. */
static int64_t safe_with(const struct native *t, const struct tail_item *item)
{
	const struct tail_item *next = tail_queue_first(t->queue);
	while (!item->hold && next && next->hold)
		next = next->next;
	int64_t safe_us = t->safe_us;
	if (!next)
		safe_us = t->at_horizon ? t->horizon_us : item->hold ? safe_us : millisecond(item->recorded_us);
	else if (!item->hold)
		safe_us = millisecond(next->recorded_us);
	return safe_us > t->safe_us ? safe_us : t->safe_us;
}

static enum rc native_next(struct tail *base, const struct tail_event **out, struct why *why)
{
	struct native *t = container_of(base, struct native, tail);
	struct tail_item *item = NULL;
	tail_queue_done(t->queue, TAKE_PTR(t->current));
	*out = NULL;
	enum rc rc = t->fenced ? fence(t, why) : read_more(t, why);
	if (rc != RC_OK && rc != RC_FENCED && tail_queue_length(t->queue)) {
		t->retry_ms = clock_boot_ms() + RETRY_MS;	/* there is something to tell meanwhile */
		rc = RC_OK;
	}
	if (rc == RC_OK)
		rc = tail_queue_take(t->queue, &item, why);
	if (!item)
		return rc;
	tail_queue_item_tell(item, &t->event);
	t->event.safe_us = t->safe_us = safe_with(t, item);
	if (item->hold)
		tail_held_told(&t->held, item->hold, item->number);
	t->current = item;
	*out = &t->event;
	return RC_OK;
}

static size_t native_held(struct tail *base, const struct checkpoint_held **out)
{
	struct native *t = container_of(base, struct native, tail);
	return tail_held_list(&t->held, out);
}

/* ------------------------------------------------------------------ life */

static void native_release(struct tail *base)
{
	struct native *t = container_of(base, struct native, tail);
	struct ledger_horizon h = { .lease = t->lease, .token = t->token };
	struct ledger_query q = { .what = LEDGER_TIME, .limit = 1, .lean = true, .horizon = &h };
	if (!t->lease)
		return;
	struct tail_page p;
	struct looking l = { .t = t, .page = &p };
	tail_page_init(&p, q.limit, 0);
	enum rc rc = ledger_read(t->s->ledger, &q, pass_row, &l, NULL, NULL);
	(void)rc;	/* it ends by itself, too */
}

static void native_destroy(struct tail *base)
{
	struct native *t = container_of(base, struct native, tail);
	tail_ahead_free(&t->ahead);
	if (t->queue)
		tail_queue_done(t->queue, t->current);
	tail_queue_free(&t->queue);
	tail_held_release(&t->held);
	free(t->lease);
	free(t->token);
	free(t);
}

static const struct tail_ops native_ops = {
	.look = native_look,
	.next = native_next,
	.held = native_held,
	.release = native_release,
	.destroy = native_destroy,
};

static enum rc begin(struct native *t, const struct tail_options *o, const struct checkpoint *c, struct why *why)
{
	/* behind all of that millisecond */
	t->place = (struct tail_place){ c->last_ms ? c->last_ms * 1000 + 999 : INT64_MIN, INT64_MAX, INT64_MAX };
	t->safe_us = c->last_ms ? (c->last_ms + 1) * 1000 : 0;
	t->page = o->page ? o->page : PAGE;
	t->lease_ms = o->lease_ms ? o->lease_ms : LEASE_MS;	/* 0 would give it back */
	if (o->lease && (!(t->lease = strdup(o->lease)) || !(t->token = strdup(o->token))))
		return rc_fail(RC_NO_MEMORY, why, "no memory for the tail");
	for (size_t i = 0; i < c->n_held; i++) {
		const struct checkpoint_held *h = &c->held[i];
		struct tail_hold *had = tail_held_find(&t->held, h->type, h->id);
		if (had && had->next > h->next)
			had->next = h->next;
		else if (!had && !tail_held_add(&t->held, h->type, h->id, h->next))
			return rc_fail(RC_NO_MEMORY, why, "no memory for the held streams");
	}
	return RC_OK;
}

enum rc tail_native_new(struct tail **out, struct store *s, const struct tail_options *o, const struct checkpoint *c, struct why *why)
{
	if (!s->ledger)
		return rc_fail(RC_DENIED, why, "the store has no ledger: nothing tells what is new");
	struct native *t = calloc(1, sizeof(*t));
	if (!t)
		return rc_fail(RC_NO_MEMORY, why, "no memory for the tail");
	t->s = s;
	t->tail.ops = &native_ops;
	enum rc rc = tail_queue_new(&t->queue, s->objects, o->parallel, o->ahead_bytes, why);
	if (rc == RC_OK)
		rc = tail_ahead_new(&t->ahead, s, why);
	if (rc == RC_OK)
		rc = begin(t, o, c, why);
	if (rc != RC_OK) {
		native_destroy(&t->tail);
		return rc;
	}
	*out = &t->tail;
	return RC_OK;
}
