/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-window.c - what is under way, in the order in which it was read. */
#include "config.h"
#include "publisher/publisher-private.h"

#include <stdlib.h>
#include <string.h>

static void mark_release(struct publisher_mark *m)
{
	for (size_t i = 0; i < m->n_held; i++) {
		free(m->held[i].type);
		free(m->held[i].id);
	}
	free(m->held);
	m->held = NULL;
	m->n_held = 0;
}

static enum rc mark_copy(struct publisher_mark *m, const struct checkpoint_held *held, size_t n, struct why *why)
{
	m->held = n ? calloc(n, sizeof(*m->held)) : NULL;
	m->n_held = 0;
	for (; m->n_held < n && m->held; m->n_held++) {
		struct checkpoint_held *to = &m->held[m->n_held];
		*to = (struct checkpoint_held){ strdup(held[m->n_held].type), strdup(held[m->n_held].id),
						held[m->n_held].next };
		if (!to->type || !to->id) {
			m->n_held++;
			break;
		}
	}
	if (m->n_held == n && (!n || (m->held[n - 1].type && m->held[n - 1].id)))
		return RC_OK;
	mark_release(m);
	return rc_fail(RC_NO_MEMORY, why, "no memory for the streams that wait");
}

static bool mark_holds(const struct publisher_mark *m, const struct checkpoint_held *held, size_t n)
{
	if (m->n_held != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (m->held[i].next != held[i].next || strcmp(m->held[i].type, held[i].type) ||
		    strcmp(m->held[i].id, held[i].id))
			return false;
	return true;
}

enum rc publisher_window_init(struct publisher_window *w, size_t size, struct why *why)
{
	*w = (struct publisher_window){ .size = size, .next_seq = 1 };
	w->ring = calloc(size, sizeof(struct publisher_entry *));
	return w->ring ? RC_OK : rc_fail(RC_NO_MEMORY, why, "no memory for %zu messages under way", size);
}

static void entry_free(struct publisher_entry *e)
{
	free(e->reason);
	free(e);
}

void publisher_window_forget(struct publisher_window *w)
{
	for (; w->n; w->n--) {
		entry_free(w->ring[w->head]);
		w->head = (w->head + 1) % w->size;
	}
	for (size_t i = 0; i < w->n_marks; i++)
		mark_release(&w->marks[i]);
	w->n_marks = 0;
	mark_release(&w->now);
}

void publisher_window_release(struct publisher_window *w)
{
	publisher_window_forget(w);
	free(w->marks);
	free(w->ring);
	*w = (struct publisher_window){ .size = 0 };
}

enum rc publisher_window_begin(struct publisher_window *w, const struct checkpoint *c, struct why *why)
{
	publisher_window_forget(w);
	w->now = (struct publisher_mark){ .seq = w->next_seq - 1, .safe_us = (c->last_ms + 1) * 1000 };
	return mark_copy(&w->now, c->held, c->n_held, why);
}

struct publisher_entry *publisher_window_add(struct publisher_window *w, const struct tail_event *e, const char *topic,
					     const char *key)
{
	const char *from[] = { e->type, e->id, e->event_id, e->event_type, e->key, topic, key };
	size_t lens[7], sum = 0;
	for (size_t i = 0; i < 7; i++)
		sum += lens[i] = strlen(from[i] ? from[i] : "") + 1;
	struct publisher_entry *entry = malloc(sizeof(*entry) + sum);
	if (!entry)
		return NULL;
	*entry = (struct publisher_entry){
		.seq = w->next_seq,
		.state = PUBLISHER_ENTRY_SENT,
		.number = e->number,
		.occurred_us = e->occurred_us,
		.recorded_us = e->recorded_us,
		.safe_us = e->safe_us,
		.held = e->held,
	};
	const char **const to[] = { &entry->type, &entry->id,	 &entry->event_id,   &entry->event_type,
				    &entry->key,  &entry->topic, &entry->message_key };
	char *at = entry->texts;
	for (size_t i = 0; i < 7; at += lens[i++])
		*to[i] = memcpy(at, from[i] ? from[i] : "", lens[i]);
	w->ring[(w->head + w->n++) % w->size] = entry;
	w->next_seq++;
	return entry;
}

void publisher_window_take_back(struct publisher_window *w)
{
	w->n--;
	entry_free(w->ring[(w->head + w->n) % w->size]);
}

struct publisher_entry *publisher_window_at(const struct publisher_window *w, size_t i)
{
	return w->ring[(w->head + i) % w->size];
}

/* Numbers may be missing (taken back), so it is where it would be, or further to the front. */
struct publisher_entry *publisher_window_find(const struct publisher_window *w, uint64_t seq)
{
	if (!w->n || seq < w->ring[w->head]->seq || seq >= w->next_seq)
		return NULL;
	size_t low = 0, high = w->n;
	uint64_t guess = seq - w->ring[w->head]->seq;
	if (guess < w->n && publisher_window_at(w, (size_t)guess)->seq == seq)
		return publisher_window_at(w, (size_t)guess);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct publisher_entry *e = publisher_window_at(w, middle);
		if (e->seq == seq)
			return e;
		if (e->seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

enum rc publisher_window_mark(struct publisher_window *w, int64_t safe_us, const struct checkpoint_held *held, size_t n,
			      struct why *why)
{
	uint64_t seq = w->next_seq - 1;
	struct publisher_mark *last = w->n_marks ? &w->marks[w->n_marks - 1] : &w->now;
	bool same = mark_holds(last, held, n);
	if (same && (last->seq == seq || safe_us <= last->safe_us)) {
		if (last->seq == seq && safe_us > last->safe_us)
			last->safe_us = safe_us;
		return RC_OK;
	}
	struct publisher_mark mark = { .seq = seq, .safe_us = safe_us };
	if (mark.safe_us < last->safe_us)
		mark.safe_us = last->safe_us;
	if (w->n_marks == w->marks_cap) {
		size_t cap = w->marks_cap ? w->marks_cap * 2 : 16;
		struct publisher_mark *larger = realloc(w->marks, cap * sizeof(*larger));
		if (!larger)
			return rc_fail(RC_NO_MEMORY, why, "no memory for the streams that wait");
		w->marks = larger;
		w->marks_cap = cap;
	}
	enum rc rc = mark_copy(&mark, held, n, why);
	if (rc == RC_OK)
		w->marks[w->n_marks++] = mark;
	return rc;
}

/* The prefix ends at seq, where time is safe_us: the latest mark up to there counts. */
static void reach(struct publisher_window *w, uint64_t seq, int64_t safe_us)
{
	size_t passed = 0;
	while (passed < w->n_marks && w->marks[passed].seq <= seq)
		passed++;
	if (passed) {
		int64_t before_us = w->now.safe_us;
		for (size_t i = 0; i + 1 < passed; i++)
			mark_release(&w->marks[i]);
		mark_release(&w->now);
		w->now = w->marks[passed - 1];
		if (w->now.safe_us < before_us)
			w->now.safe_us = before_us;
		w->n_marks -= passed;
		memmove(w->marks, w->marks + passed, w->n_marks * sizeof(*w->marks));
	}
	w->now.seq = seq;
	if (safe_us > w->now.safe_us)
		w->now.safe_us = safe_us;
}

size_t publisher_window_advance(struct publisher_window *w, void (*fn)(void *arg, const struct publisher_entry *e), void *arg)
{
	size_t n = 0;
	int64_t safe_us = 0;
	for (; w->n && w->ring[w->head]->state == PUBLISHER_ENTRY_DONE; n++, w->n--) {
		struct publisher_entry *e = w->ring[w->head];
		w->head = (w->head + 1) % w->size;
		if (e->safe_us > safe_us)
			safe_us = e->safe_us;
		fn(arg, e);
		w->now.seq = e->seq;
		entry_free(e);
	}
	/* nothing is under way: what was taken back (seq is missing) counts as reached, too */
	reach(w, w->n ? w->now.seq : w->next_seq - 1, safe_us);
	return n;
}
