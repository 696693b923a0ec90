/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a directory: names, what they are, and addresses for what is in them. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

#define EMPTY_SUBVOLUME 2 /* inode number of what a btrfs snapshot has in place of a subvolume */
#define MORE_NAMES 32768

/* ---- what is there ---- */

/**
 * struct found - an entry while the directory is being read
 * @name, @target: where they begin in the names
 * @key: of the name, behind what all names begin with: its order, mostly
 */
struct found {
	struct sys_entry entry;
	int error;
	bool is_mount;
	size_t name, target;
	uint64_t key;
};

struct reading {
	struct found *v;
	size_t n, capacity;
	char *names;
	size_t used, room;
};

static void *grow(void *p, size_t *capacity, size_t wanted, size_t one)
{
	size_t n = *capacity ? *capacity : 64;

	while (n < wanted)
		n *= 2;
	p = n == *capacity ? p : realloc(p, n * one);
	if (p)
		*capacity = n;
	return p;
}

static int make_room(struct reading *r, size_t names)
{
	void *p;

	if (r->used + names > r->room) {
		p = grow(r->names, &r->room, r->used + names, 1);
		if (!p)
			return -ENOMEM;
		r->names = (char *)p;
	}
	if (r->n == r->capacity) {
		p = grow(r->v, &r->capacity, r->n + 1, sizeof(*r->v));
		if (!p)
			return -ENOMEM;
		r->v = (struct found *)p;
	}
	return 0;
}

static size_t add_name(struct reading *r, const char *name, size_t n)
{
	size_t at = r->used;

	memcpy(r->names + at, name, n);
	r->names[at + n] = 0;
	r->used += n + 1;
	return at;
}

/* Who has all rights is told by the touch; others would find a file that looks whole. */
static bool may_read(const struct snapmap_tree *t, int fd, const char *name, const struct sys_entry *e)
{
	const mode_t all = S_IRUSR | S_IRGRP | S_IROTH;

	if (!t->euid || (e->mode & all) == all || (e->uid == t->euid && (e->mode & S_IRUSR)))
		return true;
	return sys_faccessat(fd, name, R_OK) != -EACCES;
}

static int read_link(int fd, struct reading *r, struct found *f, const char *name)
{
	char target[PATH_MAX];
	int rc = sys_readlink(fd, name, target, sizeof(target));
	size_t n;

	if (rc)
		return rc;
	n = strlen(target);
	rc = make_room(r, n + 1);
	if (rc)
		return rc;
	f->target = add_name(r, target, n);
	f->entry.size = n;
	return 0;
}

static bool is_mount(const struct snapmap_tree *t, const struct sys_entry *e, uint64_t dev)
{
	if (e->is_mount || (S_ISDIR(e->mode) && e->dev != dev))
		return true;
	return t->image.fd >= 0 && S_ISDIR(e->mode) && e->ino == EMPTY_SUBVOLUME;
}

/* -ENOENT: it is gone again. Whatever else is wrong with it belongs to the entry. */
static int add(const struct snapmap_tree *t, int fd, const char *name, uint64_t dev, struct reading *r)
{
	struct found f = {.entry = {0}};
	size_t n = strlen(name);
	int rc = make_room(r, n + 1);

	if (rc)
		return rc;
	rc = sys_look(fd, name, &f.entry);
	if (rc == -ENOENT)
		return rc;
	f.error = rc;
	if (!rc) {
		f.is_mount = is_mount(t, &f.entry, dev);
		if (f.is_mount && !t->cross)
			f.error = -EXDEV;
		else if (S_ISREG(f.entry.mode) && !may_read(t, fd, name, &f.entry))
			f.error = -EACCES;
	}
	f.name = add_name(r, name, n);
	if (!f.error && S_ISLNK(f.entry.mode)) {
		rc = read_link(fd, r, &f, name);
		if (rc == -ENOMEM)
			return rc;
		f.error = rc;
	}
	if (f.error || !(S_ISREG(f.entry.mode) || S_ISLNK(f.entry.mode)))
		f.entry.size = 0;
	/* Looking at the link may have moved the list. */
	rc = make_room(r, 0);
	if (!rc)
		r->v[r->n++] = f;
	return rc;
}

