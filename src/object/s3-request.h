/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One S3 request: signed, sent, judged, and tried again where that helps.
 *
 * Tried again within the deadline, after exponential back-off with full jitter (Retry-After is
 * honoured): what surely did not happen, and reads. At once, and once: with the clock that the
 * server's Date header tells, with fresh credentials, at the region that it names.
 * A write without an answer is RC_UNCERTAIN and left alone.
 * Signing, credentials and judging happen in the caller's thread, the engine's only sends.
 * Threads: a request belongs to one thread at a time.
 */
#ifndef EVFS_OBJECT_S3_REQUEST_H
#define EVFS_OBJECT_S3_REQUEST_H

#include "object/s3-error.h"
#include "object/s3-site.h"

/* For the counters. */
enum s3_request_kind {
	S3_REQUEST_PUT,
	S3_REQUEST_GET,
	S3_REQUEST_HEAD,
	S3_REQUEST_LIST,
	S3_REQUEST_OTHER
};

#define S3_REQUEST_HEADERS 6
#define S3_REQUEST_MADE 2

struct s3_request_batch;

struct s3_request {
	/* in; all pointers are the caller's, until it ended */
	enum s3_request_kind kind;
	enum s3_what what;
	enum http_method method;
	bool fresh; /* see http.h */
	const char *verb; /* for messages: "cannot VERB …" */
	const char *prefix; /* stands before key where it is sent; "" for none */
	const char *key; /* NULL: the bucket */
	const char *query; /* encoded, sorted; "" for none */
	/* replaces query once no answer came in time: less work for the server. NULL: nothing does */
	const char *lighter;
	const char *headers[S3_REQUEST_HEADERS]; /* "name:value", sorted */
	size_t n_headers;
	const void *body;
	size_t body_len;
	size_t limit; /* of the answer */
	uint64_t deadline_ms; /* clock_boot_ms */
	struct why *why; /* may be NULL */
	char made[S3_REQUEST_MADE][64]; /* room for headers that are made for it */

	/* out */
	enum rc rc;
	int status; /* the last answer's, 0: none */
	struct http_call call; /* headers and body of the answer */

	/* s3-request.c's */
	struct s3_site *site;
	struct s3_request_batch *batch;
	struct s3_request *next;
	size_t item;
	unsigned attempts, moves;
	bool skewed, refreshed;
	uint64_t generation; /* of the credentials that it was signed with */
	int64_t skew_us; /* and the clock */
	const struct s3_place *place;
	struct buf url, sent_lines;
};

/* Once, then any number of requests, one after the other. */
void s3_request_init(struct s3_request *r, struct s3_site *site);
void s3_request_release(struct s3_request *r);
/* Clear the in fields for the next one; buffers are kept. */
void s3_request_reset(struct s3_request *r);

static inline void s3_request_header(struct s3_request *r, const char *line)
{
	r->headers[r->n_headers++] = line;
}

/* Do it, to its end. The result is r->rc. */
enum rc s3_request_batch_one(struct s3_request *r);

/*
 * Do n of them, `window` at once; none waits for another's back-off. Both functions are called in
 * the caller's thread.
 * begin fills in the request for the item; false: the item needs none. end looks at how it ended;
 * true: the item needs another one, begin is called again.
 */
struct s3_request_work {
	bool (*begin)(void *arg, size_t item, struct s3_request *r);
	bool (*end)(void *arg, size_t item, struct s3_request *r);
	void *arg;
};
void s3_request_batch_run(struct s3_site *site, size_t n, const struct s3_request_work *work);

/* The steps, for s3-request-batch.c. */

/* Sign and submit it; done is called when it was answered or not. False: it ended here. */
bool s3_request_send(struct s3_request *r, http_done_fn *done);
/* After done: true where it ended; else it is to be sent again. */
bool s3_request_ended(struct s3_request *r);

#endif
