/* SPDX-License-Identifier: Apache-2.0 */
/* verify-read.c - events as they are stored, against what ledger and catalog say of them. */
#include "config.h"
#include "store/verify-work.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/draft.h"
#include "event/key.h"

#define FOUND_MAX (256u << 10) /* bytes of findings that a batch holds */

/* ------------------------------------------------------------------ findings */

void _printf_(6, 7)
	verify_read_note(struct verify_work *w, const char *kind, const struct verify_part *part,
			 uint64_t number, bool harmless, const char *fmt, ...)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	key_native_event(part->type, part->id, number, &key);
	verify_note(&w->b->found, &(struct verify_finding){ .kind = kind,
							    .type = part->type,
							    .id = part->id,
							    .number = number,
							    .key = buf_text(&key),
							    .text = text,
							    .harmless = harmless });
}

struct elsewhere {
	const struct verify_item *item;
	char place[300];
};

static bool take_place(void *arg, const struct ledger_row *row)
{
	struct elsewhere *e = arg;
	const struct verify_item *item = e->item;
	if (row->number != item->number || strcmp(row->type, item->part->type) ||
	    strcmp(row->id, item->part->id))
		snprintf(e->place, sizeof(e->place), "%.100s/%.150s number %" PRIu64, row->type,
			 row->id, row->number);
	return false;
}

/*
 * An object whose number the ledger has not, or as another event: does its event stand elsewhere?
 */
static bool stands_elsewhere(struct verify_work *w, const struct verify_item *item,
			     const struct event *e)
{
	struct elsewhere other = { .item = item, .place = "" };
	struct ledger_query q = { .what = LEDGER_ID,
				  .event_id = e->event_id,
				  .unseeded_too = true };
	if (!e->event_id ||
	    ledger_read(w->v->s->ledger, &q, take_place, &other, NULL, NULL) != RC_OK ||
	    !other.place[0])
		return false;
	verify_read_note(w, "twice", item->part, item->number, false,
			 "event '%.60s' is stored here and as %s", e->event_id, other.place);
	return true;
}

static void compare_row(struct verify_work *w, const struct verify_item *item,
			const struct object_get *get, const struct event *e)
{
	const struct verify_row *row = &item->row;
	const char *id = e->event_id ? e->event_id : "";
	uint8_t digest[DRAFT_DIGEST_LEN];

	if (strcmp(id, item->row_id)) {
		if (!stands_elsewhere(w, item, e))
			verify_read_note(
				w, "different", item->part, item->number, false,
				"the ledger has event '%.60s', the object is event '%.60s'",
				item->row_id, id);
	} else if (draft_digest_body(get->buf, get->len, digest, NULL) != RC_OK ||
		   memcmp(digest, row->digest, sizeof(digest))) {
		verify_read_note(w, "different", item->part, item->number, false,
				 "the object's content is not what was appended");
	} else if (get->len != row->size) {
		verify_read_note(w, "different", item->part, item->number, false,
				 "the object has %zu bytes, the ledger says %" PRIu64, get->len,
				 row->size);
	} else if (e->has_time && e->occurred_at.us != row->occurred_us) {
		verify_read_note(w, "different", item->part, item->number, false,
				 "the object's occurred_at is not what the ledger has");
	}
	if (!row->settled && w->v->now_us - row->recorded_us > VERIFY_LATE_US)
		verify_read_note(w, "unsettled", item->part, item->number, true,
				 "stored, and not marked so in the ledger");
}

static void compare_event(struct verify_work *w, const struct verify_item *item,
			  const struct object_get *get, const struct event *e)
{
	if (item->known_id && *item->known_id &&
	    strcmp(item->known_id, e->event_id ? e->event_id : ""))
		verify_read_note(w, "catalog", item->part, item->number, false,
				 "the catalog shows event '%.60s' under this number",
				 item->known_id);
	if (!w->v->s->ledger) {
		if (w->recorded_of == item->part && get->recorded_us &&
		    get->recorded_us < w->recorded_us)
			w->b->backwards++;
		w->recorded_of = item->part;
		w->recorded_us = get->recorded_us;
	} else if (item->has_row) {
		compare_row(w, item, get, e);
	} else if (!stands_elsewhere(w, item, e)) {
		verify_read_note(
			w, "missing-row", item->part, item->number, false,
			item->is_void
				? "the object is an event, the ledger has a void under its number"
				: "the object is an event that the ledger does not have");
	}
}

