/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-vectors.c - what the established system wrote and read, against ours: every case of the
 * vectors.
 */
#include "config.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/json-form.h"
#include "established.h"
#include "event/event.h"
#include "event/key.h"
#include "event/time.h"

struct cases {
	const char *file;
	struct buf text;
	struct json_value *list;
	size_t n;
};

static struct cases envelope = { .file = "envelope.ndjson" }, keys = { .file = "keys.ndjson" },
		    indexes = { .file = "index.ndjson" };

static bool member(const struct json_value *object, const char *name, struct json_value *out)
{
	return established_member(object, name, out);
}

/* The text of a string member; fails the test if there is none. */
static void text_of(const struct json_value *object, const char *name, struct buf *out)
{
	struct json_value v;
	ck_assert_msg(member(object, name, &v) && v.type == JSON_STRING,
		      "the case has no text '%s'", name);
	json_string(&v, out);
}

static bool is_number_char(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* The same number: integers digit by digit, others by the double they mean. */
static bool same_number(const char *a, size_t a_len, const char *b, size_t b_len)
{
	_cleanup_(freep) char *x = strndup(a, a_len), *y = strndup(b, b_len);
	if (!strpbrk(x, ".eE") || !strpbrk(y, ".eE"))
		return !strcmp(x, y);
	double dx = strtod(x, NULL), dy = strtod(y, NULL);
	return !memcmp(&dx, &dy, sizeof(dx));
}

/* Byte for byte the same, numbers apart. */
static bool same_document(const char *a, const char *b)
{
	bool in_string = false;
	while (*a && *b) {
		bool number = !in_string && (*a == '-' || (*a >= '0' && *a <= '9'));
		if (number) {
			size_t a_len = 0, b_len = 0;
			while (is_number_char(a[a_len]))
				a_len++;
			while (is_number_char(b[b_len]))
				b_len++;
			if (!same_number(a, a_len, b, b_len))
				return false;
			a += a_len;
			b += b_len;
			continue;
		}
		if (*a != *b)
			return false;
		if (in_string && *a == '\\') {
			if (a[1] != b[1])
				return false;
			a++;
			b++;
		} else if (*a == '"') {
			in_string = !in_string;
		}
		a++;
		b++;
	}
	return !*a && !*b;
}

/* What SPICE fills by chance or by the clock, we leave as null. */
static void replace_defaulted(struct buf *text)
{
	const char *marks[] = { "\"@event_id@\"", "\"@occurred_at@\"" };
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		_cleanup_(buf_release) struct buf copy = BUF_INIT;
		const char *at = strstr(buf_text(text), marks[i]);
		if (!at)
			continue;
		buf_add(&copy, text->data, (size_t)(at - text->data));
		buf_add_text(&copy, "null");
		buf_add_text(&copy, at + strlen(marks[i]));
		buf_reset(text);
		buf_add(text, copy.data, copy.len);
	}
}

static void check_written(const struct json_value *c, const struct event *e)
{
	_cleanup_(buf_release) struct buf written = BUF_INIT, expected = BUF_INIT, newer = BUF_INIT;
	struct json_value v;
	event_write(e, &written);
	text_of(c, "bytes", &expected);
	replace_defaulted(&expected);
	if (same_document(buf_text(&written), buf_text(&expected)))
		return;
	if (member(c, "newer_bytes", &v)) {
		json_string(&v, &newer);
		if (same_document(buf_text(&written), buf_text(&newer)))
			return;
	}
	ck_abort_msg("wrote\n%s\nexpected\n%s", buf_text(&written), buf_text(&expected));
}

static char *text_or_null(const struct json_value *object, const char *name)
{
	struct json_value v;
	struct buf text = BUF_INIT;
	if (!member(object, name, &v) || v.type != JSON_STRING)
		return NULL;
	json_string(&v, &text);
	return buf_take(&text, NULL);
}

