/* SPDX-License-Identifier: Apache-2.0 */
/* stack.c - from configuration to an open store. */
#include <config.h>
#include "setup/stack.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/log.h"
#include "object/object-s3.h"
#include "setup/stack-private.h"

static void parts_release(struct stack_parts *p)
{
	free(p->place);
	free(p->ledger_path);
	object_free(&p->objects);
	ledger_free(&p->ledger);
}

enum rc stack_no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "out of memory");
}

char *stack_join(const char *a, const char *b)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	buf_printf(&text, "%s/%s", a, b);
	return buf_take(&text, NULL);
}

bool stack_is_half_made(struct ledger *l)
{
	struct ledger_state state = { .count = false };
	return ledger_state(l, &state, NULL) == RC_OK &&
	       (strcmp(state.identity, state.written) || !state.complete);
}

static const struct stack_kind *kind_of(const struct config *c)
{
	return config_is_s3(c) ? &stack_s3_kind : &stack_dir_kind;
}

static bool found_one(void *arg, const char *type, const char *id)
{
	(void)type;
	(void)id;
	*(bool *)arg = true;
	return false;
}

static enum rc has_events(struct stack_parts *p, bool *out, struct why *why)
{
	*out = false;
	return layout_list_streams(p->objects, p->info.layout, found_one, out, NULL, why);
}

/* --- opening --- */

static bool make_directories(char *path)
{
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		bool made = !mkdir(path, 0700) || errno == EEXIST;
		if (slash)
			*slash = '/';
		if (!made)
			return false;
		if (!slash)
			return !access(path, W_OK | X_OK);
	}
}

/*
 * Where the catalog lies: by uuid and place, for a copy of a store (a backup that is looked at)
 * has the uuid of the first, but not its events.
 * NULL where no file can be: then it is kept in memory.
 */
static enum rc place_catalog(const struct config *c, const struct stack_parts *p, char **out,
			     struct why *why)
{
	uint64_t place = hash_text(HASH_START, p->place);

	*out = NULL;
	if (!c->cache)
		return RC_OK;
	_cleanup_(buf_release) struct buf dir = BUF_INIT;
	buf_printf(&dir, "%s/%s-%016" PRIx64, c->cache, p->info.uuid, place);
	if (buf_failed(&dir))
		return stack_no_memory(why);
	if (!make_directories(dir.data)) {
		const char *reason = strerror(errno);
		if (!config_is_built_in(c, "cache"))
			return rc_fail(RC_DENIED, why, "cache directory \"%.300s\": %s", dir.data,
				       reason);
		log_warning("catalog is kept in memory: cache directory \"%s\": %s", dir.data,
			    reason);
		return RC_OK;
	}
	*out = stack_join(dir.data, "catalog.db");
	return *out ? RC_OK : stack_no_memory(why);
}

/* Hand the parts to a new store. read_only "": none. */
static enum rc assemble(struct store **out, const struct config *c, struct stack_parts *p,
			const char *read_only, enum stack_use use, struct why *why)
{
	_cleanup_(freep) char *catalog = NULL;
	enum rc rc = place_catalog(c, p, &catalog, why);
#ifdef ENABLE_FAILPOINTS
	if (rc == RC_OK && p->ledger)
		rc = ledger_plant_new(&p->ledger, TAKE_PTR(p->ledger), why);
#endif
	if (rc)
		return rc;
	struct store_options options = {
		.timeout_ms = c->timeout_ms,
		.fresh_ms = c->fresh_ms,
		.gap_wait_ms = c->gap_wait_ms,
		.max_event = c->max_event,
		.ack = c->ack,
		.restore = c->restore,
		.born = p->born,
		.background = use == STACK_SERVE || use == STACK_FOLLOW,
		.follows = use == STACK_FOLLOW,
		.read_only = *read_only ? read_only : NULL,
		.catalog = catalog,
	};
	return store_new(out, TAKE_PTR(p->objects), TAKE_PTR(p->ledger), &p->info, &options, why);
}

/* -o create: make what init makes. Where that is refused, the opening says what is wrong. */
static enum rc create_missing(const struct config *c, struct why *why)
{
	struct stack_made made;
	enum rc rc = stack_init(c, &made, why);
	if (rc == RC_OK)
		log_info("store=%s made", c->store);
	return rc == RC_EXISTS || rc == RC_DENIED ? RC_OK : rc;
}

enum rc stack_open(struct store **out, const struct config *c, enum stack_use use, struct why *why)
{
	_cleanup_(parts_release) struct stack_parts p = { 0 };
	_cleanup_(buf_release) struct buf read_only = BUF_INIT;
	const struct stack_kind *kind = kind_of(c);

	enum rc rc = c->create && !c->ro ? create_missing(c, why) : RC_OK;
	if (rc == RC_OK)
		rc = kind->open(c, &p, why);
	if (rc)
		return rc;
	rc = layout_probe(p.objects, &p.info, why);
	if (rc == RC_NOT_FOUND)
		return rc_fail(rc, why,
			       "\"%.200s\" is not a store: no .evfs/store.json and no events in it "
			       "('evfsctl init %.200s' makes one)",
			       c->store, c->store);
	if (rc)
		return rc_prefix(rc, why, "store \"%.200s\"", c->store);
	rc = kind->open_ledger(c, &p, use, &read_only, why);
	if (rc)
		return rc;
	if (buf_failed(&read_only))
		return stack_no_memory(why);
	return assemble(out, c, &p, buf_text(&read_only), use, why);
}

/* --- making --- */

