/* SPDX-License-Identifier: Apache-2.0 */
/* sink.c - the interface's calls, passed on to the implementation. */
#include "config.h"
#include "sink/sink.h"

#include <string.h>

bool sink_is_topic(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(name);
	return len && len <= SINK_TOPIC_MAX && strspn(name, allowed) == len &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

enum rc sink_send(struct sink *s, const struct sink_message *m, struct why *why)
{
	return s->ops->send(s, m, why);
}

enum rc sink_poll(struct sink *s, unsigned ms, struct why *why)
{
	return s->ops->poll(s, ms, why);
}

enum rc sink_flush(struct sink *s, unsigned ms, struct why *why)
{
	return s->ops->flush(s, ms, why);
}

void sink_purge(struct sink *s)
{
	s->ops->purge(s);
}

void sink_counts(const struct sink *s, struct sink_counts *out)
{
	memset(out, 0, sizeof(*out));
	s->ops->counts(s, out);
}

size_t sink_max_message(const struct sink *s)
{
	return s->ops->max_message(s);
}

void sink_free(struct sink **s)
{
	if (*s)
		(*s)->ops->destroy(*s);
	*s = NULL;
}
