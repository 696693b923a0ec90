/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file of an image that is being edited. */
#ifndef SNAPMAP_MINIFS_EDITED_H
#define SNAPMAP_MINIFS_EDITED_H

#include "minifs_mapped.h"

/**
 * struct edited_file - a file of an image that is being edited
 * @edited: what the handle sees
 * @mapped: the blocks that the file had at open, or has since the last commit
 * @patch: the memory, over these blocks
 * @kept: how many bytes of them count: the smallest size since then
 * @copying: nothing is mapped, so that nothing can fail to be read
 * @ino: the file, which is held
 * @dir, @dir_generation, @name: where it was; @name is empty if only the file counts
 */
struct edited_file {
	struct edited_view edited;
	struct mapped mapped;
	struct patchwork patch;
	size_t kept;
	bool copying;
	uint32_t ino;
	uint32_t dir, dir_generation;
	char name[MFS_NAME_MAX + 1];
};

struct edited_file *edited_of(struct edited_view *view);
/* Quiet. */
int edited_dirty(const struct edited_file *file, struct ranges *ret);
/* minifs_commit.c */
int edited_commit(struct edited_view *view, uint32_t flags, uint32_t strategy);

#endif
