/* SPDX-License-Identifier: Apache-2.0 */
/* verb-ls.c - evfsctl ls: what the mount's ls would show. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "event/time.h"
#include "tools/output.h"
#include "tools/place.h"

struct listing {
	struct view *view;
	const char *prefix;	/* of the names to show, "" for all */
	size_t prefix_len;
	bool json;
	uint64_t shown;
	enum rc rc;
	struct why *why;
};

static void add_time(struct buf *line, const char *key, int64_t us)
{
	char when[TIME_TEXT_MAX];
	time_format_us(us, when);
	buf_printf(line, ",\"%s\":\"%s\"", key, when);
}

static void add_dir(struct buf *line, const struct view_dir *d)
{
	buf_printf(line, ",\"kind\":\"%s\"", d->is_stream ? "stream" : "directory");
	if (d->is_stream)
		buf_printf(line, ",\"head\":%" PRIu64 ",\"events\":%" PRIu64 ",\"size\":%" PRIu64,
			   d->head, d->events, d->stream_size);
	add_time(line, "mtime", d->mtime_us);
}

static enum rc add_event(struct listing *l, struct buf *line, const struct view_event *e)
{
	_cleanup_(buf_release) struct buf id = BUF_INIT, type = BUF_INIT;
	enum rc rc = view_event_facts(l->view, e, NULL, &id, &type, l->why);
	if (rc)
		return rc;
	buf_printf(line, ",\"kind\":\"event\",\"number\":%" PRIu64 ",\"event_type\":", e->number);
	json_quote(buf_text(&type), type.len, line);
	buf_add_text(line, ",\"event_id\":");
	json_quote(buf_text(&id), id.len, line);
	buf_printf(line, ",\"size\":%" PRIu64, e->size);
	add_time(line, "occurred_at", e->occurred_us);
	add_time(line, "recorded_at", e->recorded_us);
	return RC_OK;
}

static bool show(void *arg, const struct view_entry *entry)
{
	struct listing *l = arg;
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	const char *name = entry->is_dir ? entry->dir->name : entry->event->name;
	if (strncmp(name, l->prefix, l->prefix_len))
		return true;
	l->shown++;
	if (!l->json)
		return output_printf("%s%s\n", name, entry->is_dir ? "/" : "");
	buf_add_text(&line, "{\"name\":");
	json_quote(name, strlen(name), &line);
	if (entry->is_dir)
		add_dir(&line, entry->dir);
	else
		l->rc = add_event(l, &line, entry->event);
	buf_add_text(&line, "}\n");
	return l->rc == RC_OK && output_buf(&line);
}

static enum rc list(struct listing *l, const char *path, struct why *why)
{
	struct view_dir dir;
	const char *rest;
	enum rc rc, found = place_find(l->view, path, &dir, &rest, why);
	if (found != RC_OK && !rest)
		return found;
	l->prefix = rest ? rest : "";
	l->prefix_len = strcspn(l->prefix, "/");
	rc = view_list(l->view, dir.row, 0, show, l, why);
	if (rc == RC_OK)
		rc = l->rc;
	if (rc == RC_OK && rest && !l->shown)
		rc = found != RC_OK ? found :
				      rc_fail(RC_NOT_FOUND, why, "nothing there begins with \"%.200s\"", path);
	return rc;
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct why why = { "" };
	struct listing l = { .json = call->json, .rc = RC_OK, .why = &why };
	enum verb_status status;
	if (call->n_words > 1)
		return verb_usage(call, "one word too many: \"%s\"", call->words[1]);
	if (verb_open(call, &s, &status))
		return status;
	l.view = store_view(s, &why);
	enum rc rc = l.view ? list(&l, call->n_words ? call->words[0] : "", &why) : RC_CORRUPT;
	return rc ? verb_fail(call, rc, &why) : VERB_DONE;
}

const struct verb verb_ls = {
	.name = "ls",
	.words_help = "[PREFIX]",
	.help = "List what the mount would: what is in the directory PREFIX, or begins with it.",
	.options = (const struct verb_option[]){ { NULL, NULL, NULL } },
	.has_json = true,
	.only_looks = true,
	.run = run,
};
