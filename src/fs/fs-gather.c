/* SPDX-License-Identifier: Apache-2.0 */
/* fs-gather.c - documents out of writes. */
#include "config.h"
#include "fs/fs-gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

/* An incomplete document over this size is looked at again only when a '}' comes. */
#define EAGER 65536

void fs_gather_release(struct fs_gather *g)
{
	buf_release(&g->rest);
}

void fs_gather_batch_release(struct fs_gather_batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		draft_release(&b->drafts[i]);
	free(b->drafts);
	*b = (struct fs_gather_batch){ 0 };
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static size_t skip_blanks(const char *text, size_t at, size_t len, unsigned *line)
{
	for (; at < len && is_blank(text[at]); at++)
		*line += text[at] == '\n';
	return at;
}

static unsigned count_lines(const char *text, size_t len)
{
	unsigned n = 0;
	for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))); p++)
		n++;
	return n;
}

/* The reason begins with a place inside of the document: make it one inside of the write. */
static void rebase(struct why *why, unsigned line, size_t column)
{
	unsigned l;
	size_t c;
	int behind = 0;
	if (!why || sscanf(why->text, "line %u, column %zu%n", &l, &c, &behind) != 2 || !behind)
		return;
	struct why old = *why;
	snprintf(why->text, sizeof(why->text), "line %u, column %zu%s", l + line - 1,
		 l == 1 ? c + column - 1 : c, old.text + behind);
}

/* Where in its line, from 1, text[at] stands. */
static size_t column_of(const char *text, size_t at)
{
	size_t start = at;
	while (start && text[start - 1] != '\n')
		start--;
	return at - start + 1;
}

/*
 * How many documents there are, counting from the broken one: one in each line that is not blank.
 */
static size_t count_rest(const char *text, size_t len)
{
	size_t n = 0;
	bool blank = true;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			blank = true;
		else if (blank && !is_blank(text[i])) {
			blank = false;
			n++;
		}
	}
	return n ? n : 1;
}

static struct draft *add_draft(struct fs_gather_batch *b)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 1;
		struct draft *more = realloc(b->drafts, cap * sizeof(*more));
		if (!more)
			return NULL;
		b->drafts = more;
		b->cap = cap;
	}
	b->drafts[b->n] = (struct draft)DRAFT_INIT;
	return &b->drafts[b->n];
}

static enum rc take_document(struct fs_gather *g, const struct json_value *doc,
			     struct fs_gather_batch *out, struct why *why)
{
	if (g->single && out->n)
		return rc_fail(RC_INVALID, why,
			       "line 1, column 1: a file is one event, and here a second document "
			       "begins");
	struct draft *d = add_draft(out);
	if (!d)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	enum rc rc = g->single
			     ? draft_from_file(doc, g->event_type, g->has_number, g->number, d, why)
			     : draft_from_document(doc, d, why);
	if (rc == RC_OK)
		out->n++;
	return rc;
}

static enum rc refuse_start(const char *text, size_t len, struct why *why)
{
	char shown[24] = "";
	for (size_t i = 0; i < len && i < sizeof(shown) - 1 && (unsigned char)text[i] > 0x20 &&
			   (unsigned char)text[i] < 0x7f;
	     i++)
		shown[i] = text[i];
	if (*shown)
		return rc_fail(RC_INVALID, why,
			       "line 1, column 1: expected a JSON object, found '%s'", shown);
	return rc_fail(RC_INVALID, why,
		       "line 1, column 1: expected a JSON object, found the byte 0x%02x",
		       (unsigned char)*text);
}

/* Walk over the documents of g->text. */
static enum rc scan(struct fs_gather *g, struct fs_gather_batch *out, struct why *why)
{
	unsigned line = 1;
	for (;;) {
		size_t start = skip_blanks(g->text, g->taken, g->len, &line), used = 0;
		const char *text = g->text + start;
		size_t len = g->len - start;
		struct json_value doc;
		if (!len) {
			g->taken = start;
			return RC_OK;
		}
		enum rc rc = RC_INVALID;
		if (*text == '{')
			switch (json_scan(text, len, JSON_STRICT, 1, &doc, &used, why)) {
			case JSON_COMPLETE:
				rc = take_document(g, &doc, out, why);
				break;
			case JSON_PARTIAL:
			case JSON_EMPTY:
				g->taken = start;
				return RC_OK;
			case JSON_BROKEN:
				break;
			}
		else
			rc = refuse_start(text, len, why);
		if (rc != RC_OK) {
			rebase(why, line, column_of(g->text, start));
			size_t n = out->n + count_rest(text, len);
			return n > 1 && !g->single
				       ? rc_prefix(rc, why, "document %zu of %zu", out->n + 1, n)
				       : rc;
		}
		line += count_lines(text, used);
		g->taken = start + used;
	}
}

