/* SPDX-License-Identifier: Apache-2.0 */
/* verb.c - what the verbs share. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "setup/option.h"
#include "tools/output.h"

enum verb_status verb_status(enum rc rc)
{
	switch (rc) {
	case RC_OK:
		return VERB_DONE;
	case RC_EXISTS:
	case RC_CONFLICT:
		return VERB_CONFLICT;
	case RC_TEMPORARY:
	case RC_UNCERTAIN:
	case RC_FENCED:
		return VERB_RETRY;
	case RC_NOT_FOUND:
	case RC_INVALID:
	case RC_DENIED:
	case RC_CORRUPT:
	case RC_TOO_LARGE:
	case RC_NO_SPACE:
	case RC_NO_MEMORY:
	case RC_CANCELLED:
		return VERB_FAILED;
	}
	return VERB_FAILED;
}

enum verb_status verb_fail(const struct verb_call *call, enum rc rc, const struct why *why)
{
	const char *text = *why->text ? why->text : rc_name(rc);
	fprintf(stderr, "evfsctl %s: %s\n", call->verb->name, text);
	if (call->json) {
		_cleanup_(buf_release) struct buf line = BUF_INIT;
		buf_add_text(&line, "{\"error\":");
		json_quote(rc_name(rc), strlen(rc_name(rc)), &line);
		buf_add_text(&line, ",\"reason\":");
		/* A reason may end inside of a character, where its room ended. */
		json_quote(text, json_utf8(text, strlen(text)), &line);
		buf_add_text(&line, "}\n");
		output_buf(&line);
	}
	return verb_status(rc);
}

