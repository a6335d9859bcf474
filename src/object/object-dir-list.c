/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object-dir-list.c - keys in byte order.
 *
 * One directory is read whole, sorted as its keys sort (a directory's name with its '/') and
 * walked; directories that lie wholly before `after` are not read. At most one directory per level
 * of the path is in memory.
 */
#include "config.h"
#include "object/object-dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

struct walk {
	struct object_dir *d;
	enum object_list_flags flags;
	object_list_fn *fn;
	void *arg;
	struct why *why;
	bool stopped;
	char key[KEY_MAX +
		 2]; /* of what is being looked at; with room for the '/' of a directory */
};

/* One directory, open, with the names that will be told or walked. */
struct level {
	DIR *dir;
	struct buf text; /* the names, NUL after each */
	size_t *at; /* where each begins in text */
	size_t n, cap;
};

static void level_release(struct level *l)
{
	if (l->dir)
		closedir(l->dir);
	buf_release(&l->text);
	free(l->at);
}

static bool add_name(struct level *l, const char *name, size_t len, bool is_dir)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		size_t *at = realloc(l->at, cap * sizeof(*at));
		if (!at)
			return false;
		l->at = at;
		l->cap = cap;
	}
	l->at[l->n++] = l->text.len;
	buf_add(&l->text, name, len);
	if (is_dir)
		buf_add_char(&l->text, '/');
	buf_add_char(&l->text, '\0');
	return !buf_failed(&l->text);
}

static int by_text(const void *a, const void *b, void *text)
{
	return strcmp((const char *)text + *(const size_t *)a,
		      (const char *)text + *(const size_t *)b);
}

/* 'd', 'f' (a file, or a link that may lead to one), or 0 for what is no object. */
static char kind_of(DIR *dir, const struct dirent *e)
{
	struct stat st;
	switch (e->d_type) {
	case DT_DIR:
		return 'd';
	case DT_REG:
	case DT_LNK:
		return 'f';
	case DT_UNKNOWN:
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			return 0;
		if (S_ISDIR(st.st_mode))
			return 'd';
		return S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) ? 'f' : 0;
	default:
		return 0;
	}
}

/* after: what must lie before, relative to this directory; NULL: nothing. */
static bool wanted(const struct walk *w, size_t key_len, const struct dirent *e, size_t len,
		   bool is_dir, const char *after)
{
	const char *name = e->d_name;
	if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
		return false;
	if (key_len + len > KEY_MAX)
		return false;
	if (!key_len && !strcmp(name, ".evfs"))
		return false;
	if (key_len == strlen(".evfs/") && !memcmp(w->key, ".evfs/", key_len)) {
		char key[sizeof(".evfs/") + KEY_COMPONENT_MAX] = ".evfs/";
		strcpy(key + key_len, name);
		if (object_dir_key_own(key))
			return false;
	}
	if (!after)
		return true;

	/* compare name, or "name/", with after */
	size_t n = strlen(after);
	int order = memcmp(name, after, len < n ? len : n);
	if (order || len > n)
		return order ? order > 0 : true;
	if (!is_dir)
		return false; /* after begins with name */
	if (after[len] != '/')
		return '/' > (unsigned char)after[len];
	return w->flags == OBJECT_LIST_DEEP; /* some of what is in it may still come after */
}

static enum rc read_level(struct walk *w, struct level *l, size_t key_len, const char *after)
{
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(l->dir);
		if (!e && errno)
			return object_dir_fail(w->d, errno, w->why, "list", w->key);
		if (!e)
			break;
		size_t len = strlen(e->d_name);
		char kind = kind_of(l->dir, e);
		if (!kind || !wanted(w, key_len, e, len, kind == 'd', after))
			continue;
		if (!add_name(l, e->d_name, len, kind == 'd'))
			return rc_fail(RC_NO_MEMORY, w->why,
				       "no memory to list '%.300s' (%zu names)", w->key, l->n);
	}
	if (l->n)
		qsort_r(l->at, l->n, sizeof(*l->at), by_text, l->text.data);
	return RC_OK;
}

