/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FNV-1a, 64 bits: for tables in memory and short names, not against who means harm.
 * Source: draft-eastlake-fnv.
 */
#ifndef EVFS_BASE_HASH_H
#define EVFS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* Go on from h, which was HASH_START or another hash. */
static inline uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
	const unsigned char *c = p;
	for (size_t i = 0; i < n; i++)
		h = (h ^ c[i]) * UINT64_C(0x100000001b3);
	return h;
}

static inline uint64_t hash_text(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return h;
}

/* Of two texts, so that where the first ends counts. */
static inline uint64_t hash_pair(const char *a, const char *b)
{
	return hash_text(hash_bytes(hash_text(HASH_START, a), "", 1), b);
}

#endif
