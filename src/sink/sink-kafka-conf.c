/* SPDX-License-Identifier: Apache-2.0 */
/* sink-kafka-conf.c - the client's properties: ours, the user's, and which of those would break the promise. */
#include "config.h"
#include "sink/sink-kafka-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NONE_LOST "no event is lost: "
#define IN_ORDER "the events of a stream keep their order: "

/* What a property must be. only: one of these words; min to max: a number; else it may not be given at all. */
static const struct promise {
	const char *name;
	const char *only[6];
	int64_t min, max;
	const char *promised;
} promises[] = {
	{ "acks",
	  { "all", "-1" },
	  0,
	  0,
	  NONE_LOST "all in-sync replicas have it before it counts" },
	{ "request.required.acks",
	  { "all", "-1" },
	  0,
	  0,
	  NONE_LOST "all in-sync replicas have it before it counts" },
	{ "enable.idempotence", { "true" }, 0, 0, IN_ORDER "a repeated request can't overtake" },
	{ "enable.gapless.guarantee",
	  { "true" },
	  0,
	  0,
	  IN_ORDER "nothing is sent behind one that failed" },
	{ "message.timeout.ms", { NULL }, 0, 0, NONE_LOST "it is tried until it is there" },
	{ "delivery.timeout.ms", { NULL }, 0, 0, NONE_LOST "it is tried until it is there" },
	{ "message.send.max.retries",
	  { NULL },
	  INT32_MAX,
	  INT32_MAX,
	  NONE_LOST "it is tried until it is there" },
	{ "retries", { NULL }, INT32_MAX, INT32_MAX, NONE_LOST "it is tried until it is there" },
	{ "max.in.flight", { NULL }, 1, 5, IN_ORDER "a broker remembers five requests" },
	{ "max.in.flight.requests.per.connection",
	  { NULL },
	  1,
	  5,
	  IN_ORDER "a broker remembers five requests" },
	{ "queuing.strategy", { "fifo" }, 0, 0, IN_ORDER "first in, first out" },
	{ "partitioner",
	  { "consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a",
	    "fnv1a_random" },
	  0,
	  0,
	  IN_ORDER "a key has one partition" },
	{ "delivery.report.only.error", { "false" }, 0, 0, NONE_LOST "each delivery is told" },
	{ "enabled_events", { "0" }, 0, 0, NONE_LOST "each delivery is told" },
	{ "test.mock.num.brokers", { "0" }, 0, 0, NONE_LOST "the broker is a real one" },
	{ "transactional.id",
	  { NULL },
	  1,
	  0,
	  "an event is there once it is acknowledged: there are no transactions" },
};

/* The reason may hold the value: the library's own is told for other properties only. */
static bool is_secret(const char *name)
{
	static const char *const words[] = {
		"password", "secret", "token", "pem", "jaas", "key", "sasl.oauthbearer.config"
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasestr(name, words[i]))
			return true;
	return false;
}

static bool is_kept(const struct promise *p, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->only) && p->only[i]; i++)
		if (strcasecmp(p->only[i], value) == 0)
			return true;
	if (p->only[0])
		return false;
	char *end;
	long long n = strtoll(value, &end, 10);
	return end != value && !*end && n >= p->min && n <= p->max;
}

static enum rc check_promise(const struct sink_property *property, struct why *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(promises); i++) {
		const struct promise *p = &promises[i];
		if (strcmp(p->name, property->name) == 0 && !is_kept(p, property->value))
			return rc_fail(RC_INVALID, why,
				       "'%s=%.100s' is refused; promised is that %s", p->name,
				       property->value, p->promised);
	}
	return RC_OK;
}

static enum rc set(rd_kafka_conf_t *conf, const struct sink_property *p, struct why *why)
{
	char text[256] = "";
	rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, p->name, p->value, text, sizeof(text));
	if (res == RD_KAFKA_CONF_OK)
		return RC_OK;
	if (res == RD_KAFKA_CONF_UNKNOWN)
		return rc_fail(RC_INVALID, why,
			       "there is no Kafka property '%.100s' (librdkafka %s)", p->name,
			       sink_kafka_version());
	if (is_secret(p->name))
		return rc_fail(RC_INVALID, why,
			       "the value of the Kafka property '%.100s' is not valid", p->name);
	return rc_fail(RC_INVALID, why, "Kafka property '%.100s': %s", p->name, text);
}

