/* SPDX-License-Identifier: Apache-2.0 */
/* verb-publisher.c - evfsctl publisher: how far it is. What it can be told is in verb-publisher-*.c. */
#include "config.h"
#include "tools/verb-publisher.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/time.h"
#include "tools/output.h"
#include "tools/place.h"

#define COUNTED_MAX 1000000	/* events that wait; counting more takes long and tells nothing new */
#define HELD_SHOWN 20

/* --- shared --- */

const char *verb_publisher_key(const struct verb_call *call)
{
	return call->config.checkpoint;
}

bool verb_publisher_time(const struct verb_call *call, enum verb_publisher_option option,
			 struct verb_publisher_time *out)
{
	const char *text = call->given[option], *name = call->verb->options[option].name;
	struct time_stamp stamp;
	struct why why = { "" };
	if (!text) {
		verb_usage(call, "'%s' needs %s", call->words[0], name);
		return false;
	}
	*out = (struct verb_publisher_time){ VERB_PUBLISHER_AT, 0 };
	if (!strcmp(text, "beginning"))
		out->kind = VERB_PUBLISHER_BEGINNING;
	else if (!strcmp(text, "now"))
		out->kind = VERB_PUBLISHER_NOW;
	else if (time_parse(text, strlen(text), &stamp, &why) == RC_OK)
		out->us = stamp.us;
	else
		verb_usage(call, "%s: expected a time, \"beginning\" or \"now\", found \"%s\": %s",
			   name, text, why.text);
	return out->kind != VERB_PUBLISHER_AT || !*why.text;
}

void verb_publisher_place_release(struct verb_publisher_place *p)
{
	checkpoint_release(&p->c);
}

/* What is there can't be read: its tag is what can be had of it. */
static enum rc take_tag(const struct verb_call *call, struct store *s,
			struct verb_publisher_place *p, struct why *why)
{
	struct object_get get = { .key = verb_publisher_key(call) };
	enum rc rc = object_get(store_objects(s), &get, 1);
	checkpoint_release(&p->c);
	checkpoint_init(&p->c);
	free(get.buf);
	if (rc) {
		*why = get.why;
		return rc;
	}
	p->c.there = true;
	memcpy(p->c.tag, get.tag, sizeof(p->c.tag));
	return RC_OK;
}

enum rc verb_publisher_place_load(const struct verb_call *call, struct store *s, int64_t now_us,
				  struct verb_publisher_place *p, struct why *why)
{
	checkpoint_init(&p->c);
	p->why = (struct why){ "" };
	p->rc = checkpoint_load(store_objects(s), verb_publisher_key(call), now_us, &p->c, &p->why);
	if (p->rc == RC_CORRUPT)
		return take_tag(call, s, p, why);
	*why = p->why;
	return p->rc;
}

/* --- status --- */

struct look {
	struct verb_publisher_place place;
	struct tail_count_end end;
	char holder[TAIL_LEASE_HOLDER_MAX];
	enum rc ledger;	/* RC_OK: the two above and the three below are known */
	struct why ledger_why;
	uint64_t waiting;	/* events that are not delivered; COUNTED_MAX: or more */
	int64_t oldest_us;	/* of these */
	const char **ids;	/* recent ids, sorted */
};

