/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store as a filesystem (design.md 6, 7). Translates, decides nothing.
 *
 * Order of use: fs_check, fs_new, fs_mount, fs_serve (blocks), fs_unmount, fs_free. The store
 * outlives it. Threads: fs_stop from any; all else from the one that serves. fork comes before
 * fs_new.
 */
#ifndef EVFS_FS_FS_H
#define EVFS_FS_FS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "store/store.h"

struct fs;

struct fs_options {
	const char *source;	/* what df and mount show: the store. Copied */
	unsigned max_threads;	/* how many requests are served at once */
	bool allow_other;	/* other users may use it, by its permissions */
	bool list_streams;	/* list events.ndjson in its directory */
	bool debug;		/* libfuse's own trace on stderr */
	const char *metrics;	/* where metrics and health are served (monitor/monitor.h); NULL: nowhere */
	/* Append the text of .evfs/config. May be NULL. Any thread. */
	void (*config)(void *arg, struct buf *out);
	void *config_arg;
	/*
	 * Called once, when the mount answers; or, with the reason, when it does not. Any thread.
	 */
	void (*ready)(void *arg, enum rc rc, const struct why *why);
	void *ready_arg;
};

/*
 * Can this directory be mounted on? RC_NOT_FOUND: no such directory. RC_INVALID: no directory, or
 * it holds the store, or lies in it. RC_EXISTS: something is mounted there. RC_CORRUPT: a mount
 * whose server is gone; why gives the line that clears it.
 */
enum rc fs_check(const char *mountpoint, const char *store, struct why *why) _must_check_;

/* Serves metrics from here on: RC_INVALID, RC_EXISTS, RC_DENIED as monitor_new. */
enum rc fs_new(struct fs **out, struct store *store, const struct fs_options *options,
	       struct why *why) _must_check_;
void fs_free(struct fs **fs);
static inline void fs_freep(struct fs **fs)
{
	fs_free(fs);
}

/*
 * As root by mount(2), otherwise by fusermount3. RC_DENIED: the kernel or fusermount3 refused; it
 * has said why on stderr.
 */
enum rc fs_mount(struct fs *fs, const char *mountpoint, struct why *why) _must_check_;

/* Serve until fs_stop or an unmount. What was begun is finished before it returns. */
enum rc fs_serve(struct fs *fs, struct why *why) _must_check_;

/* End fs_serve. */
void fs_stop(struct fs *fs);

/* Take the mount away, if it is still there. */
void fs_unmount(struct fs *fs);

/* "libfuse 3.14.0" */
const char *fs_version(void);

#endif
