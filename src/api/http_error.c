/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place where an error becomes an HTTP status and Docker's {"message": "…"}, and where request bodies are checked. */
#include "api/request.h"

#include "base/log.h"

/* Not in any RFC: nginx's "client closed request", which nobody is left to read. */
#define STATUS_CANCELLED 499

int cs_error_response(const struct cs_err *e, struct cs_response *rs)
{
	cs_autofree char *text = cs_err_text(e);
	int status = cs_code_http(cs_err_code(e));

	if (status < 300 || status == STATUS_CANCELLED)
		status = 500;
	rs->status = status;
	rs->content_type = NULL;
	cs_str_clear(&rs->body);
	if (status != 304) {
		cs_str_putc(&rs->body, '{');
		cs_json_put_kstr(&rs->body, "message", text);
		cs_str_puts(&rs->body, "}\n");
	}
	return status;
}

int cs_request_check_json(struct cs_request *rq, struct cs_err **err)
{
	const char *ct = rq->content_type;
	size_t n;

	if (cs_empty(ct)) {
		if (rq->body.len == 0)
			return 0;
		return cs_fail(err, CS_ERR_INVALID, 0, "malformed Content-Type header (): mime: no media type");
	}
	n = strcspn(ct, "; \t");
	if (n == 16 && !strncasecmp(ct, "application/json", n))
		return 0;
	return cs_fail(err, CS_ERR_INVALID, 0, "unsupported Content-Type header (%s): must be 'application/json'", ct);
}

static bool only_blanks(const struct cs_str *s)
{
	for (size_t i = 0; i < s->len; i++)
		if (!strchr(" \t\r\n", s->buf[i]))
			return false;
	return true;
}

int cs_request_json(struct cs_request *rq, const struct cs_jtype *t, void *obj, bool required, struct cs_err **err)
{
	cs_autojson json_t *j = NULL;

	if (cs_request_check_json(rq, err) < 0)
		return -1;
	if (rq->body.len == 0 && !required)
		return 0;
	if (only_blanks(&rq->body))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: got EOF while reading request body");
	j = cs_json_parse(rq->body.buf, rq->body.len, err);
	if (json_is_null(j)) /* nothing is filled in, as in Go: who needs something says what is missing */
		return 0;
	return j ? cs_json_decode(t, j, obj, "", err) : -1;
}
