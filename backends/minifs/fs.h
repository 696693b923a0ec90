/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mini file system on memory. All of it is one image of bytes; an operation is a
 * transaction: what it changes is saved first, and put back if it fails, so each
 * operation is done or has not happened, whatever it fails for.
 *
 * Nothing that was read from the image is used before it was checked. What does not
 * fit together is -EUCLEAN. Callers see to it that one operation that changes
 * something runs alone; any number that only read may run together.
 *
 * Functions return 0 or a count, or a negative errno, and leave outputs alone then.
 */
#ifndef SNAPMAP_MINIFS_FS_H
#define SNAPMAP_MINIFS_FS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "format.h"

/**
 * struct minifs_store - where the image is
 * @base: its bytes
 * @size: how many
 * @writable: bytes may be changed
 * @ops: what only the owner of the memory can do
 *
 * What was stored is found by the owner itself, so nothing announces it.
 */
struct minifs_store;
struct minifs_store_ops {
	int (*make_room)(struct minifs_store *store, uint64_t size);			/* zeros; may move @base */
	int (*get_ready)(struct minifs_store *store, uint64_t offset, uint64_t length); /* to be stored into; or NULL */
	int (*sync)(struct minifs_store *store);
};
struct minifs_store {
	uint8_t *base;
	uint64_t size;
	bool writable;
	const struct minifs_store_ops *ops;
};

/* Where things are; checked once, at open. */
struct mfs_geometry {
	uint64_t blocks;
	uint32_t inodes;
	uint32_t inode_bitmap, inode_bitmap_blocks;
	uint32_t data_bitmap, data_bitmap_blocks;
	uint32_t inode_table, inode_table_blocks;
	uint32_t data;
	uint64_t data_blocks;
};

struct mfs_run {
	uint32_t start, length;
};

/* The transaction: blocks as they were, and blocks that are free once it has succeeded. */
struct mfs_saved {
	uint32_t block;
	uint8_t *copy; /* NULL: the block was free, its bytes do not matter */
};
struct mfs_txn {
	struct mfs_saved *saved;
	size_t nsaved, capacity;
	uint32_t *table; /* open addressing: index into saved plus 1 */
	size_t table_size;
	struct mfs_run *freed;
	size_t nfreed, freed_capacity;
};

/* Inodes that are held: @ino is 0 in an empty slot. */
struct mfs_held_inode {
	uint64_t count;
	uint32_t ino;
};
struct mfs_held {
	struct mfs_held_inode *slots;
	size_t size, used;
};

/* Blocks that somebody has mapped: pins.c */
struct mfs_pin {
	uint64_t start, end;
	uint32_t count;
};
struct mfs_pins {
	struct mfs_pin *v, *spare;
	size_t n, capacity;
	size_t runs; /* of all that was pinned */
};

struct mfs {
	struct minifs_store *store;
	uint8_t *base;
	struct mfs_geometry geo;
	uint32_t incompat, ro_compat;
	struct mfs_txn txn;
	uint64_t block_rotor;	/* where the search for free space goes on */
	uint64_t pointer_rotor; /* the same for blocks of pointers, which keep out of the way of data */
	uint32_t inode_rotor;
	struct mfs_held held;
	struct mfs_pins pins;
};

/* An inode in numbers of this machine. */
struct mfs_inode {
	uint32_t ino;
	uint32_t mode, uid, gid, links;
	uint64_t size, blocks;
	int64_t atime, mtime, ctime;
	uint32_t flags, generation;
	uint32_t pointers[MFS_POINTERS];
	uint32_t xattr, index, next_orphan;
};

static inline uint8_t *mfs_at(const struct mfs *fs, uint32_t block)
{
	return fs->base + (uint64_t)block * MFS_BLOCK;
}

static inline struct disk_super *mfs_super(const struct mfs *fs)
{
	return (struct disk_super *)fs->base;
}

static inline bool mfs_is_data(const struct mfs *fs, uint32_t block)
{
	return block >= fs->geo.data && block < fs->geo.blocks;
}

/* crc32c.c */
uint32_t mfs_crc32c(uint32_t crc, const void *bytes, size_t n);

