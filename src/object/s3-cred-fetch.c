/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3-cred-fetch.c - credentials that a service gives for a while.
 * Source: AWS SDKs and Tools Reference Guide (web identity, container, instance metadata);
 * AWS Security Token Service API Reference, AssumeRoleWithWebIdentity.
 */
#include "config.h"
#include "object/s3-cred-private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <expat.h>
#include <openssl/crypto.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/time.h"
#include "object/s3-error.h"
#include "object/s3-sign.h"

#define TOKEN_MAX (64u << 10) /* of a token file */
#define FIELD_MAX (32u << 10) /* of one field of an answer */

/* The fields of an answer, wiped when done with. */
struct answer {
	char *access, *secret, *token, *expiration, *code, *message;
};

static void answer_release(struct answer *a)
{
	s3_cred_wipe(&a->access);
	s3_cred_wipe(&a->secret);
	s3_cred_wipe(&a->token);
	s3_cred_wipe(&a->expiration);
	s3_cred_wipe(&a->code);
	s3_cred_wipe(&a->message);
}

static enum rc set_from(struct answer *a, const char *url, struct s3_cred_set *out, struct why *why)
{
	_cleanup_(s3_cred_set_release) struct s3_cred_set set = { .access = NULL };
	struct time_stamp until = { .us = 0 };
	if (!a->access || !a->secret || !*a->access || !*a->secret)
		return rc_fail(RC_TEMPORARY, why, "%s gave no credentials%s%.60s", url,
			       a->code ? ": " : "", a->code ? a->code : "");
	if (a->expiration &&
	    time_parse(a->expiration, strlen(a->expiration), &until, NULL) != RC_OK)
		return rc_fail(RC_TEMPORARY, why, "%s gave credentials that expire at \"%.40s\"",
			       url, a->expiration);
	if (s3_cred_set_fill(&set, TAKE_PTR(a->access), TAKE_PTR(a->secret), TAKE_PTR(a->token),
			     NULL) != RC_OK)
		return rc_fail(RC_TEMPORARY, why, "%s gave credentials that can't be sent", url);
	set.expires_us = until.us;
	*out = set;
	set = (struct s3_cred_set){ .access = NULL };
	return RC_OK;
}

/* The content of a file without the blanks at its end, malloc'd. */
static char *read_token(const char *path, struct why *why)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : calloc(1, TOKEN_MAX + 1);
	size_t len = 0;
	ssize_t n = -1;
	while (text && len < TOKEN_MAX && (n = read(fd, text + len, TOKEN_MAX - len)) > 0)
		len += (size_t)n;
	if (!text || n < 0 || len == TOKEN_MAX) {
		rc_fail(RC_TEMPORARY, why, "can't read \"%s\": %s", path,
			len == TOKEN_MAX ? "too long" : strerror(errno));
		free(text);
		return NULL;
	}
	while (len && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	if (len && strlen(text) == len && !strpbrk(text, "\r\n"))
		return text;
	rc_fail(RC_TEMPORARY, why, "\"%s\" holds no token", path);
	free(text);
	return NULL;
}

/* --- JSON of a container and of an instance --- */

static bool parse_json(const struct buf *body, struct answer *a)
{
	const struct {
		const char *name;
		char **to;
	} fields[] = {
		{ "AccessKeyId", &a->access }, { "SecretAccessKey", &a->secret },
		{ "Token", &a->token },	       { "Expiration", &a->expiration },
		{ "Code", &a->code },	       { "code", &a->code },
		{ "Message", &a->message },    { "message", &a->message },
	};
	struct json_value all, key, value;
	struct json_iter it;
	if (json_parse(buf_text(body), body->len, JSON_STRICT, &all, NULL) != RC_OK ||
	    all.type != JSON_OBJECT)
		return false;
	json_iter_init(&it, &all);
	while (json_iter_next(&it, &key, &value)) {
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
			if (value.type != JSON_STRING || value.len > FIELD_MAX ||
			    !json_string_is(&key, fields[i].name))
				continue;
			struct buf text = BUF_INIT;
			buf_reserve(&text, value.len); /* never longer than in quotes */
			json_string(&value, &text);
			s3_cred_wipe(fields[i].to);
			*fields[i].to = buf_take(&text, NULL);
			if (!*fields[i].to)
				return false;
		}
	}
	return true;
}

/* What a service's refusal means: its clients are wrong, or it is ill. */
static enum rc refused(long status, const char *url, const char *code, const char *message,
		       struct why *why)
{
	enum rc rc = status >= 400 && status < 500 && status != 408 && status != 429 ? RC_DENIED
										     : RC_TEMPORARY;
	return rc_fail(rc, why, "%s answers %ld%s%.60s%s%.200s", url, status,
		       code && *code ? " " : "", code ? code : "", message && *message ? ": " : "",
		       message ? message : "");
}

