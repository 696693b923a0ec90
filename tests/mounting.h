/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An image "i" that is mounted on the directory "m" of the running test. */
#ifndef SNAPMAP_MOUNTING_H
#define SNAPMAP_MOUNTING_H

#include "check_cli.h"

#include <minifs.h>
#include <sched.h>
#include <snapmap.h>
#include <sys/mount.h>

#define need_mounts()                                     \
	do {                                              \
		if (!test_is_root())                      \
			test_skip("only root may mount"); \
	} while (0)

#define ck_sys(call)                                                     \
	({                                                               \
		long long rc_ = (long long)(call);                       \
		ck_assert_msg(rc_ != -1, #call ": %s", strerror(errno)); \
		rc_;                                                     \
	})

/* The kernel tells of the last close(2) when it likes. */
#define ck_soon(condition)                                   \
	do {                                                 \
		bool is_ = (condition);                      \
		for (int i_ = 0; !is_ && i_ < 5000; i_++) {  \
			usleep(1000);                        \
			is_ = (condition);                   \
		}                                            \
		ck_assert_msg(is_, "not soon: " #condition); \
	} while (0)

/* A user who may open the device of FUSE, as most systems have it. Only this test sees it. */
#define NOBODY 65534
#define AS_USER "setpriv --reuid=65534 --regid=65534 --clear-groups "

static inline void let_user_mount(void)
{
	ck_sys(unshare(CLONE_NEWNS));
	ck_sys(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	/* The file system of the test may be one on which no device can be opened. */
	ck_run(0, "mkdir devices && mount -t tmpfs none devices && mknod -m 666 devices/fuse c 10 229");
	/* It was once seen to need a second look. */
	ck_soon(!run("mount --bind devices/fuse /dev/fuse") && !run(AS_USER "sh -c ': <>/dev/fuse'"));
}

static inline void mount_image(const char *options)
{
	ck_run(0, "mount.minifs i m %s", options);
}

/* @arguments: of mkfs.minifs. */
static inline void mount_new(const char *arguments)
{
	ck_run(0, "mkfs.minifs -q i %s && mkdir -p m", arguments);
	mount_image("");
}

static inline void unmount_image(void)
{
	ck_run(0, "umount.minifs m");
	ck_run(0, "fsck.minifs i");
}

static inline void mount_again(void)
{
	unmount_image();
	mount_image("");
}

static inline bool is_mounted(void)
{
	struct stat st, above;

	return !stat("m", &st) && !stat(".", &above) && st.st_dev != above.st_dev;
}

/* The server as a child of the test, once the image is mounted. */
static inline pid_t mount_in_foreground(const char *options)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		execlp("mount.minifs", "mount.minifs", "-f", "i", "m", "-o", options, NULL);
		_exit(99);
	}
	while (!is_mounted()) {
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
		usleep(1000);
	}
	return pid;
}

/* A crash of the server. */
static inline void kill_server(pid_t pid)
{
	ck_assert(!kill(pid, SIGKILL));
	ck_assert_int_eq(wait_for(pid), 128 + SIGKILL);
	ck_run(0, "umount -l m");
	ck_run(0, "fsck.minifs i");
}

#define ck_fails(call, error)                                                                \
	do {                                                                                 \
		errno = 0;                                                                   \
		ck_assert_msg((long long)(call) == -1, #call " did not fail");               \
		ck_assert_msg(errno == (error), #call ": %s, not " #error, strerror(errno)); \
	} while (0)

static inline int open_in(const char *path, int flags)
{
	return (int)ck_sys(open(path, flags | O_CLOEXEC, 0644));
}

/* What names in "m" can be, and errors of those that cannot. Leaves a directory "later". */
static inline void check_names(void)
{
	char name[300], path[310];
	struct stat st;

	memset(name, 'n', sizeof(name));
	name[255] = 0;
	snprintf(path, sizeof(path), "m/%s", name);
	close(open_in(path, O_CREAT | O_WRONLY));
	ck_sys(stat(path, &st));
	name[255] = 'n';
	name[256] = 0;
	snprintf(path, sizeof(path), "m/%s", name);
	ck_fails(open(path, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
	ck_fails(open("m/none", O_RDONLY), ENOENT);
	/* What was told to be missing is found once it is there. */
	ck_fails(stat("m/later", &st), ENOENT);
	ck_sys(mkdir("m/later", 0755));
	ck_sys(stat("m/later", &st));
	ck_fails(mkdir("m/later", 0755), EEXIST);
	ck_fails(unlink("m/later"), EISDIR);
	ck_fails(rmdir("m/none"), ENOENT);
	ck_sys(mkdir("m/later/in", 0755));
	ck_fails(rmdir("m/later"), ENOTEMPTY);
	ck_fails(rename("m/later", "m/later/in/x"), EINVAL);
	ck_sys(symlink("loop", "m/loop"));
	ck_fails(stat("m/loop", &st), ELOOP);
}

static inline unsigned long free_of_mount(void)
{
	unsigned long blocks;

	ck_run(0, "stat -f -c %%f m");
	blocks = strtoul(out, NULL, 10);
	return blocks;
}

#endif
