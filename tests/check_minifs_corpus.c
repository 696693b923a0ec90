/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inputs that "make fuzz" has found: none crashes, hangs or leaves damage behind. See tests/fuzz/minifs_fuzz.h. */
#include "config.h"

#include "minifs_testing.h"

#include <dirent.h>
#include <limits.h>

#include "fuzz/minifs_fuzz.h"

/* The program starts where it was built; tests do not run there. */
static char corpus[PATH_MAX];

START_TEST(test_corpus)
{
	DIR *dir = opendir(corpus);
	struct dirent *entry;
	size_t n = 0;

	ck_assert_msg(dir != NULL, "no directory %s", corpus);
	while ((entry = readdir(dir))) {
		char path[PATH_MAX + 300];
		size_t size;
		uint8_t *input;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", corpus, entry->d_name);
		input = (uint8_t *)test_read_file(path, &size);
		LLVMFuzzerTestOneInput(input, size);
		free(input);
		n++;
	}
	closedir(dir);
	ck_assert_uint_gt(n, 10);
}
END_TEST

static void add_corpus(TCase *tc)
{
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, test_corpus);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs corpus");
	const char *srcdir = getenv("srcdir");
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus", srcdir ? srcdir : ".");
	if (!realpath(path, corpus))
		snprintf(corpus, sizeof(corpus), "%.4000s", path);
	test_each_fs(s, "corpus", add_corpus);
	return s;
}
