/* SPDX-License-Identifier: Apache-2.0 */
/* verb-publisher-rewind.c - evfsctl publisher rewind: another place to go on from. */
#include "config.h"
#include "tools/verb-publisher.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "event/time.h"
#include "tools/output.h"

#define SAVE_TRIES 20
/*
 * A publisher that is up has nothing to save while nothing is appended, and would not see that the checkpoint was moved. So its
 * lease is taken for longer than it waits between two looks: it stands by, and begins anew from the checkpoint.
 */
#define LEASE_LOOKS 2

/* What a rewind means. */
struct rewind {
	const struct verb_call *call;
	struct store *s;
	struct verb_publisher_place place;
	struct verb_publisher_time to;
	struct tail_count_end end;
	int64_t from_ms, to_ms;	/* last_timestamp_ms before (0: unknown, or none) and after */
	uint64_t again, skipped;	/* events between the two */
	uint64_t waiting;	/* events behind both */
	size_t held, let_go;	/* streams that go on being held; that go by time from now on */
	bool damaged;
	char former[TAIL_LEASE_HOLDER_MAX];
};

static bool count_one(void *arg, const struct tail_count_row *row)
{
	(void)row;
	++*(uint64_t *)arg;
	return true;
}

/* The last millisecond that counts as delivered. False: told why not. */
static bool choose(struct rewind *r)
{
	/* Behind the horizon events may still appear. */
	int64_t ms = r->end.horizon_us / 1000 - 1;
	if (r->to.kind == VERB_PUBLISHER_AT && r->to.us > r->end.now_us) {
		verb_usage(r->call,
			   "--to: \"%s\" is in the future: what is appended until then would "
			   "never be published",
			   r->call->given[VERB_PUBLISHER_TO]);
		return false;
	}
	if (r->to.kind == VERB_PUBLISHER_BEGINNING)
		ms = 0;
	else if (r->to.kind == VERB_PUBLISHER_AT && r->to.us / 1000 - 1 < ms)
		ms = r->to.us / 1000 - 1;
	r->to_ms = ms < 0 ? 0 : ms;
	return true;
}

struct first {
	uint64_t number;
	int64_t recorded_us;
};

static bool take_first(void *arg, const struct tail_count_row *row)
{
	struct first *f = arg;
	f->number = row->number;
	f->recorded_us = row->recorded_us;
	return false;
}

/*
 * A held stream's next event that lies behind the new place comes by time; one at or before it would be passed over.
 */
static enum rc choose_held(struct rewind *r, struct why *why)
{
	struct checkpoint *c = &r->place.c;
	size_t kept = 0;
	for (size_t i = 0; i < c->n_held; i++) {
		struct checkpoint_held *h = &c->held[i];
		struct first f = { 0, 0 };
		enum rc rc = tail_count_stream(r->s, h->type, h->id, h->next, take_first, &f, why);
		if (rc)
			return rc;
		if (f.number == h->next && f.recorded_us >= verb_publisher_after_us(r->to_ms)) {
			free(h->type);
			free(h->id);
			*h = (struct checkpoint_held){ NULL, NULL, 0 };
			continue;
		}
		struct checkpoint_held keep = *h;
		*h = (struct checkpoint_held){ NULL, NULL, 0 };
		c->held[kept++] = keep;
	}
	r->let_go = c->n_held - kept;
	r->held = c->n_held = kept;
	return RC_OK;
}

static enum rc count(struct rewind *r, struct why *why)
{
	int64_t before = verb_publisher_after_us(r->from_ms), to = verb_publisher_after_us(r->to_ms);
	int64_t end = r->end.horizon_us;
	r->again = r->skipped = r->waiting = 0;
	if (r->damaged)
		return tail_count(r->s, to, end, count_one, &r->waiting, why);
	enum rc rc = to < before ? tail_count(r->s, to, before < end ? before : end, count_one,
					      &r->again, why)
				 : tail_count(r->s, before, to, count_one, &r->skipped, why);
	return rc ? rc : tail_count(r->s, before > to ? before : to, end, count_one, &r->waiting, why);
}

/* Load the checkpoint and change it, in memory. */
static enum rc change(struct rewind *r, struct why *why)
{
	verb_publisher_place_release(&r->place);
	enum rc rc = verb_publisher_place_load(r->call, r->s, r->end.now_us, &r->place, why);
	if (rc)
		return rc;
	struct checkpoint *c = &r->place.c;
	r->damaged = r->place.rc != RC_OK;
	r->from_ms = r->damaged || !c->there ? 0 : c->last_ms;
	rc = choose_held(r, why);
	if (rc == RC_OK)
		rc = count(r, why);
	if (rc)
		return rc;
	/* what was delivered lately goes out again, or lies behind the new place for good */
	if (r->to_ms <= r->from_ms || r->damaged)
		checkpoint_forget_ids(c);
	free(c->last_index_key);
	c->last_index_key = NULL;
	c->last_ms = r->to_ms;
	c->seeding = r->end.seeding;
	return RC_OK;
}

