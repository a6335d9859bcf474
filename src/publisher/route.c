/* SPDX-License-Identifier: Apache-2.0 */
/* route.c - topic, key, headers and value of an event's message. */
#include "config.h"
#include "publisher/route.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/json-form.h"
#include "event/time.h"
#include "publisher/route-private.h"

/* What a record batch, a record and each of its headers take beside their contents, at most. */
#define BATCH_BYTES 61
#define RECORD_BYTES 32
#define HEADER_BYTES 10

static const char *const meta_names[ROUTE_METAS] = {
	[ROUTE_META_TOPIC] = "kafka_topic",
	[ROUTE_META_ORDERING] = "ordering_key",
	[ROUTE_META_TRACEPARENT] = "traceparent",
	[ROUTE_META_TRACESTATE] = "tracestate",
	[ROUTE_META_BAGGAGE] = "baggage",
	[ROUTE_META_REQUEST] = "request_id",
	[ROUTE_META_CORRELATION] = "correlation_id",
	[ROUTE_META_DB_NAME] = "db_name",
	[ROUTE_META_PROJECT] = "project",
	[ROUTE_META_DB] = "db",
	[ROUTE_META_KIND] = "kind",
	[ROUTE_META_NESTED] = "metadata",
};

/* Of the aggregate type, without regard to case (contracts.md D4). */
static const struct {
	const char *type;
	bool prefix;
	const char *topic;
} type_topics[] = {
	{ "dataset", false, "pipeline-events" },    { "pipeline", false, "pipeline-events" },
	{ "instance", false, "instance_events" },   { "ontology", false, "ontology_events" },
	{ "connector", true, "connector-updates" },
};

void route_message_release(struct route_message *m)
{
	buf_release(&m->topic);
	buf_release(&m->key);
	buf_release(&m->value);
	buf_release(&m->texts);
	*m = (struct route_message)ROUTE_MESSAGE_INIT;
}

enum rc route_check_topic(const char *topic, struct why *why)
{
	size_t len = strlen(topic);
	if (!sink_is_topic(topic))
		return rc_fail(RC_INVALID, why,
			       "'%.*s' can be no topic: 1 to %d letters, digits, '.', '_' and '-', not '.' nor '..'",
			       (int)json_utf8(topic, len < 60 ? len : 60), topic, SINK_TOPIC_MAX);
	return RC_OK;
}

/* --- what the event says --- */

static void find_metas(const char *text, size_t len, struct json_value meta[ROUTE_METAS])
{
	struct json_value object = { JSON_OBJECT, text, len }, key, value;
	struct json_iter it;
	json_iter_init(&it, &object);
	while (json_iter_next(&it, &key, &value))
		for (enum route_meta k = 0; k < ROUTE_METAS; k++)
			if (json_string_is(&key, meta_names[k]))
				meta[k] = value;
}

static bool has(const struct json_value *v)
{
	return v->text && v->type != JSON_NULL;
}

enum rc route_source_read(struct route_source *s, const struct tail_event *e, struct why *why)
{
	enum rc rc = event_parse(e->body, e->len, &s->event, why);
	if (rc == RC_INVALID)
		rc = rc_prefix(RC_CORRUPT, why, "the object '%s' is no event", e->key ? e->key : "");
	if (rc != RC_OK)
		return rc;
	find_metas(s->event.metadata, strlen(s->event.metadata), s->meta);
	return RC_OK;
}

void route_source_release(struct route_source *s)
{
	event_release(&s->event);
}

/* As Python's str() of it: strings, numbers, True, False. False: it is missing, empty, or none of these. */
static bool text_of(const struct json_value *v, struct buf *out)
{
	size_t before = out->len;
	if (!v->text)
		return false;
	switch (v->type) {
	case JSON_STRING: json_string(v, out); break;
	case JSON_NUMBER: buf_add(out, v->text, v->len); break;
	case JSON_TRUE: buf_add_text(out, "True"); break;
	case JSON_FALSE: buf_add_text(out, "False"); break;
	case JSON_NULL:
	case JSON_ARRAY:
	case JSON_OBJECT: break;
	}
	return out->len > before;
}

