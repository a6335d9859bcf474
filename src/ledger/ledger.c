/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.c - each call goes to the implementation, and its time is taken. */
#include "config.h"
#include "ledger/ledger.h"

#include "base/clock.h"

static enum rc took(struct ledger *l, enum ledger_kind kind, uint64_t start_us, enum rc rc)
{
	latency_add(&l->times[kind], clock_boot_us() - start_us);
	return rc;
}

enum rc ledger_append(struct ledger *l, struct ledger_append *items, size_t n, uint64_t lease_ms,
		      struct why *why)
{
	uint64_t start_us = clock_boot_us();
	return took(l, LEDGER_APPEND, start_us, l->ops->append(l, items, n, lease_ms, why));
}

enum rc ledger_claim(struct ledger *l, size_t max, uint64_t lease_ms, bool all,
		     ledger_pending_fn *fn, void *arg, size_t *n_r, struct why *why)
{
	uint64_t start_us = clock_boot_us();
	return took(l, LEDGER_CLAIM, start_us,
		    l->ops->claim(l, max, lease_ms, all, fn, arg, n_r, why));
}

enum rc ledger_settle(struct ledger *l, const struct ledger_ref *refs, size_t n, struct why *why)
{
	uint64_t start_us = clock_boot_us();
	return took(l, LEDGER_SETTLE, start_us, l->ops->settle(l, refs, n, why));
}

enum rc ledger_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg,
		    bool *fenced_stream, struct why *why)
{
	uint64_t start_us = clock_boot_us();
	return took(l, LEDGER_READ, start_us, l->ops->read(l, q, fn, arg, fenced_stream, why));
}

enum rc ledger_state(struct ledger *l, struct ledger_state *out, struct why *why)
{
	uint64_t start_us = clock_boot_us();
	return took(l, LEDGER_STATE, start_us, l->ops->state(l, out, why));
}

enum rc ledger_seed(struct ledger *l, const char *identity, uint64_t number, bool other_line,
		    int64_t floor_us, struct why *why)
{
	uint64_t start_us = clock_boot_us();
	return took(l, LEDGER_SEED, start_us,
		    l->ops->seed(l, identity, number, other_line, floor_us, why));
}

enum rc ledger_reseed(struct ledger *l, struct ledger_reseed *r, struct why *why)
{
	uint64_t start_us = clock_boot_us();
	return took(l, LEDGER_SEED, start_us, l->ops->reseed(l, r, why));
}

void ledger_counts(const struct ledger *l, struct ledger_counts *out)
{
	const struct ledger_counters *c = l->counters;
	*out = (struct ledger_counts){ 0 };
#define TAKE(what) .what = atomic_load_explicit(&c->what, memory_order_relaxed)
	if (c)
		*out = (struct ledger_counts){
			TAKE(append), TAKE(claim), TAKE(settle),   TAKE(read),
			TAKE(state),  TAKE(seed),  TAKE(connects), TAKE(failed),
		};
#undef TAKE
	for (size_t i = 0; i < LEDGER_KINDS; i++)
		latency_read(&l->times[i], &out->times[i]);
}

void ledger_free(struct ledger **l)
{
	if (!l || !*l)
		return;
	(*l)->ops->destroy(*l);
	*l = NULL;
}
