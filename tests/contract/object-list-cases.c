/* SPDX-License-Identifier: Apache-2.0 */
/* object-list-cases.c - what every object store keeps to: listings. */
#include "config.h"
#include "object-backend.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

START_TEST(listing_is_in_byte_order_of_whole_keys)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
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
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
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
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
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
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	ck_assert_int_eq(object_replace(s, ".evfs/store.json", "{}", 2, NULL, NULL, NULL), RC_OK);
	if (!object_backend_is_s3(_i))
		write_file(object_backend_path(OBJECT_DIR_TMP "/unfinished"), "x");
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "a ");
	assert_list(s, ".evfs/", NULL, OBJECT_LIST_DEEP, ".evfs/store.json ");
}
END_TEST

START_TEST(a_prefix_without_its_slash_is_refused)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct told t = { .keys = BUF_INIT };
	const char *prefixes[] = { "a", "/", "a//", "../", "a/../" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		ck_assert_int_eq(object_list(s, prefixes[i], NULL, OBJECT_LIST_DEEP, tell, &t,
					     NULL),
				 RC_INVALID);
}
END_TEST

void object_list_cases_add(TCase *tc, int n)
{
	const TTest *const tests[] = {
		listing_is_in_byte_order_of_whole_keys, listing_goes_on_after_any_key,
		listing_ends_when_the_callback_says_so, listing_hides_what_is_the_stores_own,
		a_prefix_without_its_slash_is_refused,
	};
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i], 0, n);
}
