/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-store-append.c - what an append costs and how long it may take: the parts are a real
 * directory and a real ledger that count their calls, and dawdle or fail when told to.
 */
#include "config.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/store.h"

#define WRITERS 8

static char dir[64];
static struct layout_store info;
static struct store *store;

/* The parts' own operations, and those that stand before them. */
static const struct ledger_ops *ledger_ops;
static const struct object_ops *object_ops;
static struct ledger_ops before_ledger;
static struct object_ops before_objects;

static struct {
	_Atomic unsigned append, claim, settle, read, state;
	_Atomic unsigned put, get, list, stat, replace;
	_Atomic unsigned claimed;
} calls;
static _Atomic unsigned at_once, at_once_most, largest_put, same_stream;
static _Atomic unsigned wanted;	/* a call waits until so many are under way, but not for ever */
static atomic_bool ledger_hangs, puts_hang, puts_fail, ids_are_gone;
static const char *chosen_id;	/* of what append() appends */
static char committing[WRITERS][32];
static pthread_mutex_t committing_lock = PTHREAD_MUTEX_INITIALIZER;

static void enter(void)
{
	unsigned now = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&at_once_most);
	while (most < now && !atomic_compare_exchange_weak(&at_once_most, &most, now))
		;
	for (int i = 0; i < 2000 && atomic_load(&at_once_most) < atomic_load(&wanted); i++)
		clock_sleep_ms(1);
}

static void leave(void)
{
	atomic_fetch_sub(&at_once, 1);
}

static void wait_until(uint64_t ms)
{
	while (clock_boot_ms() < ms)
		clock_sleep_ms(5);
}

/* Which streams are being committed: none twice by two calls. */
static void mark(const struct ledger_append *items, size_t n, bool begin)
{
	pthread_mutex_lock(&committing_lock);
	for (size_t i = 0; i < n; i++) {
		size_t slot = strtoul(items[i].id + 2, NULL, 10) % WRITERS;
		bool again = false;	/* in one call there may be several */
		for (size_t k = 0; k < i; k++)
			again |= !strcmp(items[i].id, items[k].id);
		if (begin && !again && *committing[slot])
			atomic_fetch_add(&same_stream, 1);
		snprintf(committing[slot], sizeof(committing[slot]), "%s", begin ? items[i].id : "");
	}
	pthread_mutex_unlock(&committing_lock);
}

static enum rc counted_append(struct ledger *l, struct ledger_append *items, size_t n, uint64_t lease_ms, struct why *why)
{
	calls.append++;
	if (ledger_hangs) {
		uint64_t latest = 0;
		for (size_t i = 0; i < n; i++)
			latest = items[i].deadline_ms > latest ? items[i].deadline_ms : latest;
		wait_until(latest);
		for (size_t i = 0; i < n; i++)
			items[i].rc = RC_UNCERTAIN;
		return rc_fail(RC_UNCERTAIN, why, "no answer");
	}
	mark(items, n, true);
	enter();
	enum rc rc = ledger_ops->append(l, items, n, lease_ms, why);
	leave();
	mark(items, n, false);
	return rc;
}

static enum rc counted_claim(struct ledger *l, size_t max, uint64_t lease_ms, bool all, ledger_pending_fn *fn, void *arg,
			     size_t *n_r, struct why *why)
{
	enum rc rc = ledger_ops->claim(l, max, lease_ms, all, fn, arg, n_r, why);
	calls.claim++;
	calls.claimed += rc == RC_OK ? (unsigned)*n_r : 0;
	return rc;
}

static enum rc counted_settle(struct ledger *l, const struct ledger_ref *refs, size_t n, struct why *why)
{
	calls.settle++;
	return ledger_ops->settle(l, refs, n, why);
}

static enum rc counted_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced,
			    struct why *why)
{
	calls.read++;
	if (ids_are_gone && q->what == LEDGER_ID)
		return RC_OK;
	return ledger_ops->read(l, q, fn, arg, fenced, why);
}

static enum rc counted_state(struct ledger *l, struct ledger_state *out, struct why *why)
{
	calls.state++;
	return ledger_ops->state(l, out, why);
}

