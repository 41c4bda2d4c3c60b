/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks for what a crash, a full disk or a person has left in the data root, tells it and puts right what can be put right without knowing
 * images (moby#21925). Who is used comes from the caller, who also sees to it that nothing is pulled, built or removed meanwhile, or else
 * answers "used" for what is on its way. Any thread. */
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/path.h"
#include "storage/internal.h"

#define INDEX_MAX (64u << 20)

struct check {
	struct cs_storage *s;
	const struct cs_check_options *o;
	void (*report)(void *ctx, const struct cs_check_problem *p);
	void *ctx;
};

static void tell(struct check *c, enum cs_check_kind kind, const char *name, bool repaired, const char *text)
{
	const struct cs_check_problem p = {.kind = kind, .name = name, .text = text, .repaired = repaired};
	c->report(c->ctx, &p);
}

/* Out of the way now, deleted later. */
static bool take_away(struct check *c, int dir_fd, const char *name)
{
	return c->o->repair && cs_storage_discard(c->s, dir_fd, name, NULL) == 0;
}

static int add_name(void *ctx, int dir_fd, const struct dirent *d)
{
	(void)dir_fd;
	cs_strv_push(ctx, d->d_name);
	return 0;
}

/* The names are taken first: what is checked may be removed on the way. */
static int each(struct check *c, int dir_fd, void (*fn)(struct check *c, const char *name), const char *what, struct cs_err **err)
{
	cs_autostrv char **names = NULL;
	int r = cs_each_entry(dir_fd, ".", add_name, &names);

	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read %s/%s", c->s->root, what);
	for (char **n = names; n && *n; n++)
		fn(c, *n);
	return 0;
}

static bool digest_of(const char *name, struct cs_digest *ret)
{
	cs_autofree char *text = cs_xasprintf("sha256:%s", name);
	return cs_digest_from(text, ret);
}

static bool is_dir(int fd, const char *name, const char *sub)
{
	cs_autofree char *path = sub ? cs_path_join(name, sub) : cs_xstrdup(name);
	struct stat st;

	return fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* ---- tmp: of a process that is no more. What this one works on is its own affair ---- */
static void check_tmp(struct check *c, const char *name)
{
	if (!cs_storage_tmp_is_own(c->s, name))
		tell(c, CS_CHECK_TMP, name, take_away(c, c->s->tmp_fd, name), "left by a process that ended in the middle of something");
}

/* ---- layers ---- */
static void check_layer(struct check *c, const char *name)
{
	struct cs_digest chain;
	int fd = c->s->layers_fd;

	if (!digest_of(name, &chain))
		tell(c, CS_CHECK_FOREIGN, name, false, "is no layer");
	else if (!is_dir(fd, name, "diff"))
		tell(c, CS_CHECK_LAYER_DAMAGED, chain.s, take_away(c, fd, name), "has lost its files");
	else if (c->o->layer_used && !c->o->layer_used(c->o->ctx, &chain))
		tell(c, CS_CHECK_LAYER_UNUSED, chain.s, take_away(c, fd, name), "belongs to no image and no container");
}

/* ---- snapshots ---- */
static void check_parts(struct check *c, const char *name)
{
	struct cs_digest parent;
	int fd = c->s->snaps_fd;

	if (!is_dir(fd, name, "upper"))
		tell(c, CS_CHECK_SNAP_DAMAGED, name, false, "has lost its files");
	else if (!is_dir(fd, name, "work")) {
		cs_autofree char *work = cs_path_join(name, "work"); /* holds nothing that counts */
		bool ok = c->o->repair && (mkdirat(fd, work, 0700) == 0 || errno == EEXIST);
		tell(c, CS_CHECK_SNAP_DAMAGED, name, ok, "lacks a directory");
	}
	if (cs_snap_parent(c->s, name, &parent, NULL) < 0)
		tell(c, CS_CHECK_SNAP_PARENT, name, false, "does not say what it stands on");
	else if (parent.s[0] && !is_dir(c->s->layers_fd, cs_digest_hex(&parent), "diff"))
		tell(c, CS_CHECK_SNAP_PARENT, name, false, "stands on a layer that is not there");
}

/* Containers are made and removed meanwhile: one that is half made must not be completed, nor one that has gone be told. */
static void check_snapshot(struct check *c, const char *name)
{
	struct stat st;

	if (c->o->snap_used && !c->o->snap_used(c->o->ctx, name)) {
		tell(c, CS_CHECK_SNAP_UNUSED, name, take_away(c, c->s->snaps_fd, name), "belongs to no container");
		return;
	}
	pthread_rwlock_wrlock(&c->s->snap_lock);
	if (fstatat(c->s->snaps_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		check_parts(c, name);
	pthread_rwlock_unlock(&c->s->snap_lock);
}

/* ---- content ---- */
/* Does the name still stand for what was read? Nobody waits for a round that reads everything: blobs are removed and come again meanwhile. */
static bool is_still(struct check *c, const struct cs_digest *d, int fd)
{
	struct stat was, is;

	return fstat(fd, &was) == 0 && fstatat(c->s->blobs_fd, cs_digest_hex(d), &is, AT_SYMLINK_NOFOLLOW) == 0 && was.st_ino == is.st_ino;
}

static const char *blob_problem(struct check *c, const struct cs_digest *d)
{
	cs_autofd int fd = -EBADF;
	cs_autofree char *buf = NULL;
	cs_autoerr struct cs_err *e = NULL;
	struct cs_digest is;
	ssize_t n;

	if (cs_blob_open(c->s, d, &fd, NULL, &e) < 0)
		return cs_err_code(e) == CS_ERR_NOT_FOUND ? NULL : "cannot be opened";
	if (!c->o->deep)
		return NULL;
	buf = cs_xmalloc(256 << 10);
	struct cs_hash *h = cs_hash_new();
	while ((n = cs_read_full(fd, buf, 256 << 10)) > 0)
		cs_hash_update(h, buf, (size_t)n);
	cs_hash_done(h, &is);
	if (n < 0)
		return "cannot be read";
	return strcmp(is.s, d->s) != 0 && is_still(c, d, fd) ? "is damaged: its digest is another one" : NULL;
}

static void check_blob(struct check *c, const char *name)
{
	struct cs_digest d;
	int fd = c->s->blobs_fd;

	if (!digest_of(name, &d)) {
		tell(c, CS_CHECK_FOREIGN, name, take_away(c, fd, name), "is no blob");
		return;
	}
	if (c->o->blob_used && !c->o->blob_used(c->o->ctx, &d)) {
		tell(c, CS_CHECK_BLOB_UNUSED, d.s, take_away(c, fd, name), "belongs to no image");
		return;
	}
	const char *problem = blob_problem(c, &d);
	if (problem)
		tell(c, CS_CHECK_BLOB_DAMAGED, d.s, take_away(c, fd, name), problem);
}

static bool descriptor_fits(struct check *c, const json_t *d)
{
	const char *text = json_string_value(json_object_get(d, "digest"));
	struct cs_digest digest;
	struct stat st;

	return text && cs_digest_from(text, &digest) && fstatat(c->s->blobs_fd, cs_digest_hex(&digest), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_size == json_integer_value(json_object_get(d, "size"));
}

static const char *index_problem(struct check *c, bool *unreadable)
{
	cs_autostr struct cs_str s = CS_STR_INIT(INDEX_MAX);
	const char *problem = NULL;
	const json_t *d;
	size_t i;

	*unreadable = true;
	if (cs_read_file_at(c->s->root_fd, "content/index.json", &s) < 0)
		return "cannot be read";
	json_t *j = json_loadb(s.buf, s.len, JSON_REJECT_DUPLICATES, NULL);
	if (json_integer_value(json_object_get(j, "schemaVersion")) != 2 || !json_is_array(json_object_get(j, "manifests")))
		problem = "is no image index";
	else {
		*unreadable = false;
		json_array_foreach(json_object_get(j, "manifests"), i, d)
		{
			if (!descriptor_fits(c, d))
				problem = "names content that is not there";
		}
	}
	json_decref(j);
	return problem;
}

static void check_layout(struct check *c)
{
	cs_autostr struct cs_str s = CS_STR_INIT(4096);
	const char *problem = NULL, *version;
	bool unreadable;

	if (cs_read_file_at(c->s->root_fd, "content/oci-layout", &s) < 0)
		problem = "cannot be read";
	json_t *j = problem ? NULL : json_loadb(s.buf, s.len, JSON_REJECT_DUPLICATES, NULL);
	version = json_string_value(json_object_get(j, "imageLayoutVersion"));
	if (!problem && (!version || strcmp(version, "1.0.0") != 0))
		problem = "is no image layout";
	json_decref(j);
	if (problem)
		tell(c, CS_CHECK_LAYOUT, "oci-layout", c->o->repair && cs_storage_write_layout(c->s, true, false) == 0, problem);
	problem = index_problem(c, &unreadable);
	/* an index that can be read is the engine's to write anew: it knows the names */
	if (problem)
		tell(c, CS_CHECK_INDEX, "index.json", unreadable && c->o->repair && cs_storage_write_layout(c->s, false, true) == 0, problem);
}

int cs_storage_check(struct cs_storage *s, const struct cs_check_options *o, void (*report)(void *ctx, const struct cs_check_problem *p), void *ctx,
		     struct cs_err **err)
{
	struct check c = {.s = s, .o = o, .report = report, .ctx = ctx};

	if (each(&c, s->tmp_fd, check_tmp, "tmp", err) < 0 || each(&c, s->snaps_fd, check_snapshot, "snapshots", err) < 0 ||
	    each(&c, s->layers_fd, check_layer, "layers", err) < 0 || each(&c, s->blobs_fd, check_blob, "content/blobs/sha256", err) < 0)
		return -1;
	check_layout(&c);
	return 0;
}
