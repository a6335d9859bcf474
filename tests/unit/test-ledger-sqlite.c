/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the SQLite ledger can suffer: its file removed, replaced, copied over, damaged, under
 * processes that are up.
 */
#include "config.h"
#include "ledger/ledger.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

static char dir[64], path[100];

_printf_(1, 2) static void shell(const char *fmt, ...)
{
	char command[1000];
	int n = snprintf(command, sizeof(command), "cd %s && ", dir);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command + n, sizeof(command) - (size_t)n, fmt, ap);
	va_end(ap);
	ck_assert_msg(!system(command), "%s", command);
}

static void setup(void)
{
	strcpy(dir, "/tmp/test-ledger-sqlite-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ledger.db", dir);
	ck_assert_int_eq(ledger_sqlite_create(path, UUID, NULL), RC_OK);
}

static void teardown(void)
{
	shell("rm -rf %s", dir);
}

/* ---- a process that has the ledger open and does what it is told ---- */

enum verb { APPEND, STATE, SEED, RESEED, ROWS, CLOSE };

struct order {
	enum verb verb;
	unsigned n, size;	/* APPEND: how many appends, of so large a body */
	char first;		/* of ids */
};

struct report {
	enum rc rc;
	struct why why;
	bool fenced_stream;
	struct ledger_state state;
	uint64_t number;
	char rows[200];
};

static void append_some(struct ledger *l, const struct order *o, struct report *r)
{
	_cleanup_(freep) char *body = calloc(1, o->size + 1);
	for (unsigned i = 0; i < o->n && r->rc == RC_OK; i++) {
		char id[37];
		snprintf(id, sizeof(id), "00000000-0000-4000-8000-%08x%04x", i, (unsigned)o->first);
		struct ledger_event e = {
			.event_id = id, .event_type = "Paid", .head = body, .head_len = o->size
		};
		struct ledger_append a = { .type = "Order", .id = "o-1", .events = &e, .n = 1 };
		r->rc = ledger_append(l, &a, 1, 0, &r->why);
		if (r->rc == RC_OK && a.rc != RC_OK)
			r->why = a.why;
		if (r->rc == RC_OK)
			r->rc = a.rc;
		r->fenced_stream = a.fenced_stream;
		r->number = e.number;
	}
}

static bool name_row(void *arg, const struct ledger_row *row)
{
	struct report *r = arg;
	size_t len = strlen(r->rows);
	if (len < sizeof(r->rows) - 2)
		snprintf(r->rows + len, 2, "%c",
			 row->span ? '~' : (char)strtol(row->event_id + 32, NULL, 16));
	return true;
}

static void obey(struct ledger *l, const struct order *o, struct report *r)
{
	memset(r, 0, sizeof(*r));
	switch (o->verb) {
	case APPEND:
		append_some(l, o, r);
		break;
	case STATE:
		r->rc = ledger_state(l, &r->state, &r->why);
		break;
	case SEED:
		r->rc = ledger_state(l, &r->state, &r->why);
		if (r->rc == RC_OK)
			r->rc = ledger_seed(l, r->state.identity, r->state.seeding + 1, false, 0,
					    &r->why);
		break;
	case RESEED: {
		r->rc = ledger_state(l, &r->state, &r->why);
		struct ledger_reseed stream = { .type = "Order",
						.id = "o-1",
						.seeding = r->state.seeding },
				     complete = stream;
		complete.type = NULL;
		if (r->rc == RC_OK)
			r->rc = ledger_reseed(l, &stream, &r->why);
		if (r->rc == RC_OK)
			r->rc = ledger_reseed(l, &complete, &r->why);
		break;
	}
	case ROWS: {
		struct ledger_query q = {
			.what = LEDGER_EVENTS, .type = "Order", .id = "o-1", .unseeded_too = true
		};
		r->rc = ledger_read(l, &q, name_row, r, NULL, &r->why);
		break;
	}
	case CLOSE:
		break;
	}
}

