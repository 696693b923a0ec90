/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trees: what is in them, and what of a file that changes. */
#include "config.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "segmenting.h"
#include "tree.h"

/* Larger than SNAPMAP_TREE_SMALL. */
#define LARGE (300000 + 77)

static struct snapmap_tree *tree_of(const char *path)
{
	struct snapmap_tree *t;

	ck_ok(snapmap_tree_open(path, NULL, &t));
	return t;
}

/* Each file by itself, also where the whole could be one snapshot. */
static struct snapmap_tree *open_each(const char *path)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_CROSS_MOUNTS};
	struct snapmap_tree *t;

	ck_ok(snapmap_tree_open(path, &o, &t));
	return t;
}

static struct snapmap_tree_info info_of(const struct snapmap_tree *t)
{
	struct snapmap_tree_info info;

	ck_ok(snapmap_tree_get_info(t, &info));
	return info;
}

static const struct snapmap_file *look_up(const struct snapmap_tree *t, const char *path)
{
	const struct snapmap_file *f = snapmap_file_lookup(snapmap_tree_root(t), path);

	ck_assert_msg(f != NULL, "%s is not there", path);
	return f;
}

static bool holds(const struct snapmap_file *f, size_t n, uint64_t seed)
{
	return f->size == n && f->contents && is_filled(f->contents, n, seed, 0);
}

START_TEST(test_structure)
{
	struct snapmap_tree *t;
	const struct snapmap_file *root, *f;
	struct snapmap_tree_info info;

	ck_assert(!mkdir("d", 0755) && !mkdir("d/b", 0750) && !mkdir("d/b/deep", 0700));
	test_make_file("d/a", 10, 1);
	test_make_file("d/b/x", LARGE, 2);
	test_make_file("d/empty", 0, 0);
	ck_assert(!symlink("b/x", "d/link") && !mkfifo("d/fifo", 0600) && !link("d/a", "d/c"));
	ck_assert(!chmod("d/a", 0641));
	t = tree_of("d");
	root = snapmap_tree_root(t);
	ck_assert_uint_eq(info_of(t).dirs, 0);
	ck_assert_str_eq(root->name, "d");
	ck_assert(!root->parent && root->dir && !root->contents && !root->size && S_ISDIR(root->mode));
	ck_assert_uint_eq(root->dir->nfiles, 6);
	ck_assert_int_eq(root->dir->error, 0);
	static const char *const names[] = {"a", "b", "c", "empty", "fifo", "link"};
	for (size_t i = 0; i < 6; i++) {
		f = &root->dir->files[i];
		ck_assert_str_eq(f->name, names[i]);
		ck_assert_ptr_eq(f->parent, root);
		ck_assert_int_eq(f->error, 0);
		ck_assert((f->dir != NULL) == S_ISDIR(f->mode));
		ck_assert((f->contents != NULL) == (f->size != 0));
		ck_assert_uint_eq(f->uid, geteuid());
	}
	f = &root->dir->files[0];
	ck_assert(f->mode == (S_IFREG | 0641) && f->links == 2 && f->ino == root->dir->files[2].ino);
	ck_assert(f->mtime.tv_sec > 1000000000);
	ck_assert(holds(f, 10, 1) && is_zero((const char *)f->contents + 10, PAGE - 10));
	ck_assert(holds(&root->dir->files[2], 10, 1));
	ck_assert(S_ISFIFO(root->dir->files[4].mode));
	f = &root->dir->files[5];
	ck_assert(S_ISLNK(f->mode) && f->size == 3 && !strcmp(f->contents, "b/x"));
	info = info_of(t);
	ck_assert_uint_eq(info.dirs, 1);
	ck_assert_uint_eq(info.entries, 6);
	f = look_up(t, "b/x");
	ck_assert(holds(f, LARGE, 2));
	ck_assert(is_zero((const char *)f->contents + LARGE, PAGE - LARGE % PAGE));
	ck_assert_uint_eq(look_up(t, "b/deep")->dir->nfiles, 0);
	ck_assert_uint_eq(info_of(t).dirs, 3);
	snapmap_tree_close(t);
}
END_TEST

