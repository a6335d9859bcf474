/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store-group.c - group commit: one ledger transaction for all appends that wait.
 *
 * As many threads commit at once as the ledger has use for (ledger.h, writers). Appends of one stream keep their order: while
 * one of a stream is under way, those behind it wait in the queue, and no leader passes over them.
 *
 * Where storing takes far longer than committing, appends come one by one, and each would have a transaction of its own, whose
 * cost is the object store's loss where they share a machine. So, as PostgreSQL does with commit_delay and commit_siblings: while
 * GATHER_SIBLINGS are being stored, a leader waits a part of that time for more to come.
 */
#include "config.h"
#include "store/store-private.h"

#include <errno.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"

#define GROUP_MAX_EVENTS 4096	/* bounds how long a group holds the ledger */
#define GROUP_MAX_ITEMS 256
#define GROUP_MAX_BYTES (32u << 20)	/* bounds what it takes of memory; and PostgreSQL takes 1 GiB at once at most */
#define GROUP_SPREAD_MS 3000
#define CANCEL_POLL_MS 50
#define GATHER_SIBLINGS 4
#define GATHER_SHARE 6		/* the part of what storing takes */
#define GATHER_MIN_US 200
#define GATHER_MAX_US 5000

/* States: queued (linked) -> taken (by a leader) -> done. Only queued may leave by itself. */
struct group_wait {
	struct group_wait *next;
	struct ledger_append *item;
	uint64_t lease_ms;
	size_t bytes;
	size_t lane;		/* of the stream; streams may share one, and then wait for each other */
	pthread_cond_t turn;	/* signalled when done, or when a leader is wanted */
	bool taken, done;
	uint64_t began_ms;	/* when its transaction was begun */
	enum rc rc;
	struct why why;
};

static size_t lane_of(const struct ledger_append *item)
{
	uint64_t h = hash_pair(item->type, item->id);
	return (h ^ h >> 32) % STORE_LANES;
}

/* The first that may be committed now, NULL if none. */
static struct group_wait *ready_locked(const struct store_group *g)
{
	for (struct group_wait *w = g->head; w; w = w->next)
		if (!g->under_way[w->lane])
			return w;
	return NULL;
}

/* Wake somebody to lead, if there is something to lead and room for a leader. */
static void want_leader_locked(struct store_group *g)
{
	struct group_wait *w = g->leaders < g->leaders_max ? ready_locked(g) : NULL;
	if (w)
		pthread_cond_signal(&w->turn);
}

/*
 * A server that is silent is waited for until the latest deadline of a group: nobody is made to wait much longer than his own, as
 * after a first group that was waited for in vain, behind which old and new ones stand.
 */
static bool waits_as_long(const struct group_wait *w, const struct group_wait *first, uint64_t timeout_ms)
{
	uint64_t a = w->item->deadline_ms, b = first->item->deadline_ms, apart = a > b ? a - b : b - a;
	return apart <= GROUP_SPREAD_MS && apart <= timeout_ms / 4;
}

/* Move the next group out of the queue; *first is in it. */
static size_t take_group_locked(struct store_group *g, struct group_wait *first, uint64_t timeout_ms, struct group_wait **members)
{
	size_t n = 0, events = 0, bytes = 0;
	struct group_wait **at = &g->head;
	while (*at && n < GROUP_MAX_ITEMS) {
		struct group_wait *w = *at;
		if (g->under_way[w->lane]) {
			at = &w->next;
			continue;
		}
		if (n && (events + w->item->n > GROUP_MAX_EVENTS || bytes + w->bytes > GROUP_MAX_BYTES ||
			  w->lease_ms != first->lease_ms || !waits_as_long(w, first, timeout_ms)))
			break;
		*at = w->next;
		w->taken = true;
		members[n++] = w;
		events += w->item->n;
		bytes += w->bytes;
	}
	if (!*at)
		g->tail = at;
	/* only now: those of one stream may be in one group */
	for (size_t i = 0; i < n; i++)
		g->under_way[members[i]->lane]++;
	return n;
}

