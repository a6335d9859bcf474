/* SPDX-License-Identifier: Apache-2.0 */
/* fs-ahead.c - listings made ahead. */
#include "config.h"
#include "fs/fs-ahead.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "fs/fs-dir.h"
#include "object/object.h"

#define WINDOW 16	/* pages ahead */
#define LOW 8		/* so few are left when the next ones are begun: one wake for many */
#define RUN 2		/* so many in a row make a walk */
#define THREADS 4	/* where refreshing is a round trip */

/* FAILED ones keep their place until they are passed by: else the threads would go on without end. */
enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_READY, SLOT_FAILED };

struct slot {
	enum slot_state state;
	int64_t row;
	uint64_t walk;
	struct fs_ahead_page page;	/* of the thread while busy */
};

struct fs_ahead {
	struct fs *fs;
	pthread_t threads[THREADS];
	size_t n_threads;

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t work, made;
	bool ending;
	uint64_t walk;			/* raised with each new one */
	int64_t parent, last;		/* whose directories are walked over, and which came last */
	unsigned run;			/* how many in a row before it */
	int64_t after;			/* up to here they were looked up */
	bool at_end, looking;
	int64_t rows[WINDOW];		/* looked up, not begun */
	size_t n_rows;
	struct slot slots[WINDOW];
};

/* ------------------------------------------------------------------ making them */

static struct slot *find_locked(struct fs_ahead *a, int64_t row)
{
	for (size_t i = 0; i < WINDOW; i++)
		if (a->slots[i].state != SLOT_FREE && a->slots[i].row == row)
			return &a->slots[i];
	return NULL;
}

static struct slot *free_locked(struct fs_ahead *a)
{
	for (size_t i = 0; i < WINDOW; i++)
		if (a->slots[i].state == SLOT_FREE)
			return &a->slots[i];
	return NULL;
}

static size_t ahead_locked(const struct fs_ahead *a)
{
	size_t n = a->n_rows;
	for (size_t i = 0; i < WINDOW; i++)
		n += a->slots[i].state != SLOT_FREE;
	return n;
}

struct found {
	int64_t rows[WINDOW];
	size_t n;
};

static bool take_row(void *arg, const struct view_entry *entry)
{
	struct found *f = arg;
	if (!entry->is_dir)
		return false;
	f->rows[f->n++] = entry->dir->row;
	return f->n < WINDOW;
}

/* Look up which come next. */
static void look_locked(struct fs_ahead *a)
{
	struct found f = { .n = 0 };
	uint64_t walk = a->walk;
	int64_t parent = a->parent, after = a->after;
	a->looking = true;
	pthread_mutex_unlock(&a->lock);
	enum rc rc = view_list(a->fs->view, parent, (uint64_t)after, take_row, &f, NULL);
	pthread_mutex_lock(&a->lock);
	a->looking = false;
	if (walk != a->walk)
		return;
	a->at_end = rc != RC_OK || !f.n;
	for (size_t i = 0; i < f.n; i++)
		if (f.rows[i] > a->last)
			a->rows[a->n_rows++] = f.rows[i];
	if (f.n)
		a->after = f.rows[f.n - 1];
	if (a->n_rows > 1)
		pthread_cond_broadcast(&a->work);	/* the other threads waited for this */
}

/* The first n are begun, or passed by. */
static void drop_rows_locked(struct fs_ahead *a, size_t n)
{
	a->n_rows -= n;
	memmove(a->rows, a->rows + n, a->n_rows * sizeof(*a->rows));
}

static void make_locked(struct fs_ahead *a, struct slot *s)
{
	s->state = SLOT_BUSY;
	s->row = a->rows[0];
	s->walk = a->walk;
	drop_rows_locked(a, 1);
	pthread_mutex_unlock(&a->lock);
	bool made = fs_dir_prepare(a->fs, s->row, &s->page);
	pthread_mutex_lock(&a->lock);
	s->state = s->walk != a->walk || s->row <= a->last ? SLOT_FREE : made ? SLOT_READY : SLOT_FAILED;
	pthread_cond_broadcast(&a->made);
}

