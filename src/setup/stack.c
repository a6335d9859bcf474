/* SPDX-License-Identifier: Apache-2.0 */
/* stack.c - from configuration to an open store. */
#include <config.h>
#include "setup/stack.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ledger/ledger.h"
#include "object/object.h"
#include "store/layout.h"

/* The parts of a store while it is put together. */
struct parts {
	char *path;	/* the directory, without links: where the catalog is found by */
	char *ledger_path;
	struct object_store *objects;
	struct ledger *ledger;	/* NULL: none (yet) */
	struct layout_store info;
};

static void parts_release(struct parts *p)
{
	free(p->path);
	free(p->ledger_path);
	object_free(&p->objects);
	ledger_free(&p->ledger);
}

static enum rc no_memory(struct why *why)
{
	return rc_fail(RC_NO_MEMORY, why, "out of memory");
}

/* "part/part", malloc'd; NULL: no memory. */
static char *join(const char *a, const char *b)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	buf_printf(&text, "%s/%s", a, b);
	return buf_take(&text, NULL);
}

static enum rc open_directory(const struct config *c, struct parts *p, struct why *why)
{
	struct stat st;
	p->path = realpath(c->store, NULL);
	if (!p->path || stat(p->path, &st))
		return rc_fail(errno == ENOMEM	 ? RC_NO_MEMORY
			       : errno == EACCES ? RC_DENIED
						 : RC_NOT_FOUND,
			       why, "store \"%.300s\": %s", c->store, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return rc_fail(RC_NOT_FOUND, why, "store \"%.300s\": not a directory", c->store);
	p->ledger_path = join(p->path, ".evfs/ledger.db");
	if (!p->ledger_path)
		return no_memory(why);
	enum rc rc = object_dir_new(&p->objects, p->path, why);
	return rc ? rc_prefix(rc, why, "store \"%.200s\"", c->store) : RC_OK;
}

static bool has_ledger(const struct parts *p)
{
	return !access(p->ledger_path, F_OK) || errno != ENOENT;
}

static bool found_one(void *arg, const char *type, const char *id)
{
	(void)type;
	(void)id;
	*(bool *)arg = true;
	return false;
}

static enum rc has_events(struct parts *p, bool *out, struct why *why)
{
	*out = false;
	return layout_list_streams(p->objects, p->info.layout, found_one, out, NULL, why);
}

/* --- opening --- */

/* Why nothing can be written to the directories, NULL if it can. */
static const char *unwritable(const struct parts *p)
{
	static const char *const below[] = { "", ".evfs", "streams" };
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		_cleanup_(freep) char *path = join(p->path, below[i]);
		if (path && access(path, W_OK) && errno != ENOENT)
			return strerror(errno);
	}
	return NULL;
}

/*
 * Open the ledger, or say in read_only why there is none. A ledger that is there but not good ends
 * the opening: it wants to be looked at. -o ro shows what the objects hold all the same.
 */
static enum rc open_ledger(const struct config *c, struct parts *p, struct buf *read_only,
			   struct why *why)
{
	const char *reason = unwritable(p);
	if (c->ro)
		buf_add_text(read_only, "opened with -o ro");
	else if (reason)
		buf_printf(read_only, "the store directory \"%s\" can't be written: %s", c->store,
			   reason);

	if (!has_ledger(p)) {
		if (!read_only->len && p->info.layout == LAYOUT_INDEXED)
			buf_add_text(
				read_only,
				"it has no ledger: this version reads the indexed layout only");
		else if (!read_only->len)
			buf_printf(read_only,
				   "it has no ledger: 'evfsctl init --adopt %s' makes one",
				   c->store);
		return RC_OK;
	}
	enum rc rc = ledger_sqlite_open(&p->ledger, p->ledger_path, p->info.uuid, why);
	if (rc == RC_DENIED && !read_only->len)
		buf_printf(read_only, "its ledger can't be used: %s", why->text);
	if (rc && rc != RC_NO_MEMORY && (rc == RC_DENIED || c->ro)) {
		log_warning("store=%s opened without its ledger: %s", c->store, why->text);
		return RC_OK;
	}
	return rc ? rc_prefix(rc, why, "store \"%.200s\"", c->store) : RC_OK;
}

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
static enum rc place_catalog(const struct config *c, const struct parts *p, char **out,
			     struct why *why)
{
	uint64_t place = UINT64_C(0xcbf29ce484222325);	/* FNV-1a */
	for (const char *s = p->path; *s; s++)
		place = (place ^ (unsigned char)*s) * UINT64_C(0x100000001b3);

	*out = NULL;
	if (!c->cache)
		return RC_OK;
	_cleanup_(buf_release) struct buf dir = BUF_INIT;
	buf_printf(&dir, "%s/%s-%016" PRIx64, c->cache, p->info.uuid, place);
	if (buf_failed(&dir))
		return no_memory(why);
	if (!make_directories(dir.data)) {
		const char *reason = strerror(errno);
		if (!config_is_built_in(c, "cache"))
			return rc_fail(RC_DENIED, why, "cache directory \"%.300s\": %s", dir.data,
				       reason);
		log_warning("catalog is kept in memory: cache directory \"%s\": %s", dir.data,
			    reason);
		return RC_OK;
	}
	*out = join(dir.data, "catalog.db");
	return *out ? RC_OK : no_memory(why);
}

