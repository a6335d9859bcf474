/* SPDX-License-Identifier: Apache-2.0 */
/* object-s3-cases.c - what only S3 has, at real servers. */
#include "config.h"
#include "object-backend.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"

START_TEST(the_bucket_is_there_and_learned)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct object_s3_facts facts;
	struct why why = { "" };
	ck_assert_msg(object_s3_reach(s, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(object_s3_make(s, &why), RC_EXISTS);
	ck_assert_ptr_nonnull(strstr(why.text, "is there already"));
	ck_assert_msg(object_s3_learn(s, false, &facts, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(facts.if_none_match, OBJECT_S3_UNKNOWN);
	for (int i = 0; i < 2; i++) { /* the probe is new, then it is there */
		ck_assert_msg(object_s3_learn(s, true, &facts, &why) == RC_OK, "%s", why.text);
		ck_assert_int_eq(facts.if_none_match, OBJECT_S3_YES);
		ck_assert_int_eq(facts.if_match, OBJECT_S3_YES);
	}
	ck_assert_str_ne(facts.server, "");
	ck_assert_int_lt(facts.skew_us, 2000000);
	ck_assert_int_gt(facts.skew_us, -2000000);
}
END_TEST

START_TEST(a_bucket_that_is_missing_is_not_found)
{
	_cleanup_(object_freep) struct object_store *s = NULL;
	struct object_s3_options o = object_backend_s3_options(_i);
	struct told t = { .keys = BUF_INIT };
	struct why why = { "" };
	o.bucket = "evfs-contract-nowhere";
	ck_assert_int_eq(object_s3_new(&s, &o, &why), RC_OK);
	ck_assert_int_eq(object_s3_reach(s, &why), RC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(why.text, "'evfs-contract-nowhere': HTTP 404 NoSuchBucket"));
	/* that says nothing about a key */
	ck_assert_int_eq(get_rc(s, "a"), RC_TEMPORARY);
	ck_assert_int_eq(put_text(s, "a", "x", &why), RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(why.text, "cannot store 'a' in bucket"));
	ck_assert_int_eq(object_list(s, "", NULL, OBJECT_LIST_DEEP, tell, &t, &why), RC_TEMPORARY);
}
END_TEST

START_TEST(a_wrong_secret_is_denied_and_not_told)
{
	_cleanup_(object_freep) struct object_store *s = NULL;
	struct object_s3_options o = object_backend_s3_options(_i);
	struct why why = { "" };
	o.cred.secret = "not-this-one-at-all";
	ck_assert_int_eq(object_s3_new(&s, &o, &why), RC_OK);
	ck_assert_int_eq(put_text(s, "a", "x", &why), RC_DENIED);
	ck_assert_ptr_nonnull(strstr(why.text, "HTTP 403 SignatureDoesNotMatch"));
	ck_assert_ptr_null(strstr(why.text, "not-this-one"));
	ck_assert_int_eq(get_rc(s, "a"), RC_DENIED);
	ck_assert_int_eq(object_stat(s, "a", &(struct object_info){ 0 }, &why), RC_DENIED);
	ck_assert_int_eq(object_s3_reach(s, &why), RC_DENIED);
}
END_TEST

static int64_t late_clock(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ((int64_t)ts.tv_sec - 3 * 3600) * 1000000;
}

START_TEST(a_clock_that_is_hours_off_is_corrected_once_for_all)
{
	clock_set(late_clock);
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct object_counts counts;
	struct why why = { "" };
	ck_assert_msg(put_text(s, "a", "x", &why) == RC_OK, "%s", why.text);
	ck_assert_msg(put_text(s, "b", "x", &why) == RC_OK, "%s", why.text);
	assert_text(s, "a", "x");
	object_counts(s, &counts);
	ck_assert_uint_eq(counts.put, 3);
	ck_assert_uint_eq(counts.get, 1);
	ck_assert_uint_eq(counts.retries, 1);
	clock_set(NULL);
}
END_TEST

START_TEST(both_ways_of_addressing_reach_the_same_objects)
{
	struct object_s3_options o = object_backend_s3_options(_i);
	char endpoint[128];
	const char *port = strrchr(o.endpoint, ':');
	snprintf(endpoint, sizeof(endpoint), "http://localhost%s", port);
	o.endpoint = endpoint; /* BUCKET.localhost is loopback to libcurl */
	enum object_s3_style styles[] = { OBJECT_S3_PATH, OBJECT_S3_VIRTUAL, OBJECT_S3_AUTO };
	for (size_t i = 0; i < ARRAY_SIZE(styles); i++) {
		_cleanup_(object_freep) struct object_store *s = NULL;
		struct why why = { "" };
		o.style = styles[i];
		ck_assert_int_eq(object_s3_new(&s, &o, &why), RC_OK);
		enum rc rc = put_text(s, "a b/\xc3\xa9+~%2f", "x", &why);
		ck_assert_msg(rc == (i ? RC_EXISTS : RC_OK), "%s", why.text);
		assert_text(s, "a b/\xc3\xa9+~%2f", "x");
		assert_list(s, "a b/", NULL, OBJECT_LIST_DEEP, "a b/\xc3\xa9+~%2f ");
	}
}
END_TEST

/* Keys that would be something else if they were not escaped, in a path and in a query. */
START_TEST(keys_of_any_printable_bytes_are_kept)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	const char *keys[] = { "p/!\"#$%&'()*+,-.", "p/:;<=>?@[]^_`{|}~",	 "p/%", "p/%2F",
			       "p/a+b c",	    "p/\xe6\x97\xa5\xe6\x9c\xac" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct why why = { "" };
		ck_assert_msg(put_text(s, keys[i], keys[i], &why) == RC_OK, "%s", why.text);
		assert_text(s, keys[i], keys[i]);
	}
	struct told t = { .keys = BUF_INIT };
	ck_assert_int_eq(object_list(s, "p/", NULL, OBJECT_LIST_DEEP, tell, &t, NULL), RC_OK);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		ck_assert_msg(strstr(buf_text(&t.keys), keys[i]), "'%s' is not in '%s'", keys[i],
			      buf_text(&t.keys));
	buf_release(&t.keys);
}
END_TEST

START_TEST(requests_are_counted_by_kind)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct object_counts c;
	struct object_info info;
	ck_assert_int_eq(put_text(s, "a", "12345", NULL), RC_OK);
	object_counts(s, &c);
	ck_assert_uint_eq(c.put, 1);
	ck_assert_uint_eq(c.get + c.head + c.list + c.other + c.retries + c.failed, 0);
	ck_assert_uint_eq(c.sent, 5);
	assert_text(s, "a", "12345");
	ck_assert_int_eq(object_stat(s, "a", &info, NULL), RC_OK);
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "a ");
	object_counts(s, &c);
	ck_assert_uint_eq(c.put, 1);
	ck_assert_uint_eq(c.get, 1);
	ck_assert_uint_eq(c.head, 1);
	ck_assert_uint_eq(c.list, 1);
	ck_assert_uint_gt(c.received, 5);
	ck_assert_uint_eq(c.other + c.retries + c.failed, 0);
}
END_TEST

