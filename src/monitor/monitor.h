/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics and health over HTTP (libmicrohttpd): GET /metrics, /health, /ready; on loopback unless told otherwise. Threads: one of its own.
 */
#ifndef EVFS_MONITOR_MONITOR_H
#define EVFS_MONITOR_MONITOR_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "monitor/metrics.h"

struct monitor;

/* One line of /health. Texts live until the callback returns. */
typedef void monitor_tell_fn(void *tell_arg, const char *part, enum rc rc, const char *text);
/* Asked at each /health and /ready, from the monitor's thread: must not wait. Tell of each part; ready: is it doing its work? */
typedef bool monitor_ask_fn(void *arg, monitor_tell_fn *tell, void *tell_arg);

struct monitor_options {
	const char *address;	/* "127.0.0.1:9187", "[::1]:9187", ":9187" (all addresses), "127.0.0.1:0" (a free port) */
	void (*print)(void *arg, struct buf *out);	/* appends the text of /metrics */
	void *print_arg;
	monitor_ask_fn *ask;
	void *ask_arg;
};
/* RC_INVALID: no address (what is expected). RC_EXISTS: taken. RC_DENIED. */
enum rc monitor_new(struct monitor **out, const struct monitor_options *o, struct why *why) _must_check_;
/* "127.0.0.1:43817" */
const char *monitor_address(const struct monitor *m);
void monitor_free(struct monitor **m);

#endif