static void counted_put(struct object_store *s, struct object_put *items, size_t n, uint64_t deadline_ms)
{
	calls.put += (unsigned)n;
	if (n > largest_put)
		largest_put = (unsigned)n;
	if (puts_hang)
		wait_until(deadline_ms);
	for (size_t i = 0; i < n && (puts_hang || puts_fail); i++)
		items[i].rc = rc_fail(puts_hang ? RC_UNCERTAIN : RC_TEMPORARY, &items[i].why, "away");
	if (puts_hang || puts_fail)
		return;
	enter();
	object_ops->put(s, items, n, deadline_ms);
	leave();
}

static void counted_get(struct object_store *s, struct object_get *items, size_t n)
{
	calls.get += (unsigned)n;
	if (puts_hang)
		clock_sleep_ms(300);
	object_ops->get(s, items, n);
}

static enum rc counted_list(struct object_store *s, const char *prefix, const char *after, enum object_list_flags flags,
			    object_list_fn *fn, void *arg, struct why *why)
{
	calls.list++;
	return object_ops->list(s, prefix, after, flags, fn, arg, why);
}

static enum rc counted_stat(struct object_store *s, const char *key, struct object_info *info_r, struct why *why)
{
	calls.stat++;
	return object_ops->stat(s, key, info_r, why);
}

static enum rc counted_replace(struct object_store *s, const char *key, const void *buf, size_t len, const char *tag,
			       char new_tag[OBJECT_TAG_MAX], struct why *why)
{
	calls.replace++;
	return object_ops->replace(s, key, buf, len, tag, new_tag, why);
}

static struct object_store *open_objects(void)
{
	struct object_store *objects = NULL;
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
	object_ops = objects->ops;
	before_objects = *object_ops;
	before_objects.put = counted_put;
	before_objects.get = counted_get;
	before_objects.list = counted_list;
	before_objects.stat = counted_stat;
	before_objects.replace = counted_replace;
	objects->ops = &before_objects;
	return objects;
}

static struct ledger *open_ledger(unsigned writers)
{
	char path[128];
	struct ledger *ledger = NULL;
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_open(&ledger, path, info.uuid, NULL), RC_OK);
	ledger_ops = ledger->ops;
	before_ledger = *ledger_ops;
	before_ledger.append = counted_append;
	before_ledger.claim = counted_claim;
	before_ledger.settle = counted_settle;
	before_ledger.read = counted_read;
	before_ledger.state = counted_state;
	ledger->ops = &before_ledger;
	ledger->writers = writers;
	return ledger;
}

static void open_store(unsigned writers, uint64_t timeout_ms, bool background)
{
	struct store_options options = { .timeout_ms = timeout_ms, .fresh_ms = 1000, .gap_wait_ms = 5000, .max_event = 1 << 20,
					 .background = background };
	struct why why = { "" };
	struct object_store *objects = open_objects();
	ck_assert_int_eq(store_new(&store, objects, open_ledger(writers), &info, &options, &why), RC_OK);
	ck_assert_msg(store_seed(store, NULL, NULL, &why) == RC_OK, "%s", why.text);
	/* the sweeper's first turn takes what dead processes had, whoever has it */
	while (background && !calls.claim)
		clock_sleep_ms(1);
	memset(&calls, 0, sizeof(calls));
}

static void setup(void)
{
	_cleanup_(object_freep) struct object_store *objects = NULL;
	char path[128];
	snprintf(dir, sizeof(dir), "/tmp/test-append-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
	ck_assert_int_eq(layout_create(objects, &info, NULL), RC_OK);
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_create(path, info.uuid, NULL), RC_OK);
	memset(&calls, 0, sizeof(calls));
	memset(committing, 0, sizeof(committing));
	at_once = at_once_most = largest_put = same_stream = wanted = 0;
	ledger_hangs = puts_hang = puts_fail = ids_are_gone = false;
	chosen_id = NULL;
}

static void teardown(void)
{
	char command[128];
	ledger_hangs = puts_hang = puts_fail = ids_are_gone = false;
	chosen_id = NULL;
	store_free(&store);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static enum rc append(const char *id, size_t n, const enum store_ack *ack, struct store_append *a, struct why *why)
{
	static const char doc[] = "{\"event_type\":\"A\",\"data\":{\"n\":1}}";
	struct json_value v;
	_cleanup_(freep) struct draft *drafts = calloc(n, sizeof(*drafts));
	enum rc rc = json_parse(doc, strlen(doc), JSON_STRICT, &v, why);
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		drafts[i] = (struct draft)DRAFT_INIT;
		rc = draft_from_document(&v, &drafts[i], why);
		if (chosen_id)
			drafts[i].event_id = strdup(chosen_id);
	}
	*a = (struct store_append){ .type = "Order", .id = id, .drafts = drafts, .n = n, .ack = ack };
	if (rc == RC_OK)
		rc = store_append(store, a, why);
	a->drafts = NULL;
	for (size_t i = 0; i < n; i++)
		draft_release(&drafts[i]);
	return rc;
}

