/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger-sqlite-file.c - which file the ledger is, and whether it was replaced.
 *
 * Under processes that are up, or between two runs, a user may remove the ledger, move another one
 * to its place, copy an older one over it (same inode), with or without its -wal and -shm. Each
 * must be noticed before anything is ordered by the wrong ledger, and a -wal must never be replayed
 * into a file that it does not belong to.
 *
 *   seen at the path			then
 *   no file				nothing can be done until there is one
 *   another device, inode or -wal	reopen
 *   the card's stamp is another	reopen: some process noticed a replacement
 *   another mtime or size		reopen, unless the card says that a checkpoint was begun
 *
 * Who reopens holds the card's lock. It keeps the -wal if the main file is as the last checkpoint
 * left it (by its commit counter, when the mtime differs), and changes the stamp unless the content
 * goes on from where the card says that it was.
 */
#include "config.h"
#include "ledger/ledger-sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

#define CARD_MAGIC UINT64_C(0x3164726163667665)	/* "evfcard1" */
enum { BYTE_LOCK, BYTE_PRESENT };

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/*
 * A lock of the open file, not of the process: closing another descriptor of the same file does not
 * drop it.
 */
static int range_lock(int fd, short type, off_t byte, int command)
{
	struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int result;
	do
		result = fcntl(fd, command, &range);
	while (result && errno == EINTR && command == F_OFD_SETLKW);
	return command == F_OFD_GETLK && !result ? range.l_type : result;
}

static bool card_read(const struct ledger_sqlite_file *f, struct ledger_sqlite_card *card)
{
	return pread(f->fd, card, sizeof(*card), 0) == (ssize_t)sizeof(*card) &&
	       card->magic == CARD_MAGIC;
}

static enum rc card_write(const struct ledger_sqlite_file *f, const struct ledger_sqlite_card *card,
			  struct why *why)
{
	if (pwrite(f->fd, card, sizeof(*card), 0) == (ssize_t)sizeof(*card) && !fdatasync(f->fd))
		return RC_OK;
	return rc_fail(errno == ENOSPC || errno == EDQUOT ? RC_NO_SPACE : RC_TEMPORARY, why,
		       "can't write '%s': %s", f->card_path, strerror(errno));
}

static char *join(const char *a, size_t a_len, const char *b)
{
	char *out = malloc(a_len + strlen(b) + 1);
	if (out) {
		memcpy(out, a, a_len);
		strcpy(out + a_len, b);
	}
	return out;
}

enum rc ledger_sqlite_file_init(struct ledger_sqlite_file *f, const char *path, struct why *why)
{
	size_t len = strlen(path);
	const char *slash = strrchr(path, '/');
	f->fd = -1;
	pthread_mutex_init(&f->mutex, NULL);
	f->path = join(path, len, "");
	f->wal = join(path, len, "-wal");
	f->shm = join(path, len, "-shm");
	f->card_path = join(path, slash ? (size_t)(slash + 1 - path) : 0, "ledger.file");
	if (!f->path || !f->wal || !f->shm || !f->card_path)
		return rc_fail(RC_NO_MEMORY, why, "out of memory");
	return RC_OK;
}

void ledger_sqlite_file_release(struct ledger_sqlite_file *f)
{
	closep(&f->fd);
	free(f->path);
	free(f->wal);
	free(f->shm);
	free(f->card_path);
	pthread_mutex_destroy(&f->mutex);
}

