/* SPDX-License-Identifier: Apache-2.0
 *
 * Host compute storage on Linux: import, export and destruction of layers, writable layers and their overlay mounts. Without state; paths are
 * those of the caller, who is the administrator. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/path.h"
#include "base/queue.h"
#include "base/sys.h"
#include "storage/hcs_layer.h"

#define OVERLAY_DATA_MAX 4095
#define ARCHIVE "layer.tar"

static int open_dir(int at, const char *name) { return sys_openat2(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_NO_MAGICLINKS); }

static bool is_path(const char *path) { return path && *path == '/' && strlen(path) < PATH_MAX; }

/* ---- a new layer is built beside its place and renamed ---- */
struct building {
	int parent, dir; /* of the place; of what is built */
	char name[NAME_MAX + 1], tmp[64];
};

static HRESULT build_begin(const char *path, struct building *b)
{
	static atomic_uint serial;
	cs_autofree char *clean = cs_path_clean(path);
	char *slash = strrchr(clean, '/');

	*b = (struct building){.parent = -EBADF, .dir = -EBADF};
	if (!cs_is_plain_name(slash + 1))
		return HCS_E_INVALIDARG;
	memcpy(b->name, slash + 1, strlen(slash + 1) + 1);
	*slash = 0;
	b->parent = open_dir(AT_FDCWD, *clean ? clean : "/");
	if (b->parent < 0)
		return cs_hcs_errno(-b->parent);
	(void)snprintf(b->tmp, sizeof(b->tmp), ".caisson-layer-%d-%u", (int)getpid(), atomic_fetch_add(&serial, 1u));
	if (mkdirat(b->parent, b->tmp, 0710) < 0)
		return cs_hcs_errno(errno);
	b->dir = open_dir(b->parent, b->tmp);
	return b->dir < 0 ? cs_hcs_errno(-b->dir) : HCS_S_OK;
}

static HRESULT build_end(struct building *b, HRESULT r)
{
	if (r == HCS_S_OK && syncfs(b->dir) < 0)
		r = cs_hcs_errno(errno);
	/* takes the place of an empty directory; one with something in it stays */
	if (r == HCS_S_OK && renameat(b->parent, b->tmp, b->parent, b->name) < 0)
		r = cs_hcs_errno(errno == ENOTDIR ? EEXIST : errno);
	if (r == HCS_S_OK && fsync(b->parent) < 0)
		r = cs_hcs_errno(errno);
	cs_close(b->dir);
	if (b->parent >= 0 && b->tmp[0])
		(void)cs_remove_tree_at(b->parent, b->tmp); /* gone already when it got its name */
	cs_close(b->parent);
	return r;
}

/* Every parent must be there before anything is made. O_PATH descriptors of their files go to *fds, which holds l->n. */
static HRESULT open_parents(const struct cs_hcs_layers *l, int *fds)
{
	for (size_t i = 0; i < l->n; i++) {
		cs_autofree char *diff = cs_path_join(l->paths[i], "diff");
		int fd = open(diff, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0) {
			HRESULT r = errno == ENOENT || errno == ENOTDIR ? HCS_E_INVALID_LAYER : cs_hcs_errno(errno);
			while (i)
				cs_close(fds[--i]);
			return r;
		}
		fds[i] = fd;
	}
	return HCS_S_OK;
}

static HRESULT check_parents(const struct cs_hcs_layers *l)
{
	cs_autofree int *fds = cs_xcalloc(l->n + 1, sizeof(int));
	HRESULT r = open_parents(l, fds);

	for (size_t i = 0; r == HCS_S_OK && i < l->n; i++)
		cs_close(fds[i]);
	return r;
}

/* ---- import ---- */
static ssize_t read_file(void *ctx, void *buf, size_t max)
{
	ssize_t n = read(*(int *)ctx, buf, max);
	return n < 0 ? -errno : n;
}

struct tree_source { /* a folder, read as the tar that it would be */
	int fd;
	struct cs_queue *queue;
	struct cs_err *err;
};

static int put_queue(void *ctx, const void *data, size_t len) { return cs_queue_write(((struct tree_source *)ctx)->queue, data, len); }

static void *pack_main(void *arg)
{
	struct tree_source *t = arg;
	int r = cs_tar_diff(t->fd, NULL, put_queue, t, &t->err);

	cs_queue_end(t->queue, r < 0 ? -EIO : 0);
	return NULL;
}

