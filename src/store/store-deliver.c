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
		free(items[i].own_id);
		items[i].key = items[i].body = items[i].own_id = NULL;
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
static enum rc compare(struct store *s, struct deliver_item *item, const struct object_get *get, struct why *why)
{
	if (get->rc == RC_NOT_FOUND)
		return rc_fail(RC_TEMPORARY, why, "'%s' is not stored yet", item->key);
	if (get->rc != RC_OK)
		return rc_fail(get->rc, why, "%s", get->why.text);
	if (get->len == item->len && !memcmp(get->buf, item->body, item->len)) {
		stored(s, item);
		return RC_OK;
	}
	if ((get->len < item->len && !memcmp(get->buf, item->body, get->len)) || PLANTED("sweeper-without-fence"))
		return mend(s, item, get, why);
	return rc_fail(RC_FENCED, why, "'%s' holds other bytes than event '%s' has", item->key, item->event_id);
}

/* A contradiction counts more than all else. */
static enum rc worse(enum rc worst, enum rc rc, const struct why *reason, struct why *why)
{
	return rc != RC_OK && (worst == RC_OK || rc == RC_FENCED) ? rc_fail(rc, why, "%s", reason->text) : worst;
}

/* Look at those whose keys are taken, or may be: all at once, each may take its time. */
static enum rc look(struct store *s, struct deliver_item *items, const size_t *which, size_t n, size_t *contradicted_r,
		    struct why *why)
{
	_cleanup_(freep) struct object_get *gets = calloc(n, sizeof(*gets));
	if (!gets)
		return rc_fail(RC_NO_MEMORY, why, "no memory to look at %zu events", n);
	for (size_t i = 0; i < n; i++)
		gets[i].key = items[which[i]].key;
	STORE_COUNT(s, gets, n);
	enum rc rc = object_get(s->objects, gets, n), worst = RC_OK;
	for (size_t i = 0; i < n; i++) {
		struct why reason = { "" };
		rc = compare(s, &items[which[i]], &gets[i], &reason);
		if (rc == RC_FENCED)
			*contradicted_r = which[i];
		worst = worse(worst, rc, &reason, why);
		if (gets[i].rc == RC_OK)
			free(gets[i].buf);
	}
	return worst;
}

struct tries {
	struct object_put *puts;
	size_t *which;	/* item of each */
	size_t n;
};

static void tries_release(struct tries *t)
{
	free(t->puts);
	free(t->which);
}

/* One try for all that is missing. RC_TEMPORARY or RC_NO_SPACE: some are still missing. */
static enum rc try_all(struct store *s, struct deliver_item *items, size_t n, uint64_t deadline_ms, uint64_t look_ms,
		       size_t *contradicted_r, struct why *why)
{
	_cleanup_(tries_release) struct tries t = { malloc(n * sizeof(*t.puts)), malloc(n * sizeof(*t.which)), 0 };
	if (!t.puts || !t.which)
		return rc_fail(RC_NO_MEMORY, why, "no memory to store %zu events", n);

	for (size_t i = 0; i < n; i++)
		if (!items[i].stored) {
			t.which[t.n] = i;
			t.puts[t.n++] = (struct object_put){ .key = items[i].key, .buf = items[i].body, .len = items[i].len,
							     .recorded_us = items[i].recorded_us };
		}
	STORE_COUNT(s, puts, t.n);
	if (PLANTED("sweeper-without-fence"))
		deadline_ms = clock_boot_ms() + s->options.timeout_ms;
	enum rc rc = object_put(s->objects, t.puts, t.n, deadline_ms), worst = RC_OK;
	size_t looks = 0;
	for (size_t i = 0; i < t.n; i++) {
		rc = t.puts[i].rc;
		if (rc == RC_OK)
			stored(s, &items[t.which[i]]);
		else if (rc == RC_EXISTS || (rc == RC_UNCERTAIN && clock_boot_ms() < look_ms))
			t.which[looks++] = t.which[i];
		else	/* of an answer that was lost: another PUT is as safe, and keeps to the deadline */
			worst = worse(worst, rc == RC_UNCERTAIN ? RC_TEMPORARY : rc, &t.puts[i].why, why);
	}
	if (!looks)
		return worst;
	struct why reason = { "" };
	return worse(worst, look(s, items, t.which, looks, contradicted_r, &reason), &reason, why);
}

enum rc store_deliver(struct store *s, struct deliver_item *items, size_t n, uint64_t deadline_ms, uint64_t look_ms,
		      size_t *contradicted_r, bool (*cancelled)(void *), void *arg, struct why *why)
{
	uint64_t began = clock_boot_us();
	unsigned pause = RETRY_FIRST_MS;
	enum rc rc = RC_OK;

	while (n) {
		struct why reason = { "" };
		rc = try_all(s, items, n, deadline_ms, look_ms, contradicted_r, &reason);
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