static bool tell(struct walk *w, const struct stat *st)
{
	struct object_info info = { .key = w->key, .is_prefix = !st };
	if (st) {
		info.size = (uint64_t)st->st_size;
		info.recorded_us = object_dir_us(st->st_mtim);
		info.modified_us = object_dir_us(st->st_ctim);
	}
	w->stopped = !w->fn(w->arg, &info);
	return !w->stopped;
}

/* What became of the file since its name was read. False: no object any more, or never one. */
static bool look(struct walk *w, int dir_fd, const char *name, struct stat *st)
{
	if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW))
		return false;
	if (S_ISLNK(st->st_mode)) {
		_cleanup_(closep) int fd = object_dir_open(w->d, w->key, O_PATH, true);
		if (fd < 0 || fstat(fd, st))
			return false;
	}
	return S_ISREG(st->st_mode);
}

/* Walk the directory fd (taken), whose key, with its '/', is the first key_len bytes of w->key. */
static enum rc walk_level(struct walk *w, int fd, size_t key_len, const char *after)
{
	_cleanup_(level_release) struct level l = { .text = BUF_INIT };
	w->key[key_len] = '\0';
	l.dir = fdopendir(fd);
	if (!l.dir) {
		int err = errno;
		close(fd);
		return object_dir_fail(w->d, err, w->why, "list", w->key);
	}
	enum rc rc = read_level(w, &l, key_len, after);

	for (size_t i = 0; i < l.n && rc == RC_OK && !w->stopped; i++) {
		const char *name = l.text.data + l.at[i];
		size_t len = strlen(name);
		struct stat st;
		memcpy(w->key + key_len, name, len + 1);
		if (name[len - 1] != '/') {
			if (look(w, dirfd(l.dir), name, &st))
				tell(w, &st);
			continue;
		}
		if (w->flags == OBJECT_LIST_SHALLOW) {
			tell(w, NULL);
			continue;
		}
		w->key[key_len + len - 1] = '\0';
		int child = openat(dirfd(l.dir), w->key + key_len,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		w->key[key_len + len - 1] = '/';
		if (child < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
			continue; /* removed or exchanged since */
		if (child < 0)
			return object_dir_fail(w->d, errno, w->why, "list", w->key);
		bool inside = after && !strncmp(after, name, len);
		rc = walk_level(w, child, key_len + len, inside ? after + len : NULL);
	}
	return rc;
}

enum rc object_dir_list_keys(struct object_store *s, const char *prefix, const char *after,
			     enum object_list_flags flags, object_list_fn *fn, void *arg,
			     struct why *why)
{
	struct walk w = {
		container_of(s, struct object_dir, base), flags, fn, arg, why, false, "."
	};
	size_t len = strlen(prefix);
	if (len > KEY_MAX || (len && prefix[len - 1] != '/'))
		return rc_fail(
			RC_INVALID, why,
			"cannot list '%.300s': the prefix does not end in '/', or is too long",
			prefix);
	if (len) {
		memcpy(w.key, prefix, len - 1);
		w.key[len - 1] = '\0';
		const char *fault = object_dir_key_fault(w.key);
		if (fault)
			return rc_fail(RC_INVALID, why, "cannot list '%.300s': the prefix %s",
				       prefix, fault);
	}
	if (object_dir_gone(w.d))
		return object_dir_fail(w.d, ENOENT, why, "list", prefix);

	if (after && !strncmp(after, prefix, len))
		after += len;
	else if (after && strcmp(after, prefix) > 0)
		return RC_OK; /* it lies behind all that begins with prefix */
	else
		after = NULL;

	int fd = object_dir_open(w.d, w.key, O_RDONLY | O_DIRECTORY, false);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return RC_OK;
	if (fd < 0)
		return object_dir_fail(w.d, errno, why, "list", prefix);
	memcpy(w.key, prefix, len);
	return walk_level(&w, fd, len, after);
}
