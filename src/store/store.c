/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - the store as a whole: made, asked how it is, ended. */
#include "config.h"
#include "store/store-private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#define FLUSH_POLL_MS 5		/* at first, then longer */
#define FLUSH_POLL_MOST_MS 100

void store_note(struct store *s, const char *type, const char *id, enum rc rc, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	if (type)
		log_info("%s stream=%s/%s", text, type, id);
	else
		log_info("%s", text);
	pthread_mutex_lock(&s->notice_lock);
	if (s->notice)
		s->notice(s->notice_arg, type, id, rc, text);
	pthread_mutex_unlock(&s->notice_lock);
}

void store_on_notice(struct store *s, store_notice_fn *fn, void *arg)
{
	pthread_mutex_lock(&s->notice_lock);
	s->notice = fn;
	s->notice_arg = arg;
	pthread_mutex_unlock(&s->notice_lock);
}

static void saw(struct store *s, _Atomic int *kept, struct why *kept_why, enum rc rc, const struct why *why)
{
	if (rc != RC_OK && why) {
		pthread_mutex_lock(&s->health_lock);
		*kept_why = *why;
		pthread_mutex_unlock(&s->health_lock);
	}
	atomic_store_explicit(kept, rc, memory_order_relaxed);
}

void store_saw_ledger(struct store *s, enum rc rc, const struct why *why)
{
	saw(s, &s->ledger_rc, &s->ledger_why, rc, why);
}

void store_saw_objects(struct store *s, enum rc rc, const struct why *why)
{
	saw(s, &s->objects_rc, &s->objects_why, rc, why);
}

static void init_locks(struct store *s)
{
	pthread_mutex_init(&s->group.lock, NULL);
	s->group.tail = &s->group.head;
	pthread_mutex_init(&s->queue.lock, NULL);
	s->queue.tail = &s->queue.head;
	pthread_mutex_init(&s->settle.lock, NULL);
	pthread_mutex_init(&s->sweeper.lock, NULL);
	pthread_mutex_init(&s->seeding.work_lock, NULL);
	pthread_mutex_init(&s->seeding.lock, NULL);
	pthread_mutex_init(&s->view_lock, NULL);
	pthread_mutex_init(&s->health_lock, NULL);
	pthread_mutex_init(&s->notice_lock, NULL);

	thread_cond_init(&s->settle.more);
	thread_cond_init(&s->sweeper.wake);
	thread_cond_init(&s->queue.more);
	thread_cond_init(&s->queue.done);
}

static bool copy_text(char **out, const char *text)
{
	if (text)
		*out = strdup(text);
	return !text || *out;
}

static enum rc start(struct store *s, struct why *why)
{
	if (!s->ledger || s->read_only)
		return RC_OK;
	enum rc rc = s->options.born ? RC_OK : store_seed_check(s, why);
	if (rc != RC_OK || !s->options.background)
		return rc;
	rc = store_settle_start(s, why);
	if (rc == RC_OK)
		rc = store_queue_start(s, why);
	return rc == RC_OK && !s->options.follows ? store_sweep_start(s, why) : rc;
}

enum rc store_new(struct store **out, struct object_store *objects, struct ledger *ledger, const struct layout_store *info,
		  const struct store_options *options, struct why *why)
{
	_cleanup_(object_freep) struct object_store *o = objects;
	_cleanup_(ledger_freep) struct ledger *l = ledger;
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return rc_fail(RC_NO_MEMORY, why, "no memory for the store");

	init_locks(s);
	s->objects = TAKE_PTR(o);
	s->ledger = TAKE_PTR(l);
	s->group.leaders_max = s->ledger && s->ledger->writers ? s->ledger->writers : 1;
	s->info = *info;
	s->options = *options;
	enum rc rc = RC_OK;
	if (!copy_text(&s->read_only, options->read_only) || !copy_text(&s->catalog, options->catalog))
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the store");
	s->options.read_only = s->read_only;
	s->options.catalog = s->catalog;
	if (rc == RC_OK)
		rc = start(s, why);
	if (rc != RC_OK) {
		store_free(&s);
		return rc;
	}
	*out = s;
	return RC_OK;
}

void store_free(struct store **sp)
{
	if (!sp || !*sp)
		return;
	struct store *s = *sp;
	*sp = NULL;

	store_sweep_stop(s);
	store_queue_stop(s);
	if (s->ledger && !s->read_only) {
		if (atomic_load(&s->owes)) {	/* what was only committed goes out before the end */
			size_t n;
			struct why why = { "" };
			if (store_sweep_once(s, SIZE_MAX, false, &n, &why) != RC_OK)
				log_warning("left for the next sweeper: %s", why.text);
		}
		store_settle_stop(s);
	}
	struct view *v = atomic_load(&s->view);
	view_free(&v);
	ledger_free(&s->ledger);
	object_free(&s->objects);
	free(s->read_only);
	free(s->catalog);
	pthread_cond_destroy(&s->settle.more);
	pthread_cond_destroy(&s->sweeper.wake);
	pthread_cond_destroy(&s->queue.more);
	pthread_cond_destroy(&s->queue.done);
	pthread_mutex_destroy(&s->group.lock);
	pthread_mutex_destroy(&s->queue.lock);
	pthread_mutex_destroy(&s->settle.lock);
	pthread_mutex_destroy(&s->sweeper.lock);
	pthread_mutex_destroy(&s->seeding.work_lock);
	pthread_mutex_destroy(&s->seeding.lock);
	pthread_mutex_destroy(&s->view_lock);
	pthread_mutex_destroy(&s->health_lock);
	pthread_mutex_destroy(&s->notice_lock);
	free(s);
}

