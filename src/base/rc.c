/* SPDX-License-Identifier: Apache-2.0 */
/* rc.c - result codes and their reasons. */
#include "config.h"
#include "base/rc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum rc rc_fail(enum rc rc, struct why *why, const char *fmt, ...)
{
	if (why) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(why->text, sizeof(why->text), fmt, ap);
		va_end(ap);
	}
	return rc;
}

enum rc rc_prefix(enum rc rc, struct why *why, const char *fmt, ...)
{
	if (why) {
		char inner[sizeof(why->text)];
		memcpy(inner, why->text, sizeof(inner));

		va_list ap;
		va_start(ap, fmt);
		int n = vsnprintf(why->text, sizeof(why->text), fmt, ap);
		va_end(ap);
		if (n >= 0 && (size_t)n < sizeof(why->text))
			snprintf(why->text + n, sizeof(why->text) - (size_t)n, ": %.400s", inner);
	}
	return rc;
}

const char *rc_name(enum rc rc)
{
	switch (rc) {
	case RC_OK:		return "ok";
	case RC_NOT_FOUND:	return "not found";
	case RC_EXISTS:		return "exists";
	case RC_CONFLICT:	return "conflict";
	case RC_INVALID:	return "invalid";
	case RC_DENIED:		return "denied";
	case RC_TEMPORARY:	return "temporary failure";
	case RC_UNCERTAIN:	return "outcome uncertain";
	case RC_CORRUPT:	return "corrupt";
	case RC_TOO_LARGE:	return "too large";
	case RC_NO_SPACE:	return "no space";
	case RC_NO_MEMORY:	return "out of memory";
	case RC_CANCELLED:	return "cancelled";
	case RC_FENCED:		return "fenced";
	}
	return "unknown";
}
