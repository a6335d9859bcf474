/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout-indexed.c - the established system's (contracts.md B2): a stream is what its by-
 * aggregate entries name.
 */
#include "config.h"
#include "store/layout-private.h"

#include <string.h>

#include "base/cleanup.h"
#include "event/key.h"
#include "store/checkpoint.h"

#define STREAMS "indexes/by-aggregate/"

static void indexed_prefix(const char *type, const char *id, struct buf *out)
{
	buf_add_text(out, STREAMS);
	buf_add_text(out, type);
	buf_add_char(out, '/');
	buf_add_text(out, id);
	buf_add_char(out, '/');
}

static void indexed_after(const char *prefix, uint64_t number, struct buf *out)
{
	/* '`' comes right after the '_' that stands in front of the event id */
	buf_printf(out, "%s%020ju`", prefix, (uintmax_t)number);
}

static bool indexed_entry(const char *last, uint64_t *number_r, struct buf *event_id)
{
	uint64_t number;
	if (key_indexed_parse_entry(last, &number, event_id, NULL) != RC_OK || !number ||
	    !event_id->len)
		return false;	/* number 0 stands for none */
	*number_r = number;
	return true;
}

static enum rc indexed_parse(const char *key, struct buf *type, struct buf *id, struct why *why)
{
	_cleanup_(buf_release) struct buf event_id = BUF_INIT;
	const char *begin = key + strlen(STREAMS), *last = strrchr(key, '/');
	uint64_t number;
	if (strncmp(key, STREAMS, strlen(STREAMS)) || last < begin)
		return rc_fail(RC_INVALID, why, "'%s' is no by-aggregate entry", key);
	const char *slash = strchr(begin, '/');
	if (slash == begin || slash >= last - 1 || !indexed_entry(last + 1, &number, &event_id))
		return rc_fail(RC_INVALID, why, "'%s' is no by-aggregate entry", key);
	buf_add(type, begin, (size_t)(slash - begin));
	buf_add(id, slash + 1, (size_t)(last - slash - 1));
	return RC_OK;
}

static bool indexed_part(const char *component, size_t len, struct buf *out)
{
	buf_add(out, component, len);
	return true;
}

static const char *const known[] = {
	".evfs/", "events/", "indexes/", CHECKPOINTS, "snapshots/", "health_check/", NULL,
};

const struct layout_ops layout_indexed_ops = {
	.name = "indexed",
	.streams = STREAMS,
	.known = known,
	.prefix = indexed_prefix,
	.after = indexed_after,
	.parse = indexed_parse,
	.entry = indexed_entry,
	.part = indexed_part,
};
