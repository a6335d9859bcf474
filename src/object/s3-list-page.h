/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page of a listing, collected while it arrives: for s3-list.c, which holds it against what was
 * asked for. Values: s3_list_page_init, then any number of pages, s3_list_page_release.
 */
#ifndef EVFS_OBJECT_S3_LIST_PAGE_H
#define EVFS_OBJECT_S3_LIST_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <expat.h>

#include "base/buf.h"
#include "base/rc.h"
#include "object/s3-error.h"

#define S3_LIST_PAGE_TEXT_MAX 8192 /* of one element: a token; a key takes 3 * KEY_MAX */
#define S3_LIST_PAGE_MAX (6u << 20) /* 1,000 keys take 3.5 MB at most */

struct s3_list_entry {
	size_t at, len; /* of its name, in names: as it came, not decoded; never empty */
	uint64_t size;
	int64_t modified_us;
};

/* What one kind of elements brought, in the order of the page. */
struct s3_list_run {
	struct s3_list_entry *entries;
	size_t n, cap;
};

enum s3_list_kind { S3_LIST_OBJECTS, S3_LIST_PREFIXES };

struct s3_list_page {
	/* what it says, once it is over */
	struct s3_list_run runs[2]; /* by kind */
	struct buf names, next; /* next: the token for the next page */
	bool encoded, has_count;
	int truncated; /* -1: not told */
	uint64_t count;
	bool error; /* it is an error document: said */
	struct s3_error said;

	/* how far the parser is */
	XML_Parser xml;
	const char *prefix;
	enum rc rc; /* anything but RC_OK: why, and nothing goes on */
	struct why why;
	size_t bytes;
	int depth, row; /* row: the kind of entry that it is inside of, else -1 */
	bool has_key;
	int field;
	struct buf text;
};

/* prefix: as was asked for; stays the caller's. */
enum rc s3_list_page_init(struct s3_list_page *p, const char *prefix, struct why *why) _must_check_;
void s3_list_page_release(struct s3_list_page *p);

enum rc s3_list_page_begin(struct s3_list_page *p, struct why *why) _must_check_;
/* RC_CORRUPT: no such page. RC_NO_MEMORY. */
enum rc s3_list_page_feed(struct s3_list_page *p, const char *data, size_t len, struct why *why)
	_must_check_;
/* Nothing more comes. RC_TEMPORARY: it ends early. */
enum rc s3_list_page_end(struct s3_list_page *p, struct why *why) _must_check_;

/* Decode in place as encoding-type=url has it: %XX, and '+' for a blank. False: not so encoded. */
bool s3_list_page_decode(char *text, size_t *len);

#endif
