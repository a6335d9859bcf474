/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view-stream.c - the text of events.ndjson.
 *
 * A line has the body's size and one byte more, so that sizes are known without reading bodies: a
 * body that is not compact is made so and filled up with blanks before the newline. Firm text is
 * put together a part at a time (CATALOG_PART) and kept, in the catalog and, of the last parts
 * used, in memory. A stream's last part is kept again when it has grown by a good deal. What is
 * not firm is put together whenever it is read.
 */
#include "config.h"
#include "store/view-private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define PAGE 512	/* events at a time */
#define GROWN 4096	/* bytes, and a quarter: then a part that goes on is kept again */
#define AHEAD 1024	/* events fetched ahead of who reads part after part */

/* ------------------------------------------------------------------ text in memory */

/* Append what a slot holds of the stream from offset on. False: nothing. */
static bool copy_text(struct view_texts *t, const struct catalog_dir *dir, uint64_t offset,
		      size_t len, struct buf *out)
{
	bool found = false;
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < TEXT_SLOTS && !found; i++) {
		struct text_slot *s = &t->slots[i];
		found = s->dir == dir->row && s->epoch == dir->epoch && s->start <= offset &&
			offset - s->start < s->text.len;
		if (!found)
			continue;
		size_t at = (size_t)(offset - s->start), there = s->text.len - at;
		s->used = ++t->clock;
		buf_add(out, s->text.data + at, there < len ? there : len);
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* Keep text (taken) in place of what was used longest ago. */
static void keep_text(struct view_texts *t, const struct catalog_dir *dir, uint64_t part,
		      uint64_t start, size_t kept, struct buf *text)
{
	pthread_mutex_lock(&t->lock);
	struct text_slot *s = &t->slots[0];
	for (size_t i = 0; i < TEXT_SLOTS; i++) {
		struct text_slot *other = &t->slots[i];
		if (other->dir == dir->row && other->epoch == dir->epoch && other->part == part) {
			s = other;
			break;
		}
		if (other->used < s->used)
			s = other;
	}
	bool better = s->dir != dir->row || s->epoch != dir->epoch || s->part != part ||
		      s->text.len < text->len;
	struct buf old = better ? s->text : *text;
	if (better)
		*s = (struct text_slot){ .dir = dir->row,
					 .epoch = dir->epoch,
					 .part = part,
					 .start = start,
					 .kept = kept,
					 .used = ++t->clock,
					 .text = *text };
	pthread_mutex_unlock(&t->lock);
	*text = (struct buf)BUF_INIT;
	buf_release(&old);
}

/* What there is of a part already, so that only the rest is to be put together. */
static bool take_part(struct view_texts *t, const struct catalog_dir *dir, uint64_t part,
		      uint64_t *start_r, size_t *kept_r, struct buf *out)
{
	bool found = false;
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < TEXT_SLOTS && !found; i++) {
		struct text_slot *s = &t->slots[i];
		found = s->dir == dir->row && s->epoch == dir->epoch && s->part == part &&
			s->text.len;
		if (found) {
			*start_r = s->start;
			*kept_r = s->kept;
			buf_add(out, s->text.data, s->text.len);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* Does somebody read the stream from its start, or part after part? */
static bool goes_on(struct view *v, const struct catalog_dir *dir, uint64_t part)
{
	bool found = !part;
	pthread_mutex_lock(&v->texts.lock);
	for (size_t i = 0; i < TEXT_SLOTS && !found; i++)
		found = v->texts.slots[i].dir == dir->row && v->texts.slots[i].part == part - 1;
	pthread_mutex_unlock(&v->texts.lock);
	return found;
}

/* ------------------------------------------------------------------ putting it together */

static enum rc add_line(const struct view_body *b, struct buf *out, struct why *why)
{
	size_t begin = out->len;
	bool same;
	enum rc rc = event_line(b->text, b->len, out, &same, why);
	if (rc != RC_OK)
		return rc_prefix(RC_CORRUPT, why, "event %" PRIu64, b->event.number);
	if (!same && out->len - begin > b->len + 1) {	/* null takes more than NaN */
		struct json_value doc;
		out->len = begin;
		rc = json_parse(b->text, b->len, JSON_LAX, &doc, why);
		if (rc != RC_OK)
			return rc_prefix(RC_CORRUPT, why, "event %" PRIu64, b->event.number);
		json_minify(&doc, out);
		buf_add_char(out, '\n');
	}
	while (!buf_failed(out) && out->len - begin < b->len + 1) {
		out->data[out->len - 1] = ' ';
		buf_add_char(out, '\n');
	}
	return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why, "no memory for a line") : RC_OK;
}

static enum rc add_lines(struct view *v, const struct catalog_dir *dir,
			 const struct catalog_event *events, size_t n, struct buf *out,
			 struct why *why)
{
	_cleanup_(freep) struct view_body *bodies = calloc(n, sizeof(*bodies));
	if (!bodies)
		return rc_fail(RC_NO_MEMORY, why, "no memory for %zu events", n);
	for (size_t i = 0; i < n; i++)
		bodies[i].event = events[i];
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = view_body_keys(v, conn, dir, bodies, n, why);
	catalog_done(v->catalog, conn);
	if (rc == RC_OK)
		rc = view_body_read(v, dir, bodies, n, why);
	for (size_t i = 0; i < n && rc == RC_OK; i++)
		rc = add_line(&bodies[i], out, why);
	view_body_release(bodies, n);
	return rc;
}

static uint64_t line_start(const struct catalog_event *e)
{
	return e->line_end - e->size - 1;
}

/*
 * Up to PAGE events from the one at offset on that begin before `end`, firm ones only if firm.
 * *more_r: the next begins at or behind end.
 */
static enum rc events_from(struct view *v, const struct catalog_dir *dir, uint64_t offset,
			   uint64_t end, bool firm, struct catalog_event *out, size_t *n_r,
			   bool *more_r, struct why *why)
{
	size_t n = 0, kept = 0;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_event_at(conn, dir, offset, &out[0], why);
	if (rc == RC_OK)
		rc = catalog_event_list(conn, dir->row, out[0].number, out[0].fork, out + 1,
					PAGE - 1, &n, why);
	catalog_done(v->catalog, conn);
	*more_r = false;
	if (rc == RC_NOT_FOUND) {
		*n_r = 0;
		return RC_OK;
	}
	if (rc != RC_OK)
		return rc;
	for (; kept < n + 1 && !*more_r && (!firm || out[kept].settled); kept++) {
		*more_r = line_start(&out[kept]) >= end;
		if (*more_r)
			break;
	}
	*n_r = kept;
	return RC_OK;
}

static enum rc keep_part(struct view *v, const struct catalog_dir *dir, uint64_t part,
			 uint64_t start, const struct buf *text)
{
	struct catalog_conn *conn;
	struct catalog_dir now;
	enum rc rc = catalog_write(v->catalog, &conn, NULL);
	if (rc != RC_OK)
		return rc;
	rc = catalog_dir_get(conn, dir->row, &now, NULL);
	if (rc == RC_OK && now.epoch == dir->epoch)
		rc = catalog_segment_add(conn, dir->row, part, start, text->data, text->len, NULL);
	if (rc == RC_OK)
		return catalog_commit(v->catalog, conn, NULL);
	catalog_abandon(v->catalog, conn);
	return rc;
}

/* What memory or catalog have of a part; where it begins, in any case. */
static enum rc begin_part(struct view *v, const struct catalog_dir *dir, uint64_t part,
			  uint64_t *start_r, size_t *kept_r, struct buf *text, struct why *why)
{
	*kept_r = 0;
	if (take_part(&v->texts, dir, part, start_r, kept_r, text))
		return RC_OK;

	/* a line from the part before may reach into this one */
	uint64_t begin = part * CATALOG_PART, found, start;
	struct catalog_event first;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_event_at(conn, dir, begin, &first, why);
	if (rc == RC_OK) {
		*start_r = line_start(&first) < begin ? first.line_end : begin;
		rc = catalog_segment_get(conn, dir->row, *start_r, &found, &start, text, why);
		if (rc == RC_OK && found == part)
			*kept_r = text->len;
		else if (rc == RC_OK)
			buf_reset(text);
	}
	catalog_done(v->catalog, conn);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/*
 * Put the firm text of the part together in which the line at offset begins, as far as it goes,
 * and keep it. *reached_r: offset is in it.
 */
static enum rc make_part(struct view *v, const struct catalog_dir *dir, uint64_t offset,
			 bool *reached_r, struct why *why)
{
	_cleanup_(freep) struct catalog_event *events = malloc(PAGE * sizeof(*events));
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	bool more = false;
	size_t n, kept;
	if (!events)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a part of a stream");
	enum rc rc = events_from(v, dir, offset, UINT64_MAX, false, events, &n, &more, why);
	*reached_r = false;
	if (rc != RC_OK || !n || !events[0].settled)
		return rc;

	uint64_t part = line_start(&events[0]) / CATALOG_PART, end = (part + 1) * CATALOG_PART,
		 start = part * CATALOG_PART;
	rc = begin_part(v, dir, part, &start, &kept, &text, why);
	if (rc != RC_OK)
		return rc;
	do {
		rc = events_from(v, dir, start + text.len, end, true, events, &n, &more, why);
		if (rc == RC_OK && n && v->ahead && goes_on(v, dir, part))
			view_ahead_range(v->ahead, dir->row, events[n - 1].number, AHEAD);
		if (rc == RC_OK && n)
			rc = add_lines(v, dir, events, n, &text, why);
	} while (rc == RC_OK && n && !more);
	if (rc != RC_OK)
		return rc;
	*reached_r = offset < start + text.len;
	size_t grown = text.len - kept;
	if (more ? grown > 0 : grown >= GROWN && grown >= kept / 4)
		kept = keep_part(v, dir, part, start, &text) == RC_OK ? text.len : kept;
	keep_text(&v->texts, dir, part, start, kept, &text);
	return RC_OK;
}

/*
 * Text that is not firm, for this once: the line at offset and those behind it, as far as len
 * goes.
 */
static enum rc make_loose(struct view *v, const struct catalog_dir *dir, uint64_t offset,
			  size_t len, struct buf *out, struct why *why)
{
	_cleanup_(freep) struct catalog_event *events = malloc(PAGE * sizeof(*events));
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	bool more;
	size_t n;
	if (!events)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a part of a stream");
	uint64_t end = offset + (len < CATALOG_PART ? len : CATALOG_PART);
	enum rc rc = events_from(v, dir, offset, end, false, events, &n, &more, why);
	if (rc != RC_OK || !n)
		return rc;
	rc = add_lines(v, dir, events, n, &text, why);
	if (rc != RC_OK)
		return rc;
	size_t at = (size_t)(offset - line_start(&events[0])), there = text.len - at;
	buf_add(out, text.data + at, there < len ? there : len);
	return RC_OK;
}

static enum rc load_part(struct view *v, const struct catalog_dir *dir, uint64_t offset,
			 struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	uint64_t part, start;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_segment_get(conn, dir->row, offset, &part, &start, &text, why);
	catalog_done(v->catalog, conn);
	if (rc == RC_OK)
		keep_text(&v->texts, dir, part, start, text.len, &text);
	return rc;
}

enum rc view_read_stream(struct view *v, int64_t row, uint64_t offset, size_t len, struct buf *out,
			 struct why *why)
{
	struct catalog_dir dir;
	struct catalog_conn *conn = catalog_read(v->catalog);
	enum rc rc = catalog_dir_get(conn, row, &dir, why);
	catalog_done(v->catalog, conn);

	while (rc == RC_OK && len && offset < dir.stream_size) {
		size_t before = out->len;
		bool reached = true;
		if (!copy_text(&v->texts, &dir, offset, len, out)) {
			rc = load_part(v, &dir, offset, why);
			if (rc == RC_NOT_FOUND)
				rc = make_part(v, &dir, offset, &reached, why);
			if (rc == RC_OK &&
			    (!reached || !copy_text(&v->texts, &dir, offset, len, out)))
				rc = make_loose(v, &dir, offset, len, out, why);
		}
		if (rc == RC_OK && buf_failed(out))
			rc = rc_fail(RC_NO_MEMORY, why, "no memory for %zu bytes of a stream", len);
		size_t got = out->len - before;
		if (!got)
			break;
		offset += got;
		len -= got;
	}
	return rc;
}
