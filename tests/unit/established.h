/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builders of the established system (contracts.md A4), as the vectors record them: what its
 * services make of a command, a domain event, a connector's update. For tests: no evfs program
 * builds such events.
 */
#ifndef EVFS_TESTS_ESTABLISHED_H
#define EVFS_TESTS_ESTABLISHED_H

#include "base/json.h"
#include "event/event.h"

/* The member of that name (the last), or false. */
bool established_member(const struct json_value *object, const char *name, struct json_value *out);

/* The name-based UUID (version 5) of text in a namespace; out and ns are text of 36 characters. */
void established_uuid5(const char *ns, const char *text, char out[37]);

/* in is the "in" of a vector. RC_INVALID where the builder raises. */
enum rc established_command(const struct json_value *in, struct event *out);
enum rc established_base_event(const struct json_value *in, struct event *out);
enum rc established_connector(const struct json_value *in, struct event *out);

#endif
