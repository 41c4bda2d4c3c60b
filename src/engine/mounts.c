/* SPDX-License-Identifier: Apache-2.0
 *
 * Binds, Mounts, VolumesFrom and Config.Volumes: parsing with dockerd's messages, and merging into one list of mount points.
 * Touches nothing on disk but a stat of bind sources that must exist. Any thread. */
#include <string.h>
#include <sys/stat.h>

#include "base/id.h"
#include "base/num.h"
#include "base/path.h"
#include "engine/hostfacts.h"
#include "engine/spec-internal.h"
#include "engine/volumes_internal.h"

static const char *const propagations[] = {"private", "rprivate", "slave", "rslave", "shared", "rshared", NULL};

static bool in_list(const char *const *list, const char *s)
{
	for (; *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

/* ---- one bind ---- */

/* "ro,z,rprivate": each kind of option at most once. */
static bool mode_valid(const char *mode)
{
	static const char *const rw[] = {"rw", "ro", NULL}, *const label[] = {"z", "Z", NULL}, *const copy[] = {"nocopy", NULL},
				 *const consistency[] = {"consistent", "cached", "delegated", NULL};
	const char *const *kinds[] = {rw, label, propagations, copy, consistency};
	int seen[CS_ARRAY_SIZE(kinds)] = {0};

	if (!*mode)
		return true;
	cs_autostrv char **parts = cs_strv_split(mode, ',');
	for (size_t i = 0; parts[i]; i++) {
		size_t k = 0;
		while (k < CS_ARRAY_SIZE(kinds) && !in_list(kinds[k], parts[i]))
			k++;
		if (k == CS_ARRAY_SIZE(kinds) || seen[k]++)
			return false;
	}
	return true;
}

void cs_bind_spec_done(struct cs_bind_spec *b)
{
	free(b->source);
	free(b->target);
	free(b->mode);
	free(b->propagation);
	*b = (struct cs_bind_spec){0};
}

bool cs_volume_name_valid(const char *n)
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t len = strlen(n);

	return len >= 2 && len <= 255 && strchr(alnum, n[0]) && strspn(n, rest) == len;
}

int cs_volume_name_check(const char *n, struct cs_err **err)
{
	if (strlen(n) == 1)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "create %s: volume name is too short, names should be at least two alphanumeric characters", n);
	if (!cs_volume_name_valid(n))
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "create %s: \"%s\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are "
			       "allowed. If you intended to pass a host directory, use absolute path",
			       n, n);
	return 0;
}

static int check_target(const char *type, const char *target, struct cs_err **err)
{
	cs_autofree char *clean = cs_path_clean(target);

	if (cs_empty(target))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"%s\": field Target must not be empty", type);
	if (strcmp(clean, "/") == 0)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid mount config for type \"%s\": invalid specification: destination can't be '/'", type);
	if (target[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid mount config for type \"%s\": invalid mount path: '%s' mount path must be absolute", type, target);
	return 0;
}

static int split_bind(const char *raw, struct cs_bind_spec *b, struct cs_err **err)
{
	cs_autostrv char **p = cs_strv_split(raw, ':');
	size_t n = cs_strv_len(p);

	if (n > 3 || !*p[0] || (n == 2 && *p[1] && mode_valid(p[1])))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid volume specification: '%s'", raw);
	if (n == 1) {
		b->target = cs_xstrdup(p[0]);
	} else {
		b->source = cs_xstrdup(p[0]);
		b->target = cs_xstrdup(p[1]);
	}
	b->mode = cs_xstrdup(n == 3 ? p[2] : "");
	if (!mode_valid(b->mode))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mode: %s", b->mode);
	return 0;
}

