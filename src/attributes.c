/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carrying over everything that a file is besides its bytes.
 *
 * The order matters: giving a file away clears set-user-ID bits and capabilities,
 * so the owner comes first; user attributes want a file that its mode lets be
 * written, so they come before the mode; ACLs and capabilities come last. Nothing is dropped in silence: what cannot be
 * carried over is an error that names it.
 */
#include "config.h"

#include "attributes.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "journal_marker.h"
#include "sys.h"

/* What a user sets with chattr(1), as far as it makes sense on a file that replaces another. */
#define FLAGS_KEPT                                                                                                    \
	(FS_SYNC_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_COMPR_FL | FS_NOCOMP_FL | FS_JOURNAL_DATA_FL | FS_NOTAIL_FL | \
	 FS_NOCOW_FL | FS_DAX_FL)

static int fail(int error, const char *attribute)
{
	char what[400];

	snprintf(what, sizeof(what), "keep %s of", attribute);
	return error_set(error, what,
			 "use a strategy that keeps the inode, save elsewhere, or ask somebody with more rights");
}

static int carry_owner(const struct stat *from, const struct stat *to, int fd, bool any_owner, bool *ret_kept)
{
	int rc;

	*ret_kept = true;
	if (from->st_gid != to->st_gid) {
		rc = sys_fchown(fd, (uid_t)-1, from->st_gid);
		if (rc && !any_owner)
			return fail(rc, "the group");
		*ret_kept = !rc;
	}
	if (from->st_uid != to->st_uid) {
		rc = sys_fchown(fd, from->st_uid, (gid_t)-1);
		if (rc && !any_owner)
			return fail(rc, "the owner");
		*ret_kept = *ret_kept && !rc;
	}
	return 0;
}

static int carry_mode(const struct stat *from, int fd, bool owner_kept)
{
	mode_t mode = from->st_mode & 07777;
	struct stat st;
	int rc;

	if (!owner_kept)
		mode &= (mode_t) ~(S_ISUID | S_ISGID);
	rc = sys_fchmod(fd, mode);
	if (!rc)
		rc = sys_fstat(fd, &st);
	/* Without the right to, the kernel drops the set-group-ID bit and says nothing. */
	if (!rc && (st.st_mode & 07777) != mode)
		rc = -EPERM;
	return rc ? fail(rc, "the mode") : 0;
}

/* ---- extended attributes ---- */

struct bytes {
	char *data;
	size_t size;
};

static void free_bytes(struct bytes *b)
{
	free(b->data);
}
#define cleanup_bytes __attribute__((cleanup(free_bytes)))

/* Reads a list (@name NULL) or a value, of whatever size. */
static int read_xattr(int fd, const char *name, struct bytes *ret)
{
	for (int i = 0; i < 8; i++) {
		ssize_t n = name ? sys_xattr_get(fd, name, NULL, 0) : sys_xattr_list(fd, NULL, 0);
		char *data;

		if (n < 0)
			return (int)n;
		data = (char *)malloc((size_t)n + 1);
		if (!data)
			return -ENOMEM;
		n = name ? sys_xattr_get(fd, name, data, (size_t)n) : sys_xattr_list(fd, data, (size_t)n);
		if (n >= 0) {
			data[n] = 0;
			*ret = (struct bytes){data, (size_t)n};
			return 0;
		}
		free(data);
		if (n != -ERANGE) /* it grew in between */
			return (int)n;
	}
	return -ERANGE;
}

/* No extended attributes at all is an empty list. */
static int list_xattrs(int fd, struct bytes *ret)
{
	int rc = read_xattr(fd, NULL, ret);

	if (rc != -EOPNOTSUPP)
		return rc;
	*ret = (struct bytes){0};
	return 0;
}

static bool has_name(const struct bytes *list, const char *name)
{
	for (size_t at = 0; at < list->size; at += strlen(list->data + at) + 1)
		if (!strcmp(list->data + at, name))
			return true;
	return false;
}

/*
 * Made by the kernel or a security module for each file anew, from its content or
 * from policy: they cannot be set or removed by hand, or would be wrong if they were.
 * And the marker of commits by journal, which tells of one inode.
 */
static bool is_not_ours(const char *name)
{
	static const char *const names[] = {"security.ima", "security.evm", JOURNAL_ATTRIBUTE};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return !strncmp(name, "trusted.overlay.", 16) || !strncmp(name, "user.overlay.", 13);
}

