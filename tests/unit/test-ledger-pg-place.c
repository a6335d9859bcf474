/* SPDX-License-Identifier: Apache-2.0 */
/* Of the PostgreSQL ledger: which ledger it is, what is new in it, opening it, rights, settings. */
#include "config.h"
#include "ledger-pg-case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which ledger this is ---- */

START_TEST(a_store_row_of_another_transaction_is_another_ledger)
{
	struct ledger_append a;
	make();
	add("o-1", "a");
	char before[LEDGER_IDENTITY_MAX];
	strcpy(before, state().identity);
	/* what a restore of a dump does to it */
	pg_server_do(
		&server,
		"CREATE TABLE kept AS TABLE store; DELETE FROM store; INSERT INTO store SELECT *"
		" FROM kept; DROP TABLE kept");
	ck_assert_str_ne(state().identity, before);
	ck_assert_str_eq(state().written, before);
	ck_assert_int_eq(append_to(l, "o-1", "b", &a), RC_FENCED);
	ck_assert(!a.fenced_stream);
	ck_assert_str_eq(rows("o-1"), "fenced");
	size_t n;
	ck_assert_int_eq(ledger_claim(l, 1, 0, false, NULL, NULL, &n, NULL), RC_FENCED);
	struct ledger_ref ref = { 1, 1, "a" };
	ck_assert_int_eq(ledger_settle(l, &ref, 1, NULL), RC_FENCED);
	unmake();
}
END_TEST

START_TEST(a_restored_dump_is_another_ledger_and_misses_no_new_stream)
{
	char command[2000];
	struct ledger_append a;
	if (system("pg_dump --version >/dev/null 2>&1")) {
		printf("skip - no pg_dump\n");
		return;
	}
	make();
	add("o-1", "a");
	ask(&(struct ledger_query){ .what = LEDGER_NEW_STREAMS });
	int64_t position = told.position;
	snprintf(
		command, sizeof(command),
		"f=$(mktemp) && pg_dump -n %s -f $f '%s' && psql -qX -v ON_ERROR_STOP=1 -c 'SET"
		" client_min_messages = warning'"
		" -c 'DROP SCHEMA %s CASCADE' -f $f '%s' >/dev/null && rm $f",
		server.schema, getenv("EVFS_PG_URL"), server.schema, getenv("EVFS_PG_URL"));
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(append_to(l, "o-1", "b", &a), RC_FENCED);
	struct ledger_reseed r = { .type = "Order", .id = "o-1", .seeding = 2 };
	ck_assert_int_eq(ledger_seed(l, state().identity, 2, false, 0, NULL), RC_OK);
	ck_assert_int_eq(ledger_reseed(l, &r, NULL), RC_OK);
	r = (struct ledger_reseed){ .type = "Order", .id = "o-2", .seeding = 2 };
	ck_assert_int_eq(ledger_reseed(l, &r, NULL), RC_OK);
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_NEW_STREAMS,
						     .stream = position }),
			 "o-2");
	ck_assert_uint_eq(add("o-1", "b"), 2);
	unmake();
}
END_TEST

START_TEST(a_shorter_log_erases_the_written_identity)
{
	struct ledger_append a;
	make();
	add("o-1", "a");
	for (int way = 0; way < 4; way++) {
		size_t n;
		struct ledger_ref ref = { 1, 1, "a" };
		inside()->seen += UINT64_C(1)
				  << 40; /* as if the server had been put back to before that */
		if (way == 0)
			ck_assert_int_eq(append_to(l, "o-1", "b", &a), RC_FENCED);
		else if (way == 1)
			ck_assert_str_eq(rows("o-1"), "fenced");
		else if (way == 2)
			ck_assert_int_eq(ledger_claim(l, 1, 0, false, NULL, NULL, &n, NULL),
					 RC_FENCED);
		else
			ck_assert_int_eq(ledger_settle(l, &ref, 1, NULL), RC_FENCED);
		ck_assert_str_eq(state().written, "");
		/* and it is no fault any more once it is seeded */
		struct ledger_reseed r = { .type = "Order",
					   .id = "o-1",
					   .seeding = state().seeding + 1 },
				     complete = { .seeding = r.seeding };
		ck_assert_int_eq(ledger_seed(l, state().identity, r.seeding, false, 0, NULL),
				 RC_OK);
		ck_assert_int_eq(ledger_reseed(l, &r, NULL), RC_OK);
		ck_assert_int_eq(ledger_reseed(l, &complete, NULL), RC_OK);
		ck_assert_str_eq(rows("o-1"), "a");
	}
	inside()->seen += UINT64_C(1) << 40;
	ck_assert_str_eq(state().written, "");
	unmake();
}
END_TEST

