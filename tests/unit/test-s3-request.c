/* SPDX-License-Identifier: Apache-2.0 */
/* test-s3-request.c - what is tried again, how, and what is not; through the store that uses it. */
#include "config.h"
#include "object/object-s3.h"

#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "http-server.h"

#define ERROR(code) \
	"<Error><Code>" code "</Code><Message>no</Message><RequestId>R-1</RequestId></Error>"

static struct http_server server;
static struct object_store *store;

/* What the next requests get, in order; after the last, 200. */
static const struct step {
	const char *status, *headers, *body;
} * script;
static unsigned n_script;
/* Of the last request. */
static char seen_condition[64], seen_region[64], seen_time[32];
static atomic_uint seen_heads, seen_puts;

static void note(const struct http_server_request *rq)
{
	char authorization[512] = "";
	seen_condition[0] = seen_region[0] = seen_time[0] = '\0';
	if (!http_server_header(rq, "if-none-match", seen_condition, sizeof(seen_condition)))
		http_server_header(rq, "if-match", seen_condition, sizeof(seen_condition));
	http_server_header(rq, "x-amz-date", seen_time, sizeof(seen_time));
	if (http_server_header(rq, "authorization", authorization, sizeof(authorization)))
		sscanf(authorization, "AWS4-HMAC-SHA256 Credential=%*[^/]/%*[^/]/%63[^/]/",
		       seen_region);
	atomic_fetch_add(!strcmp(rq->method, "HEAD") ? &seen_heads : &seen_puts, 1);
}

static bool by_script(const struct http_server_request *rq)
{
	note(rq);
	if (rq->nth > n_script)
		return http_server_answer(rq, "200 OK", "ETag: \"new\"\r\n", "");
	const struct step *s = &script[rq->nth - 1];
	if (!s->status)
		return false; /* it is lost */
	return http_server_answer(rq, s->status, s->headers ? s->headers : "",
				  s->body ? s->body : "");
}

static void open_store(http_server_fn *fn, uint64_t timeout_ms)
{
	struct object_s3_options o = {
		.bucket = "bucket",
		.prefix = "p/",
		.parallel = 4,
		.timeout_ms = timeout_ms,
		.cred = { .access = "AKID", .secret = "sesame-sesame" },
	};
	struct why why = { "" };
	http_server_start(&server, fn);
	o.endpoint = server.url;
	ck_assert_msg(object_s3_new(&store, &o, &why) == RC_OK, "%s", why.text);
}

static void play(const struct step *steps, unsigned n, uint64_t timeout_ms)
{
	script = steps;
	n_script = n;
	open_store(by_script, timeout_ms);
}
#define PLAY(steps, timeout_ms) play(steps, ARRAY_SIZE(steps), timeout_ms)

/* A bucket of so many keys; it takes 2.5 ms for each that may come. */
#define KEYS 250
#define KEY_US 2500

static int asked_for(const struct http_server_request *rq, const char *name, int otherwise)
{
	const char *at = strstr(rq->path, name);
	return at ? atoi(at + strlen(name)) : otherwise;
}

static bool takes_long_to_list(const struct http_server_request *rq)
{
	int i = asked_for(rq, "continuation-token=", 0), max = asked_for(rq, "max-keys=", 1000);
	int end = i + max < KEYS ? i + max : KEYS;
	struct buf page = BUF_INIT;
	poll(NULL, 0, max * KEY_US / 1000);
	buf_add_text(&page, "<ListBucketResult>");
	if (end < KEYS)
		buf_printf(&page, "<IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>", end);
	else
		buf_add_text(&page, "<IsTruncated>false</IsTruncated>");
	for (; i < end; i++)
		buf_printf(&page, "<Contents><Key>p/k%03d</Key><LastModified>2026-01-01T00:00:00Z</LastModified>"
				  "<ETag>t</ETag><Size>1</Size></Contents>", i);
	buf_add_text(&page, "</ListBucketResult>");
	bool sent = http_server_answer(rq, "200 OK", "", buf_text(&page));
	buf_release(&page);
	return sent;
}

static void teardown(void)
{
	object_free(&store);
	http_server_stop(&server);
}

static enum rc put(const char *key, struct why *why)
{
	struct object_put it = { .key = key, .buf = "{}", .len = 2, .recorded_us = 1 };
	enum rc rc = object_put(store, &it, 1, 0);
	*why = it.why;
	return rc;
}

static struct object_counts counts(void)
{
	struct object_counts c;
	object_counts(store, &c);
	return c;
}

