/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations of the fuzzer on files by number, as a server of the image uses them. */
#include "config.h"

#include "ino_ops.h"

#include <string.h>
#include <unistd.h>

static char bytes[70000];

/* Names in paths are looked up one by one by who has numbers. */
static const char *last_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static uint64_t some_offset(uint8_t n)
{
	return (uint64_t)n * n * 67;
}

/* One more hold; there is a place for few, and the oldest goes. */
static void keep(struct held *h, struct minifs *fs, int rc, const struct minifs_entry *entry)
{
	uint64_t *place = &h->ino[h->next % HELD];

	if (rc)
		return;
	if (*place)
		minifs_ino_forget(fs, *place, 1);
	*place = entry->ino;
	h->next++;
}

static void look(struct minifs *fs, uint64_t ino, uint8_t n)
{
	struct minifs_named names[8];
	uint64_t found, cursor = n;
	struct stat st;
	ssize_t got = 8;

	minifs_ino_stat(fs, ino, &st);
	minifs_ino_readlink(fs, ino, bytes, sizeof(bytes));
	minifs_ino_pread(fs, ino, bytes, sizeof(bytes), some_offset(n));
	minifs_ino_seek(fs, ino, some_offset(n), n % 2 ? SEEK_HOLE : SEEK_DATA, &found);
	minifs_ino_getxattr(fs, ino, "user.x", bytes, sizeof(bytes));
	minifs_ino_listxattr(fs, ino, bytes, sizeof(bytes));
	for (int i = 0; i < 50 && got == 8; i++) {
		got = minifs_ino_readdir(fs, ino, cursor, n % 2 ? MINIFS_HOLD : 0, names, 8);
		for (ssize_t k = 0; k < got; k++) {
			cursor = names[k].next;
			if (n % 2 && strcmp(names[k].name, ".") != 0 && strcmp(names[k].name, "..") != 0)
				minifs_ino_forget(fs, names[k].entry.ino, 1);
		}
	}
}

static void change(struct minifs *fs, uint64_t ino, uint64_t other, uint8_t n)
{
	const struct minifs_change size = {
		.what = MINIFS_SET_SIZE | MINIFS_SET_MODE, .mode = n, .size = some_offset(n)};

	switch (n % 6) {
	case 0:
		minifs_ino_set(fs, ino, &size, NULL);
		break;
	case 1:
		minifs_ino_pwrite(fs, ino, bytes, n * 61u, some_offset(n));
		break;
	case 2:
		minifs_ino_copy_range(fs, ino, n % 4 * 4096u, other, some_offset(n), some_offset(n));
		break;
	case 3:
		minifs_ino_allocate(fs, ino, n / 6 % 8, some_offset(n), 1 + some_offset(n));
		break;
	case 4:
		minifs_ino_setxattr(fs, ino, "user.x", bytes, n, 0);
		break;
	default:
		minifs_ino_removexattr(fs, ino, "user.x");
	}
}

static void name(struct held *h, struct minifs *fs, uint64_t ino, uint64_t other, const char *one, const char *two,
		 uint8_t n)
{
	const struct minifs_new file = {.mode = S_IFREG | 0644}, directory = {.mode = S_IFDIR | 0755};
	struct minifs_entry entry;

	switch (n % 7) {
	case 0:
		keep(h, fs, minifs_ino_lookup(fs, ino, one, &entry), &entry);
		break;
	case 1:
		keep(h, fs, minifs_ino_make(fs, ino, one, n & 8 ? &file : &directory, &entry), &entry);
		break;
	case 2:
		keep(h, fs, minifs_ino_symlink(fs, ino, one, two, &file, &entry), &entry);
		break;
	case 3:
		keep(h, fs, minifs_ino_link(fs, other, ino, one, &entry), &entry);
		break;
	case 4:
		minifs_ino_unlink(fs, ino, one);
		break;
	case 5:
		minifs_ino_rmdir(fs, ino, one);
		break;
	default:
		minifs_ino_rename(fs, ino, one, other, two, n / 7 % 3);
	}
}

void ino_op(struct held *h, struct minifs *fs, const char *one, const char *two, uint8_t n)
{
	uint64_t ino = h->ino[n % HELD] ? h->ino[n % HELD] : MINIFS_ROOT_INO;
	uint64_t other = h->ino[n / HELD % HELD] ? h->ino[n / HELD % HELD] : MINIFS_ROOT_INO;
	struct minifs_entry entry;

	switch (n / 16 % 4) {
	case 0:
		look(fs, ino, n);
		break;
	case 1:
		change(fs, ino, other, n);
		break;
	case 2:
		keep(h, fs, minifs_ino_hold(fs, n, &entry), &entry);
		break;
	default:
		name(h, fs, ino, other, last_of(one), last_of(two), n);
	}
}

void ino_end(struct held *h, struct minifs *fs)
{
	for (unsigned i = 0; i < HELD; i++)
		if (h->ino[i])
			minifs_ino_forget(fs, h->ino[i], 1);
}
