/* SPDX-License-Identifier: Apache-2.0 */
/* failpoint.c - die at a named place. */
#include "config.h"
#include "base/failpoint.h"

#ifdef ENABLE_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void failpoint_hit(const char *name)
{
	static atomic_long passed;
	const char *wanted = getenv("EVFS_FAILPOINT");
	if (!wanted)
		return;
	size_t n = strcspn(wanted, ":");
	if (strlen(name) != n || memcmp(name, wanted, n))
		return;
	long nth = wanted[n] == ':' ? atol(wanted + n + 1) : 1;
	if (atomic_fetch_add(&passed, 1) + 1 == nth)
		raise(SIGKILL);
}
#endif
