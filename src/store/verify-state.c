/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify-state.c - how far a run came, for the next one.
 *
 * Three files: FILE is small and is replaced as a whole: for which store and seeding, what was
 * counted, how much of FILE.found is good, and where to go on. FILE.found has the findings that
 * were told. FILE.seen has a bit for each stream that has objects, by its handle: it keeps the walk
 * over the ledger's streams from listing each of them once more, and no list of streams in memory.
 */
#include "config.h"
#include "store/verify-private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define MAGIC "evfs-verify 1"
#define WRITE_EVERY_MS 1000
#define HANDLE_MAX (INT64_C(1) << 36) /* above it the file of bits could become too large */

struct verify_state {
	char *path; /* NULL: nothing is kept for later */
	FILE *found; /* NULL: likewise */
	int seen;
	char uuid[37];
	uint64_t seeding;
	/* behind the last batch that was told */
	struct buf place;
	struct verify_progress count;
	uint64_t backwards;
	off_t found_len;
	off_t found_end;
	uint64_t next_ms; /* when it is to be written again */
	bool changed, failed;
};

static char *join(const char *path, const char *tail)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	buf_printf(&text, "%s%s", path, tail);
	return buf_take(&text, NULL);
}

/* ------------------------------------------------------------------ the small file */

static bool write_whole(const char *path, const struct buf *text)
{
	_cleanup_(freep) char *temporary = join(path, ".new");
	FILE *f = temporary ? fopen(temporary, "we") : NULL;
	if (!f)
		return false;
	bool good = fwrite(text->data, 1, text->len, f) == text->len;
	good = !fclose(f) && good;
	good = good && !rename(temporary, path);
	if (!good)
		unlink(temporary);
	return good;
}

static bool save(struct verify_state *st)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const uint64_t numbers[] = { st->seeding,
				     st->count.streams,
				     st->count.events,
				     st->count.findings,
				     st->backwards,
				     (uint64_t)st->count.began_us,
				     (uint64_t)st->found_len,
				     st->place.len };
	if (!st->path || !st->found || st->failed || !st->place.len)
		return false;
	buf_add_text(&text, MAGIC);
	buf_add_char(&text, '\0');
	buf_add_text(&text, st->uuid);
	buf_add_char(&text, '\0');
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		buf_add_u64(&text, numbers[i]);
		buf_add_char(&text, '\0');
	}
	buf_add(&text, st->place.data, st->place.len);
	if (buf_failed(&text) || fflush(st->found) || !write_whole(st->path, &text))
		return false;
	st->changed = false;
	st->next_ms = clock_boot_ms() + WRITE_EVERY_MS;
	return true;
}

/* The next text of a file whose texts have a NUL behind them. */
static const char *next_text(const struct buf *b, size_t *at)
{
	const char *text = buf_text(b) + *at;
	const char *nul = *at < b->len ? memchr(text, '\0', b->len - *at) : NULL;
	if (!nul)
		return NULL;
	*at += (size_t)(nul - text) + 1;
	return text;
}

static bool read_whole(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	char part[4096];
	size_t n;
	if (!f)
		return false;
	while ((n = fread(part, 1, sizeof(part), f)))
		buf_add(out, part, n);
	bool good = !ferror(f) && !buf_failed(out);
	fclose(f);
	return good;
}

/* What a run of this store under this seeding left. */
static bool load(struct verify_state *st)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	uint64_t numbers[8];
	size_t at = 0;
	if (!read_whole(st->path, &text))
		return false;
	const char *magic = next_text(&text, &at), *uuid = next_text(&text, &at);
	if (!magic || !uuid || strcmp(magic, MAGIC) || strcmp(uuid, st->uuid))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const char *number = next_text(&text, &at);
		if (!number)
			return false;
		numbers[i] = strtoull(number, NULL, 10);
	}
	if (numbers[0] != st->seeding || !numbers[7] || numbers[7] != text.len - at)
		return false;
	st->count = (struct verify_progress){ .streams = numbers[1],
					      .events = numbers[2],
					      .findings = numbers[3],
					      .before = numbers[2],
					      .began_us = (int64_t)numbers[5] };
	st->backwards = numbers[4];
	st->found_len = (off_t)numbers[6];
	buf_add(&st->place, text.data + at, text.len - at);
	return !buf_failed(&st->place);
}

/* ------------------------------------------------------------------ findings */

/* Tell those of the run before once more: its report may be gone. */
static enum rc tell_again(struct verify *v, struct verify_state *st, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct verify_progress kept = v->count;
	char part[16384];
	size_t n;
	rewind(st->found);
	while ((n = fread(part, 1, sizeof(part), st->found))) {
		buf_add(&text, part, n);
		buf_drop_front(&text, verify_tell_notes(v, buf_text(&text), text.len));
	}
	v->count = kept; /* they were counted */
	if (ferror(st->found) || buf_failed(&text))
		return rc_fail(RC_TEMPORARY, why, "cannot read '%s.found'", st->path);
	return fseeko(st->found, 0, SEEK_END)
		       ? rc_fail(RC_TEMPORARY, why, "cannot read '%s.found'", st->path)
		       : RC_OK;
}

void verify_state_add(struct verify_state *st, const char *found, size_t len)
{
	if (!st->found || !len)
		return;
	/* a full disk: the run goes on, a later one can't go on with it */
	if (fwrite(found, 1, len, st->found) != len)
		st->failed = true;
	st->found_end += (off_t)len;
}

void verify_state_place(struct verify *v, const struct buf *place)
{
	struct verify_state *st = v->state;
	buf_reset(&st->place);
	buf_add(&st->place, place->data, place->len);
	if (buf_failed(&st->place))
		st->failed = true;
	st->count = v->count;
	st->backwards = v->backwards;
	st->found_len = st->found_end;
	st->changed = true;
	if (clock_boot_ms() >= st->next_ms)
		(void)save(st);
}

