/* SPDX-License-Identifier: Apache-2.0 */
/* Where the monitor listens: from the text of an address to a socket. Threads: any. */
#ifndef EVFS_MONITOR_MONITOR_LISTEN_H
#define EVFS_MONITOR_MONITOR_LISTEN_H

#include "base/rc.h"

#define MONITOR_LISTEN_ADDRESS_MAX 64

/* A listening socket (the caller's) and what its address became. Results as monitor_new's. */
enum rc monitor_listen(const char *address, int *fd_r, char found[MONITOR_LISTEN_ADDRESS_MAX],
		       struct why *why) _must_check_;

#endif
