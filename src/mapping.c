/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Address space. A mapping is private and never reserves memory: the pages of
 * the file, and over them whatever is stored. An editable one is a span of
 * addresses kept for it, of which parts are the file, zeros, or nothing; parts
 * change place only by mapping over them, so that no address is ever free for
 * somebody else in between.
 */
#include "config.h"

#include "mapping.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base.h"
#include "sys.h"

#define PRIVATE (MAP_PRIVATE | MAP_NORESERVE)
#define RESERVED (PRIVATE | MAP_ANONYMOUS)

size_t page_up(size_t n)
{
	size_t page = sys_page_size();

	return (n + page - 1) & ~(page - 1);
}

size_t page_down(size_t n)
{
	return n & ~(sys_page_size() - 1);
}

/* Asks before anything is copied: only the kernel knows what the address space allows. */
int mapping_check_size(uint64_t size)
{
	void *p;
	int rc;

	if (size > (uint64_t)PTRDIFF_MAX - sys_page_size())
		return -EFBIG;
	if (size < (uint64_t)16 << 30)
		return 0;
	rc = sys_map(NULL, page_up((size_t)size), PROT_NONE, RESERVED, -1, 0, &p);
	if (!rc)
		sys_unmap(p, page_up((size_t)size));
	return rc ? -EFBIG : 0;
}

int mapping_open(int fd, uint64_t size, bool editable, struct mapping *ret)
{
	int prot = editable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *p;
	int rc;

	if (size > (uint64_t)PTRDIFF_MAX - sys_page_size())
		return -EFBIG;
	if (size)
		rc = sys_map(NULL, page_up((size_t)size), prot, PRIVATE, fd, 0, &p);
	else
		rc = sys_map(NULL, sys_page_size(), editable ? PROT_NONE : PROT_READ, RESERVED, -1, 0, &p);
	if (rc)
		return rc;
	*ret = (struct mapping){(char *)p, size ? page_up((size_t)size) : sys_page_size()};
	return 0;
}

int mapping_open_empty(size_t size, struct mapping *ret)
{
	size_t span = size ? page_up(size) : sys_page_size();
	void *p;
	int rc = sys_map(NULL, span, PROT_NONE, RESERVED, -1, 0, &p);

	if (!rc)
		*ret = (struct mapping){(char *)p, span};
	return rc;
}

void mapping_close(struct mapping *mapping)
{
	if (mapping->base)
		sys_unmap(mapping->base, mapping->span);
	*mapping = (struct mapping){0};
}

/*
 * Gets a span of at least @span bytes: the same one made longer (@ret_moved has
 * the same base), or a new one elsewhere, still empty, beside the old one.
 */
int mapping_reserve(struct mapping *mapping, size_t span, struct mapping *ret_moved)
{
	size_t more;
	void *p;
	int rc;

	*ret_moved = *mapping;
	if (span <= mapping->span)
		return 0;
	more = span - mapping->span;
	rc = sys_map(mapping->base + mapping->span, more, PROT_NONE, RESERVED | MAP_FIXED_NOREPLACE, -1, 0, &p);
	if (!rc) {
		mapping->span = ret_moved->span = span;
		return 0;
	}
	rc = sys_map(NULL, span, PROT_NONE, RESERVED, -1, 0, &p);
	if (rc)
		return rc;
	*ret_moved = (struct mapping){(char *)p, span};
	return 0;
}

static int put(const struct mapping *mapping, size_t offset, size_t length, int prot, int flags, int fd)
{
	void *p;

	if (!length)
		return 0;
	return sys_map(mapping->base + offset, length, prot, flags | MAP_FIXED, fd, fd < 0 ? 0 : offset, &p);
}

int mapping_put_file(const struct mapping *mapping, int fd, size_t offset, size_t length)
{
	return put(mapping, offset, length, PROT_READ | PROT_WRITE, PRIVATE, fd);
}

/* Without huge pages: one store must not turn 2 MiB of hole into data. */
int mapping_put_zeros(const struct mapping *mapping, size_t offset, size_t length)
{
	int rc = put(mapping, offset, length, PROT_READ | PROT_WRITE, RESERVED, -1);

	return rc || !length ? rc : sys_no_hugepages(mapping->base + offset, length);
}

int mapping_put_nothing(const struct mapping *mapping, size_t offset, size_t length)
{
	return put(mapping, offset, length, PROT_NONE, RESERVED, -1);
}

/* Sets the error sentence. */
int mapping_prefault(const struct mapping *mapping, size_t size, uint64_t offset, uint64_t length)
{
	size_t start, end;
	int rc;

	if (offset > size || length > size - offset)
		return error_set(-EINVAL, "prefault a range of", "the range must lie within the file");
	if (!length)
		return 0;
	start = page_down((size_t)offset);
	end = page_up((size_t)(offset + length));
	rc = sys_populate(mapping->base + start, end - start);
	return rc ? error_set(rc, "prefault a range of", NULL) : 0;
}
