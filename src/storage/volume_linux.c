/* SPDX-License-Identifier: Apache-2.0
 *
 * Volumes of the local driver: <data root>/volumes/<name>/{_data,opts.json}, as dockerd has them, and what their options mount on _data.
 * The caller serialises work on one volume; any thread. A directory has a volume's name only while it is complete: it is made as .new-N and
 * goes as .gone-N (names that no volume can have), and the next open removes what a crash left of those. */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/mount.h>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "storage/internal.h"

#define OPTS_MAX 65536

/* ---- directories ---- */

static int remove_rubbish(void *ctx, int dir_fd, const struct dirent *d)
{
	struct cs_storage *s = ctx;

	if ((cs_prefix(d->d_name, ".new-") || cs_prefix(d->d_name, ".gone-")) && !cs_storage_tmp_is_own(s, d->d_name))
		(void)!cs_storage_discard_within(s, s->volumes_fd, d->d_name, NULL); /* nobody waits for it */
	return 0;
}

int cs_volumes_dir_open(struct cs_storage *s, struct cs_err **err)
{
	int r = cs_mkdir_p(s->root_fd, "volumes", 0710);

	if (r < 0 && r != -EEXIST)
		return cs_fail(err, cs_storage_code(-r), -r, "make %s/volumes", s->root);
	/* may be a link or a mount point: people keep their volumes on another disk */
	s->volumes_fd = openat(s->root_fd, "volumes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->volumes_fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open %s/volumes", s->root);
	(void)cs_each_entry(s->volumes_fd, ".", remove_rubbish, s);
	return 0;
}

char *cs_vol_path(struct cs_storage *s, const char *name) { return cs_xasprintf("%s/volumes/%s/_data", s->root, name); }

static int open_below(struct cs_storage *s, const char *name, const char *sub, int flags, int *ret, struct cs_err **err)
{
	if (!cs_is_plain_name(name) || name[0] == '.')
		return cs_fail(err, CS_ERR_INVALID, 0, "bad volume name %s", name);
	cs_autofree char *path = cs_path_join(name, sub);
	int fd = sys_openat2(s->volumes_fd, path, (uint64_t)(unsigned)flags, 0, CS_RESOLVE_BENEATH_NOLINKS);
	if (fd < 0)
		return cs_fail(err, fd == -ENOENT ? CS_ERR_NOT_FOUND : CS_ERR_INTERNAL, -fd, "open volume %s", name);
	*ret = fd;
	return 0;
}

int cs_vol_open_dir(struct cs_storage *s, const char *name, int *ret_fd, struct cs_err **err)
{
	return open_below(s, name, "", O_RDONLY | O_DIRECTORY, ret_fd, err);
}

int cs_vol_open(struct cs_storage *s, const char *name, int *ret_fd, struct cs_err **err)
{
	return open_below(s, name, "_data", O_RDONLY | O_DIRECTORY, ret_fd, err);
}

