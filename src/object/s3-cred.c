/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3-cred.c - credentials for S3: which place they come from, and when to go there again.
 *
 * One thread at a time goes there, without the lock; the others sign with the set that they have,
 * as long as it is valid, and wait only where there is none.
 */
#include "config.h"
#include "object/s3-cred.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "object/s3-cred-private.h"

#define AHEAD_US (300 * INT64_C(1000000)) /* fetch so long before they expire */
#define LEAST_US \
	(60 * INT64_C(1000000)) /* what was just fetched is good for that, whatever it says */
#define AGAIN_MS 1000 /* between two attempts */
#define SHORT_MS 5000 /* the same where each brings what ends soon */
#define CALM_MS 20000 /* after one that failed, while the old ones are good */
#define TIMEOUT_MS 5000
#define CONTAINER_URL "http://169.254.170.2"
#define INSTANCE_URL "http://169.254.169.254"
#define INSTANCE_URL6 "http://[fd00:ec2::254]"

enum source { GIVEN, ENVIRONMENT, WEB, PROFILE, CONTAINER, INSTANCE };

struct s3_cred {
	/* never changes */
	enum source source;
	char *text; /* of the source */
	char *profile;
	struct s3_cred_place place;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct s3_cred_set set;
	uint64_t generation; /* of the set; 0: none yet */
	bool refused; /* the server does not take this set */
	bool fetching;
	uint64_t tried_ms; /* when the last attempt ended; 0: none yet */
	enum rc rc; /* of the last attempt */
	struct why why;
};

void s3_cred_wipe(char **text)
{
	if (*text) {
		OPENSSL_cleanse(*text, strlen(*text));
		free(*text);
	}
	*text = NULL;
}

void s3_cred_set_release(struct s3_cred_set *set)
{
	s3_cred_wipe(&set->access);
	s3_cred_wipe(&set->secret);
	s3_cred_wipe(&set->token);
}

/* A header takes printable ASCII; a secret is never sent: it may be any line of text. */
static bool is_usable(const char *text, bool sent)
{
	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c < 0x20 || c == 0x7f || (sent && (c == 0x20 || c > 0x7f)))
			return false;
	}
	return *text;
}

enum rc s3_cred_set_fill(struct s3_cred_set *set, char *access, char *secret, char *token,
			 struct why *why)
{
	s3_cred_set_release(set);
	*set = (struct s3_cred_set){ access, secret, token, 0 };
	if (token && !*token)
		s3_cred_wipe(&set->token);
	if (!access || !secret)
		return rc_fail(RC_NO_MEMORY, why, "no memory for credentials");
	const char *bad = !is_usable(access, true)		       ? "access key id"
			  : !is_usable(secret, false)		       ? "secret access key"
			  : set->token && !is_usable(set->token, true) ? "session token"
								       : NULL;
	return bad ? rc_fail(RC_INVALID, why,
			     "the %s is empty or has a character that none can have", bad)
		   : RC_OK;
}

/* A variable that says something, or NULL. */
static const char *setting(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static bool is_on(const char *name)
{
	const char *value = setting(name);
	return value && !strcasecmp(value, "true");
}

static enum rc no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "no memory for credentials");
}

static enum rc use_keys(struct s3_cred *c, const char *access, const char *secret,
			const char *token, struct why *why)
{
	char *copy = token && *token ? strdup(token) : NULL;
	if (token && *token && !copy)
		return no_memory(why);
	enum rc rc = s3_cred_set_fill(&c->set, strdup(access), strdup(secret), copy, why);
	if (rc == RC_OK)
		c->generation = 1;
	return rc;
}

/* Source: AWS SDKs and Tools Reference Guide, "AWS STS Regional endpoints", "Service-specific
 * endpoints". */
static char *token_service(void)
{
	const char *given = setting("AWS_ENDPOINT_URL_STS");
	if (!given)
		given = setting("AWS_ENDPOINT_URL");
	if (given && !is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))
		return strdup(given);
	const char *region = setting("AWS_REGION"), *mode = setting("AWS_STS_REGIONAL_ENDPOINTS");
	char *url;
	if (!region)
		region = setting("AWS_DEFAULT_REGION");
	if (!region || (mode && !strcasecmp(mode, "legacy") && strncmp(region, "cn-", 3) != 0))
		return strdup("https://sts.amazonaws.com");
	int n = asprintf(&url, "https://sts.%s.amazonaws.com%s", region,
			 strncmp(region, "cn-", 3) ? "" : ".cn");
	return n < 0 ? NULL : url;
}