bool verify_state_flush(struct verify *v)
{
	return v->state && (!v->state->changed || save(v->state)) && v->state->path &&
	       !access(v->state->path, F_OK);
}

/* ------------------------------------------------------------------ streams that have objects */

void verify_state_seen(struct verify_state *st, int64_t stream)
{
	unsigned char byte = 0, bit = (unsigned char)(1u << (stream & 7));
	if (stream <= 0 || stream >= HANDLE_MAX)
		return;
	/* a bit that is lost costs a listing */
	if (pread(st->seen, &byte, 1, stream >> 3) < 0 || byte & bit)
		return;
	byte |= bit;
	(void)!pwrite(st->seen, &byte, 1, stream >> 3);
}

int verify_state_was_seen(struct verify_state *st, int64_t stream)
{
	unsigned char byte = 0;
	if (stream <= 0 || stream >= HANDLE_MAX || pread(st->seen, &byte, 1, stream >> 3) < 0)
		return -1;
	return byte >> (stream & 7) & 1;
}

/* ------------------------------------------------------------------ life */

/* Where nothing can be kept, the bits still need a place. */
static int nameless(void)
{
	const char *dir = getenv("TMPDIR");
	return open(dir && *dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static enum rc open_files(struct verify_state *st, bool go_on, struct why *why)
{
	_cleanup_(freep) char *found = join(st->path, ".found");
	_cleanup_(freep) char *seen = join(st->path, ".seen");
	if (!found || !seen)
		return rc_fail(RC_NO_MEMORY, why, "no memory for '%s'", st->path);
	if (!go_on && unlink(st->path) && errno != ENOENT)
		return rc_fail(RC_DENIED, why, "cannot write '%s': %s", st->path, strerror(errno));
	int fd = open(found, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return rc_fail(RC_DENIED, why, "cannot write '%s': %s", found, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return rc_fail(RC_CONFLICT, why, "another run has '%s'", st->path);
	}
	st->found = fdopen(fd, "r+");
	if (!st->found) {
		close(fd);
		return rc_fail(RC_NO_MEMORY, why, "no memory for '%s'", found);
	}
	st->seen = open(seen, O_RDWR | O_CREAT | O_CLOEXEC | (go_on ? 0 : O_TRUNC), 0600);
	if (st->seen < 0 || ftruncate(fd, st->found_len))
		return rc_fail(RC_DENIED, why, "cannot write '%s': %s", seen, strerror(errno));
	st->found_end = st->found_len;
	return RC_OK;
}

/* Are all three there, and the findings whole? */
static bool is_whole(const struct verify_state *st)
{
	_cleanup_(freep) char *found = join(st->path, ".found");
	_cleanup_(freep) char *seen = join(st->path, ".seen");
	struct stat info;
	return found && seen && !access(seen, F_OK) && !stat(found, &info) &&
	       info.st_size >= st->found_len;
}

static enum rc open_kept(struct verify *v, struct verify_state *st, struct why *why)
{
	st->path = strdup(v->options->state);
	if (!st->path)
		return rc_fail(RC_NO_MEMORY, why, "no memory to verify");
	bool go_on = !v->options->restart && load(st) && is_whole(st);
	if (!go_on) {
		buf_reset(&st->place);
		st->count = v->count;
		st->backwards = 0;
		st->found_len = 0;
	}
	return open_files(st, go_on, why);
}

static void keep_nothing(struct verify_state *st)
{
	if (st->found)
		fclose(st->found);
	if (st->seen >= 0)
		close(st->seen);
	free(st->path);
	st->path = NULL;
	st->found = NULL;
	st->seen = -1;
	buf_reset(&st->place);
}

enum rc verify_state_open(struct verify *v, uint64_t seeding, char **place_r, size_t *place_len_r,
			  struct why *why)
{
	struct verify_state *st = calloc(1, sizeof(*st));
	struct why reason = { "" };
	enum rc rc = RC_OK;
	if (!st)
		return rc_fail(RC_NO_MEMORY, why, "no memory to verify");
	st->seen = -1;
	st->seeding = seeding;
	memcpy(st->uuid, v->s->info.uuid, sizeof(st->uuid));
	v->state = st;
	if (v->options->state)
		rc = open_kept(v, st, &reason);
	if (rc == RC_CONFLICT || rc == RC_NO_MEMORY)
		return rc_fail(rc, why, "%s", reason.text);
	if (rc != RC_OK) /* no room for it: the run can't be gone on with, that is all */
		keep_nothing(st);
	if (st->seen < 0)
		st->seen = nameless();
	if (st->place.len) {
		uint64_t total = v->count.total;
		v->count = st->count;
		v->count.total = total;
		v->backwards = st->backwards;
		*place_len_r = st->place.len;
		*place_r = malloc(st->place.len);
		if (!*place_r)
			return rc_fail(RC_NO_MEMORY, why, "no memory to verify");
		memcpy(*place_r, st->place.data, st->place.len);
		if (v->options->progress)
			v->options->progress(v->options->arg, &v->count);
		rc = tell_again(v, st, why);
	}
	return rc;
}

void verify_state_close(struct verify_state **state, bool finished)
{
	struct verify_state *st = TAKE_PTR(*state);
	if (!st)
		return;
	_cleanup_(freep) char *found = st->path ? join(st->path, ".found") : NULL;
	_cleanup_(freep) char *seen = st->path ? join(st->path, ".seen") : NULL;
	if (finished && found && seen) {
		unlink(st->path);
		unlink(seen);
		unlink(found);
	}
	keep_nothing(st);
	buf_release(&st->place);
	free(st);
}
