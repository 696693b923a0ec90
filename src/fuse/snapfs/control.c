/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How snapshots are asked for: by ioctl(2), and by words that are written to a file. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/fuse/control.h"
#include "wrapper.h"

struct node control_dir = {.kind = KIND_CONTROL_DIR}, control_file = {.kind = KIND_CONTROL};

/* An open file of answers. */
struct answers {
	pthread_mutex_t lock;
	bool asked;
	size_t at;
	char text[128];
};

static struct answers *answers_of(const struct fuse_file_info *fi)
{
	return (struct answers *)(uintptr_t)fi->fh;
}

static void stat_of(const struct node *node, struct stat *ret)
{
	bool dir = node == &control_dir;

	*ret = (struct stat){
		.st_ino = ((ino_t)1 << 63) - (dir ? 1 : 2),
		.st_mode = dir ? S_IFDIR | 0711 : S_IFREG | 0666,
		.st_nlink = dir ? 2 : 1,
		.st_uid = wrapper.as_root ? 0 : geteuid(),
		.st_gid = wrapper.as_root ? 0 : getegid(),
	};
}

void control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.attr_timeout = WRAPPER_TIMEOUT, .entry_timeout = WRAPPER_TIMEOUT};
	bool in_root = parent == FUSE_ROOT_ID;
	const struct node *node = NULL;

	if (in_root && !strcmp(name, SNAPFS_DIR))
		node = &control_dir;
	else if (!in_root && !strcmp(name, SNAPFS_CONTROL))
		node = &control_file;
	if (node) {
		entry.ino = (fuse_ino_t)(uintptr_t)node;
		stat_of(node, &entry.attr);
		fuse_reply_entry(req, &entry);
	} else {
		fuse_reply_err(req, ENOENT);
	}
}

void control_getattr(fuse_req_t req, const struct node *node)
{
	struct stat st;

	stat_of(node, &st);
	fuse_reply_attr(req, &st, WRAPPER_TIMEOUT);
}

void control_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct answers *answers;

	if (node == &control_dir) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	answers = (struct answers *)calloc(1, sizeof(*answers));
	if (!answers) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_init(&answers->lock, NULL);
	fi->fh = (uintptr_t)answers;
	fi->direct_io = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) == -ENOENT)
		free(answers);
}

void control_release(fuse_req_t req, struct fuse_file_info *fi)
{
	pthread_mutex_destroy(&answers_of(fi)->lock);
	free(answers_of(fi));
	fuse_reply_err(req, 0);
}

/*
 * What was asked here, or else the last that its user asked. Reading goes on where it
 * stopped whatever the position is, which writing has moved.
 */
void control_read(fuse_req_t req, size_t size, struct fuse_file_info *fi)
{
	struct answers *answers = answers_of(fi);
	char text[128];
	size_t at, n;

	pthread_mutex_lock(&answers->lock);
	if (answers->asked)
		memcpy(text, answers->text, sizeof(text));
	else
		user_last_answer(fuse_req_ctx(req)->uid, text);
	at = answers->at;
	n = strlen(text);
	n = n < at ? 0 : n - at < size ? n - at : size;
	answers->at += n;
	pthread_mutex_unlock(&answers->lock);
	fuse_reply_buf(req, text + at, n);
}

/* A request to write that waits for its snapshot. */
struct order {
	fuse_req_t req;
	struct answers *answers;
	struct file *file;
	size_t size;
};

static void answer_order(const struct order *order, int rc, const struct snapfs_snapshot *snapshot)
{
	struct answers *answers = order->answers;

	pthread_mutex_lock(&answers->lock);
	if (rc)
		snprintf(answers->text, sizeof(answers->text), "error %d %s\n", -rc, strerror(-rc));
	else
		snprintf(answers->text, sizeof(answers->text), SNAPFS_DIR "/%s\n", snapshot->token);
	answers->asked = true;
	answers->at = 0;
	user_answer(fuse_req_ctx(order->req)->uid, answers->text);
	pthread_mutex_unlock(&answers->lock);
	if (rc)
		fuse_reply_err(order->req, -rc);
	else
		fuse_reply_write(order->req, order->size);
}

static void order_done(void *arg, int rc, const struct snapfs_snapshot *snapshot)
{
	struct order *order = (struct order *)arg;

	answer_order(order, rc, snapshot);
	file_forget(order->file, 1);
	free(order);
}

