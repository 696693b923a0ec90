/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What changes bytes of a file goes through here. */
#include "config.h"

#include "wrapper.h"

/* Mostly nothing has to be kept, and then changes do not wait for one another. */
int change_begin(struct file *file, uint64_t start, uint64_t end)
{
	int rc;

	pthread_rwlock_rdlock(&file->lock);
	if (!file->history || !history_needs(file, start, end))
		return 0;
	pthread_rwlock_unlock(&file->lock);
	pthread_rwlock_wrlock(&file->lock);
	rc = history_keep(file, start, end);
	if (rc)
		pthread_rwlock_unlock(&file->lock);
	return rc;
}

int change_begin_zeros(struct file *file, uint64_t start, uint64_t end)
{
	int rc;

	pthread_rwlock_wrlock(&file->lock);
	rc = history_keep_data(file, start, end);
	if (rc)
		pthread_rwlock_unlock(&file->lock);
	return rc;
}

void change_end(struct file *file)
{
	pthread_rwlock_unlock(&file->lock);
}

bool change_is_held(struct file *file, fuse_req_t req, uint64_t offset, size_t size, ssize_t answer)
{
	return file->holding && holding_take(file->holding, req, offset, size, answer);
}