START_TEST(test_lookup)
{
	const struct snapmap_file *root, *a;
	struct snapmap_tree *t;

	ck_assert(!mkdir("d", 0755) && !mkdir("d/a", 0755) && !mkdir("d/a/b", 0755));
	test_make_file("d/a/b/c", 3, 1);
	ck_assert(!symlink("a", "d/l"));
	t = tree_of("d");
	root = snapmap_tree_root(t);
	a = look_up(t, "a");
	ck_assert_str_eq(a->name, "a");
	ck_assert_ptr_eq(look_up(t, ""), root);
	ck_assert_ptr_eq(look_up(t, "."), root);
	ck_assert_ptr_eq(look_up(t, "a/../a/./"), a);
	ck_assert_ptr_eq(look_up(t, "//a//"), a);
	ck_assert_ptr_eq(look_up(t, "../../a"), a);
	ck_assert_str_eq(look_up(t, "a/b/c")->name, "c");
	ck_assert_ptr_eq(snapmap_file_lookup(a->dir, "b/c"), look_up(t, "a/b/c"));
	ck_assert_ptr_eq(snapmap_dir_lookup(a->dir, "b"), snapmap_file_lookup(a, "b"));
	static const char *const not_there[] = {"b",	"a/b/c/d", "a/b/c/", "a/b/c/.", "l/b",	   "aa",
						"a/b/", "A",	   "a/c",    "a/b/cc",	"a/b/c/.."};
	for (size_t i = 0; i < sizeof(not_there) / sizeof(not_there[0]); i++)
		ck_assert_msg(i == 6 || !snapmap_file_lookup(root, not_there[i]), "%s is there", not_there[i]);
	ck_assert(!snapmap_file_lookup((const struct snapmap_file *)NULL, "a"));
	ck_assert(!snapmap_dir_lookup(NULL, "a"));
	snapmap_tree_close(t);
}
END_TEST

/* Names that differ in every way, and so many that tables of all sizes are made. */
START_TEST(test_large_directories)
{
	static const unsigned counts[] = {1, 2, 3, 7, 8, 9, 100, 3000};

	for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
		const struct snapmap_dir *dir;
		struct snapmap_tree *t;
		char path[300];

		snprintf(path, sizeof(path), "d%u", counts[k]);
		ck_assert(!mkdir(path, 0755));
		for (unsigned i = 0; i < counts[k]; i++) {
			snprintf(path, sizeof(path), "d%u/%s%u-%0*u", counts[k], i % 3 ? "some-name-" : "", i,
				 (int)(i % 97) + 1, 0u);
			int fd = open_file(path, O_CREAT | O_WRONLY);

			ck_assert(write(fd, path, i % 5) == i % 5);
			close(fd);
		}
		snprintf(path, sizeof(path), "d%u", counts[k]);
		t = tree_of(path);
		dir = snapmap_tree_root(t)->dir;
		ck_assert_uint_eq(dir->nfiles, counts[k]);
		for (size_t i = 0; i < dir->nfiles; i++) {
			if ((i && strcmp(dir->files[i - 1].name, dir->files[i].name) >= 0) ||
			    snapmap_file_lookup(dir, dir->files[i].name) != &dir->files[i])
				ck_abort_msg("%s", dir->files[i].name);
			snprintf(path, sizeof(path), "%s-", dir->files[i].name);
			if (snapmap_file_lookup(dir, path))
				ck_abort_msg("%s is there", path);
			/* A part of a name is none, unless it is another's. */
			path[strlen(path) - 2] = 0;
			const struct snapmap_file *f = snapmap_file_lookup(dir, path);
			if (f && path[0] && strcmp(f->name, path) != 0)
				ck_abort_msg("%s is %s", path, f->name);
		}
		snapmap_tree_close(t);
	}
}
END_TEST

/* Who may write to a directory can choose names that collide. */
START_TEST(test_names_that_collide)
{
	const struct snapmap_dir *dir;
	struct snapmap_tree *t;
	unsigned made = 0;

	ck_assert(!mkdir("d", 0755));
	for (unsigned i = 0; made < 100; i++) {
		char path[40];

		snprintf(path, sizeof(path), "d/n%u", i);
		if (tree_hash_name(path + 2, strlen(path + 2)) & 255)
			continue;
		test_make_file(path, 0, 0);
		made++;
	}
	t = tree_of("d");
	dir = snapmap_tree_root(t)->dir;
	ck_assert_uint_eq(dir->nfiles, made);
	for (size_t i = 0; i < dir->nfiles; i++)
		if (snapmap_file_lookup(dir, dir->files[i].name) != &dir->files[i])
			ck_abort_msg("%s", dir->files[i].name);
	ck_assert(!snapmap_file_lookup(dir, "n"));
	snapmap_tree_close(t);
}
END_TEST

/* ---- while files change ---- */

