/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Journals that are not the ones that were made: all are refused, and nothing is touched. */
#include "config.h"

#include <sys/stat.h>

#include "journal_log.h"
#include "journaling.h"

static struct versions v;

/* ---- ways to spoil the journal J of a commit to "f" that was cut off; "kept" is a copy of it ---- */

static void change_byte(const char *j, off_t at)
{
	int fd = open(j, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static off_t size_of(const char *path)
{
	struct stat st;

	ck_assert(!stat(path, &st));
	return st.st_size;
}

static void damage_magic(const char *j)
{
	change_byte(j, 3);
}

static void damage_format(const char *j)
{
	change_byte(j, 16);
}

static void damage_inode(const char *j)
{
	change_byte(j, 24);
}

static void damage_size(const char *j)
{
	change_byte(j, 57);
}

static void damage_count(const char *j)
{
	change_byte(j, 70);
}

static void damage_offset(const char *j)
{
	change_byte(j, 73);
}

static void damage_digest(const char *j)
{
	change_byte(j, 72 + 20);
}

static void damage_first_byte(const char *j)
{
	change_byte(j, size_of(j) - (off_t)PAGE * 2);
}

static void damage_last_byte(const char *j)
{
	change_byte(j, size_of(j) - 1);
}

static void damage_shorten(const char *j)
{
	ck_assert(!truncate(j, size_of(j) - 1));
}

static void damage_empty(const char *j)
{
	ck_assert(!truncate(j, 0));
}

static void damage_append(const char *j)
{
	int fd = open(j, O_WRONLY | O_APPEND | O_CLOEXEC);

	ck_assert_int_eq(write(fd, "x", 1), 1);
	close(fd);
}

static void damage_huge(const char *j)
{
	ck_assert(!truncate(j, (off_t)1 << 40));
}

static void damage_remove(const char *j)
{
	ck_assert(!unlink(j));
}

static void damage_symlink(const char *j)
{
	ck_assert(!unlink(j) && !symlink("kept", j));
}

static void damage_hard_link(const char *j)
{
	ck_assert(!unlink(j) && !link("kept", j));
}

static void damage_fifo(const char *j)
{
	ck_assert(!unlink(j) && !mkfifo(j, 0600));
}

static void damage_directory(const char *j)
{
	ck_assert(!unlink(j) && !mkdir(j, 0700));
}

static void damage_writable(const char *j)
{
	ck_assert(!chmod(j, 0666));
}

static void damage_owner(const char *j)
{
	ck_assert(!chown(j, 65534, 65534));
}

/* A whole and right journal, of another commit to the same file. */
static void damage_other(const char *j)
{
	static struct versions other;

	ck_assert(!unlink(j));
	make_crashed("g", &other, EDIT_CUT, 2);
	char name[JOURNAL_NAME_SIZE];

	journal_of("g", name);
	ck_assert(!rename(name, j));
	ck_assert(!unlink("g"));
}

static const struct {
	const char *name;
	void (*damage)(const char *j);
	bool root;
} damages[] = {
	{"magic", damage_magic, false},
	{"format", damage_format, false},
	{"inode", damage_inode, false},
	{"size", damage_size, false},
	{"count", damage_count, false},
	{"offset", damage_offset, false},
	{"digest", damage_digest, false},
	{"a byte of data", damage_first_byte, false},
	{"the last byte", damage_last_byte, false},
	{"shorter", damage_shorten, false},
	{"empty", damage_empty, false},
	{"longer", damage_append, false},
	{"huge", damage_huge, false},
	{"missing", damage_remove, false},
	{"a symbolic link", damage_symlink, false},
	{"a hard link", damage_hard_link, false},
	{"a FIFO", damage_fifo, false},
	{"a directory", damage_directory, false},
	{"writable for all", damage_writable, false},
	{"of another user", damage_owner, true},
	{"of another commit", damage_other, false},
};
#define DAMAGES ((int)(sizeof(damages) / sizeof(damages[0])))

static void copy_file(const char *from, const char *to)
{
	size_t n;
	void *bytes = test_read_file(from, &n);

	test_write_file(to, bytes, n);
	free(bytes);
	ck_assert(!chmod(to, 0644));
}

static void check_refused(const char *name)
{
	struct snapmap_mut *mut;
	struct snapmap *map;
	uint64_t before = test_hash_file("f");
	int rc = snapmap_open("f", NULL, &map);

	ck_assert_msg(rc == -EUCLEAN, "%s: %d: %s", name, rc, snapmap_last_error());
	ck_says(".journal");
	ck_says("user.snapmap.journal");
	rc = snapmap_mut_open("f", NULL, &mut);
	ck_assert_msg(rc == -EUCLEAN, "%s: for editing: %d: %s", name, rc, snapmap_last_error());
	ck_assert_msg(test_hash_file("f") == before, "%s: the file was touched", name);
	ck_assert_msg(is_applying("f"), "%s: the marker was touched", name);
}

START_TEST(test_damaged_journal_is_refused)
{
	char journal[JOURNAL_NAME_SIZE];

	need_journals();
	if (damages[_i].root && !test_is_root())
		return;
	make_crashed("f", &v, EDIT_PAGES, 2);
	journal_of("f", journal);
	copy_file(journal, "kept");
	ck_assert(!chmod(journal, 0600));
	damages[_i].damage(journal);
	check_refused(damages[_i].name);
	/* And with the right one back all is well. */
	if (unlink(journal))
		rmdir(journal);
	copy_file("kept", journal);
	ck_assert_int_eq(look_with("f", SNAPMAP_SOURCE_AUTO, false, &v), 1);
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert(!exists(journal));
}
END_TEST

/* Writing takes these bits away. Who finishes a commit must not do what its maker could not. */
START_TEST(test_program_with_privileges_is_not_finished)
{
	struct stat st;

	need_journals();
	make_crashed("f", &v, EDIT_PAGES, 2);
	ck_assert(!chmod("f", 04755));
	check_refused("set-user-ID");
	ck_assert(!stat("f", &st));
	ck_assert_uint_eq(st.st_mode & 07777, 04755);
	ck_assert(!chmod("f", 0644));
	ck_assert_int_eq(look_with("f", SNAPMAP_SOURCE_AUTO, false, &v), 1);
}
END_TEST

/* ---- whoever may write to the file may make a marker and a journal that fit ---- */

static void forge(const struct journal_edit *edit, const struct snapmap_range *ranges, size_t n)
{
	struct ranges r = {.v = (struct snapmap_range *)ranges, .n = n};
	struct journal_marker m = {.applying = true};
	struct journal_edit e = *edit;
	char name[JOURNAL_NAME_SIZE];
	struct stat st;
	int fd, from;

	test_make_file("f", 10 * PAGE, 1);
	ck_assert(!stat("f", &st));
	m.inode = m.number = e.inode = st.st_ino;
	journal_name(m.number, name);
	unlink(name);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	from = open("f", O_RDWR | O_CLOEXEC);
	ck_assert(fd >= 0 && from >= 0);
	ck_assert_int_eq(journal_log_write(fd, &e, &(struct journal_bytes){.fd = from}, &r, m.digest), 0);
	ck_assert_int_eq(journal_marker_set(from, &m), 0);
	close(fd);
	close(from);
}

START_TEST(test_forged_journal_is_refused)
{
	const struct snapmap_range overlapping[] = {{0, 2 * PAGE}, {PAGE, PAGE}}, unsorted[] = {{PAGE, PAGE}, {0, 10}},
				   outside[] = {{9 * PAGE, 2 * PAGE}}, far[] = {{(uint64_t)1 << 62, PAGE}},
				   fine[] = {{0, PAGE}, {3 * PAGE, 10}};
	struct journal_edit edit = {.old_size = 10 * PAGE, .cut = JOURNAL_NO_CUT, .size = 10 * PAGE};
	char journal[JOURNAL_NAME_SIZE];
	struct snapmap *map;

	need_journals();
	forge(&edit, overlapping, 2);
	check_refused("overlapping");
	forge(&edit, unsorted, 2);
	check_refused("unsorted");
	forge(&edit, outside, 1);
	check_refused("outside");
	edit.size = UINT64_MAX;
	forge(&edit, far, 1);
	check_refused("far");
	edit.size = 10 * PAGE;
	edit.cut = UINT64_MAX - 1;
	forge(&edit, fine, 2);
	check_refused("cut");
	edit.cut = JOURNAL_NO_CUT;
	forge(&edit, fine, 2);
	journal_of("f", journal);
	ck_ok(snapmap_open("f", NULL, &map));
	snapmap_close(map);
	ck_assert(!exists(journal));
}
END_TEST

START_TEST(test_marker_that_cannot_be_understood)
{
	struct snapmap_commit_options o = {.size = sizeof(o)};
	struct snapmap_mut *mut;
	struct snapmap *map;
	char large[2000] = "snapjrn1";

	need_journals();
	test_make_file("f", 10 * PAGE, 1);
	ck_ok(snapmap_mut_open("f", NULL, &mut));
	ck_assert(!setxattr("f", JOURNAL_ATTRIBUTE, "snapjrn2 and so on", 18, 0));
	ck_fails(snapmap_open("f", NULL, &map), -EUCLEAN);
	ck_says("newer");
	ck_assert(!setxattr("f", JOURNAL_ATTRIBUTE, large, sizeof(large), 0));
	ck_fails(snapmap_open("f", NULL, &map), -EUCLEAN);
	o.flags = SNAPMAP_COMMIT_FORCE;
	*(char *)snapmap_mut_data(mut) = 1;
	ck_fails(snapmap_mut_commit(mut, &o), -EUCLEAN);
	ck_assert(!removexattr("f", JOURNAL_ATTRIBUTE));
	ck_ok(snapmap_mut_commit(mut, &o));
	snapmap_mut_close(mut);
}
END_TEST

/* cp -a of a file whose commit was cut off. */
START_TEST(test_copy_with_its_marker)
{
	struct journal_marker m;
	struct snapmap *map;
	int fd;

	need_journals();
	make_crashed("f", &v, EDIT_PAGES, 2);
	copy_file("f", "g");
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(journal_marker_get(fd, &m), 0);
	close(fd);
	fd = open("g", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(journal_marker_set(fd, &m), 0);
	close(fd);
	ck_fails(snapmap_open("g", NULL, &map), -EUCLEAN);
	ck_says("copy");
	ck_assert_int_eq(look_with("f", SNAPMAP_SOURCE_AUTO, false, &v), 1);
}
END_TEST

static void plant_file(const char *name)
{
	test_write_file(name, "mine", 4);
}

static void plant_link(const char *name)
{
	test_write_file("victim", "precious", 8);
	ck_assert(!symlink("victim", name));
}

static void plant_directory(const char *name)
{
	ck_assert(!mkdir(name, 0755));
}

/* What lies under the name of a journal before a commit does no harm to anything. */
START_TEST(test_name_of_the_journal_is_taken)
{
	void (*const plant[])(const char *) = {plant_file, plant_link, plant_directory};
	struct snapmap_mut *map;
	char name[JOURNAL_NAME_SIZE];

	need_journals();
	for (int i = 0; i < 3; i++) {
		make_versions(&v, EDIT_PAGES);
		test_write_file("f", v.old, v.old_size);
		ck_ok(snapmap_mut_open("f", NULL, &map));
		ck_ok(edit_handle(map, &v));
		journal_name(inode_of("f"), name);
		plant[i](name);
		ck_ok(commit_by_journal(map, 0));
		ck_assert(test_file_is("f", v.new, v.new_size));
		ck_assert(exists(name) == (i == 2));
		ck_assert(i != 1 || test_file_is("victim", "precious", 8));
		snapmap_mut_close(map);
	}
}
END_TEST

static void add_damage(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_damaged_journal_is_refused, 0, DAMAGES);
	tcase_add_test(tc, test_program_with_privileges_is_not_finished);
	tcase_add_test(tc, test_forged_journal_is_refused);
	tcase_add_test(tc, test_marker_that_cannot_be_understood);
	tcase_add_test(tc, test_copy_with_its_marker);
	tcase_add_test(tc, test_name_of_the_journal_is_taken);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("journal damage");

	test_each_fs(s, "damage", add_damage);
	return s;
}
