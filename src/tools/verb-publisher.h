/* SPDX-License-Identifier: Apache-2.0 */
/* What the actions of "evfsctl publisher" share. Threads: none. */
#ifndef EVFS_TOOLS_VERB_PUBLISHER_H
#define EVFS_TOOLS_VERB_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "store/checkpoint.h"
#include "store/tail-count.h"
#include "store/tail-lease.h"
#include "tools/verb.h"

enum verb_publisher_option {
	VERB_PUBLISHER_TO,
	VERB_PUBLISHER_FROM,
	VERB_PUBLISHER_TYPE,
	VERB_PUBLISHER_TOPIC,
	VERB_PUBLISHER_DRY_RUN,
};

/* A place on the time line as the command line names it: "beginning", "now", or a time. */
struct verb_publisher_time {
	enum { VERB_PUBLISHER_AT, VERB_PUBLISHER_BEGINNING, VERB_PUBLISHER_NOW } kind;
	int64_t us;
};
/* False: it is not given, or none; that was told. */
bool verb_publisher_time(const struct verb_call *call, enum verb_publisher_option option,
			 struct verb_publisher_time *out);

/* The checkpoint as it is. */
struct verb_publisher_place {
	struct checkpoint c;
	enum rc rc;	/* RC_OK; RC_CORRUPT: c is empty but for there and tag, so that it can be written over */
	struct why why;
};
void verb_publisher_place_release(struct verb_publisher_place *p);
/* RC_OK also for one that is damaged, or of the future. p is initialised by this call. */
enum rc verb_publisher_place_load(const struct verb_call *call, struct store *s, int64_t now_us,
				  struct verb_publisher_place *p, struct why *why) _must_check_;
/* The first time that it does not speak for: all before is delivered but what is held. */
static inline int64_t verb_publisher_after_us(int64_t last_ms)
{
	return last_ms > 0 ? (last_ms + 1) * 1000 : 0;
}

/* The key of the checkpoint, which is the name of the lease, too. */
const char *verb_publisher_key(const struct verb_call *call);

enum verb_status verb_publisher_rewind(struct verb_call *call, struct store *s);
enum verb_status verb_publisher_replay(struct verb_call *call, struct store *s);

#endif
