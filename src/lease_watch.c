/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The threads that serve breaks.
 *
 *  watcher  the owner of all leases: waits for the signal, and serves one break after
 *           the other
 *  keeper   awake only while somebody serves. After a millisecond it gives other
 *           breaks to workers, for the one being served may be a long copy; and when
 *           half of the kernel's time is over, it gives the file up
 *  workers  one break each, and then what else has come up
 *
 * The watcher starts with the first lease and ends, with the keeper, some milliseconds
 * after the last one: starting a thread costs several times what opening a file does. All have
 * all signals blocked.
 *
 * Locks: life, then pool, then those of entries.
 */
#include "config.h"

#include <errno.h>

#include "lease.h"
#include "sys.h"

#define WORKERS_MAX 8
#define LINGER_MS 20
#define TICK_NS ((uint64_t)1000000)
#define TICK_MAX_NS ((uint64_t)16000000)
#define USUAL_BREAK_TIME 45 /* seconds, if the kernel cannot be asked */

static atomic_uint users;  /* leases, and opens that may become one */
static atomic_int watcher; /* its thread id, 0 if there is none */

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER; /* starting and ending of the watcher */
static pthread_cond_t started = PTHREAD_COND_INITIALIZER;
static pthread_t watcher_thread;
static bool joinable;
static bool starting;
static atomic_bool sleeps; /* the watcher, until it is woken */

static pthread_mutex_t pool = PTHREAD_MUTEX_INITIALIZER; /* over what follows */
static struct leased *jobs;				 /* being served */
static unsigned workers;
static pthread_t keeper_thread;
static bool has_keeper; /* the watcher's own */
static bool keeper_ends;
static pid_t keeper; /* its thread id, 0 before it has one */
static timer_t timer;
static bool has_timer;

static void serve(struct leased *l);

/* --- keeper and workers */

static void *run_worker(void *arg)
{
	struct leased *l = (struct leased *)arg;

	sys_thread_name("snapmap-image");
	for (; l; l = lease_claim(-1))
		serve(l);
	pthread_mutex_lock(&pool);
	workers--;
	pthread_mutex_unlock(&pool);
	return NULL;
}

static bool take_worker(void)
{
	bool taken;

	pthread_mutex_lock(&pool);
	taken = workers < WORKERS_MAX;
	workers += taken;
	pthread_mutex_unlock(&pool);
	return taken;
}

static void start_worker(struct leased *l)
{
	pthread_t thread;

	if (sys_thread_start(run_worker, l, &thread))
		run_worker(l);
	else
		pthread_detach(thread);
}

static void hand_out(void)
{
	while (take_worker()) {
		struct leased *l = lease_claim(-1);

		if (!l) {
			pthread_mutex_lock(&pool);
			workers--;
			pthread_mutex_unlock(&pool);
			return;
		}
		start_worker(l);
	}
}

/* Within the lock. */
static void end_overdue(void)
{
	int seconds = sys_lease_break_time();
	uint64_t now = sys_now_ns(), half;

	if (!seconds)
		return;
	half = (uint64_t)(seconds < 0 ? USUAL_BREAK_TIME : seconds) * 500000000;
	for (struct leased *l = jobs; l; l = l->next_job)
		if (now - l->started > half)
			lease_give_up(l);
}

/* Woken by the timer: waking it at each break would delay that by half. */
static void *run_keeper(void *arg)
{
	uint64_t tick = TICK_NS;
	int hint;

	(void)arg;
	sys_thread_name("snapmap-keeper");
	pthread_mutex_lock(&pool);
	keeper = sys_gettid();
	has_timer = !sys_lease_timer_create(keeper, &timer);
	while (!keeper_ends) {
		struct timespec nap = {.tv_nsec = (long)tick};
		bool busy = jobs != NULL;

		pthread_mutex_unlock(&pool);
		if (busy) {
			sys_sleep(&nap);
			hand_out();
		} else {
			tick = TICK_NS;
			sys_lease_wait(-1, &hint);
		}
		pthread_mutex_lock(&pool);
		if (busy && tick > TICK_NS)
			end_overdue();
		tick = busy && tick < TICK_MAX_NS ? tick * 2 : tick;
	}
	if (has_timer)
		sys_lease_timer_delete(timer);
	keeper = 0;
	has_timer = false;
	pthread_mutex_unlock(&pool);
	return NULL;
}

static void add_job(struct leased *l)
{
	pthread_mutex_lock(&pool);
	l->next_job = jobs;
	jobs = l;
	if (!l->next_job && has_timer)
		sys_lease_timer_set(timer, TICK_NS);
	else if (!l->next_job && keeper)
		sys_lease_wake(keeper);
	pthread_mutex_unlock(&pool);
}

