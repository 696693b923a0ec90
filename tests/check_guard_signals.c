/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SNAPMAP_GUARD among other handlers of SIGBUS: who gets which signal. */
#include "config.h"

#include <pthread.h>
#include <stdlib.h>
#include <ucontext.h>

#include "failing.h"

#define PAGES ((size_t)4)

static volatile char *foreign;
static struct snapmap_mut *map;
static volatile char *lost; /* one lost page of it after the other */

/* What the last call of a handler was given. */
static volatile sig_atomic_t calls;
static siginfo_t seen;
static void *seen_context;
static sigset_t seen_mask;
static volatile uintptr_t stack_at;
static sigjmp_buf out;

static void set_up(void)
{
	char bytes[PAGES * PAGE];

	test_fill(bytes, sizeof(bytes), 1);
	test_write_file("f", bytes, sizeof(bytes));
	foreign = foreign_page();
}

static void open_guarded(void)
{
	map = open_failing("f", SNAPMAP_GUARD, 1);
	lost = (volatile char *)snapmap_mut_data(map) + PAGE;
}

/* The guard works: the process is alive, and the page zeros. */
static bool guard_works(void)
{
	char c = *lost;

	lost += PAGE;
	return !c && mut_error(map) == -EIO;
}

static void note(const siginfo_t *info, void *context)
{
	calls = calls + 1;
	if (info)
		seen = *info;
	seen_context = context;
	sigprocmask(SIG_SETMASK, NULL, &seen_mask);
	stack_at = (uintptr_t)__builtin_frame_address(0);
}

static void install(void (*handler)(int, siginfo_t *, void *), int flags, struct sigaction *ret)
{
	struct sigaction action = {.sa_flags = flags | SA_SIGINFO};

	action.sa_sigaction = handler;
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	ck_assert_sys(sigaction(SIGBUS, &action, ret));
}

static void dispose(void (*handler)(int))
{
	struct sigaction action = {.sa_flags = 0};

	action.sa_handler = handler;
	ck_assert_sys(sigaction(SIGBUS, &action, NULL));
}

static void jump_out(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	note(info, context);
	siglongjmp(out, 1);
}

/* Returns 1 once jump_out() has left a fault that is not the library's. */
static int touch_foreign(void)
{
	if (sigsetjmp(out, 1))
		return 1;
	(void)*foreign;
	return 0;
}

/* --- nobody before us */

static void die_by_fault(void *arg)
{
	(void)arg;
	(void)*foreign;
}

static void die_by_kill(void *arg)
{
	(void)arg;
	kill(getpid(), SIGBUS);
}

static void *kill_me(void *arg)
{
	(void)arg;
	pthread_kill(pthread_self(), SIGBUS);
	return NULL;
}

static void *fault(void *arg)
{
	die_by_fault(arg);
	return NULL;
}

static void in_thread(void *work)
{
	pthread_t thread;

	if (!pthread_create(&thread, NULL, work == fault ? fault : kill_me, NULL))
		pthread_join(thread, NULL);
}

START_TEST(test_default_action_stays)
{
	set_up();
	open_guarded();
	ck_assert_int_eq(death_of(die_by_fault, NULL), SIGBUS);
	ck_assert_int_eq(death_of(die_by_kill, NULL), SIGBUS);
	ck_assert_int_eq(death_of(in_thread, (void *)fault), SIGBUS);
	ck_assert_int_eq(death_of(in_thread, (void *)kill_me), SIGBUS);
	ck_assert(guard_works());
	snapmap_mut_close(map);
	/* The guard stays when the last handle goes. */
	ck_assert_int_eq(death_of(die_by_fault, NULL), SIGBUS);
}
END_TEST

/* The kernel lets nobody ignore a fault. */
START_TEST(test_ignored_stays_ignored)
{
	set_up();
	dispose(SIG_IGN);
	open_guarded();
	ck_assert_int_eq(death_of(die_by_kill, NULL), 0);
	ck_assert_int_eq(death_of(die_by_fault, NULL), SIGBUS);
	ck_assert_int_eq(death_of(in_thread, (void *)fault), SIGBUS);
	ck_assert(guard_works());
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_without_flag_nothing_is_installed)
{
	struct sigaction now;

	set_up();
	map = open_failing("f", 0, PAGES);
	ck_assert_sys(sigaction(SIGBUS, NULL, &now));
	ck_assert(now.sa_handler == SIG_DFL);
	snapmap_mut_close(map);
}
END_TEST

