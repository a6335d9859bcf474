/* SPDX-License-Identifier: Apache-2.0 */
/* test-store.c - the append protocol over a real directory and a real ledger, with faults between. */
#include "config.h"
#include "store/store.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/key.h"
#include "store/verify.h"

static char dir[64];
static struct object_faults object_faults;
static struct ledger_faults ledger_faults;
static struct layout_store info;

/* The parts' own operations with some of them exchanged. */
static const struct ledger_ops *ledger_ops;
static const struct object_ops *object_ops;
static struct ledger_ops tampered_ledger;
static struct object_ops tampered_objects;
static unsigned seeds_to_fail;
static bool is_synced;		/* a test says since when */
static unsigned unsynced_reseeds;

static enum rc tampered_sync(struct object_store *o, struct why *why)
{
	is_synced = true;
	return object_ops->sync(o, why);
}

/* Here the settled state that is taken from the objects becomes durable. */
static enum rc tampered_reseed(struct ledger *l, struct ledger_reseed *r, struct why *why)
{
	unsynced_reseeds += r->n && !is_synced;
	return ledger_ops->reseed(l, r, why);
}

static enum rc tampered_seed(struct ledger *l, const char *identity, uint64_t number, bool other_line, int64_t floor_us,
			     struct why *why)
{
	if (seeds_to_fail) {
		seeds_to_fail--;
		return rc_fail(RC_TEMPORARY, why, "injected on seed");
	}
	return ledger_ops->seed(l, identity, number, other_line, floor_us, why);
}

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	object_faults = (struct object_faults){ 0 };
	ledger_faults = (struct ledger_faults){ 0 };
	seeds_to_fail = unsynced_reseeds = 0;

	_cleanup_(object_freep) struct object_store *objects = NULL;
	char path[128];
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
	ck_assert_int_eq(layout_create(objects, &info, NULL), RC_OK);
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_create(path, info.uuid, NULL), RC_OK);
}

