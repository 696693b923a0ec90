/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program "snapmap": what its commands do, and their exit statuses. */
#include "config.h"

#include "check_cli.h"

#include <inttypes.h>
#include <snapmap.h>
#include <sys/xattr.h>

#define MANY ((size_t)8 << 20) /* far more than a pipe holds */

/* ---- usage */

START_TEST(test_usage_errors_exit_with_2)
{
	static const char *const lines[] = {
		"frobnicate",
		"--frobnicate",
		"help frobnicate",
		"cat",
		"cat --frobnicate f",
		"cat -x f",
		"cat --source",
		"cat --source=frobnicate f",
		"cat --source=unknown f",
		"cat --quiet=yes f",
		"cat --force f",
		"info",
		"info --strict f",
		"edit f",
		"edit f --",
		"edit --strategy=frobnicate f -- true",
		"edit --strategy=unknown f -- true",
		"sponge",
		"sponge f g",
		"patch f",
		"patch f 1 2",
	};

	write_text("f", "old");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		ck_run(2, "snapmap %s", lines[i]);
		ck_error("see 'snapmap help");
		ck_assert_str_eq(out, "");
	}
	ck_run(2, "snapmap");
	ck_assert(strstr(err, "Usage: snapmap COMMAND") != NULL);
	ck_assert(file_says("f", "old"));
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_help_and_version)
{
	static const char *const commands[] = {"info", "cat", "edit", "sponge", "patch"};
	char line[64];

	ck_run(0, "snapmap help");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		snprintf(line, sizeof(line), "\n  %s ", commands[i]);
		ck_run(0, "snapmap --help");
		ck_assert(strstr(out, line) != NULL);
		snprintf(line, sizeof(line), "Usage: snapmap %s ", commands[i]);
		ck_run(0, "snapmap help %s", commands[i]);
		ck_assert(strstr(out, line) != NULL && strstr(out, "--version") != NULL);
		ck_run(0, "snapmap %s --help", commands[i]);
		ck_assert(strstr(out, line) != NULL);
		ck_run(0, "snapmap %s --version", commands[i]);
		ck_assert(strstr(out, snapmap_version()) != NULL);
	}
	ck_run(0, "snapmap --version");
	ck_assert(strstr(out, snapmap_version()) != NULL);
	ck_run(1, "snapmap --version >/dev/full");
	ck_error("No space left on device");
}
END_TEST

START_TEST(test_messages_are_one_line_whatever_the_name)
{
	ck_run(1, "snapmap cat \"$(printf 'no\\nsuch\\033file')\"");
	ck_error("no?such?file");
	ck_run(1, "snapmap info \"$(printf 'no\\nsuch')\"");
	ck_error("no?such");
}
END_TEST

/* ---- info */

START_TEST(test_info_tells_what_really_serves)
{
	struct snapmap_info info;
	struct snapmap_mut *mut;
	struct snapmap *map;
	char line[128];

	test_make_file("f", 10000, 1);
	ck_run(0, "snapmap info f .");
	ck_assert_int_eq(snapmap_open("f", NULL, &map), 0);
	ck_assert_int_eq(snapmap_get_info(map, &info), 0);
	snapmap_close(map);
	snprintf(line, sizeof(line), "f\n  file system      %s\n  read-only handle %s\n", info.file_system,
		 snapmap_source_name(info.source));
	ck_assert_msg(!strncmp(out, line, strlen(line)), "%s", out);
	ck_assert_int_eq(snapmap_mut_open("f", NULL, &mut), 0);
	*(char *)snapmap_mut_data(mut) = 1;
	ck_assert_int_eq(snapmap_mut_commit(mut, NULL), 0);
	ck_assert_int_eq(snapmap_mut_get_info(mut, &info), 0);
	snapmap_mut_close(mut);
	snprintf(line, sizeof(line), "  editable handle  %s\n  commit           %s\n", snapmap_source_name(info.source),
		 snapmap_strategy_name(info.strategy));
	ck_assert_msg(strstr(out, line) != NULL, "%s", out);
	ck_assert(strstr(out, "\n.\n  file system") != NULL);
	if (!test_fs()->reflink)
		ck_assert_msg(strstr(out, "reflink    no   ") != NULL, "%s", out);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_info_goes_on_after_a_bad_path)
{
	write_text("f", "x");
	ck_run(1, "snapmap info missing f");
	ck_error("'missing'");
	ck_assert(!strncmp(out, "f\n", 2));
	ck_run(1, "snapmap info f >/dev/full");
	ck_error("No space left on device");
}
END_TEST

