/* SPDX-License-Identifier: Apache-2.0 */
/* OPENDIR, READDIR, READDIRPLUS, and whether their attributes are of use. Threads: any. */
#ifndef EVFS_FS_DIR_H
#define EVFS_FS_DIR_H

#include "fs/fs-state.h"

enum rc fs_dirs_new(struct fs_dirs **out, struct why *why) _must_check_;
void fs_dirs_free(struct fs_dirs **d);

void fs_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi);

struct fs_ahead_page;
/* Make a directory's first page. False: it must be made when it is asked for. */
bool fs_dir_prepare(struct fs *fs, int64_t row, struct fs_ahead_page *out);

/* LOOKUP, on its way to fs_lookup: names that are looked up one by one want attributes. */
void fs_dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);

/* A page of entries on its way to the kernel. */
struct fs_dir_page {
	fuse_req_t req;
	char *data;
	size_t size, used;
	bool plus;
	off_t last;	/* where a listing goes on behind the last entry added; 0: none */
};
/* False: the page is full. next: the offset at which a listing goes on behind this entry. */
bool fs_dir_page_add(struct fs_dir_page *p, const char *name, const struct fuse_entry_param *e,
		     off_t next);

#endif
