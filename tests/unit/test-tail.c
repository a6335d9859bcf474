/* SPDX-License-Identifier: Apache-2.0 */
/* test-tail.c - the tail of a directory store with a real ledger: order, what waits, what is missing, what it holds in memory. */
#include "config.h"
#include "store/tail.h"

#include <check.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/key.h"
#include "ledger/ledger.h"
#include "object/object.h"

#define SECOND INT64_C(1000000)
#define EVENTS 20000

static char dir[64];
static struct layout_store info;
static struct store *store;
static struct ledger *ledger;		/* the store's */
static struct object_store *objects;	/* the store's */
static _Atomic int64_t now_us;	/* pages are read ahead by a thread */

/* What was appended, and what of it was told. */
static struct known {
	char type[16], id[16];
	uint64_t number;
	int64_t recorded_us;
	unsigned told;
} known[EVENTS];
static size_t n_known, n_told;

/* The parts' own operations, some of them exchanged. */
static const struct ledger_ops *ledger_ops;
static const struct object_ops *object_ops;
static struct ledger_ops tampered_ledger;
static struct object_ops tampered_objects;
static bool strips;		/* rows come without their pieces: bodies are read from the objects */
static _Atomic unsigned gets, gets_to_fail;
static _Atomic int get_rc;	/* what those that fail get */
static const char *denied_key;

struct strip {
	ledger_row_fn *fn;
	void *arg;
};

static bool strip_row(void *arg, const struct ledger_row *row)
{
	const struct strip *s = arg;
	struct ledger_row bare = *row;
	bare.head = bare.tail = NULL;
	bare.head_len = bare.tail_len = 0;
	return s->fn(s->arg, &bare);
}

static enum rc tampered_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced, struct why *why)
{
	struct strip s = { fn, arg };
	return strips ? ledger_ops->read(l, q, strip_row, &s, fenced, why) : ledger_ops->read(l, q, fn, arg, fenced, why);
}

static void tampered_get(struct object_store *o, struct object_get *items, size_t n)
{
	object_ops->get(o, items, n);
	for (size_t i = 0; i < n; i++) {
		atomic_fetch_add(&gets, 1);
		bool fails = atomic_load(&gets_to_fail) > 0;
		bool denied = denied_key && !strcmp(items[i].key, denied_key);
		if (!fails && !denied)
			continue;
		if (fails)
			atomic_fetch_sub(&gets_to_fail, 1);
		free(items[i].buf);
		items[i].buf = NULL;
		items[i].rc = rc_fail(denied ? RC_DENIED : (enum rc)atomic_load(&get_rc), &items[i].why, "injected on get");
	}
}

static int64_t test_clock(void)
{
	return now_us;
}

/* ------------------------------------------------------------------ a store */

static void open_store(void)
{
	struct why why = { "" };
	char path[128];
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(object_dir_new(&objects, dir, &why), RC_OK);
	object_ops = objects->ops;
	tampered_objects = *object_ops;
	tampered_objects.get = tampered_get;
	objects->ops = &tampered_objects;
	ck_assert_msg(ledger_sqlite_open(&ledger, path, info.uuid, &why) == RC_OK, "%s", why.text);
	ledger_ops = ledger->ops;
	tampered_ledger = *ledger_ops;
	tampered_ledger.read = tampered_read;
	ledger->ops = &tampered_ledger;
	struct store_options options = { .timeout_ms = 20000, .fresh_ms = 1000, .gap_wait_ms = 5000, .max_event = 4 << 20 };
	ck_assert_msg(store_new(&store, objects, ledger, &info, &options, &why) == RC_OK, "%s", why.text);
}

static void seed(void)
{
	struct why why = { "" };
	ck_assert_msg(store_seed(store, NULL, NULL, &why) == RC_OK, "%s", why.text);
}

