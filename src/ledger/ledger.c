/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.c - each call goes to the implementation. */
#include "config.h"
#include "ledger/ledger.h"

enum rc ledger_append(struct ledger *l, struct ledger_append *items, size_t n, uint64_t lease_ms,
		      struct why *why)
{
	return l->ops->append(l, items, n, lease_ms, why);
}

enum rc ledger_claim(struct ledger *l, size_t max, uint64_t lease_ms, bool all,
		     ledger_pending_fn *fn, void *arg, size_t *n_r, struct why *why)
{
	return l->ops->claim(l, max, lease_ms, all, fn, arg, n_r, why);
}

enum rc ledger_settle(struct ledger *l, const struct ledger_ref *refs, size_t n, struct why *why)
{
	return l->ops->settle(l, refs, n, why);
}

enum rc ledger_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg,
		    bool *fenced_stream, struct why *why)
{
	return l->ops->read(l, q, fn, arg, fenced_stream, why);
}

enum rc ledger_state(struct ledger *l, struct ledger_state *out, struct why *why)
{
	return l->ops->state(l, out, why);
}

enum rc ledger_seed(struct ledger *l, const char *identity, uint64_t number, bool other_line,
		    int64_t floor_us, struct why *why)
{
	return l->ops->seed(l, identity, number, other_line, floor_us, why);
}

enum rc ledger_reseed(struct ledger *l, struct ledger_reseed *r, struct why *why)
{
	return l->ops->reseed(l, r, why);
}

void ledger_counts(const struct ledger *l, struct ledger_counts *out)
{
	const struct ledger_counters *c = l->counters;
	*out = (struct ledger_counts){ 0 };
	if (!c)
		return;
#define TAKE(what) .what = atomic_load_explicit(&c->what, memory_order_relaxed)
	*out = (struct ledger_counts){
		TAKE(append), TAKE(claim), TAKE(settle),   TAKE(read),
		TAKE(state),  TAKE(seed),  TAKE(connects), TAKE(failed),
	};
#undef TAKE
}

void ledger_free(struct ledger **l)
{
	if (!l || !*l)
		return;
	(*l)->ops->destroy(*l);
	*l = NULL;
}
