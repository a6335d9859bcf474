/* SPDX-License-Identifier: Apache-2.0 */
/* test-checkpoint.c - the checkpoint's bytes against those of the established publisher, and its object. */
#include "config.h"
#include "store/checkpoint.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/json-form.h"

#define KEY CHECKPOINT_KEY
#define NOW INT64_C(1766048706000123)	/* 2025-12-18T09:05:06.000123 */

static char dir[64];
static struct object_store *objects;
static struct buf vectors;

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test-checkpoint-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
}

static void remove_dir(void)
{
	char command[128];
	object_free(&objects);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static void parse(const char *text, struct checkpoint *c)
{
	struct why why = { "" };
	ck_assert_msg(checkpoint_parse(text, strlen(text), c, &why) == RC_OK, "%s\nof %s", why.text, text);
}

static void prints_as(const struct checkpoint *c, const char *text)
{
	_cleanup_(buf_release) struct buf out = BUF_INIT;
	checkpoint_print(c, &out);
	ck_assert_str_eq(buf_text(&out), text);
}

static void put(const char *key, const char *text)
{
	struct object_get get = { .key = key };
	bool there = object_get(objects, &get, 1) == RC_OK;
	struct why why = { "" };
	ck_assert_msg(object_replace(objects, key, text, strlen(text), there ? get.tag : NULL, NULL, &why) == RC_OK, "%s", why.text);
	if (there)
		free(get.buf);
}

static char *stored(const char *key)
{
	struct object_get get = { .key = key };
	ck_assert_int_eq(object_get(objects, &get, 1), RC_OK);
	return get.buf;
}

static enum rc load(struct checkpoint *c, struct why *why)
{
	return checkpoint_load(objects, KEY, NOW, c, why);
}

/* ------------------------------------------------------------------ bytes */

#define FRESH \
	"{\"last_timestamp_ms\": 1766048703123, \"last_index_key\": " \
	"\"indexes/by-date/2025/12/18/1766048703123_0b7e2c1e-4a7f-4c56-9c39-1d2f6a0b9e11.json\", " \
	"\"updated_at\": \"2025-12-18T09:05:06.000123+00:00\", " \
	"\"recent_event_ids\": [\"0b7e2c1e-4a7f-4c56-9c39-1d2f6a0b9e11\"]}"

START_TEST(a_fresh_one_has_the_established_bytes)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	checkpoint_init(&c);
	c.last_ms = 1766048703123;
	c.last_index_key = strdup("indexes/by-date/2025/12/18/1766048703123_0b7e2c1e-4a7f-4c56-9c39-1d2f6a0b9e11.json");
	c.updated_us = NOW;
	ck_assert_int_eq(checkpoint_add_id(&c, "0b7e2c1e-4a7f-4c56-9c39-1d2f6a0b9e11", NULL), RC_OK);
	prints_as(&c, FRESH);
	parse(FRESH, &c);
	ck_assert(c.there);
	ck_assert_int_eq(c.updated_us, NOW);
	prints_as(&c, FRESH);
}
END_TEST

START_TEST(foreign_keys_stay_in_their_place_and_ours_come_last)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	checkpoint_init(&c);
	parse("{\"zz\": [1, \"\\u00e9\"], \"updated_at\": \"old\", \"last_index_key\": null, \"a\": {\"b\": 1e5}, "
	      "\"last_timestamp_ms\": 5}", &c);
	c.updated_us = NOW;
	c.seeding = 7;
	c.held = calloc(1, sizeof(*c.held));
	c.held[0] = (struct checkpoint_held){ strdup("Order"), strdup("caf\xc3\xa9"), 12 };
	c.n_held = 1;
	static const char text[] =
		"{\"zz\": [1, \"\\u00e9\"], \"updated_at\": \"2025-12-18T09:05:06.000123+00:00\", \"last_index_key\": null, "
		"\"a\": {\"b\": 1e5}, \"last_timestamp_ms\": 5, \"recent_event_ids\": [], "
		"\"held\": [{\"aggregate_type\": \"Order\", \"aggregate_id\": \"caf\\u00e9\", \"next\": 12}], \"seeding\": 7}";
	prints_as(&c, text);
	parse(text, &c);
	ck_assert_uint_eq(c.n_held, 1);
	ck_assert_str_eq(c.held[0].id, "caf\xc3\xa9");
	ck_assert_uint_eq(c.held[0].next, 12);
	ck_assert_uint_eq(c.seeding, 7);
	prints_as(&c, text);
}
END_TEST