void sink_kafka_conf_freep(rd_kafka_conf_t **conf)
{
	if (*conf)
		rd_kafka_conf_destroy(*conf);
	*conf = NULL;
}

uint64_t sink_kafka_conf_number(const rd_kafka_conf_t *conf, const char *name)
{
	char text[64] = "";
	size_t size = sizeof(text);
	if (rd_kafka_conf_get(conf, name, text, &size) != RD_KAFKA_CONF_OK)
		return 0;
	return strtoull(text, NULL, 10);
}

enum rc sink_kafka_check(const struct sink_property *property, struct why *why)
{
	_cleanup_(sink_kafka_conf_freep) rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (!conf)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a Kafka configuration");
	enum rc rc = check_promise(property, why);
	return rc == RC_OK ? set(conf, property, why) : rc;
}

/* Numbers that depend on how long a request may take. A topic that is missing is told of after that long, too. */
static enum rc set_times(const struct sink_kafka *k, rd_kafka_conf_t *conf, struct why *why)
{
	static const struct {
		const char *name;
		uint64_t more, min, max;
	} times[] = {
		{ "request.timeout.ms", 0, 1, 900000 },
		{ "socket.timeout.ms", 1000, 1000, 300000 },
		{ "topic.metadata.propagation.max.ms", 0, 0, 3600000 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		uint64_t ms = k->request_ms + times[i].more;
		char text[24];
		ms = ms < times[i].min ? times[i].min : ms > times[i].max ? times[i].max : ms;
		snprintf(text, sizeof(text), "%" PRIu64, ms);
		enum rc rc = set(conf, &(struct sink_property){ times[i].name, text }, why);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

static enum rc set_ours(const struct sink_kafka *k, rd_kafka_conf_t *conf, struct why *why)
{
	const struct sink_property ours[] = {
		{ "client.id", "evfs-publisher" },
		{ "bootstrap.servers", k->servers },
		{ "enable.idempotence", "true" },
		{ "enable.gapless.guarantee", "true" },
		{ "acks", "all" },
		{ "message.timeout.ms", "0" },
		{ "message.send.max.retries", "2147483647" },
		{ "max.in.flight", "5" },
		{ "partitioner", k->partitioner },
		{ "compression.codec", "lz4" },
		/* a lone message waits that long for company */
		{ "linger.ms", "5" },
		{ "batch.num.messages", "10000" },
		{ "batch.size", "1000000" },
		{ "queue.buffering.max.messages", "100000" },
		{ "queue.buffering.max.kbytes", "32768" },
		{ "socket.nagle.disable", "true" },
		{ "socket.keepalive.enable", "true" },
		{ "reconnect.backoff.max.ms", "2000" },
		/* a topic that was missing is found again */
		{ "topic.metadata.refresh.interval.ms", "30000" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		enum rc rc = ours[i].value ? set(conf, &ours[i], why) : RC_OK;
		if (rc != RC_OK)
			return rc;
	}
	return set_times(k, conf, why);
}

enum rc sink_kafka_conf_new(const struct sink_kafka *k, rd_kafka_conf_t **out, struct why *why)
{
	_cleanup_(sink_kafka_conf_freep) rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (!conf)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a Kafka configuration");
	if (k->partitioner) {
		enum rc rc = check_promise(&(struct sink_property){ "partitioner", k->partitioner },
					   why);
		if (rc != RC_OK)
			return rc;
	}
	enum rc rc = set_ours(k, conf, why);
	for (size_t i = 0; rc == RC_OK && i < k->n_properties; i++) {
		rc = check_promise(&k->properties[i], why);
		if (rc == RC_OK)
			rc = set(conf, &k->properties[i], why);
	}
	if (rc == RC_OK)
		*out = TAKE_PTR(conf);
	return rc;
}

const char *sink_kafka_version(void)
{
	return rd_kafka_version_str();
}
