/* SPDX-License-Identifier: Apache-2.0 */
/* sink-harness.c - runs over a sink, and what they left there. */
#include "config.h"
#include "sink-harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define RUN_MS 60000

char sink_harness_topic[64], sink_harness_path[64];
const char *sink_harness_servers;
rd_kafka_mock_cluster_t *sink_harness_mock;
struct sink_kafka_options sink_harness_kafka;
struct sink_faults sink_harness_faults;
struct run run;

static rd_kafka_t *mock_owner;
static enum { NDJSON, KAFKA } kind;
static bool with_faults;

/* ---- the backends ---- */

#ifdef TEST_KAFKA
static const char *const names[] = { "kafka", "kafka, fault wrapper" };
#else
static const char *const names[] = { "ndjson", "ndjson, fault wrapper", "mock",
				     "mock, fault wrapper" };
#endif

int sink_harness_count(void)
{
	return ARRAY_SIZE(names);
}

const char *sink_harness_name(int i)
{
	return names[i];
}

void sink_harness_open_mock(void)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	mock_owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
	ck_assert_ptr_nonnull(mock_owner);
	sink_harness_mock = rd_kafka_mock_cluster_new(mock_owner, 3);
	ck_assert_ptr_nonnull(sink_harness_mock);
	sink_harness_servers = rd_kafka_mock_cluster_bootstraps(sink_harness_mock);
	ck_assert_int_eq(rd_kafka_mock_topic_create(sink_harness_mock, TOPIC, 3, 3), 0);
	sink_harness_kafka.servers = sink_harness_servers;
	kind = KAFKA;
}

