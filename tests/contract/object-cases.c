/* SPDX-License-Identifier: Apache-2.0 */
/* object-cases.c - what every object store keeps to: create, read, replace. */
#include "config.h"
#include "object-backend.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"

START_TEST(what_was_put_is_read_back_with_its_times)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	const int64_t times[] = { INT64_C(1700000000123457), -1, 1 };
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		char key[32];
		snprintf(key, sizeof(key), "a/b/%zu", i);
		struct object_put put = {
			.key = key, .buf = "x\0z", .len = 3, .recorded_us = times[i]
		};
		struct object_get get = { .key = key };
		int64_t before = clock_wall_us();
		ck_assert_msg(object_put(s, &put, 1, 0) == RC_OK, "%s", put.why.text);
		ck_assert_int_eq(object_get(s, &get, 1), RC_OK);
		ck_assert_uint_eq(get.len, 3);
		ck_assert_mem_eq(get.buf, "x\0z", 4);
		ck_assert_int_eq(get.recorded_us, times[i]);
		/* the kernel's clock is coarse, that of a server tells whole seconds */
		ck_assert_int_ge(get.modified_us,
				 before - (object_backend_is_s3(_i) ? 1000000 : 100000));
		ck_assert_int_le(get.modified_us, clock_wall_us());
		free(get.buf);
	}
	if (object_backend_how(_i) != OBJECT_DIR_HOW_UNKNOWN)
		ck_assert_int_eq(atomic_load(&object_backend_as_dir(s)->how),
				 object_backend_how(_i));
	assert_tmp_empty(_i);
}
END_TEST

START_TEST(an_empty_object_is_an_object)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	ck_assert_int_eq(put_text(s, "empty", "", NULL), RC_OK);
	assert_text(s, "empty", "");
}
END_TEST

START_TEST(second_put_is_refused_with_a_reason_and_changes_nothing)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct why why = { "" };
	ck_assert_int_eq(put_text(s, "a/b", "first", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "a/b", "second", &why), RC_EXISTS);
	ck_assert_str_eq(why.text, "the key 'a/b' is taken");
	assert_text(s, "a/b", "first");
	assert_tmp_empty(_i);
}
END_TEST

START_TEST(of_many_puts_of_one_key_one_wins)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	static struct object_put items[200];
	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		items[i] = (struct object_put){ .key = i % 2 ? "d/odd" : "d/even",
						.buf = "x",
						.len = 1 };
	ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), 0), RC_EXISTS);
	size_t created = 0;
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		created += items[i].rc == RC_OK;
		ck_assert(items[i].rc == RC_OK || items[i].rc == RC_EXISTS);
	}
	ck_assert_uint_eq(created, 2);
	assert_tmp_empty(_i);
}
END_TEST

START_TEST(impossible_keys_are_refused_by_put_and_not_found_by_get)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	char part[300], component[260], length[KEY_MAX + 10];
	memset(part, 'x', sizeof(part));
	snprintf(component, sizeof(component), "%.256s", part);
	snprintf(length, sizeof(length), "%.250s/%.250s/%.250s/%.250s/%.21s", part, part, part,
		 part, part);
	const char *keys[] = {
		"",	      "/",	   "/a",	"a/",	       "a//b",
		".",	      "..",	   "../a",	"a/../b",      "a/./b",
		component,    length,	   ".evfs/tmp", ".evfs/tmp/a", ".evfs/objects.lock",
		"file/below", "directory", /* a server may allow them */
	};
	size_t n = ARRAY_SIZE(keys) - (object_backend_is_s3(_i) ? 2 : 0);
	ck_assert_uint_eq(strlen(length), KEY_MAX + 1);
	ck_assert_int_eq(put_text(s, "file", "x", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "directory/file", "x", NULL), RC_OK);
	for (size_t i = 0; i < n; i++) {
		struct why why = { "" };
		ck_assert_msg(put_text(s, keys[i], "x", &why) == RC_INVALID, "'%s': %s", keys[i],
			      why.text);
		ck_assert_msg(strstr(why.text, "cannot store"), "'%s': %s", keys[i], why.text);
		ck_assert_int_eq(get_rc(s, keys[i]), RC_NOT_FOUND);
	}
	length[KEY_MAX - object_backend_prefix_len(_i)] = '\0';
	ck_assert_int_eq(put_text(s, length, "longest", NULL), RC_OK);
	assert_text(s, length, "longest");
}
END_TEST

