/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stress: see stress.h. */
#include "config.h"

#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "testing.h"

/* --- time and bytes */

bool stress_is_long(void)
{
	return getenv("SNAPMAP_STRESS_SECONDS") != NULL;
}

double stress_seconds(double seconds)
{
	const char *wanted = getenv("SNAPMAP_STRESS_SECONDS");

	return wanted ? strtod(wanted, NULL) : seconds;
}

uint64_t stress_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t stress_end(double seconds)
{
	return stress_now() + (uint64_t)(stress_seconds(seconds) * 1e9);
}

bool stress_same(const void *bytes, const void *wanted, size_t n, uint64_t *reads)
{
	const uint64_t *p = bytes, *q = wanted;
	size_t words = n / 8;
	uint64_t differs = 0;

	for (size_t i = 0; i < words; i++)
		differs |= p[i] ^ q[i];
	*reads += words;
	return !differs && !memcmp(p + words, q + words, n % 8);
}

bool stress_uniform(const void *bytes, size_t n, uint64_t *reads)
{
	const uint64_t *p = bytes;
	size_t words = n / 8;
	uint64_t differs = 0;

	for (size_t i = 1; i < words; i++)
		differs |= p[i] ^ p[0];
	*reads += words;
	return !differs;
}

int stress_write(const char *path, int flags, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
	int rc = fd >= 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n ? 0 : -1;

	close(fd);
	return rc;
}

/* --- acts */

#define JUNK 65536

static void write_junk(int fd)
{
	static unsigned char junk[JUNK];
	struct stat st;

	memset(junk, 0xee, sizeof(junk));
	if (fstat(fd, &st))
		return;
	for (off_t at = 0; at < st.st_size + 1000; at += JUNK)
		if (pwrite(fd, junk, JUNK, at) != JUNK)
			return;
}

static void with_file(const char *path, int flags, void (*act)(int fd))
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return;
	act(fd);
	close(fd);
}

static void nothing(int fd)
{
	(void)fd;
}

static void only_open(const char *path)
{
	with_file(path, O_WRONLY, nothing);
}

static void overwrite(const char *path)
{
	with_file(path, O_RDWR, write_junk);
}

static void append(const char *path)
{
	with_file(path, O_WRONLY | O_APPEND, write_junk);
}

static void open_with_trunc(const char *path)
{
	with_file(path, O_WRONLY | O_TRUNC, write_junk);
}

static void cut_to_nothing(const char *path)
{
	(void)!truncate(path, 0);
}

static void cut_and_grow(const char *path)
{
	(void)!truncate(path, 5000);
	(void)!truncate(path, 1 << 20);
}

static void punch_it(int fd)
{
	(void)!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 30);
}

static void punch(const char *path)
{
	with_file(path, O_RDWR, punch_it);
}

static void shift_it(int fd)
{
	(void)!fallocate(fd, FALLOC_FL_ZERO_RANGE, 100, 9000);
	(void)!fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096);
	(void)!fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096);
}

static void shift(const char *path)
{
	with_file(path, O_RDWR, shift_it);
}

static void clone_over_it(int fd)
{
	int from = open("other", O_RDONLY | O_CLOEXEC);

	if (ioctl(fd, FICLONE, from))
		(void)!copy_file_range(from, NULL, fd, NULL, 1 << 20, 0);
	close(from);
}

static void clone_over(const char *path)
{
	with_file(path, O_RDWR, clone_over_it);
}

static void store_it(int fd)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) || !st.st_size)
		return;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return;
	memset(p, 0xdd, (size_t)st.st_size);
	munmap(p, (size_t)st.st_size);
}

static void store_shared(const char *path)
{
	with_file(path, O_RDWR, store_it);
}

static void open_nonblocking(const char *path)
{
	int fd;

	while ((fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0 && errno == EAGAIN)
		sched_yield();
	if (fd < 0)
		return;
	write_junk(fd);
	close(fd);
}

/* Comes to write, and is killed before or while it does. */
static void die_writing(const char *path)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		overwrite(path);
		_exit(0);
	}
	usleep((useconds_t)(stress_now() % 500));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void rename_over(const char *path)
{
	char name[80];

	snprintf(name, sizeof(name), "%s.new", path);
	if (!stress_write(name, O_CREAT | O_TRUNC, "new", 3))
		(void)!rename(name, path);
}

static void remove_it(const char *path)
{
	unlink(path);
}

