/* SPDX-License-Identifier: Apache-2.0 */
/* sink-kafka-error.c - what a delivery error means for the message and for those behind it. */
#include "config.h"
#include "sink/sink-kafka-private.h"

/*
 * REFUSED: all messages to that topic fare the same. SHARED: the broker looked at one message and refused its batch. AGAIN: the
 * client ended (fatal error, purge) before it was sent or told of. What a broker tells in passing (no leader, too few replicas,
 * time-outs) never comes here: the client repeats it for ever.
 */
static const struct {
	rd_kafka_resp_err_t err;
	enum kafka_fate fate;
	enum rc rc;
} errors[] = {
	{ RD_KAFKA_RESP_ERR_NO_ERROR, KAFKA_OK, RC_OK },
	{ RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, KAFKA_REFUSED, RC_NOT_FOUND },
	{ RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, KAFKA_REFUSED, RC_NOT_FOUND },
	{ RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, KAFKA_REFUSED, RC_NOT_FOUND },
	{ RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, KAFKA_REFUSED, RC_DENIED },
	{ RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, KAFKA_REFUSED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, KAFKA_REFUSED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, KAFKA_REFUSED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, KAFKA_SHARED, RC_TOO_LARGE },
	{ RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, KAFKA_SHARED, RC_TOO_LARGE },
	{ RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, KAFKA_SHARED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR_INVALID_MSG, KAFKA_SHARED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, KAFKA_SHARED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR_INVALID_RECORD, KAFKA_SHARED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR_POLICY_VIOLATION, KAFKA_SHARED, RC_INVALID },
	{ RD_KAFKA_RESP_ERR__FATAL, KAFKA_AGAIN, RC_CORRUPT },
	{ RD_KAFKA_RESP_ERR__PURGE_QUEUE, KAFKA_AGAIN, RC_CORRUPT },
	{ RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, KAFKA_AGAIN, RC_CORRUPT },
};

enum kafka_fate sink_kafka_error_fate(rd_kafka_resp_err_t err, enum rc *rc_r)
{
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		if (errors[i].err == err) {
			*rc_r = errors[i].rc;
			return errors[i].fate;
		}
	}
	*rc_r = RC_CORRUPT;
	return KAFKA_BROKEN;
}
