/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - the sources of the configuration: file, environment, command line. */
#include <config.h>
#include "setup/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "setup/config-file.h"
#include "setup/config-store.h"
#include "setup/conninfo.h"
#include "setup/option.h"
#include "store/checkpoint.h"

/* What mount(8) and mount.fuse3 pass along and what means nothing here. */
static const char *const generic[] = {
	"rw", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "fail",
	"nofail", "_netdev", "dev", "nodev", "suid", "nosuid", "exec", "noexec", "sync", "async",
	"dirsync", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime",
	"strictatime", "nostrictatime", "lazytime", "nolazytime", "default_permissions",
};
enum rc config_init(struct config *c, struct why *why)
{
	*c = (struct config){ .lists = BUF_INIT };
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		enum rc rc =
			o->fallback ? option_set(c, o, o->fallback, CONFIG_BUILT_IN, why) : RC_OK;
		if (rc)
			return rc;
	}
	return RC_OK;
}

void config_release(struct config *c)
{
	for (size_t i = 0; i < option_count; i++)
		option_release(c, &option_table[i]);
	config_store_release(c);
	free(c->mountpoint);
	buf_release(&c->lists);
	*c = (struct config){ .lists = BUF_INIT };
}

enum rc config_add_list(struct config *c, const char *list, struct why *why)
{
	if (c->lists.len)
		buf_add_char(&c->lists, ',');
	buf_add_text(&c->lists, list);
	return buf_failed(&c->lists) ? rc_fail(RC_NO_MEMORY, why, "out of memory") : RC_OK;
}

/* Has the option a meaning for this store and program? */
static bool is_meant(const struct config *c, const struct option *o)
{
	return (!o->s3 || config_is_s3(c)) && (!o->publisher || c->publisher);
}

static bool is_generic(const char *word)
{
	if (!strncmp(word, "x-", 2) || !strncmp(word, "X-", 2) || !strncmp(word, "comment=", 8))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(generic); i++)
		if (!strcmp(word, generic[i]))
			return true;
	return false;
}

/* One word of an -o list. only: apply this option alone (the file is read before the others). */
static enum rc apply_word(struct config *c, char *word, const char *only, struct why *why)
{
	if (!*word || is_generic(word))
		return RC_OK;
	char *equals = strchr(word, '=');
	if (equals)
		*equals = '\0';
	const struct option *o = option_by_key(word);
	if (!o)
		return only ? RC_OK : option_unknown(word, false, why);
	if (only && strcmp(only, word))
		return RC_OK;
	if (o->s3 && !config_is_s3(c))
		return rc_fail(RC_INVALID, why, "option \"%s\" is for stores in S3 (s3://BUCKET)",
			       o->key);
	if (o->publisher && !c->publisher)
		return rc_fail(RC_INVALID, why, "option \"%s\" is for evfs-publisher", o->key);
	return option_set(c, o, equals ? equals + 1 : NULL, CONFIG_COMMAND_LINE, why);
}

static enum rc apply_lists(struct config *c, const char *only, struct why *why)
{
	_cleanup_(buf_release) struct buf word = BUF_INIT;
	enum rc rc = RC_OK;
	for (const char *p = buf_text(&c->lists); !rc; p++) {
		if (*p == '\\' && p[1]) {
			buf_add_char(&word, *++p);
		} else if (*p && *p != ',') {
			buf_add_char(&word, *p);
		} else {
			buf_add_char(&word, '\0');
			if (buf_failed(&word))
				return rc_fail(RC_NO_MEMORY, why, "out of memory");
			rc = apply_word(c, word.data, only, why);
			buf_reset(&word);
			if (!*p)
				break;
		}
	}
	return rc;
}

/* One name of an option in the file: a later line wins, but not over a name that goes before. */
static enum rc apply_line(struct config *c, const struct option *o, unsigned rank,
			  const char *value, struct why *why)
{
	size_t i = (size_t)(o - option_table);
	if (!is_meant(c, o) || (c->origin[i] == CONFIG_FILE && c->rank[i] < rank))
		return RC_OK;
	enum rc rc = option_set(c, o, value, CONFIG_FILE, why);
	c->rank[i] = rank;
	return rc;
}

