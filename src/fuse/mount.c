/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mount.minifs: opens an image, mounts it, serves it until it is unmounted, and commits. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper.h"
#include "jobs.h"
#include "server.h"
#include "src/cli/tool.h"

enum {
	OK = 0,
	FAILED = 1,
	NOT_COMMITTED = 2,
};

/* Both from the root, without links. What commits by names would wait for itself. */
static bool is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	return !strncmp(path, directory, n) && (n == 1 || path[n] == '/');
}

static int make_options(const struct request *r, char *ret, size_t size)
{
	char path[PATH_MAX];

	if (!realpath(r->image, path))
		return tool_say(FAILED, "cannot find the name of '%s': %s", r->image, strerror(errno));
	if (is_below(path, r->directory))
		return tool_say(FAILED, "cannot mount '%s' on '%s': that would hide the image itself", r->image,
				r->directory);
	if (!words_kernel_options(&r->words, path, "minifs", ret, size))
		return tool_say(FAILED, "the name of '%s' is too long", r->image);
	return OK;
}

static struct server *served;

static bool look_at_snapshots(void)
{
	return snapshots_expire(served);
}

static int answer(struct fuse_session *session, struct server *server, const struct request *r)
{
	int rc;

	if (!daemon_ready()) {
		daemon_log("'%s' is unmounted again, for whoever wanted it has gone", r->image);
		return FAILED;
	}
	served = server;
	server->session = session;
	pthread_rwlock_init(&server->changes, NULL);
	rc = jobs_start(look_at_snapshots);
	if (!rc)
		rc = loop_run(&(struct loop_work){.session = session,
						  .directory = r->directory,
						  .writes = &server->writes,
						  .threads = LOOP_THREADS});
	jobs_stop();
	if (!rc)
		return OK;
	daemon_log("'%s' cannot be served any longer: %s", r->image, strerror(-rc));
	return FAILED;
}

/* Nothing of the image is used any more, so what could not be committed ends here. */
static int finish(struct server *server, const struct request *r, int status)
{
	int rc = commits_finish(&server->commits);

	minifs_close(server->fs);
	server->fs = NULL;
	if (rc)
		daemon_log("the last changes of '%s' are lost, for they could not be committed (%s): it is as it was "
			   "at its last commit",
			   r->image, strerror(-rc));
	ending_tell(&server->ending, rc);
	return rc ? NOT_COMMITTED : status;
}

/* What libfuse has to say it prints itself. */
static int serve(struct fuse_session *session, struct server *server, const struct request *r)
{
	int rc, status = FAILED;

	ending_start(&server->ending);
	if (fuse_session_mount(session, r->directory))
		return tool_say(FAILED, "cannot mount '%s' on '%s'", r->image, r->directory);
	rc = commits_start(&server->commits, server->fs, r);
	if (rc)
		daemon_log("cannot commit '%s' now and then: %s", r->image, strerror(-rc));
	else
		status = answer(session, server, r);
	fuse_session_unmount(session);
	return finish(server, r, status);
}

static int start(struct server *server, const struct request *r)
{
	char name[] = "mount.minifs", options[2 * PATH_MAX + sizeof(r->words.kernel) + 100];
	char *argv[] = {name, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session;
	int status = make_options(r, options, sizeof(options));

	if (status)
		return status;
	session = fuse_session_new(&args, &server_operations, sizeof(server_operations), server);
	fuse_opt_free_args(&args);
	if (!session)
		return tool_say(FAILED, "cannot use the options '%s'", r->words.kernel);
	status = serve(session, server, r);
	fuse_session_destroy(session);
	return status;
}

static int check_directory(struct request *r, char ret_path[PATH_MAX])
{
	struct stat st;

	if (!realpath(r->directory, ret_path) || stat(ret_path, &st))
		return tool_say(FAILED, "cannot mount on '%s': %s", r->directory, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return tool_say(FAILED, "cannot mount on '%s': it is no directory", r->directory);
	r->directory = ret_path;
	return OK;
}

int main(int argc, char **argv)
{
	static char directory[PATH_MAX];
	struct server server = {.ending.fd = -1};
	struct request request;
	int rc, status;

	tool_start("mount.minifs");
	status = request_read(argc, argv, &request);
	if (status >= 0)
		return status;
	status = check_directory(&request, directory);
	if (status)
		return status;
	rc = request.words.foreground ? 0 : daemon_begin();
	if (rc)
		return tool_say(FAILED, "cannot go to the background: %s", strerror(-rc));
	rc = helpers_start(request.directory);
	if (rc)
		return tool_say(FAILED, "cannot start a process: %s", strerror(-rc));
	/* Memory for large reads and writes is kept rather than mapped for each. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	server.writeback = request.writeback;
	server.read_only = request.words.read_only;
	if (minifs_open(request.image, request.words.read_only ? MINIFS_RDONLY : 0, &server.fs))
		return tool_say(FAILED, "%s", snapmap_last_error());
	/* Until here a signal is the end, and changes nothing. */
	loop_block_signals();
	status = start(&server, &request);
	helpers_stop();
	minifs_close(server.fs);
	return status;
}
