/* SPDX-License-Identifier: Apache-2.0 */
/* name.c - file names and key components. */
#include "config.h"
#include "event/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/cleanup.h"

#define SUFFIX ".json"
#define SUFFIX_LEN 5
#define ALIAS_LEN 18 /* "%~" and 16 hex digits */
#define GRAMMAR "an event is named [NUMBER-]TYPE.json"

static void add_escaped(unsigned char c, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	buf_add(out, (char[]){ '%', hex[c >> 4], hex[c & 15] }, 3);
}

static bool ends_with(const char *text, size_t len, const char *end)
{
	size_t n = strlen(end);
	return len >= n && !memcmp(text + len - n, end, n);
}

/* Would it read as one of the names that stand beside event files? */
static bool is_own_name(const char *text, size_t len)
{
	return ends_with(text, len, SUFFIX) ||
	       (len == strlen(NAME_STREAM) && !memcmp(text, NAME_STREAM, len));
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c != 0x7f && c != '%' && c != '/';
}

void name_encode(const char *text, size_t len, struct buf *out)
{
	if (!len) {
		buf_add_char(out, '%');
		return;
	}
	size_t i = 0, run = 0;
	if (text[0] == '.' || is_own_name(text, len)) {
		add_escaped((unsigned char)text[0], out);
		i = run = 1;
	}
	for (; i < len; i++) {
		if (is_plain((unsigned char)text[i]))
			continue;
		buf_add(out, text + run, i - run);
		add_escaped((unsigned char)text[i], out);
		run = i + 1;
	}
	buf_add(out, text + run, len - run);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Replace each %XX; "%" alone is "". False: something else follows a '%'. */
static bool unescape(const char *name, size_t len, struct buf *out)
{
	if (len == 1 && name[0] == '%')
		return true;
	for (size_t i = 0; i < len; i++) {
		if (name[i] != '%') {
			buf_add_char(out, name[i]);
			continue;
		}
		if (len - i < 3 || hex_digit(name[i + 1]) < 0 || hex_digit(name[i + 2]) < 0)
			return false;
		buf_add_char(out, (char)(hex_digit(name[i + 1]) << 4 | hex_digit(name[i + 2])));
		i += 2;
	}
	return true;
}

typedef void encode_fn(const char *text, size_t len, struct buf *out);

/* Append what encode turns into exactly this name. */
static enum rc decode(encode_fn *encode, const char *name, size_t len, struct buf *out,
		      struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT, again = BUF_INIT;
	bool good = unescape(name, len, &text);
	if (good)
		encode(buf_text(&text), text.len, &again);
	if (buf_failed(&text) || buf_failed(&again))
		return rc_fail(RC_NO_MEMORY, why, "cannot read the name '%.*s'", (int)len, name);
	if (!good)
		return rc_fail(RC_INVALID, why,
			       "'%.*s': expected two upper-case hex digits after each '%%'",
			       (int)len, name);
	if (memchr(buf_text(&text), '\0', text.len))
		return rc_fail(RC_INVALID, why,
			       "'%.*s': '%%00' stands for a NUL byte, which no key can hold",
			       (int)len, name);
	if (again.len != len || memcmp(buf_text(&again), name, len))
		return rc_fail(RC_INVALID, why, "'%.*s' is no name here; it would be written '%s'",
			       (int)len, name, buf_text(&again));
	buf_add(out, buf_text(&text), text.len);
	return buf_failed(out)
		       ? rc_fail(RC_NO_MEMORY, why, "cannot read the name '%.*s'", (int)len, name)
		       : RC_OK;
}

enum rc name_decode(const char *name, size_t len, struct buf *out, struct why *why)
{
	return decode(name_encode, name, len, out, why);
}

/* Append at most max bytes: the beginning, "%~", 16 hex digits. */
static void add_alias(const char *encoded, size_t len, size_t max, struct buf *out)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	if (!EVP_Digest(encoded, len, digest, NULL, EVP_sha256(), NULL)) {
		out->failed = true;
		return;
	}
	size_t keep = max - ALIAS_LEN;
	/* cut neither an escape nor a character */
	while (keep && ((unsigned char)encoded[keep] & 0xc0) == 0x80)
		keep--;
	if (keep >= 1 && encoded[keep - 1] == '%')
		keep -= 1;
	else if (keep >= 2 && encoded[keep - 2] == '%')
		keep -= 2;
	buf_add(out, encoded, keep);
	buf_add_text(out, "%~");
	for (int i = 0; i < 8; i++)
		buf_printf(out, "%02x", digest[i]);
}

void name_alias(const char *encoded, size_t len, struct buf *out)
{
	add_alias(encoded, len, NAME_COMPONENT_MAX, out);
}

