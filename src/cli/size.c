/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers of bytes as people write them. */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

/* The factor that a suffix stands for, 0 if it is none. */
static uint64_t factor_of(const char *suffix)
{
	static const char letters[] = "KMGTPE";
	const char *letter = suffix[0] ? strchr(letters, suffix[0]) : NULL;
	uint64_t factor = 1, base;

	if (!suffix[0])
		return 1;
	if (!letter)
		return 0;
	if (!suffix[1] || !strcmp(suffix + 1, "iB"))
		base = 1024;
	else if (!strcmp(suffix + 1, "B"))
		base = 1000;
	else
		return 0;
	for (const char *p = letters; p <= letter; p++)
		factor *= base;
	return factor;
}

int size_parse(const char *text, uint64_t *ret)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hex ? text + 2 : text;
	uint64_t factor, offset;
	char *end;

	/* strtoull() would take blanks and signs, too. */
	if (!digits[0] || !strchr(hex ? "0123456789abcdefABCDEF" : "0123456789", digits[0]))
		return -EINVAL;
	errno = 0;
	offset = strtoull(digits, &end, hex ? 16 : 10);
	factor = factor_of(end);
	if (!factor)
		return -EINVAL;
	if (errno || offset > (uint64_t)INT64_MAX / factor)
		return -EOVERFLOW;
	*ret = offset * factor;
	return 0;
}