static void remove_job(struct leased *l)
{
	struct leased **at = &jobs;

	pthread_mutex_lock(&pool);
	while (*at != l)
		at = &(*at)->next_job;
	*at = l->next_job;
	if (!jobs && has_timer)
		sys_lease_timer_set(timer, 0);
	pthread_mutex_unlock(&pool);
}

static void serve(struct leased *l)
{
	struct stand_in s;

	add_job(l);
	lease_image(l, &s);
	remove_job(l);
	lease_exchange(l, &s);
}

static void start_keeper(void)
{
	has_keeper = !sys_thread_start(run_keeper, NULL, &keeper_thread);
}

static void stop_keeper(void)
{
	if (!has_keeper)
		return;
	pthread_mutex_lock(&pool);
	keeper_ends = true;
	if (keeper)
		sys_lease_wake(keeper);
	pthread_mutex_unlock(&pool);
	pthread_join(keeper_thread, NULL);
	has_keeper = keeper_ends = false;
}

/* --- watcher */

/*
 * Whoever counts itself as a user and then finds the watcher there can rely on it:
 * the watcher looks at the count once more after it has signed off.
 */
static bool may_end(pid_t self)
{
	bool ends;

	if (atomic_load(&users))
		return false;
	pthread_mutex_lock(&life);
	atomic_store(&watcher, 0);
	ends = !atomic_load(&users);
	if (!ends)
		atomic_store(&watcher, self);
	pthread_mutex_unlock(&life);
	return ends;
}

static void serve_all(int hint)
{
	struct leased *l;

	while ((l = lease_claim(hint))) {
		serve(l);
		hint = -1;
	}
}

/*
 * For a moment, since the next break or the next lease may come at once; then until
 * somebody wants to write or the last lease ends. False if the moment has passed
 * without leases.
 */
static bool wait_for_break(int *hint)
{
	bool came = sys_lease_wait(LINGER_MS, hint);

	if (came || !atomic_load(&users))
		return came;
	atomic_store(&sleeps, true);
	if (atomic_load(&users))
		came = sys_lease_wait(-1, hint);
	atomic_store(&sleeps, false);
	return came;
}

static void *run_watcher(void *arg)
{
	pid_t self = sys_gettid();
	int hint;

	(void)arg;
	sys_thread_name("snapmap-lease");
	pthread_mutex_lock(&life);
	atomic_store(&watcher, self);
	starting = false;
	pthread_cond_broadcast(&started);
	pthread_mutex_unlock(&life);
	start_keeper();
	for (;;) {
		hint = -1;
		if (!wait_for_break(&hint)) {
			if (may_end(self))
				break;
			continue;
		}
		serve_all(hint);
		if (lease_openers_waited_for())
			serve_all(-1);
	}
	stop_keeper();
	return NULL;
}

/* Within life, and with no watcher. */
static int start(void)
{
	int rc;

	if (joinable)
		pthread_join(watcher_thread, NULL);
	rc = sys_thread_start(run_watcher, NULL, &watcher_thread);
	joinable = starting = !rc;
	while (starting)
		pthread_cond_wait(&started, &life);
	return rc;
}

pid_t lease_watch_enter(void)
{
	pid_t id;
	int rc = 0;

	atomic_fetch_add(&users, 1);
	id = atomic_load(&watcher);
	if (id)
		return id;
	pthread_mutex_lock(&life);
	while (starting)
		pthread_cond_wait(&started, &life);
	if (!atomic_load(&watcher))
		rc = start();
	id = atomic_load(&watcher);
	pthread_mutex_unlock(&life);
	if (!rc)
		return id;
	lease_watch_leave();
	return rc;
}

void lease_watch_leave(void)
{
	if (atomic_fetch_sub(&users, 1) != 1 || !atomic_load(&sleeps))
		return;
	/* The lock keeps the thread there: its number must not have become another's. */
	pthread_mutex_lock(&life);
	if (atomic_load(&watcher))
		sys_lease_wake(atomic_load(&watcher));
	pthread_mutex_unlock(&life);
}

unsigned lease_watch_users(void)
{
	return atomic_load(&users);
}

/* --- fork */

void lease_watch_lock(void)
{
	pthread_mutex_lock(&life);
	pthread_mutex_lock(&pool);
}

void lease_watch_unlock(void)
{
	pthread_mutex_unlock(&pool);
	pthread_mutex_unlock(&life);
}

/* Waiters are gone with their threads, so the condition variable is made anew. */
void lease_watch_forget(void)
{
	pthread_cond_init(&started, NULL);
	atomic_store(&users, 0);
	atomic_store(&watcher, 0);
	atomic_store(&sleeps, false);
	joinable = starting = has_keeper = keeper_ends = false;
	has_timer = false;
	keeper = 0;
	jobs = NULL;
	workers = 0;
	lease_watch_unlock();
}
