/* SPDX-License-Identifier: Apache-2.0 */
/* draft.c - an event as its writer gives it. */
#include "config.h"
#include "event/draft.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/json-form.h"
#include "event/event.h"

#define EXPECTED_SEQ "expected_seq"

void draft_release(struct draft *d)
{
	free(d->event_id);
	free(d->event_type);
	free(d->aggregate_type);
	free(d->aggregate_id);
	free(d->actor);
	free(d->schema_version);
	free(d->data);
	free(d->metadata);
	*d = (struct draft)DRAFT_INIT;
}

void draft_pieces_release(struct draft_pieces *p)
{
	buf_release(&p->head);
	buf_release(&p->tail);
	*p = (struct draft_pieces)DRAFT_PIECES_INIT;
}

static enum rc no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "cannot hold the event");
}

/* Line and column of a place in doc. */
struct place {
	unsigned line;
	size_t column;
};

static struct place place_of(const struct json_value *doc, const char *at)
{
	struct place p = { 1, 0 };
	const char *line = doc->text;
	for (const char *q; (q = memchr(line, '\n', (size_t)(at - line))); line = q + 1)
		p.line++;
	p.column = (size_t)(at - line) + 1;
	return p;
}

/* One member of the document, for messages. */
struct member {
	const struct json_value *doc;
	const char *name;
	struct json_value value;
};

static enum rc wrong(const struct member *m, const char *expected, const char *found,
		     struct why *why)
{
	struct place p = place_of(m->doc, m->value.text);
	return rc_fail(RC_INVALID, why, "line %u, column %zu: '%s': expected %s, found %s", p.line,
		       p.column, m->name, expected, found);
}

static enum rc wrong_type(const struct member *m, const char *expected, struct why *why)
{
	return wrong(m, expected, json_type_name(m->value.type), why);
}

/* Text without NUL; *len_r if not NULL. */
static enum rc take_any_text(const struct member *m, char **out, size_t *len_r, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	if (m->value.type != JSON_STRING)
		return wrong_type(m, "a string", why);
	json_string(&m->value, &text);
	if (memchr(buf_text(&text), '\0', text.len))
		return wrong(m, "text", "a NUL character in it", why);
	free(*out);
	*out = buf_take(&text, len_r);
	return *out ? RC_OK : no_memory(why);
}

static enum rc take_name(const struct member *m, char **out, struct why *why)
{
	size_t len;
	enum rc rc = take_any_text(m, out, &len, why);
	if (rc == RC_OK && !len)
		return wrong(m, "text that is not empty", "\"\"", why);
	return rc;
}

static enum rc take_object(const struct member *m, char **out, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	if (m->value.type != JSON_OBJECT)
		return wrong_type(m, "an object", why);
	buf_reserve(&text, m->value.len);
	json_minify(&m->value, &text);
	*out = buf_take(&text, NULL);
	return *out ? RC_OK : no_memory(why);
}

static enum rc take_number(const struct member *m, const char *expected, bool *has, uint64_t *out,
			   struct why *why)
{
	if (!json_u64(&m->value, out)) {
		if (m->value.type != JSON_NUMBER)
			return wrong_type(m, expected, why);
		char found[48];
		size_t len = m->value.len < sizeof(found) ? m->value.len : sizeof(found) - 1;
		memcpy(found, m->value.text, len);
		found[len] = '\0';
		return wrong(m, expected, found, why);
	}
	*has = true;
	return RC_OK;
}

static enum rc take_time(const struct member *m, struct draft *d, struct why *why)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	enum rc rc = take_any_text(m, &text, &len, why);
	if (rc != RC_OK)
		return rc;
	rc = time_parse(text, len, &d->occurred_at, why);
	if (rc != RC_OK) {
		struct place p = place_of(m->doc, m->value.text);
		return rc_prefix(rc, why, "line %u, column %zu: 'occurred_at'", p.line, p.column);
	}
	if (!time_in_calendar(d->occurred_at.us))
		return wrong(m, "a time within the years 1 to 9999 in UTC", text, why);
	d->has_time = true;
	return RC_OK;
}

