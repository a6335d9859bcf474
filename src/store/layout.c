/* SPDX-License-Identifier: Apache-2.0 */
/* layout.c - what a store is, and its listings; the layouts differ in keys only. */
#include "config.h"
#include "store/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "event/key.h"
#include "event/time.h"
#include "store/layout-private.h"

static const struct layout_ops *const layouts[] = {
	[LAYOUT_NATIVE] = &layout_native_ops,
	[LAYOUT_INDEXED] = &layout_indexed_ops,
};

/* ------------------------------------------------------------------ store.json and seeding.json */

static void take_text(const struct json_value *v, char *out, size_t size)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	if (v->type != JSON_STRING)
		return;
	json_string(v, &text);
	if (text.len < size && !memchr(buf_text(&text), '\0', text.len))
		memcpy(out, buf_text(&text), text.len + 1);
}

/* What one of our own documents says; members that it lacks stay as they were. */
struct document {
	uint64_t format, number;
	char layout[32], uuid[64], created_at[TIME_TEXT_MAX],
		identity[sizeof(((struct layout_seeding *)0)->identity)];
};

static enum rc read_document(const struct object_get *get, struct document *out, struct why *why)
{
	struct json_value doc, key, value;
	struct json_iter it;
	enum rc rc = json_parse(get->buf, get->len, JSON_STRICT, &doc, why);
	if (rc != RC_OK)
		return rc_prefix(RC_CORRUPT, why, "'%s'", get->key);
	if (doc.type != JSON_OBJECT)
		return rc_fail(RC_CORRUPT, why, "'%s': expected an object, found %s", get->key,
			       json_type_name(doc.type));
	json_iter_init(&it, &doc);
	while (json_iter_next(&it, &key, &value)) {
		if (json_string_is(&key, "format") && !json_u64(&value, &out->format))
			out->format = 0;
		else if (json_string_is(&key, "seeding") && !json_u64(&value, &out->number))
			return rc_fail(RC_CORRUPT, why, "'%s': 'seeding' is no number", get->key);
		else if (json_string_is(&key, "layout"))
			take_text(&value, out->layout, sizeof(out->layout));
		else if (json_string_is(&key, "uuid"))
			take_text(&value, out->uuid, sizeof(out->uuid));
		else if (json_string_is(&key, "created_at"))
			take_text(&value, out->created_at, sizeof(out->created_at));
		else if (json_string_is(&key, "identity"))
			take_text(&value, out->identity, sizeof(out->identity));
	}
	if (out->format != LAYOUT_FORMAT)
		return rc_fail(RC_INVALID, why,
			       "'%s' has format %" PRIu64 ", this program knows %d", get->key,
			       out->format, LAYOUT_FORMAT);
	return RC_OK;
}

static enum rc get_document(struct object_store *objects, const char *key, struct document *out,
			    char tag[OBJECT_TAG_MAX], struct why *why)
{
	struct object_get get = { .key = key };
	enum rc rc = object_get(objects, &get, 1);
	if (rc != RC_OK)
		return rc_fail(rc, why, "%s", get.why.text);
	_cleanup_(freep) char *text = get.buf;
	if (tag)
		memcpy(tag, get.tag, OBJECT_TAG_MAX);
	*out = (struct document){ 0 };
	return read_document(&get, out, why);
}

struct first {
	bool found;
	uint64_t hash[2];
};

static bool take_first(void *arg, const struct object_info *info)
{
	struct first *f = arg;
	f->found = true;
	for (size_t i = 0; i < ARRAY_SIZE(f->hash); i++) {
		f->hash[i] = hash_text(HASH_START + i, info->key);
		f->hash[i] = hash_bytes(f->hash[i], &info->size, sizeof(info->size));
		f->hash[i] = hash_bytes(f->hash[i], &info->modified_us, sizeof(info->modified_us));
	}
	return false;
}

