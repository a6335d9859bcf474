/* SPDX-License-Identifier: Apache-2.0 */
/* ledger-pg-reseed.c - one stream made equal to what the object store holds of it: see ledger-pg-reseed.sql. */
#include "config.h"
#include "ledger/ledger-pg.h"

#include <inttypes.h>
#include <string.h>

#include "base/failpoint.h"

static void complete_args(struct ledger_pg *l, struct ledger_pg_conn *c, struct ledger_pg_args *a, const void *arg)
{
	const struct ledger_reseed *r = arg;
	ledger_pg_fence_args(l, c, a);
	ledger_pg_args_int8(a, (int64_t)r->seeding);
}

enum rc ledger_pg_reseed_stream(struct ledger *base, struct ledger_reseed *r, struct why *why)
{
	struct ledger_pg *l = container_of(base, struct ledger_pg, base);
	_cleanup_(ledger_pg_result_freep) PGresult *result = NULL;
	if (r->type)
		return rc_fail(RC_TEMPORARY, why, "re-seeding of single streams comes next");
	enum rc rc = ledger_pg_run(l, PG_COMPLETE, complete_args, r, true, &result, NULL, why);
	if (rc != RC_OK)
		return rc;
	return ledger_pg_args_get_int4(result, 0, 0) ? RC_TEMPORARY : RC_OK;
}
