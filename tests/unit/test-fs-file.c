/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-fs-file.c - what only this mount knows: node ids, files being written, young directories,
 * refusals.
 */
#include "config.h"
#include "fs/fs-file.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "fs/fs-errors.h"
#include "fs/fs-node.h"
#include "fs/fs-young.h"

START_TEST(node_ids_say_what_they_are)
{
	struct fs_node n;
	fs_node_parse(FUSE_ROOT_ID, &n);
	ck_assert(n.kind == FS_NODE_DIR && n.dir == VIEW_ROOT);
	fs_node_parse(fs_node_dir(77), &n);
	ck_assert(n.kind == FS_NODE_DIR && n.dir == 77);
	fs_node_parse(fs_node_event(77, (1u << 30) - 1024), &n);
	ck_assert(n.kind == FS_NODE_EVENT && n.dir == 77 && n.ordinal == (1u << 30) - 1024);
	for (unsigned turn = 0; turn < FS_NODE_TURNS; turn++) {
		fs_node_parse(fs_node_stream(FS_NODE_YOUNG + 5, turn), &n);
		ck_assert(n.kind == FS_NODE_STREAM && n.dir == FS_NODE_YOUNG + 5);
	}
	fs_node_parse(fs_node_make(FS_NODE_FILE, 12345), &n);
	ck_assert(n.kind == FS_NODE_FILE && n.value == 12345);
	fs_node_parse(fs_node_make(FS_NODE_DAY, 20251231), &n);
	ck_assert(n.kind == FS_NODE_DAY && n.value == 20251231);
	fs_node_parse(fs_node_link(FS_NODE_ID_LINK, 99, 7), &n);
	ck_assert(n.kind == FS_NODE_ID_LINK && n.dir == 99 && n.ordinal == 7);
}
END_TEST

static struct fs_files *files;
static struct fs_young *young;
static struct fs_errors *errors;

static void setup(void)
{
	ck_assert_int_eq(fs_files_new(&files, NULL), RC_OK);
	ck_assert_int_eq(fs_young_new(&young, NULL), RC_OK);
	ck_assert_int_eq(fs_errors_new(&errors, NULL), RC_OK);
	log_open("test", LOG_LEVEL_ERROR, false);
}

static void teardown(void)
{
	fs_files_free(&files);
	fs_young_free(&young);
	fs_errors_free(&errors);
}

static struct fs_file *make(const char *name, bool is_private, pid_t pid)
{
	struct fs_file *f = NULL;
	ck_assert_int_eq(fs_file_make(files, 5, name, is_private, pid, &f, NULL), RC_OK);
	return f;
}

static bool finds(const char *name, pid_t pid)
{
	struct fs_file *f = fs_file_find(files, 5, name, pid);
	fs_file_put(files, f);
	return f;
}

START_TEST(a_written_file_is_known_to_its_writer_only)
{
	struct fs_file *f = make("A.json", false, getpid());
	ck_assert(finds("A.json", getpid()));
	ck_assert(!finds("A.json", 1));
	ck_assert(!finds("B.json", getpid()));
	fs_file_close(files, f);
	ck_assert(finds("A.json", getpid()));
	fs_file_put(files, f);
}
END_TEST

START_TEST(a_private_file_is_known_to_all_until_it_is_unlinked)
{
	struct fs_file *f = make(".tmp", true, getpid());
	ck_assert(finds(".tmp", 1));
	fs_file_unlink(files, f);
	ck_assert(!finds(".tmp", 1));
	fs_file_close(files, f);
	ck_assert_ptr_null(fs_file_get(files, f->id));
	fs_file_put(files, f);
}
END_TEST

START_TEST(an_unlinked_file_is_found_by_id_until_its_last_close)
{
	struct fs_file *f = make(".tmp", true, 1);
	fs_file_open(files, f);
	fs_file_unlink(files, f);
	fs_file_unlink(files, f);
	ck_assert(!fs_file_has_name(files, f));
	/* one of that name is another one */
	struct fs_file *g = make(".tmp", true, 1);
	ck_assert_uint_ne(f->id, g->id);
	fs_file_close(files, f);
	struct fs_file *found = fs_file_get(files, f->id);
	ck_assert_ptr_eq(found, f);
	fs_file_put(files, found);
	fs_file_close(files, f);
	ck_assert_ptr_null(fs_file_get(files, f->id));
	/* opened by who still holds it: it does not come back, nor is it dropped twice */
	fs_file_open(files, f);
	fs_file_close(files, f);
	ck_assert_ptr_null(fs_file_get(files, f->id));
	fs_file_put(files, f);
	ck_assert(finds(".tmp", 1));
	fs_file_put(files, g);
}
END_TEST

