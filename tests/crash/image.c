/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See image.h. The model and the work; image_judge.c looks at the result. */
#include "config.h"

#include <errno.h>
#include <minifs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "image_model.h"
#include "mark.h"
#include "random.h"

#define IMAGE_BYTES ((uint64_t)8 << 20)
#define LARGEST ((size_t)200000)

void image_name(size_t slot, char *ret, size_t capacity)
{
	snprintf(ret, capacity, slot % 2 ? "dir/file%zu" : "file%zu", slot);
}

/* Each block begins with what tells blocks of files, which a power cut may tear. */
static void fill(uint64_t stamp, size_t at, size_t n, unsigned char *bytes)
{
	for (size_t i = at; i < at + n; i++) {
		bytes[i] = (unsigned char)(random_mix(stamp, i / 8) >> (i % 8 * 8));
		if (i % BLOCK < 8)
			bytes[i] = (unsigned char)MODEL_MAGIC[i % BLOCK];
	}
}

void image_file_bytes(const struct image_file *f, unsigned char *bytes)
{
	fill(f->written, 0, f->size, bytes);
	if (f->patched)
		fill(f->patched, f->patch_at, f->patch_length, bytes);
}

/* ---- the steps from one version to the next, in the model and, if there is one, in an image ---- */

struct step {
	struct image_model *m;
	struct minifs *fs; /* or NULL */
	uint64_t random;
	int rc;
};

static void note(struct step *s, long long rc)
{
	if (!s->rc && rc < 0)
		s->rc = (int)rc;
}

static void write_bytes(struct step *s, size_t slot, size_t at, size_t n)
{
	unsigned char *bytes;
	char name[32];

	if (!s->fs)
		return;
	bytes = malloc(LARGEST);
	image_name(slot, name, sizeof(name));
	image_file_bytes(&s->m->files[slot], bytes);
	note(s, minifs_pwrite(s->fs, name, bytes + at, n, at));
	free(bytes);
}

static void write_whole(struct step *s, size_t slot)
{
	struct image_file *f = &s->m->files[slot];
	bool exists = f->size;
	char name[32];

	image_name(slot, name, sizeof(name));
	*f = (struct image_file){.written = random_next(&s->random) | 1};
	f->size = 1 + random_below(&s->random, (size_t)1 << (8 + random_below(&s->random, 10)));
	if (s->fs)
		note(s, exists ? minifs_truncate(s->fs, name, f->size) : minifs_create(s->fs, name, 0644));
	write_bytes(s, slot, 0, f->size);
}

static void patch(struct step *s, size_t slot)
{
	struct image_file *f = &s->m->files[slot];

	if (!f->size || f->patched) {
		write_whole(s, slot);
		return;
	}
	f->patched = random_next(&s->random) | 1;
	f->patch_at = random_below(&s->random, f->size);
	f->patch_length = 1 + random_below(&s->random, f->size - f->patch_at);
	write_bytes(s, slot, f->patch_at, f->patch_length);
}

static void remove_file(struct step *s, size_t slot)
{
	char name[32];

	image_name(slot, name, sizeof(name));
	if (s->fs && s->m->files[slot].size)
		note(s, minifs_unlink(s->fs, name));
	s->m->files[slot] = (struct image_file){0};
}

static void rename_file(struct step *s, size_t from, size_t to)
{
	char old[32], new[32];

	image_name(from, old, sizeof(old));
	image_name(to, new, sizeof(new));
	if (!s->m->files[from].size || from == to)
		return;
	if (s->fs)
		note(s, minifs_rename(s->fs, old, new));
	s->m->files[to] = s->m->files[from];
	s->m->files[from] = (struct image_file){0};
}

static void clone_file(struct step *s, size_t from, size_t to)
{
	char old[32], new[32];

	image_name(from, old, sizeof(old));
	image_name(to, new, sizeof(new));
	if (!s->m->files[from].size || from == to)
		return;
	remove_file(s, to);
	if (s->fs)
		note(s, minifs_clone(s->fs, old, new));
	s->m->files[to] = s->m->files[from];
}

static void act_once(struct step *s)
{
	unsigned act = (unsigned)random_below(&s->random, 100);
	size_t one = random_below(&s->random, IMAGE_SLOTS), other = random_below(&s->random, IMAGE_SLOTS);

	if (act < 35)
		write_whole(s, one);
	else if (act < 60)
		patch(s, one);
	else if (act < 75)
		rename_file(s, one, other);
	else if (act < 88)
		clone_file(s, one, other);
	else
		remove_file(s, one);
}

static void write_version(struct step *s)
{
	if (!s->fs)
		return;
	if (s->m->version == 1) {
		note(s, minifs_mkdir(s->fs, "dir", 0755));
		note(s, minifs_create(s->fs, IMAGE_VERSION, 0644));
	}
	note(s, minifs_pwrite(s->fs, IMAGE_VERSION, &s->m->version, sizeof(s->m->version), 0));
}

int image_step(struct image_model *m, struct minifs *fs)
{
	struct step s = {.m = m, .fs = fs, .random = random_mix(m->seed, ++m->version)};
	size_t acts = 1 + random_below(&s.random, 6);

	write_version(&s);
	for (size_t i = 0; i < acts; i++)
		act_once(&s);
	return s.rc;
}

void image_go(struct image_model *m, uint64_t seed, uint64_t version)
{
	*m = (struct image_model){.seed = seed};
	while (m->version < version)
		image_step(m, NULL);
}

/* ---- the work ---- */

static int complain(int rc)
{
	if (rc)
		fprintf(stderr, "the image: %s\n", snapmap_last_error());
	return rc;
}

static int make_image(struct image_model *m, struct minifs **ret)
{
	const struct minifs_format_options options = {.size = sizeof(options), .bytes = IMAGE_BYTES};
	int rc = minifs_format(IMAGE, &options);

	if (!rc)
		rc = minifs_open(IMAGE, 0, ret);
	if (!rc)
		rc = image_step(m, *ret);
	return rc ? rc : minifs_sync(*ret);
}

static int sync_once(struct act *a, struct image_model *m, struct minifs *fs)
{
	int rc = image_step(m, fs);

	if (rc)
		return rc;
	act_mark(a, MARK_BEGIN, FILE_F, m->version, true);
	rc = minifs_sync(fs);
	if (!rc)
		act_mark(a, MARK_DONE, FILE_F, m->version, true);
	return rc;
}

int image_work(struct act *a, uint64_t version, unsigned long syncs, uint64_t random, atomic_bool *busy)
{
	struct minifs *fs = NULL;
	struct image_model m;
	int rc;

	image_go(&m, a->seed, version);
	rc = version ? minifs_open(IMAGE, 0, &fs) : make_image(&m, &fs);
	if (!rc && !version)
		act_mark(a, MARK_START, FILE_F, 1, true);
	for (unsigned long i = 0; !rc && (!syncs || i < syncs); i++) {
		atomic_store(busy, true);
		rc = sync_once(a, &m, fs);
		atomic_store(busy, false);
		if (rc || !random_percent(&random, 15))
			continue;
		minifs_close(fs);
		fs = NULL;
		rc = minifs_open(IMAGE, 0, &fs);
	}
	complain(rc);
	minifs_close(fs);
	a->worked = !rc;
	return rc;
}