/* One answer to a PUT, and what becomes of it; a second request is answered well. */
static const struct {
	struct step step;
	enum rc rc;
	unsigned requests;
	const char *text;
} answers[] = {
	{ { "503 Slow", "", ERROR("SlowDown") }, RC_OK, 2, "" },
	{ { "409 Conflict", "", ERROR("ConditionalRequestConflict") }, RC_OK, 2, "" },
	{ { "412 No", "", ERROR("PreconditionFailed") }, RC_EXISTS, 1, "the key 'a' is taken" },
	{ { "500 Oops", "", ERROR("InternalError") },
	  RC_UNCERTAIN,
	  1,
	  "cannot store 'a' in bucket 'bucket': HTTP 500 InternalError (no), request R-1" },
	{ { "504 Oops", "x-amz-request-id: R-2\r\n", "" },
	  RC_UNCERTAIN,
	  1,
	  "HTTP 504, request R-2" },
	{ { "200 OK", "", ERROR("InternalError") }, RC_UNCERTAIN, 1, "HTTP 200 InternalError" },
	{ { NULL, NULL, NULL }, RC_UNCERTAIN, 1, "cannot store 'a' in bucket 'bucket': " },
	{ { "403 No", "", ERROR("AccessDenied") }, RC_DENIED, 1, "HTTP 403 AccessDenied" },
	{ { "403 No", "", ERROR("ExpiredToken") }, RC_DENIED, 1, "HTTP 403 ExpiredToken" },
	{ { "507 Full", "", ERROR("XMinioStorageFull") }, RC_NO_SPACE, 1, "XMinioStorageFull" },
	{ { "404 No", "", ERROR("NoSuchBucket") }, RC_TEMPORARY, 1, "NoSuchBucket" },
};

START_TEST(a_put_is_tried_again_only_where_nothing_happened)
{
	struct why why = { "" };
	play(&answers[_i].step, 1, 3000);
	ck_assert_int_eq(put("a", &why), answers[_i].rc);
	ck_assert_msg(strstr(why.text, answers[_i].text), "%s", why.text);
	ck_assert_ptr_null(strstr(why.text, "sesame"));
	ck_assert_uint_eq(atomic_load(&server.requests), answers[_i].requests);
	ck_assert_uint_eq(counts().put, answers[_i].requests);
	ck_assert_uint_eq(counts().retries, answers[_i].requests - 1);
}
END_TEST

START_TEST(a_put_that_is_never_answered_is_uncertain_in_time)
{
	struct why why = { "" };
	uint64_t before = clock_boot_ms();
	open_store(http_server_hang, 300);
	ck_assert_int_eq(put("a", &why), RC_UNCERTAIN);
	ck_assert_ptr_nonnull(strstr(why.text, "no answer in time"));
	ck_assert_uint_lt(clock_boot_ms() - before, 1500);
	ck_assert_uint_eq(counts().failed, 1);
}
END_TEST

START_TEST(a_put_that_nobody_takes_is_temporary_and_tried_until_its_time_is_over)
{
	struct why why = { "" };
	PLAY(((struct step[]){ { NULL, NULL, NULL } }), 400);
	http_server_close(&server);
	ck_assert_int_eq(put("a", &why), RC_TEMPORARY);
	ck_assert_uint_eq(counts().put, 0);
	ck_assert_uint_ge(counts().failed, 2);
}
END_TEST

START_TEST(a_read_is_tried_again_whatever_happened)
{
	static const struct step steps[] = {
		{ NULL, NULL, NULL },
		{ "500 Oops", "", ERROR("InternalError") },
		{ "503 Slow", "", "" },
		{ "200 OK",
		  "ETag: \"t\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:10 GMT\r\n"
		  "x-amz-meta-recorded-at: 1970-01-01T00:00:01.000002Z\r\n",
		  "body" },
	};
	struct object_get it = { .key = "a" };
	PLAY(steps, 5000);
	ck_assert_msg(object_get(store, &it, 1) == RC_OK, "%s", it.why.text);
	ck_assert_str_eq(it.buf, "body");
	ck_assert_str_eq(it.tag, "t");
	ck_assert_int_eq(it.recorded_us, 1000002);
	ck_assert_int_eq(it.modified_us, 10000000);
	ck_assert_uint_eq(counts().get, 4);
	ck_assert_uint_eq(counts().retries, 3);
	free(it.buf);
}
END_TEST

/* The second request on the first connection is swallowed. */
static bool forgetful(const struct http_server_request *rq)
{
	if (rq->nth == 2)
		return http_server_hang(rq);
	return http_server_answer(rq, "200 OK", "", "x");
}

