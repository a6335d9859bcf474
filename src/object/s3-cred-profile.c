/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3-cred-profile.c - a profile in the files of the AWS tools.
 * Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".
 */
#include "config.h"
#include "object/s3-cred-private.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "base/cleanup.h"

#define LINE_ROOM 65536 /* a session token has some thousands */
#define BLANK " \t\r\n\f\v"

/* How credentials are had that we don't support, by the key that asks for it. */
static const struct {
	const char *key, *what;
} unsupported[] = {
	{ "credential_process", "credentials from a program (credential_process)" },
	{ "source_profile", "a role assumed by another profile (source_profile)" },
	{ "credential_source", "a role assumed by other credentials (credential_source)" },
	{ "sso_session", "single sign-on (sso_session)" },
	{ "sso_start_url", "single sign-on (sso_start_url)" },
	{ "login_session", "credentials of a login (login_session)" },
};

void s3_cred_profile_release(struct s3_cred_profile *p)
{
	char **all[] = { &p->access,	 &p->secret,  &p->token, &p->role,
			 &p->token_file, &p->session, &p->file };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		s3_cred_wipe(all[i]);
	p->found = false;
}

/* The text without the blanks around it. */
static char *trim(char *text)
{
	text += strspn(text, BLANK);
	size_t len = strlen(text);
	while (len && strchr(BLANK, text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

/* Cut off a comment: one that a blank stands before. */
static void uncomment(char *text)
{
	for (char *p = text; (p = strpbrk(p, "#;")) != NULL; p++) {
		if (p > text && strchr(BLANK, p[-1])) {
			*p = '\0';
			return;
		}
	}
}

/*
 * "[name]", and in the config file "[profile name]" for all but the default (both of it there).
 * line is changed.
 */
static bool is_section(char *line, const char *name, bool config)
{
	char *end = strchr(line, ']');
	if (!end)
		return false;
	*end = '\0';
	char *title = trim(line + 1);
	size_t word = strcspn(title, BLANK);
	if (config && word == strlen("profile") && !strncmp(title, "profile", word))
		return !strcmp(trim(title + word), name);
	return (!config || !strcmp(name, "default")) && !strcmp(title, name);
}

/* One setting of the profile. What a file before this one said stays. */
static enum rc take(struct s3_cred_profile *p, const char *key, const char *value, bool has_keys,
		    const char **refused)
{
	const struct {
		const char *key;
		char **to;
		bool secret;
	} known[] = {
		{ "aws_access_key_id", &p->access, true },
		{ "aws_secret_access_key", &p->secret, true },
		{ "aws_session_token", &p->token, true },
		{ "role_arn", &p->role, false },
		{ "role_session_name", &p->session, false },
		{ "web_identity_token_file", &p->token_file, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasecmp(key, known[i].key) != 0)
			continue;
		/* the keys are of one file: never one's id with another's secret */
		if ((known[i].secret && has_keys) || !*value)
			return RC_OK;
		s3_cred_wipe(known[i].to);
		*known[i].to = strdup(value);
		return *known[i].to ? RC_OK : RC_NO_MEMORY;
	}
	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++) {
		if (!strcasecmp(key, unsupported[i].key))
			*refused = unsupported[i].what;
	}
	return RC_OK;
}

static void closefp(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void linep(char **line)
{
	if (*line) {
		OPENSSL_cleanse(*line, LINE_ROOM);
		free(*line);
	}
}

static enum rc read_file(const char *path, bool config, const char *name, struct s3_cred_profile *p,
			 const char **refused, struct why *why)
{
	_cleanup_(closefp) FILE *f = fopen(path, "re");
	if (!f && (errno == ENOENT || errno == ENOTDIR))
		return RC_OK;
	if (!f)
		return rc_fail(RC_INVALID, why, "can't read \"%s\": %s", path, strerror(errno));
	_cleanup_(linep) char *line = calloc(1, LINE_ROOM);
	if (!line)
		return rc_fail(RC_NO_MEMORY, why, "no memory to read \"%s\"", path);
	setvbuf(f, NULL, _IONBF, 0); /* secrets stay in one place, to be wiped */

	bool inside = false, has_keys = p->access || p->secret;
	while (fgets(line, LINE_ROOM, f)) {
		if (strlen(line) == LINE_ROOM - 1)
			return rc_fail(RC_INVALID, why, "\"%s\" has a line that is too long", path);
		if (strchr("#;\r\n", *line))
			continue;
		if (*line == '[') {
			inside = is_section(line, name, config);
			p->found = p->found || inside;
			continue;
		}
		/* what begins with a blank belongs to a group of settings of another service */
		char *equals = strchr(line, '=');
		if (!inside || strchr(BLANK, *line) || !equals)
			continue;
		*equals = '\0';
		uncomment(equals + 1);
		if (take(p, trim(line), trim(equals + 1), has_keys, refused) != RC_OK)
			return rc_fail(RC_NO_MEMORY, why, "no memory to read \"%s\"", path);
	}
	if (ferror(f))
		return rc_fail(RC_INVALID, why, "can't read \"%s\": %s", path, strerror(errno));
	if (!p->file && (p->access || p->secret || p->token_file || *refused))
		p->file = strdup(path);
	return RC_OK;
}

/* The file that the variable names, or the one in ~/.aws; malloc'd. */
static char *place_of(const char *variable, const char *name)
{
	const char *given = getenv(variable);
	const char *home = getenv("HOME");
	char *path;
	struct passwd entry, *found = NULL;
	char room[4096];
	if (given && *given && strncmp(given, "~/", 2) != 0)
		return strdup(given);
	if (!home || !*home) {
		if (getpwuid_r(getuid(), &entry, room, sizeof(room), &found) || !found)
			return strdup("/nonexistent");
		home = found->pw_dir;
	}
	int n = given && *given ? asprintf(&path, "%s/%s", home, given + 2)
				: asprintf(&path, "%s/.aws/%s", home, name);
	return n < 0 ? NULL : path;
}

enum rc s3_cred_profile_read(const char *name, struct s3_cred_profile *out, struct why *why)
{
	_cleanup_(freep) char *credentials = place_of("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	_cleanup_(freep) char *config = place_of("AWS_CONFIG_FILE", "config");
	_cleanup_(s3_cred_profile_release) struct s3_cred_profile p = { .access = NULL };
	const char *refused = NULL;

	if (!credentials || !config)
		return rc_fail(RC_NO_MEMORY, why, "no memory to read a profile");
	enum rc rc = read_file(credentials, false, name, &p, &refused, why);
	if (rc == RC_OK)
		rc = read_file(config, true, name, &p, &refused, why);
	if (rc != RC_OK)
		return rc;
	if ((p.access && !p.secret) || (p.secret && !p.access))
		return rc_fail(RC_INVALID, why, "the profile \"%s\" in \"%s\" has no %s", name,
			       p.file, p.access ? "aws_secret_access_key" : "aws_access_key_id");
	bool has_web = p.role && p.token_file;
	if (refused && !has_web && (!p.access || p.role))
		return rc_fail(RC_INVALID, why,
			       "the profile \"%s\" in \"%s\" wants %s: not supported", name, p.file,
			       refused);
	if (!p.access && !has_web && (p.role || p.token_file))
		return rc_fail(RC_INVALID, why, "the profile \"%s\" has %s", name,
			       p.role ? "a role_arn, but no web_identity_token_file"
				      : "a web_identity_token_file, but no role_arn");
	*out = p;
	p = (struct s3_cred_profile){ .access = NULL };
	return RC_OK;
}
