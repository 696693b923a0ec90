/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mkfs.minifs, fsck.minifs and "snapmap fs", as a user finds them. */
#include "config.h"

#include "check_cli.h"

#include <minifs.h>

static bool is_sentence_of(const char *program)
{
	const char *end = strchr(err, '\n');
	size_t n = strlen(program);

	return !strncmp(err, program, n) && err[n] == ':' && end && !end[1];
}

START_TEST(test_usage_errors)
{
	static const char *const lines[] = {
		"fs",	     "fs ls",	       "fs frobnicate i", "fs cat i",	      "fs put i f",
		"fs df i x", "fs put i a b c", "fs clone i a",	  "fs ls --long=1 i", "fs get i a",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		ck_run(2, "snapmap %s", lines[i]);
		ck_error("see 'snapmap help fs'");
	}
	ck_run(0, "snapmap help fs");
	ck_assert(strstr(out, "clone IMAGE FROM TO") != NULL);
	ck_run(2, "mkfs.minifs");
	ck_assert(is_sentence_of("mkfs.minifs"));
	ck_run(2, "mkfs.minifs i 12x");
	ck_run(2, "mkfs.minifs --frobnicate i");
	ck_run(2, "mkfs.minifs -i 0 i");
	ck_run(2, "mkfs.minifs -U 12 i");
	ck_run(2, "mkfs.minifs -m 9 i");
	ck_run(1, "mkfs.minifs i 4097");
	ck_assert(is_sentence_of("mkfs.minifs"));
	ck_run(16, "fsck.minifs");
	ck_assert(is_sentence_of("fsck.minifs"));
	ck_run(16, "fsck.minifs --frobnicate i");
	ck_run(8, "fsck.minifs none");
	ck_assert(is_sentence_of("fsck.minifs"));
	ck_run(0, "mkfs.minifs --help && fsck.minifs --help && mkfs.minifs --version && fsck.minifs --version");
	ck_assert_uint_eq(count_names("."), 0);
}
END_TEST

START_TEST(test_mkfs)
{
	ck_run(0, "mkfs.minifs i && stat -c %%s i");
	ck_assert(strstr(out, "56 blocks") != NULL && strstr(out, "\n262144\n") != NULL);
	ck_run(1, "mkfs.minifs i");
	ck_assert(is_sentence_of("mkfs.minifs") && strstr(err, "--force") != NULL);
	ck_run(0, "mkfs.minifs -q -f -i 500 -m 1777 -L name -U 00112233-4455-6677-8899-aAbBcCdDeEfF i 8M && "
		  "snapmap fs df i && snapmap fs stat i /");
	ck_assert_msg(strstr(out, "label   name\nuuid    00112233-4455-6677-8899-aabbccddeeff\n") != NULL, "%s", out);
	ck_assert(strstr(out, " of 510 free\n") != NULL && strstr(out, "drwxrwxrwt (1777)") != NULL);
	ck_run(0, "fsck.minifs i");
	ck_assert_str_eq(out, "i: clean\n");
}
END_TEST

START_TEST(test_fsck)
{
	/* The number of links of the root directory, behind its checksum. */
	ck_run(0, "mkfs.minifs -q i && printf '\\377' | dd of=i bs=1 seek=12812 conv=notrunc status=none");
	ck_run(4, "fsck.minifs -n i");
	ck_assert(strstr(out, "repair them with -y") != NULL && strchr(out, '\n') != strrchr(out, '\n'));
	ck_run(4, "fsck.minifs i");
	ck_run(1, "snapmap fs ls i");
	ck_error("fsck.minifs");
	ck_run(1, "fsck.minifs -y i");
	ck_assert(strstr(out, "all repaired") != NULL);
	ck_run(0, "fsck.minifs -y i && snapmap fs ls i");
	write_text("other", "no image");
	ck_run(8, "fsck.minifs -y other");
	ck_assert(file_says("other", "no image"));
}
END_TEST