static uint64_t append_ok(const char *id)
{
	struct store_append a;
	struct why why = { "" };
	ck_assert_msg(append(id, 1, NULL, &a, &why) == RC_OK, "%s", why.text);
	return a.first;
}

struct writer {
	pthread_t thread;
	char id[16];
	unsigned n, failed, backwards;
	uint64_t took_ms;
};

static void *write_all(void *arg)
{
	struct writer *w = arg;
	uint64_t last = 0;
	for (unsigned i = 0; i < w->n; i++) {
		struct store_append a;
		w->failed += append(w->id, 1, NULL, &a, NULL) != RC_OK;
		w->backwards += a.first <= last;
		last = a.first;
	}
	return NULL;
}

static void run_writers(unsigned streams, unsigned n)
{
	static struct writer writers[WRITERS];
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .n = n };
		snprintf(writers[i].id, sizeof(writers[i].id), "o-%u", i % streams);
		ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_all, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		ck_assert_uint_eq(writers[i].failed, 0);
		ck_assert_uint_eq(writers[i].backwards, 0);
	}
}

START_TEST(a_ledger_with_several_writers_commits_several_streams_at_once)
{
	open_store(3, 10000, false);
	before_objects.put = object_ops->put;	/* only commits are looked at */
	wanted = 3;
	run_writers(WRITERS, 40);
	ck_assert_uint_eq(at_once_most, 3);
	ck_assert_uint_eq(same_stream, 0);
	ck_assert_uint_eq(append_ok("o-1"), 41);
}
END_TEST

START_TEST(a_ledger_with_one_writer_commits_one_group_at_a_time)
{
	open_store(0, 10000, false);
	before_objects.put = object_ops->put;
	run_writers(WRITERS, 40);
	ck_assert_uint_eq(at_once_most, 1);
}
END_TEST

START_TEST(one_stream_is_never_in_two_commits_and_its_objects_are_put_at_once)
{
	open_store(4, 10000, false);
	before_ledger.append = ledger_ops->append;
	wanted = 4;
	run_writers(1, 40);
	ck_assert_uint_ge(at_once_most, 4);
	before_ledger.append = counted_append;
	before_objects.put = object_ops->put;
	at_once_most = wanted = 0;
	run_writers(2, 100);
	ck_assert_uint_eq(same_stream, 0);
	ck_assert_uint_le(at_once_most, 2);
	ck_assert_uint_eq(append_ok("o-0"), 40 * WRITERS + 100 * WRITERS / 2 + 1);
}
END_TEST

START_TEST(an_append_asks_the_ledger_once_and_puts_once)
{
	open_store(1, 10000, true);
	append_ok("o-1");
	memset(&calls, 0, sizeof(calls));
	uint64_t began = clock_boot_ms();
	for (uint64_t i = 2; i <= 101; i++)
		ck_assert_uint_eq(append_ok("o-1"), i);
	unsigned seconds = (unsigned)((clock_boot_ms() - began) / 1000) + 1;
	ck_assert_uint_eq(calls.append, 100);
	ck_assert_uint_eq(calls.put, 100);
	ck_assert_uint_eq(calls.read + calls.get + calls.list + calls.stat + calls.replace, 0);
	ck_assert_uint_le(calls.settle, 17 * seconds + 1);	/* one in 60 ms at most, where a sync takes no time */
	ck_assert_uint_le(calls.state + calls.claim, seconds + 3);	/* the sweeper's first turn asks more */
	/* known as settled soon after the last */
	struct store_counts c = { 0 };
	for (int i = 0; i < 100 && c.settled < 101; i++) {
		clock_sleep_ms(20);
		store_counts(store, &c);
	}
	ck_assert_uint_eq(c.settled, 101);
	ck_assert_uint_le(calls.settle, 17 * ((unsigned)((clock_boot_ms() - began) / 1000) + 1) + 1);
	ck_assert_uint_eq(calls.claimed, 0);
}
END_TEST

