/* SPDX-License-Identifier: Apache-2.0 */
/* key.c - keys of objects. */
#include "config.h"
#include "event/key.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "event/name.h"
#include "event/time.h"

#define NATIVE "streams/"
#define SUFFIX ".json"
#define NUMBER_DIGITS_MAX 19 /* of 2^63-1 */

void key_native_stream(const char *type, const char *id, struct buf *out)
{
	buf_add_text(out, NATIVE);
	name_encode(type, strlen(type), out);
	buf_add_char(out, '/');
	name_encode_id(id, out);
	buf_add_char(out, '/');
}

void key_native_event(const char *type, const char *id, uint64_t number, struct buf *out)
{
	key_native_stream(type, id, out);
	buf_printf(out, "%010" PRIu64 SUFFIX, number);
}

static bool take_number(const char *p, size_t digits, uint64_t *out)
{
	uint64_t n = 0;
	for (size_t i = 0; i < digits; i++) {
		unsigned digit = (unsigned)(p[i] - '0');
		if (n > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return digits > 0;
}

enum rc key_native_parse(const char *key, struct buf *type, struct buf *id, uint64_t *number_r,
			 struct why *why)
{
	const char *begin = key + strlen(NATIVE), *last = strrchr(key, '/');
	if (strncmp(key, NATIVE, strlen(NATIVE)) || last < begin)
		return rc_fail(RC_INVALID, why,
			       "'%s' is no event's key: expected " NATIVE "TYPE/ID/NUMBER" SUFFIX,
			       key);
	const char *slash = strchr(begin, '/');
	size_t digits = strspn(last + 1, "0123456789");
	uint64_t number;
	/*
	 * a shorter number, or a longer one with zeros in front, would be a second key of the same
	 * event
	 */
	if (slash == last || digits < 10 || (digits > 10 && last[1] == '0') ||
	    strcmp(last + 1 + digits, SUFFIX) || !take_number(last + 1, digits, &number) || !number)
		return rc_fail(RC_INVALID, why,
			       "'%s' is no event's key: expected " NATIVE "TYPE/ID/NUMBER" SUFFIX
			       ", the number with ten digits",
			       key);
	size_t type_at = type->len, id_at = id->len;
	enum rc rc = name_decode(begin, (size_t)(slash - begin), type, why);
	if (rc == RC_OK)
		rc = name_decode_id(slash + 1, (size_t)(last - slash - 1), id, why);
	if (rc != RC_OK)
		return rc_prefix(rc, why, "key '%s'", key);

	/* what is escaped otherwise than we do would be a second key, too */
	_cleanup_(buf_release) struct buf ours = BUF_INIT;
	key_native_event(buf_text(type) + type_at, buf_text(id) + id_at, number, &ours);
	if (buf_failed(&ours) || buf_failed(type) || buf_failed(id))
		return rc_fail(RC_NO_MEMORY, why, "no memory for key '%s'", key);
	if (type->len == type_at || id->len == id_at)
		return rc_fail(RC_INVALID, why, "'%s' is no event's key: no stream is named", key);
	if (strcmp(ours.data, key))
		return rc_fail(RC_INVALID, why, "'%s' is no event's key: expected '%s'", key, ours.data);
	*number_r = number;
	return RC_OK;
}

static void add_day(int64_t us, struct buf *out)
{
	int year, month, day;
	time_day(us, &year, &month, &day);
	buf_printf(out, "%04d/%02d/%02d/", year, month, day);
}

void key_indexed_event(int64_t occurred_us, const char *type, const char *id, const char *event_id,
		       struct buf *out)
{
	buf_add_text(out, "events/");
	add_day(occurred_us, out);
	buf_printf(out, "%s/%s/%s" SUFFIX, type, id, event_id);
}

void key_indexed_by_aggregate(const char *type, const char *id, const char *number,
			      const char *event_id, struct buf *out)
{
	buf_printf(out, "indexes/by-aggregate/%s/%s/", type, id);
	size_t width = 20, len = strlen(number);
	if (*number == '-') { /* the sign counts as one of the 20 */
		buf_add_char(out, *number++);
		len--;
		width--;
	}
	for (; width > len; width--)
		buf_add_char(out, '0');
	buf_printf(out, "%s_%s" SUFFIX, number, event_id);
}

void key_indexed_by_date(int64_t occurred_us, const char *event_id, struct buf *out)
{
	buf_add_text(out, "indexes/by-date/");
	add_day(occurred_us, out);
	buf_printf(out, "%013" PRId64 "_%s" SUFFIX, time_index_ms(occurred_us), event_id);
}

void key_indexed_by_event_id(const char *event_id, struct buf *out)
{
	buf_printf(out, "indexes/by-event-id/%s" SUFFIX, event_id);
}

enum rc key_indexed_parse_entry(const char *last_component, uint64_t *number_r,
				struct buf *event_id, struct why *why)
{
	size_t digits = strspn(last_component, "0123456789"), len = strlen(last_component);
	size_t tail = strlen(SUFFIX);
	if (last_component[digits] != '_' || len < digits + 1 + tail ||
	    strcmp(last_component + len - tail, SUFFIX) ||
	    !take_number(last_component, digits, number_r))
		return rc_fail(RC_INVALID, why,
			       "'%s' is no index entry: expected NUMBER_EVENT-ID" SUFFIX,
			       last_component);
	buf_add(event_id, last_component + digits + 1, len - digits - 1 - tail);
	return buf_failed(event_id) ? rc_fail(RC_NO_MEMORY, why, "cannot read '%s'", last_component)
				    : RC_OK;
}

/* what: "aggregate type" or "aggregate id" */
static enum rc check_text(const char *what, const char *text, struct why *why)
{
	size_t len = strlen(text), good = json_utf8(text, len);
	if (!len)
		return rc_fail(RC_INVALID, why, "the %s is empty", what);
	if (good < len)
		return rc_fail(RC_INVALID, why, "the %s is no UTF-8: byte %zu is 0x%02x", what,
			       good + 1, (unsigned char)text[good]);
	return RC_OK;
}

enum rc key_check_stream(const char *type, const char *id, struct why *why)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	enum rc rc = check_text("aggregate type", type, why);
	if (rc == RC_OK)
		rc = check_text("aggregate id", id, why);
	if (rc != RC_OK)
		return rc;
	key_native_stream(type, id, &key);
	if (buf_failed(&key))
		return rc_fail(RC_NO_MEMORY, why, "cannot check the key");

	if (key.len + NUMBER_DIGITS_MAX + strlen(SUFFIX) > KEY_MAX)
		return rc_fail(
			RC_INVALID, why,
			"the key of an event of this stream would have %zu bytes, at most %d "
			"are possible",
			key.len + NUMBER_DIGITS_MAX + strlen(SUFFIX), KEY_MAX);
	for (const char *p = key.data, *slash; (slash = strchr(p, '/')); p = slash + 1)
		if (slash - p > KEY_COMPONENT_MAX)
			return rc_fail(RC_INVALID, why,
				       "'%.*s…' has %zu bytes as a part of a key, at most %d are "
				       "possible",
				       (int)json_utf8(p, 60), p, (size_t)(slash - p),
				       KEY_COMPONENT_MAX);
	return RC_OK;
}
