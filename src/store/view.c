/* SPDX-License-Identifier: Apache-2.0 */
/* view.c - making a view, and looking single things up in it. */
#include "config.h"
#include "store/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "event/key.h"
#include "store/view-private.h"

/* ------------------------------------------------------------------ life */

/* When the store was made, or first seen. */
static enum rc find_birth(struct view *v, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct layout_store info;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_meta_get(conn, "birth", &text, why);
	catalog_done(v->catalog, conn);
	if (rc == RC_OK)
		v->birth_us = strtoll(buf_text(&text), NULL, 10);
	if (rc != RC_NOT_FOUND)
		return rc;

	bool made = layout_probe(v->src.objects, &info, NULL) == RC_OK && info.created_us;
	v->birth_us = made ? info.created_us : clock_wall_us();
	char number[24];
	snprintf(number, sizeof(number), "%" PRId64, v->birth_us);
	rc = catalog_write(v->catalog, &conn, why);
	if (rc != RC_OK)
		return rc;
	rc = catalog_meta_set(conn, "birth", number, why);
	if (rc == RC_OK)
		return catalog_commit(v->catalog, conn, why);
	catalog_abandon(v->catalog, conn);
	return rc;
}

/* Drop what is not firm, and the handles: they were another ledger's. */
static enum rc drop_soft(struct catalog_conn *conn, size_t *dropped_r, struct why *why)
{
	struct catalog_dir dir;
	int64_t row = 0;
	enum rc rc;
	while ((rc = catalog_event_next_soft(conn, row, &row, why)) == RC_OK) {
		rc = catalog_dir_get(conn, row, &dir, why);
		if (rc == RC_OK)
			rc = catalog_event_drop_soft(conn, &dir, 0, UINT32_MAX, dropped_r, why);
		if (rc == RC_OK)
			rc = catalog_dir_save(conn, &dir, why);
		if (rc != RC_OK)
			return rc;
	}
	row = 0;
	while (rc == RC_NOT_FOUND &&
	       (rc = catalog_dir_next_stream(conn, row, &dir, why)) == RC_OK) {
		row = dir.row;
		if (!dir.events)
			rc = catalog_dir_hide(conn, &dir, why);
		if (rc != RC_OK)
			return rc;
		rc = RC_NOT_FOUND;
	}
	return rc == RC_NOT_FOUND ? catalog_dir_forget_handles(conn, why) : rc;
}

/* Is the catalog of the ledger as it was last seeded? If not, forget what only that ledger knew. */
static enum rc check_identity(struct view *v, size_t *dropped_r, struct why *why)
{
	struct ledger_state state = { .count = false };
	char now[2 * LEDGER_IDENTITY_MAX + 32] = "";
	size_t dropped = 0;
	if (v->src.ledger && ledger_state(v->src.ledger, &state, NULL) == RC_OK)
		snprintf(now, sizeof(now), "%" PRIu64 " %s %s", state.seeding, state.identity,
			 state.written);

	_cleanup_(buf_release) struct buf seen = BUF_INIT;
	struct catalog_conn *conn;
	enum rc rc = catalog_write(v->catalog, &conn, why);
	if (rc != RC_OK)
		return rc;
	rc = catalog_meta_get(conn, "ledger", &seen, why);
	bool same = rc == RC_OK && *now && !strcmp(now, buf_text(&seen));
	if ((rc == RC_OK || rc == RC_NOT_FOUND) && !same) {
		rc = drop_soft(conn, &dropped, why);
		if (rc == RC_OK)
			rc = catalog_meta_set(conn, "ledger", now, why);
	}
	if (rc != RC_OK) {
		catalog_abandon(v->catalog, conn);
		return rc;
	}
	rc = catalog_commit(v->catalog, conn, why);
	if (rc == RC_OK && dropped)
		log_info("view: the ledger was seeded anew, events that were not yet stored are "
			 "asked for again events=%zu",
			 dropped);
	if (rc == RC_OK && dropped_r)
		*dropped_r = dropped;
	return rc;
}

enum rc view_new(struct view **out, const struct view_source *source,
		 const struct view_options *options, struct why *why)
{
	_cleanup_(view_freep) struct view *v = calloc(1, sizeof(*v));
	if (!v)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a view");
	v->src = *source;
	v->fresh_ms = options->fresh_ms;
	v->gap_wait_us = (int64_t)options->gap_wait_ms * 1000;
	view_fresh_init(&v->fresh);
	pthread_mutex_init(&v->names.lock, NULL);
	pthread_mutex_init(&v->prefixes.lock, NULL);
	pthread_mutex_init(&v->texts.lock, NULL);
	enum rc rc = catalog_open(&v->catalog, options->catalog, options->uuid, why);
	if (rc == RC_OK && source->objects->counters)	/* each request is a round trip */
		rc = view_ahead_new(&v->ahead, v, why);
	if (rc == RC_OK)
		rc = find_birth(v, why);
	if (rc == RC_OK && source->ledger)
		rc = check_identity(v, NULL, why);
	if (rc == RC_OK)
		*out = TAKE_PTR(v);
	return rc;
}