static void new_ledger(void)
{
	char path[128];
	static const char *const ends[] = { "", "-wal", "-shm" };
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		snprintf(path, sizeof(path), "%s/.evfs/ledger.db%s", dir, ends[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_create(path, info.uuid, NULL), RC_OK);
}

static void setup(void)
{
	_cleanup_(object_freep) struct object_store *o = NULL;
	now_us = INT64_C(1766048706000123);
	clock_set(test_clock);
	snprintf(dir, sizeof(dir), "/tmp/test-tail-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(object_dir_new(&o, dir, NULL), RC_OK);
	ck_assert_int_eq(layout_create(o, &info, NULL), RC_OK);
	new_ledger();
	open_store();
	seed();
}

static void teardown(void)
{
	char command[128];
	store_free(&store);
	clock_set(NULL);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

/* n events of one append: they share their time. size: of each one's data, about. */
static void append_of(const char *type, const char *id, size_t n, size_t size, enum store_ack ack)
{
	_cleanup_(freep) struct draft *drafts = calloc(n, sizeof(*drafts));
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct why why = { "" };
	struct json_value doc;
	buf_add_text(&text, "{\"event_type\":\"Happened\",\"data\":{\"x\":\"");
	for (size_t i = 0; i < size; i++)
		buf_add_char(&text, 'x');
	buf_add_text(&text, "\"}}");
	ck_assert_int_eq(json_parse(text.data, text.len, JSON_STRICT, &doc, &why), RC_OK);
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(draft_from_document(&doc, &drafts[i], &why) == RC_OK, "%s", why.text);
	struct store_append a = { .type = type, .id = id, .drafts = drafts, .n = n, .ack = &ack };
	ck_assert_msg(store_append(store, &a, &why) == RC_OK, "%s", why.text);
	for (size_t i = 0; i < n; i++) {
		draft_release(&drafts[i]);
		struct known *k = &known[n_known++];
		*k = (struct known){ .number = a.first + i, .recorded_us = a.recorded_us };
		snprintf(k->type, sizeof(k->type), "%s", type);
		snprintf(k->id, sizeof(k->id), "%s", id);
	}
}

static void append(const char *type, const char *id, size_t n)
{
	append_of(type, id, n, 1, STORE_ACK_STORED);
}

/* Committed, and not yet in the object store. */
static void commit(const char *type, const char *id, size_t n)
{
	append_of(type, id, n, 1, STORE_ACK_COMMITTED);
}

/* Whatever is stored is settled; whatever is committed is stored. */
static void settle(void)
{
	size_t n;
	struct why why = { "" };
	ck_assert_msg(store_sweep(store, true, &n, &why) == RC_OK, "%s", why.text);
}

/* ------------------------------------------------------------------ a tail */

/* page: rows of one question, 0 as usual. */
static struct tail *tail_by(const struct checkpoint *c, size_t bytes, size_t page)
{
	struct tail *t = NULL;
	struct why why = { "" };
	struct checkpoint none;
	struct tail_options o = { .ahead_bytes = bytes, .page = page };
	checkpoint_init(&none);
	ck_assert_msg(tail_new(&t, store, &o, c ? c : &none, &why) == RC_OK, "%s", why.text);
	return t;
}

static struct tail *tail_of(const struct checkpoint *c, size_t bytes)
{
	return tail_by(c, bytes, 0);
}

static struct tail_state look(struct tail *t)
{
	struct tail_state state;
	struct why why = { "" };
	enum rc rc = tail_look(t, &state, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	ck_assert(state.leased);
	return state;
}

static struct known *find(const char *type, const char *id, uint64_t number)
{
	for (size_t i = 0; i < n_known; i++)
		if (known[i].number == number && !strcmp(known[i].id, id) && !strcmp(known[i].type, type))
			return &known[i];
	ck_abort_msg("'%s/%s' %" PRIu64 " was never appended", type, id, number);
	return NULL;
}

static bool is_held(struct tail *t, const struct known *k)
{
	const struct checkpoint_held *held;
	size_t n = tail_held(t, &held);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(held[i].type, k->type) && !strcmp(held[i].id, k->id))
			return k->number >= held[i].next;
	return false;
}

/* What a checkpoint made of this event would pass over was told, and each stream is in order. */
static void check_told(struct tail *t, const struct tail_event *e)
{
	struct known *k = find(e->type, e->id, e->number);
	ck_assert_int_eq(e->recorded_us, k->recorded_us);
	ck_assert_int_eq(e->safe_us % 1000, 0);
	k->told++;
	n_told++;
	if (k->number > 1)
		ck_assert_msg(find(e->type, e->id, e->number - 1)->told, "'%s/%s' %" PRIu64 " was told before the one before it", e->type,
			      e->id, e->number);
	if (e->rc == RC_OK) {
		char end[48];
		int n = snprintf(end, sizeof(end), "\"sequence_number\":%" PRIu64 "}", e->number);
		ck_assert_int_eq(memcmp(e->body + e->len - n, end, (size_t)n), 0);
		ck_assert_ptr_nonnull(memmem(e->body, e->len, e->event_id, strlen(e->event_id)));
	} else {
		ck_assert_ptr_null(e->body);
		ck_assert_str_ne(e->why.text, "");
	}
	for (size_t i = n_known > 300 ? n_known : 0; i < n_known; i++)
		ck_assert_msg(known[i].recorded_us >= e->safe_us || known[i].told || is_held(t, &known[i]),
			      "'%s/%s' %" PRIu64 " would be passed over", known[i].type, known[i].id, known[i].number);
}

static const struct tail_event *next(struct tail *t)
{
	const struct tail_event *e = NULL;
	struct why why = { "" };
	enum rc rc = tail_next(t, &e, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	if (e)
		check_told(t, e);
	return e;
}

/* All that there is before the horizon. *safe_us: of the last one. */
static size_t drain(struct tail *t, int64_t *safe_us)
{
	size_t n = 0;
	for (const struct tail_event *e; (e = next(t)); n++)
		if (safe_us)
			*safe_us = e->safe_us;
	return n;
}

static size_t look_and_drain(struct tail *t)
{
	now_us += SECOND;	/* what was appended just now is before the horizon then */
	look(t);
	return drain(t, NULL);
}

static void all_told_once(void)
{
	for (size_t i = 0; i < n_known; i++)
		ck_assert_msg(known[i].told == 1, "'%s/%s' %" PRIu64 " was told %u times", known[i].type, known[i].id, known[i].number,
			      known[i].told);
}

/* ------------------------------------------------------------------ order */

START_TEST(events_are_told_by_time_and_within_a_stream_by_number)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	strips = _i;	/* from the ledger, from the objects */
	for (int i = 0; i < 20; i++) {
		append("Order", i % 2 ? "a" : "b", 3);
		append("Item", "c", 1);
		now_us += i % 3 ? 400 : 1500;
	}
	settle();
	now_us += SECOND;
	struct tail_state state = look(t);
	ck_assert_int_eq(state.horizon_us % 1000, 0);
	ck_assert(!state.waits);
	int64_t last = 0, safe_us = 0;
	for (const struct tail_event *e; (e = next(t)); last = e->recorded_us, safe_us = e->safe_us) {
		ck_assert_int_ge(e->recorded_us, last);
		ck_assert_int_eq(e->rc, RC_OK);
		ck_assert_int_ge(e->safe_us, safe_us);
		ck_assert(!e->held);
		ck_assert_ptr_nonnull(strstr(e->key, "streams/"));
	}
	all_told_once();
	ck_assert_int_eq(safe_us, state.horizon_us);
	ck_assert_uint_eq(look_and_drain(t), 0);
	append("Order", "a", 1);
	settle();
	ck_assert_uint_eq(look_and_drain(t), 1);
}
END_TEST

START_TEST(nothing_is_told_twice_after_the_checkpoint_of_any_event)
{
	for (int i = 0; i < 10; i++) {
		append("Order", i % 2 ? "a" : "b", 2);
		now_us += i % 3 ? 400 : 1500;
	}
	settle();
	now_us += SECOND;
	for (size_t stop = 1; stop < n_known; stop++) {
		_cleanup_(checkpoint_release) struct checkpoint c;
		checkpoint_init(&c);
		for (size_t i = 0; i < n_known; i++)
			known[i].told = 0;
		_cleanup_(tail_freep) struct tail *t = tail_of(&c, 0);
		look(t);
		int64_t safe_us = 0;
		for (size_t i = 0; i < stop; i++)
			safe_us = next(t)->safe_us;
		c.last_ms = safe_us / 1000 - 1;
		_cleanup_(tail_freep) struct tail *again = tail_of(&c, 0);
		look(again);
		for (const struct tail_event *e; (e = next(again)); )
			ck_assert_int_ge(e->recorded_us, safe_us);
		for (size_t i = 0; i < n_known; i++)
			ck_assert_uint_ge(known[i].told, 1);
	}
}
END_TEST

START_TEST(many_events_of_one_time_are_paged)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	char id[8];
	for (int i = 0; i < 13; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		append_of("Order", id, 490, 1, STORE_ACK_STORED);
	}
	settle();
	strips = true;
	ck_assert_uint_eq(look_and_drain(t), n_known);
	all_told_once();
}
END_TEST

/* ------------------------------------------------------------------ what waits */

START_TEST(what_is_not_stored_holds_the_horizon_and_nothing_is_skipped)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	append("Order", "a", 1);
	now_us += 5000;
	commit("Order", "b", 1);
	int64_t waits_us = now_us;
	now_us += 5000;
	append("Order", "c", 1);
	struct why why;
	now_us += SECOND;
	struct tail_state state = look(t);
	/* what is stored and not settled may hold it, too */
	ck_assert_int_le(state.horizon_us, waits_us);
	ck_assert_uint_ge(state.unsettled, 1);
	drain(t, NULL);
	ck_assert_uint_eq(find("Order", "b", 1)->told, 0);
	ck_assert_uint_eq(find("Order", "c", 1)->told, 0);
	(void)why;
	settle();
	look_and_drain(t);
	all_told_once();
}
END_TEST

START_TEST(a_late_stream_waits_alone_and_then_comes_by_number)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	strips = _i;
	append("Order", "late", 2);
	append("Order", "b", 1);
	settle();
	now_us += 5000;
	commit("Order", "late", 3);	/* 3 to 5 */
	now_us += 61 * SECOND;
	/* what is stored behind it waits with it */
	append("Order", "late", 2);
	append("Order", "b", 1);
	struct tail_state state = look(t);
	ck_assert_uint_eq(state.late, 1);
	drain(t, NULL);
	ck_assert_uint_eq(find("Order", "late", 2)->told, 1);
	ck_assert_uint_eq(find("Order", "late", 3)->told, 0);
	const struct checkpoint_held *held;
	ck_assert_uint_eq(tail_held(t, &held), 1);
	ck_assert_str_eq(held[0].type, "Order");
	ck_assert_str_eq(held[0].id, "late");
	ck_assert_uint_eq(held[0].next, 3);

	_cleanup_(checkpoint_release) struct checkpoint c;
	checkpoint_init(&c);
	c.last_ms = state.horizon_us / 1000 - 1;
	c.held = calloc(1, sizeof(*c.held));
	c.held[0] = (struct checkpoint_held){ strdup("Order"), strdup("late"), 3 };
	c.n_held = 1;

	settle();
	now_us += SECOND;
	look(t);
	unsigned by_number = 0;
	for (const struct tail_event *e; (e = next(t)); )
		by_number += e->held;
	ck_assert_uint_ge(by_number, 3);
	all_told_once();
	ck_assert_uint_eq(tail_held(t, &held), 0);
	append("Order", "late", 1);
	settle();
	now_us += SECOND;
	look(t);
	const struct tail_event *e = next(t);
	ck_assert_ptr_nonnull(e);
	ck_assert(!e->held);

	/* as whoever begins from the checkpoint of that time has it */
	_cleanup_(tail_freep) struct tail *again = tail_of(&c, 0);
	look(again);
	drain(again, NULL);
	for (uint64_t n = 3; n <= 8; n++)
		ck_assert_uint_eq(find("Order", "late", n)->told, 2);
	ck_assert_uint_eq(find("Order", "late", 2)->told, 1);
	ck_assert_uint_eq(tail_held(again, &held), 0);
}
END_TEST

