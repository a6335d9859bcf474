/* SPDX-License-Identifier: Apache-2.0 */
/* target.c - the sink and the route that a configuration names. */
#include "config.h"
#include "publisher/target.h"

#include <stdio.h>
#include <string.h>

#define NDJSON "ndjson:"

static bool is_ndjson(const struct config *c)
{
	return !strncmp(c->sink, NDJSON, strlen(NDJSON)) && c->sink[strlen(NDJSON)];
}

enum rc target_check(const struct config *c, bool needs_brokers, struct why *why)
{
	enum rc rc = route_check_topic(c->default_topic, why);
	if (rc != RC_OK)
		return rc_prefix(rc, why, "option \"default_topic\"");
	rc = route_check_topic(c->dlq_topic, why);
	if (rc != RC_OK)
		return rc_prefix(rc, why, "option \"dlq_topic\"");
	if (is_ndjson(c))
		return RC_OK;
	if (strcmp(c->sink, "kafka"))
		return rc_fail(RC_INVALID, why, "option \"sink\": expected kafka, ndjson:- or ndjson:FILE, found \"%.64s\"", c->sink);
	if (!c->kafka && needs_brokers)
		return rc_fail(RC_INVALID, why, "no brokers are named: -o kafka=HOST:PORT, or KAFKA_BOOTSTRAP_SERVERS");
	return RC_OK;
}

void target_route(const struct target *t, struct route_options *out)
{
	const struct config *c = t->config;
	*out = (struct route_options){
		.shape = c->shape == CONFIG_SHAPE_WRAPPER ? ROUTE_WRAPPER : ROUTE_EVENT,
		.default_topic = c->default_topic,
		.dlq_topic = c->dlq_topic,
		.cloud_events = c->cloud_events,
		.reference = c->s3_reference,
		.large_by_reference = c->large == CONFIG_LARGE_REFERENCE,
		.bucket = c->bucket,
		.prefix = c->prefix,
		.endpoint = c->endpoint,
		.source = t->source,
	};
}

void target_name(struct target *t, const char *uuid)
{
	snprintf(t->source, sizeof(t->source), "/evfs/%s", uuid);
}

enum rc target_make(void *make_arg, struct sink **out, sink_report_fn *report, void *arg, struct why *why)
{
	const struct target *t = make_arg;
	const struct config *c = t->config;
	if (is_ndjson(c))
		return sink_ndjson_new(out, c->sink + strlen(NDJSON), report, arg, why);
	const struct sink_kafka_options o = {
		.servers = c->kafka,
		.properties = t->properties->items,
		.n_properties = t->properties->n,
		.partitioner = config_name(c, "partitioner"),
		.create_topics = c->create_topics,
		.partitions = (unsigned)c->partitions,
		.replication = (unsigned)c->replication,
		.request_ms = c->timeout_ms,
	};
	return sink_kafka_new(out, &o, report, arg, why);
}
