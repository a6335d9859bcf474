/* SPDX-License-Identifier: Apache-2.0 */
/* verb-read.c - evfsctl read: events as lines. */
#include "config.h"
#include "tools/verb.h"

#include "base/cleanup.h"
#include "tools/output.h"
#include "tools/place.h"
#include "tools/walk.h"

enum { OPT_FROM, OPT_TO };

struct reading {
	struct view *view;
	uint64_t from, to;
	bool stopped;
};

static bool write_lines(void *arg, const struct buf *lines)
{
	struct reading *r = arg;
	r->stopped = !output_buf(lines);
	return !r->stopped;
}

static enum rc read_stream(void *arg, const struct view_dir *stream, struct why *why)
{
	struct reading *r = arg;
	enum rc rc = walk_lines(r->view, stream, r->from, r->to, write_lines, r, why);
	return rc ? rc : r->stopped ? rc_fail(RC_CANCELLED, why, "nobody reads") : RC_OK;
}

static enum rc read_place(struct reading *r, const char *path, struct why *why)
{
	struct view_dir dir;
	const char *rest;
	enum rc rc = place_find(r->view, path, &dir, &rest, why);
	if (rc == RC_OK && rest)
		rc = rc_fail(RC_NOT_FOUND, why, "there is no \"%.200s\"", path);
	if (rc == RC_OK)
		rc = walk_streams(r->view, &dir, read_stream, r, why);
	return r->stopped ? RC_OK : rc;
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct reading r = { .from = 0, .to = UINT64_MAX };
	struct why why = { "" };
	enum verb_status status;
	if (call->n_words > 1)
		return verb_usage(call, "one word too many: \"%s\"", call->words[1]);
	if (!call->n_words && (call->given[OPT_FROM] || call->given[OPT_TO]))
		return verb_usage(call, "--from and --to count in one stream: expected STREAM");
	if (call->given[OPT_FROM] && !verb_number(call, OPT_FROM, &r.from))
		return VERB_USAGE;
	if (call->given[OPT_TO] && !verb_number(call, OPT_TO, &r.to))
		return VERB_USAGE;
	if (verb_open(call, &s, &status))
		return status;
	r.view = store_view(s, &why);
	enum rc rc =
		r.view ? read_place(&r, call->n_words ? call->words[0] : "", &why) : RC_CORRUPT;
	return rc ? verb_fail(call, rc, &why) : VERB_DONE;
}

const struct verb verb_read = {
	.name = "read",
	.words_help = "[STREAM]",
	.help = "Print events, a line each, stream by stream.\n"
		"Those of STREAM, of all streams below it, or of the whole store.\n"
		"evfsctl append --ndjson takes them back.",
	.options =
		(const struct verb_option[]){
			[OPT_FROM] = { "--from", "N", "begin with number N" },
			[OPT_TO] = { "--to", "N", "end with number N" },
			{ NULL, NULL, NULL },
		},
	.has_json = false,
	.only_looks = true,
	.run = run,
};
