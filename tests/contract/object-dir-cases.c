/* SPDX-License-Identifier: Apache-2.0 */
/* object-dir-cases.c - what only directories, and the fault wrapper over one, keep to. */
#include "config.h"
#include "object-backend.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/clock.h"

static int64_t standing_clock(void)
{
	return INT64_C(1700000000000000);
}

START_TEST(every_version_has_its_own_tag)
{
	clock_set(standing_clock);
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
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

START_TEST(a_store_without_room_is_not_ready)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct why why = { "" };
	ck_assert_int_eq(object_ready(s, UINT64_MAX, 10, &why), RC_NO_SPACE);
	ck_assert_ptr_nonnull(strstr(why.text, "are needed"));
	ck_assert_int_eq(object_ready(s, 0, SIZE_MAX, &why), RC_NO_SPACE);
}
END_TEST

START_TEST(a_store_that_was_moved_away_is_not_ready)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct why why = { "" };
	char moved[320], expected[400];
	snprintf(moved, sizeof(moved), "%s/moved", object_backend_root);
	snprintf(expected, sizeof(expected), "the store directory '%s' is gone",
		 object_backend_dir);
	ck_assert_int_eq(rename(object_backend_dir, moved), 0);
	ck_assert_int_eq(object_ready(s, 1, 1, &why), RC_TEMPORARY);
	ck_assert_str_eq(why.text, expected);
	ck_assert_int_eq(mkdir(object_backend_dir, 0755), 0);
	ck_assert_int_eq(object_ready(s, 1, 1, &why), RC_TEMPORARY); /* another one in its place */
	ck_assert_int_eq(rmdir(object_backend_dir), 0);
	ck_assert_int_eq(rename(moved, object_backend_dir), 0);
	ck_assert_int_eq(object_ready(s, 1, 1, &why), RC_OK);
}
END_TEST

START_TEST(a_store_that_was_removed_is_gone_and_not_empty)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	struct told t = { .keys = BUF_INIT };
	struct why why = { "" };
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	object_backend_remove_tree(object_backend_dir);
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
	_cleanup_(object_freep) struct object_store *s = object_backend_open(i);
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
	struct object_store *s = object_backend_open(_i);
	ck_assert_int_eq(put_text(s, "a/b", "text", NULL), RC_OK);
	object_free(&s);
	object_backend_remove_tree(object_backend_path(".evfs"));
	ck_assert_int_eq(chmod(object_backend_root, 0755), 0);
	ck_assert_int_eq(chmod(object_backend_path("a"), 0555), 0);
	ck_assert_int_eq(chmod(object_backend_dir, 0555), 0);
	run_as_nobody(use_read_only, _i);
	ck_assert_int_eq(chmod(object_backend_dir, 0755), 0);
	ck_assert_int_eq(chmod(object_backend_path("a"), 0755), 0);
	ck_assert_int_eq(access(object_backend_path(".evfs"), F_OK), -1);
}
END_TEST

/* A file of an unprivileged user: linking a descriptor needs another way on old kernels. */
static void put_as_nobody(int i)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(i);
	struct why why = { "" };
	if (put_text(s, "a/b", "text", &why) != RC_OK) {
		fprintf(stderr, "%s\n", why.text);
		_exit(3);
	}
}

START_TEST(a_plain_user_can_write)
{
	ck_assert_int_eq(chmod(object_backend_root, 0755), 0);
	ck_assert_int_eq(chmod(object_backend_dir, 0777), 0);
	run_as_nobody(put_as_nobody, _i);
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	assert_text(s, "a/b", "text");
}
END_TEST

