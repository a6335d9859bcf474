/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - families and their children, found by a hash of name and labels. */
#include "config.h"
#include "monitor/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "monitor/metric-private.h"

#define SLOTS 1024
#define COLLECTORS 8

const double metrics_seconds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
				   0.5,	  1,	  2.5,	 5,    10,    30,   60,	 0 };

struct family {
	struct family *next;
	struct metric_family known;
	struct metric *first, **last;
	struct metric *rest;		/* what the children beyond METRICS_CHILDREN_MAX share */
	size_t n;
	size_t n_bounds;
};

struct metrics {
	/*
	 * Held by a print, over its collectors too: one that began earlier must not set a counter
	 * back that a later one has told.
	 */
	pthread_mutex_t print_lock;
	struct {
		metrics_collect_fn *fn;
		void *arg;
	} collectors[COLLECTORS];
	size_t n_collectors;

	pthread_mutex_t lock;		/* guards what follows; not the numbers */
	struct family *first, **last;
	struct metric *slots[SLOTS];
};

enum rc metrics_new(struct metrics **out, struct why *why)
{
	struct metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	pthread_mutex_init(&m->print_lock, NULL);
	pthread_mutex_init(&m->lock, NULL);
	m->last = &m->first;
	*out = m;
	return RC_OK;
}

static void free_family(struct family *f)
{
	while (f->first) {
		struct metric *child = f->first;
		f->first = child->next;
		free(child->labels);
		free(child);
	}
	free(f);
}

void metrics_free(struct metrics **pm)
{
	struct metrics *m = *pm;
	if (!m)
		return;
	while (m->first) {
		struct family *f = m->first;
		m->first = f->next;
		free_family(f);
	}
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->print_lock);
	free(m);
	*pm = NULL;
}

/* name NUL value NUL …, the values empty for the child that the rest shares. */
static void join_labels(const char *const *labels, bool rest, struct buf *out)
{
	for (size_t i = 0; labels && labels[i]; i += 2) {
		const char *value = rest ? "" : labels[i + 1];
		buf_add(out, labels[i], strlen(labels[i]) + 1);
		buf_add(out, value, strlen(value) + 1);
	}
}

static bool is_joined(const struct metric *child, const char *const *labels)
{
	const char *p = child->labels, *end = p + child->labels_len;
	for (; labels && *labels; labels++) {
		size_t size = strlen(*labels) + 1;
		if ((size_t)(end - p) < size || memcmp(p, *labels, size))
			return false;
		p += size;
	}
	return p == end;
}

static uint64_t hash_labels(const char *name, const char *const *labels)
{
	uint64_t h = hash_text(HASH_START, name);
	for (; labels && *labels; labels++)
		h = hash_text(hash_bytes(h, "", 1), *labels);
	return h ^ h >> 32;
}

static struct metric *find_locked(struct metrics *m, const char *name, uint64_t hash,
				  const char *const *labels)
{
	for (struct metric *c = m->slots[hash % SLOTS]; c; c = c->same_slot)
		if (c->hash == hash && !strcmp(c->family->name, name) && is_joined(c, labels))
			return c;
	return NULL;
}

/* NULL: no memory. */
static struct family *family_locked(struct metrics *m, const struct metric_family *known)
{
	for (struct family *f = m->first; f; f = f->next)
		if (!strcmp(f->known.name, known->name))
			return f;
	struct family *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->known = *known;
	f->last = &f->first;
	if (known->kind == METRIC_HISTOGRAM) {
		if (!f->known.buckets)
			f->known.buckets = METRICS_SECONDS;
		while (f->known.buckets[f->n_bounds] > 0)
			f->n_bounds++;
	}
	*m->last = f;
	m->last = &f->next;
	return f;
}

/* NULL: no memory. */
static struct metric *make_locked(struct metrics *m, struct family *f, uint64_t hash,
				  struct buf *labels)
{
	size_t len;
	struct metric *c = calloc(1, sizeof(*c) + (f->n_bounds + 1) * sizeof(c->buckets[0]));
	char *text = c ? buf_take(labels, &len) : NULL;
	if (!text) {
		free(c);
		return NULL;
	}
	c->family = &f->known;
	c->n_bounds = f->n_bounds;
	c->hash = hash;
	c->labels = text;
	c->labels_len = len;
	c->same_slot = m->slots[hash % SLOTS];
	m->slots[hash % SLOTS] = c;
	*f->last = c;
	f->last = &c->next;
	f->n++;
	return c;
}

/* NULL: no memory. The child of "" where somebody asked for that one by its values, else one more. */
static struct metric *rest_locked(struct metrics *m, struct family *f, const char *const *labels)
{
	_cleanup_(buf_release) struct buf joined = BUF_INIT;
	join_labels(labels, true, &joined);
	for (struct metric *c = f->first; c && !f->rest && !buf_failed(&joined); c = c->next)
		if (c->labels_len == joined.len && !memcmp(c->labels, buf_text(&joined), joined.len))
			f->rest = c;
	if (!f->rest)
		f->rest = make_locked(m, f, 0, &joined);
	return f->rest;
}

struct metric *metrics_get(struct metrics *m, const struct metric_family *known,
			   const char *const *labels)
{
	_cleanup_(buf_release) struct buf joined = BUF_INIT;
	if (!m)
		return NULL;
	uint64_t hash = hash_labels(known->name, labels);
	pthread_mutex_lock(&m->lock);
	struct metric *c = find_locked(m, known->name, hash, labels);
	struct family *f = c ? NULL : family_locked(m, known);
	if (f && f->n < METRICS_CHILDREN_MAX) {
		join_labels(labels, false, &joined);
		c = make_locked(m, f, hash, &joined);
	} else if (f && f->known.kind != METRIC_GAUGE) {
		c = f->rest ? f->rest : rest_locked(m, f, labels);
	}
	pthread_mutex_unlock(&m->lock);
	return c;
}

void metrics_declare(struct metrics *m, const struct metric_family *f)
{
	pthread_mutex_lock(&m->lock);
	(void)family_locked(m, f);
	pthread_mutex_unlock(&m->lock);
}

void metrics_on_collect(struct metrics *m, metrics_collect_fn *fn, void *arg)
{
	if (m->n_collectors == COLLECTORS)
		return;
	m->collectors[m->n_collectors].fn = fn;
	m->collectors[m->n_collectors++].arg = arg;
}

static void print_head(const struct metric_family *f, struct buf *out)
{
	static const char *const kinds[] = {
		[METRIC_COUNTER] = "counter",
		[METRIC_GAUGE] = "gauge",
		[METRIC_HISTOGRAM] = "histogram",
	};
	buf_printf(out, "# HELP %s ", f->name);
	for (const char *p = f->help; *p; p++) {
		if (*p == '\n')
			buf_add_text(out, "\\n");
		else if (*p == '\\')
			buf_add_text(out, "\\\\");
		else
			buf_add_char(out, *p);
	}
	buf_printf(out, "\n# TYPE %s %s\n", f->name, kinds[f->kind]);
}

void metrics_print(struct metrics *m, struct buf *out)
{
	pthread_mutex_lock(&m->print_lock);
	for (size_t i = 0; i < m->n_collectors; i++)
		m->collectors[i].fn(m->collectors[i].arg, m);
	pthread_mutex_lock(&m->lock);
	for (const struct family *f = m->first; f; f = f->next) {
		print_head(&f->known, out);
		for (const struct metric *c = f->first; c; c = c->next)
			metric_print(c, out);
	}
	pthread_mutex_unlock(&m->lock);
	pthread_mutex_unlock(&m->print_lock);
}
