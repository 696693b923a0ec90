/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers that nobody can guess. */
#include "config.h"

#include <errno.h>
#include <sys/random.h>

#include "sys.h"

/* So few bytes come whole, or not at all. */
int sys_random(uint64_t *ret)
{
	uint64_t number;
	ssize_t n;

	do
		n = getrandom(&number, sizeof(number), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(number))
		return n < 0 ? -errno : -EIO;
	*ret = number;
	return 0;
}