/* Needs a small file system of its own; registered for root only. */
START_TEST(a_full_disk_is_no_space_and_leaves_nothing_behind)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", object_backend_dir, "tmpfs", 0, "size=2m"))
		ck_abort_msg("cannot mount a tmpfs");
	_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
	_cleanup_(freep) char *big = calloc(1, 4 << 20);
	struct object_put it = { .key = "d/big", .buf = big, .len = 4 << 20 };
	struct why why = { "" };
	ck_assert_int_eq(object_put(s, &it, 1, 0), RC_NO_SPACE);
	ck_assert_str_eq(it.why.text, "cannot store 'd/big': No space left on device");
	ck_assert_int_eq(object_replace(s, "v", big, 4 << 20, NULL, NULL, &why), RC_NO_SPACE);
	ck_assert_int_eq(get_rc(s, "d/big"), RC_NOT_FOUND);
	assert_tmp_empty(_i);
	ck_assert_int_eq(object_ready(s, 100, 1, &why), RC_OK);
	ck_assert_int_eq(object_ready(s, 1 << 20, 1, &why), RC_NO_SPACE);
	it.len = 1 << 20;
	ck_assert_int_eq(object_put(s, &it, 1, 0), RC_OK);
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
		keep_putting(object_backend_open(i));
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
	enum { MOMENT = 64 };
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
		_cleanup_(object_freep) struct object_store *s = object_backend_open(_i);
		ck_assert_int_eq(object_list(s, "t/", NULL, OBJECT_LIST_DEEP, count_bytes, &n,
					     NULL),
				 RC_OK);
		ck_assert_uint_ge(n, kills[k].at_least);
		ck_assert_uint_le(n, kills[k].at_most);
		assert_tmp_empty(_i);
		object_backend_remove_tree(object_backend_path("t"));
	}
}
END_TEST
#endif

/* What only a directory has. */

START_TEST(opening_a_missing_directory_is_not_found)
{
	struct object_store *s = NULL;
	struct why why = { "" };
	write_file(object_backend_path("file"), "x");
	ck_assert_int_eq(object_dir_new(&s, object_backend_path("missing"), &why), RC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(why.text, "/store/missing': No such file or directory"));
	ck_assert_int_eq(object_dir_new(&s, object_backend_path("file"), &why), RC_NOT_FOUND);
	ck_assert_ptr_null(s);
}
END_TEST

START_TEST(opening_writes_nothing)
{
	struct object_store *s = object_backend_open(0);
	ck_assert_int_eq(get_rc(s, "a"), RC_NOT_FOUND);
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "");
	object_free(&s);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(rmdir(object_backend_dir), 0); /* it is empty */
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
	ck_assert_int_eq(mkdir(object_backend_path(".evfs"), 0755), 0);
	ck_assert_int_eq(mkdir(object_backend_path(OBJECT_DIR_TMP), 0755), 0);
	write_file(object_backend_path(left), "x");
	write_file(object_backend_path(ours), "x");
	write_file(object_backend_path(OBJECT_DIR_TMP "/foreign"), "x");

	struct object_store *s = object_backend_open(0);
	object_free(&s);
	ck_assert_int_eq(access(object_backend_path(left), F_OK), -1);
	ck_assert_int_eq(access(object_backend_path(ours), F_OK), 0);
	ck_assert_int_eq(access(object_backend_path(OBJECT_DIR_TMP "/foreign"), F_OK), 0);
}
END_TEST

START_TEST(links_are_followed_to_files_of_the_store_only)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(0);
	char outside[320];
	struct why why = { "" };
	snprintf(outside, sizeof(outside), "%s/outside", object_backend_root);
	write_file(outside, "secret");
	ck_assert_int_eq(put_text(s, "a/real", "text", NULL), RC_OK);
	ck_assert_int_eq(symlink("real", object_backend_path("a/link")), 0);
	ck_assert_int_eq(symlink("../../outside", object_backend_path("a/out")), 0);
	ck_assert_int_eq(symlink(outside, object_backend_path("a/absolute")), 0);
	ck_assert_int_eq(symlink("nowhere", object_backend_path("a/dangling")), 0);
	ck_assert_int_eq(symlink("a", object_backend_path("again")), 0);
	ck_assert_int_eq(symlink("..", object_backend_path("up")), 0);
	ck_assert_int_eq(mkfifo(object_backend_path("a/fifo"), 0644), 0);

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
	_cleanup_(object_freep) struct object_store *s = object_backend_open(0);
	write_file(object_backend_path("big"), "x");
	ck_assert_int_eq(truncate(object_backend_path("big"), (off_t)OBJECT_MAX + 1), 0);
	ck_assert_int_eq(get_rc(s, "big"), RC_TOO_LARGE);
	ck_assert_int_eq(truncate(object_backend_path("big"), (off_t)OBJECT_MAX), 0);
	ck_assert_int_eq(get_rc(s, "big"), RC_OK);
	struct object_put it = { .key = "put", .buf = "", .len = (size_t)OBJECT_MAX + 1 };
	ck_assert_int_eq(object_put(s, &it, 1, 0), RC_TOO_LARGE);
}
END_TEST

