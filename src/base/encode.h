/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text that is fit for where they go. Appended to out, whose failure sticks (base/buf.h). */
#ifndef EVFS_BASE_ENCODE_H
#define EVFS_BASE_ENCODE_H

#include "base/buf.h"

/* RFC 4648, 4: padded, without line breaks. */
void encode_base64(const char *p, size_t len, struct buf *out);
/* RFC 3986, 2.1: all as %XX but unreserved characters and those in keep. */
void encode_percent(const char *p, size_t len, const char *keep, struct buf *out);

#endif
