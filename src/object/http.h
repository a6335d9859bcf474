/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 calls over kept-alive connections: one engine, one thread, for any number of callers.
 *
 * Guarantees: at most `parallel` calls are under way, the others wait in line; nothing of a call is
 * sent after its deadline, and every call ends by it, however the server behaves; what is known of
 * a call that got no answer (surely not sent, or maybe arrived) is told.
 * Does not: follow redirects, retry (but see HTTP_MAYBE), sign, read bodies.
 * Threads: every call may come from any thread. The thread starts with the first call; a child of
 * fork gets an engine of its own, provided that its first call is made by one thread alone.
 */
#ifndef EVFS_OBJECT_HTTP_H
#define EVFS_OBJECT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

struct http;

struct http_options {
	const char *ca_file; /* PEM bundle to trust; NULL: the system's. Copied */
	bool no_verify; /* accept any certificate */
	unsigned parallel; /* connections at most; 0 counts as 1 */
	uint64_t connect_ms; /* at most so long until a connection stands, TLS included */
};

enum rc http_new(struct http **out, const struct http_options *o, struct why *why) _must_check_;
/*
 * End the thread. No call may be under way, but those that are delayed or in line are ended as
 * HTTP_UNSENT.
 */
void http_free(struct http **h);

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT };

enum http_end {
	HTTP_UNSENT, /* surely nothing reached the server */
	/*
	 * Some of it was sent, no (whole) answer came. The engine itself sends a call once more, before
	 * its deadline, where a connection that was kept alive closed without a byte of an answer: the
	 * server may see such a call twice.
	 */
	HTTP_MAYBE,
	HTTP_ANSWERED, /* status, headers and body are whole */
};

struct http_call;
/*
 * The call is over; from the engine's thread, so: quick, and never a wait for another call. May
 * give this call, or others, to http_again; may free the call otherwise.
 */
typedef void http_done_fn(struct http_call *call);

struct http_call {
	enum http_method method;
	bool fresh; /* on a new connection, so that the server surely sees it once at most */
	char *url; /* the caller's, until done */
	char *header_lines; /* "name:value\n" …, changed by the engine; NULL: none */
	const void *body; /* the caller's, until done */
	size_t body_len;
	size_t limit; /* a longer answer ends the call */
	uint64_t deadline_ms; /* clock_boot_ms */
	uint64_t not_before_ms; /* clock_boot_ms; 0: at once */
	uint64_t patience_ms; /* it ends where no byte of an answer came for so long; 0: does not */
	http_done_fn *done;

	/* out */
	enum http_end end;
	int status; /* where there was an answer, 0 else */
	bool over_limit; /* the answer was longer than limit (HTTP_MAYBE) */
	bool untrusted; /* the server's certificate was refused (HTTP_UNSENT) */
	uint64_t took_us; /* from when it was given to a connection; 0: it never was */
	bool timed_out; /* ended by its deadline, or for want of patience */
	bool measured; /* the answer said how long it is: it is surely whole */
	struct buf head; /* header lines as they came; freed by http_call_release */
	struct buf answer; /* the body; freed by http_call_release */
	struct why why; /* where it was not answered */

	/* the engine's */
	struct http_call *next;
};

/* Fill the out fields with nothing, once, before the first use. */
void http_call_init(struct http_call *call);
void http_call_release(struct http_call *call);

/*
 * Start the call: it is the engine's until done is called. Waits while the line is full. A call
 * that was done may be started again as it is: its out fields are cleared, their memory is used
 * again. RC_NO_MEMORY, RC_TEMPORARY: there can be no engine; done is not called.
 */
enum rc http_submit(struct http *h, struct http_call *call, struct why *why) _must_check_;
/* The same, never waiting: for done. */
void http_again(struct http *h, struct http_call *call);

/*
 * A header's value in the answer, without blanks around it; NULL: there is none. name is lower
 * case.
 */
const char *http_call_header(const struct http_call *call, const char *name, size_t *len_r);
/* The same as text, "" if there is none or no room for it. */
void http_call_header_copy(const struct http_call *call, const char *name, char *out, size_t size);

/* "libcurl 7.88.1" */
const char *http_version(void);

#endif