int cs_bind_spec_parse(const char *raw, struct cs_bind_spec *ret, struct cs_err **err)
{
	struct cs_bind_spec b cs_auto(cs_bind_spec_done) = {0};
	cs_autoerr struct cs_err *inner = NULL;

	if (split_bind(raw, &b, err) < 0)
		return -1;
	b.is_volume = cs_empty(b.source) || b.source[0] != '/';
	if (check_target(b.is_volume ? "volume" : "bind", b.target, &inner) < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid volume specification: '%s': %s", raw, inner->msg);
	cs_autostrv char **opts = cs_strv_split(b.mode, ',');
	for (size_t i = 0; opts[i]; i++) {
		if (strcmp(opts[i], "ro") == 0)
			b.read_only = true;
		else if (strcmp(opts[i], "nocopy") == 0)
			b.no_copy = true;
		else if (in_list(propagations, opts[i]))
			b.propagation = cs_xstrdup(opts[i]);
	}
	if (b.is_volume && b.propagation)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid volume specification: '%s': invalid mount config for type \"volume\": field BindOptions must not be specified",
			       raw);
	if (!b.is_volume && b.no_copy)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid volume specification: '%s': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
			       raw);
	if (b.is_volume && !cs_empty(b.source) && cs_volume_name_check(b.source, err) < 0)
		return -1;
	if (b.is_volume && cs_empty(b.source) && b.read_only)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid volume specification: '%s': invalid mount config for type \"volume\": must not set ReadOnly mode when "
			       "using anonymous volumes",
			       raw);
	*ret = b;
	b = (struct cs_bind_spec){0};
	return 0;
}

int cs_volumes_from_parse(const char *text, char **ref, const char **mode, struct cs_err **err)
{
	const char *colon = strchr(text, ':');

	if (!*text)
		return cs_fail(err, CS_ERR_INVALID, 0, "volumes-from specification cannot be an empty string");
	if (colon) {
		cs_autostrv char **parts = cs_strv_split(colon + 1, ',');
		if (!mode_valid(colon + 1))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid mode: %s", colon + 1);
		for (size_t i = 0; parts[i]; i++)
			if (in_list(propagations, parts[i]) || strcmp(parts[i], "nocopy") == 0)
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid mode: %s", colon + 1);
	}
	*ref = colon ? cs_xstrndup(text, (size_t)(colon - text)) : cs_xstrdup(text);
	*mode = colon ? colon + 1 : "rw";
	return 0;
}

/* ---- HostConfig.Mounts ---- */

static int extra_field(const struct cs_mount *m, const char *field, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"%s\": field %s must not be specified", m->type, field);
}

/* A relative path that stays inside. */
static bool subpath_valid(const char *s)
{
	if (s[0] == '/')
		return false;
	cs_autostrv char **parts = cs_strv_split(s, '/');
	return !cs_strv_has(parts, "..");
}

static int check_bind_mount(const struct cs_mount *m, struct cs_err **err)
{
	const struct cs_bind_options *o = m->bind_options;

	if (cs_empty(m->source))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"bind\": field Source must not be empty");
	if (o && !cs_empty(o->propagation) && !in_list(propagations, o->propagation))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"bind\": invalid propagation mode: %s", o->propagation);
	if (m->volume_options)
		return extra_field(m, "VolumeOptions", err);
	if (m->image_options)
		return extra_field(m, "ImageOptions", err);
	if (m->tmpfs_options)
		return extra_field(m, "TmpfsOptions", err);
	if (m->source[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid mount config for type \"bind\": invalid mount path: '%s' mount path must be absolute", m->source);
	if (o && o->read_only_non_recursive && o->read_only_force_recursive)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid mount config for type \"bind\": mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive");
	if (o && !m->read_only && o->read_only_force_recursive)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid mount config for type \"bind\": mount options conflict: !ReadWrite && ReadOnlyForceRecursive");
	if (access(m->source, F_OK) < 0 && !(o && o->create_mountpoint))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"bind\": bind source path does not exist: %s", m->source);
	return 0;
}

static int check_volume_mount(const struct cs_mount *m, struct cs_err **err)
{
	const struct cs_volume_options *o = m->volume_options;

	if (m->bind_options)
		return extra_field(m, "BindOptions", err);
	if (m->image_options)
		return extra_field(m, "ImageOptions", err);
	if (m->tmpfs_options)
		return extra_field(m, "TmpfsOptions", err);
	if (cs_empty(m->source) && m->read_only)
		return cs_fail(err, CS_ERR_INVALID, 0,
			       "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes");
	if (o && !cs_empty(o->subpath) && (cs_empty(m->source) || !subpath_valid(o->subpath)))
		return cs_fail(err, CS_ERR_INVALID, 0,
			       cs_empty(m->source) ? "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes"
						   : "invalid mount config for type \"volume\": subpath must be a relative path within the volume");
	return cs_empty(m->source) ? 0 : cs_volume_name_check(m->source, err);
}

