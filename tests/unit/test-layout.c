/* SPDX-License-Identifier: Apache-2.0 */
/* test-layout.c - what a store is, and which streams and entries its objects name. */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/layout.h"

static char dir[64];
static struct object_store *objects;
static struct why why;

static void setup(void)
{
	strcpy(dir, "/tmp/evfs-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(object_dir_new(&objects, dir, &why), RC_OK);
}

static void teardown(void)
{
	char command[96];
	object_free(&objects);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void put(const char *key, const char *text)
{
	struct object_put p = { .key = key, .buf = text, .len = strlen(text) };
	ck_assert_msg(object_put(objects, &p, 1, 0) == RC_OK, "%s: %s", key, p.why.text);
}

static bool add_stream(void *arg, const char *type, const char *id)
{
	buf_printf(arg, "%s/%s\n", type, id);
	return true;
}

static void add_foreign(void *arg, const char *key)
{
	buf_printf(arg, "foreign %s\n", key);
}

static bool add_entry(void *arg, const struct layout_entry *e)
{
	buf_printf(arg, "%ju %s %s\n", (uintmax_t)e->number, e->event_id ? e->event_id : "-",
		   e->key);
	return true;
}

static bool add_child(void *arg, const char *part)
{
	buf_printf(arg, "%s\n", part);
	return true;
}

START_TEST(an_empty_directory_is_no_store)
{
	struct layout_store info;
	ck_assert_int_eq(layout_probe(objects, &info, &why), RC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(why.text, "streams/"));
}
END_TEST

START_TEST(what_was_created_is_probed_as_such_and_not_created_twice)
{
	struct layout_store made, found;
	ck_assert_int_eq(layout_create(objects, &made, &why), RC_OK);
	ck_assert_int_eq(layout_probe(objects, &found, &why), RC_OK);
	ck_assert_str_eq(made.uuid, found.uuid);
	ck_assert(found.has_uuid && found.layout == LAYOUT_NATIVE);
	ck_assert_int_eq(found.created_us, made.created_us);
	ck_assert_int_eq(layout_create(objects, &made, &why), RC_EXISTS);
}
END_TEST

START_TEST(another_format_or_layout_is_refused_with_both_numbers)
{
	static const struct {
		const char *text, *in_why;
		enum rc rc;
	} cases[] = {
		{ "{\"format\":2,\"layout\":\"native\"}", "format 2, this program knows 1",
		  RC_INVALID },
		{ "{\"format\":1,\"layout\":\"packed\",\"uuid\":\"x\"}", "'packed'", RC_INVALID },
		{ "{\"format\":1,\"layout\":\"native\"}", "uuid", RC_CORRUPT },
		{ "{\"format\":1,", "line 1", RC_CORRUPT },
		{ "", "store.json", RC_CORRUPT },
	};
	struct layout_store found;
	put(LAYOUT_STORE_KEY, cases[_i].text);
	ck_assert_int_eq(layout_probe(objects, &found, &why), cases[_i].rc);
	ck_assert_msg(strstr(why.text, cases[_i].in_why), "%s", why.text);
}
END_TEST

START_TEST(a_mirror_without_store_json_is_told_from_its_objects_with_a_stable_uuid)
{
	struct layout_store found, again;
	put(_i ? "indexes/by-aggregate/A/1/00000000000000000001_x.json"
	       : "streams/A/1/0000000001.json",
	    "{}");
	ck_assert_int_eq(layout_probe(objects, &found, &why), RC_OK);
	ck_assert_int_eq(found.layout, _i ? LAYOUT_INDEXED : LAYOUT_NATIVE);
	ck_assert(!found.has_uuid);
	ck_assert_uint_eq(strlen(found.uuid), 36);
	ck_assert_int_eq(layout_probe(objects, &again, &why), RC_OK);
	ck_assert_str_eq(found.uuid, again.uuid);
}
END_TEST

START_TEST(a_seeding_is_replaced_only_by_who_read_the_last)
{
	struct layout_seeding a, b;
	ck_assert_int_eq(layout_read_seeding(objects, &a, &why), RC_OK);
	ck_assert_uint_eq(a.number, 0);
	a.number = 1;
	strcpy(a.identity, "one \"quoted\"");
	b = a;
	ck_assert_int_eq(layout_write_seeding(objects, &a, &why), RC_OK);
	ck_assert_int_eq(layout_write_seeding(objects, &b, &why), RC_CONFLICT);
	a.number = 2;
	ck_assert_int_eq(layout_write_seeding(objects, &a, &why), RC_OK);
	ck_assert_int_eq(layout_read_seeding(objects, &b, &why), RC_OK);
	ck_assert_uint_eq(b.number, 2);
	ck_assert_str_eq(b.identity, "one \"quoted\"");
}
END_TEST

START_TEST(each_native_stream_is_told_once_though_others_lie_below_it)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	put("streams/A/x/0000000001.json", "");
	put("streams/A/x/0000000002x/0000000001.json", "");
	put("streams/A/x/0000000003.json", "");
	put("streams/A/x/0000000003y/0000000007.json", "");
	put("streams/A/x/notes.txt", "");
	put("streams/A/%2Ey/0000000001.json", "");
	put("readme", "");
	put("other/a/b", "");
	ck_assert_int_eq(
		layout_list_streams(objects, LAYOUT_NATIVE, add_stream, &got, add_foreign, &why),
		RC_OK);
	ck_assert_str_eq(
		buf_text(&got),
		"A/.y\nA/x\nA/x/0000000002x\nA/x/0000000003y\nforeign streams/A/x/notes.txt\n"
		"foreign readme\nforeign other/a/b\n");
}
END_TEST

START_TEST(only_direct_children_behind_a_number_are_a_native_streams_entries)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	put("streams/A/x/0000000001.json", "");
	put("streams/A/x/0000000002.json", "");
	put("streams/A/x/0000000003.json", "");
	put("streams/A/x/00000000004.json", "");	/* eleven digits with a zero in front */
	put("streams/A/x/4.json", "");
	put("streams/A/x/y/0000000009.json", "");
	ck_assert_int_eq(
		layout_list_stream(objects, LAYOUT_NATIVE, "A", "x", 1, add_entry, &got, &why),
		RC_OK);
	ck_assert_str_eq(buf_text(&got),
			 "2 - streams/A/x/0000000002.json\n3 - streams/A/x/0000000003.json\n");
}
END_TEST

