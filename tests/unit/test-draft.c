/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "event/draft.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/event.h"

#define ID "0b7e2c1e-4a7f-4c56-9c39-1d2f6a0b9e11"
#define US INT64_C(1766048703123456)

static struct json_value parsed(const char *text)
{
	struct json_value v = { JSON_NULL, NULL, 0 };
	struct why why = { "" };
	enum rc rc = json_parse(text, strlen(text), JSON_STRICT, &v, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", text, why.text);
	return v;
}

static void draft_of(const char *text, struct draft *out)
{
	struct json_value v = parsed(text);
	struct why why = { "" };
	ck_assert_msg(draft_from_document(&v, out, &why) == RC_OK, "%s", why.text);
}

START_TEST(smallest_document_is_taken)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	draft_of("{\"event_type\":\"OrderPaid\",\"data\":{ \"amount\" : 5.00, \"a\":1, \"a\":2 }}",
		 &d);
	ck_assert_str_eq(d.event_type, "OrderPaid");
	ck_assert_str_eq(d.data, "{\"amount\":5.00,\"a\":1,\"a\":2}");
	ck_assert_str_eq(d.metadata, "{}");
	ck_assert_str_eq(d.schema_version, "1");
	ck_assert(!d.event_id && !d.actor && !d.aggregate_type && !d.has_time && !d.has_expect &&
		  !d.has_number);
}
END_TEST

START_TEST(whole_document_is_taken)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	draft_of(
		"{\"sequence_number\":4,\"expected_seq\":3,\"schema_version\":\"2\","
		 "\"metadata\":{\"m\":[ ]},\"data\":{},"
		"\"actor\":\"j\\u00f6\",\"occurred_at\":\"2025-12-18T10:05:03+01:00\","
		 "\"aggregate_id\":\"o/1\","
		"\"aggregate_type\":\"Order\",\"event_type\":\"X\",\"event_id\":\"" ID "\"}",
		&d);
	ck_assert_str_eq(d.event_id, ID);
	ck_assert_str_eq(d.actor, "j\xc3\xb6");
	ck_assert_str_eq(d.metadata, "{\"m\":[]}");
	ck_assert_str_eq(d.schema_version, "2");
	ck_assert(d.has_time && d.occurred_at.us == INT64_C(1766048703000000) &&
		  d.occurred_at.offset_s == 3600);
	ck_assert(d.has_expect && d.expect == 3 && d.has_number && d.number == 4);
	struct why why = { "" };
	ck_assert_int_eq(draft_check_stream(&d, "Order", "o/1", &why), RC_OK);
	ck_assert_int_eq(draft_check_stream(&d, "Order", "o/2", &why), RC_INVALID);
	ck_assert_str_eq(why.text, "the event's aggregate_id is 'o/1', the stream's 'o/2'");
	ck_assert_int_eq(draft_check_stream(&d, "Invoice", "o/1", &why), RC_INVALID);
}
END_TEST

