/* SPDX-License-Identifier: Apache-2.0 */
/* sink-kafka.c - messages to Kafka, each kept until its delivery is reported. */
#include "config.h"
#include "sink/sink-kafka-private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define REQUEST_MS 30000
#define SLICE_MS 10 /* while something is waited for that doesn't come by the client's main queue */
#define FLUSH_SLICE_MS 100
#define DRAIN_MS 2000 /* for what is under way when a client ends */
#define LIMIT_MAX 10000
/* What the client adds to a message of up to KAFKA_HEADERS_MAX headers, at most. */
#define OVERHEAD 1024

static enum rc fail_broken(const struct sink_kafka *k, struct why *why)
{
	return rc_fail(RC_CORRUPT, why, "%s", k->broken.text);
}

/* ---- messages ---- */

static struct kafka_message *new_message(const struct sink_message *m, struct kafka_topic *t,
					 size_t size)
{
	struct kafka_message *km = malloc(sizeof(*km) + size + 2 * m->n_headers);
	if (!km)
		return NULL;
	*km = (struct kafka_message){ .topic = t,
				      .time_ms = m->time_us / 1000,
				      .opaque = m->opaque,
				      .size = size,
				      .key_len = m->key_len,
				      .len = m->len,
				      .n_headers = m->n_headers };
	memcpy(km->data, m->value, m->len);
	char *p = km->data + m->len;
	if (m->key_len)
		memcpy(p, m->key, m->key_len);
	p += m->key_len;
	for (size_t i = 0; i < m->n_headers; i++) {
		p = stpcpy(p, m->headers[i].name) + 1;
		p = stpcpy(p, m->headers[i].value) + 1;
	}
	return km;
}

static void keep(struct sink_kafka *k, struct kafka_message *m)
{
	m->prev = k->newest;
	if (k->newest)
		k->newest->next = m;
	else
		k->oldest = m;
	k->newest = m;
	k->n++;
	k->bytes += m->size;
}

static void forget(struct sink_kafka *k, struct kafka_message *m)
{
	if (m->prev)
		m->prev->next = m->next;
	else
		k->oldest = m->next;
	if (m->next)
		m->next->prev = m->prev;
	else
		k->newest = m->prev;
	k->n--;
	k->bytes -= m->size;
	free(m);
}

static void tell(struct sink_kafka *k, struct kafka_message *m, enum rc rc, const struct why *why)
{
	void *opaque = m->opaque;
	if (rc == RC_OK) {
		k->counts.delivered++;
		k->counts.bytes += m->size;
	} else {
		k->counts.failed++;
	}
	forget(k, m);
	k->report(k->arg, opaque, rc, why);
}

static void add_pending(struct sink_kafka *k, struct kafka_message *m)
{
	struct kafka_topic *t = m->topic;
	m->next_pending = NULL;
	*t->pending_end = m;
	t->pending_end = &m->next_pending;
	k->n_pending++;
}

static struct kafka_message *take_pending(struct sink_kafka *k, struct kafka_topic *t)
{
	struct kafka_message *m = t->pending;
	t->pending = m->next_pending;
	if (!t->pending)
		t->pending_end = &t->pending;
	k->n_pending--;
	return m;
}

/* ---- to the client ---- */

static rd_kafka_headers_t *headers_of(const struct kafka_message *m)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(m->n_headers);
	const char *p = m->data + m->len + m->key_len;
	for (size_t i = 0; headers && i < m->n_headers; i++) {
		const char *value = p + strlen(p) + 1;
		rd_kafka_header_add(headers, p, -1, value, (ssize_t)strlen(value));
		p = value + strlen(value) + 1;
	}
	return headers;
}

/* The value stays ours: the client refers to it until it reports. */
static rd_kafka_resp_err_t produce(struct sink_kafka *k, struct kafka_message *m)
{
	rd_kafka_headers_t *headers = headers_of(m);
	if (!headers)
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	rd_kafka_vu_t parts[] = {
		{ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = m->topic->handle },
		{ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { m->data, m->len } },
		{ .vtype = RD_KAFKA_VTYPE_KEY,
		  .u.mem = { m->key_len ? m->data + m->len : NULL, m->key_len } },
		{ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers },
		{ .vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->time_ms },
		{ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = m },
	};
	rd_kafka_error_t *error = rd_kafka_produceva(k->client, parts, ARRAY_SIZE(parts));
	if (!error)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_resp_err_t err = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	rd_kafka_headers_destroy(headers);
	return err;
}

