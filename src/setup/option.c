/* SPDX-License-Identifier: Apache-2.0 */
/* option.c - options: looked for, set, printed. The table is in option-table.c. */
#include <config.h>
#include "setup/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "store/store.h"

static void *field(struct config *c, const struct option *o)
{
	return (char *)c + o->offset;
}

const struct option *option_by_key(const char *key)
{
	for (size_t i = 0; i < option_count; i++)
		if (!strcmp(option_table[i].key, key))
			return &option_table[i];
	return NULL;
}

const struct option *option_by_env(const char *env, unsigned *rank_r)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		*rank_r = 0;
		if (!strcmp(o->env, env))
			return o;
		for (const char *const *also = o->also; also && *also; also++) {
			++*rank_r;
			if (!strcmp(*also, env))
				return o;
		}
	}
	return NULL;
}
#define WORD_MAX 32

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Damerau's distance without overlaps: insert, delete, change a letter, swap two neighbours. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	size_t d[WORD_MAX + 1][WORD_MAX + 1];
	if (n > WORD_MAX || m > WORD_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i <= n; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++)
		for (size_t j = 1; j <= m; j++) {
			size_t best = least(least(d[i - 1][j], d[i][j - 1]) + 1,
					    d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = least(best, d[i - 2][j - 2] + 1);
			d[i][j] = best;
		}
	return d[n][m];
}

const char *option_nearest(const char *word, const char *const *candidates, size_t n)
{
	const char *nearest = NULL;
	size_t best = strlen(word) / 2 + 1;
	for (size_t i = 0; i < n; i++) {
		size_t distance = edit_distance(word, candidates[i]);
		if (distance < best) {
			best = distance;
			nearest = candidates[i];
		}
	}
	return nearest;
}

enum rc option_unknown(const char *word, bool env, struct why *why)
{
	const char *known[CONFIG_OPTIONS_MAX];
	for (size_t i = 0; i < option_count; i++)
		known[i] = env ? option_table[i].env : option_table[i].key;
	const char *nearest = option_nearest(word, known, option_count);
	if (nearest)
		return rc_fail(RC_INVALID, why,
			       "unknown option \"%.64s\"; the nearest known one is \"%s\"", word,
			       nearest);
	return rc_fail(RC_INVALID, why, "unknown option \"%.64s\"; --help lists them", word);
}
struct unit {
	const char *name;
	uint64_t factor;
};
static const struct unit size_units[] = {
	{ "", 1 }, { "K", 1024 }, { "M", 1024 * 1024 }, { "k", 1024 }, { "m", 1024 * 1024 },
	{ "KiB", 1024 }, { "MiB", 1024 * 1024 }, { NULL, 0 }
};
static const struct unit duration_units[] = { { "", 1000 },	{ "s", 1000 },	{ "ms", 1 },
					      { "min", 60000 }, { "m", 60000 }, { "h", 3600000 },
					      { NULL, 0 } };
static const struct unit count_units[] = { { "", 1 }, { NULL, 0 } };
static const struct {
	const char *name;
	const struct unit *units;
} number_forms[] = {
	[OPTION_SIZE] = { "a size like 512K or 1M,", size_units },
	[OPTION_DURATION] = { "a duration like 10s or 500ms,", duration_units },
	[OPTION_COUNT] = { "a number", count_units },
};

/* Digits and a unit. False: another form, or a number too great for 64 bits. */
static bool parse_number(const char *text, const struct unit *units, uint64_t *out)
{
	uint64_t n = 0;
	const char *p = text;
	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	for (; units->name; units++)
		if (!strcmp(p, units->name))
			return !__builtin_mul_overflow(n, units->factor, out);
	return false;
}

static void format_duration(uint64_t ms, struct buf *out)
{
	if (ms % 1000)
		buf_printf(out, "%" PRIu64 "ms", ms);
	else
		buf_printf(out, "%" PRIu64 "s", ms / 1000);
}

static void format_size(uint64_t n, struct buf *out)
{
	if (n && n % (1024 * 1024) == 0)
		buf_printf(out, "%" PRIu64 "M", n / (1024 * 1024));
	else if (n && n % 1024 == 0)
		buf_printf(out, "%" PRIu64 "K", n / 1024);
	else
		buf_add_u64(out, n);
}

static void format_number(const struct option *o, uint64_t n, struct buf *out)
{
	if (o->type == OPTION_DURATION)
		format_duration(n, out);
	else if (o->type == OPTION_SIZE)
		format_size(n, out);
	else
		buf_add_u64(out, n);
}

static enum rc bad_value(const struct option *o, const char *text, struct why *why)
{
	_cleanup_(buf_release) struct buf expected = BUF_INIT;
	switch (o->type) {
	case OPTION_FLAG:
		buf_add_text(&expected, "yes or no");
		break;
	case OPTION_ENUM:
		for (size_t i = 0; o->names[i]; i++)
			buf_printf(&expected, "%s%s",
				   i == 0	     ? ""
				   : o->names[i + 1] ? ", "
						     : " or ",
				   o->names[i]);
		break;
	case OPTION_PATH:
		buf_add_text(&expected, "a path");
		break;
	case OPTION_TEXT:
		/* It may be a secret, or hold one: it is not told. */
		return rc_fail(RC_INVALID, why, "option \"%s\" needs a value: a line of text",
			       o->key);
	case OPTION_SIZE:
	case OPTION_DURATION:
	case OPTION_COUNT:
		buf_add_text(&expected, number_forms[o->type].name);
		buf_add_text(&expected, " from ");
		format_number(o, o->min, &expected);
		buf_add_text(&expected, " to ");
		format_number(o, o->max, &expected);
		break;
	}
	if (!text)
		return rc_fail(RC_INVALID, why, "option \"%s\" needs a value: %s", o->key,
			       buf_text(&expected));
	return rc_fail(RC_INVALID, why, "option \"%s\": expected %s, found \"%.64s\"", o->key,
		       buf_text(&expected), text);
}

