/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places in a store as the mount shows them: "Order/o-42". Pure but for place_find.
 */
#ifndef EVFS_TOOLS_PLACE_H
#define EVFS_TOOLS_PLACE_H

#include "base/buf.h"
#include "base/rc.h"
#include "store/view.h"

/*
 * Append type and id of the stream at path. "/" at its ends, "events.ndjson" behind it do no harm.
 * RC_INVALID: not TYPE/ID, or not what the mount would show.
 */
enum rc place_stream(const char *path, struct buf *type, struct buf *id, struct why *why)
	_must_check_;
/* Append the path of a stream. */
void place_print(const char *type, const char *id, struct buf *out);

/*
 * The directory at path ("": the root), refreshed. *rest_r: NULL, or the last component, which is
 * no directory's name (it points into path), or, RC_TEMPORARY, perhaps. RC_NOT_FOUND: a component before it is none.
 */
enum rc place_find(struct view *v, const char *path, struct view_dir *out, const char **rest_r,
		   struct why *why) _must_check_;

#endif
