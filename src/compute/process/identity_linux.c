/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the program runs as: Docker's `user[:group]` text against the container's own /etc/passwd and /etc/group. Both files are foreign:
 * opened inside the root without blocking, only regular files, at most 1 MiB. Pure parsing, no privileges change here. */
#include <sys/statfs.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "compute/process/internal.h"

#define PROC_SUPER_MAGIC_ 0x9fa0
#define DB_MAX (1u << 20)
#define ID_MAX 0x7fffffffll
#define GROUPS_MAX 1024

/* Go's strconv.Atoi: sign, leading zeros, 64 bits. */
static bool go_atoi(const char *s, int64_t *ret)
{
	bool neg = *s == '-';
	uint64_t v = 0;

	if (*s == '-' || *s == '+')
		s++;
	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		if (v > ((uint64_t)INT64_MAX - (uint64_t)(*s - '0')) / 10)
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*ret = neg ? -(int64_t)v : (int64_t)v;
	return true;
}

/* Reads a database; an absent or strange file is an empty one, as with Docker, except that too large is an error. */
static int read_db(int root, const char *path, struct cs_str *s, struct cs_err **err)
{
	struct statfs fs;
	struct stat st;
	cs_autofd int fd = cs_open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fstatfs(fd, &fs) < 0 || (unsigned long)fs.f_type == PROC_SUPER_MAGIC_)
		return 0; /* a link to /proc would be read with rights that the container lacks */
	int r = st.st_size > (off_t)DB_MAX ? -EFBIG : cs_read_fd(fd, s);
	return r < 0 ? cs_fail(err, CS_ERR_INVALID, -r, "read %s of the container", path) : 0;
}

/* Splits in place into at most n fields; missing ones are "". */
static void split_fields(char *line, char **field, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		field[i] = line;
		size_t len = strcspn(line, ":");
		line += len;
		if (*line)
			*line++ = 0;
	}
}

/* Splits one line of a file, without the blanks around it. Returns the next line or NULL. */
static char *next_line(char *line, char **field, size_t n)
{
	static const char blanks[] = " \t\r\v\f";
	char *end = line + strcspn(line, "\n");
	char *next = *end ? end + 1 : NULL;

	line += strspn(line, blanks);
	while (end > line && strchr(blanks, end[-1]))
		end--;
	*end = 0;
	split_fields(line, field, n);
	return next;
}

static bool in_range(int64_t id) { return id >= 0 && id <= ID_MAX; }

struct passwd_row {
	const char *name, *home;
	int64_t uid, gid;
};

/* First row with that uid (name NULL) or that name. Rows without proper numbers do not exist: reading them as 0 would be root. */
static bool find_user(char *db, const char *name, int64_t uid, struct passwd_row *ret)
{
	char *f[6];

	for (char *p = db; p;) {
		p = next_line(p, f, CS_ARRAY_SIZE(f));
		struct passwd_row row = {.name = f[0], .home = f[5]};
		if (!*f[0] || *f[0] == '#' || !go_atoi(f[2], &row.uid) || !go_atoi(f[3], &row.gid) || !in_range(row.uid) || !in_range(row.gid))
			continue;
		if (name ? strcmp(name, row.name) == 0 : uid == row.uid) {
			*ret = row;
			return true;
		}
	}
	return false;
}

static void add_group(struct cs_identity *id, int64_t gid)
{
	for (size_t i = 0; i < id->n_groups; i++)
		if (id->groups[i] == (gid_t)gid)
			return;
	if (id->n_groups == GROUPS_MAX)
		return;
	id->groups = cs_xreallocarray(id->groups, id->n_groups + 1, sizeof(*id->groups));
	id->groups[id->n_groups++] = (gid_t)gid;
}

/* Walks the group file: by number or name (returns the first match), or collecting the groups of a member. */
struct group_query {
	const char *name;   /* NULL: by number */
	int64_t gid;
	const char *member; /* collect */
};
static bool find_group(const char *db, const struct group_query *q, int64_t *ret, struct cs_identity *id)
{
	cs_autofree char *copy = cs_xstrdup(db);
	char *f[4];
	int64_t gid;

	for (char *p = copy; p;) {
		p = next_line(p, f, CS_ARRAY_SIZE(f));
		if (!*f[0] || *f[0] == '#' || !go_atoi(f[2], &gid) || !in_range(gid))
			continue;
		if (q->member) {
			if (cs_str_lists(f[3], q->member, ","))
				add_group(id, gid);
		} else if (q->name ? strcmp(q->name, f[0]) == 0 : gid == q->gid) {
			*ret = gid;
			return true;
		}
	}
	return false;
}

