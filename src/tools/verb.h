/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verb of evfsctl: what it takes, what it does; and what all verbs share: the command line,
 * opening the store, failing with a line and an exit status. Threads: none.
 */
#ifndef EVFS_TOOLS_VERB_H
#define EVFS_TOOLS_VERB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "setup/config.h"
#include "setup/stack.h"
#include "store/store.h"

#define VERB_OPTIONS_MAX 8
#define VERB_WORDS_MAX 2

enum verb_status {
	VERB_DONE = 0,
	VERB_FAILED = 1,
	VERB_USAGE = 2,
	VERB_CONFLICT = 4,	/* expected sequence, or number or id taken */
	VERB_RETRY = 5,		/* the same call may be repeated */
	VERB_FOUND = 6,		/* verify found something */
};

struct verb_option {
	const char *name;	/* "--expect"; NULL ends the list */
	const char *arg;	/* name of its value in the help; NULL: it has none */
	const char *help;
};

/* One call of a verb: its words and options. */
struct verb_call {
	const struct verb *verb;
	struct config config;
	const char *words[VERB_WORDS_MAX];	/* behind STORE */
	size_t n_words;
	/* As verb->options; NULL: not given; "" where it has no value. */
	const char *given[VERB_OPTIONS_MAX];
	bool json;
};

struct verb {
	const char *name;
	const char *words_help;		/* "STREAM TYPE": what may stand behind STORE */
	const char *help;		/* what it does, lines */
	const struct verb_option *options;	/* beside --json, -o, --help */
	bool has_json;
	bool only_looks;		/* appends nothing */
	bool publisher;			/* takes the publisher's options, too */
	enum verb_status (*run)(struct verb_call *call);
};

/* All verbs. */
extern const struct verb verb_init, verb_append, verb_read, verb_tail, verb_ls, verb_verify, verb_reindex;
extern const struct verb verb_doctor, verb_status_store, verb_publisher;

/* The one place where a result becomes an exit status. */
enum verb_status verb_status(enum rc rc);
/* Say why in a line on stderr, with --json also as an object on stdout. The exit status. */
enum verb_status verb_fail(const struct verb_call *call, enum rc rc, const struct why *why);
/* Wrong use: say so with the verb's synopsis. */
enum verb_status verb_usage(const struct verb_call *call, const char *fmt, ...) _printf_(2, 3);

/* Run verb with the words behind its name. */
enum verb_status verb_main(const struct verb *verb, int argc, char *const *argv);

/* Open the store for one-shot use. *status_r is set where it fails; the reason was told. */
enum rc verb_open(struct verb_call *call, struct store **out, enum verb_status *status_r)
	_must_check_;

/* An option's value as a number from 0 to 2^63-1. False: another form, and that was told. */
bool verb_number(const struct verb_call *call, size_t option, uint64_t *out);

#endif