START_TEST(a_long_listing_comes_in_pages)
{
	enum { N = 2100 };
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	_cleanup_(freep) struct object_put *items = calloc(N, sizeof(*items));
	static char keys[N][32];
	struct object_counts before, after;
	size_t n = 0;
	for (size_t i = 0; i < N; i++) {
		snprintf(keys[i], sizeof(keys[i]), "many/%06zu", i);
		items[i] = (struct object_put){ .key = keys[i], .buf = "x", .len = 1 };
	}
	ck_assert_int_eq(object_put(s, items, N, 0), RC_OK);
	object_counts(s, &before);
	ck_assert_int_eq(object_list(s, "many/", NULL, OBJECT_LIST_DEEP, count_bytes, &n, NULL),
			 RC_OK);
	object_counts(s, &after);
	ck_assert_uint_eq(n, N);
	ck_assert_uint_eq(after.list - before.list, 3);
	n = 0;
	ck_assert_int_eq(object_list(s, "many/", "many/001999", OBJECT_LIST_DEEP, count_bytes, &n,
				     NULL),
			 RC_OK);
	ck_assert_uint_eq(n, 100);
}
END_TEST

static bool read_it(void *arg, const struct object_info *info)
{
	assert_text(arg, info->key, "x");
	return true;
}

START_TEST(a_listing_may_use_the_store)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "b", "x", NULL), RC_OK);
	ck_assert_int_eq(object_list(s, "", NULL, OBJECT_LIST_DEEP, read_it, s, NULL), RC_OK);
}
END_TEST

START_TEST(times_that_copies_keep_are_read)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct object_put it = {
		.key = "a", .buf = "x", .len = 1, .recorded_us = -INT64_C(1500000)
	};
	struct object_info info;
	ck_assert_int_eq(object_put(s, &it, 1, 0), RC_OK);
	ck_assert_int_eq(object_stat(s, "a", &info, NULL), RC_OK);
	ck_assert_int_eq(info.recorded_us, -1500000);
	ck_assert_int_eq(put_text(s, "b", "x", NULL), RC_OK);
	ck_assert_int_eq(object_stat(s, "b", &info, NULL), RC_OK);
	ck_assert_int_eq(info.recorded_us, 0);
}
END_TEST

