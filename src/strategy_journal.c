/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal: the edits go into a journal beside the file first, and then into the file
 * itself. Costs what was edited, keeps the inode, and with it hard links and every
 * attribute, on any local file system with attributes of users. Whoever reads the file
 * without this library can see a half of it; therefore never chosen automatically.
 *
 * The steps, under the lock of the inode (journal.c):
 *
 *  1. The journal is written, and flushed with its directory.
 *  2. The file is compared with the stamp.
 *  3. The marker says that this journal applies: its generation, and the digest of all
 *     that is in it. The file is flushed, and with it the marker. From here on the commit
 *     is decided.
 *  4. The edits are made. The file is flushed.
 *  5. The marker is at rest again, with the next generation. The file is flushed.
 *  6. The journal is removed.
 *
 * Why every crash leaves one version. Before 3 is on disk no byte of the file was
 * changed, and a marker at rest says so; what is left is a journal that nobody asks for,
 * which the next commit or open for editing finds by its name. From 3 until 5 is on disk
 * the marker tells of the journal, which was on disk before 3 and is not removed before 5
 * is: whatever part of the edits the file has, doing all of them again makes it the new
 * version. After 5 the file has the edits, which were on disk before it. No step relies on
 * the order in which a file system writes what was not flushed. The same holds for
 * SIGKILL, after which there is even the order of the calls; and for a crash while
 * somebody makes up for the first one, who does nothing but 4, 5 and 6.
 *
 * Why readers see one version: see journal_image.c.
 *
 * Why no update is lost: all who write by this library have the temporary name (publish.c)
 * or the lock, or both, and compare the file in between. A writer without it can slip in
 * after the last look, and is overwritten where it wrote to the same places.
 *
 * Why the journal gives nobody anything: it can be read by nobody who could not read the
 * file, and whoever can put something else in its place cannot make it have the digest
 * that is in the marker, which takes the right to write to the file (journal_log.c).
 *
 * If 4 fails for want of space, or by an I/O error, the commit is decided all the same:
 * readers may have seen the new version. It is finished by the next commit of the handle,
 * or the next open by somebody who may write. The call's error says so.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attributes.h"
#include "in_place.h"
#include "journal.h"
#include "snapmap/map_mut.h"
#include "strategy.h"
#include "sys.h"

#define PIECE ((size_t)1 << 20)

/**
 * struct run - a commit by journal on its way
 * @fd: the file, for writing
 * @st: it, before
 * @whole: nothing of its content is taken for granted
 * @all: with @whole, the data of the image
 * @edit: what the journal says
 * @name: of the journal
 * @before: the marker before
 * @marker: and since
 */
struct run {
	struct commit *c;
	int fd;
	struct stat st;
	bool whole;
	struct ranges all;
	struct journal_edit edit;
	char name[JOURNAL_NAME_SIZE];
	struct journal_marker before, marker;
};

static const char working[] = "commit by journal to";

static const struct ranges *ranges_of(const struct run *r)
{
	return r->whole ? &r->all : r->c->edits;
}

/* Those of the image, or in a handle of the file itself those of the edits. */
static struct journal_bytes bytes_of(const struct run *r)
{
	const struct commit *c = r->c;

	return (struct journal_bytes){.fd = c->image ? c->image->fd : -1, .memory = c->overlay->mapping.base};
}

/* ---- what is to be written ---- */

/* All data of the image. */
static int find_data(int fd, uint64_t size, struct ranges *ret)
{
	uint64_t start, stop;
	int rc = 0;

	for (uint64_t at = 0; !rc && at < size; at = stop) {
		sparse_next_data(fd, at, size, &start, &stop);
		if (start < stop)
			rc = ranges_append(ret, start, stop - start);
	}
	return rc;
}

static int plan(struct run *r)
{
	const struct commit *c = r->c;
	int rc = sys_fstat(r->fd, &r->st);

	if (!rc && r->whole && !r->all.n)
		rc = find_data(c->image->fd, c->image->size, &r->all);
	r->edit = (struct journal_edit){
		.inode = r->st.st_ino,
		.generation = r->before.generation,
		.old_size = (uint64_t)r->st.st_size,
		.cut = r->whole				   ? 0
		       : c->kept < (uint64_t)r->st.st_size ? c->kept
							   : JOURNAL_NO_CUT,
		.size = c->size,
	};
	return rc ? error_set(rc, "look at", NULL) : 0;
}

/* ---- the journal ---- */

/*
 * Whoever can read the journal can read the file: the classes of users that have the
 * right for both, as far as owner and group could be made the same.
 */
static mode_t mode_of(const struct run *r, int fd)
{
	mode_t both = S_IRGRP | S_IROTH, mode = r->st.st_mode & both;
	struct stat st;
	int rc;

	if (r->st.st_uid != sys_geteuid())
		sys_fchown(fd, r->st.st_uid, (gid_t)-1);
	sys_fchown(fd, (uid_t)-1, r->st.st_gid);
	/* With an access control list classes say little. And the journal may have got one from its directory. */
	rc = sys_xattr_remove(fd, "system.posix_acl_access");
	if ((rc && rc != -ENODATA && rc != -EOPNOTSUPP) || sys_fstat(fd, &st) ||
	    sys_xattr_get(r->c->attributes, "system.posix_acl_access", NULL, 0) > 0)
		return S_IRUSR;
	if (st.st_gid != r->st.st_gid && mode != both)
		mode = 0;
	return S_IRUSR | mode;
}