START_TEST(who_waits_is_held_until_its_last_event_was_told)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	const struct checkpoint_held *held;
	commit("Order", "late", 3);
	now_us += 61 * SECOND;
	look(t);
	ck_assert_uint_eq(tail_held(t, &held), 1);
	ck_assert_uint_eq(held[0].next, 1);
	settle();
	now_us += SECOND;
	look(t);
	for (uint64_t n = 1; n <= 3; n++) {
		ck_assert_uint_eq(tail_held(t, &held), 1);
		ck_assert_uint_eq(held[0].next, n);
		ck_assert_ptr_nonnull(next(t));
	}
	ck_assert_uint_eq(tail_held(t, &held), 0);
	ck_assert_ptr_null(next(t));
}
END_TEST

START_TEST(a_held_stream_that_nothing_is_behind_of_goes_on_by_time)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	const struct checkpoint_held *held;
	checkpoint_init(&c);
	append("Order", "a", 4);
	settle();
	now_us += SECOND;
	/* nothing of it was delivered, by time or by number, but for what lies before `next` */
	known[0].told = known[1].told = 1;
	c.last_ms = now_us / 1000 - 1;
	c.held = calloc(2, sizeof(*c.held));
	c.held[0] = (struct checkpoint_held){ strdup("Order"), strdup("a"), 3 };
	c.held[1] = (struct checkpoint_held){ strdup("Order"), strdup("gone"), 1 };
	c.n_held = 2;
	append("Order", "a", 2);
	settle();
	_cleanup_(tail_freep) struct tail *t = tail_of(&c, 0);
	look_and_drain(t);
	all_told_once();
	ck_assert_uint_eq(tail_held(t, &held), 0);
}
END_TEST

