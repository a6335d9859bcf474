/* SPDX-License-Identifier: Apache-2.0 */
/* test-monitor.c - the three pages, asked for by libcurl and by clients that misbehave. */
#include "config.h"
#include "monitor/monitor.h"

#include <arpa/inet.h>
#include <check.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

static struct monitor *monitor;
static atomic_bool broken, unready;
static atomic_uint prints;

static void print(void *arg, struct buf *out)
{
	(void)arg;
	buf_printf(out, "n %u\n", atomic_fetch_add(&prints, 1) + 1);
}

static bool ask(void *arg, monitor_tell_fn *tell, void *tell_arg)
{
	(void)arg;
	tell(tell_arg, "ledger", RC_OK, NULL);
	tell(tell_arg, "objects", RC_OK, "a directory");
	if (atomic_load(&broken))
		tell(tell_arg, "sink", RC_TEMPORARY, "no broker \"b\" answers");
	return !atomic_load(&unready);
}

static enum rc make_at(struct monitor **out, const char *address, struct why *why)
{
	const struct monitor_options o = { .address = address, .print = print, .ask = ask, .silence_s = 1 };
	return monitor_new(out, &o, why);
}

static void make(void)
{
	struct why why = { "" };
	atomic_store(&broken, false);
	atomic_store(&unready, false);
	atomic_store(&prints, 0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	ck_assert_msg(make_at(&monitor, "127.0.0.1:0", &why) == RC_OK, "%s", why.text);
}

static void drop(void)
{
	monitor_free(&monitor);
	ck_assert_ptr_null(monitor);
	monitor_free(&monitor);
	curl_global_cleanup();
}

struct answer {
	long status;
	struct buf head, body;
};

static void release(struct answer *a)
{
	buf_release(&a->head);
	buf_release(&a->body);
}

static size_t take(char *data, size_t size, size_t n, void *arg)
{
	buf_add(arg, data, size * n);
	return size * n;
}

/* body NULL: none. */
static struct answer request(const char *address, const char *method, const char *path, const char *body)
{
	struct answer a = { 0, BUF_INIT, BUF_INIT };
	char url[128];
	CURL *c = curl_easy_init();
	snprintf(url, sizeof(url), "http://%s%s", address, path);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, 20L);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &a.body);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, &a.head);
	if (body)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	if (!strcmp(method, "HEAD"))
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	CURLcode code = curl_easy_perform(c);
	ck_assert_msg(code == CURLE_OK, "%s %s: %s", method, path, curl_easy_strerror(code));
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a.status);
	curl_easy_cleanup(c);
	return a;
}

static struct answer get(const char *path)
{
	return request(monitor_address(monitor), "GET", path, NULL);
}

START_TEST(metrics_are_printed_anew_each_time)
{
	for (unsigned i = 1; i <= 3; i++) {
		char expected[16];
		snprintf(expected, sizeof(expected), "n %u\n", i);
		_cleanup_(release) struct answer a = get("/metrics");
		ck_assert_int_eq(a.status, 200);
		ck_assert_str_eq(buf_text(&a.body), expected);
		ck_assert_ptr_nonnull(
			strstr(a.head.data, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	}
}
END_TEST

START_TEST(health_tells_of_each_part)
{
	_cleanup_(release) struct answer a = get("/health");
	ck_assert_int_eq(a.status, 200);
	ck_assert_str_eq(buf_text(&a.body), "{\n  \"status\": \"ok\",\n  \"ready\": true,\n"
					    "  \"ledger\": \"ok\",\n  \"objects\": \"a directory\"\n}\n");
	ck_assert_ptr_nonnull(strstr(a.head.data, "Content-Type: application/json\r\n"));
}
END_TEST

START_TEST(a_bad_part_is_told_and_the_process_lives)
{
	atomic_store(&broken, true);
	_cleanup_(release) struct answer a = get("/health"), r = get("/ready");
	ck_assert_int_eq(a.status, 200);
	ck_assert_int_eq(r.status, 200);
	ck_assert_ptr_nonnull(strstr(a.body.data, "\"status\": \"degraded\""));
	ck_assert_ptr_nonnull(strstr(a.body.data, "\"sink\": \"no broker \\\"b\\\" answers\""));
	ck_assert_str_eq(a.body.data, r.body.data);
}
END_TEST

START_TEST(ready_is_a_matter_of_its_status)
{
	_cleanup_(release) struct answer before = get("/ready");
	ck_assert_int_eq(before.status, 200);
	atomic_store(&unready, true);
	_cleanup_(release) struct answer after = get("/ready"), health = get("/health");
	ck_assert_int_eq(after.status, 503);
	ck_assert_ptr_nonnull(strstr(after.body.data, "\"ready\": false"));
	ck_assert_int_eq(health.status, 200);
}
END_TEST

START_TEST(nothing_else_is_there)
{
	static const char *const paths[] = { "/", "/metrics/", "/metricsx", "//metrics", "/Metrics",
					     "/../metrics", "/metrics%00", "/health/x", "/favicon.ico" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_(release) struct answer a = get(paths[i]);
		if (!strcmp(paths[i], "/metrics%00"))	/* libmicrohttpd's paths are C texts */
			continue;
		ck_assert_msg(a.status == 404, "%s: %ld", paths[i], a.status);
	}
	_cleanup_(release) struct answer query = get("/metrics?name[]=n");
	ck_assert_int_eq(query.status, 200);
}
END_TEST

START_TEST(head_is_get_without_its_body)
{
	static const char *const paths[] = { "/metrics", "/health", "/ready", "/none" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_(release) struct answer a =
			request(monitor_address(monitor), "HEAD", paths[i], NULL);
		ck_assert_int_eq(a.status, strcmp(paths[i], "/none") ? 200 : 404);
		ck_assert_uint_eq(a.body.len, 0);
		ck_assert_ptr_nonnull(strstr(a.head.data, "Content-Length: "));
		ck_assert_ptr_null(strstr(a.head.data, "Content-Length: 0"));
	}
}
END_TEST

START_TEST(other_methods_are_refused_with_those_that_are_not)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get" };
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		_cleanup_(release) struct answer a = request(monitor_address(monitor), methods[i], "/metrics", NULL);
		ck_assert_msg(a.status == 405, "%s: %ld", methods[i], a.status);
		ck_assert_ptr_nonnull(strstr(a.head.data, "Allow: GET, HEAD\r\n"));
	}
	ck_assert_uint_eq(atomic_load(&prints), 0);
}
END_TEST

