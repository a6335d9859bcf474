/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.c - a target without libFuzzer: PROGRAM SECONDS SEED FILE…. Each file as it is, then, for so many seconds, changed at random.
 * SEED 0: one of its own, which is printed. What makes the target fail is left in PROGRAM.failed.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX 65536
#define FILES_MAX 64

static uint8_t files[FILES_MAX][INPUT_MAX], input[INPUT_MAX];
static size_t lengths[FILES_MAX], n_files, input_len;
static char failed[300];
static uint64_t state;

static uint64_t draw(uint64_t below)
{
	state += UINT64_C(0x9e3779b97f4a7c15);	/* splitmix64 */
	uint64_t z = state;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % below;
}

static void keep(int number)
{
	int fd = open(failed, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd >= 0 && write(fd, input, input_len) == (ssize_t)input_len)
		close(fd);
	signal(number, SIG_DFL);
	raise(number);
}

static bool load(const char *path)
{
	FILE *f = fopen(path, "re");
	if (!f || n_files == FILES_MAX)
		return false;
	lengths[n_files] = fread(files[n_files], 1, INPUT_MAX, f);
	n_files++;
	return !fclose(f);
}

/* Replace n bytes at a place by m others. */
static void put_at(size_t at, size_t n, const uint8_t *by, size_t m)
{
	uint8_t copy[256];
	if (m > sizeof(copy) || input_len - n + m > INPUT_MAX)
		return;
	if (m)	/* by may be NULL otherwise */
		memcpy(copy, by, m);
	memmove(input + at + m, input + at + n, input_len - at - n);
	memcpy(input + at, copy, m);
	input_len += m - n;
}

static void change(void)
{
	static const char *const words[] = { "\"", "\\", "\\u0000", "\\ud800", "{", "}", "[", "]", ":", ",", "null", "1e400", "-0", "0",
					     "18446744073709551616", "9223372036854775807", "/", "%2F", "%", ".", "..", "<", ">", "&amp;",
					     "&#0;", "<!DOCTYPE x [<!ENTITY a \"b\">]>", "<Key>", "</Key>", "=", "\n", "'", "#", "\xff", "\xc3",
					     "\xed\xa0\x80", "~2" };
	size_t at = (size_t)draw(input_len + 1), n = (size_t)draw(input_len - at + 1);
	uint8_t byte = (uint8_t)draw(256);
	const char *word = words[draw(sizeof(words) / sizeof(words[0]))];
	n = n > 32 ? 1 : n;
	switch (draw(5)) {
	case 0:
		put_at(at, at < input_len, &byte, 1);
		break;
	case 1:
		put_at(at, n, NULL, 0);
		break;
	case 2:
		put_at(at, 0, (const uint8_t *)word, strlen(word));
		break;
	case 3:
		put_at(at, n, (const uint8_t *)word, strlen(word));
		break;
	default:
		put_at(at, 0, input + at, n);
		break;
	}
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void try(void)
{
	/* at the end of a page of its own: a byte too far is seen by a sanitizer */
	uint8_t *copy = malloc(input_len ? input_len : 1);
	MUST(copy);
	memcpy(copy, input, input_len);
	LLVMFuzzerTestOneInput(copy, input_len);
	free(copy);
}

int main(int argc, char **argv)
{
	uint64_t rounds = 0;
	if (argc < 4) {
		fprintf(stderr, "usage: %s SECONDS SEED FILE…\n", argv[0]);
		return 2;
	}
	const char *name = strrchr(argv[0], '/');
	snprintf(failed, sizeof(failed), "%.250s.failed", name ? name + 1 : argv[0]);
	state = strtoull(argv[2], NULL, 10);
	if (!state)
		state = (uint64_t)time(NULL) * 1000 + now_ms() % 1000;
	printf("seed %ju\n", (uintmax_t)state);
	fflush(stdout);
	for (int i = 3; i < argc; i++)
		if (!load(argv[i])) {
			fprintf(stderr, "%s can't be read\n", argv[i]);
			return 2;
		}
	signal(SIGABRT, keep);
	signal(SIGSEGV, keep);
	signal(SIGBUS, keep);
	for (size_t i = 0; i < n_files; i++) {
		memcpy(input, files[i], input_len = lengths[i]);
		try();
	}
	for (uint64_t end = now_ms() + 1000 * strtoull(argv[1], NULL, 10); now_ms() < end; rounds++) {
		size_t from = (size_t)draw(n_files);
		memcpy(input, files[from], input_len = lengths[from]);
		for (uint64_t n = 1 + draw(6); n; n--)
			change();
		try();
	}
	printf("%zu files, %ju changed ones\n", n_files, (uintmax_t)rounds);
	return 0;
}
