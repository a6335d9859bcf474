/* SPDX-License-Identifier: Apache-2.0 */
/* stack-s3.c - a store in a bucket, its ledger in PostgreSQL. */
#include <config.h>
#include "setup/stack-s3.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "setup/stack-private.h"

/*
 * Keys and passwords are in memory from here on, and none of them belongs into a core file: no file
 * by the limit, nothing but headers for a collector that the kernel pipes it to. PR_SET_DUMPABLE
 * would do both, but takes /proc/PID and ptrace from who may look.
 */
static void keep_from_core_files(void)
{
	struct rlimit limit;
	if (!getrlimit(RLIMIT_CORE, &limit)) {
		limit.rlim_cur = 0;
		(void)setrlimit(RLIMIT_CORE, &limit);
	}
	_cleanup_(closep) int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "0x10", 4) != 4)
		log_debug("coredump_filter can't be set");
}

void stack_s3_object_options(const struct config *c, struct object_s3_options *out)
{
	bool given = c->access_key && c->secret_key;
	*out = (struct object_s3_options){
		.bucket = c->bucket,
		.prefix = c->prefix,
		.endpoint = c->endpoint,
		.region = c->region,
		.style = c->addressing,
		.ca_file = c->ca,
		.no_verify = !c->verify,
		.require_tls = c->require_tls,
		.parallel = (unsigned)c->parallel,
		.timeout_ms = c->timeout_ms,
		.cred = { .access = given ? c->access_key : NULL,
			  .secret = given ? c->secret_key : NULL,
			  .profile = c->profile,
			  .ca_file = c->ca,
			  .timeout_ms = c->timeout_ms },
	};
}

void stack_s3_ledger_options(const struct config *c, const char *uuid,
			     struct ledger_pg_options *out)
{
	*out = (struct ledger_pg_options){
		.conninfo = c->ledger,
		.schema = c->schema,
		.uuid = uuid,
		.place = c->store,
		.timeout_ms = c->timeout_ms,
	};
}

static enum rc new_objects(const struct config *c, struct stack_parts *p, struct why *why)
{
	struct object_s3_options o;
	if (p->objects)
		return RC_OK;
	keep_from_core_files();
	if (!c->access_key != !c->secret_key)
		log_warning(
			"store=%s access_key and secret_key are used together only; one of them is "
			"missing",
			c->store);
	stack_s3_object_options(c, &o);
	/* A mirror of the bucket at another server has its uuid, but not its events. */
	p->place = stack_join(c->endpoint ? c->endpoint : "", c->store);
	if (!p->place)
		return stack_no_memory(why);
	enum rc rc = object_s3_new(&p->objects, &o, why);
	return rc ? rc_prefix(rc, why, "store \"%.200s\"", c->store) : RC_OK;
}

static enum rc open_objects(const struct config *c, struct stack_parts *p, struct why *why)
{
	enum rc rc = new_objects(c, p, why);
	if (rc)
		return rc;
	rc = object_s3_reach(p->objects, why);
	if (rc == RC_NOT_FOUND)
		return rc_fail(
			rc, why,
			"store \"%.200s\": there is no such bucket "
			       "('evfsctl init %.200s' makes it)",
			c->store, c->store);
	return rc ? rc_prefix(rc, why, "store \"%.200s\"", c->store) : RC_OK;
}

/* --- the ledger --- */

static enum rc open_pg(const struct config *c, const char *uuid, struct ledger **out,
		       struct why *why)
{
	struct why warning = { "" };
	struct ledger_pg_options o;
	stack_s3_ledger_options(c, uuid, &o);
	enum rc rc = ledger_pg_open(out, &o, &warning, why);
	if (rc == RC_OK && *warning.text)
		log_warning("store=%s ledger: %s", c->store, warning.text);
	return rc;
}

/* Why this store has no ledger, whatever -o ledger= says. */
static void no_ledger(const struct config *c, const struct stack_parts *p, struct buf *read_only)
{
	if (read_only->len)
		return;
	if (p->info.layout == LAYOUT_INDEXED)
		buf_add_text(read_only, "this version reads the indexed layout only");
	else if (!c->ledger)
		buf_add_text(read_only,
			     "no ledger is configured: POSTGRES_URL or -o ledger= names one");
	else
		buf_printf(
			read_only,
			"it has no ledger in the schema \"%s\": "
			   "'evfsctl init --adopt %s' makes one",
			c->schema, c->store);
}

/*
 * What the server does with conditions must be known before the first PUT; a server that may not be
 * written to says it here.
 */
static enum rc learn(const struct config *c, struct stack_parts *p, struct buf *read_only,
		     struct why *why)
{
	struct object_s3_facts facts;
	enum rc rc = object_s3_learn(p->objects, true, &facts, why);
	if (rc == RC_DENIED) {
		buf_printf(read_only, "the bucket can't be written: %s", why->text);
		log_warning("store=%s opened read-only: %s", c->store, buf_text(read_only));
		return RC_OK;
	}
	if (rc)
		return rc_prefix(rc, why, "store \"%.200s\"", c->store);
	if (facts.if_none_match == OBJECT_S3_NO || facts.if_match == OBJECT_S3_NO)
		log_warning(
			"store=%s the S3 server ignores %s: a HEAD goes before each PUT, and the "
			"ledger alone keeps two writers apart",
			c->store,
			facts.if_none_match == OBJECT_S3_NO ? "If-None-Match" : "If-Match");
	return RC_OK;
}

