/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "object/s3-sign.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

static char s3_access[] = "AKIAIOSFODNN7EXAMPLE";
static char s3_secret[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
static const struct s3_key s3_example = { s3_access, s3_secret, NULL, 1 };
static char suite_access[] = "AKIDEXAMPLE";
static char suite_secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
static const struct s3_key suite_key = { suite_access, suite_secret, NULL, 1 };

#define MAY_2013 (INT64_C(1369353600) * 1000000)
#define AUGUST_2015 (INT64_C(1440938160) * 1000000)

static char *signed_headers(const struct s3_sign *s)
{
	struct buf out = BUF_INIT;
	struct why why = { "" };
	enum rc rc = s3_sign(s, &out, &why);
	ck_assert_msg(rc == RC_OK, "%s", why.text);
	return buf_take(&out, NULL);
}

/* The value of a header line, malloc'd. */
static char *value_of(const char *headers, const char *name)
{
	char at_start[64];
	snprintf(at_start, sizeof(at_start), "%s: ", name);
	const char *at = headers;
	while (at && strncmp(at, at_start, strlen(at_start))) {
		at = strchr(at, '\n');
		at = at && at[1] ? at + 1 : NULL;
	}
	ck_assert_msg(at != NULL, "no %s in\n%s", name, headers);
	at += strlen(at_start);
	return strndup(at, strcspn(at, "\n"));
}

static void expect(const struct s3_sign *s, const char *signed_names, const char *signature)
{
	_cleanup_(freep) char *headers = signed_headers(s);
	_cleanup_(freep) char *auth = value_of(headers, "authorization");
	char want[512];
	snprintf(want, sizeof(want), "SignedHeaders=%s, Signature=%s", signed_names, signature);
	const char *tail = strchr(auth, ',');
	ck_assert_ptr_nonnull(tail);
	ck_assert_str_eq(tail + 2, want);
}

/* The four examples of the S3 API Reference, "Authenticating Requests: Using the Authorization
 * Header". */
START_TEST(the_examples_of_the_api_reference_come_out)
{
	struct s3_sign s = {
		.method = "GET",
		.host = "examplebucket.s3.amazonaws.com",
		.path = "/test.txt",
		.query = "",
		.headers = (const char *const[]){ "range:bytes=0-9" },
		.n_headers = 1,
		.region = "us-east-1",
		.service = "s3",
		.now_us = MAY_2013,
		.key = &s3_example,
	};
	expect(&s, "host;range;x-amz-content-sha256;x-amz-date",
	       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

	struct buf path = BUF_INIT;
	s3_sign_path("/test$file.text", &path);
	ck_assert_str_eq(buf_text(&path), "/test%24file.text");
	struct s3_sign put = s;
	put.method = "PUT";
	put.path = buf_text(&path);
	put.headers = (const char *const[]){ "date:Fri, 24 May 2013 00:00:00 GMT",
					     "x-amz-storage-class:REDUCED_REDUNDANCY" };
	put.n_headers = 2;
	put.body = "Welcome to Amazon S3.";
	put.body_len = strlen(put.body);
	expect(&put, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	       "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	buf_release(&path);

	s.path = "/";
	s.n_headers = 0;
	struct buf query = BUF_INIT;
	s3_sign_query_add(&query, "lifecycle", NULL);
	s.query = buf_text(&query);
	expect(&s, "host;x-amz-content-sha256;x-amz-date",
	       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");

	buf_reset(&query);
	s3_sign_query_add(&query, "prefix", "J");
	s3_sign_query_add(&query, "max-keys", "2");
	s.query = buf_text(&query);
	expect(&s, "host;x-amz-content-sha256;x-amz-date",
	       "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
	buf_release(&query);
}
END_TEST

/* Of the published "aws4" suite, those that S3's own rules for paths leave alone. */
START_TEST(the_published_suite_comes_out)
{
	static const struct {
		const char *method, *names[2], *values[2], *header, *signed_names, *signature;
	} suite[] = {
		{ "GET",
		  { NULL, NULL },
		  { NULL, NULL },
		  NULL,
		  "host;x-amz-date",
		  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
		{ "POST",
		  { NULL, NULL },
		  { NULL, NULL },
		  NULL,
		  "host;x-amz-date",
		  "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
		{ "GET",
		  { "Param2", "Param1" },
		  { "value2", "value1" },
		  NULL,
		  "host;x-amz-date",
		  "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
		{ "POST",
		  { NULL, NULL },
		  { NULL, NULL },
		  "my-header1:VALUE1",
		  "host;my-header1;x-amz-date",
		  "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
		{ "GET",
		  { NULL, NULL },
		  { NULL, NULL },
		  "my-header1:value2,value2,value1",
		  "host;my-header1;x-amz-date",
		  "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
		{ "GET",
		  { NULL, NULL },
		  { NULL, NULL },
		  "my-header1:value1,value2,value3",
		  "host;my-header1;x-amz-date",
		  "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(suite); i++) {
		struct buf query = BUF_INIT;
		for (size_t j = 0; j < 2 && suite[i].names[j]; j++)
			s3_sign_query_add(&query, suite[i].names[j], suite[i].values[j]);
		struct s3_sign s = {
			.method = suite[i].method,
			.host = "example.amazonaws.com",
			.path = "/",
			.query = buf_text(&query),
			.headers = &suite[i].header,
			.n_headers = suite[i].header ? 1 : 0,
			.region = "us-east-1",
			.service = "service",
			.now_us = AUGUST_2015,
			.key = &suite_key,
		};
		expect(&s, suite[i].signed_names, suite[i].signature);
		buf_release(&query);
	}
}
END_TEST

START_TEST(blanks_in_a_header_do_not_count)
{
	struct s3_sign s = {
		.method = "GET",
		.host = "example.amazonaws.com",
		.path = "/",
		.query = "",
		.n_headers = 1,
		.region = "us-east-1",
		.service = "s3",
		.now_us = AUGUST_2015,
		.key = &suite_key,
	};
	static const char *const plain[] = { "x-amz-meta-a:a b c" };
	static const char *const wide[] = { "x-amz-meta-a:  a   b \t c  " };
	static const char *const other[] = { "x-amz-meta-a:ab c" };
	s.headers = plain;
	_cleanup_(freep) char *a = signed_headers(&s);
	s.headers = wide;
	_cleanup_(freep) char *b = signed_headers(&s);
	s.headers = other;
	_cleanup_(freep) char *c = signed_headers(&s);
	ck_assert_str_eq(a, b);
	ck_assert_str_ne(a, c);
}
END_TEST

START_TEST(a_session_token_is_sent_and_signed)
{
	char token[] = "AQoDYXdzEPT//////////wEXAMPLE==";
	struct s3_key key = { s3_access, s3_secret, token, 2 };
	struct s3_sign s = {
		.method = "PUT",
		.host = "127.0.0.1:9000",
		.path = "/b/k",
		.query = "",
		.headers = (const char *const[]){ "if-none-match:*", "x-amz-meta-recorded-at:1" },
		.n_headers = 2,
		.body = "x",
		.body_len = 1,
		.region = "eu-west-3",
		.service = "s3",
		.now_us = MAY_2013 + 86399 * INT64_C(1000000) + 999999,
		.key = &key,
	};
	_cleanup_(freep) char *headers = signed_headers(&s);
	_cleanup_(freep) char *sent = value_of(headers, "x-amz-security-token");
	ck_assert_str_eq(sent, token);
	_cleanup_(freep) char *date = value_of(headers, "x-amz-date");
	ck_assert_str_eq(date, "20130524T235959Z");
	_cleanup_(freep) char *hash = value_of(headers, "x-amz-content-sha256");
	ck_assert_str_eq(hash, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
	_cleanup_(freep) char *auth = value_of(headers, "authorization");
	ck_assert_ptr_nonnull(strstr(auth, " Credential=AKIAIOSFODNN7EXAMPLE/20130524/eu-west-3/s3/"
					   "aws4_request, SignedHeaders=host;if-none-match;"
					   "x-amz-content-sha256;x-amz-date;"
					   "x-amz-meta-recorded-at;x-amz-security-token, "));
	ck_assert_ptr_null(strstr(headers, s3_secret));
}
END_TEST

START_TEST(each_thing_that_is_signed_changes_the_signature)
{
	const struct s3_sign base = {
		.method = "GET",
		.host = "h",
		.path = "/p",
		.query = "a=",
		.body = "b",
		.body_len = 1,
		.region = "r",
		.service = "s3",
		.now_us = MAY_2013,
		.key = &s3_example,
	};
	struct s3_key other_key = { s3_access, suite_secret, NULL, 1 };
	struct s3_sign each[10];
	for (size_t i = 0; i < ARRAY_SIZE(each); i++)
		each[i] = base;
	each[1].method = "PUT";
	each[2].host = "g";
	each[3].path = "/q";
	each[4].query = "b=";
	each[5].body = "c";
	each[6].region = "q";
	each[7].service = "sts";
	each[8].now_us += 1000000;
	each[9].key = &other_key;
	char *got[ARRAY_SIZE(each)];
	for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
		_cleanup_(freep) char *headers = signed_headers(&each[i]);
		const char *at = strstr(headers, "Signature=");
		ck_assert_ptr_nonnull(at);
		got[i] = strdup(at);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(got[i], got[j]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(each); i++)
		free(got[i]);
}
END_TEST

START_TEST(odd_keys_are_encoded_as_s3_wants_them)
{
	static const struct {
		const char *key, *sent;
	} odd[] = {
		{ "/b/a b", "/b/a%20b" },
		{ "/b/a+b", "/b/a%2Bb" },
		{ "/b/100%", "/b/100%25" },
		{ "/b/%2F", "/b/%252F" },
		{ "/b/~-_.", "/b/~-_." },
		{ "/b/*", "/b/%2A" },
		{ "/b/a=b&c?d#e", "/b/a%3Db%26c%3Fd%23e" },
		{ "/b/h\xc3\xa9llo", "/b/h%C3%A9llo" },
		{ "/b/\xf0\x9f\x98\x80", "/b/%F0%9F%98%80" },
		{ "/b/a:b@c!'()[]", "/b/a%3Ab%40c%21%27%28%29%5B%5D" },
		{ "/b/\x01\x7f\xff", "/b/%01%7F%FF" },
		{ "/b//x/./../y", "/b//x/./../y" },
		{ "", "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		struct buf out = BUF_INIT;
		s3_sign_path(odd[i].key, &out);
		ck_assert_str_eq(buf_text(&out), odd[i].sent);
		buf_release(&out);
	}
}
END_TEST

START_TEST(a_query_is_sorted_by_its_names_whatever_comes_first)
{
	static const char *const pairs[][2] = {
		{ "prefix", "a/b c" },
		{ "list-type", "2" },
		{ "start-after", "x~y" },
		{ "list", "" },
		{ "continuation-token", "1/+=&" },
		{ "encoding-type", "url" },
		{ "delimiter", "/" },
		{ "max-keys", "1000" },
	};
	static const char want[] =
		"continuation-token=1%2F%2B%3D%26&delimiter=%2F&encoding-type=url&list=&"
		"list-type=2&max-keys=1000&prefix=a%2Fb%20c&start-after=x~y";
	/* each rotation, so that each is put at each place */
	for (size_t first = 0; first < ARRAY_SIZE(pairs); first++) {
		struct buf q = BUF_INIT;
		for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
			const char *const *pair = pairs[(first + i) % ARRAY_SIZE(pairs)];
			s3_sign_query_add(&q, pair[0], pair[1]);
		}
		ck_assert_str_eq(buf_text(&q), want);
		ck_assert_uint_eq(q.len, strlen(want));
		buf_release(&q);
	}
}
END_TEST

START_TEST(a_signature_costs_little)
{
	char body[600];
	memset(body, 'x', sizeof(body));
	struct s3_sign s = {
		.method = "PUT",
		.host = "127.0.0.1:9000",
		.path = "/bucket/native/events/Order/o-42/00000000000000000001.json",
		.query = "",
		.headers = (const char *const[]){ "content-type:application/json",
						  "if-none-match:*", "x-amz-meta-recorded-at:1" },
		.n_headers = 3,
		.body = body,
		.body_len = sizeof(body),
		.region = "us-east-1",
		.service = "s3",
		.now_us = MAY_2013,
		.key = &s3_example,
	};
	enum { ROUNDS = 2000 };
	struct buf out = BUF_INIT;
	struct timespec from, to;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (int i = 0; i < ROUNDS; i++) {
		buf_reset(&out);
		ck_assert_int_eq(s3_sign(&s, &out, NULL), RC_OK);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	buf_release(&out);
	double us =
		((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
		1e3 / ROUNDS;
	printf("# %.1f us a signature\n", us);
	ck_assert_msg(us < 200, "%.1f us a signature", us); /* also under a sanitizer */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("s3-sign");
	TCase *tc = tcase_create("s3-sign");
	tcase_add_test(tc, the_examples_of_the_api_reference_come_out);
	tcase_add_test(tc, the_published_suite_comes_out);
	tcase_add_test(tc, blanks_in_a_header_do_not_count);
	tcase_add_test(tc, a_session_token_is_sent_and_signed);
	tcase_add_test(tc, each_thing_that_is_signed_changes_the_signature);
	tcase_add_test(tc, odd_keys_are_encoded_as_s3_wants_them);
	tcase_add_test(tc, a_query_is_sorted_by_its_names_whatever_comes_first);
	tcase_add_test(tc, a_signature_costs_little);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
