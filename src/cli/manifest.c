/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson manifest inspect: asks the registry itself, no engine, as docker does. The lists that docker's `manifest create` keeps beside config.json are not read. */
#include "base/json.h"
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/sha256_lib.h"
#include "registry/reference.h"
#include "registry/registry.h"

#define CONFIG_MAX ((size_t)4 << 20)

#define EXPERIMENTAL                                                                                                                                 \
	"EXPERIMENTAL:\n"                                                                                                                            \
	"  docker manifest inspect is an experimental feature.\n"                                                                                   \
	"  Experimental features provide early access to product functionality. These\n"                                                            \
	"  features may change between releases without warning, or can be removed from a\n"                                                        \
	"  future release. Learn more about experimental features in our documentation:\n"                                                          \
	"  https://docs.docker.com/go/experimental/"

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

/* architecture and os are always there, the rest when it says something. Caller owns. */
static json_t *platform_of(const json_t *j)
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

static int open_repo(const struct cs_ref *ref, const char *image, bool insecure, struct cs_registry **reg, struct cs_repo **ret, struct cs_err **err)
{
	char *hosts[] = {ref->domain, NULL};
	const struct cs_registry_config cfg = {.insecure = insecure ? hosts : NULL, .user_agent = "Caisson-Client/" CAISSON_VERSION};
	cs_autofree char *server = auth_server_of_image(image);
	auto_auth struct auth a = {0};
	struct cs_err *mine = NULL;

	if (auth_get(server, &a, &mine) < 0) /* a helper that fails is no reason not to try: many images are public */
		cs_err_free(mine);
	const struct cs_registry_auth auth = {.username = a.user, .password = a.password, .identity_token = a.identity_token, .server_address = server};
	const struct cs_repo_options o = {.host = ref->domain, .path = ref->path, .auth = a.user || a.identity_token ? &auth : NULL, .cancel_fd = -1};
	if (cs_registry_new(&cfg, reg, err) < 0)
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
	cs_autofree char *raw = base64_encode(m->data, m->len, false);
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
			 platform_of(platform), "Raw", raw, docker ? "SchemaV2Manifest" : "OCIManifest", manifest);
}

/* ---- what is printed ---- */

static void print_list(const struct cs_remote_manifest *m, const json_t *list)
{
	static const char *const keys[] = {"mediaType", "size", "digest", NULL};
	cs_autojson json_t *out = json_pack("{s:I,s:s,s:[]}", "schemaVersion", (json_int_t)jint(list, "schemaVersion"), "mediaType", m->media_type, "manifests");
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(list, "manifests"), i, entry)
	{
		json_t *d = json_object();
		copy(d, entry, keys);
		(void)json_object_set_new(d, "platform", platform_of(json_object_get(entry, "platform")));
		(void)json_array_append_new(json_object_get(out, "manifests"), d);
	}
	cs_autofree char *text = json_text(out, 3);
	printf("%s\n", text);
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
		const json_t *platform = json_object_get(entry, "platform");
		json_t *d = describe(repo, shown, &m, manifest, platform, err);
		if (!d)
			return -1;
		(void)json_array_append_new(all, d);
	}
	cs_autofree char *text = json_text(all, 1);
	print_with_tabs(text);
	return 0;
}

static int show(struct cs_repo *repo, const struct cs_ref *ref, bool verbose, struct cs_err **err)
{
	cs_automanifest struct cs_remote_manifest m = {0};
	cs_autojson json_t *manifest = NULL;
	cs_autofree char *full = cs_ref_full(ref), *text = NULL;

	if (fetch(repo, ref->digest ? ref->digest : ref->tag, &m, &manifest, err) < 0) {
		if (err && *err && cs_err_code(*err) == CS_ERR_NOT_FOUND && cs_prefix((*err)->msg, "manifest ")) {
			cs_err_free(TAKE_PTR(*err));
			return cs_fail(err, CS_ERR_NOT_FOUND, 0, "no such manifest: %s", full);
		}
		return -1;
	}
	if (is_list(&m)) {
		if (verbose)
			return print_each(repo, ref, manifest, err);
		print_list(&m, manifest);
		return 0;
	}
	if (verbose) {
		cs_autojson json_t *d = describe(repo, full, &m, manifest, NULL, err);
		if (!d)
			return -1;
		text = json_text(d, 1);
	} else {
		text = json_dumps(manifest, JSON_INDENT(1)); /* as it is: docker escapes nothing here */
	}
	print_with_tabs(text);
	return 0;
}

static int cmd_manifest_inspect(struct call *c)
{
	const struct manifest_opts *o = c->opts;
	const char *image = c->args[c->n_args - 1];
	cs_autoref struct cs_ref ref = {0};
	struct cs_registry *reg = NULL;
	struct cs_repo *repo = NULL;
	struct cs_err *err = NULL;
	int r = cs_ref_parse(image, &ref, &err);

	if (r == 0) {
		cs_ref_default_tag(&ref);
		if (c->n_args == 2) { /* of a local list: there is none */
			cs_autofree char *full = cs_ref_familiar(&ref);
			return cli_fail(1, "No such manifest: %s", full);
		}
		r = sha256_load(&err);
	}
	if (r == 0)
		r = open_repo(&ref, image, o->insecure, &reg, &repo, &err);
	if (r == 0)
		r = show(repo, &ref, o->verbose, &err);
	cs_repo_close(repo);
	cs_registry_unref(reg);
	return r < 0 ? cli_error(err, 1) : 0;
}

const struct command manifest_commands[] = {
	{.names = "manifest inspect", .usage = "[OPTIONS] [MANIFEST_LIST] MANIFEST", .help = "Display an image manifest, or manifest list", .about = "Display an image manifest, or manifest list\n\n" EXPERIMENTAL, .min = 1, .max = 2,
	 CMD_OPTS(struct manifest_opts, manifest_flags), .run = cmd_manifest_inspect},
	CMD_END,
};
