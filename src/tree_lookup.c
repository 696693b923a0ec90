/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding files by name: a hash table with open addressing for each directory. Names are
 * chosen by whoever may write there, who could let many of them collide; so after a few
 * steps the sorted list is halved instead.
 */
#include "config.h"

#include <string.h>

#include "tree.h"

#define STEPS 16u

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

uint32_t tree_hash_name(const char *name, size_t n)
{
	uint64_t h = n, word;

	for (; n >= sizeof(word); name += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, name, sizeof(word));
		h = mix(h, word);
	}
	word = 0;
	memcpy(&word, name, n);
	h = mix(h, word);
	return (uint32_t)(h >> 32 ^ h);
}

/* A power of two; at most half of them are used. */
uint32_t tree_slots_for(size_t n)
{
	uint32_t slots = 2;

	while (slots < n * 2)
		slots *= 2;
	return slots;
}

/* What finds no place within some steps is left to the list. */
void tree_hash(struct tree_listing *l)
{
	for (size_t i = 0; i < l->n; i++) {
		uint32_t at = tree_hash_name(l->files[i].name, strlen(l->files[i].name));

		for (unsigned step = 0; step < STEPS; step++, at++) {
			if (!l->slots[at & l->mask]) {
				l->slots[at & l->mask] = (uint32_t)i + 1;
				break;
			}
		}
	}
}

static int compare(const char *name, size_t n, const char *with)
{
	int order = strncmp(name, with, n);

	return order ? order : with[n] ? -1 : 0;
}

static const struct snapmap_file *find_sorted(const struct tree_listing *l, const char *name, size_t n)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(name, n, l->files[middle].name);

		if (!order)
			return &l->files[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static const struct snapmap_file *find(const struct tree_listing *l, const char *name, size_t n)
{
	uint32_t at = tree_hash_name(name, n);

	for (unsigned step = 0; step < STEPS; step++, at++) {
		uint32_t slot = l->slots[at & l->mask];

		if (!slot)
			return NULL;
		if (!compare(name, n, l->files[slot - 1].name))
			return &l->files[slot - 1];
	}
	return find_sorted(l, name, n);
}

static const struct snapmap_file *step(const struct snapmap_file *file, const char *name, size_t n)
{
	const struct tree_dir *d = (const struct tree_dir *)(const void *)file->dir;

	if (!d)
		return NULL;
	if (!n || (n == 1 && name[0] == '.'))
		return file;
	if (n == 2 && name[0] == '.' && name[1] == '.')
		return file->parent ? file->parent : file;
	/* The page fault, if there is one, is here. */
	return d->dir.nfiles ? find(d->listing, name, n) : NULL;
}

const struct snapmap_file *(snapmap_file_lookup)(const struct snapmap_file *dir, const char *path)
{
	while (dir && path && *path) {
		size_t n = strcspn(path, "/");

		dir = step(dir, path, n);
		if (path[n] && dir && !dir->dir)
			return NULL;
		path += n + (path[n] == '/');
	}
	return path ? dir : NULL;
}

const struct snapmap_file *snapmap_dir_lookup(const struct snapmap_dir *dir, const char *path)
{
	const struct tree_dir *d = (const struct tree_dir *)(const void *)dir;

	return d ? (snapmap_file_lookup)(d->file, path) : NULL;
}
