/* SPDX-License-Identifier: Apache-2.0 */
/* fs-file.c - files being written. */
#include "config.h"
#include "fs/fs-file.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"

#define BUCKETS 1024
#define GRACE_MS 2000
#define ABANDONED_MS 3600000
#define FILES_MAX 100000

struct fs_files {
	pthread_mutex_t lock;		/* guards all below */
	struct fs_file *ids[BUCKETS], *names[BUCKETS];
	struct age {
		struct fs_file *oldest, *newest;
	} ages[2];			/* the closed ones by last close; [1]: private */
	uint64_t next_id;
	uint64_t memory;		/* of contents */
	_Atomic size_t count;		/* read without the lock */
};

enum rc fs_files_new(struct fs_files **out, struct why *why)
{
	struct fs_files *t = calloc(1, sizeof(*t));
	if (!t)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	t->next_id = 1;
	*out = t;
	return RC_OK;
}

static size_t name_bucket(int64_t dir, const char *name)
{
	uint64_t h = hash_text(HASH_START ^ (uint64_t)dir, name);
	return (h ^ h >> 32) % BUCKETS;
}

static void unlink_age(struct fs_files *t, struct fs_file *f)
{
	struct age *age = &t->ages[f->is_private];
	if (f->opens)
		return;
	*(f->older ? &f->older->newer : &age->oldest) = f->newer;
	*(f->newer ? &f->newer->older : &age->newest) = f->older;
	f->older = f->newer = NULL;
}

static void link_age(struct fs_files *t, struct fs_file *f)
{
	struct age *age = &t->ages[f->is_private];
	if (f->opens)
		return;
	f->closed_ms = clock_boot_ms();
	f->older = age->newest;
	*(age->newest ? &age->newest->newer : &age->oldest) = f;
	age->newest = f;
}

static void link_name(struct fs_files *t, struct fs_file *f)
{
	struct fs_file **bucket = &t->names[name_bucket(f->dir, f->name)];
	f->by_name = *bucket;
	*bucket = f;
}

static void unlink_name(struct fs_files *t, struct fs_file *f)
{
	struct fs_file **p = &t->names[name_bucket(f->dir, f->name)];
	while (*p != f)
		p = &(*p)->by_name;
	*p = f->by_name;
}

static void release_locked(struct fs_files *t, struct fs_file *f)
{
	if (--f->refs)
		return;
	t->memory -= f->content.len < t->memory ? f->content.len : t->memory;
	buf_release(&f->content);
	pthread_mutex_destroy(&f->lock);
	free(f->name);
	free(f);
}

/* Out of the table; who still holds it may go on with it. */
static void forget_locked(struct fs_files *t, struct fs_file *f)
{
	if (f->gone)
		return;
	f->gone = true;
	struct fs_file **p = &t->ids[f->id % BUCKETS];
	while (*p != f)
		p = &(*p)->by_id;
	*p = f->by_id;
	atomic_fetch_sub(&t->count, 1);
	release_locked(t, f);
}

static void drop_locked(struct fs_files *t, struct fs_file *f)
{
	if (!f->nameless) {
		f->nameless = true;
		unlink_name(t, f);
		unlink_age(t, f);
	}
	/* fstat, read and ftruncate of an open file come with its id alone */
	if (!f->opens)
		forget_locked(t, f);
}

static bool is_over(const struct fs_file *f, uint64_t now_ms)
{
	return !f->opens && now_ms - f->closed_ms > (f->is_private ? ABANDONED_MS : GRACE_MS);
}

static void drop_old_locked(struct fs_files *t)
{
	uint64_t now_ms = clock_boot_ms();
	for (int i = 0; i < 2; i++)
		while (t->ages[i].oldest && is_over(t->ages[i].oldest, now_ms))
			drop_locked(t, t->ages[i].oldest);
}

void fs_files_free(struct fs_files **pt)
{
	struct fs_files *t = *pt;
	if (!t)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (t->ids[i])
			forget_locked(t, t->ids[i]);
	pthread_mutex_destroy(&t->lock);
	free(t);
	*pt = NULL;
}

