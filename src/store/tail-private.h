/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of the tail share, tail.c and tail-*.c. */
#ifndef EVFS_STORE_TAIL_PRIVATE_H
#define EVFS_STORE_TAIL_PRIVATE_H

#include "store/store-private.h"
#include "store/tail.h"

/* Where events come from. See tail.h for what each does. */
struct tail_ops {
	enum rc (*look)(struct tail *t, struct tail_state *out, struct why *why);
	enum rc (*next)(struct tail *t, const struct tail_event **out, struct why *why);
	size_t (*held)(struct tail *t, const struct checkpoint_held **out);
	void (*release)(struct tail *t);
	void (*destroy)(struct tail *t);
};
struct tail {
	const struct tail_ops *ops;
};

enum rc tail_native_new(struct tail **out, struct store *s, const struct tail_options *o, const struct checkpoint *c,
			struct why *why) _must_check_;

/* ------------------------------------------------------------------ streams that wait */

struct tail_hold {
	char *type, *id;
	uint64_t next;		/* the first number that was not read */
	uint64_t told;		/* the first number that was not told */
	size_t queued;		/* events of it that were read by number and not told yet */
	uint64_t look, late;	/* the last look that found it late, and its first unsettled number then */
	bool closing;		/* the time line has it again, once what is queued was told */
	struct tail_hold *chain;
};

#define TAIL_HELD_BUCKETS 1024
struct tail_held {
	struct tail_hold *buckets[TAIL_HELD_BUCKETS];
	struct tail_hold **all;
	size_t n, cap;
	struct checkpoint_held *list;	/* as told last; has room for all */
};
void tail_held_release(struct tail_held *h);
/* That is not closing. */
struct tail_hold *tail_held_find(const struct tail_held *h, const char *type, const char *id);
/* NULL: no memory. */
struct tail_hold *tail_held_add(struct tail_held *h, const char *type, const char *id, uint64_t next);
/* Nothing of it is behind any more. It may be freed by this. */
void tail_held_close(struct tail_held *h, struct tail_hold *hold);
/* An event of it was told. It may be freed by this. */
void tail_held_told(struct tail_held *h, struct tail_hold *hold, uint64_t number);
size_t tail_held_list(struct tail_held *h, const struct checkpoint_held **out);

/* ------------------------------------------------------------------ events on their way */

/* An event that was read from the ledger; its body is here, or comes. */
struct tail_item {
	struct tail_item *next;
	int64_t recorded_us, occurred_us;
	int64_t stream;			/* its handle */
	uint64_t number, size;
	bool settled;
	const char *type, *id, *event_id, *event_type, *key;	/* lie behind the item */
	struct tail_hold *hold;		/* read by number; NULL: by time */
	char *body;
	size_t len;
	size_t counted;			/* bytes of the queue's that it takes */
	enum rc rc;
	struct why *why;		/* NULL where rc is RC_OK */
	enum { TAIL_WANTED, TAIL_FETCHING, TAIL_READY, TAIL_FAILED } state;
};
/* row as the ledger tells it. NULL: no memory. */
struct tail_item *tail_queue_item(const struct ledger_row *row, struct tail_hold *hold);
void tail_queue_item_free(struct tail_item *item);
/* e's texts are the item's. */
void tail_queue_item_tell(const struct tail_item *item, struct tail_event *e);

/*
 * Events in the order in which they are told. Bodies that the ledger did not give are fetched by threads, ahead of who takes them,
 * as far as there is room for the bytes.
 *
 *   WANTED    nobody asks for it yet
 *   FETCHING  a thread does
 *   READY     it can be taken: with its body, or with what is wrong with it
 *   FAILED    it could not be asked for now; WANTED again once that was told
 */
struct tail_queue;
enum rc tail_queue_new(struct tail_queue **out, struct object_store *objects, unsigned parallel, size_t bytes,
		       struct why *why) _must_check_;
void tail_queue_free(struct tail_queue **q);
/* Append items (a chain, taken). */
void tail_queue_add(struct tail_queue *q, struct tail_item *first);
/*
 * The first one; NULL: there is none. The caller's, but to be given back by tail_queue_done. RC_TEMPORARY: see FAILED, or it takes
 * longer than a second.
 */
enum rc tail_queue_take(struct tail_queue *q, struct tail_item **out, struct why *why) _must_check_;
void tail_queue_done(struct tail_queue *q, struct tail_item *item);
/* The first one that is taken next, for its place in time. */
const struct tail_item *tail_queue_first(const struct tail_queue *q);
size_t tail_queue_length(const struct tail_queue *q);
/* How many bytes of bodies may still be added. */
size_t tail_queue_room(struct tail_queue *q);
/* Is there room for many? What opens for one body at a time would be filled by one question at a time. */
bool tail_queue_has_room(struct tail_queue *q);

/* ------------------------------------------------------------------ pages of the time line */

/* How far the time line was read. */
struct tail_place {
	int64_t us, stream;
	uint64_t number;
};

/* Rows that were read and do not count yet, by time or of one stream. What is asked for, then what came. */
struct tail_page {
	struct tail_place after;	/* by time: from there */
	int64_t to_us;		/* … to the horizon */
	size_t limit;		/* rows */
	size_t room;		/* bytes of bodies that it may hold; the first one always has some */
	uint64_t seeding;	/* that it must be of */

	struct tail_item *first, **end;
	size_t items, rows;	/* those that are here; those that the ledger told */
	bool full;		/* there was no room for the next one */
	bool ends;		/* nothing of what is before to_us is behind it, once it could be read */
	bool failed;		/* with no memory */
};
void tail_page_init(struct tail_page *p, size_t limit, size_t room);
void tail_page_release(struct tail_page *p);
/* Nothing from to_us on is of it. */
void tail_page_cut(struct tail_page *p, int64_t to_us);
/* False: there is no more room, or no memory. */
bool tail_page_add(struct tail_page *p, const struct ledger_row *row, struct tail_hold *hold);
/* A ledger_row_fn: all but what stands for numbers without events. */
bool tail_page_take(void *page, const struct ledger_row *row);
/* Is what was read before this of that seeding? RC_FENCED: of another. It never comes again once it was another. */
enum rc tail_page_confirm(struct store *s, uint64_t seeding, struct why *why) _must_check_;
/* The page from p->after to p->to_us; it counts, for it was confirmed. */
enum rc tail_page_read(struct store *s, struct tail_page *p, struct why *why) _must_check_;

/* The next page, read by a thread while the one before is told. One at a time. */
struct tail_ahead;
enum rc tail_ahead_new(struct tail_ahead **out, struct store *s, struct why *why) _must_check_;
/* Waits for a question that is on its way. */
void tail_ahead_free(struct tail_ahead **a);
/* Begin to read what ask says. Not done where no thread can be had. */
void tail_ahead_begin(struct tail_ahead *a, const struct tail_page *ask);
/* Was one begun that nobody took? *busy_r (may be NULL): it is still being read. */
bool tail_ahead_pending(struct tail_ahead *a, bool *busy_r);
/* Wait for it and take it: *out is the caller's. What tail_page_read returned. */
enum rc tail_ahead_take(struct tail_ahead *a, struct tail_page *out, struct why *why) _must_check_;

#endif
