/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages that cannot be read become zeros.
 *
 * A SIGBUS within a guarded mapping is answered by mapping anonymous zeros over
 * the page, so that the access can be repeated. The page is lost from then on: it
 * stays zeros also if the storage recovers, for what was shown once must not
 * change. The handle's sticky error is set before the zeros are there. So whoever
 * has taken bytes from the mapping and finds no error afterwards has taken none
 * of these zeros.
 *
 * Why nothing is ever mapped over addresses that are not the mapping's any more:
 * the handler looks the mapping up, and maps, while it holds the latch; and
 * registry_remove() takes the guard off a mapping under the latch, before its
 * owner may unmap it. Other changes keep the addresses reserved: a mapping that
 * is resized in place has the new span registered before the old one is removed,
 * one that moves is registered at both places meanwhile, and images are mapped
 * over it, never beside it. A fault that was under way while the owner mapped
 * another image ends as zeros over one page of that, which costs a page that was
 * in doubt anyway, and says so.
 *
 * Why the zeros of one thread do not wipe out a store of another: of several
 * threads that fault on a page the first one maps zeros. The others find under
 * the latch that the page is lost and can be read, and leave it.
 *
 * Why all this may run in a signal handler: it makes system calls, takes the
 * latch, and walks the registry under RCU. The first time in a thread liburcu
 * registers that thread as a reader, which may allocate; but a fault comes from
 * an access to the mapping, and no allocator makes one within its locks.
 */
#include "config.h"

#include "guard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base.h"
#include "latch.h"
#include "snapmap/guard.h"
#include "sys.h"

#define WORD_BITS 64

int guard_add(const struct mapping *mapping, bool writable, struct live **ret)
{
	int rc = guard_install();
	struct live *live;

	if (rc)
		return rc;
	live = registry_add(mapping, true, writable);
	if (!live)
		return -ENOMEM;
	*ret = live;
	return 0;
}

int guard_error(struct live *live)
{
	return live ? atomic_load(&live->error) : 0;
}

/* The first error stays. */
static void set_error(struct live *live, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&live->error, &none, error);
}

/* --- which pages are lost: a bit for each. Under the latch. */

static bool is_lost(const struct live *live, size_t page)
{
	const uint64_t *bits = atomic_load(&live->zeroed);

	return bits && (bits[page / WORD_BITS] >> page % WORD_BITS & 1);
}

/* Without memory for the bits the page is zeros all the same; only an image mapped over it will show through. */
static uint64_t *make_bits(struct live *live)
{
	uint64_t *bits = atomic_load(&live->zeroed);
	void *p;

	if (bits)
		return bits;
	if (sys_map(NULL, live_bits_size(live), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0, &p))
		return NULL;
	atomic_store(&live->zeroed, (uint64_t *)p);
	return (uint64_t *)p;
}

static void mark_lost(struct live *live, size_t page)
{
	uint64_t *bits = make_bits(live);

	if (bits)
		bits[page / WORD_BITS] |= (uint64_t)1 << page % WORD_BITS;
}

static size_t page_count(const struct live *live)
{
	return live->mapping.span / sys_page_size();
}

/* The first page from @page on that is lost, or is not; the number of pages if there is none. */
static size_t next_page(const struct live *live, size_t page, bool lost)
{
	const uint64_t *bits = atomic_load(&live->zeroed);
	size_t n = page_count(live);

	while (page < n && is_lost(live, page) != lost) {
		bool whole_word = page % WORD_BITS == 0 && bits && bits[page / WORD_BITS] == (lost ? 0 : UINT64_MAX);

		page += whole_word ? WORD_BITS : 1;
	}
	return page < n ? page : n;
}

/* --- zeros */

static int map_zeros(const struct live *live, size_t page, size_t pages)
{
	size_t size = sys_page_size();
	void *p;

	return sys_map(live->mapping.base + page * size, pages * size, PROT_READ | (live->writable ? PROT_WRITE : 0),
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0, &p);
}

/* Lost before, and nothing was mapped over it since: another thread has been quicker. */
static bool is_repaired(const struct live *live, size_t page)
{
	size_t size = sys_page_size();

	return is_lost(live, page) && !sys_populate(live->mapping.base + page * size, size);
}

