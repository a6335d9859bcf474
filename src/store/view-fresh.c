/* SPDX-License-Identifier: Apache-2.0 */
/* view-fresh.c - how old the answers are. */
#include "config.h"
#include "store/view-private.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/plant.h"

void view_fresh_init(struct view_fresh *f)
{
	pthread_mutex_init(&f->lock, NULL);
}

void view_fresh_destroy(struct view_fresh *f)
{
	pthread_mutex_destroy(&f->lock);
}

static uint64_t hash_of(const char *type, const char *id)
{
	uint64_t h = hash_pair(type, id);
	h ^= h >> 29;
	return h ? h : 1;
}

static struct fresh_entry *find_locked(struct view_fresh *f, uint64_t hash)
{
	struct fresh_entry *set = f->entries[hash % FRESH_SETS];
	for (size_t i = 0; i < FRESH_WAYS; i++)
		if (set[i].hash == hash)
			return &set[i];
	return NULL;
}

/* The entry, in place of the one that was asked longest ago. */
static struct fresh_entry *take_locked(struct view_fresh *f, uint64_t hash)
{
	struct fresh_entry *e = find_locked(f, hash);
	if (e)
		return e;
	struct fresh_entry *set = f->entries[hash % FRESH_SETS];
	e = &set[0];
	for (size_t i = 1; i < FRESH_WAYS; i++)
		if (set[i].asked_ms < e->asked_ms)
			e = &set[i];
	*e = (struct fresh_entry){ .hash = hash };
	return e;
}

#define FEW_ASKS 4

static bool is_old(uint64_t asked_ms, uint64_t fresh_ms)
{
	if (PLANTED("stale-read"))
		fresh_ms = 60000;
	return !asked_ms || clock_boot_ms() >= asked_ms + fresh_ms;
}

static uint64_t as_of(const struct fresh_ask *ask)
{
	uint64_t now = clock_boot_ms(), half = ask->fresh_ms / 2;
	return now > ask->asked_ms + half ? now - half : ask->asked_ms;
}

bool view_fresh_ask(struct view_fresh *f, const char *type, const char *id, uint64_t fresh_ms,
		    struct fresh_ask *ask)
{
	ask->hash = hash_of(type, id);
	ask->asked_ms = clock_boot_ms();
	ask->fresh_ms = fresh_ms;
	pthread_mutex_lock(&f->lock);
	struct fresh_entry *e = find_locked(f, ask->hash);
	bool old = !e || is_old(e->asked_ms, fresh_ms);
	ask->touches = f->touches[ask->hash % FRESH_SETS];
	ask->before = e ? e->point : 0;
	ask->point = 0;
	pthread_mutex_unlock(&f->lock);
	return old;
}

void view_fresh_answered(struct view_fresh *f, const struct fresh_ask *ask, bool known)
{
	pthread_mutex_lock(&f->lock);
	struct fresh_entry *e = take_locked(f, ask->hash);
	e->known |= known;
	if (f->touches[ask->hash % FRESH_SETS] == ask->touches) {
		e->asked_ms = as_of(ask);
		e->point = ask->point;
	}
	pthread_mutex_unlock(&f->lock);
}

bool view_fresh_wants_point(struct view_fresh *f, uint64_t fresh_ms, struct fresh_ask *ask)
{
	pthread_mutex_lock(&f->lock);
	bool old = is_old(f->point_ms, fresh_ms);
	/* who looks at one directory now and then is not to pay for two questions */
	bool wants = old && (ask->before || ++f->asks > FEW_ASKS);
	if (!old)
		ask->point = f->point;
	pthread_mutex_unlock(&f->lock);
	return wants;
}

void view_fresh_point(struct view_fresh *f, uint64_t point, uint64_t asked_ms)
{
	pthread_mutex_lock(&f->lock);
	f->point = point;
	f->point_ms = asked_ms;
	f->asks = 0;
	pthread_mutex_unlock(&f->lock);
}

