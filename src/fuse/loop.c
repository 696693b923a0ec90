/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that answer the kernel, until the file system is unmounted or a signal comes.
 * All block the signals, and the main one waits for them: so none can kill the server
 * while it is busy with the last commit.
 *
 * After a signal what the kernel has not written back yet, of mappings above all, would
 * be lost with the connection; so it is asked for that while requests are still answered,
 * and a thread that has got a request answers it before it ends. libfuse drops one that
 * comes after fuse_session_exit(), so that is not how threads are told to end.
 */
#include "config.h"

#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "daemon.h"
#include "loop.h"

#define AGAIN_NS 10000000 /* between attempts to wake threads */

/**
 * struct loop - the threads
 * @stop: they are to end
 * @running: how many have not ended
 * @result: a negative errno of one of them
 */
struct loop {
	const struct loop_work *work;
	pthread_t main, threads[LOOP_THREADS];
	unsigned count;
	atomic_bool stop;
	atomic_uint running;
	atomic_int result;
};

static void fill_set(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGHUP);
}

static void interrupt(int signal)
{
	(void)signal;
}

void loop_block_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, wake = {.sa_handler = interrupt};
	sigset_t ends;

	fill_set(&ends);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGUSR1, &wake, NULL);
}

static void *answer(void *arg)
{
	struct loop *l = (struct loop *)arg;
	struct fuse_session *session = l->work->session;
	struct fuse_buf buffer = {0};

	if (l->work->begin)
		l->work->begin();
	while (!l->stop) {
		int rc = fuse_session_receive_buf(session, &buffer);

		if (rc > 0) {
			fuse_session_process_buf(session, &buffer);
		} else if (rc != -EINTR && rc != -EAGAIN) {
			if (rc < 0)
				l->result = rc;
			l->stop = true;
		}
	}
	free(buffer.mem);
	if (atomic_fetch_sub(&l->running, 1) == 1)
		pthread_kill(l->main, SIGTERM);
	return NULL;
}

/*
 * syncfs(2) has the kernel send what it has, but does not wait for FUSE to answer. The
 * requests stand in a queue with that of an ioctl(2) behind them: if none came before
 * it, since the one before, then none is left but what threads have already got.
 */
static void write_back(const struct loop_work *work)
{
	int fd = open(work->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct control_ending ignored;
	uint64_t before;

	if (fd < 0)
		return;
	if (syncfs(fd))
		daemon_log("cannot have '%s' written back before the end", work->directory);
	do {
		before = atomic_load(work->writes);
		if (ioctl(fd, CONTROL_ENDING, &ignored) && errno != EOPNOTSUPP)
			break;
	} while (atomic_load(work->writes) != before);
	close(fd);
}

/* A thread looks whether it shall end, and then waits for a request: it may be between the two. */
static void end_threads(struct loop *l)
{
	const struct timespec pause = {.tv_nsec = AGAIN_NS};

	l->stop = true;
	while (l->running) {
		for (unsigned i = 0; i < l->count; i++)
			pthread_kill(l->threads[i], SIGUSR1);
		if (l->running)
			nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < l->count; i++)
		pthread_join(l->threads[i], NULL);
}

/* One will do. */
static int start_threads(struct loop *l)
{
	int error = 0;

	while (l->count < l->work->threads && !error) {
		atomic_fetch_add(&l->running, 1);
		error = pthread_create(&l->threads[l->count], NULL, answer, l);
		l->count += !error;
	}
	if (error)
		atomic_fetch_sub(&l->running, 1);
	return l->count ? 0 : -error;
}

int loop_run(const struct loop_work *work)
{
	struct loop l = {.work = work, .main = pthread_self()};
	sigset_t ends;
	int number, rc = start_threads(&l);

	if (rc)
		return rc;
	fill_set(&ends);
	while (sigwait(&ends, &number))
		;
	if (!l.stop)
		write_back(work);
	end_threads(&l);
	return l.result;
}