/* geometry.c: laying an image out, and reading that again */
struct mfs_format {
	uint64_t bytes;	   /* of the image; 0: 256 KiB */
	uint32_t inodes;   /* 0: as many as fit the size */
	bool large, index; /* features; the plain format has neither */
	uint32_t mode, uid, gid;
	uint8_t uuid[16];
	char label[32];
};
int mfs_geometry_plan(const struct mfs_format *format, struct mfs_geometry *ret, const char **ret_why);
int mfs_geometry_read(const struct disk_super *super, uint64_t size, struct mfs_geometry *ret, const char **ret_why);
int mfs_format(struct minifs_store *store, const struct mfs_format *format, const char **ret_why);
/* @any_crc: for repair. */
int mfs_open(struct mfs *fs, struct minifs_store *store, bool any_crc, const char **ret_why);
void mfs_close(struct mfs *fs);
int mfs_sync(struct mfs *fs);

/* txn.c */
int mfs_touch(struct mfs *fs, uint32_t block, uint8_t **ret);
int mfs_get_ready(const struct mfs *fs, uint32_t block);
int mfs_fresh(struct mfs *fs, uint32_t block);
bool mfs_is_touched(const struct mfs *fs, uint32_t block);
int mfs_txn_free(struct mfs *fs, uint32_t block);
/* Returns @rc, or why the transaction could not be finished. */
int mfs_end(struct mfs *fs, int rc);
void mfs_txn_close(struct mfs *fs);

/* alloc.c: bitmaps */
bool mfs_block_used(const struct mfs *fs, uint32_t block);
bool mfs_inode_used(const struct mfs *fs, uint32_t ino);
int mfs_block_alloc(struct mfs *fs, uint32_t near, uint32_t *ret);
int mfs_pointer_alloc(struct mfs *fs, uint32_t *ret);
/* Free blocks that cannot be had, for they are pinned. */
uint64_t mfs_blocks_pinned_free(const struct mfs *fs);
/* That can be had. */
uint64_t mfs_blocks_free(const struct mfs *fs);
int mfs_block_free(struct mfs *fs, uint32_t block);
void mfs_block_release(struct mfs *fs, uint32_t block);
int mfs_inode_take(struct mfs *fs, uint32_t *ret);
int mfs_inode_give(struct mfs *fs, uint32_t ino);

/* refs.c: how many share a block */
#define MFS_SHARES_MAX 0xffffu
int mfs_shares(const struct mfs *fs, uint32_t block, uint32_t *ret);
/* One more pointer will lead to each of the first *@ret of @n blocks. 0: the first one has to be copied instead. */
int mfs_share(struct mfs *fs, uint32_t block, uint64_t n, uint64_t *ret);
int mfs_unshare(struct mfs *fs, uint32_t block);
int mfs_unshare_run(struct mfs *fs, uint32_t block, uint64_t n);
int mfs_shares_set(struct mfs *fs, uint32_t block, uint32_t shares);
int mfs_counts_create(struct mfs *fs);

/* inode.c */
int mfs_inode_load(const struct mfs *fs, uint32_t ino, struct mfs_inode *ret);
void mfs_inode_decode(const struct mfs *fs, uint32_t ino, struct mfs_inode *ret);
bool mfs_inode_crc_ok(const struct mfs *fs, uint32_t ino);
int mfs_inode_check(const struct mfs *fs, const struct mfs_inode *inode);
int mfs_inode_store(struct mfs *fs, const struct mfs_inode *inode);
int mfs_inode_new(struct mfs *fs, uint32_t mode, uint32_t uid, uint32_t gid, struct mfs_inode *ret);
int mfs_inode_drop(struct mfs *fs, struct mfs_inode *inode);
int mfs_inode_unlinked(struct mfs *fs, struct mfs_inode *inode);
/* Stores it as one without a name, which is to be held, and goes with the last hold. */
int mfs_inode_orphan(struct mfs *fs, struct mfs_inode *inode);
int mfs_orphans_free(struct mfs *fs);
int mfs_release(struct mfs *fs, uint32_t ino, uint64_t n);
int64_t mfs_now(void);
void mfs_inode_stat(const struct mfs_inode *inode, struct stat *ret);

/* held.c; changing it wants to be alone with it, also beside those that only read */
int mfs_hold(struct mfs *fs, uint32_t ino);
bool mfs_unhold(struct mfs *fs, uint32_t ino, uint64_t n);
uint64_t mfs_holds(const struct mfs *fs, uint32_t ino);
void mfs_held_close(struct mfs *fs);

