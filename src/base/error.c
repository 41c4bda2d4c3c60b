/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>

#include "base/str.h"

static int vfail(struct cs_err **err, enum cs_code code, int sys, struct cs_err *cause, const char *fmt, va_list ap)
{
	struct cs_err *e = cs_xcalloc(1, sizeof(*e));
	struct cs_str s = CS_STR_INIT(16384);

	e->code = code;
	e->sys = sys;
	e->cause = cause;
	cs_str_vputf(&s, fmt, ap);
	e->msg = cs_str_steal(&s);
	if (!e->msg)
		e->msg = cs_xstrdup("(message too long)");
	*err = e;
	return -1;
}

#undef cs_fail /* the analyzer's, and the next two */
#undef cs_wrap
#undef cs_err_move
int cs_fail(struct cs_err **err, enum cs_code code, int sys, const char *fmt, ...)
{
	va_list ap;

	if (!err || *err)
		return -1;
	va_start(ap, fmt);
	vfail(err, code, sys, NULL, fmt, ap);
	va_end(ap);
	return -1;
}

int cs_wrap(struct cs_err **err, const char *fmt, ...)
{
	va_list ap;

	if (!err || !*err)
		return -1;
	struct cs_err *cause = *err;
	va_start(ap, fmt);
	vfail(err, cause->code, cause->sys, cause, fmt, ap);
	va_end(ap);
	return -1;
}

void cs_err_free(struct cs_err *err)
{
	while (err) {
		struct cs_err *cause = err->cause;
		free(err->msg);
		free(err);
		err = cause;
	}
}

int cs_err_move(struct cs_err **to, struct cs_err *from)
{
	if (to && !*to)
		*to = from;
	else
		cs_err_free(from);
	return -1;
}

enum cs_code cs_err_code(const struct cs_err *err) { return err ? err->code : CS_ERR_NONE; }

static const struct {
	const char *name;
	int http, exit;
} codes[CS_ERR_MAX] = {
	[CS_ERR_NONE] = {"NONE", 200, 0},
#define X(n, h, x) [CS_ERR_##n] = {#n, h, x},
	CS_ERR_CODES(X)
#undef X
};

static unsigned checked(enum cs_code code) { return (unsigned)code < CS_ERR_MAX ? (unsigned)code : CS_ERR_INTERNAL; }
int cs_code_http(enum cs_code code) { return codes[checked(code)].http; }
int cs_code_exit(enum cs_code code) { return codes[checked(code)].exit; }
const char *cs_code_name(enum cs_code code) { return codes[checked(code)].name; }

char *cs_err_text(const struct cs_err *err)
{
	struct cs_str s = CS_STR_INIT(65536);

	for (const struct cs_err *e = err; e; e = e->cause) {
		if (e != err)
			cs_str_puts(&s, ": ");
		cs_str_puts(&s, e->msg);
		if (!e->cause && e->sys)
			cs_str_putf(&s, ": %s", cs_errno_text(e->sys));
	}
	char *text = cs_str_steal(&s);
	return text ? text : cs_xstrdup("(error text too long)");
}

const char *cs_errno_text(int errnum)
{
#ifdef __GLIBC__
	const char *d = strerrordesc_np(errnum);
	return d ? d : "unknown error";
#else
	return (strerror)(errnum); /* musl's is static and thread-safe */
#endif
}
