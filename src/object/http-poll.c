/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http-poll.c - curl's sockets in an epoll set.
 *
 * curl says for each transfer that it waits for the socket, and after it that it no longer does; a
 * kept-alive connection would cost two calls of the kernel a transfer. So an idle socket of ours
 * stays registered, until it says something that nobody waits for.
 */
#include "config.h"
#include "object/http-private.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define SLEEP_MAX_MS 60000u

static struct http_poll_socket *socket_at(struct http_poll *p, int fd)
{
	size_t at = (size_t)fd;
	if (at >= p->n_sockets) {
		size_t n = p->n_sockets ? p->n_sockets : 64;
		while (n <= at)
			n *= 2;
		struct http_poll_socket *more = realloc(p->sockets, n * sizeof(*more));
		if (!more)
			return NULL;
		memset(more + p->n_sockets, 0, (n - p->n_sockets) * sizeof(*more));
		p->sockets = more;
		p->n_sockets = n;
	}
	return &p->sockets[at];
}

static void apply(struct http_poll *p, int fd, struct http_poll_socket *s, uint32_t wanted)
{
	struct epoll_event ev = { .events = wanted, .data.fd = fd };
	int op = !wanted ? EPOLL_CTL_DEL : s->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(p->epoll_fd, op, fd, &ev) && op == EPOLL_CTL_ADD && errno == EEXIST)
		(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
	s->registered = wanted;
}

/*
 * Never fails: curl would give up all transfers. One that can't be waited for ends by its deadline.
 */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	(void)easy;
	(void)unused;
	struct http_poll *p = arg;
	struct http_poll_socket *s = socket_at(p, fd);
	if (!s)
		return 0;
	s->wanted = 0;
	if (what != CURL_POLL_REMOVE)
		s->wanted = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0u) |
			    (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0u);
	if (s->wanted == s->registered)
		return 0;
	if (!s->wanted && s->ours && s->registered == EPOLLIN)
		return 0;
	apply(p, fd, s, s->wanted);
	return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	(void)multi;
	struct http_poll *p = arg;
	p->curl_at_ms = timeout_ms < 0 ? HTTP_POLL_NEVER
			: timeout_ms   ? clock_boot_ms() + (uint64_t)timeout_ms
				       : 0;
	return 0;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	(void)purpose;
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	struct http_poll_socket *s = fd < 0 ? NULL : socket_at(arg, fd);
	if (s)
		*s = (struct http_poll_socket){ .ours = true };
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/*
 * What the server has not acknowledged would be sent on by the kernel for minutes after the close,
 * and a write that was given up would be done when the network is back: it is thrown away.
 */
static void forget_unsent(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	int unsent = 0;
	if (!ioctl(fd, SIOCOUTQ, &unsent) && unsent > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static int close_socket(void *arg, curl_socket_t fd)
{
	struct http_poll *p = arg;
	if (fd >= 0 && (size_t)fd < p->n_sockets)
		p->sockets[fd] = (struct http_poll_socket){ 0 };
	forget_unsent(fd);
	return close(fd);
}

void http_poll_adopt(struct http_poll *p, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, p);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, p);
}

enum rc http_poll_init(struct http_poll *p, struct why *why)
{
	*p = (struct http_poll){ .epoll_fd = -1, .wake_fd = -1, .curl_at_ms = HTTP_POLL_NEVER };
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->multi = curl_multi_init();
	/* edge-triggered: each wake is one event, and its count need not be read */
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.fd = p->wake_fd };
	if (p->epoll_fd < 0 || p->wake_fd < 0 || !p->multi ||
	    epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &ev)) {
		int err = errno;
		http_poll_release(p);
		return rc_fail(RC_TEMPORARY, why, "cannot start the HTTP engine: %s",
			       strerror(err));
	}
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return RC_OK;
}

void http_poll_release(struct http_poll *p)
{
	if (p->multi)
		curl_multi_cleanup(p->multi);
	p->multi = NULL;
	closep(&p->epoll_fd);
	closep(&p->wake_fd);
	p->epoll_fd = p->wake_fd = -1;
	free(p->sockets);
	p->sockets = NULL;
	p->n_sockets = 0;
}

void http_poll_forget(struct http_poll *p)
{
	for (size_t fd = 0; fd < p->n_sockets; fd++)
		if (p->sockets[fd].ours)
			close((int)fd);
	closep(&p->epoll_fd);
	closep(&p->wake_fd);
	free(p->sockets);
	*p = (struct http_poll){ .epoll_fd = -1, .wake_fd = -1, .curl_at_ms = HTTP_POLL_NEVER };
}

void http_poll_wake(struct http_poll *p)
{
	(void)!write(p->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static void dispatch(struct http_poll *p, const struct epoll_event *ev)
{
	int running, fd = ev->data.fd;
	if (fd == p->wake_fd)
		return;
	struct http_poll_socket *s = socket_at(p, fd);
	if (!s || !s->wanted) {
		if (s)
			apply(p, fd, s, 0); /* the server closed an idle connection */
		return;
	}
	/*
	 * an error alone would fail the transfer at once; what it is, curl learns by reading or
	 * writing
	 */
	bool broken = ev->events & (EPOLLERR | EPOLLHUP);
	uint32_t ready = broken ? s->wanted : ev->events;
	int mask = (ready & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (ready & EPOLLOUT ? CURL_CSELECT_OUT : 0) | (broken ? CURL_CSELECT_ERR : 0);
	curl_multi_socket_action(p->multi, fd, mask, &running);
}

void http_poll_wait(struct http_poll *p, uint64_t at_ms)
{
	if (p->curl_at_ms < at_ms)
		at_ms = p->curl_at_ms;
	uint64_t now = clock_boot_ms();
	uint64_t ms = at_ms > now ? at_ms - now : 0;
	p->n_events = epoll_wait(p->epoll_fd, p->events, HTTP_POLL_EVENTS,
				 (int)(ms < SLEEP_MAX_MS ? ms : SLEEP_MAX_MS));
}

void http_poll_work(struct http_poll *p)
{
	for (int i = 0; i < p->n_events; i++)
		dispatch(p, &p->events[i]);
	p->n_events = 0;
}

void http_poll_tick(struct http_poll *p)
{
	int running;
	if (p->curl_at_ms == HTTP_POLL_NEVER || (p->curl_at_ms && p->curl_at_ms > clock_boot_ms()))
		return;
	p->curl_at_ms = HTTP_POLL_NEVER; /* it sets the next */
	curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}
