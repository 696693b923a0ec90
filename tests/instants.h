/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots of a file that is stored into all the time, by mappings and writes. */
#ifndef SNAPMAP_INSTANTS_H
#define SNAPMAP_INSTANTS_H

#include "wrapping.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PAGE 4096
#define SPOTS 24

struct storing {
	char *map;
	int fd, direct;
	atomic_bool stop;
	char *aligned;
};

/* The same number goes from spot to spot: never is a later one ahead of an earlier one, or two behind. */
static inline void *store_in_order(void *arg)
{
	struct storing *s = (struct storing *)arg;

	for (uint64_t number = 1; !s->stop; number++)
		for (int i = 0; i < SPOTS; i++) {
			off_t at = (off_t)((i * 7) % SPOTS) * 3 * PAGE;

			if (i % 8 == 3) {
				if (pwrite(s->fd, &number, sizeof(number), at) != sizeof(number))
					return "pwrite";
			} else if (i % 8 == 5) {
				memcpy(s->aligned, &number, sizeof(number));
				if (pwrite(s->direct, s->aligned, PAGE, at) != PAGE)
					return "direct pwrite";
			} else {
				*(volatile uint64_t *)(void *)(s->map + at) = number;
			}
		}
	return NULL;
}

static inline void check_order(int snapshot)
{
	uint64_t first = 0, last = 0;

	for (int i = 0; i < SPOTS; i++) {
		off_t at = (off_t)((i * 7) % SPOTS) * 3 * PAGE;
		uint64_t number;

		ck_assert_int_eq(pread(snapshot, &number, sizeof(number), at), sizeof(number));
		if (!i)
			first = last = number;
		ck_assert_msg(number <= last && number + 1 >= first, "spot %d has %llu after %llu, the first is %llu",
			      i, (unsigned long long)number, (unsigned long long)last, (unsigned long long)first);
		last = number;
	}
}

/* While "m" is mounted. */
static inline void check_instants(unsigned rounds)
{
	const size_t size = (size_t)SPOTS * 3 * PAGE;
	struct storing s = {0};
	pthread_t thread;
	unsigned busy = 0;
	void *failed;

	test_make_file("m/f", size, 1);
	ck_run(0, "truncate -s 0 m/f && truncate -s %zu m/f", size);
	s.fd = open_in("m/f", O_RDWR);
	s.direct = open_in("m/f", O_WRONLY | O_DIRECT);
	ck_assert(!posix_memalign((void **)&s.aligned, PAGE, PAGE));
	memset(s.aligned, 0, PAGE);
	s.map = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	ck_assert_ptr_ne(s.map, MAP_FAILED);
	ck_assert(!pthread_create(&thread, NULL, store_in_order, &s));
	for (unsigned i = 0; i < rounds; i++) {
		int snapshot = try_snapshot(s.fd, 0, SNAPFS_ALL);

		if (snapshot < 0) {
			ck_assert_int_eq(errno, EBUSY);
			busy++;
			continue;
		}
		check_order(snapshot);
		close(snapshot);
	}
	s.stop = true;
	pthread_join(thread, &failed);
	ck_assert_msg(!failed, "%s failed", (const char *)failed);
	/* Told, never wrong; but mostly there is an instant. */
	ck_assert_uint_lt(busy, rounds / 2);
	munmap(s.map, size);
	free(s.aligned);
	close(s.direct);
	close(s.fd);
}

#endif
