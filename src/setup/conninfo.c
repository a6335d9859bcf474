/* SPDX-License-Identifier: Apache-2.0 */
/* conninfo.c - addresses of PostgreSQL, and the passwords in them. */
#include <config.h>
#include "setup/conninfo.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

static const char *const secrets[] = { "password", "sslpassword", "oauth_client_secret",
				       "scram_client_key", "scram_server_key" };

static bool is_secret(const char *key, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
		if (strlen(secrets[i]) == len && !strncasecmp(secrets[i], key, len))
			return true;
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Behind "postgresql://", or NULL. */
static const char *behind_scheme(const char *text)
{
	static const char *const schemes[] = { "postgresql://", "postgres://" };
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!strncmp(text, schemes[i], strlen(schemes[i])))
			return text + strlen(schemes[i]);
	return NULL;
}

bool conninfo_is(const char *text)
{
	return behind_scheme(text) || (strchr(text, '=') && !strstr(text, "://"));
}

static unsigned hex(char c)
{
	return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
	       : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
	       : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
				      : 16;
}

/* A name in an address may be percent-encoded, too. */
static bool is_secret_name(const char *name, size_t len)
{
	char plain[32];
	size_t n = 0;
	for (size_t i = 0; i < len && n < sizeof(plain); i++) {
		bool coded = name[i] == '%' && i + 2 < len && hex(name[i + 1]) < 16 &&
			     hex(name[i + 2]) < 16;
		plain[n++] = coded ? (char)(hex(name[i + 1]) << 4 | hex(name[i + 2])) : name[i];
		i += coded ? 2 : 0;
	}
	return n < sizeof(plain) && is_secret(plain, n);
}

/*
 * What stands between the first ':' and the last '@' before '?' counts as password, also where a
 * '/' in it hides it from libpq.
 */
static bool print_address(const char *text, const char *rest, struct buf *out)
{
	bool whole = true;
	const char *query = strchrnul(rest, '?');
	const char *at = memrchr(rest, '@', (size_t)(query - rest));
	const char *colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;
	if (colon) {
		buf_add(out, text, (size_t)(colon - text));
		buf_add(out, at, (size_t)(query - at));
		whole = false;
	} else {
		buf_add(out, text, (size_t)(query - text));
	}
	char mark = '?';
	for (const char *p = query; *p;) {
		const char *name = p + 1, *end = strchrnul(name, '&');
		const char *equals = memchr(name, '=', (size_t)(end - name));
		if (is_secret_name(name, (size_t)((equals ? equals : end) - name))) {
			whole = false;
		} else {
			buf_add_char(out, mark);
			buf_add(out, name, (size_t)(end - name));
			mark = '&';
		}
		p = end;
	}
	return whole;
}

/* The end of a value, which is quoted or goes to the next blank. */
static const char *skip_value(const char *p)
{
	bool quoted = *p == '\'';
	for (p += quoted; *p && (quoted ? *p != '\'' : !is_blank(*p)); p++)
		p += *p == '\\' && p[1];
	return p + (quoted && *p);
}

static bool print_words(const char *p, struct buf *out)
{
	bool whole = true, first = true;
	for (;;) {
		while (is_blank(*p))
			p++;
		if (!*p)
			return whole;
		const char *word = p;
		while (*p && *p != '=' && !is_blank(*p))
			p++;
		size_t len = (size_t)(p - word);
		while (is_blank(*p))
			p++;
		if (*p == '=')
			for (p++; is_blank(*p); p++)
				;
		p = skip_value(p);
		if (is_secret(word, len)) {
			whole = false;
			continue;
		}
		if (!first)
			buf_add_char(out, ' ');
		first = false;
		buf_add(out, word, (size_t)(p - word));
	}
}

bool conninfo_print(const char *text, struct buf *out)
{
	const char *rest = behind_scheme(text);
	return rest ? print_address(text, rest, out) : print_words(text, out);
}

bool conninfo_has_password(const char *text)
{
	_cleanup_(buf_release) struct buf unused = BUF_INIT;
	return !conninfo_print(text, &unused);
}

void conninfo_add(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, "%s%s='", out->len ? " " : "", key);
	for (; *value; value++) {
		if (*value == '\'' || *value == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *value);
	}
	buf_add_char(out, '\'');
}
