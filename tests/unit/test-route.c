/* SPDX-License-Identifier: Apache-2.0 */
/* test-route.c - what is sent for an event, and for one that can't be; against what the established publisher sent. */
#include "config.h"
#include "publisher/route.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "event/event.h"

#define ID "0b7e2c1e-4a7f-4c56-9c39-1d2f6a0b9e11"
#define US INT64_C(1766048703123456) /* 2025-12-18T09:05:03.123456Z */
#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct route_message message;
static struct buf body;

static void setup(void)
{
	message = (struct route_message)ROUTE_MESSAGE_INIT;
	body = (struct buf)BUF_INIT;
}

static void teardown(void)
{
	route_message_release(&message);
	buf_release(&body);
}

static const struct route_options plain = { .default_topic = "events", .dlq_topic = "dead" };
static const struct route_options bucket = { .default_topic = "events", .dlq_topic = "dead", .bucket = "shop",
					     .prefix = "eu/", .endpoint = "http://127.0.0.1:9000",
					     .source = "/evfs/7c0e" };

/* An event of that type with that metadata, stored as evfs stores it. */
static struct tail_event event_of(const char *type, const char *metadata)
{
	buf_reset(&body);
	buf_printf(&body,
		   "{\"event_id\":\"" ID "\",\"event_type\":\"OrderPaid\",\"aggregate_type\":\"%s\",\"aggregate_id\":\"o-1\","
		   "\"occurred_at\":\"2025-12-18T09:05:03.123456Z\",\"actor\":null,\"data\":{},\"metadata\":%s,"
		   "\"schema_version\":\"1\",\"sequence_number\":7}",
		   type, metadata);
	return (struct tail_event){ .type = type, .id = "o-1", .number = 7, .event_id = ID, .event_type = "OrderPaid",
				    .occurred_us = US, .recorded_us = US + 1000000, .key = "streams/Order/o-1/0000000007.json",
				    .body = buf_text(&body), .len = body.len, .rc = RC_OK };
}

static void make(const struct route_options *o, const struct tail_event *e)
{
	struct why why = { "" };
	enum rc rc = route_make(o, e, &message, &why);
	ck_assert_msg(rc == RC_OK, "%s", why.text);
}

static const char *header(const char *name)
{
	const char *found = NULL;
	for (size_t i = 0; i < message.message.n_headers; i++)
		if (!strcmp(message.message.headers[i].name, name)) {
			ck_assert_msg(!found, "the header %s stands twice", name);
			found = message.message.headers[i].value;
		}
	return found;
}

static const struct {
	const char *type, *metadata, *topic, *key;
} routes[] = {
	{ "Instance", "{\"kafka_topic\":\"orders.v1\"}", "orders.v1", "o-1" },
	{ "Instance", "{\"kafka_topic\":\"\\u006frders\"}", "orders", "o-1" },
	{ "Instance", "{\"kafka_topic\":null}", "instance_events", "o-1" },
	{ "Instance", "{\"kafka_topic\":\"\"}", "instance_events", "o-1" },
	{ "INSTANCE", "{}", "instance_events", "o-1" },
	{ "dataset", "{}", "pipeline-events", "o-1" },
	{ "Pipeline", "{}", "pipeline-events", "o-1" },
	{ "ontology", "{}", "ontology_events", "o-1" },
	{ "connector_source", "{}", "connector-updates", "o-1" },
	{ "ConnectorX", "{}", "connector-updates", "o-1" },
	{ "connector", "{}", "connector-updates", "o-1" },
	{ "OntologyClass", "{}", "events", "o-1" },
	{ "Datasets", "{}", "events", "o-1" },
	{ "Data", "{}", "events", "o-1" },
	{ "Order", "{\"ordering_key\":\"db:main\"}", "events", "db:main" },
	{ "Order", "{\"ordering_key\":\"\\u05db\"}", "events", "\xd7\x9b" },
	{ "Order", "{\"ordering_key\":\"\"}", "events", "o-1" },
	{ "Order", "{\"ordering_key\":null}", "events", "o-1" },
	{ "Order", "{\"ordering_key\":12}", "events", "12" },
	{ "Order", "{\"ordering_key\":0}", "events", "o-1" },
	{ "Order", "{\"ordering_key\":{\"a\":1}}", "events", "o-1" },
};