START_TEST(a_missing_object_is_not_found)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct object_info info;
	struct object_get it = { .key = "a/b" };
	struct why why = { "" };
	ck_assert_int_eq(object_get(s, &it, 1), RC_NOT_FOUND);
	ck_assert_str_eq(it.why.text, "no object 'a/b'");
	ck_assert_ptr_null(it.buf);
	ck_assert_int_eq(object_stat(s, "a/b", &info, &why), RC_NOT_FOUND);
	ck_assert_str_eq(why.text, "no object 'a/b'");
}
END_TEST

START_TEST(a_batch_tells_the_result_of_each_item)
{
	enum { N = 600 };
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	static struct object_put puts[N];
	static struct object_get gets[N];
	static char keys[N][32];
	memset(puts, 0, sizeof(puts));
	memset(gets, 0, sizeof(gets));
	ck_assert_int_eq(put_text(s, "d3/0000000503", "other", NULL), RC_OK);
	for (size_t i = 0; i < N; i++) {
		snprintf(keys[i], sizeof(keys[i]), "d%zu/%010zu", i / 100 % 5, i);
		puts[i] = (struct object_put){ .key = keys[i],
					       .buf = keys[i],
					       .len = strlen(keys[i]) };
		gets[i].key = keys[i];
	}
	puts[503].key = "d3/0000000503";
	puts[550].key = "not//possible";
	ck_assert_int_eq(object_put(s, puts, N, clock_boot_ms() + 60000), RC_EXISTS);
	for (size_t i = 0; i < N; i++)
		ck_assert_int_eq(puts[i].rc, i == 503 ? RC_EXISTS : i == 550 ? RC_INVALID : RC_OK);

	ck_assert_int_eq(object_get(s, gets, N), RC_NOT_FOUND);
	for (size_t i = 0; i < N; i++) {
		ck_assert_int_eq(gets[i].rc, i == 503 || i == 550 ? RC_NOT_FOUND : RC_OK);
		if (gets[i].rc == RC_OK)
			ck_assert_str_eq(gets[i].buf, keys[i]);
		free(gets[i].buf);
	}
	assert_text(s, "d3/0000000503", "other");
	assert_tmp_empty(_i);
}
END_TEST

START_TEST(nothing_appears_after_the_deadline)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct object_put items[40];
	char keys[40][16];
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		snprintf(keys[i], sizeof(keys[i]), "late/%zu", i);
		items[i] = (struct object_put){ .key = keys[i], .buf = "x", .len = 1 };
	}
	ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), clock_boot_ms()), RC_TEMPORARY);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		ck_assert_int_eq(items[i].rc, RC_TEMPORARY);
		ck_assert_ptr_nonnull(strstr(items[i].why.text, "the time for it is over"));
	}
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "");
	assert_tmp_empty(_i);
	ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), clock_boot_ms() + 60000), RC_OK);
}
END_TEST

START_TEST(stat_tells_size_and_times)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct object_put put = { .key = "a/b", .buf = "12345", .len = 5, .recorded_us = 1234567 };
	struct object_info info = { .key = NULL };
	ck_assert_int_eq(object_put(s, &put, 1, 0), RC_OK);
	ck_assert_int_eq(object_stat(s, "a/b", &info, NULL), RC_OK);
	ck_assert_str_eq(info.key, "a/b");
	ck_assert(!info.is_prefix);
	ck_assert_uint_eq(info.size, 5);
	ck_assert_int_eq(info.recorded_us, 1234567);
	ck_assert_int_gt(info.modified_us, INT64_C(1600000000000000));
	ck_assert_int_eq(object_stat(s, "a", &info, NULL), RC_NOT_FOUND);
}
END_TEST