static void forget(struct fs_gather *g)
{
	buf_release(&g->rest);
	g->rest = (struct buf)BUF_INIT;
	g->text = NULL;
	g->len = g->taken = g->before = 0;
}

static enum rc check_blank(const char *data, size_t len, struct why *why)
{
	unsigned line = 1;
	size_t at = skip_blanks(data, 0, len, &line);
	return at == len ? RC_OK
			 : rc_fail(RC_DENIED, why,
				   "the event is stored: nothing can be added to its file");
}

enum rc fs_gather_write(struct fs_gather *g, const char *data, size_t len,
			struct fs_gather_batch *out, struct why *why)
{
	g->text = NULL;
	g->len = g->taken = 0;
	if (g->single && g->done)
		return check_blank(data, len, why);

	g->before = g->rest.len;
	g->text = data;
	g->len = len;
	if (g->before) {
		buf_add(&g->rest, data, len);
		if (buf_failed(&g->rest)) {
			forget(g);
			return rc_fail(RC_NO_MEMORY, why, "out of memory");
		}
		g->text = g->rest.data;
		g->len = g->rest.len;
	}
	bool look = g->before < EAGER || memchr(data, '}', len);
	enum rc rc = look ? scan(g, out, why) : RC_OK;
	if (rc == RC_OK && g->len - g->taken > g->max)
		rc = rc_fail(RC_TOO_LARGE, why,
			     "the document is over %zu bytes and not complete (-o max_event=)",
			     g->max);
	if (rc != RC_OK)
		forget(g);
	return rc;
}

enum rc fs_gather_keep(struct fs_gather *g, bool committed, struct why *why)
{
	if (committed && g->single)
		g->done = true;
	if (!g->text)
		return RC_OK;
	if (g->text == g->rest.data) {
		buf_drop_front(&g->rest, g->taken);
	} else if (g->taken < g->len) {
		buf_add(&g->rest, g->text + g->taken, g->len - g->taken);
		if (buf_failed(&g->rest)) {
			forget(g);
			return rc_fail(RC_NO_MEMORY, why, "out of memory");
		}
	}
	g->text = NULL;
	g->len = g->taken = g->before = 0;
	if (!g->rest.len)
		forget(g);
	return RC_OK;
}

void fs_gather_undo(struct fs_gather *g, bool again)
{
	if (!again) {
		forget(g);
		return;
	}
	g->rest.len = g->before;
	if (g->rest.data)
		g->rest.data[g->before] = '\0';
	g->text = NULL;
	g->len = g->taken = g->before = 0;
}

static enum rc explain(const char *text, size_t len, struct why *why)
{
	struct json_value ignored;
	enum rc rc = json_parse(text, len, JSON_STRICT, &ignored, why);
	return rc == RC_OK ? rc_fail(RC_INVALID, why, "the document is not complete") : rc;
}

enum rc fs_gather_explain(const struct fs_gather *g, struct why *why)
{
	return explain(buf_text(&g->rest), g->rest.len, why);
}

enum rc fs_gather_whole(const char *text, size_t len, const char *event_type, bool has_number,
			uint64_t number, struct draft *out, struct why *why)
{
	_cleanup_(fs_gather_release) struct fs_gather g = {
		.max = SIZE_MAX,
		.single = true,
		.event_type = event_type,
		.has_number = has_number,
		.number = number,
	};
	_cleanup_(fs_gather_batch_release) struct fs_gather_batch b = { 0 };
	enum rc rc = fs_gather_write(&g, text, len, &b, why);
	if (rc != RC_OK)
		return rc;
	if (g.taken < g.len)
		return rc_prefix(explain(text, len, why), why, "the document is not complete");
	if (!b.n)
		return rc_fail(RC_INVALID, why, "the file is empty, expected a JSON object");
	*out = b.drafts[0];
	b.n = 0;
	return RC_OK;
}
