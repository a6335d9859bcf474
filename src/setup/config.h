/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: one table of options (option.h) feeds the command line, the environment,
 * -o config=FILE, --help and /.evfs/config (design.md 12).
 *
 * Order, the later one wins: built-in, file, environment, command line. Does not: open or check
 * what is named. Threads: none; a finished configuration is only read.
 */
#ifndef EVFS_SETUP_CONFIG_H
#define EVFS_SETUP_CONFIG_H

/* autoconf's config.h: in this folder "config.h" is this file. */
#include <config.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/rc.h"
#include "object/object-s3.h"
#include "store/store.h"

#define CONFIG_OPTIONS_MAX 64	/* room for what the table may hold */

#define CONFIG_POSTGRES 5	/* parts of which a ledger's address can be built */

enum config_origin { CONFIG_BUILT_IN, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_COMMAND_LINE };

struct config {
	/* What the command line names beside options. Texts are the struct's own. */
	char *store;	/* STORE, an absolute path or s3://BUCKET[/PREFIX]; NULL: not given */
	char *bucket, *prefix;	/* of the latter; prefix: "" or ends in '/'. NULL: a directory */
	char *mountpoint;	/* an absolute path; NULL: not given */
	bool foreground;	/* -f, -d */
	bool help, version;	/* asked for: nothing else was checked */
	bool publisher;		/* set it after config_init: the publisher's options are taken */

	/* The options, by their -o keys; help texts are in the table. */
	enum store_ack ack;
	uint64_t timeout_ms, fresh_ms, gap_wait_ms;
	uint64_t max_event;
	uint64_t max_threads;
	bool restore, ro, create, list_streams, allow_other;
	char *cache; /* directory of the catalogs, from the root; NULL: keep them in memory */
	char *config;		/* the file that was read; NULL: none */
	enum log_level log;
	/* of stores in S3; NULL: not given */
	char *ledger;		/* for libpq; NULL: none is configured. May hold a password */
	char *schema, *default_bucket;
	char *endpoint;		/* with http:// or https:// */
	char *access_key, *secret_key, *region, *profile;
	enum object_s3_style addressing;
	char *ca;
	bool verify, require_tls;
	uint64_t parallel;
	char *metrics;		/* HOST:PORT; NULL: none */
	/* the publisher's; texts NULL: not given */
	char *kafka, *properties, *sink, *checkpoint, *start;
	char *default_topic, *dlq_topic;
	enum config_shape { CONFIG_SHAPE_EVENT, CONFIG_SHAPE_WRAPPER } shape;
	enum config_large { CONFIG_LARGE_DLQ, CONFIG_LARGE_REFERENCE } large;
	unsigned partitioner;	/* its name: config_name(c, "partitioner") */
	bool cloud_events, s3_reference, create_topics;
	uint64_t partitions, replication;
	uint64_t poll_ms, save_ms, lease_ms, flush_ms;
	uint64_t window;

	/* Private: -o lists until config_finish, and where each option's value comes from. */
	struct buf lists;
	enum config_origin origin[CONFIG_OPTIONS_MAX];
	unsigned rank[CONFIG_OPTIONS_MAX];	/* by which of its names (option_by_env) */
	char *postgres[CONFIG_POSTGRES];	/* POSTGRES_HOST and its like */
};

/* Is STORE a bucket? */
static inline bool config_is_s3(const struct config *c)
{
	return c->store && !strncmp(c->store, "s3://", 5);
}

/* Built-in values. RC_NO_MEMORY. Release in any case. */
enum rc config_init(struct config *c, struct why *why) _must_check_;
void config_release(struct config *c);

/*
 * A whole command line of the mount: evfs STORE MOUNTPOINT [-f] [-d] [-o LIST]… [-h|--help]
 * [-V|--version], words in any order, also as mount(8) and mount.fuse3 call it. c is initialised
 * by this call, and finished unless help or version was asked for. RC_INVALID: wrong use, said in
 * one line. Release in any case.
 */
enum rc config_parse(struct config *c, int argc, char *const *argv, struct why *why) _must_check_;

/* For other programs, piece by piece: config_init, then these, then config_finish. */
/*
 * STORE: "./dir", "/dir", "file:///dir", "s3://bucket/prefix"; "s3://" alone is completed by
 * config_finish. RC_INVALID for anything else.
 */
enum rc config_set_store(struct config *c, const char *text, struct why *why) _must_check_;
/* Remember the options of one -o LIST ("a=b,c"). Commas inside of a value are written "\,". */
enum rc config_add_list(struct config *c, const char *list, struct why *why) _must_check_;
/*
 * Read file and environment, apply them and the lists in the order above. RC_INVALID: an unknown
 * option (with the nearest known one), or a bad value (with what is expected); a secret on the
 * command line; an option of stores in S3 where STORE is none. RC_NOT_FOUND, RC_DENIED: the file.
 */
enum rc config_finish(struct config *c, struct why *why) _must_check_;

/* Append the lines of the option table for --help: the publisher's too, or not. */
void config_help(bool publisher, struct buf *out);
/*
 * Append the configuration as a file that -o config= reads, without secrets; comments say where
 * values come from.
 */
void config_print(const struct config *c, struct buf *out);

/* The name of an option's value out of a list of names ("partitioner"). Never NULL. */
const char *config_name(const struct config *c, const char *key);

/* True where nobody named the option with this key. */
bool config_is_built_in(const struct config *c, const char *key);

#endif
