/* SPDX-License-Identifier: Apache-2.0 */
/* object-s3.c - the store as such, and questions about its bucket. */
#include "config.h"
#include "object/object-s3.h"

#include <curl/curl.h>
#include <expat.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "event/key.h"
#include "object/object-dir.h"
#include "object/object-s3-private.h"
#include "object/s3-sign.h"

#define PROBE_KEY ".evfs/probe"
#define XMLNS "http://s3.amazonaws.com/doc/2006-03-01/"
#define PROBE_BODY "{}\n"
#define REGION_WITHOUT_NAME "us-east-1" /* a bucket there is made without saying so */

void object_s3_ask(struct object_s3 *o, struct s3_request *r, enum s3_request_kind kind,
		   enum http_method method, const char *verb, const char *key, struct why *why)
{
	r->kind = kind;
	r->what = S3_READ;
	r->method = method;
	r->verb = verb;
	r->prefix = o->prefix;
	r->key = key;
	r->limit = OBJECT_S3_ANSWER_MAX;
	r->deadline_ms = clock_boot_ms() + o->timeout_ms;
	r->why = why;
}

void object_s3_tag(const struct http_call *call, char tag[OBJECT_TAG_MAX])
{
	size_t len = 0;
	const char *etag = http_call_header(call, "etag", &len);
	if (etag && len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
		etag++;
		len -= 2;
	}
	if (!etag || len >= OBJECT_TAG_MAX)
		len = 0;
	if (len)
		memcpy(tag, etag, len);
	tag[len] = '\0';
}

static enum rc s3_sync(struct object_store *s, struct why *why)
{
	(void)s;
	(void)why;
	return RC_OK; /* what S3 answered is durable */
}

static enum rc s3_ready(struct object_store *s, uint64_t bytes, size_t objects, struct why *why)
{
	(void)s;
	(void)bytes;
	(void)objects;
	(void)why;
	return RC_OK;
}

static void s3_destroy(struct object_store *s)
{
	struct object_s3 *o = object_s3_of(s);
	s3_site_free(&o->site);
	free(o->prefix);
	free(o);
}

static const struct object_ops s3_ops = {
	.name = "s3",
	.put = object_s3_put_items,
	.get = object_s3_get_items,
	.list = object_s3_list_keys,
	.stat = object_s3_get_info,
	.replace = object_s3_replace_version,
	.sync = s3_sync,
	.ready = s3_ready,
	.destroy = s3_destroy,
};

static enum rc check_prefix(const char *prefix, struct why *why)
{
	char key[KEY_MAX + 1];
	size_t len = strlen(prefix);
	if (!len)
		return RC_OK;
	if (len > KEY_MAX / 2 || prefix[len - 1] != '/')
		return rc_fail(RC_INVALID, why,
			       "the prefix '%.300s' does not end in '/', or is too long", prefix);
	memcpy(key, prefix, len - 1);
	key[len - 1] = '\0';
	const char *fault = object_dir_key_fault(key);
	return fault ? rc_fail(RC_INVALID, why, "the prefix '%.300s' %s", prefix, fault) : RC_OK;
}

enum rc object_s3_new(struct object_store **out, const struct object_s3_options *options,
		      struct why *why)
{
	const char *prefix = options->prefix ? options->prefix : "";
	enum rc rc = check_prefix(prefix, why);
	if (rc != RC_OK)
		return rc;
	_cleanup_(freep) struct object_s3 *o = calloc(1, sizeof(*o));
	_cleanup_(freep) char *copy = strdup(prefix);
	if (!o || !copy)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a store");
	rc = s3_site_new(&o->site, options, why);
	if (rc != RC_OK)
		return rc;
	o->base.ops = &s3_ops;
	o->base.counters = &o->site->counters;
	o->prefix = TAKE_PTR(copy);
	o->timeout_ms = options->timeout_ms ? options->timeout_ms : 1;
	*out = &TAKE_PTR(o)->base;
	return RC_OK;
}

