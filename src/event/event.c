/* SPDX-License-Identifier: Apache-2.0 */
/* event.c - the envelope: read with tolerance, written exactly. */
#include "config.h"
#include "event/event.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json-form.h"

/* Of a double: a sequence number written as 1e309 is infinite to the established reader. */
#define EXPONENT_MAX 308

static const char *const key_names[EVENT_KEYS] = {
	[EVENT_ID] = "event_id",
	[EVENT_TYPE] = "event_type",
	[EVENT_AGGREGATE_TYPE] = "aggregate_type",
	[EVENT_AGGREGATE_ID] = "aggregate_id",
	[EVENT_OCCURRED_AT] = "occurred_at",
	[EVENT_ACTOR] = "actor",
	[EVENT_DATA] = "data",
	[EVENT_METADATA] = "metadata",
	[EVENT_SCHEMA_VERSION] = "schema_version",
	[EVENT_SEQUENCE_NUMBER] = "sequence_number",
};

const char *event_key_name(enum event_key key)
{
	return key < EVENT_KEYS ? key_names[key] : "another key";
}

enum event_key event_key_find(const struct json_value *key)
{
	for (enum event_key k = 0; k < EVENT_KEYS; k++)
		if (json_string_is(key, key_names[k]))
			return k;
	return EVENT_KEYS;
}

void event_release(struct event *e)
{
	free(e->event_id);
	free(e->event_type);
	free(e->aggregate_type);
	free(e->aggregate_id);
	free(e->actor);
	free(e->data);
	free(e->metadata);
	free(e->schema_version);
	free(e->number_text);
	*e = (struct event)EVENT_INIT;
}

/* The members of an envelope; text is NULL where one is missing. */
struct members {
	struct json_value value[EVENT_KEYS];
	bool older; /* the shape of contracts.md F7 */
	bool lossy; /* read for event_parse_lossy */
};

static void find_members(const struct json_value *doc, struct members *m)
{
	bool timestamp = false, payload = false, version = false;
	struct json_iter it;
	struct json_value key, value;

	*m = (struct members){ .older = false };
	json_iter_init(&it, doc);
	while (json_iter_next(&it, &key, &value)) {
		enum event_key k = event_key_find(&key);
		if (k < EVENT_KEYS)
			m->value[k] = value; /* of equal keys the last counts */
		timestamp |= json_string_is(&key, "timestamp");
		payload |= json_string_is(&key, "payload");
		version |= json_string_is(&key, "aggregate_version");
	}
	m->older = timestamp && payload && version && !m->value[EVENT_OCCURRED_AT].text;
}

static enum rc no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "cannot hold the event");
}

static enum rc wrong_type(enum event_key key, const char *expected, const struct json_value *v,
			  struct why *why)
{
	return rc_fail(RC_INVALID, why, "'%s': expected %s, found %s", key_names[key], expected,
		       json_type_name(v->type));
}

/* Each NUL as the two bytes that no UTF-8 has. */
static void hide_nul(struct buf *text)
{
	struct buf hidden = BUF_INIT;
	for (size_t i = 0; i < text->len; i++) {
		if (text->data[i])
			buf_add_char(&hidden, text->data[i]);
		else
			buf_add(&hidden, "\xc0\x80", 2);
	}
	buf_release(text);
	*text = hidden;
}

enum presence { REQUIRED, MAY_BE_MISSING, MAY_BE_NULL };

/* A member that is text; *out stays NULL where it may be missing, or null, and is. */
static enum rc take_text(const struct members *m, enum event_key key, enum presence presence,
			 char **out, struct why *why)
{
	const struct json_value *v = &m->value[key];
	if (!v->text && presence == REQUIRED)
		return rc_fail(RC_INVALID, why, "'%s' is missing", key_names[key]);
	if (!v->text || (v->type == JSON_NULL && presence == MAY_BE_NULL))
		return RC_OK;
	if (v->type != JSON_STRING)
		return wrong_type(key, "a string", v, why);

	_cleanup_(buf_release) struct buf text = BUF_INIT;
	json_string(v, &text);
	if (memchr(buf_text(&text), '\0', text.len)) {
		if (!m->lossy)
			return rc_fail(RC_INVALID, why, "'%s' holds a NUL character",
				       key_names[key]);
		hide_nul(&text);
	}
	*out = buf_take(&text, NULL);
	return *out ? RC_OK : no_memory(why);
}

