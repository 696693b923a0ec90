/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images that lie, and operations on them: see minifs_fuzz.h. "make fuzz" has libFuzzer
 * look for inputs under the sanitizers; the corpus is replayed by check_minifs_corpus.
 */
#include "config.h"

#include "ino_ops.h"
#include "minifs_fuzz.h"

#include <fcntl.h>
#include <minifs.h>
#include <snapmap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/minifs/format.h"
#include "backends/minifs/fs.h"

#define IMAGE "fuzz"
#define IMAGE_MAX ((size_t)1 << 20)
#define KEPT 4
#define BY_NUMBER 200 /* operations from this on are those by number */

struct session {
	struct minifs *fs;
	struct snapmap *maps[KEPT];
	struct snapmap_mut *muts[KEPT];
	struct minifs_file *files[KEPT];
	struct held held;
};

struct op {
	const char *one, *other;
	uint8_t n;
};

static char buffer[70000];
static volatile unsigned char sink;

static const char *const names[] = {"d", "d/f",	   "h",	  "link",    "symlink", "d/e",	"d/e/007",   "new",	"d/new",
				    "/", "d/e/..", "big", "big/n99", "big/x",	"hole", "d/e/003/x", "symlink/"};

/* ---- operations ---- */

static uint64_t some_size(uint8_t n)
{
	static const uint64_t sizes[] = {0, 1, 4095, 4096, 4097, 49152, 53248, 4243456, 4243457, 100000, 70000};

	return n < 128 ? (uint64_t)n * 700 : sizes[n % (sizeof(sizes) / sizeof(sizes[0]))];
}

static void op_make(struct session *s, const struct op *op)
{
	switch (op->n % 3) {
	case 0:
		minifs_create(s->fs, op->one, 0644);
		break;
	case 1:
		minifs_mkdir(s->fs, op->one, 0755);
		break;
	default:
		minifs_symlink(s->fs, op->other, op->one);
	}
}

static void op_remove(struct session *s, const struct op *op)
{
	if (op->n % 2)
		minifs_unlink(s->fs, op->one);
	else
		minifs_rmdir(s->fs, op->one);
}

static void op_name(struct session *s, const struct op *op)
{
	if (op->n % 2)
		minifs_rename(s->fs, op->one, op->other);
	else
		minifs_link(s->fs, op->one, op->other);
}

static void op_look(struct session *s, const struct op *op)
{
	struct minifs_space space;
	struct stat st;

	minifs_stat(s->fs, op->one, op->n % 2 ? MINIFS_NOFOLLOW : 0, &st);
	minifs_readlink(s->fs, op->one, buffer, sizeof(buffer));
	minifs_statfs(s->fs, &space);
}

static void op_list(struct session *s, const struct op *op)
{
	struct minifs_dirent entries[16];
	uint64_t cursor = op->n % 4 ? 0 : (uint64_t)op->n * 97;

	for (int i = 0; i < 200 && minifs_readdir(s->fs, op->one, &cursor, entries, 16) > 0; i++)
		sink ^= (unsigned char)entries[0].ino;
}

static void op_read(struct session *s, const struct op *op)
{
	minifs_pread(s->fs, op->one, buffer, sizeof(buffer), some_size(op->n));
}

static void op_write(struct session *s, const struct op *op)
{
	static const char bytes[20000] = "written";

	minifs_pwrite(s->fs, op->one, bytes, (size_t)op->n * 70, some_size((uint8_t)(op->n * 37)));
}

static void op_resize(struct session *s, const struct op *op)
{
	minifs_truncate(s->fs, op->one, some_size(op->n));
}

static void op_clone(struct session *s, const struct op *op)
{
	if (op->n % 2)
		minifs_clone(s->fs, op->one, op->other);
	else
		minifs_clone_range(s->fs, op->one, op->n / 2 % 8 * 4096u, op->other, op->n / 16 * 4096u,
				   op->n % 4 ? 8192 : 0);
}

static void op_attributes(struct session *s, const struct op *op)
{
	const char *name = op->n % 4 < 2 ? "user.x" : "user.y";

	switch (op->n / 4 % 5) {
	case 0:
		minifs_setxattr(s->fs, op->one, name, buffer, op->n * 17u, 0);
		break;
	case 1:
		minifs_getxattr(s->fs, op->one, name, buffer, sizeof(buffer));
		break;
	case 2:
		minifs_listxattr(s->fs, op->one, buffer, sizeof(buffer));
		break;
	case 3:
		minifs_removexattr(s->fs, op->one, name);
		break;
	default:
		minifs_chmod(s->fs, op->one, op->n);
		minifs_chown(s->fs, op->one, 0, op->n, op->n);
		minifs_utimens(s->fs, op->one, 0, NULL);
	}
}