static int make_data(int dir)
{
	if (mkdirat(dir, "_data", 0755) < 0)
		return -errno;
	cs_autofd int fd = openat(dir, "_data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 || fchmod(fd, 0755) < 0 ? -errno : 0; /* whatever the umask */
}

static int make(struct cs_storage *s, const char *tmp, const char *name, const char *opts)
{
	if (mkdirat(s->volumes_fd, tmp, 0710) < 0)
		return -errno;
	cs_autofd int dir = openat(s->volumes_fd, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = dir < 0 ? -errno : make_data(dir);
	if (r == 0 && !cs_empty(opts))
		r = cs_replace_file_at(dir, "opts.json", opts, strlen(opts), 0600, false);
	if (r == 0 && renameat2(s->volumes_fd, tmp, s->volumes_fd, name, RENAME_NOREPLACE) < 0)
		r = -errno;
	return r;
}

int cs_vol_create(struct cs_storage *s, const char *name, const char *opts, bool *ret_made, struct cs_err **err)
{
	cs_autofd int dir = -EBADF;
	char tmp[64];

	if (!cs_is_plain_name(name) || name[0] == '.')
		return cs_fail(err, CS_ERR_INVALID, 0, "bad volume name %s", name);
	cs_storage_tmp_name(s, ".new", tmp);
	int r = make(s, tmp, name, opts);
	if (r < 0)
		(void)cs_remove_tree_at(s->volumes_fd, tmp);
	if (ret_made)
		*ret_made = r == 0;
	if (r == -EEXIST) { /* somebody's directory, perhaps without _data */
		if (cs_vol_open_dir(s, name, &dir, err) < 0)
			return -1;
		r = make_data(dir);
		r = r == -EEXIST ? 0 : r;
	}
	return r < 0 ? cs_fail(err, cs_storage_code(-r), -r, "create volume %s", name) : 0;
}

bool cs_vol_exists(struct cs_storage *s, const char *name)
{
	cs_autofd int fd = -EBADF;

	return open_below(s, name, "_data", O_PATH | O_DIRECTORY, &fd, NULL) == 0;
}

int cs_vol_options(struct cs_storage *s, const char *name, struct cs_str *out, struct cs_err **err)
{
	cs_autoerr struct cs_err *missing = NULL;
	cs_autofd int fd = -EBADF;

	if (open_below(s, name, "opts.json", O_RDONLY | O_NONBLOCK, &fd, &missing) < 0)
		return cs_err_code(missing) == CS_ERR_NOT_FOUND ? 0 : cs_err_move(err, TAKE_PTR(missing));
	int r = cs_read_fd(fd, out);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "read the options of volume %s", name) : 0;
}

int cs_vol_remove(struct cs_storage *s, const char *name, struct cs_err **err)
{
	cs_autofd int dir = -EBADF;
	cs_autoerr struct cs_err *missing = NULL;

	if (cs_vol_open_dir(s, name, &dir, &missing) < 0)
		return cs_err_code(missing) == CS_ERR_NOT_FOUND ? 0 : cs_err_move(err, TAKE_PTR(missing));
	if (cs_vol_unmount(s, name, err) < 0)
		return -1;
	return cs_storage_discard_within(s, s->volumes_fd, name, err);
}

struct each {
	void (*fn)(void *ctx, const char *name, int64_t made_ns);
	void *ctx;
};

static int each_volume(void *ctx, int dir_fd, const struct dirent *d)
{
	struct each *e = ctx;
	struct stat st;

	if (d->d_name[0] != '.' && fstatat(dir_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		e->fn(e->ctx, d->d_name, (int64_t)st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec);
	return 0;
}

void cs_vol_each(struct cs_storage *s, void (*fn)(void *ctx, const char *name, int64_t made_ns), void *ctx)
{
	struct each e = {fn, ctx};
	(void)cs_each_entry(s->volumes_fd, ".", each_volume, &e);
}

/* ---- mounts ---- */

bool cs_vol_is_mounted(struct cs_storage *s, const char *name)
{
	cs_autofd int fd = -EBADF;
	struct statx st;

	if (open_below(s, name, "_data", O_PATH | O_DIRECTORY, &fd, NULL) < 0)
		return false;
	return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, 0, &st) == 0 && (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

int cs_vol_unmount(struct cs_storage *s, const char *name, struct cs_err **err)
{
	cs_autofree char *path = cs_vol_path(s, name);

	/* lazily, as dockerd does: the mount namespace of the last container may need a moment to go. One below the other: all of them. */
	for (int i = 0; i < 64 && cs_vol_is_mounted(s, name); i++)
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "error while unmounting volume '%s'", path);
	return cs_vol_is_mounted(s, name) ? cs_fail(err, CS_ERR_INTERNAL, EBUSY, "error while unmounting volume '%s'", path) : 0;
}

/* mount(8)'s words that are flags of mount(2); all others are the file system's. */
static const struct {
	const char *word;
	unsigned long set, clear;
} flag_words[] = {
	{"defaults", 0, 0}, {"ro", MS_RDONLY, 0}, {"rw", 0, MS_RDONLY}, {"suid", 0, MS_NOSUID}, {"nosuid", MS_NOSUID, 0}, {"dev", 0, MS_NODEV},
	{"nodev", MS_NODEV, 0}, {"exec", 0, MS_NOEXEC}, {"noexec", MS_NOEXEC, 0}, {"sync", MS_SYNCHRONOUS, 0}, {"async", 0, MS_SYNCHRONOUS},
	{"dirsync", MS_DIRSYNC, 0}, {"remount", MS_REMOUNT, 0}, {"mand", MS_MANDLOCK, 0}, {"nomand", 0, MS_MANDLOCK}, {"atime", 0, MS_NOATIME},
	{"noatime", MS_NOATIME, 0}, {"diratime", 0, MS_NODIRATIME}, {"nodiratime", MS_NODIRATIME, 0}, {"bind", MS_BIND, 0}, {"rbind", MS_BIND | MS_REC, 0},
	{"unbindable", MS_UNBINDABLE, 0}, {"runbindable", MS_UNBINDABLE | MS_REC, 0}, {"private", MS_PRIVATE, 0}, {"rprivate", MS_PRIVATE | MS_REC, 0},
	{"shared", MS_SHARED, 0}, {"rshared", MS_SHARED | MS_REC, 0}, {"slave", MS_SLAVE, 0}, {"rslave", MS_SLAVE | MS_REC, 0},
	{"relatime", MS_RELATIME, 0}, {"norelatime", 0, MS_RELATIME}, {"strictatime", MS_STRICTATIME, 0}, {"nostrictatime", 0, MS_STRICTATIME},
};
#define PROPAGATION (MS_UNBINDABLE | MS_PRIVATE | MS_SHARED | MS_SLAVE)

static bool flag_word(const char *word, unsigned long *flags)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(flag_words); i++)
		if (strcmp(word, flag_words[i].word) == 0) {
			*flags = (*flags & ~flag_words[i].clear) | flag_words[i].set;
			return true;
		}
	return false;
}

static unsigned long split_options(const char *o, struct cs_str *data)
{
	cs_autostrv char **words = cs_strv_split(o ? o : "", ',');
	unsigned long flags = 0;

	for (size_t i = 0; words[i]; i++)
		if (*words[i] && !flag_word(words[i], &flags))
			cs_str_putf(data, "%s%s", data->len ? "," : "", words[i]);
	return flags;
}

/* The kernel knows addresses only. An IPv4 address stays as it is, everything else is looked up now, so that the server may move. */
static int look_up(const char *host, char **ret, struct cs_err **err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL, *best;
	char text[INET6_ADDRSTRLEN];
	int r = getaddrinfo(host, NULL, &hints, &list);

	if (r != 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "error resolving passed in network volume address: lookup %s: %s", host,
			       r == EAI_NONAME ? "no such host" : gai_strerror(r));
	for (best = list; best && best->ai_family != AF_INET; best = best->ai_next)
		;
	if (!best)
		best = list;
	if (!best)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "error resolving passed in network volume address: lookup %s: no address", host);
	const void *addr = best->ai_family == AF_INET ? (const void *)&((struct sockaddr_in *)(void *)best->ai_addr)->sin_addr
						      : (const void *)&((struct sockaddr_in6 *)(void *)best->ai_addr)->sin6_addr;
	*ret = cs_xstrdup(inet_ntop(best->ai_family, addr, text, sizeof(text)) ? text : host);
	freeaddrinfo(list);
	return 0;
}