static bool is_alias(const char *name, size_t len)
{
	return len >= ALIAS_LEN && !memcmp(name + len - ALIAS_LEN, "%~", 2) &&
	       strspn(name + len - ALIAS_LEN + 2, "0123456789abcdef") >= ALIAS_LEN - 2;
}

void name_encode_id(const char *id, struct buf *out)
{
	for (;;) {
		size_t len = strcspn(id, "/");
		name_encode(id, len, out);
		if (!id[len])
			return;
		buf_add_char(out, '/');
		id += len + 1;
	}
}

enum rc name_decode_id(const char *path, size_t len, struct buf *out, struct why *why)
{
	const char *end = path + len;
	for (;;) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		enum rc rc = name_decode(path, (size_t)((slash ? slash : end) - path), out, why);
		if (rc != RC_OK || !slash)
			return rc;
		buf_add_char(out, '/');
		path = slash + 1;
	}
}

/* Where "~n" begins that ends the text; len if it does not. */
static size_t fork_mark(const char *text, size_t len)
{
	size_t i = len;
	while (i && text[i - 1] >= '0' && text[i - 1] <= '9')
		i--;
	return i < len && i && text[i - 1] == '~' ? i - 1 : len;
}

/* As a component, but a '~' that would read as a fork's is escaped. */
static void encode_type(const char *type, size_t len, struct buf *out)
{
	size_t mark = fork_mark(type, len);
	if (mark == len) {
		name_encode(type, len, out);
		return;
	}
	if (mark)
		name_encode(type, mark, out);
	add_escaped('~', out);
	buf_add(out, type + mark + 1, len - mark - 1);
}

void name_event(uint64_t number, const char *event_type, unsigned fork, struct buf *out)
{
	_cleanup_(buf_release) struct buf type = BUF_INIT;
	char before[32], after[32];
	snprintf(before, sizeof(before), "%010" PRIu64 "-", number);
	if (fork > 1)
		snprintf(after, sizeof(after), "~%u" SUFFIX, fork);
	else
		snprintf(after, sizeof(after), SUFFIX);
	encode_type(event_type, strlen(event_type), &type);
	out->failed |= buf_failed(&type);

	size_t room = NAME_COMPONENT_MAX - strlen(before) - strlen(after);
	buf_add_text(out, before);
	if (type.len > room)
		add_alias(buf_text(&type), type.len, room, out);
	else
		buf_add(out, buf_text(&type), type.len);
	buf_add_text(out, after);
}

/* The digits at text, at most 2^63-1. */
static bool read_number(const char *text, size_t len, uint64_t *out)
{
	uint64_t n = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned)(text[i] - '0');
		if (n > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return true;
}

/* The type, and the fork behind it, of a name that had a number. */
static enum rc parse_type(const char *name, const char *type, size_t len, struct name_parsed *out,
			  struct why *why)
{
	size_t mark = fork_mark(type, len);
	if (mark != len) {
		uint64_t fork = 0;
		if (!out->has_number)
			return rc_fail(RC_INVALID, why,
				       "'%s': '~' and digits at the end stand only behind a number",
				       name);
		if (type[mark + 1] == '0' || !read_number(type + mark + 1, len - mark - 1, &fork) ||
		    fork < 2 || fork > UINT32_MAX)
			return rc_fail(RC_INVALID, why, "'%s': expected 2 or more after '~'", name);
		out->fork = (unsigned)fork;
		len = mark;
	}
	if (out->has_number && is_alias(type, len)) {
		out->shortened = true;
		return RC_OK;
	}
	if (!len)
		return rc_fail(RC_INVALID, why, GRAMMAR "; '%s' has no type", name);
	enum rc rc = decode(encode_type, type, len, &out->event_type, why);
	return rc == RC_OK ? rc : rc_prefix(rc, why, GRAMMAR);
}

enum rc name_parse(const char *name, struct name_parsed *out, struct why *why)
{
	*out = (struct name_parsed){ .fork = 1 };
	size_t len = strlen(name);
	if (!ends_with(name, len, SUFFIX) || name[0] == '.')
		return rc_fail(RC_INVALID, why, GRAMMAR "; '%s' is not", name);
	len -= SUFFIX_LEN;

	size_t digits = strspn(name, "0123456789");
	if (digits && digits == len)
		return rc_fail(RC_INVALID, why, GRAMMAR "; '%s' has no type", name);
	if (!digits || name[digits] != '-')
		return parse_type(name, name, len, out, why);
	out->has_number = true;
	if (!read_number(name, digits, &out->number))
		return rc_fail(RC_INVALID, why, "'%s': a number is at most %" PRId64, name,
			       INT64_MAX);
	return parse_type(name, name + digits + 1, len - digits - 1, out, why);
}
