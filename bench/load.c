/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - the loops that bench/run times. Each prints the seconds it took.
 *
 *   load sync  FILE N SIZE            write + fdatasync, N times SIZE bytes, one writer
 *   load append N SIZE FILE...        one process per FILE: open(O_APPEND), write one document, close, N times in all
 *   load hold  N SIZE FILE...         the same with the file kept open
 *   load batch FILE N DOCS SIZE       N writes of DOCS documents each
 *   load files DIR N SIZE             create N plain files of SIZE bytes
 *   load each  FILE N EVERY SIZE      append, printing the mean microseconds of each EVERY
 */
#include "config.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end || n <= 0)
		errx(2, "'%s' is no positive number", text);
	return n;
}

/* One document of size bytes, newline included. */
static char *document(long size)
{
	static const char head[] = "{\"event_type\":\"OrderPlaced\",\"data\":{\"amount\":42,\"pad\":\"";
	char *doc = malloc((size_t)size + 8);
	long least = (long)sizeof(head) + 3;
	if (!doc || size < least)
		errx(2, "a document takes at least %ld bytes", least);
	memset(doc, 'x', (size_t)size);
	memcpy(doc, head, sizeof(head) - 1);
	memcpy(doc + size - 4, "\"}}\n", 4);
	return doc;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "open %s", path);
	return fd;
}

static void write_or_die(int fd, const char *buf, size_t len, const char *path)
{
	if (write(fd, buf, len) != (ssize_t)len)
		err(1, "write %s", path);
}

static void append_loop(const char *path, long n, long size, int hold)
{
	char *doc = document(size);
	int fd = hold ? open_or_die(path, O_WRONLY | O_APPEND) : -1;
	for (long i = 0; i < n; i++) {
		if (!hold)
			fd = open_or_die(path, O_WRONLY | O_APPEND);
		write_or_die(fd, doc, (size_t)size, path);
		if (!hold && close(fd))
			err(1, "close %s", path);
	}
	free(doc);
}

static double append(long n, long size, char **paths, int writers, int hold)
{
	double began = now();
	for (int w = 0; w < writers; w++)
		if (!fork()) {
			append_loop(paths[w], n / writers, size, hold);
			_exit(0);
		}
	int status, bad = 0;
	while (wait(&status) > 0)
		bad |= status;
	if (bad)
		errx(1, "a writer failed");
	return now() - began;
}

static double sync_loop(const char *path, long n, long size)
{
	char *doc = document(size);
	int fd = open_or_die(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
	double began = now();
	for (long i = 0; i < n; i++) {
		write_or_die(fd, doc, (size_t)size, path);
		if (fdatasync(fd))
			err(1, "fdatasync");
	}
	free(doc);
	return now() - began;
}

static double batch_loop(const char *path, long n, long docs, long size)
{
	char *doc = document(size), *all = malloc((size_t)(docs * size));
	if (!all)
		errx(1, "no memory");
	for (long i = 0; i < docs; i++)
		memcpy(all + i * size, doc, (size_t)size);
	int fd = open_or_die(path, O_WRONLY | O_APPEND);
	double began = now();
	for (long i = 0; i < n; i++)
		write_or_die(fd, all, (size_t)(docs * size), path);
	double took = now() - began;
	free(all);
	free(doc);
	return took;
}

static double files_loop(const char *dir, long n, long size)
{
	char *doc = document(size), path[4096];
	double began = now();
	for (long i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%010ld-OrderPlaced.json", dir, i + 1);
		int fd = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);
		write_or_die(fd, doc, (size_t)size, path);
		close(fd);
	}
	free(doc);
	return now() - began;
}

static void each_loop(const char *path, long n, long every, long size)
{
	for (long done = 0; done < n; done += every) {
		double began = now();
		append_loop(path, every, size, 0);
		printf("%.1f\n", (now() - began) / (double)every * 1e6);
	}
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	if (!strcmp(verb, "sync") && argc == 5)
		printf("%.6f\n", sync_loop(argv[2], number(argv[3]), number(argv[4])));
	else if ((!strcmp(verb, "append") || !strcmp(verb, "hold")) && argc >= 5)
		printf("%.6f\n", append(number(argv[2]), number(argv[3]), argv + 4, argc - 4, !strcmp(verb, "hold")));
	else if (!strcmp(verb, "batch") && argc == 6)
		printf("%.6f\n", batch_loop(argv[2], number(argv[3]), number(argv[4]), number(argv[5])));
	else if (!strcmp(verb, "files") && argc == 5)
		printf("%.6f\n", files_loop(argv[2], number(argv[3]), number(argv[4])));
	else if (!strcmp(verb, "each") && argc == 6)
		each_loop(argv[2], number(argv[3]), number(argv[4]), number(argv[5]));
	else
		errx(2, "usage: see the head of bench/load.c");
	return 0;
}
