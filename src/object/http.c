/* SPDX-License-Identifier: Apache-2.0 */
/* http.c - the engine: lines of calls, its thread, deadlines. */
#include "config.h"
#include "object/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "object/http-private.h"

#define LINE_PER_CONNECTION 4
#define LINE_MIN 64
#define IDLE_MAX_S 100 /* a connection that was idle for longer is not tried again */

static void line_init(struct http_line *l)
{
	*l = (struct http_line){ NULL, &l->first };
}

static void line_add(struct http_line *l, struct http_call *call)
{
	call->next = NULL;
	*l->last = call;
	l->last = &call->next;
}

static struct http_call *line_take(struct http_line *l)
{
	struct http_call *call = l->first;
	if (call && !(l->first = call->next))
		l->last = &l->first;
	return call;
}

static void line_move(struct http_line *from, struct http_line *to)
{
	if (!from->first)
		return;
	*to->last = from->first;
	to->last = from->last;
	line_init(from);
}

void http_call_init(struct http_call *call)
{
	call->head = call->answer = (struct buf)BUF_INIT;
	call->why.text[0] = '\0';
}

void http_call_release(struct http_call *call)
{
	buf_release(&call->head);
	buf_release(&call->answer);
}

static void clear_outcome(struct http_call *call)
{
	call->end = HTTP_UNSENT;
	call->status = 0;
	call->took_us = 0;
	call->over_limit = call->untrusted = call->timed_out = call->measured = false;
	buf_reset(&call->head);
	buf_reset(&call->answer);
	call->why.text[0] = '\0';
}

const char *http_call_header(const struct http_call *call, const char *name, size_t *len_r)
{
	size_t n = strlen(name);
	for (const char *line = buf_text(&call->head); *line;) {
		const char *end = strchrnul(line, '\n');
		if ((line[0] | 0x20) == name[0] && (size_t)(end - line) > n && line[n] == ':' &&
		    !strncasecmp(line, name, n)) {
			const char *value = line + n + 1, *last = end;
			while (value < last && (*value == ' ' || *value == '\t'))
				value++;
			while (last > value &&
			       (last[-1] == ' ' || last[-1] == '\t' || last[-1] == '\r'))
				last--;
			if (len_r)
				*len_r = (size_t)(last - value);
			return value;
		}
		line = *end ? end + 1 : end;
	}
	return NULL;
}

void http_call_header_copy(const struct http_call *call, const char *name, char *out, size_t size)
{
	size_t len = 0;
	const char *value = http_call_header(call, name, &len);
	if (!value || len >= size)
		len = 0;
	if (len)
		memcpy(out, value, len);
	out[len] = '\0';
}

/* A call without an answer that was never handed to curl. */
static void end_unsent(struct http_call *call, bool timed_out)
{
	call->end = HTTP_UNSENT;
	call->timed_out = timed_out;
	if (timed_out)
		(void)rc_fail(RC_TEMPORARY, &call->why, "the time for it is over");
	call->done(call);
}

static void check_by(struct http *h, uint64_t at_ms)
{
	if (at_ms < h->check_at_ms)
		h->check_at_ms = at_ms;
}

static void leave_line(struct http *h)
{
	size_t n = atomic_fetch_sub(&h->n_line, 1);
	if (n != (size_t)h->parallel * LINE_PER_CONNECTION + LINE_MIN)
		return;
	pthread_mutex_lock(&h->line_lock);
	if (h->room_waiters)
		pthread_cond_broadcast(&h->room);
	pthread_mutex_unlock(&h->line_lock);
}

/* Take over what was submitted. False: the engine is to end. */
static bool take_submitted(struct http *h)
{
	struct http_line taken;
	line_init(&taken);
	pthread_mutex_lock(&h->line_lock);
	h->asleep = false;
	line_move(&h->submitted, &taken);
	bool go_on = !h->stop;
	pthread_mutex_unlock(&h->line_lock);
	for (struct http_call *call; (call = line_take(&taken));) {
		bool later = call->not_before_ms != 0;
		check_by(h, later && call->not_before_ms < call->deadline_ms ? call->not_before_ms
									     : call->deadline_ms);
		line_add(later ? &h->delayed : &h->waiting, call);
	}
	return go_on;
}

static struct http_lane *idle_lane(struct http *h)
{
	struct http_lane *l = h->idle;
	if (l) {
		h->idle = l->next;
	} else if (h->n_lanes < h->parallel && http_lane_new(&l, h, NULL) == RC_OK) {
		h->lanes[h->n_lanes++] = l;
	}
	return l;
}

static void put_idle(struct http *h, struct http_lane *l)
{
	l->next = h->idle;
	h->idle = l;
}

/*
 * How long a connection may have been idle to be used again: one that already was when a call timed
 * out may be as dead.
 */
static long max_idle_s(const struct http *h, uint64_t now)
{
	uint64_t s = (now - h->doubt_ms) / 1000;
	if (!h->doubt_ms || s > IDLE_MAX_S)
		return IDLE_MAX_S;
	return s > 1 ? (long)s - 1 : 1;
}