static void op_sync(struct session *s, const struct op *op)
{
	(void)op;
	minifs_sync(s->fs);
}

/* Some bytes of a file that may be as large as it says. */
static void look_through(const char *bytes, size_t n)
{
	for (size_t at = 0; at < n && at < (size_t)1 << 22; at += 4096)
		sink ^= (unsigned char)bytes[at];
	if (n)
		sink ^= (unsigned char)bytes[n - 1];
}

static void op_map(struct session *s, const struct op *op)
{
	struct snapmap **slot = &s->maps[op->n % KEPT];
	struct snapmap_options options = {.size = sizeof(options), .flags = op->n & 4 ? SNAPMAP_GUARD : 0};

	if (*slot)
		look_through((const char *)snapmap_data(*slot), snapmap_size(*slot));
	snapmap_close(*slot);
	*slot = NULL;
	if (!minifs_map(s->fs, op->one, &options, slot))
		look_through((const char *)snapmap_data(*slot), snapmap_size(*slot));
}

static void op_edit(struct session *s, const struct op *op)
{
	struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};
	struct snapmap_mut **slot = &s->muts[op->n % KEPT];
	size_t n;

	if (!*slot && minifs_map_mut(s->fs, op->one, NULL, slot))
		return;
	n = snapmap_mut_size(*slot);
	look_through((const char *)snapmap_mut_data(*slot), n);
	switch (op->n / KEPT % 6) {
	case 0:
		snapmap_mut_commit(*slot, NULL);
		break;
	case 1:
		snapmap_mut_commit(*slot, &force);
		break;
	case 2:
		snapmap_mut_resize(*slot, some_size(op->n));
		break;
	case 3:
		snapmap_mut_rollback(*slot);
		break;
	case 4:
		snapmap_mut_close(*slot);
		*slot = NULL;
		break;
	default:
		if (n)
			((char *)snapmap_mut_data(*slot))[op->n * 997u % n] ^= 1;
	}
}

static void op_file(struct session *s, const struct op *op)
{
	struct minifs_file **slot = &s->files[op->n % KEPT];
	struct stat st;

	if (!*slot) {
		if (minifs_file_open(s->fs, op->one, slot))
			*slot = NULL;
		return;
	}
	minifs_file_pwrite(*slot, "x", 1, some_size(op->n));
	minifs_file_stat(*slot, &st);
	minifs_file_close(*slot);
	*slot = NULL;
}

static void op_number(struct session *s, const struct op *op)
{
	ino_op(&s->held, s->fs, op->one, op->other, op->n);
}

typedef void operation(struct session *s, const struct op *op);
static operation *const operations[] = {
	op_make,   op_remove, op_name,	     op_look, op_list, op_read, op_write,
	op_resize, op_clone,  op_attributes, op_sync, op_map,  op_edit, op_file,
};

static const char *name_of(uint8_t n)
{
	return names[n % (sizeof(names) / sizeof(names[0]))];
}

/* Handles of files end before the image or, as they may, after it. */
static void end_session(struct session *s, bool late)
{
	ino_end(&s->held, s->fs);
	for (int i = 0; i < KEPT; i++)
		minifs_file_close(s->files[i]);
	if (late)
		minifs_close(s->fs);
	for (int i = 0; i < KEPT; i++) {
		snapmap_close(s->maps[i]);
		snapmap_mut_close(s->muts[i]);
	}
	if (!late)
		minifs_close(s->fs);
}

static void operate(const uint8_t *ops, size_t n, uint32_t flags)
{
	struct session s = {0};

	if (minifs_open(IMAGE, flags, &s.fs))
		return;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *o = ops + 4 * i;
		struct op op = {name_of(o[1]), name_of(o[2]), o[3]};

		if (o[0] < BY_NUMBER)
			operations[o[0] % (sizeof(operations) / sizeof(operations[0]))](&s, &op);
		else
			op_number(&s, &op);
	}
	end_session(&s, n % 2);
}

/* ---- images ---- */

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, snapmap_last_error());
	abort();
}

static void must(int rc, const char *what)
{
	if (rc < 0)
		fail(what);
}

static void put(struct minifs *fs, const char *name, size_t n, uint64_t at)
{
	memset(buffer, 'b', n);
	must(minifs_create(fs, name, 0644), name);
	must(minifs_pwrite(fs, name, buffer, n, at) < 0 ? -1 : 0, name);
}

static void write_image(const uint8_t *image, size_t n)
{
	int fd = open(IMAGE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, image, n) != (ssize_t)n)
		abort();
	close(fd);
}

static size_t read_image(uint8_t *image)
{
	int fd = open(IMAGE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, image, IMAGE_MAX);

	if (n < 0)
		abort();
	close(fd);
	return (size_t)n;
}

