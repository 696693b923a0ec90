/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of an open image: entering it, leaving it, making its changes the file. What
 * a transaction is, and that a failed one leaves nothing, is the matter of
 * backends/minifs/.
 */
#include "config.h"

#include "minifs_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "snapmap/map.h"
#include "snapmap/map_mut.h"
#include "sys.h"
#include <minifs.h>

int image_enter(struct minifs *fs, const void *argument)
{
	if (!fs || !argument)
		return -EINVAL;
	pthread_rwlock_rdlock(&fs->lock);
	return 0;
}

int image_enter_change(struct minifs *fs, const void *argument)
{
	if (!fs || !argument)
		return -EINVAL;
	if (!fs->store.writable)
		return -EROFS;
	pthread_rwlock_wrlock(&fs->lock);
	return 0;
}

void image_leave(struct minifs *fs)
{
	pthread_rwlock_unlock(&fs->lock);
}

ssize_t image_leave_change(struct minifs *fs, ssize_t rc)
{
	int failed = mfs_end(&fs->fs, rc < 0 ? (int)rc : 0);

	pthread_rwlock_unlock(&fs->lock);
	return failed ? failed : rc;
}

static const char *advice_for(int rc)
{
	switch (-rc) {
	case EUCLEAN:
		return "the image is damaged: fsck.minifs tells how, and repairs it";
	case ENOSPC:
		return "the image is full";
	case EROFS:
		return "the image was opened for reading";
	case EFBIG:
		return "files of this image cannot be that large";
	case ELOOP:
		return "there are too many symbolic links on the way";
	case EACCES:
		return "the image may not be written";
	default:
		return NULL;
	}
}

/* @path: in the image; may be NULL. */
int image_fail(const struct minifs *fs, int rc, const char *what, const char *path)
{
	char subject[600];

	snprintf(subject, sizeof(subject), "%.300s%s%.280s", fs ? fs->path : "(null)", path ? ":" : "",
		 path ? path : "");
	error_begin(subject);
	return error_set(rc, what, rc == -EINVAL && !fs ? "the image must not be NULL" : advice_for(rc));
}

int minifs_sync(struct minifs *fs)
{
	int rc = image_enter_change(fs, fs);

	if (rc)
		return image_fail(fs, rc, "sync", NULL);
	/* Where the file has another inode after a commit the lock has to follow. */
	rc = fs->lock_fd < 0 ? host_lock_again(fs) : 0;
	if (!rc)
		rc = mfs_sync(&fs->fs);
	if (!rc)
		host_lock_again(fs);
	pthread_rwlock_unlock(&fs->lock);
	return rc;
}

void image_keep(struct minifs *fs)
{
	atomic_fetch_add(&fs->users, 1);
}

void image_let_go(struct minifs *fs)
{
	if (atomic_fetch_sub(&fs->users, 1) > 1)
		return;
	mfs_close(&fs->fs);
	snapmap_close(fs->map);
	snapmap_mut_close(fs->mut);
	sys_close(fs->lock_fd);
	pthread_mutex_destroy(&fs->holds);
	pthread_rwlock_destroy(&fs->lock);
	free(fs->real_path);
	free(fs);
}

void minifs_close(struct minifs *fs)
{
	if (!fs)
		return;
	atomic_store(&fs->closed, true);
	image_let_go(fs);
}

int minifs_statfs(struct minifs *fs, struct minifs_space *ret)
{
	const struct disk_super *super;
	uint64_t free_blocks, pinned;
	int rc = image_enter(fs, ret);

	if (rc)
		return image_fail(fs, rc, "look at", NULL);
	super = mfs_super(&fs->fs);
	free_blocks = get64(super->free_blocks);
	pinned = mfs_blocks_pinned_free(&fs->fs);
	*ret = (struct minifs_space){
		.block_size = MFS_BLOCK,
		.blocks = fs->fs.geo.data_blocks,
		.free_blocks = free_blocks > pinned ? free_blocks - pinned : 0,
		.inodes = fs->fs.geo.inodes - MFS_ROOT,
		.free_inodes = get32(super->free_inodes),
		.size_max = mfs_size_max(&fs->fs),
	};
	memcpy(ret->uuid, super->uuid, sizeof(ret->uuid));
	memcpy(ret->label, super->label, sizeof(super->label));
	image_leave(fs);
	return 0;
}
