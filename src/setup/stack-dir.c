/* SPDX-License-Identifier: Apache-2.0 */
/* stack-dir.c - a store in a directory, its ledger beside it. */
#include <config.h>
#include "setup/stack-private.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

static enum rc open_objects(const struct config *c, struct stack_parts *p, struct why *why)
{
	struct stat st;
	p->place = realpath(c->store, NULL); /* without links */
	if (!p->place || stat(p->place, &st))
		return rc_fail(errno == ENOMEM	 ? RC_NO_MEMORY
			       : errno == EACCES ? RC_DENIED
						 : RC_NOT_FOUND,
			       why, "store \"%.300s\": %s", c->store, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return rc_fail(RC_NOT_FOUND, why, "store \"%.300s\": not a directory", c->store);
	p->ledger_path = stack_join(p->place, ".evfs/ledger.db");
	if (!p->ledger_path)
		return stack_no_memory(why);
	enum rc rc = object_dir_new(&p->objects, p->place, why);
	return rc ? rc_prefix(rc, why, "store \"%.200s\"", c->store) : RC_OK;
}

static bool has_ledger(const struct stack_parts *p)
{
	return !access(p->ledger_path, F_OK) || errno != ENOENT;
}

/* Why nothing can be written to the directories, NULL if it can. */
static const char *unwritable(const struct stack_parts *p)
{
	static const char *const below[] = { "", ".evfs", "streams" };
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		_cleanup_(freep) char *path = stack_join(p->place, below[i]);
		if (path && access(path, W_OK) && errno != ENOENT)
			return strerror(errno);
	}
	return NULL;
}

/* A ledger that is not good wants to be looked at; -o ro shows what the objects hold anyway. */
static enum rc open_ledger(const struct config *c, struct stack_parts *p, enum stack_use use,
			   struct buf *read_only, struct why *why)
{
	const char *reason = unwritable(p);
	(void)use;
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

static enum rc make(const struct config *c, struct stack_parts *p, struct why *why)
{
	(void)p;
	if (mkdir(c->store, 0777) && errno != EEXIST)
		return rc_fail(errno == ENOENT	 ? RC_NOT_FOUND
			       : errno == ENOSPC ? RC_NO_SPACE
						 : RC_DENIED,
			       why, "store \"%.300s\": %s", c->store, strerror(errno));
	return RC_OK;
}

static enum rc check_empty(const struct config *c, struct stack_parts *p, struct why *why)
{
	DIR *dir = opendir(p->place);
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

/* What can't be opened is not for us to go on with. */
static enum rc find_ledger(const struct config *c, struct stack_parts *p, enum stack_ledger *out,
			   struct why *why)
{
	(void)c;
	(void)why;
	*out = has_ledger(p) ? STACK_LEDGER_GOOD : STACK_LEDGER_NONE;
	if (*out == STACK_LEDGER_NONE || !p->info.has_uuid ||
	    ledger_sqlite_open(&p->ledger, p->ledger_path, p->info.uuid, NULL) != RC_OK)
		return RC_OK;
	if (stack_is_half_made(p->ledger))
		*out = STACK_LEDGER_HALF;
	else
		ledger_free(&p->ledger);
	return RC_OK;
}

static enum rc make_ledger(const struct config *c, struct stack_parts *p, struct why *why)
{
	(void)c;
	enum rc rc = ledger_sqlite_create(p->ledger_path, p->info.uuid, why);
	if (rc == RC_OK)
		rc = ledger_sqlite_open(&p->ledger, p->ledger_path, p->info.uuid, why);
	return rc;
}

static enum rc refuse_ledger(const struct config *c, const struct stack_parts *p, struct why *why)
{
	return rc_fail(RC_EXISTS, why,
		       "\"%.200s\" has a ledger; move \"%.200s\" away first if it is damaged",
		       c->store, p->ledger_path);
}

const struct stack_kind stack_dir_kind = {
	.open = open_objects,
	.open_ledger = open_ledger,
	.make = make,
	.check_empty = check_empty,
	.find_ledger = find_ledger,
	.make_ledger = make_ledger,
	.refuse_ledger = refuse_ledger,
};
