/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs that serve a file system in the background. */
#ifndef SNAPMAP_DAEMON_H
#define SNAPMAP_DAEMON_H

#include <stdbool.h>

/* Goes on in a child; the parent waits there for daemon_ready(), and ends. 0 or a negative errno. */
int daemon_begin(void);
/* The parent ends with success, and nothing goes to the terminal any more. False: the parent was interrupted. */
bool daemon_ready(void);
/* For what goes wrong later: a line to standard error, or to the system's log. */
void daemon_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
