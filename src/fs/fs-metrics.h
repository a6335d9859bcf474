/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What .evfs/metrics counts (contracts.md G1), beside what the store counts. Threads: any.
 */
#ifndef EVFS_FS_METRICS_H
#define EVFS_FS_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "store/store.h"
#include "store/view.h"

struct fs_metrics;

enum fs_metrics_read { FS_METRICS_EVENT, FS_METRICS_STREAM, FS_METRICS_LIST, FS_METRICS_READS };
enum fs_metrics_operation { FS_METRICS_CHANGE, FS_METRICS_READ, FS_METRICS_OPERATIONS };

/* Store and view must outlive it. source: the store's name as it is mounted. */
enum rc fs_metrics_new(struct fs_metrics **out, struct store *store, struct view *view,
		       const char *source, struct why *why) _must_check_;
void fs_metrics_free(struct fs_metrics **m);
static inline void fs_metrics_freep(struct fs_metrics **m)
{
	fs_metrics_free(m);
}

/* n events of one type were appended. */
void fs_metrics_wrote(struct fs_metrics *m, const char *type, const char *event_type, size_t n);
void fs_metrics_write_time(struct fs_metrics *m, const char *type, uint64_t us);
void fs_metrics_did_read(struct fs_metrics *m, enum fs_metrics_read what, uint64_t us);
void fs_metrics_error(struct fs_metrics *m, enum fs_metrics_operation operation, int err);

/* Append Prometheus text. */
void fs_metrics_print(struct fs_metrics *m, struct buf *out);

#endif
