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
 * after the last one: starting a thread costs several times what opening a file does.
 * All have all signals blocked.
 *
 * Locks: life, then pool, then those of entries.
 */
#include "config.h"

#include <errno.h>

#include "lease.h"
#include "sys.h"

#define WORKERS_MAX 8
#define LINGER_MS 20
#define RESCAN_MS 5000 /* a net for breaks that nobody was told of */
#define DRAIN_NS 1000000
#define TICK_NS ((uint64_t)1000000)
#define TICK_MAX_NS ((uint64_t)16000000)
#define USUAL_BREAK_TIME 45 /* seconds, if the kernel cannot be asked */

static atomic_uint users;  /* leases, and opens that may become one */
static atomic_int watcher; /* its thread id, 0 if there is none */

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER; /* starting and ending of the watcher */
static pthread_cond_t started = PTHREAD_COND_INITIALIZER;
static bool starting;
static bool ending;

/*
 * Opens between lease_watch_enter() and lease_watch_entered(), in two groups: those
 * that began before the watcher's last change of group are waited for, while others
 * begin.
 */
static atomic_uint group;
static atomic_uint opening[2];
static _Thread_local unsigned own_group;

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

/* --- one break */

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

/* --- keeper and workers */

static void *run_worker(void *arg)
{
	struct leased *l;

	(void)arg;
	sys_thread_name("snapmap-image");
	while ((l = lease_claim(-1)))
		serve(l);
	pthread_mutex_lock(&pool);
	workers--;
	pthread_mutex_unlock(&pool);
	return NULL;
}

/* Within the lock. A worker finds its work itself, so that nothing is lost if it cannot be started. */
static void hand_out(void)
{
	unsigned waiting = lease_count_waiting();
	pthread_t thread;

	for (; waiting && workers < WORKERS_MAX; waiting--) {
		if (sys_thread_start(run_worker, NULL, &thread))
			return;
		pthread_detach(thread);
		workers++;
	}
}

/* The kernel's time for a break may be changed at any time; a failure to ask leaves the last answer. */
static void end_overdue(void)
{
	static _Atomic int known = USUAL_BREAK_TIME;
	int seconds = sys_lease_break_time();

	if (seconds >= 0)
		known = seconds;
	if (known)
		lease_end_overdue((uint64_t)known * 500000000);
}

/* Woken by the timer: waking it at each break would delay that by half. */
static void *run_keeper(void *arg)
{
	uint64_t tick = TICK_NS;
	int hint;

	(void)arg;
	sys_thread_name("snapmap-keeper");
	/* The first read-side section must not begin within a lock: lease.c says why. */
	rcu_read_lock();
	rcu_read_unlock();
	pthread_mutex_lock(&pool);
	keeper = sys_gettid();
	has_timer = !sys_lease_timer_create(keeper, &timer);
	while (!keeper_ends) {
		struct timespec nap = {.tv_nsec = (long)tick};
		bool busy = jobs != NULL;

		pthread_mutex_unlock(&pool);
		if (busy) {
			sys_sleep(&nap);
			if (tick > TICK_NS)
				end_overdue();
		} else {
			tick = TICK_NS;
			sys_lease_wait(-1, &hint);
		}
		pthread_mutex_lock(&pool);
		if (busy)
			hand_out();
		tick = busy && tick < TICK_MAX_NS ? tick * 2 : tick;
	}
	if (has_timer)
		sys_lease_timer_delete(timer);
	keeper = 0;
	has_timer = false;
	pthread_mutex_unlock(&pool);
	return NULL;
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

static void serve_all(int hint)
{
	struct leased *l;

	while ((l = lease_claim(hint))) {
		serve(l);
		hint = -1;
	}
}

/* A lease that was just granted may break before it is in the table: its opener is waited for. */
static void serve_openers(void)
{
	const struct timespec nap = {.tv_nsec = DRAIN_NS};
	unsigned before = atomic_fetch_xor(&group, 1);

	while (atomic_load(&opening[before])) {
		sys_sleep(&nap);
		serve_all(-1);
	}
	serve_all(-1);
}

static void serve_breaks(int hint)
{
	/* Asked before the look at the table: whoever is not counted any more is in it. */
	bool openers = atomic_load(&opening[0]) || atomic_load(&opening[1]);

	serve_all(hint);
	if (openers)
		serve_openers();
}

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
	ending = ends;
	pthread_mutex_unlock(&life);
	return ends;
}

/*
 * For a moment, since the next break or the next lease may come at once; then until
 * somebody wants to write or the last lease ends. False if nothing came.
 */
static bool wait_for_break(int *hint)
{
	bool came = sys_lease_wait(LINGER_MS, hint);

	if (came || !atomic_load(&users))
		return came;
	atomic_store(&sleeps, true);
	if (atomic_load(&users))
		came = sys_lease_wait(RESCAN_MS, hint);
	atomic_store(&sleeps, false);
	return came;
}

static void *run_watcher(void *arg)
{
	pid_t self = sys_gettid();
	bool came;
	int hint;

	(void)arg;
	sys_thread_name("snapmap-lease");
	start_keeper();
	lease_keep_spare();
	pthread_mutex_lock(&life);
	atomic_store(&watcher, self);
	starting = false;
	pthread_cond_broadcast(&started);
	pthread_mutex_unlock(&life);
	do {
		hint = -1;
		came = wait_for_break(&hint);
		if (came || atomic_load(&users))
			serve_breaks(hint);
	} while (came || !may_end(self));
	stop_keeper();
	lease_give_spare();
	pthread_mutex_lock(&life);
	ending = false;
	pthread_cond_broadcast(&started);
	pthread_mutex_unlock(&life);
	return NULL;
}

/* Within life, and with no watcher. It is not joined: nothing is left of it when it has signed off. */
static int start(void)
{
	pthread_t thread;
	int rc;

	while (ending)
		pthread_cond_wait(&started, &life);
	rc = sys_thread_start(run_watcher, NULL, &thread);
	if (rc)
		return rc;
	pthread_detach(thread);
	starting = true;
	while (starting)
		pthread_cond_wait(&started, &life);
	return 0;
}

static void join_group(void)
{
	for (;;) {
		own_group = atomic_load(&group) & 1;
		atomic_fetch_add(&opening[own_group], 1);
		/* The watcher may have changed groups meanwhile, and not have seen this one. */
		if ((atomic_load(&group) & 1) == own_group)
			return;
		atomic_fetch_sub(&opening[own_group], 1);
	}
}

void lease_watch_entered(void)
{
	atomic_fetch_sub(&opening[own_group], 1);
}

pid_t lease_watch_enter(void)
{
	pid_t id;
	int rc = 0;

	atomic_fetch_add(&users, 1);
	id = atomic_load(&watcher);
	if (!id) {
		pthread_mutex_lock(&life);
		while (starting || ending)
			pthread_cond_wait(&started, &life);
		if (!atomic_load(&watcher))
			rc = start();
		id = atomic_load(&watcher);
		pthread_mutex_unlock(&life);
	}
	if (rc) {
		lease_watch_leave();
		return rc;
	}
	join_group();
	return id;
}

int lease_watch_stay(void)
{
	int rc = lease_make_table();
	pid_t owner = rc ? rc : lease_watch_enter();

	if (owner < 0)
		return owner;
	lease_watch_entered();
	return 0;
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
	atomic_store(&opening[0], 0);
	atomic_store(&opening[1], 0);
	starting = ending = has_keeper = keeper_ends = false;
	has_timer = false;
	keeper = 0;
	jobs = NULL;
	workers = 0;
	lease_watch_unlock();
}