/* RC_TEMPORARY: it stays pending. Otherwise, but for RC_OK, it never will be there. */
static enum rc give(struct sink_kafka *k, struct kafka_message *m, struct why *why)
{
	struct kafka_topic *t = m->topic;
	enum rc rc;
	if (t->limit && t->in_client >= t->limit)
		return RC_TEMPORARY;
	rd_kafka_resp_err_t err = produce(k, m);
	switch (sink_kafka_error_fate(err, &rc)) {
	case KAFKA_OK:
		m->first = t->in_client++ == 0;
		if (m->first)
			t->heard_ms = clock_boot_ms();
		t->newest = m;
		return RC_OK;
	case KAFKA_REFUSED:
		if (rc == RC_NOT_FOUND && sink_kafka_topic_is_young(k, t))
			return RC_TEMPORARY;
		return rc_fail(rc, why, "topic '%s': %s", t->name, rd_kafka_err2str(err));
	case KAFKA_SHARED:
		return rc_fail(rc, why, "topic '%s': %s", t->name, rd_kafka_err2str(err));
	case KAFKA_AGAIN:
	case KAFKA_BROKEN:
		break; /* full, or ended: the next poll sees which */
	}
	return RC_TEMPORARY;
}

static void give_pending_of(struct sink_kafka *k, struct kafka_topic *t)
{
	while (t->pending) {
		struct why why;
		enum rc rc = sink_kafka_topic_ready(k, t, &why);
		if (rc == RC_OK)
			rc = give(k, t->pending, &why);
		if (rc == RC_TEMPORARY)
			return;
		struct kafka_message *m = take_pending(k, t);
		if (rc != RC_OK)
			tell(k, m, rc, &why);
	}
}

static void give_pending(struct sink_kafka *k)
{
	sink_kafka_topic_replies(k);
	for (size_t i = 0; k->n_pending && i < KAFKA_TOPIC_BUCKETS; i++)
		for (struct kafka_topic *t = k->topics[i]; t; t = t->next)
			give_pending_of(k, t);
}

/* ---- from the client ---- */

static void delivered(struct sink_kafka *k, struct kafka_message *m)
{
	struct kafka_topic *t = m->topic;
	if (t->limit && ++t->calm >= 8 * t->limit) {
		t->limit = t->limit * 2 < LIMIT_MAX ? t->limit * 2 : 0;
		t->calm = 0;
	}
	tell(k, m, RC_OK, NULL);
}

static void refused(struct sink_kafka *k, struct kafka_message *m, enum rc rc,
		    const struct why *why)
{
	/* the broker is not asked again at each message, which would end the client each time */
	if (rc == RC_DENIED)
		sink_kafka_topic_refuse(m->topic, rc, why);
	if (rc == RC_NOT_FOUND)
		m->topic->creation = KAFKA_UNKNOWN;
	tell(k, m, rc, why);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *msg, void *opaque)
{
	struct sink_kafka *k = opaque;
	struct kafka_message *m = msg->_private;
	struct kafka_topic *t = m->topic;
	struct why why;
	enum rc rc;
	(void)client;
	bool alone = m->first && t->newest == m;
	t->in_client--;
	t->heard_ms = clock_boot_ms();
	enum kafka_fate fate = sink_kafka_error_fate(msg->err, &rc);
	if (fate != KAFKA_OK)
		rc_fail(rc, &why, "topic '%s': %s", t->name, rd_kafka_err2str(msg->err));
	switch (fate) {
	case KAFKA_OK:
		delivered(k, m);
		break;
	case KAFKA_REFUSED:
		refused(k, m, rc, &why);
		break;
	case KAFKA_SHARED:
		if (alone)
			refused(k, m, rc, &why);
		else
			t->refused_together++;
		break;
	case KAFKA_AGAIN:
		if (k->purged)
			forget(k, m);
		break;
	case KAFKA_BROKEN:
		k->broken = why;
		tell(k, m, RC_CORRUPT, &why);
		break;
	}
}

