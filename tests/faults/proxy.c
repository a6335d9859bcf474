/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c - a TCP proxy that misbehaves when told to. For tests: between evfs and S3, and evfs and PostgreSQL.
 *
 *	proxy CONTROL [seed=N] NAME=HOST:PORT…
 *
 * Each NAME is a link: it listens on a free port of 127.0.0.1 and passes on to HOST:PORT. Once all listen, a line
 * "NAME PORT" for each stands on stdout. CONTROL is a unix socket: a line a command, a line an answer, "ok …" or "error …":
 *
 *	NAME FAULT [KEY=VALUE…]		a rule is added; FAULT is one of
 *		cut	close both sides (after= bytes of this exchange; dir=up: the request is cut, dir=down: the answer)
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
 * A rule looks at exchanges: bytes from the client after bytes from the server (or the first). Of those on its link with match=TEXT
 * in their first piece, and on the conn=N-th connection after the rule was given (conn=0: on new ones only; without: on all), it
 * takes the nth= (1) and all that follow, times= (1; 0: without end) of them, or each with probability p= (times: without end).
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINKS 8
#define PIECE 65536
#define QUEUE_MAX (1 << 20)	/* more is left to the kernel: the sender feels a slow receiver */
#define DEFAULT_SEED 1

enum { UP, DOWN };
enum fault { CUT, RESET, LOST, SWALLOW, DELAY, SLOW, REFUSE, FAULTS };
static const char *const fault_names[FAULTS] = { "cut", "reset", "lost", "swallow", "delay", "slow", "refuse" };

struct rule {
	struct rule *next;
	enum fault fault;
	bool dir[2];
	unsigned nth, times, fired;
	double p;		/* < 0: by nth */
	uint64_t seen;
	char match[64];
	long conn;		/* < 0: any */
	uint64_t since;		/* connections of the link when it was given */
	uint64_t after, ms, jitter, rate;
};

/* What epoll tells of. */
struct watch {
	enum { LISTEN, CONTROL_LISTEN, CONTROL, CLIENT, SERVER } kind;
	int fd;
	void *owner;
	uint32_t events;	/* as epoll has them */
};

struct link {
	char name[32];
	struct watch watch;
	struct sockaddr_in target;
	struct rule *rules;
	uint64_t connections, open, exchanges, fired;
};

struct piece {
	struct piece *next;
	uint64_t due_ms;
	size_t at, len;
	char bytes[];
};

/* One direction of a connection: read from ends[dir], written to ends[!dir]. */
struct flow {
	struct piece *head, **tail;
	size_t queued;
	uint64_t last_due;
	bool eof, ended;	/* nothing more comes; and the other side was told */
	bool swallow;
	bool cuts, by_reset;	/* ends the connection after cut_after more bytes */
	uint64_t cut_after;
	uint64_t ms, jitter, rate;
};

struct conn {
	struct conn *next, **at;
	struct link *link;
	uint64_t number;
	struct watch ends[2];	/* UP: the client's, DOWN: the server's */
	struct flow flows[2];
	bool connecting, answered;
	bool closing, closing_by_reset;	/* once what is queued has been written */
	bool dead;
};

static int epoll_fd;
static struct link links[LINKS];
static size_t n_links;
static struct conn *conns;
static uint64_t random_state = DEFAULT_SEED;

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* splitmix64: the same seed, the same faults as far as the exchanges come in the same order. */
static uint64_t next_random(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(struct watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };
	if (w->events == events)
		return;
	if (epoll_ctl(epoll_fd, w->events == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, w->fd, &e))
		die("epoll_ctl");
	w->events = events;
}

static void watch_new(struct watch *w, int kind, int fd, void *owner, uint32_t events)
{
	w->kind = kind;
	w->fd = fd;
	w->owner = owner;
	w->events = UINT32_MAX;
	watch(w, events);
}

/* ------------------------------------------------------------------ rules */

