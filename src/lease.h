/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that are mapped under a lease: one entry, with one descriptor, for each
 * inode, shared by its handles.
 *
 *   lease.c        what handles ask
 *   lease_terms.c  who may take a lease
 *   lease_table.c  where the entries are found
 *   lease_claim.c  which leases break, for the threads
 *   lease_break.c  an image takes the place of the file
 *   lease_watch.c  the threads that wait for breaks and serve them
 *   lease_fork.c   what a child of fork() is left with
 */
#ifndef SNAPMAP_LEASE_H
#define SNAPMAP_LEASE_H

#include "backends/backend.h"
#include "registry.h"

/* From HELD to one of the last three; nothing follows on those. */
enum lease_state {
	LEASE_HELD,
	LEASE_BREAKING, /* a thread is making an image */
	LEASE_IMAGED,	/* the image has taken the place of the file */
	LEASE_LOST,	/* the bytes are gone */
	LEASE_ENDED,	/* no handle is left */
};

/**
 * struct leased - a file under a lease
 * @node: in the table, from the grant until the lease has ended
 * @dev, @ino: its identity, which cannot be used again while @fd is open
 * @fd: its description holds the lease; to be used through lease_fd()
 * @size: size in bytes
 * @fs: its file system
 * @tmpdir: where an image may go, or NULL
 * @weight: bytes that would have to be copied, 0 if extents are shared
 * @generation: fork_generation() before the file was opened
 * @refs: handles, the thread that serves its break, and whoever just found it. The
 *	last one to leave retires it
 * @lock: over all that follows; nobody waits for it for long. No other lock is taken
 *	within it but those of the table and of the registry
 * @state: enum lease_state, changed under the lock
 * @lives: mappings of its handles
 * @bytes_copied, @extents: what the image cost, set before the state becomes IMAGED
 * @overdue: an image would come too late
 * @broken_at: when the break was first seen, by sys_now_ns(); 0 before
 * @next_job: lease_watch.c
 * @next_locked: those that a fork has locked, which may have left the table by then
 * @retired: nobody can find it any more
 */
struct leased {
	struct cds_lfht_node node;
	dev_t dev;
	ino_t ino;
	atomic_int fd;
	uint64_t size;
	const struct fs_traits *fs;
	char *tmpdir;
	uint64_t weight;
	unsigned generation;
	atomic_uint refs;
	pthread_mutex_t lock;
	atomic_int state;
	struct cds_list_head lives;
	uint64_t bytes_copied;
	uint64_t extents;
	atomic_bool overdue;
	_Atomic uint64_t broken_at;
	struct leased *next_job;
	struct leased *next_locked;
	struct retired retired;
};

/* What a handle has of it. Without @leased: an ordinary mapping. */
struct lease_hold {
	struct leased *leased;
	struct live *live;
};

/* lease.c. For handles; quiet. */
/* Maps a file that is leased already. -ENOENT if it is not. */
int lease_share(const struct stat *st, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret);
/*
 * Maps a file that a lease was just taken on, and undoes lease_terms.enter. *@fd is -1
 * afterwards if it was taken over; else it holds no lease any more.
 */
int lease_adopt(int *fd, const struct source_request *request, uint64_t size, uint64_t weight, bool guarded,
		struct mapping *ret_mapping, struct lease_hold *ret);
/* Unmaps it. */
void lease_leave(struct lease_hold *hold, struct mapping *mapping);
void lease_get_info(const struct lease_hold *hold, struct snapmap_info *ret);

/* lease_terms.c */
extern const struct lease_terms lease_terms;
/* A lease of this weight has ended; or, in a child of fork(), all have. */
void lease_unload(uint64_t weight);
void lease_unload_all(void);

/* lease_table.c */
int lease_make_table(void);
/* NULL before that. To be walked in read-side sections. */
struct cds_lfht *lease_table(void);
/* The entry of a file, to be put back, or NULL. Waits for nobody. Only when there is a table. */
struct leased *lease_find(dev_t dev, ino_t ino);
/* False if the last one has left it already. */
bool lease_get(struct leased *leased);
void lease_put(struct leased *leased);
/*
 * The descriptor, or -1, which every use of it refuses: an application that closes
 * descriptors that are not its own may have others in their place by now, also of the
 * same file, also other leases of ours. Without the lock of the entry it is a guess.
 */
int lease_fd(const struct leased *leased);
/* The same, for when it is about to be closed; lease_own_fd() has to be told of each new one. */
int lease_fd_quickly(const struct leased *leased);
void lease_own_fd(const struct leased *leased);
/* No forks, and nothing new in the table. To be closed before entries are locked. */
void lease_close_gate(void);
void lease_open_gate(void);
/* Within the gate. Returns the entry that is in the table then: this, or another of the same file, to be put back. */
struct leased *lease_enter_table(struct leased *leased);
/*
 * Under its lock. No open finds it from now on, and no fork, which would close the
 * descriptor for the child. So whoever has not given the lease up by then does it
 * before the gate is opened, or before the lock is.
 */
void lease_leave_table(struct leased *leased);

/* lease_claim.c. Claims a file whose lease breaks, @hint first, if it is not -1. NULL if there is none. */
struct leased *lease_claim(int hint);
/* How many breaks nobody serves yet. */
unsigned lease_count_waiting(void);
/* Gives up all whose break is older than @ns, served or not. */
void lease_end_overdue(uint64_t ns);

/**
 * struct stand_in - what takes the place of a leased file
 * @image: its image; the descriptor is -1 if there is none
 * @memory: else a copy in shared memory without a descriptor
 * @span: bytes of that
 * @error: why there is neither
 */
struct stand_in {
	struct image image;
	void *memory;
	size_t span;
	int error;
};

/* lease_break.c. @leased was claimed. */
void lease_image(struct leased *leased, struct stand_in *ret);
/* Consumes both. It is over when it returns. */
void lease_exchange(struct leased *leased, struct stand_in *stand_in);
/* It took too long: the pages go out of reach, and the lease is given up. */
void lease_give_up(struct leased *leased);
/* Keeps something to give back when there are no mappings left. */
void lease_keep_spare(void);
bool lease_give_spare(void);
/*
 * Under the lock. The lease has ended, and the entry goes over to its last state;
 * lease_watch_leave() is to follow, outside of the lock.
 */
void lease_finish(struct leased *leased, enum lease_state state);
/* Under the lock. Nobody reads these bytes any more; a guarded mapping becomes zeros. */
void lease_lose(struct live *live, int error);

/*
 * lease_watch.c. The thread that breaks are told to, and one user more; or a negative
 * errno. From then on, until lease_watch_entered() is called by the same thread, a
 * lease may be there that is not in the table.
 */
pid_t lease_watch_enter(void);
void lease_watch_entered(void);
void lease_watch_leave(void);
/* Keeps the threads there for leases to come, until lease_watch_leave(). 0 or a negative errno. */
int lease_watch_stay(void);
unsigned lease_watch_users(void);
void lease_watch_lock(void);
void lease_watch_unlock(void);
void lease_watch_forget(void); /* in a child of fork(), which has none of the threads */

/* lease_fork.c. Around fork(), by fork.c. */
void lease_before_fork(void);
void lease_after_fork(void);
void lease_after_fork_in_child(void);

#endif
