/* SPDX-License-Identifier: Apache-2.0 */
/* verb-reindex.c - evfsctl reindex: the ledger from the objects. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>

#include "base/clock.h"
#include "tools/output.h"

enum { OPT_FRESH };

struct showing {
	uint64_t began_ms;
};

static void show(void *arg, uint64_t streams)
{
	struct showing *w = arg;
	if (!streams) {
		output_progress("waiting until no append of before can be under way");
		w->began_ms = clock_boot_ms();
		return;
	}
	uint64_t ms = clock_boot_ms() - w->began_ms;
	output_progress("%" PRIu64 " streams, %" PRIu64 "/s", streams,
			ms ? streams * 1000 / ms : 0);
}

static void tell(const struct verb_call *call, const struct stack_reindexed *done)
{
	const struct store_reindexed *n = &done->counts;
	if (call->json && done->anew)
		output_printf("{\"anew\":true,\"streams\":%" PRIu64 "}\n", n->streams);
	else if (call->json)
		output_printf("{\"anew\":false,\"streams\":%" PRIu64 ",\"events\":%" PRIu64
			      ",\"added\":%" PRIu64 ",\"replaced\":%" PRIu64 ",\"moved\":%" PRIu64
			      ",\"dropped\":%" PRIu64 "}\n",
			      n->streams, n->events, n->added, n->replaced, n->moved, n->dropped);
	else if (done->anew)
		output_printf("%s has a new ledger, %" PRIu64 " streams\n", call->config.store,
			      n->streams);
	else
		output_printf("%" PRIu64 " streams, %" PRIu64 " events: %" PRIu64 " added, %" PRIu64
			      " replaced, %" PRIu64 " pending moved to the end, %" PRIu64
			      " dropped\n",
			      n->streams, n->events, n->added, n->replaced, n->moved, n->dropped);
}

static enum verb_status run(struct verb_call *call)
{
	struct showing showing = { clock_boot_ms() };
	struct stack_reindexed done;
	struct why why = { "" };
	if (call->n_words)
		return verb_usage(call, "one word too many: \"%s\"", call->words[0]);
	enum rc rc =
		stack_reindex(&call->config, call->given[OPT_FRESH], &done, show, &showing, &why);
	output_progress_end();
	if (rc)
		return verb_fail(call, rc, &why);
	tell(call, &done);
	return VERB_DONE;
}

const struct verb verb_reindex = {
	.name = "reindex",
	.words_help = "",
	.help = "Make the ledger equal to the objects, whatever it says. Mounts that are up go on.\n"
		"Pending appends are kept, where the objects do not contradict them. Where it is\n"
		"interrupted, repeat it.",
	.options =
		(const struct verb_option[]){
			[OPT_FRESH] = { "--fresh", NULL,
					"deliver what is pending, throw the ledger away, make a new one" },
			{ NULL, NULL, NULL },
		},
	.has_json = true,
	.run = run,
};
