/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SNAPMAP_GUARD, and what programs with a handler of SIGBUS of their own should know.
 *
 * Storage can fail while a mapped page is read. That is a SIGBUS, which ends the
 * process. Within a handle that was opened with SNAPMAP_GUARD the page becomes
 * zeros instead, the access goes on, and snapmap_info.error of the handle is -EIO
 * from then on. So look at the error after the bytes were used. The page stays
 * zeros also if the storage recovers; other pages are what they were. An editable
 * handle with an error can still be read, stored into and rolled back, but commit
 * and link refuse with -EIO.
 *
 * A handle that loses its lease (SNAPMAP_LEASE_LOST) before there is an image to take
 * its place becomes zeros as a whole, with an error that says why.
 *
 * System calls that are given the memory, such as write(2), raise no signal: they
 * fail with EFAULT at a page that cannot be read and that nobody has touched yet.
 * snapmap_prefault() fails with -EIO there.
 *
 * The first such open installs a handler of SIGBUS, with SA_ONSTACK, which stays
 * until the process ends or calls exec: others may have remembered it. It is the
 * only disposition that the library ever changes. Signals that are not about
 * guarded handles go on to the handler that was there before, or have the effect
 * that they would have had. That handler runs on the alternate stack, if the thread
 * has one, also without SA_ONSTACK of its own.
 */
#ifndef SNAPMAP_GUARD_H
#define SNAPMAP_GUARD_H

#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Not for programs in strictly standard C, which have no siginfo_t. */
#if !defined(__STRICT_ANSI__) || (defined(_POSIX_C_SOURCE) && _POSIX_C_SOURCE >= 199309L)

/**
 * snapmap_guard_handle() - deal with a SIGBUS if it is about a guarded handle
 * @signal: number of the signal
 * @info: what the handler was given with it (SA_SIGINFO)
 *
 * A program that installs a handler of its own after the guard has three ways to
 * keep the guard working: its handler calls the one that sigaction() said was there
 * before, with all three arguments; or it calls this function first; or a handle is
 * opened with SNAPMAP_GUARD afterwards, which puts the guard in front again.
 *
 *	static void on_sigbus(int signal, siginfo_t *info, void *context)
 *	{
 *		if (snapmap_guard_handle(signal, info))
 *			return;
 *		...
 *	}
 *
 * If the address is within a handle opened with SNAPMAP_GUARD, the page becomes
 * zeros, the handle's error -EIO, and the handler has only to return: the access
 * is repeated. Signals that were sent by a process are never dealt with.
 *
 * May be called in a signal handler, on an alternate stack, in any thread. Keeps
 * errno.
 *
 * Return: 1 if the fault was dealt with; 0 if it is none of ours, or could not be
 * dealt with because the process has too many mappings (vm.max_map_count).
 */
int snapmap_guard_handle(int signal, const siginfo_t *info);

#endif

#ifdef __cplusplus
}
#endif

#endif
