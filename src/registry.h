/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The live mappings that others than their handle must find: by address, within a signal handler. */
#ifndef SNAPMAP_REGISTRY_H
#define SNAPMAP_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mapping.h"
#include "rcu.h"
#include "retire.h"

/**
 * struct live - a mapping that is in use
 * @mapping: its addresses; they never change while it is registered
 * @guarded: an I/O error within it is to become zeros
 * @watched: the handler may still map zeros over it; under the latch
 * @writable: its owner may store into it
 * @error: sticky, a negative errno once bytes were lost
 * @lost: all of it: no image could take the place of the file
 * @zeroed: a bit for each page that became zeros, NULL while there is none: guard.c
 * @in_file: among the mappings of one leased file, under the lock of that: lease.c
 * @node, @retired: registry.c
 */
struct live {
	struct mapping mapping;
	bool guarded;
	bool watched;
	bool writable;
	atomic_int error;
	atomic_bool lost;
	_Atomic(uint64_t *) zeroed;
	struct cds_list_head in_file;
	struct cds_list_head node;
	struct retired retired;
};

/* Bytes of @zeroed, whole pages. */
size_t live_bits_size(const struct live *live);

/* NULL if there is no memory. Only guarded mappings can be found. */
struct live *registry_add(const struct mapping *mapping, bool guarded, bool writable);
/* Cannot be found from now on: before its memory is unmapped. */
void registry_hide(struct live *live);
/* After that. */
void registry_free(struct live *live);
/* Both: the memory is still mapped, and may be unmapped afterwards. */
void registry_remove(struct live *live);
/* Between rcu_read_lock() and rcu_read_unlock(), and valid only there. Takes no lock. */
struct live *registry_find(const void *address);

/* Around fork(), by fork.c. */
void registry_lock(void);
void registry_unlock(void);

#endif
