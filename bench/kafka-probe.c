/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kafka-probe.c - what librdkafka itself can do, and how long an event takes: what bench/run-publish compares with.
 *
 *   kafka-probe produce HOST:PORT TOPIC N SIZE       N messages as the publisher makes them: idempotent, acks=all, key, headers.
 *                                                    Prints the seconds until the last one is acknowledged
 *   kafka-probe latency HOST:PORT TOPIC FILE N RATE  appends N documents to FILE (an events.ndjson), RATE a second, and reads the
 *                                                    topic. Prints p50, p99 and the longest time from the answered write to the
 *                                                    message, in ms
 */
#include "config.h"

#include <err.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N_MAX 1000000
#define LOST_AFTER 30	/* seconds */

static char reason[512];
static long failed, delivered;
static double *answered, *seen;	/* by number of the document */
static long n_docs, n_seen;
static int n_partitions;
static atomic_bool reading;	/* all partitions, from their end */

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end || n <= 0 || n > max)
		errx(2, "'%s' is no number from 1 to %ld", text, max);
	return n;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	if (rd_kafka_conf_set(conf, name, value, reason, sizeof(reason)) != RD_KAFKA_CONF_OK)
		errx(2, "%s", reason);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf, const char *servers)
{
	set(conf, "bootstrap.servers", servers);
	rd_kafka_t *rk = rd_kafka_new(type, conf, reason, sizeof(reason));
	if (!rk)
		errx(1, "%s", reason);
	return rk;
}

/* The partitions of a topic; the client is connected then. */
static int partitions(rd_kafka_t *rk, const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	const struct rd_kafka_metadata *data;
	rd_kafka_resp_err_t rc = rd_kafka_metadata(rk, 0, topic, &data, 10000);
	if (rc || data->topic_cnt != 1 || data->topics[0].err)
		errx(1, "%s: %s", name, rd_kafka_err2str(rc ? rc : data->topics[0].err));
	int n = data->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(data);
	rd_kafka_topic_destroy(topic);
	return n;
}

/* --- produce --- */
static void report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *arg)
{
	(void)rk, (void)arg;
	failed += m->err != 0;
	delivered++;
}

static void produce_one(rd_kafka_t *rk, const char *topic, long i, void *value, size_t size)
{
	static const char id[] = "01a1fe0e-54f0-7000-b141-8822f76bbf9b";
	char key[24], text[24];
	snprintf(key, sizeof(key), "o-%ld", i % 1000);
	snprintf(text, sizeof(text), "%ld", i);
	for (;;) {
		rd_kafka_resp_err_t rc = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, size),
			RD_KAFKA_V_HEADER("event_id", id, sizeof(id) - 1), RD_KAFKA_V_HEADER("sequence_number", text, -1),
			RD_KAFKA_V_END);
		if (!rc)
			return;
		if (rc != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			errx(1, "%s", rd_kafka_err2str(rc));
		rd_kafka_poll(rk, 10);
	}
}

static void produce(const char *servers, const char *topic, long n, long size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "enable.idempotence", "true");
	rd_kafka_conf_set_dr_msg_cb(conf, report);
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf, servers);
	partitions(rk, topic);
	char *value = malloc((size_t)size);
	if (!value)
		errx(1, "no memory");
	memset(value, 'x', (size_t)size);
	double began = now();
	for (long i = 0; i < n; i++) {
		produce_one(rk, topic, i, value, (size_t)size);
		if (i % 100 == 0)
			rd_kafka_poll(rk, 0);
	}
	rd_kafka_flush(rk, 120000);
	double took = now() - began;
	if (failed || delivered != n)
		errx(1, "%ld of %ld were delivered, %ld failed", delivered, n, failed);
	printf("%.6f\n", took);
	free(value);
	rd_kafka_destroy(rk);
}

/* --- latency --- */
static void note(const rd_kafka_message_t *m, double when)
{
	static const char mark[] = "\"probe\":";
	const char *at = memmem(m->payload, m->len, mark, sizeof(mark) - 1);
	long i = at ? strtol(at + sizeof(mark) - 1, NULL, 10) : -1;	/* a brace or a comma ends it */
	if (i >= 0 && i < n_docs && seen[i] == 0) {
		seen[i] = when;
		n_seen++;
	}
}

static void *read_topic(void *arg)
{
	rd_kafka_t *rk = arg;
	double last = now();
	int at_end = 0;
	while (n_seen < n_docs && now() < last + LOST_AFTER) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
		double when = now();
		if (m && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			if (++at_end >= n_partitions)
				atomic_store(&reading, true);
		} else if (m && !m->err) {
			note(m, when);
			last = when;
		}
		if (m)
			rd_kafka_message_destroy(m);
		if (!atomic_load(&reading))
			last = when;
	}
	return NULL;
}

static rd_kafka_t *consumer(const char *servers, const char *topic)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "group.id", "evfs-bench");
	set(conf, "enable.partition.eof", "true");
	set(conf, "enable.auto.commit", "false");
	rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf, servers);
	rd_kafka_poll_set_consumer(rk);
	n_partitions = partitions(rk, topic);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n_partitions);
	for (int i = 0; i < n_partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_END;
	rd_kafka_resp_err_t rc = rd_kafka_assign(rk, list);
	if (rc)
		errx(1, "%s", rd_kafka_err2str(rc));
	rd_kafka_topic_partition_list_destroy(list);
	return rk;
}

static void append(const char *path, long n, long rate)
{
	double began = now();
	for (long i = 0; i < n; i++) {
		double due = began + (double)i / (double)rate - now();
		if (due > 0)
			usleep((useconds_t)(due * 1e6));
		char doc[128];
		int len = snprintf(doc, sizeof(doc), "{\"event_type\":\"OrderPlaced\",\"data\":{\"probe\":%ld}}\n", i);
		int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
		if (fd < 0 || write(fd, doc, (size_t)len) != len || close(fd))
			err(1, "append to %s", path);
		answered[i] = now();
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void latency(const char *servers, const char *topic, const char *path, long n, long rate)
{
	n_docs = n;
	answered = calloc((size_t)n, sizeof(*answered));
	seen = calloc((size_t)n, sizeof(*seen));
	if (!answered || !seen)
		errx(1, "no memory");
	rd_kafka_t *rk = consumer(servers, topic);
	pthread_t thread;
	if (pthread_create(&thread, NULL, read_topic, rk))
		errx(1, "cannot start a thread");
	while (!atomic_load(&reading))
		usleep(1000);
	append(path, n, rate);
	pthread_join(thread, NULL);
	if (n_seen < n)
		errx(1, "%ld of %ld never came", n - n_seen, n);
	for (long i = 0; i < n; i++)	/* it may be there before its writer was told */
		answered[i] = seen[i] > answered[i] ? (seen[i] - answered[i]) * 1e3 : 0;
	qsort(answered, (size_t)n, sizeof(*answered), compare);
	printf("%.3f %.3f %.3f\n", answered[n / 2], answered[n * 99 / 100], answered[n - 1]);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "produce"))
		produce(argv[2], argv[3], number(argv[4], N_MAX), number(argv[5], 900000));
	else if (argc == 7 && !strcmp(argv[1], "latency"))
		latency(argv[2], argv[3], argv[4], number(argv[5], N_MAX), number(argv[6], 100000));
	else
		errx(2, "usage: see the head of bench/kafka-probe.c");
	return 0;
}
