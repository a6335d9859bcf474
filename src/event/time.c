/* SPDX-License-Identifier: Apache-2.0 */
/* time.c - the time texts of events. */
#include "config.h"
#include "event/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define US_PER_S INT64_C(1000000)
#define S_PER_DAY INT64_C(86400)
#define US_PER_DAY (S_PER_DAY * US_PER_S)
#define FIRST_US (INT64_C(-62135596800) * US_PER_S)    /* 0001-01-01T00:00:00Z */
#define LAST_US (INT64_C(253402300800) * US_PER_S - 1) /* 9999-12-31T23:59:59.999999Z */
/* A number above it, on either side of 0, counts milliseconds. */
#define EPOCH_SECONDS_MAX 20000000000.0L
#define NUMBER_MAX 128 /* bytes of an epoch number */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar. */
static int64_t days_from_date(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = floor_div(y, 400);
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
	days += 719468;
	int64_t era = floor_div(days, 146097);
	int64_t doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*year = (int)(yoe + era * 400 + (*month <= 2));
}

static bool date_exists(int year, int month, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1)
		return false;
	return day <= days[month - 1] + (month == 2 && leap);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Exactly n digits at *p, passed over. */
static bool take_digits(const char **p, const char *end, int n, int *out)
{
	int value = 0;
	if (end - *p < n)
		return false;
	for (int i = 0; i < n; i++) {
		if (!is_digit((*p)[i]))
			return false;
		value = value * 10 + ((*p)[i] - '0');
	}
	*p += n;
	*out = value;
	return true;
}

static bool take_char(const char **p, const char *end, const char *any_of)
{
	if (*p == end || !**p || !strchr(any_of, **p))
		return false;
	++*p;
	return true;
}

/* ".5" or ",500": at least one digit; those after the sixth are dropped. */
static bool take_fraction(const char **p, const char *end, int *us)
{
	int unit = 100000;
	if (!take_char(p, end, ".,"))
		return true;
	if (*p == end || !is_digit(**p))
		return false;
	for (; *p < end && is_digit(**p); ++*p) {
		*us += (**p - '0') * unit;
		unit /= 10;
	}
	return true;
}

