/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-object.c - what every object store keeps to (object.h), row by row over the backends.
 *
 * The dir backend runs once for each way in which it can create and open files, whatever the local
 * kernel offers.
 */
#include "config.h"
#include "object/object.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "object/object-dir.h"

static const struct {
	const char *name;
	enum object_dir_how how;
	bool no_openat2, fault;
} backends[] = {
	{ "dir", OBJECT_DIR_HOW_UNKNOWN, false, false },
	{ "dir(proc)", OBJECT_DIR_HOW_PROC, false, false },
	{ "dir(rename)", OBJECT_DIR_HOW_RENAME, false, false },
	{ "dir(link, no openat2)", OBJECT_DIR_HOW_LINK, true, false },
	{ "fault(dir)", OBJECT_DIR_HOW_UNKNOWN, false, true },
};

static char root[256],
	dir[300]; /* the store is a directory in root, so that it can be moved away */
static struct object_faults faults;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof(root), "%s/test-object.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/store", root);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	faults = (struct object_faults){ 0 };
}

static int remove_path(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_path, 32, FTW_DEPTH | FTW_PHYS);
}

static void teardown(void)
{
	umount2(dir, MNT_DETACH);
	remove_tree(root);
}

static struct object_dir *as_dir(struct object_store *s)
{
	return container_of(s, struct object_dir, base);
}

static struct object_store *open_backend(int i)
{
	struct object_store *s = NULL;
	struct why why = { "" };
	ck_assert_msg(object_dir_new(&s, dir, &why) == RC_OK, "%s", why.text);
	atomic_store(&as_dir(s)->how, backends[i].how);
	if (backends[i].no_openat2)
		as_dir(s)->has_openat2 = false;
	if (backends[i].fault)
		ck_assert_int_eq(object_fault_new(&s, s, &faults, &why), RC_OK);
	return s;
}

static const char *path_of(const char *key)
{
	static char path[2048];
	snprintf(path, sizeof(path), "%s/%s", dir, key);
	return path;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static enum rc put_text(struct object_store *s, const char *key, const char *text, struct why *why)
{
	struct object_put it = { .key = key, .buf = text, .len = strlen(text) };
	enum rc rc = object_put(s, &it, 1, 0);
	ck_assert_int_eq(rc, it.rc);
	if (why)
		*why = it.why;
	return rc;
}

static enum rc get_rc(struct object_store *s, const char *key)
{
	struct object_get it = { .key = key };
	enum rc rc = object_get(s, &it, 1);
	ck_assert_int_eq(rc, it.rc);
	free(it.buf);
	return rc;
}

static void assert_text(struct object_store *s, const char *key, const char *text)
{
	struct object_get it = { .key = key };
	enum rc rc = object_get(s, &it, 1);
	ck_assert_msg(rc == RC_OK, "%s", it.why.text);
	ck_assert_uint_eq(it.len, strlen(text));
	ck_assert_str_eq(it.buf, text); /* the NUL behind it is there */
	free(it.buf);
}

/* Nothing unfinished is left. */
static void assert_tmp_empty(void)
{
	ck_assert_msg(rmdir(path_of(OBJECT_DIR_TMP)) == 0 || errno == ENOENT,
		      "something is left in %s", OBJECT_DIR_TMP);
}

struct told {
	struct buf keys; /* "a b c/ " */
	size_t n, stop_after;
};

static bool tell(void *arg, const struct object_info *info)
{
	struct told *t = arg;
	buf_add_text(&t->keys, info->key);
	buf_add_char(&t->keys, ' ');
	ck_assert(info->is_prefix == (info->key[strlen(info->key) - 1] == '/'));
	return ++t->n != t->stop_after;
}

static void assert_list(struct object_store *s, const char *prefix, const char *after,
			enum object_list_flags flags, const char *expected)
{
	struct told t = { .keys = BUF_INIT };
	struct why why = { "" };
	ck_assert_msg(object_list(s, prefix, after, flags, tell, &t, &why) == RC_OK, "%s",
		      why.text);
	ck_assert_str_eq(buf_text(&t.keys), expected);
	buf_release(&t.keys);
}

START_TEST(what_was_put_is_read_back_with_its_times)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
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
		ck_assert_int_ge(get.modified_us,
				 before - 100000); /* the kernel's clock is coarse */
		ck_assert_int_le(get.modified_us, clock_wall_us());
		free(get.buf);
	}
	if (backends[_i].how != OBJECT_DIR_HOW_UNKNOWN)
		ck_assert_int_eq(atomic_load(&as_dir(s)->how), backends[_i].how);
	assert_tmp_empty();
}
END_TEST