static ssize_t read_queue(void *ctx, void *buf, size_t max) { return cs_queue_read(((struct tree_source *)ctx)->queue, buf, max); }

static HRESULT import_tree(int source, int diff)
{
	struct tree_source t = {.fd = source, .queue = cs_queue_new(512 << 10)};
	cs_autoerr struct cs_err *e = NULL;
	pthread_t thread;

	int started = pthread_create(&thread, NULL, pack_main, &t);
	if (started != 0) {
		cs_queue_free(t.queue);
		return cs_hcs_errno(started);
	}
	int r = cs_unpack_into(diff, read_queue, &t, &cs_storage_default_limits, &e);
	cs_queue_close(t.queue);
	(void)pthread_join(thread, NULL);
	cs_queue_free(t.queue);
	/* a failure of the source is the real one; that it could not write any more is ours */
	if (t.err && (r == 0 || cs_err_code(e) == CS_ERR_INTERNAL))
		return cs_hcs_result(t.err);
	cs_err_free(t.err);
	return r == 0 ? HCS_S_OK : cs_hcs_result(TAKE_PTR(e));
}

static HRESULT import_files(const char *source, int diff)
{
	struct cs_err *e = NULL;
	cs_autofd int folder = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0)
		return cs_hcs_errno(errno);
	cs_autofd int tar = openat(folder, ARCHIVE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (tar < 0 && errno == ENOENT)
		return import_tree(folder, diff);
	if (tar < 0 || fstat(tar, &st) < 0)
		return cs_hcs_errno(errno);
	if (!S_ISREG(st.st_mode))
		return HCS_E_INVALID_LAYER;
	return cs_unpack_into(diff, read_file, &tar, &cs_storage_default_limits, &e) < 0 ? cs_hcs_result(e) : HCS_S_OK;
}

static HRESULT make_dir(int at, const char *name, mode_t mode)
{
	return mkdirat(at, name, mode) < 0 || fchmodat(at, name, mode, 0) < 0 ? cs_hcs_errno(errno) : HCS_S_OK;
}

HRESULT HcsImportLayer(const char *layerPath, const char *sourceFolderPath, const char *layerData)
{
	struct cs_hcs_layers l = {0};
	struct building b;

	if (!is_path(layerPath) || !is_path(sourceFolderPath))
		return HCS_E_INVALIDARG;
	HRESULT r = cs_hcs_layers_parse(layerData, false, &l);
	if (r == HCS_S_OK)
		r = check_parents(&l);
	if (r == HCS_S_OK) {
		r = build_begin(layerPath, &b);
		if (r == HCS_S_OK)
			r = make_dir(b.dir, "diff", 0755);
		cs_autofd int diff = r == HCS_S_OK ? open_dir(b.dir, "diff") : -EBADF;
		if (r == HCS_S_OK)
			r = diff < 0 ? cs_hcs_errno(-diff) : import_files(sourceFolderPath, diff);
		if (r == HCS_S_OK)
			r = cs_hcs_write_chain(b.dir, &l);
		r = build_end(&b, r);
	}
	cs_hcs_layers_done(&l);
	return r;
}

/* ---- export ---- */
static int put_file(void *ctx, const void *data, size_t len) { return cs_write_full(*(int *)ctx, data, len); }

