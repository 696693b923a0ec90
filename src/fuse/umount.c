/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * umount.minifs: unmounts an image, and returns once all of it is in the image. The
 * kernel does not wait for the program behind a mount to end; this does: the program
 * tells how its last commit went (ending.c). mount(8) finds it as umount.fuse.minifs.
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
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
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

/**
 * struct mounted - an image that is mounted
 * @server: connected to who serves it; -1: nobody to ask
 */
struct mounted {
	char directory[PATH_MAX], image[PATH_MAX];
	bool read_only;
	int server;
};

/* The image that is mounted on the directory: the last such line counts. */
static int find_image(struct mounted *m)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	int rc = -EINVAL;

	if (!mounts)
		return -errno;
	while ((entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_dir, m->directory)) {
			bool ours = !strcmp(entry->mnt_type, "fuse.minifs");

			rc = ours ? 0 : -EINVAL;
			snprintf(m->image, sizeof(m->image), "%s", ours ? entry->mnt_fsname : "");
			m->read_only = ours && hasmntopt(entry, "ro");
		}
	endmntent(mounts);
	return rc;
}

static int connect_to(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t n = strlen(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	memcpy(address.sun_path + 1, name, n);
	if (!connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) &&
	    !fcntl(fd, F_SETFL, 0))
		return fd;
	close(fd);
	return -1;
}

/* What could not be committed must not be lost by unmounting: this writes back, and commits. */
static int commit_at(struct mounted *m, int fd)
{
	struct control_ending ending;

	if (!ioctl(fd, CONTROL_ENDING, &ending) && memchr(ending.socket, 0, sizeof(ending.socket)))
		m->server = connect_to(ending.socket);
	return syncfs(fd) || fsync(fd) ? -errno : 0;
}

/* If its server is gone there is nothing to commit; another user's is not root's to look into. */
static int commit(struct mounted *m)
{
	int fd = open(m->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return errno == ENOTCONN || (errno == EACCES && !geteuid()) ? 0 : -errno;
	rc = commit_at(m, fd);
	close(fd);
	return rc;
}

/* The next best. A commit may give the name to another file, so it is looked at again. */
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

/* Until the server is done. */
static int wait_for_end(const struct mounted *m)
{
	unsigned char byte;
	ssize_t n;

	if (m->server < 0) {
		if (!m->read_only)
			wait_for_lock(m->image);
		return OK;
	}
	do
		n = read(m->server, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		return tool_say(FAILED, "who served '%s' was killed: it is as it was at its last commit", m->image);
	if (byte)
		return tool_say(FAILED,
				"the last changes of '%s' are lost, for they could not be committed (%s): it is as it "
				"was at its last commit",
				m->image, strerror(byte));
	return OK;
}

static int unmount(const char *name, int flags)
{
	struct mounted m = {.server = -1};
	int rc;

	if (!realpath(name, m.directory))
		return tool_say(FAILED, "cannot find '%s': %s", name, strerror(errno));
	if (find_image(&m))
		return tool_say(FAILED, "no image is mounted on '%s'", name);
	rc = commit(&m);
	if (rc)
		return tool_say(FAILED,
				"cannot commit '%s' (%s), so '%s' stays mounted: free some room where it lies, or copy "
				"what you need to another place",
				m.image, strerror(-rc), name);
	rc = unmount_from(m.directory, flags);
	if (rc)
		return tool_say(FAILED, "cannot unmount '%s': %s", name, strerror(-rc));
	return wait_for_end(&m);
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

	tool_start("umount.minifs");
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