START_TEST(a_read_that_is_swallowed_is_asked_for_again_in_time)
{
	open_store(forgetful, 4000);
	for (int i = 0; i < 2; i++) {
		struct object_get it = { .key = "a" };
		ck_assert_msg(object_get(store, &it, 1) == RC_OK, "%s", it.why.text);
		free(it.buf);
	}
	ck_assert_uint_eq(counts().get, 3);
}
END_TEST

static bool count_key(void *arg, const struct object_info *info)
{
	ck_assert_int_eq(atoi(info->key + 1), *(int *)arg);
	++*(int *)arg;
	return true;
}

START_TEST(a_page_that_takes_long_is_asked_for_with_fewer_keys)
{
	struct why why = { "" };
	int n = 0;
	open_store(takes_long_to_list, 3000);
	ck_assert_msg(object_list(store, "", NULL, OBJECT_LIST_DEEP, count_key, &n, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(n, KEYS);
	ck_assert_uint_eq(counts().list, 1 + 3);	/* once a whole one */
}
END_TEST

START_TEST(times_of_other_programs_are_read)
{
	static const struct {
		const char *header;
		int64_t us;
	} times[] = {
		{ "x-amz-meta-mtime: 1700000000.123457891\r\n", INT64_C(1700000000123457) },
		{ "x-amz-meta-mtime: 1700000000\r\n", INT64_C(1700000000000000) },
		{ "x-amz-meta-mtime: -1.5\r\n", -1500000 },
		{ "x-amz-meta-mtime: yesterday\r\n", 0 },
		{ "x-amz-meta-mtime: 5\r\nx-amz-meta-recorded-at: 1970-01-01T00:00:06Z\r\n",
		  6000000 },
		{ "", 0 },
	};
	struct step steps[ARRAY_SIZE(times)];
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		steps[i] = (struct step){ "200 OK", times[i].header, "x" };
	PLAY(steps, 5000);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct object_info info;
		ck_assert_int_eq(object_stat(store, "a", &info, NULL), RC_OK);
		ck_assert_int_eq(info.recorded_us, times[i].us);
		ck_assert_uint_eq(info.size, 1);
	}
}
END_TEST

START_TEST(a_wait_that_is_asked_for_is_kept)
{
	static const struct step steps[] = {
		{ "503 Slow", "Retry-After: 1\r\n", ERROR("SlowDown") },
	};
	struct why why = { "" };
	uint64_t before = clock_boot_ms();
	PLAY(steps, 5000);
	ck_assert_int_eq(put("a", &why), RC_OK);
	ck_assert_uint_ge(clock_boot_ms() - before, 1000);
	teardown();

	/* one that is too long is not waited for */
	static const struct step far[] = {
		{ "503 Slow", "Retry-After: 60\r\n", ERROR("SlowDown") },
	};
	before = clock_boot_ms();
	PLAY(far, 3000);
	ck_assert_int_eq(put("a", &why), RC_TEMPORARY);
	ck_assert_uint_lt(clock_boot_ms() - before, 1000);
}
END_TEST

START_TEST(a_clock_is_corrected_once)
{
	static const struct step steps[] = {
		{ "403 No", "Date: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
		  ERROR("RequestTimeTooSkewed") },
	};
	struct why why = { "" };
	PLAY(steps, 3000);
	ck_assert_int_eq(put("a", &why), RC_OK);
	ck_assert_uint_eq(atomic_load(&server.requests), 2);
	ck_assert_msg(!strncmp(seen_time, "21000101T0000", 13), "%s", seen_time);
	ck_assert_int_eq(put("b", &why), RC_OK); /* and remembered */
	ck_assert_uint_eq(atomic_load(&server.requests), 3);
	ck_assert_msg(!strncmp(seen_time, "21000101T0000", 13), "%s", seen_time);
	teardown();

	/* one that says so whatever the time is not asked for ever */
	static const struct step always[] = {
		{ "403 No", "Date: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
		  ERROR("RequestTimeTooSkewed") },
		{ "403 No", "Date: Fri, 01 Jan 2200 00:00:00 GMT\r\n",
		  ERROR("RequestTimeTooSkewed") },
	};
	PLAY(always, 3000);
	ck_assert_int_eq(put("a", &why), RC_DENIED);
	ck_assert_uint_eq(atomic_load(&server.requests), 2);
}
END_TEST

static const struct step regions[] = {
	{ "400 Bad", "",
	  "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-7</Region></Error>" },
	{ "301 Moved", "x-amz-bucket-region: eu-west-7\r\n", ERROR("PermanentRedirect") },
	{ "307 Moved", "x-amz-bucket-region: eu-west-7\r\n", ERROR("TemporaryRedirect") },
};

START_TEST(a_region_that_is_named_is_used_from_then_on)
{
	struct why why = { "" };
	play(&regions[_i], 1, 3000);
	ck_assert_msg(put("a", &why) == RC_OK, "%s", why.text);
	ck_assert_str_eq(seen_region, "eu-west-7");
	ck_assert_int_eq(put("b", &why), RC_OK);
	ck_assert_str_eq(seen_region, "eu-west-7");
	ck_assert_uint_eq(atomic_load(&server.requests), 3);
}
END_TEST

START_TEST(a_server_that_names_region_after_region_is_left)
{
	static const struct step steps[] = {
		{ "301 Moved", "x-amz-bucket-region: a-1\r\n", "" },
		{ "301 Moved", "x-amz-bucket-region: b-1\r\n", "" },
		{ "301 Moved", "x-amz-bucket-region: c-1\r\n", "" },
		{ "301 Moved", "x-amz-bucket-region: d-1\r\n", "" },
	};
	struct why why = { "" };
	PLAY(steps, 3000);
	ck_assert_int_eq(put("a", &why), RC_TEMPORARY);
	ck_assert_uint_eq(atomic_load(&server.requests), 3);
}
END_TEST

/* Of a batch, one key is told to wait: by then the others are long done. */
static atomic_uint done_before;

static bool slow_one(const struct http_server_request *rq)
{
	static atomic_uint asked;
	if (!strstr(rq->path, "/slow")) {
		atomic_fetch_add(&done_before, 1);
		return http_server_answer(rq, "200 OK", "", "");
	}
	if (!atomic_fetch_add(&asked, 1))
		return http_server_answer(rq, "503 Slow", "Retry-After: 1\r\n", ERROR("SlowDown"));
	return http_server_answer(rq, atomic_load(&done_before) == 59 ? "200 OK" : "403 No", "",
				  "");
}

START_TEST(no_item_of_a_batch_waits_for_anothers_turn)
{
	struct object_put items[60];
	char keys[60][16];
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		snprintf(keys[i], sizeof(keys[i]), i ? "k%zu" : "slow", i);
		items[i] = (struct object_put){ .key = keys[i], .buf = "x", .len = 1 };
	}
	open_store(slow_one, 5000);
	ck_assert_int_eq(object_put(store, items, ARRAY_SIZE(items), 0), RC_OK);
	ck_assert_uint_eq(counts().put, 61);
}
END_TEST