struct process {
	pid_t pid;
	int fd;
};

static void live(int fd)
{
	struct ledger *l = NULL;
	struct report r;
	struct order o;
	memset(&r, 0, sizeof(r));
	r.rc = ledger_sqlite_open(&l, path, UUID, &r.why);
	if (write(fd, &r, sizeof(r)) != sizeof(r))
		_exit(1);
	while (r.rc == RC_OK || l) {
		if (read(fd, &o, sizeof(o)) != sizeof(o))
			break;
		obey(l, &o, &r);
		if (o.verb == CLOSE)
			ledger_free(&l);
		if (write(fd, &r, sizeof(r)) != sizeof(r))
			break;
	}
	_exit(0);
}

static struct report hear(const struct process *p)
{
	struct report r;
	ck_assert_int_eq(recv(p->fd, &r, sizeof(r), MSG_WAITALL), sizeof(r));
	return r;
}

static void order(const struct process *p, const struct order *o)
{
	ck_assert_int_eq(write(p->fd, o, sizeof(*o)), sizeof(*o));
}

static struct process begin_rc(enum rc rc)
{
	int fds[2];
	struct process p;
	ck_assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	p.pid = fork();
	ck_assert_int_ge(p.pid, 0);
	if (!p.pid) {
		close(fds[0]);
		live(fds[1]);
	}
	close(fds[1]);
	p.fd = fds[0];
	struct report r = hear(&p);
	ck_assert_msg(r.rc == rc, "%s", r.why.text);
	return p;
}

static struct process begin(void)
{
	return begin_rc(RC_OK);
}

static struct report tell(const struct process *p, enum verb verb)
{
	struct order o = { .verb = verb };
	order(p, &o);
	return hear(p);
}

static struct report append(const struct process *p, char id)
{
	struct order o = { .verb = APPEND, .n = 1, .first = id };
	order(p, &o);
	return hear(p);
}

static void end(struct process *p, bool kill_it)
{
	if (kill_it)
		kill(p->pid, SIGKILL);
	else
		tell(p, CLOSE);
	close(p->fd);
	int status;
	ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
}

static void ck_ok(struct report r)
{
	ck_assert_msg(r.rc == RC_OK, "%s: %s", rc_name(r.rc), r.why.text);
}

static void ck_fenced(const struct process *p)
{
	struct report r = append(p, 'z');
	ck_assert_msg(r.rc == RC_FENCED, "%s: %s", rc_name(r.rc), r.why.text);
	ck_assert(!r.fenced_stream);
	r = tell(p, STATE);
	ck_ok(r);
	ck_assert_str_ne(r.state.identity, r.state.written);
}

static void ck_not_fenced(const struct process *p)
{
	struct report r = tell(p, STATE);
	ck_ok(r);
	ck_assert_str_eq(r.state.identity, r.state.written);
}

static void ck_rows(const struct process *p, const char *rows)
{
	struct report r = tell(p, ROWS);
	ck_ok(r);
	ck_assert_str_eq(r.rows, rows);
}

/* A seeded ledger with event a in its main file, which is also in old.db. */
static void make_old(void)
{
	struct process p = begin();
	ck_ok(tell(&p, SEED));
	ck_ok(tell(&p, RESEED));
	ck_ok(append(&p, 'a'));
	end(&p, false);
	shell("cp ledger.db old.db");
}

/* Both agree that it must be seeded; seeded by one, the other goes on. */
static void ck_recovers(struct process *p, struct process *q, const char *rows)
{
	ck_fenced(p);
	ck_fenced(q);
	struct report a = tell(p, STATE), b = tell(q, STATE);
	ck_assert_str_eq(a.state.identity, b.state.identity);
	ck_ok(tell(p, SEED));
	ck_not_fenced(q);
	struct report r = append(q, 'y');
	ck_assert_int_eq(r.rc, RC_FENCED);
	ck_assert(r.fenced_stream);
	ck_ok(tell(q, RESEED));
	ck_rows(p, rows);
	r = append(p, 'x');
	ck_ok(r);
	ck_assert_uint_eq(r.number, strlen(rows) + 1);
	r = append(q, 'y');
	ck_ok(r);
	ck_assert_uint_eq(r.number, strlen(rows) + 2);
	ck_not_fenced(p);
	ck_not_fenced(q);
}

