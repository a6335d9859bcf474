/* SPDX-License-Identifier: Apache-2.0 */
/* test-http.c - the HTTP engine against servers that behave, and servers that do not. */
#include "config.h"
#include "object/http.h"

#include <check.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "http-server.h"

static struct http_server server;
static struct http *engine;

/* A call that can be waited for. */
struct waited {
	struct http_call call;
	sem_t done;
	char url[128], lines[128];
	unsigned again; /* so often it is started anew by its callback */
};

static void on_done(struct http_call *call)
{
	struct waited *w = container_of(call, struct waited, call);
	if (w->again) {
		w->again--;
		http_again(engine, call);
		return;
	}
	sem_post(&w->done);
}

static void prepare(struct waited *w, enum http_method method, const char *path, unsigned ms)
{
	memset(w, 0, sizeof(*w));
	http_call_init(&w->call);
	sem_init(&w->done, 0, 0);
	snprintf(w->url, sizeof(w->url), "%s%s", server.url, path);
	snprintf(w->lines, sizeof(w->lines), "x-one:1\nx-two:2\n");
	w->call.method = method;
	w->call.url = w->url;
	w->call.header_lines = w->lines;
	w->call.limit = 1000;
	w->call.deadline_ms = clock_boot_ms() + ms;
	w->call.done = on_done;
	if (method == HTTP_PUT) {
		w->call.body = "body";
		w->call.body_len = 4;
	}
}

static void start(struct waited *w)
{
	struct why why = { "" };
	ck_assert_msg(http_submit(engine, &w->call, &why) == RC_OK, "%s", why.text);
}

static void wait_for(struct waited *w)
{
	while (sem_wait(&w->done))
		;
}

static void run(struct waited *w, enum http_method method, const char *path, unsigned ms)
{
	prepare(w, method, path, ms);
	start(w);
	wait_for(w);
}

