/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-s3-list.c - whatever a server answers to a listing: keys are told in order, each once, none outside of what was asked. */
#include "config.h"

#include <string.h>

#include "fuzz.h"
#include "object/s3-list.h"

#define PREFIX "p/streams/"
#define CUT 2	/* "p/" is the store's, and not told */

struct told {
	char last[2048];
	bool any;
};

static bool tell(void *arg, const struct object_info *info)
{
	struct told *t = arg;
	MUST(!strncmp(info->key, &PREFIX[CUT], strlen(&PREFIX[CUT])));
	MUST(strlen(info->key) < sizeof(t->last));
	MUST(strcmp(info->key, "streams/Order") > 0);
	MUST(!t->any || strcmp(info->key, t->last) > 0);
	strcpy(t->last, info->key);
	t->any = true;
	return true;
}

static void list(const char *text, size_t len, bool delimited, size_t piece)
{
	struct told told = { .any = false };
	struct s3_list *l = NULL;
	struct why why = { "" };
	bool more = false;
	MUST(s3_list_new(&l, PREFIX, CUT, "streams/Order", delimited, tell, &told, &why) == RC_OK);
	MUST(s3_list_page(l, &why) == RC_OK);
	enum rc rc = RC_OK;
	for (size_t at = 0; at < len && rc == RC_OK; at += piece)
		rc = s3_list_feed(l, text + at, len - at < piece ? len - at : piece, &why);
	if (rc == RC_OK)
		rc = s3_list_end(l, &more, &why);
	MUST(rc == RC_OK || *why.text);
	if (rc == RC_OK && more)
		MUST(s3_list_token(l));
	s3_list_free(&l);
	MUST(!l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	list((const char *)data, len, false, len ? len : 1);
	list((const char *)data, len, true, 7);
	return 0;
}
