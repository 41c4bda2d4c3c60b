/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest create, annotate, push and rm: one name for images of several platforms, put together on this side (manifest_store.h) and then pushed, without an
 * engine, as docker does it. */
#include "base/base64.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/manifest.h"
#include "cli/manifest_store.h"

/* ---- create ---- */

struct create_opts {
	bool amend, insecure;
};
static const struct flag create_flags[] = {
	FLAG(struct create_opts, amend, "amend", 'a', "Amend an existing manifest list"),
	FLAG(struct create_opts, insecure, "insecure", 0, "Allow communication with an insecure registry"),
	FLAG_END,
};

static int add_image(const struct cs_ref *list, const char *name, bool insecure, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0};
	cs_autojson json_t *image = NULL;

	if (manifest_ref(name, &ref, err) < 0 || manifest_store_get(list, &ref, &image, err) < 0)
		return -1;
	if (!*jstr(image, "Raw")) { /* not there, or of a docker that kept less */
		json_decref(TAKE_PTR(image));
		if (manifest_image(&ref, insecure, &image, err) < 0)
			return -1;
	}
	return manifest_store_put(list, &ref, image, err);
}

static int create(const struct call *c, struct cs_err **err)
{
	const struct create_opts *o = c->opts;
	cs_autoref struct cs_ref list = {0};
	cs_autojson json_t *there = NULL;

	if (manifest_ref(c->args[0], &list, err) < 0)
		return cs_wrap(err, "error parsing name for manifest list %s", c->args[0]);
	if (manifest_store_list(&list, &there, err) < 0)
		return -1;
	if (there && !o->amend)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "refusing to amend an existing manifest list with no --amend flag");
	for (char **name = c->args + 1; *name; name++)
		if (add_image(&list, *name, o->insecure, err) < 0)
			return -1;
	cs_autofree char *full = cs_ref_full(&list);
	printf("Created manifest list %s\n", full);
	return 0;
}

static int cmd_create(struct call *c)
{
	struct cs_err *err = NULL;
	return create(c, &err) < 0 ? cli_error(err, 1) : 0;
}

/* ---- annotate ---- */

struct annotate_opts {
	const char *os, *arch, *variant, *os_version;
	char **os_features;
};
static const struct flag annotate_flags[] = {
	FLAG(struct annotate_opts, arch, "arch", 0, "Set architecture"),
	FLAG(struct annotate_opts, os, "os", 0, "Set operating system"),
	FLAG_AS(struct annotate_opts, os_features, FLAG_STRINGS, "os-features", 0, "Set operating system feature"),
	FLAG(struct annotate_opts, os_version, "os-version", 0, "Set operating system version"),
	FLAG(struct annotate_opts, variant, "variant", 0, "Set architecture variant"),
	FLAG_END,
};

/* As docker has it, and what images have been made for since (linux/loong64, windows/arm64): what a list says otherwise would be refused by nobody, and run nowhere. */
static bool is_known(const char *os, const char *arch)
{
	static const struct {
		const char *os, *archs;
	} known[] = {{"darwin", "386 amd64 arm arm64"}, {"dragonfly", "amd64"}, {"freebsd", "386 amd64 arm"},
		     {"linux", "386 amd64 arm arm64 loong64 mips64 mips64le ppc64le riscv64 s390x"}, {"netbsd", "386 amd64 arm"}, {"openbsd", "386 amd64 arm"},
		     {"plan9", "386 amd64"}, {"solaris", "amd64"}, {"windows", "386 amd64 arm64"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(known); i++)
		if (cs_streq(known[i].os, os)) {
			cs_autostrv char **list = cs_strv_split(known[i].archs, ' ');
			return cs_strv_has(list, arch);
		}
	return false;
}

static int annotate(const struct call *c, struct cs_err **err)
{
	const struct annotate_opts *o = c->opts;
	cs_autoref struct cs_ref list = {0}, ref = {0};
	cs_autojson json_t *image = NULL;

	if (manifest_ref(c->args[0], &list, err) < 0)
		return cs_wrap(err, "annotate: error parsing name for manifest list %s", c->args[0]);
	if (manifest_ref(c->args[1], &ref, err) < 0)
		return cs_wrap(err, "annotate: error parsing name for manifest %s", c->args[1]);
	if (manifest_store_get(&list, &ref, &image, err) < 0)
		return -1;
	if (!image)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "manifest for image %s does not exist in %s", c->args[1], c->args[0]);
	json_t *descriptor = json_object_get(image, "Descriptor");
	cs_autojson json_t *was = json_incref(json_object_get(descriptor, "platform")), *features = json_array();
	const struct {
		const char *key, *value;
	} texts[] = {{"os", o->os}, {"architecture", o->arch}, {"variant", o->variant}, {"os.version", o->os_version}};
	cs_autojson json_t *now = json_is_object(was) ? json_copy(was) : json_object();
	for (size_t i = 0; i < CS_ARRAY_SIZE(texts); i++)
		if (!cs_empty(texts[i].value))
			(void)json_object_set_new(now, texts[i].key, json_string(texts[i].value));
	cs_autostrv char **all = NULL;
	const json_t *v;
	size_t i;
	json_array_foreach(json_object_get(was, "os.features"), i, v) if (json_is_string(v)) cs_strv_push(&all, json_string_value(v));
	for (char **f = o->os_features; f && *f; f++)
		if (!cs_strv_has(all, *f))
			cs_strv_push(&all, *f);
	for (char **f = all; f && *f; f++)
		(void)json_array_append_new(features, json_string(*f));
	if (all)
		(void)json_object_set(now, "os.features", features);
	if (!is_known(jstr(now, "os"), jstr(now, "architecture")))
		return cs_fail(err, CS_ERR_INVALID, 0, "manifest entry for image has unsupported os/arch combination: %s/%s", o->os ? o->os : "", o->arch ? o->arch : "");
	(void)json_object_set_new(descriptor, "platform", manifest_platform(now));
	return manifest_store_put(&list, &ref, image, err);
}

