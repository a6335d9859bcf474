/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store-append.c - one append: check, commit, store (design.md 5).
 *
 * Once committed, an append is never taken back: what fails afterwards is repeated with the same ids, and what is not done by
 * the deadline is left to the sweepers.
 */
#include "config.h"
#include "store/store-private.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/plant.h"
#include "event/key.h"

#define RESULT_RESERVE 48	/* what number and time add to the pieces, at most */
#define RETRY_FIRST_MS 20
#define RETRY_MOST_MS 250
#define ANSWER_SLACK_MS 4000	/* an answer may come so much later than the time-out */

struct pieces {
	struct draft_pieces *p;
	size_t n;
};

static void pieces_release(struct pieces *v)
{
	for (size_t i = 0; i < v->n; i++)
		draft_pieces_release(&v->p[i]);
	free(v->p);
}

struct delivery {
	struct deliver_item *items;
	size_t n;
};

static void delivery_release(struct delivery *d)
{
	store_deliver_release(d->items, d->n);
	free(d->items);
}

/* What the writer expects, from all the places where it may stand; all must mean the same number. */
struct expectation {
	bool stands, numbered;	/* numbered: it was said by naming an event's own number */
	bool whole;		/* and every event is a whole one: a new event leaves no gap, under -o restore neither */
	uint64_t last;
	size_t by;
};

static enum rc expect(struct expectation *e, uint64_t last, bool numbered, size_t index, struct why *why)
{
	if (last < index)
		return rc_fail(RC_INVALID, why, "document %zu expects %" PRIu64 " as the last sequence, but %zu come before it in one batch",
			       index + 1, last, index);
	uint64_t before = last - index;
	if (e->stands && e->last != before)
		return rc_fail(RC_INVALID, why, "documents %zu and %zu of one batch contradict each other: %" PRIu64 " and %" PRIu64
			       " as the last sequence before it", e->by + 1, index + 1, e->last, before);
	e->numbered = e->stands ? e->numbered && numbered : numbered;
	e->stands = true;
	e->last = before;
	e->by = index;
	return RC_OK;
}

static enum rc gather_expectation(const struct store_append *a, struct expectation *e, struct why *why)
{
	enum rc rc = a->has_expect ? expect(e, a->expect, false, 0, why) : RC_OK;
	e->whole = true;
	for (size_t i = 0; rc == RC_OK && i < a->n; i++) {
		const struct draft *d = &a->drafts[i];
		e->whole &= d->has_number && d->event_id && d->aggregate_id;
		if (d->has_number && !d->number)
			return rc_fail(RC_INVALID, why, "sequence_number is 0, the first event of a stream is 1");
		if (d->has_expect)
			rc = expect(e, d->expect, false, i, why);
		if (rc == RC_OK && d->has_number)
			rc = expect(e, d->number - 1, true, i, why);
	}
	return rc;
}

/* Name the document in the reason where there are several. */
static enum rc in_document(enum rc rc, size_t i, size_t n, struct why *why)
{
	return rc == RC_OK || n == 1 ? rc : rc_prefix(rc, why, "document %zu of %zu", i + 1, n);
}

static enum rc render_one(struct store *s, const struct store_append *a, struct draft *d, struct draft_pieces *p, struct why *why)
{
	enum rc rc = draft_check_stream(d, a->type, a->id, why);
	if (rc != RC_OK)
		return rc;
	if (!d->event_id) {
		char id[37];
		clock_uuid(id);
		d->event_id = strdup(id);
		if (!d->event_id)
			return rc_fail(RC_NO_MEMORY, why, "no memory for an event id");
	}
	rc = draft_render(d, a->type, a->id, d->event_id, p, why);
	if (rc != RC_OK)
		return rc;
	size_t size = draft_join_len(p->head.len, p->tail.len, p->own_time, clock_wall_us(), 1);
	if (size > s->options.max_event)
		return rc_fail(RC_TOO_LARGE, why, "the event would take %zu bytes, at most %" PRIu64 " are allowed (-o max_event=)",
			       size, s->options.max_event);
	return RC_OK;
}

