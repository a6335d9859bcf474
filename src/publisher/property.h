/* SPDX-License-Identifier: Apache-2.0 */
/*
 * librdkafka properties as people give them: words of the command line, and files. Threads: none.
 */
#ifndef EVFS_PUBLISHER_PROPERTY_H
#define EVFS_PUBLISHER_PROPERTY_H

#include <stddef.h>

#include "base/rc.h"
#include "sink/sink.h"

struct property_list {
	struct sink_property *items;	/* malloc'd, texts too */
	size_t n;
};
void property_list_release(struct property_list *l);

/*
 * "name=value", or "@FILE". RC_INVALID: another form, a property that would break what is promised, or a secret: those are taken
 * from files alone, for every user can read a command line.
 */
enum rc property_add_word(struct property_list *l, const char *word, struct why *why) _must_check_;
/* A file with name=value a line; blank lines, and those that begin with '#', are passed over. RC_NOT_FOUND, RC_DENIED, RC_INVALID with the line. */
enum rc property_add_file(struct property_list *l, const char *path, struct why *why) _must_check_;

#endif