/* ------------------------------------------------------------------ reading */

void verify_read_drop(struct verify_work *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->items[i].key);
		free(w->items[i].row_id);
		free(w->items[i].known_id);
		free(w->gets[i].buf);
	}
	w->n = 0;
	w->bytes = 0;
}

/* One that failed alone is damage; where nothing can be read the run ends instead. */
static enum rc look_again(struct verify_work *w, struct object_get *get)
{
	struct object_info info;
	struct why why = { "" };
	if (get->rc == RC_TEMPORARY) {
		*get = (struct object_get){ .key = get->key };
		(void)!object_get(w->v->s->objects, get, 1);
	}
	if (get->rc != RC_TEMPORARY && get->rc != RC_DENIED)
		return RC_OK;
	enum rc rc = object_stat(w->v->s->objects, LAYOUT_STORE_KEY, &info, &why);
	return rc == RC_OK || rc == RC_NOT_FOUND ? RC_OK : rc_fail(rc, &w->b->why, "%s", why.text);
}

static enum rc check_item(struct verify_work *w, const struct verify_item *item,
			  struct object_get *get)
{
	_cleanup_(event_release) struct event e = EVENT_INIT;
	bool good;
	enum rc rc = get->rc == RC_TEMPORARY || get->rc == RC_DENIED ? look_again(w, get) : RC_OK;
	if (rc != RC_OK)
		return rc;
	if (get->rc == RC_NOT_FOUND) {
		verify_read_note(w, "missing-object", item->part, item->number, false,
				 item->has_row
					 ? "the ledger says that it is stored, it is not there"
					 : "it was listed, and is not there");
		return RC_OK;
	}
	rc = verify_body(get, item->part->type, item->part->id, item->number, &w->b->found, &e,
			 &good, &w->b->why);
	if (rc == RC_OK && good)
		compare_event(w, item, get, &e);
	return rc;
}

/* What was found is kept small. */
enum rc verify_read_spill(struct verify_work *w)
{
	if (w->b->found.len <= FOUND_MAX || verify_batch_spill(w->v, w->b))
		return RC_OK;
	return rc_fail(RC_CANCELLED, &w->b->why, "interrupted");
}

/* Read and compare what was gathered. */
enum rc verify_read_flush(struct verify_work *w)
{
	enum rc rc = RC_OK;
	for (size_t i = 0; i < w->n; i++)
		w->gets[i] = (struct object_get){ .key = w->items[i].key };
	STORE_COUNT(w->v->s, gets, w->n);
	if (w->n && object_get(w->v->s->objects, w->gets, w->n) == RC_NO_MEMORY)
		rc = rc_fail(RC_NO_MEMORY, &w->b->why, "no memory to read objects");
	for (size_t i = 0; i < w->n && rc == RC_OK; i++)
		rc = check_item(w, &w->items[i], &w->gets[i]);
	w->b->events += w->n;
	verify_read_drop(w);
	return rc == RC_OK ? verify_read_spill(w) : rc;
}

/* Gather one more; row may be NULL. known_id is taken. */
enum rc verify_read_gather(struct verify_work *w, uint64_t number,
			   const struct verify_object *object, const struct verify_row *row,
			   char *known_id)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	struct verify_item *item = &w->items[w->n];
	*item = (struct verify_item){
		.part = w->part, .number = number, .listed = object, .known_id = known_id
	};
	if (row && row->span) {
		item->is_void = true;
	} else if (row) {
		item->has_row = true;
		item->row = *row;
		item->row_id = strdup(buf_text(&w->page.texts) + row->event_id);
	}
	key_native_event(w->part->type, w->part->id, number, &key);
	item->key = buf_take(&key, NULL);
	w->gets[w->n++].buf = NULL;
	w->bytes += object ? object->size : row ? row->size : 0;
	if (!item->key || (item->has_row && !item->row_id))
		return rc_fail(RC_NO_MEMORY, &w->b->why, "no memory to read objects");
	return w->n == VERIFY_OBJECTS || w->bytes >= VERIFY_BYTES ? verify_read_flush(w) : RC_OK;
}
