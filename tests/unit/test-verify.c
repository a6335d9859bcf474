/* SPDX-License-Identifier: Apache-2.0 */
/* test-verify.c - what verify names, how it goes on after an interruption, and what it holds in memory. */
#include "config.h"
#include "store/verify.h"

#include <check.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/key.h"

static char dir[64], state_path[128];
static struct layout_store info;

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test-verify-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	_cleanup_(object_freep) struct object_store *objects = NULL;
	char path[128];
	ck_assert_int_eq(object_dir_new(&objects, dir, NULL), RC_OK);
	ck_assert_int_eq(layout_create(objects, &info, NULL), RC_OK);
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_create(path, info.uuid, NULL), RC_OK);
	snprintf(state_path, sizeof(state_path), "%s/.evfs/verify", dir);
}

static void shell(const char *fmt, ...) _printf_(1, 2);

/* Run a command in the store's directory. */
static void shell(const char *fmt, ...)
{
	char command[1200];
	int n = snprintf(command, sizeof(command), "cd '%s' && ", dir);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command + n, sizeof(command) - (size_t)n, fmt, ap);
	va_end(ap);
	ck_assert_msg(system(command) == 0, "%s", command);
}

static void remove_dir(void)
{
	shell("rm -rf '%s'", dir);
}

/* What the objects do beside what they should: nothing, but for a test that says so. */
static const struct object_ops *object_ops;
static struct object_ops tampered_objects;
static const char *failing_key;		/* "" : all of them */

static void failing_get(struct object_store *o, struct object_get *items, size_t n)
{
	object_ops->get(o, items, n);
	for (size_t i = 0; i < n && failing_key; i++) {
		if (*failing_key && strcmp(items[i].key, failing_key) != 0)
			continue;
		free(items[i].buf);
		items[i].buf = NULL;
		items[i].rc = rc_fail(RC_TEMPORARY, &items[i].why, "injected on get");
	}
}

static enum rc failing_stat(struct object_store *o, const char *key, struct object_info *info_r, struct why *why)
{
	if (failing_key && !*failing_key)
		return rc_fail(RC_TEMPORARY, why, "injected on stat");
	return object_ops->stat(o, key, info_r, why);
}

static const struct ledger_ops *ledger_ops;
static struct ledger_ops tampered_ledger;
static _Atomic unsigned walks;		/* questions for streams by handle */

static enum rc counting_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced,
			     struct why *why)
{
	walks += q->what == LEDGER_STREAMS;
	return ledger_ops->read(l, q, fn, arg, fenced, why);
}

static struct store *open_store(bool with_ledger)
{
	struct object_store *objects = NULL;
	struct ledger *ledger = NULL;
	struct store *s = NULL;
	struct why why = { "" };
	char path[128];
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	failing_key = NULL;
	ck_assert_int_eq(object_dir_new(&objects, dir, &why), RC_OK);
	object_ops = objects->ops;
	tampered_objects = *object_ops;
	tampered_objects.get = failing_get;
	tampered_objects.stat = failing_stat;
	objects->ops = &tampered_objects;
	if (with_ledger) {
		ck_assert_msg(ledger_sqlite_open(&ledger, path, info.uuid, &why) == RC_OK, "%s", why.text);
		ledger_ops = ledger->ops;
		tampered_ledger = *ledger_ops;
		tampered_ledger.read = counting_read;
		ledger->ops = &tampered_ledger;
	}
	struct store_options options = { .timeout_ms = 5000, .fresh_ms = 1000, .gap_wait_ms = 5000, .max_event = 1 << 20 };
	ck_assert_int_eq(store_new(&s, objects, ledger, &info, &options, &why), RC_OK);
	if (with_ledger)
		ck_assert_msg(store_seed(s, NULL, NULL, &why) == RC_OK, "%s", why.text);
	return s;
}

/* Append n events to a stream; those of one call have their ids by `from` and their place. */
static void append(struct store *s, const char *type, const char *id, unsigned from, size_t n)
{
	struct draft *drafts = calloc(n, sizeof(*drafts));
	struct why why = { "" };
	for (size_t i = 0; i < n; i++) {
		char text[200];
		struct json_value v;
		snprintf(text, sizeof(text), "{\"event_id\":\"%s-%s-%zu\",\"event_type\":\"Tick\",\"data\":{\"n\":%zu}}", type, id,
			 from + i, from + i);
		ck_assert_int_eq(json_parse(text, strlen(text), JSON_STRICT, &v, &why), RC_OK);
		ck_assert_int_eq(draft_from_document(&v, &drafts[i], &why), RC_OK);
	}
	struct store_append a = { .type = type, .id = id, .drafts = drafts, .n = n };
	ck_assert_msg(store_append(s, &a, &why) == RC_OK, "%s", why.text);
	for (size_t i = 0; i < n; i++)
		draft_release(&drafts[i]);
	free(drafts);
}