START_TEST(a_renamed_file_answers_under_its_new_name_to_who_renamed_it)
{
	struct fs_file *f = make(".tmp", true, 1);
	ck_assert_int_eq(fs_file_write(files, f, "{}", 2, 0, 100, NULL), RC_OK);
	pthread_mutex_lock(&f->lock);
	fs_file_publish(files, f, 5, "A.json", getpid());
	pthread_mutex_unlock(&f->lock);
	ck_assert(!finds(".tmp", 1));
	ck_assert(finds("A.json", getpid()));
	ck_assert(!finds("A.json", 1));
	ck_assert_uint_eq(f->content.len, 0);
	fs_file_close(files, f);
	fs_file_put(files, f);
}
END_TEST

START_TEST(a_rename_replaces_the_private_file_of_that_name)
{
	struct fs_file *f = make(".a", true, 1), *g = make(".b", true, 1);
	ck_assert_int_eq(fs_file_rename(files, f, 5, ".b", NULL), RC_OK);
	ck_assert(!finds(".a", 1));
	struct fs_file *found = fs_file_find(files, 5, ".b", 1);
	ck_assert_ptr_eq(found, f);
	fs_file_put(files, found);
	fs_file_close(files, g);
	fs_file_put(files, g);
	fs_file_put(files, f);
}
END_TEST

START_TEST(contents_are_bounded_one_by_one_and_together)
{
	struct fs_file *all[80];
	size_t n = 0;
	enum rc rc = RC_OK;
	struct fs_file *small = make(".small", true, 1);
	ck_assert_int_eq(fs_file_resize(files, small, 101, 100, NULL), RC_TOO_LARGE);
	fs_file_put(files, small);
	while (n < ARRAY_SIZE(all) && rc == RC_OK) {
		char name[16];
		snprintf(name, sizeof(name), ".f%zu", n);
		all[n] = make(name, true, 1);
		rc = fs_file_resize(files, all[n++], 1 << 20, 1 << 20, NULL);
	}
	ck_assert_int_eq(rc, RC_NO_SPACE);
	ck_assert_uint_eq(n, 65);
	fs_file_unlink(files, all[0]);
	fs_file_close(files, all[0]);
	fs_file_put(files, all[0]);
	ck_assert_int_eq(fs_file_resize(files, all[n - 1], 1 << 20, 1 << 20, NULL), RC_OK);
	for (size_t i = 1; i < n; i++)
		fs_file_put(files, all[i]);
}
END_TEST

START_TEST(content_is_written_anywhere)
{
	struct fs_file *f = make(".f", true, 1);
	ck_assert_int_eq(fs_file_write(files, f, "cd", 2, 2, 100, NULL), RC_OK);
	ck_assert_uint_eq(f->content.len, 4);
	ck_assert_mem_eq(f->content.data, "\0\0cd", 4);
	ck_assert_int_eq(fs_file_write(files, f, "ab", 2, 0, 100, NULL), RC_OK);
	ck_assert_mem_eq(f->content.data, "abcd", 4);
	ck_assert_int_eq(fs_file_resize(files, f, 1, 100, NULL), RC_OK);
	ck_assert_uint_eq(f->size, 1);
	ck_assert_int_eq(fs_file_resize(files, f, 0, 100, NULL), RC_OK);
	ck_assert_uint_eq(f->size, 0);
	ck_assert_uint_eq(f->content.cap, 0);
	ck_assert_int_eq(fs_file_write(files, f, "xy", 2, 0, 100, NULL), RC_OK);
	ck_assert_mem_eq(f->content.data, "xy", 2);
	fs_file_put(files, f);
}
END_TEST

START_TEST(a_young_directory_is_found_listed_and_removed)
{
	struct fs_young_dir a, b, found;
	ck_assert_int_eq(fs_young_make(young, VIEW_ROOT, "Order", 1, &a, NULL), RC_OK);
	ck_assert_int_eq(fs_young_make(young, VIEW_ROOT, "Order", 1, &b, NULL), RC_EXISTS);
	ck_assert_int_eq(fs_young_make(young, a.row, "o-1", 2, &b, NULL), RC_OK);
	ck_assert(fs_young_find(young, a.row, "o-1", 0, &found) && found.row == b.row &&
		  found.depth == 2);
	ck_assert(fs_young_next(young, VIEW_ROOT, 0, &found) && found.row == a.row);
	ck_assert(!fs_young_next(young, VIEW_ROOT, a.row, &found));
	ck_assert_int_eq(fs_young_remove(young, VIEW_ROOT, "Order"), RC_EXISTS);
	ck_assert_int_eq(fs_young_remove(young, a.row, "o-1"), RC_OK);
	ck_assert_int_eq(fs_young_remove(young, VIEW_ROOT, "Order"), RC_OK);
	ck_assert_int_eq(fs_young_remove(young, VIEW_ROOT, "Order"), RC_NOT_FOUND);
}
END_TEST

