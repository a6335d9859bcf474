/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named places at which a test kills the process. Compiled in by --enable-failpoints only;
 * an installed build has none of it.
 *
 * EVFS_FAILPOINT=NAME or NAME:N in the environment: the N-th time (from 1) that FAILPOINT("NAME")
 * is passed, the process gets SIGKILL.
 */
#ifndef EVFS_BASE_FAILPOINT_H
#define EVFS_BASE_FAILPOINT_H

#ifdef ENABLE_FAILPOINTS
void failpoint_hit(const char *name);
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
