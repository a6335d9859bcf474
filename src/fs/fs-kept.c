/* SPDX-License-Identifier: Apache-2.0 */
/* fs-kept.c - what the kernel keeps of directories. */
#include "config.h"
#include "fs/fs-kept.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fs/fs-node.h"
#include "fs/fs-young.h"

#define SLOTS 16384
/*
 * A directory that changed within it may change again without a later time; and a page of a listing
 * that was on its way while another began may still come to be kept in place of that one.
 */
#define SETTLING_MS 3000
#define SLACK_MS 100	/* the kernel counts from when the answer came */

/* One place for many: who comes later has it. */
struct slot {
	int64_t dir;		/* of which a listing was told last; 0: of none so far */
	uint64_t print;		/* what it was like when that began; 0: not yet known */
	uint64_t doubted_until;	/* clock_boot_ms */
	off_t end;		/* behind its last entry; 0: unknown */
	bool plain;		/* some of it was told without attributes */
};

struct fs_kept {
	pthread_mutex_t lock;	/* guards slots */
	struct slot slots[SLOTS];
	_Atomic uint64_t told_until[SLOTS];	/* the kernel may have attributes (clock_boot_ms) */
};

enum rc fs_kept_new(struct fs_kept **out, struct why *why)
{
	struct fs_kept *k = calloc(1, sizeof(*k));
	if (!k)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&k->lock, NULL);
	*out = k;
	return RC_OK;
}

void fs_kept_free(struct fs_kept **pk)
{
	if (!*pk)
		return;
	pthread_mutex_destroy(&(*pk)->lock);
	free(*pk);
	*pk = NULL;
}

static uint64_t mix(uint64_t h, uint64_t n)
{
	h = (h ^ n) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

uint64_t fs_kept_print(struct fs *fs, const struct view_dir *d)
{
	uint64_t print = mix(mix(mix(mix(1, d->events), d->head), (uint64_t)d->mtime_us),
			     (uint64_t)d->ctime_us);
	return mix(mix(mix(print, fs_young_version(fs->young)), d->is_stream), d->epoch);
}

static bool is_settled(const struct view_dir *d)
{
	return d->depth >= 2 || clock_wall_us() - d->ctime_us > SETTLING_MS * INT64_C(1000);
}

static struct slot *slot_of(struct fs *fs, int64_t dir)
{
	return &fs->kept->slots[(uint64_t)dir % SLOTS];
}

/* Until when the kernel may have its attributes. */
static _Atomic uint64_t *told_until(struct fs *fs, int64_t dir)
{
	return &fs->kept->told_until[(uint64_t)dir % SLOTS];
}

/* May the kernel have a listing of it? */
static bool may_be_listed(struct fs *fs, int64_t dir)
{
	pthread_mutex_lock(&fs->kept->lock);
	bool listed = slot_of(fs, dir)->dir;
	pthread_mutex_unlock(&fs->kept->lock);
	return listed;
}

double fs_kept_entry(struct fs *fs, int64_t dir)
{
	if (may_be_listed(fs, dir))	/* attributes that nobody refreshed must not keep an old listing alive */
		return 0;
	fs_kept_ask(fs, dir);
	return fs->fresh_s;
}

static uint64_t fresh_ms(const struct fs *fs)
{
	return (uint64_t)(fs->fresh_s * 1000);
}

uint64_t fs_kept_ask(struct fs *fs, int64_t dir)
{
	uint64_t now = clock_boot_ms();
	atomic_store(told_until(fs, dir), now + fresh_ms(fs) + SLACK_MS);
	return now;
}

double fs_kept_told(struct fs *fs, int64_t dir, const struct view_dir *d, uint64_t start_ms)
{
	/* no longer than an append is told of it */
	uint64_t spent = clock_boot_ms() - start_ms;
	uint64_t left = fresh_ms(fs) > spent ? fresh_ms(fs) - spent : 0;
	struct slot *s = slot_of(fs, dir);
	uint64_t print = fs_kept_print(fs, d);
	pthread_mutex_lock(&fs->kept->lock);
	bool good = !s->dir || (s->dir == dir && s->print == print && is_settled(d) &&
				clock_boot_ms() >= s->doubted_until);
	pthread_mutex_unlock(&fs->kept->lock);
	/* the slot stays: what is told next may have been listed before this */
	if (!good)
		fs_kept_drop(fs, fs_node_dir(dir));
	return (double)(d->fresh_ms < left ? d->fresh_ms : left) / 1000;
}

static void ask_again(struct fs *fs, int64_t dir)
{
	(void)fuse_lowlevel_notify_inval_inode(fs->session, fs_node_dir(dir), -1, 0);
}

void fs_kept_appended(struct fs *fs, int64_t dir)
{
	/* who never lists is not to pay */
	if (clock_boot_ms() < atomic_load(told_until(fs, dir)) && may_be_listed(fs, dir))
		ask_again(fs, dir);
}

void fs_kept_drop(struct fs *fs, fuse_ino_t ino)
{
	/* what the kernel does not know it need not drop */
	(void)fuse_lowlevel_notify_inval_inode(fs->session, ino, 0, 0);
}

void fs_kept_begin(struct fs *fs, int64_t dir)
{
	struct slot *s = slot_of(fs, dir);
	pthread_mutex_lock(&fs->kept->lock);
	if (!s->dir)
		s->dir = dir;
	pthread_mutex_unlock(&fs->kept->lock);
}

uint64_t fs_kept_list(struct fs *fs, int64_t dir, const struct view_dir *d)
{
	struct slot *s = slot_of(fs, dir);
	uint64_t print = fs_kept_print(fs, d), now = clock_boot_ms();
	pthread_mutex_lock(&fs->kept->lock);
	if (s->dir != dir || s->print != print)
		*s = (struct slot){ .dir = dir, .print = print,
				    .doubted_until = s->print ? now + SETTLING_MS : 0 };
	pthread_mutex_unlock(&fs->kept->lock);
	/* attributes that came with the name may be kept longer than what is listed is fresh */
	if (atomic_load(told_until(fs, dir)) > now + d->fresh_ms + SLACK_MS)
		ask_again(fs, dir);
	return print;
}

void fs_kept_plain(struct fs *fs, int64_t dir)
{
	struct slot *s = slot_of(fs, dir);
	pthread_mutex_lock(&fs->kept->lock);
	if (s->dir == dir)
		s->plain = true;
	pthread_mutex_unlock(&fs->kept->lock);
}

void fs_kept_looked_up(struct fs *fs, int64_t dir)
{
	struct slot *s = slot_of(fs, dir);
	pthread_mutex_lock(&fs->kept->lock);
	bool drop = s->dir == dir && s->plain;
	if (drop)
		s->plain = false;
	pthread_mutex_unlock(&fs->kept->lock);
	if (drop)
		fs_kept_drop(fs, fs_node_dir(dir));
}

void fs_kept_end(struct fs *fs, int64_t dir, uint64_t print, off_t end)
{
	struct slot *s = slot_of(fs, dir);
	pthread_mutex_lock(&fs->kept->lock);
	if (s->dir == dir && s->print == print)
		s->end = end;
	pthread_mutex_unlock(&fs->kept->lock);
}

bool fs_kept_is_end(struct fs *fs, int64_t dir, off_t off)
{
	struct slot *s = slot_of(fs, dir);
	pthread_mutex_lock(&fs->kept->lock);
	bool is_end = off && s->dir == dir && s->end == off;
	pthread_mutex_unlock(&fs->kept->lock);
	return is_end;
}