/* Make the ledger, if none is open, and bring it to the point where it can be used. */
static enum rc make_ledger(const struct config *c, struct stack_parts *p,
			   stack_progress_fn *progress, void *arg, struct why *why)
{
	_cleanup_(store_freep) struct store *s = NULL;
	enum rc rc = p->ledger ? RC_OK : kind_of(c)->make_ledger(c, p, why);
	if (rc == RC_OK)
		rc = assemble(&s, c, p, "", STACK_ONCE, why);
	if (rc == RC_OK)
		rc = store_seed(s, progress, arg, why);
	return rc ? rc_prefix(rc, why, "ledger of \"%.200s\"", c->store) : RC_OK;
}

static enum rc make_layout(struct stack_parts *p, struct why *why)
{
	enum rc rc = layout_create(p->objects, &p->info, why);
	p->born = rc == RC_OK;
	return rc;
}

/* One without events that no ledger was ever seeded for is as new: an init was cut short. */
static enum rc see_unborn(struct stack_parts *p, struct why *why)
{
	struct layout_seeding seeding;
	enum rc rc = layout_read_seeding(p->objects, &seeding, why);
	p->born |= rc == RC_OK && !seeding.number;
	return rc;
}

static enum rc refuse_indexed(const struct config *c, struct why *why)
{
	return rc_fail(RC_DENIED, why,
		       "\"%.200s\" has the indexed layout, which this version only reads",
		       c->store);
}

/* What is there, if it is a store; its layout is made if not. */
static enum rc probe_or_make(const struct config *c, struct stack_parts *p, struct why *why)
{
	const struct stack_kind *kind = kind_of(c);
	enum stack_ledger ledger;
	bool events;
	enum rc rc = layout_probe(p->objects, &p->info, why);
	if (rc == RC_NOT_FOUND) {
		rc = kind->check_empty(c, p, why);
		return rc ? rc : make_layout(p, why);
	}
	if (rc)
		return rc_prefix(rc, why, "store \"%.200s\"", c->store);
	if (p->info.layout == LAYOUT_INDEXED)
		return refuse_indexed(c, why);
	rc = kind->find_ledger(c, p, &ledger, why);
	if (rc == RC_OK && ledger != STACK_LEDGER_NONE)
		return rc_fail(RC_EXISTS, why, "\"%.300s\" is a store already", c->store);
	/* Tables of an older version: making them brings them to this one. */
	if (rc == RC_INVALID && kind->make_ledger(c, p, NULL) == RC_EXISTS)
		return rc_fail(RC_EXISTS, why,
			       "\"%.300s\" is a store already; its ledger's tables were brought to "
			       "this version",
			       c->store);
	if (rc == RC_OK)
		rc = has_events(p, &events, why);
	if (rc == RC_OK && events)
		return rc_fail(RC_EXISTS, why,
			       "\"%.200s\" is a store already, its ledger is missing: "
			       "'evfsctl init --adopt %.200s' makes one",
			       c->store, c->store);
	if (rc == RC_OK && !p->info.has_uuid)
		rc = make_layout(p, why);
	return rc == RC_OK ? see_unborn(p, why) : rc;
}

enum rc stack_init(const struct config *c, struct stack_made *out, struct why *why)
{
	_cleanup_(parts_release) struct stack_parts p = { 0 };
	enum rc rc = kind_of(c)->make(c, &p, why);
	if (rc == RC_OK)
		rc = kind_of(c)->open(c, &p, why);
	if (rc == RC_OK)
		rc = probe_or_make(c, &p, why);
	if (rc == RC_OK)
		rc = make_ledger(c, &p, NULL, NULL, why);
	if (rc == RC_OK)
		*out = (struct stack_made){ .info = p.info };
	return rc;
}

struct count_streams {
	stack_progress_fn *fn;
	void *arg;
	uint64_t streams;
};

static void count_streams(void *arg, uint64_t streams)
{
	struct count_streams *count = arg;
	count->streams = streams;
	if (count->fn)
		count->fn(count->arg, streams);
}

enum rc stack_adopt(const struct config *c, struct stack_made *out, stack_progress_fn *progress,
		    void *arg, struct why *why)
{
	_cleanup_(parts_release) struct stack_parts p = { 0 };
	const struct stack_kind *kind = kind_of(c);
	enum stack_ledger ledger;
	enum rc rc = kind->open(c, &p, why);
	if (rc)
		return rc;
	rc = layout_probe(p.objects, &p.info, why);
	if (rc == RC_NOT_FOUND)
		return rc_fail(rc, why,
			       "\"%.200s\" is not a store; 'evfsctl init %.200s' makes one",
			       c->store, c->store);
	if (rc)
		return rc_prefix(rc, why, "store \"%.200s\"", c->store);
	if (p.info.layout == LAYOUT_INDEXED)
		return refuse_indexed(c, why);
	rc = kind->find_ledger(c, &p, &ledger, why);
	if (rc == RC_OK && ledger == STACK_LEDGER_GOOD)
		return kind->refuse_ledger(c, &p, why);
	if (rc == RC_OK && !p.info.has_uuid)
		rc = layout_create(p.objects, &p.info, why);
	struct count_streams count = { progress, arg, 0 };
	if (rc == RC_OK)
		rc = make_ledger(c, &p, count_streams, &count, why);
	if (rc == RC_OK)
		*out = (struct stack_made){ .info = p.info, .streams = count.streams };
	return rc;
}

void stack_versions(struct buf *out)
{
	buf_printf(out, "%s, libpq %s, sqlite %s, OpenSSL %s", object_s3_version(),
		   ledger_pg_version(), ledger_sqlite_version(),
		   OpenSSL_version(OPENSSL_VERSION_STRING));
}
