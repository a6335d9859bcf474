/* SPDX-License-Identifier: Apache-2.0 */
/* layout-native.c - streams/{type}/{id}/{number:010d}.json: an entry is the event itself. */
#include "config.h"
#include "store/layout-private.h"

#include <string.h>

#include "event/key.h"
#include "event/name.h"
#include "store/checkpoint.h"

#define STREAMS "streams/"

static void native_after(const char *prefix, uint64_t number, struct buf *out)
{
	buf_printf(out, "%s%010ju.json", prefix, (uintmax_t)number);
}

static enum rc native_parse(const char *key, struct buf *type, struct buf *id, struct why *why)
{
	uint64_t number;
	return key_native_parse(key, type, id, &number, why);
}

/* As key_native_parse reads it: one number has one key. */
static bool native_entry(const char *last, uint64_t *number_r, struct buf *event_id)
{
	(void)event_id;
	size_t digits = strspn(last, "0123456789");
	if (digits < 10 || digits > 19 || (digits > 10 && *last == '0') ||
	    strcmp(last + digits, ".json"))
		return false;
	uint64_t n = 0;
	for (size_t i = 0; i < digits; i++)
		n = 10 * n + (unsigned)(last[i] - '0');
	*number_r = n;
	return n && n <= INT64_MAX;
}

static bool native_part(const char *component, size_t len, struct buf *out)
{
	return name_decode(component, len, out, NULL) == RC_OK;
}

static const char *const known[] = { ".evfs/", STREAMS, CHECKPOINTS, "snapshots/", NULL };

const struct layout_ops layout_native_ops = {
	.name = "native",
	.streams = STREAMS,
	.known = known,
	.prefix = key_native_stream,
	.after = native_after,
	.parse = native_parse,
	.entry = native_entry,
	.part = native_part,
};
