/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files below that the kernel knows, each once, by device and inode. A descriptor
 * that is only a path keeps each at hand whatever happens to its names. Where those run
 * out files are opened by handles, and where that is not allowed or cannot be the kernel is
 * asked to forget some.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "wrapper.h"

#define SHARDS 64

/* Parts of the table, each a tree with a lock of its own. */
static struct shard {
	pthread_mutex_t lock;
	void *tree;
} shards[SHARDS] = {[0 ... SHARDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static atomic_uint_fast64_t kept_open;
static uint64_t most_open;
static bool by_handle;

static struct file_handle *handle_of_fd(int fd);

static struct shard *shard_of(const struct file *file)
{
	return &shards[((uint64_t)file->ino * 0x9e3779b97f4a7c15u) >> 58];
}

static int compare(const void *a, const void *b)
{
	const struct file *x = (const struct file *)a, *y = (const struct file *)b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static struct file *new_file(int fd, const struct stat *st)
{
	struct file *file = (struct file *)calloc(1, sizeof(*file));
	pthread_rwlockattr_t attr;

	if (!file)
		return NULL;
	*file = (struct file){
		.node.kind = KIND_FILE, .dev = st->st_dev, .ino = st->st_ino, .fd = fd, .type = st->st_mode & S_IFMT};
	pthread_rwlockattr_init(&attr);
	/* Who takes snapshots is not kept waiting by writers that follow one another. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&file->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return file;
}

static void delete_file(struct file *file)
{
	if (file->fd >= 0) {
		close(file->fd);
		atomic_fetch_sub(&kept_open, 1);
	}
	pthread_rwlock_destroy(&file->lock);
	free(file->handle);
	free(file);
}

/* --- more files than descriptors */

void files_start(void)
{
	struct file_handle *handle = handle_of_fd(wrapper.root.fd);
	struct rlimit limit;
	int fd = -1;

	if (!getrlimit(RLIMIT_NOFILE, &limit))
		most_open = limit.rlim_cur / 2;
	if (handle)
		fd = open_by_handle_at(wrapper.root.fd, handle, O_PATH | O_CLOEXEC);
	by_handle = fd >= 0;
	if (fd >= 0)
		close(fd);
	free(handle);
}

/* NULL: it has none, or no memory. */
static struct file_handle *handle_of_fd(int fd)
{
	struct file_handle *handle = (struct file_handle *)malloc(sizeof(*handle) + MAX_HANDLE_SZ), *fitting;
	int mount;

	if (!handle)
		return NULL;
	handle->handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", handle, &mount, AT_EMPTY_PATH)) {
		free(handle);
		return NULL;
	}
	fitting = (struct file_handle *)realloc(handle, sizeof(*handle) + handle->handle_bytes);
	return fitting ? fitting : handle;
}

static bool is_same_handle(const struct file_handle *a, const struct file_handle *b)
{
	return a->handle_type == b->handle_type && a->handle_bytes == b->handle_bytes &&
	       !memcmp(a->f_handle, b->f_handle, a->handle_bytes);
}

/*
 * Gives the descriptor of a new file away if there are many. Without it the number may go to
 * another file, so what is found by number is compared then.
 */
static void close_if_many(struct file *file, fuse_ino_t parent, const char *name)
{
	bool many = atomic_fetch_add(&kept_open, 1) >= most_open;

	if (!by_handle || file->dev != wrapper.root.dev) {
		if (parent)
			forgetting_add(file, parent, name);
		if (many)
			forgetting_begin();
		return;
	}
	if (!many)
		return;
	file->handle = handle_of_fd(file->fd);
	if (!file->handle)
		return;
	close(file->fd);
	file->fd = -1;
	atomic_fetch_sub(&kept_open, 1);
}

static bool is_still(const struct file *file, int fd)
{
	struct file_handle *handle = file->fd < 0 ? handle_of_fd(fd) : NULL;
	bool same = file->fd >= 0 || (handle && is_same_handle(file->handle, handle));

	free(handle);
	return same;
}

struct reach file_reach(const struct file *file)
{
	struct reach reach = {.fd = file->fd, .temporary = file->fd < 0};

	if (!reach.temporary)
		return reach;
	reach.fd = open_by_handle_at(wrapper.root.fd, file->handle, O_PATH | O_CLOEXEC);
	if (reach.fd < 0)
		reach.fd = -errno;
	return reach;
}

void file_reach_end(struct reach *reach)
{
	if (reach->temporary && reach->fd >= 0)
		close(reach->fd);
}

/* With the lock of the shard. NULL: no memory. */
static struct file *find_or_add(struct shard *shard, const struct file *key, int fd, const struct stat *st,
				fuse_ino_t parent, const char *name)
{
	struct file **found = (struct file **)tfind(key, &shard->tree, compare), *file;

	if (found && !is_still(*found, fd)) {
		(*found)->gone = true;
		tdelete(*found, &shard->tree, compare);
		found = NULL;
	}
	if (found) {
		close(fd);
		(*found)->refs++;
		return *found;
	}
	file = new_file(fd, st);
	if (!file)
		return NULL;
	if (!tsearch(file, &shard->tree, compare)) {
		pthread_rwlock_destroy(&file->lock);
		free(file);
		return NULL;
	}
	file->refs = 1;
	close_if_many(file, parent, name);
	return file;
}

int file_get(int fd, fuse_ino_t parent, const char *name, struct stat *st, struct file **ret)
{
	struct file key, *file;
	struct shard *shard;

	if (fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
		int error = errno;

		close(fd);
		return -error;
	}
	key.dev = st->st_dev;
	key.ino = st->st_ino;
	if (key.dev == wrapper.root.dev && key.ino == wrapper.root.ino) {
		close(fd);
		*ret = &wrapper.root;
		return 0;
	}
	shard = shard_of(&key);
	pthread_mutex_lock(&shard->lock);
	file = find_or_add(shard, &key, fd, st, parent, name);
	pthread_mutex_unlock(&shard->lock);
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	*ret = file;
	return 0;
}

void file_hold(struct file *file)
{
	struct shard *shard = shard_of(file);

	pthread_mutex_lock(&shard->lock);
	file->refs++;
	pthread_mutex_unlock(&shard->lock);
}

void file_forget(struct file *file, uint64_t n)
{
	struct shard *shard = shard_of(file);
	bool last;

	if (file == &wrapper.root)
		return;
	pthread_mutex_lock(&shard->lock);
	file->refs -= n;
	last = !file->refs;
	if (last && !file->gone)
		tdelete(file, &shard->tree, compare);
	pthread_mutex_unlock(&shard->lock);
	if (last) {
		forgetting_remove(file);
		delete_file(file);
	}
}

struct file_path file_path(int fd)
{
	struct file_path path;

	snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
	return path;
}

int file_open(const struct file *file, int flags)
{
	REACH at = file_reach(file);
	int fd;

	if (at.fd < 0)
		return at.fd;
	fd = open(file_path(at.fd).text, (flags & ~O_NOFOLLOW) | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/*
 * What is below may be several file systems. Here it is one, so inode numbers of the
 * others are moved out of the way: a number that two files have is a hard link to tar(1).
 */
void file_show(struct stat *st)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static dev_t others[256];
	static size_t count;
	size_t i = 0;

	if (st->st_dev == wrapper.root.dev)
		return;
	pthread_mutex_lock(&lock);
	while (i < count && others[i] != st->st_dev)
		i++;
	if (i == count && count < sizeof(others) / sizeof(others[0]))
		others[count++] = st->st_dev;
	pthread_mutex_unlock(&lock);
	st->st_ino ^= (ino_t)(i + 1) << 48;
}

int file_stat(const struct file *file, struct stat *ret)
{
	REACH at = file_reach(file);

	if (at.fd < 0)
		return at.fd;
	if (fstatat(at.fd, "", ret, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -errno;
	file_show(ret);
	return 0;
}
