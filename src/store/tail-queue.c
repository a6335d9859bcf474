/* SPDX-License-Identifier: Apache-2.0 */
/* tail-queue.c - events that were read, and their bodies fetched ahead of who takes them. */
#include "config.h"
#include "store/tail-private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "event/key.h"

#define FETCHERS 4
#define PARALLEL 64
#define BATCH_MAX 64		/* of one fetcher's requests */
#define BYTES ((size_t)32 << 20)
#define WAIT_MS 1000		/* for one body: who takes it has a lease to renew meanwhile */

struct tail_queue {
	struct object_store *objects;
	size_t batch, limit;
	pthread_mutex_t lock;		/* guards all below but threads, and the state of items with what it says */
	pthread_cond_t work, news;
	struct tail_item *first, **end;
	struct tail_item *wanted;	/* no item before it is WANTED; NULL: none is */
	size_t n;
	size_t bytes;			/* of bodies that are here or on their way */
	bool stop;
	pthread_t threads[FETCHERS];
	unsigned running;
};

/* ------------------------------------------------------------------ items */

static enum rc set_why(struct tail_item *item, enum rc rc, const char *text)
{
	if (!item->why)
		item->why = calloc(1, sizeof(*item->why));
	item->rc = rc_fail(rc, item->why, "%s", text);
	return rc;
}

static const char *put(char **at, const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = memcpy(*at, text, len);
	*at += len;
	return copy;
}

struct tail_item *tail_queue_item(const struct ledger_row *row, struct tail_hold *hold)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT, body = BUF_INIT;
	key_native_event(row->type, row->id, row->number, &key);
	if (row->head) {
		buf_reserve(&body, draft_join_len(row->head_len, row->tail_len, row->own_time, row->recorded_us, row->number));
		draft_join(row->head, row->head_len, row->tail, row->tail_len, row->own_time, row->recorded_us, row->number, &body);
	}
	if (buf_failed(&key) || buf_failed(&body))
		return NULL;
	struct tail_item *item = malloc(sizeof(*item) + strlen(row->type) + strlen(row->id) + strlen(row->event_id) +
					strlen(row->event_type) + key.len + 5);
	if (!item)
		return NULL;
	char *at = (char *)(item + 1);
	*item = (struct tail_item){ .recorded_us = row->recorded_us, .occurred_us = row->occurred_us,
				    .stream = row->stream, .number = row->number, .size = row->size,
				    .settled = row->settled, .hold = hold, .state = TAIL_WANTED };
	item->type = put(&at, row->type);
	item->id = put(&at, row->id);
	item->event_id = put(&at, row->event_id);
	item->event_type = put(&at, row->event_type);
	item->key = put(&at, buf_text(&key));
	if (row->head) {
		item->state = TAIL_READY;
		item->body = buf_take(&body, &item->len);
		item->counted = item->len;
	}
	return item;
}

void tail_queue_item_free(struct tail_item *item)
{
	if (!item)
		return;
	free(item->body);
	free(item->why);
	free(item);
}

void tail_queue_item_tell(const struct tail_item *item, struct tail_event *e)
{
	*e = (struct tail_event){
		.type = item->type,
		.id = item->id,
		.number = item->number,
		.event_id = item->event_id,
		.event_type = item->event_type,
		.occurred_us = item->occurred_us,
		.recorded_us = item->recorded_us,
		.key = item->key,
		.body = item->rc == RC_OK ? item->body : NULL,
		.len = item->rc == RC_OK ? item->len : 0,
		.rc = item->rc,
		.held = item->hold != NULL,
	};
	if (item->rc != RC_OK && item->why)
		e->why = *item->why;
}

/* ------------------------------------------------------------------ what was fetched */

/* JSON of the length that the ledger knows, which begins and ends as the body of this event does. What is not so is looked at closely. */
static bool is_plainly_it(const struct tail_item *item, const struct object_get *get)
{
	char end[48];
	struct json_value doc;
	static const char begin[] = "{\"event_id\":\"";
	size_t id = strlen(item->event_id);
	int n = snprintf(end, sizeof(end), ",\"sequence_number\":%" PRIu64 "}", item->number);
	size_t least = sizeof(begin) - 1 + id + 1 + (size_t)n;
	const char *p = get->buf;
	if (get->len != item->size || get->len < least)
		return false;
	if (memcmp(p, begin, sizeof(begin) - 1) || memcmp(p + sizeof(begin) - 1, item->event_id, id) ||
	    p[sizeof(begin) - 1 + id] != '"' || memcmp(p + get->len - n, end, (size_t)n))
		return false;
	return json_parse(p, get->len, JSON_STRICT, &doc, NULL) == RC_OK;
}

