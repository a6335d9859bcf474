/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lease of a publisher as others than its holder see it (struct ledger_horizon): whose it is, and how to have it for a while, so
 * that who held it begins anew from the checkpoint. Threads: any.
 */
#ifndef EVFS_STORE_TAIL_LEASE_H
#define EVFS_STORE_TAIL_LEASE_H

#include <stdint.h>

#include "base/rc.h"
#include "store/store.h"

#define TAIL_LEASE_HOLDER_MAX 64

/* The token of who holds it, "" for nobody. RC_DENIED: the store has no ledger. RC_FENCED, RC_TEMPORARY. */
enum rc tail_lease_holder(struct store *s, const char *lease, char out[TAIL_LEASE_HOLDER_MAX],
			  struct why *why) _must_check_;
/*
 * Take the lease away from whoever holds it, for ms. former: who that was, "" for nobody. RC_TEMPORARY: who holds it was always faster.
 */
enum rc tail_lease_take(struct store *s, const char *lease, const char *token, uint64_t ms,
			char former[TAIL_LEASE_HOLDER_MAX], struct why *why) _must_check_;
/* Give it back, if it is ours; it ends by itself, too. */
void tail_lease_return(struct store *s, const char *lease, const char *token);

#endif
