/* SPDX-License-Identifier: Apache-2.0
 *
 * What the API shows of images: list, inspect, history. Reads only; any thread. */
#include <fnmatch.h>

#include "base/time.h"
#include "engine/filters.h"
#include "engine/image_index.h"

/* ---- list ---- */
struct list_filter {
	struct cs_filters f;
	bool dangling_given, dangling;
	int64_t before, since, until; /* created; INT64_MIN: not given */
};

/* Of several images the earliest counts (before), or the latest (since): all of them hold. */
static int bound(struct cs_images *m, const struct cs_filters *f, const char *key, bool earliest, int64_t *ret, struct cs_err **err)
{
	char **v = cs_filter_values(f, key);

	*ret = INT64_MIN;
	for (; v && *v; v++) {
		struct cs_image_rec *r;
		if (cs_image_find(m, *v, &r, NULL, err) < 0)
			return -1;
		if (*ret == INT64_MIN)
			*ret = r->created;
		*ret = earliest ? CS_MIN(*ret, r->created) : CS_MAX(*ret, r->created);
		cs_image_rec_unref(r);
	}
	return 0;
}

static int until_bound(const struct cs_filters *f, int64_t *ret, struct cs_err **err)
{
	char **v = cs_filter_values(f, "until");

	*ret = INT64_MIN;
	if (!v || !*v)
		return 0;
	*ret = INT64_MAX;
	for (; *v; v++) { /* the list takes several, and the earliest counts */
		int64_t at;
		if (!cs_time_parse_param(*v, cs_now_ns(), &at))
			return cs_fail(err, CS_ERR_INVALID, 0, "failed to parse value as time or duration: \"%s\"", *v);
		*ret = CS_MIN(*ret, at);
	}
	return 0;
}

/* One character of a class; NULL: the pattern is bad. */
static const char *class_char(const char *p)
{
	if (*p == '\\')
		p++;
	else if (*p == '-' || *p == ']')
		return NULL;
	return *p ? p + 1 : NULL;
}

/* What Go's path.Match refuses. */
static bool pattern_valid(const char *p)
{
	while (*p) {
		if (*p == '\\') {
			if (!p[1])
				return false;
			p += 2;
			continue;
		}
		if (*p++ != '[')
			continue;
		p += *p == '^';
		do {
			if (!(p = class_char(p)) || (*p == '-' && !(p = class_char(p + 1))) || !*p)
				return false;
		} while (*p != ']');
		p++;
	}
	return true;
}

static int check_patterns(const struct cs_filters *f, struct cs_err **err)
{
	for (char **p = cs_filter_values(f, "reference"); p && *p; p++) {
		if (!pattern_valid(*p))
			return cs_fail(err, CS_ERR_INTERNAL, 0, "syntax error in pattern");
	}
	return 0;
}

/* Docker's FamiliarMatch: the pattern against "name:tag" or against "name". */
static bool ref_matches(const char *pattern, const char *familiar)
{
	cs_autofree char *name = cs_xstrdup(familiar);
	char *slash = strrchr(name, '/'), *end = strpbrk(slash ? slash : name, ":@");

	if (fnmatch(pattern, familiar, FNM_PATHNAME) == 0)
		return true;
	if (end)
		*end = 0;
	return fnmatch(pattern, name, FNM_PATHNAME) == 0;
}

/* In its short form or in the full one. */
static bool any_ref_matches(char *const *patterns, const char *familiar, const char *full)
{
	for (; *patterns; patterns++) {
		if (ref_matches(*patterns, familiar) || ref_matches(*patterns, full))
			return true;
	}
	return false;
}

/* What an image is called, in the short form, as far as the filter lets it through. */
struct shown {
	char **tags, **digests;
	bool any_tag, any; /* whether it has names at all */
};

static void shown_done(struct shown *x)
{
	cs_strv_free(x->tags);
	cs_strv_free(x->digests);
}
#define autoshown cs_auto(shown_done) struct shown

static void shown_names(struct cs_images *m, const struct cs_image_rec *r, const struct cs_filters *f, struct shown *x)
{
	cs_autostrv char **full = cs_image_refs(m, r);
	char **patterns = f ? cs_filter_values(f, "reference") : NULL;

	*x = (struct shown){.tags = cs_xcalloc(1, sizeof(char *)), .digests = cs_xcalloc(1, sizeof(char *)), .any = full[0] != NULL};
	for (char **n = full; *n; n++) {
		cs_autofree char *familiar = cs_ref_shorten(*n);
		bool digest = cs_image_is_digest_ref(*n);
		x->any_tag = x->any_tag || !digest;
		if (!patterns || any_ref_matches(patterns, familiar, *n))
			cs_strv_push(digest ? &x->digests : &x->tags, familiar);
	}
}

