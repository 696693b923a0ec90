/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Putting pages in place: the one that was touched, and some that are likely to be
 * touched soon. Where pages are touched one after the other each fault brings twice as
 * many as the last one did, for a fault costs far more than a page.
 *
 * Whoever waits for a page goes on when it is there, while the pages behind it are still
 * coming. If they come to a page that is among these, nobody else brings it: it
 * arrives before a second thread would have it.
 */
#include "config.h"

#include <errno.h>

#include "mapping.h"
#include "pager.h"

#define FIRST 4	  /* pages for a touch anywhere */
#define MOST 1024 /* pages for a fault */
#define PIECE 64  /* pages brought at a time, so that others can change what pages show in between */
#define TRIES 1000
#define PATIENCE 3 /* then whoever wants to change what pages show has to wait for the disk */
#define TRY_AGAIN_NS 1000000

/* ---- how many ---- */

static size_t largest(const struct pager_area *a)
{
	size_t limit = atomic_load(&a->limit), most = limit && limit / 8 < MOST ? limit / 8 : MOST;

	return most ? most : 1;
}

/* Under the mutex. */
static size_t guess(struct pager_area *a, size_t page)
{
	size_t most = largest(a), n = FIRST < most ? FIRST : most;
	struct pager_stream *s = NULL;

	for (unsigned i = 0; !s && i < PAGER_STREAMS; i++)
		if (a->streams[i].pages && page - a->streams[i].next <= a->streams[i].pages / 4)
			s = &a->streams[i];
	if (s)
		n = s->pages * 2 < most ? s->pages * 2 : most;
	else
		s = &a->streams[a->turn++ % PAGER_STREAMS];
	*s = (struct pager_stream){page + n, n};
	return n < a->pages - page ? n : a->pages - page;
}

/* Under the mutex. */
static bool is_coming(struct pager_area *a, size_t page)
{
	for (struct pager_window *w = a->windows; w; w = w->next)
		if (w->first <= page && page < w->end)
			return w->relied_on = true;
	return false;
}

static void close_window(struct pager_area *a, struct pager_window *w)
{
	struct pager_window **at = &a->windows;

	pthread_mutex_lock(&a->mutex);
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	pthread_mutex_unlock(&a->mutex);
}

/* ---- one piece ---- */

/* A page that cannot be read: what touches it gets a SIGBUS. */
static void fail(struct pager_area *a, size_t page, int error)
{
	const struct sys_userfault *u = a->userfault;
	size_t size = sys_page_size();
	char *at = a->base + page * size;

	if (a->ops->failed)
		a->ops->failed(a, page, error);
	/* Before Linux 6.6 it is a SIGSEGV. */
	if (sys_userfault_poison(u, at, size) && sys_protect(at, size, 0))
		return;
	sys_userfault_wake(u, at, size);
}

/*
 * Under the lock for reading. Returns the pages that are there now, of @n; less only if
 * @ret_error says why.
 */
static size_t put(struct pager_area *a, size_t page, size_t n, const char *from, int *ret_error)
{
	const struct sys_userfault *u = a->userfault;
	size_t size = sys_page_size(), done = 0, mine = 0, got;
	int rc = 0;

	for (unsigned tries = 0; done < n && tries < TRIES; tries++) {
		char *to = a->base + (page + done) * size;

		if (from)
			rc = sys_userfault_copy(u, to, from + done * size, (n - done) * size, !a->fixed, &got);
		else
			rc = sys_userfault_zero(u, to, (n - done) * size, &got);
		done += got / size;
		mine += got / size;
		if (got)
			tries = 0;
		/* Somebody has brought it, or stored there; who waits for it may have come since. */
		if (rc == -EEXIST) {
			sys_userfault_wake(u, to, size);
			done++;
			tries = 0;
		} else if (rc == -ENOMEM) {
			sys_sleep(&(struct timespec){.tv_nsec = TRY_AGAIN_NS});
		} else if (rc && rc != -EAGAIN) {
			break;
		}
	}
	*ret_error = done < n ? (rc ? rc : -EAGAIN) : 0;
	if (from && mine) {
		atomic_fetch_add(&a->pages_in, mine);
		pthread_mutex_lock(&a->mutex);
		pager_note_loaded(a, page, done);
		pthread_mutex_unlock(&a->mutex);
	}
	return done;
}

