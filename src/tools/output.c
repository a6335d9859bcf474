/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - what a verb writes. */
#include "config.h"
#include "tools/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define PROGRESS_EVERY_MS 200

static int failed_errno;	/* the first failure of stdout */
static uint64_t progress_next_ms;
static bool progress_shown;

static bool note(bool good)
{
	if (!good && !failed_errno)
		failed_errno = errno ? errno : EIO;
	return !failed_errno;
}

bool output_buf(const struct buf *b)
{
	return !failed_errno && note(fwrite(buf_text(b), 1, b->len, stdout) == b->len);
}

bool output_printf(const char *fmt, ...)
{
	va_list ap;
	if (failed_errno)
		return false;
	va_start(ap, fmt);
	int n = vfprintf(stdout, fmt, ap);
	va_end(ap);
	return note(n >= 0);
}

bool output_flush(void)
{
	return !failed_errno && note(fflush(stdout) == 0);
}

enum verb_status output_end(enum verb_status status)
{
	output_progress_end();
	output_flush();
	if (!failed_errno || failed_errno == EPIPE)
		return status;
	fprintf(stderr, "evfsctl: standard output: %s\n", strerror(failed_errno));
	return status ? status : VERB_FAILED;
}

void output_progress(const char *fmt, ...)
{
	uint64_t now = clock_boot_ms();
	if (now < progress_next_ms || !isatty(STDERR_FILENO))
		return;
	progress_next_ms = now + PROGRESS_EVERY_MS;
	progress_shown = true;
	va_list ap;
	fputs("\r\033[K", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fflush(stderr);
}

void output_progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}