static void look_release(struct look *l)
{
	verb_publisher_place_release(&l->place);
	free(l->ids);
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool count_waiting(void *arg, const struct tail_count_row *row)
{
	struct look *l = arg;
	const char *id = row->event_id ? row->event_id : "";
	size_t n = l->place.c.n_ids;
	if (n && bsearch(&id, l->ids, n, sizeof(*l->ids), compare_ids))
		return true;
	if (!l->waiting++ || row->recorded_us < l->oldest_us)
		l->oldest_us = row->recorded_us;
	return l->waiting < COUNTED_MAX;
}

/* Of a stream that is held only what lies at or before the checkpoint: the rest is counted by time. */
static bool count_held(void *arg, const struct tail_count_row *row)
{
	struct look *l = arg;
	return row->recorded_us >= verb_publisher_after_us(l->place.c.last_ms) ||
	       count_waiting(arg, row);
}

static enum rc look_at_ledger(const struct verb_call *call, struct store *s, struct look *l)
{
	const struct checkpoint *c = &l->place.c;
	struct why *why = &l->ledger_why;
	enum rc rc = tail_lease_holder(s, verb_publisher_key(call), l->holder, why);
	if (rc || l->place.rc)
		return rc;
	for (size_t i = 0; i < c->n_ids; i++)
		l->ids[i] = c->ids[i];
	qsort(l->ids, c->n_ids, sizeof(*l->ids), compare_ids);
	for (size_t i = 0; i < c->n_held && rc == RC_OK && l->waiting < COUNTED_MAX; i++)
		rc = tail_count_stream(s, c->held[i].type, c->held[i].id, c->held[i].next,
				       count_held, l, why);
	int64_t to_us = l->end.known ? l->end.horizon_us : l->end.now_us;
	if (rc == RC_OK && l->waiting < COUNTED_MAX)
		rc = tail_count(s, verb_publisher_after_us(c->last_ms), to_us, count_waiting, l,
				why);
	return rc;
}

/* The ledger may be away: the checkpoint is shown all the same. */
static enum rc look(const struct verb_call *call, struct store *s, struct look *l, struct why *why)
{
	l->ledger = tail_count_end(s, &l->end, &l->ledger_why);
	if (l->ledger)
		l->end.now_us = clock_wall_us();
	enum rc rc = verb_publisher_place_load(call, s, l->end.now_us, &l->place, why);
	if (rc)
		return rc;
	l->ids = calloc(l->place.c.n_ids + 1, sizeof(*l->ids));
	if (!l->ids)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	if (l->ledger == RC_OK)
		l->ledger = look_at_ledger(call, s, l);
	return RC_OK;
}

static double seconds(int64_t from_us, int64_t to_us)
{
	return to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0;
}

/* Where nothing is on its way, nothing but what comes from now on can still appear. */
static int64_t horizon_us(const struct look *l)
{
	return l->end.unsettled ? l->end.horizon_us : l->end.now_us;
}

static void print_checkpoint(const struct verb_call *call, const struct look *l, struct buf *out)
{
	const struct checkpoint *c = &l->place.c;
	char time[TIME_TEXT_MAX];
	buf_printf(out, "checkpoint  %s\n", verb_publisher_key(call));
	if (l->place.rc) {
		buf_printf(out, "            %s: %s\n", rc_name(l->place.rc), l->place.why.text);
		buf_add_text(out, "            'rewind --to TIME' writes a good one\n");
		return;
	}
	if (!c->there) {
		buf_add_text(out, "            none: nothing was published yet\n");
		return;
	}
	time_format_us(c->last_ms * 1000, time);
	buf_printf(out, "            at %s, %.1f s ago; written %.1f s ago; %zu recent ids\n", time,
		   seconds(c->last_ms * 1000, l->end.now_us), seconds(c->updated_us, l->end.now_us),
		   c->n_ids);
	if (c->n_held)
		buf_printf(out, "held        %zu stream%s\n", c->n_held, c->n_held == 1 ? "" : "s");
	for (size_t i = 0; i < c->n_held && i < HELD_SHOWN; i++) {
		buf_add_text(out, "            ");
		place_print(c->held[i].type, c->held[i].id, out);
		buf_printf(out, " waits for number %" PRIu64 "\n", c->held[i].next);
	}
	if (c->n_held > HELD_SHOWN)
		buf_printf(out, "            and %zu more\n", c->n_held - HELD_SHOWN);
}

static void print_text(const struct verb_call *call, const struct look *l, struct buf *out)
{
	char time[TIME_TEXT_MAX];
	print_checkpoint(call, l, out);
	if (l->ledger) {
		buf_printf(out, "ledger      %s: %s\n", rc_name(l->ledger), l->ledger_why.text);
		return;
	}
	if (*l->holder)
		buf_printf(out, "publisher   %s\n", l->holder);
	else
		buf_add_text(out, "publisher   none is active\n");
	if (l->end.known) {
		time_format_us(horizon_us(l), time);
		buf_printf(out, "horizon     %s, %.1f s behind now\n", time,
			   seconds(horizon_us(l), l->end.now_us));
	} else {
		buf_add_text(out, "horizon     not known now: the ledger is being re-seeded, or an "
				  "append takes long\n");
	}
	if (l->place.rc == RC_OK)
		buf_printf(out, "lag         %" PRIu64 "%s events, %.1f s\n", l->waiting,
			   l->waiting >= COUNTED_MAX ? " or more" : "",
			   l->waiting ? seconds(l->oldest_us, l->end.now_us) : 0.0);
	if (l->end.unsettled)
		buf_printf(out, "unsettled   %" PRIu64 " events are committed and not yet stored\n",
			   l->end.unsettled);
}

static void add_string(struct buf *out, const char *text)
{
	json_quote(text, json_utf8(text, strlen(text)), out);
}

static void add_time(struct buf *out, const char *key, int64_t us)
{
	char time[TIME_TEXT_MAX];
	time_format_us(us, time);
	buf_printf(out, ",\"%s\":\"%s\"", key, time);
}

static void print_json_checkpoint(const struct look *l, struct buf *out)
{
	const struct checkpoint *c = &l->place.c;
	if (!c->there || l->place.rc)
		return;
	buf_printf(out, ",\"last_timestamp_ms\":%" PRId64 ",\"age_seconds\":%.3f", c->last_ms,
		   seconds(c->last_ms * 1000, l->end.now_us));
	add_time(out, "updated_at", c->updated_us);
	buf_printf(out, ",\"updated_seconds\":%.3f,\"recent_ids\":%zu,\"seeding\":%" PRIu64
			",\"held\":[",
		   seconds(c->updated_us, l->end.now_us), c->n_ids, c->seeding);
	for (size_t i = 0; i < c->n_held; i++) {
		_cleanup_(buf_release) struct buf stream = BUF_INIT;
		place_print(c->held[i].type, c->held[i].id, &stream);
		buf_printf(out, "%s{\"stream\":", i ? "," : "");
		add_string(out, buf_text(&stream));
		buf_printf(out, ",\"next\":%" PRIu64 "}", c->held[i].next);
	}
	buf_add_char(out, ']');
}

static void print_json(const struct verb_call *call, const struct look *l, struct buf *out)
{
	buf_add_text(out, "{\"key\":");
	add_string(out, verb_publisher_key(call));
	buf_printf(out, ",\"there\":%s,\"damaged\":", l->place.c.there ? "true" : "false");
	if (l->place.rc)
		add_string(out, l->place.why.text);
	else
		buf_add_text(out, "null");
	print_json_checkpoint(l, out);
	buf_add_text(out, ",\"ledger\":");
	add_string(out, l->ledger ? l->ledger_why.text : "ok");
	if (!l->ledger) {
		buf_add_text(out, ",\"holder\":");
		if (*l->holder)
			add_string(out, l->holder);
		else
			buf_add_text(out, "null");
		if (l->end.known) {
			add_time(out, "horizon", horizon_us(l));
			buf_printf(out, ",\"horizon_seconds\":%.3f",
				   seconds(horizon_us(l), l->end.now_us));
		}
		buf_printf(out, ",\"unsettled\":%" PRIu64, l->end.unsettled);
		if (l->place.rc == RC_OK)
			buf_printf(out, ",\"lag_events\":%" PRIu64 ",\"lag_seconds\":%.3f",
				   l->waiting,
				   l->waiting ? seconds(l->oldest_us, l->end.now_us) : 0.0);
	}
	buf_add_text(out, "}\n");
}

static enum verb_status status(const struct verb_call *call, struct store *s)
{
	_cleanup_(look_release) struct look l = { .holder = "" };
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct why why = { "" };
	checkpoint_init(&l.place.c);
	enum rc rc = look(call, s, &l, &why);
	if (rc)
		return verb_fail(call, rc, &why);
	if (call->json)
		print_json(call, &l, &text);
	else
		print_text(call, &l, &text);
	output_buf(&text);
	return l.place.rc || l.ledger ? VERB_FAILED : VERB_DONE;
}

/* --- which one --- */

static const struct action {
	const char *name;
	unsigned takes;	/* bits of options */
	bool needs_ledger;
} actions[] = {
	{ "status", 0, false },
	{ "rewind", 1u << VERB_PUBLISHER_TO | 1u << VERB_PUBLISHER_DRY_RUN, true },
	{ "replay",
	  1u << VERB_PUBLISHER_TO | 1u << VERB_PUBLISHER_FROM | 1u << VERB_PUBLISHER_TYPE |
		  1u << VERB_PUBLISHER_TOPIC | 1u << VERB_PUBLISHER_DRY_RUN,
	  true },
};

static const struct action *find_action(const struct verb_call *call)
{
	for (size_t i = 0; call->n_words == 1 && i < ARRAY_SIZE(actions); i++)
		if (!strcmp(actions[i].name, call->words[0]))
			return &actions[i];
	return NULL;
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	enum verb_status failed;
	const struct action *action = find_action(call);
	if (!action)
		return verb_usage(call, "expected one of status, rewind, replay");
	for (size_t i = 0; call->verb->options[i].name; i++)
		if (call->given[i] && !(action->takes & 1u << i))
			return verb_usage(call, "'%s' takes no %s", action->name,
					  call->verb->options[i].name);
	if (verb_open(call, &s, &failed))
		return failed;
	if (action == &actions[0])
		return status(call, s);
	return action == &actions[1] ? verb_publisher_rewind(call, s)
				     : verb_publisher_replay(call, s);
}

const struct verb verb_publisher = {
	.name = "publisher",
	.words_help = "status|rewind|replay",
	.help =
		"Show how far the publisher is, and send events again.\n"
		"status: its checkpoint, who is active, what waits.\n"
		"rewind --to TIME: let it go on from there; what was recorded since is sent again. A\n"
		"publisher that is up takes it over within seconds. Also for a checkpoint that is damaged.\n"
		"replay --from A --to B: send what was recorded from A on and before B again, beside a\n"
		"publisher that is up, stream by stream.\n"
		"A time is written as in events (2026-01-31T12:00:00Z), \"beginning\" or \"now\".",
	.options =
		(const struct verb_option[]){
			[VERB_PUBLISHER_TO] = { "--to", "TIME", "rewind: go on from; replay: end before" },
			[VERB_PUBLISHER_FROM] = { "--from", "TIME", "replay: begin with" },
			[VERB_PUBLISHER_TYPE] = { "--type", "TYPE", "replay: only this aggregate type" },
			[VERB_PUBLISHER_TOPIC] = { "--topic", "TOPIC", "replay: all to this topic" },
			[VERB_PUBLISHER_DRY_RUN] = { "--dry-run", NULL, "tell what would happen" },
			{ NULL, NULL, NULL },
		},
	.has_json = true,
	.only_looks = true,
	.publisher = true,
	.run = run,
};
