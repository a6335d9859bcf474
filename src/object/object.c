/* SPDX-License-Identifier: Apache-2.0 */
/* object.c - from the interface to the implementation. */
#include "config.h"
#include "object/object.h"

enum rc object_put(struct object_store *s, struct object_put *items, size_t n, uint64_t deadline_ms)
{
	s->ops->put(s, items, n, deadline_ms);
	for (size_t i = 0; i < n; i++)
		if (items[i].rc != RC_OK)
			return items[i].rc;
	return RC_OK;
}

enum rc object_get(struct object_store *s, struct object_get *items, size_t n)
{
	s->ops->get(s, items, n);
	for (size_t i = 0; i < n; i++)
		if (items[i].rc != RC_OK)
			return items[i].rc;
	return RC_OK;
}

enum rc object_list(struct object_store *s, const char *prefix, const char *after,
		    enum object_list_flags flags, object_list_fn *fn, void *arg, struct why *why)
{
	return s->ops->list(s, prefix, after, flags, fn, arg, why);
}

enum rc object_stat(struct object_store *s, const char *key, struct object_info *info_r,
		    struct why *why)
{
	return s->ops->stat(s, key, info_r, why);
}

enum rc object_replace(struct object_store *s, const char *key, const void *buf, size_t len,
		       const char *tag, char new_tag[OBJECT_TAG_MAX], struct why *why)
{
	return s->ops->replace(s, key, buf, len, tag, new_tag, why);
}

enum rc object_sync(struct object_store *s, struct why *why)
{
	return s->ops->sync(s, why);
}

enum rc object_ready(struct object_store *s, uint64_t bytes, size_t objects, struct why *why)
{
	return s->ops->ready(s, bytes, objects, why);
}

void object_counts(const struct object_store *s, struct object_counts *out)
{
	const struct object_counters *c = s->counters;
	*out = (struct object_counts){ 0 };
	if (!c)
		return;
#define TAKE(what) .what = atomic_load_explicit(&c->what, memory_order_relaxed)
	*out = (struct object_counts){
		TAKE(put),  TAKE(get),	   TAKE(head),	 TAKE(list), TAKE(other),
		TAKE(retries), TAKE(failed), TAKE(sent), TAKE(received),
	};
#undef TAKE
	for (size_t i = 0; i < OBJECT_KINDS; i++)
		latency_read(&c->times[i], &out->times[i]);
}

void object_free(struct object_store **s)
{
	if (!s || !*s)
		return;
	(*s)->ops->destroy(*s);
	*s = NULL;
}
