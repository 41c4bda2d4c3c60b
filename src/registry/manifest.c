/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests and tags of a repository. What came is what was asked for: by digest the bytes must have it, and by tag the digest of the header
 * must be theirs. */
#include "base/json.h"
#include "base/sha256.h"
#include "registry/internal.h"
#include "registry/reference.h"

#define TAGS_PAGES 1000
#define TAGS_MAX 200000
#define TAGS_PAGE_MAX (8u << 20)

void cs_remote_manifest_done(struct cs_remote_manifest *m)
{
	free(m->media_type);
	free(m->data);
	*m = (struct cs_remote_manifest){0};
}

static int check_ref(const char *ref, struct cs_err **err)
{
	if (cs_rg_digest_valid(ref) || cs_ref_tag_valid(ref))
		return 0;
	return cs_fail(err, CS_ERR_INVALID, 0, "invalid reference format: \"%.128s\" is neither a tag nor a digest", ref);
}

/* The name that people use: busybox:tag, host/x@sha256:… */
static char *familiar(const struct cs_repo *r, const char *ref)
{
	struct cs_ref name = {.domain = r->host, .path = r->path};
	cs_autofree char *base = cs_ref_familiar_name(&name);

	return ref ? cs_xasprintf("%s%c%s", base, cs_rg_digest_valid(ref) ? '@' : ':', ref) : TAKE_PTR(base);
}

/* The error of a pull, as dockerd words it. */
static int refuse_pull(const struct cs_repo *r, const char *ref, const struct cs_rg_answer *a, struct cs_err **err)
{
	enum cs_rg_why why;
	cs_autofree char *text = cs_rg_refusal(&a->head, a->body.buf, a->body.len, &why), *name = familiar(r, NULL), *full = familiar(r, ref);

	switch (why) {
	case CS_RG_WHY_DENIED:
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "pull access denied for %s, repository does not exist or may require 'docker login': %s", name, text);
	case CS_RG_WHY_MANIFEST_UNKNOWN:
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "manifest for %s not found: %s", full, text);
	case CS_RG_WHY_NAME_UNKNOWN:
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "repository %s not found: %s", name, text);
	default: /* also "unauthorized": dockerd answers 500 */
		return cs_fail(err, CS_ERR_INTERNAL, 0, "%s", text);
	}
}

