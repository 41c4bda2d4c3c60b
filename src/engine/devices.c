/* SPDX-License-Identifier: Apache-2.0
 *
 * Device nodes and device cgroup rules of a container: Docker's defaults, HostConfig.Devices, DeviceCgroupRules, and all of
 * the host's /dev for privileged ones. Reads the host's /dev; any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/num.h"
#include "base/path.h"
#include "engine/spec-internal.h"

bool cs_device_access_valid(const char *a)
{
	size_t n = strlen(a);

	return n <= 3 && strspn(a, "rwm") == n;
}

static bool parse_number(const char **p, char end, int64_t *ret)
{
	size_t n = strcspn(*p, (char[]){end, 0});
	uint64_t v;

	if ((*p)[n] != end)
		return false;
	if (n == 1 && **p == '*')
		*ret = -1;
	else if (cs_parse_u64n(*p, n, 0, UINT32_MAX, &v))
		*ret = (int64_t)v;
	else
		return false;
	*p += n + 1;
	return true;
}

bool cs_device_rule_parse(const char *text, struct cs_device_rule *ret)
{
	struct cs_device_rule r = {.type = text[0]};
	const char *p = text + 2;

	if (!text[0] || !strchr("abc", text[0]) || text[1] != ' ' || !parse_number(&p, ':', &r.major) || !parse_number(&p, ' ', &r.minor))
		return false;
	if (!*p || !cs_device_access_valid(p))
		return false;
	for (size_t i = 0; p[i]; i++)
		r.access[i] = p[i];
	*ret = r;
	return true;
}

static void put_rule(struct cs_str *out, bool allow, const struct cs_device_rule *r)
{
	cs_str_puts(out, out->len ? ",{" : "{");
	cs_json_put_kbool(out, "allow", allow);
	if (r->type) {
		cs_json_put_kstr(out, "type", (char[]){r->type, 0});
		if (r->major >= 0)
			cs_json_put_ki64(out, "major", r->major);
		if (r->minor >= 0)
			cs_json_put_ki64(out, "minor", r->minor);
	}
	cs_json_put_kstr(out, "access", r->access);
	cs_str_putc(out, '}');
}

static void put_device(struct cs_str *out, const char *path, const struct stat *st)
{
	cs_str_puts(out, out->len ? ",{" : "{");
	cs_json_put_kstr(out, "path", path);
	cs_json_put_kstr(out, "type", S_ISBLK(st->st_mode) ? "b" : "c");
	cs_json_put_ki64(out, "major", major(st->st_rdev));
	cs_json_put_ki64(out, "minor", minor(st->st_rdev));
	cs_json_put_ki64(out, "fileMode", st->st_mode & 07777);
	cs_json_put_ki64(out, "uid", st->st_uid);
	cs_json_put_ki64(out, "gid", st->st_gid);
	cs_str_putc(out, '}');
}

struct dev_walk {
	struct cs_str *devices, *rules; /* rules NULL: everything is allowed already */
	const char *access;
	int depth;
	size_t found;
};

static void put_found(struct dev_walk *w, const char *target, const struct stat *st)
{
	struct cs_device_rule r = {S_ISBLK(st->st_mode) ? 'b' : 'c', major(st->st_rdev), minor(st->st_rdev), ""};

	w->found++;
	put_device(w->devices, target, st);
	if (!w->rules)
		return;
	memcpy(r.access, w->access, strnlen(w->access, 3));
	put_rule(w->rules, true, &r);
}

/* Devices below a host directory; links are not followed, what the container gets of its own is left out. Takes fd. */
static void walk(struct dev_walk *w, int fd, const char *target)
{
	static const char *const skip[] = {".", "..", "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"};
	DIR *d = fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!d) {
		cs_close(fd);
		return;
	}
	while ((e = readdir(d))) {
		bool skipped = false;
		for (size_t i = 0; i < CS_ARRAY_SIZE(skip); i++)
			skipped = skipped || strcmp(e->d_name, skip[i]) == 0;
		if (skipped || (e->d_type != DT_DIR && e->d_type != DT_CHR && e->d_type != DT_BLK && e->d_type != DT_UNKNOWN))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		cs_autofree char *path = cs_xasprintf("%s/%s", target, e->d_name);
		if (S_ISDIR(st.st_mode) && w->depth < 16) {
			int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			w->depth++;
			if (sub >= 0)
				walk(w, sub, path);
			w->depth--;
		} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
			put_found(w, path, &st);
		}
	}
	(void)closedir(d);
}

