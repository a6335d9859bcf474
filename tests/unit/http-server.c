/* SPDX-License-Identifier: Apache-2.0 */
/* http-server.c - a server for tests that answers, or fails to, as the test says. */
#include "config.h"
#include "http-server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX (1u << 20)

struct connection {
	struct http_server *s;
	int fd;
	unsigned slot;
};

bool http_server_send(const struct http_server_request *rq, const char *text)
{
	for (size_t len = strlen(text); len;) {
		ssize_t n = send(rq->fd, text, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

bool http_server_answer(const struct http_server_request *rq, const char *status,
			const char *headers, const char *body)
{
	char head[2048];
	bool bodyless = !strcmp(rq->method, "HEAD");
	snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status,
		 strlen(body), headers);
	return http_server_send(rq, head) && (bodyless || http_server_send(rq, body));
}

bool http_server_header(const struct http_server_request *rq, const char *name, char *out,
			size_t size)
{
	size_t n = strlen(name);
	for (const char *line = rq->head; line && *line; line = strstr(line, "\r\n")) {
		while (*line == '\r' || *line == '\n')
			line++;
		if (strncasecmp(line, name, n) || line[n] != ':')
			continue;
		const char *value = line + n + 1 + strspn(line + n + 1, " ");
		snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
		return true;
	}
	return false;
}

bool http_server_hang(const struct http_server_request *rq)
{
	struct pollfd p = { .fd = rq->fd, .events = POLLRDHUP };
	while (!atomic_load(&rq->server->stop) && poll(&p, 1, 20) == 0)
		;
	return false;
}

/* One request into buf; false: the connection ended. */
static bool read_request(struct http_server_request *rq, char *buf)
{
	size_t len = 0, head_len = 0, want = 0;
	while (!head_len || len < head_len + want) {
		ssize_t n = len < REQUEST_MAX ? recv(rq->fd, buf + len, REQUEST_MAX - len, 0) : 0;
		if (n <= 0)
			return false;
		len += (size_t)n;
		buf[len] = '\0';
		char *end = strstr(buf, "\r\n\r\n");
		if (head_len || !end)
			continue;
		*end = '\0';
		head_len = (size_t)(end + 4 - buf);
		char text[32];
		rq->head = strstr(buf, "\r\n");
		if (rq->head && http_server_header(rq, "content-length", text, sizeof(text)))
			want = strtoul(text, NULL, 10);
	}
	rq->body = buf + head_len;
	rq->body_len = want;
	return sscanf(buf, "%7s %2047s", rq->method, rq->path) == 2;
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	struct http_server *s = c->s;
	char *buf = malloc(REQUEST_MAX + 1);
	struct http_server_request rq = { .fd = c->fd, .server = s };
	bool go_on = buf;
	while (go_on && read_request(&rq, buf)) {
		rq.nth = atomic_fetch_add(&s->requests, 1) + 1;
		rq.nth_here++;
		go_on = s->fn(&rq);
	}
	atomic_store(&s->fds[c->slot], 0);
	close(c->fd);
	free(buf);
	free(c);
	atomic_fetch_sub(&s->open, 1);
	return NULL;
}

static void *listen_main(void *arg)
{
	struct http_server *s = arg;
	int listening = atomic_load(&s->listen_fd), on = 1;
	for (int fd; (fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
		struct connection *c = malloc(sizeof(*c));
		pthread_t thread;
		unsigned open = atomic_fetch_add(&s->open, 1) + 1;
		if (open > atomic_load(&s->most_open))
			atomic_store(&s->most_open, open);
		unsigned slot = atomic_fetch_add(&s->connections, 1) % HTTP_SERVER_CONNECTIONS;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (!c)
			abort();
		*c = (struct connection){ s, fd, slot };
		atomic_store(&s->fds[slot], fd + 1);
		if (pthread_create(&thread, NULL, serve, c))
			abort();
		pthread_detach(thread);
	}
	return NULL;
}

void http_server_start(struct http_server *s, http_server_fn *fn)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	pthread_t thread;
	memset(s, 0, sizeof(*s));
	s->fn = fn;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	atomic_store(&s->listen_fd, fd);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 128) ||
	    getsockname(fd, (struct sockaddr *)&a, &len) ||
	    pthread_create(&thread, NULL, listen_main, s)) {
		perror("http-server");
		abort();
	}
	s->thread = thread;
	s->port = ntohs(a.sin_port);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", s->port);
}

void http_server_close(struct http_server *s)
{
	int fd = atomic_exchange(&s->listen_fd, -1);
	if (fd < 0)
		return;
	shutdown(fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(fd);
}

void http_server_stop(struct http_server *s)
{
	http_server_close(s);
	atomic_store(&s->stop, true);
	while (atomic_load(&s->open)) {
		for (unsigned i = 0; i < HTTP_SERVER_CONNECTIONS; i++) {
			int fd = atomic_load(&s->fds[i]);
			if (fd)
				shutdown(fd - 1, SHUT_RDWR);
		}
		poll(NULL, 0, 1);
	}
}