/* What the established publisher made of one checkpoint, made of it by ours. */
static size_t check_case(const struct json_value *doc)
{
	_cleanup_(buf_release) struct buf before = BUF_INIT, after = BUF_INIT;
	_cleanup_(checkpoint_release) struct checkpoint was, is;
	struct json_iter it;
	struct json_value key, value, list = { JSON_NULL, NULL, 0 };
	size_t n = 0;
	checkpoint_init(&was);
	checkpoint_init(&is);
	json_iter_init(&it, doc);
	while (json_iter_next(&it, &key, &value)) {
		_cleanup_(buf_release) struct buf initial = BUF_INIT;
		if (json_string_is(&key, "before") && value.type == JSON_STRING)
			json_string(&value, &before);
		if (json_string_is(&key, "saves"))
			list = value;
		if (json_string_is(&key, "initial")) {
			json_form_dump(&value, &initial);
			parse(buf_text(&initial), &is);
			ck_assert_ptr_null(is.last_index_key);
			ck_assert_int_gt(is.last_ms, 0);
			n++;
		}
	}
	if (before.len)
		parse(buf_text(&before), &was);
	json_iter_init(&it, &list);
	while (json_iter_next(&it, &key, &value)) {
		buf_reset(&after);
		json_string(&value, &after);
		parse(buf_text(&after), &is);
		prints_as(&is, buf_text(&after));
		/* and as the next version of the one before */
		struct checkpoint next = is;
		next.rest = was.rest;
		prints_as(&next, buf_text(&after));
		n++;
	}
	return n;
}

START_TEST(every_recorded_checkpoint_is_read_and_written_byte_for_byte)
{
	size_t pos = 0, n = 0, used = 0;
	struct json_value doc;
	struct why why;
	while (json_scan(vectors.data + pos, vectors.len - pos, JSON_STRICT, 1, &doc, &used, &why) == JSON_COMPLETE) {
		n += check_case(&doc);
		pos += used;
	}
	ck_assert_uint_gt(n, 30);
}
END_TEST

static const char *const broken[] = {
	"", "[]", "{\"last_timestamp_ms\": 1", "{\"last_timestamp_ms\": \"1\"}", "{\"last_timestamp_ms\": 1.5}",
	"{\"last_timestamp_ms\": -1}", "{\"last_timestamp_ms\": 9223372036854775807}", "{\"last_index_key\": 1}",
	"{\"updated_at\": 1}", "{\"recent_event_ids\": {}}", "{\"held\": null}", "{\"held\": [1]}",
	"{\"held\": [{\"aggregate_type\": \"T\", \"aggregate_id\": \"i\"}]}",
	"{\"held\": [{\"aggregate_type\": \"T\", \"aggregate_id\": \"i\", \"next\": 0}]}",
	"{\"held\": [{\"aggregate_type\": \"T\", \"aggregate_id\": \"\", \"next\": 1}]}",
	"{\"held\": [{\"aggregate_type\": \"T\", \"aggregate_id\": \"i\", \"next\": 1, \"x\": 1}]}",
	"{\"seeding\": \"x\"}", "{\"last_timestamp_ms\": 1, \"last_timestamp_ms\": 2}", "{} {}",
};

START_TEST(what_is_no_checkpoint_is_refused_with_a_reason)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	struct why why = { "" };
	checkpoint_init(&c);
	c.last_ms = 77;
	ck_assert_int_eq(checkpoint_parse(broken[_i], strlen(broken[_i]), &c, &why), RC_CORRUPT);
	ck_assert_str_ne(why.text, "");
	ck_assert_int_eq(c.last_ms, 77);
}
END_TEST

