/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap_tree: see include/snapmap/tree.h, and tree.h for its parts. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lease.h"
#include "overlay.h"
#include "retire.h"
#include "tree.h"

/* ---- making it ---- */

static void free_listing(struct tree_listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		tree_node_free(l->entries[i].node);
	free(l);
}

/* In a child of fork() the memory is not there, and its addresses may be in use for something else. */
static void free_tree(struct snapmap_tree *t)
{
	bool child = fork_depth() != t->depth;
	struct tree_listing *l;
	struct tree_arena *a;

	while ((a = t->arenas)) {
		t->arenas = a->next;
		pager_remove(&a->area, child);
		if (!child)
			sys_unmap(a->area.base, a->area.pages * sys_page_size());
		free(a->spans);
		free(a);
	}
	while ((l = t->listings)) {
		t->listings = l->next;
		free_listing(l);
	}
	if (t->watched && !child)
		lease_watch_leave();
	close_fd(&t->fd);
	if (t->image.fd >= 0)
		tree_image_close(&t->image, child);
	tree_store_close(&t->store);
	for (size_t i = 0; i < TREE_LOCKS; i++)
		pthread_mutex_destroy(&t->locks[i]);
	pthread_rwlock_destroy(&t->lock);
	free(t->tmpdir);
	free(t->path);
	free(t);
}

static struct snapmap_tree *create(const char *path, const struct options *o)
{
	struct snapmap_tree *t = (struct snapmap_tree *)calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->fd = t->image.fd = -1;
	for (size_t i = 0; i < TREE_LOCKS; i++)
		pthread_mutex_init(&t->locks[i], NULL);
	pthread_rwlock_init(&t->lock, NULL);
	tree_store_init(&t->store);
	t->options = *o;
	t->cross = o->flags & SNAPMAP_CROSS_MOUNTS;
	t->depth = fork_depth();
	t->euid = sys_geteuid();
	t->path = strdup(path);
	t->tmpdir = o->tmpdir ? strdup(o->tmpdir) : NULL;
	t->options.tmpdir = t->tmpdir;
	if (t->path && (!o->tmpdir || t->tmpdir))
		return t;
	free_tree(t);
	return NULL;
}

static int open_dir(struct snapmap_tree *t)
{
	int follow = t->options.flags & SNAPMAP_NOFOLLOW ? O_NOFOLLOW : 0;

	t->fd = sys_openat(AT_FDCWD, t->path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | follow, 0);
	return t->fd < 0 ? error_set(t->fd, "open", NULL) : 0;
}

/* Has the tree be one instant, if that can be had, or must be. */
static int freeze(struct snapmap_tree *t)
{
	uint32_t wanted = t->options.source;
	bool strict = t->options.flags & SNAPMAP_STRICT;
	int rc;

	t->never_written = !t->cross && (fs_traits_of(t->fd)->flags & FS_NEVER_WRITTEN);
	if (t->never_written && wanted != SNAPMAP_SOURCE_SUBVOLUME)
		return 0;
	if (wanted != SNAPMAP_SOURCE_SUBVOLUME && (wanted || t->cross))
		return strict ? error_set(-EBUSY, "open", "it is one instant only by the source subvolume") : 0;
	rc = tree_image_open(t->fd, wanted == SNAPMAP_SOURCE_SUBVOLUME, &t->image);
	if (!rc) {
		sys_close(t->fd);
		t->fd = sys_dup(t->image.fd);
		return t->fd < 0 ? error_set(t->fd, "open", NULL) : 0;
	}
	if (wanted)
		return rc;
	error_copy_tried(t->tried, sizeof(t->tried));
	return strict ? error_set(-EBUSY, "open", "no snapshot of the whole can be made; leave the strict flag out")
		      : 0;
}

static int make_root(struct snapmap_tree *t)
{
	struct tree_listing *l;
	struct sys_entry e;
	int rc = sys_look(t->fd, "", &e);

	if (rc)
		return error_set(rc, "stat", NULL);
	l = tree_listing_create(t, 1, 0, 1);
	if (!l)
		return error_set(-ENOMEM, "open", NULL);
	l->files[0] = (struct snapmap_file){
		.name = t->path,
		.mode = e.mode,
		.uid = e.uid,
		.gid = e.gid,
		.mtime = e.mtime,
		.dir = (const struct snapmap_dir *)(const void *)tree_address(l, l->first),
		.dev = e.dev,
		.ino = e.ino,
		.links = e.links,
		.flags = e.is_mount ? SNAPMAP_FILE_MOUNT : 0,
	};
	l->entries[0].first = l->first;
	tree_listing_publish(l);
	t->first = l;
	return 0;
}

static int start(struct snapmap_tree *t)
{
	int rc = open_dir(t);

	if (!rc)
		rc = freeze(t);
	if (rc)
		return rc;
	rc = tree_arena_add(t, 1);
	if (rc)
		return error_set(rc, "serve page faults of",
				 rc == -EPERM || rc == -ENOSYS
					 ? "it needs userfaultfd(2): Linux 5.11, or CAP_SYS_PTRACE"
					 : NULL);
	t->watched = !t->never_written && t->image.fd < 0 && !lease_watch_stay();
	return make_root(t);
}

