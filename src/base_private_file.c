/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files without a name, where nobody else finds them.
 *
 * They lie beside the file that they belong to if its directory can be written,
 * else in another directory of the same file system, else anywhere, else in
 * memory. O_TMPFILE makes them; where a file system lacks it, a file is made
 * under a random name that goes away at once.
 */
#include "config.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "sys.h"

static bool lacks_tmpfile(int error)
{
	/* ENOENT, EISDIR: kernels or file systems that do not know the flag. */
	return error == -EOPNOTSUPP || error == -EISDIR || error == -ENOENT || error == -EINVAL;
}

/*
 * While the file has its name, the owner may open it: some FUSE file systems apply
 * the mode to the call that makes the file, fail, and leave the name behind.
 */
static int create_and_unlink(int dirfd, const char *dir, mode_t mode)
{
	const mode_t owner = S_IRUSR | S_IWUSR;

	char path[PATH_MAX];

	for (int i = 0; i < 16; i++) {
		uint64_t number;
		int fd;

		if (sys_random(&number))
			return -EIO;
		if (snprintf(path, sizeof(path), "%s/.snapmap-private-%016llx", dir, (unsigned long long)number) >=
		    (int)sizeof(path))
			return -ENAMETOOLONG;
		fd = sys_openat(dirfd, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode | owner);
		if (fd == -EEXIST)
			continue;
		if (fd >= 0) {
			struct stat st;
			int rc = sys_unlink(dirfd, path);

			if (!rc && (mode & owner) != owner) {
				rc = sys_fstat(fd, &st);
				if (!rc)
					rc = sys_fchmod(fd, st.st_mode & 07777 & ~(owner & ~mode));
			}

			if (rc) {
				sys_close(fd);
				return rc;
			}
		}
		return fd;
	}
	return -EEXIST;
}

/* @linkable files must keep the chance of a name, so they cannot take the second way. */
static int create_in(int dirfd, const char *dir, mode_t mode, bool linkable)
{
	int fd = sys_openat(dirfd, dir, O_TMPFILE | O_RDWR | (linkable ? 0 : O_EXCL), mode);

	if (fd < 0 && lacks_tmpfile(fd) && !linkable)
		return create_and_unlink(dirfd, dir, mode);
	return fd == -EISDIR || fd == -ENOENT ? -EOPNOTSUPP : fd;
}

/* One errno out of many tries: the most telling is the first that is about space or limits. */
static bool is_final(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

const char *private_file_place(const char *tmpdir, unsigned i)
{
	switch (i) {
	case 0:
		return tmpdir;
	case 1:
		return secure_getenv("TMPDIR");
	case 2:
		return "/var/tmp";
	case 3:
		return "/tmp";
	case 4:
		return secure_getenv("HOME");
	default:
		return ".";
	}
}

/* Makes a file in @dir if that lies on the wanted file system. */
static int create_elsewhere(const struct private_file_request *r, const char *dir)
{
	struct stat st;
	int rc;

	if (!dir || !dir[0])
		return -ENOENT;
	rc = sys_fstatat(AT_FDCWD, dir, 0, &st);
	if (rc)
		return rc;
	if (r->near && st.st_dev != r->near->st_dev)
		return -EXDEV;
	return create_in(AT_FDCWD, dir, r->mode, r->linkable);
}

/*
 * Quiet. The order: the file's own directory, then tmpdir, $TMPDIR, /var/tmp,
 * /tmp, $HOME and the working directory as far as they lie on the file system of
 * near. The errno of the file's own directory if there is no place.
 */
int private_file_create(const struct private_file_request *r, int *ret_fd)
{
	int fd = -ENOENT, first;

	if (r->dirfd >= 0)
		fd = create_in(r->dirfd, ".", r->mode, r->linkable);
	else if (r->dir)
		fd = create_in(AT_FDCWD, r->dir, r->mode, r->linkable);
	first = fd;
	for (unsigned i = 0; fd < 0 && !r->local_only && i < PRIVATE_FILE_PLACES; i++) {
		if (is_final(fd))
			return fd;
		fd = create_elsewhere(r, private_file_place(r->tmpdir, i));
	}
	if (fd < 0)
		return is_final(fd) ? fd : first;
	*ret_fd = fd;
	return 0;
}

/*
 * Gives a new file the flags of another that only an empty file takes. What it
 * could not give is for attributes_carry() to notice.
 */
void private_file_prepare(int like, int fd)
{
	const unsigned early = FS_NOCOW_FL | FS_NOCOMP_FL | FS_COMPR_FL | FS_DAX_FL;
	unsigned wanted, present;

	if (sys_inode_flags_get(like, &wanted) || sys_inode_flags_get(fd, &present))
		return;
	if ((wanted ^ present) & early)
		sys_inode_flags_set(fd, (present & ~early) | (wanted & early));
}

/* Quiet. Memory that only the descriptor leads to; mode 0 keeps /proc/PID/fd shut. */
int private_file_memory(const char *name, int *ret_fd)
{
	int fd = sys_memfd(name);

	if (fd < 0)
		return fd;
	sys_fchmod(fd, 0);
	*ret_fd = fd;
	return 0;
}
