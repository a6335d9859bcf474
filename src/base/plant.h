/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planted bugs: what the checkers in tests/ must find. Compiled in by --enable-failpoints only; an installed build has none.
 *
 * EVFS_PLANT=NAME in the environment: PLANTED("NAME") is true in this process, and only that one.
 */
#ifndef EVFS_BASE_PLANT_H
#define EVFS_BASE_PLANT_H

#ifdef ENABLE_FAILPOINTS
#include <stdbool.h>

bool plant_is(const char *name);
#define PLANTED(name) plant_is(name)
#else
#define PLANTED(name) 0
#endif

#endif
