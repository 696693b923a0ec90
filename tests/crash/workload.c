/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crash_workload STRATEGY SEED SHAPE MARKS COMMITS VERSION...
 *
 * Commits to the files in the working directory (act.h), COMMITS times or for ever if
 * that is 0, and says so before and after each on the socket MARKS. VERSION...: of the
 * files now; all 0 if they are to be made first. Beside it another process keeps
 * writing and flushing a file of its own, so that the file system brings its journal to
 * the disk in the middle of commits.
 *
 * Exit status: 0, 1 if something failed, 2 for wrong arguments, 3 if nobody takes the
 * marks any more, 4 if the strategy is not supported here.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "mark.h"
#include "random.h"

#define UNSUPPORTED 4

static atomic_bool *busy; /* a commit runs */

/*
 * @hard: without a pause, and often the whole file system. What has to be torn is torn
 * where a transaction is brought to the disk; on btrfs that no fsync does.
 */
static void make_noise(uint64_t random, bool hard)
{
	int fd = open(NOISE, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	char bytes[4096];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(bytes, 'n', sizeof(bytes));
	for (;;) {
		if (!atomic_load(busy)) {
			usleep(100);
			continue;
		}
		if (pwrite(fd, bytes, 1 + random_below(&random, sizeof(bytes)), (off_t)random_below(&random, 65536)) <
		    0)
			_exit(1);
		if (random_percent(&random, hard ? 40 : 25))
			syncfs(fd);
		else if (hard || random_percent(&random, 80))
			fsync(fd);
		if (!hard)
			usleep((useconds_t)random_below(&random, 2000));
	}
}

static struct way some_way(const struct act *a, uint64_t *random)
{
	return (struct way){
		/* What is to be torn has to break a promise. */
		.nosync = random_percent(random, 30) && a->shape != SHAPE_SCATTERED,
		.closing = random_percent(random, 40),
		.saving = random_percent(random, 20),
	};
}

static enum file some_file(const struct act *a, uint64_t *random)
{
	unsigned n = (unsigned)random_below(random, 100);

	if (a->shape != SHAPE_ANY)
		return FILE_F;
	return n < 40 ? FILE_F : n < 70 ? FILE_G : n < 85 ? FILE_NEW : FILE_NEWER;
}

static int commit_some(struct act *a, unsigned long commits, uint64_t random)
{
	int rc = 0;

	for (unsigned long i = 0; !rc && (!commits || i < commits); i++) {
		enum file file = some_file(a, &random);

		atomic_store(busy, true);
		rc = act_commit(a, file, some_way(a, &random));
		atomic_store(busy, false);
		if (!rc && random_percent(&random, 10))
			rc = act_flush(a, file);
		if (random_percent(&random, 10))
			usleep((useconds_t)random_below(&random, 5000));
	}
	return rc;
}

#define FEW 20

int main(int argc, char **argv)
{
	struct act a = {0};
	uint64_t versions[FILES] = {0}, random;
	pid_t noise;
	int rc = 0;

	if (argc != 6 + FILES || !(a.strategy = strategy_named(argv[1])))
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	a.seed = strtoull(argv[2], NULL, 0);
	a.shape = (enum shape)atoi(argv[3]);
	a.marks = atoi(argv[4]);
	for (int i = 0; i < FILES; i++)
		versions[i] = strtoull(argv[6 + i], NULL, 0);
	busy = mmap(NULL, sizeof(*busy), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	random = random_mix(a.seed, versions[0] + versions[1]);
	act_begin(&a, versions);
	if (!versions[0] && !a.strategy->image) {
		if (act_set_up(&a)) {
			perror("making the files");
			return 1;
		}
		act_mark(&a, MARK_START, FILE_F, 1, true);
	}
	noise = fork();
	if (!noise) {
		close(a.marks);
		make_noise(random, a.shape == SHAPE_SCATTERED);
	}
	if (a.strategy->image)
		rc = image_work(&a, versions[FILE_F], strtoul(argv[5], NULL, 0), random, busy);
	else
		rc = commit_some(&a, strtoul(argv[5], NULL, 0), random);
	/* What is refused now and then, and made in another way, must not be refused always. */
	if (!rc && !a.worked && strtoul(argv[5], NULL, 0) >= FEW) {
		fprintf(stderr, "%s: not one commit was made this way\n", argv[1]);
		rc = -EIO;
	}
	kill(noise, SIGKILL);
	waitpid(noise, NULL, 0);
	for (int i = 0; i < FILE_COMMITTED; i++)
		snapmap_mut_close(a.handles[i]);
	return rc == -EOPNOTSUPP && !a.worked ? UNSUPPORTED : rc ? 1 : 0;
}
