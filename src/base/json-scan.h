/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of json.h: one pass over JSON text, token by token. For json.c and its siblings only.
 * Neither recursive nor allocating.
 */
#ifndef EVFS_BASE_JSON_SCAN_H
#define EVFS_BASE_JSON_SCAN_H

#include <string.h>

#include "base/json.h"

struct json_scanner {
	const char *text, *p, *end;
	enum json_dialect dialect;
	const char
		*expected; /* where it broke, or where the text ends: what should have followed */
	const char *note;  /* more than "expected X, found Y": the whole message */
	unsigned depth;
	char open[JSON_DEPTH_LAX]; /* '{' or '[' of each container that p stands in */
};

/*
 * Scan one value at s->p, blanks before it included; s->p then stands behind it. JSON_BROKEN: s->p
 * stands at what is wrong. JSON_PARTIAL: the text ended; a number at the very end of the text is
 * JSON_COMPLETE here.
 */
enum json_scan json_scan_value(struct json_scanner *s, struct json_value *value_r) _must_check_;

/* RC_INVALID, with the message: line, column, s->expected and what stands at s->p. */
enum rc json_scan_explain(const struct json_scanner *s, unsigned first_line, struct why *why);

/*
 * The length of the UTF-8 sequence at p: 1 to 4; 0: there is none; -1: the text ends inside a good
 * one.
 */
int json_scan_utf8(const char *p, const char *end);

static inline bool json_is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline bool json_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool json_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline const char *json_skip_blanks(const char *p, const char *end)
{
	while (p < end && json_is_blank(*p))
		p++;
	return p;
}

static inline int json_hex_digit(char c)
{
	if (json_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static inline unsigned json_hex4(const char *p)
{
	return (unsigned)(json_hex_digit(p[0]) << 12 | json_hex_digit(p[1]) << 8 |
			  json_hex_digit(p[2]) << 4 | json_hex_digit(p[3]));
}

/* Behind the good string whose opening quote is at p. */
static inline const char *json_skip_string(const char *p)
{
	const char *start = p;
	for (;;) {
		p = rawmemchr(p + 1, '"');
		const char *escapes = p;
		while (escapes - 1 > start && escapes[-1] == '\\')
			escapes--;
		if ((p - escapes) % 2 == 0)
			return p + 1;
	}
}

#endif
