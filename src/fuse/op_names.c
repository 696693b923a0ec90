/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about names and directories. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define NAMES 64 /* of a directory, fetched at once */

static struct fuse_entry_param entry_param(const struct minifs_entry *entry)
{
	return (struct fuse_entry_param){
		.ino = entry->ino == MINIFS_ROOT_INO ? FUSE_ROOT_ID : entry->ino,
		.generation = entry->generation,
		.attr = entry->stat,
		.attr_timeout = SERVER_TIMEOUT,
		.entry_timeout = SERVER_TIMEOUT,
	};
}

/* A reply that does not arrive leaves the kernel without the hold. */
static void reply_entry(fuse_req_t req, const struct minifs_entry *entry)
{
	struct fuse_entry_param param = entry_param(entry);
	struct minifs *fs = server_of(req)->fs;

	if (fuse_reply_entry(req, &param) == -ENOENT)
		minifs_ino_forget(fs, entry->ino, 1);
}

static void reply_made(fuse_req_t req, int rc, const struct minifs_entry *entry)
{
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	commits_note(&server_of(req)->commits, CHANGE_BYTES);
	reply_entry(req, entry);
}

/* Names that no directory has, and the kernel is not to keep. */
static bool look_up_ours(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *server = server_of(req);
	struct fuse_entry_param param;
	struct minifs_entry entry;

	if (!snapshot_lookup(server, parent, name, &entry) && !asked_lookup(server, name, &entry))
		return false;
	param = entry_param(&entry);
	param.entry_timeout = 0;
	if (fuse_reply_entry(req, &param) == -ENOENT) {
		snapshot_forget(server, entry.ino, 1);
		minifs_ino_forget(server->fs, entry.ino, 1);
	}
	return true;
}

/*
 * That there is no such name is kept too. With "." the kernel asks for a file of any kind
 * that it knew once: for who has a handle of it, as a file server has.
 */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	static const struct fuse_entry_param none = {.entry_timeout = SERVER_TIMEOUT};
	struct minifs *fs = server_of(req)->fs;
	bool itself = !strcmp(name, ".");
	struct minifs_entry entry;
	int rc = itself ? minifs_ino_hold(fs, inode_of(parent), &entry)
			: minifs_ino_lookup(fs, inode_of(parent), name, &entry);

	if (!rc)
		reply_entry(req, &entry);
	else if (rc == -ENOENT && look_up_ours(req, parent, name))
		return;
	else if (rc == -ENOENT && !itself)
		fuse_reply_entry(req, &none);
	else
		fuse_reply_err(req, -rc);
}

/* The last one of a deleted file is a change. */
static void forget(struct server *server, fuse_ino_t ino, uint64_t n)
{
	snapshot_forget(server, inode_of(ino), n);
	if (minifs_ino_forget(server->fs, inode_of(ino), n))
		commits_note(&server->commits, CHANGE_BYTES);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget(server_of(req), ino, n);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(server_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	const struct minifs_new new_one = {.mode = mode, .uid = who->uid, .gid = who->gid};
	struct minifs_entry entry;
	int rc = commits_make_room(&server_of(req)->commits);

	if (!rc)
		rc = minifs_ino_make(server_of(req)->fs, inode_of(parent), name, &new_one, &entry);
	reply_made(req, rc, &entry);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	(void)device;
	make(req, parent, name, mode);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, S_IFDIR | (mode & 07777));
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	const struct minifs_new new_one = {.uid = who->uid, .gid = who->gid};
	struct minifs_entry entry;
	int rc = commits_make_room(&server_of(req)->commits);

	if (!rc)
		rc = minifs_ino_symlink(server_of(req)->fs, inode_of(parent), name, target, &new_one, &entry);
	reply_made(req, rc, &entry);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct minifs_entry entry;

	reply_made(req, minifs_ino_link(server_of(req)->fs, inode_of(ino), inode_of(parent), name, &entry), &entry);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_changed(req, minifs_ino_unlink(server_of(req)->fs, inode_of(parent), name));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_changed(req, minifs_ino_rmdir(server_of(req)->fs, inode_of(parent), name));
}

/* The flags are those of renameat2(2). */
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
	       unsigned flags)
{
	reply_changed(req, minifs_ino_rename(server_of(req)->fs, inode_of(parent), name, inode_of(new_parent), new_name,
					     flags));
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[4096];
	ssize_t n = minifs_ino_readlink(server_of(req)->fs, inode_of(ino), target, sizeof(target) - 1);

	if (n < 0) {
		fuse_reply_err(req, (int)-n);
		return;
	}
	target[n] = 0;
	fuse_reply_readlink(req, target);
}

struct listing {
	fuse_req_t req;
	bool plus;
	char *buffer;
	size_t size, used;
};

/* False: there is no room for it. */
static bool add(struct listing *l, const struct minifs_named *named)
{
	struct fuse_entry_param param = entry_param(&named->entry);
	size_t room = l->size - l->used, need;
	char *to = l->buffer + l->used;

	if (l->plus)
		need = fuse_add_direntry_plus(l->req, to, room, named->name, &param, (off_t)named->next);
	else
		need = fuse_add_direntry(l->req, to, room, named->name, &param.attr, (off_t)named->next);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* What the kernel does not get it does not hold. */
static void forget_names(struct minifs *fs, const struct minifs_named *names, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++)
		if (!is_dots(names[i].name))
			minifs_ino_forget(fs, names[i].entry.ino, 1);
}

static ssize_t fill(struct listing *l, uint64_t ino, uint64_t cursor)
{
	struct minifs *fs = server_of(l->req)->fs;
	struct minifs_named *names = (struct minifs_named *)malloc(NAMES * sizeof(*names));
	ssize_t n = names ? NAMES : -ENOMEM, taken = NAMES;

	while (n == NAMES && taken == n) {
		n = minifs_ino_readdir(fs, ino, cursor, l->plus ? MINIFS_HOLD : 0, names, NAMES);
		for (taken = 0; taken < n && add(l, &names[taken]); taken++)
			cursor = names[taken].next;
		if (l->plus)
			forget_names(fs, names + taken, n - taken);
	}
	free(names);
	return n;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct listing l = {.req = req, .plus = plus, .buffer = (char *)malloc(size), .size = size};
	ssize_t n = l.buffer ? fill(&l, inode_of(ino), (uint64_t)offset) : -ENOMEM;

	if (n < 0 && !l.used)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, l.buffer, l.used);
	free(l.buffer);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, true);
}