static int check_tmpfs_mount(const struct cs_mount *m, struct cs_err **err)
{
	if (m->bind_options)
		return extra_field(m, "BindOptions", err);
	if (m->volume_options)
		return extra_field(m, "VolumeOptions", err);
	if (m->image_options)
		return extra_field(m, "ImageOptions", err);
	if (!cs_empty(m->source))
		return extra_field(m, "Source", err);
	if (m->tmpfs_options && m->tmpfs_options->size_bytes < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"tmpfs\": SizeBytes must not be negative");
	return 0;
}

static int check_image_mount(const struct cs_mount *m, struct cs_err **err)
{
	const struct cs_image_options *o = m->image_options;

	if (m->bind_options)
		return extra_field(m, "BindOptions", err);
	if (m->volume_options)
		return extra_field(m, "VolumeOptions", err);
	if (m->tmpfs_options)
		return extra_field(m, "TmpfsOptions", err);
	if (cs_empty(m->source))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"image\": field Source must not be empty");
	if (o && !cs_empty(o->subpath) && !subpath_valid(o->subpath))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"image\": subpath must be a relative path within the image");
	return 0;
}

int cs_mount_check(const struct cs_mount *m, struct cs_err **err)
{
	const char *type = m->type ? m->type : "";

	if (check_target(type, m->target ? m->target : "", err) < 0)
		return -1;
	if (strcmp(type, "bind") == 0)
		return check_bind_mount(m, err);
	if (strcmp(type, "volume") == 0)
		return check_volume_mount(m, err);
	if (strcmp(type, "tmpfs") == 0)
		return check_tmpfs_mount(m, err);
	if (strcmp(type, "image") == 0)
		return check_image_mount(m, err);
	if (strcmp(type, "cluster") == 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "mounts of type cluster need a swarm, which is not available in this build");
	return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"%s\": mount type unknown", type);
}

/* ---- tmpfs options ---- */

/* option, its opposite: the last word of a pair wins */
static const char *const flag_pairs[][2] = {{"ro", "rw"},         {"noexec", "exec"},     {"nosuid", "suid"},         {"nodev", "dev"},
					    {"sync", "async"},    {"dirsync", ""},        {"remount", ""},            {"mand", "nomand"},
					    {"noatime", "atime"}, {"nodiratime", "diratime"}, {"relatime", "norelatime"}, {"strictatime", "nostrictatime"},
					    {"bind", "rbind"}};

static int flag_group(const char *o)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(flag_pairs); i++)
		if (strcmp(o, flag_pairs[i][0]) == 0 || (*o && strcmp(o, flag_pairs[i][1]) == 0))
			return (int)i;
	return -1;
}

static bool same_option(const char *a, const char *b)
{
	int g = flag_group(a);

	if (g >= 0)
		return flag_group(b) == g;
	size_t n = strcspn(a, "=");
	return strncmp(a, b, n) == 0 && b[n] == a[n];
}

int cs_tmpfs_options(const char *user, char **ret, struct cs_err **err)
{
	static const char *const values[] = {"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge", NULL};
	cs_autostrv char **given = cs_strv_split(user ? user : "", ',');
	cs_autostrv char **all = NULL, **merged = cs_xcalloc(1, sizeof(*merged));

	cs_strv_push(&all, "noexec");
	cs_strv_push(&all, "nosuid");
	cs_strv_push(&all, "nodev");
	for (size_t i = 0; given[i]; i++) {
		cs_autofree char *key = cs_xstrndup(given[i], strcspn(given[i], "="));
		if (!*given[i])
			continue;
		bool value = strchr(given[i], '=') != NULL;
		if (value ? !in_list(values, key)
			  : (flag_group(key) < 0 && !in_list(propagations, key)) || strcmp(key, "remount") == 0 || strstr(key, "bind"))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid tmpfs option [\"%s\"]", given[i]);
		cs_strv_push(&all, given[i]);
	}
	for (size_t i = 0; all[i]; i++) {
		bool later = false;
		for (size_t k = i + 1; all[k]; k++)
			later = later || same_option(all[i], all[k]);
		if (!later)
			cs_strv_push(&merged, all[i]);
	}
	*ret = cs_strv_join(merged, ",");
	return 0;
}

