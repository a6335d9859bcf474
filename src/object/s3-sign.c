/* SPDX-License-Identifier: Apache-2.0 */
/* s3-sign.c - Signature Version 4 of one request. */
#include "config.h"
#include "object/s3-sign.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/encode.h"

#define HASH_LEN 32
#define BLOCK_LEN 64 /* of SHA-256: HMAC pads its key to it */
#define ALGORITHM "AWS4-HMAC-SHA256"

static void mdctx_freep(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
}

static void buf_releasep(struct buf *b)
{
	buf_release(b);
}

/* One run of bytes of several to be hashed one behind the other. */
struct part {
	const void *p;
	size_t len;
};

/* ctx was initialised with the digest: NULL takes it again, without looking the algorithm up. */
static bool hash(EVP_MD_CTX *ctx, const struct part *parts, size_t n, unsigned char out[HASH_LEN])
{
	if (EVP_DigestInit_ex(ctx, NULL, NULL) != 1)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (EVP_DigestUpdate(ctx, parts[i].p, parts[i].len) != 1)
			return false;
	}
	return EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

/*
 * HMAC-SHA256 (RFC 2104) over the same context: EVP_MAC looks its algorithm up at each use, which
 * costs more than the hashing. out may be key.
 */
static bool hmac(EVP_MD_CTX *ctx, const void *key, size_t key_len, const char *text, size_t len,
		 unsigned char out[HASH_LEN])
{
	unsigned char inner[BLOCK_LEN] = { 0 }, outer[BLOCK_LEN], digest[HASH_LEN];
	bool ok = true;
	if (key_len > BLOCK_LEN)
		ok = hash(ctx, &(struct part){ key, key_len }, 1, inner);
	else
		memcpy(inner, key, key_len);
	for (size_t i = 0; i < BLOCK_LEN; i++) {
		outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	ok = ok && hash(ctx, (struct part[]){ { inner, BLOCK_LEN }, { text, len } }, 2, digest) &&
	     hash(ctx, (struct part[]){ { outer, BLOCK_LEN }, { digest, HASH_LEN } }, 2, out);
	OPENSSL_cleanse(inner, sizeof(inner));
	OPENSSL_cleanse(outer, sizeof(outer));
	OPENSSL_cleanse(digest, sizeof(digest));
	return ok;
}

static void hex(const unsigned char in[HASH_LEN], char out[S3_SIGN_SHA256_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < HASH_LEN; i++) {
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
	out[S3_SIGN_SHA256_LEN] = '\0';
}

/* The four steps from the secret to the key of one day, region and service, then the signature. */
static bool signature(EVP_MD_CTX *ctx, const struct s3_sign *s, const char day[9],
		      const struct buf *text, char out[S3_SIGN_SHA256_LEN + 1])
{
	struct buf secret = BUF_INIT;
	unsigned char key[HASH_LEN];
	buf_reserve(&secret, 4 + strlen(s->key->secret)); /* never moved: one place to wipe */
	buf_add_text(&secret, "AWS4");
	buf_add_text(&secret, s->key->secret);
	bool ok = !buf_failed(&secret) && hmac(ctx, secret.data, secret.len, day, 8, key) &&
		  hmac(ctx, key, HASH_LEN, s->region, strlen(s->region), key) &&
		  hmac(ctx, key, HASH_LEN, s->service, strlen(s->service), key) &&
		  hmac(ctx, key, HASH_LEN, "aws4_request", strlen("aws4_request"), key) &&
		  hmac(ctx, key, HASH_LEN, buf_text(text), text->len, key);
	if (ok)
		hex(key, out);
	OPENSSL_cleanse(key, sizeof(key));
	if (secret.data)
		OPENSSL_cleanse(secret.data, secret.cap);
	buf_release(&secret);
	return ok;
}

/* A header of ours. */
struct header {
	const char *name, *value;
};

/* "name:value", blanks around the value dropped, runs of them inside made one. */
static void add_canonical(struct buf *out, const char *name, size_t name_len, const char *value)
{
	buf_add(out, name, name_len);
	buf_add_char(out, ':');
	value += strspn(value, " \t");
	while (*value) {
		size_t n = strcspn(value, " \t");
		buf_add(out, value, n);
		value += n;
		n = strspn(value, " \t");
		value += n;
		if (n && *value)
			buf_add_char(out, ' ');
	}
	buf_add_char(out, '\n');
}

/* As strcmp, of "name:value" by its name and another name. */
static int by_name(const char *line, const char *name)
{
	size_t n = strcspn(line, ":");
	int d = strncmp(line, name, n);
	return d ? d : -(name[n] != '\0');
}

/* The headers of both lists, merged by name: the canonical lines, and the names between ';'. */
static void merge_headers(const struct s3_sign *s, const struct header *ours, size_t n_ours,
			  struct buf *lines, struct buf *names)
{
	for (size_t i = 0, j = 0; i < s->n_headers || j < n_ours;) {
		const char *name, *value;
		size_t len;
		if (j == n_ours || (i < s->n_headers && by_name(s->headers[i], ours[j].name) < 0)) {
			name = s->headers[i++];
			len = strcspn(name, ":");
			value = name + len + (name[len] == ':');
		} else {
			name = ours[j].name;
			len = strlen(name);
			value = ours[j++].value;
		}
		add_canonical(lines, name, len, value);
		if (names->len)
			buf_add_char(names, ';');
		buf_add(names, name, len);
	}
}

static void format_time(int64_t now_us, char out[17])
{
	int64_t seconds = now_us / 1000000 - (now_us % 1000000 < 0);
	time_t t = (time_t)seconds;
	struct tm tm;
	if (!gmtime_r(&t, &tm) || !strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm))
		memcpy(out, "19700101T000000Z", 17);
}

enum rc s3_sign(const struct s3_sign *s, struct buf *headers, struct why *why)
{
	_cleanup_(mdctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char digest[HASH_LEN];
	char body[S3_SIGN_SHA256_LEN + 1], request[S3_SIGN_SHA256_LEN + 1], now[17];

	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1 ||
	    !hash(ctx, &(struct part){ s->body, s->body_len }, 1, digest))
		return rc_fail(RC_NO_MEMORY, why, "can't make a SHA-256");
	hex(digest, body);
	format_time(s->now_us, now);

	/* sorted; only S3 wants the hash of the body among them */
	struct header ours[4] = { { "host", s->host } };
	size_t n = 1;
	if (!strcmp(s->service, "s3"))
		ours[n++] = (struct header){ "x-amz-content-sha256", body };
	ours[n++] = (struct header){ "x-amz-date", now };
	if (s->key->token)
		ours[n++] = (struct header){ "x-amz-security-token", s->key->token };

	_cleanup_(buf_releasep) struct buf names = BUF_INIT;
	_cleanup_(buf_releasep) struct buf text = BUF_INIT;
	buf_reserve(&text, 1023);
	buf_printf(&text, "%s\n%s\n%s\n", s->method, s->path, s->query);
	merge_headers(s, ours, n, &text, &names);
	buf_printf(&text, "\n%s\n%s", buf_text(&names), body);
	if (buf_failed(&text) || buf_failed(&names))
		return rc_fail(RC_NO_MEMORY, why, "no memory to sign a request");
	if (!hash(ctx, &(struct part){ text.data, text.len }, 1, digest))
		return rc_fail(RC_NO_MEMORY, why, "can't make a SHA-256");
	hex(digest, request);

	buf_reset(&text);
	buf_printf(&text, ALGORITHM "\n%s\n%.8s/%s/%s/aws4_request\n%s", now, now, s->region,
		   s->service, request);
	if (buf_failed(&text) || !signature(ctx, s, now, &text, request))
		return rc_fail(RC_NO_MEMORY, why, "no memory to sign a request");

	for (size_t i = 1; i < n; i++)
		buf_printf(headers, "%s: %s\n", ours[i].name, ours[i].value);
	buf_printf(headers,
		   "authorization: " ALGORITHM " Credential=%s/%.8s/%s/%s/aws4_request, "
		   "SignedHeaders=%s, Signature=%s\n",
		   s->key->access, now, s->region, s->service, buf_text(&names), request);
	return buf_failed(headers) ? rc_fail(RC_NO_MEMORY, why, "no memory to sign a request")
				   : RC_OK;
}

void s3_sign_path(const char *path, struct buf *out)
{
	encode_percent(path, strlen(path), "/", out);
}

void s3_sign_query_add(struct buf *query, const char *name, const char *value)
{
	_cleanup_(buf_releasep) struct buf pair = BUF_INIT;
	encode_percent(name, strlen(name), "", &pair);
	size_t name_len = pair.len;
	buf_add_char(&pair, '=');
	if (value)
		encode_percent(value, strlen(value), "", &pair);
	if (buf_failed(&pair) || !buf_reserve(query, pair.len + 1)) {
		query->failed = true;
		return;
	}

	/* before the first whose name is greater */
	size_t at = 0;
	while (at < query->len) {
		const char *other = query->data + at;
		size_t n = strcspn(other, "="), least = n < name_len ? n : name_len;
		int d = memcmp(other, pair.data, least);
		if (d > 0 || (d == 0 && n > name_len))
			break;
		at += strcspn(other, "&");
		if (at < query->len)
			at++;
	}
	if (at == query->len) {
		if (query->len)
			buf_add_char(query, '&');
		buf_add(query, pair.data, pair.len);
		return;
	}
	memmove(query->data + at + pair.len + 1, query->data + at, query->len - at + 1);
	memcpy(query->data + at, pair.data, pair.len);
	query->data[at + pair.len] = '&';
	query->len += pair.len + 1;
}
