/* SPDX-License-Identifier: Apache-2.0 */
/* object-fault.c - a wrapper that fails on purpose. An item of a batch counts as a call. */
#include "config.h"
#include "object/object.h"

#include <stdatomic.h>

#include "base/cleanup.h"

struct object_fault {
	struct object_store base;
	struct object_store *inner;
	const struct object_faults *faults;
	atomic_uint puts, gets;
};

static bool due(atomic_uint *count, unsigned nth)
{
	unsigned now = atomic_fetch_add(count, 1) + 1;
	return nth && now % nth == 0;
}

/* The result per item stands in the items. */
static void inner_put(struct object_fault *f, struct object_put *items, size_t n,
		      uint64_t deadline_ms)
{
	enum rc rc = object_put(f->inner, items, n, deadline_ms);
	(void)rc;
}

static void inner_get(struct object_fault *f, struct object_get *items, size_t n)
{
	enum rc rc = object_get(f->inner, items, n);
	(void)rc;
}

static void fail_put(struct object_fault *f, struct object_put *it, uint64_t deadline_ms)
{
	if (f->faults->put_rc == RC_UNCERTAIN) { /* it lands, the reply is lost */
		inner_put(f, it, 1, deadline_ms);
		if (it->rc != RC_OK)
			return;
	}
	it->rc = rc_fail(f->faults->put_rc, &it->why, "injected: %s on put of '%.300s'",
			 rc_name(f->faults->put_rc), it->key);
}

/* Runs of items without a fault stay one batch. */
static void fault_put(struct object_store *s, struct object_put *items, size_t n,
		      uint64_t deadline_ms)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	size_t from = 0;
	for (size_t i = 0; i < n; i++) {
		if (!due(&f->puts, f->faults->put_nth))
			continue;
		inner_put(f, items + from, i - from, deadline_ms);
		fail_put(f, &items[i], deadline_ms);
		from = i + 1;
	}
	inner_put(f, items + from, n - from, deadline_ms);
}

static void fault_get(struct object_store *s, struct object_get *items, size_t n)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	size_t from = 0;
	for (size_t i = 0; i < n; i++) {
		if (!due(&f->gets, f->faults->get_nth))
			continue;
		inner_get(f, items + from, i - from);
		items[i].rc =
			rc_fail(f->faults->get_rc, &items[i].why, "injected: %s on get of '%.300s'",
				rc_name(f->faults->get_rc), items[i].key);
		from = i + 1;
	}
	inner_get(f, items + from, n - from);
}

static enum rc fault_list(struct object_store *s, const char *prefix, const char *after,
			  enum object_list_flags flags, object_list_fn *fn, void *arg,
			  struct why *why)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	return object_list(f->inner, prefix, after, flags, fn, arg, why);
}

static enum rc fault_stat(struct object_store *s, const char *key, struct object_info *info_r,
			  struct why *why)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	return object_stat(f->inner, key, info_r, why);
}

static enum rc fault_replace(struct object_store *s, const char *key, const void *buf, size_t len,
			     const char *tag, char new_tag[OBJECT_TAG_MAX], struct why *why)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	return object_replace(f->inner, key, buf, len, tag, new_tag, why);
}

static enum rc fault_sync(struct object_store *s, struct why *why)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	return object_sync(f->inner, why);
}

static enum rc fault_ready(struct object_store *s, uint64_t bytes, size_t objects, struct why *why)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	return object_ready(f->inner, bytes, objects, why);
}

static void fault_destroy(struct object_store *s)
{
	struct object_fault *f = container_of(s, struct object_fault, base);
	object_free(&f->inner);
	free(f);
}

static const struct object_ops fault_ops = {
	.name = "fault",
	.put = fault_put,
	.get = fault_get,
	.list = fault_list,
	.stat = fault_stat,
	.replace = fault_replace,
	.sync = fault_sync,
	.ready = fault_ready,
	.destroy = fault_destroy,
};

enum rc object_fault_new(struct object_store **out, struct object_store *inner,
			 const struct object_faults *faults, struct why *why)
{
	_cleanup_(object_freep) struct object_store *in = inner;
	struct object_fault *f = calloc(1, sizeof(*f));
	if (!f)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a fault wrapper");
	f->base.ops = &fault_ops;
	f->inner = TAKE_PTR(in);
	f->base.counters = f->inner->counters;
	f->faults = faults;
	*out = &f->base;
	return RC_OK;
}
