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
 * @writable: its owner may store into it
 * @error: sticky, a negative errno once bytes were lost
 * @zeroed: the pages that became zeros: guard.c
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