START_TEST(an_empty_object_is_an_object)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	ck_assert_int_eq(put_text(s, "empty", "", NULL), RC_OK);
	assert_text(s, "empty", "");
}
END_TEST

START_TEST(second_put_is_refused_with_a_reason_and_changes_nothing)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	struct why why = { "" };
	ck_assert_int_eq(put_text(s, "a/b", "first", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "a/b", "second", &why), RC_EXISTS);
	ck_assert_str_eq(why.text, "the key 'a/b' is taken");
	assert_text(s, "a/b", "first");
	assert_tmp_empty();
}
END_TEST

START_TEST(of_many_puts_of_one_key_one_wins)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
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
	assert_tmp_empty();
}
END_TEST

START_TEST(impossible_keys_are_refused_by_put_and_not_found_by_get)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	char part[300], component[260], length[KEY_MAX + 10];
	memset(part, 'x', sizeof(part));
	snprintf(component, sizeof(component), "%.256s", part);
	snprintf(length, sizeof(length), "%.250s/%.250s/%.250s/%.250s/%.21s", part, part, part,
		 part, part);
	const char *keys[] = {
		"",	      "/",	   "/a",	"a/",	       "a//b",
		".",	      "..",	   "../a",	"a/../b",      "a/./b",
		component,    length,	   ".evfs/tmp", ".evfs/tmp/a", ".evfs/objects.lock",
		"file/below", "directory",
	};
	ck_assert_uint_eq(strlen(length), KEY_MAX + 1);
	ck_assert_int_eq(put_text(s, "file", "x", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "directory/file", "x", NULL), RC_OK);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct why why = { "" };
		ck_assert_msg(put_text(s, keys[i], "x", &why) == RC_INVALID, "'%s': %s", keys[i],
			      why.text);
		ck_assert_msg(strstr(why.text, "cannot store"), "'%s': %s", keys[i], why.text);
		ck_assert_int_eq(get_rc(s, keys[i]), RC_NOT_FOUND);
	}
	length[KEY_MAX] = '\0';
	ck_assert_int_eq(put_text(s, length, "longest", NULL), RC_OK);
	assert_text(s, length, "longest");
}
END_TEST

START_TEST(a_missing_object_is_not_found)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
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
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
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
	assert_tmp_empty();
}
END_TEST

START_TEST(nothing_appears_after_the_deadline)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
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
	assert_tmp_empty();
	ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), clock_boot_ms() + 60000), RC_OK);
}
END_TEST

START_TEST(stat_tells_size_and_times)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
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

