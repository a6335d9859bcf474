/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting, with reasons. fs_check (fs.h) is here too. */
#ifndef EVFS_FS_MOUNT_H
#define EVFS_FS_MOUNT_H

#include "fs/fs-state.h"

/* fuse_session_mount, with what it and fusermount3 print as the reason. RC_DENIED. */
enum rc fs_mount_session(struct fuse_session *session, const char *mountpoint, struct why *why)
	_must_check_;

#endif