enum rc ledger_sqlite_file_attach(struct ledger_sqlite_file *f, struct why *why)
{
	for (;;) {
		struct stat there, here;
		if (f->fd >= 0 && !stat(f->card_path, &there) && !fstat(f->fd, &here) &&
		    there.st_ino == here.st_ino && there.st_dev == here.st_dev)
			return RC_OK;
		closep(&f->fd);
		f->fd = open(f->card_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		if (f->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
			return rc_fail(RC_NOT_FOUND, why,
				       "the ledger '%s' is gone, with its directory", f->path);
		if (f->fd < 0) {
			enum rc rc = errno == EACCES || errno == EPERM || errno == EROFS ? RC_DENIED
				     : errno == ENOSPC || errno == EDQUOT ? RC_NO_SPACE
									  : RC_TEMPORARY;
			return rc_fail(rc, why, "can't open '%s': %s", f->card_path,
				       strerror(errno));
		}
		if (range_lock(f->fd, F_RDLCK, BYTE_PRESENT, F_OFD_SETLKW))
			return rc_fail(RC_TEMPORARY, why, "can't lock '%s': %s", f->card_path,
				       strerror(errno));
	}
}

bool ledger_sqlite_file_lock(struct ledger_sqlite_file *f, bool wait)
{
	if (wait)
		pthread_mutex_lock(&f->mutex);
	else if (pthread_mutex_trylock(&f->mutex))
		return false;
	if (!range_lock(f->fd, F_WRLCK, BYTE_LOCK, wait ? F_OFD_SETLKW : F_OFD_SETLK))
		return true;
	pthread_mutex_unlock(&f->mutex);
	return false;
}

void ledger_sqlite_file_unlock(struct ledger_sqlite_file *f)
{
	range_lock(f->fd, F_UNLCK, BYTE_LOCK, F_OFD_SETLK);
	pthread_mutex_unlock(&f->mutex);
}

bool ledger_sqlite_file_alone(struct ledger_sqlite_file *f)
{
	return range_lock(f->fd, F_WRLCK, BYTE_PRESENT, F_OFD_GETLK) == F_UNLCK;
}

static uint64_t inode_at(const char *path)
{
	struct stat st;
	return stat(path, &st) ? 0 : (uint64_t)st.st_ino;
}

/* first: the -wal, which takes the -shm with it, or the -shm alone. */
static enum rc drop(const struct ledger_sqlite_file *f, const char *first, struct why *why)
{
	if ((unlink(first) && errno != ENOENT) || (unlink(f->shm) && errno != ENOENT))
		return rc_fail(RC_TEMPORARY, why,
			       "can't remove '%s', which belongs to another ledger: %s", first,
			       strerror(errno));
	return RC_OK;
}

enum rc ledger_sqlite_file_prepare(struct ledger_sqlite_file *f, struct why *why)
{
	struct stat st, wal;
	if (stat(f->path, &st)) {
		if (errno != ENOENT && errno != ENOTDIR)
			return rc_fail(errno == EACCES ? RC_DENIED : RC_TEMPORARY, why,
				       "ledger '%s': %s", f->path, strerror(errno));
		return rc_fail(
			RC_NOT_FOUND, why,
			"the ledger '%s' is gone; 'evfsctl init --adopt STORE' makes a new one"
			" from the objects",
			f->path);
	}
	f->dev = (uint64_t)st.st_dev;
	f->ino = (uint64_t)st.st_ino;
	f->known = true;
	f->interrupted = false;

	struct ledger_sqlite_card card;
	if (!card_read(f, &card)) {
		f->known = false;	/* the stamp will be new */
		card = f->last;
		if (!card.magic)
			return RC_OK;	/* SQLite's own rules say whether the -wal is good */
	}
	f->commits = card.commits;
	f->interrupted = card.checkpointing;
	bool untouched = card.ino == f->ino && card.mtime_ns == mtime_ns(&st) &&
			 card.size == (uint64_t)st.st_size;
	bool same_file = card.ino == f->ino && card.dev == f->dev;
	if (untouched || (same_file && card.checkpointing))
		return RC_OK;	/* device numbers may change with a restart of the machine */

	if (stat(f->wal, &wal) || !wal.st_size) {
		/*
		 * another program's checkpoint, or a copy: the commit counter tells in
		 * ledger_sqlite_file_opened
		 */
		f->known = f->known && same_file;
		return drop(f, f->wal, why);
	}
	if ((uint64_t)wal.st_ino != card.wal_ino) {
		/*
		 * it came with the file; processes that still have the old ones open may share no
		 * index with it
		 */
		f->known = false;
		return drop(f, f->shm, why);
	}
	uint64_t base = 0;
	bool fits = ledger_sqlite_schema_base(f->path, &base, NULL) == RC_OK && base == card.base;
	f->known = f->known && same_file && fits;
	return fits ? RC_OK : drop(f, f->wal, why);
}

static uint64_t new_stamp(uint64_t old)
{
	uint64_t now = (uint64_t)clock_wall_us();
	return now > old ? now : old + 1;
}

enum rc ledger_sqlite_file_opened(struct ledger_sqlite_file *f, uint64_t commits, struct why *why)
{
	struct stat st;
	if (stat(f->path, &st) || (uint64_t)st.st_ino != f->ino || (uint64_t)st.st_dev != f->dev)
		return rc_fail(RC_TEMPORARY, why,
			       "the ledger '%s' was replaced while it was opened", f->path);

	struct ledger_sqlite_card card, old;
	if (!card_read(f, &card))
		memset(&card, 0, sizeof(card));
	old = card;
	if (!f->known || commits < f->commits) {
		card.magic = CARD_MAGIC;
		card.stamp = new_stamp(card.stamp);
		card.dev = f->dev;
		card.commits = commits;
	}
	if (card.ino != f->ino || card.mtime_ns != mtime_ns(&st) ||
	    card.size != (uint64_t)st.st_size) {
		card.ino = f->ino;
		card.mtime_ns = mtime_ns(&st);
		card.size = (uint64_t)st.st_size;
		if (ledger_sqlite_schema_base(f->path, &card.base, NULL) != RC_OK)
			card.base = 0;
	}
	card.wal_ino = inode_at(f->wal);
	if (memcmp(&card, &old, sizeof(card))) {
		enum rc rc = card_write(f, &card, why);
		if (rc != RC_OK)
			return rc;
	}
	f->last = card;
	f->wal_ino = card.wal_ino;
	f->stamp = card.stamp;
	snprintf(f->identity, sizeof(f->identity), "%" PRIu64 ":%" PRIu64 ":%" PRIu64, card.dev,
		 card.ino, card.stamp);
	return RC_OK;
}

enum rc ledger_sqlite_file_install(struct ledger_sqlite_file *f, const char *made, struct why *why)
{
	struct stat st;
	if (!stat(f->path, &st))
		return rc_fail(RC_EXISTS, why, "there is a ledger '%s' already", f->path);
	enum rc rc = drop(f, f->wal, why);
	if (rc != RC_OK)
		return rc;
	if (link(made, f->path))
		return rc_fail(errno == EEXIST ? RC_EXISTS : RC_TEMPORARY, why,
			       "can't make '%s': %s", f->path, strerror(errno));

	const char *slash = strrchr(f->path, '/');
	_cleanup_(freep) char *folder =
		slash ? join(f->path, (size_t)(slash + 1 - f->path), "") : join(".", 1, "");
	_cleanup_(closep) int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd < 0 || fsync(fd))
		return rc_fail(RC_TEMPORARY, why, "can't sync the directory of '%s': %s", f->path,
			       strerror(errno));
	return RC_OK;
}

enum ledger_sqlite_file_is ledger_sqlite_file_check(struct ledger_sqlite_file *f,
						    uint64_t *highest_r)
{
	struct stat st, here;
	struct ledger_sqlite_card card;
	*highest_r = 0;
	if (stat(f->path, &st))
		return errno == ENOENT || errno == ENOTDIR ? FILE_GONE : FILE_SAME;
	if ((uint64_t)st.st_ino != f->ino || (uint64_t)st.st_dev != f->dev ||
	    inode_at(f->wal) != f->wal_ino || fstat(f->fd, &here) || !here.st_nlink ||
	    !card_read(f, &card) || card.stamp != f->stamp)
		return FILE_CHANGED;
	*highest_r = card.commits;
	if (card.mtime_ns == mtime_ns(&st) && card.size == (uint64_t)st.st_size)
		return FILE_SAME;
	if (!ledger_sqlite_file_lock(f, false))
		return FILE_SAME;	/* a checkpoint, or somebody opens it: seen next time */

	enum ledger_sqlite_file_is is = FILE_CHANGED;
	if (!stat(f->path, &st) && card_read(f, &card)) {
		if (card.mtime_ns == mtime_ns(&st) && card.size == (uint64_t)st.st_size) {
			is = FILE_SAME;
		} else if (card.checkpointing) {
			card.mtime_ns = mtime_ns(&st);
			card.size = (uint64_t)st.st_size;
			if (card_write(f, &card, NULL) == RC_OK) {
				f->interrupted = true;
				is = FILE_SAME;
			}
		}
	}
	ledger_sqlite_file_unlock(f);
	return is;
}

void ledger_sqlite_file_saw(struct ledger_sqlite_file *f, uint64_t commits)
{
	/*
	 * a hint, raised by each writer after its commit: what is lost of it is noticed a little
	 * later
	 */
	ssize_t written = pwrite(f->fd, &commits, sizeof(commits),
				 offsetof(struct ledger_sqlite_card, commits));
	(void)written;
}

enum rc ledger_sqlite_file_checkpoint_begin(struct ledger_sqlite_file *f, struct why *why)
{
	struct stat st;
	struct ledger_sqlite_card card;
	if (stat(f->path, &st) || (uint64_t)st.st_ino != f->ino || (uint64_t)st.st_dev != f->dev ||
	    inode_at(f->wal) != f->wal_ino || !card_read(f, &card) || card.stamp != f->stamp ||
	    (!card.checkpointing &&
	     (card.mtime_ns != mtime_ns(&st) || card.size != (uint64_t)st.st_size)))
		return rc_fail(RC_TEMPORARY, why, "the ledger '%s' was replaced", f->path);
	card.checkpointing = 1;
	return card_write(f, &card, why);
}

void ledger_sqlite_file_checkpoint_end(struct ledger_sqlite_file *f)
{
	struct stat st;
	struct ledger_sqlite_card card;
	if (stat(f->path, &st) || (uint64_t)st.st_ino != f->ino || (uint64_t)st.st_dev != f->dev ||
	    !card_read(f, &card))
		return;
	card.mtime_ns = mtime_ns(&st);
	card.size = (uint64_t)st.st_size;
	if (ledger_sqlite_schema_base(f->path, &card.base, NULL) != RC_OK)
		card.base = 0;
	card.checkpointing = 0;
	f->last = card;
	if (card_write(f, &card, NULL) == RC_OK)
		f->interrupted = false;
}