static void overwrite(const char *path, size_t n, uint64_t seed)
{
	char *bytes = malloc(n + 1);
	int fd = open_file(path, O_WRONLY);

	test_fill(bytes, n, seed);
	ck_assert(pwrite(fd, bytes, n, 0) == (ssize_t)n);
	close(fd);
	free(bytes);
}

/* Fixed at the first touch: nothing shows later. */
START_TEST(test_contents_are_fixed_once_touched)
{
	static const size_t sizes[] = {1, 5000, SNAPMAP_TREE_SMALL, SNAPMAP_TREE_SMALL + 1, LARGE};
	struct snapmap_tree *t;

	ck_assert(!mkdir("d", 0755));
	for (unsigned i = 0; i < 5; i++) {
		char path[20];

		snprintf(path, sizeof(path), "d/%u", i);
		test_make_file(path, sizes[i], i);
	}
	t = _i ? open_each("d") : tree_of("d");
	for (unsigned i = 0; i < 5; i++) {
		char path[20];
		const struct snapmap_file *f;
		volatile const char *p;

		snprintf(path, sizeof(path), "d/%u", i);
		f = look_up(t, path + 2);
		p = f->contents;
		(void)p[sizes[i] / 2];
		switch (i % 3) {
		case 0:
			overwrite(path, sizes[i], 77);
			break;
		case 1:
			ck_assert(!truncate(path, 0));
			break;
		default:
			ck_assert(!unlink(path));
			break;
		}
		ck_assert(holds(f, sizes[i], i));
		ck_assert_int_eq(f->error, 0);
	}
	snapmap_tree_close(t);
}
END_TEST

enum change {
	GROWN,
	SHRUNK,
	GONE,
	REPLACED,
	OVERWRITTEN,
	EMPTIED,
	CHANGES
};

/* Between the listing and the touch: the listed bytes, or an error and zeros. */
START_TEST(test_size_agrees_with_contents)
{
	static const size_t sizes[] = {100, SNAPMAP_TREE_SMALL - 5, LARGE};
	size_t n = sizes[_i / CHANGES % 3];
	struct snapmap_tree *t = NULL;
	const struct snapmap_file *f;
	bool frozen;
	int fd;

	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", n, 1);
	test_make_file("d/g", n, 2);
	t = _i < 3 * CHANGES ? tree_of("d") : open_each("d");
	frozen = info_of(t).consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME;
	f = look_up(t, "f");
	switch (_i % CHANGES) {
	case GROWN:
		fd = open_file("d/f", O_WRONLY | O_APPEND);
		for (int i = 0; i < 50; i++)
			ck_assert(write(fd, "more and more", 13) == 13);
		close(fd);
		break;
	case SHRUNK:
		ck_assert(!truncate("d/f", (off_t)n / 2));
		break;
	case GONE:
		ck_assert(!unlink("d/f"));
		break;
	case REPLACED:
		ck_assert(!rename("d/g", "d/f"));
		break;
	case OVERWRITTEN:
		overwrite("d/f", n, 3);
		break;
	default:
		ck_assert(!truncate("d/f", 0));
		break;
	}
	ck_assert_uint_eq(f->size, n);
	if (frozen || _i % CHANGES == GROWN)
		ck_assert(holds(f, n, 1) && is_zero((const char *)f->contents + n, -n % PAGE));
	else if (_i % CHANGES == OVERWRITTEN)
		ck_assert(holds(f, n, 3));
	else
		ck_assert(is_zero(f->contents, n));
	if (frozen || _i % CHANGES == GROWN || _i % CHANGES == OVERWRITTEN)
		ck_assert_int_eq(f->error, 0);
	else
		ck_assert_int_eq(f->error, _i % CHANGES == GONE ? -ENOENT : -ESTALE);
	ck_assert_uint_eq(f->size, n);
	snapmap_tree_close(t);
}
END_TEST

START_TEST(test_directories_that_go)
{
	struct snapmap_tree *t;
	const struct snapmap_file *gone, *other, *file;

	ck_assert(!mkdir("d", 0755) && !mkdir("d/gone", 0755) && !mkdir("d/other", 0755) && !mkdir("d/file", 0755));
	test_make_file("d/gone/x", 5, 1);
	t = open_each("d");
	gone = look_up(t, "gone");
	other = look_up(t, "other");
	file = look_up(t, "file");
	ck_assert(!unlink("d/gone/x") && !rmdir("d/gone") && !rmdir("d/other") && !rmdir("d/file"));
	ck_assert(!mkdir("d/2", 0755) && !mkdir("d/2/secret", 0755) && !symlink("2", "d/other"));
	test_make_file("d/file", 10, 1);
	ck_assert(!gone->dir->nfiles && gone->dir->error == -ENOENT && gone->error == -ENOENT);
	ck_assert(!other->dir->nfiles && other->dir->error < 0);
	ck_assert(!file->dir->nfiles && file->dir->error == -ENOTDIR);
	ck_assert(!snapmap_file_lookup(gone, "x"));
	snapmap_tree_close(t);
}
END_TEST