static enum rc set_from_json(long status, const struct buf *body, const char *url,
			     struct s3_cred_set *out, struct why *why)
{
	_cleanup_(answer_release) struct answer a = { .access = NULL };
	bool parsed = parse_json(body, &a);
	if (status != 200)
		return refused(status, url, a.code, a.message, why);
	if (!parsed)
		return rc_fail(RC_TEMPORARY, why, "%s: the answer is no credentials", url);
	return set_from(&a, url, out, why);
}

enum rc s3_cred_fetch_allowed(const char *url, struct why *why)
{
	static const char *const hosts[] = { "localhost", "[::1]", "169.254.170.2",
					     "169.254.170.23", "[fd00:ec2::23]" };
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL;
	bool allowed = false;
	struct in_addr v4;
	if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
	    !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
	    !curl_url_get(u, CURLUPART_HOST, &host, 0)) {
		allowed = !strcmp(scheme, "https");
		for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
			allowed = allowed || !strcasecmp(host, hosts[i]);
		if (inet_pton(AF_INET, host, &v4) == 1)
			allowed = allowed || ntohl(v4.s_addr) >> 24 == 127;
		allowed = allowed && (!strcmp(scheme, "https") || !strcmp(scheme, "http"));
	}
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return allowed ? RC_OK
		       : rc_fail(RC_INVALID, why,
				 "AWS_CONTAINER_CREDENTIALS_FULL_URI: \"%s\" is neither https nor "
				 "of this machine",
				 url);
}

static void wipep(char **text)
{
	s3_cred_wipe(text);
}

/* "Name: value", malloc'd, wiped by wipep. */
static char *header(const char *name, const char *value)
{
	char *text;
	return asprintf(&text, "%s: %s", name, value) < 0 ? NULL : text;
}

enum rc s3_cred_fetch_container(const struct s3_cred_place *place, struct s3_cred_set *out,
				struct why *why)
{
	_cleanup_(s3_cred_http_release) struct buf body = BUF_INIT;
	_cleanup_(wipep) char *read = place->token_file ? read_token(place->token_file, why) : NULL;
	if (place->token_file && !read)
		return RC_TEMPORARY;
	const char *token = read ? read : place->token;
	_cleanup_(wipep) char *authorization = token ? header("Authorization", token) : NULL;
	if (token && !authorization)
		return rc_fail(RC_NO_MEMORY, why, "no memory to fetch credentials");
	struct s3_cred_http r = {
		.method = "GET",
		.url = place->url,
		.headers = { authorization },
		.direct = true,
		.ca_file = place->ca_file,
		.deadline_ms = clock_boot_ms() + place->timeout_ms,
	};
	long status;
	enum rc rc = s3_cred_http(&r, &status, &body, why);
	return rc == RC_OK ? set_from_json(status, &body, place->url, out, why) : rc;
}

