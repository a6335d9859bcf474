/* SPDX-License-Identifier: Apache-2.0 */
/* GETXATTR, LISTXATTR, SETXATTR, REMOVEXATTR (design.md 7). Threads: any. */
#ifndef EVFS_FS_XATTR_H
#define EVFS_FS_XATTR_H

#include "fs/fs-state.h"

void fs_xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fs_xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size);
void fs_xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		  int flags);
void fs_xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
