/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The story behind a negative errno, one per thread.
 *
 * A public call begins with error_begin(subject). Steps that give way to a next
 * one leave a note with error_tried(); the step that fails for good makes the
 * sentence: what could not be done, to which file, why, what to do, and what was
 * tried before.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base.h"
#include "sys.h"

#define SUBJECT_SIZE 512

static _Thread_local struct {
	char subject[SUBJECT_SIZE];
	char tried[400];
	char sentence[1600];
} story;

const char *snapmap_last_error(void)
{
	return story.sentence;
}

const char *error_text(int error)
{
	const char *text = strerrordesc_np(-error);

	return text ? text : "unknown error";
}

/* @subject: the file as the user calls it. The last sentence stays until the next failure. */
void error_begin(const char *subject)
{
	size_t n = strlen(subject);

	/* Of a very long path the end tells more. */
	if (n >= SUBJECT_SIZE)
		snprintf(story.subject, SUBJECT_SIZE, "...%s", subject + n - (SUBJECT_SIZE - 4));
	else
		memcpy(story.subject, subject, n + 1);
	story.tried[0] = 0;
}

static const char *usual_advice(int error)
{
	switch (-error) {
	case EMFILE:
		return "close descriptors or raise the limit on open files (ulimit -n, RLIMIT_NOFILE)";
	case ENFILE:
		return "the system is out of open files (fs.file-max)";
	case ENOMEM:
		return "the process is out of memory, of address space (ulimit -v) or of mappings (vm.max_map_count)";
	case ENOSPC:
		return "free some space on the file system, or name another directory with tmpdir";
	case EDQUOT:
		return "free some of the quota, or name another directory with tmpdir";
	case EIO:
		return "the storage failed, see the kernel's log";
	case EACCES:
		return "check the permissions of the file and of the directories that lead to it";
	case EROFS:
		return "the file system is mounted read-only";
	case ELOOP:
		return "it is a symbolic link that may not be followed, or a loop of them";
	case EFBIG:
		return "it is larger than the address space or the limit on file sizes (ulimit -f) allows";
	default:
		return NULL;
	}
}

/* Returns @error. @advice may be NULL: then the usual one for this errno, if there is one. */
int error_set(int error, const char *what, const char *advice)
{
	if (!advice)
		advice = usual_advice(error);
	snprintf(story.sentence, sizeof(story.sentence), "cannot %s '%s': %s%s%s%s%s%s", what, story.subject,
		 error_text(error), advice ? "; " : "", advice ? advice : "", story.tried[0] ? " (tried before: " : "",
		 story.tried, story.tried[0] ? ")" : "");
	return error;
}

/* @name gave way: @what, because of @error (0: @what says it all). */
void error_tried(const char *name, int error, const char *what)
{
	size_t n = strlen(story.tried);

	snprintf(story.tried + n, sizeof(story.tried) - n, "%s%s: %s%s%s", n ? "; " : "", name, what, error ? ": " : "",
		 error ? error_text(error) : "");
}

void error_copy_tried(char *buf, size_t size)
{
	size_t n = strlen(story.tried);

	if (n >= size)
		n = size - 1;
	memcpy(buf, story.tried, n);
	buf[n] = 0;
}

void close_fd(int *fd)
{
	sys_close(*fd);
	*fd = -1;
}

int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}