/* "Z", "+09:00", "+0900" or nothing, up to the end. */
static bool take_zone(const char **p, const char *end, struct time_stamp *t)
{
	int hours, minutes;
	if (*p == end) {
		t->naive = true;
		return true;
	}
	if (take_char(p, end, "Zz"))
		return *p == end;
	bool west = **p == '-';
	if (!take_char(p, end, "+-") || !take_digits(p, end, 2, &hours))
		return false;
	take_char(p, end, ":");
	if (!take_digits(p, end, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	t->offset_s = (hours * 60 + minutes) * 60;
	if (west)
		t->offset_s = -t->offset_s;
	return *p == end;
}

static bool parse_date_time(const char *p, const char *end, struct time_stamp *out)
{
	int year, month, day, hour = 0, minute = 0, second = 0, us = 0;
	struct time_stamp t = { 0 };

	if (!take_digits(&p, end, 4, &year) || !take_char(&p, end, "-") ||
	    !take_digits(&p, end, 2, &month) || !take_char(&p, end, "-") ||
	    !take_digits(&p, end, 2, &day) || !date_exists(year, month, day))
		return false;
	if (p == end) {
		t.naive = true;
	} else {
		if (!take_char(&p, end, "Tt _") || !take_digits(&p, end, 2, &hour) ||
		    !take_char(&p, end, ":") || !take_digits(&p, end, 2, &minute))
			return false;
		if (take_char(&p, end, ":") &&
		    (!take_digits(&p, end, 2, &second) || !take_fraction(&p, end, &us)))
			return false;
		if (hour > 23 || minute > 59 || second > 59 || !take_zone(&p, end, &t))
			return false;
	}
	int64_t local_s =
		days_from_date(year, month, day) * S_PER_DAY + (hour * 60 + minute) * 60 + second;
	t.us = (local_s - t.offset_s) * US_PER_S + us;
	*out = t;
	return true;
}

/* A decimal number: its value, and whether it has neither fraction nor exponent. */
struct decimal {
	long double value;
	int64_t integer; /* the value, if whole */
	bool whole;
};

static bool parse_decimal(const char *p, const char *end, bool exponent_allowed,
			  struct decimal *out)
{
	bool negative = p < end && *p == '-', point = false;
	uint64_t digits = 0; /* the first 18 */
	int scale = 0, seen = 0, exponent = 0;

	if (end - p > NUMBER_MAX)
		return false;
	if (negative || (p < end && *p == '+'))
		p++;
	if (p == end || !is_digit(*p))
		return false;
	out->whole = true;
	for (; p < end && (is_digit(*p) || (*p == '.' && !point)); p++) {
		if (*p == '.') {
			point = true;
			out->whole = false;
			if (p + 1 == end || !is_digit(p[1]))
				return false;
			continue;
		}
		if (seen < 18)
			digits = digits * 10 + (uint64_t)(*p - '0');
		else
			scale++;
		seen += digits > 0;
		scale -= point;
	}
	if (p < end && exponent_allowed && (*p == 'e' || *p == 'E')) {
		p++;
		out->whole = false;
		bool down = p < end && *p == '-';
		if (down || (p < end && *p == '+'))
			p++;
		if (p == end)
			return false;
		for (; p < end && is_digit(*p); p++)
			exponent = exponent < 1000 ? exponent * 10 + (*p - '0') : exponent;
		scale += down ? -exponent : exponent;
	}
	if (p != end)
		return false;

	long double value = digits, power = 1;
	for (int i = scale < 0 ? -scale : scale; i > 0; i--)
		power *= 10;
	value = scale < 0 ? value / power : value * power;
	out->value = negative ? -value : value;
	/* more than 18 digits are out of range anyway */
	out->integer = negative ? -(int64_t)digits : (int64_t)digits;
	return true;
}

/* Seconds or milliseconds since the epoch. */
static bool parse_epoch(const char *text, size_t len, bool exponent_allowed, struct time_stamp *out)
{
	struct decimal d;
	int64_t us;
	if (!parse_decimal(text, text + len, exponent_allowed, &d))
		return false;
	bool seconds = d.value <= EPOCH_SECONDS_MAX && d.value >= -EPOCH_SECONDS_MAX;
	long double scaled = d.value * (seconds ? 1e6L : 1e3L);
	if (!(scaled >= (long double)FIRST_US && scaled <= (long double)LAST_US))
		return false;
	if (d.whole)
		us = d.integer * (seconds ? 1000000 : 1000);
	else
		us = (int64_t)(scaled < 0 ? scaled - 0.5L : scaled + 0.5L);
	*out = (struct time_stamp){ .us = us };
	return true;
}

enum rc time_parse(const char *text, size_t len, struct time_stamp *out, struct why *why)
{
	if (parse_date_time(text, text + len, out) || parse_epoch(text, len, false, out))
		return RC_OK;
	return rc_fail(RC_INVALID, why,
		       "expected a time such as 2025-12-18T09:05:03.123456Z, found '%.*s'",
		       (int)json_utf8(text, len < 60 ? len : 60), text);
}

enum rc time_parse_number(const char *text, size_t len, struct time_stamp *out, struct why *why)
{
	if (parse_epoch(text, len, true, out))
		return RC_OK;
	return rc_fail(RC_INVALID, why,
		       "expected seconds or milliseconds since 1970 within the years 1 to 9999, "
		       "found %.*s",
		       (int)json_utf8(text, len < 60 ? len : 60), text);
}

/* The wall time of us; fraction omitted or six digits. Returns the length. */
static size_t format_wall(int64_t us, char out[TIME_TEXT_MAX])
{
	int64_t days = floor_div(us, US_PER_DAY), rest = us - days * US_PER_DAY;
	int year, month, day, s = (int)(rest / US_PER_S), fraction = (int)(rest % US_PER_S);
	date_from_days(days, &year, &month, &day);
	char *p = out;
	for (int i = 3, y = year; i >= 0; i--, y /= 10)
		p[i] = (char)('0' + y % 10);
	p += 4;
	const int parts[] = { month, day, s / 3600, s / 60 % 60, s % 60 };
	for (int i = 0; i < 5; i++) {
		*p++ = "--T::"[i];
		*p++ = (char)('0' + parts[i] / 10);
		*p++ = (char)('0' + parts[i] % 10);
	}
	if (fraction) {
		*p++ = '.';
		for (int i = 5; i >= 0; i--, fraction /= 10)
			p[i] = (char)('0' + fraction % 10);
		p += 6;
	}
	*p = '\0';
	return (size_t)(p - out);
}

void time_format(const struct time_stamp *t, char out[TIME_TEXT_MAX])
{
	size_t n = format_wall(t->us + t->offset_s * US_PER_S, out);
	int minutes = (t->offset_s < 0 ? -t->offset_s : t->offset_s) / 60;
	if (t->naive)
		return;
	if (!t->offset_s) {
		out[n++] = 'Z';
		out[n] = '\0';
		return;
	}
	snprintf(out + n, TIME_TEXT_MAX - n, "%c%02d:%02d", t->offset_s < 0 ? '-' : '+',
		 minutes / 60, minutes % 60);
}

void time_format_index(const struct time_stamp *t, char out[TIME_TEXT_MAX])
{
	size_t n = format_wall(t->us, out);
	memcpy(out + n, "+00:00", sizeof("+00:00"));
}

void time_format_us(int64_t us, char out[TIME_TEXT_MAX])
{
	size_t n = format_wall(us, out);
	memcpy(out + n, "Z", sizeof("Z"));
}

bool time_in_calendar(int64_t us)
{
	return us >= FIRST_US && us <= LAST_US;
}

void time_day(int64_t us, int *year, int *month, int *day)
{
	date_from_days(floor_div(us, US_PER_DAY), year, month, day);
}

enum rc time_from_day(int year, int month, int day, int64_t *us_r)
{
	if (!date_exists(year, month, day))
		return RC_INVALID;
	*us_r = days_from_date(year, month, day) * US_PER_DAY;
	return RC_OK;
}

int64_t time_index_ms(int64_t us)
{
	return (int64_t)((double)us / 1e6 * 1000.0);
}
