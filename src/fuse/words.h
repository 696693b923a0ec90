/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line of a program that mounts: WHAT DIRECTORY [-o OPTION,...], as mount(8)
 * calls its helpers.
 */
#ifndef SNAPMAP_WORDS_H
#define SNAPMAP_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum {
	WORDS_FAILED = 1,
	WORDS_GO_ON = -1,
	WORDS_NOT_OURS = -2,
};

/**
 * struct words_own - what is the program's own
 * @name: its name
 * @what: what it mounts, for messages
 * @usage: the text of --help
 * @take: one option of -o: WORDS_GO_ON, WORDS_NOT_OURS, or an exit status after a message
 */
struct words_own {
	const char *name, *what, *usage;
	int (*take)(const char *option, void *arg);
};

/**
 * struct words - what the command line says
 * @source, @directory: what is mounted, and where
 * @kernel: options for libfuse and the kernel, with commas
 */
struct words {
	const char *source, *directory;
	char kernel[1024];
	bool foreground, read_only;
};

/* One argument for libfuse; a comma in the name of what is mounted has to be escaped. False: too long. */
bool words_kernel_options(const struct words *w, const char *name, const char *subtype, char *ret, size_t size);
/* WORDS_GO_ON, else the exit status. @arg is for own->take(). */
int words_read(int argc, char **argv, const struct words_own *own, void *arg, struct words *ret);

#endif
