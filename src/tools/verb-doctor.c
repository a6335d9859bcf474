/* SPDX-License-Identifier: Apache-2.0 */
/* verb-doctor.c - evfsctl doctor: is everything there that a mount needs? */
#include "config.h"
#include "tools/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "tools/output.h"

#define OTHER_FILES 100 /* open beside connections and threads */
#define LITTLE_SPACE (UINT64_C(50) << 20)

struct doctor {
	struct verb_call *call;
	unsigned n[3]; /* by verdict */
};

static const char
	*const words[] = { [STACK_FINE] = "ok", [STACK_DUBIOUS] = "warn", [STACK_BROKEN] = "FAIL" };
static const char *const
	json_words[] = { [STACK_FINE] = "ok", [STACK_DUBIOUS] = "warn", [STACK_BROKEN] = "fail" };

static void add_member(struct buf *line, const char *key, const char *text)
{
	buf_printf(line, ",\"%s\":", key);
	/* A reason may end inside of a character, where its room ended. */
	json_quote(text, json_utf8(text, strlen(text)), line);
}

static void show(void *arg, const struct stack_finding *f)
{
	struct doctor *d = arg;
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	d->n[f->verdict]++;
	if (d->call->json) {
		buf_printf(&line, "{\"result\":\"%s\"", json_words[f->verdict]);
		add_member(&line, "check", f->name);
		add_member(&line, "found", f->found);
		if (*f->fix)
			add_member(&line, "fix", f->fix);
		buf_add_text(&line, "}\n");
	} else {
		buf_printf(&line, "%-4s  %-20s %s\n", words[f->verdict], f->name, f->found);
		if (*f->fix)
			buf_printf(&line, "      %-20s -> %s\n", "", f->fix);
	}
	output_buf(&line);
	output_flush();
}

static void tell(struct doctor *d, const char *name, int verdict, const char *fix, const char *fmt,
		 ...) _printf_(5, 6);
