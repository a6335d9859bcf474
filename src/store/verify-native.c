/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify-native.c - the objects in the order of their keys, then the streams that only the ledger
 * names.
 *
 * The keys of one stream stand together, but for those of streams whose ids begin with its id and
 * '/': so a stack of the streams in whose prefix the listing is, each with how far it was given to
 * batches.
 */
#include "config.h"
#include "store/verify-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/key.h"
#include "store/layout-private.h"

#define STREAM_PAGE 1000
#define FOUND_MAX (64u << 10) /* bytes of findings with which a batch is given away */

/* A stream in whose prefix the listing is. */
struct open_stream {
	char *prefix; /* its keys begin so, '/' included */
	size_t prefix_len;
	char *type, *id;
	uint64_t last; /* numbers up to here were given to batches */
	size_t part; /* 1 + its part at the end of the batch that is being filled; 0: none */
};

struct stream_row {
	int64_t stream;
	char *type, *id;
};

struct native {
	struct verify *v;
	struct verify_batch *b; /* being filled, or NULL */
	struct open_stream *open;
	size_t depth, cap;
	struct buf key; /* the last one that was looked at */
	/* the ledger's streams: what was read of them last, and up to where they were looked at */
	bool in_streams;
	int64_t stream;
	struct stream_row page[STREAM_PAGE];
	size_t n_page, n_told;
	int64_t page_end;
};

static bool fail(struct native *n)
{
	if (n->v->rc == RC_OK)
		n->v->rc = rc_fail(RC_NO_MEMORY, &n->v->why, "no memory to verify");
	return false;
}

/* ------------------------------------------------------------------ where to go on */

/* 'o' key, streams that are open; 's' handle; 'f'. */
static void write_place(const struct native *n, struct buf *out)
{
	if (n->in_streams) {
		buf_printf(out, "s%" PRId64, n->stream);
		buf_add_char(out, '\0');
		return;
	}
	buf_printf(out, "o%s", buf_text(&n->key));
	buf_add_char(out, '\0');
	for (size_t i = 0; i < n->depth; i++) {
		buf_add_text(out, n->open[i].type);
		buf_add_char(out, '\0');
		buf_add_text(out, n->open[i].id);
		buf_add_char(out, '\0');
		buf_add_u64(out, n->open[i].last);
		buf_add_char(out, '\0');
	}
}

static bool push(struct native *n, const char *type, const char *id, uint64_t last)
{
	_cleanup_(buf_release) struct buf prefix = BUF_INIT;
	if (n->depth == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 8;
		struct open_stream *open = realloc(n->open, cap * sizeof(*open));
		if (!open)
			return fail(n);
		n->open = open;
		n->cap = cap;
	}
	key_native_stream(type, id, &prefix);
	struct open_stream *top = &n->open[n->depth];
	*top = (struct open_stream){
		.type = strdup(type), .id = strdup(id), .last = last, .prefix_len = prefix.len
	};
	top->prefix = buf_take(&prefix, NULL);
	n->depth++;
	return top->type && top->id && top->prefix ? true : fail(n);
}

static void pop(struct native *n)
{
	struct open_stream *top = &n->open[--n->depth];
	free(top->prefix);
	free(top->type);
	free(top->id);
}

/* RC_INVALID where the place is none: a state file of another version. */
static enum rc read_place(struct native *n, const char *place, size_t len, char *phase_r)
{
	const char *at = place, *end = place + len;
	if (!len || end[-1] || !strchr("osf", *place))
		return rc_fail(RC_INVALID, &n->v->why,
			       "the state of the run before can't be read; --restart begins anew");
	*phase_r = *place;
	if (*place == 's')
		n->stream = strtoll(place + 1, NULL, 10);
	if (*place != 'o')
		return RC_OK;
	buf_add_text(&n->key, place + 1);
	at += strlen(at) + 1;
	while (at < end) {
		const char *type = at, *id = type + strlen(type) + 1;
		const char *last = id < end ? id + strlen(id) + 1 : end;
		if (last >= end || !push(n, type, id, strtoull(last, NULL, 10)))
			return n->v->rc == RC_OK
				       ? rc_fail(RC_INVALID, &n->v->why,
						 "the state of the run before can't be read; "
						 "--restart begins anew")
				       : n->v->rc;
		at = last + strlen(last) + 1;
	}
	return buf_failed(&n->key) ? rc_fail(RC_NO_MEMORY, &n->v->why, "no memory to verify")
				   : RC_OK;
}