START_TEST(a_lost_write_is_not_forgotten_by_the_next_sync)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(0);
	struct why why = { "" };
	atomic_store(&object_backend_as_dir(s)->sync_error, EIO);
	ck_assert_int_eq(object_sync(s, &why), RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(why.text, "Input/output error"));
}
END_TEST

START_TEST(the_current_directory_does_not_matter)
{
	_cleanup_(freep) char *before = realpath(".", NULL);
	ck_assert_int_eq(chdir(object_backend_root), 0);
	struct object_store *s = NULL;
	ck_assert_int_eq(object_dir_new(&s, "store", NULL), RC_OK);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(put_text(s, "a", "x", NULL), RC_OK);
	ck_assert_int_eq(object_ready(s, 1, 1, NULL), RC_OK);
	ck_assert_int_eq(access(object_backend_path("a"), F_OK), 0);
	object_free(&s);
	ck_assert_int_eq(chdir(before), 0);
}
END_TEST

/* What only the fault wrapper has. */

START_TEST(every_nth_put_fails_and_stores_nothing)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(BACKEND_FAULT);
	struct object_put items[10];
	char keys[10][8];
	object_backend_faults = (struct object_faults){ .put_nth = 3, .put_rc = RC_TEMPORARY };
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		snprintf(keys[i], sizeof(keys[i]), "%zu", i);
		items[i] = (struct object_put){ .key = keys[i], .buf = "x", .len = 1 };
	}
	ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), 0), RC_TEMPORARY);
	ck_assert_str_eq(items[2].why.text, "injected: temporary failure on put of '2'");
	assert_list(s, "", NULL, OBJECT_LIST_DEEP, "0 1 3 4 6 7 9 ");
	object_backend_faults.put_nth = 0;
	ck_assert_int_eq(put_text(s, "2", "x", NULL), RC_OK);
}
END_TEST

START_TEST(an_uncertain_put_did_land)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(BACKEND_FAULT);
	object_backend_faults = (struct object_faults){ .put_nth = 1, .put_rc = RC_UNCERTAIN };
	ck_assert_int_eq(put_text(s, "a", "text", NULL), RC_UNCERTAIN);
	assert_text(s, "a", "text");
	ck_assert_int_eq(put_text(s, "a", "text", NULL), RC_EXISTS);
}
END_TEST

START_TEST(every_nth_get_fails)
{
	_cleanup_(object_freep) struct object_store *s = object_backend_open(BACKEND_FAULT);
	ck_assert_int_eq(put_text(s, "a", "text", NULL), RC_OK);
	object_backend_faults = (struct object_faults){ .get_nth = 2, .get_rc = RC_TEMPORARY };
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

static void add_for_all(TCase *tc)
{
	const TTest *const tests[] = {
		every_version_has_its_own_tag,
		a_store_without_room_is_not_ready,
		a_store_that_was_moved_away_is_not_ready,
		a_store_that_was_removed_is_gone_and_not_empty,
		a_read_only_store_reads_and_refuses_to_write,
		a_plain_user_can_write,
	};
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i], 0, BACKEND_LOCAL);
#ifdef ENABLE_FAILPOINTS
	tcase_add_loop_test(tc, a_killed_put_is_there_whole_or_not_at_all, 0, BACKEND_LOCAL);
#endif
	if (geteuid() == 0)
		tcase_add_loop_test(tc, a_full_disk_is_no_space_and_leaves_nothing_behind, 0,
				    BACKEND_LOCAL);
	else
		fprintf(stderr, "not run: a_full_disk_is_no_space_and_leaves_nothing_behind (needs "
				"root)\n");
}

void object_dir_cases_add(TCase *dir, TCase *all_dirs, TCase *fault)
{
	add_for_all(all_dirs);
	tcase_add_test(dir, opening_a_missing_directory_is_not_found);
	tcase_add_test(dir, opening_writes_nothing);
	tcase_add_test(dir, opening_removes_what_dead_processes_left);
	tcase_add_test(dir, links_are_followed_to_files_of_the_store_only);
	tcase_add_test(dir, a_file_over_the_limit_is_too_large);
	tcase_add_test(dir, a_lost_write_is_not_forgotten_by_the_next_sync);
	tcase_add_test(dir, the_current_directory_does_not_matter);
	tcase_add_test(fault, every_nth_put_fails_and_stores_nothing);
	tcase_add_test(fault, an_uncertain_put_did_land);
	tcase_add_test(fault, every_nth_get_fails);
}