static void commit_group(struct store *s, struct group_wait **members, size_t n)
{
	struct why why = { "" };
	uint64_t began = clock_boot_us(), lease_ms = members[0]->lease_ms;
	enum rc rc;

	for (size_t i = 0; i < n; i++)
		members[i]->began_ms = began / 1000;
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

void store_group_stored(struct store *s, uint64_t us)
{
	uint64_t mean = atomic_load(&s->group.store_us);
	atomic_store(&s->group.store_us, mean ? (mean * 7 + us) / 8 : us);
}

static void gather_locked(struct store_group *g)
{
	uint64_t us = atomic_load(&g->store_us) / GATHER_SHARE;
	if (atomic_load(&g->storing) < GATHER_SIBLINGS || us < GATHER_MIN_US)
		return;
	g->gathering = true;
	pthread_mutex_unlock(&g->lock);
	clock_sleep_us(us < GATHER_MAX_US ? us : GATHER_MAX_US);
	pthread_mutex_lock(&g->lock);
	g->gathering = false;
}

/* Called by a thread whose entry is in the queue. What it commits need not be its own. */
static void lead_locked(struct store *s, struct group_wait *self, struct group_wait *first)
{
	struct store_group *g = &s->group;
	struct group_wait *members[GROUP_MAX_ITEMS];

	size_t n = take_group_locked(g, first, s->options.timeout_ms, members);
	g->leaders++;
	want_leader_locked(g);
	pthread_mutex_unlock(&g->lock);
	commit_group(s, members, n);
	pthread_mutex_lock(&g->lock);
	g->leaders--;
	for (size_t i = 0; i < n; i++) {
		g->under_way[members[i]->lane]--;
		members[i]->done = true;
		if (members[i] != self)
			pthread_cond_signal(&members[i]->turn);
	}
	want_leader_locked(g);
}

static void leave_locked(struct store_group *g, struct group_wait *self)
{
	struct group_wait **at = &g->head;
	while (*at != self)
		at = &(*at)->next;
	*at = self->next;
	if (g->tail == &self->next)
		g->tail = at;
	want_leader_locked(g);	/* the turn may have been ours */
}

static void wait_locked(struct store_group *g, struct group_wait *self, bool polls, uint64_t deadline_ms)
{
	uint64_t now = clock_boot_ms(), ms = deadline_ms > now ? deadline_ms - now : 0;
	if (self->taken) {	/* the ledger answers in its time */
		pthread_cond_wait(&self->turn, &g->lock);
		return;
	}
	struct timespec until = clock_after_ms(polls && ms > CANCEL_POLL_MS ? CANCEL_POLL_MS : ms + 1);
	pthread_cond_timedwait(&self->turn, &g->lock, &until);
}

enum rc store_group_commit(struct store *s, struct ledger_append *item, uint64_t lease_ms, uint64_t deadline_ms,
			   bool (*cancelled)(void *), void *arg, uint64_t *began_ms_r, struct why *why)
{
	struct store_group *g = &s->group;
	struct group_wait self = { .item = item, .lease_ms = lease_ms, .lane = lane_of(item) };
	thread_cond_init(&self.turn);
	item->deadline_ms = deadline_ms;
	for (size_t i = 0; i < item->n; i++)
		self.bytes += item->events[i].head_len + item->events[i].tail_len;

	pthread_mutex_lock(&g->lock);
	*g->tail = &self;
	g->tail = &self.next;
	for (bool first = true; !self.done; first = false) {
		if (!self.taken && cancelled && cancelled(arg)) {
			self.rc = rc_fail(RC_CANCELLED, &self.why, "interrupted before the commit");
			break;
		}
		if (!self.taken && !first && clock_boot_ms() >= deadline_ms) {
			self.rc = rc_fail(RC_TEMPORARY, &self.why, "the ledger was busy with other appends for too long");
			break;
		}
		bool may_lead = !self.taken && !g->gathering && g->leaders < g->leaders_max;
		if (may_lead && ready_locked(g))
			gather_locked(g);	/* nobody else begins to lead meanwhile */
		struct group_wait *ready = may_lead ? ready_locked(g) : NULL;
		if (ready)
			lead_locked(s, &self, ready);
		else
			wait_locked(g, &self, cancelled, deadline_ms);
	}
	if (!self.done)
		leave_locked(g, &self);
	pthread_mutex_unlock(&g->lock);
	pthread_cond_destroy(&self.turn);

	*began_ms_r = self.began_ms;
	return self.rc == RC_OK ? RC_OK : rc_fail(self.rc, why, "%s", self.why.text);
}
