/* SPDX-License-Identifier: Apache-2.0 */
/* fs-young.c - directories without events. */
#include "config.h"
#include "fs/fs-young.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "fs/fs-node.h"

#define BUCKETS 4096
#define UNBORN_MAX 100000

struct young {
	struct young *by_name, *by_row;		/* next in the bucket */
	struct young *before, *after;		/* unborn ones, by row */
	int64_t row, parent, real;
	int64_t made_us;
	uint64_t lookups;
	unsigned children;			/* young ones */
	unsigned depth;
	char name[];
};

struct fs_young {
	pthread_mutex_t lock;			/* guards all below */
	struct young *names[BUCKETS], *rows[BUCKETS];
	struct young *first, *last;		/* unborn */
	int64_t next_row;
	size_t unborn;
	unsigned below[BUCKETS];		/* unborn ones by parent, so that most listings look no further */
	_Atomic size_t count;			/* read without the lock: most mounts have none */
	_Atomic uint64_t version;
};

enum rc fs_young_new(struct fs_young **out, struct why *why)
{
	struct fs_young *y = calloc(1, sizeof(*y));
	if (!y)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&y->lock, NULL);
	y->next_row = FS_NODE_YOUNG;
	*out = y;
	return RC_OK;
}

void fs_young_free(struct fs_young **py)
{
	struct fs_young *y = *py;
	if (!y)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct young *d = y->rows[i], *next; d; d = next) {
			next = d->by_row;
			free(d);
		}
	pthread_mutex_destroy(&y->lock);
	free(y);
	*py = NULL;
}

static size_t name_bucket(int64_t parent, const char *name)
{
	uint64_t h = hash_text(HASH_START ^ (uint64_t)parent, name);
	return (h ^ h >> 32) % BUCKETS;
}

static struct young *find_locked(struct fs_young *y, int64_t parent, const char *name)
{
	struct young *d = y->names[name_bucket(parent, name)];
	while (d && (d->parent != parent || strcmp(d->name, name)))
		d = d->by_name;
	return d;
}

static struct young *get_locked(struct fs_young *y, int64_t row)
{
	struct young *d = y->rows[(uint64_t)row % BUCKETS];
	while (d && d->row != row)
		d = d->by_row;
	return d;
}

static void copy_out(const struct young *d, struct fs_young_dir *out)
{
	if (!out)
		return;
	*out = (struct fs_young_dir){
		.row = d->row, .parent = d->parent, .real = d->real,
		.depth = d->depth, .made_us = d->made_us,
	};
	snprintf(out->name, sizeof(out->name), "%s", d->name);
}

static void link_unborn_locked(struct fs_young *y, struct young *d)
{
	d->before = y->last;
	*(y->last ? &y->last->after : &y->first) = d;
	y->last = d;
	y->below[(uint64_t)d->parent % BUCKETS]++;
	y->unborn++;
}

static void unlink_unborn_locked(struct fs_young *y, struct young *d)
{
	*(d->before ? &d->before->after : &y->first) = d->after;
	*(d->after ? &d->after->before : &y->last) = d->before;
	d->before = d->after = NULL;
	y->below[(uint64_t)d->parent % BUCKETS]--;
	y->unborn--;
}

/* It is not linked with the unborn ones. */
static void drop_locked(struct fs_young *y, struct young *d)
{
	struct young **p = &y->names[name_bucket(d->parent, d->name)];
	while (*p != d)
		p = &(*p)->by_name;
	*p = d->by_name;
	p = &y->rows[(uint64_t)d->row % BUCKETS];
	while (*p != d)
		p = &(*p)->by_row;
	*p = d->by_row;
	atomic_fetch_sub(&y->count, 1);
	free(d);
}

/*
 * Drop what neither the kernel nor a young child needs and the store knows; then perhaps its
 * parent.
 */
static void drop_unneeded_locked(struct fs_young *y, struct young *d)
{
	while (d && d->real && !d->lookups && !d->children) {
		struct young *parent = get_locked(y, d->parent);
		drop_locked(y, d);
		if (parent)
			parent->children--;
		d = parent;
	}
}

enum rc fs_young_make(struct fs_young *y, int64_t parent, const char *name, unsigned depth,
		      struct fs_young_dir *out, struct why *why)
{
	size_t len = strlen(name);
	struct young *d = calloc(1, sizeof(*d) + len + 1);
	if (!d)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	memcpy(d->name, name, len + 1);
	d->parent = parent;
	d->depth = depth;
	d->made_us = clock_wall_us();
	d->lookups = 1;

