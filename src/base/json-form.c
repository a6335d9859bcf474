/* SPDX-License-Identifier: Apache-2.0 */
/* json-form.c - JSON values written in another form. */
#include "config.h"
#include "base/json-form.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json-scan.h"

/* An exponent so long fits an int64_t, with room to add the digits before it. */
#define EXPONENT_DIGITS_MAX 15
#define SMALL_OBJECT 16 /* members */
#define DOUBLE_EXPONENT_MAX 308 /* of the first digit of the largest double */

/* A member of an object that is being written: where it stands in out. */
struct member {
	size_t key, key_len, end;
	size_t place; /* where the first member of that key stood */
};

/*
 * One pass over the text, without looking ahead; containers call each other, to the depth the scan
 * allowed.
 */
struct form {
	const char *p, *end;
	struct buf *out;
	bool canonical;
	struct member *members; /* a stack: those of the innermost object stand last */
	size_t n, cap;
	struct buf scratch;
};

static void write_value(struct form *f);

/*
 * Most of what is written is short, so these leave out the call where there is room, and the NUL
 * behind the text: write_form puts it there at the end.
 */
static inline void put(struct buf *out, const char *text, size_t len)
{
	if (out->failed || out->cap - out->len <= len) {
		buf_add(out, text, len);
		return;
	}
	memcpy(out->data + out->len, text, len);
	out->len += len;
}

static inline void put_char(struct buf *out, char c)
{
	put(out, &c, 1);
}

/* A number in its parts. Points into the text. */
struct number {
	bool negative, zero;
	const char *whole, *fraction; /* digits */
	size_t whole_len, fraction_len;
	const char *exponent; /* sign and digits, NULL if there is none */
	size_t exponent_len;
};

static struct number number_split(const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	struct number n = { .negative = *p == '-', .zero = true };
	p += n.negative;
	n.whole = p;
	while (p < end && json_is_digit(*p))
		n.zero &= *p++ == '0';
	n.whole_len = (size_t)(p - n.whole);
	n.fraction = p;
	if (p < end && *p == '.') {
		n.fraction = ++p;
		while (p < end && json_is_digit(*p))
			n.zero &= *p++ == '0';
		n.fraction_len = (size_t)(p - n.fraction);
	}
	if (p < end) {
		n.exponent = p + 1;
		n.exponent_len = (size_t)(end - n.exponent);
	}
	return n;
}

/* False when it has too many digits. */
static bool exponent_value(const struct number *n, int64_t *out)
{
	int64_t e = 0;
	*out = 0;
	if (!n->exponent)
		return true;
	const char *p = n->exponent, *end = p + n->exponent_len;
	bool negative = *p == '-';
	if (*p == '-' || *p == '+')
		p++;
	while (p < end && *p == '0')
		p++;
	if (end - p > EXPONENT_DIGITS_MAX)
		return false;
	for (; p < end; p++)
		e = e * 10 + (*p - '0');
	*out = negative ? -e : e;
	return true;
}

/* The n-th digit, the point left out. */
static char digit_at(const struct number *n, size_t i)
{
	return i < n->whole_len ? n->whole[i] : n->fraction[i - n->whole_len];
}

/*
 * Digits without zeros at either end, and an exponent unless it is 0: equal exactly for equal
 * numbers.
 */
static void number_canonical(const char *text, size_t len, struct buf *out)
{
	struct number n = number_split(text, len);
	int64_t exponent;
	if (n.zero) {
		buf_add_char(out, '0');
		return;
	}
	if (!exponent_value(&n, &exponent)) {
		buf_add(out, text, len);
		return;
	}
	size_t first = 0, last = n.whole_len + n.fraction_len;
	exponent -= (int64_t)n.fraction_len;
	while (digit_at(&n, first) == '0')
		first++;
	for (; digit_at(&n, last - 1) == '0'; last--)
		exponent++;
	if (n.negative)
		buf_add_char(out, '-');
	if (first < n.whole_len)
		buf_add(out, n.whole + first, (last < n.whole_len ? last : n.whole_len) - first);
	if (last > n.whole_len) {
		size_t from = first > n.whole_len ? first - n.whole_len : 0;
		buf_add(out, n.fraction + from, last - n.whole_len - from);
	}
	if (exponent)
		buf_printf(out, "e%" PRId64, exponent);
}

