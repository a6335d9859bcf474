/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compare objects, ledger and catalog with each other and name each difference. Bounded memory per stream; writes nothing.
 */
#ifndef EVFS_STORE_VERIFY_H
#define EVFS_STORE_VERIFY_H

#include <stdint.h>

#include "base/rc.h"
#include "store/store.h"

/* One difference. Texts live until the callback returns. */
struct verify_finding {
	/* foreign, malformed, old-shape, wrong-place, missing-object, missing-row, unreadable, different, pending, void, gap, twice, fork, catalog, orphan, index */
	const char *kind;
	const char *type, *id;	/* NULL where no stream is concerned */
	uint64_t number;	/* 0: none */
	const char *key;	/* NULL: none */
	const char *text;	/* what was expected, what was found */
	bool harmless;		/* worth knowing, no damage (pending, void) */
};
typedef void verify_fn(void *arg, const struct verify_finding *finding);

struct verify_progress {
	uint64_t streams, events, findings;
};

/* RC_OK also where something was found: out->findings counts what is not harmless. progress (may be NULL) is called now and then. */
enum rc verify_run(struct store *s, verify_fn *fn, void (*progress)(void *arg, const struct verify_progress *p), void *arg,
		   struct verify_progress *out, struct why *why) _must_check_;

#endif