/* A datetime's own text: its offset may have seconds, which no envelope can name. */
static void time_of_datetime(const char *text, struct time_stamp *out)
{
	size_t len = strlen(text);
	struct why why = { "" };
	int seconds = 0;
	if (len > 9 && (text[len - 9] == '+' || text[len - 9] == '-') && text[len - 6] == ':' &&
	    text[len - 3] == ':') {
		seconds = atoi(text + len - 2) * (text[len - 9] == '-' ? -1 : 1);
		len -= 3;
	}
	ck_assert_msg(time_parse(text, len, out, &why) == RC_OK, "%s", why.text);
	out->offset_s += seconds;
	out->us -= seconds * INT64_C(1000000);
}

static char *object_or_null(const struct json_value *object, const char *name)
{
	struct json_value v;
	struct buf text = BUF_INIT;
	if (!member(object, name, &v))
		return NULL;
	json_form_normal(&v, &text);
	return buf_take(&text, NULL);
}

static void check_build(const struct json_value *c, const struct json_value *in)
{
	_cleanup_(event_release) struct event e = EVENT_INIT;
	_cleanup_(freep) char *time = text_or_null(in, "occurred_at");
	struct json_value number;
	e.event_id = text_or_null(in, "event_id");
	e.event_type = text_or_null(in, "event_type");
	e.aggregate_type = text_or_null(in, "aggregate_type");
	e.aggregate_id = text_or_null(in, "aggregate_id");
	e.actor = text_or_null(in, "actor");
	e.schema_version = text_or_null(in, "schema_version");
	e.data = object_or_null(in, "data");
	e.metadata = object_or_null(in, "metadata");
	ck_assert_ptr_nonnull(time);
	time_of_datetime(time, &e.occurred_at);
	e.has_time = true;
	if (member(in, "sequence_number", &number) && number.type != JSON_NULL) {
		e.has_number = true;
		e.number_text = strndup(number.text, number.len);
	}
	check_written(c, &e);
}

static void decode_base64(const struct json_value *v, struct buf *out)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	json_string(v, &text);
	ck_assert(buf_reserve(out, text.len));
	int n = EVP_DecodeBlock((unsigned char *)out->data, (unsigned char *)text.data,
				(int)text.len);
	ck_assert_int_gt(n, 0);
	out->len = (size_t)n - strspn(text.data + text.len - 2, "=");
}

static bool is_error(const struct json_value *c)
{
	struct json_value v;
	return member(c, "error", &v) && v.type == JSON_TRUE;
}

static void check_parse(const struct json_value *c)
{
	_cleanup_(event_release) struct event e = EVENT_INIT;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct json_value v;
	struct why why = { "" };
	if (member(c, "in_base64", &v))
		decode_base64(&v, &text);
	else
		text_of(c, "in", &text);

	enum rc rc = event_parse(buf_text(&text), text.len, &e, &why);
	if (is_error(c)) {
		ck_assert_msg(rc == RC_INVALID, "should be refused: %s", buf_text(&text));
		ck_assert_msg(why.text[0], "refused without a reason");
		return;
	}
	/*
	 * SPICE loses what such an event says: we refuse it, and must still know what SPICE makes
	 * of it
	 */
	if (rc == RC_INVALID && strstr(why.text, "older shape"))
		rc = event_parse_lossy(buf_text(&text), text.len, &e, &why);
	ck_assert_msg(rc == RC_OK, "refused: %s\n%s", why.text, buf_text(&text));
	check_written(c, &e);
}

START_TEST(envelope_is_read_and_written_as_recorded)
{
	const struct json_value *c = &envelope.list[_i];
	struct json_value how, in = { JSON_NULL, "null", 4 };
	_cleanup_(event_release) struct event e = EVENT_INIT;
	enum rc rc;
	ck_assert(member(c, "how", &how));
	member(c, "in", &in);
	if (json_string_is(&how, "build")) {
		check_build(c, &in);
		return;
	}
	if (json_string_is(&how, "parse")) {
		check_parse(c);
		return;
	}
	if (json_string_is(&how, "command"))
		rc = established_command(&in, &e);
	else if (json_string_is(&how, "event"))
		rc = established_base_event(&in, &e);
	else if (json_string_is(&how, "connector"))
		rc = established_connector(&in, &e);
	else
		ck_abort_msg("unknown kind of case %.*s", (int)how.len, how.text);
	if (is_error(c)) {
		ck_assert_int_eq(rc, RC_INVALID);
		return;
	}
	ck_assert_int_eq(rc, RC_OK);
	check_written(c, &e);
}
END_TEST

