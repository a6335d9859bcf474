/* SPDX-License-Identifier: Apache-2.0 */
/* object-dir.c - objects as files below a directory: open, read, look. */
#include "config.h"
#include "object/object.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "object/object-dir.h"

#define BLOCK 4096u /* what a small file takes, about */
#define RESERVE (1u << 20) /* left free for directories and the ledger */
#define PARALLEL_MIN 16 /* smaller batches are done before a thread wakes up */

bool object_dir_gone(struct object_dir *d)
{
	struct stat st;
	return !fstat(d->fd, &st) && st.st_nlink == 0;
}

static enum rc gone(struct object_dir *d, struct why *why)
{
	return rc_fail(RC_TEMPORARY, why, "the store directory '%.300s' is gone", d->path);
}

enum rc object_dir_fail(struct object_dir *d, int err, struct why *why, const char *verb,
			const char *key)
{
	enum rc rc = RC_TEMPORARY;
	const char *reason = strerror(err);
	switch (err) {
	case ENOENT:
		if (object_dir_gone(d))
			return gone(d, why);
		break;
	case ENOSPC:
	case EDQUOT:
		rc = RC_NO_SPACE;
		break;
	case EACCES:
	case EPERM:
	case EROFS:
		rc = RC_DENIED;
		break;
	case ENAMETOOLONG:
	case ENOTDIR: /* a part of the key is an object: there can be nothing below it */
		rc = RC_INVALID;
		break;
	case ELOOP:
		rc = RC_INVALID;
		reason = "a directory in it is a symbolic link";
		break;
	default: /* an errno, not an rc */
		break;
	}
	return rc_fail(rc, why, "cannot %s '%.300s': %s", verb, key, reason);
}

bool object_dir_key_own(const char *key)
{
	size_t tmp = strlen(OBJECT_DIR_TMP);
	return !strcmp(key, OBJECT_DIR_LOCK) ||
	       (!strncmp(key, OBJECT_DIR_TMP, tmp) && (!key[tmp] || key[tmp] == '/'));
}

const char *object_dir_key_fault(const char *key)
{
	const char *part = key;
	for (;;) {
		const char *end = strchrnul(part, '/');
		size_t n = (size_t)(end - part);
		if (!n)
			return *key ? "has an empty component" : "is empty";
		if (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.')))
			return "has '.' or '..' as a component";
		if (n > KEY_COMPONENT_MAX)
			return "has a component of more than 255 bytes";
		if (!*end) {
			if (end - key > KEY_MAX)
				return "is longer than 1024 bytes";
			return object_dir_key_own(key) ? "belongs to the store itself" : NULL;
		}
		part = end + 1;
	}
}

static int open2(int fd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)flags, .resolve = resolve };
	return (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
}

/* Where openat2 is missing or forbidden: step by step, following no link at all. */
static int open_by_steps(int fd, const char *path, int flags)
{
	_cleanup_(closep) int at = -1;
	char part[KEY_COMPONENT_MAX + 1];
	for (;;) {
		const char *end = strchrnul(path, '/');
		size_t n = (size_t)(end - path);
		if (n > KEY_COMPONENT_MAX) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(part, path, n);
		part[n] = '\0';
		int next = openat(at < 0 ? fd : at, part,
				  *end ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
				       : flags | O_NOFOLLOW);
		if (next < 0 || !*end)
			return next;
		closep(&at);
		at = next;
		path = end + 1;
	}
}

