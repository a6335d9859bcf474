/* SPDX-License-Identifier: Apache-2.0 */
/* config-file.c - KEY=value lines as systemd reads them. */
#include <config.h>
#include "setup/config-file.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

struct reader {
	const char *pos, *end;
	unsigned line;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool is_key_char(char c, bool first)
{
	return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (!first && c >= '0' && c <= '9');
}

static void skip_line(struct reader *r)
{
	while (r->pos < r->end && *r->pos != '\n')
		r->pos++;
}

/* One quoted part. In double quotes '\' stays itself but before "\$` and the end of a line. */
static enum rc read_quoted(struct reader *r, struct buf *out, struct why *why)
{
	unsigned begin = r->line;
	char quote = *r->pos++;
	for (; r->pos < r->end && *r->pos != quote; r->pos++) {
		char c = *r->pos;
		if (c == '\\' && quote == '"' && r->pos + 1 < r->end) {
			char next = r->pos[1];
			if (strchr("\"\\$`", next) && next) {
				c = next;
				r->pos++;
			} else if (next == '\n') {
				r->line++;
				r->pos++;
				continue;
			}
		}
		if (c == '\n')
			r->line++;
		buf_add_char(out, c);
	}
	if (r->pos == r->end)
		return rc_fail(RC_INVALID, why, "line %u: no closing %c", begin, quote);
	r->pos++;
	return RC_OK;
}

static enum rc read_value(struct reader *r, struct buf *out, struct why *why)
{
	size_t keep = 0;	/* what is quoted or no blank stays, blanks at the end go */
	while (r->pos < r->end && is_blank(*r->pos))
		r->pos++;
	while (r->pos < r->end && *r->pos != '\n') {
		if (*r->pos == '"' || *r->pos == '\'') {
			enum rc rc = read_quoted(r, out, why);
			if (rc)
				return rc;
			keep = out->len;
			continue;
		}
		char c = *r->pos++;
		if (c == '\\' && r->pos < r->end) {
			c = *r->pos++;
			if (c == '\n') {
				r->line++;
				continue;
			}
			buf_add_char(out, c);
			keep = out->len;
			continue;
		}
		buf_add_char(out, c);
		if (!is_blank(c))
			keep = out->len;
	}
	if (out->data) {
		out->len = keep;
		out->data[keep] = '\0';
	}
	return RC_OK;
}

static enum rc read_assignment(struct reader *r, config_file_fn *fn, void *arg, struct why *why)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT, value = BUF_INIT;
	unsigned begin = r->line;
	while (r->pos < r->end && is_key_char(*r->pos, key.len == 0))
		buf_add_char(&key, *r->pos++);
	while (r->pos < r->end && is_blank(*r->pos))
		r->pos++;
	if (!key.len || r->pos == r->end || *r->pos != '=')
		return rc_fail(RC_INVALID, why, "line %u: expected KEY=value", begin);
	r->pos++;
	enum rc rc = read_value(r, &value, why);
	if (rc)
		return rc;
	if (buf_failed(&key) || buf_failed(&value))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	if (value.len && memchr(value.data, '\0', value.len))
		return rc_fail(RC_INVALID, why, "line %u: a NUL byte", begin);
	return fn(arg, begin, buf_text(&key), buf_text(&value), why);
}

enum rc config_file_parse(const char *text, size_t len, config_file_fn *fn, void *arg,
			  struct why *why)
{
	struct reader r = { text, text + len, 1 };
	while (r.pos < r.end) {
		if (is_blank(*r.pos)) {
			r.pos++;
		} else if (*r.pos == '\n') {
			r.pos++;
			r.line++;
		} else if (*r.pos == '#' || *r.pos == ';') {
			skip_line(&r);
		} else {
			enum rc rc = read_assignment(&r, fn, arg, why);
			if (rc)
				return rc;
		}
	}
	return RC_OK;
}