static enum rc take_object(const struct members *m, enum event_key key, char **out, struct why *why)
{
	const struct json_value *v = &m->value[key];
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	if (!v->text)
		buf_add_text(&text, "{}");
	else if (v->type == JSON_OBJECT)
		json_form_normal(v, &text);
	else
		return wrong_type(key, "an object", v, why);
	*out = buf_take(&text, NULL);
	return *out ? RC_OK : no_memory(why);
}

static enum rc take_time(const struct members *m, struct event *e, struct why *why)
{
	const struct json_value *v = &m->value[EVENT_OCCURRED_AT];
	enum rc rc;
	if (!v->text)
		return RC_OK;
	if (v->type == JSON_STRING) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		json_string(v, &text);
		rc = time_parse(buf_text(&text), text.len, &e->occurred_at, why);
	} else if (v->type == JSON_NUMBER) {
		rc = time_parse_number(v->text, v->len, &e->occurred_at, why);
	} else {
		return wrong_type(EVENT_OCCURRED_AT, "a string", v, why);
	}
	if (rc != RC_OK)
		return rc_prefix(rc, why, "'occurred_at'");
	e->has_time = true;
	return RC_OK;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* " +1_000.0 " -> "1000": what Python takes for an integer. False: it would not. */
static bool integer_from_text(const char *p, size_t len, struct buf *out)
{
	const char *end = p + len;
	while (p < end && strchr(" \t\n\r\f\v", *p))
		p++;
	while (p < end && strchr(" \t\n\r\f\v", end[-1]))
		end--;
	bool negative = p < end && *p == '-', leading = true;
	if (negative || (p < end && *p == '+'))
		p++;
	if (p == end || !is_digit(*p))
		return false;
	for (; p < end && *p != '.'; p++) {
		if (*p == '_' && p + 1 < end && is_digit(p[1]))
			continue;
		if (!is_digit(*p))
			return false;
		if (*p == '0' && leading)
			continue;
		if (leading && negative)
			buf_add_char(out, '-');
		leading = false;
		buf_add_char(out, *p);
	}
	if (leading)
		buf_add_char(out, '0');
	if (p == end)
		return true;
	for (p++; p < end && *p == '0'; p++)
		;
	return p == end && end[-1] == '0';
}

/* 7, 7.0, 1e3 and any number of digits. False: it is no integer. */
static bool integer_from_number(const struct json_value *v, struct buf *out)
{
	_cleanup_(buf_release) struct buf canonical = BUF_INIT;
	json_form_canonical(v, &canonical);
	const char *text = buf_text(&canonical), *e = strchr(text, 'e');
	if (!is_digit(text[*text == '-']))
		return false; /* NaN, Infinity */
	if (!e) {
		buf_add_text(out, text);
		return true;
	}
	char *end;
	long exponent = strtol(e + 1, &end, 10);
	if (*end || exponent < 0)
		return false;
	/* an integer written with all its digits may have any number of them */
	if (exponent > EXPONENT_MAX && (size_t)exponent >= v->len)
		return false;
	buf_add(out, text, (size_t)(e - text));
	while (exponent-- > 0)
		buf_add_char(out, '0');
	return true;
}

static enum rc take_number(const struct members *m, struct event *e, struct why *why)
{
	const struct json_value *v = &m->value[EVENT_SEQUENCE_NUMBER];
	_cleanup_(buf_release) struct buf digits = BUF_INIT, text = BUF_INIT;
	bool good = false;
	if (!v->text)
		return RC_OK;
	switch (v->type) {
	case JSON_NULL: return RC_OK;
	case JSON_TRUE:
	case JSON_FALSE:
		buf_add_char(&digits, v->type == JSON_TRUE ? '1' : '0');
		good = true;
		break;
	case JSON_NUMBER: good = integer_from_number(v, &digits); break;
	case JSON_STRING:
		json_string(v, &text);
		good = integer_from_text(buf_text(&text), text.len, &digits);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT: return wrong_type(EVENT_SEQUENCE_NUMBER, "an integer or null", v, why);
	}
	if (!good)
		return rc_fail(RC_INVALID, why,
			       "'sequence_number': expected an integer or null, found %.*s",
			       (int)json_utf8(v->text, v->len < 60 ? v->len : 60), v->text);
	struct json_value number = { JSON_NUMBER, buf_text(&digits), digits.len };
	if (!json_u64(&number, &e->number))
		e->number = 0;
	e->number_text = buf_take(&digits, NULL);
	if (!e->number_text)
		return no_memory(why);
	e->has_number = true;
	return RC_OK;
}

