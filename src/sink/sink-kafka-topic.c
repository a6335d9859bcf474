/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink-kafka-topic.c - the topics that were sent to: made where they are missing, left alone for a while where they refuse.
 *
 * A topic that the client library asks the broker for is made by the broker itself where it may (auto.create.topics.enable), with
 * the broker's number of partitions. Ours is therefore asked for first, by the admin API; messages wait until that is answered.
 */
#include "config.h"
#include "sink/sink-kafka-private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

#define REFUSED_MS 30000
#define YOUNG_MS 30000
#define QUIET_MS 3000
#define PROBE_WAIT_MS 200

struct kafka_topic *sink_kafka_topic_get(struct sink_kafka *k, const char *name)
{
	struct kafka_topic **at = &k->topics[hash_text(HASH_START, name) % KAFKA_TOPIC_BUCKETS];
	for (struct kafka_topic *t = *at; t; t = t->next)
		if (strcmp(t->name, name) == 0)
			return t;
	size_t len = strlen(name);
	struct kafka_topic *t = calloc(1, sizeof(*t) + len + 1);
	if (!t)
		return NULL;
	memcpy(t->name, name, len);
	t->pending_end = &t->pending;
	t->next = *at;
	*at = t;
	return t;
}

void sink_kafka_topic_refuse(struct kafka_topic *t, enum rc rc, const struct why *why)
{
	t->refused = rc;
	t->refused_ms = clock_boot_ms() + REFUSED_MS;
	t->refusal = *why;
}

static void free_new_topic(rd_kafka_NewTopic_t **n)
{
	if (*n)
		rd_kafka_NewTopic_destroy(*n);
}

static void free_admin_options(rd_kafka_AdminOptions_t **o)
{
	if (*o)
		rd_kafka_AdminOptions_destroy(*o);
}

