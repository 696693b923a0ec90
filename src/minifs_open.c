/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening, making and checking images. How the file under one is held: minifs_host.c. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "minifs_image.h"
#include "snapmap/map.h"
#include "snapmap/map_mut.h"
#include "sys.h"
#include <minifs.h>

#define PLAIN_BYTES ((uint64_t)256 << 10)

/* Those who only look must not keep those who change something waiting for ever. No thread takes it twice. */
static int init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;
	int rc = pthread_rwlockattr_init(&attr);

	if (rc)
		return rc;
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	rc = pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return rc;
}

static int new_handle(const char *path, struct minifs **ret)
{
	size_t n = strlen(path) + 1;
	struct minifs *fs = (struct minifs *)calloc(1, sizeof(*fs) + n);

	if (!fs || init_lock(&fs->lock)) {
		free(fs);
		return error_set(-ENOMEM, "open", NULL);
	}
	memcpy(fs->path, path, n);
	fs->store.ops = &host_ops;
	fs->lock_fd = -1;
	pthread_mutex_init(&fs->holds, NULL);
	fs->owner = (struct mfs_owner){sys_geteuid(), sys_getegid()};
	atomic_init(&fs->users, 1);
	*ret = fs;
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
	rc = request->writable ? host_open(fs) : open_to_read(fs);
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
	return host_open(fs);
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
		rc = host_ops.sync(&fs->store);
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
	/* What is repaired is better than before also if something is left. */
	if (check.repaired) {
		int synced = mfs_sync(&fs->fs);

		rc = synced ? synced : rc;
	}
	if (ret && (!rc || rc == -EUCLEAN))
		*ret = (struct minifs_check_result){.found = check.found, .repaired = check.repaired};
	minifs_close(fs);
	return rc;
}