static enum rc take_member(const struct member *m, enum event_key key, struct draft *d,
			   struct why *why)
{
	switch (key) {
	case EVENT_ID: return take_name(m, &d->event_id, why);
	case EVENT_TYPE: return take_name(m, &d->event_type, why);
	case EVENT_AGGREGATE_TYPE: return take_name(m, &d->aggregate_type, why);
	case EVENT_AGGREGATE_ID: return take_name(m, &d->aggregate_id, why);
	case EVENT_OCCURRED_AT: return take_time(m, d, why);
	case EVENT_ACTOR:
		if (m->value.type == JSON_NULL)
			return RC_OK;
		if (m->value.type != JSON_STRING)
			return wrong_type(m, "a string or null", why);
		return take_any_text(m, &d->actor, NULL, why);
	case EVENT_DATA: return take_object(m, &d->data, why);
	case EVENT_METADATA: return take_object(m, &d->metadata, why);
	case EVENT_SCHEMA_VERSION: return take_any_text(m, &d->schema_version, NULL, why);
	case EVENT_SEQUENCE_NUMBER:
		if (m->value.type == JSON_NULL)
			return RC_OK;
		return take_number(m, "a whole number or null", &d->has_number, &d->number, why);
	case EVENT_KEYS: break;
	}
	return take_number(m, "a whole number, 0 or more", &d->has_expect, &d->expect, why);
}

static enum rc unknown_key(const struct json_value *doc, const struct json_value *key,
			   bool expect_allowed, struct why *why)
{
	struct place p = place_of(doc, key->text);
	int shown = (int)json_utf8(key->text, key->len < 60 ? key->len : 60);
	return rc_fail(
		RC_INVALID, why,
		"line %u, column %zu: unknown key %.*s; known are event_type, data, event_id, "
		       "occurred_at, actor, metadata, schema_version, %saggregate_type, "
		       "aggregate_id, sequence_number",
		       p.line, p.column, shown, key->text, expect_allowed ? EXPECTED_SEQ ", " : "");
}

static bool set_default(char **text, const char *value)
{
	if (!*text)
		*text = strdup(value);
	return *text != NULL;
}

static enum rc read_document(const struct json_value *doc, bool expect_allowed, struct draft *d,
			     struct why *why)
{
	bool seen[EVENT_KEYS + 1] = { false };
	struct json_iter it;
	struct json_value key;
	struct member m = { .doc = doc };

	json_iter_init(&it, doc);
	while (json_iter_next(&it, &key, &m.value)) {
		enum event_key k = event_key_find(&key);
		if (k == EVENT_KEYS && !(expect_allowed && json_string_is(&key, EXPECTED_SEQ)))
			return unknown_key(doc, &key, expect_allowed, why);
		m.name = k == EVENT_KEYS ? EXPECTED_SEQ : event_key_name(k);
		if (seen[k]) {
			struct place p = place_of(doc, key.text);
			return rc_fail(RC_INVALID, why,
				       "line %u, column %zu: the key '%s' stands twice", p.line,
				       p.column, m.name);
		}
		seen[k] = true;
		enum rc rc = take_member(&m, k, d, why);
		if (rc != RC_OK)
			return rc;
	}
	if (!seen[EVENT_TYPE] || !seen[EVENT_DATA])
		return rc_fail(RC_INVALID, why,
			       "the key '%s' is missing; event_type and data are needed",
			       event_key_name(seen[EVENT_TYPE] ? EVENT_DATA : EVENT_TYPE));
	if (!set_default(&d->metadata, "{}") || !set_default(&d->schema_version, "1"))
		return no_memory(why);
	return RC_OK;
}

static enum rc check_object(const struct json_value *doc, struct why *why)
{
	if (doc->type == JSON_OBJECT)
		return RC_OK;
	return rc_fail(RC_INVALID, why, "line 1, column 1: expected an object, found %s",
		       json_type_name(doc->type));
}

static void move_draft(struct draft *from, struct draft *to)
{
	*to = *from;
	*from = (struct draft)DRAFT_INIT;
}

enum rc draft_from_document(const struct json_value *doc, struct draft *out, struct why *why)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	enum rc rc = check_object(doc, why);
	if (rc == RC_OK)
		rc = read_document(doc, true, &d, why);
	if (rc == RC_OK)
		move_draft(&d, out);
	return rc;
}

/* Has it the keys that tell an envelope from a payload? */
static bool is_envelope(const struct json_value *doc)
{
	bool id = false, aggregate = false;
	struct json_iter it;
	struct json_value key, value;
	json_iter_init(&it, doc);
	while (!(id && aggregate) && json_iter_next(&it, &key, &value)) {
		enum event_key k = event_key_find(&key);
		id |= k == EVENT_ID;
		aggregate |= k == EVENT_AGGREGATE_ID;
	}
	return id && aggregate;
}