static enum rc render_all(struct store *s, const struct store_append *a, struct pieces *v, struct ledger_event *events,
			  uint64_t *bytes_r, struct why *why)
{
	v->p = calloc(a->n, sizeof(*v->p));
	if (!v->p)
		return rc_fail(RC_NO_MEMORY, why, "no memory for %zu events", a->n);
	v->n = a->n;
	*bytes_r = 0;
	for (size_t i = 0; i < a->n; i++) {
		struct draft *d = &a->drafts[i];
		struct draft_pieces *p = &v->p[i];
		enum rc rc = render_one(s, a, d, p, why);
		if (rc != RC_OK)
			return in_document(rc, i, a->n, why);
		events[i] = (struct ledger_event){
			.event_id = d->event_id, .event_type = d->event_type,
			.head = buf_text(&p->head), .head_len = p->head.len, .tail = buf_text(&p->tail), .tail_len = p->tail.len,
			.own_time = p->own_time, .occurred_us = p->occurred_us,
		};
		memcpy(events[i].digest, p->digest, sizeof(events[i].digest));
		*bytes_r += p->head.len + p->tail.len + RESULT_RESERVE;
	}
	return RC_OK;
}

/* RC_CONFLICT, where the writer named a number that is there, is RC_EXISTS. */
static enum rc conflict(struct store_append *a, const struct ledger_append *item, const struct expectation *e, struct why *why)
{
	a->last = item->last;
	if (e->numbered && item->last > e->last)
		return rc_fail(RC_EXISTS, why, "event %" PRIu64 " of '%s/%s' exists, the last is %" PRIu64, e->last + 1, a->type,
			       a->id, item->last);
	return rc_fail(RC_CONFLICT, why, "'%s/%s' was expected to end at %" PRIu64 ", its last sequence is %" PRIu64, a->type, a->id,
		       e->last, item->last);
}

/*
 * Commit until it is answered. The same ids again tell what became of a lost reply, so repeating is safe.
 * *given_out_r: when the statement that gave the rows out was begun.
 */
static enum rc commit(struct store *s, struct store_append *a, struct ledger_append *item, const struct expectation *e,
		      uint64_t lease_ms, uint64_t deadline_ms, uint64_t *given_out_r, struct why *why)
{
	bool lost = a->outcome != STORE_NOT_COMMITTED;	/* it may be committed: interrupting is over */
	unsigned pause = RETRY_FIRST_MS;
	for (;;) {
		atomic_fetch_add(&s->committing, 1);
		enum rc rc = store_group_commit(s, item, lease_ms, deadline_ms, lost ? NULL : a->cancelled, a->cancel_arg,
						given_out_r, why);
		if (rc == RC_OK)
			store_deliver_expect(s, *given_out_r + lease_ms);
		atomic_fetch_sub(&s->committing, 1);
		switch (rc) {
		case RC_OK:
			a->outcome = STORE_COMMITTED;
			return RC_OK;
		case RC_FENCED:
			rc = store_seed_fenced(s, item->fenced_stream ? a->type : NULL, a->id, deadline_ms,
					       lost ? NULL : a->cancelled, a->cancel_arg, why);
			if (rc != RC_OK)
				return rc;
			break;
		case RC_UNCERTAIN:
			if (a->outcome == STORE_NOT_COMMITTED)
				a->outcome = STORE_UNKNOWN;
			lost = true;
			/* fall through */
		case RC_TEMPORARY:
			if (!lost || clock_boot_ms() + pause >= deadline_ms)
				return rc;
			clock_sleep_ms(pause);
			pause = pause * 2 < RETRY_MOST_MS ? pause * 2 : RETRY_MOST_MS;
			break;
		case RC_CONFLICT:	/* ids come first: where this is the answer, nothing of it is committed (any more) */
			a->outcome = STORE_NOT_COMMITTED;
			return conflict(a, item, e, why);
		case RC_EXISTS:
			a->outcome = STORE_NOT_COMMITTED;
			a->last = item->last;
			return rc;
		case RC_NOT_FOUND:
			return RC_TEMPORARY;	/* the ledger is gone; its reason says what to do */
		case RC_INVALID: case RC_DENIED: case RC_CORRUPT: case RC_TOO_LARGE:
		case RC_NO_SPACE: case RC_NO_MEMORY: case RC_CANCELLED:
			return rc;
		}
	}
}

/* What the ledger keeps of one event, where it is not what this caller rendered: an earlier append of the same id. */
struct kept {
	struct store_append *a;
	struct delivery *d;
	struct ledger_event *event;
	bool there;
	enum rc rc;
	struct why *why;
};

