/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Acting for the caller. What is made is to be the caller's from the first moment, also
 * for quotas. The kernel has looked at permissions already, with all groups of the
 * caller, so making is done with the caller's user and group and our own rights.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wrapper.h"

#define MOST_GROUPS 256

static _Thread_local struct __user_cap_data_struct rights[_LINUX_CAPABILITY_U32S_3];

static struct __user_cap_header_struct header(void)
{
	return (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3};
}

/*
 * Its own umask, for each caller's. Without the right to go beyond limits, so that those
 * of users hold for what is written for them.
 */
void caller_begin_thread(void)
{
	struct __user_cap_header_struct h = header();

	(void)!unshare(CLONE_FS);
	umask(0);
	if (!wrapper.as_root || syscall(SYS_capget, &h, rights))
		return;
	rights[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
	syscall(SYS_capset, &h, rights);
}

/* The kernel takes rights away with the user, and they are taken back. */
void caller_become(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct __user_cap_header_struct h = header();

	umask(ctx->umask);
	if (!wrapper.as_root)
		return;
	if (ctx->gid)
		setfsgid(ctx->gid);
	if (!ctx->uid)
		return;
	setfsuid(ctx->uid);
	syscall(SYS_capset, &h, rights);
}

void caller_leave(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	umask(0);
	if (!wrapper.as_root)
		return;
	if (ctx->uid)
		setfsuid(0);
	if (ctx->gid)
		setfsgid(0);
}

/* Only of this thread, which the C library's function would not do. */
static void set_groups(size_t n, const gid_t *groups)
{
	syscall(SYS_setgroups, n, groups);
}

/* Looked at before it is opened, so that no device is. */
static int open_beneath(const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int place = (int)syscall(SYS_openat2, wrapper.root.fd, path, &how, sizeof(how)), fd;
	struct stat st;

	if (place < 0)
		return -errno;
	if (fstat(place, &st))
		fd = -errno;
	else if (!S_ISREG(st.st_mode))
		fd = S_ISDIR(st.st_mode) ? -EISDIR : -EOPNOTSUPP;
	else
		fd = open(file_path(place).text, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		fd = -errno;
	close(place);
	return fd;
}

int caller_open(fuse_req_t req, const char *path)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	gid_t groups[MOST_GROUPS];
	int n, fd;

	if (!wrapper.as_root || !ctx->uid)
		return open_beneath(path);
	n = fuse_req_getgroups(req, MOST_GROUPS, groups);
	n = n < 0 ? 0 : n > MOST_GROUPS ? MOST_GROUPS : n;
	set_groups((size_t)n, groups);
	setfsgid(ctx->gid);
	setfsuid(ctx->uid);
	fd = open_beneath(path);
	setfsuid(0);
	setfsgid(0);
	set_groups(0, NULL);
	return fd;
}
