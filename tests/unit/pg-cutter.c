/* SPDX-License-Identifier: Apache-2.0 */
/* pg-cutter.c - a forwarder of connections that loses what it is told to lose. */
#include "config.h"
#include "pg-cutter.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void drop(struct cutter *c, int i)
{
	if (c->client[i] < 0)
		return;
	close(c->client[i]);
	close(c->server[i]);
	c->client[i] = c->server[i] = -1;
}

static int reach(const struct cutter *c)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)c->to_port) };
	inet_pton(AF_INET, c->to_host, &to.sin_addr);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void take(struct cutter *c)
{
	int one = 1, fd = accept(c->listener, NULL, NULL);
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < CUTTER_PAIRS && c->does != CUTTER_REFUSES; i++)
		if (c->client[i] < 0) {
			c->client[i] = fd;
			c->server[i] = reach(c);
			return;
		}
	close(fd);
}

/* false: the end of it. */
static bool move(int from, int to, bool eat)
{
	char data[16384];
	ssize_t n = recv(from, data, sizeof(data), 0);
	if (n <= 0 || eat)
		return false;
	for (ssize_t done = 0; done < n;) {
		ssize_t some = send(to, data + done, (size_t)(n - done), MSG_NOSIGNAL);
		if (some <= 0)
			return false;
		done += some;
	}
	return true;
}

static void *run(void *arg)
{
	struct cutter *c = arg;
	while (!c->ends) {
		struct pollfd p[1 + 2 * CUTTER_PAIRS];
		bool stalls = c->does == CUTTER_STALLS;
		p[0] = (struct pollfd){ .fd = c->listener, .events = POLLIN };
		for (int i = 0; i < CUTTER_PAIRS; i++) {
			p[1 + 2 * i] = (struct pollfd){ .fd = stalls ? -1 : c->client[i],
							.events = POLLIN };
			p[2 + 2 * i] = (struct pollfd){ .fd = stalls ? -1 : c->server[i],
							.events = POLLIN };
		}
		poll(p, 1 + 2 * CUTTER_PAIRS, 5); /* also to see what `does` has become */
		for (int i = 0; i < CUTTER_PAIRS; i++) {
			bool good = c->does != CUTTER_REFUSES;
			if (good && p[1 + 2 * i].revents)
				good = move(c->client[i], c->server[i], false);
			if (good && p[2 + 2 * i].revents) {
				bool eat = c->does == CUTTER_EATS;
				good = move(c->server[i], c->client[i], eat);
				if (eat)
					c->does = CUTTER_PASSES;
			}
			if (!good)
				drop(c, i);
		}
		if (p[0].revents)
			take(c);
	}
	return NULL;
}

void cutter_start(struct cutter *c, const char *to_host, int to_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	memset(c, 0, sizeof(*c));
	memset(c->client, 0xff, sizeof(c->client));
	memset(c->server, 0xff, sizeof(c->server));
	strncpy(c->to_host, !strcmp(to_host, "localhost") ? "127.0.0.1" : to_host,
		sizeof(c->to_host) - 1);
	c->to_port = to_port;
	c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(c->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(c->listener, 16), 0);
	ck_assert_int_eq(getsockname(c->listener, (struct sockaddr *)&at, &len), 0);
	c->port = ntohs(at.sin_port);
	ck_assert_int_eq(pthread_create(&c->thread, NULL, run, c), 0);
}

void cutter_stop(struct cutter *c)
{
	c->ends = true;
	pthread_join(c->thread, NULL);
	for (int i = 0; i < CUTTER_PAIRS; i++)
		drop(c, i);
	close(c->listener);
}
