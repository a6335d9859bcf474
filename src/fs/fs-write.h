/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files, and writing to them: where documents become appends (design.md 7, "Appending").
 * Threads: any; a handle's lock guards what it gathers.
 */
#ifndef EVFS_FS_WRITE_H
#define EVFS_FS_WRITE_H

#include "base/buf.h"
#include "fs/fs-gather.h"
#include "fs/fs-state.h"

struct fs_file;
struct fs_stream;

enum fs_handle_kind {
	FS_HANDLE_STREAM,	/* events.ndjson, opened for writing */
	FS_HANDLE_NAMED,	/* an event's file while it is written */
	FS_HANDLE_PRIVATE,
	FS_HANDLE_TEXT,		/* a control file, as it was when opened */
};

struct fs_handle {
	enum fs_handle_kind kind;
	int64_t dir;
	char *name;			/* for messages */
	pthread_mutex_t lock;		/* guards held, gather, next, failed, text */
	struct fs_stream *stream;	/* stream, named */
	unsigned turn;			/* stream: its node's */
	uint64_t held;			/* stream: of fs_stream_hold, 0 once it was closed */
	struct fs_file *file;		/* named, private */
	struct fs_gather gather;
	struct buf event_type;		/* named: what the name says */
	bool append;			/* O_APPEND: the kernel's idea of the end does not matter */
	uint64_t next;			/* where the next write must begin */
	bool failed;			/* the last append has, and its reason is remembered */
	struct fuse_ctx who;
	struct buf text;
	uint64_t text_at;		/* where in the file text begins */
	uint64_t seen;			/* text of errors: the last line in it */
	bool follow;
	struct fs_handle *before, *after; /* of all that are open; fs_handles' lock guards them */
};

enum rc fs_write_handles_new(struct fs_handles **out, struct why *why) _must_check_;
/*
 * Releases what the kernel never did: the mount was taken away while it was open. Before the rooms
 * that handles use.
 */
void fs_write_handles_free(struct fs *fs);

/* NULL: no memory. */
struct fs_handle *fs_write_handle_new(struct fs *fs, enum fs_handle_kind kind, int64_t dir,
				      const char *name, const struct fuse_ctx *who);
void fs_write_handle_free(struct fs *fs, struct fs_handle *h);

static inline struct fs_handle *fs_handle_of(const struct fuse_file_info *fi)
{
	return (struct fs_handle *)(uintptr_t)fi->fh;	/* NULL: opened for reading only */
}

void fs_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t len, off_t off,
	      struct fuse_file_info *fi);
void fs_write_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_write_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fs_write_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/*
 * Append drafts to a stream and answer nothing: the errno, 0 on success. On failure it is
 * remembered for dir/name.
 */
int fs_write_append(fuse_req_t req, struct fs_stream *s, int64_t dir, const char *name,
		    struct draft *drafts, size_t n, const enum store_ack *ack,
		    struct store_append *a);

#endif
