/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object-s3-list.c - list keys, page by page.
 *
 * A page is read whole before its keys are told, in the caller's thread: the callback may use the
 * store. The time-out is that of a page. A server that reads each object's metadata, and does much
 * else, may need longer for a whole one: then it and those behind it are asked for with fewer keys.
 */
#include "config.h"
#include "object/object.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "event/key.h"
#include "object/object-dir.h"
#include "object/object-s3-private.h"
#include "object/s3-list.h"
#include "object/s3-sign.h"

#define PAGE_MAX \
	(16u << 20) /* 1,000 keys of 1,024 bytes, each encoded threefold, and as many prefixes */
#define PAGE_TRIES 3
#define PAGE_KEYS "1000"
#define PAGE_KEYS_SLOW "100"
#define PAGES_SLOW 20 /* before a whole one is asked for again; twice as many each time that it is late */
/*
 * MinIO forgets the listing that a token belongs to after a minute or more, and then lists from the
 * token's key as it does from a start-after: it counts what it passes over, up to the limit, and
 * calls a page that came out short by that the last one. It does so only where the key lies deeper
 * than the prefix. So neither an old token nor such a start-after is used: the listing begins anew.
 */
#define TOKEN_MS 30000

struct listing {
	struct object_s3 *o;
	struct s3_list *pages;
	const char *name; /* the prefix as the caller named it */
	struct buf prefix, after, query, lighter;
	bool shallow, own, stopped;
	size_t slow, slow_run; /* pages that are still to come with fewer keys, and were at first */
	uint64_t page_ms; /* when the last page came */
	object_list_fn *fn;
	void *arg;
};

/* Not told: what is ours, and what no directory could hold (a console's markers of folders). */
static bool tell(void *arg, const struct object_info *info)
{
	struct listing *l = arg;
	char key[KEY_MAX + 2];
	size_t len = strlen(info->key);
	if (!l->own && !strncmp(info->key, ".evfs/", 6))
		return true;
	if (len > KEY_MAX || len <= strlen(l->name))
		return true;
	memcpy(key, info->key, len + 1);
	if (info->is_prefix)
		key[len - 1] = '\0';
	if (object_dir_key_fault(key))
		return true;
	l->stopped = !l->fn(l->arg, info);
	return !l->stopped;
}

static void make_query(const struct listing *l, const char *keys, struct buf *out)
{
	const char *token = s3_list_token(l->pages);
	buf_reset(out);
	if (token)
		s3_sign_query_add(out, "continuation-token", token);
	if (l->shallow)
		s3_sign_query_add(out, "delimiter", "/");
	s3_sign_query_add(out, "encoding-type", "url");
	s3_sign_query_add(out, "list-type", "2");
	s3_sign_query_add(out, "max-keys", keys);
	s3_sign_query_add(out, "prefix", buf_text(&l->prefix));
	if (!token && l->after.len)
		s3_sign_query_add(out, "start-after", buf_text(&l->after));
}

static enum rc make_queries(struct listing *l, struct why *why)
{
	make_query(l, PAGE_KEYS, &l->query);
	make_query(l, PAGE_KEYS_SLOW, &l->lighter);
	return buf_failed(&l->query) || buf_failed(&l->lighter)
		       ? rc_fail(RC_NO_MEMORY, why, "no memory to list '%.300s'", l->name)
		       : RC_OK;
}

/* One page, once. */
static enum rc try_page(struct listing *l, struct s3_request *r, uint64_t deadline_ms, bool *more,
			struct why *why)
{
	s3_request_reset(r);
	object_s3_ask(l->o, r, S3_REQUEST_LIST, HTTP_GET, "list", l->name, why);
	r->key = NULL;
	r->limit = PAGE_MAX;
	r->query = buf_text(l->slow ? &l->lighter : &l->query);
	r->lighter = buf_text(&l->lighter);
	r->deadline_ms = deadline_ms;
	enum rc rc = s3_request_batch_one(r);
	if (!l->slow && r->query == r->lighter)
		l->slow = l->slow_run = l->slow_run ? 2 * l->slow_run : PAGES_SLOW;
	if (rc != RC_OK)
		return rc;
	l->slow -= l->slow > 0;
	l->page_ms = clock_boot_ms();
	rc = s3_list_page(l->pages, why);
	if (rc == RC_OK)
		rc = s3_list_feed(l->pages, buf_text(&r->call.answer), r->call.answer.len, why);
	if (rc == RC_OK)
		rc = s3_list_end(l->pages, more, why);
	return rc == RC_OK || l->stopped ? rc
					 : rc_prefix(rc, why, "cannot list '%.200s' in bucket '%s'",
						     l->name, l->o->site->bucket);
}

