/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify-compare.c - a batch of objects against the ledger's rows and the catalog's entries.
 *
 * The objects were listed before the rows are read: a row whose object was not listed may be
 * younger, and is read like the others.
 */
#include "config.h"
#include "store/verify-work.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/key.h"

/* ------------------------------------------------------------------ the catalog */

static bool add_known(void *arg, const struct view_event *e, const char *event_id)
{
	struct verify_known *k = arg;
	if (e->number > k->to || k->n == VERIFY_ROWS) {
		k->more = e->number <= k->to;
		return false;
	}
	if (!e->settled || e->fork > 1)
		return true;
	k->numbers[k->n] = e->number;
	k->ids[k->n++] = k->texts.len;
	buf_add_text(&k->texts, event_id);
	buf_add_char(&k->texts, '\0');
	return true;
}

static enum rc read_known(struct verify_work *w, uint64_t after)
{
	struct verify_known *k = &w->known;
	k->n = k->at = 0;
	k->more = false;
	buf_reset(&k->texts);
	if (!w->v->view)
		return RC_OK;
	enum rc rc =
		view_known(w->v->view, w->part->type, w->part->id, after, add_known, k, &w->b->why);
	return rc == RC_OK && buf_failed(&k->texts)
		       ? rc_fail(RC_NO_MEMORY, &w->b->why, "no memory for the catalog")
		       : rc;
}

static bool take_event(void *arg, const struct ledger_row *row)
{
	struct ledger_row *wanted = arg;
	wanted->settled = !row->span && row->number == wanted->number;
	return false;
}

/* It may have come after the rows, or the objects, were read. */
static bool came_since(struct verify_work *w, uint64_t number)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	struct ledger_row row = { .number = number };
	struct ledger_query q = { .what = LEDGER_EVENTS,
				  .type = w->part->type,
				  .id = w->part->id,
				  .after = number - 1,
				  .limit = 1,
				  .unseeded_too = true };
	struct object_info info;
	if (w->v->s->ledger)
		return ledger_read(w->v->s->ledger, &q, take_event, &row, NULL, NULL) != RC_OK ||
		       row.settled;
	key_native_event(w->part->type, w->part->id, number, &key);
	return object_stat(w->v->s->objects, buf_text(&key), &info, NULL) != RC_NOT_FOUND;
}

/*
 * The catalog's entries up to a number: each must stand for an event that is there (exists: the
 * number is one). *known_id_r: the event id that it shows under the number, or NULL; the caller's.
 */
static enum rc compare_known(struct verify_work *w, uint64_t number, bool exists, char **known_id_r)
{
	struct verify_known *k = &w->known;
	enum rc rc = RC_OK;
	while (rc == RC_OK && (k->at < k->n || k->more)) {
		if (k->at == k->n) {
			rc = read_known(w, k->numbers[k->n - 1]);
			continue;
		}
		if (k->numbers[k->at] > number)
			break;
		if (k->numbers[k->at] == number && exists) {
			char *id = strdup(buf_text(&k->texts) + k->ids[k->at]);
			if (!id)
				return rc_fail(RC_NO_MEMORY, &w->b->why,
					       "no memory for the catalog");
			free(*known_id_r);
			*known_id_r = id;
		} else if (!came_since(w, k->numbers[k->at])) {
			verify_read_note(w, "catalog", w->part, k->numbers[k->at], false,
					 "the catalog shows an event that is not there");
			rc = verify_read_spill(w);
		}
		k->at++;
	}
	return rc;
}

/* ------------------------------------------------------------------ one part of a stream */