/* One that somebody moved meanwhile is looked at anew. */
static enum rc save(struct rewind *r, struct why *why)
{
	for (int i = 0;; i++) {
		enum rc rc = checkpoint_save(store_objects(r->s), verb_publisher_key(r->call),
					     r->end.now_us, &r->place.c, why);
		if (rc != RC_CONFLICT || i == SAVE_TRIES)
			return rc;
		rc = change(r, why);
		if (rc)
			return rc;
	}
}

static void tell(const struct rewind *r, bool done)
{
	char from[TIME_TEXT_MAX], to[TIME_TEXT_MAX];
	time_format_us(r->from_ms * 1000, from);
	time_format_us(r->to_ms * 1000, to);
	if (r->call->json) {
		output_printf("{\"done\":%s,\"damaged\":%s,\"there\":%s,\"from_ms\":%" PRId64
			      ",\"to_ms\":%" PRId64 ",\"again\":%" PRIu64 ",\"skipped\":%" PRIu64
			      ",\"waiting\":%" PRIu64 ",\"held\":%zu,\"active\":%s}\n",
			      done ? "true" : "false", r->damaged ? "true" : "false",
			      r->place.c.there ? "true" : "false", r->from_ms, r->to_ms, r->again,
			      r->skipped, r->waiting, r->held, *r->former ? "true" : "false");
		return;
	}
	if (r->damaged)
		output_printf("the checkpoint is damaged: %s\n", r->place.why.text);
	else if (r->from_ms)
		output_printf("from %s ", from);
	output_printf("to %s\n", r->to_ms ? to : "the beginning");
	if (r->again)
		output_printf("%" PRIu64 " events that were published are published again\n",
			      r->again);
	if (r->skipped)
		output_printf("%" PRIu64 " events are passed over: they are published by 'replay' "
			      "only\n",
			      r->skipped);
	output_printf("%" PRIu64 " events %swait to be published\n", r->waiting,
		      r->damaged ? "(or were published before) " : "");
	if (r->held)
		output_printf("%zu streams are still held\n", r->held);
	if (!done)
		output_printf("nothing was changed (--dry-run)\n");
	else if (*r->former)
		output_printf("the publisher that is up goes on from there\n");
}

/* While this has the lease nobody moves the checkpoint. */
static enum rc move(struct rewind *r, struct why *why)
{
	const char *lease = verb_publisher_key(r->call);
	const struct config *c = &r->call->config;
	uint64_t hold_ms = LEASE_LOOKS * (c->poll_ms > c->lease_ms / 3 ? c->lease_ms / 3 : c->poll_ms) + 500;
	char token[TAIL_LEASE_HOLDER_MAX];
	snprintf(token, sizeof(token), "evfsctl-rewind:%ld", (long)getpid());
	enum rc rc = tail_lease_take(r->s, lease, token, hold_ms + c->timeout_ms, r->former, why);
	if (rc)
		return rc;
	/* What was saved until now counts. */
	rc = change(r, why);
	if (rc == RC_OK)
		rc = save(r, why);
	if (*r->former)
		clock_sleep_ms((unsigned)hold_ms);
	tail_lease_return(r->s, lease, token);
	return rc;
}

static void rewind_release(struct rewind *r)
{
	verb_publisher_place_release(&r->place);
}

enum verb_status verb_publisher_rewind(struct verb_call *call, struct store *s)
{
	_cleanup_(rewind_release) struct rewind r = { .call = call, .s = s };
	struct why why = { "" };
	checkpoint_init(&r.place.c);
	if (!verb_publisher_time(call, VERB_PUBLISHER_TO, &r.to))
		return VERB_USAGE;
	enum rc rc = tail_count_end(s, &r.end, &why);
	if (rc == RC_OK && !r.end.known)
		rc = rc_fail(RC_TEMPORARY, &why, "the horizon can't be known now: the ledger is being "
						 "re-seeded, or an append takes long");
	if (rc)
		return verb_fail(call, rc, &why);
	if (!choose(&r))
		return VERB_USAGE;
	bool dry = call->given[VERB_PUBLISHER_DRY_RUN];
	if (dry)
		rc = change(&r, &why);
	else
		rc = move(&r, &why);
	if (rc)
		return verb_fail(call, rc, &why);
	tell(&r, !dry);
	return VERB_DONE;
}
