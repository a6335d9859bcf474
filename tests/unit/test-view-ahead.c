/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-view-ahead.c - reading where each request is a round trip: the objects are a directory whose
 * reads take their time, sixty-four at once, and are counted.
 */
#include "config.h"

#include <check.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "event/draft.h"
#include "event/key.h"
#include "ledger/ledger.h"
#include "store/view.h"

#define UUID "0b7e2c1e-4a7f-4c56-9c39-1d2f6a0b9e11"
#define DELAY_MS 4
#define AT_ONCE 64
#define EVENTS 1000

static char dir[64], catalog[96];
static struct object_store *objects;
static struct ledger *ledger;
static struct view *view;
static struct why why;
static const struct object_ops *inner;
static struct object_ops slow;
static const struct object_counters counters;
static _Atomic unsigned gets, batches, under_way, under_way_most;
static atomic_bool away, truncated;

#define OK(call) ck_assert_msg((call) == RC_OK, #call ": %s", why.text)

static void slow_get(struct object_store *s, struct object_get *items, size_t n)
{
	gets += (unsigned)n;
	batches++;
	unsigned now = atomic_fetch_add(&under_way, (unsigned)n) + (unsigned)n;
	if (now > under_way_most)
		under_way_most = now;
	for (size_t i = 0; i < n; i += AT_ONCE)
		clock_sleep_ms(DELAY_MS);
	under_way -= (unsigned)n;
	if (!away) {
		inner->get(s, items, n);
		for (size_t i = 0; i < n && truncated; i++)
			items[i].len -= items[i].rc == RC_OK && items[i].len;
		return;
	}
	for (size_t i = 0; i < n; i++)
		items[i].rc = rc_fail(RC_TEMPORARY, &items[i].why, "the objects are away");
}

/* A listing in which each name is a moment to look whether others could write into the catalog. */
static sqlite3 *other;
static unsigned told, locked, written;

struct watched {
	object_list_fn *fn;
	void *arg;
};

static int count_rows(void *arg, int n, char **values, char **names)
{
	(void)n;
	(void)names;
	*(unsigned *)arg = (unsigned)strtoul(values[0], NULL, 10);
	return 0;
}

static bool watch(void *arg, const struct object_info *info)
{
	struct watched *w = arg;
	if (told++ % 50 == 49) {
		locked += sqlite3_exec(other, "BEGIN IMMEDIATE; COMMIT", NULL, NULL, NULL) != SQLITE_OK;
		sqlite3_exec(other, "SELECT count(*) FROM dirs", count_rows, &written, NULL);
	}
	return w->fn(w->arg, info);
}

static enum rc watched_list(struct object_store *s, const char *prefix, const char *after, enum object_list_flags flags,
			    object_list_fn *fn, void *arg, struct why *w)
{
	struct watched watched = { fn, arg };
	return other ? inner->list(s, prefix, after, flags, watch, &watched, w) : inner->list(s, prefix, after, flags, fn, arg, w);
}

static void open_view(void)
{
	struct view_source source = { .objects = objects, .ledger = ledger, .layout = LAYOUT_NATIVE };
	struct view_options options = { .catalog = catalog, .uuid = UUID, .fresh_ms = 1000 };
	OK(view_new(&view, &source, &options, &why));
}

#define GROUP 100