START_TEST(indexed_entries_come_by_number_and_id_without_those_of_longer_ids)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	put("indexes/by-aggregate/D/db/00000000000000000000_n.json",
	    ""); /* an event without number */
	put("indexes/by-aggregate/D/db/00000000000000000002_b.json", "");
	put("indexes/by-aggregate/D/db/00000000000000000002_a.json", "");
	put("indexes/by-aggregate/D/db/00000000000000000010_a.json", "");
	put("indexes/by-aggregate/D/db/events.json", "");
	put("indexes/by-aggregate/D/db/branch/00000000000000000001_c.json", "");
	ck_assert_int_eq(
		layout_list_stream(objects, LAYOUT_INDEXED, "D", "db", 0, add_entry, &got, &why),
		RC_OK);
	ck_assert_str_eq(buf_text(&got),
			 "2 a indexes/by-aggregate/D/db/00000000000000000002_a.json\n"
			 "2 b indexes/by-aggregate/D/db/00000000000000000002_b.json\n"
			 "10 a indexes/by-aggregate/D/db/00000000000000000010_a.json\n");
	buf_reset(&got);
	ck_assert_int_eq(
		layout_list_stream(objects, LAYOUT_INDEXED, "D", "db", 2, add_entry, &got, &why),
		RC_OK);
	ck_assert_str_eq(buf_text(&got),
			 "10 a indexes/by-aggregate/D/db/00000000000000000010_a.json\n");
	buf_reset(&got);
	ck_assert_int_eq(layout_list_streams(objects, LAYOUT_INDEXED, add_stream, &got, NULL, &why),
			 RC_OK);
	ck_assert_str_eq(buf_text(&got), "D/db\nD/db/branch\n");
}
END_TEST