int cs_tmpfs_target_check(const char *target, struct cs_err **err)
{
	cs_autofree char *clean = cs_path_clean(target);

	if (strcmp(clean, "/") == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid specification: destination can't be '/'");
	if (target[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount path: '%s' mount path must be absolute", target);
	return 0;
}

/* TmpfsOptions to mount options. */
static int tmpfs_mount_options(const struct cs_mount *m, char **ret, struct cs_err **err)
{
	const struct cs_tmpfs_options *o = m->tmpfs_options;
	struct cs_str s cs_autostr = CS_STR_INIT(65536);
	size_t i;
	json_t *pair;

	cs_str_puts(&s, m->read_only ? "ro" : "rw");
	if (o && o->mode)
		cs_str_putf(&s, ",mode=%o", (unsigned)(o->mode & 07777));
	if (o && o->size_bytes)
		cs_str_putf(&s, ",size=%lld", (long long)o->size_bytes);
	cs_autojson json_t *j = o && o->options ? cs_json_parse(o->options, strlen(o->options), err) : NULL;
	if (o && o->options && !j)
		return -1;
	json_array_foreach(j, i, pair)
	{
		const char *k = json_string_value(json_array_get(pair, 0)), *v = json_string_value(json_array_get(pair, 1));
		size_t n = json_array_size(pair);
		if (n < 1 || n > 2 || !k || (n == 2 && !v) || strchr(k, ',') || (v && strchr(v, ',')))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"tmpfs\": invalid option array length or type");
		cs_str_putf(&s, n == 2 ? ",%s=%s" : ",%s", k, v);
	}
	if (s.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"tmpfs\": options are too long");
	return cs_tmpfs_options(s.buf, ret, err);
}

/* ---- merging ---- */

struct merge {
	const struct cs_engine_config *cfg;
	const struct cs_host_config *host;
	struct cs_mount_point *v;
	size_t n;
	int api;
	bool recursive_ro; /* API 1.44 made read-only binds recursive where the kernel can */
};

static void merge_done(struct merge *m) { cs_mount_points_free(m->v, m->n); }

static struct cs_mount_point *find_point(struct merge *m, const char *destination)
{
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->v[i].destination, destination) == 0)
			return &m->v[i];
	return NULL;
}

/* A zeroed slot for the destination; what stood there (from VolumesFrom) is replaced. */
static struct cs_mount_point *add_point(struct merge *m, const char *destination)
{
	cs_autofree char *clean = cs_path_clean(destination);
	struct cs_mount_point *p = find_point(m, clean);

	if (p) {
		cs_json_release(&cs_mount_point_store_type, p);
	} else {
		m->v = cs_xreallocarray(m->v, m->n + 1, sizeof(*m->v));
		p = &m->v[m->n++];
		*p = (struct cs_mount_point){0};
	}
	p->destination = TAKE_PTR(clean);
	return p;
}

static int set_volume(struct merge *m, struct cs_mount_point *p, const char *name, const char *mode, const char *driver, struct cs_err **err)
{
	char id[CS_ID_LEN + 1];

	p->anonymous = cs_empty(name);
	if (p->anonymous)
		cs_id_new(id);
	p->type = cs_xstrdup("volume");
	p->name = cs_xstrdup(p->anonymous ? id : name);
	p->source = cs_xasprintf("%s/volumes/%s/_data", m->cfg->data_root, p->name);
	p->driver = cs_xstrdup("local");
	p->mode = cs_xstrdup(mode);
	return cs_volume_driver_check(driver, p->name, err);
}

