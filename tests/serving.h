/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directory "below" shown in "fuse" by odd_fs.c, both in a directory of their own, which becomes
 * the current one. It is in a mount namespace that ends with the test and with the daemon, which
 * ends with the test: so nothing stays mounted, however a test ends.
 */
#ifndef SNAPMAP_SERVING_H
#define SNAPMAP_SERVING_H

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

static char serving_home[4096];
static pid_t serving_pid;

static inline int run_quietly(const char *command)
{
	char line[4400];

	snprintf(line, sizeof(line), "%s >/dev/null 2>&1", command);
	return system(line);
}

static inline bool serving_is_there(void)
{
	struct stat st, below;

	return !stat("fuse", &st) && !stat("below", &below) && st.st_dev != below.st_dev;
}

static inline bool serving_run(void)
{
	int status;

	serving_pid = fork();
	ck_assert_sys(serving_pid);
	if (!serving_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("odd_fs", "odd_fs", "below", "fuse", (char *)NULL);
		_exit(127);
	}
	while (!serving_is_there()) {
		if (waitpid(serving_pid, &status, WNOHANG)) {
			serving_pid = 0;
			return false;
		}
		usleep(1000);
	}
	return true;
}

/* NULL, or why it cannot be had. */
static inline const char *serving_start(void)
{
	const char *scratch = getenv("SNAPMAP_TEST_SCRATCH");

	if (!test_is_root())
		return "mounting is for root";
	if (!scratch || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return "no mount namespace";
	snprintf(serving_home, sizeof(serving_home), "%s/serving.XXXXXX", scratch);
	ck_assert(mkdtemp(serving_home) && !chdir(serving_home));
	ck_assert(!mkdir("below", 0755) && !mkdir("fuse", 0755));
	return serving_run() ? NULL : "FUSE does not work here, or the library was built without fuse3";
}

static inline void serving_stop(void)
{
	char line[4200];

	if (serving_pid) {
		ck_assert_sys(umount("fuse"));
		ck_assert_int_eq(waitpid(serving_pid, NULL, 0), serving_pid);
	}
	ck_assert(!chdir("/"));
	if (!serving_home[0])
		return;
	snprintf(line, sizeof(line), "rm -rf %s", serving_home);
	ck_assert_int_eq(run_quietly(line), 0);
}

/* @failed: NULL, or why the test cannot be made. */
#define serving_need(failed, what, tear_down)               \
	do {                                                \
		const char *why_not = (failed);             \
                                                            \
		if (why_not) {                              \
			tear_down();                        \
			test_skip("%s: %s", what, why_not); \
		}                                           \
	} while (0)

/* An empty disk "fuse/disk", and the directory "disk" to mount it on. */
static inline void serving_make_disk(off_t size)
{
	int fd = open("fuse/disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_sys(fd);
	ck_assert_sys(ftruncate(fd, size));
	close(fd);
	ck_assert_sys(mkdir("disk", 0755));
}

/* What odd_fs does while there is such a file. */
static inline void serving_switch(const char *name, bool on)
{
	char path[300];

	snprintf(path, sizeof(path), "below/%s", name);
	if (on)
		test_write_file(path, "", 0);
	else
		ck_assert_sys(unlink(path));
}

#endif
