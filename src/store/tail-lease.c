/* SPDX-License-Identifier: Apache-2.0 */
/* tail-lease.c - the lease of a publisher, seen from outside. */
#include "config.h"
#include "store/tail-lease.h"

#include <stdio.h>

#include "store/store-private.h"

#define TAKE_TRIES 50

static bool pass_over(void *arg, const struct ledger_row *row)
{
	(void)arg;
	(void)row;
	return true;
}

/* lease_ms 0: give it back, if it is the token's; it is told who has it then. */
static enum rc ask(struct store *s, struct ledger_horizon *h, struct why *why)
{
	struct ledger_query q = { .what = LEDGER_TIME, .limit = 1, .lean = true, .horizon = h };
	h->late = pass_over;
	return s->ledger ? ledger_read(s->ledger, &q, pass_over, NULL, NULL, why)
			 : rc_fail(RC_DENIED, why, "the store has no ledger to ask");
}

enum rc tail_lease_holder(struct store *s, const char *lease, char out[TAIL_LEASE_HOLDER_MAX],
			  struct why *why)
{
	struct ledger_horizon h = { .lease = lease, .token = "-" };
	enum rc rc = ask(s, &h, why);
	if (rc == RC_OK)
		snprintf(out, TAIL_LEASE_HOLDER_MAX, "%s", h.holder);
	return rc;
}

enum rc tail_lease_take(struct store *s, const char *lease, const char *token, uint64_t ms,
			char former[TAIL_LEASE_HOLDER_MAX], struct why *why)
{
	*former = '\0';
	for (int i = 0; i < TAKE_TRIES; i++) {
		struct ledger_horizon mine = { .lease = lease, .token = token, .lease_ms = ms };
		enum rc rc = ask(s, &mine, why);
		/* The lease is there, whatever became of the horizon. */
		if (mine.leased || (rc && rc != RC_TEMPORARY))
			return mine.leased ? RC_OK : rc;
		if (rc)
			continue;
		snprintf(former, TAIL_LEASE_HOLDER_MAX, "%s", mine.holder);
		struct ledger_horizon its = { .lease = lease, .token = mine.holder };
		rc = ask(s, &its, why);
		if (rc)
			return rc;
	}
	return rc_fail(RC_TEMPORARY, why, "the publisher's lease can't be had: \"%s\" holds it", former);
}

void tail_lease_return(struct store *s, const char *lease, const char *token)
{
	struct ledger_horizon h = { .lease = lease, .token = token };
	enum rc rc = ask(s, &h, NULL);
	(void)rc;	/* then it ends by itself */
}
