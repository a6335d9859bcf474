/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-active.c - who is the one that publishes: sink, checkpoint and lease are had, lost and had again. */
#include "config.h"
#include "publisher/publisher-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#define RETRY_MS 1000		/* what may pass is tried again that often */
#define DAMAGED_MS 5000
#define STAND_BY_MS 1000
#define HELD_UP_US 2000000	/* writers store what they appended sooner than that, as long as they live */
#define TEND_MS 30000

bool publisher_active_now(const struct publisher *p)
{
	return p->active && (p->o.dry_run || clock_boot_ms() < p->state.leased_until_ms);
}

void publisher_active_drop(struct publisher *p)
{
	bool broken = p->broken;
	if (p->active)
		publisher_save_keep(p);
	p->active = p->looked = false;
	p->event = NULL;
	p->broken = false;
	p->refused = NULL;
	p->refused_end = &p->refused;
	tail_free(&p->tail);
	if (broken || p->window.n)
		sink_free(&p->sink);
	publisher_window_forget(&p->window);
	p->next_look_ms = 0;
}

/* A failure that may pass: tried again after ms. */
static enum rc later(struct publisher *p, const char *what, const struct why *why, uint64_t *at_ms, uint64_t ms)
{
	publisher_complain(p, what, why);
	*at_ms = clock_boot_ms() + ms;
	return RC_OK;
}

static enum rc open_sink(struct publisher *p, struct why *why)
{
	struct why reason = { "" };
	enum rc rc = p->o.make_sink(p->o.make_arg, &p->sink, publisher_send_report, p, &reason);
	if (rc == RC_INVALID)
		return rc_fail(rc, why, "%s", reason.text);
	if (rc != RC_OK)
		return later(p, "cannot reach where the events go", &reason, &p->next_sink_ms, RETRY_MS);
	p->o.route.max_message = sink_max_message(p->sink);
	return RC_OK;
}

/* The checkpoint can't be used: with --once that is the end. */
static enum rc damaged(struct publisher *p, const struct why *reason, struct why *why)
{
	if (p->o.once || p->o.dry_run)
		return rc_fail(RC_CORRUPT, why, "%s", reason->text);
	return later(p, "not publishing", reason, &p->next_load_ms, DAMAGED_MS);
}

static enum rc open_tail(struct publisher *p, struct why *why)
{
	struct why reason = { "" };
	struct tail_options o = {
		.lease = p->o.dry_run ? NULL : p->checkpoint_key,
		.token = p->token,
		.lease_ms = p->o.lease_ms,
	};
	enum rc rc = publisher_save_load(p, &reason);
	if (rc == RC_CORRUPT)
		return damaged(p, &reason, why);
	if (rc == RC_OK)
		rc = tail_new(&p->tail, p->store, &o, &p->checkpoint, &reason);
	if (rc != RC_OK)
		return later(p, "the checkpoint cannot be read", &reason, &p->next_load_ms, RETRY_MS);
	return RC_OK;
}

/* The lease is ours: make the checkpoint ours too, and begin behind it. */
static enum rc take_over(struct publisher *p, struct why *why)
{
	struct why reason = { "" };
	enum rc rc = publisher_save_take_over(p, &reason);
	if (rc == RC_CORRUPT) {
		tail_release(p->tail);
		publisher_active_drop(p);
		return damaged(p, &reason, why);
	}
	if (rc != RC_OK)
		return later(p, "cannot take over", &reason, &p->next_look_ms, RETRY_MS / 2);
	FAILPOINT("publisher-take-over");
	struct tail_options o = {
		.lease = p->o.dry_run ? NULL : p->checkpoint_key,
		.token = p->token,
		.lease_ms = p->o.lease_ms,
	};
	tail_free(&p->tail);
	rc = tail_new(&p->tail, p->store, &o, &p->checkpoint, &reason);
	if (rc != RC_OK)
		return later(p, "cannot take over", &reason, &p->next_load_ms, RETRY_MS / 2);
	p->active = true;
	p->looked = false;
	p->waits = false;
	p->next_look_ms = 0;
	p->news_ms = clock_boot_ms();
	p->counts.takeovers++;
	if (!p->o.dry_run)
		log_info("active: checkpoint=%s timestamp_ms=%" PRId64 " token=%s", p->checkpoint_key, p->checkpoint.last_ms, p->token);
	return RC_OK;
}

static void stand_by(struct publisher *p)
{
	if (p->active) {
		log_warning("not active any more: the lease of checkpoint=%s is held by %s", p->checkpoint_key, p->state.holder);
		publisher_active_drop(p);
	} else if (strcmp(p->counts.holder, p->state.holder)) {
		log_info("standing by: the lease of checkpoint=%s is held by %s", p->checkpoint_key, p->state.holder);
	}
	uint64_t pause = p->o.lease_ms / 2;
	p->next_look_ms = clock_boot_ms() + (pause < STAND_BY_MS ? pause : STAND_BY_MS);
	publisher_content(p);
}

