/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c - a TCP proxy that misbehaves when told to. For tests: between evfs and S3, and evfs and
 * PostgreSQL.
 *
 *	proxy CONTROL [seed=N] NAME=HOST:PORT…
 *
 * Each NAME is a link: it listens on a free port of 127.0.0.1 and passes on to HOST:PORT. Once all
 * listen, a line "NAME PORT" for each stands on stdout. CONTROL is a unix socket: a line a command,
 * a line an answer, "ok …" or "error …":
 *
 *	NAME FAULT [KEY=VALUE…]		a rule is added; FAULT is one of
 *		cut	close both sides (after= bytes of this exchange; dir=up: the request is
 *			cut, dir=down: the answer)
 *		reset	the same by RST
 *		lost	cut dir=down after=0: the request arrives, its answer does not
 *		swallow	half-open: from now on bytes of dir= go nowhere, the connection stays
 *		delay	ms= milliseconds (and up to jitter= more) for each piece in dir=
 *		slow	rate= bytes a second in dir=
 *		refuse	new connections are reset
 *	NAME clear			no rules; what a connection has is left to it
 *	NAME drop			reset all connections of now
 *	NAME stats			ok connections=N open=N exchanges=N fired=N
 *
 * A rule looks at exchanges: bytes from the client after bytes from the server (or the first). Of
 * those on its link with match=TEXT in their first piece, and on the conn=N-th connection after the
 * rule was given (conn=0: on new ones only; without: on all), it takes the nth= (1) and all that
 * follow, times= (1; 0: without end) of them, or each with probability p= (times: without end).
 */
#include "config.h"
#include "proxy-conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINKS 8

static const char *const fault_names[FAULTS] = { "cut",	  "reset", "lost",  "swallow",
						 "delay", "slow",  "refuse" };
static struct link links[LINKS];
static size_t n_links;

/* ------------------------------------------------------------------ control */

static bool set_rule(struct rule *r, const char *key, const char *value)
{
	if (!strcmp(key, "dir")) {
		r->dir[UP] = strcmp(value, "down");
		r->dir[DOWN] = strcmp(value, "up");
		return !strcmp(value, "up") || !strcmp(value, "down") || !strcmp(value, "both");
	}
	if (!strcmp(key, "match")) {
		if (strlen(value) >= sizeof(r->match))
			return false;
		strcpy(r->match, value);
		return true;
	}
	char *end;
	double number = strtod(value, &end);
	if (end == value || *end || number < 0)
		return false;
	if (!strcmp(key, "p")) {
		r->p = number;
		r->times = 0;
	} else if (!strcmp(key, "nth")) {
		r->nth = (unsigned)number;
	} else if (!strcmp(key, "times")) {
		r->times = (unsigned)number;
	} else if (!strcmp(key, "conn")) {
		r->conn = (long)number;
	} else if (!strcmp(key, "after")) {
		r->after = (uint64_t)number;
	} else if (!strcmp(key, "ms")) {
		r->ms = (uint64_t)number;
	} else if (!strcmp(key, "jitter")) {
		r->jitter = (uint64_t)number;
	} else if (!strcmp(key, "rate")) {
		r->rate = (uint64_t)number;
	} else {
		return false;
	}
	return true;
}

static void clear_rules(struct link *l)
{
	while (l->rules) {
		struct rule *next = l->rules->next;
		free(l->rules);
		l->rules = next;
	}
}

/* words: the text behind the fault's name. NULL: all is understood; else the word that is not. */
static const char *add_rule(struct link *l, enum fault fault, char **words)
{
	struct rule *r = malloc(sizeof(*r));
	if (!r)
		proxy_conn_die("malloc");
	bool down = fault == LOST, both = fault == DELAY || fault == SLOW || fault == SWALLOW;
	*r = (struct rule){ .fault = fault,
			    .dir = { !down, down || both },
			    .nth = 1,
			    .times = 1,
			    .p = -1,
			    .conn = -1,
			    .since = l->connections };
	for (char *word; (word = strtok_r(NULL, " ", words));) {
		char *value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (!value || !set_rule(r, word, value)) {
			free(r);
			return word;
		}
	}
	struct rule **at = &l->rules;
	while (*at)
		at = &(*at)->next;
	*at = r;
	return NULL;
}

