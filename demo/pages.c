/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pages that are edited. A version is a number that is stored at the start of each of them. */
#include "config.h"

#include "demo/demo.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bench/files.h"

/* Spread over the file, the last one near its end. */
uint64_t page_offset(const struct stage *stage, unsigned page)
{
	return (page + 1) * (stage->size / PAGE - 1) / PAGES * PAGE;
}

static uint64_t read_word(const struct stage *stage, int fd, unsigned page)
{
	uint64_t word = 0;

	must(pread(fd, &word, sizeof(word), (off_t)page_offset(stage, page)) == sizeof(word), "the file can be read");
	return word;
}

void pages_remember(struct stage *stage)
{
	int fd = open(stage->path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0, "the file can be opened");
	for (unsigned i = 0; i < PAGES; i++)
		stage->original[i] = read_word(stage, fd, i);
	close(fd);
}

void pages_store(const struct stage *stage, char *base, uint64_t version)
{
	for (unsigned i = 0; i < PAGES; i++)
		memcpy(base + page_offset(stage, i), &version, sizeof(version));
}

static uint64_t version_of(const struct stage *stage, const uint64_t *words)
{
	bool original = words[0] == stage->original[0];

	for (unsigned i = 1; i < PAGES; i++)
		if (words[i] != (original ? stage->original[i] : words[0]))
			return UINT64_MAX;
	return original ? 0 : words[0];
}

uint64_t pages_version(const struct stage *stage, int fd)
{
	uint64_t words[PAGES];

	for (unsigned i = 0; i < PAGES; i++)
		words[i] = read_word(stage, fd, i);
	return version_of(stage, words);
}

uint64_t pages_version_in(const struct stage *stage, const char *base)
{
	uint64_t words[PAGES];

	for (unsigned i = 0; i < PAGES; i++)
		memcpy(&words[i], base + page_offset(stage, i), sizeof(words[i]));
	return version_of(stage, words);
}

/* Any changed, moved or missing word changes it. */
uint64_t checksum(const void *data, uint64_t size)
{
	const uint64_t *words = (const uint64_t *)data;
	uint64_t sum = size;

	for (uint64_t i = 0; i < size / sizeof(*words); i++)
		sum = (sum ^ words[i]) * 0x9e3779b97f4a7c15;
	return sum;
}