START_TEST(listing_is_in_byte_order_of_whole_keys)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	const char *keys[] = { "a/b", "a/b-c",	    "a-b",	 "a.b/c",  "a0",
			       "b",   "a/\xc3\xa9", "a/b.d/e/f", "a/b!/x", "B" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		ck_assert_int_eq(put_text(s, keys[i], "x", NULL), RC_OK);
	assert_list(s, "", NULL, OBJECT_LIST_DEEP,
		    "B a-b a.b/c a/b a/b!/x a/b-c a/b.d/e/f a/\xc3\xa9 a0 b ");
	assert_list(s, "", NULL, OBJECT_LIST_SHALLOW, "B a-b a.b/ a/ a0 b ");
	assert_list(s, "a/", NULL, OBJECT_LIST_SHALLOW, "a/b a/b!/ a/b-c a/b.d/ a/\xc3\xa9 ");
	assert_list(s, "a/", "a/b!/", OBJECT_LIST_SHALLOW, "a/b-c a/b.d/ a/\xc3\xa9 ");
	assert_list(s, "a/", "a/b!/x", OBJECT_LIST_SHALLOW, "a/b-c a/b.d/ a/\xc3\xa9 ");
	assert_list(s, "a/", "a/b!/", OBJECT_LIST_DEEP, "a/b!/x a/b-c a/b.d/e/f a/\xc3\xa9 ");
	assert_list(s, "a/", "a", OBJECT_LIST_SHALLOW, "a/b a/b!/ a/b-c a/b.d/ a/\xc3\xa9 ");
	assert_list(s, "a/", "a0", OBJECT_LIST_DEEP, "");
	assert_list(s, "c/", NULL, OBJECT_LIST_DEEP, "");
	assert_list(s, "b/", NULL, OBJECT_LIST_DEEP, ""); /* an object has nothing below it */
}
END_TEST

/* Random keys of few characters, so that names are each other's beginnings; every key and neighbour
 * as `after`. */
START_TEST(listing_goes_on_after_any_key)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	unsigned seed = (unsigned)clock_boot_us();
	const char *replay = getenv("TEST_SEED");
	if (replay)
		seed = (unsigned)strtoul(replay, NULL, 10);
	fprintf(stderr, "TEST_SEED=%u\n", seed);
	for (size_t i = 0; i < 120; i++) {
		char key[16];
		size_t len = 1 + (size_t)rand_r(&seed) % 8;
		for (size_t k = 0; k < len; k++)
			key[k] = "a/b-0/a"[rand_r(&seed) % 7];
		key[len] = '\0';
		enum rc rc = put_text(s, key, "x", NULL);
		ck_assert(rc == RC_OK || rc == RC_EXISTS || rc == RC_INVALID);
	}

	struct told all = { .keys = BUF_INIT };
	ck_assert_int_eq(object_list(s, "", NULL, OBJECT_LIST_DEEP, tell, &all, NULL), RC_OK);
	ck_assert_uint_gt(all.n, 10);
	char last[64] = "";
	for (const char *rest = buf_text(&all.keys); *rest;) {
		const char *end = strchr(rest, ' ');
		char key[64];
		snprintf(key, sizeof(key), "%.*s", (int)(end - rest), rest);
		ck_assert_str_gt(key, last);
		strcpy(last, key);
		assert_list(s, "", key, OBJECT_LIST_DEEP, end + 1);
		key[strlen(key) - 1]--; /* what lies between it and the one before */
		strcat(key, "\x7f");
		if (strcmp(key, last) < 0) {
			struct told t = { .keys = BUF_INIT, .stop_after = 1 };
			ck_assert_int_eq(object_list(s, "", key, OBJECT_LIST_DEEP, tell, &t, NULL),
					 RC_OK);
			strtok(t.keys.data, " ");
			ck_assert_str_gt(t.keys.data, key);
			ck_assert_str_le(t.keys.data, last);
			buf_release(&t.keys);
		}
		rest = end + 1;
	}
	buf_release(&all.keys);
}
END_TEST

START_TEST(listing_ends_when_the_callback_says_so)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	struct told t = { .keys = BUF_INIT, .stop_after = 2 };
	ck_assert_int_eq(put_text(s, "a/b/1", "x", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "a/b/2", "x", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "a/b/3", "x", NULL), RC_OK);
	ck_assert_int_eq(put_text(s, "a/c", "x", NULL), RC_OK);
	ck_assert_int_eq(object_list(s, "", NULL, OBJECT_LIST_DEEP, tell, &t, NULL), RC_OK);
	ck_assert_str_eq(buf_text(&t.keys), "a/b/1 a/b/2 ");
	buf_release(&t.keys);
}
END_TEST

