/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See slow_disk.h. The root of the FUSE file system is a regular file, so there are no
 * names, and few requests to answer; the protocol is that of linux/fuse.h.
 */
#include "config.h"

#include "slow_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_SIZE ((size_t)64 << 20)
#define MAX_WRITE ((size_t)128 << 10)

static void reply(int fuse, uint64_t unique, int error, const void *data, size_t n)
{
	struct fuse_out_header head = {.len = (uint32_t)(sizeof(head) + n), .error = error, .unique = unique};
	struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, n}};

	(void)!writev(fuse, parts, n ? 2 : 1);
}

static void answer_init(int fuse, const struct fuse_in_header *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = MAX_WRITE,
		.max_write = MAX_WRITE,
	};

	reply(fuse, in->unique, 0, &out, sizeof(out));
}

static void answer_getattr(int fuse, const struct fuse_in_header *in)
{
	struct fuse_attr_out out = {
		.attr_valid = 1000,
		.attr = {.ino = 1, .size = DISK_SIZE, .mode = S_IFREG | 0600, .nlink = 1, .blksize = 4096},
	};

	reply(fuse, in->unique, 0, &out, sizeof(out));
}

static void answer_read(int fuse, const struct fuse_in_header *in, int image, const atomic_bool *hold)
{
	static char data[1 << 20];
	const struct fuse_read_in *r = (const void *)(in + 1);
	ssize_t got;

	while (atomic_load(hold))
		usleep(1000);
	got = pread(image, data, r->size < sizeof(data) ? r->size : sizeof(data), (off_t)r->offset);
	reply(fuse, in->unique, got < 0 ? -EIO : 0, data, got < 0 ? 0 : (size_t)got);
}

static void answer_write(int fuse, const struct fuse_in_header *in, int image)
{
	const struct fuse_write_in *w = (const void *)(in + 1);
	struct fuse_write_out out = {0};
	ssize_t done = pwrite(image, w + 1, w->size, (off_t)w->offset);

	out.size = done < 0 ? 0 : (uint32_t)done;
	reply(fuse, in->unique, done < 0 ? -EIO : 0, &out, done < 0 ? 0 : sizeof(out));
}

static void answer(int fuse, const struct fuse_in_header *in, int image, const atomic_bool *hold)
{
	/* The loop device is to ask each time. */
	const struct fuse_open_out opened = {.open_flags = FOPEN_DIRECT_IO};

	switch (in->opcode) {
	case FUSE_INIT:
		answer_init(fuse, in);
		break;
	case FUSE_GETATTR:
		answer_getattr(fuse, in);
		break;
	case FUSE_OPEN:
		reply(fuse, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		answer_read(fuse, in, image, hold);
		break;
	case FUSE_WRITE:
		answer_write(fuse, in, image);
		break;
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_RELEASE:
		reply(fuse, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		reply(fuse, in->unique, -ENOSYS, NULL, 0);
	}
}

static void serve(int fuse, int image, const atomic_bool *hold)
{
	static union {
		struct fuse_in_header head;
		char bytes[MAX_WRITE + 65536];
	} request;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		ssize_t n = read(fuse, &request, sizeof(request));

		if (n >= (ssize_t)sizeof(request.head))
			answer(fuse, &request.head, image, hold);
		else if (n >= 0 || (errno != EINTR && errno != EAGAIN && errno != ENOENT))
			_exit(0);
	}
}

static bool mount_fuse(int fuse)
{
	char options[80];

	snprintf(options, sizeof(options), "fd=%d,rootmode=100600,user_id=0,group_id=0", fuse);
	return !mount("slow-disk", "disk", "fuse", MS_NOSUID | MS_NODEV, options);
}

int slow_disk_start(struct slow_disk *ret)
{
	struct slow_disk d = {0};
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), image = -1, disk = -1, rc = -1;

	if (fuse < 0)
		return -1;
	d.hold = mmap(NULL, sizeof(*d.hold), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	image = open("image", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	disk = open("disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d.hold == MAP_FAILED || image < 0 || disk < 0 || ftruncate(image, DISK_SIZE) || mkdir("slow", 0755) ||
	    system("mkfs.ext4 -q -F -m 0 image >/dev/null 2>&1") || !mount_fuse(fuse))
		goto out;
	d.server = fork();
	if (!d.server)
		serve(fuse, image, d.hold);
	rc = d.server < 0 || system("mount -o loop disk slow 2>/dev/null") ? -1 : 0;
	*ret = d;
	if (rc)
		slow_disk_stop(&d);
out:
	close(fuse);
	close(image);
	close(disk);
	return rc;
}

void slow_disk_stop(struct slow_disk *d)
{
	atomic_store(d->hold, false);
	/* What was busy a moment ago may still be. */
	for (int i = 0; i < 200 && umount2("slow", 0) && errno == EBUSY; i++)
		usleep(10000);
	for (int i = 0; i < 200 && umount2("disk", 0) && errno == EBUSY; i++)
		usleep(10000);
	if (d->server > 0) {
		kill(d->server, SIGKILL);
		waitpid(d->server, NULL, 0);
	}
	munmap(d->hold, sizeof(*d->hold));
}