static bool is_ipv4(const char *s)
{
	struct in_addr a;
	return inet_pton(AF_INET, s, &a) == 1;
}

/* addr= of nfs and cifs as an address; cifs without one gets that of the server in its device (//server/share). */
static int resolve_address(const struct cs_vol_mount *m, char **ret, struct cs_err **err)
{
	cs_autostr struct cs_str out = CS_STR_INIT(OPTS_MAX);
	cs_autostrv char **words = cs_strv_split(m->options ? m->options : "", ',');
	bool seen = false, cifs = cs_streq(m->type, "cifs");

	for (size_t i = 0; words[i]; i++) {
		cs_autofree char *ip = NULL;
		bool addr = cs_prefix(words[i], "addr=") && words[i][5];
		if (addr && !is_ipv4(words[i] + 5) && look_up(words[i] + 5, &ip, err) < 0)
			return -1;
		seen = seen || addr || (cifs && cs_prefix(words[i], "ip="));
		cs_str_putf(&out, "%s%s%s", i ? "," : "", ip ? "addr=" : words[i], ip ? ip : "");
	}
	if (cifs && !seen && cs_prefix(m->device, "//")) {
		cs_autofree char *host = cs_xstrndup(m->device + 2, strcspn(m->device + 2, "/")), *ip = NULL;
		if (look_up(host, &ip, err) < 0)
			return -1;
		cs_str_putf(&out, "%saddr=%s", out.len ? "," : "", ip);
	}
	*ret = cs_str_steal(&out);
	return *ret ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "the options of the volume are too long");
}

