/* SPDX-License-Identifier: Apache-2.0 */
/* fs.c - the session with the kernel. */
#include "config.h"
#include "fs/fs-state.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/fs-ahead.h"
#include "fs/fs-change.h"
#include "fs/fs-control.h"
#include "fs/fs-dir.h"
#include "fs/fs-errors.h"
#include "fs/fs-file.h"
#include "fs/fs-gather.h"
#include "fs/fs-kept.h"
#include "fs/fs-lookup.h"
#include "fs/fs-metrics.h"
#include "fs/fs-monitor.h"
#include "fs/fs-mount.h"
#include "fs/fs-open.h"
#include "fs/fs-stream.h"
#include "fs/fs-write.h"
#include "fs/fs-xattr.h"
#include "fs/fs-young.h"

#define MAX_WRITE (1u << 20)
#define WAKE SIGUSR1
/* how long a mount that does not answer may take to turn out as unmounted */
#define UNMOUNT_POLLS 50
#define UNMOUNT_POLL_MS 20

static void init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	conn->max_write = MAX_WRITE;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1000;
	/*
	 * No writeback cache: write(2) is where an append succeeds or fails. No ASYNC_DIO: pieces
	 * of one write must come in order. READDIRPLUS always: not to look up a thousand
	 * directories saves more than the larger entries cost. AUTO_INVAL_DATA is what has the
	 * kernel ask for a directory's attributes before it tells a listing that it kept.
	 */
	const unsigned keeps = FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_NO_OPENDIR_SUPPORT;
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_ASYNC_DIO |
				  FUSE_CAP_READDIRPLUS_AUTO);
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
				       FUSE_CAP_READDIRPLUS | FUSE_CAP_HANDLE_KILLPRIV |
				       FUSE_CAP_CACHE_SYMLINKS | keeps);
	fs->parallel = conn->capable & FUSE_CAP_PARALLEL_DIROPS;
	fs->keeps_listings = (conn->capable & keeps) == keeps;
}

static const struct fuse_lowlevel_ops operations = {
	.init = init,
	.lookup = fs_dir_lookup,
	.forget = fs_lookup_forget,
	.forget_multi = fs_lookup_forget_multi,
	.getattr = fs_lookup_getattr,
	.setattr = fs_lookup_setattr,
	.statfs = fs_lookup_statfs,
	.readlink = fs_control_readlink,
	.opendir = fs_dir_open,
	.readdir = fs_dir_read,
	.readdirplus = fs_dir_read_plus,
	.open = fs_open,
	.create = fs_open_create,
	.read = fs_open_read,
	.write = fs_write,
	.flush = fs_write_flush,
	.fsync = fs_write_fsync,
	.release = fs_write_release,
	.mkdir = fs_change_mkdir,
	.rmdir = fs_change_rmdir,
	.unlink = fs_change_unlink,
	.rename = fs_change_rename,
	.link = fs_change_link,
	.symlink = fs_change_symlink,
	.mknod = fs_change_mknod,
	.getxattr = fs_xattr_get,
	.listxattr = fs_xattr_list,
	.setxattr = fs_xattr_set,
	.removexattr = fs_xattr_remove,
};

static ssize_t receive(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

/*
 * libfuse before 3.17 never asks for parallel directory operations, though it believes it does. The
 * first reply of a session is INIT's: out header (16 bytes), major, minor, max_readahead, flags.
 */
static ssize_t send_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fs *fs = userdata;
	const uint32_t parallel_dirops = UINT32_C(1) << 18;
	if (!atomic_load_explicit(&fs->initialised, memory_order_relaxed) &&
	    !atomic_exchange(&fs->initialised, true) && fs->parallel && count == 2 &&
	    iov[1].iov_len >= 16) {
		uint32_t flags;
		memcpy(&flags, (char *)iov[1].iov_base + 12, sizeof(flags));
		flags |= parallel_dirops;
		memcpy((char *)iov[1].iov_base + 12, &flags, sizeof(flags));
	}
	return writev(fd, iov, count);
}

static enum rc make_rooms(struct fs *fs, struct why *why)
{
	enum rc rc = fs_young_new(&fs->young, why);
	if (rc == RC_OK)
		rc = fs_files_new(&fs->files, why);
	if (rc == RC_OK)
		rc = fs_streams_new(&fs->streams, why);
	if (rc == RC_OK)
		rc = fs_errors_new(&fs->errors, why);
	if (rc == RC_OK)
		rc = fs_metrics_new(&fs->metrics, fs->store, fs->view, fs->source, why);
	if (rc == RC_OK)
		rc = fs_dirs_new(&fs->dirs, why);
	if (rc == RC_OK)
		rc = fs_kept_new(&fs->kept, why);
	if (rc == RC_OK)
		rc = fs_ahead_new(&fs->ahead, fs, why);
	if (rc == RC_OK)
		rc = fs_write_handles_new(&fs->handles, why);
	return rc;
}

