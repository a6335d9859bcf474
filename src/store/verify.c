/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - objects, ledger and catalog of a native store against each other. */
#include "config.h"
#include "store/verify-private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/draft.h"
#include "event/key.h"

#define GET_BATCH 64
#define ROW_PAGE 1000

void verify_tell(struct verify *v, struct verify_finding f, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f.text = text;
	if (!f.harmless)
		v->count.findings++;
	v->fn(v->arg, &f);
}

void verify_step(struct verify *v, uint64_t events)
{
	v->count.events += events;
	if (v->progress)
		v->progress(v->arg, &v->count);
}

enum rc verify_body(struct verify *v, const char *type, const char *id, uint64_t number, const struct object_get *get,
		    struct event *event_r, bool *good_r)
{
	struct why why = { "" };
	*good_r = false;
	if (get->rc == RC_NO_MEMORY)
		return rc_fail(get->rc, &v->why, "%s", get->why.text);
	if (get->rc != RC_OK) {
		verify_tell(v, (struct verify_finding){ .kind = "unreadable", .type = type, .id = id, .number = number,
							.key = get->key }, "%s", get->why.text);
		return RC_OK;
	}
	if (layout_check_event(get->buf, get->len, NULL, NULL, 0, event_r, &why) != RC_OK) {
		const char *kind = strstr(why.text, "older shape") ? "old-shape" : "malformed";
		verify_tell(v, (struct verify_finding){ .kind = kind, .type = type, .id = id, .number = number, .key = get->key },
			    "%s", why.text);
		return RC_OK;
	}
	struct event placed = EVENT_INIT;
	if (layout_check_event(get->buf, get->len, type, id, number, &placed, &why) != RC_OK)
		verify_tell(v, (struct verify_finding){ .kind = "wrong-place", .type = type, .id = id, .number = number,
							.key = get->key }, "%s", why.text);
	else
		*good_r = true;
	event_release(&placed);
	return RC_OK;
}

/* ------------------------------------------------------------------ one stream */

/* What one of the three says of a number. */
struct seen {
	uint64_t number, span;
	char *event_id, *event_type;	/* NULL where it does not tell */
	uint64_t size;
	int64_t occurred_us;
	uint8_t digest[LEDGER_DIGEST_LEN];
	bool settled;
};
struct side {
	struct seen *rows;
	size_t n, cap;
	bool failed;
};

static void side_release(struct side *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->rows[i].event_id);
		free(d->rows[i].event_type);
	}
	free(d->rows);
	*d = (struct side){ 0 };
}

static struct seen *side_add(struct side *d)
{
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 64;
		struct seen *rows = realloc(d->rows, cap * sizeof(*rows));
		if (!rows) {
			d->failed = true;
			return NULL;
		}
		d->rows = rows;
		d->cap = cap;
	}
	d->rows[d->n] = (struct seen){ 0 };
	return &d->rows[d->n++];
}

static bool add_object(void *arg, const struct layout_entry *e)
{
	struct seen *row = side_add(arg);
	if (row)
		*row = (struct seen){ .number = e->number, .size = e->size };
	return row;
}

static bool add_row(void *arg, const struct ledger_row *r)
{
	struct side *d = arg;
	struct seen *row = side_add(d);
	if (!row)
		return false;
	*row = (struct seen){ .number = r->number, .span = r->span, .size = r->size, .occurred_us = r->occurred_us,
			      .settled = r->settled };
	if (r->span)
		return true;
	if (r->digest)
		memcpy(row->digest, r->digest, sizeof(row->digest));
	row->event_id = strdup(r->event_id);
	row->event_type = strdup(r->event_type);
	d->failed = d->failed || !row->event_id || !row->event_type;
	return !d->failed;
}

static bool add_known(void *arg, const struct view_event *e, const char *event_id)
{
	struct side *d = arg;
	struct seen *row = side_add(d);
	if (!row)
		return false;
	*row = (struct seen){ .number = e->number, .size = e->size, .settled = e->settled, .event_id = strdup(event_id) };
	d->failed = d->failed || !row->event_id;
	return !d->failed;
}