/* Bytes until nobody takes them. */
static bool flood(const struct http_server_request *rq, const char *piece, int pause_ms)
{
	http_server_send(rq, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	while (!atomic_load(&rq->server->stop) && http_server_send(rq, piece))
		if (pause_ms)
			poll(NULL, 0, pause_ms);
	return false;
}

/* The path says how it goes. */
static bool behave(const struct http_server_request *rq)
{
	const char *path = rq->path + 1;
	char one[8] = "", two[8] = "";
	if (!strcmp(path, "ok")) {
		if (!http_server_header(rq, "x-one", one, 8) || strcmp(one, "1") ||
		    !http_server_header(rq, "X-Two", two, 8) || strcmp(two, "2"))
			return http_server_answer(rq, "400 Bad", "", "");
		return http_server_answer(rq, "200 OK", "ETag:  \"e\" \r\nX-Empty:\r\n",
					  rq->body_len ? "stored" : "hello");
	}
	if (!strcmp(path, "missing"))
		return http_server_answer(rq, "404 Not Found", "", "<Error/>");
	if (!strcmp(path, "hang"))
		return http_server_hang(rq);
	if (!strcmp(path, "drip"))
		return flood(rq, "1\r\nx\r\n", 10);
	if (!strcmp(path, "endless"))
		return flood(rq, "10\r\nxxxxxxxxxxxxxxxx\r\n", 0);
	if (!strcmp(path, "long"))
		return http_server_send(rq, "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nx");
	if (!strcmp(path, "cut")) {
		http_server_send(rq, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
		return false;
	}
	if (!strcmp(path, "unmeasured")) {
		http_server_send(rq, "HTTP/1.1 200 OK\r\n\r\nhello");
		return false;
	}
	if (!strcmp(path, "continue")) {
		http_server_send(rq, "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n");
		return http_server_answer(rq, "200 OK", "X-Late: 1\r\n", "hello");
	}
	if (!strcmp(path, "die"))
		return false;
	if (!strcmp(path, "once")) { /* a kept-alive connection dies under the request */
		if (rq->nth_here > 1)
			return false;
		return http_server_answer(rq, "200 OK", "", "");
	}
	if (!strcmp(path, "last")) { /* it dies, and so does the server */
		http_server_close(rq->server);
		return false;
	}
	if (!strcmp(path, "slow")) {
		poll(NULL, 0, 30);
		return http_server_answer(rq, "200 OK", "", "");
	}
	return http_server_answer(rq, "301 Moved", "Location: /ok\r\n", "");
}

static void open_engine(unsigned parallel)
{
	struct http_options o = { .parallel = parallel, .connect_ms = 5000 };
	struct why why = { "" };
	ck_assert_msg(http_new(&engine, &o, &why) == RC_OK, "%s", why.text);
}

static void setup(void)
{
	http_server_start(&server, behave);
	open_engine(4);
}

static void teardown(void)
{
	http_free(&engine);
	ck_assert_ptr_null(engine);
	http_server_stop(&server);
}

START_TEST(a_call_is_answered_with_head_and_body)
{
	struct waited w;
	size_t len;
	char etag[8], none[8] = "x";
	run(&w, HTTP_GET, "/ok", 5000);
	ck_assert_msg(w.call.end == HTTP_ANSWERED, "%s", w.call.why.text);
	ck_assert_int_eq(w.call.status, 200);
	ck_assert(w.call.measured);
	ck_assert_str_eq(buf_text(&w.call.answer), "hello");
	http_call_header_copy(&w.call, "etag", etag, sizeof(etag));
	ck_assert_str_eq(etag, "\"e\"");
	ck_assert_ptr_nonnull(http_call_header(&w.call, "x-empty", &len));
	ck_assert_uint_eq(len, 0);
	http_call_header_copy(&w.call, "x-none", none, sizeof(none));
	ck_assert_str_eq(none, "");
	http_call_release(&w.call);

	run(&w, HTTP_PUT, "/ok", 5000);
	ck_assert_str_eq(buf_text(&w.call.answer), "stored");
	http_call_release(&w.call);
	run(&w, HTTP_HEAD, "/ok", 5000);
	ck_assert_int_eq(w.call.status, 200);
	ck_assert_uint_eq(w.call.answer.len, 0);
	http_call_release(&w.call);
	run(&w, HTTP_GET, "/missing", 5000);
	ck_assert_int_eq(w.call.status, 404);
	ck_assert_str_eq(buf_text(&w.call.answer), "<Error/>");
	http_call_release(&w.call);
	ck_assert_uint_eq(atomic_load(&server.connections), 1);
}
END_TEST

START_TEST(a_redirect_is_an_answer)
{
	struct waited w;
	run(&w, HTTP_GET, "/elsewhere", 5000);
	ck_assert_int_eq(w.call.end, HTTP_ANSWERED);
	ck_assert_int_eq(w.call.status, 301);
	ck_assert_uint_eq(atomic_load(&server.requests), 1);
	http_call_release(&w.call);
}
END_TEST

START_TEST(an_early_continue_is_not_the_answer)
{
	struct waited w;
	run(&w, HTTP_PUT, "/continue", 5000);
	ck_assert_int_eq(w.call.status, 200);
	ck_assert_ptr_null(http_call_header(&w.call, "x-early", NULL));
	ck_assert_ptr_nonnull(http_call_header(&w.call, "x-late", NULL));
	http_call_release(&w.call);
}
END_TEST

/* What the server does, and what is known of a PUT then. */
static const struct {
	const char *path;
	enum http_end end;
	bool timed_out, over_limit;
} bad[] = {
	{ "/hang", HTTP_MAYBE, true, false },	 { "/drip", HTTP_MAYBE, true, false },
	{ "/endless", HTTP_MAYBE, false, true }, { "/long", HTTP_MAYBE, false, true },
	{ "/cut", HTTP_MAYBE, false, false },	 { "/die", HTTP_MAYBE, false, false },
};

START_TEST(what_fails_ends_in_time_and_is_told_apart)
{
	struct waited w;
	uint64_t before = clock_boot_ms();
	run(&w, HTTP_PUT, bad[_i].path, 400);
	ck_assert_int_eq(w.call.end, bad[_i].end);
	ck_assert_int_eq(w.call.timed_out, bad[_i].timed_out);
	ck_assert_int_eq(w.call.over_limit, bad[_i].over_limit);
	ck_assert_str_ne(w.call.why.text, "");
	ck_assert_uint_le(clock_boot_ms() - before, 400 + 1000);
	http_call_release(&w.call);
	run(&w, HTTP_GET, "/ok", 5000); /* the engine goes on */
	ck_assert_int_eq(w.call.status, 200);
	http_call_release(&w.call);
}
END_TEST

START_TEST(a_body_of_unknown_length_is_not_measured)
{
	struct waited w;
	run(&w, HTTP_GET, "/unmeasured", 5000);
	ck_assert_int_eq(w.call.end, HTTP_ANSWERED);
	ck_assert(!w.call.measured);
	http_call_release(&w.call);
}
END_TEST

START_TEST(who_refuses_connections_got_nothing)
{
	struct waited w;
	http_server_close(&server);
	run(&w, HTTP_PUT, "/ok", 5000);
	ck_assert_int_eq(w.call.end, HTTP_UNSENT);
	ck_assert(!w.call.timed_out);
	http_call_release(&w.call);
}
END_TEST

START_TEST(who_never_greets_by_tls_got_nothing)
{
	struct waited w;
	prepare(&w, HTTP_PUT, "/hang", 300);
	snprintf(w.url, sizeof(w.url), "https://127.0.0.1:%u/", server.port);
	start(&w);
	wait_for(&w);
	ck_assert_int_eq(w.call.end, HTTP_UNSENT);
	ck_assert(w.call.timed_out);
	ck_assert_str_eq(w.call.why.text, "no connection in time");
	http_call_release(&w.call);
}
END_TEST

START_TEST(nothing_is_sent_after_the_deadline)
{
	struct waited w;
	run(&w, HTTP_PUT, "/ok", 0);
	ck_assert_int_eq(w.call.end, HTTP_UNSENT);
	ck_assert(w.call.timed_out);
	ck_assert_str_eq(w.call.why.text, "the time for it is over");
	ck_assert_uint_eq(atomic_load(&server.requests), 0);
	http_call_release(&w.call);
}
END_TEST

/* A server that stands still takes the head of a PUT only, and reads on when the call is long over. */
START_TEST(what_was_not_taken_in_time_does_not_arrive_later)
{
	static char body[150000], taken[16384];
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	struct waited w;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&a, &len), 0);

	prepare(&w, HTTP_PUT, "/", 300);
	snprintf(w.url, sizeof(w.url), "http://127.0.0.1:%u/", (unsigned)ntohs(a.sin_port));
	w.call.body = body;
	w.call.body_len = sizeof(body);
	start(&w);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	wait_for(&w);
	ck_assert_int_eq(w.call.end, HTTP_MAYBE);

	size_t total = 0;
	for (ssize_t n; (n = read(fd, taken, sizeof(taken))) > 0;)
		total += (size_t)n;
	ck_assert_uint_lt(total, sizeof(body));
	close(fd);
	close(listener);
	http_call_release(&w.call);
}
END_TEST

