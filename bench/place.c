/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of a directory, from the library and from the kernel's list of mounts. */
#include "config.h"

#include "bench/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "bench/workload.h"

/* ---- the list of mounts ---- */

static long long mount_id(const char *dir)
{
	struct statx st;

	if (statx(AT_FDCWD, dir, 0, STATX_MNT_ID, &st) || !(st.stx_mask & STATX_MNT_ID))
		return -1;
	return (long long)st.stx_mnt_id;
}

/* Of a line of /proc/self/mountinfo, see proc_pid_mountinfo(5). */
static void take_mount(char *line, struct place *p)
{
	char *own = line, *rest = strstr(line, " - "), *source, *super;

	if (!rest)
		return;
	*rest = 0;
	for (int i = 0; own && i < 5; i++)
		own = (own = strchr(own, ' ')) ? own + 1 : NULL;
	source = strchr(rest + 3, ' ');
	super = source ? strchr(source + 1, ' ') : NULL;
	if (!own || !super)
		return;
	own[strcspn(own, " ")] = 0;
	*super++ = 0;
	super[strcspn(super, "\n")] = 0;
	snprintf(p->options, sizeof(p->options), "%s;%s", own, super);
	snprintf(p->device, sizeof(p->device), "%s", source + 1);
}

static void find_mount(struct place *p)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	long long id = mount_id(p->dir);
	char *line = NULL;
	size_t n = 0;

	while (f && getline(&line, &n, f) > 0)
		if (strtoll(line, NULL, 10) == id)
			take_mount(line, p);
	free(line);
	if (f)
		fclose(f);
}

/* One line of a file in /sys; false if there is none. */
static bool read_line(const char *path, char *ret, size_t n)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(ret, (int)n, f);

	if (ok)
		ret[strcspn(ret, "\n")] = 0;
	if (f)
		fclose(f);
	return ok;
}

/* What stands behind a name in /dev. */
static void describe_device(struct place *p)
{
	const char *name = strrchr(p->device, '/');
	char path[512], line[400], device[100];

	if (!name || strncmp(p->device, "/dev/", 5) != 0)
		return;
	snprintf(device, sizeof(device), "%.99s", p->device);
	snprintf(path, sizeof(path), "/sys/class/block/%.99s/loop/backing_file", name + 1);
	if (read_line(path, line, sizeof(line))) {
		if (p->in_memory)
			snprintf(line, sizeof(line), "memory");
		else if (p->images[0])
			snprintf(line, sizeof(line), "%.399s", p->images);
		snprintf(p->device, sizeof(p->device), "loop device, image in %s", line);
		return;
	}
	snprintf(path, sizeof(path), "/sys/class/block/%.99s/queue/rotational", name + 1);
	if (!read_line(path, line, sizeof(line))) {
		snprintf(path, sizeof(path), "/sys/class/block/%.99s/../queue/rotational", name + 1);
		if (!read_line(path, line, sizeof(line)))
			return;
	}
	snprintf(p->device, sizeof(p->device), "%s (%s)", device,
		 line[0] == '1' ? "rotating" : "solid state or virtual");
}

/* ---- what the library can do ---- */

const char *place_lacks_source(const struct place *p, uint32_t source)
{
	for (uint32_t i = 0; i < p->probe.nsources; i++)
		if (p->probe.sources[i].id == source)
			return p->probe.sources[i].error ? p->probe.sources[i].reason : NULL;
	return "this version of the library does not have it";
}

const char *place_lacks_strategy(const struct place *p, uint32_t strategy)
{
	for (uint32_t i = 0; i < p->probe.nstrategies; i++)
		if (p->probe.strategies[i].id == strategy)
			return p->probe.strategies[i].error ? p->probe.strategies[i].reason : NULL;
	return "this version of the library does not have it";
}

static bool is_layer(const struct place *p)
{
	return !strncmp(p->type, "overlay", 7) || !strncmp(p->type, "fuse", 4);
}

bool place_has_reflink(const struct place *p)
{
	return !is_layer(p) && !place_lacks_source(p, SNAPMAP_SOURCE_REFLINK);
}

bool place_has_lease(const struct place *p)
{
	return !is_layer(p) && !place_lacks_source(p, SNAPMAP_SOURCE_LEASE);
}