/* A directory on the way becomes a link to elsewhere: nothing from there shows. */
START_TEST(test_links_put_in_the_way)
{
	struct snapmap_tree *t;
	const struct snapmap_file *f, *sub;

	ck_assert(!mkdir("d", 0755) && !mkdir("d/a", 0755) && !mkdir("d/a/sub", 0755) && !mkdir("e", 0755) &&
		  !mkdir("e/sub", 0755));
	test_make_file("d/a/f", 100, 1);
	test_make_file("e/f", 100, 2);
	test_make_file("e/sub/x", 100, 2);
	t = open_each("d");
	f = look_up(t, "a/f");
	sub = look_up(t, "a/sub");
	ck_assert(!rename("d/a", "d/b") && !symlink("../e", "d/a"));
	ck_assert(is_zero(f->contents, 100) && f->error < 0);
	ck_assert(!sub->dir->nfiles && sub->dir->error < 0);
	snapmap_tree_close(t);
}
END_TEST

/* ---- rights ---- */

static int look_as_nobody(void *arg)
{
	const struct snapmap_file *f;
	struct snapmap_tree *t;
	int rc;

	(void)arg;
	if (snapmap_tree_open("d", NULL, &t))
		return 1;
	f = snapmap_file_lookup(snapmap_tree_root(t), "secret");
	rc = !f || f->error != -EACCES || f->size || f->contents ? 2 : 0;
	f = snapmap_file_lookup(snapmap_tree_root(t), "closed");
	if (!rc)
		rc = !f || f->dir->nfiles || f->dir->error != -EACCES || f->error != -EACCES ? 3 : 0;
	f = snapmap_file_lookup(snapmap_tree_root(t), "open");
	if (!rc)
		rc = !f || f->error || !holds(f, 50, 2) ? 4 : 0;
	/* Names can be read, but nothing behind them. */
	f = snapmap_file_lookup(snapmap_tree_root(t), "names/x");
	if (!rc)
		rc = !f || f->error != -EACCES || f->size ? 5 : 0;
	snapmap_tree_close(t);
	return rc;
}

START_TEST(test_what_may_not_be_read)
{
	ck_assert(!mkdir("d", 0755) && !mkdir("d/closed", 0755) && !mkdir("d/names", 0755));
	test_make_file("d/secret", 50, 1);
	test_make_file("d/open", 50, 2);
	test_make_file("d/closed/x", 5, 1);
	test_make_file("d/names/x", 5, 1);
	ck_assert(!chmod("d/secret", 0) && !chmod("d/closed", 0) && !chmod("d/open", 0644) && !chmod("d/names", 0744));
	if (test_is_root()) {
		/* An overlay's lower layers are asked with the mounter's rights, but its own mode counts. */
		ck_assert_int_eq(test_as_user(65534, look_as_nobody, NULL), 0);
	} else {
		ck_assert(!chmod("d/names", 0400));
		ck_assert_int_eq(look_as_nobody(NULL), 0);
	}
	ck_assert(!chmod("d/closed", 0755) && !chmod("d/names", 0755));
}
END_TEST

START_TEST(test_bad_input)
{
	struct snapmap_options o = {.size = sizeof(o)};
	struct snapmap_tree *t = NULL;
	struct snapmap_tree_info info;

	test_make_file("f", 5, 1);
	ck_assert(!mkdir("d", 0755) && !symlink("d", "l"));
	ck_fails(snapmap_tree_open(NULL, NULL, &t), -EINVAL);
	ck_fails(snapmap_tree_open("d", NULL, NULL), -EINVAL);
	ck_fails(snapmap_tree_open("none", NULL, &t), -ENOENT);
	ck_fails(snapmap_tree_open("f", NULL, &t), -ENOTDIR);
	o.flags = SNAPMAP_NOFOLLOW;
	ck_assert_int_lt(snapmap_tree_open("l", &o, &t), 0);
	o.flags = SNAPMAP_POPULATE;
	ck_fails(snapmap_tree_open("d", &o, &t), -EINVAL);
	o.flags = 0;
	o.source = SNAPMAP_SOURCE_EXCLUSIVE;
	ck_fails(snapmap_tree_open("d", &o, &t), -EINVAL);
	o.source = 0;
	o.size = 12;
	ck_fails(snapmap_tree_open("d", &o, &t), -EINVAL);
	o.size = sizeof(o);
	ck_ok(snapmap_tree_open("l", &o, &t));
	ck_fails(snapmap_tree_touch(NULL, snapmap_tree_root(t)), -EINVAL);
	ck_fails(snapmap_tree_touch(t, NULL), -EINVAL);
	ck_fails(snapmap_tree_get_info(t, NULL), -EINVAL);
	ck_fails(snapmap_tree_get_info(NULL, &info), -EINVAL);
	snapmap_tree_close(t);
	snapmap_tree_close(NULL);
	o = (struct snapmap_options){.size = sizeof(o), .flags = SNAPMAP_CROSS_MOUNTS};
	struct snapmap *map;
	ck_fails(snapmap_open("f", &o, &map), -EINVAL);
}
END_TEST

