/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a publisher tells of itself over HTTP (monitor/monitor.h): its status and its store's counts as metrics, and its parts
 * "role", "ledger", "seeding", "trouble", "sink". Ready: it publishes, or stands by for the one that does, and the ledger answers.
 * Threads: the monitor's, which asks publisher_status alone, and so never waits.
 */
#ifndef EVFS_PUBLISHER_PUBLISHER_METRICS_H
#define EVFS_PUBLISHER_PUBLISHER_METRICS_H

#include "monitor/monitor.h"
#include "publisher/publisher.h"

struct publisher_metrics;

struct publisher_metrics_options {
	const char *address;		/* as monitor_options has it; NULL: nothing is served, only the registry is filled */
	/* labels of the checkpoint's metrics, copied: the bucket (of a directory its path), the object */
	const char *bucket, *checkpoint_key;
};
/* publisher and store must outlive it. Results as monitor_new's. */
enum rc publisher_metrics_new(struct publisher_metrics **out, struct publisher *p, struct store *s,
			      const struct publisher_metrics_options *o, struct why *why) _must_check_;
void publisher_metrics_free(struct publisher_metrics **m);
static inline void publisher_metrics_freep(struct publisher_metrics **m)
{
	publisher_metrics_free(m);
}

#endif
