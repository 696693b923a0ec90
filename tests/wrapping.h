/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory "l" of the running test, served by snapfs on the directory "m", and its snapshots. */
#ifndef SNAPMAP_WRAPPING_H
#define SNAPMAP_WRAPPING_H

#include "mounting.h"

#include <snapmap/snapfs.h>

static inline void mount_wrapper(const char *options)
{
	ck_run(0, "mkdir -p l m && chmod 755 l m && snapfs l m %s", options);
}

/* The server ends after the mount is gone; then the lock is free. */
static inline void wait_for_wrapper(void)
{
	ck_run(0, "test ! -e l/.snapfs/lock || flock l/.snapfs/lock true");
}

static inline void unmount_wrapper(void)
{
	ck_run(0, "umount m");
	wait_for_wrapper();
	ck_run(0, "ls -A l/.snapfs");
	ck_assert_str_eq(out, "lock\n");
}

static inline pid_t wrap_in_foreground(const char *options)
{
	pid_t pid;

	ck_run(0, "mkdir -p l m");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		execlp("snapfs", "snapfs", "-f", "l", "m", "-o", options, NULL);
		_exit(99);
	}
	while (!is_mounted()) {
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
		usleep(1000);
	}
	return pid;
}

/* -1 and errno. */
static inline int ask_for(int fd, uint64_t offset, uint64_t length, struct snapfs_snapshot *ret)
{
	*ret = (struct snapfs_snapshot){.version = SNAPFS_VERSION, .offset = offset, .length = length};
	return ioctl(fd, SNAPFS_IOC_SNAPSHOT, ret);
}

static inline int open_snapshot(const char *dir, const struct snapfs_snapshot *snapshot)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" SNAPFS_PREFIX "%s", dir, snapshot->token);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static inline bool is_gone(const struct snapfs_snapshot *snapshot)
{
	int fd = open_snapshot("m", snapshot), error = errno;

	if (fd >= 0)
		close(fd);
	return fd < 0 && error == ENOENT;
}

/* A descriptor, or -1 and errno. */
static inline int try_snapshot(int fd, uint64_t offset, uint64_t length)
{
	struct snapfs_snapshot snapshot;

	return ask_for(fd, offset, length, &snapshot) ? -1 : open_snapshot("m", &snapshot);
}

static inline int take_snapshot(int fd, uint64_t offset, uint64_t length)
{
	int snapshot = try_snapshot(fd, offset, length);

	ck_assert_msg(snapshot >= 0, "no snapshot: %s", strerror(errno));
	return snapshot;
}

static inline struct snapfs_state state_of(int snapshot)
{
	struct snapfs_state state;

	ck_sys(ioctl(snapshot, SNAPFS_IOC_STATE, &state));
	ck_assert_uint_eq(state.version, SNAPFS_VERSION);
	return state;
}

static inline uint64_t hash_of(int fd)
{
	struct stat st;
	uint64_t hash;
	char *bytes;

	ck_sys(fstat(fd, &st));
	bytes = (char *)malloc((size_t)st.st_size + 1);
	ck_assert_int_eq(pread(fd, bytes, (size_t)st.st_size + 1, 0), st.st_size);
	hash = test_hash(bytes, (size_t)st.st_size);
	free(bytes);
	return hash;
}

static inline int make_and_open(const char *path, size_t n)
{
	test_make_file(path, n, 1);
	return open_in(path, O_RDWR);
}

/* Of a mount that gives snapshots, by whatever server. */
static inline void check_ranges(void)
{
	struct snapfs_snapshot s;
	struct snapfs_state state;
	char bytes[20];
	int fd, snapshot;

	test_write_file("m/f", "0123456789", 10);
	fd = open_in("m/f", O_RDONLY);
	ck_sys(ask_for(fd, 3, 4, &s));
	ck_assert_uint_eq(s.size, 4);
	ck_assert_uint_eq(s.file_size, 10);
	snapshot = open_snapshot("m", &s);
	ck_assert_int_eq(pread(snapshot, bytes, sizeof(bytes), 0), 4);
	ck_assert_mem_eq(bytes, "3456", 4);
	ck_assert_uint_eq(state_of(snapshot).offset, 3);
	close(snapshot);
	ck_soon(is_gone(&s));
	ck_sys(ask_for(fd, 8, 100, &s));
	ck_assert_uint_eq(s.size, 2);
	ck_sys(ask_for(fd, 100, SNAPFS_ALL, &s));
	ck_assert_uint_eq(s.size, 0);
	ck_fails(ask_for(fd, UINT64_MAX, 1, &s), EINVAL);
	s = (struct snapfs_snapshot){.version = 7};
	ck_fails(ioctl(fd, SNAPFS_IOC_SNAPSHOT, &s), EINVAL);
	s = (struct snapfs_snapshot){.version = SNAPFS_VERSION, .flags = 1};
	ck_fails(ioctl(fd, SNAPFS_IOC_SNAPSHOT, &s), EINVAL);
	ck_fails(ioctl(fd, SNAPFS_IOC_STATE, &state), ENOTTY);
	close(fd);
	fd = open_in("m", O_RDONLY | O_DIRECTORY);
	ck_fails(ask_for(fd, 0, SNAPFS_ALL, &s), EISDIR);
	close(fd);
}

#endif
