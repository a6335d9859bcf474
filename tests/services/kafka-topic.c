/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kafka-topic.c - topics of a broker for tests: Debian has no program for it, Kafka's own take two seconds each.
 *
 *   kafka-topic HOST:PORT create NAME [PARTITIONS [KEY=VALUE...]]
 *   kafka-topic HOST:PORT delete NAME
 *   kafka-topic HOST:PORT grow   NAME PARTITIONS
 *   kafka-topic HOST:PORT set    NAME KEY=VALUE...	in place of what was set before
 *   kafka-topic HOST:PORT count  NAME		prints how many records it ever got
 *
 * Each returns when the broker tells all of it to others, too. Status 1, with the broker's reason: it refused.
 */
#include "config.h"

#include <err.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 30000

static rd_kafka_t *client;
static rd_kafka_queue_t *answers;
static char reason[512];

static void connect_to(const char *servers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (rd_kafka_conf_set(conf, "bootstrap.servers", servers, reason, sizeof reason) != RD_KAFKA_CONF_OK ||
	    rd_kafka_conf_set(conf, "log_level", "2", reason, sizeof reason) != RD_KAFKA_CONF_OK)
		errx(2, "%s", reason);
	client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
	if (!client)
		errx(1, "%s", reason);
	answers = rd_kafka_queue_new(client);
}

static rd_kafka_event_t *answer(void)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(answers, WAIT_MS);
	if (!event)
		errx(1, "no answer within %d ms", WAIT_MS);
	if (rd_kafka_event_error(event))
		errx(1, "%s", rd_kafka_event_error_string(event));
	return event;
}

static void expect_topic(const rd_kafka_topic_result_t **results, size_t n)
{
	if (n != 1)
		errx(1, "%zu answers instead of one", n);
	if (rd_kafka_topic_result_error(results[0]))
		errx(1, "%s: %s", rd_kafka_topic_result_name(results[0]), rd_kafka_topic_result_error_string(results[0]));
}

/* The number of its partitions that have a leader. */
static int partitions(const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
	const struct rd_kafka_metadata *data = NULL;
	int n = 0;
	if (rd_kafka_metadata(client, 0, topic, &data, WAIT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
		for (int i = 0; data->topic_cnt == 1 && !data->topics[0].err && i < data->topics[0].partition_cnt; i++)
			n += data->topics[0].partitions[i].leader >= 0;
		rd_kafka_metadata_destroy(data);
	}
	rd_kafka_topic_destroy(topic);
	return n;
}

static void await(const char *name, int n)
{
	for (int i = 0; partitions(name) != n; i++) {
		if (i == WAIT_MS / 10)
			errx(1, "%s does not come to %d partitions", name, n);
		usleep(10000);
	}
}

static int number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end || n < 1 || n > 10000)
		errx(2, "'%s' is no number of partitions", text);
	return (int)n;
}

/* Cuts KEY=VALUE in two; returns the value. */
static const char *cut(char *setting)
{
	char *equals = strchr(setting, '=');
	if (!equals)
		errx(2, "'%s' is not KEY=VALUE", setting);
	*equals = '\0';
	return equals + 1;
}

static void create(const char *name, char **rest)
{
	int n = *rest ? number(*rest++) : 1;
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, n, 1, reason, sizeof reason);
	if (!topic)
		errx(2, "%s", reason);
	for (; *rest; rest++) {
		const char *value = cut(*rest);
		rd_kafka_NewTopic_set_config(topic, *rest, value);
	}
	rd_kafka_CreateTopics(client, &topic, 1, NULL, answers);
	rd_kafka_event_t *event = answer();
	size_t count;
	const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
	expect_topic(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy(topic);
	await(name, n);
}

static void delete_topic(const char *name)
{
	rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
	rd_kafka_DeleteTopics(client, &topic, 1, NULL, answers);
	rd_kafka_event_t *event = answer();
	size_t count;
	const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
	expect_topic(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteTopic_destroy(topic);
	await(name, 0);
}

static void grow(const char *name, int n)
{
	rd_kafka_NewPartitions_t *topic = rd_kafka_NewPartitions_new(name, (size_t)n, reason, sizeof reason);
	if (!topic)
		errx(2, "%s", reason);
	rd_kafka_CreatePartitions(client, &topic, 1, NULL, answers);
	rd_kafka_event_t *event = answer();
	size_t count;
	const rd_kafka_topic_result_t **results = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count);
	expect_topic(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_NewPartitions_destroy(topic);
	await(name, n);
}

static void set(const char *name, char **rest)
{
	rd_kafka_ConfigResource_t *topic = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
	for (; *rest; rest++) {
		const char *value = cut(*rest);
		rd_kafka_ConfigResource_set_config(topic, *rest, value);
	}
	rd_kafka_AlterConfigs(client, &topic, 1, NULL, answers);
	rd_kafka_event_t *event = answer();
	size_t count;
	const rd_kafka_ConfigResource_t **results =
		rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
	if (count != 1 || rd_kafka_ConfigResource_error(results[0]))
		errx(1, "%s: %s", name, count ? rd_kafka_ConfigResource_error_string(results[0]) : "no answer");
	rd_kafka_event_destroy(event);
	rd_kafka_ConfigResource_destroy(topic);
}

static void tell_count(const char *name)
{
	int n = partitions(name);
	int64_t sum = 0;
	if (!n)
		errx(1, "there is no %s", name);
	for (int i = 0; i < n; i++) {
		int64_t low, high;
		rd_kafka_resp_err_t rc = rd_kafka_query_watermark_offsets(client, name, i, &low, &high, WAIT_MS);
		if (rc)
			errx(1, "%s, partition %d: %s", name, i, rd_kafka_err2str(rc));
		sum += high;
	}
	printf("%" PRId64 "\n", sum);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 3 ? argv[2] : "";
	if (argc < 4)
		errx(2, "usage: kafka-topic HOST:PORT create|delete|grow|set|count NAME [PARTITIONS] [KEY=VALUE...]");
	connect_to(argv[1]);
	if (!strcmp(verb, "create"))
		create(argv[3], argv + 4);
	else if (!strcmp(verb, "delete"))
		delete_topic(argv[3]);
	else if (!strcmp(verb, "grow") && argc == 5)
		grow(argv[3], number(argv[4]));
	else if (!strcmp(verb, "set") && argc > 4)
		set(argv[3], argv + 4);
	else if (!strcmp(verb, "count"))
		tell_count(argv[3]);
	else
		errx(2, "no verb '%s' with %d arguments", verb, argc - 3);
	rd_kafka_queue_destroy(answers);
	rd_kafka_destroy(client);
	return 0;
}
