/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See act.h. */
#include "config.h"

#include "act.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mark.h"

const struct file_traits files[FILES] = {
	[FILE_F] = {"f", NULL, FILE_F, 0640, 1001, 1002, "eff"},
	[FILE_G] = {"g", "g.link", FILE_G, 0606, 1003, 1004, "gee"},
	[FILE_NEW] = {"new", NULL, FILE_NEW, 0604, 0, 0, NULL},
	[FILE_NEWER] = {"newer", NULL, FILE_NEWER, 0600, 0, 0, NULL},
	[FILE_SAVED] = {"f.saved", NULL, FILE_F, 0640, 1001, 1002, "eff"},
};

/* Version 2; owner rw, user 1005 r, group r, mask r, others nothing: as linux/posix_acl_xattr.h, little endian. */
const unsigned char file_acl[] = {
	2,    0, 0, 0,			       /* version */
	0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* owner */
	0x02, 0, 4, 0, 0xed, 0x03, 0,	 0,    /* user 1005 */
	0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, /* group */
	0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, /* mask */
	0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* others */
};
const size_t file_acl_size = sizeof(file_acl);

void act_begin(struct act *a, const uint64_t *versions)
{
	for (int i = 0; i < FILE_COMMITTED; i++) {
		model_begin(&a->models[i], a->seed, (uint32_t)i, i == FILE_F ? a->shape : SHAPE_ANY);
		model_go(&a->models[i], versions[i]);
		a->worked |= versions[i] > 1;
		a->handles[i] = NULL;
	}
}

void act_mark(const struct act *a, uint32_t kind, enum file file, uint64_t version, bool durable)
{
	struct mark m = {.kind = kind, .name = file, .version = version, .durable = durable};

	/* Without one who takes them there is nothing to go on for. */
	if (a->marks >= 0 && mark_send(a->marks, &m))
		_exit(3);
}

/*
 * Writes it in pieces of a block that lie across two, every other one first, so that none lies
 * behind its neighbor on the disk.
 */
static int write_fragments(int fd, const char *data, size_t size)
{
	size_t half = BLOCK / 2;

	for (size_t first = half; first <= half + BLOCK; first += BLOCK) {
		for (size_t at = first; at < size; at += 2 * BLOCK) {
			size_t n = size - at < BLOCK ? size - at : BLOCK;

			if (pwrite(fd, data + at, n, (off_t)at) != (ssize_t)n)
				return -1;
		}
		if (fsync(fd))
			return -1;
	}
	return pwrite(fd, data, half, 0) == (ssize_t)half && !fsync(fd) ? 0 : -1;
}

static int write_file(int fd, const char *data, size_t size, enum shape shape)
{
	if (shape == SHAPE_FRAGMENTED)
		return ftruncate(fd, (off_t)size) ? -1 : write_fragments(fd, data, size);
	return write(fd, data, size) == (ssize_t)size ? 0 : -1;
}

static int set_up(struct act *a, enum file file)
{
	const struct file_traits *t = &files[file];
	struct model *m = &a->models[file];
	int fd = open(t->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char *data;
	int rc;

	model_step(m);
	data = calloc(1, m->size + 1);
	if (fd < 0 || !data)
		return -1;
	model_store(m, data);
	rc = write_file(fd, data, m->size, m->shape) || fchown(fd, t->uid, t->gid) || fchmod(fd, t->mode) ||
	     fsetxattr(fd, "user.crash", t->tag, strlen(t->tag), 0);
	if (!rc && file == FILE_F)
		rc = fsetxattr(fd, "system.posix_acl_access", file_acl, file_acl_size, 0);
	if (!rc && t->link && a->strategy->keeps_inode)
		rc = link(t->name, t->link);
	free(data);
	close(fd);
	return rc ? -1 : 0;
}

int act_set_up(struct act *a)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	rc = fd < 0 || set_up(a, FILE_F) || set_up(a, FILE_G) || syncfs(fd);
	close(fd);
	return rc ? -1 : 0;
}

static int complain(const char *what, enum file file, int rc)
{
	if (rc)
		fprintf(stderr, "%s %s: %s\n", what, files[file].name, snapmap_last_error());
	return rc;
}

