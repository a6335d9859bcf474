/* SPDX-License-Identifier: Apache-2.0 */
/* Every stream below a directory, one after the other. Threads: none. */
#ifndef EVFS_TOOLS_WALK_H
#define EVFS_TOOLS_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "store/view.h"

/* Told of a stream, refreshed. Anything but RC_OK ends the walk. */
typedef enum rc walk_stream_fn(void *arg, const struct view_dir *stream, struct why *why);

/* Tell fn of the stream that dir is, and of those below it, in the order of the view. */
enum rc walk_streams(struct view *v, const struct view_dir *dir, walk_stream_fn *fn, void *arg,
		     struct why *why) _must_check_;

/*
 * Hand the lines of a stream's events with numbers from … to (compact, newline each) to fn, some
 * at a time. fn returns false to stop; RC_OK also then.
 */
typedef bool walk_lines_fn(void *arg, const struct buf *lines);
enum rc walk_lines(struct view *v, const struct view_dir *stream, uint64_t from, uint64_t to,
		   walk_lines_fn *fn, void *arg, struct why *why) _must_check_;

#endif