static void ask_to_create(struct sink_kafka *k, struct kafka_topic *t)
{
	char text[256];
	int ms = k->request_ms < 3600000 ? (int)k->request_ms : 3600000;
	_cleanup_(free_admin_options) rd_kafka_AdminOptions_t *o =
		rd_kafka_AdminOptions_new(k->client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	_cleanup_(free_new_topic) rd_kafka_NewTopic_t *n =
		rd_kafka_NewTopic_new(t->name, (int)k->partitions, (int)k->replication, text,
				      sizeof(text));
	t->creation =
		KAFKA_READY; /* where it can't be asked for, the message is sent, and its report tells */
	if (!o || !n || !k->admin)
		return;
	if (rd_kafka_AdminOptions_set_request_timeout(o, ms, text, sizeof(text)) ||
	    rd_kafka_AdminOptions_set_operation_timeout(o, ms, text, sizeof(text)))
		return;
	rd_kafka_AdminOptions_set_opaque(o, t);
	rd_kafka_CreateTopics(k->client, &n, 1, o, k->admin);
	t->creation = KAFKA_CREATING;
	k->creating++;
}

enum rc sink_kafka_topic_ready(struct sink_kafka *k, struct kafka_topic *t, struct why *why)
{
	if (!sink_is_topic(t->name))
		return rc_fail(RC_INVALID, why, "'%.250s' can't be the name of a topic", t->name);
	if (t->refused != RC_OK && clock_boot_ms() < t->refused_ms)
		return rc_fail(t->refused, why, "%s", t->refusal.text);
	t->refused = RC_OK;
	if (k->create_topics && t->creation == KAFKA_UNKNOWN)
		ask_to_create(k, t);
	if (t->creation == KAFKA_CREATING)
		return rc_fail(RC_TEMPORARY, why, "topic '%s' is being created", t->name);
	if (!t->handle)
		t->handle = rd_kafka_topic_new(k->client, t->name, NULL);
	if (!t->handle)
		return rc_fail(RC_TEMPORARY, why, "topic '%s': %s", t->name,
			       rd_kafka_err2str(rd_kafka_last_error()));
	return RC_OK;
}

/* The answer counts even where it comes after the wait: the client keeps what it hears. */
static void let_ask_again(struct sink_kafka *k, struct kafka_topic *t)
{
	const struct rd_kafka_metadata *found = NULL;
	if (t->handle &&
	    rd_kafka_metadata(k->client, 0, t->handle, &found, 50) == RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_metadata_destroy(found);
}

bool sink_kafka_topic_is_young(struct sink_kafka *k, struct kafka_topic *t)
{
	uint64_t young_ms = k->request_ms < YOUNG_MS ? k->request_ms : YOUNG_MS;
	if (t->made_ms && clock_boot_ms() < t->made_ms + young_ms) {
		let_ask_again(k, t);
		return true;
	}
	t->creation = KAFKA_UNKNOWN;
	t->made_ms = 0;
	return false;
}

/* RC_OK also where that is not known. */
static enum rc ask_permission(struct sink_kafka *k, struct kafka_topic *t, struct why *why)
{
	const struct rd_kafka_metadata *found = NULL;
	if (rd_kafka_metadata(k->client, 0, t->handle, &found, PROBE_WAIT_MS) !=
	    RD_KAFKA_RESP_ERR_NO_ERROR)
		return RC_OK;
	rd_kafka_resp_err_t err = found->topic_cnt == 1 ? found->topics[0].err : 0;
	rd_kafka_metadata_destroy(found);
	if (err != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
		return RC_OK;
	return rc_fail(RC_DENIED, why, "topic '%s': %s", t->name, rd_kafka_err2str(err));
}

bool sink_kafka_topic_probe(struct sink_kafka *k)
{
	uint64_t now = clock_boot_ms(),
		 quiet_ms = k->request_ms < QUIET_MS ? k->request_ms : QUIET_MS;
	bool refuses = false;
	if (now < k->probe_ms)
		return false;
	k->probe_ms = now + quiet_ms / 4;
	for (size_t i = 0; i < KAFKA_TOPIC_BUCKETS; i++) {
		for (struct kafka_topic *t = k->topics[i]; t; t = t->next) {
			struct why why;
			if (!t->in_client || now < t->heard_ms + quiet_ms)
				continue;
			t->heard_ms = clock_boot_ms();
			if (ask_permission(k, t, &why) == RC_OK)
				continue;
			sink_kafka_topic_refuse(t, RC_DENIED, &why);
			refuses = true;
		}
	}
	return refuses;
}

static void take_reply(struct sink_kafka *k, rd_kafka_event_t *e)
{
	struct kafka_topic *t = rd_kafka_event_opaque(e);
	rd_kafka_resp_err_t err = rd_kafka_event_error(e);
	const char *text = rd_kafka_event_error_string(e);
	const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(e);
	size_t n = 0;
	const rd_kafka_topic_result_t **topics =
		result ? rd_kafka_CreateTopics_result_topics(result, &n) : NULL;
	if (!err && n == 1) {
		err = rd_kafka_topic_result_error(topics[0]);
		text = rd_kafka_topic_result_error_string(topics[0]);
	}
	k->creating--;
	t->creation = KAFKA_READY;
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
		t->made_ms = clock_boot_ms();
		return;
	}
	if (err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__TIMED_OUT ||
	    err == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT || err == RD_KAFKA_RESP_ERR_NOT_CONTROLLER) {
		t->creation = KAFKA_UNKNOWN;
		return;
	}
	/* not allowed, or refused by a rule: it may be there all the same */
	k->counts.errors++;
	struct why why;
	rc_fail(RC_DENIED, &why, "topic '%.100s' can't be created: %s", t->name,
		text ? text : rd_kafka_err2str(err));
	memcpy(k->counts.last_error, why.text, sizeof(k->counts.last_error) - 1);
}

void sink_kafka_topic_replies(struct sink_kafka *k)
{
	while (k->creating) {
		rd_kafka_event_t *e = rd_kafka_queue_poll(k->admin, 0);
		if (!e)
			return;
		if (rd_kafka_event_type(e) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
			take_reply(k, e);
		rd_kafka_event_destroy(e);
	}
}

void sink_kafka_topic_close(struct sink_kafka *k)
{
	for (size_t i = 0; i < KAFKA_TOPIC_BUCKETS; i++) {
		for (struct kafka_topic *t = k->topics[i]; t; t = t->next) {
			if (t->handle)
				rd_kafka_topic_destroy(t->handle);
			t->handle = NULL;
			if (t->creation == KAFKA_CREATING)
				t->creation = KAFKA_UNKNOWN;
			t->in_client = 0;
			t->newest = NULL;
			t->pending = NULL;
			t->pending_end = &t->pending;
		}
	}
	k->creating = 0;
}

void sink_kafka_topic_free(struct sink_kafka *k)
{
	for (size_t i = 0; i < KAFKA_TOPIC_BUCKETS; i++) {
		while (k->topics[i]) {
			struct kafka_topic *t = k->topics[i];
			k->topics[i] = t->next;
			free(t);
		}
	}
}
