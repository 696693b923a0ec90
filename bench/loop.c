/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* mkfs.btrfs takes two devices for the same if the names of their files are: so each gets a name of its own. */
static int make_in_memory(void)
{
	static unsigned count;
	char name[64];

	snprintf(name, sizeof(name), "snapmap-bench-%d-%u", getpid(), ++count);
	return memfd_create(name, MFD_CLOEXEC);
}

static int make_image(const char *dir, uint64_t size, struct why *why)
{
	int fd = dir ? open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : make_in_memory();

	if (fd >= 0 && !ftruncate(fd, (off_t)size))
		return fd;
	why_set(why, -errno, "cannot make an image in %s: %s", dir ? dir : "memory", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -EIO;
}

/* Somebody else may take the free device first; then the next one is tried. */
static int attach(int control, int image, char ret_path[64])
{
	struct loop_config config = {.fd = (__u32)image, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};

	for (int tries = 0; tries < 64; tries++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE), fd;

		if (number < 0)
			return -errno;
		snprintf(ret_path, 64, "/dev/loop%d", number);
		fd = open(ret_path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (!ioctl(fd, LOOP_CONFIGURE, &config))
			return fd;
		close(fd);
		if (errno != EBUSY)
			return -errno;
	}
	return -EBUSY;
}

int loop_create(const char *dir, uint64_t size, char ret_path[64], struct why *why)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), image, fd;

	if (control < 0)
		return why_set(why, -errno, "cannot make a loop device: /dev/loop-control: %s", strerror(errno));
	image = make_image(dir, size, why);
	if (image < 0) {
		close(control);
		return image;
	}
	fd = attach(control, image, ret_path);
	close(control);
	close(image);
	return fd < 0 ? why_set(why, fd, "cannot make a loop device: %s", strerror(-fd)) : fd;
}