static void tell(struct doctor *d, const char *name, int verdict, const char *fix, const char *fmt,
		 ...)
{
	char found[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(found, sizeof(found), fmt, ap);
	va_end(ap);
	struct stack_finding f = { .name = name,
				   .found = found,
				   .fix = verdict == STACK_FINE ? "" : fix };
	f.verdict = verdict;
	show(d, &f);
}

/* --- FUSE --- */

/* The program in PATH, malloc'd; NULL: not there. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	for (const char *p = path && *path ? path : "/usr/bin:/bin"; *p;) {
		size_t len = strcspn(p, ":");
		_cleanup_(buf_release) struct buf file = BUF_INIT;
		buf_add(&file, p, len);
		buf_printf(&file, "/%s", name);
		if (!buf_failed(&file) && !access(buf_text(&file), X_OK))
			return buf_take(&file, NULL);
		p += len + (p[len] == ':');
	}
	return NULL;
}

static bool allows_other(void)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char part[4096];
	ssize_t n;
	_cleanup_(closep) int fd = open("/etc/fuse.conf", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, part, sizeof(part))) > 0)
		buf_add(&text, part, (size_t)n);
	for (const char *line = buf_text(&text); *line;
	     line += strcspn(line, "\n"), line += *line == '\n')
		if (!strncmp(line + strspn(line, " \t"), "user_allow_other", 16))
			return true;
	return false;
}

static void check_fuse(struct doctor *d)
{
	_cleanup_(closep) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int err = errno;
	if (fd >= 0)
		tell(d, "FUSE", STACK_FINE, "", "/dev/fuse can be used");
	else
		tell(d, "FUSE", STACK_BROKEN,
		     err == EACCES || err == EPERM
			     ? "give this user access; a container needs --device /dev/fuse "
			       "--cap-add SYS_ADMIN"
			     : "modprobe fuse; a container needs --device /dev/fuse",
		     "/dev/fuse: %s", strerror(err));

	struct stat st;
	_cleanup_(freep) char *program = find_program("fusermount3");
	if (!program)
		tell(d, "fusermount3", geteuid() ? STACK_BROKEN : STACK_DUBIOUS,
		     "install the package fuse3", "not in PATH");
	else if (geteuid() && !stat(program, &st) && !(st.st_mode & S_ISUID))
		tell(d, "fusermount3", STACK_DUBIOUS, "chmod u+s, if users shall mount",
		     "%s is not setuid", program);
	else
		tell(d, "fusermount3", STACK_FINE, "", "%s", program);

	if (d->call->config.allow_other && geteuid() && !allows_other())
		tell(d, "allow_other", STACK_BROKEN, "put user_allow_other into /etc/fuse.conf",
		     "/etc/fuse.conf does not allow it");
}

/* --- limits --- */

static void check_limit(struct doctor *d, const char *name, int resource, const char *letter,
			uint64_t need)
{
	struct rlimit limit;
	char fix[100];
	if (getrlimit((__rlimit_resource_t)resource, &limit))
		return;
	snprintf(fix, sizeof(fix), "ulimit %s %" PRIu64 ", or LimitNOFILE=, LimitNPROC= of systemd",
		 letter, need);
	if (limit.rlim_cur == RLIM_INFINITY)
		tell(d, name, STACK_FINE, "", "no limit");
	else
		tell(d, name, limit.rlim_cur < need ? STACK_DUBIOUS : STACK_FINE, fix,
		     "at most %" PRIu64 ", a mount may need %" PRIu64, (uint64_t)limit.rlim_cur,
		     need);
}

static void check_limits(struct doctor *d)
{
	const struct config *c = &d->call->config;
	uint64_t connections = config_is_s3(c) ? c->parallel : 0;
	check_limit(d, "open files", RLIMIT_NOFILE, "-n",
		    connections + c->max_threads + OTHER_FILES);
	check_limit(d, "threads", RLIMIT_NPROC, "-u", c->max_threads + OTHER_FILES);
}

/* --- the cache --- */

/* The nearest directory above that is there decides: the rest is made. */
static void check_cache(struct doctor *d)
{
	const struct config *c = &d->call->config;
	if (!c->cache) {
		tell(d, "cache", STACK_DUBIOUS, "name a directory by -o cache=",
		     "there is no home: the catalog is kept in memory and made anew by each mount");
		return;
	}
	_cleanup_(freep) char *path = strdup(c->cache);
	if (!path)
		return;
	while (access(path, F_OK) && errno == ENOENT && strrchr(path, '/') != path)
		*strrchr(path, '/') = '\0';
	struct statvfs fs;
	struct stat st;
	if (access(path, W_OK | X_OK) || stat(path, &st) || !S_ISDIR(st.st_mode))
		tell(d, "cache", config_is_built_in(c, "cache") ? STACK_DUBIOUS : STACK_BROKEN,
		     "give this user permission, or name another directory by -o cache=",
		     "\"%s\" can't be made or written", c->cache);
	else if (!statvfs(path, &fs) && (uint64_t)fs.f_bavail * fs.f_frsize < LITTLE_SPACE)
		tell(d, "cache", STACK_DUBIOUS, "make room, or name another directory by -o cache=",
		     "\"%s\" has less than %" PRIu64 " MiB left", c->cache, LITTLE_SPACE >> 20);
	else
		tell(d, "cache", STACK_FINE, "", "\"%s\" can be written", c->cache);
}

static enum verb_status run(struct verb_call *call)
{
	struct doctor d = { .call = call };
	if (call->n_words)
		return verb_usage(call, "one word too many: \"%s\"", call->words[0]);
	stack_check(&call->config, show, &d);
	check_fuse(&d);
	check_limits(&d);
	check_cache(&d);
	if (call->json)
		output_printf("{\"ok\":%u,\"warn\":%u,\"fail\":%u}\n", d.n[STACK_FINE],
			      d.n[STACK_DUBIOUS], d.n[STACK_BROKEN]);
	else
		output_printf("%u ok, %u warning%s, %u failure%s\n", d.n[STACK_FINE],
			      d.n[STACK_DUBIOUS], d.n[STACK_DUBIOUS] == 1 ? "" : "s",
			      d.n[STACK_BROKEN], d.n[STACK_BROKEN] == 1 ? "" : "s");
	return d.n[STACK_BROKEN] ? VERB_FAILED : VERB_DONE;
}

const struct verb verb_doctor = {
	.name = "doctor",
	.words_help = "",
	.help = "Look at each part that a mount of the store needs, and say what to do about\n"
		"those that fail. Writes nothing but .evfs/probe in a bucket, under -o ro nothing.",
	.options = (const struct verb_option[]){ { NULL, NULL, NULL } },
	.has_json = true,
	.run = run,
};
