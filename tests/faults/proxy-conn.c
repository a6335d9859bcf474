/* SPDX-License-Identifier: Apache-2.0 */
/* proxy-conn.c - what goes through the fault proxy, and what does not. */
#include "config.h"
#include "proxy-conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE 65536
#define QUEUE_MAX (1 << 20) /* more is left to the kernel: the sender feels a slow receiver */
#define DEFAULT_SEED 1

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
	bool eof, ended; /* nothing more comes; and the other side was told */
	bool swallow;
	bool cuts, by_reset; /* ends the connection after cut_after more bytes */
	uint64_t cut_after;
	uint64_t ms, jitter, rate;
};

struct conn {
	struct conn *next, **at;
	struct link *link;
	uint64_t number;
	struct watch ends[2]; /* UP: the client's, DOWN: the server's */
	struct flow flows[2];
	bool connecting, answered;
	bool closing, closing_by_reset; /* once what is queued has been written */
	bool dead;
};

int proxy_conn_epoll;
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

void proxy_conn_seed(uint64_t seed)
{
	random_state = seed;
}

void proxy_conn_die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(struct watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };
	if (w->events == events)
		return;
	if (epoll_ctl(proxy_conn_epoll, w->events == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
		      w->fd, &e))
		proxy_conn_die("epoll_ctl");
	w->events = events;
}

void proxy_conn_watch(struct watch *w, int kind, int fd, void *owner, uint32_t events)
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
	if (r->p >= 0 ? (double)(next_random() >> 11) / (double)(UINT64_C(1) << 53) >= r->p
		      : r->seen < r->nth)
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
		case CUT:
		case RESET:
		case LOST:
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
		case REFUSE:
		case FAULTS:
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
		proxy_conn_die("malloc");
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
		end_conn(c, true); /* nobody listens there: as near as a proxy comes to saying so */
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
	if (drained && (c->closing || over ||
			(c->flows[UP].eof && (c->flows[UP].swallow || c->flows[DOWN].swallow)))) {
		end_conn(c, c->closing && c->closing_by_reset);
		return;
	}
	uint64_t now = now_ms();
	for (int side = UP; side <= DOWN; side++) {
		const struct flow *in = &c->flows[side], *out = &c->flows[!side];
		uint32_t events = !in->eof && !c->closing && in->queued < QUEUE_MAX ? EPOLLIN : 0;
		if (out->head && out->head->due_ms <= now)
			events |= EPOLLOUT;
		if (in->eof && !events) { /* EPOLLHUP would be told again and again */
			if (c->ends[side].events != UINT32_MAX)
				epoll_ctl(proxy_conn_epoll, EPOLL_CTL_DEL, c->ends[side].fd, NULL);
			c->ends[side].events = UINT32_MAX;
		} else {
			watch(&c->ends[side], events);
		}
	}
}

void proxy_conn_event(struct watch *w, uint32_t events)
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

void proxy_conn_accept(struct link *l)
{
	int fd = accept4(l->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct conn *c = calloc(1, sizeof(*c));
	if (server < 0 || !c)
		proxy_conn_die("accept");
	set_nodelay(fd);
	set_nodelay(server);
	c->link = l;
	c->number = ++l->connections;
	l->open++;
	c->answered = true; /* the first bytes are an exchange */
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
	if (connect(server, (struct sockaddr *)&l->target, sizeof(l->target)) &&
	    errno != EINPROGRESS) {
		end_conn(c, true);
		return;
	}
	proxy_conn_watch(&c->ends[UP], CLIENT, fd, c, 0);
	proxy_conn_watch(&c->ends[DOWN], SERVER, server, c, EPOLLOUT);
}

void proxy_conn_drop(const struct link *l)
{
	for (struct conn *c = conns; c; c = c->next)
		if (c->link == l)
			end_conn(c, true);
}

void proxy_conn_turn(void)
{
	for (struct conn *c = conns; c; c = c->next)
		if (c->flows[UP].head || c->flows[DOWN].head)
			step(c);
	reap();
}

int proxy_conn_next_due(void)
{
	uint64_t now = now_ms(), least = UINT64_MAX;
	for (struct conn *c = conns; c; c = c->next)
		for (int dir = UP; dir <= DOWN; dir++)
			if (c->flows[dir].head && c->flows[dir].head->due_ms < least &&
			    c->flows[dir].head->due_ms > now)
				least = c->flows[dir].head->due_ms;
	return least == UINT64_MAX ? -1 : (int)(least - now);
}