static bool applies(struct rule *r, const struct conn *c, const char *bytes, size_t len)
{
	if (r->conn == 0 && c->number <= r->since)
		return false;
	if (r->conn > 0 && c->number != r->since + (uint64_t)r->conn)
		return false;
	if (r->match[0] && !memmem(bytes, len, r->match, strlen(r->match)))
		return false;
	if (r->times && r->fired >= r->times)
		return false;
	r->seen++;
	if (r->p >= 0 ? (double)(next_random() >> 11) / (double)(UINT64_C(1) << 53) >= r->p : r->seen < r->nth)
		return false;
	r->fired++;
	c->link->fired++;
	return true;
}

static void fire(const struct rule *r, struct conn *c)
{
	for (int dir = UP; dir <= DOWN; dir++) {
		struct flow *f = &c->flows[dir];
		if (!r->dir[dir])
			continue;
		switch (r->fault) {
		case CUT: case RESET: case LOST:
			f->cuts = true;
			f->by_reset = r->fault == RESET;
			f->cut_after = r->after;
			break;
		case SWALLOW:
			f->swallow = true;
			break;
		case DELAY:
			f->ms = r->ms;
			f->jitter = r->jitter;
			break;
		case SLOW:
			f->rate = r->rate;
			break;
		case REFUSE: case FAULTS:
			break;
		}
	}
}

static void begin_exchange(struct conn *c, const char *bytes, size_t len)
{
	c->link->exchanges++;
	c->answered = false;
	for (int dir = UP; dir <= DOWN; dir++)
		c->flows[dir].ms = c->flows[dir].jitter = c->flows[dir].rate = 0;
	for (struct rule *r = c->link->rules; r; r = r->next)
		if (r->fault != REFUSE && applies(r, c, bytes, len))
			fire(r, c);
}

static bool refused(struct conn *c)
{
	for (struct rule *r = c->link->rules; r; r = r->next)
		if (r->fault == REFUSE && applies(r, c, "", 0))
			return true;
	return false;
}

/* ------------------------------------------------------------------ connections */

static void close_end(struct watch *end, bool by_reset)
{
	struct linger hard = { .l_onoff = 1 };
	if (end->fd < 0)
		return;
	if (by_reset)
		setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(end->fd);
	end->fd = -1;
}

/* Its memory is freed later: epoll may have told more of it. */
static void end_conn(struct conn *c, bool by_reset)
{
	if (c->dead)
		return;
	c->dead = true;
	c->link->open--;
	close_end(&c->ends[UP], by_reset);
	close_end(&c->ends[DOWN], by_reset);
}

static void reap(void)
{
	for (struct conn *c = conns, *next; c; c = next) {
		next = c->next;
		if (!c->dead)
			continue;
		*c->at = c->next;
		if (c->next)
			c->next->at = c->at;
		for (int dir = UP; dir <= DOWN; dir++)
			for (struct piece *p = c->flows[dir].head, *after; p; p = after) {
				after = p->next;
				free(p);
			}
		free(c);
	}
}

static void queue(struct flow *f, const char *bytes, size_t len)
{
	struct piece *p = malloc(sizeof(*p) + len);
	if (!p)
		die("malloc");
	uint64_t now = now_ms(), due = now;
	if (f->ms || f->jitter)
		due += f->ms + (f->jitter ? next_random() % (f->jitter + 1) : 0);
	if (f->rate)
		due = (f->last_due > now ? f->last_due : now) + len * 1000 / f->rate;
	f->last_due = due < f->last_due ? f->last_due : due;
	*p = (struct piece){ .due_ms = f->last_due, .len = len };
	memcpy(p->bytes, bytes, len);
	*f->tail = p;
	f->tail = &p->next;
	f->queued += len;
}

static void read_flow(struct conn *c, int dir)
{
	static char bytes[PIECE];
	struct flow *f = &c->flows[dir];
	size_t most = sizeof(bytes);
	if (f->rate && f->rate / 20 < most)
		most = f->rate / 20 ? f->rate / 20 : 1;
	ssize_t n = read(c->ends[dir].fd, bytes, most);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		end_conn(c, true);
		return;
	}
	if (!n) {
		f->eof = true;
		return;
	}
	if (dir == DOWN)
		c->answered = true;
	else if (c->answered)
		begin_exchange(c, bytes, (size_t)n);
	size_t len = (size_t)n;
	if (f->swallow)
		return;
	if (f->cuts) {
		if (f->cut_after < len)
			len = (size_t)f->cut_after;
		f->cut_after -= len;
		if (!f->cut_after) {
			c->closing = true;
			c->closing_by_reset = f->by_reset;
		}
	}
	if (len)
		queue(f, bytes, len);
}