START_TEST(a_body_is_not_waited_for)
{
	_cleanup_(freep) char *body = malloc(200001);
	memset(body, 'x', 200000);
	body[200000] = '\0';
	_cleanup_(release) struct answer a = request(monitor_address(monitor), "POST", "/metrics", "a=b");
	ck_assert_int_eq(a.status, 405);
	_cleanup_(release) struct answer b = request(monitor_address(monitor), "POST", "/none", body);
	ck_assert_int_eq(b.status, 404);
	_cleanup_(release) struct answer c = get("/metrics");
	ck_assert_int_eq(c.status, 200);
}
END_TEST

static int connect_to(struct monitor *m)
{
	const char *colon = strrchr(monitor_address(m), ':');
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)) };
	inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_msg(!connect(fd, (struct sockaddr *)&at, sizeof(at)), "%s", strerror(errno));
	return fd;
}

/* More silent clients than it takes: they are shown out, and who asks is answered. */
START_TEST(silent_clients_do_not_keep_others_off)
{
	int fds[60];
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = connect_to(monitor);
	_cleanup_(release) struct answer a = get("/health");
	ck_assert_int_eq(a.status, 200);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}
END_TEST

START_TEST(garbage_is_not_answered_as_a_page)
{
	static const char *const lines[] = { "\x16\x03\x01\x02\x00\x01\x00", "GET\r\n\r\n", "\r\n\r\n\r\n\r\n",
					     "GET /metrics HTTP/9.9\r\n\r\n" };
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		_cleanup_(closep) int fd = connect_to(monitor);
		char answer[4096] = "";
		ck_assert_int_gt(send(fd, lines[i], strlen(lines[i]), MSG_NOSIGNAL), 0);
		ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);	/* until it is shown out */
		ck_assert_msg(n <= 0 || !strstr(answer, " 200 "), "%s", answer);
	}
	_cleanup_(closep) int fd = connect_to(monitor);
	_cleanup_(freep) char *lone = malloc(100000);
	memset(lone, 'a', 100000);
	(void)!send(fd, lone, 100000, MSG_NOSIGNAL);
	_cleanup_(release) struct answer a = get("/metrics");
	ck_assert_int_eq(a.status, 200);
}
END_TEST

START_TEST(a_taken_port_is_said)
{
	struct why why = { "" };
	struct monitor *second = NULL;
	ck_assert_int_eq(make_at(&second, monitor_address(monitor), &why), RC_EXISTS);
	ck_assert_ptr_null(second);
	ck_assert_ptr_nonnull(strstr(why.text, "another program listens there"));
	ck_assert_ptr_nonnull(strstr(why.text, monitor_address(monitor)));
}
END_TEST

START_TEST(a_port_is_free_again_at_once)
{
	struct why why = { "" };
	char address[64];
	snprintf(address, sizeof(address), "%s", monitor_address(monitor));
	_cleanup_(release) struct answer a = get("/health");
	ck_assert_int_eq(a.status, 200);
	monitor_free(&monitor);
	ck_assert_msg(make_at(&monitor, address, &why) == RC_OK, "%s", why.text);
	ck_assert_str_eq(monitor_address(monitor), address);
}
END_TEST