START_TEST(topic_and_key_follow_the_rules)
{
	struct tail_event e = event_of(routes[_i].type, routes[_i].metadata);
	make(&plain, &e);
	ck_assert_str_eq(message.message.topic, routes[_i].topic);
	ck_assert_uint_eq(message.message.key_len, strlen(routes[_i].key));
	ck_assert_str_eq(message.message.key, routes[_i].key);
	ck_assert_uint_eq(message.message.len, e.len);
	ck_assert_int_eq(memcmp(message.message.value, e.body, e.len), 0);
	ck_assert_int_eq(message.message.time_us, 0);
}
END_TEST

START_TEST(key_is_the_event_id_where_there_is_no_aggregate_id)
{
	struct tail_event e = event_of("Order", "{}");
	e.id = "";
	make(&plain, &e);
	ck_assert_str_eq(message.message.key, ID);
}
END_TEST

static const struct {
	const char *metadata, *reason;
} bad_topics[] = {
	{ "{\"kafka_topic\":\"a b\"}", "'a b' can be no topic" },
	{ "{\"kafka_topic\":\"..\"}", "'..' can be no topic" },
	{ "{\"kafka_topic\":\"\xc3\xb6\"}", "'\xc3\xb6' can be no topic" },
	{ "{\"kafka_topic\":\"a\\u0000b\"}", "'kafka_topic' holds a NUL character" },
	{ "{\"kafka_topic\":5}", "'kafka_topic': expected a string, found a number" },
	{ "{\"kafka_topic\":[]}", "'kafka_topic': expected a string, found an array" },
};

START_TEST(topic_that_can_be_none_is_refused)
{
	struct why why = { "" };
	struct tail_event e = event_of("Order", bad_topics[_i].metadata);
	ck_assert_int_eq(route_make(&plain, &e, &message, &why), RC_INVALID);
	ck_assert_str_eq(buf_text(&message.key), "o-1");
	ck_assert_msg(!strncmp(why.text, bad_topics[_i].reason, strlen(bad_topics[_i].reason)), "%s", why.text);
}
END_TEST

START_TEST(topic_has_249_characters_at_most)
{
	char name[252];
	memset(name, 'a', sizeof(name));
	name[249] = '\0';
	ck_assert_int_eq(route_check_topic(name, NULL), RC_OK);
	name[249] = 'a';
	name[250] = '\0';
	ck_assert_int_eq(route_check_topic(name, NULL), RC_INVALID);
	ck_assert_int_eq(route_check_topic("", NULL), RC_INVALID);
	ck_assert_int_eq(route_check_topic(".", NULL), RC_INVALID);
	ck_assert_int_eq(route_check_topic("a.b-c_D9", NULL), RC_OK);
}
END_TEST

static const struct {
	const char *metadata, *parent, *state, *baggage;
} traces[] = {
	{ "{}", NULL, NULL, NULL },
	{ "{\"traceparent\":\"" PARENT "\",\"tracestate\":\"a=b\",\"baggage\":\"k=v\"}", PARENT, "a=b", "k=v" },
	{ "{\"traceparent\":\"\",\"tracestate\":null,\"baggage\":\"\"}", NULL, NULL, NULL },
	{ "{\"request_id\":\"r 1/\xc3\xb6~\"}", NULL, NULL, "request_id=r%201%2F%C3%B6~" },
	{ "{\"db_name\":\"d\",\"correlation_id\":\"c\",\"request_id\":\"r\"}", NULL, NULL,
	  "request_id=r,correlation_id=c,db_name=d" },
	{ "{\"project\":\"p\"}", NULL, NULL, "db_name=p" },
	{ "{\"db_name\":\"\",\"project\":null,\"db\":\"x\"}", NULL, NULL, "db_name=x" },
	{ "{\"request_id\":5,\"correlation_id\":true,\"db\":{}}", NULL, NULL, "request_id=5,correlation_id=True" },
	{ "{\"baggage\":\"k=v, request_id = z;p=1\",\"request_id\":\"r\",\"db_name\":\"d\"}", NULL, NULL,
	  "k=v, request_id = z;p=1,db_name=d" },
	{ "{\"baggage\":\"request_id=\",\"request_id\":\"r\"}", NULL, NULL, "request_id=,request_id=r" },
	{ "{\"baggage\":\"request_idx=1;request_id=2\",\"request_id\":\"r\"}", NULL, NULL,
	  "request_idx=1;request_id=2,request_id=r" },
	{ "{\"metadata\":{\"traceparent\":\"" PARENT "\",\"request_id\":\"r\"},\"request_id\":\"outer\"}", PARENT, NULL,
	  "request_id=r" },
	{ "{\"metadata\":{\"traceparent\":\"inner\"},\"traceparent\":\"" PARENT "\"}", PARENT, NULL, NULL },
	{ "{\"traceparent\":\"a\\u0000b\"}", NULL, NULL, NULL },
};

