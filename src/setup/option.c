/* SPDX-License-Identifier: Apache-2.0 */
/* option.c - the option table: names, types, values, their texts. */
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

static const char *const ack_names[] = {
	[STORE_ACK_STORED] = "stored",
	[STORE_ACK_COMMITTED] = "committed",
	NULL,
};
static const char *const log_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
	NULL,
};

static const char *const style_names[] = {
	[OBJECT_S3_AUTO] = "auto",
	[OBJECT_S3_PATH] = "path",
	[OBJECT_S3_VIRTUAL] = "virtual",
	NULL,
};

#define AT(member) .offset = offsetof(struct config, member)
#define ALSO(...) .also = (const char *const[]){ __VA_ARGS__, NULL }

const struct option option_table[] = {
	{ .key = "ack", .env = "EVFS_ACK", .type = OPTION_ENUM, AT(ack),
	  .fallback = "stored", .names = ack_names,
	  .help = "when an append is answered: stored, or durable in the ledger" },
	{ .key = "timeout", .env = "EVFS_TIMEOUT", .type = OPTION_DURATION, AT(timeout_ms),
	  .fallback = "10s", .min = 100, .max = 3600000,
	  .help = "how long storing an object, or waiting for it, may take" },
	{ .key = "fresh", .env = "EVFS_FRESH", .type = OPTION_DURATION, AT(fresh_ms),
	  .fallback = "1s", .min = 0, .max = 3600000,
	  .help = "how old the answer to \"is there more?\" may be" },
	{ .key = "gap_wait", .env = "EVFS_GAP_WAIT", .type = OPTION_DURATION, AT(gap_wait_ms),
	  .fallback = "5s", .min = 0, .max = 86400000,
	  .help = "indexed layout: when another writer's hole is passed" },
	{ .key = "max_event", .env = "EVFS_MAX_EVENT", .type = OPTION_SIZE, AT(max_event),
	  .fallback = "1M", .min = 1024, .max = 64u << 20,
	  .help = "the largest event, as stored" },
	{ .key = "max_threads", .env = "EVFS_MAX_THREADS", .type = OPTION_COUNT, AT(max_threads),
	  .fallback = "64", .min = 1, .max = 1000,
	  .help = "how many requests are served at once" },
	{ .key = "restore", .env = "EVFS_RESTORE", .type = OPTION_FLAG, AT(restore),
	  .fallback = "no",
	  .help = "a whole envelope may leave the gap before it that was there" },
	{ .key = "ro", .env = "EVFS_RO", .type = OPTION_FLAG, AT(ro),
	  .fallback = "no",
	  .help = "read only" },
	{ .key = "create", .env = "EVFS_CREATE", .type = OPTION_FLAG, AT(create),
	  .fallback = "no",
	  .help = "make the store if there is none" },
	{ .key = "list_streams", .env = "EVFS_LIST_STREAMS", .type = OPTION_FLAG, AT(list_streams),
	  .fallback = "no",
	  .help = "list events.ndjson in its directory" },
	{ .key = "allow_other", .env = "EVFS_ALLOW_OTHER", .type = OPTION_FLAG, AT(allow_other),
	  .fallback = "no",
	  .help = "other users may use the mount, by its permissions" },
	{ .key = "cache", .env = "EVFS_CACHE", .type = OPTION_PATH, AT(cache),
	  .help = "directory of the catalogs [$XDG_CACHE_HOME/evfs or ~/.cache/evfs]" },
	{ .key = "config", .env = "EVFS_CONFIG", .type = OPTION_PATH, AT(config),
	  .help = "read options from a file, EVFS_TIMEOUT=10s a line" },
	{ .key = "log", .env = "EVFS_LOG", .type = OPTION_ENUM, AT(log),
	  .fallback = "info", .names = log_names,
	  .help = "what is logged; -d is debug" },
	/* stores in S3 */
	{ .key = "ledger", .env = "EVFS_LEDGER", ALSO("POSTGRES_URL"), .type = OPTION_TEXT,
	  AT(ledger), .s3 = true,
	  .help = "the database: postgresql://... or host=... dbname=..." },
	{ .key = "schema", .env = "EVFS_SCHEMA", .type = OPTION_TEXT, AT(schema), .s3 = true,
	  .fallback = "evfs",
	  .help = "the schema of evfs's tables in it" },
	{ .key = "bucket", .env = "EVFS_BUCKET", ALSO("EVENT_STORE_BUCKET"), .type = OPTION_TEXT,
	  AT(default_bucket), .s3 = true,
	  .help = "the bucket where STORE is s3:// alone" },
	{ .key = "endpoint", .env = "EVFS_ENDPOINT",
	  ALSO("MINIO_ENDPOINT_URL", "MINIO_PORT_HOST", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
	  .type = OPTION_TEXT, AT(endpoint), .s3 = true,
	  .help = "the S3 server: http[s]://HOST[:PORT] [Amazon's]" },
	{ .key = "access_key", .env = "EVFS_ACCESS_KEY", ALSO("MINIO_ACCESS_KEY"),
	  .type = OPTION_TEXT, AT(access_key), .s3 = true,
	  .help = "who asks; with secret_key, before what AWS tools use" },
	{ .key = "secret_key", .env = "EVFS_SECRET_KEY", ALSO("MINIO_SECRET_KEY"),
	  .type = OPTION_TEXT, AT(secret_key), .s3 = true, .secret = true,
	  .help = "its secret; from environment or file only" },
	{ .key = "region", .env = "EVFS_REGION", ALSO("AWS_REGION", "AWS_DEFAULT_REGION"),
	  .type = OPTION_TEXT, AT(region), .s3 = true,
	  .help = "the bucket's region [us-east-1]" },
	{ .key = "profile", .env = "EVFS_PROFILE", ALSO("AWS_PROFILE"), .type = OPTION_TEXT,
	  AT(profile), .s3 = true,
	  .help = "the part of ~/.aws/credentials to use [default]" },
	{ .key = "addressing", .env = "EVFS_ADDRESSING", ALSO("EVENT_STORE_S3_ADDRESSING_STYLE"),
	  .type = OPTION_ENUM, AT(addressing), .s3 = true, .fallback = "auto",
	  .names = style_names,
	  .help = "where the bucket stands in an address" },
	{ .key = "ca", .env = "EVFS_CA", ALSO("MINIO_SSL_CA_BUNDLE", "AWS_CA_BUNDLE"),
	  .type = OPTION_PATH, AT(ca), .s3 = true,
	  .help = "certificates to trust [the system's]" },
	{ .key = "verify", .env = "EVFS_VERIFY", ALSO("MINIO_SSL_VERIFY", "EVENT_STORE_SSL_VERIFY"),
	  .type = OPTION_FLAG, AT(verify), .s3 = true, .fallback = "yes",
	  .help = "check the S3 server's certificate" },
	{ .key = "require_tls", .env = "EVFS_REQUIRE_TLS", ALSO("EVENT_STORE_REQUIRE_TLS"),
	  .type = OPTION_FLAG, AT(require_tls), .s3 = true, .fallback = "no",
	  .help = "refuse an endpoint without TLS" },
	{ .key = "parallel", .env = "EVFS_PARALLEL", .type = OPTION_COUNT, AT(parallel), .s3 = true,
	  .fallback = "64", .min = 1, .max = 1000,
	  .help = "how many connections to the S3 server at most" },
};
const size_t option_count = ARRAY_SIZE(option_table);
_Static_assert(ARRAY_SIZE(option_table) <= CONFIG_OPTIONS_MAX, "the table outgrew struct config");
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
	const char *known[ARRAY_SIZE(option_table)];
	for (size_t i = 0; i < option_count; i++)
		known[i] = env ? option_table[i].env : option_table[i].key;
	const char *nearest = option_nearest(word, known, ARRAY_SIZE(known));
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
_Static_assert(sizeof(enum store_ack) == sizeof(unsigned), "see OPTION_ENUM");
_Static_assert(sizeof(enum log_level) == sizeof(unsigned), "see OPTION_ENUM");
_Static_assert(sizeof(enum object_s3_style) == sizeof(unsigned), "see OPTION_ENUM");
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
