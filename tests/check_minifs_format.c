/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of a fresh image, as backends/minifs/FORMAT.md says. All here was written
 * from that document, and nothing is shared with the code that it specifies: images are
 * made here byte by byte and compared with those of the library, and the library has to
 * take the ones made here. What the document has readers refuse is refused.
 */
#include "config.h"

#include "minifs_testing.h"

/* ---- numbers and checksums ---- */

static void put(unsigned char *at, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *at, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

/* CRC-32C, bit by bit: polynomial 0x1EDC6F41 reflected, start and end inverted. */
static uint32_t crc_of(const unsigned char *bytes, size_t n, uint32_t crc)
{
	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
	}
	return ~crc;
}

START_TEST(test_the_checksum_is_the_known_one)
{
	ck_assert_uint_eq(crc_of((const unsigned char *)"123456789", 9, 0), 0xE3069283u);
	ck_assert_uint_eq(crc_of((const unsigned char *)"56789", 5, crc_of((const unsigned char *)"1234", 4, 0)),
			  0xE3069283u);
}
END_TEST

/* ---- an image by the document ---- */

/* Of B blocks and I inodes. */
struct shape {
	uint64_t blocks, inodes;
	bool large;
};

static const struct shape shapes[] = {
	{64, 80, false},
	{64, 80, true},
	{256, 112, true},
	{35840, 33008, true},
};
#define SHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))

struct layout {
	uint64_t inode_bitmap, inode_bitmap_blocks, data_bitmap, data_bitmap_blocks, table, table_blocks, data;
};

static uint64_t ceiling(uint64_t n, uint64_t by)
{
	return n / by + (n % by != 0);
}

static struct layout layout_of(const struct shape *s)
{
	struct layout l = {.inode_bitmap = 1};

	l.inode_bitmap_blocks = ceiling(s->inodes, 32768);
	l.data_bitmap = l.inode_bitmap + l.inode_bitmap_blocks;
	l.data_bitmap_blocks = ceiling(s->blocks, 32768);
	l.table = l.data_bitmap + l.data_bitmap_blocks;
	l.table_blocks = s->inodes / 16;
	l.data = l.table + l.table_blocks;
	return l;
}

static const unsigned char uuid[16] = {0x10, 0x21, 0x32, 0x43, 0x54, 0x65, 0x76, 0x87,
				       0x98, 0xa9, 0xba, 0xcb, 0xdc, 0xed, 0xfe, 0x0f};
static const char label[] = "a label";

static void seal_super(unsigned char *image)
{
	put(image + 252, 4, crc_of(image, 252, 0));
}

static void make_super(const struct shape *s, const struct layout *l, uint64_t created, unsigned char *image)
{
	memcpy(image, "minifs\r\n", 8);
	put(image + 8, 4, 1);
	put(image + 16, 4, s->large ? 2 : 0);
	put(image + 20, 4, s->large ? 1 : 0);
	put(image + 24, 4, 4096);
	put(image + 28, 4, 256);
	put(image + 32, 8, s->blocks);
	put(image + 40, 4, s->inodes);
	put(image + 44, 4, l->inode_bitmap);
	put(image + 48, 4, l->inode_bitmap_blocks);
	put(image + 52, 4, l->data_bitmap);
	put(image + 56, 4, l->data_bitmap_blocks);
	put(image + 60, 4, l->table);
	put(image + 64, 4, l->table_blocks);
	put(image + 68, 4, l->data);
	/* The root has a block and an inode; inodes 0 and 1 do not exist. */
	put(image + 72, 8, s->blocks - l->data - 1);
	put(image + 80, 4, s->inodes - 3);
	put(image + 84, 4, 2);
	put(image + 96, 8, created);
	memcpy(image + 104, uuid, 16);
	memcpy(image + 120, label, strlen(label));
	seal_super(image);
}

static void make_root(const struct layout *l, const uint64_t times[3], unsigned char *image)
{
	unsigned char *inode = image + l->table * 4096 + 256 * 2, number[4];

	put(inode, 4, 040755);
	put(inode + 4, 4, geteuid());
	put(inode + 8, 4, getegid());
	put(inode + 12, 4, 2);
	put(inode + 16, 8, 4096);
	put(inode + 24, 8, 1);
	for (int i = 0; i < 3; i++)
		put(inode + 32 + 8 * i, 8, times[i]);
	put(inode + 60, 4, 1);
	put(inode + 64, 4, l->data);
	put(number, 4, 2);
	put(inode + 252, 4, crc_of(inode, 252, crc_of(number, 4, 0)));
}

