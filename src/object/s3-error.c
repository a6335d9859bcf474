/* SPDX-License-Identifier: Apache-2.0 */
/* s3-error.c - what an S3 server's refusal means. */
#include "config.h"
#include "object/s3-error.h"

#include <ctype.h>
#include <string.h>

#include <expat.h>

#include "base/cleanup.h"

#define DEPTH_MAX 8

/* What happened, whatever was asked. */
enum kind {
	MISSING, /* no such key */
	NO_BUCKET, /* no such bucket: says nothing about a key */
	TAKEN, /* the bucket is there already */
	CONDITION, /* If-Match or If-None-Match did not hold */
	DENIED, /* and nothing that we can do helps */
	KEYS, /* the credentials are not, or no longer, good */
	SKEW, /* the clocks differ too much */
	BUSY, /* surely nothing happened; later it may work */
	UNKNOWN, /* it may have happened */
	REGION, /* the bucket is elsewhere; the answer says where */
	MOVED, /* as REGION, for the moment */
	FULL,
	LARGE,
	WRONG, /* the request itself; repeating it is useless */
	AUTH, /* refused without a reason (HEAD has no body): any of KEYS, SKEW, REGION, DENIED */
};

/* By S3 code. Not here: by the status. */
static const struct {
	const char *code;
	enum kind kind;
} codes[] = {
	{ "NoSuchKey", MISSING },
	{ "NoSuchVersion", MISSING },
	{ "NoSuchBucket", NO_BUCKET },
	{ "BucketAlreadyOwnedByYou", TAKEN },
	{ "BucketAlreadyExists", TAKEN },
	{ "PreconditionFailed", CONDITION },
	{ "ConditionalRequestConflict", BUSY },
	{ "OperationAborted", BUSY },
	{ "AccessDenied", DENIED },
	{ "AccessForbidden", DENIED },
	{ "AllAccessDisabled", DENIED },
	{ "AccountProblem", DENIED },
	{ "NotSignedUp", DENIED },
	{ "InvalidObjectState", DENIED },
	{ "MethodNotAllowed", DENIED },
	{ "UnauthorizedAccess", DENIED },
	{ "InvalidAccessKeyId", KEYS },
	{ "SignatureDoesNotMatch", KEYS },
	{ "ExpiredToken", KEYS },
	{ "TokenRefreshRequired", KEYS },
	{ "InvalidToken", KEYS },
	{ "InvalidTokenId", KEYS }, /* MinIO */
	{ "InvalidClientTokenId", KEYS },
	{ "RequestTimeTooSkewed", SKEW },
	{ "RequestExpired", SKEW },
	{ "SlowDown", BUSY },
	{ "ServiceUnavailable", BUSY },
	{ "ServerBusy", BUSY }, /* MinIO */
	{ "TooManyRequests", BUSY }, /* MinIO */
	{ "BandwidthLimitExceeded", BUSY },
	{ "XMinioServerNotInitialized", BUSY },
	{ "XMinioIAMNotInitialized", BUSY },
	{ "XMinioBucketMetadataNotInitialized", BUSY },
	{ "BadDigest", BUSY }, /* damaged on the way */
	{ "IncompleteBody", BUSY },
	{ "XAmzContentSHA256Mismatch", BUSY },
	{ "XAmzContentChecksumMismatch", BUSY },
	{ "InternalError", UNKNOWN },
	{ "SlowDownWrite", UNKNOWN }, /* MinIO: too few disks answered, some did */
	{ "SlowDownRead", UNKNOWN },
	{ "XMinioBackendDown", UNKNOWN },
	{ "ClientDisconnected", UNKNOWN },
	{ "PermanentRedirect", REGION },
	{ "AuthorizationHeaderMalformed", REGION },
	{ "IllegalLocationConstraintException", REGION },
	{ "InvalidRegion", REGION },
	{ "IncorrectEndpoint", REGION },
	{ "TemporaryRedirect", MOVED },
	{ "Redirect", MOVED },
	{ "XMinioStorageFull", FULL },
	{ "InsufficientStorage", FULL }, /* versitygw */
	{ "QuotaExceeded", FULL }, /* Ceph, versitygw: status 403 */
	{ "XMinioAdminBucketQuotaExceeded", FULL },
	{ "EntityTooLarge", LARGE },
	{ "MaxMessageLengthExceeded", LARGE },
	{ "KeyTooLongError", WRONG },
	{ "ObjectParentIsFile", WRONG }, /* versitygw, status 409 */
	{ "ExistingObjectIsDirectory", WRONG },
	{ "NotImplemented", WRONG },
};

static enum kind kind_of_status(int status, bool no_body)
{
	switch (status) {
	case 400:
		return no_body ? AUTH : WRONG;
	case 401:
	case 405:
	case 407:
		return DENIED;
	case 403:
		return no_body ? AUTH : DENIED;
	case 404:
		return MISSING;
	case 408: /* the request did not arrive whole */
	case 425:
	case 429:
		return BUSY;
	case 409:
		return BUSY;
	case 412:
		return CONDITION;
	case 413:
		return LARGE;
	case 301:
	case 308:
		return REGION;
	case 302:
	case 303:
	case 307:
		return MOVED;
	case 501:
		return WRONG;
	case 507:
		return FULL;
	default:
		/* what a client did wrong had no effect; 499 is a proxy's word for a lost one */
		return status >= 400 && status < 499 ? WRONG : UNKNOWN;
	}
}