enum rc fs_file_make(struct fs_files *t, int64_t dir, const char *name, bool is_private, pid_t pid,
		     struct fs_file **out, struct why *why)
{
	struct fs_file *f = calloc(1, sizeof(*f));
	char *copy = strdup(name);
	if (!f || !copy) {
		free(f);
		free(copy);
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	}
	pthread_mutex_init(&f->lock, NULL);
	f->name = copy;
	f->dir = dir;
	f->is_private = is_private;
	f->pid = pid;
	f->opens = 1;
	f->refs = 2;
	f->mtime_us = clock_wall_us();

	pthread_mutex_lock(&t->lock);
	drop_old_locked(t);
	if (t->count >= FILES_MAX) {
		f->refs = 1;
		release_locked(t, f);
		pthread_mutex_unlock(&t->lock);
		return rc_fail(RC_NO_SPACE, why, "%d files are being written already", FILES_MAX);
	}
	f->id = t->next_id++;
	f->by_id = t->ids[f->id % BUCKETS];
	t->ids[f->id % BUCKETS] = f;
	link_name(t, f);
	atomic_fetch_add(&t->count, 1);
	pthread_mutex_unlock(&t->lock);
	*out = f;
	return RC_OK;
}

struct fs_file *fs_file_get(struct fs_files *t, uint64_t id)
{
	pthread_mutex_lock(&t->lock);
	struct fs_file *f = t->ids[id % BUCKETS];
	while (f && f->id != id)
		f = f->by_id;
	if (f && is_over(f, clock_boot_ms())) {
		drop_locked(t, f);
		f = NULL;
	}
	if (f)
		f->refs++;
	pthread_mutex_unlock(&t->lock);
	return f;
}

/*
 * Two thread ids of one process? The kernel tells threads, and programs close in another thread
 * than they chmod in.
 */
static bool same_process(pid_t a, pid_t b)
{
	char path[64];
	if (a == b)
		return true;
	snprintf(path, sizeof(path), "/proc/%ld/task/%ld", (long)a, (long)b);
	return access(path, F_OK) == 0;
}

static struct fs_file *find_locked(struct fs_files *t, int64_t dir, const char *name, pid_t pid,
				   pid_t *other)
{
	uint64_t now_ms = clock_boot_ms();
	*other = 0;
	for (struct fs_file *f = t->names[name_bucket(dir, name)]; f; f = f->by_name) {
		if (f->dir != dir || strcmp(f->name, name) || is_over(f, now_ms))
			continue;
		if (f->is_private || f->pid == pid)
			return f;
		*other = f->pid;
	}
	return NULL;
}

struct fs_file *fs_file_find(struct fs_files *t, int64_t dir, const char *name, pid_t pid)
{
	if (!atomic_load_explicit(&t->count, memory_order_acquire))
		return NULL;
	pid_t other;
	pthread_mutex_lock(&t->lock);
	struct fs_file *f = find_locked(t, dir, name, pid, &other);
	if (!f && other) {
		pthread_mutex_unlock(&t->lock);
		if (!same_process(other, pid))
			return NULL;
		pthread_mutex_lock(&t->lock);
		f = find_locked(t, dir, name, other, &other);
	}
	if (f)
		f->refs++;
	pthread_mutex_unlock(&t->lock);
	return f;
}

void fs_file_put(struct fs_files *t, struct fs_file *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&t->lock);
	release_locked(t, f);
	pthread_mutex_unlock(&t->lock);
}

void fs_file_open(struct fs_files *t, struct fs_file *f)
{
	pthread_mutex_lock(&t->lock);
	if (!f->nameless)
		unlink_age(t, f);
	f->opens++;
	pthread_mutex_unlock(&t->lock);
}

void fs_file_close(struct fs_files *t, struct fs_file *f)
{
	pthread_mutex_lock(&t->lock);
	f->opens--;
	if (!f->nameless)
		link_age(t, f);
	else
		drop_locked(t, f);
	drop_old_locked(t);
	pthread_mutex_unlock(&t->lock);
}

