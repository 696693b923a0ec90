/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the operations of "snapmap fs" share. */
#ifndef SNAPMAP_CLI_FS_H
#define SNAPMAP_CLI_FS_H

#include <minifs.h>

#include "cli.h"

/* @arguments: @count of them, those behind the image. */
struct fs_job {
	struct minifs *fs;
	char **arguments;
	int count;
	bool quiet, long_format;
};

/* Each returns the exit status, after a message if that is not 0. Changes are the caller's to commit. */
int fs_ls(struct fs_job *job);
int fs_cat(struct fs_job *job);
int fs_stat(struct fs_job *job);
int fs_df(struct fs_job *job);
int fs_get(struct fs_job *job);
int fs_put(struct fs_job *job);
int fs_clone(struct fs_job *job);

/* After a call of minifs.h that failed: the exit status, and the sentence. */
int fs_failed(int rc);

#endif
