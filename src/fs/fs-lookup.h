/* SPDX-License-Identifier: Apache-2.0 */
/* LOOKUP, GETATTR, SETATTR, FORGET, STATFS. Threads: any. */
#ifndef EVFS_FS_LOOKUP_H
#define EVFS_FS_LOOKUP_H

#include "fs/fs-state.h"

struct fs_file;

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_lookup_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_lookup_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi);
void fs_lookup_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups);
void fs_lookup_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void fs_lookup_statfs(fuse_req_t req, fuse_ino_t ino);

/* How the kernel may keep what a listing or a lookup tells. */
/* dir: its row as the kernel knows it. */
void fs_lookup_entry_dir(struct fs *fs, const struct view_dir *d, int64_t dir,
			 struct fuse_entry_param *out);
void fs_lookup_entry_event(struct fs *fs, const struct view_event *e, struct fuse_entry_param *out);
void fs_lookup_entry_file(struct fs *fs, struct fs_file *f, struct fuse_entry_param *out);

/* Size and time of events.ndjson as the store has it now. */
enum rc fs_lookup_stream(struct fs *fs, int64_t dir, bool refresh, uint64_t *size_r,
			 int64_t *mtime_us_r, struct why *why) _must_check_;

#endif
