/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a server's address on loopback whose connections can be cut, or whose answers can be
 * lost. One thread.
 */
#ifndef EVFS_TESTS_PG_CUTTER_H
#define EVFS_TESTS_PG_CUTTER_H

#include <pthread.h>
#include <stdatomic.h>

enum cutter_does {
	CUTTER_PASSES,
	CUTTER_EATS, /* the next answer is dropped, both ends are closed; then PASSES again */
	CUTTER_STALLS, /* nothing goes either way */
	CUTTER_REFUSES, /* connections are closed at once, those that are there too */
};

#define CUTTER_PAIRS 16
struct cutter {
	int listener, port, to_port;
	char to_host[64];
	int client[CUTTER_PAIRS], server[CUTTER_PAIRS];
	_Atomic int does;
	atomic_bool ends;
	pthread_t thread;
};

/* In front of to_host:to_port; c->port is where. */
void cutter_start(struct cutter *c, const char *to_host, int to_port);
void cutter_stop(struct cutter *c);

#endif
