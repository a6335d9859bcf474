/* SPDX-License-Identifier: Apache-2.0 */
/* object-dir-put.c - new objects and new versions of the few mutable ones. */
#include "config.h"
#include "object/object-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"

#define PARALLEL_MIN 16 /* smaller batches are done before a thread wakes up */
#define STEP 16 /* items that a thread takes at a time: neighbours share a parent */
#define TRIES 3 /* a directory that we made may be removed again before it is used */

/* The directory of the last key, kept open: the next key is often its neighbour. */
struct parent {
	int fd; /* -1: none */
	size_t len;
	char path[KEY_MAX + 1];
};

static void parent_release(struct parent *p)
{
	closep(&p->fd);
	p->fd = -1;
}

/* *fd_r stays ours. ENOENT: there is no such directory. */
static int parent_open(struct object_dir *d, struct parent *p, const char *key, size_t len,
		       int *fd_r)
{
	if (!len) {
		*fd_r = d->fd;
		return 0;
	}
	if (p->fd < 0 || p->len != len || memcmp(p->path, key, len)) {
		parent_release(p);
		memcpy(p->path, key, len);
		p->path[len] = '\0';
		p->len = len;
		p->fd = object_dir_open(d, p->path, O_PATH | O_DIRECTORY, false);
		if (p->fd < 0)
			return errno;
	}
	*fd_r = p->fd;
	return 0;
}

static struct timespec timespec_of(int64_t us)
{
	int64_t sec = us / 1000000, rest = us % 1000000;
	if (rest < 0) {
		sec--;
		rest += 1000000;
	}
	return (struct timespec){ .tv_sec = sec, .tv_nsec = (long)rest * 1000 };
}

static int set_mtime(int fd, struct timespec mtime)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, mtime };
	return futimens(fd, times) ? errno : 0;
}

static bool is_directory(int dir_fd, const char *name)
{
	struct stat st;
	return !fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
}

static enum rc link_failed(struct object_dir *d, int err, int dir_fd, const char *key,
			   const char *name, struct why *why)
{
	if (err != EEXIST)
		return object_dir_fail(d, err, why, "store", key);
	if (is_directory(dir_fd, name))
		return rc_fail(RC_INVALID, why, "cannot store '%.300s': it is a directory", key);
	return rc_fail(RC_EXISTS, why, "the key '%.300s' is taken", key);
}

/* Let the complete file appear under key. */
static enum rc publish(struct object_dir_temp *t, struct parent *p, const char *key,
		       uint64_t deadline_ms, struct why *why)
{
	struct object_dir *d = t->d;
	const char *slash = strrchr(key, '/');
	const char *name = slash ? slash + 1 : key;
	size_t len = slash ? (size_t)(slash - key) : 0;
	int err = 0;

	for (int i = 0; i < TRIES; i++) {
		int dir_fd = -1;
		err = parent_open(d, p, key, len, &dir_fd);
		if (err == ENOENT) {
			err = object_dir_temp_make_dirs(d, key, len);
			if (err)
				break;
			continue;
		}
		if (err)
			break;

		FAILPOINT("object-put-written");
		if (deadline_ms && clock_boot_ms() >= deadline_ms)
			return rc_fail(RC_TEMPORARY, why,
				       "cannot store '%.300s': the time for it is over", key);
		err = object_dir_temp_link(t, dir_fd, name);
		if (!err)
			return RC_OK;
		if (err != ENOENT)
			return link_failed(d, err, dir_fd, key, name, why);
		parent_release(p); /* it was removed while we held it */
	}
	/* after the last try a directory that vanished again is a reason too */
	return object_dir_fail(d, err ? err : ENOENT, why, "store", key);
}

static enum rc put_one(struct object_dir *d, struct object_put *it, struct parent *p,
		       uint64_t deadline_ms)
{
	const char *fault = object_dir_key_fault(it->key);
	if (fault)
		return rc_fail(RC_INVALID, &it->why, "cannot store '%.300s': the key %s", it->key,
			       fault);
	if (it->len > OBJECT_MAX)
		return rc_fail(RC_TOO_LARGE, &it->why,
			       "cannot store '%.300s': it has %zu bytes, at most %u are read again",
			       it->key, it->len, OBJECT_MAX);

	FAILPOINT("object-put-before");
	_cleanup_(object_dir_temp_release) struct object_dir_temp t = OBJECT_DIR_TEMP_INIT(d);
	int err = object_dir_temp_create(&t, it->buf, it->len, false);
	if (!err && it->recorded_us)
		err = set_mtime(t.fd, timespec_of(it->recorded_us));
	if (err)
		return object_dir_fail(d, err, &it->why, "store", it->key);

	enum rc rc = publish(&t, p, it->key, deadline_ms, &it->why);
	if (rc == RC_OK)
		FAILPOINT("object-put-after");
	return rc;
}

struct put_batch {
	struct object_dir *d;
	struct object_put *items;
	uint64_t deadline_ms;
};

static void put_range(void *arg, size_t from, size_t to)
{
	struct put_batch *b = arg;
	_cleanup_(parent_release) struct parent p;
	p.fd = -1; /* no initialiser: it would clear a kilobyte */
	for (size_t i = from; i < to; i++)
		b->items[i].rc = put_one(b->d, &b->items[i], &p, b->deadline_ms);
}

void object_dir_put_items(struct object_store *s, struct object_put *items, size_t n,
			  uint64_t deadline_ms)
{
	struct put_batch b = { container_of(s, struct object_dir, base), items, deadline_ms };
	if (n < PARALLEL_MIN || b.d->cpus < 2)
		put_range(&b, 0, n);
	else
		pool_run(b.d->pool, n, STEP, b.d->cpus, put_range, &b);
}