/* ------------------------------------------------------------------ a run and what it told */

struct run {
	struct buf found;	/* a line each */
	size_t n;
	uint64_t stop_after;	/* events of this call; 0: never */
	uint64_t seen_events;
	bool stop, told_before_progress;
	uint64_t before;
};

static void take(void *arg, const struct verify_finding *f)
{
	struct run *r = arg;
	ck_assert_msg(f->advice && *f->advice, "no advice for %s", f->kind);
	ck_assert_ptr_nonnull(f->text);
	buf_printf(&r->found, "%s %s/%s %" PRIu64 " %s%s\n", f->kind, f->type ? f->type : "", f->id ? f->id : "", f->number,
		   f->key ? f->key : "", f->harmless ? " harmless" : "");
	r->n++;
}

static void watch(void *arg, const struct verify_progress *p)
{
	struct run *r = arg;
	r->before = p->before;
	r->seen_events = p->events - p->before;
	r->stop = r->stop_after && r->seen_events >= r->stop_after;
}

static bool stopped(void *arg)
{
	return ((struct run *)arg)->stop;
}

static enum rc verify(struct store *s, struct run *r, bool keep, struct verify_progress *p, bool *resumable)
{
	struct verify_options options = { .found = take, .progress = watch, .stopped = stopped, .arg = r,
					  .state = keep ? state_path : NULL };
	struct why why = { "" };
	buf_release(&r->found);
	r->n = 0;
	r->stop = false;
	enum rc rc = verify_run(s, &options, p, resumable, &why);
	ck_assert_msg(rc == RC_OK || *why.text, "no reason");
	return rc;
}

static void whole(struct store *s, struct run *r, struct verify_progress *p)
{
	bool resumable;
	ck_assert_int_eq(verify(s, r, false, p, &resumable), RC_OK);
	ck_assert(!resumable);
}

static bool has(const struct run *r, const char *line)
{
	_cleanup_(buf_release) struct buf wanted = BUF_INIT;
	const char *at = strstr(buf_text(&r->found), line);
	return at && (at == r->found.data || at[-1] == '\n');
}

static void must_have(const struct run *r, const char *line)
{
	ck_assert_msg(has(r, line), "not found: %s\nfound:\n%s", line, buf_text(&r->found));
}

/* ------------------------------------------------------------------ what is named */

/* Ids of which one is the begin of another: keys of 'a' stand before, between and behind those of the others. */
static const char *const ids[] = { "a", "a/-", "a/0", "a/0000000002x", "a/z", "b" };

static struct store *make_store(size_t events)
{
	struct store *s = open_store(true);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		append(s, "T", ids[i], 0, events);
	append(s, "U", "only", 0, 1);
	store_free(&s);	/* settles */
	return open_store(true);
}

START_TEST(a_good_store_has_no_findings_and_all_is_counted)
{
	_cleanup_(store_freep) struct store *s = make_store(150);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	whole(s, &r, &p);
	ck_assert_msg(!r.n, "%s", buf_text(&r.found));
	ck_assert_uint_eq(p.streams, ARRAY_SIZE(ids) + 1);
	ck_assert_uint_eq(p.events, 150 * ARRAY_SIZE(ids) + 1);
	buf_release(&r.found);
}
END_TEST

