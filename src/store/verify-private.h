/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of verify share. */
#ifndef EVFS_STORE_VERIFY_PRIVATE_H
#define EVFS_STORE_VERIFY_PRIVATE_H

#include "store/store-private.h"
#include "store/verify.h"

/* One run. Callbacks of a listing end it by setting rc. */
struct verify {
	struct store *s;
	struct view *view;	/* NULL: the catalog is not compared */
	verify_fn *fn;
	void (*progress)(void *arg, const struct verify_progress *p);
	void *arg;
	struct verify_progress count;
	enum rc rc;
	struct why why;
};

/* Tell of a difference; f->text comes from fmt. */
void verify_tell(struct verify *v, struct verify_finding f, const char *fmt, ...) _printf_(3, 4);
void verify_step(struct verify *v, uint64_t events);

/* Read one object and tell if it is no event of its place; *digest_ok_r false then. RC_NOT_FOUND is the caller's to tell. */
enum rc verify_body(struct verify *v, const char *type, const char *id, uint64_t number, const struct object_get *get,
		    struct event *event_r, bool *good_r) _must_check_;

/* The indexed layout: index entries against events and back. */
enum rc verify_indexed_run(struct verify *v) _must_check_;

#endif
