/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to registries that change nothing here: what a reference is (distribution), search, login. The caller's thread does the work. */
#include "base/num.h"
#include "engine/filters.h"
#include "engine/image_internal.h"
#include "engine/manifest.h"
#include "registry/registry.h"

static void unref(struct cs_registry **r) { cs_registry_unref(*r); }
#define autoregistry cs_auto(unref) struct cs_registry *

/* ---- distribution ---- */
static const char *text(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

static void put_if(struct cs_str *out, const char *key, const char *val)
{
	if (*val)
		cs_json_put_kstr(out, key, val);
}

static void put_platform(struct cs_str *out, json_t *p, bool *first)
{
	size_t i;
	json_t *f, *features = json_object_get(p, "os.features");

	cs_str_puts(out, *first ? "{" : ",{");
	*first = false;
	cs_json_put_kstr(out, "architecture", text(p, "architecture"));
	cs_json_put_kstr(out, "os", text(p, "os"));
	put_if(out, "os.version", text(p, "os.version"));
	if (json_array_size(features)) {
		cs_json_put_key(out, "os.features");
		cs_str_puts(out, "[");
		json_array_foreach(features, i, f)
		{
			cs_str_puts(out, i ? "," : "");
			cs_json_put_string(out, json_string_value(f) ? json_string_value(f) : "");
		}
		cs_str_puts(out, "]");
	}
	put_if(out, "variant", text(p, "variant"));
	cs_str_puts(out, "}");
}

static void put_platforms(struct cs_str *out, struct cs_repo *repo, const struct cs_remote_manifest *rm, const struct cs_manifest *mf)
{
	cs_autojson json_t *j = cs_json_parse(rm->data, rm->len, NULL);
	bool first = true;
	size_t i;
	json_t *e;

	if (mf->kind == CS_MANIFEST_INDEX) {
		json_array_foreach(json_object_get(j, "manifests"), i, e)
		{
			put_platform(out, json_object_get(e, "platform"), &first);
		}
		return;
	}
	cs_autostr struct cs_str config = CS_STR_INIT(CS_CONFIG_MAX);
	/* what an artifact's configuration says is nobody's platform; a missing one leaves the list empty, as in dockerd */
	if (mf->artifact_type || cs_repo_blob_get(repo, mf->config.digest.s, mf->config.size, CS_CONFIG_MAX, &config, NULL) < 0)
		return;
	cs_autojson json_t *c = cs_json_parse(config.buf ? config.buf : "", config.len, NULL);
	if (*text(c, "os") || *text(c, "architecture"))
		put_platform(out, c, &first);
}

int cs_image_distribution(struct cs_engine *e, const char *name, const char *auth_header, int client_fd, struct cs_str *out, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0};
	cs_autoauth struct cs_registry_auth auth = {0};
	autoregistry reg = NULL;
	cs_autorepo struct cs_repo *repo = NULL;
	cs_automanifest struct cs_remote_manifest rm = {0};
	cs_automf struct cs_manifest mf = {0};

	if (cs_ref_is_id(name) || cs_digest_valid(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "no manifest found for full image ID");
	if (cs_ref_parse(name, &ref, err) < 0 || cs_images_registry(e->images, &reg, err) < 0)
		return -1;
	cs_ref_default_tag(&ref);
	/* credentials that make no sense are none, as in dockerd */
	if (cs_registry_auth_parse_header(auth_header, &auth, NULL) < 0)
		cs_registry_auth_done(&auth);
	struct cs_repo_options o = {.host = ref.domain, .path = ref.path, .auth = &auth, .cancel_fd = client_fd};
	if (cs_repo_open(reg, &o, &repo, err) < 0 || cs_repo_manifest_get(repo, ref.digest ? ref.digest : ref.tag, &rm, err) < 0 ||
	    cs_manifest_parse(rm.data, rm.len, rm.media_type, &mf, err) < 0)
		return -1;
	cs_str_puts(out, "{\"Descriptor\":{");
	cs_json_put_kstr(out, "mediaType", mf.media_type);
	cs_json_put_kstr(out, "digest", rm.digest);
	cs_json_put_ki64(out, "size", (int64_t)rm.len);
	cs_str_puts(out, "},\"Platforms\":[");
	put_platforms(out, repo, &rm, &mf);
	cs_str_puts(out, "]}");
	return 0;
}

/* ---- search ---- */
struct wanted {
	bool official_given, official, automated_given, automated;
	int64_t stars;
};

static int search_filters(const char *text_, struct wanted *w, struct cs_err **err)
{
	static const char *const allowed[] = {"is-official", "is-automated", "stars", NULL};
	cs_autofilters struct cs_filters f = {0};

	if (cs_filters_parse(text_, allowed, &f, err) < 0)
		return -1;
	w->official_given = cs_filter_values(&f, "is-official") != NULL;
	w->automated_given = cs_filter_values(&f, "is-automated") != NULL;
	if (cs_filter_bool(&f, "is-official", &w->official, err) < 0 || cs_filter_bool(&f, "is-automated", &w->automated, err) < 0)
		return -1;
	for (char **v = cs_filter_values(&f, "stars"); v && *v; v++) {
		int64_t n;
		if (!cs_parse_i64(*v, INT32_MIN, INT32_MAX, &n))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid filter 'stars=%s'", *v);
		w->stars = CS_MAX(w->stars, n);
	}
	return 0;
}

int cs_image_search(struct cs_engine *e, const char *term, int64_t limit, const char *filters, const char *auth_header, int client_fd, struct cs_str *out,
		    struct cs_err **err)
{
	struct wanted w = {0};
	struct cs_search_result found = {0};
	cs_autoauth struct cs_registry_auth auth = {0};
	autoregistry reg = NULL;
	bool first = true;

	if (limit < 0 || limit > 100)
		return cs_fail(err, CS_ERR_INVALID, 0, "limit %lld is outside the range of [1, 100]", (long long)limit);
	if (search_filters(filters, &w, err) < 0 || cs_images_registry(e->images, &reg, err) < 0)
		return -1;
	if (cs_registry_auth_parse_header(auth_header, &auth, NULL) < 0)
		cs_registry_auth_done(&auth);
	if (cs_registry_search(reg, term ? term : "", limit, &auth, client_fd, &found, err) < 0)
		return -1;
	cs_str_puts(out, "[");
	for (size_t i = 0; i < found.n; i++) {
		const struct cs_search_hit *h = &found.hit[i];
		if ((w.official_given && w.official != h->official) || (w.automated_given && w.automated != h->automated) || h->stars < w.stars)
			continue;
		cs_str_puts(out, first ? "{" : ",{");
		first = false;
		cs_json_put_ki64(out, "star_count", h->stars);
		cs_json_put_kbool(out, "is_official", h->official);
		cs_json_put_kstr(out, "name", h->name);
		cs_json_put_kbool(out, "is_automated", h->automated);
		cs_json_put_kstr(out, "description", h->description);
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "]");
	cs_search_result_done(&found);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "search") : 0;
}

/* ---- login ---- */
int cs_registry_auth_check(struct cs_engine *e, const char *body, size_t len, int client_fd, struct cs_str *out, struct cs_err **err)
{
	cs_autoauth struct cs_registry_auth auth = {0};
	autoregistry reg = NULL;
	cs_autofree char *status = NULL, *token = NULL;

	if (cs_registry_auth_parse_json(body, len, &auth, err) < 0 || cs_images_registry(e->images, &reg, err) < 0 ||
	    cs_registry_login(reg, &auth, client_fd, &status, &token, err) < 0)
		return -1;
	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "IdentityToken", token ? token : "");
	cs_json_put_kstr(out, "Status", status ? status : "");
	cs_str_puts(out, "}\n");
	return 0;
}
