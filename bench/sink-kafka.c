/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink-kafka.c - messages a second through the Kafka sink, against librdkafka with the same messages and properties.
 *
 *   EVFS_KAFKA=HOST:PORT sink-kafka [ROUNDS [MESSAGES [BYTES]]]
 *
 * Rounds take turns: librdkafka alone, the sink; medians, and their ratio. The window is the publisher's: 20,000 under way.
 */
#include "config.h"

#include <err.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "sink/sink.h"

#define ROUNDS_MAX 99
#define WINDOW 20000
#define STREAMS 1000

static const char *servers;
static char topic[64], value[1 << 20];
static size_t bytes = 500;
static int messages = 200000, under_way;

static const struct sink_header headers[] = {
	{ "event_id", "01890a5d-ac96-774b-bcce-b302099a8057" },
	{ "sequence_number", "123456" },
	{ "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
};

static void make_value(void)
{
	size_t n = (size_t)snprintf(value, sizeof(value), "{\"data\":\"");
	for (unsigned r = 1; n < bytes - 2;
	     n++) { /* text that is pressed to about half of it, as events are */
		r = r * 1103515245 + 12345;
		value[n] = "0123456789abcdef"[r >> 20 & 15];
	}
	memcpy(value + n, "\"}", 3);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)rk;
	(void)opaque;
	if (m->err)
		errx(1, "%s", rd_kafka_err2str(m->err));
	under_way--;
}

static rd_kafka_t *open_bare(void)
{
	static const char *const props[][2] = { { "enable.idempotence", "true" },
						{ "acks", "all" },
						{ "message.timeout.ms", "0" },
						{ "compression.codec", "lz4" },
						{ "linger.ms", "5" },
						{ "socket.nagle.disable", "true" } };
	char text[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (rd_kafka_conf_set(conf, "bootstrap.servers", servers, text, sizeof(text)))
		errx(1, "%s", text);
	for (size_t i = 0; i < ARRAY_SIZE(props); i++)
		if (rd_kafka_conf_set(conf, props[i][0], props[i][1], text, sizeof(text)))
			errx(1, "%s", text);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!rk)
		errx(1, "%s", text);
	return rk;
}

static void produce_bare(rd_kafka_t *rk, int i)
{
	char key[32];
	snprintf(key, sizeof(key), "Order/o-%d", i % STREAMS);
	rd_kafka_headers_t *h = rd_kafka_headers_new(ARRAY_SIZE(headers));
	for (size_t j = 0; j < ARRAY_SIZE(headers); j++)
		rd_kafka_header_add(h, headers[j].name, -1, headers[j].value, -1);
	rd_kafka_resp_err_t e =
		rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, strlen(key)),
				  RD_KAFKA_V_VALUE(value, bytes), RD_KAFKA_V_HEADERS(h),
				  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
	if (e)
		errx(1, "%s", rd_kafka_err2str(e));
	under_way++;
}

static double run_bare(void)
{
	rd_kafka_t *rk = open_bare();
	uint64_t from = clock_boot_us();
	for (int i = 0; i < messages; i++) {
		produce_bare(rk, i);
		rd_kafka_poll(rk, 0);
		while (under_way >= WINDOW)
			rd_kafka_poll(rk, 100);
	}
	while (under_way)
		rd_kafka_flush(rk, 100);
	double rate = messages * 1e6 / (double)(clock_boot_us() - from);
	rd_kafka_destroy(rk);
	return rate;
}

static void on_report(void *arg, void *opaque, enum rc rc, const struct why *why)
{
	(void)arg;
	(void)opaque;
	if (rc != RC_OK)
		errx(1, "%s: %s", rc_name(rc), why->text);
	under_way--;
}

static void check(enum rc rc, const struct why *why)
{
	if (rc != RC_OK)
		errx(1, "%s: %s", rc_name(rc), why->text);
}

static void send_ours(struct sink *s, int i)
{
	char key[32];
	struct why why;
	snprintf(key, sizeof(key), "Order/o-%d", i % STREAMS);
	struct sink_message m = { .topic = topic,
				  .key = key,
				  .key_len = strlen(key),
				  .value = value,
				  .len = bytes,
				  .headers = headers,
				  .n_headers = ARRAY_SIZE(headers) };
	enum rc rc;
	while ((rc = sink_send(s, &m, &why)) == RC_TEMPORARY)
		check(sink_poll(s, 100, &why), &why);
	check(rc, &why);
	under_way++;
}

static struct sink *open_ours(void)
{
	struct why why;
	struct sink *s;
	struct sink_kafka_options o = { .servers = servers, .create_topics = true };
	check(sink_kafka_new(&s, &o, on_report, NULL, &why), &why);
	return s;
}

static double run_ours(void)
{
	struct why why;
	struct sink *s = open_ours();
	uint64_t from = clock_boot_us();
	for (int i = 0; i < messages; i++) {
		send_ours(s, i);
		if (i % 64 == 0)
			check(sink_poll(s, 0, &why), &why);
		while (under_way >= WINDOW)
			check(sink_poll(s, 100, &why), &why);
	}
	check(sink_flush(s, 60000, &why), &why);
	double rate = messages * 1e6 / (double)(clock_boot_us() - from);
	sink_free(&s);
	return rate;
}

static int by_rate(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	double bare[ROUNDS_MAX], ours[ROUNDS_MAX];
	struct why why;
	char id[37];
	int rounds = argc > 1 ? atoi(argv[1]) : 5;
	servers = getenv("EVFS_KAFKA");
	messages = argc > 2 ? atoi(argv[2]) : messages;
	bytes = argc > 3 ? (size_t)atoi(argv[3]) : bytes;
	if (!servers || rounds < 1 || rounds > ROUNDS_MAX || messages < 1 || bytes < 16 ||
	    bytes > 900000)
		errx(1, "EVFS_KAFKA=HOST:PORT sink-kafka [ROUNDS [MESSAGES [BYTES]]]");
	clock_uuid(id);
	snprintf(topic, sizeof(topic), "evfs-bench-%s", id);
	make_value();
	struct sink *s = open_ours(); /* makes the topic */
	send_ours(s, 0);
	check(sink_flush(s, 30000, &why), &why);
	sink_free(&s);
	for (int r = 0; r < rounds; r++) {
		bare[r] = run_bare();
		ours[r] = run_ours();
		printf("round %d: librdkafka %.0f/s, sink %.0f/s\n", r + 1, bare[r], ours[r]);
	}
	qsort(bare, (size_t)rounds, sizeof(bare[0]), by_rate);
	qsort(ours, (size_t)rounds, sizeof(ours[0]), by_rate);
	double b = bare[rounds / 2], o = ours[rounds / 2];
	printf("medians: librdkafka %.0f/s, sink %.0f/s, ratio %.2f\n", b, o, o / b);
	return 0;
}
