/* SPDX-License-Identifier: Apache-2.0 */
/* fs-mount.c - where to mount, and mounting. */
#include "config.h"
#include "fs/fs-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Is path the directory dir, or below it? Both are real paths. */
static bool is_within(const char *path, const char *dir)
{
	size_t len = strlen(dir);
	while (len > 1 && dir[len - 1] == '/')
		len--;
	return !strncmp(path, dir, len) && (len == 1 || !path[len] || path[len] == '/');
}

static enum rc check_apart(const char *mountpoint, const char *store, struct why *why)
{
	_cleanup_(freep) char *m = realpath(mountpoint, NULL), *s = realpath(store, NULL);
	if (!m || !s)	/* opening the store says it better */
		return RC_OK;
	if (is_within(s, m))
		return rc_fail(RC_INVALID, why,
			       "the mount at '%.200s' would hide the store '%.200s'", mountpoint,
			       store);
	if (is_within(m, s))
		return rc_fail(RC_INVALID, why,
			       "the mountpoint '%.200s' lies in the store '%.200s'", mountpoint,
			       store);
	return RC_OK;
}

enum rc fs_check(const char *mountpoint, const char *store, struct why *why)
{
	struct statx st;
	/* not from the kernel's cache, which knows a mount for a while after its server is gone */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_FORCE_SYNC, STATX_TYPE, &st)) {
		switch (errno) {
		case ENOENT:
			return rc_fail(RC_NOT_FOUND, why, "no such directory '%.300s' to mount on",
				       mountpoint);
		case ENOTCONN:
			return rc_fail(
				RC_CORRUPT, why,
				"'%.150s' is the mount of a server that is gone; clear it with: "
				"fusermount3 -uz '%.150s'",
				mountpoint, mountpoint);
		case ENOTDIR:
			return rc_fail(RC_INVALID, why, "'%.300s' is not a directory", mountpoint);
		default:
			return rc_fail(RC_DENIED, why, "cannot look at the mountpoint '%.300s': %s",
				       mountpoint, strerror(errno));
		}
	}
	if (!S_ISDIR(st.stx_mode))
		return rc_fail(RC_INVALID, why, "'%.300s' is not a directory", mountpoint);
	if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return rc_fail(RC_EXISTS, why, "something is mounted at '%.300s' already",
			       mountpoint);
	return check_apart(mountpoint, store, why);
}

/* The first line with content, for the reason. */
static void first_line(int fd, char *out, size_t size)
{
	ssize_t n = pread(fd, out, size - 1, 0);
	out[n > 0 ? n : 0] = '\0';
	char *start = out + strspn(out, "\n");
	start[strcspn(start, "\n")] = '\0';
	memmove(out, start, strlen(start) + 1);
}

enum rc fs_mount_session(struct fuse_session *session, const char *mountpoint, struct why *why)
{
	char said[300] = "";
	_cleanup_(closep) int messages = memfd_create("messages", MFD_CLOEXEC);
	_cleanup_(closep) int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	/* libfuse and fusermount3 explain themselves on stderr only */
	bool capture = messages >= 0 && before >= 0 && dup2(messages, STDERR_FILENO) >= 0;
	int err = fuse_session_mount(session, mountpoint);
	if (capture)
		dup2(before, STDERR_FILENO);
	if (!err)
		return RC_OK;
	if (capture)
		first_line(messages, said, sizeof(said));
	return rc_fail(RC_DENIED, why, "cannot mount at '%.150s': %s", mountpoint,
		       *said ? said : "libfuse failed");
}
