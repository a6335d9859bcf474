/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-view.c - what is shown of a store: over a ledger, over objects alone, and of the captured
 * bucket.
 */
#include "config.h"

#include <check.h>
#include <inttypes.h>
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

static char dir[64], catalog[96], ledger_path[96];
static struct object_store *objects;
static struct ledger *ledger;
static struct view *view;
static struct why why;
static unsigned seeds;
static enum rc seed_rc;

#define OK(call) ck_assert_msg((call) == RC_OK, #call ": %s", why.text)

/* ------------------------------------------------------------------ a store to look at */

static void seed_ledger(uint64_t number, bool complete)
{
	struct ledger_state state = { .count = true };
	OK(ledger_state(ledger, &state, &why));
	OK(ledger_seed(ledger, state.identity, number, false, 0, &why));
	struct ledger_reseed all = { .seeding = number };
	if (complete)
		OK(ledger_reseed(ledger, &all, &why));
}

static void open_ledger(void)
{
	char command[256];
	snprintf(command, sizeof(command), "mkdir -p %s/.evfs && rm -f %s*", dir, ledger_path);
	ck_assert_int_eq(system(command), 0);
	OK(ledger_sqlite_create(ledger_path, UUID, &why));
	OK(ledger_sqlite_open(&ledger, ledger_path, UUID, &why));
}

static enum rc seed_asked(void *arg, const char *type, const char *id, struct why *w)
{
	(void)arg;
	(void)type;
	(void)id;
	seeds++;
	return seed_rc == RC_OK ? RC_OK : rc_fail(seed_rc, w, "not now");
}

static struct view *open_view(const char *file, const char *uuid, enum layout layout)
{
	struct view *v = NULL;
	struct view_source source = {
		.objects = objects, .ledger = ledger, .layout = layout, .seed = seed_asked
	};
	struct view_options options = {
		.catalog = file, .uuid = uuid, .fresh_ms = 0, .gap_wait_ms = 60000
	};
	OK(view_new(&v, &source, &options, &why));
	return v;
}

