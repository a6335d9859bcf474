/* SPDX-License-Identifier: Apache-2.0 */
/* stack-reindex.c - the ledger of a store from its objects: over the one that is there, or instead of it. */
#include <config.h>
#include "setup/stack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "setup/stack-private.h"
#include "setup/stack-s3.h"

static enum rc open_writable(struct store **out, const struct config *c, struct why *why)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct store_health health;
	enum rc rc = stack_open(&s, c, STACK_ONCE, why);
	if (rc)
		return rc;
	store_health(s, &health);
	if (health.read_only)
		return rc_fail(RC_DENIED, why, "\"%.200s\" can't be written: %.250s", c->store,
			       health.read_only_reason);
	*out = TAKE_PTR(s);
	return RC_OK;
}

/* What there is: the ledger's state, and whose it is. */
static enum rc look(const struct config *c, enum stack_ledger *ledger_r,
		    struct layout_store *info_r, struct why *why)
{
	const struct stack_kind *kind = config_is_s3(c) ? &stack_s3_kind : &stack_dir_kind;
	struct stack_parts p = { 0 };
	enum rc rc = kind->open(c, &p, why);
	if (rc == RC_OK)
		rc = layout_probe(p.objects, &p.info, why);
	if (rc == RC_OK && p.info.layout == LAYOUT_INDEXED)
		rc = rc_fail(RC_DENIED, why,
			     "\"%.200s\" has the indexed layout, which this version only reads",
			     c->store);
	else if (rc == RC_OK)
		rc = kind->find_ledger(c, &p, ledger_r, why);
	*info_r = p.info;
	free(p.place);
	free(p.ledger_path);
	ledger_free(&p.ledger);
	object_free(&p.objects);
	return rc;
}

/* Until what was pending when this began is stored. */
static enum rc sweep_until(struct store *s, const struct config *c, struct why *why)
{
	uint64_t until = clock_boot_ms() + 2 * c->timeout_ms;
	int64_t began_us = 0;
	for (;;) {
		struct store_health health;
		size_t n;
		enum rc rc = store_sweep(s, true, &n, why);
		if (rc)
			return rc;
		store_health(s, &health);
		const struct ledger_state *state = &health.state;
		if (health.ledger)
			return rc_fail(health.ledger, why, "%s", health.ledger_why.text);
		if (!began_us)
			began_us = state->now_us;
		/* what came since has a writer that is alive, and stores it */
		if (!state->pending || (!state->alone && state->oldest_us > began_us))
			return RC_OK;
		if (clock_boot_ms() > until)
			return rc_fail(RC_TEMPORARY, why,
				       "%" PRIu64
				       " appends are committed and not stored: they would be lost "
				       "with the ledger",
				       state->pending);
		clock_sleep_ms(50);
	}
}

/* What is committed and not stored would go with the ledger: deliver it first. */
static enum rc deliver_pending(const struct config *c, struct why *why)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct why reason = { "" };
	enum rc rc = open_writable(&s, c, &reason);
	if (rc == RC_CORRUPT || rc == RC_INVALID || rc == RC_NOT_FOUND) {
		log_warning("store=%s the ledger is thrown away as it is: %s", c->store,
			    reason.text);
		return RC_OK; /* it can't be read: that is why it goes */
	}
	if (rc == RC_OK)
		rc = store_seed(s, NULL, NULL, &reason);
	if (rc == RC_OK)
		rc = sweep_until(s, c, &reason);
	return rc ? rc_fail(rc, why, "%s", reason.text) : RC_OK;
}

static enum rc remove_file(const char *store, const char *name, struct why *why)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	buf_printf(&path, "%s/.evfs/%s", store, name);
	if (buf_failed(&path))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	if (unlink(path.data) && errno != ENOENT)
		return rc_fail(RC_DENIED, why, "\"%.300s\": %s", path.data, strerror(errno));
	return RC_OK;
}

/* A file that can't be used as it is. The ledger first: the rest alone would be taken for a part of the next one. */
static enum rc remove_ledger(const struct config *c, struct why *why)
{
	enum rc rc = remove_file(c->store, "ledger.db", why);
	if (rc == RC_OK)
		rc = remove_file(c->store, "ledger.db-wal", why);
	return rc ? rc : remove_file(c->store, "ledger.db-shm", why);
}

/* What is left waits for its seeding, and that until nothing of before can be under way. */
static enum rc throw_away(const struct config *c, const struct layout_store *info, struct why *why)
{
	struct ledger_pg_options o;
	if (config_is_s3(c)) {
		stack_s3_ledger_options(c, info->uuid, &o);
		return ledger_pg_clear(&o, why);
	}
	_cleanup_(freep) char *path = stack_join(c->store, ".evfs/ledger.db");
	if (!path)
		return stack_no_memory(why);
	enum rc rc = ledger_sqlite_clear(path, info->uuid, why);
	return rc == RC_CORRUPT || rc == RC_INVALID ? remove_ledger(c, why) : rc;
}

static enum rc build_anew(const struct config *c, struct stack_reindexed *out,
			  stack_progress_fn *progress, void *arg, struct why *why)
{
	struct stack_made made;
	enum rc rc = stack_adopt(c, &made, progress, arg, why);
	if (rc == RC_OK)
		*out = (struct stack_reindexed){ .anew = true,
						 .counts = { .streams = made.streams } };
	return rc;
}

enum rc stack_reindex(const struct config *c, bool fresh, struct stack_reindexed *out,
		      stack_progress_fn *progress, void *arg, struct why *why)
{
	_cleanup_(store_freep) struct store *s = NULL;
	enum stack_ledger ledger;
	struct layout_store info;
	if (c->ro)
		return rc_fail(RC_DENIED, why, "-o ro and reindex contradict each other");
	enum rc rc = look(c, &ledger, &info, why);
	if (rc)
		return rc;
	if (ledger == STACK_LEDGER_NONE)
		return build_anew(c, out, progress, arg, why);
	if (fresh) {
		rc = deliver_pending(c, why);
		if (rc == RC_OK)
			rc = throw_away(c, &info, why);
		return rc ? rc : build_anew(c, out, progress, arg, why);
	}
	struct stack_reindexed done = { .anew = false };
	rc = open_writable(&s, c, why);
	if (rc == RC_OK)
		rc = store_reindex(s, progress, arg, &done.counts, why);
	if (rc == RC_OK)
		*out = done;
	return rc;
}
