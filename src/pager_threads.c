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

/*
 * One for faults of every kind, and one for those of programs alone, which any user may
 * serve. A process mostly has one of them.
 */
struct pager_service {
	bool user_only;
	struct sys_userfault userfault;
	int stop_fds[2];
	pthread_t threads[THREADS_MAX];
	unsigned thread_count, area_count;
	atomic_bool stopping;
	atomic_bool somebody_looks;
	char *scratch;
};

static struct pager_service services[] = {
	{.userfault = {.fd = -1}, .stop_fds = {-1, -1}},
	{.userfault = {.fd = -1}, .stop_fds = {-1, -1}, .user_only = true},
};

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t list_lock = PTHREAD_RWLOCK_INITIALIZER;
static CDS_LIST_HEAD(areas);
static _Thread_local bool is_ours;
static pthread_mutex_t scratch_lock = PTHREAD_MUTEX_INITIALIZER;

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

static void serve(struct pager_service *s, char *address)
{
	struct pager_area *a = find_area(address);

	if (!a) {
		sys_userfault_wake(&s->userfault, (void *)page_down((size_t)(uintptr_t)address), sys_page_size());
		return;
	}
	pager_serve(a, (size_t)(address - a->base) / sys_page_size());
	atomic_fetch_sub(&a->users, 1);
}

/* Returns 0 if there is one. */
static int look_for_a_while(struct pager_service *s, void **ret)
{
	uint64_t until = sys_now_ns() + SPIN_NS;
	int rc;

	do
		rc = sys_userfault_read(&s->userfault, ret);
	while (rc == -EAGAIN && sys_now_ns() < until);
	return rc;
}

bool pager_is_calling(void)
{
	return is_ours;
}

static void *run(void *arg)
{
	struct pager_service *s = (struct pager_service *)arg;
	void *address;
	int rc;

	is_ours = true;
	sys_thread_name("snapmap-pager");
	while (!atomic_load(&s->stopping)) {
		rc = sys_userfault_read(&s->userfault, &address);
		if (rc == -EAGAIN && !atomic_exchange(&s->somebody_looks, true)) {
			rc = look_for_a_while(s, &address);
			atomic_store(&s->somebody_looks, false);
		}
		if (!rc)
			serve(s, (char *)address);
		else
			sys_userfault_wait(&s->userfault, s->stop_fds[0], -1);
	}
	return NULL;
}

/* ---- coming and going ---- */

/* Within the gate. */
static void stop(struct pager_service *s)
{
	atomic_store(&s->stopping, true);
	if (s->stop_fds[1] >= 0)
		sys_close(s->stop_fds[1]); /* the other end can be read from then */
	s->stop_fds[1] = -1;
	while (s->thread_count)
		pthread_join(s->threads[--s->thread_count], NULL);
	atomic_store(&s->stopping, false);
	close_fd(&s->stop_fds[0]);
	close_fd(&s->userfault.fd);
	if (s->scratch)
		sys_unmap(s->scratch, (PAGER_SCRATCH_PAGES + 1) * sys_page_size());
	s->scratch = NULL;
}

static unsigned threads_wanted(void)
{
	unsigned n = sys_processors();

	return n < 2 ? 2 : n > THREADS_MAX ? THREADS_MAX : n;
}

static int start(struct pager_service *s)
{
	unsigned wanted = threads_wanted();
	int rc = sys_userfault_open(s->user_only, &s->userfault);

	if (rc)
		return rc;
	rc = sys_pipe(s->stop_fds);
	while (!rc && s->thread_count < wanted) {
		rc = sys_thread_start(run, s, &s->threads[s->thread_count]);
		s->thread_count += !rc;
	}
	if (rc)
		stop(s);
	return rc;
}

/* Within the gate. */
static int enter(struct pager_service *s, struct pager_area *a)
{
	int rc = s->area_count ? 0 : start(s);

	if (rc)
		return rc;
	s->area_count++;
	a->service = s;
	a->userfault = &s->userfault;
	a->user_only = s->user_only;
	pthread_rwlock_wrlock(&list_lock);
	cds_list_add(&a->node, &areas);
	pthread_rwlock_unlock(&list_lock);
	return 0;
}

int pager_threads_enter(struct pager_area *a)
{
	bool user_only = a->user_only;
	int rc;

	pthread_mutex_lock(&gate);
	rc = enter(&services[0], a);
	if (rc == -EPERM && user_only)
		rc = enter(&services[1], a);
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
	if (!--a->service->area_count)
		stop(a->service);
	pthread_mutex_unlock(&gate);
}

/* ---- the scratch ---- */

static char *make_scratch(const struct sys_userfault *u)
{
	size_t n = PAGER_SCRATCH_PAGES * sys_page_size();
	void *p;

	if (sys_map(NULL, n + sys_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0, &p))
		return NULL;
	if (sys_not_inherited(p, n + sys_page_size()) || sys_userfault_register(u, p, n, true)) {
		sys_unmap(p, n + sys_page_size());
		return NULL;
	}
	return (char *)p;
}

char *pager_take_scratch(const struct pager_area *a)
{
	struct pager_service *s = a->service;

	pthread_mutex_lock(&scratch_lock);
	if (!s->scratch)
		s->scratch = make_scratch(&s->userfault);
	if (!s->scratch)
		pthread_mutex_unlock(&scratch_lock);
	return s->scratch;
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
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		struct pager_service *s = &services[i];

		close_fd(&s->userfault.fd);
		close_fd(&s->stop_fds[0]);
		close_fd(&s->stop_fds[1]);
		s->thread_count = s->area_count = 0;
		s->scratch = NULL;
		atomic_store(&s->somebody_looks, false);
	}
	CDS_INIT_LIST_HEAD(&areas);
	pthread_rwlock_init(&list_lock, NULL);
	pthread_mutex_init(&scratch_lock, NULL);
	pthread_mutex_unlock(&gate);
}