START_TEST(a_commit_is_behind_the_position_that_was_seen)
{
	make();
	for (int i = 0; i < 3; i++) {
		char id[16];
		uint64_t before = state().commits;
		snprintf(id, sizeof(id), "id-%d", i);
		add("o-1", id);
		/* a copy of the server from before the append has a shorter log */
		ck_assert_uint_gt(inside()->seen, before);
		ck_assert_uint_ge(state().commits, inside()->seen);
	}
	unmake();
}
END_TEST

/* A crash takes back what was not on the disk: whoever saw it would take that for a restore. */
START_TEST(a_refusal_remembers_no_position_that_is_not_durable)
{
	struct ledger_append a;
	make();
	struct ledger_state s = state();
	ck_assert_int_eq(ledger_seed(l, s.identity, 2, false, 0, NULL), RC_OK);
	for (int i = 0; i < 20; i++) {
		pg_server_do(&server, "SELECT pg_logical_emit_message(false, 'evfs', 'not durable')");
		ck_assert_int_eq(append_to(l, "o-1", "a", &a), RC_FENCED);
		ck_assert(a.fenced_stream);
		const char *flushed = pg_server_do(&server, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
		ck_assert_uint_le(inside()->seen, strtoull(flushed, NULL, 10));
	}
	unmake();
}
END_TEST

START_TEST(a_stream_that_is_committed_late_is_told_as_new)
{
	make();
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_NEW_STREAMS }), "");
	add("o-1", "a");
	pg_server_do(
		&server,
		"BEGIN; INSERT INTO streams(type, id, mark, made) VALUES ('Order', 'late', 1,"
		" made_now(1))");
	add("o-2", "b");
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_NEW_STREAMS }), "o-1 o-2");
	int64_t position = told.position;
	pg_server_do(&server, "COMMIT");
	ask(&(struct ledger_query){ .what = LEDGER_NEW_STREAMS, .stream = position });
	ck_assert_str_eq(told.text, "late o-2");
	position = told.position;
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_NEW_STREAMS,
						     .stream = position }),
			 "");
	add("o-3", "c");
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_NEW_STREAMS,
						     .stream = position }),
			 "o-3");
	unmake();
}
END_TEST

START_TEST(pages_of_new_streams_go_on_where_one_transaction_made_many)
{
	int64_t position = 0;
	size_t seen = 0, pages = 0;
	make();
	for (int i = 0; i < 3; i++)
		pg_server_do(
			&server,
			"INSERT INTO streams(type, id, mark, made) SELECT 'Order', 'o-%d-' || n, 1,"
			" made_now(1)"
			" FROM generate_series(1, 5) n",
			i);
	for (; pages < 20; pages++) {
		ask(&(struct ledger_query){
			.what = LEDGER_NEW_STREAMS, .stream = position, .limit = 2 });
		if (!told.n)
			break;
		ck_assert_uint_eq(told.n, 5); /* those of one transaction are not cut apart */
		seen += told.n;
		position = told.position;
	}
	ck_assert_uint_eq(seen, 15);
	ck_assert_uint_eq(pages, 3);
	unmake();
}
END_TEST

/* ---- opening, rights, settings ---- */

static enum rc try_open(const struct ledger_pg_options *o, struct why *why)
{
	struct ledger *opened = NULL;
	enum rc rc = ledger_pg_open(&opened, o, NULL, why);
	ledger_free(&opened);
	return rc;
}

