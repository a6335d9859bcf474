/* SPDX-License-Identifier: Apache-2.0 */
/* store-group.c - group commit: one ledger transaction for all appends that wait. */
#include "config.h"
#include "store/store-private.h"

#include <errno.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define GROUP_MAX_EVENTS 4096	/* bounds how long a group holds the ledger */
#define GROUP_MAX_ITEMS 256
#define CANCEL_POLL_MS 50

/* States: queued (linked) -> taken (by a leader) -> done. Only queued may leave by itself. */
struct group_wait {
	struct group_wait *next;
	struct ledger_append *item;
	uint64_t lease_ms;
	pthread_cond_t turn;	/* signalled when done, or when nobody commits */
	bool taken, done;
	enum rc rc;
	struct why why;
};

/* Move the next group out of the queue; the head is always in it. */
static size_t take_group_locked(struct store_group *g, struct group_wait **members, uint64_t *lease_ms_r)
{
	size_t n = 0, events = 0;
	*lease_ms_r = g->head->lease_ms;
	while (g->head && n < GROUP_MAX_ITEMS) {
		struct group_wait *w = g->head;
		if (n && (events + w->item->n > GROUP_MAX_EVENTS || w->lease_ms != *lease_ms_r))
			break;
		g->head = w->next;
		w->taken = true;
		members[n++] = w;
		events += w->item->n;
	}
	if (!g->head)
		g->tail = &g->head;
	return n;
}

static void commit_group(struct store *s, struct group_wait **members, size_t n, uint64_t lease_ms)
{
	struct why why = { "" };
	uint64_t began = clock_boot_us();
	enum rc rc;

	if (n == 1) {
		rc = ledger_append(s->ledger, members[0]->item, 1, lease_ms, &why);
	} else {
		_cleanup_(freep) struct ledger_append *items = malloc(n * sizeof(*items));
		if (!items) {
			for (size_t i = 0; i < n; i++)
				members[i]->rc = rc_fail(RC_NO_MEMORY, &members[i]->why, "cannot commit %zu appends at once", n);
			return;
		}
		for (size_t i = 0; i < n; i++)
			items[i] = *members[i]->item;
		rc = ledger_append(s->ledger, items, n, lease_ms, &why);
		for (size_t i = 0; i < n; i++)
			*members[i]->item = items[i];
	}
	STORE_COUNT(s, commits, 1);
	STORE_COUNT(s, commit_us, clock_boot_us() - began);
	store_saw_ledger(s, rc == RC_FENCED ? RC_OK : rc, &why);
	for (size_t i = 0; i < n; i++) {
		members[i]->rc = rc == RC_OK ? members[i]->item->rc : rc;
		members[i]->why = rc == RC_OK ? members[i]->item->why : why;
	}
}

/* Called by the thread whose entry is in the queue while nobody commits. */
static void lead_locked(struct store *s, struct group_wait *self)
{
	struct store_group *g = &s->group;
	struct group_wait *members[GROUP_MAX_ITEMS];
	uint64_t lease_ms;

	size_t n = take_group_locked(g, members, &lease_ms);
	g->busy = true;
	pthread_mutex_unlock(&g->lock);
	commit_group(s, members, n, lease_ms);
	pthread_mutex_lock(&g->lock);
	g->busy = false;
	for (size_t i = 0; i < n; i++) {
		members[i]->done = true;
		if (members[i] != self)
			pthread_cond_signal(&members[i]->turn);
	}
	if (g->head)
		pthread_cond_signal(&g->head->turn);
}

static void leave_locked(struct store_group *g, struct group_wait *self)
{
	struct group_wait **at = &g->head;
	while (*at != self)
		at = &(*at)->next;
	*at = self->next;
	if (g->tail == &self->next)
		g->tail = at;
	if (!g->busy && g->head)	/* the turn may have been ours */
		pthread_cond_signal(&g->head->turn);
}

static void wait_a_while(struct store_group *g, struct group_wait *self)
{
	struct timespec until = clock_after_ms(CANCEL_POLL_MS);
	pthread_cond_timedwait(&self->turn, &g->lock, &until);
}

enum rc store_group_commit(struct store *s, struct ledger_append *item, uint64_t lease_ms, bool (*cancelled)(void *), void *arg,
			   struct why *why)
{
	struct store_group *g = &s->group;
	struct group_wait self = { .item = item, .lease_ms = lease_ms };
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&self.turn, &attr);
	pthread_condattr_destroy(&attr);

	pthread_mutex_lock(&g->lock);
	*g->tail = &self;
	g->tail = &self.next;
	while (!self.done) {
		if (!g->busy && !self.taken) {
			if (cancelled && cancelled(arg)) {
				leave_locked(g, &self);
				self.rc = rc_fail(RC_CANCELLED, &self.why, "interrupted before the commit");
				break;
			}
			lead_locked(s, &self);	/* takes the head first, which need not be ours */
			continue;
		}
		if (cancelled && !self.taken) {
			wait_a_while(g, &self);
			if (!self.taken && cancelled(arg)) {
				leave_locked(g, &self);
				self.rc = rc_fail(RC_CANCELLED, &self.why, "interrupted before the commit");
				break;
			}
		} else {
			pthread_cond_wait(&self.turn, &g->lock);
		}
	}
	pthread_mutex_unlock(&g->lock);
	pthread_cond_destroy(&self.turn);

	return self.rc == RC_OK ? RC_OK : rc_fail(self.rc, why, "%s", self.why.text);
}
