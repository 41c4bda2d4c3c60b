/* SPDX-License-Identifier: Apache-2.0
 *
 * One error object for the whole platform: a code (the only thing a program decides on), the errno behind it,
 * a sentence for a person, and the cause. Convention: `int f(..., struct cs_err **err)` returns 0 or -1 and writes
 * out-parameters only on success; `err` may be NULL when the caller does not care. Thin system wrappers in
 * base/sys.h return -errno instead. Nothing else. */
#pragma once

#include "base/macros.h"

struct cs_str;

/* name, HTTP status, exit status of `run` (125 engine, 126 cannot execute, 127 not found) */
#define CS_ERR_CODES(X)                                                                                                \
	X(INVALID, 400, 125)                                                                                           \
	X(UNAUTHORIZED, 401, 125)                                                                                      \
	X(DENIED, 403, 125)                                                                                            \
	X(NOT_FOUND, 404, 125)                                                                                         \
	X(CONFLICT, 409, 125)                                                                                          \
	X(NOT_MODIFIED, 304, 0)                                                                                        \
	X(UNSUPPORTED, 501, 125)                                                                                       \
	X(UNAVAILABLE, 503, 125)                                                                                       \
	X(EXEC_DENIED, 400, 126)                                                                                       \
	X(EXEC_NOT_FOUND, 400, 127)                                                                                    \
	X(NO_SPACE, 507, 125)                                                                                          \
	X(TIMEOUT, 504, 125)                                                                                           \
	X(CANCELLED, 499, 125)                                                                                         \
	X(INTERNAL, 500, 125)

enum cs_code {
	CS_ERR_NONE = 0,
#define X(name, http, exit) CS_ERR_##name,
	CS_ERR_CODES(X)
#undef X
	CS_ERR_MAX
};

struct cs_err {
	enum cs_code code;
	int sys;              /* errno behind it, or 0 */
	char *msg;            /* lower case, no full stop, names the object */
	struct cs_err *cause; /* owned */
};

/* Sets *err (if err is non-NULL and *err is NULL: the first error wins) and returns -1. */
int cs_fail(struct cs_err **err, enum cs_code code, int sys, const char *fmt, ...) CS_PRINTF(4, 5);
/* Puts context in front: the old error becomes the cause, code and errno are inherited. Returns -1. */
int cs_wrap(struct cs_err **err, const char *fmt, ...) CS_PRINTF(2, 3);

void cs_err_free(struct cs_err *err); /* accepts NULL */
static inline void cs_autoerr_done(struct cs_err **e) { cs_err_free(*e); }
#define cs_autoerr cs_auto(cs_autoerr_done) /* struct cs_err *, initialise to NULL */

/* Moves `from` to *to (when to is NULL, or already holds an error, `from` is freed). Returns -1. */
int cs_err_move(struct cs_err **to, struct cs_err *from);

#ifdef __clang_analyzer__ /* it sees one file at a time, and would follow paths on which these did not fail */
#define cs_fail(...) ((void)cs_fail(__VA_ARGS__), -1)
#define cs_wrap(...) ((void)cs_wrap(__VA_ARGS__), -1)
#define cs_err_move(...) ((void)cs_err_move(__VA_ARGS__), -1)
#endif

enum cs_code cs_err_code(const struct cs_err *err); /* CS_ERR_NONE for NULL */
int cs_code_http(enum cs_code code);
int cs_code_exit(enum cs_code code);
const char *cs_code_name(enum cs_code code); /* "NOT_FOUND" */
/* "a: b: c: No such file or directory"; errno text is appended when sys is set on the innermost error. Caller frees. */
char *cs_err_text(const struct cs_err *err);
/* Thread-safe errno text, static storage. */
const char *cs_errno_text(int errnum);