struct stream {
	struct verify *v;
	const char *type, *id;
	struct side objects, known;
	size_t object, catalog;	/* the next of each */
};

static void tell(struct stream *t, const char *kind, uint64_t number, bool harmless, const char *text)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	key_native_event(t->type, t->id, number, &key);
	verify_tell(t->v, (struct verify_finding){ .kind = kind, .type = t->type, .id = t->id, .number = number,
						   .key = buf_text(&key), .harmless = harmless }, "%s", text);
}

struct elsewhere {
	char place[300];
};

static bool take_place(void *arg, const struct ledger_row *row)
{
	struct elsewhere *e = arg;
	snprintf(e->place, sizeof(e->place), "%.100s/%.150s number %" PRIu64, row->type, row->id, row->number);
	return false;
}

/* An object whose number the ledger does not have as an event. */
static void tell_unlisted(struct stream *t, const struct event *e, uint64_t number, bool is_void)
{
	struct elsewhere other = { "" };
	struct ledger_query q = { .what = LEDGER_ID, .event_id = e->event_id, .unseeded_too = true };
	char text[500];

	if (e->event_id && ledger_read(t->v->s->ledger, &q, take_place, &other, NULL, NULL) == RC_OK && other.place[0]) {
		snprintf(text, sizeof(text), "event '%.60s' is stored here and as %s", e->event_id, other.place);
		tell(t, "twice", number, false, text);
	} else if (is_void) {
		tell(t, "missing-row", number, false, "the object is an event, the ledger has a void under its number");
	} else {
		tell(t, "missing-row", number, false, "the object is an event that the ledger does not have; 'evfsctl init --adopt' "
		     "after removing the ledger rebuilds it");
	}
}

static void compare_event(struct stream *t, const struct seen *row, const struct object_get *get, const struct event *e)
{
	uint8_t digest[DRAFT_DIGEST_LEN];
	char text[500];

	if (strcmp(e->event_id ? e->event_id : "", row->event_id)) {
		snprintf(text, sizeof(text), "the ledger has event '%.60s', the object is event '%.60s'", row->event_id,
			 e->event_id ? e->event_id : "");
		tell(t, "different", row->number, false, text);
	} else if (draft_digest_body(get->buf, get->len, digest, NULL) != RC_OK || memcmp(digest, row->digest, sizeof(digest))) {
		tell(t, "different", row->number, false, "the object's content is not what was appended");
	} else if (get->len != row->size) {
		snprintf(text, sizeof(text), "the object has %zu bytes, the ledger says %" PRIu64, get->len, row->size);
		tell(t, "different", row->number, false, text);
	} else if (e->has_time && e->occurred_at.us != row->occurred_us) {
		tell(t, "different", row->number, false, "the object's occurred_at is not what the ledger has");
	}
}

/* Objects [first, first + n) with the row of each (NULL: the ledger has none). */
static enum rc check_objects(struct stream *t, size_t first, const struct seen *const *rows, size_t n)
{
	struct object_get gets[GET_BATCH];
	struct buf keys[GET_BATCH];
	enum rc rc = RC_OK;

	for (size_t i = 0; i < n; i++) {
		keys[i] = (struct buf)BUF_INIT;
		key_native_event(t->type, t->id, t->objects.rows[first + i].number, &keys[i]);
		gets[i] = (struct object_get){ .key = buf_text(&keys[i]) };
	}
	STORE_COUNT(t->v->s, gets, n);
	if (object_get(t->v->s->objects, gets, n) == RC_NO_MEMORY)
		rc = rc_fail(RC_NO_MEMORY, &t->v->why, "no memory to read objects");
	for (size_t i = 0; i < n; i++) {
		struct event e = EVENT_INIT;
		bool good = false;
		uint64_t number = t->objects.rows[first + i].number;
		if (rc == RC_OK)
			rc = verify_body(t->v, t->type, t->id, number, &gets[i], &e, &good);
		if (rc == RC_OK && good && t->v->s->ledger) {
			if (rows[i] && !rows[i]->span)
				compare_event(t, rows[i], &gets[i], &e);
			else
				tell_unlisted(t, &e, number, rows[i]);
		}
		event_release(&e);
		free(gets[i].buf);
		buf_release(&keys[i]);
	}
	verify_step(t->v, n);
	return rc;
}

