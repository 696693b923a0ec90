/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is on the disk, as FORMAT.md specifies it: little-endian, fixed widths, all zeros
 * means free or unused. A number of the disk has a type of its own, so that none is
 * taken for a number of this machine.
 */
#ifndef SNAPMAP_MINIFS_FORMAT_H
#define SNAPMAP_MINIFS_FORMAT_H

#include <endian.h>
#include <stdint.h>

typedef struct {
	uint16_t raw;
} le16;

typedef struct {
	uint32_t raw;
} le32;

typedef struct {
	uint64_t raw;
} le64;

static inline uint16_t get16(le16 x)
{
	return le16toh(x.raw);
}

static inline uint32_t get32(le32 x)
{
	return le32toh(x.raw);
}

static inline uint64_t get64(le64 x)
{
	return le64toh(x.raw);
}

static inline le16 put16(uint16_t x)
{
	return (le16){htole16(x)};
}

static inline le32 put32(uint32_t x)
{
	return (le32){htole32(x)};
}

static inline le64 put64(uint64_t x)
{
	return (le64){htole64(x)};
}

#define MFS_MAGIC "minifs\r\n"
#define MFS_VERSION 1u
#define MFS_BLOCK 4096u
#define MFS_INODE_SIZE 256u
#define MFS_INODES_PER_BLOCK (MFS_BLOCK / MFS_INODE_SIZE)
#define MFS_BITS_PER_BLOCK (MFS_BLOCK * 8u)
#define MFS_ROOT 2u
#define MFS_NAME_MAX 255u
#define MFS_LINK_MAX 65000u

#define MFS_DIRECT 12u
#define MFS_INDIRECT 3u /* indirect, double, triple */
#define MFS_POINTERS (MFS_DIRECT + MFS_INDIRECT)
#define MFS_PER_BLOCK 1024u /* pointers in a block of them */

/* Feature words: what may be ignored, what a writer has to know, what everybody has to. */
#define MFS_RO_COMPAT_CLONES 0x1u /* there is an inode with reference counts */
#define MFS_RO_COMPAT_INDEX 0x2u  /* large directories have an index */
#define MFS_INCOMPAT_LARGE 0x1u	  /* inodes use double and triple indirect blocks */
#define MFS_RO_COMPAT_KNOWN (MFS_RO_COMPAT_CLONES | MFS_RO_COMPAT_INDEX)
#define MFS_INCOMPAT_KNOWN MFS_INCOMPAT_LARGE

#define MFS_DIRECTORY_MAX ((uint64_t)1 << 33) /* positions / 4 fit into the index */
#define MFS_INODE_HIDDEN 0x1u		      /* holds data of the file system itself; no directory names it */

struct disk_super {
	uint8_t magic[8];
	le32 version;
	le32 compat;
	le32 ro_compat;
	le32 incompat;
	le32 block_size;
	le32 inode_size;
	le64 blocks;
	le32 inodes;
	le32 inode_bitmap;
	le32 inode_bitmap_blocks;
	le32 data_bitmap;
	le32 data_bitmap_blocks;
	le32 inode_table;
	le32 inode_table_blocks;
	le32 data;
	le64 free_blocks;
	le32 free_inodes;
	le32 root;
	le32 counts_inode;
	le32 orphans;
	le64 created;
	uint8_t uuid[16];
	uint8_t label[32];
	uint8_t unused[100];
	le32 crc;
};

struct disk_inode {
	le32 mode;
	le32 uid;
	le32 gid;
	le32 links;
	le64 size;
	le64 blocks;
	le64 atime;
	le64 mtime;
	le64 ctime;
	le32 flags;
	le32 generation;
	le32 pointers[MFS_POINTERS];
	le32 xattr;
	le32 index;
	le32 next_orphan;
	uint8_t unused[116];
	le32 crc;
};

struct disk_dirent {
	le32 inode; /* 0: deleted */
	le16 reclen;
	le16 namelen;
	char name[];
};
#define MFS_DIRENT_HEADER 8u

static inline uint32_t mfs_reclen(size_t namelen)
{
	return MFS_DIRENT_HEADER + (((uint32_t)namelen + 3u) & ~3u);
}

/* Header of a directory's index; the slots begin in the next block. */
struct disk_index {
	le32 slots; /* a power of two */
	le32 used;  /* slots that are not empty, those of deleted names included */
	le32 live;  /* names */
	le32 hint;  /* block of the directory where there may be room */
};

struct disk_slot {
	le32 hash;
	le32 where; /* 1 + position in the directory / 4; 0: empty */
};
#define MFS_SLOT_DELETED 0xffffffffu
#define MFS_SLOTS_PER_BLOCK (MFS_BLOCK / 8u)

/* An entry of a block of extended attributes; a name length of 0 ends them. */
struct disk_xattr {
	le16 namelen;
	le16 valuelen;
	char bytes[]; /* name, value, zeros up to a multiple of 4 */
};
#define MFS_XATTR_HEADER 4u

_Static_assert(sizeof(struct disk_super) == 256, "the superblock is 256 bytes");
_Static_assert(sizeof(struct disk_inode) == MFS_INODE_SIZE, "an inode is 256 bytes");
_Static_assert(sizeof(struct disk_slot) == 8 && sizeof(struct disk_index) == 16, "the index is packed");

#endif
