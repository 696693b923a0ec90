/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See volume.h. */
#include "config.h"

#include "volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* What it printed, or its end if that is too much, is in @ret. Its exit status, or -1. */
static int run(const char *const *arguments, char *ret, size_t capacity)
{
	int ends[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		execvp(arguments[0], (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	close(ends[1]);
	while ((got = read(ends[0], ret + n, capacity - 1 - n)) > 0) {
		n += (size_t)got;
		if (n > capacity / 2) {
			memmove(ret, ret + n - capacity / 2, capacity / 2);
			n = capacity / 2;
		}
	}
	ret[n] = '\0';
	close(ends[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

int volume_make(const struct file_system *fs, const char *image)
{
	const char *script = getenv("SNAPMAP_TEST_VOLUME");
	const char *size[] = {"truncate", "-s", fs->size, image, NULL};
	const char *make[] = {"bash", script, "make", fs->name, image, NULL};
	char output[2000] = "";

	unlink(image);
	if (script && !run(size, output, sizeof(output)) && !run(make, output, sizeof(output)))
		return 0;
	fprintf(stderr, "cannot make %s: %s\n", fs->name, output);
	return -1;
}

/* A loop device over the file. 0 and a descriptor that keeps it, or -1. */
static int attach(const char *image, char *ret_device, size_t capacity, int *ret_fd)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR};
	int file = open(image, O_RDWR | O_CLOEXEC), fd = -1, rc = -1;

	if (control < 0 || file < 0)
		goto out;
	config.fd = (uint32_t)file;
	/* Somebody else may be quicker with a free one. */
	for (int i = 0; i < 1000 && rc; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		snprintf(ret_device, capacity, "/dev/loop%d", number);
		fd = open(ret_device, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			break;
		rc = ioctl(fd, LOOP_CONFIGURE, &config);
		if (rc)
			close(fd);
		if (rc && errno != EBUSY)
			break;
	}
	if (!rc)
		*ret_fd = fd;
out:
	close(control);
	close(file);
	return rc;
}

/* btrfs remembers devices by name, and is confused by one that has gone back in time. */
static void forget(const char *device)
{
	struct btrfs_ioctl_vol_args args = {0};
	int fd = open("/dev/btrfs-control", O_RDWR | O_CLOEXEC);

	snprintf(args.name, sizeof(args.name), "%s", device);
	if (fd >= 0)
		ioctl(fd, BTRFS_IOC_FORGET_DEV, &args);
	close(fd);
}

int volume_mount(const struct file_system *fs, const char *image, const char *dir)
{
	char device[32];
	int fd, rc, error;

	if (attach(image, device, sizeof(device), &fd))
		return -1;
	if (!strcmp(fs->type, "btrfs"))
		forget(device);
	rc = mount(device, dir, fs->type, 0, fs->options);
	error = errno;
	close(fd);
	errno = error;
	return rc;
}

int volume_unmount(const char *dir)
{
	int rc = -1;

	/* What was killed a moment ago may still be there. */
	for (int i = 0; i < 5000 && rc; i++) {
		rc = umount2(dir, 0);
		if (rc && errno != EBUSY)
			break;
		if (rc)
			usleep(1000);
	}
	return rc;
}

int volume_check(const struct file_system *fs, const char *image, char *ret, size_t capacity)
{
	const char *check[] = {"bash", getenv("SNAPMAP_TEST_VOLUME"), "check", fs->name, image, NULL};

	return run(check, ret, capacity) ? -1 : 0;
}