static void same_text(const char *found, const char *expected, const char *what)
{
	ck_assert_msg(!found == !expected && (!found || !strcmp(found, expected)), "%s: found %s, expected %s", what,
		      found ? found : "none", expected ? expected : "none");
}

START_TEST(trace_headers_come_from_metadata)
{
	struct tail_event e = event_of("Order", traces[_i].metadata);
	make(&plain, &e);
	same_text(header("traceparent"), traces[_i].parent, "traceparent");
	same_text(header("tracestate"), traces[_i].state, "tracestate");
	same_text(header("baggage"), traces[_i].baggage, "baggage");
	ck_assert_str_eq(header("event_id"), ID);
	ck_assert_str_eq(header("sequence_number"), "7");
	ck_assert_ptr_null(header("s3_key"));
	ck_assert_ptr_null(header("ce_id"));
}
END_TEST

START_TEST(message_is_used_again)
{
	struct tail_event e = event_of("Order", "{\"kafka_topic\":\"first\",\"traceparent\":\"" PARENT "\"}");
	make(&bucket, &e);
	e = event_of("Order", "{}");
	make(&plain, &e);
	ck_assert_str_eq(message.message.topic, "events");
	ck_assert_uint_eq(message.message.n_headers, 2);
	ck_assert_ptr_null(header("traceparent"));
}
END_TEST

START_TEST(cloud_events_are_in_binary_mode)
{
	struct route_options o = bucket;
	o.cloud_events = true;
	struct tail_event e = event_of("Order", "{}");
	e.id = "a\nb\xc2\x85\xc3\xb6/c";
	make(&o, &e);
	ck_assert_str_eq(header("ce_specversion"), "1.0");
	ck_assert_str_eq(header("ce_id"), ID);
	ck_assert_str_eq(header("ce_source"), "/evfs/7c0e");
	ck_assert_str_eq(header("ce_type"), "OrderPaid");
	ck_assert_str_eq(header("ce_subject"), "Order/a%0Ab%C2%85\xc3\xb6/c");
	ck_assert_str_eq(header("ce_time"), "2025-12-18T09:05:03.123456Z");
	ck_assert_str_eq(header("content-type"), "application/json");
	ck_assert_ptr_null(header("ce_dataref"));
	ck_assert_ptr_null(header("s3_key"));
}
END_TEST

START_TEST(object_is_named_when_asked_for)
{
	struct route_options o = bucket;
	struct tail_event e = event_of("Order", "{}");
	o.reference = true;
	make(&o, &e);
	ck_assert_str_eq(header("s3_bucket"), "shop");
	ck_assert_str_eq(header("s3_key"), "eu/streams/Order/o-1/0000000007.json");
	o = plain;
	o.reference = true;
	make(&o, &e);
	ck_assert_ptr_null(header("s3_bucket"));
	ck_assert_str_eq(header("s3_key"), "streams/Order/o-1/0000000007.json");
}
END_TEST

/* What json.dumps gives for it: escapes, separators, equal keys, numbers as they stand. */
#define REFERENCE \
	"\"s3_reference\": {\"bucket\": \"shop\", \"key\": \"eu/streams/Order/o-1/0000000007.json\", " \
	"\"endpoint\": \"http://127.0.0.1:9000\", \"event_id\": \"" ID "\"}}"
