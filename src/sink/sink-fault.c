/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink-fault.c - a wrapper that fails on purpose.
 *
 * What becomes of a message is decided when it is sent: it is passed on, refused (never there, told at the next poll), or it
 * breaks the sink: then nothing more is taken, as behind an error after which a later message could overtake.
 */
#include "config.h"
#include "sink/sink.h"

#include <stdlib.h>

#include "base/cleanup.h"

#define FLUSH_MS 10000

struct fault_entry {
	struct fault_entry *next, **link; /* of all; link: what points here */
	struct fault_entry *next_refused;
	void *opaque;
	enum rc told; /* instead of RC_OK; RC_OK: what the inner one says */
};

struct sink_fault {
	struct sink base;
	struct sink *inner;
	const struct sink_faults *faults;
	sink_report_fn *report;
	void *arg;
	unsigned sends, reports;
	struct fault_entry *all; /* not told yet */
	struct fault_entry *refused, **refused_end; /* of them: not passed on */
	uint64_t failed;
	bool broken;
};

static struct sink_fault *fault_of(struct sink *s)
{
	return container_of(s, struct sink_fault, base);
}

static bool due(unsigned *count, unsigned nth)
{
	++*count;
	return nth && *count % nth == 0;
}

static struct fault_entry *new_entry(struct sink_fault *f, void *opaque, enum rc told)
{
	struct fault_entry *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	*e = (struct fault_entry){
		.next = f->all, .link = &f->all, .opaque = opaque, .told = told
	};
	if (e->next)
		e->next->link = &e->next;
	f->all = e;
	return e;
}

static void free_entry(struct fault_entry *e)
{
	*e->link = e->next;
	if (e->next)
		e->next->link = e->link;
	free(e);
}

static void tell(struct sink_fault *f, struct fault_entry *e, enum rc rc, const struct why *why)
{
	void *opaque = e->opaque;
	free_entry(e);
	f->report(f->arg, opaque, rc, why);
}

static void inner_report(void *arg, void *opaque, enum rc rc, const struct why *why)
{
	struct sink_fault *f = arg;
	struct fault_entry *e = opaque;
	if (rc != RC_OK || e->told == RC_OK) {
		tell(f, e, rc, why);
		return;
	}
	struct why injected;
	f->broken = true;
	f->failed++;
	tell(f, e, rc_fail(RC_CORRUPT, &injected, "injected: delivered, and not told"), &injected);
}

static void tell_refused(struct sink_fault *f)
{
	while (f->refused) {
		struct fault_entry *e = f->refused;
		struct why why;
		f->refused = e->next_refused;
		if (!f->refused)
			f->refused_end = &f->refused;
		f->failed++;
		tell(f, e, rc_fail(e->told, &why, "injected: %s", rc_name(e->told)), &why);
	}
}

static enum rc fail_broken(struct why *why)
{
	return rc_fail(RC_CORRUPT, why, "injected: the sink is broken");
}

/* What was sent before is told first: a caller that begins anew each time gets on. */
static void break_now(struct sink_fault *f)
{
	enum rc rc = sink_flush(f->inner, FLUSH_MS, NULL);
	(void)rc;
	f->broken = true;
}

static enum rc pass_on(struct sink_fault *f, const struct sink_message *m, struct fault_entry *e,
		       struct why *why)
{
	struct sink_message copy = *m;
	copy.opaque = e;
	enum rc rc = sink_send(f->inner, &copy, why);
	if (rc != RC_OK)
		free_entry(e);
	return rc;
}

static enum rc send_decided(struct sink_fault *f, const struct sink_message *m, enum rc told,
			    struct why *why)
{
	struct fault_entry *e = new_entry(f, m->opaque, told);
	if (!e)
		return rc_fail(RC_TEMPORARY, why, "no memory for a message");
	if (told == RC_OK || told == RC_UNCERTAIN)
		return pass_on(f, m, e, why);
	*f->refused_end = e;
	f->refused_end = &e->next_refused;
	if (!sink_refuses(told))
		break_now(f);
	return RC_OK;
}

static enum rc fault_send(struct sink *s, const struct sink_message *m, struct why *why)
{
	struct sink_fault *f = fault_of(s);
	if (f->broken)
		return fail_broken(why);
	if (due(&f->sends, f->faults->send_nth)) {
		enum rc rc = f->faults->send_rc;
		if (rc == RC_TEMPORARY || sink_refuses(rc))
			return rc_fail(rc, why, "injected: %s on send", rc_name(rc));
		break_now(f);
		return fail_broken(why);
	}
	enum rc told = due(&f->reports, f->faults->report_nth) ? f->faults->report_rc : RC_OK;
	return send_decided(f, m, told, why);
}

static enum rc fault_poll(struct sink *s, unsigned ms, struct why *why)
{
	struct sink_fault *f = fault_of(s);
	bool told = f->refused != NULL;
	tell_refused(f);
	enum rc rc = sink_poll(f->inner, told ? 0 : ms, why);
	return rc == RC_OK && f->broken ? fail_broken(why) : rc;
}

static enum rc fault_flush(struct sink *s, unsigned ms, struct why *why)
{
	struct sink_fault *f = fault_of(s);
	tell_refused(f);
	enum rc rc = sink_flush(f->inner, ms, why);
	return rc == RC_OK && f->broken ? fail_broken(why) : rc;
}

static void forget_refused(struct sink_fault *f)
{
	while (f->refused) {
		struct fault_entry *e = f->refused;
		f->refused = e->next_refused;
		free_entry(e);
	}
	f->refused_end = &f->refused;
}

static void fault_purge(struct sink *s)
{
	struct sink_fault *f = fault_of(s);
	forget_refused(f);
	sink_purge(f->inner);
}

static void fault_counts(const struct sink *s, struct sink_counts *out)
{
	const struct sink_fault *f = container_of(s, const struct sink_fault, base);
	sink_counts(f->inner, out);
	out->failed += f->failed;
}

static size_t fault_max_message(const struct sink *s)
{
	return sink_max_message(container_of(s, const struct sink_fault, base)->inner);
}

static void fault_destroy(struct sink *s)
{
	struct sink_fault *f = fault_of(s);
	sink_free(&f->inner);
	while (f->all)
		free_entry(f->all);
	free(f);
}

static const struct sink_ops fault_ops = {
	.name = "fault",
	.send = fault_send,
	.poll = fault_poll,
	.flush = fault_flush,
	.purge = fault_purge,
	.counts = fault_counts,
	.max_message = fault_max_message,
	.destroy = fault_destroy,
};

enum rc sink_fault_new(struct sink **out, sink_make_fn *make, void *make_arg,
		       const struct sink_faults *faults, sink_report_fn *report, void *arg,
		       struct why *why)
{
	struct sink_fault *f = calloc(1, sizeof(*f));
	if (!f)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a sink");
	f->base.ops = &fault_ops;
	f->faults = faults;
	f->report = report;
	f->arg = arg;
	f->refused_end = &f->refused;
	enum rc rc = make(make_arg, &f->inner, inner_report, f, why);
	if (rc != RC_OK) {
		free(f);
		return rc;
	}
	*out = &f->base;
	return RC_OK;
}