/* What object_s3_reach says of a server by TLS, whose keys begin with that name. */
static enum rc reach(const char *endpoint, const char *keys, const char *ca_file, bool no_verify,
		     struct why *why)
{
	char access[64], secret[64], bucket[64];
	snprintf(access, sizeof(access), "%s_ACCESS_KEY", keys);
	snprintf(secret, sizeof(secret), "%s_SECRET_KEY", keys);
	snprintf(bucket, sizeof(bucket), "%s_BUCKET", keys);
	struct object_s3_options o = {
		.endpoint = getenv(endpoint),
		.bucket = getenv(bucket),
		.ca_file = ca_file,
		.no_verify = no_verify,
		.require_tls = true,
		.parallel = 2,
		.timeout_ms = 20000,
		.cred = { .access = getenv(access), .secret = getenv(secret) },
	};
	_cleanup_(object_freep) struct object_store *s = NULL;
	ck_assert_msg(object_s3_new(&s, &o, why) == RC_OK, "%s", why->text);
	enum rc rc = object_s3_reach(s, why);
	struct object_counts counts;
	object_counts(s, &counts);
	if (rc == RC_TEMPORARY)
		ck_assert_uint_eq(counts.other, 0); /* nothing was sent */
	return rc;
}

START_TEST(a_server_is_known_by_its_certificate)
{
	const char *ca = getenv("EVFS_S3_TLS_CA");
	const char *good = "EVFS_S3_TLS_ENDPOINT", *elsewhere = "EVFS_S3_2_WRONG_HOST_ENDPOINT",
		   *expired = "EVFS_S3_2_EXPIRED_ENDPOINT";
	struct why why = { "" };
	uint64_t before = clock_boot_ms();
	ck_assert_msg(reach(good, "EVFS_S3_TLS", ca, false, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(reach(good, "EVFS_S3_TLS", NULL, false, &why), RC_TEMPORARY);
	ck_assert_msg(strcasestr(why.text, "certificate"), "%s", why.text);
	ck_assert_int_eq(reach(elsewhere, "EVFS_S3_2", ca, false, &why), RC_TEMPORARY);
	ck_assert_msg(strcasestr(why.text, "SSL"), "%s", why.text);
	ck_assert_int_eq(reach(expired, "EVFS_S3_2", ca, false, &why), RC_TEMPORARY);
	ck_assert_msg(strcasestr(why.text, "expired"), "%s", why.text);
	ck_assert_int_eq(reach(good, "EVFS_S3_TLS", "/nowhere.pem", false, &why), RC_TEMPORARY);
	ck_assert_int_eq(reach(elsewhere, "EVFS_S3_2", ca, true, &why), RC_OK);
	ck_assert_uint_lt(clock_boot_ms() - before, 15000); /* refused at once */
}
END_TEST

#ifdef ENABLE_FAILPOINTS
START_TEST(a_killed_put_leaves_whole_objects)
{
	fflush(NULL);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		setenv("EVFS_FAILPOINT", "object-put-after:20", 1);
		keep_putting(object_backend_open(_i));
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	size_t n = 0;
	ck_assert_int_eq(object_list(s, "t/", NULL, OBJECT_LIST_DEEP, count_bytes, &n, NULL),
			 RC_OK);
	ck_assert_uint_ge(n, 20);
	ck_assert_uint_le(n, 64);
}
END_TEST
#endif

void object_s3_cases_add(TCase *tc, int n)
{
	const TTest *const tests[] = {
		the_bucket_is_there_and_learned,
		a_bucket_that_is_missing_is_not_found,
		a_wrong_secret_is_denied_and_not_told,
		a_clock_that_is_hours_off_is_corrected_once_for_all,
		both_ways_of_addressing_reach_the_same_objects,
		keys_of_any_printable_bytes_are_kept,
		requests_are_counted_by_kind,
		a_long_listing_comes_in_pages,
		a_listing_may_use_the_store,
		times_that_copies_keep_are_read,
	};
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i], BACKEND_S3, n);
	if (getenv("EVFS_S3_TLS_ENDPOINT") && getenv("EVFS_S3_2_EXPIRED_ENDPOINT"))
		tcase_add_test(tc, a_server_is_known_by_its_certificate);
	else
		fprintf(stderr, "not run: a_server_is_known_by_its_certificate (no "
				"EVFS_S3_TLS_ENDPOINT, or no EVFS_S3_2_EXPIRED_ENDPOINT)\n");
#ifdef ENABLE_FAILPOINTS
	tcase_add_loop_test(tc, a_killed_put_leaves_whole_objects, BACKEND_S3, n);
#endif
}
