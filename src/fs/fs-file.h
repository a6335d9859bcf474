/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that only this mount knows: event files while they are written, and private files.
 *
 *   state    is                                   seen by            ends
 *   written  a named event file that CREATE made  its writer         2 s after its last close
 *   private  a name with a leading '.'            all, by name       unlink, rename, 1 h after
 *   renamed  was private, is stored by now        who renamed it     as written
 *   nameless one of them that ended while open    its id             its last close
 *
 * Its node id is never given again; the file is not kept for the kernel's sake. Memory of all
 * contents together is bounded. Threads: every call may come from any thread; a file's content is
 * guarded by its own lock.
 */
#ifndef EVFS_FS_FILE_H
#define EVFS_FS_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/rc.h"

struct fs_files;

struct fs_file {
	uint64_t id;		/* of its node */
	pthread_mutex_t lock;	/* guards the four below */
	struct buf content;	/* private */
	uint64_t size;		/* bytes written to it */
	uint64_t number;	/* of the event that it became last; 0: none yet */
	int64_t mtime_us;
	/* fs-file's own, guarded by the table's lock */
	int64_t dir;
	char *name;
	bool is_private;
	bool nameless;		/* no longer found by name */
	bool gone;		/* nor by id */
	pid_t pid;		/* whose it is: a thread's id */
	unsigned opens, refs;
	uint64_t closed_ms;	/* the last close, while opens is 0 */
	struct fs_file *by_id, *by_name, *older, *newer;
};

#define FS_FILE_MEMORY (64u << 20)	/* what private files may hold together */

enum rc fs_files_new(struct fs_files **out, struct why *why) _must_check_;
void fs_files_free(struct fs_files **t);

/* A new file, opened once. *out: give it back with fs_file_put. RC_NO_SPACE. */
enum rc fs_file_make(struct fs_files *t, int64_t dir, const char *name, bool is_private, pid_t pid,
		     struct fs_file **out, struct why *why) _must_check_;
/* By node id, NULL if it is gone. fs_file_put. */
struct fs_file *fs_file_get(struct fs_files *t, uint64_t id);
/* By name, as pid may see it. NULL if not. fs_file_put. */
struct fs_file *fs_file_find(struct fs_files *t, int64_t dir, const char *name, pid_t pid);
void fs_file_put(struct fs_files *t, struct fs_file *f);

void fs_file_open(struct fs_files *t, struct fs_file *f);
void fs_file_close(struct fs_files *t, struct fs_file *f);

bool fs_file_is_private(struct fs_files *t, struct fs_file *f);
/* Does a name lead to it? */
bool fs_file_has_name(struct fs_files *t, struct fs_file *f);
/* Its directory and a copy of its name, as they are, or last were, now. False: no memory. */
bool fs_file_place(struct fs_files *t, struct fs_file *f, int64_t *dir_r, struct buf *name);

/* Give a private file another private name; a private file of that name goes. RC_NO_MEMORY. */
enum rc fs_file_rename(struct fs_files *t, struct fs_file *f, int64_t dir, const char *name,
		       struct why *why) _must_check_;
/*
 * It is a stored event now, for a moment still known to pid by that name. The caller holds f->lock.
 */
void fs_file_publish(struct fs_files *t, struct fs_file *f, int64_t dir, const char *name,
		     pid_t pid);
/* No name leads to it any more. Who has it open goes on with it, by its id too. */
void fs_file_unlink(struct fs_files *t, struct fs_file *f);

/*
 * Change a private file's content. The caller holds f->lock. RC_NO_SPACE: all together are too
 * large; RC_TOO_LARGE: this one is.
 */
enum rc fs_file_resize(struct fs_files *t, struct fs_file *f, uint64_t size, uint64_t max,
		       struct why *why) _must_check_;
enum rc fs_file_write(struct fs_files *t, struct fs_file *f, const char *data, size_t len,
		      uint64_t at, uint64_t max, struct why *why) _must_check_;

#endif
