/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "protocol.h"

int token_make(char ret[SNAPFS_TOKEN_SIZE])
{
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	memset(ret, 0, SNAPFS_TOKEN_SIZE);
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(ret + 2 * i, 3, "%02x", random[i]);
	return 0;
}

int protocol_check(const struct snapfs_snapshot *asked, mode_t mode)
{
	if (asked->version != SNAPFS_VERSION || asked->flags || asked->offset > INT64_MAX)
		return -EINVAL;
	if (S_ISDIR(mode))
		return -EISDIR;
	return S_ISREG(mode) ? 0 : -EOPNOTSUPP;
}

struct snapfs_snapshot protocol_clip(uint64_t offset, uint64_t length, uint64_t file_size)
{
	struct snapfs_snapshot s = {.version = SNAPFS_VERSION, .offset = offset, .file_size = file_size};

	if (s.offset > file_size)
		s.offset = file_size;
	s.size = file_size - s.offset;
	if (s.size > length)
		s.size = length;
	s.length = s.size;
	return s;
}