static void make_dirents(unsigned char *block)
{
	put(block, 4, 2);
	put(block + 4, 2, 12);
	put(block + 6, 2, 1);
	block[8] = '.';
	put(block + 12, 4, 2);
	put(block + 16, 2, 4096 - 12);
	put(block + 18, 2, 2);
	memcpy(block + 20, "..", 2);
}

/* All of an image, to be freed. */
static unsigned char *make_by_document(const struct shape *s, uint64_t created, const uint64_t times[3])
{
	unsigned char *image = calloc(s->blocks, 4096);
	struct layout l = layout_of(s);

	ck_assert(image != NULL);
	make_super(s, &l, created, image);
	image[l.inode_bitmap * 4096] = 1 | 2 | 4;
	image[l.data_bitmap * 4096] = 1;
	make_root(&l, times, image);
	make_dirents(image + l.data * 4096);
	return image;
}

/* ---- compared ---- */

static uint64_t nanoseconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void expect_between(uint64_t time, const uint64_t limits[2])
{
	/* The clock that files take their times from goes in ticks. */
	ck_assert_uint_ge(time + 20000000, limits[0]);
	ck_assert_uint_le(time, limits[1]);
}

static void expect_same(const unsigned char *found, const unsigned char *wanted, size_t n)
{
	size_t i = 0;

	if (!memcmp(found, wanted, n))
		return;
	while (found[i] == wanted[i])
		i++;
	ck_abort_msg("byte %zu (block %zu, %zu in it): %#x, not %#x", i, i / 4096, i % 4096, found[i], wanted[i]);
}

static void format_shape(const struct shape *s)
{
	struct minifs_format_options o = {
		.size = sizeof(o),
		.flags = s->large ? MINIFS_FORMAT_LARGE : 0,
		.bytes = s->blocks * 4096,
		.inodes = (uint32_t)s->inodes,
		.uuid = uuid,
		.label = label,
	};

	/* What the first has is the default. */
	if (s == shapes)
		o.bytes = o.inodes = 0;
	ck_ok(minifs_format("i", &o));
}

START_TEST(test_a_fresh_image)
{
	const struct shape *s = &shapes[_i];
	struct layout l = layout_of(s);
	uint64_t limits[2], times[3], created;
	size_t n;

	limits[0] = nanoseconds_now();
	format_shape(s);
	limits[1] = nanoseconds_now();
	unsigned char *found = test_read_file("i", &n);

	ck_assert_uint_eq(n, s->blocks * 4096);
	created = get(found + 96, 8);
	expect_between(created, limits);
	for (unsigned i = 0; i < 3; i++) {
		times[i] = get(found + l.table * 4096 + 512 + 32 + 8 * i, 8);
		expect_between(times[i], limits);
	}
	unsigned char *wanted = make_by_document(s, created, times);

	expect_same(found, wanted, n);
	free(wanted);
	free(found);
}
END_TEST

/* The other way round. */
START_TEST(test_an_image_by_the_document)
{
	const struct shape *s = &shapes[_i];
	const uint64_t times[3] = {1000000001, 2000000002, 3000000003};
	unsigned char *image = make_by_document(s, 5000000005, times);
	struct minifs_space space;
	struct minifs *fs;
	struct stat st;

	test_write_file("i", image, s->blocks * 4096);
	ck_clean("i");
	fs = open_image("i");
	st = stat_of(fs, "/");
	ck_assert_uint_eq(st.st_ino, 2);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0755);
	ck_assert(st.st_atim.tv_sec == 1 && st.st_atim.tv_nsec == 1);
	ck_assert(st.st_mtim.tv_sec == 2 && st.st_mtim.tv_nsec == 2);
	ck_assert(st.st_ctim.tv_sec == 3 && st.st_ctim.tv_nsec == 3);
	ck_ok(minifs_statfs(fs, &space));
	ck_assert(!memcmp(space.uuid, uuid, 16) && !strcmp(space.label, label));
	ck_assert_uint_eq(space.size_max,
			  s->large ? (UINT64_C(12) + 1024 + (1 << 20) + (1 << 30)) * 4096 : UINT64_C(4144) << 10);
	put_file(fs, "f", 30000, 1);
	finish_image(fs, "i");
	free(image);
}
END_TEST

