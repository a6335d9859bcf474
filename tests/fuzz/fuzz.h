/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target takes bytes that come from elsewhere and holds the parser of them to what it promises. It is linked to driver.c, for
 * make check, or to libFuzzer (tests/fuzz/run).
 */
#ifndef EVFS_TESTS_FUZZ_H
#define EVFS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			abort(); \
		} \
	} while (0)

#endif
