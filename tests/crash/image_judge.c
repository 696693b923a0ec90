/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether an image is undamaged, and of a version that it may have. See image.h. */
#include "config.h"

#include <minifs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "image_model.h"

static void note_problem(void *arg, const char *sentence)
{
	char *first = arg;

	if (!*first)
		snprintf(first, 300, "%s", sentence);
}

static void judge_soundness(struct verdict *v)
{
	struct minifs_check_result result = {0};
	char first[300] = "";
	int rc = minifs_check(IMAGE, 0, note_problem, first, &result);

	if (rc || result.found)
		verdict_say(v, FAULT_TORN, "the image: %d: %s", rc, *first ? first : snapmap_last_error());
}

/* -1: there is none. */
static int64_t version_of(struct minifs *fs)
{
	uint64_t version = 0;

	if (minifs_pread(fs, IMAGE_VERSION, &version, sizeof(version), 0) != sizeof(version) || version > INT64_MAX)
		return -1;
	return (int64_t)version;
}

static bool file_is(struct minifs *fs, const char *name, const struct image_file *f)
{
	unsigned char *found = malloc(f->size + 1), *wanted = malloc(f->size + 1);
	bool same = minifs_pread(fs, name, found, f->size + 1, 0) == (ssize_t)f->size;

	image_file_bytes(f, wanted);
	same = same && !memcmp(found, wanted, f->size);
	free(found);
	free(wanted);
	return same;
}

static size_t count_names(struct minifs *fs, const char *dir)
{
	struct minifs_dirent entries[2 * IMAGE_SLOTS];
	uint64_t cursor = 0;
	ssize_t n = minifs_readdir(fs, dir, &cursor, entries, sizeof(entries) / sizeof(entries[0]));

	return n < 0 ? 0 : (size_t)n;
}

/* All of what is there, and nothing else: besides the files ".", ".." twice, the directory and the version. */
static void judge_content(struct minifs *fs, const struct image_model *m, struct verdict *v)
{
	size_t names = 6;
	char name[32];

	for (size_t i = 0; i < IMAGE_SLOTS; i++) {
		if (!m->files[i].size)
			continue;
		names++;
		image_name(i, name, sizeof(name));
		if (!file_is(fs, name, &m->files[i]))
			verdict_say(v, FAULT_TORN, "version %llu of the image: %s is another",
				    (unsigned long long)m->version, name);
	}
	if (count_names(fs, "/") + count_names(fs, "dir") != names)
		verdict_say(v, FAULT_TORN, "version %llu of the image: %zu and %zu names, not %zu in all",
			    (unsigned long long)m->version, count_names(fs, "/"), count_names(fs, "dir"), names);
}

static void judge_version(const struct judge *j, struct minifs *fs, struct image_model *m, struct verdict *v)
{
	uint64_t floor = j->expect.floor[FILE_F], newest = j->expect.newest[FILE_F];
	int64_t version = version_of(fs);

	if (version < 1 || (uint64_t)version > newest) {
		verdict_say(v, FAULT_TORN, "version %lld of the image, but %llu is the newest", (long long)version,
			    (unsigned long long)newest);
		return;
	}
	if ((uint64_t)version < floor)
		verdict_say(v, FAULT_OLD, "version %lld of the image, but %llu was promised", (long long)version,
			    (unsigned long long)floor);
	image_go(m, j->seed, (uint64_t)version);
	judge_content(fs, m, v);
	v->versions[FILE_F] = m->version;
}

/* For reading, and then for writing, which finishes what was cut off. */
static struct minifs *open_and_judge(const struct judge *j, uint32_t flags, struct image_model *m, struct verdict *v)
{
	struct minifs *fs;

	if (minifs_open(IMAGE, flags, &fs)) {
		verdict_say(v, FAULT_TORN, "it cannot be opened: %s", snapmap_last_error());
		return NULL;
	}
	judge_version(j, fs, m, v);
	return fs;
}

static void go_on(const struct judge *j, struct minifs *fs, struct image_model *m, struct verdict *v)
{
	struct judge next = *j;

	if (image_step(m, fs) || minifs_sync(fs)) {
		verdict_say(v, FAULT_USE, "the next sync failed: %s", snapmap_last_error());
		return;
	}
	next.expect.floor[FILE_F] = next.expect.newest[FILE_F] = m->version;
	judge_soundness(v);
	minifs_close(open_and_judge(&next, MINIFS_RDONLY, m, v));
	judge_names(v);
}

void image_judge(const struct judge *j, struct verdict *v)
{
	struct image_model m;
	struct minifs *fs;

	judge_soundness(v);
	minifs_close(open_and_judge(j, MINIFS_RDONLY, &m, v));
	fs = v->fault ? NULL : open_and_judge(j, 0, &m, v);
	if (!v->fault && !j->brief)
		go_on(j, fs, &m, v);
	minifs_close(fs);
}