/* No store.json: a mirror of a bucket, or the established system's. */
static enum rc probe_objects(struct object_store *objects, struct layout_store *out,
			     struct why *why)
{
	static const struct {
		const char *prefix;
		enum layout layout;
	} signs[] = {
		{ "streams/", LAYOUT_NATIVE },
		{ "indexes/by-aggregate/", LAYOUT_INDEXED },
		{ "events/", LAYOUT_INDEXED },
	};
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		struct first f = { false, { 0 } };
		enum rc rc = object_list(objects, signs[i].prefix, NULL, OBJECT_LIST_DEEP,
					 take_first, &f, why);
		if (rc != RC_OK)
			return rc;
		if (!f.found)
			continue;
		*out = (struct layout_store){ .layout = signs[i].layout };
		/*
		 * an own form (version 8): told from the first object, which another copy of the
		 * bucket has with another time
		 */
		snprintf(out->uuid, sizeof(out->uuid), "%08x-%04x-8%03x-8%03x-%012" PRIx64,
			 (unsigned)(f.hash[0] >> 32), (unsigned)(f.hash[0] >> 16 & 0xffff),
			 (unsigned)(f.hash[0] & 0xfff), (unsigned)(f.hash[1] >> 52),
			 f.hash[1] & UINT64_C(0xffffffffffff));
		return RC_OK;
	}
	return rc_fail(RC_NOT_FOUND, why,
		       "no store: there is no '" LAYOUT_STORE_KEY
		       "', and nothing below 'streams/', "
		       "'indexes/by-aggregate/' or 'events/'");
}

enum rc layout_probe(struct object_store *objects, struct layout_store *out, struct why *why)
{
	struct document doc;
	struct time_stamp created;
	enum rc rc = get_document(objects, LAYOUT_STORE_KEY, &doc, NULL, why);
	if (rc == RC_NOT_FOUND)
		return probe_objects(objects, out, why);
	if (rc != RC_OK)
		return rc;

	struct layout_store found = { .has_uuid = true };
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		if (strcmp(doc.layout, layouts[i]->name))
			continue;
		found.layout = (enum layout)i;
		if (strlen(doc.uuid) != sizeof(found.uuid) - 1)
			return rc_fail(RC_CORRUPT, why,
				       "'" LAYOUT_STORE_KEY "': 'uuid' is missing or is none: '%s'",
				       doc.uuid);
		memcpy(found.uuid, doc.uuid, sizeof(found.uuid));
		if (time_parse(doc.created_at, strlen(doc.created_at), &created, NULL) == RC_OK)
			found.created_us = created.us;
		*out = found;
		return RC_OK;
	}
	return rc_fail(RC_INVALID, why,
		       "'" LAYOUT_STORE_KEY
		       "' names the layout '%s', this program knows 'native' and 'indexed'",
		       doc.layout);
}

enum rc layout_create(struct object_store *objects, struct layout_store *out, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct layout_store made = { .layout = LAYOUT_NATIVE,
				     .has_uuid = true,
				     .created_us = clock_wall_us() };
	char created_at[TIME_TEXT_MAX];
	clock_uuid(made.uuid);
	time_format_us(made.created_us, created_at);
	buf_printf(&text,
		   "{\"format\":%d,\"layout\":\"%s\",\"uuid\":\"%s\",\"created_at\":\"%s\"}\n",
		   LAYOUT_FORMAT, layouts[made.layout]->name, made.uuid, created_at);
	if (buf_failed(&text))
		return rc_fail(RC_NO_MEMORY, why, "no memory for '" LAYOUT_STORE_KEY "'");
	enum rc rc = object_replace(objects, LAYOUT_STORE_KEY, text.data, text.len, NULL, NULL,
				    why);
	if (rc == RC_CONFLICT)
		return rc_fail(RC_EXISTS, why,
			       "there is a store already: '" LAYOUT_STORE_KEY "' exists");
	if (rc == RC_OK)
		*out = made;
	return rc;
}

enum rc layout_read_seeding(struct object_store *objects, struct layout_seeding *out,
			    struct why *why)
{
	struct document doc;
	struct layout_seeding s = { 0 };
	enum rc rc = get_document(objects, LAYOUT_SEEDING_KEY, &doc, s.tag, why);
	if (rc == RC_NOT_FOUND) {
		*out = (struct layout_seeding){ 0 };
		return RC_OK;
	}
	if (rc != RC_OK)
		return rc;
	s.number = doc.number;
	memcpy(s.identity, doc.identity, sizeof(s.identity));
	*out = s;
	return RC_OK;
}

enum rc layout_write_seeding(struct object_store *objects, struct layout_seeding *s,
			     struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	buf_printf(&text, "{\"format\":%d,\"seeding\":%" PRIu64 ",\"identity\":", LAYOUT_FORMAT,
		   s->number);
	json_quote(s->identity, strlen(s->identity), &text);
	buf_add_text(&text, "}\n");
	if (buf_failed(&text))
		return rc_fail(RC_NO_MEMORY, why, "no memory for '" LAYOUT_SEEDING_KEY "'");
	return object_replace(objects, LAYOUT_SEEDING_KEY, text.data, text.len,
			      *s->tag ? s->tag : NULL, s->tag, why);
}