static int carry_xattr(int from, int to, const char *name)
{
	cleanup_bytes struct bytes wanted = {0}, present = {0};
	char what[300];
	int rc = read_xattr(from, name, &wanted);

	if (rc == -ENODATA) /* removed since it was listed */
		return 0;
	if (!rc && !read_xattr(to, name, &present) && present.size == wanted.size &&
	    !memcmp(present.data, wanted.data, wanted.size))
		return 0;
	if (!rc)
		rc = sys_xattr_set(to, name, wanted.data, wanted.size);
	if (!rc)
		return 0;
	snprintf(what, sizeof(what), "the extended attribute %s", name);
	return fail(rc, what);
}

/* Such as an ACL that the directory gives to every new file, or a label by policy. */
static int remove_extra(int to, const char *name)
{
	char what[300];
	int rc = sys_xattr_remove(to, name);

	if (!rc || rc == -ENODATA || !strncmp(name, "security.", 9))
		return 0;
	snprintf(what, sizeof(what), "the absence of the extended attribute %s", name);
	return fail(rc, what);
}

/* Rights, which come last: they go with each change of owner or mode, or decide what may be set. */
static bool is_right(const char *name)
{
	return !strcmp(name, "system.posix_acl_access") || !strcmp(name, "security.capability");
}

static int carry_xattrs(int from, int to, bool rights, bool owner_kept)
{
	cleanup_bytes struct bytes wanted = {0}, present = {0};
	int rc = list_xattrs(from, &wanted);

	if (!rc)
		rc = list_xattrs(to, &present);
	if (rc)
		return fail(rc, "the extended attributes");
	for (size_t at = 0; !rc && at < present.size; at += strlen(present.data + at) + 1)
		if (is_right(present.data + at) == rights && !is_not_ours(present.data + at) &&
		    !has_name(&wanted, present.data + at))
			rc = remove_extra(to, present.data + at);
	for (size_t at = 0; !rc && at < wanted.size; at += strlen(wanted.data + at) + 1) {
		const char *name = wanted.data + at;

		if (is_right(name) != rights || is_not_ours(name))
			continue;
		/* Capabilities are a right like set-user-ID: not for another owner. */
		if (!owner_kept && !strcmp(name, "security.capability"))
			continue;
		rc = carry_xattr(from, to, name);
	}
	return rc;
}

/* ---- inode flags ---- */

/* File systems without flags or projects have none to lose. */
static int carry_flags(int from, int to, bool as_copy)
{
	unsigned wanted, present;
	uint32_t project, own_project;
	int rc = 0;

	/* To a copy, flags are advice for the storage, which another file system may not take. */
	if (as_copy)
		return 0;
	if (!sys_inode_flags_get(from, &wanted) && !sys_inode_flags_get(to, &present) &&
	    ((wanted ^ present) & FLAGS_KEPT)) {
		rc = sys_inode_flags_set(to, (present & ~(unsigned)FLAGS_KEPT) | (wanted & FLAGS_KEPT));
		if (!rc)
			rc = sys_inode_flags_get(to, &present);
		if (!rc && ((wanted ^ present) & FLAGS_KEPT))
			rc = -EOPNOTSUPP;
		if (rc)
			return fail(rc, "the inode flags (lsattr)");
	}
	if (!sys_project_id_get(from, &project) && !sys_project_id_get(to, &own_project) && project != own_project)
		rc = sys_project_id_set(to, project);
	return rc ? fail(rc, "the project number") : 0;
}

int attributes_carry(int from, int to, bool as_copy)
{
	struct stat from_st, to_st;
	bool owner_kept;
	int rc = sys_fstat(from, &from_st);

	if (!rc)
		rc = sys_fstat(to, &to_st);
	if (rc)
		return error_set(rc, "stat", NULL);
	rc = carry_owner(&from_st, &to_st, to, as_copy, &owner_kept);
	/* The kernel sets attributes of users only on files that their mode lets be written. */
	if (!rc && (to_st.st_mode & S_IWUSR) == 0 && sys_fchmod(to, S_IRUSR | S_IWUSR))
		rc = fail(-EPERM, "the mode");
	if (!rc)
		rc = carry_xattrs(from, to, false, owner_kept);
	if (!rc)
		rc = carry_flags(from, to, as_copy);
	if (!rc)
		rc = carry_mode(&from_st, to, owner_kept);
	if (!rc)
		rc = carry_xattrs(from, to, true, owner_kept);
	return rc;
}

bool attributes_are_lost_by_writing(int fd)
{
	struct stat st;

	return sys_fstat(fd, &st) || (st.st_mode & (S_ISUID | S_ISGID)) ||
	       sys_xattr_get(fd, "security.capability", NULL, 0) >= 0;
}