static bool is_shown(const char *name)
{
	if (name[0] != '.')
		return true;
	return name[1] && (name[1] != '.' || name[2]) && strncmp(name, TREE_IMAGE_DIR, strlen(TREE_IMAGE_DIR)) != 0;
}

static int read_names(const struct snapmap_tree *t, int fd, uint64_t dev, struct reading *r)
{
	char *buf = (char *)malloc(MORE_NAMES);
	ssize_t got = 1;
	int rc = buf ? 0 : -ENOMEM;

	while (!rc && got > 0) {
		got = sys_list(fd, buf, MORE_NAMES);
		rc = got < 0 ? (int)got : 0;
		for (ssize_t at = 0; !rc && at < got;) {
			const struct dirent64 *d = (const struct dirent64 *)(const void *)(buf + at);

			if (is_shown(d->d_name))
				rc = add(t, fd, d->d_name, dev, r);
			if (rc == -ENOENT)
				rc = 0;
			at += d->d_reclen;
		}
	}
	free(buf);
	return rc;
}

/* ---- in order ---- */

static _Thread_local const char *names_of_sort;

static int in_order(const void *a, const void *b)
{
	const struct found *x = (const struct found *)a, *y = (const struct found *)b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return strcmp(names_of_sort + x->name, names_of_sort + y->name);
}

/* How many bytes all the names begin with in common. */
static size_t common(const struct reading *r)
{
	const char *first = r->names + r->v[0].name;
	size_t n = strlen(first);

	for (size_t i = 1; i < r->n && n; i++) {
		const char *name = r->names + r->v[i].name;
		size_t same = 0;

		while (same < n && name[same] == first[same])
			same++;
		n = same;
	}
	return n;
}

static void put_in_order(struct reading *r)
{
	size_t n = r->n ? common(r) : 0, kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		const char *name = r->names + r->v[i].name + n;
		uint64_t key = 0;

		for (unsigned k = 0; k < 8 && name[k]; k++)
			key |= (uint64_t)(unsigned char)name[k] << (56 - 8 * k);
		r->v[i].key = key;
	}
	names_of_sort = r->names;
	if (r->n)
		qsort(r->v, r->n, sizeof(*r->v), in_order);
	/* A name that was moved while the directory was read can come twice. */
	for (size_t i = 0; i < r->n; i++)
		if (!kept || strcmp(r->names + r->v[kept - 1].name, r->names + r->v[i].name) != 0)
			r->v[kept++] = r->v[i];
	r->n = kept;
}

/* ---- addresses ---- */

/* How many pages it takes; 0 also for what there is no address space for. */
static size_t pages_of(const struct found *f)
{
	size_t page = sys_page_size();

	if (S_ISDIR(f->entry.mode))
		return 1;
	if (!S_ISREG(f->entry.mode) || f->error || f->entry.size > (uint64_t)PTRDIFF_MAX - page)
		return 0;
	return (size_t)((f->entry.size + page - 1) / page);
}

static void fill(struct tree_listing *l, const struct snapmap_file *parent, const struct reading *r)
{
	size_t at = l->first;

	if (r->used)
		memcpy(l->names, r->names, r->used);
	for (size_t i = 0; i < r->n; i++) {
		const struct found *f = &r->v[i];
		size_t pages = pages_of(f);
		struct snapmap_file file = {
			.name = l->names + f->name,
			.parent = parent,
			.mode = f->entry.mode,
			.uid = f->entry.uid,
			.gid = f->entry.gid,
			.error = f->error,
			.mtime = f->entry.mtime,
			.size = f->entry.size,
			.dev = f->entry.dev,
			.ino = f->entry.ino,
			.links = f->entry.links,
			.flags = f->is_mount ? SNAPMAP_FILE_MOUNT : 0,
		};

		if (S_ISDIR(file.mode))
			file.dir = (const struct snapmap_dir *)(const void *)tree_address(l, at);
		else if (S_ISLNK(file.mode) && file.size)
			file.contents = l->names + f->target;
		else if (pages)
			file.contents = tree_address(l, at);
		l->files[i] = file;
		l->entries[i].first = at;
		at += pages;
	}
}

