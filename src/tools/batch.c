/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c - documents from stdin, gathered by stream. */
#include "config.h"
#include "tools/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "event/draft.h"
#include "tools/output.h"
#include "tools/place.h"

#define BATCH_EVENTS 1000
#define BATCH_BYTES 1044480	/* as one write to events.ndjson */
#define QUIET_MS 100		/* input that pauses this long gets its answer */
#define READ_SIZE 65536

struct batch {
	char *type, *id;
	struct draft drafts[BATCH_EVENTS];
	size_t n, bytes;
	unsigned first_line, last_line;
};

struct run {
	struct verb_call *call;
	struct store *store;
	bool keep_going;
	struct buf input;	/* what is not used yet */
	unsigned line;		/* of the first byte of input */
	bool at_end;
	struct batch *batch;
	uint64_t stored, known, refused;	/* events, events, documents */
	unsigned stored_to;	/* the last line that is stored, as long as nothing failed */
	enum verb_status status;	/* of the first failure */
};

static void batch_clear(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		draft_release(&b->drafts[i]);
	free(b->type);
	free(b->id);
	b->type = b->id = NULL;
	b->n = b->bytes = 0;
}

static void run_release(struct run *r)
{
	if (r->batch)
		batch_clear(r->batch);
	free(r->batch);
	buf_release(&r->input);
}

static unsigned count_lines(const char *text, size_t len)
{
	unsigned n = 0;
	for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))); p++)
		n++;
	return n;
}

/* --- telling --- */

/* Tell of a failure that concerns these lines. False: it ends the run. */
static bool failed(struct run *r, unsigned first, unsigned last, size_t documents, enum rc rc,
		   const struct why *why)
{
	struct why full = *why;
	if (first == last)
		rc = rc_prefix(rc, &full, "line %u", first);
	else
		rc = rc_prefix(rc, &full, "lines %u-%u, one batch", first, last);
	enum verb_status status = verb_fail(r->call, rc, &full);
	if (!r->status)
		r->status = status;
	r->refused += documents;
	return r->keep_going;
}

static void tell_stored(struct run *r, const struct store_append *a)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT, line = BUF_INIT;
	const struct batch *b = r->batch;
	if (!r->call->json) {
		output_progress("line %u: %" PRIu64 " events stored", b->last_line,
				r->stored + r->known);
		return;
	}
	place_print(a->type, a->id, &path);
	buf_add_text(&line, "{\"stream\":");
	json_quote(buf_text(&path), path.len, &line);
	buf_printf(&line, ",\"first\":%" PRIu64 ",\"events\":%zu,\"lines\":[%u,%u],\"known\":%s}\n",
		   a->first, a->n, b->first_line, b->last_line, a->known ? "true" : "false");
	output_buf(&line);
	output_flush();	/* a program that feeds us may wait for it */
}

/* --- storing --- */

/* Store what is gathered. False: the run ends. */
static bool flush(struct run *r)
{
	struct batch *b = r->batch;
	struct why why = { "" };
	if (!b->n)
		return true;
	struct store_append a = { .type = b->type, .id = b->id, .drafts = b->drafts, .n = b->n };
	enum rc rc = store_append(r->store, &a, &why);
	bool go_on = true;
	if (rc == RC_OK) {
		*(a.known ? &r->known : &r->stored) += b->n;
		if (!r->status)
			r->stored_to = b->last_line;
		tell_stored(r, &a);
	} else {
		if (a.outcome == STORE_COMMITTED)
			rc_prefix(rc, &why, "committed, stored later");
		else if (a.outcome == STORE_UNKNOWN)
			rc_prefix(rc, &why, "unknown whether committed");
		go_on = failed(r, b->first_line, b->last_line, b->n, rc, &why);
	}
	batch_clear(b);
	return go_on;
}

static bool same_stream(const struct batch *b, const struct draft *d)
{
	return !strcmp(b->type, d->aggregate_type) && !strcmp(b->id, d->aggregate_id);
}

/* Add a draft (taken); what is gathered of another stream, or too much, is stored before. */
static bool gather(struct run *r, struct draft *d, size_t bytes, unsigned line, unsigned last_line)
{
	struct batch *b = r->batch;
	if (b->n &&
	    (!same_stream(b, d) || b->n == BATCH_EVENTS || b->bytes + bytes > BATCH_BYTES) &&
	    !flush(r)) {
		draft_release(d);
		return false;
	}
	if (!b->n) {
		b->type = strdup(d->aggregate_type);
		b->id = strdup(d->aggregate_id);
		b->first_line = line;
		if (!b->type || !b->id) {
			struct why why = { "out of memory" };
			batch_clear(b);
			draft_release(d);
			failed(r, line, line, 1, RC_NO_MEMORY, &why);
			return false;
		}
	}
	b->drafts[b->n++] = *d;
	b->bytes += bytes;
	b->last_line = last_line;
	return true;
}

/* A document is wrong. With keep_going those before it are stored; else they go with it. */
static bool wrong(struct run *r, unsigned line, enum rc rc, const struct why *why)
{
	if (r->keep_going && !flush(r))
		return false;
	return failed(r, line, line, 1, rc, why);
}