static void start_waiting(struct http *h)
{
	while (h->waiting.first) {
		struct http_lane *l = idle_lane(h);
		if (!l && h->n_active)
			return;
		struct http_call *call = line_take(&h->waiting);
		leave_line(h);
		uint64_t now = clock_boot_ms();
		bool late = call->deadline_ms <= now;
		if (!l)
			(void)rc_fail(RC_NO_MEMORY, &call->why, "no memory for a connection");
		if (l && !late &&
		    http_lane_start(l, h->poll.multi, call, max_idle_s(h, now)) == RC_OK) {
			l->patient_until_ms =
				call->patience_ms ? now + call->patience_ms : HTTP_POLL_NEVER;
			check_by(h, l->patient_until_ms);
			h->n_active++;
			continue;
		}
		if (l)
			put_idle(h, l);
		end_unsent(call, late);
	}
}

static void end_active(struct http *h, struct http_lane *l, CURLcode result, bool timed_out)
{
	struct http_call *call = http_lane_end(l, h->poll.multi, result);
	put_idle(h, l);
	h->n_active--;
	call->timed_out = timed_out;
	if (timed_out)
		(void)rc_fail(RC_TEMPORARY, &call->why,
			      call->end == HTTP_UNSENT ? "no connection in time"
						       : "no answer in time");
	call->done(call);
}

/* True: something ended. */
static bool reap(struct http *h)
{
	bool any = false;
	CURLMsg *msg;
	for (int left; (msg = curl_multi_info_read(h->poll.multi, &left)); any = true) {
		char *lane = NULL;
		CURLcode result = msg->data.result;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &lane);
		end_active(h, (struct http_lane *)(void *)lane, result, false);
	}
	return any;
}

static void check_active(struct http *h, struct http_lane *l, uint64_t now)
{
	if (!l->call)
		return;
	if (l->patient_until_ms <= now && l->call->head.len)
		l->patient_until_ms = HTTP_POLL_NEVER;
	if (l->call->deadline_ms <= now || l->patient_until_ms <= now) {
		h->doubt_ms = now;
		end_active(h, l, CURLE_OPERATION_TIMEDOUT, true);
		return;
	}
	check_by(h, l->call->deadline_ms);
	check_by(h, l->patient_until_ms);
}

/* End what is over, let go what was delayed, and find out when to look again. */
static void check_times(struct http *h, uint64_t now)
{
	struct http_line line;
	h->check_at_ms = HTTP_POLL_NEVER;
	for (unsigned i = 0; i < h->n_lanes; i++)
		check_active(h, h->lanes[i], now);

	line_init(&line);
	line_move(&h->delayed, &line);
	for (struct http_call *call; (call = line_take(&line));) {
		if (call->deadline_ms <= now) {
			end_unsent(call, true);
		} else if (call->not_before_ms <= now) {
			atomic_fetch_add(&h->n_line, 1);
			line_add(&h->waiting, call);
		} else {
			check_by(h, call->not_before_ms < call->deadline_ms ? call->not_before_ms
									    : call->deadline_ms);
			line_add(&h->delayed, call);
		}
	}

	line_init(&line);
	line_move(&h->waiting, &line);
	for (struct http_call *call; (call = line_take(&line));) {
		if (call->deadline_ms <= now) {
			leave_line(h);
			end_unsent(call, true);
		} else {
			check_by(h, call->deadline_ms);
			line_add(&h->waiting, call);
		}
	}
}

/* From now on a submitted call must wake us; false if there is one already. */
static bool fall_asleep(struct http *h)
{
	pthread_mutex_lock(&h->line_lock);
	h->asleep = !h->submitted.first && !h->stop;
	bool asleep = h->asleep;
	pthread_mutex_unlock(&h->line_lock);
	return asleep;
}

static void end_all(struct http *h)
{
	for (unsigned i = 0; i < h->n_lanes; i++)
		if (h->lanes[i]->call)
			end_active(h, h->lanes[i], CURLE_ABORTED_BY_CALLBACK, false);
	line_move(&h->delayed, &h->waiting);
	for (struct http_call *call; (call = line_take(&h->waiting));) {
		(void)rc_fail(RC_CANCELLED, &call->why, "the store is being closed");
		end_unsent(call, false);
	}
}

static void *engine_main(void *arg)
{
	struct http *h = arg;
	while (take_submitted(h)) {
		/* before curl works: it must not send what is over */
		uint64_t now = clock_boot_ms();
		if (now >= h->check_at_ms)
			check_times(h, now);
		http_poll_work(&h->poll);
		reap(h);
		start_waiting(h);
		http_poll_tick(&h->poll);
		if (reap(h) || !fall_asleep(h))
			continue;
		http_poll_wait(&h->poll, h->check_at_ms);
	}
	end_all(h);
	return NULL;
}

