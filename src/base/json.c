/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - JSON text that keeps its bytes: whole documents, members, strings. */
#include "config.h"
#include "base/json.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json-scan.h"

size_t json_utf8(const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	while (p < end) {
		int n = json_scan_utf8(p, end);
		if (n <= 0)
			break;
		p += n;
	}
	return (size_t)(p - text);
}

enum json_scan json_scan(const char *text, size_t len, enum json_dialect dialect,
			 unsigned first_line, struct json_value *value_r, size_t *used_r,
			 struct why *why)
{
	struct json_scanner s = { .text = text, .p = text, .end = text + len, .dialect = dialect };
	enum json_scan r = json_scan_value(&s, value_r);
	switch (r) {
	case JSON_COMPLETE:
		/* "1" may go on as "12" */
		if (value_r->type == JSON_NUMBER && s.p == s.end)
			return JSON_PARTIAL;
		*used_r = (size_t)(s.p - text);
		break;
	case JSON_EMPTY: *used_r = len; break;
	case JSON_BROKEN: json_scan_explain(&s, first_line, why); break;
	case JSON_PARTIAL: break;
	}
	return r;
}

enum rc json_parse(const char *text, size_t len, enum json_dialect dialect,
		   struct json_value *value_r, struct why *why)
{
	struct json_scanner s = { .text = text, .p = text, .end = text + len, .dialect = dialect };
	struct json_value value;
	switch (json_scan_value(&s, &value)) {
	case JSON_COMPLETE:
		s.p = json_skip_blanks(s.p, s.end);
		if (s.p == s.end) {
			*value_r = value;
			return RC_OK;
		}
		s.expected = "nothing after the document";
		break;
	case JSON_EMPTY: s.expected = "a value"; break;
	case JSON_PARTIAL: s.p = s.end; break;
	case JSON_BROKEN: break;
	}
	return json_scan_explain(&s, 1, why);
}

/* From here on the text is known to be good. */

static const char *skip_scalar(const char *p, const char *end)
{
	if (*p == '"')
		return json_skip_string(p);
	while (p < end && !json_is_blank(*p) && *p != ',' && *p != ']' && *p != '}')
		p++;
	return p;
}

static const char *skip_value(const char *p, const char *end)
{
	unsigned depth = 0;
	do {
		if (*p == '{' || *p == '[') {
			depth++;
			p++;
		} else if (*p == '}' || *p == ']') {
			depth--;
			p++;
		} else if (json_is_blank(*p) || *p == ',' || *p == ':') {
			p++;
		} else {
			p = skip_scalar(p, end);
		}
	} while (depth);
	return p;
}

static enum json_type type_at(const char *p)
{
	switch (*p) {
	case '{': return JSON_OBJECT;
	case '[': return JSON_ARRAY;
	case '"': return JSON_STRING;
	case 't': return JSON_TRUE;
	case 'f': return JSON_FALSE;
	case 'n': return JSON_NULL;
	}
	return JSON_NUMBER;
}

void json_iter_init(struct json_iter *it, const struct json_value *parent)
{
	it->pos = parent->text;
	it->end = parent->text + parent->len;
}

/* pos stands at the opening bracket, or behind the last element. */
bool json_iter_next(struct json_iter *it, struct json_value *key_r, struct json_value *value_r)
{
	const char *p = it->pos;
	if (p == it->end)
		return false;
	bool in_object = it->end[-1] == '}';
	p = json_skip_blanks(p, it->end);
	p = json_skip_blanks(p + 1, it->end); /* past '{', '[', ',' or the end */
	if (p == it->end || *p == '}' || *p == ']') {
		it->pos = it->end;
		return false;
	}
	if (in_object) {
		const char *key_end = json_skip_string(p);
		*key_r = (struct json_value){ JSON_STRING, p, (size_t)(key_end - p) };
		p = json_skip_blanks(key_end, it->end);
		p = json_skip_blanks(p + 1, it->end);
	}
	const char *value_end = skip_value(p, it->end);
	*value_r = (struct json_value){ type_at(p), p, (size_t)(value_end - p) };
	it->pos = value_end;
	return true;
}