/* ---- names and places that are hard ---- */

START_TEST(test_deep_trees)
{
	char name[201], *p = malloc(40 * 202 + 10);
	const struct snapmap_file *f;
	struct snapmap_tree *t;
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), depth = 0, file;

	memset(name, 'n', 200);
	name[200] = 0;
	*p = 0;
	/* Deeper than a path can be long. */
	for (; depth < 40; depth++) {
		int next;

		/* The file system itself may know paths only. */
		if (mkdirat(fd, name, 0755) && errno == ENAMETOOLONG)
			break;
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_ge(next, 0);
		close(fd);
		fd = next;
		strcat(strcat(p, name), "/");
	}
	strcat(p, "f");
	close(openat(fd, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	file = openat(fd, "f", O_WRONLY | O_CLOEXEC);
	ck_assert(write(file, "deep", 4) == 4);
	close(file);
	t = tree_of(".");
	f = look_up(t, p);
	ck_assert(f->size == 4 && !memcmp(f->contents, "deep", 4));
	ck_assert_int_eq(f->error, 0);
	snapmap_tree_close(t);
	/* Who cleans up has shorter paths. */
	ck_assert(!unlinkat(fd, "f", 0));
	for (int i = 0; i < depth; i++) {
		int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(fd);
		fd = up;
		ck_assert(!unlinkat(fd, name, AT_REMOVEDIR));
	}
	close(fd);
	free(p);
}
END_TEST

START_TEST(test_mounts)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_CROSS_MOUNTS};
	const struct snapmap_file *f;
	struct snapmap_tree *t;

	if (!test_is_root())
		test_skip("mounts");
	ck_assert(!mkdir("d", 0755) && !mkdir("d/m", 0755) && !mkdir("e", 0755) && !mkdir("d/bind", 0755));
	test_make_file("d/m/below", 5, 1);
	test_make_file("d/b", 5, 1);
	test_make_file("e/f", 5, 2);
	ck_assert(!mount("none", "d/m", "tmpfs", 0, NULL));
	ck_assert(!mount("e", "d/bind", NULL, MS_BIND, NULL));
	ck_assert(!mount("e/f", "d/b", NULL, MS_BIND, NULL));
	test_make_file("d/m/f", 5, 3);
	t = tree_of("d");
	if (info_of(t).source != SNAPMAP_SOURCE_SUBVOLUME) {
		f = look_up(t, "m");
		ck_assert(f->flags & SNAPMAP_FILE_MOUNT && f->error == -EXDEV && f->dir);
		ck_assert(f->dir->error == -EXDEV && !f->dir->nfiles);
		f = look_up(t, "bind");
		ck_assert(f->flags & SNAPMAP_FILE_MOUNT && f->dir->error == -EXDEV && !f->dir->nfiles);
		f = look_up(t, "b");
		ck_assert(f->flags & SNAPMAP_FILE_MOUNT && f->error == -EXDEV && !f->contents);
	} else {
		ck_assert(holds(look_up(t, "m/below"), 5, 1));
	}
	snapmap_tree_close(t);
	ck_ok(snapmap_tree_open("d", &o, &t));
	ck_assert(look_up(t, "m")->flags & SNAPMAP_FILE_MOUNT);
	ck_assert(holds(look_up(t, "m/f"), 5, 3));
	ck_assert(holds(look_up(t, "bind/f"), 5, 2));
	ck_assert(holds(look_up(t, "b"), 5, 2));
	snapmap_tree_close(t);
	ck_assert(!umount("d/m") && !umount("d/bind") && !umount("d/b"));
}
END_TEST

