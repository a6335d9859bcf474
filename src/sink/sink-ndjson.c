/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink-ndjson.c - a line of JSON per message, to stdout or a file.
 *
 * Lines are gathered and written together, at the next poll or flush or when there are many; a file is synced once for all
 * of them, then they are reported.
 */
#include "config.h"
#include "sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/json.h"

#define GATHER_BYTES (1 << 20)
#define GATHER_LINES 4096

struct ndjson {
	struct sink base;
	int fd;
	bool own; /* fd is closed with the sink */
	bool file; /* regular: synced, and cut back after a write that failed */
	off_t good; /* where the last whole line of the file ends */
	struct buf lines;
	void *opaques[GATHER_LINES];
	size_t n;
	sink_report_fn *report;
	void *arg;
	struct sink_counts counts;
	struct why broken; /* "" while it is not */
};

static struct ndjson *ndjson_of(struct sink *s)
{
	return container_of(s, struct ndjson, base);
}

/* "name":"text", or "name_base64":"…" where the text is not UTF-8. */
static void add_text(const char *name, const char *text, size_t len, struct buf *out)
{
	bool utf8 = json_utf8(text, len) == len;
	buf_printf(out, "\"%s%s\":", name, utf8 ? "" : "_base64");
	if (utf8) {
		json_quote(text, len, out);
	} else {
		buf_add_char(out, '"');
		encode_base64(text, len, out);
		buf_add_char(out, '"');
	}
}

static void add_headers(const struct sink_message *m, struct buf *out)
{
	buf_add_text(out, ",\"headers\":{");
	for (size_t i = 0; i < m->n_headers; i++) {
		if (i)
			buf_add_char(out, ',');
		const struct sink_header *h = &m->headers[i];
		json_quote(h->name, strlen(h->name), out);
		buf_add_char(out, ':');
		/* one that is not UTF-8 is cut where it stops being it: headers are ids and names */
		json_quote(h->value, json_utf8(h->value, strlen(h->value)), out);
	}
	buf_add_text(out, "},");
}

/* A line break may stand between the tokens of a value. */
static bool has_line_break(const struct json_value *v)
{
	return memchr(v->text, '\n', v->len) || memchr(v->text, '\r', v->len);
}

static void add_line(const struct sink_message *m, struct buf *out)
{
	struct json_value v;
	buf_add_text(out, "{\"topic\":");
	json_quote(m->topic, json_utf8(m->topic, strlen(m->topic)), out);
	buf_add_char(out, ',');
	add_text("key", m->key, m->key_len, out);
	add_headers(m, out);
	if (json_parse(m->value, m->len, JSON_STRICT, &v, NULL) == RC_OK) {
		buf_add_text(out, "\"value\":");
		if (has_line_break(&v))
			json_minify(&v, out);
		else
			buf_add(out, v.text, v.len);
	} else {
		add_text("value", m->value, m->len, out);
	}
	buf_add_text(out, "}\n");
}

static enum rc fail_broken(const struct ndjson *n, struct why *why)
{
	return rc_fail(RC_CORRUPT, why, "%s", n->broken.text);
}

/* What was written in part is cut off again, as a crash would leave it to the next one. */
static enum rc breaks(struct ndjson *n, const char *what, int e, struct why *why)
{
	if (n->file && ftruncate(n->fd, n->good) == 0)
		n->lines.len = 0;
	rc_fail(RC_CORRUPT, &n->broken, "can't %s the lines: %s", what, strerror(e));
	n->counts.errors++;
	n->counts.failed += n->n;
	memcpy(n->counts.last_error, n->broken.text, sizeof(n->counts.last_error) - 1);
	return fail_broken(n, why);
}

static enum rc write_all(struct ndjson *n, struct why *why)
{
	for (size_t done = 0; done < n->lines.len;) {
		ssize_t w = write(n->fd, n->lines.data + done, n->lines.len - done);
		if (w >= 0) {
			done += (size_t)w;
		} else if (errno == EAGAIN) {
			struct pollfd p = { .fd = n->fd, .events = POLLOUT };
			poll(&p, 1, 1000);
		} else if (errno != EINTR) {
			return breaks(n, "write", errno, why);
		}
	}
	if (n->file && fdatasync(n->fd) != 0)
		return breaks(n, "sync", errno, why);
	return RC_OK;
}

static enum rc write_out(struct ndjson *n, struct why *why)
{
	if (n->broken.text[0])
		return fail_broken(n, why);
	if (!n->n)
		return RC_OK;
	enum rc rc = write_all(n, why);
	if (rc != RC_OK)
		return rc;
	n->good += (off_t)n->lines.len;
	n->counts.bytes += n->lines.len;
	n->counts.delivered += n->n;
	buf_reset(&n->lines);
	size_t told = n->n;
	n->n = 0;
	for (size_t i = 0; i < told; i++)
		n->report(n->arg, n->opaques[i], RC_OK, NULL);
	return RC_OK;
}