START_TEST(each_kind_of_damage_is_named_by_stream_number_and_key)
{
	_cleanup_(store_freep) struct store *s = make_store(10);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;

	shell("cd streams/T/a && chmod u+w *.json && sed -i 's/\"n\":1}/\"n\":7}/' 0000000002.json && rm 0000000004.json"
	      " && cp 0000000005.json 0000000006.json && echo broken >0000000007.json && echo hi >letter.txt"
	      " && cp 0000000008.json 0000000011.json && sed -i 's/\"sequence_number\": *8/\"sequence_number\":11/' 0000000011.json");
	shell("echo x >beside && mkdir other && echo y >other/deep");
	shell("mkdir streams/T/a%%2Fz && cp streams/T/a/z/0000000001.json streams/T/a%%2Fz && touch streams/T/b/0000000000.json");
	shell("cp streams/T/b/0000000003.json streams/T/a/z/0000000003.json");
	shell("rm -r streams/U");
	whole(s, &r, &p);
	must_have(&r, "different T/a 2 streams/T/a/0000000002.json\n");
	must_have(&r, "missing-object T/a 4 streams/T/a/0000000004.json\n");
	must_have(&r, "wrong-place T/a 6 streams/T/a/0000000006.json\n");
	must_have(&r, "malformed T/a 7 streams/T/a/0000000007.json\n");
	must_have(&r, "twice T/a 11 streams/T/a/0000000011.json\n");
	must_have(&r, "foreign / 0 streams/T/a/letter.txt\n");
	must_have(&r, "foreign / 0 beside\n");
	must_have(&r, "foreign / 0 other/deep\n");
	must_have(&r, "foreign / 0 streams/T/a%2Fz/0000000001.json\n");
	must_have(&r, "foreign / 0 streams/T/b/0000000000.json\n");
	must_have(&r, "wrong-place T/a/z 3 streams/T/a/z/0000000003.json\n");
	must_have(&r, "missing-object U/only 1 streams/U/only/0000000001.json\n");
	ck_assert_msg(r.n == 12, "%s", buf_text(&r.found));
	ck_assert_uint_eq(p.findings, 12);
	buf_release(&r.found);
}
END_TEST

START_TEST(an_event_that_the_ledger_does_not_have_is_named)
{
	_cleanup_(store_freep) struct store *s = make_store(3);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	shell("cd streams/T/b && sed 's/T-b-2/new/; s/\"sequence_number\": *3/\"sequence_number\":5/' 0000000003.json >0000000005.json");
	shell("mkdir streams/V && cp -r streams/T/b streams/V/b && sed -i 's/\"aggregate_type\": *\"T\"/\"aggregate_type\":\"V\"/; s/T-b/V-b/'"
	      " streams/V/b/*.json");
	whole(s, &r, &p);
	must_have(&r, "missing-row T/b 5 streams/T/b/0000000005.json\n");
	must_have(&r, "missing-row V/b 1 streams/V/b/0000000001.json\n");
	must_have(&r, "missing-row V/b 3 streams/V/b/0000000003.json\n");
	buf_release(&r.found);
}
END_TEST

START_TEST(voids_and_pending_appends_are_harmless)
{
	_cleanup_(store_freep) struct store *s = make_store(3);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	struct why why = { "" };
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	struct json_value v;
	const char *text = "{\"event_type\":\"Tick\",\"data\":{}}";
	ck_assert_int_eq(json_parse(text, strlen(text), JSON_STRICT, &v, &why), RC_OK);
	ck_assert_int_eq(draft_from_document(&v, &d, &why), RC_OK);

	/* committed by hand, by somebody who died: not stored */
	struct ledger_event e = { .event_id = "pending", .event_type = "Tick", .head = "{", .tail = "", .head_len = 1, .occurred_us = 1 };
	struct ledger_append a = { .type = "T", .id = "b", .has_expect = true, .expect = 8, .may_skip = true, .events = &e, .n = 1 };
	char path[128];
	_cleanup_(ledger_freep) struct ledger *l = NULL;
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_open(&l, path, info.uuid, &why), RC_OK);
	ck_assert_msg(ledger_append(l, &a, 1, 60000, &why) == RC_OK, "%s", why.text);
	whole(s, &r, &p);
	must_have(&r, "void T/b 4 streams/T/b/0000000004.json harmless\n");
	must_have(&r, "pending T/b 9 streams/T/b/0000000009.json harmless\n");
	ck_assert_uint_eq(p.findings, 0);
	ck_assert_uint_eq(r.n, 2);
	buf_release(&r.found);
}
END_TEST

static int64_t later(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + INT64_C(120000000);
}

