/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SNAPMAP_GUARD, for programs that have a handler of SIGBUS of their own. */
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
 * An open with SNAPMAP_GUARD puts a handler of SIGBUS in front, and whatever it
 * found there gets the signals that are not about guarded handles. A program that
 * installs a handler of its own later has three ways to keep the guard working:
 * its handler calls the one that sigaction() said was there before; or it calls
 * this function first; or a handle is opened with SNAPMAP_GUARD afterwards, which
 * puts the guard in front again.
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