void view_free(struct view **vp)
{
	if (!vp || !*vp)
		return;
	struct view *v = *vp;
	*vp = NULL;
	view_ahead_free(&v->ahead);
	catalog_free(&v->catalog);
	for (size_t i = 0; i < TEXT_SLOTS; i++)
		buf_release(&v->texts.slots[i].text);
	for (size_t i = 0; i < PREFIX_SLOTS; i++)
		buf_release(&v->prefixes.slots[i].prefix);
	view_fresh_destroy(&v->fresh);
	pthread_mutex_destroy(&v->names.lock);
	pthread_mutex_destroy(&v->prefixes.lock);
	pthread_mutex_destroy(&v->texts.lock);
	free(v);
}

void view_touch(struct view *v, const char *type, const char *id)
{
	view_fresh_touch(&v->fresh, type, id);
}

enum rc view_identity_changed(struct view *v, size_t *dropped_r, struct why *why)
{
	atomic_store(&v->complete, false);
	enum rc rc = check_identity(v, dropped_r, why);
	view_fresh_forget(&v->fresh);
	return rc;
}

/* ------------------------------------------------------------------ directories */

static enum rc get_dir(struct view *v, int64_t row, struct catalog_dir *out, struct why *why)
{
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_get(conn, row, out, why);
	catalog_done(v->catalog, conn);
	return rc;
}

/* Only what is shown is there. */
static enum rc find_dir(struct view *v, int64_t parent, const char *name, struct catalog_dir *out,
			struct why *why)
{
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_find(conn, parent, name, out, why);
	catalog_done(v->catalog, conn);
	return rc == RC_OK && !out->shown ? rc_fail(RC_NOT_FOUND, why, "no directory '%s'", name)
					  : rc;
}

/* Do the objects know streams that the ledger does not, or could not, name? */
static bool objects_know_more(struct view *v, enum rc asked)
{
	return !v->src.ledger || !atomic_load(&v->complete) || asked != RC_OK;
}

/*
 * Nobody named it. RC_TEMPORARY where the ledger, which may know it, could not be asked. One that is gone, damaged or not
 * seeded knows nothing that counts.
 */
static enum rc unnamed(enum rc asked, struct why *why)
{
	if (asked == RC_OK || asked == RC_FENCED || asked == RC_NOT_FOUND || asked == RC_CORRUPT)
		return RC_NOT_FOUND;
	return rc_fail(RC_TEMPORARY, why, "the ledger cannot be asked for what the objects do not name");
}

enum rc view_lookup_dir(struct view *v, int64_t parent, const char *name, struct view_dir *out,
			struct why *why)
{
	struct catalog_dir dir, above;
	enum rc rc = find_dir(v, parent, name, &dir, why);
	if (rc == RC_NOT_FOUND) {
		rc = get_dir(v, parent, &above, why);
		if (rc != RC_OK)
			return rc;
		enum rc asked;
		rc = view_refresh_streams(v, &above, &asked, why);
		if (rc == RC_OK)
			rc = find_dir(v, parent, name, &dir, why);
		if (rc == RC_NOT_FOUND && objects_know_more(v, asked))
			rc = view_objects_find(v, &above, name, &dir, why);
		if (rc == RC_NOT_FOUND)
			rc = unnamed(asked, why);
	}
	if (rc == RC_OK)
		view_entry_dir(v, &dir, out);
	return rc;
}

enum rc view_get_dir(struct view *v, int64_t row, bool refresh, struct view_dir *out,
		     struct why *why)
{
	struct catalog_dir dir;
	enum rc rc = get_dir(v, row, &dir, why);
	/* where asking fails, what is known is shown; an aggregate known by name alone is not empty */
	enum rc asked = rc == RC_OK && refresh ? view_refresh_dir(v, &dir, why) : RC_OK;
	if (asked != RC_OK && !dir.shown)
		rc = rc_fail(RC_NOT_FOUND, why, "no directory %jd", (intmax_t)row);
	else if (asked != RC_OK && dir.depth >= 2 && !dir.events && !dir.epoch)
		rc = asked;
	if (rc != RC_OK)
		return rc;
	view_entry_dir(v, &dir, out);
	if (refresh)
		out->fresh_ms = view_fresh_left(&v->fresh, &dir, v->src.ledger, v->fresh_ms);
	return RC_OK;
}

