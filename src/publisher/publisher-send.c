/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-send.c - events become messages; what can't be published becomes a record of the DLQ topic. */
#include "config.h"
#include "publisher/publisher-private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#define DEAD_RETRY_MS 1000	/* where the DLQ itself refuses */

static void see_broken(struct publisher *p, const struct why *why)
{
	if (!p->broken)
		p->broken_why = *why;
	p->broken = true;
}

/* It is for the DLQ, at retry_ms. */
static void refuse(struct publisher *p, struct publisher_entry *e, const char *stage, enum rc rc, const char *reason,
		   uint64_t retry_ms)
{
	if (stage) {
		log_warning("to the DLQ: %s stream=%s/%s number=%" PRIu64 " event=%s stage=%s topic=%s: %s", rc_name(rc), e->type, e->id,
			    e->number, e->event_id, stage, e->topic, reason);
		free(e->reason);
		e->reason = strdup(reason);	/* NULL: the code alone is told */
		e->stage = stage;
		e->rc = rc;
	}
	e->state = PUBLISHER_ENTRY_REFUSED;
	e->retry_ms = retry_ms;
	e->next_refused = NULL;
	*p->refused_end = e;
	p->refused_end = &e->next_refused;
}

/* The DLQ does not take the record. */
static void refuse_dead(struct publisher *p, struct publisher_entry *e, enum rc rc, const struct why *why)
{
	bool lean = e->lean_dead;
	if (rc == RC_TOO_LARGE && !lean) {
		e->lean_dead = true;	/* without the body; it names the object */
		refuse(p, e, NULL, rc, "", 0);
		return;
	}
	p->counts.failed++;
	publisher_complain(p, "the DLQ topic refuses a record: nothing behind it counts as delivered", why);
	refuse(p, e, NULL, rc, "", clock_boot_ms() + DEAD_RETRY_MS);
}

static void count_published(struct publisher *p, const struct publisher_entry *e)
{
	int64_t us = clock_wall_us() - e->recorded_us;
	p->counts.published++;
	latency_add(&p->delivery, us > 0 ? (uint64_t)us : 0);
}

void publisher_send_report(void *arg, void *opaque, enum rc rc, const struct why *why)
{
	struct publisher *p = arg;
	struct publisher_entry *e = publisher_window_find(&p->window, (uint64_t)(uintptr_t)opaque);
	if (!e || (e->state != PUBLISHER_ENTRY_SENT && e->state != PUBLISHER_ENTRY_DEAD))
		return;	/* of what was dropped */
	bool dead = e->state == PUBLISHER_ENTRY_DEAD;
	if (rc == RC_OK) {
		FAILPOINT("publisher-report");
		e->state = PUBLISHER_ENTRY_DONE;
		if (dead)
			p->counts.dead++;
		else
			count_published(p, e);
	} else if (!sink_refuses(rc)) {
		p->counts.failed++;
		see_broken(p, why);
	} else if (dead) {
		refuse_dead(p, e, rc, why);
	} else {
		p->counts.failed++;
		refuse(p, e, "produce", rc, why->text, 0);
	}
}

static enum rc add_refused(struct publisher *p, const struct tail_event *e, const char *stage, const char *topic, const char *key,
			   enum rc rc, const char *reason, struct why *why)
{
	struct publisher_entry *entry = publisher_window_add(&p->window, e, topic, key);
	if (!entry)
		return rc_fail(RC_NO_MEMORY, why, "no memory for an event");
	refuse(p, entry, stage, rc, reason, 0);
	return RC_OK;
}

static enum rc add_skipped(struct publisher *p, const struct tail_event *e, struct why *why)
{
	struct publisher_entry *entry = publisher_window_add(&p->window, e, "", "");
	if (!entry)
		return rc_fail(RC_NO_MEMORY, why, "no memory for an event");
	entry->state = PUBLISHER_ENTRY_DONE;
	entry->skipped = true;
	p->counts.skipped++;
	log_debug("published before, not sent again: stream=%s/%s number=%" PRIu64 " event=%s", e->type, e->id, e->number, e->event_id);
	return RC_OK;
}

enum rc publisher_send(struct publisher *p, const struct tail_event *e, struct why *why)
{
	struct why reason = { "" };
	if (publisher_ids_has(&p->done, e->event_id))
		return add_skipped(p, e, why);
	if (e->rc != RC_OK)
		return add_refused(p, e, "read", "", "", e->rc, e->why.text, why);
	enum rc rc = route_make(&p->o.route, e, &p->message, &reason);
	if (rc == RC_NO_MEMORY)
		return rc_fail(rc, why, "%s", reason.text);
	if (rc != RC_OK)
		return add_refused(p, e, "route", buf_text(&p->message.topic), buf_text(&p->message.key), rc, reason.text, why);