/* The same bytes each time, but for times. */
static size_t make_base(bool large, uint8_t *image)
{
	static const uint8_t uuid[16] = "minifs-fuzz-seed";
	struct minifs_format_options options = {
		.size = sizeof(options),
		.flags = MINIFS_FORMAT_FORCE,
		.bytes = large ? (uint64_t)640 << 10 : 0,
		.inodes = large ? 208 : 0,
		.uuid = uuid,
	};
	struct minifs *fs;
	char name[300];

	must(minifs_format(IMAGE, &options), "format");
	must(minifs_open(IMAGE, 0, &fs), "open");
	must(minifs_mkdir(fs, "d", 0755), "d");
	must(minifs_mkdir(fs, "d/e", 0755), "d/e");
	put(fs, "d/f", 60000, 0);
	put(fs, "hole", 5000, 40000);
	must(minifs_clone(fs, "d/f", "h"), "h");
	must(minifs_link(fs, "d/f", "link"), "link");
	must(minifs_symlink(fs, "d/f", "symlink"), "symlink");
	must(minifs_setxattr(fs, "h", "user.x", "value", 5, 0), "xattr");
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "d/e/%03d", i);
		must(minifs_create(fs, name, 0644), name);
	}
	if (large)
		must(minifs_mkdir(fs, "big", 0755), "big");
	for (int i = 0; large && i < 100; i++) {
		snprintf(name, sizeof(name), "big/%s%0*d", i < 90 ? "name" : "n", i < 90 ? 150 : 1, i);
		must(minifs_create(fs, name, 0644), name);
	}
	must(minifs_sync(fs), "sync");
	minifs_close(fs);
	return read_image(image);
}

static void seal(uint8_t *image, size_t n)
{
	struct disk_super *super = (struct disk_super *)image;
	uint64_t table, inodes;

	if (n < 4096)
		return;
	super->crc = put32(mfs_crc32c(0, image, offsetof(struct disk_super, crc)));
	table = (uint64_t)get32(super->inode_table) * MFS_BLOCK;
	inodes = get32(super->inodes);
	for (uint64_t ino = 0; ino < inodes && table + (ino + 1) * MFS_INODE_SIZE <= n; ino++) {
		struct disk_inode *inode = (struct disk_inode *)(image + table + ino * MFS_INODE_SIZE);
		le32 number = put32((uint32_t)ino);

		inode->crc = put32(mfs_crc32c(mfs_crc32c(0, &number, 4), inode, offsetof(struct disk_inode, crc)));
	}
}

static void change(uint8_t *image, size_t n, const uint8_t *data, size_t size)
{
	while (size > 4) {
		size_t at = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % n, length = data[3];

		data += 4;
		size -= 4;
		length = length < size ? length : size;
		length = length < n - at ? length : n - at;
		memcpy(image + at, data, length);
		data += length;
		size -= length;
	}
}

static size_t make_image(uint8_t kind, const uint8_t *data, size_t size, uint8_t *image)
{
	static uint8_t *bases[3];
	static size_t sizes[3];
	unsigned base = kind % 4 % 3;
	size_t n;

	if (!base) {
		n = size < IMAGE_MAX ? size : IMAGE_MAX;
		memcpy(image, data, n);
	} else {
		if (!bases[base]) {
			bases[base] = (uint8_t *)malloc(IMAGE_MAX);
			sizes[base] = make_base(base == 2, bases[base]);
		}
		n = sizes[base];
		memcpy(image, bases[base], n);
		change(image, n, data, size);
	}
	if (kind & 4)
		seal(image, n);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t image[IMAGE_MAX] __attribute__((aligned(4096)));
	struct minifs_check_result result = {0};
	size_t n, nops;

	if (size < 2)
		return 0;
	nops = data[1] % 32;
	if (nops > (size - 2) / 4)
		nops = (size - 2) / 4;
	n = make_image(data[0], data + 2 + 4 * nops, size - 2 - 4 * nops, image);
	write_image(image, n);
	operate(data + 2, nops, 0);
	/* What the operations have left, and what was there before. */
	minifs_check(IMAGE, 0, NULL, NULL, NULL);
	write_image(image, n);
	operate(data + 2, nops, MINIFS_RDONLY);
	if (!minifs_check(IMAGE, MINIFS_CHECK_REPAIR, NULL, NULL, &result)) {
		if (minifs_check(IMAGE, 0, NULL, NULL, &result) || result.found)
			fail("what was repaired is not clean");
		operate(data + 2, nops, 0);
		if (minifs_check(IMAGE, 0, NULL, NULL, &result) || result.found)
			fail("operations on a clean image left it damaged");
	}
	return 0;
}
