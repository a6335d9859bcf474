/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3-list.c - pages of ListObjectsV2.
 *
 * A page is collected while it arrives and told when it is over: only then is known what it says
 * of its own end, and how its names are encoded. So a page that contradicts itself, or ends early,
 * tells nothing, and can be asked for again.
 */
#include "config.h"
#include "object/s3-list.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/key.h"
#include "object/s3-list-page.h"

#define IDLE_MAX 100 /* pages one behind the other that bring nothing new */
#define OWN ".evfs/"

struct s3_list {
	char *prefix;
	size_t cut;
	bool delimited, own; /* own: what is below .evfs/ was asked for */
	object_list_fn *fn;
	void *arg;

	struct buf token; /* of this page; empty for the first */
	struct buf floor; /* every key to come lies behind it: `after`, then the last of a page */
	struct buf told; /* what is not behind it is not told (again) */
	bool has_floor, has_told;
	unsigned idle;

	struct s3_list_page page;
};

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int d = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return d ? d : (a_len > b_len) - (a_len < b_len);
}

/* True when it is not behind the mark. */
static bool is_old(const char *name, size_t len, bool has_mark, const struct buf *mark)
{
	return has_mark && compare(name, len, buf_text(mark), mark->len) <= 0;
}

static bool move_mark(struct buf *mark, const char *name, size_t len)
{
	buf_reset(mark);
	buf_add(mark, name, len);
	return !buf_failed(mark);
}

/*
 * Which entries are no keys of ours: the marks that consoles make for a "folder", names that have
 * no place in a tree, and what is evfs's own.
 */
static bool is_for_us(const struct s3_list *l, const char *name, size_t len, bool is_prefix)
{
	const char *key = name + l->cut, *end = name + len - (is_prefix ? 1 : 0);
	if (key >= end || (size_t)(end - key) > KEY_MAX)
		return false;
	if (!l->own && (size_t)(name + len - key) >= strlen(OWN) && !memcmp(key, OWN, strlen(OWN)))
		return false;
	for (const char *p = key; p <= end;) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		size_t n = (size_t)((slash ? slash : end) - p);
		if (!n || (n <= 2 && !memcmp(p, "..", n)))
			return false;
		p += n + 1;
	}
	return true;
}

/* Decode the names of a run and hold them against what was asked and what came before. */
static enum rc check_run(struct s3_list *l, bool is_prefix, struct why *why)
{
	struct s3_list_run *run = &l->page.runs[is_prefix ? S3_LIST_PREFIXES : S3_LIST_OBJECTS];
	size_t prefix_len = strlen(l->prefix);
	const struct s3_list_entry *last = NULL;
	if (is_prefix && run->n && !l->delimited)
		return rc_fail(RC_CORRUPT, why, "a listing has prefixes that were not asked for");

	for (size_t i = 0; i < run->n; i++) {
		struct s3_list_entry *e = &run->entries[i];
		char *name = l->page.names.data + e->at;
		if (l->page.encoded && !s3_list_page_decode(name, &e->len))
			return rc_fail(RC_CORRUPT, why,
				       "a key of a listing is not encoded as it should be");
		if (e->len < prefix_len || memcmp(name, l->prefix, prefix_len))
			return rc_fail(RC_CORRUPT, why,
				       "a listing has a key outside of its prefix");
		const char *slash =
			l->delimited ? memchr(name + prefix_len, '/', e->len - prefix_len) : NULL;
		if (is_prefix ? slash != name + e->len - 1 : slash != NULL)
			return rc_fail(RC_CORRUPT, why,
				       "a listing has a key that its delimiter hides");
		if (last && compare(name, e->len, l->page.names.data + last->at, last->len) <= 0)
			return rc_fail(RC_CORRUPT, why, "a page of a listing is not in order");
		last = e;
		/* a prefix that holds the key to start after comes again, rightly */
		bool holds = is_prefix && l->has_floor && l->floor.len >= e->len &&
			     !memcmp(l->floor.data, name, e->len);
		if (!holds && is_old(name, e->len, l->has_floor, &l->floor))
			return rc_fail(RC_CORRUPT, why,
				       "a page of a listing repeats what came before");
	}
	return RC_OK;
}

/* What the page says of itself, and of the next. */
static enum rc check_end(const struct s3_list *l, struct why *why)
{
	const struct s3_list_page *p = &l->page;
	if (p->error) {
		struct s3_verdict v;
		s3_error_judge(S3_READ, 200, *p->said.code ? p->said.code : "?", &v);
		return rc_fail(v.rc, why, "the server answers a listing with \"%s\": %s",
			       p->said.code, p->said.message);
	}
	if (p->truncated < 0)
		return rc_fail(RC_CORRUPT, why,
			       "a page of a listing does not say whether it is the last");
	if (p->truncated && !p->next.len)
		return rc_fail(RC_CORRUPT, why,
			       "a page of a listing has a next one, but no token for it");
	if (!p->truncated && p->next.len)
		return rc_fail(RC_CORRUPT, why,
			       "the last page of a listing has a token for a next one");
	if (p->truncated && p->next.len == l->token.len &&
	    !memcmp(p->next.data, l->token.data, p->next.len))
		return rc_fail(RC_CORRUPT, why, "a page of a listing names itself as the next one");
	/* fewer than there are is said by some servers that don't count prefixes */
	if (p->has_count && p->count > p->runs[S3_LIST_OBJECTS].n + p->runs[S3_LIST_PREFIXES].n)
		return rc_fail(RC_CORRUPT, why, "a page of a listing has fewer keys than it says");
	return RC_OK;
}