START_TEST(two_processes_number_one_stream)
{
	make_old();
	struct process p = begin(), q = begin();
	struct order a = { APPEND, 300, 100, 'b' }, b = { APPEND, 300, 100, 'c' };
	order(&p, &a);
	order(&q, &b);
	struct report r = hear(&p), s = hear(&q);
	ck_ok(r);
	ck_ok(s);
	ck_assert_uint_eq(r.number > s.number ? r.number : s.number, 601);
	ck_not_fenced(&p);
	end(&p, true);
	end(&q, true);
}
END_TEST

/* ---- leases, which came later than the other tables ---- */

static int number_of(const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *q = NULL;
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
	int n = sqlite3_column_int(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(db);
	return n;
}

static bool no_row(void *arg, const struct ledger_row *row)
{
	(void)arg;
	(void)row;
	return false;
}

static bool take_lease(struct ledger *l, const char *token)
{
	struct ledger_horizon h = { .lease = "publisher", .token = token, .lease_ms = 60000 };
	struct ledger_query q = { .what = LEDGER_TIME, .to_us = INT64_MAX, .horizon = &h };
	struct why why = { "" };
	enum rc rc = ledger_read(l, &q, no_row, NULL, NULL, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	return h.leased;
}

#define LEASES "SELECT count(*) FROM sqlite_master WHERE name = 'leases'"

START_TEST(a_ledger_gets_its_leases_when_they_are_first_needed)
{
	make_old();
	/* one that has no look: as an older program, it knows nothing of leases */
	struct process older = begin();
	ck_ok(append(&older, 'b'));
	ck_assert_int_eq(number_of(LEASES), 0);
	_cleanup_(ledger_freep) struct ledger *one = NULL, *two = NULL;
	ck_assert_int_eq(ledger_sqlite_open(&one, path, UUID, NULL), RC_OK);
	ck_assert_int_eq(ledger_sqlite_open(&two, path, UUID, NULL), RC_OK);
	struct ledger_horizon h = { .wait_ms = 0 };
	struct ledger_query q = { .what = LEDGER_TIME, .to_us = INT64_MAX, .horizon = &h };
	ck_assert_int_eq(ledger_read(one, &q, no_row, NULL, NULL, NULL), RC_OK);
	ck_assert_int_eq(number_of(LEASES), 0);
	ck_assert(take_lease(one, "a"));
	ck_assert(!take_lease(two, "b"));
	ck_assert_int_eq(number_of(LEASES), 1);
	ck_assert_int_eq(number_of("PRAGMA user_version"), 1);
	ck_ok(append(&older, 'c'));
	ck_not_fenced(&older);
	end(&older, true);
	older = begin();
	ck_ok(append(&older, 'd'));
	ck_not_fenced(&older);
	end(&older, true);
	ck_assert(take_lease(one, "a"));
}
END_TEST

START_TEST(a_removed_ledger_is_waited_for)
{
	make_old();
	struct process p = begin(), q = begin();
	ck_ok(append(&p, 'b'));
	ck_ok(append(&q, 'c'));
	shell("rm ledger.db*");
	struct report r = append(&p, 'd');
	ck_assert_int_eq(r.rc, RC_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(r.why.text, "init --adopt"));
	r = tell(&q, STATE);
	ck_assert_int_eq(r.rc, RC_NOT_FOUND);
	ck_assert_int_eq(ledger_sqlite_create(path, UUID, NULL), RC_OK);
	ck_recovers(&p, &q, "");
	end(&p, true);
	end(&q, true);
}
END_TEST

START_TEST(only_the_main_file_is_removed)
{
	make_old();
	struct process p = begin(), q = begin();
	ck_ok(append(&p, 'b'));
	shell("rm ledger.db");
	ck_assert_int_eq(append(&q, 'd').rc, RC_TEMPORARY);
	ck_assert_int_eq(ledger_sqlite_create(path, UUID, NULL), RC_OK);
	ck_recovers(&p, &q, "");
	end(&p, true);
	end(&q, true);
}
END_TEST

START_TEST(a_moved_away_directory_comes_back)
{
	make_old();
	struct process p = begin();
	ck_ok(append(&p, 'b'));
	shell("mkdir sub && mv ledger* sub/");
	ck_assert_int_eq(append(&p, 'c').rc, RC_TEMPORARY);
	shell("rm -f ledger.file && mv sub/* .");
	struct report r = append(&p, 'c');
	ck_ok(r);
	ck_assert_uint_eq(r.number, 3);
	end(&p, true);
}
END_TEST

/*
 * How an older copy comes to the ledger's place. Where the main file is what it was when it was
 * copied, its -wal still fits: nothing is lost, and only a new inode says that anything happened.
 */
static const struct replacement {
	const char *command;
	bool keeps_wal, unnoticed;
} replacements[] = {
	{ "mv old.db ledger.db", true, false },
	{ "cp old.db ledger.db", true, true },
	{ "cp -p old.db ledger.db", true, true },
	{ "rm ledger.db* && cp old.db ledger.db", false, false },
	{ "cp old.db ledger.db && rm -f ledger.db-wal ledger.db-shm", false, false },
	{ "mv old.db ledger.db && rm ledger.file", true, false },
};

/* The main file changed after the copy was made, and there is a -wal with more. */
START_TEST(an_older_copy_under_two_processes_is_noticed)
{
	make_old();
	struct process p = begin(), q = begin();
	ck_ok(append(&p, 'b'));
	ck_ok(hear((order(&p, &(struct order){ APPEND, 400, 60000, 'd' }), &p)));
	ck_ok(append(&q, 'c'));
	shell("%s", replacements[_i].command);
	ck_recovers(&p, &q, "a");
	end(&p, true);
	end(&q, true);
}
END_TEST

START_TEST(a_copy_to_which_the_wal_fits_loses_nothing)
{
	const struct replacement *r = &replacements[_i];
	make_old();
	struct process p = begin(), q = begin();
	ck_ok(append(&p, 'b'));
	ck_ok(append(&q, 'c'));
	shell("%s", r->command);
	if (r->unnoticed) {
		ck_not_fenced(&p);
		ck_ok(append(&q, 'd'));
		ck_rows(&p, "abcd");
	} else {
		ck_recovers(&p, &q, r->keeps_wal ? "abc" : "a");
	}
	end(&p, true);
	end(&q, true);
}
END_TEST

START_TEST(all_three_files_put_back_under_two_processes_are_noticed)
{
	make_old();
	struct process p = begin(), q = begin();
	ck_ok(append(&p, 'b'));
	shell("mkdir old && cp ledger.db* old/");
	ck_ok(append(&q, 'c'));
	ck_ok(append(&p, 'd'));
	shell("%s old/ledger.db* .", _i ? "cp -p" : "mv");
	ck_recovers(&p, &q, "ab");
	end(&p, true);
	end(&q, true);
}
END_TEST

START_TEST(an_older_copy_between_two_runs_is_noticed)
{
	make_old();
	struct process p = begin();
	ck_ok(append(&p, 'b'));
	ck_ok(hear((order(&p, &(struct order){ APPEND, 400, 60000, 'd' }), &p)));
	ck_ok(append(&p, 'c'));
	end(&p, _i % 2);	/* killed: the -wal is not in the main file */
	shell("%s", replacements[_i / 2].command);
	p = begin();
	struct process q = begin();
	ck_recovers(&p, &q, "a");
	end(&p, true);
	end(&q, true);
}
END_TEST

START_TEST(nothing_is_noticed_where_nothing_was_replaced)
{
	make_old();
	struct process p = begin(), q = begin();
	ck_ok(append(&p, 'b'));
	shell("touch ledger.db && chmod 640 ledger.db");
	ck_ok(append(&q, 'c'));
	ck_ok(append(&p, 'd'));
	end(&p, true);
	end(&q, true);
	shell("touch ledger.db");
	p = begin();
	ck_ok(append(&p, 'e'));
	end(&p, false);
	p = begin();
	ck_ok(append(&p, 'f'));
	ck_rows(&p, "abcdef");
	end(&p, true);
}
END_TEST

START_TEST(another_program_may_look_between_two_runs)
{
	make_old();
	struct process p = begin();
	ck_ok(append(&p, 'b'));
	end(&p, true);
	sqlite3 *db;
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM events", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);	/* moves the -wal into the main file */
	ck_assert(access(path, F_OK) == 0);
	p = begin();
	ck_ok(append(&p, 'c'));
	ck_rows(&p, "abc");
	end(&p, true);
}
END_TEST

START_TEST(checkpoints_are_no_replacement)
{
	make_old();
	struct process p = begin(), q = begin();
	struct stat before, after;
	ck_assert(!stat(path, &before));
	struct order many = { APPEND, 1000, 60000, 'b' };
	order(&p, &many);
	many.first = 'c';
	order(&q, &many);
	struct report r = hear(&p);
	ck_ok(r);
	r = hear(&q);
	ck_ok(r);
	ck_assert(!stat(path, &after));
	ck_assert_int_gt(after.st_size, before.st_size + (32 << 20));
	char wal[120];
	snprintf(wal, sizeof(wal), "%s-wal", path);
	ck_assert(!stat(wal, &after));
	ck_assert_int_lt(after.st_size, 100 << 20);	/* 120 MiB went through it */
	ck_not_fenced(&p);
	ck_not_fenced(&q);
	end(&p, true);
	end(&q, true);
}
END_TEST

#ifdef ENABLE_FAILPOINTS
START_TEST(a_checkpoint_whose_process_dies_is_no_replacement)
{
	make_old();
	struct process p = begin();
	setenv("EVFS_FAILPOINT", "ledger-checkpoint", 1);
	struct process q = begin();
	unsetenv("EVFS_FAILPOINT");
	order(&q, &(struct order){ APPEND, 1000, 60000, 'b' });
	int status;
	ck_assert_int_eq(waitpid(q.pid, &status, 0), q.pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	if (_i) {
		end(&p, true);
		p = begin();
	}
	ck_not_fenced(&p);
	ck_ok(append(&p, 'x'));
	ck_ok(hear((order(&p, &(struct order){ APPEND, 400, 60000, 'd' }), &p)));
	end(&p, false);
	p = begin();
	ck_not_fenced(&p);
	end(&p, true);
}
END_TEST
#endif

START_TEST(a_damaged_ledger_says_how_to_rebuild_it)
{
	make_old();
	struct process p = begin();
	ck_ok(hear((order(&p, &(struct order){ APPEND, 400, 60000, 'd' }), &p)));
	static const char *const damages[] = {
		"printf x >ledger.db",
		": >ledger.db",
		"dd if=/dev/urandom of=ledger.db bs=4096 seek=1 count=40 conv=notrunc 2>/dev/null",
		"dd if=/dev/urandom of=ledger.db bs=4096 count=1 conv=notrunc 2>/dev/null",
	};
	shell("%s", damages[_i]);
	struct report r = append(&p, 'b');
	ck_assert_msg(r.rc == RC_CORRUPT, "%s: %s", rc_name(r.rc), r.why.text);
	ck_assert_ptr_nonnull(strstr(r.why.text, "init --adopt"));
	shell("rm ledger.db*");
	ck_assert_int_eq(ledger_sqlite_create(path, UUID, NULL), RC_OK);
	ck_fenced(&p);
	end(&p, true);
}
END_TEST

START_TEST(it_knows_whether_it_is_alone)
{
	make_old();
	struct process p = begin();
	ck_assert(tell(&p, STATE).state.alone);
	struct process q = begin();
	ck_assert(!tell(&p, STATE).state.alone);
	ck_assert(!tell(&q, STATE).state.alone);
	end(&q, true);
	ck_assert(tell(&p, STATE).state.alone);
	end(&p, true);
}
END_TEST

START_TEST(another_ledger_is_refused)
{
	struct ledger *l = NULL;
	struct why why = { "" };
	ck_assert_int_eq(ledger_sqlite_open(&l, path, "01890a5d-ac96-774b-bcce-b302099a8058", &why),
			 RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, UUID));
	ck_assert_int_eq(ledger_sqlite_create(path, UUID, &why), RC_EXISTS);
	sqlite3 *db;
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	ck_assert_int_eq(ledger_sqlite_open(&l, path, UUID, &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "version 99"));
	shell("rm ledger.db*");
	ck_assert_int_eq(ledger_sqlite_open(&l, path, UUID, &why), RC_NOT_FOUND);
	ck_assert_ptr_null(l);
}
END_TEST

START_TEST(a_directory_that_can_not_be_written_is_denied)
{
	struct why why = { "" };
	struct ledger *l = NULL;
	if (!geteuid()) {
		shell("chmod 755 .");
		ck_assert_int_eq(seteuid(65534), 0);
	} else {
		shell("chmod 555 . && chmod 444 ledger.*");
	}
	ck_assert_int_eq(ledger_sqlite_open(&l, path, UUID, &why), RC_DENIED);
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
	else
		shell("chmod 755 .");
}
END_TEST

static Suite *ledger_sqlite_suite(void)
{
	Suite *suite = suite_create("ledger-sqlite");
	TCase *tc = tcase_create("file");
	int n = ARRAY_SIZE(replacements);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, two_processes_number_one_stream);
	tcase_add_test(tc, a_ledger_gets_its_leases_when_they_are_first_needed);
	tcase_add_test(tc, a_removed_ledger_is_waited_for);
	tcase_add_test(tc, only_the_main_file_is_removed);
	tcase_add_test(tc, a_moved_away_directory_comes_back);
	tcase_add_loop_test(tc, an_older_copy_under_two_processes_is_noticed, 0, n);
	tcase_add_loop_test(tc, a_copy_to_which_the_wal_fits_loses_nothing, 0, n);
	tcase_add_loop_test(tc, all_three_files_put_back_under_two_processes_are_noticed, 0, 2);
	tcase_add_loop_test(tc, an_older_copy_between_two_runs_is_noticed, 0,
			    2 * (n - 1)); /* without the card: SQLite's rules */
	tcase_add_test(tc, nothing_is_noticed_where_nothing_was_replaced);
	tcase_add_test(tc, another_program_may_look_between_two_runs);
	tcase_add_test(tc, checkpoints_are_no_replacement);
#ifdef ENABLE_FAILPOINTS
	tcase_add_loop_test(tc, a_checkpoint_whose_process_dies_is_no_replacement, 0, 2);
#endif
	tcase_add_loop_test(tc, a_damaged_ledger_says_how_to_rebuild_it, 0, 4);
	tcase_add_test(tc, it_knows_whether_it_is_alone);
	tcase_add_test(tc, another_ledger_is_refused);
	tcase_add_test(tc, a_directory_that_can_not_be_written_is_denied);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	SRunner *sr = srunner_create(ledger_sqlite_suite());
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