static void check(struct tail_item *item, const struct object_get *get)
{
	_cleanup_(event_release) struct event e = EVENT_INIT;
	struct why why = { "" };
	if (is_plainly_it(item, get))
		return;
	if (layout_check_event(get->buf, get->len, item->type, item->id, item->number, &e, &why) != RC_OK)
		set_why(item, RC_CORRUPT, why.text);
	else if (!e.event_id || strcmp(e.event_id, item->event_id))
		set_why(item, RC_CORRUPT, "the object is another event than the ledger names");
}

/* Is it this object alone that can't be read, or nothing here? */
static bool is_denied_alone(struct tail_queue *q)
{
	struct object_info info;
	return object_stat(q->objects, LAYOUT_STORE_KEY, &info, NULL) == RC_OK;
}

/* Anything that may pass becomes RC_TEMPORARY. */
static void judge(struct tail_queue *q, struct tail_item *item, struct object_get *get)
{
	item->rc = RC_OK;
	switch (get->rc) {
	case RC_OK:
		check(item, get);
		if (item->rc == RC_OK) {
			item->body = TAKE_PTR(get->buf);
			item->len = get->len;
		}
		break;
	case RC_NOT_FOUND:
		set_why(item, RC_NOT_FOUND, get->why.text);
		break;
	case RC_CORRUPT:
	case RC_INVALID:
	case RC_TOO_LARGE:
		set_why(item, RC_CORRUPT, get->why.text);
		break;
	case RC_DENIED:
		set_why(item, is_denied_alone(q) ? RC_DENIED : RC_TEMPORARY, get->why.text);
		break;
	case RC_EXISTS:
	case RC_CONFLICT:
	case RC_TEMPORARY:
	case RC_UNCERTAIN:
	case RC_NO_SPACE:
	case RC_NO_MEMORY:
	case RC_CANCELLED:
	case RC_FENCED:
		set_why(item, RC_TEMPORARY, get->why.text);
		break;
	}
	free(get->buf);
	get->buf = NULL;
}

/* ------------------------------------------------------------------ fetching */

static bool has_room_locked(const struct tail_queue *q)
{
	return q->bytes <= q->limit / 4 * 3;
}

static bool may_fetch_locked(const struct tail_queue *q)
{
	return has_room_locked(q) || q->first->state == TAIL_WANTED;
}

/* As many as there is room for; the first of all goes in any case, for it is waited for. */
static size_t take_wanted_locked(struct tail_queue *q, struct tail_item **items)
{
	size_t n = 0;
	struct tail_item *item = q->wanted;
	if (!item || !may_fetch_locked(q))
		return 0;
	for (; item && n < q->batch; item = item->next) {
		if (item->state != TAIL_WANTED)
			continue;
		if (q->bytes + item->size > q->limit && item != q->first)
			break;
		item->state = TAIL_FETCHING;
		item->counted = item->size;
		q->bytes += item->size;
		items[n++] = item;
	}
	q->wanted = item;
	return n;
}

static void arrived_locked(struct tail_queue *q, struct tail_item *item)
{
	q->bytes -= item->counted;
	item->counted = item->body ? item->len : 0;
	q->bytes += item->counted;
	item->state = item->rc == RC_TEMPORARY ? TAIL_FAILED : TAIL_READY;
}

