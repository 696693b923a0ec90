/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * umount.minifs: unmounts an image, and returns once all of it is in the image. The
 * kernel does not wait for the program behind a mount to end; this does, by the lock
 * that the program has on the image. mount(8) finds it as umount.fuse.minifs.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <mntent.h>
#include <snapmap.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/cli/tool.h"

enum {
	OK = 0,
	FAILED = 1,
};

static const char usage[] = "Usage: umount.minifs [-l] DIRECTORY\n"
			    "\n"
			    "Commits and unmounts a mounted image, and returns once nobody uses the image.\n"
			    "\n"
			    "  -l, --lazy      unmount although it is in use; returns when that has ended\n"
			    "  -h, --help      this text\n"
			    "  -V, --version   the version of the library\n";

/* The image that is mounted on @directory: the last such line counts. */
static int find_image(const char *directory, char ret[PATH_MAX])
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	int rc = -EINVAL;

	if (!mounts)
		return -errno;
	while ((entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_dir, directory)) {
			bool ours = !strcmp(entry->mnt_type, "fuse.minifs");

			rc = ours ? 0 : -EINVAL;
			snprintf(ret, PATH_MAX, "%s", ours ? entry->mnt_fsname : "");
		}
	endmntent(mounts);
	return rc;
}

/* What could not be committed must not be lost by unmounting. */
static int commit(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return errno == ENOTCONN ? 0 : -errno;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc == -EROFS ? 0 : rc;
}

/* A commit may give the name to another file, so it is looked at again. */
static void wait_for_lock(const char *image)
{
	struct stat held, named;
	bool same = false;

	while (!same) {
		int fd = open(image, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd < 0 || flock(fd, LOCK_SH) || fstat(fd, &held) || stat(image, &named))
			same = true;
		else
			same = held.st_dev == named.st_dev && held.st_ino == named.st_ino;
		if (fd >= 0)
			close(fd);
	}
}

/* Who is not root has to ask. */
static int ask_fusermount(char *directory, int flags)
{
	char *argv[] = {(char[]){"fusermount3"}, flags & MNT_DETACH ? (char[]){"-uz"} : (char[]){"-u"}, (char[]){"--"},
			directory, NULL};
	pid_t pid;
	int status, error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (error)
		return -error;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EPERM;
}

static int unmount_from(char *directory, int flags)
{
	if (!umount2(directory, flags))
		return 0;
	return errno == EPERM && geteuid() ? ask_fusermount(directory, flags) : -errno;
}

static int unmount(const char *name, int flags)
{
	char directory[PATH_MAX], image[PATH_MAX];
	int rc;

	if (!realpath(name, directory))
		return tool_say(FAILED, "cannot find '%s': %s", name, strerror(errno));
	if (find_image(directory, image))
		return tool_say(FAILED, "no image is mounted on '%s'", name);
	rc = commit(directory);
	if (rc)
		return tool_say(FAILED, "cannot commit '%s', so '%s' stays mounted: %s", image, name, strerror(-rc));
	rc = unmount_from(directory, flags);
	if (rc)
		return tool_say(FAILED, "cannot unmount '%s': %s", name, strerror(-rc));
	wait_for_lock(image);
	return OK;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"lazy", no_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int option, flags = UMOUNT_NOFOLLOW;

	tool_name = "umount.minifs";
	opterr = 0;
	while ((option = getopt_long(argc, argv, "fhlnrvVt:O:", long_options, NULL)) != -1)
		switch (option) {
		case 'l':
			flags |= MNT_DETACH;
			break;
		case 'f': /* umount(8) passes these on; they mean nothing here */
		case 'n':
		case 'r':
		case 'v':
		case 't':
		case 'O':
			break;
		case 'h':
			fputs(usage, stdout);
			return tool_output(OK, FAILED);
		case 'V':
			printf("umount.minifs %s\n", snapmap_version());
			return tool_output(OK, FAILED);
		default:
			return tool_say(FAILED, "there is no option '%s'; see 'umount.minifs --help'",
					argv[optind - 1]);
		}
	if (argc - optind != 1)
		return tool_say(FAILED, "it wants one directory; see 'umount.minifs --help'");
	return unmount(argv[optind], flags);
}
