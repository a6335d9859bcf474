/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify-indexed.c - the established layout: each index entry leads to its event, each event has
 * its entries.
 */
#include "config.h"
#include "store/verify-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "event/key.h"

struct indexed {
	struct verify *v;
	const char *type, *id;
	uint64_t last; /* the number told before */
};

static void tell(struct indexed *x, const char *kind, uint64_t number, const char *key,
		 const char *text)
{
	verify_tell(
		x->v,
		(struct verify_finding){
			.kind = kind, .type = x->type, .id = x->id, .number = number, .key = key },
		"%s", text);
}

/* The s3_key of an index body. */
static bool event_key(const char *body, size_t len, struct buf *key)
{
	struct json_value root, name, value;
	struct json_iter it;
	if (json_parse(body, len, JSON_LAX, &root, NULL) != RC_OK || root.type != JSON_OBJECT)
		return false;
	json_iter_init(&it, &root);
	while (json_iter_next(&it, &name, &value))
		if (json_string_is(&name, "s3_key") && value.type == JSON_STRING) {
			buf_reset(key);
			json_string(&value, key);
		}
	return key->len && !buf_failed(key);
}

static void need_entry(struct indexed *x, uint64_t number, const char *key)
{
	struct object_info info;
	if (object_stat(x->v->s->objects, key, &info, NULL) == RC_NOT_FOUND)
		tell(x, "index", number, key, "the event has no such index entry");
}

static void need_entries(struct indexed *x, uint64_t number, const struct event *e)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	if (!e->event_id)
		return;
	key_indexed_by_event_id(e->event_id, &key);
	need_entry(x, number, buf_text(&key));
	if (!e->has_time)
		return;
	buf_reset(&key);
	key_indexed_by_date(e->occurred_at.us, e->event_id, &key);
	need_entry(x, number, buf_text(&key));
}

static enum rc check_event(struct indexed *x, uint64_t number, const char *entry_key,
			   const char *event_object)
{
	struct object_get get = { .key = event_object };
	STORE_COUNT(x->v->s, gets, 1);
	enum rc rc = object_get(x->v->s->objects, &get, 1);
	if (rc == RC_NOT_FOUND) {
		tell(x, "missing-object", number, entry_key,
		     "the index entry names an event object that is not there");
		return RC_OK;
	}
	_cleanup_(freep) char *body = get.buf;
	_cleanup_(event_release) struct event e = EVENT_INIT;
	_cleanup_(buf_release) struct buf found = BUF_INIT;
	bool good;
	rc = verify_body(&get, x->type, x->id, number, &found, &e, &good, &x->v->why);
	verify_tell_notes(x->v, buf_text(&found), found.len);
	if (rc == RC_OK && good)
		need_entries(x, number, &e);
	return rc;
}

static bool check_entry(void *arg, const struct layout_entry *entry)
{
	struct indexed *x = arg;
	char text[120];
	if (entry->number == x->last)
		tell(x, "fork", entry->number, entry->key, "a second entry with this number");
	else if (entry->number > x->last + 1) {
		snprintf(text, sizeof(text), "%" PRIu64 " to %" PRIu64 " are not there",
			 x->last + 1, entry->number - 1);
		tell(x, "gap", x->last + 1, NULL, text);
	}
	x->last = entry->number;

	struct object_get get = { .key = entry->key };
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	STORE_COUNT(x->v->s, gets, 1);
	x->v->rc = object_get(x->v->s->objects, &get, 1);
	_cleanup_(freep) char *body = get.buf;
	if (x->v->rc != RC_OK)
		x->v->rc = rc_fail(x->v->rc, &x->v->why, "%s", get.why.text);
	else if (!event_key(get.buf, get.len, &key))
		tell(x, "malformed", entry->number, entry->key,
		     "the index entry is no JSON object with an s3_key");
	else
		x->v->rc = check_event(x, entry->number, entry->key, buf_text(&key));
	verify_step(x->v, 1);
	return !verify_ends(x->v);
}

static bool check_stream(void *arg, const char *type, const char *id)
{
	struct verify *v = arg;
	struct indexed x = { .v = v, .type = type, .id = id };
	v->count.streams++;
	STORE_COUNT(v->s, lists, 1);
	enum rc rc = layout_list_stream(v->s->objects, LAYOUT_INDEXED, type, id, 0, check_entry, &x,
					&v->why);
	if (v->rc == RC_OK)
		v->rc = rc;
	return v->rc == RC_OK;
}

static void foreign_object(void *arg, const char *key)
{
	const char *slash = strrchr(key, '/');
	bool old = slash && !strcmp(slash, "/events.json") &&
		   !strncmp(key, "indexes/by-aggregate/", 21);
	verify_tell(arg,
		    (struct verify_finding){ .kind = old ? "old-shape" : "foreign", .key = key },
		    "%s",
		    old ? "an index of 2025-08, one file for an aggregate"
			: "not a key of this layout");
}

/* An event object that no by-event-id entry leads to. */
static bool check_orphan(void *arg, const struct object_info *info)
{
	struct verify *v = arg;
	_cleanup_(buf_release) struct buf id = BUF_INIT;
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	struct object_info entry;
	const char *name = strrchr(info->key, '/') + 1;
	size_t len = strlen(name);

	if (len <= 5 || strcmp(name + len - 5, ".json")) {
		foreign_object(v, info->key);
		return true;
	}
	buf_add(&id, name, len - 5);
	key_indexed_by_event_id(buf_text(&id), &key);
	v->rc = object_stat(v->s->objects, buf_text(&key), &entry, &v->why);
	if (v->rc == RC_NOT_FOUND) {
		verify_tell(
			v, (struct verify_finding){ .kind = "orphan", .key = info->key },
			"an event object without index entries: it was never shown or published");
		v->rc = RC_OK;
	}
	return v->rc == RC_OK;
}

enum rc verify_indexed_run(struct verify *v)
{
	STORE_COUNT(v->s, lists, 2);
	enum rc rc = layout_list_streams(v->s->objects, LAYOUT_INDEXED, check_stream, v,
					 foreign_object, &v->why);
	if (rc == RC_OK)
		rc = v->rc;
	if (rc == RC_OK)
		rc = object_list(v->s->objects, "events/", NULL, OBJECT_LIST_DEEP, check_orphan, v,
				 &v->why);
	return rc == RC_OK ? v->rc : rc;
}
