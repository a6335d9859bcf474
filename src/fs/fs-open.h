/* SPDX-License-Identifier: Apache-2.0 */
/* OPEN, CREATE, READ. Threads: any. */
#ifndef EVFS_FS_OPEN_H
#define EVFS_FS_OPEN_H

#include "fs/fs-state.h"

void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_open_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		    struct fuse_file_info *fi);
void fs_open_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		  struct fuse_file_info *fi);

#endif
