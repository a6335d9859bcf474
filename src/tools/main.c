/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - evfsctl: which verb, and --help, --version. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "setup/option.h"
#include "setup/stack.h"
#include "tools/output.h"
#include "tools/verb.h"

static const struct verb *const verbs[] = {
	&verb_init, &verb_append, &verb_read,	&verb_tail,
	&verb_ls,   &verb_verify, &verb_reindex, &verb_doctor,
	&verb_status_store, &verb_publisher,
};

static void print_help(FILE *f)
{
	fputs("usage: evfsctl VERB STORE [ARGS]\n\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		const char *help = verbs[i]->help;
		fprintf(f, "    %-9s %.*s\n", verbs[i]->name, (int)strcspn(help, "\n"), help);
	}
	fputs("\nSTORE is a directory or s3://BUCKET[/PREFIX].\n"
	      "Streams are written as in the mount: Order/o-42.\n"
	      "evfsctl VERB --help says more, evfsctl --version names the libraries.\n\n"
	      "Exit status: 0 done, 1 failed, 2 wrong use, 4 conflict, 5 may be retried,\n"
	      "6 verify found something.\n",
	      f);
}

static enum verb_status print_version(void)
{
	_cleanup_(buf_release) struct buf libraries = BUF_INIT;
	stack_versions(&libraries);
	printf("evfsctl %s (%s)\n", PACKAGE_VERSION, buf_text(&libraries));
	return VERB_DONE;
}

static enum verb_status unknown_verb(const char *word)
{
	const char *known[ARRAY_SIZE(verbs)];
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		known[i] = verbs[i]->name;
	const char *nearest = option_nearest(word, known, ARRAY_SIZE(known));
	if (nearest)
		fprintf(stderr, "evfsctl: unknown verb \"%s\"; the nearest known one is \"%s\"\n",
			word, nearest);
	else
		fprintf(stderr, "evfsctl: unknown verb \"%s\"; --help lists them\n", word);
	return VERB_USAGE;
}

/* With one of 0 to 2 closed, the ledger would be opened there, and read or written as that. */
static bool open_standard(void)
{
	int fd;
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	return fd >= 0 && !close(fd);
}

int main(int argc, char **argv)
{
	if (!open_standard())
		return VERB_FAILED;
	/* A reader that left shows as EPIPE (output.h); an append must not end for it. */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		print_help(stderr);
		return VERB_USAGE;
	}
	const char *word = argv[1];
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		print_help(stdout);
		return (int)output_end(VERB_DONE);
	}
	if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		return (int)output_end(print_version());
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i]->name, word))
			return (int)verb_main(verbs[i], argc - 2, argv + 2);
	return (int)unknown_verb(word);
}