static bool keep_row(void *arg, const struct ledger_row *row)
{
	struct kept *k = arg;
	k->there = true;
	k->event->number = row->number;	/* it may have moved since */
	k->event->recorded_us = row->recorded_us;
	if (row->settled)
		return true;
	if (!row->head) {
		k->rc = rc_fail(RC_CORRUPT, k->why, "the ledger has lost the body of event '%s'", k->event->event_id);
		return false;
	}
	struct deliver_item *item = &k->d->items[k->d->n];
	*item = (struct deliver_item){ .stream = row->stream, .number = row->number, .recorded_us = row->recorded_us,
				       .event_id = k->event->event_id };
	k->rc = store_deliver_join(item, k->a->type, k->a->id, row->head, row->head_len, row->tail, row->tail_len, row->own_time, k->why);
	if (k->rc == RC_OK)
		k->d->n++;
	return k->rc == RC_OK;
}

/* Build what has to be stored. A known append may have other bytes than ours (the same values written differently): the ledger's count. */
static enum rc plan(struct store *s, struct store_append *a, const struct ledger_append *item, struct delivery *d, struct why *why)
{
	delivery_release(d);
	*d = (struct delivery){ calloc(item->n, sizeof(*d->items)), 0 };
	if (!d->items)
		return rc_fail(RC_NO_MEMORY, why, "no memory to store %zu events", item->n);
	for (size_t i = 0; i < item->n; i++) {
		struct ledger_event *ev = &item->events[i];
		if (ev->settled)
			continue;
		if (item->known) {
			struct ledger_query q = { .what = LEDGER_ID, .event_id = ev->event_id };
			struct kept k = { a, d, ev, false, RC_OK, why };
			enum rc rc = ledger_read(s->ledger, &q, keep_row, &k, NULL, why);
			if (rc == RC_OK)
				rc = k.rc;
			if (rc == RC_OK && !k.there)	/* a re-seed dropped it since: the next commit tells */
				rc = rc_fail(RC_TEMPORARY, why, "event '%s' is not in the ledger any more", ev->event_id);
			if (rc != RC_OK)
				return rc;
			continue;
		}
		struct deliver_item *out = &d->items[d->n];
		*out = (struct deliver_item){ .stream = item->stream, .number = ev->number, .recorded_us = ev->recorded_us,
					      .event_id = ev->event_id };
		enum rc rc = store_deliver_join(out, a->type, a->id, ev->head, ev->head_len, ev->tail, ev->tail_len, ev->own_time, why);
		if (rc != RC_OK)
			return rc;
		d->n++;
	}
	return RC_OK;
}

#ifdef ENABLE_FAILPOINTS
/* Planted: what is not found in S3 is taken back, though its PUT may still be under way and readers have seen it. */
static enum rc uncommit(struct store *s, struct store_append *a, const struct ledger_append *item, enum rc failed, struct why *why)
{
	for (size_t i = 0; i < item->n; i++) {
		struct ledger_ref ref = { item->stream, item->events[i].number, item->events[i].event_id };
		enum rc rc = ledger_settle(s->ledger, &ref, 1, why);
		if (rc != RC_OK)
			return rc;
	}
	a->outcome = STORE_NOT_COMMITTED;
	return failed;
}
#else
#define uncommit(s, a, item, failed, why) (failed)
#endif

/* Answered at its commit: the queue stores it, or, where that can't be, the sweeper. */
static void leave(struct store *s, struct store_append *a, const struct ledger_append *item, struct delivery *d, bool stores,
		  uint64_t deadline_ms)
{
	if (stores && !item->known && plan(s, a, item, d, NULL) == RC_OK) {
		store_queue_add(s, a->type, a->id, d->items, d->n, deadline_ms);
		return;
	}
	atomic_store(&s->owes, true);
	store_sweep_kick(s);
}

/* From the commit to the answer; goes back to the commit where S3 or the time contradicts. */
static enum rc commit_and_store(struct store *s, struct store_append *a, struct ledger_append *item, const struct expectation *e,
				struct why *why)
{
	_cleanup_(delivery_release) struct delivery d = { NULL, 0 };
	enum store_ack ack = a->ack ? *a->ack : s->options.ack;
	uint64_t timeout = s->options.timeout_ms, start = clock_boot_ms(), deadline = start + timeout;
	uint64_t last = deadline + (timeout < ANSWER_SLACK_MS ? timeout : ANSWER_SLACK_MS);