/* map.c: a file's blocks */
uint64_t mfs_size_max(const struct mfs *fs);
int mfs_map_get(const struct mfs *fs, const struct mfs_inode *inode, uint64_t at, uint32_t *ret);
int mfs_map_set(struct mfs *fs, struct mfs_inode *inode, uint64_t at, uint32_t block);
/* The same for up to @n blocks in a row; *@ret is for how many. */
int mfs_map_set_run(struct mfs *fs, struct mfs_inode *inode, uint64_t at, uint32_t block, uint64_t n, uint64_t *ret);
/* A block of the inode's own to write to. @whole: all of it will be written. */
int mfs_map_own(struct mfs *fs, struct mfs_inode *inode, uint64_t at, bool whole, uint32_t *ret);
int mfs_map_prune(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to);
int mfs_map_cut(struct mfs *fs, struct mfs_inode *inode, uint64_t from);
/* Calls @visit for each data block of [@from, @to) that is no hole, in order. A nonzero result ends it. */
/* visits.c; begins as zeros */
struct mfs_visits {
	uint32_t *v;
	size_t n, size;
};
int mfs_visit_once(struct mfs_visits *seen, uint32_t block);
void mfs_visits_free(struct mfs_visits *seen);

typedef int mfs_visit(void *arg, uint64_t at, uint32_t block);
int mfs_map_walk(const struct mfs *fs, const struct mfs_inode *inode, uint64_t from, uint64_t to, mfs_visit *visit,
		 void *arg);

/* runs.c: the same in runs of blocks */
struct mfs_extent {
	uint64_t at; /* block of the file */
	uint32_t block;
	uint64_t length;
};
struct mfs_extents {
	struct mfs_extent *v;
	size_t n, capacity;
};
typedef int mfs_visit_run(void *arg, const struct mfs_extent *run);
int mfs_map_runs(const struct mfs *fs, const struct mfs_inode *inode, uint64_t from, uint64_t to, mfs_visit_run *visit,
		 void *arg);
int mfs_extents_of(const struct mfs *fs, const struct mfs_inode *inode, struct mfs_extents *ret);
void mfs_extents_free(struct mfs_extents *extents);
bool mfs_extents_same(const struct mfs_extents *a, const struct mfs_extents *b);

/* pins.c: blocks whose bytes must stay. Each pin wants the same runs for its unpin. */
struct mfs_runs {
	struct mfs_run *v; /* sorted, apart */
	size_t n;
};
int mfs_runs_of(const struct mfs_extents *extents, struct mfs_runs *ret);
void mfs_runs_free(struct mfs_runs *runs);
int mfs_pin(struct mfs *fs, const struct mfs_runs *runs);
void mfs_unpin(struct mfs *fs, const struct mfs_runs *runs);
/* Where the pins around the block end; 0 if it is not pinned. */
uint64_t mfs_pinned_until(const struct mfs *fs, uint64_t block);
void mfs_pins_close(struct mfs *fs);

/* data.c */
ssize_t mfs_read(const struct mfs *fs, const struct mfs_inode *inode, void *buf, size_t n, uint64_t offset);
ssize_t mfs_write(struct mfs *fs, struct mfs_inode *inode, const void *buf, size_t n, uint64_t offset);
int mfs_resize(struct mfs *fs, struct mfs_inode *inode, uint64_t size);

/* clone.c */
struct mfs_clone {
	uint64_t from, to, length;
};
int mfs_clone_range(struct mfs *fs, struct mfs_inode *from, struct mfs_inode *to, const struct mfs_clone *range);
int mfs_copy_range(struct mfs *fs, struct mfs_inode *from, struct mfs_inode *to, const struct mfs_clone *range);

/* holes.c: ranges in bytes, [@from, @to) */
int mfs_punch_blocks(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to);
int mfs_punch(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to);
int mfs_fill(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to);
int mfs_seek(const struct mfs *fs, const struct mfs_inode *inode, uint64_t offset, bool hole, uint64_t *ret);