static void print_synopsis(const struct verb *v, FILE *f)
{
	fprintf(f, "usage: evfsctl %s STORE", v->name);
	if (*v->words_help)
		fprintf(f, " %s", v->words_help);
	for (const struct verb_option *o = v->options; o->name; o++)
		fprintf(f, " [%s%s%s]", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	fprintf(f, "%s [-o LIST]\n", v->has_json ? " [--json]" : "");
}

enum verb_status verb_usage(const struct verb_call *call, const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "evfsctl %s: ", call->verb->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	print_synopsis(call->verb, stderr);
	return VERB_USAGE;
}

static void print_help(const struct verb *v)
{
	_cleanup_(buf_release) struct buf options = BUF_INIT;
	print_synopsis(v, stdout);
	printf("\n%s\n", v->help);
	if (v->options->name || v->has_json)
		printf("\n");
	for (const struct verb_option *o = v->options; o->name; o++)
		printf("    %-12s %-8s %s\n", o->name, o->arg ? o->arg : "", o->help);
	if (v->has_json)
		printf("    %-12s %-8s %s\n", "--json", "", "answer in JSON, an object a line");
	config_help(v->publisher, &options);
	printf("\n-o LIST takes of these what concerns the verb, separated by commas:\n%s",
	       buf_text(&options));
}

/* --- the command line --- */

/* Which of the verb's options word is: its index, or -1. */
static int find_option(const struct verb *v, const char *word, size_t len)
{
	for (int i = 0; v->options[i].name; i++)
		if (strlen(v->options[i].name) == len && !memcmp(v->options[i].name, word, len))
			return i;
	return -1;
}

static enum verb_status unknown(const struct verb_call *call, const char *word)
{
	const char *known[VERB_OPTIONS_MAX + 3] = { "--help", "-o" };
	size_t n = 2;
	for (const struct verb_option *o = call->verb->options; o->name; o++)
		known[n++] = o->name;
	if (call->verb->has_json)
		known[n++] = "--json";
	const char *nearest = option_nearest(word, known, n);
	if (nearest)
		return verb_usage(call, "unknown option \"%s\"; the nearest known one is \"%s\"",
				  word, nearest);
	return verb_usage(call, "unknown option \"%s\"", word);
}

/* The option at argv[*i], and its value, which may be the next word. */
static enum verb_status parse_option(struct verb_call *call, int argc, char *const *argv, int *i)
{
	const char *word = argv[*i], *equals = strchr(word, '=');
	struct why why;
	if (!strncmp(word, "-o", 2)) {
		const char *list = word[2] ? word + 2 : *i + 1 < argc ? argv[++*i] : NULL;
		if (!list)
			return verb_usage(call, "-o needs a list of options");
		if (config_add_list(&call->config, list, &why))
			return verb_fail(call, RC_NO_MEMORY, &why);
		return VERB_DONE;
	}
	if (call->verb->has_json && !strcmp(word, "--json")) {
		call->json = true;
		return VERB_DONE;
	}
	int option = find_option(call->verb, word, equals ? (size_t)(equals - word) : strlen(word));
	if (option < 0)
		return unknown(call, word);
	const struct verb_option *o = &call->verb->options[option];
	if (!o->arg && equals)
		return verb_usage(call, "%s takes no value", o->name);
	const char *value = !o->arg ? "" : equals ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
	if (!value)
		return verb_usage(call, "%s needs a value: %s", o->name, o->arg);
	call->given[option] = value;
	return VERB_DONE;
}

static enum verb_status take_word(struct verb_call *call, const char *word)
{
	struct why why;
	if (!call->config.store) {
		enum rc rc = config_set_store(&call->config, word, &why);
		return rc ? verb_usage(call, "%s", why.text) : VERB_DONE;
	}
	if (call->n_words == VERB_WORDS_MAX)
		return verb_usage(call, "one word too many: \"%s\"", word);
	call->words[call->n_words++] = word;
	return VERB_DONE;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static enum verb_status parse_words(struct verb_call *call, int argc, char *const *argv)
{
	bool words_only = false;
	enum verb_status status = VERB_DONE;
	for (int i = 0; i < argc && !status && !call->config.help; i++) {
		const char *word = argv[i];
		if (words_only || *word != '-' || !word[1])
			status = take_word(call, word);
		else if (!strcmp(word, "--"))
			words_only = true;
		else if (is_help(word))
			call->config.help = true;
		else
			status = parse_option(call, argc, argv, &i);
	}
	if (!status && !call->config.help && !call->config.store)
		status = verb_usage(call, "expected STORE");
	return status;
}

static void release_call(struct verb_call *call)
{
	config_release(&call->config);
}

enum verb_status verb_main(const struct verb *verb, int argc, char *const *argv)
{
	_cleanup_(release_call) struct verb_call call = { .verb = verb };
	struct why why = { "" };
	enum rc rc = config_init(&call.config, &why);
	if (rc)
		return verb_fail(&call, rc, &why);
	call.config.publisher = verb->publisher;
	enum verb_status status = parse_words(&call, argc, argv);
	if (status)
		return status;
	if (call.config.help) {
		print_help(verb);
		return output_end(VERB_DONE);
	}
	rc = config_finish(&call.config, &why);
	if (rc == RC_INVALID)
		return verb_usage(&call, "%s", why.text);
	if (rc)
		return verb_fail(&call, rc, &why);
	/* A tool that does one thing says what went wrong, and no more unless it is asked to. */
	bool quiet = config_is_built_in(&call.config, "log");
	log_open("evfsctl", quiet ? LOG_LEVEL_WARNING : call.config.log, false);
	return output_end(verb->run(&call));
}

/* --- for the verbs --- */

enum rc verb_open(struct verb_call *call, struct store **out, enum verb_status *status_r)
{
	struct why why = { "" };
	enum stack_use use = call->verb->only_looks ? STACK_LOOK : STACK_ONCE;
	enum rc rc = stack_open(out, &call->config, use, &why);
	if (rc)
		*status_r = verb_fail(call, rc, &why);
	return rc;
}

bool verb_number(const struct verb_call *call, size_t option, uint64_t *out)
{
	const char *text = call->given[option];
	struct json_value value = { JSON_NUMBER, text, strlen(text) };
	bool digits = *text && strspn(text, "0123456789") == value.len;
	if (digits && json_u64(&value, out))
		return true;
	verb_usage(call, "%s: expected a number, found \"%s\"", call->verb->options[option].name,
		   text);
	return false;
}