START_TEST(more_streams_than_a_checkpoint_can_name_hold_the_horizon)
{
	enum { GONE = CHECKPOINT_HELD_MAX - 20, LATE = 40 };
	_cleanup_(checkpoint_release) struct checkpoint c;
	const struct checkpoint_held *held;
	char id[16];
	checkpoint_init(&c);
	c.held = calloc(GONE, sizeof(*c.held));
	for (c.n_held = 0; c.n_held < GONE; c.n_held++) {
		snprintf(id, sizeof(id), "gone-%zu", c.n_held);
		c.held[c.n_held] = (struct checkpoint_held){ strdup("Order"), strdup(id), 1 };
	}
	for (int i = 0; i < LATE; i++) {
		snprintf(id, sizeof(id), "late-%d", i);
		commit("Order", id, 1);
		now_us += 2000;
	}
	append("Order", "b", 1);
	now_us += 61 * SECOND;
	_cleanup_(tail_freep) struct tail *t = tail_of(&c, 0);
	struct tail_state state = look(t);
	ck_assert_int_eq(state.horizon_us, find("Order", "late-20", 1)->recorded_us / 1000 * 1000);
	ck_assert_uint_eq(drain(t, NULL), 0);
	ck_assert_uint_eq(tail_held(t, &held), 20);	/* nothing is behind of those that are gone */
	state = look(t);
	ck_assert_int_gt(state.horizon_us, find("Order", "late-39", 1)->recorded_us);
	drain(t, NULL);
	ck_assert_uint_ge(tail_held(t, &held), LATE);
	settle();
	look_and_drain(t);
	look_and_drain(t);
	all_told_once();
	ck_assert_uint_eq(tail_held(t, &held), 0);
}
END_TEST

/* Streams become late and are settled in turn, checked against a model after each step. With pages of three rows, the next one is read ahead. */
START_TEST(any_order_of_commits_and_settles_keeps_each_stream_in_order)
{
	unsigned state = 0x9e3779b9u * (unsigned)(_i + 1);
	_cleanup_(tail_freep) struct tail *t = tail_by(NULL, 1 << 16, _i < 24 ? 0 : 3);
	strips = _i % 2;
	for (int i = 0; i < 60; i++) {
		char id[8];
		state = state * 1664525u + 1013904223u;
		unsigned r = state >> 16;
		snprintf(id, sizeof(id), "s%u", r % 4);
		switch (r / 4 % 6) {
		case 0:
		case 1:
			append("Order", id, 1 + r / 32 % 3);
			break;
		case 2:
			commit("Order", id, 1 + r / 32 % 3);
			break;
		case 3:
			settle();
			break;
		case 4:
			now_us += 61 * SECOND;
			break;
		default:
			look(t);
			for (unsigned n = r / 32 % 8; n && next(t); n--)
				;
		}
		now_us += r / 64 % 3 * 700;
	}
	settle();
	look_and_drain(t);
	look_and_drain(t);
	all_told_once();
}
END_TEST