static int cmd_annotate(struct call *c)
{
	struct cs_err *err = NULL;
	return annotate(c, &err) < 0 ? cli_error(err, 1) : 0;
}

/* ---- push ---- */

struct push_opts {
	bool insecure, purge;
};
static const struct flag push_flags[] = {
	FLAG(struct push_opts, insecure, "insecure", 0, "Allow push to an insecure registry"),
	FLAG(struct push_opts, purge, "purge", 'p', "Remove the local manifest list after push"),
	FLAG_END,
};

/* Every image must say what it is for. */
static int check_platforms(const json_t *images, struct cs_err **err)
{
	const json_t *image;
	size_t i;

	json_array_foreach(images, i, image)
	{
		const json_t *p = json_object_get(json_object_get(image, "Descriptor"), "platform");
		if (!*jstr(p, "os") || !*jstr(p, "architecture"))
			return cs_fail(err, CS_ERR_INVALID, 0, "manifest %s must have an OS and Architecture to be pushed to a registry", jstr(image, "Ref"));
	}
	return 0;
}

static const json_t *manifest_of(const json_t *image)
{
	const json_t *m = json_object_get(image, "SchemaV2Manifest");
	return m ? m : json_object_get(image, "OCIManifest");
}

static int mount_one(struct cs_repo *repo, const struct cs_ref *target, const struct cs_ref *from, const json_t *descriptor, bool windows, struct cs_err **err)
{
	const char *digest = jstr(descriptor, "digest");
	bool mounted;

	if (cs_repo_blob_mount(repo, digest, from->path, &mounted, err) < 0)
		return -1;
	if (mounted || windows) /* layers of Windows may be foreign: nobody has them but their maker */
		return 0;
	cs_autofree char *to = cs_ref_full(target), *name = cs_ref_full(&(struct cs_ref){from->domain, from->path, NULL, NULL});
	return cs_fail(err, CS_ERR_DENIED, 0, "error mounting %s@%s to %s", name, digest, to);
}

/* What an image of another repository consists of, taken over into the list's. */
static int mount_blobs(struct cs_repo *repo, const struct cs_ref *target, const struct cs_ref *from, const json_t *image, struct cs_err **err)
{
	const json_t *m = manifest_of(image), *layer;
	bool windows = cs_streq(jstr(json_object_get(json_object_get(image, "Descriptor"), "platform"), "os"), "windows");
	size_t i;

	if (mount_one(repo, target, from, json_object_get(m, "config"), windows, err) < 0)
		return -1;
	json_array_foreach(json_object_get(m, "layers"), i, layer) if (mount_one(repo, target, from, layer, windows, err) < 0) return -1;
	return 0;
}

/* The image's manifest into the list's repository, byte for byte. */
static int put_image(struct cs_repo *repo, const struct cs_ref *target, const json_t *image, struct cs_err **err)
{
	const json_t *d = json_object_get(image, "Descriptor");
	size_t len = 0;
	cs_autofree char *raw = cs_base64_decode(jstr(image, "Raw"), &len);
	const struct cs_ref here = {target->domain, target->path, NULL, (char *)(uintptr_t)jstr(d, "digest")};
	cs_autofree char *full = cs_ref_full(&here);
	char digest[72] = "sha256:";

	if (raw)
		cs_sha256_hex_of(raw, len, digest + strlen(digest));
	if (!raw || !cs_streq(digest, here.digest))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: what is kept of the image has another digest; manifest create --amend gets it again", jstr(image, "Ref"));
	if (cs_repo_manifest_put(repo, here.digest, jstr(d, "mediaType"), raw, len, err) < 0)
		return -1;
	printf("Pushed ref %s with digest: %s\n", full, digest);
	return 0;
}

