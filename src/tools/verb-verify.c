/* SPDX-License-Identifier: Apache-2.0 */
/* verb-verify.c - evfsctl verify: compare objects, ledger and catalog. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/time.h"
#include "store/verify.h"
#include "tools/output.h"
#include "tools/place.h"

enum { OPT_RESTART };

static volatile sig_atomic_t interrupted;

/* The first one ends the run in order, a second one at once. */
static void interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND };
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static bool is_interrupted(void *arg)
{
	(void)arg;
	return interrupted;
}

/* ------------------------------------------------------------------ findings */

static void add_member(struct buf *line, const char *key, const char *text)
{
	if (!text || !*text)
		return;
	buf_printf(line, ",\"%s\":", key);
	/* A foreign key may be no UTF-8. */
	json_quote(text, json_utf8(text, strlen(text)), line);
}

static void tell_json(const struct verify_finding *f, const char *stream, struct buf *line)
{
	buf_printf(line, "{\"kind\":\"%s\"", f->kind);
	add_member(line, "stream", stream);
	if (f->number)
		buf_printf(line, ",\"number\":%" PRIu64, f->number);
	add_member(line, "key", f->key);
	add_member(line, "text", f->text);
	add_member(line, "advice", f->advice);
	buf_printf(line, ",\"harmless\":%s}\n", f->harmless ? "true" : "false");
}

/* A run: the call, and what its progress needs. */
struct showing {
	struct verb_call *call;
	uint64_t began_ms;
	bool began;
};

static void tell(void *arg, const struct verify_finding *f)
{
	const struct showing *w = arg;
	_cleanup_(buf_release) struct buf line = BUF_INIT, stream = BUF_INIT;
	if (f->type && f->id)
		place_print(f->type, f->id, &stream);
	output_progress_end();
	if (w->call->json) {
		tell_json(f, stream.len ? buf_text(&stream) : NULL, &line);
	} else {
		buf_printf(&line, "%s%s", f->kind, f->harmless ? " (harmless)" : "");
		if (stream.len)
			buf_printf(&line, " %s", buf_text(&stream));
		if (f->number)
			buf_printf(&line, " %" PRIu64, f->number);
		if (f->key)
			buf_printf(&line, " '%s'", f->key);
		buf_printf(&line, ": %s\n", f->text);
	}
	output_buf(&line);
}

/* ------------------------------------------------------------------ progress */

static void tell_going_on(const struct showing *w, const struct verify_progress *p)
{
	char since[TIME_TEXT_MAX];
	time_format_us(p->began_us, since);
	fprintf(stderr,
		"evfsctl verify: going on with the run of %s, behind its %" PRIu64
		" events (--restart begins anew)\n",
		since, p->before);
	(void)w;
}

static void show(void *arg, const struct verify_progress *p)
{
	struct showing *w = arg;
	if (!w->began && p->before)
		tell_going_on(w, p);
	w->began = true;
	uint64_t ms = clock_boot_ms() - w->began_ms, done = p->events - p->before;
	uint64_t rate = ms ? done * 1000 / ms : 0;
	if (p->total > p->events && rate) {
		uint64_t left = (p->total - p->events) / rate;
		output_progress("%" PRIu64 " of %" PRIu64 " events (%u%%), %" PRIu64 "/s, %" PRIu64
				":%02u:%02u left, %" PRIu64 " findings",
				p->events, p->total, (unsigned)(100 * p->events / p->total), rate,
				left / 3600, (unsigned)(left / 60 % 60), (unsigned)(left % 60),
				p->findings);
	} else {
		output_progress("%" PRIu64 " streams, %" PRIu64 " events, %" PRIu64 "/s, %" PRIu64
				" findings",
				p->streams, p->events, rate, p->findings);
	}
}

/* ------------------------------------------------------------------ the verb */

/* Beside the catalog, which is the store's own place; NULL where it has none. */
static char *place_state(struct store *s)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	const char *catalog = store_options(s)->catalog,
		   *slash = catalog ? strrchr(catalog, '/') : NULL;
	if (!slash)
		return NULL;
	buf_add(&path, catalog, (size_t)(slash - catalog));
	buf_add_text(&path, "/verify");
	return buf_take(&path, NULL);
}

static enum verb_status stopped(struct verb_call *call, enum rc rc, const struct verify_progress *p,
				bool resumable, struct why *why)
{
	struct why text = { "" };
	rc_fail(rc, &text,
		"%.300s, behind %" PRIu64 " events and %" PRIu64 " findings; the same command %s",
		why->text, p->events, p->findings,
		resumable ? "goes on there, with --restart it begins anew" : "begins anew");
	verb_fail(call, rc, &text);
	return VERB_RETRY;
}

static void print_sum(const struct verb_call *call, const struct verify_progress *p)
{
	if (call->json)
		output_printf("{\"streams\":%" PRIu64 ",\"events\":%" PRIu64
			      ",\"findings\":%" PRIu64 "}\n",
			      p->streams, p->events, p->findings);
	else
		output_printf("%" PRIu64 " stream%s, %" PRIu64 " event%s: %" PRIu64 " finding%s\n",
			      p->streams, p->streams == 1 ? "" : "s", p->events,
			      p->events == 1 ? "" : "s", p->findings, p->findings == 1 ? "" : "s");
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(freep) char *state = NULL;
	struct verify_progress p = { 0 };
	struct why why = { "" };
	enum verb_status status;
	bool resumable = false;
	if (call->n_words)
		return verb_usage(call, "one word too many: \"%s\"", call->words[0]);
	if (verb_open(call, &s, &status))
		return status;
	state = place_state(s);
	catch_signals();
	struct showing showing = { .call = call, .began_ms = clock_boot_ms() };
	struct verify_options options = {
		.found = tell,
		.progress = show,
		.stopped = is_interrupted,
		.arg = &showing,
		.total = isatty(STDERR_FILENO),
		.state = state,
		.restart = call->given[OPT_RESTART],
	};
	enum rc rc = verify_run(s, &options, &p, &resumable, &why);
	output_progress_end();
	if (rc == RC_CANCELLED || resumable)
		return stopped(call, rc, &p, resumable, &why);
	if (rc)
		return verb_fail(call, rc, &why);
	print_sum(call, &p);
	return p.findings ? VERB_FOUND : VERB_DONE;
}

const struct verb verb_verify = {
	.name = "verify",
	.words_help = "",
	.help = "Compare objects, ledger and catalog with each other and name each difference.\n"
		"Changes nothing. An interrupted run is gone on with by the same command.\n"
		"Exit status 6: there are differences that are not harmless.",
	.options =
		(const struct verb_option[]){
			[OPT_RESTART] = { "--restart", NULL,
					  "begin anew, where a run was interrupted" },
			{ NULL, NULL, NULL },
		},
	.has_json = true,
	.run = run,
};