#define PAYLOAD(metadata) \
	"{\"event_id\": \"" ID "\", \"event_type\": \"OrderPaid\", \"aggregate_type\": \"Order\", \"aggregate_id\": \"o-1\", " \
	"\"occurred_at\": \"2025-12-18T09:05:03.123456Z\", \"actor\": null, \"data\": {}, \"metadata\": " metadata \
	", \"schema_version\": \"1\", \"sequence_number\": 7}"

START_TEST(wrapper_is_as_json_dumps_writes_it)
{
	struct route_options o = bucket;
	o.shape = ROUTE_WRAPPER;
	struct tail_event e = event_of("Order", "{\"k\":1,\"t\":\"\xc3\xb6\x7f\xf0\x9f\x98\x80\\n\\u001f/\",\"a\":[1,-2.5,{},[],true,null],\"k\":2}");
	make(&o, &e);
	ck_assert_str_eq(message.message.value,
			 "{\"message_type\": \"EVENT\", \"payload\": "
			 PAYLOAD("{\"k\": 2, \"t\": \"\\u00f6\\u007f\\ud83d\\ude00\\n\\u001f/\", \"a\": [1, -2.5, {}, [], true, null]}")
			 ", \"metadata\": {\"relay_timestamp\": \"2025-12-18T09:05:04.123456+00:00\", \"retry_count\": 0, "
			 "\"storage_mode\": \"dual_write\"}, " REFERENCE);
	ck_assert_uint_eq(message.message.len, strlen(message.message.value));
}
END_TEST

START_TEST(wrapper_of_a_directory_has_no_reference)
{
	struct route_options o = plain;
	o.shape = ROUTE_WRAPPER;
	struct tail_event e = event_of("Order", "{\"kind\":\"command\"}");
	make(&o, &e);
	ck_assert_str_eq(message.message.value,
			 "{\"message_type\": \"COMMAND\", \"payload\": " PAYLOAD("{\"kind\": \"command\"}")
			 ", \"metadata\": {\"relay_timestamp\": \"2025-12-18T09:05:04.123456+00:00\", \"retry_count\": 0, "
			 "\"storage_mode\": \"legacy\"}}");
}
END_TEST

static struct tail_event large_event(void)
{
	char metadata[3001];
	memset(metadata, 'x', sizeof(metadata));
	memcpy(metadata, "{\"kafka_topic\":\"big\",\"k\":\"", 26);
	memcpy(metadata + 2998, "\"}", 3);
	return event_of("Order", metadata);
}

START_TEST(large_event_is_refused_or_named)
{
	struct route_options o = bucket;
	struct why why = { "" };
	struct tail_event e = large_event();
	o.max_message = 2000;
	ck_assert_int_eq(route_make(&o, &e, &message, &why), RC_TOO_LARGE);
	ck_assert_ptr_nonnull(strstr(why.text, "the limit is 2000"));
	o.large_by_reference = true;
	o.cloud_events = true;
	make(&o, &e);
	char expected[1000];
	snprintf(expected, sizeof(expected),
		 "{\"message_type\": \"EVENT_REFERENCE\", \"event\": {\"event_id\": \"" ID "\", \"event_type\": \"OrderPaid\", "
		 "\"aggregate_type\": \"Order\", \"aggregate_id\": \"o-1\", \"occurred_at\": \"2025-12-18T09:05:03.123456Z\", "
		 "\"sequence_number\": 7}, \"size\": %zu, " REFERENCE, e.len);
	ck_assert_str_eq(message.message.value, expected);
	ck_assert_str_eq(message.message.topic, "big");
	ck_assert_str_eq(message.message.key, "o-1");
	ck_assert_str_eq(header("s3_bucket"), "shop");
	ck_assert_str_eq(header("s3_key"), "eu/streams/Order/o-1/0000000007.json");
	ck_assert_str_eq(header("ce_dataref"), "s3://shop/eu/streams/Order/o-1/0000000007.json");
	o.max_message = 100;
	ck_assert_int_eq(route_make(&o, &e, &message, &why), RC_TOO_LARGE);
}
END_TEST

