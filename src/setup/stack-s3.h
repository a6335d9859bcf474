/* SPDX-License-Identifier: Apache-2.0 */
/* From configuration to what S3 engine and PostgreSQL ledger take. For stack-*.c alone. */
#ifndef EVFS_SETUP_STACK_S3_H
#define EVFS_SETUP_STACK_S3_H

#include "ledger/ledger.h"
#include "object/object-s3.h"
#include "setup/config.h"

/* The texts stay the configuration's. */
void stack_s3_object_options(const struct config *c, struct object_s3_options *out);
void stack_s3_ledger_options(const struct config *c, const char *uuid,
			     struct ledger_pg_options *out);

#endif