struct totals {
	view_total_fn *fn;
	void *arg;
};

static void take_total(void *arg, const struct catalog_total *from)
{
	const struct totals *t = arg;
	t->fn(t->arg, &(struct view_total){
			      .type = from->type,
			      .streams = from->streams,
			      .events = from->events,
			      .bytes = from->stream_size - from->events,	/* without the newlines */
		      });
}

enum rc view_totals(struct view *v, view_total_fn *fn, void *arg, struct why *why)
{
	struct totals t = { fn, arg };
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_totals(conn, take_total, &t, why);
	catalog_done(v->catalog, conn);
	return rc;
}

static enum rc find_path(struct view *v, const char *type, const char *id, struct catalog_dir *out,
			 struct why *why)
{
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_path(conn, type, id, false, out, why);
	catalog_done(v->catalog, conn);
	return rc;
}

static bool take_any(void *arg, const struct layout_entry *entry)
{
	(void)entry;
	*(bool *)arg = true;
	return false;
}

/* A stream that only its objects name so far. */
static enum rc find_objects(struct view *v, const char *type, const char *id,
			    struct catalog_dir *out, struct why *why)
{
	bool found = false;
	struct catalog_conn *conn;
	enum rc rc = layout_list_stream(v->src.objects, v->src.layout, type, id, 0, take_any,
					&found, why);
	if (rc != RC_OK || !found)
		return rc == RC_OK ? rc_fail(RC_NOT_FOUND, why, "no stream '%s/%s'", type, id) : rc;
	rc = catalog_write(v->catalog, &conn, why);
	if (rc != RC_OK)
		return rc;
	rc = catalog_dir_path(conn, type, id, true, out, why);
	if (rc == RC_OK)
		return catalog_commit(v->catalog, conn, why);
	catalog_abandon(v->catalog, conn);
	return rc;
}

enum rc view_find_stream(struct view *v, const char *type, const char *id, bool refresh,
			 struct view_dir *out, struct why *why)
{
	struct catalog_dir dir, root = { .row = VIEW_ROOT };
	enum rc rc = RC_OK;
	if (v->src.layout == LAYOUT_NATIVE)	/* foreign ids need only fit unescaped */
		rc = key_check_stream(type, id, why);
	if (rc != RC_OK)
		return rc_fail(RC_NOT_FOUND, why, "no stream '%s/%s'", type, id);
	rc = find_path(v, type, id, &dir, why);
	if (rc == RC_NOT_FOUND && refresh) {
		enum rc asked;
		rc = view_refresh_streams(v, &root, &asked, why);
		if (rc == RC_OK)
			rc = find_path(v, type, id, &dir, why);
		if (rc == RC_NOT_FOUND && objects_know_more(v, asked))
			rc = find_objects(v, type, id, &dir, why);
		if (rc == RC_NOT_FOUND)
			rc = unnamed(asked, why);
	}
	if (rc == RC_OK && refresh) {
		enum rc asked = view_refresh_dir(v, &dir, why);
		if (asked != RC_OK && !dir.events)
			return asked;
	}
	if (rc == RC_OK && !dir.events)
		rc = RC_NOT_FOUND;
	if (rc == RC_NOT_FOUND)
		return rc_fail(rc, why, "no stream '%s/%s'", type, id);
	if (rc == RC_OK)
		view_entry_dir(v, &dir, out);
	return rc;
}

enum rc view_stream_of(struct view *v, int64_t row, struct buf *type, struct buf *id,
		       struct why *why)
{
	struct catalog_dir dir;
	enum rc rc = get_dir(v, row, &dir, why);
	if (rc != RC_OK)
		return rc;
	if (dir.depth < 2)
		return rc_fail(RC_INVALID, why, "%s is no aggregate",
			       dir.depth ? "an aggregate type" : "the root");
	buf_add_text(type, dir.type);
	buf_add_text(id, dir.id);
	return buf_failed(type) || buf_failed(id)
		       ? rc_fail(RC_NO_MEMORY, why, "no memory for a stream's name")
		       : RC_OK;
}

/* ------------------------------------------------------------------ events */

