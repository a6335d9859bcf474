/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs-xattr.c - what is known of an event beside its bytes.
 *
 * Any other name is EOPNOTSUPP, never ENODATA: then ls -l stops asking after the first file.
 */
#include "config.h"
#include "fs/fs-xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "event/name.h"
#include "fs/fs-errors.h"
#include "fs/fs-file.h"
#include "fs/fs-node.h"
#include "fs/fs-place.h"
#include "fs/fs-refuse.h"

#define PREFIX "user.evfs."
#define LAST_ERROR "last_error"

static const char *const event_names[] = { "event_id", "event_type", "sequence_number", "sha256",
					   "key" };

static void reply(fuse_req_t req, const struct buf *b, size_t size)
{
	if (buf_failed(b))
		fuse_reply_err(req, ENOMEM);
	else if (!size)
		fuse_reply_xattr(req, b->len);
	else if (size < b->len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, buf_text(b), b->len);
}

/* The path of what may have failed. False: nothing there ever fails. */
static bool path_of(struct fs *fs, const struct fs_node *at, struct buf *out)
{
	struct view_event event;
	struct fs_file *f;
	int64_t dir;
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	switch (at->kind) {
	case FS_NODE_DIR:
		fs_place_path(fs, at->dir, NULL, out);
		return true;
	case FS_NODE_STREAM:
		fs_place_path(fs, at->dir, NAME_STREAM, out);
		return true;
	case FS_NODE_EVENT:
		if (view_get_event(fs->view, at->dir, at->ordinal, &event, NULL) != RC_OK)
			return false;
		fs_place_path(fs, at->dir, event.name, out);
		return true;
	case FS_NODE_FILE:
		f = fs_file_get(fs->files, at->value);
		if (f && fs_file_place(fs->files, f, &dir, &name))
			fs_place_path(fs, dir, buf_text(&name), out);
		fs_file_put(fs->files, f);
		return f;
	default:
		return false;
	}
}

static bool last_error(struct fs *fs, const struct fs_node *at, struct buf *out)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	return path_of(fs, at, &path) && fs_errors_last(fs->errors, buf_text(&path), out);
}

static enum rc digest(struct fs *fs, const struct view_event *event, struct buf *out,
		      struct why *why)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	enum rc rc = view_read_event(fs->view, event, &body, why);
	if (rc != RC_OK)
		return rc;
	if (!EVP_Digest(buf_text(&body), body.len, sum, &len, EVP_sha256(), NULL))
		return rc_fail(RC_NO_MEMORY, why, "no SHA-256");
	for (unsigned i = 0; i < len; i++)
		buf_printf(out, "%02x", sum[i]);
	return RC_OK;
}

static enum rc event_value(struct fs *fs, const struct fs_node *at, const char *name,
			   struct buf *out, struct why *why)
{
	struct view_event event;
	enum rc rc = view_get_event(fs->view, at->dir, at->ordinal, &event, why);
	if (rc != RC_OK)
		return rc;
	if (!strcmp(name, "sha256"))
		return digest(fs, &event, out, why);
	if (!strcmp(name, "sequence_number")) {
		buf_add_u64(out, event.number);
		return RC_OK;
	}
	return view_event_facts(fs->view, &event, !strcmp(name, "key") ? out : NULL,
				!strcmp(name, "event_id") ? out : NULL,
				!strcmp(name, "event_type") ? out : NULL, why);
}

static bool is_event_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(event_names); i++)
		if (!strcmp(name, event_names[i]))
			return true;
	return false;
}

void fs_xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fs *fs = fs_of(req);
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct why why = { "" };
	struct view_dir d;
	struct fs_node at;
	enum rc rc = RC_OK;
	if (strncmp(name, PREFIX, strlen(PREFIX))) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	name += strlen(PREFIX);
	fs_node_parse(ino, &at);
	if (!strcmp(name, LAST_ERROR)) {
		if (!last_error(fs, &at, &value)) {
			fuse_reply_err(req, ENODATA);
			return;
		}
	} else if (at.kind == FS_NODE_EVENT && is_event_name(name)) {
		rc = event_value(fs, &at, name, &value, &why);
	} else if ((at.kind == FS_NODE_DIR || at.kind == FS_NODE_STREAM) && !strcmp(name, "head")) {
		rc = fs_place_get(fs, at.dir, true, &d, &why);
		buf_add_u64(&value, rc == RC_OK && d.is_stream ? d.head : 0);
	} else {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	if (rc != RC_OK)
		fs_refuse_read(req, "getxattr", rc, &why);
	else
		reply(req, &value, size);
}

static void add_name(struct buf *b, const char *name)
{
	buf_add_text(b, PREFIX);
	buf_add(b, name, strlen(name) + 1);
}

void fs_xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fs *fs = fs_of(req);
	_cleanup_(buf_release) struct buf names = BUF_INIT, unused = BUF_INIT;
	struct fs_node at;
	fs_node_parse(ino, &at);
	if (at.kind == FS_NODE_EVENT)
		for (size_t i = 0; i < ARRAY_SIZE(event_names); i++)
			add_name(&names, event_names[i]);
	else if (at.kind == FS_NODE_DIR || at.kind == FS_NODE_STREAM)
		add_name(&names, "head");
	if (at.kind != FS_NODE_EVENT && last_error(fs, &at, &unused))
		add_name(&names, LAST_ERROR);
	reply(req, &names, size);
}

static void refuse(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs_node at;
	fs_node_parse(ino, &at);
	/*
	 * cp -a and rsync -X bring along what they read from an event; what is asked for is
	 * computed anyway
	 */
	if (at.kind == FS_NODE_FILE && !strncmp(name, PREFIX, strlen(PREFIX)))
		fuse_reply_err(req, 0);
	else
		fuse_reply_err(req, strncmp(name, PREFIX, strlen(PREFIX)) ? EOPNOTSUPP : EPERM);
}

void fs_xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		  int flags)
{
	(void)value;
	(void)size;
	(void)flags;
	refuse(req, ino, name);
}

void fs_xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	refuse(req, ino, name);
}
