/* SPDX-License-Identifier: Apache-2.0 */
/* s3-list-page.c - one page of a listing, collected while it arrives. */
#include "config.h"
#include "object/s3-list-page.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "event/time.h"

#define DEPTH_MAX 8

/* The element whose text is collected. */
enum field {
	NOTHING,
	ENCODING,
	PREFIX,
	TRUNCATED,
	TOKEN,
	COUNT,
	KEY,
	MODIFIED,
	SIZE,
	COMMON,
	ERROR_CODE,
	ERROR_MESSAGE
};

/* From within a handler. */
static void stop(struct s3_list_page *p, enum rc rc, const char *text)
{
	if (p->rc == RC_OK)
		p->rc = rc_fail(rc, &p->why, "%s", text);
	XML_StopParser(p->xml, XML_FALSE);
}

static bool no_memory(struct s3_list_page *p)
{
	stop(p, RC_NO_MEMORY, "no memory for a page of a listing");
	return false;
}

static enum field field_of(const struct s3_list_page *p, const char *name)
{
	static const struct {
		const char *name;
		int depth, row; /* row: as in a page; -2: of an error document */
		enum field field;
	} fields[] = {
		{ "Key", 3, S3_LIST_OBJECTS, KEY },
		{ "LastModified", 3, S3_LIST_OBJECTS, MODIFIED },
		{ "Size", 3, S3_LIST_OBJECTS, SIZE },
		{ "Prefix", 3, S3_LIST_PREFIXES, COMMON },
		{ "EncodingType", 2, -1, ENCODING },
		{ "Prefix", 2, -1, PREFIX },
		{ "IsTruncated", 2, -1, TRUNCATED },
		{ "NextContinuationToken", 2, -1, TOKEN },
		{ "KeyCount", 2, -1, COUNT },
		{ "Code", 2, -2, ERROR_CODE },
		{ "Message", 2, -2, ERROR_MESSAGE },
	};
	int row = p->error ? -2 : p->row;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (p->depth == fields[i].depth && row == fields[i].row &&
		    !strcmp(name, fields[i].name))
			return fields[i].field;
	}
	return NOTHING;
}

static bool add_entry(struct s3_list_page *p, struct s3_list_run *run)
{
	if (run->n == run->cap) {
		size_t cap = run->cap ? run->cap * 2 : 256;
		struct s3_list_entry *entries = realloc(run->entries, cap * sizeof(*entries));
		if (!entries)
			return no_memory(p);
		run->entries = entries;
		run->cap = cap;
	}
	run->entries[run->n++] = (struct s3_list_entry){ .at = p->names.len };
	return true;
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct s3_list_page *p = arg;
	(void)attributes;
	if (p->rc != RC_OK)
		return; /* some calls still come after a stop */
	p->depth++;
	p->field = NOTHING;
	if (p->depth == 1) {
		p->error = !strcmp(name, "Error");
		if (!p->error && strcmp(name, "ListBucketResult") != 0)
			stop(p, RC_CORRUPT, "the answer to a listing is another document");
	} else if (p->depth > DEPTH_MAX) {
		stop(p, RC_CORRUPT, "a page of a listing is nested too deep");
	} else if (p->depth == 2 && !p->error && !strcmp(name, "Contents")) {
		p->row = S3_LIST_OBJECTS;
	} else if (p->depth == 2 && !p->error && !strcmp(name, "CommonPrefixes")) {
		p->row = S3_LIST_PREFIXES;
	} else {
		p->field = field_of(p, name);
		buf_reset(&p->text);
		return;
	}
	if (p->row >= 0 && p->rc == RC_OK) {
		p->has_key = false;
		add_entry(p, &p->runs[p->row]);
	}
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
	struct s3_list_page *p = arg;
	if (p->field == NOTHING || p->rc != RC_OK)
		return;
	if (p->text.len + (size_t)len > S3_LIST_PAGE_TEXT_MAX) {
		stop(p, RC_CORRUPT, "a text in a page of a listing is too long");
		return;
	}
	buf_add(&p->text, text, (size_t)len);
	if (buf_failed(&p->text))
		no_memory(p);
}

