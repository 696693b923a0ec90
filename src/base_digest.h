/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A cryptographic digest: nobody can make other bytes that have the same. */
#ifndef SNAPMAP_BASE_DIGEST_H
#define SNAPMAP_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32

struct digest {
	uint64_t h[8];
	uint64_t length;
	uint8_t block[128];
	size_t used;
};

void digest_begin(struct digest *digest);
void digest_add(struct digest *digest, const void *bytes, size_t n);
void digest_end(struct digest *digest, uint8_t ret[DIGEST_SIZE]);
/* All of that at once. */
void digest_of(const void *bytes, size_t n, uint8_t ret[DIGEST_SIZE]);

#endif
