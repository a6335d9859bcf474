/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the dir backend share. Nobody else includes this (but the contract test, to run
 * every way of creating a file that the local kernel would never choose).
 *
 * A key is a path below the directory; all access goes through the directory's descriptor and never
 * leaves it: directories are not followed if they are symbolic links, files only to what lies in
 * the store. Functions that return int give 0 or an errno, those for descriptors -1 and errno.
 */
#ifndef EVFS_OBJECT_OBJECT_DIR_H
#define EVFS_OBJECT_OBJECT_DIR_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "event/key.h"
#include "object/object.h"
#include "object/pool.h"

#define OBJECT_DIR_TMP ".evfs/tmp"
#define OBJECT_DIR_LOCK ".evfs/objects.lock"

/* How a complete file gets its name without ever replacing another. The first that works is found
 * by the first put. */
enum object_dir_how {
	OBJECT_DIR_HOW_UNKNOWN,
	OBJECT_DIR_HOW_UNNAMED, /* O_TMPFILE, linkat of the descriptor: nothing to clean up after a
				   kill */
	OBJECT_DIR_HOW_PROC, /* the same through /proc/self/fd: kernels before 6.10 without
				privilege */
	OBJECT_DIR_HOW_RENAME, /* a file in OBJECT_DIR_TMP, renameat2(RENAME_NOREPLACE) */
	OBJECT_DIR_HOW_LINK, /* the same with linkat and unlinkat */
};

struct object_dir {
	struct object_store base;
	int fd;
	char *path; /* absolute, for messages and object_ready */
	dev_t dev;
	ino_t ino;
	bool has_openat2;
	atomic_int how; /* enum object_dir_how */
	atomic_int sync_error; /* the errno that syncfs reported once and forgot */
	atomic_uint temp_count;
	unsigned cpus;
	struct pool *pool;
};

/* object-dir.c */

/* "cannot VERB 'KEY': reason" as the result that the errno err means; ENOENT of a removed store
 * says so. */
enum rc object_dir_fail(struct object_dir *d, int err, struct why *why, const char *verb,
			const char *key);
/* Why there can be no such key: a text that follows "the key '…' ", or NULL. */
const char *object_dir_key_fault(const char *key);
/* True for the keys of the backend's own files. */
bool object_dir_key_own(const char *key);
/* True once the directory was removed. */
bool object_dir_gone(struct object_dir *d);
/* Open below the store. links: follow symbolic links that stay inside. */
int object_dir_open(struct object_dir *d, const char *path, int flags, bool links);
/* A tag that every replacement changes: object-dir-put.c lets the mtime rise by each. */
void object_dir_tag(const struct stat *st, char tag[OBJECT_TAG_MAX]);
/* Microseconds, rounded down. */
static inline int64_t object_dir_us(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* object-dir-list.c */
enum rc object_dir_list_keys(struct object_store *s, const char *prefix, const char *after,
			     enum object_list_flags flags, object_list_fn *fn, void *arg,
			     struct why *why);

/* object-dir-put.c */
void object_dir_put_items(struct object_store *s, struct object_put *items, size_t n,
			  uint64_t deadline_ms);
enum rc object_dir_put_version(struct object_store *s, const char *key, const void *buf, size_t len,
			       const char *tag, char new_tag[OBJECT_TAG_MAX], struct why *why);

/* object-dir-temp.c: a file that is not yet an object. */
struct object_dir_temp {
	struct object_dir *d;
	int fd;
	enum object_dir_how how;
	char name[48]; /* below the store; "" for one without a name */
};
#define OBJECT_DIR_TEMP_INIT(dir)                                                                  \
	{                                                                                          \
		(dir), -1, OBJECT_DIR_HOW_UNKNOWN, ""                                              \
	}

/* Create it with the content. named: it must have a name, for object_dir_temp_rename. */
int object_dir_temp_create(struct object_dir_temp *t, const void *buf, size_t len, bool named);
/* Give it its final name. EEXIST: that is taken. */
int object_dir_temp_link(struct object_dir_temp *t, int dir_fd, const char *name);
/* The same in place of whatever has the name. */
int object_dir_temp_rename(struct object_dir_temp *t, int dir_fd, const char *name);
/* Close it; remove it unless it got its final name. */
void object_dir_temp_release(struct object_dir_temp *t);
/* Make the directories that path's first len bytes name. */
int object_dir_temp_make_dirs(struct object_dir *d, const char *path, size_t len);
/* Remove what dead processes left. */
void object_dir_temp_sweep(struct object_dir *d);

#endif