static bool take_number(const struct buf *text, uint64_t *out)
{
	const char *p = buf_text(text);
	if (!text->len || text->len > 19 || strspn(p, "0123456789") != text->len)
		return false;
	*out = strtoull(p, NULL, 10);
	return true;
}

bool s3_list_page_decode(char *text, size_t *len)
{
	char *to = text;
	for (const char *p = text, *end = text + *len; p < end; p++) {
		if (*p == '+') {
			*to++ = ' ';
		} else if (*p != '%') {
			*to++ = *p;
		} else {
			char hex[3] = { 0 };
			if (end - p < 3)
				return false;
			memcpy(hex, p + 1, 2);
			if (strspn(hex, "0123456789abcdefABCDEF") != 2 || !memcmp(hex, "00", 2))
				return false;
			*to++ = (char)strtoul(hex, NULL, 16);
			p += 2;
		}
	}
	*len = (size_t)(to - text);
	return true;
}

/* Some servers encode it and some do not; a listing of another place is neither. */
static bool is_our_prefix(struct s3_list_page *p)
{
	if (!p->text.len || !strcmp(buf_text(&p->text), p->prefix))
		return true;
	size_t len = p->text.len;
	return s3_list_page_decode(p->text.data, &len) && len == strlen(p->prefix) &&
	       !memcmp(p->text.data, p->prefix, len);
}

static void take_name(struct s3_list_page *p, struct s3_list_run *run)
{
	if (p->has_key || !p->text.len) {
		stop(p, RC_CORRUPT, "an entry of a listing has two keys, or an empty one");
		return;
	}
	p->has_key = true;
	struct s3_list_entry *e = &run->entries[run->n - 1];
	e->at = p->names.len;
	e->len = p->text.len;
	buf_add(&p->names, buf_text(&p->text), p->text.len);
	if (buf_failed(&p->names))
		no_memory(p);
}

