/* SPDX-License-Identifier: Apache-2.0 */
/* Answering a request with an errno, and saying why. Threads: any. */
#ifndef EVFS_FS_REFUSE_H
#define EVFS_FS_REFUSE_H

#include "fs/fs-state.h"

struct fs_failure;

/*
 * Answer err; path is dir's with name behind it (NULL: none). Remembered in .evfs/errors and
 * logged.
 */
void fs_refuse(fuse_req_t req, int64_t dir, const char *name, int err, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* The same for a result of a lower layer that stood in the way of a change. */
void fs_refuse_change(fuse_req_t req, int64_t dir, const char *name, enum rc rc,
		      const struct why *why);

/* Answer what reading came to: nothing is remembered; logged unless it is "not found". */
void fs_refuse_read(fuse_req_t req, const char *operation, enum rc rc, const struct why *why);

/* True, and answered EROFS with the reason, if nothing can be changed here. */
bool fs_refuse_read_only(fuse_req_t req, int64_t dir, const char *name);

/* Remember f, with time and path filled in, and count it for operation. */
void fs_refuse_note(struct fs *fs, const struct fuse_ctx *ctx, int64_t dir, const char *name,
		    struct fs_failure *f);

#endif
