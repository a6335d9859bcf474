/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail-held.c - the streams that wait alone, as the reader sees them (next) and as who was told sees them (told).
 *
 * A stream that the time line has again may wait anew while events of its first wait are queued: then it stands here twice, and the
 * first one, which is closing, says where it stands for who was told.
 */
#include "config.h"
#include "store/tail-private.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"

static void hold_free(struct tail_hold *hold)
{
	if (!hold)
		return;
	free(hold->type);
	free(hold->id);
	free(hold);
}

void tail_held_release(struct tail_held *h)
{
	for (size_t i = 0; i < h->n; i++)
		hold_free(h->all[i]);
	free(h->all);
	free(h->list);
	*h = (struct tail_held){ .n = 0 };
}

static size_t bucket_of(const char *type, const char *id)
{
	return hash_pair(type, id) % TAIL_HELD_BUCKETS;
}

static bool is_of(const struct tail_hold *hold, const char *type, const char *id)
{
	return !strcmp(hold->id, id) && !strcmp(hold->type, type);
}

struct tail_hold *tail_held_find(const struct tail_held *h, const char *type, const char *id)
{
	struct tail_hold *hold = h->n ? h->buckets[bucket_of(type, id)] : NULL;
	while (hold && (hold->closing || !is_of(hold, type, id)))
		hold = hold->chain;
	return hold;
}

/* The first wait of its stream: the last of the chain. */
static bool is_first(const struct tail_hold *hold)
{
	for (const struct tail_hold *older = hold->chain; older; older = older->chain)
		if (is_of(older, hold->type, hold->id))
			return false;
	return true;
}

static bool make_room(struct tail_held *h)
{
	size_t cap = h->cap ? 2 * h->cap : 16;
	if (h->n < h->cap)
		return true;
	struct tail_hold **all = realloc(h->all, cap * sizeof(*all));
	if (all)
		h->all = all;
	struct checkpoint_held *list = realloc(h->list, cap * sizeof(*list));
	if (list)
		h->list = list;
	if (all && list)
		h->cap = cap;
	return all && list;
}

struct tail_hold *tail_held_add(struct tail_held *h, const char *type, const char *id, uint64_t next)
{
	struct tail_hold **at = &h->buckets[bucket_of(type, id)];
	if (!make_room(h))
		return NULL;
	struct tail_hold *hold = calloc(1, sizeof(*hold));
	if (!hold)
		return NULL;
	*hold = (struct tail_hold){ .type = strdup(type), .id = strdup(id), .next = next, .told = next, .chain = *at };
	if (!hold->type || !hold->id) {
		hold_free(hold);
		return NULL;
	}
	h->all[h->n++] = *at = hold;
	return hold;
}

static void drop(struct tail_held *h, struct tail_hold *hold)
{
	struct tail_hold **at = &h->buckets[bucket_of(hold->type, hold->id)];
	size_t i = 0;
	while (*at != hold)
		at = &(*at)->chain;
	*at = hold->chain;
	while (h->all[i] != hold)
		i++;
	memmove(&h->all[i], &h->all[i + 1], (h->n - i - 1) * sizeof(*h->all));
	h->n--;
	hold_free(hold);
}

void tail_held_close(struct tail_held *h, struct tail_hold *hold)
{
	hold->closing = true;
	if (!hold->queued)
		drop(h, hold);
}

void tail_held_told(struct tail_held *h, struct tail_hold *hold, uint64_t number)
{
	hold->told = number + 1;
	hold->queued--;
	if (hold->closing && !hold->queued)
		drop(h, hold);
}

size_t tail_held_list(struct tail_held *h, const struct checkpoint_held **out)
{
	size_t n = 0;
	for (size_t i = 0; i < h->n; i++) {
		struct tail_hold *hold = h->all[i];
		if (!is_first(hold))
			continue;
		if (!hold->queued)
			hold->told = hold->next;
		h->list[n++] = (struct checkpoint_held){ hold->type, hold->id, hold->told };
	}
	*out = h->list;
	return n;
}
