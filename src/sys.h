/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The system layer: one thin wrapper per kernel interface.
 *
 * Invariants: errno becomes a negative return value here and is read nowhere
 * above. Every call that the kernel may interrupt and that is safe to repeat is
 * repeated on EINTR. Every descriptor made here is close-on-exec. Nothing here
 * has an opinion about what a failure means.
 */
#ifndef SNAPMAP_SYS_H
#define SNAPMAP_SYS_H

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "snapmap/snapfs.h"

/* sys_file.c: descriptors and what they hold */
int sys_openat(int dirfd, const char *path, int flags, mode_t mode);
int sys_dup(int fd);
void sys_dup_over(int fd, int over);
void sys_close(int fd);
int sys_fd_flags(int fd);
void sys_set_nonblock(int fd);
int sys_fstat(int fd, struct stat *ret);
int sys_fstat_mount(int fd, struct stat *ret, uint64_t *ret_mount, bool *ret_verity);
int sys_fstat_fresh(int fd, struct stat *ret);
int sys_fstatat_fresh(int dirfd, const char *path, int flags, struct stat *ret);
int sys_fstatat(int dirfd, const char *path, int flags, struct stat *ret);
int sys_faccessat(int dirfd, const char *path, int mode);
ssize_t sys_pread(int fd, void *buf, size_t n, uint64_t offset);
int sys_pread_full(int fd, void *buf, size_t n, uint64_t offset, size_t *ret);
ssize_t sys_pwrite(int fd, const void *buf, size_t n, uint64_t offset);
ssize_t sys_read(int fd, void *buf, size_t n);
ssize_t sys_write(int fd, const void *buf, size_t n);
int sys_seek_by(int fd, int64_t by, uint64_t *ret);
int sys_pipe(int ret_fds[2]);
int sys_pwrite_full(int fd, const void *buf, size_t n, uint64_t offset);
int sys_ftruncate(int fd, uint64_t size);
int sys_punch_hole(int fd, uint64_t offset, uint64_t length);
int sys_size(int fd, uint64_t *ret);
int sys_seek_data(int fd, uint64_t offset, uint64_t *ret);
int sys_seek_hole(int fd, uint64_t offset, uint64_t *ret);
int sys_allocate_behind(int fd, uint64_t offset, uint64_t length);
void sys_read_ahead(int fd, uint64_t offset, uint64_t length);
void sys_forget_pages(int fd, uint64_t offset, uint64_t length);
int sys_fchmod(int fd, mode_t mode);
int sys_fchown(int fd, uid_t uid, gid_t gid);
int sys_set_mtime(int fd, const struct timespec *mtime);
int sys_flock(int fd, int operation);
int sys_byte_lock(int fd, uint64_t at, bool exclusive);
void sys_byte_unlock(int fd, uint64_t at);
bool sys_byte_is_locked(int fd, uint64_t at);
int sys_file_size_limit(uint64_t *ret);
int sys_fd_limit(uint64_t *ret);

/* sys_dir.c: names */
int sys_link_fd(int fd, int dirfd, const char *name);
int sys_link(int dirfd, const char *from, const char *to);
int sys_rename(int dirfd, const char *from, const char *to, unsigned flags);
int sys_unlink(int dirfd, const char *name);
int sys_readlink(int dirfd, const char *name, char *buf, size_t size);
int sys_reopen(int fd, int flags);
int sys_fd_path(int fd, char *buf, size_t size);
ssize_t sys_list(int dirfd, void *buf, size_t n);
/* @is_mount: something is mounted there */
struct sys_entry {
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t links;
	uint64_t ino;
	dev_t dev;
	uint64_t size;
	struct timespec mtime;
	bool is_mount;
};
int sys_look(int dirfd, const char *name, struct sys_entry *ret);
int sys_open_beneath(int dirfd, const char *path, int flags, bool cross);

int sys_mkdir(int dirfd, const char *name, mode_t mode);
int sys_rmdir(int dirfd, const char *name);

/* sys_inotify.c: changes of files and directories */
int sys_inotify_open(void);
int sys_inotify_add(int fd, const char *path, uint32_t mask);
void sys_inotify_remove(int fd, int watch);
int sys_wait_two(int first, int second, int ms);