/* What of a stream is not settled yet. */
struct open_rows {
	struct {
		int64_t stream;
		uint64_t number;
		char id[64];
	} rows[64];
	size_t n;
};

static bool see_open(void *arg, const struct ledger_row *row)
{
	struct open_rows *o = arg;
	if (row->settled || row->span)
		return true;
	o->rows[o->n].stream = row->stream;
	o->rows[o->n].number = row->number;
	snprintf(o->rows[o->n].id, sizeof(o->rows[o->n].id), "%s", row->event_id);
	return ++o->n < ARRAY_SIZE(o->rows);
}

/* Settle some of them, from the front or from the back. */
static void settle_some(const char *id, size_t n, bool last)
{
	struct open_rows o = { .n = 0 };
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = id };
	struct why why = { "" };
	ck_assert_int_eq(ledger_read(ledger, &q, see_open, &o, NULL, &why), RC_OK);
	for (size_t i = 0; i < n && i < o.n; i++) {
		size_t at = last ? o.n - 1 - i : i;
		struct ledger_ref ref = { o.rows[at].stream, o.rows[at].number, o.rows[at].id };
		ck_assert_int_eq(ledger_settle(ledger, &ref, 1, &why), RC_OK);
	}
}

/* What a publisher saves once safe_us was told. */
static void checkpoint_of(struct tail *t, int64_t safe_us, struct checkpoint *c)
{
	const struct checkpoint_held *held;
	size_t n = tail_held(t, &held);
	checkpoint_release(c);
	checkpoint_init(c);
	c->last_ms = safe_us ? safe_us / 1000 - 1 : 0;
	c->held = calloc(n + 1, sizeof(*c->held));
	for (; c->n_held < n; c->n_held++)
		c->held[c->n_held] = (struct checkpoint_held){ strdup(held[c->n_held].type), strdup(held[c->n_held].id),
							       held[c->n_held].next };
}

/* A late stream has a younger unsettled event, which holds the horizon once the stream is late no more: also for who begins then. */
START_TEST(a_horizon_that_fell_passes_over_nothing)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	const struct checkpoint_held *held;
	struct tail *t = tail_of(NULL, 0);
	checkpoint_init(&c);
	commit("Order", "late", 1);
	now_us += 61 * SECOND;
	commit("Order", "late", 1);
	now_us += 3 * SECOND;
	append("Order", "b", 1);
	settle_some("b", 1, false);
	now_us += SECOND;
	int64_t high_us = look(t).horizon_us, safe_us = 0;
	drain(t, &safe_us);
	ck_assert_uint_eq(find("Order", "b", 1)->told, 1);
	ck_assert_uint_eq(tail_held(t, &held), 1);
	checkpoint_of(t, safe_us, &c);
	if (_i)
		tail_free(&t);
	settle_some("late", 1, false);
	if (_i) {
		t = tail_of(&c, 0);
		ck_assert_int_lt(look(t).horizon_us, high_us);
	} else {
		look(t);
	}
	drain(t, NULL);
	settle();
	look_and_drain(t);
	look_and_drain(t);
	all_told_once();
	tail_free(&t);
}
END_TEST

START_TEST(whatever_is_settled_first_and_wherever_it_begins_again_nothing_is_passed_over)
{
	static const size_t pages[] = { 0, 1, 2, 3, 7 };
	_cleanup_(checkpoint_release) struct checkpoint c;
	unsigned state = 0x9e3779b9u * (unsigned)(_i + 1);
	size_t page = pages[(size_t)_i % ARRAY_SIZE(pages)];
	struct tail *t = tail_by(NULL, 1 << 16, page);
	bool restarted = false, looked = false;
	int64_t safe_us = 0;
	checkpoint_init(&c);
	for (int i = 0; i < 150; i++) {
		char id[8];
		state = state * 1664525u + 1013904223u;
		unsigned r = state >> 12, more = 1 + r / 64 % 3;
		snprintf(id, sizeof(id), "s%u", r % 5);
		switch (r / 5 % 10) {
		case 0:
			append("Order", id, more);
			break;
		case 1:
		case 2:
		case 3:
			commit("Order", id, more);
			break;
		case 4:
			if (r / 64 % 4 == 0)
				settle();
			break;
		case 5:
			settle_some(id, more, r / 1024 % 3 == 0);
			break;
		case 6:
			now_us += (r / 64 % 2 ? 61 : 20) * SECOND;
			break;
		case 7:
			if (!looked || r / 64 % 3)
				break;
			checkpoint_of(t, safe_us, &c);
			tail_free(&t);
			t = tail_by(&c, 1 << 16, page);
			restarted = true;
			looked = false;
			break;
		default:
			look(t);
			looked = true;
			const struct tail_event *e;
			for (unsigned n = r / 64 % 12; n && (e = next(t)); n--)
				safe_us = e->safe_us > safe_us ? e->safe_us : safe_us;
		}
		now_us += r / 256 % 3 * 700;
	}
	settle();
	for (int i = 0; i < 3; i++)
		look_and_drain(t);
	for (size_t i = 0; i < n_known; i++)
		ck_assert_msg(known[i].told == 1 || (restarted && known[i].told), "'%s/%s' %" PRIu64 " was told %u times", known[i].type,
			      known[i].id, known[i].number, known[i].told);
	tail_free(&t);
}
END_TEST

