/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for tests that answers, or fails to, as the test says: one thread a connection, on loopback.
 */
#ifndef EVFS_TESTS_HTTP_SERVER_H
#define EVFS_TESTS_HTTP_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define HTTP_SERVER_CONNECTIONS 256

/* One request, read whole. */
struct http_server_request {
	int fd;
	char method[8], path[2048];
	const char *head; /* all header lines */
	const char *body;
	size_t body_len;
	unsigned nth; /* of all, from 1 */
	unsigned nth_here; /* on its connection, from 1 */
	struct http_server *server;
};

/* Answer on rq->fd. False: close the connection. */
typedef bool http_server_fn(const struct http_server_request *rq);

struct http_server {
	http_server_fn *fn;
	atomic_int listen_fd;
	unsigned port;
	char url[64]; /* "http://127.0.0.1:PORT" */
	atomic_uint requests, connections, open, most_open;
	atomic_bool stop;
	atomic_int fds[HTTP_SERVER_CONNECTIONS]; /* of open connections, by their number, +1 */
	unsigned long thread;
};

void http_server_start(struct http_server *s, http_server_fn *fn);
/* Accept nothing more; what is open stays. */
void http_server_close(struct http_server *s);
void http_server_stop(struct http_server *s);

/* Send text as it is. False: the peer is gone. */
bool http_server_send(const struct http_server_request *rq, const char *text);
/* A whole answer: "503 Slow Down", further header lines ("name: value\r\n" …, or ""), a body. */
bool http_server_answer(const struct http_server_request *rq, const char *status,
			const char *headers, const char *body);
/* The value of a header of the request; false: none. */
bool http_server_header(const struct http_server_request *rq, const char *name, char *out,
			size_t size);
/* Wait until the peer, or the test, closes. */
bool http_server_hang(const struct http_server_request *rq);

#endif