/* ---- cat */

START_TEST(test_cat_writes_files_and_goes_on_after_a_bad_one)
{
	write_text("a", "one ");
	write_text("-b", "two\n");
	test_write_file("empty", "", 0);
	ck_run(0, "snapmap cat -q -- a empty -b");
	ck_assert_str_eq(out, "one two\n");
	ck_run(1, "snapmap cat -q a missing ./-b");
	ck_assert_str_eq(out, "one two\n");
	ck_error("'missing'");
	ck_run(1, "snapmap cat .");
	ck_error("directory");
}
END_TEST

START_TEST(test_cat_uses_the_source_asked_for)
{
	write_text("f", "x");
	ck_run(test_fs()->reflink ? 0 : 1, "snapmap cat --source=reflink f");
	ck_run(0, "snapmap cat -q --source=copy f");
	ck_assert_str_eq(out, "x");
}
END_TEST

START_TEST(test_cat_remarks_on_what_may_be_a_mix)
{
	struct snapmap_info info;
	struct snapmap *map;

	write_text("f", "x");
	ck_assert_int_eq(snapmap_open("f", NULL, &map), 0);
	ck_assert_int_eq(snapmap_get_info(map, &info), 0);
	snapmap_close(map);
	if (info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME) {
		ck_run(0, "snapmap cat --strict f");
		ck_assert_str_eq(err, "");
		return;
	}
	ck_run(0, "snapmap cat f");
	ck_assert_str_eq(out, "x");
	ck_error("may have changed");
	ck_run(0, "snapmap cat --quiet f");
	ck_assert_str_eq(err, "");
	ck_run(1, "snapmap cat --strict f");
	ck_assert_str_eq(out, "");
}
END_TEST

static pid_t start_cat(int *ret_fd)
{
	int ends[2];
	pid_t pid;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		execlp("snapmap", "snapmap", "cat", "-q", "f", NULL);
		_exit(99);
	}
	close(ends[1]);
	*ret_fd = ends[0];
	return pid;
}

static pid_t start_truncating(const char *path)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	while (!pid) {
		int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

		if (fd < 0 || write(fd, "new", 3) != 3)
			_exit(1);
		close(fd);
	}
	return pid;
}

/* The first bytes show that the snapshot is there; the pipe does not hold the rest. */
START_TEST(test_cat_is_whole_while_the_file_is_truncated)
{
	char *bytes = malloc(MANY + 1);
	pid_t cat, truncating;
	size_t n = 0;
	ssize_t got;
	int fd;

	test_make_file("f", MANY, 1);
	uint64_t want = test_hash_file("f");

	cat = start_cat(&fd);
	got = read(fd, bytes, 4096);
	ck_assert_int_gt(got, 0);
	ck_assert_int_eq(truncate("f", 0), 0);
	truncating = start_truncating("f");
	for (n = (size_t)got; n <= MANY && (got = read(fd, bytes + n, MANY + 1 - n)) > 0;)
		n += (size_t)got;
	close(fd);
	kill(truncating, SIGKILL);
	ck_assert_int_eq(wait_for(truncating), 128 + SIGKILL);
	ck_assert_int_eq(wait_for(cat), 0);
	ck_assert_uint_eq(n, MANY);
	ck_assert_uint_eq(test_hash(bytes, n), want);
	free(bytes);
}
END_TEST

