/* SPDX-License-Identifier: Apache-2.0 */
/* monitor.c - three pages over HTTP. */
#include "config.h"
#include "monitor/monitor.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "monitor/monitor-listen.h"

#define CONNECTIONS 32
#define CONNECTION_BYTES (16u << 10)
#define SILENCE_S 10

struct monitor {
	struct monitor_options options;
	char address[MONITOR_LISTEN_ADDRESS_MAX];
	struct MHD_Daemon *daemon;
};

/* An answer as it grows. */
struct answer {
	struct buf text;
	const char *type;
	unsigned status;
};

static void answer_metrics(const struct monitor *m, struct answer *a)
{
	a->type = "text/plain; version=0.0.4; charset=utf-8";
	if (m->options.print)
		m->options.print(m->options.print_arg, &a->text);
}

struct parts {
	struct buf lines;
	bool bad;
};

static void tell(void *arg, const char *part, enum rc rc, const char *text)
{
	struct parts *p = arg;
	p->bad |= rc != RC_OK;
	if (!text || !*text)
		text = rc == RC_OK ? "ok" : rc_name(rc);
	buf_add_text(&p->lines, ",\n  ");
	json_quote(part, strlen(part), &p->lines);
	buf_add_text(&p->lines, ": ");
	json_quote(text, strlen(text), &p->lines);
}

static bool answer_health(const struct monitor *m, struct answer *a)
{
	struct parts parts = { .lines = BUF_INIT };
	bool ready = !m->options.ask || m->options.ask(m->options.ask_arg, tell, &parts);
	a->type = "application/json";
	buf_printf(&a->text, "{\n  \"status\": \"%s\",\n  \"ready\": %s%s\n}\n",
		   parts.bad ? "degraded" : "ok", ready ? "true" : "false", buf_text(&parts.lines));
	a->text.failed |= buf_failed(&parts.lines);
	buf_release(&parts.lines);
	return ready;
}

static void refuse(struct answer *a, unsigned status, const char *text)
{
	buf_reset(&a->text);
	buf_add_text(&a->text, text);
	a->status = status;
	a->type = "text/plain; charset=utf-8";
}

static void make_answer(const struct monitor *m, const char *path, const char *method,
			struct answer *a)
{
	bool metrics = !strcmp(path, "/metrics"), ready = !strcmp(path, "/ready");
	a->status = MHD_HTTP_OK;
	if (!metrics && !ready && strcmp(path, "/health") != 0)
		refuse(a, MHD_HTTP_NOT_FOUND, "here are /metrics, /health and /ready\n");
	else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		refuse(a, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
	else if (metrics)
		answer_metrics(m, a);
	else if (!answer_health(m, a) && ready)
		a->status = MHD_HTTP_SERVICE_UNAVAILABLE;
	if (buf_failed(&a->text))
		refuse(a, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
}

/* Answered at its first call, before any body was read: that of a refused method never is. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *path,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_len, void **state)
{
	struct answer a = { .text = BUF_INIT };
	size_t len;
	(void)version, (void)upload, (void)upload_len, (void)state;
	make_answer(arg, path, method, &a);
	char *text = buf_take(&a.text, &len);
	if (!text)
		return MHD_NO;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	bool good =
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, a.type) == MHD_YES &&
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES;
	if (a.status == MHD_HTTP_METHOD_NOT_ALLOWED)
		good &= MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES;
	enum MHD_Result queued = good ? MHD_queue_response(connection, a.status, response) : MHD_NO;
	MHD_destroy_response(response);
	return queued;
}

/* The signals of the process are not for this thread. */
static struct MHD_Daemon *start(struct monitor *m, int fd)
{
	sigset_t all, before;
	unsigned silence_s = m->options.silence_s ? m->options.silence_s : SILENCE_S;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	struct MHD_Daemon *d = MHD_start_daemon(
		MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, handle, m,
		MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, silence_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
		MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return d;
}

enum rc monitor_new(struct monitor **out, const struct monitor_options *o, struct why *why)
{
	_cleanup_(monitor_freep) struct monitor *m = calloc(1, sizeof(*m));
	_cleanup_(closep) int fd = -1;
	if (!m)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	m->options = *o;
	m->options.address = NULL;	/* the caller's; what it became is in address */
	enum rc rc = monitor_listen(o->address, &fd, m->address, why);
	if (rc != RC_OK)
		return rc;
	m->daemon = start(m, fd);
	if (!m->daemon)
		return rc_fail(RC_NO_MEMORY, why, "no thread for metrics at \"%s\"", m->address);
	(void)TAKE_FD(fd);	/* the daemon's: it closes it */
	*out = TAKE_PTR(m);
	return RC_OK;
}

const char *monitor_address(const struct monitor *m)
{
	return m->address;
}

void monitor_free(struct monitor **pm)
{
	struct monitor *m = *pm;
	if (!m)
		return;
	if (m->daemon)
		MHD_stop_daemon(m->daemon);
	free(m);
	*pm = NULL;
}