/* Events of one stream with bodies of about size bytes. */
static void append_group(uint64_t first, size_t n, const char *filler, bool settled)
{
	static struct draft_pieces p[GROUP];
	static char ids[GROUP][37];
	struct ledger_event e[GROUP];
	struct ledger_ref refs[GROUP];
	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		_cleanup_(draft_release) struct draft d = DRAFT_INIT;
		struct json_value doc;
		buf_printf(&text, "{\"event_type\":\"A\",\"data\":{\"n\":%" PRIu64 ",\"t\":\"%s\"}}", first + i, filler);
		OK(json_parse(text.data, text.len, JSON_STRICT, &doc, &why));
		OK(draft_from_document(&doc, &d, &why));
		clock_uuid(ids[i]);
		p[i] = (struct draft_pieces)DRAFT_PIECES_INIT;
		OK(draft_render(&d, "Order", "o-1", ids[i], &p[i], &why));
		e[i] = (struct ledger_event){ .event_id = ids[i], .event_type = "A", .head = p[i].head.data,
					      .head_len = p[i].head.len, .tail = p[i].tail.data, .tail_len = p[i].tail.len };
		memcpy(e[i].digest, p[i].digest, sizeof(e[i].digest));
	}
	struct ledger_append a = { .type = "Order", .id = "o-1", .events = e, .n = n };
	OK(ledger_append(ledger, &a, 1, 60000, &why));
	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT, key = BUF_INIT;
		draft_join(e[i].head, e[i].head_len, e[i].tail, e[i].tail_len, false, e[i].recorded_us, e[i].number, &body);
		key_native_event("Order", "o-1", e[i].number, &key);
		struct object_put put = { .key = key.data, .buf = body.data, .len = body.len };
		OK(object_put(objects, &put, 1, 0));
		refs[i] = (struct ledger_ref){ a.stream, e[i].number, ids[i] };
		draft_pieces_release(&p[i]);
	}
	if (settled)
		OK(ledger_settle(ledger, refs, n, &why));
}

static void append(size_t n, size_t size, bool settled)
{
	_cleanup_(freep) char *filler = malloc(size + 1);
	memset(filler, 'x', size);
	filler[size] = '\0';
	for (size_t i = 0; i < n; i += GROUP)
		append_group(i + 1, n - i < GROUP ? n - i : GROUP, filler, settled);
}