/* ------------------------------------------------------------------ filling batches */

static bool give(struct native *n)
{
	if (!n->b)
		return true;
	write_place(n, &n->b->place);
	if (buf_failed(&n->b->place))
		return fail(n);
	verify_batch_give(n->v, n->b);
	n->b = NULL;
	for (size_t i = 0; i < n->depth; i++)
		n->open[i].part = 0;
	return true;
}

/* A batch with room for one more part. */
static bool need_batch(struct native *n)
{
	if (n->b && n->b->n_parts == ARRAY_SIZE(n->b->parts) && !give(n))
		return false;
	if (!n->b)
		n->b = verify_batch_take(n->v);
	return n->b;
}

static bool add_part(struct native *n, const char *type, const char *id, uint64_t from, uint64_t to,
		     bool look)
{
	struct verify_batch *b = n->b;
	struct verify_part *part = &b->parts[b->n_parts++];
	*part = (struct verify_part){ .type = strdup(type),
				      .id = strdup(id),
				      .from = from,
				      .to = to,
				      .first = b->n_objects,
				      .look = look };
	return part->type && part->id ? true : fail(n);
}

/* The listing left the innermost stream: what the ledger has above its last object. */
static bool close_top(struct native *n)
{
	struct open_stream *top = &n->open[n->depth - 1];
	if (top->part) {
		n->b->parts[top->part - 1].to = UINT64_MAX;
	} else if (n->v->s->ledger || n->v->view) {
		if (!need_batch(n) ||
		    !add_part(n, top->type, top->id, top->last, UINT64_MAX, false))
			return false;
	}
	pop(n);
	return true;
}

static bool foreign(struct native *n, const char *key)
{
	if (!need_batch(n))
		return false;
	verify_note(&n->b->found, &(struct verify_finding){ .kind = "foreign",
							    .key = key,
							    .text = "no event's key" });
	return true;
}

static bool add_object(struct native *n, uint64_t number, uint64_t size)
{
	struct open_stream *top = &n->open[n->depth - 1];
	bool full = n->b && (n->b->n_objects == VERIFY_OBJECTS ||
			     (n->b->n_objects && n->b->bytes + size > VERIFY_BYTES));
	if ((full && !give(n)) || !need_batch(n))
		return false;
	struct verify_batch *b = n->b;
	if (number <=
	    top->last) { /* of more than ten digits: its key does not stand where its number does */
		if (!add_part(n, top->type, top->id, number - 1, number, false))
			return false;
		top->part = 0;
	} else if (top->part && top->part == b->n_parts) {
		b->parts[top->part - 1].to = top->last = number;
	} else {
		if (!add_part(n, top->type, top->id, top->last, number, false))
			return false;
		top->part = b->n_parts;
		top->last = number;
	}
	b->parts[b->n_parts - 1].n++;
	b->objects[b->n_objects++] = (struct verify_object){ number, size };
	b->bytes += size;
	return true;
}

static bool take_key(struct native *n, const struct object_info *info)
{
	const char *key = info->key, *name = strrchr(key, '/') + 1;
	size_t dir = (size_t)(name - key);
	uint64_t number = 0;

	while (n->depth &&
	       strncmp(key, n->open[n->depth - 1].prefix, n->open[n->depth - 1].prefix_len) != 0)
		if (!close_top(n))
			return false;
	if (n->depth && n->open[n->depth - 1].prefix_len == dir) {
		if (!layout_native_ops.entry(name, &number, NULL))
			return foreign(n, key);
	} else {
		_cleanup_(buf_release) struct buf type = BUF_INIT, id = BUF_INIT;
		if (key_native_parse(key, &type, &id, &number, NULL) != RC_OK)
			return foreign(n, key);
		if (buf_failed(&type) || buf_failed(&id))
			return fail(n);
		if (!push(n, buf_text(&type), buf_text(&id), 0))
			return false;
	}
	return add_object(n, number, info->size);
}

static bool take_object(void *arg, const struct object_info *info)
{
	struct native *n = arg;
	if (verify_ends(n->v) || !take_key(n, info))
		return false;
	buf_reset(&n->key);
	buf_add_text(&n->key, info->key);
	if (buf_failed(&n->key))
		return fail(n);
	return !n->b || n->b->found.len < FOUND_MAX || give(n);
}