START_TEST(listing_hides_what_is_the_stores_own)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	ck_assert_int_eq(object_replace(s, ".evfs/store.json", "{}", 2, NULL, NULL, NULL), RC_OK);
	write_file(path_of(OBJECT_DIR_TMP "/unfinished"), "x");
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "a ");
	assert_list(s, ".evfs/", NULL, OBJECT_LIST_DEEP, ".evfs/store.json ");
}
END_TEST

START_TEST(a_prefix_without_its_slash_is_refused)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	struct told t = { .keys = BUF_INIT };
	const char *prefixes[] = { "a", "/", "a//", "../", "a/../" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		ck_assert_int_eq(
			object_list(s, prefixes[i], NULL, OBJECT_LIST_DEEP, tell, &t, NULL),
			RC_INVALID);
}
END_TEST

START_TEST(replace_creates_and_then_asks_for_the_version)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
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
	assert_tmp_empty();
}
END_TEST

static int64_t standing_clock(void)
{
	return INT64_C(1700000000000000);
}

START_TEST(every_version_has_its_own_tag)
{
	clock_set(standing_clock);
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	char tags[12][OBJECT_TAG_MAX];
	ck_assert_int_eq(object_replace(s, "v", "x", 1, NULL, tags[0], NULL), RC_OK);
	for (size_t i = 1; i < ARRAY_SIZE(tags); i++) {
		ck_assert_int_eq(object_replace(s, "v", "x", 1, tags[i - 1], tags[i], NULL), RC_OK);
		for (size_t k = 0; k < i; k++)
			ck_assert_str_ne(tags[i], tags[k]);
	}
	clock_set(NULL);
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
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	_cleanup_(object_freep) struct object_store *other = open_backend(_i);
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
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	struct why why = { "" };
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	ck_assert_msg(object_sync(s, &why) == RC_OK, "%s", why.text);
	ck_assert_msg(object_ready(s, 1000, 10, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(object_ready(s, UINT64_MAX, 10, &why), RC_NO_SPACE);
	ck_assert_ptr_nonnull(strstr(why.text, "are needed"));
	ck_assert_int_eq(object_ready(s, 0, SIZE_MAX, &why), RC_NO_SPACE);
}
END_TEST

START_TEST(a_store_that_was_moved_away_is_not_ready)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	struct why why = { "" };
	char moved[320], expected[400];
	snprintf(moved, sizeof(moved), "%s/moved", root);
	snprintf(expected, sizeof(expected), "the store directory '%s' is gone", dir);
	ck_assert_int_eq(rename(dir, moved), 0);
	ck_assert_int_eq(object_ready(s, 1, 1, &why), RC_TEMPORARY);
	ck_assert_str_eq(why.text, expected);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	ck_assert_int_eq(object_ready(s, 1, 1, &why), RC_TEMPORARY); /* another one in its place */
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(rename(moved, dir), 0);
	ck_assert_int_eq(object_ready(s, 1, 1, &why), RC_OK);
}
END_TEST

START_TEST(a_store_that_was_removed_is_gone_and_not_empty)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	struct told t = { .keys = BUF_INIT };
	struct why why = { "" };
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	remove_tree(dir);
	ck_assert_int_eq(put_text(s, "b", "x", &why), RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(why.text, "is gone"));
	ck_assert_int_eq(get_rc(s, "a"), RC_TEMPORARY);
	ck_assert_int_eq(object_list(s, "", NULL, OBJECT_LIST_DEEP, tell, &t, &why), RC_TEMPORARY);
	ck_assert_int_eq(object_replace(s, "c", "x", 1, NULL, NULL, &why), RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(why.text, "is gone"));
}
END_TEST

/* A child, as the effective user id of the process that waits for it must stay. */
static void run_as_nobody(void (*fn)(int), int i)
{
	fflush(NULL);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(2);
		fn(i);
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}