static enum kind kind_of(int status, const char *code)
{
	/* AWS: the request did not arrive in time; MinIO: a lock, or a disk, did not come */
	if (!strcmp(code, "RequestTimeout"))
		return status == 400 || status == 408 ? BUSY : UNKNOWN;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (!strcmp(code, codes[i].code))
			return codes[i].kind;
	}
	/* 404 with another word may come from no S3 server: no proof that the key is free */
	if (status == 404 && *code && strncmp(code, "NoSuch", 6) != 0)
		return NO_BUCKET;
	return kind_of_status(status, !*code);
}

void s3_error_judge(enum s3_what what, int status, const char *code, struct s3_verdict *out)
{
	bool writes = what == S3_PUT || what == S3_REPLACE;
	struct s3_verdict v = { .rc = RC_TEMPORARY };

	switch (kind_of(status, code)) {
	case MISSING:
		/* for a PUT it is a strange answer, for a replacement the version is not there */
		if (what == S3_READ || what == S3_BUCKET)
			v.rc = RC_NOT_FOUND;
		else if (what == S3_REPLACE)
			v.rc = RC_CONFLICT;
		break;
	case NO_BUCKET:
		if (what == S3_BUCKET)
			v.rc = RC_NOT_FOUND;
		break;
	case TAKEN:
		v.rc = RC_EXISTS;
		break;
	case CONDITION:
		if (writes)
			v.rc = what == S3_PUT ? RC_EXISTS : RC_CONFLICT;
		break;
	case DENIED:
		v.rc = RC_DENIED;
		break;
	case KEYS:
		v.rc = RC_DENIED;
		v.refresh = true;
		break;
	case SKEW:
		v.rc = RC_DENIED;
		v.skew = true;
		break;
	case AUTH:
		v.rc = RC_DENIED;
		v.refresh = true;
		v.skew = status == 403;
		v.redirect = status == 400;
		break;
	case BUSY:
		v.retry = true;
		break;
	case UNKNOWN:
		v.retry = !writes;
		if (writes)
			v.rc = RC_UNCERTAIN;
		break;
	case REGION:
		if (what == S3_BUCKET)
			v.rc = RC_INVALID;
		v.redirect = true;
		break;
	case MOVED:
		v.retry = v.redirect = true;
		break;
	case FULL:
		v.rc = RC_NO_SPACE;
		break;
	case LARGE:
		v.rc = RC_TOO_LARGE;
		break;
	case WRONG:
		v.rc = RC_INVALID;
		break;
	}
	/* "200, and by the way it failed": nothing about it can be trusted */
	if (status >= 200 && status < 300 && writes)
		v = (struct s3_verdict){ .rc = RC_UNCERTAIN };
	*out = v;
}

struct parse {
	XML_Parser xml;
	int depth, top; /* top: the depth of the Error element's children, 0 before it */
	char *field; /* where text goes now; NULL: nowhere */
	size_t size, used;
	struct s3_error e;
};

static void take(struct parse *p, char *field, size_t size)
{
	p->field = field;
	p->size = size;
	p->used = 0;
	*field = '\0';
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = arg;
	(void)attributes;
	p->depth++;
	p->field = NULL;
	if (p->depth > DEPTH_MAX ||
	    (p->depth == 1 && strcmp(name, "Error") != 0 && strcmp(name, "ErrorResponse") != 0)) {
		XML_StopParser(p->xml, XML_FALSE);
		return;
	}
	/* the token service wraps it: <ErrorResponse><Error>… */
	if (!p->top && !strcmp(name, "Error"))
		p->top = p->depth + 1;
	else if (p->top && p->depth == p->top && !strcmp(name, "Code"))
		take(p, p->e.code, sizeof(p->e.code));
	else if (p->top && p->depth == p->top && !strcmp(name, "Message"))
		take(p, p->e.message, sizeof(p->e.message));
	else if (p->top && p->depth == p->top && !strcmp(name, "Region"))
		take(p, p->e.region, sizeof(p->e.region));
	else if (p->depth == 2 && (!strcmp(name, "RequestId") || !strcmp(name, "RequestID")))
		take(p, p->e.request_id, sizeof(p->e.request_id));
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct parse *p = arg;
	(void)name;
	p->depth--;
	p->field = NULL;
}

/* These texts end in messages and logs: one line each, cut between two characters. */
static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
	struct parse *p = arg;
	if (!p->field)
		return;
	for (int i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (p->used + 1 == p->size) {
			size_t end = p->used;
			while (end && ((unsigned char)p->field[end - 1] & 0xc0) == 0x80)
				end--;
			if ((c & 0xc0) == 0x80 && end)
				p->field[end - 1] = '\0';
			p->field = NULL;
			return;
		}
		p->field[p->used++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
		p->field[p->used] = '\0';
	}
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
			       const XML_Char *public_id, int has_subset)
{
	struct parse *p = arg;
	(void)name, (void)system_id, (void)public_id, (void)has_subset;
	XML_StopParser(p->xml, XML_FALSE);
}

bool s3_error_parse(const char *body, size_t len, struct s3_error *out)
{
	size_t blank = 0;
	while (blank < len && (isspace((unsigned char)body[blank]) ||
			       (unsigned char)body[blank] >= 0x80 /* a byte order mark */))
		blank++;
	if (blank == len || body[blank] != '<' || len > S3_ERROR_BODY_MAX)
		return false;

	struct parse p = { .xml = XML_ParserCreate(NULL) };
	if (!p.xml)
		return false;
	XML_SetUserData(p.xml, &p);
	XML_SetElementHandler(p.xml, on_start, on_end);
	XML_SetCharacterDataHandler(p.xml, on_text);
	XML_SetStartDoctypeDeclHandler(p.xml, on_doctype);
	bool ok = XML_Parse(p.xml, body, (int)len, XML_TRUE) == XML_STATUS_OK && p.top && *p.e.code;
	XML_ParserFree(p.xml);
	if (ok)
		*out = p.e;
	return ok;
}
