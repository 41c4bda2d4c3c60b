/* SPDX-License-Identifier: Apache-2.0
 *
 * State of one extraction. */
#pragma once

#include <uthash.h>

#include "storage/internal.h"

#define CS_EXTRACT_DIRS 8     /* open directories */
#define CS_EXTRACT_DEPTH 1024 /* levels of directories */

struct dirtime { /* times of directories are set last: each new child would change them */
	char *path;
	struct timespec times[2];
	UT_hash_handle hh;
};
struct cs_extract_dir {
	char *path; /* NULL: free */
	int fd;
	uint64_t used; /* when it was last wanted */
	bool plain_owner;
};
struct extract {
	struct cs_untar *tar;
	const struct cs_storage_limits *limits;
	int root_fd, file_fd; /* file_fd: the file that is being written, or -EBADF */
	unsigned umask;
	bool is_root, acl; /* acl: default ACLs may change modes at creation */
	bool made;         /* the current object is new */
	struct dirtime *times;
	size_t times_len; /* memory of all of them */
	struct cs_extract_dir dirs[CS_EXTRACT_DIRS], *parent; /* parent: of the current entry */
	uint64_t clock;
	int64_t size; /* of all files, with their holes */
};
