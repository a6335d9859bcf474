/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control tree /.evfs (design.md 7): health.json, metrics, config, errors,
 * by-id/<event_id>.json, by-date/YYYY/MM/DD/…. What by-id and by-date hold are symbolic links to
 * the events. Threads: any.
 */
#ifndef EVFS_FS_CONTROL_H
#define EVFS_FS_CONTROL_H

#include "fs/fs-dir.h"
#include "fs/fs-node.h"
#include "fs/fs-state.h"

struct fs_handle;

/* at NULL: the tree itself. */
void fs_control_lookup(fuse_req_t req, const struct fs_node *at, const char *name);
void fs_control_getattr(fuse_req_t req, fuse_ino_t ino, const struct fs_node *at);
enum rc fs_control_list(struct fs_dir_page *page, const struct fs_node *at, off_t off,
			struct why *why) _must_check_;
void fs_control_open(fuse_req_t req, const struct fs_node *at, struct fuse_file_info *fi);
void fs_control_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void fs_control_readlink(fuse_req_t req, fuse_ino_t ino);

#endif
