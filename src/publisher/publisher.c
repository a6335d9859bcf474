/* SPDX-License-Identifier: Apache-2.0 */
/* publisher.c - the loop: look, read, send, hear, save. */
#include "config.h"
#include "publisher/publisher-private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define BATCH 256		/* events between two looks at the sink */
#define NEWS_MS 2000		/* so long after an event the next one is expected at once */
#define NEWS_POLL_MS 40
#define COMPLAIN_MS 30000	/* the same complaint again */
#define REST_MS 1000		/* a status line, and the sink is served, at least that often */
#define READ_RETRY_MS 200

static void set_defaults(struct publisher_options *o)
{
	if (!o->lease_ms)
		o->lease_ms = 3000;
	if (!o->save_ms)
		o->save_ms = 1000;
	if (!o->poll_ms)
		o->poll_ms = 1000;
	if (!o->flush_ms)
		o->flush_ms = 10000;
	if (!o->window)
		o->window = 20000;
}

/* Whose the lease is: for people, and never the same again. */
static void make_token(char *out, size_t size)
{
	char host[32] = "";
	uint32_t n;
	gethostname(host, sizeof(host) - 1);
	clock_random(&n, sizeof(n));
	snprintf(out, size, "%s:%d:%08" PRIx32, host, (int)getpid(), n);
}

enum rc publisher_new(struct publisher **out, struct store *s, const struct publisher_options *o, struct why *why)
{
	struct publisher *p = calloc(1, sizeof(*p));
	if (!p)
		return rc_fail(RC_NO_MEMORY, why, "no memory for the publisher");
	p->store = s;
	p->o = *o;
	set_defaults(&p->o);
	p->refused_end = &p->refused;
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&p->status_lock, NULL);
	checkpoint_init(&p->checkpoint);
	make_token(p->token, sizeof(p->token));
	p->checkpoint_key = strdup(o->checkpoint_key ? o->checkpoint_key : CHECKPOINT_KEY);
	enum rc rc = publisher_window_init(&p->window, p->o.window, why);
	if (rc == RC_OK && o->reconcile)
		rc = publisher_reconcile_new(&p->reconcile, why);
	if (rc == RC_OK && !p->checkpoint_key)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the publisher");
	if (rc == RC_OK && p->wake < 0)
		rc = rc_fail(RC_NO_MEMORY, why, "no eventfd: %s", strerror(errno));
	if (rc != RC_OK) {
		publisher_free(&p);
		return rc;
	}
	*out = p;
	return RC_OK;
}

void publisher_free(struct publisher **pp)
{
	struct publisher *p = pp ? *pp : NULL;
	if (!p)
		return;
	*pp = NULL;
	sink_free(&p->sink);
	tail_free(&p->tail);
	publisher_reconcile_free(&p->reconcile);
	if (p->window.size)
		publisher_window_release(&p->window);
	publisher_recent_release(&p->recent);
	publisher_ids_release(&p->done);
	route_message_release(&p->message);
	checkpoint_release(&p->checkpoint);
	pthread_mutex_destroy(&p->status_lock);
	if (p->wake >= 0)
		close(p->wake);
	free(p->checkpoint_key);
	free(p);
}

void publisher_stop(struct publisher *p)
{
	int saved = errno;
	uint64_t one = 1;
	atomic_store(&p->stopping, true);
	/* full: it wakes all the same */
	if (write(p->wake, &one, sizeof(one)) < 0)
		errno = saved;
}

void publisher_complain(struct publisher *p, const char *what, const struct why *why)
{
	uint64_t now = clock_boot_ms();
	struct why text;
	snprintf(text.text, sizeof(text.text), "%.150s: %.350s", what, why->text);
	snprintf(p->counts.trouble, sizeof(p->counts.trouble), "%.255s", text.text);
	if (!strcmp(text.text, p->complaint.text) && now < p->complaint_ms + COMPLAIN_MS)
		return;
	p->complaint = text;
	p->complaint_ms = now;
	log_warning("%s", text.text);
}

void publisher_content(struct publisher *p)
{
	if (*p->complaint.text && *p->counts.trouble)
		log_info("that has passed: %s", p->complaint.text);
	p->complaint.text[0] = '\0';
	p->counts.trouble[0] = '\0';
}

/* --- what is acknowledged --- */

static void passed(void *arg, const struct publisher_entry *e)
{
	struct publisher *p = arg;
	struct why why = { "" };
	enum rc rc = RC_OK;
	p->dirty = true;
	if (!e->skipped)
		rc = publisher_recent_add(&p->recent, e->event_id, &why);
	if (rc == RC_OK && p->reconcile)
		rc = publisher_reconcile_saw(p->reconcile, e->event_id, &why);
	if (rc != RC_OK)
		publisher_complain(p, "a duplicate may not be recognised", &why);
}

