/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson manifest inspect: what was put together here by `manifest create`, else what the registry has. No engine is asked, as in docker. */
#include "cli/manifest.h"

#include "base/base64.h"
#include "base/json.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/manifest_store.h"
#include "cli/sha256_lib.h"

#define CONFIG_MAX ((size_t)4 << 20)

struct manifest_opts {
	bool insecure, verbose;
};
static const struct flag manifest_flags[] = {
	FLAG(struct manifest_opts, insecure, "insecure", 0, "Allow communication with an insecure registry"),
	FLAG(struct manifest_opts, verbose, "verbose", 'v', "Output additional info including layers and platform"),
	FLAG_END,
};

/* ---- JSON as docker lays it out ---- */

static void copy(json_t *to, const json_t *from, const char *const *keys)
{
	for (; *keys; keys++)
		if (json_object_get(from, *keys))
			(void)json_object_set(to, *keys, json_object_get(from, *keys));
}

json_t *manifest_platform(const json_t *j)
{
	static const char *const more[] = {"os.version", "os.features", "variant", NULL};
	json_t *p = json_pack("{s:s,s:s}", "architecture", jstr(j, "architecture"), "os", jstr(j, "os"));

	copy(p, j, more);
	return p;
}

/* A blank per level to a tab: no other line of JSON begins with one. */
static void print_with_tabs(const char *text)
{
	for (bool start = true; *text; text++) {
		putchar(start && *text == ' ' ? '\t' : *text);
		start = *text == '\n' || (start && *text == ' ');
	}
	putchar('\n');
}

/* ---- the registry ---- */

int manifest_ref(const char *text, struct cs_ref *ret, struct cs_err **err)
{
	if (cs_ref_parse(text, ret, err) < 0)
		return -1;
	cs_ref_default_tag(ret);
	return 0;
}

int manifest_open_repo(const struct cs_ref *ref, bool insecure, bool push, struct cs_registry **reg, struct cs_repo **ret, struct cs_err **err)
{
	char *hosts[] = {ref->domain, NULL};
	const struct cs_registry_config cfg = {.insecure = insecure ? hosts : NULL, .user_agent = "Caisson-Client/" CAISSON_VERSION};
	cs_autofree char *server = auth_server(ref->domain);
	auto_auth struct auth a = {0};
	struct cs_err *mine = NULL;

	if (auth_get(server, &a, &mine) < 0) /* a helper that fails is no reason not to try: many images are public */
		cs_err_free(mine);
	const struct cs_registry_auth auth = {.username = a.user, .password = a.password, .identity_token = a.identity_token, .server_address = server};
	const struct cs_repo_options o = {.host = ref->domain, .path = ref->path, .auth = a.user || a.identity_token ? &auth : NULL, .push = push, .cancel_fd = -1};
	if (sha256_load(err) < 0 || cs_registry_new(&cfg, reg, err) < 0)
		return -1;
	return cs_repo_open(*reg, &o, ret, err);
}

/* The manifest and what is in it (caller owns). */
static int fetch(struct cs_repo *repo, const char *ref, struct cs_remote_manifest *m, json_t **ret, struct cs_err **err)
{
	json_error_t e;

	if (cs_repo_manifest_get(repo, ref, m, err) < 0)
		return -1;
	*ret = json_loadb(m->data, m->len, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(*ret))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest %s is not a JSON object", m->digest);
	return 0;
}

static bool is_list(const struct cs_remote_manifest *m) { return cs_streq(m->media_type, CS_MT_DOCKER_LIST) || cs_streq(m->media_type, CS_MT_OCI_INDEX); }

/* What --verbose shows of one image. platform may be NULL: it is in the image's configuration then. Caller owns; NULL with an error. */
static json_t *describe(struct cs_repo *repo, const char *shown, const struct cs_remote_manifest *m, json_t *manifest, const json_t *platform, struct cs_err **err)
{
	bool docker = cs_streq(m->media_type, CS_MT_DOCKER_MANIFEST);
	const json_t *config = json_object_get(manifest, "config");
	cs_autostr struct cs_str text = CS_STR_INIT(CONFIG_MAX);
	cs_autofree char *raw = cs_base64_encode(m->data, m->len, false);
	cs_autojson json_t *own = NULL;

	if (!docker && !cs_streq(m->media_type, CS_MT_OCI_MANIFEST)) {
		cs_fail(err, CS_ERR_INVALID, 0, "unsupported manifest format: %s", m->media_type);
		return NULL;
	}
	if (!platform) {
		if (cs_repo_blob_get(repo, jstr(config, "digest"), jint(config, "size"), CONFIG_MAX, &text, err) < 0)
			return NULL;
		platform = own = json_loadb(text.buf ? text.buf : "", text.len, 0, NULL);
	}
	return json_pack("{s:s,s:{s:s,s:s,s:I,s:o},s:s,s:O}", "Ref", shown, "Descriptor", "mediaType", m->media_type, "digest", m->digest, "size", (json_int_t)m->len, "platform",
			 manifest_platform(platform), "Raw", raw, docker ? "SchemaV2Manifest" : "OCIManifest", manifest);
}