static int put_mapping(const struct cs_device_mapping *m, bool privileged, struct cs_str *devices, struct cs_str *rules, struct cs_err **err)
{
	struct dev_walk w = {devices, privileged ? NULL : rules, cs_empty(m->cgroup_permissions) ? "rwm" : m->cgroup_permissions, 0, 0};
	const char *target = cs_empty(m->path_in_container) ? m->path_on_host : m->path_in_container;
	struct stat st;

	if (stat(m->path_on_host, &st) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "error gathering device information while adding custom device \"%s\": %s",
			       m->path_on_host, errno == ENOENT ? "no such file or directory" : cs_errno_text(errno));
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		put_found(&w, target, &st);
		return 0;
	}
	if (S_ISDIR(st.st_mode)) {
		int fd = open(m->path_on_host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			walk(&w, fd, target);
	}
	if (!w.found)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "error gathering device information while adding custom device \"%s\": not a device node",
			       m->path_on_host);
	return 0;
}

/* Docker's list: no access, then mknod of anything, then the harmless devices and the terminals; no /dev/fuse. And unlike Docker's not the
 * host's console (5:1): what a container with a terminal has as /dev/console is its own pty. */
static void put_default_rules(struct cs_str *rules)
{
	static const struct cs_device_rule deny = {0, -1, -1, "rwm"};
	static const struct cs_device_rule allow[] = {
		{'c', -1, -1, "m"}, {'b', -1, -1, "m"}, {'c', 1, 3, "rwm"}, {'c', 1, 5, "rwm"}, {'c', 1, 7, "rwm"},   {'c', 1, 8, "rwm"},
		{'c', 1, 9, "rwm"}, {'c', 5, 0, "rwm"}, {'c', 5, 2, "rwm"}, {'c', 136, -1, "rwm"},
	};

	put_rule(rules, false, &deny);
	for (size_t i = 0; i < CS_ARRAY_SIZE(allow); i++)
		put_rule(rules, true, &allow[i]);
}

static char *target_of(const struct cs_device_mapping *m) { return cs_path_clean(cs_empty(m->path_in_container) ? m->path_on_host : m->path_in_container); }

/* The node is there already: the first of two counts, as for dockerd, whose runtime finds it made. */
static bool made_before(const struct cs_host_config *host, size_t i)
{
	cs_autofree char *target = target_of(&host->res.devices[i]);
	struct stat st;

	for (size_t k = 0; k < i; k++) {
		cs_autofree char *other = target_of(&host->res.devices[k]);
		if (strcmp(target, other) == 0)
			return true;
	}
	return host->privileged && cs_prefix(target, "/dev/") && lstat(target, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode));
}

int cs_devices_put(const struct cs_host_config *host, struct cs_str *devices, struct cs_str *rules, struct cs_err **err)
{
	if (host->privileged) {
		static const struct cs_device_rule all = {0, -1, -1, "rwm"};
		struct dev_walk w = {devices, NULL, "rwm", 0, 0};
		int fd = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		put_rule(rules, true, &all);
		if (fd >= 0)
			walk(&w, fd, "/dev");
	} else {
		put_default_rules(rules);
	}
	for (size_t i = 0; i < host->res.n_devices; i++) {
		const struct cs_device_mapping *m = &host->res.devices[i];
		/* a privileged container has the host's nodes already; only other names are added, as dockerd does */
		if (host->privileged && (cs_empty(m->path_in_container) || cs_streq(m->path_on_host, m->path_in_container)))
			continue;
		struct cs_str unused cs_autostr = CS_STR_INIT(CS_SPEC_MAX); /* its access is granted all the same */
		if (put_mapping(m, host->privileged, made_before(host, i) ? &unused : devices, rules, err) < 0)
			return -1;
	}
	for (size_t i = 0; host->res.device_cgroup_rules && host->res.device_cgroup_rules[i] && !host->privileged; i++) {
		struct cs_device_rule r;
		if (!cs_device_rule_parse(host->res.device_cgroup_rules[i], &r))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid device cgroup rule format: '%s'", host->res.device_cgroup_rules[i]);
		put_rule(rules, true, &r);
	}
	return 0;
}
