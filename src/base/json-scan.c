/* SPDX-License-Identifier: Apache-2.0 */
/* json-scan.c - one pass over JSON text, token by token. */
#include "config.h"
#include "base/json-scan.h"

#include <stdio.h>
#include <string.h>

/* What may stand next. */
enum next {
	NEXT_VALUE,
	NEXT_VALUE_OR_END,
	NEXT_KEY,
	NEXT_KEY_OR_END,
	NEXT_COLON,
	NEXT_COMMA_OR_END,
	NEXT_NOTHING
};

int json_scan_utf8(const char *p, const char *end)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t room = (size_t)(end - p);
	unsigned char c = u[0], low = 0x80, high = 0xbf;
	int len;

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	switch (c) {
	case 0xe0: low = 0xa0; break;  /* overlong */
	case 0xed: high = 0x9f; break; /* surrogates */
	case 0xf0: low = 0x90; break;  /* overlong */
	case 0xf4: high = 0x8f; break; /* above U+10FFFF */
	}
	for (int i = 1; i < len; i++) {
		if ((size_t)i == room)
			return -1;
		if (u[i] < low || u[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return len;
}

static enum json_scan broken(struct json_scanner *s, const char *expected)
{
	s->expected = expected;
	return JSON_BROKEN;
}

static enum json_scan broken_note(struct json_scanner *s, const char *note)
{
	s->note = note;
	return JSON_BROKEN;
}

static enum json_scan partial(struct json_scanner *s, const char *expected)
{
	s->expected = expected;
	return JSON_PARTIAL;
}

/* Four hex digits at s->p, passed over. */
static enum json_scan scan_hex4(struct json_scanner *s, unsigned *unit_r)
{
	for (int i = 0; i < 4; i++) {
		if (s->p + i == s->end)
			return partial(s, "four hex digits after '\\u'");
		if (json_hex_digit(s->p[i]) < 0) {
			s->p += i;
			return broken(s, "four hex digits after '\\u'");
		}
	}
	*unit_r = json_hex4(s->p);
	s->p += 4;
	return JSON_COMPLETE;
}

/* What follows a backslash. */
static enum json_scan scan_escape(struct json_scanner *s)
{
	const char *lone =
		"a surrogate escape stands alone: \\ud800 to \\udfff come in pairs, high then low";
	if (s->p == s->end)
		return partial(s, "the rest of an escape");
	if (*s->p != 'u') {
		if (!*s->p || !strchr("\"\\/bfnrt", *s->p))
			return broken(s, "one of \" \\ / b f n r t u after '\\'");
		s->p++;
		return JSON_COMPLETE;
	}

	unsigned unit, second;
	const char *start = s->p - 1;
	s->p++;
	enum json_scan r = scan_hex4(s, &unit);
	if (r != JSON_COMPLETE || unit < 0xd800 || unit > 0xdfff)
		return r;
	if (unit < 0xdc00) {
		for (int i = 0; i < 2; i++) {
			if (s->p == s->end)
				return partial(s, "the second half of a surrogate pair");
			if (*s->p++ != "\\u"[i]) {
				s->p = start;
				return broken_note(s, lone);
			}
		}
		r = scan_hex4(s, &second);
		if (r != JSON_COMPLETE)
			return r;
		if (second >= 0xdc00 && second <= 0xdfff)
			return JSON_COMPLETE;
	}
	s->p = start;
	return broken_note(s, lone);
}

/* A string; p stands behind its opening quote. */
static enum json_scan scan_string(struct json_scanner *s)
{
	const char *closing = "'\"' at the end of a string";
	while (s->p < s->end) {
		unsigned char c = (unsigned char)*s->p;
		if (c == '"') {
			s->p++;
			return JSON_COMPLETE;
		}
		if (c == '\\') {
			s->p++;
			enum json_scan r = scan_escape(s);
			if (r != JSON_COMPLETE)
				return r;
		} else if (c >= 0x80) {
			int n = json_scan_utf8(s->p, s->end);
			if (n < 0)
				return partial(s, closing);
			if (n == 0)
				return broken(s, "valid UTF-8");
			s->p += n;
		} else if (c < 0x20) {
			return broken(s,
				      "an escape such as \\n for a control character in a string");
		} else {
			s->p++;
		}
	}
	return partial(s, closing);
}

static enum json_scan scan_digits(struct json_scanner *s, const char *expected)
{
	if (s->p == s->end)
		return partial(s, expected);
	if (!json_is_digit(*s->p))
		return broken(s, expected);
	while (s->p < s->end && json_is_digit(*s->p))
		s->p++;
	return JSON_COMPLETE;
}

/* The letters at p must be word. */
static enum json_scan scan_word(struct json_scanner *s, const char *word)
{
	const char *p = s->p;
	for (const char *w = word; *w; w++, p++) {
		if (p == s->end)
			return partial(s, word);
		if (*p != *w)
			return broken(s, "a value");
	}
	if (p < s->end && (json_is_letter(*p) || json_is_digit(*p)))
		return broken(s, "a value");
	s->p = p;
	return JSON_COMPLETE;
}

static enum json_scan scan_number(struct json_scanner *s)
{
	if (*s->p == '-')
		s->p++;
	if (s->dialect == JSON_LAX && s->p < s->end && *s->p == 'I')
		return scan_word(s, "Infinity");
	const char *first = s->p;
	enum json_scan r = scan_digits(s, "a digit");
	if (r != JSON_COMPLETE)
		return r;
	if (*first == '0' && s->p - first > 1) {
		s->p = first;
		return broken_note(s, "a number must not start with 0");
	}
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		r = scan_digits(s, "a digit after '.'");
		if (r != JSON_COMPLETE)
			return r;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		r = scan_digits(s, "a digit of the exponent");
	}
	return r;
}

/* A value at p that is no container. */
static enum json_scan scan_scalar(struct json_scanner *s, enum json_type *type_r)
{
	switch (*s->p) {
	case '"':
		*type_r = JSON_STRING;
		s->p++;
		return scan_string(s);
	case 't': *type_r = JSON_TRUE; return scan_word(s, "true");
	case 'f': *type_r = JSON_FALSE; return scan_word(s, "false");
	case 'n': *type_r = JSON_NULL; return scan_word(s, "null");
	case 'N':
		if (s->dialect == JSON_LAX) {
			*type_r = JSON_NUMBER;
			return scan_word(s, "NaN");
		}
		return broken(s, "a value");
	case 'I':
		if (s->dialect == JSON_LAX) {
			*type_r = JSON_NUMBER;
			return scan_word(s, "Infinity");
		}
		return broken(s, "a value");
	default:
		if (*s->p != '-' && !json_is_digit(*s->p))
			return broken(s, "a value");
		*type_r = JSON_NUMBER;
		return scan_number(s);
	}
}

static enum json_scan scan_open(struct json_scanner *s)
{
	unsigned limit = s->dialect == JSON_STRICT ? JSON_DEPTH_STRICT : JSON_DEPTH_LAX;
	if (s->depth == limit)
		return broken_note(s, s->dialect == JSON_STRICT ? "nested deeper than 128 levels"
								: "nested deeper than 201 levels");
	s->open[s->depth++] = *s->p++;
	return JSON_COMPLETE;
}

static const char *next_name(enum next next, bool in_object)
{
	switch (next) {
	case NEXT_VALUE: return "a value";
	case NEXT_VALUE_OR_END: return "a value or ']'";
	case NEXT_KEY: return "a key in '\"'";
	case NEXT_KEY_OR_END: return "a key in '\"' or '}'";
	case NEXT_COLON: return "':'";
	case NEXT_COMMA_OR_END: return in_object ? "',' or '}'" : "',' or ']'";
	case NEXT_NOTHING: break;
	}
	return "nothing";
}

/* Pass over one token that may stand here; *next says what may follow. */
static enum json_scan scan_token(struct json_scanner *s, enum next *next, enum json_type *type)
{
	bool in_object = s->depth && s->open[s->depth - 1] == '{';
	const char *expected = next_name(*next, in_object);
	char c = *s->p;
	enum json_scan r = JSON_COMPLETE;

	switch (*next) {
	case NEXT_VALUE:
	case NEXT_VALUE_OR_END:
		if (c == ']' && *next == NEXT_VALUE_OR_END)
			break;
		if (c == '{' || c == '[') {
			*next = c == '{' ? NEXT_KEY_OR_END : NEXT_VALUE_OR_END;
			return scan_open(s);
		}
		r = scan_scalar(s, type);
		if (r == JSON_BROKEN && s->expected && !strcmp(s->expected, "a value"))
			s->expected = expected;
		*next = s->depth ? NEXT_COMMA_OR_END : NEXT_NOTHING;
		return r;
	case NEXT_KEY:
	case NEXT_KEY_OR_END:
		if (c == '}' && *next == NEXT_KEY_OR_END)
			break;
		if (c != '"')
			return broken(s, expected);
		s->p++;
		*next = NEXT_COLON;
		return scan_string(s);
	case NEXT_COLON:
		if (c != ':')
			return broken(s, expected);
		s->p++;
		*next = NEXT_VALUE;
		return JSON_COMPLETE;
	case NEXT_COMMA_OR_END:
		if (c == ',') {
			s->p++;
			*next = in_object ? NEXT_KEY : NEXT_VALUE;
			return JSON_COMPLETE;
		}
		if (c != (in_object ? '}' : ']'))
			return broken(s, expected);
		break;
	case NEXT_NOTHING: return broken(s, expected);
	}

	*type = in_object ? JSON_OBJECT : JSON_ARRAY; /* the end of a container */
	s->p++;
	s->depth--;
	*next = s->depth ? NEXT_COMMA_OR_END : NEXT_NOTHING;
	return JSON_COMPLETE;
}

enum json_scan json_scan_value(struct json_scanner *s, struct json_value *value_r)
{
	enum next next = NEXT_VALUE;
	enum json_type type = JSON_NULL;

	s->p = json_skip_blanks(s->p, s->end);
	const char *start = s->p;
	if (start == s->end)
		return JSON_EMPTY;
	while (next != NEXT_NOTHING) {
		s->p = json_skip_blanks(s->p, s->end);
		if (s->p == s->end)
			return partial(s,
				       next_name(next, s->depth && s->open[s->depth - 1] == '{'));
		enum json_scan r = scan_token(s, &next, &type);
		if (r != JSON_COMPLETE)
			return r;
	}
	*value_r = (struct json_value){ type, start, (size_t)(s->p - start) };
	return JSON_COMPLETE;
}

/* What stands at s->p, for a message. */
static void describe_found(const struct json_scanner *s, char out[40])
{
	unsigned char c = s->p < s->end ? (unsigned char)*s->p : 0;
	if (s->p == s->end)
		strcpy(out, "the end of the text");
	else if (c == '\0')
		strcpy(out, "a NUL byte");
	else if (s->end - s->p >= 3 && !memcmp(s->p, "\xef\xbb\xbf", 3))
		strcpy(out, "a byte order mark");
	else if (c == '\n')
		strcpy(out, "the end of the line");
	else if (c < 0x20 || c == 0x7f)
		snprintf(out, 40, "the control byte 0x%02x", c);
	else if (c >= 0x80 && json_scan_utf8(s->p, s->end) <= 0)
		snprintf(out, 40, "the byte 0x%02x", c);
	else {
		int n = c >= 0x80 ? json_scan_utf8(s->p, s->end) : 1;
		while (json_is_letter((char)c) && n < 16 && s->p + n < s->end &&
		       json_is_letter(s->p[n]))
			n++;
		snprintf(out, 40, "'%.*s'", n, s->p);
	}
}

enum rc json_scan_explain(const struct json_scanner *s, unsigned first_line, struct why *why)
{
	unsigned line = first_line;
	const char *start = s->text;
	for (const char *p; (p = memchr(start, '\n', (size_t)(s->p - start))); start = p + 1)
		line++;
	size_t column = (size_t)(s->p - start) + 1;
	if (s->note)
		return rc_fail(RC_INVALID, why, "line %u, column %zu: %s", line, column, s->note);
	char found[40];
	describe_found(s, found);
	return rc_fail(RC_INVALID, why, "line %u, column %zu: expected %s, found %s", line, column,
		       s->expected, found);
}
