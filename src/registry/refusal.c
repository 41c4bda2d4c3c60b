/* SPDX-License-Identifier: Apache-2.0
 *
 * Error answers of registries and token servers as Docker's client words them. No state. */
#include "base/json.h"
#include "registry/internal.h"

#define MESSAGE_MAX 1000

static const struct code {
	const char *name;
	enum cs_rg_why why;
	const char *message; /* when the registry gives none */
} codes[] = {
	{"UNAUTHORIZED", CS_RG_WHY_UNAUTHORIZED, "authentication required"},
	{"DENIED", CS_RG_WHY_DENIED, "requested access to the resource is denied"},
	{"TOOMANYREQUESTS", CS_RG_WHY_TOO_MANY, "too many requests"},
	{"MANIFEST_UNKNOWN", CS_RG_WHY_MANIFEST_UNKNOWN, "manifest unknown"},
	{"NAME_UNKNOWN", CS_RG_WHY_NAME_UNKNOWN, "repository name not known to registry"},
	{"BLOB_UNKNOWN", CS_RG_WHY_BLOB_UNKNOWN, "blob unknown to registry"},
	{"UNSUPPORTED", CS_RG_WHY_UNSUPPORTED, "The operation is unsupported."},
	{"UNAVAILABLE", CS_RG_WHY_OTHER, "service unavailable"},
	{"DIGEST_INVALID", CS_RG_WHY_OTHER, "provided digest did not match uploaded content"},
	{"SIZE_INVALID", CS_RG_WHY_OTHER, "provided length did not match content length"},
	{"NAME_INVALID", CS_RG_WHY_OTHER, "invalid repository name"},
	{"TAG_INVALID", CS_RG_WHY_OTHER, "manifest tag did not match URI"},
	{"MANIFEST_INVALID", CS_RG_WHY_OTHER, "manifest invalid"},
	{"MANIFEST_UNVERIFIED", CS_RG_WHY_OTHER, "manifest failed signature verification"},
	{"MANIFEST_BLOB_UNKNOWN", CS_RG_WHY_OTHER, "blob unknown to registry"},
	{"BLOB_UPLOAD_UNKNOWN", CS_RG_WHY_OTHER, "blob upload unknown to registry"},
	{"BLOB_UPLOAD_INVALID", CS_RG_WHY_OTHER, "blob upload invalid"},
	{"UNKNOWN", CS_RG_WHY_OTHER, "unknown error"},
};

static const struct code *find_code(const char *name)
{
	for (size_t i = 0; name && i < CS_ARRAY_SIZE(codes); i++)
		if (strcmp(codes[i].name, name) == 0)
			return &codes[i];
	return &codes[CS_ARRAY_SIZE(codes) - 1];
}

/* "manifest unknown: text"; what a hostile registry writes stays on one line and has an end. */
static char *sentence(const struct code *c, const char *message)
{
	cs_autofree char *text = cs_xstrndup(cs_empty(message) ? c->message : message, MESSAGE_MAX);
	cs_autofree char *name = cs_xstrdup(c->name);

	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	for (char *p = name; *p; p++)
		*p = *p == '_' ? ' ' : (char)(*p - 'A' + 'a');
	return cs_xasprintf("%s: %s", name, text);
}

static char *of_code(const char *name, const char *message, enum cs_rg_why *why)
{
	const struct code *c = find_code(name);

	*why = c->why;
	return sentence(c, message);
}

/* {"errors":[{"code","message"}]}: the first decides, the others are told too. */
static char *of_errors(json_t *errors, enum cs_rg_why *why)
{
	struct cs_str all = CS_STR_INIT(8 * MESSAGE_MAX);
	size_t n = json_array_size(errors);

	if (n > 1)
		cs_str_puts(&all, "errors:\n");
	for (size_t i = 0; i < n && i < 5; i++) {
		json_t *e = json_array_get(errors, i);
		enum cs_rg_why own;
		cs_autofree char *text = of_code(json_string_value(json_object_get(e, "code")), json_string_value(json_object_get(e, "message")), &own);
		if (i == 0)
			*why = own;
		cs_str_puts(&all, text);
		if (n > 1)
			cs_str_putc(&all, '\n');
	}
	return cs_str_steal(&all);
}

static char *of_details(int status, const char *details, enum cs_rg_why *why)
{
	return of_code(status == 401 ? "UNAUTHORIZED" : status == 429 ? "TOOMANYREQUESTS" : "UNKNOWN", details, why);
}

static char *unparsed(int status, const char *why, const char *body, size_t len)
{
	cs_autostr struct cs_str quoted = CS_STR_INIT(8 * MESSAGE_MAX);

	cs_json_put_stringn(&quoted, body, CS_MIN(len, (size_t)MESSAGE_MAX));
	return cs_xasprintf("error parsing HTTP %d response body: %s: %s", status, why, quoted.buf ? quoted.buf : "\"\"");
}

static char *of_body(int status, const char *body, size_t len, enum cs_rg_why *why)
{
	cs_autojson json_t *j = len > 0 ? cs_json_parse(body, len, NULL) : NULL;
	const char *details = json_string_value(json_object_get(j, "details"));
	json_t *errors = json_object_get(j, "errors");
	size_t blanks = strspn(body, " \t\r\n");

	if (!cs_empty(details))
		return of_details(status, details, why);
	if (json_array_size(errors) > 0)
		return of_errors(errors, why);
	*why = CS_RG_WHY_OTHER;
	if (status == 401)
		return of_code("UNAUTHORIZED", NULL, why);
	if (j)
		return unparsed(status, "no error details found in HTTP response body", body, len);
	if (blanks >= len)
		return unparsed(status, "unexpected end of JSON input", body, len);
	cs_autofree char *at = body[blanks] == '{' || body[blanks] == '[' ? cs_xstrdup("malformed JSON")
									   : cs_xasprintf("invalid character '%c' looking for beginning of value", body[blanks]);
	return unparsed(status, at, body, len);
}

char *cs_rg_refusal(const struct cs_rg_response *r, const char *body, size_t len, enum cs_rg_why *why)
{
	const struct cs_rg_challenge *bearer = cs_rg_challenge_find(&r->challenges, "bearer");

	*why = CS_RG_WHY_OTHER;
	if (r->status < 400 || r->status >= 500) {
		cs_autofree char *text = cs_xstrndup(r->status_text ? r->status_text : "", 100);
		return cs_xasprintf("received unexpected HTTP status: %s", text);
	}
	if (bearer && cs_streq(bearer->error, "invalid_token"))
		return of_code("UNAUTHORIZED", NULL, why);
	if (bearer && cs_streq(bearer->error, "insufficient_scope"))
		return of_code("DENIED", NULL, why);
	return of_body(r->status, body ? body : "", len, why);
}
