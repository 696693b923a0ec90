/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work file of a handle with SNAPMAP_SPILL: a nameless file on a disk, mapped
 * shared, so that the kernel writes stored pages to it when memory runs short.
 *
 * Nobody else can reach it, as it has no name. A child of fork() is the exception:
 * it would inherit a mapping through which each side sees the stores of the other.
 * So the addresses are not inherited, also not by a child that was made unnoticed;
 * they are mapped so that no fork can come in between. In a noticed child they are
 * taken by nothing at all, so that a touch is a fault and never hits what was mapped
 * there since, and its copy of the handle is of no use.
 *
 * Copies for such a handle are paced. A control group of version 1 makes nobody wait who
 * dirties pages of files faster than storage takes them: its OOM killer comes when all of
 * its memory is being written and the file system needs some more.
 */
#include "config.h"

#include "spill.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base.h"
#include "sys.h"

#define NOTHING (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* --- all work files, for fork() */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct spill *all;

static void enter(struct spill *spill)
{
	pthread_mutex_lock(&lock);
	spill->next = all;
	all = spill;
	pthread_mutex_unlock(&lock);
}

static void leave(struct spill *spill)
{
	pthread_mutex_lock(&lock);
	for (struct spill **p = &all; *p; p = &(*p)->next)
		if (*p == spill) {
			*p = spill->next;
			break;
		}
	pthread_mutex_unlock(&lock);
}

void spill_moved(struct spill *spill, const struct mapping *to)
{
	pthread_mutex_lock(&lock);
	spill->mapping = *to;
	pthread_mutex_unlock(&lock);
}

void spill_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

void spill_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

/* What somebody has mapped there already, or was inherited nevertheless, is not ours to touch. */
static void disown(struct spill *spill)
{
	void *p;

	spill->foreign = true;
	close_fd(&spill->fd);
	close_fd(&spill->home);
	if (!spill->mapping.base)
		return;
	if (sys_map(spill->mapping.base, spill->mapping.span, PROT_NONE, NOTHING | MAP_FIXED_NOREPLACE, -1, 0, &p))
		spill->mapping = (struct mapping){0};
}

void spill_after_fork_in_child(void)
{
	for (struct spill *spill = all; spill; spill = spill->next)
		if (!spill->foreign)
			disown(spill);
	pthread_mutex_unlock(&lock);
}

bool spill_is_foreign(const struct spill *spill)
{
	return spill && spill->foreign;
}

/* --- where */

/* What lies below an overlay shows in its answer to FIEMAP. */
static bool on_disk(int fd)
{
	unsigned flags = fs_traits_of(fd)->flags;
	uint64_t extents;

	if (flags & FS_IN_MEMORY)
		return false;
	return !(flags & FS_LAYERED) || !sys_count_extents(fd, &extents);
}

/* Some network and FUSE file systems have no shared mappings to store into. */
static int try_mapping(int fd)
{
	size_t page = sys_page_size();
	void *p;
	int rc = sys_ftruncate(fd, page);

	if (!rc)
		rc = sys_map(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &p);
	if (!rc)
		sys_unmap(p, page);
	return rc;
}

static int try_home(int dirfd, const struct stat *near)
{
	struct private_file_request request = {.dirfd = dirfd, .local_only = true};
	cleanup_fd int fd = -1;
	struct stat st;
	int rc = private_file_create(&request, &fd);

	if (!rc)
		rc = sys_fstat(fd, &st);
	if (!rc && near && st.st_dev != near->st_dev)
		rc = -EXDEV;
	if (!rc && !on_disk(fd))
		rc = -EOPNOTSUPP;
	return rc ? rc : try_mapping(fd);
}

static bool is_final(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EFBIG;
}

static int find_place(const char *tmpdir, const struct stat *near, int *ret_home)
{
	int rc = -ENOENT;

	for (unsigned i = 0; i < PRIVATE_FILE_PLACES && !is_final(rc); i++) {
		const char *dir = private_file_place(tmpdir, i);
		cleanup_fd int fd = -1;

		if (!dir || !dir[0])
			continue;
		rc = fd = sys_openat(AT_FDCWD, dir, O_PATH | O_DIRECTORY, 0);
		if (fd >= 0)
			rc = try_home(fd, near);
		if (!rc) {
			*ret_home = steal_fd(&fd);
			return 0;
		}
	}
	return rc;
}

static const char needs_disk[] = "SNAPMAP_SPILL needs a directory on a disk for its work files, with room for the "
				 "file twice where extents cannot be shared: name one with options.tmpdir";

