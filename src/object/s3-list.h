/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of ListObjectsV2, parsed while it arrives. A document type is refused, so are texts over their
 * limits, and pages that contradict what was asked for or told before: keys out of order, keys before the
 * one to start after or outside of the prefix, "truncated" without a token or with the token of the last page.
 * A page is told when it is there whole; one that contradicts itself tells nothing. What can't be a key (object.h:
 * "a/" of a console, "a//b") is not told, nor what is below .evfs/ unless it was asked for.
 * Source: Amazon S3 API Reference, ListObjectsV2.
 */
#ifndef EVFS_OBJECT_S3_LIST_H
#define EVFS_OBJECT_S3_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/rc.h"
#include "object/object.h"

struct s3_list;

/*
 * One listing of any number of pages. prefix: the store's own prefix with it, as sent; cut: how many bytes of a key are the store's
 * prefix, not told to fn; after: the full key it starts after, or NULL; delimited: with delimiter=/. Keys come with encoding-type=url.
 * Both kinds of entries (Contents, CommonPrefixes) of a page are told merged, in byte order.
 */
enum rc s3_list_new(struct s3_list **out, const char *prefix, size_t cut, const char *after, bool delimited, object_list_fn *fn,
		    void *arg, struct why *why) _must_check_;
/* Begin the next page, or the same one again after it failed half-way. */
enum rc s3_list_page(struct s3_list *l, struct why *why) _must_check_;
/* Feed what arrives. RC_CORRUPT: not such a page. fn is not called. */
enum rc s3_list_feed(struct s3_list *l, const char *data, size_t len, struct why *why) _must_check_;
/*
 * The page arrived whole; fn is called here. RC_OK: *more says whether there is another. RC_CANCELLED: fn said stop.
 * RC_CORRUPT: not such a page. RC_TEMPORARY: it ends early, or is an error document with status 200 (RC_DENIED … by its code).
 */
enum rc s3_list_end(struct s3_list *l, bool *more, struct why *why) _must_check_;
/* The next page is the first again, of all keys with the prefix: what was told, and what is not behind `after`, is passed over. */
void s3_list_again(struct s3_list *l);
/* The token for the next page; NULL for the first. */
const char *s3_list_token(const struct s3_list *l);
void s3_list_free(struct s3_list **l);

#endif
