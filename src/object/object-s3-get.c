/* SPDX-License-Identifier: Apache-2.0 */
/* object-s3-get.c - read objects, look at them. */
#include "config.h"
#include "object/object.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "event/time.h"
#include "object/object-dir.h"
#include "object/object-s3-private.h"

/* "1766048703.123456789", or without a fraction. False: something else. */
static bool parse_seconds(const char *text, size_t len, int64_t *us_r)
{
	bool minus = len && *text == '-';
	int64_t us = 0;
	size_t i = minus, digits = 0, fraction = 0;
	for (; i < len && text[i] >= '0' && text[i] <= '9' && digits < 12; i++, digits++)
		us = us * 10 + (text[i] - '0');
	if (!digits || (i < len && text[i] != '.'))
		return false;
	for (i++; i < len && fraction < 6; i++, fraction++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		us = us * 10 + (text[i] - '0');
	}
	for (; fraction < 6; fraction++)
		us *= 10;
	*us_r = minus ? -us : us;
	return true;
}

/* The time that the object was given. 0: none. */
static int64_t recorded_us(const struct http_call *call)
{
	struct time_stamp t;
	size_t len = 0;
	int64_t us = 0;
	const char *text = http_call_header(call, OBJECT_S3_RECORDED, &len);
	if (text && time_parse(text, len, &t, NULL) == RC_OK)
		return t.us;
	text = http_call_header(call, OBJECT_S3_MTIME, &len);
	return text && parse_seconds(text, len, &us) ? us : 0;
}

static int64_t modified_us(const struct http_call *call)
{
	char text[64];
	http_call_header_copy(call, "last-modified", text, sizeof(text));
	time_t t = *text ? curl_getdate(text, NULL) : -1;
	return t < 0 ? 0 : (int64_t)t * 1000000;
}

struct get_batch {
	struct object_s3 *o;
	struct object_get *items;
};

static bool begin(void *arg, size_t i, struct s3_request *r)
{
	struct get_batch *b = arg;
	struct object_get *it = &b->items[i];
	const char *fault = object_dir_key_fault(it->key);
	if (fault) {
		it->rc = rc_fail(RC_NOT_FOUND, &it->why, "no object '%.300s': the key %s", it->key,
				 fault);
		return false;
	}
	object_s3_ask(b->o, r, S3_REQUEST_GET, HTTP_GET, "read", it->key, &it->why);
	r->limit = OBJECT_MAX;
	return true;
}

static bool end(void *arg, size_t i, struct s3_request *r)
{
	struct get_batch *b = arg;
	struct object_get *it = &b->items[i];
	it->rc = r->rc;
	if (r->rc == RC_NOT_FOUND)
		(void)rc_fail(RC_NOT_FOUND, &it->why, "no object '%.300s'", it->key);
	if (r->rc != RC_OK)
		return false;
	size_t len = 0;
	char *buf = r->call.answer.cap ? buf_take(&r->call.answer, &len) : calloc(1, 1);
	if (!buf) {
		it->rc = rc_fail(RC_NO_MEMORY, &it->why, "no memory for '%.300s'", it->key);
		return false;
	}
	it->buf = buf;
	it->len = len;
	it->recorded_us = recorded_us(&r->call);
	it->modified_us = modified_us(&r->call);
	object_s3_tag(&r->call, it->tag);
	return false;
}

void object_s3_get_items(struct object_store *s, struct object_get *items, size_t n)
{
	struct object_s3 *o = object_s3_of(s);
	struct get_batch b = { o, items };
	s3_request_batch_run(o->site, n, &(struct s3_request_work){ begin, end, &b });
}

enum rc object_s3_get_info(struct object_store *s, const char *key, struct object_info *info_r,
			   struct why *why)
{
	struct object_s3 *o = object_s3_of(s);
	const char *fault = object_dir_key_fault(key);
	if (fault)
		return rc_fail(RC_NOT_FOUND, why, "no object '%.300s': the key %s", key, fault);
	struct s3_request r;
	s3_request_init(&r, o->site);
	object_s3_ask(o, &r, S3_REQUEST_HEAD, HTTP_HEAD, "look at", key, why);
	enum rc rc = s3_request_batch_one(&r);
	if (rc == RC_NOT_FOUND)
		(void)rc_fail(RC_NOT_FOUND, why, "no object '%.300s'", key);
	if (rc == RC_OK) {
		char size[32];
		http_call_header_copy(&r.call, "content-length", size, sizeof(size));
		*info_r = (struct object_info){
			.key = key,
			.size = strtoull(size, NULL, 10),
			.recorded_us = recorded_us(&r.call),
			.modified_us = modified_us(&r.call),
		};
	}
	s3_request_release(&r);
	return rc;
}