/* Does "a or b" in Python take a? */
static bool is_truth(const struct json_value *v)
{
	if (!has(v) || v->type == JSON_FALSE)
		return false;
	if (v->type == JSON_NUMBER)
		return v->text[strspn(v->text, "-0.")] >= '1' && v->text[strspn(v->text, "-0.")] <= '9';
	return v->type != JSON_STRING || v->len > 2;
}

/* --- headers --- */

void route_begin(struct route_message *out)
{
	buf_reset(&out->topic);
	buf_reset(&out->key);
	buf_reset(&out->value);
	buf_reset(&out->texts);
	out->message = (struct sink_message){ .n_headers = 0 };
}

void route_header(struct route_message *out, const char *name, const char *text, size_t len)
{
	if (!len || memchr(text, '\0', len) || out->message.n_headers == ARRAY_SIZE(out->headers))
		return;
	/* route_end finds the values again: texts may move until then. */
	out->headers[out->message.n_headers++].name = name;
	buf_add(&out->texts, text, len);
	buf_add(&out->texts, "", 1);
}

static void header_text(struct route_message *out, const char *name, const char *text)
{
	if (text)
		route_header(out, name, text, strlen(text));
}

static void header_value(struct route_message *out, const char *name, const struct json_value *v)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	if (text_of(v, &text))
		route_header(out, name, buf_text(&text), text.len);
	out->texts.failed |= buf_failed(&text);
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && strchr(" \t\n\r\f\v", *p))
		p++;
	return p;
}

static const char *back_over_blanks(const char *start, const char *end)
{
	while (end > start && strchr(" \t\n\r\f\v", end[-1]))
		end--;
	return end;
}

/* Does the W3C baggage text have a member with that key, and a value? */
static bool baggage_has(const char *text, size_t len, const char *name)
{
	for (const char *p = text, *end = text + len, *next; p < end; p = next + 1) {
		next = memchr(p, ',', (size_t)(end - p));
		if (!next)
			next = end;
		const char *stop = memchr(p, ';', (size_t)(next - p));
		if (!stop)
			stop = next;
		const char *equals = memchr(p, '=', (size_t)(stop - p));
		if (!equals)
			continue;
		const char *key = skip_blanks(p, equals), *key_end = back_over_blanks(key, equals);
		if ((size_t)(key_end - key) == strlen(name) && !memcmp(key, name, strlen(name)) &&
		    skip_blanks(equals + 1, stop) < stop)
			return true;
	}
	return false;
}

/* As the established publisher builds it: what is there, then what it lacks of three others. */
static void add_baggage(const struct json_value meta[ROUTE_METAS], struct buf *out)
{
	const struct json_value *db = &meta[ROUTE_META_DB_NAME];
	if (!is_truth(db))
		db = &meta[ROUTE_META_PROJECT];
	if (!is_truth(db))
		db = &meta[ROUTE_META_DB];
	const struct {
		const char *name;
		const struct json_value *value;
	} extras[] = {
		{ "request_id", &meta[ROUTE_META_REQUEST] },
		{ "correlation_id", &meta[ROUTE_META_CORRELATION] },
		{ "db_name", db },
	};
	text_of(&meta[ROUTE_META_BAGGAGE], out);
	size_t there = out->len;
	for (size_t i = 0; i < ARRAY_SIZE(extras); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		if (!text_of(extras[i].value, &text) || baggage_has(buf_text(out), there, extras[i].name))
			continue;
		buf_printf(out, "%s%s=", out->len ? "," : "", extras[i].name);
		encode_percent(buf_text(&text), text.len, "", out);
		out->failed |= buf_failed(&text);
	}
}