/* Only addresses: files of any size, as long as there are some. */
START_TEST(test_sparse_giants)
{
	const struct snapmap_file *f;
	struct snapmap_tree *t;
	uint64_t size = (uint64_t)1 << 43;
	int fd;

	ck_assert(!mkdir("d", 0755));
	for (int i = 0; i < 3; i++) {
		char path[20];

		snprintf(path, sizeof(path), "d/%d", i);
		fd = open_file(path, O_CREAT | O_RDWR);
		while (size > (1 << 20) && ftruncate(fd, (off_t)size))
			size /= 2;
		ck_assert(pwrite(fd, "end", 3, (off_t)size - 3) == 3);
		close(fd);
	}
	t = open_each("d");
	for (int i = 0; i < 3; i++) {
		f = &snapmap_tree_root(t)->dir->files[i];
		ck_assert(f->error == 0 || f->error == -EFBIG);
		ck_assert((f->size == size) == !f->error);
		/* Where the whole had to be copied nobody waits for that here. */
		if (f->size && (test_fs()->reflink || size < ((uint64_t)1 << 30)))
			ck_assert(!memcmp((const char *)f->contents + size - 3, "end", 3));
	}
	snapmap_tree_close(t);
}
END_TEST

/* ---- memory ---- */

static uint64_t hash_all(const struct snapmap_file *f, uint64_t h)
{
	if (f->dir)
		for (size_t i = 0; i < f->dir->nfiles; i++)
			h = hash_all(&f->dir->files[i], h);
	else if (f->size)
		h = h * 31 + test_hash(f->contents, f->size);
	ck_assert_int_eq(f->error, 0);
	return h;
}

static size_t rss(void)
{
	char line[200];
	size_t anonymous = 0, file = 0;
	FILE *status = fopen("/proc/self/status", "re");

	while (fgets(line, sizeof(line), status)) {
		sscanf(line, "RssAnon: %zu", &anonymous);
		sscanf(line, "RssFile: %zu", &file);
	}
	fclose(status);
	return (anonymous + file) * 1024;
}

#define LIMIT ((size_t)2 << 20)

START_TEST(test_a_tree_larger_than_its_memory)
{
	struct snapmap_options o = {.size = sizeof(o), .resident_limit = LIMIT, .source = _i ? 0 : SNAPMAP_SOURCE_COPY};
	struct snapmap_tree *t;
	struct snapmap_tree_info info;
	uint64_t first;
	size_t before;
	char path[40];

	ck_assert(!mkdir("d", 0755));
	for (unsigned i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "d/%u", i);
		ck_assert(!mkdir(path, 0755));
		for (unsigned k = 0; k < 40; k++) {
			snprintf(path, sizeof(path), "d/%u/%u", i, k);
			test_make_file(path, k == 7 ? LIMIT + 5 : k * 1700, i * 40 + k);
		}
	}
	ck_ok(snapmap_tree_open("d", &o, &t));
	before = rss();
	first = hash_all(snapmap_tree_root(t), 0);
	if (!TEST_SANITIZED)
		ck_assert_msg(rss() < before + LIMIT + (4 << 20), "%zu, %zu before", rss(), before);
	/* What has been touched does not change any more. */
	for (unsigned i = 0; i < 8; i++)
		for (unsigned k = 0; k < 40; k += 3) {
			snprintf(path, sizeof(path), "d/%u/%u", i, k);
			ck_assert(k % 2 ? !unlink(path) : !truncate(path, 3));
		}
	ck_assert_uint_eq(hash_all(snapmap_tree_root(t), 0), first);
	info = info_of(t);
	ck_assert_uint_gt(info.bytes_given_back, 8 * LIMIT);
	ck_assert_uint_le(info.bytes_resident, LIMIT + (1 << 20));
	ck_assert(look_up(t, "3/39")->size == 39 * 1700);
	ck_ok(snapmap_tree_touch(t, look_up(t, "3/39")));
	ck_assert_uint_eq(hash_all(snapmap_tree_root(t), 0), first);
	snapmap_tree_close(t);
}
END_TEST

struct walkers {
	struct snapmap_tree *t;
	uint64_t wanted;
	atomic_int wrong;
};

static uint64_t hash_quietly(const struct snapmap_file *f, uint64_t h)
{
	if (f->dir)
		for (size_t i = 0; i < f->dir->nfiles; i++)
			h = hash_quietly(&f->dir->files[i], h);
	else if (f->size)
		h = h * 31 + test_hash(f->contents, f->size);
	return h;
}