/* Has the kernel read it beforehand, so that nobody has to wait for a disk who wants the lock. */
static int read_before(const char *from, size_t n)
{
	uintptr_t start = (uintptr_t)from, end = start + n * sys_page_size();

	start = page_down(start);
	return sys_populate((const void *)start, page_up(end) - start);
}

/* Has the kernel read them; only the first, if there are some that cannot be read. */
static int read_some_before(struct pager_bytes *b)
{
	if (!b->pages)
		return -EIO;
	if (!b->from || !read_before(b->from, b->pages))
		return 0;
	b->pages = 1;
	return read_before(b->from, 1);
}

/*
 * Returns the pages that are there now, from @page on; less than 1 only if @ret_error says
 * why. What pages show may change while they are read, but not for ever; that of a fixed area
 * does not, it is only given back.
 */
static size_t bring(struct pager_area *a, size_t page, size_t most, int *ret_error)
{
	size_t n = 0;
	bool same = false;

	for (unsigned tries = 0; !same; tries++) {
		bool patient = tries < PATIENCE;
		struct pager_bytes b;
		uint64_t seen;

		pthread_rwlock_rdlock(&a->lock);
		b = a->ops->find(a, page, most < PIECE ? most : PIECE);
		seen = a->changes;
		if (patient)
			pthread_rwlock_unlock(&a->lock);
		*ret_error = read_some_before(&b);
		if (patient)
			pthread_rwlock_rdlock(&a->lock);
		same = a->fixed || a->changes == seen;
		if (same && !*ret_error)
			n = put(a, page, b.pages, b.from, ret_error);
		pthread_rwlock_unlock(&a->lock);
		if (b.held)
			a->ops->let_go(a, b.held);
	}
	return n;
}

/* ---- all of it ---- */

static void open_window(struct pager_area *a, struct pager_window *w)
{
	pthread_mutex_lock(&a->mutex);
	w->next = a->windows;
	a->windows = w;
	pthread_mutex_unlock(&a->mutex);
}

/*
 * What is to be put in place because of @page; false if nothing is. Until that is known the
 * window has this page only: others could be left to it, and then not be among those.
 */
static bool prepare(struct pager_area *a, struct pager_window *w, size_t page, size_t likely)
{
	struct pager_loaded run;

	if (!a->ops->prepare)
		return true;
	run = a->ops->prepare(a, page, likely);
	if (!run.pages)
		return false;
	pthread_mutex_lock(&a->mutex);
	w->first = run.first;
	w->end = run.first + run.pages;
	pthread_mutex_unlock(&a->mutex);
	return true;
}

/* Whether all of it is there; *@ret_error: why the rest is not. */
static bool bring_all(struct pager_area *a, const struct pager_window *w, size_t page, int *ret_error)
{
	size_t at = w->first;
	int error = 0;

	while (at < w->end && !error) {
		size_t got = bring(a, at, w->end - at, &error);

		/* Only who touches a page is told that it cannot be read. */
		if (error == -EFAULT)
			error = -EIO;
		if (error && error != -ENOENT && error != -ESRCH && at <= page && page < w->end && !got)
			fail(a, page, error);
		at += got;
	}
	*ret_error = error;
	return at >= w->end;
}

void pager_fill(struct pager_area *a, size_t page, size_t n)
{
	struct pager_window w = {.first = page, .end = page + (a->ops->prepare ? 1 : n)};
	int error = 0;
	bool any;

	open_window(a, &w);
	any = prepare(a, &w, page, n);
	if (any) {
		bool all = bring_all(a, &w, page, &error);

		if (a->ops->done)
			a->ops->done(a, page, all ? w.end - w.first : 0);
	}
	close_window(a, &w);
	/*
	 * A page that was left to this window may not have come: something failed, or it had
	 * come before, and was given back. Who waits for it tries again.
	 */
	if (!any || error || w.relied_on)
		sys_userfault_wake(a->userfault, a->base + w.first * sys_page_size(),
				   (w.end - w.first) * sys_page_size());
	if (atomic_load(&a->limit))
		pager_give_back(a);
}

void pager_serve(struct pager_area *a, size_t page)
{
	bool coming;
	size_t n = 1;

	atomic_fetch_add(&a->faults, 1);
	pthread_mutex_lock(&a->mutex);
	coming = is_coming(a, page);
	if (!coming)
		n = guess(a, page);
	pthread_mutex_unlock(&a->mutex);
	if (!coming)
		pager_fill(a, page, n);
}