	struct sink_message *m = &p->message.message;
	struct publisher_entry *entry = publisher_window_add(&p->window, e, m->topic, buf_text(&p->message.key));
	if (!entry)
		return rc_fail(RC_NO_MEMORY, why, "no memory for an event");
	m->opaque = (void *)(uintptr_t)entry->seq;
	FAILPOINT("publisher-send");
	rc = sink_send(p->sink, m, &reason);
	if (rc == RC_OK) {
		FAILPOINT("publisher-sent");
		log_debug("sent stream=%s/%s number=%" PRIu64 " event=%s topic=%s", e->type, e->id, e->number, e->event_id, m->topic);
		return rc;
	}
	if (sink_refuses(rc)) {
		p->counts.failed++;
		refuse(p, entry, "produce", rc, reason.text, 0);
		return RC_OK;
	}
	publisher_window_take_back(&p->window);
	if (rc == RC_TEMPORARY || rc == RC_NO_MEMORY)
		return rc_fail(RC_TEMPORARY, why, "%s", reason.text);
	see_broken(p, &reason);
	return rc_fail(RC_CORRUPT, why, "%s", reason.text);
}

/* The event again, as the store has it: reports come long after it was read. */
static enum rc send_dead(struct publisher *p, struct publisher_entry *e, struct why *why)
{
	struct object_get get = { .key = e->key };
	bool unreadable = !strcmp(e->stage, "read") && (e->rc == RC_NOT_FOUND || e->rc == RC_DENIED);
	if (*e->key && !e->lean_dead && !unreadable) {
		enum rc got = object_get(store_objects(p->store), &get, 1);
		if (got == RC_TEMPORARY || got == RC_NO_MEMORY || got == RC_UNCERTAIN)
			return rc_fail(RC_TEMPORARY, why, "%s", get.why.text);
		if (got != RC_OK)
			get.buf = NULL;
	}
	_cleanup_(freep) char *body = get.buf;
	const struct tail_event event = {
		.type = e->type, .id = e->id, .number = e->number,
		.event_id = e->event_id, .event_type = e->event_type,
		.occurred_us = e->occurred_us, .recorded_us = e->recorded_us,
		.key = e->key, .body = body, .len = body ? get.len : 0, .rc = e->rc,
	};
	enum rc rc = route_dead(&p->o.route, &event, e->stage, e->topic, e->message_key, e->rc, e->reason ? e->reason : rc_name(e->rc),
				clock_wall_us(), &p->message, why);
	if (rc != RC_OK)
		return RC_TEMPORARY;
	p->message.message.opaque = (void *)(uintptr_t)e->seq;
	FAILPOINT("publisher-send-dead");
	return sink_send(p->sink, &p->message.message, why);
}

void publisher_send_refused(struct publisher *p)
{
	struct publisher_entry *e = p->refused;
	uint64_t now = clock_boot_ms();
	p->refused = NULL;	/* those that wait go behind it again */
	p->refused_end = &p->refused;
	while (e) {
		struct publisher_entry *next = e->next_refused;
		struct why why = { "" };
		if (p->broken || e->retry_ms > now || !publisher_active_now(p)) {
			refuse(p, e, NULL, e->rc, "", e->retry_ms);
			e = next;
			continue;
		}
		e->state = PUBLISHER_ENTRY_DEAD;	/* its report may come at once */
		enum rc rc = send_dead(p, e, &why);
		if (rc != RC_OK && sink_refuses(rc)) {
			refuse_dead(p, e, rc, &why);
		} else if (rc == RC_TEMPORARY || rc == RC_NO_MEMORY) {
			refuse(p, e, NULL, rc, "", now + DEAD_RETRY_MS / 10);
		} else if (rc != RC_OK) {
			see_broken(p, &why);
			refuse(p, e, NULL, rc, "", 0);
		}
		e = next;
	}
}

void publisher_send_tell(struct publisher *p, const struct tail_event *e)
{
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	struct why why = e->why;
	enum rc rc = e->rc;
	if (rc == RC_OK)
		rc = route_make(&p->o.route, e, &p->message, &why);
	buf_printf(&line, "%s/%s %" PRIu64 " %s %s", e->type, e->id, e->number, e->event_id, e->event_type ? e->event_type : "-");
	if (publisher_ids_has(&p->done, e->event_id)) {
		buf_add_text(&line, " -> nowhere, published before");
		p->counts.skipped++;
	} else if (rc == RC_OK) {
		buf_printf(&line, " -> %s key=%s bytes=%zu", buf_text(&p->message.topic), buf_text(&p->message.key), p->message.message.len);
		p->counts.published++;
	} else {
		buf_printf(&line, " -> %s, %s: %s", p->o.route.dlq_topic, rc_name(rc), why.text);
		p->counts.dead++;
	}
	if (p->o.tell)
		p->o.tell(p->o.tell_arg, buf_text(&line));
}
