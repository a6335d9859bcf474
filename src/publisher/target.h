/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where events go and how their messages look, as a configuration says: for evfs-publisher, and for evfsctl, which sends some of
 * them again. Threads: none.
 */
#ifndef EVFS_PUBLISHER_TARGET_H
#define EVFS_PUBLISHER_TARGET_H

#include <stdbool.h>

#include "base/rc.h"
#include "publisher/property.h"
#include "publisher/route.h"
#include "setup/config.h"
#include "sink/sink.h"

/* Points to its configuration, which must outlive it. */
struct target {
	const struct config *config;
	const struct property_list *properties;	/* of librdkafka */
	char source[64];	/* ce_source */
};

/* RC_INVALID: no such sink, brokers are needed and none are named, a topic that can't be one. */
enum rc target_check(const struct config *c, bool needs_brokers, struct why *why) _must_check_;
/* What the messages look like; *out points into t and its configuration. */
void target_route(const struct target *t, struct route_options *out);
/* Say which store it is, by its uuid: messages name it. */
void target_name(struct target *t, const char *uuid);
/* A sink_make_fn; make_arg is a struct target that was checked. */
enum rc target_make(void *make_arg, struct sink **out, sink_report_fn *report, void *arg, struct why *why) _must_check_;

#endif