static void *fetcher_main(void *arg)
{
	struct tail_queue *q = arg;
	struct tail_item *items[BATCH_MAX];
	_cleanup_(freep) struct object_get *gets = calloc(BATCH_MAX, sizeof(*gets));
	pthread_mutex_lock(&q->lock);
	while (!q->stop) {
		size_t n = gets ? take_wanted_locked(q, items) : 0;
		if (!n) {
			pthread_cond_wait(&q->work, &q->lock);
			continue;
		}
		pthread_mutex_unlock(&q->lock);
		for (size_t i = 0; i < n; i++)
			gets[i] = (struct object_get){ .key = items[i]->key };
		enum rc rc = object_get(q->objects, gets, n);
		(void)rc;	/* each tells for itself */
		for (size_t i = 0; i < n; i++)
			judge(q, items[i], &gets[i]);
		pthread_mutex_lock(&q->lock);
		for (size_t i = 0; i < n; i++)
			arrived_locked(q, items[i]);
		pthread_cond_broadcast(&q->news);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

/* With the first that is wanted: who finds all in the ledger has no such threads. */
static enum rc start(struct tail_queue *q, struct why *why)
{
	int failed = 0;
	while (q->running < FETCHERS && !failed) {
		failed = thread_start(&q->threads[q->running], fetcher_main, q);
		q->running += !failed;
	}
	return q->running ? RC_OK : rc_fail(RC_TEMPORARY, why, "cannot start a thread: %s", strerror(failed));
}

/* ------------------------------------------------------------------ life */

enum rc tail_queue_new(struct tail_queue **out, struct object_store *objects, unsigned parallel, size_t bytes, struct why *why)
{
	struct tail_queue *q = calloc(1, sizeof(*q));
	if (!q)
		return rc_fail(RC_NO_MEMORY, why, "no memory for reading ahead");
	/* twice as many as are to be read at once: who looks at what came has others fetch meanwhile */
	size_t batch = (2 * (parallel ? parallel : PARALLEL) + FETCHERS - 1) / FETCHERS;
	q->objects = objects;
	q->batch = batch > BATCH_MAX ? BATCH_MAX : batch;
	q->limit = bytes ? bytes : BYTES;
	q->end = &q->first;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->work, NULL);
	thread_cond_init(&q->news);
	*out = q;
	return RC_OK;
}

void tail_queue_free(struct tail_queue **pq)
{
	struct tail_queue *q = *pq;
	if (!q)
		return;
	*pq = NULL;
	thread_stop(&q->lock, &q->stop, &q->work, q->threads, q->running);
	while (q->first) {
		struct tail_item *item = q->first;
		q->first = item->next;
		tail_queue_item_free(item);
	}
	pthread_cond_destroy(&q->work);
	pthread_cond_destroy(&q->news);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

/* ------------------------------------------------------------------ who fills and takes */

void tail_queue_add(struct tail_queue *q, struct tail_item *first)
{
	pthread_mutex_lock(&q->lock);
	bool wanted = false;
	*q->end = first;
	for (struct tail_item *item = first; item; item = item->next) {
		q->n++;
		q->bytes += item->counted;
		q->end = &item->next;
		wanted |= item->state == TAIL_WANTED;
		if (!q->wanted && item->state == TAIL_WANTED)
			q->wanted = item;
	}
	if (wanted)
		pthread_cond_broadcast(&q->work);
	pthread_mutex_unlock(&q->lock);
}

/* Those that could not be fetched are wanted again, all at once. */
static void want_again_locked(struct tail_queue *q)
{
	for (struct tail_item *item = q->first; item; item = item->next)
		if (item->state == TAIL_FAILED)
			item->state = TAIL_WANTED;
	q->wanted = q->first;
	pthread_cond_broadcast(&q->work);
}

enum rc tail_queue_take(struct tail_queue *q, struct tail_item **out, struct why *why)
{
	enum rc rc = RC_OK;
	*out = NULL;
	if (!q->n)
		return RC_OK;
	pthread_mutex_lock(&q->lock);
	struct tail_item *item = q->first;
	if (item->state == TAIL_WANTED && !q->running)
		rc = start(q, why);
	if (item->state == TAIL_WANTED)	/* it has become the first: there is room for it now, whatever its size */
		pthread_cond_signal(&q->work);
	struct timespec until = clock_after_ms(WAIT_MS);
	while (rc == RC_OK && (item->state == TAIL_WANTED || item->state == TAIL_FETCHING))
		if (pthread_cond_timedwait(&q->news, &q->lock, &until) == ETIMEDOUT && item->state != TAIL_READY)
			rc = rc_fail(RC_TEMPORARY, why, "'%s' is still being read", item->key);
	if (rc == RC_OK && item->state == TAIL_FAILED) {
		rc = rc_fail(RC_TEMPORARY, why, "%s", item->why ? item->why->text : "no memory");
		want_again_locked(q);
	} else if (rc == RC_OK) {
		q->first = item->next;
		if (!q->first)
			q->end = &q->first;
		if (q->wanted == item)
			q->wanted = item->next;
		q->n--;
		*out = item;
	}
	pthread_mutex_unlock(&q->lock);
	return rc;
}

void tail_queue_done(struct tail_queue *q, struct tail_item *item)
{
	if (!item)
		return;
	pthread_mutex_lock(&q->lock);
	q->bytes -= item->counted;
	if (q->wanted && may_fetch_locked(q))
		pthread_cond_signal(&q->work);
	pthread_mutex_unlock(&q->lock);
	tail_queue_item_free(item);
}

const struct tail_item *tail_queue_first(const struct tail_queue *q)
{
	return q->first;
}

size_t tail_queue_length(const struct tail_queue *q)
{
	return q->n;
}

size_t tail_queue_room(struct tail_queue *q)
{
	pthread_mutex_lock(&q->lock);
	size_t room = q->bytes < q->limit ? q->limit - q->bytes : 0;
	pthread_mutex_unlock(&q->lock);
	return room;
}

bool tail_queue_has_room(struct tail_queue *q)
{
	pthread_mutex_lock(&q->lock);
	bool room = has_room_locked(q);
	pthread_mutex_unlock(&q->lock);
	return room;
}