/* Too large for a double. */
static bool number_overflows(const char *text, size_t len)
{
	struct number n = number_split(text, len);
	int64_t exponent;
	if (n.zero)
		return false;
	if (!exponent_value(&n, &exponent))
		return *n.exponent != '-';
	size_t first = 0;
	while (digit_at(&n, first) == '0')
		first++;
	exponent += (int64_t)n.whole_len - 1 - (int64_t)first;
	if (exponent != DOUBLE_EXPONENT_MAX)
		return exponent > DOUBLE_EXPONENT_MAX;

	/* the canonical text has no point, so that strtod reads it alike in every locale */
	_cleanup_(buf_release) struct buf plain = BUF_INIT;
	number_canonical(text, len, &plain);
	return isinf(strtod(buf_text(&plain), NULL));
}

static bool is_no_number(const char *text, size_t len)
{
	return text[0] == 'N' || text[0] == 'I' || (len > 1 && text[1] == 'I');
}

static void write_number(struct form *f)
{
	const char *text = f->p;
	bool integer = true;
	while (f->p < f->end && !json_is_blank(*f->p) && *f->p != ',' && *f->p != ']' &&
	       *f->p != '}') {
		if (*f->p == '.' || *f->p == 'e' || *f->p == 'E')
			integer = false;
		f->p++;
	}
	size_t len = (size_t)(f->p - text);

	if (is_no_number(text, len))
		buf_add_text(f->out, "null");
	else if (f->canonical && (!integer || text[len - 1] == '0'))
		number_canonical(text, len, f->out);
	else if (integer && len == 2 && !memcmp(text, "-0", 2))
		put_char(f->out, '0');
	else if (!integer && number_overflows(text, len))
		buf_add_text(f->out, "null");
	else
		put(f->out, text, len);
}

static void write_string(struct form *f)
{
	const char *text = f->p;
	f->p = json_skip_string(text);
	size_t len = (size_t)(f->p - text);
	if (!memchr(text, '\\', len)) {
		put(f->out, text, len);
		return;
	}
	struct json_value v = { JSON_STRING, text, len };
	buf_reset(&f->scratch);
	json_string(&v, &f->scratch);
	f->out->failed |= buf_failed(&f->scratch);
	json_quote(buf_text(&f->scratch), f->scratch.len, f->out);
}

static void write_array(struct form *f)
{
	char separator = '[';
	for (f->p = json_skip_blanks(f->p + 1, f->end); *f->p != ']';) {
		put_char(f->out, separator);
		separator = ',';
		write_value(f);
		f->p = json_skip_blanks(f->p, f->end);
		if (*f->p == ',')
			f->p = json_skip_blanks(f->p + 1, f->end);
	}
	f->p++;
	buf_add_text(f->out, separator == '[' ? "[]" : "]");
}

static int compare_keys(const struct member *a, const struct member *b, const char *out)
{
	size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
	int r = memcmp(out + a->key, out + b->key, len);
	if (r)
		return r;
	return a->key_len < b->key_len ? -1 : a->key_len > b->key_len;
}

static int compare_members(const void *va, const void *vb, void *out)
{
	const struct member *a = va, *b = vb;
	int r = compare_keys(a, b, out);
	return r ? r : a->key < b->key ? -1 : 1;
}

static int compare_places(const void *va, const void *vb)
{
	const struct member *a = va, *b = vb;
	return a->place < b->place ? -1 : 1;
}

/* Objects are small as a rule; qsort_r is a good deal slower there. */
static void sort_members(struct member *m, size_t n, char *out)
{
	if (n > SMALL_OBJECT) {
		qsort_r(m, n, sizeof(*m), compare_members, out);
		return;
	}
	for (size_t i = 1; i < n; i++) {
		struct member moving = m[i];
		size_t at = i;
		for (; at && compare_members(&m[at - 1], &moving, out) > 0; at--)
			m[at] = m[at - 1];
		m[at] = moving;
	}
}

static bool in_order(const struct member *m, size_t n, const char *out)
{
	for (size_t i = 1; i < n; i++)
		if (compare_keys(&m[i - 1], &m[i], out) >= 0)
			return false;
	return true;
}

/*
 * Write the members from m[0] to m[n - 1] again: of equal keys the last, sorted or each in the
 * place of the first.
 */
static void arrange_members(struct form *f, struct member *m, size_t n)
{
	struct buf *out = f->out;
	if (n < 2 || buf_failed(out) || in_order(m, n, out->data))
		return;
	size_t start = m[0].key, kept = 0;
	sort_members(m, n, out->data);
	for (size_t i = 0; i < n; i++) {
		if (kept && !compare_keys(&m[kept - 1], &m[i], out->data)) {
			m[i].place = m[kept - 1].place;
			m[kept - 1] = m[i];
		} else {
			m[kept++] = m[i];
		}
	}
	if (!f->canonical) {
		if (kept == n)
			return;
		qsort(m, kept, sizeof(*m), compare_places);
	}

	buf_reset(&f->scratch);
	buf_add(&f->scratch, out->data + start, out->len - start);
	if (buf_failed(&f->scratch)) {
		out->failed = true;
		return;
	}
	out->len = start;
	for (size_t i = 0; i < kept; i++) {
		if (i)
			put_char(out, ',');
		put(out, f->scratch.data + (m[i].key - start), m[i].end - m[i].key);
	}
}

