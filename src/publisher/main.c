/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - evfs-publisher STORE: parse, check, open, publish, close. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "event/time.h"
#include "publisher/property.h"
#include "publisher/publisher-metrics.h"
#include "publisher/publisher.h"
#include "publisher/target.h"
#include "setup/config.h"
#include "setup/option.h"
#include "setup/stack.h"

#define USAGE \
	"usage: evfs-publisher STORE [--once] [--dry-run] [--from WHEN] [--reconcile] [--sink SINK]\n" \
	"                      [--shape SHAPE] [-X NAME=VALUE]... [-d] [-o OPTION[,OPTION]...]\n"
#define EXIT_USAGE 2

/* What the command line says. */
struct call {
	struct config config;
	struct property_list properties;
	const char **words;		/* of -X: they go before what a file says */
	size_t n_words;
	bool once, dry_run, reconcile, help, version;
	const char *from;	/* NULL: as "checkpoint" */
};

/* Everything that publishes. */
struct run {
	const struct call *call;
	struct publisher_options options;
	struct target target;
};

static struct publisher *stopped_by_signal;

static int complain(const struct why *why)
{
	fprintf(stderr, "evfs-publisher: %s\n", why->text);
	return EXIT_FAILURE;
}

static int print_help(void)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	buf_add_text(&text, USAGE
		     "Publish the events of STORE, a directory or s3://BUCKET[/PREFIX], to Kafka: each\n"
		     "stream in order, none lost, what can't be published in the DLQ topic.\n\n"
		     "  --once           publish what is there, and end\n"
		     "  --dry-run        say what would go where, send nothing, save nothing\n"
		     "  --from WHEN      begin at a time, like 2026-11-21T09:05:00Z, at the \"beginning\",\n"
		     "                   or at the \"checkpoint\" (where it was left: unless told otherwise)\n"
		     "  --reconcile      also compare the whole store with what was published\n"
		     "  --sink SINK      -o sink=SINK\n"
		     "  --shape SHAPE    -o shape=SHAPE\n"
		     "  -X NAME=VALUE    a property of librdkafka\n"
		     "  -X @FILE         many of them, a line each\n"
		     "  -d               log everything\n"
		     "  -o OPTION,...    see below\n"
		     "  -h, --help       this text\n"
		     "  -V, --version    version, also of the libraries\n\n"
		     "Options:\n");
	config_help(true, &text);
	fputs(buf_text(&text), stdout);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int print_version(void)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	stack_versions(&text);
	printf("evfs-publisher %s (librdkafka %s, %s)\n", PACKAGE_VERSION, sink_kafka_version(), buf_text(&text));
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- the command line --- */

/* A value that is an option, too: a comma in it does not end it. */
static enum rc add_option(struct config *c, const char *key, const char *value, struct why *why)
{
	_cleanup_(buf_release) struct buf list = BUF_INIT;
	buf_printf(&list, "%s=", key);
	for (; *value; value++) {
		if (*value == ',' || *value == '\\')
			buf_add_char(&list, '\\');
		buf_add_char(&list, *value);
	}
	if (buf_failed(&list))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	return config_add_list(c, buf_text(&list), why);
}

static enum rc unknown(const char *word, struct why *why)
{
	static const char *const known[] = { "--once", "--dry-run", "--from", "--reconcile", "--sink",
					     "--shape", "--help", "--version" };
	const char *nearest = option_nearest(word, known, ARRAY_SIZE(known));
	return rc_fail(RC_INVALID, why, "unknown option \"%.64s\"; the nearest known one is \"%s\"", word, nearest ? nearest : "--help");
}

/* Is word this option, which takes a value? *value_r: behind '=', or the next word; NULL where there is none. */
static bool is_option(const char *word, const char *option, int argc, char *const *argv, int *i, const char **value_r)
{
	size_t n = strlen(option);
	bool is_short = option[1] != '-';
	if (strncmp(word, option, n) || (word[n] && word[n] != '=' && !is_short))
		return false;
	if (word[n])
		*value_r = word + n + (is_short ? 0 : 1);
	else
		*value_r = *i + 1 < argc ? argv[++*i] : NULL;
	return true;
}