/* --- a handler before us */

START_TEST(test_earlier_handler_gets_the_rest)
{
	set_up();
	install(jump_out, 0, NULL);
	open_guarded();
	ck_assert(guard_works());
	ck_assert_int_eq(calls, 0);
	for (int i = 1; i <= 3; i++) {
		ck_assert_int_eq(touch_foreign(), 1);
		ck_assert_int_eq(calls, i);
		ck_assert_ptr_eq(seen.si_addr, (void *)(uintptr_t)foreign);
		ck_assert_int_eq(seen.si_code, BUS_ADRERR);
		ck_assert_ptr_nonnull(seen_context);
		ck_assert(sigismember(&seen_mask, SIGBUS) && sigismember(&seen_mask, SIGUSR2));
		/* The thread sanitizer blocks more than that. */
		ck_assert(TEST_SANITIZED || !sigismember(&seen_mask, SIGUSR1));
	}
	ck_assert(guard_works());
	snapmap_mut_close(map);
	ck_assert_int_eq(touch_foreign(), 1);
}
END_TEST

static void return_at_once(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	note(info, context);
	errno = 99;
}

START_TEST(test_signals_that_are_sent)
{
	sigset_t before, after;

	set_up();
	install(return_at_once, SA_NODEFER, NULL);
	open_guarded();
	ck_assert_sys(sigprocmask(SIG_SETMASK, NULL, &before));
	errno = 5;
	kill(getpid(), SIGBUS);
	ck_assert_int_eq(errno, 5);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(seen.si_code, SI_USER);
	ck_assert_int_eq(seen.si_pid, getpid());
	/* SA_NODEFER: its own signal is not blocked within it. */
	ck_assert(!sigismember(&seen_mask, SIGBUS) && sigismember(&seen_mask, SIGUSR2));
	ck_assert_sys(sigprocmask(SIG_SETMASK, NULL, &after));
	for (int signal = 1; signal < 65; signal++)
		ck_assert_int_eq(sigismember(&before, signal), sigismember(&after, signal));
	ck_assert(guard_works());
	snapmap_mut_close(map);
}
END_TEST

static void plain(int signal)
{
	calls = calls + signal;
}

START_TEST(test_plain_handler)
{
	set_up();
	dispose(plain);
	open_guarded();
	kill(getpid(), SIGBUS);
	ck_assert_int_eq(calls, SIGBUS);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_handler_for_one_signal)
{
	set_up();
	install(return_at_once, (int)SA_RESETHAND, NULL);
	open_guarded();
	kill(getpid(), SIGBUS);
	ck_assert_int_eq(calls, 1);
	ck_assert(guard_works());
	ck_assert_int_eq(death_of(die_by_kill, NULL), SIGBUS);
	snapmap_mut_close(map);
}
END_TEST

/* Whether a call that SIGBUS interrupts goes on is a matter of the handler that was there. */
START_TEST(test_restarting_is_as_before)
{
	struct sigaction now;

	set_up();
	install(return_at_once, _i ? SA_RESTART : 0, NULL);
	open_guarded();
	ck_assert_sys(sigaction(SIGBUS, NULL, &now));
	ck_assert_int_eq(now.sa_flags & SA_RESTART, _i ? SA_RESTART : 0);
	ck_assert(now.sa_flags & SA_ONSTACK);
	snapmap_mut_close(map);
}
END_TEST

/* --- handlers after us */

static struct sigaction first_old, second_old;
static volatile sig_atomic_t first_calls, second_calls;

static void chain_to(const struct sigaction *old, int signal, siginfo_t *info, void *context)
{
	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(signal, info, context);
	} else if (old->sa_handler == SIG_DFL) {
		dispose(SIG_DFL);
	} else if (old->sa_handler != SIG_IGN) {
		old->sa_handler(signal);
	}
}

