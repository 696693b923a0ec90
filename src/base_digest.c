/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * BLAKE2b with a result of 32 bytes and without a key, as in RFC 7693: twice as fast as
 * SHA-256 where the processor has no instructions for either.
 */
#include "config.h"

#include "base_digest.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

static const uint64_t iv[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* RFC 7693, 2.7. Rounds 10 and 11 take the first two again. */
static const uint8_t sigma[10][16] = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint64_t rotate(uint64_t x, unsigned n)
{
	return x >> n | x << (64 - n);
}

static inline void mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y)
{
	v[a] += v[b] + x;
	v[d] = rotate(v[d] ^ v[a], 32);
	v[c] += v[d];
	v[b] = rotate(v[b] ^ v[c], 24);
	v[a] += v[b] + y;
	v[d] = rotate(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = rotate(v[b] ^ v[c], 63);
}

static void compress(struct digest *d, const uint8_t block[128], bool last)
{
	uint64_t v[16], m[16];

	memcpy(m, block, sizeof(m));
	for (int i = 0; i < 16; i++)
		m[i] = le64toh(m[i]);
	memcpy(v, d->h, sizeof(d->h));
	memcpy(v + 8, iv, sizeof(iv));
	v[12] ^= d->length;
	if (last)
		v[14] = ~v[14];
	for (int i = 0; i < 12; i++) {
		const uint8_t *s = sigma[i % 10];

		mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
		mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
		mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
		mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
		mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
		mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
		mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
		mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
	}
	for (int i = 0; i < 8; i++)
		d->h[i] ^= v[i] ^ v[i + 8];
}

void digest_begin(struct digest *d)
{
	*d = (struct digest){0};
	memcpy(d->h, iv, sizeof(iv));
	d->h[0] ^= 0x01010000 ^ DIGEST_SIZE;
}

/* The last block is kept back, for it is treated differently. */
void digest_add(struct digest *d, const void *bytes, size_t n)
{
	const uint8_t *p = (const uint8_t *)bytes;

	while (n) {
		size_t fits = sizeof(d->block) - d->used;

		if (!fits) {
			d->length += sizeof(d->block);
			compress(d, d->block, false);
			d->used = 0;
			fits = sizeof(d->block);
		}
		if (fits > n)
			fits = n;
		memcpy(d->block + d->used, p, fits);
		d->used += fits;
		p += fits;
		n -= fits;
	}
}

void digest_end(struct digest *d, uint8_t ret[DIGEST_SIZE])
{
	memset(d->block + d->used, 0, sizeof(d->block) - d->used);
	d->length += d->used;
	compress(d, d->block, true);
	for (int i = 0; i < DIGEST_SIZE / 8; i++) {
		uint64_t word = htole64(d->h[i]);

		memcpy(ret + 8 * i, &word, sizeof(word));
	}
}

void digest_of(const void *bytes, size_t n, uint8_t ret[DIGEST_SIZE])
{
	struct digest d;

	digest_begin(&d);
	digest_add(&d, bytes, n);
	digest_end(&d, ret);
}
