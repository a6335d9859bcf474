/* SPDX-License-Identifier: Apache-2.0 */
/* object-backend.c - the backends that the contract runs over, and what its cases share. */
#include "config.h"
#include "object-backend.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "base/clock.h"

static struct {
	const char *name;
	enum object_dir_how how;
	bool no_openat2, fault;
	const char *env; /* of a server: what its variables begin with */
} backends[BACKEND_MAX] = {
	[BACKEND_DIR] = { "dir", OBJECT_DIR_HOW_UNKNOWN, false, false, NULL },
	[BACKEND_DIR_PROC] = { "dir(proc)", OBJECT_DIR_HOW_PROC, false, false, NULL },
	[BACKEND_DIR_RENAME] = { "dir(rename)", OBJECT_DIR_HOW_RENAME, false, false, NULL },
	[BACKEND_DIR_LINK] = { "dir(link, no openat2)", OBJECT_DIR_HOW_LINK, true, false, NULL },
	[BACKEND_FAULT] = { "fault(dir)", OBJECT_DIR_HOW_UNKNOWN, false, true, NULL },
	/* the servers that are there move to the front */
	[BACKEND_S3] = { "s3", OBJECT_DIR_HOW_UNKNOWN, false, false, "EVFS_S3" },
	[BACKEND_S3_2] = { "s3(2)", OBJECT_DIR_HOW_UNKNOWN, false, false, "EVFS_S3_2" },
};

static int n_backends;
char object_backend_root[256], object_backend_dir[300];
struct object_faults object_backend_faults;
/* one bucket a run, one prefix in it a test */
static char bucket[64], prefix[64];

static const char *variable(const char *server, const char *name)
{
	char text[64];
	snprintf(text, sizeof(text), "%s_%s", server, name);
	const char *value = getenv(text);
	return value && *value ? value : NULL;
}

struct object_s3_options object_backend_s3_options(int i)
{
	const char *server = backends[i].env;
	return (struct object_s3_options){
		.bucket = bucket,
		.prefix = prefix,
		.endpoint = variable(server, "ENDPOINT"),
		.ca_file = variable(server, "CA"),
		.parallel = 16,
		.timeout_ms = 20000,
		.cred = { .access = variable(server, "ACCESS_KEY"),
			  .secret = variable(server, "SECRET_KEY"),
			  .timeout_ms = 1000 },
	};
}

/* By who may, which need not be who runs the tests. */
static void make_bucket(int i)
{
	struct object_store *s = NULL;
	struct why why = { "" };
	struct object_s3_options o = object_backend_s3_options(i);
	const char *server = backends[i].env;
	if (variable(server, "INIT_ACCESS_KEY")) {
		o.cred.access = variable(server, "INIT_ACCESS_KEY");
		o.cred.secret = variable(server, "INIT_SECRET_KEY");
	}
	enum rc rc = object_s3_new(&s, &o, &why);
	if (rc == RC_OK)
		rc = object_s3_make(s, &why);
	if (rc != RC_OK && rc != RC_EXISTS) {
		fprintf(stderr, "%s: %s\n", backends[i].name, why.text);
		exit(EXIT_FAILURE);
	}
	object_free(&s);
}

int object_backend_count(void)
{
	uint32_t salt;
	clock_random(&salt, sizeof(salt));
	snprintf(bucket, sizeof(bucket), "evfs-contract-%08x", salt);
	n_backends = BACKEND_LOCAL;
	for (int i = BACKEND_LOCAL; i < BACKEND_MAX; i++) {
		if (!variable(backends[i].env, "ENDPOINT")) {
			fprintf(stderr, "not run: %s (no %s_ENDPOINT)\n", backends[i].name,
				backends[i].env);
			continue;
		}
		backends[n_backends] = backends[i];
		make_bucket(n_backends++);
	}
	return n_backends;
}

bool object_backend_is_s3(int i)
{
	return backends[i].env;
}

size_t object_backend_prefix_len(int i)
{
	return backends[i].env ? strlen(prefix) : 0;
}

void object_backend_setup(void)
{
	uint64_t salt;
	clock_random(&salt, sizeof(salt));
	snprintf(prefix, sizeof(prefix), "t/%016llx/", (unsigned long long)salt);

	const char *tmp = getenv("TMPDIR");
	snprintf(object_backend_root, sizeof(object_backend_root), "%s/test-object.XXXXXX",
		 tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(object_backend_root));
	snprintf(object_backend_dir, sizeof(object_backend_dir), "%s/store", object_backend_root);
	ck_assert_int_eq(mkdir(object_backend_dir, 0755), 0);
	object_backend_faults = (struct object_faults){ 0 };
}

