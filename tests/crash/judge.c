/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See judge.h. */
#include "config.h"

#include "image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The first fault counts. */
void verdict_say(struct verdict *v, enum fault fault, const char *format, ...)
{
	va_list args;

	if (v->fault)
		return;
	v->fault = fault;
	va_start(args, format);
	vsnprintf(v->text, sizeof(v->text), format, args);
	va_end(args);
}

static void judge_bytes(const struct judge *j, enum file file, const char *reader, const void *data, size_t size,
			struct verdict *v)
{
	const struct file_traits *t = &files[file];
	struct model m;
	int64_t found;
	char what[300], where[100];

	model_begin(&m, j->seed, t->id, t->id == FILE_F ? j->shape : SHAPE_ANY);
	found = model_find(&m, j->expect.newest[file], data, size);
	if (found < 0) {
		model_describe(data, size, what, sizeof(what));
		model_go(&m, j->expect.newest[file]);
		model_differ(&m, data, size, where, sizeof(where));
		verdict_say(v, FAULT_TORN, "%s by %s: no version up to %llu, %s: %s", t->name, reader,
			    (unsigned long long)j->expect.newest[file], where, what);
	} else if ((uint64_t)found < j->expect.floor[file]) {
		verdict_say(v, FAULT_OLD, "%s by %s: version %lld, but %llu was promised", t->name, reader,
			    (long long)found, (unsigned long long)j->expect.floor[file]);
	}
	v->versions[file] = found < 0 ? 0 : (uint64_t)found;
}

static void judge_plain(const struct judge *j, enum file file, struct verdict *v)
{
	const struct file_traits *t = &files[file];
	int fd = open(t->name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;

	if (fd < 0 || fstat(fd, &st)) {
		verdict_say(v, FAULT_USE, "%s: %s", t->name, strerror(errno));
		close(fd);
		return;
	}
	data = malloc((size_t)st.st_size + 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		verdict_say(v, FAULT_TORN, "%s cannot be read: %s", t->name, strerror(errno));
	else
		judge_bytes(j, file, "plain read", data, (size_t)st.st_size, v);
	free(data);
	close(fd);
}

static void judge_by_library(const struct judge *j, enum file file, struct verdict *v)
{
	struct snapmap *map;

	if (snapmap_open(files[file].name, NULL, &map)) {
		verdict_say(v, FAULT_USE, "%s cannot be opened: %s", files[file].name, snapmap_last_error());
		return;
	}
	judge_bytes(j, file, "the library", snapmap_data(map), snapmap_size(map), v);
	snapmap_close(map);
}

static bool has_xattr(const char *path, const char *name, const void *value, size_t n)
{
	char found[256];

	return getxattr(path, name, found, sizeof(found)) == (ssize_t)n && !memcmp(found, value, n);
}

static void judge_attributes(const struct judge *j, enum file file, struct verdict *v)
{
	const struct file_traits *t = &files[file];
	struct stat st, other;

	if (stat(t->name, &st)) {
		verdict_say(v, FAULT_USE, "%s: %s", t->name, strerror(errno));
		return;
	}
	if ((st.st_mode & 07777) != t->mode || st.st_uid != t->uid || st.st_gid != t->gid)
		verdict_say(v, FAULT_ATTRIBUTES, "%s: mode %o, owner %d, group %d", t->name, st.st_mode, (int)st.st_uid,
			    (int)st.st_gid);
	if (t->tag && !has_xattr(t->name, "user.crash", t->tag, strlen(t->tag)))
		verdict_say(v, FAULT_ATTRIBUTES, "%s: user.crash is lost", t->name);
	if (t->id == FILE_F && !has_xattr(t->name, "system.posix_acl_access", file_acl, file_acl_size))
		verdict_say(v, FAULT_ATTRIBUTES, "%s: the ACL is lost", t->name);
	if (t->link && j->strategy->keeps_inode && (stat(t->link, &other) || other.st_ino != st.st_ino))
		verdict_say(v, FAULT_ATTRIBUTES, "%s is another file than %s", t->link, t->name);
}

static void judge_file(const struct judge *j, enum file file, bool plain, struct verdict *v)
{
	struct stat st;

	v->versions[file] = 0;
	if (lstat(files[file].name, &st)) {
		if (j->expect.floor[file])
			verdict_say(v, FAULT_OLD, "%s is not there, but version %llu was promised", files[file].name,
				    (unsigned long long)j->expect.floor[file]);
		return;
	}
	if (plain)
		judge_plain(j, file, v);
	judge_by_library(j, file, v);
	judge_attributes(j, file, v);
}

/* Commits the next version of each, as whoever comes next would, and reads it. */
static void go_on(const struct judge *j, struct verdict *v)
{
	struct act a = {.seed = j->seed, .shape = j->shape, .strategy = j->strategy, .marks = -1};
	struct judge next = *j;

	act_begin(&a, v->versions);
	for (enum file file = FILE_F; file < FILE_COMMITTED && !v->fault; file++) {
		int rc = act_commit(&a, file, (struct way){.saving = true});

		v->unsupported = rc == -EOPNOTSUPP && !a.worked;
		if (rc)
			verdict_say(v, FAULT_USE, "the next commit of %s failed: %s", files[file].name,
				    snapmap_last_error());
		snapmap_mut_close(a.handles[file]);
		next.expect.floor[file] = next.expect.newest[file] = a.models[file].version;
	}
	next.expect.floor[FILE_SAVED] = next.expect.newest[FILE_SAVED] = a.models[FILE_F].version;
	for (enum file file = FILE_F; file < FILES && !v->fault; file++)
		judge_file(&next, file, true, v);
}

static bool is_known(const char *name)
{
	static const char *const others[] = {".", "..", "lost+found", NOISE};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(name, others[i]))
			return true;
	for (size_t i = 0; i < FILES; i++)
		if (!strcmp(name, files[i].name) || (files[i].link && !strcmp(name, files[i].link)))
			return true;
	return false;
}

void judge_names(struct verdict *v)
{
	DIR *dir = opendir(".");
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (!is_known(d->d_name))
			verdict_say(v, FAULT_STRAY, "%s is left", d->d_name);
	if (!dir)
		verdict_say(v, FAULT_USE, "the directory: %s", strerror(errno));
	else
		closedir(dir);
}

static void judge(const struct judge *j, struct verdict *v)
{
	if (chdir(j->dir)) {
		verdict_say(v, FAULT_USE, "%s: %s", j->dir, strerror(errno));
		return;
	}
	if (j->strategy->image) {
		image_judge(j, v);
		return;
	}
	for (enum file file = FILE_F; file < FILES && !v->fault; file++)
		judge_file(j, file, j->strategy->plain_reads, v);
	if (!v->fault && !j->brief)
		go_on(j, v);
	if (!v->fault && !j->brief)
		judge_names(v);
}

void judge_run(const struct judge *j, struct verdict *ret)
{
	struct verdict *v = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	pid_t pid;

	if (v == MAP_FAILED)
		abort();
	fflush(NULL);
	pid = fork();
	if (!pid) {
		judge(j, v);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		verdict_say(v, FAULT_USE, "the judge died: status %#x", status);
	*ret = *v;
	munmap(v, sizeof(*v));
}
