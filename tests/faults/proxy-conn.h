/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of the fault proxy, and what its rules do to them (proxy.c says what there is).
 * One thread: whoever waits on epoll calls these.
 */
#ifndef TESTS_FAULTS_PROXY_CONN_H
#define TESTS_FAULTS_PROXY_CONN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { UP, DOWN };
enum fault { CUT, RESET, LOST, SWALLOW, DELAY, SLOW, REFUSE, FAULTS };

struct rule {
	struct rule *next;
	enum fault fault;
	bool dir[2];
	unsigned nth, times, fired;
	double p; /* < 0: by nth */
	uint64_t seen;
	char match[64];
	long conn; /* < 0: any */
	uint64_t since; /* connections of the link when it was given */
	uint64_t after, ms, jitter, rate;
};

/* What epoll tells of. */
struct watch {
	enum { LISTEN, CONTROL_LISTEN, CONTROL, CLIENT, SERVER } kind;
	int fd;
	void *owner;
	uint32_t events; /* as epoll has them */
};

struct link {
	char name[32];
	struct watch watch;
	struct sockaddr_in target;
	struct rule *rules;
	uint64_t connections, open, exchanges, fired;
};

/* Everything here is watched by this epoll; a watch is what its events carry. */
extern int proxy_conn_epoll;
void proxy_conn_watch(struct watch *w, int kind, int fd, void *owner, uint32_t events);
/* Says what failed, by errno, and ends the process. */
void proxy_conn_die(const char *what);

void proxy_conn_seed(uint64_t seed);
void proxy_conn_accept(struct link *l);
/* Of a watch that is CLIENT or SERVER. */
void proxy_conn_event(struct watch *w, uint32_t events);
/* Reset all connections of a link. */
void proxy_conn_drop(const struct link *l);
/* Write what is due, and free what has ended: after all events of one wait. */
void proxy_conn_turn(void);
/* Milliseconds until the next piece is due; -1: none waits. */
int proxy_conn_next_due(void);

#endif
