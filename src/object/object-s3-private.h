/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rooms of the S3 backend share. Nobody else includes this.
 */
#ifndef EVFS_OBJECT_S3_PRIVATE_H
#define EVFS_OBJECT_S3_PRIVATE_H

#include <stdatomic.h>

#include "base/cleanup.h"
#include "object/object-s3.h"
#include "object/s3-request.h"

#define OBJECT_S3_RECORDED "x-amz-meta-recorded-at"
#define OBJECT_S3_MTIME "x-amz-meta-mtime"
#define OBJECT_S3_ANSWER_MAX (1u << 20) /* of answers that are not objects */

struct object_s3 {
	struct object_store base;
	struct s3_site *site;
	char *prefix;
	uint64_t timeout_ms;
	/* OBJECT_S3_UNKNOWN, _NO, _YES: does the server keep to the condition? */
	atomic_int if_none_match, if_match;
};

static inline struct object_s3 *object_s3_of(struct object_store *s)
{
	return container_of(s, struct object_s3, base);
}

/* object-s3.c */

/* Fill in what all requests for a key share. */
void object_s3_ask(struct object_s3 *o, struct s3_request *r, enum s3_request_kind kind,
		   enum http_method method, const char *verb, const char *key, struct why *why);
/* The tag that an answer names, without quotes; "" if none. */
void object_s3_tag(const struct http_call *call, char tag[OBJECT_TAG_MAX]);

/* object-s3-put.c */
void object_s3_put_items(struct object_store *s, struct object_put *items, size_t n,
			 uint64_t deadline_ms);

/* object-s3-replace.c */
enum rc object_s3_replace_version(struct object_store *s, const char *key, const void *buf,
				  size_t len, const char *tag, char new_tag[OBJECT_TAG_MAX],
				  struct why *why);

/* object-s3-get.c */
void object_s3_get_items(struct object_store *s, struct object_get *items, size_t n);
enum rc object_s3_get_info(struct object_store *s, const char *key, struct object_info *info_r,
			   struct why *why);

/* object-s3-list.c */
enum rc object_s3_list_keys(struct object_store *s, const char *prefix, const char *after,
			    enum object_list_flags flags, object_list_fn *fn, void *arg,
			    struct why *why);

#endif
