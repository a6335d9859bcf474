/* SPDX-License-Identifier: Apache-2.0 */
/* verb-append.c - evfsctl append: one event, its payload on stdin; or many, see batch.h. */
#include "config.h"
#include "tools/verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/draft.h"
#include "event/name.h"
#include "event/time.h"
#include "tools/batch.h"
#include "tools/output.h"
#include "tools/place.h"

enum { OPT_EXPECT, OPT_ID, OPT_NDJSON, OPT_KEEP_GOING };

/* All of stdin. What is longer than any event may be is not read to its end. */
static enum rc read_input(uint64_t max, struct buf *out, struct why *why)
{
	ssize_t n;
	do {
		if (!buf_reserve(out, 65536))
			return rc_fail(RC_NO_MEMORY, why, "out of memory");
		n = read(STDIN_FILENO, out->data + out->len, 65536);
		if (n > 0)
			out->len += (size_t)n;
		if (out->len > 4 * max)
			return rc_fail(RC_TOO_LARGE, why, "the payload is over %" PRIu64 " bytes",
				       max);
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return rc_fail(RC_INVALID, why, "standard input: %s", strerror(errno));
	out->data[out->len] = '\0';
	return RC_OK;
}

static enum rc set_text(char **to, const char *text, struct why *why)
{
	free(*to);
	*to = strdup(text);
	return *to ? RC_OK : rc_fail(RC_NO_MEMORY, why, "out of memory");
}

/* The draft from stdin. It gets an id here: an append with an unknown outcome can be repeated. */
static enum rc read_draft(const struct verb_call *call, const char *event_type, struct draft *d,
			  struct why *why)
{
	_cleanup_(buf_release) struct buf input = BUF_INIT;
	struct json_value doc;
	const char *id = call->given[OPT_ID];
	char fresh[37];
	enum rc rc = read_input(call->config.max_event, &input, why);
	if (rc == RC_OK)
		rc = json_parse(buf_text(&input), input.len, JSON_STRICT, &doc, why);
	if (rc == RC_OK)
		rc = draft_from_file(&doc, event_type, false, 0, d, why);
	if (rc)
		return rc;
	if (id && d->event_id && strcmp(id, d->event_id))
		return rc_fail(RC_INVALID, why,
			       "--id is \"%.64s\", the document's event_id is \"%.64s\"", id,
			       d->event_id);
	if (id && !*id)
		return rc_fail(RC_INVALID, why, "--id is empty");
	if (d->event_id)
		return RC_OK;
	clock_uuid(fresh);
	return set_text(&d->event_id, id ? id : fresh, why);
}

static void print_stored(const struct verb_call *call, const struct store_append *a)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT, name = BUF_INIT, line = BUF_INIT;
	char when[TIME_TEXT_MAX];
	place_print(a->type, a->id, &path);
	name_event(a->first, a->drafts->event_type, 1, &name);
	if (!call->json) {
		output_printf("%s/%s\n", buf_text(&path), buf_text(&name));
		return;
	}
	time_format_us(a->recorded_us, when);
	buf_add_text(&line, "{\"stream\":");
	json_quote(buf_text(&path), path.len, &line);
	buf_printf(&line, ",\"number\":%" PRIu64 ",\"name\":", a->first);
	json_quote(buf_text(&name), name.len, &line);
	buf_add_text(&line, ",\"event_id\":");
	json_quote(a->drafts->event_id, strlen(a->drafts->event_id), &line);
	buf_printf(&line, ",\"recorded_at\":\"%s\",\"known\":%s}\n", when,
		   a->known ? "true" : "false");
	output_buf(&line);
}

static enum verb_status fail(const struct verb_call *call, const struct store_append *a, enum rc rc,
			     const struct why *why)
{
	struct why full = *why;
	size_t len = strlen(full.text);
	if (a->outcome != STORE_NOT_COMMITTED && len < sizeof(full.text) - 1)
		snprintf(full.text + len, sizeof(full.text) - len, a->outcome == STORE_COMMITTED ?
			 "; it is committed and will be stored (--id %s)" :
			 "; it may be committed: repeat it with --id %s", a->drafts->event_id);
	return verb_fail(call, rc, &full);
}

static enum verb_status append_one(struct verb_call *call)
{
	_cleanup_(buf_release) struct buf type = BUF_INIT, id = BUF_INIT;
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	struct store_append a = { .drafts = &d, .n = 1, .has_expect = call->given[OPT_EXPECT] };
	struct why why = { "" };
	enum verb_status status;

	if (call->n_words != 2 || !*call->words[1])
		return verb_usage(call, "expected STREAM and TYPE");
	if (a.has_expect && !verb_number(call, OPT_EXPECT, &a.expect))
		return VERB_USAGE;
	enum rc rc = place_stream(call->words[0], &type, &id, &why);
	if (rc == RC_OK)
		rc = read_draft(call, call->words[1], &d, &why);
	if (rc)
		return verb_fail(call, rc, &why);
	if (verb_open(call, &s, &status))
		return status;
	a.type = buf_text(&type);
	a.id = buf_text(&id);
	rc = draft_check_stream(&d, a.type, a.id, &why);
	if (rc == RC_OK)
		rc = store_append(s, &a, &why);
	if (rc)
		return fail(call, &a, rc, &why);
	print_stored(call, &a);
	return VERB_DONE;
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	enum verb_status status;
	if (!call->given[OPT_NDJSON]) {
		if (call->given[OPT_KEEP_GOING])
			return verb_usage(call, "--keep-going goes with --ndjson");
		return append_one(call);
	}
	if (call->n_words || call->given[OPT_EXPECT] || call->given[OPT_ID])
		return verb_usage(
			call, "with --ndjson the documents name stream, type, id and expected_seq");
	if (verb_open(call, &s, &status))
		return status;
	return batch_run(call, s, call->given[OPT_KEEP_GOING]);
}

const struct verb verb_append = {
	.name = "append",
	.words_help = "STREAM TYPE | --ndjson",
	.help = "Append an event of TYPE, its payload on stdin; print the name it has there.\n"
		"With --ndjson, append any number of documents that also name aggregate_type and\n"
		"aggregate_id. Those of one stream that follow each other are stored in batches,\n"
		"each whole or not at all. The first failure ends it, and what was stored is told.",
	.options =
		(const struct verb_option[]){
			[OPT_EXPECT] = { "--expect", "N",
					 "only if N is the last number (0: the stream is new)" },
			[OPT_ID] = { "--id", "UUID",
				     "the event's id: stored once, however often it is sent" },
			[OPT_NDJSON] = { "--ndjson", NULL, "documents that name their streams" },
			[OPT_KEEP_GOING] = { "--keep-going", NULL, "tell what fails and go on" },
			{ NULL, NULL, NULL },
		},
	.has_json = true,
	.run = run,
};
