/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount's metrics and health over HTTP (monitor/monitor.h), and its parts: "mount", "objects", "ledger", "seeding", "read_only".
 * Ready: it serves, the objects can be read, and, where the store takes appends, the ledger answers and is seeded.
 * Threads: the monitor's, and one that asks the store, so that a ledger that does not answer keeps no one waiting.
 */
#ifndef EVFS_FS_MONITOR_H
#define EVFS_FS_MONITOR_H

#include "base/rc.h"

struct fs;
struct fs_monitor;

/* fs must outlive it. Results as monitor_new's. */
enum rc fs_monitor_new(struct fs_monitor **out, struct fs *fs, const char *address,
		       struct why *why) _must_check_;
void fs_monitor_free(struct fs_monitor **m);

#endif