static void remove_dir(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static struct store *open_unseeded(uint64_t timeout_ms)
{
	struct object_store *objects = NULL;
	struct ledger *ledger = NULL;
	struct store *s = NULL;
	struct why why = { "" };
	char path[128];

	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(object_dir_new(&objects, dir, &why), RC_OK);
	object_ops = objects->ops;
	tampered_objects = *object_ops;
	tampered_objects.sync = tampered_sync;
	objects->ops = &tampered_objects;
	ck_assert_int_eq(object_fault_new(&objects, objects, &object_faults, &why), RC_OK);
	ck_assert_msg(ledger_sqlite_open(&ledger, path, info.uuid, &why) == RC_OK, "%s", why.text);
	ledger_ops = ledger->ops;
	tampered_ledger = *ledger_ops;
	tampered_ledger.seed = tampered_seed;
	tampered_ledger.reseed = tampered_reseed;
	ledger->ops = &tampered_ledger;
	ck_assert_int_eq(ledger_fault_new(&ledger, ledger, &ledger_faults, &why), RC_OK);
	struct store_options options = { .timeout_ms = timeout_ms, .fresh_ms = 1000, .gap_wait_ms = 5000, .max_event = 1 << 20 };
	ck_assert_int_eq(store_new(&s, objects, ledger, &info, &options, &why), RC_OK);
	return s;
}

static struct store *open_store(uint64_t timeout_ms)
{
	struct store *s = open_unseeded(timeout_ms);
	struct why why = { "" };
	ck_assert_msg(store_seed(s, NULL, NULL, &why) == RC_OK, "%s", why.text);
	return s;
}

static struct draft draft_of(const char *text)
{
	struct draft d = DRAFT_INIT;
	struct json_value v;
	struct why why = { "" };
	ck_assert_int_eq(json_parse(text, strlen(text), JSON_STRICT, &v, &why), RC_OK);
	ck_assert_msg(draft_from_document(&v, &d, &why) == RC_OK, "%s", why.text);
	return d;
}

/* Append one document; a is filled. */
static enum rc append(struct store *s, struct store_append *a, const char *text, struct why *why)
{
	_cleanup_(draft_release) struct draft d = draft_of(text);
	*a = (struct store_append){ .type = "Order", .id = "o-1", .drafts = &d, .n = 1 };
	enum rc rc = store_append(s, a, why);
	a->drafts = NULL;
	return rc;
}

static uint64_t append_ok(struct store *s, const char *text)
{
	struct store_append a;
	struct why why = { "" };
	ck_assert_msg(append(s, &a, text, &why) == RC_OK, "%s", why.text);
	return a.first;
}

static void stored_body(uint64_t number, struct buf *out)
{
	_cleanup_(object_freep) struct object_store *objects = NULL;
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
	key_native_event("Order", "o-1", number, &key);
	struct object_get get = { .key = buf_text(&key) };
	ck_assert_int_eq(object_get(objects, &get, 1), RC_OK);
	buf_add(out, get.buf, get.len);
	free(get.buf);
}

static void count_finding(void *arg, const struct verify_finding *f)
{
	if (!f->harmless)
		printf("verify: %s %s\n", f->kind, f->text);
	(void)arg;
}

static uint64_t findings(struct store *s)
{
	struct verify_progress p;
	struct why why = { "" };
	const struct verify_options options = { .found = count_finding };
	bool resumable;
	ck_assert_msg(verify_run(s, &options, &p, &resumable, &why) == RC_OK, "%s", why.text);
	return p.findings;
}

#define DOC "{\"event_type\":\"OrderPlaced\",\"data\":{\"amount\":5}}"

START_TEST(appends_get_the_next_number_and_are_stored_with_all_ten_keys)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	ck_assert_uint_eq(append_ok(s, DOC), 1);
	ck_assert_uint_eq(append_ok(s, "{\"event_type\":\"OrderPaid\",\"data\":{\"n\":1.00e400},\"event_id\":\"e-2\","
				       "\"occurred_at\":\"2025-12-18T09:05:03.5Z\",\"actor\":\"ann\"}"), 2);
	stored_body(2, &body);
	ck_assert_str_eq(buf_text(&body),
			 "{\"event_id\":\"e-2\",\"event_type\":\"OrderPaid\",\"aggregate_type\":\"Order\",\"aggregate_id\":\"o-1\","
			 "\"occurred_at\":\"2025-12-18T09:05:03.500000Z\",\"actor\":\"ann\",\"data\":{\"n\":1.00e400},\"metadata\":{},"
			 "\"schema_version\":\"1\",\"sequence_number\":2}");
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

START_TEST(an_expectation_that_does_not_hold_is_refused_with_the_last_number)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	struct store_append a;
	struct why why = { "" };

	ck_assert_int_eq(append(s, &a, "{\"event_type\":\"A\",\"data\":{},\"expected_seq\":1}", &why), RC_CONFLICT);
	ck_assert_uint_eq(a.last, 0);
	ck_assert_uint_eq(append_ok(s, "{\"event_type\":\"A\",\"data\":{},\"expected_seq\":0}"), 1);
	ck_assert_int_eq(append(s, &a, "{\"event_type\":\"A\",\"data\":{},\"expected_seq\":0}", &why), RC_CONFLICT);
	ck_assert_uint_eq(a.last, 1);
	ck_assert_uint_eq(a.expected, 0);
	ck_assert(a.conditional);
	ck_assert_ptr_nonnull(strstr(why.text, "its last sequence is 1"));
	ck_assert_int_eq(a.outcome, STORE_NOT_COMMITTED);
}
END_TEST

START_TEST(a_named_number_that_is_taken_exists_and_one_too_far_is_a_conflict)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	struct store_append a;
	ck_assert_uint_eq(append_ok(s, "{\"event_type\":\"A\",\"data\":{},\"sequence_number\":1}"), 1);
	ck_assert_int_eq(append(s, &a, "{\"event_type\":\"A\",\"data\":{},\"sequence_number\":1}", NULL), RC_EXISTS);
	ck_assert_int_eq(append(s, &a, "{\"event_type\":\"A\",\"data\":{},\"sequence_number\":3}", NULL), RC_CONFLICT);
}
END_TEST

