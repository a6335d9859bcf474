/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE option table, and what a row of it can do, for config.c; and the search for the nearest
 * word, for all who name words. Threads: none.
 */
#ifndef EVFS_SETUP_OPTION_H
#define EVFS_SETUP_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "setup/config.h"

enum option_type {
	OPTION_FLAG,
	OPTION_SIZE,
	OPTION_DURATION,
	OPTION_COUNT,
	OPTION_ENUM,
	OPTION_PATH,
	OPTION_TEXT
};

struct option {
	const char *key, *env;
	/* Other environment names; NULL: none. The first one set wins, env before them. */
	const char *const *also;
	enum option_type type;
	/* Of stores in S3 alone; others refuse it as -o, and pass it over elsewhere. */
	bool s3;
	/* Of evfs-publisher alone, in the same way. */
	bool publisher;
	bool secret;		/* not as -o, never printed */
	size_t offset;		/* in struct config */
	const char *fallback;	/* NULL: none */
	const char *help;
	const char *const *names;	/* OPTION_ENUM */
	uint64_t min, max;	/* of a size, a duration (ms), a count */
};

extern const struct option option_table[];
extern const size_t option_count;

/* NULL: no such option. */
const struct option *option_by_key(const char *key);
/* *rank_r: 0 for the name that wins over the others, and so on. */
const struct option *option_by_env(const char *env, unsigned *rank_r);
/* RC_INVALID with the nearest key, or environment name. */
enum rc option_unknown(const char *word, bool env, struct why *why) _must_check_;

/* Set it in c from text (NULL: stands without '='). RC_INVALID says what is expected. */
enum rc option_set(struct config *c, const struct option *o, const char *text,
		   enum config_origin origin, struct why *why) _must_check_;
/* Wipe and free what the value owns. */
void option_release(struct config *c, const struct option *o);
/* False: it has no value. */
bool option_is_set(const struct config *c, const struct option *o);
/* Append the value as option_set reads it, paths and texts in quotes. Not for secrets. */
void option_print(const struct config *c, const struct option *o, struct buf *out);
/* Append a text in quotes, as a file has it. */
void option_print_text(const char *text, struct buf *out);

/* *out (freed before) becomes path, from the root; without "." and ".." where it exists. */
enum rc option_absolute(const char *path, char **out, struct why *why) _must_check_;

/* The candidate nearest to word by edit distance, NULL if none is near. */
const char *option_nearest(const char *word, const char *const *candidates, size_t n);

#endif
