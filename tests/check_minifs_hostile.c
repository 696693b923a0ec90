/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images that lie: whatever their bytes are, no operation crashes, hangs or reads
 * outside, and what check repairs is clean afterwards. Bytes are changed at random, with
 * the checksums put right, so that the lies get through.
 */
#include "config.h"

#include "minifs_testing.h"

#include "backends/minifs/format.h"
#include "backends/minifs/fs.h"

#define IMAGE ((size_t)256 << 10)
#define INODES 80u
#define INODE_AT(ino) (3 * BLOCK + (size_t)(ino)*256)
#define VARIANTS 600

static void make_victim(const char *path)
{
	struct minifs *fs = new_image(path, 0, 0);
	char name[300];

	ck_ok(minifs_mkdir(fs, "d", 0755));
	ck_ok(minifs_mkdir(fs, "d/e", 0755));
	put_file(fs, "d/f", 60000, 1);
	put_file(fs, "d/e/g", 100, 2);
	ck_ok(minifs_clone(fs, "d/f", "h"));
	ck_ok(minifs_link(fs, "d/e/g", "link"));
	ck_ok(minifs_symlink(fs, "d/f", "symlink"));
	ck_ok(minifs_setxattr(fs, "h", "user.x", "value", 5, 0));
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "d/e/%0*d", 3 + 7 * i, i);
		ck_ok(minifs_create(fs, name, 0644));
	}
	finish_image(fs, path);
}

static void put_sum(unsigned char *image, size_t at, uint32_t sum)
{
	for (int i = 0; i < 4; i++)
		image[at + (size_t)i] = (unsigned char)(sum >> 8 * i);
}

static void seal(unsigned char *image)
{
	put_sum(image, 252, mfs_crc32c(0, image, 252));
	for (uint32_t ino = 0; ino < INODES; ino++) {
		le32 number = put32(ino);

		put_sum(image, INODE_AT(ino) + 252, mfs_crc32c(mfs_crc32c(0, &number, 4), image + INODE_AT(ino), 252));
	}
}

/* Numbers that are likely to be taken for others. */
static uint32_t some_number(uint64_t *random)
{
	static const uint32_t likely[] = {0, 1, 2, 3, 8, 63, 64, 65, 255, 256, 4095, 4096, 0x7fffffff, 0xffffffff};
	uint64_t n = test_random(random);

	return n % 4 ? likely[n / 4 % (sizeof(likely) / sizeof(likely[0]))] : (uint32_t)(n >> 32);
}

static void lie(unsigned char *image, uint64_t *random)
{
	size_t n = 1 + test_random(random) % 6;

	for (size_t i = 0; i < n; i++) {
		uint64_t kind = test_random(random) % 10;
		uint32_t number = some_number(random);
		/* Half of it in the inodes, for they say what everything else is. */
		size_t at = kind < 1   ? test_random(random) % 64 * 4
			    : kind < 6 ? INODE_AT(1 + test_random(random) % 45) + test_random(random) % 40 * 4
				       : test_random(random) % (IMAGE / 4) * 4;

		if (kind == 9)
			image[at] = (unsigned char)number;
		else
			put_sum(image, at, number);
	}
	seal(image);
}

static void write_image(const char *path, const unsigned char *image)
{
	test_write_file(path, image, IMAGE);
}

/* Reads all there is, as deep as it goes. */
static void walk(struct minifs *fs, const char *path, int depth)
{
	static char buffer[70000];
	struct minifs_dirent entries[16];
	uint64_t cursor = 0;
	size_t names = 0;
	ssize_t n;

	while ((n = minifs_readdir(fs, path, &cursor, entries, 16)) > 0 && names < 2000) {
		names += (size_t)n;
		for (ssize_t i = 0; i < n; i++) {
			char below[700];
			struct stat st;

			if (!strcmp(entries[i].name, ".") || !strcmp(entries[i].name, ".."))
				continue;
			if (snprintf(below, sizeof(below), "%s/%s", path, entries[i].name) >= (int)sizeof(below))
				continue;
			if (minifs_stat(fs, below, MINIFS_NOFOLLOW, &st))
				continue;
			if (S_ISDIR(st.st_mode) && depth < 6)
				walk(fs, below, depth + 1);
			else if (S_ISREG(st.st_mode))
				minifs_pread(fs, below, buffer, sizeof(buffer), 0);
			minifs_readlink(fs, below, buffer, sizeof(buffer));
			minifs_listxattr(fs, below, buffer, sizeof(buffer));
			minifs_getxattr(fs, below, "user.x", buffer, sizeof(buffer));
		}
	}
}

static void change_all(struct minifs *fs)
{
	static const char *const files[] = {"d/f", "h", "link", "symlink", "d/e/g", "new"};
	static const char bytes[9000] = "changed";

	minifs_create(fs, "new", 0600);
	minifs_mkdir(fs, "d/new", 0700);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		minifs_pwrite(fs, files[i], bytes, sizeof(bytes), 50000 * i);
		minifs_truncate(fs, files[i], 100);
		minifs_truncate(fs, files[i], 5000000);
		minifs_setxattr(fs, files[i], "user.y", "z", 1, 0);
		minifs_clone(fs, files[i], "d/clone");
		minifs_chmod(fs, files[i], 0600);
	}
	minifs_rename(fs, "d/e", "new-e");
	minifs_rename(fs, "h", "d/f");
	minifs_link(fs, "d/f", "d/new/f");
	minifs_unlink(fs, "d/f");
	minifs_unlink(fs, "symlink");
	minifs_rmdir(fs, "d/new");
	minifs_rmdir(fs, "d");
}

static void use(const char *path)
{
	struct minifs *fs;

	if (minifs_open(path, 0, &fs))
		return;
	walk(fs, "", 0);
	change_all(fs);
	walk(fs, "", 0);
	minifs_sync(fs);
	minifs_close(fs);
}