/* sys_subvolume.c: btrfs subvolumes */
int sys_subvolume_snapshot(int fd, int dirfd, const char *name);
int sys_subvolume_delete(int dirfd, const char *name);
int sys_subvolume_set_read_only(int fd, bool read_only);

/* sys_clone.c: sharing and copying of extents */
int sys_clone(int from, int to);
int sys_clone_range(int from, uint64_t from_offset, uint64_t length, int to, uint64_t to_offset);
int sys_share_same(int from, uint64_t from_offset, uint64_t length, int to, uint64_t to_offset);
ssize_t sys_copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t length);
int sys_count_extents(int fd, uint64_t *ret);
struct fiemap_extent;
#define SYS_EXTENTS_MAX 128 /* in one answer */
int sys_list_extents(int fd, uint64_t offset, bool flush, struct fiemap_extent *extents, unsigned capacity);

/* sys_exchange.c: exchanging the blocks of two files */
#define SYS_FRESHNESS_WORDS 6
struct sys_freshness {
	uint64_t words[SYS_FRESHNESS_WORDS];
};
struct sys_exchange {
	int from;	   /* the other file */
	uint64_t offset;   /* the same in both */
	uint64_t length;   /* not looked at with to_eof */
	bool to_eof;	   /* up to the ends of both, and their sizes too */
	bool written_only; /* leave out what was never written in @from */
	bool dry_run;
};
/* Sizes of a block and of an inode in bytes; @block is 0 if blocks cannot be exchanged. */
struct sys_exchange_sizes {
	uint32_t block, inode;
};
int sys_exchange_sizes(int fd, struct sys_exchange_sizes *ret);
int sys_exchange_start(int fd, struct sys_freshness *ret);
int sys_exchange_if_fresh(int fd, const struct sys_exchange *exchange, const struct sys_freshness *freshness);
int sys_exchange(int fd, const struct sys_exchange *exchange);

/* sys_flush.c: writing out, and flushing to the disk */
int sys_check_flushed(int fd);
int sys_fsync(int fd);
int sys_syncfs(int fd);
int sys_write_out(int fd);

/* sys_writers.c: waiting for write(2) under way */
enum sys_wait {
	SYS_WAIT_BY_HOLES,
	SYS_WAIT_BY_EXTENTS, /* XFS */
	SYS_WAIT_BY_ALL,     /* whatever lies below; moves the access time */
};
void sys_wait_for_writers(int fd, uint64_t size, enum sys_wait way, bool own_offset);

/* sys_lease.c: leases (fcntl(2), F_SETLEASE) */
int sys_lease_take(int fd, pid_t owner);
int sys_lease_take_unheard(int fd);
int sys_lease_take_briefly(int fd);
bool sys_lease_held(int fd);
bool sys_lease_marked(int fd);
void sys_lease_drop(int fd);
int sys_lease_end(int fd);
int sys_lease_wait(int ms, int *ret_fd);
void sys_lease_wake(pid_t owner);
int sys_lease_timer_create(pid_t owner, timer_t *ret);
void sys_lease_timer_set(timer_t timer, uint64_t ns);
void sys_lease_timer_delete(timer_t timer);
int sys_lease_break_time(void);

/* sys_thread.c: threads of our own, and who a thread is */
pid_t sys_gettid(void);
uid_t sys_geteuid(void);
gid_t sys_getegid(void);
bool sys_is_admin(void);
void sys_thread_name(const char *name);
unsigned sys_processors(void);
int sys_thread_start(void *(*run)(void *arg), void *arg, pthread_t *ret);

/* sys_fs.c: file systems */
int sys_fs_magic(int fd, uint64_t *ret);
int sys_fs_space(int fd, uint64_t *ret);
bool sys_mount_has_option(int fd, const char *option);
int sys_mount_owner(int fd, uint32_t *ret);
int sys_mount_point(int fd, char *ret, size_t size);
int sys_kernel_version(void);
void sys_now_coarse(struct timespec *ret);
void sys_now(struct timespec *ret);
uint64_t sys_now_ns(void);
void sys_clock_tick(struct timespec *ret);
void sys_sleep(const struct timespec *time);