/* The reader of the established workers must not take it for an event without data. */
START_TEST(reference_is_no_envelope)
{
	struct route_options o = bucket;
	struct tail_event e = large_event();
	_cleanup_(event_release) struct event parsed = EVENT_INIT;
	o.max_message = 2000;
	o.large_by_reference = true;
	make(&o, &e);
	ck_assert_int_eq(event_parse(message.message.value, message.message.len, &parsed, NULL), RC_INVALID);
}
END_TEST

START_TEST(limit_counts_key_headers_and_overhead)
{
	struct route_options o = plain;
	struct tail_event e = event_of("Order", "{\"traceparent\":\"" PARENT "\"}");
	size_t least = e.len + strlen("o-1" "traceparent" PARENT "event_id" ID "sequence_number" "7");
	o.max_message = least;
	ck_assert_int_eq(route_make(&o, &e, &message, NULL), RC_TOO_LARGE);
	o.max_message = least + 200;
	ck_assert_int_eq(route_make(&o, &e, &message, NULL), RC_OK);
	o.max_message = 0;
	ck_assert_int_eq(route_make(&o, &e, &message, NULL), RC_OK);
}
END_TEST

START_TEST(body_that_is_no_event_is_corrupt)
{
	struct why why = { "" };
	struct tail_event e = event_of("Order", "{}");
	make(&plain, &e);
	e.body = "[]";
	e.len = 2;
	ck_assert_int_eq(route_make(&plain, &e, &message, &why), RC_CORRUPT);
	ck_assert_str_eq(buf_text(&message.topic), "");	/* not those of the event before it */
	ck_assert_str_eq(buf_text(&message.key), "");
	ck_assert_str_eq(why.text, "the object 'streams/Order/o-1/0000000007.json' is no event: expected an object, found an array");
}
END_TEST

/* --- the DLQ --- */

static bool member(const struct json_value *object, const char *name, struct json_value *out)
{
	struct json_iter it;
	struct json_value key, value;
	bool found = false;
	json_iter_init(&it, object);
	while (json_iter_next(&it, &key, &value))
		if (json_string_is(&key, name)) {
			*out = value;
			found = true;
		}
	return found;
}

/* The member's text; the JSON itself where it is no string; "" where it is missing. */
static const char *field(const struct json_value *doc, const char *name)
{
	static char text[8192];
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct json_value v;
	if (!member(doc, name, &v))
		return "";
	if (v.type == JSON_STRING)
		json_string(&v, &b);
	else
		buf_add(&b, v.text, v.len);
	snprintf(text, sizeof(text), "%s", buf_text(&b));
	return text;
}

