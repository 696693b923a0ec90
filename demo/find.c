/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds files by name and prints them. The file system is an argument of the program:
 * there is no call that opens, reads or lists anything.
 *
 *	demo/find DIR NAME
 *
 * prints, for each file of that name below DIR (an absolute path), its path and what is in it.
 */
#include <snapmap/main.h>
#include <stdio.h>
#include <string.h>

static void print_path(const struct snapmap_file *file)
{
	if (file->parent)
		print_path(file->parent);
	/* The root may be "/" itself. */
	printf("%s%s", file->parent && strcmp(file->parent->name, "/") != 0 ? "/" : "", file->name);
}

static int find(const struct snapmap_file *file, const char *name)
{
	int found = 0;

	if (!strcmp(file->name, name)) {
		print_path(file);
		printf("\n%.*s", (int)file->size, file->contents ? (const char *)file->contents : "");
		found = 1;
	}
	if (file->dir)
		for (size_t i = 0; i < file->dir->nfiles; i++)
			found += find(&file->dir->files[i], name);
	return found;
}

int snapmap_main(int argc, char **argv, const struct snapmap_file *root)
{
	const struct snapmap_file *dir = argc == 3 ? snapmap_file_lookup(root, argv[1]) : NULL;

	if (!dir) {
		fprintf(stderr, argc == 3 ? "%s: there is no '%s'\n" : "Usage: %s DIR NAME\n", argv[0], argv[1]);
		return 2;
	}
	return find(dir, argv[2]) ? 0 : 1;
}
