/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line per decision, "LEVEL message key=value …", to stderr, or to syslog once the
 * process has gone to the background. Threads: every call may come from any thread.
 * base, event, object and ledger do not log: they return reasons.
 */
#ifndef EVFS_BASE_LOG_H
#define EVFS_BASE_LOG_H

#include <stdbool.h>

#include "base/rc.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above level are dropped; the start is LOG_LEVEL_INFO. program appears in syslog and is not copied. */
void log_open(const char *program, enum log_level level, bool to_syslog);

void log_error(const char *fmt, ...) _printf_(1, 2);
void log_warning(const char *fmt, ...) _printf_(1, 2);
void log_info(const char *fmt, ...) _printf_(1, 2);
void log_debug(const char *fmt, ...) _printf_(1, 2);

#endif