bool view_fresh_unchanged(struct view_fresh *f, struct fresh_ask *ask)
{
	pthread_mutex_lock(&f->lock);
	if (!ask->point && f->point_ms)
		ask->point = f->point;
	bool same = ask->point && ask->before == ask->point && f->point == ask->point;
	struct fresh_entry *e = same && ask->hash ? find_locked(f, ask->hash) : NULL;
	if (e && f->touches[ask->hash % FRESH_SETS] == ask->touches && e->asked_ms < f->point_ms)
		e->asked_ms = f->point_ms;
	if (same && !ask->hash && f->streams_touches == ask->touches && f->streams_ms < f->point_ms)
		f->streams_ms = f->point_ms;
	pthread_mutex_unlock(&f->lock);
	return same;
}

bool view_fresh_ask_streams(struct view_fresh *f, uint64_t fresh_ms, struct fresh_ask *ask)
{
	pthread_mutex_lock(&f->lock);
	bool old = is_old(f->streams_ms, fresh_ms);
	*ask = (struct fresh_ask){
		.asked_ms = clock_boot_ms(),
		.fresh_ms = fresh_ms,
		.touches = f->streams_touches,
		.before = f->streams_point,
		.rc = f->streams_rc,
	};
	pthread_mutex_unlock(&f->lock);
	return old;
}

void view_fresh_streams_answered(struct view_fresh *f, const struct fresh_ask *ask)
{
	pthread_mutex_lock(&f->lock);
	if (f->streams_touches == ask->touches) {
		f->streams_ms = as_of(ask);
		f->streams_point = ask->rc == RC_OK ? ask->point : 0;
		f->streams_rc = ask->rc;
	}
	pthread_mutex_unlock(&f->lock);
}

uint64_t view_fresh_left(struct view_fresh *f, const struct catalog_dir *dir, bool ledger,
			 uint64_t fresh_ms)
{
	uint64_t now = clock_boot_ms(), asked = UINT64_MAX;
	pthread_mutex_lock(&f->lock);
	if (ledger)
		asked = f->streams_ms;
	if (dir->depth >= 2 || !ledger) {
		struct fresh_entry *e = find_locked(f, hash_of(dir->type, dir->id));
		asked = !e ? 0 : e->asked_ms < asked ? e->asked_ms : asked;
	}
	pthread_mutex_unlock(&f->lock);
	return asked && now < asked + fresh_ms ? asked + fresh_ms - now : 0;
}

bool view_fresh_children(struct view_fresh *f, const struct fresh_ask *ask)
{
	uint64_t now = clock_boot_ms();
	pthread_mutex_lock(&f->lock);
	struct fresh_entry *e = find_locked(f, ask->hash);
	bool due = !e || now >= e->children_ms;
	pthread_mutex_unlock(&f->lock);
	return due;
}

void view_fresh_children_seen(struct view_fresh *f, const struct fresh_ask *ask, uint64_t cost_ms)
{
	uint64_t now = clock_boot_ms();
	pthread_mutex_lock(&f->lock);
	take_locked(f, ask->hash)->children_ms = now + 20 * cost_ms;
	pthread_mutex_unlock(&f->lock);
}

void view_fresh_touch(struct view_fresh *f, const char *type, const char *id)
{
	uint64_t hash = hash_of(type, id);
	pthread_mutex_lock(&f->lock);
	struct fresh_entry *e = find_locked(f, hash);
	f->touches[hash % FRESH_SETS]++;
	if (e)
		e->asked_ms = e->point = 0;
	if (!e || !e->known) {	/* perhaps a new stream */
		f->streams_touches++;
		f->streams_ms = f->streams_point = 0;
	}
	pthread_mutex_unlock(&f->lock);
}

void view_fresh_forget(struct view_fresh *f)
{
	pthread_mutex_lock(&f->lock);
	memset(f->entries, 0, sizeof(f->entries));
	for (size_t i = 0; i < FRESH_SETS; i++)
		f->touches[i]++;
	f->streams_touches++;
	f->streams_ms = f->streams_point = f->point = f->point_ms = 0;
	f->streams_rc = RC_OK;
	pthread_mutex_unlock(&f->lock);
}