static void setup(void)
{
	char path[96];
	strcpy(dir, "/tmp/evfs-ahead-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(catalog, sizeof(catalog), "%s/.evfs/catalog.db", dir);
	snprintf(path, sizeof(path), "%s/.evfs", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	OK(object_dir_new(&objects, dir, &why));
	inner = objects->ops;
	slow = *inner;
	slow.get = slow_get;
	slow.list = watched_list;
	objects->ops = &slow;
	objects->counters = &counters;	/* a server, as far as anybody knows */
	OK(ledger_sqlite_create(path, UUID, &why));
	OK(ledger_sqlite_open(&ledger, path, UUID, &why));
	struct ledger_state state = { .count = false };
	OK(ledger_state(ledger, &state, &why));
	OK(ledger_seed(ledger, state.identity, 1, false, 0, &why));
	struct ledger_reseed all = { .seeding = 1 };
	OK(ledger_reseed(ledger, &all, &why));
	away = truncated = false;
}

static void teardown(void)
{
	char command[96];
	view_free(&view);
	ledger_free(&ledger);
	object_free(&objects);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void begin(void)
{
	open_view();
	gets = batches = under_way_most = 0;
}

static int64_t stream_row(void)
{
	struct view_dir d;
	OK(view_find_stream(view, "Order", "o-1", true, &d, &why));
	return d.row;
}

/* Reads one event; false: it is not what it should be, or can't be read. */
static bool read_one(int64_t row, uint64_t number, enum rc *rc_r)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct view_event e;
	char part[32];
	*rc_r = view_event_numbered(view, row, number, &e, NULL);
	if (*rc_r == RC_OK)
		*rc_r = view_read_event(view, &e, &body, NULL);
	snprintf(part, sizeof(part), "{\"n\":%" PRIu64 ",", number);
	return *rc_r == RC_OK && body.len == e.size && strstr(body.data, part);
}

struct span {
	int64_t row;
	uint64_t from, to, step;
	unsigned bad;
	pthread_t thread;
};

static void *read_span(void *arg)
{
	struct span *s = arg;
	enum rc rc;
	for (uint64_t i = s->from; i <= s->to; i += s->step)
		s->bad += !read_one(s->row, i, &rc);
	return NULL;
}

static unsigned read_all(uint64_t n)
{
	struct span s = { .row = stream_row(), .from = 1, .to = n, .step = 1 };
	read_span(&s);
	return s.bad;
}

START_TEST(who_reads_in_order_waits_for_few_round_trips_and_none_is_made_twice)
{
	append(EVENTS, 400, true);
	begin();
	ck_assert_uint_eq(read_all(EVENTS), 0);
	ck_assert_uint_ge(gets, EVENTS);
	ck_assert_uint_le(gets, EVENTS + 16);
	ck_assert_uint_lt(batches, EVENTS / 4);
	ck_assert_uint_ge(under_way_most, 2 * AT_ONCE);
}
END_TEST

START_TEST(what_was_read_is_read_again_without_a_request_also_by_the_next_view)
{
	append(EVENTS, 400, true);
	begin();
	ck_assert_uint_eq(read_all(EVENTS), 0);
	view_free(&view);	/* what waits to be kept is kept */
	begin();
	ck_assert_uint_eq(read_all(EVENTS), 0);
	ck_assert_uint_eq(gets, 0);
	away = true;
	ck_assert_uint_eq(read_all(EVENTS), 0);
}
END_TEST

START_TEST(who_reads_here_and_there_gets_nothing_else)
{
	append(EVENTS, 400, true);
	begin();
	int64_t row = stream_row();
	enum rc rc;
	for (uint64_t i = 0; i < 20; i++)
		ck_assert(read_one(row, i * 421 % EVENTS + 1, &rc));
	ck_assert_uint_eq(gets, 20);
}
END_TEST

static void read_side_by_side(uint64_t block, uint64_t step, size_t n)
{
	struct span spans[16];
	int64_t row = stream_row();
	for (size_t i = 0; i < n; i++) {
		spans[i] = (struct span){ .row = row, .step = step };
		spans[i].from = 1 + i * block;
		spans[i].to = step == 1 ? (i + 1) * block : EVENTS;
		ck_assert_int_eq(pthread_create(&spans[i].thread, NULL, read_span, &spans[i]), 0);
	}
	for (size_t i = 0; i < n; i++) {
		pthread_join(spans[i].thread, NULL);
		ck_assert_uint_eq(spans[i].bad, 0);
	}
}

START_TEST(several_readers_of_blocks_share_what_is_fetched)
{
	append(EVENTS, 400, true);
	begin();
	read_side_by_side(EVENTS / 10, 1, 10);
	ck_assert_uint_le(gets, EVENTS + EVENTS / 10);
}
END_TEST

START_TEST(several_readers_who_take_turns_share_what_is_fetched)
{
	append(EVENTS, 400, true);
	begin();
	read_side_by_side(1, 8, 8);
	ck_assert_uint_le(gets, EVENTS + EVENTS / 10);
	ck_assert_uint_lt(batches, EVENTS / 4);
}
END_TEST

START_TEST(large_bodies_are_read_in_order_within_bounded_memory)
{
	append(120, 300000, true);
	begin();
	ck_assert_uint_eq(read_all(120), 0);
	ck_assert_uint_le(gets, 120 + 16);
	ck_assert_uint_lt(batches, 100);
}
END_TEST

START_TEST(the_text_of_a_stream_is_fetched_ahead_of_its_reader)
{
	append(4 * EVENTS, 400, true);
	begin();
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct view_dir d;
	int64_t row = stream_row();
	OK(view_get_dir(view, row, false, &d, &why));
	gets = under_way_most = 0;
	while (text.len < d.stream_size)
		OK(view_read_stream(view, row, text.len, 131072, &text, &why));
	ck_assert_uint_ge(gets, 4 * EVENTS);
	ck_assert_uint_le(gets, 4 * EVENTS + 16);
	/* not one part after the other, each with its own round trips */
	ck_assert_uint_ge(under_way_most, 6 * AT_ONCE);
	size_t lines = 0;
	for (size_t i = 0; i < text.len; i++)
		lines += text.data[i] == '\n';
	ck_assert_uint_eq(lines, 4 * EVENTS);
}
END_TEST

START_TEST(what_is_not_settled_is_not_kept)
{
	append(20, 400, false);
	begin();
	ck_assert_uint_eq(read_all(20), 0);
	ck_assert_uint_eq(gets, 20);
	ck_assert_uint_eq(read_all(20), 0);
	ck_assert_uint_eq(gets, 40);
}
END_TEST

START_TEST(a_failure_is_told_once_and_not_waited_for_twice)
{
	enum rc rc;
	append(100, 400, true);
	begin();
	int64_t row = stream_row();
	for (uint64_t i = 1; i <= 3; i++)
		ck_assert(read_one(row, i, &rc));
	view_free(&view);
	begin();
	row = stream_row();
	away = true;
	for (uint64_t i = 1; i <= 3; i++)
		ck_assert_msg(read_one(row, i, &rc), "kept");
	for (uint64_t i = 50; i <= 60; i += 2) {
		ck_assert(!read_one(row, i, &rc));
		ck_assert_int_eq(rc, RC_TEMPORARY);
		/* the kernel asks a second time */
		unsigned before = gets;
		ck_assert(!read_one(row, i, &rc));
		ck_assert_int_eq(rc, RC_TEMPORARY);
		ck_assert_uint_le(gets, before + 4);	/* what is fetched ahead */
	}
	away = false;
	clock_sleep_ms(300);
	ck_assert_uint_eq(read_all(100), 0);
}
END_TEST

START_TEST(a_body_of_another_size_is_never_shown)
{
	enum rc rc;
	append(100, 400, true);
	begin();
	int64_t row = stream_row();
	truncated = true;
	for (uint64_t i = 1; i <= 50; i++) {
		ck_assert(!read_one(row, i, &rc));
		ck_assert_int_eq(rc, RC_CORRUPT);
	}
	truncated = false;
	ck_assert_uint_eq(read_all(100), 0);
}
END_TEST

static bool count_entry(void *arg, const struct view_entry *entry)
{
	(void)entry;
	++*(unsigned *)arg;
	return true;
}

START_TEST(a_listing_of_objects_holds_up_no_other_writer_and_is_shown_as_it_comes)
{
	ledger_free(&ledger);
	for (int i = 0; i < 1200; i++) {
		char key[64];
		snprintf(key, sizeof(key), "streams/Order/o-%04d/0000000001.json", i);
		struct object_put put = { .key = key, .buf = "{}", .len = 2 };
		OK(object_put(objects, &put, 1, 0));
	}
	begin();
	struct view_dir d;
	unsigned n = 0;
	ck_assert_int_eq(sqlite3_open(catalog, &other), SQLITE_OK);
	told = locked = written = 0;
	OK(view_lookup_dir(view, VIEW_ROOT, "Order", &d, &why));
	OK(view_get_dir(view, d.row, true, &d, &why));
	sqlite3_close(other);
	other = NULL;
	OK(view_list(view, d.row, 0, count_entry, &n, &why));
	ck_assert_uint_eq(n, 1200);
	ck_assert_uint_ge(told, 1200);
	ck_assert_uint_eq(locked, 0);
	ck_assert_uint_ge(written, 1000);
	ck_assert_uint_lt(written, 1200);
}
END_TEST

START_TEST(what_a_listing_of_objects_had_to_read_is_kept)
{
	append(100, 400, true);
	ledger_free(&ledger);
	begin();
	ck_assert_uint_eq(read_all(100), 0);
	ck_assert_uint_le(gets, 100);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("view-ahead");
	TCase *tc = tcase_create("ahead");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, who_reads_in_order_waits_for_few_round_trips_and_none_is_made_twice);
	tcase_add_test(tc, what_was_read_is_read_again_without_a_request_also_by_the_next_view);
	tcase_add_test(tc, who_reads_here_and_there_gets_nothing_else);
	tcase_add_test(tc, several_readers_of_blocks_share_what_is_fetched);
	tcase_add_test(tc, several_readers_who_take_turns_share_what_is_fetched);
	tcase_add_test(tc, large_bodies_are_read_in_order_within_bounded_memory);
	tcase_add_test(tc, the_text_of_a_stream_is_fetched_ahead_of_its_reader);
	tcase_add_test(tc, what_is_not_settled_is_not_kept);
	tcase_add_test(tc, a_failure_is_told_once_and_not_waited_for_twice);
	tcase_add_test(tc, a_body_of_another_size_is_never_shown);
	tcase_add_test(tc, a_listing_of_objects_holds_up_no_other_writer_and_is_shown_as_it_comes);
	tcase_add_test(tc, what_a_listing_of_objects_had_to_read_is_kept);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
