/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A loop device disappears by itself when nothing uses it any more (bench/loop.c), a
 * mount when its namespace does, and a namespace with its last process. So there is
 * nothing to take back, and nothing that SIGKILL could leave behind.
 */
#include "config.h"

#include "bench/makefs.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/loop.h"
#include "bench/place.h"
#include "bench/tool.h"
#include "bench/workload.h"

/* Room for several files of 4 GiB, and for any of those file systems. */
#define SIZE_MAX_WANTED (64 * GIB)
#define SIZE_LEAST (512 * MIB)

/**
 * struct kind - a file system that can be made
 * @mkfs: command line, to which the device is appended
 * @type: of the mount
 * @options: of the mount
 * @below: an overlay: the kind that its layers lie on
 * @finish: after mkfs, may be NULL
 */
struct kind {
	const char *name;
	const char *mkfs[8];
	const char *type;
	const char *options;
	const char *below;
	int (*finish)(const char *device, struct why *why);
};

/*
 * The incompat bit for exchange-range, which xfsprogs older than 6.10 do not know, in
 * every superblock. It only allows things: nothing on a fresh disk depends on it.
 */
#define EXCHANGE_BIT 0x40u

static int set_exchange_bit(const char *device, struct why *why)
{
	const char *const look[] = {"xfs_db", "-c", "sb 0", "-c", "print features_incompat agcount", device, NULL};
	char output[TOOL_OUTPUT], sb[32], set[64];
	unsigned features = 0, groups = 0;
	int rc = tool_run(look, output, why);

	if (rc)
		return rc;
	if (sscanf(output, "features_incompat = %x agcount = %u", &features, &groups) != 2)
		return why_set(why, -EIO, "xfs_db said \"%s\", which is not what was expected", output);
	snprintf(set, sizeof(set), "write -d features_incompat 0x%x", features | EXCHANGE_BIT);
	for (unsigned i = 0; !rc && i < groups; i++) {
		const char *const write[] = {"xfs_db", "-x", "-c", sb, "-c", set, device, NULL};

		snprintf(sb, sizeof(sb), "sb %u", i);
		rc = tool_run(write, NULL, why);
	}
	return rc;
}

/* What file systems do in the background after they were made would be measured, too; so it is not put off. */
static const struct kind kinds[] = {
	{"xfs", {"mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1"}, "xfs", "", NULL, NULL},
	{"xfs-exchange", {"mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1"}, "xfs", "", NULL, set_exchange_bit},
	{"btrfs", {"mkfs.btrfs", "-q", "-f", "-K"}, "btrfs", "", NULL, NULL},
	{"ext4", {"mkfs.ext4", "-q", "-F", "-m0", "-Jsize=128", "-Enodiscard"}, "ext4", "noinit_itable", NULL, NULL},
	{"tmpfs", {NULL}, "tmpfs", NULL, NULL, NULL},
	{"overlay", {NULL}, "overlay", "", "ext4", NULL},
	{"overlay-xfs", {NULL}, "overlay", "", "xfs", NULL},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct kind *find(const char *name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

const char *makefs_name(size_t i)
{
	return i < KINDS ? kinds[i].name : NULL;
}

bool makefs_knows(const char *name)
{
	return find(name) != NULL;
}

int makefs_check(const char *name, struct why *why)
{
	const struct kind *kind = find(name);
	const char *program;

	if (kind && kind->below)
		kind = find(kind->below);
	program = kind ? kind->mkfs[0] : NULL;
	if (program && !tool_is_there(program))
		return why_set(why, -ENOENT, "the program %s is not installed, which makes %s", program, name);
	if (kind && kind->finish && !tool_is_there("xfs_db"))
		return why_set(why, -ENOENT, "the program xfs_db is not installed, which makes %s", name);
	return 0;
}

/* ---- the namespace ---- */

/* Whether @path lies in @dir. What does not exist yet lies where the directory before it does. */
static bool lies_in(const char *path, const char *dir)
{
	char given[PATH_MAX], real[PATH_MAX], *slash;
	size_t n = strlen(dir);

	snprintf(given, sizeof(given), "%s", path);
	while (!realpath(given, real)) {
		slash = strrchr(given, '/');
		if (!slash || slash == given)
			snprintf(given, sizeof(given), slash ? "/" : ".");
		else
			*slash = 0;
	}
	return !strncmp(real, dir, n) && (real[n] == '/' || !real[n]);
}

static int choose_top(const char *images, const char *const *used, size_t nused, char *ret, struct why *why)
{
	static const char *const choices[] = {"/media", "/mnt", "/srv", "/opt"};

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		bool is_free = realpath(choices[i], ret) && !lies_in(".", ret) && !(images && lies_in(images, ret));

		for (size_t j = 0; is_free && j < nused; j++)
			is_free = !lies_in(used[j], ret);
		if (is_free)
			return 0;
	}
	return why_set(why, -EBUSY, "/media, /mnt, /srv and /opt are all in use: there is no place for file systems");
}

int makefs_begin(const char *images, const char *const *used, size_t nused, struct makefs *ret, struct why *why)
{
	struct makefs makefs = {.images = images};
	int rc;

	if (geteuid())
		return why_set(why, -EPERM, "only root can make file systems; without root, name directories instead");
	rc = choose_top(images, used, nused, makefs.top, why);
	if (rc)
		return rc;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("snapmap-bench", makefs.top, "tmpfs", 0, "mode=755"))
		return why_set(why, -errno, "cannot make a mount namespace: %s", strerror(errno));
	*ret = makefs;
	return 0;
}

