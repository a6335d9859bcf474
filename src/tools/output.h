/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verb writes: results to stdout, progress to stderr if it is a terminal. Threads: none.
 */
#ifndef EVFS_TOOLS_OUTPUT_H
#define EVFS_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/rc.h"
#include "tools/verb.h"

/* Write to stdout. False: nobody reads any more, or it failed; the verb may end. */
bool output_buf(const struct buf *b);
bool output_printf(const char *fmt, ...) _printf_(1, 2);
bool output_flush(void);
/*
 * The verb's exit status, after what was written is out. A reader that left early is no failure and
 * nothing is said; a full disk is one.
 */
enum verb_status output_end(enum verb_status status);

/* A line about long work, five times a second at most; the next one writes over it. */
void output_progress(const char *fmt, ...) _printf_(1, 2);
/* Remove the line. */
void output_progress_end(void);

#endif
