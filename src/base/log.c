/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line per decision. */
#include "config.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_syslog;

static const struct { const char *name; int priority; } levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

void log_open(const char *program, enum log_level level, bool to_syslog)
{
	log_max = level;
	log_syslog = to_syslog;
	if (to_syslog)
		openlog(program, LOG_PID, LOG_DAEMON);
}

static void _printf_(2, 0) log_line(enum log_level level, const char *fmt, va_list ap)
{
	char text[1024];
	if (level > log_max)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20)
			*c = ' ';
	if (log_syslog)
		syslog(levels[level].priority, "%s", text);
	else
		fprintf(stderr, "%s: %s\n", levels[level].name, text);
}

#define LOG_FUNCTION(name, level) \
void name(const char *fmt, ...) \
{ \
	va_list ap; \
	va_start(ap, fmt); \
	log_line(level, fmt, ap); \
	va_end(ap); \
}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
