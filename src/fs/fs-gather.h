/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what write(2) brings, in pieces of any size, to documents: for events.ndjson any number of
 * them, for a named file one.
 *
 * One call takes one write: it tells the documents that this write completed, and the caller
 * answers what became of them before the next write. A document that was told is never told again
 * unless the caller asks for it (fs_gather_undo). Pure, no thread rule.
 */
#ifndef EVFS_FS_GATHER_H
#define EVFS_FS_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "event/draft.h"

struct fs_gather {
	struct buf rest;	/* the incomplete document, without blanks before it */
	size_t max;		/* it may be as long */
	/* a named file's: */
	bool single;
	bool done;		/* its document was committed */
	const char *event_type;	/* the caller's, as the name says */
	bool has_number;
	uint64_t number;
	/* private: the write that is being worked on */
	size_t before;		/* bytes of rest that were there before it */
	const char *text;	/* rest and the write together; rest's own memory, or the write's */
	size_t len, taken;	/* taken: up to behind the last complete document */
};

/* Blanks that a document may bring beyond the limit of the stored event. */
#define FS_GATHER_SLACK 65536

void fs_gather_release(struct fs_gather *g);

/* The documents that a write completed. */
struct fs_gather_batch {
	struct draft *drafts;
	size_t n, cap;
};
void fs_gather_batch_release(struct fs_gather_batch *b);

/*
 * Take one write. out (empty) gets what it completed; the caller ends the write by fs_gather_keep
 * or fs_gather_undo; data must live until then. On failure nothing of the write, nor of the
 * document that it went on with, remains, and neither of them is called. RC_INVALID names document
 * (of several), line and column of this write. RC_TOO_LARGE. RC_DENIED: data behind the committed
 * document.
 */
enum rc fs_gather_write(struct fs_gather *g, const char *data, size_t len,
			struct fs_gather_batch *out, struct why *why) _must_check_;
/* The documents are committed: what follows the last one is kept. RC_NO_MEMORY: it could not be. */
enum rc fs_gather_keep(struct fs_gather *g, bool committed, struct why *why) _must_check_;
/*
 * They are not. again: the same write may come again, so what was there before it stays; otherwise
 * nothing stays.
 */
void fs_gather_undo(struct fs_gather *g, bool again);

/*
 * The whole content of a file at once. out is one draft. RC_INVALID: no document, or more than one.
 */
enum rc fs_gather_whole(const char *text, size_t len, const char *event_type, bool has_number,
			uint64_t number, struct draft *out, struct why *why) _must_check_;

/* What the incomplete document lacks: RC_INVALID, with line and column within it. */
enum rc fs_gather_explain(const struct fs_gather *g, struct why *why) _must_check_;

static inline bool fs_gather_incomplete(const struct fs_gather *g)
{
	return g->rest.len > 0;
}

#endif
