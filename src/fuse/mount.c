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

#include "server.h"
#include "src/cli/tool.h"

enum {
	OK = 0,
	FAILED = 1,
	NOT_COMMITTED = 2,
};

/* Mount options of the kernel's, in one argument: a comma in the name has to be escaped. */
static int make_options(const struct request *r, char *ret, size_t size)
{
	char name[2 * PATH_MAX + 1], path[PATH_MAX];
	size_t n = 0;
	int length;

	if (!realpath(r->image, path))
		return -errno;
	for (const char *p = path; *p; p++) {
		if (*p == ',' || *p == '\\')
			name[n++] = '\\';
		name[n++] = *p;
	}
	name[n] = 0;
	length = snprintf(ret, size, "-ofsname=%s,subtype=minifs,default_permissions%s%s%s%s", name,
			  geteuid() ? "" : ",allow_other", r->read_only ? ",ro" : "", *r->kernel ? "," : "", r->kernel);
	return length < (int)size ? 0 : -ENAMETOOLONG;
}

/* What libfuse has to say it prints itself. */
static int serve(struct fuse_session *session, struct server *server, const struct request *r)
{
	struct fuse_loop_config config = {.clone_fd = 1, .max_idle_threads = 10};
	int rc;

	if (fuse_set_signal_handlers(session))
		return tool_say(FAILED, "cannot catch signals");
	if (fuse_session_mount(session, r->directory)) {
		fuse_remove_signal_handlers(session);
		return tool_say(FAILED, "cannot mount '%s' on '%s'", r->image, r->directory);
	}
	rc = commits_start(&server->commits, server->fs, r->read_only ? 0 : r->commit);
	if (rc) {
		daemon_log("cannot commit '%s' now and then: %s", r->image, strerror(-rc));
	} else {
		daemon_ready();
		fuse_session_loop_mt(session, &config);
	}
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	if (!rc)
		rc = commits_finish(&server->commits);
	return rc ? NOT_COMMITTED : OK;
}

static int start(struct server *server, const struct request *r)
{
	char name[] = "mount.minifs", options[2 * PATH_MAX + sizeof(r->kernel) + 100];
	char *argv[] = {name, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session;
	int rc = make_options(r, options, sizeof(options)), status;

	if (rc)
		return tool_say(FAILED, "cannot find the name of '%s': %s", r->image, strerror(-rc));
	session = fuse_session_new(&args, &server_operations, sizeof(server_operations), server);
	fuse_opt_free_args(&args);
	if (!session)
		return tool_say(FAILED, "cannot use the options '%s'", r->kernel);
	status = serve(session, server, r);
	fuse_session_destroy(session);
	return status;
}

static int check_directory(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return tool_say(FAILED, "cannot mount on '%s': %s", path, strerror(errno));
	return S_ISDIR(st.st_mode) ? OK : tool_say(FAILED, "cannot mount on '%s': it is no directory", path);
}

int main(int argc, char **argv)
{
	struct server server = {0};
	struct request request;
	int rc, status;

	tool_name = "mount.minifs";
	status = request_read(argc, argv, &request);
	if (status >= 0)
		return status;
	status = check_directory(request.directory);
	if (status)
		return status;
	rc = request.foreground ? 0 : daemon_begin();
	if (rc)
		return tool_say(FAILED, "cannot go to the background: %s", strerror(-rc));
	/* Memory for large reads and writes is kept rather than mapped for each. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	server.writeback = request.writeback;
	if (minifs_open(request.image, request.read_only ? MINIFS_RDONLY : 0, &server.fs))
		return tool_say(FAILED, "%s", snapmap_last_error());
	status = start(&server, &request);
	minifs_close(server.fs);
	return status;
}
