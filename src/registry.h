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
 * @guarded: an I/O error within it is to become zeros; read and changed under the latch
 * @writable: its owner may store into it
 * @error: sticky, a negative errno once bytes were lost
 * @zeroed: a bit for each page that became zeros, NULL while there is none: guard.c
 * @in_file: among the mappings of one leased file, under the lock of that: lease.c
 * @node, @retired: registry.c
 */
struct live {
	struct mapping mapping;
	bool guarded;
	bool writable;
	atomic_int error;
	_Atomic(uint64_t *) zeroed;
	struct cds_list_head in_file;
	struct cds_list_head node;
	struct retired retired;
};

/* Bytes of @zeroed, whole pages. */
size_t live_bits_size(const struct live *live);

/* NULL if there is no memory. */
struct live *registry_add(const struct mapping *mapping, bool guarded, bool writable);
/* The memory is still mapped; afterwards it may be unmapped. Frees @live later. */
void registry_remove(struct live *live);
/* Between rcu_read_lock() and rcu_read_unlock(), and valid only there. Takes no lock. */
struct live *registry_find(const void *address);

/* Around fork(), by fork.c. */
void registry_lock(void);
void registry_unlock(void);

#endif