static void setup_objects(void)
{
	strcpy(dir, "/tmp/evfs-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(catalog, sizeof(catalog), "%s/.evfs/cache/catalog.db", dir);
	snprintf(ledger_path, sizeof(ledger_path), "%s/.evfs/ledger.db", dir);
	OK(object_dir_new(&objects, dir, &why));
	seeds = 0;
	seed_rc = RC_TEMPORARY;
}

static void setup(void)
{
	setup_objects();
	open_ledger();
	seed_ledger(1, true);
	view = open_view(catalog, UUID, LAYOUT_NATIVE);
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

static void put(const char *key, const char *text, int64_t recorded_us)
{
	struct object_put p = {
		.key = key, .buf = text, .len = strlen(text), .recorded_us = recorded_us
	};
	ck_assert_msg(object_put(objects, &p, 1, 0) == RC_OK, "%s: %s", key, p.why.text);
}

struct appended {
	char event_id[37];
	uint64_t number;
	int64_t stream, recorded_us;
	struct buf body;
};

static struct appended last;	/* what was appended last */

/* Commit one event; no object yet. */
static void commit(const char *type, const char *id, const char *event_type, const char *data)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	_cleanup_(draft_pieces_release) struct draft_pieces p = DRAFT_PIECES_INIT;
	struct json_value doc;
	buf_printf(&text, "{\"event_type\":\"%s\",\"data\":%s}", event_type, data);
	OK(json_parse(text.data, text.len, JSON_STRICT, &doc, &why));
	OK(draft_from_document(&doc, &d, &why));
	clock_uuid(last.event_id);
	OK(draft_render(&d, type, id, last.event_id, &p, &why));
	struct ledger_event e = { .event_id = last.event_id,
				  .event_type = event_type,
				  .head = p.head.data,
				  .head_len = p.head.len,
				  .tail = p.tail.data,
				  .tail_len = p.tail.len };
	memcpy(e.digest, p.digest, sizeof(e.digest));
	struct ledger_append a = { .type = type, .id = id, .events = &e, .n = 1 };
	OK(ledger_append(ledger, &a, 1, 1000, &why));
	last.number = e.number;
	last.recorded_us = e.recorded_us;
	last.stream = a.stream;
	buf_reset(&last.body);
	draft_join(p.head.data, p.head.len, p.tail.data, p.tail.len, false, e.recorded_us, e.number,
		   &last.body);
}

static void deliver(const char *type, const char *id)
{
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	key_native_event(type, id, last.number, &key);
	put(key.data, last.body.data, last.recorded_us);
}

static void settle(void)
{
	struct ledger_ref ref = { .stream = last.stream,
				  .number = last.number,
				  .event_id = last.event_id };
	OK(ledger_settle(ledger, &ref, 1, &why));
}

static void append(const char *type, const char *id, const char *event_type)
{
	commit(type, id, event_type, "{\"n\":1}");
	deliver(type, id);
	settle();
}

/* ------------------------------------------------------------------ what is seen */

static bool add_name(void *arg, const struct view_entry *e)
{
	buf_printf(arg, "%s%s ", e->is_dir ? e->dir->name : e->event->name, e->is_dir ? "/" : "");
	return true;
}

static const char *ls(int64_t row)
{
	static struct buf out = BUF_INIT;
	struct view_dir d;
	buf_reset(&out);
	OK(view_get_dir(view, row, true, &d, &why));
	OK(view_list(view, row, 0, add_name, &out, &why));
	return buf_text(&out);
}

static struct view_dir stream(const char *type, const char *id)
{
	struct view_dir d = { 0 };
	OK(view_find_stream(view, type, id, true, &d, &why));
	return d;
}

static const char *text_of(int64_t row, uint64_t offset, size_t len)
{
	static struct buf out = BUF_INIT;
	buf_reset(&out);
	OK(view_read_stream(view, row, offset, len, &out, &why));
	return buf_text(&out);
}

START_TEST(appends_are_seen_at_the_next_look_with_their_bytes)
{
	append("Order", "o-1", "Placed");
	struct view_dir d = stream("Order", "o-1");
	ck_assert_uint_eq(d.head, 1);
	commit("Order", "o-1", "Paid", "{}");	/* not stored yet */
	append("Order", "a/b", "Placed");
	ck_assert_str_eq(ls(d.row), "0000000001-Placed.json 0000000002-Paid.json ");
	ck_assert_str_eq(ls(VIEW_ROOT), "Order/ ");
	OK(view_lookup_dir(view, VIEW_ROOT, "Order", &d, &why));
	ck_assert_str_eq(ls(d.row), "o-1/ a/ ");
	ck_assert_uint_eq(d.depth, 1);
	OK(view_lookup_dir(view, d.row, "a", &d, &why));
	ck_assert(!d.is_stream);
	OK(view_lookup_dir(view, d.row, "b", &d, &why));
	ck_assert(d.is_stream);
	ck_assert_str_eq(ls(d.row), "0000000001-Placed.json ");

	struct view_event e;
	_cleanup_(buf_release) struct buf type = BUF_INIT, id = BUF_INIT, key = BUF_INIT,
					  event_id = BUF_INIT, event_type = BUF_INIT;
	OK(view_stream_of(view, d.row, &type, &id, &why));
	ck_assert_str_eq(buf_text(&id), "a/b");
	ck_assert_int_eq(view_stream_of(view, VIEW_ROOT, &type, &id, &why), RC_INVALID);
	OK(view_lookup_event(view, d.row, "0000000001-Placed.json", &e, &why));
	ck_assert_int_eq(view_lookup_event(view, d.row, "0000000001-Paid.json", &e, &why),
			 RC_NOT_FOUND);
	ck_assert_int_eq(view_lookup_event(view, d.row, "1-Placed.json", &e, &why), RC_NOT_FOUND);
	OK(view_event_facts(view, &e, &key, &event_id, &event_type, &why));
	ck_assert_str_eq(buf_text(&key), "streams/Order/a/b/0000000001.json");
	ck_assert_str_eq(buf_text(&event_id), last.event_id);
	ck_assert_str_eq(buf_text(&event_type), "Placed");
	buf_reset(&key);
	OK(view_read_event(view, &e, &key, &why));
	ck_assert_str_eq(buf_text(&key), buf_text(&last.body));
	ck_assert_uint_eq(e.size, last.body.len);
	ck_assert_int_eq(e.recorded_us, last.recorded_us);
}
END_TEST

START_TEST(what_is_not_stored_is_read_from_the_ledger_and_keeps_its_ordinal_when_it_is)
{
	struct view_event before, after;
	_cleanup_(buf_release) struct buf text = BUF_INIT, line = BUF_INIT;
	commit("Order", "o-1", "Placed", "{\"a\":[1,2]}");
	struct view_dir d = stream("Order", "o-1");
	OK(view_event_numbered(view, d.row, 1, &before, &why));
	ck_assert(!before.settled);
	OK(view_read_event(view, &before, &text, &why));
	ck_assert_str_eq(buf_text(&text), last.body.data);
	buf_printf(&line, "%s\n", last.body.data);
	ck_assert_uint_eq(d.stream_size, line.len);
	ck_assert_str_eq(text_of(d.row, 0, 1 << 20), line.data);

	deliver("Order", "o-1");
	settle();
	d = stream("Order", "o-1");
	OK(view_get_event(view, d.row, before.ordinal, &after, &why));
	ck_assert(after.settled);
	ck_assert_str_eq(after.name, before.name);
	ck_assert_uint_eq(d.stream_size, line.len);
	buf_reset(&text);
	OK(view_read_event(view, &after, &text, &why));
	ck_assert_str_eq(buf_text(&text), last.body.data);
}
END_TEST

START_TEST(the_text_of_a_stream_is_its_bodies_at_any_offset)
{
	_cleanup_(buf_release) struct buf whole = BUF_INIT, got = BUF_INIT;
	_cleanup_(freep) char *big = malloc(300001);
	memset(big, 'x', 300000);
	big[300000] = '\0';
	_cleanup_(buf_release) struct buf data = BUF_INIT;
	for (int i = 0; i < 1200; i++) {
		buf_reset(&data);
		/* one line that spans more than a part, and many that do not */
		buf_printf(&data, "{\"n\":%d,\"t\":\"%.*s\"}", i, i == 700 ? 300000 : i % 500, big);
		commit("Order", "o-1", "Placed", data.data);
		deliver("Order", "o-1");
		if (i != 1195)
			settle();
		buf_add(&whole, last.body.data, last.body.len);
		buf_add_char(&whole, '\n');
	}
	struct view_dir d = stream("Order", "o-1");
	ck_assert_uint_eq(d.stream_size, whole.len);
	for (int round = 0; round < 3; round++) {
		static const size_t steps[] = { 131072, 7777, 1 << 20 };
		for (size_t at = 0; at < whole.len; at += steps[round]) {
			size_t want = whole.len - at < steps[round] ? whole.len - at : steps[round];
			buf_reset(&got);
			OK(view_read_stream(view, d.row, at, steps[round], &got, &why));
			ck_assert_uint_eq(got.len, want);
			ck_assert_mem_eq(got.data, whole.data + at, want);
		}
	}
	unsigned seed = (unsigned)clock_boot_us();
	for (int i = 0; i < 300; i++) {
		size_t at = (size_t)rand_r(&seed) % whole.len, n = (size_t)rand_r(&seed) % 5000;
		size_t want = whole.len - at < n ? whole.len - at : n;
		if (i % 100 == 0) {
			view_free(&view);
			view = open_view(i ? catalog : NULL, UUID, LAYOUT_NATIVE);
			d = stream("Order", "o-1");
		}
		buf_reset(&got);
		OK(view_read_stream(view, d.row, at, n, &got, &why));
		ck_assert_msg(got.len == want && !memcmp(buf_text(&got), whole.data + at, want),
			      "at %zu, %zu bytes", at, n);
	}
	ck_assert_str_eq(text_of(d.row, whole.len, 10), "");
}
END_TEST

START_TEST(a_body_that_is_not_compact_fills_its_line_up_with_blanks)
{
	static const char body[] =
		"{ \"event_id\": \"11111111-2222-4333-8444-555555555555\", \"event_type\": \"T\",\n"
		"\"aggregate_type\": \"A\", \"aggregate_id\": \"x\", \"occurred_at\": "
		"\"2025-01-01T00:00:00Z\", \"actor\": null,"
		"\"data\": {\"n\": NaN}, \"metadata\": {}, \"schema_version\": \"1\", "
		"\"sequence_number\": 1}";
	put("streams/A/x/0000000001.json", body, 5000000);
	ledger_free(&ledger);
	view_free(&view);
	view = open_view(catalog, UUID, LAYOUT_NATIVE);
	struct view_dir d = stream("A", "x");
	ck_assert_uint_eq(d.stream_size, sizeof(body));
	const char *line = text_of(d.row, 0, 4096);
	ck_assert_uint_eq(strlen(line), sizeof(body));
	ck_assert_ptr_eq(strchr(line, '\n'), line + sizeof(body) - 1);
	ck_assert_ptr_nonnull(strstr(line, "\"sequence_number\":1} "));
	ck_assert_int_eq(d.mtime_us, INT64_C(1735689600000000));
	ck_assert_int_eq(d.ctime_us, 5000000);
	OK(view_get_dir(view, VIEW_ROOT, false, &d, &why));
	ck_assert_int_eq(d.mtime_us, INT64_C(1735689600000000));
}
END_TEST

static bool stop_after(void *arg, const struct view_entry *e)
{
	uint64_t *cursor = arg;
	*cursor = e->cursor;
	cursor[1]++;
	return cursor[1] % 7;
}

START_TEST(a_listing_goes_on_behind_its_cursor_while_the_directory_grows)
{
	append("Order", "o/1", "Placed");
	append("Order", "o/2", "Placed");
	for (int i = 0; i < 700; i++)
		append("Order", "o", "Placed");
	struct view_dir d = stream("Order", "o");
	uint64_t at[2] = { 0, 0 }, calls = 0;
	do {
		uint64_t before = at[1];
		OK(view_list(view, d.row, at[0], stop_after, at, &why));
		ck_assert_uint_lt(at[0], UINT64_C(1) << 62);
		if (++calls == 50) {
			append("Order", "o", "Placed");
			stream("Order", "o");
		}
		if (at[1] == before)
			break;
	} while (calls < 1000);
	ck_assert_uint_eq(at[1], 703);
}
END_TEST

START_TEST(only_a_prefix_is_shown_and_voids_are_left_out)
{
	struct ledger_object objs[] = {
		{ .number = 1,
		  .event_id = "a",
		  .event_type = "T",
		  .size = 10,
		  .occurred_us = 1,
		  .recorded_us = 1 },
		{ .number = 4,
		  .event_id = "d",
		  .event_type = "T",
		  .size = 10,
		  .occurred_us = 4,
		  .recorded_us = 4 },
	};
	struct ledger_reseed r = { .type = "A", .id = "x", .seeding = 1, .objects = objs, .n = 2 };
	OK(ledger_reseed(ledger, &r, &why));
	struct view_dir d = stream("A", "x");
	ck_assert_str_eq(ls(d.row), "0000000001-T.json 0000000004-T.json ");
	ck_assert_uint_eq(d.events, 2);
	append("A", "x", "U");
	ck_assert_str_eq(ls(d.row), "0000000001-T.json 0000000004-T.json 0000000005-U.json ");
}
END_TEST

START_TEST(after_a_change_of_identity_only_what_is_firm_is_kept_and_no_ordinal_is_given_twice)
{
	struct view_event firm, soft, again;
	size_t dropped = 0;
	append("Order", "o-1", "Placed");
	commit("Order", "o-1", "Paid", "{}");
	commit("Gone", "g", "Lost", "{}");
	struct view_dir d = stream("Order", "o-1"), g = stream("Gone", "g");
	OK(view_event_numbered(view, d.row, 1, &firm, &why));
	OK(view_event_numbered(view, d.row, 2, &soft, &why));
	ck_assert_str_eq(ls(VIEW_ROOT), "Order/ Gone/ ");

	ledger_free(&ledger);
	open_ledger();
	seed_ledger(2, true);
	view_free(&view);
	view = open_view(catalog, UUID, LAYOUT_NATIVE);	/* looks at the identity by itself */
	OK(view_identity_changed(view, &dropped, &why));
	ck_assert_uint_eq(dropped, 0);
	ck_assert_str_eq(ls(VIEW_ROOT), "Order/ ");
	ck_assert_int_eq(view_get_event(view, d.row, soft.ordinal, &again, &why), RC_NOT_FOUND);
	OK(view_get_event(view, d.row, firm.ordinal, &again, &why));

	struct ledger_object o = {
		.number = 1, .event_id = "x", .event_type = "Placed", .size = firm.size
	};
	_cleanup_(buf_release) struct buf event_id = BUF_INIT;
	OK(view_event_facts(view, &firm, NULL, &event_id, NULL, &why));
	o.event_id = event_id.data;
	struct ledger_reseed r = {
		.type = "Order", .id = "o-1", .seeding = 2, .objects = &o, .n = 1
	};
	OK(ledger_reseed(ledger, &r, &why));
	append("Order", "o-1", "Other");
	ck_assert_str_eq(ls(d.row), "0000000001-Placed.json 0000000002-Other.json ");
	OK(view_event_numbered(view, d.row, 2, &again, &why));
	ck_assert_uint_gt(again.ordinal, soft.ordinal);
	append("Gone", "g", "Found");
	ck_assert_int_eq(stream("Gone", "g").row, g.row);
}
END_TEST

START_TEST(a_stream_that_the_ledger_must_seed_first_is_asked_for_once_and_shown_from_the_objects)
{
	append("Order", "o-1", "Placed");
	stream("Order", "o-1");
	append("Order", "o-1", "Paid");
	append("Order", "o-2", "Placed");
	seed_ledger(2, false);
	seed_rc = RC_TEMPORARY;
	seeds = 0;
	struct view_dir d = stream("Order", "o-1");
	ck_assert_uint_ge(seeds, 1);
	ck_assert_str_eq(ls(d.row), "0000000001-Placed.json 0000000002-Paid.json ");
	OK(view_lookup_dir(view, VIEW_ROOT, "Order", &d, &why));
	ck_assert_str_eq(ls(d.row), "o-1/ o-2/ ");
	d = stream("Order", "o-2");
	ck_assert_uint_eq(d.events, 1);
}
END_TEST

START_TEST(reading_goes_on_without_the_ledger_that_the_view_began_with)
{
	char command[256];
	append("Order", "o-1", "Placed");
	struct view_dir d = stream("Order", "o-1");
	snprintf(command, sizeof(command), "rm -f %s*", ledger_path);
	ck_assert_int_eq(system(command), 0);
	ck_assert_str_eq(ls(d.row), "0000000001-Placed.json ");
	ck_assert_str_eq(ls(VIEW_ROOT), "Order/ ");
	ck_assert_uint_eq(strlen(text_of(d.row, 0, 4096)), d.stream_size);
	struct view_event e;
	ck_assert_int_eq(view_lookup_event(view, d.row, "0000000002-Paid.json", &e, &why),
			 RC_NOT_FOUND);
}
END_TEST

START_TEST(an_aggregate_known_by_name_alone_is_not_shown_as_empty_where_nobody_can_be_asked)
{
	char away[256], back[256];
	struct view_dir root, type, d;
	commit("Order", "o-1", "Placed", "{}");	/* of the objects nobody could learn it */
	view_free(&view);
	view = open_view(NULL, UUID, LAYOUT_NATIVE);
	OK(view_get_dir(view, VIEW_ROOT, true, &root, &why));
	OK(view_lookup_dir(view, VIEW_ROOT, "Order", &type, &why));
	ck_assert_str_eq(ls(type.row), "o-1/ ");
	OK(view_lookup_dir(view, type.row, "o-1", &d, &why));
	snprintf(away, sizeof(away), "mv %s %s.away", dir, dir);
	snprintf(back, sizeof(back), "mv %s.away %s", dir, dir);

	ck_assert_int_eq(system(away), 0);
	enum rc first = view_get_dir(view, d.row, true, &root, &why);
	enum rc second = view_get_dir(view, d.row, true, &root, NULL);
	enum rc known = view_get_dir(view, d.row, false, &root, NULL);
	enum rc above = view_get_dir(view, type.row, true, &type, NULL);
	ck_assert_int_eq(system(back), 0);
	ck_assert_msg(first != RC_OK && first != RC_NOT_FOUND, "%d %s", first, why.text);
	ck_assert_int_eq(second, first);
	ck_assert(*why.text);
	ck_assert_int_eq(known, RC_OK);
	ck_assert_int_eq(above, RC_OK);
	ck_assert_str_eq(ls(d.row), "0000000001-Placed.json ");

	ck_assert_int_eq(system(away), 0);
	enum rc then = view_get_dir(view, d.row, true, &root, &why);
	ck_assert_int_eq(system(back), 0);
	ck_assert_int_eq(then, RC_OK);
	ck_assert_uint_eq(root.events, 1);
}
END_TEST

START_TEST(directories_that_come_are_told_by_a_number_even_where_no_time_grows)
{
	struct view_dir type, root, before;
	append("Order", "o-1", "Placed");
	ck_assert_str_eq(ls(VIEW_ROOT), "Order/ ");
	OK(view_lookup_dir(view, VIEW_ROOT, "Order", &before, &why));
	append("Order", "o-2", "Placed");
	OK(view_get_dir(view, before.row, true, &type, &why));
	ck_assert_uint_gt(type.epoch, before.epoch);
	OK(view_get_dir(view, VIEW_ROOT, true, &before, &why));
	append("Cart", "c-1", "Made");
	OK(view_get_dir(view, VIEW_ROOT, true, &root, &why));
	ck_assert_uint_gt(root.epoch, before.epoch);
	OK(view_get_dir(view, VIEW_ROOT, true, &before, &why));
	ck_assert_uint_eq(root.epoch, before.epoch);
}
END_TEST

START_TEST(two_views_share_a_catalog_and_see_each_others_appends)
{
	struct view *other = open_view(catalog, UUID, LAYOUT_NATIVE);
	struct view_event a, b;
	struct view_dir d;
	for (int i = 0; i < 20; i++) {
		append("Order", "o-1", "Placed");
		d = stream("Order", "o-1");
		ck_assert_uint_eq(d.events, (uint64_t)i + 1);
		OK(view_find_stream(other, "Order", "o-1", true, &d, &why));
		ck_assert_uint_eq(d.events, (uint64_t)i + 1);
		OK(view_event_numbered(other, d.row, d.head, &b, &why));
		OK(view_event_numbered(view, d.row, d.head, &a, &why));
		ck_assert_uint_eq(a.ordinal, b.ordinal);
	}
	view_free(&other);
}
END_TEST

START_TEST(a_catalog_that_is_damaged_or_anothers_is_made_anew)
{
	append("Order", "o-1", "Placed");
	stream("Order", "o-1");
	view_free(&view);
	if (_i == 0) {
		FILE *f = fopen(catalog, "r+");
		for (int i = 0; i < 4096; i++)
			fputc('x', f);
		fclose(f);
	}
	view = open_view(catalog, _i == 1 ? "11111111-2222-4333-8444-555555555555" : UUID,
			 LAYOUT_NATIVE);
	struct view_dir d;
	ck_assert_int_eq(view_find_stream(view, "Order", "o-1", false, &d, &why),
			 _i == 2 ? RC_OK : RC_NOT_FOUND);
	ck_assert_str_eq(ls(stream("Order", "o-1").row), "0000000001-Placed.json ");
}
END_TEST

struct reader {
	pthread_t thread;
	atomic_bool *stop;
	uint64_t rounds, last;
	bool failed;
};

/* What was seen once is there ever after, and the text agrees with the size. */
static void *read_on(void *arg)
{
	struct reader *r = arg;
	_cleanup_(buf_release) struct buf text = BUF_INIT, names = BUF_INIT;
	while (!atomic_load(r->stop) || !r->rounds) {
		struct view_dir d;
		if (view_find_stream(view, "Order", "o-1", true, &d, NULL) != RC_OK)
			continue;
		buf_reset(&text);
		buf_reset(&names);
		r->failed |= d.events < r->last ||
			     view_read_stream(view, d.row, 0, (size_t)d.stream_size, &text, NULL) !=
				     RC_OK ||
			     text.len != d.stream_size || text.data[text.len - 1] != '\n' ||
			     view_list(view, d.row, 0, add_name, &names, NULL) != RC_OK;
		r->last = d.events;
		r->rounds++;
	}
	return NULL;
}

START_TEST(many_threads_read_while_one_appends)
{
	atomic_bool stop = false;
	struct reader readers[4];
	if (_i) {
		view_free(&view);
		view = open_view(NULL, UUID, LAYOUT_NATIVE);
	}
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		readers[i] = (struct reader){ .stop = &stop };
		ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	}
	for (int i = 0; i < 200; i++)
		append("Order", "o-1", "Placed");
	atomic_store(&stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		pthread_join(readers[i].thread, NULL);
		ck_assert(readers[i].rounds && !readers[i].failed);
	}
	ck_assert_uint_eq(stream("Order", "o-1").events, 200);
}
END_TEST

