/* SPDX-License-Identifier: Apache-2.0 */
/* verb-status.c - evfsctl status: how a store is, on one screen. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "setup/conninfo.h"
#include "tools/output.h"

/* What is shown. */
struct status {
	struct store_health health;
	enum rc ledger; /* RC_OK: see health.state. Where opening it failed: why */
	struct why ledger_why;
	bool has_ledger;
};

/* An identity is long, and its beginning is common to all of one server: a sum tells two apart. */
static void shorten(const char *identity, char out[17])
{
	uint64_t h = hash_text(HASH_START, identity);
	snprintf(out, 17, "%012" PRIx64, (h ^ h >> 48) & UINT64_C(0xffffffffffff));
}

static double oldest_seconds(const struct ledger_state *state)
{
	return state->oldest_us && state->now_us > state->oldest_us
		       ? (double)(state->now_us - state->oldest_us) / 1e6
		       : 0;
}

static void print_where(const struct config *c, struct buf *out)
{
	if (!config_is_s3(c)) {
		buf_printf(out, "%s/.evfs/ledger.db", c->store);
		return;
	}
	conninfo_print(c->ledger ? c->ledger : "", out);
	buf_printf(out, ", schema %s", c->schema);
}

static void print_ledger(const struct config *c, const struct status *s, struct buf *out)
{
	const struct ledger_state *state = &s->health.state;
	_cleanup_(buf_release) struct buf where = BUF_INIT;
	char identity[17];
	print_where(c, &where);
	if (s->ledger != RC_OK) {
		buf_printf(out, "ledger     %s: %s\n", rc_name(s->ledger), s->ledger_why.text);
		return;
	}
	if (!s->has_ledger) {
		buf_add_text(out, "ledger     none\n");
		return;
	}
	shorten(state->identity, identity);
	buf_printf(out, "ledger     ok, %s, identity %s\n", buf_text(&where), identity);
	if (strcmp(state->identity, state->written))
		buf_add_text(out, "seeding    waits to begin: the ledger is new or was put back\n");
	else if (!state->complete)
		buf_printf(out,
			   "seeding    %" PRIu64 " under way: %" PRIu64 " of %" PRIu64
			   " known streams wait\n",
			   state->seeding, state->unseeded, state->streams);
	else
		buf_printf(out, "seeding    %" PRIu64 " complete\n", state->seeding);
	buf_printf(out, "streams    %" PRIu64 "\n", state->streams);
	buf_printf(out, "pending    %" PRIu64, state->pending);
	if (state->pending)
		buf_printf(out, ", %" PRIu64 " late, the oldest since %.1f s", state->late,
			   oldest_seconds(state));
	buf_add_char(out, '\n');
}

static void print_text(const struct config *c, const struct status *s, struct buf *out)
{
	const struct store_health *h = &s->health;
	buf_printf(out, "store      %s, %s layout, uuid %s\n", c->store,
		   h->layout == LAYOUT_NATIVE ? "native" : "indexed", h->uuid);
	if (h->objects == RC_OK)
		buf_printf(out, "objects    ok%s%s\n", c->endpoint ? ", " : "",
			   c->endpoint ? c->endpoint : "");
	else
		buf_printf(out, "objects    %s: %s\n", rc_name(h->objects), h->objects_why.text);
	if (h->read_only)
		buf_printf(out, "read-only  %s\n", h->read_only_reason);
	print_ledger(c, s, out);
}

static void add_text(struct buf *out, const char *key, const char *text)
{
	buf_printf(out, ",\"%s\":", key);
	if (text)
		json_quote(text, json_utf8(text, strlen(text)), out);
	else
		buf_add_text(out, "null");
}

static void print_json(const struct config *c, const struct status *s, struct buf *out)
{
	const struct store_health *h = &s->health;
	const struct ledger_state *state = &h->state;
	bool open = s->has_ledger && s->ledger == RC_OK;
	char identity[17];
	shorten(state->identity, identity);
	buf_add_text(out, "{\"store\":");
	json_quote(c->store, json_utf8(c->store, strlen(c->store)), out);
	add_text(out, "layout", h->layout == LAYOUT_NATIVE ? "native" : "indexed");
	add_text(out, "uuid", h->uuid);
	add_text(out, "objects", h->objects == RC_OK ? "ok" : h->objects_why.text);
	add_text(out, "read_only", h->read_only ? h->read_only_reason : NULL);
	add_text(out, "ledger",
		 s->ledger != RC_OK ? s->ledger_why.text
		 : s->has_ledger    ? "ok"
				    : "none");
	if (open) {
		add_text(out, "identity", identity);
		buf_printf(out, ",\"seeded\":%s,\"complete\":%s,\"seeding\":%" PRIu64,
			   strcmp(state->identity, state->written) ? "false" : "true",
			   state->complete ? "true" : "false", state->seeding);
		buf_printf(out,
			   ",\"streams\":%" PRIu64 ",\"unseeded\":%" PRIu64 ",\"pending\":%" PRIu64
			   ",\"late\":%" PRIu64 ",\"oldest_pending_seconds\":%.1f",
			   state->streams, state->unseeded, state->pending, state->late,
			   oldest_seconds(state));
	}
	buf_add_text(out, "}\n");
}

/*
 * A store whose ledger can't be opened is one whose status is wanted most: it is opened without,
 * and the reason is shown.
 */
static enum rc look(struct config *c, struct status *out, struct why *why)
{
	_cleanup_(store_freep) struct store *s = NULL;
	enum rc rc = stack_open(&s, c, STACK_LOOK, why);
	if (rc != RC_OK && !c->ro) {
		struct why second = { "" };
		c->ro = true;
		log_open("evfsctl", LOG_LEVEL_ERROR, false); /* the reason is shown, once */
		if (stack_open(&s, c, STACK_LOOK, &second) != RC_OK)
			return rc;
		out->ledger = rc;
		out->ledger_why = *why;
	} else if (rc != RC_OK) {
		return rc;
	}
	store_health(s, &out->health);
	out->has_ledger = out->health.state.identity[0];
	if (out->ledger == RC_OK) {
		out->ledger = out->health.ledger;
		out->ledger_why = out->health.ledger_why;
	}
	return RC_OK;
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(freep) struct status *s = calloc(1, sizeof(*s));
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct why why = { "" };
	if (call->n_words)
		return verb_usage(call, "one word too many: \"%s\"", call->words[0]);
	enum rc rc =
		s ? look(&call->config, s, &why) : rc_fail(RC_NO_MEMORY, &why, "out of memory");
	if (rc)
		return verb_fail(call, rc, &why);
	if (call->json)
		print_json(&call->config, s, &text);
	else
		print_text(&call->config, s, &text);
	output_buf(&text);
	return s->ledger == RC_OK && s->health.objects == RC_OK ? VERB_DONE : VERB_FAILED;
}

const struct verb verb_status_store = {
	.name = "status",
	.words_help = "",
	.help = "Show how the store is, on one screen: what can be reached, the ledger's seeding,\n"
		"streams, and appends that are pending. Exit status 1: something can't be reached.",
	.options = (const struct verb_option[]){ { NULL, NULL, NULL } },
	.has_json = true,
	.run = run,
};