bool fs_file_is_private(struct fs_files *t, struct fs_file *f)
{
	pthread_mutex_lock(&t->lock);
	bool is_private = f->is_private;
	pthread_mutex_unlock(&t->lock);
	return is_private;
}

bool fs_file_has_name(struct fs_files *t, struct fs_file *f)
{
	pthread_mutex_lock(&t->lock);
	bool has = !f->nameless;
	pthread_mutex_unlock(&t->lock);
	return has;
}

bool fs_file_place(struct fs_files *t, struct fs_file *f, int64_t *dir_r, struct buf *name)
{
	pthread_mutex_lock(&t->lock);
	*dir_r = f->dir;
	buf_add_text(name, f->name);
	pthread_mutex_unlock(&t->lock);
	return !buf_failed(name);
}

enum rc fs_file_rename(struct fs_files *t, struct fs_file *f, int64_t dir, const char *name,
		       struct why *why)
{
	char *copy = strdup(name);
	if (!copy)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_lock(&t->lock);
	pid_t other;
	struct fs_file *old = find_locked(t, dir, name, 0, &other);
	if (old && old != f && old->is_private)
		drop_locked(t, old);
	if (!f->nameless) {
		unlink_name(t, f);
		char *was = f->name;
		f->name = copy;
		f->dir = dir;
		link_name(t, f);
		copy = was;
	}
	pthread_mutex_unlock(&t->lock);
	free(copy);
	return RC_OK;
}

void fs_file_publish(struct fs_files *t, struct fs_file *f, int64_t dir, const char *name,
		     pid_t pid)
{
	char *copy = strdup(name);
	pthread_mutex_lock(&t->lock);
	t->memory -= f->content.len < t->memory ? f->content.len : t->memory;
	buf_release(&f->content);
	f->content = (struct buf)BUF_INIT;
	if (f->nameless) {
		free(copy);
	} else if (!copy) {
		drop_locked(t, f);
	} else {
		unlink_name(t, f);
		unlink_age(t, f);
		free(f->name);
		f->name = copy;
		f->dir = dir;
		f->pid = pid;
		f->is_private = false;
		link_name(t, f);
		link_age(t, f);
	}
	pthread_mutex_unlock(&t->lock);
}

void fs_file_unlink(struct fs_files *t, struct fs_file *f)
{
	pthread_mutex_lock(&t->lock);
	drop_locked(t, f);
	pthread_mutex_unlock(&t->lock);
}

/* A content's size goes from old to size. False: all together would be too large. */
static bool count_memory(struct fs_files *t, uint64_t old, uint64_t size)
{
	pthread_mutex_lock(&t->lock);
	bool fits = size <= old || t->memory + (size - old) <= FS_FILE_MEMORY;
	if (fits)
		t->memory += size - old;
	pthread_mutex_unlock(&t->lock);
	return fits;
}

enum rc fs_file_resize(struct fs_files *t, struct fs_file *f, uint64_t size, uint64_t max,
		       struct why *why)
{
	size_t old = f->content.len;
	if (size > max)
		return rc_fail(RC_TOO_LARGE, why,
			       "the file would take %" PRIu64
			       " bytes, an event takes at most %" PRIu64,
			       size, max);
	if (!count_memory(t, old, size))
		return rc_fail(RC_NO_SPACE, why,
			       "private files hold %u bytes already, all together", FS_FILE_MEMORY);
	if (size > old && !buf_reserve(&f->content, size - old)) {
		f->content.failed = false;
		(void)count_memory(t, size, old);
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	}
	if (size > old)
		memset(f->content.data + old, 0, size - old);
	f->size = size;
	if (size)
		f->content.len = size;
	else
		buf_release(&f->content);	/* its memory is no longer counted */
	return RC_OK;
}

enum rc fs_file_write(struct fs_files *t, struct fs_file *f, const char *data, size_t len,
		      uint64_t at, uint64_t max, struct why *why)
{
	enum rc rc = at + len > f->content.len ? fs_file_resize(t, f, at + len, max, why) : RC_OK;
	if (rc != RC_OK)
		return rc;
	memcpy(f->content.data + at, data, len);
	f->mtime_us = clock_wall_us();
	return RC_OK;
}
