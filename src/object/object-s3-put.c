/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object-s3-put.c - create objects.
 *
 * One PUT an object, with If-None-Match: *. Where the server ignores that, a HEAD goes before it,
 * which leaves a gap for another writer: the ledger decides order, this is the second fence.
 */
#include "config.h"
#include "object/object.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/failpoint.h"
#include "event/time.h"
#include "object/object-dir.h"
#include "object/object-s3-private.h"

struct put_batch {
	struct object_s3 *o;
	struct object_put *items;
	uint64_t deadline_ms;
	bool look_first;
};

static void add_times(struct s3_request *r, int64_t us)
{
	char text[TIME_TEXT_MAX];
	int64_t s = us / 1000000 - (us % 1000000 < 0);
	if (time_in_calendar(us)) {
		time_format_us(us, text);
		snprintf(r->made[0], sizeof(r->made[0]), OBJECT_S3_MTIME ":%" PRId64 ".%06" PRId64,
			 s, us - s * 1000000);
		snprintf(r->made[1], sizeof(r->made[1]), OBJECT_S3_RECORDED ":%s", text);
		s3_request_header(r, r->made[0]);
		s3_request_header(r, r->made[1]);
	}
}

/* An item that was looked for and not found has RC_NOT_FOUND for the moment. */
static bool begin(void *arg, size_t i, struct s3_request *r)
{
	struct put_batch *b = arg;
	struct object_put *it = &b->items[i];
	bool look = b->look_first && it->rc != RC_NOT_FOUND;
	const char *fault = object_dir_key_fault(it->key);
	if (fault) {
		it->rc = rc_fail(RC_INVALID, &it->why, "cannot store '%.300s': the key %s", it->key,
				 fault);
		return false;
	}
	if (it->len > OBJECT_MAX) {
		it->rc = rc_fail(RC_TOO_LARGE, &it->why,
				 "cannot store '%.300s': it has %zu bytes, at most %u are stored",
				 it->key, it->len, OBJECT_MAX);
		return false;
	}
	object_s3_ask(b->o, r, look ? S3_REQUEST_HEAD : S3_REQUEST_PUT, look ? HTTP_HEAD : HTTP_PUT,
		      "store", it->key, &it->why);
	if (b->deadline_ms)
		r->deadline_ms = b->deadline_ms;
	if (look)
		return true;
	FAILPOINT("object-put-before");
	r->what = S3_PUT;
	r->body = it->buf;
	r->body_len = it->len;
	s3_request_header(r, "content-type:application/json");
	if (!b->look_first)
		s3_request_header(r, "if-none-match:*");
	if (it->recorded_us)
		add_times(r, it->recorded_us);
	return true;
}

static bool end(void *arg, size_t i, struct s3_request *r)
{
	struct put_batch *b = arg;
	struct object_put *it = &b->items[i];
	bool looked = r->method == HTTP_HEAD;
	it->rc = looked && r->rc == RC_OK ? RC_EXISTS : r->rc;
	if (it->rc == RC_EXISTS)
		(void)rc_fail(RC_EXISTS, &it->why, "the key '%.300s' is taken", it->key);
	if (it->rc == RC_OK)
		FAILPOINT("object-put-after");
	return looked && it->rc == RC_NOT_FOUND;
}

void object_s3_put_items(struct object_store *s, struct object_put *items, size_t n,
			 uint64_t deadline_ms)
{
	struct object_s3 *o = object_s3_of(s);
	struct put_batch b = {
		.o = o,
		.items = items,
		.deadline_ms = deadline_ms,
		.look_first = atomic_load(&o->if_none_match) == OBJECT_S3_NO,
	};
	for (size_t i = 0; i < n; i++)
		items[i].rc = RC_OK;
	s3_request_batch_run(o->site, n, &(struct s3_request_work){ begin, end, &b });
}
