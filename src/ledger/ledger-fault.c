/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-fault.c - a wrapper that fails on purpose. */
#include "config.h"
#include "ledger/ledger.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct ledger_fault {
	struct ledger base;
	struct ledger *inner;
	const struct ledger_faults *faults;
	atomic_uint appends, settles, claims;
};

static bool due(atomic_uint *count, unsigned nth)
{
	unsigned n = atomic_fetch_add(count, 1) + 1;
	return nth && n % nth == 0;
}

static enum rc fault_append(struct ledger *l, struct ledger_append *items, size_t n,
			    uint64_t lease_ms, struct why *why)
{
	struct ledger_fault *f = container_of(l, struct ledger_fault, base);
	enum rc rc = f->faults->append_rc;
	if (!due(&f->appends, f->faults->append_nth))
		return ledger_append(f->inner, items, n, lease_ms, why);
	if (rc == RC_UNCERTAIN) { /* it happened, the reply was lost */
		enum rc inner = ledger_append(f->inner, items, n, lease_ms, why);
		if (inner != RC_OK)
			return inner;
	}
	for (size_t i = 0; i < n; i++) {
		items[i].fenced_stream = false;
		items[i].rc = rc_fail(rc, &items[i].why, "injected on append");
	}
	return rc_fail(rc, why, "injected on append");
}

static enum rc fault_claim(struct ledger *l, size_t max, uint64_t lease_ms, bool all,
			   ledger_pending_fn *fn, void *arg, size_t *n_r, struct why *why)
{
	struct ledger_fault *f = container_of(l, struct ledger_fault, base);
	if (due(&f->claims, f->faults->claim_nth))
		return rc_fail(f->faults->claim_rc, why, "injected on claim");
	return ledger_claim(f->inner, max, lease_ms, all, fn, arg, n_r, why);
}

static enum rc fault_settle(struct ledger *l, const struct ledger_ref *refs, size_t n,
			    struct why *why)
{
	struct ledger_fault *f = container_of(l, struct ledger_fault, base);
	if (!due(&f->settles, f->faults->settle_nth))
		return ledger_settle(f->inner, refs, n, why);
	if (f->faults->settle_rc == RC_UNCERTAIN) {
		enum rc inner = ledger_settle(f->inner, refs, n, why);
		if (inner != RC_OK)
			return inner;
	}
	return rc_fail(f->faults->settle_rc, why, "injected on settle");
}

static enum rc fault_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn,
			  void *arg, bool *fenced_stream, struct why *why)
{
	return ledger_read(container_of(l, struct ledger_fault, base)->inner, q, fn, arg,
			   fenced_stream, why);
}

static enum rc fault_state(struct ledger *l, struct ledger_state *out, struct why *why)
{
	return ledger_state(container_of(l, struct ledger_fault, base)->inner, out, why);
}

static enum rc fault_seed(struct ledger *l, const char *identity, uint64_t number, bool other_line,
			  int64_t floor_us, struct why *why)
{
	struct ledger_fault *f = container_of(l, struct ledger_fault, base);
	return ledger_seed(f->inner, identity, number, other_line, floor_us, why);
}

static enum rc fault_reseed(struct ledger *l, struct ledger_reseed *r, struct why *why)
{
	return ledger_reseed(container_of(l, struct ledger_fault, base)->inner, r, why);
}

static void fault_destroy(struct ledger *l)
{
	struct ledger_fault *f = container_of(l, struct ledger_fault, base);
	ledger_free(&f->inner);
	free(f);
}

static const struct ledger_ops fault_ops = {
	.name = "fault",
	.append = fault_append,
	.claim = fault_claim,
	.settle = fault_settle,
	.read = fault_read,
	.state = fault_state,
	.seed = fault_seed,
	.reseed = fault_reseed,
	.destroy = fault_destroy,
};

enum rc ledger_fault_new(struct ledger **out, struct ledger *inner,
			 const struct ledger_faults *faults, struct why *why)
{
	_cleanup_(ledger_freep) struct ledger *in = inner;
	struct ledger_fault *f = calloc(1, sizeof(*f));
	if (!f)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	f->base.ops = &fault_ops;
	f->inner = TAKE_PTR(in);
	f->base.counters = f->inner->counters;
	f->base.writers = f->inner->writers;
	f->faults = faults;
	*out = &f->base;
	return RC_OK;
}