/* ------------------------------------------------------------------ the ledger is another */

START_TEST(a_ledger_that_was_replaced_is_waited_for)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	struct tail_state state;
	struct why why = { "" };
	struct tail *t = tail_of(NULL, 0);
	checkpoint_init(&c);
	append("Order", "a", 2);
	append("Order", "b", 2);
	settle();
	now_us += SECOND;
	look(t);
	int64_t safe_us = 0;
	ck_assert_uint_eq(drain(t, &safe_us), 4);
	c.last_ms = safe_us / 1000 - 1;
	ck_assert_int_eq(checkpoint_save(objects, CHECKPOINT_KEY, now_us, &c, &why), RC_OK);
	now_us += 10 * SECOND;
	append("Order", "a", 1);	/* stored, not published */
	settle();
	tail_free(&t);
	store_free(&store);

	now_us -= 5 * SECOND;	/* and its clock is behind what was stored */
	new_ledger();
	open_store();
	t = tail_of(&c, 0);
	ck_assert_int_eq(tail_look(t, &state, &why), RC_FENCED);
	ck_assert(state.waits);
	const struct tail_event *e;
	ck_assert_int_eq(tail_next(t, &e, &why), RC_FENCED);
	ck_assert_ptr_null(e);
	now_us -= 60 * SECOND;	/* … and even behind the checkpoint */
	seed();
	append("Order", "c", 1);
	settle();
	ck_assert_int_gt(find("Order", "c", 1)->recorded_us / 1000, c.last_ms);
	tail_free(&t);
	/* it was written again, so that a pass under way can't move it */
	c.last_ms++;
	ck_assert_int_eq(checkpoint_save(objects, CHECKPOINT_KEY, now_us, &c, &why), RC_CONFLICT);
	ck_assert_int_eq(checkpoint_load(objects, CHECKPOINT_KEY, now_us, &c, &why), RC_OK);
	t = tail_of(&c, 0);
	now_us += 120 * SECOND;
	ck_assert_uint_eq(look_and_drain(t), 2);
	all_told_once();
	tail_free(&t);
}
END_TEST

START_TEST(a_seeding_under_a_tail_that_reads_skips_nothing)
{
	struct tail_state state;
	struct ledger_state l = { .count = false };
	struct why why = { "" };
	struct tail *t = tail_by(NULL, 0, _i ? 50 : 0);
	char id[8];
	for (int i = 0; i < 5; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		append("Order", id, 450);
		now_us += 1000;
	}
	settle();
	now_us += SECOND;
	look(t);
	int64_t safe_us = 0;
	safe_us = next(t)->safe_us;
	/* a seeding of which one stream is seeded: the ledger passes over the others */
	ck_assert_int_eq(ledger_state(ledger, &l, &why), RC_OK);
	ck_assert_int_eq(ledger_seed(ledger, l.identity, l.seeding + 1, false, 0, &why), RC_OK);
	/* what was read before it may be told, and that may be all */
	enum rc rc = RC_OK;
	for (const struct tail_event *e; rc == RC_OK && n_told < n_known; ) {
		rc = tail_next(t, &e, &why);
		ck_assert(rc == RC_FENCED || (rc == RC_OK && e));
		if (e) {
			check_told(t, e);
			safe_us = e->safe_us;
		}
	}
	ck_assert_int_eq(tail_look(t, &state, &why), RC_FENCED);
	ck_assert(state.waits);
	seed();
	ck_assert_int_eq(tail_look(t, &state, &why), RC_FENCED);
	ck_assert(!state.waits);
	tail_free(&t);

	_cleanup_(checkpoint_release) struct checkpoint c;
	checkpoint_init(&c);
	c.last_ms = safe_us / 1000 - 1;
	for (size_t i = 0; i < n_known; i++)
		known[i].told = known[i].recorded_us < safe_us ? 1 : 0;
	t = tail_of(&c, 0);
	look_and_drain(t);
	all_told_once();
	tail_free(&t);
}
END_TEST

/* ------------------------------------------------------------------ objects */

static void path_of(const char *id, uint64_t number, char out[256])
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	key_native_event("Order", id, number, &key);
	snprintf(out, 256, "%s/%s", dir, buf_text(&key));
}