/* ---- refused ---- */

/* @size bytes at @at become @value; the checksum is made anew unless it is what is changed. */
struct damage {
	unsigned at, size;
	uint64_t value;
	int to_write, to_read;
};

static const struct damage damages[] = {
	{0, 1, 'M', -EINVAL, -EINVAL},
	{7, 1, '\r', -EINVAL, -EINVAL},
	{8, 4, 0, -EOPNOTSUPP, -EOPNOTSUPP},
	{8, 4, 2, -EOPNOTSUPP, -EOPNOTSUPP},
	{12, 4, 0xffffffff, 0, 0},
	{16, 4, 4, -EROFS, 0},
	{16, 4, 0x80000000, -EROFS, 0},
	{20, 4, 2, -EOPNOTSUPP, -EOPNOTSUPP},
	{20, 4, 0x80000000, -EOPNOTSUPP, -EOPNOTSUPP},
	{24, 4, 512, -EUCLEAN, -EUCLEAN},
	{28, 4, 128, -EUCLEAN, -EUCLEAN},
	{32, 8, 65, -EUCLEAN, -EUCLEAN},
	{32, 8, 8, -EUCLEAN, -EUCLEAN},
	{32, 8, UINT64_C(1) << 63, -EUCLEAN, -EUCLEAN},
	{40, 4, 79, -EUCLEAN, -EUCLEAN},
	{40, 4, 96, -EUCLEAN, -EUCLEAN},
	{40, 4, 0, -EUCLEAN, -EUCLEAN},
	{44, 4, 2, -EUCLEAN, -EUCLEAN},
	{48, 4, 2, -EUCLEAN, -EUCLEAN},
	{52, 4, 1, -EUCLEAN, -EUCLEAN},
	{56, 4, 0, -EUCLEAN, -EUCLEAN},
	{60, 4, 4, -EUCLEAN, -EUCLEAN},
	{64, 4, 6, -EUCLEAN, -EUCLEAN},
	{68, 4, 9, -EUCLEAN, -EUCLEAN},
	{84, 4, 3, -EUCLEAN, -EUCLEAN},
	{252, 4, 0, -EUCLEAN, -EUCLEAN},
};
#define DAMAGES ((int)(sizeof(damages) / sizeof(damages[0])))

static void expect_open(uint32_t flags, int wanted)
{
	struct minifs *fs = NULL;

	ck_is(minifs_open("i", flags, &fs), wanted);
	minifs_close(fs);
}

START_TEST(test_what_a_reader_refuses)
{
	const uint64_t times[3] = {0};
	unsigned char *image = make_by_document(&shapes[0], 0, times);
	const struct damage *d = &damages[_i];

	put(image + d->at, d->size, d->value);
	if (d->at != 252)
		seal_super(image);
	test_write_file("i", image, 64 * 4096);
	expect_open(0, d->to_write);
	expect_open(MINIFS_RDONLY, d->to_read);
	ck_assert(test_file_is("i", image, 64 * 4096) || !d->to_write);
	free(image);
}
END_TEST

START_TEST(test_an_image_that_is_too_short)
{
	const uint64_t times[3] = {0};
	unsigned char *image = make_by_document(&shapes[0], 0, times);

	test_write_file("i", image, 64 * 4096 - 1);
	expect_open(0, -EUCLEAN);
	expect_open(MINIFS_RDONLY, -EUCLEAN);
	test_write_file("i", image, 255);
	expect_open(MINIFS_RDONLY, -EINVAL);
	/* What follows does not belong to it. */
	image = realloc(image, 65 * 4096);
	memset(image + 64 * 4096, 0xaa, 4096);
	test_write_file("i", image, 65 * 4096);
	expect_open(0, 0);
	ck_clean("i");
	free(image);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, test_the_checksum_is_the_known_one);
	tcase_add_loop_test(tc, test_a_fresh_image, 0, SHAPES);
	tcase_add_loop_test(tc, test_an_image_by_the_document, 0, SHAPES);
	tcase_add_loop_test(tc, test_what_a_reader_refuses, 0, DAMAGES);
	tcase_add_test(tc, test_an_image_that_is_too_short);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs format");

	test_each_fs(s, "minifs_format", add);
	return s;
}
