/* SPDX-License-Identifier: Apache-2.0 */
/* stack-check.c - a look at each part of a store, for doctor. */
#include <config.h>
#include "setup/stack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "setup/conninfo.h"
#include "setup/stack-s3.h"

#define LITTLE_SPACE (UINT64_C(100) << 20)
#define CLOCK_DUBIOUS_US 5000000 /* more than clocks that are kept differ by */
#define CLOCK_BROKEN_US 900000000 /* requests are refused by then */

struct check {
	const struct config *c;
	stack_check_fn *fn;
	void *arg;
	struct object_store *objects;
	struct ledger *ledger;
	struct layout_store info;
};

static void check_release(struct check *k)
{
	ledger_free(&k->ledger);
	object_free(&k->objects);
}

static void tell(struct check *k, const char *name, int verdict, const char *fix, const char *fmt,
		 ...) _printf_(5, 6);
static void tell(struct check *k, const char *name, int verdict, const char *fix, const char *fmt,
		 ...)
{
	char found[sizeof(((struct why *)0)->text) + 200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(found, sizeof(found), fmt, ap);
	va_end(ap);
	struct stack_finding f = { .name = name,
				   .found = found,
				   .fix = verdict == STACK_FINE ? "" : fix };
	f.verdict = verdict;
	k->fn(k->arg, &f);
}

/* --- what both kinds have --- */

/* False: there is no store to look at. */
static bool check_store(struct check *k)
{
	struct why why = { "" };
	char fix[300];
	enum rc rc = layout_probe(k->objects, &k->info, &why);
	snprintf(fix, sizeof(fix),
		 rc == RC_NOT_FOUND ? "evfsctl init %s" : "look at %s/.evfs/store.json",
		 k->c->store);
	if (rc)
		tell(k, "store", STACK_BROKEN, fix, "%s", why.text);
	else if (k->info.layout == LAYOUT_INDEXED)
		tell(k, "store", STACK_DUBIOUS, "this version reads this layout only",
		     "indexed layout, read-only");
	else if (!k->info.has_uuid)
		tell(k, "store", STACK_DUBIOUS, "to write, give it one by evfsctl init --adopt",
		     "native layout, no .evfs/store.json: read-only");
	else
		tell(k, "store", STACK_FINE, "", "native layout, uuid %s", k->info.uuid);
	return rc == RC_OK;
}

/* Do bucket and ledger know each other? */
static void check_seeding(struct check *k)
{
	struct layout_seeding bucket;
	struct ledger_state state = { .count = true };
	struct why why = { "" };
	enum rc rc = ledger_state(k->ledger, &state, &why);
	if (rc == RC_OK)
		rc = layout_read_seeding(k->objects, &bucket, &why);
	if (rc)
		tell(k, "seeding", STACK_BROKEN, "see the ledger's and the bucket's lines", "%s",
		     why.text);
	else if (strcmp(state.uuid, k->info.uuid))
		tell(k, "seeding", STACK_BROKEN, "name the ledger that belongs to this store",
		     "the ledger is of store %s, the objects are of %s", state.uuid, k->info.uuid);
	else if (strcmp(state.identity, state.written) || bucket.number != state.seeding)
		tell(k, "seeding", STACK_DUBIOUS,
		     "a mount seeds it by itself; or evfsctl init --adopt, with progress",
		     "the ledger is new or was put back: it waits to be seeded (ledger %" PRIu64
		     ", objects %" PRIu64 ")",
		     state.seeding, bucket.number);
	else if (!state.complete)
		tell(k, "seeding", STACK_DUBIOUS,
		     "a mount goes on with it; or evfsctl init --adopt, with progress",
		     "seeding %" PRIu64 " is under way, %" PRIu64 " streams are known to wait",
		     state.seeding, state.unseeded);
	else
		tell(k, "seeding", STACK_FINE, "",
		     "seeding %" PRIu64 " is complete, %" PRIu64 " streams", state.seeding,
		     state.streams);
	if (rc == RC_OK && state.late)
		tell(k, "pending", STACK_DUBIOUS,
		     "a mount delivers them; why not, its .evfs/errors or its log says",
		     "%" PRIu64 " appends wait since more than a minute to be stored", state.late);
}

/* --- a directory --- */

static void check_space(struct check *k, const char *path)
{
	struct statvfs fs;
	if (statvfs(path, &fs))
		return;
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	tell(k, "space", free_bytes < LITTLE_SPACE || !fs.f_favail ? STACK_DUBIOUS : STACK_FINE,
	     "make room", "%" PRIu64 " MiB free, %" PRIu64 " files", free_bytes >> 20,
	     (uint64_t)fs.f_favail);
}

static void check_directory(struct check *k)
{
	const struct config *c = k->c;
	_cleanup_(freep) char *path = realpath(c->store, NULL);
	_cleanup_(buf_release) struct buf ledger = BUF_INIT;
	struct why why = { "" };
	if (!path || object_dir_new(&k->objects, path, &why)) {
		tell(k, "directory", STACK_BROKEN, "name a directory, or make one: evfsctl init",
		     "\"%s\": %s", c->store, path ? why.text : strerror(errno));
		return;
	}
	if (access(path, W_OK | X_OK))
		tell(k, "directory", STACK_DUBIOUS, "give this user permission, to write",
		     "\"%s\" can't be written: %s", path, strerror(errno));
	else
		tell(k, "directory", STACK_FINE, "", "\"%s\" can be written", path);
	check_space(k, path);
	if (!check_store(k))
		return;

	buf_printf(&ledger, "%s/.evfs/ledger.db", path);
	if (buf_failed(&ledger))
		return;
	enum rc rc = ledger_sqlite_open(&k->ledger, buf_text(&ledger), k->info.uuid, &why);
	if (rc == RC_NOT_FOUND)
		tell(k, "ledger", STACK_DUBIOUS, "evfsctl init --adopt makes one",
		     "there is none: read-only");
	else if (rc)
		tell(k, "ledger", STACK_BROKEN,
		     rc == RC_DENIED ? "give this user permission"
				     : "move it away, then evfsctl init --adopt",
		     "%s", why.text);
	else
		tell(k, "ledger", STACK_FINE, "", "SQLite %s, \"%s\"", ledger_sqlite_version(),
		     buf_text(&ledger));
	if (rc == RC_OK)
		check_seeding(k);
}

/* --- a bucket --- */

static bool check_credentials(struct check *k, const struct object_s3_options *o)
{
	struct why why = { "" };
	struct s3_cred *cred = NULL;
	enum rc rc = s3_cred_new(&cred, &o->cred, &why);
	if (rc)
		tell(k, "credentials", STACK_BROKEN,
		     "set MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or what the AWS tools use", "%s",
		     why.text);
	else if (!k->c->access_key != !k->c->secret_key)
		tell(k, "credentials", STACK_DUBIOUS, "give both or none",
		     "%s is given alone and not used; from %s",
		     k->c->access_key ? "access_key" : "secret_key", s3_cred_source(cred));
	else
		tell(k, "credentials", STACK_FINE, "", "from %s", s3_cred_source(cred));
	s3_cred_free(&cred);
	return rc == RC_OK;
}

static void check_tls(struct check *k)
{
	const struct config *c = k->c;
	bool plain = c->endpoint && !strncmp(c->endpoint, "http://", 7);
	if (plain && c->require_tls)
		tell(k, "TLS", STACK_BROKEN, "name an https:// endpoint", "required, and not used");
	else if (plain)
		tell(k, "TLS", STACK_DUBIOUS,
		     "name an https:// endpoint, unless the way there is your own",
		     "not used: who can listen reads the events");
	else if (!c->verify)
		tell(k, "TLS", STACK_DUBIOUS,
		     "name the server's authority by -o ca=, not verify=no",
		     "the server's certificate is not checked");
	else
		tell(k, "TLS", STACK_FINE, "", "certificates of %s",
		     c->ca ? c->ca : "the system's authorities");
}

/* False: there is no bucket to look at. */
static bool check_bucket(struct check *k)
{
	struct why why = { "" };
	char fix[300];
	uint64_t began = clock_boot_ms();
	const char *endpoint = k->c->endpoint ? k->c->endpoint : "Amazon S3";
	enum rc rc = object_s3_reach(k->objects, &why);
	bool there = rc == RC_OK || rc == RC_NOT_FOUND || rc == RC_DENIED || rc == RC_INVALID;
	if (there) {
		tell(k, "endpoint", STACK_FINE, "", "%s answers, after %" PRIu64 " ms", endpoint,
		     clock_boot_ms() - began);
		check_tls(k);
	} else if (strstr(why.text, "SSL") || strstr(why.text, "certificate")) {
		tell(k, "TLS", STACK_BROKEN,
		     "name its authority by -o ca=, and the host as its certificate does", "%s: %s",
		     endpoint, why.text);
	} else {
		tell(k, "endpoint", STACK_BROKEN,
		     "is the address right, does the server run, is a firewall between?", "%s: %s",
		     endpoint, why.text);
	}
	snprintf(fix, sizeof(fix), "evfsctl init %s makes it", k->c->store);
	if (rc == RC_OK)
		tell(k, "bucket", STACK_FINE, "", "\"%s\" is there%s%s", k->c->bucket,
		     k->c->region ? ", region " : "", k->c->region ? k->c->region : "");
	else if (there)
		tell(k, "bucket", STACK_BROKEN,
		     rc == RC_NOT_FOUND ? fix
		     : rc == RC_DENIED
			     ? "are these the right keys, and does their policy allow this "
			       "bucket (doc/s3-policy.json)?"
			     : "set the region, and the address that belongs to it",
		     "%s", why.text);
	return rc == RC_OK;
}

static const char *condition_name(const struct object_s3_facts *facts)
{
	bool put = facts->if_none_match == OBJECT_S3_NO, replace = facts->if_match == OBJECT_S3_NO;
	return put && replace ? "If-None-Match and If-Match" : put ? "If-None-Match" : "If-Match";
}

static void check_server(struct check *k)
{
	struct object_s3_facts facts;
	struct why why = { "" };
	enum rc rc = object_s3_learn(k->objects, !k->c->ro, &facts, &why);
	if (rc) {
		tell(k, "write", STACK_BROKEN,
		     "does the policy allow s3:PutObject (doc/s3-policy.json)? -o ro looks without "
		     "writing",
		     "%s", why.text);
		return;
	}
	if (*facts.server)
		tell(k, "server", STACK_FINE, "", "%s", facts.server);
	if (facts.versioning == OBJECT_S3_UNKNOWN)
		tell(k, "versioning", STACK_DUBIOUS,
		     "allow s3:GetBucketVersioning, or look yourself", "it can't be seen");
	else
		tell(k, "versioning",
		     facts.versioning == OBJECT_S3_YES ? STACK_FINE : STACK_DUBIOUS,
		     "turn it on: it keeps what somebody overwrites or deletes", "%s",
		     facts.versioning == OBJECT_S3_YES ? "on" : "off");
	if (facts.if_none_match == OBJECT_S3_NO || facts.if_match == OBJECT_S3_NO)
		tell(k, "conditional PUT", STACK_DUBIOUS,
		     "a server that knows it is safer and faster: without it a HEAD goes before "
		     "each PUT",
		     "%s has no effect", condition_name(&facts));
	else if (facts.if_none_match == OBJECT_S3_YES)
		tell(k, "conditional PUT", STACK_FINE, "", "is heeded");

	int64_t off = facts.skew_us < 0 ? -facts.skew_us : facts.skew_us;
	tell(k, "clock",
	     off >= CLOCK_BROKEN_US    ? STACK_BROKEN
	     : off >= CLOCK_DUBIOUS_US ? STACK_DUBIOUS
				       : STACK_FINE,
	     "keep the clocks right (chrony, systemd-timesyncd)",
	     "the server's differs by %.1f s from this machine's", (double)facts.skew_us / 1e6);
}

/* A remedy beside a good result is a warning; so is what only an append needs, under -o ro. */
static void tell_pg(void *arg, const char *name, enum rc rc, const char *found, const char *fix)
{
	struct check *k = arg;
	bool has_fix = fix && *fix;
	bool reads = k->c->ro && rc == RC_DENIED && !strcmp(name, "ledger rights");
	tell(k, name,
	     rc && !reads	? STACK_BROKEN
	     : reads || has_fix ? STACK_DUBIOUS
				: STACK_FINE,
	     has_fix ? fix : "", "%s", found ? found : rc_name(rc));
}

static void check_pg(struct check *k, bool has_store)
{
	struct ledger_pg_options o;
	struct why why = { "" }, warning = { "" };
	_cleanup_(buf_release) struct buf address = BUF_INIT;
	if (!k->c->ledger) {
		tell(k, "ledger", STACK_DUBIOUS,
		     "set POSTGRES_URL, or name it by -o ledger=", "none is configured: read-only");
		return;
	}
	conninfo_print(k->c->ledger, &address);
	tell(k, "ledger", STACK_FINE, "", "%s, schema %s", buf_text(&address), k->c->schema);
	stack_s3_ledger_options(k->c, has_store ? k->info.uuid : NULL, &o);
	ledger_pg_check(&o, tell_pg, k);
	if (!has_store || k->info.layout != LAYOUT_NATIVE || !k->info.has_uuid)
		return;
	enum rc rc = ledger_pg_open(&k->ledger, &o, &warning, &why);
	if (rc)
		tell(k, "seeding", STACK_BROKEN,
		     rc == RC_NOT_FOUND
			     ? "evfsctl init makes it, evfsctl init --adopt from the objects"
			     : "see the ledger's lines",
		     "%s", why.text);
	else
		check_seeding(k);
}

static void check_s3(struct check *k)
{
	struct object_s3_options o;
	struct why why = { "" };
	stack_s3_object_options(k->c, &o);
	bool known = check_credentials(k, &o), has_store = false;
	if (known && object_s3_new(&k->objects, &o, &why)) {
		tell(k, "endpoint", STACK_BROKEN, "see evfs(1), endpoint and require_tls", "%s",
		     why.text);
		known = false;
	}
	if (known && check_bucket(k)) {
		check_server(k);
		has_store = check_store(k);
	}
	check_pg(k, has_store);
}

void stack_check(const struct config *c, stack_check_fn *fn, void *arg)
{
	_cleanup_(check_release) struct check k = { .c = c, .fn = fn, .arg = arg };
	if (config_is_s3(c))
		check_s3(&k);
	else
		check_directory(&k);
}