/* Both kinds merged. *grew: the page brought something that the ones before it had not. */
static enum rc tell(struct s3_list *l, bool *grew, struct why *why)
{
	_cleanup_(freep) char *key = malloc(S3_LIST_PAGE_TEXT_MAX + 1);
	if (!key)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a page of a listing");
	const struct s3_list_run *a = &l->page.runs[S3_LIST_OBJECTS];
	const struct s3_list_run *b = &l->page.runs[S3_LIST_PREFIXES];
	const char *name = NULL;
	size_t len = 0;
	for (size_t i = 0, j = 0; i < a->n || j < b->n;) {
		const struct s3_list_entry *o = i < a->n ? &a->entries[i] : NULL;
		const struct s3_list_entry *p = j < b->n ? &b->entries[j] : NULL;
		bool is_prefix = !o || (p && compare(l->page.names.data + p->at, p->len,
						     l->page.names.data + o->at, o->len) < 0);
		const struct s3_list_entry *e = is_prefix ? p : o;
		name = l->page.names.data + e->at;
		len = e->len;
		i += !is_prefix;
		j += is_prefix;
		if (is_old(name, len, l->has_told, &l->told))
			continue;
		if (!move_mark(&l->told, name, len))
			return rc_fail(RC_NO_MEMORY, why, "no memory for a page of a listing");
		l->has_told = true;
		if (!is_for_us(l, name, len, is_prefix))
			continue;
		memcpy(key, name + l->cut, len - l->cut);
		key[len - l->cut] = '\0';
		struct object_info info = {
			.key = key,
			.is_prefix = is_prefix,
			.size = is_prefix ? 0 : e->size,
			.modified_us = is_prefix ? 0 : e->modified_us,
		};
		if (!l->fn(l->arg, &info))
			return rc_fail(RC_CANCELLED, why, "the listing was stopped");
	}
	*grew = name && !is_old(name, len, l->has_floor, &l->floor);
	if (*grew && !move_mark(&l->floor, name, len))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a page of a listing");
	l->has_floor = l->has_floor || *grew;
	return RC_OK;
}

enum rc s3_list_new(struct s3_list **out, const char *prefix, size_t cut, const char *after,
		    bool delimited, object_list_fn *fn, void *arg, struct why *why)
{
	struct s3_list *l = calloc(1, sizeof(*l));
	if (l) {
		l->prefix = strdup(prefix);
		if (after) {
			buf_add_text(&l->floor, after);
			buf_add_text(&l->told, after);
			l->has_floor = l->has_told = true;
		}
	}
	if (!l || !l->prefix || buf_failed(&l->floor) || buf_failed(&l->told) ||
	    s3_list_page_init(&l->page, l->prefix, NULL) != RC_OK) {
		s3_list_free(&l);
		return rc_fail(RC_NO_MEMORY, why, "no memory for a listing");
	}
	l->cut = cut;
	l->delimited = delimited;
	l->own = !strncmp(prefix + cut, OWN, strlen(OWN));
	l->fn = fn;
	l->arg = arg;
	*out = l;
	return RC_OK;
}

enum rc s3_list_page(struct s3_list *l, struct why *why)
{
	return s3_list_page_begin(&l->page, why);
}

void s3_list_again(struct s3_list *l)
{
	buf_reset(&l->token);
	l->has_floor = false;
	l->idle = 0;
}

enum rc s3_list_feed(struct s3_list *l, const char *data, size_t len, struct why *why)
{
	return s3_list_page_feed(&l->page, data, len, why);
}

enum rc s3_list_end(struct s3_list *l, bool *more, struct why *why)
{
	bool grew = false;
	enum rc rc = s3_list_page_end(&l->page, why);
	if (rc == RC_OK)
		rc = check_end(l, why);
	if (rc == RC_OK)
		rc = check_run(l, false, why);
	if (rc == RC_OK)
		rc = check_run(l, true, why);
	if (rc == RC_OK)
		rc = tell(l, &grew, why);
	if (rc != RC_OK)
		return rc;

	l->idle = grew ? 0 : l->idle + 1;
	if (l->page.truncated && l->idle >= IDLE_MAX)
		return rc_fail(RC_CORRUPT, why,
			       "a listing goes on without an end and brings nothing");
	buf_reset(&l->token);
	buf_add(&l->token, buf_text(&l->page.next), l->page.next.len);
	if (buf_failed(&l->token))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a listing");
	*more = l->page.truncated > 0;
	return RC_OK;
}

const char *s3_list_token(const struct s3_list *l)
{
	return l->token.len ? l->token.data : NULL;
}

void s3_list_free(struct s3_list **l)
{
	if (!l || !*l)
		return;
	struct s3_list *it = *l;
	*l = NULL;
	s3_list_page_release(&it->page);
	free(it->prefix);
	buf_release(&it->token);
	buf_release(&it->floor);
	buf_release(&it->told);
	free(it);
}
