/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of one container's log as one sequence of records: oldest rotated file (plain or .gz) to the current one, and on into
 * new ones while it is being rotated. One thread at a time. */
#pragma once

#include "base/error.h"
#include "engine/log_parse.h"

struct cs_log_files;
/* path: the current file; a missing one is an empty log. tail: -1 all, n: the last n records. */
CS_MUST_CHECK int cs_log_files_open(const char *path, bool json, int64_t tail, bool follow, struct cs_log_files **ret, struct cs_err **err);
void cs_log_files_free(struct cs_log_files *f); /* accepts NULL */
/* 1: a record, valid until the next call; 0: the end for now; -errno. */
int cs_log_files_next(struct cs_log_files *f, struct cs_log_rec *r);