/* It was lost for a while. Was another active meanwhile? Who is writes the checkpoint first. */
static enum rc resume(struct publisher *p)
{
	struct why reason = { "" };
	enum rc rc = publisher_save_compare(p, &reason);
	if (rc == RC_CONFLICT || rc == RC_CORRUPT) {
		publisher_complain(p, "beginning anew at the stored checkpoint", &reason);
		publisher_active_drop(p);
		return RC_OK;
	}
	if (rc != RC_OK) {
		p->state.leased_until_ms = 0;
		return later(p, "the checkpoint cannot be read", &reason, &p->next_look_ms, RETRY_MS);
	}
	log_info("the lease of checkpoint=%s was renewed late, nobody else had it", p->checkpoint_key);
	return RC_OK;
}

/*
 * What nobody stores, or seeds, holds the publisher up: then it does it itself. At other times a sweeper would cost the ledger more
 * questions than the publisher asks.
 */
static void tend(struct publisher *p, bool wanted)
{
	struct why why = { "" };
	uint64_t now = clock_boot_ms();
	if (wanted)
		p->tend_ms = now;
	bool on = wanted || (p->tending && now < p->tend_ms + TEND_MS);
	if (on == p->tending)
		return;
	if (store_tend(p->store, on, &why) != RC_OK) {
		publisher_complain(p, "pending events cannot be stored", &why);
		return;
	}
	p->tending = on;
	log_debug("%s for what others left", on ? "looking after the store" : "no longer looking");
}

static bool is_held_up(const struct tail_state *s)
{
	return s->late || (s->unsettled && s->now_us > s->horizon_us + HELD_UP_US);
}

static enum rc look(struct publisher *p, struct why *why)
{
	struct why reason = { "" };
	struct tail_state state = { .leased = false };
	bool lapsed = p->active && !publisher_active_now(p);
	enum rc rc = tail_look(p->tail, &state, &reason);
	if (rc == RC_FENCED) {
		if (!p->waits)
			publisher_complain(p, "waiting: the ledger is new, or is being re-seeded", &reason);
		publisher_active_drop(p);
		p->waits = true;
		tend(p, true);
		p->next_load_ms = clock_boot_ms() + RETRY_MS;
		return RC_OK;
	}
	if (rc != RC_OK)
		return later(p, "the ledger cannot be asked", &reason, &p->next_look_ms, RETRY_MS / 2);
	p->state = state;
	p->counts.running = true;
	tend(p, state.leased && is_held_up(&state));
	if (state.unsettled > state.late && !is_held_up(&state))
		p->news_ms = clock_boot_ms();	/* it will be settled in a moment */
	log_debug("looked: leased=%d horizon_us=%" PRId64 " unsettled=%" PRIu64 " late=%" PRIu64 " holder=%s", state.leased,
		  state.horizon_us, state.unsettled, state.late, state.holder);
	FAILPOINT("publisher-look");
	if (!state.leased && !p->o.dry_run) {
		stand_by(p);
		snprintf(p->counts.holder, sizeof(p->counts.holder), "%s", state.holder);
		return RC_OK;
	}
	snprintf(p->counts.holder, sizeof(p->counts.holder), "%s", p->token);
	p->waits = false;
	if (!p->active)
		return take_over(p, why);
	uint64_t pause = p->o.lease_ms / 4;
	p->next_look_ms = clock_boot_ms() + (pause < STAND_BY_MS ? pause : STAND_BY_MS);
	p->exhausted = false;
	p->looked = true;
	int64_t until_us = state.now_us > state.horizon_us ? state.now_us : state.horizon_us;
	if (!p->once_us)
		p->once_us = until_us;
	return lapsed ? resume(p) : RC_OK;
}

bool publisher_active_renew(struct publisher *p)
{
	struct why why = { "" };
	if (p->active && p->tail && clock_boot_ms() >= p->next_look_ms && look(p, &why) != RC_OK)
		publisher_complain(p, "the lease cannot be renewed", &why);
	return publisher_active_now(p);
}

/* Until when, if that is not over. */
static bool is_before(uint64_t at_ms, uint64_t *wait_ms)
{
	uint64_t now = clock_boot_ms();
	*wait_ms = now < at_ms ? at_ms - now : 0;
	return now < at_ms;
}

enum rc publisher_active_step(struct publisher *p, uint64_t *wait_ms, struct why *why)
{
	enum rc rc = RC_OK;
	*wait_ms = 0;
	/* Who can't reach the sink leaves the lease to others. */
	if (!p->sink && !p->o.dry_run) {
		if (is_before(p->next_sink_ms, wait_ms))
			return RC_OK;
		rc = open_sink(p, why);
		if (rc != RC_OK || !p->sink)
			return rc;
	}
	if (!p->tail) {
		if (is_before(p->next_load_ms, wait_ms))
			return RC_OK;
		rc = open_tail(p, why);
		if (rc != RC_OK || !p->tail)
			return rc;
	}
	if (clock_boot_ms() >= p->next_look_ms)
		return look(p, why);
	if (!p->looked || p->exhausted || !publisher_active_now(p))
		is_before(p->next_look_ms, wait_ms);
	return RC_OK;
}
