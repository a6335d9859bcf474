/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - a run from its start to its end, and how findings are told. */
#include "config.h"
#include "store/verify-private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* ------------------------------------------------------------------ findings */

#define PUT_BACK "put the object back from a backup, or from an older version of it in the bucket"

static const struct {
	const char *kind, *advice;
} advices[] = {
	{ "foreign", "nothing, if somebody wants it there; else move it away" },
	{ "malformed", PUT_BACK },
	{ "old-shape", "nothing: it is shown as it is" },
	{ "wrong-place", PUT_BACK "; it may be a copy of another key" },
	{ "different",
	  PUT_BACK "; if the object is right and the ledger is not, 'evfsctl reindex'" },
	{ "missing-object", PUT_BACK },
	{ "missing-row", "'evfsctl reindex' enters it into the ledger" },
	{ "unreadable",
	  "see to the permissions and the disk, or to the server's log, then verify again" },
	{ "twice", "see which of the two is wanted; the other one can only be taken away by hand" },
	{ "fork", "see which of the two is wanted; the other one can only be taken away by hand" },
	{ "late", "mount the store, or see in .evfs/errors of its mounts why it can't be stored" },
	{ "backwards", "'evfsctl reindex'; if it stays, see who wrote to the ledger" },
	{ "catalog", "delete the cache directory while nothing is mounted: it is learned again" },
	{ "gap", "put the missing objects back from a backup, if they were there" },
	{ "orphan", "the established system's repair, or leave it" },
	{ "index", "the established system's repair" },
	{ "pending", "nothing: a mount stores it" },
	{ "unsettled", "nothing: a mount marks it" },
	{ "void", "nothing: no event ever had this number, or it was lost with a ledger" },
	{ "seeding",
	  "keep a mount up until .evfs/health.json says that it is done, then verify again" },
	{ "times", "copy with times kept (rsync -a, cp -a) to keep when events were recorded" },
};

const char *verify_advice(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (!strcmp(advices[i].kind, kind))
			return advices[i].advice;
	return "";
}

static void tell(struct verify *v, const struct verify_finding *f)
{
	if (!f->harmless)
		v->count.findings++;
	v->options->found(v->options->arg, f);
}

void verify_tell(struct verify *v, struct verify_finding f, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f.text = text;
	f.advice = verify_advice(f.kind);
	tell(v, &f);
}

void verify_note(struct buf *found, const struct verify_finding *f)
{
	const char *texts[] = { f->kind, f->type, f->id, f->key, f->text };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		buf_add_text(found, texts[i] ? texts[i] : "");
		buf_add_char(found, '\0');
	}
	buf_printf(found, "%" PRIu64, f->number);
	buf_add_char(found, '\0');
	buf_add_text(found, f->harmless ? "1" : "0");
	buf_add_char(found, '\0');
}

size_t verify_tell_notes(struct verify *v, const char *text, size_t len)
{
	const char *end = text + len, *at = text, *whole = text;
	for (;;) {
		const char *part[7];
		for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
			const char *nul = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
			if (!nul)
				return (size_t)(whole - text);
			part[i] = at;
			at = nul + 1;
		}
		whole = at;
		tell(v, &(struct verify_finding){ .kind = part[0],
						  .type = *part[1] ? part[1] : NULL,
						  .id = *part[1] ? part[2] : NULL,
						  .key = *part[3] ? part[3] : NULL,
						  .text = part[4],
						  .advice = verify_advice(part[0]),
						  .number = strtoull(part[5], NULL, 10),
						  .harmless = *part[6] == '1' });
	}
}

void verify_step(struct verify *v, uint64_t events)
{
	v->count.events += events;
	if (v->options->progress)
		v->options->progress(v->options->arg, &v->count);
}

bool verify_ends(struct verify *v)
{
	if (v->rc == RC_OK && v->options->stopped && v->options->stopped(v->options->arg))
		v->rc = rc_fail(RC_CANCELLED, &v->why, "interrupted");
	return v->rc != RC_OK;
}

enum rc verify_body(const struct object_get *get, const char *type, const char *id, uint64_t number,
		    struct buf *found, struct event *event_r, bool *good_r, struct why *why)
{
	struct verify_finding f = { .type = type, .id = id, .number = number, .key = get->key };
	struct why reason = { "" };
	struct event e = EVENT_INIT;
	*good_r = false;
	if (get->rc == RC_NO_MEMORY)
		return rc_fail(get->rc, why, "%s", get->why.text);
	if (get->rc != RC_OK) {
		f.kind = "unreadable";
		f.text = get->why.text;
	} else if (layout_check_event(get->buf, get->len, NULL, NULL, 0, &e, &reason) != RC_OK) {
		f.kind = strstr(reason.text, "older shape") ? "old-shape" : "malformed";
		f.text = reason.text;
	} else if (!strcmp(e.aggregate_type, type) && !strcmp(e.aggregate_id, id) && e.has_number &&
		   e.number == number) {
		*event_r = e;
		*good_r = true;
		return RC_OK;
	} else {
		event_release(&e);
		(void)!layout_check_event(get->buf, get->len, type, id, number, &e, &reason);
		f.kind = "wrong-place";
		f.text = reason.text;
	}
	event_release(&e);
	verify_note(found, &f);
	return RC_OK;
}

