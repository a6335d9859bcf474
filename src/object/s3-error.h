/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an S3 server's refusal means: one table from HTTP status and S3 code to what the caller can do.
 * Source: Amazon S3 API Reference, "Error responses"; codes of MinIO and versitygw where they differ.
 */
#ifndef EVFS_OBJECT_S3_ERROR_H
#define EVFS_OBJECT_S3_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

/* The fields of an error document; "" where it has none. Also found in a body with status 200. */
struct s3_error {
	char code[64], message[160], region[64], request_id[80];
};
#define S3_ERROR_BODY_MAX (64u << 10)
/*
 * Read it from a body (expat; a document type is refused), also from the token service's. False: the
 * body is no error document, or over S3_ERROR_BODY_MAX.
 */
bool s3_error_parse(const char *body, size_t len, struct s3_error *out);

enum s3_what { S3_READ, S3_PUT, S3_REPLACE, S3_BUCKET };
struct s3_verdict {
	enum rc rc;		/* for S3_PUT RC_UNCERTAIN where it may have happened */
	bool retry;		/* nothing happened, or it harms nothing: try again after a while */
	bool refresh;		/* with other credentials */
	bool skew;		/* after looking at the Date header */
	bool redirect;		/* at the region, or the place, that the answer names */
};
/*
 * status: 200 too, where the body is an error document. code is "" where there is no body (HEAD): then
 * 404 means that the key is not there. A body that is no error document: "?", which proves no such thing.
 */
void s3_error_judge(enum s3_what what, int status, const char *code, struct s3_verdict *out);

#endif