void route_trace(const struct route_source *s, struct route_message *out)
{
	struct json_value nested[ROUTE_METAS] = { { JSON_NULL, NULL, 0 } };
	const struct json_value *meta = s->meta;
	_cleanup_(buf_release) struct buf baggage = BUF_INIT;

	/* Metadata inside of metadata counts where there is no trace outside of it. */
	if (!meta[ROUTE_META_TRACEPARENT].text && !meta[ROUTE_META_TRACESTATE].text &&
	    !meta[ROUTE_META_BAGGAGE].text && meta[ROUTE_META_NESTED].text &&
	    meta[ROUTE_META_NESTED].type == JSON_OBJECT) {
		find_metas(meta[ROUTE_META_NESTED].text, meta[ROUTE_META_NESTED].len, nested);
		meta = nested;
	}
	header_value(out, "traceparent", &meta[ROUTE_META_TRACEPARENT]);
	header_value(out, "tracestate", &meta[ROUTE_META_TRACESTATE]);
	add_baggage(meta, &baggage);
	route_header(out, "baggage", buf_text(&baggage), baggage.len);
	out->texts.failed |= buf_failed(&baggage);
}

void route_identity(const struct tail_event *e, struct route_message *out)
{
	char number[24];
	header_text(out, "event_id", e->event_id);
	snprintf(number, sizeof(number), "%" PRIu64, e->number);
	header_text(out, "sequence_number", number);
}

/* The key of the event's object in its bucket, or its place in the store's directory. */
static void add_object_key(const struct route_options *o, const struct tail_event *e, struct buf *out)
{
	if (o->bucket && o->prefix)
		buf_add_text(out, o->prefix);
	buf_add_text(out, e->key ? e->key : "");
}

void route_place(const struct route_options *o, const struct tail_event *e, struct route_message *out)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	header_text(out, "s3_bucket", o->bucket);
	add_object_key(o, e, &key);
	route_header(out, "s3_key", buf_text(&key), key.len);
	out->texts.failed |= buf_failed(&key);
}

/* A text as an attribute of CloudEvents may be: control characters, also U+0080 to U+009F, as %XX. */
static void add_attribute(const char *text, struct buf *out)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			buf_printf(out, "%%C2%%%02X", p[1]);
			p++;
		} else if (*p < 0x20 || *p == 0x7f) {
			buf_printf(out, "%%%02X", *p);
		} else {
			buf_add_char(out, (char)*p);
		}
	}
}

static void header_attribute(struct route_message *out, const char *name, const char *text)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	add_attribute(text ? text : "", &b);
	route_header(out, name, buf_text(&b), b.len);
	out->texts.failed |= buf_failed(&b);
}

/* Binary mode of the Kafka binding, spec 1.0; the claim check's dataref where the value is a reference. */
static void add_cloud_event(const struct route_options *o, const struct tail_event *e, bool by_reference,
			    struct route_message *out)
{
	char time[TIME_TEXT_MAX];
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	header_text(out, "ce_specversion", "1.0");
	header_attribute(out, "ce_id", e->event_id);
	header_attribute(out, "ce_source", o->source ? o->source : "/evfs");
	header_attribute(out, "ce_type", e->event_type);
	buf_printf(&b, "%s/%s", e->type, e->id);
	header_attribute(out, "ce_subject", buf_text(&b));
	time_format_us(e->occurred_us, time);
	header_text(out, "ce_time", time);
	header_text(out, "content-type", "application/json");
	if (by_reference && o->bucket) {
		_cleanup_(buf_release) struct buf key = BUF_INIT;
		add_object_key(o, e, &key);
		buf_reset(&b);
		buf_printf(&b, "s3://%s/", o->bucket);
		encode_percent(buf_text(&key), key.len, "/", &b);
		header_text(out, "ce_dataref", buf_text(&b));
		out->texts.failed |= buf_failed(&key);
	}
	out->texts.failed |= buf_failed(&b);
}

/* --- topic and key --- */

void route_topic(const struct route_options *o, const struct tail_event *e, const struct route_source *s, struct buf *out)
{
	if (s && is_truth(&s->meta[ROUTE_META_TOPIC]) && text_of(&s->meta[ROUTE_META_TOPIC], out))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(type_topics); i++) {
		size_t len = strlen(type_topics[i].type);
		if (!strncasecmp(e->type, type_topics[i].type, len) && (type_topics[i].prefix || !e->type[len])) {
			buf_add_text(out, type_topics[i].topic);
			return;
		}
	}
	buf_add_text(out, o->default_topic);
}

