/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evfsctl append --ndjson: documents from stdin that name their streams. Those of one stream that
 * follow each other are gathered into batches; each is stored whole or not at all. Threads: none.
 */
#ifndef EVFS_TOOLS_BATCH_H
#define EVFS_TOOLS_BATCH_H

#include <stdbool.h>

#include "store/store.h"
#include "tools/verb.h"

/*
 * Append all of stdin. The first failure ends it, and what was stored is told; keep_going: what
 * fails is told and passed over. A document that is wrong takes those gathered before it with it,
 * unless keep_going.
 */
enum verb_status batch_run(struct verb_call *call, struct store *s, bool keep_going);

#endif