static enum rc apply_assignment(void *arg, unsigned line, const char *key, const char *value,
				struct why *why)
{
	struct config *c = arg;
	unsigned rank;
	const struct option *o = option_by_env(key, &rank);
	bool ours = !strncmp(key, "EVFS_", 5);
	enum rc rc = RC_OK;
	if (o && !strcmp(o->key, "config"))
		rc = rc_fail(RC_INVALID, why, "\"%s\" can't stand in a file", key);
	else if (o && *value)	/* an empty one counts as none, as in the environment */
		rc = apply_line(c, o, rank, value, why);
	else if (!o && option_by_key(key))
		rc = rc_fail(RC_INVALID, why, "\"%s\" is written \"%s\" in a file", key,
			     option_by_key(key)->env);
	else if (!o && ours)
		rc = option_unknown(key, true, why);
	else if (!o && *value)
		rc = config_store_part(c, key, value, CONFIG_FILE, why);
	/* Other programs' variables may stand in the same file. */
	return rc ? rc_prefix(rc, why, "line %u", line) : RC_OK;
}

static enum rc apply_file(struct config *c, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char part[4096];
	_cleanup_(closep) int fd = open(c->config, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;
	while (fd >= 0 && text.len <= 1 << 20 && (n = read(fd, part, sizeof(part))) > 0)
		buf_add(&text, part, (size_t)n);
	if (n < 0)
		return rc_fail(errno == EACCES ? RC_DENIED : RC_NOT_FOUND, why,
			       "configuration file \"%s\": %s", c->config, strerror(errno));
	if (n > 0)
		return rc_fail(RC_INVALID, why, "configuration file \"%s\" is over 1 MiB",
			       c->config);
	if (buf_failed(&text))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	enum rc rc = config_file_parse(buf_text(&text), text.len, apply_assignment, c, why);
	return rc ? rc_prefix(rc, why, "\"%s\"", c->config) : RC_OK;
}

/* An empty variable counts as none, as it does for most programs. */
static const char *in_environment(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static enum rc apply_environment(struct config *c, struct why *why)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		const char *name = o->env, *value = in_environment(name);
		for (const char *const *also = o->also; !value && also && *also; also++)
			value = in_environment(name = *also);
		if (!value || !strcmp(o->key, "config") || !is_meant(c, o))
			continue;
		enum rc rc = option_set(c, o, value, CONFIG_ENVIRONMENT, why);
		if (rc)
			return rc_prefix(rc, why, "environment variable %s", name);
	}
	return config_is_s3(c) ? config_store_environment(c, why) : RC_OK;
}

/* Which file, if any: the command line names it, else the environment. */
static enum rc choose_file(struct config *c, struct why *why)
{
	const char *env = getenv("EVFS_CONFIG");
	enum rc rc = RC_OK;
	if (env && *env)
		rc = option_set(c, option_by_key("config"), env, CONFIG_ENVIRONMENT, why);
	return rc ? rc : apply_lists(c, "config", why);
}

static enum rc choose_cache(struct config *c, struct why *why)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	if (xdg && *xdg == '/')		/* the specification has relative ones ignored */
		buf_printf(&path, "%s/evfs", xdg);
	else if (home && *home == '/')
		buf_printf(&path, "%s/.cache/evfs", home);
	else if (geteuid() == 0)	/* from fstab at boot */
		buf_add_text(&path, "/var/cache/evfs");
	else
		return RC_OK;
	if (buf_failed(&path))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	return option_absolute(buf_text(&path), &c->cache, why);
}

/* KAFKA_HOST and its like, where no brokers are named; the established publisher's defaults. */
static enum rc choose_brokers(struct config *c, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const char *host = getenv("KAFKA_HOST"), *port = getenv("KAFKA_PORT");
	if (!port || !*port)
		port = getenv("KAFKA_PORT_HOST");
	bool has_host = host && *host, has_port = port && *port;
	if (!has_host && !has_port)
		return RC_OK;
	buf_printf(&text, "%s:%s", has_host ? host : "127.0.0.1", has_port ? port : "39092");
	if (buf_failed(&text))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	return option_set(c, option_by_key("kafka"), buf_text(&text), CONFIG_ENVIRONMENT, why);
}

