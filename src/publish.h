/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving a finished file its name. */
#ifndef SNAPMAP_PUBLISH_H
#define SNAPMAP_PUBLISH_H

#include <stdbool.h>
#include <sys/types.h>

#include "place.h"

#define SLOT_SIZE sizeof(".snapmap-0123456789abcdef.0")

/**
 * struct publication - a file on its way to a name
 * @place: where it goes
 * @fd: the file: nameless, or linked as @slot
 * @slot: its temporary name while @linked
 * @exposed: it had a temporary name, by which others may have opened it
 * @replaced: it had the final name for a moment
 */
struct publication {
	const struct place *place;
	int fd;
	bool linked;
	bool exposed;
	bool replaced;
	char slot[SLOT_SIZE];
};

/* The check, made as late as possible: 0, or an errno that stops the publication. */
typedef int publish_check(void *arg);

/* For file systems without nameless files: makes one with a temporary name. Quiet. */
int publish_create(const struct place *place, mode_t mode, struct publication *ret);
/*
 * What has just been replaced, and @ours, the file that is to stay in its place:
 * whether that is what the check agreed to.
 */
typedef bool publish_look(void *arg, const struct stat *theirs, const struct stat *ours);

/*
 * Replaces whatever has the name, if the check agrees. With @look, which is to be
 * left out where renaming copies, -EBUSY if it turns out to have been something
 * else, which has its name again then. Quiet.
 */
int publish_over(struct publication *publication, publish_check *check, publish_look *look, void *arg);
/* -EEXIST if the name exists. Quiet. */
int publish_new(struct publication *publication);
/* Takes the temporary name away, if there still is one. Keeps the descriptor. */
void publish_abandon(struct publication *publication);
/*
 * Makes names in the directory durable: opened before they are made, so that no
 * limit can get in between; @file is any file there. Quiet.
 */
int publish_open_directory(const struct place *place, int *ret_fd);
int publish_flush(int directory, int file);
/* Removes what a commit to this name that was killed has left. */
void publish_clean_up(const struct place *place);

#endif
