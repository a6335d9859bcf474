/* SPDX-License-Identifier: Apache-2.0 */
/* plant.c - is this bug planted? */
#include "config.h"
#include "base/plant.h"

#ifdef ENABLE_FAILPOINTS
#include <stdlib.h>
#include <string.h>

bool plant_is(const char *name)
{
	const char *planted = getenv("EVFS_PLANT");
	return planted && !strcmp(planted, name);
}
#endif