START_TEST(what_is_no_address_is_refused)
{
	static const char *const bad[] = { "", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
					   "127.0.0.1:80x", "::1:9187", "[::1]", "[127.0.0.1]:1", "1.2.3:x",
					   "no.such.host:9187", "127.0.0.1:000000", "256.1.1.1:1", "[::1:9187",
					   "metrics", " 127.0.0.1:9187" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct why why = { "" };
		struct monitor *m = NULL;
		ck_assert_msg(make_at(&m, bad[i], &why) == RC_INVALID, "\"%s\" was taken", bad[i]);
		ck_assert_ptr_null(m);
		ck_assert_msg(strstr(why.text, "127.0.0.1:9187") != NULL, "%s", why.text);
	}
}
END_TEST

START_TEST(an_address_of_another_machine_is_refused)
{
	struct why why = { "" };
	struct monitor *m = NULL;
	ck_assert_int_eq(make_at(&m, "192.0.2.1:0", &why), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "not an address of this machine"));
}
END_TEST

START_TEST(a_port_alone_is_of_loopback)
{
	struct why why = { "" };
	struct monitor *m = NULL;
	ck_assert_msg(make_at(&m, "0", &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(strncmp(monitor_address(m), "127.0.0.1:", 10), 0);
	monitor_free(&m);
	ck_assert_msg(make_at(&m, "localhost:0", &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(strncmp(monitor_address(m), "127.0.0.1:", 10), 0);
	monitor_free(&m);
}
END_TEST

START_TEST(all_addresses_are_there_when_asked_for)
{
	struct why why = { "" };
	struct monitor *m = NULL;
	char address[64];
	ck_assert_msg(make_at(&m, ":0", &why) == RC_OK, "%s", why.text);
	snprintf(address, sizeof(address), "127.0.0.1:%s", strrchr(monitor_address(m), ':') + 1);
	_cleanup_(release) struct answer a = request(address, "GET", "/health", NULL);
	ck_assert_int_eq(a.status, 200);
	monitor_free(&m);
}
END_TEST

/* Has this machine IPv6 at all? */
START_TEST(brackets_are_for_ipv6)
{
	struct why why = { "" };
	struct monitor *m = NULL;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	bool has = fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at));
	closep(&fd);
	enum rc rc = make_at(&m, "[::1]:0", &why);
	ck_assert_int_eq(rc, has ? RC_OK : RC_INVALID);
	if (!has)
		return;
	ck_assert_int_eq(strncmp(monitor_address(m), "[::1]:", 6), 0);
	_cleanup_(release) struct answer a = request(monitor_address(m), "GET", "/ready", NULL);
	ck_assert_int_eq(a.status, 200);
	monitor_free(&m);
}
END_TEST

static void *ask_often(void *arg)
{
	for (int i = 0; i < 20; i++) {
		_cleanup_(release) struct answer a = get(i % 2 ? "/metrics" : "/ready");
		ck_assert(a.status == 200 || a.status == 503);
		atomic_store(&unready, i % 3 == 0);
	}
	return arg;
}

START_TEST(many_ask_at_once)
{
	pthread_t threads[4];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(atomic_load(&prints), 40);
}
END_TEST

/* A process that waits for its signals in one thread must get them there. */
START_TEST(its_thread_takes_no_signals)
{
	char path[64], line[256];
	sigset_t usr2;
	snprintf(path, sizeof(path), "/proc/self/status");
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &usr2, NULL);
	kill(getpid(), SIGUSR2);	/* would end the process by any thread that lets it in */
	_cleanup_(release) struct answer a = get("/health");
	ck_assert_int_eq(a.status, 200);
	FILE *f = fopen(path, "r");
	bool pending = false;
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "ShdPnd:", 7))
			pending = strtoull(line + 7, NULL, 16) & 1ull << (SIGUSR2 - 1);
	if (f)
		fclose(f);
	ck_assert(pending);
	int signal;
	sigwait(&usr2, &signal);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("monitor");
	TCase *t = tcase_create("monitor");
	tcase_add_checked_fixture(t, make, drop);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, metrics_are_printed_anew_each_time);
	tcase_add_test(t, health_tells_of_each_part);
	tcase_add_test(t, a_bad_part_is_told_and_the_process_lives);
	tcase_add_test(t, ready_is_a_matter_of_its_status);
	tcase_add_test(t, nothing_else_is_there);
	tcase_add_test(t, head_is_get_without_its_body);
	tcase_add_test(t, other_methods_are_refused_with_those_that_are_not);
	tcase_add_test(t, a_body_is_not_waited_for);
	tcase_add_test(t, silent_clients_do_not_keep_others_off);
	tcase_add_test(t, garbage_is_not_answered_as_a_page);
	tcase_add_test(t, a_taken_port_is_said);
	tcase_add_test(t, a_port_is_free_again_at_once);
	tcase_add_test(t, what_is_no_address_is_refused);
	tcase_add_test(t, an_address_of_another_machine_is_refused);
	tcase_add_test(t, a_port_alone_is_of_loopback);
	tcase_add_test(t, all_addresses_are_there_when_asked_for);
	tcase_add_test(t, brackets_are_for_ipv6);
	tcase_add_test(t, many_ask_at_once);
	tcase_add_test(t, its_thread_takes_no_signals);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
