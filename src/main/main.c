/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libsnapmap-main: main() of a program that has a snapmap_main(). */
#include <snapmap.h>
#include <snapmap/main.h>
#include <stdio.h>
#include <stdlib.h>

#define CANNOT_BEGIN 127

int main(int argc, char **argv)
{
	struct snapmap_options options = {.size = sizeof(options)};
	const char *root = getenv("SNAPMAP_ROOT");
	struct snapmap_tree *tree;
	int status;

	if (!root || !*root) {
		root = "/";
		options.flags = SNAPMAP_CROSS_MOUNTS;
	}
	if (snapmap_tree_open(root, &options, &tree)) {
		fprintf(stderr, "%s: %s\n", argc ? argv[0] : "snapmap-main", snapmap_last_error());
		return CANNOT_BEGIN;
	}
	status = snapmap_main(argc, argv, snapmap_tree_root(tree));
	snapmap_tree_close(tree);
	return status;
}
