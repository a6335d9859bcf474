/* SPDX-License-Identifier: Apache-2.0 */
/* s3-site.c - where a bucket is and how to speak to it. */
#include "config.h"
#include "object/s3-site.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define REGION_DEFAULT "us-east-1"
#define CONNECT_MS 5000u

static bool all_of(const char *text, const char *set)
{
	return text[strspn(text, set)] == '\0';
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static enum rc check_bucket(const char *bucket, struct why *why)
{
	size_t len = bucket ? strlen(bucket) : 0;
	if (len < 3 || len > 63 || !all_of(bucket, LOWER UPPER DIGITS ".-_") ||
	    strstr(bucket, "..") || bucket[0] == '.' || bucket[0] == '-')
		return rc_fail(
			RC_INVALID, why,
			"'%.100s' is no name of a bucket (3 to 63 letters, digits, '-', '.')",
			bucket ? bucket : "");
	return RC_OK;
}

static bool is_region(const char *region)
{
	return *region && strlen(region) < sizeof(((struct s3_place *)NULL)->region) &&
	       all_of(region, LOWER UPPER DIGITS "-_");
}

/* Scheme, host, port; nothing else. A default port is left out, as curl does in the Host header. */
static enum rc parse_endpoint(struct s3_site *site, const char *text, struct why *why)
{
	const char *host = text;
	site->tls = !strncasecmp(text, "https://", 8);
	if (site->tls)
		host = text + 8;
	else if (!strncasecmp(text, "http://", 7))
		host = text + 7;
	size_t len = strcspn(host, "/");
	if (host == text || !len || len >= sizeof(site->endpoint) ||
	    host[len + (host[len] == '/')] || !all_of(host + len, "/"))
		return rc_fail(RC_INVALID, why,
			       "'%.200s' is no endpoint: expected http[s]://host[:port]", text);
	memcpy(site->endpoint, host, len);
	site->endpoint[len] = '\0';

	const char *rest = site->endpoint;
	rest += *rest == '[' ? strcspn(rest, "]") + 1 : strcspn(rest, ":");
	bool port_ok = !*rest ||
		       (*rest == ':' && rest[1] && strlen(rest) <= 6 && all_of(rest + 1, DIGITS));
	if (!all_of(site->endpoint, LOWER UPPER DIGITS ".-_:[]") || rest == site->endpoint ||
	    !port_ok)
		return rc_fail(RC_INVALID, why,
			       "'%.200s' is no endpoint: expected http[s]://host[:port]", text);
	if (!strcmp(rest, site->tls ? ":443" : ":80"))
		site->endpoint[rest - site->endpoint] = '\0';
	return RC_OK;
}

static bool is_address(const char *host)
{
	return host[0] == '[' || all_of(host, DIGITS ".:");
}

/* A certificate for *.host covers no further dot, and a host name has neither capitals nor '_'. */
static bool prefers_virtual(const struct s3_site *site)
{
	size_t name = strcspn(site->endpoint, ":");
	bool dotted = memchr(site->endpoint, '.', name) != NULL;
	return dotted && !is_address(site->endpoint) &&
	       strncmp(site->endpoint, "localhost", name) != 0 &&
	       all_of(site->bucket, LOWER DIGITS "-.") && !(site->tls && strchr(site->bucket, '.'));
}

static enum rc new_place(struct s3_place **out, const struct s3_site *site, const char *region,
			 struct why *why)
{
	char amazon[128];
	const char *host = site->endpoint;
	struct s3_place *p = calloc(1, sizeof(*p));
	if (!p)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a store");
	if (site->amazon) {
		snprintf(amazon, sizeof(amazon), "s3.%s.amazonaws.com%s", region,
			 strncmp(region, "cn-", 3) ? "" : ".cn");
		host = amazon;
	}
	snprintf(p->region, sizeof(p->region), "%s", region);
	if (site->virtual_host) {
		snprintf(p->host, sizeof(p->host), "%s.%s", site->bucket, host);
		snprintf(p->path, sizeof(p->path), "/");
	} else {
		snprintf(p->host, sizeof(p->host), "%s", host);
		snprintf(p->path, sizeof(p->path), "/%s/", site->bucket);
	}
	snprintf(p->url, sizeof(p->url), "%s://%s", site->tls ? "https" : "http", p->host);
	*out = p;
	return RC_OK;
}

bool s3_site_move(struct s3_site *site, const struct s3_place *from, const char *region)
{
	struct s3_place *now = atomic_load(&site->place), *next = NULL;
	if (now != from)
		return true; /* another request was told already */
	if (!is_region(region) || !strcmp(now->region, region) ||
	    new_place(&next, site, region, NULL) != RC_OK)
		return false;
	next->older = now;
	if (!atomic_compare_exchange_strong(&site->place, &now, next))
		free(next);
	return true;
}

int64_t s3_site_now_us(struct s3_site *site)
{
	return clock_wall_us() + atomic_load(&site->skew_us);
}

static enum rc find_place(struct s3_site *site, const struct object_s3_options *o, struct why *why)
{
	const char *region = o->region && *o->region ? o->region : REGION_DEFAULT;
	if (!is_region(region))
		return rc_fail(RC_INVALID, why, "'%.100s' is no name of a region", region);
	enum rc rc = check_bucket(o->bucket, why);
	if (rc != RC_OK)
		return rc;
	snprintf(site->bucket, sizeof(site->bucket), "%s", o->bucket);

	site->amazon = !o->endpoint || !*o->endpoint;
	rc = parse_endpoint(site, site->amazon ? "https://s3.amazonaws.com" : o->endpoint, why);
	if (rc != RC_OK)
		return rc;
	if (o->require_tls && !site->tls)
		return rc_fail(RC_DENIED, why,
			       "the endpoint '%.200s' is not https, and TLS is required",
			       o->endpoint);
	site->virtual_host = o->style == OBJECT_S3_VIRTUAL ||
			     (o->style == OBJECT_S3_AUTO && prefers_virtual(site));
	struct s3_place *place = NULL;
	rc = new_place(&place, site, region, why);
	atomic_store(&site->place, place);
	return rc;
}

enum rc s3_site_new(struct s3_site **out, const struct object_s3_options *o, struct why *why)
{
	_cleanup_(s3_site_free) struct s3_site *site = calloc(1, sizeof(*site));
	if (!site)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a store");
	site->parallel = o->parallel ? o->parallel : 1;
	enum rc rc = find_place(site, o, why);
	if (rc == RC_OK)
		rc = s3_cred_new(&site->cred, &o->cred, why);
	if (rc != RC_OK)
		return rc;
	struct http_options http = {
		.ca_file = o->ca_file,
		.no_verify = o->no_verify,
		.parallel = site->parallel,
		.connect_ms = o->timeout_ms < CONNECT_MS ? o->timeout_ms : CONNECT_MS,
	};
	rc = http_new(&site->http, &http, why);
	if (rc == RC_OK)
		*out = TAKE_PTR(site);
	return rc;
}

void s3_site_free(struct s3_site **sp)
{
	if (!sp || !*sp)
		return;
	struct s3_site *site = *sp;
	http_free(&site->http);
	s3_cred_free(&site->cred);
	for (struct s3_place *p = atomic_load(&site->place), *older; p; p = older) {
		older = p->older;
		free(p);
	}
	free(site);
	*sp = NULL;
}
