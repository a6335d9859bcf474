/* SPDX-License-Identifier: Apache-2.0 */
/* fs-place.c - directories as requests name them. */
#include "config.h"
#include "fs/fs-place.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/name.h"
#include "fs/fs-node.h"
#include "fs/fs-young.h"

enum rc fs_place_row(struct fs *fs, int64_t dir, int64_t *row_r, struct why *why)
{
	struct fs_young_dir y;
	struct view_dir d;
	int64_t parent = 0;
	*row_r = dir;
	if (!fs_node_is_young(dir))
		return RC_OK;
	if (!fs_young_get(fs->young, dir, &y))
		return rc_fail(RC_NOT_FOUND, why, "the directory is gone");
	*row_r = y.real;
	if (y.real)
		return RC_OK;
	/* another mount, or an append through this one, may have made it */
	enum rc rc = fs_place_row(fs, y.parent, &parent, why);
	if (rc != RC_OK || !parent)
		return rc;
	rc = view_lookup_dir(fs->view, parent, y.name, &d, why);
	if (rc == RC_NOT_FOUND)
		return RC_OK;
	if (rc != RC_OK)
		return rc;
	fs_young_born(fs->young, dir, d.row);
	*row_r = d.row;
	return RC_OK;
}

enum rc fs_place_get(struct fs *fs, int64_t dir, bool refresh, struct view_dir *out,
		     struct why *why)
{
	int64_t row;
	struct fs_young_dir y;
	enum rc rc = fs_place_row(fs, dir, &row, why);
	/* a young one is ours, whatever the store knows */
	if (rc != RC_OK && !(rc == RC_TEMPORARY && fs_node_is_young(dir)))
		return rc;
	if (row)
		return view_get_dir(fs->view, row, refresh, out, why);
	if (!fs_young_get(fs->young, dir, &y))
		return rc_fail(RC_NOT_FOUND, why, "the directory is gone");
	*out = (struct view_dir){ .depth = y.depth, .mtime_us = y.made_us, .ctime_us = y.made_us };
	snprintf(out->name, sizeof(out->name), "%s", y.name);
	return RC_OK;
}

static enum rc decode(const char *name, struct buf *out, struct why *why)
{
	enum rc rc = name_decode(name, strlen(name), out, why);
	return rc == RC_OK && buf_failed(out) ? rc_fail(RC_NO_MEMORY, why, "out of memory") : rc;
}

enum rc fs_place_stream(struct fs *fs, int64_t dir, struct buf *type, struct buf *id,
			struct why *why)
{
	struct fs_young_dir y;
	struct view_dir up;
	if (!fs_node_is_young(dir))
		return view_stream_of(fs->view, dir, type, id, why);
	if (!fs_young_get(fs->young, dir, &y))
		return rc_fail(RC_NOT_FOUND, why, "the directory is gone");
	if (y.depth < 2)
		return rc_fail(RC_INVALID, why, "'%s' is an aggregate type; events are in TYPE/ID/",
			       y.name);
	if (y.depth > 2) {
		enum rc rc = fs_place_stream(fs, y.parent, type, id, why);
		if (rc != RC_OK)
			return rc;
		buf_add_char(id, '/');
		return decode(y.name, id, why);
	}
	enum rc rc = fs_place_get(fs, y.parent, false, &up, why);
	if (rc == RC_OK)
		rc = decode(up.name, type, why);
	return rc == RC_OK ? decode(y.name, id, why) : rc;
}

/* Its name and where it is, whatever kind of row it has. */
static bool step(struct fs *fs, int64_t dir, char name[256], int64_t *parent)
{
	struct fs_young_dir y;
	struct view_dir d;
	if (fs_young_get(fs->young, dir, &y)) {
		snprintf(name, 256, "%s", y.name);
		*parent = y.parent;
		return true;
	}
	if (fs_node_is_young(dir) || view_get_dir(fs->view, dir, false, &d, NULL) != RC_OK)
		return false;
	snprintf(name, 256, "%s", d.name);
	*parent = d.parent;
	return true;
}

static void add_path(struct fs *fs, int64_t dir, struct buf *out)
{
	char name[256];
	int64_t parent;
	if (dir == VIEW_ROOT || out->len > 4096)
		return;
	if (!step(fs, dir, name, &parent)) {
		buf_add_text(out, "?");
		return;
	}
	add_path(fs, parent, out);
	if (out->len)
		buf_add_char(out, '/');
	buf_add_text(out, name);
}

void fs_place_path(struct fs *fs, int64_t dir, const char *name, struct buf *out)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	add_path(fs, dir, &path);
	if (name && path.len)
		buf_add_char(&path, '/');
	if (name)
		buf_add_text(&path, name);
	buf_add(out, buf_text(&path), path.len);
}
