/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-ahead.c - bodies fetched before they are asked for.
 *
 * One request at a time is slow where each is a round trip. Who reads the events of a stream in
 * order (cat, tar, rsync, several of them) gets the next ones fetched in parallel: the window grows
 * while it is used.
 *
 * An event's body here:
 *   FETCHING  a thread asks for it; who wants it waits
 *   READY     it is here until room is needed: those that were taken go first
 *   FAILED    nobody finds it any more; who waited is told why
 * Only settled events: their bytes never change.
 */
#include "config.h"
#include "store/view-private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"

#define FETCHERS 6
#define JOBS 64			/* that may wait */
#define JOB_EVENTS 64		/* fetched by one request of a thread to the objects */
#define READERS 64		/* that are followed at once, also in one stream */
#define WINDOW_FIRST 4
#define WINDOW_MOST 256
#define DISORDER 16		/* those who share the events of one reader come so much out of order */
#define BYTES (8u << 20)	/* of bodies fetched and not taken */
#define UNUSED_MS 2000		/* a body that nobody took by then makes room for others */
#define BODY_MOST (1u << 20)	/* larger ones are not fetched ahead */
#define BUCKETS 4096
#define FAILURES 32		/* remembered: the kernel asks a second time for what failed */
#define FAILED_MS 200

enum state { FETCHING, READY, FAILED };

struct body {
	int64_t dir;
	uint32_t ordinal;
	enum state state;
	bool listed;		/* found by the table */
	unsigned refs;		/* the table's, the fetcher's, waiters' */
	size_t size;		/* as counted */
	char *text;
	uint64_t good_ms;	/* READY: kept until then (clock_boot_ms), even if there is no room */
	enum rc rc;		/* FAILED */
	struct why why;
	struct body *chain;	/* of the bucket */
	struct body *older, *newer;	/* READY and listed, by age */
};

struct job {
	int64_t dir;
	uint64_t after;
	size_t n;
};

struct reader {
	int64_t dir;
	uint64_t last, next;	/* the highest number read; the highest asked for */
	uint64_t grown;		/* what last was when the window grew */
	size_t window;
	uint64_t used;
};

struct failure {
	int64_t dir;
	uint32_t ordinal;
	uint64_t until;		/* clock_boot_ms */
	struct why why;
};

struct view_ahead {
	struct view *v;
	struct view_keep *keep;
	pthread_mutex_t lock;	/* guards all below but threads */
	pthread_cond_t work, news;
	struct body *buckets[BUCKETS];
	struct body *oldest, *newest;
	size_t bytes;
	struct job jobs[JOBS];
	size_t first_job, n_jobs;
	struct job planned[FETCHERS];	/* taken up, whose bodies are not listed yet; n 0: none */
	struct reader readers[READERS];
	uint64_t clock;
	struct failure failures[FAILURES];
	size_t next_failure;
	bool started, stop;
	pthread_t fetchers[FETCHERS];
	unsigned running;
};

/* ------------------------------------------------------------------ the table */

static struct body **bucket_of(struct view_ahead *a, int64_t dir, uint32_t ordinal)
{
	uint64_t h = ((uint64_t)dir << 30 ^ ordinal) * UINT64_C(0x9e3779b97f4a7c15);
	return &a->buckets[h >> 32 & (BUCKETS - 1)];
}

static struct body *find_locked(struct view_ahead *a, int64_t dir, uint32_t ordinal)
{
	struct body *b = *bucket_of(a, dir, ordinal);
	while (b && (b->dir != dir || b->ordinal != ordinal))
		b = b->chain;
	return b;
}

static void put_locked(struct body *b)
{
	if (--b->refs)
		return;
	free(b->text);
	free(b);
}

static void unage_locked(struct view_ahead *a, struct body *b)
{
	*(b->older ? &b->older->newer : &a->oldest) = b->newer;
	*(b->newer ? &b->newer->older : &a->newest) = b->older;
}

static void unlist_locked(struct view_ahead *a, struct body *b)
{
	struct body **at = bucket_of(a, b->dir, b->ordinal);
	while (*at != b)
		at = &(*at)->chain;
	*at = b->chain;
	if (b->state == READY)
		unage_locked(a, b);
	b->listed = false;
	a->bytes -= b->size;
	put_locked(b);
}

static void list_locked(struct view_ahead *a, struct body *b)
{
	struct body **at = bucket_of(a, b->dir, b->ordinal);
	b->chain = *at;
	*at = b;
	b->listed = true;
	b->refs++;
	a->bytes += b->size;
}

