/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Included ahead of every library source by the compiler's -include. The library
 * is compiled with -fvisibility=hidden; what the public headers declare, and
 * only that, is visible. The export list src/libsnapmap.sym says the same once
 * more for the linker, and a test compares the two.
 */
#include "config.h"

#pragma GCC visibility push(default)
#include <minifs.h>
#include <minifs/ino.h>
#include <snapmap.h>
#pragma GCC visibility pop
