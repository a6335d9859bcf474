/* SPDX-License-Identifier: Apache-2.0 */
/* s3-request.c - one S3 request: sign, send, judge. */
#include "config.h"
#include "object/s3-request.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "object/s3-sign.h"

#define BACKOFF_FIRST_MS 40u
#define BACKOFF_MAX_MS 4000u
#define MOVES_MAX 2
/* With a connection that may be dead, for a read. A page's token must not be forgotten meanwhile (object-s3-list.c). */
#define PATIENCE_MIN_MS 1000u
#define PATIENCE_MAX_MS 15000u
#define SKEW_MATTERS_US (INT64_C(60) * 1000000)

static const char
	*const methods[] = { [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_PUT] = "PUT" };

void s3_request_reset(struct s3_request *r)
{
	struct s3_request empty = {
		.site = r->site,
		.batch = r->batch,
		.item = r->item,
		.url = r->url,
		.sent_lines = r->sent_lines,
		.call = r->call,
		.query = "",
		.prefix = "",
		.limit = SIZE_MAX / 4,
	};
	empty.call.not_before_ms = 0;
	*r = empty;
}

void s3_request_init(struct s3_request *r, struct s3_site *site)
{
	memset(r, 0, sizeof(*r));
	r->site = site;
	http_call_init(&r->call);
	s3_request_reset(r);
}

void s3_request_release(struct s3_request *r)
{
	http_call_release(&r->call);
	buf_release(&r->url);
	buf_release(&r->sent_lines);
}

/* "cannot store 'KEY' in bucket 'B'" */
static enum rc fail(struct s3_request *r, enum rc rc, const char *reason)
{
	r->rc = rc;
	if (r->key)
		return rc_fail(rc, r->why, "cannot %s '%.200s' in bucket '%s': %.240s", r->verb,
			       r->key, r->site->bucket, reason);
	return rc_fail(rc, r->why, "cannot %s bucket '%s': %.240s", r->verb, r->site->bucket,
		       reason);
}

/* The URL and the header lines, with a signature of this moment. */
static enum rc prepare(struct s3_request *r, const struct s3_key *key, struct why *why)
{
	const struct s3_place *place = r->place = s3_site_place(r->site);
	buf_reset(&r->url);
	buf_add_text(&r->url, place->url);
	size_t path_at = r->url.len;
	buf_add_text(&r->url, place->path);
	if (r->key) {
		s3_sign_path(r->prefix, &r->url);
		s3_sign_path(r->key, &r->url);
	}
	if (buf_failed(&r->url))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a request");

	r->skew_us = atomic_load(&r->site->skew_us);
	r->generation = key->generation;
	struct s3_sign sign = {
		.method = methods[r->method],
		.host = place->host,
		.path = r->url.data + path_at,
		.query = r->query,
		.headers = r->headers,
		.n_headers = r->n_headers,
		.body = r->body_len ? r->body : "",
		.body_len = r->body_len,
		.region = place->region,
		.service = "s3",
		.now_us = clock_wall_us() + r->skew_us,
		.key = key,
	};
	buf_reset(&r->sent_lines);
	for (size_t i = 0; i < r->n_headers; i++) {
		buf_add_text(&r->sent_lines, r->headers[i]);
		buf_add_char(&r->sent_lines, '\n');
	}
	enum rc rc = s3_sign(&sign, &r->sent_lines, why);
	if (rc == RC_OK && *r->query) {
		buf_add_char(&r->url, '?');
		buf_add_text(&r->url, r->query);
	}
	if (rc == RC_OK && (buf_failed(&r->url) || buf_failed(&r->sent_lines)))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for a request");
	return rc;
}

/*
 * A connection that a firewall forgot swallows what is sent. A read can be asked for again on
 * another one while there is time, so it does not wait for all of it.
 */
static uint64_t patience_ms(const struct s3_request *r)
{
	uint64_t now = clock_boot_ms(),
		 third = r->deadline_ms > now ? (r->deadline_ms - now) / 3 : 0;
	if (r->method == HTTP_PUT || r->attempts)
		return 0;
	if (third > PATIENCE_MAX_MS)
		return PATIENCE_MAX_MS;
	return third > PATIENCE_MIN_MS ? third : PATIENCE_MIN_MS;
}

