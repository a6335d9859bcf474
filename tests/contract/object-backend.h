/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backends of object.h that the contract runs over, and what its cases share.
 *
 * The dir backend runs once for each way in which it can create and open files, whatever the local
 * kernel offers. S3 runs where the environment names a server (EVFS_S3_ENDPOINT, EVFS_S3_2_ENDPOINT
 * …, tests/services/README); each test has a prefix of its own in a bucket of the run.
 */
#ifndef EVFS_TESTS_OBJECT_BACKEND_H
#define EVFS_TESTS_OBJECT_BACKEND_H

#include <check.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "object/object-dir.h"
#include "object/object-s3.h"

enum {
	BACKEND_DIR, /* as the kernel likes it */
	BACKEND_DIR_PROC,
	BACKEND_DIR_RENAME,
	BACKEND_DIR_LINK,
	BACKEND_FAULT,
	BACKEND_LOCAL, /* so many need no server */
	BACKEND_S3 = BACKEND_LOCAL,
	BACKEND_S3_2,
	BACKEND_MAX
};

/* Call first of all. Says what is not there, and how many backends there are. */
int object_backend_count(void);
/* One of those that have a server. */
bool object_backend_is_s3(int i);

/* The current test's directory, and the store in it, so that it can be moved away. */
extern char object_backend_root[256], object_backend_dir[300];
extern struct object_faults object_backend_faults;
void object_backend_setup(void);
void object_backend_teardown(void);
void object_backend_remove_tree(const char *path);
/* A file of the store directory. */
const char *object_backend_path(const char *key);

struct object_store *object_backend_open(int i);
/* How many bytes of a key the backend takes for itself. */
size_t object_backend_prefix_len(int i);
/* The options that open an S3 backend's store; for a store that differs. */
struct object_s3_options object_backend_s3_options(int i);
struct object_dir *object_backend_as_dir(struct object_store *s);
enum object_dir_how object_backend_how(int i);

void write_file(const char *path, const char *text);
enum rc put_text(struct object_store *s, const char *key, const char *text, struct why *why);
enum rc get_rc(struct object_store *s, const char *key);
void assert_text(struct object_store *s, const char *key, const char *text);
/* Nothing unfinished is left, where a directory could hold it. */
void assert_tmp_empty(int i);

struct told {
	struct buf keys; /* "a b c/ " */
	size_t n, stop_after;
};
bool tell(void *arg, const struct object_info *info);
void assert_list(struct object_store *s, const char *prefix, const char *after,
		 enum object_list_flags flags, const char *expected);

/* Put ROUNDS batches of 32 objects of one byte below "t/", keys of this process and thread. */
#define KEEP_PUTTING_ROUNDS 3
void *keep_putting(void *store);
/* For object_list: that each has one byte, and how many there are. */
bool count_bytes(void *n, const struct object_info *info);

/* The rooms of the test. */
void object_cases_add(TCase *tc, int n);
void object_list_cases_add(TCase *tc, int n);
void object_dir_cases_add(TCase *dir, TCase *all_dirs, TCase *fault);
void object_s3_cases_add(TCase *tc, int n);

#endif