static int remove_path(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void object_backend_remove_tree(const char *path)
{
	nftw(path, remove_path, 32, FTW_DEPTH | FTW_PHYS);
}

void object_backend_teardown(void)
{
	umount2(object_backend_dir, MNT_DETACH);
	object_backend_remove_tree(object_backend_root);
}

struct object_dir *object_backend_as_dir(struct object_store *s)
{
	return container_of(s, struct object_dir, base);
}

enum object_dir_how object_backend_how(int i)
{
	return backends[i].how;
}

struct object_store *object_backend_open(int i)
{
	struct object_store *s = NULL;
	struct why why = { "" };
	if (backends[i].env) {
		struct object_s3_options o = object_backend_s3_options(i);
		ck_assert_msg(object_s3_new(&s, &o, &why) == RC_OK, "%s", why.text);
		return s;
	}
	ck_assert_msg(object_dir_new(&s, object_backend_dir, &why) == RC_OK, "%s", why.text);
	atomic_store(&object_backend_as_dir(s)->how, backends[i].how);
	if (backends[i].no_openat2)
		object_backend_as_dir(s)->has_openat2 = false;
	if (backends[i].fault)
		ck_assert_int_eq(object_fault_new(&s, s, &object_backend_faults, &why), RC_OK);
	return s;
}

const char *object_backend_path(const char *key)
{
	static char path[2048];
	snprintf(path, sizeof(path), "%s/%s", object_backend_dir, key);
	return path;
}

void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

enum rc put_text(struct object_store *s, const char *key, const char *text, struct why *why)
{
	struct object_put it = { .key = key, .buf = text, .len = strlen(text) };
	enum rc rc = object_put(s, &it, 1, 0);
	ck_assert_int_eq(rc, it.rc);
	if (why)
		*why = it.why;
	return rc;
}

enum rc get_rc(struct object_store *s, const char *key)
{
	struct object_get it = { .key = key };
	enum rc rc = object_get(s, &it, 1);
	ck_assert_int_eq(rc, it.rc);
	free(it.buf);
	return rc;
}

void assert_text(struct object_store *s, const char *key, const char *text)
{
	struct object_get it = { .key = key };
	enum rc rc = object_get(s, &it, 1);
	ck_assert_msg(rc == RC_OK, "%s", it.why.text);
	ck_assert_uint_eq(it.len, strlen(text));
	ck_assert_str_eq(it.buf, text); /* the NUL behind it is there */
	free(it.buf);
}

void assert_tmp_empty(int i)
{
	if (backends[i].env)
		return;
	ck_assert_msg(rmdir(object_backend_path(OBJECT_DIR_TMP)) == 0 || errno == ENOENT,
		      "something is left in %s", OBJECT_DIR_TMP);
}

bool tell(void *arg, const struct object_info *info)
{
	struct told *t = arg;
	buf_add_text(&t->keys, info->key);
	buf_add_char(&t->keys, ' ');
	ck_assert(info->is_prefix == (info->key[strlen(info->key) - 1] == '/'));
	return ++t->n != t->stop_after;
}

void assert_list(struct object_store *s, const char *from, const char *after,
		 enum object_list_flags flags, const char *expected)
{
	struct told t = { .keys = BUF_INIT };
	struct why why = { "" };
	ck_assert_msg(object_list(s, from, after, flags, tell, &t, &why) == RC_OK, "%s", why.text);
	ck_assert_str_eq(buf_text(&t.keys), expected);
	buf_release(&t.keys);
}

void *keep_putting(void *arg)
{
	struct object_store *s = arg;
	struct object_put items[32];
	for (unsigned round = 0; round < KEEP_PUTTING_ROUNDS; round++) {
		char keys[32][64];
		for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
			snprintf(keys[i], sizeof(keys[i]), "t/%d-%zx/%u/%zu", (int)getpid(),
				 (size_t)pthread_self(), round, i);
			items[i] = (struct object_put){ .key = keys[i], .buf = "x", .len = 1 };
		}
		ck_assert_int_eq(object_put(s, items, ARRAY_SIZE(items), 0), RC_OK);
	}
	return NULL;
}

bool count_bytes(void *arg, const struct object_info *info)
{
	size_t *n = arg;
	ck_assert_uint_eq(info->size, 1);
	++*n;
	return true;
}