static enum rc list_objects(struct native *n)
{
	struct verify *v = n->v;
	STORE_COUNT(v->s, lists, 1);
	enum rc rc = object_list(v->s->objects, layout_native_ops.streams,
				 n->key.len ? n->key.data : NULL, OBJECT_LIST_DEEP, take_object, n,
				 &v->why);
	if (rc != RC_OK && v->rc == RC_OK)
		v->rc = rc;
	while (v->rc == RC_OK && n->depth && close_top(n))
		;
	if (v->rc != RC_OK)
		return v->rc;
	n->in_streams = true;
	return give(n) ? verify_batch_finish(v) : v->rc;
}

/* ------------------------------------------------------------------ streams without objects */

static bool take_stream(void *arg, const struct ledger_row *row)
{
	struct native *n = arg;
	n->n_told++;
	n->page_end = row->stream;
	if (!row->last || verify_state_was_seen(n->v->state, row->stream) == 1)
		return true;
	struct stream_row *s = &n->page[n->n_page++];
	*s = (struct stream_row){ row->stream, strdup(row->type), strdup(row->id) };
	return s->type && s->id ? true : fail(n);
}

static enum rc read_streams(struct native *n)
{
	struct ledger_query q = { .what = LEDGER_STREAMS,
				  .stream = n->stream,
				  .limit = STREAM_PAGE,
				  .unseeded_too = true };
	n->n_page = n->n_told = 0;
	n->page_end = n->stream;
	enum rc rc = ledger_read(n->v->s->ledger, &q, take_stream, n, NULL, &n->v->why);
	return n->v->rc == RC_OK ? rc : n->v->rc;
}

static bool add_stream(struct native *n, const struct stream_row *s)
{
	if ((n->b && n->b->n_parts == VERIFY_OBJECTS && !give(n)) || !need_batch(n))
		return false;
	bool look = verify_state_was_seen(n->v->state, s->stream) < 0;
	n->stream = s->stream;
	return add_part(n, s->type, s->id, 0, UINT64_MAX, look);
}

static enum rc list_streams(struct native *n)
{
	struct verify *v = n->v;
	n->in_streams = true;
	do {
		enum rc rc = read_streams(n);
		if (rc != RC_OK)
			v->rc = rc;
		for (size_t i = 0; i < n->n_page; i++) {
			if (!verify_ends(v))
				add_stream(n, &n->page[i]);
			free(n->page[i].type);
			free(n->page[i].id);
		}
		n->stream = n->page_end;
	} while (!verify_ends(v) && n->n_told == STREAM_PAGE);
	return v->rc == RC_OK && give(n) ? verify_batch_finish(v) : v->rc;
}

/* ------------------------------------------------------------------ the store */

static void foreign_object(void *arg, const char *key)
{
	verify_tell(arg, (struct verify_finding){ .kind = "foreign", .key = key },
		    "not a key of this layout");
}

static enum rc run(struct native *n, const char *place, size_t place_len)
{
	static const char last[] = "f";
	struct verify *v = n->v;
	struct buf at = BUF_INIT;
	char phase = 'o';
	enum rc rc = place ? read_place(n, place, place_len, &phase) : RC_OK;
	if (rc == RC_OK && phase == 'o') {
		rc = list_objects(n);
		phase = 's';
	}
	if (rc == RC_OK && phase == 's') {
		rc = v->s->ledger ? list_streams(n) : RC_OK;
		buf_add(&at, last, sizeof(last));
		if (rc == RC_OK && !buf_failed(&at))
			verify_state_place(v, &at);
		buf_release(&at);
	}
	if (rc == RC_OK)
		rc = layout_list_foreign(v->s->objects, LAYOUT_NATIVE, foreign_object, v, &v->why);
	if (rc == RC_OK && v->backwards)
		verify_tell(v, (struct verify_finding){ .kind = "times", .harmless = true },
			    "recorded times run backwards in %" PRIu64
			    " places: the files are not as old as their events",
			    v->backwards);
	return rc;
}

enum rc verify_native_run(struct verify *v, const char *place, size_t place_len)
{
	_cleanup_(freep) struct native *n = calloc(1, sizeof(*n));
	if (!n)
		return rc_fail(RC_NO_MEMORY, &v->why, "no memory to verify");
	n->v = v;
	n->key = (struct buf)BUF_INIT;
	enum rc rc = run(n, place, place_len);
	while (n->depth)
		pop(n);
	free(n->open);
	buf_release(&n->key);
	return rc;
}
