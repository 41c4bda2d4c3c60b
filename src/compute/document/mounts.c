/* SPDX-License-Identifier: Apache-2.0
 *
 * OCI mounts to MOUNT, BIND and CGROUP_MOUNT steps. Pure; any thread. */
#include <sys/mount.h>

#include "base/path.h"
#include "base/strv.h"
#include "base/sys.h"
#include "compute/document/document.h"
#include "compute/document/fields.h"
#include "compute/process/plan.h"

enum kind { ATTR, ATTR_CLEAR, ATTR_REC, PROPAGATION, BIND, RBIND, IGNORE, REFUSE };

static const struct {
	const char *name;
	enum kind kind;
	uint64_t value;
} options[] = {
	{"ro", ATTR, CS_MOUNT_ATTR_RDONLY},
	{"nosuid", ATTR, CS_MOUNT_ATTR_NOSUID},
	{"nodev", ATTR, CS_MOUNT_ATTR_NODEV},
	{"noexec", ATTR, CS_MOUNT_ATTR_NOEXEC},
	{"noatime", ATTR, CS_MOUNT_ATTR_NOATIME},
	{"strictatime", ATTR, CS_MOUNT_ATTR_STRICTATIME},
	{"nodiratime", ATTR, CS_MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", ATTR, CS_MOUNT_ATTR_NOSYMFOLLOW},
	{"rw", ATTR_CLEAR, CS_MOUNT_ATTR_RDONLY},
	{"suid", ATTR_CLEAR, CS_MOUNT_ATTR_NOSUID},
	{"dev", ATTR_CLEAR, CS_MOUNT_ATTR_NODEV},
	{"exec", ATTR_CLEAR, CS_MOUNT_ATTR_NOEXEC},
	{"atime", ATTR_CLEAR, CS_MOUNT_ATTR_NOATIME},
	{"relatime", ATTR_CLEAR, CS_MOUNT_ATTR__ATIME},
	{"norelatime", IGNORE, 0},
	{"nostrictatime", ATTR_CLEAR, CS_MOUNT_ATTR_STRICTATIME},
	{"diratime", ATTR_CLEAR, CS_MOUNT_ATTR_NODIRATIME},
	{"symfollow", ATTR_CLEAR, CS_MOUNT_ATTR_NOSYMFOLLOW},
	{"rro", ATTR_REC, CS_MOUNT_ATTR_RDONLY},
	{"rnosuid", ATTR_REC, CS_MOUNT_ATTR_NOSUID},
	{"rnodev", ATTR_REC, CS_MOUNT_ATTR_NODEV},
	{"rnoexec", ATTR_REC, CS_MOUNT_ATTR_NOEXEC},
	{"rnoatime", ATTR_REC, CS_MOUNT_ATTR_NOATIME},
	{"rstrictatime", ATTR_REC, CS_MOUNT_ATTR_STRICTATIME},
	{"rnodiratime", ATTR_REC, CS_MOUNT_ATTR_NODIRATIME},
	{"rnosymfollow", ATTR_REC, CS_MOUNT_ATTR_NOSYMFOLLOW},
	{"private", PROPAGATION, MS_PRIVATE},
	{"rprivate", PROPAGATION, MS_PRIVATE | MS_REC},
	{"slave", PROPAGATION, MS_SLAVE},
	{"rslave", PROPAGATION, MS_SLAVE | MS_REC},
	{"shared", PROPAGATION, MS_SHARED},
	{"rshared", PROPAGATION, MS_SHARED | MS_REC},
	{"unbindable", PROPAGATION, MS_UNBINDABLE},
	{"runbindable", PROPAGATION, MS_UNBINDABLE | MS_REC},
	{"bind", BIND, 0},
	{"rbind", RBIND, 0},
	{"defaults", IGNORE, 0},
	{"silent", IGNORE, 0},
	{"loud", IGNORE, 0},
	{"idmap", REFUSE, 0},
	{"ridmap", REFUSE, 0},
	{"tmpcopyup", REFUSE, 0},
	{"remount", REFUSE, 0},
	{"move", REFUSE, 0},
};

struct parsed {
	const char *dest, *type, *source;
	const char *subpath, *ns; /* what OCI lacks: a path that must stay below the source, the mount namespace of the source */
	uint64_t attr, propagation;
	bool bind, recursive, attr_recursive;
	struct cs_str data; /* for the file system */
};

static int one_option(struct parsed *m, const char *o, const char *at, struct cs_err **err)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(options); i++) {
		if (strcmp(options[i].name, o) != 0)
			continue;
		switch (options[i].kind) {
		case ATTR_REC: m->attr_recursive = true; /* fall through */
		case ATTR:
			if (options[i].value & CS_MOUNT_ATTR__ATIME)
				m->attr &= ~(uint64_t)CS_MOUNT_ATTR__ATIME;
			m->attr |= options[i].value;
			break;
		case ATTR_CLEAR: m->attr &= ~options[i].value; break;
		case PROPAGATION: m->propagation = options[i].value; break;
		case RBIND: m->recursive = true; /* fall through */
		case BIND: m->bind = true; break;
		case IGNORE: break;
		case REFUSE: return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.options: %s is not available", at, o);
		}
		return 0;
	}
	if (strchr(o, ','))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.options: \"%s\" contains a comma", at, o);
	if (m->data.len)
		cs_str_putc(&m->data, ',');
	cs_str_puts(&m->data, o);
	return 0;
}

