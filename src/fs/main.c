/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - evfs STORE MOUNTPOINT: parse, check, open, mount, serve, unmount, close. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "fs/fs.h"
#include "setup/config.h"
#include "setup/stack.h"
#include "store/store.h"

#define USAGE "usage: evfs STORE MOUNTPOINT [-f] [-d] [-o OPTION[,OPTION]...]\n"
#define EXIT_USAGE 2

/* A mount, and who waits for it. */
struct mount {
	const struct config *config;
	struct fs *fs;
	int parent;		/* where to tell that the mount answers; -1: in the foreground */
	bool answered, failed;
	pthread_t signals;
	atomic_bool ended;	/* nothing is left to stop */
};

static int complain(const struct why *why)
{
	fprintf(stderr, "evfs: %s\n", why->text);
	return EXIT_FAILURE;
}

static int print_help(void)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	buf_add_text(
		&text, USAGE
		"Mount the event store STORE, a directory or s3://BUCKET[/PREFIX], at MOUNTPOINT:\n"
		"aggregates are directories, events are files, >> appends.\n\n"
		"  -f             stay in the foreground\n"
		"  -d             the same, and log everything\n"
		"  -o OPTION,...  see below\n"
		"  -h, --help     this text\n"
		"  -V, --version  version, also of the libraries\n\n"
		"Options:\n");
	config_help(false, &text);
	buf_add_text(&text, "\nUnmount with: fusermount3 -u MOUNTPOINT\n");
	fputs(buf_text(&text), stdout);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int print_version(void)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	stack_versions(&text);
	printf("evfs %s (libfuse %s, %s)\n", PACKAGE_VERSION, fs_version(), buf_text(&text));
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void print_config(void *arg, struct buf *out)
{
	config_print(arg, out);
}

/*
 * The mount answers: let the parent go, and leave the terminal. Until then errors are the user's to
 * see, and ^C ends all.
 */
static void leave_terminal(struct mount *m)
{
	_cleanup_(closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	log_open("evfs", m->config->log, true);
	setsid();
	if (chdir("/") || null < 0)
		log_warning("cannot leave the terminal: %s", strerror(errno));
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (write(m->parent, "", 1) != 1)
		log_warning("nobody waited for the mount");
	close(m->parent);
	m->parent = -1;
}

static void ready(void *arg, enum rc rc, const struct why *why)
{
	struct mount *m = arg;
	if (rc != RC_OK) {
		m->failed = true;
		complain(why);
		kill(getpid(), SIGTERM);
	} else if (m->parent >= 0) {
		leave_terminal(m);
	}
	m->answered = rc == RC_OK;
	if (rc == RC_OK)
		log_info("mounted store=%s mountpoint=%s", m->config->store, m->config->mountpoint);
}

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/* Signals are waited for in a thread of its own: what ends the mount may lock and wait. */
static void *wait_for_signal(void *arg)
{
	struct mount *m = arg;
	sigset_t set;
	int signal;
	signal_set(&set);
	sigwait(&set, &signal);
	if (!atomic_load(&m->ended)) {
		log_info("ending by signal %d", signal);
		fs_stop(m->fs);
	}
	return NULL;
}

static enum rc serve(struct mount *m, struct store *store, struct why *why)
{
	const struct config *c = m->config;
	_cleanup_(fs_freep) struct fs *fs = NULL;
	struct fs_options options = {
		.source = c->store,
		.max_threads = (unsigned)c->max_threads,
		.allow_other = c->allow_other,
		.list_streams = c->list_streams,
		.metrics = c->metrics,
		.debug = c->log == LOG_LEVEL_DEBUG && c->foreground,
		.config = print_config,
		.config_arg = (void *)(uintptr_t)c,
		.ready = ready,
		.ready_arg = m,
	};
	enum rc rc = fs_new(&fs, store, &options, why);
	if (rc == RC_OK)
		rc = fs_mount(fs, c->mountpoint, why);
	if (rc != RC_OK)
		return rc;
	m->fs = fs;
	if (pthread_create(&m->signals, NULL, wait_for_signal, m))
		return rc_fail(RC_NO_MEMORY, why, "cannot start a thread");
	rc = fs_serve(fs, why);
	atomic_store(&m->ended, true);
	/* if it still waits: a cancelled thread would leave its stack to a sanitizer as it is */
	pthread_kill(m->signals, SIGTERM);
	pthread_join(m->signals, NULL);
	fs_unmount(fs);
	return rc;
}

static int run(const struct config *c, int parent)
{
	struct mount m = { .config = c, .parent = parent };
	struct why why = { "" };
	struct store *store = NULL;
	sigset_t set;
	signal_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);	/* in all threads to come */
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_ARENA_MAX, 4);		/* as many threads, as little memory */

	enum rc rc = stack_open(&store, c, STACK_SERVE, &why);
	if (rc != RC_OK)
		return complain(&why);
	rc = serve(&m, store, &why);
	if (rc != RC_OK && m.answered)
		log_error("%s", why.text);
	else if (rc != RC_OK)
		complain(&why);
	store_free(&store);
	return rc != RC_OK || m.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Wait until the child's mount answers, or the child has said why not. */
static int wait_for_mount(int from_child, pid_t child)
{
	char answered;
	int status;
	ssize_t n;
	while ((n = read(from_child, &answered, 1)) < 0 && errno == EINTR)
		;
	if (n == 1)
		return EXIT_SUCCESS;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);
	if (WIFEXITED(status))
		fprintf(stderr, "evfs: unmounted before the mount answered\n");
	if (WIFSIGNALED(status))
		fprintf(stderr, "evfs: ended by signal %d before the mount answered\n",
			WTERMSIG(status));
	return EXIT_FAILURE;
}

/* Who is started with 0 to 2 closed would find the ledger there, and write messages into it. */
static bool open_standard(void)
{
	int fd;
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	return fd >= 0 && !close(fd);
}

/*
 * What the caller happened to have open (a lock, a pipe that someone reads to its end) is not for a
 * server to keep.
 */
static void close_inherited(int except)
{
	if (except > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned)except - 1, 0);
	(void)close_range((unsigned)except + 1, ~0u, 0);
}

static int run_in_background(const struct config *c)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC)) {
		perror("evfs: pipe");
		return EXIT_FAILURE;
	}
	pid_t child = fork();
	if (child < 0) {
		perror("evfs: fork");
		return EXIT_FAILURE;
	}
	if (child) {
		close(ends[1]);
		return wait_for_mount(ends[0], child);
	}
	close_inherited(ends[1]);
	return run(c, ends[1]);
}

static int mount_store(const struct config *c)
{
	struct why why = { "" };
	if (fs_check(c->mountpoint, c->store, &why) != RC_OK)
		return complain(&why);
	log_open("evfs", c->log, false);
	return c->foreground ? run(c, -1) : run_in_background(c);
}

int main(int argc, char **argv)
{
	struct config c;
	struct why why = { "" };
	int status;
	if (!open_standard())
		return EXIT_FAILURE;
	enum rc rc = config_parse(&c, argc, argv, &why);
	if (c.help)
		status = print_help();
	else if (c.version)
		status = print_version();
	else if (rc != RC_OK) {
		complain(&why);
		status = EXIT_USAGE;
	} else
		status = mount_store(&c);
	config_release(&c);
	return status;
}
