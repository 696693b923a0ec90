/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations of the fuzzer on files by number. */
#ifndef SNAPMAP_INO_OPS_H
#define SNAPMAP_INO_OPS_H

#include <minifs.h>
#include <minifs/ino.h>

#define HELD 4

/* Numbers that are held; 0: none */
struct held {
	uint64_t ino[HELD];
	unsigned next;
};

/* One operation, of two paths and a number that says which. */
void ino_op(struct held *held, struct minifs *fs, const char *one, const char *two, uint8_t n);
/* Ends all holds. */
void ino_end(struct held *held, struct minifs *fs);

#endif
