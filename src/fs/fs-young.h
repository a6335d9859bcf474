/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that mkdir made: only this mount knows them until their first event.
 *
 * A young directory has a row of its own (from FS_NODE_YOUNG). Once the store has events below it,
 * it is one of the view's directories; the kernel goes on knowing it by the young row as long as it
 * holds it, so that nobody's working directory is taken away. It is forgotten when the kernel has,
 * and the store knows it. Threads: every call may come from any thread. No call does I/O.
 */
#ifndef EVFS_FS_YOUNG_H
#define EVFS_FS_YOUNG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

struct fs_young;

enum rc fs_young_new(struct fs_young **out, struct why *why) _must_check_;
void fs_young_free(struct fs_young **y);

struct fs_young_dir {
	int64_t row;
	int64_t parent;		/* its row as the kernel knows it: the view's, or a young one */
	int64_t real;		/* the view's row, 0: the store does not know it yet */
	unsigned depth;		/* as struct view_dir's */
	int64_t made_us;
	char name[256];
};

/* RC_EXISTS. RC_NO_SPACE: too many that the store does not know. One lookup is counted. */
enum rc fs_young_make(struct fs_young *y, int64_t parent, const char *name, unsigned depth,
		      struct fs_young_dir *out, struct why *why) _must_check_;
/* lookups: how many the kernel gets to know by this answer. False: not there. out may be NULL. */
bool fs_young_find(struct fs_young *y, int64_t parent, const char *name, unsigned lookups,
		   struct fs_young_dir *out);
bool fs_young_get(struct fs_young *y, int64_t row, struct fs_young_dir *out);
/* The store knows it by now. */
void fs_young_born(struct fs_young *y, int64_t row, int64_t real);
/* Take an unborn one away. RC_NOT_FOUND; RC_EXISTS: something is below it, or it is born. */
enum rc fs_young_remove(struct fs_young *y, int64_t parent, const char *name) _must_check_;
void fs_young_forget(struct fs_young *y, int64_t row, uint64_t lookups);

/* The next unborn directory of parent whose row is above after. */
bool fs_young_next(struct fs_young *y, int64_t parent, int64_t after, struct fs_young_dir *out);
/* Changes with every change of any listing. */
uint64_t fs_young_version(struct fs_young *y);

#endif