static void write_flow(struct conn *c, int dir)
{
	struct flow *f = &c->flows[dir];
	uint64_t now = f->head ? now_ms() : 0;
	while (f->head && f->head->due_ms <= now) {
		struct piece *p = f->head;
		ssize_t n = send(c->ends[!dir].fd, p->bytes + p->at, p->len - p->at, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			end_conn(c, true);
			return;
		}
		p->at += (size_t)n;
		f->queued -= (size_t)n;
		if (p->at < p->len)
			return;
		f->head = p->next;
		if (!f->head)
			f->tail = &f->head;
		free(p);
	}
	if (f->eof && !f->head && !f->ended && !f->swallow) {
		f->ended = true;
		shutdown(c->ends[!dir].fd, SHUT_WR);
	}
}

static void connected(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);
	getsockopt(c->ends[DOWN].fd, SOL_SOCKET, SO_ERROR, &error, &len);
	c->connecting = false;
	if (error)
		end_conn(c, true);	/* nobody listens there: as near as a proxy comes to saying so */
}

/* Write what is due, and tell epoll what is awaited now. */
static void step(struct conn *c)
{
	if (c->dead || c->connecting)
		return;
	for (int dir = UP; dir <= DOWN && !c->dead; dir++)
		write_flow(c, dir);
	if (c->dead)
		return;
	bool drained = !c->flows[UP].head && !c->flows[DOWN].head;
	bool over = c->flows[UP].eof && c->flows[DOWN].eof;
	/* the client of a half-open connection has gone: nothing is left to be shown */
	if (drained && (c->closing || over || (c->flows[UP].eof && (c->flows[UP].swallow || c->flows[DOWN].swallow)))) {
		end_conn(c, c->closing && c->closing_by_reset);
		return;
	}
	uint64_t now = now_ms();
	for (int side = UP; side <= DOWN; side++) {
		const struct flow *in = &c->flows[side], *out = &c->flows[!side];
		uint32_t events = !in->eof && !c->closing && in->queued < QUEUE_MAX ? EPOLLIN : 0;
		if (out->head && out->head->due_ms <= now)
			events |= EPOLLOUT;
		if (in->eof && !events) {	/* EPOLLHUP would be told again and again */
			if (c->ends[side].events != UINT32_MAX)
				epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->ends[side].fd, NULL);
			c->ends[side].events = UINT32_MAX;
		} else {
			watch(&c->ends[side], events);
		}
	}
}

static void conn_event(struct watch *w, uint32_t events)
{
	struct conn *c = w->owner;
	if (c->dead)
		return;
	if (c->connecting) {
		if (w->kind == CLIENT) {
			if (events & (EPOLLHUP | EPOLLERR))
				end_conn(c, true);
			return;
		}
		connected(c);
		step(c);
		return;
	}
	int dir = w->kind == CLIENT ? UP : DOWN;
	if ((events & EPOLLERR) || ((events & EPOLLHUP) && c->flows[dir].eof)) {
		end_conn(c, true);
		return;
	}
	if ((events & (EPOLLIN | EPOLLHUP)) && !c->flows[dir].eof && !c->closing)
		read_flow(c, dir);
	step(c);
}

