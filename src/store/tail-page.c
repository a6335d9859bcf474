/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail-page.c - pages of the ledger's time line.
 *
 * A page counts once the ledger said after it that the seeding is still that of the first look: streams that wait for their re-seed are
 * passed over by the ledger, and what they hold would be missed, or come out of order. What is decided by the streams that wait (is a row
 * told, dropped, or does its stream wait from now on?) is decided when the page is taken, not here: they may have changed meanwhile.
 */
#include "config.h"
#include "store/tail-private.h"

#include <string.h>

void tail_page_init(struct tail_page *p, size_t limit, size_t room)
{
	*p = (struct tail_page){ .to_us = INT64_MAX, .limit = limit, .room = room };
	p->end = &p->first;
}

/* From this one on. */
static void drop(struct tail_page *p, struct tail_item **from)
{
	p->end = from;
	while (*from) {
		struct tail_item *item = *from;
		*from = item->next;
		tail_queue_item_free(item);
	}
}

void tail_page_release(struct tail_page *p)
{
	drop(p, &p->first);
}

void tail_page_cut(struct tail_page *p, int64_t to_us)
{
	struct tail_item **from = &p->first;
	while (*from && (*from)->recorded_us < to_us)
		from = &(*from)->next;
	p->to_us = to_us;
	p->ends |= *from != NULL;
	drop(p, from);
}

bool tail_page_add(struct tail_page *p, const struct ledger_row *row, struct tail_hold *hold)
{
	size_t len = row->head ? row->head_len + row->tail_len : 0;
	p->full = p->items && len > p->room;
	if (p->full)
		return false;
	struct tail_item *item = tail_queue_item(row, hold);
	p->failed = !item;
	if (!item)
		return false;
	p->room -= len < p->room ? len : p->room;
	p->items++;
	*p->end = item;
	p->end = &item->next;
	return true;
}

bool tail_page_take(void *page, const struct ledger_row *row)
{
	struct tail_page *p = page;
	p->rows++;
	return row->span || tail_page_add(p, row, NULL);
}

enum rc tail_page_confirm(struct store *s, uint64_t seeding, struct why *why)
{
	struct ledger_state state = { .count = false };
	enum rc rc = ledger_state(s->ledger, &state, why);
	store_saw_ledger(s, rc, why);
	if (rc != RC_OK)
		return rc == RC_NOT_FOUND || rc == RC_CORRUPT ? rc_fail(RC_TEMPORARY, why, "the ledger can't be read") : rc;
	return state.seeding == seeding && state.complete && !strcmp(state.identity, state.written) ?
		       RC_OK : rc_fail(RC_FENCED, why, "the ledger was replaced or put back");
}

enum rc tail_page_read(struct store *s, struct tail_page *p, struct why *why)
{
	struct ledger_query q = { .what = LEDGER_TIME, .from_us = p->after.us, .to_us = p->to_us, .after_us = p->after.us,
				  .stream = p->after.stream, .after = p->after.number, .limit = p->limit };
	enum rc rc = ledger_read(s->ledger, &q, tail_page_take, p, NULL, why);
	if (rc == RC_OK && p->failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the events of a page");
	p->ends = !p->full && p->rows < p->limit;
	return rc == RC_OK ? tail_page_confirm(s, p->seeding, why) : rc;
}