static enum rc open_ledger(const struct config *c, struct stack_parts *p, enum stack_use use,
			   struct buf *read_only, struct why *why)
{
	enum rc rc = RC_NOT_FOUND;
	if (c->ro)
		buf_add_text(read_only, "opened with -o ro");
	if (c->ledger && p->info.has_uuid && p->info.layout == LAYOUT_NATIVE)
		rc = open_pg(c, p->info.uuid, &p->ledger, why);
	if (rc == RC_NOT_FOUND) {
		no_ledger(c, p, read_only);
		return RC_OK;
	}
	if (rc == RC_DENIED && !read_only->len)
		buf_printf(read_only, "its ledger can't be used: %s", why->text);
	if (rc && rc != RC_NO_MEMORY && (rc == RC_DENIED || c->ro)) {
		log_warning("store=%s opened without its ledger: %s", c->store, why->text);
		return RC_OK;
	}
	if (rc)
		return rc_prefix(rc, why, "ledger of \"%.200s\"", c->store);
	return read_only->len || use == STACK_LOOK ? RC_OK : learn(c, p, read_only, why);
}

/* --- making --- */

static enum rc need_ledger(const struct config *c, struct why *why)
{
	return c->ledger
		       ? RC_OK
		       : rc_fail(RC_INVALID, why,
				 "no ledger is configured for \"%.200s\": set POSTGRES_URL, or "
				   "name "
				 "it by -o ledger=",
				 c->store);
}

/*
 * Before anything is made: can the ledger take a new store? No store has the uuid that it is asked
 * for, so that it must not be found.
 */
static enum rc can_take_store(const struct config *c, struct why *why)
{
	char uuid[37];
	_cleanup_(ledger_freep) struct ledger *l = NULL;
	enum rc rc = need_ledger(c, why);
	if (rc)
		return rc;
	clock_uuid(uuid);
	rc = open_pg(c, uuid, &l, why);
	if (rc == RC_NOT_FOUND)
		return RC_OK;
	return rc_prefix(rc ? rc : RC_INVALID, why, "ledger of \"%.200s\"", c->store);
}

static enum rc make(const struct config *c, struct stack_parts *p, struct why *why)
{
	enum rc rc = need_ledger(c, why);
	if (rc == RC_OK)
		rc = new_objects(c, p, why);
	if (rc)
		return rc;
	rc = object_s3_reach(p->objects, why);
	if (rc != RC_NOT_FOUND)
		return rc ? rc_prefix(rc, why, "store \"%.200s\"", c->store) : RC_OK;
	rc = can_take_store(c, why);
	if (rc)
		return rc;
	rc = object_s3_make(p->objects, why);
	if (rc == RC_OK)
		log_info("bucket=%s made", c->bucket);
	return rc && rc != RC_EXISTS ? rc_prefix(rc, why, "store \"%.200s\"", c->store) : RC_OK;
}

struct first {
	bool found;
	char key[200];
};

static bool take_first(void *arg, const struct object_info *info)
{
	struct first *first = arg;
	first->found = true;
	strncat(first->key, info->key, sizeof(first->key) - 1);
	return false;
}

static enum rc check_empty(const struct config *c, struct stack_parts *p, struct why *why)
{
	struct first first = { .found = false };
	enum rc rc =
		object_list(p->objects, "", NULL, OBJECT_LIST_SHALLOW, take_first, &first, why);
	if (rc)
		return rc_prefix(rc, why, "store \"%.200s\"", c->store);
	if (first.found)
		return rc_fail(RC_EXISTS, why,
			       "\"%.100s\" is not empty and is not a store: it holds \"%.100s\"; a "
			       "prefix may keep them apart, as in \"%.100s/events\"",
			       c->store, first.key, c->store);
	return can_take_store(c, why);
}

static enum rc find_ledger(const struct config *c, struct stack_parts *p, enum stack_ledger *out,
			   struct why *why)
{
	enum rc rc = need_ledger(c, why);
	if (rc)
		return rc;
	*out = STACK_LEDGER_NONE;
	if (!p->info.has_uuid)
		return RC_OK;
	rc = open_pg(c, p->info.uuid, &p->ledger, why);
	if (rc == RC_NOT_FOUND)
		return RC_OK;
	if (rc)
		return rc_prefix(rc, why, "ledger of \"%.200s\"", c->store);
	*out = STACK_LEDGER_HALF;
	if (!stack_is_half_made(p->ledger)) {
		*out = STACK_LEDGER_GOOD;
		ledger_free(&p->ledger);
	}
	return RC_OK;
}

static enum rc make_ledger(const struct config *c, struct stack_parts *p, struct why *why)
{
	struct ledger_pg_options o;
	stack_s3_ledger_options(c, p->info.uuid, &o);
	enum rc rc = ledger_pg_create(&o, why);
	return rc ? rc : open_pg(c, p->info.uuid, &p->ledger, why);
}

static enum rc refuse_ledger(const struct config *c, const struct stack_parts *p, struct why *why)
{
	(void)p;
	return rc_fail(RC_EXISTS, why,
		       "\"%.200s\" has a ledger already; 'evfsctl reindex %.200s' rebuilds it",
		       c->store, c->store);
}

const struct stack_kind stack_s3_kind = {
	.open = open_objects,
	.open_ledger = open_ledger,
	.make = make,
	.check_empty = check_empty,
	.find_ledger = find_ledger,
	.make_ledger = make_ledger,
	.refuse_ledger = refuse_ledger,
};
