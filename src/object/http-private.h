/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rooms of the HTTP engine share. Nobody else includes this.
 *
 * A call goes: submitted (any thread, under line_lock) -> waiting or delayed -> active on a lane ->
 * done. All but the first belongs to the engine's thread alone.
 */
#ifndef EVFS_OBJECT_HTTP_PRIVATE_H
#define EVFS_OBJECT_HTTP_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "object/http.h"

/*
 * http-poll.c: curl's sockets in an epoll set, curl's timer. The engine's thread only, but for
 * wake.
 */

#define HTTP_POLL_NEVER UINT64_MAX
#define HTTP_POLL_EVENTS 64

struct http_poll_socket {
	uint32_t wanted; /* EPOLLIN, EPOLLOUT: what curl waits for */
	uint32_t registered; /* what the kernel was told */
	bool ours; /* opened and closed by us, so that it may stay registered while it is idle */
};

struct http_poll {
	CURLM *multi;
	int epoll_fd, wake_fd;
	uint64_t curl_at_ms; /* when curl wants to be called; HTTP_POLL_NEVER */
	struct http_poll_socket *sockets; /* by descriptor */
	size_t n_sockets;
	struct epoll_event events[HTTP_POLL_EVENTS]; /* what the last wait brought */
	int n_events;
};

enum rc http_poll_init(struct http_poll *p, struct why *why) _must_check_;
void http_poll_release(struct http_poll *p);
/* In a child of fork: close what was inherited, touch nothing that is shared with the parent. */
void http_poll_forget(struct http_poll *p);
/* Let curl open its sockets through p. */
void http_poll_adopt(struct http_poll *p, CURL *easy);
/* End the wait of the engine's thread; from any thread. */
void http_poll_wake(struct http_poll *p);
/* Wait for what sockets or a wake say, until at_ms or curl's timer at most. */
void http_poll_wait(struct http_poll *p, uint64_t at_ms);
/* Let curl work on what the wait brought. */
void http_poll_work(struct http_poll *p);
/* Let curl do what its timer is due for; also what was just added. */
void http_poll_tick(struct http_poll *p);

/* http-lane.c: an easy handle, which carries one call at a time. */

#define HTTP_LANE_HEADERS 24

struct http_lane {
	struct http_lane *next; /* while idle */
	CURL *easy;
	struct http_call *call; /* NULL: idle */
	uint64_t since_us; /* clock_boot_us: it was given to curl */
	uint64_t patient_until_ms; /* clock_boot_ms; HTTP_POLL_NEVER */
	struct curl_slist nodes[HTTP_LANE_HEADERS];
	char error[CURL_ERROR_SIZE];
};

enum rc http_lane_new(struct http_lane **out, struct http *h, struct why *why) _must_check_;
void http_lane_free(struct http_lane **l);
/* Hand the call to curl. max_idle_s: only on a connection that was idle for no longer. */
enum rc http_lane_start(struct http_lane *l, CURLM *multi, struct http_call *call, long max_idle_s)
	_must_check_;
/*
 * Take the call back, with its outcome: result is curl's, or CURLE_OPERATION_TIMEDOUT for one that
 * is ended early.
 */
struct http_call *http_lane_end(struct http_lane *l, CURLM *multi, CURLcode result);

/* http.c */

struct http_line {
	struct http_call *first, **last;
};

struct http {
	char *ca_file;
	bool no_verify;
	unsigned parallel;
	uint64_t connect_ms;

	_Atomic pid_t pid; /* whose threads and locks these are */
	pthread_mutex_t line_lock; /* guards submitted to asleep */
	pthread_cond_t room;
	struct http_line submitted;
	unsigned room_waiters;
	bool started, stop, asleep;
	pthread_t thread;
	atomic_size_t n_line; /* submitted and waiting ones */

	/* the engine's thread alone */
	struct http_poll poll;
	struct http_line waiting, delayed;
	struct http_lane **lanes; /* all there are, at most `parallel` */
	unsigned n_lanes, n_active;
	struct http_lane *idle;
	uint64_t check_at_ms; /* nothing is due before */
	/* when a call last timed out: connections that were idle then may be dead */
	uint64_t doubt_ms;
};

#endif
