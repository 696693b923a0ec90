/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening, making and checking images. Who writes has a lock on the file: flock(2),
 * because that needs no right to write, breaks no lease, goes with the open file and not
 * with the process's other descriptors, and is held by nobody else once a commit has
 * ended. A commit may give the name to another inode, so the lock is taken again after
 * each; whoever comes in between finds, or makes, a conflict at the next commit.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base.h"
#include "minifs_image.h"
#include "snapmap/map.h"
#include "snapmap/map_mut.h"
#include "sys.h"
#include <minifs.h>

#define TRIES 16
#define REAL_PATH_SIZE 4096
#define PLAIN_BYTES ((uint64_t)256 << 10)

static const char locked[] = "somebody else has the image open for writing; it is free once they close it";

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return !sys_fstat(fd, &a) && !sys_fstatat(AT_FDCWD, path, 0, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* -EAGAIN: the name went to another file meanwhile. */
static int lock_once(const char *path, int *ret_fd)
{
	cleanup_fd int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	int rc;

	if (fd < 0)
		return error_set(fd, "open", NULL);
	rc = sys_flock(fd, LOCK_EX | LOCK_NB);
	if (rc == -EWOULDBLOCK)
		return error_set(-EBUSY, "lock", locked);
	if (rc)
		return error_set(rc, "lock", "its file system has no flock(2)");
	if (!same_file(fd, path))
		return -EAGAIN;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int lock_image(const char *path, int *ret_fd)
{
	int rc = -EAGAIN;

	for (int i = 0; rc == -EAGAIN && i < TRIES; i++)
		rc = lock_once(path, ret_fd);
	return rc == -EAGAIN ? error_set(-EBUSY, "lock", "it is replaced again and again") : rc;
}

/* After a commit. If somebody was quicker the lock is lost, and the next sync says so. */
int image_lock_again(struct minifs *fs)
{
	int fd, rc;

	if (fs->lock_fd >= 0 && same_file(fs->lock_fd, fs->real_path))
		return 0;
	error_begin(fs->path);
	rc = lock_image(fs->real_path, &fd);
	sys_close(fs->lock_fd);
	fs->lock_fd = rc ? -1 : fd;
	return rc;
}

static int make_room(struct minifs_store *store, uint64_t size)
{
	struct minifs *fs = (struct minifs *)((char *)store - offsetof(struct minifs, store));
	int rc = snapmap_mut_resize(fs->mut, 0);

	if (!rc)
		rc = size <= SIZE_MAX ? snapmap_mut_resize(fs->mut, (size_t)size) : -EFBIG;
	store->base = (uint8_t *)snapmap_mut_data(fs->mut);
	store->size = snapmap_mut_size(fs->mut);
	return rc;
}

static int commit(struct minifs_store *store)
{
	struct minifs *fs = (struct minifs *)((char *)store - offsetof(struct minifs, store));

	return snapmap_mut_commit(fs->mut, NULL);
}

static const struct minifs_store_ops ops = {.make_room = make_room, .sync = commit};

static int new_handle(const char *path, struct minifs **ret)
{
	size_t n = strlen(path) + 1;
	struct minifs *fs = (struct minifs *)calloc(1, sizeof(*fs) + n);

	if (!fs || pthread_rwlock_init(&fs->lock, NULL)) {
		free(fs);
		return error_set(-ENOMEM, "open", NULL);
	}
	memcpy(fs->path, path, n);
	fs->store.ops = &ops;
	fs->lock_fd = -1;
	atomic_init(&fs->users, 1);
	fs->uid = sys_geteuid();
	fs->gid = sys_getegid();
	*ret = fs;
	return 0;
}

static int note_real_path(struct minifs *fs)
{
	int rc;

	fs->real_path = (char *)malloc(REAL_PATH_SIZE);
	rc = fs->real_path ? sys_fd_path(fs->lock_fd, fs->real_path, REAL_PATH_SIZE) : -ENOMEM;
	return rc < 0 ? error_set(rc, "find the name of", NULL) : 0;
}

static int open_to_write(struct minifs *fs)
{
	int rc = lock_image(fs->path, &fs->lock_fd);

	if (!rc)
		rc = note_real_path(fs);
	if (!rc)
		rc = snapmap_mut_open(fs->path, NULL, &fs->mut);
	if (rc)
		return rc;
	error_begin(fs->path);
	if (!same_file(fs->lock_fd, fs->path))
		return error_set(-EBUSY, "lock", "it was replaced just now");
	fs->store.base = (uint8_t *)snapmap_mut_data(fs->mut);
	fs->store.size = snapmap_mut_size(fs->mut);
	fs->store.writable = true;
	return 0;
}

static int open_to_read(struct minifs *fs)
{
	int rc = snapmap_open(fs->path, NULL, &fs->map);

	if (rc)
		return rc;
	/* Nothing is stored into a store that is not writable. */
	fs->store.base = (uint8_t *)(uintptr_t)snapmap_data(fs->map);
	fs->store.size = snapmap_size(fs->map);
	return 0;
}

int image_open_at(const struct image_request *request, struct minifs **ret)
{
	const char *why;
	struct minifs *fs;
	int rc;

	error_begin(request->path ? request->path : "(null)");
	if (!request->path || !ret)
		return error_set(-EINVAL, "open", "path and result must not be NULL");
	rc = new_handle(request->path, &fs);
	if (rc)
		return rc;
	rc = request->writable ? open_to_write(fs) : open_to_read(fs);
	if (!rc) {
		rc = mfs_open(&fs->fs, &fs->store, request->any_crc, &why);
		if (rc)
			error_set(rc, "open", why);
	}
	if (rc) {
		minifs_close(fs);
		return rc;
	}
	*ret = fs;
	return 0;
}

int minifs_open(const char *path, uint32_t flags, struct minifs **ret)
{
	struct image_request request = {.path = path, .writable = !(flags & MINIFS_RDONLY)};

	if (!(flags & ~MINIFS_RDONLY))
		return image_open_at(&request, ret);
	error_begin(path ? path : "(null)");
	return error_set(-EINVAL, "open", "there are unknown flags");
}

static int random_uuid(uint8_t *ret)
{
	uint64_t words[2];
	int rc = sys_random(&words[0]);

	if (!rc)
		rc = sys_random(&words[1]);
	if (rc)
		return error_set(rc, "make a number for", NULL);
	memcpy(ret, words, sizeof(words));
	ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40);
	ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
	return 0;
}

static int read_options(const struct minifs_format_options *o, struct mfs_format *ret)
{
	struct mfs_format format = {.mode = 0755, .uid = sys_geteuid(), .gid = sys_getegid()};

	if (o && o->size != sizeof(*o))
		return error_set(-EINVAL, "format", "options.size must be sizeof(struct minifs_format_options)");
	if (o && (o->flags & ~(MINIFS_FORMAT_FORCE | MINIFS_FORMAT_LARGE)))
		return error_set(-EINVAL, "format", "options.flags has unknown bits");
	if (o && ((o->mode & ~07777u) || (o->label && strlen(o->label) >= sizeof(format.label))))
		return error_set(-EINVAL, "format", "options.mode or options.label cannot be");
	if (o) {
		format.bytes = o->bytes;
		format.inodes = o->inodes;
		format.large = format.index = (o->flags & MINIFS_FORMAT_LARGE) || o->bytes > PLAIN_BYTES;
		format.mode = o->mode ? o->mode : format.mode;
		memcpy(format.label, o->label ? o->label : "", o->label ? strlen(o->label) : 0);
	}
	*ret = format;
	if (!o || !o->uuid)
		return random_uuid(ret->uuid);
	memcpy(ret->uuid, o->uuid, sizeof(ret->uuid));
	return 0;
}

/* The file to be made an image of: a new one, or, with @force, one that exists, locked. */
static int open_target(struct minifs *fs, bool force)
{
	int rc = snapmap_mut_create(fs->path, 0666, NULL, &fs->mut);

	if (rc != -EEXIST || !force)
		return rc;
	rc = lock_image(fs->path, &fs->lock_fd);
	return rc ? rc : snapmap_mut_open(fs->path, NULL, &fs->mut);
}

int minifs_format(const char *path, const struct minifs_format_options *options)
{
	struct mfs_format format;
	struct mfs_geometry geometry;
	const char *why;
	struct minifs *fs;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path)
		return error_set(-EINVAL, "format", "the path must not be NULL");
	rc = read_options(options, &format);
	if (rc)
		return rc;
	rc = mfs_geometry_plan(&format, &geometry, &why);
	if (rc)
		return error_set(rc, "format", why);
	rc = new_handle(path, &fs);
	if (rc)
		return rc;
	rc = open_target(fs, options && (options->flags & MINIFS_FORMAT_FORCE));
	if (!rc) {
		fs->store.writable = true;
		rc = mfs_format(&fs->store, &format, &why);
		if (rc)
			error_set(rc, "format", why);
	}
	if (!rc)
		rc = snapmap_mut_commit(fs->mut, NULL);
	minifs_close(fs);
	return rc;
}

int minifs_check(const char *path, uint32_t flags, void (*report)(void *arg, const char *sentence), void *arg,
		 struct minifs_check_result *ret)
{
	struct mfs_check check = {.repair = flags & MINIFS_CHECK_REPAIR, .report = report, .arg = arg};
	struct image_request request = {.path = path, .writable = check.repair, .any_crc = true};
	struct minifs *fs;
	int rc;

	error_begin(path ? path : "(null)");
	if (flags & ~MINIFS_CHECK_REPAIR)
		return error_set(-EINVAL, "check", "there are unknown flags");
	rc = image_open_at(&request, &fs);
	if (rc)
		return rc;
	rc = mfs_check(&fs->fs, &check);
	if (rc)
		image_fail(fs, rc, check.repair ? "repair" : "check", NULL);
	else if (check.found)
		rc = mfs_sync(&fs->fs);
	if (ret && (!rc || rc == -EUCLEAN))
		*ret = (struct minifs_check_result){.found = check.found, .repaired = rc ? 0 : check.repaired};
	minifs_close(fs);
	return rc;
}
