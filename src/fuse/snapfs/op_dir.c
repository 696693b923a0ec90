/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about what is in directories. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wrapper.h"

/* getdents64(2) */
struct name {
	uint64_t ino;
	int64_t next;
	unsigned short length;
	unsigned char type;
	char text[];
};

static struct listing *listing_of(const struct fuse_file_info *fi)
{
	return (struct listing *)(uintptr_t)fi->fh;
}

static void delete_listing(struct listing *l)
{
	if (l->fd >= 0)
		close(l->fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct file *file = file_of(ino);
	struct listing *l = (struct listing *)malloc(sizeof(*l));
	int fd = file ? file_open(file, O_RDONLY | O_DIRECTORY) : -1;

	if (!l || (file && fd < 0)) {
		reply_rc(req, l ? fd : -ENOMEM);
		if (fd >= 0)
			close(fd);
		free(l);
		return;
	}
	l->fd = fd;
	l->used = l->at = 0;
	l->position = 0;
	pthread_mutex_init(&l->lock, NULL);
	fi->fh = (uintptr_t)l;
	/* Nobody else changes it, so the kernel may keep what it read. */
	fi->cache_readdir = fi->keep_cache = wrapper.request->timeout > 0;
	if (fuse_reply_open(req, fi) == -ENOENT)
		delete_listing(l);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	delete_listing(listing_of(fi));
	fuse_reply_err(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	const struct listing *l = listing_of(fi);
	int rc = 0;

	(void)ino;
	if (l->fd >= 0 && (data_only ? fdatasync(l->fd) : fsync(l->fd)))
		rc = -errno;
	reply_rc(req, rc);
}

/* An answer that is being filled. */
struct answer {
	fuse_req_t req;
	fuse_ino_t ino;
	int dir;
	bool plus;
	char *buffer;
	size_t size, used;
};

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Looked up as well; one that goes meanwhile is listed without. */
static struct file *look_up(const struct answer *a, const struct name *name, struct stat *ret)
{
	struct file *file = NULL;
	int fd;

	if (!a->plus || is_dots(name->text))
		return NULL;
	fd = openat(a->dir, name->text, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || file_get(fd, a->ino, name->text, ret, &file))
		return NULL;
	file_show(ret);
	return file;
}

/* False: there is no room for it. */
static bool add(struct answer *a, const struct name *name)
{
	const double timeout = wrapper.request->timeout;
	struct fuse_entry_param entry = {.attr_timeout = timeout, .entry_timeout = timeout};
	size_t room = a->size - a->used, need;
	struct file *file = NULL;

	entry.attr.st_ino = name->ino;
	entry.attr.st_mode = (mode_t)name->type << 12;
	if (a->plus) {
		/* How much is needed does not depend on what it is. */
		need = fuse_add_direntry_plus(a->req, NULL, 0, name->text, NULL, 0);
		if (need > room)
			return false;
		file = look_up(a, name, &entry.attr);
		entry.ino = (fuse_ino_t)(uintptr_t)file;
		fuse_add_direntry_plus(a->req, a->buffer + a->used, room, name->text, &entry, name->next);
	} else {
		need = fuse_add_direntry(a->req, a->buffer + a->used, room, name->text, &entry.attr, name->next);
		if (need > room)
			return false;
	}
	a->used += need;
	return true;
}

/* 1: there are names in the buffer; 0: no more; or a negative errno. */
static int fetch(struct listing *l)
{
	ssize_t n;

	if (l->at < l->used)
		return 1;
	n = syscall(SYS_getdents64, l->fd, l->buffer, sizeof(l->buffer));
	if (n < 0)
		return -errno;
	l->at = 0;
	l->used = (size_t)n;
	return n > 0;
}

static int fill(struct listing *l, struct answer *a)
{
	int rc;

	while ((rc = fetch(l)) > 0) {
		const struct name *name = (const struct name *)(const void *)(l->buffer + l->at);

		if (!is_ours(a->ino, name->text) && !add(a, name))
			break;
		l->at += name->length;
		l->position = name->next;
	}
	return rc < 0 ? rc : 0;
}

/* Names that were fetched are used if the kernel goes on where it stopped. */
static int seek(struct listing *l, off_t offset)
{
	if (l->position == offset)
		return 0;
	l->at = l->used = 0;
	l->position = offset;
	return lseek(l->fd, offset, SEEK_SET) < 0 ? -errno : 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi, bool plus)
{
	struct listing *l = listing_of(fi);
	struct answer a = {
		.req = req, .ino = ino, .dir = l->fd, .plus = plus, .buffer = (char *)malloc(size), .size = size};
	int rc = a.buffer ? 0 : -ENOMEM;

	pthread_mutex_lock(&l->lock);
	if (!rc && l->fd >= 0) {
		rc = seek(l, offset);
		if (!rc)
			rc = fill(l, &a);
	}
	pthread_mutex_unlock(&l->lock);
	if (rc && !a.used)
		reply_rc(req, rc);
	else
		fuse_reply_buf(req, a.buffer, a.used);
	free(a.buffer);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, ino, size, offset, fi, true);
}
