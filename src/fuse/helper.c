/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper.h"
#include "protocol.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

#define HELPERS 2

/* How the kernel makes handles of FUSE files: see fuse_encode_fh() there. Checked with the root's. */
#define HANDLE_TYPE 0x81
#define HANDLE_WORDS 3
#define ROOT_NODE 1

enum what {
	OPEN,
	FLUSH,
	FLUSH_AND_WAIT,
	COUNT,
	CLOSE
};

#define NAME_SIZE (sizeof(SNAPFS_PREFIX) + SNAPFS_TOKEN_SIZE)

/* A file as the kernel has it: its number there, and else a name in the root. */
struct file {
	uint64_t node, generation;
	char name[NAME_SIZE];
};

struct order {
	enum what what;
	struct file file;
};

struct report {
	int rc;
	bool by_name;
	struct helper_counts counts;
};

/* @file: with the lock; it has a name while it is looked up. @by_name, @kept: the name that the kernel keeps */
struct helper {
	int socket;
	pid_t pid;
	bool busy, by_name;
	struct file file;
	char kept[NAME_SIZE];
};

static struct helper helpers[HELPERS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

/* --- in the helper */

union handle {
	struct file_handle handle;
	char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static void fill_handle(uint64_t node, uint64_t generation, union handle *ret)
{
	const uint32_t words[HANDLE_WORDS] = {(uint32_t)(node >> 32), (uint32_t)node, (uint32_t)generation};

	ret->handle.handle_type = HANDLE_TYPE;
	ret->handle.handle_bytes = sizeof(words);
	memcpy(ret->handle.f_handle, words, sizeof(words));
}

static bool handles_are_known(int root)
{
	union handle theirs = {.handle.handle_bytes = MAX_HANDLE_SZ}, ours = {0};
	int mount;

	if (name_to_handle_at(root, "", &theirs.handle, &mount, AT_EMPTY_PATH))
		return false;
	fill_handle(ROOT_NODE, 0, &ours);
	return theirs.handle.handle_type == ours.handle.handle_type &&
	       theirs.handle.handle_bytes == ours.handle.handle_bytes &&
	       !memcmp(theirs.handle.f_handle, ours.handle.f_handle, ours.handle.handle_bytes);
}

/* The kernel has it, so it need not ask. */
static int open_handle(int root, const struct file *file)
{
	union handle handle = {0};

	if (!handles_are_known(root))
		return -1;
	fill_handle(file->node, file->generation, &handle);
	return open_by_handle_at(root, &handle.handle, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static int open_file(const char *directory, const struct file *file, struct report *report)
{
	int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	if (root < 0) {
		report->rc = -errno;
		return -1;
	}
	fd = open_handle(root, file);
	if (fd < 0) {
		report->by_name = true;
		fd = openat(root, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	}
	report->rc = fd < 0 ? -errno : 0;
	close(root);
	return fd;
}

static int count(int fd, struct helper_counts *ret)
{
	const uint64_t all[2] = {0};

	return syscall(SYS_cachestat, fd, all, ret, 0) ? -errno : 0;
}

static int flush(int fd, bool wait)
{
	unsigned flags = SYNC_FILE_RANGE_WRITE;

	if (wait)
		flags |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
	return sync_file_range(fd, 0, 0, flags) ? -errno : 0;
}

static struct report follow(const char *directory, const struct order *order, int *fd)
{
	struct report report = {0};

	switch (order->what) {
	case OPEN:
		*fd = open_file(directory, &order->file, &report);
		break;
	case FLUSH:
	case FLUSH_AND_WAIT:
		report.rc = flush(*fd, order->what == FLUSH_AND_WAIT);
		break;
	case COUNT:
		report.rc = count(*fd, &report.counts);
		break;
	case CLOSE:
		close(*fd);
		*fd = -1;
		break;
	}
	return report;
}

/* Until the other end of the socket is gone. */
static void __attribute__((noreturn)) serve(const char *directory, int socket)
{
	struct order order;
	int fd = -1;

	while (recv(socket, &order, sizeof(order), 0) == sizeof(order)) {
		struct report report = follow(directory, &order, &fd);

		if (send(socket, &report, sizeof(report), MSG_NOSIGNAL) != sizeof(report))
			break;
	}
	_exit(0);
}

/* It has nothing of the program's: no lock, no terminal, nobody who waits for it. */
static void __attribute__((noreturn)) begin(const char *directory, int socket)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (socket != 3)
		dup2(socket, 3);
	close_range(4, ~0u, 0);
	(void)!chdir("/");
	serve(directory, 3);
}

/* --- in the program */

static int start(const char *directory, struct helper *h)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	h->pid = fork();
	if (!h->pid)
		begin(directory, ends[1]);
	close(ends[1]);
	h->socket = ends[0];
	if (h->pid > 0)
		return 0;
	close(ends[0]);
	return -EAGAIN;
}

int helpers_start(const char *directory)
{
	int rc = 0;

	for (int i = 0; i < HELPERS && !rc; i++)
		rc = start(directory, &helpers[i]);
	return rc;
}

void helpers_stop(void)
{
	for (int i = 0; i < HELPERS; i++) {
		if (helpers[i].pid <= 0)
			continue;
		close(helpers[i].socket);
		while (waitpid(helpers[i].pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

static int tell(const struct helper *h, const struct order *order, struct report *ret)
{
	ssize_t n;

	if (send(h->socket, order, sizeof(*order), MSG_NOSIGNAL) != sizeof(*order))
		return -EAGAIN;
	do
		n = recv(h->socket, ret, sizeof(*ret), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*ret) ? ret->rc : -EAGAIN;
}

static struct helper *take_free(const struct file *file)
{
	struct helper *h = NULL;

	pthread_mutex_lock(&lock);
	while (!h) {
		for (int i = 0; i < HELPERS; i++)
			if (!helpers[i].busy)
				h = &helpers[i];
		if (!h)
			pthread_cond_wait(&wake, &lock);
	}
	h->busy = true;
	h->file = *file;
	pthread_mutex_unlock(&lock);
	return h;
}

static void give_back(struct helper *h)
{
	pthread_mutex_lock(&lock);
	h->busy = false;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

/* Whoever learns the name later, such as by inotify(7), has nothing. */
static void end_name(struct helper *h)
{
	pthread_mutex_lock(&lock);
	h->file.name[0] = 0;
	pthread_mutex_unlock(&lock);
}

bool helper_lookup(const char *name, uint64_t *ret)
{
	bool found = false;

	if (strncmp(name, SNAPFS_PREFIX, sizeof(SNAPFS_PREFIX) - 1) != 0)
		return false;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < HELPERS && !found; i++) {
		found = helpers[i].busy && !strcmp(helpers[i].file.name, name);
		if (found)
			*ret = helpers[i].file.node;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

int helper_open(uint64_t node, uint64_t generation, struct helper **ret)
{
	struct order order = {.what = OPEN, .file = {.node = node, .generation = generation}};
	char token[SNAPFS_TOKEN_SIZE];
	struct report report;
	struct helper *h;
	int rc = token_make(token);

	if (rc)
		return rc;
	snprintf(order.file.name, sizeof(order.file.name), SNAPFS_PREFIX "%s", token);
	h = take_free(&order.file);
	rc = tell(h, &order, &report);
	end_name(h);
	if (rc) {
		give_back(h);
		return rc;
	}
	h->by_name = report.by_name;
	if (h->by_name)
		memcpy(h->kept, order.file.name, sizeof(h->kept));
	*ret = h;
	return 0;
}

int helper_flush(struct helper *h, bool wait)
{
	const struct order order = {.what = wait ? FLUSH_AND_WAIT : FLUSH};
	struct report report;

	return tell(h, &order, &report);
}

int helper_count(struct helper *h, struct helper_counts *ret)
{
	const struct order order = {.what = COUNT};
	struct report report;
	int rc = tell(h, &order, &report);

	if (!rc)
		*ret = report.counts;
	return rc;
}

void helper_close(struct helper *h, struct fuse_session *session)
{
	const struct order order = {.what = CLOSE};
	struct report report;

	tell(h, &order, &report);
	if (h->by_name)
		fuse_lowlevel_notify_inval_entry(session, ROOT_NODE, h->kept, strlen(h->kept));
	give_back(h);
}