/* READY: it goes last when room is needed, or, where somebody had it, first. */
static void age_locked(struct view_ahead *a, struct body *b, bool first)
{
	b->good_ms = first ? 0 : clock_boot_ms() + UNUSED_MS;
	b->older = first ? NULL : a->newest;
	b->newer = first ? a->oldest : NULL;
	*(b->older ? &b->older->newer : &a->oldest) = b;
	*(b->newer ? &b->newer->older : &a->newest) = b;
}

static bool make_room_locked(struct view_ahead *a, size_t size)
{
	uint64_t now = clock_boot_ms();
	while (a->bytes + size > BYTES && a->oldest && a->oldest->good_ms <= now)
		unlist_locked(a, a->oldest);
	return a->bytes + size <= BYTES;
}

static struct body *body_new(int64_t dir, uint32_t ordinal, size_t size, enum state state)
{
	struct body *b = calloc(1, sizeof(*b));
	if (b)
		*b = (struct body){ .dir = dir, .ordinal = ordinal, .size = size, .state = state, .refs = 1 };
	return b;
}

/* ------------------------------------------------------------------ fetching */

struct fetch {
	struct catalog_dir dir;
	struct catalog_event events[JOB_EVENTS];
	struct view_body items[JOB_EVENTS];
	struct object_get gets[JOB_EVENTS];
	struct body *bodies[JOB_EVENTS];
	size_t n;
};

/* What of a job is to be fetched, and where it lies. */
static void plan(struct view *v, const struct job *j, struct fetch *f)
{
	size_t n = 0;
	f->n = 0;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_get(conn, j->dir, &f->dir, NULL);
	if (rc == RC_OK)
		rc = catalog_event_list(conn, j->dir, j->after, INT32_MAX, f->events, j->n, &n, NULL);
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		const struct catalog_event *e = &f->events[i];
		if (e->settled && e->size <= BODY_MOST && !catalog_body_is_kept(conn, e->dir, e->ordinal))
			f->items[f->n++] = (struct view_body){ .event = *e };
	}
	if (rc == RC_OK)
		rc = view_body_keys(v, conn, &f->dir, f->items, f->n, NULL);
	catalog_done(v->catalog, conn);
	if (rc != RC_OK) {
		view_body_release(f->items, f->n);
		f->n = 0;
	}
}

/* There is no room for what comes from this number on: those who asked for it are to ask later, and for less. */
static void ask_less_locked(struct view_ahead *a, int64_t dir, uint64_t number)
{
	for (size_t i = 0; i < READERS; i++) {
		struct reader *r = &a->readers[i];
		if (r->dir != dir || r->last >= number || r->next < number)
			continue;
		r->next = number - 1;
		r->window = r->window / 2 > WINDOW_FIRST ? r->window / 2 : WINDOW_FIRST;
		r->grown = r->last;
	}
}

/* List what is not listed, as far as there is room; the rest is not fetched. */
static void list_all_locked(struct view_ahead *a, struct fetch *f)
{
	size_t n = 0;
	bool full = a->stop;
	for (size_t i = 0; i < f->n; i++) {
		struct view_body item = f->items[i];
		const struct catalog_event *e = &item.event;
		struct body *b = NULL;
		if (!full && !find_locked(a, e->dir, e->ordinal)) {
			full = !make_room_locked(a, e->size);
			if (full)
				ask_less_locked(a, e->dir, e->number);
			else
				b = body_new(e->dir, e->ordinal, e->size, FETCHING);
		}
		if (!b) {
			view_body_release(&item, 1);
			continue;
		}
		list_locked(a, b);
		f->bodies[n] = b;
		f->items[n] = item;
		f->gets[n++] = (struct object_get){ .key = item.key.data };
	}
	f->n = n;
}

/* Where fetching fails, the window is small again. */
static void falter_locked(struct view_ahead *a, int64_t dir)
{
	for (size_t i = 0; i < READERS; i++)
		if (a->readers[i].dir == dir) {
			a->readers[i].window = WINDOW_FIRST;
		}
}

static void failed_locked(struct view_ahead *a, int64_t dir, uint32_t ordinal, const struct why *why)
{
	a->failures[a->next_failure++ % FAILURES] = (struct failure){ dir, ordinal, clock_boot_ms() + FAILED_MS, *why };
}

static void arrived_locked(struct view_ahead *a, struct body *b, struct object_get *get)
{
	if (get->rc == RC_OK && get->len == b->size) {
		b->text = TAKE_PTR(get->buf);
		b->state = READY;
		age_locked(a, b, false);
	} else {
		/* what is not as expected is found out, and told, by who reads it */
		b->rc = get->rc == RC_OK ? RC_NOT_FOUND : get->rc;
		b->why = get->why;
		if (b->rc == RC_TEMPORARY)
			failed_locked(a, b->dir, b->ordinal, &b->why);
		unlist_locked(a, b);
		b->state = FAILED;
		falter_locked(a, b->dir);
	}
	put_locked(b);
}