static void flush_and_forget_it(int fd)
{
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void forget(const char *path)
{
	with_file(path, O_RDONLY, flush_and_forget_it);
}

const struct stress_act stress_acts[] = {
	{"open for writing", only_open, true},
	{"overwrite", overwrite, true},
	{"append", append, true},
	{"open with O_TRUNC", open_with_trunc, true},
	{"truncate", cut_to_nothing, true},
	{"cut and grow", cut_and_grow, true},
	{"punch a hole", punch, true},
	{"zero, collapse and insert a range", shift, true},
	{"clone into it", clone_over, true},
	{"store through a shared mapping", store_shared, true},
	{"open with O_NONBLOCK", open_nonblocking, true},
	{"be killed while writing", die_writing, false},
	{"rename over it", rename_over, false},
	{"remove it", remove_it, false},
	{"drop its pages", forget, false},
};
const int stress_act_count = sizeof(stress_acts) / sizeof(stress_acts[0]);

/* --- attackers */

struct attack {
	atomic_int done;
};

struct order {
	int act;
	char path[60];
};

static void *share(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void serve_orders(int fd, struct attack *attack)
{
	struct order order;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(fd, &order, sizeof(order)) == (ssize_t)sizeof(order)) {
		stress_acts[order.act].act(order.path);
		atomic_store(&attack->done, 1);
	}
	_exit(0);
}

int attacker_start(struct attacker *ret)
{
	struct attacker a = {.attack = share(sizeof(struct attack))};
	int fds[2];

	if (!a.attack || pipe2(fds, O_CLOEXEC))
		return -1;
	atomic_store(&a.attack->done, 1);
	a.pid = fork();
	if (!a.pid) {
		close(fds[1]);
		serve_orders(fds[0], a.attack);
	}
	close(fds[0]);
	a.orders = fds[1];
	*ret = a;
	return a.pid < 0 ? -1 : 0;
}

void attacker_stop(struct attacker *a)
{
	close(a->orders);
	kill(a->pid, SIGKILL);
	while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
		;
	munmap(a->attack, sizeof(*a->attack));
}

void attacker_order(struct attacker *a, int act, const char *path)
{
	struct order order = {.act = act};

	snprintf(order.path, sizeof(order.path), "%s", path);
	atomic_store(&a->attack->done, 0);
	if (write(a->orders, &order, sizeof(order)) != (ssize_t)sizeof(order))
		abort();
}

bool attacker_is_done(const struct attacker *a)
{
	return atomic_load(&a->attack->done);
}

void attacker_wait(const struct attacker *a)
{
	while (!attacker_is_done(a))
		usleep(100);
}

/* --- writers */

static void write_one(struct writing *shared, const char *name, uint64_t *words, size_t n, uint64_t random)
{
	uint64_t start = stress_now(), took;
	int fd = open(name, O_WRONLY | O_CLOEXEC | (random & 1 ? O_TRUNC : 0));

	if (fd < 0)
		return;
	took = stress_now() - start;
	if (took > atomic_load(&shared->longest))
		atomic_store(&shared->longest, took);
	for (size_t i = 0; i < n / 8; i++)
		words[i] = random;
	if (write(fd, words, n) != (ssize_t)n)
		abort();
	close(fd);
	atomic_fetch_add(&shared->writes, 1);
}

static void write_all(struct writing *shared, unsigned files, size_t size, uint64_t random)
{
	uint64_t *words = malloc(size);
	char name[24];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&shared->stop)) {
		uint64_t r = test_random(&random);

		snprintf(name, sizeof(name), "f%u", (unsigned)(r >> 8) % files);
		write_one(shared, name, words, size, r);
	}
	_exit(0);
}

int writers_start(struct writers *ret, int count, unsigned files, size_t size, uint64_t seed)
{
	struct writers w = {.shared = share(sizeof(struct writing))};

	if (!w.shared)
		return -1;
	for (; w.count < count; w.count++) {
		w.pids[w.count] = fork();
		if (w.pids[w.count] < 0)
			return -1;
		if (!w.pids[w.count])
			write_all(w.shared, files, size, seed + (uint64_t)w.count * 977);
	}
	*ret = w;
	return 0;
}

void writers_stop(struct writers *w)
{
	atomic_store(&w->shared->stop, true);
	for (int i = 0; i < w->count; i++)
		while (waitpid(w->pids[i], NULL, 0) < 0 && errno == EINTR)
			;
	munmap(w->shared, sizeof(*w->shared));
}
