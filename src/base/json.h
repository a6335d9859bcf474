/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON scanner (RFC 8259) that keeps every value's own bytes.
 *
 * Guarantees: a value that was scanned strictly is valid JSON in valid UTF-8, no deeper than the
 * limit. Numbers are checked, never converted: any size and any number of digits survives.
 * Does not: build a tree, allocate (but for what appends to a buf), copy the text. Pure; any
 * thread.
 */
#ifndef EVFS_BASE_JSON_H
#define EVFS_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

/* One scanned value: its text inside the document, without blanks around it. */
struct json_value {
	enum json_type type;
	const char *text;
	size_t len;
};

#define JSON_DEPTH_STRICT 128 /* what a writer may nest */
#define JSON_DEPTH_LAX 201    /* a reader of stored events: 199 arrays in a member of data */

/* How the text is read. */
enum json_dialect {
	JSON_STRICT, /* RFC 8259; lone surrogates refused; depth JSON_DEPTH_STRICT */
	JSON_LAX,    /* also NaN, Infinity, -Infinity (contracts.md A2); depth JSON_DEPTH_LAX */
};

enum json_scan {
	JSON_COMPLETE, /* *value_r is set */
	JSON_PARTIAL,  /* good so far, the text ends inside the value */
	JSON_EMPTY,    /* nothing but blanks */
	JSON_BROKEN,   /* why: expected, found, line and column (both from 1, in bytes) */
};

/*
 * Scan the first value of text. *used_r: how many bytes it took, blanks before it included
 * (JSON_EMPTY: all). A top-level number is complete only if something follows it. first_line: the
 * number that the text's first line has in messages.
 */
enum json_scan json_scan(const char *text, size_t len, enum json_dialect dialect,
			 unsigned first_line, struct json_value *value_r, size_t *used_r,
			 struct why *why) _must_check_;

/* Scan a text that is one value and nothing else. RC_INVALID with line and column. */
enum rc json_parse(const char *text, size_t len, enum json_dialect dialect,
		   struct json_value *value_r, struct why *why) _must_check_;

/*
 * Walk over the members of a scanned object, or the elements of a scanned array (key is then
 * untouched).
 */
struct json_iter {
	const char *pos, *end;
};
void json_iter_init(struct json_iter *it, const struct json_value *parent);
/* False after the last. key_r: the key's text with its quotes (a JSON_STRING). */
bool json_iter_next(struct json_iter *it, struct json_value *key_r, struct json_value *value_r);

/* How many bytes of text are valid UTF-8 (RFC 3629): len if all are. */
size_t json_utf8(const char *text, size_t len);

/* True when the scanned string v is, after unescaping, exactly the ASCII text. */
bool json_string_is(const struct json_value *v, const char *text);

/* Append the scanned string's characters as UTF-8 (\u0000 becomes a NUL byte). */
void json_string(const struct json_value *v, struct buf *out);

/*
 * Append text of len bytes as a JSON string with quotes, escaped as contracts.md A2 says (raw
 * UTF-8).
 */
void json_quote(const char *text, size_t len, struct buf *out);

/* Append v without blanks outside of strings; all else byte for byte. */
void json_minify(const struct json_value *v, struct buf *out);

/* A non-negative integer without fraction or exponent, at most 2^63-1; false otherwise. */
bool json_u64(const struct json_value *v, uint64_t *out);

/* "an object", "a string" …: for messages. */
const char *json_type_name(enum json_type type);

#endif