START_TEST(the_oldest_id_goes_where_there_are_too_many)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	char id[32];
	checkpoint_init(&c);
	for (int i = 0; i < 3 * CHECKPOINT_IDS_MAX; i++) {
		snprintf(id, sizeof(id), "id-%d", i);
		ck_assert_int_eq(checkpoint_add_id(&c, id, NULL), RC_OK);
	}
	ck_assert_uint_eq(c.n_ids, CHECKPOINT_IDS_MAX);
	snprintf(id, sizeof(id), "id-%d", 2 * CHECKPOINT_IDS_MAX);
	ck_assert_str_eq(c.ids[0], id);
	snprintf(id, sizeof(id), "id-%d", 3 * CHECKPOINT_IDS_MAX - 1);
	ck_assert_str_eq(c.ids[c.n_ids - 1], id);
}
END_TEST

/* ------------------------------------------------------------------ the object */

START_TEST(the_first_one_is_made_and_the_next_replaces_it)
{
	_cleanup_(checkpoint_release) struct checkpoint c, other;
	checkpoint_init(&c);
	checkpoint_init(&other);
	c.last_ms = 5;	/* forgotten by load */
	ck_assert_int_eq(load(&c, NULL), RC_OK);
	ck_assert(!c.there);
	ck_assert_int_eq(c.last_ms, 0);
	c.last_ms = 1000;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_OK);
	c.last_ms = 2000;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_OK);
	ck_assert_int_eq(load(&other, NULL), RC_OK);
	ck_assert(other.there);
	ck_assert_int_eq(other.last_ms, 2000);
	ck_assert_str_eq(other.tag, c.tag);
}
END_TEST

START_TEST(one_that_somebody_else_moved_is_not_overwritten)
{
	_cleanup_(checkpoint_release) struct checkpoint a, b;
	struct why why = { "" };
	checkpoint_init(&a);
	checkpoint_init(&b);
	a.last_ms = 1000;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &a, NULL), RC_OK);
	ck_assert_int_eq(load(&b, NULL), RC_OK);
	b.last_ms = 3000;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &b, NULL), RC_OK);
	a.last_ms = 2000;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &a, &why), RC_CONFLICT);
	ck_assert_str_ne(why.text, "");
	ck_assert_int_eq(load(&a, NULL), RC_OK);
	ck_assert_int_eq(a.last_ms, 3000);
	/* nor is one that was made meanwhile */
	_cleanup_(checkpoint_release) struct checkpoint first;
	checkpoint_init(&first);
	first.last_ms = 1;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &first, NULL), RC_CONFLICT);
}
END_TEST

/* An object store whose answers get lost. */
static const struct object_ops *real_ops;
static struct object_ops lossy_ops;
static bool loses, applies;

static enum rc lossy_replace(struct object_store *s, const char *key, const void *buf, size_t len, const char *tag,
			     char new_tag[OBJECT_TAG_MAX], struct why *why)
{
	enum rc rc = !loses || applies ? real_ops->replace(s, key, buf, len, tag, new_tag, why) : RC_OK;
	return loses ? rc_fail(RC_UNCERTAIN, why, "the answer was lost") : rc;
}

START_TEST(a_lost_answer_is_looked_after)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	checkpoint_init(&c);
	real_ops = objects->ops;
	lossy_ops = *real_ops;
	lossy_ops.replace = lossy_replace;
	objects->ops = &lossy_ops;
	loses = true;
	applies = false;
	c.last_ms = 1;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_TEMPORARY);
	ck_assert(!c.there);
	applies = true;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_OK);
	c.last_ms = 2;
	applies = false;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_TEMPORARY);
	loses = false;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_OK);
	objects->ops = real_ops;
}
END_TEST

