/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The marker of a file that was committed to by journal. It is an attribute, so that it
 * follows the inode through renames and hard links, and so that only those can set it
 * who may write to the file.
 *
 *	offset	size
 *	0	8	"snapjrn" and the version of the format, '1'
 *	8	8	generation
 *	16	8	inode number
 *	and if a commit is under way:
 *	24	8	number of the journal
 *	32	32	digest of its head
 *	64	...	directory, without a 0 at its end; perhaps nothing
 *
 * Numbers are little-endian. A file that was never committed to by journal has none;
 * once there, it stays.
 */
#include "config.h"

#include "journal_marker.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sys.h"

#define MAGIC "snapjrn1"
#define CLEAN_SIZE 24
#define APPLYING_SIZE 64

struct value {
	char magic[8];
	uint64_t generation;
	uint64_t inode;
	uint64_t number;
	uint8_t digest[DIGEST_SIZE];
	char directory[sizeof(((struct journal_marker *)0)->directory) - 1];
};

/*
 * Nobody has set an attribute where there are none. Whoever got the descriptor from
 * somebody with more rights may not look, and has to do without.
 */
static bool means_none(ssize_t error)
{
	return error == -ENODATA || error == -EOPNOTSUPP || error == -EACCES || error == -EPERM || error == -ENOSYS;
}

int journal_marker_get(int fd, struct journal_marker *ret)
{
	struct value v;
	ssize_t n = sys_xattr_get(fd, JOURNAL_ATTRIBUTE, &v, sizeof(v));

	if (n < 0 && n != -ERANGE && n != -E2BIG) {
		if (means_none(n))
			*ret = (struct journal_marker){0};
		return means_none(n) ? 0 : (int)n;
	}
	if ((n != CLEAN_SIZE && n < APPLYING_SIZE) || memcmp(v.magic, MAGIC, sizeof(v.magic)) != 0)
		return -EUCLEAN;
	*ret = (struct journal_marker){
		.generation = le64toh(v.generation),
		.applying = n != CLEAN_SIZE,
		.inode = le64toh(v.inode),
	};
	if (!ret->applying)
		return 0;
	ret->number = le64toh(v.number);
	memcpy(ret->digest, v.digest, sizeof(v.digest));
	memcpy(ret->directory, v.directory, (size_t)n - APPLYING_SIZE);
	return 0;
}

int journal_marker_set(int fd, const struct journal_marker *m)
{
	struct value v = {
		.magic = MAGIC,
		.generation = htole64(m->generation),
		.inode = htole64(m->inode),
		.number = htole64(m->number),
	};
	size_t n = strlen(m->directory);

	memcpy(v.digest, m->digest, sizeof(v.digest));
	memcpy(v.directory, m->directory, n);
	return sys_xattr_set(fd, JOURNAL_ATTRIBUTE, &v, m->applying ? APPLYING_SIZE + n : CLEAN_SIZE);
}

bool journal_marker_same(const struct journal_marker *a, const struct journal_marker *b)
{
	return a->generation == b->generation && a->applying == b->applying &&
	       (!a->applying || !memcmp(a->digest, b->digest, sizeof(a->digest)));
}

void journal_name(uint64_t number, char ret[JOURNAL_NAME_SIZE])
{
	snprintf(ret, JOURNAL_NAME_SIZE, ".snapmap-%016llx.journal", (unsigned long long)number);
}
