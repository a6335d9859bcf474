/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-objects.c - what the objects tell of streams and events goes into the catalog: stores
 * without a ledger, and streams that their ledger does not know yet (design.md 6, both
 * "Refresh").
 *
 * What is no event of the stream under its number is left out and stops nothing; verify names it.
 * A hole is passed when the event behind it is old enough.
 */
#include "config.h"
#include "store/view-private.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/name.h"

#define BATCH 256
#define NAMES 500	/* of directories, written at once */
/* A hole this old counts as one that stays; verify finds what comes later. */
#define HOLE_OLD_US (15 * 60 * INT64_C(1000000))

/* An entry that the catalog does not have. */
struct candidate {
	uint64_t number;
	int64_t recorded_us, modified_us;
	char *key; /* of the event object; indexed: of its index entry, until that was read */
	char *event_id;		/* indexed */
	struct object_get get;	/* of the event object */
	uint32_t ordinal;	/* under which it was added; 0: it was not */
};

struct objects {
	struct view_refresh r;
	bool indexed, passing;
	int64_t now_us, hole_us;
	struct candidate batch[BATCH];
	size_t n;
	bool stopped;		/* at an event that may still come */
};

static void release_batch(struct objects *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->batch[i].key);
		free(o->batch[i].event_id);
		free(o->batch[i].get.buf);
	}
	o->n = 0;
}

static char *member_text(const struct json_value *v)
{
	struct buf text = BUF_INIT;
	size_t len = 0;
	if (v->type == JSON_STRING)
		json_string(v, &text);
	char *out = v->type == JSON_STRING ? buf_take(&text, &len) : NULL;
	if (out && strlen(out) != len) {	/* a NUL inside */
		free(out);
		out = NULL;
	}
	return out;
}

/* What an index entry says; *key_r stays NULL where it is none. */
static void read_index(const struct object_get *get, char **key_r, int64_t *recorded_r)
{
	struct json_value doc, key, value;
	struct json_iter it;
	if (json_parse(get->buf, get->len, JSON_LAX, &doc, NULL) != RC_OK ||
	    doc.type != JSON_OBJECT)
		return;
	json_iter_init(&it, &doc);
	while (json_iter_next(&it, &key, &value)) {
		if (json_string_is(&key, "s3_key")) {
			free(*key_r);
			*key_r = member_text(&value);
		} else if (json_string_is(&key, "recorded_at")) {
			_cleanup_(freep) char *text = member_text(&value);
			struct time_stamp t;
			if (text && time_parse(text, strlen(text), &t, NULL) == RC_OK)
				*recorded_r = t.us;
		}
	}
}

/* The answers of a batch of requests, without what they brought; what is missing is no failure. */
static enum rc get_all(struct objects *o, struct object_get *gets, size_t n)
{
	if (!n || object_get(o->r.v->src.objects, gets, n) == RC_OK)
		return RC_OK;
	for (size_t i = 0; i < n && o->r.rc == RC_OK; i++) {
		if (gets[i].rc != RC_OK && gets[i].rc != RC_NOT_FOUND &&
		    gets[i].rc != RC_TOO_LARGE && gets[i].rc != RC_INVALID)
			o->r.rc = rc_fail(gets[i].rc, &o->r.why, "%s", gets[i].why.text);
	}
	return o->r.rc;
}

/* Indexed: from the entries to the keys of their events. */
static enum rc follow_index(struct objects *o)
{
	_cleanup_(freep) struct object_get *gets = calloc(o->n, sizeof(*gets));
	if (!gets)
		return o->r.rc = rc_fail(RC_NO_MEMORY, &o->r.why, "no memory for index entries");
	for (size_t i = 0; i < o->n; i++)
		gets[i].key = o->batch[i].key;
	enum rc rc = get_all(o, gets, o->n);
	for (size_t i = 0; i < o->n; i++) {
		char *key = NULL;
		int64_t recorded_us = 0;
		if (gets[i].rc == RC_OK)
			read_index(&gets[i], &key, &recorded_us);
		free(gets[i].buf);
		free(o->batch[i].key);
		o->batch[i].key = key;
		if (recorded_us)
			o->batch[i].recorded_us = recorded_us;
	}
	return rc;
}

