/* SPDX-License-Identifier: Apache-2.0 */
/* verb-publisher-replay.c - evfsctl publisher replay: events of a time range, sent once more. */
#include "config.h"
#include "tools/verb-publisher.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/time.h"
#include "publisher/route.h"
#include "publisher/target.h"
#include "store/tail.h"
#include "tools/output.h"

#define POLL_MS 100
#define FLUSH_MS 500
#define FAILURES_TOLD 20

/* How many went to a topic. */
struct topic {
	char *name;
	uint64_t events;
};

struct replay {
	const struct verb_call *call;
	struct sink *sink;	/* NULL: a dry run */
	struct property_list properties;
	struct target target;
	struct route_options route;
	struct route_message message;
	struct topic *topics;
	size_t n_topics;
	uint64_t sent, delivered, failed;
	enum rc rc;		/* what ended it */
	struct why why;
};

static void replay_release(struct replay *r)
{
	sink_free(&r->sink);
	property_list_release(&r->properties);
	route_message_release(&r->message);
	for (size_t i = 0; i < r->n_topics; i++)
		free(r->topics[i].name);
	free(r->topics);
}

/* One that can't be sent is told, and the others go on. */
static void fail_event(struct replay *r, const char *what, const char *reason)
{
	r->failed++;
	if (r->failed <= FAILURES_TOLD)
		fprintf(stderr, "evfsctl publisher: %s: %s\n", what, reason);
	if (r->failed == FAILURES_TOLD)
		fprintf(stderr, "evfsctl publisher: more are counted, not told\n");
}

static void report(void *arg, void *opaque, enum rc rc, const struct why *why)
{
	struct replay *r = arg;
	(void)opaque;
	if (rc == RC_OK)
		r->delivered++;
	else if (sink_refuses(rc))
		fail_event(r, "a message was refused", why->text);
	else
		r->rc = rc_fail(RC_TEMPORARY, &r->why, "%s; repeat it", why->text);
}

static bool count_topic(struct replay *r, const char *name)
{
	for (size_t i = 0; i < r->n_topics; i++)
		if (!strcmp(r->topics[i].name, name)) {
			r->topics[i].events++;
			return true;
		}
	struct topic *more = realloc(r->topics, (r->n_topics + 1) * sizeof(*more));
	if (!more)
		return false;
	r->topics = more;
	char *copy = strdup(name);
	if (!copy)
		return false;
	r->topics[r->n_topics++] = (struct topic){ copy, 1 };
	return true;
}

/* Queue it; where the queue is full, wait until it is not. */
static enum rc send(struct replay *r, const struct sink_message *m, struct why *why)
{
	for (;;) {
		enum rc rc = sink_send(r->sink, m, why);
		if (rc != RC_TEMPORARY)
			return rc;
		rc = sink_poll(r->sink, POLL_MS, why);
		if (rc || r->rc)
			return rc ? rc : RC_CORRUPT;
	}
}

static bool replay_event(void *arg, const struct tail_event *e)
{
	struct replay *r = arg;
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	struct why why = { "" };
	buf_printf(&name, "%.200s/%.500s number %" PRIu64, e->type, e->id, e->number);
	if (e->rc) {
		fail_event(r, buf_text(&name), *e->why.text ? e->why.text : rc_name(e->rc));
		return true;
	}
	enum rc rc = route_make(&r->route, e, &r->message, &why);
	const struct sink_message *m = &r->message.message;
	if (rc == RC_OK && !count_topic(r, m->topic))
		rc = RC_NO_MEMORY;
	if (rc == RC_OK && r->sink)
		rc = send(r, m, &why);
	if (rc == RC_OK) {
		r->sent++;
	} else if (sink_refuses(rc)) {
		fail_event(r, buf_text(&name), why.text);
	} else {
		if (rc == RC_NO_MEMORY)
			r->rc = rc_fail(rc, &r->why, "out of memory");
		else if (!r->rc)
			r->rc = rc_fail(RC_TEMPORARY, &r->why, "%s; repeat it", why.text);
		return false;
	}
	output_progress("%" PRIu64 " events", r->sent);
	if (r->sink && sink_poll(r->sink, 0, &why) && !r->rc)
		r->rc = rc_fail(RC_TEMPORARY, &r->why, "%s; repeat it", why.text);
	return !r->rc;
}

/* Until all is acknowledged: a broker that is away is waited for, as the publisher does. */
static enum rc flush(struct replay *r, struct why *why)
{
	enum rc rc = RC_TEMPORARY;
	while (rc == RC_TEMPORARY && !r->rc) {
		rc = sink_flush(r->sink, FLUSH_MS, why);
		output_progress("%" PRIu64 " of %" PRIu64 " events", r->delivered, r->sent);
	}
	return rc;
}

