/* SPDX-License-Identifier: Apache-2.0 */
/* route-dead.c - the record of an event that can't be published. */
#include "config.h"
#include "publisher/route.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/json.h"
#include "event/time.h"
#include "publisher/route-private.h"

#define ERROR_MAX 4000	/* characters (contracts.md E4) */
#define NAME_MAX_BYTES 4096	/* of a text in a record that had to be made small */

/* Append text as JSON; what is no UTF-8 in it as U+FFFD. */
static void add_text(const char *text, size_t len, struct buf *out)
{
	_cleanup_(buf_release) struct buf clean = BUF_INIT;
	while (len) {
		size_t good = json_utf8(text, len);
		buf_add(&clean, text, good);
		text += good;
		len -= good;
		if (!len)
			break;
		buf_add_text(&clean, "\xef\xbf\xbd");
		text++;
		len--;
	}
	json_quote(buf_text(&clean), clean.len, out);
	out->failed |= buf_failed(&clean);
}

static void add_member(const char *name, const char *text, struct buf *out)
{
	buf_printf(out, ", \"%s\": ", name);
	if (text)
		add_text(text, strlen(text), out);
	else
		buf_add_text(out, "null");
}

/* How many bytes the first n characters of text have. */
static size_t characters(const char *text, size_t n)
{
	size_t i = 0;
	for (; text[i]; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && n-- == 0)
			break;
	return i;
}

struct dead {
	const struct route_options *o;
	const struct tail_event *e;
	const char *stage, *topic, *key, *error;
	enum rc rc;
	int64_t now_us;
};

/* E4's fields. small: without the value, and what else may be long. */
static void add_standard(const struct dead *d, bool small, struct buf *out)
{
	const struct tail_event *e = d->e;
	char time[TIME_TEXT_MAX];
	buf_add_text(out, "{\"original_topic\": ");
	add_text(d->topic, strlen(d->topic), out);
	/* It never had a partition, nor an offset. */
	buf_printf(out, ", \"original_partition\": -1, \"original_offset\": -1, \"original_timestamp\": %" PRId64,
		   e->recorded_us / 1000);
	add_member("original_key", small && strlen(d->key) > NAME_MAX_BYTES ? NULL : d->key, out);
	buf_add_text(out, ", \"original_value\": ");
	if (e->body && !small)
		add_text(e->body, e->len, out);
	else
		buf_add_text(out, "\"<unavailable>\"");
	buf_add_text(out, ", \"error\": ");
	add_text(d->error, characters(d->error, ERROR_MAX), out);
	buf_add_text(out, ", \"attempt_count\": 1, \"worker\": \"evfs-publisher\", \"timestamp\": ");
	time_format_index(&(struct time_stamp){ .us = d->now_us }, time);
	add_text(time, strlen(time), out);
	add_member("stage", d->stage, out);
}

/* What a replay needs beside them. */
static void add_extras(const struct dead *d, bool small, struct buf *out)
{
	const struct route_options *o = d->o;
	const struct tail_event *e = d->e;
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	add_member("error_code", rc_name(d->rc), out);
	add_member("event_id", e->event_id, out);
	add_member("event_type", e->event_type, out);
	add_member("aggregate_type", e->type, out);
	add_member("aggregate_id", e->id, out);
	buf_printf(out, ", \"sequence_number\": %" PRIu64, e->number);
	add_member("s3_bucket", o->bucket, out);
	if (o->bucket && o->prefix)
		buf_add_text(&key, o->prefix);
	buf_add_text(&key, e->key ? e->key : "");
	add_member("s3_key", buf_text(&key), out);
	out->failed |= buf_failed(&key);
	if (e->body)
		buf_printf(out, ", \"original_value_bytes\": %zu", e->len);
	if (e->body && !small && json_utf8(e->body, e->len) < e->len) {
		buf_add_text(out, ", \"original_value_base64\": \"");
		encode_base64(e->body, e->len, out);
		buf_add_char(out, '"');
	}
}

static enum rc build(const struct dead *d, const struct route_source *s, bool small, struct route_message *out, struct why *why)
{
	route_begin(out);
	buf_add_text(&out->topic, d->o->dlq_topic);
	/* The records of a stream stay in order. */
	if (*d->key && !(small && strlen(d->key) > NAME_MAX_BYTES))
		buf_add_text(&out->key, d->key);
	else
		route_key(d->e, NULL, &out->key);
	if (s && !small)
		route_trace(s, out);
	route_identity(d->e, out);
	add_standard(d, small, &out->value);
	add_extras(d, small, &out->value);
	buf_add_char(&out->value, '}');
	return route_end(out, why);
}

enum rc route_dead(const struct route_options *o, const struct tail_event *e, const char *stage, const char *topic,
		   const char *key, enum rc rc, const char *error, int64_t now_us, struct route_message *out, struct why *why)
{
	_cleanup_(route_source_release) struct route_source source = { .event = EVENT_INIT };
	_cleanup_(buf_release) struct buf own_topic = BUF_INIT, own_key = BUF_INIT;
	const struct route_source *s = NULL;
	if (e->body) {
		enum rc read = route_source_read(&source, e, NULL);
		if (read == RC_NO_MEMORY)
			return rc_fail(read, why, "cannot hold the event");
		s = read == RC_OK ? &source : NULL;
	}
	if (!topic || !*topic) {
		route_topic(o, e, s, &own_topic);
		topic = buf_text(&own_topic);
	}
	if (!key || !*key) {
		route_key(e, s, &own_key);
		key = buf_text(&own_key);
	}
	if (buf_failed(&own_topic) || buf_failed(&own_key))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	const struct dead d = { .o = o, .e = e, .stage = stage, .topic = topic, .key = key, .error = error ? error : "",
				.rc = rc, .now_us = now_us };
	/* What a broker finds too large is not sent to it again in another dress. */
	bool small = rc == RC_TOO_LARGE;
	enum rc built = build(&d, s, small, out, why);
	if (built == RC_OK && !small && o->max_message && route_size(out) > o->max_message)
		built = build(&d, s, true, out, why);
	return built;
}
