/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics and health over HTTP (libmicrohttpd): GET (and HEAD) /metrics, /health, /ready; on loopback unless told otherwise.
 *
 * /metrics: Prometheus text. /health: 200, whatever it says: the process lives, and a restart would cure nothing of it. /ready: 200, or 503.
 * Both tell the same, as JSON: "status" ("ok", "degraded" where a part is not RC_OK), "ready", and a member for each part.
 * Does not: TLS, passwords, anything else under any other path or method (404, 405). Threads: one of its own, which asks and prints;
 * so a request waits for the one before it.
 */
#ifndef EVFS_MONITOR_MONITOR_H
#define EVFS_MONITOR_MONITOR_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "monitor/metrics.h"

struct monitor;

/* A part and what is to say of it (NULL, "": "ok" or the code's name). Texts live until the callback returns. */
typedef void monitor_tell_fn(void *tell_arg, const char *part, enum rc rc, const char *text);
/* Asked at each /health and /ready, from the monitor's thread: must not wait. Tell of each part; ready: is it doing its work? */
typedef bool monitor_ask_fn(void *arg, monitor_tell_fn *tell, void *tell_arg);

struct monitor_options {
	/* "127.0.0.1:9187", "[::1]:9187", "9187" (127.0.0.1), ":9187" (all addresses), "127.0.0.1:0" (a free port) */
	const char *address;
	void (*print)(void *arg, struct buf *out);	/* appends the text of /metrics */
	void *print_arg;
	monitor_ask_fn *ask;	/* NULL: always ready */
	void *ask_arg;
	unsigned silence_s;	/* how long a client may keep silent; 0: 10 s */
};
/* RC_INVALID: no address (what is expected), or not one of this machine. RC_EXISTS: taken. RC_DENIED. RC_NO_MEMORY. */
enum rc monitor_new(struct monitor **out, const struct monitor_options *o, struct why *why) _must_check_;
/* "127.0.0.1:43817" */
const char *monitor_address(const struct monitor *m);
/* What is being answered is finished first. */
void monitor_free(struct monitor **m);
static inline void monitor_freep(struct monitor **m)
{
	monitor_free(m);
}

#endif