START_TEST(an_idle_store_asks_the_ledger_once_a_second_and_the_objects_never)
{
	open_store(1, 10000, true);
	append_ok("o-1");
	struct store_counts c = { 0 };
	for (int i = 0; i < 200 && !c.settled; i++, clock_sleep_ms(20))
		store_counts(store, &c);
	memset(&calls, 0, sizeof(calls));
	clock_sleep_ms(4000);	/* it is the time itself that is looked at */
	ck_assert_uint_le(calls.state + calls.claim, 5);
	ck_assert_uint_ge(calls.state, 1);
	ck_assert_uint_ge(calls.claim, 1);
	ck_assert_uint_eq(calls.append + calls.settle + calls.read, 0);
	ck_assert_uint_eq(calls.put + calls.get + calls.list + calls.stat + calls.replace, 0);
}
END_TEST

START_TEST(a_batch_is_put_at_once)
{
	struct store_append a;
	struct why why = { "" };
	open_store(1, 10000, false);
	ck_assert_msg(append("o-1", 1000, NULL, &a, &why) == RC_OK, "%s", why.text);
	ck_assert_uint_eq(largest_put, 1000);
	ck_assert_uint_eq(calls.append, 1);
}
END_TEST

START_TEST(a_put_that_hangs_is_answered_in_time_and_said_to_be_committed)
{
	struct store_append a;
	struct why why = { "" };
	open_store(1, 300, false);
	puts_hang = true;
	uint64_t began = clock_boot_ms();
	ck_assert_int_eq(append("o-1", 5, NULL, &a, &why), RC_TEMPORARY);
	ck_assert_uint_lt(clock_boot_ms() - began, 300 + 5000);
	ck_assert_int_eq(a.outcome, STORE_COMMITTED);
	ck_assert_ptr_nonnull(strstr(why.text, "committed"));
	/* those of a batch are looked at together: each may take its time */
	ck_assert_uint_le(calls.get, 15);
	puts_hang = false;
	ck_assert_uint_eq(append_ok("o-1"), 6);
}
END_TEST

static void *append_one(void *arg)
{
	struct writer *w = arg;
	struct store_append a;
	uint64_t began = clock_boot_ms();
	enum rc rc = append(w->id, 1, NULL, &a, NULL);
	w->took_ms = clock_boot_ms() - began;
	w->failed = rc == RC_TEMPORARY && a.outcome == STORE_NOT_COMMITTED;
	return NULL;
}

START_TEST(a_ledger_that_hangs_is_answered_in_time_and_said_to_be_unknown)
{
	struct store_append a;
	struct writer behind = { .id = "o-1" };
	open_store(1, 1000, false);
	ledger_hangs = true;
	uint64_t began = clock_boot_ms();
	ck_assert_int_eq(pthread_create(&behind.thread, NULL, append_one, &behind), 0);
	while (!calls.append)
		clock_sleep_ms(1);
	enum rc rc = append("o-1", 1, NULL, &a, NULL);
	pthread_join(behind.thread, NULL);
	ck_assert_uint_lt(clock_boot_ms() - began, 1000 + 5000);
	ck_assert(rc == RC_UNCERTAIN || rc == RC_TEMPORARY);
	/* one was taken up, or both, one after the other */
	ck_assert(a.outcome == STORE_UNKNOWN || rc == RC_TEMPORARY);
	ledger_hangs = false;
	ck_assert_uint_eq(append_ok("o-1"), 1);
}
END_TEST

START_TEST(nobody_waits_for_the_deadlines_of_those_who_came_much_later)
{
	struct writer first = { .id = "o-1" }, early = { .id = "o-2" }, late = { .id = "o-3" };
	open_store(1, 2000, false);
	ledger_hangs = true;
	ck_assert_int_eq(pthread_create(&first.thread, NULL, append_one, &first), 0);
	while (!calls.append)
		clock_sleep_ms(1);
	clock_sleep_ms(200);
	ck_assert_int_eq(pthread_create(&early.thread, NULL, append_one, &early), 0);
	clock_sleep_ms(1500);	/* just before the first is given up: both stand behind it */
	ck_assert_int_eq(pthread_create(&late.thread, NULL, append_one, &late), 0);
	pthread_join(first.thread, NULL);
	pthread_join(early.thread, NULL);
	pthread_join(late.thread, NULL);
	ck_assert_uint_lt(early.took_ms, 2000 + 1000);
	ledger_hangs = false;
}
END_TEST

