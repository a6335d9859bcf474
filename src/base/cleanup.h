/* SPDX-License-Identifier: Apache-2.0 */
/* Locals that own something give it back when they go out of scope. */
#ifndef EVFS_BASE_CLEANUP_H
#define EVFS_BASE_CLEANUP_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* unused: clang counts a local that is only cleaned up as one */
#define _cleanup_(f) __attribute__((cleanup(f), unused))
#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Hand p over: its value, leaving NULL behind. */
#define TAKE_PTR(p) __extension__ ({ \
	__typeof__(p) *p_ = &(p), v_ = *p_; \
	*p_ = NULL; \
	v_; \
})

/* Hand a file descriptor over: its value, leaving -1 behind. */
#define TAKE_FD(fd) __extension__ ({ \
	int *p_ = &(fd), v_ = *p_; \
	*p_ = -1; \
	v_; \
})

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#endif
