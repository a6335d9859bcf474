/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher-private.h - shared by the files of the publisher: the loop (publisher.c), who is active (publisher-active.c),
 * messages on their way (publisher-send.c) and in order (publisher-window.c), the checkpoint (publisher-save.c), ids that need
 * not go out again (publisher-ids.c), the whole store (publisher-reconcile.c).
 */
#ifndef EVFS_PUBLISHER_PUBLISHER_PRIVATE_H
#define EVFS_PUBLISHER_PUBLISHER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "publisher/publisher.h"
#include "store/checkpoint.h"
#include "store/tail.h"

/* --- publisher-window.c: what was read, in that order, until all before it is acknowledged --- */

/* An entry is made sent or done; refused and dead ones become sent to the DLQ, and done once that is acknowledged. */
enum publisher_entry_state {
	PUBLISHER_ENTRY_SENT,		/* to its topic; its report comes */
	PUBLISHER_ENTRY_REFUSED,	/* for the DLQ, at retry_ms */
	PUBLISHER_ENTRY_DEAD,		/* to the DLQ; its report comes */
	PUBLISHER_ENTRY_DONE,		/* acknowledged, or so before */
};
struct publisher_entry {
	uint64_t seq;			/* counted from 1, never used twice: reports name it */
	enum publisher_entry_state state;
	struct publisher_entry *next_refused;
	bool lean_dead;			/* the DLQ refused the record with its body */
	enum rc rc;			/* REFUSED, DEAD: why */
	char *reason;			/* malloc'd, or NULL */
	const char *stage;
	uint64_t retry_ms;
	uint64_t number;
	int64_t occurred_us, recorded_us, safe_us;
	bool held, skipped;		/* skipped: acknowledged before, and not sent again */
	/* in `texts` */
	const char *type, *id, *event_id, *event_type, *key, *topic, *message_key;
	char texts[];
};

/* What is delivered once everything up to seq is. */
struct publisher_mark {
	uint64_t seq;
	int64_t safe_us;
	struct checkpoint_held *held;
	size_t n_held;
};

struct publisher_window {
	struct publisher_entry **ring;
	size_t size, head, n;		/* head: of the oldest; n of them */
	uint64_t next_seq;		/* of the next one */
	struct publisher_mark now;	/* of what is acknowledged without a hole */
	struct publisher_mark *marks;	/* further ones, by seq */
	size_t n_marks, marks_cap;
};

enum rc publisher_window_init(struct publisher_window *w, size_t size, struct why *why) _must_check_;
void publisher_window_release(struct publisher_window *w);
/* Forget all that is under way. */
void publisher_window_forget(struct publisher_window *w);
/* The same, and `now` becomes the place that c names. */
enum rc publisher_window_begin(struct publisher_window *w, const struct checkpoint *c, struct why *why) _must_check_;
static inline bool publisher_window_full(const struct publisher_window *w)
{
	return w->n == w->size;
}
/* A new entry behind all others, SENT. NULL: no memory. Not where it is full. */
struct publisher_entry *publisher_window_add(struct publisher_window *w, const struct tail_event *e, const char *topic,
					     const char *key);
/* Take the one that was added last away again. */
void publisher_window_take_back(struct publisher_window *w);
/* NULL: it is no more under way. */
struct publisher_entry *publisher_window_find(const struct publisher_window *w, uint64_t seq);
/* The i-th from the oldest. */
struct publisher_entry *publisher_window_at(const struct publisher_window *w, size_t i);
/* Remember what the tail says of all that it told so far: time (0: nothing new), and who is held. */
enum rc publisher_window_mark(struct publisher_window *w, int64_t safe_us, const struct checkpoint_held *held, size_t n,
			      struct why *why) _must_check_;
/* Move over acknowledged ones, telling fn of each. How many. */
size_t publisher_window_advance(struct publisher_window *w, void (*fn)(void *arg, const struct publisher_entry *e), void *arg);

/* --- publisher-recent.c, publisher-ids.c: event ids --- */

/* The last ones that were delivered, for the checkpoint. */
struct publisher_recent {
	char *ids[CHECKPOINT_IDS_MAX];
	size_t head, n;
};
void publisher_recent_release(struct publisher_recent *r);
enum rc publisher_recent_add(struct publisher_recent *r, const char *id, struct why *why) _must_check_;

/* Those that need not go out again. */
struct publisher_ids {
	char **slots;
	size_t cap, n;
};
void publisher_ids_release(struct publisher_ids *s);
enum rc publisher_ids_add(struct publisher_ids *s, const char *id, struct why *why) _must_check_;
bool publisher_ids_has(const struct publisher_ids *s, const char *id);

/* --- the publisher --- */

/*
 * Stages, each one step of the loop away from the next:
 *   no tail    the checkpoint is to be loaded
 *   stand by   tail, not active: another holds the lease, or nobody was asked yet
 *   active     the lease was had, and the checkpoint written under it. Until leased_until_ms by the clock it is ours for sure;
 *              after that (lapsed) nothing is queued or saved until a look gets the lease again and the checkpoint is as it was
 * Whatever goes wrong with what is under way leads back to "no tail": publisher_active_drop.
 */