START_TEST(test_cat_to_what_cannot_be_written)
{
	test_make_file("f", MANY, 1);
	uint64_t want = test_hash_file("f");

	ck_run(0, "{ snapmap cat -q f; echo $? >&2; } | true");
	ck_assert_msg(strstr(err, "141\n") != NULL, "%s", err);
	ck_run(0, "{ trap '' PIPE; snapmap cat -q f; echo $? >&2; } | true");
	ck_assert_msg(strstr(err, "Broken pipe\n1\n") != NULL, "%s", err);
	ck_run(1, "snapmap cat -q f >/dev/full");
	ck_error("No space left on device");
	ck_run(1, "snapmap cat -q f >&-");
	ck_error("Bad file descriptor");
	ck_run(1, "snapmap cat -q f <&- >&- 2>&-");
	ck_assert_uint_eq(test_hash_file("f"), want);
}
END_TEST

/* ---- sponge */

/* Two lines in "f", which most tests edit. */
static const char two_lines[] = "one\ntwo\n";

static void check_nothing_changed(void)
{
	ck_assert(file_says("f", two_lines));
	ck_assert_uint_eq(count_names("."), 1);
}

START_TEST(test_sponge_in_a_pipeline_onto_its_own_file)
{
	struct stat before, after;
	char value[8];
	bool attribute;

	write_text("f", "c\na\nb\n");
	ck_assert_int_eq(chmod("f", 0640), 0);
	attribute = !setxattr("f", "user.color", "blue", 4, 0);
	ck_assert_int_eq(stat("f", &before), 0);
	ck_run(0, "sort f | snapmap sponge f");
	ck_assert(file_says("f", "a\nb\nc\n"));
	ck_assert_int_eq(stat("f", &after), 0);
	ck_assert_uint_eq(before.st_mode, after.st_mode);
	ck_assert_uint_eq(before.st_uid, after.st_uid);
	if (attribute)
		ck_assert_int_eq(getxattr("f", "user.color", value, sizeof(value)), 4);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_sponge_of_nothing_and_of_a_new_file)
{
	write_text("f", two_lines);
	ck_run(0, "snapmap sponge f </dev/null");
	ck_assert(file_says("f", ""));
	ck_run(0, "umask 027; echo new | snapmap sponge --no-sync g");
	ck_assert(file_says("g", "new\n"));
	ck_run(0, "test $(stat -c %%a g) = 640");
	ck_run(0, "snapmap sponge h </dev/null");
	ck_assert(file_says("h", ""));
	ck_run(1, "echo x | snapmap sponge missing/f");
	ck_error("No such file");
	ck_run(1, "echo x | snapmap sponge .");
	ck_error("directory");
	ck_assert_uint_eq(count_names("."), 3);
}
END_TEST

START_TEST(test_sponge_of_a_large_input)
{
	const size_t n = 64 << 20;

	test_make_file("in", n + 1, 1);
	uint64_t want = test_hash_file("in");

	write_text("f", two_lines);
	ck_run(0, "cat in | snapmap sponge f");
	ck_assert_uint_eq(test_hash_file("f"), want);
	/* From a file, over a large one; a commit of the same bytes must not depend on what was there. */
	ck_run(0, "snapmap sponge f <in");
	ck_assert_uint_eq(test_hash_file("f"), want);
	ck_run(0, "echo short | snapmap sponge f");
	ck_assert(file_says("f", "short\n"));
	ck_assert_uint_eq(count_names("."), 2);
}
END_TEST

START_TEST(test_sponge_whose_input_fails_changes_nothing)
{
	write_text("f", two_lines);
	ck_run(1, "snapmap sponge f <.");
	ck_error("cannot read standard input");
	ck_run(1, "snapmap sponge f <&-");
	ck_error("cannot read standard input");
	ck_run(1, "snapmap sponge g <.");
	check_nothing_changed();
}
END_TEST

