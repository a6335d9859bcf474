/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "object/s3-error.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define RETRY 1
#define REFRESH 2
#define SKEW 4
#define REDIRECT 8

static void judged(enum s3_what what, int status, const char *code, enum rc rc, int flags)
{
	struct s3_verdict v;
	s3_error_judge(what, status, code, &v);
	int got = (v.retry ? RETRY : 0) | (v.refresh ? REFRESH : 0) | (v.skew ? SKEW : 0) |
		  (v.redirect ? REDIRECT : 0);
	ck_assert_msg(v.rc == rc && got == flags,
		      "%d %s asked as %d: %s with %d, wanted %s with %d", status, code, (int)what,
		      rc_name(v.rc), got, rc_name(rc), flags);
}

START_TEST(codes_mean_what_the_reference_says)
{
	static const struct {
		int status;
		const char *code;
		enum rc read, put;
		int flags;
	} rows[] = {
		{ 404, "NoSuchKey", RC_NOT_FOUND, RC_TEMPORARY, 0 },
		{ 404, "NoSuchBucket", RC_TEMPORARY, RC_TEMPORARY, 0 },
		{ 403, "AccessDenied", RC_DENIED, RC_DENIED, 0 },
		{ 403, "InvalidAccessKeyId", RC_DENIED, RC_DENIED, REFRESH },
		{ 403, "SignatureDoesNotMatch", RC_DENIED, RC_DENIED, REFRESH },
		{ 400, "ExpiredToken", RC_DENIED, RC_DENIED, REFRESH },
		{ 403, "ExpiredToken", RC_DENIED, RC_DENIED, REFRESH },
		{ 400, "TokenRefreshRequired", RC_DENIED, RC_DENIED, REFRESH },
		{ 403, "InvalidTokenId", RC_DENIED, RC_DENIED, REFRESH },
		{ 403, "RequestTimeTooSkewed", RC_DENIED, RC_DENIED, SKEW },
		{ 503, "SlowDown", RC_TEMPORARY, RC_TEMPORARY, RETRY },
		{ 503, "ServiceUnavailable", RC_TEMPORARY, RC_TEMPORARY, RETRY },
		{ 429, "TooManyRequests", RC_TEMPORARY, RC_TEMPORARY, RETRY },
		{ 400, "RequestTimeout", RC_TEMPORARY, RC_TEMPORARY, RETRY },
		{ 400, "BadDigest", RC_TEMPORARY, RC_TEMPORARY, RETRY },
		{ 412, "PreconditionFailed", RC_TEMPORARY, RC_EXISTS, 0 },
		{ 409, "ConditionalRequestConflict", RC_TEMPORARY, RC_TEMPORARY, RETRY },
		{ 409, "OperationAborted", RC_TEMPORARY, RC_TEMPORARY, RETRY },
		{ 301, "PermanentRedirect", RC_TEMPORARY, RC_TEMPORARY, REDIRECT },
		{ 307, "TemporaryRedirect", RC_TEMPORARY, RC_TEMPORARY, RETRY | REDIRECT },
		{ 400, "AuthorizationHeaderMalformed", RC_TEMPORARY, RC_TEMPORARY, REDIRECT },
		{ 400, "EntityTooLarge", RC_TOO_LARGE, RC_TOO_LARGE, 0 },
		{ 413, "?", RC_TOO_LARGE, RC_TOO_LARGE, 0 },
		{ 400, "KeyTooLongError", RC_INVALID, RC_INVALID, 0 },
		{ 507, "XMinioStorageFull", RC_NO_SPACE, RC_NO_SPACE, 0 },
		{ 403, "QuotaExceeded", RC_NO_SPACE, RC_NO_SPACE, 0 },
		{ 501, "NotImplemented", RC_INVALID, RC_INVALID, 0 },
		{ 409, "ObjectParentIsFile", RC_INVALID, RC_INVALID, 0 },
		{ 400, "SomethingNew", RC_INVALID, RC_INVALID, 0 },
		{ 403, "SomethingNew", RC_DENIED, RC_DENIED, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		judged(S3_READ, rows[i].status, rows[i].code, rows[i].read, rows[i].flags);
		judged(S3_PUT, rows[i].status, rows[i].code, rows[i].put, rows[i].flags);
	}
}
END_TEST

START_TEST(what_may_have_happened_is_uncertain_for_a_write_and_tried_again_for_a_read)
{
	static const struct {
		int status;
		const char *code;
	} rows[] = {
		{ 500, "InternalError" },
		{ 500, "?" },
		{ 500, "" },
		{ 502, "?" },
		{ 504, "" },
		{ 503, "?" }, /* not S3's own word: some proxy's */
		{ 503, "SlowDownWrite" },
		{ 503, "RequestTimeout" },
		{ 499, "ClientDisconnected" },
		{ 599, "" },
		{ 0, "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		judged(S3_READ, rows[i].status, rows[i].code, RC_TEMPORARY, RETRY);
		judged(S3_BUCKET, rows[i].status, rows[i].code, RC_TEMPORARY, RETRY);
		judged(S3_PUT, rows[i].status, rows[i].code, RC_UNCERTAIN, 0);
		judged(S3_REPLACE, rows[i].status, rows[i].code, RC_UNCERTAIN, 0);
	}
}
END_TEST

START_TEST(a_refusal_inside_of_status_200_is_never_a_success)
{
	judged(S3_PUT, 200, "InternalError", RC_UNCERTAIN, 0);
	judged(S3_PUT, 200, "SlowDown", RC_UNCERTAIN, 0);
	judged(S3_PUT, 200, "AccessDenied", RC_UNCERTAIN, 0);
	judged(S3_REPLACE, 200, "PreconditionFailed", RC_UNCERTAIN, 0);
	judged(S3_PUT, 200, "?", RC_UNCERTAIN, 0);
	judged(S3_READ, 200, "InternalError", RC_TEMPORARY, RETRY);
	judged(S3_READ, 200, "AccessDenied", RC_DENIED, 0);
	judged(S3_READ, 200, "?", RC_TEMPORARY, RETRY);
}
END_TEST

START_TEST(without_a_body_the_status_alone_is_judged)
{
	judged(S3_READ, 404, "", RC_NOT_FOUND, 0);
	judged(S3_READ, 403, "", RC_DENIED, REFRESH | SKEW);
	judged(S3_READ, 400, "", RC_DENIED, REFRESH | REDIRECT);
	judged(S3_READ, 301, "", RC_TEMPORARY, REDIRECT);
	judged(S3_READ, 307, "", RC_TEMPORARY, RETRY | REDIRECT);
	judged(S3_READ, 412, "", RC_TEMPORARY, 0);
	judged(S3_READ, 503, "", RC_TEMPORARY, RETRY);
	judged(S3_PUT, 412, "", RC_EXISTS, 0);
}
END_TEST

/* Somebody's page "404 not found" must not look like a free key. */
START_TEST(a_404_that_is_not_of_s3_proves_nothing)
{
	judged(S3_READ, 404, "?", RC_TEMPORARY, 0);
	judged(S3_READ, 404, "MissingSecurityHeader", RC_TEMPORARY, 0);
	judged(S3_READ, 404, "NoSuchVersion", RC_NOT_FOUND, 0);
}
END_TEST

START_TEST(buckets_and_replacements_have_answers_of_their_own)
{
	judged(S3_BUCKET, 404, "NoSuchBucket", RC_NOT_FOUND, 0);
	judged(S3_BUCKET, 404, "", RC_NOT_FOUND, 0);
	judged(S3_BUCKET, 409, "BucketAlreadyOwnedByYou", RC_EXISTS, 0);
	judged(S3_BUCKET, 409, "BucketAlreadyExists", RC_EXISTS, 0);
	judged(S3_BUCKET, 301, "", RC_INVALID, REDIRECT);
	judged(S3_BUCKET, 400, "AuthorizationHeaderMalformed", RC_INVALID, REDIRECT);
	judged(S3_REPLACE, 412, "PreconditionFailed", RC_CONFLICT, 0);
	judged(S3_REPLACE, 404, "NoSuchKey", RC_CONFLICT, 0);
	judged(S3_REPLACE, 409, "ConditionalRequestConflict", RC_TEMPORARY, RETRY);
}
END_TEST

static bool parsed(const char *body, struct s3_error *e)
{
	memset(e, 'x', sizeof(*e));
	return s3_error_parse(body, strlen(body), e);
}

START_TEST(an_error_document_is_read)
{
	struct s3_error e;
	ck_assert(parsed(
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is "
		"wrong;\n expecting &apos;eu-west-1&apos;</Message><Region>eu-west-1</Region>"
		"<RequestId>4442587FB7D0A2F9</RequestId><HostId>x</HostId></Error>",
		&e));
	ck_assert_str_eq(e.code, "AuthorizationHeaderMalformed");
	ck_assert_str_eq(e.message, "the region 'us-east-1' is wrong;  expecting 'eu-west-1'");
	ck_assert_str_eq(e.region, "eu-west-1");
	ck_assert_str_eq(e.request_id, "4442587FB7D0A2F9");

	ck_assert(parsed("<Error xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Code>NoSuchKey"
			 "</Code><Details><Code>Other</Code></Details></Error>",
			 &e));
	ck_assert_str_eq(e.code, "NoSuchKey");
	ck_assert_str_eq(e.message, "");

	ck_assert(
		parsed("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>"
		       "<Type>Sender</Type><Code>ExpiredTokenException</Code><Message>m</Message>"
		       "</Error><RequestId>c6104cbe</RequestId></ErrorResponse>",
		       &e));
	ck_assert_str_eq(e.code, "ExpiredTokenException");
	ck_assert_str_eq(e.request_id, "c6104cbe");
}
END_TEST

START_TEST(other_bodies_are_none)
{
	static const char *const other[] = {
		"",
		" \n",
		"not found",
		"{\"Code\":\"NoSuchKey\"}",
		"<html><Error><Code>NoSuchKey</Code></Error></html>",
		"<Error></Error>",
		"<Error><Code></Code></Error>",
		"<Error><Message>m</Message></Error>",
		"<Error><Code>NoSuchKey</Code>", /* cut off */
		"<Error><Code>NoSuchKey</Code></Error>x",
		"<!DOCTYPE Error><Error><Code>NoSuchKey</Code></Error>",
		"<!DOCTYPE Error [<!ENTITY a \"NoSuchKey\">]><Error><Code>&a;</Code></Error>",
		"<Error><Code>&nbsp;</Code></Error>",
		"<ListBucketResult><Code>NoSuchKey</Code></ListBucketResult>",
		"<Error><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a><Code>x</Code></Error>",
	};
	struct s3_error e;
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		ck_assert_msg(!parsed(other[i], &e), "%s", other[i]);
}
END_TEST

START_TEST(long_texts_are_cut_between_characters_and_lines_are_joined)
{
	struct buf b = BUF_INIT;
	buf_add_text(&b, "<Error><Code>");
	for (int i = 0; i < 100; i++)
		buf_add_char(&b, 'C');
	buf_add_text(&b, "</Code><Message>a");
	for (int i = 0; i < 100; i++)
		buf_add_text(&b, "\xe2\x82\xac");
	buf_add_text(&b, "</Message><RequestId>a\r\nInjected: b\tc</RequestId></Error>");
	struct s3_error e;
	ck_assert(s3_error_parse(b.data, b.len, &e));
	ck_assert_uint_eq(strlen(e.code), sizeof(e.code) - 1);
	ck_assert_uint_eq(strlen(e.message), 1 + (sizeof(e.message) - 2) / 3 * 3);
	ck_assert_str_eq(e.request_id, "a Injected: b c");

	while (b.len < S3_ERROR_BODY_MAX)
		buf_add_char(&b, ' ');
	ck_assert(s3_error_parse(b.data, b.len, &e));
	buf_add_char(&b, ' ');
	ck_assert(!s3_error_parse(b.data, b.len, &e));
	buf_release(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("s3-error");
	TCase *tc = tcase_create("s3-error");
	tcase_add_test(tc, codes_mean_what_the_reference_says);
	tcase_add_test(tc,
		       what_may_have_happened_is_uncertain_for_a_write_and_tried_again_for_a_read);
	tcase_add_test(tc, a_refusal_inside_of_status_200_is_never_a_success);
	tcase_add_test(tc, without_a_body_the_status_alone_is_judged);
	tcase_add_test(tc, a_404_that_is_not_of_s3_proves_nothing);
	tcase_add_test(tc, buckets_and_replacements_have_answers_of_their_own);
	tcase_add_test(tc, an_error_document_is_read);
	tcase_add_test(tc, other_bodies_are_none);
	tcase_add_test(tc, long_texts_are_cut_between_characters_and_lines_are_joined);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