/* In line behind calls that hang. */
START_TEST(a_call_in_line_ends_by_its_deadline_too)
{
	struct waited first[4], w;
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		prepare(&first[i], HTTP_GET, "/hang", 1500);
		start(&first[i]);
	}
	uint64_t before = clock_boot_ms();
	run(&w, HTTP_PUT, "/ok", 200);
	ck_assert_int_eq(w.call.end, HTTP_UNSENT);
	ck_assert(w.call.timed_out);
	ck_assert_uint_lt(clock_boot_ms() - before, 1300);
	http_call_release(&w.call);
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		wait_for(&first[i]);
		ck_assert_int_eq(first[i].call.end, HTTP_MAYBE);
		http_call_release(&first[i].call);
	}
}
END_TEST

#define SLOW_NAME "slow.test"

static sem_t asked, may_answer;

/* libcurl finds this one before libc's. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **res)
{
	static int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	if (node && !strcmp(node, SLOW_NAME)) {
		sem_post(&asked);
		sem_wait(&may_answer);
		return EAI_AGAIN;
	}
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
	return next(node, service, hints, res);
}

START_TEST(who_waits_for_a_name_is_in_nobodys_way)
{
	struct waited slow, w;
	sem_init(&asked, 0, 0);
	sem_init(&may_answer, 0, 0);
	prepare(&slow, HTTP_PUT, "", 200);
	snprintf(slow.url, sizeof(slow.url), "http://" SLOW_NAME "/ok");
	start(&slow);
	sem_wait(&asked);
	wait_for(&slow);	/* nobody has answered yet */
	ck_assert_int_eq(slow.call.end, HTTP_UNSENT);
	ck_assert(slow.call.timed_out);
	http_call_release(&slow.call);
	run(&w, HTTP_GET, "/ok", 5000);
	ck_assert_int_eq(w.call.status, 200);
	http_call_release(&w.call);
	sem_post(&may_answer);
}
END_TEST

