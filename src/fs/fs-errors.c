/* SPDX-License-Identifier: Apache-2.0 */
/* fs-errors.c - what was refused, and why. */
#include "config.h"
#include "fs/fs-errors.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "event/time.h"

#define KEPT_MAX 1500
#define DROPPED 500	/* together, so that tail -f sees the file shrink and begins anew */

struct line {
	char *text;		/* with its newline */
	size_t len;
	char *path, *reason;
};

struct fs_errors {
	pthread_mutex_t lock;	/* guards all below */
	struct line lines[KEPT_MAX];
	/* numbers of the lines that are kept, from 1; line n stands at n % KEPT_MAX */
	uint64_t first, last;
	uint64_t size;
	int64_t time_us;
};

static const char *const outcome_text[] = {
	[STORE_NOT_COMMITTED] = "no", [STORE_COMMITTED] = "yes", [STORE_UNKNOWN] = "unknown",
};

enum rc fs_errors_new(struct fs_errors **out, struct why *why)
{
	struct fs_errors *e = calloc(1, sizeof(*e));
	if (!e)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&e->lock, NULL);
	e->first = 1;
	*out = e;
	return RC_OK;
}

static void line_release(struct line *l)
{
	free(l->text);
	free(l->path);
	free(l->reason);
	*l = (struct line){ 0 };
}

void fs_errors_free(struct fs_errors **pe)
{
	struct fs_errors *e = *pe;
	if (!e)
		return;
	for (size_t i = 0; i < KEPT_MAX; i++)
		line_release(&e->lines[i]);
	pthread_mutex_destroy(&e->lock);
	free(e);
	*pe = NULL;
}

int fs_errors_errno(enum rc rc, bool read_only)
{
	switch (rc) {
	case RC_OK:
		return 0;
	case RC_NOT_FOUND:
		return ENOENT;
	case RC_EXISTS:
		return EEXIST;
	case RC_CONFLICT:
		return ESTALE;
	case RC_INVALID:
		return EINVAL;
	case RC_DENIED:
		return read_only ? EROFS : EPERM;
	case RC_TOO_LARGE:
		return EFBIG;
	case RC_NO_SPACE:
		return ENOSPC;
	case RC_NO_MEMORY:
		return ENOMEM;
	case RC_CANCELLED:
		return EINTR;
	case RC_TEMPORARY:
	case RC_UNCERTAIN:
	case RC_CORRUPT:
	case RC_FENCED:
		return EIO;
	}
	return EIO;
}

int fs_errors_name_errno(const char *name)
{
	return strstr(name, "%00") ? EINVAL : EPERM;
}

/* Names come from anywhere: a byte that is no UTF-8 becomes '?'. */
static void add_quoted(struct buf *b, const char *text)
{
	_cleanup_(buf_release) struct buf clean = BUF_INIT;
	size_t left = strlen(text);
	while (left) {
		size_t good = json_utf8(text, left);
		buf_add(&clean, text, good);
		if (good == left)
			break;
		buf_add_char(&clean, '?');
		text += good + 1;
		left -= good + 1;
	}
	json_quote(buf_text(&clean), clean.len, b);
}

static void add_text(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, "\"%s\":", key);
	if (text)
		add_quoted(b, text);
	else
		buf_add_text(b, "null");
	buf_add_char(b, ',');
}

static void render(const struct fs_failure *f, int64_t now_us, struct buf *b)
{
	char when[TIME_TEXT_MAX];
	time_format_us(now_us, when);
	buf_printf(b, "{\"time\":\"%s\",\"pid\":%ld,\"uid\":%lu,", when, (long)f->pid,
		   (unsigned long)f->uid);
	add_text(b, "path", f->path);
	add_text(b, "errno", f->err ? strerrorname_np(f->err) : NULL);
	add_text(b, "reason", f->reason);
	if (f->conditional)
		buf_printf(b, "\"expected\":%" PRIu64 ",", f->expected);
	else
		buf_add_text(b, "\"expected\":null,");
	if (f->has_actual)
		buf_printf(b, "\"actual\":%" PRIu64 ",", f->actual);
	else
		buf_add_text(b, "\"actual\":null,");
	add_text(b, "event_id", f->event_id);
	buf_printf(b, "\"committed\":\"%s\"}\n", outcome_text[f->outcome]);
}

static void drop_old_locked(struct fs_errors *e)
{
	if (e->last - e->first + 1 < KEPT_MAX)
		return;
	for (unsigned i = 0; i < DROPPED; i++) {
		struct line *old = &e->lines[e->first++ % KEPT_MAX];
		e->size -= old->len;
		line_release(old);
	}
}

void fs_errors_add(struct fs_errors *e, const struct fs_failure *f)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	int64_t now_us = clock_wall_us();
	render(f, now_us, &b);
	log_warning("refused: %s path=%s errno=%s pid=%ld uid=%lu committed=%s", f->reason, f->path,
		    f->err ? strerrorname_np(f->err) : "none", (long)f->pid, (unsigned long)f->uid,
		    outcome_text[f->outcome]);

	struct line line = { 0 };
	bool good = !buf_failed(&b);
	line.text = good ? buf_take(&b, &line.len) : NULL;
	line.path = strdup(f->path);
	line.reason = strdup(f->reason);
	if (!line.text || !line.path || !line.reason) {
		line_release(&line);
		return;
	}
	pthread_mutex_lock(&e->lock);
	drop_old_locked(e);
	e->lines[++e->last % KEPT_MAX] = line;
	e->size += line.len;
	e->time_us = now_us;
	pthread_mutex_unlock(&e->lock);
}

uint64_t fs_errors_print(struct fs_errors *e, uint64_t after, struct buf *out)
{
	pthread_mutex_lock(&e->lock);
	uint64_t last = e->last;
	for (uint64_t i = after < e->first ? e->first : after + 1; i <= last; i++)
		buf_add(out, e->lines[i % KEPT_MAX].text, e->lines[i % KEPT_MAX].len);
	pthread_mutex_unlock(&e->lock);
	return last;
}

uint64_t fs_errors_size(struct fs_errors *e, int64_t *time_us)
{
	pthread_mutex_lock(&e->lock);
	uint64_t size = e->size;
	*time_us = e->time_us;
	pthread_mutex_unlock(&e->lock);
	return size;
}

static bool concerns(const char *failed, const char *path)
{
	size_t len = strlen(path);
	if (strncmp(failed, path, len))
		return false;
	if (!failed[len])
		return true;
	const char *rest = failed + len;
	if (len) {
		if (*rest != '/')
			return false;
		rest++;
	}
	return !strchr(rest, '/');
}

bool fs_errors_last(struct fs_errors *e, const char *path, struct buf *out)
{
	bool found = false;
	pthread_mutex_lock(&e->lock);
	for (uint64_t i = e->last; !found && i >= e->first; i--) {
		const struct line *l = &e->lines[i % KEPT_MAX];
		found = concerns(l->path, path);
		if (found)
			buf_add_text(out, l->reason);
	}
	pthread_mutex_unlock(&e->lock);
	return found;
}