void route_key(const struct tail_event *e, const struct route_source *s, struct buf *out)
{
	if (s && is_truth(&s->meta[ROUTE_META_ORDERING]) && text_of(&s->meta[ROUTE_META_ORDERING], out))
		return;
	buf_add_text(out, *e->id ? e->id : e->event_id ? e->event_id : "");
}

/* A topic that the event names is its own: also one that is no text can be none. */
static enum rc take_topic(const struct route_options *o, const struct tail_event *e, const struct route_source *s,
			  struct buf *out, struct why *why)
{
	const struct json_value *named = &s->meta[ROUTE_META_TOPIC];
	if (o->topic) {
		buf_add_text(out, o->topic);
		return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why, "out of memory") : RC_OK;
	}
	if (has(named) && named->type != JSON_STRING)
		return rc_fail(RC_INVALID, why, "'kafka_topic': expected a string, found %s", json_type_name(named->type));
	route_topic(o, e, s, out);
	if (memchr(buf_text(out), '\0', out->len))
		return rc_fail(RC_INVALID, why, "'kafka_topic' holds a NUL character");
	return buf_failed(out) ? rc_fail(RC_NO_MEMORY, why, "out of memory") : route_check_topic(buf_text(out), why);
}

/* --- value --- */

static void add_dumped(const char *text, struct buf *out)
{
	if (text)
		json_form_dump_text(text, strlen(text), out);
	else
		buf_add_text(out, "null");
}

static void add_s3_reference(const struct route_options *o, const struct tail_event *e, struct buf *out)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	add_object_key(o, e, &key);
	buf_add_text(out, "\"s3_reference\": {\"bucket\": ");
	add_dumped(o->bucket, out);
	buf_add_text(out, ", \"key\": ");
	add_dumped(buf_text(&key), out);
	buf_add_text(out, ", \"endpoint\": ");
	add_dumped(o->endpoint, out);
	buf_add_text(out, ", \"event_id\": ");
	add_dumped(e->event_id, out);
	buf_add_char(out, '}');
	out->failed |= buf_failed(&key);
}

/*
 * contracts.md F6. relay_timestamp is the time of recording, so that a message that is sent again has the same bytes.
 */
static enum rc add_wrapper(const struct route_options *o, const struct tail_event *e, const struct route_source *s,
			   struct buf *out, struct why *why)
{
	_cleanup_(buf_release) struct buf normal = BUF_INIT;
	struct json_value doc;
	char time[TIME_TEXT_MAX];
	enum rc rc = json_parse(e->body, e->len, JSON_LAX, &doc, why);
	if (rc != RC_OK)
		return rc_prefix(RC_CORRUPT, why, "the object '%s'", e->key ? e->key : "");
	json_form_normal(&doc, &normal);	/* of equal keys the last */
	doc.text = buf_text(&normal);
	doc.len = normal.len;
	if (buf_failed(&normal))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	bool command = s->meta[ROUTE_META_KIND].text && s->meta[ROUTE_META_KIND].type == JSON_STRING &&
		       json_string_is(&s->meta[ROUTE_META_KIND], "command");
	buf_printf(out, "{\"message_type\": \"%s\", \"payload\": ", command ? "COMMAND" : "EVENT");
	json_form_dump(&doc, out);
	time_format_index(&(struct time_stamp){ .us = e->recorded_us }, time);
	buf_printf(out, ", \"metadata\": {\"relay_timestamp\": \"%s\", \"retry_count\": 0, \"storage_mode\": \"%s\"}", time,
		   o->bucket ? "dual_write" : "legacy");
	if (o->bucket) {
		buf_add_text(out, ", ");
		add_s3_reference(o, e, out);
	}
	buf_add_char(out, '}');
	return RC_OK;
}