/* A NUL as event_parse_lossy gives it. */
static void hide_nul(struct buf *text)
{
	struct buf hidden = BUF_INIT;
	for (size_t i = 0; i < text->len; i++)
		buf_add(&hidden, text->data[i] ? &text->data[i] : "\xc0\x80",
			text->data[i] ? 1 : 2);
	buf_release(text);
	*text = hidden;
}

static void check_key(const struct json_value *c, const char *name, const struct buf *key)
{
	_cleanup_(buf_release) struct buf expected = BUF_INIT;
	text_of(c, name, &expected);
	hide_nul(&expected);
	ck_assert_str_eq(buf_text(key), buf_text(&expected));
}

static void check_keys(const struct json_value *c, const char *type, const char *id,
		       const char *event_id, int64_t us, const char *number)
{
	_cleanup_(buf_release) struct buf event = BUF_INIT, aggregate = BUF_INIT, date = BUF_INIT,
					  by_id = BUF_INIT;
	key_indexed_event(us, type, id, event_id, &event);
	check_key(c, "event_key", &event);
	key_indexed_by_aggregate(type, id, number, event_id, &aggregate);
	check_key(c, "by_aggregate", &aggregate);
	key_indexed_by_date(us, event_id, &date);
	check_key(c, "by_date", &date);
	key_indexed_by_event_id(event_id, &by_id);
	check_key(c, "by_event_id", &by_id);
}

START_TEST(keys_are_as_recorded)
{
	const struct json_value *c = &keys.list[_i];
	_cleanup_(freep) char *type = text_or_null(c, "aggregate_type"),
			      *id = text_or_null(c, "aggregate_id");
	_cleanup_(freep) char *event_id = text_or_null(c, "event_id"),
			      *time = text_or_null(c, "occurred_at");
	_cleanup_(freep) char *number = NULL;
	struct json_value v;
	struct time_stamp t;
	struct why why = { "" };
	ck_assert(type && id && event_id && time);
	ck_assert_msg(time_parse(time, strlen(time), &t, &why) == RC_OK, "%s", why.text);
	ck_assert_int_eq(time_in_calendar(t.us), !is_error(c));
	if (is_error(c))
		return;
	ck_assert(member(c, "sequence_number", &v));
	number = v.type == JSON_NULL ? strdup("0") : strndup(v.text, v.len);
	check_keys(c, type, id, event_id, t.us, number);
	ck_assert(member(c, "ts_ms", &v));
	ck_assert_int_eq(time_index_ms(t.us), strtoll(v.text, NULL, 10));
}
END_TEST

START_TEST(index_body_is_as_recorded)
{
	const struct json_value *c = &indexes.list[_i];
	_cleanup_(event_release) struct event e = EVENT_INIT;
	_cleanup_(buf_release) struct buf text = BUF_INIT, key = BUF_INIT, body = BUF_INIT,
					  expected = BUF_INIT;
	struct why why = { "" };
	text_of(c, "envelope", &text);
	/*
	 * no key can hold a NUL: we refuse to read such an event, and must still know what SPICE
	 * makes of it
	 */
	enum rc rc = event_parse(buf_text(&text), text.len, &e, &why);
	if (rc == RC_INVALID && strstr(why.text, "NUL"))
		rc = event_parse_lossy(buf_text(&text), text.len, &e, &why);
	ck_assert_msg(rc == RC_OK, "%s", why.text);
	ck_assert(e.has_time);
	check_keys(c, e.aggregate_type, e.aggregate_id, e.event_id, e.occurred_at.us,
		   e.has_number ? e.number_text : "0");
	text_of(c, "event_key", &key);
	hide_nul(&key);
	event_write_index(&e, buf_text(&key), &body);
	text_of(c, "body", &expected);
	ck_assert_str_eq(buf_text(&body), buf_text(&expected));
}
END_TEST

