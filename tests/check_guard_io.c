/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"
#include "failing.h"
Suite *test_suite(void)
{
	return suite_create("guard_io");
}