int object_dir_open(struct object_dir *d, const char *path, int flags, bool links)
{
	flags |= O_CLOEXEC;
	if (!d->has_openat2)
		return open_by_steps(d->fd, path, flags);
	return open2(d->fd, path, flags,
		     links ? RESOLVE_BENEATH : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* size-mtime-inode in hex; by hand, as it is part of every read. */
void object_dir_tag(const struct stat *st, char tag[OBJECT_TAG_MAX])
{
	const uint64_t parts[] = {
		(uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec,
		(uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ino,
	};
	char *out = tag;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		char digits[16];
		size_t n = 0;
		uint64_t v = parts[i];
		do {
			digits[n++] = "0123456789abcdef"[v & 15];
			v >>= 4;
		} while (v);
		while (n)
			*out++ = digits[--n];
		*out++ = i + 1 < ARRAY_SIZE(parts) ? '-' : '\0';
	}
}

/* There is no object by that name, whatever else there is. */
static bool means_not_found(int err)
{
	return err == ENOENT || err == ENOTDIR || err == ELOOP || err == EXDEV ||
	       err == ENAMETOOLONG || err == ENXIO;
}

/* Open the object at key and look at it. RC_NOT_FOUND also for a directory. */
static enum rc open_object(struct object_dir *d, const char *key, int flags, struct stat *st,
			   int *fd_r, struct why *why)
{
	const char *fault = object_dir_key_fault(key);
	if (fault)
		return rc_fail(RC_NOT_FOUND, why, "no object '%.300s': the key %s", key, fault);

	if (!(flags & O_PATH))
		flags |= O_NONBLOCK | O_NOCTTY; /* a FIFO would hold us up */
	_cleanup_(closep) int fd = object_dir_open(d, key, flags, true);
	if (fd < 0 && means_not_found(errno) && !object_dir_gone(d))
		return rc_fail(RC_NOT_FOUND, why, "no object '%.300s'", key);
	if (fd < 0 || fstat(fd, st))
		return object_dir_fail(d, errno, why, "read", key);
	if (!S_ISREG(st->st_mode))
		return rc_fail(RC_NOT_FOUND, why, "no object '%.300s': it is not a file", key);
	*fd_r = TAKE_FD(fd);
	return RC_OK;
}

static enum rc get_one(struct object_dir *d, struct object_get *it)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	enum rc rc = open_object(d, it->key, O_RDONLY, &st, &fd, &it->why);
	if (rc != RC_OK)
		return rc;
	if (st.st_size > (off_t)OBJECT_MAX)
		return rc_fail(RC_TOO_LARGE, &it->why,
			       "'%.300s' has %jd bytes, at most %u are read", it->key,
			       (intmax_t)st.st_size, OBJECT_MAX);

	size_t size = (size_t)st.st_size, len = 0;
	_cleanup_(freep) char *buf = malloc(size + 1);
	if (!buf)
		return rc_fail(RC_NO_MEMORY, &it->why, "no memory for '%.300s' (%zu bytes)",
			       it->key, size);
	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return object_dir_fail(d, errno, &it->why, "read", it->key);
		if (!n)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';

	it->buf = TAKE_PTR(buf);
	it->len = len;
	it->recorded_us = object_dir_us(st.st_mtim);
	it->modified_us = object_dir_us(st.st_ctim);
	object_dir_tag(&st, it->tag);
	return RC_OK;
}

struct get_batch {
	struct object_dir *d;
	struct object_get *items;
};

static void get_range(void *arg, size_t from, size_t to)
{
	struct get_batch *b = arg;
	for (size_t i = from; i < to; i++)
		b->items[i].rc = get_one(b->d, &b->items[i]);
}

static void dir_get(struct object_store *s, struct object_get *items, size_t n)
{
	struct get_batch b = { container_of(s, struct object_dir, base), items };
	if (n < PARALLEL_MIN)
		get_range(&b, 0, n);
	else
		pool_run(b.d->pool, n, 8, POOL_THREADS_MAX, get_range, &b);
}

static enum rc dir_stat(struct object_store *s, const char *key, struct object_info *info_r,
			struct why *why)
{
	struct object_dir *d = container_of(s, struct object_dir, base);
	_cleanup_(closep) int fd = -1;
	struct stat st;
	enum rc rc = open_object(d, key, O_PATH, &st, &fd, why);
	if (rc != RC_OK)
		return rc;
	*info_r = (struct object_info){
		.key = key,
		.size = (uint64_t)st.st_size,
		.recorded_us = object_dir_us(st.st_mtim),
		.modified_us = object_dir_us(st.st_ctim),
	};
	return RC_OK;
}

/*
 * The kernel tells each open descriptor of a lost write once. What it lost stays lost, so no later
 * call on this store may claim that everything is durable.
 */
static enum rc dir_sync(struct object_store *s, struct why *why)
{
	struct object_dir *d = container_of(s, struct object_dir, base);
	int err = syncfs(d->fd) ? errno : 0, none = 0;
	if (err)
		atomic_compare_exchange_strong(&d->sync_error, &none, err);
	err = atomic_load(&d->sync_error);
	if (!err)
		return RC_OK;
	return rc_fail(RC_TEMPORARY, why,
		       "cannot sync '%.300s': %s; see to the disk, then open the store again",
		       d->path, strerror(err));
}

static enum rc dir_ready(struct object_store *s, uint64_t bytes, size_t objects, struct why *why)
{
	struct object_dir *d = container_of(s, struct object_dir, base);
	struct stat st;
	if (stat(d->path, &st)) {
		if (errno == ENOENT || errno == ENOTDIR)
			return gone(d, why);
		return object_dir_fail(d, errno, why, "reach", d->path);
	}
	if (st.st_dev != d->dev || st.st_ino != d->ino)
		return gone(d, why);

	struct statvfs fs;
	if (fstatvfs(d->fd, &fs))
		return object_dir_fail(d, errno, why, "look at", d->path);
	if (fs.f_flag & ST_RDONLY)
		return rc_fail(RC_DENIED, why,
			       "the store directory '%.300s' is on a read-only file system",
			       d->path);

	uint64_t need, blocks, avail;
	if (__builtin_mul_overflow((uint64_t)objects, (uint64_t)BLOCK, &blocks) ||
	    __builtin_add_overflow(bytes, blocks, &need) ||
	    __builtin_add_overflow(need, (uint64_t)RESERVE, &need))
		need = UINT64_MAX;
	if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &avail))
		avail = UINT64_MAX;
	if (avail < need)
		return rc_fail(RC_NO_SPACE, why, "'%.300s' has %ju bytes free, %ju are needed",
			       d->path, (uintmax_t)avail, (uintmax_t)need);
	/* some file systems have no count of files: f_files is 0 */
	if (fs.f_files && fs.f_favail < objects)
		return rc_fail(RC_NO_SPACE, why, "'%.300s' has room for %ju files, %zu are needed",
			       d->path, (uintmax_t)fs.f_favail, objects);
	return RC_OK;
}