static bool add_row(void *arg, const struct ledger_row *r)
{
	struct verify_page *p = arg;
	p->stream = r->stream;
	if (r->number > p->to) {
		p->beyond = true;
		return false;
	}
	struct verify_row *row = &p->rows[p->n++];
	*row = (struct verify_row){ .number = r->number,
				    .span = r->span,
				    .size = r->size,
				    .occurred_us = r->occurred_us,
				    .recorded_us = r->recorded_us,
				    .settled = r->settled,
				    .event_id = p->texts.len };
	if (!r->span && r->digest)
		memcpy(row->digest, r->digest, sizeof(row->digest));
	buf_add_text(&p->texts, r->span ? "" : r->event_id);
	buf_add_char(&p->texts, '\0');
	return p->n < VERIFY_ROWS;
}

/* The next page of rows, from the one at `done` on (only its time is wanted). */
static enum rc read_page(struct verify_work *w, uint64_t done, bool *more_r)
{
	struct verify_page *p = &w->page;
	struct ledger_query q = { .what = LEDGER_EVENTS,
				  .type = w->part->type,
				  .id = w->part->id,
				  .after = done ? done - 1 : 0,
				  .limit = VERIFY_ROWS,
				  .unseeded_too = true };
	if (w->part->to - done < VERIFY_ROWS - 2)
		q.limit = (size_t)(w->part->to - done) + 2;
	p->n = 0;
	p->beyond = false;
	p->to = w->part->to;
	buf_reset(&p->texts);
	enum rc rc = ledger_read(w->v->s->ledger, &q, add_row, p, NULL, &w->b->why);
	if (rc == RC_OK && buf_failed(&p->texts))
		rc = rc_fail(RC_NO_MEMORY, &w->b->why, "no memory to compare '%s/%s'",
			     w->part->type, w->part->id);
	*more_r = rc == RC_OK && !p->beyond && p->n == q.limit;
	return rc;
}

static uint64_t row_end(const struct verify_row *row)
{
	return row->number + (row->span ? row->span - 1 : 0);
}

/* A row without object. */
static enum rc lone_row(struct verify_work *w, const struct verify_row *row)
{
	_cleanup_(freep) char *known_id = NULL;
	enum rc rc = compare_known(w, row_end(row), !row->span, &known_id);
	if (rc != RC_OK)
		return rc;
	if (row->span && row->told) {
		return RC_OK;
	} else if (row->span == 1) {
		verify_read_note(w, "void", w->part, row->number, true, "a number without event");
	} else if (row->span) {
		verify_read_note(w, "void", w->part, row->number, true,
				 "%" PRIu64 " numbers without event", row->span);
	} else if (row->settled) {
		rc = verify_read_gather(w, row->number, NULL, row, TAKE_PTR(known_id));
	} else if (w->v->now_us - row->recorded_us > VERIFY_LATE_US) {
		verify_read_note(w, "late", w->part, row->number, false,
				 "committed %" PRId64 " s ago, still not stored",
				 (w->v->now_us - row->recorded_us) / 1000000);
	} else {
		verify_read_note(w, "pending", w->part, row->number, true,
				 "committed, not stored yet: a sweeper will");
	}
	return rc;
}

static enum rc with_object(struct verify_work *w, const struct verify_object *object,
			   const struct verify_row *row)
{
	char *known_id = NULL;
	enum rc rc = compare_known(w, object->number, true, &known_id);
	if (rc != RC_OK) {
		free(known_id);
		return rc;
	}
	return verify_read_gather(w, object->number, object, row, known_id);
}

/* Rows of a stream follow each other in time. */
static void compare_time(struct verify_work *w, const struct verify_row *row)
{
	if (row->span)
		return;
	if (w->recorded_of == w->part && row->recorded_us < w->recorded_us)
		verify_read_note(w, "backwards", w->part, row->number, false,
				 "its recorded time is %" PRId64
				 " us before that of the event before it",
				 w->recorded_us - row->recorded_us);
	w->recorded_of = w->part;
	w->recorded_us = row->recorded_us;
}

/*
 * A page of rows, those behind done, with the objects up to `to`. *object: the next one of the
 * part.
 */