/* What the store decides by itself and the writer can't be told any more. */
static void notice(void *arg, const char *type, const char *id, enum rc rc, const char *text)
{
	struct fs *fs = arg;
	_cleanup_(buf_release) struct buf path = BUF_INIT;
	if (rc == RC_OK)
		return;
	if (type)
		buf_printf(&path, "%s/%s", type, id ? id : "");
	struct fs_failure f = { .path = buf_text(&path), .reason = text, .outcome = STORE_UNKNOWN };
	fs_errors_add(fs->errors, &f);
}

static enum rc fill(struct fs *fs, const struct fs_options *options, struct why *why)
{
	struct store_health *h = calloc(1, sizeof(*h));
	fs->options = *options;
	fs->source = strdup(options->source);
	if (!h || !fs->source) {
		free(h);
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	}
	store_health(fs->store, h);
	fs->read_only = h->read_only;
	memcpy(fs->read_only_reason, h->read_only_reason, sizeof(fs->read_only_reason));
	free(h);
	fs->uid = getuid();
	fs->gid = getgid();
	fs->born_us = clock_wall_us();
	fs->fresh_s = (double)store_options(fs->store)->fresh_ms / 1000;
	fs->max_event = store_options(fs->store)->max_event;
	fs->view = store_view(fs->store, why);
	if (!fs->view)
		return RC_CORRUPT;
	return make_rooms(fs, why);
}

enum rc fs_new(struct fs **out, struct store *store, const struct fs_options *options,
	       struct why *why)
{
	_cleanup_(fs_freep) struct fs *fs = calloc(1, sizeof(*fs));
	if (!fs)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	fs->store = store;
	enum rc rc = fill(fs, options, why);
	if (rc == RC_OK && options->metrics)
		rc = fs_monitor_new(&fs->monitor, fs, options->metrics, why);
	if (rc != RC_OK)
		return rc;
	store_on_notice(store, notice, fs);
	*out = TAKE_PTR(fs);
	return RC_OK;
}

void fs_free(struct fs **pfs)
{
	struct fs *fs = *pfs;
	if (!fs)
		return;
	fs_monitor_free(&fs->monitor);	/* it asks the others */
	store_on_notice(fs->store, NULL, NULL);
	fs_unmount(fs);
	if (fs->session)
		fuse_session_destroy(fs->session);
	fs_ahead_free(&fs->ahead);	/* it lists */
	fs_write_handles_free(fs);
	fs_young_free(&fs->young);
	fs_files_free(&fs->files);
	fs_streams_free(&fs->streams);
	fs_errors_free(&fs->errors);
	fs_metrics_free(&fs->metrics);
	fs_dirs_free(&fs->dirs);
	fs_kept_free(&fs->kept);
	free(fs->source);
	free(fs->mountpoint);
	free(fs);
	*pfs = NULL;
}

/* The option list for libfuse: commas in the source are its own affair. */
static void add_options(const struct fs *fs, struct buf *out)
{
	buf_add_text(out, "-osubtype=evfs,nosuid,nodev,noatime");
	if (fs->options.allow_other)
		buf_add_text(out, ",allow_other,default_permissions");
	buf_add_text(out, ",fsname=");
	for (const char *p = fs->source; *p; p++) {
		if (*p == ',' || *p == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *p);
	}
}

enum rc fs_mount(struct fs *fs, const char *mountpoint, struct why *why)
{
	static const struct fuse_custom_io io = { .read = receive, .writev = send_reply };
	_cleanup_(buf_release) struct buf list = BUF_INIT;
	add_options(fs, &list);
	if (buf_failed(&list))
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	/* libfuse looks a path with "." up again behind the mount, where nobody answers yet */
	fs->mountpoint = realpath(mountpoint, NULL);
	if (!fs->mountpoint)
		return rc_fail(RC_NOT_FOUND, why, "cannot mount at '%.300s': %s", mountpoint,
			       strerror(errno));

