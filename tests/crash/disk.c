/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See disk.h. */
#define FUSE_USE_VERSION 31

#include "config.h"

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pages contents;
static int record_fd;

/* A record with a hole would make wrong states: better no disk at all. */
static void note(enum event_kind kind, uint64_t offset, size_t length, const void *data)
{
	if (record_fd >= 0 && record_append(record_fd, kind, offset, length, data))
		_exit(1);
}

static struct stat attributes(void)
{
	return (struct stat){
		.st_ino = FUSE_ROOT_ID,
		.st_mode = S_IFREG | 0600,
		.st_nlink = 1,
		.st_size = (off_t)contents.size,
		.st_blocks = (blkcnt_t)(contents.size / 512),
		.st_blksize = 4096,
	};
}

static void disk_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes();

	(void)ino;
	(void)fi;
	fuse_reply_attr(req, &st, 1000);
}

/* Each read and write comes here, when it is made. */
static void disk_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void disk_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t offset, struct fuse_file_info *fi)
{
	static char buf[1 << 20];
	uint64_t at = (uint64_t)offset;

	(void)ino;
	(void)fi;
	if (n > sizeof(buf))
		n = sizeof(buf);
	if (at >= contents.size)
		n = 0;
	else if (n > contents.size - at)
		n = (size_t)(contents.size - at);
	pages_read(&contents, at, n, buf);
	fuse_reply_buf(req, buf, n);
}

static void disk_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t n, off_t offset,
		       struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	pages_write(&contents, (uint64_t)offset, n, buf);
	note(EVENT_WRITE, (uint64_t)offset, n, buf);
	fuse_reply_write(req, n);
}

static void disk_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	note(EVENT_FLUSH, 0, 0, NULL);
	fuse_reply_err(req, 0);
}

static void disk_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t n, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	pages_zero(&contents, (uint64_t)offset, (size_t)n);
	note(EVENT_ZERO, (uint64_t)offset, (size_t)n, NULL);
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops operations = {
	.getattr = disk_getattr,
	.open = disk_open,
	.read = disk_read,
	.write = disk_write,
	.fsync = disk_fsync,
	.fallocate = disk_fallocate,
};

/* As in tests/eio_fs.c: who serves a mounted disk must not be the last to see that mount. */
static int stand_aside(const char *mount_point)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	return umount2(mount_point, MNT_DETACH);
}

static bool take_mark(int socket)
{
	struct mark m;
	int rc = mark_take(socket, &m);

	if (rc > 0) {
		note(EVENT_MARK, 0, sizeof(m), &m);
		mark_answer(socket);
	}
	return rc >= 0;
}

static void answer_all(struct fuse_session *se, int socket)
{
	struct pollfd wait[2] = {{.fd = fuse_session_fd(se), .events = POLLIN}, {.fd = socket, .events = POLLIN}};
	struct fuse_buf buf = {0};

	while (!fuse_session_exited(se)) {
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			break;
		if (wait[1].revents && !take_mark(socket))
			wait[1].fd = -1;
		if (wait[0].revents) {
			int n = fuse_session_receive_buf(se, &buf);

			if (n == -EINTR || n == -EAGAIN)
				continue;
			if (n <= 0)
				break;
			fuse_session_process_buf(se, &buf);
		}
	}
}

static void serve(const char *path, int socket, int ready)
{
	char program[] = "crash-disk";
	char *arguments[] = {program, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
	struct fuse_session *se;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_DFL);
	se = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!se || fuse_session_mount(se, path) || stand_aside(path))
		_exit(1);
	(void)!write(ready, "", 1);
	close(ready);
	answer_all(se, socket);
	_exit(0);
}

int disk_start(const char *path, const struct pages *pages, int record, struct disk *ret)
{
	int sockets[2], ready[2];
	struct disk d;
	char byte;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -1;
	if (pipe2(ready, O_CLOEXEC)) {
		close(sockets[0]);
		close(sockets[1]);
		return -1;
	}
	d.server = fork();
	if (!d.server) {
		close(sockets[0]);
		close(ready[0]);
		contents = *pages;
		record_fd = record;
		serve(path, sockets[1], ready[1]);
	}
	close(sockets[1]);
	close(ready[1]);
	d.marks = sockets[0];
	if (d.server < 0 || read(ready[0], &byte, 1) != 1) {
		close(ready[0]);
		close(sockets[0]);
		if (d.server > 0)
			waitpid(d.server, NULL, 0);
		return -1;
	}
	close(ready[0]);
	*ret = d;
	return 0;
}

int disk_stop(const char *path, struct disk *d)
{
	int rc = -1;

	/* A loop device lets go of its file a moment after its last user. */
	for (int i = 0; i < 2000 && rc; i++) {
		rc = umount2(path, 0);
		if (rc && errno != EBUSY)
			break;
		if (rc)
			usleep(1000);
	}
	if (rc)
		umount2(path, MNT_DETACH);
	close(d->marks);
	kill(d->server, SIGKILL);
	waitpid(d->server, NULL, 0);
	return rc;
}
