/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of commit share: see committing.h. */
#include "config.h"

#include "committing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- ways */

/* clang-format off */
static const struct way ways[WAYS_TOO] = {
	{SNAPMAP_SOURCE_AUTO, SNAPMAP_STRATEGY_AUTO, false, 0},
	{SNAPMAP_SOURCE_AUTO, SNAPMAP_STRATEGY_AUTO, true, 0},
	{SNAPMAP_SOURCE_COPY, SNAPMAP_STRATEGY_REPLACE, false, 0},
	{SNAPMAP_SOURCE_COPY, SNAPMAP_STRATEGY_REPLACE, true, 0},
	{SNAPMAP_SOURCE_REFLINK, SNAPMAP_STRATEGY_CLONE, false, 0},
	{SNAPMAP_SOURCE_REFLINK, SNAPMAP_STRATEGY_CLONE, true, 0},
	{SNAPMAP_SOURCE_COPY, SNAPMAP_STRATEGY_CLONE, false, 0},
	{SNAPMAP_SOURCE_COPY, SNAPMAP_STRATEGY_CLONE, true, 0},
	{SNAPMAP_SOURCE_AUTO, SNAPMAP_STRATEGY_AUTO, false, SNAPMAP_SPILL},
	{SNAPMAP_SOURCE_AUTO, SNAPMAP_STRATEGY_AUTO, true, SNAPMAP_SPILL},
	{SNAPMAP_SOURCE_REFLINK, SNAPMAP_STRATEGY_CLONE, false, SNAPMAP_SPILL},
	{SNAPMAP_SOURCE_COPY, SNAPMAP_STRATEGY_REPLACE, true, SNAPMAP_SPILL},
	{SNAPMAP_SOURCE_AUTO, SNAPMAP_STRATEGY_REPLACE, false, 0},
	{SNAPMAP_SOURCE_AUTO, SNAPMAP_STRATEGY_REPLACE, true, 0},
	{SNAPMAP_SOURCE_COPY, SNAPMAP_STRATEGY_EXCHANGE, false, 0},
	{SNAPMAP_SOURCE_COPY, SNAPMAP_STRATEGY_EXCHANGE, true, 0},
	{SNAPMAP_SOURCE_LEASE, SNAPMAP_STRATEGY_AUTO, false, 0},
	{SNAPMAP_SOURCE_LEASE, SNAPMAP_STRATEGY_AUTO, true, 0},
};
/* clang-format on */

/* Whether this user may serve the page faults of a handle by lease, on this row. */
static bool pages_by_lease(void)
{
	return test_is_root() && strncmp(test_fs()->name, "overlay", 7) != 0 && strcmp(test_fs()->name, "fuse") != 0;
}

const struct way *way_at(int i)
{
	const struct way *w = &ways[i];

	static struct way asked;

	if (w->source == SNAPMAP_SOURCE_LEASE && test_fs()->served) {
		asked = *w;
		asked.source = SNAPMAP_SOURCE_SNAPFS;
		return &asked;
	}
	if (w->source == SNAPMAP_SOURCE_LEASE)
		return pages_by_lease() ? w : NULL;
	/* Without reflinks all that is left is a copy that replaces, which is the automatic choice too. */
	if (!test_fs()->reflink && w->source != SNAPMAP_SOURCE_AUTO)
		return NULL;
	/* What only says by name what is chosen anyway, or is not to be had. */
	if (!test_fs()->exchange && i >= 12)
		return NULL;
	return w;
}

uint32_t way_strategy(const struct way *way)
{
	if (way->strategy != SNAPMAP_STRATEGY_AUTO)
		return way->strategy;
	return test_fs()->exchange ? SNAPMAP_STRATEGY_EXCHANGE : SNAPMAP_STRATEGY_REPLACE;
}

bool way_keeps_inode(const struct way *way)
{
	return way_strategy(way) != SNAPMAP_STRATEGY_REPLACE;
}

bool way_is_atomic(const struct way *way)
{
	return way->strategy != SNAPMAP_STRATEGY_CLONE;
}