static void tell(const struct replay *r)
{
	bool dry = !r->sink;
	if (r->call->json) {
		_cleanup_(buf_release) struct buf line = BUF_INIT;
		buf_printf(&line, "{\"done\":%s,\"events\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"topics\":{",
			   dry ? "false" : "true", dry ? r->sent : r->delivered, r->failed);
		for (size_t i = 0; i < r->n_topics; i++) {
			buf_add_text(&line, i ? "," : "");
			json_quote(r->topics[i].name, strlen(r->topics[i].name), &line);
			buf_printf(&line, ":%" PRIu64, r->topics[i].events);
		}
		buf_add_text(&line, "}}\n");
		output_buf(&line);
		return;
	}
	for (size_t i = 0; i < r->n_topics; i++)
		output_printf("%s: %" PRIu64 " events\n", r->topics[i].name, r->topics[i].events);
	output_printf("%" PRIu64 " events %s, %" PRIu64 " failed%s\n", dry ? r->sent : r->delivered,
		      dry ? "would be sent" : "were sent again", r->failed,
		      dry ? " (--dry-run: nothing was sent)" : "");
}

/* [from, to) of the time line. */
static bool choose(const struct verb_call *call, int64_t *from_r, int64_t *to_r)
{
	struct verb_publisher_time from, to;
	if (!verb_publisher_time(call, VERB_PUBLISHER_FROM, &from) ||
	    !verb_publisher_time(call, VERB_PUBLISHER_TO, &to))
		return false;
	int64_t now = INT64_MAX;
	*from_r = from.kind == VERB_PUBLISHER_AT ? from.us : from.kind == VERB_PUBLISHER_NOW ? now : 0;
	*to_r = to.kind == VERB_PUBLISHER_AT ? to.us : to.kind == VERB_PUBLISHER_NOW ? now : 0;
	if (*from_r < *to_r)
		return true;
	verb_usage(call, "--from \"%s\" is not before --to \"%s\"", call->given[VERB_PUBLISHER_FROM],
		   call->given[VERB_PUBLISHER_TO]);
	return false;
}

static enum rc replay(struct replay *r, struct store *s, int64_t from, int64_t to, struct why *why)
{
	enum rc rc = RC_OK;
	if (!r->call->given[VERB_PUBLISHER_DRY_RUN])
		rc = target_make(&r->target, &r->sink, report, r, why);
	if (rc)
		return rc;
	if (r->sink)
		r->route.max_message = sink_max_message(r->sink);
	rc = tail_walk(s, r->call->given[VERB_PUBLISHER_TYPE], from, to, replay_event, r, why);
	/* What went out before it ended is waited for, so that what is told is so. */
	if (r->sink && !r->rc) {
		enum rc flushed = flush(r, why);
		rc = rc ? rc : flushed;
	}
	if (r->rc)
		*why = r->why;
	return r->rc ? r->rc : rc;
}

/* Where they go, as for the publisher. */
static enum rc choose_target(struct replay *r, struct store *s, struct why *why)
{
	const struct config *c = &r->call->config;
	_cleanup_(freep) struct store_health *health = calloc(1, sizeof(*health));
	if (!health)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	store_health(s, health);
	r->target = (struct target){ .config = c, .properties = &r->properties };
	target_name(&r->target, health->uuid);
	target_route(&r->target, &r->route);
	r->route.topic = r->call->given[VERB_PUBLISHER_TOPIC];
	enum rc rc = target_check(c, !r->call->given[VERB_PUBLISHER_DRY_RUN], why);
	if (rc == RC_OK && r->route.topic)
		rc = route_check_topic(r->route.topic, why);
	if (rc == RC_OK && c->properties)
		rc = property_add_file(&r->properties, c->properties, why);
	return rc;
}

enum verb_status verb_publisher_replay(struct verb_call *call, struct store *s)
{
	_cleanup_(replay_release) struct replay r = { .call = call };
	struct why why = { "" };
	int64_t from, to;
	if (!choose(call, &from, &to))
		return VERB_USAGE;
	enum rc rc = choose_target(&r, s, &why);
	if (rc == RC_INVALID)
		return verb_usage(call, "%s", why.text);
	if (rc == RC_OK)
		rc = replay(&r, s, from, to, &why);
	output_progress_end();
	if (rc)
		return verb_fail(call, rc, &why);
	tell(&r);
	return r.failed ? VERB_FAILED : VERB_DONE;
}
