/* SPDX-License-Identifier: Apache-2.0
 *
 * Which name a copy gets where: the part of cp that can be tested without an engine. */
#pragma once

#include "base/error.h"
#include "cli/copy_tree.h"

struct copy_request {
	const char *container, *src, *dst; /* src or dst is the container's; the local one is absolute, or "-" */
	bool archive, follow, quiet;
};

struct copy_ends {
	const char *src, *src_name; /* src_name: instead of the source's own last part, or NULL */
	bool src_is_dir;
	const char *dst;
	bool dst_exists, dst_is_dir;
};
/* Into which directory the archive goes, and how its entries are renamed (names.from NULL: not at all). *dir, *from, *to: caller frees; names borrows
 * the latter two. */
CS_MUST_CHECK int copy_arrange(const struct copy_ends *e, char **dir, struct rebase *names, char **from, char **to, struct cs_err **err);
/* Directory and last part; "dir/." is "dir" and ".". Caller frees both. */
void path_split(const char *path, char **dir, char **base);