START_TEST(an_append_that_is_not_stored_for_a_minute_is_late)
{
	_cleanup_(store_freep) struct store *s = make_store(3);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	struct why why = { "" };
	struct ledger_event e = { .event_id = "late", .event_type = "Tick", .head = "{", .tail = "", .head_len = 1, .occurred_us = 1 };
	struct ledger_append a = { .type = "T", .id = "b", .events = &e, .n = 1 };
	char path[128];
	_cleanup_(ledger_freep) struct ledger *l = NULL;
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_open(&l, path, info.uuid, &why), RC_OK);
	ck_assert_msg(ledger_append(l, &a, 1, 1, &why) == RC_OK, "%s", why.text);
	clock_set(later);
	whole(s, &r, &p);
	clock_set(NULL);
	must_have(&r, "late T/b 4 streams/T/b/0000000004.json\n");
	ck_assert_uint_eq(p.findings, 1);
	buf_release(&r.found);
}
END_TEST

START_TEST(recorded_times_that_run_backwards_are_named)
{
	struct store *s = make_store(3);
	store_free(&s);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	sqlite3 *db = NULL;
	char path[128];
	snprintf(path, sizeof(path), "%s/.evfs/ledger.db", dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "UPDATE events SET recorded_us = recorded_us - 5000000 WHERE number = 2 AND stream ="
				      " (SELECT stream FROM streams WHERE id = 'b')", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	s = open_store(true);
	whole(s, &r, &p);
	must_have(&r, "backwards T/b 2 ");
	store_free(&s);
	buf_release(&r.found);
}
END_TEST

START_TEST(a_store_without_ledger_names_gaps_and_lost_times)
{
	struct store *s = make_store(10);
	store_free(&s);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	shell("rm streams/T/b/0000000004.json && touch -d 2001-01-01 streams/T/b/0000000003.json");
	s = open_store(false);
	whole(s, &r, &p);
	must_have(&r, "gap T/b 4 ");
	must_have(&r, "times / 0  harmless\n");
	ck_assert_uint_eq(r.n, 2);
	store_free(&s);
	buf_release(&r.found);
}
END_TEST

START_TEST(one_object_that_cannot_be_read_is_named_and_the_run_goes_on)
{
	_cleanup_(store_freep) struct store *s = make_store(10);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	failing_key = "streams/T/b/0000000004.json";
	whole(s, &r, &p);
	must_have(&r, "unreadable T/b 4 ");
	ck_assert_uint_eq(r.n, 1);
	buf_release(&r.found);
}
END_TEST

START_TEST(objects_that_cannot_be_reached_end_the_run_which_goes_on_later)
{
	_cleanup_(store_freep) struct store *s = make_store(200);
	struct run r = { .found = BUF_INIT, .stop_after = 300 };
	struct verify_progress p;
	bool resumable;
	ck_assert_int_eq(verify(s, &r, true, &p, &resumable), RC_CANCELLED);
	ck_assert(resumable);
	r.stop_after = 0;
	failing_key = "";
	ck_assert_int_eq(verify(s, &r, true, &p, &resumable), RC_TEMPORARY);
	ck_assert(resumable);
	ck_assert_uint_eq(r.n, 0);
	failing_key = NULL;
	ck_assert_int_eq(verify(s, &r, true, &p, &resumable), RC_OK);
	ck_assert(!resumable);
	ck_assert_uint_eq(p.events, 200 * ARRAY_SIZE(ids) + 1);
	ck_assert_uint_ge(r.before, 300);
	buf_release(&r.found);
}
END_TEST

START_TEST(streams_without_objects_are_walked_by_pages)
{
	_cleanup_(store_freep) struct store *s = open_store(true);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p;
	for (unsigned i = 0; i < 300; i++) {
		char id[20];
		snprintf(id, sizeof(id), "s-%u", i);
		append(s, "T", id, 0, 1);
	}
	shell("rm -r streams/T/s-1*");
	walks = 0;
	whole(s, &r, &p);
	ck_assert_uint_eq(walks, 1);
	ck_assert_uint_eq(r.n, 111);
	ck_assert_uint_eq(p.streams, 300);
	buf_release(&r.found);
}
END_TEST

/* ------------------------------------------------------------------ going on */

static int by_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines, sorted: whole runs and those in pieces tell them in one order but for what is told outside of batches. */
static char *sorted(const struct run *r)
{
	char *copy = strdup(buf_text(&r->found)), *lines[4096], *save = NULL;
	_cleanup_(buf_release) struct buf out = BUF_INIT;
	size_t n = 0;
	for (char *line = strtok_r(copy, "\n", &save); line && n < ARRAY_SIZE(lines); line = strtok_r(NULL, "\n", &save))
		lines[n++] = line;
	qsort(lines, n, sizeof(*lines), by_line);
	for (size_t i = 0; i < n; i++)
		buf_printf(&out, "%s\n", lines[i]);
	free(copy);
	return buf_take(&out, NULL);
}

/* Damage of every kind, at places that the seed names. */
static void damage(unsigned seed, size_t events)
{
	srandom(seed);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		for (int k = 0; k < 6; k++) {
			size_t number = 1 + (size_t)random() % events;
			char path[100];
			snprintf(path, sizeof(path), "'streams/T/%s/%010zu.json'", ids[i], number);
			switch (random() % 4) {
			case 0: shell("rm -f %s", path); break;
			case 1: shell("rm -f %s && echo '{}' >%s", path, path); break;
			case 2: shell("touch %s.copy", path); break;
			default: shell("test ! -e %s || sed -i 's/Tick/Tock/' %s", path, path); break;
			}
		}
	if (random() % 2)
		shell("rm -r streams/U");
}

START_TEST(a_run_in_pieces_finds_what_a_whole_one_finds)
{
	const size_t events = 200;
	unsigned seed = (unsigned)clock_wall_us() + (unsigned)_i;
	const char *given = getenv("EVFS_SEED");
	if (given)
		seed = (unsigned)strtoul(given, NULL, 10);
	_cleanup_(store_freep) struct store *s = make_store(events);
	struct run r = { .found = BUF_INIT };
	struct verify_progress p, q;
	bool resumable = true;
	damage(seed, events);
	whole(s, &r, &p);
	ck_assert_uint_gt(r.n, 10);
	_cleanup_(freep) char *expected = sorted(&r);

	size_t pieces = 0;
	enum rc rc = RC_CANCELLED;
	while (rc == RC_CANCELLED) {
		r.stop_after = 1 + (uint64_t)random() % 300;
		rc = verify(s, &r, true, &q, &resumable);
		pieces++;
		ck_assert_uint_lt(pieces, 1000);
		/* killed, not asked to stop: what was written last counts */
		if (rc == RC_CANCELLED && random() % 4 == 0)
			shell("printf garbage >>.evfs/verify.found");
	}
	ck_assert_int_eq(rc, RC_OK);
	ck_assert_uint_gt(pieces, 2);
	_cleanup_(freep) char *found = sorted(&r);
	ck_assert_msg(!strcmp(expected, found), "seed %u\nwhole:\n%s\nin pieces:\n%s", seed, expected, found);
	ck_assert_msg(p.events == q.events && p.streams == q.streams && p.findings == q.findings,
		      "seed %u: %" PRIu64 " %" PRIu64 " %" PRIu64 ", in pieces %" PRIu64 " %" PRIu64 " %" PRIu64, seed, p.events,
		      p.streams, p.findings, q.events, q.streams, q.findings);
	shell("test ! -e .evfs/verify && test ! -e .evfs/verify.found && test ! -e .evfs/verify.seen");
	buf_release(&r.found);
}
END_TEST

START_TEST(a_state_of_another_seeding_or_a_broken_one_begins_anew)
{
	_cleanup_(store_freep) struct store *s = make_store(200);
	struct run r = { .found = BUF_INIT, .stop_after = 300 };
	struct verify_progress p;
	bool resumable;
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(verify(s, &r, true, &p, &resumable), RC_CANCELLED);
		ck_assert(resumable);
		shell(i ? "head -c 40 .evfs/verify >.evfs/x && mv .evfs/x .evfs/verify" : "rm .evfs/verify.seen");
		uint64_t stop = r.stop_after;
		r.stop_after = 0;
		ck_assert_int_eq(verify(s, &r, true, &p, &resumable), RC_OK);
		ck_assert_uint_eq(r.before, 0);
		ck_assert_uint_eq(p.events, 200 * ARRAY_SIZE(ids) + 1);
		r.stop_after = stop;
	}
	buf_release(&r.found);
}
END_TEST

