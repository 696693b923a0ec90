/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a report to a file: all of it, or nothing. */
#ifndef SNAPMAP_BENCH_REPORT_FILE_H
#define SNAPMAP_BENCH_REPORT_FILE_H

#include <stddef.h>

/**
 * report_file_write() - make a file these bytes
 * @path: a name that is free, or a regular file, which is overwritten
 * @bytes: content, at least one byte
 * @n: number of them
 *
 * Whoever reads the file meanwhile, also after a crash, has the old content or the new one.
 *
 * Return: 0, or a negative errno; the file is then as it was.
 */
int report_file_write(const char *path, const char *bytes, size_t n);

/* Notes why something failed, for report_last_error(). */
void report_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * report_last_error() - what went wrong
 *
 * Return: a sentence on the last failure of a function of reports in this thread,
 * or "" if there was none.
 */
const char *report_last_error(void);

#endif