static enum rc use_web(struct s3_cred *c, const char *role, const char *token_file,
		       const char *session, const char *where, struct why *why)
{
	c->source = WEB;
	c->place.url = token_service();
	c->place.role = strdup(role);
	c->place.token_file = strdup(token_file);
	c->place.session = strdup(session ? session : "evfs");
	if (!c->place.url || !c->place.role || !c->place.token_file || !c->place.session ||
	    asprintf(&c->text, "web identity (%s, role %s, by %s)", where, role, c->place.url) < 0)
		return no_memory(why);
	return RC_OK;
}

static enum rc use_profile(struct s3_cred *c, const struct s3_cred_profile *p, struct why *why)
{
	if (!p->access)
		return use_web(c, p->role, p->token_file, p->session, p->file, why);
	c->source = PROFILE;
	if (asprintf(&c->text, "profile \"%s\" (%s)", c->profile, p->file) < 0)
		return no_memory(why);
	enum rc rc = use_keys(c, p->access, p->secret, p->token, why);
	return rc == RC_OK ? RC_OK : rc_prefix(rc, why, "%s", c->text);
}

static enum rc use_container(struct s3_cred *c, struct why *why)
{
	const char *relative = setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = setting("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *file = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = file ? NULL : setting("AWS_CONTAINER_AUTHORIZATION_TOKEN");

	c->source = CONTAINER;
	if (relative && asprintf(&c->place.url, CONTAINER_URL "%s%s", *relative == '/' ? "" : "/",
				 relative) < 0)
		return no_memory(why);
	if (!relative) {
		enum rc rc = s3_cred_fetch_allowed(full, why);
		if (rc != RC_OK)
			return rc;
		c->place.url = strdup(full);
	}
	if (token && strpbrk(token, "\r\n"))
		return rc_fail(RC_INVALID, why,
			       "AWS_CONTAINER_AUTHORIZATION_TOKEN has several lines");
	c->place.token_file = file ? strdup(file) : NULL;
	c->place.token = token ? strdup(token) : NULL;
	if (!c->place.url || (file && !c->place.token_file) || (token && !c->place.token) ||
	    asprintf(&c->text, "container (%s)", c->place.url) < 0)
		return no_memory(why);
	return RC_OK;
}

/* Does the machine say that it is one of Amazon's? Elsewhere nobody answers, slowly. */
static bool is_instance(void)
{
	static const char *const files[] = { "/sys/class/dmi/id/sys_vendor",
					     "/sys/class/dmi/id/bios_version",
					     "/sys/hypervisor/uuid" };
	char text[64] = "";
	bool yes = false;
	for (size_t i = 0; i < ARRAY_SIZE(files) && !yes; i++) {
		FILE *f = fopen(files[i], "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f))
			yes = strcasestr(text, "amazon") ||
			      (i == 2 && !strncasecmp(text, "ec2", 3));
		fclose(f);
	}
	return yes;
}

static enum rc use_instance(struct s3_cred *c, struct why *why)
{
	const char *given = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	bool v6 = mode && !strcasecmp(mode, "IPv6");
	c->source = INSTANCE;
	c->place.url = strdup(given ? given : v6 ? INSTANCE_URL6 : INSTANCE_URL);
	size_t len = c->place.url ? strlen(c->place.url) : 0;
	if (len && c->place.url[len - 1] == '/')
		c->place.url[len - 1] = '\0';
	if (!c->place.url || asprintf(&c->text, "instance metadata (%s)", c->place.url) < 0)
		return no_memory(why);
	return RC_OK;
}

/* What is configured, in the order of the header. */
static enum rc choose(struct s3_cred *c, const struct s3_cred_options *o, struct why *why)
{
	const char *access = setting("AWS_ACCESS_KEY_ID"),
		   *secret = setting("AWS_SECRET_ACCESS_KEY");
	const char *token_file = setting("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = setting("AWS_ROLE_ARN");

	if (o->access || o->secret) {
		c->source = GIVEN;
		c->text = strdup("given");
		if (!c->text)
			return no_memory(why);
		if (!o->access || !o->secret)
			return rc_fail(RC_INVALID, why, "%s is given, but no %s",
				       o->access ? "an access key" : "a secret key",
				       o->access ? "secret key" : "access key");
		return use_keys(c, o->access, o->secret, o->token, why);
	}
	if (access || secret) {
		c->source = ENVIRONMENT;
		c->text = strdup("environment (AWS_ACCESS_KEY_ID)");
		if (!c->text)
			return no_memory(why);
		if (!access || !secret)
			return rc_fail(RC_INVALID, why, "%s is set, but not %s",
				       access ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
				       access ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
		return use_keys(c, access, secret, setting("AWS_SESSION_TOKEN"), why);
	}
	if (token_file && !role)
		return rc_fail(RC_INVALID, why,
			       "AWS_WEB_IDENTITY_TOKEN_FILE is set, but not AWS_ROLE_ARN");
	if (token_file)
		return use_web(c, role, token_file, setting("AWS_ROLE_SESSION_NAME"),
			       "AWS_WEB_IDENTITY_TOKEN_FILE", why);

	_cleanup_(s3_cred_profile_release) struct s3_cred_profile p = { .access = NULL };
	const char *name = o->profile ? o->profile : setting("AWS_PROFILE");
	c->profile = strdup(name ? name : "default");
	if (!c->profile)
		return no_memory(why);
	enum rc rc = s3_cred_profile_read(c->profile, &p, why);
	if (rc != RC_OK)
		return rc;
	if (name && !p.found)
		return rc_fail(RC_INVALID, why, "there is no profile \"%s\" in the AWS files",
			       name);
	if (p.access || p.role)
		return use_profile(c, &p, why);

	if (setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
	    setting("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
		return use_container(c, why);
	if (!is_on("AWS_EC2_METADATA_DISABLED") &&
	    (setting("AWS_EC2_METADATA_SERVICE_ENDPOINT") || is_instance()))
		return use_instance(c, why);
	return rc_fail(
		RC_DENIED, why,
		"no credentials: not given, not in AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, "
		"the profile \"%s\", AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, and this "
		"is no instance with a role",
		c->profile);
}

enum rc s3_cred_new(struct s3_cred **out, const struct s3_cred_options *o, struct why *why)
{
	struct s3_cred *c = calloc(1, sizeof(*c));
	if (!c)
		return no_memory(why);
	thread_cond_init(&c->changed);
	pthread_mutex_init(&c->lock, NULL);

	c->place.ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
	c->place.timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	enum rc rc = o->ca_file && !c->place.ca_file ? no_memory(why) : choose(c, o, why);
	if (rc != RC_OK)
		s3_cred_free(&c);
	else
		*out = c;
	return rc;
}

static enum rc read_profile(const struct s3_cred *c, struct s3_cred_set *out, struct why *why)
{
	_cleanup_(s3_cred_profile_release) struct s3_cred_profile p = { .access = NULL };
	enum rc rc = s3_cred_profile_read(c->profile, &p, why);
	if (rc == RC_OK && !p.access)
		rc = rc_fail(RC_DENIED, why, "%s has no keys any more", c->text);
	return rc == RC_OK ? s3_cred_set_fill(out, TAKE_PTR(p.access), TAKE_PTR(p.secret),
					      TAKE_PTR(p.token), why)
			   : rc;
}

/* Go where they come from. Without the lock. */
static enum rc fetch(const struct s3_cred *c, struct s3_cred_set *out, struct why *why)
{
	switch (c->source) {
	case PROFILE:
		return read_profile(c, out, why);
	case WEB:
		return s3_cred_fetch_web(&c->place, out, why);
	case CONTAINER:
		return s3_cred_fetch_container(&c->place, out, why);
	case INSTANCE:
		return s3_cred_fetch_instance(&c->place, out, why);
	case GIVEN:
	case ENVIRONMENT:
		break;
	}
	return rc_fail(RC_DENIED, why, "credentials that were given can't be fetched");
}

static bool is_same(const struct s3_cred_set *a, const struct s3_cred_set *b)
{
	return !strcmp(a->access, b->access) && !strcmp(a->secret, b->secret) &&
	       !strcmp(a->token ? a->token : "", b->token ? b->token : "");
}

/* One attempt, the lock given back while it lasts. */
static void attempt_locked(struct s3_cred *c)
{
	struct s3_cred_set set = { .access = NULL };
	struct why why = { "" };
	c->fetching = true;
	pthread_mutex_unlock(&c->lock);
	enum rc rc = fetch(c, &set, &why);
	int64_t now = clock_wall_us();
	pthread_mutex_lock(&c->lock);
	c->fetching = false;
	c->tried_ms = clock_boot_ms();
	c->rc = rc;
	c->why = why;
	if (rc == RC_OK) {
		/* a clock that is ahead, or a service that hands out old ones */
		if (set.expires_us && set.expires_us < now + LEAST_US)
			set.expires_us = now + LEAST_US;
		if (!c->generation || !is_same(&c->set, &set))
			c->generation++;
		struct s3_cred_set old = c->set;
		c->set = set;
		set = old;
		c->refused = false;
	}
	pthread_cond_broadcast(&c->changed);
	s3_cred_set_release(&set);
}

static enum rc copy_out(const struct s3_cred *c, struct s3_key *out, struct why *why)
{
	struct s3_key k = {
		.access = strdup(c->set.access),
		.secret = strdup(c->set.secret),
		.token = c->set.token ? strdup(c->set.token) : NULL,
		.generation = c->generation,
	};
	if (!k.access || !k.secret || (c->set.token && !k.token)) {
		s3_key_release(&k);
		return no_memory(why);
	}
	*out = k;
	return RC_OK;
}

enum rc s3_cred_get(struct s3_cred *c, struct s3_key *out, struct why *why)
{
	enum rc rc = RC_OK;
	bool tried = false;
	pthread_mutex_lock(&c->lock);
	for (;;) {
		int64_t left = c->set.expires_us ? c->set.expires_us - clock_wall_us() : INT64_MAX;
		bool good = c->generation && !c->refused && left > 0;
		if (good && (left > AHEAD_US || tried || c->fetching))
			break;
		if (c->fetching) {
			pthread_cond_wait(&c->changed, &c->lock);
			/* that attempt was as good as one of our own */
			tried = true;
			continue;
		}
		uint64_t pause_ms = !good ? AGAIN_MS : c->rc == RC_OK ? SHORT_MS : CALM_MS;
		bool early = c->tried_ms && clock_boot_ms() - c->tried_ms < pause_ms;
		if (tried || early) {
			if (!good)
				rc = rc_fail(c->rc == RC_OK ? RC_TEMPORARY : c->rc, why, "%s",
					     c->rc == RC_OK ? "the credentials are refused"
							    : c->why.text);
			break;
		}
		attempt_locked(c);
		tried = true;
	}
	if (rc == RC_OK)
		rc = copy_out(c, out, why);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

bool s3_cred_expired(struct s3_cred *c, uint64_t generation)
{
	if (c->source == GIVEN || c->source == ENVIRONMENT)
		return false;
	pthread_mutex_lock(&c->lock);
	bool newer = c->generation != generation;
	/* just fetched, and refused: fetching again brings the same */
	bool early = c->tried_ms && clock_boot_ms() - c->tried_ms < AGAIN_MS;
	if (!newer && !early)
		c->refused = true;
	pthread_mutex_unlock(&c->lock);
	return newer || !early;
}

const char *s3_cred_source(const struct s3_cred *c)
{
	return c->text;
}

void s3_cred_free(struct s3_cred **c)
{
	if (!c || !*c)
		return;
	struct s3_cred *it = *c;
	*c = NULL;
	s3_cred_set_release(&it->set);
	s3_cred_wipe(&it->place.token);
	free(it->place.url);
	free(it->place.role);
	free(it->place.session);
	free(it->place.token_file);
	free(it->place.ca_file);
	free(it->text);
	free(it->profile);
	pthread_mutex_destroy(&it->lock);
	pthread_cond_destroy(&it->changed);
	free(it);
}
