/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was refused or failed: the lines of .evfs/errors, user.evfs.last_error, and the one place
 * where a result becomes an errno. Threads: every call may come from any thread.
 */
#ifndef EVFS_FS_ERRORS_H
#define EVFS_FS_ERRORS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/rc.h"
#include "store/store.h"

struct fs_errors;

enum rc fs_errors_new(struct fs_errors **out, struct why *why) _must_check_;
void fs_errors_free(struct fs_errors **e);

/* The errno for a result that is not RC_OK (design.md 7). Never EAGAIN. */
int fs_errors_errno(enum rc rc, bool read_only);
/*
 * The errno for a name that name_decode or name_parse did not take: EPERM, or EINVAL where what it
 * stands for can be in no key.
 */
int fs_errors_name_errno(const char *name);

struct fs_failure {
	int err; /* the errno that was answered; 0: nobody was there to answer */
	pid_t pid;
	uid_t uid;
	const char *path;		/* from the mount's root, without a leading '/' */
	const char *reason;
	const char *event_id;		/* may be NULL */
	bool conditional, has_actual;
	uint64_t expected, actual;	/* the last sequence: as the writer believed it, as it is */
	enum store_outcome outcome;
};
/* Remember and log it. At least the last 1,000 are kept; of 1,500 the oldest 500 go together. */
void fs_errors_add(struct fs_errors *e, const struct fs_failure *f);

/* Append the lines kept with a number above after, oldest first. The last one's number. */
uint64_t fs_errors_print(struct fs_errors *e, uint64_t after, struct buf *out);
/* How long fs_errors_print(e, 0) would be, and when the last line was written (0: none). */
uint64_t fs_errors_size(struct fs_errors *e, int64_t *time_us);
/* Append the last reason for path, or for a name directly in it. False: none. */
bool fs_errors_last(struct fs_errors *e, const char *path, struct buf *out);

#endif
