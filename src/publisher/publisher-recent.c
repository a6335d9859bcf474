/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-recent.c - the last event ids that were delivered, in order. */
#include "config.h"
#include "publisher/publisher-private.h"

#include <stdlib.h>
#include <string.h>

void publisher_recent_release(struct publisher_recent *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->ids[(r->head + i) % CHECKPOINT_IDS_MAX]);
	*r = (struct publisher_recent){ .n = 0 };
}

enum rc publisher_recent_add(struct publisher_recent *r, const char *id, struct why *why)
{
	char *copy = strdup(id);
	if (!copy)
		return rc_fail(RC_NO_MEMORY, why, "no memory for an event id");
	size_t at = (r->head + r->n) % CHECKPOINT_IDS_MAX;
	if (r->n == CHECKPOINT_IDS_MAX) {
		free(r->ids[r->head]);
		r->head = (r->head + 1) % CHECKPOINT_IDS_MAX;
	} else {
		r->n++;
	}
	r->ids[at] = copy;
	return RC_OK;
}
