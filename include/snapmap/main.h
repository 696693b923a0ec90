/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program that gets its file system as an argument: link it with -lsnapmap-main. */
#ifndef SNAPMAP_MAIN_H
#define SNAPMAP_MAIN_H

#include <snapmap/tree.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * snapmap_main() - to be written by the program, in place of main()
 * @argc, @argv: the arguments, as of main()
 * @root: the file system, as a structure in memory: see tree.h
 *
 * libsnapmap-main has a main() that opens the tree and calls this. The root is "/", with
 * all that is mounted (SNAPMAP_CROSS_MOUNTS), or the directory that the environment variable
 * SNAPMAP_ROOT names. Nothing is read before it is touched. If the tree cannot be
 * opened, one sentence goes to standard error and the exit status is 127.
 *
 * Return: the exit status of the program.
 */
int snapmap_main(int argc, char **argv, const struct snapmap_file *root);

#ifdef __cplusplus
}
#endif

#endif