static void dir_destroy(struct object_store *s)
{
	struct object_dir *d = container_of(s, struct object_dir, base);
	pool_free(&d->pool);
	closep(&d->fd);
	free(d->path);
	free(d);
}

static const struct object_ops dir_ops = {
	.name = "dir",
	.put = object_dir_put_items,
	.get = dir_get,
	.list = object_dir_list_keys,
	.stat = dir_stat,
	.replace = object_dir_put_version,
	.sync = dir_sync,
	.ready = dir_ready,
	.destroy = dir_destroy,
};

static enum rc open_failed(int err, const char *path, struct why *why)
{
	enum rc rc = RC_TEMPORARY;
	if (err == ENOENT || err == ENOTDIR)
		rc = RC_NOT_FOUND;
	else if (err == EACCES || err == EPERM)
		rc = RC_DENIED;
	return rc_fail(rc, why, "cannot open the store directory '%.300s': %s", path,
		       strerror(err));
}

enum rc object_dir_new(struct object_store **out, const char *path, struct why *why)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return open_failed(errno, path, why);
	_cleanup_(freep) char *real = realpath(path, NULL);
	if (!real)
		return open_failed(errno, path, why);

	_cleanup_(pool_freep) struct pool *pool = NULL;
	enum rc rc = pool_new(&pool, why);
	if (rc != RC_OK)
		return rc;
	struct object_dir *d = calloc(1, sizeof(*d));
	if (!d)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a directory store");

	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned first;
	clock_random(&first, sizeof(first));
	d->base.ops = &dir_ops;
	d->fd = TAKE_FD(fd);
	d->path = TAKE_PTR(real);
	d->pool = TAKE_PTR(pool);
	d->dev = st.st_dev;
	d->ino = st.st_ino;
	d->cpus = cpus > 1 ? (unsigned)cpus : 1;
	atomic_init(&d->temp_count, first);

	int probe = open2(d->fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC,
			  RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	d->has_openat2 = probe >= 0;
	closep(&probe);
	object_dir_temp_sweep(d);
	*out = &d->base;
	return RC_OK;
}