static const struct {
	const char *text, *reason;
} refused[] = {
	{ "[]", "line 1, column 1: expected an object, found an array" },
	{ "{\"data\":{}}", "the key 'event_type' is missing; event_type and data are needed" },
	{ "{\"event_type\":\"X\"}", "the key 'data' is missing; event_type and data are needed" },
	{ "{\"event_type\":\"X\",\"data\":[]}",
	  "line 1, column 26: 'data': expected an object, found an array" },
	{ "{\"event_type\":\"X\",\n \"data\":null}",
	  "line 2, column 9: 'data': expected an object, found null" },
	{ "{\"event_type\":1,\"data\":{}}",
	  "line 1, column 15: 'event_type': expected a string, found a number" },
	{ "{\"event_type\":\"\",\"data\":{}}",
	  "line 1, column 15: 'event_type': expected text that is not empty, found \"\"" },
	{ "{\"event_type\":\"a\\u0000\",\"data\":{}}",
	  "line 1, column 15: 'event_type': expected text, found a NUL character in it" },
	{ "{\"event_id\":\"\",\"event_type\":\"X\",\"data\":{}}",
	  "line 1, column 13: 'event_id': expected text that is not empty, found \"\"" },
	{ "{\"event_type\":\"X\",\"data\":{},\n\"data\":{}}",
	  "line 2, column 1: the key 'data' stands twice" },
	{ "{\"event_type\":\"X\",\"d\\u0061ta\":{},\"data\":{}}",
	  "line 1, column 34: the key 'data' stands twice" },
	{ "{\"event_type\":\"X\",\"data\":{},\"expected_seq\":1,\"expected_seq\":1}",
	  "line 1, column 46: the key 'expected_seq' stands twice" },
	{ "{\"event_type\":\"X\",\"payload\":{}}",
	  "line 1, column 19: unknown key \"payload\"; known are event_type, "
	  "data, event_id, occurred_at, actor, metadata, schema_version, expected_seq, "
	  "aggregate_type, "
	  "aggregate_id, sequence_number" },
	{ "{\"event_type\":\"X\",\"data\":{},\"expected_seq\":-1}",
	  "line 1, column 44: 'expected_seq': expected a whole number, 0 or more, found -1" },
	{ "{\"event_type\":\"X\",\"data\":{},\"expected_seq\":\"1\"}",
	  "line 1, column 44: 'expected_seq': expected a whole number, 0 or more, found a string" },
	{ "{\"event_type\":\"X\",\"data\":{},\"sequence_number\":1.5}",
	  "line 1, column 47: 'sequence_number': expected a whole number or null, found 1.5" },
	{ "{\"event_type\":\"X\",\"data\":{},\"actor\":1}",
	  "line 1, column 37: 'actor': expected a string or null, found a number" },
	{ "{\"event_type\":\"X\",\"data\":{},\"metadata\":null}",
	  "line 1, column 40: 'metadata': expected an object, found null" },
	{ "{\"event_type\":\"X\",\"data\":{},\"schema_version\":1}",
	  "line 1, column 46: 'schema_version': expected a string, found a number" },
	{ "{\"event_type\":\"X\",\"data\":{},\"occurred_at\":\"now\"}",
	  "line 1, column 43: 'occurred_at': expected a "
	  "time such as 2025-12-18T09:05:03.123456Z, found 'now'" },
	{ "{\"event_type\":\"X\",\"data\":{},\"occurred_at\":\"0001-01-01T00:00:00+14:00\"}",
	  "line 1, column 43: "
	  "'occurred_at': expected a time within the years 1 to 9999 in UTC, "
	  "found 0001-01-01T00:00:00+14:00" },
};

START_TEST(bad_document_is_refused_with_key_and_place)
{
	struct json_value v = parsed(refused[_i].text);
	struct draft d = DRAFT_INIT;
	struct why why = { "" };
	ck_assert_int_eq(draft_from_document(&v, &d, &why), RC_INVALID);
	ck_assert_str_eq(why.text, refused[_i].reason);
	ck_assert_ptr_null(d.event_type);
}
END_TEST

static enum rc from_file(const char *text, const char *type, bool has_number, uint64_t number,
			 struct draft *out, struct why *why)
{
	struct json_value v = parsed(text);
	return draft_from_file(&v, type, has_number, number, out, why);
}

START_TEST(file_holds_a_payload)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	ck_assert_int_eq(
		from_file("{ \"event_id\": 1, \"x\": {} }", "OrderPaid", true, 3, &d, NULL), RC_OK);
	ck_assert_str_eq(d.data, "{\"event_id\":1,\"x\":{}}");
	ck_assert_str_eq(d.event_type, "OrderPaid");
	ck_assert(d.has_number && d.number == 3 && !d.event_id);
}
END_TEST

#define ENVELOPE                                                                                   \
	"{\"event_id\":\"" ID "\",\"event_type\":\"OrderPaid\",\"aggregate_type\":\"Order\","      \
	"\"aggregate_id\":\"o-1\",\"occurred_at\":\"2025-12-18T09:05:03.123456Z\",\"actor\":null," \
	"\"data\":{\"a\":1.50},\"metadata\":{},\"schema_version\":\"1\",\"sequence_number\":7}"

