/* SPDX-License-Identifier: Apache-2.0 */
/* Result codes: what the caller can do about it. The set is closed. */
#ifndef EVFS_BASE_RC_H
#define EVFS_BASE_RC_H

enum rc {
	RC_OK = 0,
	RC_NOT_FOUND = -1,
	RC_EXISTS = -2,		/* it is there already, with other content */
	RC_CONFLICT = -3,	/* the expected sequence is not the last one */
	RC_INVALID = -4,	/* the input is wrong; repeating it is useless */
	RC_DENIED = -5,		/* not allowed here: read-only, no permission */
	RC_TEMPORARY = -6,	/* nothing happened; the same call may be retried */
	RC_UNCERTAIN = -7,	/* it may have happened; look before you retry */
	RC_CORRUPT = -8,	/* what is stored can't be read; needs repair */
	RC_TOO_LARGE = -9,
	RC_NO_SPACE = -10,	/* nothing happened; free some space first */
	RC_NO_MEMORY = -11,
	RC_CANCELLED = -12,	/* the caller gave up; nothing happened */
	RC_FENCED = -13,	/* the ledger or stream must be seeded first; nothing happened */
};

/* The reason, one line: lower case, no full stop, subjects quoted. Owned by the caller, never allocates. */
struct why {
	char text[512];
};

#define _must_check_ __attribute__((warn_unused_result))
#define _printf_(a, b) __attribute__((format(printf, a, b)))

/* Record the reason (if why is not NULL) and return rc, so that it fits a return. */
enum rc rc_fail(enum rc rc, struct why *why, const char *fmt, ...) _printf_(3, 4);

/* Put "text: " in front of the reason that a lower layer gave; returns rc. */
enum rc rc_prefix(enum rc rc, struct why *why, const char *fmt, ...) _printf_(3, 4);

const char *rc_name(enum rc rc);

#endif