static enum rc parse_value(struct call *call, int argc, char *const *argv, int *i, struct why *why)
{
	const char *word = argv[*i], *value;
	static const char *const known[] = { "-o", "-X", "--from", "--sink", "--shape" };
	size_t which = 0;
	while (which < ARRAY_SIZE(known) && !is_option(word, known[which], argc, argv, i, &value))
		which++;
	if (which == ARRAY_SIZE(known))
		return unknown(word, why);
	if (!value || !*value)
		return rc_fail(RC_INVALID, why, "%s needs a value", known[which]);
	if (which == 0)
		return config_add_list(&call->config, value, why);
	if (which == 1) {
		call->words[call->n_words++] = value;
		return RC_OK;
	}
	if (which > 2)
		return add_option(&call->config, known[which] + 2, value, why);
	call->from = value;
	return RC_OK;
}

static enum rc parse_word(struct call *call, int argc, char *const *argv, int *i, struct why *why)
{
	const char *word = argv[*i];
	const struct {
		const char *word, *other;
		bool *flag;
	} flags[] = {
		{ "--once", NULL, &call->once },	   { "--dry-run", NULL, &call->dry_run },
		{ "--reconcile", NULL, &call->reconcile }, { "--help", "-h", &call->help },
		{ "--version", "-V", &call->version },
	};
	for (size_t f = 0; f < ARRAY_SIZE(flags); f++)
		if (!strcmp(word, flags[f].word) || (flags[f].other && !strcmp(word, flags[f].other))) {
			*flags[f].flag = true;
			return RC_OK;
		}
	if (!strcmp(word, "-f"))	/* it stays in the foreground anyway */
		return RC_OK;
	if (!strcmp(word, "-d"))
		return config_add_list(&call->config, "log=debug", why);
	if (*word == '-' && word[1])
		return parse_value(call, argc, argv, i, why);
	if (call->config.store)
		return rc_fail(RC_INVALID, why, "expected one STORE, found also \"%.200s\"", word);
	return config_set_store(&call->config, word, why);
}

static enum rc parse(struct call *call, int argc, char *const *argv, struct why *why)
{
	enum rc rc = config_init(&call->config, why);
	call->config.publisher = true;
	call->words = calloc((size_t)argc, sizeof(*call->words));
	if (rc == RC_OK && !call->words)
		rc = rc_fail(RC_NO_MEMORY, why, "out of memory");
	for (int i = 1; i < argc && rc == RC_OK && !call->help && !call->version; i++)
		rc = parse_word(call, argc, argv, &i, why);
	if (rc != RC_OK || call->help || call->version)
		return rc;
	if (!call->config.store)
		return rc_fail(RC_INVALID, why, "expected STORE; --help says more");
	rc = config_finish(&call->config, why);
	if (rc == RC_OK && call->config.properties)
		rc = property_add_file(&call->properties, call->config.properties, why);
	for (size_t i = 0; i < call->n_words && rc == RC_OK; i++)
		rc = property_add_word(&call->properties, call->words[i], why);
	return rc;
}

/* --- what is to be published, and how --- */

static enum rc parse_time(const char *what, const char *text, int64_t *us_r, struct why *why)
{
	struct time_stamp t;
	enum rc rc = time_parse(text, strlen(text), &t, why);
	if (rc != RC_OK || t.us < 0)
		return rc_fail(RC_INVALID, why, "%s: expected a time like 2026-11-21T09:05:00Z%s, found \"%.64s\"", what,
			       *what == '-' ? ", \"beginning\" or \"checkpoint\"" : "", text);
	*us_r = t.us;
	return RC_OK;
}

static enum rc choose_start(struct run *r, struct why *why)
{
	const char *from = r->call->from;
	enum rc rc = RC_OK;
	if (r->call->config.start)
		rc = parse_time("option \"start\"", r->call->config.start, &r->options.start_us, why);
	if (rc != RC_OK || !from || !strcmp(from, "checkpoint"))
		return rc;
	if (!strcmp(from, "beginning")) {
		r->options.from = PUBLISHER_FROM_BEGINNING;
		return RC_OK;
	}
	r->options.from = PUBLISHER_FROM_TIME;
	return parse_time("--from", from, &r->options.from_us, why);
}

static void tell_status(void *arg, const char *line, bool active)
{
	(void)arg;
	(void)active;
	sd_notifyf(0, "STATUS=%s\nWATCHDOG=1", line);
}

static void tell_line(void *arg, const char *line)
{
	(void)arg;
	if (puts(line) < 0)	/* nobody reads it any more */
		publisher_stop(stopped_by_signal);
}