START_TEST(file_holds_an_envelope_that_agrees_with_its_name)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	struct why why = { "" };
	ck_assert_int_eq(from_file(ENVELOPE, "OrderPaid", true, 8, &d, &why), RC_INVALID);
	ck_assert_str_eq(
		why.text,
		"an object with event_id and aggregate_id is a whole event: the event's sequence "
		"number is 7, the file's name says 8");
	ck_assert_int_eq(from_file(ENVELOPE, "OrderSent", true, 7, &d, &why), RC_INVALID);
	ck_assert_int_eq(from_file(ENVELOPE, "", true, 7, &d, &why), RC_INVALID);
	ck_assert_int_eq(from_file(ENVELOPE, "a\xff", true, 7, &d, &why), RC_INVALID);
	ck_assert_int_eq(from_file("[1]", "OrderPaid", true, 7, &d, &why), RC_INVALID);
	ck_assert_int_eq(
		from_file(
			"{\"event_id\":\"x\",\"aggregate_id\":\"y\",\"event_type\":\"X\","
				   "\"data\":{},"
			"\"expected_seq\":1}",
			"X", false, 0, &d, &why),
		RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "unknown key \"expected_seq\""));
	ck_assert_int_eq(from_file(ENVELOPE, "OrderPaid", false, 0, &d, &why), RC_OK);
	ck_assert(d.has_number && d.number == 7 && d.has_time);
	ck_assert_str_eq(d.event_id, ID);
}
END_TEST

static void render(const struct draft *d, struct draft_pieces *p)
{
	struct why why = { "" };
	ck_assert_msg(draft_render(d, "Order", "o-1", ID, p, &why) == RC_OK, "%s", why.text);
}

static void join(const struct draft_pieces *p, uint64_t number, struct buf *out)
{
	draft_join(p->head.data, p->head.len, p->tail.data, p->tail.len, p->own_time, US, number,
		   out);
	ck_assert_uint_eq(out->len,
			  draft_join_len(p->head.len, p->tail.len, p->own_time, US, number));
}

/* An envelope written to an empty store comes out byte for byte. */
START_TEST(restored_envelope_is_the_same)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	_cleanup_(draft_pieces_release) struct draft_pieces p = DRAFT_PIECES_INIT;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	uint8_t digest[DRAFT_DIGEST_LEN];
	ck_assert_int_eq(from_file(ENVELOPE, "OrderPaid", true, 7, &d, NULL), RC_OK);
	render(&d, &p);
	ck_assert(p.own_time && p.occurred_us == US);
	join(&p, 7, &body);
	ck_assert_str_eq(buf_text(&body), ENVELOPE);
	ck_assert_int_eq(draft_digest_body(body.data, body.len, digest, NULL), RC_OK);
	ck_assert_mem_eq(digest, p.digest, sizeof(digest));
}
END_TEST

START_TEST(recorded_time_is_filled_in)
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	_cleanup_(draft_pieces_release) struct draft_pieces p = DRAFT_PIECES_INIT;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	_cleanup_(event_release) struct event e = EVENT_INIT;
	draft_of(
		"{\"event_type\":\"X\",\"data\":{\"n\":1e400,\"s\":\"\\u0000\\u00e9\"},"
		 "\"actor\":\"a\\\"b\"}",
		&d);
	render(&d, &p);
	ck_assert(!p.own_time);
	join(&p, 1234567, &body);
	ck_assert_str_eq(
		buf_text(&body),
		"{\"event_id\":\"" ID "\",\"event_type\":\"X\",\"aggregate_type\":\"Order\","
		"\"aggregate_id\":\"o-1\",\"occurred_at\":\"2025-12-18T09:05:03.123456Z\","
		"\"actor\":\"a\\\"b\",\"data\":{\"n\":1e400,\"s\":\"\\u0000\\u00e9\"},"
			 "\"metadata\":{},"
		"\"schema_version\":\"1\",\"sequence_number\":1234567}");
	ck_assert_int_eq(event_parse(body.data, body.len, &e, NULL), RC_OK);
	ck_assert_uint_eq(e.number, 1234567);
}
END_TEST

