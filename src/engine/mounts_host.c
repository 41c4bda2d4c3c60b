/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bind mount needs on the host when its container starts: a source, and a mount that passes on what propagation promises. The paths
 * are the client's own on its own host. Any thread. */
#include "engine/mounts_host.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"

/* Splits a line of mountinfo in place: mount point (unescaped) and optional fields ("shared:1 master:2"). */
static bool mountinfo_fields(char *line, char **point, char **optional)
{
	char *p = line, *o;

	for (int i = 0; i < 6 && p; i++) {
		if (i == 4)
			*point = p;
		p = strchr(p, ' ');
		if (p)
			*p++ = 0;
	}
	o = !p ? NULL : strncmp(p, "- ", 2) == 0 ? p : strstr(p, " - ");
	if (!o)
		return false;
	*optional = p;
	*o = 0;
	char *to = *point;
	for (const char *s = *point; *s;) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
	return true;
}

/* What is mounted later in the host has to find its way into a shared or slave bind: only from a mount that passes it on. */
static int check_propagation(const struct cs_mount_point *m, struct cs_err **err)
{
	bool shared = cs_streq(m->propagation, "shared") || cs_streq(m->propagation, "rshared");
	bool slave = cs_streq(m->propagation, "slave") || cs_streq(m->propagation, "rslave");
	cs_autofree char *best = NULL, *best_optional = NULL;
	cs_autostr struct cs_str info = CS_STR_INIT((size_t)64 << 20);

	if (!shared && !slave)
		return 0;
	cs_autofree char *real = realpath(m->source, NULL); /* the client's own path on its own host */
	if (!real || cs_read_file_at(AT_FDCWD, "/proc/self/mountinfo", &info) < 0 || !info.buf)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "look up the mount of %s", m->source);
	for (char *line = info.buf, *next; line && *line; line = next) {
		char *point = NULL, *optional = NULL;
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (!mountinfo_fields(line, &point, &optional))
			continue;
		size_t n = strlen(point);
		bool above = n == 1 || (strncmp(real, point, n) == 0 && (real[n] == '/' || !real[n]));
		if (!above || (best && strlen(best) > n))
			continue; /* the longest, and of equals the last, which lies on top */
		free(best);
		free(best_optional);
		best = cs_xstrdup(point);
		best_optional = cs_xstrdup(optional);
	}
	if (!best || strstr(best_optional, "shared:") || (slave && strstr(best_optional, "master:")))
		return 0;
	return cs_fail(err, CS_ERR_INTERNAL, 0, "path %s is mounted on %s but it is not a shared%s mount", m->source, best, slave ? " or slave" : "");
}

int cs_bind_source_check(const struct cs_mount_point *m, struct cs_err **err)
{
	struct stat st;

	if (stat(m->source, &st) < 0) {
		if (!m->create_source)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid mount config for type \"bind\": bind source path does not exist: %s", m->source);
		int r = cs_mkdir_p(AT_FDCWD, m->source, 0755);
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "error while creating mount source path '%s'", m->source);
	}
	return check_propagation(m, err);
}