START_TEST(a_retry_with_the_same_id_gets_the_same_answer)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	struct store_append a;
	const char *doc = "{\"event_id\":\"e-1\",\"event_type\":\"A\",\"data\":{\"n\":1},\"expected_seq\":0}";
	ck_assert_uint_eq(append_ok(s, doc), 1);
	ck_assert_uint_eq(append_ok(s, DOC), 2);
	ck_assert_int_eq(append(s, &a, doc, NULL), RC_OK);
	ck_assert_uint_eq(a.first, 1);
	ck_assert(a.known);
	/* the same values, written differently */
	ck_assert_int_eq(append(s, &a, "{\"event_id\":\"e-1\",\"event_type\":\"A\",\"data\":{\"n\": 1.0}}", NULL), RC_OK);
	ck_assert_int_eq(append(s, &a, "{\"event_id\":\"e-1\",\"event_type\":\"A\",\"data\":{\"n\":2}}", NULL), RC_EXISTS);
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

START_TEST(a_batch_is_all_or_nothing_and_names_the_bad_document)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	struct draft d[3] = { draft_of(DOC), draft_of("{\"event_type\":\"B\",\"data\":{},\"expected_seq\":7}"), draft_of(DOC) };
	struct why why = { "" };
	struct store_append a = { .type = "Order", .id = "o-1", .drafts = d, .n = 3 };
	ck_assert_int_eq(store_append(s, &a, &why), RC_CONFLICT);	/* 7 after one of the batch: 6 before it */
	ck_assert_uint_eq(a.expected, 6);

	free(d[2].aggregate_id);
	d[2].aggregate_id = strdup("another");
	d[1].has_expect = false;
	ck_assert_int_eq(store_append(s, &a, &why), RC_INVALID);
	ck_assert_msg(strstr(why.text, "document 3 of 3") != NULL, "%s", why.text);

	free(d[2].aggregate_id);
	d[2].aggregate_id = NULL;
	d[0].has_expect = d[2].has_expect = true;
	d[2].expect = 1;
	ck_assert_int_eq(store_append(s, &a, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "2"));

	d[2].expect = 2;
	ck_assert_int_eq(store_append(s, &a, &why), RC_OK);
	ck_assert_uint_eq(a.first, 1);
	ck_assert_uint_eq(append_ok(s, DOC), 4);
	for (int i = 0; i < 3; i++)
		draft_release(&d[i]);
}
END_TEST

START_TEST(lost_replies_of_the_ledger_are_asked_for_again)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	ledger_faults.append_nth = 2;
	ledger_faults.append_rc = RC_UNCERTAIN;
	for (uint64_t i = 1; i <= 10; i++)
		ck_assert_uint_eq(append_ok(s, DOC), i);
	ledger_faults.append_nth = 0;
	ck_assert_uint_eq(append_ok(s, DOC), 11);
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

START_TEST(lost_replies_of_the_object_store_are_looked_after)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	object_faults.put_nth = 2;
	object_faults.put_rc = RC_UNCERTAIN;
	for (uint64_t i = 1; i <= 10; i++)
		ck_assert_uint_eq(append_ok(s, DOC), i);
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