/* The manifest of a reference. *list: it is one of several images. */
static int fetch_shown(struct cs_repo *repo, const struct cs_ref *ref, struct cs_remote_manifest *m, json_t **ret, struct cs_err **err)
{
	if (fetch(repo, ref->digest ? ref->digest : ref->tag, m, ret, err) == 0)
		return 0;
	if (err && *err && cs_err_code(*err) == CS_ERR_NOT_FOUND && cs_prefix((*err)->msg, "manifest ")) {
		cs_autofree char *full = cs_ref_full(ref);
		cs_err_free(TAKE_PTR(*err));
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "no such manifest: %s", full);
	}
	return -1;
}

static int image_in(struct cs_repo *repo, const struct cs_ref *ref, json_t **ret, struct cs_err **err)
{
	cs_automanifest struct cs_remote_manifest m = {0};
	cs_autojson json_t *manifest = NULL;
	cs_autofree char *full = cs_ref_full(ref);

	if (fetch_shown(repo, ref, &m, &manifest, err) < 0)
		return -1;
	if (is_list(&m))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is a manifest list", full);
	*ret = describe(repo, full, &m, manifest, NULL, err);
	return *ret ? 0 : -1;
}

int manifest_image(const struct cs_ref *ref, bool insecure, json_t **ret, struct cs_err **err)
{
	struct cs_registry *reg = NULL;
	struct cs_repo *repo = NULL;
	int r = manifest_open_repo(ref, insecure, false, &reg, &repo, err);

	if (r == 0)
		r = image_in(repo, ref, ret, err);
	cs_repo_close(repo);
	cs_registry_unref(reg);
	return r;
}

/* ---- lists ---- */

static const char *const descriptor_keys[] = {"mediaType", "size", "digest", NULL};

static json_t *list_entry(const json_t *descriptor)
{
	json_t *d = json_object();

	copy(d, descriptor, descriptor_keys);
	(void)json_object_set_new(d, "platform", manifest_platform(json_object_get(descriptor, "platform")));
	return d;
}

static char *list_text(const char *type, json_t *entries)
{
	cs_autojson json_t *out = json_pack("{s:i,s:s,s:O}", "schemaVersion", 2, "mediaType", type, "manifests", entries);

	return json_text(out, 3);
}

char *manifest_list_text(const struct cs_ref *target, const json_t *images, const char **type, struct cs_err **err)
{
	cs_autojson json_t *entries = json_array();
	const json_t *image;
	size_t i;

	*type = CS_MT_DOCKER_LIST;
	json_array_foreach(images, i, image)
	{
		const json_t *d = json_object_get(image, "Descriptor");
		cs_autoref struct cs_ref from = {0};
		if (cs_ref_parse(jstr(image, "Ref"), &from, err) < 0)
			return NULL;
		if (!cs_streq(from.domain, target->domain)) {
			(void)cs_fail(err, CS_ERR_INVALID, 0, "cannot use source images from a different registry than the target image: %s != %s", from.domain, target->domain);
			return NULL;
		}
		if (i == 0 && cs_streq(jstr(d, "mediaType"), CS_MT_OCI_MANIFEST))
			*type = CS_MT_OCI_INDEX;
		(void)json_array_append_new(entries, list_entry(d));
	}
	return list_text(*type, entries);
}

/* ---- what is printed ---- */

static void print_list(const struct cs_remote_manifest *m, const json_t *list)
{
	cs_autojson json_t *entries = json_array();
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(list, "manifests"), i, entry) (void)json_array_append_new(entries, list_entry(entry));
	cs_autofree char *text = list_text(m->media_type, entries);
	printf("%s\n", text);
}

/* What --verbose says, of one image or of several. */
static void print_verbose(const json_t *j)
{
	cs_autofree char *text = json_text(j, 1);
	print_with_tabs(text);
}