/* For messages and logs: one line. */
static void copy_line(char *out, size_t size, const char *text)
{
	size_t n = 0;
	for (; text[n] && n + 1 < size; n++)
		out[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? ' ' : text[n];
	out[n] = '\0';
}

static void take_text(struct s3_list_page *p)
{
	struct s3_list_run *run = p->row >= 0 ? &p->runs[p->row] : NULL;
	const char *text = buf_text(&p->text);
	struct time_stamp when;

	switch ((enum field)p->field) {
	case NOTHING:
		break;
	case ENCODING:
		p->encoded = !strcasecmp(text, "url");
		break;
	case PREFIX:
		if (!is_our_prefix(p))
			stop(p, RC_CORRUPT, "a page of a listing is of another prefix");
		break;
	case TRUNCATED:
		p->truncated = !strcasecmp(text, "true");
		if (!p->truncated && strcasecmp(text, "false") != 0)
			stop(p, RC_CORRUPT,
			     "a page of a listing does not say whether it is the last");
		break;
	case TOKEN:
		buf_reset(&p->next);
		buf_add(&p->next, text, p->text.len);
		if (buf_failed(&p->next))
			no_memory(p);
		break;
	case COUNT:
		p->has_count = take_number(&p->text, &p->count);
		break;
	case KEY:
	case COMMON:
		take_name(p, run);
		break;
	case MODIFIED:
		if (time_parse(text, p->text.len, &when, NULL) == RC_OK)
			run->entries[run->n - 1].modified_us = when.us;
		else
			stop(p, RC_CORRUPT, "an entry of a listing has no time");
		break;
	case SIZE:
		if (!take_number(&p->text, &run->entries[run->n - 1].size))
			stop(p, RC_CORRUPT, "an entry of a listing has no size");
		break;
	case ERROR_CODE:
		copy_line(p->said.code, sizeof(p->said.code), text);
		break;
	case ERROR_MESSAGE:
		copy_line(p->said.message, sizeof(p->said.message), text);
		break;
	}
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct s3_list_page *p = arg;
	(void)name;
	if (p->rc != RC_OK)
		return;
	take_text(p);
	p->field = NOTHING;
	p->depth--;
	if (p->depth == 1 && p->row >= 0) {
		if (!p->has_key)
			stop(p, RC_CORRUPT, "an entry of a listing has no key");
		p->row = -1;
	}
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
			       const XML_Char *public_id, int has_subset)
{
	(void)name, (void)system_id, (void)public_id, (void)has_subset;
	stop(arg, RC_CORRUPT, "the answer to a listing has a document type");
}

enum rc s3_list_page_init(struct s3_list_page *p, const char *prefix, struct why *why)
{
	*p = (struct s3_list_page){ .prefix = prefix, .xml = XML_ParserCreate(NULL) };
	return p->xml ? RC_OK : rc_fail(RC_NO_MEMORY, why, "no memory for a listing");
}

void s3_list_page_release(struct s3_list_page *p)
{
	if (p->xml)
		XML_ParserFree(p->xml);
	buf_release(&p->text);
	buf_release(&p->names);
	buf_release(&p->next);
	free(p->runs[S3_LIST_OBJECTS].entries);
	free(p->runs[S3_LIST_PREFIXES].entries);
	*p = (struct s3_list_page){ .xml = NULL };
}

enum rc s3_list_page_begin(struct s3_list_page *p, struct why *why)
{
	if (!XML_ParserReset(p->xml, NULL))
		return rc_fail(RC_NO_MEMORY, why, "no memory for a page of a listing");
	XML_SetUserData(p->xml, p);
	XML_SetElementHandler(p->xml, on_start, on_end);
	XML_SetCharacterDataHandler(p->xml, on_text);
	XML_SetStartDoctypeDeclHandler(p->xml, on_doctype);
	p->rc = RC_OK;
	p->bytes = 0;
	p->depth = 0;
	p->row = -1;
	p->error = p->encoded = p->has_key = p->has_count = false;
	p->field = NOTHING;
	p->truncated = -1;
	p->said = (struct s3_error){ .code = "" };
	buf_reset(&p->text);
	buf_reset(&p->names);
	buf_reset(&p->next);
	p->runs[S3_LIST_OBJECTS].n = p->runs[S3_LIST_PREFIXES].n = 0;
	return RC_OK;
}

static bool is_early(enum XML_Error error)
{
	return error == XML_ERROR_NO_ELEMENTS || error == XML_ERROR_UNCLOSED_TOKEN ||
	       error == XML_ERROR_PARTIAL_CHAR || error == XML_ERROR_UNCLOSED_CDATA_SECTION;
}

static enum rc parse(struct s3_list_page *p, const char *data, size_t len, bool last,
		     struct why *why)
{
	if (p->rc == RC_OK && XML_Parse(p->xml, data, (int)len, last) != XML_STATUS_OK &&
	    p->rc == RC_OK) {
		enum XML_Error error = XML_GetErrorCode(p->xml);
		if (last && is_early(error))
			p->rc = rc_fail(RC_TEMPORARY, &p->why, "a page of a listing ends early");
		else
			p->rc = rc_fail(RC_CORRUPT, &p->why,
					"the answer to a listing is no XML: %s",
					XML_ErrorString(error));
	}
	return p->rc == RC_OK ? RC_OK : rc_fail(p->rc, why, "%s", p->why.text);
}

enum rc s3_list_page_feed(struct s3_list_page *p, const char *data, size_t len, struct why *why)
{
	if (p->rc == RC_OK && len > S3_LIST_PAGE_MAX - p->bytes)
		p->rc = rc_fail(RC_CORRUPT, &p->why, "a page of a listing does not end");
	p->bytes += len;
	return parse(p, data, len, false, why);
}

/* The parser may have kept the end of the text until it knows that no more comes. */
enum rc s3_list_page_end(struct s3_list_page *p, struct why *why)
{
	return parse(p, "", 0, true, why);
}
