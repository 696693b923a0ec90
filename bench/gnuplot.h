/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running the program gnuplot. */
#ifndef SNAPMAP_BENCH_GNUPLOT_H
#define SNAPMAP_BENCH_GNUPLOT_H

#include <stddef.h>

#define GNUPLOT_COMPLAINT_SIZE 256

/**
 * gnuplot_run() - have gnuplot carry out a script
 * @script: its @n bytes
 * @n: number of them
 * @ret: gets what it wrote to standard output, to be freed, with one more byte 0 behind
 * @ret_n: gets the number of bytes without that one
 * @ret_complaint: gets, on failure, a sentence on what is wrong
 *
 * It is started without a shell and without start-up files, script and output are memory files, and
 * nothing is left behind.
 *
 * Return: 0, -ENOENT if gnuplot is not installed, -EIO if it failed, or another
 * negative errno.
 */
int gnuplot_run(const char *script, size_t n, char **ret, size_t *ret_n, char ret_complaint[GNUPLOT_COMPLAINT_SIZE]);

#endif