static enum rc get_events(struct objects *o)
{
	_cleanup_(freep) struct object_get *gets = calloc(o->n, sizeof(*gets));
	if (!gets)
		return o->r.rc = rc_fail(RC_NO_MEMORY, &o->r.why, "no memory for events");
	size_t n = 0;
	for (size_t i = 0; i < o->n; i++)
		if (o->batch[i].key)
			gets[n++].key = o->batch[i].key;
	enum rc rc = get_all(o, gets, n);
	n = 0;
	for (size_t i = 0; i < o->n; i++) {
		o->batch[i].get.rc = RC_NOT_FOUND;
		if (o->batch[i].key)
			o->batch[i].get = gets[n++];
	}
	return rc;
}

static enum rc add_event(struct objects *o, struct candidate *c, const struct event *e)
{
	const char *event_id = c->event_id ? c->event_id : e->event_id;
	int64_t recorded = c->recorded_us ? c->recorded_us : c->modified_us;
	struct catalog_event known;
	bool same = false;
	if (view_refresh_begin(&o->r) != RC_OK)
		return o->r.rc;
	if (c->number <= o->r.dir.head &&
	    view_refresh_look(&o->r, c->number, event_id, &known, &same) == RC_OK) {
		if (same && !known.settled)
			return o->r.rc = catalog_event_settle(o->r.conn, known.dir, c->number,
							      &o->r.why);
		if (same)
			return RC_OK;
		if (!o->indexed) {
			/*
			 * the object stands; what was shown here was not firm, or another process
			 * learned the same
			 */
			o->r.rc = known.settled ? RC_OK
						: catalog_event_remove(o->r.conn, &o->r.dir, &known,
								       &o->r.why);
			if (o->r.rc != RC_OK || known.settled)
				return o->r.rc;
		}
	}
	c->ordinal = o->r.dir.next_ordinal;
	return view_refresh_add(&o->r,
				&(struct catalog_new){
					.number = c->number,
					.event_id = event_id,
					.event_type = e->event_type,
					.key = o->indexed ? c->key : NULL,
					.size = c->get.len,
					.occurred = e->has_time ? e->occurred_at.us : recorded,
					.recorded = recorded,
					.settled = true,
				});
}

/* True if the candidate was dealt with: shown, or no event. */
static bool take_candidate(struct objects *o, struct candidate *c)
{
	if (c->get.rc == RC_NOT_FOUND && o->now_us - c->modified_us < o->hole_us)
		return false;	/* being copied here, perhaps */
	_cleanup_(event_release) struct event e = EVENT_INIT;
	bool good = c->get.rc == RC_OK &&
		    layout_check_event(c->get.buf, c->get.len, o->r.dir.type, o->r.dir.id,
				       c->number, &e, NULL) == RC_OK;
	/*
	 * an index entry whose event says another id is not that event's; one without id has its
	 * entry's
	 */
	if (good && (c->event_id ? e.event_id && strcmp(e.event_id, c->event_id) : !e.event_id))
		good = false;
	return !good || add_event(o, c, &e) == RC_OK;
}

/* Everything up to number is known, unless a hole is to be watched. */
static void pass(struct objects *o, uint64_t number, int64_t modified_us)
{
	bool old = o->now_us - modified_us >= HOLE_OLD_US;
	bool unbroken = o->r.firm + 1 >= number || (o->passing && old);
	/* a further event with the same number may come: foreign writers only */
	if (unbroken && (!o->indexed || old) && number > o->r.firm)
		o->r.firm = number;
	o->r.next = number + 1;
}

static void flush(struct objects *o)
{
	enum rc rc = RC_OK;
	if (o->n && o->indexed)
		rc = follow_index(o);
	if (o->n && rc == RC_OK)
		rc = get_events(o);
	for (size_t i = 0; i < o->n && rc == RC_OK && !o->stopped; i++) {
		struct candidate *c = &o->batch[i];
		bool done = take_candidate(o, c);
		rc = o->r.rc;
		if (done)
			pass(o, c->number, c->modified_us);
		else
			o->stopped = true;
	}
	/* the next requests go out without a transaction open */
	rc = view_refresh_keep(&o->r);
	for (size_t i = 0; i < o->n && rc == RC_OK && o->r.v->ahead; i++)
		if (o->batch[i].ordinal)
			view_ahead_keep(o->r.v->ahead, o->r.dir.row, o->batch[i].ordinal,
					o->batch[i].get.buf, o->batch[i].get.len);
	release_batch(o);
}

