/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount as the files of this folder share it. Each room keeps its own state behind its own
 * header and lock; what stands here is set by fs_new and fs_mount and only read afterwards.
 */
#ifndef EVFS_FS_STATE_H
#define EVFS_FS_STATE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/fs.h"
#include "store/store.h"
#include "store/view.h"

struct fs_young;
struct fs_files;
struct fs_handles;
struct fs_streams;
struct fs_errors;
struct fs_metrics;
struct fs_monitor;
struct fs_dirs;
struct fs_kept;
struct fs_ahead;

struct fs {
	struct store *store;
	struct view *view;		/* the store's */
	struct fs_options options;
	char *source, *mountpoint;

	bool read_only;
	char read_only_reason[256];
	uid_t uid;			/* whose the files are */
	gid_t gid;
	int64_t born_us;
	double fresh_s;			/* how long the kernel may keep what can change */
	uint64_t max_event;

	struct fs_young *young;		/* directories that only this mount knows */
	struct fs_files *files;		/* files that only this mount knows */
	struct fs_handles *handles;	/* what is open */
	struct fs_streams *streams;	/* streams in use */
	struct fs_errors *errors;
	struct fs_metrics *metrics;
	struct fs_monitor *monitor;	/* NULL: nobody asked for it */
	struct fs_dirs *dirs;		/* what listings tell */
	struct fs_ahead *ahead;		/* listings made ahead */
	struct fs_kept *kept;		/* what the kernel keeps of directories */

	struct fuse_session *session;
	bool mounted;
	bool parallel;			/* the kernel can run directory operations in parallel */
	bool keeps_listings;		/* it can keep them, and ask when they are old */
	atomic_bool initialised;	/* INIT was answered */
	atomic_bool stopping, serving;
	pthread_t server;
};

/* The mount that a request is for. */
static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

#define FS_FOREVER (365 * 86400.0)

#endif