static bool take_document(struct run *r, const struct json_value *doc, unsigned line,
			  unsigned last_line)
{
	struct draft d = DRAFT_INIT;
	struct why why = { "" };
	enum rc rc = draft_from_document(doc, &d, &why);
	if (rc == RC_OK && (!d.aggregate_type || !d.aggregate_id)) {
		rc = rc_fail(RC_INVALID, &why, "expected \"%s\", which names the stream",
			     d.aggregate_type ? "aggregate_id" : "aggregate_type");
		draft_release(&d);
	}
	return rc ? wrong(r, line, rc, &why) : gather(r, &d, doc->len, line, last_line);
}

/* --- reading --- */

/* Read more; input that pauses has what was gathered stored first. False: the run ends. */
static bool read_more(struct run *r)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	if (r->batch->n && poll(&input, 1, QUIET_MS) == 0 && !flush(r))
		return false;
	if (!buf_reserve(&r->input, READ_SIZE)) {
		struct why why = { "out of memory" };
		return failed(r, r->line, r->line, 0, RC_NO_MEMORY, &why) && false;
	}
	ssize_t n;
	do
		n = read(STDIN_FILENO, r->input.data + r->input.len, READ_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		struct why why;
		rc_fail(RC_INVALID, &why, "standard input: %s", strerror(errno));
		return failed(r, r->line, r->line, 0, RC_INVALID, &why) && false;
	}
	r->at_end = n == 0;
	r->input.len += (size_t)n;
	r->input.data[r->input.len] = '\0';
	return true;
}

static void drop(struct run *r, size_t n)
{
	r->line += count_lines(buf_text(&r->input), n);
	buf_drop_front(&r->input, n);
}

/* After a document that can't be read: the next one begins on the next line, wherever that is. */
static bool skip_line(struct run *r)
{
	const char *end;
	while (!(end = r->input.len ? memchr(r->input.data, '\n', r->input.len) : NULL)) {
		buf_reset(&r->input);
		if (r->at_end || !read_more(r))
			return !r->status || r->at_end;
	}
	drop(r, (size_t)(end + 1 - r->input.data));
	return true;
}

/* How much of one document is read before it is called too large: room for blanks and escapes. */
static size_t document_max(const struct run *r)
{
	return 4 * (size_t)r->call->config.max_event + READ_SIZE;
}

/* Use one document, or read more. False: the run ends. */
static bool step(struct run *r)
{
	struct json_value doc;
	size_t used = 0;
	struct why why = { "" };
	const char *text = buf_text(&r->input);
	enum json_scan scan =
		json_scan(text, r->input.len, JSON_STRICT, r->line, &doc, &used, &why);
	if (scan == JSON_COMPLETE) {
		unsigned line = r->line + count_lines(text, (size_t)(doc.text - text));
		bool go_on = take_document(r, &doc, line, r->line + count_lines(text, used));
		drop(r, used);
		return go_on;
	}
	unsigned line = r->line + count_lines(text, strspn(text, " \t\r\n"));
	if (scan == JSON_EMPTY)
		drop(r, r->input.len);
	if (scan == JSON_PARTIAL && r->input.len > document_max(r)) {
		rc_fail(RC_TOO_LARGE, &why, "a document over %zu bytes", document_max(r));
		return wrong(r, line, RC_TOO_LARGE, &why) && skip_line(r);
	}
	if (scan == JSON_BROKEN)
		return wrong(r, line, RC_INVALID, &why) && skip_line(r);
	if (!r->at_end)
		return read_more(r);
	if (scan == JSON_PARTIAL) {
		rc_fail(RC_INVALID, &why, "the input ends inside of a document");
		wrong(r, line, RC_INVALID, &why);
	}
	return false;
}

/* The last words, for a person. */
static void tell_end(const struct run *r)
{
	output_progress_end();
	if (!r->status) {
		if (!r->call->json)
			output_printf("%" PRIu64 " events stored, %" PRIu64 " were there before\n",
				      r->stored, r->known);
	} else if (r->keep_going) {
		fprintf(stderr,
			"evfsctl append: %" PRIu64 " events stored, %" PRIu64
			" were there before, %" PRIu64 " documents refused\n",
			r->stored, r->known, r->refused);
	} else if (r->stored_to) {
		fprintf(stderr,
			"evfsctl append: stopped; all to line %u is stored, nothing after it\n",
			r->stored_to);
	} else {
		fprintf(stderr, "evfsctl append: stopped; nothing was stored\n");
	}
}

enum verb_status batch_run(struct verb_call *call, struct store *s, bool keep_going)
{
	_cleanup_(run_release) struct run r = {
		.call = call, .store = s, .keep_going = keep_going, .input = BUF_INIT, .line = 1
	};
	struct why why = { "out of memory" };
	r.batch = calloc(1, sizeof(*r.batch));
	if (!r.batch)
		return verb_fail(call, RC_NO_MEMORY, &why);
	while (step(&r))
		;
	/* The end of the input, not a failure: what is gathered is good. */
	if (r.at_end && (!r.status || keep_going))
		flush(&r);
	tell_end(&r);
	return r.status;
}