static void use_read_only(int i)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(i);
	struct object_get it = { .key = "a/b" };
	struct why why = { "" };
	struct told t = { .keys = BUF_INIT };
	if (object_get(s, &it, 1) != RC_OK || strcmp(it.buf, "text"))
		_exit(3);
	if (object_list(s, "", NULL, OBJECT_LIST_DEEP, tell, &t, NULL) != RC_OK ||
	    strcmp(buf_text(&t.keys), "a/b "))
		_exit(4);
	if (put_text(s, "a/c", "x", &why) != RC_DENIED || !strstr(why.text, "cannot store 'a/c': "))
		_exit(5);
	if (object_replace(s, "a/c", "x", 1, NULL, NULL, &why) != RC_DENIED)
		_exit(6);
	free(it.buf);
	buf_release(&t.keys);
}

START_TEST(a_read_only_store_reads_and_refuses_to_write)
{
	struct object_store *s = open_backend(_i);
	ck_assert_int_eq(put_text(s, "a/b", "text", NULL), RC_OK);
	object_free(&s);
	remove_tree(path_of(".evfs"));
	ck_assert_int_eq(chmod(root, 0755), 0);
	ck_assert_int_eq(chmod(path_of("a"), 0555), 0);
	ck_assert_int_eq(chmod(dir, 0555), 0);
	run_as_nobody(use_read_only, _i);
	ck_assert_int_eq(chmod(dir, 0755), 0);
	ck_assert_int_eq(chmod(path_of("a"), 0755), 0);
	ck_assert_int_eq(access(path_of(".evfs"), F_OK), -1);
}
END_TEST

/* A file of an unprivileged user: linking a descriptor needs another way on old kernels. */
static void put_as_nobody(int i)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(i);
	struct why why = { "" };
	if (put_text(s, "a/b", "text", &why) != RC_OK) {
		fprintf(stderr, "%s\n", why.text);
		_exit(3);
	}
}

START_TEST(a_plain_user_can_write)
{
	ck_assert_int_eq(chmod(root, 0755), 0);
	ck_assert_int_eq(chmod(dir, 0777), 0);
	run_as_nobody(put_as_nobody, _i);
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	assert_text(s, "a/b", "text");
}
END_TEST

/* Needs a small file system of its own; registered for root only. */
START_TEST(a_full_disk_is_no_space_and_leaves_nothing_behind)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=2m"))
		ck_abort_msg("cannot mount a tmpfs");
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	_cleanup_(freep) char *big = calloc(1, 4 << 20);
	struct object_put it = { .key = "d/big", .buf = big, .len = 4 << 20 };
	struct why why = { "" };
	ck_assert_int_eq(object_put(s, &it, 1, 0), RC_NO_SPACE);
	ck_assert_str_eq(it.why.text, "cannot store 'd/big': No space left on device");
	ck_assert_int_eq(object_replace(s, "v", big, 4 << 20, NULL, NULL, &why), RC_NO_SPACE);
	ck_assert_int_eq(get_rc(s, "d/big"), RC_NOT_FOUND);
	assert_tmp_empty();
	ck_assert_int_eq(object_ready(s, 100, 1, &why), RC_OK);
	ck_assert_int_eq(object_ready(s, 1 << 20, 1, &why), RC_NO_SPACE);
	it.len = 1 << 20;
	ck_assert_int_eq(object_put(s, &it, 1, 0), RC_OK);
}
END_TEST

#define ROUNDS 3

static void *keep_putting(void *arg)
{
	struct object_store *s = arg;
	struct object_put items[32];
	for (unsigned round = 0; round < ROUNDS; round++) {
		char keys[32][48];
		for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
			snprintf(keys[i], sizeof(keys[i]), "t/%zx/%u/%zu", (size_t)pthread_self(),
				 round, i);
			items[i] = (struct object_put){ .key = keys[i], .buf = "x", .len = 1 };
		}
		ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), 0), RC_OK);
	}
	return NULL;
}

static bool count(void *arg, const struct object_info *info)
{
	size_t *n = arg;
	ck_assert_uint_eq(info->size, 1);
	++*n;
	return true;
}