/* The role's name is the first line. False: no name, or one that is no part of a path. */
static bool role_name(const struct buf *body, char out[129])
{
	size_t n = strcspn(buf_text(body), "\r\n");
	if (!n || n > 128 ||
	    strspn(buf_text(body), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789+=,.@_-") < n)
		return false;
	memcpy(out, buf_text(body), n);
	out[n] = '\0';
	return true;
}

enum rc s3_cred_fetch_instance(const struct s3_cred_place *place, struct s3_cred_set *out,
			       struct why *why)
{
	_cleanup_(s3_cred_http_release) struct buf session = BUF_INIT;
	_cleanup_(s3_cred_http_release) struct buf name = BUF_INIT;
	_cleanup_(s3_cred_http_release) struct buf body = BUF_INIT;
	_cleanup_(wipep) char *token = NULL;
	char url[1024], role[129];
	long status;
	struct s3_cred_http r = {
		.method = "PUT",
		.url = url,
		.headers = { "X-aws-ec2-metadata-token-ttl-seconds: 300" },
		.direct = true,
		.deadline_ms = clock_boot_ms() + place->timeout_ms,
	};

	snprintf(url, sizeof(url), "%s/latest/api/token", place->url);
	enum rc rc = s3_cred_http(&r, &status, &session, why);
	if (rc != RC_OK)
		return rc;
	if (status != 200 || !session.len || strpbrk(session.data, "\r\n"))
		return refused(status, url, NULL, status == 200 ? "no token" : NULL, why);
	token = header("X-aws-ec2-metadata-token", session.data);
	if (!token)
		return rc_fail(RC_NO_MEMORY, why, "no memory to fetch credentials");

	r.method = "GET";
	r.headers[0] = token;
	snprintf(url, sizeof(url), "%s/latest/meta-data/iam/security-credentials/", place->url);
	rc = s3_cred_http(&r, &status, &name, why);
	if (rc != RC_OK)
		return rc;
	if (status != 200 || !role_name(&name, role))
		return refused(status, url, NULL, status == 404 || status == 200 ? "no role" : NULL,
			       why);

	snprintf(url, sizeof(url), "%s/latest/meta-data/iam/security-credentials/%s", place->url,
		 role);
	rc = s3_cred_http(&r, &status, &body, why);
	return rc == RC_OK ? set_from_json(status, &body, url, out, why) : rc;
}

/* --- XML of the token service --- */

struct parse {
	XML_Parser xml;
	int depth, inside; /* inside: the depth of the Credentials element's children, 0 outside */
	char **field;
	struct buf text;
	struct answer a;
};

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = arg;
	(void)attributes;
	const struct {
		const char *name;
		char **to;
	} fields[] = {
		{ "AccessKeyId", &p->a.access },
		{ "SecretAccessKey", &p->a.secret },
		{ "SessionToken", &p->a.token },
		{ "Expiration", &p->a.expiration },
	};
	p->field = NULL;
	if (++p->depth > 8) {
		XML_StopParser(p->xml, XML_FALSE);
		return;
	}
	if (!p->inside && !strcmp(name, "Credentials"))
		p->inside = p->depth + 1;
	for (size_t i = 0; i < ARRAY_SIZE(fields) && p->inside == p->depth; i++) {
		if (!strcmp(name, fields[i].name))
			p->field = fields[i].to;
	}
	buf_reset(&p->text);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
	struct parse *p = arg;
	if (!p->field)
		return;
	if (p->text.len + (size_t)len > FIELD_MAX)
		XML_StopParser(p->xml, XML_FALSE);
	else
		buf_add(&p->text, text, (size_t)len);
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct parse *p = arg;
	(void)name;
	if (p->field && !*p->field)
		*p->field = strdup(buf_text(&p->text));
	p->field = NULL;
	if (p->inside == p->depth + 1)
		p->inside = -1; /* the first one counts */
	p->depth--;
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
			       const XML_Char *public_id, int has_subset)
{
	struct parse *p = arg;
	(void)name, (void)system_id, (void)public_id, (void)has_subset;
	XML_StopParser(p->xml, XML_FALSE);
}

static bool parse_xml(const struct buf *body, struct answer *out)
{
	struct parse p = { .xml = XML_ParserCreate(NULL) };
	buf_reserve(&p.text, FIELD_MAX);
	bool ok = p.xml && !buf_failed(&p.text);
	if (ok) {
		XML_SetUserData(p.xml, &p);
		XML_SetElementHandler(p.xml, on_start, on_end);
		XML_SetCharacterDataHandler(p.xml, on_text);
		XML_SetStartDoctypeDeclHandler(p.xml, on_doctype);
		ok = XML_Parse(p.xml, buf_text(body), (int)body->len, XML_TRUE) == XML_STATUS_OK;
	}
	if (p.xml)
		XML_ParserFree(p.xml);
	s3_cred_http_release(&p.text);
	if (ok)
		*out = p.a;
	else
		answer_release(&p.a);
	return ok;
}

enum rc s3_cred_fetch_web(const struct s3_cred_place *place, struct s3_cred_set *out,
			  struct why *why)
{
	_cleanup_(s3_cred_http_release) struct buf body = BUF_INIT;
	_cleanup_(s3_cred_http_release) struct buf form = BUF_INIT;
	_cleanup_(answer_release) struct answer a = { .access = NULL };
	_cleanup_(wipep) char *token = read_token(place->token_file, why);
	if (!token)
		return RC_TEMPORARY;
	buf_reserve(&form,
		    3 * (strlen(token) + strlen(place->role) + strlen(place->session)) + 256);
	s3_sign_query_add(&form, "Action", "AssumeRoleWithWebIdentity");
	s3_sign_query_add(&form, "Version", "2011-06-15");
	s3_sign_query_add(&form, "RoleArn", place->role);
	s3_sign_query_add(&form, "RoleSessionName", place->session);
	s3_sign_query_add(&form, "WebIdentityToken", token);
	if (buf_failed(&form))
		return rc_fail(RC_NO_MEMORY, why, "no memory to fetch credentials");
	struct s3_cred_http r = {
		.method = "POST",
		.url = place->url,
		.body = form.data,
		.ca_file = place->ca_file,
		.deadline_ms = clock_boot_ms() + place->timeout_ms,
	};
	long status;
	enum rc rc = s3_cred_http(&r, &status, &body, why);
	if (rc != RC_OK)
		return rc;
	struct s3_error e = { .code = "" };
	if (status != 200) {
		s3_error_parse(buf_text(&body), body.len, &e);
		return refused(status, place->url, e.code, e.message, why);
	}
	if (!parse_xml(&body, &a))
		return rc_fail(RC_TEMPORARY, why, "%s: the answer is no credentials", place->url);
	return set_from(&a, place->url, out, why);
}