static void *run(void *arg)
{
	struct fs_ahead *a = arg;
	pthread_mutex_lock(&a->lock);
	while (!a->ending) {
		struct slot *s = a->run >= RUN ? free_locked(a) : NULL;
		if (s && a->n_rows)
			make_locked(a, s);
		else if (s && !a->at_end && !a->looking)
			look_locked(a);
		else
			pthread_cond_wait(&a->work, &a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* ------------------------------------------------------------------ asking for them */

void fs_ahead_wait(struct fs *fs, int64_t row)
{
	struct fs_ahead *a = fs->ahead;
	struct slot *s;
	pthread_mutex_lock(&a->lock);
	while ((s = find_locked(a, row)) && s->state == SLOT_BUSY)
		pthread_cond_wait(&a->made, &a->lock);
	pthread_mutex_unlock(&a->lock);
}

void fs_ahead_saw(struct fs *fs, int64_t row, int64_t parent)
{
	struct fs_ahead *a = fs->ahead;
	pthread_mutex_lock(&a->lock);
	if (parent == a->parent && row > a->last) {
		a->run++;
	} else {
		a->walk++;
		a->parent = parent;
		a->run = 0;
		a->n_rows = 0;
		a->at_end = false;
		a->after = row;
	}
	a->last = row;
	if (a->after < row)
		a->after = row;
	/* what was passed by is of no use */
	for (size_t i = 0; i < WINDOW; i++)
		if ((a->slots[i].state == SLOT_READY || a->slots[i].state == SLOT_FAILED) &&
		    (a->slots[i].walk != a->walk || a->slots[i].row <= row))
			a->slots[i].state = SLOT_FREE;
	size_t passed = 0;
	while (passed < a->n_rows && a->rows[passed] <= row)
		passed++;
	drop_rows_locked(a, passed);
	bool few = a->run >= RUN && !(a->at_end && !a->n_rows) && ahead_locked(a) <= LOW;
	pthread_mutex_unlock(&a->lock);
	if (few)
		pthread_cond_broadcast(&a->work);
}

bool fs_ahead_take(struct fs *fs, int64_t row, uint64_t print, bool sparing, char *data, size_t size,
		   size_t *used_r, off_t *end_r)
{
	struct fs_ahead *a = fs->ahead;
	bool good = false;
	pthread_mutex_lock(&a->lock);
	struct slot *s = find_locked(a, row);
	if (s && s->state == SLOT_READY) {
		const struct fs_ahead_page *p = &s->page;
		good = p->print == print && p->sparing == sparing && p->used <= size;
		if (good) {
			memcpy(data, p->data, p->used);
			*used_r = p->used;
			*end_r = p->end;
		}
		s->state = SLOT_FREE;
	}
	pthread_mutex_unlock(&a->lock);
	return good;
}

/* ------------------------------------------------------------------ life */

enum rc fs_ahead_new(struct fs_ahead **out, struct fs *fs, struct why *why)
{
	struct fs_ahead *a = calloc(1, sizeof(*a));
	if (!a)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	size_t threads = store_objects(fs->store)->counters ? THREADS : 1;
	a->fs = fs;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->work, NULL);
	pthread_cond_init(&a->made, NULL);
	while (a->n_threads < threads && !thread_start(&a->threads[a->n_threads], run, a))
		a->n_threads++;
	*out = a;
	return RC_OK;
}

void fs_ahead_free(struct fs_ahead **pa)
{
	struct fs_ahead *a = *pa;
	if (!a)
		return;
	thread_stop(&a->lock, &a->ending, &a->work, a->threads, a->n_threads);
	pthread_cond_destroy(&a->made);
	pthread_cond_destroy(&a->work);
	pthread_mutex_destroy(&a->lock);
	free(a);
	*pa = NULL;
}