static int need_handle(struct act *a, enum file file)
{
	const struct file_traits *t = &files[file];

	if (a->handles[file])
		return 0;
	if (!a->models[file].version)
		return complain("create", file, snapmap_mut_create(t->name, t->mode, NULL, &a->handles[file]));
	return complain("open", file, snapmap_mut_open(t->name, NULL, &a->handles[file]));
}

/* Stores the next version into the handle. */
static int edit(struct act *a, enum file file)
{
	struct model *m = &a->models[file];
	struct snapmap_mut *map = a->handles[file];
	int rc = 0;

	model_step(m);
	if (m->size != snapmap_mut_size(map))
		rc = complain("resize", file, snapmap_mut_resize(map, m->size));
	if (!rc)
		model_store(m, snapmap_mut_data(map));
	return rc;
}

static int save(struct act *a, bool nosync)
{
	const struct snapmap_commit_options options = {
		.size = sizeof(options),
		.flags = SNAPMAP_COMMIT_FORCE | (nosync ? SNAPMAP_COMMIT_NOSYNC : 0),
		.strategy = SNAPMAP_STRATEGY_AUTO,
	};
	uint64_t version = a->models[FILE_F].version;
	int rc;

	act_mark(a, MARK_BEGIN, FILE_SAVED, version, !nosync);
	rc = complain("link", FILE_SAVED, snapmap_mut_link(a->handles[FILE_F], files[FILE_SAVED].name, &options));
	if (!rc)
		act_mark(a, MARK_DONE, FILE_SAVED, version, !nosync);
	return rc;
}

bool act_is_supported(uint32_t strategy)
{
	struct snapmap_probe probe;

	if (snapmap_probe(".", &probe))
		return false;
	for (uint32_t i = 0; i < probe.nstrategies; i++)
		if (probe.strategies[i].id == strategy)
			return !probe.strategies[i].error;
	return false;
}

static int commit(struct act *a, enum file file, struct way way, const struct snapmap_commit_options *options)
{
	if (way.closing)
		return snapmap_mut_commit_and_close(a->handles[file], options);
	return snapmap_mut_commit(a->handles[file], options);
}

static int publish(struct act *a, enum file file, struct way way)
{
	struct snapmap_commit_options options = {.size = sizeof(options), .strategy = a->strategy->id};
	int rc;

	if (way.nosync)
		options.flags |= SNAPMAP_COMMIT_NOSYNC;
	/* Where there is no file yet only replace can make one. */
	if (a->models[file].version == 1)
		options.strategy = SNAPMAP_STRATEGY_AUTO;
	act_mark(a, MARK_BEGIN, file, a->models[file].version, !way.nosync);
	rc = commit(a, file, way, &options);
	/* What exchange refuses is done as AUTO does it. */
	if (rc == -EOPNOTSUPP && options.strategy == SNAPMAP_STRATEGY_EXCHANGE && act_is_supported(options.strategy)) {
		options.strategy = SNAPMAP_STRATEGY_AUTO;
		rc = commit(a, file, way, &options);
	}
	complain("commit", file, rc);
	if (rc)
		return rc;
	a->worked |= options.strategy == a->strategy->id;
	act_mark(a, MARK_DONE, file, a->models[file].version, !way.nosync);
	if (way.closing)
		a->handles[file] = NULL;
	return 0;
}

int act_commit(struct act *a, enum file file, struct way way)
{
	int rc = need_handle(a, file);

	if (!rc)
		rc = edit(a, file);
	if (!rc && way.saving && file == FILE_F)
		rc = save(a, way.nosync);
	return rc ? rc : publish(a, file, way);
}

int act_flush(struct act *a, enum file file)
{
	const struct snapmap_commit_options options = {.size = sizeof(options), .strategy = a->strategy->id};
	int rc;

	if (!a->models[file].version)
		return 0;
	rc = need_handle(a, file);
	if (!rc)
		rc = complain("flush", file, snapmap_mut_commit(a->handles[file], &options));
	if (!rc)
		act_mark(a, MARK_DONE, file, a->models[file].version, true);
	return rc;
}
