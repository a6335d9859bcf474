/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the S3 backend makes of a server that misbehaves (s3_script.py): each case ends with the
 * right result within its time-out, none hangs, none is a success that it is not.
 */
#include "config.h"
#include "object/object-s3.h"

#include <check.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define TIMEOUT_MS 1000
#define GRACE_MS 5000

enum op { GET, STAT, PUT, PUT_BIG, PUT_TAKEN, LIST, LIST_AFTER, LIST_SHALLOW, REPLACE, REACH };

/* The results that are right, as bits. */
#define R(rc) (1u << -(rc))
#define OK R(RC_OK)
#define TEMPORARY R(RC_TEMPORARY)
#define UNCERTAIN R(RC_UNCERTAIN)
#define DENIED R(RC_DENIED)
#define CORRUPT R(RC_CORRUPT)

static const struct {
	const char *bucket; /* the fault: see s3_script.py */
	enum op op;
	unsigned want;
	const char *says; /* in the reason, or the keys that were listed */
	unsigned most; /* requests, 0: any number */
} cases[] = {
	/* without a fault: the cases below can fail */
	{ "none", GET, OK, "", 1 },
	{ "none", STAT, OK, "", 1 },
	{ "none", PUT, OK, "", 1 },
	{ "none", PUT_BIG, OK, "", 1 },
	{ "none", PUT_TAKEN, R(RC_EXISTS), "taken", 1 },
	{ "none", LIST, OK, "a dir/b dir/c z", 1 },
	{ "none", LIST_AFTER, OK, "dir/c z", 1 },
	{ "none", LIST_SHALLOW, OK, "a dir/ z", 1 },
	{ "none", REPLACE, OK, "", 1 },
	{ "none", REACH, OK, "", 2 },

	{ "500", GET, TEMPORARY, "HTTP 500 InternalError", 0 },
	{ "500", STAT, TEMPORARY, "HTTP 500", 0 },
	{ "500", LIST, TEMPORARY, "InternalError", 0 },
	{ "500", PUT, UNCERTAIN, "HTTP 500 InternalError", 1 },
	{ "500", REPLACE, UNCERTAIN, "InternalError", 1 },
	{ "500-once", GET, OK, "", 2 },
	{ "500-once", LIST, OK, "a dir/b dir/c z", 2 },
	{ "500-empty", GET, TEMPORARY, "HTTP 500", 0 },
	{ "500-empty", PUT, UNCERTAIN, "HTTP 500", 1 },
	{ "502-html", GET, TEMPORARY, "HTTP 502", 0 },
	{ "502-html", PUT, UNCERTAIN, "HTTP 502", 1 },
	{ "503-slowdown", GET, TEMPORARY, "SlowDown", 0 },
	{ "503-slowdown", PUT, TEMPORARY, "SlowDown", 0 },
	{ "503-slowdown-twice", GET, OK, "", 3 },
	{ "503-slowdown-twice", PUT, OK, "", 3 },
	{ "503-retry-after-hour", GET, TEMPORARY, "SlowDown", 1 },
	{ "503-html", PUT, UNCERTAIN, "HTTP 503", 1 },
	{ "429", GET, TEMPORARY, "TooManyRequests", 0 },
	{ "403-expired", GET, DENIED, "ExpiredToken", 2 },
	{ "403-expired", PUT, DENIED, "ExpiredToken", 2 },
	{ "403-expired", LIST, DENIED, "ExpiredToken", 2 },
	{ "400-expired", GET, DENIED, "ExpiredToken", 2 },
	{ "403-denied", GET, DENIED, "AccessDenied", 1 },
	{ "403-denied", STAT, DENIED, "HTTP 403", 2 },
	{ "403-denied", PUT, DENIED, "AccessDenied", 1 },
	{ "403-signature", GET, DENIED, "SignatureDoesNotMatch", 2 },
	{ "403-skew", PUT, DENIED, "RequestTimeTooSkewed", 2 },
	{ "clock-ahead", GET, OK, "", 2 },
	{ "clock-ahead", PUT, OK, "", 2 },
	{ "400-empty", STAT, DENIED, "HTTP 400", 2 },
	{ "404-html", GET, TEMPORARY, "HTTP 404", 0 },
	{ "404-bucket", GET, TEMPORARY, "NoSuchBucket", 1 },
	{ "404-bucket", PUT, TEMPORARY, "NoSuchBucket", 1 },
	{ "404-bucket", LIST, TEMPORARY, "NoSuchBucket", 1 },
	{ "404-bucket", REACH, R(RC_NOT_FOUND), "NoSuchBucket", 2 },
	{ "409-conflict", PUT, TEMPORARY, "ConditionalRequestConflict", 0 },
	{ "409-conflict-once", PUT, OK, "", 2 },
	{ "412", PUT, R(RC_EXISTS), "taken", 1 },
	{ "412", REPLACE, R(RC_CONFLICT), "changed", 1 },
	{ "413", PUT, R(RC_TOO_LARGE), "EntityTooLarge", 1 },
	{ "501", PUT, R(RC_INVALID), "NotImplemented", 1 },
	{ "507", PUT, R(RC_NO_SPACE), "XMinioStorageFull", 1 },
	{ "200-error", PUT, UNCERTAIN, "InternalError", 1 },
	{ "200-error", REPLACE, UNCERTAIN, "InternalError", 1 },
	{ "200-error", LIST, TEMPORARY, "InternalError", 0 },
	{ "200-slowdown", PUT, UNCERTAIN, "SlowDown", 1 },
	{ "200-html", LIST, CORRUPT | TEMPORARY, "", 0 },
	{ "301-nowhere", GET, TEMPORARY, "HTTP 301 PermanentRedirect", 3 },
	{ "301-nowhere", REACH, R(RC_INVALID), "HTTP 301", 3 },
	{ "301-region", GET, OK, "", 2 },
	{ "301-region", PUT, OK, "", 2 },
	{ "301-region", LIST, OK, "a dir/b dir/c z", 2 },
	{ "301-region-forever", GET, TEMPORARY, "PermanentRedirect", 4 },
	{ "301-region-forever", PUT, TEMPORARY, "PermanentRedirect", 4 },
	{ "400-region", GET, OK, "", 2 },
	{ "301-location", GET, TEMPORARY, "HTTP 301", 3 },
	{ "307-location", GET, TEMPORARY, "HTTP 307", 0 },
	{ "307-location", PUT, TEMPORARY, "HTTP 307", 0 },
	{ "cut", GET, TEMPORARY, "cannot read 'dir/b'", 0 },
	{ "cut", LIST, TEMPORARY, "", 0 },
	{ "cut-once", GET, OK, "", 2 },
	{ "cut-once", LIST, OK, "a dir/b dir/c z", 2 },
	{ "cut-chunks", GET, TEMPORARY, "", 0 },
	{ "cut-chunks", LIST, TEMPORARY, "", 0 },
	{ "until-close", GET, TEMPORARY, "", 0 },
	{ "until-close", LIST, TEMPORARY | CORRUPT, "", 0 },
	{ "longer", GET, OK, "", 0 },
	{ "longer", PUT, OK, "", 0 },
	{ "shorter", GET, TEMPORARY, "", 0 },
	{ "endless", GET, TEMPORARY | R(RC_TOO_LARGE), "", 0 },
	{ "endless", LIST, TEMPORARY | R(RC_TOO_LARGE) | CORRUPT, "", 0 },
	{ "endless", PUT, UNCERTAIN, "", 1 },
	{ "endless-head", GET, TEMPORARY | R(RC_TOO_LARGE), "", 0 },
	{ "endless-head", PUT, UNCERTAIN, "", 1 },
	{ "interim", GET, TEMPORARY, "", 0 },
	{ "interim", PUT, UNCERTAIN, "", 1 },
	{ "drip", GET, TEMPORARY, "", 0 },
	{ "drip", PUT, UNCERTAIN, "", 1 },
	{ "drip-body", GET, TEMPORARY, "", 0 },
	{ "drip-body", LIST, TEMPORARY, "", 0 },
	{ "silent", GET, TEMPORARY, "", 0 },
	{ "silent", STAT, TEMPORARY, "", 0 },
	{ "silent", PUT, UNCERTAIN, "", 1 },
	{ "silent", LIST, TEMPORARY, "", 0 },
	{ "silent", REACH, TEMPORARY, "", 0 },
	{ "hangs-up", GET, TEMPORARY, "", 0 },
	{ "hangs-up", PUT, UNCERTAIN, "", 1 },
	{ "hangs-up-once", GET, OK, "", 2 },
	{ "garbage", GET, TEMPORARY, "", 0 },
	{ "garbage", PUT, UNCERTAIN, "", 1 },
	{ "lost-reply", PUT, UNCERTAIN, "", 1 },
	{ "lost-reply", REPLACE, UNCERTAIN, "", 1 },
	{ "stored-silent", PUT, UNCERTAIN, "", 1 },
	{ "before-body", PUT_BIG, DENIED | UNCERTAIN, "", 1 },
	{ "list-repeats", LIST, CORRUPT, "repeats", 0 },
	{ "list-overlaps", LIST, CORRUPT, "repeats", 0 },
	{ "list-same-token", LIST, CORRUPT, "names itself", 0 },
	{ "list-no-token", LIST, CORRUPT, "no token", 0 },
	{ "list-says-nothing", LIST, CORRUPT, "whether it is the last", 0 },
	{ "list-token-at-end", LIST, CORRUPT, "last page", 0 },
	{ "list-count", LIST, CORRUPT, "fewer keys", 0 },
	{ "list-unsorted", LIST, CORRUPT, "not in order", 0 },
	{ "list-outside", LIST, CORRUPT, "prefixes that were not asked for", 0 },
	{ "list-empty-pages", LIST, CORRUPT, "without an end", 0 },
	{ "list-cut", LIST, TEMPORARY, "ends early", 0 },
	{ "list-cut-once", LIST, OK, "a b", 0 },
	{ "list-doctype", LIST, CORRUPT, "document type", 0 },
	{ "list-start-after", LIST_AFTER, OK, "dir/c z", 1 },
	{ "list-endless", LIST, TEMPORARY | CORRUPT | R(RC_TOO_LARGE), "", 0 },
};

