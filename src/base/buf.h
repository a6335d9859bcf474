/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing run of bytes, always followed by a NUL that does not count.
 *
 * Failure sticks: after an allocation failed, further additions do nothing and buf_failed says so,
 * so that a sequence of additions is checked once, at its end. Not thread-safe.
 */
#ifndef EVFS_BASE_BUF_H
#define EVFS_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

struct buf {
	char *data;	/* NULL while empty and never used */
	size_t len, cap;
	bool failed;
};

#define BUF_INIT { NULL, 0, 0, false }

void buf_release(struct buf *b);
/* Forget the content, keep the memory. Clears a failure. */
void buf_reset(struct buf *b);

/* Make room for n more bytes; false (and failed) when there is no memory. */
bool buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_text(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t n);
void buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

/* Drop the first n bytes. n is at most len. */
void buf_drop_front(struct buf *b, size_t n);

/* The bytes, malloc'd, now the caller's (NULL if failed); b is empty again. *len_r may be NULL. */
char *buf_take(struct buf *b, size_t *len_r);

static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}

/* The text, "" while empty. */
static inline const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

#endif
