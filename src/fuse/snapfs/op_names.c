/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about names. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wrapper.h"

/* The directory of snapshots hides the one below that is for temporary files. */
bool is_ours(fuse_ino_t parent, const char *name)
{
	return parent == FUSE_ROOT_ID && !strcmp(name, SNAPFS_DIR);
}

struct reach directory_to_change(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	const struct file *file = file_of(ino);
	struct reach reach = {.fd = -EPERM};

	if (file && !is_ours(ino, name))
		reach = file_reach(file);
	if (reach.fd < 0)
		fuse_reply_err(req, -reach.fd);
	return reach;
}

void reply_rc(fuse_req_t req, int rc)
{
	fuse_reply_err(req, rc < 0 ? -rc : 0);
}

static fuse_ino_t number_of(const struct file *file)
{
	return file == &wrapper.root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)file;
}

/* A reply that does not arrive leaves the kernel without the hold. */
void reply_entry(fuse_req_t req, struct file *file, struct stat *st)
{
	const double timeout = wrapper.request->timeout;
	struct fuse_entry_param entry = {
		.ino = number_of(file), .attr = *st, .attr_timeout = timeout, .entry_timeout = timeout};

	file_show(&entry.attr);
	if (fuse_reply_entry(req, &entry) == -ENOENT)
		file_forget(file, 1);
}

/* Takes over the descriptor, or answers with the error that is there instead. */
static void reply_found(fuse_req_t req, fuse_ino_t parent, const char *name, int fd)
{
	struct file *file;
	struct stat st;
	int rc = fd < 0 ? fd : file_get(fd, parent, name, &st, &file);

	if (rc)
		reply_rc(req, rc);
	else
		reply_entry(req, file, &st);
}

static int open_name(int dir, const char *name)
{
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void reply_snapshot(fuse_req_t req, struct snapshot *s)
{
	struct fuse_entry_param entry = {.ino = (fuse_ino_t)(uintptr_t)s, .attr_timeout = WRAPPER_TIMEOUT};

	snapshot_stat(s, &entry.attr);
	if (fuse_reply_entry(req, &entry) == -ENOENT)
		snapshot_forget(s, 1);
}

static void reply_pages(fuse_req_t req, struct file *file)
{
	struct stat st;
	int rc = file_stat(file, &st);
	struct fuse_entry_param entry = {.ino = number_of(file), .attr = st, .attr_timeout = wrapper.request->timeout};

	if (rc || fuse_reply_entry(req, &entry) == -ENOENT)
		file_forget(file, 1);
	if (rc)
		reply_rc(req, rc);
}

/* Names that no directory has, and each one finds. */
static bool look_up_ours(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	bool in_dir = node_of(parent) == &control_dir;
	size_t n = in_dir ? 0 : sizeof(SNAPFS_PREFIX) - 1;
	struct snapshot *s;
	struct file *pages;

	if (is_ours(parent, name)) {
		control_lookup(req, parent, name);
		return true;
	}
	if (strncmp(name, SNAPFS_PREFIX, n) != 0)
		return false;
	s = snapshot_lookup(name + n);
	pages = s || in_dir ? NULL : freeze_lookup(name);
	if (s)
		reply_snapshot(req, s);
	else if (pages)
		reply_pages(req, pages);
	else if (in_dir)
		control_lookup(req, parent, name);
	return s || pages || in_dir;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct fuse_entry_param none = {.entry_timeout = wrapper.request->timeout};
	const struct file *file = file_of(parent);
	REACH at = {.fd = -1};
	int fd;

	if (look_up_ours(req, parent, name))
		return;
	at = file ? file_reach(file) : (struct reach){.fd = -ENOTDIR};
	fd = at.fd < 0 ? at.fd : open_name(at.fd, name);
	if (fd == -ENOENT)
		fuse_reply_entry(req, &none);
	else
		reply_found(req, parent, name, fd);
}

static void forget(fuse_ino_t ino, uint64_t n)
{
	struct snapshot *s = snapshot_of(ino);
	struct file *file = file_of(ino);

	if (s)
		snapshot_forget(s, n);
	else if (file)
		file_forget(file, n);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget(ino, n);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* --- making */

/* @rc: of the call that made it, as errno has it if it is not 0. */
static void reply_made(fuse_req_t req, int rc, fuse_ino_t parent, int dir, const char *name)
{
	rc = rc ? -errno : 0;
	caller_leave(req);
	reply_found(req, parent, name, rc ? rc : open_name(dir, name));
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	REACH at = directory_to_change(req, parent, name);

	if (at.fd < 0)
		return;
	caller_become(req);
	reply_made(req, mknodat(at.fd, name, mode, device), parent, at.fd, name);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	REACH at = directory_to_change(req, parent, name);

	if (at.fd < 0)
		return;
	caller_become(req);
	reply_made(req, mkdirat(at.fd, name, mode), parent, at.fd, name);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	REACH at = directory_to_change(req, parent, name);

	if (at.fd < 0)
		return;
	caller_become(req);
	reply_made(req, symlinkat(target, at.fd, name), parent, at.fd, name);
}

static int link_to(const struct file *file, int dir, const char *name)
{
	REACH at = file_reach(file);

	if (at.fd < 0)
		return at.fd;
	if (!linkat(at.fd, "", dir, name, AT_EMPTY_PATH))
		return 0;
	if (errno != ENOENT)
		return -errno;
	/* Not allowed that way for who has no rights. */
	return linkat(AT_FDCWD, file_path(at.fd).text, dir, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	const struct file *file = file_of(ino);
	REACH dir = directory_to_change(req, parent, name);
	int rc;

	if (dir.fd < 0)
		return;
	rc = file ? link_to(file, dir.fd, name) : -EPERM;
	reply_found(req, parent, name, rc ? rc : open_name(dir.fd, name));
}

/* --- unmaking */

static void unlink_name(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	REACH dir = directory_to_change(req, parent, name);

	if (dir.fd >= 0)
		reply_rc(req, unlinkat(dir.fd, name, flags) ? -errno : 0);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	unlink_name(req, parent, name, 0);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	unlink_name(req, parent, name, AT_REMOVEDIR);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
	       unsigned flags)
{
	REACH dir = directory_to_change(req, parent, name), new_dir = {.fd = -1};

	if (dir.fd < 0)
		return;
	new_dir = directory_to_change(req, new_parent, new_name);
	if (new_dir.fd >= 0)
		reply_rc(req, renameat2(dir.fd, name, new_dir.fd, new_name, flags) ? -errno : 0);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	const struct file *file = file_of(ino);
	char target[PATH_MAX + 1];
	REACH at = file_reach(file ? file : &wrapper.root);
	ssize_t n;

	if (!file || at.fd < 0) {
		reply_rc(req, file ? at.fd : -EINVAL);
		return;
	}
	n = readlinkat(at.fd, "", target, sizeof(target) - 1);
	if (n < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	target[n] = 0;
	fuse_reply_readlink(req, target);
}
