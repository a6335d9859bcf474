/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Node ids: what the kernel calls things by. They are computed, not remembered (design.md 6). Pure.
 *
 *   1                              the root
 *   row << 30                      a directory; rows from 2^32 are those of fs-young
 *   row << 30 | ordinal            an event
 *   row << 30 | 2^30 - 1023 + i    events.ndjson: one of 50 ids, so that its writers need not wait
 *   2^63 | kind << 59 | value      the control tree, and files that only this mount knows
 */
#ifndef EVFS_FS_NODE_H
#define EVFS_FS_NODE_H

#include <stdint.h>

#include "fs/fs-state.h"

#define FS_NODE_TURNS 50			/* node ids of one events.ndjson */
#define FS_NODE_YOUNG (INT64_C(1) << 32)	/* the first row of fs-young */

enum fs_node_kind {
	FS_NODE_DIR,
	FS_NODE_EVENT,
	FS_NODE_STREAM,
	FS_NODE_FILE, /* fs-file */
	FS_NODE_CONTROL, /* .evfs itself */
	FS_NODE_HEALTH,
	FS_NODE_METRICS,
	FS_NODE_CONFIG,
	FS_NODE_ERRORS,
	FS_NODE_BY_ID,
	FS_NODE_BY_DATE,
	FS_NODE_YEAR,
	FS_NODE_MONTH,
	FS_NODE_DAY, /* value: year * 10000 + month * 100 + day */
	FS_NODE_DATE_LINK,
	FS_NODE_ID_LINK, /* dir, ordinal: the event */
};

struct fs_node {
	enum fs_node_kind kind;
	int64_t dir;		/* the row of the directory, or of the one that it is in */
	uint32_t ordinal;	/* event, links */
	uint64_t value;		/* files: the id; days */
};

void fs_node_parse(fuse_ino_t ino, struct fs_node *out);
fuse_ino_t fs_node_dir(int64_t row);
fuse_ino_t fs_node_event(int64_t row, uint32_t ordinal);
/* turn: 0 to FS_NODE_TURNS - 1. Turn 0 is what stat shows for all. */
fuse_ino_t fs_node_stream(int64_t row, unsigned turn);
unsigned fs_node_turn(const struct fs_node *stream);
fuse_ino_t fs_node_make(enum fs_node_kind kind, uint64_t value);
fuse_ino_t fs_node_link(enum fs_node_kind kind, int64_t row, uint32_t ordinal);

/* True for rows that fs-young gives out. */
static inline bool fs_node_is_young(int64_t row)
{
	return row >= FS_NODE_YOUNG;
}

/* Attributes. The caller's stat is overwritten whole. */
void fs_node_stat_dir(const struct fs *fs, const struct view_dir *d, fuse_ino_t ino,
		      struct stat *out);
void fs_node_stat_event(const struct fs *fs, const struct view_event *e, struct stat *out);
void fs_node_stat_stream(const struct fs *fs, int64_t row, uint64_t size, int64_t mtime_us,
			 struct stat *out);
/* Anything else. */
void fs_node_stat_plain(const struct fs *fs, fuse_ino_t ino, mode_t mode, uint64_t size,
			int64_t mtime_us, struct stat *out);

#endif