static enum rc read_members(const struct members *m, struct event *e, struct why *why)
{
	enum rc rc = take_text(m, EVENT_ID, MAY_BE_MISSING, &e->event_id, why);
	if (rc == RC_OK)
		rc = take_text(m, EVENT_TYPE, REQUIRED, &e->event_type, why);
	if (rc == RC_OK)
		rc = take_text(m, EVENT_AGGREGATE_TYPE, REQUIRED, &e->aggregate_type, why);
	if (rc == RC_OK)
		rc = take_text(m, EVENT_AGGREGATE_ID, REQUIRED, &e->aggregate_id, why);
	if (rc == RC_OK)
		rc = take_time(m, e, why);
	if (rc == RC_OK)
		rc = take_text(m, EVENT_ACTOR, MAY_BE_NULL, &e->actor, why);
	if (rc == RC_OK)
		rc = take_object(m, EVENT_DATA, &e->data, why);
	if (rc == RC_OK)
		rc = take_object(m, EVENT_METADATA, &e->metadata, why);
	if (rc == RC_OK)
		rc = take_text(m, EVENT_SCHEMA_VERSION, MAY_BE_MISSING, &e->schema_version, why);
	if (rc == RC_OK && !e->schema_version && !(e->schema_version = strdup("1")))
		rc = no_memory(why);
	if (rc == RC_OK)
		rc = take_number(m, e, why);
	return rc;
}

static enum rc parse(const char *text, size_t len, bool lossy, struct event *out, struct why *why)
{
	_cleanup_(event_release) struct event e = EVENT_INIT;
	struct json_value doc;
	struct members m;
	enum rc rc = json_parse(text, len, JSON_LAX, &doc, why);
	if (rc != RC_OK)
		return rc;
	if (doc.type != JSON_OBJECT)
		return rc_fail(RC_INVALID, why, "expected an object, found %s",
			       json_type_name(doc.type));
	find_members(&doc, &m);
	m.lossy = lossy;
	if (m.older && !lossy)
		return rc_fail(RC_INVALID, why,
			       "an event of an older shape ('timestamp', 'payload', "
			       "'aggregate_version', no 'occurred_at'): it must be migrated");
	rc = read_members(&m, &e, why);
	if (rc != RC_OK)
		return rc;
	*out = e;
	e = (struct event)EVENT_INIT;
	return RC_OK;
}

enum rc event_parse(const char *text, size_t len, struct event *out, struct why *why)
{
	return parse(text, len, false, out, why);
}

enum rc event_parse_lossy(const char *text, size_t len, struct event *out, struct why *why)
{
	return parse(text, len, true, out, why);
}

static void add_text_or_null(const char *text, struct buf *out)
{
	if (!text) {
		buf_add_text(out, "null");
		return;
	}
	size_t start = out->len;
	json_quote(text, strlen(text), out);
	/* of event_parse_lossy: a hidden NUL */
	const char *hidden = buf_failed(out) ? NULL : strstr(out->data + start, "\xc0\x80");
	if (!hidden)
		return;
	_cleanup_(buf_release) struct buf quoted = BUF_INIT;
	buf_add_text(&quoted, out->data + start);
	out->failed |= buf_failed(&quoted);
	out->len = start;
	for (const char *p = buf_text(&quoted); *p; p++) {
		if (strncmp(p, "\xc0\x80", 2)) {
			buf_add_char(out, *p);
			continue;
		}
		buf_add_text(out, "\\u0000");
		p++;
	}
}