static void obey(char *line, char *answer, size_t size)
{
	char *words = NULL;
	const char *name = strtok_r(line, " ", &words), *verb = strtok_r(NULL, " ", &words);
	struct link *l = NULL;
	for (size_t i = 0; name && i < n_links; i++)
		if (!strcmp(links[i].name, name))
			l = &links[i];
	if (!l || !verb) {
		snprintf(answer, size, "error no such link\n");
		return;
	}
	snprintf(answer, size, "ok\n");
	if (!strcmp(verb, "clear")) {
		clear_rules(l);
		return;
	}
	if (!strcmp(verb, "drop")) {
		proxy_conn_drop(l);
		return;
	}
	if (!strcmp(verb, "stats")) {
		snprintf(answer, size,
			 "ok connections=%" PRIu64 " open=%" PRIu64 " exchanges=%" PRIu64
			 " fired=%" PRIu64 "\n",
			 l->connections, l->open, l->exchanges, l->fired);
		return;
	}
	for (enum fault f = CUT; f < FAULTS; f++)
		if (!strcmp(verb, fault_names[f])) {
			const char *wrong = add_rule(l, f, &words);
			if (wrong)
				snprintf(answer, size, "error what is '%.60s'?\n", wrong);
			return;
		}
	snprintf(answer, size, "error no such fault\n");
}

static void control_event(struct watch *w)
{
	char line[512], answer[256];
	/* a command is one small write, and its sender waits for the answer */
	ssize_t n = read(w->fd, line, sizeof(line) - 1);
	if (n <= 0) {
		close(w->fd);
		free(w);
		return;
	}
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	obey(line, answer, sizeof(answer));
	if (send(w->fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
		perror("control");
}

static void accept_control(struct watch *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
	struct watch *w = fd < 0 ? NULL : malloc(sizeof(*w));
	if (w)
		proxy_conn_watch(w, CONTROL, fd, NULL, EPOLLIN);
}

/* ------------------------------------------------------------------ start, and loop */

static void listen_control(struct watch *w, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		proxy_conn_die(path);
	}
	strcpy(a.sun_path, path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 16))
		proxy_conn_die(path);
	proxy_conn_watch(w, CONTROL_LISTEN, fd, NULL, EPOLLIN);
}

/* NAME=HOST:PORT; returns the port it listens on. */
static unsigned listen_link(char *text)
{
	struct sockaddr_in here = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(here);
	struct link *l = &links[n_links];
	char *host = strchr(text, '='), *port = host ? strrchr(host, ':') : NULL;
	if (!port || n_links == LINKS || (size_t)(host - text) >= sizeof(l->name)) {
		fprintf(stderr, "not a link: %s\n", text);
		exit(2);
	}
	*host++ = *port++ = '\0';
	strcpy(l->name, text);
	l->target = (struct sockaddr_in){ .sin_family = AF_INET,
					  .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, host, &l->target.sin_addr) != 1) {
		fprintf(stderr, "not an address: %s\n", host);
		exit(2);
	}
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) || listen(fd, 512) ||
	    getsockname(fd, (struct sockaddr *)&here, &len))
		proxy_conn_die(text);
	proxy_conn_watch(&l->watch, LISTEN, fd, l, EPOLLIN);
	n_links++;
	return ntohs(here.sin_port);
}

static void handle(struct watch *w, uint32_t events)
{
	switch (w->kind) {
	case LISTEN:
		proxy_conn_accept(w->owner);
		break;
	case CONTROL_LISTEN:
		accept_control(w);
		break;
	case CONTROL:
		control_event(w);
		break;
	case CLIENT:
	case SERVER:
		proxy_conn_event(w, events);
		break;
	}
}

int main(int argc, char **argv)
{
	static struct watch control;
	unsigned ports[LINKS];

	if (argc < 3) {
		fprintf(stderr, "usage: proxy CONTROL [seed=N] NAME=HOST:PORT…\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	proxy_conn_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (proxy_conn_epoll < 0)
		proxy_conn_die("epoll");
	listen_control(&control, argv[1]);
	for (int i = 2; i < argc; i++) {
		if (!strncmp(argv[i], "seed=", 5)) {
			proxy_conn_seed(strtoull(argv[i] + 5, NULL, 10));
			continue;
		}
		unsigned port = listen_link(argv[i]);
		ports[n_links - 1] = port;
	}
	for (size_t i = 0; i < n_links; i++)
		printf("%s %u\n", links[i].name, ports[i]);
	if (fflush(stdout))
		proxy_conn_die("stdout");

	for (;;) {
		struct epoll_event events[64];
		int wait = proxy_conn_next_due();
		int n = epoll_wait(proxy_conn_epoll, events, 64, wait);
		if (n < 0 && errno != EINTR)
			proxy_conn_die("epoll_wait");
		for (int i = 0; i < n; i++)
			handle(events[i].data.ptr, events[i].events);
		proxy_conn_turn();
	}
}
