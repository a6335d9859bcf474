/* SPDX-License-Identifier: Apache-2.0 */
/* encode.c - base64 and percent-encoding. */
#include "config.h"
#include "base/encode.h"

#include <openssl/evp.h>
#include <string.h>

#define CHUNK ((size_t)3 << 20)	/* a multiple of three: its end is no end of the text */

void encode_base64(const char *p, size_t len, struct buf *out)
{
	for (size_t n; len; p += n, len -= n) {
		n = len < CHUNK ? len : CHUNK;
		if (!buf_reserve(out, (n + 2) / 3 * 4))	/* it writes a NUL behind it, as there is one */
			return;
		out->len += (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->len, (const unsigned char *)p, (int)n);
	}
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

void encode_percent(const char *p, size_t len, const char *keep, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";
	for (const char *end = p + len; p < end; p++) {
		const char *plain = p;
		while (p < end && *p && (is_unreserved(*p) || strchr(keep, *p)))
			p++;
		buf_add(out, plain, (size_t)(p - plain));
		if (p == end)
			break;
		unsigned char c = (unsigned char)*p;
		buf_add(out, (const char[]){ '%', digits[c >> 4], digits[c & 15] }, 3);
	}
}