START_TEST(where_no_catalog_can_be_made_a_temporary_one_serves)
{
	view_free(&view);
	view = open_view("/proc/no/such/catalog.db", UUID, LAYOUT_NATIVE);
	append("Order", "o-1", "Placed");
	ck_assert_str_eq(ls(stream("Order", "o-1").row), "0000000001-Placed.json ");
	ck_assert_uint_eq(strlen(text_of(stream("Order", "o-1").row, 0, 4096)),
			  stream("Order", "o-1").stream_size);
}
END_TEST

static void open_with_fresh_ms(uint64_t fresh_ms)
{
	view_free(&view);
	struct view_source source = { .objects = objects, .ledger = ledger, .layout = LAYOUT_NATIVE, .seed = seed_asked };
	struct view_options options = { .catalog = catalog, .uuid = UUID, .fresh_ms = fresh_ms, .gap_wait_ms = 1000 };
	OK(view_new(&view, &source, &options, &why));
}

START_TEST(a_fresh_answer_is_not_asked_for_again_unless_this_process_appended)
{
	open_with_fresh_ms(3600000);
	append("Order", "o-1", "Placed");
	ck_assert_uint_eq(stream("Order", "o-1").events, 1);
	append("Order", "o-1", "Paid");
	ck_assert_uint_eq(stream("Order", "o-1").events, 1);
	view_touch(view, "Order", "o-1");
	ck_assert_uint_eq(stream("Order", "o-1").events, 2);
	append("Order", "o-2", "Placed");
	ck_assert_str_eq(ls(stream("Order", "o-1").parent), "o-1/ ");
	view_touch(view, "Order", "o-2");
	ck_assert_str_eq(ls(stream("Order", "o-1").parent), "o-1/ o-2/ ");
}
END_TEST