START_TEST(what_is_committed_and_not_stored_is_said_so_and_stored_by_the_sweeper)
{
	_cleanup_(store_freep) struct store *s = open_store(300);
	struct store_append a;
	struct why why = { "" };
	size_t swept = 0;

	object_faults.put_nth = 1;
	object_faults.put_rc = RC_TEMPORARY;
	uint64_t began = clock_boot_ms();
	ck_assert_int_eq(append(s, &a, DOC, &why), RC_TEMPORARY);
	ck_assert_uint_lt(clock_boot_ms() - began, 5000);
	ck_assert_int_eq(a.outcome, STORE_COMMITTED);
	ck_assert_ptr_nonnull(strstr(why.text, "committed"));

	object_faults.put_nth = 0;
	ck_assert_int_eq(store_sweep(s, true, &swept, &why), RC_OK);
	ck_assert_uint_eq(swept, 1);
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	stored_body(1, &body);
	ck_assert_uint_eq(append_ok(s, DOC), 2);
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

static void put_event(uint64_t number, const char *event_id)
{
	_cleanup_(object_freep) struct object_store *objects = NULL;
	_cleanup_(buf_release) struct buf key = BUF_INIT;
	char body[400];
	int n = snprintf(body, sizeof(body), "{\"event_id\":\"%s\",\"event_type\":\"A\",\"aggregate_type\":\"Order\",\"aggregate_id\":\"o-1\","
			 "\"occurred_at\":\"2025-01-01T00:00:00Z\",\"actor\":null,\"data\":{},\"metadata\":{},\"schema_version\":\"1\","
			 "\"sequence_number\":%lu}", event_id, (unsigned long)number);
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
	key_native_event("Order", "o-1", number, &key);
	struct object_put put = { .key = buf_text(&key), .buf = body, .len = (size_t)n };
	ck_assert_int_eq(object_put(objects, &put, 1, 0), RC_OK);
}

START_TEST(objects_ahead_of_the_ledger_keep_their_numbers)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	struct store_append a;
	ck_assert_uint_eq(append_ok(s, DOC), 1);
	put_event(2, "ahead-2");
	put_event(3, "ahead-3");
	ck_assert_uint_eq(append_ok(s, DOC), 4);
	ck_assert_int_eq(append(s, &a, "{\"event_id\":\"ahead-3\",\"event_type\":\"A\",\"data\":{}}", NULL), RC_OK);
	ck_assert_uint_eq(a.first, 3);
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

static void lose_ledger(void)
{
	char command[512], path[128];
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	snprintf(command, sizeof(command), "rm -f '%s' '%s-wal' '%s-shm'", path, path, path);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(ledger_sqlite_create(path, info.uuid, NULL), RC_OK);
}

START_TEST(a_new_ledger_learns_from_the_objects)
{
	struct store *s = open_store(5000);
	for (uint64_t i = 1; i <= 200; i++)
		append_ok(s, DOC);
	ck_assert_uint_eq(append_ok(s, "{\"event_id\":\"mine\",\"event_type\":\"A\",\"data\":{\"x\":[1,2]}}"), 201);
	store_free(&s);
	lose_ledger();

	s = open_store(5000);
	struct store_append a;
	ck_assert_int_eq(append(s, &a, "{\"event_id\":\"mine\",\"event_type\":\"A\",\"data\":{\"x\":[1,2]},\"expected_seq\":9}", NULL), RC_OK);
	ck_assert_uint_eq(a.first, 201);
	ck_assert_uint_eq(append_ok(s, DOC), 202);
	ck_assert_uint_eq(findings(s), 0);
	store_free(&s);
}
END_TEST

START_TEST(a_ledger_replaced_under_an_open_store_is_seeded_before_the_next_append)
{
	_cleanup_(store_freep) struct store *s = open_store(400);
	struct why why = { "" };
	struct store_append a;
	ck_assert_uint_eq(append_ok(s, DOC), 1);
	ck_assert_uint_eq(append_ok(s, DOC), 2);
	lose_ledger();
	enum rc rc = RC_TEMPORARY;
	for (int i = 0; i < 10 && rc == RC_TEMPORARY; i++)
		rc = append(s, &a, DOC, &why);
	ck_assert_msg(rc == RC_OK, "%s", why.text);
	ck_assert_uint_eq(a.first, 3);
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

START_TEST(a_ledger_that_was_left_behind_learns_what_came_since)
{
	struct store *s = open_store(400);
	struct layout_seeding seeding;
	_cleanup_(object_freep) struct object_store *o = NULL;
	ck_assert_uint_eq(append_ok(s, DOC), 1);
	store_free(&s);
	ck_assert_int_eq(object_dir_new(&o, dir, NULL), RC_OK);
	ck_assert_int_eq(layout_read_seeding(o, &seeding, NULL), RC_OK);
	seeding.number += 4;	/* by another ledger: this one looks right to itself */
	strcpy(seeding.identity, "elsewhere");
	ck_assert_int_eq(layout_write_seeding(o, &seeding, NULL), RC_OK);
	put_event(2, "since");
	s = open_store(400);
	ck_assert_uint_eq(append_ok(s, DOC), 3);
	store_free(&s);
}
END_TEST

/* Committed, not stored: nobody sweeps. */
static void only_commit(struct store *s, const char *text)
{
	static const enum store_ack ack = STORE_ACK_COMMITTED;
	_cleanup_(draft_release) struct draft d = draft_of(text);
	struct store_append a = { .type = "Order", .id = "o-1", .drafts = &d, .n = 1, .ack = &ack };
	struct why why = { "" };
	ck_assert_msg(store_append(s, &a, &why) == RC_OK, "%s", why.text);
}

START_TEST(a_seeding_that_ends_halfway_again_and_again_gives_no_number_up)
{
	struct store *s = open_store(200);
	only_commit(s, "{\"event_type\":\"A\",\"data\":{},\"expected_seq\":0}");
	object_faults.put_nth = 1;	/* it can't be stored before the end either */
	object_faults.put_rc = RC_TEMPORARY;
	store_free(&s);
	object_faults.put_nth = 0;

	/* the same ledger in another place: all that it holds is good */
	char command[512];
	snprintf(command, sizeof(command), "cd '%s/.evfs' && cp ledger.db copy && mv copy ledger.db", dir);
	ck_assert_int_eq(system(command), 0);
	s = open_unseeded(5000);
	seeds_to_fail = 3;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(store_seed(s, NULL, NULL, NULL), RC_TEMPORARY);
	ck_assert_int_eq(store_seed(s, NULL, NULL, NULL), RC_OK);

	size_t swept = 0;
	ck_assert_int_eq(store_sweep(s, true, &swept, NULL), RC_OK);
	ck_assert_uint_eq(swept, 1);
	ck_assert_uint_eq(append_ok(s, DOC), 2);
	ck_assert_uint_eq(findings(s), 0);
	store_free(&s);
}
END_TEST

START_TEST(a_sweep_that_heeds_no_lease_ends)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	size_t swept = 0;
	for (int i = 0; i < 300; i++)	/* more than one claim gives out */
		only_commit(s, DOC);
	ck_assert_int_eq(store_sweep(s, true, &swept, NULL), RC_OK);
	ck_assert_uint_eq(swept, 300);
	ck_assert_int_eq(store_sweep(s, true, &swept, NULL), RC_OK);
	ck_assert_uint_eq(swept, 0);
	ck_assert_uint_eq(findings(s), 0);
}
END_TEST

START_TEST(a_reseed_settles_what_the_disk_has)
{
	struct store *s = open_store(5000);
	append_ok(s, DOC);
	store_free(&s);
	lose_ledger();
	is_synced = false;
	s = open_store(5000);
	ck_assert_uint_eq(unsynced_reseeds, 0);

	put_event(2, "ahead-2");
	is_synced = false;
	ck_assert_uint_eq(append_ok(s, DOC), 3);
	ck_assert_uint_eq(unsynced_reseeds, 0);
	store_free(&s);
}
END_TEST

static void keep_failure(void *arg, const char *type, const char *id, enum rc rc, const char *text)
{
	struct why *kept = arg;
	(void)type;
	(void)id;
	if (rc != RC_OK && strstr(text, "dropped: "))
		snprintf(kept->text, sizeof(kept->text), "%s", text);
}

START_TEST(an_event_that_is_dropped_is_told_as_a_failure_that_names_it)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	struct why told = { "" };
	size_t swept = 0;
	store_on_notice(s, keep_failure, &told);
	only_commit(s, "{\"event_id\":\"loser\",\"event_type\":\"A\",\"data\":{},\"expected_seq\":0}");
	put_event(1, "ahead-1");
	ck_assert_int_eq(store_sweep(s, true, &swept, NULL), RC_OK);
	ck_assert_msg(strstr(told.text, "number 1 'loser'") != NULL, "'%s'", told.text);
	ck_assert_uint_eq(append_ok(s, DOC), 2);
}
END_TEST

