/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-sqlite-version.c - which SQLite this program runs with; apart, so that --version opens
 * nothing.
 */
#include "config.h"
#include "ledger/ledger.h"

#include <sqlite3.h>

const char *ledger_sqlite_version(void)
{
	return sqlite3_libversion();
}