START_TEST(test_files_in_and_out)
{
	test_make_file("f", 3000001, 1);
	ck_run(0, "mkfs.minifs -q i 16M && chmod 640 f && snapmap fs put i f copy && snapmap fs cat i copy | cmp - f");
	ck_run(0, "snapmap fs get i copy g && cmp f g && stat -c %%a g && snapmap fs get i copy - | cmp - f");
	ck_assert_str_eq(out, "640\n");
	/* Shorter, over what is there, and from a pipe. */
	ck_run(0, "echo short | snapmap fs put i - copy && snapmap fs get i copy g && cat g");
	ck_assert_str_eq(out, "short\n");
	ck_run(0, "snapmap fs ls i; snapmap fs ls --long i");
	ck_assert_msg(!strncmp(out, "copy\n-rw-r-----   1 ", 20) && strstr(out, " 6 ") && strstr(out, " copy\n"), "%s",
		      out);
	ck_run(0, "truncate -s 9M holes && snapmap fs put i holes holes && snapmap fs stat i holes && "
		  "snapmap fs get i holes h && cmp h holes && stat -c %%b h");
	ck_assert(strstr(out, "size      9437184 bytes\n  blocks    0 of") != NULL);
	ck_run(0, "fsck.minifs i");
	ck_run(1, "snapmap fs cat i none copy");
	ck_error("none");
	ck_assert_str_eq(out, "short\n");
	ck_run(1, "snapmap fs ls i none");
	ck_run(1, "snapmap fs put i . x");
	ck_run(1, "snapmap fs put i none x");
	ck_run(1, "snapmap fs put i f no/such/directory");
	ck_run(1, "snapmap fs cat i copy >/dev/full");
	ck_error("standard output");
}
END_TEST

/* Of a length that nobody can know, and with what another name has too. */
START_TEST(test_much_from_a_pipe)
{
	test_make_file("f", 9000001, 1);
	ck_run(0, "mkfs.minifs -q --large i 32M && echo old | snapmap fs put i - g");
	ck_run(0, "cat f | snapmap fs put i - g && snapmap fs cat i g | cmp - f && snapmap fs ls i");
	ck_assert_str_eq(out, "g\n");
	/* There is no room for it: all is as it was, and nothing is left. */
	ck_run(0, "snapmap fs df i | grep ^blocks >before");
	ck_run(1, "cat f f f f | snapmap fs put i - g");
	ck_error("No space left");
	ck_run(0, "snapmap fs cat i g | cmp - f && snapmap fs df i | grep ^blocks | cmp - before && fsck.minifs i");
}
END_TEST

START_TEST(test_clone_shares)
{
	unsigned long before, after;

	test_make_file("f", 4000000, 1);
	ck_run(0, "mkfs.minifs -q i 16M && snapmap fs put i f a && snapmap fs df i | sed -n 's/^blocks *\\([0-9]*\\) "
		  ".*/\\1/p'");
	before = strtoul(out, NULL, 10);
	ck_run(0, "snapmap fs clone i a b && snapmap fs cat i b | cmp - f && "
		  "snapmap fs df i | sed -n 's/^blocks *\\([0-9]*\\) .*/\\1/p'");
	after = strtoul(out, NULL, 10);
	ck_assert(before > after && before - after < 20);
	ck_run(1, "snapmap fs clone i a b");
	ck_error("exists");
	ck_run(0, "fsck.minifs i");
}
END_TEST

/* What does not fit leaves the image as it was. */
START_TEST(test_full_image)
{
	test_make_file("f", 1000000, 1);
	ck_run(0, "mkfs.minifs -q i && echo old | snapmap fs put i - a && cp i before");
	ck_run(1, "snapmap fs put i f a");
	ck_error("full");
	ck_run(0, "cmp i before && snapmap fs cat i a");
	ck_assert_str_eq(out, "old\n");
}
END_TEST

START_TEST(test_somebody_else_writes)
{
	struct minifs *fs;

	ck_run(0, "mkfs.minifs -q i");
	ck_assert(!minifs_open("i", 0, &fs));
	ck_run(3, "echo x | snapmap fs put i - a");
	ck_error("somebody else");
	ck_run(0, "snapmap fs ls i");
	minifs_close(fs);
	ck_run(0, "echo x | snapmap fs put i - a");
}
END_TEST

static void add_fs(TCase *tc)
{
	tcase_add_test(tc, test_usage_errors);
	tcase_add_test(tc, test_mkfs);
	tcase_add_test(tc, test_fsck);
	tcase_add_test(tc, test_files_in_and_out);
	tcase_add_test(tc, test_much_from_a_pipe);
	tcase_add_test(tc, test_clone_shares);
	tcase_add_test(tc, test_full_image);
	tcase_add_test(tc, test_somebody_else_writes);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("cli fs");

	test_each_fs(s, "fs", add_fs);
	return s;
}
