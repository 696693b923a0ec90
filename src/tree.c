/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap_tree: see include/snapmap/tree.h, and tree.h for its parts. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lease.h"
#include "overlay.h"
#include "retire.h"
#include "tree.h"

/* Addresses are taken in spans of this, or less where there is less. */
#define ARENA ((size_t)1 << 42)
#define ARENA_LEAST ((size_t)1 << 24)
/* Pages of zeros at a time. */
#define ZEROS 1024

/* For a directory that there was not even the memory to say so for. */
static const union {
	struct tree_dir dir;
	char page[65536];
} no_memory = {.dir = {.dir = {.error = -ENOMEM}}};

/* ---- entries by their pages ---- */

char *tree_address(const struct tree_listing *l, size_t page)
{
	return l->arena->area.base + page * sys_page_size();
}

size_t tree_pages(const struct tree_listing *l, size_t i)
{
	return (i + 1 < l->n ? l->entries[i + 1].first : l->end) - l->entries[i].first;
}

static struct tree_listing *find_listing(struct tree_arena *arena, size_t page)
{
	size_t low = 0, high;
	struct tree_listing *l;

	pthread_rwlock_rdlock(&arena->tree->lock);
	high = arena->nspans;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (arena->spans[middle]->first <= page)
			low = middle;
		else
			high = middle;
	}
	l = high ? arena->spans[low] : NULL;
	pthread_rwlock_unlock(&arena->tree->lock);
	return l && page < l->end ? l : NULL;
}