static bool take_entry(void *arg, const struct layout_entry *entry)
{
	struct objects *o = arg;
	uint64_t before = o->n ? o->batch[o->n - 1].number + 1 : o->r.next;
	if (entry->number > before && o->now_us - entry->modified_us < o->hole_us)
		return false;	/* what waits in the batch is good */
	struct catalog_event known;
	bool same = false;
	if (entry->number <= o->r.dir.head &&
	    view_refresh_look(&o->r, entry->number, entry->event_id, &known, &same) == RC_OK &&
	    known.settled && (same || !o->indexed)) {
		/* keep the order: what waits comes before */
		if (o->n)
			flush(o);
		if (!o->stopped && o->r.rc == RC_OK)
			pass(o, entry->number, entry->modified_us);
		return !o->stopped && o->r.rc == RC_OK;
	}
	struct candidate *c = &o->batch[o->n++];
	*c = (struct candidate){
		.number = entry->number,
		.recorded_us = entry->recorded_us,
		.modified_us = entry->modified_us,
		.key = strdup(entry->key),
		.event_id = entry->event_id ? strdup(entry->event_id) : NULL,
	};
	if (!c->key || (entry->event_id && !c->event_id))
		o->r.rc = rc_fail(RC_NO_MEMORY, &o->r.why, "no memory for an entry");
	else if (o->n == BATCH)
		flush(o);
	return !o->stopped && o->r.rc == RC_OK;
}

enum rc view_objects_events(struct view *v, struct catalog_dir *dir, int64_t hole_us, bool passing,
			    struct why *why)
{
	_cleanup_(freep) struct objects *o = calloc(1, sizeof(*o));
	if (!o)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a refresh");
	*o = (struct objects){ .r.v = v,
			       .indexed = v->src.layout == LAYOUT_INDEXED,
			       .passing = passing,
			       .now_us = clock_wall_us(),
			       .hole_us = hole_us };
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_get(conn, dir->row, &o->r.dir, why);
	catalog_done(v->catalog, conn);
	if (rc != RC_OK)
		return rc;
	o->r.firm = o->r.dir.known_to;
	o->r.next = o->r.firm + 1;
	rc = layout_list_stream(v->src.objects, v->src.layout, dir->type, dir->id, o->r.firm,
				take_entry, o, &o->r.why);
	if (rc != RC_OK && o->r.rc == RC_OK)
		o->r.rc = rc;
	if (o->r.rc == RC_OK)
		flush(o);
	release_batch(o);
	return view_refresh_end(&o->r, why);
}

/* ------------------------------------------------------------------ directories */

/* Names that the catalog may not have: written together, with no request to the objects meanwhile. */
struct children {
	struct view *v;
	const struct catalog_dir *parent;	/* NULL: whole paths, of streams */
	struct buf names;	/* one after the other, each part with its NUL */
	size_t n;
	enum rc rc;
	struct why *why;
};

static enum rc add_name(struct children *c, struct catalog_conn *conn, const char **name, bool add)
{
	struct catalog_dir dir;
	const char *first = *name;
	*name += strlen(first) + 1;
	enum rc rc;
	if (c->parent) {
		rc = catalog_dir_child(conn, c->parent, first, add, &dir, c->why);
	} else {
		const char *id = *name;
		*name += strlen(id) + 1;
		rc = catalog_dir_path(conn, first, id, add, &dir, c->why);
		if (rc == RC_OK && !dir.stream && add) {
			dir.stream = true;
			return catalog_dir_save(conn, &dir, c->why);
		}
		if (rc == RC_OK && !dir.stream)
			return RC_NOT_FOUND;
	}
	if (rc == RC_INVALID)	/* no key can be that long */
		return RC_OK;
	return rc == RC_OK && !dir.shown ? RC_NOT_FOUND : rc;
}

/* RC_NOT_FOUND: some are to be added. */
static enum rc add_names(struct children *c, struct catalog_conn *conn, bool add)
{
	enum rc rc = RC_OK;
	for (const char *at = buf_text(&c->names); rc == RC_OK && at < buf_text(&c->names) + c->names.len;)
		rc = add_name(c, conn, &at, add);
	return rc;
}

