/* SPDX-License-Identifier: Apache-2.0 */
/* metric.c - counting, and the lines of one metric. */
#include "config.h"
#include "monitor/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "monitor/metric-private.h"

static uint64_t bits_of(double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static double double_of(const _Atomic uint64_t *stored)
{
	uint64_t bits = atomic_load_explicit(stored, memory_order_relaxed);
	double value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

void metric_add(struct metric *m, uint64_t n)
{
	if (m)
		atomic_fetch_add_explicit(&m->added, n, memory_order_relaxed);
}

void metric_set(struct metric *m, double value)
{
	if (m)
		atomic_store_explicit(&m->value, bits_of(value), memory_order_relaxed);
}

void metric_observe(struct metric *m, double value)
{
	if (!m || isnan(value))	/* one would spoil the sum for ever */
		return;
	size_t i = 0;
	while (i < m->n_bounds && value > m->family->buckets[i])
		i++;
	atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
	uint64_t before = atomic_load_explicit(&m->value, memory_order_relaxed);
	double sum;
	do
		memcpy(&sum, &before, sizeof(sum));
	while (!atomic_compare_exchange_weak_explicit(&m->value, &before, bits_of(sum + value),
						      memory_order_relaxed, memory_order_relaxed));
}

void metric_set_buckets(struct metric *m, const uint64_t *counts, double sum)
{
	if (!m)
		return;
	for (size_t i = 0; i <= m->n_bounds; i++)
		atomic_store_explicit(&m->buckets[i], counts[i], memory_order_relaxed);
	metric_set(m, sum);
}

void metric_print_number(double value, struct buf *out)
{
	char text[32];
	if (isnan(value)) {
		buf_add_text(out, "NaN");
	} else if (isinf(value)) {
		buf_add_text(out, value > 0 ? "+Inf" : "-Inf");
	} else if (fabs(value) < 1e15 && value == (double)(int64_t)value) {
		buf_printf(out, "%" PRId64, (int64_t)value);
	} else {
		for (int digits = 15; digits <= 17; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, value);
			if (bits_of(strtod(text, NULL)) == bits_of(value))
				break;
		}
		buf_add_text(out, text);
	}
}

/* Bytes that are no UTF-8 would make a reader refuse the whole text. */
static void print_value(const char *value, struct buf *out)
{
	size_t len = strlen(value), good = json_utf8(value, len);
	for (size_t i = 0; i < len; i++) {
		if (i == good) {
			buf_add_text(out, "\xef\xbf\xbd");
			good = i + 1 + json_utf8(value + i + 1, len - i - 1);
		} else if (value[i] == '\n') {
			buf_add_text(out, "\\n");
		} else {
			if (value[i] == '"' || value[i] == '\\')
				buf_add_char(out, '\\');
			buf_add_char(out, value[i]);
		}
	}
}

/* name + suffix, the labels, and le's where there is a bound (NULL: none). */
static void print_name(const struct metric *m, const char *suffix, const double *bound,
		       struct buf *out)
{
	const char *p = m->labels, *end = m->labels + m->labels_len, *between = "{";
	buf_printf(out, "%s%s", m->family->name, suffix);
	while (p < end) {
		buf_printf(out, "%s%s=\"", between, p);
		p += strlen(p) + 1;
		print_value(p, out);
		p += strlen(p) + 1;
		buf_add_char(out, '"');
		between = ",";
	}
	if (bound) {
		buf_printf(out, "%sle=\"", between);
		metric_print_number(*bound, out);
		buf_add_char(out, '"');
		between = ",";
	}
	buf_add_text(out, *between == ',' ? "} " : " ");
}

static void print_histogram(const struct metric *m, struct buf *out)
{
	const double infinite = INFINITY;
	uint64_t count = 0;
	for (size_t i = 0; i <= m->n_bounds; i++) {
		count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
		print_name(m, "_bucket", i < m->n_bounds ? &m->family->buckets[i] : &infinite, out);
		buf_printf(out, "%" PRIu64 "\n", count);
	}
	print_name(m, "_sum", NULL, out);
	metric_print_number(double_of(&m->value), out);
	buf_add_char(out, '\n');
	print_name(m, "_count", NULL, out);
	buf_printf(out, "%" PRIu64 "\n", count);	/* +Inf's, whatever was counted meanwhile */
}

void metric_print(const struct metric *m, struct buf *out)
{
	uint64_t added = atomic_load_explicit(&m->added, memory_order_relaxed);
	if (m->family->kind == METRIC_HISTOGRAM) {
		print_histogram(m, out);
		return;
	}
	print_name(m, "", NULL, out);
	if (added)
		buf_add_u64(out, added);
	else
		metric_print_number(double_of(&m->value), out);
	buf_add_char(out, '\n');
}