	for (;;) {
		uint64_t given_out;
		bool stores = ack == STORE_ACK_STORED || store_queue_has_room(s);	/* else the sweeper does, at once */
		enum rc rc = commit(s, a, item, e, stores ? timeout : 0, deadline, &given_out, why);
		if (rc != RC_OK)
			return rc;
		FAILPOINT("store-committed");
		if (s->view)
			view_touch(s->view, a->type, a->id);
		if (ack == STORE_ACK_COMMITTED) {
			leave(s, a, item, &d, stores, given_out + timeout);
			return RC_OK;
		}

		size_t contradicted = 0;
		rc = plan(s, a, item, &d, why);
		if (rc == RC_OK) {
			uint64_t began = clock_boot_us();
			atomic_fetch_add(&s->group.storing, 1);
			rc = store_deliver(s, d.items, d.n, given_out + timeout < last ? given_out + timeout : last,
					   start + ANSWER_SLACK_MS, &contradicted, a->cancelled, a->cancel_arg, why);
			atomic_fetch_sub(&s->group.storing, 1);
			store_group_stored(s, clock_boot_us() - began);
		}
		if (rc == RC_CANCELLED)
			return RC_OK;	/* it is committed, and a sweeper stores it; the writer must not repeat it */
		FAILPOINT("store-delivered");
		if (rc == RC_FENCED) {
			store_note(s, a->type, a->id, rc, "%s: the stream is re-seeded", why->text);
			rc = store_seed_stream(s, a->type, a->id, why);
			if ((rc == RC_OK || rc == RC_FENCED) && clock_boot_ms() < deadline)
				continue;
		}
		if (rc == RC_TEMPORARY && clock_boot_ms() < deadline)
			continue;
		if (rc != RC_OK && PLANTED("un-commit-after-lookup"))
			rc = uncommit(s, a, item, rc, why);
		/* whatever S3 says, the event stays and a sweeper stores it: no code that means it was refused */
		return rc == RC_OK ? RC_OK : rc_prefix(RC_TEMPORARY, why, "committed, but not stored in time");
	}
}

static void count(struct store *s, const struct store_append *a, enum rc rc, uint64_t bytes)
{
	STORE_COUNT(s, appends, 1);
	if (rc == RC_OK && a->known)
		STORE_COUNT(s, known, 1);
	else if (rc == RC_OK) {
		STORE_COUNT(s, events, a->n);
		STORE_COUNT(s, bytes, bytes);
	} else if (rc == RC_CONFLICT || rc == RC_EXISTS)
		STORE_COUNT(s, conflicts, 1);
	else if (rc == RC_INVALID || rc == RC_TOO_LARGE || rc == RC_DENIED || rc == RC_CANCELLED)
		STORE_COUNT(s, refused, 1);
	else
		STORE_COUNT(s, failed, 1);
}

static enum rc append(struct store *s, struct store_append *a, uint64_t *bytes_r, struct why *why)
{
	_cleanup_(pieces_release) struct pieces v = { NULL, 0 };
	_cleanup_(freep) struct ledger_event *events = calloc(a->n ? a->n : 1, sizeof(*events));
	struct expectation e = { 0 };

	if (s->read_only || !s->ledger)
		return rc_fail(RC_DENIED, why, "the store is read-only: %s", s->read_only ? s->read_only : "it has no ledger");
	if (!a->n)
		return rc_fail(RC_INVALID, why, "no event to append");
	if (!events)
		return rc_fail(RC_NO_MEMORY, why, "no memory for %zu events", a->n);

	enum rc rc = key_check_stream(a->type, a->id, why);
	if (rc == RC_OK)
		rc = gather_expectation(a, &e, why);
	if (rc == RC_OK)
		rc = render_all(s, a, &v, events, bytes_r, why);
	if (rc == RC_OK)
		rc = object_ready(s->objects, *bytes_r, a->n, why);
	if (rc != RC_OK)
		return rc;

	a->conditional = e.stands;
	a->expected = e.last;
	struct ledger_append item = {
		.type = a->type, .id = a->id, .has_expect = e.stands, .expect = e.last,
		.may_skip = s->options.restore && e.numbered && e.whole, .events = events, .n = a->n,
	};
	rc = commit_and_store(s, a, &item, &e, why);
	if (a->outcome == STORE_COMMITTED) {
		a->first = events[0].number;
		a->recorded_us = events[0].recorded_us;
		a->known = item.known;
	}
	return rc;
}

enum rc store_append(struct store *s, struct store_append *a, struct why *why)
{
	struct why own = { "" };
	uint64_t bytes = 0;

	a->outcome = STORE_NOT_COMMITTED;
	a->conditional = a->known = false;
	a->expected = a->last = a->first = 0;
	enum rc rc = append(s, a, &bytes, why ? why : &own);
	count(s, a, rc, bytes);
	return rc;
}