static void on_error(rd_kafka_t *client, int err, const char *reason, void *opaque)
{
	struct sink_kafka *k = opaque;
	(void)client;
	k->counts.errors++;
	struct why why;
	rc_fail(RC_TEMPORARY, &why, "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)err), reason);
	memcpy(k->counts.last_error, why.text, sizeof(k->counts.last_error) - 1);
}

/* Comes from the client's threads. What matters comes as an error, too. */
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
	(void)client;
	(void)level;
	log_debug("kafka client %s: %s", facility, text);
}

/* ---- the client's life ---- */

static enum rc start_client(struct sink_kafka *k, struct why *why)
{
	char text[256] = "";
	_cleanup_(sink_kafka_conf_freep) rd_kafka_conf_t *conf = NULL;
	enum rc rc = sink_kafka_conf_new(k, &conf, why);
	if (rc != RC_OK)
		return rc;
	rd_kafka_conf_set_opaque(conf, k);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	k->max_messages = sink_kafka_conf_number(conf, "queue.buffering.max.messages");
	k->max_bytes = sink_kafka_conf_number(conf, "queue.buffering.max.kbytes") * 1024;
	size_t max = sink_kafka_conf_number(conf, "message.max.bytes");
	k->max_message = max > 2 * OVERHEAD ? max - OVERHEAD : max / 2;
	k->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!k->client)
		return rc_fail(RC_INVALID, why, "the Kafka properties don't fit together: %s",
			       text);
	conf = NULL; /* the client's now */
	k->admin = rd_kafka_queue_new(k->client);
	return RC_OK;
}

/* Nothing is reported any more. */
static void end_client(struct sink_kafka *k)
{
	sink_kafka_topic_close(k);
	if (k->admin)
		rd_kafka_queue_destroy(k->admin);
	if (k->client)
		rd_kafka_destroy(k->client);
	k->admin = NULL;
	k->client = NULL;
	k->n_pending = 0;
}

