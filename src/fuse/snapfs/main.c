/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* snapfs: opens a directory, mounts itself, and serves it until it is unmounted. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "src/cli/tool.h"
#include "src/fuse/helper.h"
#include "src/fuse/jobs.h"
#include "src/fuse/loop.h"
#include "wrapper.h"

enum {
	OK = 0,
	FAILED = 1,
};

#define FILES_MOST 1048576
#define THREADS 3 /* with more each request finds one that is cold */

struct wrapper wrapper = {.area = -1, .lock = -1, .root = {.node.kind = KIND_FILE, .fd = -1, .refs = 1}};

/* A descriptor for each file that the kernel knows, so as many as there may be. */
static void raise_limit(void)
{
	struct rlimit limit = {FILES_MOST, FILES_MOST};

	if (wrapper.as_root && !setrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_root(const struct request *r)
{
	struct file *root = &wrapper.root;
	struct statvfs space;
	struct stat st;

	root->fd = open(r->lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0 || fstat(root->fd, &st) || fstatvfs(root->fd, &space))
		return tool_say(FAILED, "cannot serve '%s': %s", r->lower, strerror(errno));
	root->dev = st.st_dev;
	root->ino = st.st_ino;
	root->type = S_IFDIR;
	pthread_rwlock_init(&root->lock, NULL);
	files_start();
	wrapper.most_snapshots = r->most_snapshots;
	wrapper.most_kept = r->most_kept ? r->most_kept : (uint64_t)space.f_blocks * space.f_frsize / 4;
	return area_open();
}

static int answer(const struct request *r)
{
	int rc;

	if (!daemon_ready()) {
		daemon_log("'%s' is unmounted again, for whoever wanted it has gone", r->lower);
		return FAILED;
	}
	rc = jobs_start(snapshots_expire);
	if (!rc)
		rc = loop_run(&(struct loop_work){
			.session = wrapper.session,
			.directory = r->directory,
			.writes = &wrapper.writes,
			.threads = THREADS,
			.begin = caller_begin_thread,
		});
	jobs_stop();
	if (!rc)
		return OK;
	daemon_log("'%s' cannot be served any longer: %s", r->lower, strerror(-rc));
	return FAILED;
}

/* What libfuse has to say it prints itself. */
static int serve(const struct request *r)
{
	int status;

	if (fuse_session_mount(wrapper.session, r->directory))
		return tool_say(FAILED, "cannot mount '%s' on '%s'", r->lower, r->directory);
	status = answer(r);
	fuse_session_unmount(wrapper.session);
	return status;
}

static int start(const struct request *r)
{
	static char options[2 * PATH_MAX + sizeof(r->words.kernel) + 100];
	char name[] = "snapfs", *argv[] = {name, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	int status;

	if (!words_kernel_options(&r->words, r->lower, "snapfs", options, sizeof(options)))
		return tool_say(FAILED, "the name of '%s' is too long", r->lower);
	wrapper.session = fuse_session_new(&args, &wrapper_operations, sizeof(wrapper_operations), NULL);
	fuse_opt_free_args(&args);
	if (!wrapper.session)
		return tool_say(FAILED, "cannot use the options '%s'", r->words.kernel);
	status = serve(r);
	fuse_session_destroy(wrapper.session);
	return status;
}

int main(int argc, char **argv)
{
	static struct request request;
	int rc, status;

	tool_start("snapfs");
	status = request_read(argc, argv, &request);
	if (status >= 0)
		return status;
	rc = request.words.foreground ? 0 : daemon_begin();
	if (rc)
		return tool_say(FAILED, "cannot go to the background: %s", strerror(-rc));
	rc = helpers_start(request.directory);
	if (rc)
		return tool_say(FAILED, "cannot start a process: %s", strerror(-rc));
	wrapper.request = &request;
	wrapper.as_root = !geteuid();
	/* Memory for large reads and writes is kept rather than mapped for each. */
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 4 << 20);
	umask(0);
	raise_limit();
	status = open_root(&request);
	if (status >= 0)
		return status;
	/* Until here a signal is the end, and changes nothing. */
	loop_block_signals();
	status = start(&request);
	helpers_stop();
	/* Only the kernel knew what it had open when a signal came. */
	if (wrapper.handles)
		_exit(status);
	return status;
}
