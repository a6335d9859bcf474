/* SPDX-License-Identifier: Apache-2.0 */
/* http-lane.c - an easy handle of curl, set up once, that carries one call at a time. */
#include "config.h"
#include "object/http-private.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define HEAD_MAX 65536u
#define KEEPALIVE_IDLE_S 20L
#define KEEPALIVE_INTERVAL_S 5L

/*
 * The bytes of the header lines, as they come. A line of status begins an answer: an earlier one
 * was only "continue".
 */
static size_t take_head(char *p, size_t size, size_t n, void *arg)
{
	struct http_lane *l = arg;
	struct buf *head = &l->call->head;
	size_t len = size * n;
	if (len > 5 && !memcmp(p, "HTTP/", 5)) {
		buf_reset(head);
		return len;
	}
	if (len > HEAD_MAX - head->len)
		return 0;
	if (!head->cap)
		buf_reserve(head, 1000);
	buf_add(head, p, len);
	return buf_failed(head) ? 0 : len;
}

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_lane *l = arg;
	struct http_call *call = l->call;
	size_t len = size * n;
	curl_off_t told = -1;
	if (!call->answer.len)
		curl_easy_getinfo(l->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &told);
	if (len > call->limit - call->answer.len || (told > 0 && (uint64_t)told > call->limit)) {
		call->over_limit = true;
		return 0;
	}
	if (told > 0)
		buf_reserve(&call->answer, (size_t)told);
	buf_add(&call->answer, p, len);
	return buf_failed(&call->answer) ? 0 : len;
}

enum rc http_lane_new(struct http_lane **out, struct http *h, struct why *why)
{
	_cleanup_(http_lane_free) struct http_lane *l = calloc(1, sizeof(*l));
	if (!l || !(l->easy = curl_easy_init()))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a connection");
	CURL *e = l->easy;
	curl_easy_setopt(e, CURLOPT_PRIVATE, l);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, l->error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)h->connect_ms);
	/* else the engine, and all its calls, would wait for a resolver's thread whose call is over */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, h->no_verify ? 0L : 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, h->no_verify ? 0L : 2L);
	if (h->ca_file && curl_easy_setopt(e, CURLOPT_CAINFO, h->ca_file) != CURLE_OK)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a connection");
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_head);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, l);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, l);
	http_poll_adopt(&h->poll, e);
	*out = TAKE_PTR(l);
	return RC_OK;
}

void http_lane_free(struct http_lane **l)
{
	if (!l || !*l)
		return;
	curl_easy_cleanup((*l)->easy);
	free(*l);
	*l = NULL;
}

/*
 * curl reads the list while the call is active; its texts stay where they are, each line made a
 * text of its own.
 */
static bool list_headers(struct http_lane *l, char *lines)
{
	static char no_expect[] = "Expect:", no_accept[] = "Accept:";
	size_t n = 0;
	l->nodes[n++].data = no_expect;
	l->nodes[n++].data = no_accept;
	for (char *line = lines; line && *line;) {
		char *end = strchr(line, '\n');
		if (!end || n == HTTP_LANE_HEADERS)
			return false;
		*end = '\0';
		l->nodes[n++].data = line;
		line = end + 1;
	}
	for (size_t i = 0; i < n; i++)
		l->nodes[i].next = i + 1 < n ? &l->nodes[i + 1] : NULL;
	return true;
}

/* The lines as they were, so that the call can be started again. */
static void join_headers(struct http_lane *l)
{
	for (struct curl_slist *node = l->nodes[1].next; node; node = node->next)
		node->data[strlen(node->data)] = '\n';
}

static void set_method(CURL *e, const struct http_call *call)
{
	switch (call->method) {
	case HTTP_GET:
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, NULL);
		curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
		break;
	case HTTP_HEAD:
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, NULL);
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
		break;
	case HTTP_PUT: /* as a POST by another name: head and a small body leave in one packet */
		curl_easy_setopt(e, CURLOPT_NOBODY, 0L);
		curl_easy_setopt(e, CURLOPT_POST, 1L);
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body_len ? call->body : "");
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, "PUT");
		break;
	}
}

enum rc http_lane_start(struct http_lane *l, CURLM *multi, struct http_call *call, long max_idle_s)
{
	if (!list_headers(l, call->header_lines))
		return rc_fail(RC_INVALID, &call->why,
			       "too many headers, or one that does not end");
	l->error[0] = '\0';
	curl_easy_setopt(l->easy, CURLOPT_HTTPHEADER, l->nodes);
	curl_easy_setopt(l->easy, CURLOPT_FRESH_CONNECT, call->fresh ? 1L : 0L);
	curl_easy_setopt(l->easy, CURLOPT_MAXAGE_CONN, max_idle_s);
	set_method(l->easy, call);
	if (curl_easy_setopt(l->easy, CURLOPT_URL, call->url) != CURLE_OK ||
	    curl_multi_add_handle(multi, l->easy) != CURLM_OK)
		return rc_fail(RC_NO_MEMORY, &call->why, "no memory for a request");
	l->call = call;
	l->since_us = clock_boot_us();
	return RC_OK;
}

static bool is_chunked(const struct http_call *call)
{
	return http_call_header(call, "transfer-encoding", NULL) != NULL;
}

struct http_call *http_lane_end(struct http_lane *l, CURLM *multi, CURLcode result)
{
	struct http_call *call = l->call;
	long status = 0, sent = 0;
	curl_off_t told = -1;
	curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &status);
	call->status = (int)status;
	call->took_us = clock_boot_us() - l->since_us;
	if (result == CURLE_OK && status >= 200 && !buf_failed(&call->head)) {
		curl_easy_getinfo(l->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &told);
		call->end = HTTP_ANSWERED;
		call->measured = told >= 0 || is_chunked(call);
	} else {
		/* counts what was sent on a connection that died before, too */
		curl_easy_getinfo(l->easy, CURLINFO_REQUEST_SIZE, &sent);
		call->end = sent > 0 ? HTTP_MAYBE : HTTP_UNSENT;
		call->untrusted = result == CURLE_PEER_FAILED_VERIFICATION ||
				  result == CURLE_SSL_CACERT_BADFILE ||
				  result == CURLE_SSL_ISSUER_ERROR;
		const char *text = l->error[0] ? l->error : curl_easy_strerror(result);
		if (call->over_limit)
			(void)rc_fail(RC_TOO_LARGE, &call->why,
				      "the answer is longer than %zu bytes", call->limit);
		else
			(void)rc_fail(RC_TEMPORARY, &call->why, "%.300s", text);
	}
	curl_multi_remove_handle(multi, l->easy);
	join_headers(l);
	l->call = NULL;
	return call;
}