/* ------------------------------------------------------------------ memory */

/* A store that is made up as it is read: streams of 100 events each. */
#define PER_STREAM 100u
static unsigned made_streams;
static bool made_objects;		/* false: the ledger names them, none is there */

static void made_key(unsigned stream, unsigned number, char key[64])
{
	snprintf(key, 64, "streams/T/s-%07u/%010u.json", stream, number);
}

static int made_body(unsigned stream, unsigned number, char body[512])
{
	return snprintf(body, 512,
			"{\"event_id\":\"%u-%u\",\"event_type\":\"Tick\",\"aggregate_type\":\"T\",\"aggregate_id\":\"s-%07u\","
			"\"occurred_at\":\"2026-01-01T00:00:00Z\",\"actor\":null,\"data\":{\"n\":%u},\"metadata\":{},"
			"\"schema_version\":\"1\",\"sequence_number\":%u}", stream, number, stream, number, number);
}

static enum rc made_list(struct object_store *o, const char *prefix, const char *after, enum object_list_flags flags,
			 object_list_fn *fn, void *arg, struct why *why)
{
	char key[64], body[512];
	(void)o;
	(void)why;
	if (strcmp(prefix, "streams/") != 0 || flags != OBJECT_LIST_DEEP || !made_objects)
		return RC_OK;
	for (unsigned s = 0; s < made_streams; s++)
		for (unsigned n = 1; n <= PER_STREAM; n++) {
			made_key(s, n, key);
			struct object_info one = { .key = key, .size = (uint64_t)made_body(s, n, body) };
			if ((!after || strcmp(key, after) > 0) && !fn(arg, &one))
				return RC_OK;
		}
	return RC_OK;
}