static void set_nodelay(int fd)
{
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void accept_conn(struct link *l)
{
	int fd = accept4(l->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct conn *c = calloc(1, sizeof(*c));
	if (server < 0 || !c)
		die("accept");
	set_nodelay(fd);
	set_nodelay(server);
	c->link = l;
	c->number = ++l->connections;
	l->open++;
	c->answered = true;	/* the first bytes are an exchange */
	for (int dir = UP; dir <= DOWN; dir++)
		c->flows[dir].tail = &c->flows[dir].head;
	c->at = &conns;
	c->next = conns;
	if (conns)
		conns->at = &c->next;
	conns = c;
	c->ends[UP].fd = fd;
	c->ends[DOWN].fd = server;
	if (refused(c)) {
		end_conn(c, true);
		return;
	}
	c->connecting = true;
	if (connect(server, (struct sockaddr *)&l->target, sizeof(l->target)) && errno != EINPROGRESS) {
		end_conn(c, true);
		return;
	}
	watch_new(&c->ends[UP], CLIENT, fd, c, 0);
	watch_new(&c->ends[DOWN], SERVER, server, c, EPOLLOUT);
}

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

/* words: the text behind the fault's name. NULL where all is understood, else the word that is not. */
static const char *add_rule(struct link *l, enum fault fault, char **words)
{
	struct rule *r = malloc(sizeof(*r));
	if (!r)
		die("malloc");
	bool down = fault == LOST, both = fault == DELAY || fault == SLOW || fault == SWALLOW;
	*r = (struct rule){ .fault = fault, .dir = { !down, down || both }, .nth = 1, .times = 1, .p = -1, .conn = -1,
			    .since = l->connections };
	for (char *word; (word = strtok_r(NULL, " ", words)); ) {
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
		for (struct conn *c = conns; c; c = c->next)
			if (c->link == l)
				end_conn(c, true);
		return;
	}
	if (!strcmp(verb, "stats")) {
		snprintf(answer, size, "ok connections=%" PRIu64 " open=%" PRIu64 " exchanges=%" PRIu64 " fired=%" PRIu64 "\n",
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
		watch_new(w, CONTROL, fd, NULL, EPOLLIN);
}

/* ------------------------------------------------------------------ start, and loop */

static void listen_control(struct watch *w, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(a.sun_path, path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 16))
		die(path);
	watch_new(w, CONTROL_LISTEN, fd, NULL, EPOLLIN);
}

/* NAME=HOST:PORT; returns the port it listens on. */
static unsigned listen_link(char *text)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(here);
	struct link *l = &links[n_links];
	char *host = strchr(text, '='), *port = host ? strrchr(host, ':') : NULL;
	if (!port || n_links == LINKS || (size_t)(host - text) >= sizeof(l->name)) {
		fprintf(stderr, "not a link: %s\n", text);
		exit(2);
	}
	*host++ = *port++ = '\0';
	strcpy(l->name, text);
	l->target = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, host, &l->target.sin_addr) != 1) {
		fprintf(stderr, "not an address: %s\n", host);
		exit(2);
	}
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) || listen(fd, 512) ||
	    getsockname(fd, (struct sockaddr *)&here, &len))
		die(text);
	watch_new(&l->watch, LISTEN, fd, l, EPOLLIN);
	n_links++;
	return ntohs(here.sin_port);
}

/* Milliseconds until the next piece is due; -1: none waits. */
static int next_due(void)
{
	uint64_t now = now_ms(), least = UINT64_MAX;
	for (struct conn *c = conns; c; c = c->next)
		for (int dir = UP; dir <= DOWN; dir++)
			if (c->flows[dir].head && c->flows[dir].head->due_ms < least && c->flows[dir].head->due_ms > now)
				least = c->flows[dir].head->due_ms;
	return least == UINT64_MAX ? -1 : (int)(least - now);
}

static void handle(struct watch *w, uint32_t events)
{
	switch (w->kind) {
	case LISTEN:
		accept_conn(w->owner);
		break;
	case CONTROL_LISTEN:
		accept_control(w);
		break;
	case CONTROL:
		control_event(w);
		break;
	case CLIENT: case SERVER:
		conn_event(w, events);
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
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll");
	listen_control(&control, argv[1]);
	for (int i = 2; i < argc; i++) {
		if (!strncmp(argv[i], "seed=", 5)) {
			random_state = strtoull(argv[i] + 5, NULL, 10);
			continue;
		}
		unsigned port = listen_link(argv[i]);
		ports[n_links - 1] = port;
	}
	for (size_t i = 0; i < n_links; i++)
		printf("%s %u\n", links[i].name, ports[i]);
	if (fflush(stdout))
		die("stdout");

	for (;;) {
		struct epoll_event events[64];
		int wait = next_due();
		int n = epoll_wait(epoll_fd, events, 64, wait);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			handle(events[i].data.ptr, events[i].events);
		for (struct conn *c = conns; c; c = c->next)
			if (c->flows[UP].head || c->flows[DOWN].head)
				step(c);
		reap();
	}
}