struct publisher {
	struct store *store;
	struct publisher_options o;
	char token[64];
	char *checkpoint_key;

	struct checkpoint checkpoint;	/* as loaded, or saved last */
	struct tail *tail;
	struct sink *sink;
	struct tail_state state;	/* of the last look */
	bool active, waits, begun;
	bool looked;			/* with this tail, as the active one: there may be something to read */
	bool exhausted;			/* the tail had nothing more before state.horizon_us */
	const struct tail_event *event;	/* read and not yet sent */
	uint64_t next_look_ms, next_sink_ms, next_load_ms, next_save_ms, next_read_ms;
	uint64_t news_ms;		/* when there was an event last */
	uint64_t poll_ms;		/* the pause, as it grew */

	struct publisher_window window;
	struct route_message message;	/* in the making */
	struct publisher_entry *refused, **refused_end;	/* for the DLQ */
	bool broken;			/* the sink */
	struct why broken_why;
	struct publisher_recent recent;
	struct publisher_ids done;	/* acknowledged, and not all behind the checkpoint */
	bool dirty;			/* more is delivered than saved */
	bool unsaved;			/* the last save failed */

	int64_t once_us;		/* --once: what was recorded before is to be published; 0: not known yet */
	bool finished;
	bool tending;			/* the store's sweeper runs for us */
	uint64_t tend_ms;		/* when it was wanted last */
	struct publisher_reconcile *reconcile;	/* until it is done; NULL: not asked for */

	struct why complaint;		/* told last, and when */
	uint64_t complaint_ms, status_ms;
	struct publisher_status counts;	/* the loop's own */

	int wake;			/* an eventfd */
	atomic_bool stopping;
	struct latency delivery;
	pthread_mutex_t status_lock;
	struct publisher_status status;	/* what publisher_status tells */
};

/* Say it in the log, unless it was said just now. */
void publisher_complain(struct publisher *p, const char *what, const struct why *why);
/* All is well again. */
void publisher_content(struct publisher *p);
static inline bool publisher_stopping(const struct publisher *p)
{
	return atomic_load_explicit(&p->stopping, memory_order_relaxed);
}
/* Serve the sink's reports: refused ones go to the DLQ, the prefix of acknowledged ones moves. */
void publisher_serve(struct publisher *p, unsigned wait_ms);

/* publisher-active.c. *wait_ms: how long nothing can be done; RC_OK with it 0: there may be something to read. Else the end. */
enum rc publisher_active_step(struct publisher *p, uint64_t *wait_ms, struct why *why) _must_check_;
/* May messages be queued, and the checkpoint written, now? */
bool publisher_active_now(const struct publisher *p);
/* Look, whether it is time or not. False: not active, or not for sure. */
bool publisher_active_renew(struct publisher *p);
/*
 * Forget all that is under way, sink and tail too: begin anew at the stored checkpoint. What was acknowledged is remembered, and not
 * sent again where the checkpoint is found as we left it.
 */
void publisher_active_drop(struct publisher *p);

/* publisher-send.c */
/* RC_OK: it is under way. RC_TEMPORARY: not yet, the same call again. RC_CORRUPT: the sink is broken. RC_NO_MEMORY. */
enum rc publisher_send(struct publisher *p, const struct tail_event *e, struct why *why) _must_check_;
/* Send what was refused to the DLQ. */
void publisher_send_refused(struct publisher *p);
void publisher_send_report(void *arg, void *opaque, enum rc rc, const struct why *why);
/* What would become of it, as a line. */
void publisher_send_tell(struct publisher *p, const struct tail_event *e);

/* publisher-save.c */
/* Load it, and begin the window there. RC_CORRUPT: it can't be used, and what to do is told. */
enum rc publisher_save_load(struct publisher *p, struct why *why) _must_check_;
/* First thing of who became active: apply --from, and write the checkpoint, so that who was active before sees it. */
enum rc publisher_save_take_over(struct publisher *p, struct why *why) _must_check_;
/* Write what is acknowledged down, if it is time (now: in any case). RC_CONFLICT: another one moved it. */
enum rc publisher_save(struct publisher *p, bool now, struct why *why) _must_check_;
/* Is the stored checkpoint the one that we wrote last? RC_OK, RC_CONFLICT, or it can't be known now. */
enum rc publisher_save_compare(struct publisher *p, struct why *why) _must_check_;

/* Remember acknowledged ones that are not yet in a row as done. */
void publisher_save_keep(struct publisher *p);

/* publisher-reconcile.c */
enum rc publisher_reconcile_new(struct publisher_reconcile **out, struct why *why) _must_check_;
void publisher_reconcile_free(struct publisher_reconcile **r);
/* What counts as published before: what c covers. */
enum rc publisher_reconcile_begin(struct publisher_reconcile *r, const struct checkpoint *c, struct why *why) _must_check_;
/* This one was delivered since. */
enum rc publisher_reconcile_saw(struct publisher_reconcile *r, const char *event_id, struct why *why) _must_check_;
/* The tail has nothing more: walk over the whole store, and send what is missing. RC_OK: done. RC_TEMPORARY: again, later. */
enum rc publisher_reconcile_walk(struct publisher *p, struct why *why) _must_check_;

#endif
