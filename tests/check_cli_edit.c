/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap edit": what becomes of the file, of the edit, and of everything around. */
#include "config.h"

#include "check_cli.h"

#include <snapmap.h>

#define MANY ((size_t)8 << 20)

/* Two lines in "f", which most tests edit. */
static const char two_lines[] = "one\ntwo\n";

static void check_nothing_changed(void)
{
	ck_assert(file_says("f", two_lines));
	ck_assert_uint_eq(count_names("."), 1);
}

START_TEST(test_edit_commits_what_the_command_made)
{
	write_text("f", two_lines);
	ck_run(0, "snapmap edit f -- sed -i s/two/three/");
	ck_assert(file_says("f", "one\nthree\n"));
	ck_run(0, "snapmap edit -q f --no-sync -- sh -c 'test \"$1\" = \"$2\" && test $# = 3 && echo 4 >>\"$1\"' sh {} "
		  "{} x{}");
	ck_assert(file_says("f", "one\nthree\n4\n"));
	ck_run(0, "snapmap edit -- f -- sh -c ': >\"$1\"' sh");
	ck_assert(file_says("f", ""));
	ck_run(0, "snapmap edit f -- sh -c 'echo again >\"$1\"' sh");
	ck_assert(file_says("f", "again\n"));
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_edit_hands_out_a_private_copy_of_the_same_name)
{
	write_text("some name.txt", two_lines);
	ck_run(0, "snapmap edit 'some name.txt' -- sh -c 'stat -c %%a:%%h \"${1%%/*}\"; echo \"${1##*/}\"; cat \"$1\"; "
		  "echo lost >\"$1.bak\"; mkdir -p \"${1%%/*}/a/b\"; echo x >\"${1%%/*}/a/b/c\"; chmod 0 "
		  "\"${1%%/*}/a/b\"' sh");
	ck_assert_msg(!strncmp(out, "700:", 4), "%s", out);
	ck_assert_msg(strstr(out, "\nsome name.txt\none\ntwo\n") != NULL, "%s", out);
	ck_assert_str_eq(err, "");
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_edit_of_a_large_file_stores_what_differs)
{
	size_t n;

	test_make_file("f", MANY + 77, 1);
	unsigned char *want = test_read_file("f", &n);

	want[3] ^= 1;
	want[MANY + 76] ^= 1;
	test_write_file("want", want, n);
	ck_run(0, "snapmap edit f -- cp want");
	ck_assert(test_file_is("f", want, n));
	/* Shorter, not at a page; longer, with a hole. */
	ck_run(0, "snapmap edit f -- truncate -s 5000001");
	ck_assert(test_file_is("f", want, 5000001));
	ck_run(0, "snapmap edit f -- truncate -s %zu", n);
	memset(want + 5000001, 0, n - 5000001);
	ck_assert(test_file_is("f", want, n));
	ck_assert_uint_eq(count_names("."), 2);
	free(want);
}
END_TEST

