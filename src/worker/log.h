/* SPDX-License-Identifier: Apache-2.0
 *
 * The container's log file: line assembly, encoding (log_json.c, log_local.c), batched writing, rotation, compression.
 * The formats stand in docs/log-formats.md. Knows nothing of the rest of the worker; one thread. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

#define CS_LOG_PIECE 16384 /* a longer line is stored in pieces of this size */

enum cs_log_driver { CS_LOG_NONE, CS_LOG_JSON, CS_LOG_LOCAL };

struct cs_log_line { /* an incomplete line of one stream */
	uint8_t *pend;
	size_t len, cap;
	int64_t first_ts; /* of the first piece, if pieces were written; all pieces carry it */
	bool partial;     /* pieces have been written, the end has not */
};
struct cs_log_opts {
	enum cs_log_driver driver;
	const char *path; /* borrowed during cs_log_open */
	uint64_t max_size; /* 0 = never rotate */
	unsigned max_file;
	bool compress;
	const char *attrs; /* JSON object or "" */
};
struct cs_log_file { /* one file, as long as somebody follows it: rotated or even removed, it stays readable until the last has left it */
	unsigned refs;
	int fd;
	bool full;                /* nothing more is written to it; next is the file after it */
	uint64_t before;          /* bytes in the files before it, since the first follower */
	struct cs_log_file *next; /* owned reference */
};
struct cs_log {
	enum cs_log_driver driver;
	int dirfd, fd;
	char *name; /* in dirfd */
	uint64_t max_size, size; /* size: bytes in the file, without what is buffered */
	unsigned max_file;
	bool compress, failing, rotate_failed;
	uint8_t *buf;
	size_t len, cap;
	char *mid[2]; /* json: from the end of the text to the time, per stream */
	size_t mid_len;
	struct cs_log_line line[2];
	uint64_t lost; /* bytes dropped since writing began to fail */
	int64_t warned_at; /* monotonic */
	bool told;         /* the failure was reported, so its end will be */
	struct cs_log_file *current; /* of fd, while somebody follows; owned reference */
	pid_t gz_pid;  /* running compressor, or 0 */
	unsigned gz_index; /* which rotated file it works on */
	void (*warn)(void *ctx, const char *text);
	void *ctx;
};

CS_MUST_CHECK int cs_log_open(struct cs_log *l, const struct cs_log_opts *o, struct cs_err **err);
/* Bytes of stream 0 (stdout) or 1 (stderr), read at `now` (wall ns). */
void cs_log_feed(struct cs_log *l, int stream, const uint8_t *data, size_t len, int64_t now);
void cs_log_eof(struct cs_log *l, int stream, int64_t now); /* writes the incomplete line */
void cs_log_flush(struct cs_log *l);
void cs_log_trim(struct cs_log *l); /* idle: give the buffer's memory back */
/* For a reader of what is being written: the current file, with a reference; NULL without a log or without descriptors. */
struct cs_log_file *cs_log_file_get(struct cs_log *l);
struct cs_log_file *cs_log_file_next(struct cs_log_file *f); /* gives f back; NULL at the end */
void cs_log_file_put(struct cs_log_file *f);
void cs_log_unfollowed(struct cs_log *l); /* a reference has gone: forgets the current file if it was the last */
/* Memory of the write buffer, while nothing is in it; *cap is its size. NULL: none to be had. */
uint8_t *cs_log_borrow(struct cs_log *l, size_t *cap);
CS_MUST_CHECK int cs_log_reopen(struct cs_log *l, struct cs_err **err);
/* A child was reaped; true if it was the compressor. */
bool cs_log_reaped(struct cs_log *l, pid_t pid, int status);
void cs_log_retire(struct cs_log *l); /* nothing more is written: only what readers need stays */
void cs_log_close(struct cs_log *l); /* flushes; ends the compressor */

/* Encoders. dst has room for CS_LOG_ROOM(n) + extra; return the end. */
#define CS_LOG_ROOM(n) ((n)*6 + 256)
uint8_t *cs_log_json_escape(uint8_t *dst, const uint8_t *src, size_t n);
uint8_t *cs_log_json_record(uint8_t *dst, const uint8_t *text, size_t n, bool newline, const char *mid, size_t mid_len, int64_t ts);
char *cs_log_json_mid(int stream, const char *attrs, size_t *ret_len);
uint8_t *cs_log_local_record(uint8_t *dst, const uint8_t *text, size_t n, int stream, bool more, int64_t ts);
/* Where the last whole record ends (crash in the middle of a write), given the file's size; or -errno. */
int64_t cs_log_json_good_end(int fd, int64_t size);
int64_t cs_log_local_good_end(int fd, int64_t size);

/* log_gzip.c: compresses in->out; used in the forked child. */
int cs_log_gzip(int in, int out);
/* log_rotate.c */
int cs_log_open_file(struct cs_log *l, bool truncate); /* 0 or -errno */
int cs_log_rotate(struct cs_log *l); /* 0 or -errno; l->fd is valid either way */
void cs_log_compress_next(struct cs_log *l);