/* The catalog's entries up to a row: what it shows as settled must be there. */
static void check_catalog(struct stream *t, uint64_t number, const char *event_id)
{
	for (; t->catalog < t->known.n && t->known.rows[t->catalog].number <= number; t->catalog++) {
		const struct seen *k = &t->known.rows[t->catalog];
		if (!k->settled)
			continue;
		if (k->number < number || !event_id)
			tell(t, "catalog", k->number, false, "the catalog shows an event that is not there");
		else if (strcmp(k->event_id, event_id))
			tell(t, "catalog", k->number, false, "the catalog shows another event under this number");
	}
}

static bool is_missing(const struct stream *t, uint64_t number)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	struct object_info info;
	key_native_event(t->type, t->id, number, &key);
	return object_stat(t->v->s->objects, buf_text(&key), &info, NULL) == RC_NOT_FOUND;
}

/* One page of ledger rows against the objects up to its last number. */
static enum rc check_page(struct stream *t, const struct side *page, uint64_t to)
{
	const struct seen *rows[GET_BATCH];
	size_t first = t->object, n = 0, i = 0;
	enum rc rc = RC_OK;

	while (rc == RC_OK && (i < page->n || (t->object < t->objects.n && t->objects.rows[t->object].number <= to))) {
		const struct seen *row = i < page->n ? &page->rows[i] : NULL;
		const struct seen *object = t->object < t->objects.n ? &t->objects.rows[t->object] : NULL;
		uint64_t row_end = row ? row->number + (row->span ? row->span - 1 : 0) : 0;
		if (object && object->number > to)
			object = NULL;
		if (object && (!row || object->number <= row_end)) {
			bool same = row && object->number >= row->number;
			rows[n++] = same ? row : NULL;
			t->object++;
			if (same && !row->span) {
				check_catalog(t, row->number, row->event_id);
				i++;
			}
		} else if (row->span) {
			check_catalog(t, row_end, NULL);
			tell(t, "void", row->number, true, row->span > 1 ? "numbers without event" : "a number without event");
			i++;
		} else {
			check_catalog(t, row->number, row->event_id);
			if (row->settled && is_missing(t, row->number))
				tell(t, "missing-object", row->number, false, "the ledger says that it is stored, it is not there");
			else if (row->settled)
				verify_step(t->v, 1);	/* stored after the objects were listed */
			else
				tell(t, "pending", row->number, true, "committed, not stored yet: a sweeper will");
			i++;
		}
		if (n == GET_BATCH) {
			rc = check_objects(t, first, rows, n);
			first = t->object;
			n = 0;
		}
	}
	return rc == RC_OK && n ? check_objects(t, first, rows, n) : rc;
}

