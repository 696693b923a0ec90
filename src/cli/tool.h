/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the programs share that stand beside "snapmap": messages of one line. */
#ifndef SNAPMAP_TOOL_H
#define SNAPMAP_TOOL_H

/* How messages begin. */
extern const char *tool_name;

/* First of all. Files that are opened later are none of the standard ones, also where those were closed. */
void tool_start(const char *name);

/* One line to standard error; returns @status. */
int tool_say(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes out standard output; returns @status, or @failed after a message. */
int tool_output(int status, int failed);

#endif