static bool image_passes(const struct list_filter *lf, const struct cs_image_rec *r, const struct shown *x)
{
	if (lf->before != INT64_MIN && r->created >= lf->before)
		return false;
	if (lf->since != INT64_MIN && r->created <= lf->since)
		return false;
	if (lf->until != INT64_MIN && r->created >= lf->until)
		return false;
	/* without any name it is dangling to both; with digests alone, only to a list of the dangling ones */
	if (lf->dangling_given && (lf->dangling ? x->any_tag : !x->any))
		return false;
	if (!cs_filter_labels(&lf->f, "label", r->info.config->labels))
		return false;
	char **not_labels = cs_filter_values(&lf->f, "label!");
	if (not_labels && *not_labels && cs_filter_labels(&lf->f, "label!", r->info.config->labels))
		return false;
	return *x->tags || *x->digests || !cs_filter_values(&lf->f, "reference");
}

/* How many images have a layer. */
struct use {
	struct cs_digest chain;
	unsigned n;
	UT_hash_handle hh;
};

static struct use *uses_of(struct cs_image_rec *const *v, size_t n)
{
	struct use *set = NULL, *u;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < v[i]->n_layers; k++) {
			HASH_FIND_STR(set, v[i]->layers[k].chain.s, u);
			if (!u) {
				u = cs_xcalloc(1, sizeof(*u));
				u->chain = v[i]->layers[k].chain;
				HASH_ADD_STR(set, chain.s, u);
			}
			u->n++;
		}
	}
	return set;
}

static void uses_free(struct use **set)
{
	struct use *u, *next;
	HASH_ITER(hh, *set, u, next)
	{
		HASH_DEL(*set, u);
		free(u);
	}
}

/* What one line of a list stands for: an image, and the other platforms of its index that have no line of their own. */
struct family {
	struct cs_image_index *index;
	struct cs_image_rec **v; /* the image itself comes first */
	size_t n;
	int64_t size; /* of all layers, each once */
};

static void family_done(struct family *f)
{
	cs_image_recs_free(f->v, f->n);
	cs_image_index_unref(f->index);
}
#define autofamily cs_auto(family_done) struct family

static void family_of(struct cs_images *m, struct cs_image_rec *r, struct family *f)
{
	cs_auto(uses_free) struct use *seen = NULL;

	pthread_rwlock_rdlock(&m->lock);
	for (struct cs_image_name *x = m->names; x && !f->index; x = x->hh.next)
		f->index = x->rec == r && x->index ? cs_image_index_ref(x->index) : NULL;
	pthread_rwlock_unlock(&m->lock);
	f->v = cs_image_family(m, r, &f->n);
	if (f->n == 1) {
		f->size = r->size;
		return;
	}
	seen = uses_of(f->v, f->n);
	for (size_t i = 0; i < f->n; i++) {
		f->size += f->v[i]->content;
		for (size_t k = 0; k < f->v[i]->n_layers; k++) {
			struct use *u;
			HASH_FIND_STR(seen, f->v[i]->layers[k].chain.s, u);
			f->size += u && u->n ? f->v[i]->layers[k].size : 0;
			if (u)
				u->n = 0;
		}
	}
}

/* Bytes of layers that another image has too. */
static int64_t shared_size(struct use *set, const struct cs_image_rec *r)
{
	int64_t sum = 0;
	struct use *u;

	for (size_t l = 0; l < r->n_layers; l++) {
		HASH_FIND_STR(set, r->layers[l].chain.s, u);
		if (u && u->n > 1)
			sum += r->layers[l].size;
	}
	return sum;
}

static int64_t unix_s(int64_t ns) { return ns == CS_TIME_ZERO ? -62135596800 : ns / CS_NS_PER_SEC; }