START_TEST(batches_of_many_threads_do_not_disturb_each_other)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	pthread_t threads[6];
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_putting, s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(object_list(s, "t/", NULL, OBJECT_LIST_DEEP, count, &n, NULL), RC_OK);
	ck_assert_uint_eq(n, 6 * ROUNDS * 32);
}
END_TEST

START_TEST(a_child_of_fork_can_use_the_store)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(_i);
	keep_putting(s); /* the threads are up */
	fflush(NULL);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		alarm(20);
		remove_tree(path_of("t"));
		keep_putting(s);
		object_free(&s);
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}
END_TEST

#ifdef ENABLE_FAILPOINTS
/* In a child: put objects until the failpoint kills it. */
static void put_and_die(int i, const char *failpoint)
{
	fflush(NULL);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		setenv("EVFS_FAILPOINT", failpoint, 1);
		keep_putting(open_backend(i));
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status %d",
		      failpoint, status);
}

/* That each object told is whole is asserted by count(). Other threads go on for a moment while the
 * signal arrives. */
START_TEST(a_killed_put_is_there_whole_or_not_at_all)
{
	enum { MOMENT = 8 };
	static const struct {
		const char *failpoint;
		size_t at_least, at_most;
	} kills[] = {
		{ "object-put-before:1", 0, MOMENT },
		{ "object-put-written:1", 0, MOMENT },
		{ "object-put-written:50", 40, 49 + MOMENT },
		{ "object-put-after:50", 50, 50 + MOMENT },
	};
	for (size_t k = 0; k < ARRAY_SIZE(kills); k++) {
		size_t n = 0;
		put_and_die(_i, kills[k].failpoint);
		_cleanup_(object_freep) struct object_store *s = open_backend(_i);
		ck_assert_int_eq(object_list(s, "t/", NULL, OBJECT_LIST_DEEP, count, &n, NULL),
				 RC_OK);
		ck_assert_uint_ge(n, kills[k].at_least);
		ck_assert_uint_le(n, kills[k].at_most);
		assert_tmp_empty();
		remove_tree(path_of("t"));
	}
}
END_TEST
#endif

/* What only a directory has. */

START_TEST(opening_a_missing_directory_is_not_found)
{
	struct object_store *s = NULL;
	struct why why = { "" };
	write_file(path_of("file"), "x");
	ck_assert_int_eq(object_dir_new(&s, path_of("missing"), &why), RC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(why.text, "/store/missing': No such file or directory"));
	ck_assert_int_eq(object_dir_new(&s, path_of("file"), &why), RC_NOT_FOUND);
	ck_assert_ptr_null(s);
}
END_TEST

START_TEST(opening_writes_nothing)
{
	struct object_store *s = open_backend(0);
	ck_assert_int_eq(get_rc(s, "a"), RC_NOT_FOUND);
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "");
	object_free(&s);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(rmdir(dir), 0); /* it is empty */
}
END_TEST

START_TEST(opening_removes_what_dead_processes_left)
{
	pid_t dead = fork();
	if (!dead)
		_exit(0);
	ck_assert_int_eq(waitpid(dead, NULL, 0), dead);
	char left[64], ours[64];
	snprintf(left, sizeof(left), OBJECT_DIR_TMP "/%d-0000000a", (int)dead);
	snprintf(ours, sizeof(ours), OBJECT_DIR_TMP "/%d-0000000a", (int)getpid());
	ck_assert_int_eq(mkdir(path_of(".evfs"), 0755), 0);
	ck_assert_int_eq(mkdir(path_of(OBJECT_DIR_TMP), 0755), 0);
	write_file(path_of(left), "x");
	write_file(path_of(ours), "x");
	write_file(path_of(OBJECT_DIR_TMP "/foreign"), "x");

	struct object_store *s = open_backend(0);
	object_free(&s);
	ck_assert_int_eq(access(path_of(left), F_OK), -1);
	ck_assert_int_eq(access(path_of(ours), F_OK), 0);
	ck_assert_int_eq(access(path_of(OBJECT_DIR_TMP "/foreign"), F_OK), 0);
}
END_TEST