static int create_journal(const struct run *r, const char *name, int *ret_fd)
{
	int fd = sys_openat(r->c->target->place.dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, S_IRUSR | S_IWUSR);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

/*
 * The name is that of the inode, so that what is left over is found again: by us, who
 * have the lock, now. If somebody else has taken it, one that nobody can foresee serves.
 */
static int name_journal(struct run *r, int *ret_fd)
{
	int dirfd = r->c->target->place.dirfd, rc;

	r->marker.number = r->st.st_ino;
	journal_name(r->marker.number, r->name);
	rc = create_journal(r, r->name, ret_fd);
	if (rc != -EEXIST)
		return rc;
	if (!sys_unlink(dirfd, r->name))
		rc = create_journal(r, r->name, ret_fd);
	if (rc != -EEXIST)
		return rc;
	rc = sys_random(&r->marker.number);
	if (rc)
		return rc;
	journal_name(r->marker.number, r->name);
	return create_journal(r, r->name, ret_fd);
}

static void drop_journal(const struct run *r)
{
	sys_unlink(r->c->target->place.dirfd, r->name);
}

static int fill_journal(struct run *r, int fd, int directory)
{
	const struct journal_bytes from = bytes_of(r);
	int rc = journal_log_write(fd, &r->edit, &from, ranges_of(r), r->marker.digest);

	if (!rc)
		rc = sys_fchmod(fd, mode_of(r, fd));
	if (!rc)
		rc = sys_fsync(fd);
	return rc ? rc : publish_flush(directory, fd);
}

/* Step 1. */
static int write_journal(struct run *r)
{
	const struct place *place = &r->c->target->place;
	cleanup_fd int fd = -1, directory = -1;
	int rc = publish_open_directory(place, &directory);

	r->marker =
		(struct journal_marker){.applying = true, .generation = r->before.generation, .inode = r->st.st_ino};
	/* Only a help: the file may be moved. */
	if (sys_fd_path(place->dirfd, r->marker.directory, sizeof(r->marker.directory) - 1))
		r->marker.directory[0] = 0;
	if (!rc)
		rc = name_journal(r, &fd);
	if (rc)
		return error_set(rc, "make a journal beside",
				 rc == -EACCES || rc == -EPERM
					 ? "a journal needs write permission for the directory of the file"
					 : NULL);
	rc = fill_journal(r, fd, directory);
	if (rc) {
		drop_journal(r);
		return error_set(rc, "write the journal of", NULL);
	}
	return 0;
}

/* ---- the marker ---- */

/* The file did not change but for its ctime, which is none of others' doing. */
static void stamp_again(const struct run *r)
{
	struct target *t = r->c->target;

	if (!(r->c->flags & SNAPMAP_COMMIT_FORCE) && stamp_take(t->fd, t->fs, true, &t->stamp))
		stamp_spoil(&t->stamp);
}

/* The journal has to stay if the marker may be on disk. */
static void take_back(const struct run *r)
{
	int rc = r->before.inode ? journal_marker_set(r->fd, &r->before) : sys_xattr_remove(r->fd, JOURNAL_ATTRIBUTE);

	if (!rc)
		rc = sys_fsync(r->fd);
	if (!rc)
		drop_journal(r);
	stamp_again(r);
}

/* Step 3. */
static int decide(struct run *r)
{
	int rc = journal_marker_set(r->fd, &r->marker);
	uint64_t marked_at;

	/* There may be little room for attributes. */
	if (rc && r->marker.directory[0]) {
		r->marker.directory[0] = 0;
		rc = journal_marker_set(r->fd, &r->marker);
	}
	if (rc) {
		drop_journal(r);
		return error_set(rc, "mark",
				 rc == -EOPNOTSUPP || rc == -EPERM
					 ? "a journal needs a file system with attributes of users"
					 : NULL);
	}
	marked_at = sys_now_ns();
	rc = sys_fsync(r->fd);
	if (!rc) {
		journal_grace(marked_at);
		return 0;
	}
	take_back(r);
	return error_set(rc, "flush", NULL);
}

/* ---- the edits ---- */

static int copy_range(const struct run *r, const struct snapmap_range *range, char *buffer)
{
	const struct journal_bytes from = bytes_of(r);
	int rc = 0;

	for (uint64_t done = 0; !rc && done < range->length;) {
		size_t n = range->length - done < PIECE ? (size_t)(range->length - done) : PIECE, got = 0;

		rc = journal_bytes_read(&from, buffer, n, range->offset + done, &got);
		if (!rc && got != n)
			rc = -EIO;
		if (!rc)
			rc = sys_pwrite_full(r->fd, buffer, n, range->offset + done);
		done += n;
	}
	return rc;
}

/* Step 4, as journal_log_apply() does it. */
static int edit_file(const struct run *r)
{
	const struct ranges *ranges = ranges_of(r);
	char *buffer = (char *)malloc(PIECE);
	int rc = buffer ? 0 : -ENOMEM;

	if (!rc && r->edit.cut != JOURNAL_NO_CUT)
		rc = sys_ftruncate(r->fd, r->edit.cut);
	if (!rc && (r->edit.cut != JOURNAL_NO_CUT || r->edit.size != r->edit.old_size))
		rc = sys_ftruncate(r->fd, r->edit.size);
	for (size_t i = 0; !rc && i < ranges->n; i++)
		rc = copy_range(r, &ranges->v[i], buffer);
	free(buffer);
	return rc ? rc : sys_fsync(r->fd);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The marker moves ctime only: if mtime has moved too since the edits, it was somebody else. */
static void take_stamp(struct run *r, const struct timespec *mtime)
{
	struct target *t = r->c->target;

	target_adopt_inode(r->c->target, r->c->attributes, r->c->size);
	if (!same_time(&t->stamp.mtime, mtime))
		stamp_spoil(&t->stamp);
}

/* Steps 4 to 6. There is no way back. */
static int apply(struct run *r)
{
	struct target *t = r->c->target;
	struct stat st = {0};
	int rc;

	r->c->published = true;
	t->unfinished = r->marker;
	rc = edit_file(r);
	if (!rc)
		rc = sys_fstat(r->fd, &st);
	if (rc) {
		target_adopt_inode(r->c->target, r->c->attributes, r->c->size);
		stamp_spoil(&t->stamp);
		return error_set(rc, "apply the journal of",
				 "the commit counts, and readers through this library have it in place; for others "
				 "it is perhaps half done until you commit again, or somebody who may write opens it");
	}
	rc = journal_end(r->fd, &r->marker);
	if (!rc) {
		t->unfinished.applying = false;
		drop_journal(r);
	}
	take_stamp(r, &st.st_mtim);
	return rc ? error_set(-EIO, "flush",
			      "the new content is in place, but the journal is still there until the next commit")
		  : 0;
}

/* ---- all of it ---- */

/* Over a file that is not the one of the snapshot everything is written, if at all. */
static int find_changes(struct run *r)
{
	int changed = 0;

	if ((r->c->flags & SNAPMAP_COMMIT_FORCE) && !r->whole)
		changed = commit_is_changed(r->c);
	r->whole = r->whole || changed > 0;
	return changed < 0 ? error_set(changed, "look at", NULL) : changed;
}

/* Step 2. 1: it takes another journal, of everything. */
static int check(struct run *r)
{
	int rc = commit_check_last(r->c);

	if (!rc)
		rc = find_changes(r);
	if (rc)
		drop_journal(r);
	return rc;
}

static int run_locked(struct run *r)
{
	int rc;

	do {
		rc = find_changes(r);
		if (rc >= 0)
			rc = plan(r);
		if (!rc)
			rc = write_journal(r);
		if (!rc)
			rc = check(r);
	} while (rc == 1);
	if (!rc)
		rc = decide(r);
	return rc ? rc : apply(r);
}

static int run_in_turn(struct commit *c)
{
	struct run r = {.c = c, .fd = -1};
	int rc = in_place_open(c, working, O_WRONLY, &r.fd);

	if (rc)
		return rc;
	rc = journal_lock_at_rest(r.fd, working, &r.before);
	if (!rc)
		rc = run_locked(&r);
	journal_unlock(r.fd);
	ranges_free(&r.all);
	sys_close(r.fd);
	return rc;
}

static int journal_publish(struct commit *c)
{
	int rc = file_size_allowed(c->size);
	struct publication turn;
	const char *why;

	if (rc)
		return error_set(rc, working, NULL);
	if (!c->exists)
		return error_set(-EOPNOTSUPP, working, "there is no file yet to write into");
	rc = journal_works(c->attributes, c->target->place.dirfd, &why);
	if (rc)
		return error_set(rc, working, why);
	if (attributes_are_lost_by_writing(c->attributes))
		return error_set(-EOPNOTSUPP, working, in_place_loses);
	rc = in_place_take_turn(c, working, &turn);
	if (rc)
		return rc;
	rc = run_in_turn(c);
	in_place_end_turn(&turn);
	return rc;
}

static int journal_probe(const struct target *t, const char **ret_why)
{
	struct stat st;
	int rc = in_place_probe(t, &st, ret_why);

	if (!rc)
		rc = journal_works(t->fd, t->place.dirfd, ret_why);
	if (rc)
		return rc;
	*ret_why = "the directory cannot be written";
	return sys_faccessat(t->place.dirfd, ".", W_OK);
}

const struct strategy strategy_journal = {
	.id = SNAPMAP_STRATEGY_JOURNAL,
	.name = "journal",
	.automatic = false,
	.edits_if_exclusive = true,
	.keeps_inode = true,
	.publish = journal_publish,
	.probe = journal_probe,
};