START_TEST(what_is_missing_foreign_or_archived_is_told_as_such_and_blocks_nothing)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	char path[256], from[256], command[1200];
	static const enum rc expected[] = { RC_OK, RC_NOT_FOUND, RC_OK, RC_CORRUPT, RC_CORRUPT, RC_DENIED, RC_OK };
	strips = true;
	append("Order", "a", 7);
	settle();
	path_of("a", 2, path);
	ck_assert_int_eq(unlink(path), 0);
	path_of("a", 4, path);
	path_of("a", 3, from);
	snprintf(command, sizeof(command), "rm -f '%s'; cp '%s' '%s'", path, from, path);
	ck_assert_int_eq(system(command), 0);
	path_of("a", 5, path);
	snprintf(command, sizeof(command), "rm -f '%s'; echo '{' > '%s'", path, path);
	ck_assert_int_eq(system(command), 0);
	key_native_event("Order", "a", 6, &key);
	denied_key = buf_text(&key);
	now_us += SECOND;
	look(t);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct tail_event *e = next(t);
		ck_assert_ptr_nonnull(e);
		ck_assert_msg(e->rc == expected[i], "%zu: %s, expected %s", i + 1, rc_name(e->rc), rc_name(expected[i]));
	}
	ck_assert_ptr_null(next(t));
	all_told_once();
	denied_key = NULL;
}
END_TEST

START_TEST(objects_that_can_not_be_read_now_are_asked_for_again)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	const struct tail_event *e;
	struct why why = { "" };
	strips = true;
	append("Order", "a", 300);
	settle();
	now_us += SECOND;
	look(t);
	atomic_store(&get_rc, RC_TEMPORARY);
	atomic_store(&gets_to_fail, 150);
	unsigned failures = 0;
	for (enum rc rc = RC_OK; n_told < n_known; failures += rc != RC_OK) {
		rc = tail_next(t, &e, &why);
		ck_assert(rc == RC_OK || rc == RC_TEMPORARY);
		ck_assert_uint_lt(failures, 1000);
		if (rc == RC_OK) {
			ck_assert_ptr_nonnull(e);
			ck_assert_int_eq(e->rc, RC_OK);
			check_told(t, e);
		}
	}
	ck_assert_uint_gt(failures, 0);
	all_told_once();
}
END_TEST

START_TEST(credentials_that_are_refused_for_all_are_no_fault_of_an_event)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 0);
	const struct tail_event *e;
	struct why why = { "" };
	char path[128], away[128];
	strips = true;
	append("Order", "a", 1);
	settle();
	now_us += SECOND;
	look(t);
	snprintf(path, sizeof(path), "%s/" LAYOUT_STORE_KEY, dir);
	snprintf(away, sizeof(away), "%s/away", dir);
	ck_assert_int_eq(rename(path, away), 0);
	atomic_store(&get_rc, RC_DENIED);
	atomic_store(&gets_to_fail, 1);
	ck_assert_int_eq(tail_next(t, &e, &why), RC_TEMPORARY);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(rename(away, path), 0);
	ck_assert_uint_eq(drain(t, NULL), 1);
	ck_assert_int_eq(known[0].told, 1);
}
END_TEST

START_TEST(bodies_ahead_are_bounded)
{
	enum { SIZE = 100000, AHEAD = 2000000 };
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, AHEAD);
	strips = _i;
	for (int i = 0; i < 10; i++)
		append_of("Order", "a", 10, SIZE, STORE_ACK_STORED);
	settle();
	now_us += SECOND;
	look(t);
	unsigned before = atomic_load(&gets);
	ck_assert_ptr_nonnull(next(t));
	for (int i = 0; i < 50 && strips; i++)	/* whoever fetches too much has the time for it */
		clock_sleep_ms(5);
	ck_assert_uint_le((atomic_load(&gets) - before) * SIZE, AHEAD);
	if (strips)
		ck_assert_uint_ge(atomic_load(&gets) - before, 10);
	ck_assert_uint_eq(1 + drain(t, NULL), 100);
	all_told_once();
}
END_TEST

START_TEST(one_event_larger_than_all_room_is_told)
{
	_cleanup_(tail_freep) struct tail *t = tail_of(NULL, 1000);
	strips = _i;
	append_of("Order", "a", 3, 50000, STORE_ACK_STORED);
	settle();
	ck_assert_uint_eq(look_and_drain(t), 3);
	all_told_once();
}
END_TEST

/* ------------------------------------------------------------------ the lease */