/* The last that begins no later: those before it without pages begin at the same one. */
static size_t find_entry(const struct tree_listing *l, size_t page)
{
	size_t low = 0, high = l->n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (l->entries[middle].first <= page)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Nobody touches what no pointer leads to, but by mistake: NULL. */
static struct tree_listing *find(struct pager_area *area, size_t page, size_t *ret_entry)
{
	struct tree_listing *l = find_listing(caa_container_of(area, struct tree_arena, area), page);

	if (l)
		*ret_entry = find_entry(l, page);
	return l;
}

static pthread_mutex_t *lock_of(const struct tree_listing *l, size_t i)
{
	return &l->tree->locks[((uintptr_t)&l->entries[i] / sizeof(struct tree_entry)) % TREE_LOCKS];
}

void tree_lock_entry(const struct tree_listing *l, size_t i)
{
	pthread_mutex_lock(lock_of(l, i));
}

void tree_unlock_entry(const struct tree_listing *l, size_t i)
{
	pthread_mutex_unlock(lock_of(l, i));
}

/* Read by the program at any time, as a plain int. */
void tree_set_error(const struct snapmap_file *file, int error)
{
	int none = 0;

	__atomic_compare_exchange_n((int *)(uintptr_t)&file->error, &none, error, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_RELAXED);
}

/* ---- what the pager asks ---- */

static struct tree_node *node_of(struct tree_listing *l, size_t i)
{
	if (!l->entries[i].node)
		l->entries[i].node = (struct tree_node *)calloc(1, sizeof(struct tree_node));
	return l->entries[i].node;
}

static int make(struct tree_listing *l, size_t i, struct tree_node *node)
{
	if (node->kind == TREE_NEW && l->files[i].dir)
		return tree_list(l, i, node);
	if (node->kind == TREE_NEW)
		tree_read(l, i, node);
	return 0;
}

/* Under the lock of the entry. What is to be put in place, @page among it. */
static struct pager_loaded choose(const struct tree_listing *l, size_t i, const struct tree_node *node, size_t page,
				  size_t likely)
{
	size_t first = l->entries[i].first, end = first + tree_pages(l, i), most = end - page;

	switch (node->kind) {
	case TREE_DIR:
	case TREE_SMALL:
		return (struct pager_loaded){first, end - first};
	case TREE_LARGE:
		return (struct pager_loaded){page, likely < most ? likely : most};
	default:
		return (struct pager_loaded){page, ZEROS < most ? ZEROS : most};
	}
}

static bool is_whole(const struct tree_node *node)
{
	return node->kind == TREE_DIR || node->kind == TREE_SMALL;
}

static struct pager_loaded prepare_entry(struct tree_listing *l, size_t i, size_t page, size_t likely)
{
	struct tree_node *node = node_of(l, i);
	int rc = node ? make(l, i, node) : -ENOMEM;

	if (rc) {
		tree_set_error(&l->files[i], rc);
		return (struct pager_loaded){page, 1};
	}
	if (is_whole(node) && node->there)
		return (struct pager_loaded){page, 0};
	if (is_whole(node) && !node->bytes) {
		rc = tree_read_again(l, i, node);
		if (rc)
			return (struct pager_loaded){page, 1};
	}
	return choose(l, i, node, page, likely);
}

static struct pager_loaded prepare(struct pager_area *area, size_t page, size_t likely)
{
	struct pager_loaded run = {page, 1};
	struct tree_listing *l;
	size_t i;

	l = find(area, page, &i);
	if (!l)
		return run;
	tree_lock_entry(l, i);
	run = prepare_entry(l, i, page, likely);
	if (run.pages && l->entries[i].node)
		l->entries[i].node->users++;
	tree_unlock_entry(l, i);
	return run;
}

/* Of the source's own memory, which has been copied: what is resident is counted here. */
static void drop_source(const struct tree_node *node, const struct tree_listing *l, size_t i)
{
	if (node->data)
		sys_drop_private((void *)(uintptr_t)node->data, tree_pages(l, i) * sys_page_size());
}

/* All is there, and nobody needs the bytes any more. */
static void settle(struct pager_area *area, const struct tree_listing *l, size_t i, struct tree_node *node)
{
	free(node->bytes);
	node->bytes = NULL;
	if (!node->passed_over)
		return;
	node->passed_over = false;
	pthread_mutex_lock(&area->mutex);
	pager_note_loaded(area, l->entries[i].first, tree_pages(l, i));
	pthread_mutex_unlock(&area->mutex);
}

static void done(struct pager_area *area, size_t page, size_t there)
{
	struct tree_listing *l;
	struct tree_node *node;
	size_t i;

	l = find(area, page, &i);
	if (!l)
		return;
	tree_lock_entry(l, i);
	node = l->entries[i].node;
	if (node) {
		node->users--;
		if (is_whole(node) && node->bytes && there == tree_pages(l, i))
			node->there = true;
		if (!node->users && node->there)
			settle(area, l, i, node);
		if (node->kind == TREE_LARGE && atomic_load(&area->limit))
			drop_source(node, l, i);
	}
	tree_unlock_entry(l, i);
}

static struct pager_bytes find_large(const struct tree_node *node, const struct tree_listing *l, size_t i, size_t at,
				     size_t most)
{
	size_t pages = tree_pages(l, i), size = sys_page_size();

	if (node->tail && at == pages - 1)
		return (struct pager_bytes){.from = node->tail, .pages = 1};
	pages -= node->tail ? 1 : 0;
	return (struct pager_bytes){.from = node->data + at * size, .pages = most < pages - at ? most : pages - at};
}

static struct pager_bytes find_bytes(struct pager_area *area, size_t page, size_t most)
{
	struct pager_bytes none = {.pages = 0}, zeros = {.pages = most};
	const struct tree_node *node;
	struct tree_listing *l;
	size_t i, at, pages;

	l = find(area, page, &i);
	if (!l)
		return none;
	node = l->entries[i].node;
	if (!node || node->kind == TREE_NEW)
		return l->files[i].dir ? (struct pager_bytes){.from = no_memory.page, .pages = 1} : zeros;
	at = page - l->entries[i].first;
	pages = tree_pages(l, i) - at;
	if (node->kind == TREE_LARGE)
		return find_large(node, l, i, at, most);
	if (node->kind == TREE_FAILED)
		return zeros;
	if (!node->bytes)
		return none;
	return (struct pager_bytes){.from = node->bytes + at * sys_page_size(), .pages = most < pages ? most : pages};
}

static void let_go(struct pager_area *area, void *held)
{
	(void)area;
	(void)held;
}

static void failed(struct pager_area *area, size_t page, int error)
{
	struct tree_listing *l;
	size_t i;

	l = find(area, page, &i);
	if (l)
		tree_set_error(&l->files[i], error);
}

/* Under the lock of the entry. */
static size_t give_back_entry(struct pager_area *area, struct tree_listing *l, size_t i, size_t page, size_t pages)
{
	struct tree_node *node = l->entries[i].node;
	struct snapmap_tree *t = l->tree;
	size_t first = l->entries[i].first, all = tree_pages(l, i), size = sys_page_size();

	if (!node || node->pinned || (node->kind != TREE_SMALL && node->kind != TREE_LARGE))
		return 0;
	if (node->kind == TREE_SMALL) {
		node->passed_over = node->users;
		if (node->users || !node->there)
			return 0;
		if (!node->saved &&
		    tree_store_put(&t->store, t->tmpdir, tree_address(l, first), all * size, &node->saved_at))
			return 0;
		node->saved = true;
		node->there = false;
		page = first;
		pages = all;
	}
	pager_lock(area);
	pager_drop(area, page, pages);
	pager_unlock(area);
	return pages;
}

static size_t give_back(struct pager_area *area, size_t page, size_t pages)
{
	struct tree_listing *l;
	size_t i, dropped;

	l = find(area, page, &i);
	if (!l)
		return 0;
	tree_lock_entry(l, i);
	dropped = give_back_entry(area, l, i, page, pages);
	tree_unlock_entry(l, i);
	return dropped;
}

static const struct pager_ops pager_ops = {
	.find = find_bytes,
	.let_go = let_go,
	.failed = failed,
	.prepare = prepare,
	.done = done,
	.give_back = give_back,
};

/* ---- addresses ---- */

static int map_arena(struct snapmap_tree *t, size_t least, struct tree_arena *a)
{
	size_t n = ARENA;
	void *base = NULL;
	int rc;

	while (n < least)
		n *= 2;
	do {
		rc = sys_map(NULL, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &base);
		n /= rc ? 2 : 1;
	} while (rc && n >= least && n >= ARENA_LEAST);
	if (rc)
		return rc;
	a->tree = t;
	a->area.ops = &pager_ops;
	a->area.base = (char *)base;
	a->area.pages = n / sys_page_size();
	a->area.fixed = a->area.user_only = true;
	rc = pager_add(&a->area);
	if (rc)
		sys_unmap(base, n);
	return rc;
}

static void share_limit(struct snapmap_tree *t)
{
	size_t n = 0, pages = (size_t)(t->options.resident_limit / sys_page_size());
	struct tree_arena *a;

	for (a = t->arenas; a; a = a->next)
		n++;
	for (a = t->arenas; a && t->options.resident_limit; a = a->next)
		pager_set_limit(&a->area, pages / n ? pages / n : 1);
}

static int add_arena(struct snapmap_tree *t, size_t pages)
{
	struct tree_arena *a = (struct tree_arena *)calloc(1, sizeof(*a));
	int rc = a ? map_arena(t, pages * sys_page_size(), a) : -ENOMEM;

	if (rc) {
		free(a);
		return rc;
	}
	a->next = t->arenas;
	t->arenas = a;
	share_limit(t);
	return 0;
}

/* Under the lock for writing. */
static int take_span(struct snapmap_tree *t, struct tree_listing *l, size_t pages)
{
	struct tree_arena *a = t->arenas;
	int rc = 0;

	while (a && a->area.pages - a->used < pages)
		a = a->next;
	if (!a) {
		rc = add_arena(t, pages);
		a = t->arenas;
	}
	if (!rc && a->promised == a->capacity) {
		size_t capacity = a->capacity ? a->capacity * 2 : 64;
		void *spans = realloc(a->spans, capacity * sizeof(struct tree_listing *));

		if (spans) {
			a->spans = (struct tree_listing **)spans;
			a->capacity = capacity;
		} else {
			rc = -ENOMEM;
		}
	}
	if (rc)
		return rc;
	l->arena = a;
	l->first = a->used;
	a->used += pages;
	l->end = a->used;
	a->promised++;
	return 0;
}

/* Those that were begun later may be ready before. */
void tree_listing_publish(struct tree_listing *l)
{
	struct tree_arena *a = l->arena;
	size_t at;

	pthread_rwlock_wrlock(&l->tree->lock);
	if (l->end > l->first) {
		for (at = a->nspans++; at && a->spans[at - 1]->first > l->first; at--)
			a->spans[at] = a->spans[at - 1];
		a->spans[at] = l;
	}
	pthread_rwlock_unlock(&l->tree->lock);
}

struct tree_listing *tree_listing_create(struct snapmap_tree *t, size_t n, size_t names, size_t pages)
{
	uint32_t slots = tree_slots_for(n);
	size_t files = n * sizeof(struct snapmap_file), entries = n * sizeof(struct tree_entry);
	struct tree_listing *l =
		(struct tree_listing *)calloc(1, sizeof(*l) + files + entries + slots * sizeof(uint32_t) + names);
	char *p = (char *)(l + 1);
	int rc;

	if (!l)
		return NULL;
	l->tree = t;
	l->n = n;
	l->files = (struct snapmap_file *)(void *)p;
	l->entries = (struct tree_entry *)(void *)(p + files);
	l->slots = (uint32_t *)(void *)(p + files + entries);
	l->mask = slots - 1;
	l->names = p + files + entries + slots * sizeof(uint32_t);
	pthread_rwlock_wrlock(&t->lock);
	rc = take_span(t, l, pages);
	if (!rc) {
		l->next = t->listings;
		t->listings = l;
	}
	pthread_rwlock_unlock(&t->lock);
	if (rc) {
		free(l);
		return NULL;
	}
	return l;
}

/* ---- the way to an entry ---- */

/*
 * Writes as much of the way to @file as fits in front of @end. Returns the directory that it
 * begins in.
 */
static const struct snapmap_file *way_to(const struct snapmap_file *file, char *start, char **end)
{
	while (file->parent) {
		size_t n = strlen(file->name);

		if ((size_t)(*end - start) < n + 1)
			break;
		if (**end)
			*--*end = '/';
		*end -= n;
		memcpy(*end, file->name, n);
		file = file->parent;
	}
	return file;
}

/* The directory that the last piece of the way to @file begins in: the tree's own, or one to be closed. */
static int open_start(struct snapmap_tree *t, const struct snapmap_file *file, char *buf, char **ret_way)
{
	char *way = buf + PATH_MAX - 1;
	const struct snapmap_file *from;
	int start, fd;

	*way = 0;
	from = way_to(file, buf, &way);
	*ret_way = way;
	if (!from->parent)
		return t->fd;
	/* Longer than a path can be: the part before. */
	char *more = (char *)malloc(PATH_MAX), *before;

	if (!more)
		return -ENOMEM;
	start = open_start(t, from, more, &before);
	fd = start < 0 ? start : sys_open_beneath(start, before, O_PATH | O_DIRECTORY, t->cross);
	if (start >= 0 && start != t->fd)
		sys_close(start);
	free(more);
	return fd;
}

int tree_open_dir(struct snapmap_tree *t, const struct snapmap_file *file)
{
	char buf[PATH_MAX], *way;
	int start = open_start(t, file, buf, &way), fd;

	if (start < 0)
		return start;
	fd = sys_open_beneath(start, *way ? way : ".", O_RDONLY | O_DIRECTORY, t->cross);
	if (start != t->fd)
		sys_close(start);
	return fd;
}

int tree_open_file(struct snapmap_tree *t, const struct snapmap_file *file, struct source *ret)
{
	char buf[PATH_MAX], *way;
	int start = open_start(t, file, buf, &way), rc;

	if (start < 0)
		return start;
	rc = source_open_beneath(start, way, t->cross, ret);
	if (start != t->fd)
		sys_close(start);
	return rc;
}

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
	rc = add_arena(t, 1);
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
	node = node_of(l, i);
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