static void first(int signal, siginfo_t *info, void *context)
{
	first_calls = first_calls + 1;
	chain_to(&first_old, signal, info, context);
}

static void second(int signal, siginfo_t *info, void *context)
{
	second_calls = second_calls + 1;
	chain_to(&second_old, signal, info, context);
}

static void another_open(void)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_GUARD | SNAPMAP_INHERIT};
	struct snapmap *other;

	ck_assert_ok(snapmap_open("f", &o, &other));
	snapmap_close(other);
}

START_TEST(test_later_handler_that_chains)
{
	set_up();
	install(jump_out, 0, NULL);
	open_guarded();
	install(first, 0, &first_old);
	ck_assert(guard_works());
	ck_assert_int_eq(first_calls, 1);
	ck_assert_int_eq(touch_foreign(), 1);
	ck_assert(first_calls == 2 && calls == 1);
	snapmap_mut_close(map);
}
END_TEST

/* Ours comes to the front, and the other one, which has remembered ours, is asked behind it. */
START_TEST(test_open_after_a_handler_that_chains)
{
	set_up();
	install(jump_out, 0, NULL);
	open_guarded();
	install(first, 0, &first_old);
	another_open();
	ck_assert(guard_works());
	ck_assert_int_eq(first_calls, 0);
	install(second, 0, &second_old);
	another_open();
	ck_assert(guard_works());
	ck_assert(first_calls == 0 && second_calls == 0);
	/* A handler that leaves by a jump must not leave anything behind. */
	for (int i = 1; i <= 5; i++) {
		ck_assert_int_eq(touch_foreign(), 1);
		ck_assert(first_calls == i && second_calls == i && calls == i);
	}
	snapmap_mut_close(map);
}
END_TEST

/* The same with nobody at the end, and again and again. */
static void chained_death(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10; i++) {
		install(i % 2 ? first : second, 0, i % 2 ? &first_old : &second_old);
		another_open();
	}
	if (!guard_works())
		_exit(1);
	alarm(20);
	(void)*foreign;
}

START_TEST(test_chains_end)
{
	set_up();
	open_guarded();
	ck_assert_int_eq(death_of(chained_death, NULL), SIGBUS);
	snapmap_mut_close(map);
}
END_TEST

/* An earlier handler comes to the front again, by somebody who restores what he has found. */
static void restored(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3; i++) {
		ck_assert_sys(sigaction(SIGBUS, &second_old, NULL));
		another_open();
	}
	for (int i = 0; i < 3; i++)
		if (!touch_foreign())
			_exit(1);
}

START_TEST(test_handler_that_comes_back)
{
	set_up();
	install(jump_out, 0, NULL);
	ck_assert_sys(sigaction(SIGBUS, NULL, &second_old));
	open_guarded();
	install(first, 0, &first_old);
	another_open();
	ck_assert_int_eq(death_of(restored, NULL), 0);
	snapmap_mut_close(map);
}
END_TEST

static void asks_the_library(int signal, siginfo_t *info, void *context)
{
	first_calls = first_calls + 1;
	errno = 3;
	if (!snapmap_guard_handle(signal, info))
		jump_out(signal, info, context);
	if (errno != 3)
		_exit(1);
}

START_TEST(test_later_handler_that_asks)
{
	set_up();
	open_guarded();
	install(asks_the_library, 0, NULL);
	ck_assert(guard_works());
	ck_assert(first_calls == 1 && calls == 0);
	ck_assert_int_eq(touch_foreign(), 1);
	ck_assert(first_calls == 2 && calls == 1);
	snapmap_mut_close(map);
}
END_TEST

/* One that does neither keeps the signal until the next open. */
START_TEST(test_later_handler_that_does_not_chain)
{
	set_up();
	open_guarded();
	install(jump_out, 0, NULL);
	if (!sigsetjmp(out, 1)) {
		(void)*lost;
		ck_abort_msg("no signal");
	}
	ck_assert_int_eq(calls, 1);
	another_open();
	ck_assert(guard_works());
	ck_assert_int_eq(touch_foreign(), 1);
	ck_assert_int_eq(calls, 2);
	snapmap_mut_close(map);
}
END_TEST