static const struct ledger_ops *quick_ops;
static bool appended_meanwhile;

/* It has answered, and another appends before the answer is here. */
static enum rc read_slowly(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced, struct why *w)
{
	enum rc rc = quick_ops->read(l, q, fn, arg, fenced, w);
	if (q->what != LEDGER_EVENTS || appended_meanwhile)
		return rc;
	appended_meanwhile = true;
	append("Order", "o-1", "Paid");
	clock_sleep_ms(200);
	return rc;
}

START_TEST(an_answer_is_as_old_as_its_question)
{
	open_with_fresh_ms(500);
	append("Order", "o-1", "Placed");
	quick_ops = ledger->ops;
	struct ledger_ops slow_ops = *quick_ops;
	slow_ops.read = read_slowly;
	ledger->ops = &slow_ops;
	ck_assert_uint_eq(stream("Order", "o-1").events, 1);
	clock_sleep_ms(350);
	ck_assert_uint_eq(stream("Order", "o-1").events, 2);
	ledger->ops = quick_ops;
}
END_TEST

static enum ledger_what unread;	/* what the ledger does not answer; LEDGER_STREAM: all is answered */
static enum rc unread_rc = RC_TEMPORARY;
static void (*before_failing)(void);
static struct ledger_ops failing_ops;

