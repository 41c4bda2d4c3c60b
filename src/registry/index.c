/* SPDX-License-Identifier: Apache-2.0
 *
 * What belongs to a registry and not to a repository: search (the v1 API of an index) and the check of credentials. */
#include "base/json.h"
#include "registry/internal.h"

#define HUB_INDEX "index.docker.io"
#define HUB_REGISTRY "registry-1.docker.io"
#define SEARCH_DEFAULT 25
#define SEARCH_MAX 100

/* ---- search ---- */

void cs_search_result_done(struct cs_search_result *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->hit[i].name);
		free(s->hit[i].description);
	}
	free(s->hit);
	free(s->query);
	*s = (struct cs_search_result){0};
}

/* "host/name" when the first part looks like a host, else the whole for the Hub. */
static void split_term(const char *term, char **host, char **rest)
{
	const char *slash = strchr(term, '/');
	size_t n = slash ? (size_t)(slash - term) : 0;
	bool named = slash && (memchr(term, '.', n) || memchr(term, ':', n) || (n == 9 && strncmp(term, "localhost", 9) == 0));
	const char *name = named ? slash + 1 : term;

	*host = named ? cs_xstrndup(term, n) : NULL;
	if (named && (strcmp(*host, "docker.io") == 0 || strcmp(*host, HUB_INDEX) == 0)) {
		free(*host);
		*host = NULL;
	}
	if (!*host && cs_prefix(name, "library/"))
		name = cs_prefix(name, "library/");
	*rest = cs_xstrdup(name);
}

static const char *text_member(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

static int take_results(const struct cs_rg_answer *a, struct cs_search_result *ret, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(a->body.buf ? a->body.buf : "", a->body.len, NULL);
	json_t *list = json_object_get(j, "results"), *item;
	struct cs_search_result s = {0};
	size_t i;

	if (!json_is_object(j) || (list && !json_is_array(list) && !json_is_null(list)))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "error decoding registry search results");
	s.query = cs_xstrdup(text_member(j, "query"));
	s.hit = cs_xcalloc(json_array_size(list), sizeof(*s.hit));
	json_array_foreach(list, i, item) {
		if (!json_is_object(item))
			continue;
		struct cs_search_hit *h = &s.hit[s.n++];
		h->name = cs_xstrdup(text_member(item, "name"));
		h->description = cs_xstrdup(text_member(item, "description"));
		h->stars = json_integer_value(json_object_get(item, "star_count"));
		h->official = json_is_true(json_object_get(item, "is_official"));
		h->automated = json_is_true(json_object_get(item, "is_automated"));
	}
	*ret = s;
	return 0;
}

static int search_at(struct cs_repo *r, struct cs_rg_endpoint *ep, const char *url, struct cs_search_result *ret, bool *answered, struct cs_err **err)
{
	char *const headers[] = {(char[]){"X-Docker-Token: true"}, NULL};
	struct cs_rg_request q = {.method = "GET", .url = url, .headers = headers, .size = -1, .cancel_fd = CS_RG_SESSION_FD};
	struct cs_rg_answer a = {0};
	int ok;

	*answered = false;
	if (cs_rg_fetch(r, ep, &q, CS_RG_BODY_MAX, &a, err) < 0)
		return -1;
	*answered = true;
	if (a.head.status == 200)
		ok = take_results(&a, ret, err);
	else
		ok = cs_fail(err, a.head.status == 401 ? CS_ERR_UNAUTHORIZED : CS_ERR_INTERNAL, 0, "Unexpected status code %d", a.head.status);
	cs_rg_answer_done(&a);
	return ok;
}

/* https, then http where that may be. */
static int search_host(struct cs_repo *r, const char *host, const char *query, struct cs_search_result *ret, struct cs_err **err)
{
	struct cs_rg_endpoint *ep = &r->endpoints.e[0];
	bool answered;
	struct cs_err *e = NULL;

	cs_autofree char *url = cs_xasprintf("%s/search?%s", ep->url, query);
	if (search_at(r, ep, url, ret, &answered, &e) == 0)
		return 0;
	if (answered || cs_err_code(e) == CS_ERR_CANCELLED)
		return cs_err_move(err, e);
	if (!ep->http_ok) {
		(void)cs_err_move(err, e);
		return cs_wrap(err, "invalid registry endpoint %s/: If this private registry supports only HTTP or HTTPS with an unknown CA certificate, please add `--insecure-registry %s` "
				    "to the daemon's arguments. In the case of HTTPS, if you have access to the registry's CA certificate, no need for the flag; simply place the CA "
				    "certificate at /etc/docker/certs.d/%s/ca.crt", ep->url, host, host);
	}
	struct cs_err *second = NULL;
	char *plain = cs_xasprintf("http%s", ep->url + strlen("https"));
	free(ep->url);
	ep->url = plain;
	cs_autofree char *again = cs_xasprintf("%s/search?%s", ep->url, query);
	int ok = search_at(r, ep, again, ret, &answered, &second);
	if (ok < 0 && (answered || cs_err_code(second) == CS_ERR_CANCELLED)) {
		(void)cs_err_move(err, second);
	} else if (ok < 0) {
		cs_autofree char *first = cs_err_text(e), *then = cs_err_text(second);
		(void)cs_fail(err, CS_ERR_INTERNAL, 0, "invalid registry endpoint \"%s/\". HTTPS attempt: %s. HTTP attempt: %s", plain, first, then);
		cs_err_free(second);
	}
	cs_err_free(e);
	return ok;
}

