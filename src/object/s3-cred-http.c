/* SPDX-License-Identifier: Apache-2.0 */
/* s3-cred-http.c - one small request for credentials, in the calling thread. */
#include "config.h"
#include "object/s3-cred-private.h"

#include <string.h>

#include <curl/curl.h>
#include <openssl/crypto.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define BODY_MAX (128u << 10)

static void easy_freep(CURL **easy)
{
	curl_easy_cleanup(*easy);
}

static void slist_freep(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

/* The room was made before: no bytes are left behind in memory that was given back. */
static size_t take(char *data, size_t size, size_t n, void *arg)
{
	struct buf *body = arg;
	if (n * size > BODY_MAX - body->len)
		return 0;
	buf_add(body, data, n * size);
	return n * size;
}

void s3_cred_http_release(struct buf *body)
{
	if (body->data)
		OPENSSL_cleanse(body->data, body->cap);
	buf_release(body);
}

static enum rc set_up(CURL *easy, const struct s3_cred_http *r, struct curl_slist **headers,
		      uint64_t left_ms, struct buf *body)
{
	for (size_t i = 0; i < ARRAY_SIZE(r->headers) && r->headers[i]; i++) {
		struct curl_slist *longer = curl_slist_append(*headers, r->headers[i]);
		if (!longer)
			return RC_NO_MEMORY;
		*headers = longer;
	}
	buf_reserve(body, BODY_MAX);
	bool ok = !buf_failed(body) && !curl_easy_setopt(easy, CURLOPT_URL, r->url) &&
		  !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") &&
		  !curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) &&
		  !curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left_ms) &&
		  !curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers) &&
		  !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take) &&
		  !curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
	if (r->body)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r->body);
	if (strcmp(r->method, r->body ? "POST" : "GET") != 0)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method);
	if (r->direct)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	if (r->ca_file)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_CAINFO, r->ca_file);
	return ok ? RC_OK : RC_NO_MEMORY;
}

enum rc s3_cred_http(const struct s3_cred_http *r, long *status, struct buf *body, struct why *why)
{
	_cleanup_(easy_freep) CURL *easy = curl_easy_init();
	_cleanup_(slist_freep) struct curl_slist *headers = NULL;
	uint64_t now = clock_boot_ms();
	if (now >= r->deadline_ms)
		return rc_fail(RC_TEMPORARY, why, "%s: no answer in time", r->url);
	if (!easy || set_up(easy, r, &headers, r->deadline_ms - now, body) != RC_OK)
		return rc_fail(RC_TEMPORARY, why, "%s: can't be asked", r->url);
	CURLcode code = curl_easy_perform(easy);
	if (code == CURLE_WRITE_ERROR)
		return rc_fail(RC_TEMPORARY, why, "%s: the answer is too long", r->url);
	if (code != CURLE_OK)
		return rc_fail(RC_TEMPORARY, why, "%s: %s", r->url, curl_easy_strerror(code));
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
	return RC_OK;
}