/* sys_mem.c: address space */
size_t sys_page_size(void);
int sys_map(void *address, size_t length, int prot, int flags, int fd, uint64_t offset, void **ret);
void sys_unmap(void *address, size_t length);
int sys_move_mapping(void *from, size_t length, void *to);
int sys_drop_private(void *address, size_t length);
int sys_no_hugepages(void *address, size_t length);
void sys_not_dumped(void *address, size_t length);
int sys_not_inherited(void *address, size_t length);
int sys_protect(void *address, size_t length, int prot);
int sys_share_mapping(void *from, size_t length, void *to);
int sys_twin_mapping(void *from, size_t length, void *to);
int sys_populate(const void *address, size_t length);
int sys_copy_memory(void *to, const void *from, size_t n);
int sys_memfd(const char *name);
int sys_seal(int fd, int seals);
int sys_seals(int fd);
uint64_t sys_memory_size(void);

/* sys_random.c: numbers that nobody can guess */
int sys_random(uint64_t *ret);

/* sys_futex.c: waiting for a word of memory */
void sys_futex_wait(atomic_uint *word, unsigned value);
void sys_futex_wake(atomic_uint *word, unsigned threads);

/* sys_signal.c: signals, and errno around their handlers */
int sys_sigaction(int signal, const struct sigaction *action, struct sigaction *ret);
void sys_sigmask(int how, const sigset_t *set, sigset_t *ret);
void sys_block_signals(sigset_t *ret);
int sys_signal_again(int signal, siginfo_t *info);
int sys_errno_keep(void);
void sys_errno_put_back(int kept);

/* sys_pagemap.c: which pages were written */
struct snapmap_range;
int sys_pagemap_open(void);
/*
 * What is looked for: pages that are there (or in swap) and
 *  - that were written, in a private mapping of a file, or in one without a file;
 *  - that were stored into since sys_userfault_copy(), or were not.
 */
enum sys_pages {
	SYS_PAGES_WRITTEN,
	SYS_PAGES_WRITTEN_ANONYMOUS,
	SYS_PAGES_STORED,
	SYS_PAGES_CLEAN
};
int sys_pagemap_scan(int pagemap, uintptr_t start, uintptr_t end, enum sys_pages which, struct snapmap_range *runs,
		     size_t capacity, uintptr_t *ret_end);
int sys_pagemap_read(int pagemap, uintptr_t start, uint64_t *entries, size_t count);

/*
 * sys_userfault.c: page faults that are served by a thread of ours
 * @tells_stores: sys_pagemap_scan() can tell which pages were stored into since
 */
struct sys_userfault {
	int fd;
	bool tells_stores, poisons, moves;
};
int sys_userfault_open(bool user_only, struct sys_userfault *ret);
int sys_userfault_register(const struct sys_userfault *u, void *address, size_t length, bool stores);
void sys_userfault_unregister(const struct sys_userfault *u, void *address, size_t length);
int sys_userfault_wait(const struct sys_userfault *u, int other, int ms);
int sys_userfault_read(const struct sys_userfault *u, void **ret_address);
int sys_userfault_copy(const struct sys_userfault *u, void *to, const void *from, size_t n, bool tell, size_t *ret);
int sys_userfault_zero(const struct sys_userfault *u, void *to, size_t n, size_t *ret);
void sys_userfault_wake(const struct sys_userfault *u, void *address, size_t n);
int sys_userfault_poison(const struct sys_userfault *u, void *address, size_t n);
int sys_userfault_move(const struct sys_userfault *u, void *to, void *from, size_t n, size_t *ret);

/* sys_xattr.c: extended attributes and inode flags */
ssize_t sys_xattr_list(int fd, char *list, size_t size);
ssize_t sys_xattr_get(int fd, const char *name, void *value, size_t size);
int sys_xattr_set(int fd, const char *name, const void *value, size_t size);
int sys_xattr_remove(int fd, const char *name);
int sys_inode_flags_get(int fd, unsigned *ret);
int sys_inode_flags_set(int fd, unsigned flags);
/* @extents: as the inode counts them, where it does (XFS), else 0; @attributes: it has extended ones */
struct sys_layout {
	uint32_t extents;
	bool realtime, attributes;
};
int sys_layout(int fd, struct sys_layout *ret);
int sys_project_id_get(int fd, uint32_t *ret);
int sys_project_id_set(int fd, uint32_t id);

/* sys_snapfs.c: file systems that can be asked for snapshots */
int sys_snapfs_snapshot(int fd, struct snapfs_snapshot *snapshot);
int sys_snapfs_state(int fd, struct snapfs_state *ret);

#endif
