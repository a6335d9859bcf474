/* SPDX-License-Identifier: Apache-2.0 */
/* fs-refuse.c - saying no. */
#include "config.h"
#include "fs/fs-refuse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "fs/fs-errors.h"
#include "fs/fs-metrics.h"
#include "fs/fs-place.h"

void fs_refuse_note(struct fs *fs, const struct fuse_ctx *ctx, int64_t dir, const char *name,
		    struct fs_failure *f)
{
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	fs_place_path(fs, dir, name, &path);
	f->path = buf_text(&path);
	f->pid = ctx->pid;
	f->uid = ctx->uid;
	fs_errors_add(fs->errors, f);
	fs_metrics_error(fs->metrics, FS_METRICS_CHANGE, f->err);
	f->path = NULL;
}

void fs_refuse(fuse_req_t req, int64_t dir, const char *name, int err, const char *fmt, ...)
{
	char reason[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	struct fs_failure f = { .err = err, .reason = reason };
	/* remembered before it is answered, so that who was refused finds the reason */
	fs_refuse_note(fs_of(req), fuse_req_ctx(req), dir, name, &f);
	fuse_reply_err(req, err);
}

void fs_refuse_change(fuse_req_t req, int64_t dir, const char *name, enum rc rc,
		      const struct why *why)
{
	fs_refuse(req, dir, name, fs_errors_errno(rc, fs_of(req)->read_only), "%s", why->text);
}

void fs_refuse_read(fuse_req_t req, const char *operation, enum rc rc, const struct why *why)
{
	struct fs *fs = fs_of(req);
	int err = rc == RC_DENIED ? EACCES : fs_errors_errno(rc, false);
	if (rc != RC_NOT_FOUND) {
		log_warning("%s failed: %s errno=%d", operation, why->text, err);
		fs_metrics_error(fs->metrics, FS_METRICS_READ, err);
	}
	fuse_reply_err(req, err);
}

bool fs_refuse_read_only(fuse_req_t req, int64_t dir, const char *name)
{
	struct fs *fs = fs_of(req);
	if (!fs->read_only)
		return false;
	fs_refuse(req, dir, name, EROFS, "the store is read-only: %s", fs->read_only_reason);
	return true;
}
