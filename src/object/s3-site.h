/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a bucket is and how to speak to it: what all requests of one store share.
 * What a server says of itself (its region, its clock) is taken over here, for all.
 * Threads: every call may come from any thread.
 */
#ifndef EVFS_OBJECT_S3_SITE_H
#define EVFS_OBJECT_S3_SITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "object/http.h"
#include "object/object.h"
#include "object/object-s3.h"
#include "object/s3-cred.h"

/* Never changed once it was told; freed with the site. */
struct s3_place {
	char region[64];
	char host[320]; /* as the Host header has it */
	char url[336]; /* "http://HOST" */
	char path[80]; /* "/" or "/BUCKET/": what stands before an encoded key */
	struct s3_place *older;
};

struct s3_site {
	struct http *http;
	struct s3_cred *cred;
	struct object_counters counters;
	char bucket[64];
	unsigned parallel;
	_Atomic int64_t skew_us; /* the server's clock minus ours, as far as it ever mattered */

	/* s3-site.c's */
	bool tls, virtual_host, amazon;
	char endpoint[256]; /* host[:port] as given, without a default port */
	_Atomic(struct s3_place *) place;
};

/* RC_INVALID: a bad endpoint or bucket. RC_DENIED: no credentials, or require_tls. */
enum rc s3_site_new(struct s3_site **out, const struct object_s3_options *o, struct why *why)
	_must_check_;
void s3_site_free(struct s3_site **site);

static inline const struct s3_place *s3_site_place(struct s3_site *site)
{
	return atomic_load(&site->place);
}
/*
 * The server says at `from` that the bucket lives in another region. False: nothing new, or no such
 * region is possible.
 */
bool s3_site_move(struct s3_site *site, const struct s3_place *from, const char *region);
/* The server's clock, as far as known. */
int64_t s3_site_now_us(struct s3_site *site);

#endif