static enum rc check_with_ledger(struct stream *t)
{
	uint64_t after = 0;
	for (bool more = true; more; ) {
		_cleanup_(side_release) struct side page = { 0 };
		struct ledger_query q = { .what = LEDGER_EVENTS, .type = t->type, .id = t->id, .after = after, .limit = ROW_PAGE,
					  .unseeded_too = true };
		enum rc rc = ledger_read(t->v->s->ledger, &q, add_row, &page, NULL, &t->v->why);
		if (rc == RC_OK && page.failed)
			rc = rc_fail(RC_NO_MEMORY, &t->v->why, "no memory to compare '%s/%s'", t->type, t->id);
		if (rc != RC_OK)
			return rc;
		more = page.n == ROW_PAGE;
		if (more) {
			const struct seen *last = &page.rows[page.n - 1];
			after = last->number + (last->span ? last->span - 1 : 0);
		}
		rc = check_page(t, &page, more ? after : UINT64_MAX);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

static enum rc check_objects_only(struct stream *t)
{
	const struct seen *rows[GET_BATCH] = { NULL };
	uint64_t next = 1;
	for (size_t i = 0; i < t->objects.n; i++) {
		uint64_t number = t->objects.rows[i].number;
		if (number > next) {
			char text[120];
			snprintf(text, sizeof(text), "%" PRIu64 " to %" PRIu64 " are not there", next, number - 1);
			tell(t, "gap", next, false, text);
		}
		next = number + 1;
	}
	for (size_t from = 0; from < t->objects.n; from += GET_BATCH) {
		size_t n = t->objects.n - from < GET_BATCH ? t->objects.n - from : GET_BATCH;
		enum rc rc = check_objects(t, from, rows, n);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

static enum rc check_stream(struct verify *v, const char *type, const char *id, bool only_without_objects)
{
	struct stream t = { .v = v, .type = type, .id = id };
	STORE_COUNT(v->s, lists, 1);
	enum rc rc = layout_list_stream(v->s->objects, LAYOUT_NATIVE, type, id, 0, add_object, &t.objects, &v->why);
	if (rc == RC_OK && (!only_without_objects || !t.objects.n)) {
		v->count.streams++;
		if (v->view)
			rc = view_known(v->view, type, id, add_known, &t.known, &v->why);
		if (rc == RC_NOT_FOUND)
			rc = RC_OK;
		if (rc == RC_OK && (t.objects.failed || t.known.failed))
			rc = rc_fail(RC_NO_MEMORY, &v->why, "no memory to compare '%s/%s'", type, id);
		if (rc == RC_OK)
			rc = v->s->ledger ? check_with_ledger(&t) : check_objects_only(&t);
		if (rc == RC_OK && v->s->ledger)
			check_catalog(&t, UINT64_MAX, NULL);
	}
	side_release(&t.objects);
	side_release(&t.known);
	return rc;
}

/* ------------------------------------------------------------------ the store */

static bool object_stream(void *arg, const char *type, const char *id)
{
	struct verify *v = arg;
	v->rc = check_stream(v, type, id, false);
	return v->rc == RC_OK;
}

static void foreign_object(void *arg, const char *key)
{
	struct verify *v = arg;
	const char *what = strncmp(key, "streams/", 8) ? "not a key of this layout" : "no event's key";
	verify_tell(v, (struct verify_finding){ .kind = "foreign", .key = key }, "%s", what);
}

struct next_stream {
	int64_t stream;
	char *type, *id;
};

static bool take_stream(void *arg, const struct ledger_row *row)
{
	struct next_stream *n = arg;
	n->stream = row->stream;
	n->type = strdup(row->type);
	n->id = strdup(row->id);
	return false;
}

/* Streams of which there is no object at all. */
static enum rc ledger_streams(struct verify *v)
{
	int64_t after = 0;
	for (;;) {
		struct next_stream n = { 0 };
		struct ledger_query q = { .what = LEDGER_STREAMS, .stream = after, .limit = 1, .unseeded_too = true };
		enum rc rc = ledger_read(v->s->ledger, &q, take_stream, &n, NULL, &v->why);
		_cleanup_(freep) char *type = n.type;
		_cleanup_(freep) char *id = n.id;
		if (rc != RC_OK || !type || !id)
			return rc;
		after = n.stream;
		rc = check_stream(v, type, id, true);
		if (rc != RC_OK)
			return rc;
	}
}

static enum rc run_native(struct verify *v)
{
	STORE_COUNT(v->s, lists, 1);
	enum rc rc = layout_list_streams(v->s->objects, LAYOUT_NATIVE, object_stream, v, foreign_object, &v->why);
	if (rc == RC_OK)
		rc = v->rc;
	return rc == RC_OK && v->s->ledger ? ledger_streams(v) : rc;
}

enum rc verify_run(struct store *s, verify_fn *fn, void (*progress)(void *arg, const struct verify_progress *p), void *arg,
		   struct verify_progress *out, struct why *why)
{
	struct verify v = { .s = s, .fn = fn, .progress = progress, .arg = arg };
	v.view = store_view(s, NULL);
	enum rc rc = s->info.layout == LAYOUT_NATIVE ? run_native(&v) : verify_indexed_run(&v);
	*out = v.count;
	return rc == RC_OK ? RC_OK : rc_fail(rc, why, "%s", v.why.text);
}