/* The largest file gives way, if there are no addresses for all. */
static bool leave_out_largest(struct reading *r)
{
	struct found *largest = NULL;

	for (size_t i = 0; i < r->n; i++)
		if (S_ISREG(r->v[i].entry.mode) && (!largest || r->v[i].entry.size > largest->entry.size))
			largest = &r->v[i];
	if (!largest || !largest->entry.size)
		return false;
	largest->error = -EFBIG;
	largest->entry.size = 0;
	return true;
}

static struct tree_listing *make_listing(struct snapmap_tree *t, struct reading *r)
{
	struct tree_listing *l;

	do {
		size_t pages = 0;

		for (size_t i = 0; i < r->n; i++)
			pages += pages_of(&r->v[i]);
		l = tree_listing_create(t, r->n, r->used, pages);
	} while (!l && leave_out_largest(r));
	return l;
}

/* ---- all of it ---- */

/* A directory below itself, as a damaged file system can have it. */
static bool is_loop(const struct snapmap_file *file)
{
	for (const struct snapmap_file *up = file->parent; up; up = up->parent)
		if (up->dev == file->dev && up->ino == file->ino)
			return true;
	return false;
}

static int open_it(struct snapmap_tree *t, const struct snapmap_file *file, struct sys_entry *ret)
{
	int fd, rc;

	if (file->error)
		return file->error;
	if (is_loop(file))
		return -ELOOP;
	fd = tree_open_dir(t, file);
	if (fd < 0)
		return fd;
	rc = sys_look(fd, "", ret);
	if (!rc && (ret->dev != file->dev || ret->ino != file->ino))
		rc = -ESTALE;
	if (rc)
		sys_close(fd);
	return rc ? rc : fd;
}

static void show(struct tree_node *node, const struct snapmap_file *file, const struct tree_listing *l, int error)
{
	struct tree_dir *d = (struct tree_dir *)(void *)node->bytes;

	*d = (struct tree_dir){.file = file, .listing = l};
	d->dir.error = error;
	if (l) {
		d->dir.nfiles = l->n;
		d->dir.files = l->files;
	}
}

static int read_it(struct snapmap_tree *t, const struct snapmap_file *file, struct reading *r,
		   struct tree_listing **ret)
{
	struct sys_entry self;
	cleanup_fd int fd = open_it(t, file, &self);
	struct tree_listing *l;
	int rc = fd < 0 ? fd : read_names(t, fd, self.dev, r);

	if (rc)
		return rc;
	put_in_order(r);
	l = make_listing(t, r);
	if (!l)
		return -ENOMEM;
	fill(l, file, r);
	tree_hash(l);
	tree_listing_publish(l);
	*ret = l;
	return 0;
}

int tree_list(struct tree_listing *parent, size_t i, struct tree_node *node)
{
	const struct snapmap_file *file = &parent->files[i];
	struct snapmap_tree *t = parent->tree;
	struct reading r = {0};
	int rc;

	node->bytes = (char *)calloc(1, sys_page_size());
	if (!node->bytes)
		return -ENOMEM;
	rc = read_it(t, file, &r, &node->listing);
	if (!rc) {
		atomic_fetch_add(&t->dirs, 1);
		atomic_fetch_add(&t->nentries, node->listing->n);
	} else if (rc != -EXDEV || !file->error) {
		tree_set_error(file, rc);
	}
	show(node, file, node->listing, rc);
	node->kind = TREE_DIR;
	free(r.v);
	free(r.names);
	return 0;
}
