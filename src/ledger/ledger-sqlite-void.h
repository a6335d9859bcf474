/* SPDX-License-Identifier: Apache-2.0 */
/* Private to ledger-sqlite*.c: numbers without event, of one stream, as its re-seed handles them. */
#ifndef EVFS_LEDGER_LEDGER_SQLITE_VOID_H
#define EVFS_LEDGER_LEDGER_SQLITE_VOID_H

#include "ledger/ledger-sqlite.h"

struct hole;

/* The voids of a stream above a number, taken out and put back in one transaction. */
struct ledger_sqlite_voids {
	struct ledger_sqlite_conn *c;
	int64_t stream;
	uint64_t after;
	int64_t recorded_us;	/* out of take_out: that of the last event up to after; for fill: what new voids get */
	struct hole *holes;
	size_t n_holes, cap_holes;
	uint64_t void_last;	/* the highest number that was a void */
	uint64_t voids;		/* how many numbers above after were */
};
void ledger_sqlite_void_release(struct ledger_sqlite_voids *v);

/* Take out all voids above after; one that reaches beyond it ends there. */
enum rc ledger_sqlite_void_take_out(struct ledger_sqlite_voids *v, struct why *why) _must_check_;
/* Give every number below the highest a row again; *new_r: how many numbers became void. */
enum rc ledger_sqlite_void_fill(struct ledger_sqlite_voids *v, size_t *new_r, struct why *why) _must_check_;
enum rc ledger_sqlite_void_put(struct ledger_sqlite_conn *c, int64_t stream, uint64_t number, uint64_t span,
			       int64_t recorded_us, struct why *why) _must_check_;

#endif
