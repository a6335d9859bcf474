/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-event.c - what is read as an event is written as one that reads the same, again with the same bytes. */
#include "config.h"

#include <string.h>

#include "event/draft.h"
#include "event/event.h"
#include "fuzz.h"

static void must_be_same(const char *a, const char *b)
{
	MUST(!a == !b);
	MUST(!a || !strcmp(a, b));
}

static void as_event(const char *text, size_t len)
{
	struct event e = EVENT_INIT, again = EVENT_INIT;
	struct buf body = BUF_INIT, twice = BUF_INIT;
	uint8_t digest[DRAFT_DIGEST_LEN];
	struct why why = { "" };
	if (event_parse(text, len, &e, &why) != RC_OK) {
		MUST(*why.text && strlen(why.text) < sizeof(why.text));
		return;
	}
	MUST(e.event_type && e.aggregate_type && e.aggregate_id && e.data && e.metadata);
	event_write(&e, &body);
	if (!e.event_id || !e.has_time) {	/* missing is read, null, which stands for it, is not */
		event_release(&e);
		buf_release(&body);
		return;
	}
	MUST(event_parse(body.data, body.len, &again, &why) == RC_OK);
	must_be_same(e.event_id, again.event_id);
	must_be_same(e.event_type, again.event_type);
	must_be_same(e.aggregate_type, again.aggregate_type);
	must_be_same(e.aggregate_id, again.aggregate_id);
	must_be_same(e.actor, again.actor);
	must_be_same(e.data, again.data);
	must_be_same(e.metadata, again.metadata);
	must_be_same(e.number_text, again.number_text);
	MUST(e.number == again.number && e.has_time == again.has_time);
	MUST(!e.has_time || e.occurred_at.us == again.occurred_at.us);
	event_write(&again, &twice);
	MUST(!buf_failed(&twice) && body.len == twice.len && !memcmp(body.data, twice.data, body.len));
	MUST(draft_digest_body(body.data, body.len, digest, &why) == RC_OK);
	buf_release(&twice);
	event_release(&e);
	event_release(&again);
	buf_release(&body);
}

/* A document that is taken as a draft is rendered as an event. */
static void as_draft(const char *text, size_t len)
{
	struct json_value v;
	struct draft d = DRAFT_INIT;
	struct draft_pieces p = DRAFT_PIECES_INIT;
	struct buf body = BUF_INIT;
	struct event e = EVENT_INIT;
	struct why why = { "" };
	if (json_parse(text, len, JSON_STRICT, &v, &why) != RC_OK || draft_from_document(&v, &d, &why) != RC_OK)
		return;
	const char *type = d.aggregate_type ? d.aggregate_type : "Order", *id = d.aggregate_id ? d.aggregate_id : "o-1";
	if (draft_render(&d, type, id, d.event_id ? d.event_id : "new", &p, &why) == RC_OK) {
		draft_join(buf_text(&p.head), p.head.len, buf_text(&p.tail), p.tail.len, p.own_time, 1, 7, &body);
		MUST(body.len == draft_join_len(p.head.len, p.tail.len, p.own_time, 1, 7));
		MUST(event_parse(body.data, body.len, &e, &why) == RC_OK);
		MUST(e.number == 7 && !strcmp(e.aggregate_type, type) && !strcmp(e.event_type, d.event_type));
		event_release(&e);
	}
	draft_pieces_release(&p);
	draft_release(&d);
	buf_release(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	as_event((const char *)data, len);
	as_draft((const char *)data, len);
	return 0;
}