START_TEST(a_damaged_one_and_one_of_the_future_are_refused)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	struct why why = { "" };
	char text[64];
	checkpoint_init(&c);
	put(KEY, "{\"last_timestamp_ms\": ");
	ck_assert_int_eq(load(&c, &why), RC_CORRUPT);
	ck_assert_ptr_nonnull(strstr(why.text, KEY));
	snprintf(text, sizeof(text), "{\"last_timestamp_ms\": %" PRId64 "}", NOW / 1000 + 86400000);
	put(KEY, text);
	ck_assert_int_eq(load(&c, &why), RC_OK);
	snprintf(text, sizeof(text), "{\"last_timestamp_ms\": %" PRId64 "}", NOW / 1000 + 86400001);
	put(KEY, text);
	ck_assert_int_eq(load(&c, &why), RC_CORRUPT);
	ck_assert_ptr_nonnull(strstr(why.text, "future"));
}
END_TEST

START_TEST(all_are_touched_and_the_latest_is_told)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	int64_t latest_us = 5;
	checkpoint_init(&c);
	ck_assert_int_eq(checkpoint_touch_all(objects, NOW, &latest_us, NULL), RC_OK);
	ck_assert_int_eq(latest_us, 0);
	c.last_ms = 1000;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_OK);
	put("checkpoints/other/one.json", "{\"last_timestamp_ms\": 2000}");
	put("checkpoints/damaged.json", "{");
	put("checkpoints/future.json", "{\"last_timestamp_ms\": 9000000000000}");
	ck_assert_int_eq(checkpoint_touch_all(objects, NOW, &latest_us, NULL), RC_OK);
	ck_assert_int_eq(latest_us, 2000999);
	/* a pass under way can't move it any more, though nothing of it changed but when it was written */
	_cleanup_(freep) char *text = stored(KEY), *damaged = stored("checkpoints/damaged.json");
	ck_assert_ptr_nonnull(strstr(text, "{\"last_timestamp_ms\": 1000,"));
	ck_assert_ptr_nonnull(strstr(text, "06.000124+00:00"));
	ck_assert_str_eq(damaged, "{");
	c.last_ms = 3000;
	ck_assert_int_eq(checkpoint_save(objects, KEY, NOW, &c, NULL), RC_CONFLICT);
}
END_TEST

/* False: they are not here. */
static bool read_vectors(void)
{
	char path[512], part[4096];
	const char *at = getenv("EVFS_VECTORS");
	snprintf(path, sizeof(path), "%s/checkpoint.ndjson", at ? at : VECTORS_DEFAULT);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	for (size_t n; (n = fread(part, 1, sizeof(part), f)) > 0; )
		buf_add(&vectors, part, n);
	fclose(f);
	return !buf_failed(&vectors);
}

int main(void)
{
	Suite *suite = suite_create("checkpoint");
	TCase *bytes = tcase_create("bytes"), *object = tcase_create("object");
	bool has_vectors = read_vectors();
	tcase_add_test(bytes, a_fresh_one_has_the_established_bytes);
	tcase_add_test(bytes, foreign_keys_stay_in_their_place_and_ours_come_last);
	if (has_vectors)
		tcase_add_test(bytes, every_recorded_checkpoint_is_read_and_written_byte_for_byte);
	tcase_add_loop_test(bytes, what_is_no_checkpoint_is_refused_with_a_reason, 0, ARRAY_SIZE(broken));
	tcase_add_test(bytes, the_oldest_id_goes_where_there_are_too_many);
	tcase_add_checked_fixture(object, make_dir, remove_dir);
	tcase_add_test(object, the_first_one_is_made_and_the_next_replaces_it);
	tcase_add_test(object, one_that_somebody_else_moved_is_not_overwritten);
	tcase_add_test(object, a_lost_answer_is_looked_after);
	tcase_add_test(object, a_damaged_one_and_one_of_the_future_are_refused);
	tcase_add_test(object, all_are_touched_and_the_latest_is_told);
	suite_add_tcase(suite, bytes);
	suite_add_tcase(suite, object);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	buf_release(&vectors);
	if (!has_vectors && !failed) {
		printf("skip - no vectors of the established system at " VECTORS_DEFAULT " (EVFS_VECTORS)\n");
		return 77;
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
