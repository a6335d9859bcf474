/* SPDX-License-Identifier: Apache-2.0 */
/* The rooms of s3-cred.c: where credentials are read or fetched from. */
#ifndef EVFS_OBJECT_S3_CRED_PRIVATE_H
#define EVFS_OBJECT_S3_CRED_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

/* What one place gave. */
struct s3_cred_set {
	char *access, *secret, *token; /* token NULL: none */
	int64_t expires_us; /* wall clock; 0: never */
};
/* Wipe and free. */
void s3_cred_set_release(struct s3_cred_set *set);
void s3_cred_wipe(char **text);
/* Take them over (even on failure) if they can be sent in a header: RC_INVALID. */
enum rc s3_cred_set_fill(struct s3_cred_set *set, char *access, char *secret, char *token,
			 struct why *why) _must_check_;

/* Where to fetch. The texts that a kind does not need are NULL. */
struct s3_cred_place {
	char *url; /* of the token service, the container's document, the instance's service */
	char *role, *session; /* web identity */
	char *token, *token_file; /* web identity, container: read anew for each fetch */
	char *ca_file;
	uint64_t timeout_ms;
};

/* s3-cred-profile.c: what a profile says. All NULL: nothing about credentials. */
struct s3_cred_profile {
	char *access, *secret, *token, *role, *token_file, *session;
	char *file; /* that said it */
	bool found; /* the profile is there */
};
/* RC_INVALID: a file that can't be read, or says something that is not supported (why names it). */
enum rc s3_cred_profile_read(const char *name, struct s3_cred_profile *out, struct why *why)
	_must_check_;
void s3_cred_profile_release(struct s3_cred_profile *p);

/* s3-cred-fetch.c. RC_TEMPORARY; RC_DENIED: the service refuses. */
enum rc s3_cred_fetch_web(const struct s3_cred_place *place, struct s3_cred_set *out,
			  struct why *why) _must_check_;
enum rc s3_cred_fetch_container(const struct s3_cred_place *place, struct s3_cred_set *out,
				struct why *why) _must_check_;
enum rc s3_cred_fetch_instance(const struct s3_cred_place *place, struct s3_cred_set *out,
			       struct why *why) _must_check_;
/* RC_INVALID: a container's document is not to be asked for there. */
enum rc s3_cred_fetch_allowed(const char *url, struct why *why) _must_check_;

/* s3-cred-http.c: one small request in the calling thread. */
struct s3_cred_http {
	const char *method, *url;
	const char *headers[2]; /* "name: value" */
	const char *body; /* a form; NULL: none */
	bool direct; /* through no proxy */
	const char *ca_file;
	uint64_t deadline_ms; /* clock_boot_ms */
};
/* status and body (at most 128 KiB, to be released) on RC_OK, whatever the status. RC_TEMPORARY. */
enum rc s3_cred_http(const struct s3_cred_http *r, long *status, struct buf *body, struct why *why)
	_must_check_;
/* Wipe and free. */
void s3_cred_http_release(struct buf *body);

#endif