START_TEST(what_is_no_event_under_a_number_makes_a_void)
{
	struct store *s = open_store(5000);
	append_ok(s, DOC);
	store_free(&s);
	char command[512];
	snprintf(command, sizeof(command), "printf '{\"trunc' > '%s/streams/Order/o-1/0000000002.json'", dir);
	ck_assert_int_eq(system(command), 0);

	s = open_store(5000);
	ck_assert_uint_eq(append_ok(s, DOC), 3);
	ck_assert_uint_ge(findings(s), 1);
	store_free(&s);
}
END_TEST

START_TEST(what_was_only_committed_is_stored_before_the_store_closes)
{
	struct store *s = open_store(5000);
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	only_commit(s, DOC);
	store_free(&s);
	stored_body(1, &body);
	ck_assert_uint_gt(body.len, 0);
}
END_TEST

START_TEST(an_object_too_large_to_read_stops_no_other_stream)
{
	struct store *s = open_store(5000);
	append_ok(s, DOC);
	store_free(&s);
	char command[512];
	snprintf(command, sizeof(command), "mkdir -p '%s/streams/Aaa/x' && truncate -s 70M '%s/streams/Aaa/x/0000000002.json'", dir, dir);
	ck_assert_int_eq(system(command), 0);
	lose_ledger();

	s = open_store(5000);
	ck_assert_uint_eq(append_ok(s, DOC), 2);
	ck_assert_uint_ge(findings(s), 1);
	store_free(&s);
}
END_TEST

