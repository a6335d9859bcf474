/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signature Version 4 of one request, in headers. Pure: the time is an argument.
 * Source: Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header".
 */
#ifndef EVFS_OBJECT_S3_SIGN_H
#define EVFS_OBJECT_S3_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "object/s3-cred.h"

struct s3_sign {
	const char *method;
	const char *host;		/* as the Host header has it */
	const char *path;		/* encoded as it is sent (s3_sign_path), begins with '/' */
	const char *query;		/* encoded as it is sent, sorted by name (s3_sign_query_add), "" if none */
	const char *const *headers;	/* "name:value", lower-case names, sorted: to be signed beside host and x-amz-* of ours */
	size_t n_headers;
	const void *body;
	size_t body_len;
	const char *region, *service;	/* service: "s3", "sts" */
	int64_t now_us;			/* the server's clock, as far as known */
	const struct s3_key *key;
};
#define S3_SIGN_SHA256_LEN 64
/*
 * Append the header lines to send, each ended by '\n': x-amz-content-sha256 (for service "s3"),
 * x-amz-date, x-amz-security-token where there is one, authorization. RC_NO_MEMORY.
 */
enum rc s3_sign(const struct s3_sign *s, struct buf *headers, struct why *why) _must_check_;

/* Append a path, percent-encoded as S3 wants it: unreserved bytes and '/' stay. */
void s3_sign_path(const char *path, struct buf *out);
/* Put name=value where it belongs in a query that is sorted by name. value NULL: "". */
void s3_sign_query_add(struct buf *query, const char *name, const char *value);

#endif