START_TEST(another_store_another_place_and_another_version_are_refused)
{
	struct why why;
	make();
	struct ledger_pg_options o = server.options;
	o.uuid = "01890a5d-ac96-774b-bcce-b302099a8058";
	ck_assert_int_eq(try_open(&o, &why), RC_INVALID);
	o = server.options;
	o.place = "s3://test/other";
	ck_assert_int_eq(try_open(&o, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "s3://test/prefix"));
	o = server.options;
	o.schema = "no such schema";
	ck_assert_int_eq(try_open(&o, &why), RC_NOT_FOUND);
	o = server.options;
	o.conninfo = server.owner;
	ck_assert_int_eq(ledger_pg_create(&o, &why), RC_EXISTS);
	o.place = "s3://test/other";
	ck_assert_int_eq(ledger_pg_create(&o, &why), RC_INVALID);
	pg_server_do(&server, "UPDATE version SET number = number + 1");
	ck_assert_int_eq(try_open(&server.options, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "newer"));
	unmake();
}
END_TEST

START_TEST(a_cleared_ledger_is_empty_and_made_again)
{
	struct why why = { "" };
	make();
	add("o-1", "a");
	char before[LEDGER_IDENTITY_MAX];
	strcpy(before, state().identity);
	struct ledger_pg_options o = server.options;
	o.conninfo = server.owner;
	enum rc rc = ledger_pg_clear(&o, &why);
	ck_assert_msg(rc == RC_OK, "%s", why.text);
	ck_assert_int_eq(ledger_pg_clear(&o, &why), RC_NOT_FOUND);
	/* nothing is known of any stream: that is not the same as a store without streams */
	ck_assert_str_eq(rows("o-1"), "fenced");
	ck_assert_str_eq(ask(&(struct ledger_query){ .what = LEDGER_ID, .event_id = "a" }), "fenced");
	ck_assert_int_eq(try_open(&server.options, &why), RC_NOT_FOUND);
	ck_assert_int_eq(ledger_pg_create(&o, &why), RC_OK);
	ck_assert_str_ne(state().identity, before);
	ck_assert_uint_eq(state().seeding, 0);
	seed();
	ck_assert_str_eq(rows("o-1"), "");
	ck_assert_uint_eq(add("o-1", "a"), 1);
	unmake();
}
END_TEST

START_TEST(roles_may_do_what_they_need_and_no_more)
{
	char reader[PG_SERVER_URL_MAX];
	struct ledger_append a;
	make();
	pg_server_role(&server, "reader", reader);
	if (!strcmp(reader, server.conninfo)) {
		printf("skip - no roles: contrib/sql/roles.sql makes them\n");
		unmake();
		return;
	}
	add("o-1", "a");
	/* the cases above are the appender's; it makes and drops nothing */
	struct ledger_pg_options o = server.options;
	o.schema = "test_not_for_the_appender";
	ck_assert_int_eq(ledger_pg_create(&o, NULL), RC_DENIED);
	ck_assert_int_eq(ledger_pg_clear(&server.options, NULL), RC_DENIED);
	struct ledger *r = open_as(reader, 5000);
	ck_assert_int_eq(append_to(r, "o-1", "b", &a), RC_DENIED);
	struct told t = { .text = "" };
	struct ledger_query q = { .what = LEDGER_EVENTS, .type = "Order", .id = "o-1" };
	ck_assert_int_eq(ledger_read(r, &q, take, &t, NULL, NULL), RC_OK);
	ck_assert_str_eq(t.text, "a");
	ledger_free(&r);
	unmake();
}
END_TEST

START_TEST(no_reason_has_a_password)
{
	static const char *const infos[] = {
		"postgresql://someone:hunter2@127.0.0.1:1/db",
		"host=127.0.0.1 port=1 password=hunter2",
		"host = a password = ' hunter2",
		"postgresql://someone:hunter2%@127.0.0.1:1/db",
		"postgresql://someone:hunter2@127.0.0.1:port/db",
		"password=x hunter2",
		"postgresql://someone@127.0.0.1:1/db?password=hunter2&nonsense=hunter2",
	};
	for (size_t i = 0; i < ARRAY_SIZE(infos); i++) {
		struct why why = { "" };
		struct ledger_pg_options o = {
			.conninfo = infos[i], .uuid = UUID, .place = "x", .timeout_ms = 1000
		};
		enum rc rc = try_open(&o, &why);
		ck_assert(rc == RC_TEMPORARY || rc == RC_INVALID);
		ck_assert_msg(why.text[0] && !strstr(why.text, "hunter2"), "%s", why.text);
	}
}
END_TEST