/* ------------------------------------------------------------------ a run */

static bool add_last(void *arg, const struct ledger_row *row)
{
	struct ledger_row *sum = arg;
	sum->stream = row->stream;
	sum->last += row->last;
	sum->number++;
	return true;
}

/*
 * How many events the ledger names, voids included: for the progress, so that it may be wrong, or
 * miss.
 */
static uint64_t ask_total(struct verify *v)
{
	enum { PAGE = 10000 };
	struct ledger_row sum = { .stream = 0 };
	do {
		struct ledger_query q = { .what = LEDGER_STREAMS,
					  .stream = sum.stream,
					  .limit = PAGE,
					  .unseeded_too = true };
		sum.number = 0;
		if (ledger_read(v->s->ledger, &q, add_last, &sum, NULL, NULL) != RC_OK)
			return 0;
	} while (sum.number == PAGE && !verify_ends(v));
	return sum.last;
}

static bool found_entry(void *arg, const struct view_entry *entry)
{
	(void)entry;
	*(bool *)arg = true;
	return false;
}

/* The catalog, if there is anything in it to be compared. */
static struct view *open_catalog(struct store *s)
{
	bool any = false;
	struct view *view = store_options(s)->catalog ? store_view(s, NULL) : NULL;
	if (!view || view_list(view, VIEW_ROOT, 0, found_entry, &any, NULL) != RC_OK)
		return NULL;
	return any ? view : NULL;
}

static enum rc ask_ledger(struct verify *v, uint64_t *seeding_r, bool *seeded_r, struct why *why)
{
	struct ledger_state state = { .count = false };
	*seeding_r = 0;
	*seeded_r = true;
	v->now_us = clock_wall_us();
	if (!v->s->ledger)
		return RC_OK;
	enum rc rc = ledger_state(v->s->ledger, &state, why);
	if (rc != RC_OK)
		return rc;
	v->now_us = state.now_us;
	*seeding_r = state.seeding;
	*seeded_r = state.complete && !strcmp(state.identity, state.written);
	return RC_OK;
}

static void tell_unseeded(struct verify *v)
{
	_cleanup_(buf_release) struct buf found = BUF_INIT;
	const struct verify_finding f = {
		.kind = "seeding",
		.text = "the ledger is not wholly seeded from the objects; what is named below may "
			"go by itself",
		.harmless = true,
	};
	verify_note(&found, &f);
	verify_tell_notes(v, buf_text(&found), found.len);
	verify_state_add(v->state, buf_text(&found), found.len);
}

static enum rc run_native(struct verify *v, uint64_t seeding, bool seeded, bool *resumable_r,
			  struct why *why)
{
	_cleanup_(freep) char *place = NULL;
	size_t place_len = 0;
	enum rc rc = verify_state_open(v, seeding, &place, &place_len, why);
	if (rc == RC_OK && !seeded && !place)
		tell_unseeded(v);
	if (rc == RC_OK)
		rc = verify_batch_start(v);
	if (rc == RC_OK) {
		rc = verify_native_run(v, place, place_len);
		verify_batch_stop(v);
	}
	bool ended = rc == RC_OK || rc == RC_NO_MEMORY || rc == RC_CORRUPT;
	*resumable_r = !ended && verify_state_flush(v);
	verify_state_close(&v->state, rc == RC_OK);
	return rc == RC_OK ? RC_OK
			   : rc_fail(rc, why, "%s",
				     *v->why.text ? v->why.text
				     : why	  ? why->text
						  : "");
}

enum rc verify_run(struct store *s, const struct verify_options *options,
		   struct verify_progress *out, bool *resumable_r, struct why *why)
{
	struct verify v = { .s = s, .options = options, .count = { .began_us = clock_wall_us() } };
	uint64_t seeding;
	bool seeded, resumable = false;
	enum rc rc = ask_ledger(&v, &seeding, &seeded, why);
	if (rc != RC_OK)
		return rc;
	if (options->total && s->ledger)
		v.count.total = ask_total(&v);
	v.view = open_catalog(s);
	if (s->info.layout == LAYOUT_NATIVE) {
		rc = run_native(&v, seeding, seeded, &resumable, why);
	} else {
		rc = verify_indexed_run(&v);
		if (rc != RC_OK)
			rc_fail(rc, why, "%s", v.why.text);
	}
	*out = v.count;
	*resumable_r = resumable;
	return rc;
}