START_TEST(links_are_followed_to_files_of_the_store_only)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(0);
	char outside[320];
	struct why why = { "" };
	snprintf(outside, sizeof(outside), "%s/outside", root);
	write_file(outside, "secret");
	ck_assert_int_eq(put_text(s, "a/real", "text", NULL), RC_OK);
	ck_assert_int_eq(symlink("real", path_of("a/link")), 0);
	ck_assert_int_eq(symlink("../../outside", path_of("a/out")), 0);
	ck_assert_int_eq(symlink(outside, path_of("a/absolute")), 0);
	ck_assert_int_eq(symlink("nowhere", path_of("a/dangling")), 0);
	ck_assert_int_eq(symlink("a", path_of("again")), 0);
	ck_assert_int_eq(symlink("..", path_of("up")), 0);
	ck_assert_int_eq(mkfifo(path_of("a/fifo"), 0644), 0);

	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "a/link a/real ");
	assert_text(s, "a/link", "text");
	ck_assert_int_eq(get_rc(s, "a/out"), RC_NOT_FOUND);
	ck_assert_int_eq(get_rc(s, "a/absolute"), RC_NOT_FOUND);
	ck_assert_int_eq(get_rc(s, "up/outside"), RC_NOT_FOUND);
	ck_assert_int_eq(get_rc(s, "a/fifo"), RC_NOT_FOUND);
	ck_assert_int_eq(put_text(s, "up/new", "x", &why), RC_INVALID);
	ck_assert_int_eq(put_text(s, "again/new", "x", &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "is a symbolic link"));
	ck_assert_int_eq(put_text(s, "a/dangling", "x", &why), RC_EXISTS);
}
END_TEST

START_TEST(a_file_over_the_limit_is_too_large)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(0);
	write_file(path_of("big"), "x");
	ck_assert_int_eq(truncate(path_of("big"), (off_t)OBJECT_MAX + 1), 0);
	ck_assert_int_eq(get_rc(s, "big"), RC_TOO_LARGE);
	ck_assert_int_eq(truncate(path_of("big"), (off_t)OBJECT_MAX), 0);
	ck_assert_int_eq(get_rc(s, "big"), RC_OK);
	struct object_put it = { .key = "put", .buf = "", .len = (size_t)OBJECT_MAX + 1 };
	ck_assert_int_eq(object_put(s, &it, 1, 0), RC_TOO_LARGE);
}
END_TEST

START_TEST(a_lost_write_is_not_forgotten_by_the_next_sync)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(0);
	struct why why = { "" };
	atomic_store(&as_dir(s)->sync_error, EIO);
	ck_assert_int_eq(object_sync(s, &why), RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(why.text, "Input/output error"));
}
END_TEST

START_TEST(the_current_directory_does_not_matter)
{
	_cleanup_(freep) char *before = realpath(".", NULL);
	ck_assert_int_eq(chdir(root), 0);
	struct object_store *s = NULL;
	ck_assert_int_eq(object_dir_new(&s, "store", NULL), RC_OK);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	ck_assert_int_eq(object_ready(s, 1, 1, NULL), RC_OK);
	ck_assert_int_eq(access(path_of("a"), F_OK), 0);
	object_free(&s);
	ck_assert_int_eq(chdir(before), 0);
}
END_TEST

/* What only the fault wrapper has. */

START_TEST(every_nth_put_fails_and_stores_nothing)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(ARRAY_SIZE(backends) - 1);
	struct object_put items[10];
	char keys[10][8];
	faults = (struct object_faults){ .put_nth = 3, .put_rc = RC_TEMPORARY };
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		snprintf(keys[i], sizeof(keys[i]), "%zu", i);
		items[i] = (struct object_put){ .key = keys[i], .buf = "x", .len = 1 };
	}
	ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), 0), RC_TEMPORARY);
	ck_assert_str_eq(items[2].why.text, "injected: temporary failure on put of '2'");
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "0 1 3 4 6 7 9 ");
	faults.put_nth = 0;
	ck_assert_int_eq(put_text(s, "2", "x", NULL), RC_OK);
}
END_TEST