START_TEST(a_dead_kept_alive_connection_is_replaced)
{
	struct waited w;
	for (unsigned i = 0; i < 3; i++) {
		run(&w, HTTP_PUT, "/once", 5000);
		ck_assert_msg(w.call.end == HTTP_ANSWERED, "%s", w.call.why.text);
		http_call_release(&w.call);
	}
	/* the second and the third were sent twice */
	ck_assert_uint_eq(atomic_load(&server.requests), 5);
	ck_assert_uint_eq(atomic_load(&server.connections), 3);
}
END_TEST

/* Also where the only connection that is allowed is idle. */
START_TEST(a_fresh_call_is_sent_once_at_most)
{
	struct waited w;
	http_free(&engine);
	open_engine(1);
	run(&w, HTTP_PUT, "/ok", 5000);
	http_call_release(&w.call);
	for (unsigned i = 0; i < 3; i++) {
		prepare(&w, HTTP_PUT, i == 1 ? "/ok" : "/die", 5000);
		w.call.fresh = true;
		start(&w);
		wait_for(&w);
		ck_assert_int_eq(w.call.end, i == 1 ? HTTP_ANSWERED : HTTP_MAYBE);
		http_call_release(&w.call);
	}
	ck_assert_uint_eq(atomic_load(&server.requests), 4);
	ck_assert_uint_eq(atomic_load(&server.connections), 4);
}
END_TEST

/* It was sent once; that the second try found no server does not undo it. */
START_TEST(a_second_try_that_fails_does_not_make_the_first_unsent)
{
	struct waited w;
	run(&w, HTTP_PUT, "/ok", 5000);
	http_call_release(&w.call);
	run(&w, HTTP_PUT, "/last", 5000);
	ck_assert_int_eq(w.call.end, HTTP_MAYBE);
	http_call_release(&w.call);
}
END_TEST

START_TEST(who_is_impatient_waits_for_the_first_byte_only)
{
	struct waited w;
	uint64_t before = clock_boot_ms();
	prepare(&w, HTTP_GET, "/hang", 5000);
	w.call.patience_ms = 200;
	start(&w);
	wait_for(&w);
	ck_assert(w.call.timed_out);
	ck_assert_int_eq(w.call.end, HTTP_MAYBE);
	ck_assert_uint_lt(clock_boot_ms() - before, 2000);
	http_call_release(&w.call);

	prepare(&w, HTTP_GET, "/drip", 600);
	w.call.patience_ms = 200;
	before = clock_boot_ms();
	start(&w);
	wait_for(&w);
	ck_assert_uint_ge(clock_boot_ms() - before, 500);
	ck_assert_uint_gt(w.call.answer.len, 0);
	http_call_release(&w.call);
}
END_TEST

START_TEST(a_delayed_call_waits_and_is_in_nobodys_way)
{
	struct waited late, w;
	uint64_t before = clock_boot_ms();
	prepare(&late, HTTP_GET, "/ok", 5000);
	late.call.not_before_ms = before + 300;
	start(&late);
	run(&w, HTTP_GET, "/ok", 5000);
	ck_assert_uint_lt(clock_boot_ms() - before, 300);
	wait_for(&late);
	ck_assert_uint_ge(clock_boot_ms() - before, 300);
	ck_assert_int_eq(late.call.status, 200);
	http_call_release(&late.call);
	http_call_release(&w.call);
}
END_TEST