static int fail_range(struct cs_err **err)
{
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "uids and gids must be in range 0-%lld", ID_MAX);
}

/* A group given by name or number, with or without an entry. */
static int resolve_group(const char *db, const char *text, int64_t *ret, struct cs_err **err)
{
	struct group_query q = {.name = text};
	bool number = go_atoi(text, &q.gid);

	if (number)
		q.name = NULL;
	if (find_group(db, &q, ret, NULL))
		return 0;
	if (!number)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "unable to find group %s: no matching entries in group file", text);
	if (!in_range(q.gid))
		return fail_range(err);
	*ret = q.gid;
	return 0;
}

/* moby's GetExecUser: a numeric user is always a uid; an explicit group replaces the memberships; what follows a second colon is
 * ignored. */
static int resolve_user(char *passwd, const char *groups, const char *spec, struct cs_identity *id, struct cs_err **err)
{
	cs_autofree char *text = cs_xstrdup(spec);
	struct passwd_row row = {0};
	char *f[2];
	int64_t uid = 0, gid = 0;

	split_fields(text, f, 2); /* as written: blanks are part of the name */
	const char *user = f[0], *group = f[1];
	bool number = go_atoi(user, &uid);
	bool known = find_user(passwd, *user && !number ? user : NULL, uid, &row);
	if (known) {
		uid = row.uid;
		gid = row.gid;
		free(id->home);
		id->home = cs_xstrdup(*row.home ? row.home : "/");
	} else if (*user) {
		if (!number)
			return cs_fail(err, CS_ERR_NOT_FOUND, 0, "unable to find user %s: no matching entries in passwd file", user);
		if (!in_range(uid))
			return fail_range(err);
	}
	if (*group) {
		if (resolve_group(groups, group, &gid, err) < 0)
			return -1;
	} else if (known) {
		struct group_query q = {.member = row.name};
		(void)find_group(groups, &q, NULL, id);
	}
	id->uid = (uid_t)uid;
	id->gid = (gid_t)gid;
	return 0;
}

static int add_groups(const union cs_plan_arg *v, const char *db, struct cs_identity *id, struct cs_err **err)
{
	const char *p = v->v.first;

	for (uint32_t i = 0; i < v->v.n; i++, p += strlen(p) + 1) {
		int64_t gid;
		if (resolve_group(db, p, &gid, err) < 0)
			return -1;
		add_group(id, gid);
	}
	return 0;
}

/* The primary group is a supplementary one as well, first and once: without it, a setgid program could shed the group and get around
 * permissions that are denied to it (CVE-2022-36109). */
static void put_primary_first(struct cs_identity *id)
{
	size_t i = 0;

	add_group(id, id->gid);
	while (i < id->n_groups && id->groups[i] != id->gid)
		i++;
	if (i == id->n_groups)
		i--; /* more groups than we take */
	memmove(id->groups + 1, id->groups, i * sizeof(*id->groups));
	id->groups[0] = id->gid;
}

int cs_identity_resolve(int root, const struct cs_step *user, struct cs_identity *ret, struct cs_err **err)
{
	cs_autostr struct cs_str passwd = CS_STR_INIT(DB_MAX), group = CS_STR_INIT(DB_MAX);
	char empty[] = "";
	const char *spec = user ? user->arg[0].s : "";

	*ret = (struct cs_identity){.home = cs_xstrdup("/")};
	if (read_db(root, "/etc/passwd", &passwd, err) < 0 || read_db(root, "/etc/group", &group, err) < 0)
		return -1;
	/* a NUL inside would end the C string early and hide entries from us only: treat such a file by what comes before */
	char *pw = passwd.buf ? passwd.buf : empty;
	const char *gr = group.buf ? group.buf : "";
	if (*spec || !user || (user->arg[1].u == 0 && user->arg[2].u == 0)) {
		if (resolve_user(pw, gr, spec, ret, err) < 0)
			return -1;
	} else {
		struct passwd_row row;
		if (user->arg[1].u > (uint64_t)ID_MAX || user->arg[2].u > (uint64_t)ID_MAX)
			return fail_range(err);
		ret->uid = (uid_t)user->arg[1].u;
		ret->gid = (gid_t)user->arg[2].u;
		if (find_user(pw, NULL, ret->uid, &row) && *row.home) {
			free(ret->home);
			ret->home = cs_xstrdup(row.home);
		}
	}
	if (user && (add_groups(&user->arg[3], gr, ret, err) < 0 || add_groups(&user->arg[4], gr, ret, err) < 0))
		return -1;
	put_primary_first(ret);
	return 0;
}
