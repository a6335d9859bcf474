/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time texts of events (contracts.md A3) and of evfs's own files. Pure.
 */
#ifndef EVFS_EVENT_TIME_H
#define EVFS_EVENT_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

/* A point in time as an envelope names it. */
struct time_stamp {
	int64_t us;       /* microseconds since the epoch, UTC (a naive time counts as UTC) */
	int32_t offset_s; /* seconds east of UTC, as written; 0 for naive */
	bool naive;       /* written without a zone */
};

#define TIME_TEXT_MAX 40 /* room for any text of this file, NUL included */

/* Read what contracts.md A3 says readers accept. text need not be NUL-terminated. RC_INVALID. */
enum rc time_parse(const char *text, size_t len, struct time_stamp *out,
		   struct why *why) _must_check_;
/* Read a JSON number as an epoch, as A3 says. RC_INVALID. */
enum rc time_parse_number(const char *text, size_t len, struct time_stamp *out,
			  struct why *why) _must_check_;

/* As the envelope writes it: "Z", "+HH:MM" or nothing; fraction omitted or six digits. */
void time_format(const struct time_stamp *t, char out[TIME_TEXT_MAX]);
/* As index bodies write it (contracts.md B5): UTC as +00:00. */
void time_format_index(const struct time_stamp *t, char out[TIME_TEXT_MAX]);
/* "2025-12-18T09:05:03.123456Z" of microseconds since the epoch. */
void time_format_us(int64_t us, char out[TIME_TEXT_MAX]);

/* False when us lies, in UTC, outside the years 1 to 9999: no key can hold it. */
bool time_in_calendar(int64_t us);

/* The UTC day of us: year, month 1-12, day 1-31. */
void time_day(int64_t us, int *year, int *month, int *day);
/* The first microsecond of a UTC day; RC_INVALID for a date that does not exist. */
enum rc time_from_day(int year, int month, int day, int64_t *us_r) _must_check_;

/* The millisecond that stands in a by-date name (contracts.md B3, with its rounding). */
int64_t time_index_ms(int64_t us);

#endif
