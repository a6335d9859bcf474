/* SPDX-License-Identifier: Apache-2.0 */
/* store-deliver.c - what was committed becomes objects. */
#include "config.h"
#include "store/store-private.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/plant.h"
#include "event/draft.h"
#include "event/key.h"

#define RETRY_FIRST_MS 5
#define RETRY_MOST_MS 500

void store_deliver_expect(struct store *s, uint64_t until_ms)
{
	uint64_t seen = atomic_load(&s->in_flight_until);
	while (seen < until_ms && !atomic_compare_exchange_weak(&s->in_flight_until, &seen, until_ms))
		;
}

void store_deliver_release(struct deliver_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(items[i].key);
		free(items[i].body);
		items[i].key = items[i].body = NULL;
	}
}

enum rc store_deliver_join(struct deliver_item *item, const char *type, const char *id, const char *head, size_t head_len,
			   const char *tail, size_t tail_len, bool own_time, struct why *why)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	key_native_event(type, id, item->number, &key);
	buf_reserve(&body, draft_join_len(head_len, tail_len, own_time, item->recorded_us, item->number));
	draft_join(head, head_len, tail, tail_len, own_time, item->recorded_us, item->number, &body);
	if (buf_failed(&key) || buf_failed(&body))
		return rc_fail(RC_NO_MEMORY, why, "no memory for event %" PRIu64 " of '%s/%s'", item->number, type, id);
	item->key = buf_take(&key, NULL);
	item->body = buf_take(&body, &item->len);
	return RC_OK;
}

static void stored(struct store *s, struct deliver_item *item)
{
	item->stored = true;
	store_settle_add(s, item->stream, item->number, item->event_id);
}

/*
 * After a power cut a file that was never synced may be there cut short. It was never settled, so nobody relies on it, and the
 * pending row has the whole of it.
 */
static enum rc mend(struct store *s, struct deliver_item *item, const struct object_get *found, struct why *why)
{
	enum rc rc = object_replace(s->objects, item->key, item->body, item->len, found->tag, NULL, why);
	if (rc != RC_OK)
		return rc_prefix(RC_TEMPORARY, why, "'%s' is cut short (%zu of %zu bytes)", item->key, found->len, item->len);
	store_note(s, NULL, NULL, RC_OK, "'%s' was cut short (%zu of %zu bytes), stored again", item->key, found->len, item->len);
	stored(s, item);
	return RC_OK;
}

/* A key that is taken, or may be: our bytes are as good as a success; other bytes mean that S3 is ahead of the ledger. */
static enum rc look(struct store *s, struct deliver_item *item, struct why *why)
{
	struct object_get get = { .key = item->key };
	STORE_COUNT(s, gets, 1);
	enum rc rc = object_get(s->objects, &get, 1);
	if (rc == RC_OK) {
		_cleanup_(freep) char *body = get.buf;
		if (get.len == item->len && !memcmp(body, item->body, item->len)) {
			stored(s, item);
			return RC_OK;
		}
		if ((get.len < item->len && !memcmp(body, item->body, get.len)) || PLANTED("sweeper-without-fence"))
			return mend(s, item, &get, why);
		return rc_fail(RC_FENCED, why, "'%s' holds other bytes than event '%s' has", item->key, item->event_id);
	}
	if (rc == RC_NOT_FOUND)
		return rc_fail(RC_TEMPORARY, why, "'%s' is not stored yet", item->key);
	return rc_fail(rc, why, "%s", get.why.text);
}

/* One try for all that is missing. RC_TEMPORARY or RC_NO_SPACE: some are still missing. */
static enum rc try_all(struct store *s, struct deliver_item *items, size_t n, uint64_t deadline_ms, size_t *contradicted_r,
		       struct why *why)
{
	struct object_put one;
	_cleanup_(freep) struct object_put *many = NULL;
	struct object_put *puts = &one;
	if (n > 1) {
		puts = many = malloc(n * sizeof(*many));
		if (!puts)
			return rc_fail(RC_NO_MEMORY, why, "no memory to store %zu events", n);
	}

	size_t todo = 0;
	for (size_t i = 0; i < n; i++)
		if (!items[i].stored)
			puts[todo++] = (struct object_put){ .key = items[i].key, .buf = items[i].body, .len = items[i].len,
							    .recorded_us = items[i].recorded_us };
	STORE_COUNT(s, puts, todo);
	if (PLANTED("sweeper-without-fence"))
		deadline_ms = clock_boot_ms() + s->options.timeout_ms;
	enum rc rc = object_put(s->objects, puts, todo, deadline_ms);
	if (rc == RC_OK) {
		for (size_t i = 0; i < n; i++)
			if (!items[i].stored)
				stored(s, &items[i]);
		return RC_OK;
	}

	enum rc worst = RC_OK;
	for (size_t i = 0, k = 0; i < n; i++) {
		if (items[i].stored)
			continue;
		struct object_put *put = &puts[k++];
		struct why reason = put->why;
		rc = put->rc;
		if (rc == RC_OK) {
			stored(s, &items[i]);
			continue;
		}
		if (rc == RC_EXISTS || rc == RC_UNCERTAIN)
			rc = look(s, &items[i], &reason);
		if (rc == RC_OK)
			continue;
		if (rc == RC_FENCED)
			*contradicted_r = i;
		if (worst == RC_OK || rc == RC_FENCED)
			worst = rc_fail(rc, why, "%s", reason.text);
	}
	return worst;
}

enum rc store_deliver(struct store *s, struct deliver_item *items, size_t n, uint64_t deadline_ms, size_t *contradicted_r,
		      bool (*cancelled)(void *), void *arg, struct why *why)
{
	uint64_t began = clock_boot_us();
	unsigned pause = RETRY_FIRST_MS;
	enum rc rc;

	for (;;) {
		struct why reason = { "" };
		rc = try_all(s, items, n, deadline_ms, contradicted_r, &reason);
		store_saw_objects(s, rc == RC_FENCED ? RC_OK : rc, &reason);
		if (rc == RC_TEMPORARY && cancelled && cancelled(arg)) {
			rc = rc_fail(RC_CANCELLED, why, "interrupted after the commit");
			break;
		}
		if (rc == RC_TEMPORARY && clock_boot_ms() + pause < deadline_ms) {
			clock_sleep_ms(pause);
			pause = pause * 2 < RETRY_MOST_MS ? pause * 2 : RETRY_MOST_MS;
			continue;
		}
		if (rc != RC_OK)
			rc = rc_fail(rc, why, "%s", reason.text);
		break;
	}
	if (rc != RC_OK)
		atomic_store(&s->owes, true);
	STORE_COUNT(s, put_us, clock_boot_us() - began);
	return rc;
}