static enum rc read_envelope(const struct json_value *doc, const char *event_type, bool has_number,
			     uint64_t number, struct draft *d, struct why *why)
{
	enum rc rc = read_document(doc, false, d, why);
	if (rc != RC_OK)
		return rc;
	if (strcmp(d->event_type, event_type))
		return rc_fail(RC_INVALID, why,
			       "the event's type is '%s', the file's name says '%s'", d->event_type,
			       event_type);
	if (has_number && d->has_number && d->number != number)
		return rc_fail(RC_INVALID, why,
			       "the event's sequence number is %" PRIu64
			       ", the file's name says %" PRIu64,
			       d->number, number);
	return RC_OK;
}

static enum rc read_payload(const struct json_value *doc, const char *event_type, struct draft *d,
			    struct why *why)
{
	struct member m = { doc, "data", *doc };
	enum rc rc = take_object(&m, &d->data, why);
	if (rc != RC_OK)
		return rc;
	d->event_type = strdup(event_type);
	if (!d->event_type || !set_default(&d->metadata, "{}") ||
	    !set_default(&d->schema_version, "1"))
		return no_memory(why);
	return RC_OK;
}

enum rc draft_from_file(const struct json_value *doc, const char *event_type, bool has_number,
			uint64_t number, struct draft *out, struct why *why)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	enum rc rc = check_object(doc, why);
	if (rc != RC_OK)
		return rc;
	if (!*event_type)
		return rc_fail(RC_INVALID, why, "the file's name has no event type");
	if (json_utf8(event_type, strlen(event_type)) < strlen(event_type))
		return rc_fail(RC_INVALID, why, "the event type in the file's name is no UTF-8");

	if (is_envelope(doc)) {
		rc = read_envelope(doc, event_type, has_number, number, &d, why);
		if (rc != RC_OK)
			return rc_prefix(
				rc, why,
				"an object with event_id and aggregate_id is a whole event");
	} else {
		rc = read_payload(doc, event_type, &d, why);
		if (rc != RC_OK)
			return rc;
	}
	if (has_number) {
		d.has_number = true;
		d.number = number;
	}
	move_draft(&d, out);
	return RC_OK;
}

enum rc draft_check_stream(const struct draft *d, const char *type, const char *id, struct why *why)
{
	if (d->aggregate_type && strcmp(d->aggregate_type, type))
		return rc_fail(RC_INVALID, why,
			       "the event's aggregate_type is '%s', the stream's '%s'",
			       d->aggregate_type, type);
	if (d->aggregate_id && strcmp(d->aggregate_id, id))
		return rc_fail(RC_INVALID, why,
			       "the event's aggregate_id is '%s', the stream's '%s'",
			       d->aggregate_id, id);
	return RC_OK;
}

/*
 * What makes two events the same, each part with its length in front, so that no two mixes give one
 * text.
 */
static void add_digest_part(struct buf *out, const char *text, size_t len)
{
	uint64_t n = len;
	unsigned char prefix[8];
	for (int i = 0; i < 8; i++, n >>= 8)
		prefix[i] = (unsigned char)n;
	buf_add(out, prefix, sizeof(prefix));
	buf_add(out, text, len);
}

static enum rc digest(const char *const texts[], size_t n, const struct json_value *data,
		      const struct json_value *metadata, uint8_t out[DRAFT_DIGEST_LEN],
		      struct why *why)
{
	_cleanup_(buf_release) struct buf all = BUF_INIT;
	buf_reserve(&all, data->len + metadata->len + 256);
	for (size_t i = 0; i < n; i++) {
		buf_add_char(&all, texts[i] ? 't' : 'n');
		if (texts[i])
			add_digest_part(&all, texts[i], strlen(texts[i]));
	}
	json_form_canonical(data, &all);
	json_form_canonical(metadata, &all);
	if (buf_failed(&all) || !EVP_Digest(all.data, all.len, out, NULL, EVP_sha256(), NULL))
		return no_memory(why);
	return RC_OK;
}

static struct json_value object_of(const char *text)
{
	return (struct json_value){ JSON_OBJECT, text, strlen(text) };
}