/* ---- file systems ---- */

static int mount_at(const struct kind *kind, const char *source, const char *dir, const char *options, struct why *why)
{
	if (!mount(source, dir, kind->type, MS_NOSUID | MS_NODEV, options))
		return 0;
	return why_set(why, -errno, "cannot mount %s: %s", kind->name, strerror(errno));
}

static int choose_size(const struct makefs *m, const struct kind *kind, uint64_t *ret, struct why *why)
{
	uint64_t size = m->images && kind->type[0] != 't' ? place_room_of(m->images) / 4 * 3 : place_memory() / 2;

	if (size < SIZE_LEAST)
		return why_set(why, -ENOSPC, "there is too little room in %s to make %s",
			       m->images ? m->images : "memory", kind->name);
	*ret = (size < SIZE_MAX_WANTED ? size : SIZE_MAX_WANTED) / MIB * MIB;
	return 0;
}

static int make_device(const struct makefs *m, const struct kind *kind, const char *dir, struct why *why)
{
	const char *argv[10] = {NULL};
	char device[64];
	uint64_t size;
	size_t n = 0;
	int rc = choose_size(m, kind, &size, why), fd;

	if (rc)
		return rc;
	fd = loop_create(m->images, size, device, why);
	if (fd < 0)
		return fd;
	for (; kind->mkfs[n]; n++)
		argv[n] = kind->mkfs[n];
	argv[n] = device;
	rc = tool_run(argv, NULL, why);
	if (!rc && kind->finish)
		rc = kind->finish(device, why);
	if (!rc)
		rc = mount_at(kind, device, dir, kind->options, why);
	close(fd);
	return rc;
}

static int make_directory(const char *path, struct why *why)
{
	return mkdir(path, 0755) && errno != EEXIST
		       ? why_set(why, -errno, "cannot make the directory '%s': %s", path, strerror(errno))
		       : 0;
}

static void below_of(const struct makefs *m, const struct kind *kind, char *ret, size_t n)
{
	snprintf(ret, n, "%s/.%s-below", m->top, kind->name);
}

static int make_overlay(struct makefs *m, const struct kind *kind, const char *dir, struct why *why)
{
	static const char *const parts[] = {"lower", "upper", "work"};
	char below[PATH_MAX + 64], options[3 * PATH_MAX + 256], part[PATH_MAX + 96];
	int rc;

	below_of(m, kind, below, sizeof(below));
	rc = make_directory(below, why);
	if (!rc)
		rc = make_device(m, find(kind->below), below, why);
	for (size_t i = 0; !rc && i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(part, sizeof(part), "%s/%s", below, parts[i]);
		rc = make_directory(part, why);
	}
	if (rc)
		return rc;
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", below, below, below);
	return mount_at(kind, "overlay", dir, options, why);
}

static int make_tmpfs(struct makefs *m, const struct kind *kind, const char *dir, struct why *why)
{
	char options[64];
	uint64_t size;
	int rc = choose_size(m, kind, &size, why);

	if (rc)
		return rc;
	snprintf(options, sizeof(options), "size=%llu", (unsigned long long)size);
	return mount_at(kind, "tmpfs", dir, options, why);
}

int makefs_make(struct makefs *m, const char *name, char ret_dir[PATH_MAX], struct why *why)
{
	const struct kind *kind = find(name);
	int rc;

	if (!kind)
		return why_set(why, -EINVAL, "there is no file system '%s' to make", name);
	if ((size_t)snprintf(ret_dir, PATH_MAX, "%s/%s", m->top, name) >= PATH_MAX)
		return why_set(why, -ENAMETOOLONG, "'%s' is too long a name", m->top);
	rc = make_directory(ret_dir, why);
	if (rc)
		return rc;
	if (kind->below)
		return make_overlay(m, kind, ret_dir, why);
	return kind->mkfs[0] ? make_device(m, kind, ret_dir, why) : make_tmpfs(m, kind, ret_dir, why);
}

/* Nothing of ours is open there any more; should something be, the mount goes with it. */
static void unmount(const char *dir)
{
	if (umount2(dir, 0))
		umount2(dir, MNT_DETACH);
}

void makefs_unmake(struct makefs *m, const char *name)
{
	const struct kind *kind = find(name);
	char dir[PATH_MAX + 64];

	snprintf(dir, sizeof(dir), "%s/%s", m->top, name);
	unmount(dir);
	if (kind && kind->below) {
		below_of(m, kind, dir, sizeof(dir));
		unmount(dir);
	}
}