/* dir.c: names in the linear format */
struct mfs_place {
	uint64_t position; /* of the dirent in the directory */
	uint32_t ino;
};
/* -EUCLEAN unless a dirent that fits begins there. */
int mfs_dirent_at(const uint8_t *block, uint32_t offset, const struct disk_dirent **ret);
int mfs_dir_block(const struct mfs *fs, const struct mfs_inode *dir, uint64_t at, uint32_t *ret);
int mfs_dir_find(const struct mfs *fs, const struct mfs_inode *dir, const char *name, size_t n, struct mfs_place *ret);
int mfs_dir_add(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint32_t ino);
int mfs_dir_remove(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n);
int mfs_dir_set(struct mfs *fs, struct mfs_inode *dir, const struct mfs_place *place, uint32_t ino);
int mfs_dir_empty(const struct mfs *fs, const struct mfs_inode *dir);
int mfs_dir_make(struct mfs *fs, struct mfs_inode *dir, uint32_t parent);
/* The first name at or behind @position; -ENOENT if there is none. */
struct mfs_name {
	uint64_t next;
	uint32_t ino;
	uint32_t length;
	const char *name; /* no 0 behind it */
};
int mfs_dir_next(const struct mfs *fs, const struct mfs_inode *dir, uint64_t position, struct mfs_name *ret);

/* index.c: names of large directories by their hash */
#define MFS_INDEX_FROM_BLOCKS 4u /* smaller directories have none */
int mfs_index_find(const struct mfs *fs, const struct mfs_inode *dir, const char *name, size_t n,
		   struct mfs_place *ret);
int mfs_index_add(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint64_t position);
int mfs_index_remove(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint64_t position);
int mfs_index_hint(const struct mfs *fs, const struct mfs_inode *dir, uint64_t *ret);
int mfs_index_set_hint(struct mfs *fs, const struct mfs_inode *dir, uint64_t block);
int mfs_index_build(struct mfs *fs, struct mfs_inode *dir);
int mfs_index_drop(struct mfs *fs, struct mfs_inode *dir);
int mfs_index_count(const struct mfs *fs, const struct mfs_inode *dir, uint64_t *ret);

/* path.c */
struct mfs_walk {
	struct mfs_inode dir;	     /* where the last name is looked for */
	char name[MFS_NAME_MAX + 1]; /* that name; "" if the path is the root */
	size_t length;
	bool slash;   /* the path ended in a slash: it has to be a directory */
	bool dots;    /* the last name is "." or ".." */
	uint32_t ino; /* what it leads to, 0: nothing yet */
};
int mfs_walk_to(const struct mfs *fs, const char *path, bool follow, struct mfs_walk *ret);
int mfs_find(const struct mfs *fs, const char *path, bool follow, struct mfs_inode *ret);
/* The same walk where the directory is known by its number: @name is one name. */
int mfs_walk_at(const struct mfs *fs, uint32_t dir, const char *name, struct mfs_walk *ret);

/* names.c: operations on names, which a walk has found; part of the caller's transaction */
struct mfs_owner {
	uint32_t uid, gid;
};
int mfs_make(struct mfs *fs, struct mfs_walk *walk, uint32_t mode, const struct mfs_owner *owner,
	     struct mfs_inode *ret);
int mfs_make_symlink(struct mfs *fs, struct mfs_walk *walk, const char *target, const struct mfs_owner *owner,
		     struct mfs_inode *ret);
int mfs_link(struct mfs *fs, struct mfs_inode *inode, struct mfs_walk *to);
int mfs_unlink(struct mfs *fs, struct mfs_walk *walk);
int mfs_rmdir(struct mfs *fs, struct mfs_walk *walk);
/* rename.c */
#define MFS_RENAME_NOREPLACE (1u << 0)
#define MFS_RENAME_EXCHANGE (1u << 1)
int mfs_rename(struct mfs *fs, const struct mfs_walk *from, const struct mfs_walk *to, uint32_t flags);

/* xattr.c */
ssize_t mfs_xattr_get(const struct mfs *fs, const struct mfs_inode *inode, const char *name, void *value, size_t size);
ssize_t mfs_xattr_list(const struct mfs *fs, const struct mfs_inode *inode, char *list, size_t size);
int mfs_xattr_set(struct mfs *fs, struct mfs_inode *inode, const char *name, const void *value, size_t size, int flags);
int mfs_xattr_remove(struct mfs *fs, struct mfs_inode *inode, const char *name);
int mfs_xattr_check(const uint8_t *block);
int mfs_xattr_copy(struct mfs *fs, const struct mfs_inode *from, struct mfs_inode *to);

/* check.c and its helpers */
struct mfs_check {
	bool repair;
	void (*report)(void *arg, const char *sentence);
	void *arg;
	uint64_t found, repaired;
};
int mfs_check(struct mfs *fs, struct mfs_check *check);

#endif