START_TEST(a_born_directory_keeps_its_row_until_the_kernel_forgets_it)
{
	struct fs_young_dir a, b, found;
	ck_assert_int_eq(fs_young_make(young, VIEW_ROOT, "Order", 1, &a, NULL), RC_OK);
	ck_assert_int_eq(fs_young_make(young, a.row, "o-1", 2, &b, NULL), RC_OK);
	fs_young_born(young, a.row, 10);
	fs_young_born(young, b.row, 11);
	ck_assert(fs_young_get(young, b.row, &found) && found.real == 11);
	ck_assert(!fs_young_next(young, a.row, 0, &found));
	ck_assert_int_eq(fs_young_remove(young, a.row, "o-1"), RC_EXISTS);
	/* the parent outlives its child, whatever the kernel forgets first */
	fs_young_forget(young, a.row, 1);
	ck_assert(fs_young_get(young, a.row, &found));
	fs_young_forget(young, b.row, 1);
	ck_assert(!fs_young_get(young, b.row, &found));
	ck_assert(!fs_young_get(young, a.row, &found));
}
END_TEST

START_TEST(every_refusal_is_a_line_of_json_and_old_ones_go_together)
{
	_cleanup_(buf_release) struct buf all = BUF_INIT;
	char path[32];
	int64_t time_us;
	for (int i = 1; i <= 1600; i++) {
		snprintf(path, sizeof(path), "Order/o-%d/\xff.json", i);
		struct fs_failure f = { .err = ESTALE,
					.path = path,
					.reason = "not \"that\"",
					.conditional = true,
					.expected = 2 };
		uint64_t was = fs_errors_size(errors, &time_us);
		fs_errors_add(errors, &f);
		/* tail -f sees that it shrank */
		ck_assert_int_eq(fs_errors_size(errors, &time_us) < was, i == 1501);
	}
	ck_assert_uint_eq(fs_errors_print(errors, 0, &all), 1600);
	ck_assert_uint_eq(fs_errors_size(errors, &time_us), all.len);
	size_t lines = 0;
	for (char *line = all.data, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
		struct json_value v;
		ck_assert_int_eq(json_parse(line, (size_t)(end - line), JSON_STRICT, &v, NULL),
				 RC_OK);
	}
	ck_assert_uint_eq(lines, 1100);
	ck_assert_ptr_nonnull(
		strstr(all.data, "\"path\":\"Order/o-501/?.json\",\"errno\":\"ESTALE\""));
	buf_reset(&all);
	fs_errors_print(errors, 1599, &all);
	ck_assert_ptr_eq(strchr(all.data, '\n'), all.data + all.len - 1);
}
END_TEST

START_TEST(the_last_reason_is_found_by_path_and_by_directory)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct fs_failure f = { .err = EPERM, .path = "Order/o-1/A.json", .reason = "first" };
	fs_errors_add(errors, &f);
	f.reason = "second";
	fs_errors_add(errors, &f);
	ck_assert(fs_errors_last(errors, "Order/o-1/A.json", &text));
	ck_assert_str_eq(text.data, "second");
	ck_assert(fs_errors_last(errors, "Order/o-1", &text));
	ck_assert(!fs_errors_last(errors, "Order", &text));
	ck_assert(!fs_errors_last(errors, "Order/o-", &text));
	ck_assert(!fs_errors_last(errors, "", &text));
}
END_TEST

START_TEST(no_result_becomes_eagain)
{
	for (int rc = RC_FENCED; rc < RC_OK; rc++) {
		ck_assert_int_ne(fs_errors_errno((enum rc)rc, false), EAGAIN);
		ck_assert_int_gt(fs_errors_errno((enum rc)rc, false), 0);
	}
	ck_assert_int_eq(fs_errors_errno(RC_CONFLICT, false), ESTALE);
	ck_assert_int_eq(fs_errors_errno(RC_DENIED, true), EROFS);
	ck_assert_int_eq(fs_errors_errno(RC_CANCELLED, false), EINTR);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fs-file");
	TCase *tc = tcase_create("fs-file");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, node_ids_say_what_they_are);
	tcase_add_test(tc, a_written_file_is_known_to_its_writer_only);
	tcase_add_test(tc, a_private_file_is_known_to_all_until_it_is_unlinked);
	tcase_add_test(tc, an_unlinked_file_is_found_by_id_until_its_last_close);
	tcase_add_test(tc, a_renamed_file_answers_under_its_new_name_to_who_renamed_it);
	tcase_add_test(tc, a_rename_replaces_the_private_file_of_that_name);
	tcase_add_test(tc, contents_are_bounded_one_by_one_and_together);
	tcase_add_test(tc, content_is_written_anywhere);
	tcase_add_test(tc, a_young_directory_is_found_listed_and_removed);
	tcase_add_test(tc, a_born_directory_keeps_its_row_until_the_kernel_forgets_it);
	tcase_add_test(tc, every_refusal_is_a_line_of_json_and_old_ones_go_together);
	tcase_add_test(tc, the_last_reason_is_found_by_path_and_by_directory);
	tcase_add_test(tc, no_result_becomes_eagain);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