bool s3_request_send(struct s3_request *r, http_done_fn *done)
{
	struct s3_key key = { 0 };
	struct why why = { "" };
	enum rc rc = s3_cred_get(r->site->cred, &key, &why);
	if (rc == RC_OK) {
		rc = prepare(r, &key, &why);
		s3_key_release(&key);
	}
	if (rc == RC_OK) {
		struct http_call *call = &r->call;
		call->method = r->method;
		call->fresh = r->fresh;
		call->url = r->url.data;
		call->header_lines = r->sent_lines.data;
		call->body = r->body;
		call->body_len = r->body_len;
		call->limit = r->limit;
		call->deadline_ms = r->deadline_ms;
		call->done = done;
		call->patience_ms = patience_ms(r);
		rc = http_submit(r->site->http, call, &why);
	}
	if (rc != RC_OK)
		(void)fail(r, rc, why.text);
	return rc == RC_OK;
}

static void count(struct s3_request *r)
{
	struct object_counters *c = &r->site->counters;
	const struct {
		_Atomic uint64_t *n;
		enum object_kind kind;
	} kinds[] = {
		[S3_REQUEST_PUT] = { &c->put, OBJECT_PUT },
		[S3_REQUEST_GET] = { &c->get, OBJECT_GET },
		[S3_REQUEST_HEAD] = { &c->head, OBJECT_HEAD },
		[S3_REQUEST_LIST] = { &c->list, OBJECT_LIST },
		[S3_REQUEST_OTHER] = { &c->other, OBJECT_OTHER },
	};
	if (r->call.end != HTTP_ANSWERED)
		atomic_fetch_add_explicit(&c->failed, 1, memory_order_relaxed);
	if (r->call.end == HTTP_UNSENT)
		return;
	atomic_fetch_add_explicit(kinds[r->kind].n, 1, memory_order_relaxed);
	latency_add(&c->times[kinds[r->kind].kind], r->call.took_us);
	atomic_fetch_add_explicit(&c->sent, r->body_len, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->received, r->call.answer.len, memory_order_relaxed);
	if (r->attempts > 1)
		atomic_fetch_add_explicit(&c->retries, 1, memory_order_relaxed);
}

/* What a missing answer means. */
static struct s3_verdict judge_silence(const struct s3_request *r)
{
	const struct http_call *call = &r->call;
	bool writes = r->method == HTTP_PUT;
	if (call->over_limit && !writes)
		return (struct s3_verdict){ .rc = RC_TOO_LARGE };
	if (call->end == HTTP_UNSENT)
		return (struct s3_verdict){ .rc = RC_TEMPORARY, .retry = !call->untrusted };
	return (struct s3_verdict){ .rc = writes ? RC_UNCERTAIN : RC_TEMPORARY, .retry = !writes };
}

/* True: the answer is the good one. Else *v and the reason. */
static bool judge_answer(struct s3_request *r, struct s3_verdict *v, struct s3_error *e,
			 struct why *why)
{
	const struct http_call *call = &r->call;
	bool good = r->status >= 200 && r->status < 300, has_error = false;
	/*
	 * a good answer can hide an error, but for a GET of an object: that brings what was stored
	 */
	if (call->answer.len && (!good || r->kind != S3_REQUEST_GET))
		has_error = s3_error_parse(call->answer.data, call->answer.len, e);
	if (good && !has_error) {
		if (r->method != HTTP_GET || call->measured)
			return true;
		*v = (struct s3_verdict){ .rc = RC_TEMPORARY, .retry = true };
		(void)rc_fail(v->rc, why, "the answer does not say how long it is");
		return false;
	}
	/* a body that is no error document is not S3's word */
	s3_error_judge(r->what, r->status, has_error || !call->answer.len ? e->code : "?", v);
	if (!e->request_id[0])
		http_call_header_copy(call, "x-amz-request-id", e->request_id,
				      sizeof(e->request_id));
	const char *const parts[][3] = {
		{ " ", e->code, "" },
		{ " (", e->message, ")" },
		{ ", of region '", e->region, "'" },
		{ ", request ", e->request_id, "" },
	};
	char text[sizeof(*e) + 64];
	size_t n = (size_t)snprintf(text, sizeof(text), "HTTP %d", r->status);
	for (size_t i = 0; i < ARRAY_SIZE(parts) && n < sizeof(text); i++)
		if (*parts[i][1])
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s%s", parts[i][0],
					      parts[i][1], parts[i][2]);
	(void)rc_fail(v->rc, why, "%s", text);
	return false;
}