START_TEST(a_known_event_that_a_reseed_drops_meanwhile_is_not_said_to_be_stored)
{
	struct store_append a;
	open_store(1, 300, false);
	chosen_id = "mine";
	puts_fail = true;
	ck_assert_int_eq(append("o-1", 1, NULL, &a, NULL), RC_TEMPORARY);
	ck_assert_int_eq(a.outcome, STORE_COMMITTED);
	puts_fail = false;
	ids_are_gone = true;	/* between the commit, which knows it, and the look at its body */
	ck_assert_int_eq(append("o-1", 1, NULL, &a, NULL), RC_TEMPORARY);
	ids_are_gone = false;
	ck_assert_uint_eq(append_ok("o-1"), 1);
}
END_TEST

START_TEST(what_is_answered_at_its_commit_goes_out_without_a_claim_also_at_the_end)
{
	static const enum store_ack ack = STORE_ACK_COMMITTED;
	struct store_append a;
	struct why why = { "" };
	open_store(1, 2000, true);
	ck_assert_int_eq(append("o-1", 1, &ack, &a, &why), RC_OK);
	ck_assert_msg(store_flush(store, "Order", "o-1", &why) == RC_OK, "%s", why.text);
	ck_assert_uint_eq(calls.put, 1);

	puts_fail = true;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(append("o-1", 3, &ack, &a, &why), RC_OK);
	ck_assert_int_eq(store_flush(store, "Order", "o-1", &why), RC_TEMPORARY);
	puts_fail = false;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(append("o-2", 3, &ack, &a, &why), RC_OK);
	store_free(&store);

	_cleanup_(object_freep) struct object_store *objects = open_objects();
	struct object_info at;
	ck_assert_int_eq(object_stat(objects, "streams/Order/o-1/0000000301.json", &at, NULL), RC_OK);
	ck_assert_int_eq(object_stat(objects, "streams/Order/o-1/0000000001.json", &at, NULL), RC_OK);
	ck_assert_int_eq(object_stat(objects, "streams/Order/o-2/0000000300.json", &at, NULL), RC_OK);
}
END_TEST

START_TEST(many_committed_appends_are_stored_from_memory)
{
	static const enum store_ack ack = STORE_ACK_COMMITTED;
	struct store_append a;
	struct why why = { "" };
	open_store(1, 10000, true);
	for (int i = 0; i < 500; i++)
		ck_assert_int_eq(append("o-1", 1, &ack, &a, &why), RC_OK);
	ck_assert_msg(store_flush(store, "Order", "o-1", &why) == RC_OK, "%s", why.text);
	ck_assert_uint_eq(calls.put, 500);
	ck_assert_uint_eq(calls.claimed, 0);
	ck_assert_uint_eq(calls.read, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store-append");
	TCase *tc = tcase_create("append");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_ledger_with_several_writers_commits_several_streams_at_once);
	tcase_add_test(tc, a_ledger_with_one_writer_commits_one_group_at_a_time);
	tcase_add_test(tc, one_stream_is_never_in_two_commits_and_its_objects_are_put_at_once);
	tcase_add_test(tc, an_append_asks_the_ledger_once_and_puts_once);
	tcase_add_test(tc, an_idle_store_asks_the_ledger_once_a_second_and_the_objects_never);
	tcase_add_test(tc, a_batch_is_put_at_once);
	tcase_add_test(tc, a_put_that_hangs_is_answered_in_time_and_said_to_be_committed);
	tcase_add_test(tc, a_ledger_that_hangs_is_answered_in_time_and_said_to_be_unknown);
	tcase_add_test(tc, nobody_waits_for_the_deadlines_of_those_who_came_much_later);
	tcase_add_test(tc, a_known_event_that_a_reseed_drops_meanwhile_is_not_said_to_be_stored);
	tcase_add_test(tc, what_is_answered_at_its_commit_goes_out_without_a_claim_also_at_the_end);
	tcase_add_test(tc, many_committed_appends_are_stored_from_memory);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