static char endpoint[64];

static struct object_store *opened(const char *bucket)
{
	struct object_store *s = NULL;
	struct why why = { "" };
	struct object_s3_options o = {
		.bucket = bucket,
		.endpoint = endpoint,
		.region = "us-east-1",
		.parallel = 4,
		.timeout_ms = TIMEOUT_MS,
		.cred = { .access = "script", .secret = "script-SECRET", .timeout_ms = TIMEOUT_MS },
	};
	enum rc rc = object_s3_new(&s, &o, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	return s;
}

static enum rc read_one(struct object_store *s, const char *key, struct object_get *out)
{
	*out = (struct object_get){ .key = key };
	return object_get(s, out, 1);
}

static bool note(void *arg, const struct object_info *info)
{
	struct buf *keys = arg;
	buf_printf(keys, "%s%s", keys->len ? " " : "", info->key);
	return true;
}

/* Twice where it goes well: the second answer must not be made of what was left of the first. */
static enum rc get(struct object_store *s, struct why *why)
{
	enum rc rc = RC_OK;
	for (int i = 0; i < 2 && rc == RC_OK; i++) {
		static const char *const keys[] = { "dir/b", "a" };
		struct object_get g;
		rc = read_one(s, keys[i], &g);
		*why = g.why;
		if (rc == RC_OK && i == 0)
			ck_assert_uint_eq(g.len, 1000);
		else if (rc == RC_OK)
			ck_assert_str_eq(g.buf, "{\"n\":1}");
		free(g.buf);
	}
	return rc;
}

static enum rc put(struct object_store *s, struct object_store *clean, const char *key, size_t len,
		   struct why *why)
{
	_cleanup_(freep) char *body = malloc(len);
	memset(body, 'p', len);
	struct object_put item = { .key = key, .buf = body, .len = len };
	enum rc rc = object_put(s, &item, 1, clock_boot_ms() + TIMEOUT_MS);
	*why = item.why;

