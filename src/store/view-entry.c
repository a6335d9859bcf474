/* SPDX-License-Identifier: Apache-2.0 */
/* view-entry.c - from the catalog's rows to what is shown. */
#include "config.h"
#include "store/view-private.h"

#include <string.h>

#include "base/cleanup.h"
#include "event/name.h"

#define DIGITS 10

void view_entry_dir(const struct view *v, const struct catalog_dir *from, struct view_dir *out)
{
	out->row = from->row;
	out->parent = from->parent;
	memcpy(out->name, from->name, strlen(from->name) + 1);
	out->depth = from->depth;
	out->is_stream = from->stream;
	out->head = from->head;
	out->events = from->events;
	out->epoch = from->epoch;
	out->stream_size = from->stream_size;
	out->fresh_ms = 0;
	out->mtime_us = from->mtime ? from->mtime : v->birth_us;
	out->ctime_us = from->ctime ? from->ctime : v->birth_us;
}

/* The name by hand from the type's template; false: it is not there. */
static bool name_from_template(struct view_names *names, int64_t type, uint64_t number,
			       char out[256])
{
	pthread_mutex_lock(&names->lock);
	size_t slot = (size_t)type % NAME_SLOTS;
	bool found = names->slots[slot].type == type;
	if (found)
		memcpy(out, names->slots[slot].name, names->slots[slot].len + 1);
	pthread_mutex_unlock(&names->lock);
	for (size_t i = DIGITS; found && i-- > 0; number /= 10)
		out[i] = (char)('0' + number % 10);
	return found;
}

static void keep_template(struct view_names *names, int64_t type, const char *text)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	name_event(0, text, 1, &name);
	if (buf_failed(&name) || name.len > 255)
		return;
	pthread_mutex_lock(&names->lock);
	size_t slot = (size_t)type % NAME_SLOTS;
	names->slots[slot].type = type;
	names->slots[slot].len = name.len;
	memcpy(names->slots[slot].name, name.data, name.len + 1);
	pthread_mutex_unlock(&names->lock);
}

enum rc view_entry_event(struct view *v, struct catalog_conn *conn,
			 const struct catalog_event *from, struct view_event *out, struct why *why)
{
	out->dir = from->dir;
	out->ordinal = from->ordinal;
	out->number = from->number;
	out->fork = from->fork;
	out->size = from->size;
	out->occurred_us = from->occurred;
	out->recorded_us = from->recorded;
	out->settled = from->settled;

	bool plain = from->fork == 1 && from->number < UINT64_C(10000000000);
	if (plain && name_from_template(&v->names, from->type, from->number, out->name))
		return RC_OK;
	_cleanup_(buf_release) struct buf type = BUF_INIT, name = BUF_INIT;
	enum rc rc = catalog_type_text(conn, from->type, &type, why);
	if (rc != RC_OK)
		return rc;
	keep_template(&v->names, from->type, buf_text(&type));
	name_event(from->number, buf_text(&type), from->fork, &name);
	if (buf_failed(&name) || name.len > sizeof(out->name) - 1)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a name");
	memcpy(out->name, name.data, name.len + 1);
	return RC_OK;
}