/* Its first bytes are taken before the file changes: what came later is replaced nevertheless. */
START_TEST(test_sponge_replaces_whatever_is_there)
{
	test_make_file("in", 200000, 1);
	write_text("f", two_lines);
	ck_run(0, "{ cat in; echo theirs >>f; } | snapmap sponge f");
	ck_assert_uint_eq(test_hash_file("f"), test_hash_file("in"));
	write_text("f", two_lines);
	ck_run(0, "{ cat in; rm f; } | snapmap sponge f");
	ck_assert_uint_eq(test_hash_file("f"), test_hash_file("in"));
	ck_run(0, "{ cat in; echo theirs >new; } | snapmap sponge new");
	ck_assert_uint_eq(test_hash_file("new"), test_hash_file("in"));
}
END_TEST

/* ---- patch */

START_TEST(test_tree_lists_what_is_there)
{
	ck_assert(!mkdir("d", 0755) && !mkdir("d/b", 0755));
	test_make_file("d/b/x", 5, 1);
	test_make_file("d/a", 12345, 1);
	ck_assert(!symlink("a", "d/l\n"));
	ck_assert_int_eq(run("snapmap tree -q d"), 0);
	ck_assert_str_eq(out, "                d/\n"
			      "         12345    a\n"
			      "                  b/\n"
			      "             5      x\n"
			      "                  l? -> a\n"
			      "2 directories, 3 files, 12350 bytes\n");
	ck_assert_str_eq(err, "");
	ck_assert_int_eq(run("snapmap tree d"), 0);
	ck_assert(!err[0] == !strcmp(test_fs()->name, "btrfs") || !test_is_root());
	ck_assert_int_eq(run("snapmap tree none"), 1);
	ck_assert_ptr_nonnull(strstr(err, "none"));
	ck_assert_int_eq(run("snapmap tree d e"), 2);
	ck_assert_int_eq(run("snapmap tree --cross-mounts --quiet d"), 0);
	ck_assert_int_eq(run("snapmap tree -q d >/dev/full"), 1);
	if (!test_is_root()) {
		ck_assert(!chmod("d/b", 0));
		ck_assert_int_eq(run("snapmap tree -q d"), 1);
		ck_assert_ptr_nonnull(strstr(err, "'b' cannot be read"));
		ck_assert(!chmod("d/b", 0755));
	}
}
END_TEST

START_TEST(test_patch_at_any_offset)
{
	static const struct {
		const char *offset;
		size_t at;
	} cases[] = {{"0", 0},	     {"1", 1},	       {"4095", 4095},	    {"0x1001", 4097}, {"7K", 7 << 10},
		     {"7KiB", 7168}, {"7KB", 7000},    {"010", 10},	    {"1M", 1 << 20},  {"2MB", 2000000},
		     {"0X2k", 0},    {"20000", 20000}, {"0x1FM", 31 << 20}, {"19999", 19999}, {"0", 0}};
	const size_t room = (32 << 20) + 64;
	size_t size = 20000;
	char *want = calloc(1, room);

	test_fill(want, size, 1);
	test_write_file("f", want, size);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[32];
		size_t n = (size_t)snprintf(text, sizeof(text), "[patch %zu]", i);

		if (!strcmp(cases[i].offset, "0X2k")) {
			ck_run(2, "printf %%s '%s' | snapmap patch f %s", text, cases[i].offset);
			continue;
		}
		memcpy(want + cases[i].at, text, n);
		if (size < cases[i].at + n)
			size = cases[i].at + n;
		ck_run(0, "printf %%s '%s' | snapmap patch f %s", text, cases[i].offset);
		ck_assert_msg(test_file_is("f", want, size), "offset %s", cases[i].offset);
	}
	ck_assert_uint_eq(count_names("."), 1);
	free(want);
}
END_TEST

