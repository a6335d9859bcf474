/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in the mount and components of keys: how aggregate types, aggregate ids and event types
 * become file names and back (design.md 7). Pure.
 *
 * A component is escaped with %XX (upper-case hex) where a file name can't hold it: '%' itself,
 * '/', control bytes and DEL, a leading dot, "" (as "%"), and the first byte of what would read as
 * one of our own names: "events.ndjson", and whatever ends in ".json" (event files,
 * "snapshot.json", "NNNNNNNNNN.json"). Encoding and decoding are inverse.
 */
#ifndef EVFS_EVENT_NAME_H
#define EVFS_EVENT_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

#define NAME_STREAM "events.ndjson"
#define NAME_CONTROL ".evfs"

#define NAME_COMPONENT_MAX 255 /* bytes */

/*
 * Append one component, escaped. A result over NAME_COMPONENT_MAX is the caller's to notice (see
 * name_alias).
 */
void name_encode(const char *text, size_t len, struct buf *out);
/* Append the text behind a component. RC_INVALID: not what name_encode gives for any text. */
enum rc name_decode(const char *name, size_t len, struct buf *out, struct why *why) _must_check_;

/*
 * For a component over 255 bytes: a name of at most 255 bytes that begins like it and ends in "%~"
 * and 16 hex digits of its SHA-256. It can't be decoded; whoever lists it remembers what it stands
 * for.
 */
void name_alias(const char *encoded, size_t len, struct buf *out);

/*
 * An aggregate id as a relative path: components between '/', each escaped. "a/b" is "a/b"; "a//b"
 * is "a/%/b".
 */
void name_encode_id(const char *id, struct buf *out);
enum rc name_decode_id(const char *path, size_t len, struct buf *out, struct why *why) _must_check_;

/*
 * The file name of an event: "0000000003-OrderPaid.json"; the second one with that number has fork
 * 2: "0000000003-OrderPaid~2.json". A type that ends in "~" and digits has its last '~' escaped. A
 * type that makes the name too long is shortened as by name_alias.
 */
void name_event(uint64_t number, const char *event_type, unsigned fork, struct buf *out);

/* What a name in an aggregate's directory says. */
struct name_parsed {
	bool has_number;
	uint64_t number;       /* "3-OrderPaid.json" and "0000000003-OrderPaid.json" are both 3 */
	unsigned fork;         /* 1, or n of "~n" */
	struct buf event_type; /* decoded; empty if shortened */
	bool shortened;        /* by name_event: compare the name with what name_event gives */
};
/*
 * Read "[NUMBER-]TYPE.json". RC_INVALID gives the grammar and what is wrong with the name. out is
 * overwritten, not read; out->event_type must be released with buf_release in any case.
 */
enum rc name_parse(const char *name, struct name_parsed *out, struct why *why) _must_check_;

#endif