#ifndef TEST_KAFKA
static void open_ndjson(void)
{
	kind = NDJSON;
	strcpy(sink_harness_path, "/tmp/test-sink-XXXXXX");
	int fd = mkstemp(sink_harness_path);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
#endif

void sink_harness_open(int i)
{
	char id[37];
	clock_uuid(id);
	snprintf(TOPIC, sizeof(sink_harness_topic), "evfs-test-%s", id);
	memset(&sink_harness_kafka, 0, sizeof(sink_harness_kafka));
	memset(&sink_harness_faults, 0, sizeof(sink_harness_faults));
	with_faults = i % 2 == 1;
#ifdef TEST_KAFKA
	kind = KAFKA;
	sink_harness_servers = getenv("EVFS_KAFKA");
	sink_harness_kafka.servers = sink_harness_servers;
	sink_harness_kafka.create_topics = true;
#else
	if (i < 2)
		open_ndjson();
	else
		sink_harness_open_mock();
#endif
}

void sink_harness_close(void)
{
	run_stop();
	if (sink_harness_mock)
		rd_kafka_mock_cluster_destroy(sink_harness_mock);
	if (mock_owner)
		rd_kafka_destroy(mock_owner);
	sink_harness_mock = NULL;
	mock_owner = NULL;
	if (sink_harness_path[0])
		unlink(sink_harness_path);
}

static enum rc make_inner(void *make_arg, struct sink **out, sink_report_fn *report, void *arg,
			  struct why *why)
{
	(void)make_arg;
	if (kind == NDJSON)
		return sink_ndjson_new(out, sink_harness_path, report, arg, why);
	return sink_kafka_new(out, &sink_harness_kafka, report, arg, why);
}

/* ---- a run ---- */

static void on_report(void *arg, void *opaque, enum rc rc, const struct why *why)
{
	struct sent *s = opaque;
	ck_assert_ptr_eq(arg, &run);
	ck_assert_msg(s->state == SENT_QUEUED, "message %td was told of, and not under way",
		      s - run.sent);
	ck_assert(rc == RC_OK || (why && why->text[0]));
	s->told++;
	s->rc = rc;
	if (rc == RC_OK)
		s->state = SENT_THERE;
	else if (rc == RC_TOO_LARGE || rc == RC_NOT_FOUND || rc == RC_DENIED || rc == RC_INVALID)
		s->state = SENT_DEAD;
	else
		s->state = SENT_TODO;
}

enum rc run_make(struct why *why)
{
	if (with_faults)
		return sink_fault_new(&run.sink, make_inner, NULL, &sink_harness_faults, on_report,
				      &run, why);
	return make_inner(NULL, &run.sink, on_report, &run, why);
}

void run_start(int n, int keys)
{
	struct why why = { "" };
	memset(&run, 0, sizeof(run));
	run.n = n;
	run.keys = keys;
	for (int i = 0; i < n; i++)
		snprintf(run.sent[i].value, sizeof(run.sent[i].value), "{\"n\":%d}", i);
	enum rc rc = run_make(&why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
}

void run_stop(void)
{
	sink_free(&run.sink);
}

unsigned run_dead(void)
{
	unsigned n = 0;
	for (int i = 0; i < run.n; i++)
		n += run.sent[i].state == SENT_DEAD;
	return n;
}

static enum rc send_one(int i, struct why *why)
{
	struct sent *s = &run.sent[i];
	char key[16], number[16];
	snprintf(key, sizeof(key), "k%d", i % run.keys);
	snprintf(number, sizeof(number), "%d", i);
	struct sink_header headers[] = { { "number", number }, { "empty", "" } };
	struct sink_message m = {
		.topic = s->topic ? s->topic : TOPIC,
		.key = key,
		.key_len = strlen(key),
		.value = s->big ? s->big : s->value,
		.len = s->big ? s->big_len : strlen(s->value),
		.headers = headers,
		.n_headers = 2,
		.opaque = s,
		.time_us = s->time_us,
	};
	s->state = SENT_QUEUED;
	enum rc rc = sink_send(run.sink, &m, why);
	if (rc == RC_OK)
		return rc;
	s->rc = rc;
	bool dead = rc == RC_TOO_LARGE || rc == RC_NOT_FOUND || rc == RC_DENIED || rc == RC_INVALID;
	s->state = dead ? SENT_DEAD : SENT_TODO;
	s->told += dead;
	return dead ? RC_OK : rc;
}

static void begin_anew(const struct why *broken, uint64_t until)
{
	struct why why = *broken;
	ck_assert_msg(clock_boot_ms() < until, "still breaking: %s", broken->text);
	run.broken++;
	sink_free(&run.sink);
	for (int i = 0; i < run.n; i++)
		if (run.sent[i].state == SENT_QUEUED)
			run.sent[i].state = SENT_TODO;
	enum rc rc = run_make(&why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
}

static bool all_done(void)
{
	for (int i = 0; i < run.n; i++)
		if (run.sent[i].state != SENT_THERE && run.sent[i].state != SENT_DEAD)
			return false;
	return true;
}

void run_all(void (*between)(int i))
{
	uint64_t until = clock_boot_ms() + RUN_MS;
	struct why why = { "" };
	while (!all_done()) {
		enum rc rc = RC_OK;
		for (int i = 0; rc == RC_OK && i < run.n; i++) {
			if (run.sent[i].state != SENT_TODO)
				continue;
			if (between)
				between(i);
			while ((rc = send_one(i, &why)) == RC_TEMPORARY) {
				rc = sink_poll(run.sink, 100, &why);
				if (rc != RC_OK)
					break;
				ck_assert_msg(clock_boot_ms() < until, "%s", why.text);
			}
			if (rc == RC_OK && i % 16 == 0)
				rc = sink_poll(run.sink, 0, &why);
		}
		if (rc == RC_OK)
			rc = sink_flush(run.sink, 5000, &why);
		ck_assert_msg(rc == RC_OK || clock_boot_ms() < until, "%s: %s", rc_name(rc),
			      why.text);
		if (rc != RC_OK && rc != RC_TEMPORARY) {
			ck_assert_int_eq(rc, RC_CORRUPT);
			begin_anew(&why, until);
		}
	}
}

/* ---- what is there ---- */

static void add_record(struct records *r, char *key, char *value, char *headers)
{
	r->list = realloc(r->list, (r->n + 1) * sizeof(*r->list));
	ck_assert_ptr_nonnull(r->list);
	r->list[r->n++] = (struct record){ key, value, headers };
}

static char *text_of(const struct json_value *v)
{
	struct buf b = BUF_INIT;
	if (v->type == JSON_STRING)
		json_string(v, &b);
	else
		buf_add(&b, v->text, v->len);
	buf_add(&b, "", 0);
	char *text = buf_take(&b, NULL);
	return text ? text : strdup("");
}

static char *headers_of(const struct json_value *v)
{
	struct buf b = BUF_INIT;
	struct json_iter it;
	struct json_value name, value;
	for (json_iter_init(&it, v); json_iter_next(&it, &name, &value);) {
		json_string(&name, &b);
		buf_add_char(&b, '=');
		json_string(&value, &b);
		buf_add_char(&b, ';');
	}
	char *text = buf_take(&b, NULL);
	return text ? text : strdup("");
}

static void read_line(const char *line, size_t len, const char *topic, struct records *out)
{
	struct why why = { "" };
	struct json_value v, name, value;
	struct json_iter it;
	char *key = NULL, *text = NULL, *headers = NULL;
	bool wanted = false;
	ck_assert_msg(json_parse(line, len, JSON_STRICT, &v, &why) == RC_OK, "%s: %.*s", why.text,
		      (int)len, line);
	for (json_iter_init(&it, &v); json_iter_next(&it, &name, &value);) {
		if (json_string_is(&name, "topic"))
			wanted = json_string_is(&value, topic);
		else if (json_string_is(&name, "key"))
			key = text_of(&value);
		else if (json_string_is(&name, "headers"))
			headers = headers_of(&value);
		else
			text = text_of(&value);
	}
	ck_assert(key && text && headers);
	if (wanted) {
		add_record(out, key, text, headers);
		return;
	}
	free(key);
	free(text);
	free(headers);
}

static void read_file(const char *topic, struct records *out)
{
	FILE *f = fopen(sink_harness_path, "r");
	char *line = NULL;
	size_t cap = 0;
	ck_assert_ptr_nonnull(f);
	for (ssize_t n; (n = getline(&line, &cap, f)) > 0;) {
		ck_assert_int_eq(line[n - 1], '\n');
		read_line(line, (size_t)n - 1, topic, out);
	}
	free(line);
	fclose(f);
}

static char *kafka_headers(const rd_kafka_message_t *m)
{
	struct buf b = BUF_INIT;
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t len;
	if (rd_kafka_message_headers(m, &headers) == 0)
		for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0;
		     i++)
			buf_printf(&b, "%s=%.*s;", name, (int)len, (const char *)value);
	char *text = buf_take(&b, NULL);
	return text ? text : strdup("");
}

static int assign_all(rd_kafka_t *c, const char *topic)
{
	const struct rd_kafka_metadata *md;
	rd_kafka_topic_t *t = rd_kafka_topic_new(c, topic, NULL);
	ck_assert_int_eq(rd_kafka_metadata(c, 0, t, &md, 10000), 0);
	ck_assert_int_eq(md->topics[0].err, 0);
	int n = md->topics[0].partition_cnt;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
	for (int i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	ck_assert_int_eq(rd_kafka_assign(c, list), 0);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_metadata_destroy(md);
	rd_kafka_topic_destroy(t);
	return n;
}

static void read_kafka(const char *topic, struct records *out)
{
	char text[256];
	const char *const conf_of[][2] = {
		{ "bootstrap.servers", sink_harness_servers },
		{ "group.id", "evfs-test" },
		{ "enable.auto.commit", "false" },
		{ "enable.partition.eof", "true" },
		{ "fetch.wait.max.ms", "10" },
		{ "auto.offset.reset", "error" },
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	for (size_t i = 0; i < ARRAY_SIZE(conf_of); i++)
		ck_assert_int_eq(rd_kafka_conf_set(conf, conf_of[i][0], conf_of[i][1], text,
						   sizeof(text)),
				 0);
	rd_kafka_t *c = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
	ck_assert_ptr_nonnull(c);
	int left = assign_all(c, topic);
	uint64_t until = clock_boot_ms() + RUN_MS;
	while (left) {
		ck_assert(clock_boot_ms() < until);
		rd_kafka_message_t *m = rd_kafka_consumer_poll(c, 100);
		if (!m)
			continue;
		if (!m->err)
			add_record(out, strndup(m->key ? m->key : "", m->key_len),
				   strndup(m->payload, m->len), kafka_headers(m));
		else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			left--;
		rd_kafka_message_destroy(m);
	}
	rd_kafka_consumer_close(c);
	rd_kafka_destroy(c);
}

void records_read(const char *topic, struct records *out)
{
	memset(out, 0, sizeof(*out));
	if (kind == NDJSON)
		read_file(topic, out);
	else
		read_kafka(topic, out);
}

void records_release(struct records *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->list[i].key);
		free(r->list[i].value);
		free(r->list[i].headers);
	}
	free(r->list);
}

void records_check(const char *topic, size_t duplicates)
{
	static unsigned seen[RUN_MAX];
	static int last[RUN_MAX];
	struct records r;
	size_t doubles = 0;
	records_read(topic, &r);
	memset(seen, 0, sizeof(seen));
	memset(last, -1, sizeof(last));
	for (size_t i = 0; i < r.n; i++) {
		int n = -1;
		ck_assert_int_eq(sscanf(r.list[i].headers, "number=%d;empty=;", &n), 1);
		ck_assert(n >= 0 && n < run.n);
		const struct sent *s = &run.sent[n];
		ck_assert_str_eq(r.list[i].value, s->big ? s->big : s->value);
		if (seen[n]++) {
			doubles++;
			continue;
		}
		int key = n % run.keys;
		ck_assert_msg(last[key] < n, "key k%d: %d is there before %d", key, last[key], n);
		last[key] = n;
	}
	for (int i = 0; i < run.n; i++) {
		const char *where = run.sent[i].topic ? run.sent[i].topic : TOPIC;
		bool wanted = run.sent[i].state == SENT_THERE && strcmp(where, topic) == 0;
		ck_assert_msg(wanted == (seen[i] > 0), "message %d: %s, and is there %u times", i,
			      rc_name(run.sent[i].rc), seen[i]);
	}
	ck_assert_msg(doubles <= duplicates, "%zu duplicates", doubles);
	records_release(&r);
}
