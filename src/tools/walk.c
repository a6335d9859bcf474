/* SPDX-License-Identifier: Apache-2.0 */
/* walk.c - streams below a directory, and their lines. */
#include "config.h"
#include "tools/walk.h"

#include <inttypes.h>

#include "base/cleanup.h"
#include "event/event.h"

#define CHUNK (1u << 20)

struct walk {
	struct view *view;
	walk_stream_fn *fn;
	void *arg;
	enum rc rc;
	struct why *why;
};

static enum rc walk_directory(struct walk *w, const struct view_dir *dir);

static bool visit(void *arg, const struct view_entry *entry)
{
	struct walk *w = arg;
	struct view_dir dir;
	if (!entry->is_dir)
		return false;	/* directories come first */
	w->rc = view_get_dir(w->view, entry->dir->row, true, &dir, w->why);
	if (w->rc == RC_OK)
		w->rc = walk_directory(w, &dir);
	return w->rc == RC_OK;
}

static enum rc walk_directory(struct walk *w, const struct view_dir *dir)
{
	if (dir->is_stream) {
		enum rc rc = w->fn(w->arg, dir, w->why);
		if (rc)
			return rc;
	}
	enum rc rc = view_list(w->view, dir->row, 0, visit, w, w->why);
	return rc ? rc : w->rc;
}

enum rc walk_streams(struct view *v, const struct view_dir *dir, walk_stream_fn *fn, void *arg,
		     struct why *why)
{
	struct walk w = { .view = v, .fn = fn, .arg = arg, .rc = RC_OK, .why = why };
	return walk_directory(&w, dir);
}

/* --- lines --- */

struct lines {
	struct view *view;
	uint64_t from, to;
	struct buf text;
	walk_lines_fn *fn;
	void *arg;
	enum rc rc;
	bool stopped;
	struct why *why;
};

static bool hand_over(struct lines *l)
{
	if (l->text.len && !l->fn(l->arg, &l->text))
		l->stopped = true;
	buf_reset(&l->text);
	return !l->stopped;
}

static bool add_line(void *arg, const struct view_entry *entry)
{
	struct lines *l = arg;
	const struct view_event *e = entry->event;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	bool same;
	if (entry->is_dir || e->number < l->from)
		return true;
	if (e->number > l->to)
		return false;
	l->rc = view_read_event(l->view, e, &body, l->why);
	if (l->rc == RC_OK)
		l->rc = event_line(buf_text(&body), body.len, &l->text, &same, l->why);
	if (l->rc)
		l->rc = rc_prefix(l->rc, l->why, "event %" PRIu64, e->number);
	if (l->rc == RC_OK && buf_failed(&l->text))
		l->rc = rc_fail(RC_NO_MEMORY, l->why, "out of memory");
	return l->rc == RC_OK && (l->text.len < CHUNK || hand_over(l));
}

/* The whole stream is at hand as one file. */
static enum rc whole(struct lines *l, int64_t row)
{
	for (uint64_t offset = 0; !l->stopped;) {
		enum rc rc = view_read_stream(l->view, row, offset, CHUNK, &l->text, l->why);
		if (rc || !l->text.len)
			return rc;
		offset += l->text.len;
		hand_over(l);
	}
	return RC_OK;
}

static void lines_release(struct lines *l)
{
	buf_release(&l->text);
}

enum rc walk_lines(struct view *v, const struct view_dir *stream, uint64_t from, uint64_t to,
		   walk_lines_fn *fn, void *arg, struct why *why)
{
	_cleanup_(lines_release) struct lines l = { .view = v,
						    .from = from,
						    .to = to,
						    .text = BUF_INIT,
						    .fn = fn,
						    .arg = arg,
						    .rc = RC_OK,
						    .why = why };
	if (from <= 1 && to >= stream->head)
		return whole(&l, stream->row);
	enum rc rc = view_list(v, stream->row, 0, add_line, &l, why);
	if (rc == RC_OK)
		rc = l.rc;
	/* What was read before a failure is good. */
	hand_over(&l);
	return rc;
}