START_TEST(directories_are_listed_a_level_at_a_time_with_their_own_texts)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	put("streams/A/x/0000000001.json", "");
	put("streams/A/%2Ehid/y/0000000001.json", "");
	put("streams/B%2Fc/z/0000000001.json", "");
	ck_assert_int_eq(
		layout_list_children(objects, LAYOUT_NATIVE, NULL, NULL, add_child, &got, &why),
		RC_OK);
	ck_assert_str_eq(buf_text(&got), "A\nB/c\n");
	buf_reset(&got);
	ck_assert_int_eq(
		layout_list_children(objects, LAYOUT_NATIVE, "A", NULL, add_child, &got, &why),
		RC_OK);
	ck_assert_str_eq(buf_text(&got), ".hid\nx\n");
	buf_reset(&got);
	ck_assert_int_eq(
		layout_list_children(objects, LAYOUT_NATIVE, "A", ".hid", add_child, &got, &why),
		RC_OK);
	ck_assert_str_eq(buf_text(&got), "y\n");
}
END_TEST

#define BODY                                                                                       \
	"{\"event_id\":\"e\",\"event_type\":\"T\",\"aggregate_type\":\"A\",\"aggregate_id\":"      \
	"\"x\",\"occurred_at\":"                                                                   \
	"\"2025-01-01T00:00:00Z\",\"actor\":null,\"data\":{},\"metadata\":{},\"schema_version\":"  \
	"\"1\",\"sequence_number\":3}"

START_TEST(an_event_of_another_stream_or_number_is_refused_with_both)
{
	struct event e = EVENT_INIT;
	ck_assert_int_eq(layout_check_event(BODY, strlen(BODY), "A", "x", 3, &e, &why), RC_OK);
	ck_assert_str_eq(e.event_id, "e");
	event_release(&e);
	ck_assert_int_eq(layout_check_event(BODY, strlen(BODY), NULL, NULL, 0, &e, &why), RC_OK);
	event_release(&e);
	ck_assert_int_eq(layout_check_event(BODY, strlen(BODY), "A", "x", 4, &e, &why), RC_INVALID);
	ck_assert_str_eq(why.text, "it has the number 3, expected 4");
	ck_assert_int_eq(layout_check_event(BODY, strlen(BODY), "A", "y", 3, &e, &why), RC_INVALID);
	ck_assert_str_eq(why.text, "it is an event of 'A/x', expected 'A/y'");
	ck_assert_int_eq(layout_check_event("{", 1, "A", "y", 3, &e, &why), RC_INVALID);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("layout");
	TCase *tc = tcase_create("layout");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_empty_directory_is_no_store);
	tcase_add_test(tc, what_was_created_is_probed_as_such_and_not_created_twice);
	tcase_add_loop_test(tc, another_format_or_layout_is_refused_with_both_numbers, 0, 5);
	tcase_add_loop_test(
		tc, a_mirror_without_store_json_is_told_from_its_objects_with_a_stable_uuid, 0, 2);
	tcase_add_test(tc, a_seeding_is_replaced_only_by_who_read_the_last);
	tcase_add_test(tc, each_native_stream_is_told_once_though_others_lie_below_it);
	tcase_add_test(tc, only_direct_children_behind_a_number_are_a_native_streams_entries);
	tcase_add_test(tc, indexed_entries_come_by_number_and_id_without_those_of_longer_ids);
	tcase_add_test(tc, directories_are_listed_a_level_at_a_time_with_their_own_texts);
	tcase_add_test(tc, an_event_of_another_stream_or_number_is_refused_with_both);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
