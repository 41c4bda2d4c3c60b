/* SPDX-License-Identifier: Apache-2.0
 * What registries, token servers and clients write: the first byte says which parser gets the rest. */
#include <stdlib.h>

#include "base/json.h"
#include "registry/internal.h"
#include "registry/toml.h"

static void challenge(const char *s)
{
	struct cs_rg_challenges c = {0};

	cs_rg_challenges_add(&c, s);
	cs_rg_challenges_add(&c, s);
	if (c.n > CS_RG_CHALLENGES)
		abort();
	cs_rg_challenges_done(&c);
}

static void headers(const char *s)
{
	cs_autofree char *link = cs_rg_link_next(s);
	struct cs_rg_range r;

	if (cs_rg_content_range(s, &r) && (r.first > r.last || (r.total >= 0 && r.last >= r.total)))
		abort();
	if (cs_rg_retry_after(s, 1000) < -1)
		abort();
	(void)cs_rg_digest_valid(s);
}

/* What a URL becomes is one that stays itself. */
static void url(const char *s)
{
	cs_autofree char *a = cs_rg_url_join("https://host.example:5000/v2/x", s);
	cs_autofree char *b = a ? cs_rg_url_join(a, a) : NULL;
	char *normal = NULL;

	if (a && (!b || strcmp(a, b) != 0 || strpbrk(a, " \r\n\t#")))
		abort();
	if (cs_registry_check_mirror(s, &normal, NULL) == 0)
		free(normal);
	(void)!cs_registry_check_insecure(s, NULL);
	(void)cs_rg_is_loopback(s);
}

static void toml(const char *s, size_t n)
{
	cs_autojson json_t *j = cs_rg_toml_parse(s, n, NULL);
	cs_autofree char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	if (j && !text)
		abort();
}

static void auth(const char *s, size_t n)
{
	cs_autoauth struct cs_registry_auth a = {0}, b = {0}, c = {0};

	(void)!cs_registry_auth_parse_header(s, &a, NULL);
	(void)!cs_registry_auth_parse_json(s, n, &b, NULL);
	(void)!cs_registry_auth_parse_config(s, "docker.io", &c, NULL);
}

static void refusal(const char *s, size_t n)
{
	static const int status[] = {401, 403, 404, 429, 400, 500};
	enum cs_rg_why why;

	for (size_t i = 0; i < CS_ARRAY_SIZE(status); i++) {
		struct cs_rg_response r = {.status = status[i]};
		cs_autofree char *text = cs_rg_refusal(&r, s, n, &why);
		if (!text || strlen(text) > 20000)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	cs_autofree char *s = cs_xmalloc(size);
	size_t n = size - 1;

	memcpy(s, data + 1, n);
	s[n] = 0;
	switch (data[0]) {
	case 'c':
		challenge(s);
		break;
	case 'h':
		headers(s);
		break;
	case 'u':
		url(s);
		break;
	case 't':
		toml(s, n);
		break;
	case 'a':
		auth(s, n);
		break;
	case 'r':
		refusal(s, n);
		break;
	}
	return 0;
}
