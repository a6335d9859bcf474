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

/* What is kept in the catalog. RC_NOT_FOUND: not that. */
static enum rc get_kept(struct catalog_conn *conn, int64_t dir, uint32_t ordinal, uint64_t size, struct buf *out,
			struct why *why)
{
	size_t before = out->len;
	enum rc rc = catalog_body_get(conn, dir, ordinal, out, why);
	if (rc == RC_OK && out->len - before != size) {
		out->len = before;
		rc = RC_NOT_FOUND;
	}
	return rc;
}

/* What was fetched ahead, or is kept. RC_NOT_FOUND: neither. */
static enum rc take_kept(struct view *v, const struct view_event *e, struct buf *out, struct why *why)
{
	view_ahead_saw(v->ahead, e->dir, e->number);
	enum rc rc = view_ahead_take(v->ahead, e->dir, e->ordinal, e->number, out, why);
	if (rc != RC_NOT_FOUND)
		return rc;
	struct catalog_conn *conn = catalog_read(v->catalog);
	rc = get_kept(conn, e->dir, e->ordinal, e->size, out, why);
	catalog_done(v->catalog, conn);
	return rc;
}

/* From where native events lie, without a look into the catalog. */
static enum rc get_native(struct view *v, const struct view_event *e, struct buf *out, struct why *why)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	if (v->src.layout != LAYOUT_NATIVE || !add_prefix(&v->prefixes, e->dir, &key))
		return RC_NOT_FOUND;
	buf_printf(&key, "%010" PRIu64 ".json", e->number);
	if (buf_failed(&key))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a key");
	struct object_get get = { .key = key.data };
	enum rc rc = object_get(v->src.objects, &get, 1);
	if (rc == RC_TEMPORARY && v->ahead)
		view_ahead_failed(v->ahead, e->dir, e->ordinal, &get.why);
	if (rc != RC_OK)	/* an answer that did not come is not waited for again */
		return rc == RC_TEMPORARY ? rc_fail(rc, why, "%s", get.why.text) : RC_NOT_FOUND;
	if (get.len == e->size) {
		buf_add(out, get.buf, get.len);
		if (v->ahead)
			view_ahead_keep(v->ahead, e->dir, e->ordinal, get.buf, get.len);
	}
	free(get.buf);
	if (get.len != e->size)
		return RC_NOT_FOUND;
	return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why,
					 "no memory for an event of %" PRIu64 " bytes", e->size)
			       : RC_OK;
}

enum rc view_body_settled(struct view *v, const struct view_event *e, struct buf *out,
			  struct why *why)
{
	if (!e->settled)
		return RC_NOT_FOUND;
	if (v->ahead) {
		enum rc rc = take_kept(v, e, out, why);
		if (rc != RC_NOT_FOUND)
			return rc;
	}
	return get_native(v, e, out, why);
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
			      const struct object_get *asked, struct why *why)
{
	enum rc rc = read_pieces(v, dir, item, why);
	if (rc == RC_OK)
		return RC_OK;
	struct object_get get = { .key = item->key.data };
	if (asked->rc == RC_TEMPORARY)	/* the objects are away */
		return rc_fail(asked->rc, why, "%s", asked->why.text);
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

static enum rc take_all_ahead(struct view *v, struct view_body *items, size_t n, struct why *why)
{
	enum rc rc = RC_OK;
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		const struct catalog_event *e = &items[i].event;
		struct buf text = BUF_INIT;
		rc = e->settled ? view_ahead_take(v->ahead, e->dir, e->ordinal, e->number, &text, why) : RC_NOT_FOUND;
		if (rc == RC_OK)
			items[i].text = buf_take(&text, &items[i].len);
		else
			buf_release(&text);
		if (rc == RC_NOT_FOUND)
			rc = RC_OK;
	}
	return rc;
}

static void take_all_kept(struct view *v, struct view_body *items, size_t n)
{
	struct catalog_conn *conn = NULL;
	for (size_t i = 0; i < n; i++) {
		const struct catalog_event *e = &items[i].event;
		struct buf text = BUF_INIT;
		if (items[i].text || !e->settled)
			continue;
		if (!conn)
			conn = catalog_read(v->catalog);
		if (get_kept(conn, e->dir, e->ordinal, e->size, &text, NULL) == RC_OK)
			items[i].text = buf_take(&text, &items[i].len);
		else
			buf_release(&text);
	}
	if (conn)
		catalog_done(v->catalog, conn);
}

static enum rc take_object(struct view *v, const struct catalog_dir *dir, struct view_body *item,
			   struct object_get *get, struct why *why)
{
	bool settled = item->event.settled;
	enum rc rc = check_object(get, item, settled ? why : NULL);
	if (rc == RC_OK) {
		item->text = TAKE_PTR(get->buf);
		item->len = get->len;
		if (v->ahead && settled)
			view_ahead_keep(v->ahead, item->event.dir, item->event.ordinal, item->text, item->len);
		return RC_OK;
	}
	if (settled && rc == RC_TEMPORARY && v->ahead)
		view_ahead_failed(v->ahead, item->event.dir, item->event.ordinal, &get->why);
	return settled ? rc : read_unsettled(v, dir, item, get, why);
}

enum rc view_body_read(struct view *v, const struct catalog_dir *dir, struct view_body *items,
		       size_t n, struct why *why)
{
	_cleanup_(freep) struct object_get *gets = calloc(n, sizeof(*gets));
	if (!gets)
		return rc_fail(RC_NO_MEMORY, why, "no memory for %zu events", n);
	enum rc rc = v->ahead ? take_all_ahead(v, items, n, why) : RC_OK;
	if (rc != RC_OK)
		return rc;
	if (v->ahead)
		take_all_kept(v, items, n);
	size_t missing = 0, at = 0;
	for (size_t i = 0; i < n; i++)
		if (!items[i].text)
			gets[missing++].key = items[i].key.data;
	if (missing)
		rc = object_get(v->src.objects, gets, missing);
	rc = RC_OK;	/* each tells for itself */
	for (size_t i = 0; i < n; i++) {
		if (items[i].text)
			continue;
		struct object_get *get = &gets[at++];
		if (rc == RC_OK)
			rc = take_object(v, dir, &items[i], get, why);
		if (get->rc == RC_OK)
			free(get->buf);
	}
	return rc;
}
