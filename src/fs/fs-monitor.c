/* SPDX-License-Identifier: Apache-2.0 */
/* fs-monitor.c - what the mount tells over HTTP. */
#include "config.h"
#include "fs/fs-monitor.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "fs/fs-metrics.h"
#include "fs/fs-state.h"
#include "monitor/monitor.h"

#define FRESH_MS 1000	/* so old may an answer be: whoever asks, the ledger is asked once a second */
#define WAIT_MS 1000	/* so long is a new one waited for */

struct fs_monitor {
	struct fs *fs;
	struct monitor *monitor;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;		/* guards what follows */
	pthread_cond_t changed;
	bool wanted, stop;
	uint64_t asked_ms;		/* clock_boot_ms: the question that is under way, 0: none */
	uint64_t known_ms;		/* when it was asked what health says; 0: never */
	struct store_health health;
};

static void *keep_asking(void *arg)
{
	struct fs_monitor *m = arg;
	struct store_health *h = calloc(1, sizeof(*h));
	pthread_mutex_lock(&m->lock);
	while (h && !m->stop) {
		if (!m->wanted) {
			pthread_cond_wait(&m->changed, &m->lock);
			continue;
		}
		m->wanted = false;
		m->asked_ms = clock_boot_ms();
		pthread_mutex_unlock(&m->lock);
		store_health(m->fs->store, h);
		pthread_mutex_lock(&m->lock);
		m->health = *h;
		m->known_ms = m->asked_ms;
		m->asked_ms = 0;
		pthread_cond_broadcast(&m->changed);
	}
	pthread_mutex_unlock(&m->lock);
	free(h);
	return NULL;
}

static bool is_fresh_locked(const struct fs_monitor *m, uint64_t now_ms)
{
	return m->known_ms && m->known_ms + FRESH_MS >= now_ms;
}

/* For how long the store has owed an answer; 0: *out is fresh. */
static uint64_t take_health(struct fs_monitor *m, struct store_health *out)
{
	uint64_t start_ms = clock_boot_ms(), silent_ms = 0;
	struct timespec until = clock_after_ms(WAIT_MS);
	pthread_mutex_lock(&m->lock);
	while (!is_fresh_locked(m, start_ms) && clock_boot_ms() < start_ms + WAIT_MS) {
		if (!m->asked_ms && !m->wanted) {	/* also after a late answer to an old question */
			m->wanted = true;
			pthread_cond_broadcast(&m->changed);
		}
		(void)pthread_cond_timedwait(&m->changed, &m->lock, &until);
	}
	if (!is_fresh_locked(m, start_ms))
		silent_ms = clock_boot_ms() - (m->asked_ms ? m->asked_ms : start_ms);
	*out = m->health;
	pthread_mutex_unlock(&m->lock);
	return silent_ms;
}

static bool ask(void *arg, monitor_tell_fn *tell, void *tell_arg)
{
	struct fs_monitor *m = arg;
	struct store_health h;
	char silent[64];
	uint64_t silent_ms = take_health(m, &h);
	bool serves = atomic_load(&m->fs->serving) && atomic_load(&m->fs->initialised);
	tell(tell_arg, "mount", serves ? RC_OK : RC_TEMPORARY, serves ? "ok" : "it does not serve");
	if (silent_ms) {
		/* the objects are asked of memory, or of a disk: it is the ledger that is silent */
		snprintf(silent, sizeof(silent), "no answer for %.1f s", (double)silent_ms / 1000);
		tell(tell_arg, "ledger", RC_TEMPORARY, silent);
		return false;
	}
	tell(tell_arg, "objects", h.objects, h.objects == RC_OK ? "ok" : h.objects_why.text);
	tell(tell_arg, "ledger", h.ledger,
	     h.ledger != RC_OK	    ? h.ledger_why.text
	     : h.state.identity[0] ? "ok"
				    : "none");
	tell(tell_arg, "seeding", h.seeding ? RC_TEMPORARY : RC_OK,
	     h.seeding ? "streams wait to be seeded again" : "no");
	tell(tell_arg, "read_only", RC_OK, h.read_only ? h.read_only_reason : "no");
	return serves && h.objects == RC_OK && (h.read_only || (h.ledger == RC_OK && !h.seeding));
}

static void print(void *arg, struct buf *out)
{
	struct fs_monitor *m = arg;
	fs_metrics_print(m->fs->metrics, out);
}

enum rc fs_monitor_new(struct fs_monitor **out, struct fs *fs, const char *address,
		       struct why *why)
{
	struct fs_monitor *m = calloc(1, sizeof(*m));
	if (!m)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	m->fs = fs;
	pthread_mutex_init(&m->lock, NULL);
	thread_cond_init(&m->changed);
	m->started = !thread_start(&m->thread, keep_asking, m);
	const struct monitor_options options = {
		.address = address,
		.print = print,
		.print_arg = m,
		.ask = ask,
		.ask_arg = m,
	};
	enum rc rc = m->started ? monitor_new(&m->monitor, &options, why) :
				  rc_fail(RC_NO_MEMORY, why, "cannot start a thread");
	if (rc != RC_OK) {
		fs_monitor_free(&m);
		return rc;
	}
	log_info("metrics address=%s", monitor_address(m->monitor));
	*out = m;
	return RC_OK;
}

void fs_monitor_free(struct fs_monitor **pm)
{
	struct fs_monitor *m = *pm;
	if (!m)
		return;
	monitor_free(&m->monitor);
	thread_stop(&m->lock, &m->stop, &m->changed, &m->thread, m->started);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m);
	*pm = NULL;
}