/* An array of what describe says of each image of a list. */
static int print_each(struct cs_repo *repo, const struct cs_ref *ref, const json_t *list, struct cs_err **err)
{
	cs_autojson json_t *all = json_array();
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(list, "manifests"), i, entry)
	{
		cs_automanifest struct cs_remote_manifest m = {0};
		cs_autojson json_t *manifest = NULL;
		const struct cs_ref one = {ref->domain, ref->path, ref->tag, (char *)(uintptr_t)jstr(entry, "digest")};
		cs_autofree char *shown = cs_ref_full(&one);
		if (fetch(repo, one.digest, &m, &manifest, err) < 0)
			return -1;
		json_t *d = describe(repo, shown, &m, manifest, json_object_get(entry, "platform"), err);
		if (!d)
			return -1;
		(void)json_array_append_new(all, d);
	}
	print_verbose(all);
	return 0;
}

static int show_remote(struct cs_repo *repo, const struct cs_ref *ref, bool verbose, struct cs_err **err)
{
	cs_automanifest struct cs_remote_manifest m = {0};
	cs_autojson json_t *manifest = NULL, *image = NULL;
	cs_autofree char *full = cs_ref_full(ref);

	if (fetch_shown(repo, ref, &m, &manifest, err) < 0)
		return -1;
	if (is_list(&m)) {
		if (verbose)
			return print_each(repo, ref, manifest, err);
		print_list(&m, manifest);
		return 0;
	}
	if (verbose) {
		image = describe(repo, full, &m, manifest, NULL, err);
		if (!image)
			return -1;
		print_verbose(image);
		return 0;
	}
	cs_autofree char *text = json_dumps(manifest, JSON_INDENT(1)); /* as it is: docker escapes nothing here */
	print_with_tabs(text);
	return 0;
}

static int show_local_image(const json_t *image, bool verbose)
{
	const json_t *manifest = json_object_get(image, "SchemaV2Manifest");
	cs_autofree char *text = json_dumps(manifest ? manifest : json_object_get(image, "OCIManifest"), JSON_INDENT(1));

	if (verbose)
		print_verbose(image);
	else
		print_with_tabs(text ? text : "");
	return 0;
}

static int show_local_list(const struct cs_ref *ref, const json_t *images, bool verbose, struct cs_err **err)
{
	const char *type;
	cs_autofree char *text = verbose ? NULL : manifest_list_text(ref, images, &type, err);

	if (verbose)
		print_verbose(images);
	else if (text)
		printf("%s\n", text);
	return verbose || text ? 0 : cs_wrap(err, "failed to assemble ManifestDescriptor");
}

static int inspect(const char *list, const char *image, const struct manifest_opts *o, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0}, of = {0};
	cs_autojson json_t *local = NULL;

	if (manifest_ref(image, &ref, err) < 0)
		return -1;
	if (list) {
		if (manifest_ref(list, &of, err) < 0 || manifest_store_get(&of, &ref, &local, err) < 0)
			return -1;
		cs_autofree char *full = cs_ref_full(&ref);
		return local ? show_local_image(local, o->verbose) : cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such manifest: %s", full);
	}
	if (manifest_store_list(&ref, &local, err) < 0)
		return -1;
	if (local)
		return show_local_list(&ref, local, o->verbose, err);
	struct cs_registry *reg = NULL;
	struct cs_repo *repo = NULL;
	int r = manifest_open_repo(&ref, o->insecure, false, &reg, &repo, err);
	if (r == 0)
		r = show_remote(repo, &ref, o->verbose, err);
	cs_repo_close(repo);
	cs_registry_unref(reg);
	return r;
}

static int cmd_manifest_inspect(struct call *c)
{
	struct cs_err *err = NULL;
	int r = inspect(c->n_args == 2 ? c->args[0] : NULL, c->args[c->n_args - 1], c->opts, &err);

	return r < 0 ? cli_error(err, 1) : 0;
}

const struct command manifest_commands[] = {
	{.names = "manifest inspect", .usage = "[OPTIONS] [MANIFEST_LIST] MANIFEST", .help = "Display an image manifest, or manifest list",
	 .about = "Display an image manifest, or manifest list\n\n" MANIFEST_EXPERIMENTAL("inspect"), .min = 1, .max = 2, CMD_OPTS(struct manifest_opts, manifest_flags), .run = cmd_manifest_inspect},
	CMD_END,
};
