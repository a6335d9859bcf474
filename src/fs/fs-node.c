/* SPDX-License-Identifier: Apache-2.0 */
/* fs-node.c - node ids and attributes. */
#include "config.h"
#include "fs/fs-node.h"

#include <string.h>

#define ORDINAL_BITS 30
#define ORDINAL_MASK ((UINT64_C(1) << ORDINAL_BITS) - 1)
#define FIRST_TURN (ORDINAL_MASK + 1 - 1023)
#define OWN (UINT64_C(1) << 63)
#define KIND_SHIFT 59
#define VALUE_MASK ((UINT64_C(1) << KIND_SHIFT) - 1)

/* Kinds whose node ids carry their number. */
#define KIND_CODE(kind) ((uint64_t)(kind) - FS_NODE_FILE)

void fs_node_parse(fuse_ino_t ino, struct fs_node *out)
{
	*out = (struct fs_node){ 0 };
	if (ino & OWN) {
		out->kind = (enum fs_node_kind)(FS_NODE_FILE + ((ino >> KIND_SHIFT) & 15));
		out->value = ino & VALUE_MASK;
		out->dir = (int64_t)(out->value >> ORDINAL_BITS);
		out->ordinal = (uint32_t)(out->value & ORDINAL_MASK);
		return;
	}
	out->dir = (int64_t)(ino >> ORDINAL_BITS);
	out->ordinal = (uint32_t)(ino & ORDINAL_MASK);
	if (ino == FUSE_ROOT_ID) {
		out->dir = VIEW_ROOT;
		out->ordinal = 0;
	}
	if (!out->ordinal)
		out->kind = FS_NODE_DIR;
	else
		out->kind = out->ordinal >= FIRST_TURN ? FS_NODE_STREAM : FS_NODE_EVENT;
}

fuse_ino_t fs_node_dir(int64_t row)
{
	return row == VIEW_ROOT ? FUSE_ROOT_ID : (fuse_ino_t)row << ORDINAL_BITS;
}

fuse_ino_t fs_node_event(int64_t row, uint32_t ordinal)
{
	return (fuse_ino_t)row << ORDINAL_BITS | ordinal;
}

fuse_ino_t fs_node_stream(int64_t row, unsigned turn)
{
	return (fuse_ino_t)row << ORDINAL_BITS | (FIRST_TURN + turn);
}

unsigned fs_node_turn(const struct fs_node *stream)
{
	return (unsigned)(stream->ordinal - FIRST_TURN);
}

fuse_ino_t fs_node_make(enum fs_node_kind kind, uint64_t value)
{
	return OWN | KIND_CODE(kind) << KIND_SHIFT | (value & VALUE_MASK);
}

fuse_ino_t fs_node_link(enum fs_node_kind kind, int64_t row, uint32_t ordinal)
{
	return fs_node_make(kind, (uint64_t)row << ORDINAL_BITS | ordinal);
}

static struct timespec timespec_of(int64_t us)
{
	int64_t s = us / 1000000, rest = us % 1000000;
	if (rest < 0) {
		s--;
		rest += 1000000;
	}
	return (struct timespec){ .tv_sec = s, .tv_nsec = rest * 1000 };
}

void fs_node_stat_plain(const struct fs *fs, fuse_ino_t ino, mode_t mode, uint64_t size,
			int64_t mtime_us, struct stat *out)
{
	memset(out, 0, sizeof(*out));
	out->st_ino = ino;
	out->st_mode = mode;
	if (fs->read_only)
		out->st_mode &= ~(mode_t)0222;
	out->st_nlink = 1;
	out->st_uid = fs->uid;
	out->st_gid = fs->gid;
	out->st_size = (off_t)size;
	out->st_blksize = 4096;
	out->st_blocks = (blkcnt_t)((size + 511) / 512);
	out->st_mtim = out->st_atim = out->st_ctim = timespec_of(mtime_us);
}

void fs_node_stat_dir(const struct fs *fs, const struct view_dir *d, fuse_ino_t ino,
		      struct stat *out)
{
	fs_node_stat_plain(fs, ino, S_IFDIR | 0755, 0, d->mtime_us, out);
	out->st_ctim = timespec_of(d->ctime_us);
}

void fs_node_stat_event(const struct fs *fs, const struct view_event *e, struct stat *out)
{
	fs_node_stat_plain(fs, fs_node_event(e->dir, e->ordinal), S_IFREG | 0444, e->size,
			   e->occurred_us, out);
	out->st_ctim = timespec_of(e->recorded_us);
}

void fs_node_stat_stream(const struct fs *fs, int64_t row, uint64_t size, int64_t mtime_us,
			 struct stat *out)
{
	fs_node_stat_plain(fs, fs_node_stream(row, 0), S_IFREG | 0644, size, mtime_us, out);
	out->st_blksize = 128 << 10;	/* what programs read, and gather for one batch, at once */
}