/* ------------------------------------------------------------------ listings */

struct streams {
	const struct layout_ops *ops;
	layout_stream_fn *fn;
	void (*foreign)(void *arg, const char *key);
	void *arg;
	bool failed;
	/*
	 * The prefixes of streams that were told and in which the listing still is, each
	 * beginning with the one before: the keys of 'a' go on behind those of 'a/b'.
	 */
	struct buf path;
	size_t ends[KEY_MAX / 2];	/* where each ends in path */
	size_t depth;
};

static bool stream_named(void *arg, const struct object_info *info)
{
	struct streams *s = arg;
	_cleanup_(buf_release) struct buf type = BUF_INIT, id = BUF_INIT;
	size_t dir = (size_t)(strrchr(info->key, '/') - info->key) + 1;
	if (s->ops->parse(info->key, &type, &id, NULL) != RC_OK) {
		if (s->foreign)
			s->foreign(s->arg, info->key);
		return true;
	}
	while (s->depth && (s->ends[s->depth - 1] > dir ||
			    memcmp(s->path.data, info->key, s->ends[s->depth - 1])))
		s->depth--;
	if (s->depth && s->ends[s->depth - 1] == dir)
		return true;
	buf_reset(&s->path);
	buf_add(&s->path, info->key, dir);
	s->failed = buf_failed(&s->path) || buf_failed(&type) || buf_failed(&id) ||
		    s->depth == ARRAY_SIZE(s->ends);
	if (s->failed)
		return false;
	s->ends[s->depth++] = dir;
	return s->fn(s->arg, buf_text(&type), buf_text(&id));
}

static bool tell_foreign(void *arg, const struct object_info *info)
{
	struct streams *s = arg;
	s->foreign(s->arg, info->key);
	return true;
}

static bool top_level(void *arg, const struct object_info *info)
{
	struct streams *s = arg;
	for (const char *const *known = s->ops->known; *known; known++)
		if (!strcmp(info->key, *known))
			return true;
	if (!info->is_prefix)
		s->foreign(s->arg, info->key);
	else if (!buf_failed(&s->path)) {
		buf_add_text(&s->path, info->key);
		buf_add_char(&s->path, '\0');
	}
	return true;
}

/* What lies beside the prefixes that a store has. */
static enum rc list_foreign(struct object_store *objects, struct streams *s, struct why *why)
{
	buf_reset(&s->path);
	enum rc rc = object_list(objects, "", NULL, OBJECT_LIST_SHALLOW, top_level, s, why);
	if (rc == RC_OK && buf_failed(&s->path))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the names at the top of the store");
	for (size_t at = 0; rc == RC_OK && at < s->path.len; at += strlen(s->path.data + at) + 1)
		rc = object_list(objects, s->path.data + at, NULL, OBJECT_LIST_DEEP, tell_foreign,
				 s, why);
	return rc;
}

enum rc layout_list_foreign(struct object_store *objects, enum layout layout,
			    void (*foreign)(void *arg, const char *key), void *arg, struct why *why)
{
	_cleanup_(freep) struct streams *s = calloc(1, sizeof(*s));
	if (!s)
		return rc_fail(RC_NO_MEMORY, why, "no memory to list the store");
	s->ops = layouts[layout];
	s->arg = arg;
	s->foreign = foreign;
	enum rc rc = list_foreign(objects, s, why);
	buf_release(&s->path);
	return rc;
}