/*
 * What stands for an event that no message can hold (doc/publisher.md). The names of the event stand one level down, so
 * that nobody takes it for the event itself, without data.
 */
static void add_reference(const struct route_options *o, const struct tail_event *e, struct buf *out)
{
	char time[TIME_TEXT_MAX];
	time_format_us(e->occurred_us, time);
	buf_add_text(out, "{\"message_type\": \"EVENT_REFERENCE\", \"event\": {\"event_id\": ");
	add_dumped(e->event_id, out);
	buf_add_text(out, ", \"event_type\": ");
	add_dumped(e->event_type, out);
	buf_add_text(out, ", \"aggregate_type\": ");
	add_dumped(e->type, out);
	buf_add_text(out, ", \"aggregate_id\": ");
	add_dumped(e->id, out);
	buf_printf(out, ", \"occurred_at\": \"%s\", \"sequence_number\": %" PRIu64 "}, \"size\": %zu, ", time, e->number, e->len);
	add_s3_reference(o, e, out);
	buf_add_char(out, '}');
}

/* --- the whole --- */

enum rc route_end(struct route_message *out, struct why *why)
{
	struct sink_message *m = &out->message;
	if (buf_failed(&out->topic) || buf_failed(&out->key) || buf_failed(&out->value) || buf_failed(&out->texts))
		return rc_fail(RC_NO_MEMORY, why, "cannot hold the message");
	const char *p = buf_text(&out->texts);
	for (size_t i = 0; i < m->n_headers; i++, p += strlen(p) + 1)
		out->headers[i].value = p;
	m->headers = out->headers;
	m->topic = buf_text(&out->topic);
	m->key = buf_text(&out->key);
	m->key_len = out->key.len;
	m->value = buf_text(&out->value);
	m->len = out->value.len;
	/* The broker's time, not the event's: retention would delete what is published late as soon as it is there. */
	m->time_us = 0;
	return RC_OK;
}

size_t route_size(const struct route_message *m)
{
	size_t n = BATCH_BYTES + RECORD_BYTES + m->message.key_len + m->message.len + m->texts.len;
	for (size_t i = 0; i < m->message.n_headers; i++)
		n += HEADER_BYTES + strlen(m->headers[i].name);
	return n;
}

static enum rc build(const struct route_options *o, const struct tail_event *e, const struct route_source *s, bool by_reference,
		     struct route_message *out, struct why *why)
{
	route_begin(out);
	route_key(e, s, &out->key);
	enum rc rc = take_topic(o, e, s, &out->topic, why);
	if (rc != RC_OK)
		return rc;
	route_trace(s, out);
	route_identity(e, out);
	if (o->cloud_events)
		add_cloud_event(o, e, by_reference, out);
	if (o->reference || by_reference)
		route_place(o, e, out);
	if (by_reference)
		add_reference(o, e, &out->value);
	else if (o->shape == ROUTE_WRAPPER)
		rc = add_wrapper(o, e, s, &out->value, why);
	else
		buf_add(&out->value, e->body, e->len);
	return rc != RC_OK ? rc : route_end(out, why);
}

static bool fits(const struct route_options *o, const struct route_message *m)
{
	return !o->max_message || route_size(m) <= o->max_message;
}

enum rc route_make(const struct route_options *o, const struct tail_event *e, struct route_message *out, struct why *why)
{
	_cleanup_(route_source_release) struct route_source s = { .event = EVENT_INIT };
	route_begin(out);	/* what a failure leaves there is of this event */
	enum rc rc = route_source_read(&s, e, why);
	if (rc != RC_OK)
		return rc;
	rc = build(o, e, &s, false, out, why);
	if (rc != RC_OK || fits(o, out))
		return rc;
	size_t size = route_size(out);
	if (o->large_by_reference) {
		rc = build(o, e, &s, true, out, why);
		if (rc != RC_OK || fits(o, out))
			return rc;
	}
	return rc_fail(RC_TOO_LARGE, why, "the message would have %zu bytes, the limit is %zu", size, o->max_message);
}