static void put_summary(struct cs_str *out, struct cs_images *m, const struct family *f, const struct shown *x, int64_t shared, int64_t containers,
			bool manifests, int api)
{
	const struct cs_image_rec *r = f->v[0];
	static char none_tag[] = "<none>:<none>", none_digest[] = "<none>@<none>";
	char *none[] = {none_tag, NULL}, *noned[] = {none_digest, NULL};
	bool old_none = !*x->tags && !*x->digests && api && api < 143;

	cs_str_puts(out, "{");
	cs_json_put_ki64(out, "Containers", containers);
	cs_json_put_ki64(out, "Created", unix_s(r->created));
	cs_json_put_kstr(out, "Id", r->id.s);
	cs_json_put_key(out, "Labels");
	cs_json_put_strmap(out, r->info.config->labels);
	cs_json_put_kstr(out, "ParentId", r->parent.s);
	cs_json_put_key(out, "RepoDigests");
	cs_json_put_strv(out, old_none ? noned : x->digests);
	cs_json_put_key(out, "RepoTags");
	cs_json_put_strv(out, old_none ? none : x->tags);
	cs_json_put_ki64(out, "SharedSize", shared);
	cs_json_put_ki64(out, "Size", f->size);
	if (api && api < 144)
		cs_json_put_ki64(out, "VirtualSize", f->size);
	if (manifests) {
		cs_json_put_key(out, "Descriptor");
		cs_image_put_target(out, r, f->index);
		cs_json_put_key(out, "Manifests");
		cs_image_put_manifests(out, m, r, f->index);
	}
	cs_str_puts(out, "}");
}

int cs_image_list(struct cs_engine *e, const struct cs_image_list_opts *o, int api, struct cs_str *out, struct cs_err **err)
{
	static const char *const allowed[] = {"dangling", "label", "label!", "before", "since", "reference", "until", NULL};
	struct cs_images *m = e->images;
	cs_autofilters struct cs_filters f = {0};
	cs_auto(uses_free) struct use *uses = NULL;
	struct list_filter lf = {0};
	size_t n;

	if (cs_filters_parse(o->filters, allowed, &f, err) < 0)
		return -1;
	lf.f = f;
	lf.dangling_given = cs_filter_values(&f, "dangling") != NULL;
	if (cs_filter_bool(&f, "dangling", &lf.dangling, err) < 0 || bound(m, &f, "before", true, &lf.before, err) < 0 || bound(m, &f, "since", false, &lf.since, err) < 0 ||
	    until_bound(&f, &lf.until, err) < 0 || check_patterns(&f, err) < 0)
		return -1;
	struct cs_image_rec **v = cs_image_recs(m, &n);
	if (o->shared_size)
		uses = uses_of(v, n);
	cs_str_puts(out, "[");
	for (size_t i = 0, shown = 0; i < n; i++) {
		autoshown x = {0};
		autofamily family = {0};
		if (cs_image_is_hidden(m, v[i]))
			continue;
		shown_names(m, v[i], &f, &x);
		/* what others were committed from is no image of its own to a plain list */
		if (!image_passes(&lf, v[i], &x) || (!x.any && !o->all && cs_image_has_children(m, v[i])))
			continue;
		if (shown++)
			cs_str_puts(out, ",");
		family_of(m, v[i], &family);
		put_summary(out, m, &family, &x, o->shared_size ? shared_size(uses, v[i]) : -1, -1, o->manifests && (!api || api >= 147), api);
	}
	cs_str_puts(out, "]");
	cs_image_recs_free(v, n);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "list images") : 0;
}

/* ---- for df ---- */
void cs_image_df(struct cs_images *m, int api, struct cs_str *out, int64_t *ret_total, int64_t *ret_active, int64_t *ret_reclaimable)
{
	size_t n, nc;
	struct cs_image_rec **v = cs_image_recs(m, &n);
	cs_auto(uses_free) struct use *uses = uses_of(v, n);
	struct cs_container **c = cs_containers_all(m->e, &nc);
	int64_t total = 0, active = 0, reclaimable = 0;

	cs_str_puts(out, "[");
	for (size_t i = 0; i < n; i++) {
		int64_t users = 0, shared = shared_size(uses, v[i]);
		autoshown x = {0};
		autofamily f = {0};
		if (cs_image_is_hidden(m, v[i]))
			continue;
		shown_names(m, v[i], NULL, &x);
		family_of(m, v[i], &f);
		for (size_t k = 0; k < nc; k++) {
			for (size_t l = 0; l < f.n; l++)
				users += cs_streq(c[k]->image_id, f.v[l]->id.s);
		}
		active += users > 0;
		if (users == 0)
			reclaimable += f.size - shared;
		if (total++)
			cs_str_puts(out, ",");
		put_summary(out, m, &f, &x, shared, users, false, api);
	}
	cs_str_puts(out, "]");
	*ret_total = total;
	*ret_active = active;
	*ret_reclaimable = reclaimable;
	cs_containers_free(c);
	cs_image_recs_free(v, n);
}