static enum rc read_or_fail(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced, struct why *w)
{
	if (q->what != unread)
		return quick_ops->read(l, q, fn, arg, fenced, w);
	if (before_failing)
		before_failing();
	return rc_fail(unread_rc, w, "no answer in time");
}

static void fail_reads(enum ledger_what what)
{
	quick_ops = ledger->ops == &failing_ops ? quick_ops : ledger->ops;
	failing_ops = *quick_ops;
	failing_ops.read = read_or_fail;
	ledger->ops = &failing_ops;
	unread = what;
}

START_TEST(what_the_ledger_did_not_answer_is_asked_again_though_nothing_was_committed)
{
	append("Order", "o-1", "Placed");
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(stream("Order", "o-1").events, 1);
	commit("Order", "o-1", "Paid", "{}");	/* not stored yet: the ledger alone knows it */
	fail_reads(LEDGER_EVENTS);
	ck_assert_uint_eq(stream("Order", "o-1").events, 1);
	fail_reads(LEDGER_STREAM);
	ck_assert_uint_eq(stream("Order", "o-1").events, 2);
}
END_TEST

START_TEST(where_the_ledger_does_not_answer_nothing_is_said_not_to_be_there)
{
	struct view_dir d;
	append("Order", "o-1", "Placed");
	open_with_fresh_ms(3600000);
	fail_reads(LEDGER_NEW_STREAMS);
	OK(view_lookup_dir(view, VIEW_ROOT, "Order", &d, &why));
	ck_assert_int_eq(view_lookup_dir(view, d.row, "o-9", &d, &why), RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(why.text, "ledger"));
	append("Order", "o-2", "Placed");	/* its object is there */
	OK(view_find_stream(view, "Order", "o-2", true, &d, &why));
	ck_assert_int_eq(view_find_stream(view, "Order", "o-9", true, &d, &why), RC_TEMPORARY);
	fail_reads(LEDGER_STREAM);
	view_touch(view, "Order", "o-9");
	ck_assert_int_eq(view_find_stream(view, "Order", "o-9", true, &d, &why), RC_NOT_FOUND);
}
END_TEST

static const struct {
	enum rc ledger, lookup;
} unasked[] = {
	{ RC_TEMPORARY, RC_TEMPORARY }, { RC_DENIED, RC_TEMPORARY }, { RC_NO_MEMORY, RC_TEMPORARY },
	/* what counts the objects know */
	{ RC_FENCED, RC_NOT_FOUND }, { RC_CORRUPT, RC_NOT_FOUND }, { RC_NOT_FOUND, RC_NOT_FOUND },
};

START_TEST(a_ledger_that_knows_nothing_that_counts_makes_no_name_doubtful)
{
	struct view_dir d;
	open_with_fresh_ms(3600000);
	fail_reads(LEDGER_NEW_STREAMS);
	unread_rc = unasked[_i].ledger;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(view_lookup_dir(view, VIEW_ROOT, "Order", &d, &why), unasked[_i].lookup);
}
END_TEST

/* While it hangs another one is answered. */
static void ask_meanwhile(void)
{
	struct view_dir d;
	before_failing = NULL;
	unread = LEDGER_STREAM;
	view_touch(view, "Order", "o-1");
	ck_assert_int_eq(view_lookup_dir(view, VIEW_ROOT, "Other", &d, &why), RC_NOT_FOUND);
}