static HRESULT export_files(int files, int folder)
{
	struct cs_err *e = NULL;
	char tmp[64];

	(void)snprintf(tmp, sizeof(tmp), "." ARCHIVE "-%d-%d", (int)getpid(), folder);
	cs_autofd int out = openat(folder, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return cs_hcs_errno(errno);
	HRESULT r = cs_tar_diff(files, NULL, put_file, &out, &e) < 0 ? cs_hcs_result(e) : HCS_S_OK;
	if (r == HCS_S_OK && (fsync(out) < 0 || renameat(folder, tmp, folder, ARCHIVE) < 0))
		r = cs_hcs_errno(errno);
	if (r != HCS_S_OK)
		(void)unlinkat(folder, tmp, 0);
	return r;
}

HRESULT HcsExportLayer(const char *layerPath, const char *exportFolderPath, const char *layerData, const char *options)
{
	struct cs_hcs_layers l;
	bool writable;

	if (!is_path(layerPath) || !is_path(exportFolderPath))
		return HCS_E_INVALIDARG;
	HRESULT r = cs_hcs_layers_parse(layerData, false, &l);
	if (r != HCS_S_OK)
		return r;
	r = check_parents(&l);
	cs_hcs_layers_done(&l);
	if (r == HCS_S_OK)
		r = cs_hcs_export_options(options, &writable);
	if (r != HCS_S_OK)
		return r;
	cs_autofd int layer = open_dir(AT_FDCWD, layerPath);
	if (layer < 0)
		return cs_hcs_errno(-layer);
	cs_autofd int files = open_dir(layer, writable ? "upper" : "diff");
	if (files < 0)
		return files == -ENOENT ? HCS_E_INVALID_LAYER : cs_hcs_errno(-files);
	int made = cs_mkdir_p(AT_FDCWD, exportFolderPath, 0755);
	if (made < 0 && made != -EEXIST)
		return cs_hcs_errno(-made);
	cs_autofd int folder = open(exportFolderPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 ? cs_hcs_errno(errno) : export_files(files, folder);
}

/* ---- writable layers ---- */
HRESULT HcsInitializeWritableLayer(const char *writableLayerPath, const char *layerData, const char *options)
{
	struct cs_hcs_layers l = {0};
	struct building b;

	if (!is_path(writableLayerPath) || !cs_empty(options))
		return HCS_E_INVALIDARG;
	HRESULT r = cs_hcs_layers_parse(layerData, false, &l);
	if (r == HCS_S_OK)
		r = l.n ? check_parents(&l) : HCS_E_INVALID_LAYER;
	if (r == HCS_S_OK) {
		r = build_begin(writableLayerPath, &b);
		if (r == HCS_S_OK)
			r = make_dir(b.dir, "upper", 0755);
		if (r == HCS_S_OK)
			r = make_dir(b.dir, "work", 0700);
		if (r == HCS_S_OK)
			r = make_dir(b.dir, "merged", 0700);
		if (r == HCS_S_OK)
			r = cs_hcs_write_chain(b.dir, &l);
		r = build_end(&b, r);
	}
	cs_hcs_layers_done(&l);
	return r;
}

static bool is_mounted(int layer, const char *name)
{
	struct statx st;

	return statx(layer, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) == 0 && (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

struct attach {
	int layer, *parents;
	size_t n;
	HRESULT result;
};

/* In a thread with a working directory of its own: layers are named by the numbers of their descriptors, which are short, so that as many as the
 * kernel takes fit into one page of options, and no character of a path means something. */
static void *attach_main(void *arg)
{
	struct attach *a = arg;
	struct cs_str o cs_autostr = CS_STR_INIT(OVERLAY_DATA_MAX);
	cs_autofd int upper = open_dir(a->layer, "upper"), work = open_dir(a->layer, "work"), merged = open_dir(a->layer, "merged");
	char target[32];

	a->result = HCS_E_INVALID_LAYER;
	if (upper < 0 || work < 0 || merged < 0)
		return NULL;
	cs_str_puts(&o, "lowerdir=");
	for (size_t i = 0; i < a->n; i++)
		cs_str_putf(&o, "%s%d", i ? ":" : "", a->parents[i]);
	cs_str_putf(&o, ",upperdir=%d,workdir=%d", upper, work);
	(void)snprintf(target, sizeof(target), "/proc/self/fd/%d", merged);
	if (o.failed)
		return NULL;
	if (unshare(CLONE_FS) < 0 || chdir("/proc/self/fd") < 0 || mount("overlay", target, "overlay", 0, o.buf) < 0)
		a->result = errno == EINVAL ? HCS_E_INVALID_LAYER : cs_hcs_errno(errno);
	else
		a->result = HCS_S_OK;
	return NULL;
}

static HRESULT attach(const char *path, const struct cs_hcs_layers *l)
{
	cs_autofd int layer = open_dir(AT_FDCWD, path);
	cs_autofree int *parents = cs_xcalloc(l->n + 1, sizeof(int));
	struct attach a = {.layer = layer, .parents = parents, .n = l->n};
	pthread_t t;

	if (layer < 0)
		return cs_hcs_errno(-layer);
	if (l->n == 0)
		return HCS_E_INVALID_LAYER;
	if (is_mounted(layer, "merged"))
		return HCS_E_INVALID_STATE;
	HRESULT r = open_parents(l, parents);
	if (r != HCS_S_OK)
		return r;
	int e = pthread_create(&t, NULL, attach_main, &a);
	if (e == 0)
		(void)pthread_join(t, NULL);
	for (size_t i = 0; i < l->n; i++)
		cs_close(parents[i]);
	return e ? cs_hcs_errno(e) : a.result;
}

static HRESULT attach_filter(const char *path, const char *data, bool newer)
{
	struct cs_hcs_layers l;

	if (!is_path(path))
		return HCS_E_INVALIDARG;
	HRESULT r = cs_hcs_layers_parse(data, newer, &l);
	if (r != HCS_S_OK)
		return r;
	r = l.wcifs ? HCS_E_NOT_SUPPORTED : attach(path, &l);
	cs_hcs_layers_done(&l);
	return r;
}

HRESULT HcsAttachLayerStorageFilter(const char *layerPath, const char *layerData) { return attach_filter(layerPath, layerData, false); }
HRESULT HcsAttachOverlayFilter(const char *volumePath, const char *layerData) { return attach_filter(volumePath, layerData, true); }

HRESULT HcsDetachLayerStorageFilter(const char *layerPath)
{
	if (!is_path(layerPath))
		return HCS_E_INVALIDARG;
	cs_autofd int layer = open_dir(AT_FDCWD, layerPath);
	if (layer < 0)
		return cs_hcs_errno(-layer);
	if (!is_mounted(layer, "merged"))
		return HCS_E_INVALID_STATE;
	cs_autofree char *merged = cs_path_join(layerPath, "merged");
	return umount2(merged, UMOUNT_NOFOLLOW) < 0 ? cs_hcs_errno(errno) : HCS_S_OK;
}

HRESULT HcsDetachOverlayFilter(const char *volumePath, const char *layerData)
{
	struct cs_hcs_layers l;
	HRESULT r = cs_hcs_layers_parse(layerData, true, &l);

	if (r != HCS_S_OK)
		return r;
	cs_hcs_layers_done(&l);
	return HcsDetachLayerStorageFilter(volumePath);
}

/* ---- destruction ---- */
HRESULT HcsDestroyLayer(const char *layerPath)
{
	struct stat st;

	if (!is_path(layerPath))
		return HCS_E_INVALIDARG;
	cs_autofree char *clean = cs_path_clean(layerPath);
	cs_autofd int layer = open_dir(AT_FDCWD, clean);
	if (layer < 0)
		return cs_hcs_errno(-layer);
	/* root deletes here: not what merely has a layer's path */
	if (fstatat(layer, "diff", &st, AT_SYMLINK_NOFOLLOW) < 0 && fstatat(layer, "upper", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return HCS_E_INVALID_LAYER;
	if (!S_ISDIR(st.st_mode))
		return HCS_E_INVALID_LAYER;
	if (is_mounted(layer, "merged"))
		return HCS_E_INVALID_STATE;
	int r = cs_remove_tree_at(AT_FDCWD, clean);
	return r < 0 ? cs_hcs_errno(-r) : HCS_S_OK;
}

/* ---- what Linux has no use for ---- */
HRESULT HcsExportLegacyWritableLayer(const char *writableLayerMountPath, const char *writableLayerFolderPath, const char *exportFolderPath,
				     const char *layerData)
{
	return HCS_E_NOT_SUPPORTED;
}

HRESULT HcsInitializeLegacyWritableLayer(const char *writableLayerMountPath, const char *writableLayerFolderPath, const char *layerData,
					 const char *options)
{
	return HCS_E_NOT_SUPPORTED;
}

HRESULT HcsSetupBaseOSLayer(const char *layerPath, int vhd, const char *options) { return HCS_E_NOT_SUPPORTED; }
HRESULT HcsSetupBaseOSVolume(const char *layerPath, const char *volumePath, const char *options) { return HCS_E_NOT_SUPPORTED; }
HRESULT HcsFormatWritableLayerVhd(int vhd) { return HCS_E_NOT_SUPPORTED; }
HRESULT HcsGetLayerVhdMountPath(int vhd, char **mountPath) { return HCS_E_NOT_SUPPORTED; }