/* Versions are compared and put in place under this lock, by whatever process. */
static int lock_versions(struct object_dir *d, int *fd_r)
{
	int flags = O_RDONLY | O_CREAT | O_CLOEXEC;
	_cleanup_(closep) int fd = openat(d->fd, OBJECT_DIR_LOCK, flags, 0644);
	if (fd < 0 && errno == ENOENT) {
		int err = object_dir_temp_make_dirs(d, OBJECT_DIR_TMP, strlen(OBJECT_DIR_TMP));
		if (err)
			return err;
		fd = openat(d->fd, OBJECT_DIR_LOCK, flags, 0644);
	}
	if (fd < 0)
		return errno;
	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			return errno;
	*fd_r = TAKE_FD(fd);
	return 0;
}

/* The version that is there, if it is the one with this tag (NULL: none). */
static enum rc check_version(struct object_dir *d, const char *key, const char *tag,
			     struct stat *st, struct why *why)
{
	_cleanup_(closep) int fd = object_dir_open(d, key, O_PATH, false);
	if (fd < 0 && errno != ENOENT)
		return object_dir_fail(d, errno, why, "replace", key);
	if (fd < 0) {
		if (tag)
			return rc_fail(RC_CONFLICT, why, "'%.300s' is not there any more", key);
		return RC_OK;
	}
	if (fstat(fd, st))
		return object_dir_fail(d, errno, why, "replace", key);
	if (!S_ISREG(st->st_mode))
		return rc_fail(RC_INVALID, why, "cannot replace '%.300s': it is not a file", key);
	char found[OBJECT_TAG_MAX];
	object_dir_tag(st, found);
	if (!tag)
		return rc_fail(RC_CONFLICT, why, "'%.300s' is there already", key);
	if (strcmp(tag, found))
		return rc_fail(RC_CONFLICT, why,
			       "'%.300s' was changed: expected version %s, found %s", key, tag,
			       found);
	return RC_OK;
}

/* The time of a new version: now, but never that of the one before, as the tag lives on it (an
 * inode may come back). */
static struct timespec version_time(const struct stat *before)
{
	struct timespec now = timespec_of(clock_wall_us());
	const struct timespec *old = &before->st_mtim;
	if (now.tv_sec > old->tv_sec || (now.tv_sec == old->tv_sec && now.tv_nsec > old->tv_nsec))
		return now;
	if (old->tv_nsec == 999999999)
		return (struct timespec){ .tv_sec = old->tv_sec + 1 };
	return (struct timespec){ .tv_sec = old->tv_sec, .tv_nsec = old->tv_nsec + 1 };
}

/* Make the name durable: its directory, and those above it, which may be new. */
static int sync_parents(struct object_dir *d, const char *key)
{
	char path[KEY_MAX + 1];
	memcpy(path, key, strlen(key) + 1);
	for (char *slash; (slash = strrchr(path, '/'));) {
		*slash = '\0';
		_cleanup_(closep) int fd = object_dir_open(d, path, O_RDONLY | O_DIRECTORY, false);
		if (fd < 0 || fsync(fd))
			return errno;
	}
	return fsync(d->fd) ? errno : 0;
}

/* Put the synced file in the place of the version that was checked. */
static enum rc place(struct object_dir_temp *t, const char *key, bool replaces, struct why *why)
{
	_cleanup_(parent_release) struct parent p;
	p.fd = -1;
	if (!replaces) {
		enum rc rc = publish(t, &p, key, 0, why);
		return rc == RC_EXISTS ? RC_CONFLICT : rc;
	}
	const char *slash = strrchr(key, '/');
	int dir_fd = -1, err = parent_open(t->d, &p, key, slash ? (size_t)(slash - key) : 0, &dir_fd);
	if (!err)
		err = object_dir_temp_rename(t, dir_fd, slash ? slash + 1 : key);
	return err ? object_dir_fail(t->d, err, why, "replace", key) : RC_OK;
}

enum rc object_dir_put_version(struct object_store *s, const char *key, const void *buf, size_t len,
			       const char *tag, char new_tag[OBJECT_TAG_MAX], struct why *why)
{
	struct object_dir *d = container_of(s, struct object_dir, base);
	const char *fault = object_dir_key_fault(key);
	if (fault)
		return rc_fail(RC_INVALID, why, "cannot replace '%.300s': the key %s", key, fault);
	if (len > OBJECT_MAX)
		return rc_fail(RC_TOO_LARGE, why,
			       "cannot replace '%.300s': %zu bytes, at most %u are read again", key,
			       len, OBJECT_MAX);

	_cleanup_(closep) int lock = -1;
	int err = lock_versions(d, &lock);
	if (err)
		return object_dir_fail(d, err, why, "lock the store for", key);
	struct stat st = { .st_size = 0 };
	enum rc rc = check_version(d, key, tag, &st, why);
	if (rc != RC_OK)
		return rc;

	_cleanup_(object_dir_temp_release) struct object_dir_temp t = OBJECT_DIR_TEMP_INIT(d);
	err = object_dir_temp_create(&t, buf, len, tag != NULL);
	if (!err)
		err = set_mtime(t.fd, version_time(&st));
	if (!err && (fsync(t.fd) || fstat(t.fd, &st)))
		err = errno;
	if (err)
		return object_dir_fail(d, err, why, "replace", key);

	rc = place(&t, key, tag != NULL, why);
	if (rc != RC_OK)
		return rc;
	err = sync_parents(d, key);
	if (err)
		return rc_fail(RC_UNCERTAIN, why, "'%.300s' was written, but may not last: %s", key,
			       strerror(err));
	if (new_tag)
		object_dir_tag(&st, new_tag);
	return RC_OK;
}