int spill_find_home(int dirfd, const char *tmpdir, const struct stat *near, struct spill_home *ret)
{
	struct spill_home home = {.fd = -1, .beside = true};
	int rc = dirfd >= 0 ? try_home(dirfd, NULL) : -ENOENT;

	if (!rc) {
		home.fd = sys_openat(dirfd, ".", O_PATH | O_DIRECTORY, 0);
		rc = home.fd < 0 ? home.fd : 0;
	}
	home.beside = !rc;
	if (rc && !is_final(rc))
		rc = find_place(tmpdir, near, &home.fd);
	if (rc && !is_final(rc))
		rc = find_place(tmpdir, NULL, &home.fd);
	if (rc && is_final(rc))
		return error_set(rc, "make a work file for", NULL);
	if (rc)
		return error_set(-EOPNOTSUPP, "make a work file for", needs_disk);
	*ret = home;
	return 0;
}

/* --- the file */

/* The image had all of the progress; but a second copy can be stopped too. */
struct second {
	const struct options *options;
	uint64_t total;
};

static int still_done(void *arg, uint64_t done, uint64_t total)
{
	const struct second *s = (const struct second *)arg;
	const struct options *o = s->options;

	(void)done;
	(void)total;
	return o->progress ? o->progress(o->progress_arg, s->total, s->total) : 0;
}

static int fill(struct spill *spill, struct image *image, const struct options *options)
{
	struct second second = {.options = options, .total = image->size};
	struct sparse_copy copy = {
		.from = image->fd,
		.to = spill->fd,
		.seekable = true,
		.zeros_are_holes = true,
		.paced = true,
		.progress = still_done,
		.progress_arg = &second,
	};
	uint64_t size, written;
	int rc;

	if (!image->size)
		return 0;
	spill->shares = !sys_clone(image->fd, spill->fd);
	if (spill->shares)
		return 0;
	/* A clone that failed halfway has left something. */
	rc = sys_ftruncate(spill->fd, 0);
	if (!rc)
		rc = sparse_copy_file(&copy, image->size, &size, &written);
	if (!rc && size < image->size)
		rc = -EIO;
	if (!rc)
		image->bytes_copied += written;
	return rc;
}

static int make(struct image *image, const struct options *options, struct spill *spill)
{
	struct private_file_request request = {.dirfd = spill->home, .local_only = true};
	int rc;

	if (!on_disk(image->fd))
		return error_set(-ENOSPC, "make a work file for", needs_disk);
	rc = private_file_create(&request, &spill->fd);
	if (!rc) {
		private_file_prepare(image->fd, spill->fd);
		rc = fill(spill, image, options);
	}
	if (rc == -ECANCELED)
		return error_set(rc, "copy", "the progress function asked to stop");
	return rc ? error_set(rc, "make a work file for", rc == -ENOSPC ? needs_disk : NULL) : 0;
}

static void free_spill(struct spill *spill)
{
	close_fd(&spill->fd);
	close_fd(&spill->home);
	free(spill);
}

int spill_open(struct image *image, struct spill_home *home, const struct options *options, struct spill **ret)
{
	struct spill *spill = (struct spill *)calloc(1, sizeof(*spill));
	int rc;

	if (!spill) {
		close_fd(&home->fd);
		return error_set(-ENOMEM, "open", NULL);
	}
	spill->fd = -1;
	spill->beside = home->beside;
	spill->home = steal_fd(&home->fd);
	image->linkable = image->linkable && spill->beside;
	rc = make(image, options, spill);
	if (rc) {
		free_spill(spill);
		return rc;
	}
	enter(spill);
	*ret = spill;
	return 0;
}

void spill_close(struct spill *spill, struct mapping *mapping)
{
	leave(spill);
	/* In a child the addresses are ours only if they could be taken. */
	if (spill->foreign)
		*mapping = spill->mapping;
	mapping_close(mapping);
	free_spill(spill);
}

/* First out of reach, then not inherited, then of use: whenever a fork comes, the child gets nothing. */
static int map_work(int fd, void *at, size_t length, size_t offset, void **ret)
{
	void *p;
	int rc = sys_map(at, length, PROT_NONE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, offset, &p);

	if (rc)
		return rc;
	rc = sys_not_inherited(p, length);
	if (!rc)
		rc = sys_protect(p, length, PROT_READ | PROT_WRITE);
	if (rc && !at)
		sys_unmap(p, length);
	if (!rc)
		*ret = p;
	return rc;
}

int spill_put(const struct spill *spill, const struct mapping *to, size_t offset, size_t length)
{
	void *p;

	if (!length)
		return 0;
	/* What lies between the parts too, so that a child finds all of it free. */
	sys_not_inherited(to->base, to->span);
	return map_work(spill->fd, to->base + offset, length, offset, &p);
}

/* Made beside the present mapping and put there in one step: other threads may be reading. */
int spill_exchange(struct spill *spill, const struct mapping *mapping, int fd, size_t length)
{
	void *p;
	int rc = length ? map_work(fd, NULL, length, 0, &p) : 0;

	if (!rc && length) {
		rc = sys_move_mapping(p, length, mapping->base);
		if (rc)
			sys_unmap(p, length);
	}
	if (rc)
		return rc;
	sys_close(spill->fd);
	spill->fd = fd;
	return 0;
}
