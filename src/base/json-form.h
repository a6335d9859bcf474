/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other forms of a scanned JSON value. Pure; any thread. v was scanned, so it is good; out tells of
 * failed allocations.
 */
#ifndef EVFS_BASE_JSON_FORM_H
#define EVFS_BASE_JSON_FORM_H

#include "base/json.h"

/*
 * Append v as contracts.md A2 says the established writer would: no blanks, strings re-escaped, of
 * equal keys the first place and the last value, -0 as 0; null for NaN, the infinities, and numbers
 * with fraction or exponent beyond a double's range. Other numbers stay byte for byte.
 */
void json_form_normal(const struct json_value *v, struct buf *out);

/*
 * Append a form of v that is equal for two values exactly if they are the same value: keys in a
 * fixed order, of equal keys the last, strings unescaped and re-quoted, numbers by value (1, 1.0
 * and 10e-1 are the same, -0 and 0 too; any number of digits; exponents of more than 15 digits are
 * taken as they are written). For digests and comparison.
 */
void json_form_canonical(const struct json_value *v, struct buf *out);

/*
 * Append v as Python's json.dumps writes it: ", " and ": ", all but printable ASCII as \uXXXX.
 * Numbers stay byte for byte, equal keys all stand (see json_form_normal).
 */
void json_form_dump(const struct json_value *v, struct buf *out);
/* A text likewise, with its quotes. It is UTF-8. */
void json_form_dump_text(const char *text, size_t len, struct buf *out);

#endif