START_TEST(test_patch_of_much_and_of_nothing)
{
	size_t n;

	test_make_file("in", 3000001, 2);
	test_make_file("f", 1000003, 1);
	char *in = test_read_file("in", NULL), *want = test_read_file("f", &n);

	ck_run(0, "snapmap patch f 5M </dev/null");
	ck_assert(test_file_is("f", want, n));
	want = realloc(want, 3000001 + 777777);
	memcpy(want + 777777, in, 3000001);
	ck_run(0, "cat in | snapmap patch f 777777");
	ck_assert(test_file_is("f", want, 3000001 + 777777));
	ck_run(1, "snapmap patch missing 0 <in");
	ck_error("'missing'");
	ck_assert_uint_eq(count_names("."), 2);
	free(in);
	free(want);
}
END_TEST

START_TEST(test_patch_refuses_bad_offsets)
{
	static const char *const bad[] = {"''", "x",   "-1",	"+1", "' 1'", "'1 '", "1x",  "0x", "0xg",
					  "1k", "1Ki", "1KiBx", "K",  "1.5",  "0x-1", "1MM", "1B", "''K"};
	static const char *const large[] = {
		"18446744073709551616",	     "9223372036854775808", "0x10000000000000000", "8E", "9000000T",
		"99999999999999999999999999"};

	write_text("f", two_lines);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_run(2, "echo x | snapmap patch -- f %s", bad[i]);
		ck_error("is no offset");
	}
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		ck_run(2, "echo x | snapmap patch f %s", large[i]);
		ck_error("too large");
	}
	ck_run(1, "echo x | snapmap patch f 0x7fffffffffffffff");
	ck_error("File too large");
	ck_run(1, "snapmap patch f 0 <.");
	ck_error("cannot read standard input");
	check_nothing_changed();
}
END_TEST

/* The pipe does not hold the input: once all is written the snapshot has long been taken. */
START_TEST(test_patch_of_a_file_that_changed_meanwhile)
{
	test_make_file("in", 200000, 1);
	write_text("f", two_lines);
	ck_run(3, "{ cat in; echo theirs >>f; } | snapmap patch f 0");
	ck_error("--force");
	ck_assert(file_says("f", "one\ntwo\ntheirs\n"));
	ck_run(0, "{ cat in; echo theirs >>f; } | snapmap patch --force f 0");
	ck_assert_uint_eq(test_hash_file("f"), test_hash_file("in"));
	ck_assert_uint_eq(count_names("."), 2);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_usage_errors_exit_with_2);
	tcase_add_test(tc, test_help_and_version);
	tcase_add_test(tc, test_messages_are_one_line_whatever_the_name);
	tcase_add_test(tc, test_info_tells_what_really_serves);
	tcase_add_test(tc, test_info_goes_on_after_a_bad_path);
	tcase_add_test(tc, test_cat_writes_files_and_goes_on_after_a_bad_one);
	tcase_add_test(tc, test_cat_uses_the_source_asked_for);
	tcase_add_test(tc, test_cat_remarks_on_what_may_be_a_mix);
	tcase_add_test(tc, test_cat_is_whole_while_the_file_is_truncated);
	tcase_add_test(tc, test_cat_to_what_cannot_be_written);
	tcase_add_test(tc, test_sponge_in_a_pipeline_onto_its_own_file);
	tcase_add_test(tc, test_sponge_of_nothing_and_of_a_new_file);
	tcase_add_test(tc, test_sponge_of_a_large_input);
	tcase_add_test(tc, test_sponge_whose_input_fails_changes_nothing);
	tcase_add_test(tc, test_sponge_replaces_whatever_is_there);
	tcase_add_test(tc, test_tree_lists_what_is_there);
	tcase_add_test(tc, test_patch_at_any_offset);
	tcase_add_test(tc, test_patch_of_much_and_of_nothing);
	tcase_add_test(tc, test_patch_refuses_bad_offsets);
	tcase_add_test(tc, test_patch_of_a_file_that_changed_meanwhile);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("cli");

	test_each_fs(s, "cli", add_tests);
	return s;
}
