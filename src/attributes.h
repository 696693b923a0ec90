/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carrying over everything that a file is besides its bytes. */
#ifndef SNAPMAP_ATTRIBUTES_H
#define SNAPMAP_ATTRIBUTES_H

#include <stdbool.h>

/*
 * Gives @to the mode, owner, group, ACLs, extended attributes, inode flags and
 * project of @from, and takes away what it has beyond them. With @as_copy the
 * caller may stay the owner, and inode flags are left out. Sets the error sentence, which names the attribute.
 */
int attributes_carry(int from, int to, bool as_copy);
/* Quiet. Whether it has set-user-ID or set-group-ID bits or capabilities, which the kernel takes from what is written to. */
bool attributes_are_lost_by_writing(int fd);

#endif
