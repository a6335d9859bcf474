/* SPDX-License-Identifier: Apache-2.0 */
/* property.c - librdkafka properties out of words and files. */
#include "config.h"
#include "publisher/property.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static void wipe(const char *text)
{
	char *own = (char *)(uintptr_t)text;
	if (own)
		explicit_bzero(own, strlen(own));
	free(own);
}

void property_list_release(struct property_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		wipe(l->items[i].name);
		wipe(l->items[i].value);
	}
	free(l->items);
	*l = (struct property_list){ NULL, 0 };
}

static enum rc add(struct property_list *l, const char *name, size_t name_len, const char *value, struct why *why)
{
	struct sink_property *items = realloc(l->items, (l->n + 1) * sizeof(*items));
	if (!items)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	l->items = items;
	struct sink_property *p = &items[l->n];
	*p = (struct sink_property){ strndup(name, name_len), strdup(value) };
	l->n++;
	if (!p->name || !p->value)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	return sink_kafka_check(p, why);
}

static bool is_secret(const char *name, size_t len)
{
	static const char *const parts[] = { "password", "secret", "key.pem", "oauthbearer.config" };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (memmem(name, len, parts[i], strlen(parts[i])))
			return true;
	return false;
}

enum rc property_add_word(struct property_list *l, const char *word, struct why *why)
{
	if (*word == '@')
		return property_add_file(l, word + 1, why);
	const char *equals = strchr(word, '=');
	if (!equals || equals == word)	/* it may be a secret: it is not told */
		return rc_fail(RC_INVALID, why, "-X expects name=value or @FILE");
	size_t len = (size_t)(equals - word);
	if (is_secret(word, len))
		return rc_fail(RC_INVALID, why,
			       "property \"%.*s\" is not taken from the command line, which every user can read: "
			       "put it into a file, -X @FILE",
			       (int)len, word);
	return add(l, word, len, equals + 1, why);
}

/* Without blanks at its ends; text is cut. */
static char *trim(char *text)
{
	text += strspn(text, " \t");
	size_t n = strlen(text);
	while (n && strchr(" \t\r\n", text[n - 1]))
		text[--n] = '\0';
	return text;
}

static enum rc add_line(struct property_list *l, char *line, struct why *why)
{
	line = trim(line);
	if (!*line || *line == '#')
		return RC_OK;
	char *equals = strchr(line, '=');
	if (!equals || equals == line)
		return rc_fail(RC_INVALID, why, "expected name=value");
	*equals = '\0';
	char *name = trim(line);
	return add(l, name, strlen(name), trim(equals + 1), why);
}

static void closef(FILE **f)
{
	if (*f)
		fclose(*f);
}

enum rc property_add_file(struct property_list *l, const char *path, struct why *why)
{
	_cleanup_(closef) FILE *f = fopen(path, "re");
	_cleanup_(freep) char *line = NULL;
	size_t size = 0;
	enum rc rc = RC_OK;
	if (!f)
		return rc_fail(errno == EACCES ? RC_DENIED : RC_NOT_FOUND, why, "properties \"%s\": %s", path, strerror(errno));
	for (unsigned n = 1; rc == RC_OK && getline(&line, &size, f) >= 0; n++) {
		rc = add_line(l, line, why);
		if (rc != RC_OK)
			rc = rc_prefix(rc, why, "properties \"%s\", line %u", path, n);
	}
	if (rc == RC_OK && ferror(f))
		rc = rc_fail(RC_NOT_FOUND, why, "properties \"%s\": %s", path, strerror(errno));
	if (line)
		explicit_bzero(line, size);
	return rc;
}