void publisher_serve(struct publisher *p, unsigned wait_ms)
{
	struct why why = { "" };
	if (!p->sink)
		return;
	enum rc rc = sink_poll(p->sink, wait_ms, &why);
	if (rc != RC_OK && !p->broken) {
		p->broken = true;
		p->broken_why = why;
	}
	if (p->refused)
		publisher_send_refused(p);
	publisher_window_advance(&p->window, passed, p);
}

static void drop_broken(struct publisher *p)
{
	publisher_complain(p, "the sink is broken, making a new one", &p->broken_why);
	publisher_active_drop(p);
}

/* --- reading --- */

static enum rc mark(struct publisher *p, int64_t safe_us, struct why *why)
{
	const struct checkpoint_held *held = NULL;
	size_t n = tail_held(p->tail, &held);
	p->counts.held = n;
	return publisher_window_mark(&p->window, safe_us, held, n, why);
}

static void see_exhausted(struct publisher *p)
{
	uint64_t now = clock_boot_ms(), soon = p->o.poll_ms < NEWS_POLL_MS ? p->o.poll_ms : NEWS_POLL_MS;
	p->exhausted = true;
	if (now < p->news_ms + NEWS_MS)
		p->poll_ms = soon;
	else
		p->poll_ms += p->poll_ms / 4 + 1;
	if (p->poll_ms > p->o.poll_ms)
		p->poll_ms = p->o.poll_ms;
	/* the lease may want one earlier; where it is not taken, nothing does */
	uint64_t most = p->o.lease_ms / 2;
	p->next_look_ms = now + (p->poll_ms < most || p->o.dry_run ? p->poll_ms : most);
}

static enum rc send_event(struct publisher *p, struct why *why)
{
	enum rc rc = RC_OK;
	if (p->o.dry_run)
		publisher_send_tell(p, p->event);
	else
		rc = publisher_send(p, p->event, why);
	if (rc != RC_OK)
		return rc;
	p->event = NULL;
	p->news_ms = clock_boot_ms();
	return mark(p, 0, why);
}