static enum rc choose(struct run *r, struct why *why)
{
	const struct call *call = r->call;
	const struct config *c = &call->config;
	r->options = (struct publisher_options){
		.checkpoint_key = c->checkpoint,
		.make_sink = target_make,
		.make_arg = &r->target,
		.once = call->once,
		.dry_run = call->dry_run,
		.reconcile = call->reconcile,
		.lease_ms = c->lease_ms,
		.save_ms = c->save_ms,
		.poll_ms = c->poll_ms,
		.flush_ms = c->flush_ms,
		.window = c->window,
		.status = tell_status,
		.tell = tell_line,
	};
	r->target = (struct target){ .config = c, .properties = &call->properties };
	target_route(&r->target, &r->options.route);
	enum rc rc = target_check(c, !call->dry_run, why);
	if (rc == RC_OK)
		rc = choose_start(r, why);
	if (rc == RC_OK && c->ro)
		rc = rc_fail(RC_INVALID, why, "a publisher writes its checkpoint: -o ro is not for it");
	return rc;
}

/* --- running --- */

static void on_signal(int number)
{
	(void)number;
	publisher_stop(stopped_by_signal);
}

static void catch_signals(struct publisher *p)
{
	struct sigaction action = { .sa_handler = on_signal };
	stopped_by_signal = p;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

static void leave_signals(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
}

/* Without the ledger's time line there is nothing to follow. */
static enum rc check_store(struct run *r, struct store *s, struct why *why)
{
	_cleanup_(freep) struct store_health *h = calloc(1, sizeof(*h));
	if (!h)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	store_health(s, h);
	target_name(&r->target, h->uuid);
	if (h->read_only)
		return rc_fail(RC_DENIED, why, "nothing can be published from \"%.200s\": %.200s", r->call->config.store, h->read_only_reason);
	return RC_OK;
}

static enum rc publish(struct run *r, struct store *s, struct why *why)
{
	const struct config *c = &r->call->config;
	struct publisher *p = NULL;
	_cleanup_(publisher_metrics_freep) struct publisher_metrics *metrics = NULL;
	enum rc rc = publisher_new(&p, s, &r->options, why);
	if (rc != RC_OK)
		return rc;
	const struct publisher_metrics_options m = { c->metrics, c->bucket ? c->bucket : c->store, c->checkpoint };
	if (c->metrics)
		rc = publisher_metrics_new(&metrics, p, s, &m, why);
	if (rc == RC_OK) {
		catch_signals(p);
		log_info("publishing store=%s sink=%s checkpoint=%s", c->store, c->sink, c->checkpoint);
		sd_notify(0, "READY=1");
		rc = publisher_run(p, why);
		sd_notify(0, "STOPPING=1");
		leave_signals();
	}
	struct publisher_status status;
	publisher_status(p, &status);
	if (!r->call->dry_run)
		log_info("ended published=%" PRIu64 " duplicates_avoided=%" PRIu64 " dlq=%" PRIu64 " timestamp_ms=%" PRId64,
			 status.published, status.skipped, status.dead, status.checkpoint_ms);
	publisher_metrics_free(&metrics);
	publisher_free(&p);
	return rc;
}

static int run(const struct call *call)
{
	_cleanup_(store_freep) struct store *s = NULL;
	struct run r = { .call = call };
	struct why why = { "" };
	log_open("evfs-publisher", call->config.log, false);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_ARENA_MAX, 4);	/* as many threads, as little memory */

	enum rc rc = choose(&r, &why);
	if (rc != RC_OK) {
		complain(&why);
		return EXIT_USAGE;
	}
	rc = stack_open(&s, &call->config, STACK_FOLLOW, &why);
	if (rc == RC_OK)
		rc = check_store(&r, s, &why);
	if (rc != RC_OK)
		return complain(&why);
	rc = publish(&r, s, &why);
	if (rc == RC_TEMPORARY && !call->once) {	/* stopped: nothing is lost by it */
		log_warning("%s", why.text);
		return EXIT_SUCCESS;
	}
	if (rc == RC_OK && fflush(stdout))
		rc = rc_fail(RC_NO_SPACE, &why, "standard output cannot be written");
	return rc == RC_OK ? EXIT_SUCCESS : complain(&why);
}

/* Who is started with 0 to 2 closed would find the ledger there, and write messages into it. */
static bool open_standard(void)
{
	int fd;
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	return fd >= 0 && !close(fd);
}

int main(int argc, char **argv)
{
	struct call call = { .once = false };
	struct why why = { "" };
	int status;
	if (!open_standard())
		return EXIT_FAILURE;
	enum rc rc = parse(&call, argc, argv, &why);
	if (call.help)
		status = print_help();
	else if (call.version)
		status = print_version();
	else if (rc != RC_OK) {
		complain(&why);
		status = EXIT_USAGE;
	} else
		status = run(&call);
	property_list_release(&call.properties);
	free(call.words);
	config_release(&call.config);
	return status;
}