bool place_has_exchange(const struct place *p)
{
	return !place_lacks_strategy(p, SNAPMAP_STRATEGY_EXCHANGE);
}

bool place_has_copy_only(const struct place *p)
{
	return place_lacks_source(p, SNAPMAP_SOURCE_REFLINK) && strncmp(p->type, "fuse", 4) != 0;
}

static void append(char *text, size_t n, const char *separator, const char *word)
{
	size_t used = strlen(text);

	snprintf(text + used, n - used, "%s%s", used && text[used - 2] != ';' ? separator : "", word);
}

static void list_features(struct place *p)
{
	for (uint32_t i = 0; i < p->probe.nsources; i++)
		if (!p->probe.sources[i].error)
			append(p->features, sizeof(p->features), ", ", snapmap_source_name(p->probe.sources[i].id));
	append(p->features, sizeof(p->features), "", "; ");
	for (uint32_t i = 0; i < p->probe.nstrategies; i++)
		if (!p->probe.strategies[i].error)
			append(p->features, sizeof(p->features), ", ",
			       snapmap_strategy_name(p->probe.strategies[i].id));
}

/* ---- room ---- */

uint64_t place_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return (uint64_t)kib * KIB;
}

uint64_t place_room_of(const char *dir)
{
	struct statvfs st;

	return statvfs(dir, &st) ? 0 : (uint64_t)st.f_bavail * st.f_frsize;
}

/* Memory that runs out ends processes, and images that cannot grow lose data; so a part is left alone. */
uint64_t place_room(const struct place *p)
{
	uint64_t room = place_room_of(p->dir), limit = UINT64_MAX;

	if (p->in_memory)
		limit = place_memory() / 2;
	else if (p->images[0])
		limit = place_room_of(p->images) / 4 * 3;
	return room < limit ? room : limit;
}

/* ---- opening and closing ---- */

static int make_own_directory(const char *dir, struct place *p, struct why *why)
{
	char path[PATH_MAX];

	if (!realpath(dir, path))
		return why_set(why, -errno, "cannot measure in '%s': %s", dir, strerror(errno));
	if ((size_t)snprintf(p->dir, sizeof(p->dir), "%s/snapmap-bench.XXXXXX", path) >= sizeof(p->dir) - 64)
		return why_set(why, -ENAMETOOLONG, "cannot measure in '%s': its name is too long", dir);
	if (!mkdtemp(p->dir))
		return why_set(why, -errno, "cannot measure in '%s': cannot make a directory there: %s", dir,
			       strerror(errno));
	return 0;
}

int place_begin(const char *dir, const char *name, enum below below, const char *images, struct place *ret,
		struct why *why)
{
	struct place place = {.in_memory = below == BELOW_MEMORY};
	int rc;

	snprintf(place.name, sizeof(place.name), "%s", name);
	if (below == BELOW_IMAGE)
		snprintf(place.images, sizeof(place.images), "%s", images);
	rc = make_own_directory(dir, &place, why);
	if (rc)
		return rc;
	rc = snapmap_probe(place.dir, &place.probe);
	if (rc) {
		rmdir(place.dir);
		return why_set(why, rc, "%s", snapmap_last_error());
	}
	snprintf(place.type, sizeof(place.type), "%s", place.probe.file_system);
	place.cached = !strcmp(place.type, "tmpfs") || !strcmp(place.type, "ramfs");
	place.in_memory = place.in_memory || place.cached;
	find_mount(&place);
	describe_device(&place);
	list_features(&place);
	rc = pool_open(place.dir, !place_lacks_source(&place, SNAPMAP_SOURCE_REFLINK), below != BELOW_UNKNOWN,
		       &place.pool);
	if (rc) {
		rmdir(place.dir);
		return why_set(why, rc, "cannot measure in '%s': no memory", dir);
	}
	*ret = place;
	return 0;
}

/* The own directory has files only; what a contender left when it was cut off is among them. */
void place_end(struct place *p)
{
	DIR *dir;
	struct dirent *entry;

	pool_close(p->pool);
	dir = opendir(p->dir);
	while (dir && (entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(p->dir);
	*p = (struct place){0};
}
