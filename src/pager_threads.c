/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The threads of the pager, and which area a fault belongs to. There are threads while
 * there are areas.
 *
 * To be woken costs more than to serve: so one of the threads that have nothing to do goes
 * on looking for a moment before it sleeps.
 *
 * Locks: the gate (who comes and goes, and forks) is outermost; the lock of the list is
 * held for a look-up only.
 */
#include "config.h"

#include <errno.h>
#include <sys/mman.h>

#include "base.h"
#include "mapping.h"
#include "pager.h"

#define THREADS_MAX 4
#define SPIN_NS 50000

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t list_lock = PTHREAD_RWLOCK_INITIALIZER;
static CDS_LIST_HEAD(areas);
static struct sys_userfault userfault = {.fd = -1};
static int stop_fds[2] = {-1, -1};
static pthread_t threads[THREADS_MAX];
static unsigned thread_count, area_count;
static atomic_bool stopping;
static atomic_bool somebody_looks;

static pthread_mutex_t scratch_lock = PTHREAD_MUTEX_INITIALIZER;
static char *scratch;

const struct sys_userfault *pager_userfault(void)
{
	return &userfault;
}

/* ---- faults ---- */

static struct pager_area *find_area(const char *address)
{
	struct pager_area *a, *found = NULL;

	pthread_rwlock_rdlock(&list_lock);
	cds_list_for_each_entry (a, &areas, node) {
		if ((size_t)(address - a->base) < a->pages * sys_page_size()) {
			found = a;
			atomic_fetch_add(&a->users, 1);
			break;
		}
	}
	pthread_rwlock_unlock(&list_lock);
	return found;
}

static void serve(char *address)
{
	struct pager_area *a = find_area(address);

	if (!a) {
		sys_userfault_wake(&userfault, (void *)page_down((size_t)(uintptr_t)address), sys_page_size());
		return;
	}
	pager_serve(a, (size_t)(address - a->base) / sys_page_size());
	atomic_fetch_sub(&a->users, 1);
}

/* Returns 0 if there is one. */
static int look_for_a_while(void **ret)
{
	uint64_t until = sys_now_ns() + SPIN_NS;
	int rc;

	do
		rc = sys_userfault_read(&userfault, ret);
	while (rc == -EAGAIN && sys_now_ns() < until);
	return rc;
}

static void *run(void *arg)
{
	void *address;
	int rc;

	(void)arg;
	sys_thread_name("snapmap-pager");
	while (!atomic_load(&stopping)) {
		rc = sys_userfault_read(&userfault, &address);
		if (rc == -EAGAIN && !atomic_exchange(&somebody_looks, true)) {
			rc = look_for_a_while(&address);
			atomic_store(&somebody_looks, false);
		}
		if (!rc)
			serve((char *)address);
		else
			sys_userfault_wait(&userfault, stop_fds[0], -1);
	}
	return NULL;
}

/* ---- coming and going ---- */

/* Within the gate. */
static void stop(void)
{
	atomic_store(&stopping, true);
	if (stop_fds[1] >= 0)
		sys_close(stop_fds[1]); /* the other end can be read from then */
	stop_fds[1] = -1;
	while (thread_count)
		pthread_join(threads[--thread_count], NULL);
	atomic_store(&stopping, false);
	close_fd(&stop_fds[0]);
	close_fd(&userfault.fd);
	if (scratch)
		sys_unmap(scratch, (PAGER_SCRATCH_PAGES + 1) * sys_page_size());
	scratch = NULL;
}

static unsigned threads_wanted(void)
{
	unsigned n = sys_processors();

	return n < 2 ? 2 : n > THREADS_MAX ? THREADS_MAX : n;
}

static int start(void)
{
	unsigned wanted = threads_wanted();
	int rc = sys_userfault_open(false, &userfault);

	if (rc)
		return rc;
	rc = sys_pipe(stop_fds);
	while (!rc && thread_count < wanted) {
		rc = sys_thread_start(run, NULL, &threads[thread_count]);
		thread_count += !rc;
	}
	if (rc)
		stop();
	return rc;
}

int pager_threads_enter(struct pager_area *a)
{
	int rc = 0;

	pthread_mutex_lock(&gate);
	if (!area_count)
		rc = start();
	if (!rc) {
		area_count++;
		pthread_rwlock_wrlock(&list_lock);
		cds_list_add(&a->node, &areas);
		pthread_rwlock_unlock(&list_lock);
	}
	pthread_mutex_unlock(&gate);
	return rc;
}

void pager_threads_leave(struct pager_area *a)
{
	pthread_mutex_lock(&gate);
	pthread_rwlock_wrlock(&list_lock);
	cds_list_del(&a->node);
	pthread_rwlock_unlock(&list_lock);
	while (atomic_load(&a->users))
		sys_sleep(&(struct timespec){.tv_nsec = 20000});
	if (!--area_count)
		stop();
	pthread_mutex_unlock(&gate);
}

/* ---- the scratch ---- */

static char *make_scratch(void)
{
	size_t n = PAGER_SCRATCH_PAGES * sys_page_size();
	void *p;

	if (sys_map(NULL, n + sys_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0, &p))
		return NULL;
	if (sys_not_inherited(p, n + sys_page_size()) || sys_userfault_register(&userfault, p, n)) {
		sys_unmap(p, n + sys_page_size());
		return NULL;
	}
	return (char *)p;
}

char *pager_take_scratch(void)
{
	pthread_mutex_lock(&scratch_lock);
	if (!scratch)
		scratch = make_scratch();
	if (!scratch)
		pthread_mutex_unlock(&scratch_lock);
	return scratch;
}

void pager_put_scratch(void)
{
	pthread_mutex_unlock(&scratch_lock);
}

/* ---- forks ---- */

void pager_before_fork(void)
{
	pthread_mutex_lock(&gate);
}

void pager_after_fork(void)
{
	pthread_mutex_unlock(&gate);
}

/* The memory is not there, nor are the threads; the descriptor is that of the parent's faults. */
void pager_after_fork_in_child(void)
{
	close_fd(&userfault.fd);
	close_fd(&stop_fds[0]);
	close_fd(&stop_fds[1]);
	thread_count = area_count = 0;
	scratch = NULL;
	atomic_store(&somebody_looks, false);
	CDS_INIT_LIST_HEAD(&areas);
	pthread_rwlock_init(&list_lock, NULL);
	pthread_mutex_init(&scratch_lock, NULL);
	pthread_mutex_unlock(&gate);
}
