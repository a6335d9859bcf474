/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials for S3, from where the AWS tools look, in their order: given ones; AWS_ACCESS_KEY_ID …;
 * a web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN); the profile in ~/.aws/credentials and
 * ~/.aws/config; a container's (AWS_CONTAINER_CREDENTIALS_*); an instance's (IMDSv2, on machines that
 * say they are Amazon's, or with AWS_EC2_METADATA_SERVICE_ENDPOINT).
 * Those that expire are fetched anew 5 minutes before, while the old ones still serve.
 * Threads: every call may come from any thread. Secrets are wiped when they are freed.
 * Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers".
 */
#ifndef EVFS_OBJECT_S3_CRED_H
#define EVFS_OBJECT_S3_CRED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

struct s3_cred;

struct s3_cred_options {
	const char *access, *secret, *token;	/* given (MINIO_ACCESS_KEY …); NULL: look */
	const char *profile;	/* NULL: AWS_PROFILE, then "default" */
	const char *ca_file;	/* for the token service; NULL: the system's */
	uint64_t timeout_ms;	/* of one fetch */
};

/* One set; the texts belong to it until s3_key_release, which wipes them. */
struct s3_key {
	char *access, *secret, *token;	/* token NULL: none */
	uint64_t generation;	/* another one after a refresh */
};
void s3_key_release(struct s3_key *k);

/* RC_DENIED: none are configured (why names where was looked). RC_INVALID: a file or variable is wrong. Fetches nothing yet. */
enum rc s3_cred_new(struct s3_cred **out, const struct s3_cred_options *o, struct why *why) _must_check_;
/*
 * The set to sign with now; may fetch, at most once a second. RC_TEMPORARY: can't be fetched now. RC_DENIED: the service that
 * gives them refuses. RC_INVALID: the profile's file is wrong by now.
 */
enum rc s3_cred_get(struct s3_cred *c, struct s3_key *out, struct why *why) _must_check_;
/*
 * The server says that this generation is expired or unknown: the next get fetches or reads anew, and another generation means
 * that this brought others. False: they are given ones, or were fetched just now: nothing changes.
 */
bool s3_cred_expired(struct s3_cred *c, uint64_t generation);
/* Where they come from, for doctor: "environment (AWS_ACCESS_KEY_ID)". */
const char *s3_cred_source(const struct s3_cred *c);
void s3_cred_free(struct s3_cred **c);

#endif