static int push_to(struct cs_repo *repo, const struct cs_ref *target, const json_t *images, const char *text, const char *type, struct cs_err **err)
{
	char digest[72] = "sha256:";
	const json_t *image;
	size_t i;

	for (int putting = 0; putting < 2; putting++)
		json_array_foreach(images, i, image)
		{
			cs_autoref struct cs_ref from = {0};
			if (cs_ref_parse(jstr(image, "Ref"), &from, err) < 0)
				return -1;
			if (cs_streq(from.path, target->path)) /* it is there already */
				continue;
			if ((putting ? put_image(repo, target, image, err) : mount_blobs(repo, target, &from, image, err)) < 0)
				return -1;
		}
	if (cs_repo_manifest_put(repo, target->digest ? target->digest : target->tag, type, text, strlen(text), err) < 0)
		return -1;
	cs_sha256_hex_of(text, strlen(text), digest + strlen(digest));
	printf("%s\n", digest);
	return 0;
}

static int push(const struct call *c, struct cs_err **err)
{
	const struct push_opts *o = c->opts;
	cs_autoref struct cs_ref target = {0};
	cs_autojson json_t *images = NULL;
	struct cs_registry *reg = NULL;
	struct cs_repo *repo = NULL;
	const char *type;

	if (manifest_ref(c->args[0], &target, err) < 0 || manifest_store_list(&target, &images, err) < 0)
		return -1;
	cs_autofree char *full = cs_ref_full(&target);
	if (!images)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such manifest: %s", full);
	if (json_array_size(images) == 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "%s not found", full);
	if (check_platforms(images, err) < 0)
		return -1;
	cs_autofree char *text = manifest_list_text(&target, images, &type, err);
	if (!text)
		return -1;
	int r = manifest_open_repo(&target, o->insecure, true, &reg, &repo, err);
	if (r == 0)
		r = push_to(repo, &target, images, text, type, err);
	cs_repo_close(repo);
	cs_registry_unref(reg);
	return r == 0 && o->purge ? manifest_store_remove(&target, err) : r;
}

static int cmd_push(struct call *c)
{
	struct cs_err *err = NULL;
	return push(c, &err) < 0 ? cli_error(err, 1) : 0;
}

/* ---- rm ---- */

static int remove_one(const char *name, struct cs_err **err)
{
	cs_autoref struct cs_ref list = {0};
	cs_autojson json_t *there = NULL;

	if (manifest_ref(name, &list, err) < 0 || manifest_store_list(&list, &there, err) < 0)
		return -1;
	cs_autofree char *full = cs_ref_full(&list);
	return there ? manifest_store_remove(&list, err) : cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such manifest: %s", full);
}

static int cmd_rm(struct call *c)
{
	int status = 0;

	for (char **name = c->args; *name; name++) {
		struct cs_err *err = NULL;
		if (remove_one(*name, &err) < 0)
			status = cli_error(err, 1);
	}
	return status;
}

#define ABOUT(text, command) text "\n\n" MANIFEST_EXPERIMENTAL(command)
#define CREATE "Create a local manifest list for annotating and pushing to a registry"
#define ANNOTATE "Add additional information to a local image manifest"
#define PUSH "Push a manifest list to a repository"
#define RM "Delete one or more manifest lists from local storage"
const struct command manifest_list_commands[] = {
	{.names = "manifest annotate", .usage = "[OPTIONS] MANIFEST_LIST MANIFEST", .help = ANNOTATE, .about = ABOUT(ANNOTATE, "annotate"), .min = 2, .max = 2,
	 CMD_OPTS(struct annotate_opts, annotate_flags), .run = cmd_annotate},
	{.names = "manifest create", .usage = "MANIFEST_LIST MANIFEST [MANIFEST...]", .help = CREATE, .about = ABOUT(CREATE, "create"), .min = 2, .max = ANY,
	 CMD_OPTS(struct create_opts, create_flags), .run = cmd_create},
	{.names = "manifest push", .usage = "[OPTIONS] MANIFEST_LIST", .help = PUSH, .about = ABOUT(PUSH, "push"), .min = 1, .max = 1, CMD_OPTS(struct push_opts, push_flags), .run = cmd_push},
	{.names = "manifest rm", .usage = "MANIFEST_LIST [MANIFEST_LIST...]", .help = RM, .about = ABOUT(RM, "rm"), .min = 1, .max = ANY, .run = cmd_rm},
	CMD_END,
};