static void digest_of(const char *document, uint8_t out[DRAFT_DIGEST_LEN])
{
	_cleanup_(draft_release) struct draft d = DRAFT_INIT;
	_cleanup_(draft_pieces_release) struct draft_pieces p = DRAFT_PIECES_INIT;
	draft_of(document, &d);
	render(&d, &p);
	memcpy(out, p.digest, DRAFT_DIGEST_LEN);
}

START_TEST(digest_is_of_values_not_of_spelling)
{
	uint8_t a[DRAFT_DIGEST_LEN], b[DRAFT_DIGEST_LEN];
	digest_of("{\"event_type\":\"X\",\"data\":{\"a\":1,\"b\":\"\\u00e9\"},\"metadata\":{}}", a);
	digest_of(
		"{\"data\": {\"b\":\"\xc3\xa9\", \"a\":1.0}, \"event_type\":\"\\u0058\","
		  "\"schema_version\":\"1\","
		"\"event_id\":\"other\",\"occurred_at\":\"2020-01-01T00:00:00Z\","
		  "\"expected_seq\":3}",
		b);
	ck_assert_mem_eq(a, b, sizeof(a));
	static const char *const others[] = {
		"{\"event_type\":\"Y\",\"data\":{\"a\":1,\"b\":\"\\u00e9\"}}",
		"{\"event_type\":\"X\",\"data\":{\"a\":2,\"b\":\"\\u00e9\"}}",
		"{\"event_type\":\"X\",\"data\":{\"a\":1,\"b\":\"\\u00e9\"},\"actor\":\"\"}",
		"{\"event_type\":\"X\",\"data\":{\"a\":1,\"b\":\"\\u00e9\"},"
		"\"metadata\":{\"m\":null}}",
		"{\"event_type\":\"X\",\"data\":{\"a\":1,\"b\":\"\\u00e9\"},"
		"\"schema_version\":\"2\"}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		digest_of(others[i], b);
		ck_assert_msg(memcmp(a, b, sizeof(a)), "%s", others[i]);
	}
}
END_TEST

START_TEST(digest_of_no_event_is_refused)
{
	uint8_t digest[DRAFT_DIGEST_LEN];
	struct why why = { "" };
	ck_assert_int_eq(draft_digest_body("", 0, digest, &why), RC_INVALID);
	ck_assert_int_eq(draft_digest_body("{\"a\":1}", 7, digest, &why), RC_INVALID);
	ck_assert_str_eq(why.text, "'event_type' is missing");
}
END_TEST

START_TEST(line_is_the_body_where_it_is_compact)
{
	_cleanup_(buf_release) struct buf out = BUF_INIT;
	bool same = false;
	ck_assert_int_eq(event_line(ENVELOPE, strlen(ENVELOPE), &out, &same, NULL), RC_OK);
	ck_assert(same);
	ck_assert_str_eq(buf_text(&out), ENVELOPE "\n");
	static const char *const rows[][2] = {
		{ "{ \"a\" : \"x y\\\" {N}\" }\n", "{\"a\":\"x y\\\" {N}\"}\n" },
		{ "{\"a\":NaN}", "{\"a\":null}\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		buf_reset(&out);
		ck_assert_int_eq(event_line(rows[i][0], strlen(rows[i][0]), &out, &same, NULL),
				 RC_OK);
		ck_assert(!same);
		ck_assert_str_eq(buf_text(&out), rows[i][1]);
	}
	ck_assert_int_eq(event_line("[]", 2, &out, &same, NULL), RC_INVALID);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("draft");
	TCase *tc = tcase_create("draft");
	tcase_add_test(tc, smallest_document_is_taken);
	tcase_add_test(tc, whole_document_is_taken);
	tcase_add_loop_test(tc, bad_document_is_refused_with_key_and_place, 0,
			    (int)ARRAY_SIZE(refused));
	tcase_add_test(tc, file_holds_a_payload);
	tcase_add_test(tc, file_holds_an_envelope_that_agrees_with_its_name);
	tcase_add_test(tc, restored_envelope_is_the_same);
	tcase_add_test(tc, recorded_time_is_filled_in);
	tcase_add_test(tc, digest_is_of_values_not_of_spelling);
	tcase_add_test(tc, digest_of_no_event_is_refused);
	tcase_add_test(tc, line_is_the_body_where_it_is_compact);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
