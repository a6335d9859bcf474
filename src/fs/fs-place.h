/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories as requests name them: by the view's row, or by a young one (fs-young) that may have
 * become one of the view's. Threads: every call may come from any thread.
 */
#ifndef EVFS_FS_PLACE_H
#define EVFS_FS_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "fs/fs-state.h"

/*
 * The view's row of a directory; 0: it is young and the store does not know it yet. RC_NOT_FOUND:
 * there is no such directory.
 */
enum rc fs_place_row(struct fs *fs, int64_t dir, int64_t *row_r, struct why *why) _must_check_;

/*
 * What is known of it; out->row is 0 where the store does not know it yet. refresh: as
 * view_get_dir.
 */
enum rc fs_place_get(struct fs *fs, int64_t dir, bool refresh, struct view_dir *out,
		     struct why *why) _must_check_;

/* The stream whose directory it is, or would be. RC_INVALID: the root, or a type's directory. */
enum rc fs_place_stream(struct fs *fs, int64_t dir, struct buf *type, struct buf *id,
			struct why *why) _must_check_;

/*
 * Append the path from the mount's root, "" for the root itself, and "/name" behind it if name is
 * not NULL.
 */
void fs_place_path(struct fs *fs, int64_t dir, const char *name, struct buf *out);

#endif