/*
 * A page that is no good is asked for again: it may have been cut, or come from a server that is
 * just being replaced.
 */
static enum rc read_page(struct listing *l, struct s3_request *r, bool *more, struct why *why)
{
	uint64_t now_ms = clock_boot_ms(), deadline_ms = now_ms + l->o->timeout_ms;
	if (s3_list_token(l->pages) && now_ms - l->page_ms > TOKEN_MS)
		s3_list_again(l->pages);
	enum rc rc = make_queries(l, why);
	if (rc != RC_OK)
		return rc;
	for (unsigned i = 1;; i++) {
		rc = try_page(l, r, deadline_ms, more, why);
		bool bad_page = r->rc == RC_OK && (rc == RC_CORRUPT || rc == RC_TEMPORARY);
		if (!bad_page || l->stopped || i == PAGE_TRIES || clock_boot_ms() >= deadline_ms)
			return rc;
	}
}

static enum rc read_pages(struct listing *l, struct why *why)
{
	struct s3_request r;
	bool more = true;
	enum rc rc = RC_OK;
	s3_request_init(&r, l->o->site);
	while (rc == RC_OK && more && !l->stopped)
		rc = read_page(l, &r, &more, why);
	s3_request_release(&r);
	return l->stopped ? RC_OK : rc;
}

static enum rc check_prefix(const char *prefix, struct why *why)
{
	char key[KEY_MAX + 1];
	size_t len = strlen(prefix);
	if (len > KEY_MAX || (len && prefix[len - 1] != '/'))
		return rc_fail(
			RC_INVALID, why,
			"cannot list '%.300s': the prefix does not end in '/', or is too long",
			prefix);
	if (!len)
		return RC_OK;
	memcpy(key, prefix, len - 1);
	key[len - 1] = '\0';
	const char *fault = object_dir_key_fault(key);
	return fault ? rc_fail(RC_INVALID, why, "cannot list '%.300s': the prefix %s", prefix,
			       fault)
		     : RC_OK;
}

enum rc object_s3_list_keys(struct object_store *s, const char *prefix, const char *after,
			    enum object_list_flags flags, object_list_fn *fn, void *arg,
			    struct why *why)
{
	struct object_s3 *o = object_s3_of(s);
	enum rc rc = check_prefix(prefix, why);
	if (rc != RC_OK)
		return rc;
	size_t len = strlen(prefix);
	bool inside = after && !strncmp(after, prefix, len);
	if (after && !inside && strcmp(after, prefix) > 0)
		return RC_OK; /* it lies behind all that begins with prefix */

	struct listing l = {
		.o = o,
		.name = prefix,
		.shallow = flags == OBJECT_LIST_SHALLOW,
		.own = !strncmp(prefix, ".evfs/", 6),
		.fn = fn,
		.arg = arg,
	};
	buf_add_text(&l.prefix, o->prefix);
	buf_add_text(&l.prefix, prefix);
	if (inside) {
		buf_add_text(&l.after, o->prefix);
		buf_add_text(&l.after, after);
	}
	if (buf_failed(&l.prefix) || buf_failed(&l.after))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory to list '%.300s'", prefix);
	if (rc == RC_OK)
		rc = s3_list_new(&l.pages, buf_text(&l.prefix), strlen(o->prefix),
				 inside ? buf_text(&l.after) : NULL, l.shallow, tell, &l, why);
	if (rc == RC_OK && inside && strchr(after + len, '/')) {
		buf_reset(&l.after);
		s3_list_again(l.pages);
	}
	if (rc == RC_OK)
		rc = read_pages(&l, why);
	s3_list_free(&l.pages);
	buf_release(&l.prefix);
	buf_release(&l.after);
	buf_release(&l.query);
	buf_release(&l.lighter);
	return rc;
}
