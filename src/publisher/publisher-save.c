/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-save.c - the checkpoint: loaded, moved over what is acknowledged, written. */
#include "config.h"
#include "publisher/publisher-private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

void publisher_save_keep(struct publisher *p)
{
	struct why why;
	enum rc rc = RC_OK;
	/* without memory for them they go out once more, as they would after a crash */
	for (size_t i = 0; i < p->recent.n && rc == RC_OK; i++)
		rc = publisher_ids_add(&p->done, p->recent.ids[(p->recent.head + i) % CHECKPOINT_IDS_MAX], &why);
	for (size_t i = 0; i < p->window.n && rc == RC_OK; i++) {
		const struct publisher_entry *e = publisher_window_at(&p->window, i);
		if (e->state != PUBLISHER_ENTRY_DONE)
			continue;
		rc = publisher_ids_add(&p->done, e->event_id, &why);
		if (rc == RC_OK && !e->skipped)
			rc = publisher_recent_add(&p->recent, e->event_id, &why);
	}
	if (rc != RC_OK)
		publisher_complain(p, "acknowledged events are forgotten", &why);
}

/* What it says goes before what we remember, unless it is as we left it. */
static enum rc take_ids(struct publisher *p, const struct checkpoint *c, struct why *why)
{
	enum rc rc = RC_OK;
	if (strcmp(c->tag, p->checkpoint.tag)) {
		publisher_recent_release(&p->recent);
		publisher_ids_release(&p->done);
		for (size_t i = 0; i < c->n_ids && rc == RC_OK; i++)
			rc = publisher_recent_add(&p->recent, c->ids[i], why);
		for (size_t i = 0; i < c->n_ids && rc == RC_OK; i++)
			rc = publisher_ids_add(&p->done, c->ids[i], why);
	}
	return rc;
}

enum rc publisher_save_load(struct publisher *p, struct why *why)
{
	struct checkpoint c;
	checkpoint_init(&c);
	enum rc rc = checkpoint_load(store_objects(p->store), p->checkpoint_key, clock_wall_us(), &c, why);
	if (rc == RC_CORRUPT) {
		struct why reason = *why;
		rc = rc_fail(rc, why, "%.300s; nothing is published until 'evfsctl publisher rewind' wrote another", reason.text);
	}
	if (rc == RC_OK)
		rc = take_ids(p, &c, why);
	if (rc == RC_OK)
		rc = publisher_window_begin(&p->window, &c, why);
	if (rc != RC_OK) {
		checkpoint_release(&c);
		return rc;
	}
	checkpoint_release(&p->checkpoint);
	p->checkpoint = c;
	p->dirty = false;
	p->counts.checkpoint_ms = c.last_ms;
	return RC_OK;
}

enum rc publisher_save_compare(struct publisher *p, struct why *why)
{
	struct checkpoint c;
	checkpoint_init(&c);
	enum rc rc = checkpoint_load(store_objects(p->store), p->checkpoint_key, clock_wall_us(), &c, why);
	if (rc == RC_OK && strcmp(c.tag, p->checkpoint.tag))
		rc = rc_fail(RC_CONFLICT, why, "another publisher wrote the checkpoint '%s' meanwhile", p->checkpoint_key);
	checkpoint_release(&c);
	return rc;
}

/* --from, or where the first start begins. */
static void choose_start(struct publisher *p)
{
	struct checkpoint *c = &p->checkpoint;
	bool anew = p->o.from != PUBLISHER_FROM_CHECKPOINT;
	int64_t from_us = p->o.from == PUBLISHER_FROM_TIME ? p->o.from_us : 0;
	int64_t last_ms = c->last_ms;
	if (!anew && c->there)
		return;
	if (!anew)
		from_us = p->o.start_us;
	c->last_ms = from_us >= 1000 ? from_us / 1000 - 1 : 0;
	if (c->last_ms < 0)
		c->last_ms = 0;
	if (!c->there) {
		log_info("checkpoint=%s there is none yet: beginning at timestamp_ms=%" PRId64 "%s", p->checkpoint_key, c->last_ms,
			 c->last_ms ? ", what is older is not published" : ", the first event");
		return;
	}
	FAILPOINT("publisher-rewind");
	if (!p->o.dry_run)
		log_warning("checkpoint=%s set by --from: timestamp_ms=%" PRId64 " to %" PRId64 "%s", p->checkpoint_key, last_ms,
			    c->last_ms, c->last_ms > last_ms ? ", what lies between is not published" : ", what lies between is published again");
	/* what a stream that waits has before that time still waits */
	if (!c->last_ms)
		checkpoint_forget_held(c);
	checkpoint_forget_ids(c);
	free(c->last_index_key);
	c->last_index_key = NULL;
}