/* --- stacks */

static char *own_stack;
#define OWN_STACK ((size_t)64 << 10)

static bool on_own_stack(void)
{
	return stack_at - (uintptr_t)own_stack < OWN_STACK;
}

static void *on_alternate_stack(void *arg)
{
	stack_t stack = {.ss_sp = own_stack, .ss_size = OWN_STACK};
	intptr_t line = 0;

	(void)arg;
	if (sigaltstack(&stack, NULL))
		return (void *)(intptr_t)__LINE__;
	for (int i = 0; i < 5 && !line; i++) {
		first_calls = calls = 0;
		if (!touch_foreign() || calls != 1 || first_calls != 1 || !on_own_stack())
			line = __LINE__;
	}
	if (!line && !guard_works())
		line = __LINE__;
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
	return (void *)line;
}

/* As on_alternate_stack, after one more handler was put in front. */
static intptr_t run_on_alternate_stack(void)
{
	pthread_t thread;
	void *line;

	ck_assert_int_eq(pthread_create(&thread, NULL, on_alternate_stack, NULL), 0);
	pthread_join(thread, &line);
	return (intptr_t)line;
}

START_TEST(test_alternate_stack)
{
	set_up();
	own_stack = (char *)malloc(OWN_STACK);
	install(jump_out, SA_ONSTACK, NULL);
	open_guarded();
	install(first, SA_ONSTACK, &first_old);
	another_open();
	ck_assert_int_eq(run_on_alternate_stack(), 0);
	install(second, SA_ONSTACK, &second_old);
	ck_assert_int_eq(run_on_alternate_stack(), 0);
	snapmap_mut_close(map);
	free(own_stack);
}
END_TEST

/* --- the public function */

START_TEST(test_what_is_not_ours)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_ADRERR};

	set_up();
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, NULL), 0);
	info.si_addr = (void *)(uintptr_t)foreign;
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, &info), 0);
	open_guarded();
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, &info), 0);
	info.si_addr = (void *)(uintptr_t)lost;
	ck_assert_int_eq(snapmap_guard_handle(SIGSEGV, &info), 0);
	info.si_code = SI_USER;
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, &info), 0);
	info.si_code = BUS_MCEERR_AO;
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, &info), 0);
	info.si_addr = (char *)snapmap_mut_data(map) + PAGES * PAGE;
	info.si_code = BUS_ADRERR;
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, &info), 0);
	ck_assert_int_eq(mut_error(map), 0);
	info.si_addr = (void *)(uintptr_t)(lost + 17);
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, &info), 1);
	ck_assert_int_eq(mut_error(map), -EIO);
	snapmap_mut_close(map);
	ck_assert_int_eq(snapmap_guard_handle(SIGBUS, &info), 0);
}
END_TEST

static void add_signals(TCase *tc)
{
	tcase_add_test(tc, test_default_action_stays);
	tcase_add_test(tc, test_ignored_stays_ignored);
	tcase_add_test(tc, test_without_flag_nothing_is_installed);
	tcase_add_test(tc, test_earlier_handler_gets_the_rest);
	tcase_add_test(tc, test_signals_that_are_sent);
	tcase_add_test(tc, test_plain_handler);
	tcase_add_test(tc, test_handler_for_one_signal);
	tcase_add_loop_test(tc, test_restarting_is_as_before, 0, 2);
	tcase_add_test(tc, test_later_handler_that_chains);
	tcase_add_test(tc, test_open_after_a_handler_that_chains);
	tcase_add_test(tc, test_chains_end);
	tcase_add_test(tc, test_handler_that_comes_back);
	tcase_add_test(tc, test_later_handler_that_asks);
	tcase_add_test(tc, test_later_handler_that_does_not_chain);
	tcase_add_test(tc, test_alternate_stack);
	tcase_add_test(tc, test_what_is_not_ours);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("guard_signals");

	test_each_fs(s, "signals", add_signals);
	return s;
}