START_TEST(limits_and_read_only_are_refused_before_anything_happens)
{
	_cleanup_(store_freep) struct store *s = open_store(5000);
	_cleanup_(buf_release) struct buf big = BUF_INIT;
	_cleanup_(buf_release) struct buf id = BUF_INIT;
	struct why why = { "" };
	struct store_append a;
	buf_add_text(&big, "{\"event_type\":\"A\",\"data\":{\"x\":\"");
	while (big.len < (1 << 20))
		buf_add_text(&big, "0123456789abcdef");
	buf_add_text(&big, "\"}}");
	ck_assert_int_eq(append(s, &a, buf_text(&big), &why), RC_TOO_LARGE);
	while (id.len < 300)
		buf_add_char(&id, 'x');
	_cleanup_(draft_release) struct draft d = draft_of(DOC);
	a = (struct store_append){ .type = "Order", .id = buf_text(&id), .drafts = &d, .n = 1 };
	ck_assert_int_eq(store_append(s, &a, &why), RC_INVALID);
	struct object_store *objects = NULL;
	_cleanup_(store_freep) struct store *ro = NULL;
	struct store_options options = { .timeout_ms = 1000, .max_event = 1 << 20, .read_only = "a test says so" };
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
	ck_assert_int_eq(store_new(&ro, objects, NULL, &info, &options, NULL), RC_OK);
	ck_assert_int_eq(append(ro, &a, DOC, &why), RC_DENIED);
	ck_assert_ptr_nonnull(strstr(why.text, "a test says so"));
	ck_assert_uint_eq(append_ok(s, DOC), 1);
}
END_TEST
int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("protocol");
	tcase_add_checked_fixture(tc, make_dir, remove_dir);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, appends_get_the_next_number_and_are_stored_with_all_ten_keys);
	tcase_add_test(tc, an_expectation_that_does_not_hold_is_refused_with_the_last_number);
	tcase_add_test(tc, a_named_number_that_is_taken_exists_and_one_too_far_is_a_conflict);
	tcase_add_test(tc, a_retry_with_the_same_id_gets_the_same_answer);
	tcase_add_test(tc, a_batch_is_all_or_nothing_and_names_the_bad_document);
	tcase_add_test(tc, lost_replies_of_the_ledger_are_asked_for_again);
	tcase_add_test(tc, lost_replies_of_the_object_store_are_looked_after);
	tcase_add_test(tc, what_is_committed_and_not_stored_is_said_so_and_stored_by_the_sweeper);
	tcase_add_test(tc, objects_ahead_of_the_ledger_keep_their_numbers);
	tcase_add_test(tc, a_new_ledger_learns_from_the_objects);
	tcase_add_test(tc, a_ledger_that_was_left_behind_learns_what_came_since);
	tcase_add_test(tc, a_ledger_replaced_under_an_open_store_is_seeded_before_the_next_append);
	tcase_add_test(tc, a_seeding_that_ends_halfway_again_and_again_gives_no_number_up);
	tcase_add_test(tc, a_sweep_that_heeds_no_lease_ends);
	tcase_add_test(tc, a_reseed_settles_what_the_disk_has);
	tcase_add_test(tc, an_event_that_is_dropped_is_told_as_a_failure_that_names_it);
	tcase_add_test(tc, what_is_no_event_under_a_number_makes_a_void);
	tcase_add_test(tc, what_was_only_committed_is_stored_before_the_store_closes);
	tcase_add_test(tc, an_object_too_large_to_read_stops_no_other_stream);
	tcase_add_test(tc, limits_and_read_only_are_refused_before_anything_happens);
	suite_add_tcase(suite, tc);
	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