static bool repair(struct live *live, const void *address)
{
	size_t page = (size_t)((const char *)address - live->mapping.base) / sys_page_size();

	if (is_repaired(live, page))
		return true;
	set_error(live, -EIO);
	if (map_zeros(live, page, 1))
		return false;
	mark_lost(live, page);
	return true;
}

/* Not a signal that somebody sent, and not one about memory that nobody has touched yet. */
static bool is_fault(const siginfo_t *info)
{
	return info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR;
}

int snapmap_guard_handle(int signal, const siginfo_t *info)
{
	bool repaired = false;
	struct live *live;
	sigset_t mask;
	int kept;

	if (signal != SIGBUS || !info || !is_fault(info))
		return 0;
	kept = sys_errno_keep();
	latch_take(&mask);
	rcu_read_lock();
	live = registry_find(info->si_addr);
	if (live && live->watched)
		repaired = repair(live, info->si_addr);
	rcu_read_unlock();
	latch_give(&mask);
	sys_errno_put_back(kept);
	return repaired;
}

/* --- for owners */

void guard_zero_again(struct live *live)
{
	size_t n, page, end;
	sigset_t mask;

	if (!live || !atomic_load(&live->zeroed))
		return;
	latch_take(&mask);
	n = page_count(live);
	for (page = next_page(live, 0, true); page < n; page = next_page(live, end, true)) {
		end = next_page(live, page, false);
		/* Refused for want of mappings: whoever touches the page sees the image, or faults and tries again. */
		map_zeros(live, page, end - page);
	}
	latch_give(&mask);
}

int guard_put_around(struct live *live, int (*put)(void *arg, size_t offset, size_t length), void *arg)
{
	size_t size = sys_page_size(), n, page, end;
	sigset_t mask;
	int rc = 0;

	if (!live->guarded)
		return put(arg, 0, live->mapping.span);
	latch_take(&mask);
	n = page_count(live);
	for (page = next_page(live, 0, false); !rc && page < n; page = next_page(live, end, false)) {
		end = atomic_load(&live->zeroed) ? next_page(live, page, true) : n;
		rc = put(arg, page * size, (end - page) * size);
	}
	latch_give(&mask);
	return rc;
}

void guard_inherit(struct live *to, struct live *from)
{
	size_t page, n;
	sigset_t mask;

	latch_take(&mask);
	if (atomic_load(&from->error))
		set_error(to, atomic_load(&from->error));
	n = page_count(from) < page_count(to) ? page_count(from) : page_count(to);
	if (!atomic_load(&from->zeroed))
		n = 0;
	for (page = n ? next_page(from, 0, true) : 0; page < n; page = next_page(from, page + 1, true))
		mark_lost(to, page);
	latch_give(&mask);
}

void guard_cut(struct live *live, size_t length)
{
	size_t page, n;
	uint64_t *bits;
	sigset_t mask;

	if (!live || !atomic_load(&live->zeroed))
		return;
	latch_take(&mask);
	bits = atomic_load(&live->zeroed);
	n = page_count(live);
	for (page = next_page(live, length / sys_page_size(), true); page < n; page = next_page(live, page + 1, true))
		bits[page / WORD_BITS] &= ~((uint64_t)1 << page % WORD_BITS);
	latch_give(&mask);
}

int guard_zero_all(struct live *live, int error)
{
	uint64_t *bits;
	sigset_t mask;
	int rc;

	latch_take(&mask);
	set_error(live, error);
	rc = map_zeros(live, 0, page_count(live));
	bits = rc ? NULL : make_bits(live);
	if (bits)
		memset(bits, 0xff, live_bits_size(live));
	latch_give(&mask);
	return rc;
}

static bool was_lost(struct live *live, size_t page)
{
	sigset_t mask;
	bool lost;

	latch_take(&mask);
	lost = is_lost(live, page);
	latch_give(&mask);
	return lost;
}

int guard_filter(struct live *live, const struct ranges *ranges, struct ranges *ret)
{
	size_t size = sys_page_size();
	int rc = 0;

	for (size_t i = 0; !rc && i < ranges->n; i++) {
		uint64_t end = ranges->v[i].offset + ranges->v[i].length;

		for (uint64_t at = ranges->v[i].offset; !rc && at < end; at += size) {
			size_t n = end - at < size ? (size_t)(end - at) : size;

			if (!was_lost(live, (size_t)at / size) || !bytes_are_zero(live->mapping.base + at, n))
				rc = ranges_append(ret, at, n);
		}
	}
	return rc;
}