enum rc draft_render(const struct draft *d, const char *type, const char *id, const char *event_id,
		     struct draft_pieces *out, struct why *why)
{
	_cleanup_(draft_pieces_release) struct draft_pieces p = DRAFT_PIECES_INIT;
	const char *const texts[] = { d->event_type, type, id, d->actor, d->schema_version };
	struct json_value data = object_of(d->data), metadata = object_of(d->metadata);
	enum rc rc = digest(texts, ARRAY_SIZE(texts), &data, &metadata, p.digest, why);
	if (rc != RC_OK)
		return rc;

	buf_reserve(&p.head, 192);
	buf_add_text(&p.head, "{\"event_id\":");
	json_quote(event_id, strlen(event_id), &p.head);
	buf_add_text(&p.head, ",\"event_type\":");
	json_quote(d->event_type, strlen(d->event_type), &p.head);
	buf_add_text(&p.head, ",\"aggregate_type\":");
	json_quote(type, strlen(type), &p.head);
	buf_add_text(&p.head, ",\"aggregate_id\":");
	json_quote(id, strlen(id), &p.head);
	buf_add_text(&p.head, ",\"occurred_at\":");
	if (d->has_time) {
		char time[TIME_TEXT_MAX];
		time_format(&d->occurred_at, time);
		json_quote(time, strlen(time), &p.head);
		p.own_time = true;
		p.occurred_us = d->occurred_at.us;
	}

	buf_reserve(&p.tail, data.len + metadata.len + 96);
	buf_add_text(&p.tail, ",\"actor\":");
	if (d->actor)
		json_quote(d->actor, strlen(d->actor), &p.tail);
	else
		buf_add_text(&p.tail, "null");
	buf_add_text(&p.tail, ",\"data\":");
	buf_add(&p.tail, data.text, data.len);
	buf_add_text(&p.tail, ",\"metadata\":");
	buf_add(&p.tail, metadata.text, metadata.len);
	buf_add_text(&p.tail, ",\"schema_version\":");
	json_quote(d->schema_version, strlen(d->schema_version), &p.tail);
	buf_add_text(&p.tail, ",\"sequence_number\":");
	if (buf_failed(&p.head) || buf_failed(&p.tail))
		return no_memory(why);
	*out = p;
	p = (struct draft_pieces)DRAFT_PIECES_INIT;
	return RC_OK;
}

void draft_join(const char *head, size_t head_len, const char *tail, size_t tail_len, bool own_time,
		int64_t recorded_us, uint64_t number, struct buf *out)
{
	buf_reserve(out, head_len + tail_len + TIME_TEXT_MAX + 24);
	buf_add(out, head, head_len);
	if (!own_time) {
		char time[TIME_TEXT_MAX];
		time_format_us(recorded_us, time);
		buf_add_char(out, '"');
		buf_add_text(out, time);
		buf_add_char(out, '"');
	}
	buf_add(out, tail, tail_len);
	buf_add_u64(out, number);
	buf_add_char(out, '}');
}

size_t draft_join_len(size_t head_len, size_t tail_len, bool own_time, int64_t recorded_us,
		      uint64_t number)
{
	char time[TIME_TEXT_MAX] = "";
	size_t digits = 1;
	if (!own_time)
		time_format_us(recorded_us, time);
	while (number >= 10) {
		number /= 10;
		digits++;
	}
	return head_len + (own_time ? 0 : strlen(time) + 2) + tail_len + digits + 1;
}

enum rc draft_digest_body(const char *body, size_t len, uint8_t out[DRAFT_DIGEST_LEN],
			  struct why *why)
{
	struct json_value doc, key, value, found[EVENT_KEYS] = { { JSON_NULL, NULL, 0 } };
	struct json_iter it;
	_cleanup_(event_release) struct event e = EVENT_INIT;
	enum rc rc = event_parse(body, len, &e, why);
	if (rc != RC_OK)
		return rc;
	rc = json_parse(body, len, JSON_LAX, &doc, why);
	if (rc != RC_OK)
		return rc;

	/* the objects as they are stored: e has them normalized, with some numbers as null */
	found[EVENT_DATA] = found[EVENT_METADATA] = object_of("{}");
	json_iter_init(&it, &doc);
	while (json_iter_next(&it, &key, &value)) {
		enum event_key k = event_key_find(&key);
		if (k < EVENT_KEYS)
			found[k] = value;
	}
	const char *const texts[] = { e.event_type, e.aggregate_type, e.aggregate_id, e.actor,
				      e.schema_version };
	return digest(texts, ARRAY_SIZE(texts), &found[EVENT_DATA], &found[EVENT_METADATA], out,
		      why);
}