static void made_get(struct object_store *o, struct object_get *items, size_t n)
{
	(void)o;
	for (size_t i = 0; i < n; i++) {
		unsigned stream, number;
		char body[512];
		items[i].rc = RC_NOT_FOUND;
		if (!made_objects || sscanf(items[i].key, "streams/T/s-%u/%u.json", &stream, &number) != 2)
			continue;
		items[i].len = (size_t)made_body(stream, number, body);
		items[i].buf = strdup(body);
		items[i].rc = RC_OK;
	}
}

static enum rc made_stat(struct object_store *o, const char *key, struct object_info *info_r, struct why *why)
{
	(void)o;
	(void)info_r;
	return rc_fail(RC_NOT_FOUND, why, "no '%s'", key);
}

static void made_destroy(struct object_store *o)
{
	free(o);
}

static const struct object_ops made_object_ops = {
	.name = "made", .list = made_list, .get = made_get, .stat = made_stat, .destroy = made_destroy,
};

static void made_stream(unsigned s, char id[20], struct ledger_row *row)
{
	snprintf(id, 20, "s-%07u", s);
	*row = (struct ledger_row){ .stream = s + 1, .type = "T", .id = id, .event_id = "", .event_type = "", .last = PER_STREAM,
				    .settled_to = PER_STREAM, .position = s + 1 };
}

static enum rc made_events(const struct ledger_query *q, ledger_row_fn *fn, void *arg)
{
	unsigned stream;
	size_t told = 0;
	if (sscanf(q->id, "s-%u", &stream) != 1 || stream >= made_streams)
		return RC_OK;
	for (unsigned n = (unsigned)q->after + 1; n <= PER_STREAM && (!q->limit || told < q->limit); n++, told++) {
		char id[20], event_id[32], body[512];
		uint8_t digest[DRAFT_DIGEST_LEN];
		struct ledger_row row;
		made_stream(stream, id, &row);
		int len = made_body(stream, n, body);
		ck_assert_int_eq(draft_digest_body(body, (size_t)len, digest, NULL), RC_OK);
		snprintf(event_id, sizeof(event_id), "%u-%u", stream, n);
		row.number = n;
		row.event_id = event_id;
		row.event_type = "Tick";
		row.size = (uint64_t)len;
		row.occurred_us = row.recorded_us = INT64_C(1767225600000000);
		row.settled = true;
		row.digest = digest;
		if (!fn(arg, &row))
			break;
	}
	return RC_OK;
}

static enum rc made_read(struct ledger *l, const struct ledger_query *q, ledger_row_fn *fn, void *arg, bool *fenced, struct why *why)
{
	(void)l;
	(void)fenced;
	(void)why;
	if (q->what == LEDGER_EVENTS)
		return made_events(q, fn, arg);
	ck_assert(q->what == LEDGER_STREAMS || q->what == LEDGER_ID);
	size_t told = 0;
	for (unsigned s = (unsigned)q->stream; q->what == LEDGER_STREAMS && s < made_streams && (!q->limit || told < q->limit); s++, told++) {
		char id[20];
		struct ledger_row row;
		made_stream(s, id, &row);
		if (!fn(arg, &row))
			break;
	}
	return RC_OK;
}