static void add_utf8(unsigned c, struct buf *out)
{
	char u[4];
	size_t n = 0;
	if (c < 0x80) {
		u[n++] = (char)c;
	} else if (c < 0x800) {
		u[n++] = (char)(0xc0 | c >> 6);
		u[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		u[n++] = (char)(0xe0 | c >> 12);
		u[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		u[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		u[n++] = (char)(0xf0 | c >> 18);
		u[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		u[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		u[n++] = (char)(0x80 | (c & 0x3f));
	}
	buf_add(out, u, n);
}

/* The escape whose backslash is at p, unescaped; returns what follows it. */
static const char *add_unescaped(const char *p, struct buf *out)
{
	switch (p[1]) {
	case 'b': buf_add_char(out, '\b'); return p + 2;
	case 'f': buf_add_char(out, '\f'); return p + 2;
	case 'n': buf_add_char(out, '\n'); return p + 2;
	case 'r': buf_add_char(out, '\r'); return p + 2;
	case 't': buf_add_char(out, '\t'); return p + 2;
	case 'u': break;
	default: buf_add_char(out, p[1]); return p + 2;
	}
	unsigned c = json_hex4(p + 2);
	p += 6;
	if (c >= 0xd800 && c <= 0xdbff) {
		c = 0x10000 + ((c - 0xd800) << 10) + (json_hex4(p + 2) - 0xdc00);
		p += 6;
	}
	add_utf8(c, out);
	return p;
}

void json_string(const struct json_value *v, struct buf *out)
{
	const char *p = v->text + 1, *end = v->text + v->len - 1;
	while (p < end) {
		const char *escape = memchr(p, '\\', (size_t)(end - p));
		buf_add(out, p, (size_t)((escape ? escape : end) - p));
		if (!escape)
			break;
		p = add_unescaped(escape, out);
	}
}

bool json_string_is(const struct json_value *v, const char *text)
{
	size_t len = strlen(text);
	if (v->type != JSON_STRING || v->len < 2 + len)
		return false;
	if (!memchr(v->text, '\\', v->len))
		return v->len == len + 2 && !memcmp(v->text + 1, text, len);
	_cleanup_(buf_release) struct buf plain = BUF_INIT;
	json_string(v, &plain);
	return plain.len == len && !memcmp(buf_text(&plain), text, len);
}

void json_quote(const char *text, size_t len, struct buf *out)
{
	static const char letters[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};
	const char *end = text + len, *run = text;

	buf_add_char(out, '"');
	for (const char *p = text; p < end; p++) {
		unsigned char c = (unsigned char)*p;
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(out, run, (size_t)(p - run));
		run = p + 1;
		if (c >= 0x20)
			buf_add(out, (char[]){ '\\', (char)c }, 2);
		else if (letters[c])
			buf_add(out, (char[]){ '\\', letters[c] }, 2);
		else
			buf_printf(out, "\\u%04x", c);
	}
	buf_add(out, run, (size_t)(end - run));
	buf_add_char(out, '"');
}

void json_minify(const struct json_value *v, struct buf *out)
{
	const char *p = v->text, *end = v->text + v->len, *run = p;
	while (p < end) {
		if (*p == '"') {
			p = json_skip_string(p);
		} else if (json_is_blank(*p)) {
			buf_add(out, run, (size_t)(p - run));
			p = run = json_skip_blanks(p, end);
		} else {
			p++;
		}
	}
	buf_add(out, run, (size_t)(end - run));
}

bool json_u64(const struct json_value *v, uint64_t *out)
{
	uint64_t n = 0;
	if (v->type != JSON_NUMBER)
		return false;
	for (size_t i = 0; i < v->len; i++) {
		if (!json_is_digit(v->text[i]))
			return false;
		unsigned digit = (unsigned)(v->text[i] - '0');
		if (n > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return true;
}

const char *json_type_name(enum json_type type)
{
	switch (type) {
	case JSON_NULL: return "null";
	case JSON_FALSE: return "false";
	case JSON_TRUE: return "true";
	case JSON_NUMBER: return "a number";
	case JSON_STRING: return "a string";
	case JSON_ARRAY: return "an array";
	case JSON_OBJECT: return "an object";
	}
	return "nothing";
}
