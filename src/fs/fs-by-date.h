/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /.evfs/by-date/YYYY/MM/DD/HHMMSS.ffffff_<event_id>.json: events by their recorded time (UTC), as
 * links. Threads: any.
 */
#ifndef EVFS_FS_BY_DATE_H
#define EVFS_FS_BY_DATE_H

#include "fs/fs-dir.h"
#include "fs/fs-node.h"
#include "fs/fs-state.h"

void fs_by_date_lookup(fuse_req_t req, const struct fs_node *at, const char *name);
enum rc fs_by_date_list(struct fs_dir_page *page, const struct fs_node *at, off_t off,
			struct why *why) _must_check_;

/* A link to an event, of either kind. */
void fs_by_date_reply_link(fuse_req_t req, enum fs_node_kind kind, const struct view_event *event);
void fs_by_date_getattr_link(fuse_req_t req, fuse_ino_t ino, const struct fs_node *at);

#endif