static bool take_clock(struct s3_request *r)
{
	char text[64];
	http_call_header_copy(&r->call, "date", text, sizeof(text));
	time_t date = *text ? curl_getdate(text, NULL) : -1;
	if (date < 0)
		return false;
	int64_t skew_us = (int64_t)date * 1000000 - clock_wall_us(), off = skew_us - r->skew_us;
	if (off < SKEW_MATTERS_US && off > -SKEW_MATTERS_US)
		return false;
	atomic_store(&r->site->skew_us, skew_us);
	return true;
}

static bool take_region(struct s3_request *r, const struct s3_error *e)
{
	char region[64];
	snprintf(region, sizeof(region), "%s", e->region);
	if (!*region)
		http_call_header_copy(&r->call, "x-amz-bucket-region", region, sizeof(region));
	return *region && s3_site_move(r->site, r->place, region);
}

/* Something was wrong with how it was asked, and we know better now. */
static bool corrected(struct s3_request *r, const struct s3_verdict *v, const struct s3_error *e)
{
	if (v->skew && !r->skewed && take_clock(r))
		return r->skewed = true;
	if (v->redirect && r->moves < MOVES_MAX && take_region(r, e))
		return ++r->moves;
	if (v->refresh && !r->refreshed && s3_cred_expired(r->site->cred, r->generation))
		return r->refreshed = true;
	return false;
}

/* Milliseconds that the answer asks us to wait; 0 for none. */
static uint64_t asked_wait_ms(const struct s3_request *r)
{
	char text[64];
	http_call_header_copy(&r->call, "retry-after", text, sizeof(text));
	if (!*text)
		return 0;
	char *end;
	unsigned long s = strtoul(text, &end, 10);
	if (end != text && !*end)
		return s < 86400 ? s * 1000 : 86400000;
	time_t at = curl_getdate(text, NULL);
	int64_t ms = at < 0 ? 0 : ((int64_t)at * 1000000 - s3_site_now_us(r->site)) / 1000;
	return ms > 0 ? (uint64_t)ms : 0;
}

/* When to try again: exponential, with full jitter. False: there is no time for it. */
static bool back_off(struct s3_request *r)
{
	uint64_t most = BACKOFF_MAX_MS, random;
	if (r->attempts < 8 && (BACKOFF_FIRST_MS << (r->attempts - 1)) < most)
		most = BACKOFF_FIRST_MS << (r->attempts - 1);
	clock_random(&random, sizeof(random));
	uint64_t wait = 1 + random % most, asked = asked_wait_ms(r);
	uint64_t at = clock_boot_ms() + (wait > asked ? wait : asked);
	if (at >= r->deadline_ms)
		return false;
	r->call.not_before_ms = at;
	return true;
}

bool s3_request_ended(struct s3_request *r)
{
	struct s3_verdict v;
	struct s3_error e = { "", "", "", "" };
	struct why why = { "" };
	r->attempts++;
	r->status = r->call.end == HTTP_ANSWERED ? r->call.status : 0;
	r->call.not_before_ms = 0;
	count(r);
	if (r->call.end == HTTP_ANSWERED) {
		if (judge_answer(r, &v, &e, &why)) {
			r->rc = RC_OK;
			return true;
		}
		if (corrected(r, &v, &e))
			return false;
	} else {
		v = judge_silence(r);
		why = r->call.why;
	}
	bool slow = r->call.timed_out && r->call.end != HTTP_UNSENT;
	if (r->lighter && (slow || r->status == 504))
		r->query = r->lighter;
	if (v.retry && back_off(r))
		return false;
	(void)fail(r, v.rc, why.text);
	return true;
}