static bool parse_flag(const char *text, bool *out)
{
	static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no",
										       "false",
										       "off", "0" };
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
			*out = !strcasecmp(text, yes[i]);
			return true;
		}
	}
	return false;
}

/* Has the path a component "." or ".."? */
static bool has_dots(const char *path)
{
	for (const char *part = path; part; part = strchr(part, '/')) {
		part += *part == '/';
		size_t n = strcspn(part, "/");
		if ((n == 1 || n == 2) && !strncmp(part, "..", n))
			return true;
	}
	return false;
}

static enum rc from_root(const char *path, struct buf *full, struct why *why)
{
	if (*path != '/') {
		_cleanup_(freep) char *here = getcwd(NULL, 0);
		if (!here)
			return rc_fail(RC_NOT_FOUND, why, "the current directory: %s",
				       strerror(errno));
		buf_add_text(full, here);
		if (strcmp(here, "/"))
			buf_add_char(full, '/');
	}
	while (path[0] == '.' && path[1] == '/')
		for (path += 2; *path == '/'; path++)
			;
	buf_add_text(full, path);
	while (full->len > 1 && full->data[full->len - 1] == '/')
		full->data[--full->len] = '\0';
	return buf_failed(full) ? rc_fail(RC_NO_MEMORY, why, "out of memory") : RC_OK;
}

enum rc option_absolute(const char *path, char **out, struct why *why)
{
	_cleanup_(buf_release) struct buf full = BUF_INIT;
	enum rc rc = from_root(path, &full, why);
	if (rc)
		return rc;
	/*
	 * Dots are resolved now: once the mount is up, "MOUNTPOINT/." and "MOUNTPOINT/../store"
	 * lead through it, and who walks there before it answers (libfuse, mount(8)) waits forever.
	 * What is not there yet is left as it is.
	 */
	char *text = has_dots(buf_text(&full)) ? realpath(buf_text(&full), NULL) : NULL;
	if (!text)
		text = buf_take(&full, NULL);
	if (!text)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	free(*out);
	*out = text;
	return RC_OK;
}

static bool is_line(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

void option_release(struct config *c, const struct option *o)
{
	if (o->type != OPTION_PATH && o->type != OPTION_TEXT)
		return;
	char **text = field(c, o);
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static enum rc set_text(struct config *c, const struct option *o, const char *text,
			struct why *why)
{
	char *copy = strdup(text);
	if (!copy)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	option_release(c, o);
	*(char **)field(c, o) = copy;
	return RC_OK;
}

/* text NULL: the option stands without '='. */
enum rc option_set(struct config *c, const struct option *o, const char *text,
		   enum config_origin origin, struct why *why)
{
	uint64_t n;
	enum rc rc;
	if (o->secret && origin == CONFIG_COMMAND_LINE)
		return rc_fail(RC_INVALID, why,
			       "option \"%s\" is not taken from the command line, which every user "
			       "can read: set %s, in the environment or in the file of -o config=",
			       o->key, o->env);
	switch (o->type) {
	case OPTION_FLAG: {
		bool *flag = field(c, o);
		if (!text)
			*flag = true;
		else if (!parse_flag(text, flag))
			return bad_value(o, text, why);
		break;
	}
	case OPTION_ENUM: {
		size_t i = 0;
		while (text && o->names[i] && strcmp(o->names[i], text))
			i++;
		if (!text || !o->names[i])
			return bad_value(o, text, why);
		/* The enums of the table are as wide as an unsigned int. */
		memcpy(field(c, o), &(unsigned){ (unsigned)i }, sizeof(unsigned));
		break;
	}
	case OPTION_PATH:
		if (!text || !*text)
			return bad_value(o, text, why);
		rc = option_absolute(text, field(c, o), why);
		if (rc)
			return rc;
		break;
	case OPTION_TEXT:
		if (!text || !*text || !is_line(text))
			return bad_value(o, text, why);
		rc = set_text(c, o, text, why);
		if (rc)
			return rc;
		break;
	case OPTION_SIZE:
	case OPTION_DURATION:
	case OPTION_COUNT:
		if (!text || !parse_number(text, number_forms[o->type].units, &n) || n < o->min ||
		    n > o->max)
			return bad_value(o, text, why);
		*(uint64_t *)field(c, o) = n;
		break;
	}
	c->origin[o - option_table] = origin;
	return RC_OK;
}
bool option_is_set(const struct config *c, const struct option *o)
{
	return (o->type != OPTION_PATH && o->type != OPTION_TEXT) ||
	       *(char *const *)((const char *)c + o->offset);
}

void option_print_text(const char *text, struct buf *out)
{
	buf_add_char(out, '"');
	for (; *text; text++) {
		if (strchr("\"\\$`", *text))
			buf_add_char(out, '\\');
		buf_add_char(out, *text);
	}
	buf_add_char(out, '"');
}

void option_print(const struct config *c, const struct option *o, struct buf *out)
{
	const void *value = (const char *)c + o->offset;
	unsigned i;
	switch (o->type) {
	case OPTION_FLAG:
		buf_add_text(out, *(const bool *)value ? "yes" : "no");
		break;
	case OPTION_ENUM:
		memcpy(&i, value, sizeof(i));
		buf_add_text(out, o->names[i]);
		break;
	case OPTION_PATH:
	case OPTION_TEXT:
		option_print_text(*(char *const *)value, out);
		break;
	case OPTION_SIZE:
	case OPTION_DURATION:
	case OPTION_COUNT:
		format_number(o, *(const uint64_t *)value, out);
		break;
	}
}