void event_write(const struct event *e, struct buf *out)
{
	char time[TIME_TEXT_MAX];
	buf_add_text(out, "{\"event_id\":");
	add_text_or_null(e->event_id, out);
	buf_add_text(out, ",\"event_type\":");
	add_text_or_null(e->event_type, out);
	buf_add_text(out, ",\"aggregate_type\":");
	add_text_or_null(e->aggregate_type, out);
	buf_add_text(out, ",\"aggregate_id\":");
	add_text_or_null(e->aggregate_id, out);
	buf_add_text(out, ",\"occurred_at\":");
	if (e->has_time)
		time_format(&e->occurred_at, time);
	add_text_or_null(e->has_time ? time : NULL, out);
	buf_add_text(out, ",\"actor\":");
	add_text_or_null(e->actor, out);
	buf_add_text(out, ",\"data\":");
	buf_add_text(out, e->data ? e->data : "{}");
	buf_add_text(out, ",\"metadata\":");
	buf_add_text(out, e->metadata ? e->metadata : "{}");
	buf_add_text(out, ",\"schema_version\":");
	add_text_or_null(e->schema_version ? e->schema_version : "1", out);
	buf_add_text(out, ",\"sequence_number\":");
	buf_add_text(out, e->has_number ? e->number_text : "null");
	buf_add_char(out, '}');
}

static void add_dumped_text(const char *text, struct buf *out)
{
	if (text)
		json_form_dump_text(text, strlen(text), out);
	else
		buf_add_text(out, "null");
}

static void add_from_metadata(const struct event *e, const char *name, struct buf *out)
{
	struct json_value found = { JSON_NULL, "null", 4 }, key, value;
	if (e->metadata) {
		struct json_value metadata = { JSON_OBJECT, e->metadata, strlen(e->metadata) };
		struct json_iter it;
		json_iter_init(&it, &metadata);
		while (json_iter_next(&it, &key, &value))
			if (json_string_is(&key, name))
				found = value;
	}
	json_form_dump(&found, out);
}

void event_write_index(const struct event *e, const char *event_key, struct buf *out)
{
	char time[TIME_TEXT_MAX];
	buf_add_text(out, "{\"event_id\": ");
	add_dumped_text(e->event_id, out);
	buf_add_text(out, ", \"event_type\": ");
	add_dumped_text(e->event_type, out);
	buf_add_text(out, ", \"aggregate_type\": ");
	add_dumped_text(e->aggregate_type, out);
	buf_add_text(out, ", \"aggregate_id\": ");
	add_dumped_text(e->aggregate_id, out);
	buf_add_text(out, ", \"sequence_number\": ");
	buf_add_text(out, e->has_number ? e->number_text : "null");
	buf_add_text(out, ", \"occurred_at\": ");
	if (e->has_time)
		time_format_index(&e->occurred_at, time);
	add_dumped_text(e->has_time ? time : NULL, out);
	buf_add_text(out, ", \"s3_key\": ");
	add_dumped_text(event_key, out);
	buf_add_text(out, ", \"schema_version\": ");
	add_dumped_text(e->schema_version ? e->schema_version : "1", out);
	buf_add_text(out, ", \"kafka_topic\": ");
	add_from_metadata(e, "kafka_topic", out);
	buf_add_text(out, ", \"ordering_key\": ");
	add_from_metadata(e, "ordering_key", out);
	buf_add_char(out, '}');
}

/* No blanks, and nothing that only the tolerant scan takes, outside of strings. */
static bool is_compact(const char *text, size_t len)
{
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == 'N' ||
			   c == 'I') {
			return false;
		}
	}
	return true;
}

enum rc event_line(const char *body, size_t len, struct buf *out, bool *same_r, struct why *why)
{
	struct json_value doc;
	enum rc rc = json_parse(body, len, JSON_LAX, &doc, why);
	if (rc != RC_OK)
		return rc;
	if (doc.type != JSON_OBJECT)
		return rc_fail(RC_INVALID, why, "expected an object, found %s",
			       json_type_name(doc.type));
	*same_r = is_compact(body, len);
	if (*same_r)
		buf_add(out, body, len);
	else
		json_form_normal(&doc, out);
	buf_add_char(out, '\n');
	return buf_failed(out) ? no_memory(why) : RC_OK;
}