/* A re-seed writes those again that lie there, so that no pass under way can move them. */
static enum rc check_checkpoint(const struct config *c, struct why *why)
{
	if (!strncmp(c->checkpoint, CHECKPOINTS, strlen(CHECKPOINTS)) && c->checkpoint[strlen(CHECKPOINTS)])
		return RC_OK;
	return rc_fail(RC_INVALID, why,
		       "option \"checkpoint\": expected a key below \"" CHECKPOINTS "\", found \"%.200s\"",
		       c->checkpoint);
}

enum rc config_finish(struct config *c, struct why *why)
{
	enum rc rc = choose_file(c, why);
	if (!rc && c->config)
		rc = apply_file(c, why);
	if (!rc)
		rc = apply_environment(c, why);
	if (!rc)
		rc = apply_lists(c, NULL, why);
	if (!rc && !c->cache)
		rc = choose_cache(c, why);
	if (!rc && c->publisher && !c->kafka)
		rc = choose_brokers(c, why);
	if (!rc && c->publisher)
		rc = check_checkpoint(c, why);
	if (!rc && config_is_s3(c))
		rc = config_store_finish(c, why);
	return rc;
}
/* --- the mount's command line --- */

/* Letters behind one '-'. *rest: what stands behind an 'o', NULL where there is none. */
static enum rc parse_letters(struct config *c, const char *letters, bool helper, const char **rest,
			     struct why *why)
{
	*rest = NULL;
	for (; *letters; letters++) {
		switch (*letters) {
		case 'o':
			*rest = letters + 1;
			return RC_OK;
		case 'h':
			c->help = true;
			break;
		case 'V':
			c->version = true;
			break;
		case 'd':
		case 'f':
			/* mount(8) means "fake" by it: who can't fake must not mount. */
			if (helper)
				return rc_fail(RC_INVALID, why, "-%c is not for mount(8)",
					       *letters);
			c->foreground = true;
			if (*letters == 'd') {
				enum rc rc = config_add_list(c, "log=debug", why);
				if (rc)
					return rc;
			}
			break;
		case 'n':
		case 's':
		case 'v':
			if (helper)
				break;
			/* fall through */
		default:
			return rc_fail(RC_INVALID, why, "unknown option \"-%c\"; --help lists them",
				       *letters);
		}
	}
	return RC_OK;
}

static enum rc parse_name(struct config *c, const char *word, struct why *why)
{
	if (!c->store)
		return config_set_store(c, word, why);
	if (!c->mountpoint)
		return option_absolute(word, &c->mountpoint, why);
	return rc_fail(RC_INVALID, why, "expected STORE and MOUNTPOINT, found also \"%.200s\"",
		       word);
}

static enum rc parse_words(struct config *c, int argc, char *const *argv, bool helper,
			   struct why *why)
{
	static const char *const long_words[] = { "--help", "--version" };
	bool names_only = false;
	for (int i = 1; i < argc && !c->help && !c->version; i++) {
		const char *word = argv[i], *rest;
		enum rc rc = RC_OK;
		if (names_only || *word != '-' || !word[1]) {
			rc = parse_name(c, word, why);
		} else if (!strcmp(word, "--")) {
			names_only = true;
		} else if (!strcmp(word, "--help")) {
			c->help = true;
		} else if (!strcmp(word, "--version")) {
			c->version = true;
		} else if (word[1] == '-') {
			const char *nearest =
				option_nearest(word, long_words, ARRAY_SIZE(long_words));
			rc = rc_fail(RC_INVALID, why,
				     "unknown option \"%.64s\"; the nearest known one is \"%s\"",
				     word, nearest ? nearest : "--help");
		} else {
			rc = parse_letters(c, word + 1, helper, &rest, why);
			if (!rc && rest && !*rest)
				rest = ++i < argc ? argv[i] : NULL;
			else if (rc || !rest)
				rest = "";
			if (!rest)
				return rc_fail(RC_INVALID, why, "-o needs a list of options");
			if (*rest)
				rc = config_add_list(c, rest, why);
		}
		if (rc)
			return rc;
	}
	return RC_OK;
}

enum rc config_parse(struct config *c, int argc, char *const *argv, struct why *why)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *program = slash ? slash + 1 : argc > 0 ? argv[0] : "";
	enum rc rc = config_init(c, why);
	if (!rc)
		rc = parse_words(c, argc, argv, !strncmp(program, "mount.", 6), why);
	if (rc || c->help || c->version)
		return rc;
	if (!c->store || !c->mountpoint)
		return rc_fail(RC_INVALID, why, "expected STORE and MOUNTPOINT; --help says more");
	return config_finish(c, why);
}