struct snapmap_mut *way_open(const struct way *way, const char *path)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = way->flags, .source = way->source};
	struct snapmap_mut *map;
	int rc = snapmap_mut_open(path, &o, &map);

	/* Empty files, those that others may write to, and the like cannot be leased. */
	if (rc && way->source == SNAPMAP_SOURCE_LEASE) {
		o.source = SNAPMAP_SOURCE_AUTO;
		rc = snapmap_mut_open(path, &o, &map);
	}
	ck_ok(rc);
	return map;
}

static int commit_once(const struct way *way, struct snapmap_mut *map, const struct snapmap_commit_options *o)
{
	return way->closing ? snapmap_mut_commit_and_close(map, o) : snapmap_mut_commit(map, o);
}

/* What exchange leaves to replace. */
static bool is_for_replace(const char *sentence)
{
	return strstr(sentence, "its size changes") || strstr(sentence, "cut and grown") ||
	       strstr(sentence, "is to be overwritten") || strstr(sentence, "so many whole extents") ||
	       strstr(sentence, "so many new extents");
}

int way_commit(const struct way *way, struct snapmap_mut **map, uint32_t flags)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = flags, .strategy = way->strategy};
	int rc = commit_once(way, *map, &o);

	if (rc == -EOPNOTSUPP && way->strategy == SNAPMAP_STRATEGY_EXCHANGE && is_for_replace(snapmap_last_error())) {
		o.strategy = SNAPMAP_STRATEGY_AUTO;
		rc = commit_once(way, *map, &o);
	}
	if (!rc && way->closing)
		*map = NULL;
	return rc;
}

int way_finish(const struct way *way, struct snapmap_mut *map, uint32_t flags)
{
	int rc = way_commit(way, &map, flags);

	snapmap_mut_close(map);
	return rc;
}

int way_edit(const struct way *w, const char *path, uint32_t flags)
{
	struct snapmap_mut *map = way_open(w, path);

	((char *)snapmap_mut_data(map))[100] ^= 1;
	return way_finish(w, map, flags);
}

int commit_flags(struct snapmap_mut *map, uint32_t flags)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = flags};

	return snapmap_mut_commit(map, &o);
}

ino_t inode_of(const char *path)
{
	struct stat st;

	ck_assert_msg(!stat(path, &st), "%s: %s", path, strerror(errno));
	return st.st_ino;
}

mode_t mode_of(const char *path)
{
	struct stat st;

	ck_assert_msg(!lstat(path, &st), "%s: %s", path, strerror(errno));
	return st.st_mode & 07777;
}

bool exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

size_t count_names(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	ck_assert_msg(dir != NULL, "%s: %s", path, strerror(errno));
	for (struct dirent *d; (d = readdir(dir));)
		n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && strncmp(d->d_name, ".fuse_hidden", 12);
	closedir(dir);
	return n;
}

bool handle_is(const struct snapmap_mut *map, const void *bytes, size_t n)
{
	return snapmap_mut_size(map) == n && !memcmp(snapmap_mut_data(map), bytes, n);
}

/* --- system calls */

/*
 * The kernel tells a supervisor of each call of a filtered thread (seccomp user
 * notification). The filter binds only the thread that installs it, so that the
 * rest of the process can supervise.
 */
struct watched {
	int (*fn)(void *arg);
	void *arg;
	int result;
	atomic_int listener; /* descriptor; 0 until it is known, negative errno */
};

static atomic_bool shown;

void watch_on(void)
{
	atomic_store(&shown, true);
}

void watch_off(void)
{
	atomic_store(&shown, false);
}

static int install(void)
{
	/* All but futex: the supervisor may itself be waiting for a lock that it frees. */
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
	int fd;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	return fd < 0 ? -errno : fd;
}

static void *run_watched(void *arg)
{
	struct watched *w = arg;
	int fd = install();

	/* Any call from here on waits until the supervisor has the descriptor. */
	atomic_store(&w->listener, fd);
	if (fd >= 0)
		w->result = w->fn(w->arg);
	return NULL;
}

