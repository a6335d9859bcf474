/* SPDX-License-Identifier: Apache-2.0 */
/* publisher-private.h - shared by the files of the publisher. */
#ifndef EVFS_PUBLISHER_PUBLISHER_PRIVATE_H
#define EVFS_PUBLISHER_PUBLISHER_PRIVATE_H

#include "publisher/publisher.h"

#endif