START_TEST(replace_creates_and_then_asks_for_the_version)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	char first[OBJECT_TAG_MAX], second[OBJECT_TAG_MAX];
	struct why why = { "" };
	const char *key = ".evfs/deep/store.json";
	ck_assert_int_eq(object_replace(s, key, "1", 1, "any", NULL, &why), RC_CONFLICT);
	ck_assert_msg(object_replace(s, key, "1", 1, NULL, first, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(object_replace(s, key, "2", 1, NULL, NULL, &why), RC_CONFLICT);
	ck_assert_str_eq(why.text, "'.evfs/deep/store.json' is there already");
	ck_assert_msg(object_replace(s, key, "2", 1, first, second, &why) == RC_OK, "%s", why.text);
	ck_assert_str_ne(first, second);
	ck_assert_int_eq(object_replace(s, key, "3", 1, first, NULL, &why), RC_CONFLICT);
	ck_assert_ptr_nonnull(strstr(why.text, "was changed"));
	assert_text(s, key, "2");

	struct object_get it = { .key = key };
	ck_assert_int_eq(object_get(s, &it, 1), RC_OK);
	ck_assert_str_eq(it.tag, second);
	free(it.buf);
	assert_tmp_empty(_i);
}
END_TEST

struct counter {
	struct object_store *s;
	unsigned adds;
};

static void *count_up(void *arg)
{
	struct counter *c = arg;
	for (unsigned done = 0; done < c->adds;) {
		struct object_get it = { .key = "counter" };
		ck_assert_int_eq(object_get(c->s, &it, 1), RC_OK);
		char text[16];
		int n = snprintf(text, sizeof(text), "%d", atoi(it.buf) + 1);
		enum rc rc = object_replace(c->s, "counter", text, (size_t)n, it.tag, NULL, NULL);
		ck_assert(rc == RC_OK || rc == RC_CONFLICT);
		done += rc == RC_OK;
		free(it.buf);
	}
	return NULL;
}

START_TEST(no_replacement_is_lost_among_many)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	_cleanup_(object_freep) struct object_store *other = object_backend_open(_i);
	struct counter counters[4] = { { s, 8 }, { other, 8 }, { s, 8 }, { other, 8 } };
	pthread_t threads[4];
	ck_assert_int_eq(object_replace(s, "counter", "0", 1, NULL, NULL, NULL), RC_OK);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, &counters[i]), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_text(s, "counter", "32");
}
END_TEST

START_TEST(a_synced_store_says_so_and_is_ready)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct why why = { "" };
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	ck_assert_msg(object_sync(s, &why) == RC_OK, "%s", why.text);
	ck_assert_msg(object_ready(s, 1000, 10, &why) == RC_OK, "%s", why.text);
}
END_TEST

START_TEST(batches_of_many_threads_do_not_disturb_each_other)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	pthread_t threads[6];
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_putting, s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(object_list(s, "t/", NULL, OBJECT_LIST_DEEP, count_bytes, &n, NULL),
			 RC_OK);
	ck_assert_uint_eq(n, 6 * KEEP_PUTTING_ROUNDS * 32);
}
END_TEST

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1 /* as gcc says it */
#endif
#endif

START_TEST(a_child_of_fork_can_use_the_store)
{
#ifdef __SANITIZE_THREAD__
	if (object_backend_is_s3(_i))
		return; /* it ends a child that starts a thread */
#endif
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	keep_putting(s); /* the threads are up */
	fflush(NULL);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		alarm(20);
		keep_putting(s);
		object_free(&s);
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}
END_TEST

void object_cases_add(TCase *tc, int n)
{
	const TTest *const tests[] = {
		what_was_put_is_read_back_with_its_times,
		an_empty_object_is_an_object,
		second_put_is_refused_with_a_reason_and_changes_nothing,
		of_many_puts_of_one_key_one_wins,
		impossible_keys_are_refused_by_put_and_not_found_by_get,
		a_missing_object_is_not_found,
		a_batch_tells_the_result_of_each_item,
		nothing_appears_after_the_deadline,
		stat_tells_size_and_times,
		replace_creates_and_then_asks_for_the_version,
		no_replacement_is_lost_among_many,
		a_synced_store_says_so_and_is_ready,
		batches_of_many_threads_do_not_disturb_each_other,
		a_child_of_fork_can_use_the_store,
	};
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i], 0, n);
}