enum rc layout_list_streams(struct object_store *objects, enum layout layout, layout_stream_fn *fn,
			    void *arg, void (*foreign)(void *arg, const char *key), struct why *why)
{
	_cleanup_(freep) struct streams *s = calloc(1, sizeof(*s));
	if (!s)
		return rc_fail(RC_NO_MEMORY, why, "no memory to list the streams");
	s->ops = layouts[layout];
	s->fn = fn;
	s->arg = arg;
	s->foreign = foreign;
	enum rc rc = object_list(objects, s->ops->streams, NULL, OBJECT_LIST_DEEP, stream_named, s,
				 why);
	if (rc == RC_OK && s->failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory to list the streams");
	if (rc == RC_OK && foreign)
		rc = list_foreign(objects, s, why);
	buf_release(&s->path);
	return rc;
}

struct entries {
	const struct layout_ops *ops;
	uint64_t after;
	struct buf event_id;
	layout_entry_fn *fn;
	void *arg;
	bool failed;
};

static bool entry_named(void *arg, const struct object_info *info)
{
	struct entries *s = arg;
	struct layout_entry e = { .key = info->key,
				  .size = info->size,
				  .recorded_us = info->recorded_us,
				  .modified_us = info->modified_us };
	buf_reset(&s->event_id);
	if (info->is_prefix ||
	    !s->ops->entry(strrchr(info->key, '/') + 1, &e.number, &s->event_id) ||
	    e.number <= s->after)
		return true;
	s->failed = buf_failed(&s->event_id);
	if (s->failed)
		return false;
	e.event_id = s->event_id.len ? s->event_id.data : NULL;
	return s->fn(s->arg, &e);
}

enum rc layout_list_stream(struct object_store *objects, enum layout layout, const char *type,
			   const char *id, uint64_t after, layout_entry_fn *fn, void *arg,
			   struct why *why)
{
	_cleanup_(buf_release) struct buf prefix = BUF_INIT, first = BUF_INIT;
	struct entries s = {
		.ops = layouts[layout], .after = after, .event_id = BUF_INIT, .fn = fn, .arg = arg
	};
	s.ops->prefix(type, id, &prefix);
	if (after)
		s.ops->after(buf_text(&prefix), after, &first);
	if (buf_failed(&prefix) || buf_failed(&first))
		return rc_fail(RC_NO_MEMORY, why, "no memory to list '%s/%s'", type, id);
	enum rc rc = object_list(objects, prefix.data, after ? first.data : NULL,
				 OBJECT_LIST_SHALLOW, entry_named, &s, why);
	buf_release(&s.event_id);
	if (rc == RC_OK && s.failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory to list '%s/%s'", type, id);
	return rc;
}

struct children {
	const struct layout_ops *ops;
	size_t prefix_len;
	struct buf part;
	layout_child_fn *fn;
	void *arg;
	bool failed;
};

static bool child_named(void *arg, const struct object_info *info)
{
	struct children *c = arg;
	const char *name = info->key + c->prefix_len;
	if (!info->is_prefix)
		return true;
	buf_reset(&c->part);
	if (!c->ops->part(name, strlen(name) - 1, &c->part))
		return true;
	c->failed = buf_failed(&c->part);
	return !c->failed && c->fn(c->arg, buf_text(&c->part));
}

enum rc layout_list_children(struct object_store *objects, enum layout layout, const char *type,
			     const char *id, layout_child_fn *fn, void *arg, struct why *why)
{
	_cleanup_(buf_release) struct buf prefix = BUF_INIT;
	struct children c = { .ops = layouts[layout], .part = BUF_INIT, .fn = fn, .arg = arg };
	if (type && id) {
		c.ops->prefix(type, id, &prefix);
	} else if (type) {
		/* the prefix of a stream with any id, without the id */
		c.ops->prefix(type, "x", &prefix);
		if (!buf_failed(&prefix))
			prefix.len -= strlen("x/");
	} else {
		buf_add_text(&prefix, c.ops->streams);
	}
	if (buf_failed(&prefix))
		return rc_fail(RC_NO_MEMORY, why, "no memory to list a directory");
	prefix.data[prefix.len] = '\0';
	c.prefix_len = prefix.len;
	enum rc rc = object_list(objects, prefix.data, NULL, OBJECT_LIST_SHALLOW, child_named, &c,
				 why);
	buf_release(&c.part);
	if (rc == RC_OK && c.failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory to list '%s'", prefix.data);
	return rc;
}

enum rc layout_check_event(const char *body, size_t len, const char *type, const char *id,
			   uint64_t number, struct event *out, struct why *why)
{
	struct event e = EVENT_INIT;
	enum rc rc = event_parse(body, len, &e, why);
	if (rc == RC_OK && type && (strcmp(e.aggregate_type, type) || strcmp(e.aggregate_id, id)))
		rc = rc_fail(RC_INVALID, why, "it is an event of '%s/%s', expected '%s/%s'",
			     e.aggregate_type, e.aggregate_id, type, id);
	else if (rc == RC_OK && type && (!e.has_number || e.number != number))
		rc = rc_fail(RC_INVALID, why, "it has the number %s, expected %" PRIu64,
			     e.has_number ? e.number_text : "null", number);
	if (rc == RC_OK)
		*out = e;
	else
		event_release(&e);
	return rc;
}