/* A request for the bucket itself, sent and answered. */
static enum rc ask_bucket(struct object_s3 *o, struct s3_request *r, enum http_method method,
			  const char *verb, const char *query, struct why *why)
{
	s3_request_reset(r);
	object_s3_ask(o, r, S3_REQUEST_OTHER, method, verb, NULL, why);
	r->what = S3_BUCKET;
	r->query = query;
	return s3_request_batch_one(r);
}

/* As a listing, which a policy that allows the store's prefix alone allows too. */
static enum rc reach(struct object_s3 *o, struct s3_request *r, struct why *why)
{
	struct buf query = BUF_INIT;
	s3_sign_query_add(&query, "list-type", "2");
	s3_sign_query_add(&query, "max-keys", "1");
	s3_sign_query_add(&query, "prefix", o->prefix);
	enum rc rc = buf_failed(&query)
			     ? rc_fail(RC_NO_MEMORY, why, "no memory for a request")
			     : ask_bucket(o, r, HTTP_GET, "reach", buf_text(&query), why);
	buf_release(&query);
	return rc;
}

enum rc object_s3_reach(struct object_store *s, struct why *why)
{
	struct object_s3 *o = object_s3_of(s);
	struct s3_request r;
	s3_request_init(&r, o->site);
	enum rc rc = reach(o, &r, why);
	s3_request_release(&r);
	return rc;
}

/* PUT a document to the bucket, with its MD5, which Amazon asks for here. */
static enum rc put_document(struct object_s3 *o, struct s3_request *r, const char *verb,
			    const char *query, const char *text, struct why *why)
{
	unsigned char digest[EVP_MAX_MD_SIZE], base64[2 * EVP_MAX_MD_SIZE];
	unsigned n = 0;
	char line[160];
	s3_request_reset(r);
	object_s3_ask(o, r, S3_REQUEST_OTHER, HTTP_PUT, verb, NULL, why);
	r->what = S3_BUCKET;
	r->query = query;
	r->body = text;
	r->body_len = strlen(text);
	if (*text && EVP_Digest(text, r->body_len, digest, &n, EVP_md5(), NULL) == 1) {
		EVP_EncodeBlock(base64, digest, (int)n);
		snprintf(line, sizeof(line), "content-md5:%s", (const char *)base64);
		s3_request_header(r, line);
	}
	s3_request_header(r, "content-type:application/xml");
	return s3_request_batch_one(r);
}

static enum rc make(struct object_s3 *o, struct s3_request *r, struct why *why)
{
	enum rc rc = reach(o, r, why);
	if (rc == RC_OK)
		return rc_fail(RC_EXISTS, why, "the bucket '%s' is there already", o->site->bucket);
	if (rc != RC_NOT_FOUND)
		return rc;

	const char *region = s3_site_place(o->site)->region;
	char text[256] = "";
	if (strcmp(region, REGION_WITHOUT_NAME))
		snprintf(text, sizeof(text),
			 "<CreateBucketConfiguration xmlns=\"" XMLNS "\">"
			 "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
			 region);
	rc = put_document(o, r, "make", "", text, why);
	if (rc != RC_OK)
		return rc;
	rc = put_document(o, r, "keep versions in", "versioning=",
			  "<VersioningConfiguration xmlns=\"" XMLNS "\">"
			  "<Status>Enabled</Status></VersioningConfiguration>",
			  why);
	/* a server that can't: object_s3_learn tells */
	return rc == RC_INVALID || r->status == 501 ? RC_OK : rc;
}

enum rc object_s3_make(struct object_store *s, struct why *why)
{
	struct object_s3 *o = object_s3_of(s);
	struct s3_request r;
	s3_request_init(&r, o->site);
	enum rc rc = make(o, &r, why);
	s3_request_release(&r);
	return rc;
}

