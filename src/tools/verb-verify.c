/* SPDX-License-Identifier: Apache-2.0 */
/* verb-verify.c - evfsctl verify: compare objects, ledger and catalog. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "store/verify.h"
#include "tools/output.h"
#include "tools/place.h"

static void add_member(struct buf *line, const char *key, const char *text)
{
	if (!text)
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
	buf_printf(line, ",\"harmless\":%s}\n", f->harmless ? "true" : "false");
}

static void tell(void *arg, const struct verify_finding *f)
{
	const struct verb_call *call = arg;
	_cleanup_(buf_release) struct buf line = BUF_INIT, stream = BUF_INIT;
	if (f->type && f->id)
		place_print(f->type, f->id, &stream);
	output_progress_end();
	if (call->json) {
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

static void show(void *arg, const struct verify_progress *p)
{
	(void)arg;
	output_progress("%" PRIu64 " streams, %" PRIu64 " events, %" PRIu64 " findings", p->streams,
			p->events, p->findings);
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct verify_progress p = { 0 };
	struct why why = { "" };
	enum verb_status status;
	if (call->n_words)
		return verb_usage(call, "one word too many: \"%s\"", call->words[0]);
	if (verb_open(call, &s, &status))
		return status;
	enum rc rc = verify_run(s, tell, show, call, &p, &why);
	output_progress_end();
	if (rc)
		return verb_fail(call, rc, &why);
	if (call->json)
		output_printf("{\"streams\":%" PRIu64 ",\"events\":%" PRIu64
			      ",\"findings\":%" PRIu64 "}\n",
			      p.streams, p.events, p.findings);
	else
		output_printf("%" PRIu64 " stream%s, %" PRIu64 " event%s: %" PRIu64 " finding%s\n",
			      p.streams, p.streams == 1 ? "" : "s", p.events,
			      p.events == 1 ? "" : "s", p.findings, p.findings == 1 ? "" : "s");
	return p.findings ? VERB_FOUND : VERB_DONE;
}

const struct verb verb_verify = {
	.name = "verify",
	.words_help = "",
	.help = "Compare objects, ledger and catalog with each other and name each difference.\n"
		"Changes nothing. Exit status 6: there are differences that are not harmless.",
	.options = (const struct verb_option[]){ { NULL, NULL, NULL } },
	.has_json = true,
	.run = run,
};
