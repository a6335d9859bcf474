/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration of a store in S3 is made of beside its options: bucket and prefix out of
 * STORE, the ledger's address out of POSTGRES_* or PG*. For config.c alone. Threads: none.
 */
#ifndef EVFS_SETUP_CONFIG_STORE_H
#define EVFS_SETUP_CONFIG_STORE_H

#include "base/rc.h"
#include "setup/config.h"

/* If key is POSTGRES_HOST or its like: remember its value. */
enum rc config_store_part(struct config *c, const char *key, const char *value,
			  enum config_origin origin, struct why *why) _must_check_;
/* The same, all those in the environment. */
enum rc config_store_environment(struct config *c, struct why *why) _must_check_;
/* Once all sources were read. RC_INVALID: no bucket, a bad endpoint or ledger, a password in -o. */
enum rc config_store_finish(struct config *c, struct why *why) _must_check_;
/* Free STORE and the parts. */
void config_store_release(struct config *c);

#endif