/* What is under way is waited for, so that it need not go out again. */
static void drain(struct sink_kafka *k)
{
	uint64_t until = clock_boot_ms() + DRAIN_MS;
	rd_kafka_purge(k->client, RD_KAFKA_PURGE_F_QUEUE);
	while (rd_kafka_outq_len(k->client) > 0 && clock_boot_ms() < until)
		rd_kafka_flush(k->client, SLICE_MS);
	if (rd_kafka_outq_len(k->client) > 0)
		rd_kafka_purge(k->client, RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_poll(k->client, 0);
}

static void lower_limits(struct sink_kafka *k)
{
	for (size_t i = 0; i < KAFKA_TOPIC_BUCKETS; i++) {
		for (struct kafka_topic *t = k->topics[i]; t; t = t->next) {
			if (!t->refused_together)
				continue;
			size_t limit = t->refused_together / 4;
			if (t->limit && limit > t->limit / 4)
				limit = t->limit / 4;
			t->limit = limit ? limit : 1;
			t->calm = 0;
			t->refused_together = 0;
		}
	}
}

/* A message could not be delivered, and the client stopped there: a new one goes on with the rest. */
static enum rc renew(struct sink_kafka *k, struct why *why)
{
	drain(k);
	if (k->broken.text[0])
		return fail_broken(k, why);
	end_client(k);
	lower_limits(k);
	for (struct kafka_message *m = k->oldest; m; m = m->next)
		add_pending(k, m);
	if (start_client(k, &k->broken) != RC_OK)
		return fail_broken(k, why);
	give_pending(k);
	return RC_OK;
}

/* After the client was served. */
static enum rc look(struct sink_kafka *k, struct why *why)
{
	char text[384] = "";
	rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(k->client, text, sizeof(text));
	if (!k->broken.text[0] && fatal == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE && !k->purged)
		return renew(k, why);
	if (!k->broken.text[0] && fatal)
		rc_fail(RC_CORRUPT, &k->broken, "%s: %s", rd_kafka_err2name(fatal), text);
	if (k->broken.text[0])
		return fail_broken(k, why);
	if (k->n && !k->purged && sink_kafka_topic_probe(k))
		return renew(k, why);
	if (k->n_pending)
		give_pending(k);
	return RC_OK;
}

/* ---- the sink ---- */

static enum rc check_send(struct sink_kafka *k, const struct sink_message *m, size_t *size_r,
			  struct why *why)
{
	if (k->broken.text[0])
		return fail_broken(k, why);
	if (k->purged)
		return rc_fail(RC_CORRUPT, why, "what was queued was thrown away");
	size_t size = m->key_len + m->len;
	for (size_t i = 0; i < m->n_headers; i++)
		size += strlen(m->headers[i].name) + strlen(m->headers[i].value);
	if (m->n_headers > KAFKA_HEADERS_MAX)
		return rc_fail(RC_INVALID, why, "%zu headers: more than %d", m->n_headers,
			       KAFKA_HEADERS_MAX);
	if (size > k->max_message)
		return rc_fail(RC_TOO_LARGE, why,
			       "%zu bytes: the limit of a message is %zu (message.max.bytes)", size,
			       k->max_message);
	if (k->n >= k->max_messages || (k->n && k->bytes + size > k->max_bytes))
		return rc_fail(RC_TEMPORARY, why, "the queue is full: %zu messages, %zu bytes",
			       k->n, k->bytes);
	*size_r = size;
	return RC_OK;
}

static enum rc kafka_send(struct sink *s, const struct sink_message *m, struct why *why)
{
	struct sink_kafka *k = sink_kafka_of(s);
	size_t size = 0;
	enum rc rc = check_send(k, m, &size, why);
	if (rc != RC_OK)
		return rc;
	struct kafka_topic *t = sink_kafka_topic_get(k, m->topic);
	if (!t)
		return rc_fail(RC_TEMPORARY, why, "no memory for a topic");
	rc = sink_kafka_topic_ready(k, t, why);
	if (rc != RC_OK && rc != RC_TEMPORARY)
		return rc;
	struct kafka_message *km = new_message(m, t, size);
	if (!km)
		return rc_fail(RC_TEMPORARY, why, "no memory for a message");
	if (rc == RC_OK)
		rc = t->pending ? RC_TEMPORARY : give(k, km, why);
	if (rc != RC_OK && rc != RC_TEMPORARY) {
		free(km);
		return rc;
	}
	keep(k, km);
	if (rc == RC_TEMPORARY)
		add_pending(k, km);
	k->counts.sent++;
	return RC_OK;
}

static enum rc kafka_poll(struct sink *s, unsigned ms, struct why *why)
{
	struct sink_kafka *k = sink_kafka_of(s);
	uint64_t until = clock_boot_ms() + ms, told = k->counts.delivered + k->counts.failed;
	if (k->broken.text[0])
		return fail_broken(k, why);
	for (;;) {
		if (k->n_pending)
			give_pending(k);
		uint64_t now = clock_boot_ms(), left = !k->n || now >= until ? 0 : until - now;
		uint64_t slice = k->n_pending && left > SLICE_MS ? SLICE_MS : left;
		rd_kafka_poll(k->client, (int)(slice < 60000 ? slice : 60000));
		enum rc rc = look(k, why);
		if (rc != RC_OK || !left || k->counts.delivered + k->counts.failed != told)
			return rc;
	}
}

static enum rc kafka_flush(struct sink *s, unsigned ms, struct why *why)
{
	struct sink_kafka *k = sink_kafka_of(s);
	uint64_t until = clock_boot_ms() + ms;
	enum rc rc = k->broken.text[0] ? fail_broken(k, why) : look(k, why);
	while (rc == RC_OK && k->n) {
		uint64_t now = clock_boot_ms(), left = now < until ? until - now : 0;
		uint64_t most = k->n_pending ? SLICE_MS : FLUSH_SLICE_MS;
		rd_kafka_flush(k->client, (int)(left < most ? left : most));
		if (k->n_pending && !rd_kafka_outq_len(k->client))
			rd_kafka_poll(k->client, left < SLICE_MS ? (int)left : SLICE_MS);
		rc = look(k, why);
		if (rc == RC_OK && k->n && !left)
			return rc_fail(RC_TEMPORARY, why, "%zu messages are still on their way",
				       k->n);
	}
	return rc;
}

static void kafka_purge(struct sink *s)
{
	struct sink_kafka *k = sink_kafka_of(s);
	k->purged = true;
	for (size_t i = 0; i < KAFKA_TOPIC_BUCKETS; i++)
		for (struct kafka_topic *t = k->topics[i]; t; t = t->next)
			while (t->pending)
				forget(k, take_pending(k, t));
	if (k->client) {
		rd_kafka_purge(k->client, RD_KAFKA_PURGE_F_QUEUE);
		rd_kafka_poll(k->client, 0);
	}
}

static void kafka_counts(const struct sink *s, struct sink_counts *out)
{
	const struct sink_kafka *k = container_of(s, const struct sink_kafka, base);
	*out = k->counts;
	out->queued = k->n;
}

static size_t kafka_max_message(const struct sink *s)
{
	return container_of(s, const struct sink_kafka, base)->max_message;
}

static void kafka_destroy(struct sink *s)
{
	struct sink_kafka *k = sink_kafka_of(s);
	end_client(k);
	while (k->oldest) /* the client referred to them until it ended */
		forget(k, k->oldest);
	sink_kafka_topic_free(k);
	for (size_t i = 0; i < k->n_properties; i++) {
		free((char *)k->properties[i].name);
		free((char *)k->properties[i].value);
	}
	free(k->properties);
	free(k->servers);
	free(k->partitioner);
	free(k);
}

static const struct sink_ops kafka_ops = {
	.name = "kafka",
	.send = kafka_send,
	.poll = kafka_poll,
	.flush = kafka_flush,
	.purge = kafka_purge,
	.counts = kafka_counts,
	.max_message = kafka_max_message,
	.destroy = kafka_destroy,
};

static char *copy(const char *text, bool *failed)
{
	char *c = text ? strdup(text) : NULL;
	*failed |= text && !c;
	return c;
}

static enum rc take_options(struct sink_kafka *k, const struct sink_kafka_options *o,
			    struct why *why)
{
	bool failed = false;
	k->servers = copy(o->servers, &failed);
	k->partitioner = copy(o->partitioner ? o->partitioner : "consistent_random", &failed);
	k->properties = calloc(o->n_properties + 1, sizeof(*k->properties));
	failed |= !k->properties;
	for (size_t i = 0; !failed && i < o->n_properties; i++) {
		k->n_properties = i + 1;
		k->properties[i].name = copy(o->properties[i].name, &failed);
		k->properties[i].value = copy(o->properties[i].value, &failed);
	}
	k->create_topics = o->create_topics;
	k->partitions = o->partitions ? o->partitions : 3;
	k->replication = o->replication ? o->replication : 1;
	k->request_ms = o->request_ms ? o->request_ms : REQUEST_MS;
	return failed ? rc_fail(RC_NO_MEMORY, why, "no memory for a sink") : RC_OK;
}

/* Ask for nothing, so that an answer shows that a broker is there, and that it lets us in. */
static enum rc greet(struct sink_kafka *k, struct why *why)
{
	const struct rd_kafka_metadata *found = NULL;
	int ms = k->request_ms < INT32_MAX ? (int)k->request_ms : INT32_MAX;
	rd_kafka_resp_err_t err = rd_kafka_metadata(k->client, 0, NULL, &found, ms);
	if (!err) {
		rd_kafka_metadata_destroy(found);
		return RC_OK;
	}
	rd_kafka_poll(k->client, 0); /* its errors say more */
	return rc_fail(RC_TEMPORARY, why, "no Kafka broker answers: %s",
		       k->counts.last_error[0] ? k->counts.last_error : rd_kafka_err2str(err));
}

enum rc sink_kafka_new(struct sink **out, const struct sink_kafka_options *o,
		       sink_report_fn *report, void *arg, struct why *why)
{
	_cleanup_(sink_freep) struct sink *s = NULL;
	struct sink_kafka *k = calloc(1, sizeof(*k));
	if (!k)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a sink");
	k->base.ops = &kafka_ops;
	k->report = report;
	k->arg = arg;
	s = &k->base;
	enum rc rc = take_options(k, o, why);
	if (rc == RC_OK)
		rc = start_client(k, why);
	if (rc == RC_OK)
		rc = greet(k, why);
	if (rc == RC_OK)
		*out = TAKE_PTR(s);
	return rc;
}