static bool in_tmpfs(const struct cs_host_config *host, const char *destination)
{
	for (size_t i = 0; host->tmpfs && i < host->tmpfs->n; i++) {
		cs_autofree char *clean = cs_path_clean(host->tmpfs->kv[i].key);
		if (strcmp(clean, destination) == 0)
			return true;
	}
	return false;
}

/* Among what the user wrote in Binds and Mounts (indices from `first`). */
static int check_duplicate(struct merge *m, char ***seen, const char *destination, struct cs_err **err)
{
	cs_autofree char *clean = cs_path_clean(destination);

	if (cs_strv_has(*seen, clean) || in_tmpfs(m->host, clean))
		return cs_fail(err, CS_ERR_INVALID, 0, "Duplicate mount point: %s", clean);
	cs_strv_push(seen, clean);
	return 0;
}

static int merge_volumes_from(struct merge *m, const struct cs_container_lookup *lookup, struct cs_err **err)
{
	for (size_t i = 0; m->host->volumes_from && m->host->volumes_from[i]; i++) {
		cs_autofree char *ref = NULL;
		struct cs_mount_point *from = NULL;
		const char *mode;
		size_t n = 0;

		if (cs_volumes_from_parse(m->host->volumes_from[i], &ref, &mode, err) < 0)
			return -1;
		if (!lookup || !lookup->mounts)
			continue;
		cs_autoerr struct cs_err *missing = NULL;
		if (lookup->mounts(lookup->ctx, ref, &from, &n, &missing) < 0) /* dockerd: 400, the request is wrong */
			return cs_fail(err, missing && missing->code != CS_ERR_NOT_FOUND ? missing->code : CS_ERR_INVALID, 0, "%s",
				       missing ? missing->msg : ref);
		cs_autostrv char **opts = cs_strv_split(mode, ',');
		for (size_t k = 0; k < n; k++) {
			if (cs_streq(from[k].type, "tmpfs"))
				continue;
			struct cs_mount_point *p = add_point(m, from[k].destination);
			free(p->destination);
			cs_json_copy(&cs_mount_point_store_type, p, &from[k]);
			p->rw = p->rw && !cs_strv_has(opts, "ro");
			free(p->mode); /* how it was asked for there */
			p->mode = cs_xstrdup("");
			p->no_copy = true; /* anonymous stays: the last who has it takes it along */
			p->create_source = false;
		}
		cs_mount_points_free(from, n);
	}
	return 0;
}

static int merge_binds(struct merge *m, char ***seen, struct cs_err **err)
{
	for (size_t i = 0; m->host->binds && m->host->binds[i]; i++) {
		struct cs_bind_spec b cs_auto(cs_bind_spec_done) = {0};

		if (cs_bind_spec_parse(m->host->binds[i], &b, err) < 0 || check_duplicate(m, seen, b.target, err) < 0)
			return -1;
		struct cs_mount_point *p = add_point(m, b.target);
		if (b.is_volume) {
			if (set_volume(m, p, b.source, *b.mode ? b.mode : "z", m->host->volume_driver, err) < 0)
				return -1;
			p->no_copy = b.no_copy;
		} else {
			p->type = cs_xstrdup("bind");
			p->source = cs_path_clean(b.source);
			p->mode = cs_xstrdup(b.mode);
			p->propagation = cs_xstrdup(b.propagation ? b.propagation : "rprivate");
			p->create_source = true;
			p->ro_non_recursive = !m->recursive_ro;
		}
		p->rw = !b.read_only;
	}
	return 0;
}

static void merge_bind_mount(struct merge *m, struct cs_mount_point *p, const struct cs_mount *in)
{
	const struct cs_bind_options *o = in->bind_options;

	p->type = cs_xstrdup("bind");
	p->source = cs_path_clean(in->source);
	p->propagation = cs_xstrdup(o && !cs_empty(o->propagation) ? o->propagation : "rprivate");
	p->ro_non_recursive = !m->recursive_ro;
	if (!o)
		return;
	p->non_recursive = o->non_recursive;
	p->create_source = o->create_mountpoint;
	p->ro_non_recursive = p->ro_non_recursive || o->read_only_non_recursive;
	p->ro_force_recursive = o->read_only_force_recursive;
	if (p->ro_force_recursive)
		p->ro_non_recursive = false;
}

