/* SPDX-License-Identifier: Apache-2.0 */
/* MKDIR, RMDIR, UNLINK, RENAME, and what is always refused. Threads: any. */
#ifndef EVFS_FS_CHANGE_H
#define EVFS_FS_CHANGE_H

#include "fs/fs-state.h"

void fs_change_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_change_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_change_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_change_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags);
void fs_change_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void fs_change_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void fs_change_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev);

#endif