enum rc store_sweep(struct store *s, bool all, size_t *n_r, struct why *why)
{
	*n_r = 0;
	if (!s->ledger)
		return rc_fail(RC_DENIED, why, "the store has no ledger");
	enum rc rc = store_sweep_once(s, SIZE_MAX, all, n_r, why);
	store_settle_flush(s);
	return rc;
}

struct ends {
	uint64_t last, settled_to;
};

static bool take_ends(void *arg, const struct ledger_row *row)
{
	*(struct ends *)arg = (struct ends){ row->last, row->settled_to };
	return false;
}

enum rc store_flush(struct store *s, const char *type, const char *id, struct why *why)
{
	if (!s->ledger)
		return RC_OK;
	uint64_t deadline = clock_boot_ms() + s->options.timeout_ms;
	enum rc queued = store_queue_wait(s, deadline, why);
	if (queued != RC_OK || !atomic_load(&s->owes))
		return queued;	/* what was answered is stored, but for what the sweeper has */
	for (unsigned pause = FLUSH_POLL_MS;; pause = pause * 2 < FLUSH_POLL_MOST_MS ? pause * 2 : FLUSH_POLL_MOST_MS) {
		struct ends e = { 0, 0 };
		struct ledger_query q = { .what = LEDGER_STREAM, .type = type, .id = id };
		enum rc rc = ledger_read(s->ledger, &q, take_ends, &e, NULL, why);
		if (rc != RC_OK || e.settled_to >= e.last)
			return rc;
		if (clock_boot_ms() >= deadline)
			return rc_fail(RC_TEMPORARY, why, "'%s/%s' is committed to %" PRIu64 ", stored to %" PRIu64, type, id, e.last,
				       e.settled_to);
		store_sweep_kick(s);
		store_settle_flush(s);
		clock_sleep_ms(pause);
	}
}

static enum rc seed_for_view(void *arg, const char *type, const char *id, struct why *why)
{
	struct store *s = arg;
	if (s->read_only)
		return rc_fail(RC_TEMPORARY, why, "the ledger must be seeded, and this store is read-only: %s", s->read_only);
	store_sweep_kick(s);
	return store_seed_fenced(s, type, id, clock_boot_ms() + s->options.timeout_ms, NULL, NULL, why);
}

struct view *store_view(struct store *s, struct why *why)
{
	struct view *v = atomic_load(&s->view);
	if (v)
		return v;

	pthread_mutex_lock(&s->view_lock);
	v = atomic_load(&s->view);
	if (!v) {
		struct view_source source = { s->objects, s->ledger, s->info.layout, seed_for_view, s };
		struct view_options options = { s->catalog, s->info.uuid, s->options.fresh_ms, s->options.gap_wait_ms };
		if (view_new(&v, &source, &options, why) == RC_OK)
			atomic_store(&s->view, v);
	}
	pthread_mutex_unlock(&s->view_lock);
	return v;
}

const struct store_options *store_options(const struct store *s)
{
	return &s->options;
}

struct object_store *store_objects(struct store *s)
{
	return s->objects;
}

void store_health(struct store *s, struct store_health *out)
{
	*out = (struct store_health){ .layout = s->info.layout, .read_only = s->read_only || !s->ledger };
	snprintf(out->uuid, sizeof(out->uuid), "%s", s->info.uuid);
	snprintf(out->read_only_reason, sizeof(out->read_only_reason), "%s",
		 s->read_only ? s->read_only : s->ledger ? "" : "it has no ledger");

	pthread_mutex_lock(&s->health_lock);
	out->objects = (enum rc)atomic_load(&s->objects_rc);
	out->objects_why = s->objects_why;
	pthread_mutex_unlock(&s->health_lock);
	struct why why = { "" };
	if (object_ready(s->objects, 0, 0, &why) != RC_OK) {
		out->objects = RC_TEMPORARY;
		out->objects_why = why;
	}
	if (!s->ledger)
		return;
	out->state.count = true;
	out->ledger = ledger_state(s->ledger, &out->state, &out->ledger_why);
	out->seeding = out->ledger == RC_OK && (strcmp(out->state.identity, out->state.written) || !out->state.complete);
}

void store_counts(struct store *s, struct store_counts *out)
{
#define TAKE(what) .what = atomic_load_explicit(&s->count.what, memory_order_relaxed)
	*out = (struct store_counts){
		TAKE(appends), TAKE(events), TAKE(bytes), TAKE(known), TAKE(conflicts), TAKE(refused), TAKE(failed),
		TAKE(commits), TAKE(puts), TAKE(gets), TAKE(lists), TAKE(syncs), TAKE(swept), TAKE(settled), TAKE(reseeded),
		TAKE(seedings), TAKE(commit_us), TAKE(put_us),
	};
#undef TAKE
	object_counts(s->objects, &out->object);
	if (s->ledger)
		ledger_counts(s->ledger, &out->ledger);
}
