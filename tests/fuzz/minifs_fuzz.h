/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One input for the mini file system: an image that may lie, and what is done with it. */
#ifndef SNAPMAP_MINIFS_FUZZ_H
#define SNAPMAP_MINIFS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/*
 * Byte 0 says what the image is made of: 0 only of what follows, 1 a plain image with
 * some files, 2 a large one. With 4 added, checksums are put right, so that lies get
 * through. Byte 1 is a number of operations, of which each takes 4 bytes: what, a name,
 * another name, a number. What follows is the image's bytes for an image that is made of
 * nothing, and otherwise changes to it: 3 bytes where (little-endian), 1 byte how many,
 * and these bytes.
 *
 * Always 0; ends the process if a check finds something in what it has just repaired.
 * Works with the files "fuzz" in the working directory.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