static char *media_type(const struct cs_rg_response *h)
{
	const char *t = h->content_type ? h->content_type : "";
	char *s = cs_xstrndup(t, CS_MIN(strcspn(t, "; \t"), (size_t)255));

	for (char *p = s; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return s;
}

static int verify(const struct cs_repo *r, const char *ref, const struct cs_rg_answer *a, char digest[72], struct cs_err **err)
{
	const char *claimed = cs_rg_digest_valid(ref) ? ref : a->head.digest && cs_rg_digest_valid(a->head.digest) ? a->head.digest : NULL;
	char hex[65];

	cs_sha256_hex_of(a->body.buf ? a->body.buf : "", a->body.len, hex);
	(void)snprintf(digest, 72, "sha256:%s", hex);
	if (!claimed || strcmp(claimed, digest) == 0)
		return 0;
	cs_autofree char *name = familiar(r, ref);
	return cs_fail(err, CS_ERR_INTERNAL, 0, "manifest verification failed for digest %s: %s has %s", claimed, name, digest);
}

/* One endpoint. get: with the body. */
static int try_endpoint(struct cs_repo *r, struct cs_rg_endpoint *ep, const char *ref, bool get, struct cs_remote_manifest *ret, struct cs_err **err)
{
	char *const accept[] = {(char[]){"Accept: " CS_MT_DOCKER_MANIFEST}, (char[]){"Accept: " CS_MT_DOCKER_LIST}, (char[]){"Accept: " CS_MT_OCI_MANIFEST},
		(char[]){"Accept: " CS_MT_OCI_INDEX}, (char[]){"Accept: application/vnd.docker.distribution.manifest.v1+prettyjws"}, (char[]){"Accept: application/json"}, NULL};
	cs_autofree char *url = cs_rg_repo_url(r, ep, "manifests", ref);
	struct cs_rg_request q = {.method = get ? "GET" : "HEAD", .verb = cs_rg_digest_valid(ref) ? NULL : "HEAD", .url = url, .headers = accept, .size = -1,
				  .cancel_fd = CS_RG_SESSION_FD};
	struct cs_rg_answer a = {0};
	struct cs_remote_manifest m = {0};
	int ok;

	if (cs_rg_endpoint_ready(r, ep, CS_RG_SESSION_FD, err) < 0 || cs_rg_fetch(r, ep, &q, CS_MANIFEST_MAX, &a, err) < 0)
		return -1;
	if (!get && (a.head.status != 200 || !a.head.digest || !cs_rg_digest_valid(a.head.digest))) {
		/* as Docker: a registry that does not say, or not why not, is asked again in a way that has a body */
		cs_rg_answer_done(&a);
		ok = try_endpoint(r, ep, ref, true, ret, err);
		if (ok == 0) {
			free(ret->data);
			ret->data = NULL;
		}
		return ok;
	}
	ok = a.head.status == 200 ? 0 : refuse_pull(r, ref, &a, err);
	if (ok == 0 && get)
		ok = verify(r, ref, &a, m.digest, err);
	if (ok == 0) {
		m.media_type = media_type(&a.head);
		m.len = get ? a.body.len : a.head.content_length > 0 ? (size_t)a.head.content_length : 0;
		if (get)
			m.data = cs_str_steal(&a.body);
		else
			(void)snprintf(m.digest, sizeof(m.digest), "%s", a.head.digest);
		*ret = m;
	}
	cs_rg_answer_done(&a);
	return ok;
}

/* The endpoints in turn; of several refusals the last counts, which is the registry's own. */
static int over_endpoints(struct cs_repo *r, const char *ref, bool get, struct cs_remote_manifest *ret, struct cs_err **err)
{
	bool digest = cs_rg_digest_valid(ref);
	size_t start = cs_rg_walk_start(r);
	struct cs_err *last = NULL;
	struct cs_rg_endpoint *ep;

	if (check_ref(ref, err) < 0)
		return -1;
	for (size_t step = 0; (ep = cs_rg_walk(r, start, step)); step++) {
		if (!r->push && !(digest ? ep->can_pull : ep->can_resolve))
			continue;
		cs_err_free(TAKE_PTR(last));
		if (try_endpoint(r, ep, ref, get, ret, &last) == 0) {
			cs_rg_prefer(r, ep);
			return 0;
		}
		if (cs_err_code(last) == CS_ERR_CANCELLED)
			break;
	}
	if (!last)
		return cs_fail(err, CS_ERR_INVALID, 0, "no endpoint of %s may be used to %s", r->host, digest ? "pull" : "resolve");
	return cs_err_move(err, last);
}

int cs_repo_manifest_get(struct cs_repo *r, const char *ref, struct cs_remote_manifest *ret, struct cs_err **err)
{
	return over_endpoints(r, ref, true, ret, err);
}

int cs_repo_manifest_head(struct cs_repo *r, const char *ref, struct cs_remote_manifest *ret, struct cs_err **err)
{
	return over_endpoints(r, ref, false, ret, err);
}

/* An error of a push is told as it came. */
static int refuse_push(const struct cs_rg_answer *a, struct cs_err **err)
{
	enum cs_rg_why why;
	cs_autofree char *text = cs_rg_refusal(&a->head, a->body.buf, a->body.len, &why);

	return cs_fail(err, why == CS_RG_WHY_DENIED ? CS_ERR_DENIED : why == CS_RG_WHY_UNAUTHORIZED ? CS_ERR_UNAUTHORIZED : CS_ERR_INTERNAL, 0, "%s", text);
}

int cs_repo_manifest_put(struct cs_repo *r, const char *ref, const char *type, const void *data, size_t len, struct cs_err **err)
{
	struct cs_rg_endpoint *ep = cs_rg_walk(r, cs_rg_walk_start(r), 0);
	cs_autofree char *header = cs_xasprintf("Content-Type: %s", type), *url = cs_rg_repo_url(r, ep, "manifests", ref);
	char *const headers[] = {header, NULL};
	struct cs_rg_request q = {.method = "PUT", .url = url, .headers = headers, .data = data, .size = (int64_t)len, .cancel_fd = CS_RG_SESSION_FD};
	struct cs_rg_answer a = {0};
	int ok = 0;

	if (check_ref(ref, err) < 0 || !cs_rg_header_value_ok(type) || cs_rg_fetch(r, ep, &q, CS_RG_ERROR_BODY, &a, err) < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "media type cannot be sent");
	if (a.head.status < 200 || a.head.status >= 300)
		ok = refuse_push(&a, err);
	cs_rg_answer_done(&a);
	return ok;
}

/* ---- tags ---- */

static int take_tags(const struct cs_rg_answer *a, char ***list, size_t *n, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(a->body.buf ? a->body.buf : "", a->body.len, NULL);
	json_t *tags = json_object_get(j, "tags"), *t;
	size_t i, own = json_array_size(tags);

	if (!json_is_object(j) || (tags && !json_is_null(tags) && !json_is_array(tags)))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the registry's list of tags makes no sense");
	if (*n + own > TAGS_MAX)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the registry lists more than %d tags", TAGS_MAX);
	*list = cs_xreallocarray(*list, *n + own + 1, sizeof(**list));
	json_array_foreach(tags, i, t)
		if (json_is_string(t) && cs_ref_tag_valid(json_string_value(t)))
			(*list)[(*n)++] = cs_xstrdup(json_string_value(t));
	(*list)[*n] = NULL;
	return 0;
}

static int tags_of(struct cs_repo *r, struct cs_rg_endpoint *ep, char ***ret, struct cs_err **err)
{
	cs_autofree char *url = cs_rg_repo_url(r, ep, "tags", "list");
	cs_autostrv char **list = NULL;
	size_t n = 0;

	for (unsigned page = 0; url; page++) {
		struct cs_rg_request q = {.method = "GET", .url = url, .size = -1, .cancel_fd = CS_RG_SESSION_FD};
		struct cs_rg_answer a = {0};
		if (cs_rg_fetch(r, ep, &q, TAGS_PAGE_MAX, &a, err) < 0)
			return -1;
		size_t before = n;
		int ok = a.head.status == 200 ? take_tags(&a, &list, &n, err) : refuse_pull(r, NULL, &a, err);
		cs_autofree char *target = ok == 0 && a.head.link && n > before ? cs_rg_link_next(a.head.link) : NULL; /* a page without news is the last */
		char *next = target ? cs_rg_url_join(url, target) : NULL;
		cs_rg_answer_done(&a);
		if (ok == 0 && (page >= TAGS_PAGES || (next && strcmp(next, url) == 0)))
			ok = cs_fail(err, CS_ERR_INTERNAL, 0, "the registry's list of tags does not end");
		free(url);
		url = next;
		if (ok < 0)
			return -1;
	}
	*ret = TAKE_PTR(list);
	return 0;
}

int cs_repo_tags(struct cs_repo *r, char ***ret, struct cs_err **err)
{
	size_t start = cs_rg_walk_start(r);
	struct cs_err *last = NULL;
	struct cs_rg_endpoint *ep;

	for (size_t step = 0; (ep = cs_rg_walk(r, start, step)); step++) {
		if (!r->push && !ep->can_resolve)
			continue;
		cs_err_free(TAKE_PTR(last));
		if (cs_rg_endpoint_ready(r, ep, CS_RG_SESSION_FD, &last) == 0 && tags_of(r, ep, ret, &last) == 0)
			return 0;
		if (cs_err_code(last) == CS_ERR_CANCELLED)
			break;
	}
	return last ? cs_err_move(err, last) : cs_fail(err, CS_ERR_INVALID, 0, "no endpoint of %s may be used to resolve", r->host);
}
