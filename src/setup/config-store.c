/* SPDX-License-Identifier: Apache-2.0 */
/* config-store.c - STORE, and where the ledger of one in S3 is. */
#include <config.h>
#include "setup/config-store.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "setup/conninfo.h"
#include "setup/option.h"

static enum rc no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "out of memory");
}

static bool is_plain(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

/* text: s3://BUCKET[/PREFIX] */
static enum rc set_bucket(struct config *c, const char *text, struct why *why)
{
	const char *bucket = text + 5, *slash = strchrnul(bucket, '/');
	size_t len = strlen(slash);
	while (len && slash[len - 1] == '/')
		len--;
	if (slash == bucket || !is_plain(text) || memmem(slash, len, "//", 2))
		return rc_fail(RC_INVALID, why, "\"%.200s\": expected s3://BUCKET[/PREFIX]", text);

	_cleanup_(freep) char *name = strndup(bucket, (size_t)(slash - bucket));
	_cleanup_(buf_release) struct buf prefix = BUF_INIT, store = BUF_INIT;
	buf_add(&prefix, slash + (len > 0), len ? len - 1 : 0);
	buf_add(&store, text, (size_t)(slash - text) + len);
	if (len)
		buf_add_char(&prefix, '/');
	buf_add_text(&prefix, "");
	if (!name || !buf_reserve(&prefix, 1) || buf_failed(&store))
		return no_memory(why);
	free(c->bucket);
	free(c->prefix);
	free(c->store);
	c->bucket = TAKE_PTR(name);
	c->prefix = buf_take(&prefix, NULL);
	c->store = buf_take(&store, NULL);
	return c->prefix && c->store ? RC_OK : no_memory(why);
}

enum rc config_set_store(struct config *c, const char *text, struct why *why)
{
	const char *path = text;
	if (!strcmp(text, "s3://")) { /* its bucket is known once all options are */
		c->store = strdup(text);
		return c->store ? RC_OK : no_memory(why);
	}
	if (!strncmp(text, "s3://", 5))
		return set_bucket(c, text, why);
	if (!strncmp(text, "file://", 7)) {
		path = text + 7;
		if (!strncmp(path, "localhost/", 10))
			path += 9;
		if (*path != '/')
			return rc_fail(RC_INVALID, why, "\"%.200s\": expected file:///DIRECTORY",
				       text);
	} else if (strstr(text, "://")) {
		return rc_fail(RC_INVALID, why,
			       "\"%.200s\" is no store: expected DIRECTORY, file:///DIRECTORY or "
			       "s3://BUCKET[/PREFIX]",
			       text);
	}
	if (!*path)
		return rc_fail(RC_INVALID, why,
			       "STORE is empty: expected a directory or s3://BUCKET[/PREFIX]");
	return option_absolute(path, &c->store, why);
}

/* --- the ledger --- */

static const struct {
	const char *name, *alias, *keyword;
} parts[CONFIG_POSTGRES] = {
	{ "POSTGRES_HOST", NULL, "host" }, { "POSTGRES_PORT", "POSTGRES_PORT_HOST", "port" },
	{ "POSTGRES_USER", NULL, "user" }, { "POSTGRES_PASSWORD", NULL, "password" },
	{ "POSTGRES_DB", NULL, "dbname" },
};

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

enum rc config_store_part(struct config *c, const char *key, const char *value,
			  enum config_origin origin, struct why *why)
{
	for (size_t i = 0; i < CONFIG_POSTGRES; i++) {
		bool alias = parts[i].alias && !strcmp(key, parts[i].alias);
		if (!alias && strcmp(key, parts[i].name))
			continue;
		if (alias && c->postgres[i] && origin == CONFIG_FILE)
			return RC_OK;
		wipe(&c->postgres[i]);
		c->postgres[i] = strdup(value);
		return c->postgres[i] ? RC_OK : no_memory(why);
	}
	return RC_OK;
}

enum rc config_store_environment(struct config *c, struct why *why)
{
	enum rc rc = RC_OK;
	for (size_t i = 0; i < CONFIG_POSTGRES && !rc; i++) {
		const char *name = parts[i].name, *value = getenv(name);
		if ((!value || !*value) && parts[i].alias)
			value = getenv(name = parts[i].alias);
		if (value && *value)
			rc = config_store_part(c, name, value, CONFIG_ENVIRONMENT, why);
	}
	return rc;
}

/* The host is the established one where none is named, not the socket that libpq would take. */
static enum rc join_parts(struct config *c, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	bool any = false;
	for (size_t i = 0; i < CONFIG_POSTGRES; i++)
		any |= c->postgres[i] != NULL;
	if (!any)
		return RC_OK;
	if (!c->postgres[0] && !getenv("PGHOST") && !getenv("PGHOSTADDR"))
		conninfo_add(&text, parts[0].keyword, "127.0.0.1");
	for (size_t i = 0; i < CONFIG_POSTGRES; i++)
		if (c->postgres[i])
			conninfo_add(&text, parts[i].keyword, c->postgres[i]);
	if (buf_failed(&text))
		return no_memory(why);
	return option_set(c, option_by_key("ledger"), buf_text(&text), CONFIG_ENVIRONMENT, why);
}

/* What libpq reads itself, and tells it which database is meant. */
static bool is_in_pg(void)
{
	static const char *const names[] = { "PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return true;
	}
	return false;
}

static enum rc finish_ledger(struct config *c, struct why *why)
{
	const struct option *o = option_by_key("ledger");
	enum rc rc = c->ledger ? RC_OK : join_parts(c, why);
	if (!rc && !c->ledger && is_in_pg())
		rc = option_set(c, o, "postgresql://", CONFIG_ENVIRONMENT, why);
	if (rc || !c->ledger)
		return rc;
	if (!conninfo_is(c->ledger))
		return rc_fail(
			RC_INVALID, why,
			"option \"ledger\": expected postgresql://... or host=... dbname=...");
	if (c->origin[o - option_table] == CONFIG_COMMAND_LINE && conninfo_has_password(c->ledger))
		return rc_fail(RC_INVALID, why,
			       "option \"ledger\": a password is not taken from the command line, "
			       "which every user can read: set POSTGRES_URL or PGPASSWORD, or use "
			       "~/.pgpass");
	return RC_OK;
}

/* --- the endpoint --- */

/* "9000" and "minio:9000" are without TLS. */
static enum rc finish_endpoint(struct config *c, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const struct option *o = option_by_key("endpoint");
	if (!c->endpoint)
		return RC_OK;
	if (strchr(c->endpoint, '@')) /* it may be a password: it is not told */
		return rc_fail(RC_INVALID, why,
			       "option \"endpoint\": expected http[s]://HOST[:PORT], found a user");
	if (!strstr(c->endpoint, "://")) {
		bool port = strspn(c->endpoint, "0123456789") == strlen(c->endpoint);
		buf_printf(&text, "http://%s%s", port ? "127.0.0.1:" : "", c->endpoint);
	} else {
		buf_add_text(&text, c->endpoint);
	}
	while (text.len && text.data[text.len - 1] == '/')
		text.data[--text.len] = '\0';
	if (buf_failed(&text))
		return no_memory(why);
	return option_set(c, o, buf_text(&text), c->origin[o - option_table], why);
}

enum rc config_store_finish(struct config *c, struct why *why)
{
	enum rc rc = RC_OK;
	if (!c->bucket && c->default_bucket) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		buf_printf(&text, "s3://%s", c->default_bucket);
		rc = buf_failed(&text) ? no_memory(why) : set_bucket(c, buf_text(&text), why);
	} else if (!c->bucket) {
		rc = rc_fail(RC_INVALID, why,
			     "\"s3://\" names no bucket, nor does EVENT_STORE_BUCKET: "
			     "expected s3://BUCKET[/PREFIX]");
	}
	if (!rc)
		rc = finish_ledger(c, why);
	return rc ? rc : finish_endpoint(c, why);
}

void config_store_release(struct config *c)
{
	free(c->store);
	free(c->bucket);
	free(c->prefix);
	for (size_t i = 0; i < CONFIG_POSTGRES; i++)
		wipe(&c->postgres[i]);
}
