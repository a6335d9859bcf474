/* SPDX-License-Identifier: Apache-2.0 */
/* place.c - paths as the mount shows them. */
#include "config.h"
#include "tools/place.h"

#include <string.h>

#include "base/cleanup.h"
#include "event/key.h"
#include "event/name.h"

/* The path without '/' at its ends, without a stream file's name: its length from *path. */
static size_t trim(const char **path)
{
	while (**path == '/')
		(*path)++;
	size_t len = strlen(*path), name = strlen(NAME_STREAM);
	while (len && (*path)[len - 1] == '/')
		len--;
	if (len > name && (*path)[len - name - 1] == '/' &&
	    !memcmp(*path + len - name, NAME_STREAM, name))
		len -= name + 1;
	while (len && (*path)[len - 1] == '/')
		len--;
	return len;
}

enum rc place_stream(const char *path, struct buf *type, struct buf *id, struct why *why)
{
	const char *start = path;
	size_t len = trim(&start);
	const char *slash = memchr(start, '/', len);
	if (!slash)
		return rc_fail(RC_INVALID, why, "expected a stream, TYPE/ID, found \"%.200s\"",
			       path);
	enum rc rc = name_decode(start, (size_t)(slash - start), type, why);
	if (rc == RC_OK)
		rc = name_decode_id(slash + 1, len - (size_t)(slash + 1 - start), id, why);
	if (rc == RC_OK && (buf_failed(type) || buf_failed(id)))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	if (rc == RC_OK && (strlen(buf_text(type)) != type->len || strlen(buf_text(id)) != id->len))
		return rc_fail(RC_INVALID, why, "\"%.200s\" holds a NUL byte", path);
	if (rc == RC_OK)
		rc = key_check_stream(buf_text(type), buf_text(id), why);
	return rc ? rc_prefix(rc, why, "stream \"%.200s\"", path) : RC_OK;
}

void place_print(const char *type, const char *id, struct buf *out)
{
	name_encode(type, strlen(type), out);
	buf_add_char(out, '/');
	name_encode_id(id, out);
}

enum rc place_find(struct view *v, const char *path, struct view_dir *out, const char **rest_r,
		   struct why *why)
{
	const char *part = path;
	size_t len = trim(&part);
	const char *end = part + len;
	enum rc rc = view_get_dir(v, VIEW_ROOT, true, out, why);

	*rest_r = NULL;
	while (rc == RC_OK && part < end) {
		const char *slash = memchr(part, '/', (size_t)(end - part));
		size_t n = (size_t)((slash ? slash : end) - part);
		char name[sizeof(out->name)];
		struct view_dir child;
		if (n >= sizeof(name))
			return rc_fail(RC_NOT_FOUND, why, "\"%.200s\": a name over 255 bytes",
				       path);
		memcpy(name, part, n);
		name[n] = '\0';
		rc = view_lookup_dir(v, out->row, name, &child, why);
		if ((rc == RC_NOT_FOUND || rc == RC_TEMPORARY) && !slash) {
			*rest_r = part;
			return rc == RC_NOT_FOUND ? RC_OK : rc;
		}
		if (rc == RC_NOT_FOUND)
			return rc_fail(rc, why, "\"%.200s\": there is no \"%s\"", path, name);
		if (rc == RC_OK)
			rc = view_get_dir(v, child.row, true, out, why);
		part = slash ? slash + 1 : end;
		while (part < end && *part == '/')
			part++;
	}
	return rc;
}