/* Read and send some. RC_OK: there may be more, or p->exhausted. RC_TEMPORARY: not now. */
static enum rc read_some(struct publisher *p, struct why *why)
{
	for (unsigned i = 0; i < BATCH; i++) {
		if (publisher_window_full(&p->window) || p->broken || publisher_stopping(p) || !publisher_active_now(p))
			return RC_OK;
		enum rc rc = p->event ? RC_OK : tail_next(p->tail, &p->event, why);
		if (rc != RC_OK)
			return rc;
		if (!p->event) {
			see_exhausted(p);
			return mark(p, p->state.horizon_us, why);
		}
		if (!publisher_active_now(p))	/* reading took its time */
			return RC_OK;
		rc = send_event(p, why);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

static void read_and_send(struct publisher *p)
{
	struct why why = { "" };
	if (!p->looked || p->exhausted || clock_boot_ms() < p->next_read_ms)
		return;
	enum rc rc = read_some(p, &why);
	if (rc == RC_OK) {
		if (p->exhausted && !p->window.n && !p->unsaved)
			publisher_content(p);
		return;
	}
	if (rc == RC_FENCED) {
		publisher_complain(p, "waiting: the ledger is new, or is being re-seeded", &why);
		publisher_active_drop(p);
		p->waits = true;
		return;
	}
	if (p->event) {	/* the queue is full: what is under way must go first */
		publisher_serve(p, NEWS_POLL_MS);
		return;
	}
	publisher_complain(p, "cannot read on", &why);
	p->next_read_ms = clock_boot_ms() + READ_RETRY_MS;
}

static void save(struct publisher *p, bool now)
{
	struct why why = { "" };
	enum rc rc = publisher_save(p, now, &why);
	p->unsaved = rc != RC_OK || (p->unsaved && p->dirty);
	if (rc == RC_CONFLICT) {
		publisher_complain(p, "beginning anew at the stored checkpoint", &why);
		publisher_active_drop(p);
	} else if (rc != RC_OK) {
		publisher_complain(p, "the checkpoint cannot be written", &why);
	}
}

/* --- the loop --- */

static void rest(struct publisher *p, uint64_t ms)
{
	struct pollfd fd = { .fd = p->wake, .events = POLLIN };
	if (ms > REST_MS)
		ms = REST_MS;
	if (ms && p->window.n && p->sink)
		publisher_serve(p, ms < NEWS_POLL_MS ? (unsigned)ms : NEWS_POLL_MS);
	else if (ms)
		(void)poll(&fd, 1, (int)ms);
}

static double seconds_since(int64_t us, int64_t now_us)
{
	return us && now_us > us ? (double)(now_us - us) / 1e6 : 0;
}

static void tell_status(struct publisher *p)
{
	uint64_t now_ms = clock_boot_ms();
	struct publisher_status *c = &p->counts;
	int64_t now_us = clock_wall_us();
	c->active = p->active && !p->o.dry_run;
	c->waits = p->waits;
	c->waiting = 0;
	for (const struct publisher_entry *e = p->refused; e; e = e->next_refused)
		c->waiting++;
	c->lag_events = p->active ? p->window.n + (p->event ? 1 : 0) + p->state.unsettled : 0;
	c->lag_seconds = p->window.n ? seconds_since(publisher_window_at(&p->window, 0)->recorded_us, now_us) :
			 p->event    ? seconds_since(p->event->recorded_us, now_us) :
			 p->state.unsettled ? seconds_since(p->state.horizon_us, now_us) : 0;
	c->horizon_seconds = seconds_since(p->state.horizon_us, now_us);
	if (p->sink) {
		uint64_t errors = c->sink.errors;
		sink_counts(p->sink, &c->sink);
		if (c->sink.errors > errors) {
			struct why why;
			snprintf(why.text, sizeof(why.text), "%s", c->sink.last_error);
			publisher_complain(p, "the sink tells of an error", &why);
		}
	}
	pthread_mutex_lock(&p->status_lock);
	p->status = *c;
	pthread_mutex_unlock(&p->status_lock);
	if (!p->o.status || now_ms < p->status_ms + REST_MS)
		return;
	char line[400];
	p->status_ms = now_ms;
	snprintf(line, sizeof(line), "%s, published %" PRIu64 ", lag %.1f s%s%s",
		 p->active ? "active" : p->waits ? "waiting for a re-seed" : c->running ? "standing by" : "starting", c->published,
		 c->lag_seconds, *c->trouble ? ", " : "", c->trouble);
	p->o.status(p->o.status_arg, line, p->active);
}

void publisher_status(struct publisher *p, struct publisher_status *out)
{
	pthread_mutex_lock(&p->status_lock);
	*out = p->status;
	pthread_mutex_unlock(&p->status_lock);
	latency_read(&p->delivery, &out->delivery);
}

/* Nothing more is to be read now, and nothing is under way. */
static void see_end(struct publisher *p)
{
	struct why why = { "" };
	bool all = p->looked && p->exhausted && !p->window.n;
	bool once = p->o.once || p->o.dry_run;
	/* the horizon stays where nothing is behind it: then what holds it back is what counts */
	if (!all || (p->state.horizon_us < p->once_us && p->state.unsettled > p->state.late && !p->o.dry_run))
		return;
	if (p->reconcile) {
		enum rc rc = publisher_reconcile_walk(p, &why);
		if (rc != RC_OK) {
			publisher_complain(p, "cannot reconcile", &why);
			return;
		}
		publisher_reconcile_free(&p->reconcile);
		return;	/* what it sent is under way */
	}
	p->finished = once;
}

static enum rc step(struct publisher *p, struct why *why)
{
	uint64_t wait_ms;
	enum rc rc = publisher_active_step(p, &wait_ms, why);
	if (rc != RC_OK)
		return rc;
	read_and_send(p);
	publisher_serve(p, 0);
	if (p->broken)
		drop_broken(p);
	save(p, false);
	see_end(p);
	tell_status(p);
	if (p->finished)
		return RC_OK;
	if (!wait_ms && p->looked && !p->exhausted && clock_boot_ms() < p->next_read_ms)
		wait_ms = NEWS_POLL_MS;
	if (!wait_ms && publisher_window_full(&p->window))
		wait_ms = NEWS_POLL_MS;
	rest(p, wait_ms);
	return RC_OK;
}

/* Wait for what is under way, as long as that may take; then write down how far it came. */
static enum rc end(struct publisher *p, struct why *why)
{
	uint64_t until = clock_boot_ms() + p->o.flush_ms;
	while (p->sink && p->window.n && !p->broken && publisher_active_renew(p) && clock_boot_ms() < until)
		publisher_serve(p, NEWS_POLL_MS);
	size_t left = p->window.n;
	enum rc rc = RC_OK;
	if (p->active && publisher_active_renew(p))
		rc = publisher_save(p, true, why);
	else if (p->active && p->dirty)
		rc = rc_fail(RC_TEMPORARY, why, "the lease was lost: the checkpoint is where it was");
	if (p->tail && p->active && !p->o.dry_run)
		tail_release(p->tail);
	tell_status(p);
	if (rc != RC_OK)
		return rc_prefix(RC_TEMPORARY, why, "the checkpoint was not written");
	if (left && !p->o.dry_run)
		return rc_fail(RC_TEMPORARY, why, "%zu messages were not acknowledged in time, they will be sent again", left);
	return RC_OK;
}

enum rc publisher_run(struct publisher *p, struct why *why)
{
	enum rc rc = RC_OK;
	while (rc == RC_OK && !publisher_stopping(p) && !p->finished)
		rc = step(p, why);
	if (rc != RC_OK)
		return rc;
	return end(p, why);
}