static bool leaves_root(const char *dest)
{
	for (const char *p = dest; (p = strstr(p, "..")); p += 2)
		if (p > dest && p[-1] == '/' && (p[2] == '/' || !p[2]))
			return true;
	return false;
}

/* What OCI lacks: the files of an image, read-only. */
static int layers_mount(json_t *v, const char *at, const struct parsed *m, const char *clean, struct cs_str *plan, struct cs_err **err)
{
	cs_autofree char **list = NULL;

	if (cs_field_strv(v, at, "layers", &list, err) < 0)
		return -1;
	size_t n = cs_strv_len(list);
	if (n == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.layers: at least one layer is needed", at);
	if (*m->ns || m->bind || m->data.len)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: mounts of type layers are read-only and have no options", at);
	for (size_t i = 0; i < n; i++) {
		if (*list[i] != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.layers[%zu]: must be an absolute path", at, i);
	}
	size_t common = cs_layers_common(list, n);
	cs_autofree char *dir = cs_xstrndup(list[0], common > 1 ? common - 1 : 1);
	for (size_t i = 0; i < n; i++)
		list[i] += common;
	cs_plan_add(plan, CS_PLAN_LAYERS, dir, list, "", "", list[0], "", m->subpath, clean);
	return 0;
}

static int one_mount(json_t *v, const char *at, struct parsed *m, bool *dev_is_bind, struct cs_str *plan, struct cs_err **err)
{
	cs_autofree char **list = NULL;

	if (cs_field_is_obj(v, at, err) < 0 || cs_field_str(v, at, "destination", CS_F_REQUIRED, &m->dest, err) < 0 ||
	    cs_field_str(v, at, "type", 0, &m->type, err) < 0 || cs_field_str(v, at, "source", 0, &m->source, err) < 0 ||
	    cs_field_strv(v, at, "options", &list, err) < 0 || cs_field_str(v, at, "subpath", 0, &m->subpath, err) < 0 ||
	    cs_field_str(v, at, "mountNamespace", 0, &m->ns, err) < 0)
		return -1;
	if (*m->dest != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.destination: must be an absolute path", at);
	if (leaves_root(m->dest))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.destination: \"..\" is not possible", at);
	if (json_array_size(json_object_get(v, "uidMappings")) || json_array_size(json_object_get(v, "gidMappings")))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s: id-mapped mounts are not available in this build", at);
	if (strcmp(m->type, "bind") == 0)
		m->bind = true;
	for (char **o = list; o && *o; o++)
		if (one_option(m, *o, at, err) < 0)
			return -1;
	if ((*m->subpath || *m->ns) && ((!m->bind && strcmp(m->type, "layers") != 0) || (m->propagation & MS_SHARED)))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: subpath and mountNamespace belong to bind mounts that are not shared", at);
	if (*m->ns && !*m->subpath)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.subpath: is required with mountNamespace", at);
	cs_autofree char *clean = cs_path_clean(m->dest);
	if (strcmp(clean, "/") == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.destination: the root cannot be mounted over", at);
	if (m->bind) {
		if (*m->source != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.source: must be an absolute path", at);
		if (m->data.len)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.options: \"%s\" is not an option of a bind mount", at, m->data.buf);
		if (strcmp(clean, "/dev") == 0)
			*dev_is_bind = true;
		if (*m->subpath)
			cs_plan_add(plan, CS_PLAN_BIND_BENEATH, m->ns, m->source, m->subpath, clean, (uint64_t)m->recursive, m->attr,
				    (uint64_t)m->attr_recursive, m->propagation);
		else
			cs_plan_add(plan, CS_PLAN_BIND, m->source, clean, (uint64_t)m->recursive, m->attr, (uint64_t)m->attr_recursive,
				    m->propagation);
		return 0;
	}
	if (strcmp(m->type, "layers") == 0)
		return layers_mount(v, at, m, clean, plan, err);
	if (!*m->type)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.type: is required", at);
	if (strcmp(m->type, "cgroup") == 0 || strcmp(m->type, "cgroup2") == 0) {
		cs_plan_add(plan, CS_PLAN_CGROUP_MOUNT, clean, (uint64_t)(m->attr & CS_MOUNT_ATTR_RDONLY));
		return 0;
	}
	cs_plan_add(plan, CS_PLAN_MOUNT, m->type, *m->source ? m->source : m->type, clean, m->attr, m->data.buf ? m->data.buf : "", m->propagation);
	return 0;
}

int cs_mounts_compile(json_t *spec, const char *path, struct cs_document *d, bool *ret_dev_is_bind, struct cs_str *plan, struct cs_err **err)
{
	json_t *list = NULL, *v;
	size_t i;

	(void)d;
	if (cs_field_arr(spec, path, "mounts", 0, &list, err) < 0)
		return -1;
	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("%s.mounts[%zu]", path, i);
		struct parsed m = {.type = "", .source = "", .subpath = "", .ns = "", .data = CS_STR_INIT(65536)};
		int r = one_mount(v, at, &m, ret_dev_is_bind, plan, err);
		cs_str_done(&m.data);
		if (r < 0)
			return -1;
	}
	return 0;
}
