/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The handler of SIGBUS, and those that were there before it.
 *
 * It is put in front by an open that asks for a guard, if it is not there, and
 * never taken away: another handler may have remembered it and call it at any
 * time. (For the same reason the shared library stays loaded.) What was in front
 * is remembered. A signal that is not for us goes to the newest of these, which
 * sees what the kernel would have shown it.
 *
 * A handler that was put in front of ours, and later covered by ours again, has
 * remembered us and calls us in its turn. Then the signal must go to the one that
 * was remembered before that handler, and so on downwards, or it would go round
 * for ever. How far down a signal has come is noted in its own context, in a
 * member (uc_link) that the kernel sets to NULL in each signal frame and never
 * reads. A count for each thread would be wrong for ever once a handler has left
 * by siglongjmp(), as many do.
 *
 * Nothing that was remembered is ever freed, for a signal may be on its way down; a
 * disposition that comes back takes its old entry to the front.
 */
#include "config.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <ucontext.h>

#include "guard.h"
#include "latch.h"
#include "overlay.h"
#include "snapmap/guard.h"
#include "sys.h"

/**
 * struct earlier - a disposition that was found in front
 * @action: never changes
 * @below: the one found before it; under the latch
 * @spent: with SA_RESETHAND: was called, and is the default since
 */
struct earlier {
	struct sigaction action;
	struct earlier *below;
	atomic_bool spent;
};

/* Under the latch. */
static struct earlier *newest;

#define NOTE_TAG 0x736e61706d617042u

/**
 * struct note - how far down a signal has come, on the stack of the handler that passes it on
 * @tag: NOTE_TAG
 * @owner: whose list; there may be two copies of the library in a process
 * @to: who has it now
 * @outer: what uc_link was before
 */
struct note {
	uint64_t tag;
	const void *owner;
	struct earlier *to;
	void *outer;
};

static const struct note *find_note(const ucontext_t *context)
{
	const struct note *note = (const struct note *)(const void *)context->uc_link;

	while (note && note->tag == NOTE_TAG && note->owner != &newest)
		note = (const struct note *)note->outer;
	return note && note->tag == NOTE_TAG ? note : NULL;
}

/* NULL: there is nobody left. A caller that hides the context gets the last, for it may call again and again. */
static struct earlier *find_next(const ucontext_t *context)
{
	const struct note *note = context ? find_note(context) : NULL;
	struct earlier *to;
	sigset_t mask;

	latch_take(&mask);
	to = note ? note->to->below : newest;
	while (!context && to && to->below)
		to = to->below;
	latch_give(&mask);
	return to;
}

/* The kernel does not let a thread ignore a fault of its own, which would only come again. */
static bool comes_again(const siginfo_t *info)
{
	return !info || (info->si_code > 0 && info->si_code != BUS_MCEERR_AO);
}

/* The default action, taken when the handler has returned: by the same signal, so that the kernel tells the same of it. */
static void die(int signal, siginfo_t *info)
{
	struct sigaction action = {.sa_flags = 0};

	action.sa_handler = SIG_DFL;
	sys_sigaction(signal, &action, NULL);
	if (info)
		sys_signal_again(signal, info);
}

/* Masks as the kernel would set them; on the stack that ours was given. */
static void call(const struct sigaction *action, int signal, siginfo_t *info, ucontext_t *context)
{
	sigset_t self, before;

	sigemptyset(&self);
	sigaddset(&self, signal);
	sys_sigmask(SIG_BLOCK, &action->sa_mask, &before);
	if ((action->sa_flags & SA_NODEFER) && !sigismember(&action->sa_mask, signal))
		sys_sigmask(SIG_UNBLOCK, &self, NULL);
	if (action->sa_flags & SA_SIGINFO)
		action->sa_sigaction(signal, info, context);
	else
		action->sa_handler(signal);
	sys_sigmask(SIG_SETMASK, &before, NULL);
}

static void call_noted(struct earlier *to, int signal, siginfo_t *info, ucontext_t *context)
{
	struct note note = {.tag = NOTE_TAG, .owner = &newest, .to = to};

	if (!context) {
		call(&to->action, signal, info, context);
		return;
	}
	note.outer = context->uc_link;
	context->uc_link = (ucontext_t *)(void *)&note;
	call(&to->action, signal, info, context);
	context->uc_link = (ucontext_t *)note.outer;
}

static void pass_on(int signal, siginfo_t *info, ucontext_t *context)
{
	struct earlier *to = find_next(context);

	if (to && to->action.sa_handler == SIG_IGN && !comes_again(info))
		return;
	if (!to || to->action.sa_handler == SIG_DFL || to->action.sa_handler == SIG_IGN ||
	    (((unsigned)to->action.sa_flags & SA_RESETHAND) && atomic_exchange(&to->spent, true)))
		die(signal, info);
	else
		call_noted(to, signal, info, context);
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	int kept = sys_errno_keep();

	if (!snapmap_guard_handle(signal, info))
		pass_on(signal, info, (ucontext_t *)context);
	sys_errno_put_back(kept);
}

/* --- getting in front */

static bool is_ours(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_sigbus;
}

/* The C library fills in only as much of a set as the kernel knows. */
static bool is_same(const struct sigaction *a, const struct sigaction *b)
{
	bool same = a->sa_handler == b->sa_handler && a->sa_flags == b->sa_flags;

	for (int signal = 1; same && signal <= SIGRTMAX; signal++)
		same = sigismember(&a->sa_mask, signal) == sigismember(&b->sa_mask, signal);
	return same;
}

/* Takes the entry for @action out of the list, if there is one. */
static struct earlier *take_out(const struct sigaction *action)
{
	struct earlier **link = &newest, *e;

	while ((e = *link) && !is_same(&e->action, action))
		link = &e->below;
	if (e)
		*link = e->below;
	return e;
}

/* Uses *@spare only if it has to, and sets it to NULL then. */
static void remember(const struct sigaction *action, struct earlier **spare)
{
	struct earlier *e = take_out(action);

	if (!e) {
		e = *spare;
		*spare = NULL;
		e->action = *action;
	}
	atomic_store(&e->spent, false);
	e->below = newest;
	newest = e;
}

/* System calls that a signal interrupts go on as with the handler that was there. */
static int restart_flag(const struct sigaction *before)
{
	bool handled = before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN;

	return handled ? before->sa_flags & SA_RESTART : SA_RESTART;
}

/* Under the latch, without which no signal is passed on: ours is never in front with nothing behind it. */
static int get_in_front(struct earlier **spare)
{
	struct sigaction now, ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
	int rc = sys_sigaction(SIGBUS, NULL, &now);

	if (rc || is_ours(&now))
		return rc;
	ours.sa_flags |= restart_flag(&now);
	ours.sa_sigaction = on_sigbus;
	sigemptyset(&ours.sa_mask);
	rc = sys_sigaction(SIGBUS, &ours, &now);
	if (!rc && !is_ours(&now))
		remember(&now, spare);
	return rc;
}

int guard_install(void)
{
	struct earlier *spare;
	unsigned generation;
	sigset_t mask;
	/* A child may fault as well. */
	int rc = fork_generation(&generation);

	if (rc)
		return rc;
	spare = (struct earlier *)calloc(1, sizeof(*spare));
	if (!spare)
		return -ENOMEM;
	latch_take(&mask);
	rc = get_in_front(&spare);
	latch_give(&mask);
	free(spare);
	return rc;
}