START_TEST(an_uncertain_put_did_land)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(ARRAY_SIZE(backends) - 1);
	faults = (struct object_faults){ .put_nth = 1, .put_rc = RC_UNCERTAIN };
	ck_assert_int_eq(put_text(s, "a", "text", NULL), RC_UNCERTAIN);
	assert_text(s, "a", "text");
	ck_assert_int_eq(put_text(s, "a", "text", NULL), RC_EXISTS);
}
END_TEST

START_TEST(every_nth_get_fails)
{
	_cleanup_(object_freep) struct object_store *s = open_backend(ARRAY_SIZE(backends) - 1);
	ck_assert_int_eq(put_text(s, "a", "text", NULL), RC_OK);
	faults = (struct object_faults){ .get_nth = 2, .get_rc = RC_TEMPORARY };
	struct object_get items[5] = {
		{ .key = "a" }, { .key = "a" }, { .key = "a" }, { .key = "a" }, { .key = "a" }
	};
	ck_assert_int_eq(object_get(s, items, 5), RC_TEMPORARY);
	for (size_t i = 0; i < 5; i++) {
		ck_assert_int_eq(items[i].rc, i % 2 ? RC_TEMPORARY : RC_OK);
		free(items[i].buf);
	}
}
END_TEST

static void add_contract(TCase *tc)
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
		listing_is_in_byte_order_of_whole_keys,
		listing_goes_on_after_any_key,
		listing_ends_when_the_callback_says_so,
		listing_hides_what_is_the_stores_own,
		a_prefix_without_its_slash_is_refused,
		replace_creates_and_then_asks_for_the_version,
		every_version_has_its_own_tag,
		no_replacement_is_lost_among_many,
		a_synced_store_says_so_and_is_ready,
		a_store_that_was_moved_away_is_not_ready,
		a_store_that_was_removed_is_gone_and_not_empty,
		a_read_only_store_reads_and_refuses_to_write,
		a_plain_user_can_write,
		batches_of_many_threads_do_not_disturb_each_other,
		a_child_of_fork_can_use_the_store,
	};
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i], 0, ARRAY_SIZE(backends));
#ifdef ENABLE_FAILPOINTS
	tcase_add_loop_test(tc, a_killed_put_is_there_whole_or_not_at_all, 0, ARRAY_SIZE(backends));
#endif
	if (geteuid() == 0)
		tcase_add_loop_test(tc, a_full_disk_is_no_space_and_leaves_nothing_behind, 0,
				    ARRAY_SIZE(backends));
	else
		fprintf(stderr, "not run: a_full_disk_is_no_space_and_leaves_nothing_behind (needs "
				"root)\n");
}

int main(void)
{
	Suite *suite = suite_create("object");
	TCase *contract = tcase_create("contract"), *only_dir = tcase_create("dir"),
	      *only_fault = tcase_create("fault");
	TCase *cases[] = { contract, only_dir, only_fault };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tcase_add_checked_fixture(cases[i], setup, teardown);
		tcase_set_timeout(cases[i], 60);
		suite_add_tcase(suite, cases[i]);
	}
	add_contract(contract);
	tcase_add_test(only_dir, opening_a_missing_directory_is_not_found);
	tcase_add_test(only_dir, opening_writes_nothing);
	tcase_add_test(only_dir, opening_removes_what_dead_processes_left);
	tcase_add_test(only_dir, links_are_followed_to_files_of_the_store_only);
	tcase_add_test(only_dir, a_file_over_the_limit_is_too_large);
	tcase_add_test(only_dir, a_lost_write_is_not_forgotten_by_the_next_sync);
	tcase_add_test(only_dir, the_current_directory_does_not_matter);
	tcase_add_test(only_fault, every_nth_put_fails_and_stores_nothing);
	tcase_add_test(only_fault, an_uncertain_put_did_land);
	tcase_add_test(only_fault, every_nth_get_fails);

	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