/* A host as a person wrote it. */
static int check_host(const char *host, struct cs_err **err)
{
	struct cs_rg_url u = {0};
	cs_autofree char *url = cs_xasprintf("https://%s", host);
	bool ok = cs_rg_url_parse(url, &u) && !u.user && strcmp(u.path, "/") == 0;

	cs_rg_url_done(&u);
	return ok ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid registry host %.300s", host);
}

int cs_registry_search(struct cs_registry *reg, const char *term, int64_t limit, const struct cs_registry_auth *auth, int cancel_fd,
		       struct cs_search_result *ret, struct cs_err **err)
{
	cs_autofree char *host = NULL, *rest = NULL;
	cs_autostr struct cs_str query = CS_STR_INIT(16u << 10);
	struct cs_repo r;
	int ok;

	if (limit == 0)
		limit = SEARCH_DEFAULT;
	if (limit < 1 || limit > SEARCH_MAX)
		return cs_fail(err, CS_ERR_INVALID, 0, "limit %lld is outside the range of [1, %d]", (long long)limit, SEARCH_MAX);
	if (strstr(term, "://"))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid repository name: repository name (%s) should not have a scheme", term);
	split_term(term, &host, &rest);
	cs_str_puts(&query, "q=");
	cs_rg_query_escape(&query, rest);
	cs_str_putf(&query, "&n=%lld", (long long)limit);
	if (query.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "search term is too long");
	const char *where = host ? host : HUB_INDEX;
	if (check_host(where, err) < 0 || cs_rg_session_init(&r, reg, auth, cancel_fd, err) < 0)
		return -1;
	r.endpoints.e = cs_xcalloc(1, sizeof(*r.endpoints.e));
	r.endpoints.e[0].tls.ca_fd = -EBADF;
	r.endpoints.n = 1;
	ok = cs_rg_endpoint_plain(reg, where, "/v1", &r.endpoints.e[0], err);
	if (ok == 0) {
		struct cs_rg_endpoint *ep = &r.endpoints.e[0];
		ep->origin = true;
		if (!cs_empty(r.auth.username) && cs_empty(r.auth.identity_token)) { /* the old API does not ask */
			ep->challenges.c[0] = (struct cs_rg_challenge){.scheme = cs_xstrdup("basic")};
			ep->challenges.n = 1;
		}
		ok = search_host(&r, where, query.buf, ret, err);
	}
	cs_rg_session_done(&r);
	return ok;
}

/* ---- login ---- */

/* The host of a server address: nothing (the Hub), a host, or a URL. */
static int login_host(const char *address, char **ret, struct cs_err **err)
{
	static const char *const hub[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};
	const char *sep, *name;

	if (cs_empty(address)) {
		*ret = cs_xstrdup("docker.io");
		return 0;
	}
	sep = strstr(address, "://");
	name = sep ? sep + 3 : address;
	cs_autofree char *host = cs_xstrndup(name, strcspn(name, "/"));
	if (check_host(host, err) < 0)
		return cs_wrap(err, "unable to parse server address");
	for (size_t i = 0; i < CS_ARRAY_SIZE(hub); i++)
		if (strcmp(host, hub[i]) == 0) {
			*ret = cs_xstrdup("docker.io");
			return 0;
		}
	*ret = TAKE_PTR(host);
	return 0;
}

static int login_at(struct cs_repo *r, struct cs_rg_endpoint *ep, char **ret_status, char **ret_token, struct cs_err **err)
{
	struct cs_rg_answer a = {0};
	int ok = 0;

	if (cs_rg_endpoint_ready(r, ep, CS_RG_SESSION_FD, err) < 0)
		return -1;
	cs_autofree char *url = cs_xasprintf("%s/", ep->url);
	struct cs_rg_request q = {.method = "GET", .url = url, .size = -1, .cancel_fd = CS_RG_SESSION_FD};
	if (cs_rg_fetch(r, ep, &q, CS_RG_ERROR_BODY, &a, err) < 0)
		return -1;
	if (a.head.status != 200)
		ok = cs_fail(err, CS_ERR_INTERNAL, 0, "login attempt to %s failed with status: %s", url,
			     a.head.status_text ? a.head.status_text : "");
	cs_rg_answer_done(&a);
	if (ok < 0)
		return -1;
	*ret_status = cs_xstrdup("Login Succeeded");
	*ret_token = cs_xstrdup(r->offline_token ? r->offline_token : "");
	return 0;
}

int cs_registry_login(struct cs_registry *reg, const struct cs_registry_auth *auth, int cancel_fd, char **ret_status, char **ret_token, struct cs_err **err)
{
	cs_autofree char *host = NULL;
	struct cs_repo r;
	int ok = -1;

	if (login_host(auth->server_address, &host, err) < 0 || cs_rg_session_init(&r, reg, auth, cancel_fd, err) < 0)
		return -1;
	r.offline = true;
	if (cs_rg_endpoints(reg, host, true, &r.endpoints, err) == 0) {
		for (size_t i = 0; i < r.endpoints.n; i++) /* of those that may be pushed to, only the registry itself is for these credentials */
			if (r.endpoints.e[i].origin) {
				ok = login_at(&r, &r.endpoints.e[i], ret_status, ret_token, err);
				break;
			}
		if (ok < 0)
			(void)cs_fail(err, CS_ERR_INVALID, 0, "no endpoint of %s takes credentials", host);
	}
	cs_rg_session_done(&r);
	return ok;
}
