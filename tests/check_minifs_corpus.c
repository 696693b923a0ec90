/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inputs that "make fuzz" has found: none crashes, hangs, or leaves damage behind. Each
 * line of tests/fuzz/corpus.inc is one, in hexadecimal: see tests/fuzz/minifs_fuzz.h.
 */
#include "config.h"

#include "minifs_testing.h"

#include "fuzz/minifs_fuzz.h"

static const char *const corpus[] = {
#include "fuzz/corpus.inc"
};

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The file system below matters little, and commits are quick in memory. */
START_TEST(test_corpus)
{
	if (strcmp(test_fs()->name, "tmpfs") != 0)
		test_skip("replayed on tmpfs");
	for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
		size_t n = strlen(corpus[i]) / 2;
		uint8_t *input = (uint8_t *)malloc(n + 1);

		for (size_t k = 0; k < n; k++)
			input[k] = (uint8_t)(digit(corpus[i][2 * k]) << 4 | digit(corpus[i][2 * k + 1]));
		LLVMFuzzerTestOneInput(input, n);
		free(input);
	}
}
END_TEST

static void add_corpus(TCase *tc)
{
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, test_corpus);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs corpus");

	test_each_fs(s, "corpus", add_corpus);
	return s;
}