/* A comparison that takes everything would pass every case. */
START_TEST(comparison_sees_a_difference)
{
	ck_assert(same_document("{\"a\":1e20,\"b\":\"1.0\"}", "{\"a\":1e+20,\"b\":\"1.0\"}"));
	ck_assert(!same_document("{\"a\":1e20}", "{\"a\":1e21}"));
	ck_assert(!same_document("{\"a\":10000000000000000000001}",
				 "{\"a\":10000000000000000000002}"));
	ck_assert(!same_document("{\"a\":\"1.0\"}", "{\"a\":\"1.00\"}"));
	ck_assert(!same_document("{\"a\":1}", "{\"a\":1}}"));
}
END_TEST

START_TEST(connector_namespace_is_the_recorded_one)
{
	char ns[37];
	established_uuid5("6ba7b811-9dad-11d1-80b4-00c04fd430c8",
			  "spice-harvester:connector-events", ns);
	ck_assert_str_eq(ns, "62e30d6c-4ef8-58ad-b7e6-88344366ab05");
}
END_TEST

static bool read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "r");
	size_t n;
	if (!f)
		return false;
	do {
		if (!buf_reserve(out, 65536))
			break;
		n = fread(out->data + out->len, 1, 65536, f);
		out->len += n;
	} while (n);
	fclose(f);
	return !buf_failed(out);
}

/* False, with a line on stderr: no such file, not JSON, no case in it. */
static bool load(const char *folder, struct cases *c)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	struct why why = { "" };
	buf_printf(&path, "%s/%s", folder, c->file);
	if (!read_file(buf_text(&path), &c->text)) {
		fprintf(stderr, "test-vectors: cannot read %s\n", buf_text(&path));
		return false;
	}
	for (size_t off = 0, used; off < c->text.len; off += used) {
		struct json_value v;
		enum json_scan r = json_scan(c->text.data + off, c->text.len - off, JSON_LAX, 1, &v,
					     &used, &why);
		if (r == JSON_EMPTY)
			break;
		c->list = r == JSON_COMPLETE ? reallocarray(c->list, c->n + 1, sizeof(*c->list))
					     : NULL;
		if (!c->list) {
			fprintf(stderr, "test-vectors: %s: case %zu: %s\n", buf_text(&path),
				c->n + 1, why.text);
			return false;
		}
		c->list[c->n++] = v;
	}
	if (!c->n)
		fprintf(stderr, "test-vectors: %s holds no case\n", buf_text(&path));
	return c->n > 0;
}

int main(void)
{
	const char *folder = getenv("EVFS_VECTORS"), *ci = getenv("CI");
	if (!folder || !*folder)
		folder = VECTORS_DEFAULT;
	if (access(folder, R_OK)) {
		fprintf(stderr, "test-vectors: no vectors in %s; EVFS_VECTORS names their folder\n",
			folder);
		return ci && !strcmp(ci, "true") ? EXIT_FAILURE : 77;
	}
	if (!load(folder, &envelope) || !load(folder, &keys) || !load(folder, &indexes))
		return EXIT_FAILURE;

	Suite *suite = suite_create("vectors");
	TCase *tc = tcase_create("cases");
	tcase_add_loop_test(tc, envelope_is_read_and_written_as_recorded, 0, (int)envelope.n);
	tcase_add_loop_test(tc, keys_are_as_recorded, 0, (int)keys.n);
	tcase_add_loop_test(tc, index_body_is_as_recorded, 0, (int)indexes.n);
	tcase_add_test(tc, comparison_sees_a_difference);
	tcase_add_test(tc, connector_namespace_is_the_recorded_one);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	printf("test-vectors: %zu envelope, %zu key and %zu index cases\n", envelope.n, keys.n,
	       indexes.n);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