START_TEST(test_edit_without_a_difference_leaves_the_file_alone)
{
	struct stat before, after;

	write_text("f", two_lines);
	ck_assert_int_eq(stat("f", &before), 0);
	ck_run(0, "snapmap edit f -- touch");
	ck_run(0, "snapmap edit f -- sh -c 'cat f >\"$1\"; touch f' sh");
	ck_assert_int_eq(stat("f", &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	check_nothing_changed();
}
END_TEST

START_TEST(test_edit_with_a_failing_command_changes_nothing)
{
	write_text("f", two_lines);
	ck_run(1, "snapmap edit f -- sh -c 'echo x >>\"$1\"; false' sh");
	ck_error("'f' is as it was");
	ck_run(42, "snapmap edit f -- sh -c 'echo x >>\"$1\"; exit 42' sh");
	ck_error("42");
	ck_run(128 + SIGKILL, "snapmap edit f -- sh -c 'echo x >>\"$1\"; kill -9 $$' sh");
	ck_error("signal 9");
	ck_run(127, "snapmap edit f -- ./missing");
	ck_error("'./missing'");
	ck_run(126, "snapmap edit f -- ./f");
	ck_error("Permission denied");
	check_nothing_changed();
}
END_TEST

START_TEST(test_edit_with_an_editor_that_renames)
{
	write_text("f", two_lines);
	ck_run(0, "snapmap edit f -- sh -c 'cp \"$1\" \"$1~\"; echo 3 >>\"$1~\"; mv \"$1~\" \"$1\"' sh");
	ck_assert(file_says("f", "one\ntwo\n3\n"));
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_edit_whose_result_is_no_file)
{
	write_text("f", two_lines);
	ck_run(1, "snapmap edit f -- rm");
	ck_error("No such file");
	ck_run(1, "snapmap edit f -- sh -c 'rm \"$1\"; mkdir \"$1\"' sh");
	ck_error("'f'");
	ck_run(1, "snapmap edit f -- sh -c 'ln -sf /etc/passwd \"$1\"' sh");
	ck_error("'f'");
	ck_run(1, "snapmap edit f -- sh -c 'rm \"$1\"; mkfifo \"$1\"' sh");
	ck_error("'f'");
	check_nothing_changed();
}
END_TEST

/* The name that a message told. */
static void kept_name(char *ret, size_t n)
{
	char *start = strstr(err, "the edit is kept in '"), *end;

	ck_assert_msg(start != NULL, "%s", err);
	start = strchr(start, '\'') + 1;
	end = strchr(start, '\'');
	ck_assert(end && (size_t)(end - start) < n);
	memcpy(ret, start, (size_t)(end - start));
	ret[end - start] = 0;
}

START_TEST(test_edit_of_a_file_that_changed_meanwhile)
{
	static const char *const others[] = {
		"echo theirs >>f",
		"echo theirs >f.new; mv f.new f",
	};
	char kept[4096];

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		write_text("f", two_lines);
		ck_run(3, "snapmap edit f -- sh -c 'echo mine >>\"$1\"; %s' sh", others[i]);
		ck_assert(strstr(err, "--force") != NULL);
		kept_name(kept, sizeof(kept));
		ck_assert_msg(!strncmp(kept, test_dir(), strlen(test_dir())), "%s", kept);
		ck_assert(file_says(kept, "one\ntwo\nmine\n"));
		ck_assert(file_says("f", i ? "theirs\n" : "one\ntwo\ntheirs\n"));
		ck_assert_uint_eq(count_names("."), 2 + i);
	}
	ck_run(3, "snapmap edit f -- sh -c 'echo mine >>\"$1\"; rm f' sh");
	ck_assert_int_eq(access("f", F_OK), -1);
	write_text("f", two_lines);
	ck_run(0, "snapmap edit --force f -- sh -c 'echo mine >>\"$1\"; echo theirs >>f' sh");
	ck_assert(file_says("f", "one\ntwo\nmine\n"));
}
END_TEST

START_TEST(test_edit_through_a_symbolic_link)
{
	struct stat st;

	ck_assert_int_eq(mkdir("d", 0755), 0);
	write_text("d/f", two_lines);
	ck_assert_int_eq(symlink("d/f", "l"), 0);
	ck_run(0, "snapmap edit l -- sed -i s/two/three/");
	ck_assert(file_says("d/f", "one\nthree\n"));
	ck_assert_int_eq(lstat("l", &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_uint_eq(count_names("."), 2);
	ck_assert_uint_eq(count_names("d"), 1);
}
END_TEST

START_TEST(test_edit_of_a_file_with_two_names)
{
	struct snapmap_probe probe;

	write_text("f", two_lines);
	ck_assert_int_eq(link("f", "g"), 0);
	ck_assert_int_eq(snapmap_probe("f", &probe), 0);
	if (!probe.strategy) {
		ck_run(1, "snapmap edit f -- sh -c 'echo ran; echo 3 >>\"$1\"' sh");
		ck_error("--break-links");
		ck_assert_str_eq(out, "");
		ck_assert(file_says("f", two_lines));
	}
	ck_run(0, "snapmap edit --break-links --strategy=replace f -- sh -c 'echo 3 >>\"$1\"' sh");
	ck_assert(file_says("f", "one\ntwo\n3\n"));
	ck_assert(file_says("g", two_lines));
	ck_assert_uint_eq(count_names("."), 2);
}
END_TEST

START_TEST(test_edit_of_a_file_that_does_not_exist)
{
	char kept[4096];

	ck_run(1, "snapmap edit f -- true");
	ck_error("No such file");
	ck_assert_uint_eq(count_names("."), 0);
	ck_run(0, "umask 027; snapmap edit --create f -- sh -c 'test -e f && exit 1; echo new >\"$1\"' sh");
	ck_assert(file_says("f", "new\n"));
	ck_run(0, "test $(stat -c %%a f) = 640");
	ck_run(0, "snapmap edit --create empty -- true");
	ck_assert(file_says("empty", ""));
	ck_run(7, "snapmap edit --create g -- sh -c 'exit 7'");
	ck_assert_uint_eq(count_names("."), 2);
	ck_run(3, "snapmap edit --create g -- sh -c 'echo mine >\"$1\"; echo theirs >g' sh");
	ck_assert(file_says("g", "theirs\n"));
	kept_name(kept, sizeof(kept));
	ck_assert(file_says(kept, "mine\n"));
}
END_TEST

START_TEST(test_edit_that_cannot_be_committed_is_refused_first)
{
	if (test_is_root())
		test_skip("root may write everywhere");
	if (test_fs()->exchange)
		test_skip("what keeps the file needs no right to its directory");
	ck_assert_int_eq(mkdir("d", 0755), 0);
	write_text("d/f", two_lines);
	ck_assert_int_eq(chmod("d", 0555), 0);
	ck_run(1, "snapmap edit d/f -- sh -c 'echo ran'");
	ck_error("Permission denied");
	ck_assert_str_eq(out, "");
	ck_assert(file_says("d/f", two_lines));
}
END_TEST

/* The directory becomes read-only while the command runs: the edit must not be lost. */
START_TEST(test_edit_whose_commit_fails_is_kept)
{
	char kept[4096];

	if (test_is_root())
		test_skip("root may write everywhere");
	ck_assert_int_eq(mkdir("d", 0755), 0);
	write_text("d/f", two_lines);
	ck_run(1, "snapmap edit d/f -- sh -c 'echo mine >>\"$1\"; chmod 555 d' sh");
	kept_name(kept, sizeof(kept));
	ck_assert(file_says(kept, "one\ntwo\nmine\n"));
	ck_assert(file_says("d/f", two_lines));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_edit_commits_what_the_command_made);
	tcase_add_test(tc, test_edit_hands_out_a_private_copy_of_the_same_name);
	tcase_add_test(tc, test_edit_of_a_large_file_stores_what_differs);
	tcase_add_test(tc, test_edit_without_a_difference_leaves_the_file_alone);
	tcase_add_test(tc, test_edit_with_a_failing_command_changes_nothing);
	tcase_add_test(tc, test_edit_with_an_editor_that_renames);
	tcase_add_test(tc, test_edit_whose_result_is_no_file);
	tcase_add_test(tc, test_edit_of_a_file_that_changed_meanwhile);
	tcase_add_test(tc, test_edit_through_a_symbolic_link);
	tcase_add_test(tc, test_edit_of_a_file_with_two_names);
	tcase_add_test(tc, test_edit_of_a_file_that_does_not_exist);
	tcase_add_test(tc, test_edit_that_cannot_be_committed_is_refused_first);
	tcase_add_test(tc, test_edit_whose_commit_fails_is_kept);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("cli_edit");

	test_each_fs(s, "cli_edit", add_tests);
	return s;
}