#define ALSO_INDENT "                                 "

void config_help(bool publisher, struct buf *out)
{
	bool headed = false, publisher_headed = false;
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		_cleanup_(buf_release) struct buf left = BUF_INIT;
		if (o->publisher && !publisher)
			continue;
		buf_add_text(&left, o->key);
		for (size_t n = 0; o->names && o->names[n]; n++)
			buf_printf(&left, "%c%s", n ? '|' : '=', o->names[n]);
		if (o->type == OPTION_DURATION)
			buf_add_text(&left, "=TIME");
		else if (o->type == OPTION_SIZE)
			buf_add_text(&left, "=SIZE");
		else if (o->type == OPTION_COUNT)
			buf_add_text(&left, "=N");
		else if (o->type == OPTION_PATH)
			buf_add_text(&left, "=PATH");
		else if (o->type == OPTION_TEXT && !o->secret)
			buf_add_text(&left, "=TEXT");
		if (o->s3 && !headed)
			buf_add_text(out, "Of stores in S3:\n");
		headed |= o->s3;
		if (o->publisher && !publisher_headed)
			buf_add_text(out, "Of the publisher:\n");
		publisher_headed |= o->publisher;
		buf_printf(out, "    %-28s %s", buf_text(&left), o->help);
		if (o->fallback && (o->type != OPTION_FLAG || !strcmp(o->fallback, "yes")))
			buf_printf(out, " [%s]", o->fallback);
		for (const char *const *also = o->also; also && *also; also++)
			buf_printf(out, "%s%s", also == o->also ? "\n" ALSO_INDENT "also " : ", ",
				   *also);
		buf_add_char(out, '\n');
	}
	buf_add_text(
		out,
		"Each is also an environment variable: EVFS_TIMEOUT=10s, EVFS_RESTORE=yes …,\n"
		"which goes before the other names.\n");
}

const char *config_name(const struct config *c, const char *key)
{
	const struct option *o = option_by_key(key);
	unsigned i;
	memcpy(&i, (const char *)c + o->offset, sizeof(i));
	return o->names[i];
}

bool config_is_built_in(const struct config *c, const char *key)
{
	return c->origin[option_by_key(key) - option_table] == CONFIG_BUILT_IN;
}

/* A name in a comment must not end it. */
static void print_comment(const char *what, const char *text, struct buf *out)
{
	buf_printf(out, "# %s ", what);
	for (; *text; text++)
		buf_add_char(out, *text == '\n' ? ' ' : *text);
	buf_add_char(out, '\n');
}

static const char *const origin_text[] = {
	[CONFIG_BUILT_IN] = "built in",
	[CONFIG_FILE] = "from the file",
	[CONFIG_ENVIRONMENT] = "from the environment",
	[CONFIG_COMMAND_LINE] = "from the command line",
};
static void print_option(const struct config *c, const struct option *o, struct buf *out)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	if (o->secret) {
		buf_printf(out, "# %s is set\n", o->env);
	} else if (!strcmp(o->key, "ledger")) {
		bool whole = conninfo_print(c->ledger, &text);
		buf_printf(out, "%s=", o->env);
		option_print_text(buf_text(&text), out);
		buf_add_text(out, whole ? "\n" : "\n# its password is set\n");
	} else {
		buf_printf(out, "%s=", o->env);
		option_print(c, o, out);
		buf_add_char(out, '\n');
	}
}

void config_print(const struct config *c, struct buf *out)
{
	if (c->store)
		print_comment("store", c->store, out);
	if (c->mountpoint)
		print_comment("mountpoint", c->mountpoint, out);
	if (c->config)
		print_comment("file", c->config, out);
	for (int origin = CONFIG_COMMAND_LINE; origin >= CONFIG_BUILT_IN; origin--) {
		bool headed = false;
		for (size_t i = 0; i < option_count; i++) {
			const struct option *o = &option_table[i];
			if ((int)c->origin[i] != origin || !option_is_set(c, o) ||
			    !strcmp(o->key, "config") || !is_meant(c, o))
				continue;
			if (!headed)
				buf_printf(out, "# %s\n", origin_text[origin]);
			headed = true;
			print_option(c, o, out);
		}
	}
}
