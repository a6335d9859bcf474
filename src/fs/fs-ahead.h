/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First pages of listings, made ahead: who lists one directory after another in their parent's
 * order (find, ls -R, du) finds the next ones refreshed and written out. A page is told only if the
 * directory, refreshed as always, is still as it was then. Memory is bounded. Threads: every call
 * may come from any thread; it has some of its own.
 */
#ifndef EVFS_FS_AHEAD_H
#define EVFS_FS_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/fs-state.h"

struct fs_ahead;

#define FS_AHEAD_SIZE (32u << 10)	/* what getdents of the C library asks for */

/* What the kernel gets for a directory's first READDIRPLUS. */
struct fs_ahead_page {
	uint64_t print;		/* fs_kept_print of what it was like */
	bool sparing;		/* its events are without attributes */
	off_t end;		/* behind its last entry; 0: there is more */
	size_t used;
	char data[FS_AHEAD_SIZE];
};

enum rc fs_ahead_new(struct fs_ahead **out, struct fs *fs, struct why *why) _must_check_;
/* Waits for its threads. NULL is fine. */
void fs_ahead_free(struct fs_ahead **a);

/* Before a directory is refreshed to be listed: wait while its page is being made. */
void fs_ahead_wait(struct fs *fs, int64_t row);
/* A directory is being listed: those behind it may be next. */
void fs_ahead_saw(struct fs *fs, int64_t row, int64_t parent);
/* Its page, if there is one and it is like this and no larger than size; it is gone then. */
bool fs_ahead_take(struct fs *fs, int64_t row, uint64_t print, bool sparing, char *data, size_t size,
		   size_t *used_r, off_t *end_r);

#endif
