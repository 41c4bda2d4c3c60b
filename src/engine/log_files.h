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
/* Where in the newest file the next record begins. False while older ones, or what was there at the opening, are still to be read. */
struct cs_log_pos {
	uint64_t dev, ino;
	int64_t offset;
};
bool cs_log_files_position(struct cs_log_files *f, struct cs_log_pos *ret);
/* While set, the sequence ends with the files that were opened: who takes over has the later ones. */
void cs_log_files_hold(struct cs_log_files *f, bool hold);
/* Ends the sequence there (NULL: nowhere), whatever comes behind. If that file is not there any more: with the last record not younger than `at`. */
void cs_log_files_limit(struct cs_log_files *f, const struct cs_log_pos *end, int64_t at);
void cs_log_files_free(struct cs_log_files *f); /* accepts NULL */
/* 1: a record, valid until the next call; 0: the end for now; -errno. */
int cs_log_files_next(struct cs_log_files *f, struct cs_log_rec *r);