static enum rc flush_names(struct children *c)
{
	if (!c->n || c->rc != RC_OK)
		return c->rc;
	if (buf_failed(&c->names))
		return c->rc = rc_fail(RC_NO_MEMORY, c->why, "no memory for the names of directories");
	struct catalog_conn *conn = catalog_read(c->v->catalog);
	c->rc = add_names(c, conn, false);
	catalog_done(c->v->catalog, conn);
	if (c->rc == RC_NOT_FOUND) {
		c->rc = catalog_write(c->v->catalog, &conn, c->why);
		if (c->rc != RC_OK)
			return c->rc;
		c->rc = add_names(c, conn, true);
		if (c->rc == RC_OK)
			c->rc = catalog_commit(c->v->catalog, conn, c->why);
		else
			catalog_abandon(c->v->catalog, conn);
	}
	buf_reset(&c->names);
	c->n = 0;
	return c->rc;
}

static bool take_child(void *arg, const char *part)
{
	struct children *c = arg;
	buf_add(&c->names, part, strlen(part) + 1);
	return ++c->n < NAMES || flush_names(c) == RC_OK;
}

static enum rc end_children(struct children *c, enum rc rc)
{
	/* what was told before a failure is there */
	enum rc flushed = flush_names(c);
	buf_release(&c->names);
	return rc == RC_OK || c->rc != RC_OK ? flushed : rc;
}

enum rc view_objects_children(struct view *v, const struct catalog_dir *dir, struct why *why)
{
	struct children c = { .v = v, .parent = dir, .names = BUF_INIT, .why = why };
	return end_children(&c, layout_list_children(v->src.objects, v->src.layout, dir->depth ? dir->type : NULL,
						     dir->depth >= 2 ? dir->id : NULL, take_child, &c, why));
}

static bool take_stream(void *arg, const char *type, const char *id)
{
	struct children *c = arg;
	buf_add(&c->names, type, strlen(type) + 1);
	buf_add(&c->names, id, strlen(id) + 1);
	return ++c->n < NAMES || flush_names(c) == RC_OK;
}

enum rc view_objects_streams(struct view *v, struct why *why)
{
	struct children c = { .v = v, .names = BUF_INIT, .why = why };
	return end_children(&c, layout_list_streams(v->src.objects, v->src.layout, take_stream, &c, NULL, why));
}

static bool take_any(void *arg, const char *part)
{
	(void)part;
	*(bool *)arg = true;
	return false;
}

static bool take_any_entry(void *arg, const struct layout_entry *entry)
{
	(void)entry;
	*(bool *)arg = true;
	return false;
}

enum rc view_objects_find(struct view *v, const struct catalog_dir *parent, const char *name,
			  struct catalog_dir *out, struct why *why)
{
	_cleanup_(buf_release) struct buf part = BUF_INIT, id = BUF_INIT;
	bool found = false;
	if (name_decode(name, strlen(name), &part, why) != RC_OK)
		return rc_fail(RC_NOT_FOUND, why, "no directory '%s'", name);
	if (parent->depth >= 2)
		buf_printf(&id, "%s/", parent->id);
	if (parent->depth)
		buf_add_text(&id, buf_text(&part));
	if (buf_failed(&id) || buf_failed(&part))
		return rc_fail(RC_NO_MEMORY, why, "no memory");

	const char *type = parent->depth ? parent->type : buf_text(&part);
	enum rc rc = layout_list_children(v->src.objects, v->src.layout, type,
					  parent->depth ? buf_text(&id) : NULL, take_any, &found,
					  why);
	if (rc == RC_OK && !found && parent->depth)
		rc = layout_list_stream(v->src.objects, v->src.layout, type, buf_text(&id), 0,
					take_any_entry, &found, why);
	if (rc != RC_OK)
		return rc;
	if (!found)
		return rc_fail(RC_NOT_FOUND, why, "no directory '%s'", name);
	struct catalog_conn *conn;
	rc = catalog_write(v->catalog, &conn, why);
	if (rc != RC_OK)
		return rc;
	rc = catalog_dir_child(conn, parent, buf_text(&part), true, out, why);
	if (rc == RC_OK)
		return catalog_commit(v->catalog, conn, why);
	catalog_abandon(v->catalog, conn);
	return rc;
}
