/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread has that compares a batch: verify-compare.c merges objects, rows and the catalog's
 * entries by number, verify-read.c reads the events and compares each with its row.
 */
#ifndef EVFS_STORE_VERIFY_WORK_H
#define EVFS_STORE_VERIFY_WORK_H

#include "store/verify-private.h"

#define VERIFY_ROWS 256 /* of a page */
#define VERIFY_LATE_US 60000000

/* A row of the ledger. */
struct verify_row {
	uint64_t number, span;
	uint64_t size;
	int64_t occurred_us, recorded_us;
	size_t event_id; /* where it begins in the page's texts */
	uint8_t digest[LEDGER_DIGEST_LEN];
	bool settled;
	bool told; /* a void that begins in the part before */
};
struct verify_page {
	struct verify_row rows[VERIFY_ROWS];
	size_t n;
	struct buf texts;
	uint64_t to; /* rows above it are not wanted */
	int64_t stream;
	bool beyond; /* there are such */
};

/* What the catalog shows of a part of a stream, a page of it. */
struct verify_known {
	uint64_t numbers[VERIFY_ROWS];
	size_t ids[VERIFY_ROWS]; /* where each event id begins in texts */
	size_t n, at; /* at: the next to be compared */
	struct buf texts;
	uint64_t to;
	bool more;
};

/* An event that is to be read. */
struct verify_item {
	const struct verify_part *part;
	uint64_t number;
	char *key;
	bool listed; /* its object was */
	bool has_row, is_void;
	struct verify_row row;
	char *row_id; /* has_row */
	char *known_id; /* what the catalog shows; NULL: nothing */
};

struct verify_work {
	struct verify *v;
	struct verify_batch *b;
	const struct verify_part *part; /* being compared */
	struct verify_page page;
	struct verify_known known;
	struct verify_item items[VERIFY_OBJECTS];
	struct object_get gets[VERIFY_OBJECTS];
	size_t n;
	uint64_t bytes;
	int64_t recorded_us; /* of the row, or object, before */
	const struct verify_part *recorded_of;
};

/* Note a finding about a number of a part. */
void verify_read_note(struct verify_work *w, const char *kind, const struct verify_part *part,
		      uint64_t number, bool harmless, const char *fmt, ...) _printf_(6, 7);
/* Where much was found, have it told. */
enum rc verify_read_spill(struct verify_work *w) _must_check_;
/*
 * Gather an event to be read: of an object, of a row (either may be NULL), or both. known_id, what
 * the catalog shows under the number, is taken. What is gathered is read when it is enough.
 */
enum rc verify_read_gather(struct verify_work *w, uint64_t number,
			   const struct verify_object *object, const struct verify_row *row,
			   char *known_id) _must_check_;
/* Read and compare what is gathered. */
enum rc verify_read_flush(struct verify_work *w) _must_check_;
void verify_read_drop(struct verify_work *w);

#endif