int snapmap_tree_open(const char *path, const struct snapmap_options *options, struct snapmap_tree **ret)
{
	struct snapmap_tree *t;
	struct options o;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path || !ret)
		return error_set(-EINVAL, "open", "path and result must not be NULL");
	rc = options_read_tree(options, &o);
	if (rc)
		return rc;
	t = create(path, &o);
	if (!t)
		return error_set(-ENOMEM, "open", NULL);
	rc = start(t);
	if (rc)
		free_tree(t);
	else
		*ret = t;
	return rc;
}

const struct snapmap_file *snapmap_tree_root(const struct snapmap_tree *t)
{
	return &t->first->files[0];
}

/* ---- the rest ---- */

/* Where the entry is; NULL if it is none of the tree. */
static struct tree_listing *listing_of(struct snapmap_tree *t, const struct snapmap_file *file, size_t *ret_entry)
{
	struct tree_listing *l;

	pthread_rwlock_rdlock(&t->lock);
	for (l = t->listings; l && (size_t)(file - l->files) >= l->n; l = l->next)
		;
	pthread_rwlock_unlock(&t->lock);
	if (l)
		*ret_entry = (size_t)(file - l->files);
	return l;
}

static int pin(struct tree_listing *l, size_t i)
{
	struct tree_node *node;

	tree_lock_entry(l, i);
	node = tree_node_of(l, i);
	if (node)
		node->pinned = true;
	tree_unlock_entry(l, i);
	return node ? 0 : -ENOMEM;
}

/* The listing of what @file is in is behind its parent's page. */
static struct tree_listing *find_file(struct snapmap_tree *t, const struct snapmap_file *file, size_t *ret_entry)
{
	const struct tree_dir *d;

	if (!file->parent)
		return listing_of(t, file, ret_entry);
	d = (const struct tree_dir *)(const void *)file->parent->dir;
	*ret_entry = (size_t)(file - d->listing->files);
	return (struct tree_listing *)(uintptr_t)d->listing;
}

int snapmap_tree_touch(struct snapmap_tree *t, const struct snapmap_file *file)
{
	struct tree_listing *l;
	size_t i, pages;
	int rc;

	error_begin(file ? file->name : "(null)");
	if (!t || !file)
		return error_set(-EINVAL, "read", "tree and file must not be NULL");
	if (fork_depth() != t->depth)
		return error_set(-ESTALE, "read", "the tree is that of the parent: a child of fork() makes its own");
	l = find_file(t, file, &i);
	if (!l || l->tree != t)
		return error_set(-EINVAL, "read", "the file is not one of this tree");
	rc = pin(l, i);
	if (rc)
		return error_set(rc, "read", NULL);
	pages = tree_pages(l, i);
	if (pages)
		pager_load(&l->arena->area, l->entries[i].first, pages);
	rc = __atomic_load_n(&file->error, __ATOMIC_SEQ_CST);
	return rc ? error_set(rc, "read", NULL) : 0;
}

int snapmap_tree_get_info(const struct snapmap_tree *t, struct snapmap_tree_info *ret)
{
	struct snapmap_tree_info info = {0};
	uint64_t page = sys_page_size();
	bool whole;

	error_begin(t ? t->path : "(null)");
	if (!t || !ret)
		return error_set(-EINVAL, "describe", "tree and result must not be NULL");
	whole = t->image.fd >= 0 || t->never_written;
	info.source = t->image.fd >= 0 ? SNAPMAP_SOURCE_SUBVOLUME : t->options.source;
	info.dirs = atomic_load(&t->dirs);
	info.entries = atomic_load(&t->nentries);
	info.files = atomic_load(&t->nfiles);
	info.fuzzy = atomic_load(&t->nfuzzy);
	info.consistency = whole	? SNAPMAP_CONSISTENCY_POINT_IN_TIME
			   : info.fuzzy ? SNAPMAP_CONSISTENCY_FUZZY
					: SNAPMAP_CONSISTENCY_EACH_FILE;
	pthread_rwlock_rdlock((pthread_rwlock_t *)(uintptr_t)&t->lock);
	for (struct tree_arena *a = t->arenas; a; a = a->next) {
		uint64_t in = atomic_load(&a->area.pages_in), back = atomic_load(&a->area.pages_back);

		info.user_only = a->area.user_only;
		info.bytes_resident += (in > back ? in - back : 0) * page;
		info.bytes_given_back += back * page;
		info.faults += atomic_load(&a->area.faults);
	}
	pthread_rwlock_unlock((pthread_rwlock_t *)(uintptr_t)&t->lock);
	/* A page of each directory is no contents. */
	info.bytes_resident -= info.bytes_resident < info.dirs * page ? info.bytes_resident : info.dirs * page;
	memcpy(info.tried, t->tried, sizeof(info.tried));
	*ret = info;
	return 0;
}

void snapmap_tree_close(struct snapmap_tree *t)
{
	if (!t)
		return;
	free_tree(t);
	retire_reap();
}
