/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address of a PostgreSQL database as libpq takes it: postgresql://… or key=value words.
 * Where a password may stand in it, so that it can be kept from argv and from what is printed; in
 * doubt it is taken for one. Pure.
 * Source: PostgreSQL 15, "Connection Strings".
 */
#ifndef EVFS_SETUP_CONNINFO_H
#define EVFS_SETUP_CONNINFO_H

#include <stdbool.h>

#include "base/buf.h"

/* Has it one of the two forms? */
bool conninfo_is(const char *text);
bool conninfo_has_password(const char *text);
/* Append it without passwords. False: something was left out. */
bool conninfo_print(const char *text, struct buf *out);
/* Append key='value' with a blank before it where something is there. */
void conninfo_add(struct buf *out, const char *key, const char *value);

#endif