static struct json_value record(void)
{
	struct json_value doc;
	struct why why = { "" };
	enum rc rc = json_parse(message.message.value, message.message.len, JSON_STRICT, &doc, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", why.text, message.message.value);
	return doc;
}

START_TEST(dead_record_has_all_that_a_replay_needs)
{
	struct tail_event e = event_of("Order", "{\"kafka_topic\":\"no such\",\"ordering_key\":\"k\",\"traceparent\":\"" PARENT "\"}");
	ck_assert_int_eq(route_dead(&bucket, &e, "route", "", "", RC_INVALID, "no topic \"\xc3\xb6\"", US, &message, NULL), RC_OK);
	static const char start[] = "{\"original_topic\": \"no such\", \"original_partition\": -1, \"original_offset\": -1, "
				    "\"original_timestamp\": 1766048704123, \"original_key\": \"k\", \"original_value\": \"{\\\"event_id\\\":",
			  end[] = ", \"error\": \"no topic \\\"\xc3\xb6\\\"\", \"attempt_count\": 1, \"worker\": \"evfs-publisher\", "
				  "\"timestamp\": \"2025-12-18T09:05:03.123456+00:00\", \"stage\": \"route\", \"error_code\": \"";
	ck_assert_msg(!strncmp(message.message.value, start, strlen(start)), "%s", message.message.value);
	ck_assert_msg(strstr(message.message.value, end), "%s", message.message.value);
	struct json_value doc = record();
	ck_assert_str_eq(field(&doc, "original_value"), e.body);
	ck_assert_str_eq(field(&doc, "error_code"), rc_name(RC_INVALID));
	ck_assert_str_eq(field(&doc, "event_id"), ID);
	ck_assert_str_eq(field(&doc, "event_type"), "OrderPaid");
	ck_assert_str_eq(field(&doc, "aggregate_type"), "Order");
	ck_assert_str_eq(field(&doc, "aggregate_id"), "o-1");
	ck_assert_str_eq(field(&doc, "sequence_number"), "7");
	ck_assert_str_eq(field(&doc, "s3_bucket"), "shop");
	ck_assert_str_eq(field(&doc, "s3_key"), "eu/streams/Order/o-1/0000000007.json");
	ck_assert_str_eq(field(&doc, "original_value_base64"), "");
	ck_assert_str_eq(message.message.topic, "dead");
	ck_assert_str_eq(message.message.key, "k");
	ck_assert_str_eq(header("traceparent"), PARENT);
	ck_assert_str_eq(header("event_id"), ID);
	ck_assert_str_eq(header("sequence_number"), "7");
}
END_TEST

START_TEST(dead_record_of_a_missing_object_says_where_it_was)
{
	struct tail_event e = event_of("Instance", "{}");
	e.body = NULL;
	e.len = 0;
	e.rc = RC_NOT_FOUND;
	ck_assert_int_eq(route_dead(&plain, &e, "read", "", "", e.rc, "gone", US, &message, NULL), RC_OK);
	struct json_value doc = record();
	ck_assert_str_eq(field(&doc, "original_value"), "<unavailable>");
	ck_assert_str_eq(field(&doc, "original_topic"), "instance_events");
	ck_assert_str_eq(field(&doc, "original_key"), "o-1");
	ck_assert_str_eq(field(&doc, "stage"), "read");
	ck_assert_str_eq(field(&doc, "s3_bucket"), "null");
	ck_assert_str_eq(field(&doc, "s3_key"), "streams/Order/o-1/0000000007.json");
	ck_assert_str_eq(field(&doc, "original_value_bytes"), "");
}
END_TEST

static const struct {
	const char *value, *text, *base64;
} foreign[] = {
	{ "\xff", "\xef\xbf\xbd", "/w==" },
	{ "a\xff", "a\xef\xbf\xbd", "Yf8=" },
	{ "a\xff" "b", "a\xef\xbf\xbd" "b", "Yf9i" },
	{ "{\"a\":\"\xc3\xb6\xc3\"}", "{\"a\":\"\xc3\xb6\xef\xbf\xbd\"}", "eyJhIjoiw7bDIn0=" },
	{ "{\"a\":\"\xc3\xb6\"}", "{\"a\":\"\xc3\xb6\"}", "" },
};

START_TEST(dead_record_keeps_bytes_that_are_no_text)
{
	struct tail_event e = event_of("Order", "{}");
	e.body = foreign[_i].value;
	e.len = strlen(e.body);
	e.event_id = "\xfe";
	ck_assert_int_eq(route_dead(&plain, &e, "route", "t", "k", RC_CORRUPT, "bad \xff", US, &message, NULL), RC_OK);
	struct json_value doc = record();
	ck_assert_str_eq(field(&doc, "original_value"), foreign[_i].text);
	ck_assert_str_eq(field(&doc, "original_value_base64"), foreign[_i].base64);
	ck_assert_str_eq(field(&doc, "error"), "bad \xef\xbf\xbd");
	ck_assert_str_eq(field(&doc, "event_id"), "\xef\xbf\xbd");
	ck_assert_str_eq(field(&doc, "original_topic"), "t");
	ck_assert_str_eq(message.message.key, "k");
}
END_TEST

START_TEST(dead_record_fits_the_limit_that_the_event_does_not)
{
	struct tail_event e = large_event();
	struct route_options o = bucket;
	char key[6000];
	memset(key, 'k', sizeof(key));
	key[sizeof(key) - 1] = '\0';
	/* refused by the broker, whose limit is not known */
	ck_assert_int_eq(route_dead(&o, &e, "produce", "big", "k", RC_TOO_LARGE, "too large", US, &message, NULL), RC_OK);
	struct json_value doc = record();
	ck_assert_str_eq(field(&doc, "original_value"), "<unavailable>");
	char size[24];
	snprintf(size, sizeof(size), "%zu", e.len);
	ck_assert_str_eq(field(&doc, "original_value_bytes"), size);
	/* another failure of an event that just fits: its record would not */
	o.max_message = 3000;
	ck_assert_int_eq(route_dead(&o, &e, "produce", "big", key, RC_DENIED, "no", US, &message, NULL), RC_OK);
	doc = record();
	ck_assert_str_eq(field(&doc, "original_value"), "<unavailable>");
	ck_assert_str_eq(field(&doc, "original_key"), "null");
	ck_assert_str_eq(message.message.key, "o-1");
	ck_assert_uint_le(message.message.len, 3000);
	o.max_message = 100000;
	ck_assert_int_eq(route_dead(&o, &e, "produce", "big", key, RC_DENIED, "no", US, &message, NULL), RC_OK);
	doc = record();
	ck_assert_str_eq(field(&doc, "original_value"), e.body);
	ck_assert_str_eq(field(&doc, "original_key"), key);
}
END_TEST

START_TEST(dead_record_cuts_the_error_at_4000_characters)
{
	struct tail_event e = event_of("Order", "{}");
	_cleanup_(buf_release) struct buf error = BUF_INIT;
	for (int i = 0; i < 4001; i++)
		buf_add_text(&error, "\xc3\xb6");
	ck_assert_int_eq(route_dead(&plain, &e, "route", "t", "k", RC_INVALID, buf_text(&error), US, &message, NULL), RC_OK);
	struct json_value doc = record();
	ck_assert_uint_eq(strlen(field(&doc, "error")), 8000);
}
END_TEST

/* --- against the established publisher --- */

static void text_member(const struct json_value *object, const char *name, struct buf *out)
{
	struct json_value v;
	buf_reset(out);
	ck_assert_msg(member(object, name, &v), "there is no '%s'", name);
	if (v.type == JSON_STRING)
		json_string(&v, out);
}

/* The stored event with that id. False: it is not among them, or none that can be read. */
static bool find_event(const struct json_value *objects, const char *event_id, struct buf *text, struct event *out)
{
	struct json_iter it;
	struct json_value key, value;
	json_iter_init(&it, objects);
	while (json_iter_next(&it, &key, &value)) {
		_cleanup_(buf_release) struct buf name = BUF_INIT;
		json_string(&key, &name);
		if (strncmp(buf_text(&name), "events/", 7) || value.type != JSON_STRING)
			continue;
		_cleanup_(event_release) struct event e = EVENT_INIT;
		buf_reset(text);
		json_string(&value, text);
		if (event_parse(buf_text(text), text->len, &e, NULL) != RC_OK || !e.event_id || strcmp(e.event_id, event_id))
			continue;
		*out = e;
		e = (struct event)EVENT_INIT;
		return true;
	}
	return false;
}

static unsigned compared, with_headers;

static void compare(const struct json_value *objects, const struct json_value *produced)
{
	_cleanup_(buf_release) struct buf id = BUF_INIT, text = BUF_INIT, topic = BUF_INIT, key = BUF_INIT;
	_cleanup_(event_release) struct event e = EVENT_INIT;
	text_member(produced, "event_id", &id);
	if (!find_event(objects, buf_text(&id), &text, &e))
		return;
	text_member(produced, "topic", &topic);
	text_member(produced, "key", &key);
	struct tail_event t = { .type = e.aggregate_type, .id = e.aggregate_id, .number = e.number, .event_id = e.event_id,
				.event_type = e.event_type, .occurred_us = e.occurred_at.us, .recorded_us = e.occurred_at.us,
				.key = "events/x", .body = buf_text(&text), .len = text.len, .rc = RC_OK };
	make(&plain, &t);
	ck_assert_str_eq(message.message.topic, buf_text(&topic));
	ck_assert_str_eq(message.message.key, buf_text(&key));
	compared++;

	/* It sends no headers where the index names the topic (contracts.md D7, 18). */
	struct json_value headers, pair, part;
	struct json_iter it, parts;
	ck_assert(member(produced, "headers", &headers));
	json_iter_init(&it, &headers);
	while (json_iter_next(&it, NULL, &pair)) {
		_cleanup_(buf_release) struct buf name = BUF_INIT, value = BUF_INIT;
		json_iter_init(&parts, &pair);
		ck_assert(json_iter_next(&parts, NULL, &part));
		json_string(&part, &name);
		ck_assert(json_iter_next(&parts, NULL, &part));
		json_string(&part, &value);
		same_text(header(buf_text(&name)), buf_text(&value), buf_text(&name));
		with_headers++;
	}
}

START_TEST(messages_are_those_of_the_established_publisher)
{
	const char *dir = getenv("EVFS_VECTORS");
	char path[1024];
	snprintf(path, sizeof(path), "%s/checkpoint.ndjson", dir ? dir : VECTORS_DEFAULT);
	FILE *f = fopen(path, "re");
	ck_assert_msg(f, "cannot read %s", path);
	_cleanup_(freep) char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	compared = with_headers = 0;
	while ((len = getline(&line, &cap, f)) > 0) {
		struct json_value doc, objects, list, produced;
		struct json_iter it;
		ck_assert_int_eq(json_parse(line, (size_t)len, JSON_LAX, &doc, NULL), RC_OK);
		ck_assert(member(&doc, "objects", &objects) && member(&doc, "produced", &list));
		json_iter_init(&it, &list);
		while (json_iter_next(&it, NULL, &produced))
			compare(&objects, &produced);
	}
	fclose(f);
	ck_assert_uint_ge(compared, 50);
	ck_assert_uint_ge(with_headers, 2);
}
END_TEST

static bool vectors_are_there(void)
{
	const char *dir = getenv("EVFS_VECTORS");
	char path[1024];
	snprintf(path, sizeof(path), "%s/checkpoint.ndjson", dir ? dir : VECTORS_DEFAULT);
	FILE *f = fopen(path, "re");
	if (f)
		fclose(f);
	else
		printf("skip - messages are those of the established publisher: there is no %s\n", path);
	return f;
}

int main(void)
{
	Suite *suite = suite_create("route");
	TCase *tc = tcase_create("route");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, topic_and_key_follow_the_rules, 0, (int)ARRAY_SIZE(routes));
	tcase_add_test(tc, key_is_the_event_id_where_there_is_no_aggregate_id);
	tcase_add_loop_test(tc, topic_that_can_be_none_is_refused, 0, (int)ARRAY_SIZE(bad_topics));
	tcase_add_test(tc, topic_has_249_characters_at_most);
	tcase_add_loop_test(tc, trace_headers_come_from_metadata, 0, (int)ARRAY_SIZE(traces));
	tcase_add_test(tc, message_is_used_again);
	tcase_add_test(tc, cloud_events_are_in_binary_mode);
	tcase_add_test(tc, object_is_named_when_asked_for);
	tcase_add_test(tc, wrapper_is_as_json_dumps_writes_it);
	tcase_add_test(tc, wrapper_of_a_directory_has_no_reference);
	tcase_add_test(tc, large_event_is_refused_or_named);
	tcase_add_test(tc, reference_is_no_envelope);
	tcase_add_test(tc, limit_counts_key_headers_and_overhead);
	tcase_add_test(tc, body_that_is_no_event_is_corrupt);
	tcase_add_test(tc, dead_record_has_all_that_a_replay_needs);
	tcase_add_test(tc, dead_record_of_a_missing_object_says_where_it_was);
	tcase_add_loop_test(tc, dead_record_keeps_bytes_that_are_no_text, 0, (int)ARRAY_SIZE(foreign));
	tcase_add_test(tc, dead_record_fits_the_limit_that_the_event_does_not);
	tcase_add_test(tc, dead_record_cuts_the_error_at_4000_characters);
	if (vectors_are_there())
		tcase_add_test(tc, messages_are_those_of_the_established_publisher);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
