/* SPDX-License-Identifier: Apache-2.0 */
/* fs-stream.c - streams in use. */
#include "config.h"
#include "fs/fs-stream.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/key.h"
#include "fs/fs-node.h"
#include "fs/fs-place.h"

#define BUCKETS 1024
#define IDLE_MAX 1024
#define PROMISE_MS 50	/* from LOOKUP to OPEN */
#define SHARED_MS 30000
#define STALE_MS 5000	/* longer than from ESTALE to the second OPEN */

struct fs_streams {
	pthread_mutex_t lock;			/* guards all below, and the streams */
	struct fs_stream *buckets[BUCKETS];
	struct fs_stream *oldest, *newest;	/* those that nobody holds */
	size_t idle;
};

enum rc fs_streams_new(struct fs_streams **out, struct why *why)
{
	struct fs_streams *t = calloc(1, sizeof(*t));
	if (!t)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return RC_OK;
}

static void stream_free(struct fs_stream *s)
{
	if (!s)
		return;
	free(s->type);
	free(s->id);
	free(s);
}

void fs_streams_free(struct fs_streams **pt)
{
	struct fs_streams *t = *pt;
	if (!t)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct fs_stream *s = t->buckets[i], *next; s; s = next) {
			next = s->chain;
			stream_free(s);
		}
	pthread_mutex_destroy(&t->lock);
	free(t);
	*pt = NULL;
}

static void unlink_idle_locked(struct fs_streams *t, struct fs_stream *s)
{
	*(s->older ? &s->older->newer : &t->oldest) = s->newer;
	*(s->newer ? &s->newer->older : &t->newest) = s->older;
	s->older = s->newer = NULL;
	t->idle--;
}

static void link_idle_locked(struct fs_streams *t, struct fs_stream *s)
{
	s->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = s;
	t->newest = s;
	t->idle++;
}

static struct fs_stream *hold_locked(struct fs_streams *t, int64_t dir)
{
	struct fs_stream *s = t->buckets[(uint64_t)dir % BUCKETS];
	while (s && s->dir != dir)
		s = s->chain;
	if (s && !s->refs++)
		unlink_idle_locked(t, s);
	return s;
}

static void drop_idle_locked(struct fs_streams *t)
{
	while (t->idle > IDLE_MAX) {
		struct fs_stream *s = t->oldest, **p = &t->buckets[(uint64_t)s->dir % BUCKETS];
		unlink_idle_locked(t, s);
		while (*p != s)
			p = &(*p)->chain;
		*p = s->chain;
		stream_free(s);
	}
}

static enum rc make(struct fs *fs, int64_t dir, struct fs_stream **out, struct why *why)
{
	_cleanup_(buf_release) struct buf type = BUF_INIT, id = BUF_INIT;
	enum rc rc = fs_place_stream(fs, dir, &type, &id, why);
	if (rc == RC_OK)
		rc = key_check_stream(buf_text(&type), buf_text(&id), why);
	if (rc != RC_OK)
		return rc;
	struct fs_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	s->dir = dir;
	s->refs = 1;
	s->type = buf_take(&type, NULL);
	s->id = buf_take(&id, NULL);
	if (!s->type || !s->id) {
		stream_free(s);
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	}
	*out = s;
	return RC_OK;
}

enum rc fs_stream_get(struct fs *fs, int64_t dir, struct fs_stream **out, struct why *why)
{
	struct fs_streams *t = fs->streams;
	pthread_mutex_lock(&t->lock);
	struct fs_stream *s = hold_locked(t, dir), *made = NULL;
	pthread_mutex_unlock(&t->lock);
	if (s) {
		*out = s;
		return RC_OK;
	}
	enum rc rc = make(fs, dir, &made, why);
	if (rc != RC_OK)
		return rc;
	pthread_mutex_lock(&t->lock);
	s = hold_locked(t, dir);
	if (!s) {
		s = TAKE_PTR(made);
		s->chain = t->buckets[(uint64_t)dir % BUCKETS];
		t->buckets[(uint64_t)dir % BUCKETS] = s;
	}
	pthread_mutex_unlock(&t->lock);
	stream_free(made);
	*out = s;
	return RC_OK;
}

void fs_stream_put(struct fs *fs, struct fs_stream *s)
{
	struct fs_streams *t = fs->streams;
	if (!s)
		return;
	pthread_mutex_lock(&t->lock);
	if (!--s->refs) {
		link_idle_locked(t, s);
		drop_idle_locked(t);
	}
	pthread_mutex_unlock(&t->lock);
}

/* The next turn, if this one's node may not be told again. */
static void turn_locked(struct fs_stream *s, uint64_t now)
{
	bool busy = s->writers || now < s->promised_ms;
	if (s->writers)
		s->shared_ms = now + SHARED_MS;
	bool keep = !busy && now >= s->shared_ms;
	/* a node that is asked for each time never becomes one that is kept */
	if (busy || keep != s->kept || !s->turns) {
		s->turns++;
		s->writers = 0;
	}
	s->kept = keep;
}

unsigned fs_stream_turn(struct fs *fs, struct fs_stream *s, pid_t who, uint64_t *size_r,
			int64_t *mtime_us_r, bool *keep_r)
{
	uint64_t now = clock_boot_ms();
	pthread_mutex_lock(&fs->streams->lock);
	if (now >= s->promised_ms || s->promised_to != who)
		turn_locked(s, now);
	s->promised_ms = now + PROMISE_MS;
	s->promised_to = who;
	unsigned turn = s->turns % FS_NODE_TURNS;
	*size_r = s->size;
	*mtime_us_r = s->mtime_us;
	*keep_r = s->kept;
	pthread_mutex_unlock(&fs->streams->lock);
	return turn;
}

bool fs_stream_taken(struct fs *fs, struct fs_stream *s, unsigned turn)
{
	pthread_mutex_lock(&fs->streams->lock);
	if (!s->turns) {	/* it was forgotten, the kernel's node was not */
		s->turns = turn ? turn : FS_NODE_TURNS;
		s->kept = true;
	}
	uint64_t now = clock_boot_ms();
	bool taken = s->kept && s->writers && s->turns % FS_NODE_TURNS == turn && now >= s->stale_ms;
	if (taken)
		s->stale_ms = now + STALE_MS;	/* the LOOKUP finds a writer, and keeps no node */
	pthread_mutex_unlock(&fs->streams->lock);
	return taken;
}

uint64_t fs_stream_hold(struct fs *fs, struct fs_stream *s, unsigned turn)
{
	uint64_t held = 0;
	pthread_mutex_lock(&fs->streams->lock);
	if (s->turns && s->turns % FS_NODE_TURNS == turn) {
		held = s->turns;
		s->writers++;
		s->promised_ms = 0;
	}
	pthread_mutex_unlock(&fs->streams->lock);
	return held;
}

void fs_stream_unhold(struct fs *fs, struct fs_stream *s, uint64_t held)
{
	if (!held)
		return;
	pthread_mutex_lock(&fs->streams->lock);
	if (held == s->turns)
		s->writers--;
	pthread_mutex_unlock(&fs->streams->lock);
}

void fs_stream_saw(struct fs *fs, struct fs_stream *s, uint64_t size, int64_t mtime_us)
{
	pthread_mutex_lock(&fs->streams->lock);
	s->size = size;
	s->mtime_us = mtime_us;
	pthread_mutex_unlock(&fs->streams->lock);
}