	pthread_mutex_lock(&y->lock);
	enum rc rc = RC_OK;
	if (find_locked(y, parent, name))
		rc = rc_fail(RC_EXISTS, why, "'%s' exists", name);
	else if (y->unborn >= UNBORN_MAX)
		rc = rc_fail(RC_NO_SPACE, why, "%d directories without events wait for one already",
			     UNBORN_MAX);
	if (rc != RC_OK) {
		pthread_mutex_unlock(&y->lock);
		free(d);
		return rc;
	}
	d->row = y->next_row++;
	size_t by_name = name_bucket(parent, name), by_row = (uint64_t)d->row % BUCKETS;
	d->by_name = y->names[by_name];
	y->names[by_name] = d;
	d->by_row = y->rows[by_row];
	y->rows[by_row] = d;
	link_unborn_locked(y, d);
	struct young *up = get_locked(y, parent);
	if (up)
		up->children++;
	atomic_fetch_add(&y->count, 1);
	atomic_fetch_add(&y->version, 1);
	copy_out(d, out);
	pthread_mutex_unlock(&y->lock);
	return RC_OK;
}

bool fs_young_find(struct fs_young *y, int64_t parent, const char *name, unsigned lookups,
		   struct fs_young_dir *out)
{
	if (!atomic_load_explicit(&y->count, memory_order_acquire))
		return false;
	pthread_mutex_lock(&y->lock);
	struct young *d = find_locked(y, parent, name);
	if (d) {
		d->lookups += lookups;
		copy_out(d, out);
	}
	pthread_mutex_unlock(&y->lock);
	return d;
}

bool fs_young_get(struct fs_young *y, int64_t row, struct fs_young_dir *out)
{
	if (!fs_node_is_young(row))
		return false;
	pthread_mutex_lock(&y->lock);
	struct young *d = get_locked(y, row);
	if (d)
		copy_out(d, out);
	pthread_mutex_unlock(&y->lock);
	return d;
}

void fs_young_born(struct fs_young *y, int64_t row, int64_t real)
{
	pthread_mutex_lock(&y->lock);
	struct young *d = get_locked(y, row);
	if (d && !d->real) {
		d->real = real;
		unlink_unborn_locked(y, d);
		atomic_fetch_add(&y->version, 1);
		drop_unneeded_locked(y, d);
	}
	pthread_mutex_unlock(&y->lock);
}

enum rc fs_young_remove(struct fs_young *y, int64_t parent, const char *name)
{
	enum rc rc = RC_OK;
	pthread_mutex_lock(&y->lock);
	struct young *d = find_locked(y, parent, name);
	if (!d)
		rc = RC_NOT_FOUND;
	else if (d->real || d->children)
		rc = RC_EXISTS;
	if (rc == RC_OK) {
		struct young *up = get_locked(y, parent);
		if (up)
			up->children--;
		unlink_unborn_locked(y, d);
		drop_locked(y, d);
		atomic_fetch_add(&y->version, 1);
	}
	pthread_mutex_unlock(&y->lock);
	return rc;
}

void fs_young_forget(struct fs_young *y, int64_t row, uint64_t lookups)
{
	pthread_mutex_lock(&y->lock);
	struct young *d = get_locked(y, row);
	if (d) {
		d->lookups -= lookups < d->lookups ? lookups : d->lookups;
		drop_unneeded_locked(y, d);
	}
	pthread_mutex_unlock(&y->lock);
}

bool fs_young_next(struct fs_young *y, int64_t parent, int64_t after, struct fs_young_dir *out)
{
	if (!atomic_load_explicit(&y->count, memory_order_acquire))
		return false;
	pthread_mutex_lock(&y->lock);
	struct young *d = NULL, *last = after ? get_locked(y, after) : NULL;
	if (y->below[(uint64_t)parent % BUCKETS])	/* it may have been born since */
		d = last && !last->real ? last->after : y->first;
	while (d && (d->row <= after || d->parent != parent))
		d = d->after;
	if (d)
		copy_out(d, out);
	pthread_mutex_unlock(&y->lock);
	return d;
}

uint64_t fs_young_version(struct fs_young *y)
{
	return atomic_load(&y->version);
}
