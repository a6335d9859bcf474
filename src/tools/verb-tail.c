/* SPDX-License-Identifier: Apache-2.0 */
/* verb-tail.c - evfsctl tail: events as they come. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "tools/output.h"
#include "tools/place.h"
#include "tools/walk.h"

#define POLL_MIN_MS 200
#define POLL_MAX_MS 5000

enum { OPT_FROM };

/* The last number shown of a stream, by its directory's row (never 0). */
struct head {
	int64_t row;
	uint64_t number;
};

struct following {
	struct view *view;
	const char *path;
	uint64_t from;		/* where unseen streams begin; UINT64_MAX: behind what they hold */
	struct head *heads;	/* open addressing, size is a power of two */
	size_t size, n;
	bool stopped, failing;
};

static struct head *find_head(struct head *heads, size_t size, int64_t row)
{
	size_t i = ((uint64_t)row * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (size - 1);
	while (heads[i].row && heads[i].row != row)
		i = (i + 1) & (size - 1);
	return &heads[i];
}

static bool grow(struct following *f)
{
	size_t size = f->size ? f->size * 2 : 256;
	struct head *heads = calloc(size, sizeof(*heads));
	if (!heads)
		return false;
	for (size_t i = 0; i < f->size; i++)
		if (f->heads[i].row)
			*find_head(heads, size, f->heads[i].row) = f->heads[i];
	free(f->heads);
	f->heads = heads;
	f->size = size;
	return true;
}

static bool write_lines(void *arg, const struct buf *lines)
{
	struct following *f = arg;
	f->stopped = !output_buf(lines);
	return !f->stopped;
}

static enum rc follow_stream(void *arg, const struct view_dir *stream, struct why *why)
{
	struct following *f = arg;
	if (f->n * 2 >= f->size && !grow(f))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	struct head *head = find_head(f->heads, f->size, stream->row);
	if (!head->row) {
		head->row = stream->row;
		head->number = f->from == UINT64_MAX ? stream->head : f->from - 1;
		f->n++;
	}
	if (stream->head <= head->number)
		return RC_OK;
	enum rc rc =
		walk_lines(f->view, stream, head->number + 1, stream->head, write_lines, f, why);
	if (rc == RC_OK)
		head->number = stream->head;
	return rc ? rc : f->stopped ? RC_CANCELLED : RC_OK;
}

static enum rc look(struct following *f, struct why *why)
{
	struct view_dir dir;
	const char *rest;
	enum rc rc = place_find(f->view, f->path, &dir, &rest, why);
	if (rc == RC_NOT_FOUND || (rc == RC_OK && rest))
		return RC_OK;	/* it may come */
	if (rc == RC_OK)
		rc = walk_streams(f->view, &dir, follow_stream, f, why);
	return f->stopped ? RC_OK : rc;
}

/* What passes by itself is told once, and asked again. */
static bool passes(struct following *f, enum rc rc, const struct why *why)
{
	bool retry = verb_status(rc) == VERB_RETRY;
	if (retry && !f->failing)
		log_warning("tail waits: %s", why->text);
	f->failing = rc != RC_OK;
	return rc == RC_OK || retry;
}

static enum rc follow(struct following *f, struct why *why)
{
	for (;;) {
		uint64_t begin = clock_boot_ms();
		enum rc rc = look(f, why);
		if (!passes(f, rc, why))
			return rc;
		/* What was there at the start is passed over; what appears now is new. */
		if (f->from == UINT64_MAX && rc == RC_OK)
			f->from = 1;
		if (f->stopped || !output_flush())
			return RC_OK;
		/* A large store is not looked through all the time. */
		uint64_t pause = 4 * (clock_boot_ms() - begin);
		pause = pause < POLL_MIN_MS   ? POLL_MIN_MS
			: pause > POLL_MAX_MS ? POLL_MAX_MS
					      : pause;
		struct pollfd reader = { .fd = STDOUT_FILENO, .events = 0 };
		if (poll(&reader, 1, (int)pause) > 0 && reader.revents & (POLLERR | POLLNVAL))
			return RC_OK;	/* nobody reads any more */
	}
}

static enum verb_status run(struct verb_call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct following f = { .path = call->n_words ? call->words[0] : "", .from = UINT64_MAX };
	struct why why = { "" };
	enum verb_status status;
	if (call->n_words > 1)
		return verb_usage(call, "one word too many: \"%s\"", call->words[1]);
	if (call->given[OPT_FROM] && !call->n_words)
		return verb_usage(call, "--from counts in one stream: expected STREAM");
	if (call->given[OPT_FROM] && !verb_number(call, OPT_FROM, &f.from))
		return VERB_USAGE;
	if (call->given[OPT_FROM] && !f.from)
		f.from = 1;
	if (config_is_built_in(&call->config, "fresh"))
		call->config.fresh_ms = POLL_MIN_MS / 2;
	if (verb_open(call, &s, &status))
		return status;
	f.view = store_view(s, &why);
	enum rc rc = f.view ? follow(&f, &why) : RC_CORRUPT;
	free(f.heads);
	return rc ? verb_fail(call, rc, &why) : VERB_DONE;
}

const struct verb verb_tail = {
	.name = "tail",
	.words_help = "[STREAM]",
	.help =
		"Print events as they are appended, a line each, until it is killed.\n"
		"Those of STREAM, of all streams below it, or of the whole store.",
	.options =
		(const struct verb_option[]){
			[OPT_FROM] = { "--from", "N",
				       "begin with number N, not with the next one" },
			{ NULL, NULL, NULL },
		},
	.has_json = false,
	.only_looks = true,
	.run = run,
};