static void answer(int listener, watch_call *on_call, void *arg)
{
	struct seccomp_notif call;
	struct seccomp_notif_resp response;
	int rc;

	memset(&call, 0, sizeof(call));
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
		ck_assert_msg(errno == ENOENT || errno == EINTR, "seccomp: %s", strerror(errno));
		return;
	}
	rc = atomic_load(&shown) && on_call ? on_call(arg, &call.data) : 0;
	memset(&response, 0, sizeof(response));
	response.id = call.id;
	response.error = rc;
	response.flags = rc ? 0 : (__u32)SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response))
		ck_assert_msg(errno == ENOENT, "seccomp: %s", strerror(errno));
}

static int try_watch(int (*fn)(void *arg), void *arg, watch_call *on_call, void *call_arg, int *ret_result)
{
	struct watched w = {.fn = fn, .arg = arg};
	struct pollfd p = {.events = POLLIN};
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, run_watched, &w), 0);
	while (!(p.fd = atomic_load(&w.listener)))
		sched_yield();
	while (p.fd >= 0) {
		if (poll(&p, 1, -1) < 0)
			continue;
		if (p.revents & POLLIN)
			answer(p.fd, on_call, call_arg);
		else if (p.revents) /* nobody is left to be watched */
			break;
	}
	pthread_join(thread, NULL);
	*ret_result = w.result;
	if (p.fd < 0)
		return p.fd;
	close(p.fd);
	return 0;
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

bool watch_works(void)
{
	int result;

	return !try_watch(nothing, NULL, NULL, NULL, &result);
}

int watch(int (*fn)(void *arg), void *arg, watch_call *on_call, void *call_arg)
{
	int result = 0, rc;

	watch_off();
	rc = try_watch(fn, arg, on_call, call_arg, &result);
	ck_assert_msg(!rc, "seccomp: %s", strerror(-rc));
	return result;
}

/* The sanitizers' allocators end the process if they get no memory. */
static bool is_sanitizers_own(const struct seccomp_data *call)
{
	return TEST_SANITIZED && call->nr == SYS_mmap && (call->args[3] & MAP_ANONYMOUS);
}

bool call_can_fail(const struct seccomp_data *call)
{
	if (is_sanitizers_own(call))
		return false;
	switch (call->nr) {
	case SYS_close:
	case SYS_unlinkat:
	case SYS_munmap:
	case SYS_exit:
	case SYS_exit_group:
	case SYS_futex:
	case SYS_rt_sigprocmask:
	case SYS_rt_sigreturn:
	case SYS_sched_yield:
	case SYS_gettid:
	case SYS_getpid:
	case SYS_clock_gettime:
	case SYS_clock_nanosleep:
	case SYS_geteuid:
		return false;
	default:
		return true;
	}
}

static bool is_flush(const struct seccomp_data *call)
{
	int fd = (int)call->args[0];
	struct stat st;

	return (call->nr == SYS_fsync || call->nr == SYS_syncfs) && !fstat(fd, &st) &&
	       (S_ISDIR(st.st_mode) || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY);
}

int after_flush(void *arg, const struct seccomp_data *call)
{
	struct after_flush *a = arg;

	if (a->seen == a->wanted && !a->acted) {
		a->acted = true;
		a->act();
	}
	a->seen += is_flush(call);
	return 0;
}

bool call_can_be_interrupted(const struct seccomp_data *call)
{
	switch (call->nr) {
	case SYS_openat:
	case SYS_pread64:
	case SYS_pwrite64:
	case SYS_ftruncate:
	case SYS_fallocate:
	case SYS_fsync:
	case SYS_flock:
	case SYS_copy_file_range:
	case SYS_sync_file_range:
		return true;
	default:
		return false;
	}
}

/* _IOW('X', 129, ...) and _IOW('X', 131, ...): XFS_IOC_EXCHANGE_RANGE, XFS_IOC_COMMIT_RANGE */
static bool is_exchange(const struct seccomp_data *call)
{
	unsigned number = (unsigned)call->args[1] & 0xffff;

	return call->nr == SYS_ioctl && (number == ('X' << 8 | 129) || number == ('X' << 8 | 131));
}

/* The C library has its own choice between the two ways to rename. */
bool is_publication(const struct seccomp_data *call)
{
	return call->nr == SYS_renameat2 || is_exchange(call)
#ifdef SYS_renameat
	       || call->nr == SYS_renameat
#endif
		;
}
