/* SPDX-License-Identifier: Apache-2.0
 *
 * Log records as they stand in the files of json-file and local (docs/log-formats.md). Pure functions over memory. */
#pragma once

#include "base/macros.h"

struct cs_log_rec {
	const char *text;  /* of the message: escaped JSON when `escaped`, else plain */
	size_t text_len;
	bool escaped, newline; /* newline: one is to be added (local) */
	int stream;            /* 1 stdout, 2 stderr */
	const char *time;      /* json: RFC 3339 text */
	size_t time_len;
	int64_t ts;            /* local: ns; json: filled by cs_log_rec_time */
	const char *attrs;     /* json: raw object or NULL */
	size_t attrs_len;
	char *owned;           /* memory behind text, time and attrs of a record that came the slow way; free() it */
};
/* One line without its newline. Our own and Docker's lines take the quick way, any other valid JSON the slow one. false: malformed. */
CS_MUST_CHECK bool cs_log_parse_json(const char *line, size_t len, struct cs_log_rec *r);
/* A record of the local driver at p. Its length, 0 when more bytes are needed, -1 when malformed. */
ssize_t cs_log_parse_local(const char *p, size_t len, struct cs_log_rec *r);
/* Writes at most text_len (+1) bytes. Returns the number. */
size_t cs_log_rec_text(const struct cs_log_rec *r, char *out);
CS_MUST_CHECK bool cs_log_rec_time(struct cs_log_rec *r); /* fills ts */
