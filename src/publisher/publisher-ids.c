/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-ids.c - event ids that need not go out again. */
#include "config.h"
#include "publisher/publisher-private.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void publisher_ids_release(struct publisher_ids *s)
{
	for (size_t i = 0; i < s->cap; i++)
		free(s->slots[i]);
	free(s->slots);
	*s = (struct publisher_ids){ NULL, 0, 0 };
}

/* Where it is, or would be. cap is a power of two, and at most half of it is taken. */
static char **slot_of(const struct publisher_ids *s, const char *id)
{
	size_t i = hash_text(HASH_START, id) & (s->cap - 1);
	while (s->slots[i] && strcmp(s->slots[i], id))
		i = (i + 1) & (s->cap - 1);
	return &s->slots[i];
}

static bool grow(struct publisher_ids *s)
{
	struct publisher_ids larger = { .cap = s->cap ? s->cap * 2 : 256, .n = s->n };
	larger.slots = calloc(larger.cap, sizeof(*larger.slots));
	if (!larger.slots)
		return false;
	for (size_t i = 0; i < s->cap; i++)
		if (s->slots[i])
			*slot_of(&larger, s->slots[i]) = s->slots[i];
	free(s->slots);
	*s = larger;
	return true;
}

enum rc publisher_ids_add(struct publisher_ids *s, const char *id, struct why *why)
{
	if ((s->n + 1) * 2 > s->cap && !grow(s))
		return rc_fail(RC_NO_MEMORY, why, "no memory for an event id");
	char **slot = slot_of(s, id);
	if (*slot)
		return RC_OK;
	*slot = strdup(id);
	if (!*slot)
		return rc_fail(RC_NO_MEMORY, why, "no memory for an event id");
	s->n++;
	return RC_OK;
}

bool publisher_ids_has(const struct publisher_ids *s, const char *id)
{
	return s->n && *slot_of(s, id);
}