/* Hand the parts to a new store. read_only "": none. */
static enum rc assemble(struct store **out, const struct config *c, struct parts *p,
			const char *read_only, enum stack_use use, struct why *why)
{
	_cleanup_(freep) char *catalog = NULL;
	enum rc rc = place_catalog(c, p, &catalog, why);
	if (rc)
		return rc;
	struct store_options options = {
		.timeout_ms = c->timeout_ms,
		.fresh_ms = c->fresh_ms,
		.gap_wait_ms = c->gap_wait_ms,
		.max_event = c->max_event,
		.ack = c->ack,
		.restore = c->restore,
		.background = use == STACK_SERVE,
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
	_cleanup_(parts_release) struct parts p = { 0 };
	_cleanup_(buf_release) struct buf read_only = BUF_INIT;

	enum rc rc = c->create && !c->ro ? create_missing(c, why) : RC_OK;
	if (rc == RC_OK)
		rc = open_directory(c, &p, why);
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
	rc = open_ledger(c, &p, &read_only, why);
	if (rc)
		return rc;
	if (buf_failed(&read_only))
		return no_memory(why);
	return assemble(out, c, &p, buf_text(&read_only), use, why);
}

/* --- making --- */

/* RC_EXISTS: something lies there that is no part of a store. */
static enum rc check_empty(const struct config *c, const struct parts *p, struct why *why)
{
	DIR *dir = opendir(p->path);
	if (!dir)
		return rc_fail(RC_DENIED, why, "store \"%.300s\": %s", c->store, strerror(errno));
	enum rc rc = RC_OK;
	for (struct dirent *e = readdir(dir); e && !rc; e = readdir(dir)) {
		static const char *const fine[] = { ".", "..", ".evfs", "lost+found" };
		bool known = false;
		for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
			known |= !strcmp(e->d_name, fine[i]);
		if (!known)
			rc = rc_fail(
				RC_EXISTS, why,
				"\"%.200s\" is not empty and is not a store: it holds \"%.200s\"",
				c->store, e->d_name);
	}
	closedir(dir);
	return rc;
}

/*
 * Is there a ledger that waits to be seeded, because whoever made it, or found it replaced, was
 * killed? Then it is open. What can't be opened is not for us to go on with.
 */
static bool open_half_made(struct parts *p)
{
	struct ledger_state state = { .count = false };
	if (!has_ledger(p) || !p->info.has_uuid ||
	    ledger_sqlite_open(&p->ledger, p->ledger_path, p->info.uuid, NULL) != RC_OK)
		return false;
	if (ledger_state(p->ledger, &state, NULL) == RC_OK &&
	    (strcmp(state.identity, state.written) || !state.complete))
		return true;
	ledger_free(&p->ledger);
	return false;
}

/* Make the ledger, if none is open, and bring it to the point where it can be used. */
static enum rc make_ledger(const struct config *c, struct parts *p, stack_progress_fn *progress,
			   void *arg, struct why *why)
{
	_cleanup_(store_freep) struct store *s = NULL;
	enum rc rc = RC_OK;
	if (!p->ledger)
		rc = ledger_sqlite_create(p->ledger_path, p->info.uuid, why);
	if (rc == RC_OK && !p->ledger)
		rc = ledger_sqlite_open(&p->ledger, p->ledger_path, p->info.uuid, why);
	if (rc == RC_OK)
		rc = assemble(&s, c, p, "", STACK_ONCE, why);
	if (rc == RC_OK)
		rc = store_seed(s, progress, arg, why);
	return rc ? rc_prefix(rc, why, "ledger of \"%.200s\"", c->store) : RC_OK;
}

/* What is there, if it is a store; its layout is made if not. */
static enum rc probe_or_make(const struct config *c, struct parts *p, struct why *why)
{
	enum rc rc = layout_probe(p->objects, &p->info, why);
	if (rc == RC_NOT_FOUND) {
		rc = check_empty(c, p, why);
		if (rc == RC_OK)
			rc = layout_create(p->objects, &p->info, why);
		return rc;
	}
	if (rc)
		return rc_prefix(rc, why, "store \"%.200s\"", c->store);
	if (has_ledger(p))
		return rc_fail(RC_EXISTS, why, "\"%.300s\" is a store already", c->store);
	if (p->info.layout == LAYOUT_INDEXED)
		return rc_fail(
			RC_DENIED, why,
			"\"%.200s\" has the indexed layout, which this version only reads",
			c->store);
	bool events;
	rc = has_events(p, &events, why);
	if (rc == RC_OK && events)
		return rc_fail(RC_EXISTS, why,
			       "\"%.200s\" is a store already, its ledger is missing: "
			       "'evfsctl init --adopt %.200s' makes one",
			       c->store, c->store);
	if (rc == RC_OK && !p->info.has_uuid)
		rc = layout_create(p->objects, &p->info, why);
	return rc;
}

enum rc stack_init(const struct config *c, struct stack_made *out, struct why *why)
{
	_cleanup_(parts_release) struct parts p = { 0 };
	if (mkdir(c->store, 0777) && errno != EEXIST)
		return rc_fail(errno == ENOENT	 ? RC_NOT_FOUND
			       : errno == ENOSPC ? RC_NO_SPACE
						 : RC_DENIED,
			       why, "store \"%.300s\": %s", c->store, strerror(errno));
	enum rc rc = open_directory(c, &p, why);
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
	_cleanup_(parts_release) struct parts p = { 0 };
	enum rc rc = open_directory(c, &p, why);
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
		return rc_fail(
			RC_DENIED, why,
			"\"%.200s\" has the indexed layout, which this version only reads",
			c->store);
	if (has_ledger(&p) && !open_half_made(&p))
		return rc_fail(
			RC_EXISTS, why,
			"\"%.200s\" has a ledger; move \"%.200s\" away first if it is damaged",
			c->store, p.ledger_path);
	if (!p.info.has_uuid)
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
	buf_printf(out, "sqlite %s, OpenSSL %s", ledger_sqlite_version(),
		   OpenSSL_version(OPENSSL_VERSION_STRING));
}