/* The file system below does not matter, and commits are quick in memory. */
START_TEST(test_images_that_lie)
{
	unsigned char *image, *bytes;
	uint64_t random = test_seed() + (uint64_t)_i;
	size_t n;

	if (strcmp(test_fs()->name, "tmpfs") != 0)
		test_skip("on tmpfs");
	image = (unsigned char *)malloc(IMAGE);
	ck_assert_ptr_nonnull(image);
	make_victim("victim");
	bytes = (unsigned char *)test_read_file("victim", &n);
	ck_assert_uint_eq(n, IMAGE);
	for (int i = 0; i < VARIANTS; i++) {
		struct minifs_check_result result = {0};

		memcpy(image, bytes, IMAGE);
		lie(image, &random);
		write_image("i", image);
		use("i");
		write_image("i", image);
		minifs_check("i", 0, NULL, NULL, &result);
		if (!minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, &result)) {
			ck_clean("i");
			use("i");
			ck_clean("i");
		}
	}
	free(bytes);
	free(image);
}
END_TEST

/* Of a file that some number of blocks, all of them real, makes nearly endless. */
#define PYRAMID_IMAGE ((uint64_t)16 << 30)

static void put_block(int fd, uint32_t block, uint32_t pointer)
{
	le32 pointers[BLOCK / sizeof(le32)];

	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
		pointers[i] = put32(pointer);
	ck_assert_int_eq(pwrite(fd, pointers, sizeof(pointers), (off_t)block * BLOCK), sizeof(pointers));
}

enum kind {
	OPEN_FILE,
	ORPHAN, /* it is to be freed */
	DIRECTORY,
};

/* All pointers of the triple indirect block lead to one, whose pointers lead to one, and so on. */
static void make_pyramid(const char *path, enum kind kind)
{
	struct minifs *fs = new_image(path, PYRAMID_IMAGE, 0);
	union {
		struct disk_super super;
		struct disk_inode inode;
		unsigned char bytes[256];
	} u, i;
	uint32_t ino, first;
	uint8_t used = 0xff;
	le32 number;
	off_t at;
	int fd;

	ck_ok(minifs_create(fs, "f", 0644));
	ino = (uint32_t)stat_of(fs, "f").st_ino;
	ck_ok(minifs_sync(fs));
	minifs_close(fs);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &u, 256, 0), 256);
	at = (off_t)get32(u.super.inode_table) * BLOCK + 256 * (off_t)ino;
	ck_assert_int_eq(pread(fd, &i, 256, at), 256);
	first = get32(u.super.data) + 8;
	for (uint32_t k = 0; k < 3; k++)
		put_block(fd, first + k, first + k + 1);
	ck_assert_int_eq(pwrite(fd, &used, 1, (off_t)get32(u.super.data_bitmap) * BLOCK + 1), 1);
	i.inode.pointers[MFS_POINTERS - 1] = put32(first);
	i.inode.size = put64(kind == ORPHAN ? 0 : (uint64_t)1 << 42);
	if (kind == DIRECTORY) {
		i.inode.mode = put32(S_IFDIR | 0755);
		i.inode.size = put64(MFS_DIRECTORY_MAX);
		for (unsigned n = 0; n < MFS_POINTERS; n++)
			i.inode.pointers[n] = put32(n < MFS_DIRECT ? first + 3 : first + 2);
	}
	if (kind == ORPHAN) {
		i.inode.links = put32(0);
		u.super.orphans = put32(ino);
	}
	number = put32(ino);
	i.inode.crc = put32(mfs_crc32c(mfs_crc32c(0, &number, 4), &i, 252));
	u.super.crc = put32(mfs_crc32c(0, &u, 252));
	ck_assert(pwrite(fd, &i, 256, at) == 256 && pwrite(fd, &u, 256, 0) == 256);
	close(fd);
}

START_TEST(test_pointers_that_meet_again)
{
	struct snapmap *map;
	struct minifs *fs;

	if (strcmp(test_fs()->name, "tmpfs") != 0)
		test_skip("on tmpfs");
	make_pyramid("i", ORPHAN);
	ck_is(minifs_open("i", 0, &fs), -EUCLEAN);
	ck_assert(!unlink("i"));
	make_pyramid("i", OPEN_FILE);
	fs = open_image("i");
	ck_is(minifs_map(fs, "f", NULL, &map), -EUCLEAN);
	ck_is(minifs_truncate(fs, "f", 5), -EUCLEAN);
	ck_is(minifs_clone(fs, "f", "g"), -EUCLEAN);
	minifs_close(fs);
}
END_TEST

/* As large as the image, of a few blocks: whoever looks for a name must not look at them again and again. */
START_TEST(test_directory_of_the_same_blocks)
{
	struct minifs_check_result result = {0};
	struct minifs *fs;
	struct stat st;

	if (strcmp(test_fs()->name, "tmpfs") != 0)
		test_skip("on tmpfs");
	make_pyramid("i", DIRECTORY);
	fs = open_image("i");
	ck_is(minifs_stat(fs, "f/none", 0, &st), -EUCLEAN);
	ck_is(minifs_create(fs, "f/new", 0644), -EUCLEAN);
	minifs_close(fs);
	ck_is(minifs_check("i", 0, NULL, NULL, &result), -EUCLEAN);
	ck_ok(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, &result));
	ck_clean("i");
}
END_TEST

static void add_hostile(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_images_that_lie, 0, 2);
	tcase_add_test(tc, test_pointers_that_meet_again);
	tcase_add_test(tc, test_directory_of_the_same_blocks);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs hostile");

	test_each_fs(s, "hostile", add_hostile);
	return s;
}
