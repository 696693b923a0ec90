/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes of small files that were given back: the file itself may have other ones by now.
 * All of a tree's lie in one nameless file, which is made when it is needed.
 */
#include "config.h"

#include <errno.h>

#include "tree.h"

void tree_store_init(struct tree_store *store)
{
	pthread_mutex_init(&store->lock, NULL);
	store->fd = -1;
}

void tree_store_close(struct tree_store *store)
{
	close_fd(&store->fd);
	pthread_mutex_destroy(&store->lock);
}

static int open_it(struct tree_store *store, const char *tmpdir)
{
	struct private_file_request request = {.dirfd = -1, .tmpdir = tmpdir};

	return store->fd >= 0 ? 0 : private_file_create(&request, &store->fd);
}

int tree_store_put(struct tree_store *store, const char *tmpdir, const void *bytes, size_t n, uint64_t *ret_at)
{
	uint64_t at = 0;
	int rc;

	pthread_mutex_lock(&store->lock);
	rc = open_it(store, tmpdir);
	if (!rc) {
		at = store->end;
		store->end += n;
	}
	pthread_mutex_unlock(&store->lock);
	if (!rc)
		rc = sys_pwrite_full(store->fd, bytes, n, at);
	if (!rc)
		*ret_at = at;
	return rc;
}

int tree_store_get(struct tree_store *store, void *bytes, size_t n, uint64_t at)
{
	size_t got;
	int rc = sys_pread_full(store->fd, bytes, n, at, &got);

	return rc ? rc : got == n ? 0 : -EIO;
}