START_TEST(a_callback_may_start_its_call_again)
{
	struct waited w;
	prepare(&w, HTTP_PUT, "/ok", 5000);
	w.again = 3;
	start(&w);
	wait_for(&w);
	ck_assert_int_eq(w.call.status, 200); /* with the same headers */
	ck_assert_uint_eq(atomic_load(&server.requests), 4);
	http_call_release(&w.call);
}
END_TEST

static void *call_often(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20; i++) {
		struct waited w;
		run(&w, i % 2 ? HTTP_GET : HTTP_PUT, "/ok", 20000);
		ck_assert_msg(w.call.status == 200, "%s", w.call.why.text);
		http_call_release(&w.call);
	}
	return NULL;
}

START_TEST(many_callers_share_a_few_connections)
{
	pthread_t threads[24];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(atomic_load(&server.requests), 24 * 20);
	ck_assert_uint_le(atomic_load(&server.connections), 4);
}
END_TEST

/* More than the line holds: the caller waits, and all are done. */
START_TEST(a_full_line_makes_its_callers_wait)
{
	enum { N = 400 };
	struct waited *calls = calloc(N, sizeof(*calls));
	for (unsigned i = 0; i < N; i++) {
		prepare(&calls[i], HTTP_GET, i < 4 ? "/slow" : "/ok", 20000);
		start(&calls[i]);
	}
	for (unsigned i = 0; i < N; i++) {
		wait_for(&calls[i]);
		ck_assert_int_eq(calls[i].call.status, 200);
		http_call_release(&calls[i].call);
	}
	ck_assert_uint_le(atomic_load(&server.most_open), 4);
	free(calls);
}
END_TEST

START_TEST(what_is_not_done_when_it_ends_is_said_so)
{
	struct waited late, hanging;
	prepare(&late, HTTP_GET, "/ok", 5000);
	late.call.not_before_ms = clock_boot_ms() + 4000;
	start(&late);
	prepare(&hanging, HTTP_GET, "/hang", 5000);
	start(&hanging);
	while (!atomic_load(&server.requests))
		poll(NULL, 0, 1);
	http_free(&engine);
	wait_for(&late);
	wait_for(&hanging);
	ck_assert_int_eq(late.call.end, HTTP_UNSENT);
	ck_assert_int_eq(hanging.call.end, HTTP_MAYBE);
	http_call_release(&late.call);
	http_call_release(&hanging.call);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *tc = tcase_create("http");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_call_is_answered_with_head_and_body);
	tcase_add_test(tc, a_redirect_is_an_answer);
	tcase_add_test(tc, an_early_continue_is_not_the_answer);
	tcase_add_loop_test(tc, what_fails_ends_in_time_and_is_told_apart, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, a_body_of_unknown_length_is_not_measured);
	tcase_add_test(tc, who_refuses_connections_got_nothing);
	tcase_add_test(tc, who_never_greets_by_tls_got_nothing);
	tcase_add_test(tc, nothing_is_sent_after_the_deadline);
	tcase_add_test(tc, what_was_not_taken_in_time_does_not_arrive_later);
	tcase_add_test(tc, a_call_in_line_ends_by_its_deadline_too);
	tcase_add_test(tc, who_waits_for_a_name_is_in_nobodys_way);
	tcase_add_test(tc, a_dead_kept_alive_connection_is_replaced);
	tcase_add_test(tc, a_fresh_call_is_sent_once_at_most);
	tcase_add_test(tc, a_second_try_that_fails_does_not_make_the_first_unsent);
	tcase_add_test(tc, who_is_impatient_waits_for_the_first_byte_only);
	tcase_add_test(tc, a_delayed_call_waits_and_is_in_nobodys_way);
	tcase_add_test(tc, a_callback_may_start_its_call_again);
	tcase_add_test(tc, many_callers_share_a_few_connections);
	tcase_add_test(tc, a_full_line_makes_its_callers_wait);
	tcase_add_test(tc, what_is_not_done_when_it_ends_is_said_so);
	suite_add_tcase(suite, tc);

	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
