/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams that are, or lately were, in use: what the append path needs of them without asking
 * anyone. Memory is bounded: what nobody holds is forgotten, the longest unused first. Threads:
 * every call may come from any thread.
 */
#ifndef EVFS_FS_STREAM_H
#define EVFS_FS_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/fs-state.h"

struct fs_streams;

struct fs_stream {
	int64_t dir;
	char *type, *id;
	/* the table's, guarded by its lock */
	unsigned refs;
	uint64_t turns;			/* how many there were, from 1; node ids come round */
	unsigned writers;		/* who may write through the last turn's node */
	uint64_t promised_ms;		/* until then somebody may be about to open it */
	pid_t promised_to;
	bool kept;			/* the kernel keeps the last turn's node, and asks no more */
	uint64_t shared_ms;		/* until then it keeps none: several write */
	uint64_t stale_ms;		/* until then nobody is told ESTALE again */
	uint64_t size;			/* of events.ndjson, as last seen */
	int64_t mtime_us;
	struct fs_stream *chain, *older, *newer;
};

enum rc fs_streams_new(struct fs_streams **out, struct why *why) _must_check_;
void fs_streams_free(struct fs_streams **t);

/*
 * The stream of a directory. RC_INVALID: it can hold no events, or no key could hold them. Give it
 * back with fs_stream_put.
 */
enum rc fs_stream_get(struct fs *fs, int64_t dir, struct fs_stream **out, struct why *why)
	_must_check_;
void fs_stream_put(struct fs *fs, struct fs_stream *s);

/*
 * Which node id LOOKUP answers for events.ndjson: since the kernel runs the WRITEs of one node one
 * at a time, each writer gets his own. One that nobody has open any more comes again, and who was
 * told just now is told the same: the kernel asks a second time where the node is not the one it
 * knew. *keep_r: only one writer at a time was seen here for a while, the kernel may keep the node
 * and spare the LOOKUP.
 */
unsigned fs_stream_turn(struct fs *fs, struct fs_stream *s, pid_t who, uint64_t *size_r,
			int64_t *mtime_us_r, bool *keep_r);
/*
 * Before an OPEN for writing: is another one writing through this node, because the kernel kept it?
 * Then ESTALE has it look the name up again. Not true again soon: who comes back without having
 * looked it up (through /proc/self/fd) is let in.
 */
bool fs_stream_taken(struct fs *fs, struct fs_stream *s, unsigned turn);
/*
 * Somebody may write through the node of `turn`; give what is returned to fs_stream_unhold, 0 too.
 * Without it a writer may share a node, and wait for the other: nothing else.
 */
uint64_t fs_stream_hold(struct fs *fs, struct fs_stream *s, unsigned turn);
void fs_stream_unhold(struct fs *fs, struct fs_stream *s, uint64_t held);
void fs_stream_saw(struct fs *fs, struct fs_stream *s, uint64_t size, int64_t mtime_us);

#endif