/* PUT the probe under a condition. *kept: it did not hold, and the server said so. */
static enum rc try_condition(struct object_s3 *o, struct s3_request *r, const char *condition,
			     bool *kept, struct why *why)
{
	s3_request_reset(r);
	object_s3_ask(o, r, S3_REQUEST_OTHER, HTTP_PUT, "probe", PROBE_KEY, why);
	r->what = S3_REPLACE;
	r->body = PROBE_BODY;
	r->body_len = strlen(PROBE_BODY);
	s3_request_header(r, "content-type:application/json");
	s3_request_header(r, condition);
	enum rc rc = s3_request_batch_one(r);
	*kept = rc == RC_CONFLICT;
	/* one that does not know the header at all is as good as one that ignores it */
	return rc == RC_CONFLICT || r->status == 501 ? RC_OK : rc;
}

/* The first PUT may create the probe, the second can't. */
static enum rc probe(struct object_s3 *o, struct s3_request *r, struct why *why)
{
	bool kept = false;
	enum rc rc = RC_OK;
	for (int i = 0; i < 2 && rc == RC_OK && !kept; i++)
		rc = try_condition(o, r, "if-none-match:*", &kept, why);
	if (rc != RC_OK)
		return rc;
	atomic_store(&o->if_none_match, kept ? OBJECT_S3_YES : OBJECT_S3_NO);
	rc = try_condition(o, r, "if-match:\"00000000000000000000000000000000\"", &kept, why);
	if (rc == RC_OK)
		atomic_store(&o->if_match, kept ? OBJECT_S3_YES : OBJECT_S3_NO);
	return rc;
}

/* Its clock minus ours. The Date header has whole seconds: half of one is added. */
static int64_t skew_of(const struct http_call *call)
{
	char text[64];
	http_call_header_copy(call, "date", text, sizeof(text));
	time_t t = *text ? curl_getdate(text, NULL) : -1;
	return t < 0 ? 0 : (int64_t)t * 1000000 + 500000 - clock_wall_us();
}

static enum rc learn(struct object_s3 *o, struct s3_request *r, bool try_it,
		     struct object_s3_facts *f, struct why *why)
{
	enum rc rc = reach(o, r, why);
	if (rc != RC_OK)
		return rc;
	f->skew_us = skew_of(&r->call);
	http_call_header_copy(&r->call, "server", f->server, sizeof(f->server));

	if (ask_bucket(o, r, HTTP_GET, "ask for the versioning of", "versioning=", NULL) == RC_OK)
		f->versioning = strstr(buf_text(&r->call.answer), "<Status>Enabled<")
					? OBJECT_S3_YES
					: OBJECT_S3_NO;
	else if (r->status == 501)
		f->versioning = OBJECT_S3_NO;
	return try_it ? probe(o, r, why) : RC_OK;
}

enum rc object_s3_learn(struct object_store *s, bool try_it, struct object_s3_facts *out,
			struct why *why)
{
	struct object_s3 *o = object_s3_of(s);
	struct object_s3_facts f = { .server = "" };
	struct s3_request r;
	s3_request_init(&r, o->site);
	enum rc rc = learn(o, &r, try_it, &f, why);
	s3_request_release(&r);
	if (rc != RC_OK)
		return rc;
	f.if_none_match = (unsigned)atomic_load(&o->if_none_match);
	f.if_match = (unsigned)atomic_load(&o->if_match);
	*out = f;
	return RC_OK;
}

static char version[128];
static pthread_once_t version_once = PTHREAD_ONCE_INIT;

static void make_version(void)
{
	XML_Expat_Version expat = XML_ExpatVersionInfo();
	snprintf(version, sizeof(version), "%s, expat %d.%d.%d", http_version(), expat.major,
		 expat.minor, expat.micro);
}

const char *object_s3_version(void)
{
	pthread_once(&version_once, make_version);
	return version;
}
