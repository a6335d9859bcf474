/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-body.c - the stored bytes of events: from their objects, or, while these are not there
 * yet, from the ledger.
 */
#include "config.h"
#include "store/view-private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/draft.h"
#include "event/key.h"

void view_body_release(struct view_body *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_release(&items[i].key);
		free(items[i].text);
		items[i].text = NULL;
	}
}

/* Append where the events of a directory lie. False: it is not remembered. */
static bool add_prefix(struct view_prefixes *p, int64_t dir, struct buf *out)
{
	pthread_mutex_lock(&p->lock);
	size_t slot = (size_t)dir % PREFIX_SLOTS;
	bool found = p->slots[slot].dir == dir;
	if (found)
		buf_add(out, p->slots[slot].prefix.data, p->slots[slot].prefix.len);
	pthread_mutex_unlock(&p->lock);
	return found;
}

static void keep_prefix(struct view_prefixes *p, const struct catalog_dir *dir)
{
	pthread_mutex_lock(&p->lock);
	size_t slot = (size_t)dir->row % PREFIX_SLOTS;
	struct buf *prefix = &p->slots[slot].prefix;
	buf_reset(prefix);
	key_native_stream(dir->type, dir->id, prefix);
	p->slots[slot].dir = buf_failed(prefix) ? 0 : dir->row;
	pthread_mutex_unlock(&p->lock);
}

enum rc view_body_settled(struct view *v, const struct view_event *e, struct buf *out,
			  struct why *why)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	if (v->src.layout != LAYOUT_NATIVE || !e->settled ||
	    !add_prefix(&v->prefixes, e->dir, &key))
		return RC_NOT_FOUND;
	buf_printf(&key, "%010" PRIu64 ".json", e->number);
	if (buf_failed(&key))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a key");
	struct object_get get = { .key = key.data };
	if (object_get(v->src.objects, &get, 1) != RC_OK)
		return RC_NOT_FOUND;
	if (get.len == e->size)
		buf_add(out, get.buf, get.len);
	free(get.buf);
	if (get.len != e->size)
		return RC_NOT_FOUND;
	return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why,
					 "no memory for an event of %" PRIu64 " bytes", e->size)
			       : RC_OK;
}

enum rc view_body_keys(struct view *v, struct catalog_conn *conn, const struct catalog_dir *dir,
		       struct view_body *items, size_t n, struct why *why)
{
	if (v->src.layout == LAYOUT_NATIVE)
		keep_prefix(&v->prefixes, dir);
	for (size_t i = 0; i < n; i++) {
		const struct catalog_event *e = &items[i].event;
		enum rc rc = RC_OK;
		if (v->src.layout == LAYOUT_NATIVE)
			key_native_event(dir->type, dir->id, e->number, &items[i].key);
		else
			rc = catalog_event_texts(conn, e->dir, e->number, e->fork, NULL,
						 &items[i].key, why);
		if (rc == RC_OK && buf_failed(&items[i].key))
			rc = rc_fail(RC_NO_MEMORY, why, "no memory for a key");
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

struct wanted {
	uint64_t number;
	struct buf body;
};

static bool take_row(void *arg, const struct ledger_row *row)
{
	struct wanted *w = arg;
	if (row->number == w->number && row->head)
		draft_join(row->head, row->head_len, row->tail, row->tail_len, row->own_time,
			   row->recorded_us, row->number, &w->body);
	return false;
}

/* RC_NOT_FOUND: the ledger has no pieces of it any more. */
static enum rc read_pieces(struct view *v, const struct catalog_dir *dir, struct view_body *item,
			   struct why *why)
{
	struct wanted w = { item->event.number, BUF_INIT };
	struct ledger_query q = { .what = LEDGER_EVENTS,
				  .type = dir->type,
				  .id = dir->id,
				  .after = w.number - 1,
				  .limit = 1 };
	enum rc rc = v->src.ledger ? ledger_read(v->src.ledger, &q, take_row, &w, NULL, why)
				   : RC_NOT_FOUND;
	bool found = w.body.len == item->event.size && !buf_failed(&w.body);
	if (rc == RC_OK && found)
		item->text = buf_take(&w.body, &item->len);
	buf_release(&w.body);
	if (rc != RC_OK)
		return rc;
	return item->text ? RC_OK : RC_NOT_FOUND;
}

static enum rc check_object(const struct object_get *get, const struct view_body *item,
			    struct why *why)
{
	if (get->rc == RC_NOT_FOUND)
		return rc_fail(RC_CORRUPT, why, "the object '%s' is missing", get->key);
	if (get->rc != RC_OK)
		return rc_fail(get->rc, why, "%s", get->why.text);
	if (get->len != item->event.size)
		return rc_fail(RC_CORRUPT, why, "the object '%s' has %zu bytes, expected %" PRIu64,
			       get->key, get->len, item->event.size);
	return RC_OK;
}

/*
 * Not settled, and not (wholly) there when the objects were asked: the ledger has it, or it was
 * settled since.
 */
static enum rc read_unsettled(struct view *v, const struct catalog_dir *dir, struct view_body *item,
			      struct why *why)
{
	enum rc rc = read_pieces(v, dir, item, why);
	if (rc == RC_OK)
		return RC_OK;
	struct object_get get = { .key = item->key.data };
	if (object_get(v->src.objects, &get, 1) == RC_OK &&
	    check_object(&get, item, NULL) == RC_OK) {
		item->text = get.buf;
		item->len = get.len;
		return RC_OK;
	}
	free(get.rc == RC_OK ? get.buf : NULL);
	if (rc == RC_NOT_FOUND)
		return rc_fail(RC_TEMPORARY, why, "event %" PRIu64 " of '%s/%s' is not stored yet",
			       item->event.number, dir->type, dir->id);
	return rc;
}

enum rc view_body_read(struct view *v, const struct catalog_dir *dir, struct view_body *items,
		       size_t n, struct why *why)
{
	_cleanup_(freep) struct object_get *gets = calloc(n, sizeof(*gets));
	if (!gets)
		return rc_fail(RC_NO_MEMORY, why, "no memory for %zu events", n);
	for (size_t i = 0; i < n; i++)
		gets[i].key = items[i].key.data;
	enum rc rc = object_get(v->src.objects, gets, n);
	if (rc != RC_OK)
		rc = RC_OK;	/* each tells for itself */
	for (size_t i = 0; i < n; i++) {
		if (gets[i].rc == RC_OK) {
			items[i].text = gets[i].buf;
			items[i].len = gets[i].len;
		}
		if (rc != RC_OK)
			continue;
		bool unsettled = !items[i].event.settled;
		rc = check_object(&gets[i], &items[i], unsettled ? NULL : why);
		if (rc == RC_OK || !unsettled)
			continue;
		free(items[i].text);
		items[i].text = NULL;
		rc = read_unsettled(v, dir, &items[i], why);
	}
	return rc;
}