/* ---- inspect ---- */
/* As of 1.50 only what the image specification knows; as of 1.52 without empty members. */
static void put_config(struct cs_str *out, const struct cs_config *c, int api)
{
	cs_autostr struct cs_str full = CS_STR_INIT(CS_MAX_IMAGE_JSON);
	static const struct {
		const char *key;
		bool always; /* shown empty by 1.50 and 1.51 */
		bool text;
	} keys[] = {{"User", true, true}, {"ExposedPorts", false, false}, {"Env", true, false}, {"Entrypoint", true, false}, {"Cmd", true, false},
		    {"Volumes", true, false}, {"WorkingDir", true, true}, {"Labels", true, false}, {"StopSignal", false, true}, {"ArgsEscaped", false, false},
		    {"Healthcheck", false, false}, {"OnBuild", true, false}, {"Shell", false, false}};

	if (api && api < 150) {
		cs_json_encode(&cs_config_type, c, api, out);
		return;
	}
	cs_json_encode(&cs_config_type, c, 0, &full);
	cs_autojson json_t *j = full.failed ? NULL : cs_json_parse(full.buf, full.len, NULL);
	cs_str_puts(out, "{");
	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++) {
		json_t *v = json_object_get(j, keys[i].key);
		bool empty = !v || json_is_null(v) || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
			     (json_is_array(v) && json_array_size(v) == 0) || (json_is_object(v) && json_object_size(v) == 0);
		if (empty && !(keys[i].always && api && api < 152))
			continue;
		cs_json_put_key(out, keys[i].key);
		if (empty) {
			cs_str_puts(out, keys[i].text ? "\"\"" : "null");
			continue;
		}
		cs_autofree char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
		cs_str_puts(out, text ? text : "null");
	}
	cs_str_puts(out, "}");
}

static const char *text_of(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

static void put_optional(struct cs_str *out, const char *key, const char *val, bool omit)
{
	if (!omit || !cs_empty(val))
		cs_json_put_kstr(out, key, val);
}

static void put_graph_driver(struct cs_str *out, const struct cs_image_rec *r)
{
	size_t n = r->n_layers;

	cs_str_puts(out, "{\"Data\":{");
	if (n > 1) {
		cs_autofree char *lower = cs_strv_join(r->info.layer_dirs + 1, ":");
		cs_json_put_kstr(out, "LowerDir", lower);
	}
	if (n)
		cs_json_put_kstr(out, "UpperDir", r->info.layer_dirs[0]);
	cs_str_puts(out, "},\"Name\":\"overlay2\"}");
}

static void put_names(struct cs_images *m, struct cs_str *out, const struct cs_image_rec *r)
{
	autoshown x = {0};

	shown_names(m, r, NULL, &x);
	cs_json_put_key(out, "RepoTags");
	cs_json_put_strv(out, x.tags);
	cs_json_put_key(out, "RepoDigests");
	cs_json_put_strv(out, x.digests);
}

/* Before API 1.45: the container that was committed; a configuration that does not read as one is shown empty. */
static void put_committed(struct cs_str *out, json_t *image, int api)
{
	struct cs_config *c = cs_xcalloc(1, sizeof(*c));
	json_t *config = json_object_get(image, "container_config");

	cs_json_put_kstr(out, "Container", text_of(image, "container"));
	cs_json_put_key(out, "ContainerConfig");
	if (json_is_object(config) && cs_json_decode(&cs_config_type, config, c, "container_config", NULL) < 0)
		cs_json_release(&cs_config_type, c);
	cs_json_encode(&cs_config_type, c, api, out);
	cs_config_free(c);
}

static void put_rootfs(struct cs_str *out, const struct cs_image_rec *r)
{
	cs_json_put_key(out, "RootFS");
	cs_str_puts(out, "{\"Type\":\"layers\",\"Layers\":[");
	for (size_t i = 0; i < r->n_layers; i++) {
		cs_str_puts(out, i ? "," : "");
		cs_json_put_string(out, r->layers[i].diff.s);
	}
	cs_str_puts(out, "]}");
}

int cs_image_inspect(struct cs_engine *e, const char *ref, const char *platform, bool manifests, int api, struct cs_str *out, struct cs_err **err)
{
	struct cs_images *m = e->images;
	cs_autorec struct cs_image_rec *r = NULL;
	cs_autojson json_t *j = NULL;
	cs_autoindex index = NULL;
	bool lean = !api || api >= 152;

	if (manifests && !cs_empty(platform))
		return cs_fail(err, CS_ERR_INVALID, 0, "conflicting options: manifests and platform options cannot both be set");
	if (cs_image_find_platform(m, ref, platform, &r, NULL, &index, err) < 0 || cs_image_config_json(m, r, &j, err) < 0)
		return -1;
	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "Id", r->id.s);
	put_names(m, out, r);
	put_optional(out, "Parent", r->parent.s, lean);
	json_t *history = json_object_get(j, "history");
	const char *comment = text_of(j, "comment"); /* of a committed image it stands in the history */
	put_optional(out, "Comment", *comment ? comment : text_of(json_array_get(history, json_array_size(history) - 1), "comment"), lean);
	if (r->created != CS_TIME_ZERO || (api && api < 144))
		cs_json_put_ktime(out, "Created", r->created);
	if (api && api < 145)
		put_committed(out, j, api);
	put_optional(out, "DockerVersion", text_of(j, "docker_version"), lean);
	put_optional(out, "Author", text_of(j, "author"), lean);
	cs_json_put_key(out, "Config");
	put_config(out, r->info.config, api);
	cs_json_put_kstr(out, "Architecture", r->info.architecture);
	put_optional(out, "Variant", r->info.variant, true);
	cs_json_put_kstr(out, "Os", r->info.os);
	put_optional(out, "OsVersion", text_of(j, "os.version"), true);
	cs_json_put_ki64(out, "Size", r->size);
	if (api && api < 144)
		cs_json_put_ki64(out, "VirtualSize", r->size);
	cs_json_put_key(out, "GraphDriver");
	put_graph_driver(out, r);
	put_rootfs(out, r);
	cs_json_put_key(out, "Metadata");
	cs_str_puts(out, "{");
	int64_t tagged = atomic_load(&r->last_tagged);
	cs_json_put_ktime(out, "LastTagTime", tagged ? tagged : CS_TIME_ZERO);
	cs_str_puts(out, "}");
	if (!api || api >= 148) {
		cs_json_put_key(out, "Descriptor");
		cs_image_put_target(out, r, cs_empty(platform) ? index : NULL);
	}
	if (manifests && (!api || api >= 148)) {
		cs_json_put_key(out, "Manifests");
		cs_image_put_manifests(out, m, r, index);
	}
	cs_str_puts(out, "}");
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "inspect image") : 0;
}

