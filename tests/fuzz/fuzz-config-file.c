/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-config-file.c - a file of settings is read whole, or refused with a reason; no assignment is without a name. */
#include "config.h"

#include <string.h>

#include "fuzz.h"
#include "setup/config-file.h"

static enum rc take(void *arg, unsigned line, const char *key, const char *value, struct why *why)
{
	unsigned *last = arg;
	(void)why;
	MUST(*key && !strchr(key, '=') && !strchr(key, '\n') && value);
	MUST(line >= *last);
	*last = line;
	return RC_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct why why = { "" };
	unsigned line = 1;
	enum rc rc = config_file_parse((const char *)data, len, take, &line, &why);
	MUST(rc == RC_OK || *why.text);
	return 0;
}
