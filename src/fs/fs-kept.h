/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel keeps of directories: their attributes for a while, their listings until it is
 * told that they changed. There is no OPENDIR: where a listing begins, and the attributes are no
 * longer fresh, the kernel asks for those (GETATTR); the answer drops a listing that changed.
 * Memory is bounded: of what was pushed out the kernel is told to drop all, once more than needed.
 * dir is the directory's row as the kernel knows it. Threads: every call may come from any thread.
 */
#ifndef EVFS_FS_KEPT_H
#define EVFS_FS_KEPT_H

#include <stdbool.h>

#include "fs/fs-state.h"

struct fs_kept;

enum rc fs_kept_new(struct fs_kept **out, struct why *why) _must_check_;
void fs_kept_free(struct fs_kept **k);

/* Equal where a directory's listing is. */
uint64_t fs_kept_print(struct fs *fs, const struct view_dir *d);

/* For how long, in seconds, may attributes be kept that come with a name, and without a refresh? */
double fs_kept_entry(struct fs *fs, int64_t dir);
/* A directory's attributes are about to be read, to be told: an append from here on is told, too. Gives the time. */
uint64_t fs_kept_ask(struct fs *fs, int64_t dir);
/*
 * They are these, just refreshed: a listing of what it was like before is dropped. For how long, in
 * seconds, may they be kept?
 */
double fs_kept_told(struct fs *fs, int64_t dir, const struct view_dir *d, uint64_t start_ms);
/* This mount appended to it: what the kernel has is asked for again. */
void fs_kept_appended(struct fs *fs, int64_t dir);
/* Drop the listing of whatever directory this is. */
void fs_kept_drop(struct fs *fs, fuse_ino_t ino);

/* A listing begins: before it is asked what the directory is like, and then. Gives its print. */
void fs_kept_begin(struct fs *fs, int64_t dir);
uint64_t fs_kept_list(struct fs *fs, int64_t dir, const struct view_dir *d);
/* Some of it was told without attributes: who looks up many of its names had better list it anew. */
void fs_kept_plain(struct fs *fs, int64_t dir);
void fs_kept_looked_up(struct fs *fs, int64_t dir);
/* Behind this offset there was nothing more, when it was like this. */
void fs_kept_end(struct fs *fs, int64_t dir, uint64_t print, off_t end);
bool fs_kept_is_end(struct fs *fs, int64_t dir, off_t off);

#endif