static int merge_mounts(struct merge *m, char ***seen, struct cs_err **err)
{
	int api = m->api;

	for (size_t i = 0; i < m->host->n_mounts; i++) {
		const struct cs_mount *in = &m->host->mounts[i];

		if (cs_mount_check(in, err) < 0 || check_duplicate(m, seen, in->target, err) < 0)
			return -1;
		struct cs_mount_point *p = add_point(m, in->target);
		p->rw = !in->read_only;
		if (strcmp(in->type, "bind") == 0) {
			merge_bind_mount(m, p, in);
		} else if (strcmp(in->type, "volume") == 0) {
			const struct cs_volume_options *o = in->volume_options;
			const struct cs_volume_driver *d = o ? o->driver_config : NULL;
			if (set_volume(m, p, in->source, "z", d ? d->name : NULL, err) < 0)
				return -1;
			p->no_copy = o && o->no_copy;
			p->subpath = o && !cs_empty(o->subpath) ? cs_path_clean(o->subpath) : NULL;
			p->volume_labels = o ? cs_strmap_copy(o->labels) : NULL;
			p->volume_opts = d ? cs_strmap_copy(d->options) : NULL;
		} else if (strcmp(in->type, "image") == 0) { /* its source, the id, is filled in by who knows images */
			const struct cs_image_options *o = in->image_options;
			if (api && api < 148)
				return cs_fail(err, CS_ERR_INVALID, 0, "Mount type \"Image\" needs API v1.48 or newer");
			p->type = cs_xstrdup("image");
			p->name = cs_xstrdup(in->source);
			p->subpath = o && !cs_empty(o->subpath) ? cs_path_clean(o->subpath) : NULL;
			p->rw = false;
		} else {
			p->type = cs_xstrdup("tmpfs");
			if (tmpfs_mount_options(in, &p->options, err) < 0)
				return -1;
		}
	}
	return 0;
}

static int merge_volumes(struct merge *m, const struct cs_config *config, struct cs_err **err)
{
	for (size_t i = 0; config->volumes && config->volumes[i]; i++) {
		cs_autofree char *clean = cs_path_clean(config->volumes[i]);

		if (cs_empty(config->volumes[i]) || strcmp(clean, "/") == 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid volume specification: '%s'", config->volumes[i]);
		if (clean[0] != '/') { /* relative paths of images count from the root */
			char *abs = cs_xasprintf("/%s", clean);
			free(clean);
			clean = cs_path_clean(abs);
			free(abs);
		}
		if (find_point(m, clean) || in_tmpfs(m->host, clean))
			continue;
		struct cs_mount_point *p = add_point(m, clean);
		if (set_volume(m, p, NULL, "", m->host->volume_driver, err) < 0)
			return -1;
		p->rw = true;
	}
	return 0;
}

static int by_destination(const void *a, const void *b)
{
	return strcmp(((const struct cs_mount_point *)a)->destination, ((const struct cs_mount_point *)b)->destination);
}

int cs_mounts_resolve(const struct cs_engine_config *cfg, const struct cs_container_lookup *lookup, const struct cs_config *config,
		      struct cs_host_config *host, int api, struct cs_mount_point **ret, size_t *n, struct cs_err **err)
{
	const struct cs_host_facts *f = cs_host_facts();
	struct merge m cs_auto(merge_done) = {.cfg = cfg, .host = host, .api = api};
	cs_autostrv char **seen = NULL;

	m.recursive_ro = (api == 0 || api >= 144) && (f->kernel_major > 5 || (f->kernel_major == 5 && f->kernel_minor >= 12));
	if (merge_volumes_from(&m, lookup, err) < 0 || merge_binds(&m, &seen, err) < 0 || merge_mounts(&m, &seen, err) < 0 ||
	    merge_volumes(&m, config, err) < 0)
		return -1;
	if (m.n)
		qsort(m.v, m.n, sizeof(*m.v), by_destination);
	*ret = TAKE_PTR(m.v);
	*n = m.n;
	m.n = 0;
	return 0;
}