struct checks {
	char bad[1000];
	int n;
};

static void take_check(void *arg, const char *name, enum rc rc, const char *found, const char *fix)
{
	struct checks *k = arg;
	k->n++;
	if (rc == RC_OK)
		return;
	ck_assert(*fix);
	size_t len = strlen(k->bad);
	snprintf(k->bad + len, sizeof(k->bad) - len, "%s: %s;", name, found);
}

START_TEST(doctor_names_what_is_wrong)
{
	struct checks k = { .n = 0 };
	make();
	ledger_pg_check(&server.options, take_check, &k);
	ck_assert_str_eq(k.bad, "");
	ck_assert_int_gt(k.n, 7);
	pg_server_do(
		&server,
		"UPDATE seeding SET identity = ''; REVOKE ALL ON pending FROM PUBLIC,"
		" evfs_appender");
	ledger_pg_check(&server.options, take_check, &k);
	ck_assert_ptr_nonnull(strstr(k.bad, "INSERT on pending"));
	ck_assert_ptr_nonnull(strstr(k.bad, "not seeded"));
	struct ledger_pg_options o = server.options;
	o.conninfo = "postgresql://127.0.0.1:1/none";
	memset(&k, 0, sizeof(k));
	ledger_pg_check(&o, take_check, &k);
	ck_assert_int_eq(k.n, 1);
	ck_assert_ptr_nonnull(strstr(k.bad, "ledger server"));
	unmake();
}
END_TEST

START_TEST(a_server_that_may_lose_commits_is_refused)
{
	struct why why, warning;
	const struct ledger_pg_facts good = { .version = 150000,
					      .fsync = "on",
					      .full_page_writes = "on",
					      .synchronous_commit = "on",
					      .encoding = "UTF8",
					      .read_only = "off" };
	struct ledger_pg_facts f = good;
	warning.text[0] = '\0';
	ck_assert_int_eq(ledger_pg_check_facts(&f, &warning, &why), RC_OK);
	ck_assert_str_eq(warning.text, "");
	strcpy(f.read_only, "on");
	ck_assert_int_eq(ledger_pg_check_facts(&f, &warning, &why), RC_OK);
	ck_assert(warning.text[0]);
	f = good;
	strcpy(f.fsync, "off");
	ck_assert_int_eq(ledger_pg_check_facts(&f, NULL, &why), RC_DENIED);
	f = good;
	strcpy(f.full_page_writes, "off");
	ck_assert_int_eq(ledger_pg_check_facts(&f, NULL, &why), RC_DENIED);
	f = good;
	f.standby = true;
	ck_assert_int_eq(ledger_pg_check_facts(&f, NULL, &why), RC_DENIED);
	f = good;
	f.version = 130010;
	ck_assert_int_eq(ledger_pg_check_facts(&f, NULL, &why), RC_INVALID);
}
END_TEST

TCase *ledger_pg_place_cases(void)
{
	TCase *tc = tcase_create("place");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_store_row_of_another_transaction_is_another_ledger);
	tcase_add_test(tc, a_restored_dump_is_another_ledger_and_misses_no_new_stream);
	tcase_add_test(tc, a_shorter_log_erases_the_written_identity);
	tcase_add_test(tc, a_commit_is_behind_the_position_that_was_seen);
	tcase_add_test(tc, a_refusal_remembers_no_position_that_is_not_durable);
	tcase_add_test(tc, a_stream_that_is_committed_late_is_told_as_new);
	tcase_add_test(tc, pages_of_new_streams_go_on_where_one_transaction_made_many);
	tcase_add_test(tc, another_store_another_place_and_another_version_are_refused);
	tcase_add_test(tc, a_cleared_ledger_is_empty_and_made_again);
	tcase_add_test(tc, roles_may_do_what_they_need_and_no_more);
	tcase_add_test(tc, no_reason_has_a_password);
	tcase_add_test(tc, doctor_names_what_is_wrong);
	tcase_add_test(tc, a_server_that_may_lose_commits_is_refused);
	return tc;
}
