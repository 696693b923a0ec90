/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of the guard: a file of PAGES pages, of which the first GOOD ones can be read. */
#ifndef SNAPMAP_TESTS_GUARDED_H
#define SNAPMAP_TESTS_GUARDED_H

#include "failing.h"

#define PAGES ((size_t)16)
#define GOOD ((size_t)8)
#define SIZE (PAGES * PAGE)

static char bytes[SIZE];

static inline void make_file(void)
{
	test_fill(bytes, SIZE, 1);
	test_write_file("f", bytes, SIZE);
}

#endif