START_TEST(one_tail_is_active_and_the_other_waits)
{
	struct tail *a = NULL, *b = NULL;
	struct tail_state state;
	struct checkpoint none;
	struct why why = { "" };
	struct tail_options o = { .lease = "p", .token = "A", .lease_ms = 4000 };
	checkpoint_init(&none);
	append("Order", "a", 1);
	settle();
	now_us += SECOND;
	ck_assert_int_eq(tail_new(&a, store, &o, &none, &why), RC_OK);
	o.token = "B";
	ck_assert_int_eq(tail_new(&b, store, &o, &none, &why), RC_OK);
	uint64_t before = clock_boot_ms();
	look(a);
	ck_assert_int_eq(tail_look(a, &state, &why), RC_OK);
	ck_assert(state.leased);
	ck_assert_str_eq(state.holder, "A");
	ck_assert_uint_ge(state.leased_until_ms, before + 4000);
	ck_assert_int_eq(tail_look(b, &state, &why), RC_OK);
	ck_assert(!state.leased);
	ck_assert_str_eq(state.holder, "A");
	const struct tail_event *e;
	ck_assert_int_eq(tail_next(b, &e, &why), RC_OK);
	ck_assert_ptr_null(e);
	tail_release(a);
	ck_assert_int_eq(tail_look(b, &state, &why), RC_OK);
	ck_assert(state.leased);
	ck_assert_uint_eq(drain(b, NULL), 1);
	tail_free(&a);
	tail_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ the walk */

struct walked {
	size_t n, stop;
	char type[16], id[16];
	uint64_t number;
};

static bool walk_event(void *arg, const struct tail_event *e)
{
	struct walked *w = arg;
	bool same = !strcmp(w->type, e->type) && !strcmp(w->id, e->id);
	ck_assert(e->rc == RC_OK);
	if (same)
		ck_assert_uint_gt(e->number, w->number);
	snprintf(w->type, sizeof(w->type), "%s", e->type);
	snprintf(w->id, sizeof(w->id), "%s", e->id);
	w->number = e->number;
	find(e->type, e->id, e->number)->told++;
	return ++w->n != w->stop;
}

START_TEST(a_walk_tells_every_event_of_the_store_once)
{
	struct why why = { "" };
	char id[8];
	strips = _i;
	int64_t between = 0;
	for (int i = 0; i < 540; i++) {
		snprintf(id, sizeof(id), "s%d", i % 520);
		append(i % 7 ? "Order" : "Item", id, i == 510 ? 480 : 1);
		now_us += 10;
		if (i == 300)
			between = now_us;
	}
	settle();
	struct walked w = { .n = 0 };
	ck_assert_msg(tail_walk(store, NULL, 0, INT64_MAX, walk_event, &w, &why) == RC_OK, "%s", why.text);
	ck_assert_uint_eq(w.n, n_known);
	all_told_once();

	size_t items = 0, before = 0;
	for (size_t i = 0; i < n_known; i++) {
		items += !strcmp(known[i].type, "Item");
		before += known[i].recorded_us < between;
	}
	w = (struct walked){ .n = 0 };
	ck_assert_int_eq(tail_walk(store, "Item", 0, INT64_MAX, walk_event, &w, &why), RC_OK);
	ck_assert_uint_eq(w.n, items);
	w = (struct walked){ .n = 0 };
	ck_assert_int_eq(tail_walk(store, NULL, 0, between, walk_event, &w, &why), RC_OK);
	ck_assert_uint_eq(w.n, before);
	w = (struct walked){ .n = 0 };
	ck_assert_int_eq(tail_walk(store, NULL, between, INT64_MAX, walk_event, &w, &why), RC_OK);
	ck_assert_uint_eq(w.n, n_known - before);
	w = (struct walked){ .stop = 5 };
	ck_assert_int_eq(tail_walk(store, NULL, 0, INT64_MAX, walk_event, &w, &why), RC_OK);
	ck_assert_uint_eq(w.n, 5);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tail");
	TCase *tc = tcase_create("tail");
	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, events_are_told_by_time_and_within_a_stream_by_number, 0, 2);
	tcase_add_test(tc, nothing_is_told_twice_after_the_checkpoint_of_any_event);
	tcase_add_test(tc, many_events_of_one_time_are_paged);
	tcase_add_test(tc, what_is_not_stored_holds_the_horizon_and_nothing_is_skipped);
	tcase_add_loop_test(tc, a_late_stream_waits_alone_and_then_comes_by_number, 0, 2);
	tcase_add_test(tc, who_waits_is_held_until_its_last_event_was_told);
	tcase_add_test(tc, a_held_stream_that_nothing_is_behind_of_goes_on_by_time);
	tcase_add_test(tc, more_streams_than_a_checkpoint_can_name_hold_the_horizon);
	tcase_add_loop_test(tc, any_order_of_commits_and_settles_keeps_each_stream_in_order, 0, 64);
	tcase_add_loop_test(tc, a_horizon_that_fell_passes_over_nothing, 0, 2);
	tcase_add_loop_test(tc, whatever_is_settled_first_and_wherever_it_begins_again_nothing_is_passed_over, 0, 100);
	tcase_add_test(tc, a_ledger_that_was_replaced_is_waited_for);
	tcase_add_loop_test(tc, a_seeding_under_a_tail_that_reads_skips_nothing, 0, 2);
	tcase_add_test(tc, what_is_missing_foreign_or_archived_is_told_as_such_and_blocks_nothing);
	tcase_add_test(tc, objects_that_can_not_be_read_now_are_asked_for_again);
	tcase_add_test(tc, credentials_that_are_refused_for_all_are_no_fault_of_an_event);
	tcase_add_loop_test(tc, bodies_ahead_are_bounded, 0, 2);
	tcase_add_loop_test(tc, one_event_larger_than_all_room_is_told, 0, 2);
	tcase_add_test(tc, one_tail_is_active_and_the_other_waits);
	tcase_add_loop_test(tc, a_walk_tells_every_event_of_the_store_once, 0, 2);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