	/* what is really there, by a connection without a fault */
	struct object_get g;
	enum rc there = read_one(clean, key, &g);
	bool ours = there == RC_OK && g.len == len && !memcmp(g.buf, body, len);
	free(g.buf);
	ck_assert_msg(there == RC_OK || there == RC_NOT_FOUND, "%s", g.why.text);
	if (rc == RC_OK)
		ck_assert_msg(ours, "a success, but it is not there");
	else if (rc != RC_UNCERTAIN)
		ck_assert_msg(!ours, "%s, but it is there", rc_name(rc));
	return rc;
}

static enum rc replace(struct object_store *s, struct object_store *clean, struct why *why)
{
	struct object_get g;
	ck_assert_int_eq(read_one(clean, "a", &g), RC_OK);
	free(g.buf);
	return object_replace(s, "a", "new", 3, g.tag, NULL, why);
}

static enum rc done(enum op op, struct object_store *s, struct object_store *clean,
		    struct buf *keys, struct why *why)
{
	struct object_info info;
	switch (op) {
	case GET:
		return get(s, why);
	case STAT:
		return object_stat(s, "a", &info, why);
	case PUT:
		return put(s, clean, "new", 10, why);
	case PUT_BIG:
		return put(s, clean, "big", 8u << 20, why);
	case PUT_TAKEN:
		return put(s, clean, "a", 10, why);
	case LIST:
		return object_list(s, "", NULL, OBJECT_LIST_DEEP, note, keys, why);
	case LIST_AFTER:
		return object_list(s, "", "dir/b", OBJECT_LIST_DEEP, note, keys, why);
	case LIST_SHALLOW:
		return object_list(s, "", NULL, OBJECT_LIST_SHALLOW, note, keys, why);
	case REPLACE:
		return replace(s, clean, why);
	case REACH:
		return object_s3_reach(s, why);
	}
	abort();
}

/* The server, which ends when the pipe to its input does: with this process. False: none. */
static bool start_script(void)
{
	const char *source = getenv("EVFS_SOURCE");
	char path[4096], port[16] = "";
	snprintf(path, sizeof(path), "%s/tests/faults/s3_script.py",
		 source ? source : SOURCE_DEFAULT);
	int in[2], out[2];
	pid_t pid;
	if (pipe(in) || pipe(out))
		return false;
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	for (int i = 0; i < 2; i++) {
		posix_spawn_file_actions_addclose(&actions, in[i]);
		posix_spawn_file_actions_addclose(&actions, out[i]);
	}
	extern char **environ;
	char *argv[] = { (char[]){ "python3" }, (char[]){ "-B" }, path, NULL };
	bool started = !posix_spawnp(&pid, "python3", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	FILE *f = fdopen(out[0], "r");
	started = started && f && fgets(port, sizeof(port), f);
	if (f)
		fclose(f);
	port[strcspn(port, "\n")] = '\0';
	snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%s", port);
	return started;
}

/* A case has a bucket of its own: "FAULT.N". */
START_TEST(each_fault_ends_with_the_right_result_in_time)
{
	char name[64], clean_name[80];
	snprintf(name, sizeof(name), "%s.%d", cases[_i].bucket, _i);
	snprintf(clean_name, sizeof(clean_name), "clean-%s", name);
	struct object_store *s = opened(name), *clean = opened(clean_name);
	struct buf keys = BUF_INIT;
	struct why why = { "" };

	uint64_t from = clock_boot_ms();
	enum rc rc = done(cases[_i].op, s, clean, &keys, &why);
	uint64_t took = clock_boot_ms() - from;
	struct object_counts counts;
	object_counts(s, &counts);
	uint64_t asked = counts.put + counts.get + counts.head + counts.list + counts.other;

	printf("# %s %d: %s, %u ms, %u requests%s%s\n", cases[_i].bucket, (int)cases[_i].op,
	       rc_name(rc), (unsigned)took, (unsigned)asked, *why.text ? ": " : "", why.text);
	ck_assert_msg(cases[_i].want & R(rc), "%s %d: %s (%s)", cases[_i].bucket, (int)cases[_i].op,
		      rc_name(rc), why.text);
	ck_assert_uint_lt(took, TIMEOUT_MS + GRACE_MS);
	ck_assert_uint_gt(asked, 0);
	unsigned most = cases[_i].most + (cases[_i].op == GET && rc == RC_OK);
	ck_assert_msg(!cases[_i].most || asked <= most, "%u requests", (unsigned)asked);
	if (rc == RC_OK && *cases[_i].says) {
		ck_assert_str_eq(buf_text(&keys), cases[_i].says);
	} else if (rc != RC_OK) {
		ck_assert_msg(strstr(why.text, cases[_i].says) != NULL, "\"%s\" is not in \"%s\"",
			      cases[_i].says, why.text);
		ck_assert_str_ne(why.text, "");
		ck_assert_msg(strstr(why.text, name) || rc == RC_EXISTS || rc == RC_CONFLICT,
			      "\"%s\" does not name the bucket", why.text);
	}
	ck_assert_ptr_null(strstr(why.text, "SECRET"));
	buf_release(&keys);
	object_free(&s);
	object_free(&clean);
}
END_TEST

/* Conditions that a server ignores are noticed, and looked after by ourselves. */
START_TEST(a_server_that_ignores_conditions_is_known)
{
	struct object_store *s = opened("ignores-conditions"),
			    *clean = opened("clean-ignores-conditions");
	struct object_s3_facts facts;
	struct why why = { "" };
	enum rc rc = object_s3_learn(s, true, &facts, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	ck_assert_int_eq(facts.if_none_match, OBJECT_S3_NO);
	ck_assert_int_eq(facts.if_match, OBJECT_S3_NO);
	ck_assert_int_eq(put(s, clean, "a", 10, &why), RC_EXISTS);
	ck_assert_int_eq(put(s, clean, "new", 10, &why), RC_OK);
	ck_assert_int_eq(object_replace(s, "a", "x", 1, "0123456789abcdef0123456789abcdef", NULL,
					&why),
			 RC_CONFLICT);
	object_free(&s);
	object_free(&clean);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("s3-faults");
	TCase *tc = tcase_create("s3-faults");
	if (!start_script()) {
		puts("the scripted server did not start");
		return EXIT_FAILURE;
	}
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, each_fault_ends_with_the_right_result_in_time, 0,
			    (int)ARRAY_SIZE(cases));
	tcase_add_test(tc, a_server_that_ignores_conditions_is_known);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
