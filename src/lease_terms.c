/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may take a lease: leases keep descriptors for as long as the handles live, and
 * each weighs what would have to be copied if it broke.
 */
#include "config.h"

#include <errno.h>

#include "lease.h"
#include "sys.h"

#define ALWAYS_ALLOWED 8 /* leases, without a look at the limit on descriptors */

static atomic_ullong weight; /* of all leases, and of opens that may become one */

/* Leases get half of the descriptors that there may be, and never the last ones. */
static bool fits_budget(int fd)
{
	unsigned users = lease_watch_users();
	uint64_t limit;

	if (users <= ALWAYS_ALLOWED && fd < 2 * ALWAYS_ALLOWED)
		return true;
	if (sys_fd_limit(&limit))
		return false;
	return users <= limit / 2 && (uint64_t)fd < limit - limit / 8;
}

static pid_t enter(int fd, uint64_t more)
{
	pid_t owner;
	int rc = lease_make_table();

	if (rc)
		return rc;
	owner = lease_watch_enter();
	if (owner < 0)
		return owner;
	if (!fits_budget(fd)) {
		lease_watch_entered();
		lease_watch_leave();
		return -EMFILE;
	}
	atomic_fetch_add(&weight, more);
	return owner;
}

void lease_unload(uint64_t less)
{
	atomic_fetch_sub(&weight, less);
}

void lease_unload_all(void)
{
	atomic_store(&weight, 0);
}

static void leave(uint64_t less)
{
	lease_watch_entered();
	lease_unload(less);
	lease_watch_leave();
}

static uint64_t present_weight(void)
{
	return atomic_load(&weight);
}

const struct lease_terms lease_terms = {
	.weight = present_weight,
	.enter = enter,
	.leave = leave,
};
