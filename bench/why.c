/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/why.h"

#include <stdarg.h>
#include <stdio.h>

int why_set(struct why *why, int rc, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why->text, sizeof(why->text), format, arguments);
	va_end(arguments);
	return rc;
}