static void *walk_on(void *arg)
{
	struct walkers *w = arg;

	for (int i = 0; i < 4; i++)
		atomic_fetch_add(&w->wrong, hash_quietly(snapmap_tree_root(w->t), 0) != w->wanted);
	return NULL;
}

/* All begin at once, in a tree of which nothing is there; with and without a limit. */
START_TEST(test_many_threads)
{
	struct snapmap_options o = {.size = sizeof(o), .resident_limit = _i ? 300000 : 0};
	struct walkers w = {0};
	struct snapmap_tree *t;
	pthread_t threads[8];
	char path[40];

	ck_assert(!mkdir("d", 0755));
	for (unsigned i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "d/%u", i);
		ck_assert(!mkdir(path, 0755));
		for (unsigned k = 0; k < 12; k++) {
			snprintf(path, sizeof(path), "d/%u/%u", i, k);
			test_make_file(path, k * 9000, i * 40 + k);
		}
	}
	t = tree_of("d");
	w.wanted = hash_all(snapmap_tree_root(t), 0);
	snapmap_tree_close(t);
	ck_ok(snapmap_tree_open("d", &o, &w.t));
	for (int i = 0; i < 8; i++)
		ck_assert(!pthread_create(&threads[i], NULL, walk_on, &w));
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(w.wrong, 0);
	snapmap_tree_close(w.t);
}
END_TEST

#define NEIGHBOURS 64

struct neighbours {
	struct snapmap_tree *t;
	unsigned first;
	atomic_int *wrong;
};

static void *touch_each_eighth(void *arg)
{
	struct neighbours *n = arg;
	const struct snapmap_dir *dir = snapmap_tree_root(n->t)->dir;

	for (unsigned i = n->first; i < NEIGHBOURS; i += 8)
		if (!is_filled(dir->files[i].contents, dir->files[i].size, 9, 0))
			atomic_fetch_add(n->wrong, 1);
	return NULL;
}

/* Pages side by side that have nothing to do with one another, each touched by another thread. */
START_TEST(test_neighbours_at_once)
{
	atomic_int wrong = 0;
	char path[40];

	ck_assert(!mkdir("d", 0755));
	for (unsigned i = 0; i < NEIGHBOURS; i++) {
		snprintf(path, sizeof(path), "d/%02u", i);
		test_make_file(path, i % 9 == 8 ? SNAPMAP_TREE_SMALL + 1 : 100 + i, 9);
	}
	for (int round = 0; round < (TEST_SANITIZED ? 20 : 150); round++) {
		struct neighbours n[8];
		pthread_t threads[8];
		struct snapmap_tree *t = open_each("d");

		ck_assert_uint_eq(snapmap_tree_root(t)->dir->nfiles, NEIGHBOURS);
		for (unsigned i = 0; i < 8; i++) {
			n[i] = (struct neighbours){t, i, &wrong};
			ck_assert(!pthread_create(&threads[i], NULL, touch_each_eighth, &n[i]));
		}
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
		snapmap_tree_close(t);
	}
	ck_assert_int_eq(wrong, 0);
}
END_TEST

/* ---- system calls on the memory ---- */

START_TEST(test_touch_makes_system_calls_safe)
{
	const struct snapmap_file *f, *small;
	struct snapmap_options o = {.size = sizeof(o), .resident_limit = 100000};
	struct snapmap_tree *t;
	char *wanted = malloc(LARGE);
	ssize_t n;
	int fd;

	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", LARGE, 1);
	test_make_file("d/s", 100, 1);
	test_make_file("d/x", LARGE, 5);
	test_fill(wanted, LARGE, 1);
	ck_ok(snapmap_tree_open("d", &o, &t));
	f = look_up(t, "f");
	small = look_up(t, "s");
	fd = open_file("out", O_RDWR | O_CREAT | O_TRUNC);
	n = write(fd, small->contents, small->size);
	if (info_of(t).user_only)
		ck_assert(n < 0 && errno == EFAULT);
	else
		ck_assert_int_eq(n, 100);
	ck_ok(snapmap_tree_touch(t, small));
	ck_ok(snapmap_tree_touch(t, f));
	/* It stays, whatever the limit is. */
	ck_assert(holds(look_up(t, "x"), LARGE, 5));
	ck_assert_int_eq(pwrite(fd, small->contents, 100, 0), 100);
	ck_assert(!ftruncate(fd, 0));
	ck_assert_int_eq(pwrite(fd, f->contents, LARGE, 0), LARGE);
	ck_assert(test_file_is("out", wanted, LARGE));
	close(fd);
	ck_ok(snapmap_tree_touch(t, snapmap_tree_root(t)));
	ck_assert(!unlink("d/x"));
	snapmap_tree_close(t);
	t = open_each("d");
	f = look_up(t, "f");
	ck_assert(!unlink("d/f"));
	ck_fails(snapmap_tree_touch(t, f), -ENOENT);
	snapmap_tree_close(t);
	free(wanted);
}
END_TEST