/* "snapshot OFFSET LENGTH PATH" */
static int parse(char *text, struct wish *wish, const char **ret_path)
{
	char *rest = NULL, *word = strtok_r(text, " ", &rest), *end;

	if (!word || strcmp(word, "snapshot") != 0)
		return -EINVAL;
	word = strtok_r(NULL, " ", &rest);
	errno = 0;
	wish->offset = word ? strtoull(word, &end, 10) : 0;
	if (!word || *word == '-' || *end || errno)
		return -EINVAL;
	word = strtok_r(NULL, " ", &rest);
	wish->length = word && strcmp(word, "-") != 0 ? strtoull(word, &end, 10) : SNAPFS_ALL;
	if (!word || (wish->length != SNAPFS_ALL && (*word == '-' || *end || errno)))
		return -EINVAL;
	*ret_path = rest;
	return *rest ? 0 : -EINVAL;
}

/* A file that the caller may read. */
static int find(fuse_req_t req, const char *path, struct file **ret)
{
	int fd = caller_open(req, path), again;
	struct stat st;

	if (fd < 0)
		return fd;
	again = open(file_path(fd).text, O_PATH | O_CLOEXEC);
	close(fd);
	if (again < 0)
		return -errno;
	return file_get(again, 0, NULL, &st, ret);
}

static int prepare(struct order *order, const char *text, struct wish *wish)
{
	const char *path;
	char *copy = strndup(text, order->size);
	int rc = copy ? 0 : -ENOMEM;

	if (!rc) {
		copy[strcspn(copy, "\n")] = 0;
		rc = parse(copy, wish, &path);
	}
	if (!rc)
		rc = find(order->req, path, &order->file);
	free(copy);
	return rc;
}

void control_write(fuse_req_t req, const char *text, size_t size, struct fuse_file_info *fi)
{
	struct wish wish = {.uid = fuse_req_ctx(req)->uid, .gid = fuse_req_ctx(req)->gid};
	struct order here = {.req = req, .answers = answers_of(fi), .size = size}, *order;
	int rc = prepare(&here, text, &wish);

	if (rc) {
		answer_order(&here, rc, NULL);
		return;
	}
	order = (struct order *)malloc(sizeof(*order));
	if (order) {
		*order = here;
		freeze_ask(here.file, &wish, order_done, order);
	} else {
		file_forget(here.file, 1);
		answer_order(&here, -ENOMEM, NULL);
	}
}

/* --- ioctl(2) */

static void answer_ioctl(void *arg, int rc, const struct snapfs_snapshot *snapshot)
{
	fuse_req_t req = (fuse_req_t)arg;

	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_ioctl(req, 0, snapshot, sizeof(*snapshot));
}

static void take(fuse_req_t req, struct file *file, const struct fuse_file_info *fi, const void *in, size_t in_size)
{
	struct wish wish = {.uid = fuse_req_ctx(req)->uid, .gid = fuse_req_ctx(req)->gid};
	struct snapfs_snapshot asked;
	int rc;

	if (in_size < sizeof(asked)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	memcpy(&asked, in, sizeof(asked));
	wish.offset = asked.offset;
	wish.length = asked.length;
	rc = protocol_check(&asked, file->type);
	if (rc)
		reply_rc(req, rc);
	else if (!handle_of(fi)->readable)
		fuse_reply_err(req, EBADF);
	else
		freeze_ask(file, &wish, answer_ioctl, req);
}

static void tell(fuse_req_t req, const struct snapshot *s, size_t out_size)
{
	struct snapfs_state state;

	snapshot_state(s, &state);
	if (out_size < sizeof(state))
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_ioctl(req, 0, &state, sizeof(state));
}

/* Attributes that chattr(1) changes. The kernel has looked whether the caller may. */
static void pass_on(fuse_req_t req, const struct file *file, unsigned command, const void *in, size_t in_size,
		    size_t out_size)
{
	char bytes[sizeof(struct fsxattr)] = {0};
	int fd = file_open(file, O_RDONLY | O_NONBLOCK), rc;

	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	memcpy(bytes, in ? in : bytes, in_size < sizeof(bytes) ? in_size : sizeof(bytes));
	rc = ioctl(fd, command, bytes) ? -errno : 0;
	close(fd);
	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_ioctl(req, 0, bytes, out_size < sizeof(bytes) ? out_size : sizeof(bytes));
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void *argument, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	const struct snapshot *s = snapshot_of(ino);
	struct file *file = file_of(ino);

	(void)argument;
	(void)flags;
	if (command == CONTROL_ENDING)
		fuse_reply_err(req, EOPNOTSUPP);
	else if (s && command == SNAPFS_IOC_STATE)
		tell(req, s, out_size);
	else if (file && command == SNAPFS_IOC_SNAPSHOT)
		take(req, file, fi, in, in_size);
	else if (file && (command == FS_IOC_GETFLAGS || command == FS_IOC_SETFLAGS || command == FS_IOC_FSGETXATTR ||
			  command == FS_IOC_FSSETXATTR))
		pass_on(req, file, command, in, in_size, out_size);
	else
		fuse_reply_err(req, ENOTTY);
}