static enum rc ndjson_send(struct sink *s, const struct sink_message *m, struct why *why)
{
	struct ndjson *n = ndjson_of(s);
	if (n->broken.text[0])
		return fail_broken(n, why);
	if (n->n == GATHER_LINES || n->lines.len >= GATHER_BYTES) {
		enum rc rc = write_out(n, why);
		if (rc != RC_OK)
			return rc;
	}
	size_t before = n->lines.len;
	add_line(m, &n->lines);
	if (buf_failed(&n->lines)) {
		n->lines.failed = false;
		n->lines.len = before;
		return rc_fail(RC_TEMPORARY, why, "no memory for a line");
	}
	n->opaques[n->n++] = m->opaque;
	n->counts.sent++;
	return RC_OK;
}

static enum rc ndjson_poll(struct sink *s, unsigned ms, struct why *why)
{
	(void)ms; /* what is queued is written now; where nothing is, nothing will come */
	return write_out(ndjson_of(s), why);
}

static enum rc ndjson_flush(struct sink *s, unsigned ms, struct why *why)
{
	return ndjson_poll(s, ms, why);
}

static void ndjson_purge(struct sink *s)
{
	struct ndjson *n = ndjson_of(s);
	n->n = 0;
	buf_reset(&n->lines);
}

static void ndjson_counts(const struct sink *s, struct sink_counts *out)
{
	const struct ndjson *n = container_of(s, const struct ndjson, base);
	*out = n->counts;
	out->queued = n->n;
}

static size_t ndjson_max_message(const struct sink *s)
{
	(void)s;
	return 0;
}

static void ndjson_destroy(struct sink *s)
{
	struct ndjson *n = ndjson_of(s);
	if (n->own)
		closep(&n->fd);
	buf_release(&n->lines);
	free(n);
}

static const struct sink_ops ndjson_ops = {
	.name = "ndjson",
	.send = ndjson_send,
	.poll = ndjson_poll,
	.flush = ndjson_flush,
	.purge = ndjson_purge,
	.counts = ndjson_counts,
	.max_message = ndjson_max_message,
	.destroy = ndjson_destroy,
};

static enum rc fail_file(const char *path, const char *what, struct why *why)
{
	enum rc rc = errno == ENOSPC || errno == EDQUOT ? RC_NO_SPACE : RC_DENIED;
	return rc_fail(rc, why, "can't %s '%s': %s", what, path, strerror(errno));
}

/* A new file's name is there after a crash. */
static enum rc sync_folder(const char *path, struct why *why)
{
	_cleanup_(freep) char *folder = strdup(path);
	if (!folder)
		return rc_fail(RC_NO_MEMORY, why, "no memory to open '%s'", path);
	char *slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	_cleanup_(closep) int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		return fail_file(path, "sync the folder of", why);
	return RC_OK;
}

/* Where the last whole line ends; what follows it was left by a crash. */
static enum rc cut_torn_line(struct ndjson *n, const char *path, struct why *why)
{
	char block[4096];
	off_t end = lseek(n->fd, 0, SEEK_END);
	if (end < 0)
		return fail_file(path, "look into", why);
	off_t at = end;
	n->good = 0;
	while (at > 0 && !n->good) {
		size_t want = at < (off_t)sizeof(block) ? (size_t)at : sizeof(block);
		at -= (off_t)want;
		ssize_t got = pread(n->fd, block, want, at);
		if (got != (ssize_t)want)
			return fail_file(path, "read", why);
		const char *lf = memrchr(block, '\n', want);
		if (lf)
			n->good = at + (lf - block) + 1;
	}
	if (n->good < end && (ftruncate(n->fd, n->good) != 0 || fdatasync(n->fd) != 0))
		return fail_file(path, "cut an unfinished line off", why);
	return RC_OK;
}

static enum rc open_file(struct ndjson *n, const char *path, struct why *why)
{
	struct stat st;
	if (strcmp(path, "-") == 0) {
		n->fd = STDOUT_FILENO;
	} else {
		n->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
		if (n->fd < 0 && errno == EINVAL) /* a fifo, a terminal */
			n->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
		n->own = true;
	}
	if (n->fd < 0 || fstat(n->fd, &st) != 0)
		return fail_file(path, "open", why);
	n->file = S_ISREG(st.st_mode);
	if (!n->file)
		return RC_OK;
	if (!n->own) { /* stdout of a shell: its end is whoever's, and may not be read */
		n->good = lseek(n->fd, 0, SEEK_END);
		return RC_OK;
	}
	if (flock(n->fd, LOCK_EX | LOCK_NB) != 0)
		return rc_fail(RC_DENIED, why, "'%s' is being written to by another", path);
	enum rc rc = cut_torn_line(n, path, why);
	return rc == RC_OK && st.st_size == 0 ? sync_folder(path, why) : rc;
}

enum rc sink_ndjson_new(struct sink **out, const char *path, sink_report_fn *report, void *arg,
			struct why *why)
{
	_cleanup_(sink_freep) struct sink *s = NULL;
	struct ndjson *n = calloc(1, sizeof(*n));
	if (!n)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a sink");
	n->base.ops = &ndjson_ops;
	n->fd = -1;
	n->report = report;
	n->arg = arg;
	s = &n->base;
	enum rc rc = open_file(n, path, why);
	if (rc == RC_OK)
		*out = TAKE_PTR(s);
	return rc;
}
