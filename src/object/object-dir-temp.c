/* SPDX-License-Identifier: Apache-2.0 */
/* object-dir-temp.c - files that are not yet objects, and how they become some. */
#include "config.h"
#include "object/object-dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define STALE_US (3600 * INT64_C(1000000)) /* no file is unfinished for so long */
#define FILE_MODE 0644

/* From the last directory up to the first that is there, then down again: mostly only the last is
 * missing. */
int object_dir_temp_make_dirs(struct object_dir *d, const char *path, size_t len)
{
	char at[KEY_MAX + 1];
	if (len > KEY_MAX)
		return ENAMETOOLONG;
	memcpy(at, path, len);
	at[len] = '\0';

	size_t end = len;
	while (mkdirat(d->fd, at, 0777) && errno != EEXIST) {
		char *slash = strrchr(at, '/');
		if (errno != ENOENT || !slash)
			return errno;
		*slash = '\0';
		end = (size_t)(slash - at);
	}
	while (end < len) {
		at[end] = '/';
		end += strlen(at + end);
		if (mkdirat(d->fd, at, 0777) && errno != EEXIST)
			return errno;
	}
	return 0;
}

/* Open in the temporary directory, which is made when missing. */
static int open_in_tmp(struct object_dir *d, const char *name, int flags)
{
	int fd = openat(d->fd, name, flags | O_WRONLY | O_CLOEXEC, FILE_MODE);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	int err = object_dir_temp_make_dirs(d, OBJECT_DIR_TMP, strlen(OBJECT_DIR_TMP));
	if (err) {
		errno = err;
		return -1;
	}
	return openat(d->fd, name, flags | O_WRONLY | O_CLOEXEC, FILE_MODE);
}

static void next_name(struct object_dir *d, char *name, size_t size)
{
	snprintf(name, size, OBJECT_DIR_TMP "/%d-%08x", (int)getpid(),
		 atomic_fetch_add(&d->temp_count, 1));
}

static int link_unnamed(int fd, enum object_dir_how how, int dir_fd, const char *name)
{
	char proc[32];
	if (how == OBJECT_DIR_HOW_UNNAMED)
		return linkat(fd, "", dir_fd, name, AT_EMPTY_PATH) ? errno : 0;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, proc, dir_fd, name, AT_SYMLINK_FOLLOW) ? errno : 0;
}

/*
 * Which way works here is tried once, in the temporary directory, where a failure can mean nothing
 * else: later ENOENT would also be a missing parent.
 */
static int probe(struct object_dir *d, enum object_dir_how *how_r)
{
	*how_r = OBJECT_DIR_HOW_RENAME;
	_cleanup_(closep) int fd = open_in_tmp(d, OBJECT_DIR_TMP, O_TMPFILE);
	if (fd < 0)
		return errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL ? 0 : errno;

	char name[48];
	next_name(d, name, sizeof(name));
	for (enum object_dir_how how = OBJECT_DIR_HOW_UNNAMED; how <= OBJECT_DIR_HOW_PROC; how++) {
		int err = link_unnamed(fd, how, d->fd, name);
		if (err == ENOSPC || err == EDQUOT)
			return err;
		if (!err) {
			unlinkat(d->fd, name, 0);
			*how_r = how;
			return 0;
		}
	}
	return 0;
}

static int find_how(struct object_dir *d, enum object_dir_how *how_r)
{
	*how_r = (enum object_dir_how)atomic_load(&d->how);
	if (*how_r != OBJECT_DIR_HOW_UNKNOWN)
		return 0;
	int err = probe(d, how_r);
	if (!err)
		atomic_store(&d->how, *how_r);
	return err;
}

static int open_temp(struct object_dir_temp *t, bool named)
{
	int err = find_how(t->d, &t->how);
	if (err)
		return err;
	if (!named && t->how <= OBJECT_DIR_HOW_PROC) {
		t->fd = open_in_tmp(t->d, OBJECT_DIR_TMP, O_TMPFILE);
		return t->fd < 0 ? errno : 0;
	}

	/* another process may use our number: in another pid namespace, or before us */
	char name[sizeof(t->name)];
	do {
		next_name(t->d, name, sizeof(name));
		t->fd = open_in_tmp(t->d, name, O_CREAT | O_EXCL);
	} while (t->fd < 0 && errno == EEXIST);
	if (t->fd < 0)
		return errno;
	memcpy(t->name, name, sizeof(name));
	return 0;
}

int object_dir_temp_create(struct object_dir_temp *t, const void *buf, size_t len, bool named)
{
	int err = open_temp(t, named);
	if (err)
		return err;
	for (const char *p = buf; len;) {
		ssize_t n = write(t->fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int object_dir_temp_link(struct object_dir_temp *t, int dir_fd, const char *name)
{
	if (!t->name[0])
		return link_unnamed(t->fd, t->how, dir_fd, name);

	if (t->how != OBJECT_DIR_HOW_LINK) {
		if (!renameat2(t->d->fd, t->name, dir_fd, name, RENAME_NOREPLACE)) {
			t->name[0] = '\0';
			return 0;
		}
		if (errno != EINVAL && errno != ENOSYS)
			return errno;
		t->how = OBJECT_DIR_HOW_LINK;
		atomic_store(&t->d->how, t->how);
	}
	return linkat(t->d->fd, t->name, dir_fd, name, 0) ? errno : 0;
}

int object_dir_temp_rename(struct object_dir_temp *t, int dir_fd, const char *name)
{
	if (renameat(t->d->fd, t->name, dir_fd, name))
		return errno;
	t->name[0] = '\0';
	return 0;
}

void object_dir_temp_release(struct object_dir_temp *t)
{
	closep(&t->fd);
	t->fd = -1;
	if (t->name[0])
		unlinkat(t->d->fd, t->name, 0);
	t->name[0] = '\0';
}

/* PID-COUNT, as next_name makes them. 0: no such name. */
static pid_t owner(const char *name)
{
	int pid = 0, end = 0;
	unsigned count;
	if (sscanf(name, "%d-%8x%n", &pid, &count, &end) != 2 || name[end] || pid < 1)
		return 0;
	return pid;
}

/*
 * A process in another pid namespace looks dead and may lose a file here: its put then fails, and
 * nothing happened. The age is ctime's, as mtime is what the writer said.
 */
void object_dir_temp_sweep(struct object_dir *d)
{
	int fd = object_dir_open(d, OBJECT_DIR_TMP, O_RDONLY | O_DIRECTORY, false);
	if (fd < 0)
		return;
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	for (struct dirent *e; (e = readdir(dir));) {
		pid_t pid = owner(e->d_name);
		struct stat st;
		if (!pid || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if ((kill(pid, 0) && errno == ESRCH) ||
		    clock_wall_us() - object_dir_us(st.st_ctim) > STALE_US)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	closedir(dir);
}