static enum rc made_state(struct ledger *l, struct ledger_state *out, struct why *why)
{
	(void)l;
	(void)why;
	*out = (struct ledger_state){ .seeding = 1, .complete = true, .now_us = clock_wall_us() };
	return RC_OK;
}

static void made_ledger_destroy(struct ledger *l)
{
	free(l);
}

static const struct ledger_ops made_ledger_ops = {
	.name = "made", .read = made_read, .state = made_state, .destroy = made_ledger_destroy,
};

static uint64_t high_water_kb(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[200];
	uint64_t kb = 0;
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmHWM:", 6))
			kb = strtoull(line + 6, NULL, 10);
	if (f)
		fclose(f);
	return kb;
}

struct tally {
	uint64_t found;
};

static void tally(void *arg, const struct verify_finding *f)
{
	(void)f;
	((struct tally *)arg)->found++;
}

/* Verify a made-up store; how many kB the process ever had after it. */
static uint64_t verify_made(unsigned streams, bool with_objects, uint64_t expected)
{
	struct object_store *objects = calloc(1, sizeof(*objects));
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	struct store_options store = { .timeout_ms = 5000, .fresh_ms = 1000, .max_event = 1 << 20 };
	const struct layout_store made = { .layout = LAYOUT_NATIVE, .uuid = "0" };
	_cleanup_(store_freep) struct store *s = NULL;
	struct tally t = { 0 };
	struct verify_options options = { .found = tally, .arg = &t, .state = state_path };
	struct verify_progress p;
	struct why why = { "" };
	bool resumable;
	objects->ops = &made_object_ops;
	ledger->ops = &made_ledger_ops;
	made_streams = streams;
	made_objects = with_objects;
	ck_assert_int_eq(store_new(&s, objects, ledger, &made, &store, &why), RC_OK);
	ck_assert_msg(verify_run(s, &options, &p, &resumable, &why) == RC_OK, "%s", why.text);
	ck_assert_uint_eq(p.events, (uint64_t)streams * PER_STREAM);
	ck_assert_uint_eq(t.found, expected);
	return high_water_kb();
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_IS_OURS false	/* a sanitizer keeps what was freed */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEMORY_IS_OURS false
#endif
#endif
#ifndef MEMORY_IS_OURS
#define MEMORY_IS_OURS true
#endif

START_TEST(memory_does_not_grow_with_the_store_nor_with_what_is_found)
{
	const unsigned streams = MEMORY_IS_OURS ? 2000 : 200;
	uint64_t small = verify_made(100, true, 0);
	uint64_t large = verify_made(streams, true, 0);
	uint64_t lost = verify_made(streams, false, streams * PER_STREAM);
	printf("VmHWM: 10,000 events %" PRIu64 " kB, %u %" PRIu64 " kB, as many findings %" PRIu64 " kB\n", small,
	       streams * PER_STREAM, large, lost);
	if (MEMORY_IS_OURS) {
		ck_assert_uint_lt(large, small + 8192);
		ck_assert_uint_lt(lost, small + 16384);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("verify");
	TCase *t = tcase_create("verify");
	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_good_store_has_no_findings_and_all_is_counted);
	tcase_add_test(t, each_kind_of_damage_is_named_by_stream_number_and_key);
	tcase_add_test(t, an_event_that_the_ledger_does_not_have_is_named);
	tcase_add_test(t, voids_and_pending_appends_are_harmless);
	tcase_add_test(t, an_append_that_is_not_stored_for_a_minute_is_late);
	tcase_add_test(t, recorded_times_that_run_backwards_are_named);
	tcase_add_test(t, a_store_without_ledger_names_gaps_and_lost_times);
	tcase_add_test(t, one_object_that_cannot_be_read_is_named_and_the_run_goes_on);
	tcase_add_test(t, objects_that_cannot_be_reached_end_the_run_which_goes_on_later);
	tcase_add_test(t, streams_without_objects_are_walked_by_pages);
	tcase_add_loop_test(t, a_run_in_pieces_finds_what_a_whole_one_finds, 0, 4);
	tcase_add_test(t, a_state_of_another_seeding_or_a_broken_one_begins_anew);
	tcase_add_test(t, memory_does_not_grow_with_the_store_nor_with_what_is_found);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
