/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object-s3-replace.c - write a mutable object, if it is still the version that was read.
 *
 * On a connection of its own: the engine sends a request again where a kept-alive connection dies
 * under it, and a replacement that was applied the first time would look like a conflict the second
 * time.
 */
#include "config.h"
#include "object/object.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "object/object-dir.h"
#include "object/object-s3-private.h"

static enum rc conflict(const char *key, const char *tag, struct why *why)
{
	if (!tag)
		return rc_fail(RC_CONFLICT, why, "'%.300s' is there already", key);
	return rc_fail(RC_CONFLICT, why, "'%.300s' was changed since it was read", key);
}

/* Where the server ignores conditions: is it (still) the version? */
static enum rc look(struct object_s3 *o, struct s3_request *r, const char *key, const char *tag,
		    uint64_t deadline_ms, struct why *why)
{
	char found[OBJECT_TAG_MAX];
	object_s3_ask(o, r, S3_REQUEST_HEAD, HTTP_HEAD, "replace", key, why);
	r->deadline_ms = deadline_ms;
	enum rc rc = s3_request_batch_one(r);
	if (rc == RC_NOT_FOUND)
		return tag ? conflict(key, tag, why) : RC_OK;
	if (rc != RC_OK)
		return rc;
	object_s3_tag(&r->call, found);
	return tag && !strcmp(found, tag) ? RC_OK : conflict(key, tag, why);
}

static enum rc replace(struct object_s3 *o, struct s3_request *r, const char *key, const void *buf,
		       size_t len, const char *tag, struct why *why)
{
	uint64_t deadline_ms = clock_boot_ms() + o->timeout_ms;
	bool ignored = atomic_load(tag ? &o->if_match : &o->if_none_match) == OBJECT_S3_NO;
	enum rc rc = ignored ? look(o, r, key, tag, deadline_ms, why) : RC_OK;
	if (rc != RC_OK)
		return rc;

	char condition[OBJECT_TAG_MAX + 16] = "if-none-match:*";
	if (tag)
		snprintf(condition, sizeof(condition),
			 strncmp(tag, "W/", 2) ? "if-match:\"%s\"" : "if-match:%s", tag);
	s3_request_reset(r);
	object_s3_ask(o, r, S3_REQUEST_PUT, HTTP_PUT, "replace", key, why);
	r->what = S3_REPLACE;
	r->fresh = true;
	r->deadline_ms = deadline_ms;
	r->body = buf;
	r->body_len = len;
	s3_request_header(r, "content-type:application/json");
	if (!ignored)
		s3_request_header(r, condition);
	rc = s3_request_batch_one(r);
	return rc == RC_CONFLICT ? conflict(key, tag, why) : rc;
}

enum rc object_s3_replace_version(struct object_store *s, const char *key, const void *buf,
				  size_t len, const char *tag, char new_tag[OBJECT_TAG_MAX],
				  struct why *why)
{
	struct object_s3 *o = object_s3_of(s);
	const char *fault = object_dir_key_fault(key);
	if (fault)
		return rc_fail(RC_INVALID, why, "cannot store '%.300s': the key %s", key, fault);
	if (len > OBJECT_MAX)
		return rc_fail(RC_TOO_LARGE, why,
			       "cannot store '%.300s': it has %zu bytes, at most %u are stored",
			       key, len, OBJECT_MAX);
	struct s3_request r;
	s3_request_init(&r, o->site);
	enum rc rc = replace(o, &r, key, buf, len, tag, why);
	if (rc == RC_OK && new_tag)
		object_s3_tag(&r.call, new_tag);
	s3_request_release(&r);
	return rc;
}
