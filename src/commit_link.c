/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Saving the present bytes of a handle as another file. */
#include "config.h"

#include <errno.h>

#include "attributes.h"
#include "commit.h"
#include "publish.h"
#include "snapmap/map_mut.h"
#include "sys.h"

static int link_check(void *arg)
{
	(void)arg;
	return 0;
}

/* Where nameless files cannot get a name, a file that has one from the start takes over. */
static int make_linkable(const struct image *image, const struct place *place, struct publication *ret)
{
	struct sparse_copy copy = {.from = image->fd, .seekable = true, .zeros_are_holes = true};
	struct publication p = {.place = place, .fd = image->fd};
	uint64_t size, written;
	int rc;

	if (!image->linkable) {
		rc = publish_create(place, 0600, &p);
		if (rc)
			return rc;
		copy.to = p.fd;
		rc = sparse_copy_file(&copy, image->size, &size, &written);
		if (rc) {
			publish_abandon(&p);
			sys_close(p.fd);
			return rc;
		}
	}
	*ret = p;
	return 0;
}

/* Attributes, durability, name: in the order of a commit by replace. */
static int publish_elsewhere(struct publication *p, int attributes, uint32_t flags)
{
	cleanup_fd int directory = -1;
	struct timespec mtime;
	int rc = attributes_carry(attributes, p->fd, true);

	if (rc)
		return rc;
	sys_now(&mtime);
	rc = sys_set_mtime(p->fd, &mtime);
	if (!rc)
		rc = sys_fsync(p->fd);
	if (!rc)
		rc = publish_open_directory(p->place, &directory);
	if (!rc)
		rc = flags & SNAPMAP_COMMIT_FORCE ? publish_over(p, link_check, NULL, NULL) : publish_new(p);
	if (rc)
		return error_set(rc, "save as", NULL);
	if (!(flags & SNAPMAP_COMMIT_NOSYNC) && publish_flush(directory, p->fd))
		return error_set(-EIO, "flush the directory of", "the file is there but may not survive a power cut");
	return 0;
}

/* A new file with the present bytes, made and named in the other place. */
static int link_into(struct overlay *o, const struct target *t, const struct place *place, uint32_t flags)
{
	struct ranges dirty = {0};
	struct publication p;
	struct image image;
	int rc = overlay_dirty(o, &dirty);

	if (!rc)
		rc = overlay_flatten(o, &dirty, place->dirfd, t->fd < 0 ? t->mode : 0, &image);
	ranges_free(&dirty);
	if (rc)
		return rc;
	rc = commit_check_sound(o);
	if (!rc) {
		rc = make_linkable(&image, place, &p);
		if (rc)
			error_set(rc, "save as", NULL);
	}
	if (!rc) {
		rc = publish_elsewhere(&p, t->fd >= 0 ? t->fd : o->image.fd, flags);
		publish_abandon(&p);
		if (p.fd != image.fd)
			sys_close(p.fd);
	}
	sys_close(image.fd);
	return rc;
}

/* What is there already: the same rules as for a commit. */
static int check_overwrite(const struct place *place, const struct stat *st, uint32_t flags)
{
	int rc = 0;

	if (S_ISDIR(st->st_mode))
		return error_set(-EISDIR, "save as", NULL);
	if (!(flags & SNAPMAP_COMMIT_FORCE))
		return error_set(-EEXIST, "save as",
				 "choose a name that does not exist, or overwrite with SNAPMAP_COMMIT_FORCE");
	if (!S_ISREG(st->st_mode))
		return error_set(-EOPNOTSUPP, "overwrite", "it is not a regular file");
	if (st->st_nlink > 1 && !(flags & SNAPMAP_COMMIT_BREAK_LINKS))
		return error_set(
			-EMLINK, "overwrite",
			"it has several names (hard links); allow with SNAPMAP_COMMIT_BREAK_LINKS to split them");
	rc = sys_faccessat(place->dirfd, place->name, W_OK);
	return rc ? error_set(rc, "overwrite", NULL) : 0;
}

/* A link is followed only to overwrite a file: what it names is no name that does not exist. */
int commit_link(struct overlay *o, const struct target *t, const char *path, uint32_t flags)
{
	struct place place;
	struct stat st;
	int rc = commit_check_sound(o);

	if (rc)
		return rc;
	rc = place_find(path, flags & SNAPMAP_COMMIT_FORCE, &place);
	if (rc)
		return error_set(rc == -ELOOP && !(flags & SNAPMAP_COMMIT_FORCE) ? -EEXIST : rc, "save as", NULL);
	rc = place_stat(&place, &st);
	if (!rc)
		rc = check_overwrite(&place, &st, flags);
	else if (rc == -ENOENT)
		rc = 0;
	else
		error_set(rc, "look at", NULL);
	if (!rc)
		rc = link_into(o, t, &place, flags);
	place_close(&place);
	return rc;
}