static enum rc start_locked(struct http *h, struct why *why)
{
	enum rc rc = http_poll_init(&h->poll, why);
	if (rc != RC_OK)
		return rc;
	curl_multi_setopt(h->poll.multi, CURLMOPT_MAXCONNECTS, (long)h->parallel);
	curl_multi_setopt(h->poll.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)h->parallel);
	int err = thread_start(&h->thread, engine_main, h);
	if (err) {
		http_poll_release(&h->poll);
		return rc_fail(RC_TEMPORARY, why, "cannot start the HTTP engine: %s",
			       strerror(err));
	}
	pthread_setname_np(h->thread, "evfs-http");
	h->started = true;
	return RC_OK;
}

static void init_lines(struct http *h)
{
	pthread_mutex_init(&h->line_lock, NULL);
	pthread_cond_init(&h->room, NULL);
	line_init(&h->submitted);
	line_init(&h->waiting);
	line_init(&h->delayed);
	h->check_at_ms = HTTP_POLL_NEVER;
	atomic_store(&h->n_line, 0);
	atomic_store(&h->pid, getpid());
}

/*
 * In a child of fork there is no thread, the locks may be held by nobody, and curl's connections
 * are the parent's.
 */
static void begin_anew(struct http *h)
{
	http_poll_forget(&h->poll);
	/* lost: curl would say goodbye on the parent's connections */
	memset(h->lanes, 0, h->parallel * sizeof(struct http_lane *));
	h->n_lanes = h->n_active = h->room_waiters = 0;
	h->idle = NULL;
	h->started = h->stop = h->asleep = false;
	init_lines(h);
}

static enum rc submit(struct http *h, struct http_call *call, bool patient, struct why *why)
{
	clear_outcome(call);
	if (atomic_load(&h->pid) != getpid())
		begin_anew(h);
	enum rc rc = RC_OK;
	bool wake = false;
	pthread_mutex_lock(&h->line_lock);
	if (!h->started)
		rc = start_locked(h, why);
	if (rc == RC_OK) {
		size_t room = (size_t)h->parallel * LINE_PER_CONNECTION + LINE_MIN;
		while (patient && !call->not_before_ms && atomic_load(&h->n_line) >= room) {
			h->room_waiters++;
			pthread_cond_wait(&h->room, &h->line_lock);
			h->room_waiters--;
		}
		if (!call->not_before_ms)
			atomic_fetch_add(&h->n_line, 1);
		line_add(&h->submitted, call);
		wake = h->asleep;
		h->asleep = false;
	}
	pthread_mutex_unlock(&h->line_lock);
	if (wake)
		http_poll_wake(&h->poll);
	return rc;
}

enum rc http_submit(struct http *h, struct http_call *call, struct why *why)
{
	return submit(h, call, true, why);
}

void http_again(struct http *h, struct http_call *call)
{
	enum rc rc = submit(h, call, false, NULL);
	(void)rc; /* the engine runs: it called */
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static char version[64];

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	snprintf(version, sizeof(version), "libcurl %s",
		 curl_version_info(CURLVERSION_NOW)->version);
}

const char *http_version(void)
{
	pthread_once(&curl_once, init_curl);
	return version;
}

enum rc http_new(struct http **out, const struct http_options *o, struct why *why)
{
	pthread_once(&curl_once, init_curl);
	unsigned parallel = o->parallel ? o->parallel : 1;
	_cleanup_(freep) char *ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
	_cleanup_(freep) struct http_lane **lanes = calloc(parallel, sizeof(*lanes));
	_cleanup_(freep) struct http *h = calloc(1, sizeof(*h));
	if (!h || !lanes || (o->ca_file && !ca_file))
		return rc_fail(RC_NO_MEMORY, why, "no memory for the HTTP engine");
	h->parallel = parallel;
	h->no_verify = o->no_verify;
	h->connect_ms = o->connect_ms;
	h->ca_file = TAKE_PTR(ca_file);
	h->lanes = TAKE_PTR(lanes);
	h->poll =
		(struct http_poll){ .epoll_fd = -1, .wake_fd = -1, .curl_at_ms = HTTP_POLL_NEVER };
	init_lines(h);
	*out = TAKE_PTR(h);
	return RC_OK;
}

void http_free(struct http **hp)
{
	if (!hp || !*hp)
		return;
	struct http *h = *hp;
	if (atomic_load(&h->pid) != getpid())
		begin_anew(h);
	if (h->started) {
		pthread_mutex_lock(&h->line_lock);
		h->stop = true;
		pthread_mutex_unlock(&h->line_lock);
		http_poll_wake(&h->poll);
		pthread_join(h->thread, NULL);
		for (unsigned i = 0; i < h->n_lanes; i++)
			http_lane_free(&h->lanes[i]);
		http_poll_release(&h->poll);
	}
	pthread_cond_destroy(&h->room);
	pthread_mutex_destroy(&h->line_lock);
	free(h->lanes);
	free(h->ca_file);
	free(h);
	*hp = NULL;
}