START_TEST(a_question_that_failed_late_does_not_undo_a_later_one)
{
	struct view_dir d;
	open_with_fresh_ms(3600000);
	fail_reads(LEDGER_NEW_STREAMS);
	before_failing = ask_meanwhile;
	ck_assert_int_eq(view_lookup_dir(view, VIEW_ROOT, "Order", &d, &why), RC_TEMPORARY);
	ck_assert_int_eq(view_lookup_dir(view, VIEW_ROOT, "Order", &d, &why), RC_NOT_FOUND);
}
END_TEST

START_TEST(events_are_found_by_id_and_by_time_with_a_ledger_and_without)
{
	_cleanup_(buf_release) struct buf names = BUF_INIT;
	char second[37];
	int64_t first_us, last_us, from_us;
	append("Order", "o-1", "Placed");
	from_us = last.recorded_us;
	append("Order", "o-2", "Paid");
	strcpy(second, last.event_id);
	append("Order", "o-1", "Shipped");
	if (_i) {
		view_free(&view);
		ledger_free(&ledger);
		view = open_view(NULL, UUID, LAYOUT_NATIVE);
	}
	struct view_event e;
	OK(view_find_id(view, second, &e, &why));
	ck_assert_str_eq(e.name, "0000000001-Paid.json");
	ck_assert_int_eq(view_find_id(view, "no-such", &e, &why), RC_NOT_FOUND);
	OK(view_list_time(view, from_us, INT64_MAX, 0, add_name, &names, &why));
	ck_assert_str_eq(buf_text(&names),
			 "0000000001-Placed.json 0000000001-Paid.json 0000000002-Shipped.json ");
	uint64_t at[2] = { 0, 6 };	/* stops at its first call */
	OK(view_list_time(view, from_us, INT64_MAX, 0, stop_after, at, &why));
	buf_reset(&names);
	OK(view_list_time(view, from_us, INT64_MAX, at[0], add_name, &names, &why));
	ck_assert_str_eq(buf_text(&names), "0000000001-Paid.json 0000000002-Shipped.json ");
	OK(view_time_range(view, &first_us, &last_us, &why));
	ck_assert_int_eq(first_us, from_us);
	ck_assert_int_eq(last_us, last.recorded_us);
}
END_TEST

START_TEST(an_empty_store_has_a_root_and_no_time)
{
	int64_t first_us, last_us;
	struct view_dir d;
	ck_assert_str_eq(ls(VIEW_ROOT), "");
	OK(view_get_dir(view, VIEW_ROOT, true, &d, &why));
	ck_assert_int_gt(d.mtime_us, 0);
	ck_assert_int_eq(view_time_range(view, &first_us, &last_us, &why), RC_NOT_FOUND);
	ck_assert_int_eq(view_get_dir(view, 77, true, &d, &why), RC_NOT_FOUND);
	ck_assert_int_eq(view_find_stream(view, "A", "x", true, &d, &why), RC_NOT_FOUND);
	ck_assert_int_eq(view_lookup_dir(view, VIEW_ROOT, "A", &d, &why), RC_NOT_FOUND);
}
END_TEST

START_TEST(long_names_are_shown_shortened_and_found_again)
{
	char id[251], name[600];
	memset(id, '%', sizeof(id) - 1);	/* each takes three bytes */
	id[sizeof(id) - 1] = '\0';
	struct ledger_object o = { .number = 1, .event_id = "a", .event_type = id, .size = 10 };
	struct ledger_reseed r = { .type = "A", .id = id, .seeding = 1, .objects = &o, .n = 1 };
	OK(ledger_reseed(ledger, &r, &why));
	struct view_dir type, d;
	_cleanup_(buf_release) struct buf got_type = BUF_INIT, got_id = BUF_INIT;
	OK(view_lookup_dir(view, VIEW_ROOT, "A", &type, &why));
	snprintf(name, sizeof(name), "%s", ls(type.row));
	ck_assert_uint_eq(strlen(name), strcspn(name, "/") + 2);
	name[strcspn(name, "/")] = '\0';
	ck_assert_uint_le(strlen(name), 255);
	OK(view_lookup_dir(view, type.row, name, &d, &why));
	OK(view_stream_of(view, d.row, &got_type, &got_id, &why));
	ck_assert_str_eq(buf_text(&got_id), id);
	snprintf(name, sizeof(name), "%s", ls(d.row));
	name[strlen(name) - 1] = '\0';
	ck_assert_uint_le(strlen(name), 255);
	struct view_event e;
	OK(view_lookup_event(view, d.row, name, &e, &why));
}
END_TEST

/* ------------------------------------------------------------------ objects alone */

static char *slurp(const char *path)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char piece[4096];
	FILE *f = fopen(path, "r");
	ck_assert_msg(f, "cannot open %s", path);
	for (size_t n; (n = fread(piece, 1, sizeof(piece), f));)
		buf_add(&text, piece, n);
	fclose(f);
	return buf_take(&text, NULL);
}