/* ---- forks, and what is left ---- */

START_TEST(test_fork)
{
	volatile const char *p;
	struct snapmap_tree *t;
	int status;

	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", 5000, 1);
	t = tree_of("d");
	p = look_up(t, "f")->contents;
	ck_assert(holds(look_up(t, "f"), 5000, 1));
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();

		if (!pid) {
			signal(SIGSEGV, SIG_DFL);
			if (!i)
				_exit(p[0] == 0);
			snapmap_tree_close(t);
			_exit(0);
		}
		ck_assert(waitpid(pid, &status, 0) == pid);
		if (i)
			ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "%x", status);
		else
			ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "%x", status);
	}
	ck_assert(holds(look_up(t, "f"), 5000, 1));
	ck_assert_uint_eq(look_up(t, "")->dir->nfiles, 1);
	snapmap_tree_close(t);
}
END_TEST

START_TEST(test_nothing_is_left)
{
	size_t fds = test_count_fds(), maps = 0, names;

	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", LARGE, 1);
	test_make_file("d/s", 10, 1);
	names = test_count_names(".");
	/* Each thread may have a heap of its own, which stays. */
	for (int i = 0; i < 30; i++) {
		struct snapmap_options o = {.size = sizeof(o), .resident_limit = 1};
		struct snapmap_tree *t;

		if (i == 1)
			maps = test_count_maps();
		ck_ok(snapmap_tree_open("d", i % 2 ? &o : NULL, &t));
		ck_assert(holds(look_up(t, "f"), LARGE, 1) && holds(look_up(t, "s"), 10, 1));
		ck_assert(holds(look_up(t, "f"), LARGE, 1) && holds(look_up(t, "s"), 10, 1));
		snapmap_tree_close(t);
	}
	test_settle_fds(fds);
	ck_assert_uint_eq(test_count_fds(), fds);
	ck_assert_uint_le(test_count_maps(), maps + 20);
	ck_assert_uint_eq(test_count_names("."), names);
}
END_TEST

/* Whatever fails on the way, there is no tree, and nothing is left. */
START_TEST(test_open_without_descriptors)
{
	struct rlimit limit, few;
	struct snapmap_tree *t;
	size_t fds;

	ck_assert(!mkdir("d", 0755));
	ck_assert(!getrlimit(RLIMIT_NOFILE, &limit));
	fds = test_count_fds();
	for (rlim_t n = 3; n < 40; n++) {
		int rc;

		few = (struct rlimit){n, limit.rlim_max};
		ck_assert(!setrlimit(RLIMIT_NOFILE, &few));
		rc = snapmap_tree_open("d", NULL, &t);
		ck_assert(!setrlimit(RLIMIT_NOFILE, &limit));
		if (!rc)
			snapmap_tree_close(t);
		else
			ck_assert_msg(rc == -EMFILE, "%s", snapmap_last_error());
		test_settle_fds(fds);
		ck_assert_uint_eq(test_count_fds(), fds);
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_structure);
	tcase_add_test(tc, test_lookup);
	tcase_add_test(tc, test_large_directories);
	tcase_add_test(tc, test_names_that_collide);
	tcase_add_loop_test(tc, test_contents_are_fixed_once_touched, 0, 2);
	tcase_add_loop_test(tc, test_size_agrees_with_contents, 0, 6 * CHANGES);
	tcase_add_test(tc, test_directories_that_go);
	tcase_add_test(tc, test_links_put_in_the_way);
	tcase_add_test(tc, test_what_may_not_be_read);
	tcase_add_test(tc, test_bad_input);
	tcase_add_test(tc, test_deep_trees);
	tcase_add_test(tc, test_mounts);
	tcase_add_test(tc, test_sparse_giants);
	tcase_add_loop_test(tc, test_a_tree_larger_than_its_memory, 0, 2);
	tcase_add_loop_test(tc, test_many_threads, 0, 2);
	tcase_add_test(tc, test_neighbours_at_once);
	tcase_add_test(tc, test_touch_makes_system_calls_safe);
	tcase_add_test(tc, test_fork);
	tcase_add_test(tc, test_nothing_is_left);
	tcase_add_test(tc, test_open_without_descriptors);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("tree");

	test_each_fs(s, "tree", add);
	return s;
}
