/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd EnvironmentFile form: lines KEY=value, '#' and ';' comments, values in single or
 * double quotes, '\' at the end of a line goes on with the next. Pure.
 */
#ifndef EVFS_SETUP_CONFIG_FILE_H
#define EVFS_SETUP_CONFIG_FILE_H

#include <stddef.h>

#include "base/rc.h"

/* Told of each assignment; texts live until it returns. line: where it begins, from 1. */
typedef enum rc config_file_fn(void *arg, unsigned line, const char *key, const char *value,
			       struct why *why);

/* Tell fn of each assignment in order; the first failure ends it. RC_INVALID: another form. */
enum rc config_file_parse(const char *text, size_t len, config_file_fn *fn, void *arg,
			  struct why *why) _must_check_;

#endif