static void open_captured(void)
{
	const char *vectors = getenv("EVFS_VECTORS");
	snprintf(dir, sizeof(dir), "/tmp/evfs-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	char bucket[1024];
	snprintf(bucket, sizeof(bucket), "%s/store/bucket", vectors ? vectors : VECTORS_DEFAULT);
	OK(object_dir_new(&objects, bucket, &why));
	view = open_view(NULL, UUID, LAYOUT_INDEXED);
}

static void member(const char *line, const char *name, char *out, size_t size)
{
	struct json_value doc, key, value;
	struct json_iter it;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	OK(json_parse(line, strlen(line), JSON_STRICT, &doc, &why));
	json_iter_init(&it, &doc);
	while (json_iter_next(&it, &key, &value))
		if (json_string_is(&key, name) && value.type == JSON_STRING)
			json_string(&value, &text);
		else if (json_string_is(&key, name))
			buf_add(&text, value.text, value.len);
	snprintf(out, size, "%s", buf_text(&text));
}

START_TEST(the_captured_bucket_is_shown_as_its_own_system_reads_it)
{
	const char *vectors = getenv("EVFS_VECTORS");
	char path[1024], type[64], id[128], number[24], event_id[64], key[512], event_type[64];
	snprintf(path, sizeof(path), "%s/store/expected.ndjson",
		 vectors ? vectors : VECTORS_DEFAULT);
	_cleanup_(freep) char *expected = slurp(path);
	uint64_t events = 0, shown = 0;
	for (char *line = strtok(expected, "\n"); line; line = strtok(NULL, "\n")) {
		member(line, "aggregate_type", type, sizeof(type));
		member(line, "aggregate_id", id, sizeof(id));
		member(line, "sequence_number", number, sizeof(number));
		member(line, "event_id", event_id, sizeof(event_id));
		member(line, "event_type", event_type, sizeof(event_type));
		member(line, "s3_key", key, sizeof(key));
		struct view_dir d = stream(type, id);
		struct view_event e;
		uint64_t n = strtoull(number, NULL, 10);
		OK(view_event_numbered(view, d.row, n, &e, &why));
		_cleanup_(buf_release) struct buf got_key = BUF_INIT, got_id = BUF_INIT,
						  got_type = BUF_INIT, body = BUF_INIT;
		OK(view_event_facts(view, &e, &got_key, &got_id, &got_type, &why));
		ck_assert_str_eq(buf_text(&got_key), key);
		ck_assert_str_eq(buf_text(&got_id), event_id);
		ck_assert_str_eq(buf_text(&got_type), event_type);
		OK(view_read_event(view, &e, &body, &why));
		struct object_get get = { .key = key };
		OK(object_get(objects, &get, 1));
		ck_assert_uint_eq(get.len, body.len);
		ck_assert_mem_eq(get.buf, body.data, body.len);
		free(get.buf);
		if (n == 1)
			shown += d.events;
		events++;
		struct view_event by_id;
		OK(view_find_id(view, event_id, &by_id, &why));
		ck_assert_str_eq(by_id.name, e.name);
	}
	ck_assert_uint_eq(events, 58);
	ck_assert_uint_eq(shown, 58);
	ck_assert_str_eq(ls(VIEW_ROOT),
			 "Branch/ Database/ Instance/ OntologyClass/ connector_source/ ");
}
END_TEST

static void foreign(const char *id, const char *event_id, uint64_t number, uint64_t says,
		    bool store)
{
	char key[256], body[512];
	snprintf(key, sizeof(key), "events/2025/01/01/A/%s/%s.json", id, event_id);
	snprintf(body, sizeof(body),
		 "{\"event_id\":\"%s\",\"event_type\":\"T\",\"aggregate_type\":\"A\",\"aggregate_"
		 "id\":\"%s\","
		 "\"occurred_at\":\"2025-01-01T00:00:00Z\",\"actor\":null,\"data\":{},\"metadata\":"
		 "{},\"schema_version\":\"1\","
		 "\"sequence_number\":%ju}",
		 event_id, id, (uintmax_t)says);
	struct object_info info;
	if (store && object_stat(objects, key, &info, NULL) != RC_OK)
		put(key, body, 0);
	snprintf(body, sizeof(body),
		 "{\"event_id\": \"%s\", \"event_type\": \"T\", \"s3_key\": \"%s\"}", event_id,
		 key);
	snprintf(key, sizeof(key), "indexes/by-aggregate/A/%s/%020ju_%s.json", id,
		 (uintmax_t)number, event_id);
	put(key, body, 0);
}

static struct view *reopen(uint64_t gap_wait_ms)
{
	view_free(&view);
	struct view_source source = { .objects = objects, .layout = LAYOUT_INDEXED };
	struct view_options options = {
		.catalog = catalog, .uuid = UUID, .fresh_ms = 0, .gap_wait_ms = gap_wait_ms
	};
	OK(view_new(&view, &source, &options, &why));
	return view;
}

START_TEST(a_second_event_with_one_number_is_shown_beside_the_first)
{
	reopen(60000);
	foreign("x", "b", 1, 1, true);
	foreign("x", "a", 2, 2, true);
	struct view_dir d = stream("A", "x");
	foreign("x", "a0", 1, 1, true);
	ck_assert_str_eq(ls(d.row), "0000000001-T.json 0000000001-T~2.json 0000000002-T.json ");
	struct view_event e;
	OK(view_lookup_event(view, d.row, "0000000001-T~2.json", &e, &why));
	ck_assert_uint_eq(e.fork, 2);
	d = stream("A", "x");
	_cleanup_(freep) char *text = strdup(text_of(d.row, 0, 65536));
	ck_assert_uint_eq(strlen(text), d.stream_size);
	const char *first = strstr(text, "\"b\""), *second = strstr(text, "\"a0\""),
		   *third = strstr(text, "\"a\"");
	ck_assert(first && second && third && first < second && second < third);
}
END_TEST

START_TEST(a_young_hole_ends_the_stream_and_an_old_one_is_passed_until_it_is_filled)
{
	reopen(60000);
	foreign("x", "a", 1, 1, true);
	foreign("x", "c", 3, 3, true);
	struct view_dir d = stream("A", "x");
	ck_assert_str_eq(ls(d.row), "0000000001-T.json ");
	reopen(0);
	ck_assert_str_eq(ls(d.row), "0000000001-T.json 0000000003-T.json ");
	struct view_event before, after;
	OK(view_event_numbered(view, d.row, 3, &before, &why));
	_cleanup_(freep) char *text = strdup(text_of(d.row, 0, 65536));
	foreign("x", "b", 2, 2, true);
	ck_assert_str_eq(ls(d.row), "0000000001-T.json 0000000002-T.json 0000000003-T.json ");
	OK(view_get_event(view, d.row, before.ordinal, &after, &why));
	ck_assert_uint_eq(after.number, 3);
	d = stream("A", "x");
	ck_assert_uint_eq(strlen(text_of(d.row, 0, 65536)), d.stream_size);
	ck_assert_str_eq(strstr(text_of(d.row, 0, 65536), "{\"event_id\":\"c\""),
			 strstr(text, "{\"event_id\":\"c\""));
	ck_assert_ptr_nonnull(strstr(text_of(d.row, 0, 65536), "{\"event_id\":\"b\""));
}
END_TEST

START_TEST(what_is_no_event_is_left_out_and_stops_nothing)
{
	reopen(0);
	foreign("x", "a", 1, 1, true);
	foreign("x", "twice", 2, 3, true);	/* one object under two numbers */
	foreign("x", "twice", 3, 3, true);
	foreign("x", "gone", 4, 4, false);
	put("indexes/by-aggregate/A/x/00000000000000000005_bad.json", "{", 0);
	put("indexes/by-aggregate/A/x/00000000000000000006_none.json", "[]", 0);
	put("events/2025/01/01/A/x/old.json",
	    "{\"event_id\":\"old\",\"timestamp\":\"2025-01-01T00:00:00\",\"payload\":{},"
	    "\"aggregate_version\":1}",
	    0);
	put("indexes/by-aggregate/A/x/00000000000000000007_old.json",
	    "{\"s3_key\":\"events/2025/01/01/A/x/old.json\"}", 0);
	put("indexes/by-aggregate/A/x/events.json", "{}", 0);
	foreign("x", "z", 8, 8, true);
	struct view_dir d = stream("A", "x");
	ck_assert_str_eq(ls(d.row), "0000000001-T.json 0000000003-T.json 0000000008-T.json ");
}
END_TEST

START_TEST(an_id_may_be_a_stream_and_the_way_to_another)
{
	reopen(60000);
	foreign("db", "a", 1, 1, true);
	foreign("db/branch", "b", 1, 1, true);
	foreign("only/below", "c", 1, 1, true);
	struct view_dir d, only;
	OK(view_lookup_dir(view, VIEW_ROOT, "A", &d, &why));
	ck_assert_str_eq(ls(d.row), "db/ only/ ");
	OK(view_lookup_dir(view, d.row, "only", &only, &why));
	OK(view_lookup_dir(view, d.row, "db", &d, &why));
	ck_assert_str_eq(ls(d.row), "branch/ 0000000001-T.json ");
	OK(view_get_dir(view, only.row, true, &only, &why));
	ck_assert(!only.is_stream);
	ck_assert_str_eq(ls(only.row), "below/ ");
	reopen(60000);
	OK(view_lookup_dir(view, d.row, "branch", &d, &why));
	ck_assert_int_eq(view_lookup_dir(view, d.row, "nothing", &d, &why), RC_NOT_FOUND);
}
END_TEST

START_TEST(a_native_mirror_without_ledger_is_listed_from_its_objects)
{
	append("Order", "o-1", "Placed");
	append("Order", "o-1", "Paid");
	append("Order", "o-1/sub", "Placed");
	put("streams/Order/o-1/0000000003.json", "no event", 0);
	put("streams/Order/o-1/0000000004.json", "", 0);
	ledger_free(&ledger);
	view_free(&view);
	view = open_view(catalog, UUID, LAYOUT_NATIVE);
	ck_assert_str_eq(ls(VIEW_ROOT), "Order/ ");
	struct view_dir d = stream("Order", "o-1");
	ck_assert_str_eq(ls(d.row), "sub/ 0000000001-Placed.json 0000000002-Paid.json ");
	ck_assert_uint_eq(strlen(text_of(d.row, 0, 65536)), d.stream_size);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("view");
	TCase *tc = tcase_create("over a ledger");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, appends_are_seen_at_the_next_look_with_their_bytes);
	tcase_add_test(tc,
		       what_is_not_stored_is_read_from_the_ledger_and_keeps_its_ordinal_when_it_is);
	tcase_add_test(tc, the_text_of_a_stream_is_its_bodies_at_any_offset);
	tcase_add_test(tc, a_body_that_is_not_compact_fills_its_line_up_with_blanks);
	tcase_add_test(tc, a_listing_goes_on_behind_its_cursor_while_the_directory_grows);
	tcase_add_test(tc, only_a_prefix_is_shown_and_voids_are_left_out);
	tcase_add_test(
		tc,
		after_a_change_of_identity_only_what_is_firm_is_kept_and_no_ordinal_is_given_twice);
	tcase_add_test(
		tc,
		a_stream_that_the_ledger_must_seed_first_is_asked_for_once_and_shown_from_the_objects);
	tcase_add_test(tc, reading_goes_on_without_the_ledger_that_the_view_began_with);
	tcase_add_test(
		tc,
		an_aggregate_known_by_name_alone_is_not_shown_as_empty_where_nobody_can_be_asked);
	tcase_add_test(tc, directories_that_come_are_told_by_a_number_even_where_no_time_grows);
	tcase_add_test(tc, two_views_share_a_catalog_and_see_each_others_appends);
	tcase_add_loop_test(tc, a_catalog_that_is_damaged_or_anothers_is_made_anew, 0, 3);
	tcase_add_loop_test(tc, many_threads_read_while_one_appends, 0, 2);
	tcase_add_test(tc, where_no_catalog_can_be_made_a_temporary_one_serves);
	tcase_add_test(tc, an_answer_is_as_old_as_its_question);
	tcase_add_test(tc, what_the_ledger_did_not_answer_is_asked_again_though_nothing_was_committed);
	tcase_add_loop_test(tc, a_ledger_that_knows_nothing_that_counts_makes_no_name_doubtful, 0, ARRAY_SIZE(unasked));
	tcase_add_test(tc, a_question_that_failed_late_does_not_undo_a_later_one);
	tcase_add_test(tc, where_the_ledger_does_not_answer_nothing_is_said_not_to_be_there);
	tcase_add_test(tc, a_fresh_answer_is_not_asked_for_again_unless_this_process_appended);
	tcase_add_loop_test(tc, events_are_found_by_id_and_by_time_with_a_ledger_and_without, 0, 2);
	tcase_add_test(tc, an_empty_store_has_a_root_and_no_time);
	tcase_add_test(tc, long_names_are_shown_shortened_and_found_again);
	tcase_add_test(tc, a_native_mirror_without_ledger_is_listed_from_its_objects);
	suite_add_tcase(suite, tc);
	tc = tcase_create("over objects");
	tcase_add_checked_fixture(tc, setup_objects, teardown);
	tcase_add_test(tc, a_second_event_with_one_number_is_shown_beside_the_first);
	tcase_add_test(tc,
		       a_young_hole_ends_the_stream_and_an_old_one_is_passed_until_it_is_filled);
	tcase_add_test(tc, what_is_no_event_is_left_out_and_stops_nothing);
	tcase_add_test(tc, an_id_may_be_a_stream_and_the_way_to_another);
	suite_add_tcase(suite, tc);
	tc = tcase_create("the captured bucket");
	tcase_add_checked_fixture(tc, open_captured, teardown);
	tcase_add_test(tc, the_captured_bucket_is_shown_as_its_own_system_reads_it);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
