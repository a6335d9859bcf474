/* SPDX-License-Identifier: Apache-2.0 */
/* tail.c - from the interface to where events come from. */
#include "config.h"
#include "store/tail.h"

#include "store/tail-private.h"

enum rc tail_new(struct tail **out, struct store *s, const struct tail_options *o, const struct checkpoint *c, struct why *why)
{
	switch (s->info.layout) {
	case LAYOUT_NATIVE:
		return tail_native_new(out, s, o, c, why);
	case LAYOUT_INDEXED:
		break;
	}
	return rc_fail(RC_INVALID, why, "a store of the indexed layout has no tail yet");
}

void tail_free(struct tail **t)
{
	if (!t || !*t)
		return;
	(*t)->ops->destroy(*t);
	*t = NULL;
}

enum rc tail_look(struct tail *t, struct tail_state *out, struct why *why)
{
	return t->ops->look(t, out, why);
}

enum rc tail_next(struct tail *t, const struct tail_event **out, struct why *why)
{
	return t->ops->next(t, out, why);
}

size_t tail_held(struct tail *t, const struct checkpoint_held **out)
{
	return t->ops->held(t, out);
}

void tail_release(struct tail *t)
{
	t->ops->release(t);
}
