/* SPDX-License-Identifier: Apache-2.0
 *
 * The one module that resolves paths written by somebody else (image, client, archive, guest). Everything is relative
 * to a directory descriptor of the foreign tree; links and ".." cannot leave it. Nearly every container escape of the
 * last years is a root process resolving such a path by string. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/* Opens `path` as a process chrooted into root_fd would: absolute links and ".." stay inside. No magic links.
 * flags as open(2); O_CLOEXEC is added. Returns a descriptor or -errno. */
int cs_open_in_root(int root_fd, const char *path, int flags, unsigned mode);

/* Where `path` (absolute) leads inside root_fd, links replaced one by one: ".." and absolute contents stay inside, what does not exist is taken
 * literally. Only text: what is opened by it later goes through the functions here again, which stay inside whatever happened meanwhile. Caller
 * frees; NULL when there are too many links. */
char *cs_follow_in_root(int root_fd, const char *path);

/* Creates the missing directories of `path` inside root_fd (mode, owned by uid:gid as long as they are created here) and
 * opens the last one (O_PATH|O_DIRECTORY). Existing links are followed inside the root; a dangling link is an error. */
int cs_mkdir_in_root(int root_fd, const char *path, unsigned mode, uid_t uid, gid_t gid);

/* As above for a file: missing parents are made (0755 root), the file is created empty (0644) if missing, opened O_PATH. */
int cs_mkfile_in_root(int root_fd, const char *path);

/* Lexical clean-up as Go's path.Clean: no empty, "." or inner ".." parts. Result is never empty (""->"."). Caller frees. */
char *cs_path_clean(const char *path);
/* Joins with one slash. Caller frees. */
char *cs_path_join(const char *a, const char *b);
/* Is path the directory itself, or something in it? By the text: both are clean. */
bool cs_path_is_below(const char *path, const char *dir);
/* A single plain name: not empty, ".", "..", no '/'; at most 255 bytes. */
bool cs_is_plain_name(const char *s);