static void mask_password(struct cs_str *data)
{
	/* pass=, password=, password2=: all that cifs and others know */
	for (char *p = data->buf, *end; p && *p; p = end + (*end == ',')) {
		end = p + strcspn(p, ",");
		char *value = memchr(p, '=', (size_t)(end - p)), *pass = strstr(p, "pass");
		if (value && pass && pass < value)
			memset(value + 1, '*', (size_t)(end - value - 1));
	}
}

static int failed(const struct cs_vol_mount *m, const char *path, unsigned long flags, struct cs_str *data, int sys, struct cs_err **err)
{
	cs_autofree char *why = cs_xstrdup(cs_errno_text(sys)), *hex = flags ? cs_xasprintf(", flags: 0x%lx", flags) : cs_xstrdup("");

	why[0] = (char)tolower((unsigned char)why[0]); /* dockerd's sentence, which people search for */
	mask_password(data);
	return cs_fail(err, sys == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, 0, "failed to mount local volume: mount %s:%s%s%s%s: %s", m->device, path, hex,
		       data->len ? ", data: " : "", data->len ? data->buf : "", why);
}

int cs_vol_mount(struct cs_storage *s, const char *name, const struct cs_vol_mount *m, struct cs_err **err)
{
	cs_autofree char *path = cs_vol_path(s, name), *options = NULL;
	cs_autostr struct cs_str data = CS_STR_INIT(OPTS_MAX);
	cs_autofd int at = -EBADF;
	char target[32];

	if (cs_empty(m->device))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "missing device in volume options");
	bool network = cs_streq(m->type, "nfs") || cs_streq(m->type, "cifs");
	if (network && resolve_address(m, &options, err) < 0)
		return -1;
	unsigned long flags = split_options(network ? options : m->options, &data), kind = flags & PROPAGATION;
	if (data.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "the options of the volume are too long");
	if (open_below(s, name, "_data", O_PATH | O_DIRECTORY, &at, err) < 0)
		return -1;
	if (flags & MS_REMOUNT) /* of what? It would be the host's own file system */
		return failed(m, path, flags, &data, EINVAL, err);
	(void)snprintf(target, sizeof(target), "/proc/self/fd/%d", at);
	flags &= ~(unsigned long)PROPAGATION;
	if (mount(m->device, target, m->type ? m->type : "", flags & ~(kind && !(flags & MS_BIND) ? (unsigned long)MS_REC : 0), data.len ? data.buf : NULL) < 0)
		return failed(m, path, flags, &data, errno, err);
	int r = 0;
	if (kind && mount("", path, "", kind | (flags & MS_REC), NULL) < 0)
		r = errno;
	if (r == 0 && (flags & (MS_BIND | MS_RDONLY)) == (MS_BIND | MS_RDONLY) && mount("", path, "", flags | MS_REMOUNT, NULL) < 0)
		r = errno; /* a bind becomes read-only in a second step only */
	if (r == 0)
		return 0;
	(void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	return failed(m, path, flags | kind, &data, r, err);
}