	char program[] = "evfs", debug[] = "-d";
	char *argv[] = { program, list.data, fs->options.debug ? debug : NULL, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(fs->options.debug ? 3 : 2, argv);
	fs->session = fuse_session_new(&args, &operations, sizeof(operations), fs);
	fuse_opt_free_args(&args);
	if (!fs->session)
		return rc_fail(RC_INVALID, why, "libfuse refused the mount options");
	enum rc rc = fs_mount_session(fs->session, fs->mountpoint, why);
	if (rc != RC_OK)
		return rc;
	fs->mounted = true;
	/* after the mount: it gives the descriptor */
	if (fuse_session_custom_io(fs->session, &io, fuse_session_fd(fs->session)))
		return rc_fail(RC_NO_MEMORY, why, "libfuse refused our input and output");
	return RC_OK;
}

/* In a child that has nothing of ours open; errno, or 0. */
static int ask_as_child(const char *mountpoint)
{
	struct stat st;
	if (stat(mountpoint, &st))
		return errno;
	return st.st_ino == FUSE_ROOT_ID ? 0 : EXDEV;
}

/*
 * Does the mount answer? Asked through the kernel, by a process of its own: a thread that waits for
 * the mount which its own process serves cannot be killed once the request was read, and then the
 * process, its mount and all who wait for it stay for ever.
 */
static void *check_answer(void *arg)
{
	struct fs *fs = arg;
	struct why why = { "" };
	int ends[2], error = ECHILD;
	pid_t child = pipe2(ends, O_CLOEXEC) ? -1 : fork();
	if (!child) {
		if (dup2(ends[1], STDIN_FILENO) < 0 || close_range(STDIN_FILENO + 1, ~0u, 0))
			_exit(EXIT_FAILURE);
		error = ask_as_child(fs->mountpoint);
		_exit(write(STDIN_FILENO, &error, sizeof(error)) != (ssize_t)sizeof(error));
	}
	if (child > 0) {
		close(ends[1]);
		if (read(ends[0], &error, sizeof(error)) != (ssize_t)sizeof(error))
			error = ECHILD;
		close(ends[0]);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	/* unmounted before it was asked: an end like any other */
	for (int i = 0; error && i < UNMOUNT_POLLS && atomic_load(&fs->serving); i++)
		clock_sleep_ms(UNMOUNT_POLL_MS);
	if (error && !atomic_load(&fs->serving))
		return NULL;
	enum rc rc = RC_OK;
	if (error == EXDEV)
		rc = rc_fail(RC_TEMPORARY, &why, "something else is mounted at '%.300s'",
			     fs->mountpoint);
	else if (error)
		rc = rc_fail(RC_TEMPORARY, &why, "the mount at '%.300s' does not answer: %s",
			     fs->mountpoint, strerror(error));
	fs->options.ready(fs->options.ready_arg, rc, &why);
	return NULL;
}

static void woken(int signal)
{
	(void)signal;	/* its only effect is that a wait ends */
}

static enum rc loop(struct fs *fs, struct why *why)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	if (!config)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	fuse_loop_cfg_set_clone_fd(config, 1);
	fuse_loop_cfg_set_max_threads(config, fs->options.max_threads);
	fuse_loop_cfg_set_idle_threads(config, fs->options.max_threads);
	int err = fuse_session_loop_mt(fs->session, config);
	fuse_loop_cfg_destroy(config);
	if (err < 0)
		return rc_fail(RC_TEMPORARY, why, "serving ended: %s", strerror(-err));
	return RC_OK;
}

enum rc fs_serve(struct fs *fs, struct why *why)
{
	struct sigaction action = { .sa_handler = woken }, before;
	sigset_t wake;
	pthread_t checker;
	sigemptyset(&wake);
	sigaddset(&wake, WAKE);
	sigaction(WAKE, &action, &before);
	pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
	fs->server = pthread_self();
	atomic_store(&fs->serving, true);

	bool checking = fs->options.ready && !pthread_create(&checker, NULL, check_answer, fs);
	enum rc rc = loop(fs, why);
	atomic_store(&fs->serving, false);
	fs_unmount(fs);	/* a checker that still waits is answered by this */
	if (checking)
		pthread_join(checker, NULL);
	return rc;
}

void fs_stop(struct fs *fs)
{
	atomic_store(&fs->stopping, true);
	fuse_session_exit(fs->session);
	/* libfuse waits for a semaphore; a single signal could come just before it does */
	while (atomic_load(&fs->serving)) {
		pthread_kill(fs->server, WAKE);
		clock_sleep_ms(20);
	}
}

void fs_unmount(struct fs *fs)
{
	if (!fs->mounted)
		return;
	fs->mounted = false;
	fuse_session_unmount(fs->session);
}

const char *fs_version(void)
{
	return fuse_pkgversion();
}