/* A server without conditional writes: takes everything, and has what was put. */
static char has[512];

static bool without_conditions(const struct http_server_request *rq)
{
	char needle[2100];
	note(rq);
	snprintf(needle, sizeof(needle), "%s ", rq->path);
	bool there = strstr(has, needle);
	if (!strcmp(rq->method, "HEAD"))
		return http_server_answer(rq, there ? "200 OK" : "404 No", "ETag: \"old\"\r\n", "");
	if (!strcmp(rq->method, "GET"))
		return http_server_answer(rq, "200 OK", "Server: simple\r\n", "<V/>");
	if (!there)
		strncat(has, needle, sizeof(has) - strlen(has) - 1);
	return http_server_answer(rq, "200 OK", "ETag: \"new\"\r\n", "");
}

START_TEST(where_conditions_are_ignored_a_head_goes_first)
{
	struct object_s3_facts facts;
	struct why why = { "" };
	char tag[OBJECT_TAG_MAX];
	open_store(without_conditions, 3000);
	ck_assert_msg(object_s3_learn(store, true, &facts, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(facts.if_none_match, OBJECT_S3_NO);
	ck_assert_int_eq(facts.if_match, OBJECT_S3_NO);
	ck_assert_int_eq(facts.versioning, OBJECT_S3_NO);
	ck_assert_str_eq(facts.server, "simple");
	atomic_store(&seen_heads, 0);
	atomic_store(&seen_puts, 0);

	ck_assert_msg(put("a", &why) == RC_OK, "%s", why.text);
	ck_assert_str_eq(seen_condition, "");
	ck_assert_int_eq(put("a", &why), RC_EXISTS);
	ck_assert_uint_eq(atomic_load(&seen_heads), 2);
	ck_assert_uint_eq(atomic_load(&seen_puts), 1);

	ck_assert_int_eq(object_replace(store, "a", "x", 1, NULL, NULL, &why), RC_CONFLICT);
	ck_assert_int_eq(object_replace(store, "a", "x", 1, "other", NULL, &why), RC_CONFLICT);
	ck_assert_int_eq(object_replace(store, "b", "x", 1, "old", NULL, &why), RC_CONFLICT);
	ck_assert_int_eq(object_replace(store, "a", "x", 1, "old", tag, &why), RC_OK);
	ck_assert_str_eq(tag, "new");
	ck_assert_uint_eq(atomic_load(&seen_puts), 2);
}
END_TEST

START_TEST(a_replacement_names_its_version_and_is_sent_once)
{
	static const struct step steps[] = {
		{ "200 OK", "ETag: \"one\"\r\n", "" },
		{ "412 No", "", ERROR("PreconditionFailed") },
		{ "404 No", "", ERROR("NoSuchKey") },
		{ NULL, NULL, NULL },
	};
	struct why why = { "" };
	char tag[OBJECT_TAG_MAX];
	PLAY(steps, 3000);
	ck_assert_int_eq(object_replace(store, "a", "x", 1, NULL, tag, &why), RC_OK);
	ck_assert_str_eq(tag, "one");
	ck_assert_str_eq(seen_condition, "*");
	ck_assert_int_eq(object_replace(store, "a", "x", 1, tag, tag, &why), RC_CONFLICT);
	ck_assert_str_eq(seen_condition, "\"one\"");
	ck_assert_int_eq(object_replace(store, "a", "x", 1, tag, tag, &why), RC_CONFLICT);
	ck_assert_int_eq(object_replace(store, "a", "x", 1, tag, tag, &why), RC_UNCERTAIN);
	ck_assert_uint_eq(atomic_load(&server.requests), 4);
}
END_TEST

START_TEST(bad_options_are_refused_with_a_reason)
{
	const struct object_s3_options good = {
		.bucket = "bucket",
		.endpoint = "http://127.0.0.1:9",
		.parallel = 1,
		.timeout_ms = 100,
		.cred = { .access = "AKID", .secret = "sesame-sesame" },
	};
	struct object_s3_options bad[12];
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].bucket = NULL;
	bad[1].bucket = "x";
	bad[2].bucket = "../etc";
	bad[3].bucket = "a..b";
	bad[4].endpoint = "127.0.0.1:9000";
	bad[5].endpoint = "ftp://127.0.0.1";
	bad[6].endpoint = "http://key:secret@127.0.0.1";
	bad[7].endpoint = "http://127.0.0.1/path";
	bad[8].endpoint = "http://127.0.0.1:port";
	bad[9].region = "eu west";
	bad[10].prefix = "no-slash";
	bad[11].require_tls = true;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct why why = { "" };
		struct object_store *s = NULL;
		enum rc rc = object_s3_new(&s, &bad[i], &why);
		ck_assert_msg(rc == (i == 11 ? RC_DENIED : RC_INVALID), "%zu: %s", i, why.text);
		ck_assert_str_ne(why.text, "");
		ck_assert_ptr_null(s);
	}
	ck_assert_int_eq(object_s3_new(&store, &good, NULL), RC_OK);
	http_server_start(&server, by_script); /* for teardown */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("s3-request");
	TCase *tc = tcase_create("s3-request");
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_put_is_tried_again_only_where_nothing_happened, 0,
			    ARRAY_SIZE(answers));
	tcase_add_test(tc, a_put_that_is_never_answered_is_uncertain_in_time);
	tcase_add_test(tc, a_put_that_nobody_takes_is_temporary_and_tried_until_its_time_is_over);
	tcase_add_test(tc, a_read_is_tried_again_whatever_happened);
	tcase_add_test(tc, a_read_that_is_swallowed_is_asked_for_again_in_time);
	tcase_add_test(tc, a_page_that_takes_long_is_asked_for_with_fewer_keys);
	tcase_add_test(tc, times_of_other_programs_are_read);
	tcase_add_test(tc, a_wait_that_is_asked_for_is_kept);
	tcase_add_test(tc, a_clock_is_corrected_once);
	tcase_add_loop_test(tc, a_region_that_is_named_is_used_from_then_on, 0,
			    ARRAY_SIZE(regions));
	tcase_add_test(tc, a_server_that_names_region_after_region_is_left);
	tcase_add_test(tc, no_item_of_a_batch_waits_for_anothers_turn);
	tcase_add_test(tc, where_conditions_are_ignored_a_head_goes_first);
	tcase_add_test(tc, a_replacement_names_its_version_and_is_sent_once);
	tcase_add_test(tc, bad_options_are_refused_with_a_reason);
	suite_add_tcase(suite, tc);

	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