/* The event with this name among those with its number; RC_NOT_FOUND. */
static enum rc find_event(struct view *v, int64_t dir, const char *name, struct view_event *out,
			  struct why *why)
{
	char *end;
	uint64_t number = strtoull(name, &end, 10);
	struct catalog_event e;
	struct view_event shown;
	if (*name < '0' || *name > '9' || *end != '-' || !number || number > INT64_MAX)
		return rc_fail(RC_NOT_FOUND, why, "no event '%s'", name);

	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = RC_OK;
	for (unsigned fork = 1; rc == RC_OK; fork++) {
		rc = catalog_event_get(conn, dir, number, fork, &e, NULL);
		if (rc == RC_OK)
			rc = view_entry_event(v, conn, &e, &shown, why);
		if (rc == RC_OK && !strcmp(shown.name, name))
			break;
	}
	catalog_done(v->catalog, conn);
	if (rc == RC_OK)
		*out = shown;
	return rc == RC_NOT_FOUND ? rc_fail(rc, why, "no event '%s'", name) : rc;
}

enum rc view_lookup_event(struct view *v, int64_t dir, const char *name, struct view_event *out,
			  struct why *why)
{
	struct catalog_dir row;
	enum rc rc = find_event(v, dir, name, out, why);
	if (rc != RC_NOT_FOUND)
		return rc;
	rc = get_dir(v, dir, &row, why);
	if (rc == RC_OK)
		rc = view_refresh_dir(v, &row, why);
	return rc == RC_OK ? find_event(v, dir, name, out, why) : rc;
}

enum rc view_get_event(struct view *v, int64_t dir, uint32_t ordinal, struct view_event *out,
		       struct why *why)
{
	struct catalog_event e;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_event_ordinal(conn, dir, ordinal, &e, why);
	if (rc == RC_OK)
		rc = view_entry_event(v, conn, &e, out, why);
	catalog_done(v->catalog, conn);
	return rc;
}

enum rc view_event_numbered(struct view *v, int64_t dir, uint64_t number, struct view_event *out,
			    struct why *why)
{
	struct catalog_event e;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_event_get(conn, dir, number, 1, &e, why);
	if (rc == RC_OK)
		rc = view_entry_event(v, conn, &e, out, why);
	catalog_done(v->catalog, conn);
	return rc;
}

/* The rows behind an event that was shown; RC_NOT_FOUND: it is gone. */
static enum rc find_rows(struct catalog_conn *conn, const struct view_event *e,
			 struct catalog_dir *dir, struct catalog_event *event, struct why *why)
{
	enum rc rc = catalog_event_ordinal(conn, e->dir, e->ordinal, event, why);
	return rc == RC_OK ? catalog_dir_get(conn, e->dir, dir, why) : rc;
}

enum rc view_event_facts(struct view *v, const struct view_event *e, struct buf *key,
			 struct buf *event_id, struct buf *event_type, struct why *why)
{
	struct catalog_dir dir;
	struct view_body body = { .key = BUF_INIT };
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = find_rows(conn, e, &dir, &body.event, why);
	if (rc == RC_OK && key)
		rc = view_body_keys(v, conn, &dir, &body, 1, why);
	if (rc == RC_OK && event_id)
		rc = catalog_event_texts(conn, e->dir, body.event.number, body.event.fork, event_id,
					 NULL, why);
	if (rc == RC_OK && event_type)
		rc = catalog_type_text(conn, body.event.type, event_type, why);
	catalog_done(v->catalog, conn);
	if (rc == RC_OK && key)
		buf_add(key, buf_text(&body.key), body.key.len);
	view_body_release(&body, 1);
	if (rc == RC_OK && ((key && buf_failed(key)) || (event_id && buf_failed(event_id)) ||
			    (event_type && buf_failed(event_type))))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for what an event is");
	return rc;
}

enum rc view_read_event(struct view *v, const struct view_event *e, struct buf *out,
			struct why *why)
{
	struct catalog_dir dir;
	struct view_body body = { .key = BUF_INIT };
	enum rc rc = view_body_settled(v, e, out, why);
	if (rc != RC_NOT_FOUND)
		return rc;
	struct catalog_conn *conn = catalog_read(v->catalog);
	rc = find_rows(conn, e, &dir, &body.event, why);
	if (rc == RC_OK)
		rc = view_body_keys(v, conn, &dir, &body, 1, why);
	catalog_done(v->catalog, conn);
	if (rc == RC_OK)
		rc = view_body_read(v, &dir, &body, 1, why);
	if (rc == RC_OK) {
		buf_add(out, body.text, body.len);
		if (buf_failed(out))
			rc = rc_fail(RC_NO_MEMORY, why, "no memory for an event of %zu bytes",
				     body.len);
	}
	view_body_release(&body, 1);
	return rc;
}
