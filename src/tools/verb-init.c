/* SPDX-License-Identifier: Apache-2.0 */
/* verb-init.c - evfsctl init: make a store, or a ledger for one. */
#include "config.h"
#include "tools/verb.h"

#include <inttypes.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "tools/output.h"

enum { OPT_ADOPT };

static void show_streams(void *arg, uint64_t streams)
{
	(void)arg;
	output_progress("%" PRIu64 " streams", streams);
}

static enum verb_status run(struct verb_call *call)
{
	bool adopt = call->given[OPT_ADOPT];
	struct stack_made made;
	struct why why = { "" };
	if (call->n_words)
		return verb_usage(call, "one word too many: \"%s\"", call->words[0]);
	enum rc rc = adopt ? stack_adopt(&call->config, &made, show_streams, NULL, &why) :
			     stack_init(&call->config, &made, &why);
	output_progress_end();
	if (rc)
		return verb_fail(call, rc, &why);
	if (call->json)
		output_printf(
			"{\"uuid\":\"%s\",\"layout\":\"native\",\"adopted\":%s,\"streams\":%" PRIu64
			"}\n",
			made.info.uuid, adopt ? "true" : "false", made.streams);
	else if (adopt)
		output_printf("%s has a ledger now, %" PRIu64 " streams\n", call->config.store,
			      made.streams);
	else
		output_printf("%s is a store now\n", call->config.store);
	return VERB_DONE;
}

const struct verb verb_init = {
	.name = "init",
	.words_help = "",
	.help =
		"Make a store: the directory, its layout and an empty ledger.\n"
		"With --adopt, give a store whose ledger is missing one, seeded from its objects.",
	.options =
		(const struct verb_option[]){
			[OPT_ADOPT] = { "--adopt", NULL,
					"make the missing ledger of a store that has events" },
			{ NULL, NULL, NULL },
		},
	.has_json = true,
	.run = run,
};