static enum rc write_down(struct publisher *p, struct why *why)
{
	FAILPOINT("publisher-save");
	p->checkpoint.seeding = p->state.seeding;
	enum rc rc = checkpoint_save(store_objects(p->store), p->checkpoint_key, clock_wall_us(), &p->checkpoint, why);
	if (rc == RC_OK) {
		FAILPOINT("publisher-saved");
		p->counts.saved++;
		p->counts.saved_us = p->checkpoint.updated_us;
		p->counts.checkpoint_ms = p->checkpoint.last_ms;
	}
	return rc;
}

enum rc publisher_save_take_over(struct publisher *p, struct why *why)
{
	enum rc rc = publisher_save_load(p, why);
	if (rc != RC_OK)
		return rc;
	if (!p->begun) {
		choose_start(p);
		if (p->o.from != PUBLISHER_FROM_CHECKPOINT) {
			publisher_recent_release(&p->recent);
			publisher_ids_release(&p->done);
		}
		rc = publisher_window_begin(&p->window, &p->checkpoint, why);
	}
	if (rc == RC_OK && !p->o.dry_run)
		rc = write_down(p, why);
	if (rc == RC_OK && !p->begun && p->reconcile)
		rc = publisher_reconcile_begin(p->reconcile, &p->checkpoint, why);
	p->begun |= rc == RC_OK;
	return rc;
}

static enum rc copy_held(struct checkpoint *c, const struct publisher_mark *now, struct why *why)
{
	struct checkpoint_held *held = now->n_held ? calloc(now->n_held, sizeof(*held)) : NULL;
	checkpoint_forget_held(c);
	c->held = held;
	for (size_t i = 0; i < now->n_held && held; i++) {
		held[i] = (struct checkpoint_held){ strdup(now->held[i].type), strdup(now->held[i].id), now->held[i].next };
		c->n_held++;
		if (!held[i].type || !held[i].id)
			return rc_fail(RC_NO_MEMORY, why, "no memory for the streams that wait");
	}
	return c->n_held == now->n_held ? RC_OK : rc_fail(RC_NO_MEMORY, why, "no memory for the streams that wait");
}

/* What is acknowledged, as a checkpoint. Where that fails it is made anew the next time. */
static enum rc fill(struct publisher *p, struct why *why)
{
	struct checkpoint *c = &p->checkpoint;
	int64_t last_ms = p->window.now.safe_us / 1000 - 1;
	enum rc rc = copy_held(c, &p->window.now, why);
	checkpoint_forget_ids(c);
	for (size_t i = 0; i < p->recent.n && rc == RC_OK; i++)
		rc = checkpoint_add_id(c, p->recent.ids[(p->recent.head + i) % CHECKPOINT_IDS_MAX], why);
	for (size_t i = 0; i < p->window.n && rc == RC_OK; i++) {
		const struct publisher_entry *e = publisher_window_at(&p->window, i);
		if (e->state == PUBLISHER_ENTRY_DONE && !e->skipped)
			rc = checkpoint_add_id(c, e->event_id, why);
	}
	if (rc == RC_OK && last_ms > c->last_ms)
		c->last_ms = last_ms;
	return rc;
}

enum rc publisher_save(struct publisher *p, bool now, struct why *why)
{
	uint64_t ms = clock_boot_ms();
	if (!p->dirty || p->o.dry_run || (!now && ms < p->next_save_ms) || !publisher_active_now(p))
		return RC_OK;
	p->next_save_ms = ms + p->o.save_ms;
	enum rc rc = fill(p, why);
	if (rc == RC_OK)
		rc = write_down(p, why);
	if (rc == RC_OK)
		p->dirty = false;
	return rc;
}
