/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library does, told step by step and checked at each. */
#include "config.h"

#include "demo/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <snapmap.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/files.h"

/* A process that ends with its parent and leaves no core file behind. */
static pid_t spawn(void)
{
	const struct rlimit none = {0};
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setrlimit(RLIMIT_CORE, &none);
	}
	must(pid >= 0, "a process can be started");
	return pid;
}

/* What waitpid says of the end of a process. */
static int end_of(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static double milliseconds_since(double begin)
{
	return (clock_now() - begin) * 1e3;
}

/* ---- the snapshot ---- */

/* Another process cuts the file to nothing and writes a part of it anew. */
static void vandalize(const struct stage *stage)
{
	uint64_t part = stage->size / 8;
	pid_t pid = spawn();

	if (!pid)
		_exit(file_make(stage->path, part, NULL) ? 1 : 0);
	must(end_of(pid) == 0, "the other process can write the file");
	say("other process", "cut the file to nothing and wrote %llu MiB anew", (unsigned long long)(part / MIB));
}

/* A process that has the file mapped as anybody would, and reads all of it when told to. */
struct victim {
	pid_t pid;
	int go;
};

static void be_victim(const struct stage *stage, int ready, int go)
{
	int fd = open(stage->path, O_RDONLY | O_CLOEXEC);
	const char *p = (const char *)mmap(NULL, stage->size, PROT_READ, MAP_PRIVATE, fd, 0);
	char byte = 0;

	signal(SIGBUS, SIG_DFL);
	if (fd < 0 || p == MAP_FAILED || write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		_exit(1);
	_exit(pages_read(p, stage->size) == 1 ? 2 : 3);
}

static struct victim start_victim(const struct stage *stage)
{
	int ready[2], go[2];
	struct victim v;
	char byte;

	must(!pipe(ready) && !pipe(go), "pipes can be had");
	v.pid = spawn();
	if (!v.pid)
		be_victim(stage, ready[1], go[0]);
	close(ready[1]);
	close(go[0]);
	must(read(ready[0], &byte, 1) == 1, "a plain mmap can be made");
	close(ready[0]);
	v.go = go[1];
	return v;
}

static void watch_victim_die(const struct victim *v)
{
	int status;

	must(write(v->go, "", 1) == 1, "the process with the plain mmap is there");
	close(v->go);
	status = end_of(v->pid);
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "a plain mmap dies by SIGBUS");
	say("plain mmap", "its process read it and died: %s", strsignal(SIGBUS));
}

static void write_back(const struct stage *stage, const struct snapmap *map)
{
	const char *data = (const char *)snapmap_data(map);
	int fd = open(stage->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	uint64_t at = 0;

	must(fd >= 0, "the file can be opened for writing");
	while (at < stage->size) {
		ssize_t n = pwrite(fd, data + at, stage->size - at, (off_t)at);

		must(n > 0, "the file can be written");
		at += (uint64_t)n;
	}
	must(!fsync(fd), "the file can be flushed");
	close(fd);
	say("snapshot", "gave the file its old content back");
}

void tell_snapshot(struct stage *stage)
{
	struct victim victim;
	struct snapmap_info info;
	struct snapmap *map;
	uint64_t before;
	double begin = clock_now(), took;

	must_do(snapmap_open(stage->path, NULL, &map), "snapmap_open");
	took = milliseconds_since(begin);
	must_do(snapmap_get_info(map, &info), "snapmap_get_info");
	before = checksum(snapmap_data(map), snapmap_size(map));
	say("snapshot", "taken in %.2f ms by %s: %s", took, snapmap_source_name(info.source),
	    snapmap_consistency_name(info.consistency));
	victim = start_victim(stage);
	vandalize(stage);
	watch_victim_die(&victim);
	must(snapmap_size(map) == stage->size, "the snapshot keeps its size");
	must(checksum(snapmap_data(map), snapmap_size(map)) == before, "the snapshot keeps its bytes");
	say("snapshot", "whole: checksum %016llx, as before", (unsigned long long)before);
	write_back(stage, map);
	snapmap_close(map);
}

/* ---- the commit ---- */

/* Shared with the watcher. */
struct looks {
	bool stop;
	unsigned long looks, versions, mixed;
};

/*
 * Exchange keeps the inode: from one read to the next the file is another. So there the
 * watcher takes a snapshot, as whoever needs several reads of one version has to.
 */
static bool keeps_inode(const struct snapmap_mut *map)
{
	struct snapmap_info info;

	must_do(snapmap_mut_get_info(map, &info), "snapmap_mut_get_info");
	return info.strategy == SNAPMAP_STRATEGY_EXCHANGE;
}

static uint64_t look(const struct stage *stage)
{
	int fd = open(stage->path, O_RDONLY | O_CLOEXEC);
	uint64_t version = fd < 0 ? UINT64_MAX : pages_version(stage, fd);

	close(fd);
	return version;
}

static uint64_t look_at_snapshot(const struct stage *stage)
{
	struct snapmap_options options = {.size = sizeof(options), .source = SNAPMAP_SOURCE_REFLINK};
	uint64_t version = UINT64_MAX;
	struct snapmap *map;

	if (snapmap_open(stage->path, &options, &map))
		return version;
	if (snapmap_size(map) == stage->size)
		version = pages_version_in(stage, (const char *)snapmap_data(map));
	snapmap_close(map);
	return version;
}

/* Opens the file again and again, and looks whether all edited pages are of one version. */
static void watch(const struct stage *stage, struct looks *l, bool by_snapshot)
{
	uint64_t last = UINT64_MAX;

	/* What this process has inherited would keep old versions alive. */
	close_range(3, ~0U, 0);
	while (!__atomic_load_n(&l->stop, __ATOMIC_RELAXED)) {
		uint64_t version = by_snapshot ? look_at_snapshot(stage) : look(stage);

		l->mixed += version == UINT64_MAX;
		l->versions += version != last;
		last = version;
		__atomic_fetch_add(&l->looks, 1, __ATOMIC_RELAXED);
	}
	_exit(0);
}

/* Commits for half a second, at least three times, while another process watches. */
static void commit_watched(const struct stage *stage, struct snapmap_mut *map)
{
	void *shared = mmap(NULL, sizeof(struct looks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct looks *l = (struct looks *)shared;
	double begin = clock_now();
	unsigned commits = 0;
	pid_t pid;

	must(shared != MAP_FAILED, "memory can be shared");
	pid = spawn();
	if (!pid)
		watch(stage, l, keeps_inode(map));
	while (!__atomic_load_n(&l->looks, __ATOMIC_RELAXED) && clock_now() - begin < 5)
		usleep(1000);
	while (commits < 3 || (commits < 50 && clock_now() - begin < 0.5)) {
		pages_store(stage, (char *)snapmap_mut_data(map), 100 + commits++);
		must_do(snapmap_mut_commit(map, NULL), "snapmap_mut_commit");
	}
	__atomic_store_n(&l->stop, true, __ATOMIC_RELAXED);
	must(end_of(pid) == 0 && l->looks > 0, "the watching process watched");
	must(!l->mixed, "nobody sees half of a commit (%lu of %lu did)", l->mixed, l->looks);
	say("watcher", "opened it %lu times during %u more commits:", l->looks, commits);
	say("", "%lu versions, each of them whole", l->versions);
	munmap(shared, sizeof(*l));
}

/* The version that somebody sees who opens the file now. */
static uint64_t version_now(const struct stage *stage)
{
	int fd = open(stage->path, O_RDONLY | O_CLOEXEC);
	uint64_t version;

	must(fd >= 0, "the file can be opened");
	version = pages_version(stage, fd);
	close(fd);
	return version;
}

static void check_new_content(const struct stage *stage, const struct snapmap_mut *edited)
{
	struct snapmap *now;

	must_do(snapmap_open(stage->path, NULL, &now), "snapmap_open");
	must(snapmap_size(now) == stage->size &&
		     checksum(snapmap_data(now), stage->size) == checksum(snapmap_mut_data(edited), stage->size),
	     "the file has all bytes of the commit");
	snapmap_close(now);
}

void tell_commit(struct stage *stage)
{
	int before = open(stage->path, O_RDONLY | O_CLOEXEC);
	struct snapmap_mut *map;
	struct snapmap_info info;
	ssize_t dirty;
	double begin, took;

	must(before >= 0, "the file can be opened");
	must_do(snapmap_mut_open(stage->path, NULL, &map), "snapmap_mut_open");
	pages_store(stage, (char *)snapmap_mut_data(map), 1);
	dirty = snapmap_mut_dirty(map, NULL, 0);
	must(dirty == (ssize_t)PAGES, "the edited pages are known (%zd of %u)", dirty, PAGES);
	must(version_now(stage) == 0, "an edit does not show before its commit");
	say("editor", "stored into %u pages: nobody else sees it yet", PAGES);
	begin = clock_now();
	must_do(snapmap_mut_commit(map, NULL), "snapmap_mut_commit");
	took = milliseconds_since(begin);
	must_do(snapmap_mut_get_info(map, &info), "snapmap_mut_get_info");
	say("editor", "committed in %.2f ms by %s", took, snapmap_strategy_name(info.strategy));
	must(pages_version(stage, before) == keeps_inode(map), "a reader that was there before sees one version");
	must(version_now(stage) == 1, "whoever opens the file sees the commit");
	check_new_content(stage, map);
	say("readers", "opened before: all %s; opened now: all new, every byte",
	    keeps_inode(map) ? "new, for the inode is kept" : "old");
	close(before);
	commit_watched(stage, map);
	snapmap_mut_close(map);
}