/* ---- history ---- */
int cs_image_history(struct cs_engine *e, const char *ref, const char *platform, struct cs_str *out, struct cs_err **err)
{
	struct cs_images *m = e->images;
	cs_autorec struct cs_image_rec *r = NULL;
	cs_autojson json_t *j = NULL;

	if (cs_image_find_platform(m, ref, platform, &r, NULL, NULL, err) < 0 || cs_image_config_json(m, r, &j, err) < 0)
		return -1;
	json_t *h = json_object_get(j, "history");
	size_t n = json_array_size(h), layer = 0;
	int64_t *sizes = cs_xcalloc(n ? n : 1, sizeof(*sizes));
	for (size_t i = 0; i < n; i++) {
		if (!json_is_true(json_object_get(json_array_get(h, i), "empty_layer")) && layer < r->n_layers)
			sizes[i] = r->layers[layer++].size;
	}
	cs_str_puts(out, "[");
	for (size_t i = n; i-- > 0;) {
		json_t *x = json_array_get(h, i);
		int64_t created;
		if (!cs_time_parse(text_of(x, "created"), &created))
			created = CS_TIME_ZERO;
		cs_str_puts(out, i + 1 < n ? ",{" : "{");
		cs_json_put_kstr(out, "Comment", text_of(x, "comment"));
		cs_json_put_ki64(out, "Created", unix_s(created));
		cs_json_put_kstr(out, "CreatedBy", text_of(x, "created_by"));
		cs_json_put_kstr(out, "Id", i + 1 == n ? r->id.s : "<missing>");
		cs_json_put_ki64(out, "Size", sizes[i]);
		cs_json_put_key(out, "Tags");
		autoshown names = {0};
		shown_names(m, r, NULL, &names);
		cs_json_put_strv(out, i + 1 == n && *names.tags ? names.tags : NULL);
		cs_str_puts(out, "}");
	}
	cs_str_puts(out, "]");
	free(sizes);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "history of image") : 0;
}