static void fetch(struct view_ahead *a, size_t at, struct fetch *f)
{
	plan(a->v, &a->planned[at], f);
	pthread_mutex_lock(&a->lock);
	list_all_locked(a, f);
	a->planned[at].n = 0;
	pthread_cond_broadcast(&a->news);
	pthread_mutex_unlock(&a->lock);
	if (!f->n)
		return;
	enum rc rc = object_get(a->v->src.objects, f->gets, f->n);
	(void)rc;	/* each tells for itself */
	for (size_t i = 0; i < f->n; i++)
		if (f->gets[i].rc == RC_OK && f->gets[i].len == f->bodies[i]->size)
			view_keep_add(a->keep, f->bodies[i]->dir, f->bodies[i]->ordinal, f->gets[i].buf, f->gets[i].len);
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < f->n; i++)
		arrived_locked(a, f->bodies[i], &f->gets[i]);
	pthread_cond_broadcast(&a->news);
	pthread_mutex_unlock(&a->lock);
	for (size_t i = 0; i < f->n; i++)
		if (f->gets[i].rc == RC_OK)
			free(f->gets[i].buf);
	view_body_release(f->items, f->n);
}

struct fetcher {
	struct view_ahead *a;
	size_t at;
};

static void *fetcher_main(void *arg)
{
	struct fetcher self = *(struct fetcher *)arg;
	struct view_ahead *a = self.a;
	_cleanup_(freep) struct fetch *f = calloc(1, sizeof(*f));
	free(arg);
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (!a->n_jobs || !f) {
			pthread_cond_wait(&a->work, &a->lock);
			continue;
		}
		a->planned[self.at] = a->jobs[a->first_job];
		a->first_job = (a->first_job + 1) % JOBS;
		a->n_jobs--;
		pthread_mutex_unlock(&a->lock);
		fetch(a, self.at, f);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* ------------------------------------------------------------------ life */

/* With the first read: programs that read nothing have no such threads. */
static void start_locked(struct view_ahead *a)
{
	if (a->started)
		return;
	a->started = true;
	for (size_t i = 0; i < FETCHERS; i++) {
		struct fetcher *f = malloc(sizeof(*f));
		if (!f)
			break;
		*f = (struct fetcher){ a, i };
		if (thread_start(&a->fetchers[i], fetcher_main, f)) {
			free(f);
			break;
		}
		a->running++;
	}
}

enum rc view_ahead_new(struct view_ahead **out, struct view *v, struct why *why)
{
	struct view_ahead *a = calloc(1, sizeof(*a));
	if (!a)
		return rc_fail(RC_NO_MEMORY, why, "no memory for reading ahead");
	a->v = v;
	enum rc rc = view_keep_new(&a->keep, v->catalog, why);
	if (rc != RC_OK) {
		free(a);
		return rc;
	}
	pthread_mutex_init(&a->lock, NULL);
	thread_cond_init(&a->work);
	thread_cond_init(&a->news);
	*out = a;
	return RC_OK;
}

void view_ahead_free(struct view_ahead **pa)
{
	struct view_ahead *a = *pa;
	if (!a)
		return;
	thread_stop(&a->lock, &a->stop, &a->work, a->fetchers, a->running);
	for (size_t i = 0; i < BUCKETS; i++)
		while (a->buckets[i])
			unlist_locked(a, a->buckets[i]);
	pthread_cond_destroy(&a->work);
	pthread_cond_destroy(&a->news);
	pthread_mutex_destroy(&a->lock);
	view_keep_free(&a->keep);
	free(a);
	*pa = NULL;
}

/* ------------------------------------------------------------------ what readers do */

/* A thread is about to list it. */
static bool is_planned_locked(const struct view_ahead *a, int64_t dir, uint64_t number)
{
	for (size_t i = 0; i < FETCHERS; i++) {
		const struct job *j = &a->planned[i];
		if (j->n && j->dir == dir && number > j->after && number - j->after <= j->n)
			return true;
	}
	return false;
}

static enum rc just_failed_locked(const struct view_ahead *a, int64_t dir, uint32_t ordinal, struct why *why)
{
	for (size_t i = 0; i < FAILURES; i++) {
		const struct failure *f = &a->failures[i];
		if (f->dir == dir && f->ordinal == ordinal && clock_boot_ms() < f->until)
			return rc_fail(RC_TEMPORARY, why, "%s", f->why.text);
	}
	return RC_NOT_FOUND;
}

void view_ahead_failed(struct view_ahead *a, int64_t dir, uint32_t ordinal, const struct why *why)
{
	pthread_mutex_lock(&a->lock);
	failed_locked(a, dir, ordinal, why);
	pthread_mutex_unlock(&a->lock);
}

enum rc view_ahead_take(struct view_ahead *a, int64_t dir, uint32_t ordinal, uint64_t number, struct buf *out,
			struct why *why)
{
	enum rc rc = RC_NOT_FOUND;
	pthread_mutex_lock(&a->lock);
	while (!find_locked(a, dir, ordinal) && is_planned_locked(a, dir, number))
		pthread_cond_wait(&a->news, &a->lock);
	struct body *b = find_locked(a, dir, ordinal);
	if (b) {
		b->refs++;
		while (b->state == FETCHING)
			pthread_cond_wait(&a->news, &a->lock);
		rc = b->state == READY ? RC_OK : b->rc;
	} else {
		rc = just_failed_locked(a, dir, ordinal, why);
	}
	if (rc == RC_OK)
		buf_add(out, b->text, b->size);
	else if (b)
		rc = rc_fail(rc, why, "%s", b->why.text);
	if (rc == RC_OK && b->listed && b->good_ms) {
		unage_locked(a, b);
		age_locked(a, b, true);
	}
	if (b)
		put_locked(b);
	pthread_mutex_unlock(&a->lock);
	if (rc == RC_OK && buf_failed(out))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for an event");
	return rc;
}

static bool add_job_locked(struct view_ahead *a, int64_t dir, uint64_t after, size_t n)
{
	if (a->n_jobs == JOBS || a->stop)
		return false;
	a->jobs[(a->first_job + a->n_jobs++) % JOBS] = (struct job){ dir, after, n };
	pthread_cond_signal(&a->work);
	return true;
}

/* Ask for what comes within the window. */
static void ask_locked(struct view_ahead *a, struct reader *r)
{
	size_t step = r->window / 4;
	step = step < WINDOW_FIRST ? WINDOW_FIRST : step > JOB_EVENTS ? JOB_EVENTS : step;
	if (r->next < r->last)
		r->next = r->last;
	while (r->next - r->last + step <= r->window && add_job_locked(a, r->dir, r->next, step))
		r->next += step;
	if (r->last - r->grown >= r->window / 2 && r->window < WINDOW_MOST) {
		r->window *= 2;
		r->grown = r->last;
	}
}

/* Who was last between two numbers of the stream; else a new one at number, in place of the one longest not seen. */
static struct reader *reader_locked(struct view_ahead *a, int64_t dir, uint64_t low, uint64_t high, uint64_t number)
{
	struct reader *r = &a->readers[0];
	bool found = false;
	for (size_t i = 0; i < READERS && !found; i++) {
		struct reader *other = &a->readers[i];
		found = other->dir == dir && other->last >= low && other->last <= high;
		if (found || other->used < r->used)
			r = other;
	}
	if (!found)
		*r = (struct reader){ .dir = dir, .last = number, .next = number, .grown = number, .window = WINDOW_FIRST };
	r->used = ++a->clock;
	return r;
}

void view_ahead_saw(struct view_ahead *a, int64_t dir, uint64_t number)
{
	pthread_mutex_lock(&a->lock);
	start_locked(a);
	struct reader *r = reader_locked(a, dir, number > DISORDER ? number - DISORDER : 0, number + DISORDER, number);
	if (number > r->last) {
		r->last = number;
		ask_locked(a, r);
	}
	pthread_mutex_unlock(&a->lock);
}

void view_ahead_range(struct view_ahead *a, int64_t dir, uint64_t after, size_t n)
{
	pthread_mutex_lock(&a->lock);
	start_locked(a);
	struct reader *r = reader_locked(a, dir, after > 2 * n ? after - 2 * n : 0, after, after);
	r->last = after;
	if (r->next < after)
		r->next = after;
	while (r->next - after < n && add_job_locked(a, dir, r->next, JOB_EVENTS))
		r->next += JOB_EVENTS;
	pthread_mutex_unlock(&a->lock);
}

void view_ahead_keep(struct view_ahead *a, int64_t dir, uint32_t ordinal, const char *text, size_t len)
{
	view_keep_add(a->keep, dir, ordinal, text, len);
	struct body *b = body_new(dir, ordinal, len, READY);
	char *copy = len <= BODY_MOST ? malloc(len ? len : 1) : NULL;
	if (!b || !copy) {
		free(b);
		free(copy);
		return;
	}
	memcpy(copy, text, len);
	b->text = copy;
	pthread_mutex_lock(&a->lock);
	start_locked(a);
	if (!find_locked(a, dir, ordinal) && make_room_locked(a, len)) {
		list_locked(a, b);
		age_locked(a, b, true);
	}
	put_locked(b);
	pthread_mutex_unlock(&a->lock);
}