static void push_member(struct form *f, size_t key, size_t key_len)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 32;
		struct member *members = reallocarray(f->members, cap, sizeof(*members));
		if (!members) {
			f->out->failed = true;
			return;
		}
		f->members = members;
		f->cap = cap;
	}
	f->members[f->n++] = (struct member){ key, key_len, f->out->len, key };
}

static void write_object(struct form *f)
{
	size_t base = f->n;
	put_char(f->out, '{');
	for (f->p = json_skip_blanks(f->p + 1, f->end); *f->p != '}';) {
		size_t key = f->out->len;
		write_string(f);
		size_t key_len = f->out->len - key;
		f->p = json_skip_blanks(f->p, f->end) + 1;
		put_char(f->out, ':');
		write_value(f);
		push_member(f, key, key_len);
		f->p = json_skip_blanks(f->p, f->end);
		if (*f->p == ',') {
			f->p = json_skip_blanks(f->p + 1, f->end);
			put_char(f->out, ',');
		}
	}
	f->p++;
	if (f->n > base)
		arrange_members(f, f->members + base, f->n - base);
	f->n = base;
	put_char(f->out, '}');
}

static void write_word(struct form *f)
{
	const char *text = f->p;
	while (f->p < f->end && json_is_letter(*f->p))
		f->p++;
	put(f->out, text, (size_t)(f->p - text));
}

static void write_value(struct form *f)
{
	f->p = json_skip_blanks(f->p, f->end);
	switch (*f->p) {
	case '{': write_object(f); break;
	case '[': write_array(f); break;
	case '"': write_string(f); break;
	case 't':
	case 'f':
	case 'n': write_word(f); break;
	default: write_number(f); break;
	}
}

static void write_form(const struct json_value *v, bool canonical, struct buf *out)
{
	struct form f = {
		.p = v->text, .end = v->text + v->len, .out = out, .canonical = canonical
	};
	buf_reserve(out, v->len);
	write_value(&f);
	buf_add(out, "", 0);
	free(f.members);
	buf_release(&f.scratch);
}

void json_form_normal(const struct json_value *v, struct buf *out)
{
	write_form(v, false, out);
}

void json_form_canonical(const struct json_value *v, struct buf *out)
{
	write_form(v, true, out);
}

void json_form_dump_text(const char *text, size_t len, struct buf *out)
{
	static const char letters[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	buf_add_char(out, '"');
	while (p < end) {
		unsigned c = *p++;
		if (c == '"' || c == '\\') {
			buf_add(out, (char[]){ '\\', (char)c }, 2);
		} else if (c < 0x20 && letters[c]) {
			buf_add(out, (char[]){ '\\', letters[c] }, 2);
		} else if (c >= 0x20 && c < 0x7f) {
			buf_add_char(out, (char)c);
		} else {
			int more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
			c &= more == 0 ? 0x7f : 0x3fu >> more;
			for (; more && p < end; more--)
				c = c << 6 | (*p++ & 0x3f);
			if (c >= 0x10000)
				buf_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10),
					   0xdc00 + (c & 0x3ff));
			else
				buf_printf(out, "\\u%04x", c);
		}
	}
	buf_add_char(out, '"');
}

static void add_dumped_string(const struct json_value *v, struct buf *out)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	json_string(v, &text);
	out->failed |= buf_failed(&text);
	json_form_dump_text(buf_text(&text), text.len, out);
}

void json_form_dump(const struct json_value *v, struct buf *out)
{
	struct json_iter it;
	struct json_value key, value;
	const char *separator = "";
	switch (v->type) {
	case JSON_STRING: add_dumped_string(v, out); return;
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
	case JSON_NUMBER: buf_add(out, v->text, v->len); return;
	case JSON_ARRAY:
	case JSON_OBJECT: break;
	}
	buf_add_char(out, v->text[0]);
	json_iter_init(&it, v);
	while (json_iter_next(&it, &key, &value)) {
		buf_add_text(out, separator);
		separator = ", ";
		if (v->type == JSON_OBJECT) {
			add_dumped_string(&key, out);
			buf_add_text(out, ": ");
		}
		json_form_dump(&value, out);
	}
	buf_add_char(out, v->text[v->len - 1]);
}
