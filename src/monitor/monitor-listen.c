/* SPDX-License-Identifier: Apache-2.0 */
/* monitor-listen.c - addresses and sockets. */
#include "config.h"
#include "monitor/monitor-listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define WAITING 32	/* connections that nobody accepted yet */

struct place {
	char host[64];		/* "": all addresses */
	char port[6];
};

static bool parse_port(const char *text, char port[6])
{
	size_t n = strspn(text, "0123456789");
	unsigned long value = 0;
	for (size_t i = 0; i < n && n <= 5; i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	if (!n || n > 5 || text[n] || value > 65535)
		return false;
	memcpy(port, text, n + 1);
	return true;
}

static bool parse(const char *text, struct place *p)
{
	const char *host = text, *colon = strrchr(text, ':');
	size_t n;
	if (!colon) {
		snprintf(p->host, sizeof(p->host), "127.0.0.1");
		return parse_port(text, p->port);
	}
	n = (size_t)(colon - text);
	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		host++;
		n -= 2;
		if (!memchr(host, ':', n))
			return false;
	} else if (memchr(text, ':', n)) {
		return false;	/* which colon is the port's can't be told */
	}
	if (n >= sizeof(p->host))
		return false;
	memcpy(p->host, host, n);
	p->host[n] = '\0';
	return parse_port(colon + 1, p->port);
}

/* Of a family; -1 with errno. */
static int listen_at(const struct sockaddr *at, socklen_t len)
{
	const int yes = 1, no = 0;
	_cleanup_(closep) int fd =
		socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* who starts again at once is not kept off by the connections of before */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (at->sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, at, len) || listen(fd, WAITING))
		return -1;
	return TAKE_FD(fd);
}

static enum rc refused(const char *address, int err, struct why *why)
{
	switch (err) {
	case EADDRINUSE:
		return rc_fail(RC_EXISTS, why, "metrics at \"%.64s\": another program listens there",
			       address);
	case EACCES:
		return rc_fail(RC_DENIED, why, "metrics at \"%.64s\": %s", address, strerror(err));
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return rc_fail(RC_INVALID, why,
			       "metrics at \"%.64s\": not an address of this machine", address);
	case ENOMEM:
	case ENOBUFS:
		return rc_fail(RC_NO_MEMORY, why, "metrics at \"%.64s\": %s", address,
			       strerror(err));
	default:
		return rc_fail(RC_TEMPORARY, why, "metrics at \"%.64s\": %s", address,
			       strerror(err));
	}
}

static enum rc unreadable(const char *address, struct why *why)
{
	return rc_fail(RC_INVALID, why,
		       "expected where to serve metrics, like 127.0.0.1:9187, [::1]:9187, 9187 "
		       "(of 127.0.0.1) or :9187 (all addresses), found \"%.64s\"",
		       address);
}

/* *fd_r is -1 where none of the addresses would do; errno says why. */
static enum rc listen_at_place(const char *address, const struct place *p, int *fd_r,
			       struct why *why)
{
	/* names are not looked up: that may wait, and tell of another machine tomorrow */
	bool is_name = !strcmp(p->host, "localhost");
	const struct addrinfo hints = {
		.ai_flags = (is_name ? 0 : AI_NUMERICHOST) | AI_NUMERICSERV,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *found;
	if (getaddrinfo(is_name ? "127.0.0.1" : p->host, p->port, &hints, &found))
		return unreadable(address, why);
	*fd_r = listen_at(found->ai_addr, found->ai_addrlen);
	int err = errno;
	freeaddrinfo(found);
	errno = err;
	return RC_OK;
}

static void describe(int fd, char found[MONITOR_LISTEN_ADDRESS_MAX])
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	char host[48] = "?", port[8] = "?";
	if (!getsockname(fd, (struct sockaddr *)&at, &len))
		(void)getnameinfo((struct sockaddr *)&at, len, host, sizeof(host), port,
				  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(found, MONITOR_LISTEN_ADDRESS_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
		 port);
}

enum rc monitor_listen(const char *address, int *fd_r, char found[MONITOR_LISTEN_ADDRESS_MAX],
		       struct why *why)
{
	struct place p = { .host = "" };
	int fd = -1;
	enum rc rc = RC_OK;
	if (!parse(address, &p))
		return unreadable(address, why);
	if (*p.host) {
		rc = listen_at_place(address, &p, &fd, why);
	} else {
		snprintf(p.host, sizeof(p.host), "::");
		rc = listen_at_place(address, &p, &fd, why);
		if (rc == RC_OK && fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
			snprintf(p.host, sizeof(p.host), "0.0.0.0");
			rc = listen_at_place(address, &p, &fd, why);
		}
	}
	if (rc != RC_OK)
		return rc;
	if (fd < 0)
		return refused(address, errno, why);
	describe(fd, found);
	*fd_r = fd;
	return RC_OK;
}
