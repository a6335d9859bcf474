/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in an S3 bucket (object.h), over one engine of kept-alive connections.
 *
 * Guarantees: a PUT is conditional (If-None-Match: *), or, on a server that ignores that, preceded
 * by a HEAD; no PUT is sent after its deadline, and one whose answer did not come is RC_UNCERTAIN.
 * Reads, lists and what surely did not happen are retried within the time-out; a PUT only where
 * nothing happened. Errors name bucket, key, HTTP status, S3 code and request id, never a secret.
 * An object's recorded time is user metadata: recorded-at as text ("2025-12-18T09:05:03.123456Z"),
 * and mtime in seconds ("1766048703.123456"), which rclone and s3fs give to the files they make of
 * objects, and to the objects they make of files; where only that is there, it is read.
 * Does not: delete, make buckets unasked, know events.
 * Source: Amazon S3 API Reference, API Version 2006-03-01.
 */
#ifndef EVFS_OBJECT_OBJECT_S3_H
#define EVFS_OBJECT_OBJECT_S3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "object/object.h"
#include "object/s3-cred.h"

enum object_s3_style { OBJECT_S3_AUTO, OBJECT_S3_PATH, OBJECT_S3_VIRTUAL };

/* Texts are copied. */
struct object_s3_options {
	const char *bucket;
	const char *prefix; /* "" or NULL, or ends in '/': stands before every key */
	const char *endpoint; /* "http[s]://host[:port]"; NULL: Amazon's of the region */
	const char *region; /* NULL: us-east-1, or what the server says it is */
	/* AUTO: path for localhost, addresses and names without a dot, else virtual */
	enum object_s3_style style;
	const char *ca_file; /* PEM bundle to trust; NULL: the system's */
	bool no_verify; /* accept any certificate */
	bool require_tls; /* refuse an http:// endpoint */
	unsigned parallel; /* connections at most */
	/* of an item, or a page of a list, with its retries; a call may have its own deadline */
	uint64_t timeout_ms;
	struct s3_cred_options cred;
};

/*
 * Nothing is sent until the first use. RC_INVALID: a bad endpoint, bucket or prefix. RC_DENIED: no
 * credentials are configured anywhere (why names where was looked), or require_tls.
 */
enum rc object_s3_new(struct object_store **out, const struct object_s3_options *o, struct why *why)
	_must_check_;

/* Questions about the bucket as a whole. s is one that object_s3_new made. */

/*
 * RC_NOT_FOUND: no such bucket. RC_DENIED, RC_TEMPORARY. RC_INVALID: it lives elsewhere, and the
 * region that the server names, which is tried, does not lead there.
 */
enum rc object_s3_reach(struct object_store *s, struct why *why) _must_check_;
/* Make it, with versioning on. RC_EXISTS: it is there already, nothing was changed. */
enum rc object_s3_make(struct object_store *s, struct why *why) _must_check_;

struct object_s3_facts {
	char server[64]; /* as it names itself; "" */
	int64_t skew_us; /* its clock minus ours */
	enum { OBJECT_S3_UNKNOWN, OBJECT_S3_NO, OBJECT_S3_YES } versioning, if_none_match, if_match;
};
/*
 * Find out what the server can do. probe: conditional PUTs are tried on the key .evfs/probe (which
 * stays); without it they are OBJECT_S3_UNKNOWN unless known. What was found decides how object_put
 * and object_replace work from then on (unknown: conditions are sent and trusted).
 */
enum rc object_s3_learn(struct object_store *s, bool probe, struct object_s3_facts *out,
			struct why *why) _must_check_;

/* "libcurl 7.88.1, expat 2.5.0", for --version. */
const char *object_s3_version(void);

#endif