static enum rc merge(struct verify_work *w, uint64_t done, uint64_t to, size_t *object)
{
	const struct verify_object *objects = w->b->objects + w->part->first;
	enum rc rc = RC_OK;
	for (size_t i = 0; rc == RC_OK;) {
		struct verify_row *row = i < w->page.n ? &w->page.rows[i] : NULL;
		const struct verify_object *o =
			*object < w->part->n && objects[*object].number <= to ? &objects[*object]
									      : NULL;
		if (row && row->number <= done) {
			compare_time(w, row);
			if (row_end(row) <= done) {
				i++;
				continue;
			}
			row->span = row_end(row) - done; /* a void: the rest of it */
			row->number = done + 1;
			row->told = true;
		}
		if (!row && !o)
			break;
		if (o && (!row || o->number <= row_end(row))) {
			bool same = row && o->number >= row->number;
			rc = with_object(w, o, same ? row : NULL);
			++*object;
			if (!same || row->span)
				continue;
			compare_time(w, row);
		} else {
			compare_time(w, row);
			rc = lone_row(w, row);
		}
		i++;
	}
	return rc;
}

static enum rc with_ledger(struct verify_work *w)
{
	uint64_t done = w->part->from;
	size_t object = 0;
	enum rc rc = RC_OK;
	for (bool more = true; more && rc == RC_OK;) {
		rc = read_page(w, done, &more);
		if (rc != RC_OK)
			return rc;
		uint64_t to = more ? row_end(&w->page.rows[w->page.n - 1]) : w->part->to;
		rc = merge(w, done, to, &object);
		done = to;
		if (rc == RC_OK)
			rc = verify_read_spill(w);
	}
	return rc;
}

static enum rc without_ledger(struct verify_work *w)
{
	const struct verify_object *objects = w->b->objects + w->part->first;
	uint64_t next = w->part->from + 1;
	enum rc rc = RC_OK;
	for (size_t i = 0; i < w->part->n && rc == RC_OK; i++) {
		uint64_t number = objects[i].number;
		if (number > next)
			verify_read_note(w, "gap", w->part, next, false,
					 "%" PRIu64 " to %" PRIu64 " are not there", next,
					 number - 1);
		next = number + 1;
		rc = with_object(w, &objects[i], NULL);
	}
	return rc;
}

static bool found_one(void *arg, const struct layout_entry *entry)
{
	(void)entry;
	*(bool *)arg = true;
	return false;
}

static enum rc compare_part(struct verify_work *w, struct verify_part *part)
{
	char *none = NULL;
	bool known_elsewhere = false;
	w->part = part;
	w->known.to = part->to;
	w->page.stream = 0;
	enum rc rc = RC_OK;
	if (part->look) {
		STORE_COUNT(w->v->s, lists, 1);
		rc = layout_list_stream(w->v->s->objects, LAYOUT_NATIVE, part->type, part->id, 0,
					found_one, &known_elsewhere, &w->b->why);
	}
	if (rc != RC_OK || known_elsewhere)
		return rc;
	if (!part->from)
		w->b->streams++;
	rc = read_known(w, part->from);
	if (rc == RC_OK)
		rc = w->v->s->ledger ? with_ledger(w) : without_ledger(w);
	if (rc == RC_OK)
		rc = compare_known(w, part->to, false, &none);
	part->stream = w->page.stream;
	return rc;
}

void verify_compare_batch(struct verify *v, struct verify_batch *b)
{
	_cleanup_(freep) struct verify_work *w = calloc(1, sizeof(*w));
	if (!w) {
		b->rc = rc_fail(RC_NO_MEMORY, &b->why, "no memory to compare");
		return;
	}
	w->v = v;
	w->b = b;
	for (size_t i = 0; i < b->n_parts && b->rc == RC_OK; i++)
		b->rc = compare_part(w, &b->parts[i]);
	if (b->rc == RC_OK)
		b->rc = verify_read_flush(w);
	verify_read_drop(w);
	buf_release(&w->page.texts);
	buf_release(&w->known.texts);
}
